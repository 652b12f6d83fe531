/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/natpmp.h"

/*
 * Every input ends here: what is, is compared with what was last told. Nobody else sends a
 * mapping event for a change of state, so none can be forgotten.
 */

/* The external address of a lease, as far as it is known. */
bool
mapping_external(const struct mapping *m, struct netaddr *out)
{
	if (m->maker == MAPPER_PCP) {
		*out = m->external;
		return !netaddr_is_any(&m->external);
	}
	*out = m->path != NULL && m->path->has_external ? m->path->external : netaddr_any4;
	return m->path != NULL && m->path->has_external;
}

enum mapping_state
mapping_view(const struct mapping *m, mstime now)
{
	bool leased = mapping_leased(m, now);

	if (m->unit == NULL)
		return MAPPING_RELEASING;
	if (!forward_wanted(m->unit->forward))
		return MAPPING_IDLE;
	if (m->path == NULL || (!m->path->present && !leased))
		return MAPPING_WAITING;
	if (leased && m->maker == MAPPER_NATPMP && m->path->no_address)
		return MAPPING_FAILED;
	if (m->path->state == GATEWAY_UNSUPPORTED && m->state == MAPPING_REQUESTING)
		return MAPPING_WAITING;
	if (m->state == MAPPING_ACTIVE && ask_waits_for_partner(m->unit, now))
		return MAPPING_REQUESTING;
	return m->state;
}

bool
unit_is_up(const struct unit *u, mstime now)
{
	for (unsigned i = 0; i < u->forward->count; i++) {
		const struct mapping *m = &u->mappings[i];

		if (m->state != MAPPING_ACTIVE || !mapping_leased(m, now) ||
		    mapping_view(m, now) != MAPPING_ACTIVE)
			return false;
	}
	return true;
}

static bool
unit_differs(const struct unit *u, const struct netaddr *external)
{
	if (!netaddr_equal(external, &u->told_external) && !netaddr_is_any(external))
		return true;
	for (unsigned i = 0; i < u->forward->count; i++)
		if (u->mappings[i].external_port != u->mappings[i].told_port)
			return true;
	return false;
}

static void
remember_told(struct unit *u, const struct netaddr *external)
{
	u->told_external = *external;
	for (unsigned i = 0; i < u->forward->count; i++)
		u->mappings[i].told_port = u->mappings[i].external_port;
}

/* The new lease is there: the one on the path before may be released. */
static void
hand_over_done(struct engine *e, mstime now, const struct unit *u)
{
	struct path *p;
	struct mapping *m;

	TAILQ_FOREACH(p, &e->paths, next)
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit == NULL && p != u->path && m->due > now && m->protocol == u->protocol)
		mapping_enter(m, now, MAPPING_RELEASING, now);
}

/* The ports of a range are renewed one by one; it is told when each of them was. */
static bool
all_renewed(const struct unit *u)
{
	for (unsigned i = 0; i < u->forward->count; i++)
		if (!u->mappings[i].renewed)
			return false;
	return true;
}

/* What there was to be said of a restart of the gateway is said. */
static void
remembered(struct unit *u)
{
	for (unsigned i = 0; i < u->forward->count; i++)
		u->mappings[i].forgotten = false;
}

static void
publish_up(struct engine *e, mstime now, struct unit *u)
{
	struct mapping *first = &u->mappings[0];
	struct netaddr external, old = u->told_external;
	uint16_t old_port = first->told_port, ports = u->forward->count;
	bool renewed = all_renewed(u), changed;

	(void)mapping_external(first, &external);
	if (u->held_until != 0) {
		hand_over_done(e, now, u);
		renewed = true; /* by another lease: the inside may be new, and gateway or mapper */
	}
	u->held_until = 0;
	u->told_failed = false;
	u->pairs = false;
	for (unsigned i = 0; renewed && i < u->forward->count; i++)
		u->mappings[i].renewed = false;
	if (!u->told_up) {
		u->told_up = true;
		remember_told(u, &external);
		tell_mapping(e, now, first, EVENT_MAPPED, ports, NULL, 0);
		remembered(u);
		return;
	}
	changed = unit_differs(u, &external);
	if (changed) {
		bool address_came = netaddr_is_any(&old) && old_port == first->external_port;

		for (unsigned i = 0; i < u->forward->count; i++)
			u->mappings[i].changes += !address_came;
		remember_told(u, &external);
		e->unsaved = true;
		tell_mapping(e, now, first, EVENT_CHANGED, ports, &old, old_port);
		if (!address_came)
			remembered(u);
	} else if (renewed) {
		tell_mapping(e, now, first, EVENT_RENEWED, ports, NULL, 0);
		remembered(u);
	}
}

static struct mapping *
first_failed(struct unit *u, mstime now)
{
	for (unsigned i = 0; i < u->forward->count; i++)
		if (mapping_view(&u->mappings[i], now) == MAPPING_FAILED)
			return &u->mappings[i];
	return NULL;
}

/* Why, as it is shown. Without an address it is one reason, whether the gateway says so when it is
 * asked for that, or for the mapping. */
static struct problem
reason(const struct mapping *m, mstime now)
{
	const struct problem no_address = { TROUBLE_NO_ADDRESS, MAPPER_NONE, 0 };
	struct mapping_status s;

	mapping_status(m, now, &s);
	if (s.problem.trouble == TROUBLE_REFUSED &&
	    s.problem.result ==
		(s.problem.mapper == MAPPER_PCP ? PCP_NETWORK_FAILURE : NATPMP_NETWORK_FAILURE))
		return no_address;
	return s.problem;
}

static void
publish_down(struct engine *e, mstime now, struct unit *u)
{
	struct mapping *first = &u->mappings[0], *failed = first_failed(u, now);
	struct problem why;

	if (u->told_up) {
		uint16_t old_port = first->told_port;

		if (now < u->held_until && failed == NULL)
			return;
		u->told_up = false;
		tell_mapping(
		    e, now, first, EVENT_LOST, u->forward->count, &u->told_external, old_port);
	}
	u->held_until = 0;
	if (failed == NULL)
		return;
	why = reason(failed, now);
	if (u->told_failed && u->told_trouble == why.trouble && u->told_result == why.result)
		return;
	u->told_failed = true;
	u->told_trouble = (uint8_t)why.trouble;
	u->told_result = why.result;
	tell_mapping(e, now, failed, EVENT_FAILED, u->forward->count, NULL, 0);
}

static void
publish_path(struct path *p, mstime now)
{
	struct netaddr external, old = p->told_external;

	if (!path_external(p, now, &external) || netaddr_equal(&external, &p->told_external))
		return;
	p->told_external = external;
	tell_gateway(p, now, EVENT_ADDRESS_CHANGED, p->told_address ? &old : NULL);
	p->told_address = true;
}

void
publish(struct engine *e, mstime now)
{
	struct forward *f;
	struct path *p;

	TAILQ_FOREACH(p, &e->paths, next)
	publish_path(p, now);
	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++)
		portset_show(&f->units[i]);
	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++) {
		ask_publish(&f->units[i], now);
		if (unit_is_up(&f->units[i], now))
			publish_up(e, now, &f->units[i]);
		else
			publish_down(e, now, &f->units[i]);
	}
	if (e->unsaved && e->io->save != NULL)
		e->io->save(e->ctx);
	e->unsaved = false;
}

/* Honesty has its own alarm: the end of every lease that was told, and of every hand-over. */
mstime
publish_next(const struct engine *e)
{
	const struct forward *f;
	mstime t = MSTIME_NEVER;

	TAILQ_FOREACH(f, &e->forwards, next)
	for (unsigned i = 0; i < f->n_units; i++) {
		const struct unit *u = &f->units[i];

		if (u->held_until != 0 && u->told_up && u->held_until < t)
			t = u->held_until;
		if (u->pair_until != 0 && u->pair_until < t)
			t = u->pair_until;
		for (unsigned k = 0; k < f->count; k++)
			if (u->mappings[k].expires != 0 && u->mappings[k].expires < t)
				t = u->mappings[k].expires;
	}
	return t;
}

/* ---- telling -------------------------------------------------------------------------------- */

static bool
scattered(const struct unit *u)
{
	for (unsigned i = 1; i < u->forward->count; i++)
		if (u->mappings[i].external_port != u->mappings[0].external_port + i)
			return true;
	return false;
}

void
tell_mapping(struct engine *e, mstime now, const struct mapping *m, enum engine_event_kind kind,
    uint16_t ports, const struct netaddr *old, uint16_t old_port)
{
	struct mapping_status status;
	struct engine_event event = { .kind = kind,
		.mapping = &status,
		.ports = ports,
		.again = kind == EVENT_RENEWED && m->forgotten,
		.has_old = old != NULL,
		.old_external_port = old_port };

	if (e->io->event == NULL)
		return;
	mapping_status(m, now, &status);
	if (kind == EVENT_RELEASED)
		status.state = MAPPING_RELEASING;
	/* The event is about all of the range, whichever of its ports is refused. */
	if (kind == EVENT_FAILED && m->internal_port != 0) {
		status.internal_port = m->unit->mappings[0].internal_port;
		status.wanted_port = m->unit->mappings[0].wish;
	}
	event.scattered = scattered(m->unit);
	if (old != NULL)
		event.old_external = *old;
	e->io->event(e->ctx, &event);
}

void
tell_gateway(struct path *p, mstime now, enum engine_event_kind kind, const struct netaddr *old)
{
	struct gateway_status status;
	struct engine_event event = { .kind = kind, .gateway = &status, .has_old = old != NULL };

	if (p->engine->io->event == NULL)
		return;
	path_status(p, now, &status);
	if (old != NULL)
		event.old_external = *old;
	p->engine->io->event(p->engine->ctx, &event);
}
