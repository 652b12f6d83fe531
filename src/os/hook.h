/* SPDX-License-Identifier: ISC */
#ifndef OS_HOOK_H
#define OS_HOOK_H

#include "base/mstime.h"

#include <stdbool.h>

/*
 * One run of a program: directly, no shell; environment as given and nothing else; signals reset,
 * folder /, umask 022, standard input empty, no other descriptor, a process group of its own. What
 * it prints goes to the log, at most 64 lines of 1 kB; the rest is read and thrown away, so that it
 * never waits for us, as we never wait for it.
 */
struct loop;
struct hook;

struct hook_end {
	bool ok;        /* exit status 0, in time */
	bool timed_out; /* and was ended by us */
	int status;     /* exit status, or */
	int signal;     /* 0: none */
};

/*
 * Starts argv[0]. `name` stands before each line in the log; it, `argv` and `env` (both
 * NULL-terminated) are borrowed for the call only. After `timeout` ms the group gets SIGTERM and
 * 2 s later SIGKILL. `done` is called once, from the loop, after which the hook may be freed, also
 * from within. A program that cannot be executed says so in the log and exits with 127.
 * NULL with errno: no process, descriptor or memory is to be had now.
 */
struct hook *hook_start(struct loop *, const char *name, char *const argv[], char *const env[],
    mstime timeout, void (*done)(void *ctx, const struct hook_end *), void *ctx);
/* What it prints from now on goes to the log at level debug. */
void hook_quiet(struct hook *);
/* Kills what still runs of it, without waiting. NULL is allowed. */
void hook_free(struct hook *);

#endif
