/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char captured[8192];
static int file = -1, saved = -1;

/* Standard error leads to a file while `captured` is filled. */
static void
redirect(void)
{
	char name[] = "/tmp/check_log.XXXXXX";

	fflush(stderr);
	file = mkstemp(name);
	ck_assert_int_ge(file, 0);
	unlink(name);
	saved = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
}

static const char *
written(void)
{
	ssize_t n = pread(file, captured, sizeof captured - 1, 0);

	captured[n > 0 ? n : 0] = '\0';
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(file);
	return captured;
}

START_TEST(levels)
{
	redirect();
	log_info("one");
	log_debug("hidden");
	log_set_level(LOG_LEVEL_WARNING);
	log_info("hidden");
	log_warning("two %d", 2);
	log_error("three");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("four");
	ck_assert_str_eq(written(), "one\ntwo 2\nthree\nfour\n");
	ck_assert(log_enabled(LOG_LEVEL_DEBUG));
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert(log_enabled(LOG_LEVEL_ERROR));
	ck_assert(!log_enabled(LOG_LEVEL_WARNING));
}
END_TEST

START_TEST(parse_level)
{
	enum log_level level = LOG_LEVEL_INFO;

	ck_assert(log_parse_level("error", &level) && level == LOG_LEVEL_ERROR);
	ck_assert(log_parse_level("warning", &level) && level == LOG_LEVEL_WARNING);
	ck_assert(log_parse_level("info", &level) && level == LOG_LEVEL_INFO);
	ck_assert(log_parse_level("debug", &level) && level == LOG_LEVEL_DEBUG);
	ck_assert(!log_parse_level("Debug", &level));
	ck_assert(!log_parse_level("", &level));
	ck_assert(!log_parse_level("info ", &level));
	ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
}
END_TEST

static const struct {
	const char *text, *line;
} escapes[] = {
	{ "plain", "plain\n" }, { "", "\n" }, { "a\nb\r\tc", "a\\x0ab\\x0d\\x09c\n" },
	{ "\x1b[31mred\x7f", "\\x1b[31mred\\x7f\n" },
	{ "caf\xc3\xa9 \xe2\x86\x92 \xf0\x9f\x8f\xa0",
	    "caf\xc3\xa9 \xe2\x86\x92 \xf0\x9f\x8f\xa0\n" },
	{ "\xc2\x9b"
	  "31m",
	    "\\xc2\\x9b31m\n" }, /* C1 in UTF-8 */
	{ "\xc2\xa0", "\xc2\xa0\n" },
	{ "\x9b"
	  "31m\xff",
	    "\\x9b31m\\xff\n" },                                        /* C1 in Latin-1 */
	{ "\xc3", "\\xc3\n" },                                          /* cut short */
	{ "\xe2\x86", "\\xe2\\x86\n" }, { "\xc0\x8a", "\\xc0\\x8a\n" }, /* overlong */
	{ "\xe0\x82\x9b", "\\xe0\\x82\\x9b\n" },                        /* overlong C1 */
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80\n" },                        /* surrogate */
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80\n" },               /* beyond Unicode */
};

START_TEST(escape)
{
	redirect();
	log_info("%s", escapes[_i].text);
	ck_assert_str_eq(written(), escapes[_i].line);
}
END_TEST

START_TEST(long_lines_end)
{
	static char text[5000];
	const char *line;

	memset(text, 'x', sizeof text - 1);
	redirect();
	log_info("%s", text);
	line = written();
	ck_assert_uint_ge(strlen(line), 900);
	ck_assert_uint_le(strlen(line), 2100);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	memset(text, '\x01', sizeof text - 1);
	redirect();
	log_info("%s", text);
	line = written();
	ck_assert_uint_ge(strlen(line), 900);
	ck_assert_uint_le(strlen(line), 2100);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

START_TEST(errno_survives)
{
	redirect();
	errno = ENOTTY;
	log_info("x");
	ck_assert_int_eq(errno, ENOTTY);
	close(STDERR_FILENO);
	log_info("x");
	ck_assert_int_eq(errno, ENOTTY);
	(void)written();
}
END_TEST

static void
init_with(unsigned long long device, unsigned long long inode, const char *tail)
{
	char stream[80];

	snprintf(stream, sizeof stream, "%llu:%llu%s", device, inode, tail);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init();
}

/* The text behind the "2026-11-22 08:29:01 " of a line; fails if that is not there. */
static const char *
after_stamp(const char *line)
{
	int year, month, day, hour, minute, second, end = 0;

	ck_assert_msg(sscanf(line, "%4d-%2d-%2d %2d:%2d:%2d %n", &year, &month, &day, &hour,
			  &minute, &second, &end) == 6 &&
		end == 20,
	    "'%s'", line);
	ck_assert_int_ge(year, 2020);
	return line + end;
}

static void
check_stamped(const char *const *texts)
{
	const char *line = captured;

	for (; *texts != NULL; texts++) {
		const char *text = after_stamp(line);
		size_t n = strcspn(text, "\n");

		ck_assert_msg(strlen(*texts) == n && strncmp(text, *texts, n) == 0, "'%s'", text);
		line = text + n + 1;
	}
	ck_assert_str_eq(line, "");
}

/* sd-daemon(3) prefixes, only when the journal really is at the other end. */
START_TEST(journal)
{
	static const char *const stamped[] = { "another file", "another device", "another number",
		"no number", "no variable", NULL };
	struct stat st;

	redirect();
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	log_set_level(LOG_LEVEL_DEBUG);
	init_with(st.st_dev, st.st_ino, "");
	log_error("a");
	log_warning("b");
	log_info("c\nd");
	log_debug("e");
	ck_assert_str_eq(written(), "<3>a\n<4>b\n<6>c\\x0ad\n<7>e\n");
	redirect();
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	init_with(st.st_dev, st.st_ino + 1, "");
	log_info("another file");
	init_with(st.st_dev + 1, st.st_ino, "");
	log_info("another device");
	init_with(st.st_dev, st.st_ino, "0");
	log_info("another number");
	init_with(st.st_dev, st.st_ino, "x");
	log_info("no number");
	unsetenv("JOURNAL_STREAM");
	log_init();
	log_info("no variable");
	(void)written();
	check_stamped(stamped);
}
END_TEST

/* So has a pipe, such as `| tee`. */
START_TEST(pipes)
{
	static const char *const stamped[] = { "one", "two", NULL };
	int ends[2];
	ssize_t n;

	ck_assert_int_eq(pipe(ends), 0);
	unsetenv("JOURNAL_STREAM");
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	log_init();
	log_info("one");
	log_warning("two");
	dup2(saved, STDERR_FILENO);
	n = read(ends[0], captured, sizeof captured - 1);
	ck_assert_int_gt(n, 0);
	captured[n] = '\0';
	check_stamped(stamped);
}
END_TEST

/* The time is the local one, of this moment. */
START_TEST(local_time)
{
	struct tm tm = { .tm_isdst = 0 };
	time_t before, after, then;

	setenv("TZ", "IST-5:30", 1);
	tzset();
	unsetenv("JOURNAL_STREAM");
	redirect();
	log_init();
	before = time(NULL);
	log_info("now");
	after = time(NULL);
	ck_assert_str_eq(after_stamp(written()), "now\n");
	ck_assert_ptr_nonnull(strptime(captured, "%Y-%m-%d %H:%M:%S", &tm));
	then = timegm(&tm) - (5 * 60 + 30) * 60;
	ck_assert_int_ge(then, before);
	ck_assert_int_le(then, after);
}
END_TEST

/* And a terminal. */
START_TEST(terminal)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	char line[200];
	ssize_t n;

	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(slave, 0);
	unsetenv("JOURNAL_STREAM");
	saved = dup(STDERR_FILENO);
	dup2(slave, STDERR_FILENO);
	log_init();
	log_info("hello");
	dup2(saved, STDERR_FILENO);
	n = read(master, line, sizeof line - 1);
	ck_assert_int_gt(n, 0);
	line[n] = '\0';
	ck_assert_int_eq(strncmp(after_stamp(line), "hello", 5), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, levels);
	tcase_add_test(tc, parse_level);
	tcase_add_loop_test(tc, escape, 0, (int)(sizeof escapes / sizeof escapes[0]));
	tcase_add_test(tc, long_lines_end);
	tcase_add_test(tc, errno_survives);
	tcase_add_test(tc, journal);
	tcase_add_test(tc, pipes);
	tcase_add_test(tc, local_time);
	tcase_add_test(tc, terminal);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
