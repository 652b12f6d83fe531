/* SPDX-License-Identifier: ISC */
#ifndef CORE_NOTICE_STATE_H
#define CORE_NOTICE_STATE_H

#include "core/notice.h"

/* What a hook can be told. The inside belongs to it: a firewall rule for an old own address would
 * be as wrong as a name for an old external one. */
struct state {
	bool up;
	bool failed; /* down because refused: */
	struct problem problem;
	struct unit_outside out;
	bool has_internal;
	struct netaddr internal;
	uint16_t internal_port;
};

/* Would one who was told `told` of a mapping still be right? Both are up. */
bool state_right(const struct state *told, const struct state *is);
/* For `settle`: is it another state than before? Exact, what is not known included. */
bool state_moved(const struct state *was, const struct state *is);
bool problem_same(const struct problem *, const struct problem *);
/* Frees what the state owns. */
void state_clear(struct state *);
/* With a list of ports of its own. False: out of memory, `to` is as it was. */
bool outside_copy(struct unit_outside *to, const struct unit_outside *from);
/*
 * Takes over what the event knows of a unit that is up or not; what it does not know stays, but for
 * the outside. False: out of memory, nothing has changed.
 */
bool view_update(struct unit_view *, const struct engine_event *, uint16_t internal_port,
    const uint16_t *ports, bool up);

#endif
