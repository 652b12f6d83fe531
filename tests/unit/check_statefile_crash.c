/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/statefile.h"

#include "folder.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/*
 * A writer that dies between any two of its system calls: there is the old document or the new one,
 * whole, and the next writer gets on with it.
 */
#define OLD "the old document"
#define NEW "the new document, which is longer than the old one"
#define STOPS_MAX 200

static _Noreturn void
writer(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(77);
	raise(SIGSTOP);
	_exit(statefile_write(folder, "state.json", NEW, strlen(NEW)) == 0 ? 0 : 1);
}

/* Lets a writer run up to its n-th stop at the border of a system call, and kills it there. What
 * waitpid() tells of its end; -1: it cannot be traced here. */
static int
run_up_to(unsigned n)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		writer();
	ck_assert_int_gt(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		return -1;
	for (unsigned i = 0; WIFSTOPPED(status) && i < n; i++) {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
	}
	if (!WIFSTOPPED(status))
		return status;
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

START_TEST(killed_between_any_two_system_calls)
{
	unsigned old = 0, new = 0, n = 0;
	int status;

	do {
		char *bytes;
		size_t size;

		ck_assert_int_eq(statefile_write(folder, "state.json", OLD, strlen(OLD)), 0);
		status = run_up_to(n++);
		if (status == -1)
			return; /* not allowed here */
		ck_assert_int_eq(statefile_read(folder, "state.json", 1000, &bytes, &size), 0);
		if (strcmp(bytes, OLD) == 0)
			old++;
		else if (strcmp(bytes, NEW) == 0)
			new ++;
		else
			ck_abort_msg("after %u stops: \"%s\"", n - 1, bytes);
		free(bytes);
		ck_assert_uint_eq(file_mode("state.json"), 0600);
	} while (!WIFEXITED(status) && n < STOPS_MAX);
	/* It came to its end at last, and there was something to interrupt on both sides. */
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_uint_gt(old, 5);
	ck_assert_uint_gt(new, 1);
	/* Nothing piles up. */
	ck_assert_int_eq(statefile_write(folder, "state.json", OLD, strlen(OLD)), 0);
	ck_assert_int_eq(folder_count(), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("statefile_crash");
	TCase *tc = tcase_create("statefile_crash");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, folder_make, folder_remove);
	tcase_add_test(tc, killed_between_any_two_system_calls);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
