/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <errno.h>

/*
 * First contact. A gateway that has never answered is asked in two series, one for each protocol:
 * the preferred one begins, with the head of the queue as its question; the other joins in when two
 * packets went unanswered. A version error changes their places.
 */

#define PACE_GAP ((mstime)250)
#define SECOND_REST (32 * 60 * MSTIME_SECOND) /* with PCP's own pace: 6 an hour at most */
#define NATPMP_SENDS 9u
#define MAPS_ONLY 7u
/* PCP's series has one step less before its longest, where it is not alone: the same 6. */
#define LONG_STEP (4 * 60 * MSTIME_SECOND)
#define LONGEST (60 * 60 * MSTIME_SECOND)

static enum mapper
contact_first(const struct path *p)
{
	return p->contact.first != MAPPER_NONE ? p->contact.first : path_preferred(p);
}

static enum mapper
other_mapper(const struct path *p, enum mapper first)
{
	enum mapper second = first == MAPPER_PCP ? MAPPER_NATPMP : MAPPER_PCP;

	return path_allows(p, second) ? second : MAPPER_NONE;
}

static mstime
contact_gap(struct path *p, enum mapper mapper, bool alone)
{
	struct contact *c = &p->contact;
	unsigned d = dialect(mapper), n = c->sends[d];

	if (p->problem.trouble == TROUBLE_FIREWALL)
		return FIREWALL_GAP;
	if (mapper == MAPPER_NATPMP && !alone && n > NATPMP_SENDS)
		return SECOND_REST;
	if (mapper == MAPPER_PCP && !alone && c->wait[d] > LONG_STEP)
		c->wait[d] = LONGEST;
	c->wait[d] = contact_wait(mapper, p->on_link, n, c->wait[d], engine_random(p->engine));
	return c->wait[d];
}

/* Deleting goes before asking, here too, and is a question itself where nothing is asked for. */
static struct mapping *
head(struct path *p, mstime now, enum mapper mapper)
{
	struct mapping *m, *ghost, *last = NULL;

	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		if (m->unit == NULL && m->maker == mapper && m->due <= now)
			last = m;
		if (m->unit == NULL || m->state != MAPPING_REQUESTING || !ask_possible(m, mapper) ||
		    rival_leaves(m))
			continue;
		ghost = mapping_blocker(m, mapper);
		return ghost != NULL ? ghost : m;
	}
	return last;
}

static void
contact_send(struct path *p, mstime now, enum mapper mapper, bool first, bool alone)
{
	struct contact *c = &p->contact;
	unsigned d = dialect(mapper), n = c->sends[d];
	/* Silent to that, and to NAT-PMP for a minute, it may still map by PCP. */
	bool maps = first || (mapper == MAPPER_PCP && n >= MAPS_ONLY && n % 2 == 1);
	struct mapping *m = maps ? head(p, now, mapper) : NULL;
	enum exchange_kind kind = m != NULL ? EXCHANGE_MAP
	    : mapper == MAPPER_PCP          ? EXCHANGE_ANNOUNCE
					    : EXCHANGE_ADDRESS;
	int error;

	if (m != NULL && n % 4 == 0)
		ask_doubt(m);
	c->sends[d]++;
	c->last[d] = now;
	error = exchange_send(p, now, kind, mapper, m);
	if (error == 0 || error == -ECONNREFUSED) {
		c->next[d] = now + contact_gap(p, mapper, alone);
		return;
	}
	/* It has not left this host: that says nothing about what the gateway speaks. */
	c->sends[d]--;
	c->next[d] = now + (p->problem.trouble == TROUBLE_FIREWALL ? FIREWALL_GAP : RENEW_GAP);
}

void
contact_work(struct path *p, mstime now)
{
	struct contact *c = &p->contact;
	enum mapper first = contact_first(p), second = other_mapper(p, first);
	/* A gateway that refuses is asked by both protocols in turn. */
	bool turn = c->refused && (c->refusals % 2 == 1) && second != MAPPER_NONE;

	if (first == MAPPER_NONE)
		return;
	if (c->next[dialect(first)] <= now && exchange_paced(p, now)) {
		c->refused = false;
		if (turn) {
			contact_send(p, now, second, false, false);
			c->next[dialect(first)] = now + 15 * MSTIME_SECOND;
			return;
		}
		contact_send(p, now, first, true, second == MAPPER_NONE);
		/* Silence to two packets: perhaps it drops what it does not know. */
		if (second != MAPPER_NONE && c->sends[dialect(first)] >= 2 &&
		    c->next[dialect(second)] == MSTIME_NEVER)
			c->next[dialect(second)] = now + PACE_GAP;
		if (c->next[dialect(second)] <= now)
			c->next[dialect(second)] = now + PACE_GAP;
	}
	if (second != MAPPER_NONE && c->next[dialect(second)] <= now && exchange_paced(p, now))
		contact_send(p, now, second, false, false);
}

/* ICMP: the series start anew, later and later: its service may just be starting. */
void
contact_refused(struct path *p, mstime now)
{
	struct contact *c = &p->contact;
	enum mapper first = contact_first(p);
	bool long_ago = now - p->silent_since >= 10 * 60 * MSTIME_SECOND;
	unsigned step;
	mstime gap = long_ago ? 15 * 60 * MSTIME_SECOND
	    : c->refusals < 3 ? RENEW_GAP << c->refusals
			      : 30 * MSTIME_SECOND;

	if (first == MAPPER_NONE || c->refused)
		return;
	c->refused = true;
	if (c->refusals < UINT8_MAX - 1)
		c->refusals++;
	else
		c->refusals--; /* keeps the turns */
	/* Should it fall silent next, it is asked anew, less and less eagerly. */
	step = long_ago || c->refusals > 4 ? NATPMP_SENDS : 2u * c->refusals;
	c->sends[0] = c->sends[1] = step;
	c->wait[0] = (mstime)250 << (long_ago ? step + 2 : step);
	c->next[dialect(first)] = p->last_sent + gap;
	c->next[1 - dialect(first)] = MSTIME_NEVER;
	path_enter(p, now, GATEWAY_UNSUPPORTED);
}

mstime
contact_next(const struct path *p)
{
	return earlier(p->contact.next[0], p->contact.next[1]);
}
