/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

/* PCP options, and what is left of a request when the gateway does not know them. */

#define OTHER_HOST 0xc0a80163u

static void
pcp_only(struct stage *st)
{
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
}

static bool
failed_with(struct stage *st, uint16_t port, enum trouble t, uint16_t result)
{
	struct mapping_status m;

	return stage_mapping(st, port, &m) && m.state == MAPPING_FAILED && m.problem.trouble == t &&
	    (t != TROUBLE_REFUSED || m.problem.result == result) && m.retries != MSTIME_NEVER &&
	    m.retries > st->now;
}

/* A gateway that refuses DESCRIPTION; twice, as a bad network would have it. */
static bool
no_description(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	static const uint8_t results[] = { 5, 6, 3 };
	uint8_t o[STAGE_PACKET];

	if (!q->described)
		return false;
	n = gw_put_pcp_map(
	    o, bytes, n, results[st->variant % 3], 0, gw_epoch(&st->box, st->now), 0, 0);
	stage_reply(st, 1, o, n);
	stage_reply(st, 2, o, n);
	return true;
}

/* Q-179, P-98 */
static void
description(struct stage *st, int variant)
{
	(void)variant;
	st->script = no_description;
	pcp_only(st);
	for (uint16_t i = 0; i < 3; i++) {
		struct forward_spec f = stage_spec((uint16_t)(5000 + i), PROTOCOL_TCP, 3600);
		const char *names[] = { "f0", "f1", "f2" };

		f.name = names[i];
		f.description = "d0";
		stage_want(st, &f);
	}
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, st->sent[0].q.described && !memcmp(st->sent[0].bytes + 60, "\x80\0\0\4d0  ", 8),
	    "no description");
	EXPECT(st, !st->sent[1].q.options && st->sent[1].at - st->sent[0].at < 50,
	    "not asked again at once without it");
	stage_run(st, 24 * HOUR);
	for (size_t i = 1; i < st->n_sent; i++)
		EXPECT(st, !st->sent[i].q.options, "packet %zu has options", i);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "failed was told");
}

/* Where descriptions are taken they stay. */
static void
description_kept(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	f.description = variant ? "" : "Caf\xc3\xa9";
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, 2 * HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, 0, i);
		if (!s) {
			EXPECT(st, i > 2, "only %u requests", i);
			break;
		}
		EXPECT(st,
		    variant ? s->n == 60
			    : s->n == 72 && !memcmp(s->bytes + 60, "\x80\0\0\10Caf\xc3\xa9   ", 12),
		    "request %u: another description", i);
	}
}

/* P-40: FILTER and THIRD_PARTY are never left out. 0, 1: refused; 2, 3: taken. */
static bool
processes(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (q->opcode == 0 || !(q->filters || q->third_party))
		return false;
	if (st->variant < 2) {
		n = gw_put_pcp_map(o, bytes, n, 5, 0, gw_epoch(&st->box, st->now), 0, 0);
	} else {
		size_t size = n;
		n = gw_put_pcp_map(o, bytes, n, 0, q->lifetime, gw_epoch(&st->box, st->now),
		    q->lifetime ? 4000 : 0, st->box.external);
		memcpy(o + n, bytes + n, size - n); /* processed, so echoed */
		n = size;
	}
	if (st->number[0] && q->third_party)
		o[60 + 4 + 15] ^= 1; /* an answer about somebody else */
	stage_reply(st, 1, o, n);
	return true;
}

static void
check_meaning(struct stage *st, bool filter)
{
	for (size_t i = 0; i < st->n_sent; i++) {
		const struct sent *s = &st->sent[i];
		if (stage_is(s, MAP_REQUEST, 5000))
			EXPECT(st,
			    filter ? s->q.filters == 3 && !s->q.third_party
				   : s->q.third_party && s->q.third == OTHER_HOST && !s->q.filters,
			    "request %zu lacks its meaning", i);
		if (stage_is(s, DELETE_REQUEST, 5000))
			EXPECT(st, !s->q.filters && s->q.third_party == !filter,
			    "delete %zu: wrong options (P-87)", i);
		EXPECT(st, s->q.opcode != 0 || !s->q.options, "options with ANNOUNCE (P-83)");
	}
}

static void
meaning(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct netprefix remotes[2];
	bool filter = variant % 2 == 0;
	mstime at;

	if (!netprefix_parse("198.51.100.0/24", &remotes[0]) ||
	    !netprefix_parse("203.0.113.9", &remotes[1]))
		stage_fail(st, "cannot parse");
	f.remotes = remotes;
	f.n_remotes = filter ? 2 : 0;
	f.has_internal = !filter;
	f.internal = gw_netaddr(OTHER_HOST);
	st->script = processes;
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	if (variant < 2) {
		EXPECT(st, failed_with(st, 5000, TROUBLE_REFUSED, 5), "not failed with its reason");
		stage_run(st, HOUR);
		EXPECT(st, stage_count(st, MAP_REQUEST, 5000, 0, st->now) <= 6,
		    "%u requests in an hour", stage_count(st, MAP_REQUEST, 5000, 0, st->now));
		check_meaning(st, filter);
		return;
	}
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 4000, "not active");
	stage_run(st, 5 * HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	at = st->now;
	engine_unwant(st->engine, st->now, "web");
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == 1, "deleted %u times",
	    stage_count(st, DELETE_REQUEST, 5000, at, st->now));
	check_meaning(st, filter);
}

/* An answer about another host's mapping is not ours. */
static void
other_host(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	(void)variant;
	st->variant = 3;
	st->number[0] = 1;
	f.has_internal = true;
	f.internal = gw_netaddr(OTHER_HOST);
	st->script = processes;
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	EXPECT(st, !stage_active(st, 5000, PROTOCOL_TCP), "an answer about another host counts");
}

/* NAT-PMP cannot say it: nothing is opened, and the next forward does not suffer. */
static void
inexpressible(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct forward_spec g = stage_spec(6000, PROTOCOL_TCP, 3600);
	struct netprefix remote;

	if (!netprefix_parse("198.51.100.0/24", &remote))
		stage_fail(st, "cannot parse");
	f.has_internal = variant == 0;
	f.internal = gw_netaddr(OTHER_HOST);
	f.remotes = &remote;
	f.n_remotes = (size_t)variant;
	g.name = "other";
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_V0_8;
	stage_start(st);
	stage_path_up(st);
	stage_want(st, &f);
	stage_want(st, &g);
	stage_run(st, 5 * HOUR);
	EXPECT(st, stage_active(st, 6000, PROTOCOL_TCP) == 6000, "the other one is not mapped");
	EXPECT(st, failed_with(st, 5000, TROUBLE_UNSUPPORTED, 0), "not called unsupported");
	for (size_t i = 0; i < st->n_sent; i++)
		EXPECT(st, st->sent[i].q.version == 2 || st->sent[i].q.internal != 5000,
		    "asked for by NAT-PMP");
	EXPECT(st, stage_count(st, ANY_REQUEST, 5000, 0, st->now) <= 2, "%u requests",
	    stage_count(st, ANY_REQUEST, 5000, 0, st->now));
	/* the gateway learns PCP */
	st->box.speaks = SPEAKS_BOTH;
	EXPECT(st, stage_wait(st, HOUR + MINUTE, stage_all_active), "not mapped by PCP then");
}

/* external-policy = require. 0, 1: PREFER_FAILURE is refused, the right or another port is granted;
 * 2, 3: it is taken, answered with 11 or with another port (P-86). */
static bool
prefer(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (q->opcode == 0 || !q->lifetime)
		return false;
	if (st->variant < 2 && !q->prefer_failure)
		return false;
	if (st->variant == 3)
		n = gw_put_pcp_map(o, bytes, n, 0, q->lifetime, gw_epoch(&st->box, st->now), 5001,
		    st->box.external);
	else
		n = gw_put_pcp_map(
		    o, bytes, n, st->variant == 2 ? 11 : 5, 0, gw_epoch(&st->box, st->now), 0, 0);
	stage_reply(st, 1, o, n);
	return true;
}

static void
required(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	mstime last = 0;

	f.require = true;
	st->script = prefer;
	st->box.ports = variant == 1 ? PORTS_PLUS_ONE : PORTS_AS_ASKED;
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, 2000);
	EXPECT(st, st->sent[0].q.prefer_failure, "asked without PREFER_FAILURE");
	if (variant == 0) {
		EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not active");
		stage_run(st, 24 * HOUR);
		EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
		return;
	}
	if (variant == 2)
		EXPECT(st, failed_with(st, 5000, TROUBLE_REFUSED, 11), "not failed with 11");
	else
		EXPECT(st, failed_with(st, 5000, TROUBLE_OTHER_PORT, 0), "not failed");
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 0, "another port was published");
	stage_run(st, 12 * HOUR);
	for (unsigned i = 0;; i++) {
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, st->begin + 2000, i);
		if (!s)
			break;
		EXPECT(st, s->at - last >= 14 * MINUTE, "asked again after %lld s",
		    (long long)(s->at - last) / 1000);
		EXPECT(st, s->q.external == 5000, "suggests %u", s->q.external);
		last = s->at;
	}
	EXPECT(st, st->now - last < 2 * HOUR, "given up");
	EXPECT(st, variant == 2 || !gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000),
	    "the other port is left behind");
	st->script = NULL;
	st->box.ports = PORTS_AS_ASKED;
	EXPECT(st, stage_wait(st, HOUR + MINUTE, stage_all_active), "not mapped when it can be");
}

const struct directed directed_option[] = {
	{ "Q-179 DESCRIPTION refused", description, 3 },
	{ "P-98 DESCRIPTION", description_kept, 2 },
	{ "P-84 P-87 FILTER, THIRD_PARTY", meaning, 4 },
	{ "P-58 an answer for another host", other_host, 1 },
	{ "what NAT-PMP cannot say", inexpressible, 2 },
	{ "P-85 P-86 external-policy = require", required, 4 },
	{ NULL, NULL, 0 },
};
