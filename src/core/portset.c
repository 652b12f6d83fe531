/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <string.h>

/*
 * A range as one mapping: PCP's PORT_SET (RFC 7753). The first mapping of the unit stands for all
 * of them, has the only nonce and the only lease; the others are carried: they hang in no list, and
 * show what the first one has. A gateway that knows no sets is told once and gets single requests.
 */

bool
portset_overlap(const struct mapping *a, const struct mapping *b)
{
	return a->protocol == b->protocol && a->internal_port < b->internal_port + b->count &&
	    b->internal_port < a->internal_port + a->count;
}

/* A single lease of this range is there, or was when the last run ended: it stays a single one, so
 * that no set is asked for over it (P-108). */
static bool
has_single(const struct unit *u, mstime now)
{
	const struct mapping *ghost, *first = &u->mappings[0], *m;

	TAILQ_FOREACH(ghost, &u->path->mappings, of_path)
	{
		if (ghost->unit != NULL || ghost->count != 1 || !mapping_leased(ghost, now) ||
		    ghost->protocol != u->protocol || ghost->internal_port < first->internal_port ||
		    ghost->internal_port >= first->internal_port + u->forward->count)
			continue;
		m = &u->mappings[ghost->internal_port - first->internal_port];
		if (memcmp(ghost->nonce, m->nonce, sizeof(m->nonce)) == 0)
			return true;
	}
	return memory_single(u->path->engine, first, u->forward->count);
}

/* Is PCP what will be spoken, as far as is known? */
static bool
speaks_pcp(const struct path *p)
{
	return p->mapper == MAPPER_PCP ||
	    (p->mapper == MAPPER_NONE && p->contact.first != MAPPER_NATPMP &&
		path_preferred(p) == MAPPER_PCP);
}

void
portset_join(struct unit *u, mstime now)
{
	const struct forward *f = u->forward;

	if (f->count == 1 || f->require || u->path->singly || !speaks_pcp(u->path) ||
	    has_single(u, now))
		return;
	u->mappings[0].count = f->count;
	for (unsigned i = 1; i < f->count; i++)
		u->mappings[i].carried = true;
}

/* A lease goes on as single ones, until the gateway has been asked for each of them. */
static void
let_out(struct mapping *m, struct mapping *after, mstime now)
{
	m->carried = false;
	m->forgotten = after->forgotten;
	m->tries = m->refusals = 0;
	m->copies = m->asked_pcp = m->asked_natpmp = m->open_pcp = false;
	m->asked = m->before = 0;
	TAILQ_INSERT_AFTER(&m->path->mappings, after, m, of_path);
	if (m->unit->blocked)
		return;
	if (mapping_leased(m, now)) {
		m->suspect = true;
		mapping_enter(m, now, MAPPING_ACTIVE, now);
		return;
	}
	m->external_port = memory_port(m->path->engine, m);
	m->external = netaddr_any4;
	mapping_enter(m, now, MAPPING_REQUESTING, now);
}

void
portset_split(struct mapping *first, mstime now)
{
	struct unit *u = first->unit;
	unsigned count = first->count;

	portset_show(u);
	first->count = 1;
	for (unsigned i = 1; i < count; i++)
		let_out(&u->mappings[i], &u->mappings[i - 1], now);
}

/* From now on this gateway is asked for single ports; sets that it has granted live on. */
void
portset_refused(struct mapping *m, mstime now)
{
	struct path *p = m->path;
	struct mapping *each;

	p->singly = true;
	if (m->unit != NULL)
		portset_split(m, now);
	TAILQ_FOREACH(each, &p->mappings, of_path)
	if (each->unit != NULL && each->count > 1 && !mapping_leased(each, now) && each->tries == 0)
		portset_split(each, now);
}

/* People like numbers that are the same modulo 64: multiplied, they differ. */
static uint64_t
port_bit(const struct mapping *m)
{
	uint32_t key = m->internal_port * 2u + (m->protocol == PROTOCOL_TCP);

	return UINT64_C(1) << ((key * UINT32_C(2654435769)) >> 26);
}

void
portset_asked(const struct mapping *m, mstime now)
{
	struct path *p = m->path;

	if (p->set_asked < 0 || now - p->set_asked > LATE_ANSWER)
		p->set_ports = 0;
	p->set_ports |= port_bit(m);
	p->set_asked = now;
}

/* An answer with a set to a request without may be a late one to a request with it. But there are
 * boxes which have the set since another life, and say so to whatever is asked. */
bool
portset_stale(const struct mapping *m, mstime now, const struct answer *a)
{
	return a->result == 0 && m->count == 1 && a->set_size > 1 && m->path->set_asked >= 0 &&
	    now - m->path->set_asked <= LATE_ANSWER && (m->path->set_ports & port_bit(m)) != 0;
}

bool
portset_granted(const struct mapping *m, const struct answer *a)
{
	if (m->count == 1)
		return true;
	return a->set_size == m->count && a->set_first == m->internal_port &&
	    a->external_port + m->count <= 65536;
}

void
portset_show(struct unit *u)
{
	const struct mapping *first = &u->mappings[0];

	for (unsigned i = 1; i < first->count; i++) {
		struct mapping *m = &u->mappings[i];

		m->state = first->state;
		m->maker = first->maker;
		m->external_port =
		    first->external_port != 0 ? (uint16_t)(first->external_port + i) : 0;
		m->external = first->external;
		m->lifetime = first->lifetime;
		m->expires = first->expires;
		m->due = first->due;
		m->tries = first->tries;
		m->problem = first->problem;
		m->decided = first->decided;
		m->renewed = first->renewed;
		m->renewals = first->renewals;
	}
}

void
portset_part(struct unit *u)
{
	for (unsigned i = 0; i < u->forward->count; i++) {
		u->mappings[i].count = 1;
		u->mappings[i].carried = false;
	}
}
