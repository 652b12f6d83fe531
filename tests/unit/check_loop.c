/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/loop.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE (10 * MSTIME_SECOND)

static struct loop *loop;
static struct loop_timer *guard;
static bool timed_out;
static char trail[200]; /* what happened, a letter each */

static void
mark(char c)
{
	size_t n = strlen(trail);

	ck_assert_uint_lt(n, sizeof trail - 1);
	trail[n] = c;
}

#if __SIZEOF_LONG__ == 8
#define COUNTS_ARMING 1
static int armed;

/* Stands in for the C library's: how often is the kernel bothered? */
int
timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	armed++;
	return (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
}
#endif

static mstime
boottime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (mstime)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
give_up(void *ctx)
{
	(void)ctx;
	timed_out = true;
	loop_stop(loop);
}

/* Until somebody stops it. */
static void
run(void)
{
	timed_out = false;
	loop_timer_set(guard, loop_now(loop) + PATIENCE);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert(!timed_out);
}

static void
setup(void)
{
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	guard = loop_timer_new(loop, give_up, NULL);
	memset(trail, 0, sizeof trail);
}

static void
teardown(void)
{
	loop_timer_free(guard);
	loop_free(loop);
}

/* ---- timers ---------------------------------------------------------------------------- */

struct slot {
	struct loop_timer *timer;
	char letter;
	mstime due, fired;
	bool last;
};

static void
note(void *ctx)
{
	struct slot *s = ctx;

	mark(s->letter);
	s->fired = loop_now(loop);
	if (s->last)
		loop_stop(loop);
}

START_TEST(timers_fire_in_order_and_never_early)
{
	struct slot s[4] = { { .letter = 'a' }, { .letter = 'b' }, { .letter = 'c' },
		{ .letter = 'd' } };
	static const int after[] = { 60, 20, 40, 5000 };
	mstime start = boottime();

	for (int i = 0; i < 4; i++) {
		s[i].timer = loop_timer_new(loop, note, &s[i]);
		s[i].due = start + after[i];
		loop_timer_set(s[i].timer, s[i].due);
	}
	s[0].last = true;
	loop_timer_set(s[3].timer, MSTIME_NEVER);
	run();
	ck_assert_str_eq(trail, "bca");
	for (int i = 0; i < 3; i++)
		ck_assert_int_ge(s[i].fired, s[i].due);
	for (int i = 0; i < 4; i++)
		loop_timer_free(s[i].timer);
}
END_TEST

START_TEST(a_timer_of_the_past_fires_at_once)
{
	struct slot s = { .letter = 'p', .last = true };

	s.timer = loop_timer_new(loop, note, &s);
	loop_timer_set(s.timer, -5);
	run();
	ck_assert_str_eq(trail, "p");
	loop_timer_free(s.timer);
}
END_TEST

static void
free_itself(void *ctx)
{
	struct slot *s = ctx;

	mark('f');
	loop_timer_free(s->timer);
	loop_timer_free(s[1].timer); /* was due at the same time */
	loop_stop(loop);
}

START_TEST(timers_may_be_freed_by_a_timer)
{
	struct slot s[2] = { { .letter = 'f' }, { .letter = 'x' } };

	s[1].timer = loop_timer_new(loop, note, &s[1]);
	s[0].timer = loop_timer_new(loop, free_itself, s);
	loop_timer_set(s[0].timer, 1);
	loop_timer_set(s[1].timer, 2);
	run();
	ck_assert_str_eq(trail, "f");
}
END_TEST

static void
again(void *ctx)
{
	struct slot *s = ctx;

	loop_timer_set(s->timer, loop_now(loop));
	s->due++; /* counts here */
}

static void
readable(void *ctx)
{
	(void)ctx;
	mark('r');
	loop_stop(loop);
}

/* A timer that sets itself to "now" must not keep everybody else out. */
START_TEST(an_eager_timer_starves_nobody)
{
	struct slot s = { 0 };
	struct loop_fd *fd;
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	s.timer = loop_timer_new(loop, again, &s);
	fd = loop_fd_new(loop, ends[0], readable, NULL);
	loop_timer_set(s.timer, 1);
	ck_assert_int_eq(write(ends[1], "x", 1), 1);
	run();
	ck_assert_str_eq(trail, "r");
	ck_assert_int_ge(s.due, 1);
	loop_fd_free(fd);
	loop_timer_free(s.timer);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* ---- descriptors ----------------------------------------------------------------------- */

struct reader {
	int ends[2];
	struct loop_fd *watch;
	struct reader *other;
	char letter;
	mstime now;
};

static void
reader_open(struct reader *r, char letter, void (*ready)(void *))
{
	ck_assert_int_eq(pipe2(r->ends, O_NONBLOCK), 0);
	r->letter = letter;
	r->watch = loop_fd_new(loop, r->ends[0], ready, r);
	ck_assert_ptr_nonnull(r->watch);
}

static void
reader_close(struct reader *r)
{
	loop_fd_free(r->watch);
	close(r->ends[0]);
	close(r->ends[1]);
}

/* Reads one octet only: what is left must be told again. */
static void
read_one(void *ctx)
{
	struct reader *r = ctx;
	char c;

	ck_assert_int_eq(read(r->ends[0], &c, 1), 1);
	mark(c);
	r->now = loop_now(loop);
	if (c == '.')
		loop_stop(loop);
}

START_TEST(reading_is_level_triggered)
{
	struct reader r;

	reader_open(&r, 'r', read_one);
	ck_assert_int_eq(write(r.ends[1], "abc.", 4), 4);
	run();
	ck_assert_str_eq(trail, "abc.");
	reader_close(&r);
}
END_TEST

static void
free_both(void *ctx)
{
	struct reader *r = ctx;

	mark('f');
	loop_fd_free(r->watch);
	loop_fd_free(r->other->watch);
	r->watch = r->other->watch = NULL;
	loop_stop(loop);
}

/* Whichever of two ready descriptors comes first frees both. */
START_TEST(watches_may_be_freed_by_a_callback)
{
	struct reader a, b;

	reader_open(&a, 'a', free_both);
	reader_open(&b, 'b', free_both);
	a.other = &b;
	b.other = &a;
	ck_assert_int_eq(write(a.ends[1], "x", 1), 1);
	ck_assert_int_eq(write(b.ends[1], "x", 1), 1);
	run();
	ck_assert_str_eq(trail, "f");
	reader_close(&a);
	reader_close(&b);
}
END_TEST

static void
resume(void *ctx)
{
	struct reader *r = ctx;

	mark('|');
	loop_fd_want_read(r->watch, true);
}

START_TEST(reading_can_be_paused)
{
	struct reader r;
	struct loop_timer *later;

	reader_open(&r, 'r', read_one);
	loop_fd_want_read(r.watch, false);
	loop_fd_want_read(r.watch, false);
	later = loop_timer_new(loop, resume, &r);
	loop_timer_set(later, loop_now(loop) + 30);
	ck_assert_int_eq(write(r.ends[1], "a.", 2), 2);
	run();
	ck_assert_str_eq(trail, "|a.");
	loop_timer_free(later);
	reader_close(&r);
}
END_TEST

static void
write_ready(void *ctx)
{
	struct reader *r = ctx;

	mark('w');
	loop_fd_want_write(r->watch, false);
	loop_stop(loop);
}

START_TEST(writing_is_waited_for_on_demand)
{
	struct reader r;
	struct loop_fd *out;
	struct slot s = { .letter = 't', .last = true };

	reader_open(&r, 'r', read_one);
	s.timer = loop_timer_new(loop, note, &s);
	out = loop_fd_new(loop, r.ends[1], write_ready, &r);
	loop_fd_free(r.watch);
	r.watch = out;
	/* Writable all the time, but nobody asked. */
	loop_timer_set(s.timer, loop_now(loop) + 20);
	run();
	ck_assert_str_eq(trail, "t");
	loop_fd_want_write(out, true);
	run();
	ck_assert_str_eq(trail, "tw");
	loop_timer_free(s.timer);
	reader_close(&r);
	loop_fd_free(NULL);
}
END_TEST

/* ---- rounds ---------------------------------------------------------------------------- */

static int afters;

static void
after(void *ctx)
{
	(void)ctx;
	mark('+');
	if (++afters == 3)
		loop_stop(loop);
}

static void
next_step(void *ctx)
{
	struct slot *s = ctx;

	mark(s->letter);
	s->fired = loop_now(loop);
	usleep(3000); /* the clock goes on, "now" does not */
	ck_assert_int_eq(loop_now(loop), s->fired);
	if (s->last)
		loop_timer_set(s->timer, s->fired + 1);
}

/* Once per round, first of all before anything happened; all of a round see the same time. */
START_TEST(after_every_round)
{
	struct slot s[2] = { { .letter = 'a' }, { .letter = 'b', .last = true } };

	loop_set_after(loop, after, NULL);
	for (int i = 0; i < 2; i++) {
		s[i].timer = loop_timer_new(loop, next_step, &s[i]);
		loop_timer_set(s[i].timer, 1 + i);
	}
	afters = 0;
	run();
	ck_assert_str_eq(trail, "+ab+b+");
	ck_assert_int_lt(s[0].fired, s[1].fired);
	for (int i = 0; i < 2; i++)
		loop_timer_free(s[i].timer);
}
END_TEST

/* P-64: CLOCK_BOOTTIME */
START_TEST(outside_of_a_round_now_is_now)
{
	mstime first = loop_now(loop), again_ms;

	ck_assert_int_ge(boottime(), first);
	usleep(3000);
	again_ms = loop_now(loop);
	ck_assert_int_gt(again_ms, first);
}
END_TEST

/* An idle daemon makes no system call for its timer. */
START_TEST(armed_only_when_the_minimum_changed)
{
#ifdef COUNTS_ARMING
	struct reader r;
	struct slot s = { .letter = 's' };
	int before;

	reader_open(&r, 'r', read_one);
	s.timer = loop_timer_new(loop, note, &s);
	loop_timer_set(s.timer, loop_now(loop) + PATIENCE / 2);
	ck_assert_int_eq(write(r.ends[1], "abcdefgh.", 9), 9);
	before = armed;
	run();
	ck_assert_str_eq(trail, "abcdefgh.");
	ck_assert_int_eq(armed, before + 1);
	loop_timer_free(s.timer);
	reader_close(&r);
#endif
}
END_TEST

static void
got_signal(void *ctx, int number)
{
	ck_assert_int_eq(number, SIGUSR1);
	mark(*(char *)ctx);
	loop_stop(loop);
}

START_TEST(signals_come_in_the_loop)
{
	char letter = 's';

	ck_assert(loop_signal(loop, SIGUSR1, got_signal, &letter));
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_str_eq(trail, "");
	run();
	ck_assert_str_eq(trail, "s");
	ck_assert(!loop_signal(loop, 12345, got_signal, &letter));
}
END_TEST

START_TEST(stop_before_run_counts)
{
	loop_stop(loop);
	run();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("loop");
	TCase *tc = tcase_create("loop");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, timers_fire_in_order_and_never_early);
	tcase_add_test(tc, a_timer_of_the_past_fires_at_once);
	tcase_add_test(tc, timers_may_be_freed_by_a_timer);
	tcase_add_test(tc, an_eager_timer_starves_nobody);
	tcase_add_test(tc, reading_is_level_triggered);
	tcase_add_test(tc, watches_may_be_freed_by_a_callback);
	tcase_add_test(tc, reading_can_be_paused);
	tcase_add_test(tc, writing_is_waited_for_on_demand);
	tcase_add_test(tc, after_every_round);
	tcase_add_test(tc, outside_of_a_round_now_is_now);
	tcase_add_test(tc, armed_only_when_the_minimum_changed);
	tcase_add_test(tc, signals_come_in_the_loop);
	tcase_add_test(tc, stop_before_run_counts);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
