/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

/* Which external port: pairs, any, and the wished one once more. Even variants PCP, odd NAT-PMP. */

static void
only(struct stage *st, int variant)
{
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	stage_start(st);
	stage_path_up(st);
}

/* Another host has this port. */
static struct gw_entry *
occupy(struct stage *st, uint8_t protocol, uint16_t external)
{
	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		struct gw_entry *e = &st->box.entries[i];
		if (e->used)
			continue;
		*e = (struct gw_entry){ .used = true,
			.client = LOCAL + 77,
			.protocol = protocol,
			.internal = external,
			.external = external,
			.until = st->now + 1000 * HOUR };
		return e;
	}
	return NULL;
}

static void
pair(struct stage *st, uint16_t count)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	f.udp = true;
	f.count = count;
	stage_want(st, &f);
}

static unsigned
deletes(const struct stage *st)
{
	return stage_count(st, DELETE_REQUEST, 0, 0, st->now);
}

static void
check_pair(struct stage *st, uint16_t internal, uint16_t tcp, uint16_t udp)
{
	EXPECT(st,
	    stage_active(st, internal, PROTOCOL_TCP) == tcp &&
		stage_active(st, internal, PROTOCOL_UDP) == udp,
	    "port %u: tcp at %u, udp at %u", internal, stage_active(st, internal, PROTOCOL_TCP),
	    stage_active(st, internal, PROTOCOL_UDP));
}

/* Nobody is told of a port that is given up at once. */
static void
check_told(struct stage *st)
{
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 2, "mapped %u times",
	    stage_noted_count(st, EVENT_MAPPED, 0));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	for (size_t i = 0; i < st->n_noted; i++)
		EXPECT(st,
		    st->noted[i].kind != EVENT_CHANGED || st->noted[i].at <= st->begin + 6000,
		    "changed later");
}

/* The first one's port is suggested for the second one. */
static void
pair_follows(struct stage *st, int variant)
{
	const struct sent *s;

	occupy(st, PROTOCOL_TCP, 5000);
	only(st, variant);
	pair(st, 1);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	check_pair(st, 5000, 5001, 5001);
	s = stage_nth(st, MAP_REQUEST, 5000, 0, 1);
	EXPECT(st, s && s->q.protocol == PROTOCOL_UDP && s->q.external == 5001,
	    "udp does not ask for tcp's port");
	stage_run(st, 24 * HOUR);
	EXPECT(st, deletes(st) == 0, "deleted");
	check_told(st);
	check_pair(st, 5000, 5001, 5001);
}

/* The other way round: udp cannot have tcp's port, so tcp takes udp's. */
static void
pair_moves(struct stage *st, int variant)
{
	uint16_t count = variant / 2 ? 3 : 1;

	for (uint16_t i = 0; i < count; i++)
		occupy(st, PROTOCOL_UDP, (uint16_t)(5000 + i));
	only(st, variant);
	pair(st, count);
	EXPECT(st, stage_wait(st, 3000, stage_all_active), "not mapped in 3 s");
	stage_run(st, 24 * HOUR);
	for (uint16_t i = 0; i < count; i++) {
		uint16_t port = stage_active(st, (uint16_t)(5000 + i), PROTOCOL_TCP);
		EXPECT(st, port > 5000, "tcp has not moved");
		check_pair(st, (uint16_t)(5000 + i), port, port);
	}
	EXPECT(st, deletes(st) == count, "%u deletes", deletes(st));
	check_told(st);
}

/* Every request gets another port. */
static bool
unsteady(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];
	uint16_t port;

	if (q->opcode == 0)
		return false;
	port = q->external >= 30000 && st->now - st->begin > MINUTE
	    ? q->external
	    : (uint16_t)(30000 + st->number[0]++);
	if (!q->lifetime)
		port = 0;
	if (q->version == 2)
		n = gw_put_pcp_map(o, bytes, n, 0, q->lifetime, gw_epoch(&st->box, st->now), port,
		    st->box.external);
	else
		n = gw_put_natpmp_map(
		    o, q->protocol, 0, gw_epoch(&st->box, st->now), q->internal, port, q->lifetime);
	stage_reply(st, 1, o, n);
	return true;
}

static void
pair_never(struct stage *st, int variant)
{
	st->script = unsteady;
	only(st, variant);
	pair(st, 1);
	EXPECT(st, stage_wait(st, 3000, stage_all_active), "not mapped in 3 s");
	stage_run(st, 48 * HOUR);
	EXPECT(st, deletes(st) == 2, "%u deletes", deletes(st));
	EXPECT(st,
	    stage_active(st, 5000, PROTOCOL_TCP) && stage_active(st, 5000, PROTOCOL_UDP) &&
		stage_active(st, 5000, PROTOCOL_TCP) != stage_active(st, 5000, PROTOCOL_UDP),
	    "what was granted is not published");
	check_told(st);
}

static void
pair_independent(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	occupy(st, PROTOCOL_TCP, 5000);
	only(st, variant);
	f.udp = f.independent = true;
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	check_pair(st, 5000, 5001, 5000);
	EXPECT(st, deletes(st) == 0, "deleted");
}

/* What becomes of the first if the second is refused, or not answered at all. */
static bool
no_udp(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[STAGE_PACKET];

	if (q->protocol != PROTOCOL_UDP)
		return false;
	if (st->variant / 2)
		return true;
	if (q->version == 2)
		n = gw_put_pcp_map(o, bytes, n, 9, 0, gw_epoch(&st->box, st->now), 0, 0);
	else
		n = gw_put_natpmp_map(o, PROTOCOL_UDP, 2, gw_epoch(&st->box, st->now), q->internal,
		    q->external, q->lifetime);
	stage_reply(st, 1, o, n);
	return true;
}

static void
pair_alone(struct stage *st, int variant)
{
	const struct noted *m;

	st->script = no_udp;
	only(st, variant);
	pair(st, 1);
	stage_run(st, HOUR);
	m = stage_noted(st, EVENT_MAPPED, 5000, 0);
	EXPECT(st, m && m->at <= st->begin + 2500, "tcp waits for udp");
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "tcp is not active");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* ---- suggestion 0 ------------------------------------------------------------------ */

/* 0, 1: refused; 2, 3: not answered; 4, 5: the internal port is refused as well; 6, 7: not answered
 * while others are; 8, 9: refused, by PCP with CANNOT_PROVIDE_EXTERNAL; 10: MALFORMED_REQUEST */
static bool
must_suggest(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	static const uint8_t results[] = { 8, 8, 8, 8, 11, 3 };
	uint8_t o[STAGE_PACKET];

	if (q->opcode == 0 || !q->lifetime || q->internal != 5000)
		return false;
	if (q->external && (st->variant / 2 != 2 || q->external != 5000))
		return false;
	if (st->variant / 2 == 1 || st->variant / 2 == 3)
		return true;
	if (q->version == 2)
		n = gw_put_pcp_map(
		    o, bytes, n, results[st->variant / 2], 30, gw_epoch(&st->box, st->now), 0, 0);
	else
		n = gw_put_natpmp_map(o, q->protocol, 4, gw_epoch(&st->box, st->now), q->internal,
		    q->external, q->lifetime);
	stage_reply(st, 1, o, n);
	return true;
}

static void
any(struct stage *st, int variant)
{
	static const mstime limits[] = { 31000, 1000, 8000, 8000, 91000, 31000, 13000, 13000, 1000,
		1000, 1000 };
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);
	struct forward_spec g = stage_spec(6000, PROTOCOL_TCP, 3600);
	uint16_t port;

	f.external = EXTERNAL_ANY;
	st->script = must_suggest;
	only(st, variant);
	g.name = "other";
	if (variant / 2 == 3)
		stage_want(st, &g);
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, limits[variant], stage_all_active), "not mapped in %lld ms",
	    (long long)limits[variant]);
	EXPECT(st, stage_nth(st, MAP_REQUEST, 5000, 0, 0)->q.external == 0,
	    "first suggestion is not 0");
	port = stage_active(st, 5000, PROTOCOL_TCP);
	EXPECT(
	    st, variant / 2 != 2 ? port == 5000 : port >= 1024 && port != 5000, "granted %u", port);
	stage_run(st, 24 * HOUR);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == port, "moved");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
}

/* ---- the wish, once more ------------------------------------------------------------- */

static void
renumber(struct stage *st)
{
	engine_path_down(st->engine, st->now, st->path, PATH_DEAD);
	stage_run(st, 100);
	st->path++;
	st->local++;
	stage_path_up(st);
}

/* 0, 1: free when the old lease is over; 2, 3: somebody else was quicker */
static void
own_old_lease(struct stage *st, int variant)
{
	mstime at;

	only(st, variant);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	stage_run(st, MINUTE);
	renumber(st);
	EXPECT(st, stage_wait(st, 3000, stage_all_active), "not mapped again in 3 s");
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5001, "at %u beside the old one",
	    stage_active(st, 5000, PROTOCOL_TCP));
	at = st->now;
	stage_run(st, 59 * MINUTE - 10 * MSTIME_SECOND);
	EXPECT(st, deletes(st) == 0, "deleted before the old lease is over");
	stage_run(st, 11 * MSTIME_SECOND);
	if (variant > 1)
		occupy(st, PROTOCOL_TCP, 5000);
	stage_run(st, 48 * HOUR);
	EXPECT(st, deletes(st) == 1, "%u deletes", deletes(st));
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == (variant > 1 ? 5001 : 5000), "at %u",
	    stage_active(st, 5000, PROTOCOL_TCP));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, at + MINUTE) == (variant > 1 ? 0 : 1),
	    "changed %u times", stage_noted_count(st, EVENT_CHANGED, at + MINUTE));
}

/* Another port is granted for no reason of ours: it stays, until the network changes. */
static void
network_event(struct stage *st, int variant)
{
	struct gw_entry *other = occupy(st, PROTOCOL_TCP, 5000);
	mstime at;

	only(st, variant);
	stage_forwards(st, 1, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	other->used = false;
	stage_run(st, 48 * HOUR);
	EXPECT(st, deletes(st) == 0 && stage_active(st, 5000, PROTOCOL_TCP) == 5001,
	    "moved without a reason");
	at = st->now;
	if (variant > 1)
		occupy(st, PROTOCOL_TCP, 5000);
	for (int i = 0; i < 20; i++) { /* a link that flaps */
		engine_path_down(st->engine, st->now, st->path, PATH_ABSENT);
		stage_run(st, 2 * MSTIME_SECOND);
		stage_path_up(st);
		stage_run(st, 30 * MSTIME_SECOND);
		EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == (variant > 1 ? 5001 : 5000),
		    "at %u", stage_active(st, 5000, PROTOCOL_TCP));
	}
	EXPECT(st, deletes(st) == 1, "%u deletes", deletes(st));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, at) == 0, "lost");
}

/* A pair stays a pair. */
static void
pair_wins_back(struct stage *st, int variant)
{
	struct gw_entry *other = occupy(st, PROTOCOL_TCP, 5000);

	only(st, variant);
	pair(st, 1);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	check_pair(st, 5000, 5001, 5001);
	other->used = false;
	if (variant / 2)
		occupy(st, PROTOCOL_UDP, 5000);
	stage_run(st, HOUR);
	engine_path_down(st->engine, st->now, st->path, PATH_ABSENT);
	stage_run(st, 2 * MSTIME_SECOND);
	stage_path_up(st);
	stage_run(st, 2 * MINUTE);
	if (variant / 2)
		check_pair(st, 5000, 5001, 5001);
	else
		check_pair(st, 5000, 5000, 5000);
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, deletes(st) <= 4, "%u deletes", deletes(st));
}

const struct directed directed_port[] = {
	{ "Q-050 a pair follows", pair_follows, 2 },
	{ "a pair moves", pair_moves, 4 },
	{ "a pair that cannot be", pair_never, 2 },
	{ "pairing = independent", pair_independent, 2 },
	{ "half a pair", pair_alone, 4 },
	{ "Q-052 suggestion 0", any, 11 },
	{ "Q-151 the old address has the port", own_old_lease, 4 },
	{ "the wish at a network event", network_event, 4 },
	{ "a pair wins back its port", pair_wins_back, 4 },
	{ NULL, NULL, 0 },
};
