/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* Single rules of the RFCs that nothing else touches. */

static void
only(struct stage *st, enum mapper m)
{
	stage_only(st, m);
	stage_start(st);
	stage_path_up(st);
}

/* P-10: a gateway that was given up is asked at once when it announces itself. */
static void
wakes_up(struct stage *st, int variant)
{
	enum mapper m = variant ? MAPPER_NATPMP : MAPPER_PCP;
	uint8_t o[24];
	size_t n = variant ? gw_put_address(o, 0, 1, st->box.external) : gw_put_announce(o, 1);

	st->mute = true;
	only(st, m);
	stage_forwards(st, 1, 3600);
	stage_run(st, 5 * HOUR);
	st->mute = false;
	stage_announce(st, 1, GATEWAY, o, n);
	EXPECT(st, stage_wait(st, MSTIME_SECOND, stage_all_active), "not mapped in a second");
}

/* P-61: what one gateway refused is asked of the next at once. */
static void
next_gateway(struct stage *st, int variant)
{
	st->box.pcp_refusal = 2;
	st->box.natpmp_refusal = 2;
	st->box.refusal_life = 3600;
	only(st, variant ? MAPPER_NATPMP : MAPPER_PCP);
	stage_forwards(st, 1, 3600);
	stage_run(st, MINUTE);
	st->box.pcp_refusal = 0;
	st->box.natpmp_refusal = 0;
	st->path++;
	stage_path_up(st);
	EXPECT(st, stage_wait(st, MSTIME_SECOND, stage_all_active), "the old refusal counts");
}

static bool
no_room(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (q->opcode == 0 || q->internal != 6000)
		return false;
	n = gw_put_pcp_map(o, bytes, n, 8, 600, gw_epoch(&st->box, st->now), 0, 0);
	stage_reply(st, 1, o, n);
	return true;
}

/* P-62: NO_RESOURCES to one create keeps all creates back; renewals go on. */
static void
resources(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);
	mstime at;

	(void)variant;
	st->script = no_room;
	stage_grant(st, 120);
	only(st, MAPPER_PCP);
	stage_forwards(st, 2, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	at = st->now;
	stage_want(st, &f);
	f.name = "later";
	f.internal_port = 7000;
	stage_run(st, MINUTE);
	stage_want(st, &f);
	stage_run(st, 8 * MINUTE);
	EXPECT(
	    st, stage_count(st, MAP_REQUEST, 7000, at, st->now) == 0, "a new mapping is asked for");
	EXPECT(st, stage_count(st, MAP_REQUEST, 6000, at, st->now) == 1, "asked again too soon");
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) >= 6, "renewals wait");
	stage_run(st, 3 * MINUTE);
	EXPECT(st,
	    stage_active(st, 7000, PROTOCOL_TCP) == 7000 ||
		stage_count(st, MAP_REQUEST, 6000, at, st->now) > 1,
	    "nothing is asked for later");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* P-92: an announcement that comes to the request socket. */
static void
unicast(struct stage *st, int variant)
{
	uint8_t o[24];
	mstime at;

	only(st, MAPPER_PCP);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 10 * MSTIME_SECOND);
	at = st->now;
	if (variant == 0)
		gw_restart(&st->box, st->now, false);
	stage_reply(st, 1, o, gw_put_announce(o, gw_epoch(&st->box, st->now)));
	stage_run(st, 6 * MSTIME_SECOND);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == (variant == 0 ? 1 : 0),
	    "asked %u times", stage_count(st, MAP_REQUEST, 5000, at, st->now));
}

const struct directed directed_rules[] = {
	{ "P-10 a gateway wakes up", wakes_up, 2 },
	{ "P-61 another gateway", next_gateway, 2 },
	{ "P-62 NO_RESOURCES", resources, 1 },
	{ "P-92 an announcement to the socket", unicast, 2 },
	{ NULL, NULL, 0 },
};
