/* SPDX-License-Identifier: ISC */
#ifndef UNIT_NOTICE_H
#define UNIT_NOTICE_H

#include "core/notice.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND MSTIME_SECOND

/* Hooks of this test never end by themselves: done() ends them. Each run is a line in `said`:
 * "EVENT UNIT PORT" and " was PORT" when something was told before. */
static struct notices *n;
static mstime now;
static char said[4000];
static bool startable;

static inline void
add_ports(char *to, size_t size, const struct netaddr *a, bool has, uint16_t first, uint16_t count,
    const uint16_t *all)
{
	size_t used = strlen(to);
	char address[NETADDR_STRLEN];

	if (first == 0)
		return;
	if (has)
		used += (size_t)snprintf(to + used, size - used, "%s:", netaddr_print(a, address));
	used += (size_t)snprintf(to + used, size - used, "%u", first);
	for (unsigned i = 1; all != NULL && i < count; i++)
		used += (size_t)snprintf(to + used, size - used, ",%u", all[i]);
	if (all == NULL && count > 1)
		snprintf(to + used, size - used, "+%u", count - 1u);
}

static inline bool
record(void *ctx, const struct notice *notice)
{
	const struct unit_view *v = notice->unit;
	const struct unit_outside *o = notice->old;
	size_t used;

	(void)ctx;
	used = strlen(said);
	snprintf(said + used, sizeof said - used, "%s%s %s/%s%s ", used > 0 ? "; " : "",
	    engine_event_name(notice->kind), v->forward, protocol_name(v->protocol),
	    v->family == FAMILY_IPV6 ? "6" : "");
	add_ports(said, sizeof said, &v->external, v->has_external, v->external_port, v->ports,
	    v->external_ports);
	if (o->external_port != 0) {
		strcat(said, " was ");
		add_ports(said, sizeof said, &o->external, o->has_external, o->external_port,
		    o->ports, o->external_ports);
	}
	return startable;
}

static inline struct netaddr
v4(uint8_t last)
{
	return netaddr_from4((const uint8_t[4]){ 203, 0, 113, last });
}

/* 203.0.113.ADDRESS:PORT; address 0 is one not known yet. */
static inline void
event(enum engine_event_kind kind, const char *forward, uint8_t protocol, uint8_t address,
    uint16_t port)
{
	const struct mapping_status m = { .forward = forward,
		.gateway = "default",
		.mapper = MAPPER_PCP,
		.family = FAMILY_IPV4,
		.protocol = protocol,
		.has_internal = true,
		.internal = netaddr_from4((const uint8_t[4]){ 10, 0, 0, 2 }),
		.internal_port = 8080,
		.has_lease = port != 0,
		.has_external = address != 0,
		.external = v4(address),
		.external_port = port,
		.lifetime = 3600,
		.problem = { .trouble = kind == EVENT_FAILED ? TROUBLE_REFUSED : TROUBLE_NONE,
		    .mapper = MAPPER_PCP,
		    .result = port } };
	const struct engine_event e = { .kind = kind, .mapping = &m, .ports = 1 };

	ck_assert(notices_event(n, now, &e, 0, NULL));
}

#define UP(address, port) event(EVENT_MAPPED, "web", PROTOCOL_TCP, (address), (port))
#define CHANGED(address, port) event(EVENT_CHANGED, "web", PROTOCOL_TCP, (address), (port))
#define DOWN(kind) event((kind), "web", PROTOCOL_TCP, 0, 0)
#define REFUSED(result) event(EVENT_FAILED, "web", PROTOCOL_TCP, 0, (result))

/* Time passes, and every alarm on the way is heard in time. */
static inline void
at(mstime when)
{
	while (notices_next(n) <= when) {
		mstime next = notices_next(n);

		now = next > now ? next : now;
		notices_tick(n, now);
		ck_assert_msg(notices_next(n) > now, "due, but not done");
	}
	now = when;
}

static inline void
done(bool ok)
{
	notices_done(n, now, "web", ok);
}

/* What was run since it was asked last, and nothing else. */
static inline void
expect(const char *wanted)
{
	at(now);
	ck_assert_str_eq(said, wanted);
	said[0] = '\0';
}

static inline void
setup(void)
{
	now = 1000000;
	said[0] = '\0';
	startable = true;
	n = notices_new(record, NULL);
	ck_assert_ptr_nonnull(n);
	ck_assert(notices_listen(n, "web", true));
}

static inline void
teardown(void)
{
	notices_free(n);
}

static inline int
run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
