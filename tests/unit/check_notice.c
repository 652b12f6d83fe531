/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "notice.h"

START_TEST(mapped_once)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	at(now + 100 * SECOND);
	for (int i = 0; i < 5; i++)
		event(EVENT_RENEWED, "web", PROTOCOL_TCP, 7, 80);
	at(now + 100 * SECOND);
	expect("");
	ck_assert(notices_idle(n));
}
END_TEST

START_TEST(whole_life)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	CHANGED(8, 80);
	expect("changed web/tcp 203.0.113.8:80 was 203.0.113.7:80");
	done(true);
	CHANGED(8, 81);
	expect("changed web/tcp 203.0.113.8:81 was 203.0.113.8:80");
	done(true);
	DOWN(EVENT_LOST);
	expect("lost web/tcp  was 203.0.113.8:81");
	done(true);
	REFUSED(2);
	expect("failed web/tcp ");
	done(true);
	REFUSED(2);
	expect("");
	REFUSED(8);
	expect("failed web/tcp ");
	done(true);
	UP(8, 81);
	expect("mapped web/tcp 203.0.113.8:81");
	done(true);
	DOWN(EVENT_RELEASED);
	expect("released web/tcp  was 203.0.113.8:81");
	done(true);
	expect("");
}
END_TEST

START_TEST(address_is_waited_for)
{
	UP(0, 80);
	at(now + 4999);
	expect("");
	CHANGED(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
}
END_TEST

START_TEST(address_never_comes)
{
	UP(0, 80);
	at(now + 3 * SECOND);
	CHANGED(0, 81); /* the wait is not prolonged */
	at(now + 1999);
	expect("");
	at(now + 1);
	expect("mapped web/tcp 81");
	done(true);
	event(EVENT_RENEWED, "web", PROTOCOL_TCP, 0, 81);
	expect("");
	CHANGED(7, 81);
	expect("changed web/tcp 203.0.113.7:81 was 81");
	done(true);
	event(EVENT_RENEWED, "web", PROTOCOL_TCP, 0, 81); /* not known now: nothing new */
	expect("");
}
END_TEST

START_TEST(latest_state_only)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	CHANGED(7, 81);
	CHANGED(7, 82);
	DOWN(EVENT_LOST);
	UP(9, 83);
	expect("");
	ck_assert(!notices_idle(n));
	done(true);
	expect("changed web/tcp 203.0.113.9:83 was 203.0.113.7:80");
	done(true);
	expect("");
}
END_TEST

START_TEST(back_again_is_nothing)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	CHANGED(7, 81);
	DOWN(EVENT_LOST);
	UP(7, 80);
	done(true);
	at(now + 1000 * SECOND);
	expect("");
}
END_TEST

START_TEST(up_and_down_during_a_run)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	DOWN(EVENT_LOST);
	done(true);
	expect("lost web/tcp  was 203.0.113.7:80");
	UP(7, 80);
	done(true);
	expect("mapped web/tcp 203.0.113.7:80");
}
END_TEST

START_TEST(one_at_a_time)
{
	UP(7, 80);
	event(EVENT_MAPPED, "web", PROTOCOL_UDP, 7, 80);
	ck_assert(notices_listen(n, "other", true));
	event(EVENT_MAPPED, "other", PROTOCOL_TCP, 7, 90);
	expect("mapped web/tcp 203.0.113.7:80; mapped other/tcp 203.0.113.7:90");
	event(EVENT_CHANGED, "web", PROTOCOL_UDP, 7, 81);
	expect("");
	done(true);
	expect("mapped web/udp 203.0.113.7:81");
	done(true);
	expect("");
	ck_assert(!notices_idle(n));
	notices_done(n, now, "other", true);
	ck_assert(notices_idle(n));
}
END_TEST

START_TEST(failed_runs_are_repeated)
{
	static const unsigned waits[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };

	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		mstime failed = now;

		done(false);
		ck_assert_int_eq(notices_retry(n, "web") - now, waits[i] * SECOND);
		at(failed + waits[i] * SECOND - 1);
		expect("");
		at(failed + waits[i] * SECOND);
		expect("mapped web/tcp 203.0.113.7:80");
	}
	done(true);
	at(now + 1000 * SECOND);
	expect("");
	/* The next one that fails begins at 1 s again, and keeps what was told before. */
	CHANGED(7, 81);
	expect("changed web/tcp 203.0.113.7:81 was 203.0.113.7:80");
	done(false);
	at(now + SECOND);
	expect("changed web/tcp 203.0.113.7:81 was 203.0.113.7:80");
	done(true);
}
END_TEST

START_TEST(change_ends_the_wait)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	CHANGED(7, 81);
	expect("changed web/tcp 203.0.113.7:81 was 203.0.113.7:80");
	for (int i = 0; i < 6; i++) {
		done(false);
		at(now + 60 * SECOND);
	}
	done(false);
	said[0] = '\0';
	CHANGED(7, 82);
	expect("changed web/tcp 203.0.113.7:82 was 203.0.113.7:80");
	done(false);
	at(now + SECOND);
	expect("changed web/tcp 203.0.113.7:82 was 203.0.113.7:80");
	/* What a failed run has done nobody knows: the old state must be told, too. */
	done(false);
	CHANGED(7, 80);
	expect("changed web/tcp 203.0.113.7:80 was 203.0.113.7:82");
	done(true);
	expect("");
}
END_TEST

START_TEST(failed_mapped_is_taken_back)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	DOWN(EVENT_LOST);
	done(false);
	expect("lost web/tcp  was 203.0.113.7:80");
	done(false);
	REFUSED(2);
	at(now + 999);
	expect(""); /* still the same news for this hook, and its turn comes with the back-off */
	at(now + 1);
	expect("lost web/tcp  was 203.0.113.7:80");
	done(true);
	expect("failed web/tcp ");
	done(true);
	expect("");
}
END_TEST

START_TEST(failed_lost_then_back)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	DOWN(EVENT_LOST);
	expect("lost web/tcp  was 203.0.113.7:80");
	done(false);
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80 was 203.0.113.7:80");
	for (int i = 0; i < 3; i++) {
		done(false);
		expect("");
		at(now + 4 * SECOND);
		expect("mapped web/tcp 203.0.113.7:80 was 203.0.113.7:80");
	}
	done(true);
	expect("");
}
END_TEST

START_TEST(failed_that_passes_is_dropped)
{
	REFUSED(2);
	expect("failed web/tcp ");
	done(false);
	DOWN(EVENT_LOST);
	at(now + 100 * SECOND);
	expect("");
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
}
END_TEST

START_TEST(cannot_be_started)
{
	startable = false;
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	at(now + 999);
	expect("");
	startable = true;
	at(now + 1);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	expect("");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("notice");
	TCase *tc = tcase_create("notice");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, mapped_once);
	tcase_add_test(tc, whole_life);
	tcase_add_test(tc, address_is_waited_for);
	tcase_add_test(tc, address_never_comes);
	tcase_add_test(tc, latest_state_only);
	tcase_add_test(tc, back_again_is_nothing);
	tcase_add_test(tc, up_and_down_during_a_run);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, failed_runs_are_repeated);
	tcase_add_test(tc, change_ends_the_wait);
	tcase_add_test(tc, failed_mapped_is_taken_back);
	tcase_add_test(tc, failed_lost_then_back);
	tcase_add_test(tc, failed_that_passes_is_dropped);
	tcase_add_test(tc, cannot_be_started);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
