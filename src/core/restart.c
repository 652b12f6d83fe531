/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/natpmp.h"

/* Restarts of a gateway: hints of them, and what follows. */

/* A hint from the LAN is followed by one question in this time. */
#define HINT_GAP (10 * MSTIME_SECOND)
/* So often may a gateway be refilled: RECOVERY_GAP, and more while its clock is nonsense. */
#define GAP_MAX (30 * 60 * MSTIME_SECOND)

/* When the gateway is refilled: after the RFCs' random wait. A clock that tells of one restart on
 * the heels of the other, as when two boxes share an address, is followed less and less eagerly. */
static mstime
refill_at(struct path *p, mstime now, mstime soonest)
{
	bool again = p->recovered >= 0 && now < p->recovered + 2 * p->recovery_gap;

	p->recovery_gap = again ? earlier(2 * p->recovery_gap, GAP_MAX) : RECOVERY_GAP;
	return again ? later(soonest, p->recovered + p->recovery_gap) : soonest;
}

/* What was refused before the restart may be granted now: the router's settings, its address and
 * its table are new (RFC 6887 section 7.4). Not what it ignores: each try opens too much. */
static void
forgotten(struct mapping *m, mstime now, mstime soonest, mstime refill)
{
	bool refused = m->state == MAPPING_FAILED && m->problem.trouble != TROUBLE_IGNORED;

	if (m->unit == NULL || (m->state != MAPPING_ACTIVE && !refused))
		return;
	/* What waits for its turn in a refill already is not put off, nor is a renewal. */
	if (!m->suspect || m->due > refill)
		mapping_enter(m, now, m->state, earlier(later(m->due, soonest), refill));
	m->suspect = m->state == MAPPING_ACTIVE;
	if (refused)
		m->refusals = 0;
}

/*
 * RFC 6886 section 3.7, RFC 6887 section 14.1.3: after a loss of state all mappings are renewed,
 * after a random wait, one at a time. Copies of an announcement and further resets while it is
 * pending do not start it again.
 */
void
path_recover(struct path *p, mstime now)
{
	struct engine *e = p->engine;
	uint32_t spread = e->settings.recovery_delay * 1000;
	struct mapping *m;
	mstime soonest = now + (mstime)(engine_random(e) % (spread + 1));

	if (p->recover_at <= now) {
		p->recover_at = p->recovered = refill_at(p, now, soonest);
		p->reboots++;
		tell_gateway(p, now, EVENT_GATEWAY_REBOOTED, NULL);
	}
	path_maps_again(p, now);
	if (path_needs_address(p, now))
		p->address_due = now;
	p->hold_until = earlier(p->hold_until, p->recover_at);
	TAILQ_FOREACH(m, &p->mappings, of_path)
	{
		m->forgotten = mapping_leased(m, now);
		m->renewed = false;
		forgotten(m, now, soonest, p->recover_at);
	}
}

/* What a gateway that has restarted refuses to make again is there no more. Only its address may
 * come back, and a firewall refuses the pinholes that it has. */
bool
restart_took(const struct mapping *m, const struct answer *a)
{
	if (!m->suspect || !m->forgotten)
		return false;
	if (a->mapper != MAPPER_PCP)
		return a->result != NATPMP_NETWORK_FAILURE;
	return a->result != PCP_NETWORK_FAILURE &&
	    (a->result != PCP_NO_RESOURCES || m->path->family != FAMILY_IPV6);
}

void
path_hint(struct path *p, mstime now)
{
	mstime at = p->checked >= 0 && now < p->checked + HINT_GAP ? p->checked + HINT_GAP : now;

	if (!p->present || !path_wanted(p) || p->checked > now)
		return;
	p->checked = at;
	if (!p->answered) {
		if (at == now)
			path_reset_contact(p, now);
		return;
	}
	if (p->announce_deaf && p->mapper == MAPPER_PCP) {
		struct mapping *m;

		/* A renewal asks as well. */
		TAILQ_FOREACH(m, &p->mappings, of_path)
		if (m->unit != NULL && m->state == MAPPING_ACTIVE)
			break;
		if (m != NULL)
			mapping_suspect(m, now, at);
	} else {
		p->hinted = true;
		if (p->check_due > at)
			p->check_due = at;
	}
	if (p->outage) {
		p->exchange = (struct exchange){ .kind = EXCHANGE_NONE };
		p->not_before = at > p->last_sent + 250 ? at : p->last_sent + 250;
	}
}
