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

enum act { ACT_PORT = 1, ACT_UNWANT, ACT_WANT, ACT_REBOOT, ACT_RENUMBER, ACT_FLAP };

static const struct {
	mstime at;
	enum act act;
} script[] = { { 6, ACT_PORT }, { 12, ACT_UNWANT }, { 16, ACT_WANT }, { 26, ACT_REBOOT },
	{ 36, ACT_RENUMBER }, { 48, ACT_FLAP } };
#define ACTS (sizeof script / sizeof script[0])
#define LIFE (56 * MSTIME_SECOND)

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
	}
	for (unsigned i = 0; i < s->n_wants; i++) {
		struct forward_spec *f = &s->wants[i].spec;

		f->require = false;
		f->independent = true;
		f->lifetime = f->lifetime < 600 ? 600 : f->lifetime;
	}
}

static void
act(struct sim *s, enum act what)
{
	struct want *w = &s->wants[s->n_wants - 1];
	struct slot *g = &s->slots[0];

	s->drill_due = s->now + SETTLED;
	switch (what) {
	case ACT_PORT:
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
		host_path_down(s, 0, PATH_DEAD);
		g->local++;
		host_path_up(s, 0, true);
		break;
	default:
		host_path_down(s, 0, PATH_ABSENT);
		host_path_up(s, 0, false);
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

static struct want *
wanted(struct sim *s, const struct gw_entry *e)
{
	for (unsigned i = 0; i < s->n_wants; i++) {
		const struct forward_spec *f = &s->wants[i].spec;

		if (s->wants[i].wanted && e->internal >= f->internal_port &&
		    e->internal < f->internal_port + f->count)
			return &s->wants[i];
	}
	return NULL;
}

static bool
is_ours(const struct sim *s, unsigned slot, const struct gw_entry *e)
{
	return e->used && e->until > s->now && e->client == s->slots[slot].local;
}

/* What the world was told of stays; what it was not may have been on its way to another port. */
static void
note_ports(struct sim *s)
{
	memset(s->drill_ports, 0, sizeof s->drill_ports);
	for (unsigned i = 0; i < SLOTS && s->now >= s->drill_due; i++)
		for (unsigned k = 0; s->slots[i].used && k < GW_ENTRIES; k++) {
			const struct gw_entry *e = &s->boxes[s->slots[i].box].entries[k];
			const struct want *w = is_ours(s, i, e) ? wanted(s, e) : NULL;

			if (w && w->told[s->slots[i].family][e->protocol == PROTOCOL_TCP].up)
				s->drill_ports[track_index(i, e->protocol, e->internal)] =
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
			uint16_t before;
			unsigned t;

			if (!is_ours(s, i, e))
				continue;
			t = track_index(i, e->protocol, e->internal);
			before = s->drill_ports[t];
			if (wanted(s, e) && !stopped && before && before != e->external)
				sim_fail(s, "port %u moved from %u to %u", e->internal, before,
				    e->external);
			if (wanted(s, e) ? stopped : known[t])
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

				if (want_is_on(s, w, slot))
					known[track_index(slot, protocols[k % 2], port)] =
					    disk_has(s, slot, protocols[k % 2], port);
			}
}

static void
successor(struct sim *s, uint64_t kill)
{
	bool known[TRACKS] = { false };

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
crash_world(uint64_t seed, bool trace)
{
	struct sim *s = sim_make(seed, 1, NARROW, trace);

	tame(s);
	return s;
}

static bool
tell(struct sim *s, uint64_t kill)
{
	bool ok = !s->failed;

	if (!ok)
		printf("not ok - crash seed %llu, killed at step %llu, at %lld.%03lld s: %s; sim "
		       "--crash %llu:%llu --trace\n",
		    (unsigned long long)s->seed, (unsigned long long)kill,
		    (long long)((s->now - s->begin) / 1000), (long long)(s->now % 1000), s->why,
		    (unsigned long long)s->seed, (unsigned long long)kill);
	sim_free(s);
	return ok;
}

bool
crash_once(uint64_t seed, uint64_t kill, bool trace)
{
	struct sim *s = crash_world(seed, trace);

	if (killed(s, kill) && !s->failed)
		successor(s, kill);
	return tell(s, kill);
}

unsigned
crash_seed(uint64_t seed, unsigned most, unsigned *failed)
{
	struct sim *s = crash_world(seed, false);
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
		*failed += !crash_once(seed, k, false);
	return n;
}
