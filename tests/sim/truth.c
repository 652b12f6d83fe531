/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Oracles that look at what the engine says: is it true, and does it all agree? */

#define GRANT_KEPT (2 * HOUR)
/* A very late copy of an answer may be taken for the last request's: that matters for leases that
 * are asked for all the time, and no gateway grants such. */
#define SHORT_LEASE_SLACK (5 * MSTIME_SECOND)
/* The same after a hold or a reload, which ask anew at once: neither protocol numbers its requests.
 * A packet is on its way for 2.5 s at most, each way. */
#define DELAY_SLACK (5 * MSTIME_SECOND)

/* ---- what was granted ------------------------------------------------------------------- */

static struct grant *
find_grant(struct sim *s, unsigned box, uint32_t client, uint8_t protocol, uint16_t internal,
    uint16_t external)
{
	for (size_t i = 0; i < s->n_grants; i++) {
		struct grant *g = &s->grants[i];
		if (g->internal == internal && g->external == external && g->protocol == protocol &&
		    g->client == client && g->box == box)
			return g;
	}
	return NULL;
}

static struct grant *
new_grant(struct sim *s)
{
	for (size_t i = 0; i < s->n_grants; i++)
		if (!s->grants[i].timer && s->grants[i].until + GRANT_KEPT < s->now)
			return &s->grants[i];
	if (s->n_grants == s->grants_room) {
		s->grants_room = s->grants_room ? s->grants_room * 2 : 64;
		s->grants = realloc(s->grants, s->grants_room * sizeof *s->grants);
		if (!s->grants)
			abort();
	}
	return &s->grants[s->n_grants++];
}

static void
granted(struct sim *s, unsigned box, const struct gw_entry *e)
{
	struct grant *g = find_grant(s, box, e->client, e->protocol, e->internal, e->external);

	if (!g) {
		g = new_grant(s);
		*g = (struct grant){ box, e->client, e->protocol, e->internal, e->external, 0,
			false, false };
	}
	if (e->until > g->until)
		g->until = e->until;
	if (!g->timer) {
		g->timer = true;
		sim_schedule(s, g->until + 1, H_LEASE_END, 0)->count = (uint64_t)(g - s->grants);
	}
}

void
oracle_granted(struct sim *s, unsigned box, const struct gw_outcome *o)
{
	struct gw_entry e = o->lease;

	granted(s, box, &e);
	for (uint16_t i = 1; i < o->lease.set; i++) {
		e.internal++;
		e.external++;
		granted(s, box, &e);
	}
}

/* The box tells its external address. */
void
oracle_address(struct sim *s, unsigned box)
{
	oracle_lie(s, box, s->boxes[box].external);
}

void
oracle_lie(struct sim *s, unsigned box, uint32_t a)
{
	unsigned n = s->n_addresses[box];

	for (unsigned i = 0; i < n && i < 16; i++)
		if (s->addresses[box][i] == a)
			return;
	s->addresses[box][n % 16] = a;
	s->n_addresses[box]++;
}

/* What the world reaches our address by. */
struct netaddr
oracle_external(const struct sim *s, unsigned slot)
{
	const struct gw_box *b = &s->boxes[s->slots[slot].box];
	struct netaddr local = host_address(s, slot);

	return b->ipv6 ? gw_external6(b, &local) : gw_netaddr(b->external);
}

static bool
address_was_told(const struct sim *s, unsigned slot, const struct netaddr *a)
{
	unsigned box = s->slots[slot].box;
	uint32_t v = gw_ipv4(a);

	if (s->slots[slot].family == FAMILY_IPV6) {
		struct netaddr external = oracle_external(s, slot);
		return netaddr_equal(a, &external);
	}
	for (unsigned i = 0; i < s->n_addresses[box] && i < 16; i++)
		if (s->addresses[box][i] == v)
			return v != 0 && netaddr_is4(a);
	return false;
}

/* ---- statuses --------------------------------------------------------------------------- */

/* Where what the engine says of a mapping is so. */
unsigned
oracle_slot(const struct sim *s, const struct mapping_status *m)
{
	unsigned i;

	for (i = 0; i < SLOTS - 1; i++)
		if (s->slots[i].used && s->slots[i].family == m->family &&
		    strcmp(m->gateway, s->gateways[s->slots[i].gateway].name) == 0)
			break;
	return i;
}

static bool
find_status(
    struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal, struct mapping_status *out)
{
	for (size_t i = 0; engine_mapping_status(s->engine, s->now, i, out); i++)
		/* an assigned port's status has no other internal port than the external one */
		if (out->internal_port == (internal ? internal : out->external_port) &&
		    out->protocol == protocol && out->state != MAPPING_RELEASING &&
		    oracle_slot(s, out) == slot)
			return true;
	return false;
}

static mstime
delay_slack(const struct sim *s)
{
	return s->breadth >= WIDE && s->mask & BIT(FAULT_DELAY) ? DELAY_SLACK : 0;
}

/* Active means: granted by the box that is there now, to the address we have now, and that lease
 * can not have ended. */
void
oracle_honest(struct sim *s, const struct want *w, const struct mapping_status *m)
{
	unsigned slot = oracle_slot(s, m);
	const struct slot *g = &s->slots[slot];
	const struct path *p = &s->paths[g->path];
	mstime slack = s->boxes[g->box].max_life < 13 ? SHORT_LEASE_SLACK : delay_slack(s);
	const struct grant *t;

	if (m->state != MAPPING_ACTIVE)
		return;
	if (!m->has_lease || !m->external_port) {
		sim_fail(s, "port %u is active without a lease", m->internal_port);
		return;
	}
	if (p->dead)
		sim_fail(s, "port %u is active, but our address is gone", m->internal_port);
	t = find_grant(s, g->box, w->spec.has_internal ? THIRD : g->local, m->protocol,
	    w->spec.assigned ? 0 : m->internal_port, m->external_port);
	if (!t)
		sim_fail(s, "port %u: external port %u was never granted by gateway %u (box %u)",
		    m->internal_port, m->external_port, slot, g->box);
	else if (t->until + slack < s->now)
		sim_fail(s, "port %u is active %lld ms after its lease ended", m->internal_port,
		    (long long)(s->now - t->until));
	else if (m->expires > t->until + slack)
		sim_fail(s, "port %u: expiry is told %lld ms too late", m->internal_port,
		    (long long)(m->expires - t->until));
	if (m->has_external && !address_was_told(s, slot, &m->external))
		sim_fail(s, "port %u: external address was never told", m->internal_port);
	if (w->spec.require && m->wanted_port != m->external_port)
		sim_fail(s, "port %u is required at %u and active at %u", m->internal_port,
		    m->wanted_port, m->external_port);
}

struct want *
oracle_want(struct sim *s, const char *name)
{
	for (unsigned i = 0; i < s->n_wants; i++)
		if (strcmp(s->wants[i].name, name) == 0)
			return &s->wants[i];
	return NULL;
}

void
oracle_lease_end(struct sim *s, const struct event *e)
{
	struct grant *g = &s->grants[e->count];
	struct mapping_status m;

	mstime until = g->until + delay_slack(s);

	if (until >= s->now || engine_next(s->engine) <= s->now) {
		/* renewed, or a tick is due: this host is late, so ask again when it has come */
		mstime at = until >= s->now ? until + 1 : s->now + 500;
		sim_schedule(s, at, H_LEASE_END, 0)->count = e->count;
		return;
	}
	g->timer = false;
	if (s->boxes[g->box].max_life < 13)
		return; /* the audit looks at these */
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == g->box &&
		    s->slots[i].local == g->client &&
		    find_status(s, i, g->protocol, g->internal, &m) && m.state == MAPPING_ACTIVE &&
		    m.external_port == g->external)
			sim_fail(s, "port %u is active %lld ms after its lease ended", g->internal,
			    (long long)(s->now - g->until));
}

/* ---- events ----------------------------------------------------------------------------- */

bool
oracle_same_external(const struct told *t, const struct mapping_status *m)
{
	return t->has_external == m->has_external &&
	    (!t->has_external || netaddr_equal(&t->external, &m->external));
}

/* What the engine says of the whole unit. False: there is none. */
static bool
unit_ports(struct sim *s, const struct mapping_status *m, uint16_t ports[RANGE])
{
	struct mapping_status first;

	memset(ports, 0, RANGE * sizeof ports[0]);
	return engine_unit(
		   s->engine, s->now, m->forward, m->family, m->protocol, &first, ports, RANGE) > 0;
}

static void
note(struct told *t, const struct mapping_status *m, const uint16_t ports[RANGE])
{
	t->up = true;
	t->failed = false;
	memcpy(t->ports, ports, sizeof t->ports);
	t->has_external = m->has_external;
	t->external = m->external;
}

static void
mapping_event(struct sim *s, const struct engine_event *e, struct want *w, struct told *t)
{
	const struct mapping_status *m = e->mapping;
	const char *name = engine_event_name(e->kind);
	unsigned port = m->internal_port, slot = oracle_slot(s, m);
	uint16_t ports[RANGE];

	if (!unit_ports(s, m, ports))
		sim_fail(s, "port %u: %s, but there is no such unit", port, name);
	switch (e->kind) {
	case EVENT_MAPPED:
		if (t->up)
			sim_fail(s, "port %u: mapped twice", port);
		oracle_honest(s, w, m);
		note(t, m, ports);
		break;
	case EVENT_CHANGED:
		if (!t->up)
			sim_fail(s, "port %u: changed before mapped", port);
		if (oracle_same_external(t, m) && !memcmp(t->ports, ports, sizeof ports))
			sim_fail(s, "port %u: changed, but nothing differs", port);
		if (e->old_external_port != t->ports[0])
			sim_fail(s, "port %u: changed from %u, but %u was told", port,
			    e->old_external_port, t->ports[0]);
		oracle_honest(s, w, m);
		note(t, m, ports);
		break;
	case EVENT_LOST:
		if (s->calm && s->healthy && !s->drilling && !s->releasing &&
		    s->now > s->slots[slot].excused && !oracle_short_leases(s))
			sim_fail(s, "port %u lost in calm", port);
		/* fall through */
	case EVENT_RELEASED:
		if (!t->up)
			sim_fail(s, "port %u: %s, but not mapped", port, name);
		memset(t, 0, sizeof *t);
		break;
	case EVENT_FAILED:
		t->failed = true;
		break;
	case EVENT_RENEWED:
		if (!t->up)
			sim_fail(s, "port %u: renewed, but not mapped", port);
		else if (t->differs_since)
			oracle_told(s, w, m->family, m->protocol);
		break;
	default:
		sim_fail(s, "event %s with a mapping", name);
	}
}

void
oracle_event(struct sim *s, const struct engine_event *e)
{
	const char *name = engine_event_name(e->kind);
	struct want *w;

	if (!name) {
		sim_fail(s, "event %d has no name", (int)e->kind);
		return;
	}
	if (e->kind >= EVENT_GATEWAY_READY) {
		sim_log(s, name, 0, "", 0);
		if (!e->gateway || e->mapping)
			sim_fail(s, "event %s without a gateway or with a mapping", name);
		return;
	}
	if (!e->mapping || e->gateway) {
		sim_fail(s, "event %s without a mapping or with a gateway", name);
		return;
	}
	sim_log(s, name, e->mapping->internal_port, &e->mapping->external_port, 2);
	w = oracle_want(s, e->mapping->forward);
	if (!w || !e->ports || e->ports > RANGE) {
		sim_fail(s, "event %s for an unknown forward or %u ports", name, e->ports);
		return;
	}
	mapping_event(s, e, w, &w->told[e->mapping->family][e->mapping->protocol == PROTOCOL_TCP]);
}
