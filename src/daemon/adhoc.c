/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/adhoc.h"

#include <stdlib.h>
#include <string.h>

#define LIFETIME_MIN 2
#define LIFETIME_MAX 86400
#define DESCRIPTION_MAX 255
/* The ports of the protocols themselves (RFC 6887 section 19): nobody may be sent there. */
#define OWN_PORT_FIRST 5350
#define OWN_PORT_LAST 5351

static const char *const members[] = { "protocol", "family", "internal_port", "external_port",
	"external_policy", "gateway", "lifetime", "description", NULL };

/* Decimal digits only. Returns where they end, or NULL. */
static const char *
parse_port(const char *text, unsigned *out)
{
	unsigned value = 0;

	if (*text < '1' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++) {
		value = value * 10 + (unsigned)(*text - '0');
		if (value > UINT16_MAX)
			return NULL;
	}
	*out = value;
	return text;
}

/* N or N-M. */
static bool
parse_range(const char *text, uint16_t *first, uint16_t *count)
{
	unsigned from, to;
	const char *end = parse_port(text, &from);

	if (end == NULL)
		return false;
	to = from;
	if (*end == '-')
		end = parse_port(end + 1, &to);
	if (end == NULL || *end != '\0' || to < from || to - from + 1 > UINT16_MAX)
		return false;
	*first = (uint16_t)from;
	*count = (uint16_t)(to - from + 1);
	return true;
}

/* The index of a member's word, 0 when it is left out, or -1. */
static int
choice(const json_t *value, const char *key, const char *const words[3])
{
	const json_t *member = json_object_get(value, key);
	const char *word = json_string_value(member);

	if (member == NULL || json_is_null(member))
		return 0;
	for (int i = 0; word != NULL && i < 3 && words[i] != NULL; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

static const char *
parse_choices(const json_t *value, struct conf_forward *f)
{
	static const char *const protocols[] = { "tcp", "udp", "both" };
	static const char *const families[] = { "ipv4", "ipv6", "both" };
	static const char *const policies[] = { "prefer", "require", NULL };
	int protocol = choice(value, "protocol", protocols);
	int family = choice(value, "family", families);
	int policy = choice(value, "external_policy", policies);

	if (protocol < 0)
		return "protocol";
	if (family < 0)
		return "family";
	if (policy < 0)
		return "external_policy";
	f->tcp = protocol != 1;
	f->udp = protocol != 0;
	f->ipv4 = family != 1;
	f->ipv6 = family != 0;
	f->require = policy == 1;
	return NULL;
}

static bool
parse_external(const char *text, struct conf_forward *f)
{
	uint16_t count;

	if (text == NULL || strcmp(text, "same") == 0) {
		f->external = EXTERNAL_SAME;
		return true;
	}
	if (strcmp(text, "any") == 0) {
		f->external = EXTERNAL_ANY;
		return f->count == 1;
	}
	f->external = EXTERNAL_FIXED;
	return parse_range(text, &f->external_port, &count) && count == f->count;
}

static const char *
parse_ports(const json_t *value, struct conf_forward *f)
{
	const json_t *external = json_object_get(value, "external_port");
	const char *internal = json_string_value(json_object_get(value, "internal_port"));
	unsigned first;

	if (internal == NULL)
		return "internal_port";
	if (external != NULL && !json_is_null(external) && !json_is_string(external))
		return "external_port";
	if (strcmp(internal, "assigned") == 0) {
		f->assigned = true;
		f->count = 1;
		f->external = EXTERNAL_ANY;
		return json_is_string(external) ? "external_port" : NULL;
	}
	if (!parse_range(internal, &f->internal_port, &f->count))
		return "internal_port";
	if (!parse_external(json_string_value(external), f))
		return "external_port";
	first = f->external == EXTERNAL_FIXED ? f->external_port : f->internal_port;
	if (f->external != EXTERNAL_ANY && f->udp && first <= OWN_PORT_LAST &&
	    first + f->count > OWN_PORT_FIRST)
		return "external_port";
	return NULL;
}

static const char *
parse_rest(const json_t *value, const struct conf *conf, struct adhoc *a)
{
	const json_t *lifetime = json_object_get(value, "lifetime");
	const json_t *description = json_object_get(value, "description");
	const json_t *gateway = json_object_get(value, "gateway");
	struct conf_forward *f = &a->forward;

	if (gateway != NULL && !json_is_null(gateway) && !json_is_string(gateway))
		return "gateway";
	a->gateway = strdup(json_is_string(gateway) ? json_string_value(gateway) : "default");
	if (a->gateway == NULL || !adhoc_rebase(a, conf))
		return "gateway";
	f->lifetime = f->gateway->lifetime;
	if (lifetime != NULL && !json_is_null(lifetime)) {
		json_int_t n = json_integer_value(lifetime);

		if (!json_is_integer(lifetime) || n < LIFETIME_MIN || n > LIFETIME_MAX)
			return "lifetime";
		f->lifetime = (uint32_t)n;
	}
	if (description == NULL || json_is_null(description))
		return NULL;
	if (!json_is_string(description) || json_string_length(description) > DESCRIPTION_MAX)
		return "description";
	for (const char *c = json_string_value(description); *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return "description";
	f->description = strdup(json_string_value(description));
	return f->description != NULL ? NULL : "description";
}

/* As the config is checked: `assigned` is NAT-PMP's, IPv6 is PCP's. */
static bool
gateway_can(const struct conf_gateway *g, const struct conf_forward *f)
{
	bool pcp = false;

	for (unsigned i = 0; i < g->n_mappers; i++)
		pcp |= g->mappers[i] == MAPPER_PCP;
	if (f->assigned)
		return g->n_mappers == 1 && g->mappers[0] == MAPPER_NATPMP && !f->ipv6;
	if (g->has_address && (netaddr_is4(&g->address) ? f->ipv6 : f->ipv4))
		return false;
	return pcp || !f->ipv6;
}

bool
adhoc_rebase(struct adhoc *a, const struct conf *conf)
{
	const struct conf_gateway *g = conf_gateway_find(conf, a->gateway);

	if (g == NULL || !gateway_can(g, &a->forward))
		return false;
	a->forward.gateway = g;
	return true;
}

const char *
adhoc_parse(json_t *value, const struct conf *conf, struct adhoc *out)
{
	struct adhoc a = { .forward = { .enabled = true,
			       .on_demand = true,
			       .release_on_exit = true,
			       .file = "" } };
	const char *wrong = NULL, *key;
	json_t *member;

	if (!json_is_object(value))
		return "ad_hoc";
	json_object_foreach(value, key, member)
	{
		const char *const *known = members;

		while (*known != NULL && strcmp(*known, key) != 0)
			known++;
		if (*known == NULL)
			return key;
	}
	wrong = parse_choices(value, &a.forward);
	if (wrong == NULL)
		wrong = parse_ports(value, &a.forward);
	if (wrong == NULL)
		wrong = parse_rest(value, conf, &a);
	if (wrong != NULL)
		adhoc_clear(&a);
	else
		*out = a;
	return wrong;
}

void
adhoc_clear(struct adhoc *a)
{
	free(a->forward.name);
	free(a->forward.description);
	free(a->gateway);
	*a = (struct adhoc){ .gateway = NULL };
}
