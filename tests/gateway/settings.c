/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "net.h"
#include "settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { SWITCH, CHOICE, NUMBER, PROBABILITY, FACTOR, ADDRESS, ENDPOINT, RANGE, PORTS, NAME };

struct setting {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *initial;
	int64_t min, max;    /* NUMBER and RANGE; min OFF: "off" is allowed */
	const char *choices; /* CHOICE: words with spaces between, in the order of the enum */
	const char *help;
};

#define AT(field) offsetof(struct settings, field)
#define U32 0xffffffffLL
#define HOUR_MS 3600000

static const struct setting settings[] = {
	{ "mode", CHOICE, AT(mode), "both", 0, 0, "both pcp nat-pmp none", "protocols served" },
	{ "proton", SWITCH, AT(proton), "off", 0, 0, NULL,
	    "internal 0, external 1: any port, 60 s" },
	{ "wan", CHOICE, AT(wan), "up", 0, 0, "up down private", "state of the outer side" },
	{ "external", ADDRESS, AT(external), "203.0.113.7", 0, 0, NULL, "external IPv4 address" },
	{ "external6", ADDRESS, AT(external6), "::", 0, 0, NULL,
	    "external IPv6; ::: none, pinholes" },
	{ "lifetime", RANGE, AT(life_min), "1:86400", 0, U32, NULL,
	    "bounds MIN:MAX of a lifetime" },
	{ "grant", NUMBER, AT(grant), "off", OFF, U32, NULL, "lifetime granted whatever is asked" },
	{ "entry-life", NUMBER, AT(entry_life), "off", OFF, 86400000, NULL,
	    "ms a mapping truly lives" },
	{ "port-policy", CHOICE, AT(policy), "sticky", 0, 0,
	    "sticky echo plus1 another never list random", "how external ports are chosen" },
	{ "port-range", RANGE, AT(port_lo), "1024:65535", 1, 65535, NULL, "external ports LO:HI" },
	{ "port-list", PORTS, AT(ports), "", 0, 0, NULL, "ports of the policy list, A,B,..." },
	{ "rotate", NUMBER, AT(rotate), "off", OFF, 1000000, NULL,
	    "every n-th renewal moves the port" },
	{ "table-max", NUMBER, AT(table_max), "off", OFF, 65535, NULL, "mappings the table holds" },
	{ "nonce-strict", SWITCH, AT(nonce_strict), "on", 0, 0, NULL,
	    "another nonce: NOT_AUTHORIZED" },
	{ "address-check", SWITCH, AT(address_check), "on", 0, 0, NULL,
	    "PCP client address checked" },
	{ "announce-check", SWITCH, AT(announce_check), "on", 0, 0, NULL,
	    "also in ANNOUNCE requests" },
	{ "third-party", SWITCH, AT(third_party), "off", 0, 0, NULL, "THIRD_PARTY served" },
	{ "prefer-failure", SWITCH, AT(prefer_failure), "on", 0, 0, NULL, "PREFER_FAILURE served" },
	{ "filter", SWITCH, AT(filter), "on", 0, 0, NULL, "FILTER served" },
	{ "max-filters", NUMBER, AT(max_filters), "8", 0, 1000, NULL, "FILTERs of one mapping" },
	{ "description", SWITCH, AT(description), "off", 0, 0, NULL,
	    "DESCRIPTION stored and echoed" },
	{ "port-set", CHOICE, AT(port_set), "ignore", 0, 0, "ignore grant fewer refuse malformed",
	    "what is made of PORT_SET; fewer: one port less than asked" },
	{ "ignore-options", SWITCH, AT(ignore_options), "off", 0, 0, NULL,
	    "FILTER and THIRD_PARTY neither processed nor echoed" },
	{ "options", SWITCH, AT(any_options), "on", 0, 0, NULL, "off: any option, UNSUPP_OPTION" },
	{ "strict-options", SWITCH, AT(strict_options), "off", 0, 0, NULL,
	    "option length not a multiple of 4: MALFORMED_OPTION (Q-179)" },
	{ "delete-missing-ok", SWITCH, AT(delete_missing_ok), "on", 0, 0, NULL,
	    "off: PCP delete of nothing, NO_RESOURCES (F-15)" },
	{ "origin-check", SWITCH, AT(origin_check), "off", 0, 0, NULL,
	    "one protocol does not delete the other's mappings (Q-061)" },
	{ "refresh", SWITCH, AT(refresh), "on", 0, 0, NULL,
	    "off: renewals do not prolong (Q-074)" },
	{ "v6-echo", SWITCH, AT(v6_echo), "off", 0, 0, NULL,
	    "IPv6 renewal: suggestion echoed (F-22)" },
	{ "renew6-fails", SWITCH, AT(renew6_fails), "off", 0, 0, NULL,
	    "IPv6 renewal: NO_RESOURCES (Q-094)" },
	{ "epoch", NUMBER, AT(epoch), "0", 0, U32, NULL, "value of the epoch from now on" },
	{ "epoch-freeze", NUMBER, AT(epoch_freeze), "off", OFF, U32, NULL, "epoch stands at this" },
	{ "epoch-rate", FACTOR, AT(epoch_rate), "1", 0, 0, NULL,
	    "speed of the epoch, 1.1: 10 % fast" },
	{ "pcp-refusal", CHOICE, AT(pcp_refusal), "8", 0, 0,
	    "8 op0 erratum short pcp v1 v9 f19 mute", "answer to PCP in mode nat-pmp" },
	{ "nat-pmp-refusal", CHOICE, AT(natpmp_refusal), "pcp", 0, 0, "pcp fritz mute",
	    "answer to NAT-PMP in mode pcp" },
	{ "nat-pmp-error", CHOICE, AT(natpmp_error), "full", 0, 0, "full short port0 echo",
	    "shape of NAT-PMP errors" },
	{ "odd-size", CHOICE, AT(odd_size), "rfc", 0, 0, "rfc f19 mute",
	    "answer to PCP requests whose size is not a multiple of 4" },
	{ "error-lifetime", NUMBER, AT(error_lifetime), "off", OFF, U32, NULL,
	    "lifetime of PCP errors; off: 30 or 1800 by RFC class" },
	{ "reserved-fill", SWITCH, AT(reserved_fill), "off", 0, 0, NULL,
	    "reserved octets are 0xff" },
	{ "garble-ports", SWITCH, AT(garble_ports), "off", 0, 0, NULL,
	    "NAT-PMP ports & 0xff (Q-039)" },
	{ "seed", NUMBER, AT(seed), "1", 0, INT64_MAX, NULL, "of the random numbers, from now on" },
	{ "drop-requests", PROBABILITY, AT(drop_requests), "0", 0, 0, NULL, "share not looked at" },
	{ "drop-replies", PROBABILITY, AT(drop_replies), "0", 0, 0, NULL, "share not sent" },
	{ "drop-first", NUMBER, AT(drop_first), "0", 0, 1000000, NULL, "next requests to ignore" },
	{ "delay", NUMBER, AT(delay), "0", 0, HOUR_MS, NULL, "ms before each reply" },
	{ "jitter", NUMBER, AT(jitter), "0", 0, HOUR_MS, NULL, "up to so many ms more, at random" },
	{ "dup", NUMBER, AT(dup), "0", 0, 1000, NULL, "further copies of each reply" },
	{ "reply-from", ENDPOINT, AT(reply_from), "off", 0, 0, NULL,
	    "source ADDR[:PORT] of replies" },
	{ "silence", SWITCH, AT(silence), "off", 0, 0, NULL, "read and log, never answer" },
	{ "refuse", SWITCH, AT(refuse), "off", 0, 0, NULL,
	    "close the sockets: ICMP from the kernel" },
	{ "truncate", NUMBER, AT(truncate), "off", OFF, PACKET_MAX, NULL,
	    "replies cut to so many octets" },
	{ "corrupt", PROBABILITY, AT(corrupt), "0", 0, 0, NULL,
	    "share of replies with one bit wrong" },
	{ "zoo", CHOICE, AT(zoo), "off", 0, 0, "off replace before",
	    "garbage instead of or before replies" },
	{ "zoo-kind", CHOICE, AT(zoo_kind), "invalid", 0, 0, "invalid any",
	    "invalid: nothing that a correct client may accept" },
	{ "zoo-count", NUMBER, AT(zoo_count), "1", 1, 10000, NULL, "garbage datagrams per reply" },
	{ "zoo-max", NUMBER, AT(zoo_max), "1200", 0, PACKET_MAX, NULL, "longest garbage" },
	{ "zoo-prob", PROBABILITY, AT(zoo_prob), "1", 0, 0, NULL, "share of replies concerned" },
	{ "announce-if", NAME, AT(announce_if), "", 0, 0, NULL, "interface of announcements" },
	{ "announce-to", ENDPOINT, AT(announce_to), "off", 0, 0, NULL,
	    "unicast ADDR:PORT instead of the multicast groups" },
};

enum { N_SETTINGS = sizeof(settings) / sizeof(settings[0]) };

static const struct setting *
find(const char *name)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	}
	return NULL;
}

bool
settings_known(const char *name)
{
	return find(name) != NULL;
}

bool
settings_is_switch(const char *name)
{
	const struct setting *s = find(name);

	return s != NULL && s->kind == SWITCH;
}

/* Place of `word` in a list of words with spaces between, or -1. */
static int
word_index(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (int i = 0; *list != '\0'; i++) {
		size_t n = strcspn(list, " ");

		if (n == len && memcmp(list, word, n) == 0)
			return i;
		list += n + (list[n] == ' ');
	}
	return -1;
}

static void
word_at(const char *list, int64_t i, struct text *out)
{
	while (i-- > 0)
		list += strcspn(list, " ") + 1;
	text_add_json(out, list, strcspn(list, " "));
}

static bool
read_range(const struct setting *s, const char *value, int64_t *to)
{
	char copy[64];
	char *colon;
	int64_t lo, hi;

	if (strlen(value) >= sizeof(copy))
		return false;
	strcpy(copy, value);
	colon = strchr(copy, ':');
	if (colon == NULL)
		return false;
	*colon = '\0';
	if (!number_read(copy, s->min, s->max, &lo) ||
	    !number_read(colon + 1, s->min, s->max, &hi) || lo > hi)
		return false;
	to[0] = lo;
	to[1] = hi;
	return true;
}

static bool
read_ports(struct settings *set, const char *value)
{
	uint16_t ports[sizeof(set->ports) / sizeof(set->ports[0])];
	size_t n = 0;
	char word[8];

	while (*value != '\0') {
		size_t len = strcspn(value, ",");
		int64_t port;

		if (len >= sizeof(word) || n == sizeof(ports) / sizeof(ports[0]))
			return false;
		memcpy(word, value, len);
		word[len] = '\0';
		if (!number_read(word, 1, 65535, &port))
			return false;
		ports[n++] = (uint16_t)port;
		value += len + (value[len] == ',');
	}
	memcpy(set->ports, ports, n * sizeof(ports[0]));
	set->n_ports = n;
	return true;
}

static bool
read_endpoint(const char *value, struct addr *to)
{
	static const struct addr off;

	if (strcmp(value, "off") == 0) {
		*to = off;
		return true;
	}
	return addr_parse(value, 5351, to) && to->port != 0;
}

static bool
read_value(struct settings *set, const struct setting *s, const char *value)
{
	void *field = (char *)set + s->offset;
	int64_t number;
	int i;

	switch (s->kind) {
	case SWITCH:
	case CHOICE:
		i = word_index(s->kind == SWITCH ? "off on" : s->choices, value);
		if (i >= 0)
			memcpy(field, &(int64_t){ i }, sizeof(int64_t));
		return i >= 0;
	case NUMBER:
		if (s->min == OFF && strcmp(value, "off") == 0)
			number = OFF;
		else if (!number_read(value, s->min == OFF ? 0 : s->min, s->max, &number))
			return false;
		memcpy(field, &number, sizeof(number));
		return true;
	case PROBABILITY:
		return decimal_read(value, 0, 1, field);
	case FACTOR:
		return decimal_read(value, -1000, 1000, field);
	case ADDRESS:
		return addr_parse(value, 0, field);
	case ENDPOINT:
		return read_endpoint(value, field);
	case RANGE:
		return read_range(s, value, field);
	case PORTS:
		return read_ports(set, value);
	case NAME:
		if (strlen(value) >= sizeof(set->announce_if))
			return false;
		strcpy(field, value);
		return true;
	}
	return false;
}

static void
add_expected(const struct setting *s, struct text *out)
{
	switch (s->kind) {
	case SWITCH:
		text_add(out, "on or off");
		break;
	case CHOICE:
		text_add(out, "one of: %s", s->choices);
		break;
	case NUMBER:
		text_add(out, "a number %lld to %lld%s", (long long)(s->min == OFF ? 0 : s->min),
		    (long long)s->max, s->min == OFF ? ", or off" : "");
		break;
	case PROBABILITY:
		text_add(out, "a number 0 to 1");
		break;
	case FACTOR:
		text_add(out, "a number -1000 to 1000");
		break;
	case ADDRESS:
		text_add(out, "an IP address");
		break;
	case ENDPOINT:
		text_add(out, "ADDR[:PORT] or off");
		break;
	case RANGE:
		text_add(out, "MIN:MAX within %lld:%lld", (long long)s->min, (long long)s->max);
		break;
	case PORTS:
		text_add(out, "ports with commas between");
		break;
	case NAME:
		text_add(out, "the name of an interface");
		break;
	}
}

void
settings_default(struct gw *gw)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		if (!read_value(&gw->set, &settings[i], settings[i].initial))
			abort();
	}
}

bool
settings_set(struct gw *gw, const char *name, const char *value, struct text *error)
{
	const struct setting *s = find(name);
	struct settings before = gw->set;
	uint32_t epoch = epoch_now(gw);

	if (s == NULL) {
		text_add(error, "no setting \"%s\"; `settings` lists all", name);
		return false;
	}
	if (!read_value(&gw->set, s, value)) {
		text_add(error, "%s: \"%s\" is not valid; expected %s", name, value, "");
		add_expected(s, error);
		return false;
	}
	if (gw->set.external6.ip[10] == 0xff && ip_is_v4(gw->set.external6.ip)) {
		gw->set = before;
		text_add(error, "external6: \"%s\" is an IPv4 address", value);
		return false;
	}
	if (!addr_is_v4(&gw->set.external)) {
		gw->set = before;
		text_add(error, "external: \"%s\" is an IPv6 address; use external6", value);
		return false;
	}
	if (s->offset == AT(epoch))
		epoch_set(gw, (uint32_t)gw->set.epoch);
	/* From the new rate on, but without a jump; and after a freeze on from where it stood. */
	if (s->offset == AT(epoch_rate) ||
	    (s->offset == AT(epoch_freeze) && gw->set.epoch_freeze == OFF))
		epoch_set(gw, epoch);
	if (s->offset == AT(seed))
		gw->random = (uint64_t)gw->set.seed * 0x9e3779b97f4a7c15ULL + 1;
	if (s->offset == AT(refuse) && before.refuse != gw->set.refuse &&
	    !net_refuse(gw, gw->set.refuse != 0, error)) {
		gw->set.refuse = before.refuse;
		return false;
	}
	return true;
}

static void
print_value(const struct settings *set, const struct setting *s, struct text *out)
{
	const void *field = (const char *)set + s->offset;
	char buf[ADDR_TEXT];
	struct addr address;
	int64_t number[2];
	double decimal;

	switch (s->kind) {
	case SWITCH:
	case CHOICE:
	case NUMBER:
		memcpy(number, field, sizeof(number[0]));
		if (s->kind == NUMBER && (number[0] != OFF || s->min != OFF))
			text_add(out, "%lld", (long long)number[0]);
		else if (s->kind == NUMBER)
			text_add(out, "\"off\"");
		else
			word_at(s->kind == SWITCH ? "off on" : s->choices, number[0], out);
		break;
	case PROBABILITY:
	case FACTOR:
		memcpy(&decimal, field, sizeof(decimal));
		text_add(out, "%g", decimal);
		break;
	case ADDRESS:
	case ENDPOINT:
		memcpy(&address, field, sizeof(address));
		if (s->kind == ENDPOINT && address.port == 0)
			text_add(out, "\"off\"");
		else
			text_add(out, "\"%s\"", addr_format(&address, s->kind == ENDPOINT, buf));
		break;
	case RANGE:
		memcpy(number, field, sizeof(number));
		text_add(out, "\"%lld:%lld\"", (long long)number[0], (long long)number[1]);
		break;
	case PORTS:
		text_add(out, "[");
		for (size_t i = 0; i < set->n_ports; i++)
			text_add(out, "%s%u", i > 0 ? "," : "", set->ports[i]);
		text_add(out, "]");
		break;
	case NAME:
		text_add_json(out, set->announce_if, strlen(set->announce_if));
		break;
	}
}

void
settings_print(const struct gw *gw, struct text *out)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		text_add(out, "%s\"%s\":", i == 0 ? "{" : ",", settings[i].name);
		print_value(&gw->set, &settings[i], out);
	}
	text_add(out, "}");
}

void
settings_help(FILE *to)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		struct text t = { 0 };

		add_expected(&settings[i], &t);
		fprintf(to, "  --%-18s %s (%s; default %s)\n", settings[i].name, settings[i].help,
		    t.p, settings[i].initial[0] != '\0' ? settings[i].initial : "none");
		text_free(&t);
	}
}
