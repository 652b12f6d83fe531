/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

/*
 * What is asked for when the first question was not the right one: fewer options, another
 * suggestion, another port.
 */

/* ---- options -------------------------------------------------------------------------------- */

bool
ask_possible(const struct mapping *m, enum mapper mapper)
{
	if (m->unit == NULL || mapper == MAPPER_PCP)
		return true;
	/* NAT-PMP maps for the sender, from anywhere. */
	return m->unit->forward->internal == NULL && m->unit->forward->n_remotes == 0;
}

/*
 * RFC 6887 section 7.4: an option that the gateway cannot digest. Without it the request is another
 * one and may be sent at once, where the meaning survives: a description is decoration, and the port
 * granted is compared with the one required anyway. THIRD_PARTY and FILTER are never dropped.
 */
bool
ask_simpler(struct mapping *m, mstime now, const struct answer *a)
{
	struct path *p = m->path;

	if (a->mapper != MAPPER_PCP ||
	    (a->result != PCP_UNSUPP_OPTION && a->result != PCP_MALFORMED_OPTION &&
		a->result != PCP_MALFORMED_REQUEST))
		return false;
	if (m->described)
		p->plain = true; /* */
	else if (m->insisted)
		p->indulgent = true;
	else
		return false;
	m->described = m->insisted = false;
	m->copies = true;
	m->tries = 0;
	mapping_enter(m, now, m->state == MAPPING_ACTIVE ? MAPPING_ACTIVE : MAPPING_REQUESTING, now);
	return true;
}
