/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* The wire between the host and the boxes: loses, doubles, delays, reorders. */

static mstime
transit(struct sim *s)
{
	mstime t = 1 + (mstime)rng_below(&s->net, s->rtt);

	if (s->active & BIT(FAULT_DELAY)) {
		s->fired[FAULT_DELAY]++;
		t += (mstime)rng_below(&s->net, 2500);
	}
	return t;
}

static void
carry(struct sim *s, enum happening kind, uint32_t path, const void *bytes, size_t n)
{
	int copies = 1;

	if (n > SIM_PACKET) {
		sim_fail(s, "packet of %zu octets: the simulator carries %d", n, SIM_PACKET);
		return;
	}
	if ((s->active & BIT(FAULT_DUPLICATES)) && rng_chance(&s->net, 150)) {
		copies = 2;
		s->fired[FAULT_DUPLICATES]++;
	}
	for (; copies; copies--) {
		struct event *e;
		if ((s->active & BIT(FAULT_LOSS)) && rng_chance(&s->net, 350)) {
			s->fired[FAULT_LOSS]++;
			continue;
		}
		e = sim_schedule(s, s->now + transit(s), kind, 0);
		e->path = path;
		e->len = (uint16_t)n;
		memcpy(e->bytes, bytes, n);
	}
}

void
wire_to_box(struct sim *s, struct path *p, const void *bytes, size_t n)
{
	if (s->slots[p->slot].flapped)
		return;
	carry(s, H_TO_BOX, (uint32_t)(p - s->paths), bytes, n);
}

/* The box speaks without having been asked. */
void
wire_to_host(struct sim *s, struct path *p, const void *bytes, size_t n)
{
	carry(s, H_TO_HOST, (uint32_t)(p - s->paths), bytes, n);
}

void
wire_at_box(struct sim *s, const struct event *e)
{
	struct path *p = &s->paths[e->path];
	struct gw_box *b = &s->boxes[p->box];
	uint8_t out[GW_PACKET_MAX];
	struct gw_outcome o;
	size_t n;

	if (b->down)
		return;
	if (b->refused) {
		struct event *icmp =
		    sim_schedule(s, s->now + 1 + (mstime)rng_below(&s->net, s->rtt), H_ICMP, 0);
		icmp->path = e->path;
		s->fired[FAULT_REFUSED]++;
		return;
	}
	n = gw_answer(b, s->now, p->local, e->bytes, e->len, out, &o);
	if (o.deleted && p->local == s->slots[p->slot].local && !s->releasing)
		s->slots[p->slot].unnoticed = true; /* perhaps a late one, after the next create */
	if (o.granted)
		oracle_granted(s, p->box, &o);
	if (o.granted || o.address_told)
		oracle_address(s, p->box);
	if (o.refused) {
		/* a refusal may rest for an hour, one for the nonce until the lease ends;
		 * where nothing can be renewed, the next try is a better one */
		mstime until = s->now + (o.renewal_refused ? 2 * MINUTE : HOUR + 2 * MINUTE);
		if (o.nonce_refused)
			until += (mstime)o.lifetime * 1000;
		if (until > s->slots[p->slot].excused)
			s->slots[p->slot].excused = until;
		sim_log(s, "refused", o.result, "", 0);
	}
	if (n)
		carry(s, H_TO_HOST, e->path, out, n);
}

void
wire_at_host(struct sim *s, const struct event *e)
{
	struct path *p = &s->paths[e->path];

	if (p->done || p->dead || p->absent || s->slots[p->slot].flapped)
		return;
	sim_log(s, "receive", p->number, e->bytes, e->len);
	s->delivered++;
	oracle_answered(s, p, e->bytes, e->len);
	engine_datagram(s->engine, s->now, p->number, e->bytes, e->len);
	sim_after_input(s);
}

void
wire_icmp(struct sim *s, const struct event *e)
{
	struct path *p = &s->paths[e->path];

	if (p->done || p->dead || p->absent || s->slots[p->slot].flapped)
		return;
	sim_log(s, "icmp", p->number, "", 0);
	p->last_answered = true;
	engine_unreachable(s->engine, s->now, p->number, UNREACHABLE_REFUSED);
	sim_after_input(s);
}

struct netaddr
wire_box_address(const struct sim *s, unsigned box)
{
	const struct gw_box *b = &s->boxes[box];

	return b->ipv6 ? (struct netaddr){ { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			     (uint8_t)b->address } }
		       : gw_netaddr(b->address);
}

/* ---- announcements ---------------------------------------------------------------------- */

static void
announce_one(struct sim *s, unsigned box, mstime after, const uint8_t *bytes, size_t n)
{
	struct event *e = sim_schedule(s, s->now + after, H_ANNOUNCEMENT, box);

	e->source = wire_box_address(s, box);
	e->port = 5351;
	e->path = 2 + (box == BOX_VPN); /* interface index */
	e->len = (uint16_t)n;
	memcpy(e->bytes, bytes, n);
}

/* After a restart, each box in its own fashion. */
void
wire_announce(struct sim *s, unsigned box)
{
	const struct gw_box *b = &s->boxes[box];
	uint8_t out[GW_PACKET_MAX];
	mstime at = 0, gap = 250;

	switch (b->announces) {
	case ANNOUNCE_NOT:
		return;
	case ANNOUNCE_PCP_ONCE: /* */
		announce_one(s, box, 1, out, gw_put_announce(out, gw_epoch(b, s->now)));
		return;
	case ANNOUNCE_TWICE:
		for (at = 1; at <= 501; at += 500) {
			if (b->speaks != SPEAKS_PCP)
				announce_one(s, box, at, out,
				    gw_put_address(out, 0, b->before, b->external));
			announce_one(
			    s, box, at + 1, out, gw_put_announce(out, gw_epoch(b, s->now)));
		}
		return;
	case ANNOUNCE_MINIUPNPD: /* NAT-PMP first, with the old epoch */
		announce_one(s, box, 1, out, gw_put_address(out, 0, b->before, b->external));
		announce_one(s, box, 2, out, gw_put_announce(out, gw_epoch(b, s->now)));
		return;
	case ANNOUNCE_TEN:
		for (int i = 0; i < 10; i++) {
			uint32_t epoch = gw_epoch(b, s->now + at);
			if (b->speaks != SPEAKS_NATPMP)
				announce_one(s, box, at + 1, out, gw_put_announce(out, epoch));
			if (b->speaks != SPEAKS_PCP)
				announce_one(s, box, at + 1, out,
				    gw_put_address(out, 0, epoch, b->external));
			at += gap;
			gap *= 2;
		}
		oracle_address(s, box);
		return;
	}
}

void
wire_announcement(struct sim *s, const struct event *e)
{
	/* what: the box that speaks; one that is down or behind a dead link is not heard */
	if (e->what < BOXES &&
	    (s->boxes[e->what].down || s->slots[e->what == BOX_VPN ? SLOT_VPN : SLOT_LAN].flapped))
		return;
	for (uint32_t i = 0; i < s->n_paths; i++) {
		struct path *p = &s->paths[i];
		struct netaddr theirs;

		if (p->done || s->slots[p->slot].ifindex != e->path)
			continue;
		theirs = wire_box_address(s, p->box);
		/* an IPv6 router has several link-local addresses */
		if (netaddr_equal(&theirs, &e->source) ||
		    (s->boxes[p->box].ipv6 && e->source.b[0] == 0xfe)) {
			oracle_network_event(s, p);
			p->last_answered = true; /* what was asked before is void */
		}
	}
	sim_log(s, "announcement", e->source.b[15], e->bytes, e->len);
	engine_announcement(s->engine, s->now, e->path, &e->source, e->port, e->bytes, e->len);
	sim_after_input(s);
}
