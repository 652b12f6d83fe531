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
	    ((t != TROUBLE_REFUSED && t != TROUBLE_IGNORED) || m.problem.result == result) &&
	    m.retries != MSTIME_NEVER && m.retries > st->now;
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
	EXPECT(st, failed_with(st, 5000, TROUBLE_NEEDS_PCP, 0), "not called unsupported");
	for (size_t i = 0; i < st->n_sent; i++)
		EXPECT(st, st->sent[i].q.version == 2 || st->sent[i].q.internal != 5000,
		    "asked for by NAT-PMP");
	EXPECT(st, stage_count(st, ANY_REQUEST, 5000, 0, st->now) <= 2, "%u requests",
	    stage_count(st, ANY_REQUEST, 5000, 0, st->now));
	/* the gateway learns PCP */
	st->box.speaks = SPEAKS_BOTH;
	st->box.options = OPTIONS_PROCESSED;
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

/* P-40: FILTER or THIRD_PARTY is not echoed, or another FILTER is: the gateway has not done it. It
 * must not be published, nor left behind. 0 no FILTER, 1 a wider one, 2 one of two, 3 no
 * THIRD_PARTY; from 4 on the renewal is the first such answer. */
static bool
forgets(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];
	struct gw_outcome out;
	size_t size;

	if (q->opcode == 0 || !q->lifetime || st->number[1]-- > 0)
		return false;
	st->box.options = OPTIONS_IGNORED;
	size = gw_answer(&st->box, st->now, LOCAL, bytes, n, o, &out);
	st->box.options = OPTIONS_PROCESSED;
	if (st->variant % 4 == 1 || st->variant % 4 == 2) {
		size = gw_echo_options(o, bytes, n - (st->variant % 4 == 2 ? 24 : 0));
		if (st->variant % 4 == 1)
			o[size - 19]--;
	}
	stage_reply(st, 1, o, size);
	return true;
}

static void
not_echoed(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct netprefix remotes[2];
	bool third = variant % 4 == 3, later = variant >= 4;
	unsigned deletes;
	mstime at;

	if (!netprefix_parse("198.51.100.0/24", &remotes[0]) ||
	    !netprefix_parse("203.0.113.8/30", &remotes[1]))
		stage_fail(st, "cannot parse");
	f.remotes = remotes;
	f.n_remotes = third ? 0 : 2;
	f.has_internal = third;
	f.internal = gw_netaddr(OTHER_HOST);
	st->box.options = OPTIONS_PROCESSED;
	st->number[1] = later;
	st->script = forgets;
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, later ? 2 * MSTIME_SECOND : 10);
	EXPECT(st, !later || stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not active");
	stage_run(st, later ? 45 * MINUTE : 10);
	EXPECT(st, failed_with(st, 5000, TROUBLE_IGNORED, third ? 1 : 3),
	    "not failed with its reason");
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == later, "published");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == later, "its end was not told");
	deletes = stage_count(st, DELETE_REQUEST, 5000, 0, st->now);
	EXPECT(st, deletes == (third && later ? 2 : 1), "%u deletes", deletes);
	EXPECT(st, !gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000), "left behind");
	EXPECT(st, !gw_find(&st->box, st->now, OTHER_HOST, PROTOCOL_TCP, 5000), "left there");
	at = st->now;
	stage_run(st, 55 * MINUTE - (later ? 45 * MINUTE : 0));
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 0, "opened again and again");
	st->script = NULL;
	EXPECT(st, stage_wait(st, HOUR, stage_all_active), "not mapped when it can be");
}

/* An update that nobody has asked for (P-97) without FILTER: the gateway is asked what is so. */
static void
update_without_filter(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct netprefix remote;
	const struct sent *s;
	uint8_t o[STAGE_PACKET];
	mstime at;

	(void)variant;
	if (!netprefix_parse("198.51.100.0/24", &remote))
		stage_fail(st, "cannot parse");
	f.remotes = &remote;
	f.n_remotes = 1;
	st->box.options = OPTIONS_PROCESSED;
	pcp_only(st);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	s = stage_nth(st, MAP_REQUEST, 5000, 0, 0);
	at = st->now;
	stage_reply(st, 1, o,
	    gw_put_pcp_map(
		o, s->bytes, 60, 0, 3600, gw_epoch(&st->box, st->now), 5000, st->box.external));
	stage_run(st, 5 * MSTIME_SECOND);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 1, "not asked once");
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not active");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* A forward that needs PCP where NAT-PMP is preferred. 0: the gateway speaks both; 1, 2: NAT-PMP
 * only, and is mute or not to the rest; 3: both, and nobody else wants anything. */
static void
needs_pcp(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct forward_spec g = stage_spec(6000, PROTOCOL_TCP, 3600);
	bool both = variant % 3 == 0;
	struct gateway_status status;

	f.has_internal = true;
	f.internal = gw_netaddr(OTHER_HOST);
	g.name = "other";
	stage_prefer(st, MAPPER_NATPMP);
	st->box.speaks = both ? SPEAKS_BOTH : SPEAKS_NATPMP;
	st->box.stranger = variant == 1 ? STRANGER_MUTE : STRANGER_V0_8;
	st->box.options = OPTIONS_PROCESSED;
	stage_start(st);
	stage_path_up(st);
	if (variant != 3)
		stage_want(st, &g);
	stage_want(st, &f);
	stage_run(st, 2000);
	EXPECT(
	    st, variant == 3 || stage_active(st, 6000, PROTOCOL_TCP) == 6000, "the other is not");
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == !both, "failed was told");
	EXPECT(st,
	    both ? stage_active(st, 5000, PROTOCOL_TCP) == 5000
		 : failed_with(st, 5000, TROUBLE_NEEDS_PCP, 0),
	    "not asked for by PCP, or not failed with its reason");
	stage_run(st, 24 * HOUR);
	EXPECT(st, stage_gateway(st, &status) && status.mapper == MAPPER_NATPMP, "another mapper");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_GATEWAY_SILENT, 0) == 0, "called silent");
	for (size_t i = 0; i < st->n_sent; i++)
		EXPECT(st, st->sent[i].q.version == (st->sent[i].q.internal == 5000 ? 2 : 0),
		    "packet %zu is in the wrong protocol", i);
	EXPECT(st, both || stage_count(st, PCP_REQUEST, 0, 0, st->now) <= 300, "%u questions",
	    stage_count(st, PCP_REQUEST, 0, 0, st->now));
	st->box.speaks = SPEAKS_BOTH;
	EXPECT(st, stage_wait(st, HOUR, stage_all_active), "not mapped by PCP then");
}

const struct directed directed_option[] = {
	{ "Q-179 DESCRIPTION refused", description, 3 },
	{ "P-98 DESCRIPTION", description_kept, 2 },
	{ "P-84 P-87 FILTER, THIRD_PARTY", meaning, 4 },
	{ "P-58 an answer for another host", other_host, 1 },
	{ "P-40 FILTER, THIRD_PARTY not echoed", not_echoed, 8 },
	{ "P-40 P-97 an update without FILTER", update_without_filter, 1 },
	{ "what NAT-PMP cannot say", inexpressible, 2 },
	{ "what needs PCP, with NAT-PMP preferred", needs_pcp, 4 },
	{ "P-85 P-86 external-policy = require", required, 4 },
	{ NULL, NULL, 0 },
};
