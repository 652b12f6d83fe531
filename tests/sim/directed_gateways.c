/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <stdio.h>
#include <string.h>

/* Two config gateways, and what happens when they turn out to be one box. */

#define TWIN 100      /* the path of the other config gateway, "lan" … */
#define ELSEWHERE 101 /* … and another one, to another box */

static struct gateway_spec
lan(const struct stage *st)
{
	struct gateway_spec g = st->gateway;

	g.name = "lan";
	return g;
}

static void
lan_up(struct stage *st, uint32_t path)
{
	struct path_info info = { .gateway = "lan",
		.family = FAMILY_IPV4,
		.ifindex = path == TWIN ? 2 : 3,
		.interface = path == TWIN ? "eth0" : "eth1",
		.address = gw_netaddr(path == TWIN ? GATEWAY : GATEWAY + 256),
		.local = gw_netaddr(LOCAL),
		.on_link = true };

	if (engine_path_up(st->engine, st->now, path, &info))
		stage_fail(st, "engine_path_up failed");
}

static struct forward_spec
forward(const char *name, const char *gateway, uint16_t internal, uint16_t external)
{
	struct forward_spec f = stage_spec(internal, PROTOCOL_TCP, 3600);

	f.name = name;
	f.gateway = gateway;
	f.external = external ? EXTERNAL_FIXED : EXTERNAL_SAME;
	f.external_port = external;
	return f;
}

static bool
status(struct stage *st, const char *name, struct mapping_status *out)
{
	for (size_t i = 0; engine_mapping_status(st->engine, st->now, i, out); i++)
		if (strcmp(out->forward, name) == 0)
			return true;
	return false;
}

static bool
is_state(struct stage *st, const char *name, enum mapping_state state)
{
	struct mapping_status m;

	return status(st, name, &m) && m.state == state;
}

static bool
web_active(struct stage *st)
{
	return is_state(st, "web", MAPPING_ACTIVE);
}

static bool
second_active(struct stage *st)
{
	return is_state(st, "second", MAPPING_ACTIVE);
}

static unsigned
sent_on(const struct stage *st, uint32_t path, mstime from)
{
	unsigned c = 0;

	for (size_t i = 0; i < st->n_sent; i++)
		c += st->sent[i].path == path && st->sent[i].at >= from;
	return c;
}

/* web on "default" has port 80; second, on the same box by another name, wants the same: outside
 * (0) or inside (1). */
static void
begin(struct stage *st, int inside)
{
	struct gateway_spec g = lan(st);
	struct forward_spec web = forward("web", "default", 5000, 80);
	struct forward_spec second =
	    forward("second", "lan", inside ? 5000 : 5001, inside ? 81 : 80);

	stage_start(st);
	if (engine_gateway(st->engine, st->now, &g))
		stage_fail(st, "engine_gateway failed");
	stage_want(st, &web);
	stage_want(st, &second);
	stage_path_up(st);
	stage_wait(st, 2000, web_active);
	stage_run(st, MSTIME_SECOND);
}

static void
must_be_blocked(struct stage *st)
{
	struct mapping_status m;
	char room[PROBLEM_ROOM];

	EXPECT(st, status(st, "second", &m) && m.state == MAPPING_FAILED, "the second is %s",
	    mapping_state_name(m.state));
	EXPECT(st, m.problem.trouble == TROUBLE_DUPLICATE && m.retries == MSTIME_NEVER,
	    "trouble %d", (int)m.problem.trouble);
	EXPECT(st,
	    strstr(mapping_problem_text(&m, room, sizeof room), "forward web of gateway default"),
	    "the first is not named: %s", room);
	EXPECT(st, engine_settled(st->engine), "nothing is decided");
}

/* The second is told so, once, and no packet is sent for it. */
static void
second_is_told(struct stage *st, int variant)
{
	mstime at;

	if (variant > 1)
		stage_only(st, MAPPER_NATPMP);
	begin(st, variant % 2);
	at = st->now;
	lan_up(st, TWIN);
	stage_run(st, 3 * HOUR);
	must_be_blocked(st);
	(void)engine_renew(st->engine, st->now, NULL);
	stage_run(st, MINUTE);
	must_be_blocked(st);
	EXPECT(st, sent_on(st, TWIN, 0) == 0, "%u packets for the second", sent_on(st, TWIN, 0));
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 1, "told %u times",
	    stage_noted_count(st, EVENT_FAILED, 0));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "the first was lost");
	engine_release_all(st->engine, st->now);
	EXPECT(st, stage_wait(st, 3000, stage_drained), "not drained");
	EXPECT(st, sent_on(st, TWIN, 0) == 0, "packets for the second at the end");
}

/* 0: the first is wanted no more, 1: it has another port by a reload, 2: its route parts, 3: the
 * second's route does, 4: the second itself wants another port, 5: nobody holds the first. */
static void
second_takes_over(struct stage *st, int variant)
{
	struct forward_spec web = forward("web", "default", 5000, 81);
	struct forward_spec second = forward("second", "lan", 5001, 82);
	const struct sent *gone, *asked;
	uint32_t path = TWIN;
	mstime at;

	begin(st, 0);
	if (variant == 5) {
		web.on_demand = true;
		web.external_port = 80;
		stage_want(st, &web);
		engine_hold(st->engine, st->now, "web", true);
		stage_wait(st, 2000, web_active);
	}
	lan_up(st, TWIN);
	stage_run(st, MINUTE);
	must_be_blocked(st);
	at = st->now;
	switch (variant) {
	case 0:
		engine_unwant(st->engine, st->now, "web");
		break;
	case 1:
		stage_want(st, &web);
		break;
	case 2:
		engine_path_down(st->engine, st->now, st->path, PATH_DEAD);
		break;
	case 3:
		path = ELSEWHERE;
		lan_up(st, ELSEWHERE);
		break;
	case 4:
		stage_want(st, &second);
		break;
	default:
		engine_hold(st->engine, st->now, "web", false);
	}
	EXPECT(st, stage_wait(st, 2000, second_active), "the second does not take over");
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, at) == 1, "mapped %u times",
	    stage_noted_count(st, EVENT_MAPPED, at));
	/* the first still has its lease where it is out of reach, or at another box */
	EXPECT(st,
	    variant == 2 || variant == 3 ||
		stage_active(st, 5001, PROTOCOL_TCP) == (variant == 4 ? 82 : 80),
	    "the second got %u", stage_active(st, 5001, PROTOCOL_TCP));
	gone = stage_nth(st, DELETE_REQUEST, 5000, at, 0);
	asked = stage_nth(st, MAP_REQUEST, 5001, at, 0);
	EXPECT(st, asked && asked->path == path, "asked on another path");
	EXPECT(st, (variant > 1 && variant < 5) || (gone && gone->at < asked->at),
	    "asked for before the first was deleted");
}

/* Both had it, on two boxes; then the route of the first comes to the second's box. Who has it
 * keeps it. */
static void
routes_meet(struct stage *st, int variant)
{
	mstime at;

	(void)variant;
	begin(st, 0);
	lan_up(st, ELSEWHERE);
	gw_restart(&st->box, st->now, true); /* the other box has its port free */
	EXPECT(st, stage_wait(st, 2000, second_active), "the second is not mapped elsewhere");
	at = st->now;
	lan_up(st, TWIN);
	stage_run(st, MINUTE);
	must_be_blocked(st);
	EXPECT(st, web_active(st), "the first has lost it");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 1, "lost %u times",
	    stage_noted_count(st, EVENT_LOST, at));
	EXPECT(st, sent_on(st, TWIN, 0) == 0, "packets on the twin");
}

/* What does not meet is not disturbed: 0: other ports, 1: any, 2: the other protocol. */
static void
neighbours(struct stage *st, int variant)
{
	struct forward_spec f = forward("third", "lan", 5002, 0);

	begin(st, 0);
	if (variant == 1)
		f.external = EXTERNAL_ANY;
	if (variant == 2) {
		f.external = EXTERNAL_FIXED;
		f.external_port = 80;
		f.tcp = false;
		f.udp = true;
	}
	stage_want(st, &f);
	lan_up(st, TWIN);
	stage_run(st, MINUTE);
	must_be_blocked(st);
	EXPECT(st, is_state(st, "third", MAPPING_ACTIVE), "the third is not mapped");
}

/* ---- another box behind the same address -------------------------------------------------- */

#define HOME 0x11 /* last octet of a box's link address; 0: not known */
#define CAFE 0x22

static void
box_up(struct stage *st, uint32_t path, uint8_t box)
{
	struct path_info info = { .gateway = "default",
		.family = FAMILY_IPV4,
		.ifindex = 2,
		.interface = "wlan0",
		.address = gw_netaddr(GATEWAY),
		.local = gw_netaddr(LOCAL),
		.on_link = true,
		.has_link_address = box != 0,
		.link_address = { 2, 0, 0, 0, 0, box } };

	st->path = path;
	if (engine_path_up(st->engine, st->now, path, &info))
		stage_fail(st, "engine_path_up failed");
}

/* A lease of an earlier run, at home. */
static void
remember(struct stage *st, uint16_t internal, uint16_t external)
{
	struct memory_mapping m = { .gateway = "default",
		.interface = "wlan0",
		.forward = "web",
		.address = gw_netaddr(GATEWAY),
		.local = gw_netaddr(LOCAL),
		.has_link_address = true,
		.link_address = { 2, 0, 0, 0, 0, HOME },
		.mapper = MAPPER_PCP,
		.protocol = PROTOCOL_TCP,
		.internal_port = internal,
		.external_port = external,
		.external = gw_netaddr(st->box.external),
		.expires = st->now + HOUR };

	if (!engine_remember_mapping(st->engine, st->now, &m))
		stage_fail(st, "not remembered");
}

static void
no_gateway(void *ctx, const struct memory_gateway *g)
{
	(void)ctx;
	(void)g;
}

static void
look_for_5000(void *ctx, const struct memory_mapping *m)
{
	bool *found = ctx;

	*found |= m->internal_port == 5000;
}

static bool
is_remembered(struct stage *st)
{
	static const struct memory_listener listener = { no_gateway, look_for_5000 };
	bool found = false;

	engine_memory_each(st->engine, st->now, &listener, &found);
	return found;
}

/* What home has is neither deleted nor taken over in the café, but at home it is. 0: the café's
 * box is known at once, 1: a moment later, 2: home's is. */
static void
left_at_home(struct stage *st, int variant)
{
	struct forward_spec web = stage_spec(5001, PROTOCOL_TCP, 3600);
	const struct sent *s;
	mstime at;

	stage_only(st, MAPPER_PCP);
	stage_start(st);
	remember(st, 5000, 80);
	remember(st, 5001, 81);
	stage_want(st, &web);
	at = st->now;
	box_up(st, 1, variant == 0 ? CAFE : 0);
	stage_run(st, MSTIME_SECOND);
	if (variant > 0)
		box_up(st, 1, variant == 1 ? CAFE : HOME);
	stage_run(st, MINUTE);
	s = stage_nth(st, MAP_REQUEST, 5001, at, 0);
	EXPECT(st, s && s->q.external == (variant ? 81 : 5001), "port %u is suggested",
	    s ? s->q.external : 0);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == (variant == 2),
	    "deleted %u times", stage_count(st, DELETE_REQUEST, 5000, at, st->now));
	EXPECT(st, is_remembered(st) == (variant != 2), "remembered or not");
	at = st->now;
	engine_path_down(st->engine, st->now, 1, PATH_DEAD);
	box_up(st, 2, HOME);
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == (variant != 2),
	    "at home: deleted %u times", stage_count(st, DELETE_REQUEST, 5000, at, st->now));
	EXPECT(st, !is_remembered(st), "still remembered");
}

/* ---- a lease by the other's name ------------------------------------------------------------ */

enum { GONE }; /* st->number: the lease is deleted */

/* Whoever has another nonce than the lease that is there must not touch it. */
static bool
guards(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (q->opcode != 1)
		return false;
	if (!q->lifetime)
		st->number[GONE] = 1;
	if (st->number[GONE])
		return false;
	n = gw_put_pcp_map(o, bytes, n, 2, HOUR / 1000, gw_epoch(&st->box, st->now), 0, 0);
	stage_reply(st, 1, o, n);
	return true;
}

/* While the daemon was down the forward was given to the other config gateway of the same box. */
static void
by_another_name(struct stage *st, int variant)
{
	struct gateway_spec g;
	struct forward_spec web = forward("web", "default", 5000, 80);
	struct memory_mapping m = { .gateway = "lan",
		.interface = "eth0",
		.forward = "web",
		.address = gw_netaddr(GATEWAY),
		.local = gw_netaddr(LOCAL),
		.mapper = MAPPER_PCP,
		.protocol = PROTOCOL_TCP,
		.internal_port = 5000,
		.external_port = 80 };

	(void)variant;
	st->script = guards;
	stage_only(st, MAPPER_PCP);
	stage_start(st);
	g = lan(st);
	m.expires = st->now + HOUR;
	if (engine_gateway(st->engine, st->now, &g) ||
	    !engine_remember_mapping(st->engine, st->now, &m))
		stage_fail(st, "no memory");
	stage_want(st, &web);
	stage_path_up(st);
	stage_run(st, 100);
	EXPECT(st, is_state(st, "web", MAPPING_FAILED), "not refused");
	lan_up(st, TWIN);
	EXPECT(st, stage_wait(st, 20 * MSTIME_SECOND, web_active), "not mapped when it could be");
}

/* ---- one gateway's appetite -------------------------------------------------------------- */

#define HUNGRY 40

/* "default" grants a second, and so does its twin; any other gateway 20. */
static bool
grants_a_second(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	(void)q;
	stage_grant(st, st->answering == ELSEWHERE ? 20 : 1);
	return false;
}

/* Forwards on this gateway, each at its own time. */
static void
many(struct stage *st, const char *gateway, uint16_t first)
{
	for (uint16_t port = first; port < first + HUNGRY; port++) {
		char name[16];
		struct forward_spec f = forward(name, gateway, port, 0);

		snprintf(name, sizeof(name), "f%u", port);
		stage_want(st, &f);
		stage_run(st, 97);
	}
}

static void
hungry(struct stage *st, int variant, uint32_t other)
{
	struct gateway_spec g;

	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	st->script = grants_a_second;
	g = lan(st);
	stage_start(st);
	if (engine_gateway(st->engine, st->now, &g))
		stage_fail(st, "engine_gateway failed");
	if (variant < 2)
		lan_up(st, other);
	stage_path_up(st);
	if (variant >= 2)
		lan_up(st, other);
	many(st, "default", 5000);
}

/* Its leases of a second keep it busy; the other one's renewals are on time all the same. The other
 * one is there 0, 1: before it, 2, 3: after it. */
static void
appetite(struct stage *st, int variant)
{
	struct forward_spec f = forward("second", "lan", 6000, 0);
	const struct sent *s;
	mstime at, last;

	hungry(st, variant, ELSEWHERE);
	stage_run(st, MINUTE);
	at = st->now;
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 2000, second_active), "the second is not mapped in 2 s");
	last = st->now;
	stage_run(st, 10 * MINUTE);
	for (unsigned i = 1; (s = stage_nth(st, MAP_REQUEST, 6000, at, i)) != NULL; i++) {
		EXPECT(st, s->at - last <= 13 * MSTIME_SECOND, "renewed after %lld ms",
		    (long long)(s->at - last));
		last = s->at;
	}
	EXPECT(st, st->now - last <= 13 * MSTIME_SECOND, "renewed no more");
	EXPECT(st, stage_noted(st, EVENT_LOST, 6000, at) == NULL, "the second was lost");
}

/* Requests since then that no answer released: each answer comes after 2 ms. */
static unsigned
unreleased(const struct stage *st, mstime from)
{
	unsigned c = 0;

	for (size_t i = 0; i < st->n_sent; i++) {
		bool released = false;

		for (size_t j = i; j-- > 0 && st->sent[j].at >= st->sent[i].at - 2;)
			released |= st->sent[j].path == st->sent[i].path &&
			    st->sent[j].at == st->sent[i].at - 2;
		c += st->sent[i].at >= from && !released;
	}
	return c;
}

/* Two that are one box share one pace. */
static void
shared_appetite(struct stage *st, int variant)
{
	unsigned c;
	mstime at;

	hungry(st, variant, TWIN);
	many(st, "lan", 6000);
	stage_run(st, MINUTE);
	at = st->now;
	stage_run(st, MINUTE);
	c = unreleased(st, at);
	EXPECT(st, c <= 20 + 4 * 60, "%u requests that no answer released in a minute", c);
	EXPECT(st, c >= 3 * 60, "only %u requests in a minute", c);
}

const struct directed directed_gateways[] = {
	{ "two gateways: one's appetite does not delay the other", appetite, 4 },
	{ "two gateways, one box: one pace", shared_appetite, 4 },
	{ "another box: what is left at home", left_at_home, 3 },
	{ "two gateways, one box: the second is told", second_is_told, 4 },
	{ "two gateways, one box: the second takes over", second_takes_over, 6 },
	{ "two gateways, one box: routes meet", routes_meet, 1 },
	{ "two gateways, one box: neighbours", neighbours, 3 },
	{ "two gateways, one box: a lease by the other's name", by_another_name, 1 },
	{ NULL, NULL, 0 },
};
