/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <errno.h>
#include <string.h>

/*
 * What is sent when. One request is outstanding on a path at a time (RFC 6886 section 3.1); an
 * answer releases the next. Three modes:
 *
 *	contact	 it has never answered: two series of questions, one for each protocol
 *	normal	 a request is repeated in a quick burst
 *	outage	 a burst went unanswered: one packet at a time, 4 s apart at first, the most urgent
 *		 mapping being the probe; the others wait
 */

#define BURST 5u
#define DELETE_BURST 3u
#define QUESTION_BURST 3u
/* So many questions for the epoch unanswered, while it maps: it is asked seldom, then. */
#define DEAF_AFTER 3u
#define DEAF_REST (10 * 60 * MSTIME_SECOND)
/* A renewal that is not answered keeps the queue for so long; its own next try is later. */
#define RENEWAL_PATIENCE MSTIME_SECOND
/* Sends to one box that no answer released: 20 at once, then 4 a second. */
#define PACE_GAP ((mstime)250)
#define PACE_BURST 20
/* To all of them: 40 at once, then 20 a second. */
#define TOTAL_GAP ((mstime)50)
#define TOTAL_BURST 40
/* At the end. */
#define FLUSH_GAP ((mstime)2)
#define FLUSH_AFTER 2u /* sends: 500 ms */

/* ---- pace --------------------------------------------------------------------------------- */

/* Each gateway has its own, so that none delays another; those that are one box share theirs. It
 * outlives the path: one that flaps gets no burst for each time. What all send together is bounded
 * well above that, and they take turns there. */
static mstime *
own_pace(const struct path *p)
{
	return &p->gateway->pace[p->family];
}

static mstime
pace_of(const struct path *p)
{
	const struct path *q;
	mstime pace = *own_pace(p);

	TAILQ_FOREACH(q, &p->engine->paths, next)
	if (path_is_twin(q, p))
		pace = later(pace, *own_pace(q));
	return pace;
}

static mstime
pace_at(const struct path *p)
{
	return pace_of(p) - PACE_BURST * PACE_GAP;
}

static mstime
total_at(const struct engine *e)
{
	return e->pace - TOTAL_BURST * TOTAL_GAP;
}

bool
exchange_paced(const struct path *p, mstime now)
{
	struct engine *e = p->engine;

	if (e->stopping)
		return true;
	if (now < pace_at(p))
		return false;
	if (now >= total_at(e))
		return true;
	if (e->passed_over == 0)
		e->passed_over = p->number;
	return false;
}

static void
count_sent(struct path *p, mstime now, int error)
{
	struct engine *e = p->engine;

	*own_pace(p) = later(pace_of(p), now) + PACE_GAP;
	e->pace = later(e->pace, now) + TOTAL_GAP;
	p->last_sent = now;
	if (p->silent_since == MSTIME_NEVER)
		p->silent_since = now;
	if (error == -EPERM || error == -EACCES) {
		p->problem = (struct problem){ .trouble = TROUBLE_FIREWALL };
	} else if (p->problem.trouble == TROUBLE_FIREWALL) {
		p->problem = (struct problem){ .trouble = TROUBLE_NONE };
		/* It begins anew with the series that the firewall kept, not with one at rest. */
		for (unsigned d = 0; d < 2; d++)
			if (p->contact.next[d] <= now + FIREWALL_GAP) {
				p->contact.sends[d] = 1;
				p->contact.wait[d] = 0;
			}
	}
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Nothing goes out on the heels of a packet that is not answered yet. */
static mstime
quiet_until(const struct path *p)
{
	return p->silent_since != MSTIME_NEVER ? p->last_sent + PACE_GAP : 0;
}

static bool
patient_renewal(const struct exchange *x, mstime now)
{
	const struct mapping *m = x->mapping;

	return x->kind == EXCHANGE_MAP && x->mapper == MAPPER_PCP && m->state == MAPPING_ACTIVE &&
	    mapping_leased(m, now) && !m->suspect;
}

static bool
is_delete(const struct exchange *x)
{
	return x->kind == EXCHANGE_MAP && x->mapping->state == MAPPING_RELEASING;
}

/* Does the gateway speak PCP, too? Silence is no sign of an outage. */
static bool
is_question(const struct path *p)
{
	const struct exchange *x = &p->exchange;

	return x->kind == EXCHANGE_MAP && x->mapper == MAPPER_PCP && p->mapper == MAPPER_NATPMP &&
	    x->mapping->state == MAPPING_REQUESTING && !ask_possible(x->mapping, p->mapper) &&
	    !x->probe;
}

static mstime
exchange_wait(struct path *p, mstime now)
{
	struct exchange *x = &p->exchange;
	struct engine *e = p->engine;

	if (x->probe) {
		/* `probes` counts this one already. */
		if (exchange_other_turn(p, p->probes - 1))
			return p->probe_wait / 2;
		p->probe_wait = outage_wait(now - p->silent_since, p->probe_wait, engine_random(e));
		return exchange_other_turn(p, p->probes) ? p->probe_wait / 2 : p->probe_wait;
	}
	if (patient_renewal(x, now))
		return RENEWAL_PATIENCE;
	if (e->stopping && is_delete(x))
		return (mstime)250;
	if (x->sends >= BURST)
		return RENEW_GAP;
	return contact_wait(x->mapper, p->on_link, x->sends, x->wait, engine_random(e));
}

int
exchange_send(
    struct path *p, mstime now, enum exchange_kind kind, enum mapper mapper, struct mapping *m)
{
	int error;

	switch (kind) {
	case EXCHANGE_MAP:
		error = portcontrol_send_map(p, now, m, mapper);
		break;
	case EXCHANGE_ADDRESS:
		error = portcontrol_send_address(p, now);
		break;
	case EXCHANGE_ANNOUNCE:
		error = portcontrol_send_announce(p, now);
		break;
	case EXCHANGE_NONE:
	default:
		return 0;
	}
	count_sent(p, now, error);
	return error;
}

static void
transmit(struct path *p, mstime now)
{
	struct exchange *x = &p->exchange;

	if (x->sends++ == 0)
		x->first = now;
	x->last = now;
	(void)exchange_send(p, now, x->kind, x->mapper, x->mapping);
	x->wait = exchange_wait(p, now);
	x->deadline = now + x->wait;
}

static void
start(struct path *p, mstime now, const struct job *job, bool burst)
{
	p->exchange =
	    (struct exchange){ .kind = job->kind, .mapper = job->mapper, .mapping = job->mapping };
	if (p->outage && !burst) {
		p->exchange.probe = true;
		p->probes++;
	}
	if (job->kind == EXCHANGE_ADDRESS)
		p->address_due = MSTIME_NEVER;
	if (job->mapper == p->mapper && job->kind != EXCHANGE_MAP) {
		p->check_due = MSTIME_NEVER;
		p->hinted = false;
	}
	if (job->single) {
		/* Once in an hour, or in a minute: no repetition, nothing is concluded. */
		p->pcp_again = now + path_pcp_rest(p);
		(void)exchange_send(p, now, job->kind, job->mapper, NULL);
		p->exchange.sends = BURST;
		p->exchange.first = p->exchange.last = now;
		p->exchange.deadline = now + RENEWAL_PATIENCE;
		return;
	}
	transmit(p, now);
}

/* ---- endings -------------------------------------------------------------------------------- */

static void
outage_begins(struct path *p, mstime since)
{
	p->outage = true;
	p->probes = 0;
	p->probe_wait = 0;
	p->not_before = since + RENEW_GAP;
}

void
exchange_flush(struct path *p, mstime now)
{
	p->flushing = true;
	p->flush_at = now;
	p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
}

/* A whole exchange went unanswered. */
static void
give_up(struct path *p, mstime now)
{
	struct exchange x = p->exchange;
	bool patient = x.kind == EXCHANGE_MAP && patient_renewal(&x, now);
	bool question = is_question(p);

	p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
	if (x.mapper != p->mapper && (x.probe || x.kind != EXCHANGE_MAP))
		path_unheard(p, now, x.mapper);
	if (x.mapper != p->mapper && x.kind != EXCHANGE_MAP)
		return; /* only a polite question */
	if (question) {
		mapping_unsupported(x.mapping, now);
		return;
	}
	if (x.kind == EXCHANGE_ADDRESS)
		path_address_later(p, now);
	if (x.kind == EXCHANGE_ANNOUNCE && p->announce_lost < DEAF_AFTER)
		p->announce_lost++;
	if (x.kind == EXCHANGE_ANNOUNCE && !x.probe && !p->announce_works) {
		/* It maps, but has never answered this: silence may mean nothing. */
		p->announce_deaf = p->announce_misses + 1u >= DEAF_AFTER;
		p->announce_misses += !p->announce_deaf;
		p->check_due = now + (p->announce_deaf ? DEAF_REST : 10 * MSTIME_SECOND);
		return;
	}
	if (x.mapping != NULL) {
		if (x.mapping->state == MAPPING_RELEASING) {
			ghost_free(x.mapping);
			if (!p->outage)
				outage_begins(p, x.last);
			return;
		}
		mapping_unanswered(x.mapping, now);
	}
	p->misses++;
	if (x.probe)
		return; /* the next one follows at once, with its own wait */
	if (patient && p->misses < 2) {
		/* Others may have more luck; and it will be asked whether it is there at all. */
		if (!p->announce_deaf && p->check_due > now + 3 * MSTIME_SECOND)
			p->check_due = now + 3 * MSTIME_SECOND;
		return;
	}
	if (!p->outage)
		outage_begins(p, x.last);
}

static void
expired(struct path *p, mstime now)
{
	struct exchange *x = &p->exchange;
	unsigned limit = BURST;

	if (p->engine->stopping && is_delete(x) && x->sends >= FLUSH_AFTER) {
		exchange_flush(p, now);
		return;
	}
	if (is_delete(x))
		limit = DELETE_BURST;
	if (is_question(p))
		limit = QUESTION_BURST;
	if (x->kind == EXCHANGE_ANNOUNCE && p->announce_deaf)
		limit = 1;
	if (x->probe || x->sends >= limit || patient_renewal(x, now))
		give_up(p, now);
	else
		transmit(p, now);
}

void
exchange_calm(struct path *p)
{
	struct exchange *x = &p->exchange;

	if (!x->probe)
		return;
	x->probe = false;
	x->wait = contact_wait(x->mapper, p->on_link, 1, 0, engine_random(p->engine));
	x->deadline = x->last + x->wait;
}

/* PCP has mapped something. If that ends an outage that ANNOUNCE has not, it may be deaf to that
 * since an update. */
void
exchange_mapped(struct path *p, mstime now)
{
	if (!p->outage || p->announce_deaf || p->announce_lost < DEAF_AFTER)
		return;
	p->announce_works = false;
	p->announce_lost = p->announce_misses = 0;
	/* Is it so? In the next outage that would be believed. */
	p->check_due = now;
	p->hinted = true;
}

void
exchange_done(struct path *p, mstime now)
{
	struct exchange *x = &p->exchange;

	if (x->sends == 1)
		p->rtt_us = p->measured_us >= 0 ? p->measured_us : (int32_t)(now - x->last) * 1000;
	*x = (struct exchange){ .kind = EXCHANGE_NONE };
}

/* ---- the end -------------------------------------------------------------------------------- */

/* When there is no more time to wait for answers. */
static mstime
last_call(const struct engine *e)
{
	return e->stop_at - 300;
}

/* Every delete that is left goes out once; what the gateway does with it is up to the gateway. */
static void
flush(struct path *p, mstime now)
{
	struct mapping *m;

	if (now < p->flush_at)
		return;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		if (m->unit != NULL)
			continue;
		(void)exchange_send(p, now, EXCHANGE_MAP, m->maker, m);
		ghost_free(m);
		p->flush_at = now + FLUSH_GAP;
		return;
	}
}

/* ---- ICMP ---------------------------------------------------------------------------------------
 */

/* ICMP counts as a lost packet that is known to be lost: it ends the burst, not the schedule. */
void
exchange_refused(struct path *p, mstime now, enum unreachable what)
{
	static const enum trouble troubles[] = { [UNREACHABLE_REFUSED] = TROUBLE_UNREACHABLE,
		[UNREACHABLE_HOST] = TROUBLE_HOST,
		[UNREACHABLE_LOCAL] = TROUBLE_FIREWALL };
	struct exchange *x = &p->exchange;

	if (p->silent_since == MSTIME_NEVER)
		return; /* for something that was answered after all */
	p->problem = (struct problem){ .trouble = troubles[what] };
	if (p->flushing)
		return;
	if (!p->answered) {
		if (what == UNREACHABLE_REFUSED)
			contact_refused(p, now);
		return;
	}
	if (x->kind == EXCHANGE_NONE || x->probe || what != UNREACHABLE_REFUSED)
		return;
	if (p->engine->stopping && is_delete(x)) {
		exchange_flush(p, now);
		return;
	}
	give_up(p, now);
	if (!p->outage && p->exchange.kind == EXCHANGE_NONE)
		outage_begins(p, now);
}

/* ---- the heart ------------------------------------------------------------------------------ */

static void
preempt(struct path *p, mstime now)
{
	struct exchange *x = &p->exchange;

	if (x->probe)
		p->not_before = x->deadline;
	else if (x->kind == EXCHANGE_ADDRESS)
		p->address_due = now;
	else if (x->kind == EXCHANGE_ANNOUNCE && x->mapper == p->mapper)
		p->check_due = now;
	*x = (struct exchange){ .kind = EXCHANGE_NONE };
}

void
path_work(struct path *p, mstime now, bool answered)
{
	struct exchange *x = &p->exchange;
	mstime pace = *own_pace(p), total = p->engine->pace;

	/* Bounded: every round sends, or ends something. */
	for (unsigned round = 0; round < 100 && p->present && path_wanted(p); round++) {
		struct mapping *urgent = exchange_urgent(p);
		bool burst = urgent != NULL && mapping_next(urgent) <= now;
		struct job job;

		if (p->engine->stopping && now >= last_call(p->engine) && !p->flushing)
			exchange_flush(p, now);
		if (p->flushing) {
			flush(p, now);
			return;
		}
		if (x->kind != EXCHANGE_NONE && burst && now >= quiet_until(p))
			preempt(p, now);
		if (x->kind != EXCHANGE_NONE) {
			if (now < x->deadline || !(answered || exchange_paced(p, now)))
				return;
			expired(p, now);
			if (x->kind != EXCHANGE_NONE)
				return;
			continue;
		}
		if (!p->answered) {
			contact_work(p, now);
			return;
		}
		if ((!p->engine->stopping && now < quiet_until(p)) ||
		    (p->outage && now < p->not_before && !burst))
			return;
		if (!answered && !exchange_paced(p, now))
			return;
		if (burst)
			job = (struct job){ EXCHANGE_MAP, urgent->maker, urgent, false };
		else if (!exchange_next_job(p, now, &job))
			return;
		start(p, now, &job, burst);
		/* What an answer released is no burst, and is not held against what comes next. */
		if (answered) {
			*own_pace(p) = pace;
			p->engine->pace = total;
		}
		return;
	}
}

static mstime
queue_next(const struct path *p)
{
	const struct mapping *m;
	mstime t, questions;
	bool ghosts = rival_is_leaving(p);

	if (p->outage)
		return p->not_before;
	t = questions = earlier(p->pcp_again, earlier(p->address_due, p->check_due));
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		ghosts |= m->unit == NULL;
		t = earlier(t, mapping_next(m));
	}
	if (!ghosts)
		return t;
	/* Rare: some of them wait for a deletion, which wakes them. */
	t = questions;
	TAILQ_FOREACH(m, &p->mappings, of_path)
	if (m->unit == NULL || !mapping_blocked(m))
		t = earlier(t, mapping_next(m));
	return t;
}

mstime
path_next(const struct path *p)
{
	const struct exchange *x = &p->exchange;
	const struct mapping *urgent = exchange_urgent(p);
	mstime t;

	if (!p->present || !path_wanted(p))
		return MSTIME_NEVER;
	if (p->flushing)
		return p->flush_at;
	if (p->engine->stopping)
		return earlier(
		    last_call(p->engine), x->kind != EXCHANGE_NONE ? x->deadline : queue_next(p));
	if (x->kind != EXCHANGE_NONE)
		t = x->deadline;
	else if (!p->answered)
		t = contact_next(p);
	else
		t = queue_next(p);
	if (p->answered && x->kind == EXCHANGE_NONE)
		t = later(t, quiet_until(p));
	if (urgent != NULL)
		t = earlier(t, later(mapping_next(urgent), quiet_until(p)));
	if (t == MSTIME_NEVER)
		return t;
	return later(t, later(pace_at(p), total_at(p->engine)));
}
