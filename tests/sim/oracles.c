/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* Oracles that look at packets: form, nonce, pace, budget. Those that look at what the engine
 * says are in truth.c. */

#define STORM_WINDOW (5 * MSTIME_SECOND)
#define STORM_MAX 40u
#define CALM_WINDOW (10 * MINUTE)
#define NATPMP_WAIT 250
#define RENEW_MIN (4 * MSTIME_SECOND)

/* The forward that an internal port belongs to. */
static struct want *
want_of(struct sim *s, unsigned slot, uint16_t internal)
{
	unsigned i = (unsigned)(internal - FIRST_PORT) / PORTS_EACH;

	if (internal >= FIRST_PORT && i < s->n_wants)
		return &s->wants[i];
	/* an assigned one: 0, or what the gateway says it is */
	for (i = 0; i < s->n_wants; i++)
		if (s->wants[i].spec.assigned && want_is_on(s, &s->wants[i], slot))
			return &s->wants[i];
	return NULL;
}

int
oracle_index(struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal)
{
	const struct want *w = want_of(s, slot, internal);

	if (!w)
		return -1;
	return (int)track_index(slot, protocol, w->spec.assigned ? w->base : internal);
}

static struct track *
track_of(struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal)
{
	int i = oracle_index(s, slot, protocol, internal);

	return i < 0 ? NULL : &s->tracks[i];
}

/* Calm, for long enough, and nothing happened that makes an extra request right. */
static bool
undisturbed(const struct sim *s)
{
	return s->calm && s->healthy && s->now - s->calm_since > 10 * MINUTE &&
	    s->now - s->disturbed > 70 * MSTIME_SECOND;
}

void
oracle_network_event(struct sim *s, struct path *p)
{
	p->since = s->now;
	p->hour = s->now + 10 * MINUTE;
	p->sent_first = p->sent_hour = 0;
	if (s->disturbed < s->now)
		s->disturbed = s->now;
}

static unsigned
mappings_on(const struct sim *s, unsigned slot)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_wants; i++)
		if (want_is_on(s, &s->wants[i], slot))
			n += want_mappings(&s->wants[i]);
	return n;
}

/*
 * A gateway that never answered costs at most 60 datagrams in the first 10 minutes and then 6 an
 * hour. One that had answered is asked every 4 s for 10 minutes, every 30 s for an hour, and then
 * no more often than the RFC's back-off.
 */
static void
budget_of_silence(struct sim *s, struct path *p)
{
	bool known = p->heard || s->knew[p->box];
	mstime from;

	if (!p->silent)
		p->silent = s->now;
	from = p->silent > p->since ? p->silent : p->since;
	if (known) {
		if (s->now - from < 80 * MINUTE) {
			p->hour = s->now;
			p->sent_hour = 0;
			return;
		}
	} else if (s->now - p->since < 10 * MINUTE) {
		if (++p->sent_first > 60)
			sim_fail(s,
			    "more than 60 packets in 10 minutes to a gateway that never answered");
		return;
	}
	if (s->now - p->hour >= HOUR) {
		p->hour = s->now;
		p->sent_hour = 0;
	}
	/* leases that live on have their own windows and bursts (RFC 6887 section 11.2.1) */
	if (++p->sent_hour > (known ? 8u + 16 * mappings_on(s, p->slot) : 6u))
		sim_fail(s, "%u packets in an hour to a silent gateway", p->sent_hour);
}

static unsigned
in_window(const struct sim *s, struct window *w, mstime length)
{
	if (s->now - w->since > length)
		*w = (struct window){ .since = s->now };
	return ++w->n;
}

/* A gateway without faults for so long, be all well again or not. */
static bool
long_calm(const struct sim *s)
{
	return s->calm && s->now - s->calm_since >= CALM_WINDOW;
}

/* Well or not: when nothing goes wrong any more, a gateway is not asked again and again whether it
 * is there and which address it has. */
static void
pace_of_questions(struct sim *s, struct path *p)
{
	mstime every = (mstime)slot_gateway(s, p->slot)->probe_interval * MSTIME_SECOND;
	unsigned most = 60u + 3u * (unsigned)(CALM_WINDOW / (every ? every : MINUTE));

	if (long_calm(s) && in_window(s, &p->questions, CALM_WINDOW) > most)
		sim_fail(s, "%u questions in 10 minutes to gateway %u", most + 1, p->slot);
}

static unsigned
count_since(const mstime ring[64], unsigned n, mstime since)
{
	unsigned c = 0;

	for (unsigned i = n > 64 ? n - 64 : 0; i < n; i++)
		c += ring[i % 64] > since;
	return c;
}

static void
storm(struct sim *s)
{
	mstime since = s->now - STORM_WINDOW;

	s->sends[s->n_sends++ % 64] = s->now;
	if (s->releasing || s->n_sends <= STORM_MAX ||
	    s->sends[(s->n_sends - 1 - STORM_MAX) % 64] <= since)
		return;
	if (count_since(s->sends, s->n_sends, since) >
	    STORM_MAX + count_since(s->replies, s->n_replies, since))
		sim_fail(s, "storm: %u packets in 5 s, %u answers",
		    count_since(s->sends, s->n_sends, since),
		    count_since(s->replies, s->n_replies, since));
}

static bool
same_natpmp(const struct path *p, const uint8_t *bytes, size_t n)
{
	if (n != p->last_len || bytes[1] != p->last[1])
		return false;
	return n < 12 || memcmp(bytes + 4, p->last + 4, 2) == 0;
}

/* RFC 6886 section 3.1: one request at a time. */
static void
serial(struct sim *s, struct path *p, const uint8_t *bytes, size_t n)
{
	if (p->last_len && !p->last_answered && s->now - p->last_at < NATPMP_WAIT &&
	    !same_natpmp(p, bytes, n) && !s->releasing)
		sim_fail(s, "a second NAT-PMP request %lld ms after an unanswered one",
		    (long long)(s->now - p->last_at));
	memcpy(p->last, bytes, n < sizeof p->last ? n : sizeof p->last);
	p->last_len = n;
	p->last_at = s->now;
	p->last_answered = false;
}

static void
pace_of_mapping(struct sim *s, struct path *p, const struct gw_request *q, struct track *t)
{
	mstime gap = s->now - t->asked_at;
	mstime half = (mstime)(t->lifetime > 86400 ? 86400 : t->lifetime) * 500;
	mstime ceiling = (mstime)s->settings.max_renew_interval * 850;

	/* a clock that starts again, be it by overflow, is a reason to ask */
	if (gw_epoch(&s->boxes[p->box], s->now) < 600 ||
	    want_is_special(want_of(s, p->slot, q->internal)) || t->local != p->local ||
	    !t->asked_at || !undisturbed(s))
		return;
	if (q->version == 2 && t->answered && t->result == 0 && gap < RENEW_MIN)
		sim_fail(s, "port %u asked by PCP again after %lld ms, though answered",
		    q->internal, (long long)gap);
	if (t->answered && t->result && t->result != 3 && t->result != 5 && t->result != 6 &&
	    gap < 29 * MSTIME_SECOND)
		sim_fail(s, "port %u asked again %lld ms after result %u", q->internal,
		    (long long)gap, t->result);
	if (half > ceiling)
		half = ceiling;
	if (t->answered && t->result == 0 && s->now < t->granted_at + half)
		sim_fail(s, "port %u renewed %lld ms after a grant of %u s", q->internal,
		    (long long)(s->now - t->granted_at), t->lifetime);
}

/* However quick the answers: nobody is asked the same again and again. */
static void
no_loop(struct sim *s, const struct gw_request *q, struct track *t)
{
	if (in_window(s, &t->burst, STORM_WINDOW) > 20)
		sim_fail(s, "port %u asked for %u times in 5 s", q->internal, t->burst.n);
}

/* Nor for hours in vain. */
static void
pace_of_tries(struct sim *s, const struct path *p, const struct want *w, struct track *t)
{
	mstime every = oracle_renewal(s, w, p->slot);
	unsigned most = 40u + 4u * (unsigned)(CALM_WINDOW / (every > 2000 ? every : 2000));

	if (long_calm(s) && in_window(s, &t->tries, CALM_WINDOW) > most)
		sim_fail(s, "%u requests in 10 minutes for a port of %s", most + 1, w->spec.name);
}

/* To get another port a mapping is deleted and made anew, at once and seldom. */
static void
moved(struct sim *s, const struct path *p, const struct gw_request *q, struct track *t)
{
	/* what has moved before, hours ago, is a reason; but a few times are enough for it */
	if (t->deletes_since != s->calm_since)
		t->deletes = 0;
	t->deletes_since = s->calm_since;
	if (!undisturbed(s) || want_is_special(want_of(s, p->slot, q->internal)) || s->releasing ||
	    s->boxes[p->box].never_renews)
		t->deletes = 0;
	else if (t->asked_at && ++t->deletes > 4)
		sim_fail(s, "port %u: deleted %u times without a reason", q->internal, t->deletes);
	t->asked_at = 0;
	t->left_at = s->now;
}

static void
map_request(struct sim *s, struct path *p, const struct gw_request *q)
{
	struct want *w = want_of(s, p->slot, q->internal);
	/* a pinhole that cannot be deleted is shortened: the least lifetime is asked for */
	bool leaves = q->lifetime == 0 || (q->lifetime == 1 && p->slot == SLOT_LAN6);
	const struct told *told;
	struct track *t;

	if (!w || !(w->was_on & 1u << p->slot)) {
		sim_fail(s, "request for port %u, which nobody wants there", q->internal);
		return;
	}
	if (!leaves && (!want_is_on(s, w, p->slot) || !want_is_live(w)))
		sim_fail(s, "port %u asked for, though nobody wants it", q->internal);
	if (!leaves && q->lifetime != w->spec.lifetime)
		sim_fail(s, "port %u: %u s asked, %u wanted", q->internal, q->lifetime,
		    w->spec.lifetime);
	told = &w->told[s->slots[p->slot].family][q->protocol == PROTOCOL_TCP];
	if (!leaves && w->spec.assigned && told->up && undisturbed(s) &&
	    q->external != told->ports[0])
		sim_fail(s, "the assigned port %u is renewed with the suggestion %u",
		    told->ports[0], q->external);
	if (q->prefer_failure && !w->spec.require)
		sim_fail(s, "PREFER_FAILURE without require");
	t = track_of(s, p->slot, q->protocol, q->internal);
	if (t->local != p->local) {
		if (leaves && p->drains)
			return; /* an old address's, while the new one's are there */
		*t = (struct track){ .local = p->local };
	}
	if (q->version == 2) {
		if (q->client != p->local)
			sim_fail(s, "PCP client address is not the source address");
		if (t->nonce_known && memcmp(t->nonce, q->nonce, 12))
			sim_fail(s, "port %u: the nonce changed", q->internal);
		memcpy(t->nonce, q->nonce, 12);
		t->nonce_known = true;
	}
	no_loop(s, q, t);
	if (leaves) {
		moved(s, p, q, t);
		return;
	}
	pace_of_mapping(s, p, q, t);
	pace_of_tries(s, p, w, t);
	if (t->answered || !t->asked_at)
		t->first_at = s->now;
	t->asked_at = s->now;
	t->asked = true;
	t->answered = false;
	t->pcp = q->version == 2;
}

void
oracle_request(struct sim *s, struct path *p, const uint8_t *bytes, size_t n)
{
	struct gw_request q;
	const char *bad = s->slots[p->slot].family == FAMILY_IPV6 ? gw_parse6(bytes, n, &q)
								  : gw_parse(bytes, n, &q);

	if (bad) {
		sim_fail(s, "bad request: %s", bad);
		return;
	}
	storm(s);
	if (!s->releasing && !p->drains)
		budget_of_silence(s, p);
	if (q.version == 0)
		serial(s, p, bytes, n);
	if (q.version == 0 ? q.opcode != 0 : q.opcode == 1)
		map_request(s, p, &q);
	else
		pace_of_questions(s, p);
}

/* A datagram is about to be handed to the engine. */
void
oracle_answered(struct sim *s, struct path *p, const uint8_t *bytes, size_t n)
{
	struct track *t = NULL;
	uint32_t lifetime = 0;
	bool again;

	s->replies[s->n_replies++ % 64] = s->now;
	if (n < 2)
		return;
	/* A question for the address has no port to compare; nor has what some say to a PCP request
	 * which is an answer to the one as well as to the other; and an error that names
	 * no port is an answer to whatever was asked. */
	if (bytes[0] == 2 || n < 16 || ((bytes[2] || bytes[3]) && !bytes[8] && !bytes[9]) ||
	    (bytes[1] == (p->last[1] | 128) &&
		(p->last_len < 12 || memcmp(bytes + 8, p->last + 4, 2) == 0)))
		p->last_answered = true;
	/* What is said to a PCP request as if it were garbage says nothing of who is there.
	 */
	if ((bytes[1] & 128 && !(n == 24 && !bytes[0])) || (n >= 4 && !bytes[0] && bytes[3] == 1)) {
		p->heard = s->now;
		p->silent = 0;
		s->knew[p->box] = true;
	}
	if (bytes[0] == 2 && n >= 60) {
		t = track_of(s, p->slot, bytes[36], (uint16_t)(bytes[40] << 8 | bytes[41]));
		if (t && memcmp(t->nonce, bytes + 24, 12))
			return; /* forged */
		lifetime = (uint32_t)bytes[4] << 24 | (uint32_t)bytes[5] << 16 |
		    (uint32_t)bytes[6] << 8 | bytes[7];
	} else if (bytes[0] == 0 && n >= 16 && bytes[1] > 128) {
		t = track_of(s, p->slot, bytes[1] == 129 ? PROTOCOL_UDP : PROTOCOL_TCP,
		    (uint16_t)(bytes[8] << 8 | bytes[9]));
		lifetime = (uint32_t)bytes[12] << 24 | (uint32_t)bytes[13] << 16 |
		    (uint32_t)bytes[14] << 8 | bytes[15];
	}
	if (!t || t->local != p->local)
		return;
	if (!t->answered)
		p->last_answered = true; /* late, but to a question that was open */
	again = t->answered;
	t->answered = true;
	t->result = bytes[3];
	/* an update that has overtaken the answer may be the shorter one, and is believed */
	if (t->result == 0 && lifetime && !(again && t->lifetime && t->lifetime < lifetime)) {
		t->granted_at = t->first_at;
		t->lifetime = lifetime;
	}
}

void
oracle_restart(struct sim *s)
{
	for (unsigned i = 0; i < TRACKS; i++) {
		s->tracks[i].asked_at = 0;
		s->tracks[i].asked = s->tracks[i].answered = false;
	}
	for (unsigned i = 0; i < s->n_wants; i++)
		memset(s->wants[i].told, 0, sizeof s->wants[i].told);
	s->n_sends = s->n_replies = 0;
	s->disturbed = s->now;
}

/* How long a lease of this forward, granted before its lifetime was edited, may go on there. */
mstime
oracle_old_renewal(const struct sim *s, const struct want *w, unsigned slot)
{
	mstime ceiling = (mstime)s->settings.max_renew_interval * 1000, most = 0;

	for (unsigned i = 0; i < 2 * w->spec.count; i++) {
		uint8_t protocol = i % 2 ? PROTOCOL_TCP : PROTOCOL_UDP;
		const struct track *t =
		    &s->tracks[track_index(slot, protocol, want_port(w, i / 2))];
		mstime half = (mstime)t->lifetime * 500;

		if (half > most)
			most = half;
	}
	return most < ceiling ? most : ceiling;
}

/* How often this forward is renewed there, undisturbed. */
mstime
oracle_renewal(const struct sim *s, const struct want *w, unsigned slot)
{
	const struct gw_box *b = &s->boxes[s->slots[slot].box];
	uint32_t l = w->spec.lifetime;
	mstime every;

	l = l < b->min_life ? b->min_life : l > b->max_life ? b->max_life : l;
	every = (mstime)(l > 86400 ? 86400 : l) * 500;
	if (every > (mstime)s->settings.max_renew_interval * 1000)
		every = (mstime)s->settings.max_renew_interval * 1000;
	return every;
}
