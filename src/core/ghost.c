/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <assert.h>
#include <stdlib.h>

/* Mappings that nobody wants any more: they wait on their path to be deleted. */

struct mapping *
ghost_new(const struct mapping *m, mstime now, mstime due)
{
	const struct netaddr *internal = mapping_internal(m);
	struct ghost *g = calloc(1, sizeof(*g));
	struct mapping *ghost;

	assert(m->path != NULL);
	/* Nothing can be done without memory: the lease will end by itself. */
	if (g == NULL)
		return NULL;
	ghost = &g->mapping;
	*ghost = *m;
	g->remotes = mapping_remotes(m);
	g->renews = m->state == MAPPING_ACTIVE ? m->due : now;
	g->has_internal = internal != NULL;
	if (internal != NULL)
		g->internal = *internal;
	ghost->unit = NULL;
	ghost->suspect = ghost->shortens = false;
	/* Whoever takes it over must know that it cannot be renewed. */
	if (ghost->move != MOVE_SAME)
		ghost->move = MOVE_NOT;
	ghost->tries = 0;
	TAILQ_INSERT_TAIL(&m->path->mappings, ghost, of_path);
	mapping_enter(ghost, now, MAPPING_RELEASING, due);
	return ghost;
}

void
ghost_free(struct mapping *ghost)
{
	struct path *p = ghost->path;

	assert(ghost->unit == NULL);
	if (p->exchange.mapping == ghost)
		p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	TAILQ_REMOVE(&p->mappings, ghost, of_path);
	p->engine->unsaved = true;
	free((struct ghost *)ghost);
}

/*
 * Some firewalls refuse to renew a pinhole, and after a restart of ours a first request is
 * a renewal to them. What may be there from an earlier life is deleted just before it is asked for
 * again; once, unless it is a copy of the request that was refused: else the router is full.
 */
void
ghost_guess(struct mapping *m, mstime now, const struct problem *why)
{
	bool once_more = !m->guessed || m->contested;
	struct mapping *ghost = NULL;

	if (m->path->family == FAMILY_IPV6 && why->trouble == TROUBLE_REFUSED &&
	    why->mapper == MAPPER_PCP && why->result == PCP_NO_RESOURCES && once_more &&
	    !mapping_blocked(m))
		ghost = ghost_new(m, now, m->due);
	if (ghost == NULL)
		return;
	m->guessed = false; /* until that is deleted, too */
	ghost->maker = MAPPER_PCP;
	((struct ghost *)ghost)->guess = true;
}

/* The delete was answered: there is nothing left of an earlier life. */
void
ghost_guessed(const struct mapping *ghost)
{
	struct mapping *m;

	if (!((const struct ghost *)ghost)->guess)
		return;
	TAILQ_FOREACH(m, &ghost->path->mappings, of_path)
	if (m->unit != NULL && portset_overlap(m, ghost))
		m->guessed = true;
}

/* Its grant was overtaken by the refusal of a copy: there is nothing to be deleted. */
void
ghost_drop_guess(struct mapping *m, mstime now)
{
	struct mapping *ghost = mapping_blocker(m, MAPPER_NONE);

	if (ghost != NULL && ghost->tries == 0 && ((struct ghost *)ghost)->guess &&
	    mapping_contested(m, now))
		ghost_free(ghost);
}
