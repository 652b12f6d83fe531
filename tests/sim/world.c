/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fault_names[FAULTS] = { "loss", "duplicates", "delay", "reboot", "amnesia",
	"refused", "down", "flap", "renumber", "move", "swap", "restart", "restart-blank",
	"suspend", "late", "forge", "eperm", "reload", "stop", "results", "address", "no-address",
	"full", "announce", "prefix", "cafe", "firmware", "update", "hold", "edit", "flood",
	"neighbour" };

static const char *const feature_names[FEATURES] = { "ipv6", "both families", "pair", "range",
	"any port", "require, had", "require, refused", "assigned", "held", "idle", "vpn",
	"same gateway address twice", "two gateways in one box", "renewals refused (Q-094)",
	"ports echoed (Q-054)", "NAT66", "source filter", "for another host",
	"an option refused or ignored", "a set", "a smaller set", "a set refused",
	"PREFER_FAILURE heeded", "a description", "a description refused", "CGNAT",
	"a wished port won back" };

const char *
sim_fault_name(enum fault f)
{
	return fault_names[f];
}

const char *
sim_feature_name(enum feature f)
{
	return feature_names[f];
}

static void *
grow(void *p, size_t n, size_t size)
{
	p = realloc(p, n * size);
	if (!p) {
		fputs("sim: out of memory\n", stderr);
		abort();
	}
	return p;
}

void
sim_fail(struct sim *s, const char *format, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = true;
	va_start(ap, format);
	vsnprintf(s->why, sizeof s->why, format, ap);
	va_end(ap);
}

static void
stir(struct sim *s, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint64_t h = s->hash, word;

	for (; n; n -= n < 8 ? n : 8, p += 8) {
		word = 0;
		memcpy(&word, p, n < 8 ? n : 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	s->hash = h;
}

void
sim_log(struct sim *s, const char *what, uint32_t a, const void *bytes, size_t n)
{
	stir(s, &s->now, sizeof s->now);
	stir(s, what, strlen(what));
	stir(s, &a, sizeof a);
	stir(s, bytes, n);
	s->events_total++;
	if (!s->trace)
		return;
	printf("%9lld.%03lld %-16s %3u ", (long long)(s->now / 1000), (long long)(s->now % 1000),
	    what, a);
	for (size_t i = 0; i < n && i < 64; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	putchar('\n');
}

/* ---- the heap --------------------------------------------------------------------------- */

static bool
earlier(const struct node *a, const struct node *b)
{
	return a->t < b->t || (a->t == b->t && a->seq < b->seq);
}

struct event *
sim_schedule(struct sim *s, mstime at, enum happening kind, unsigned what)
{
	struct node n = { .t = at < s->now ? s->now : at, .seq = s->seq++ };
	struct event *e;
	size_t i;

	if (!s->n_free) {
		size_t old = s->events_room;
		s->events_room = old ? old * 2 : 128;
		s->events = grow(s->events, s->events_room, sizeof *s->events);
		s->free_events = grow(s->free_events, s->events_room, sizeof *s->free_events);
		for (size_t k = s->events_room; k > old; k--)
			s->free_events[s->n_free++] = (uint32_t)(k - 1);
	}
	n.event = s->free_events[--s->n_free];
	if (s->n_heap == s->heap_room) {
		s->heap_room = s->heap_room ? s->heap_room * 2 : 128;
		s->heap = grow(s->heap, s->heap_room, sizeof *s->heap);
	}
	for (i = s->n_heap++; i && earlier(&n, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = n;
	e = &s->events[n.event];
	e->kind = (uint8_t)kind;
	e->what = (uint8_t)what;
	e->len = 0;
	e->count = 0;
	return e;
}

/* The next event if it is not after `until`; moves the clock. */
bool
sim_pop(struct sim *s, mstime until, struct event *out)
{
	struct node top, last;
	size_t i = 0;

	if (!s->n_heap || s->heap[0].t > until)
		return false;
	top = s->heap[0];
	last = s->heap[--s->n_heap];
	for (;;) {
		size_t c = 2 * i + 1;
		if (c >= s->n_heap)
			break;
		if (c + 1 < s->n_heap && earlier(&s->heap[c + 1], &s->heap[c]))
			c++;
		if (!earlier(&s->heap[c], &last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	s->heap[i] = last;
	memcpy(out, &s->events[top.event], offsetof(struct event, bytes));
	memcpy(out->bytes, s->events[top.event].bytes, out->len);
	s->free_events[s->n_free++] = top.event;
	if (top.t > s->now)
		s->now = top.t;
	return true;
}

/* ---- after each input of the engine ----------------------------------------------------- */

void
sim_step(struct sim *s)
{
	if (++s->steps == s->kill_at)
		longjmp(s->killed, 1);
}

void
sim_after_input(struct sim *s)
{
	const char *broken = engine_check(s->engine, s->now);

	if (broken)
		sim_fail(s, "engine_check: %s", broken);
	if (s->differs)
		oracle_recheck(s);
	if (s->memory_changed) {
		s->memory_changed = false;
		disk_changed(s);
	}
	if (s->now != s->same_at) {
		s->same_at = s->now;
		s->same = 0;
	} else if (++s->same > 2000)
		sim_fail(s, "time stands still: more than 2000 engine calls at one instant");
	sim_step(s);
}

/* ---- the run ---------------------------------------------------------------------------- */

static mstime
audit_gap(const struct sim *s)
{
	if (!s->calm)
		return 3 * MINUTE;
	return s->now - s->calm_since < 5 * MINUTE ? 10 * MSTIME_SECOND : MINUTE;
}

static void
happen(struct sim *s, const struct event *e)
{
	switch ((enum happening)e->kind) {
	case H_TO_BOX:
		wire_at_box(s, e);
		break;
	case H_TO_HOST:
		wire_at_host(s, e);
		break;
	case H_ICMP:
		wire_icmp(s, e);
		break;
	case H_ANNOUNCEMENT:
		wire_announcement(s, e);
		break;
	case H_LEASE_END:
		oracle_lease_end(s, e);
		break;
	case H_FAULT:
		fault_strike(s);
		break;
	case H_PHASE:
		drill_phase(s);
		break;
	case H_AUDIT:
		oracle_audit(s);
		sim_schedule(s, s->now + audit_gap(s), H_AUDIT, 0);
		break;
	case H_LINK_UP:
		fault_link_up(s, e->what);
		break;
	case H_MOOD_ENDS:
		fault_mood_ends(s, e);
		break;
	case H_DRILL:
		drill_run(s, (enum drill)e->what);
		break;
	case H_ODD:
		odd_strike(s);
		break;
	case H_MORE:
		full_strike(s);
		break;
	case H_HOLD:
		if (s->wants[e->what].held)
			host_hold(s, &s->wants[e->what], true);
		break;
	case H_SAVE:
	case H_SAVED:
		disk_event(s, e);
		break;
	}
}

/* When the engine is called next: as it asked, or later if this host is slow. */
static mstime
tick_time(struct sim *s)
{
	mstime t = engine_next(s->engine);

	if (t == MSTIME_NEVER || !(s->active & BIT(FAULT_LATE)))
		return t;
	if (s->late_for != t) {
		s->late_for = t;
		s->late_by = (mstime)rng_below(&s->net, 30 * MSTIME_SECOND);
		s->fired[FAULT_LATE]++;
	}
	return t + s->late_by;
}

/* One step; false when nothing is left before `until`. */
static bool
step(struct sim *s, mstime until)
{
	mstime tick = tick_time(s);
	struct event e;

	if (s->n_heap && s->heap[0].t <= tick) {
		if (!sim_pop(s, until, &e))
			return false;
		happen(s, &e);
		return true;
	}
	if (tick > until)
		return false;
	if (tick > s->now)
		s->now = tick;
	engine_tick(s->engine, s->now);
	sim_after_input(s);
	return true;
}

void
sim_run_until(struct sim *s, mstime at)
{
	while (!s->failed && step(s, at))
		;
	if (s->now < at)
		s->now = at;
}

static void
see_boxes(struct sim *s)
{
	for (unsigned i = 0; i < BOXES; i++) {
		const struct gw_box *b = &s->boxes[i];

		s->seen[FEATURE_SET] += b->sets_made;
		s->seen[FEATURE_SET_CUT] += b->sets_cut;
		s->seen[FEATURE_SET_REFUSED] += b->sets_refused;
		s->seen[FEATURE_PREFERS_FAILURE] += b->failures_preferred;
		s->seen[FEATURE_DESCRIBED] += b->described;
		s->seen[FEATURE_DESCRIPTION_REFUSED] += b->descriptions_refused;
	}
}

void
sim_run(struct sim *s)
{
	while (!s->failed && s->now < s->end && step(s, s->end))
		;
	if (!s->failed && s->calm && s->healthy)
		host_release(s);
	see_boxes(s);
}

/* ---- a world from a seed ---------------------------------------------------------------- */

static void
make_box(struct sim *s, unsigned i)
{
	static const uint32_t addresses[BOX_VPN + 1] = { 0xc0a80101, 0xc0a80102, 0x0a020001 };
	struct rng *r = &s->setup;
	struct gw_box *b = &s->boxes[i];

	b->rng.s = rng_next(r);
	b->address = addresses[i];
	b->external = 0xcb007101 + i * 256; /* 203.0.113.1 … */
	b->speaks = (enum gw_speaks)rng_below(r, 3);
	if (b->speaks == SPEAKS_NATPMP)
		b->stranger = (enum gw_stranger)rng_below(r, 4);
	else if (b->speaks == SPEAKS_PCP)
		b->stranger =
		    (enum gw_stranger)PICK(r, STRANGER_MUTE, STRANGER_V2_24, STRANGER_FRAGMENT);
	b->ports = (enum gw_ports)rng_below(r, 4);
	b->options = (enum gw_options)PICK(r, OPTIONS_IGNORED, OPTIONS_IGNORED, OPTIONS_REFUSED);
	/* not from the stream, so that worlds without ranges stay as they were */
	b->sets = (enum gw_sets)((s->seed / 3 + i) % 5);
	b->announces = (enum gw_announce)rng_below(r, 4);
	b->strict = rng_chance(r, 600);
	b->error_life_zero = rng_chance(r, 500);
	b->min_life = PICK(r, 0, 0, 60, 120);
	b->max_life = PICK(r, 60, 120, 120, 600, 600, 1800, 3600, 7200, 7200, 86400);
	if (rng_chance(r, 80))
		b->min_life = b->max_life = PICK(r, 1, 2, 5, 13, 20, 0x80000000u, 0xffffffffu);
	if (b->min_life > b->max_life)
		b->min_life = b->max_life;
	b->table = rng_chance(r, 100) ? 4 : 128;
	b->frozen = rng_chance(r, 100);
	if (rng_chance(r, 150))
		b->restart_step = 1800 + (uint32_t)rng_below(r, 100000);
	b->drift_ppm = rng_chance(r, 300) ? (int)rng_below(r, 60000) - 30000 : 0;
	b->epoch_base = (uint32_t)rng_below(r, 1000000);
	if (rng_chance(r, 30))
		b->epoch_base = 0xfff00000u;
	b->boot = s->now;
}

static void
make_slot(struct sim *s, unsigned i)
{
	struct rng *r = &s->setup;
	struct slot *g = &s->slots[i];
	struct gateway_spec *p = &s->gateways[i];

	g->used = i == SLOT_LAN || rng_chance(r, 200);
	g->gateway = i == SLOT_LAN ? GATEWAY_DEFAULT : GATEWAY_VPN;
	g->ifindex = i == SLOT_LAN ? 2 : 3;
	g->box = i == SLOT_LAN ? BOX_HOME : BOX_VPN;
	g->local = i == SLOT_LAN ? 0xc0a8010a : 0x0a020002;
	p->name = i == SLOT_LAN ? "default" : g->used ? "vpn" : NULL;
	p->probe_interval = PICK(r, 60, 60, 60, 30, 300, 0);
	p->mappers[0] = MAPPER_PCP;
	p->mappers[1] = MAPPER_NATPMP;
	p->n_mappers = 2;
	if (i == 1 && s->boxes[2].speaks == SPEAKS_NATPMP) {
		p->mappers[0] = MAPPER_NATPMP;
		p->n_mappers = 1;
	}
}

static void
make_forward(struct sim *s, unsigned i)
{
	struct rng *r = &s->setup;
	struct want *w = &s->wants[i];
	struct forward_spec *f = &w->spec;

	snprintf(w->name, sizeof w->name, "f%u", i);
	w->gateway = s->slots[SLOT_VPN].used && rng_chance(r, 300) ? GATEWAY_VPN : GATEWAY_DEFAULT;
	w->wanted = true;
	w->base = (uint16_t)(FIRST_PORT + i * PORTS_EACH);
	f->name = w->name;
	f->gateway = s->gateways[w->gateway].name;
	f->tcp = rng_chance(r, 600);
	f->udp = !f->tcp || rng_chance(r, 300);
	f->ipv4 = true;
	f->internal_port = w->base;
	f->count = rng_chance(r, 150) ? RANGE : 1;
	f->external = (enum external_wish)PICK(r, EXTERNAL_SAME, EXTERNAL_SAME, EXTERNAL_FIXED,
	    f->count > 1 ? EXTERNAL_SAME : EXTERNAL_ANY);
	f->external_port = f->external == EXTERNAL_FIXED ? (uint16_t)(8000 + i * 10) : 0;
	f->require = f->external != EXTERNAL_ANY && rng_chance(r, 60);
	f->independent = rng_chance(r, 500);
	f->lifetime = PICK(r, 3600, 3600, 7200, 600, 120, 86400);
	f->release_on_exit = true;
}

static void
make_length(struct sim *s, mstime days)
{
	double rate = 1.0 / 30; /* wake-ups a second, roughly */

	for (unsigned i = 0; i < s->n_wants; i++)
		for (unsigned k = 0; k < SLOTS; k++) {
			mstime every = oracle_renewal(s, &s->wants[i], k);
			if (want_is_on(s, &s->wants[i], k))
				rate += 1000.0 * want_mappings(&s->wants[i]) /
				    (double)(every < 1000 ? 1000 : every);
		}
	s->end = s->now + days * DAY;
	/* worlds of very short leases end earlier, or they would take most of the time */
	while (s->end - s->now > DAY && rate * (double)(s->end - s->now) / 1000 > 60000)
		s->end -= DAY / 2;
}

struct sim *
sim_make(uint64_t seed, mstime days, enum breadth breadth, bool trace)
{
	struct rng root = { seed };
	struct sim *s = calloc(1, sizeof *s);

	if (!s)
		abort();
	s->seed = seed;
	s->hash = 1469598103934665603ULL;
	s->trace = trace;
	s->now = s->begin = 100000 * MSTIME_SECOND;
	s->net.s = rng_next(&root);
	s->faults.s = rng_next(&root);
	s->engine_rng.s = rng_next(&root);
	s->setup.s = rng_next(&root);
	s->mask =
	    (unsigned)rng_next(&root) & (unsigned)rng_next(&s->setup) & (BIT(NARROW_FAULTS) - 1);
	if (rng_chance(&s->setup, 300))
		s->mask |= (unsigned)rng_next(&s->setup) & (BIT(NARROW_FAULTS) - 1);
	s->odd.s = rng_next(&root);
	s->rtt = PICK(&s->setup, 2, 5, 5, 20, 80);
	s->settings.max_renew_interval = PICK(&s->setup, 1800, 1800, 600, 3600);
	s->settings.recovery_delay = PICK(&s->setup, 5, 5, 5, 1, 0);
	s->settings.release_timeout = PICK(&s->setup, 3, 3, 1, 5);
	for (unsigned i = BOX_HOME; i <= BOX_VPN; i++)
		make_box(s, i);
	for (unsigned i = SLOT_LAN; i <= SLOT_VPN; i++)
		make_slot(s, i);
	s->n_wants = 1 + (unsigned)rng_below(&s->setup, FORWARDS);
	if (rng_chance(&s->setup, 500))
		s->n_wants = (s->n_wants + 2) / 3;
	for (unsigned i = 0; i < s->n_wants; i++)
		make_forward(s, i);
	s->more.s = rng_next(&root);
	s->breadth = breadth;
	if (breadth >= WIDE)
		widen(s);
	if (breadth == FULL)
		full(s);
	else
		s->mask &= ~FULL_FAULTS;
	make_length(s, days);
	return s;
}

struct sim *
sim_new(uint64_t seed, mstime days, enum breadth breadth, bool trace)
{
	struct sim *s = sim_make(seed, days, breadth, trace);

	s->calm = true; /* the first phase turns it */
	host_start(s, false);
	drill_phase(s);
	sim_schedule(s, s->now + MINUTE, H_AUDIT, 0);
	return s;
}

void
sim_free(struct sim *s)
{
	engine_free(s->engine);
	disk_free(s);
	free(s->heap);
	free(s->events);
	free(s->free_events);
	free(s->grants);
	free(s);
}
