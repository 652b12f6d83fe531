/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- paths come and go --------------------------------------------------------------------- */

static void
drop_ghosts(struct path *p)
{
	struct mapping *m, *after;

	for (m = TAILQ_FIRST(&p->mappings); m != NULL; m = after) {
		after = TAILQ_NEXT(m, of_path);
		if (m->unit == NULL)
			ghost_free(m);
	}
}

void
path_free(struct path *p)
{
	struct engine *e = p->engine;

	drop_ghosts(p);
	TAILQ_REMOVE(&e->paths, p, next);
	free(p);
}

void
path_done(struct path *p)
{
	const struct engine *e = p->engine;

	if (e->io->path_done != NULL)
		e->io->path_done(e->ctx, p->number);
	path_free(p);
}

static struct path *
path_new(struct engine *e, struct gateway *g, uint32_t number, const struct path_info *info)
{
	struct path *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->engine = e;
	p->gateway = g;
	p->number = number;
	p->family = info->family;
	p->ifindex = info->ifindex;
	strncpy(p->interface, info->interface, sizeof(p->interface) - 1);
	p->address = info->address;
	p->local = info->local;
	p->on_link = info->on_link;
	p->has_link_address = info->has_link_address;
	memcpy(p->link_address, info->link_address, sizeof(p->link_address));
	p->state = GATEWAY_UNUSED;
	p->contact.next[0] = p->contact.next[1] = MSTIME_NEVER;
	TAILQ_INIT(&p->mappings);
	path_forget(p);
	TAILQ_INSERT_TAIL(&e->paths, p, next);
	return p;
}

bool
path_is_twin(const struct path *p, const struct path *q)
{
	bool same_link = p->has_link_address && q->has_link_address &&
	    memcmp(p->link_address, q->link_address, sizeof(p->link_address)) == 0;

	return p->gateway != q->gateway && p->family == q->family &&
	    netaddr_equal(&p->address, &q->address) && (p->ifindex == q->ifindex || same_link);
}

/* The same way is back: what was due meanwhile is sent at once, with a fresh burst. */
static void
revive(struct path *p, mstime now)
{
	struct mapping *m;

	p->present = true;
	p->outage = false;
	p->misses = p->probes = 0;
	p->not_before = 0;
	p->silent_since = MSTIME_NEVER;
	if (p->answered)
		p->check_due = now;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && !m->unit->blocked &&
	    (m->state == MAPPING_REQUESTING || m->state == MAPPING_FAILED)) {
		mapping_enter(m, now, MAPPING_REQUESTING, now);
		if (m == m->unit->mappings)
			rival_meet(m->unit, now);
	}
	ask_event(p, now);
	path_enter(p, now, GATEWAY_PROBING);
	path_reset_contact(p, now);
}

int
engine_path_up(struct engine *e, mstime now, uint32_t number, const struct path_info *info)
{
	struct gateway *g = gateway_find(e, info->gateway);
	struct path *p = path_find(e, number), *old;

	if (g == NULL)
		return -ENOENT;
	old = g->current[info->family];
	if (p == NULL) {
		p = path_new(e, g, number, info);
		if (p == NULL)
			return -ENOMEM;
		p->present = true;
		memory_apply(e, p, now);
	} else if (!p->present) {
		revive(p, now);
	}
	/* The neighbour may have answered since. */
	if (info->has_link_address && !p->has_link_address) {
		p->has_link_address = true;
		memcpy(p->link_address, info->link_address, sizeof(p->link_address));
		leftover_recheck(p);
		e->unsaved = true;
	}
	g->current[info->family] = p;
	g->absence[info->family] = TROUBLE_NONE;
	if (old != p) {
		forward_follow(e, now, g, info->family);
		leftover_release(p, now);
		if (old != NULL) {
			if (!old->present)
				drop_ghosts(old);
			tell_gateway(p, now, EVENT_GATEWAY_CHANGED, NULL);
		}
		if (path_wanted(p) && p->state == GATEWAY_UNUSED)
			path_reset_contact(p, now);
		e->unsaved = true;
	}
	engine_settle(e, now);
	return 0;
}

void
engine_path_down(struct engine *e, mstime now, uint32_t number, enum path_loss loss)
{
	struct path *p = path_find(e, number);

	if (p == NULL)
		return;
	p->present = false;
	p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	drop_ghosts(p);
	path_enter(p, now, GATEWAY_ABSENT);
	if (loss == PATH_DEAD) {
		/* Leases that point to an address which is not ours any more are worth nothing;
		 * a new path in its place takes over within the hand-over time. */
		if (p->gateway->current[p->family] == p) {
			p->gateway->current[p->family] = NULL;
			forward_follow(e, now, p->gateway, p->family);
		}
	}
	engine_settle(e, now);
}

void
engine_gateway_absent(
    struct engine *e, mstime now, const char *name, enum family family, enum trouble why)
{
	struct gateway *g = gateway_find(e, name);

	if (g == NULL || g->absence[family] == why)
		return;
	g->absence[family] = why;
	engine_note(e, now);
}

/* ---- gateways of the config ---------------------------------------------------------------- */

/* Another choice of protocols: what one has refused the other may grant; leases stay with their
 * makers. */
static void
negotiate_anew(struct path *p, mstime now)
{
	struct mapping *m;

	path_forget(p);
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->state == MAPPING_FAILED && !m->unit->blocked) {
		m->refusals = 0;
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	}
	if (p->present)
		path_reset_contact(p, now);
}

int
engine_gateway(struct engine *e, mstime now, const struct gateway_spec *spec)
{
	struct gateway *g = gateway_find(e, spec->name);
	bool changed;

	if (g == NULL) {
		g = calloc(1, sizeof(*g));
		if (g == NULL || (g->name = strdup(spec->name)) == NULL) {
			free(g);
			return -ENOMEM;
		}
		TAILQ_INSERT_TAIL(&e->gateways, g, next);
	}
	changed = g->n_mappers != spec->n_mappers ||
	    memcmp(g->mappers, spec->mappers, spec->n_mappers * sizeof(g->mappers[0])) != 0;
	memcpy(g->mappers, spec->mappers, sizeof(g->mappers));
	g->n_mappers = spec->n_mappers;
	g->probe_interval = spec->probe_interval;
	for (unsigned i = 0; changed && i < FAMILIES; i++)
		if (g->current[i] != NULL && g->current[i]->state != GATEWAY_UNUSED)
			negotiate_anew(g->current[i], now);
	engine_settle(e, now);
	return 0;
}

void
engine_gateway_remove(struct engine *e, mstime now, const char *name)
{
	struct gateway *g = gateway_find(e, name);
	struct path *p, *after;

	if (g == NULL)
		return;
	for (p = TAILQ_FIRST(&e->paths); p != NULL; p = after) {
		after = TAILQ_NEXT(p, next);
		if (p->gateway != g)
			continue;
		path_done(p);
	}
	TAILQ_REMOVE(&e->gateways, g, next);
	free(g->name);
	free(g);
	engine_settle(e, now);
}
