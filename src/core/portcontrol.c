/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/natpmp.h"
#include "proto/pcp.h"

#include <string.h>

/* Shorter than a burst, so that an error that names no port is heard in time. */
#define COPY_TIME (3 * MSTIME_SECOND)

/* ---- out ---------------------------------------------------------------------------------- */

static int
send_bytes(struct path *p, enum mapper mapper, const void *bytes, size_t n)
{
	struct engine *e = p->engine;

	p->asked[dialect(mapper)] = true;
	p->sent++;
	return e->io->send(e->ctx, p->number, bytes, n);
}

static int
send_pcp_map(struct path *p, mstime now, struct mapping *m, uint32_t lifetime)
{
	const struct netaddr *none = p->family == FAMILY_IPV4 ? &netaddr_any4 : &netaddr_any6;
	struct pcp_request r = { .opcode = PCP_MAP,
		.lifetime = lifetime,
		.client = p->local,
		.protocol = m->protocol,
		.internal_port = m->internal_port,
		.external_port = ask_port(m, now),
		.external = *none };
	struct pcp_filter filters[PCP_FILTERS_MAX];
	uint8_t bytes[PCP_MAX_PACKET];
	size_t n;

	memcpy(r.nonce, m->nonce, sizeof(r.nonce));
	if (m->external_port != 0 && !netaddr_is_any(&m->external))
		r.external = m->external;
	option_fill(m, now, &r, filters);
	n = pcp_encode(&r, bytes, sizeof(bytes));
	return n > 0 ? send_bytes(p, MAPPER_PCP, bytes, n) : 0;
}

int
portcontrol_send_map(struct path *p, mstime now, struct mapping *m, enum mapper mapper)
{
	uint32_t lifetime = m->state != MAPPING_RELEASING ? m->unit->forward->lifetime
	    : m->shortens                                 ? 1
							  : 0;
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n;

	if (mapper != MAPPER_PCP && m->unit != NULL && m->count > 1)
		portset_split(m, now); /* NAT-PMP knows single ports only */
	mapping_sent(m, now, mapper);
	/* What this protocol cannot say is not said without the rest: it would be another wish. */
	if (lifetime != 0 && !ask_possible(m, mapper))
		return 0;
	if (lifetime == 0)
		p->last_delete = now;
	if (mapper == MAPPER_PCP)
		return send_pcp_map(p, now, m, lifetime);
	n = natpmp_encode_map(
	    m->protocol, m->internal_port, ask_port(m, now), lifetime, bytes, sizeof(bytes));
	return n > 0 ? send_bytes(p, MAPPER_NATPMP, bytes, n) : 0;
}

int
portcontrol_send_address(struct path *p, mstime now)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n = natpmp_encode_address(bytes, sizeof(bytes));

	(void)now;
	return send_bytes(p, MAPPER_NATPMP, bytes, n);
}

int
portcontrol_send_announce(struct path *p, mstime now)
{
	struct pcp_request r = { .opcode = PCP_ANNOUNCE, .client = p->local };
	uint8_t bytes[24];
	size_t n = pcp_encode(&r, bytes, sizeof(bytes));

	(void)now;
	return send_bytes(p, MAPPER_PCP, bytes, n);
}

/* ---- in: NAT-PMP ---------------------------------------------------------------------------- */

static bool
answers(const struct path *p, enum exchange_kind kind, enum mapper mapper)
{
	return p->exchange.kind == kind && p->exchange.mapper == mapper;
}

/* Overtaken on the way by a later answer: its clock is no news … */
static bool
is_older(const struct path *p, enum mapper mapper, uint32_t epoch)
{
	const struct epoch *last = &p->epochs[dialect(mapper)];

	return last->known && epoch < last->value && last->value - epoch <= 6 && last->value > 6;
}

/* … and neither is its content, … */
static bool
overtaken(const struct path *p, enum mapper mapper, uint32_t epoch, const struct mapping *m)
{
	return (m == NULL || m->tries == 0) && is_older(p, mapper, epoch);
}

/* … but for a grant when that answer has refused a copy of the request. */
static bool
is_late_grant(const struct mapping *m, mstime now, const struct answer *a)
{
	return a->result == 0 && mapping_contested(m, now);
}

static void
natpmp_address(struct path *p, mstime now, const struct natpmp_reply *r)
{
	if (answers(p, EXCHANGE_ADDRESS, MAPPER_NATPMP))
		exchange_done(p, now);
	else if (r->result != NATPMP_SUCCESS)
		return; /* what some say to a PCP request */
	else if (r->has_epoch && overtaken(p, MAPPER_NATPMP, r->epoch, NULL))
		return;
	path_heard(p, now, MAPPER_NATPMP, r->has_epoch ? &r->epoch : NULL);
	path_address(p, now, r->result == NATPMP_SUCCESS, &r->external);
}

/* The one mapping that a first contact has asked for, when an error does not say. */
static struct mapping *
contact_head(struct path *p, uint8_t protocol)
{
	struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->tries > 0 && m->asked_natpmp && m->protocol == protocol)
		return m;
	return NULL;
}

/* An assigned port's refusal has the port 0, too: is this another copy of it? */
static bool
is_copy(const struct path *p, mstime now, const struct natpmp_reply *r)
{
	const struct mapping *m;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit != NULL && m->internal_port == 0 && m->protocol == r->protocol &&
	    m->tries == 0 && now - m->asked <= COPY_TIME && m->problem.trouble == TROUBLE_REFUSED &&
	    m->problem.mapper == MAPPER_NATPMP && m->problem.result == r->result)
		return true;
	return false;
}

/* Which of our requests does this answer? Errors may not say: there is only one. */
static struct mapping *
natpmp_match(struct path *p, mstime now, const struct natpmp_reply *r)
{
	struct mapping *x = answers(p, EXCHANGE_MAP, MAPPER_NATPMP) ? p->exchange.mapping : NULL;
	struct mapping *m;

	if (x != NULL && x->protocol == r->protocol &&
	    (r->internal_port == x->internal_port ||
		(r->result != 0 && !r->has_ports && !is_copy(p, now, r))))
		return x;
	if (!r->has_ports && r->result != 0 && !p->answered)
		return contact_head(p, r->protocol);
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->asked_natpmp && m->protocol == r->protocol &&
	    (m->tries > 0 || (r->result == 0 && mapping_contested(m, now))) &&
	    m->internal_port == r->internal_port && mapping_internal(m) == NULL &&
	    (!mapping_leased(m, now) || m->maker == MAPPER_NATPMP))
		return m;
	/* An assigned port may come back as both; but not if it is the late answer to
	 * another mapping's request. */
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->protocol == r->protocol && m->internal_port == r->internal_port)
		return NULL;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->internal_port == 0 && m->asked_natpmp && m->protocol == r->protocol &&
	    m->tries > 0 && r->has_ports && r->internal_port == r->external_port)
		return m;
	return NULL;
}

/* Port numbers cut to 8 bits and the like: never accepted, but worth a word. */
static void
natpmp_garbled(struct path *p, mstime now, const struct natpmp_reply *r)
{
	struct mapping *m = NULL, *each;

	TAILQ_FOREACH(each, &p->mappings, of_path)
	if (each->internal_port == r->internal_port)
		return; /* a late one, for another of ours */
	TAILQ_FOREACH(each, &p->mappings, of_path)
	if (each->unit != NULL && each->protocol == r->protocol && each->tries > 0 &&
	    each->asked_natpmp && !mapping_leased(each, now))
		m = each;
	if (m == NULL || r->result != 0)
		return;
	if (m->garbled >= m->tries || ++m->garbled < 3)
		return;
	m->garbled = 0;
	m->tries = 0;
	m->decided = true;
	m->problem = (struct problem){ TROUBLE_GARBLED, MAPPER_NATPMP, 0 };
	if (p->exchange.mapping == m)
		p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	mapping_enter(m, now, MAPPING_FAILED, now + 15 * 60 * MSTIME_SECOND);
}

static void
natpmp_map(struct path *p, mstime now, const struct natpmp_reply *r)
{
	struct mapping *m = natpmp_match(p, now, r);
	struct answer a = { .mapper = MAPPER_NATPMP,
		.result = r->result,
		.lifetime = r->lifetime,
		.external_port = r->external_port };
	const uint32_t *news = r->has_epoch ? &r->epoch : NULL;
	bool late;

	if (m == NULL) {
		natpmp_garbled(p, now, r);
		return;
	}
	late = is_late_grant(m, now, &a);
	if (r->has_epoch && !late && overtaken(p, MAPPER_NATPMP, r->epoch, m))
		return;
	if (p->exchange.mapping == m && mapping_expects(m, &a))
		exchange_done(p, now);
	if (late && is_older(p, MAPPER_NATPMP, r->epoch))
		news = NULL;
	path_heard(p, now, MAPPER_NATPMP, news);
	if (r->result == NATPMP_NETWORK_FAILURE && m->state != MAPPING_RELEASING)
		path_address(p, now, false, NULL);
	mapping_answer(m, now, &a);
}

static bool
pcp_outstanding(const struct path *p)
{
	if (!p->answered)
		return p->contact.sends[0] > 0;
	return p->exchange.kind != EXCHANGE_NONE && p->exchange.mapper == MAPPER_PCP;
}

static bool
natpmp_outstanding(const struct path *p)
{
	if (!p->answered)
		return p->contact.sends[1] > 0;
	return p->exchange.kind != EXCHANGE_NONE && p->exchange.mapper == MAPPER_NATPMP;
}

static void
natpmp_input(struct path *p, mstime now, const void *bytes, size_t n)
{
	struct natpmp_reply r;

	if (!natpmp_decode(bytes, n, &r))
		return;
	if (r.kind == NATPMP_VERSION) {
		if (pcp_outstanding(p))
			path_version_error(p, now, MAPPER_NATPMP, 0);
		return;
	}
	/* Version 0 in answer to PCP without saying so is a server's bug. */
	if (!p->asked[dialect(MAPPER_NATPMP)])
		return;
	if (r.kind == NATPMP_ADDRESS)
		natpmp_address(p, now, &r);
	else
		natpmp_map(p, now, &r);
}

/* ---- in: PCP -------------------------------------------------------------------------------- */

static bool
same_internal(const struct mapping *m, const struct pcp_reply *r)
{
	const struct netaddr *internal = mapping_internal(m);

	if (internal == NULL)
		return !r->has_internal;
	return !r->has_internal || netaddr_equal(internal, &r->internal);
}

/* RFC 6887 section 11.4: protocol, internal port, nonce; the address is the socket's. */
static bool
pcp_fits(const struct mapping *m, const struct pcp_reply *r)
{
	return m->asked_pcp && m->protocol == r->protocol && m->internal_port == r->internal_port &&
	    memcmp(m->nonce, r->nonce, sizeof(m->nonce)) == 0 && same_internal(m, r);
}

static struct mapping *
pcp_match(struct path *p, const struct pcp_reply *r)
{
	struct mapping *x = answers(p, EXCHANGE_MAP, MAPPER_PCP) ? p->exchange.mapping : NULL;
	struct mapping *m;

	/* First the one that is asked for now: a mapping and its ghost share everything. */
	if (x != NULL && (!r->has_map || pcp_fits(x, r)))
		return x;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (r->has_map && pcp_fits(m, r))
		return m;
	return NULL;
}

static void
pcp_map(struct path *p, mstime now, const struct pcp_reply *r)
{
	struct mapping *m = pcp_match(p, r);
	struct answer a = { .mapper = MAPPER_PCP,
		.result = r->result,
		.lifetime = r->lifetime,
		.external_port = r->external_port,
		.has_external = true,
		.external = r->external,
		.set_size = r->set_size,
		.set_first = r->set_first };
	const struct netaddr *internal;
	bool late = m != NULL && is_late_grant(m, now, &a);

	if (m == NULL || (!late && overtaken(p, MAPPER_PCP, r->epoch, m)))
		return;
	/* A firewall that renews a pinhole repeats whatever port was suggested, 0 as well.
	 * Where the address is not translated, neither is the port. */
	internal = mapping_internal(m) != NULL ? mapping_internal(m) : &p->local;
	if (p->family == FAMILY_IPV6 && r->result == PCP_SUCCESS && r->lifetime > 0 &&
	    netaddr_equal(&r->external, internal))
		a.external_port = m->internal_port;
	/* Refuses what has been asked for again without it meanwhile. */
	if (r->result != PCP_SUCCESS &&
	    ((r->described && !m->described) || (r->has_set && m->count == 1)))
		return;
	a.ignored = option_ignored(m, r);
	if (p->exchange.mapping == m && p->exchange.mapper == MAPPER_PCP && mapping_expects(m, &a))
		exchange_done(p, now);
	exchange_mapped(p, now);
	path_heard(
	    p, now, MAPPER_PCP, late && is_older(p, MAPPER_PCP, r->epoch) ? NULL : &r->epoch);
	/* A lease is never moved to another protocol while it lives. */
	if (mapping_leased(m, now) && m->maker != MAPPER_PCP)
		return;
	mapping_answer(m, now, &a);
}

static void
pcp_input(struct path *p, mstime now, const void *bytes, size_t n)
{
	struct pcp_reply r;

	switch (pcp_decode(bytes, n, &r)) {
	case PCP_DROP:
		return;
	case PCP_FRAGMENT:
		/* A PCP server's answer to NAT-PMP, cut to the size of the question. */
		if (natpmp_outstanding(p))
			path_version_error(p, now, MAPPER_PCP, 0);
		return;
	case PCP_OTHER_VERSION:
		/* In PCP's own form it answers NAT-PMP: a PCP-only server. */
		if (r.version == PCP_VERSION && natpmp_outstanding(p)) {
			path_version_error(p, now, MAPPER_PCP, 0);
			return;
		}
		/* Version 1, or none that we speak: NAT-PMP is what is left. */
		if (pcp_outstanding(p))
			path_version_error(p, now, MAPPER_NATPMP, r.lifetime);
		return;
	case PCP_REPLY:
		break;
	}
	if (!p->asked[dialect(MAPPER_PCP)])
		return;
	if (r.opcode == PCP_MAP) {
		pcp_map(p, now, &r);
		return;
	}
	if (answers(p, EXCHANGE_ANNOUNCE, MAPPER_PCP)) {
		exchange_done(p, now);
		p->announce_works = true;
		p->announce_deaf = false;
		p->announce_lost = 0;
	} else if (overtaken(p, MAPPER_PCP, r.epoch, NULL)) {
		return;
	}
	path_heard(p, now, MAPPER_PCP, &r.epoch);
}

void
portcontrol_input(struct path *p, mstime now, const void *bytes, size_t n)
{
	const uint8_t *octets = bytes;

	if (n < 2)
		return;
	if (octets[0] == 0)
		natpmp_input(p, now, bytes, n);
	else
		pcp_input(p, now, bytes, n);
}

/* ---- announcements ----------------------------------------------------------------------------
 */

/*
 * RFC 6886 section 3.2.1, RFC 6887 section 14.1.3. An announcement is a hint: its epoch is
 * compared, never stored (miniupnpd sends the old one first, Q-004); a unicast answer decides.
 */
bool
portcontrol_is_hint(const struct path *p, mstime now, uint16_t port, const void *bytes, size_t n)
{
	const uint8_t *octets = bytes;
	const struct epoch *natpmp = &p->epochs[dialect(MAPPER_NATPMP)];
	const struct epoch *pcp = &p->epochs[dialect(MAPPER_PCP)];
	struct natpmp_reply a;
	struct pcp_reply b;

	if (n < 2)
		return false;
	if (octets[0] == 0) {
		if (!natpmp_decode(bytes, n, &a) || a.kind != NATPMP_ADDRESS || !a.has_epoch)
			return false;
		if (!p->answered || p->outage || !natpmp->known)
			return true;
		return epoch_is_reset(natpmp, MAPPER_NATPMP, a.epoch, now) ||
		    (a.result == 0 && p->mapper == MAPPER_NATPMP &&
			(!p->has_external || !netaddr_equal(&a.external, &p->external)));
	}
	if (port != PCP_SERVER_PORT || pcp_decode(bytes, n, &b) != PCP_REPLY ||
	    b.opcode != PCP_ANNOUNCE || b.result != PCP_SUCCESS)
		return false;
	/* With NAT-PMP alone there is nothing to compare it with. */
	return !p->answered || p->outage || !pcp->known ||
	    epoch_is_reset(pcp, MAPPER_PCP, b.epoch, now);
}
