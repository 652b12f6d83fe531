/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <string.h>

/* Values for the status document: never pointers into live state, names excepted. */

/* It counts as ready until it has been silent for long: what is going on meanwhile is said, as the
 * mappings that it concerns say it. */
static struct problem
ready_problem(const struct path *p)
{
	const struct mapping *m;

	if (p->no_address)
		return (struct problem){ TROUBLE_NO_ADDRESS, p->mapper, 0 };
	if (p->outage && p->problem.trouble == TROUBLE_NONE)
		TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->problem.trouble == TROUBLE_SILENT)
		return m->problem;
	return p->problem;
}

void
path_status(const struct path *p, mstime now, struct gateway_status *out)
{
	unsigned d = dialect(p->mapper);
	const struct epoch *epoch = &p->epochs[d];

	*out = (struct gateway_status){ .name = p->gateway->name,
		.family = p->family,
		.state = p->state,
		.has_path = true,
		.path = p->number,
		.address = p->address,
		.interface = p->interface,
		.local = p->local,
		.mapper = p->mapper,
		.rtt_us = p->rtt_us,
		.reboots = p->reboots,
		.sent = p->sent,
		.problem = p->problem };
	out->has_external = path_external(p, now, &out->external);
	if (p->mapper != MAPPER_NONE && epoch->known) {
		out->has_epoch = true;
		out->epoch =
		    epoch->value + (epoch->unusable ? 0 : (uint32_t)((now - epoch->at) / 1000));
	}
	if (p->state == GATEWAY_READY)
		out->problem = ready_problem(p);
}

/* There may be a route, but not to the box that is meant. */
static void
explain_absence(const struct gateway *g, enum family family, struct problem *out)
{
	const struct path *p = g->current[family];

	if ((p == NULL || !p->present) && g->absence[family] != TROUBLE_NONE)
		*out = (struct problem){ .trouble = g->absence[family] };
}

void
mapping_status(const struct mapping *m, mstime now, struct mapping_status *out)
{
	const struct forward *f = m->unit->forward;
	bool leased = mapping_leased(m, now);

	*out = (struct mapping_status){ .forward = f->name,
		.gateway = f->gateway->name,
		.family = m->unit->family,
		.protocol = m->protocol,
		.internal_port = m->internal_port,
		.wanted_port = m->wish,
		.state = mapping_view(m, now),
		.expires = MSTIME_NEVER,
		.renews = MSTIME_NEVER,
		.retries = MSTIME_NEVER,
		.renewals = m->renewals,
		.changes = m->changes,
		.problem = m->problem };
	if (f->internal != NULL) {
		out->has_internal = true;
		out->internal = *f->internal;
	} else if (m->path != NULL) {
		out->has_internal = true;
		out->internal = m->path->local;
	}
	if (m->path != NULL) {
		out->has_gateway_address = true;
		out->gateway_address = m->path->address;
		out->interface = m->path->interface;
	}
	if (m->path != NULL && (leased || m->tries > 0))
		out->mapper = mapping_mapper(m, now);
	if (leased) {
		out->has_lease = true;
		out->has_external = mapping_external(m, &out->external);
		out->external_port = m->external_port;
		if (m->internal_port == 0)
			out->internal_port = m->external_port;
		out->lifetime = m->lifetime;
		out->expires = m->expires;
		out->renews = m->due;
	}
	if (out->state == MAPPING_FAILED)
		out->retries = m->due;
	if (m->unit->blocked) {
		const struct mapping *rival = rival_of(m, now);

		out->rival = rival != NULL ? rival->unit->forward->name : NULL;
		out->rival_gateway = rival != NULL ? rival->path->gateway->name : NULL;
	}
	if (leased && out->state == MAPPING_FAILED) {
		out->problem = (struct problem){ TROUBLE_NO_ADDRESS, MAPPER_NATPMP, 0 };
		out->retries = m->path->address_due;
	}
	if (m->path != NULL && out->state != MAPPING_ACTIVE && out->state != MAPPING_FAILED &&
	    m->path->problem.trouble != TROUBLE_NONE)
		out->problem = m->path->problem;
	if (out->state == MAPPING_WAITING)
		explain_absence(f->gateway, m->unit->family, &out->problem);
}

static bool
gateway_used(const struct engine *e, const struct gateway *g, enum family family)
{
	const struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	if (f->gateway == g && forward_wanted(f) && (family == FAMILY_IPV4 ? f->ipv4 : f->ipv6))
		return true;
	return false;
}

/* One row for each family that is used, and one at least. */
static bool
gateway_shown(const struct engine *e, const struct gateway *g, enum family family)
{
	return gateway_used(e, g, family) ||
	    (family == FAMILY_IPV4 && !gateway_used(e, g, FAMILY_IPV6));
}

bool
engine_gateway_status(const struct engine *e, mstime now, size_t i, struct gateway_status *out)
{
	const struct gateway *g;

	TAILQ_FOREACH(g, &e->gateways, next)
	for (unsigned k = 0; k < FAMILIES; k++) {
		enum family family = (enum family)k;
		bool used = gateway_used(e, g, family);

		if (!gateway_shown(e, g, family) || i-- != 0)
			continue;
		if (g->current[k] != NULL) {
			path_status(g->current[k], now, out);
		} else {
			*out = (struct gateway_status){ .name = g->name,
				.family = family,
				.state = GATEWAY_ABSENT,
				.rtt_us = -1 };
		}
		explain_absence(g, family, &out->problem);
		if (!used)
			out->state = GATEWAY_UNUSED;
		return true;
	}
	return false;
}

bool
engine_mapping_status(const struct engine *e, mstime now, size_t i, struct mapping_status *out)
{
	const struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	{
		if (i >= (size_t)f->n_units * f->count) {
			i -= (size_t)f->n_units * f->count;
			continue;
		}
		mapping_status(&f->units[i / f->count].mappings[i % f->count], now, out);
		return true;
	}
	return false;
}

void
engine_mapping_each(const struct engine *e, mstime now,
    void (*each)(void *ctx, const struct mapping_status *), void *ctx)
{
	const struct forward *f;
	struct mapping_status status;

	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++)
		for (unsigned k = 0; k < f->count; k++) {
			mapping_status(&f->units[i].mappings[k], now, &status);
			each(ctx, &status);
		}
}

uint64_t
engine_stamp(const struct engine *e)
{
	return e->stamp;
}

size_t
engine_unit(const struct engine *e, mstime now, const char *forward, enum family family,
    uint8_t protocol, struct mapping_status *first, uint16_t *ports, size_t n)
{
	const struct forward *f = forward_find(e, forward);

	for (unsigned i = 0; f != NULL && i < f->n_units; i++) {
		const struct unit *u = &f->units[i];

		if (u->family != family || u->protocol != protocol)
			continue;
		mapping_status(&u->mappings[0], now, first);
		for (unsigned k = 0; k < f->count && k < n; k++)
			ports[k] =
			    mapping_leased(&u->mappings[k], now) ? u->mappings[k].external_port : 0;
		return f->count;
	}
	return 0;
}

bool
engine_settled(const struct engine *e)
{
	const struct forward *f;

	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; !f->on_demand && i < f->n_units; i++)
		for (unsigned k = 0; k < f->count; k++)
			if (!f->units[i].mappings[k].decided)
				return false;
	return true;
}

/* ---- invariants ------------------------------------------------------------------------------ */

static const char *
check_mapping(const struct mapping *m, mstime now)
{
	if (m->unit == NULL)
		return m->state == MAPPING_RELEASING ? NULL : "a ghost that is not being released";
	if (m->path != m->unit->path)
		return "a mapping is not where its unit is";
	if ((m->path == NULL) != (m->state == MAPPING_WAITING))
		return "waiting does not fit the path";
	if (m->state == MAPPING_FAILED && m->due == MSTIME_NEVER && !m->unit->blocked)
		return "failed for ever";
	if (m->unit->blocked && (m->state != MAPPING_FAILED || mapping_leased(m, now)))
		return "blocked, but not failed";
	if (m->state == MAPPING_REQUESTING && m->due == MSTIME_NEVER && !m->path->engine->stopping)
		return "requesting without a deadline";
	if (m->state == MAPPING_ACTIVE && m->expires == 0)
		return "active without a lease";
	if (m->state == MAPPING_ACTIVE && !mapping_leased(m, now))
		return "active after its lease";
	if (m->state == MAPPING_ACTIVE && m->external_port == 0)
		return "active without a port";
	return NULL;
}

static const char *
check_path(const struct path *p, mstime now)
{
	const struct mapping *m;
	const char *broken;
	bool found = false;

	if (p->exchange.kind != EXCHANGE_NONE && !p->answered)
		return "an exchange before contact";
	if (p->exchange.kind == EXCHANGE_MAP && p->exchange.mapping == NULL)
		return "an exchange without its mapping";
	if (p->present && path_wanted(p) && path_preferred(p) != MAPPER_NONE &&
	    path_next(p) == MSTIME_NEVER && !p->engine->stopping &&
	    p->exchange.kind == EXCHANGE_NONE && !p->answered)
		return "a gateway that is not asked any more";
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		found |= p->exchange.mapping == m;
		broken = check_mapping(m, now);
		if (broken != NULL)
			return broken;
	}
	if (p->exchange.mapping != NULL && !found)
		return "an exchange for a mapping of another path";
	return NULL;
}

static const char *
check_set(const struct unit *u)
{
	const struct mapping *first = &u->mappings[0];

	if (first->carried || (first->count != 1 && first->count != u->forward->count))
		return "a set of another size than its unit";
	for (unsigned i = 1; i < u->forward->count; i++) {
		const struct mapping *m = &u->mappings[i];

		if (m->carried != (i < first->count) || m->count != 1)
			return "a mapping is neither its own nor in its set";
		if (m->carried && (m->path != first->path || m->expires != first->expires))
			return "a mapping does not show what its set has";
	}
	return NULL;
}

const char *
engine_check(const struct engine *e, mstime now)
{
	const struct path *p;
	const struct forward *f;
	const char *broken;

	TAILQ_FOREACH(p, &e->paths, next)
	{
		broken = check_path(p, now);
		if (broken != NULL)
			return broken;
	}
	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++) {
		const struct unit *u = &f->units[i];

		broken = check_set(u);
		if (broken != NULL)
			return broken;
		if (u->told_up && !unit_is_up(u, now) && now >= u->held_until)
			return "told as mapped, but it is not";
		if (!u->told_up && unit_is_up(u, now) && !e->stopping)
			return "mapped, but nobody was told";
	}
	return NULL;
}
