/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/*
 * kill -9 at every step. A short life is played once to count its steps (a packet sent, an input of
 * the engine), and then again and again, each time with the process killed at another one. Its
 * successor has the state file and the config, from which something may have been taken out
 * meanwhile. Then all that is wanted must be mapped, where it was; what is not wanted any more and
 * was in the file must be gone; and after the stop so must all the rest.
 */

#define SETTLED (3 * MSTIME_SECOND)

enum act {
	ACT_PORT = 1,
	ACT_UNWANT,
	ACT_WANT,
	ACT_REBOOT,
	ACT_RENUMBER,
	ACT_FLAP,
	ACT_LET_GO,
	ACT_HOLD,
	ACT_PREFIX,
	ACT_GATEWAY
};

static const struct {
	mstime at;
	enum act act;
} script[] = { { 6, ACT_PORT }, { 12, ACT_UNWANT }, { 16, ACT_WANT }, { 20, ACT_LET_GO },
	{ 23, ACT_HOLD }, { 26, ACT_REBOOT }, { 36, ACT_RENUMBER }, { 41, ACT_PREFIX },
	{ 45, ACT_GATEWAY }, { 52, ACT_FLAP } };
#define ACTS (sizeof script / sizeof script[0])
#define LIFE (60 * MSTIME_SECOND)

/* Nothing that would make a refusal, or another port, right. */
static void
tame(struct sim *s)
{
	s->mask = 0;
	s->calm = s->drilling = true;
	for (unsigned i = 0; i < BOXES; i++) {
		struct gw_box *b = &s->boxes[i];

		b->strict = true;
		b->table = 128;
		b->frozen = false;
		b->min_life = 0;
		b->max_life = b->max_life < 600 ? 600 : b->max_life > 7200 ? 7200 : b->max_life;
		b->epoch_base = b->epoch_base % 1000000 + 5000;
		b->never_renews = false;
		b->options = OPTIONS_PROCESSED;
		if (b->assigns)
			b->min_life = b->max_life = 60;
	}
	for (unsigned i = 0; i < s->n_wants; i++) {
		struct forward_spec *f = &s->wants[i].spec;

		f->require = false;
		f->independent = true;
		f->lifetime = f->lifetime < 600 ? 600 : f->lifetime;
		/* what only PCP can say is asked of who speaks it */
		for (unsigned k = 0; k < SLOTS; k++)
			if (want_has_options(&s->wants[i]) && want_is_on(s, &s->wants[i], k) &&
			    s->boxes[s->slots[k].box].speaks == SPEAKS_NATPMP) {
				f->has_internal = false;
				f->n_remotes = 0;
			}
	}
}

/* Another gateway for it: moved, and moved back by the next. */
static void
change_gateway(struct sim *s, struct want *w)
{
	unsigned to = w->gateway == GATEWAY_DEFAULT ? GATEWAY_TWIN : GATEWAY_DEFAULT;

	if (!s->gateways[to].name || w->spec.assigned || w->spec.ipv6 || want_has_options(w))
		return;
	w->gateway = to;
	w->spec.gateway = s->gateways[to].name;
	host_want(s, w);
}

static void
change_hold(struct sim *s, bool hold)
{
	for (unsigned i = 0; i < s->n_wants; i++)
		if (s->wants[i].spec.on_demand && i % 2 == 0)
			host_hold(s, &s->wants[i], hold);
}

static void
act(struct sim *s, enum act what)
{
	struct want *w = &s->wants[s->n_wants - 1];
	struct slot *g = &s->slots[0];

	s->drill_due = s->now + SETTLED;
	switch (what) {
	case ACT_PORT:
		if (w->spec.assigned)
			break;
		w->spec.external = EXTERNAL_FIXED;
		w->spec.external_port = (uint16_t)(w->spec.internal_port + 9000);
		host_want(s, w);
		break;
	case ACT_UNWANT:
		host_unwant(s, w);
		break;
	case ACT_WANT:
		host_want(s, w);
		break;
	case ACT_REBOOT:
		fault_reboot(s, g->box, false);
		wire_announce(s, g->box);
		s->drill_due += (mstime)s->settings.recovery_delay * 1000;
		break;
	case ACT_RENUMBER:
		fault_renumber(s, 0, false);
		break;
	case ACT_PREFIX:
		if (s->slots[SLOT_LAN6].used)
			fault_renumber(s, SLOT_LAN6, s->seed % 2);
		break;
	case ACT_LET_GO:
	case ACT_HOLD:
		change_hold(s, what == ACT_HOLD);
		break;
	case ACT_GATEWAY:
		change_gateway(s, w);
		break;
	default:
		for (unsigned i = 0; i < SLOTS; i++)
			if (s->slots[i].used && s->slots[i].ifindex == g->ifindex) {
				host_path_down(s, i, PATH_ABSENT);
				host_path_up(s, i, false);
			}
	}
}

static void
live(struct sim *s)
{
	mstime begin = s->now;

	s->drill_due = begin; /* what the gateway has, it keeps, whether the host knows or not */
	host_start(s, false);
	for (size_t i = 0; i < ACTS && !s->failed; i++) {
		sim_run_until(s, begin + script[i].at * MSTIME_SECOND);
		act(s, script[i].act);
	}
	sim_run_until(s, begin + LIFE);
	s->drill_due = s->now + HOUR; /* what is being released does not stay */
	host_release(s);
}

/* True: it was killed. */
static bool
killed(struct sim *s, uint64_t at)
{
	s->kill_at = at;
	if (setjmp(s->killed)) {
		s->kill_at = 0;
		s->releasing = false;
		return true;
	}
	live(s);
	return false;
}

/* ---- what must be so afterwards ------------------------------------------------------------- */

/* The forward that a lease there is for. */
static struct want *
wanted(struct sim *s, unsigned slot, const struct gw_entry *e)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct forward_spec *f = &s->wants[i].spec;

		if (s->wants[i].wanted && (!f->on_demand || s->wants[i].held) &&
		    want_is_on(s, &s->wants[i], slot) &&
		    (e->protocol == PROTOCOL_TCP ? f->tcp : f->udp) &&
		    e->internal >= f->internal_port && e->internal < f->internal_port + f->count)
			return &s->wants[i];
	}
	return NULL;
}

static bool
is_ours(const struct sim *s, unsigned slot, const struct gw_entry *e)
{
	return e->used && e->until > s->now && e->client == s->slots[slot].local;
}

/* Two config gateways may be one box: it is wanted by either. */
static bool
wanted_somewhere(struct sim *s, unsigned slot, const struct gw_entry *e)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && s->slots[i].box == s->slots[slot].box && wanted(s, i, e))
			return true;
	return false;
}

/* What the world was told of stays; what it was not may have been on its way to another port. */
static void
note_ports(struct sim *s)
{
	memset(s->drill_ports, 0, sizeof s->drill_ports);
	for (unsigned i = 0; i < SLOTS && s->now >= s->drill_due; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			const struct want *w = is_ours(s, i, e) ? wanted(s, i, e) : NULL;

			if (w && w->told[s->slots[i].family][e->protocol == PROTOCOL_TCP].up)
				s->drill_ports[oracle_index(s, i, e->protocol, e->internal)] =
				    e->external;
		}
}

/* `known`: internal ports that the file had. */
static void
look_round(struct sim *s, const bool known[TRACKS], bool stopped)
{
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			bool is_wanted = wanted_somewhere(s, i, e);
			uint16_t before;
			int t;

			/* an assigned one is not deleted, it lapses */
			if (!is_ours(s, i, e) || (!e->internal && (stopped || !is_wanted)))
				continue;
			t = oracle_index(s, i, e->protocol, e->internal);
			if (t < 0)
				continue;
			before = s->drill_ports[t];
			if (wanted(s, i, e) && !stopped && before && before != e->external)
				sim_fail(s, "port %u moved from %u to %u", e->internal, before,
				    e->external);
			if (is_wanted ? stopped : known[t])
				sim_fail(s, "port %u is left at the gateway%s", e->internal,
				    stopped ? " after the stop" : "");
		}
}

static void
must_be_up(struct sim *s)
{
	char why[160];

	oracle_look(s);
	for (unsigned i = 0; i < SLOTS; i++)
		if (s->slots[i].used && !oracle_is_up(s, i, why, sizeof why))
			sim_fail(s, "30 s after the crash %s", why);
}

/* What the administrator changed meanwhile: 0 nothing, 1 the last forward goes, 2 all but one. */
static void
configure(struct sim *s, unsigned change)
{
	for (unsigned i = 0; i < s->n_wants; i++)
		s->wants[i].wanted = change == 0 || (change == 1 ? i + 1 < s->n_wants : i == 0);
}

static void
note_file(const struct sim *s, bool known[TRACKS])
{
	static const uint8_t protocols[] = { PROTOCOL_TCP, PROTOCOL_UDP };

	for (unsigned slot = 0; slot < SLOTS; slot++)
		for (unsigned i = 0; i < s->n_wants; i++)
			for (unsigned k = 0; k < 2u * s->wants[i].spec.count; k++) {
				const struct want *w = &s->wants[i];
				uint16_t port = (uint16_t)(w->spec.internal_port + k / 2);
				unsigned t =
				    track_index(slot, protocols[k % 2], want_port(w, k / 2));

				/* its last lease, by the other gateway's name, may be in no file
				 * yet */
				if (s->slots[SLOT_TWIN].used && s->now < s->drill_due &&
				    i + 1 == s->n_wants)
					continue;
				if (want_is_on(s, w, slot))
					known[t] = disk_has(s, slot, protocols[k % 2], port);
			}
}

static void
successor(struct sim *s, uint64_t kill)
{
	bool known[TRACKS] = { false };

	/* killed amid a change of address, which both config gateways of one box have seen by now
	 */
	s->slots[SLOT_TWIN].local = s->slots[SLOT_LAN].local;
	disk_crash(s, (unsigned)(kill % 3));
	configure(s, (unsigned)(kill / 3 % 3));
	note_ports(s);
	note_file(s, known);
	s->now += (mstime)(1 + kill % 5) * 400; /* what is on the wire arrives */
	host_start(s, true);
	sim_run_until(s, s->now + 30 * MSTIME_SECOND);
	if (s->failed)
		return;
	must_be_up(s);
	look_round(s, known, false);
	host_release(s);
	look_round(s, known, true);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static struct sim *
crash_world(uint64_t seed, enum breadth breadth, bool trace)
{
	struct sim *s = sim_make(seed, 1, breadth, trace);

	tame(s);
	return s;
}

static bool
tell(struct sim *s, uint64_t kill)
{
	bool ok = !s->failed;

	if (!ok)
		printf("not ok - crash seed %llu, killed at step %llu, at %lld.%03lld s: %s; "
		       "sim --trace%s --crash %llu:%llu\n",
		    (unsigned long long)s->seed, (unsigned long long)kill,
		    (long long)((s->now - s->begin) / 1000), (long long)(s->now % 1000), s->why,
		    s->breadth == NARROW ? " --narrow" : "", (unsigned long long)s->seed,
		    (unsigned long long)kill);
	sim_free(s);
	return ok;
}

bool
crash_once(uint64_t seed, uint64_t kill, enum breadth breadth, bool trace)
{
	struct sim *s = crash_world(seed, breadth, trace);

	if (killed(s, kill) && !s->failed)
		successor(s, kill);
	return tell(s, kill);
}

unsigned
crash_seed(uint64_t seed, unsigned most, enum breadth breadth, unsigned *failed)
{
	struct sim *s = crash_world(seed, breadth, false);
	uint64_t steps, stride;
	unsigned n = 0;

	(void)killed(s, 0);
	steps = s->steps;
	if (!tell(s, 0)) {
		(*failed)++;
		return 1;
	}
	stride = steps / most + 1;
	for (uint64_t k = 1 + seed % stride; k <= steps && *failed == 0; k += stride, n++)
		*failed += !crash_once(seed, k, breadth, false);
	return n;
}
