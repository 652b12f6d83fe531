/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

/* Ranges by PORT_SET (RFC 7753), and what is left where the gateway does not make sets. */

#define FIRST 5000
#define COUNT 10

static struct forward_spec
range(uint16_t count)
{
	struct forward_spec f = stage_spec(FIRST, PROTOCOL_TCP, 3600);

	f.count = count;
	return f;
}

static void
begin(struct stage *st, enum gw_sets sets)
{
	st->box.sets = sets;
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
}

/* All of the range active, in step with the gateway's table. */
static bool
all_there(struct stage *st)
{
	for (uint16_t i = 0; i < COUNT; i++) {
		const struct gw_entry *e =
		    gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, (uint16_t)(FIRST + i));
		if (!e || stage_active(st, (uint16_t)(FIRST + i), PROTOCOL_TCP) != e->external)
			return false;
	}
	return true;
}

static bool
nothing_there(struct stage *st)
{
	for (unsigned i = 0; i < GW_ENTRIES; i++)
		if (st->box.entries[i].used && st->box.entries[i].until > st->now)
			return false;
	return true;
}

static unsigned
sets_sent(const struct stage *st, enum kind_of_request kind, mstime from)
{
	unsigned n = 0;

	for (size_t i = 0; i < st->n_sent; i++)
		n += st->sent[i].at >= from && st->sent[i].q.set && stage_is(&st->sent[i], kind, 0);
	return n;
}

struct remembered {
	struct memory_mapping of[3];
	size_t n;
};

static void
remember(void *ctx, const struct memory_mapping *m)
{
	struct remembered *r = ctx;

	if (r->n < 3)
		r->of[r->n++] = *m;
}

static void
no_gateway(void *ctx, const struct memory_gateway *g)
{
	(void)ctx;
	(void)g;
}

static struct remembered
memory(struct stage *st)
{
	struct remembered r = { .n = 0 };
	const struct memory_listener v = { no_gateway, remember };

	engine_memory_each(st->engine, st->now, &v, &r);
	return r;
}

/* P-107, P-108: one request for all, in renewal, recovery and release. */
static void
one_for_all(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT);
	struct remembered r;
	mstime at;

	st->box.ports = variant == 1 ? PORTS_RANDOM : PORTS_AS_ASKED;
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 1000, all_there), "not there");
	EXPECT(st, st->n_sent == 1 && st->sent[0].q.set == COUNT, "%zu requests", st->n_sent);
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 1, "mapped was not told once");
	r = memory(st);
	EXPECT(st, r.n == 1 && r.of[0].count == COUNT, "memory holds something else");
	EXPECT(st, engine_renew(st->engine, st->now, NULL) == COUNT, "not all are renewed");
	stage_run(st, 24 * HOUR);
	EXPECT(st, stage_count(st, MAP_REQUEST, FIRST, 0, st->now) >= 48, "too few renewals");
	EXPECT(st, stage_count(st, MAP_REQUEST, 0, 0, st->now) == sets_sent(st, MAP_REQUEST, 0),
	    "a request without PORT_SET");
	gw_restart(&st->box, st->now, false);
	stage_run(st, 2 * MINUTE);
	EXPECT(st, all_there(st), "not back after a reboot");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	at = st->now;
	engine_release_all(st->engine, st->now);
	stage_run(st, 3000);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 0, at, st->now) == 1, "not deleted at once");
	EXPECT(st, sets_sent(st, DELETE_REQUEST, at) == 1 && nothing_there(st), "left behind");
}

static bool
malformed_request(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (!q->set)
		return false;
	n = gw_put_pcp_map(o, bytes, n, 3, 0, gw_epoch(&st->box, st->now), 0, 0);
	stage_reply(st, 1, o, n);
	stage_reply(st, 2, o, n);
	return true;
}

/* 0 the option is ignored, 1 unknown, 2, 3 malformed; 4 a smaller set is granted, 5 another
 * one. Every port is mapped, the gateway is asked once, nothing stays behind. */
static void
singly(struct stage *st, int variant)
{
	static const enum gw_sets sets[] = { SETS_IGNORED, SETS_REFUSED, SETS_MALFORMED,
		SETS_GRANTED, SETS_FEWER };
	struct forward_spec f = range(COUNT), g = stage_spec(7000, PROTOCOL_UDP, 3600);
	struct forward_spec h = stage_spec(8000, PROTOCOL_UDP, 3600);
	unsigned fewer = variant == 4;
	mstime at;

	g.name = "second";
	g.count = 3;
	st->script = variant == 3 ? malformed_request : NULL;
	begin(st, sets[variant]);
	stage_want(st, &f);
	stage_want(st, &g);
	EXPECT(st, stage_wait(st, 2000, stage_all_active) && all_there(st), "not mapped in 2 s");
	EXPECT(st, sets_sent(st, MAP_REQUEST, 0) == 1, "asked for %u sets",
	    sets_sent(st, MAP_REQUEST, 0));
	EXPECT(st, stage_count(st, DELETE_REQUEST, 0, 0, st->now) == fewer, "deletes");
	EXPECT(st, st->n_sent <= COUNT + 3 + 1 + 2 * fewer, "%zu packets", st->n_sent);
	EXPECT(st, st->box.overlaps == 0, "a set over other mappings");
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "failed was told");
	h.name = "third";
	h.count = 2;
	stage_want(st, &h);
	stage_run(st, 24 * HOUR);
	EXPECT(st, sets_sent(st, MAP_REQUEST, 0) == 1, "asked for a set again");
	EXPECT(st, all_there(st) && stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	at = st->now;
	engine_unwant(st->engine, st->now, "web");
	engine_unwant(st->engine, st->now, "second");
	engine_unwant(st->engine, st->now, "third");
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 0, at, st->now) == COUNT + 5, "deletes");
	EXPECT(st, nothing_there(st), "left behind");
}

/* The gateway changes its mind: 0 ignores, 1 refuses, 2 cuts sets from the renewal on; 3 it
 * reboots, too. Single ports take over and nothing is told. */
static void
no_more_sets(struct stage *st, int variant)
{
	static const enum gw_sets sets[] = { SETS_IGNORED, SETS_REFUSED, SETS_FEWER, SETS_IGNORED };
	struct forward_spec f = range(COUNT);

	st->box.strict = false;
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 1000, all_there), "not there");
	st->box.sets = sets[variant];
	gw_restart(&st->box, st->now, variant != 3);
	stage_run(st, 2 * HOUR);
	EXPECT(st, all_there(st), "not there singly");
	EXPECT(st, sets_sent(st, MAP_REQUEST, 0) == 2, "%u sets", sets_sent(st, MAP_REQUEST, 0));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == (variant == 2), "lost");
	engine_release_all(st->engine, st->now);
	stage_run(st, 3000);
	EXPECT(st, nothing_there(st), "left behind");
}

/* P-108: never a set over mappings that are there. A forward is replaced: 0 by one of other size, 1
 * by single ports, 2 by a set over two single ones (which are kept), 3 by the same under another
 * name; 4 to 6 the same, but the daemon was restarted between. */
static void
replaced(struct stage *st, int variant)
{
	struct forward_spec f = range(variant % 4 == 2 ? 1 : 6), g = range(COUNT);
	bool restart = variant >= 4;
	struct remembered r;
	mstime at;

	g.name = "other";
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	if (variant % 4 == 1)
		g.require = true;
	if (variant % 4 == 3)
		g.count = 6;
	at = st->now;
	if (restart) {
		r = memory(st);
		engine_free(st->engine);
		stage_start(st);
		for (size_t i = 0; i < r.n; i++)
			engine_remember_mapping(st->engine, st->now, &r.of[i]);
	} else {
		engine_unwant(st->engine, st->now, "web");
	}
	if (variant % 2 == 0)
		stage_want(st, &g);
	if (restart)
		stage_path_up(st);
	if (variant % 2 == 1)
		stage_want(st, &g);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, variant % 4 == 3 || all_there(st), "not all there");
	EXPECT(st, st->box.overlaps == 0, "a set over other mappings");
	EXPECT(st, sets_sent(st, MAP_REQUEST, at) == (variant == 0 || variant == 4), "%u sets",
	    sets_sent(st, MAP_REQUEST, at));
	EXPECT(st, variant != 3 || stage_count(st, ANY_REQUEST, 0, at, st->now) == 0,
	    "a new name sent something");
	stage_run(st, HOUR);
	engine_release_all(st->engine, st->now);
	stage_run(st, 3000);
	EXPECT(st, nothing_there(st), "left behind");
}

/* A gateway that speaks NAT-PMP: single ports, be it known at once or by silence. */
static void
natpmp(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT);

	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = variant == 0 ? STRANGER_V0_8 : STRANGER_MUTE;
	stage_start(st);
	stage_path_up(st);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 10000, stage_all_active) && all_there(st), "not mapped in 10 s");
	/* what it is asked for once an hour is not a set */
	stage_run(st, 5 * HOUR);
	st->box.speaks = SPEAKS_BOTH;
	st->box.sets = SETS_GRANTED;
	stage_run(st, 5 * HOUR);
	EXPECT(st, all_there(st) && stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, st->box.overlaps == 0, "a set over other mappings");
	engine_release_all(st->engine, st->now);
	stage_run(st, 3000);
	EXPECT(st, nothing_there(st), "left behind");
}

/* external-policy = require: PREFER_FAILURE and PORT_SET exclude each other. */
static void
required(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT);

	(void)variant;
	f.require = true;
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 2000, stage_all_active) && all_there(st), "not mapped in 2 s");
	EXPECT(st, sets_sent(st, ANY_REQUEST, 0) == 0, "asked for a set");
}

/* P-97, P-42: an update moves the whole set; one without PORT_SET is checked. Errors of before the
 * fall-back and late copies of the set change nothing. */
static void
updates(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT);
	const struct sent *s;
	uint8_t o[STAGE_PACKET];
	size_t n;
	mstime at;

	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	s = stage_nth(st, MAP_REQUEST, FIRST, 0, 0);
	at = st->now;
	for (uint16_t i = 0; i < COUNT && variant == 0; i++)
		gw_find(&st->box, at, LOCAL, PROTOCOL_TCP, (uint16_t)(FIRST + i))->external =
		    (uint16_t)(9000 + i);
	n = gw_put_pcp_map(o, s->bytes, 60, 0, 3600, gw_epoch(&st->box, at),
	    variant == 0 ? 9000 : FIRST, st->box.external);
	if (variant == 0)
		n += gw_put_set(o + n, COUNT, FIRST);
	stage_reply(st, 1, o, n);
	stage_run(st, 5000);
	EXPECT(st, all_there(st), "not all there");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, 0) == (variant == 0), "changed");
	EXPECT(st, sets_sent(st, MAP_REQUEST, at) == (unsigned)variant, "%u requests",
	    sets_sent(st, MAP_REQUEST, at));
}

/* Another life's set, which the box names in every answer, is not a late answer to a set that was
 * asked for elsewhere. */
static void
old_set(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT), g = stage_spec(FIRST, PROTOCOL_TCP, 3600);

	(void)variant;
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 1000, all_there), "not there");
	engine_free(st->engine);
	stage_start(st);
	f.name = "elsewhere";
	f.internal_port = 9000;
	stage_want(st, &f);
	stage_want(st, &g);
	stage_path_up(st);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
}

/* tcp and udp of a range come to one number as single ports do. */
static void
pair(struct stage *st, int variant)
{
	struct forward_spec f = range(COUNT);

	(void)variant;
	f.udp = true;
	st->box.ports = PORTS_RANDOM;
	begin(st, SETS_GRANTED);
	stage_want(st, &f);
	stage_run(st, MINUTE);
	EXPECT(st, all_there(st), "not all there");
	for (uint16_t i = 0; i < COUNT; i++)
		EXPECT(st,
		    stage_active(st, (uint16_t)(FIRST + i), PROTOCOL_UDP) ==
			stage_active(st, (uint16_t)(FIRST + i), PROTOCOL_TCP),
		    "port %u is not a pair", FIRST + i);
	EXPECT(st, st->n_sent == 2, "%zu packets", st->n_sent);
}

const struct directed directed_set[] = {
	{ "P-107 P-108 a range as one mapping", one_for_all, 2 },
	{ "Q-179 a gateway that makes no sets", singly, 5 },
	{ "P-40 a gateway that makes sets no more", no_more_sets, 4 },
	{ "P-108 sets do not overlap", replaced, 7 },
	{ "a range by NAT-PMP", natpmp, 2 },
	{ "P-108 no set with PREFER_FAILURE", required, 1 },
	{ "P-97 updates of a set", updates, 2 },
	{ "a set of another life", old_set, 1 },
	{ "a pair of sets", pair, 1 },
	{ NULL, NULL, 0 },
};
