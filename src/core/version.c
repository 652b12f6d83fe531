/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/pcp.h"

/* Which protocol a gateway speaks, and what becomes of the leases of one that it has unlearned. */

#define MINUTE (60 * MSTIME_SECOND)
#define HOUR (60 * MINUTE)

/* For so long a mapping that PCP cannot make waits for the answer whether NAT-PMP is spoken. */
#define ELSEWHERE_WAIT (15 * MSTIME_SECOND)
/* Changes of protocol that come faster than this are not a negotiation. */
#define SWITCH_YOUNG (10 * MSTIME_SECOND)
#define SWITCH_LIMIT 4
/* A series of first questions as it is in the end: 9 have been sent, the next wait is long. */
#define SERIES 9u
#define SERIES_WAIT (9 * MINUTE)
/* So many version errors in a row, or unanswered questions, are no forger's and no lost ones. PCP's
 * questions are single packets then, NAT-PMP's are bursts. */
#define UNLEARNED_ERRORS 3u
#define UNLEARNED_QUESTIONS 8u
#define UNLEARNED_BURSTS 3u

mstime
path_pcp_rest(const struct path *p)
{
	return p->pcp_spoken && p->unheard[dialect(MAPPER_PCP)] < UNLEARNED_QUESTIONS ? MINUTE
										      : HOUR;
}

/* PCP is preferred and possible, but NAT-PMP is spoken: it is asked again some day. */
static void
plan_pcp(struct path *p, mstime now)
{
	bool wanted = path_allows(p, MAPPER_PCP) && path_preferred(p) == MAPPER_PCP;

	p->pcp_again = wanted ? later(now + path_pcp_rest(p), p->mapless) : MSTIME_NEVER;
}

/* It speaks PCP: whoever needs that is asked for. */
void
path_speaks_pcp(struct path *p, mstime now)
{
	struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->state == MAPPING_FAILED && m->problem.trouble == TROUBLE_NEEDS_PCP)
		mapping_enter(m, now, MAPPING_REQUESTING, now);
}

/* What PCP could not make is asked for by NAT-PMP. */
static void
natpmp_maps(struct path *p, mstime now)
{
	struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		bool waits = m->state == MAPPING_REQUESTING ||
		    (m->state == MAPPING_FAILED && m->problem.mapper == MAPPER_PCP &&
			m->problem.result == PCP_UNSUPP_OPCODE);

		if (m->unit == NULL || m->unit->blocked || !waits ||
		    !ask_possible(m, MAPPER_NATPMP))
			continue;
		m->refusals = 0;
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	}
}

/* Once in an hour it is asked whether it speaks NAT-PMP as well; path_speak() follows if it does,
 * and otherwise the mapping is refused when its turn comes again. Where that is known, only a lease
 * of before was still asked for by PCP. */
bool
path_maps_otherwise(struct mapping *m, mstime now, const struct answer *a)
{
	struct path *p = m->path;
	bool known = p->mapper == MAPPER_NATPMP;

	if (a->mapper != MAPPER_PCP || a->result != PCP_UNSUPP_OPCODE || m->unit == NULL ||
	    mapping_leased(m, now) || !path_allows(p, MAPPER_NATPMP) ||
	    !ask_possible(m, MAPPER_NATPMP) || (!known && p->mapless > now))
		return false;
	m->tries = 0;
	if (!known) {
		p->mapless = now + HOUR;
		p->address_due = now;
	}
	mapping_enter(m, now, MAPPING_REQUESTING, known ? now : now + ELSEWHERE_WAIT);
	return true;
}

void
path_maps_again(struct path *p, mstime now)
{
	if (p->mapless <= now)
		return;
	p->mapless = 0;
	if (p->mapper == MAPPER_NATPMP)
		plan_pcp(p, now);
}

static void
speak_pcp(struct path *p, mstime now)
{
	p->mapper = MAPPER_PCP;
	p->pcp_again = MSTIME_NEVER;
	path_speaks_pcp(p, now);
}

bool
path_speak(struct path *p, mstime now, enum mapper mapper)
{
	if (p->mapper == mapper)
		return true;
	if (p->mapper != MAPPER_NONE && now - p->switched < SWITCH_YOUNG) {
		if (++p->switches > SWITCH_LIMIT)
			return false;
	} else {
		p->switches = 0;
		p->switched = now;
	}
	p->engine->unsaved = true;
	if (mapper == MAPPER_NATPMP) {
		p->mapper = MAPPER_NATPMP;
		plan_pcp(p, now);
		if (p->address_due == MSTIME_NEVER && p->address_at < 0)
			p->address_due = now;
		if (p->mapless > now)
			natpmp_maps(p, now);
	} else {
		p->mapless = 0;
		speak_pcp(p, now);
	}
	return true;
}

bool
path_unlearned(const struct path *p, mstime now, enum mapper mapper)
{
	unsigned d = dialect(mapper);

	return p->mapper != mapper && p->spoken[1 - d] > p->spoken[d] &&
	    now - p->spoken[d] >= MINUTE;
}

/*
 * The box has spoken this protocol, and does so no more, while it answers the other: its firmware
 * is another one and has begun with an empty table. After version errors, which can be forged, and
 * silence to questions, which may be all that it has unlearned, each lease is asked for
 * once more by its own protocol; when that is in vain it is certain.
 */
void
path_unlearn(struct path *p, mstime now, enum mapper mapper, bool certain)
{
	struct mapping *m;

	if (mapper == MAPPER_PCP)
		p->pcp_spoken = false; /* asked hourly from now on */
	p->unlearned[dialect(mapper)] = 0;
	p->epochs[dialect(mapper)].known = false;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		if (m->unit == NULL || m->maker != mapper || !mapping_leased(m, now))
			continue;
		if (certain) {
			m->expires = now;
			mapping_age(m, now);
		} else {
			mapping_suspect(m, now, now);
		}
	}
}

void
path_unheard(struct path *p, mstime now, enum mapper mapper)
{
	unsigned d = dialect(mapper);
	unsigned enough = mapper == MAPPER_PCP ? UNLEARNED_QUESTIONS : UNLEARNED_BURSTS;
	/* Some boxes map, but never answer this: it says nothing of the leases. */
	bool works = mapper == MAPPER_PCP ? p->announce_works : p->address_at >= 0;

	/* Its clock as it was is nothing to compare an announcement with. */
	if (p->unheard[d] < UNLEARNED_QUESTIONS && ++p->unheard[d] == UNLEARNED_QUESTIONS)
		p->epochs[d].known = false;
	if (mapper == MAPPER_NATPMP)
		path_address_later(p, now);
	if (!works)
		return;
	/* Nor does it in an outage: something else must have been heard, and for that something
	 * must be asked. */
	if (p->unheard[d] < enough) {
		mstime *due = mapper == MAPPER_PCP ? &p->address_due : &p->check_due;

		*due = earlier(*due, now);
	}
	if (p->heard <= p->unheard_at || !path_unlearned(p, now, mapper))
		return;
	p->unheard_at = now;
	if (++p->unlearned[d] >= enough)
		path_unlearn(p, now, mapper, false);
}

static void
refused_version(struct path *p, mstime now, enum mapper mapper)
{
	unsigned d = dialect(mapper);

	if (path_unlearned(p, now, mapper) && ++p->unlearned[d] >= UNLEARNED_ERRORS)
		path_unlearn(p, now, mapper, false);
}

/* The protocol that made this lease is not spoken any more, or so it seems. A lease of a gateway
 * that has rebooted is gone with it, and so is NAT-PMP's where PCP is known to be spoken; any other
 * is believed until it ends. */
static void
not_spoken(struct mapping *m, mstime now)
{
	if (m->unit == NULL) {
		ghost_free(m);
		return;
	}
	if (m->suspect || (m->maker == MAPPER_NATPMP && m->path->pcp_spoken))
		m->expires = 0;
	mapping_age(m, now);
	if (!mapping_leased(m, now) && m->path->mapper == MAPPER_NATPMP &&
	    !ask_possible(m, MAPPER_NATPMP))
		mapping_unsupported(m, now);
	else if (!mapping_leased(m, now))
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	else {
		mapping_unanswered(m, now);
		/* The version error may be a forger's: its turn comes soon, and twice. */
		if (m->tries < UNLEARNED_ERRORS && m->due > now + RENEW_GAP)
			mapping_enter(m, now, m->state, now + RENEW_GAP);
	}
}

static void
contact_redirect(struct path *p, mstime now, enum mapper spoken)
{
	struct contact *c = &p->contact;
	unsigned to = dialect(spoken);

	if (c->first == spoken) {
		/* A hundred copies are one hint. */
		if (now - c->last[to] >= MINUTE / 2 && c->next[to] > now)
			c->next[to] = now;
		return;
	}
	c->first = spoken;
	c->next[to] = c->sends[to] > 0 && now < c->last[to] + 250 ? c->last[to] + 250 : now;
	/* Late in the day one question is enough. */
	if (now - p->silent_since >= 10 * MINUTE)
		return;
	c->sends[to] = 0;
	c->wait[to] = 0;
	c->next[1 - to] = now + MINUTE;
}

/* It speaks nothing that is allowed here. */
static void
not_understood(struct path *p, mstime now, enum mapper refused, mstime wait)
{
	unsigned d = dialect(path_preferred(p));
	struct contact *c = &p->contact;

	/* Said again, though nobody has asked: a forger would keep it away for ever. */
	if (!p->answered && p->state == GATEWAY_UNSUPPORTED && c->last[d] == 0)
		return;
	p->problem = (struct problem){ TROUBLE_UNSUPPORTED, refused, 0 };
	p->answered = p->outage = false;
	path_reset_contact(p, now);
	/* One question then, not a whole series. */
	c->sends[d] = SERIES;
	c->wait[d] = SERIES_WAIT;
	c->next[d] = now + wait;
	path_enter(p, now, GATEWAY_UNSUPPORTED);
}

/* It changes its mind too often, so some of that is forged: what answers to our nonces is not, and
 * whatever else is said is not listened to for a while. */
static bool
path_insists(struct path *p, mstime now)
{
	mstime heard = p->spoken[dialect(MAPPER_PCP)];

	if (!path_allows(p, MAPPER_PCP) || heard < 0 || now - heard >= MINUTE ||
	    p->switches < SWITCH_LIMIT || now - p->switched >= SWITCH_YOUNG)
		return false;
	if (p->mapper != MAPPER_PCP)
		speak_pcp(p, now);
	return true;
}

/*
 * RFC 6887 section 9, RFC 6886 section 1.1: the version error names no request, so it is the
 * gateway's, once, and not each mapping's. `spoken` is the protocol it offers instead.
 */
void
path_version_error(struct path *p, mstime now, enum mapper spoken, uint32_t rest)
{
	mstime wait = rest > 0 && rest < 1800 ? (mstime)rest * MSTIME_SECOND : 30 * MINUTE;
	enum mapper refused = spoken == MAPPER_PCP ? MAPPER_NATPMP : MAPPER_PCP;
	bool possible = spoken != MAPPER_NONE && path_allows(p, spoken);

	/* One that has spoken what is allowed here does so still, or is as good as silent: a forger
	 * must not keep the real answer away. */
	if (!possible && p->answered) {
		if (p->outage)
			p->problem = (struct problem){ TROUBLE_UNSUPPORTED, refused, 0 };
		return;
	}
	if (possible && p->answered && spoken == MAPPER_NATPMP && path_insists(p, now))
		return;
	if (p->exchange.kind != EXCHANGE_NONE && p->exchange.mapper == refused) {
		struct mapping *m = p->exchange.mapping;

		p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
		refused_version(p, now, refused);
		if (m != NULL)
			not_spoken(m, now);
	}
	/* Anybody can forge it: it directs the next question, it does not prove that the gateway
	 * is there. */
	if (possible && !p->answered) {
		contact_redirect(p, now, spoken);
		return;
	}
	if (!possible) {
		not_understood(p, now, refused, wait);
		return;
	}
	if (!p->outage)
		path_alive(p, now);
	if (p->mapper == spoken) {
		/* The answer to a polite second question. */
		if (spoken == MAPPER_NATPMP)
			plan_pcp(p, now);
		else if (!path_needs_address(p, now))
			p->address_due = MSTIME_NEVER;
		return;
	}
	if (!path_speak(p, now, spoken)) {
		if (!path_insists(p, now))
			not_understood(p, now, refused, wait);
		return;
	}
	/* Is it so? In an outage the next probe asks, elsewhere a question. */
	p->not_before = now;
	if (spoken == MAPPER_NATPMP) {
		p->address_due = now;
		return;
	}
	p->check_due = now;
	/* Then what has made NAT-PMP's leases is asked again. */
	if (path_needs_address(p, now))
		p->address_due = now + MINUTE;
}
