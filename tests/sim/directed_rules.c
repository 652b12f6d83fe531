/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

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

/* P-3: NAT-PMP is for private addresses, unless there is nothing else. */
static void
private_only(struct stage *st, int variant)
{
	static const uint32_t locals[] = { 0xc000020a, 0x6440000a, 0x0a00000a, 0xac10000a };

	st->local = locals[variant % 4];
	st->box.speaks = SPEAKS_NATPMP;
	if (variant > 3) { /* the config wants it so */
		st->gateway.mappers[0] = MAPPER_NATPMP;
		st->gateway.n_mappers = 1;
	}
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	stage_run(st, HOUR);
	EXPECT(st, (stage_count(st, NATPMP_REQUEST, 0, 0, st->now) > 0) == (variant > 1),
	    "%u NAT-PMP packets from %08x", stage_count(st, NATPMP_REQUEST, 0, 0, st->now),
	    st->local);
}

static bool
slow(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[GW_PACKET_MAX];
	struct gw_outcome out;

	(void)q;
	/* retransmissions are not answered twice */
	if (st->now - st->number[0] < 490 &&
	    !memcmp(st->sent[st->n_sent - 1].bytes, st->sent[st->number[1]].bytes, n))
		return true;
	st->number[0] = (long)st->now;
	st->number[1] = (long)st->n_sent - 1;
	n = gw_answer(&st->box, st->now, st->local, bytes, n, o, &out);
	stage_reply(st, 498, o, n);
	return true;
}

/* P-5, P-6: one request at a time, at the gateway's pace. */
static void
serial(struct stage *st, int variant)
{
	uint16_t last = 0;
	unsigned turns = 0;

	st->script = slow;
	only(st, variant ? MAPPER_NATPMP : MAPPER_PCP);
	stage_forwards(st, 10, 3600);
	EXPECT(st, stage_wait(st, 7000, stage_all_active), "10 mappings take more than 7 s");
	EXPECT(st, st->now - st->begin >= 4900, "quicker than the gateway answers");
	for (size_t i = 0; i < st->n_sent; i++) {
		turns += st->sent[i].q.internal != last;
		last = st->sent[i].q.internal;
	}
	EXPECT(st, turns <= 12, "requests are mixed: %u turns", turns);
}

static bool
newer(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[24];

	(void)bytes;
	(void)n;
	gw_put_announce(o, 0);
	o[0] = 9;
	o[1] = (uint8_t)(128 | q->opcode);
	o[3] = 1;
	o[6] = (uint8_t)(st->number[0] >> 8);
	o[7] = (uint8_t)st->number[0];
	o[5] = (uint8_t)(st->number[0] >> 16);
	stage_reply(st, 1, o, 24);
	return true;
}

/* P-68, P-69, P-70: a version that we do not speak; asked again after the time it says, 30 minutes
 * at most. */
static void
version(struct stage *st, int variant)
{
	mstime gap;

	st->number[0] = variant ? 86400 : 600;
	st->script = newer;
	only(st, MAPPER_PCP);
	stage_forwards(st, 3, 3600);
	stage_run(st, HOUR);
	EXPECT(st, st->n_sent >= 2 && st->n_sent <= 8, "%zu packets in an hour", st->n_sent);
	for (size_t i = 0; i < st->n_sent; i++)
		EXPECT(st, st->sent[i].q.version == 2, "version %u", st->sent[i].q.version);
	gap = st->sent[1].at - st->sent[0].at;
	EXPECT(st,
	    variant ? gap >= 29 * MINUTE && gap <= 31 * MINUTE
		    : gap >= 590 * MSTIME_SECOND && gap <= 610 * MSTIME_SECOND,
	    "asked again after %lld s", (long long)gap / 1000);
}

/* P-47: every start has jitter of its own. */
static void
jitter(struct stage *st, int variant)
{
	static mstime gaps[2];

	st->mute = true;
	only(st, MAPPER_PCP);
	stage_forwards(st, 1, 3600);
	stage_run(st, MINUTE);
	gaps[variant] = st->sent[4].at - st->sent[3].at;
	EXPECT(st, variant == 0 || gaps[0] != gaps[1], "two starts with one sequence");
}

const struct directed directed_rules[] = {
	{ "P-3 NAT-PMP from private addresses only", private_only, 8 },
	{ "P-5 P-6 one at a time", serial, 2 },
	{ "P-69 another version", version, 2 },
	{ "P-47 jitter", jitter, 2 },
	{ "P-10 a gateway wakes up", wakes_up, 2 },
	{ "P-61 another gateway", next_gateway, 2 },
	{ "P-62 NO_RESOURCES", resources, 1 },
	{ "P-92 an announcement to the socket", unicast, 2 },
	{ NULL, NULL, 0 },
};
