/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

/*
 * Two config gateways may turn out to be one box: "default" and one that is named by its address,
 * say. There a port can be had once only, by the forward that came first; the other one is told so
 * and nothing is asked for it, until the first goes away or the routes part again. Within one
 * gateway the config is checked for this.
 */

/* Behind a NAT every host of the house has the same outside. */
static bool
meets_outside(const struct mapping *m, const struct mapping *n)
{
	uint16_t port = n->unit != NULL ? n->wish : n->external_port;

	return m->wish != 0 && port < m->wish + m->count && m->wish < port + n->count;
}

static bool
meets_inside(const struct mapping *m, const struct mapping *n)
{
	const struct netaddr *a = mapping_internal(m), *b = mapping_internal(n);

	return portset_overlap(m, n) &&
	    netaddr_equal(a != NULL ? a : &m->path->local, b != NULL ? b : &n->path->local);
}

static bool
meets(const struct mapping *m, const struct mapping *n)
{
	return m->protocol == n->protocol && (meets_outside(m, n) || meets_inside(m, n));
}

static bool
is_claimed(const struct mapping *n, mstime now)
{
	return n->unit != NULL && !n->unit->blocked && (n->path->present || mapping_leased(n, now));
}

const struct mapping *
rival_of(const struct mapping *m, mstime now)
{
	const struct path *p;
	const struct mapping *n;

	if (m->path == NULL)
		return NULL;
	TAILQ_FOREACH(p, &m->path->engine->paths, next)
	if (path_is_twin(p, m->path))
		TAILQ_FOREACH(n, &p->mappings, of_path)
	if (is_claimed(n, now) && meets(m, n))
		return n;
	return NULL;
}

/* The lease of a rival that is not wanted any more: it goes first, and at once. */
static struct mapping *
leaving(const struct mapping *m)
{
	const struct path *p;
	struct mapping *n;

	TAILQ_FOREACH(p, &m->path->engine->paths, next)
	if (path_is_twin(p, m->path) && p->present)
		TAILQ_FOREACH(n, &p->mappings, of_path)
	if (n->unit == NULL && meets(m, n))
		return n;
	return NULL;
}

bool
rival_leaves(const struct mapping *m)
{
	return leaving(m) != NULL;
}

bool
rival_is_leaving(const struct path *mine)
{
	const struct path *p;
	const struct mapping *n;

	TAILQ_FOREACH(p, &mine->engine->paths, next)
	if (path_is_twin(p, mine) && p->present)
		TAILQ_FOREACH(n, &p->mappings, of_path)
	if (n->unit == NULL)
		return true;
	return false;
}

/* Whoever has another nonce must not touch it. */
static bool
was_in_its_way(const struct mapping *m, const struct mapping *gone)
{
	return m->unit != NULL && m->state == MAPPING_FAILED &&
	    m->problem.trouble == TROUBLE_REFUSED && m->problem.mapper == MAPPER_PCP &&
	    m->problem.result == PCP_NOT_AUTHORIZED && m->protocol == gone->protocol &&
	    meets_inside(m, gone);
}

void
rival_gone(const struct mapping *gone, mstime now)
{
	struct path *p;
	struct mapping *m;

	TAILQ_FOREACH(p, &gone->path->engine->paths, next)
	if (path_is_twin(p, gone->path))
		TAILQ_FOREACH(m, &p->mappings, of_path)
	if (was_in_its_way(m, gone))
		mapping_enter(m, now, MAPPING_REQUESTING, now);
}

static bool
has_rival(const struct unit *u, mstime now)
{
	for (unsigned i = 0; i < u->forward->count; i++)
		if (rival_of(&u->mappings[i], now) != NULL)
			return true;
	return false;
}

void
rival_meet(struct unit *u, mstime now)
{
	if (u->blocked)
		return;
	for (unsigned i = 0; i < u->forward->count; i++)
		if (mapping_leased(&u->mappings[i], now))
			return;
	if (!has_rival(u, now))
		return;
	u->blocked = true;
	for (unsigned i = 0; i < u->forward->count; i++) {
		struct mapping *m = &u->mappings[i];

		m->problem = (struct problem){ .trouble = TROUBLE_DUPLICATE };
		m->decided = true;
		m->tries = 0;
		m->asked_pcp = m->asked_natpmp = m->open_pcp = false;
		if (u->path->exchange.mapping == m)
			u->path->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
		mapping_enter(m, now, MAPPING_FAILED, MSTIME_NEVER);
	}
}

static void
unblock(struct unit *u, mstime now)
{
	u->blocked = false;
	for (unsigned i = 0; i < u->forward->count; i++) {
		struct mapping *m = &u->mappings[i], *gone = leaving(m);

		m->problem = (struct problem){ .trouble = TROUBLE_NONE };
		mapping_enter(m, now, MAPPING_REQUESTING, now);
		if (gone != NULL && gone->due > now)
			mapping_enter(gone, now, MAPPING_RELEASING, now);
	}
	if (u->path->state == GATEWAY_UNUSED)
		path_reset_contact(u->path, now);
}

void
rival_age(struct engine *e, mstime now)
{
	struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++)
		if (f->units[i].blocked && !e->stopping && !has_rival(&f->units[i], now))
			unblock(&f->units[i], now);
}
