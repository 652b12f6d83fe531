/* SPDX-License-Identifier: ISC */
#include "core/internal.h"
#include "proto/natpmp.h"

/* A gateway that is full, or has no address, makes nothing new for a while. */

/* What keeps one new mapping from being made keeps all of this path (P-62, Q-084). */
bool
hold_concerns(enum mapper mapper, uint16_t result)
{
	if (mapper == MAPPER_PCP)
		return result == PCP_NETWORK_FAILURE || result == PCP_NO_RESOURCES;
	return result == NATPMP_NETWORK_FAILURE || result == NATPMP_OUT_OF_RESOURCES;
}

void
hold_age(struct mapping *m, mstime now)
{
	const struct path *p = m->path;

	if (m->unit == NULL || m->state != MAPPING_REQUESTING || m->expires != 0 || m->moving ||
	    m->tries > 0 || p->outage || !p->answered || p->hold_until <= now)
		return;
	m->problem = p->hold_why;
	m->decided = true;
	mapping_enter(m, now, MAPPING_FAILED, p->hold_until);
}
