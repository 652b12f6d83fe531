/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Owns everything; every input ends in engine_settle(). */

uint32_t
engine_random(struct engine *e)
{
	uint32_t value;

	e->io->random(e->ctx, &value, sizeof(value));
	return value;
}

void
engine_trace(const struct engine *e, const char *what, uint32_t path, uint32_t a, uint32_t b)
{
	if (e->io->trace != NULL)
		e->io->trace(e->ctx, what, path, a, b);
}

struct engine *
engine_new(const struct engine_io *io, void *ctx, const struct engine_settings *settings)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->io = io;
	e->ctx = ctx;
	e->settings = *settings;
	e->stop_at = MSTIME_NEVER;
	TAILQ_INIT(&e->gateways);
	TAILQ_INIT(&e->paths);
	TAILQ_INIT(&e->forwards);
	return e;
}

void
engine_free(struct engine *e)
{
	struct forward *f;
	struct path *p;
	struct gateway *g;

	if (e == NULL)
		return;
	while ((p = TAILQ_FIRST(&e->paths)) != NULL)
		path_free(p);
	while ((f = TAILQ_FIRST(&e->forwards)) != NULL) {
		TAILQ_REMOVE(&e->forwards, f, next);
		forward_free(f);
	}
	while ((g = TAILQ_FIRST(&e->gateways)) != NULL) {
		TAILQ_REMOVE(&e->gateways, g, next);
		free(g->name);
		free(g);
	}
	free(e->seen_gateways);
	free(e->seen_mappings);
	free(e);
}

void
engine_configure(struct engine *e, const struct engine_settings *settings)
{
	e->settings = *settings;
}

/* A path that is nobody's way any more and has nothing left to release. */
static bool
path_is_over(const struct path *p)
{
	return p->gateway->current[p->family] != p && (!path_wanted(p) || !p->present);
}

static void
age(struct engine *e, mstime now)
{
	struct path *p, *after;
	struct mapping *m;

	rival_age(e, now);
	for (p = TAILQ_FIRST(&e->paths); p != NULL; p = after) {
		after = TAILQ_NEXT(p, next);
		TAILQ_FOREACH(m, &p->mappings, of_path)
		mapping_age(m, now);
		path_age(p, now);
		if (path_is_over(p)) {
			memory_keep(p);
			path_done(p);
			e->unsaved = true;
		}
	}
}

void
engine_note(struct engine *e, mstime now)
{
	e->stamp++;
	age(e, now);
	publish(e, now);
}

/* Whoever was kept from sending by the others has the first turn. */
static void
work(struct engine *e, mstime now)
{
	struct path *first = path_find(e, e->passed_over), *p;

	e->passed_over = 0;
	for (p = first; p != NULL; p = TAILQ_NEXT(p, next))
		path_work(p, now, p->heard == now);
	for (p = TAILQ_FIRST(&e->paths); p != first; p = TAILQ_NEXT(p, next))
		path_work(p, now, p->heard == now);
}

void
engine_settle(struct engine *e, mstime now)
{
	e->stamp++;
	age(e, now);
	work(e, now);
	age(e, now);
	publish(e, now);
}

void
engine_tick(struct engine *e, mstime now)
{
	engine_settle(e, now);
}

void
engine_datagram(struct engine *e, mstime now, uint32_t path, const void *bytes, size_t n)
{
	struct path *p = path_find(e, path);

	if (p == NULL || !p->present)
		return;
	portcontrol_input(p, now, bytes, n);
	p->measured_us = -1;
	engine_settle(e, now);
}

void
engine_round_trip(struct engine *e, uint32_t path, int32_t us)
{
	struct path *p = path_find(e, path);

	if (p != NULL)
		p->measured_us = us;
}

void
engine_unreachable(struct engine *e, mstime now, uint32_t path, enum unreachable what)
{
	struct path *p = path_find(e, path);

	if (p == NULL || !p->present)
		return;
	exchange_refused(p, now, what);
	engine_settle(e, now);
}

void
engine_announcement(struct engine *e, mstime now, unsigned ifindex, const struct netaddr *source,
    uint16_t port, const void *bytes, size_t n)
{
	struct path *p;

	/* Routers announce from their link-local address, whatever address is theirs. */
	TAILQ_FOREACH(p, &e->paths, next)
	if (p->present && p->ifindex == ifindex &&
	    (netaddr_equal(&p->address, source) ||
		(p->family == FAMILY_IPV6 && netaddr_is_linklocal(source) &&
		    !netaddr_is4(source))) &&
	    portcontrol_is_hint(p, now, port, bytes, n))
		path_hint(p, now);
	engine_settle(e, now);
}

unsigned
engine_renew(struct engine *e, mstime now, const char *name)
{
	struct path *p;
	struct mapping *m;
	unsigned n = 0;

	TAILQ_FOREACH(p, &e->paths, next)
	{
		bool any = false;

		/* Forwards that are named one after the other count as one renewal. */
		if (!p->present ||
		    (p->renewed_all >= 0 && now > p->renewed_all &&
			now < p->renewed_all + 10 * MSTIME_SECOND))
			continue;
		TAILQ_FOREACH(m, &p->mappings, of_path)
		{
			if (m->unit == NULL || m->unit->blocked ||
			    (name != NULL && strcmp(name, m->unit->forward->name) != 0))
				continue;
			n += m->count;
			any = true;
			if (m->state == MAPPING_ACTIVE)
				mapping_suspect(m, now, now);
			else
				mapping_enter(m, now, MAPPING_REQUESTING, now);
		}
		if (!any)
			continue;
		p->renewed_all = now;
		p->hold_until = now;
		if (!p->answered)
			path_reset_contact(p, now);
		else
			p->not_before = now;
	}
	engine_settle(e, now);
	return n;
}

/* ---- the end -------------------------------------------------------------------------------- */

void
engine_release_all(struct engine *e, mstime now)
{
	struct path *p;

	e->stopping = true;
	e->stop_at = now + (mstime)e->settings.release_timeout * MSTIME_SECOND;
	forward_release_all(e, now);
	TAILQ_FOREACH(p, &e->paths, next)
	{
		struct mapping *m;

		TAILQ_FOREACH(m, &p->mappings, of_path)
		if (m->unit == NULL && m->due > now + HEELS)
			mapping_enter(m, now, MAPPING_RELEASING, now);
		/* Whom nobody has heard for a while is told once, and not waited for. */
		if (p->outage || !p->answered)
			exchange_flush(p, now);
		else
			p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	}
	engine_settle(e, now);
}

bool
engine_drained(const struct engine *e)
{
	const struct path *p;
	const struct mapping *m;

	TAILQ_FOREACH(p, &e->paths, next)
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit == NULL && p->present)
		return false;
	return true;
}

mstime
engine_stop_deadline(const struct engine *e)
{
	return e->stop_at;
}

mstime
engine_next(const struct engine *e)
{
	const struct path *p;
	mstime t = publish_next(e);

	TAILQ_FOREACH(p, &e->paths, next)
	{
		mstime path = path_next(p), silence = path_age_next(p);
		const struct mapping *m;

		if (path < t)
			t = path;
		if (silence < t)
			t = silence;
		/* A refusal that ends is a change of state, even while nothing can be sent. */
		TAILQ_FOREACH(m, &p->mappings, of_path)
		{
			if (m->state == MAPPING_FAILED && m->due < t)
				t = m->due;
			t = earlier(t, ask_next(m));
		}
	}
	return t;
}
