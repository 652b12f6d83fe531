/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <stdio.h>
#include <string.h>

/* IPv6: PCP to the router's link-local address, for pinholes in its firewall or NAT66 (P-33). */

#define NAT66 "2a00:1450:0:1::7"
#define PINHOLE_LIFE 600
#define MANY 50

enum manner { NORMAL, ECHO_ZERO, TRANSLATES, NEVER_RENEWS, FORGETS_OWNER, MANNERS };
enum { UNTIL, EPOCH, ORPHAN };
#define SHORTEST 120

/* A router with room for one pinhole. */
static bool
router(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint32_t epoch = (uint32_t)((st->now - st->begin) / 1000 + st->number[EPOCH]);
	struct netaddr external = stage_address(st->variant == TRANSLATES ? NAT66 : LOCAL6);
	bool live = st->number[UNTIL] > st->now;
	uint32_t life = q->lifetime < SHORTEST ? SHORTEST : PINHOLE_LIFE;
	uint16_t port = q->external;
	uint8_t o[STAGE_PACKET], result = 0;

	if (q->opcode == 0) {
		stage_reply(st, 1, o, gw_put_announce(o, epoch));
		return true;
	}
	if (q->lifetime == 0 && st->number[ORPHAN] && live)
		result = 2;
	else if (q->lifetime == 0 && q->internal == 5000)
		st->number[UNTIL] = 0;
	else if (q->lifetime == 0)
		result = 0; /* it has no other */
	else if (live && st->variant == NEVER_RENEWS)
		result = 8;
	else
		st->number[UNTIL] = (long)(st->now + life * MSTIME_SECOND);
	st->number[ORPHAN] = st->variant == FORGETS_OWNER && live;
	if (st->variant == ECHO_ZERO && live)
		port = 0;
	if (st->variant == TRANSLATES && q->lifetime)
		port = 7777;
	n = gw_put_pcp_map(o, bytes, n, result,
	    result == 8       ? 30
		: q->lifetime ? life
			      : 0,
	    epoch, q->lifetime ? port : 0, 0);
	if (result == 0 && q->lifetime)
		memcpy(o + 44, external.b, 16);
	stage_reply(st, 1, o, n);
	return true;
}

static void
begin(struct stage *st, enum external_wish external)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	st->ipv6 = true;
	if (!st->script)
		st->script = router;
	f.ipv4 = false;
	f.ipv6 = true;
	f.external = external;
	stage_start(st);
	stage_path_up(st);
	stage_want(st, &f);
}

/* P-35, P-44, P-88 */
static void
check_requests(struct stage *st)
{
	struct netaddr local = stage_address(LOCAL6), external = stage_address(NAT66);
	const struct sent *first = stage_nth(st, MAP_REQUEST, 5000, 0, 0);

	EXPECT(st, first->q.external == 5000, "first suggestion is %u", first->q.external);
	for (size_t i = 0; i < st->n_sent; i++) {
		const struct sent *s = &st->sent[i];
		EXPECT(st, !memcmp(s->bytes + 8, local.b, 16), "another client address");
		if (s->q.opcode == 0)
			continue;
		EXPECT(st, !memcmp(s->q.nonce, first->q.nonce, 12), "another nonce");
		EXPECT(st, !s->q.lifetime || st->variant == TRANSLATES || s->q.external == 5000,
		    "suggests %u", s->q.external);
		EXPECT(st,
		    st->variant != TRANSLATES || s == first || !s->q.lifetime ||
			(s->q.external == 7777 && !memcmp(s->bytes + 44, external.b, 16)),
		    "renewal suggests something else (P-49)");
	}
}

/* Even: external-port = same, odd: any. */
static void
pinhole(struct stage *st, int variant)
{
	struct mapping_status m;
	struct netaddr external;
	uint16_t port;
	mstime at;

	st->variant = variant / 2;
	port = st->variant == TRANSLATES ? 7777 : 5000;
	external = stage_address(st->variant == TRANSLATES ? NAT66 : LOCAL6);
	begin(st, variant % 2 ? EXTERNAL_ANY : EXTERNAL_SAME);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 6 * HOUR);
	EXPECT(st,
	    stage_mapping(st, 5000, &m) && m.state == MAPPING_ACTIVE && m.external_port == port &&
		m.has_external && netaddr_equal(&m.external, &external) && m.family == FAMILY_IPV6,
	    "not active at %u", port);
	EXPECT(st,
	    stage_noted_count(st, EVENT_MAPPED, 0) == 1 &&
		stage_noted_count(st, EVENT_CHANGED, 0) == 0 &&
		stage_noted_count(st, EVENT_LOST, 0) == 0 &&
		stage_noted_count(st, EVENT_FAILED, 0) == 0,
	    "told more than that it is mapped");
	check_requests(st);
	at = st->now;
	engine_unwant(st->engine, st->now, "web");
	stage_run(st, MINUTE);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == 1 && !st->number[UNTIL],
	    "not deleted");
}

/* 6 hours are 36 leases, each deleted and made anew shortly before its end. */
static void
never_renews(struct stage *st, int variant)
{
	unsigned deletes, maps;

	(void)variant;
	st->variant = NEVER_RENEWS;
	begin(st, EXTERNAL_SAME);
	stage_run(st, 6 * HOUR);
	deletes = stage_count(st, DELETE_REQUEST, 5000, 0, st->now);
	maps = stage_count(st, MAP_REQUEST, 5000, 0, st->now);
	EXPECT(st, deletes >= 35 && deletes <= 42, "%u deletes", deletes);
	EXPECT(st, maps <= 7 * deletes, "%u requests", maps);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, 0) == 0, "changed");
	EXPECT(st, stage_all_active(st), "not active");
	for (unsigned i = 0; i + 1 < deletes; i++) {
		const struct sent *d = stage_nth(st, DELETE_REQUEST, 5000, 0, i);
		const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, d->at, 0);
		EXPECT(st, s->at - d->at < 100, "%lld ms without a pinhole",
		    (long long)(s->at - d->at));
	}
	check_requests(st);
}

/* It is called otherwise when it waits to be made anew: that is not forgotten, and nothing
 * is sent before. */
static void
renamed(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	mstime at;

	(void)variant;
	st->variant = NEVER_RENEWS;
	begin(st, EXTERNAL_SAME);
	stage_run(st, 535 * MSTIME_SECOND);
	at = st->now;
	f.name = "site";
	f.ipv4 = false;
	f.ipv6 = true;
	engine_unwant(st->engine, st->now, "web");
	stage_want(st, &f);
	stage_run(st, MSTIME_SECOND);
	EXPECT(st, stage_count(st, ANY_REQUEST, 5000, at, st->now) == 0, "sent for");
	EXPECT(st, stage_all_active(st), "not active");
	stage_run(st, HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* Another one is refused for want of room: the one that is deleted does not wait for that
 * room. */
static void
full(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5001, PROTOCOL_TCP, 3600);

	(void)variant;
	st->variant = NEVER_RENEWS;
	begin(st, EXTERNAL_SAME);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	f.name = "other";
	f.ipv4 = false;
	f.ipv6 = true;
	stage_want(st, &f);
	stage_run(st, 6 * HOUR);
	EXPECT(st, stage_noted(st, EVENT_FAILED, 5001, 0), "not refused");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* The model's firewall that renews nothing. */
static bool
firewall(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[GW_PACKET_MAX];
	struct gw_outcome out;
	size_t size = gw_answer(&st->box, st->now, q->client, bytes, n, o, &out);

	st->number[0] += out.granted;
	if (!out.granted || st->number[0] > st->number[1])
		stage_reply(st, 1, o, size);
	return true;
}

static void
begin_firewall(struct stage *st,
    bool (*script)(struct stage *, const uint8_t *, size_t, const struct gw_request *))
{
	st->script = script;
	st->box.ipv6 = st->box.never_renews = true;
	st->box.speaks = SPEAKS_PCP;
	st->box.max_life = PINHOLE_LIFE;
	begin(st, EXTERNAL_SAME);
}

/* it has made the pinhole, but its answer was lost, and the copy of the request is refused,
 * several times over. */
static void
lost_answer(struct stage *st, int variant)
{
	st->number[1] = 1 + variant;
	begin_firewall(st, firewall);
	EXPECT(st,
	    stage_wait(
		st, (1 + variant) * 33 * MSTIME_SECOND + 2 * MSTIME_SECOND, stage_all_active),
	    "not mapped after %d lost answers", 1 + variant);
}

/* the same twice, and the second time the deletes are lost, too. */
static bool
lossy_firewall(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	if (st->number[0] == 2 && q->lifetime == 0 && q->opcode != 0 && st->number[2]++ < 3)
		return true;
	return firewall(st, bytes, n, q);
}

static void
lost_deletes(struct stage *st, int variant)
{
	(void)variant;
	st->number[1] = 2;
	begin_firewall(st, lossy_firewall);
	EXPECT(st, stage_wait(st, 4 * MINUTE, stage_all_active), "not mapped in 4 minutes");
	EXPECT(st, st->number[2] > 3, "no delete lost");
}

/* it has made the pinhole, and the refusal of the request's copy overtakes its answer. */
static bool
slow_firewall(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[GW_PACKET_MAX];
	struct gw_outcome out;
	size_t size = gw_answer(&st->box, st->now, q->client, bytes, n, o, &out);

	stage_reply(st, out.granted ? 400 : 1, o, size);
	return true;
}

static void
overtaken_answer(struct stage *st, int variant)
{
	mstime at;

	(void)variant;
	begin_firewall(st, slow_firewall);
	at = st->now;
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, 5 * MINUTE);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) <= 2, "asked again");
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, 0, st->now) == 0, "deleted");
	EXPECT(st, stage_all_active(st), "not active after 5 minutes");
}

/* miniupnpd 2.3.1: once renewed, a pinhole is nobody's and cannot be deleted, only shortened. 1: a
 * new one takes its place. */
static void
orphan(struct stage *st, int variant)
{
	const struct sent *s;
	mstime at;

	st->variant = FORGETS_OWNER;
	begin(st, EXTERNAL_SAME);
	stage_run(st, HOUR);
	EXPECT(st, stage_all_active(st), "not active");
	at = st->now;
	if (variant == 1) {
		struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

		f.ipv4 = false;
		f.ipv6 = true;
		f.external = EXTERNAL_FIXED;
		f.external_port = 5001;
		stage_want(st, &f);
		EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
		EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 1,
		    "shortened though it is wanted");
		return;
	}
	engine_release_all(st->engine, st->now);
	stage_run(st, 3 * MSTIME_SECOND);
	EXPECT(st, engine_drained(st->engine), "not drained");
	EXPECT(st, stage_count(st, DELETE_REQUEST, 5000, at, st->now) == 1, "not deleted once");
	s = stage_nth(st, MAP_REQUEST, 5000, at, 0);
	EXPECT(st, s && s->q.lifetime == 1 && s->q.external == 5000, "not shortened");
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == 1, "shortened twice");
	EXPECT(st, st->number[UNTIL] <= at + (SHORTEST + 1) * MSTIME_SECOND, "open for long");
}

/* P-94, P-95, Q-106. 0: from the router's address, 1: from another link-local one, 2: from another
 * host, 3: on another interface; odd epochs say that it has restarted. */
static void
announced(struct stage *st, int variant)
{
	static const char *const sources[] = { GATEWAY6, "fe80::8c24", "2a00:1450::66", GATEWAY6 };
	struct netaddr source = stage_address(sources[variant]);
	uint8_t o[24];
	mstime at;

	st->variant = NORMAL;
	st->gateway.probe_interval = 0;
	st->number[EPOCH] = 500000;
	begin(st, EXTERNAL_SAME);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, MINUTE);
	at = st->now;
	st->number[EPOCH] = -(long)((st->now - st->begin) / 1000);
	st->number[UNTIL] = 0;
	engine_announcement(
	    st->engine, st->now, variant == 3 ? 5 : 2, &source, 5351, o, gw_put_announce(o, 0));
	stage_run(st, 7 * MSTIME_SECOND);
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, at, st->now) == (variant < 2 ? 1 : 0),
	    "asked %u times", stage_count(st, MAP_REQUEST, 5000, at, st->now));
}

/* NAT-PMP is no alternative here (RFC 6887 section 9). */
static bool
natpmp_only(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[24];

	(void)n;
	(void)q;
	stage_reply(st, 1, o, gw_put_stranger(o, STRANGER_V0_8, bytes, 4711));
	return true;
}

static void
no_natpmp(struct stage *st, int variant)
{
	struct gateway_status g;

	(void)variant;
	st->script = natpmp_only;
	begin(st, EXTERNAL_SAME); /* gw_parse6() fails for anything but PCP */
	stage_run(st, 24 * HOUR);
	EXPECT(st, engine_gateway_status(st->engine, st->now, 0, &g), "no gateway");
	EXPECT(st, g.state == GATEWAY_UNSUPPORTED, "not called unsupported");
	EXPECT(st, st->n_sent >= 24 && st->n_sent <= 60, "%zu packets in a day", st->n_sent);
}

/* A full table: what may be there from an earlier life is deleted once, not before each try. */
static void
no_room(struct stage *st, int variant)
{
	char name[8];
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	(void)variant;
	st->script = firewall;
	st->box.ipv6 = st->ipv6 = true;
	st->box.speaks = SPEAKS_PCP;
	st->box.pcp_refusal = 8;
	st->box.refusal_life = 30;
	f.name = name;
	f.ipv4 = false;
	f.ipv6 = true;
	stage_start(st);
	stage_path_up(st);
	for (; f.internal_port < 5000 + MANY; f.internal_port++) {
		snprintf(name, sizeof(name), "p%u", f.internal_port);
		stage_want(st, &f);
	}
	stage_run(st, 24 * HOUR);
	EXPECT(st, stage_count(st, DELETE_REQUEST, 0, 0, st->now) <= MANY, "%u deletes",
	    stage_count(st, DELETE_REQUEST, 0, 0, st->now));
	st->box.pcp_refusal = 0;
	EXPECT(st, stage_wait(st, 65 * MINUTE, stage_all_active), "not mapped");
}

const struct directed directed_ipv6[] = {
	{ "P-33 Q-054 pinholes, NAT66", pinhole, 6 },
	{ "Q-094 a pinhole that cannot be renewed", never_renews, 1 },
	{ "Q-094 it is called otherwise", renamed, 1 },
	{ "Q-094 and the table is full", full, 1 },
	{ "a full table, and no pinhole of an earlier life", no_room, 1 },
	{ "Q-094 a lost answer, and the copy is refused", lost_answer, 6 },
	{ "Q-094 lost answers, and lost deletes", lost_deletes, 1 },
	{ "Q-094 the copy's refusal overtakes the grant", overtaken_answer, 1 },
	{ "miniupnpd 2.3.1: a pinhole that cannot be deleted", orphan, 2 },
	{ "Q-106 announcements from a link-local address", announced, 4 },
	{ "no NAT-PMP over IPv6", no_natpmp, 1 },
	{ NULL, NULL, 0 },
};
