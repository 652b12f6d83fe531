/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <string.h>

/*
 * Leases of an earlier run that nobody wants any more: a forward was taken out of the config while
 * the daemon was down, or it had been killed before it could release. The nonce is derived, so they
 * can still be deleted.
 */

/* A holder of an on-demand forward that survived a restart of the daemon has so long to come back.
 */
#define PATIENCE (10 * MSTIME_SECOND)

/* Is this mapping, or ghost, the remembered one? */
static bool
stands_for(const struct mapping *m, const struct memory_mapping *s)
{
	const struct netaddr *internal = mapping_internal(m);

	return m->protocol == s->protocol && m->internal_port == s->internal_port &&
	    m->count == s->count && (internal != NULL) == s->has_internal &&
	    (internal == NULL || netaddr_equal(internal, &s->internal));
}

/* Who asks for it now; NULL: nobody. */
static const struct mapping *
find_wanted(const struct path *p, const struct memory_mapping *s)
{
	const struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && stands_for(m, s))
		return m;
	return NULL;
}

static bool
is_ours(const struct path *p, const struct memory_mapping *s, mstime now)
{
	return s->expires > now && s->internal_port != 0 && path_allows(p, s->mapper) &&
	    memory_is_of(s, p);
}

/* It must go before what is wanted now can be asked for. */
static bool
in_the_way(const struct mapping *left)
{
	const struct mapping *m;

	TAILQ_FOREACH(m, &left->path->mappings, of_path)
	if (m->unit != NULL && portset_overlap(m, left))
		return true;
	return false;
}

static void
make_ghost(struct path *p, const struct memory_mapping *s, mstime now)
{
	struct engine *e = p->engine;
	struct ghost *ghost;
	struct ghost left = { .mapping = { .path = p,
				  .maker = s->mapper,
				  .protocol = s->protocol,
				  .internal_port = s->internal_port,
				  .external_port = s->external_port,
				  .count = s->count,
				  .wish = s->has_wish ? s->wish : s->external_port,
				  .external = netaddr_any4,
				  .expires = s->expires },
		.has_internal = s->has_internal,
		.internal = s->internal };
	struct nonce_key key = { .gateway = p->gateway->name,
		.interface = p->interface,
		.local = p->local,
		.third_party = s->has_internal ? s->internal : netaddr_any6,
		.family = p->family,
		.protocol = s->protocol,
		.internal_port = s->internal_port };

	e->io->nonce(e->ctx, &key, left.mapping.nonce);
	ghost = (struct ghost *)ghost_new(
	    &left.mapping, now, in_the_way(&left.mapping) ? now : now + PATIENCE);
	if (ghost != NULL)
		ghost->leftover = true;
}

void
leftover_release(struct path *p, mstime now)
{
	struct engine *e = p->engine;

	for (size_t i = 0; i < e->n_seen_mappings; i++) {
		struct memory_mapping *s = &e->seen_mappings[i];
		const struct mapping *m;

		if (!is_ours(p, s, now))
			continue;
		m = find_wanted(p, s);
		/* Another port is wanted: a gateway would only renew what it has. */
		if (m != NULL && !memory_moves(s, m))
			continue;
		make_ghost(p, s, now);
		s->expires = 0; /* from now on the ghost stands for it */
	}
}

static bool
is_leftover(const struct mapping *m)
{
	return m->unit == NULL && ((const struct ghost *)m)->leftover && m->tries == 0;
}

void
leftover_forget(struct path *p, mstime now, const struct mapping *wanted)
{
	struct mapping *m, *after;

	for (m = TAILQ_FIRST(&p->mappings); m != NULL; m = after) {
		bool same;

		after = TAILQ_NEXT(m, of_path);
		if (!is_leftover(m) || !portset_overlap(m, wanted))
			continue;
		same = m->internal_port == wanted->internal_port && m->count == wanted->count &&
		    memcmp(m->nonce, wanted->nonce, sizeof(m->nonce)) == 0;
		if (same && !mapping_moves(wanted, m->wish, m->external_port))
			ghost_free(m);
		else if (same || m->count > 1 || wanted->count > 1)
			mapping_enter(m, now, MAPPING_RELEASING, now);
	}
}

void
leftover_recheck(struct path *p)
{
	struct engine *e = p->engine;
	struct mapping *m, *after;

	for (m = TAILQ_FIRST(&p->mappings); m != NULL; m = after) {
		size_t i = 0;

		after = TAILQ_NEXT(m, of_path);
		while (is_leftover(m) && i < e->n_seen_mappings &&
		    !(stands_for(m, &e->seen_mappings[i]) &&
			!memory_is_of(&e->seen_mappings[i], p)))
			i++;
		if (!is_leftover(m) || i == e->n_seen_mappings)
			continue;
		e->seen_mappings[i].expires = m->expires;
		ghost_free(m);
	}
}
