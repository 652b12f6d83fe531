/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/hook.h"

#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES_MAX 64
#define LINE_MAX_LEN 1024
/* After SIGTERM. */
#define GRACE (2 * MSTIME_SECOND)
/* Read at one time, and how often at the end: what a pipe holds, and no more of a program that was
 * left behind in the background. */
#define READ_SIZE 4096
#define READS_LAST 64

struct hook {
	struct loop *loop;
	char *name;
	pid_t pid; /* not waited for yet; it is the group's number, too */
	int pidfd, output;
	struct loop_fd *pid_watch, *output_watch;
	struct loop_timer *timer;
	enum { RUNNING, TERMINATED, KILLED } state;
	bool ended; /* the program itself has; its group may not have */
	bool quiet;
	void (*done)(void *, const struct hook_end *);
	void *ctx;
	unsigned lines;
	size_t length; /* of the line so far */
	char line[LINE_MAX_LEN + 1];
};

/* ---- output --------------------------------------------------------------------------------- */

static void
log_line(struct hook *h)
{
	void (*log)(const char *, ...) = h->quiet ? log_debug : log_info;

	h->line[h->length < LINE_MAX_LEN ? h->length : LINE_MAX_LEN] = '\0';
	h->length = 0;
	if (h->lines > LINES_MAX)
		return;
	if (h->lines++ == LINES_MAX)
		log("%s: hook: says more than %d lines; the rest is not logged", h->name,
		    LINES_MAX);
	else
		log("%s: hook: %s", h->name, h->line);
}

static void
take_output(struct hook *h, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && h->lines <= LINES_MAX; i++) {
		if (bytes[i] == '\n') {
			log_line(h);
			continue;
		}
		if (h->length < LINE_MAX_LEN)
			h->line[h->length] = bytes[i] != '\0' ? bytes[i] : ' ';
		h->length += h->length < LINE_MAX_LEN; /* what is longer is cut */
	}
}

/* False: nothing more is to be read now. */
static bool
read_some(struct hook *h)
{
	char bytes[READ_SIZE];
	ssize_t n = read(h->output, bytes, sizeof(bytes));

	if (n > 0)
		take_output(h, bytes, (size_t)n);
	/* The last one has closed it: not to be told again and again. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		loop_fd_want_read(h->output_watch, false);
	return n > 0;
}

static void
output_ready(void *ctx)
{
	struct hook *h = ctx;

	(void)read_some(h);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
forget_process(struct hook *h)
{
	loop_fd_free(h->pid_watch);
	h->pid_watch = NULL;
	if (h->pidfd >= 0)
		close(h->pidfd);
	h->pidfd = -1;
	h->pid = 0;
}

/* Only of our own program, by number: others of the daemon's children have owners of their own. */
static void
finish(struct hook *h)
{
	struct hook_end end = { .timed_out = h->state != RUNNING };
	siginfo_t info = { .si_pid = 0 };

	if (waitid(P_PID, (id_t)h->pid, &info, WEXITED | WNOHANG) != 0)
		end.status = 127; /* somebody has taken it from us */
	else if (info.si_pid == 0)
		return;
	else if (info.si_code == CLD_EXITED)
		end.status = info.si_status;
	else
		end.signal = info.si_status;
	end.ok = !end.timed_out && end.status == 0 && end.signal == 0;
	forget_process(h);
	loop_timer_set(h->timer, MSTIME_NEVER);
	for (unsigned i = 0; i < READS_LAST && read_some(h); i++)
		continue;
	if (h->length > 0)
		log_line(h);
	h->done(h->ctx, &end); /* may free h */
}

/* The program has ended. After a SIGTERM the rest of its group has its 2 s all the same; until then
 * the dead program keeps the group's number from being given to others. */
static void
process_ended(void *ctx)
{
	struct hook *h = ctx;

	h->ended = true;
	loop_fd_want_read(h->pid_watch, false);
	if (h->state != TERMINATED)
		finish(h);
}

static void
time_over(void *ctx)
{
	struct hook *h = ctx;

	if (h->state == RUNNING) {
		h->state = TERMINATED;
		(void)kill(-h->pid, SIGTERM);
		loop_timer_set(h->timer, loop_now(h->loop) + GRACE);
		return;
	}
	h->state = KILLED;
	(void)kill(-h->pid, SIGKILL);
	if (h->ended)
		finish(h);
}

/* ---- the start ------------------------------------------------------------------------------ */

static void
reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigemptyset(&action.sa_mask);
	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The child's life before the program. */
static _Noreturn void
child_main(int output, char *const argv[], char *const env[])
{
	(void)setpgid(0, 0);
	/* No descriptor is needed beyond those that are there: there may be none. */
	if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
	    fcntl(STDOUT_FILENO, F_SETFD, 0) != 0 || fcntl(STDERR_FILENO, F_SETFD, 0) != 0)
		_exit(127);
	if (syscall(SYS_close_range, (unsigned)STDERR_FILENO + 1, ~0U, 0U) != 0)
		for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
			close(fd);
	close(STDIN_FILENO);
	if (open("/dev/null", O_RDONLY) != STDIN_FILENO)
		_exit(127);
	umask(022);
	if (chdir("/") != 0)
		_exit(127);
	reset_signals();
	execve(argv[0], argv, env);
	dprintf(STDERR_FILENO, "%s cannot be run: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Returns the child's number or -errno. */
static pid_t
spawn(int output, char *const argv[], char *const env[])
{
	sigset_t all, old;
	pid_t pid;

	/* A handler of the daemon's that ran in the child would speak for the daemon. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_main(output, argv, env);
	if (pid < 0)
		pid = -errno;
	else
		(void)setpgid(pid, pid); /* in both: nobody knows who is first */
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* All that can fail for want of something is had before there is a process; a descriptor is kept
 * for its pidfd. */
static bool
prepare(struct hook *h, const char *name, int *child_end, void (*time_up)(void *))
{
	int ends[2];

	h->name = strdup(name);
	h->timer = loop_timer_new(h->loop, time_up, h);
	if (h->name == NULL || h->timer == NULL || pipe2(ends, O_CLOEXEC) != 0)
		return false;
	h->output = ends[0];
	*child_end = ends[1];
	if (fcntl(h->output, F_SETFL, O_NONBLOCK) != 0)
		return false;
	h->output_watch = loop_fd_new(h->loop, h->output, output_ready, h);
	h->pidfd = fcntl(h->output, F_DUPFD_CLOEXEC, 0);
	return h->output_watch != NULL && h->pidfd >= 0;
}

static bool
watch_process(struct hook *h)
{
	close(h->pidfd);
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	if (h->pidfd >= 0)
		h->pid_watch = loop_fd_new(h->loop, h->pidfd, process_ended, h);
	return h->pid_watch != NULL;
}

struct hook *
hook_start(struct loop *loop, const char *name, char *const argv[], char *const env[],
    mstime timeout, void (*done)(void *ctx, const struct hook_end *), void *ctx)
{
	struct hook *h = calloc(1, sizeof(*h));
	int child_end = -1, error;

	if (h == NULL)
		return NULL;
	h->loop = loop;
	h->done = done;
	h->ctx = ctx;
	h->output = h->pidfd = -1;
	if (prepare(h, name, &child_end, time_over)) {
		h->pid = spawn(child_end, argv, env);
		errno = h->pid < 0 ? -h->pid : 0;
		if (h->pid > 0 && watch_process(h)) {
			close(child_end);
			loop_timer_set(h->timer, loop_now(loop) + timeout);
			return h;
		}
		if (h->pid > 0) {
			/* No memory, or a kernel before 5.3. It dies at once. */
			error = errno;
			(void)kill(h->pid, SIGKILL);
			while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
				continue;
			h->pid = 0;
			errno = error;
		}
	}
	error = errno != 0 ? errno : ENOMEM;
	if (child_end >= 0)
		close(child_end);
	hook_free(h);
	errno = error;
	return NULL;
}

void
hook_quiet(struct hook *h)
{
	h->quiet = true;
}

void
hook_free(struct hook *h)
{
	if (h == NULL)
		return;
	if (h->pid > 0) {
		(void)kill(-h->pid, SIGKILL);
		/* Ours or, a moment later, init's. */
		(void)waitid(P_PID, (id_t)h->pid, &(siginfo_t){ .si_pid = 0 }, WEXITED | WNOHANG);
	}
	h->pid = 0;
	forget_process(h);
	loop_fd_free(h->output_watch);
	if (h->output >= 0)
		close(h->output);
	loop_timer_free(h->timer);
	free(h->name);
	free(h);
}
