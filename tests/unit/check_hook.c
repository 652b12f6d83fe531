/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/hook.h"

#include "folder.h"
#include "os/log.h"
#include "os/loop.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PATIENCE (30 * MSTIME_SECOND)

static struct loop *loop;
static struct loop_timer *guard;
static struct hook *hook;
static struct hook_end end;
static bool ended;
static int log_end, stderr_kept;
static char log_text[1 << 18];

static void
give_up(void *ctx)
{
	(void)ctx;
	loop_stop(loop);
}

static void
note_end(void *ctx, const struct hook_end *e)
{
	ck_assert_ptr_eq(ctx, &end);
	ck_assert(!ended);
	end = *e;
	ended = true;
	hook_free(hook);
	hook = NULL;
	loop_stop(loop);
}

/* A script of the test's folder, for argv[0]. */
static const char *
script(const char *text)
{
	file_make("hook", text, strlen(text));
	ck_assert_int_eq(chmod(in_folder("hook"), 0755), 0);
	return in_folder("hook");
}

static char *const environment[] = { (char[]){ "PATH=/usr/bin:/bin" },
	(char[]){ "PORTLEASE_EVENT=mapped" }, NULL };

static void
start(const char *program, mstime timeout)
{
	char *const argv[] = { (char *)program, (char[]){ "one" }, (char[]){ "two words; *" },
		NULL };

	ended = false;
	hook = hook_start(loop, "web", argv, environment, timeout, note_end, &end);
}

/* Until the hook has ended. */
static void
finish(void)
{
	loop_timer_set(guard, loop_now(loop) + PATIENCE);
	ck_assert_ptr_nonnull(hook);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert_msg(ended, "it never ended");
}

static void
run(const char *text)
{
	start(script(text), PATIENCE);
	finish();
}

/* What was logged since setup. */
static const char *
logged(void)
{
	ssize_t n = pread(log_end, log_text, sizeof log_text - 1, 0);

	ck_assert_int_ge(n, 0);
	log_text[n] = '\0';
	return log_text;
}

static unsigned
count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)) != NULL; text++)
		n++;
	return n;
}

static void
setup(void)
{
	folder_make();
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	guard = loop_timer_new(loop, give_up, NULL);
	log_set_level(LOG_LEVEL_INFO);
	stderr_kept = dup(STDERR_FILENO);
	log_end = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_APPEND, 0600);
	ck_assert_int_ge(log_end, 0);
	ck_assert_int_ge(dup2(log_end, STDERR_FILENO), 0);
}

static void
teardown(void)
{
	dup2(stderr_kept, STDERR_FILENO);
	close(stderr_kept);
	close(log_end);
	hook_free(hook);
	hook = NULL;
	loop_timer_free(guard);
	loop_free(loop);
	folder_remove();
}

START_TEST(environment_arguments_folder)
{
	ck_assert_int_eq(setenv("SECRET_OF_THE_DAEMON", "x", 1), 0);
	umask(077);
	run("#!/bin/sh\n"
	    "echo \"$# [$1] [$2]\"\n"
	    "tr '\\0' '\\n' </proc/self/environ\n"
	    "echo \"in $(pwd) umask $(umask)\"\n"
	    "echo \"input [$(cat)]\" >&2\n");
	umask(022);
	ck_assert(end.ok);
	ck_assert_int_eq(end.status, 0);
	/* A shell may add PWD and its like; nothing of ours. */
	ck_assert_ptr_null(strstr(logged(), "SECRET"));
	ck_assert_ptr_nonnull(strstr(logged(),
	    "web: hook: 2 [one] [two words; *]\n"
	    "web: hook: PATH=/usr/bin:/bin\n"
	    "web: hook: PORTLEASE_EVENT=mapped\n"));
	ck_assert_ptr_nonnull(strstr(logged(),
	    "web: hook: in / umask 0022\n"
	    "web: hook: input []\n"));
}
END_TEST

/* The daemon's sockets and its blocked or ignored signals are not the hook's business. */
START_TEST(descriptors_signals_group)
{
	sigset_t blocked, old;
	int open_one = dup(log_end), many = fcntl(log_end, F_DUPFD, 900);

	ck_assert_int_ge(open_one, 3);
	ck_assert_int_ge(many, 900);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &old);
	run("#!/bin/sh\n"
	    "for f in /proc/$$/fd/*; do n=${f##*/}; [ \"$n\" -gt 9 ] || echo \"fd $n\"; done\n"
	    "[ ! -e /proc/$$/fd/900 ] || echo fd 900\n"
	    "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'\n"
	    "read -r _ _ _ _ group _ </proc/$$/stat\n"
	    "echo \"leader $((group - $$))\"\n");
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	close(open_one);
	close(many);
	ck_assert(end.ok);
	ck_assert_ptr_nonnull(strstr(logged(), "web: hook: fd 2\n"));
	ck_assert_uint_le(count(logged(), "hook: fd "), 4); /* the shell holds its script open */
	ck_assert_ptr_null(strstr(logged(), "fd 900"));
	ck_assert_ptr_nonnull(strstr(logged(), "SigBlk:0000000000000000\n"));
	/* 32 and 33 are the C library's own; make may hand them down ignored. */
	ck_assert(strstr(logged(), "SigIgn:0000000000000000\n") != NULL ||
	    strstr(logged(), "SigIgn:0000000180000000\n") != NULL);
	ck_assert_ptr_nonnull(strstr(logged(), "leader 0\n"));
}
END_TEST

START_TEST(exit_status_and_signal)
{
	run("#!/bin/sh\nexit 3\n");
	ck_assert(!end.ok);
	ck_assert(!end.timed_out);
	ck_assert_int_eq(end.status, 3);
	run("#!/bin/sh\nkill -9 $$\n");
	ck_assert(!end.ok);
	ck_assert(!end.timed_out);
	ck_assert_int_eq(end.signal, SIGKILL);
}
END_TEST

START_TEST(not_to_be_run)
{
	start("/nonexistent/hook", PATIENCE);
	finish();
	ck_assert(!end.ok);
	ck_assert_int_eq(end.status, 127);
	ck_assert_ptr_nonnull(strstr(logged(), "/nonexistent/hook cannot be run: No such file"));
}
END_TEST

START_TEST(long_output)
{
	run("#!/bin/sh\ni=0\nwhile [ $i -lt 30000 ]; do echo \"line $i\"; i=$((i + 1)); done\n"
	    "exit 0\n");
	ck_assert(end.ok);
	ck_assert_uint_eq(count(logged(), "web: hook: line "), 64);
	ck_assert_ptr_nonnull(strstr(logged(), "line 63\n"));
	ck_assert_uint_eq(count(logged(), "more than 64 lines"), 1);
	ck_assert_uint_eq(count(logged(), "\n"), 65);
}
END_TEST

START_TEST(long_lines)
{
	run("#!/bin/sh\nhead -c 5000 /dev/zero | tr '\\0' x\necho end\nprintf 'no "
	    "\\033[31mnewline'\n");
	ck_assert(end.ok);
	ck_assert_uint_eq(count(logged(), "\n"), 2);
	ck_assert_uint_ge(count(logged(), "x"), 900);
	ck_assert_uint_le(count(logged(), "x"), 1025);
	ck_assert_ptr_null(strstr(logged(), "end"));
	ck_assert_ptr_nonnull(strstr(logged(), "web: hook: no \\x1b[31mnewline\n"));
}
END_TEST

START_TEST(hanging)
{
	start(script("#!/bin/sh\necho begun\nexec sleep 1000\n"), 300);
	finish();
	ck_assert(!end.ok);
	ck_assert(end.timed_out);
	ck_assert_int_eq(end.signal, SIGTERM);
	ck_assert_ptr_nonnull(strstr(logged(), "begun"));
}
END_TEST

static bool
alive(const char *name)
{
	FILE *f = fopen(in_folder(name), "r");
	char path[64], state = 'Z';
	int pid = 0;

	ck_assert_msg(f != NULL, "there is no %s", name);
	ck_assert_int_eq(fscanf(f, "%d", &pid), 1);
	fclose(f);
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	if (fscanf(f, "%*d %*s %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state != 'Z' && state != 'X';
}

/* Deaf to SIGTERM, with a child that is, too: the group is killed. */
START_TEST(hanging_deaf)
{
	char text[600];

	snprintf(text, sizeof text,
	    "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\necho $! >%s/child.new\n"
	    "mv %s/child.new %s/child\nwhile :; do sleep 1000; done\n",
	    folder, folder, folder);
	start(script(text), 1000);
	finish();
	ck_assert(!end.ok);
	ck_assert(end.timed_out);
	ck_assert_int_eq(end.signal, SIGKILL);
	for (unsigned i = 0; alive("child") && i < 1000; i++)
		usleep(10000);
	ck_assert(!alive("child"));
}
END_TEST

/* One that leaves a program behind that holds its output has ended all the same. */
START_TEST(background)
{
	char text[300];

	snprintf(
	    text, sizeof text, "#!/bin/sh\nsleep 1000 &\necho $! >%s/child\necho done\n", folder);
	run(text);
	ck_assert(end.ok);
	ck_assert_ptr_nonnull(strstr(logged(), "web: hook: done\n"));
	ck_assert(alive("child"));
	snprintf(text, sizeof text, "kill $(cat %s)", in_folder("child"));
	ck_assert_int_eq(system(text), 0);
}
END_TEST

START_TEST(freed_in_the_middle)
{
	char text[300];

	snprintf(text, sizeof text, "#!/bin/sh\necho $$ >%s/new\nmv %s/new %s/child\nsleep 1000\n",
	    folder, folder, folder);
	start(script(text), PATIENCE);
	ck_assert_ptr_nonnull(hook);
	for (unsigned i = 0; access(in_folder("child"), F_OK) != 0 && i < 1000; i++)
		usleep(10000);
	hook_free(hook);
	hook = NULL;
	for (unsigned i = 0; alive("child") && i < 1000; i++)
		usleep(10000);
	ck_assert(!alive("child"));
	ck_assert(!ended);
}
END_TEST

/* Other children are others' business. */
START_TEST(other_children)
{
	pid_t other = fork();
	int status;

	if (other == 0)
		_exit(7);
	run("#!/bin/sh\nexit 0\n");
	ck_assert(end.ok);
	ck_assert_int_eq(waitpid(other, &status, 0), other);
	ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

START_TEST(no_descriptors)
{
	const char *program = script("#!/bin/sh\nexit 0\n");
	struct rlimit old, few;
	unsigned refused = 0;
	int last = dup(log_end);

	close(last);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	/* From none to enough: each shortage is met once, and nothing leaks. */
	for (unsigned more = 0; hook == NULL; more++) {
		ck_assert_uint_lt(more, 16);
		few.rlim_cur = (rlim_t)last + more;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		errno = 0;
		start(program, PATIENCE);
		if (hook == NULL) {
			ck_assert_int_eq(errno, EMFILE);
			refused++;
		}
	}
	finish();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert(end.ok);
	ck_assert_uint_ge(refused, 2);
	ck_assert_int_eq(dup(log_end), last);
	close(last);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hook");
	TCase *tc = tcase_create("hook");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 90);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, environment_arguments_folder);
	tcase_add_test(tc, descriptors_signals_group);
	tcase_add_test(tc, exit_status_and_signal);
	tcase_add_test(tc, not_to_be_run);
	tcase_add_test(tc, long_output);
	tcase_add_test(tc, long_lines);
	tcase_add_test(tc, hanging);
	tcase_add_test(tc, hanging_deaf);
	tcase_add_test(tc, background);
	tcase_add_test(tc, freed_in_the_middle);
	tcase_add_test(tc, other_children);
	tcase_add_test(tc, no_descriptors);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
