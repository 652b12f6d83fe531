/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/status.h"

#include <stdio.h>
#include <string.h>

/* Unknown is null, never 0. */
static void
number(struct jsontext *j, const char *key, bool known, int64_t value)
{
	if (known)
		jsontext_integer(j, key, value);
	else
		jsontext_null(j, key);
}

void
status_address(struct jsontext *j, const char *key, bool known, const struct netaddr *a)
{
	char room[NETADDR_STRLEN];

	jsontext_string(j, key, known ? netaddr_print(a, room) : NULL);
}

/* What is left of a lease is rounded down and a wait is rounded up: neither promises too much. */
static void
seconds_left(struct jsontext *j, const char *key, mstime at, mstime now)
{
	number(j, key, at != MSTIME_NEVER, at > now ? (at - now) / MSTIME_SECOND : 0);
}

static void
seconds_until(struct jsontext *j, const char *key, mstime at, mstime now)
{
	number(j, key, at != MSTIME_NEVER,
	    at > now ? (at - now + MSTIME_SECOND - 1) / MSTIME_SECOND : 0);
}

void
status_gateway(struct jsontext *j, const char *key, const struct gateway_status *g)
{
	const char *class = netaddr_class_name(netaddr_classify(&g->external));
	char room[PROBLEM_ROOM];

	jsontext_open(j, key, '{');
	jsontext_string(j, "name", g->name);
	jsontext_string(j, "family", family_name(g->family));
	status_address(j, "address", g->has_path, &g->address);
	jsontext_string(j, "interface", g->has_path ? g->interface : NULL);
	status_address(j, "local_address", g->has_path, &g->local);
	jsontext_string(j, "state", gateway_state_name(g->state));
	jsontext_string(j, "mapper", mapper_name(g->mapper));
	status_address(j, "external_address", g->has_external, &g->external);
	jsontext_string(j, "external_class", g->has_external ? class : NULL);
	number(j, "epoch", g->has_epoch, g->epoch);
	if (g->rtt_us >= 0)
		jsontext_thousandths(j, "rtt_ms", (uint32_t)g->rtt_us);
	else
		jsontext_null(j, "rtt_ms");
	jsontext_integer(j, "reboots_seen", g->reboots);
	jsontext_integer(j, "requests_sent", (int64_t)g->sent);
	jsontext_string(j, "last_error", gateway_problem_text(g, room, sizeof(room)));
	jsontext_close(j, '}');
}

void
status_mapping(
    struct jsontext *j, const char *key, const struct mapping_status *m, mstime now, unsigned ports)
{
	char room[PROBLEM_ROOM];

	jsontext_open(j, key, '{');
	jsontext_string(j, "forward", m->forward);
	jsontext_string(j, "gateway", m->gateway);
	jsontext_string(j, "mapper", mapper_name(m->mapper));
	jsontext_string(j, "family", family_name(m->family));
	jsontext_string(j, "protocol", protocol_name(m->protocol));
	status_address(j, "internal_address", m->has_internal, &m->internal);
	number(j, "internal_port", m->internal_port != 0, m->internal_port);
	number(j, "wanted_external_port", m->wanted_port != 0, m->wanted_port);
	jsontext_integer(j, "ports", ports);
	jsontext_string(j, "state", mapping_state_name(m->state));
	status_address(j, "external_address", m->has_external, &m->external);
	number(j, "external_port", m->has_lease, m->external_port);
	number(j, "lifetime", m->has_lease, m->lifetime);
	seconds_left(j, "expires_in", m->has_lease ? m->expires : MSTIME_NEVER, now);
	seconds_until(j, "renews_in", m->has_lease ? m->renews : MSTIME_NEVER, now);
	seconds_until(j, "retries_in", m->retries, now);
	jsontext_integer(j, "renewals", m->renewals);
	jsontext_integer(j, "changes", m->changes);
	jsontext_string(j, "last_error", mapping_problem_text(m, room, sizeof(room)));
	jsontext_close(j, '}');
}

/* ---- rows ----------------------------------------------------------------------------------- */

struct rows {
	const struct status_listener *listener;
	void *ctx;
	const json_t *names; /* keys; NULL: all */
	const char *name;    /* of the one forward; NULL: all */
	bool any, all_active;
	struct mapping_status run; /* its first port */
	unsigned ports;            /* 0: no run */
};

static void
end_run(struct rows *r)
{
	if (r->ports > 0)
		r->listener->mapping(r->ctx, &r->run, r->ports);
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

	if ((r->name != NULL && strcmp(r->name, m->forward) != 0) ||
	    (r->names != NULL && json_object_get(r->names, m->forward) == NULL))
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

/* ---- the whole ------------------------------------------------------------------------------ */

/* Of gateways: those that the forwards of `names` use. */
struct used {
	const json_t *names;
	json_t *gateways; /* keys */
};

static void
use_gateway(void *ctx, const struct mapping_status *m)
{
	struct used *used = ctx;

	if (json_object_get(used->names, m->forward) != NULL)
		(void)json_object_set_new(used->gateways, m->gateway, json_true());
}

static void
each_gateway(const struct engine *e, mstime now, const json_t *names,
    const struct status_listener *listener, void *ctx)
{
	struct used used = { .names = names };
	struct gateway_status g;

	if (names != NULL) {
		used.gateways = json_object();
		engine_mapping_each(e, now, use_gateway, &used);
	}
	for (size_t i = 0; engine_gateway_status(e, now, i, &g); i++)
		if (names == NULL || json_object_get(used.gateways, g.name) != NULL)
			listener->gateway(ctx, &g);
	json_decref(used.gateways);
}

static void
each_mapping(struct rows *r, const struct engine *e, mstime now)
{
	r->all_active = true;
	engine_mapping_each(e, now, add_mapping, r);
	end_run(r);
}

void
status_each(const struct engine *e, mstime now, const json_t *names,
    const struct status_listener *listener, void *ctx)
{
	struct rows r = { .listener = listener, .ctx = ctx, .names = names };

	each_gateway(e, now, names, listener, ctx);
	each_mapping(&r, e, now);
}

struct page {
	struct jsontext *text;
	mstime now;
};

static void
print_gateway(void *ctx, const struct gateway_status *g)
{
	struct page *page = ctx;

	status_gateway(page->text, NULL, g);
}

static void
print_mapping(void *ctx, const struct mapping_status *m, unsigned ports)
{
	struct page *page = ctx;

	status_mapping(page->text, NULL, m, page->now, ports);
}

static const struct status_listener printer = { print_gateway, print_mapping };

bool
status_forward(
    struct jsontext *j, const char *key, const struct engine *e, mstime now, const char *name)
{
	struct page page = { j, now };
	struct rows r = { .listener = &printer, .ctx = &page, .name = name };

	jsontext_open(j, key, '[');
	each_mapping(&r, e, now);
	jsontext_close(j, ']');
	return r.any && r.all_active;
}

void
status_document(struct jsontext *j, const struct engine *e, mstime now,
    const struct status_head *head, const json_t *names)
{
	struct page page = { j, now };
	struct rows r = { .listener = &printer, .ctx = &page, .names = names };

	jsontext_string(j, "version", head->version);
	jsontext_integer(j, "pid", head->pid);
	jsontext_string(j, "started", head->started);
	jsontext_boolean(j, "ready", head->ready);
	jsontext_open(j, "gateways", '[');
	each_gateway(e, now, names, &printer, &page);
	jsontext_close(j, ']');
	jsontext_open(j, "mappings", '[');
	each_mapping(&r, e, now);
	jsontext_close(j, ']');
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
