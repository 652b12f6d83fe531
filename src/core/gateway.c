/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE (60 * MSTIME_SECOND)

/* Unanswered for so long, it is called silent. */
#define SILENCE (10 * MSTIME_SECOND)

struct gateway *
gateway_find(const struct engine *e, const char *name)
{
	struct gateway *g;

	TAILQ_FOREACH(g, &e->gateways, next)
	if (strcmp(g->name, name) == 0)
		return g;
	return NULL;
}

struct path *
path_find(const struct engine *e, uint32_t number)
{
	struct path *p;

	TAILQ_FOREACH(p, &e->paths, next)
	if (p->number == number)
		return p;
	return NULL;
}

unsigned
dialect(enum mapper mapper)
{
	return mapper == MAPPER_PCP ? 0 : 1;
}

/* May this protocol be spoken here? NAT-PMP is for IPv4, and SHOULD be for private addresses only
 * (P-3), unless the config allows nothing else. */
bool
path_allows(const struct path *p, enum mapper mapper)
{
	const struct gateway *g = p->gateway;
	bool listed = false, pcp = false;

	for (unsigned i = 0; i < g->n_mappers; i++) {
		listed |= g->mappers[i] == mapper;
		pcp |= g->mappers[i] == MAPPER_PCP;
	}
	if (!listed || mapper == MAPPER_UPNP)
		return false;
	if (mapper == MAPPER_PCP)
		return true;
	if (p->family != FAMILY_IPV4 || !netaddr_is4(&p->address))
		return false;
	return !pcp || netaddr_is_loopback(&p->local) ||
	    netaddr_classify(&p->local) == NETADDR_PRIVATE;
}

enum mapper
path_preferred(const struct path *p)
{
	for (unsigned i = 0; i < p->gateway->n_mappers; i++)
		if (path_allows(p, p->gateway->mappers[i]))
			return p->gateway->mappers[i];
	return MAPPER_NONE;
}

bool
path_wanted(const struct path *p)
{
	const struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit == NULL || !m->unit->blocked)
		return true;
	return false;
}

bool
path_needs_address(const struct path *p, mstime now)
{
	const struct mapping *m;

	if (p->mapper == MAPPER_NATPMP)
		return true;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->maker == MAPPER_NATPMP && mapping_leased(m, now))
		return true;
	return false;
}

bool
path_external(const struct path *p, mstime now, struct netaddr *out)
{
	const struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->maker == MAPPER_PCP && mapping_leased(m, now) &&
	    !netaddr_is_any(&m->external)) {
		*out = m->external;
		return true;
	}
	if (!p->has_external || p->no_address)
		return false;
	*out = p->external;
	return true;
}

void
path_enter(struct path *p, mstime now, enum gateway_state state)
{
	if (p->state == state)
		return;
	engine_trace(p->engine, gateway_state_name(state), p->number, (uint32_t)p->state, 0);
	p->state = state;
	if (state == GATEWAY_READY) {
		p->problem = (struct problem){ .trouble = TROUBLE_NONE };
		if (!p->told_ready || p->told_silent)
			tell_gateway(p, now, EVENT_GATEWAY_READY, NULL);
		p->told_ready = true;
		p->told_silent = false;
	} else if (state == GATEWAY_SILENT || state == GATEWAY_UNSUPPORTED) {
		if (!p->told_silent)
			tell_gateway(p, now, EVENT_GATEWAY_SILENT, NULL);
		p->told_silent = true;
	}
}

void
path_reset_contact(struct path *p, mstime now)
{
	struct contact *c = &p->contact;
	enum mapper first = path_preferred(p);

	*c = (struct contact){ .next = { MSTIME_NEVER, MSTIME_NEVER } };
	if (first == MAPPER_NONE) {
		p->problem = (struct problem){ .trouble = TROUBLE_UNSUPPORTED };
		path_enter(p, now, GATEWAY_UNSUPPORTED);
		return;
	}
	c->next[dialect(first)] = now;
	p->not_before = now;
	/* Its silence of long ago is not this one's. */
	if (p->state == GATEWAY_UNUSED && now - p->last_sent > HEELS)
		p->silent_since = MSTIME_NEVER;
	if (p->state == GATEWAY_UNUSED || p->state == GATEWAY_ABSENT)
		path_enter(p, now, GATEWAY_PROBING);
}

void
path_forget(struct path *p)
{
	p->mapper = MAPPER_NONE;
	p->answered = p->pcp_spoken = p->announce_works = p->announce_deaf = false;
	p->plain = p->indulgent = p->singly = false;
	p->address_misses = p->announce_misses = p->announce_lost = 0;
	p->pcp_again = MSTIME_NEVER;
	p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	memset(p->epochs, 0, sizeof(p->epochs));
	p->asked[0] = p->asked[1] = false;
	p->unlearned[0] = p->unlearned[1] = p->unheard[0] = p->unheard[1] = 0;
	p->set_asked = p->last_delete = p->heard = p->spoken[0] = p->spoken[1] = p->unheard_at =
	    p->checked = p->address_at = p->recovered = p->renewed_all = p->wished = -1;
	p->silent_since = MSTIME_NEVER;
	p->hinted = p->outage = p->has_external = p->no_address = false;
	p->misses = p->probes = 0;
	p->check_due = p->address_due = MSTIME_NEVER;
	p->recovery_gap = RECOVERY_GAP;
	p->mapless = 0;
	p->not_before = p->hold_until = p->recover_at = 0;
	p->rtt_us = p->measured_us = -1;
}

/* One that has answered is not told to be switched on. */
struct problem
path_silence(const struct path *p)
{
	struct problem silence = { TROUBLE_SILENT, MAPPER_NONE, 0 };

	if (p->answered)
		silence.mapper = p->mapper;
	return silence;
}

static bool
falls_silent(const struct path *p)
{
	return p->present && path_wanted(p) &&
	    (p->state == GATEWAY_PROBING || p->state == GATEWAY_READY) &&
	    p->silent_since != MSTIME_NEVER && (p->outage || !p->answered);
}

void
path_age(struct path *p, mstime now)
{
	if (falls_silent(p) && now - p->silent_since >= SILENCE) {
		if (p->problem.trouble == TROUBLE_NONE)
			p->problem = path_silence(p);
		path_enter(p, now, GATEWAY_SILENT);
	}
	if (!path_wanted(p) && p->state != GATEWAY_ABSENT && p->state != GATEWAY_UNUSED) {
		p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
		/* An outage's pace is for those who wait: the next one begins anew. */
		p->outage = false;
		p->misses = p->probes = 0;
		path_enter(p, now, GATEWAY_UNUSED);
	}
}

mstime
path_age_next(const struct path *p)
{
	return falls_silent(p) ? p->silent_since + SILENCE : MSTIME_NEVER;
}

/* ---- what an answer means ----------------------------------------------------------------- */

/* It is there, whatever it said: the outage is over and the queue moves. */
void
path_alive(struct path *p, mstime now)
{
	bool first = !p->answered;
	struct mapping *m;

	if (p->outage || first) {
		TAILQ_FOREACH(m, &p->mappings, of_path)
		mapping_hurry(m, now);
		p->address_misses = 0;
		if (p->address_due != MSTIME_NEVER)
			p->address_due = now;
		/* What was not answered before may be now. */
		p->unheard[0] = p->unheard[1] = 0;
		if (p->pcp_again != MSTIME_NEVER)
			p->pcp_again = earlier(p->pcp_again, now + path_pcp_rest(p));
	}
	exchange_calm(p);
	p->engine->unsaved |= first;
	p->answered = true;
	p->heard = now;
	p->silent_since = MSTIME_NEVER;
	p->outage = false;
	p->misses = p->probes = 0;
	p->probe_wait = 0;
	p->not_before = 0;
}

static void
next_check(struct path *p, mstime now, enum mapper heard)
{
	mstime interval = (mstime)p->gateway->probe_interval * MSTIME_SECOND;

	/* What answers now may have been asked before the hint. */
	if (p->hinted)
		;
	else if (interval == 0)
		p->check_due = MSTIME_NEVER;
	else if (!p->announce_deaf || p->mapper != MAPPER_PCP || p->check_due == MSTIME_NEVER)
		p->check_due = now + interval;
	/* NAT-PMP's map replies carry no address: it is asked along with them, not too often. */
	if (interval == 0)
		interval = MINUTE;
	/* For leases of a time when only NAT-PMP was spoken, seldom; unless it may be spoken no
	 * more, which three questions tell. */
	if (heard == MAPPER_PCP && p->unlearned[dialect(MAPPER_NATPMP)] == 0)
		interval *= 10;
	if (p->address_due == MSTIME_NEVER && path_needs_address(p, now) &&
	    (p->address_at < 0 || now - p->address_at >= interval))
		p->address_due = now;
}

void
path_heard(struct path *p, mstime now, enum mapper mapper, const uint32_t *epoch)
{
	/* A box that speaks both is asked by the preferred one, for as long as it answers that. */
	bool other = p->outage || (mapper == MAPPER_NATPMP && !p->pcp_spoken);
	/* Before a reload another may have been allowed: leases are renewed and deleted by it. */
	bool allowed = path_allows(p, mapper);

	path_alive(p, now);
	p->spoken[dialect(mapper)] = now;
	p->unlearned[dialect(mapper)] = p->unheard[dialect(mapper)] = 0;
	if (allowed &&
	    (p->mapper == MAPPER_NONE || other ||
		mapper == (p->mapless > now ? MAPPER_NATPMP : path_preferred(p))))
		path_speak(p, now, mapper);
	next_check(p, now, mapper);
	if (p->state != GATEWAY_READY)
		path_enter(p, now, GATEWAY_READY);
	if (epoch != NULL) {
		bool first = !p->epochs[dialect(mapper)].known;

		if (epoch_observe(&p->epochs[dialect(mapper)], mapper, *epoch, now)) {
			p->pcp_spoken = false;
			/* The other protocol's clock would tell of the same reboot again, unless it
			 * stands still. */
			if (!p->epochs[1 - dialect(mapper)].unusable)
				p->epochs[1 - dialect(mapper)].known = false;
			path_recover(p, now);
		}
		p->engine->unsaved |= first;
	}
	if (mapper == MAPPER_PCP && !p->pcp_spoken)
		path_speaks_pcp(p, now);
	p->pcp_spoken |= mapper == MAPPER_PCP;
}

void
path_address_later(struct path *p, mstime now)
{
	if (path_needs_address(p, now))
		p->address_due = now + ((30 * MSTIME_SECOND) << p->address_misses);
	if (p->address_misses < 5)
		p->address_misses++;
}

void
path_address(struct path *p, mstime now, bool ok, const struct netaddr *address)
{
	struct mapping *m;
	bool usable = ok && netaddr_classify(address) != NETADDR_NONE;

	p->address_at = now;
	p->address_misses = 0;
	p->address_due =
	    usable || !path_needs_address(p, now) ? MSTIME_NEVER : now + 30 * MSTIME_SECOND;
	if (!usable) {
		p->no_address = true;
		return;
	}
	p->has_external = true;
	p->external = *address;
	if (!p->no_address && p->hold_until <= now)
		return;
	/* The gateway has its address back: what failed for want of one is asked at once. */
	p->no_address = false;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->state == MAPPING_FAILED && m->problem.trouble == TROUBLE_REFUSED &&
	    m->problem.mapper == MAPPER_NATPMP && m->problem.result == 3) {
		p->hold_until = now;
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	}
}
