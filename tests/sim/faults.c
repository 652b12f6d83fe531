/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* What goes wrong. Each world has a random subset (s->mask). */

#define MOODS                                                                           \
	(BIT(FAULT_LOSS) | BIT(FAULT_DUPLICATES) | BIT(FAULT_DELAY) | BIT(FAULT_LATE) | \
	    BIT(FAULT_EPERM))

static unsigned
some_slot(struct sim *s)
{
	unsigned slot;

	if (s->breadth == NARROW)
		return s->slots[SLOT_VPN].used && rng_chance(&s->faults, 300) ? SLOT_VPN : SLOT_LAN;
	do
		slot = (unsigned)rng_below(&s->faults, SLOTS);
	while (!s->slots[slot].used);
	return slot;
}

static void
mood(struct sim *s, enum fault f, unsigned box)
{
	struct event *e = sim_schedule(s,
	    s->now + 5 * MSTIME_SECOND +
		(mstime)rng_below(&s->faults, rng_chance(&s->faults, 300) ? 3 * HOUR : 10 * MINUTE),
	    H_MOOD_ENDS, f);

	e->path = box;
	e->count = s->generation;
}

static uint32_t
new_external(struct sim *s, unsigned box)
{
	/* few, so that the oracle's list holds them all */
	return (s->boxes[box].cgnat ? CGNAT : 0xcb007101) + box * 256 +
	    (uint32_t)rng_below(&s->faults, 8);
}

/* ---- boxes ------------------------------------------------------------------------------ */

/* A reboot that nothing but the next renewal can show. */
void
fault_unnoticed(struct sim *s, unsigned box)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == box)
			s->slots[i].unnoticed = true;
}

void
fault_reboot(struct sim *s, unsigned box, bool keep_epoch)
{
	struct gw_box *b = &s->boxes[box];

	/* an epoch that had hardly begun cannot be seen to begin again; one that is never asked for
	 * is seen with the next renewal */
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == box &&
		    !slot_gateway(s, i)->probe_interval)
			s->slots[i].unnoticed = true;
	if (keep_epoch || b->frozen || (!b->restart_step && gw_epoch(b, s->now) < 2700))
		fault_unnoticed(s, box);
	gw_restart(b, s->now, keep_epoch);
	sim_log(s, keep_epoch ? "amnesia" : "reboot", box, "", 0);
}

static void
swap_box(struct sim *s, unsigned box)
{
	struct gw_box *b = &s->boxes[box];

	gw_restart(b, s->now, true);
	b->epoch_base = (uint32_t)rng_below(&s->faults, 2000000);
	b->boot = s->now;
	b->ports = (enum gw_ports)rng_below(&s->faults, 4);
	b->strict = rng_chance(&s->faults, 500);
	b->sets = (enum gw_sets)((b->sets + 2) % 5);
	b->external = new_external(s, box);
	if (b->speaks != SPEAKS_BOTH && rng_chance(&s->faults, 300))
		b->speaks = SPEAKS_BOTH; /* the other way the old leases are in the way */
	fault_unnoticed(s, box);
}

static void
box_mood(struct sim *s, enum fault f, unsigned box)
{
	static const uint16_t natpmp[] = { 2, 3, 4, 5, 4242 };
	static const uint32_t lives[] = { 0, 30, 1800, 0xffffffffu };
	struct gw_box *b = &s->boxes[box];

	switch (f) {
	case FAULT_DOWN:
		b->down = true;
		break;
	case FAULT_REFUSED:
		b->refused = true;
		break;
	case FAULT_FULL:
		b->full = true;
		break;
	case FAULT_RESULTS:
		b->pcp_refusal = (uint8_t)(2 + rng_below(&s->faults, 12));
		b->natpmp_refusal = natpmp[rng_below(&s->faults, 5)];
		b->refusal_life = lives[rng_below(&s->faults, 4)];
		break;
	default: /* FAULT_NO_ADDRESS */
		b->external = rng_chance(&s->faults, 500) ? 0 : 0xc0a83201;
		fault_unnoticed(s, box);
		break;
	}
	mood(s, f, box);
}

static void
box_mood_ends(struct sim *s, enum fault f, unsigned box)
{
	struct gw_box *b = &s->boxes[box];

	switch (f) {
	case FAULT_DOWN:
		b->down = false;
		break;
	case FAULT_REFUSED:
		b->refused = false;
		break;
	case FAULT_FULL:
		b->full = false;
		break;
	case FAULT_RESULTS:
		b->pcp_refusal = 0;
		b->natpmp_refusal = 0;
		break;
	case FAULT_NO_ADDRESS:
		if (b->external >> 24 != (b->cgnat ? CGNAT : 0xcb007101) >> 24) {
			b->external = new_external(s, box);
			fault_unnoticed(s, box);
		}
		break;
	default:
		break;
	}
}

void
fault_mood_ends(struct sim *s, const struct event *e)
{
	if (e->count != s->generation)
		return;
	sim_log(s, sim_fault_name((enum fault)e->what), e->path, "ends", 4);
	s->active &= ~BIT(e->what);
	for (unsigned i = 0; i < SLOTS && e->what == FAULT_EPERM; i++)
		if (s->slots[i].used)
			oracle_network_event(s, host_path(s, i));
	if (!(MOODS & BIT(e->what)))
		box_mood_ends(s, (enum fault)e->what, e->path);
}

static void
change_address(struct sim *s, unsigned box)
{
	s->boxes[box].external = new_external(s, box);
	if (rng_chance(&s->faults, 700))
		fault_reboot(s, box, false);
	else
		fault_unnoticed(s, box);
	wire_announce(s, box);
}

/* ---- the host --------------------------------------------------------------------------- */

/* All ways over one link come and go together. */
static bool
on_link(const struct sim *s, unsigned a, unsigned b)
{
	return s->slots[a].used && s->slots[a].ifindex == s->slots[b].ifindex;
}

void
fault_link_up(struct sim *s, unsigned slot)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		if (!on_link(s, i, slot) || !s->slots[i].flapped)
			continue;
		s->slots[i].flapped = false;
		/* a daemon that was restarted while the link was down has never seen this path */
		host_path_up(s, i, host_path(s, i)->done || !host_path(s, i)->absent);
	}
}

static void
flap(struct sim *s, unsigned slot)
{
	if (s->slots[slot].flapped)
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		if (on_link(s, i, slot)) {
			host_path_down(s, i, PATH_ABSENT);
			s->slots[i].flapped = true;
		}
	sim_schedule(s,
	    s->now + 500 +
		(mstime)rng_below(&s->faults, rng_chance(&s->faults, 500) ? 20 * MINUTE : 3000),
	    H_LINK_UP, slot);
}

/* Another address of our own. `kept`: the old one can still be sent from. */
void
fault_renumber(struct sim *s, unsigned slot, bool kept)
{
	if (s->slots[slot].flapped)
		return;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *g = &s->slots[i];
		if (!on_link(s, i, slot) || g->family != s->slots[slot].family)
			continue;
		if (!kept)
			host_path_down(s, i, PATH_DEAD);
		g->local += 1 + (g->family == FAMILY_IPV4 ? (g->local & 255) / 250 * 256 : 0);
		host_path_up(s, i, true);
	}
}

static void
move(struct sim *s)
{
	if (s->slots[0].flapped)
		return;
	if (s->slots[0].box != BOX_OTHER)
		s->slots[0].box = BOX_OTHER;
	else
		s->slots[0].box = s->cafe ? BOX_CAFE : BOX_HOME;
	host_path_up(s, 0, true);
}

/* The host sleeps; the boxes do not. */
static void
suspend(struct sim *s)
{
	mstime end = s->now + (mstime)rng_below(&s->faults, 3 * HOUR);
	struct event e;

	while (sim_pop(s, end, &e)) {
		if (e.kind == H_TO_BOX)
			wire_at_box(s, &e);
		else if (e.kind != H_TO_HOST && e.kind != H_ICMP && e.kind != H_ANNOUNCEMENT) {
			struct event *later =
			    sim_schedule(s, end + 1, (enum happening)e.kind, e.what);
			uint16_t len = e.len;
			memcpy(later, &e, offsetof(struct event, bytes));
			memcpy(later->bytes, e.bytes, len);
		}
	}
	s->now = end;
	/* Waking up is an event of its own: what is asked then is not the sleep's. */
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used)
			oracle_network_event(s, host_path(s, i));
	engine_tick(s->engine, s->now);
	sim_after_input(s);
}

static void
reload(struct sim *s)
{
	struct want *w = &s->wants[rng_below(&s->faults, s->n_wants)];
	/* nothing is due, and nobody takes hold of it */
	bool idle = engine_next(s->engine) > s->now && (!w->held || w->holding);
	uint64_t sent = s->sent;

	switch (rng_below(&s->faults, 5)) {
	case 0:
		if (w->wanted)
			host_unwant(s, w);
		else
			host_want(s, w);
		break;
	case 1:
		if (w->spec.external == EXTERNAL_SAME) {
			w->spec.external = EXTERNAL_FIXED;
			w->spec.external_port = (uint16_t)(w->spec.internal_port + 8000);
		} else {
			w->spec.external = EXTERNAL_SAME;
			w->spec.external_port = 0;
		}
		host_want(s, w);
		break;
	case 2:
		s->disturbed = s->now;
		sim_log(s, "renew", 0, "", 0);
		for (unsigned i = 0; i < SLOTS; i++)
			if (s->slots[i].used)
				oracle_network_event(s, host_path(s, i));
		engine_renew(s->engine, s->now, NULL);
		sim_after_input(s);
		break;
	case 3:
		if (!w->wanted)
			break;
		host_want(s, w); /* nothing changed: no packet */
		if (s->sent != sent && idle)
			sim_fail(s, "an unchanged forward was sent for");
		break;
	default: /* another description: no packet */
		if (!w->wanted)
			break;
		w->spec.description = w->spec.description ? NULL : "another";
		host_want(s, w);
		if (s->sent != sent && idle)
			sim_fail(s, "another description was sent for");
	}
}

/* ---- forgers ---------------------------------------------------------------------------- */

static void
forged_datagram(struct sim *s, struct path *p)
{
	const struct want *w = &s->wants[rng_below(&s->faults, s->n_wants)];
	uint8_t o[SIM_PACKET] = { 0 };
	uint8_t ask[60] = { 2, 1 };
	const struct path before = *p;
	bool knew = s->knew[p->box], accepted = false;
	size_t n = 0;

	for (unsigned i = 24; i < 36; i++)
		ask[i] = (uint8_t)rng_next(&s->faults);
	ask[36] = PROTOCOL_TCP;
	ask[40] = (uint8_t)(w->spec.internal_port >> 8);
	ask[41] = (uint8_t)w->spec.internal_port;
	switch (rng_below(&s->faults, 3)) {
	case 0: /* everything right but the nonce */
		n = gw_put_pcp_map(
		    o, ask, 60, 0, 3600, gw_epoch(&s->boxes[p->box], s->now), 6666, 0x42424242);
		break;
	case 1: /* "speak NAT-PMP to me" */
		n = gw_put_stranger(o, STRANGER_V0_8, ask, 5);
		accepted = true; /* nothing tells it from a true one */
		break;
	default: /* NAT-PMP has no nonce: a forger with the right port has won there */
		n = rng_below(&s->faults, SIM_PACKET);
		for (size_t i = 0; i < n; i++)
			o[i] = (uint8_t)rng_next(&s->faults);
		o[0] = rng_chance(&s->faults, 500) ? 2 : (uint8_t)(o[0] | 1);
		/* a version error by chance, or what looks like the answer of a FRITZ!Box */
		accepted = n >= 2 && o[1] & 128 && (n < 24 || o[3] == 1);
	}
	sim_log(s, "forged", p->number, o, n);
	oracle_answered(s, p, o, n);
	/* it may have answered what is outstanding, but nobody was heard */
	*p = before;
	if (accepted) {
		p->last_answered = true;
		oracle_network_event(s, p);
	}
	s->knew[p->box] = knew;
	engine_datagram(s->engine, s->now, p->number, o, n);
	sim_after_input(s);
}

static void
forge(struct sim *s, unsigned slot)
{
	for (int i = 0; i < 10; i++) {
		struct path *p = host_path(s, slot);
		if (!p->done && !p->dead && !p->absent)
			forged_datagram(s, p);
	}
}

static void
forge_announcements(struct sim *s, unsigned slot)
{
	bool spoofed = rng_chance(&s->faults, 300);
	unsigned n = 1 + (unsigned)rng_below(&s->faults, 50);

	for (unsigned i = 0; i < n; i++) {
		struct event *e = sim_schedule(
		    s, s->now + (mstime)rng_below(&s->faults, 2000), H_ANNOUNCEMENT, BOXES);
		e->source =
		    spoofed ? wire_box_address(s, s->slots[slot].box) : gw_netaddr(0xc0a80163);
		e->port = rng_chance(&s->faults, 900) ? 5351 : 4000;
		e->path = s->slots[slot].ifindex;
		e->len = (uint16_t)(rng_chance(&s->faults, 500)
			? gw_put_announce(e->bytes, (uint32_t)rng_below(&s->faults, 5))
			: gw_put_address(
			      e->bytes, 0, (uint32_t)rng_below(&s->faults, 5), 0x42424242));
	}
	if (spoofed) /* the address in a spoofed one may be believed until it is asked for */
		oracle_lie(s, s->slots[slot].box, 0x42424242);
}

/* ---- choice ----------------------------------------------------------------------------- */

static void
host_fault(struct sim *s, enum fault f, unsigned slot)
{
	switch (f) {
	case FAULT_FLAP:
		flap(s, slot);
		break;
	case FAULT_RENUMBER:
		fault_renumber(s, slot, false);
		break;
	case FAULT_MOVE:
		move(s);
		break;
	case FAULT_RESTART:
		host_start(s, true);
		break;
	case FAULT_RESTART_BLANK:
		host_start(s, false);
		break;
	case FAULT_STOP:
		host_release(s);
		host_start(s, true);
		break;
	case FAULT_SUSPEND:
		suspend(s);
		break;
	case FAULT_RELOAD:
		reload(s);
		break;
	case FAULT_FORGE:
		forge(s, slot);
		break;
	case FAULT_ANNOUNCE:
		forge_announcements(s, slot);
		break;
	default:
		break;
	}
}

void
fault_strike(struct sim *s)
{
	enum fault f = (enum fault)rng_below(&s->faults, NARROW_FAULTS);
	unsigned slot = some_slot(s);
	unsigned box = s->slots[slot].box;

	if (s->calm)
		return;
	sim_schedule(s, s->now + 1 + (mstime)rng_below(&s->faults, 8 * MINUTE), H_FAULT, 0);
	if (!(s->mask & BIT(f)))
		return;
	sim_log(s, "fault", slot, sim_fault_name(f), strlen(sim_fault_name(f)));
	if (s->trace)
		printf("                 fault %s\n", sim_fault_name(f));
	if (MOODS & BIT(f)) { /* these fire when they do something */
		s->active |= BIT(f);
		mood(s, f, 0);
		return;
	}
	if (f != FAULT_REFUSED)
		s->fired[f]++;
	switch (f) {
	case FAULT_REBOOT:
	case FAULT_AMNESIA:
		fault_reboot(s, box, f == FAULT_AMNESIA);
		if (f == FAULT_REBOOT)
			wire_announce(s, box);
		break;
	case FAULT_SWAP:
		swap_box(s, box);
		break;
	case FAULT_ADDRESS:
		change_address(s, box);
		break;
	case FAULT_DOWN:
	case FAULT_REFUSED:
	case FAULT_FULL:
	case FAULT_RESULTS:
	case FAULT_NO_ADDRESS:
		box_mood(s, f, box);
		break;
	default:
		host_fault(s, f, slot);
	}
}

/* ---- calm ------------------------------------------------------------------------------- */

static mstime
longest_lease(const struct sim *s, unsigned slot)
{
	uint32_t most = 0, limit = s->boxes[s->slots[slot].box].max_life;

	for (unsigned i = 0; i < s->n_wants; i++)
		if (want_is_on(s, &s->wants[i], slot) && s->wants[i].spec.lifetime > most)
			most = s->wants[i].spec.lifetime;
	return (mstime)(most < limit ? most : limit) * MSTIME_SECOND;
}

/* By when this slot must be well again, now that nothing goes wrong any more. */
static mstime
recovered_by(struct sim *s, unsigned slot)
{
	struct slot *g = &s->slots[slot];
	const struct path *p = host_path(s, slot);
	mstime silence = s->now - p->heard;
	mstime wait = 35 * MSTIME_SECOND;

	/* an engine that has never heard of this gateway may be at 6 packets an hour: 4 of PCP's,
	 * and the other protocol's each 32 minutes */
	if (!p->heard && !s->knew[g->box])
		wait += 32 * MINUTE;
	else if (silence > 69 * MINUTE)
		wait += 2 * 1130 * MSTIME_SECOND; /* each fourth probe is in the other protocol */
	else if (silence > 9 * MINUTE)
		wait += 2 * 30 * MSTIME_SECOND;
	/* what a late copy of a create has made anew, elsewhere, is found at the lease's end */
	if (s->boxes[g->box].never_renews)
		wait += longest_lease(s, slot);
	/* a lease in a protocol that another box, or firmware, does not speak is believed to its
	 * end at the latest */
	if (s->mask & (BIT(FAULT_CAFE) | BIT(FAULT_FIRMWARE)) && g->unnoticed)
		wait += longest_lease(s, slot);
	if (g->unnoticed) {
		mstime most = 0;
		for (unsigned i = 0; i < s->n_wants; i++) {
			mstime every = oracle_renewal(s, &s->wants[i], slot);
			mstime old = oracle_old_renewal(s, &s->wants[i], slot);
			if (old > every)
				every = old;
			if (want_is_on(s, &s->wants[i], slot) && every > most)
				most = every;
		}
		if (s->mask & BIT(FAULT_SWAP)) /* the lease is another box's */
			most = (mstime)s->settings.max_renew_interval * 1000;
		wait += most * 13 / 10 + 2 * MINUTE;
		/* the address that NAT-PMP's map replies do not tell is asked so often */
		wait += (mstime)slot_gateway(s, slot)->probe_interval * MSTIME_SECOND;
	}
	/* Each sixteenth, fourth or second probe of an outage is in the other protocol. */
	if (g->firmware > p->heard)
		wait += silence < 9 * MINUTE ? 70 * MSTIME_SECOND : 130 * MSTIME_SECOND;
	return s->now + wait;
}

void
fault_calm(struct sim *s)
{
	s->generation++;
	for (unsigned i = 0; i < SLOTS && (s->active & BIT(FAULT_EPERM)); i++)
		if (s->slots[i].used)
			oracle_network_event(s, host_path(s, i));
	s->active = 0;
	for (unsigned i = 0; i < BOXES; i++)
		for (unsigned f = 0; f < NARROW_FAULTS && s->boxes[i].address; f++)
			box_mood_ends(s, (enum fault)f, i);
	for (unsigned i = 0; i < s->n_wants; i++)
		if (!s->wants[i].wanted)
			host_want(s, &s->wants[i]);
	for (unsigned i = 0; i < SLOTS; i++) {
		mstime by;
		if (!s->slots[i].used)
			continue;
		fault_link_up(s, i);
		by = recovered_by(s, i);
		if (by > s->slots[i].excused)
			s->slots[i].excused = by;
	}
}
