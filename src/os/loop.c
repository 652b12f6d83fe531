/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/loop.h"

#include "os/loop_event.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct loop_fd {
	struct loop *loop;
	int fd;
	bool read, write;    /* what is waited for */
	struct event *event; /* NULL while nothing is */
	void (*ready)(void *);
	void *ctx;
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *next;
	mstime at;
	uint64_t fired; /* the round it fired in: once per round, or it might never end */
	void (*due)(void *);
	void *ctx;
};

struct signal_watch {
	struct loop *loop;
	struct signal_watch *next;
	struct event *event;
	void (*got)(void *, int);
	void *ctx;
};

struct loop {
	struct event_base *base;
	int timerfd;
	struct event *timer_event;
	mstime armed; /* what the timerfd is set to */
	struct loop_timer *timers;
	struct signal_watch *signals;
	void (*after)(void *);
	void *after_ctx;
	bool in_round; /* `now` is valid */
	mstime now;
	uint64_t round;
	bool stop;
};

static mstime
clock_read(void)
{
	struct timespec ts;
	int error = clock_gettime(CLOCK_BOOTTIME, &ts);

	assert(error == 0);
	(void)error;
	return (mstime)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Every callback starts here: the first one of a round reads the clock for all of them. */
static void
enter(struct loop *loop)
{
	if (loop->in_round)
		return;
	loop->now = clock_read();
	loop->in_round = true;
	loop->round++;
}

/* Earliest timer that is due and has not fired in this round. */
static struct loop_timer *
due_timer(const struct loop *loop)
{
	struct loop_timer *best = NULL;

	for (struct loop_timer *t = loop->timers; t != NULL; t = t->next) {
		if (t->at <= loop->now && t->fired != loop->round &&
		    (best == NULL || t->at < best->at))
			best = t;
	}
	return best;
}

static void
timerfd_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	struct loop_timer *t;
	uint64_t expirations;

	(void)what;
	enter(loop);
	if (read(fd, &expirations, sizeof expirations) == (ssize_t)sizeof expirations)
		loop->armed = MSTIME_NEVER;
	/* Callbacks may free or set any timer: look anew after each. */
	while ((t = due_timer(loop)) != NULL) {
		t->fired = loop->round;
		t->at = MSTIME_NEVER;
		t->due(t->ctx);
	}
}

static int
arm(struct loop *loop)
{
	struct itimerspec when = { 0 };
	mstime at = MSTIME_NEVER;

	for (const struct loop_timer *t = loop->timers; t != NULL; t = t->next) {
		if (t->at < at)
			at = t->at;
	}
	if (at == loop->armed)
		return 0;
	if (at != MSTIME_NEVER) {
		mstime value = at < 1 ? 1 : at; /* 0 would switch the timer off */

		when.it_value.tv_sec = (time_t)(value / 1000);
		when.it_value.tv_nsec = (long)(value % 1000) * 1000000;
	}
	if (timerfd_settime(loop->timerfd, TFD_TIMER_ABSTIME, &when, NULL) != 0)
		return -errno;
	loop->armed = at;
	return 0;
}

struct loop *
loop_new(void)
{
	struct loop *loop = calloc(1, sizeof *loop);
	struct event_config *config = event_config_new();

	if (loop == NULL || config == NULL)
		goto fail;
	loop->timerfd = -1;
	loop->armed = MSTIME_NEVER;
	/* No threads here, and nobody's environment variables decide about our epoll. */
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	loop->base = event_base_new_with_config(config);
	if (loop->base == NULL)
		goto fail;
	loop->timerfd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timerfd < 0)
		goto fail;
	loop->timer_event =
	    event_new(loop->base, loop->timerfd, EV_READ | EV_PERSIST, timerfd_ready, loop);
	if (loop->timer_event == NULL || event_add(loop->timer_event, NULL) != 0)
		goto fail;
	event_config_free(config);
	return loop;
fail:
	if (errno == 0)
		errno = ENOMEM;
	if (config != NULL)
		event_config_free(config);
	loop_free(loop);
	return NULL;
}

void
loop_free(struct loop *loop)
{
	int saved = errno;

	if (loop == NULL)
		return;
	while (loop->signals != NULL) {
		struct signal_watch *w = loop->signals;

		loop->signals = w->next;
		event_free(w->event);
		free(w);
	}
	if (loop->timer_event != NULL)
		event_free(loop->timer_event);
	if (loop->base != NULL) {
		event_base_free(loop->base);
		if (loop->timerfd >= 0)
			close(loop->timerfd);
	}
	free(loop);
	errno = saved;
}

mstime
loop_now(const struct loop *loop)
{
	return loop->in_round ? loop->now : clock_read();
}

int
loop_run(struct loop *loop)
{
	/* A round without events first: what was set up before wants its timers armed. */
	for (;;) {
		int error;

		enter(loop);
		if (loop->after != NULL)
			loop->after(loop->after_ctx);
		error = arm(loop);
		loop->in_round = false;
		if (error != 0)
			return error;
		if (loop->stop) {
			loop->stop = false;
			return 0;
		}
		errno = 0;
		if (event_base_loop(loop->base, EVLOOP_ONCE) < 0)
			return errno != 0 ? -errno : -EIO;
	}
}

void
loop_stop(struct loop *loop)
{
	loop->stop = true;
}

static void
fd_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop_fd *f = arg;

	(void)fd;
	(void)what;
	enter(f->loop);
	f->ready(f->ctx); /* may free f */
}

/* Registers what is wanted. An fd that nothing is wanted of is not in the epoll set at all:
 * epoll would report errors and hang-ups for ever. */
static bool
watch(struct loop_fd *f)
{
	short what = (short)(EV_PERSIST | (f->read ? EV_READ : 0) | (f->write ? EV_WRITE : 0));

	if (f->event != NULL)
		event_free(f->event);
	f->event = NULL;
	if (!f->read && !f->write)
		return true;
	f->event = event_new(f->loop->base, f->fd, what, fd_ready, f);
	if (f->event == NULL)
		return false;
	if (event_add(f->event, NULL) != 0) {
		event_free(f->event);
		f->event = NULL;
		return false;
	}
	return true;
}

struct loop_fd *
loop_fd_new(struct loop *loop, int fd, void (*ready)(void *ctx), void *ctx)
{
	struct loop_fd *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	*f = (struct loop_fd){ .loop = loop, .fd = fd, .read = true, .ready = ready, .ctx = ctx };
	if (!watch(f)) {
		free(f);
		return NULL;
	}
	return f;
}

void
loop_fd_want_write(struct loop_fd *f, bool want)
{
	if (f->write == want)
		return;
	f->write = want;
	/* Without memory for one event nothing can go on; a deaf daemon would be worse. */
	if (!watch(f))
		abort();
}

void
loop_fd_want_read(struct loop_fd *f, bool want)
{
	if (f->read == want)
		return;
	f->read = want;
	if (!watch(f))
		abort();
}

void
loop_fd_free(struct loop_fd *f)
{
	if (f == NULL)
		return;
	if (f->event != NULL)
		event_free(f->event);
	free(f);
}

struct loop_timer *
loop_timer_new(struct loop *loop, void (*due)(void *ctx), void *ctx)
{
	struct loop_timer *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	*t = (struct loop_timer){
		.loop = loop, .next = loop->timers, .at = MSTIME_NEVER, .due = due, .ctx = ctx
	};
	loop->timers = t;
	return t;
}

void
loop_timer_set(struct loop_timer *t, mstime at)
{
	t->at = at;
}

void
loop_timer_free(struct loop_timer *t)
{
	struct loop_timer **link;

	if (t == NULL)
		return;
	for (link = &t->loop->timers; *link != t; link = &(*link)->next)
		continue;
	*link = t->next;
	free(t);
}

static void
signal_ready(evutil_socket_t number, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)what;
	enter(w->loop);
	w->got(w->ctx, (int)number);
}

bool
loop_signal(struct loop *loop, int number, void (*got)(void *ctx, int number), void *ctx)
{
	struct signal_watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return false;
	*w = (struct signal_watch){ .loop = loop, .got = got, .ctx = ctx };
	errno = 0;
	w->event = evsignal_new(loop->base, number, signal_ready, w);
	if (w->event == NULL || event_add(w->event, NULL) != 0) {
		if (w->event != NULL)
			event_free(w->event);
		free(w);
		if (errno == 0)
			errno = ENOMEM;
		return false;
	}
	w->next = loop->signals;
	loop->signals = w;
	return true;
}

struct event_base *
loop_base(struct loop *loop)
{
	return loop->base;
}

void
loop_set_after(struct loop *loop, void (*after)(void *ctx), void *ctx)
{
	loop->after = after;
	loop->after_ctx = ctx;
}
