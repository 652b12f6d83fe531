/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* RFC 6887 section 14.2: answers that nobody has asked for (P-42, P-52, P-97, Q-176). */

static void
begin(struct stage *st, uint32_t lifetime)
{
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, lifetime);
	if (!stage_wait(st, 2000, stage_all_active))
		stage_fail(st, "not mapped in 2 s");
	stage_run(st, 2 * MINUTE);
}

/* Three copies for port 5000, as the RFC wants it. */
static void
push(struct stage *st, uint8_t result, uint32_t lifetime, uint16_t port, bool forged)
{
	const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, 0, 0);
	uint8_t o[STAGE_PACKET];
	size_t n = gw_put_pcp_map(o, s->bytes, s->n, result, lifetime, gw_epoch(&st->box, st->now),
	    port, st->box.external);

	o[24] ^= forged;
	stage_reply(st, 1, o, n);
	stage_reply(st, 251, o, n);
	stage_reply(st, 751, o, n);
}

/* P-97, P-52: another port and another lifetime */
static void
changed(struct stage *st, int variant)
{
	uint32_t life = variant ? 120 : 1200;
	const struct sent *s;
	mstime at;

	begin(st, 3600);
	at = st->now;
	push(st, 0, life, 5007, false);
	gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000)->external = 5007;
	stage_run(st, 5 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5007, "the new port is not taken");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, at) == 1, "changed %u times",
	    stage_noted_count(st, EVENT_CHANGED, at));
	EXPECT(st, stage_noted_count(st, EVENT_RENEWED, at) == 0, "copies are renewals");
	stage_run(st, HOUR);
	s = stage_nth(st, MAP_REQUEST, 5000, at, 0);
	EXPECT(st, s && s->at - at >= life * 500 && s->at - at <= life * 625 + 10,
	    "renewed %lld ms after the update", s ? (long long)(s->at - at) : -1);
	EXPECT(st, s->q.external == 5007, "renewal suggests %u", s->q.external);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "lost");
}

/* A result that revokes the lease: 0 … 3 not so when asked, 4 … 7 so. */
static void
revoked(struct stage *st, int variant)
{
	static const uint8_t results[] = { 2, 11, 10, 0 };
	uint8_t result = results[variant % 4];
	struct mapping_status m;
	bool so = variant > 3;
	mstime at;

	begin(st, 3600);
	at = st->now;
	push(st, result, result ? 1800 : 0, 5000, false);
	st->box.pcp_refusal = so ? 2 : 0;
	st->box.refusal_life = 1800;
	stage_run(st, 10 * MSTIME_SECOND);
	/* a first refusal may be a copy of what nobody asked for */
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 1u + so, "asked %u times",
	    stage_count(st, MAP_REQUEST, 5000, at, st->now));
	EXPECT(st, stage_nth(st, MAP_REQUEST, 5000, at, 0)->at <= at + MSTIME_SECOND,
	    "not asked at once");
	EXPECT(st, stage_count(st, MAP_REQUEST, 5001, at, st->now) == 0, "others are asked for");
	if (!so) {
		EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not active any more");
		stage_run(st, HOUR);
		EXPECT(st,
		    stage_noted_count(st, EVENT_LOST, at) == 0 &&
			stage_noted_count(st, EVENT_FAILED, at) == 0,
		    "lost");
		return;
	}
	EXPECT(st,
	    stage_mapping(st, 5000, &m) && m.state == MAPPING_FAILED &&
		m.problem.trouble == TROUBLE_REFUSED && m.problem.result == 2,
	    "not failed, though refused twice");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 1, "lost %u times",
	    stage_noted_count(st, EVENT_LOST, at));
	stage_run(st, 14 * MINUTE);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 2, "asked again too soon");
	st->box.pcp_refusal = 0;
	EXPECT(st, stage_wait(st, HOUR, stage_all_active), "not mapped when it is allowed again");
}

/* P-58, P-59: not for us. */
static void
forged(struct stage *st, int variant)
{
	mstime at;

	begin(st, 3600);
	at = st->now;
	push(st, variant ? 2 : 0, 1200, 5007, true);
	stage_run(st, 10 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "another nonce is believed");
	EXPECT(st, stage_count(st, MAP_REQUEST, 0, at, st->now) == 0, "and answered");
}

/* What was refused is granted after all. */
static void
granted(struct stage *st, int variant)
{
	mstime at;

	(void)variant;
	st->box.pcp_refusal = 2;
	st->box.refusal_life = 3600;
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	stage_run(st, MINUTE);
	at = st->now;
	push(st, 0, 1200, 5000, false);
	stage_run(st, MSTIME_SECOND);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not active");
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, at) == 1, "mapped %u times",
	    stage_noted_count(st, EVENT_MAPPED, at));
}

/* Every right answer comes between two that deny the protocol: what has our nonce is believed. */
static bool
denied(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	const uint8_t error[] = { 0, (uint8_t)(0x80 | q->opcode), 0, 1, 0, 0, 3, 4 };
	const uint8_t fragment[] = { 2, 0x80 };

	(void)bytes;
	(void)n;
	stage_reply(st, 0, error, sizeof(error));
	stage_reply(st, 30, fragment, sizeof(fragment));
	return false;
}

static void
forged_errors(struct stage *st, int variant)
{
	mstime at;

	st->box.speaks = variant ? SPEAKS_BOTH : SPEAKS_PCP;
	st->box.stranger = STRANGER_FRAGMENT;
	stage_grant(st, 30);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	st->script = denied;
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	stage_run(st, 20 * MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost, for a forger's sake");
	/* at its own pace: 3 renewals in 15 s, and a few questions */
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, 0, st->now) < 20 * 60 * 2, "%u requests",
	    stage_count(st, ANY_REQUEST, 0, 0, st->now));
	at = st->now;
	st->script = NULL;
	stage_run(st, 2 * MINUTE);
	EXPECT(st, stage_all_active(st), "not mapped when it is over");
	EXPECT(st, stage_nth(st, PCP_REQUEST, 0, at, 0), "PCP is not spoken any more");
}

const struct directed directed_update[] = {
	{ "P-97 P-52 an update", changed, 2 },
	{ "P-42 Q-176 a lease is revoked", revoked, 8 },
	{ "P-59 an update with another nonce", forged, 2 },
	{ "P-42 granted after all", granted, 1 },
	{ "forged version errors around each answer", forged_errors, 2 },
	{ NULL, NULL, 0 },
};
