/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "notice.h"

START_TEST(settle_delays)
{
	notices_configure(n, 10 * SECOND);
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80"); /* not delayed */
	done(true);
	CHANGED(7, 81);
	at(now + 9 * SECOND);
	CHANGED(7, 82);
	at(now + 9999);
	expect(""); /* it has not lasted yet */
	at(now + 1);
	expect("changed web/tcp 203.0.113.7:82 was 203.0.113.7:80");
	done(true);
	DOWN(EVENT_LOST);
	at(now + 3 * SECOND);
	REFUSED(2); /* the reason does not prolong it, nor does it get ahead */
	at(now + 6999);
	expect("");
	at(now + 1);
	expect("lost web/tcp  was 203.0.113.7:82");
	done(true);
	expect("failed web/tcp "); /* not delayed */
	done(true);
	UP(7, 82);
	expect("mapped web/tcp 203.0.113.7:82");
	done(true);
	DOWN(EVENT_RELEASED);
	expect("released web/tcp  was 203.0.113.7:82"); /* not delayed */
}
END_TEST

START_TEST(settle_cancels)
{
	notices_configure(n, 10 * SECOND);
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	CHANGED(7, 81);
	at(now + 5 * SECOND);
	CHANGED(7, 80);
	at(now + 60 * SECOND);
	DOWN(EVENT_LOST);
	at(now + 9 * SECOND);
	UP(7, 80);
	at(now + 60 * SECOND);
	expect("");
	/* The truth is there at once all the same. */
	DOWN(EVENT_LOST);
	ck_assert(!notices_view(n, "web", FAMILY_IPV4, PROTOCOL_TCP)->up);
	UP(7, 80);
	ck_assert(notices_view(n, "web", FAMILY_IPV4, PROTOCOL_TCP)->up);
	/* A zero settle again: what waited is due at once. */
	CHANGED(7, 81);
	expect("");
	notices_configure(n, 0);
	expect("changed web/tcp 203.0.113.7:81 was 203.0.113.7:80");
}
END_TEST

START_TEST(at_the_stop)
{
	notices_configure(n, 10 * SECOND);
	UP(7, 80);
	event(EVENT_MAPPED, "web", PROTOCOL_UDP, 7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	expect("mapped web/udp 203.0.113.7:80");
	done(true);
	ck_assert(notices_listen(n, "late", true));
	event(EVENT_MAPPED, "late", PROTOCOL_TCP, 0, 90); /* waits for its address */
	event(EVENT_FAILED, "late", PROTOCOL_UDP, 0, 2);  /* tells at once */
	event(EVENT_CHANGED, "web", PROTOCOL_UDP, 7, 81); /* settles */
	DOWN(EVENT_LOST);                                 /* settles, too */
	expect("failed late/udp ");
	notices_done(n, now, "late", false);
	notices_stop(n);
	event(EVENT_RELEASED, "late", PROTOCOL_TCP, 0, 0);
	event(EVENT_RELEASED, "web", PROTOCOL_UDP, 0, 0);
	expect("lost web/tcp  was 203.0.113.7:80");
	done(true);
	expect("released web/udp  was 203.0.113.7:80");
	ck_assert(!notices_idle(n));
	done(false);
	at(now + SECOND);
	expect("released web/udp  was 203.0.113.7:80");
	done(true);
	ck_assert(notices_idle(n));
	at(now + 1000 * SECOND);
	expect("");
}
END_TEST

START_TEST(kept_at_the_stop)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	CHANGED(7, 81);
	notices_stop(n);
	expect("");
	ck_assert(notices_idle(n));
}
END_TEST

START_TEST(a_hook_that_comes_later)
{
	ck_assert(notices_listen(n, "web", false));
	UP(7, 80);
	at(now + 100 * SECOND);
	CHANGED(7, 81);
	expect("");
	ck_assert(notices_idle(n));
	ck_assert(notices_listen(n, "web", true));
	expect("mapped web/tcp 203.0.113.7:81");
	/* Away in the middle of its run, and back: it is told from the beginning. */
	ck_assert(notices_listen(n, "web", false));
	CHANGED(7, 82);
	ck_assert(notices_listen(n, "web", true));
	expect("");
	done(true);
	expect("mapped web/tcp 203.0.113.7:82");
	done(true);
	ck_assert(notices_listen(n, "web", true)); /* nothing new */
	expect("");
}
END_TEST

START_TEST(forgotten)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	DOWN(EVENT_RELEASED);
	notices_forget(n, "web");
	ck_assert(notices_known(n, "web"));
	expect("released web/tcp  was 203.0.113.7:80");
	ck_assert(notices_known(n, "web"));
	done(true);
	ck_assert(!notices_known(n, "web"));
	done(true); /* nobody's */
	notices_forget(n, "web");
	expect("");
	ck_assert_ptr_null(notices_view(n, "web", FAMILY_IPV4, PROTOCOL_TCP));
	/* One that has nothing to tell goes at once. */
	ck_assert(notices_listen(n, "web", true));
	notices_forget(n, "web");
	ck_assert(!notices_known(n, "web"));
}
END_TEST

START_TEST(forgotten_comes_back)
{
	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	DOWN(EVENT_RELEASED);
	notices_forget(n, "web");
	expect("released web/tcp  was 203.0.113.7:80");
	ck_assert(notices_listen(n, "web", true));
	UP(7, 80);
	done(true);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	ck_assert(notices_known(n, "web"));
}
END_TEST

/* A broken hook must not keep its forward in memory for ever. */
START_TEST(forgotten_in_the_end)
{
	unsigned runs = 0;

	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	DOWN(EVENT_RELEASED);
	notices_forget(n, "web");
	for (; notices_known(n, "web") && runs < 1000; runs++) {
		at(now + 60 * SECOND);
		done(false);
	}
	ck_assert_uint_ge(runs, 5);
	ck_assert_uint_le(runs, 20);
	ck_assert_int_eq(notices_next(n), MSTIME_NEVER);
}
END_TEST

static void
range(enum engine_event_kind kind, uint16_t internal, const uint16_t ports[3])
{
	const struct mapping_status m = { .forward = "web",
		.gateway = "default",
		.protocol = PROTOCOL_TCP,
		.has_external = true,
		.external = v4(7),
		.external_port = ports != NULL ? ports[0] : 0,
		.internal_port = internal + 1 };
	const struct engine_event e = { .kind = kind, .mapping = &m, .ports = 3 };

	ck_assert(notices_event(n, now, &e, internal, ports));
}

START_TEST(ranges)
{
	const struct unit_view *v;

	range(EVENT_MAPPED, 5000, (const uint16_t[]){ 5000, 5001, 5002 });
	v = notices_view(n, "web", FAMILY_IPV4, PROTOCOL_TCP);
	ck_assert_uint_eq(v->internal_port, 5000);
	ck_assert_ptr_null(v->external_ports);
	expect("mapped web/tcp 203.0.113.7:5000+2");
	done(true);
	range(EVENT_CHANGED, 5000, (const uint16_t[]){ 5000, 5001, 6000 });
	expect("changed web/tcp 203.0.113.7:5000,5001,6000 was 203.0.113.7:5000+2");
	range(EVENT_CHANGED, 5000, (const uint16_t[]){ 5000, 5003, 6000 });
	range(EVENT_CHANGED, 5000, (const uint16_t[]){ 5000, 5001, 6000 });
	done(true);
	expect("");
	range(EVENT_CHANGED, 5000, (const uint16_t[]){ 5000, 5003, 6000 });
	expect("changed web/tcp 203.0.113.7:5000,5003,6000 was 203.0.113.7:5000,5001,6000");
	done(false);
	range(EVENT_LOST, 5000, NULL);
	expect("lost web/tcp  was 203.0.113.7:5000,5001,6000");
	ck_assert_uint_eq(v->internal_port, 5000);
	done(true);
	range(EVENT_FAILED, 5000, NULL);
	ck_assert_uint_eq(v->internal_port, 5000);
	expect("failed web/tcp ");
}
END_TEST

/* The same outside, but another own address: rules for the old one are wrong. */
START_TEST(new_inside)
{
	struct mapping_status m = { .forward = "web",
		.gateway = "default",
		.protocol = PROTOCOL_TCP,
		.has_external = true,
		.external = v4(7),
		.external_port = 80,
		.internal_port = 8080,
		.has_internal = true,
		.internal = netaddr_from4((const uint8_t[4]){ 10, 0, 0, 9 }) };
	const struct engine_event e = { .kind = EVENT_RENEWED, .mapping = &m, .ports = 1 };

	UP(7, 80);
	expect("mapped web/tcp 203.0.113.7:80");
	done(true);
	ck_assert(notices_event(n, now, &e, 0, NULL));
	expect("changed web/tcp 203.0.113.7:80 was 203.0.113.7:80");
	done(true);
	m.internal_port = 8081;
	ck_assert(notices_event(n, now, &e, 0, NULL));
	expect("changed web/tcp 203.0.113.7:80 was 203.0.113.7:80");
	done(true);
	m.has_internal = false; /* not known is not another */
	ck_assert(notices_event(n, now, &e, 0, NULL));
	expect("");
}
END_TEST

/* A thousand forwards at once are told a few at a time, and all of them. */
START_TEST(crowd)
{
	unsigned runs = 0, most = 0;
	char name[16];

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "f%u", i);
		ck_assert(notices_listen(n, name, true));
		event(EVENT_MAPPED, name, PROTOCOL_TCP, 7, 80);
	}
	while (!notices_idle(n)) {
		char *word = said;

		said[0] = '\0';
		notices_tick(n, now);
		ck_assert_int_gt(notices_next(n), now); /* or the loop would spin */
		for (unsigned here = 0; *word != '\0'; here++) {
			ck_assert_int_eq(sscanf(word, "%*[; ]mapped %15[^/]", name) == 1 ||
				sscanf(word, "mapped %15[^/]", name) == 1,
			    1);
			notices_done(n, now, name, true);
			runs++;
			most = here + 1 > most ? here + 1 : most;
			word += strcspn(word + 1, ";") + 1;
		}
	}
	ck_assert_uint_eq(runs, 1000);
	ck_assert_uint_le(most, 64);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("notice_time");
	TCase *tc = tcase_create("notice_time");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, settle_delays);
	tcase_add_test(tc, settle_cancels);
	tcase_add_test(tc, at_the_stop);
	tcase_add_test(tc, kept_at_the_stop);
	tcase_add_test(tc, a_hook_that_comes_later);
	tcase_add_test(tc, forgotten);
	tcase_add_test(tc, forgotten_comes_back);
	tcase_add_test(tc, forgotten_in_the_end);
	tcase_add_test(tc, ranges);
	tcase_add_test(tc, new_inside);
	tcase_add_test(tc, crowd);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
