/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/statefile.h"

#include "os/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Writes in a child, so that the loop does not wait for the disk. */

struct statefile {
	struct loop *loop;
	char *dir, *name;
	int (*write)(const char *, const char *, const void *, size_t);
	void (*done)(void *, int);
	void *ctx;
	pid_t child; /* 0: none */
	int pipe;    /* its result comes here; -1: none */
	struct loop_fd *watch;
	bool waiting; /* for the child's end: */
	void *next;
	size_t n_next;
};

/* The child's life. It has a copy of everything of ours; descriptors are closed, or clients of the
 * daemon would wait for their end as long as the disk takes. */
static _Noreturn void
child_main(const struct statefile *f, int result, const void *bytes, size_t n)
{
	int error = 0;

	if (dup2(result, STDIN_FILENO) < 0)
		_exit(1);
#ifdef SYS_close_range
	(void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
#endif
	error = f->write(f->dir, f->name, bytes, n);
	_exit(write(STDIN_FILENO, &error, sizeof error) == (ssize_t)sizeof error ? 0 : 1);
}

static int
spawn(struct statefile *f, int result, const void *bytes, size_t n)
{
	sigset_t all, old;
	pid_t child;
	int error = 0;

	/* A handler that ran in the child would speak for the parent; a signal to the whole group
	 * must not stop it half-way either. So they stay blocked there. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	child = fork();
	if (child == 0)
		child_main(f, result, bytes, n);
	if (child < 0)
		error = -errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		f->child = child;
	return error;
}

static void child_ended(void *ctx);

static int
start(struct statefile *f, const void *bytes, size_t n)
{
	int ends[2], error;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	error = spawn(f, ends[1], bytes, n);
	close(ends[1]);
	if (error != 0) {
		close(ends[0]);
		return error;
	}
	f->pipe = ends[0];
	/* Without a watch it still gets written; the next put or flush will see its end. */
	f->watch = loop_fd_new(f->loop, f->pipe, child_ended, f);
	return 0;
}

/* The child has said its result or died: takes both in. Does not wait: the pipe is readable. */
static int
collect(struct statefile *f)
{
	int error = 0;
	ssize_t n;

	loop_fd_free(f->watch);
	f->watch = NULL;
	do {
		n = read(f->pipe, &error, sizeof error);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof error)
		error = -ECHILD; /* killed in the middle of it */
	close(f->pipe);
	f->pipe = -1;
	/* It has nothing left to do but to exit. */
	while (waitpid(f->child, NULL, 0) < 0 && errno == EINTR)
		continue;
	f->child = 0;
	return error;
}

/* Writes what waited. */
static int
start_next(struct statefile *f)
{
	void *bytes = f->next;
	size_t n = f->n_next;
	int error;

	if (!f->waiting)
		return 0;
	f->waiting = false;
	f->next = NULL;
	error = start(f, bytes, n);
	free(bytes);
	return error;
}

static void
child_ended(void *ctx)
{
	struct statefile *f = ctx;
	int error = collect(f), failed = start_next(f);

	if (f->done != NULL)
		f->done(f->ctx, failed != 0 ? failed : error);
}

struct statefile *
statefile_new(struct loop *loop, const char *dir, const char *name,
    void (*done)(void *ctx, int error), void *ctx)
{
	struct statefile *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	*f = (struct statefile){
		.loop = loop, .write = statefile_write, .done = done, .ctx = ctx, .pipe = -1
	};
	f->dir = strdup(dir);
	f->name = strdup(name);
	if (f->dir == NULL || f->name == NULL) {
		statefile_free(f);
		return NULL;
	}
	return f;
}

void
statefile_set_write(struct statefile *f,
    int (*write)(const char *dir, const char *name, const void *bytes, size_t n))
{
	f->write = write;
}

/* Waits up to `patience` ms for the child to end. */
static bool
ends_within(const struct statefile *f, mstime patience)
{
	struct pollfd p = { .fd = f->pipe, .events = POLLIN };

	return poll(&p, 1, patience > INT_MAX ? INT_MAX : (int)patience) > 0;
}

int
statefile_put(struct statefile *f, const void *bytes, size_t n)
{
	void *copy;

	if (f->child != 0 && f->watch == NULL && ends_within(f, 0))
		(void)collect(f);
	if (f->child == 0)
		return start(f, bytes, n);
	copy = malloc(n > 0 ? n : 1);
	if (copy == NULL)
		return -ENOMEM;
	if (n > 0)
		memcpy(copy, bytes, n);
	free(f->next);
	f->next = copy;
	f->n_next = n;
	f->waiting = true;
	return 0;
}

bool
statefile_busy(const struct statefile *f)
{
	return f->child != 0;
}

static mstime
clock_read(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (mstime)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int
statefile_flush(struct statefile *f, mstime patience)
{
	mstime end = clock_read() + (patience > 0 ? patience : 0);
	int error = 0;

	while (f->child != 0) {
		mstime left = end - clock_read();

		if (!ends_within(f, left > 0 ? left : 0)) {
			if (left <= 0)
				return -ETIMEDOUT;
			continue; /* a signal */
		}
		error = collect(f);
		if (f->waiting)
			error = start_next(f);
	}
	return error;
}

void
statefile_free(struct statefile *f)
{
	if (f == NULL)
		return;
	loop_fd_free(f->watch);
	if (f->pipe >= 0)
		close(f->pipe);
	if (f->child != 0)
		(void)waitpid(f->child, NULL, WNOHANG);
	free(f->next);
	free(f->dir);
	free(f->name);
	free(f);
}
