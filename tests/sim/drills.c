/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* Calm and chaos in turn. In calm everything must come back, cost little, and survive drills. */

#define CALM (3 * HOUR)

static void
at(struct sim *s, mstime minutes, enum drill d)
{
	sim_schedule(s, s->now + minutes * MINUTE, H_DRILL, d);
}

void
drill_phase(struct sim *s)
{
	s->calm = !s->calm;
	s->healthy = s->drilling = s->in_quiet = false;
	sim_log(s, s->calm ? "calm" : "chaos", 0, "", 0);
	if (!s->calm) {
		sim_schedule(s, s->now + 1, H_FAULT, 0);
		if (s->breadth >= WIDE)
			sim_schedule(s, s->now + 1, H_ODD, 0);
		if (s->breadth == FULL)
			sim_schedule(s, s->now + 1, H_MORE, 0);
		sim_schedule(
		    s, s->now + HOUR / 2 + (mstime)rng_below(&s->faults, 5 * HOUR), H_PHASE, 0);
		return;
	}
	s->calm_since = s->now;
	fault_calm(s);
	at(s, 75, DRILL_MAPPER);
	at(s, 80, DRILL_QUIET_BEGIN);
	at(s, 120, DRILL_QUIET_END);
	at(s, 122, DRILL_REBOOT);
	if (s->breadth >= WIDE) {
		at(s, 130, DRILL_EDIT);
		at(s, 140, DRILL_HOLD);
	}
	at(s, 150, DRILL_RESTART);
	at(s, 165, DRILL_STOP);
	sim_schedule(s, s->now + CALM, H_PHASE, 0);
}

static unsigned
mappings_of(const struct sim *s, unsigned slot)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_wants; i++)
		if (want_is_on(s, &s->wants[i], slot) && want_is_live(&s->wants[i]))
			n += want_mappings(&s->wants[i]);
	return n;
}

/* A gateway serves one request after another. */
static mstime
round_trips(const struct sim *s, unsigned slot)
{
	mstime apart = 0;

	/* What only PCP can say is asked for by PCP first, where it may not be spoken. */
	for (unsigned i = 0; i < s->n_wants; i++)
		if (want_is_on(s, &s->wants[i], slot) && want_has_options(&s->wants[i]))
			apart += 2 * MSTIME_SECOND * (mstime)want_mappings(&s->wants[i]);
	return 500 + apart + 2 * (mstime)s->rtt * (mstime)(2 * mappings_of(s, slot) + 4);
}

static bool
gateway_status(struct sim *s, unsigned slot, struct gateway_status *out)
{
	for (size_t i = 0; engine_gateway_status(s->engine, s->now, i, out); i++)
		if (out->family == s->slots[slot].family &&
		    strcmp(out->name, slot_gateway(s, slot)->name) == 0)
			return true;
	return false;
}

static bool
well(struct sim *s)
{
	char why[160];

	oracle_look(s);
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used &&
		    (s->now <= s->slots[i].excused || !oracle_is_up(s, i, why, sizeof why)))
			return false;
	return s->healthy;
}

static void
must_be_up(struct sim *s, const char *after)
{
	char why[160];

	oracle_look(s);
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->now > s->slots[i].excused &&
		    !oracle_is_up(s, i, why, sizeof why))
			sim_fail(s, "after %s: %s", after, why);
}

/* ---- the older protocol is not for ever ------------------------------------------------- */

/* PCP that cannot map is left for NAT-PMP, for an hour. */
static bool
was_mapless(const struct sim *s, unsigned slot)
{
	const struct gw_box *b = &s->boxes[s->slots[slot].box];

	return b->mapless && s->now - b->mapless < HOUR + 2 * MINUTE;
}

static void
drill_mapper(struct sim *s)
{
	struct gateway_status g;

	if (!well(s))
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->boxes[s->slots[i].box].speaks != SPEAKS_NATPMP &&
		    slot_gateway(s, i)->mappers[0] == MAPPER_PCP && mappings_of(s, i) &&
		    !was_mapless(s, i) && gateway_status(s, i, &g) && g.mapper != MAPPER_PCP)
			sim_fail(s, "gateway %s speaks PCP and is asked by %s", g.name,
			    g.mapper ? mapper_name(g.mapper) : "nothing");
}

/* ---- what quiet costs ------------------------------------------------------------------- */

static uint64_t
quiet_budget(struct sim *s, mstime window)
{
	double n = 8;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct gateway_status g;
		double per;
		if (!s->slots[i].used || !gateway_status(s, i, &g))
			continue;
		/* NAT-PMP has the address to ask for; its leases outlive a return to PCP */
		per = s->boxes[s->slots[i].box].speaks == SPEAKS_PCP ? 1 : 2;
		if (s->boxes[s->slots[i].box].never_renews)
			per *= 5; /* refused, again, and at last deleted and made anew */
		for (unsigned k = 0; k < s->n_wants; k++) {
			const struct want *w = &s->wants[k];
			mstime every = oracle_renewal(s, w, i);
			if (!want_is_on(s, w, i))
				continue;
			if (every < 2000)
				every = 2000;
			n += per * want_mappings(w) * ((double)window / (double)every + 2);
		}
		if (slot_gateway(s, i)->probe_interval)
			n += (double)window / (slot_gateway(s, i)->probe_interval * 1000.0) + 2;
	}
	return (uint64_t)n;
}

static void
drill_quiet(struct sim *s, bool ends)
{
	if (!ends) {
		s->in_quiet = well(s);
		for (unsigned i = 0; i < s->n_wants; i++)
			if (want_is_special(&s->wants[i]))
				s->in_quiet = false; /* its retries would have to be told apart */
		s->window_begin = s->now;
		s->window_sent = s->sent;
		return;
	}
	if (s->in_quiet && s->sent - s->window_sent > quiet_budget(s, s->now - s->window_begin))
		sim_fail(s, "%llu packets in 40 quiet minutes, %llu would do",
		    (unsigned long long)(s->sent - s->window_sent),
		    (unsigned long long)quiet_budget(s, s->now - s->window_begin));
	s->in_quiet = false;
}

/* A slow one may still go on when the next begins. */
static void
drilling(struct sim *s, mstime due)
{
	s->drilling = true;
	if (s->drilling_until < s->now + due)
		s->drilling_until = s->now + due;
}

/* ---- the gateway reboots ---------------------------------------------------------------- */

static void
drill_reboot(struct sim *s)
{
	unsigned slot = s->slots[1].used && rng_chance(&s->faults, 300) ? 1 : 0;
	struct slot *g = &s->slots[slot];
	struct gw_box *b = &s->boxes[g->box];
	/* by a clock that may have been heard once, at 0, after an update: that says nothing
	 * (Q-007) */
	bool announced = b->announces != ANNOUNCE_NOT && !g->firmware;

	if (!well(s) || b->frozen || !mappings_of(s, slot))
		return;
	/* its next epoch must differ from what the present one would have become */
	if (!b->restart_step && gw_epoch(b, s->now) < 2700)
		return;
	if (!announced && !slot_gateway(s, slot)->probe_interval)
		return;
	s->drill_due = s->now +
	    (announced ? 0 : (mstime)slot_gateway(s, slot)->probe_interval * 1000) +
	    (mstime)s->settings.recovery_delay * 1000 + 1000 + round_trips(s, slot);
	s->drilling = true;
	s->disturbed = s->drill_due;
	fault_reboot(s, g->box, false);
	g->unnoticed = false;
	wire_announce(s, g->box);
	s->window_sent = s->sent;
	s->window_begin = s->now;
	sim_schedule(s, s->drill_due, H_DRILL, DRILL_REBOOT_CHECK);
}

static void
drill_reboot_check(struct sim *s)
{
	uint64_t budget = 10;

	must_be_up(s, "a reboot of the gateway");
	s->drilling = false;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t passed = (uint64_t)(s->now - s->window_begin);
		for (unsigned k = 0; k < s->n_wants; k++) {
			const struct want *w = &s->wants[k];
			mstime every = oracle_renewal(s, w, i);
			if (want_is_special(w))
				return;
			if (want_is_on(s, w, i))
				budget += want_mappings(w) *
				    (1 + 2 * passed / (uint64_t)(every < 2000 ? 2000 : every));
		}
		if (s->slots[i].used && slot_gateway(s, i)->probe_interval)
			budget += 1 + passed / 1000 / slot_gateway(s, i)->probe_interval;
	}
	if (s->sent - s->window_sent > budget)
		sim_fail(s, "%llu packets for one reboot, %llu would do",
		    (unsigned long long)(s->sent - s->window_sent), (unsigned long long)budget);
}

/* ---- the daemon restarts ---------------------------------------------------------------- */

/* One that is held again a moment earlier may win the port that it wishes for. */
static bool
taken_meanwhile(struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal, uint16_t port)
{
	const struct gw_box *b = &s->boxes[s->slots[slot].box];

	for (unsigned k = 0; k < GW_ENTRIES; k++) {
		const struct gw_entry *e = &b->entries[k];
		if (e->used && e->until > s->now && e->protocol == protocol &&
		    e->external == port && e->internal == port && e->internal != internal)
			return true;
	}
	return false;
}

static void
remember_ports(struct sim *s, bool compare)
{
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			int t;
			/* what cannot be renewed is made anew, elsewhere perhaps */
			if (!e->used || e->until <= s->now || e->client != s->slots[i].local ||
			    s->boxes[s->slots[i].box].never_renews ||
			    s->boxes[s->slots[i].box].max_life < 13)
				continue;
			t = oracle_index(s, i, e->protocol, e->internal);
			if (t < 0)
				continue;
			if (compare && s->drill_ports[t] && s->drill_ports[t] != e->external &&
			    !taken_meanwhile(s, i, e->protocol, e->internal, s->drill_ports[t]))
				sim_fail(s, "restart moved port %u from %u to %u", e->internal,
				    s->drill_ports[t], e->external);
			s->drill_ports[t] = e->external;
		}
}

/* Without memory a pair on two ports may be brought together. */
static void
forget_split_pairs(struct sim *s, unsigned slot)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct forward_spec *f = &s->wants[i].spec;

		for (uint16_t k = 0; f->tcp && f->udp && !f->independent && k < f->count; k++) {
			uint16_t internal = want_port(&s->wants[i], k);
			uint16_t *tcp = &s->drill_ports[track_index(slot, PROTOCOL_TCP, internal)];
			uint16_t *udp = &s->drill_ports[track_index(slot, PROTOCOL_UDP, internal)];
			if (*tcp != *udp)
				*tcp = *udp = 0;
		}
	}
}

/* A router that renews nothing says so, and asks for 30 s of patience, before it is outwitted. */
static mstime
rebirth(const struct sim *s, unsigned slot)
{
	return s->slots[slot].used && s->boxes[s->slots[slot].box].never_renews ? 2 * MINUTE : 0;
}

/* Leases of the one protocol outlive an update that took the other; while they are renewed nobody
 * asks for that, the state file has it still, and each sixteenth probe is in the one that is
 * spoken. */
static mstime
misremembered(const struct sim *s, unsigned slot)
{
	return s->slots[slot].used && s->slots[slot].firmware ? 80 * MSTIME_SECOND : 0;
}

static void
drill_restart(struct sim *s)
{
	bool memory = rng_chance(&s->faults, 600);
	mstime due = memory ? 5 * MSTIME_SECOND : 10 * MSTIME_SECOND;

	if (!well(s))
		return;
	memset(s->drill_ports, 0, sizeof s->drill_ports);
	remember_ports(s, false);
	for (unsigned i = 0; i < SLOTS && !memory; i++)
		forget_split_pairs(s, i);
	for (unsigned i = 0; i < SLOTS; i++)
		due += round_trips(s, i) + rebirth(s, i) + misremembered(s, i);
	drilling(s, due);
	host_start(s, memory);
	sim_schedule(s, s->now + due, H_DRILL, DRILL_RESTART_CHECK);
}

static void
drill_restart_check(struct sim *s)
{
	must_be_up(s, "a restart");
	s->drilling = s->now < s->drilling_until;
	remember_ports(s, true);
	if (s->clean) /* nothing was there that could have been in the way */
		oracle_pairs(s);
	s->clean = false;
}

/* ---- a reload, a hold ------------------------------------------------------------------- */

static struct want *
some_want(struct sim *s, bool on_demand)
{
	unsigned first = (unsigned)rng_below(&s->odd, s->n_wants);

	for (unsigned i = 0; i < s->n_wants; i++) {
		struct want *w = &s->wants[(first + i) % s->n_wants];
		if (!want_is_special(w) && (!on_demand || (w->spec.on_demand && w->held)))
			return w;
	}
	return NULL;
}

static bool
strays(struct sim *s)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (oracle_stray(s, i))
			return true;
	return false;
}

/* One that was not asked since its update is silent until it is asked by the other protocol. */
static mstime
acquaintance(struct sim *s, unsigned slot)
{
	return s->slots[slot].firmware > host_path(s, slot)->heard ? 80 * MSTIME_SECOND : 0;
}

static void
check_later(struct sim *s, enum drill d)
{
	mstime due = 10 * MSTIME_SECOND;

	for (unsigned i = 0; i < SLOTS; i++)
		due += round_trips(s, i) + rebirth(s, i) + acquaintance(s, i);
	drilling(s, due);
	sim_schedule(s, s->now + due, H_DRILL, d);
}

static void
drill_edit(struct sim *s)
{
	struct want *w = some_want(s, false);
	enum edit edit = (enum edit)PICK(
	    &s->odd, EDIT_NAME, EDIT_INTERNAL, EDIT_PROTOCOLS, EDIT_GATEWAY, EDIT_FAMILY);

	if (!well(s) || !w)
		return;
	s->strays = strays(s);
	s->window_sent = s->sent;
	/* what is due just now is not the reload's, and who holds it must find the new name */
	if (edit == EDIT_NAME && !w->spec.on_demand && !oracle_short_leases(s) &&
	    engine_next(s->engine) > s->now) {
		odd_edit(s, w, edit);
		if (s->sent != s->window_sent)
			sim_fail(s, "a forward that is called otherwise was sent for");
	} else {
		odd_edit(s, w, edit);
	}
	check_later(s, DRILL_EDIT_CHECK);
}

static void
drill_edit_check(struct sim *s)
{
	must_be_up(s, "a reload, or a hold");
	s->drilling = s->now < s->drilling_until;
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct gw_entry *e = s->strays ? NULL : oracle_stray(s, i);
		if (e && s->now > s->slots[i].excused)
			sim_fail(
			    s, "port %u is still mapped, though not wanted any more", e->internal);
	}
}

/* Let go, and after a while held again. */
static void
drill_hold(struct sim *s)
{
	struct want *w = some_want(s, true);

	if (!well(s) || !w)
		return;
	s->strays = strays(s);
	s->holder = (unsigned)(w - s->wants);
	host_hold(s, w, false);
	check_later(s, DRILL_HOLD_CHECK);
}

static void
drill_hold_check(struct sim *s)
{
	drill_edit_check(s);
	host_hold(s, &s->wants[s->holder], true);
	check_later(s, DRILL_EDIT_CHECK);
}

static void
drill_stop(struct sim *s)
{
	mstime due = 10 * MSTIME_SECOND;

	if (!well(s))
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		due += round_trips(s, i) + misremembered(s, i);
	drilling(s, due);
	memset(s->drill_ports, 0, sizeof s->drill_ports);
	host_release(s);
	s->clean = s->breadth >= WIDE && rng_chance(&s->odd, 500);
	host_start(s, !s->clean);
	sim_schedule(s, s->now + due, H_DRILL, DRILL_RESTART_CHECK);
}

void
drill_run(struct sim *s, enum drill d)
{
	if (!s->calm)
		return;
	switch (d) {
	case DRILL_MAPPER:
		drill_mapper(s);
		break;
	case DRILL_QUIET_BEGIN:
	case DRILL_QUIET_END:
		drill_quiet(s, d == DRILL_QUIET_END);
		break;
	case DRILL_REBOOT:
		drill_reboot(s);
		break;
	case DRILL_REBOOT_CHECK:
		drill_reboot_check(s);
		break;
	case DRILL_RESTART:
		drill_restart(s);
		break;
	case DRILL_RESTART_CHECK:
		drill_restart_check(s);
		break;
	case DRILL_STOP:
		drill_stop(s);
		break;
	case DRILL_EDIT:
		drill_edit(s);
		break;
	case DRILL_EDIT_CHECK:
		drill_edit_check(s);
		break;
	case DRILL_HOLD:
		drill_hold(s);
		break;
	case DRILL_HOLD_CHECK:
		drill_hold_check(s);
		break;
	}
}
