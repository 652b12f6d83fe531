/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <string.h>

/* A full world is a wide one with more ranges and sets, options that are heeded, other classes of
 * external addresses, and other hosts that want the same ports. */

#define NEIGHBOUR 0xc0a801c8u
#define NEIGHBOURS 8 /* mappings of theirs, at most */

static void
fill_box(struct sim *s, struct gw_box *b)
{
	struct rng *r = &s->more;

	if (rng_chance(r, 600))
		b->sets = (enum gw_sets)PICK(r, SETS_GRANTED, SETS_GRANTED, SETS_GRANTED,
		    SETS_FEWER, SETS_FEWER, SETS_IGNORED, SETS_REFUSED, SETS_MALFORMED);
	b->prefers_failure = rng_chance(r, 500);
	b->cgnat = !b->ipv6 && rng_chance(r, 150);
	if (b->cgnat)
		b->external += CGNAT - 0xcb007101;
}

/* Ranges, and gateways that can make sets of them. */
static void
add_sets(struct sim *s)
{
	struct rng *r = &s->more;
	struct gw_box *b = &s->boxes[BOX_HOME];

	if (b->speaks == SPEAKS_NATPMP && rng_chance(r, 700)) {
		b->speaks = SPEAKS_BOTH;
		b->stranger = STRANGER_MUTE;
	}
	if (b->options == OPTIONS_REFUSED && rng_chance(r, 700))
		b->options = OPTIONS_IGNORED;
	for (unsigned i = 0; i < s->n_wants && s->n_wants <= 6; i++) {
		struct forward_spec *f = &s->wants[i].spec;

		if (!f->assigned && !f->require && !want_has_options(&s->wants[i]) &&
		    f->external != EXTERNAL_ANY && rng_chance(r, 500))
			f->count = RANGE;
	}
}

void
full(struct sim *s)
{
	struct rng *r = &s->more;

	if (rng_chance(r, 500))
		s->mask |= BIT(FAULT_NEIGHBOUR);
	for (unsigned i = 0; i < BOXES; i++)
		fill_box(s, &s->boxes[i]);
	if (rng_chance(r, 400))
		add_sets(s);
	for (unsigned i = 0; i < s->n_wants; i++)
		if (rng_chance(r, 200))
			s->wants[i].spec.description = "a description";
}

/* ---- faults ------------------------------------------------------------------------------ */

/* A console, a second computer: what it has got is not to be had for a while. */
static void
neighbour(struct sim *s)
{
	struct rng *r = &s->more;
	const struct want *w = &s->wants[rng_below(r, s->n_wants)];
	uint16_t port =
	    w->spec.external == EXTERNAL_FIXED ? w->spec.external_port : w->spec.internal_port;
	uint8_t protocol = w->spec.tcp ? PROTOCOL_TCP : PROTOCOL_UDP;
	mstime life = (mstime)PICK(r, 600, 7200, 86400) * MSTIME_SECOND;
	unsigned slot = w->gateway == GATEWAY_VPN ? SLOT_VPN : SLOT_LAN, theirs = 0;
	struct gw_box *b = &s->boxes[s->slots[slot].box];
	struct gw_entry *room = NULL;

	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		struct gw_entry *e = &b->entries[i];

		if (!e->used || e->until <= s->now)
			room = e;
		else if (e->protocol == protocol && e->external == port)
			return;
		else
			theirs += e->client == NEIGHBOUR;
	}
	if (!room || theirs >= NEIGHBOURS || b->table < 100 || !port)
		return;
	*room = (struct gw_entry){ .used = true,
		.client = NEIGHBOUR,
		.protocol = protocol,
		.internal = port,
		.external = port,
		.until = s->now + life };
	s->fired[FAULT_NEIGHBOUR]++;
}

void
full_strike(struct sim *s)
{
	if (s->calm)
		return;
	sim_schedule(s, s->now + 1 + (mstime)rng_below(&s->more, 30 * MINUTE), H_MORE, 0);
	if (!(s->mask & BIT(FAULT_NEIGHBOUR)))
		return;
	sim_log(s, sim_fault_name(FAULT_NEIGHBOUR), 0, "", 0);
	neighbour(s);
}
