/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The shell around the engine: sockets, memory on disk, orderly and disorderly ends. */

struct path *
host_path(struct sim *s, unsigned slot)
{
	return &s->paths[s->slots[slot].path];
}

struct path *
host_path_numbered(struct sim *s, uint32_t number)
{
	return number >= 1 && number <= s->n_paths ? &s->paths[number - 1] : NULL;
}

/* ---- engine_io ------------------------------------------------------------------------- */

static int
io_send(void *ctx, uint32_t number, const void *bytes, size_t n)
{
	struct sim *s = ctx;
	struct path *p = host_path_numbered(s, number);

	if (!p || p->done || p->dead || p->absent) {
		sim_fail(s, "packet sent on path %u, which is %s", number,
		    !p            ? "unknown"
			: p->done ? "done"
			: p->dead ? "dead"
				  : "absent");
		return -EINVAL;
	}
	if (s->active & BIT(FAULT_EPERM)) {
		sim_log(s, "send: EPERM", number, bytes, n);
		s->fired[FAULT_EPERM]++;
		return -EPERM;
	}
	sim_log(s, "send", number, bytes, n);
	s->sent++;
	oracle_request(s, p, bytes, n);
	wire_to_box(s, p, bytes, n);
	sim_step(s);
	return 0;
}

static void
io_random(void *ctx, void *bytes, size_t n)
{
	struct sim *s = ctx;
	uint8_t *p = bytes;

	while (n--)
		*p++ = (uint8_t)(rng_next(&s->engine_rng) >> 24);
}

static void
io_nonce(void *ctx, const struct nonce_key *key, uint8_t out[12])
{
	struct sim *s = ctx;
	struct rng r = { 0x1234567 };
	const uint8_t numbers[4] = { (uint8_t)key->family, key->protocol,
		(uint8_t)(key->internal_port >> 8), (uint8_t)key->internal_port };

	(void)s;
	for (const char *c = key->gateway; *c; c++)
		r.s = rng_next(&r) ^ (uint8_t)*c;
	for (const char *c = key->interface; *c; c++)
		r.s = rng_next(&r) ^ (uint8_t)*c;
	for (unsigned i = 0; i < 16; i++)
		r.s = rng_next(&r) ^ key->local.b[i] ^ (uint64_t)key->third_party.b[i] << 8;
	for (unsigned i = 0; i < 4; i++)
		r.s = rng_next(&r) ^ numbers[i];
	for (unsigned i = 0; i < 12; i++)
		out[i] = (uint8_t)(rng_next(&r) >> 16);
}

static void
io_event(void *ctx, const struct engine_event *e)
{
	oracle_event(ctx, e);
}

static void
io_save(void *ctx)
{
	struct sim *s = ctx;

	s->memory_changed = true;
}

static void
io_path_done(void *ctx, uint32_t number)
{
	struct sim *s = ctx;
	struct path *p = host_path_numbered(s, number);

	sim_log(s, "path done", number, "", 0);
	if (!p || p->done)
		sim_fail(s, "path_done for path %u, which is %s", number, p ? "done" : "unknown");
	else if (!p->drains && !p->dead)
		sim_fail(s, "path_done for path %u, which is in use", number);
	else
		p->done = true;
}

static void
io_trace(void *ctx, const char *what, uint32_t path, uint32_t a, uint32_t b)
{
	struct sim *s = ctx;

	if (s->trace)
		printf("%9lld.%03lld   engine: %s path=%u %u %u\n", (long long)(s->now / 1000),
		    (long long)(s->now % 1000), what, path, a, b);
}

const struct engine_io host_io = { io_send, io_random, io_nonce, io_event, io_save, io_path_done,
	io_trace };

/* The address of ours there. Each IPv6 prefix has a number. */
struct netaddr
host_address(const struct sim *s, unsigned slot)
{
	uint32_t l = s->slots[slot].local;
	struct netaddr a = { { 0x2a, 0x00, 0x14, 0x50, (uint8_t)(l >> 8), (uint8_t)l } };

	if (s->slots[slot].family == FAMILY_IPV4)
		return gw_netaddr(l);
	for (unsigned i = 0; i < 4; i++)
		a.b[12 + i] = (uint8_t)(l >> (24 - 8 * i));
	return a;
}

/* ---- paths ------------------------------------------------------------------------------ */

void
host_path_up(struct sim *s, unsigned slot, bool fresh)
{
	struct slot *g = &s->slots[slot];
	struct path *p = host_path(s, slot);
	struct path_info info = { .gateway = slot_gateway(s, slot)->name,
		.family = g->family,
		.ifindex = g->ifindex,
		.interface = g->ifindex == 2 ? "eth0" : "wg0",
		.address = wire_box_address(s, g->box),
		.local = host_address(s, slot),
		.on_link = true,
		.has_link_address = g->ifindex == 2,
		.link_address = { 2, 0, 0, 0, 0, (uint8_t)g->box } };

	if (fresh) {
		if (s->n_paths == PATHS) {
			sim_fail(s, "the simulator's table of paths is full");
			return;
		}
		for (uint32_t i = 0; i < s->n_paths; i++)
			if (s->paths[i].slot == slot)
				s->paths[i].drains = true;
		g->path = s->n_paths++;
		p = host_path(s, slot);
		memset(p, 0, sizeof *p);
		p->number = g->path + 1;
		p->slot = slot;
		p->box = g->box;
		p->local = g->local;
	}
	p->absent = false;
	p->last_len = 0; /* what was asked over the old link is void */
	oracle_network_event(s, p);
	sim_log(s, "path up", p->number, &p->local, sizeof p->local);
	if (engine_path_up(s->engine, s->now, p->number, &info))
		sim_fail(s, "engine_path_up failed");
	sim_after_input(s);
}

void
host_path_down(struct sim *s, unsigned slot, enum path_loss loss)
{
	struct path *p = host_path(s, slot);

	sim_log(s, loss == PATH_DEAD ? "path dead" : "path absent", p->number, "", 0);
	if (loss == PATH_DEAD)
		p->dead = true;
	else
		p->absent = true;
	s->disturbed = s->now;
	engine_path_down(s->engine, s->now, p->number, loss);
	sim_after_input(s);
}

/* ---- wishes ----------------------------------------------------------------------------- */

void
host_want(struct sim *s, struct want *w)
{
	w->wanted = true;
	s->disturbed = s->now;
	sim_log(s, "want", (uint32_t)(w - s->wants), "", 0);
	for (unsigned i = 0; i < SLOTS; i++)
		if (want_is_on(s, w, i)) {
			w->was_on |= 1u << i;
			oracle_network_event(s, host_path(s, i));
		}
	if (engine_want(s->engine, s->now, &w->spec))
		sim_fail(s, "engine_want failed");
	sim_after_input(s);
	if (w->spec.on_demand && w->held && !w->holding)
		host_hold(s, w, true);
}

/* Somebody takes hold of it, or lets it go. */
void
host_hold(struct sim *s, struct want *w, bool hold)
{
	w->held = hold;
	if (!w->wanted || !w->spec.on_demand || w->holding == hold)
		return;
	w->holding = hold;
	s->disturbed = s->now;
	sim_log(s, hold ? "hold" : "let go", (uint32_t)(w - s->wants), "", 0);
	for (unsigned i = 0; i < SLOTS && hold; i++)
		if (want_is_on(s, w, i))
			oracle_network_event(s, host_path(s, i));
	if (!engine_hold(s->engine, s->now, w->name, hold))
		sim_fail(s, "%s cannot be held", w->name);
	sim_after_input(s);
}

void
host_unwant(struct sim *s, struct want *w)
{
	w->wanted = w->holding = false;
	s->disturbed = s->now;
	sim_log(s, "unwant", (uint32_t)(w - s->wants), "", 0);
	engine_unwant(s->engine, s->now, w->name);
	sim_after_input(s);
}

/* ---- lives ------------------------------------------------------------------------------ */

/* A new process. An old one, if any, is gone without a word. */
void
host_start(struct sim *s, bool with_memory)
{
	sim_log(s, with_memory ? "start" : "blank start", 0, "", 0);
	engine_free(s->engine);
	s->engine = engine_new(&host_io, s, &s->settings);
	if (!s->engine) {
		sim_fail(s, "engine_new failed");
		return;
	}
	s->healthy = false; /* until an audit has seen it so, with this engine */
	for (uint32_t i = 0; i < s->n_paths; i++)
		s->paths[i].done = true; /* its sockets died with it */
	s->late_for = 0;
	oracle_restart(s);
	for (unsigned i = 0; i < GATEWAYS; i++) {
		if (!s->gateways[i].name)
			continue;
		if (engine_gateway(s->engine, s->now, &s->gateways[i]))
			sim_fail(s, "engine_gateway failed");
		sim_after_input(s);
	}
	disk_start(s, with_memory);
	for (unsigned i = 0; i < s->n_wants; i++) {
		bool held = s->wants[i].held;
		s->wants[i].holding = false;
		if (!s->wants[i].wanted)
			continue;
		/* who held it finds the daemon again a moment later */
		s->wants[i].held = false;
		host_want(s, &s->wants[i]);
		s->wants[i].held = held;
		if (s->wants[i].spec.on_demand && held)
			sim_schedule(s, s->now + (mstime)rng_below(&s->odd, 2000), H_HOLD, i)
			    ->count = 1;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && !s->slots[i].flapped)
			host_path_up(s, i, true);
}

static void
postpone(struct sim *s, const struct event *e, mstime until)
{
	struct event *later = sim_schedule(s, until, (enum happening)e->kind, e->what);

	memcpy(later, e, offsetof(struct event, bytes));
	memcpy(later->bytes, e->bytes, e->len);
}

/* The wire goes on working, the rest of the world waits. */
static void
wire_only(struct sim *s, const struct event *e, mstime limit)
{
	if (e->kind == H_TO_BOX)
		wire_at_box(s, e);
	else if (e->kind == H_TO_HOST)
		wire_at_host(s, e);
	else if (e->kind == H_ICMP)
		wire_icmp(s, e);
	else
		postpone(s, e, limit);
}

/* An orderly stop, to its end. In calm nothing of ours may be left at the gateways. */
void
host_release(struct sim *s)
{
	mstime begin = s->now;
	mstime limit = begin + (mstime)s->settings.release_timeout * 1000 + 50;
	struct event e;

	sim_log(s, "release", 0, "", 0);
	s->releasing = true;
	engine_release_all(s->engine, s->now);
	sim_after_input(s);
	while (!s->failed && !engine_drained(s->engine)) {
		mstime next = engine_next(s->engine);
		if (s->n_heap && s->heap[0].t <= next) {
			if (!sim_pop(s, limit, &e))
				break;
			wire_only(s, &e, limit + 200);
			continue;
		}
		if (next > limit)
			break;
		if (next > s->now)
			s->now = next;
		engine_tick(s->engine, s->now);
		sim_after_input(s);
	}
	if (!engine_drained(s->engine))
		sim_fail(
		    s, "not drained %lld ms after engine_release_all", (long long)(limit - begin));
	begin = s->now; /* what is still on the wire arrives */
	while (!s->failed && sim_pop(s, begin + 20 + 2 * s->rtt, &e))
		wire_only(s, &e, begin + 21 + 2 * s->rtt);
	disk_finish(s);
	if (s->calm && s->healthy && !s->failed)
		oracle_nothing_left(s);
	s->releasing = false;
}
