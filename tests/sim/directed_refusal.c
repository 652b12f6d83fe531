/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* What is refused: when it is asked for again, and what is told of it. Even variants PCP, odd
 * NAT-PMP. */

static const struct {
	uint8_t pcp;
	uint16_t natpmp;
} codes[] = { { 2, 2 }, { 7, 3 }, { 8, 4 }, { 10, 5 }, { 4, 4242 } };

#define CODES (int)(sizeof(codes) / sizeof(codes[0]))

static void
refuses(struct stage *st, int code)
{
	st->box.pcp_refusal = codes[code].pcp;
	st->box.natpmp_refusal = codes[code].natpmp;
	st->box.refusal_life = 1800;
}

static void
grants(struct stage *st)
{
	st->box.pcp_refusal = 0;
	st->box.natpmp_refusal = 0;
}

static void
restart(struct stage *st)
{
	uint8_t o[24];

	gw_restart(&st->box, st->now, false);
	stage_announce(st, 1, GATEWAY, o,
	    st->box.speaks == SPEAKS_PCP ? gw_put_announce(o, 0)
					 : gw_put_address(o, 0, 0, st->box.external));
}

static void
begin(struct stage *st, int variant)
{
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
}

/* Whoever has switched it on in the router, which restarts then, need not wait for half an hour. */
static void
restarts(struct stage *st, int variant)
{
	mstime at;
	unsigned n;

	st->gateway.probe_interval = 0;
	begin(st, variant);
	refuses(st, variant / 2);
	stage_run(st, MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 3, "not refused");
	grants(st);
	at = st->now;
	restart(st);
	stage_run(st, 6 * MSTIME_SECOND);
	EXPECT(st, stage_all_active(st), "not asked for again after a restart");
	n = stage_count(st, MAP_REQUEST, 0, at, st->now);
	EXPECT(st, n == 3, "asked for %u times", n);
}

/* A restart that changes nothing about it: asked once, and then as seldom as before. */
static void
refuses_still(struct stage *st, int variant)
{
	mstime at;
	unsigned n;

	begin(st, variant);
	refuses(st, 0);
	stage_run(st, MINUTE);
	at = st->now;
	restart(st);
	stage_run(st, 10 * MINUTE);
	n = stage_count(st, MAP_REQUEST, 0, at, st->now);
	EXPECT(st, n == 3, "asked for %u times", n);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 3, "told again");
}

/* It has lost them, and refuses to make them again: they are not shown as open for an hour. */
static void
takes_away(struct stage *st, int variant)
{
	mstime at;
	bool comes_back = variant / 2 == 1;

	begin(st, variant);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	stage_run(st, MINUTE);
	refuses(st, variant / 2);
	at = st->now;
	restart(st);
	stage_run(st, 7 * MSTIME_SECOND);
	/* without an address NAT-PMP's are called failed, PCP's believed */
	if (!comes_back)
		EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 3, "still shown as mapped");
	else if (variant % 2 == 0)
		EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "not believed");
	EXPECT(st, comes_back || stage_noted_count(st, EVENT_FAILED, at) == 3, "not told why");
	grants(st);
	stage_run(st, HOUR);
	EXPECT(st, stage_all_active(st), "not mapped again");
}

/* It has become choosy about options: without them it makes again at once what was mapped, and
 * nobody is told that it was gone. */
static void
takes_no_options(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);
	mstime at;

	begin(st, variant);
	f.description = "a web server";
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	stage_run(st, MINUTE);
	st->box.options = OPTIONS_REFUSED;
	at = st->now;
	restart(st);
	stage_run(st, 7 * MSTIME_SECOND);
	EXPECT(st, st->box.descriptions_refused > 0, "no description refused");
	EXPECT(st, stage_all_active(st), "not mapped");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_RENEWED, at) == 4, "not put back");
}

/* The router loses its address while leases live, and is asked for it, and for each of them, again
 * and again: that is told once. */
static void
no_address(struct stage *st, int variant)
{
	stage_grant(st, 60);
	begin(st, variant);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	refuses(st, 1);
	st->box.refusal_life = 30;
	st->box.external = 0;
	stage_run(st, 10 * MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 3, "lost: told %u times",
	    stage_noted_count(st, EVENT_LOST, 0));
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 3, "failed: told %u times",
	    stage_noted_count(st, EVENT_FAILED, 0));
	grants(st);
	st->box.external = 0x08080808;
	stage_run(st, 32 * MSTIME_SECOND);
	EXPECT(st, stage_all_active(st), "not mapped again");
}

/* What waits for a router that is full is refused, too, and shows when it will be asked again;
 * whether its own refusal, its lease or the config brought it there. */
static bool
waits_openly(struct stage *st, uint16_t port)
{
	struct mapping_status m;

	return stage_mapping(st, port, &m) && m.state == MAPPING_FAILED && m.retries > st->now &&
	    m.retries != MSTIME_NEVER && m.problem.trouble == TROUBLE_REFUSED;
}

static void
held_back(struct stage *st, int variant)
{
	stage_grant(st, 60);
	begin(st, variant);
	EXPECT(st, stage_wait(st, 5000, stage_all_active), "not mapped in 5 s");
	refuses(st, 2);
	st->box.refusal_life = 30;
	stage_run(st, 70 * MSTIME_SECOND);
	for (unsigned s = 0; s < 30; s++) {
		struct forward_spec f = stage_spec((uint16_t)(6000 + s), PROTOCOL_TCP, 3600);
		char name[8] = "late";

		name[4] = (char)('a' + s % 26);
		f.name = name;
		for (uint16_t p = 5000; p < 5003; p++)
			EXPECT(st, waits_openly(st, p), "port %u: asked for, it seems", p);
		if (s == 10) {
			stage_want(st, &f);
			stage_run(st, MSTIME_SECOND);
			EXPECT(st, waits_openly(st, 6010), "the new one: asked for, it seems");
		}
		stage_run(st, 5 * MSTIME_SECOND);
	}
}

static bool
one_refused(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[GW_PACKET_MAX];
	uint32_t epoch = gw_epoch(&st->box, st->now);

	if (q->internal != 6002 || q->set > 1)
		return false;
	if (q->version == 0)
		n = gw_put_natpmp_map(o, q->protocol, 2, epoch, 6002, 6002, 3600);
	else
		n = gw_put_pcp_map(o, bytes, n, 2, 1800, epoch, 6002, 0);
	stage_reply(st, 1, o, n);
	return true;
}

/* One port of a range: the event is about the range. */
static void
in_a_range(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);

	st->box.sets = SETS_REFUSED;
	begin(st, variant);
	st->script = one_refused;
	f.count = 4;
	f.name = "range";
	stage_want(st, &f);
	stage_run(st, 5 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 6001, PROTOCOL_TCP) == 6001, "the others are not mapped");
	EXPECT(st, stage_noted(st, EVENT_FAILED, 6000, 0), "not told");
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 1, "told %u times",
	    stage_noted_count(st, EVENT_FAILED, 0));
}

/* PCP that makes no mappings (UNSUPP_OPCODE), beside NAT-PMP that does, or that is not there. After
 * a restart PCP makes them. */
static void
another_protocol(struct stage *st, int variant)
{
	mstime at;

	st->box.speaks = variant == 0 ? SPEAKS_BOTH : SPEAKS_PCP;
	st->box.stranger = variant == 1 ? STRANGER_V2_24 : STRANGER_MUTE;
	st->box.pcp_refusal = 4;
	st->box.refusal_life = 1800;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	if (variant == 0) {
		EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped by NAT-PMP");
		stage_run(st, 12 * HOUR);
		EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "a failure was told");
		EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
		for (uint16_t port = 5000; port < 5003; port++)
			EXPECT(st, stage_count(st, PCP_REQUEST, port, 0, st->now) == (port == 5000),
			    "port %u was asked for by PCP", port);
		return;
	}
	stage_run(st, MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 3, "not refused");
	at = st->now;
	stage_run(st, 12 * HOUR);
	EXPECT(
	    st, stage_noted_count(st, EVENT_GATEWAY_SILENT, 0) == 0, "silent, though it answers");
	EXPECT(st, stage_count(st, MAP_REQUEST, 0, at, st->now) <= 3 * 25 + 13, "asked too often");
	grants(st);
	restart(st);
	stage_run(st, 6 * MSTIME_SECOND);
	EXPECT(st, stage_all_active(st), "not asked for again after a restart");
}

const struct directed directed_refusal[] = {
	{ "UNSUPP_OPCODE: another protocol", another_protocol, 3 },
	{ "refused, and the gateway restarts", restarts, 2 * CODES },
	{ "refused, before and after a restart", refuses_still, 2 },
	{ "refused after a restart", takes_away, 2 * CODES },
	{ "options refused after a restart", takes_no_options, 1 },
	{ "no address: told once", no_address, 2 },
	{ "held back, and shown so", held_back, 2 },
	{ "refused: a port of a range", in_a_range, 2 },
	{ NULL, NULL, 0 },
};
