/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/statefile.h"

#include "os/loop.h"

#include "folder.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define PATIENCE (10 * MSTIME_SECOND)

/*
 * Stand-ins for the C library's fsync() and rename: what was made durable in which order, and a
 * disk that takes as long as the test wants.
 */
static char trail[64];
static int gate = -1;    /* fsync of a file waits until this can be read */
static int fail_sync;    /* errno for the next fsync of a file */
static bool hold_signal; /* fsync sends this process SIGTERM first */

static void
mark(char c)
{
	size_t n = strlen(trail);

	if (n < sizeof trail - 1)
		trail[n] = c;
}

int
fsync(int fd)
{
	struct stat st;
	char c;

	if (fstat(fd, &st) != 0)
		return -1;
	mark(S_ISDIR(st.st_mode) ? 'd' : 'f');
	if (S_ISREG(st.st_mode) && fail_sync != 0) {
		errno = fail_sync;
		return -1;
	}
	if (S_ISREG(st.st_mode) && hold_signal)
		kill(getpid(), SIGTERM);
	if (S_ISREG(st.st_mode) && gate >= 0 && read(gate, &c, 1) < 0)
		return -1;
	return 0;
}

int
renameat(int from, const char *old, int to, const char *new)
{
	mark('r');
	return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

/* ---- the file -------------------------------------------------------------------------- */

/* The order is what makes it safe: content, name, folder. */
START_TEST(durable_in_this_order)
{
	ck_assert_int_eq(statefile_write(folder, "state.json", "one", 3), 0);
	ck_assert_str_eq(trail, "frd");
	file_equals("state.json", "one", 3);
	ck_assert_uint_eq(file_mode("state.json"), 0600);
	ck_assert_int_eq(statefile_write(folder, "state.json", "two, longer", 11), 0);
	file_equals("state.json", "two, longer", 11);
	ck_assert_int_eq(statefile_write(folder, "state.json", "", 0), 0);
	file_equals("state.json", "", 0);
	ck_assert_int_eq(folder_count(), 1);
}
END_TEST

START_TEST(the_mode_is_ours_whatever_was_there)
{
	umask(0);
	file_make("state.json", "old", 3);
	file_make(".state.json.new", "left by a crash", 15);
	ck_assert_uint_eq(file_mode("state.json"), 0666);
	ck_assert_int_eq(statefile_write(folder, "state.json", "new", 3), 0);
	ck_assert_uint_eq(file_mode("state.json"), 0600);
	ck_assert_int_eq(folder_count(), 1);
}
END_TEST

START_TEST(a_failed_write_leaves_the_old_one)
{
	char long_name[300];

	ck_assert_int_eq(statefile_write(folder, "state.json", "old", 3), 0);
	fail_sync = ENOSPC;
	ck_assert_int_eq(statefile_write(folder, "state.json", "new", 3), -ENOSPC);
	fail_sync = 0;
	file_equals("state.json", "old", 3);
	ck_assert_int_eq(folder_count(), 1);
	ck_assert_int_eq(statefile_write("/nosuch/folder", "state.json", "x", 1), -ENOENT);
	memset(long_name, 'n', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	ck_assert_int_eq(statefile_write(folder, long_name, "x", 1), -ENAMETOOLONG);
}
END_TEST

START_TEST(reading)
{
	char *bytes = NULL;
	size_t n = 77;

	ck_assert_int_eq(statefile_read(folder, "state.json", 100, &bytes, &n), -ENOENT);
	file_make("state.json", "a\0b", 3);
	ck_assert_int_eq(statefile_read(folder, "state.json", 2, &bytes, &n), -EFBIG);
	ck_assert_ptr_null(bytes);
	ck_assert_uint_eq(n, 77);
	ck_assert_int_eq(statefile_read(folder, "state.json", 3, &bytes, &n), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(bytes, "a\0b\0", 4);
	free(bytes);
	file_make("empty", "", 0);
	ck_assert_int_eq(statefile_read(folder, "empty", 3, &bytes, &n), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(bytes[0], '\0');
	free(bytes);
	ck_assert_int_eq(mkfifo(in_folder("fifo"), 0600), 0);
	ck_assert_int_eq(statefile_read(folder, "fifo", 100, &bytes, &n), -EINVAL);
	ck_assert_int_eq(symlink("state.json", in_folder("link")), 0);
	ck_assert_int_eq(statefile_read(folder, "link", 100, &bytes, &n), -EINVAL);
	ck_assert_int_eq(mkdir(in_folder("dir"), 0700), 0);
	ck_assert_int_eq(statefile_read(folder, "dir", 100, &bytes, &n), -EINVAL);
	ck_assert_int_eq(statefile_read("/nosuch/folder", "state.json", 9, &bytes, &n), -ENOENT);
}
END_TEST

START_TEST(setting_aside)
{
	ck_assert_int_eq(statefile_set_aside(folder, "state.json"), -ENOENT);
	file_make("state.json", "damaged", 7);
	file_make("state.json.bad", "an older one", 12);
	ck_assert_int_eq(statefile_set_aside(folder, "state.json"), 0);
	file_equals("state.json.bad", "damaged", 7);
	ck_assert_int_eq(folder_count(), 1);
}
END_TEST

/* ---- the writer ------------------------------------------------------------------------ */

static struct loop *loop;
static struct loop_timer *guard;
static struct statefile *file;
static bool timed_out;
static int calls, last_error, wanted_calls, disk[2];

static void
give_up(void *ctx)
{
	(void)ctx;
	timed_out = true;
	loop_stop(loop);
}

static void
done(void *ctx, int error)
{
	ck_assert_ptr_eq(ctx, &calls);
	last_error = error;
	if (++calls == wanted_calls)
		loop_stop(loop);
}

/* Until `done` was called so often in all. */
static void
run_until(int n)
{
	wanted_calls = n;
	timed_out = false;
	loop_timer_set(guard, loop_now(loop) + PATIENCE);
	if (calls < n)
		ck_assert_int_eq(loop_run(loop), 0);
	ck_assert(!timed_out);
	ck_assert_int_eq(calls, n);
}

static void
setup(void)
{
	folder_make();
	memset(trail, 0, sizeof trail);
	gate = -1;
	fail_sync = 0;
	hold_signal = false;
	calls = 0;
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	guard = loop_timer_new(loop, give_up, NULL);
	file = statefile_new(loop, folder, "state.json", done, &calls);
	ck_assert_ptr_nonnull(file);
	/* Written by the test, read by the child in fsync(); not closed by close_range() there, for
	 * it is standard output. */
	ck_assert_int_eq(pipe(disk), 0);
}

static void
teardown(void)
{
	statefile_free(file);
	loop_timer_free(guard);
	loop_free(loop);
	folder_remove();
}

static int saved_output = -1;

static void
slow_disk(void)
{
	saved_output = dup(STDOUT_FILENO);
	dup2(disk[0], STDOUT_FILENO);
	gate = STDOUT_FILENO;
}

static void
normal_output(void)
{
	dup2(saved_output, STDOUT_FILENO);
	close(saved_output);
}

static void
disk_is_done(int times)
{
	while (times-- > 0)
		ck_assert_int_eq(write(disk[1], "x", 1), 1);
}

START_TEST(written_by_a_child)
{
	ck_assert(!statefile_busy(file));
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	ck_assert(statefile_busy(file));
	run_until(1);
	ck_assert_int_eq(last_error, 0);
	ck_assert(!statefile_busy(file));
	file_equals("state.json", "one", 3);
	ck_assert_str_eq(trail, ""); /* nothing of it happened in this process */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* While the disk is busy the loop goes on, and only the latest document is kept. */
START_TEST(the_latest_wins)
{
	char text[] = "three";

	slow_disk();
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	ck_assert_int_eq(statefile_put(file, "two", 3), 0);
	ck_assert_int_eq(statefile_put(file, text, 5), 0);
	memset(text, 'x', 5);
	disk_is_done(1);
	run_until(1);
	file_equals("state.json", "one", 3);
	ck_assert(statefile_busy(file));
	disk_is_done(1);
	run_until(2);
	file_equals("state.json", "three", 5);
	ck_assert(!statefile_busy(file));
	normal_output();
}
END_TEST

START_TEST(errors_are_told)
{
	fail_sync = EIO;
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	run_until(1);
	ck_assert_int_eq(last_error, -EIO);
	fail_sync = 0;
	ck_assert_int_eq(statefile_put(file, "two", 3), 0);
	run_until(2);
	ck_assert_int_eq(last_error, 0);
	file_equals("state.json", "two", 3);
}
END_TEST

static void
ignore(int number)
{
	(void)number;
	mark('!');
}

/* A signal to the whole group, as a service manager sends it, stops no write half-way. */
START_TEST(the_child_is_deaf)
{
	signal(SIGTERM, SIG_DFL);
	hold_signal = true;
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	run_until(1);
	ck_assert_int_eq(last_error, 0);
	file_equals("state.json", "one", 3);
	ck_assert_str_eq(trail, "");
	/* And this process hears as before. */
	signal(SIGTERM, ignore);
	ck_assert_int_eq(raise(SIGTERM), 0);
	ck_assert_str_eq(trail, "!");
}
END_TEST

START_TEST(a_killed_child_is_an_error)
{
	pid_t child = -1;
	char path[64], line[64] = "";
	FILE *f;

	slow_disk();
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
	f = fopen(path, "r");
	if (f != NULL && fgets(line, sizeof line, f) != NULL)
		child = (pid_t)atol(line);
	if (f != NULL)
		fclose(f);
	if (child > 0) { /* a kernel that tells */
		ck_assert_int_eq(kill(child, SIGKILL), 0);
		run_until(1);
		ck_assert_int_eq(last_error, -ECHILD);
		ck_assert(!statefile_busy(file));
	}
	disk_is_done(2);
	normal_output();
}
END_TEST

START_TEST(flush_writes_everything)
{
	slow_disk();
	ck_assert_int_eq(statefile_flush(file, 0), 0);
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	ck_assert_int_eq(statefile_put(file, "two", 3), 0);
	disk_is_done(2);
	ck_assert_int_eq(statefile_flush(file, PATIENCE), 0);
	file_equals("state.json", "two", 3);
	ck_assert(!statefile_busy(file));
	ck_assert_int_eq(calls, 0);
	normal_output();
}
END_TEST

START_TEST(flush_tells_the_last_error)
{
	fail_sync = EROFS;
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	ck_assert_int_eq(statefile_flush(file, PATIENCE), -EROFS);
}
END_TEST

START_TEST(flush_is_bounded)
{
	slow_disk();
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	ck_assert_int_eq(statefile_put(file, "two", 3), 0);
	ck_assert_int_eq(statefile_flush(file, 50), -ETIMEDOUT);
	ck_assert(statefile_busy(file));
	/* The one at work goes on, also when the writer is gone. */
	statefile_free(file);
	file = NULL;
	disk_is_done(1);
	for (int i = 0; i < 1000 && access(in_folder("state.json"), F_OK) != 0; i++)
		usleep(10000);
	file_equals("state.json", "one", 3);
	ck_assert_int_ge(waitpid(-1, NULL, 0), 1);
	normal_output();
}
END_TEST

static int held[2];

/* Clients of the daemon must not have to wait for the child, too. */
START_TEST(the_child_holds_nothing)
{
	char c;

	slow_disk();
	ck_assert_int_eq(pipe(held), 0);
	ck_assert_int_eq(statefile_put(file, "one", 3), 0);
	close(held[1]);
	alarm((unsigned)(PATIENCE / MSTIME_SECOND));
	ck_assert_int_eq(read(held[0], &c, 1), 0); /* the end, while the disk is still busy */
	disk_is_done(1);
	run_until(1);
	normal_output();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("statefile");
	TCase *tc = tcase_create("statefile");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, durable_in_this_order);
	tcase_add_test(tc, the_mode_is_ours_whatever_was_there);
	tcase_add_test(tc, a_failed_write_leaves_the_old_one);
	tcase_add_test(tc, reading);
	tcase_add_test(tc, setting_aside);
	tcase_add_test(tc, written_by_a_child);
	tcase_add_test(tc, the_latest_wins);
	tcase_add_test(tc, errors_are_told);
	tcase_add_test(tc, the_child_is_deaf);
	tcase_add_test(tc, a_killed_child_is_an_error);
	tcase_add_test(tc, flush_writes_everything);
	tcase_add_test(tc, flush_tells_the_last_error);
	tcase_add_test(tc, flush_is_bounded);
	tcase_add_test(tc, the_child_holds_nothing);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
