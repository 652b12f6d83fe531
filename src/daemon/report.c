/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/report.h"

#include "os/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENDPOINT_LEN (NETADDR_STRLEN + 64)
#define RANGE_LEN 24

/* "80", "80-83" */
static const char *
range(uint16_t port, uint16_t ports, char out[RANGE_LEN])
{
	if (ports > 1)
		snprintf(out, RANGE_LEN, "%u-%u", (unsigned)port, (unsigned)(port + ports - 1));
	else
		snprintf(out, RANGE_LEN, "%u", (unsigned)port);
	return out;
}

/* ADDRESS:PORT, [v6]:PORT, a range as ADDRESS:FIRST-LAST; "port PORT" while the address is not
 * known. */
static const char *
endpoint(const struct netaddr *a, bool known, uint16_t port, uint16_t ports, char out[ENDPOINT_LEN])
{
	char address[NETADDR_STRLEN], room[RANGE_LEN];

	range(port, ports, room);
	if (port == 0) /* one that the gateway is to assign */
		snprintf(out, ENDPOINT_LEN, "%s",
		    known ? netaddr_print(a, address) : "an assigned port");
	else if (!known)
		snprintf(out, ENDPOINT_LEN, "port%s %s", ports > 1 ? "s" : "", room);
	else
		snprintf(out, ENDPOINT_LEN, netaddr_is4(a) ? "%s:%s" : "[%s]:%s",
		    netaddr_print(a, address), room);
	return out;
}

/* A range whose external ports are not in a row is not listed: there may be hundreds. */
static const char *
outside_of(const struct engine_event *event, char out[ENDPOINT_LEN])
{
	const struct mapping_status *m = event->mapping;
	size_t n;

	endpoint(&m->external, m->has_external, m->external_port,
	    event->scattered ? 1 : event->ports, out);
	n = strlen(out);
	if (event->scattered)
		snprintf(out + n, ENDPOINT_LEN - n, " and %u more port%s, not in a row,",
		    event->ports - 1U, event->ports > 2 ? "s" : "");
	return out;
}

static void
report_mapped(const struct engine_event *event, const char *inside, const char *outside)
{
	const struct mapping_status *m = event->mapping;
	bool other =
	    m->wanted_port != 0 && (m->wanted_port != m->external_port || event->scattered);
	const char *many = event->ports > 1 ? "s" : "";
	char wanted[RANGE_LEN], given[RANGE_LEN];

	log_info("%s: %s %s is mapped to %s by %s for %" PRIu32 " s", m->forward,
	    protocol_name(m->protocol), inside, outside, mapper_name(m->mapper), m->lifetime);
	if (other)
		log_warning("%s: external port%s %s %s wanted, the gateway gave %s; using %s",
		    m->forward, many, range(m->wanted_port, event->ports, wanted),
		    event->ports > 1 ? "were" : "was",
		    event->scattered ? "others" : range(m->external_port, event->ports, given),
		    event->ports > 1 ? "them" : "it");
}

static void
report_failed(const struct engine_event *event, const char *inside)
{
	const struct mapping_status *m = event->mapping;
	char room[PROBLEM_ROOM];
	const char *why = mapping_problem_text(m, room, sizeof(room));

	log_warning("%s: %s %s is not mapped: %s%s", m->forward, protocol_name(m->protocol), inside,
	    why != NULL ? why : "no reason given",
	    m->retries != MSTIME_NEVER ? "; trying again later" : "");
}

static void
report_mapping(const struct engine_event *event)
{
	const struct mapping_status *m = event->mapping;
	char in[ENDPOINT_LEN], out[ENDPOINT_LEN], old[ENDPOINT_LEN];
	const char *inside =
	    endpoint(&m->internal, m->has_internal, m->internal_port, event->ports, in);
	const char *outside = outside_of(event, out);
	const char *protocol = protocol_name(m->protocol);
	const char *before =
	    endpoint(&event->old_external, event->has_old && !netaddr_is_any(&event->old_external),
		event->old_external_port, event->ports, old);

	switch (event->kind) {
	case EVENT_MAPPED:
		report_mapped(event, inside, outside);
		break;
	case EVENT_CHANGED:
		log_info("%s: %s %s is now mapped to %s (was %s)", m->forward, protocol, inside,
		    outside, before);
		break;
	case EVENT_LOST:
		log_warning("%s: %s %s is no longer mapped to %s; asking again", m->forward,
		    protocol, inside, before);
		break;
	case EVENT_RELEASED:
		log_info("%s: %s %s released, was %s", m->forward, protocol, inside, before);
		break;
	case EVENT_FAILED:
		report_failed(event, inside);
		break;
	case EVENT_RENEWED:
		if (event->again) {
			log_info("%s: %s %s is mapped to %s again", m->forward, protocol, inside,
			    outside);
			break;
		}
		/* fall through */
	default:
		log_debug("%s: %s %s renewed for %" PRIu32 " s", m->forward, protocol, inside,
		    m->lifetime);
		break;
	}
}

static void
report_gateway(const struct engine_event *event)
{
	const struct gateway_status *g = event->gateway;
	char address[NETADDR_STRLEN], local[NETADDR_STRLEN], external[NETADDR_STRLEN];
	char room[PROBLEM_ROOM];
	const char *why = gateway_problem_text(g, room, sizeof(room));
	enum netaddr_class class = netaddr_classify(&g->external);

	netaddr_print(&g->address, address);
	switch (event->kind) {
	case EVENT_GATEWAY_READY:
		log_info("gateway %s: %s on %s answers by %s", g->name, address, g->interface,
		    mapper_name(g->mapper));
		break;
	case EVENT_GATEWAY_SILENT:
		log_warning("gateway %s: %s on %s: %s; trying on", g->name, address, g->interface,
		    why != NULL ? why : "no answer");
		break;
	case EVENT_GATEWAY_REBOOTED:
		log_info("gateway %s: %s has lost its mappings; asking for them again", g->name,
		    address);
		break;
	case EVENT_GATEWAY_CHANGED:
		log_info("gateway %s: now %s on %s, from %s", g->name, address, g->interface,
		    netaddr_print(&g->local, local));
		break;
	case EVENT_ADDRESS_CHANGED:
	default:
		netaddr_print(&g->external, external);
		log_info("gateway %s: the external address is %s", g->name, external);
		if (class == NETADDR_PRIVATE || class == NETADDR_CGNAT)
			log_warning("gateway %s: %s is %s: there is another NAT before the "
				    "Internet, which must forward, too",
			    g->name, external,
			    class == NETADDR_CGNAT ? "a provider's shared address (CGNAT)"
						   : "a private address");
		break;
	}
}

void
report_event(const struct engine_event *event)
{
	if (event->mapping != NULL)
		report_mapping(event);
	else
		report_gateway(event);
}

/* ---- one line -----------------------------------------------------------------------------------
 */

struct tally {
	unsigned forwards, mapped;
	enum mapper mapper;
	bool has_external;
	struct netaddr external;
};

static void
count_forwards(const struct engine *e, mstime now, struct tally *t)
{
	struct mapping_status m;
	char name[65] = "";
	bool all = false;

	for (size_t i = 0; engine_mapping_status(e, now, i, &m); i++) {
		bool active = m.state == MAPPING_ACTIVE;

		if (m.state == MAPPING_IDLE)
			continue;
		if (i == 0 || strcmp(name, m.forward) != 0) {
			t->mapped += all;
			t->forwards++;
			all = true;
			snprintf(name, sizeof(name), "%s", m.forward);
		}
		all &= active;
		if (active && m.has_external && !t->has_external) {
			t->has_external = true;
			t->external = m.external;
		}
		if (active && t->mapper == MAPPER_NONE)
			t->mapper = m.mapper;
	}
	t->mapped += all;
}

void
report_summary(const struct engine *e, mstime now, char *out, size_t n)
{
	struct tally t = { .forwards = 0 };
	char external[NETADDR_STRLEN];

	count_forwards(e, now, &t);
	if (t.forwards == 0)
		snprintf(out, n, "no forwards to map");
	else if (t.has_external)
		snprintf(out, n, "%u of %u forwards mapped via %s, external %s", t.mapped,
		    t.forwards, mapper_name(t.mapper), netaddr_print(&t.external, external));
	else if (t.mapper != MAPPER_NONE)
		snprintf(out, n, "%u of %u forwards mapped via %s", t.mapped, t.forwards,
		    mapper_name(t.mapper));
	else
		snprintf(out, n, "%u of %u forwards mapped", t.mapped, t.forwards);
}
