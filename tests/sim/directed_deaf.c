/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* Gateways that answer less than they should: deaf to ANNOUNCE, to all but MAP, for a
 * while; and what may have been granted meanwhile. */

/* it maps by PCP, and is silent to ANNOUNCE. */
static bool
deaf(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)st;
	(void)bytes;
	(void)n;
	return q->version == 2 && q->opcode == 0;
}

/* That and silence to NAT-PMP is all that it says: a request by PCP must be tried. 0: NAT-PMP is
 * preferred; 1: it has spoken NAT-PMP before its update. */
static void
maps_only(struct stage *st, int variant)
{
	stage_prefer(st, variant == 0 ? MAPPER_NATPMP : MAPPER_PCP);
	st->box.speaks = variant == 0 ? SPEAKS_PCP : SPEAKS_NATPMP;
	st->script = deaf;
	stage_grant(st, 120);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, 3600);
	EXPECT(st, stage_wait(st, 75 * MSTIME_SECOND, stage_both_mapped), "not mapped in 75 s");
	if (variant == 0)
		return;
	st->box.speaks = SPEAKS_PCP;
	gw_restart(&st->box, st->now, false);
	stage_run(st, 120 * MSTIME_SECOND);
	EXPECT(st, stage_wait(st, 2 * MINUTE, stage_both_mapped),
	    "not mapped 4 minutes after its update");
}

/* It does what it is asked for, and nobody hears of it. */
static bool
lose_answer(struct stage *st, const uint8_t *bytes, size_t n)
{
	struct gw_outcome outcome;
	uint8_t o[GW_PACKET_MAX];

	gw_answer(&st->box, st->now, LOCAL, bytes, n, o, &outcome);
	return true;
}

/* The first grant is lost on its way, and the forward is taken away: what asks whether the gateway
 * is there is the deletion, since nothing else would be answered. */
static bool
loses_grants(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	if (q->opcode == 0 || q->lifetime == 0)
		return deaf(st, bytes, n, q);
	return lose_answer(st, bytes, n);
}

static void
deleted_unheard(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_PCP;
	st->script = loses_grants;
	stage_grant(st, 86400);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 86400);
	stage_run(st, 200);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL, "no mapping");
	engine_unwant(st->engine, st->now, "f0");
	stage_run(st, MINUTE);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) == NULL, "left behind");
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, st->now - MINUTE, st->now) == 0,
	    "still asked for something");
}

/* It no longer answers ANNOUNCE. That is an outage at first, but not for long, and not again. */
static void
gone_deaf(struct stage *st, int variant)
{
	struct gateway_status g;
	mstime at;

	st->box.speaks = variant % 2 == 0 ? SPEAKS_PCP : SPEAKS_BOTH;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, 7200);
	EXPECT(st, stage_wait(st, 5 * MSTIME_SECOND, stage_both_mapped), "not mapped in 5 s");
	stage_run(st, 10 * MINUTE);
	st->script = deaf;
	if (variant >= 2)
		gw_restart(&st->box, st->now, false);
	at = st->now;
	stage_run(st, 5 * MINUTE);
	EXPECT(st, stage_gateway(st, &g) && g.state == GATEWAY_READY, "still called silent");
	EXPECT(st, stage_wait(st, 10 * MINUTE, stage_both_mapped), "not mapped again");
	at = st->now;
	stage_run(st, 10 * HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_GATEWAY_SILENT, at) == 0, "called silent again");
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, at, st->now) <= 200, "%u packets in 10 hours",
	    stage_count(st, ANY_REQUEST, 0, at, st->now));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "lost");
}

/* The one MAP probe of an outage happens to end it; a reboot is in the next. */
static void
twice_away(struct stage *st, int variant)
{
	st->box.speaks = SPEAKS_PCP;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 7200);
	EXPECT(st, stage_wait(st, 5 * MSTIME_SECOND, stage_all_active), "not mapped in 5 s");
	stage_run(st, 10 * MINUTE - 5 * MSTIME_SECOND);
	st->mute = true;
	stage_run(st, (30 + variant) * MSTIME_SECOND);
	st->mute = false;
	stage_run(st, 20 * MSTIME_SECOND);
	st->mute = true;
	stage_run(st, 2 * MINUTE);
	gw_restart(&st->box, st->now, false);
	st->mute = false;
	stage_run(st, 90 * MSTIME_SECOND);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL,
	    "not mapped 90 s after its return");
}

/* ---- what PCP has granted unheard --------------------------------------------------------- */

enum { HEARD, PCP_LOST, ALL_LOST };

/* number[0] says which grants are lost. */
static bool
loses(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	if (st->number[0] == HEARD)
		return false;
	if (st->number[0] == ALL_LOST || q->version == 2)
		lose_answer(st, bytes, n);
	return true;
}

/* NAT-PMP is preferred, and the forward is taken away. 0: PCP's MAP is all that is answered. */
static void
granted_unheard(struct stage *st, int variant)
{
	stage_prefer(st, MAPPER_NATPMP);
	st->box.speaks = SPEAKS_PCP;
	st->script = variant == 0 ? loses_grants : loses;
	st->number[0] = variant == 0 ? 0 : ALL_LOST;
	stage_grant(st, 86400);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 86400);
	stage_run(st, 75 * MSTIME_SECOND);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL, "no mapping");
	engine_unwant(st->engine, st->now, "f0");
	stage_run(st, 5 * MSTIME_SECOND);
	st->number[0] = HEARD;
	stage_run(st, 2 * HOUR);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) == NULL, "left behind");
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, st->now - 30 * MINUTE, st->now) == 0,
	    "still asked for something");
}

/* The same for the request that an outage tries. */
static void
granted_in_an_outage(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_NATPMP;
	st->script = loses;
	stage_grant(st, 120);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_all_active), "not mapped");
	st->box.speaks = SPEAKS_PCP;
	gw_restart(&st->box, st->now, false);
	stage_grant(st, 86400);
	st->number[0] = PCP_LOST;
	stage_run(st, 280 * MSTIME_SECOND);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL, "no mapping");
	engine_unwant(st->engine, st->now, "f0");
	st->number[0] = HEARD;
	stage_run(st, 10 * MINUTE);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) == NULL, "left behind");
}

/* The same by NAT-PMP, which a version error has brought about. */
static bool
loses_natpmp(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	if (q->version != 0 || q->lifetime == 0 || q->opcode == 0)
		return false;
	return lose_answer(st, bytes, n);
}

static void
granted_by_natpmp(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_V0_8;
	st->script = loses_natpmp;
	stage_grant(st, 86400);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 86400);
	stage_run(st, 100);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL, "no mapping");
	engine_unwant(st->engine, st->now, "f0");
	stage_run(st, 10 * MINUTE);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) == NULL, "left behind");
}

/* PCP is asked for another host's port, the same as one of ours, and then it is not wanted:
 * NAT-PMP's deletion would be ours. */
static void
not_ours(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	(void)variant;
	f.has_internal = true;
	f.internal = stage_address("192.168.1.77");
	f.external = EXTERNAL_FIXED;
	f.external_port = 6000;
	st->box.speaks = SPEAKS_NATPMP;
	stage_grant(st, 3600);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_all_active), "not mapped");
	stage_run(st, MINUTE);
	stage_want(st, &f);
	stage_run(st, 100);
	engine_unwant(st->engine, st->now, "web");
	stage_run(st, 20 * MSTIME_SECOND);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL,
	    "our own mapping was deleted");
}

/* A forward that is held and let go, again and again, while the gateway is silent. */
static void
held_in_vain(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	unsigned deletes;
	mstime at;

	f.on_demand = true;
	stage_prefer(st, variant ? MAPPER_PCP : MAPPER_NATPMP);
	st->box.speaks = SPEAKS_BOTH;
	stage_start(st);
	stage_path_up(st);
	st->mute = true;
	stage_want(st, &f);
	for (unsigned i = 0; i < 100; i++) {
		engine_hold(st->engine, st->now, "web", true);
		stage_run(st, 20 * MINUTE);
		engine_hold(st->engine, st->now, "web", false);
		stage_run(st, MINUTE);
	}
	st->mute = false;
	at = st->now;
	stage_run(st, 70 * MINUTE);
	deletes = stage_count(st, DELETE_REQUEST, 0, at, st->now);
	EXPECT(st, deletes <= 6, "%u deletions", deletes);
}

/* ---- three lives -------------------------------------------------------------------------- */

/* PCP with ANNOUNCE, then NAT-PMP only, then PCP that answers MAP only. 1: NAT-PMP is preferred. */
static void
three_lives(struct stage *st, int variant)
{
	stage_prefer(st, variant == 0 ? MAPPER_PCP : MAPPER_NATPMP);
	st->box.speaks = SPEAKS_PCP;
	stage_grant(st, 3600);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, 3600);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_both_mapped), "not mapped");
	stage_run(st, 10 * MINUTE);
	st->box.speaks = SPEAKS_NATPMP;
	gw_restart(&st->box, st->now, false);
	EXPECT(st, stage_wait(st, 80 * MINUTE, stage_both_mapped), "not mapped by NAT-PMP");
	stage_run(st, 2 * HOUR);
	st->box.speaks = SPEAKS_PCP;
	st->script = deaf;
	gw_restart(&st->box, st->now, false);
	EXPECT(st, stage_wait(st, 80 * MINUTE, stage_both_mapped), "not mapped in 80 minutes");
}

/* number[0]: NAT-PMP is switched off. */
static bool
deaf_and_off(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	return q->version == 0 ? st->number[0] != 0 : deaf(st, bytes, n, q);
}

/* A lease by PCP, with FILTER, where NAT-PMP is preferred and falls silent: it lives on, and is
 * renewed. 1: somebody asks for that in the outage. */
static void
renewed_in_an_outage(struct stage *st, int variant)
{
	struct netprefix remotes[1] = { { stage_address("9.9.9.9"), 32 } };
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	mstime at;

	f.remotes = remotes;
	f.n_remotes = 1;
	stage_prefer(st, MAPPER_NATPMP);
	st->box.speaks = SPEAKS_BOTH;
	st->box.options = OPTIONS_PROCESSED;
	st->script = deaf_and_off;
	stage_grant(st, 3600);
	stage_start(st);
	stage_path_up(st);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, MINUTE, stage_all_active), "not mapped");
	stage_run(st, 5 * MINUTE);
	st->number[0] = 1;
	at = st->now;
	stage_run(st, 3 * MINUTE);
	if (variant != 0)
		engine_renew(st->engine, st->now, NULL);
	stage_run(st, HOUR);
	EXPECT(st, stage_noted(st, EVENT_LOST, 5000, at) == NULL, "lost");
}

/* What was refused is no probe: its time comes later. */
static void
refused_is_no_probe(struct stage *st, int variant)
{
	unsigned requests;
	mstime at;

	(void)variant;
	st->box.speaks = SPEAKS_PCP;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 7200);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_all_active), "not mapped");
	st->box.pcp_refusal = 2;
	stage_run(st, 40 * MINUTE);
	at = st->now;
	st->mute = true;
	stage_run(st, 3 * MINUTE);
	requests = stage_count(st, MAP_REQUEST, 5000, at, st->now);
	EXPECT(st, requests == 0, "%u requests while refused", requests);
}

/* That it is deaf is known; an outage is no reason to find it out again. */
static void
known_deaf(struct stage *st, int variant)
{
	unsigned questions;
	mstime at;

	(void)variant;
	st->box.speaks = SPEAKS_PCP;
	st->script = deaf;
	stage_grant(st, 240);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 240);
	stage_run(st, HOUR);
	st->mute = true;
	stage_run(st, 5 * MINUTE);
	st->mute = false;
	EXPECT(st, stage_wait(st, MINUTE, stage_all_active), "not mapped");
	at = st->now;
	stage_run(st, 5 * MINUTE);
	questions = stage_count(st, ANY_REQUEST, 0, at, st->now) -
	    stage_count(st, MAP_REQUEST, 0, at, st->now);
	EXPECT(st, questions <= 2, "%u questions that it is known not to answer", questions);
}

const struct directed directed_deaf[] = {
	{ "Q-043 no answer but to MAP", maps_only, 2 },
	{ "Q-043 no answer but to MAP, and a lost grant", deleted_unheard, 1 },
	{ "Q-043 no answer to ANNOUNCE since an update", gone_deaf, 4 },
	{ "Q-043 not deaf, but away twice", twice_away, 20 },
	{ "granted by PCP, unheard", granted_unheard, 2 },
	{ "granted by PCP in an outage, unheard", granted_in_an_outage, 1 },
	{ "granted by NAT-PMP, unheard", granted_by_natpmp, 1 },
	{ "deleted where it is not ours", not_ours, 1 },
	{ "held in vain, a hundred times", held_in_vain, 2 },
	{ "Q-043 three lives", three_lives, 2 },
	{ "Q-043 renewed in an outage", renewed_in_an_outage, 2 },
	{ "an outage, and what is refused", refused_is_no_probe, 1 },
	{ "Q-043 known to be deaf", known_deaf, 1 },
	{ NULL, NULL, 0 },
};
