/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/natpmp.h"

/*
 * What is asked for when the first question was not the right one: fewer options, another
 * suggestion, another port.
 */

/* ---- options -------------------------------------------------------------------------------- */

bool
ask_possible(const struct mapping *m, enum mapper mapper)
{
	if (m->unit == NULL || mapper == MAPPER_PCP)
		return true;
	/* NAT-PMP maps for the sender, from anywhere. */
	return m->unit->forward->internal == NULL && m->unit->forward->n_remotes == 0;
}

/*
 * RFC 6887 section 7.4: an option that the gateway cannot digest. Without it the request is another
 * one and may be sent at once, where the meaning survives: a description is decoration, and the
 * port granted is compared with the one required anyway. THIRD_PARTY and FILTER are never dropped.
 */
bool
ask_simpler(struct mapping *m, mstime now, const struct answer *a)
{
	struct path *p = m->path;

	if (a->mapper != MAPPER_PCP ||
	    (a->result != PCP_UNSUPP_OPTION && a->result != PCP_MALFORMED_OPTION &&
		a->result != PCP_MALFORMED_REQUEST))
		return false;
	if (m->count > 1)
		portset_refused(m, now);
	else if (m->described)
		p->plain = true; /* */
	else if (m->insisted)
		p->indulgent = true;
	else
		return false;
	m->described = m->insisted = false;
	mapping_again(m, now, mapping_leased(m, now) ? MAPPING_ACTIVE : MAPPING_REQUESTING);
	return true;
}

/* ---- suggestions ---------------------------------------------------------------------------- */

/* After so many packets without an answer another suggestion may have more luck. */
#define DOUBT_AFTER 4u

/* UDP ports 5350 and 5351 are the protocols' own. */
static uint16_t
random_port(struct engine *e)
{
	uint16_t port = (uint16_t)(1024 + engine_random(e) % (65536 - 1024));

	return port == PCP_CLIENT_PORT || port == PCP_SERVER_PORT ? port + 2 : port;
}

/* Some gateways cannot choose a port, and refuse or ignore the suggestion 0. */
static void
another_suggestion(struct mapping *m)
{
	m->any_port = m->any_port == 0 ? m->internal_port : random_port(m->path->engine);
}

static bool
any_will_do(const struct mapping *m)
{
	return m->unit != NULL && m->wish == 0 && m->external_port == 0 && m->internal_port != 0 &&
	    m->path->family == FAMILY_IPV4;
}

bool
ask_another(struct mapping *m, mstime now, const struct answer *a)
{
	bool first = m->any_port == 0;

	if (!any_will_do(m) ||
	    !(a->mapper == MAPPER_NATPMP
		    ? a->result == NATPMP_OUT_OF_RESOURCES
		    : a->result == PCP_NO_RESOURCES || a->result == PCP_CANNOT_PROVIDE_EXTERNAL ||
			a->result == PCP_MALFORMED_REQUEST))
		return false;
	another_suggestion(m);
	/* PCP's NO_RESOURCES is to be respected; any other is asked once more only. */
	if (!first || (a->mapper == MAPPER_PCP && a->result == PCP_NO_RESOURCES))
		return false;
	mapping_again(m, now, MAPPING_REQUESTING);
	return true;
}

void
ask_doubt(struct mapping *m)
{
	if (any_will_do(m) && m->tries >= DOUBT_AFTER)
		another_suggestion(m);
}

/* tcp and udp of one forward that are to have one port; NULL: no such thing. */
static struct unit *
partner(const struct unit *u)
{
	struct forward *f = u->forward;

	if (!f->tcp || !f->udp || f->independent || f->assigned || f->require || u->path == NULL)
		return NULL;
	for (unsigned i = 0; i < f->n_units; i++)
		if (&f->units[i] != u && f->units[i].family == u->family &&
		    f->units[i].path == u->path)
			return &f->units[i];
	return NULL;
}

static struct mapping *
partner_of(const struct mapping *m)
{
	struct unit *v = m->unit != NULL ? partner(m->unit) : NULL;

	return v != NULL ? &v->mappings[m - m->unit->mappings] : NULL;
}

/* The external port asked for: what was granted, else the partner's, else the wish (P-22, P-49,
 * */
uint16_t
ask_port(const struct mapping *m, mstime now)
{
	const struct mapping *n;

	/* Whatever it had before, or an earlier run: that port or none (P-85). */
	if (m->unit != NULL && m->unit->forward->require && m->wish != 0)
		return m->wish;
	if (m->external_port != 0)
		return m->external_port;
	/* VPN gateways that choose the port know the question by 0 → 1. */
	if (m->internal_port == 0)
		return 1;
	n = m->refusals == 0 ? partner_of(m) : NULL;
	if (n != NULL && mapping_leased(n, now))
		return n->external_port;
	if (m->wish != 0)
		return m->wish;
	/* Some firewalls echo whatever was suggested when they renew. */
	return m->path->family == FAMILY_IPV6 ? m->internal_port : m->any_port;
}

/* ---- moving: delete and create -------------------------------------------------------------- */

#define PAIR_PATIENCE (2 * MSTIME_SECOND)
#define PAIR_MOVES 2u
/* How long a mapping that moves is still shown. */
#define MOVE_TIME (5 * MSTIME_SECOND)
/* The gateway may keep a deleted port for its old owner (RFC 6887 section 15). */
#define RECLAIM_TIME (130 * MSTIME_SECOND)
/* The lease that blocks is known by a lower bound of its end. */
#define END_SLACK (10 * MSTIME_SECOND)
#define EVENT_GAP (60 * 60 * MSTIME_SECOND)

static bool
movable(const struct mapping *m, mstime now)
{
	const struct path *p = m->path;

	return m->state == MAPPING_ACTIVE && mapping_leased(m, now) && !m->suspect &&
	    m->internal_port != 0 && !m->carried && m->tries == 0 && p->present && p->answered &&
	    !p->outage && !p->engine->stopping;
}

static void
plan(struct mapping *m, enum move what, mstime at)
{
	m->move = (uint8_t)(what & 3);
	m->move_at = at;
}

/* The lease becomes a ghost, which is deleted before anything is asked for again. */
static bool
move(struct mapping *m, mstime now, uint16_t port)
{
	if (!movable(m, now) || ghost_new(m, now, now) == NULL)
		return false;
	m->expires = 0;
	m->external_port = port;
	m->external = netaddr_any4;
	m->copies = true; /* of the grant that is given up: they may come yet */
	m->moving = true;
	mapping_enter(m, now, MAPPING_REQUESTING, now);
	return true;
}

static bool
published(const struct unit *u)
{
	return u->told_up && u->held_until == 0;
}

bool
ask_waits_for_partner(const struct unit *u, mstime now)
{
	const struct unit *v = u->pairs && !published(u) ? partner(u) : NULL;

	if (v == NULL || !v->pairs || now >= u->pair_until)
		return false;
	for (unsigned i = 0; i < v->forward->count; i++)
		if (v->mappings[i].state == MAPPING_REQUESTING)
			return true;
	return false;
}

/*
 * both protocols on one number. The second asked for the first one's port; if that was not
 * to be had, the first asks for the second one's, as long as nobody was told of either.
 */
void
ask_granted(struct mapping *m, mstime now)
{
	struct mapping *n = partner_of(m);
	struct unit *u = m->unit;

	if (m->move == MOVE_WISH && m->external_port == m->wish)
		plan(m, MOVE_NOT, 0);
	if (n == NULL || !u->pairs || !n->unit->pairs)
		return;
	u->pair_until = n->unit->pair_until = now + PAIR_PATIENCE;
	if (!mapping_leased(n, now) || n->external_port == m->external_port || published(u) ||
	    published(n->unit) || (unsigned)m->moves + n->moves >= PAIR_MOVES)
		return;
	if (move(n, now, m->external_port))
		n->moves++;
}

void
ask_publish(struct unit *u, mstime now)
{
	if (u->pair_until != 0 && now >= u->pair_until)
		u->pairs = false;
	if (!u->pairs)
		u->pair_until = 0;
}

/* ---- moving in time ------------------------------------------------------------------------- */

/*
 * The wish, once more. A lease of ours on the path before stands in its way until it ends.
 */
void
ask_leaves(struct mapping *m, mstime now)
{
	plan(m, MOVE_NOT, 0);
	if (m->wish != 0 && m->external_port == m->wish && mapping_leased(m, now))
		plan(m, MOVE_WISH, m->expires + END_SLACK);
}

void
ask_arrives(struct mapping *m, mstime now)
{
	const struct path *p = m->path;
	mstime end = memory_blocker(p->engine, m);

	if (!netaddr_equal(&p->gateway->left[p->family], &p->address))
		plan(m, MOVE_NOT, 0);
	if (end > now && end + END_SLACK > m->move_at)
		plan(m, MOVE_WISH, end + END_SLACK);
	m->any_port = 0;
	m->moves = 0;
	/* What an earlier run told may be in use: it stays as it is. */
	m->unit->pairs = m->external_port == 0 && (m == m->unit->mappings || m->unit->pairs);
	m->unit->pair_until = 0;
}

/* The lease that stood in the way is deleted. */
void
ask_unblocked(const struct mapping *ghost, mstime now)
{
	struct mapping *m;
	struct path *p = ghost->path->gateway->current[ghost->path->family];

	if (p == NULL)
		return;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->protocol == ghost->protocol && m->wish == ghost->external_port &&
	    m->move == MOVE_WISH && m->move_at > now + RECLAIM_TIME)
		plan(m, MOVE_WISH, now + RECLAIM_TIME);
}

/* The network has changed: another host may have gone with the port. */
void
ask_event(struct path *p, mstime now)
{
	struct mapping *m;

	if (p->family != FAMILY_IPV4 || (p->wished >= 0 && now < p->wished + EVENT_GAP))
		return;
	p->wished = now;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->wish != 0 && mapping_leased(m, now) &&
	    m->external_port != m->wish && m->move == MOVE_NOT)
		plan(m, MOVE_WISH, now + MSTIME_SECOND);
}

/*
 * Some firewalls answer every renewal of a pinhole with NO_RESOURCES: near its end it is
 * deleted and made anew, with the same nonce.
 */
void
ask_reborn(struct mapping *m, mstime now)
{
	mstime rest = (mstime)m->lifetime * MSTIME_SECOND / 8, at;

	at = m->expires - (rest < 60 * MSTIME_SECOND ? rest : 60 * MSTIME_SECOND);
	if (m->due < at)
		return; /* there is time to ask again */
	/* What it refuses to renew it has: whatever was suspected. */
	m->suspect = false;
	plan(m, MOVE_SAME, later(at, now));
	mapping_enter(m, now, m->state, m->expires);
}

void
ask_stays(struct mapping *m)
{
	if (m->move == MOVE_SAME)
		plan(m, MOVE_NOT, 0);
}

/*
 * miniupnpd 2.3.1 forgets whose a pinhole is when it renews it, and then answers NOT_AUTHORIZED to
 * whoever deletes it; but it takes another lifetime, and gives the least that it gives: two minutes
 * (RFC 6887 section 11.4: a later request may shorten a mapping).
 */
bool
ask_shorter(struct mapping *ghost, mstime now, const struct answer *a)
{
	const struct mapping *m;

	if (ghost->path->family != FAMILY_IPV6 || ghost->shortens || ghost->external_port == 0 ||
	    a->mapper != MAPPER_PCP || a->result != PCP_NOT_AUTHORIZED)
		return false;
	TAILQ_FOREACH(m, &ghost->path->mappings, of_path)
	if (m->unit != NULL && portset_overlap(m, ghost))
		return false; /* it is to be made anew at once */
	ghost->shortens = true;
	ghost->tries = 0;
	mapping_enter(ghost, now, MAPPING_RELEASING, now);
	return true;
}

static void
move_shown(struct mapping *m, mstime now, uint16_t port)
{
	struct unit *u = m->unit;

	if (!move(m, now, port))
		return;
	u->pairs = true;
	u->pair_until = 0;
	m->moves = 0;
	if (u->told_up)
		u->held_until = now + MOVE_TIME;
}

static void
win_back(struct mapping *m, mstime now)
{
	struct mapping *n = partner_of(m);
	bool both = n != NULL && mapping_leased(n, now) && n->external_port != n->wish;

	plan(m, MOVE_NOT, 0);
	if (!mapping_leased(m, now) || m->external_port == m->wish)
		return;
	if (!movable(m, now) || (both && !movable(n, now))) {
		plan(m, MOVE_WISH, now + 60 * MSTIME_SECOND);
		return;
	}
	move_shown(m, now, m->wish);
	if (!both)
		return;
	plan(n, MOVE_NOT, 0);
	move_shown(n, now, n->wish);
}

void
ask_age(struct mapping *m, mstime now)
{
	if (m->unit == NULL || now < ask_next(m))
		return;
	if (m->move == MOVE_WISH) {
		win_back(m, now);
	} else if (movable(m, now)) {
		plan(m, MOVE_NOT, 0);
		m->refusals = 0; /* of renewals, because it was there */
		move_shown(m, now, m->external_port);
	} else {
		plan(m, MOVE_SAME, now + MSTIME_SECOND);
	}
}

mstime
ask_next(const struct mapping *m)
{
	return m->unit == NULL || m->move == MOVE_NOT || m->state == MAPPING_REQUESTING ||
		m->path == NULL
	    ? MSTIME_NEVER
	    : m->move_at;
}
