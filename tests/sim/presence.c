/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* Is everything where it should be: at the gateway, in the status, in what was told? */

#define TOLD_LAG (6 * MSTIME_SECOND) /* an address may follow up to 5 s later */
/* To be asked to delete and make anew takes one round trip, or a few. */
#define REBIRTH (20 * MSTIME_SECOND)
/* What a gateway has refused may rest for an hour before it is deleted. */
#define DRAINED (65 * MINUTE)
/* A port that is required is tried for again every 15 minutes. */
#define REQUIRE_RETRY (17 * MINUTE)
/* That PCP is spoken now, or an option processed, is found out within the hour. */
#define OPTION_RETRY (75 * MINUTE)

/* ---- what the engine says --------------------------------------------------------------- */

static void
view(struct sim *s, const struct want *w, const struct mapping_status *m)
{
	uint16_t port = w->spec.assigned ? w->base : m->internal_port;
	struct view *v;

	/* the one that is released may have a successor */
	if (m->state == MAPPING_RELEASING)
		return;
	v = &s->views[track_index(oracle_slot(s, m), m->protocol, port)];
	v->known = true;
	v->state = m->state;
	v->external_port = m->external_port;
	v->has_external = m->has_external;
	v->external = m->external;
}

void
oracle_look(struct sim *s)
{
	struct mapping_status m;

	memset(s->views, 0, sizeof s->views);
	for (size_t i = 0; engine_mapping_status(s->engine, s->now, i, &m); i++) {
		const struct want *w = oracle_want(s, m.forward);
		if (w)
			view(s, w, &m);
		else
			sim_fail(s, "status of an unknown forward");
	}
}

/* ---- told, and so ----------------------------------------------------------------------- */

/* Is what was told of a unit what the engine says of it now? Its first port is for the report. */
static bool
told_is_so(struct sim *s, const struct want *w, enum family family, uint8_t protocol, bool *up,
    struct mapping_status *first)
{
	const struct told *t = &w->told[family][protocol == PROTOCOL_TCP];
	uint16_t ports[RANGE] = { 0 };
	size_t n;

	memset(first, 0, sizeof *first);
	n = engine_unit(s->engine, s->now, w->name, family, protocol, first, ports, RANGE);
	*up = n > 0;
	for (unsigned k = 0; k < n; k++)
		*up &=
		    s->views[track_index(oracle_slot(s, first), protocol, want_port(w, k))].state ==
		    MAPPING_ACTIVE;
	if (t->up != *up || !t->up)
		return t->up == *up;
	/* A silent gateway cannot be asked for its address: what was told stays until it can. */
	return !memcmp(ports, t->ports, sizeof ports) &&
	    (oracle_same_external(t, first) ||
		(!first->has_external && host_path(s, oracle_slot(s, first))->silent));
}

static void
compare_told(struct sim *s, struct want *w, enum family family, uint8_t protocol)
{
	struct told *t = &w->told[family][protocol == PROTOCOL_TCP];
	struct mapping_status first;
	bool up;

	if (told_is_so(s, w, family, protocol, &up, &first)) {
		t->differs_since = 0;
		return;
	}
	s->differs = true;
	if (!t->differs_since)
		t->differs_since = s->now;
	else if (s->now - t->differs_since > TOLD_LAG)
		sim_fail(s, "%s is %s at %08x:%u, but what was told is %s at %08x:%u", w->name,
		    up ? "up" : "down", first.has_external ? gw_ipv4(&first.external) : 0,
		    first.external_port, t->up ? "up" : "down",
		    t->has_external ? gw_ipv4(&t->external) : 0, t->ports[0]);
}

static void
recheck_told(struct sim *s, struct want *w, enum family family, uint8_t protocol)
{
	struct told *t = &w->told[family][protocol == PROTOCOL_TCP];
	struct mapping_status first;
	bool up;

	if (t->differs_since && told_is_so(s, w, family, protocol, &up, &first))
		t->differs_since = 0;
	s->differs |= t->differs_since != 0;
}

/* Between two audits, each of which meets a moment of its own, all was well. */
void
oracle_recheck(struct sim *s)
{
	s->differs = false;
	oracle_look(s);
	for (unsigned i = 0; i < s->n_wants; i++)
		for (unsigned f = 0; f < FAMILIES; f++) {
			recheck_told(s, &s->wants[i], (enum family)f, PROTOCOL_TCP);
			recheck_told(s, &s->wants[i], (enum family)f, PROTOCOL_UDP);
		}
}

/* Two rebirths of a range's ports, each short, may each meet an audit. */
void
oracle_told(struct sim *s, struct want *w, enum family family, uint8_t protocol)
{
	oracle_look(s);
	compare_told(s, w, family, protocol);
}

static void
compare_all(struct sim *s)
{
	for (unsigned i = 0; i < s->n_wants; i++)
		for (unsigned f = 0; f < FAMILIES; f++) {
			compare_told(s, &s->wants[i], (enum family)f, PROTOCOL_TCP);
			compare_told(s, &s->wants[i], (enum family)f, PROTOCOL_UDP);
		}
}

/* ---- at the gateway --------------------------------------------------------------------- */

static uint16_t
wish(const struct want *w, unsigned k)
{
	return (uint16_t)((w->spec.external == EXTERNAL_FIXED ? w->spec.external_port
							      : w->spec.internal_port) +
	    k);
}

static bool
port_is_up(struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, unsigned k,
    char *why, size_t n)
{
	const struct slot *g = &s->slots[slot];
	struct gw_box *b = &s->boxes[g->box];
	unsigned port = w->spec.assigned ? 0u : w->spec.internal_port + k;
	uint32_t client = w->spec.has_internal ? THIRD : g->local;
	const struct gw_entry *e = gw_find(b, s->now, client, protocol, (uint16_t)port);
	const struct view *v = &s->views[track_index(slot, protocol, want_port(w, k))];
	struct netaddr external = oracle_external(s, slot);

	if (!e)
		snprintf(why, n, "the gateway %u does not have port %u", slot, port);
	else if (!v->known)
		snprintf(why, n, "there is no status of port %u", port);
	else if (v->state != MAPPING_ACTIVE)
		snprintf(why, n, "port %u is %s", port, mapping_state_name(v->state));
	else if (v->external_port != e->external)
		snprintf(why, n, "port %u is told at %u and is at %u", port, v->external_port,
		    e->external);
	else if (!v->has_external)
		snprintf(why, n, "port %u has no external address", port);
	else if (!netaddr_equal(&v->external, &external))
		snprintf(why, n, "port %u has an old external address", port);
	else
		return true;
	return false;
}

/* The same, but for the moment of a rebirth, or of a move: what did not get the port that it wishes
 * for is deleted and made anew when that may be free (ask.c), and meanwhile still shown. */
static bool
port_is_well(struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, unsigned k,
    char *why, size_t n)
{
	unsigned t = track_index(slot, protocol, want_port(w, k));
	mstime *since = &s->down_since[t];

	if (port_is_up(s, slot, w, protocol, k, why, n)) {
		s->seen[FEATURE_WON_BACK] += s->elsewhere[t] && w->spec.external != EXTERNAL_ANY &&
		    s->views[t].external_port == wish(w, k);
		s->elsewhere[t] =
		    w->spec.external != EXTERNAL_ANY && s->views[t].external_port != wish(w, k);
		*since = 0;
		return true;
	}
	if (!*since)
		*since = s->now;
	if (!(s->boxes[s->slots[slot].box].never_renews || s->elsewhere[t]) ||
	    s->now - *since >= REBIRTH)
		return false;
	s->pardoned = true;
	return true;
}

/* Would the gateway give this port? One of ours, or of an address of ours before, may have it. */
static bool
could_be_had(struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal, uint16_t port)
{
	const struct slot *g = &s->slots[slot];
	const struct gw_box *b = &s->boxes[g->box];

	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		const struct gw_entry *e = &b->entries[i];
		if (e->used && e->until > s->now && e->protocol == protocol &&
		    e->external == port && (e->client != g->local || e->internal != internal))
			return false;
	}
	if (b->ipv6 && !b->translates)
		return port == internal;
	switch (b->ports) {
	case PORTS_AS_ASKED:
		return true;
	case PORTS_LIST:
		return (port >> 4) % 4 == 1;
	case PORTS_PLUS_ONE:
		return port != internal;
	case PORTS_RANDOM:
		break;
	}
	return port >= 20000;
}

/* Exactly that port, or nothing: it must be had if it is to be had, in time. */
static bool
required_is_well(struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, unsigned k,
    char *why, size_t n)
{
	unsigned t = track_index(slot, protocol, want_port(w, k));
	uint16_t internal = (uint16_t)(w->spec.internal_port + k);
	const struct gw_entry *e = gw_find(
	    &s->boxes[s->slots[slot].box], s->now, s->slots[slot].local, protocol, internal);
	/* The box has moved it, and the next renewal will show that. */
	bool moved = s->mask & BIT(FAULT_UPDATE) && e && e->external != wish(w, k);

	if (moved || !could_be_had(s, slot, protocol, internal, wish(w, k))) {
		s->could_since[t] = 0;
		if (s->views[t].state == MAPPING_FAILED)
			s->seen[FEATURE_REQUIRE_REFUSED]++;
		return true;
	}
	if (!s->could_since[t])
		s->could_since[t] = s->now;
	if (port_is_well(s, slot, w, protocol, k, why, n)) {
		s->seen[FEATURE_REQUIRE_HAD]++;
		return true;
	}
	return s->now - s->could_since[t] < REQUIRE_RETRY || s->now - s->calm_since < REQUIRE_RETRY;
}

/* May PCP be spoken there at all? */
static bool
may_speak_pcp(struct sim *s, unsigned slot)
{
	const struct gateway_spec *g = slot_gateway(s, slot);

	for (unsigned i = 0; i < g->n_mappers; i++)
		if (g->mappers[i] == MAPPER_PCP)
			return true;
	return false;
}

/* With options that the gateway must process: it does, or it is not published. */
static bool
options_are_well(struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, unsigned k,
    char *why, size_t n)
{
	unsigned t = track_index(slot, protocol, want_port(w, k));
	const struct gw_box *b = &s->boxes[s->slots[slot].box];

	if (w->spec.require &&
	    !could_be_had(s, slot, protocol, (uint16_t)(w->spec.internal_port + k), wish(w, k))) {
		s->could_since[t] = 0;
		return true;
	}
	if (b->speaks == SPEAKS_NATPMP || b->options != OPTIONS_PROCESSED ||
	    !may_speak_pcp(s, slot)) {
		s->could_since[t] = 0;
		if (s->views[t].state == MAPPING_FAILED)
			s->seen[FEATURE_OPTION_REFUSED]++;
		else if (s->views[t].state == MAPPING_ACTIVE)
			snprintf(why, n,
			    "port %u is active at gateway %u without its option (%d %d)",
			    want_port(w, k), slot, b->options, b->speaks);
		return s->views[t].state != MAPPING_ACTIVE;
	}
	if (!s->could_since[t])
		s->could_since[t] = s->now;
	if (port_is_well(s, slot, w, protocol, k, why, n)) {
		s->seen[w->spec.has_internal ? FEATURE_THIRD_PARTY : FEATURE_FILTER]++;
		return true;
	}
	return s->now - s->could_since[t] < OPTION_RETRY || s->now - s->calm_since < OPTION_RETRY;
}

static bool
idle_is_idle(struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, unsigned k,
    char *why, size_t n)
{
	const struct view *v = &s->views[track_index(slot, protocol, want_port(w, k))];

	if (v->state == MAPPING_IDLE)
		s->seen[FEATURE_IDLE]++;
	else
		snprintf(why, n, "port %u, which nobody holds, is %s", want_port(w, k),
		    mapping_state_name(v->state));
	return v->state == MAPPING_IDLE;
}

static bool
want_is_well(
    struct sim *s, unsigned slot, const struct want *w, uint8_t protocol, char *why, size_t n)
{
	for (unsigned k = 0; k < w->spec.count; k++) {
		if (!want_is_live(w)) {
			if (!idle_is_idle(s, slot, w, protocol, k, why, n))
				return false;
		} else if (want_has_options(w)) {
			if (!options_are_well(s, slot, w, protocol, k, why, n))
				return false;
		} else if (w->spec.require) {
			if (!required_is_well(s, slot, w, protocol, k, why, n))
				return false;
		} else if (!port_is_well(s, slot, w, protocol, k, why, n))
			return false;
	}
	return true;
}

/* Leases too short for renewals 4 s apart come and go, and take all there is of the pace. */
bool
oracle_short_leases(const struct sim *s)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->boxes[s->slots[i].box].max_life < 13)
			return true;
	return false;
}

bool
oracle_is_up(struct sim *s, unsigned slot, char *why, size_t n)
{
	if (oracle_short_leases(s))
		return true;
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct want *w = &s->wants[i];

		if (!want_is_on(s, w, slot) || !w->wanted)
			continue;
		if ((w->spec.tcp && !want_is_well(s, slot, w, PROTOCOL_TCP, why, n)) ||
		    (w->spec.udp && !want_is_well(s, slot, w, PROTOCOL_UDP, why, n)))
			return false;
	}
	return true;
}

/* ---- what must not be there ------------------------------------------------------------- */

/* Granted at another port than the one required: the engine has yet to hear of it, or the gateway
 * of the engine's answer. */
static bool
is_on_its_way(
    const struct sim *s, const struct want *w, unsigned slot, const struct gw_entry *e, unsigned k)
{
	/* a set is asked for by its first port */
	for (unsigned i = 0; i <= k; i += k ? k : 1) {
		const struct track *t = &s->tracks[track_index(slot, e->protocol, want_port(w, i))];
		if ((t->asked_at && s->now - t->asked_at < 5 * MSTIME_SECOND) ||
		    (t->left_at && s->now - t->left_at < 5 * MSTIME_SECOND))
			return true;
	}
	return false;
}

/* Another host's, or for a moment this one's where THIRD_PARTY is ignored. */
static bool
is_client(
    const struct sim *s, const struct want *w, unsigned slot, const struct gw_entry *e, unsigned k)
{
	if (!w->spec.has_internal)
		return e->client == s->slots[slot].local;
	return e->client == THIRD ||
	    (e->client == s->slots[slot].local && is_on_its_way(s, w, slot, e, k));
}

static bool
entry_is_wanted(const struct sim *s, const struct slot *g, const struct gw_entry *e)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct want *w = &s->wants[i];
		unsigned k = (unsigned)(e->internal - w->spec.internal_port);

		for (unsigned slot = 0; slot < SLOTS && want_is_live(w); slot++)
			if (want_is_on(s, w, slot) && s->slots[slot].box == g->box &&
			    k < w->spec.count && is_client(s, w, slot, e, k) &&
			    (e->protocol == PROTOCOL_TCP ? w->spec.tcp : w->spec.udp) &&
			    (!w->spec.require || e->external == wish(w, k) ||
				is_on_its_way(s, w, slot, e, k)))
				return true;
	}
	return false;
}

const struct gw_entry *
oracle_stray(struct sim *s, unsigned slot)
{
	const struct slot *g = &s->slots[slot];

	for (unsigned k = 0; g->used && k < GW_ENTRIES; k++) {
		const struct gw_entry *e = &s->boxes[g->box].entries[k];

		/* an assigned one cannot be deleted, it lapses */
		if (e->used && e->until > s->now && e->internal &&
		    (e->client == g->local || e->client == THIRD) && !entry_is_wanted(s, g, e))
			return e;
	}
	return NULL;
}

void
oracle_nothing_left(struct sim *s)
{
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			int t = oracle_index(s, i, e->protocol, e->internal);
			/* not what this daemon has never heard of: a start without memory, and a
			 * pair of which the other was refused; nor what is over to it already */
			if (e->used && e->until > s->now + MSTIME_SECOND && e->internal && t >= 0 &&
			    s->tracks[t].asked && entry_is_wanted(s, &s->slots[i], e))
				sim_fail(s, "port %u was left behind at the gateway", e->internal);
		}
}

/* ---- pairs ------------------------------------------------------------------------------ */

/* Every gateway gives a port that it has given before, for the other protocol too, if it is free
 * there: then nothing excuses two numbers. */
void
oracle_pairs(struct sim *s)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		for (unsigned i = 0; i < s->n_wants; i++) {
			const struct want *w = &s->wants[i];
			const struct forward_spec *f = &w->spec;

			if (!want_is_on(s, w, slot) || !want_is_live(w) || !f->tcp || !f->udp ||
			    f->independent || f->require || f->assigned || want_has_options(w))
				continue;
			for (unsigned k = 0; k < f->count; k++) {
				uint16_t port = (uint16_t)(f->internal_port + k);
				const struct view *tcp =
				    &s->views[track_index(slot, PROTOCOL_TCP, want_port(w, k))];
				const struct view *udp =
				    &s->views[track_index(slot, PROTOCOL_UDP, want_port(w, k))];

				if (tcp->state != MAPPING_ACTIVE || udp->state != MAPPING_ACTIVE)
					continue;
				if (tcp->external_port != udp->external_port &&
				    could_be_had(s, slot, PROTOCOL_UDP, port, tcp->external_port) &&
				    could_be_had(s, slot, PROTOCOL_TCP, port, udp->external_port))
					sim_fail(s,
					    "port %u is at %u by tcp and at %u by udp, though "
					    "both are to be had",
					    port, tcp->external_port, udp->external_port);
				else if (tcp->external_port == udp->external_port)
					s->seen[FEATURE_PAIR]++;
			}
		}
}

/* ---- audits ----------------------------------------------------------------------------- */

/* Everything is well: what was that? */
static void
see(struct sim *s)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct want *w = &s->wants[i];
		const struct forward_spec *f = &w->spec;

		if (!want_is_live(w) || f->require || want_has_options(w))
			continue;
		s->seen[FEATURE_IPV6] += f->ipv6;
		s->seen[FEATURE_BOTH] += f->ipv4 && f->ipv6;
		s->seen[FEATURE_RANGE] += f->count > 1;
		s->seen[FEATURE_ANY] += f->external == EXTERNAL_ANY && !f->assigned;
		s->seen[FEATURE_ASSIGNED] += f->assigned;
		s->seen[FEATURE_HELD] += f->on_demand;
		s->seen[FEATURE_VPN] += w->gateway == GATEWAY_VPN;
		s->seen[FEATURE_SAME_ADDRESS] += w->gateway == GATEWAY_VPN &&
		    s->boxes[BOX_VPN].address == s->boxes[BOX_HOME].address;
		s->seen[FEATURE_TWIN] += w->gateway == GATEWAY_TWIN;
		s->seen[FEATURE_CGNAT] +=
		    w->gateway == GATEWAY_DEFAULT && f->ipv4 && s->boxes[BOX_HOME].cgnat;
		s->seen[FEATURE_NEVER_RENEWS] += f->ipv6 && s->boxes[BOX_HOME6].never_renews;
		s->seen[FEATURE_ECHOES] += f->ipv6 && s->boxes[BOX_HOME6].echoes;
		s->seen[FEATURE_TRANSLATES] += f->ipv6 && s->boxes[BOX_HOME6].translates;
	}
}

/* What was asked for over a way that is not the present one is released by now. */
static void
drained(struct sim *s)
{
	for (uint32_t i = 0; i < s->n_paths && s->now - s->calm_since > DRAINED; i++) {
		const struct path *p = &s->paths[i];

		if (p->drains && !p->done && !p->dead && !p->absent)
			sim_fail(s, "path %u is still being left", p->number);
	}
}

void
oracle_audit(struct sim *s)
{
	bool all = true;
	struct mapping_status m;
	char why[160];

	s->pardoned = false;
	oracle_look(s);
	if (engine_next(s->engine) > s->now) { /* else this host is late */
		for (size_t i = 0; engine_mapping_status(s->engine, s->now, i, &m); i++)
			oracle_honest(s, oracle_want(s, m.forward), &m);
		compare_all(s);
	}
	if (!s->calm)
		return;
	drained(s);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *g = &s->slots[i];
		if (!g->used)
			continue;
		if (oracle_is_up(s, i, why, sizeof why)) {
			g->unnoticed = false;
			continue;
		}
		all = false;
		if (s->now > g->excused && !s->drilling)
			sim_fail(s, "calm since %lld s, but %s",
			    (long long)(s->now - s->calm_since) / 1000, why);
	}
	s->healthy = all && !s->pardoned;
	if (s->healthy)
		see(s);
}
