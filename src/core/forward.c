/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How long a mapping on the path before is still shown while the new one is being made. */
#define HAND_OVER (5 * MSTIME_SECOND)

struct forward *
forward_find(const struct engine *e, const char *name)
{
	struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	if (strcmp(f->name, name) == 0)
		return f;
	return NULL;
}

bool
forward_wanted(const struct forward *f)
{
	return !f->on_demand || f->holders > 0;
}

void
forward_free(struct forward *f)
{
	if (f == NULL)
		return;
	free(f->remotes);
	free(f->internal);
	free(f->description);
	free(f);
}

/* ---- making ----------------------------------------------------------------------------- */

static bool
copy_parts(struct forward *f, const struct forward_spec *s)
{
	if (s->description != NULL && (f->description = strdup(s->description)) == NULL)
		return false;
	if (s->has_internal) {
		f->internal = malloc(sizeof(*f->internal));
		if (f->internal == NULL)
			return false;
		*f->internal = s->internal;
	}
	if (s->n_remotes > 0) {
		f->remotes = calloc(s->n_remotes, sizeof(*f->remotes));
		if (f->remotes == NULL)
			return false;
		memcpy(f->remotes, s->remotes, s->n_remotes * sizeof(*f->remotes));
		f->n_remotes = (uint16_t)s->n_remotes;
	}
	return true;
}

static uint16_t
wish_of(const struct forward *f, unsigned i)
{
	switch (f->external) {
	case EXTERNAL_SAME:
		return (uint16_t)(f->internal_port + i);
	case EXTERNAL_FIXED:
		return (uint16_t)(f->external_port + i);
	case EXTERNAL_ANY:
		break;
	}
	return 0;
}

static void
add_unit(struct forward *f, struct mapping *mappings, enum family family, uint8_t protocol)
{
	struct unit *u = &f->units[f->n_units++];

	*u = (struct unit){
		.forward = f, .mappings = mappings, .family = family, .protocol = protocol
	};
	for (unsigned i = 0; i < f->count; i++) {
		struct mapping *m = &u->mappings[i];

		m->unit = u;
		m->protocol = protocol;
		m->count = 1;
		m->internal_port = f->assigned ? 0 : (uint16_t)(f->internal_port + i);
		m->wish = f->assigned ? 0 : wish_of(f, i);
		m->state = MAPPING_WAITING;
		m->due = MSTIME_NEVER;
		m->external = netaddr_any4;
	}
}

static void
add_units(struct forward *f, struct mapping *mappings)
{
	for (unsigned family = 0; family < FAMILIES; family++) {
		if (family == FAMILY_IPV4 ? !f->ipv4 : !f->ipv6)
			continue;
		if (f->tcp)
			add_unit(
			    f, &mappings[f->n_units * f->count], (enum family)family, PROTOCOL_TCP);
		if (f->udp)
			add_unit(
			    f, &mappings[f->n_units * f->count], (enum family)family, PROTOCOL_UDP);
	}
}

/* One block holds a forward with its units, their mappings and its name: there may be a thousand.
 */
static struct forward *
forward_new(const struct forward_spec *s)
{
	size_t count = s->count > 0 ? s->count : 1;
	size_t units = ((size_t)s->tcp + s->udp) * ((size_t)s->ipv4 + s->ipv6);
	size_t name = strlen(s->name) + 1;
	struct forward *f = calloc(1,
	    sizeof(*f) + units * sizeof(struct unit) + units * count * sizeof(struct mapping) +
		name);
	struct mapping *mappings;

	if (f == NULL)
		return NULL;
	mappings = (struct mapping *)&f->units[units];
	f->name = memcpy(&mappings[units * count], s->name, name);
	f->internal_port = s->internal_port;
	f->count = (uint16_t)count;
	f->external = s->external;
	f->external_port = s->external_port;
	f->tcp = s->tcp;
	f->udp = s->udp;
	f->ipv4 = s->ipv4;
	f->ipv6 = s->ipv6;
	f->assigned = s->assigned;
	f->require = s->require;
	f->independent = s->independent;
	f->release_on_exit = s->release_on_exit;
	f->on_demand = s->on_demand;
	f->lifetime = s->lifetime;
	add_units(f, mappings);
	if (!copy_parts(f, s)) {
		forward_free(f);
		return NULL;
	}
	return f;
}

/* ---- paths ------------------------------------------------------------------------------ */

void
unit_detach(struct engine *e, mstime now, struct unit *u, mstime due)
{
	struct path *p = u->path;

	if (p == NULL)
		return;
	for (unsigned i = 0; i < u->forward->count; i++) {
		struct mapping *m = &u->mappings[i];
		bool held = !m->carried && (mapping_leased(m, now) || m->tries > 0);

		/* With an assigned port the delete would be everybody's: it lapses. */
		if (held && p->state != GATEWAY_ABSENT && m->internal_port != 0) {
			/* Not on the heels of a request, which it might overtake. */
			mstime calm = e->stopping && m->tries > 0 ? m->asked + HEELS : now;

			bool leased = mapping_leased(m, now);

			if (!leased) {
				m->maker = mapping_mapper(m, now);
				/* NAT-PMP's would delete what this host has there. */
				if (!ask_possible(m, m->maker))
					m->maker = MAPPER_PCP;
			}
			ghost_new(m, now, later(due, calm));
			if (!leased && m->maker == MAPPER_NATPMP && m->open_pcp) {
				m->maker = MAPPER_PCP;
				ghost_new(m, now, later(due, calm));
			}
		}
		ask_leaves(m, now);
		if (p->exchange.mapping == m)
			p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
		if (!m->carried)
			TAILQ_REMOVE(&p->mappings, m, of_path);
		m->path = NULL;
		m->expires = 0;
		m->tries = m->refusals = 0;
		m->suspect = m->moving = m->guessed = false;
		m->doubted = 0;
		m->asked_pcp = m->asked_natpmp = m->open_pcp = false;
		if (u->blocked)
			m->problem = (struct problem){ .trouble = TROUBLE_NONE };
		mapping_enter(m, now, MAPPING_WAITING, MSTIME_NEVER);
	}
	portset_part(u);
	p->gateway->left[p->family] = p->address;
	u->path = NULL;
	u->blocked = false;
	e->unsaved = true;
}

/* A lease that was given up a moment ago, not yet deleted, for the same thing. */
static struct mapping *
find_ghost(const struct path *p, const struct mapping *m)
{
	struct mapping *ghost;

	TAILQ_FOREACH(ghost, &p->mappings, of_path)
	if (ghost->unit == NULL && ghost->tries == 0 && ghost->protocol == m->protocol &&
	    ghost->internal_port == m->internal_port && ghost->count == m->count &&
	    ghost->wish == m->wish &&
	    (!m->unit->forward->require || ghost->external_port == m->wish) &&
	    ((struct ghost *)ghost)->remotes == mapping_remotes(m) &&
	    memcmp(ghost->nonce, m->nonce, sizeof(m->nonce)) == 0)
		return ghost;
	return NULL;
}

static void
adopt(struct mapping *m, mstime now, struct mapping *ghost)
{
	m->maker = ghost->maker;
	m->external_port = ghost->external_port;
	m->external = ghost->external;
	m->lifetime = ghost->lifetime;
	m->asked = ghost->asked;
	m->expires = ghost->expires;
	m->decided = true;
	m->asked_pcp = ghost->asked_pcp;
	m->asked_natpmp = ghost->asked_natpmp;
	/* One that is to be made anew before its end will be. */
	m->move = ghost->move;
	m->move_at = ghost->move_at;
	mapping_enter(m, now, MAPPING_ACTIVE, ((struct ghost *)ghost)->renews);
	ghost_free(ghost);
}

/* A lease that is only waiting for its end has the port that is wanted now. */
static void
clear_way(const struct mapping *m, mstime now)
{
	struct mapping *ghost;

	TAILQ_FOREACH(ghost, &m->path->mappings, of_path)
	if (ghost->unit == NULL && ghost->due > now && ghost->protocol == m->protocol &&
	    m->wish != 0 && ghost->external_port < m->wish + m->count &&
	    m->wish < ghost->external_port + ghost->count)
		mapping_enter(ghost, now, MAPPING_RELEASING, now);
}

void
unit_attach(struct engine *e, mstime now, struct unit *u, struct path *p)
{
	const struct forward *f = u->forward;

	u->path = p;
	u->pairs = false;
	for (unsigned i = 0; i < f->count; i++) {
		struct mapping *m = &u->mappings[i];
		struct nonce_key key = { .gateway = p->gateway->name,
			.interface = p->interface,
			.local = p->local,
			.third_party = f->internal != NULL ? *f->internal : netaddr_any6,
			.family = p->family,
			.protocol = m->protocol,
			.internal_port = m->internal_port };

		m->path = p;
		e->io->nonce(e->ctx, &key, m->nonce);
		m->external = netaddr_any4;
	}
	portset_join(u, now);
	for (unsigned i = 0; i < f->count; i++) {
		struct mapping *m = &u->mappings[i], *ghost;

		if (m->carried)
			continue;
		TAILQ_INSERT_TAIL(&p->mappings, m, of_path);
		leftover_forget(p, now, m);
		ghost = find_ghost(p, m);
		if (ghost != NULL && mapping_leased(ghost, now)) {
			adopt(m, now, ghost);
			continue;
		}
		/* On a new gateway the wish counts again; without one, the last port does. */
		if (m->wish != 0)
			m->external_port = 0;
		if (m->external_port == 0)
			m->external_port = memory_port(e, m);
		ask_arrives(m, now);
		clear_way(m, now);
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	}
	rival_meet(u, now);
	if (p->state == GATEWAY_UNUSED)
		path_reset_contact(p, now);
}

void
forward_follow(struct engine *e, mstime now, struct gateway *g, enum family family)
{
	struct path *p = g->current[family];
	struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	{
		if (f->gateway != g)
			continue;
		for (unsigned i = 0; i < f->n_units; i++) {
			struct unit *u = &f->units[i];

			if (u->family != family || u->path == p || !forward_wanted(f))
				continue;
			if (unit_is_up(u, now))
				u->held_until = now + HAND_OVER;
			unit_detach(e, now, u, now + HAND_OVER);
			if (p != NULL)
				unit_attach(e, now, u, p);
		}
	}
}

/* ---- wanting ---------------------------------------------------------------------------- */

static bool
same_text(const char *a, const char *b)
{
	return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

/* Whether a mapping of one would be the same request as one of the other. */
static bool
same_kind(const struct forward *a, const struct forward *b)
{
	return a->gateway == b->gateway && a->require == b->require && a->assigned == b->assigned &&
	    (a->internal == NULL) == (b->internal == NULL) &&
	    (a->internal == NULL || netaddr_equal(a->internal, b->internal)) &&
	    a->n_remotes == b->n_remotes &&
	    (a->n_remotes == 0 ||
		memcmp(a->remotes, b->remotes, a->n_remotes * sizeof(*a->remotes)) == 0);
}

/* Does a new version of a forward leave every mapping as it is? */
static bool
same_mappings(const struct forward *a, const struct forward *b)
{
	return same_kind(a, b) && a->internal_port == b->internal_port && a->count == b->count &&
	    a->external == b->external && a->external_port == b->external_port &&
	    a->tcp == b->tcp && a->udp == b->udp && a->ipv4 == b->ipv4 && a->ipv6 == b->ipv6 &&
	    a->on_demand == b->on_demand;
}

/* Takes over what sends no packet: description, lifetime (with the next renewal), release. */
static void
take_manners(struct forward *f, struct forward *from)
{
	char *text = f->description;

	f->description = from->description;
	from->description = text;
	f->lifetime = from->lifetime;
	f->release_on_exit = from->release_on_exit;
	f->independent = from->independent;
}

static void
detach_all(struct engine *e, mstime now, struct forward *f, mstime due)
{
	for (unsigned i = 0; i < f->n_units; i++)
		unit_detach(e, now, &f->units[i], due);
}

static void
attach_all(struct engine *e, mstime now, struct forward *f)
{
	for (unsigned i = 0; i < f->n_units; i++) {
		struct unit *u = &f->units[i];
		struct path *p = f->gateway->current[u->family];

		if (u->path == NULL && p != NULL && forward_wanted(f) && !e->stopping)
			unit_attach(e, now, u, p);
	}
}

/* The units that go on keep what the world was told of them, and are still shown while they move to
 * another port or gateway: it hears of one change. */
static void
inherit_told(struct engine *e, mstime now, struct forward *f, struct forward *old)
{
	for (unsigned i = 0; i < old->n_units; i++) {
		struct unit *was = &old->units[i], *u = NULL;

		for (unsigned k = 0; k < f->n_units && u == NULL && forward_wanted(f); k++)
			if (f->units[k].family == was->family &&
			    f->units[k].protocol == was->protocol)
				u = &f->units[k];
		if (u == NULL) {
			if (was->told_up)
				tell_mapping(e, now, &was->mappings[0], EVENT_RELEASED, old->count,
				    &was->told_external, was->mappings[0].told_port);
			continue;
		}
		u->told_up = was->told_up;
		u->told_external = was->told_external;
		u->held_until = was->told_up ? now + HAND_OVER : 0;
		for (unsigned k = 0; k < f->count && k < old->count; k++)
			u->mappings[k].told_port = was->mappings[k].told_port;
	}
}

int
engine_want(struct engine *e, mstime now, const struct forward_spec *spec)
{
	struct forward *old = forward_find(e, spec->name), *f = forward_new(spec);

	if (f == NULL)
		return -ENOMEM;
	f->gateway = gateway_find(e, spec->gateway);
	if (f->gateway == NULL) {
		forward_free(f);
		return -ENOENT;
	}
	if (old != NULL && same_mappings(old, f) && same_text(old->name, f->name)) {
		take_manners(old, f);
		forward_free(f);
		engine_note(e, now);
		return 0;
	}
	if (old != NULL) {
		/* Deleting goes before asking: a mapping whose wish changed has the same key. */
		f->holders = old->holders;
		detach_all(e, now, old, now);
		inherit_told(e, now, f, old);
		TAILQ_INSERT_BEFORE(old, f, next);
		TAILQ_REMOVE(&e->forwards, old, next);
		forward_free(old);
	} else {
		TAILQ_INSERT_TAIL(&e->forwards, f, next);
	}
	attach_all(e, now, f);
	engine_settle(e, now);
	return 0;
}

/* Long enough for the rest of a reload to take the leases over, too short to be noticed. */
#define SECOND_THOUGHT ((mstime)100)

static void
let_go(struct engine *e, mstime now, struct forward *f, mstime due)
{
	for (unsigned i = 0; i < f->n_units; i++) {
		struct unit *u = &f->units[i];

		if (u->told_up)
			tell_mapping(e, now, &u->mappings[0], EVENT_RELEASED, f->count,
			    &u->told_external, u->mappings[0].told_port);
		u->told_up = false;
		u->held_until = 0;
	}
	detach_all(e, now, f, due);
}

void
engine_unwant(struct engine *e, mstime now, const char *name)
{
	struct forward *f = forward_find(e, name);

	if (f == NULL)
		return;
	let_go(e, now, f, now + SECOND_THOUGHT);
	TAILQ_REMOVE(&e->forwards, f, next);
	forward_free(f);
	engine_settle(e, now);
}

bool
engine_hold(struct engine *e, mstime now, const char *name, bool hold)
{
	struct forward *f = forward_find(e, name);

	if (f == NULL)
		return false;
	if (hold)
		f->holders++;
	else if (f->holders > 0)
		f->holders--;
	if (forward_wanted(f))
		attach_all(e, now, f);
	else
		let_go(e, now, f, now);
	engine_settle(e, now);
	return true;
}

void
forward_release_all(struct engine *e, mstime now)
{
	struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	{
		if (f->release_on_exit) {
			let_go(e, now, f, now);
			continue;
		}
		/* Kept: the lease goes on without us, and no packet is sent for it. */
		for (unsigned i = 0; i < f->n_units; i++)
			for (unsigned k = 0; k < f->count; k++)
				if (f->units[i].mappings[k].path != NULL)
					mapping_enter(&f->units[i].mappings[k], now,
					    f->units[i].mappings[k].state, MSTIME_NEVER);
	}
}
