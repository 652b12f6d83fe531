/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* What goes wrong, or is changed, in wide worlds only. */

#define ON_ITS_WAY 5 /* s: so long may a packet take */

/* ---- networks --------------------------------------------------------------------------- */

/* A laptop is carried into a café, and home again: another box at the same address. */
static void
cafe(struct sim *s)
{
	unsigned from = s->cafe ? BOX_CAFE : BOX_HOME;

	if (s->slots[SLOT_LAN].flapped)
		return;
	s->cafe = !s->cafe;
	for (unsigned i = 0; i < SLOTS; i++) {
		if (!s->slots[i].used || s->slots[i].box != from)
			continue;
		/* what is still being released is out of reach, too */
		for (uint32_t k = 0; k < s->n_paths; k++) {
			struct path *p = &s->paths[k];
			if (p->slot != i || p->box != from || p->done || p->dead ||
			    k == s->slots[i].path)
				continue;
			p->dead = true;
			engine_path_down(s->engine, s->now, p->number, PATH_DEAD);
			sim_after_input(s);
		}
		host_path_down(s, i, PATH_DEAD);
		s->slots[i].box = s->cafe ? BOX_CAFE : BOX_HOME;
		host_path_up(s, i, true);
	}
	s->fired[FAULT_CAFE]++;
}

static void
prefix(struct sim *s)
{
	if (!s->slots[SLOT_LAN6].used || s->slots[SLOT_LAN6].flapped)
		return;
	fault_renumber(s, SLOT_LAN6, rng_chance(&s->odd, 500));
	s->fired[FAULT_PREFIX]++;
}

/* ---- boxes ------------------------------------------------------------------------------ */

/* After an update it speaks something else. */
static void
firmware(struct sim *s, unsigned box)
{
	struct gw_box *b = &s->boxes[box];

	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == box && slot_gateway(s, i)->n_mappers < 2)
			return;
	if (b->ipv6)
		return;
	b->speaks = (enum gw_speaks)rng_below(&s->more, 3);
	b->stranger = b->speaks == SPEAKS_NATPMP
	    ? (enum gw_stranger)PICK(&s->more, STRANGER_MUTE, STRANGER_V0_8, STRANGER_V0_4,
		  STRANGER_V0_OP0, STRANGER_V1, STRANGER_ODD)
	    : (enum gw_stranger)PICK(&s->more, STRANGER_MUTE, STRANGER_V2_24, STRANGER_FRAGMENT);
	if (rng_chance(&s->more, 300))
		b->sets = (enum gw_sets)rng_below(&s->more, 5);
	fault_reboot(s, box, false);
	fault_unnoticed(s, box);
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].box == box)
			s->slots[i].firmware = s->now;
	wire_announce(s, box);
	s->fired[FAULT_FIRMWARE]++;
}

/* The way that this mapping was asked for on; NULL: nobody wants it any more. */
static struct path *
asked_on(struct sim *s, const struct gw_entry *e, unsigned box)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		int t = s->slots[i].used && s->slots[i].box == box
		    ? oracle_index(s, i, e->protocol, e->internal)
		    : -1;

		if (t >= 0 && want_is_on(s, &s->wants[t / 2 % PORTS / PORTS_EACH], i) &&
		    s->slots[i].local == e->client)
			return host_path(s, i);
	}
	return NULL;
}

/* The box changes its mind about a lease (RFC 6887 section 14.2); where nobody is told, the next
 * renewal shows it. */
static void
update(struct sim *s, unsigned slot)
{
	struct slot *g = &s->slots[slot];
	struct gw_box *b = &s->boxes[g->box];
	struct gw_entry *e = &b->entries[rng_below(&s->more, GW_ENTRIES)];
	struct gw_outcome o = { .granted = true };
	uint8_t out[GW_PACKET_MAX];
	struct path *p;
	bool revoke = rng_chance(&s->more, 300);
	uint32_t left;
	size_t n;

	for (unsigned i = 0; i < GW_ENTRIES && !(e->used && e->client == g->local); i++)
		e = &b->entries[i];
	p = asked_on(s, e, g->box);
	if (b->ipv6 || !e->used || e->until <= s->now || e->client != g->local || e->set ||
	    b->down || !p)
		return;
	/* What nobody asked for counts from its arrival. */
	left = (uint32_t)((e->until - s->now) / 1000);
	if (left <= ON_ITS_WAY)
		return;
	left -= ON_ITS_WAY;
	fault_unnoticed(s, g->box);
	s->fired[FAULT_UPDATE]++;
	if (revoke)
		e->until = s->now;
	else
		e->external = (uint16_t)(50000 + rng_below(&s->more, 10000));
	if (!e->pcp)
		return;
	/* amid a renewal it is taken for its answer, and a refusal rests */
	if (revoke && s->slots[p->slot].excused < s->now + HOUR + 2 * MINUTE)
		s->slots[p->slot].excused = s->now + HOUR + 2 * MINUTE;
	o.lease = *e;
	if (!revoke)
		oracle_granted(s, g->box, &o);
	oracle_address(s, g->box);
	n = gw_put_update(
	    out, e, revoke ? 2 : 0, revoke ? 0 : left, gw_epoch(b, s->now), b->external);
	wire_to_host(s, p, out, n);
}

/* Announcements of every kind, a thousand in a second. */
static void
flood(struct sim *s, unsigned slot)
{
	unsigned box = s->slots[slot].box;
	struct netaddr linklocal = { { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x63 } };

	oracle_lie(s, box, 0x42424242);
	for (unsigned i = 0; i < 1000; i++) {
		struct event *e = sim_schedule(
		    s, s->now + (mstime)rng_below(&s->odd, 1000), H_ANNOUNCEMENT, BOXES);
		uint32_t epoch = (uint32_t)rng_below(&s->odd, 100000);

		switch (rng_below(&s->odd, 3)) {
		case 0:
			e->source = wire_box_address(s, box);
			break;
		case 1:
			e->source = linklocal;
			break;
		default:
			e->source = gw_netaddr(0xc0a80163);
		}
		e->port = rng_chance(&s->odd, 900) ? 5351 : 4000;
		e->path = s->slots[slot].ifindex;
		e->len = (uint16_t)(rng_chance(&s->odd, 500)
			? gw_put_announce(e->bytes, epoch)
			: gw_put_address(e->bytes, 0, epoch, 0x42424242));
	}
	s->fired[FAULT_FLOOD]++;
}

/* ---- wishes ----------------------------------------------------------------------------- */

static void
hold(struct sim *s)
{
	struct want *w = &s->wants[rng_below(&s->odd, s->n_wants)];

	if (!w->spec.on_demand)
		return;
	host_hold(s, w, !w->held);
	s->fired[FAULT_HOLD]++;
}

static void
rename_forward(struct sim *s, struct want *w)
{
	bool held = w->held;

	if (w->wanted)
		host_unwant(s, w);
	snprintf(w->name, sizeof w->name, "f%u-%u", (unsigned)(w - s->wants),
	    (unsigned)rng_below(&s->odd, 1000));
	w->held = held;
	host_want(s, w);
}

/* Another gateway, if there is one that can do what is wanted. */
static void
move_forward(struct sim *s, struct want *w)
{
	unsigned to = (unsigned)rng_below(&s->odd, GATEWAYS);

	if (!s->gateways[to].name || w->spec.ipv6 || w->spec.has_internal || w->spec.n_remotes)
		return;
	w->gateway = to;
	w->spec.gateway = s->gateways[to].name;
}

/* A reload that changes one forward. What it is called says nothing of what it needs. */
void
odd_edit(struct sim *s, struct want *w, enum edit edit)
{
	struct forward_spec *f = &w->spec;

	/* An assigned lease cannot be handed over: it has no delete to be deferred. */
	if (f->assigned)
		return;
	sim_log(s, "edit", (uint32_t)(w - s->wants), &(uint8_t){ (uint8_t)edit }, 1);
	switch (edit) {
	case EDIT_NAME:
		rename_forward(s, w);
		return;
	case EDIT_INTERNAL:
		f->internal_port = (uint16_t)(w->base + (f->internal_port == w->base ? 5 : 0));
		break;
	case EDIT_PROTOCOLS:
		f->tcp = !f->tcp || !f->udp || rng_chance(&s->odd, 500);
		f->udp = !f->tcp || rng_chance(&s->odd, 500);
		break;
	case EDIT_GATEWAY:
		move_forward(s, w);
		break;
	case EDIT_FAMILY:
		if (!s->slots[SLOT_LAN6].used || w->gateway != GATEWAY_DEFAULT || f->has_internal ||
		    f->n_remotes)
			return;
		f->ipv6 = !f->ipv6 || rng_chance(&s->odd, 500);
		f->ipv4 = !f->ipv6 || rng_chance(&s->odd, 500);
		break;
	case EDIT_REQUIRE:
		f->require = !f->require && f->external != EXTERNAL_ANY;
		break;
	case EDIT_DEMAND:
		f->on_demand = !f->on_demand;
		w->held = true;
		break;
	case EDIT_LIFETIME:
		f->lifetime = PICK(&s->odd, 3600, 7200, 600, 120);
		break;
	case EDITS:
		break;
	}
	host_want(s, w);
}

/* ---- choice ----------------------------------------------------------------------------- */

void
odd_strike(struct sim *s)
{
	enum fault f =
	    (enum fault)(NARROW_FAULTS + rng_below(&s->odd, WIDE_FAULTS - NARROW_FAULTS));
	struct want *w = &s->wants[rng_below(&s->odd, s->n_wants)];
	unsigned slot;

	if (s->calm)
		return;
	sim_schedule(s, s->now + 1 + (mstime)rng_below(&s->odd, 8 * MINUTE), H_ODD, 0);
	do
		slot = (unsigned)rng_below(&s->odd, SLOTS);
	while (!s->slots[slot].used);
	if (!(s->mask & BIT(f)))
		return;
	sim_log(s, sim_fault_name(f), slot, "", 0);
	switch (f) {
	case FAULT_PREFIX:
		prefix(s);
		break;
	case FAULT_CAFE:
		cafe(s);
		break;
	case FAULT_FIRMWARE:
		firmware(s, s->slots[slot].box);
		break;
	case FAULT_UPDATE:
		update(s, slot);
		break;
	case FAULT_HOLD:
		hold(s);
		break;
	case FAULT_EDIT:
		odd_edit(s, w, (enum edit)rng_below(&s->odd, EDITS));
		s->fired[FAULT_EDIT]++;
		break;
	case FAULT_FLOOD:
		flood(s, slot);
		break;
	default:
		break;
	}
}
