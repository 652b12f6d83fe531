/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/memory_json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "portleased-state-1"

/* ---- print ------------------------------------------------------------------------------------
 */

static json_t *
address_json(const struct netaddr *a)
{
	char text[NETADDR_STRLEN];

	return json_string(netaddr_print(a, text));
}

static json_t *
link_json(bool known, const uint8_t a[6])
{
	char text[18];

	if (!known)
		return json_null();
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4],
	    a[5]);
	return json_string(text);
}

static json_t *
epoch_json(const struct memory_gateway *g, unsigned i)
{
	if (!g->has_epoch[i])
		return json_null();
	return json_pack(
	    "{sI sI}", "value", (json_int_t)g->epoch[i], "at", (json_int_t)g->epoch_at[i]);
}

static json_t *
gateway_json(const struct memory_gateway *g)
{
	return json_pack("{ss ss ss so so so ss sb so so}", "gateway", g->gateway, "interface",
	    g->interface, "family", family_name(g->family), "address", address_json(&g->address),
	    "local_address", address_json(&g->local), "link_address",
	    link_json(g->has_link_address, g->link_address), "mapper", mapper_name(g->mapper),
	    "pcp_spoken", g->pcp_spoken, "pcp_epoch", epoch_json(g, 0), "nat_pmp_epoch",
	    epoch_json(g, 1));
}

static json_t *
mapping_json(const struct memory_mapping *m)
{
	return json_pack("{ss ss ss ss so so so ss ss so si si so si so sI}", "forward", m->forward,
	    "gateway", m->gateway, "interface", m->interface, "family", family_name(m->family),
	    "address", address_json(&m->address), "local_address", address_json(&m->local),
	    "link_address", link_json(m->has_link_address, m->link_address), "mapper",
	    mapper_name(m->mapper), "protocol", protocol_name(m->protocol), "internal_address",
	    m->has_internal ? address_json(&m->internal) : json_null(), "internal_port",
	    (int)m->internal_port, "external_port", (int)m->external_port, "wanted_port",
	    m->has_wish ? json_integer(m->wish) : json_null(), "ports", (int)m->count,
	    "external_address", address_json(&m->external), "expires", (json_int_t)m->expires);
}

struct lists {
	json_t *gateways, *mappings;
};

static void
add_gateway(void *ctx, const struct memory_gateway *g)
{
	struct lists *l = ctx;

	(void)json_array_append_new(l->gateways, gateway_json(g));
}

static void
add_mapping(void *ctx, const struct memory_mapping *m)
{
	struct lists *l = ctx;

	if (m->mapper != MAPPER_NONE)
		(void)json_array_append_new(l->mappings, mapping_json(m));
}

char *
memory_json_print(const struct engine *e, mstime now, const char *boot, size_t *n)
{
	static const struct memory_listener listener = { add_gateway, add_mapping };
	struct lists lists = { json_array(), json_array() };
	json_t *document;
	char *text = NULL;

	engine_memory_each(e, now, &listener, &lists);
	document = json_pack("{ss ss so so}", "format", FORMAT, "boot_id", boot, "gateways",
	    lists.gateways, "mappings", lists.mappings);
	if (document != NULL)
		text = json_dumps(document, JSON_INDENT(1));
	json_decref(document);
	if (text != NULL)
		*n = strlen(text);
	return text;
}

/* ---- parse ------------------------------------------------------------------------------------
 */

static bool
get_name(const json_t *o, const char *key, char *to, size_t room)
{
	const char *text = json_string_value(json_object_get(o, key));

	if (text == NULL || strlen(text) >= room)
		return false;
	memcpy(to, text, strlen(text) + 1);
	return true;
}

static bool
get_address(const json_t *o, const char *key, struct netaddr *to)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL && netaddr_parse(text, to);
}

static bool
get_number(const json_t *o, const char *key, json_int_t low, json_int_t high, json_int_t *to)
{
	const json_t *value = json_object_get(o, key);

	if (!json_is_integer(value) || json_integer_value(value) < low ||
	    json_integer_value(value) > high)
		return false;
	*to = json_integer_value(value);
	return true;
}

static bool
get_family(const json_t *o, enum family *to)
{
	const char *text = json_string_value(json_object_get(o, "family"));

	if (text == NULL || (strcmp(text, "ipv4") != 0 && strcmp(text, "ipv6") != 0))
		return false;
	*to = strcmp(text, "ipv6") == 0 ? FAMILY_IPV6 : FAMILY_IPV4;
	return true;
}

static bool
get_mapper(const json_t *o, enum mapper *to)
{
	const char *text = json_string_value(json_object_get(o, "mapper"));

	if (text == NULL)
		return false;
	for (int i = MAPPER_PCP; i <= MAPPER_UPNP; i++)
		if (strcmp(text, mapper_name((enum mapper)i)) == 0) {
			*to = (enum mapper)i;
			return true;
		}
	return false;
}

/* False: there is none. */
static bool
get_link(const json_t *o, uint8_t to[6])
{
	const char *text = json_string_value(json_object_get(o, "link_address"));
	unsigned b[6];

	if (text == NULL || strlen(text) != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		to[i] = (uint8_t)b[i];
	return true;
}

static void
get_epoch(const json_t *o, const char *key, mstime now, struct memory_gateway *g, unsigned i)
{
	const json_t *epoch = json_object_get(o, key);
	json_int_t value, at;

	if (!get_number(epoch, "value", 0, UINT32_MAX, &value) ||
	    !get_number(epoch, "at", 0, now, &at))
		return;
	g->has_epoch[i] = true;
	g->epoch[i] = (uint32_t)value;
	g->epoch_at[i] = at;
}

static bool
parse_gateway(const json_t *o, mstime now, bool same_boot, struct memory_gateway *g)
{
	*g = (struct memory_gateway){ .mapper = MAPPER_NONE };
	if (!get_name(o, "gateway", g->gateway, sizeof(g->gateway)) ||
	    !get_name(o, "interface", g->interface, sizeof(g->interface)) ||
	    !get_family(o, &g->family) || !get_address(o, "address", &g->address) ||
	    !get_address(o, "local_address", &g->local) || !get_mapper(o, &g->mapper))
		return false;
	g->has_link_address = get_link(o, g->link_address);
	g->pcp_spoken = json_is_true(json_object_get(o, "pcp_spoken"));
	if (same_boot) {
		get_epoch(o, "pcp_epoch", now, g, 0);
		get_epoch(o, "nat_pmp_epoch", now, g, 1);
	}
	return true;
}

static bool
parse_mapping(const json_t *o, mstime now, bool same_boot, struct memory_mapping *m)
{
	const char *protocol = json_string_value(json_object_get(o, "protocol"));
	json_int_t internal, external, ports, expires, wish;

	*m = (struct memory_mapping){ .protocol = PROTOCOL_TCP };
	if (!get_name(o, "forward", m->forward, sizeof(m->forward)) ||
	    !get_name(o, "gateway", m->gateway, sizeof(m->gateway)) ||
	    !get_name(o, "interface", m->interface, sizeof(m->interface)) ||
	    !get_family(o, &m->family) || !get_address(o, "address", &m->address) ||
	    !get_address(o, "local_address", &m->local) || !get_mapper(o, &m->mapper) ||
	    protocol == NULL || (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0) ||
	    !get_number(o, "internal_port", 0, 65535, &internal) ||
	    !get_number(o, "external_port", 1, 65535, &external) ||
	    !get_number(o, "expires", 0, INT64_MAX, &expires))
		return false;
	m->protocol = strcmp(protocol, "udp") == 0 ? PROTOCOL_UDP : PROTOCOL_TCP;
	m->internal_port = (uint16_t)internal;
	m->external_port = (uint16_t)external;
	m->count = get_number(o, "ports", 1, 65535, &ports) ? (uint16_t)ports : 1;
	m->has_internal = get_address(o, "internal_address", &m->internal);
	m->has_link_address = get_link(o, m->link_address);
	m->has_wish = get_number(o, "wanted_port", 0, 65535, &wish);
	m->wish = m->has_wish ? (uint16_t)wish : 0;
	if (!get_address(o, "external_address", &m->external))
		m->external = netaddr_any4;
	/* No lease lasts longer than a day from now; of another boot nothing is known. */
	m->expires = !same_boot ? 0 : expires > now + 86400000 ? now + 86400000 : expires;
	return true;
}

bool
memory_json_parse(struct engine *e, mstime now, const char *boot, const char *text, size_t n)
{
	json_t *document = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const char *format = json_string_value(json_object_get(document, "format"));
	const char *id = json_string_value(json_object_get(document, "boot_id"));
	bool same_boot = id != NULL && *boot != '\0' && strcmp(id, boot) == 0;
	const json_t *entry;
	size_t i;

	if (format == NULL || strcmp(format, FORMAT) != 0) {
		json_decref(document);
		return false;
	}
	json_array_foreach(json_object_get(document, "gateways"), i, entry)
	{
		struct memory_gateway g;

		if (parse_gateway(entry, now, same_boot, &g))
			(void)engine_remember_gateway(e, now, &g);
	}
	json_array_foreach(json_object_get(document, "mappings"), i, entry)
	{
		struct memory_mapping m;

		if (parse_mapping(entry, now, same_boot, &m))
			(void)engine_remember_mapping(e, now, &m);
	}
	json_decref(document);
	return true;
}
