/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/metrics.h"

#include "proto/natpmp.h"
#include "proto/pcp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counting ------------------------------------------------------------------------------- */

enum reason {
	REASON_OTHER_REFUSAL,
	REASON_NOT_AUTHORIZED,
	REASON_NETWORK_FAILURE,
	REASON_NO_RESOURCES,
	REASON_QUOTA,
	REASON_EXTERNAL_PORT,
	REASON_ADDRESS_MISMATCH,
	REASON_NOT_SUPPORTED,
	REASON_SILENT,
	REASON_UNREACHABLE,
	REASON_HOST,
	REASON_FIREWALL,
	REASON_NO_ADDRESS,
	REASON_BAD_ANSWER,
	REASON_UNSUPPORTED,
	REASON_DUPLICATE,
	REASON_UNKNOWN,
	REASONS
};

_Static_assert((int)REASONS <= METRICS_REASONS, "a counter for each");

static const char *const reason_names[] = { [REASON_OTHER_REFUSAL] = "refused",
	[REASON_NOT_AUTHORIZED] = "not-authorized",
	[REASON_NETWORK_FAILURE] = "network-failure",
	[REASON_NO_RESOURCES] = "no-resources",
	[REASON_QUOTA] = "quota",
	[REASON_EXTERNAL_PORT] = "external-port",
	[REASON_ADDRESS_MISMATCH] = "address-mismatch",
	[REASON_NOT_SUPPORTED] = "not-supported",
	[REASON_SILENT] = "silent",
	[REASON_UNREACHABLE] = "port-unreachable",
	[REASON_HOST] = "host-unreachable",
	[REASON_FIREWALL] = "firewall",
	[REASON_NO_ADDRESS] = "no-address",
	[REASON_BAD_ANSWER] = "bad-answer",
	[REASON_UNSUPPORTED] = "no-mapper",
	[REASON_DUPLICATE] = "duplicate",
	[REASON_UNKNOWN] = "unknown" };

/* The same refusal has another number in each protocol. */
static enum reason
refusal(const struct problem *p)
{
	static const uint8_t pcp[] = { [PCP_NOT_AUTHORIZED] = REASON_NOT_AUTHORIZED,
		[PCP_UNSUPP_OPCODE] = REASON_NOT_SUPPORTED,
		[PCP_UNSUPP_OPTION] = REASON_NOT_SUPPORTED,
		[PCP_NETWORK_FAILURE] = REASON_NETWORK_FAILURE,
		[PCP_NO_RESOURCES] = REASON_NO_RESOURCES,
		[PCP_UNSUPP_PROTOCOL] = REASON_NOT_SUPPORTED,
		[PCP_USER_EX_QUOTA] = REASON_QUOTA,
		[PCP_CANNOT_PROVIDE_EXTERNAL] = REASON_EXTERNAL_PORT,
		[PCP_ADDRESS_MISMATCH] = REASON_ADDRESS_MISMATCH };
	static const uint8_t natpmp[] = { [NATPMP_NOT_AUTHORIZED] = REASON_NOT_AUTHORIZED,
		[NATPMP_NETWORK_FAILURE] = REASON_NETWORK_FAILURE,
		[NATPMP_OUT_OF_RESOURCES] = REASON_NO_RESOURCES,
		[NATPMP_UNSUPPORTED_OPCODE] = REASON_NOT_SUPPORTED };

	if (p->mapper == MAPPER_PCP && p->result < sizeof(pcp))
		return (enum reason)pcp[p->result];
	if (p->mapper == MAPPER_NATPMP && p->result < sizeof(natpmp))
		return (enum reason)natpmp[p->result];
	return REASON_OTHER_REFUSAL;
}

static enum reason
reason_of(const struct problem *p)
{
	switch (p->trouble) {
	case TROUBLE_REFUSED:
		return refusal(p);
	case TROUBLE_SILENT:
		return REASON_SILENT;
	case TROUBLE_UNREACHABLE:
		return REASON_UNREACHABLE;
	case TROUBLE_HOST:
		return REASON_HOST;
	case TROUBLE_FIREWALL:
		return REASON_FIREWALL;
	case TROUBLE_NO_ADDRESS:
		return REASON_NO_ADDRESS;
	case TROUBLE_ZERO_LIFETIME:
	case TROUBLE_ZERO_PORT:
	case TROUBLE_GARBLED:
		return REASON_BAD_ANSWER;
	case TROUBLE_OTHER_PORT:
		return REASON_EXTERNAL_PORT;
	case TROUBLE_UNSUPPORTED:
		return REASON_UNSUPPORTED;
	case TROUBLE_NEEDS_PCP:
	case TROUBLE_IGNORED:
		return REASON_NOT_SUPPORTED;
	case TROUBLE_DUPLICATE:
		return REASON_DUPLICATE;
	case TROUBLE_OTHER_BOX: /* in no event */
	case TROUBLE_NO_BOX:
	case TROUBLE_NONE:
		break;
	}
	return REASON_UNKNOWN;
}

void
metrics_event(struct metrics *m, const struct engine_event *event)
{
	m->events[event->kind]++;
	if (event->kind == EVENT_FAILED)
		m->failures[reason_of(&event->mapping->problem)]++;
	else if (event->kind == EVENT_GATEWAY_SILENT)
		m->failures[reason_of(&event->gateway->problem)]++;
	else if (event->kind == EVENT_ADDRESS_CHANGED && event->has_old)
		m->address_changes++;
	else if (event->kind == EVENT_CHANGED && event->has_old &&
	    event->old_external_port != event->mapping->external_port)
		m->port_changes++;
}

/* Upper ends, in µs: a box in the house answers in the first, a provider's in the middle. */
static const struct {
	int32_t us;
	const char *text; /* in s */
} buckets[METRICS_BUCKETS - 1] = { { 500, "0.0005" }, { 1000, "0.001" }, { 2500, "0.0025" },
	{ 10000, "0.01" }, { 50000, "0.05" }, { 250000, "0.25" }, { 1000000, "1.0" },
	{ 4000000, "4.0" } };

void
metrics_round_trip(struct metrics *m, int32_t us)
{
	size_t i = 0;

	if (us < 0)
		return;
	while (i < METRICS_BUCKETS - 1 && us > buckets[i].us)
		i++;
	m->round_trips[i]++;
	m->round_trip_us += (uint64_t)us;
}

void
metrics_hook(struct metrics *m, bool good)
{
	m->hooks[good]++;
}

void
metrics_reload(struct metrics *m, bool good)
{
	m->reloads[good]++;
}

/* ---- printing ------------------------------------------------------------------------------- */

/* What is TYPE, and UNIT: the last word of NAME, or NULL. */
static void
metric(FILE *f, const char *name, const char *type, const char *unit, const char *help)
{
	fprintf(f, "# TYPE portleased_%s %s\n", name, type);
	if (unit != NULL)
		fprintf(f, "# UNIT portleased_%s %s\n", name, unit);
	fprintf(f, "# HELP portleased_%s %s\n", name, help);
}

/* NAME="VALUE". Names of interfaces may be any octets, the text must be UTF-8: what is not ASCII
 * becomes a question mark. */
static void
label(FILE *f, const char *before, const char *name, const char *value)
{
	fprintf(f, "%s%s=\"", before, name);
	for (const unsigned char *p = (const unsigned char *)value; *p != '\0'; p++) {
		if (*p == '\n')
			fputs("\\n", f);
		else if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else
			fputc(*p < 0x80 ? *p : '?', f);
	}
	fputc('"', f);
}

static void
counted(FILE *f, const char *name, const char *key, const char *value, uint64_t n)
{
	fprintf(f, "portleased_%s_total{", name);
	label(f, "", key, value);
	fprintf(f, "} %" PRIu64 "\n", n);
}

static void
results(FILE *f, const char *name, const char *help, const uint64_t n[2])
{
	metric(f, name, "counter", NULL, help);
	counted(f, name, "result", "ok", n[1]);
	counted(f, name, "result", "failed", n[0]);
}

static void
print_head(FILE *f, const struct metrics_head *head)
{
	metric(f, "build", "info", NULL, "The version of portleased that runs.");
	fputs("portleased_build_info{", f);
	label(f, "", "version", head->version);
	fputs("} 1\n", f);
	metric(f, "start_time_seconds", "gauge", "seconds", "When it was started, since 1970.");
	fprintf(f, "portleased_start_time_seconds %.3f\n", head->started);
	metric(f, "ready", "gauge", NULL, "Whether it has finished its start.");
	fprintf(f, "portleased_ready %d\n", (int)head->ready);
}

static void
print_counters(FILE *f, const struct metrics *m)
{
	uint64_t sum = 0;

	metric(f, "events", "counter", NULL, "What happened, as `portleasectl monitor` shows it.");
	for (size_t i = 0; i < METRICS_EVENTS; i++)
		counted(f, "events", "event", engine_event_name((enum engine_event_kind)i),
		    m->events[i]);
	metric(f, "failures", "counter", NULL,
	    "Forwards that could not be mapped and gateways that became silent, by reason.");
	for (size_t i = 0; i < REASONS; i++)
		counted(f, "failures", "reason", reason_names[i], m->failures[i]);
	metric(f, "external_changes", "counter", NULL,
	    "Changes of a forward's external port and of a gateway's external address.");
	counted(f, "external_changes", "of", "port", m->port_changes);
	counted(f, "external_changes", "of", "address", m->address_changes);
	results(f, "hook_runs", "Programs of on-change that have ended.", m->hooks);
	results(f, "reloads", "Reloads of the configuration; a failed one changes nothing.",
	    m->reloads);
	metric(f, "round_trip_seconds", "histogram", "seconds",
	    "From the last packet to a gateway to its answer.");
	for (size_t i = 0; i < METRICS_BUCKETS; i++) {
		sum += m->round_trips[i];
		fprintf(f, "portleased_round_trip_seconds_bucket{le=\"%s\"} %" PRIu64 "\n",
		    i < METRICS_BUCKETS - 1 ? buckets[i].text : "+Inf", sum);
	}
	fprintf(f, "portleased_round_trip_seconds_sum %" PRIu64 ".%06" PRIu64 "\n",
	    m->round_trip_us / 1000000, m->round_trip_us % 1000000);
	fprintf(f, "portleased_round_trip_seconds_count %" PRIu64 "\n", sum);
}

/* ---- gateways ------------------------------------------------------------------------------- */

static void
gateway_sample(FILE *f, const char *name, const struct gateway_status *g)
{
	fprintf(f, "portleased_gateway_%s{", name);
	label(f, "", "gateway", g->name);
	label(f, ",", "family", family_name(g->family));
}

static void
print_gateway(FILE *f, const struct gateway_status *g)
{
	const char *mapper = mapper_name(g->mapper);
	char room[NETADDR_STRLEN];

	gateway_sample(f, "info", g);
	label(f, ",", "address", g->has_path ? netaddr_print(&g->address, room) : "");
	label(f, ",", "interface", g->has_path && g->interface != NULL ? g->interface : "");
	label(f, ",", "mapper", mapper != NULL ? mapper : "");
	label(f, ",", "external_address", g->has_external ? netaddr_print(&g->external, room) : "");
	label(f, ",", "external_class",
	    g->has_external ? netaddr_class_name(netaddr_classify(&g->external)) : "");
	fputs("} 1\n", f);
}

static void
print_gateways(FILE *f, const struct engine *e, mstime now)
{
	struct gateway_status g;

	metric(f, "gateway", "info", NULL, "How a gateway is reached, and what it says.");
	for (size_t i = 0; engine_gateway_status(e, now, i, &g); i++)
		print_gateway(f, &g);
	metric(f, "gateway_state", "gauge", NULL, "1 for the state that a gateway is in.");
	for (size_t i = 0; engine_gateway_status(e, now, i, &g); i++)
		for (int s = GATEWAY_UNUSED; s <= GATEWAY_UNSUPPORTED; s++) {
			gateway_sample(f, "state", &g);
			label(f, ",", "state", gateway_state_name((enum gateway_state)s));
			fprintf(f, "} %d\n", (int)g.state == s);
		}
	metric(f, "gateway_requests", "counter", NULL, "Packets sent to a gateway as it is now.");
	for (size_t i = 0; engine_gateway_status(e, now, i, &g); i++) {
		gateway_sample(f, "requests_total", &g);
		fprintf(f, "} %" PRIu64 "\n", g.sent);
	}
	metric(f, "gateway_reboots", "counter", NULL,
	    "Times that its epoch told of a restart, with which it lost its mappings.");
	for (size_t i = 0; engine_gateway_status(e, now, i, &g); i++) {
		gateway_sample(f, "reboots_total", &g);
		fprintf(f, "} %" PRIu32 "\n", g.reboots);
	}
}

/* ---- mappings ------------------------------------------------------------------------------- */

#define STATES (MAPPING_IDLE + 1)

/* All ports of one forward, family and protocol. */
struct unit {
	const char *forward, *gateway;
	enum family family;
	uint8_t protocol;
	uint16_t external_port; /* of the first; 0: none */
	uint32_t renewals;      /* of the port that has fewest */
	uint32_t changes;       /* of the port that has most */
	mstime expires;         /* the earliest; MSTIME_NEVER without a lease */
	uint32_t ports[STATES];
};

struct units {
	struct unit *list;
	size_t n, room;
	bool failed; /* out of memory */
};

static void
add_mapping(void *ctx, const struct mapping_status *m)
{
	struct units *all = ctx;
	struct unit *u = all->n > 0 ? &all->list[all->n - 1] : NULL;

	if (u == NULL || u->family != m->family || u->protocol != m->protocol ||
	    strcmp(u->forward, m->forward) != 0) {
		if (all->n == all->room) {
			size_t room = all->room * 2 + 16;
			struct unit *more = reallocarray(all->list, room, sizeof(*more));

			if (more == NULL) {
				all->failed = true;
				return;
			}
			all->list = more;
			all->room = room;
		}
		u = &all->list[all->n++];
		*u = (struct unit){ .forward = m->forward,
			.gateway = m->gateway,
			.family = m->family,
			.protocol = m->protocol,
			.external_port = m->has_lease ? m->external_port : 0,
			.renewals = m->renewals,
			.expires = MSTIME_NEVER };
	}
	u->ports[m->state]++;
	if (m->renewals < u->renewals)
		u->renewals = m->renewals;
	if (m->changes > u->changes)
		u->changes = m->changes;
	if (m->has_lease && m->expires < u->expires)
		u->expires = m->expires;
}

static void
unit_sample(FILE *f, const char *name, const struct unit *u)
{
	fprintf(f, "portleased_mapping_%s{", name);
	label(f, "", "forward", u->forward);
	label(f, ",", "gateway", u->gateway);
	label(f, ",", "family", family_name(u->family));
	label(f, ",", "protocol", protocol_name(u->protocol));
}

static void
print_states(FILE *f, const struct units *all)
{
	metric(f, "mapping_ports", "gauge", NULL,
	    "How many ports of a forward are in each state; all are in one.");
	for (const struct unit *u = all->list; u < all->list + all->n; u++)
		for (int s = 0; s < STATES; s++) {
			unit_sample(f, "ports", u);
			label(f, ",", "state", mapping_state_name((enum mapping_state)s));
			fprintf(f, "} %" PRIu32 "\n", u->ports[s]);
		}
}

static void
print_units(FILE *f, const struct units *all, mstime now)
{
	const struct unit *end = all->list + all->n;

	print_states(f, all);
	metric(f, "mapping_external_port", "gauge", NULL,
	    "The first external port, while there is one.");
	for (const struct unit *u = all->list; u < end; u++) {
		if (u->external_port == 0)
			continue;
		unit_sample(f, "external_port", u);
		fprintf(f, "} %u\n", (unsigned)u->external_port);
	}
	metric(f, "mapping_expires_seconds", "gauge", "seconds",
	    "What is left of the lease that ends first, while there is one.");
	for (const struct unit *u = all->list; u < end; u++) {
		mstime left = u->expires > now ? u->expires - now : 0;

		if (u->expires == MSTIME_NEVER)
			continue;
		unit_sample(f, "expires_seconds", u);
		fprintf(f, "} %" PRId64 "\n", left / MSTIME_SECOND);
	}
	metric(f, "mapping_renewals", "counter", NULL,
	    "Renewals; of a range, those of the port that has fewest.");
	for (const struct unit *u = all->list; u < end; u++) {
		unit_sample(f, "renewals_total", u);
		fprintf(f, "} %" PRIu32 "\n", u->renewals);
	}
	metric(f, "mapping_changes", "counter", NULL,
	    "Changes of external address or port; of a range, those of the port that has most.");
	for (const struct unit *u = all->list; u < end; u++) {
		unit_sample(f, "changes_total", u);
		fprintf(f, "} %" PRIu32 "\n", u->changes);
	}
}

/* ---- the classic format ---------------------------------------------------------------------- */

/* A line that describes the family of the samples below it. There it has the name of the samples,
 * knows no info, and no unit. */
static void
print_described(FILE *f, const char *line, const char **suffix)
{
	bool type = strncmp(line, "# TYPE ", 7) == 0;
	const char *end, *rest;

	if (!type && strncmp(line, "# HELP ", 7) != 0)
		return;
	rest = end = strchrnul(line + 7, ' ');
	if (type) {
		bool info = strcmp(rest, " info") == 0;

		*suffix = info ? "_info" : strcmp(rest, " counter") == 0 ? "_total" : "";
		if (info)
			rest = " gauge";
	}
	fprintf(f, "%.*s%s%s\n", (int)(end - line), line, *suffix, rest);
}

/* Takes `text` over. */
static char *
make_classic(char *text)
{
	const char *suffix = "";
	char *classic = NULL, *next = text;
	size_t size;
	FILE *f = open_memstream(&classic, &size);
	bool good;

	while (f != NULL && next != NULL && *next != '\0') {
		char *line = strsep(&next, "\n");

		if (line[0] == '#')
			print_described(f, line, &suffix);
		else
			fprintf(f, "%s\n", line);
	}
	free(text);
	if (f == NULL)
		return NULL;
	good = !ferror(f);
	if (fclose(f) == 0 && good)
		return classic;
	free(classic);
	return NULL;
}

enum metrics_format
metrics_accepted(const char *accept)
{
	/* Who takes anything gets the newer one. */
	return accept == NULL || strstr(accept, "text/plain") == NULL ||
		strstr(accept, "application/openmetrics-text") != NULL
	    ? METRICS_OPEN
	    : METRICS_CLASSIC;
}

const char *
metrics_content_type(enum metrics_format format)
{
	return format == METRICS_OPEN ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				      : "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- the whole ------------------------------------------------------------------------------ */

char *
metrics_text(const struct metrics *m, const struct engine *e, mstime now,
    const struct metrics_head *head, enum metrics_format format)
{
	struct units all = { .n = 0 };
	char *text = NULL;
	size_t size;
	FILE *f;
	bool good;

	engine_mapping_each(e, now, add_mapping, &all);
	f = all.failed ? NULL : open_memstream(&text, &size);
	if (f == NULL) {
		free(all.list);
		return NULL;
	}
	print_head(f, head);
	print_counters(f, m);
	print_gateways(f, e, now);
	print_units(f, &all, now);
	fputs("# EOF\n", f);
	free(all.list);
	good = !ferror(f);
	if (fclose(f) == 0 && good)
		return format == METRICS_CLASSIC ? make_classic(text) : text;
	free(text);
	return NULL;
}
