/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <string.h>

/*
 * A wide world is a narrow one with a random part of everything else that can be configured or met:
 * IPv6, more gateways, and what forwards can be beyond one port.
 */

#define LOCAL6 0x00100001u /* last 32 bits; the first say which prefix it is */

static uint32_t
life(struct rng *r)
{
	return PICK(r, 60, 120, 120, 600, 600, 1800, 3600, 7200, 7200, 86400);
}

static void
add_ipv6(struct sim *s)
{
	struct rng *r = &s->odd;
	struct slot *g = &s->slots[SLOT_LAN6];
	struct gw_box *b = &s->boxes[BOX_HOME6];

	g->used = true;
	g->family = FAMILY_IPV6;
	g->gateway = GATEWAY_DEFAULT;
	g->ifindex = 2;
	g->box = BOX_HOME6;
	g->local = LOCAL6;
	b->rng.s = rng_next(r);
	b->ipv6 = true;
	b->address = 1;
	b->external = 0xcb007100 + BOX_HOME6 * 256; /* nobody sees it */
	b->speaks = SPEAKS_PCP;
	b->ports = (enum gw_ports)rng_below(r, 4);
	b->options = (enum gw_options)PICK(r, OPTIONS_IGNORED, OPTIONS_IGNORED, OPTIONS_REFUSED);
	b->announces = (enum gw_announce)PICK(
	    r, ANNOUNCE_NOT, ANNOUNCE_TEN, ANNOUNCE_PCP_ONCE, ANNOUNCE_TWICE);
	b->strict = rng_chance(r, 600);
	b->error_life_zero = rng_chance(r, 500);
	b->min_life = PICK(r, 0, 0, 60, 120);
	b->max_life = life(r);
	if (b->min_life > b->max_life)
		b->min_life = b->max_life;
	b->table = 128;
	b->translates = rng_chance(r, 200);
	b->echoes = !b->translates && rng_chance(r, 300);
	b->never_renews = rng_chance(r, 200);
	b->frozen = rng_chance(r, 60);
	b->epoch_base = (uint32_t)rng_below(r, 1000000);
	b->boot = s->now;
}

/* A tunnel whose gateway chooses the ports: 60 s leases, NAT-PMP, nothing else. */
static void
add_assigned(struct sim *s, struct want *w)
{
	struct rng *r = &s->odd;
	struct gw_box *b = &s->boxes[BOX_VPN];
	struct gateway_spec *p = &s->gateways[GATEWAY_VPN];
	struct forward_spec *f = &w->spec;

	b->speaks = SPEAKS_NATPMP;
	b->stranger = STRANGER_MUTE;
	b->assigns = true;
	b->assigned_both = rng_chance(r, 300);
	b->min_life = b->max_life = 60;
	b->table = 128;
	p->mappers[0] = MAPPER_NATPMP;
	p->n_mappers = 1;
	w->gateway = GATEWAY_VPN;
	f->gateway = p->name;
	f->assigned = true;
	f->internal_port = 0;
	f->count = 1;
	f->external = EXTERNAL_ANY;
	f->external_port = 0;
	f->require = f->has_internal = false;
	f->n_remotes = 0;
	f->ipv4 = true;
	f->ipv6 = false;
}

static void
add_vpn(struct sim *s)
{
	struct rng *r = &s->odd;
	struct gateway_spec *p = &s->gateways[GATEWAY_VPN];

	s->slots[SLOT_VPN].used = true;
	p->name = "vpn";
	if (s->boxes[BOX_VPN].speaks == SPEAKS_NATPMP) {
		p->mappers[0] = MAPPER_NATPMP;
		p->n_mappers = 1;
	}
	/* 192.168.1.1 at both ends of the tunnel */
	if (rng_chance(r, 300))
		s->boxes[BOX_VPN].address = s->boxes[BOX_HOME].address;
}

static void
add_twin(struct sim *s)
{
	s->slots[SLOT_TWIN] = s->slots[SLOT_LAN];
	s->slots[SLOT_TWIN].gateway = GATEWAY_TWIN;
	s->gateways[GATEWAY_TWIN] = s->gateways[GATEWAY_DEFAULT];
	s->gateways[GATEWAY_TWIN].name = "twin";
}

/* For another host, or not for everybody: only PCP can say that. */
static void
add_option(struct sim *s, struct want *w)
{
	static const struct netprefix remote = {
		.addr = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 0 } },
		.bits = 120
	};
	struct forward_spec *f = &w->spec;

	if (s->gateways[w->gateway].n_mappers < 2 || f->require)
		return;
	if (rng_chance(&s->odd, 500)) {
		f->has_internal = true;
		f->internal = gw_netaddr(THIRD);
	} else {
		f->remotes = &remote;
		f->n_remotes = 1;
	}
}

static void
add_cafe(struct sim *s)
{
	struct rng *r = &s->odd;
	struct gw_box *b = &s->boxes[BOX_CAFE];

	*b = s->boxes[BOX_HOME];
	b->rng.s = rng_next(r);
	b->external = 0xcb007101 + BOX_CAFE * 256;
	b->speaks = (enum gw_speaks)rng_below(r, 3);
	b->stranger = b->speaks == SPEAKS_NATPMP
	    ? (enum gw_stranger)PICK(r, STRANGER_MUTE, STRANGER_V0_8, STRANGER_V1, STRANGER_ODD)
	    : (enum gw_stranger)PICK(r, STRANGER_MUTE, STRANGER_V2_24, STRANGER_FRAGMENT);
	b->ports = (enum gw_ports)rng_below(r, 4);
	b->options = (enum gw_options)rng_below(r, 3);
	b->announces = (enum gw_announce)rng_below(r, 5);
	b->strict = rng_chance(r, 600);
	b->epoch_base = (uint32_t)rng_below(r, 1000000);
}

static void
widen_forward(struct sim *s, struct want *w)
{
	struct rng *r = &s->odd;
	struct forward_spec *f = &w->spec;

	if (s->slots[SLOT_VPN].used && rng_chance(r, 200))
		w->gateway = GATEWAY_VPN;
	if (s->slots[SLOT_TWIN].used && rng_chance(r, 300))
		w->gateway = GATEWAY_TWIN;
	f->gateway = s->gateways[w->gateway].name;
	if (rng_chance(r, 250)) {
		f->tcp = f->udp = true;
		f->independent = rng_chance(r, 300);
	}
	if (s->n_wants <= 6 && f->external != EXTERNAL_ANY && rng_chance(r, 150))
		f->count = RANGE;
	if (f->external != EXTERNAL_ANY && rng_chance(r, 120))
		f->require = true;
	f->on_demand = rng_chance(r, 200);
	w->held = rng_chance(r, 700);
	if (s->slots[SLOT_LAN6].used && w->gateway == GATEWAY_DEFAULT && rng_chance(r, 600)) {
		f->ipv6 = true;
		f->ipv4 = rng_chance(r, 500);
	}
	if (!f->ipv6 && rng_chance(r, 120))
		add_option(s, w);
}

void
widen(struct sim *s)
{
	struct rng *r = &s->odd;

	s->mask |= (unsigned)rng_next(r) & (unsigned)(BIT(WIDE_FAULTS) - BIT(NARROW_FAULTS));
	if (rng_chance(r, 500))
		add_ipv6(s);
	if (rng_chance(r, 300))
		add_vpn(s);
	if (rng_chance(r, 250))
		add_twin(s);
	add_cafe(s);
	for (unsigned i = BOX_HOME; i <= BOX_VPN; i++) {
		s->boxes[i].options = (enum gw_options)rng_below(r, 3);
		s->boxes[i].announces = (enum gw_announce)rng_below(r, 5);
	}
	for (unsigned i = 0; i < s->n_wants; i++)
		widen_forward(s, &s->wants[i]);
	if (s->slots[SLOT_VPN].used && rng_chance(r, 500))
		add_assigned(s, &s->wants[rng_below(r, s->n_wants)]);
}
