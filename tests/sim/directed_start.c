/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

/* First contact, refusals, odd answers. */

static enum mapper
protocol(int variant)
{
	return variant % 2 ? MAPPER_NATPMP : MAPPER_PCP;
}

/* One forward with one protocol on a gateway of that protocol. */
static void
simple(struct stage *st, enum mapper m, uint32_t lifetime)
{
	stage_only(st, m);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, lifetime);
}

/* P-22, P-78 */
static void
other_port(struct stage *st, int variant)
{
	mstime at;

	st->box.ports = PORTS_PLUS_ONE;
	st->settings.max_renew_interval = 600;
	simple(st, protocol(variant), 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5001, "published %u, granted 5001",
	    stage_active(st, 5000, PROTOCOL_TCP));
	at = st->now;
	stage_run(st, 3 * HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, at, i);
		if (!s) {
			EXPECT(st, i > 10, "only %u renewals", i);
			break;
		}
		EXPECT(st, s->q.external == 5001, "renewal suggests %u", s->q.external);
	}
	EXPECT(st,
	    stage_noted_count(st, EVENT_MAPPED, 0) == 1 &&
		stage_noted_count(st, EVENT_CHANGED, st->begin + 6000) == 0,
	    "told more than once");
	EXPECT(
	    st, stage_count(st, DELETE_REQUEST, 0, 0, st->now) == 0, "a live mapping was deleted");
}

static bool
drop_first(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	(void)q;
	return st->number[0]-- > 0;
}

/* P-18. Variant k: the first k + 1 requests are lost. */
static void
retransmission(struct stage *st, int variant)
{
	mstime wait = 250;

	st->script = drop_first;
	st->number[0] = variant + 1;
	simple(st, MAPPER_NATPMP, 3600);
	EXPECT(st, stage_wait(st, 130000, stage_all_active), "not mapped after %d losses",
	    variant + 1);
	EXPECT(st, st->n_sent >= (size_t)variant + 2, "%zu requests", st->n_sent);
	for (int i = 0; i <= variant; i++, wait *= 2) {
		mstime gap = st->sent[i + 1].at - st->sent[i].at;
		EXPECT(st, gap >= wait * 9 / 10 && gap <= wait * 11 / 10,
		    "gap %d is %lld ms, not %lld", i, (long long)gap, (long long)wait);
		EXPECT(st,
		    st->sent[i].n == st->sent[i + 1].n &&
			!memcmp(st->sent[i].bytes, st->sent[i + 1].bytes, st->sent[i].n),
		    "retransmission %d is another request", i);
	}
}

static bool
all_refused(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	(void)q;
	stage_icmp(st, 1);
	return true;
}

/* P-31. 0: both protocols, 1: PCP only, 2: NAT-PMP only; 3 … 5: the same with ICMP. */
static void
dead_gateway(struct stage *st, int variant)
{
	mstime from;

	if (variant % 3)
		stage_only(st, variant % 3 == 1 ? MAPPER_PCP : MAPPER_NATPMP);
	st->mute = variant < 3;
	st->script = all_refused;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 10, 3600);
	stage_run(st, 48 * HOUR);
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, 0, st->begin + 10 * MINUTE) <= 60,
	    "%u packets in 10 minutes",
	    stage_count(st, ANY_REQUEST, 0, 0, st->begin + 10 * MINUTE));
	for (from = st->begin + 10 * MINUTE; from + HOUR < st->now; from += 10 * MINUTE)
		EXPECT(st, stage_count(st, ANY_REQUEST, 0, from, from + HOUR) <= 6,
		    "%u packets in the hour from minute %lld",
		    stage_count(st, ANY_REQUEST, 0, from, from + HOUR),
		    (long long)((from - st->begin) / MINUTE));
	from = st->now - 3 * HOUR;
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, from, st->now) > 0, "given up");
	/* and it is believed when it speaks at last */
	st->mute = false;
	st->script = NULL;
	EXPECT(st, stage_wait(st, HOUR, stage_all_active), "not mapped in the hour after it woke");
}

static bool
is_silent(struct stage *st)
{
	struct gateway_status g;

	return stage_gateway(st, &g) &&
	    (g.state == GATEWAY_SILENT || g.state == GATEWAY_UNSUPPORTED);
}

/* P-7, P-8 */
static void
natpmp_series(struct stage *st, int variant)
{
	mstime at = 0, wait = 250;

	(void)variant;
	st->mute = true;
	simple(st, MAPPER_NATPMP, 3600);
	stage_run(st, 127750);
	EXPECT(st, st->n_sent == 9, "%zu transmissions in 127.75 s", st->n_sent);
	for (unsigned i = 0; i < 9; i++, at += wait, wait *= 2)
		EXPECT(st,
		    st->sent[i].at - st->begin >= at - at / 10 &&
			st->sent[i].at - st->begin <= at + at / 10,
		    "transmission %u at %lld ms", i + 1, (long long)(st->sent[i].at - st->begin));
	EXPECT(st, is_silent(st), "the gateway is not called silent");
}

/* P-45, P-46 */
static void
pcp_series(struct stage *st, int variant)
{
	mstime rt = 250;

	(void)variant;
	st->mute = true;
	simple(st, MAPPER_PCP, 3600);
	stage_run(st, 100 * HOUR);
	for (size_t i = 0; i + 1 < st->n_sent; i++) {
		mstime gap = st->sent[i + 1].at - st->sent[i].at;
		EXPECT(st, gap >= rt * 9 / 10 - 1 && gap <= rt * 11 / 10 + 1,
		    "gap %zu is %lld ms, not about %lld", i, (long long)gap, (long long)rt);
		EXPECT(st, gap <= 1126400, "gap of %lld ms", (long long)gap);
		EXPECT(st,
		    st->sent[i].q.opcode == 0 ||
			!memcmp(st->sent[i].q.nonce, st->sent[0].q.nonce, 12),
		    "the nonce changed");
		/* RTprev includes its own jitter; from 2 s on the RFC's 3 s series begins */
		rt = rt < 1500 ? 2 * gap : gap < 2400 ? 3000 : 2 * gap;
		rt = rt > 1024000 ? 1024000 : rt;
	}
	EXPECT(st, st->n_sent > 200, "only %zu transmissions in 100 h", st->n_sent);
}

/* P-71, S-06 with every shape of the error */
static void
downgrade(struct stage *st, int variant)
{
	static const enum gw_stranger shapes[] = { STRANGER_V0_8, STRANGER_V0_4, STRANGER_V0_OP0 };

	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = shapes[variant];
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 10 * MINUTE);
	EXPECT(st, stage_count(st, PCP_REQUEST, 0, 0, st->now) == 1,
	    "%u PCP requests in 10 minutes", stage_count(st, PCP_REQUEST, 0, 0, st->now));
	EXPECT(st,
	    st->n_sent >= 2 && st->sent[1].q.version == 0 && st->sent[1].at - st->sent[0].at < 50,
	    "NAT-PMP does not follow at once");
}

/* A gateway that drops what it does not know: an interleaved probe finds NAT-PMP. */
static void
deaf_to_pcp(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_MUTE;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
}

static bool
garble(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[16];

	(void)bytes;
	(void)n;
	if (q->opcode == 0)
		return false;
	stage_reply(st, 1, o,
	    gw_put_natpmp_map(o, q->protocol, 0, gw_epoch(&st->box, st->now), q->internal & 255,
		q->external & 255, 3600));
	return true;
}

/* P-20, S-10 */
static void
garbled(struct stage *st, int variant)
{
	struct mapping_status m;

	(void)variant;
	st->script = garble;
	simple(st, MAPPER_NATPMP, 3600);
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, 0, st->now) <= 10, "%u requests in 60 s",
	    stage_count(st, ANY_REQUEST, 0, 0, st->now));
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 0, "a garbled port was published");
	EXPECT(st,
	    stage_mapping(st, 5000, &m) && m.state == MAPPING_FAILED &&
		m.problem.trouble == TROUBLE_GARBLED,
	    "not called garbled");
}

/* ---- S-16, P-60, P-109: results
 * ---------------------------------------------------------------------- */

struct code {
	uint8_t mapper; /* 0 PCP, 1 NAT-PMP */
	uint16_t result;
	bool brief;
};

static const struct code codes[] = { { 0, 2, false }, { 0, 3, false }, { 0, 4, false },
	{ 0, 5, false }, { 0, 6, false }, { 0, 7, true }, { 0, 8, true }, { 0, 9, false },
	{ 0, 10, true }, { 0, 11, false }, { 0, 12, false }, { 0, 13, false }, { 0, 15, false },
	{ 0, 77, false }, { 1, 2, false }, { 1, 3, true }, { 1, 4, true }, { 1, 5, false },
	{ 1, 4242, false } };

#define CODES (sizeof codes / sizeof codes[0])

static bool
say_no(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	static const uint32_t lifetimes[] = { 0, 30, 0xffffffffu };
	const struct code *c = &codes[(size_t)st->variant % CODES];
	uint32_t life = lifetimes[(size_t)st->variant / CODES];
	uint8_t o[STAGE_PACKET];

	if (q->opcode == 0)
		return false;
	if (c->mapper == 0)
		n = gw_put_pcp_map(
		    o, bytes, n, (uint8_t)c->result, life, gw_epoch(&st->box, st->now), 0, 0);
	else
		n = gw_put_natpmp_map(o, q->protocol, c->result, gw_epoch(&st->box, st->now),
		    q->internal, q->external, life);
	stage_reply(st, 1, o, n);
	return true;
}

static void
results(struct stage *st, int variant)
{
	const struct code *c = &codes[(size_t)variant % CODES];
	const struct sent *last = NULL;
	struct mapping_status m;
	unsigned long long result = c->result;
	/* An address may come back soon, whatever the gateway says. */
	mstime most = c->mapper == 0 && c->result == 7 ? 901 * MSTIME_SECOND : HOUR + MINUTE;

	st->script = say_no;
	simple(st, c->mapper ? MAPPER_NATPMP : MAPPER_PCP, 3600);
	stage_run(st, MINUTE);
	EXPECT(st,
	    stage_mapping(st, 5000, &m) && m.state == MAPPING_FAILED &&
		m.problem.trouble == TROUBLE_REFUSED && m.problem.result == c->result,
	    "result %llu is not reported", result);
	EXPECT(st, m.retries != MSTIME_NEVER, "result %llu: no retry is planned", result);
	stage_run(st, 12 * HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, 0, i);
		mstime gap;
		if (!s)
			break;
		gap = last ? s->at - last->at : MINUTE * 20;
		/* the same request without options is another request */
		if (last && last->q.options && !s->q.options && gap < MSTIME_SECOND)
			gap = MINUTE * 20;
		EXPECT(st, gap >= (c->brief ? 30 * MSTIME_SECOND : 15 * MINUTE),
		    "result %llu: asked again after %lld ms", result, (long long)gap);
		EXPECT(st, i == 0 || gap <= most, "result %llu: asked again after %lld s", result,
		    (long long)gap / 1000);
		last = s;
	}
	EXPECT(st, last && st->now - last->at <= most, "result %llu: given up", result);
	st->script = NULL;
	EXPECT(st, stage_wait(st, most, stage_all_active), "result %llu: not mapped after it ended",
	    result);
}

/* ---- S-19: no address ------------------------------------------------------------------- */

/* Even: PCP, odd: NAT-PMP. 0, 1: 0.0.0.0 for 20 s; 2, 3: private; 4, 5: CGNAT */
static void
no_address(struct stage *st, int variant)
{
	static const uint32_t addresses[] = { 0, 0xc0a80132, 0x64400001 };
	uint32_t address = addresses[variant / 2];

	st->box.external = address;
	simple(st, protocol(variant), 3600);
	if (address) {
		struct mapping_status m;
		EXPECT(st, stage_wait(st, 3000, stage_all_active), "not active behind another NAT");
		stage_run(st, MSTIME_SECOND);
		EXPECT(st,
		    stage_mapping(st, 5000, &m) && m.has_external &&
			gw_ipv4(&m.external) == address,
		    "its address is not told");
		return;
	}
	stage_run(st, 20 * MSTIME_SECOND);
	/* NAT-PMP tells the address in another answer, so a moment without one is no fault */
	EXPECT(st, !stage_active(st, 5000, PROTOCOL_TCP), "active without an address");
	EXPECT(st, variant % 2 || stage_noted_count(st, EVENT_MAPPED, 0) == 0,
	    "published without an address");
	st->box.external = 0x08080404;
	EXPECT(st, stage_wait(st, 35 * MSTIME_SECOND, stage_all_active),
	    "not published 35 s after the address came");
	stage_run(st, 5 * MSTIME_SECOND);
	for (size_t i = 0; i < st->n_noted; i++)
		EXPECT(st, !st->noted[i].has_external || st->noted[i].address == 0x08080404,
		    "0.0.0.0 was published");
}

/* What was answered is no burst: after 150 forwards, one more waits for nothing. */
static void
late_comer(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(80, PROTOCOL_TCP, 3600);

	stage_only(st, protocol(variant));
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 150, 3600);
	EXPECT(st, stage_wait(st, MINUTE, stage_all_active), "not mapped in a minute");
	stage_run(st, MSTIME_SECOND);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, MSTIME_SECOND, stage_all_active),
	    "one more is not mapped in a second");
}

const struct directed directed_start[] = {
	{ "S-03 another port than asked", other_port, 2 },
	{ "S-04 retransmission", retransmission, 8 },
	{ "S-05 a gateway that never answers", dead_gateway, 6 },
	{ "P-7 P-8 NAT-PMP's series", natpmp_series, 1 },
	{ "P-46 PCP's series", pcp_series, 3 },
	{ "S-06 version error", downgrade, 3 },
	{ "deaf to PCP", deaf_to_pcp, 1 },
	{ "S-10 garbled ports", garbled, 1 },
	{ "S-16 results", results, 3 * (int)CODES },
	{ "S-19 no address", no_address, 6 },
	{ "one after many", late_comer, 2 },
	{ NULL, NULL, 0 },
};
