/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>

/* The gateway's clock, reboots, announcements. Even variants PCP, odd NAT-PMP. */

static void
simple(struct stage *st, int variant, unsigned forwards, uint32_t grant)
{
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	if (grant)
		stage_grant(st, grant);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, forwards, 3600);
	if (!stage_wait(st, 5000, stage_all_active))
		stage_fail(st, "not mapped in 5 s");
	stage_run(st, MSTIME_SECOND);
}

/* What this gateway announces now. */
static size_t
announcement(struct stage *st, uint8_t *o, uint32_t epoch)
{
	return st->box.speaks == SPEAKS_PCP ? gw_put_announce(o, epoch)
					    : gw_put_address(o, 0, epoch, st->box.external);
}

static void
check_refill(struct stage *st, mstime from, mstime within, unsigned forwards)
{
	for (unsigned i = 0; i < forwards; i++) {
		uint16_t p = (uint16_t)(5000 + i);
		const struct sent *first = stage_nth(st, MAP_REQUEST, p, 0, 0);
		const struct sent *s = stage_nth(st, MAP_REQUEST, p, from, 0);
		EXPECT(st, s && s->at <= from + within, "port %u not asked for in %lld ms", p,
		    (long long)within);
		EXPECT(st, stage_count(st, MAP_REQUEST, p, from, from + within) == 1,
		    "port %u asked for %u times", p,
		    stage_count(st, MAP_REQUEST, p, from, from + within));
		EXPECT(st, s->q.external == p, "port %u suggested at %u", p, s->q.external);
		EXPECT(st, !memcmp(s->q.nonce, first->q.nonce, 12), "port %u: nonce changed", p);
		EXPECT(
		    st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, p), "port %u missing", p);
	}
}

/* P-29, P-30, P-95, S-13, announced */
static void
reboot_announced(struct stage *st, int variant)
{
	uint8_t o[24];
	mstime at;

	simple(st, variant, 5, 3600);
	stage_run(st, 10 * MINUTE);
	at = st->now;
	gw_restart(&st->box, st->now, false);
	for (mstime after = 1, gap = 250; gap < 128000; gap *= 2) {
		stage_announce(
		    st, after, GATEWAY, o, announcement(st, o, (uint32_t)(after / 1000)));
		after += gap;
	}
	stage_run(st, 6 * MSTIME_SECOND);
	check_refill(st, at, 6000, 5);
	stage_run(st, 4 * MINUTE);
	for (unsigned i = 0; i < 5; i++)
		EXPECT(st, stage_count(st, MAP_REQUEST, (uint16_t)(5000 + i), at, st->now) == 1,
		    "the other copies made it ask again");
}

static bool
probed(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	if (q->opcode == 0 && !st->number[0])
		st->number[0] = (long)(st->now - st->begin);
	return false;
}

/* P-65, S-13, seen in an answer */
static void
reboot_seen(struct stage *st, int variant)
{
	mstime at;

	simple(st, variant, 5, 3600);
	stage_run(st, 10 * MINUTE + 500);
	gw_restart(&st->box, st->now, false);
	st->script = probed;
	stage_run(st, 60 * MSTIME_SECOND);
	EXPECT(st, st->number[0], "not probed in a probe interval");
	at = st->begin + st->number[0];
	stage_run_until(st, at + 6 * MSTIME_SECOND);
	check_refill(st, at, 6000, 5);
}

/* S-15, Q-007: variants 0 and 1 tell what a healthy clock costs, 2 and 3 have one stuck at 0. */
static void
stuck_epoch(struct stage *st, int variant)
{
	st->box.frozen = variant >= 2;
	simple(st, variant, 3, 60);
	stage_run_until(st, st->begin + 600 * MSTIME_SECOND);
	for (uint16_t p = 5000; p < 5003; p++) {
		unsigned n = stage_count(st, MAP_REQUEST, p, 0, st->now);
		/* one and a renewal each 30 … 37.5 s */
		EXPECT(st, n >= 17 && n <= (variant < 2 ? 20u : 21u),
		    "port %u asked for %u times in 600 s", p, n);
	}
	EXPECT(st, stage_noted_count(st, EVENT_GATEWAY_REBOOTED, 0) == 0, "called a reboot");
}

/* The same where answers come so close together that no two are 3 s apart: leases of a second,
 * asked for each 4 s. 0, 1: the clock stands at 0; 2, 3: at another number. */
static void
stuck_and_busy(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);
	unsigned reboots;

	st->box.frozen = true;
	st->box.frozen_at = variant < 2 ? 0 : 4711;
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	stage_grant(st, 1);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	stage_run(st, 1300);
	stage_want(st, &f);
	stage_run(st, 10 * MINUTE);
	reboots = stage_noted_count(st, EVENT_GATEWAY_REBOOTED, 0);
	EXPECT(st, reboots <= (variant < 2 ? 0u : 2u), "%u reboots", reboots);
	/* for the address, not for the clock */
	EXPECT(st,
	    stage_count(st, ANY_REQUEST, 0, 0, st->now) -
		    stage_count(st, MAP_REQUEST, 0, 0, st->now) <=
		20,
	    "too many questions");
}

/* ---- the table of RFC 6887 section 8.5 and RFC 6886 section 3.6 -------------------------- */

struct row {
	long client;    /* s */
	long low, high; /* valid for PCP */
	long natpmp;    /* a reset if below */
};

static const struct row rows[] = { { 0, -1, 2, -2 }, { 1, -1, 3, -1 }, { 2, 0, 4, 0 },
	{ 10, 8, 12, 7 }, { 60, 55, 66, 51 }, { 3600, 3373, 3842, 3148 },
	{ 7200, 6748, 7682, 6298 } };

/* The gateway's clock says this from now on, and it is announced. */
static void
hear_epoch(struct stage *st, uint32_t epoch)
{
	uint8_t o[24];

	st->box.epoch_base = epoch;
	st->box.boot = st->now;
	stage_announce(st, 0, GATEWAY, o, announcement(st, o, epoch));
}

static void
epoch_case(struct stage *st, int variant, long client, long server, bool reset)
{
	mstime at;
	uint32_t epoch = 700000;
	unsigned n;

	st->gateway.probe_interval = 0;
	st->settings.max_renew_interval = 86400;
	st->box.epoch_base = epoch;
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	stage_grant(st, 86400);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	at = st->heard + client * MSTIME_SECOND;
	stage_run_until(st, at);
	EXPECT(st, st->heard == at - client * MSTIME_SECOND, "the script is wrong");
	hear_epoch(st, (uint32_t)((long)epoch + server));
	stage_run(st, 6 * MSTIME_SECOND);
	n = stage_count(st, MAP_REQUEST, 0, at, st->now);
	EXPECT(st, n == (reset ? 3u : 0u), "after %ld s an epoch of %+ld makes %u requests", client,
	    server, n);
}

/* Four cases a row: just below, at the lower bound, at the upper bound, just above. */
static void
epoch_table(struct stage *st, int variant)
{
	const struct row *r = &rows[variant / 8];
	int which = variant / 2 % 4;
	bool natpmp = variant % 2;
	long low = natpmp ? r->natpmp : r->low;

	/* the question that an announcement leads to is answered 2 ms later: at the very bound of
	 * NAT-PMP's finer rule that is another case */
	if (natpmp && which == 1)
		low++;

	long server = which == 0 ? low - 1 : which == 1 ? low : which == 2 ? r->high : r->high + 1;

	epoch_case(st, variant, r->client, server, which == 0 || which == 3);
}

/* P-27: 100 s and an epoch of 85 or 86 */
static void
p27(struct stage *st, int variant)
{
	epoch_case(st, 1, 100, variant ? 86 : 85, variant == 0);
}

/* ---- announcements ---------------------------------------------------------------------- */

/* the old epoch with the new address, then PCP's epoch 0 */
static void
miniupnpd_burst(struct stage *st, int variant)
{
	struct mapping_status m;
	uint8_t o[24];
	uint32_t old;

	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	st->box.speaks = SPEAKS_BOTH;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	stage_run(st, 10 * MINUTE);
	old = gw_epoch(&st->box, st->now);
	gw_restart(&st->box, st->now, false);
	st->box.external = 0x08080808;
	stage_announce(st, 1, GATEWAY, o, gw_put_address(o, 0, old, st->box.external));
	stage_announce(st, 1, GATEWAY, o, gw_put_announce(o, 0));
	stage_run(st, 6100);
	for (uint16_t p = 5000; p < 5003; p++) {
		EXPECT(
		    st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, p), "port %u missing", p);
		EXPECT(st,
		    stage_mapping(st, p, &m) && m.has_external &&
			gw_ipv4(&m.external) == 0x08080808,
		    "port %u: the new address is not told", p);
	}
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "called lost");
}

/* a gateway of NAT-PMP alone that announces in PCP's format */
static void
pcp_hint(struct stage *st, int variant)
{
	uint8_t o[24];
	mstime at;

	(void)variant;
	simple(st, 1, 3, 3600);
	stage_run(st, 10 * MINUTE);
	at = st->now;
	gw_restart(&st->box, st->now, false);
	stage_announce(st, 1, GATEWAY, o, gw_put_announce(o, 0));
	stage_run(st, 6 * MSTIME_SECOND);
	check_refill(st, at, 6000, 3);
}

/* P-28, Q-011: one run each; the distribution is judged by the last */
static void
delays(struct stage *st, int variant)
{
	double sum = 0, low = 1e9, high = 0;

	(void)variant;
	for (int i = 0; i < 200 && !st->failed; i++) {
		uint8_t o[24];
		const struct sent *s;
		mstime at;
		double d;

		stage_run(st, 20 * MINUTE + 137 * i);
		if (!st->engine)
			return;
		at = st->now;
		/* the same epoch again and again would be a broken clock */
		gw_restart(&st->box, st->now - (1 + i % 4) * MSTIME_SECOND, false);
		stage_announce(st, 0, GATEWAY, o, announcement(st, o, (uint32_t)(1 + i % 4)));
		stage_run(st, 7 * MSTIME_SECOND);
		s = stage_nth(st, MAP_REQUEST, 5000, at, 0);
		EXPECT(st, s, "reboot %d was not answered by a renewal", i);
		d = (double)(s->at - at);
		EXPECT(st, d <= 5000 + 50, "delay of %.0f ms", d);
		sum += d;
		low = d < low ? d : low;
		high = d > high ? d : high;
	}
	EXPECT(st, low < 300 && high > 4700 && sum / 200 > 2000 && sum / 200 < 3000,
	    "delays %.0f … %.0f ms, mean %.0f", low, high, sum / 200);
}

static void
delays_of(struct stage *st, int variant)
{
	st->gateway.probe_interval = 0;
	st->settings.max_renew_interval = 86400;
	simple(st, variant, 1, 86400);
	if (!st->failed)
		delays(st, variant);
}

/* a flood in the gateway's name while the gateway knows nothing of it; then in another's */
static void
flood(struct stage *st, int variant)
{
	uint8_t o[24];
	mstime at;
	unsigned n;

	st->gateway.probe_interval = 300;
	simple(st, variant, 3, 3600);
	stage_run(st, 3 * MINUTE);
	at = st->now;
	for (int i = 0; i < 30000; i++) {
		stage_announce(st, 0, variant < 2 ? GATEWAY : 0xc0a80163u, o,
		    announcement(st, o, (uint32_t)(i % 7)));
		stage_run(st, 1);
	}
	n = stage_count(st, ANY_REQUEST, 0, at, st->now);
	EXPECT(st, n <= (variant < 2 ? 4u : 0u), "%u requests for 30 s of forged announcements", n);
	EXPECT(st, variant >= 2 || n > 0, "announcements are not looked at");
	EXPECT(st,
	    stage_noted_count(st, EVENT_CHANGED, at) == 0 &&
		stage_noted_count(st, EVENT_LOST, 0) == 0,
	    "a forged announcement was believed");
}

static unsigned
told_again(const struct stage *st, mstime from)
{
	unsigned n = 0;

	for (size_t i = 0; i < st->n_noted; i++)
		n += st->noted[i].again && st->noted[i].at >= from;
	return n;
}

/* What a restart took is told as put back, once for each forward; a renewal is not. */
static void
put_back(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);

	simple(st, variant, 2, 120);
	f.count = 4;
	f.name = "range";
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "the range is not mapped in 5 s");
	stage_run(st, 70 * MSTIME_SECOND);
	engine_renew(st->engine, st->now, NULL);
	stage_run(st, 30 * MSTIME_SECOND);
	EXPECT(st, told_again(st, 0) == 0, "renewals are told as put back");
	gw_restart(&st->box, st->now, false);
	stage_run(st, 110 * MSTIME_SECOND);
	EXPECT(st, told_again(st, 0) == 3, "put back: told %u times", told_again(st, 0));
	stage_run(st, 10 * MINUTE);
	EXPECT(st, told_again(st, 0) == 3, "renewals after it: told %u times", told_again(st, 0));
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 3, "lost in between");
}

/* Two boxes take turns behind one address, each with a clock of its own: every answer tells of a
 * restart. Variants 0 and 1: short leases, 2 and 3: long ones. */
static bool
other_clock(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	(void)q;
	st->box.epoch_base = st->box.epoch_base ? 0 : 500000;
	return false;
}

static void
two_clocks(struct stage *st, int variant)
{
	bool brief = variant < 2;
	mstime at;
	unsigned n, ordinary = brief ? 600 / 10 * 3 : 6 * 3;

	simple(st, variant, 3, brief ? 20 : 3600);
	st->script = other_clock;
	at = st->now;
	stage_run(st, brief ? 10 * MINUTE : 3 * HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "a lease ran out meanwhile");
	n = stage_count(st, MAP_REQUEST, 0, at, st->now);
	EXPECT(st, n <= ordinary + 20 * 3, "%u requests, %u without it", n, ordinary);
	n = stage_noted_count(st, EVENT_GATEWAY_REBOOTED, 0);
	EXPECT(st, n >= 2 && n <= 20, "told %u times", n);
	/* back to one box: a restart is followed as quickly as ever */
	st->script = NULL;
	stage_run(st, 70 * MINUTE);
	at = st->now;
	gw_restart(&st->box, st->now, false);
	stage_run(st, 66 * MSTIME_SECOND);
	for (uint16_t p = 5000; p < 5003; p++)
		EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, p),
		    "port %u is missing after a real restart", p);
}

const struct directed directed_epoch[] = {
	{ "Q-007 a clock stands still, many answers", stuck_and_busy, 4 },
	{ "S-13 reboot, announced", reboot_announced, 2 },
	{ "S-13 reboot, seen in an answer", reboot_seen, 2 },
	{ "what a reboot took is told as put back", put_back, 10 },
	{ "S-15 Q-007 epoch stuck at 0", stuck_epoch, 4 },
	{ "P-63 epoch table", epoch_table, 7 * 8 },
	{ "P-27 edges", p27, 2 },
	{ "Q-004 miniupnpd's burst", miniupnpd_burst, 2 },
	{ "Q-006 a hint in PCP's format", pcp_hint, 1 },
	{ "Q-011 recovery delays", delays_of, 2 },
	{ "Q-159 a flood of announcements", flood, 4 },
	{ "two clocks behind one address", two_clocks, 4 },
	{ NULL, NULL, 0 },
};
