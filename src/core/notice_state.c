/* SPDX-License-Identifier: ISC */
#include "core/notice_state.h"

#include <stdlib.h>
#include <string.h>

static bool
same_ports(const struct unit_outside *a, const struct unit_outside *b)
{
	if (a->ports != b->ports || a->external_port != b->external_port)
		return false;
	if (a->external_ports == NULL || b->external_ports == NULL)
		return a->external_ports == b->external_ports;
	return memcmp(a->external_ports, b->external_ports,
		   a->ports * sizeof(*a->external_ports)) == 0;
}

/* An address that is not known now does not contradict one that was. */
static bool
same_address(bool had, const struct netaddr *was, bool has, const struct netaddr *is)
{
	return !has || (had && netaddr_equal(was, is));
}

bool
state_right(const struct state *told, const struct state *is)
{
	return same_ports(&told->out, &is->out) &&
	    same_address(told->out.has_external, &told->out.external, is->out.has_external,
		&is->out.external) &&
	    told->internal_port == is->internal_port &&
	    same_address(told->has_internal, &told->internal, is->has_internal, &is->internal);
}

bool
problem_same(const struct problem *a, const struct problem *b)
{
	return a->trouble == b->trouble && a->mapper == b->mapper && a->result == b->result;
}

bool
state_moved(const struct state *was, const struct state *is)
{
	return was->up != is->up ||
	    (is->up && (!state_right(was, is) || was->out.has_external != is->out.has_external));
}

bool
outside_copy(struct unit_outside *to, const struct unit_outside *from)
{
	uint16_t *list = NULL;

	if (from->external_ports != NULL) {
		list = malloc(from->ports * sizeof(*list));
		if (list == NULL)
			return false;
		memcpy(list, from->external_ports, from->ports * sizeof(*list));
	}
	free(to->external_ports);
	*to = *from;
	to->external_ports = list;
	return true;
}

void
state_clear(struct state *s)
{
	free(s->out.external_ports);
	*s = (struct state){ .up = false };
}

static bool
in_step(uint16_t first, const uint16_t *ports, uint16_t n)
{
	for (unsigned i = 0; i < n; i++)
		if (ports[i] != first + i)
			return false;
	return true;
}

bool
view_update(struct unit_view *v, const struct engine_event *e, uint16_t internal_port,
    const uint16_t *ports, bool up)
{
	const struct mapping_status *m = e->mapping;
	uint16_t count = e->ports > 0 ? e->ports : 1, *list = NULL;

	if (up && ports != NULL && !in_step(ports[0], ports, count)) {
		list = malloc(count * sizeof(*list));
		if (list == NULL)
			return false;
		memcpy(list, ports, count * sizeof(*list));
	}
	free(v->external_ports);
	v->external_ports = list;
	v->ports = count;
	v->up = up;
	v->has_external = up && m->has_external;
	v->external = v->has_external ? m->external : netaddr_any4;
	v->external_port = !up ? 0 : ports != NULL ? ports[0] : m->external_port;
	v->lifetime = up ? m->lifetime : 0;
	if (internal_port != 0 || m->internal_port != 0)
		v->internal_port = internal_port != 0 ? internal_port : m->internal_port;
	if (m->has_internal) {
		v->has_internal = true;
		v->internal = m->internal;
	}
	if (m->mapper != MAPPER_NONE)
		v->mapper = m->mapper;
	if (m->has_gateway_address) {
		v->has_gateway_address = true;
		v->gateway_address = m->gateway_address;
		memset(v->interface, 0, sizeof(v->interface));
		strncpy(v->interface, m->interface, sizeof(v->interface) - 1);
	}
	return true;
}
