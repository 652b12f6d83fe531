/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

/* What an earlier run, or an earlier path, knew. Hints: they make the first question a better one.
 */

#define GATEWAYS_MAX 64u
#define MAPPINGS_MAX 70000u

static void
copy_name(char *to, size_t room, const char *from)
{
	size_t n = strlen(from);

	if (n >= room)
		n = room - 1;
	memcpy(to, from, n);
	to[n] = '\0';
}

/* An address of a home network says little; the box's own address tells it from others. */
static bool
other_link(bool known, const uint8_t link[6], const struct path *p)
{
	return known && p->has_link_address &&
	    memcmp(link, p->link_address, sizeof(p->link_address)) != 0;
}

static bool
same_box(const struct memory_gateway *s, const struct path *p)
{
	return s->family == p->family && netaddr_equal(&s->address, &p->address) &&
	    strcmp(s->gateway, p->gateway->name) == 0 && strcmp(s->interface, p->interface) == 0 &&
	    !other_link(s->has_link_address, s->link_address, p);
}

static bool
same_host(const struct memory_mapping *s, const struct mapping *m)
{
	const struct path *p = m->path;
	const struct netaddr *internal = mapping_internal(m);

	return s->protocol == m->protocol && s->family == p->family &&
	    strcmp(s->gateway, p->gateway->name) == 0 && s->has_internal == (internal != NULL) &&
	    (internal == NULL || netaddr_equal(internal, &s->internal));
}

static bool
same_key(const struct memory_mapping *s, const struct mapping *m)
{
	return s->internal_port == m->internal_port && same_host(s, m);
}

bool
memory_is_of(const struct memory_mapping *s, const struct path *p)
{
	return s->family == p->family && netaddr_equal(&s->address, &p->address) &&
	    netaddr_equal(&s->local, &p->local) && strcmp(s->interface, p->interface) == 0 &&
	    strcmp(s->gateway, p->gateway->name) == 0 &&
	    !other_link(s->has_link_address, s->link_address, p);
}

bool
memory_moves(const struct memory_mapping *s, const struct mapping *m)
{
	return s->has_wish && mapping_moves(m, s->wish, s->external_port);
}

void
memory_apply(struct engine *e, struct path *p, mstime now)
{
	for (size_t i = 0; i < e->n_seen_gateways; i++) {
		const struct memory_gateway *s = &e->seen_gateways[i];

		if (!same_box(s, p) || s->mapper == MAPPER_NONE || !path_allows(p, s->mapper))
			continue;
		p->answered = true;
		p->mapper = s->mapper;
		p->pcp_spoken = s->pcp_spoken;
		for (unsigned d = 0; d < 2; d++)
			p->epochs[d] =
			    (struct epoch){ .known = s->has_epoch[d] && s->epoch_at[d] <= now,
				    .value = s->epoch[d],
				    .at = s->epoch_at[d],
				    .same_at = s->epoch_at[d] };
		/* Sooner than the usual hour: this is only what once was. */
		if (p->mapper == MAPPER_NATPMP && path_allows(p, MAPPER_PCP) &&
		    path_preferred(p) == MAPPER_PCP)
			p->pcp_again = now + (p->pcp_spoken ? 60 : 3600) * MSTIME_SECOND;
		return;
	}
}

/* The port last granted for this mapping: on the same path while its lease may live, so that
 * it is renewed in place, unless another is wanted now; elsewhere only if any port will do. */
uint16_t
memory_port(const struct engine *e, const struct mapping *m)
{
	uint16_t port = 0;

	for (size_t i = 0; i < e->n_seen_mappings; i++) {
		const struct memory_mapping *s = &e->seen_mappings[i];

		if (!same_key(s, m))
			continue;
		if (memory_is_of(s, m->path) && !memory_moves(s, m))
			return s->external_port;
		if (m->wish == 0)
			port = s->external_port;
	}
	return port;
}

bool
memory_single(const struct engine *e, const struct mapping *first, unsigned count)
{
	for (size_t i = 0; i < e->n_seen_mappings; i++) {
		const struct memory_mapping *s = &e->seen_mappings[i];

		if (s->count == 1 && same_host(s, first) &&
		    s->internal_port >= first->internal_port &&
		    s->internal_port < first->internal_port + count && memory_is_of(s, first->path))
			return true;
	}
	return false;
}

mstime
memory_blocker(const struct engine *e, const struct mapping *m)
{
	mstime end = 0;

	for (size_t i = 0; m->wish != 0 && i < e->n_seen_mappings; i++) {
		const struct memory_mapping *s = &e->seen_mappings[i];

		if (same_key(s, m) && s->external_port == m->wish &&
		    netaddr_equal(&s->address, &m->path->address) &&
		    !other_link(s->has_link_address, s->link_address, m->path) &&
		    !netaddr_equal(&s->local, &m->path->local))
			end = later(end, s->expires);
	}
	return end;
}

static void
fill_gateway(const struct path *p, struct memory_gateway *out)
{
	*out = (struct memory_gateway){ .family = p->family,
		.address = p->address,
		.local = p->local,
		.has_link_address = p->has_link_address,
		.mapper = p->mapper,
		.pcp_spoken = p->pcp_spoken };
	copy_name(out->gateway, sizeof(out->gateway), p->gateway->name);
	copy_name(out->interface, sizeof(out->interface), p->interface);
	memcpy(out->link_address, p->link_address, sizeof(out->link_address));
	for (unsigned d = 0; d < 2; d++) {
		out->has_epoch[d] = p->epochs[d].known && !p->epochs[d].unusable;
		out->epoch[d] = p->epochs[d].value;
		out->epoch_at[d] = p->epochs[d].at;
	}
}

static void
fill_mapping(const struct mapping *m, struct memory_mapping *out)
{
	const struct path *p = m->path;
	const struct netaddr *internal = mapping_internal(m);

	*out = (struct memory_mapping){ .family = p->family,
		.address = p->address,
		.local = p->local,
		.has_link_address = p->has_link_address,
		.mapper = m->maker,
		.protocol = m->protocol,
		.has_internal = internal != NULL,
		.internal_port = m->internal_port,
		.external_port = m->external_port,
		.count = m->count,
		.has_wish = true,
		.wish = m->wish,
		.expires = m->expires };
	copy_name(out->gateway, sizeof(out->gateway), p->gateway->name);
	copy_name(out->interface, sizeof(out->interface), p->interface);
	memcpy(out->link_address, p->link_address, sizeof(out->link_address));
	copy_name(
	    out->forward, sizeof(out->forward), m->unit != NULL ? m->unit->forward->name : "");
	if (internal != NULL)
		out->internal = *internal;
	(void)mapping_external(m, &out->external);
}

/* Newest last; the oldest makes room. */
static bool
keep_gateway(struct engine *e, const struct memory_gateway *g)
{
	struct memory_gateway *grown;
	size_t n = e->n_seen_gateways;

	for (size_t i = 0; i < n; i++) {
		struct memory_gateway *s = &e->seen_gateways[i];

		if (s->family == g->family && netaddr_equal(&s->address, &g->address) &&
		    strcmp(s->gateway, g->gateway) == 0 &&
		    strcmp(s->interface, g->interface) == 0) {
			*s = *g;
			return true;
		}
	}
	if (n >= GATEWAYS_MAX) {
		memmove(&e->seen_gateways[0], &e->seen_gateways[1],
		    (n - 1) * sizeof(*e->seen_gateways));
		e->seen_gateways[n - 1] = *g;
		return true;
	}
	grown = realloc(e->seen_gateways, (n + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	e->seen_gateways = grown;
	grown[e->n_seen_gateways++] = *g;
	return true;
}

void
memory_keep(struct path *p)
{
	struct memory_gateway g;

	if (!p->answered || p->mapper == MAPPER_NONE)
		return;
	fill_gateway(p, &g);
	(void)keep_gateway(p->engine, &g);
}

bool
engine_remember_gateway(struct engine *e, mstime now, const struct memory_gateway *g)
{
	(void)now;
	return keep_gateway(e, g);
}

bool
engine_remember_mapping(struct engine *e, mstime now, const struct memory_mapping *m)
{
	struct memory_mapping *grown;

	(void)now;
	if (e->n_seen_mappings >= MAPPINGS_MAX)
		return false;
	grown = realloc(e->seen_mappings, (e->n_seen_mappings + 1) * sizeof(*grown));
	if (grown == NULL)
		return false;
	e->seen_mappings = grown;
	grown[e->n_seen_mappings] = *m;
	if (m->count == 0)
		grown[e->n_seen_mappings].count = 1;
	e->n_seen_mappings++;
	return true;
}

/* ---- telling ------------------------------------------------------------------------------- */

static bool
is_live(const struct engine *e, const struct memory_gateway *s)
{
	const struct path *p;

	TAILQ_FOREACH(p, &e->paths, next)
	if (p->answered && p->mapper != MAPPER_NONE && same_box(s, p))
		return true;
	return false;
}

/* A remembered lease counts until its path is there again and says better. */
static bool
is_stale(const struct engine *e, const struct memory_mapping *s)
{
	const struct path *p;

	TAILQ_FOREACH(p, &e->paths, next)
	if (memory_is_of(s, p) && p->heard >= 0)
		return true;
	return false;
}

/* One that has ended is still a suggestion for the mapping that had it, as long as that is without
 * a lease. Nothing else of it is kept, or the file would grow with every network ever seen. */
static bool
is_suggestion(const struct engine *e, const struct memory_mapping *s)
{
	const struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; strcmp(f->name, s->forward) == 0 && i < f->n_units; i++) {
		const struct unit *u = &f->units[i];

		if (u->family == s->family && u->protocol == s->protocol &&
		    s->internal_port >= f->internal_port &&
		    s->internal_port < f->internal_port + f->count &&
		    u->mappings[s->internal_port - f->internal_port].expires == 0)
			return true;
	}
	return false;
}

static void
tell_gateways(const struct engine *e, const struct memory_listener *to, void *ctx)
{
	struct memory_gateway g;
	const struct path *p;

	TAILQ_FOREACH(p, &e->paths, next)
	if (p->answered && p->mapper != MAPPER_NONE) {
		fill_gateway(p, &g);
		to->gateway(ctx, &g);
	}
	for (size_t i = 0; i < e->n_seen_gateways; i++)
		if (!is_live(e, &e->seen_gateways[i]))
			to->gateway(ctx, &e->seen_gateways[i]);
}

void
engine_memory_each(const struct engine *e, mstime now, const struct memory_listener *to, void *ctx)
{
	struct memory_mapping told;
	const struct path *p;
	const struct mapping *m;

	tell_gateways(e, to, ctx);
	TAILQ_FOREACH(p, &e->paths, next)
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->expires != 0) {
		fill_mapping(m, &told);
		to->mapping(ctx, &told);
	}
	for (size_t i = 0; i < e->n_seen_mappings; i++) {
		const struct memory_mapping *s = &e->seen_mappings[i];

		if (!is_stale(e, s) && (s->expires > now || is_suggestion(e, s)))
			to->mapping(ctx, s);
	}
}
