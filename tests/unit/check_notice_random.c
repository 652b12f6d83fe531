/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "notice.h"

/* Random events, random hooks: once it is quiet, the last hook run for each unit told the truth. */

#define FORWARDS 3
#define KINDS 2 /* tcp, udp */

static uint64_t seed;

static uint32_t
draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % below;
}

/* What a hook believes, from what it was told, and what is true. */
struct belief {
	bool up;
	uint8_t address;
	uint16_t port;
	bool refused;
	uint16_t result;
};

static struct belief believed[FORWARDS][KINDS], truth[FORWARDS][KINDS];
static struct belief going[FORWARDS];
static int busy[FORWARDS]; /* kind + 1 */
static enum engine_event_kind going_kind[FORWARDS];
static unsigned told;
static const char *const names[FORWARDS] = { "a", "b", "c" };
static mstime settle;

static bool
believe(void *ctx, const struct notice *notice)
{
	const struct unit_view *v = notice->unit;
	int f = v->forward[0] - 'a', k = v->protocol == PROTOCOL_UDP;
	struct belief *old = &believed[f][k];

	(void)ctx;
	ck_assert_int_eq(busy[f], 0); /* one at a time */
	going[f] = (struct belief){ .up = v->up,
		.address = v->has_external ? v->external.b[15] : 0,
		.port = v->external_port };
	going_kind[f] = notice->kind;
	switch (notice->kind) {
	case EVENT_CHANGED:
		ck_assert(old->up);
		/* fallthrough */
	case EVENT_MAPPED:
		ck_assert(v->up);
		ck_assert(truth[f][k].up);
		break;
	case EVENT_FAILED:
		ck_assert(!old->up);
		ck_assert(truth[f][k].refused);
		going[f].refused = true;
		going[f].result = truth[f][k].result;
		break;
	default:
		ck_assert(!v->up);
		break;
	}
	ck_assert(v->up == truth[f][k].up);
	if (v->up)
		ck_assert_uint_eq(v->external_port, truth[f][k].port);
	told++;
	if (draw(10) == 0) {
		old->up = old->up && v->up;
		return false;
	}
	busy[f] = k + 1;
	return true;
}

static void
random_done(unsigned f, bool ok)
{
	int k = busy[f] - 1;

	busy[f] = 0;
	if (ok) {
		believed[f][k] = going[f];
	} else if (!going[f].up) {
		/* Perhaps it has taken the news in, perhaps not: no `changed` may build on it. */
		believed[f][k].up = false;
	}
	notices_done(n, now, names[f], ok);
}

static void
random_event(void)
{
	unsigned f = draw(FORWARDS), k = draw(KINDS);
	struct belief *t = &truth[f][k];
	uint8_t protocol = k == 1 ? PROTOCOL_UDP : PROTOCOL_TCP, address;
	uint16_t port = (uint16_t)(80 + draw(3));

	switch (draw(5)) {
	case 0:
		*t = (struct belief){ .up = false };
		event(EVENT_LOST, names[f], protocol, 0, 0);
		break;
	case 1:
		*t = (struct belief){ .up = false };
		event(EVENT_RELEASED, names[f], protocol, 0, 0);
		break;
	case 2:
		*t = (struct belief){ .refused = true, .result = (uint16_t)(1 + draw(3)) };
		event(EVENT_FAILED, names[f], protocol, 0, t->result);
		break;
	default:
		/* The address may be unknown at first; it does not become so again. */
		address = draw(3) == 0 && !t->up ? 0 : (uint8_t)(7 + draw(2));
		event(t->up ? EVENT_CHANGED : EVENT_MAPPED, names[f], protocol, address, port);
		*t = (struct belief){ .up = true, .address = address, .port = port };
		break;
	}
}

static void
check_truth(unsigned long long number)
{
	for (unsigned f = 0; f < FORWARDS; f++)
		for (unsigned k = 0; k < KINDS; k++) {
			const struct belief *b = &believed[f][k], *t = &truth[f][k];

			ck_assert_msg(b->up == t->up, "seed %llu: %s/%u believes %d", number,
			    names[f], k, b->up);
			ck_assert_msg(!t->up ||
				(b->port == t->port &&
				    (t->address == 0 || b->address == t->address)),
			    "seed %llu: %s/%u believes .%u:%u, true is .%u:%u", number, names[f], k,
			    b->address, b->port, t->address, t->port);
			ck_assert_msg(!t->refused || (b->refused && b->result == t->result),
			    "seed %llu: %s/%u does not know the refusal", number, names[f], k);
		}
}

static void
random_life(unsigned long long number)
{
	seed = number * 0x9e3779b97f4a7c15u + 1;
	for (int i = 0; i < 4; i++)
		(void)draw(2);
	memset(believed, 0, sizeof believed);
	memset(truth, 0, sizeof truth);
	memset(busy, 0, sizeof busy);
	now = 0;
	told = 0;
	n = notices_new(believe, NULL);
	ck_assert_ptr_nonnull(n);
	settle = draw(2) == 0 ? 0 : (mstime)draw(20) * SECOND;
	notices_configure(n, settle);
	for (unsigned f = 0; f < FORWARDS; f++)
		ck_assert(notices_listen(n, names[f], true));
	for (unsigned step = 0; step < 300; step++) {
		unsigned f = draw(FORWARDS);

		now += draw(4) == 0 ? (mstime)draw(30) * SECOND : (mstime)draw(1500);
		if (draw(3) > 0)
			random_event();
		if (busy[f] != 0 && draw(3) == 0)
			random_done(f, draw(4) > 0);
		if (draw(2) == 0 || notices_next(n) <= now)
			notices_tick(n, now);
	}
	/* Nothing more happens, hooks work: it must become quiet, and soon. */
	for (unsigned step = 0; !notices_idle(n); step++) {
		ck_assert_msg(step < 200, "seed %llu: never quiet", number);
		for (unsigned f = 0; f < FORWARDS; f++)
			if (busy[f] != 0)
				random_done(f, true);
		if (notices_next(n) != MSTIME_NEVER) {
			ck_assert_int_lt(notices_next(n), now + 61 * SECOND);
			now = notices_next(n) > now ? notices_next(n) : now;
		}
		notices_tick(n, now);
	}
	ck_assert_uint_gt(told, 10);
	check_truth(number);
	notices_free(n);
}

START_TEST(at_random)
{
	for (unsigned long long i = 0; i < 2000; i++)
		random_life(i);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("notice_random");
	TCase *tc = tcase_create("notice_random");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, at_random);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
