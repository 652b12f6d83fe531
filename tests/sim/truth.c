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
#define TOLD_LAG (6 * MSTIME_SECOND) /* an address may follow up to 5 s later */

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
	uint32_t a = s->boxes[box].external;
	unsigned n = s->n_addresses[box];

	for (unsigned i = 0; i < n && i < 16; i++)
		if (s->addresses[box][i] == a)
			return;
	s->addresses[box][n % 16] = a;
	s->n_addresses[box]++;
}

static bool
address_was_told(const struct sim *s, unsigned box, const struct netaddr *a)
{
	uint32_t v = gw_ipv4(a);

	for (unsigned i = 0; i < s->n_addresses[box] && i < 16; i++)
		if (s->addresses[box][i] == v)
			return v != 0 && netaddr_is4(a);
	return false;
}

/* ---- statuses --------------------------------------------------------------------------- */

/* Where what the engine says of a mapping is so. */
static unsigned
slot_of(const struct sim *s, const struct mapping_status *m)
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
		if (out->internal_port == internal && out->protocol == protocol &&
		    out->state != MAPPING_RELEASING && slot_of(s, out) == slot)
			return true;
	return false;
}

/* Active means: granted by the box that is there now, to the address we have now, and that lease
 * can not have ended. */
static void
check_honest(struct sim *s, const struct want *w, const struct mapping_status *m)
{
	const struct slot *g = &s->slots[slot_of(s, m)];
	const struct path *p = &s->paths[g->path];
	mstime slack = s->boxes[g->box].max_life < 13 ? SHORT_LEASE_SLACK : 0;
	const struct grant *t;

	if (m->state != MAPPING_ACTIVE)
		return;
	if (!m->has_lease || !m->external_port) {
		sim_fail(s, "port %u is active without a lease", m->internal_port);
		return;
	}
	if (p->dead)
		sim_fail(s, "port %u is active, but our address is gone", m->internal_port);
	t = find_grant(s, g->box, g->local, m->protocol, m->internal_port, m->external_port);
	if (!t)
		sim_fail(s, "port %u: external port %u was never granted", m->internal_port,
		    m->external_port);
	else if (t->until + slack < s->now)
		sim_fail(s, "port %u is active %lld ms after its lease ended", m->internal_port,
		    (long long)(s->now - t->until));
	else if (m->expires > t->until + slack)
		sim_fail(s, "port %u: expiry is told %lld ms too late", m->internal_port,
		    (long long)(m->expires - t->until));
	if (m->has_external && !address_was_told(s, g->box, &m->external))
		sim_fail(s, "port %u: external address was never told", m->internal_port);
	if (w->spec.require && m->wanted_port != m->external_port)
		sim_fail(s, "port %u is required at %u and active at %u", m->internal_port,
		    m->wanted_port, m->external_port);
}

static struct want *
want_named(struct sim *s, const char *name)
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

	if (g->until >= s->now || engine_next(s->engine) <= s->now) {
		/* renewed, or a tick is due: this host is late, so ask again when it has come */
		mstime at = g->until >= s->now ? g->until + 1 : s->now + 500;
		sim_schedule(s, at, H_LEASE_END, 0)->count = e->count;
		return;
	}
	g->timer = false;
	if (s->boxes[g->box].max_life < 13)
		return; /* the audit looks at these */
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == g->box &&
		    s->slots[i].local == g->client &&
		    find_status(s, i, g->protocol, g->internal, &m) &&
		    m.state == MAPPING_ACTIVE && m.external_port == g->external)
			sim_fail(s, "port %u is active %lld ms after its lease ended", g->internal,
			    (long long)(s->now - g->until));
}

/* ---- events ----------------------------------------------------------------------------- */

static bool
same_external(const struct told *t, const struct mapping_status *m)
{
	return t->has_external == m->has_external &&
	    (!t->has_external || netaddr_equal(&t->external, &m->external));
}

static void
note(struct told *t, const struct mapping_status *m)
{
	t->up = true;
	t->failed = false;
	t->port = m->external_port;
	t->has_external = m->has_external;
	t->external = m->external;
}

static void
mapping_event(struct sim *s, const struct engine_event *e, struct want *w, struct told *t)
{
	const struct mapping_status *m = e->mapping;
	const char *name = engine_event_name(e->kind);
	unsigned port = m->internal_port, slot = slot_of(s, m);

	switch (e->kind) {
	case EVENT_MAPPED:
		if (t->up)
			sim_fail(s, "port %u: mapped twice", port);
		check_honest(s, w, m);
		note(t, m);
		break;
	case EVENT_CHANGED:
		if (!t->up)
			sim_fail(s, "port %u: changed before mapped", port);
		if (w->spec.count == 1 && same_external(t, m) && t->port == m->external_port)
			sim_fail(s, "port %u: changed, but nothing differs", port);
		if (w->spec.count == 1 && e->old_external_port != t->port)
			sim_fail(s, "port %u: changed from %u, but %u was told", port,
			    e->old_external_port, t->port);
		check_honest(s, w, m);
		note(t, m);
		break;
	case EVENT_LOST:
		if (s->calm && s->healthy && !s->drilling && !s->releasing &&
		    s->now > s->slots[slot].excused &&
		    s->boxes[s->slots[slot].box].max_life >= 13)
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
	w = want_named(s, e->mapping->forward);
	if (!w || !e->ports || e->ports > w->spec.count) {
		sim_fail(s, "event %s for an unknown forward or %u ports", name, e->ports);
		return;
	}
	mapping_event(
	    s, e, w, &w->told[e->mapping->family][e->mapping->protocol == PROTOCOL_TCP]);
}

/* ---- audits ----------------------------------------------------------------------------- */

static void
compare_told(struct sim *s, struct want *w, const struct mapping_status *m)
{
	struct told *t = &w->told[m->family][m->protocol == PROTOCOL_TCP];
	bool up = m->state == MAPPING_ACTIVE;

	if (w->spec.count > 1 || m->state == MAPPING_RELEASING)
		return;
	if (t->up == up && (!up || (t->port == m->external_port && same_external(t, m)))) {
		t->differs_since = 0;
		return;
	}
	if (!t->differs_since)
		t->differs_since = s->now;
	else if (s->now - t->differs_since > TOLD_LAG)
		sim_fail(s, "port %u is %s at %08x:%u, but what was told is %s at %08x:%u",
		    m->internal_port, mapping_state_name(m->state),
		    m->has_external ? gw_ipv4(&m->external) : 0, m->external_port,
		    t->up ? "up" : "down", t->has_external ? gw_ipv4(&t->external) : 0, t->port);
}

static void
view(struct sim *s, const struct mapping_status *m)
{
	struct view *v;

	/* the one that is released may have a successor */
	if (m->state == MAPPING_RELEASING || m->internal_port < 1000)
		return;
	v = &s->views[track_index(slot_of(s, m), m->protocol, m->internal_port)];
	v->known = true;
	v->state = m->state;
	v->external_port = m->external_port;
	v->has_external = m->has_external;
	v->external = m->external;
}

void
oracle_look(struct sim *s)
{
	struct mapping_status m;

	memset(s->views, 0, sizeof s->views);
	for (size_t i = 0; engine_mapping_status(s->engine, s->now, i, &m); i++)
		view(s, &m);
}

void
oracle_audit(struct sim *s)
{
	bool due = engine_next(s->engine) <= s->now, all = true;
	struct mapping_status m;
	char why[160];

	memset(s->views, 0, sizeof s->views);
	for (size_t i = 0; engine_mapping_status(s->engine, s->now, i, &m); i++) {
		struct want *w = want_named(s, m.forward);
		if (!w) {
			sim_fail(s, "status of an unknown forward");
			return;
		}
		view(s, &m);
		if (due) /* this host is late */
			continue;
		check_honest(s, w, &m);
		compare_told(s, w, &m);
	}
	if (!s->calm)
		return;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *g = &s->slots[i];
		if (!g->used)
			continue;
		if (oracle_is_up(s, i, why, sizeof why)) {
			g->unnoticed = false;
			continue;
		}
		all = false;
		if (s->now > g->excused && !s->drilling)
			sim_fail(s, "calm since %lld s, but %s",
			    (long long)(s->now - s->calm_since) / 1000, why);
	}
	s->healthy = all;
}

static bool
port_is_up(struct sim *s, unsigned slot, uint8_t protocol, uint16_t port, char *why, size_t n)
{
	const struct slot *g = &s->slots[slot];
	struct gw_box *b = &s->boxes[g->box];
	const struct gw_entry *e = gw_find(b, s->now, g->local, protocol, port);
	const struct view *v = &s->views[track_index(slot, protocol, port)];

	if (!e)
		snprintf(why, n, "the gateway does not have port %u", port);
	else if (!v->known)
		snprintf(why, n, "there is no status of port %u", port);
	else if (v->state != MAPPING_ACTIVE)
		snprintf(why, n, "port %u is %s", port, mapping_state_name(v->state));
	else if (v->external_port != e->external)
		snprintf(why, n, "port %u is told at %u and is at %u", port, v->external_port,
		    e->external);
	else if (!v->has_external)
		snprintf(why, n, "port %u has no external address", port);
	else if (gw_ipv4(&v->external) != b->external)
		snprintf(why, n, "port %u has an old external address", port);
	else
		return true;
	return false;
}

bool
oracle_is_up(struct sim *s, unsigned slot, char *why, size_t n)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct want *w = &s->wants[i];
		const struct gw_box *b = &s->boxes[s->slots[slot].box];

		/* leases too short for renewals 4 s apart come and go */
		if (!want_is_on(s, w, slot) || !w->wanted || w->spec.require || b->max_life < 13)
			continue;
		for (uint16_t k = 0; k < w->spec.count; k++) {
			uint16_t port = (uint16_t)(w->spec.internal_port + k);
			if ((w->spec.tcp && !port_is_up(s, slot, PROTOCOL_TCP, port, why, n)) ||
			    (w->spec.udp && !port_is_up(s, slot, PROTOCOL_UDP, port, why, n)))
				return false;
		}
	}
	return true;
}

void
oracle_nothing_left(struct sim *s)
{
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			if (e->used && e->until > s->now && e->client == s->slots[i].local)
				sim_fail(s, "port %u was left behind at the gateway", e->internal);
		}
}
