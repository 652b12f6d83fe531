/* SPDX-License-Identifier: ISC */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include "base/mstime.h"

#include <stdbool.h>

/*
 * The event loop; libevent is known to loop.c and httpd.c only. Single-threaded. One timerfd on
 * CLOCK_BOOTTIME serves everybody: timers are slots with a deadline, the fd is armed to the
 * smallest after every callback (and only when that changed: an idle daemon makes no system call
 * for it).
 */
struct loop;
struct loop_fd;
struct loop_timer;

struct loop *loop_new(void); /* NULL with errno */
void loop_free(struct loop *);

/* CLOCK_BOOTTIME in ms, read once per wake-up: the same for all callbacks of one dispatch. */
mstime loop_now(const struct loop *);

/* Runs until loop_stop(). 0 or -errno. */
int loop_run(struct loop *);
void loop_stop(struct loop *);

/* Calls `ready` when `fd` can be read (always level-triggered). The fd stays the caller's. */
struct loop_fd *loop_fd_new(struct loop *, int fd, void (*ready)(void *ctx), void *ctx);
/* Also wait for writability; `ready` is called for either. */
void loop_fd_want_write(struct loop_fd *, bool);
/* Pauses and resumes reading. */
void loop_fd_want_read(struct loop_fd *, bool);
void loop_fd_free(struct loop_fd *); /* NULL is allowed; also from its own callback */

/* A timer that is off until set. `at` in ms of CLOCK_BOOTTIME, MSTIME_NEVER = off. */
struct loop_timer *loop_timer_new(struct loop *, void (*due)(void *ctx), void *ctx);
void loop_timer_set(struct loop_timer *, mstime at);
void loop_timer_free(struct loop_timer *);

/* Calls `got` in the loop (not in a signal handler) for each signal `number`. False with errno. */
bool loop_signal(struct loop *, int number, void (*got)(void *ctx, int number), void *ctx);

/* Called once at the end of every dispatch round, before the timer is armed: the place where the
 * daemon asks engine_next(). */
void loop_set_after(struct loop *, void (*after)(void *ctx), void *ctx);

#endif
