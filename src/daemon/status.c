/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/status.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Unknown is null, never 0. */
static json_t *
number(bool known, json_int_t value)
{
	return known ? json_integer(value) : json_null();
}

static json_t *
text(const char *value)
{
	json_t *string = value != NULL ? json_string(value) : NULL;

	/* An interface may be called something that is not UTF-8. */
	return string != NULL ? string : json_null();
}

json_t *
status_address(bool known, const struct netaddr *a)
{
	char room[NETADDR_STRLEN];

	return known ? json_string(netaddr_print(a, room)) : json_null();
}

/* What is left of a lease is rounded down and a wait is rounded up: neither promises too much. */
static json_t *
seconds_left(mstime at, mstime now)
{
	return number(at != MSTIME_NEVER, at > now ? (at - now) / MSTIME_SECOND : 0);
}

static json_t *
seconds_until(mstime at, mstime now)
{
	return number(
	    at != MSTIME_NEVER, at > now ? (at - now + MSTIME_SECOND - 1) / MSTIME_SECOND : 0);
}

json_t *
status_gateway(const struct gateway_status *g)
{
	const char *class = netaddr_class_name(netaddr_classify(&g->external));
	char room[PROBLEM_ROOM];

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o}",
	    "name", g->name, "family", family_name(g->family), "address",
	    status_address(g->has_path, &g->address), "interface",
	    text(g->has_path ? g->interface : NULL), "local_address",
	    status_address(g->has_path, &g->local), "state", gateway_state_name(g->state), "mapper",
	    text(mapper_name(g->mapper)), "external_address",
	    status_address(g->has_external, &g->external), "external_class",
	    text(g->has_external ? class : NULL), "epoch", number(g->has_epoch, g->epoch), "rtt_ms",
	    g->rtt_us >= 0 ? json_real(g->rtt_us / 1000.0) : json_null(), "reboots_seen",
	    (json_int_t)g->reboots, "requests_sent", (json_int_t)g->sent, "last_error",
	    text(problem_text(&g->problem, room, sizeof(room))));
}

json_t *
status_mapping(const struct mapping_status *m, mstime now, unsigned ports)
{
	char room[PROBLEM_ROOM];

	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o, s:o, "
			 "s:o, s:o, s:I, s:I, s:o}",
	    "forward", m->forward, "gateway", m->gateway, "mapper", text(mapper_name(m->mapper)),
	    "family", family_name(m->family), "protocol", protocol_name(m->protocol),
	    "internal_address", status_address(m->has_internal, &m->internal), "internal_port",
	    number(m->internal_port != 0, m->internal_port), "wanted_external_port",
	    number(m->wanted_port != 0, m->wanted_port), "ports", (json_int_t)ports, "state",
	    mapping_state_name(m->state), "external_address",
	    status_address(m->has_external, &m->external), "external_port",
	    number(m->has_lease, m->external_port), "lifetime", number(m->has_lease, m->lifetime),
	    "expires_in", seconds_left(m->has_lease ? m->expires : MSTIME_NEVER, now), "renews_in",
	    seconds_until(m->has_lease ? m->renews : MSTIME_NEVER, now), "retries_in",
	    seconds_until(m->retries, now), "renewals", (json_int_t)m->renewals, "changes",
	    (json_int_t)m->changes, "last_error",
	    text(mapping_problem_text(m, room, sizeof(room))));
}

/* ---- rows ----------------------------------------------------------------------------------- */

struct rows {
	mstime now;
	const char *name; /* of the one forward; NULL: all */
	json_t *list;     /* NULL: out of memory */
	bool any, all_active;
	struct mapping_status run; /* its first port */
	unsigned ports;            /* 0: no run */
};

static void
end_run(struct rows *r)
{
	if (r->ports > 0 && r->list != NULL &&
	    json_array_append_new(r->list, status_mapping(&r->run, r->now, r->ports)) != 0) {
		json_decref(r->list);
		r->list = NULL;
	}
	r->ports = 0;
}

/* Ports count up together, or are both unknown. */
static bool
in_step(uint16_t first, uint16_t port, unsigned ports)
{
	return first == 0 ? port == 0 : port == first + ports;
}

static bool
same_address(bool a_known, const struct netaddr *a, bool b_known, const struct netaddr *b)
{
	return a_known == b_known && (!a_known || netaddr_equal(a, b));
}

/* Does `m` belong to the run? Its times may be others: the ports of a range are renewed one by
 * one. */
static bool
joins(const struct rows *r, const struct mapping_status *m)
{
	const struct mapping_status *a = &r->run;

	return r->ports > 0 && a->family == m->family && a->protocol == m->protocol &&
	    a->state == m->state && a->mapper == m->mapper && a->has_lease == m->has_lease &&
	    a->internal_port != 0 && in_step(a->internal_port, m->internal_port, r->ports) &&
	    in_step(a->wanted_port, m->wanted_port, r->ports) &&
	    (!a->has_lease ||
		(a->lifetime == m->lifetime &&
		    in_step(a->external_port, m->external_port, r->ports))) &&
	    a->problem.trouble == m->problem.trouble && a->problem.result == m->problem.result &&
	    same_address(a->has_internal, &a->internal, m->has_internal, &m->internal) &&
	    same_address(a->has_external, &a->external, m->has_external, &m->external) &&
	    strcmp(a->forward, m->forward) == 0;
}

static mstime
earlier(mstime a, mstime b)
{
	return a < b ? a : b;
}

static void
add_mapping(void *ctx, const struct mapping_status *m)
{
	struct rows *r = ctx;

	if (r->name != NULL && strcmp(r->name, m->forward) != 0)
		return;
	r->any = true;
	r->all_active &= m->state == MAPPING_ACTIVE;
	if (!joins(r, m)) {
		end_run(r);
		r->run = *m;
		r->ports = 1;
		return;
	}
	r->ports++;
	r->run.expires = earlier(r->run.expires, m->expires);
	r->run.renews = earlier(r->run.renews, m->renews);
	r->run.retries = earlier(r->run.retries, m->retries);
	if (m->renewals < r->run.renewals)
		r->run.renewals = m->renewals;
	if (m->changes > r->run.changes)
		r->run.changes = m->changes;
}

json_t *
status_forward(const struct engine *e, mstime now, const char *name, bool *active)
{
	struct rows r = { .now = now, .name = name, .list = json_array(), .all_active = true };

	engine_mapping_each(e, now, add_mapping, &r);
	end_run(&r);
	*active = r.any && r.all_active;
	return r.list;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static json_t *
gateways(const struct engine *e, mstime now)
{
	json_t *list = json_array();
	struct gateway_status g;

	for (size_t i = 0; list != NULL && engine_gateway_status(e, now, i, &g); i++) {
		if (json_array_append_new(list, status_gateway(&g)) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

json_t *
status_document(const struct engine *e, mstime now, const struct status_head *head)
{
	bool active;

	return json_pack("{s:s, s:I, s:s, s:b, s:o, s:o}", "version", head->version, "pid",
	    (json_int_t)head->pid, "started", head->started, "ready", (int)head->ready, "gateways",
	    gateways(e, now), "mappings", status_forward(e, now, NULL, &active));
}

/* The elements of `list` whose member `key` is a key of `names`; of `used`, if not NULL, their
 * gateways become keys. */
static json_t *
pick(json_t *list, const char *key, const json_t *names, json_t *used)
{
	json_t *picked = json_array(), *row;
	size_t i;

	json_array_foreach(list, i, row)
	{
		if (json_object_get(names, json_string_value(json_object_get(row, key))) == NULL)
			continue;
		if (used != NULL)
			(void)json_object_set_new(
			    used, json_string_value(json_object_get(row, "gateway")), json_true());
		if (json_array_append(picked, row) != 0) {
			json_decref(picked);
			return NULL;
		}
	}
	return picked;
}

json_t *
status_pick(const json_t *document, const json_t *names)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)document), *used = json_object();

	/* Mappings first: they say which gateways are used. */
	if (copy != NULL &&
	    (json_object_set_new(copy, "mappings",
		 pick(json_object_get(document, "mappings"), "forward", names, used)) != 0 ||
		json_object_set_new(copy, "gateways",
		    pick(json_object_get(document, "gateways"), "name", used, NULL)) != 0)) {
		json_decref(copy);
		copy = NULL;
	}
	json_decref(used);
	return copy;
}

const char *
status_time(const struct timespec *t, bool fine, char out[STATUS_TIME_LEN])
{
	struct tm utc;
	size_t n = 0;

	if (gmtime_r(&t->tv_sec, &utc) != NULL)
		n = strftime(out, STATUS_TIME_LEN, "%Y-%m-%dT%H:%M:%S", &utc);
	if (fine)
		snprintf(out + n, STATUS_TIME_LEN - n, ".%03uZ", (unsigned)(t->tv_nsec / 1000000));
	else
		snprintf(out + n, STATUS_TIME_LEN - n, "Z");
	return out;
}
