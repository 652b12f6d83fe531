/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#define NO_ADDRESS_WAIT (30 * MSTIME_SECOND)
/* A lease whose renewals were refused, and then went unanswered. */
#define REFUSED_WAIT (30 * MSTIME_SECOND)
/* So many packets, all unanswered, are not lost ones. */
#define UNLEARNED 8u
/* Those of an outage count for less: two more must be lost, too. */
#define UNLEARNED_IN_OUTAGE (UNLEARNED - 2u)
#define UNSUPPORTED_WAIT (15 * 60 * MSTIME_SECOND)
/* Each try opens, for a moment, what must not be open. */
#define IGNORED_WAIT (60 * 60 * MSTIME_SECOND)

bool
mapping_leased(const struct mapping *m, mstime now)
{
	return m->expires > now;
}

void
mapping_enter(struct mapping *m, mstime now, enum mapping_state state, mstime due)
{
	if (m->state != state && m->path != NULL)
		engine_trace(m->path->engine, mapping_state_name(state), m->path->number,
		    m->internal_port, due == MSTIME_NEVER ? 0 : (uint32_t)(due - now));
	m->state = state;
	m->due = due;
}

void
mapping_again(struct mapping *m, mstime now, enum mapping_state state)
{
	m->copies = true;
	m->tries = 0;
	mapping_enter(m, now, state, now);
}

const struct netaddr *
mapping_internal(const struct mapping *m)
{
	const struct ghost *g = (const struct ghost *)m;

	if (m->unit != NULL)
		return m->unit->forward->internal;
	return g->has_internal ? &g->internal : NULL;
}

/*
 * What NAT-PMP cannot say is asked for by PCP, though NAT-PMP is spoken here. Where PCP is
 * preferred the path asks now and then whether it is spoken, too; elsewhere only such a mapping
 * would.
 */
static bool
asks_by_itself(const struct mapping *m, enum mapper spoken)
{
	return !ask_possible(m, spoken) && path_allows(m->path, MAPPER_PCP) &&
	    (!m->asked_pcp || path_preferred(m->path) == MAPPER_NATPMP);
}

bool
mapping_moves(const struct mapping *m, uint16_t wish, uint16_t port)
{
	return m->wish != 0 && m->wish != wish && m->wish != port;
}

uint64_t
mapping_remotes(const struct mapping *m)
{
	const struct forward *f = m->unit != NULL ? m->unit->forward : NULL;
	const uint8_t *octet = f != NULL ? (const uint8_t *)f->remotes : NULL;
	uint64_t digest = 0;

	if (f == NULL)
		return 0;
	for (size_t i = 0; i < f->n_remotes * sizeof(*f->remotes); i++)
		digest = (digest ^ octet[i]) * 0x100000001b3 + 1;
	return digest;
}

enum mapper
mapping_mapper(const struct mapping *m, mstime now)
{
	const struct path *p = m->path;
	enum mapper spoken = p->mapper != MAPPER_NONE ? p->mapper
	    : p->contact.first != MAPPER_NONE         ? p->contact.first
						      : path_preferred(p);

	if (m->state == MAPPING_RELEASING || mapping_leased(m, now))
		return m->maker;
	return asks_by_itself(m, spoken) ? MAPPER_PCP : spoken;
}

void
mapping_unsupported(struct mapping *m, mstime now)
{
	m->problem = (struct problem){ TROUBLE_NEEDS_PCP, MAPPER_PCP, 0 };
	m->decided = true;
	m->copies = m->tries > 0; /* an answer may come yet */
	m->tries = 0;
	mapping_enter(m, now, MAPPING_FAILED, now + UNSUPPORTED_WAIT);
}

void
mapping_sent(struct mapping *m, mstime now, enum mapper mapper)
{
	/* of these, or of the last request's copies, not each has been answered */
	bool open = (m->tries > 0 || m->copies) && now - m->asked <= LATE_ANSWER;

	m->before = open ? later(m->before, now - LATE_ANSWER) : now;
	if (m->tries < UINT8_MAX)
		m->tries++;
	m->contested = false;
	m->asked = now;
	if (mapper == MAPPER_PCP)
		m->asked_pcp = m->open_pcp = true;
	else
		m->asked_natpmp = true;
}

/* A lease counts from a transmission, not from its answer. */
static mstime
granted_at(const struct mapping *m)
{
	return m->expires - (mstime)m->lifetime * MSTIME_SECOND;
}

static mstime
renewal_due(struct mapping *m)
{
	struct engine *e = m->path->engine;

	mstime length = (mstime)m->lifetime * MSTIME_SECOND;

	return renewal_next(m->maker, granted_at(m), length,
	    (mstime)e->settings.max_renew_interval * MSTIME_SECOND, m->asked, engine_random(e));
}

/* When a renewal that went unanswered is tried again. One that was late, as after a suspension, may
 * have missed all windows but those of a week-long lease: max-renew-interval rules where the
 * gateway is there. */
static mstime
renewal_again(struct mapping *m, mstime now)
{
	mstime ceiling = (mstime)m->path->engine->settings.max_renew_interval * MSTIME_SECOND;
	mstime due = renewal_due(m);

	if (m->refusals > 0) /* not a renewal in its time, which is long past */
		return earlier(due, now + REFUSED_WAIT);
	return m->path->outage ? due : earlier(due, now + ceiling);
}

void
mapping_unanswered(struct mapping *m, mstime now)
{
	/* Nobody can renew it any more, and the gateway has forgotten it with its old firmware, and
	 * whatever else was made by that protocol. While nothing is answered that is not known. */
	if (!m->path->outage && m->expires != 0 && m->tries >= UNLEARNED &&
	    path_unlearned(m->path, now, m->maker))
		path_unlearn(m->path, now, m->maker, true);
	if (!mapping_leased(m, now) || m->suspect)
		mapping_enter(m, now, m->state, now); /* its turn comes with the next probe */
	else
		mapping_enter(m, now, m->state, renewal_again(m, now));
	if (m->problem.trouble == TROUBLE_NONE)
		m->problem = path_silence(m->path);
	ask_doubt(m);
}

/* The gateway answers again: what went unanswered meanwhile need not wait for its next turn. */
void
mapping_hurry(struct mapping *m, mstime now)
{
	mstime soonest = m->asked + RENEW_GAP > now ? m->asked + RENEW_GAP : now;

	/* That another protocol answers the first probe ends no silence of this one's. */
	if (m->tries > UNLEARNED_IN_OUTAGE &&
	    (m->path->probes > 1 || !path_unlearned(m->path, now, m->maker)))
		m->tries = UNLEARNED_IN_OUTAGE;
	if (m->state == MAPPING_REQUESTING && m->due > now)
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	else if (m->state == MAPPING_ACTIVE && m->tries > 0 && m->due > soonest)
		mapping_enter(m, now, MAPPING_ACTIVE, soonest);
}

/* The lease is over: the gateway has forgotten it, so have we. Its port stays as suggestion. */
static void
lease_ended(struct mapping *m, mstime now)
{
	m->expires = 0;
	m->suspect = false;
	m->doubted = 0;
	ask_stays(m);
	if (m->state != MAPPING_ACTIVE)
		return;
	if (m->problem.trouble != TROUBLE_NONE && m->problem.trouble != TROUBLE_SILENT &&
	    m->due != MSTIME_NEVER && m->due > now)
		mapping_enter(m, now, MAPPING_FAILED, m->due);
	else
		mapping_enter(m, now, MAPPING_REQUESTING,
		    m->asked + RENEW_GAP > now && m->tries == 0 ? m->asked + RENEW_GAP : now);
}

void
mapping_age(struct mapping *m, mstime now)
{
	if (m->expires != 0 && now >= m->expires)
		lease_ended(m, now);
	if (m->state == MAPPING_FAILED && now >= m->due)
		mapping_enter(m, now, MAPPING_REQUESTING, m->due);
	hold_age(m, now);
	if (m->state == MAPPING_REQUESTING && m->path->answered && m->path->exchange.mapping != m &&
	    !ask_possible(m, mapping_mapper(m, now)))
		mapping_unsupported(m, now);
	ask_age(m, now);
}

/* When it wants a packet sent; the end of the lease is publish_next()'s. */
mstime
mapping_next(const struct mapping *m)
{
	mstime due = m->due;

	/* A table that is full has the room that was just left. */
	if (m->expires == 0 && m->state == MAPPING_REQUESTING && !m->moving &&
	    due < m->path->hold_until)
		due = m->path->hold_until;
	/* As the probe of an outage it may have been asked for out of turn. */
	if (m->state == MAPPING_ACTIVE && m->maker == MAPPER_PCP && !m->suspect && m->tries > 0 &&
	    due < m->asked + RENEW_GAP)
		due = m->asked + RENEW_GAP;
	return due;
}

struct mapping *
mapping_blocker(const struct mapping *m, enum mapper maker)
{
	struct mapping *ghost;

	TAILQ_FOREACH(ghost, &m->path->mappings, of_path)
	if (ghost->unit == NULL && (maker == MAPPER_NONE || ghost->maker == maker) &&
	    portset_overlap(ghost, m))
		return ghost;
	return NULL;
}

bool
mapping_blocked(const struct mapping *m)
{
	return mapping_blocker(m, MAPPER_NONE) != NULL || rival_leaves(m);
}

void
mapping_suspect(struct mapping *m, mstime now, mstime due)
{
	if (m->state != MAPPING_ACTIVE || m->unit == NULL)
		return;
	m->suspect = true;
	mapping_enter(m, now, MAPPING_ACTIVE, due);
}

/* ---- answers ---------------------------------------------------------------------------- */

bool
mapping_contested(const struct mapping *m, mstime now)
{
	return m->contested && m->state == MAPPING_FAILED && now - m->asked <= LATE_ANSWER;
}

static void
hold_path(struct path *p, mstime now, mstime until, const struct problem *why)
{
	struct mapping *m;

	p->hold_until = until;
	p->hold_why = *why;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		if (m->unit == NULL || mapping_leased(m, now) || m->moving ||
		    m->state != MAPPING_REQUESTING)
			continue;
		m->problem = *why;
		m->decided = true;
		mapping_enter(m, now, MAPPING_FAILED, until);
		ghost_guess(m, now, why);
	}
}

static void
refuse(struct mapping *m, mstime now, struct problem why, mstime wait, bool whole_path)
{
	mstime until = now + wait;

	m->copies = true;
	m->moving = false;
	m->contested = m->tries > 1 && why.trouble == TROUBLE_REFUSED;
	m->tries = 0;
	m->problem = why;
	m->decided = true;
	if (m->refusals < UINT8_MAX)
		m->refusals++;
	if (mapping_leased(m, now)) {
		/* Believed until it really ends; asked again when the refusal allows it. */
		mapping_enter(m, now, MAPPING_ACTIVE, until);
	} else {
		mapping_enter(m, now, MAPPING_FAILED, until);
		ghost_guess(m, now, &why);
		if (whole_path)
			hold_path(m->path, now, until, &why);
	}
}

static void
refuse_result(struct mapping *m, mstime now, const struct answer *a)
{
	struct problem why = { TROUBLE_REFUSED, a->mapper, a->result };
	bool pinhole = m->path->family == FAMILY_IPV6 && a->mapper == MAPPER_PCP &&
	    a->result == PCP_NO_RESOURCES;
	bool leased = mapping_leased(m, now);
	/* The first of several copies may have been granted and its answer lost: what is refused is
	 * the renewal, and does not say that the router is full. */
	bool copy = pinhole && !leased && m->tries > 1;

	refuse(m, now, why, refusal_wait(a->mapper, a->result, a->lifetime, copy ? 0 : m->refusals),
	    !copy && hold_concerns(a->mapper, a->result));
	if (pinhole && leased)
		ask_reborn(m, now);
}

static bool
other_port(const struct mapping *m, const struct answer *a)
{
	return m->unit->forward->require && m->wish != 0 && a->external_port != m->wish;
}

/* The lease is believed from the first transmission on, but the gateway may count from its answer:
 * half of that must have passed, too, unless max-renew-interval says sooner. */
static void
not_before_half(struct mapping *m, mstime now)
{
	mstime half = (mstime)m->lifetime * MSTIME_SECOND / 2;
	mstime ceiling = (mstime)m->path->engine->settings.max_renew_interval * MSTIME_SECOND;
	mstime soonest = now + (half < ceiling ? half : ceiling);

	if (m->state == MAPPING_ACTIVE && m->due < soonest && soonest < m->expires)
		m->due = soonest;
}

static void
grant(struct mapping *m, mstime now, const struct answer *a)
{
	struct path *p = m->path;
	bool solicited = m->tries > 0;
	bool had = mapping_leased(m, now);
	bool same = m->external_port == a->external_port &&
	    (!a->has_external || netaddr_equal(&m->external, &a->external));
	bool late = !solicited && now - m->asked <= LATE_ANSWER;

	/* A second copy of the last answer says nothing new; counted from now it would make the
	 * lease seem longer than it is. */
	if (late && same && !mapping_contested(m, now)) {
		not_before_half(m, now);
		return;
	}
	/* Nor do the copies of an update that nobody has asked for (RFC 6887 section 14.2). */
	if (!solicited && same && had && now - granted_at(m) <= LATE_ANSWER)
		return;
	same &= had;
	m->lifetime = a->lifetime < LIFETIME_CAP ? a->lifetime : LIFETIME_CAP;
	/* It counts from a transmission, not from its answer. */
	m->expires = (solicited || late ? m->before : now) + (mstime)m->lifetime * MSTIME_SECOND;
	m->maker = a->mapper;
	m->open_pcp = false;
	m->external_port = a->external_port;
	m->external = a->has_external ? a->external : netaddr_any4;
	m->suspect = m->moving = false;
	m->doubted = 0;
	ask_stays(m);
	m->copies = m->tries > 1 || m->contested;
	m->contested = m->guessed = false;
	m->tries = 0;
	m->garbled = 0;
	m->refusals = 0;
	m->problem = (struct problem){ .trouble = TROUBLE_NONE };
	m->decided = true;
	if (had) {
		m->renewals++;
		m->renewed = same;
	}
	p->engine->unsaved |= !same;
	m->expires = m->expires > now ? m->expires : 0;
	if (m->expires <= now)
		mapping_enter(m, now, MAPPING_REQUESTING, m->asked + RENEW_GAP);
	else
		mapping_enter(m, now, MAPPING_ACTIVE, renewal_due(m));
	not_before_half(m, now);
	if (m->state == MAPPING_ACTIVE)
		ask_granted(m, now);
}

/* What was granted is not what was asked for: it is given back. */
static struct mapping *
give_back(struct mapping *m, mstime now, const struct answer *a)
{
	struct mapping *ghost;

	m->maker = a->mapper;
	m->external_port = a->external_port;
	m->external = a->has_external ? a->external : netaddr_any4;
	ghost = ghost_new(m, now, now);
	if (ghost != NULL)
		ghost->count = a->set_size > 1 ? a->set_size : 1;
	m->expires = 0;
	m->external_port = 0;
	m->external = netaddr_any4;
	m->suspect = false;
	m->doubted = 0;
	m->path->engine->unsaved = true;
	return ghost;
}

/* Without THIRD_PARTY it is this host that was mapped. */
static void
give_back_ignored(struct mapping *m, mstime now, const struct answer *a)
{
	struct ghost *here = (struct ghost *)give_back(m, now, a);

	if (here != NULL && a->ignored == PCP_THIRD_PARTY)
		here->has_internal = false;
}

/* An ignored FILTER lets everybody in, an ignored THIRD_PARTY maps this host instead. */
static void
not_as_asked(struct mapping *m, mstime now, const struct answer *a)
{
	const struct problem why = { TROUBLE_IGNORED, a->mapper, a->ignored };

	if (a->ignored == PCP_THIRD_PARTY && mapping_leased(m, now))
		ghost_new(m, now, now); /* it has processed it before */
	give_back_ignored(m, now, a);
	refuse(m, now, why, IGNORED_WAIT, false);
}

/* Without PORT_SET in its answer the gateway has granted the first port (RFC 7753 section 4.1), and
 * that is kept; a smaller set is given back. Then each port is asked for. */
static void
other_set(struct mapping *m, mstime now, const struct answer *a)
{
	portset_refused(m, now);
	if (a->set_size < 2) {
		grant(m, now, a);
		return;
	}
	give_back(m, now, a);
	mapping_again(m, now, MAPPING_REQUESTING);
}

/* Deleting: any answer ends the attempt (Q-062: 2 and 8 mean "not ours" and "gone"), but a late
 * answer to an earlier create is none. */
bool
mapping_expects(const struct mapping *m, const struct answer *a)
{
	return m->state != MAPPING_RELEASING ||
	    (m->tries > 0 &&
		(m->shortens || a->result != 0 || a->lifetime == 0 || a->external_port == 0));
}

static bool
grants(const struct answer *a)
{
	return a->result == 0 && a->lifetime != 0 && a->external_port != 0;
}

/* RFC 6887 section 14.2: an error that nobody has asked for. The lease is believed until the
 * gateway says so again, asked. */
static void
revoked(struct mapping *m, mstime now)
{
	if (!mapping_leased(m, now) || m->doubted)
		return;
	m->doubted = 1;
	mapping_suspect(m, now, now);
}

void
mapping_answer(struct mapping *m, mstime now, const struct answer *a)
{
	const struct problem no_address = { TROUBLE_NO_ADDRESS, a->mapper, 0 };
	const struct problem no_lifetime = { TROUBLE_ZERO_LIFETIME, a->mapper, 0 };
	const struct problem no_port = { TROUBLE_ZERO_PORT, a->mapper, 0 };
	const struct problem wrong_port = { TROUBLE_OTHER_PORT, a->mapper, 0 };

	if (m->state == MAPPING_RELEASING) {
		if (!mapping_expects(m, a) || ask_shorter(m, now, a))
			return;
		if (a->result == 0) {
			ask_unblocked(m, now);
			rival_gone(m, now);
		}
		ghost_guessed(m);
		ghost_free(m);
		return;
	}
	/* The second copy of an answer to the delete before. */
	if (a->result == 0 && a->lifetime == 0 && a->external_port == 0 &&
	    m->path->last_delete >= 0 && now - m->path->last_delete < 2 * LATE_ANSWER)
		return;
	/* The second copy of a refusal, while it rests. */
	if (!grants(a) && m->tries == 0 && now - m->asked <= LATE_ANSWER)
		return;
	if (grants(a) && a->ignored == 0 && portset_granted(m, a))
		ghost_drop_guess(m, now);
	/* A late answer for what is being deleted. */
	if (a->result == 0 && !mapping_leased(m, now) && mapping_blocked(m))
		return;
	if (portset_stale(m, now, a)) {
		if (m->tries > 0)
			mapping_enter(m, now, m->state, now + RENEW_GAP);
		return;
	}
	if (m->tries == 0 && (!grants(a) || a->ignored != 0 || !portset_granted(m, a))) {
		/* A late copy of the request has opened again what was given back. */
		if (grants(a) && m->state == MAPPING_FAILED && !mapping_leased(m, now))
			give_back_ignored(m, now, a);
		else
			revoked(m, now);
		return;
	}
	/* The second copy of what nobody asked for looks like the answer. */
	if (!grants(a) && m->doubted == 1) {
		m->doubted = 2;
		m->tries = 0;
		m->copies = true;
		mapping_enter(m, now, MAPPING_ACTIVE, now + RENEW_GAP);
		return;
	}
	if (a->result != 0 && ask_simpler(m, now, a))
		return;
	if (!grants(a) && (m->doubted || restart_took(m, a))) {
		m->expires = 0;
		m->suspect = false;
		m->doubted = 0;
		m->path->engine->unsaved = true;
		mapping_enter(m, now, MAPPING_REQUESTING, now);
	}
	if (a->result != 0 && (ask_another(m, now, a) || path_maps_otherwise(m, now, a)))
		return;
	if (a->result != 0)
		refuse_result(m, now, a);
	else if (a->lifetime == 0)
		refuse(m, now, no_lifetime, refusal_wait(a->mapper, 0, 0, m->refusals), false);
	else if (a->external_port == 0)
		refuse(m, now, no_port, refusal_wait(a->mapper, 0, 0, m->refusals), false);
	else if (a->has_external && netaddr_classify(&a->external) == NETADDR_NONE)
		refuse(m, now, no_address, NO_ADDRESS_WAIT, true);
	else if (a->ignored != 0)
		not_as_asked(m, now, a);
	else if (!portset_granted(m, a))
		other_set(m, now, a);
	else if (!other_port(m, a))
		grant(m, now, a);
	else {
		give_back(m, now, a);
		refuse(m, now, wrong_port, 15 * 60 * MSTIME_SECOND, false);
	}
}
