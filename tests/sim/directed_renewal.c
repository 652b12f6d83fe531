/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <stdlib.h>
#include <string.h>

/* Leases: when they are renewed, how long they are believed. Even variants PCP, odd NAT-PMP. */

static void
simple(struct stage *st, int variant, unsigned forwards, uint32_t grant)
{
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	if (grant)
		stage_grant(st, grant);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, forwards, 3600);
}

/* The first grant is answered, then: */
static bool
blips(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	if ((q->version == 2 ? q->opcode != 1 : q->opcode == 0) || ++st->number[0] == 1 ||
	    st->number[0] > 3)
		return false;
	stage_icmp(st, 1);
	return true;
}

/* S-11 */
static void
icmp_blips(struct stage *st, int variant)
{
	st->script = blips;
	simple(st, variant, 1, 20);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 60 * MSTIME_SECOND);
	EXPECT(st, st->number[0] >= 4, "no third try");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "an ICMP error ended a lease");
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP), "not active at the end");
}

/* S-12 */
static void
believed(struct stage *st, int variant)
{
	const struct noted *mapped, *lost;

	simple(st, variant, 1, 10);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	st->mute = true;
	stage_run(st, 30 * MSTIME_SECOND);
	mapped = stage_noted(st, EVENT_MAPPED, 5000, 0);
	lost = stage_noted(st, EVENT_LOST, 5000, 0);
	EXPECT(st, mapped && lost, "not lost at all");
	EXPECT(st, lost->at >= mapped->at + 10000 - 1100 && lost->at <= mapped->at + 11000,
	    "lost %lld ms after the grant of 10 s", (long long)(lost->at - mapped->at));
	/* never later than the gateway: it granted 1 ms before we heard of it */
	EXPECT(st, lost->at <= mapped->at - 1 + 10000, "believed longer than granted");
	EXPECT(st, lost->at >= mapped->at + 10000 - 50, "given up %lld ms too early",
	    (long long)(mapped->at + 10000 - lost->at));
}

/* S-14 */
static void
ceiling(struct stage *st, int variant)
{
	simple(st, variant, 3, 86400);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 10 * MINUTE);
	memset(st->box.entries, 0, sizeof st->box.entries);
	stage_run(st, 30 * MINUTE);
	for (uint16_t p = 5000; p < 5003; p++)
		EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, p),
		    "port %u not back after 30 min", p);
}

/* max-renew-interval */
static void
interval(struct stage *st, int variant)
{
	mstime last = 0;

	st->settings.max_renew_interval = 600;
	simple(st, variant, 1, 86400);
	stage_run(st, 12 * HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, 0, i);
		if (!s) {
			EXPECT(st, i >= 72 && i < 90, "%u requests in 12 h", i);
			break;
		}
		EXPECT(st, !last || s->at - last <= 601 * MSTIME_SECOND, "renewed after %lld ms",
		    (long long)(s->at - last));
		last = s->at;
	}
}

/*
 * P-50, P-53: PCP, 120 s, then silence. From variant 10 on the gateway is known to answer ANNOUNCE,
 * so that is what asks whether it is still there; before, the renewal itself has to.
 */
static void
windows(struct stage *st, int variant)
{
	static const struct {
		mstime from, to;
	} window[] = { { 60000, 75000 }, { 90000, 97500 }, { 105000, 108750 } };
	bool strict = variant >= 10;
	mstime granted, last;
	unsigned k;

	st->gateway.probe_interval = strict ? 30 : 0;
	st->rng.s += (uint64_t)variant;
	simple(st, 0, 1, 120);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	granted = st->sent[0].at;
	stage_run_until(st, granted + 59000);
	st->mute = true;
	stage_run_until(st, granted + 119900);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, granted + 1, granted + 60000) == 0,
	    "renewed before half its lifetime");
	for (k = 0; k < (strict ? 3u : 2u); k++) {
		unsigned n = stage_count(
		    st, MAP_REQUEST, 5000, granted + window[k].from, granted + window[k].to + 1);
		EXPECT(st, n >= 1 && (!strict || n == 1), "%u renewals in window %u", n, k);
	}
	EXPECT(st,
	    !strict || stage_count(st, MAP_REQUEST, 5000, granted + 1, granted + 112500) == 3,
	    "renewals outside of the windows");
	last = granted;
	for (k = 1;; k++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, granted, k);
		if (!s)
			break;
		EXPECT(
		    st, s->at - last >= 4000, "renewals %lld ms apart", (long long)(s->at - last));
		last = s->at;
	}
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost before its end");
}

/* P-51: 20 s, then silence */
static void
no_flood(struct stage *st, int variant)
{
	mstime granted, last;

	st->rng.s += (uint64_t)variant;
	simple(st, 0, 1, 20);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	granted = last = st->sent[0].at;
	st->mute = true;
	stage_run_until(st, granted + 19900);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, granted + 1, st->now) >= 2,
	    "fewer than two tries");
	for (unsigned k = 1;; k++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, granted, k);
		if (!s)
			break;
		EXPECT(
		    st, s->at - last >= 4000, "renewals %lld ms apart", (long long)(s->at - last));
		last = s->at;
	}
}

static bool
loses_one(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	return q->opcode == 1 && q->internal == 5000 && ++st->number[0] == 2;
}

/* A week's lease; the host sleeps through the windows of max-renew-interval, and the packet that it
 * sends when it wakes is lost. */
static void
overslept(struct stage *st, int variant)
{
	const struct sent *late, *again;

	st->rng.s += (uint64_t)variant;
	st->script = loses_one;
	simple(st, 0, 2, 7 * 86400);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	st->now += 2 * HOUR;
	stage_run(st, 2 * HOUR);
	late = stage_nth(st, MAP_REQUEST, 5000, 0, 1);
	again = stage_nth(st, MAP_REQUEST, 5000, 0, 2);
	EXPECT(st, late && late->at - st->begin < 2 * HOUR + MINUTE, "not renewed on waking");
	EXPECT(st, again, "not asked for again");
	EXPECT(st, again->at - late->at <= 30 * MINUTE + 2 * MSTIME_SECOND,
	    "asked for again after %lld ms", (long long)(again->at - late->at));
}

/* P-54, S-17 */
static void
lifetimes(struct stage *st, int variant)
{
	static const uint32_t grants[] = { 0, 1, 2, 13, 60, 120, 86400, 0x80000000u, 0xffffffffu };
	uint32_t l = grants[variant / 2];
	bool natpmp = variant % 2;
	mstime last = 0;
	struct mapping_status m;
	const struct sent *second;

	stage_only(st, natpmp ? MAPPER_NATPMP : MAPPER_PCP);
	st->box.min_life = st->box.max_life = l;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	stage_run(st, HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, 0, i);
		if (!s)
			break;
		EXPECT(st, !last || s->at - last >= (natpmp ? 1000 : 4000),
		    "%u s: requests %lld ms apart", l, (long long)(s->at - last));
		EXPECT(st, l || !last || s->at - last >= 30000, "0 s: requests %lld ms apart",
		    (long long)(s->at - last));
		last = s->at;
	}
	if (l == 0)
		EXPECT(st,
		    stage_noted_count(st, EVENT_MAPPED, 0) == 0 && stage_mapping(st, 5000, &m) &&
			m.state == MAPPING_FAILED,
		    "a lifetime of 0 was taken for a lease");
	if (l >= 13)
		EXPECT(st,
		    stage_noted_count(st, EVENT_LOST, 0) == 0 &&
			stage_active(st, 5000, PROTOCOL_TCP),
		    "%u s: lapsed", l);
	second = stage_nth(st, MAP_REQUEST, 5000, 0, 1);
	if (l >= 86400)
		EXPECT(st, second && second->at - st->begin <= 1801 * MSTIME_SECOND,
		    "%u s: not renewed within the ceiling", l);
	if (l)
		EXPECT(st, last && st->now - last <= 1801 * MSTIME_SECOND, "%u s: given up", l);
}

/* Two mappings of 60 s on a perfect wire. */
static void
minimum(struct stage *st, int variant)
{
	unsigned limit = variant % 2 ? 22 : 18, n;

	st->rng.s += (uint64_t)variant * 77;
	simple(st, variant, 2, 60);
	stage_run(st, 235 * MSTIME_SECOND);
	n = stage_count(st, ANY_REQUEST, 0, 0, st->now);
	EXPECT(st, n <= limit, "%u datagrams in 235 s", n);
	for (uint16_t p = 5000; p < 5002; p++) {
		mstime last = 0;
		for (unsigned i = 0;; i++) {
			const struct sent *s = stage_nth(st, MAP_REQUEST, p, 0, i);
			if (!s)
				break;
			EXPECT(st, !last || s->at - last >= 30000, "renewed after %lld ms",
			    (long long)(s->at - last));
			last = s->at;
		}
	}
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lapsed");
}

static bool
lossy(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	struct rng *r = &st->box.rng;

	(void)bytes;
	(void)n;
	(void)q;
	return rng_chance(r, 300);
}

/* The request arrives, its answer does not. */
static bool
lost_reply(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t out[GW_PACKET_MAX];
	struct gw_outcome o;

	(void)q;
	if (lossy(st, bytes, n, q))
		gw_answer(&st->box, st->now, LOCAL, bytes, n, out, &o);
	else
		return false;
	return true;
}

static void
losses(struct stage *st, int variant)
{
	st->box.rng.s = 99 + (uint64_t)variant;
	st->script = lost_reply;
	simple(st, variant, 2, 60);
	EXPECT(st, stage_wait(st, 30 * MSTIME_SECOND, stage_all_active), "not mapped in 30 s");
	stage_run(st, 10 * MINUTE);
	EXPECT(
	    st, stage_noted_count(st, EVENT_LOST, 0) == 0, "a lease of 60 s lapsed at 30 %% loss");
}

/* Two packets of one mapping in quick succession. */
static bool
burst_in(const struct stage *st, mstime from, mstime to)
{
	const struct sent *s, *last = NULL;

	for (unsigned i = 0; (s = stage_nth(st, MAP_REQUEST, 5000, from, i)) && s->at <= to; i++) {
		if (last && s->at - last->at <= 600)
			return true;
		last = s;
	}
	return false;
}

/* P-21: NAT-PMP's bursts at 1/2, 3/4 and 9/10; a probe just before may move them a little. */
static void
bursts(struct stage *st, int variant)
{
	static const mstime at[] = { 30000, 45000, 54000 };
	mstime granted;

	(void)variant;
	simple(st, 1, 1, 60);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	granted = st->sent[0].at;
	st->mute = true;
	stage_run_until(st, granted + 59900);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, granted + 1, granted + 30000) == 0,
	    "renewed before half its lifetime");
	for (unsigned i = 0; i < 3; i++)
		EXPECT(st, burst_in(st, granted + at[i], granted + at[i] + 5900),
		    "no burst at %lld s", (long long)at[i] / 1000);
}

/* The ports of a range are renewed one by one, but told together. */
static void
range(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct mapping_status m;
	unsigned told, renewals = 0;

	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	stage_grant(st, 60);
	stage_start(st);
	stage_path_up(st);
	f.count = 8;
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	stage_run(st, 10 * MINUTE);
	for (uint16_t port = 5000; port < 5008; port++)
		if (stage_mapping(st, port, &m) && m.renewals > renewals)
			renewals = m.renewals;
	told = stage_noted_count(st, EVENT_RENEWED, 0);
	EXPECT(st, told <= renewals && told + 2 >= renewals && told >= 15,
	    "told %u times of up to %u renewals", told, renewals);
}

/* It grants, which takes a while to arrive, refuses at once whatever comes for what it has, and
 * has restarted the clock's second between the two. */
static bool
refuses_copies(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	bool had = gw_find(&st->box, st->now, st->local, q->protocol, q->internal) != NULL;
	uint32_t epoch = gw_epoch(&st->box, st->now);
	uint8_t o[GW_PACKET_MAX];
	struct gw_outcome out;

	if (q->version == 2 ? q->opcode != 1 : q->opcode == 0)
		return false;
	if (had && q->lifetime) {
		st->number[1]++;
		stage_reply(st, 1, o,
		    q->version == 2 ? gw_put_pcp_map(o, bytes, n, 8, 30, epoch + 1, 0, 0)
				    : gw_put_natpmp_map(o, q->protocol, 4, epoch + 1, q->internal,
					  q->external, q->lifetime));
		return true;
	}
	n = gw_answer(&st->box, st->now, st->local, bytes, n, o, &out);
	st->number[0] += out.granted;
	stage_reply(st, out.granted ? 400 : 1, o, n);
	return true;
}

/* A grant that the refusal of a copy of its request has overtaken is a grant: the first one, and
 * those for the same port when the lease, which cannot be renewed, is over. */
static void
late_grant(struct stage *st, int variant)
{
	const struct noted *x;
	mstime up = 0, down = 0;
	unsigned mapped = 0;

	st->script = refuses_copies;
	simple(st, variant, 1, 120);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, st->number[1] > 0, "no copy was refused");
	stage_run(st, 30 * MINUTE);
	for (size_t i = 0; i < st->n_noted; i++) {
		x = &st->noted[i];
		if (x->kind == EVENT_MAPPED) {
			up = x->at;
			mapped++;
			continue;
		}
		if (x->kind != EVENT_LOST)
			continue;
		down = x->at;
		EXPECT(st, down - up <= 120 * MSTIME_SECOND, "believed for %lld ms",
		    (long long)(down - up));
	}
	EXPECT(st, st->number[0] > 8, "only %ld grants", st->number[0]);
	EXPECT(st, mapped == (unsigned)st->number[0], "%ld grants, mapped %u times", st->number[0],
	    mapped);
}

/* A box that speaks PCP no more: a lease ends while it is asked for by PCP once more, which is no
 * question whether PCP is spoken. Each variant meets another moment of that try. */
static void
ends_amid_a_renewal(struct stage *st, int variant)
{
	uint32_t lifetime = 100 + 3 * (uint32_t)variant;

	st->gateway.probe_interval = 0;
	stage_grant(st, lifetime);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 1000, stage_all_active), "not mapped");
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_V0_8;
	while (st->n_sent < 2 && !st->failed)
		stage_run(st, 100);
	st->box.stranger = STRANGER_MUTE;
	stage_run_until(st, st->begin + (lifetime + 20) * MSTIME_SECOND);
	EXPECT(st, stage_all_active(st), "not mapped by NAT-PMP when the lease has ended");
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "failed");
}

const struct directed directed_renewal[] = {
	{ "a lease ends amid its renewal", ends_amid_a_renewal, 30 },
	{ "a grant that a copy's refusal has overtaken", late_grant, 2 },
	{ "S-11 ICMP blips", icmp_blips, 2 },
	{ "S-12 believed until it ends", believed, 2 },
	{ "S-14 renewal ceiling", ceiling, 2 },
	{ "max-renew-interval", interval, 2 },
	{ "P-50 renewal windows", windows, 20 },
	{ "P-51 no flood before the end", no_flood, 20 },
	{ "a renewal overslept, then lost", overslept, 10 },
	{ "S-17 lifetimes", lifetimes, 18 },
	{ "two leases of 60 s", minimum, 20 },
	{ "30 % of the replies lost", losses, 100 },
	{ "NAT-PMP bursts", bursts, 20 },
	{ "a range is told once", range, 10 },
	{ NULL, NULL, 0 },
};
