/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

/* Whose turn it is on a path: the next request, when nothing is outstanding. */

#define DEAF_PROBE 7u /* the eighth, unless a renewal follows soon */
#define DEAF_WAIT (5 * 60 * MSTIME_SECOND)
/* So many probes, and three ANNOUNCEs among them: it may have become deaf to that. */
#define DEAF_PROBES 48u
/* What it does not speak has one probe of eight, which is no turn of exchange_other_turn(). */
#define STRANGER_PROBE 6u

static bool
more_urgent(const struct mapping *a, const struct mapping *b, mstime now)
{
	bool a_leased = mapping_leased(a, now), b_leased = mapping_leased(b, now);

	if (a_leased != b_leased)
		return a_leased;
	return a_leased && a->expires < b->expires;
}

/* Would it be asked for in a protocol that cannot make it? So it is told, and waits. */
static bool
is_impossible(const struct mapping *m, mstime now)
{
	return m->state == MAPPING_REQUESTING && !ask_possible(m, mapping_mapper(m, now));
}

/* Would it be asked for in another protocol than is spoken? */
static bool
is_stranger(const struct mapping *m, mstime now)
{
	return mapping_mapper(m, now) != m->path->mapper;
}

static struct mapping *
due_mapping(struct path *p, mstime now)
{
	struct mapping *m, *best = NULL;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		if (m->state == MAPPING_RELEASING && m->due <= now)
			return m;
		if (mapping_next(m) > now || m->state == MAPPING_RELEASING)
			continue;
		/* In an outage it is asked whether it is there, in what it speaks. */
		if (p->outage && p->probes % 8 != STRANGER_PROBE && is_stranger(m, now))
			continue;
		if (is_impossible(m, now))
			continue;
		if ((best == NULL || more_urgent(m, best, now)) && !mapping_blocked(m))
			best = m;
	}
	return best;
}

/* In an outage nothing need be due: the mapping that has waited longest serves as the probe, but
 * a long PCP lease only in its own windows (RFC 6887 section 11.2.1), and once: the gateway may be
 * there, and no longer answer ANNOUNCE. */
static struct mapping *
probe_mapping(struct path *p, mstime now)
{
	struct mapping *m, *best = NULL;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		bool patient = m->maker == MAPPER_PCP && mapping_leased(m, now) && !m->suspect;
		bool serves = m->tries > 0 && (!patient || p->announce_deaf);
		bool once = patient && p->probes == DEAF_PROBE && m->refusals == 0 &&
		    m->due > now + DEAF_WAIT;

		if (m->unit == NULL || m->state == MAPPING_FAILED || is_stranger(m, now) ||
		    is_impossible(m, now) || !(serves || once))
			continue;
		if (best == NULL || m->asked < best->asked)
			best = m;
	}
	return best;
}

static bool
check_job(const struct path *p, mstime now, struct job *job)
{
	if (p->pcp_again <= now) {
		*job = (struct job){ EXCHANGE_ANNOUNCE, MAPPER_PCP, NULL, true };
		return true;
	}
	if (p->address_due <= now || (p->mapper == MAPPER_NATPMP && p->check_due <= now)) {
		*job = (struct job){ EXCHANGE_ADDRESS, MAPPER_NATPMP, NULL, false };
		return true;
	}
	if (p->mapper == MAPPER_PCP && p->check_due <= now) {
		*job = (struct job){ EXCHANGE_ANNOUNCE, MAPPER_PCP, NULL, false };
		return true;
	}
	return false;
}

/* A box may speak another protocol after an outage: now and then, between two probes, it is asked
 * in the other one. */
bool
exchange_other_turn(const struct path *p, unsigned probe)
{
	enum mapper other = p->mapper == MAPPER_PCP ? MAPPER_NATPMP : MAPPER_PCP;
	unsigned turn = p->probe_wait <= RENEW_GAP ? 16 : p->probe_wait <= 8 * RENEW_GAP ? 4 : 2;

	return probe % turn == turn - 1 && path_allows(p, other);
}

static bool
other_dialect(struct path *p, mstime now, struct job *job)
{
	enum mapper other = p->mapper == MAPPER_PCP ? MAPPER_NATPMP : MAPPER_PCP;
	struct mapping *m;

	if (!exchange_other_turn(p, p->probes))
		return false;
	*job = (struct job){ other == MAPPER_PCP ? EXCHANGE_ANNOUNCE : EXCHANGE_ADDRESS, other,
		NULL, false };
	if (other == MAPPER_NATPMP || (p->announce_works && p->probes < DEAF_PROBES))
		return true;
	/* That may be all that it answers. */
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->state == MAPPING_REQUESTING && mapping_next(m) <= now &&
	    ask_possible(m, other) && !mapping_blocked(m)) {
		*job = (struct job){ EXCHANGE_MAP, other, m, false };
		break;
	}
	return true;
}

bool
exchange_next_job(struct path *p, mstime now, struct job *job)
{
	struct mapping *m;

	if (p->outage && other_dialect(p, now, job))
		return true;
	if (!p->outage && check_job(p, now, job))
		return true;
	m = due_mapping(p, now);
	if (m == NULL && p->outage)
		m = probe_mapping(p, now);
	if (m != NULL) {
		*job = (struct job){ EXCHANGE_MAP, mapping_mapper(m, now), m, false };
		return job->mapper != MAPPER_NONE;
	}
	if (!p->outage)
		return false;
	*job = (struct job){ p->mapper == MAPPER_PCP ? EXCHANGE_ANNOUNCE : EXCHANGE_ADDRESS,
		p->mapper, NULL, false };
	return true;
}

/* A renewal in its own time goes before a question, and before the next probe of an outage: a
 * NAT-PMP burst at 3/4 or 9/10 of the lease, the one packet of a PCP window. */
struct mapping *
exchange_urgent(const struct path *p)
{
	const struct exchange *x = &p->exchange;
	struct mapping *m, *best = NULL;
	bool question = x->kind == EXCHANGE_ANNOUNCE || x->kind == EXCHANGE_ADDRESS;

	if (!(question || x->probe || (p->outage && x->kind == EXCHANGE_NONE)))
		return NULL;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->state == MAPPING_ACTIVE && !m->suspect && m->due != MSTIME_NEVER &&
	    (p->outage || m->maker == MAPPER_PCP) &&
	    (best == NULL || mapping_next(m) < mapping_next(best)))
		best = m;
	return best;
}
