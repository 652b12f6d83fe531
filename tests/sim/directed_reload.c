/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* A forward is another one after a reload: what the world hears of it. */

static void
begin(struct stage *st, struct forward_spec *web)
{
	struct gateway_spec lan = st->gateway;

	*web = stage_spec(5000, PROTOCOL_TCP, 3600);
	web->external = EXTERNAL_FIXED;
	web->external_port = 80;
	lan.name = "lan";
	stage_start(st);
	if (engine_gateway(st->engine, st->now, &lan))
		stage_fail(st, "engine_gateway failed");
	stage_want(st, web);
	stage_path_up(st);
	if (!stage_wait(st, 2000, stage_all_active))
		stage_fail(st, "not mapped in 2 s");
	stage_run(st, MINUTE);
}

static void
lan_up(struct stage *st)
{
	struct path_info info = { .gateway = "lan",
		.family = FAMILY_IPV4,
		.ifindex = 3,
		.interface = "eth1",
		.address = gw_netaddr(GATEWAY + 256),
		.local = gw_netaddr(LOCAL),
		.on_link = true };

	if (engine_path_up(st->engine, st->now, 100, &info))
		stage_fail(st, "engine_path_up failed");
}

static unsigned
downs(const struct stage *st, mstime from)
{
	return stage_noted_count(st, EVENT_LOST, from) +
	    stage_noted_count(st, EVENT_RELEASED, from);
}

/* 0: another external port, 1: the same as inside, 2: another gateway, 3: a range instead. */
static void
moved(struct stage *st, int variant)
{
	struct forward_spec web;
	const struct noted *x;
	mstime at;

	begin(st, &web);
	at = st->now;
	switch (variant) {
	case 0:
		web.external_port = 81;
		break;
	case 1:
		web.external = EXTERNAL_SAME;
		break;
	case 2:
		web.gateway = "lan";
		web.external_port = 82;
		lan_up(st);
		gw_restart(&st->box, st->now, true); /* the other box has an empty table */
		break;
	default:
		web.count = 3;
		web.external_port = 90;
	}
	stage_want(st, &web);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped anew in 2 s");
	stage_run(st, MINUTE);
	x = stage_noted(st, EVENT_CHANGED, 0, at);
	EXPECT(st, x && stage_noted_count(st, EVENT_CHANGED, at) == 1, "changed %u times",
	    stage_noted_count(st, EVENT_CHANGED, at));
	EXPECT(st, x->old == 80 && x->external == stage_active(st, 5000, PROTOCOL_TCP),
	    "changed from %u to %u", x->old, x->external);
	EXPECT(st, x->external != 80, "it has the old port");
	EXPECT(st, downs(st, at) == 0, "and %u times down", downs(st, at));
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, at) == 0, "and mapped");
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == 1, "the old lease stays");
}

/* What really goes is told: 0: the gateway does not answer any more, 1: the other gateway is not
 * there, 2: the new port is refused, 3: nobody holds it, 4: another protocol. */
static void
gone(struct stage *st, int variant)
{
	static const mstime limits[] = { 5001, 5001, 100, 1, 100 };
	struct forward_spec web;
	mstime at;

	begin(st, &web);
	at = st->now;
	web.external_port = 81;
	switch (variant) {
	case 0:
		st->mute = true;
		break;
	case 1:
		web.gateway = "lan";
		break;
	case 2:
		st->box.pcp_refusal = 2;
		break;
	case 3:
		web.on_demand = true;
		break;
	default:
		web.tcp = false;
		web.udp = true;
	}
	stage_want(st, &web);
	stage_run(st, MINUTE);
	EXPECT(st, downs(st, at) == 1, "down %u times", downs(st, at));
	EXPECT(st, stage_noted_count(st, variant < 3 ? EVENT_LOST : EVENT_RELEASED, at) == 1,
	    "told by the other word");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, at) == 0, "changed, too");
	EXPECT(st,
	    stage_noted(st, variant < 3 ? EVENT_LOST : EVENT_RELEASED, 0, at)->at <=
		at + limits[variant],
	    "told too late");
	EXPECT(st, (stage_noted(st, EVENT_FAILED, 0, at) != NULL) == (variant == 2), "failed");
}

/* One forward goes, another one wants its external port for another program, in one breath. */
static void
port_goes_on(struct stage *st, int variant)
{
	struct forward_spec web;
	mstime at;

	begin(st, &web);
	at = st->now;
	engine_unwant(st->engine, st->now, "web");
	web.name = "other";
	web.internal_port = variant ? 5000 : 5001;
	stage_want(st, &web);
	stage_run(st, MINUTE);
	EXPECT(st, stage_active(st, web.internal_port, PROTOCOL_TCP) == 80, "got port %u",
	    stage_active(st, web.internal_port, PROTOCOL_TCP));
	EXPECT(st,
	    stage_count(st, DELETE_REQUEST, 0, at, st->now) == !variant &&
		stage_count(st, MAP_REQUEST, 0, at, st->now) == !variant,
	    "%u packets", stage_count(st, ANY_REQUEST, 0, at, st->now));
}

/* The gateway maps port 5000 to this one already, with the nonce that a forward will ask with. */
static void
has_already(struct stage *st, uint16_t external)
{
	struct forward_spec web = stage_spec(5000, PROTOCOL_TCP, 3600);

	web.external = EXTERNAL_FIXED;
	web.external_port = external;
	stage_want(st, &web);
	stage_path_up(st);
	stage_wait(st, 2000, stage_all_active);
	engine_free(st->engine);
	st->n_sent = 0;
	st->path++;
	stage_start(st);
}

/* The config was changed while the daemon was down: 0: another port, which the gateway would not
 * give to a mapping that it has; 1: any will do; 2: nothing has changed, the wish was refused then;
 * 3: nobody says what was wanted then. */
static void
restarted(struct stage *st, int variant)
{
	static const uint16_t ports[] = { 81, 80, 85, 80 };
	struct forward_spec web = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct memory_mapping m = { .gateway = "default",
		.interface = "eth0",
		.forward = "web",
		.address = gw_netaddr(GATEWAY),
		.local = gw_netaddr(LOCAL),
		.mapper = MAPPER_PCP,
		.protocol = PROTOCOL_TCP,
		.internal_port = 5000,
		.external_port = variant == 2 ? 85 : 80,
		.count = 1,
		.has_wish = variant != 3,
		.wish = 80,
		.external = gw_netaddr(st->box.external),
		.expires = st->now + HOUR };
	const struct sent *s;

	web.external = variant == 1 ? EXTERNAL_ANY : EXTERNAL_FIXED;
	web.external_port = variant == 0 || variant == 3 ? 81 : 80;
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	has_already(st, m.external_port);
	if (!engine_remember_mapping(st->engine, st->now, &m))
		stage_fail(st, "not remembered");
	stage_want(st, &web);
	stage_path_up(st);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, MINUTE);
	s = stage_nth(st, MAP_REQUEST, 5000, 0, 0);
	EXPECT(st, s->q.external == ports[variant], "port %u is suggested", s->q.external);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, 0, st->now) == !variant,
	    "deleted %u times", stage_count(st, DELETE_REQUEST, 5000, 0, st->now));
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == (variant == 3 ? 80 : ports[variant]),
	    "mapped at %u", stage_active(st, 5000, PROTOCOL_TCP));
}

/* Other ports are wished for faster than the gateway answers: what it may have granted meanwhile is
 * deleted, or it would be kept instead of the last wish. */
static void
hasty(struct stage *st, int variant)
{
	struct forward_spec web = stage_spec(5000, PROTOCOL_TCP, 3600);

	web.external = EXTERNAL_FIXED;
	web.external_port = 80;
	stage_only(st, variant ? MAPPER_NATPMP : MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
	stage_want(st, &web);
	for (web.external_port = 81; web.external_port < 84; web.external_port++)
		stage_want(st, &web);
	stage_run(st, 10 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 83, "port %u",
	    stage_active(st, 5000, PROTOCOL_TCP));
}

/* Another choice of mappers: a lease is renewed, and deleted, by the one that has made it. */
static void
other_mapper(struct stage *st, int variant)
{
	enum mapper other = variant ? MAPPER_PCP : MAPPER_NATPMP;
	mstime at;

	stage_only(st, variant ? MAPPER_NATPMP : MAPPER_PCP);
	st->box.speaks = SPEAKS_BOTH;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 5 * MINUTE);
	st->gateway.mappers[0] = other;
	EXPECT(st, !engine_gateway(st->engine, st->now, &st->gateway), "out of memory");
	stage_run(st, 3 * HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_GATEWAY_SILENT, 0) == 0, "silent");
	EXPECT(st, stage_count(st, MAP_REQUEST, 0, 0, st->now) <= 24, "%u requests",
	    stage_count(st, MAP_REQUEST, 0, 0, st->now));
	at = st->now;
	engine_unwant(st->engine, st->now, "f0");
	stage_run(st, 10 * MSTIME_SECOND);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == 1, "not deleted once");
	EXPECT(st, !gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000), "not deleted");
}

/* What is refused says: try other mappers. Whoever does need not wait for the next try. */
static void
better_mapper(struct stage *st, int variant)
{
	stage_only(st, variant ? MAPPER_NATPMP : MAPPER_PCP);
	st->box.speaks = SPEAKS_BOTH;
	if (variant)
		st->box.natpmp_refusal = 2;
	else
		st->box.pcp_refusal = 2;
	st->box.refusal_life = 1800;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	stage_run(st, 5 * MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 3, "not refused");
	st->gateway.mappers[0] = variant ? MAPPER_PCP : MAPPER_NATPMP;
	EXPECT(st, !engine_gateway(st->engine, st->now, &st->gateway), "out of memory");
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
}

/* Without a route there is nothing to negotiate, until it is back. */
static void
mapper_without_route(struct stage *st, int variant)
{
	struct gateway_status g;

	(void)variant;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	engine_path_down(st->engine, st->now, st->path, PATH_ABSENT);
	st->gateway.n_mappers = 1;
	EXPECT(st, !engine_gateway(st->engine, st->now, &st->gateway), "out of memory");
	stage_run(st, MINUTE);
	EXPECT(st, stage_gateway(st, &g) && g.state == GATEWAY_ABSENT, "not absent");
	stage_path_up(st);
	stage_run(st, MINUTE);
	EXPECT(st, stage_gateway(st, &g) && g.state == GATEWAY_READY, "not ready");
}

const struct directed directed_reload[] = {
	{ "reload: faster than the gateway answers", hasty, 2 },
	{ "reload: while the daemon was down", restarted, 4 },
	{ "reload: one change", moved, 4 },
	{ "reload: what really goes", gone, 5 },
	{ "reload: an external port goes on", port_goes_on, 2 },
	{ "reload: another choice of mappers", other_mapper, 2 },
	{ "reload: a mapper that may have more luck", better_mapper, 2 },
	{ "reload: other mappers while there is no route", mapper_without_route, 1 },
	{ NULL, NULL, 0 },
};
