/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/netaddr.h"
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

const char *
row_text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

bool
row_number(const json_t *row, const char *key, long *out)
{
	const json_t *value = json_object_get(row, key);

	if (!json_is_integer(value))
		return false;
	*out = (long)json_integer_value(value);
	return true;
}

static bool
same(const json_t *a, const json_t *b, const char *key)
{
	const char *x = row_text(a, key), *y = row_text(b, key);

	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

static bool
same_unit(const json_t *a, const json_t *b)
{
	return same(a, b, "forward") && same(a, b, "protocol") && same(a, b, "family");
}

bool
unit_begins(const json_t *mappings, size_t i)
{
	return i == 0 || !same_unit(json_array_get(mappings, i), json_array_get(mappings, i - 1));
}

bool
unit_all_active(const json_t *mappings)
{
	const json_t *row;
	size_t i;

	json_array_foreach(mappings, i, row)
	{
		const char *state = row_text(row, "state");

		if (state == NULL || strcmp(state, "active") != 0)
			return false;
	}
	return json_array_size(mappings) > 0;
}

bool
unit_all_addressed(const json_t *mappings)
{
	const json_t *row;
	size_t i;

	json_array_foreach(
	    mappings, i, row) if (row_text(row, "external_address") == NULL) return false;
	return true;
}

void
unit_ports(const json_t *mappings, const json_t *row, const char *key, char *room, size_t n)
{
	const json_t *each;
	size_t i, used = 0;
	long next = 0, first = 0;

	room[0] = '\0';
	json_array_foreach(mappings, i, each)
	{
		long port, ports = 1;

		if (!same_unit(row, each) || !row_number(each, key, &port))
			continue;
		(void)row_number(each, "ports", &ports);
		/* Rows that differ in something else may still go on counting. */
		if (used > 0 && port == next) {
			char *cut = strrchr(room, ',');

			used = cut != NULL ? (size_t)(cut + 1 - room) : 0;
		} else {
			if (used > 0 && used + 1 < n)
				room[used++] = ',';
			first = port;
		}
		next = port + ports;
		used += (size_t)snprintf(
		    room + used, n - used, next - first > 1 ? "%ld-%ld" : "%ld", first, next - 1);
		if (used + 16 > n)
			return;
	}
}

const char *
unit_endpoint(const char *address, const char *ports, char *room, size_t n)
{
	bool v6 = address != NULL && strchr(address, ':') != NULL;

	snprintf(room, n, v6 ? "[%s]:%s" : "%s:%s", address != NULL ? address : "?",
	    *ports != '\0' ? ports : "?");
	return room;
}

void
unit_print(const json_t *mappings)
{
	const json_t *row;
	size_t i;
	char ports[1024], room[1200];

	json_array_foreach(mappings, i, row)
	{
		if (!unit_begins(mappings, i))
			continue;
		unit_ports(mappings, row, "external_port", ports, sizeof(ports));
		puts(unit_endpoint(row_text(row, "external_address"), ports, room, sizeof(room)));
	}
	fflush(stdout);
}

/* ---- for COMMAND ---------------------------------------------------------------------------- */

static void export(const char *name, const char *suffix, const char *value)
{
	char variable[64];

	snprintf(variable, sizeof(variable), "PORTLEASE_%s%s", name, suffix);
	if (value != NULL && *value != '\0')
		(void)setenv(variable, value, 1);
	else
		(void)unsetenv(variable);
}

static const json_t *
gateway_of(const json_t *gateways, const json_t *row)
{
	const char *name = row_text(row, "gateway");
	const json_t *g;
	size_t i;

	json_array_foreach(gateways, i, g)
	{
		const char *each = row_text(g, "name");

		if (name != NULL && each != NULL && strcmp(name, each) == 0 &&
		    same(g, row, "family"))
			return g;
	}
	return NULL;
}

static void
export_unit(const json_t *mappings, const json_t *row, const json_t *gateways, const char *suffix)
{
	const json_t *gateway = gateway_of(gateways, row);
	const char *external = row_text(row, "external_address");
	char ports[1024], lifetime[24] = "";
	struct netaddr a;
	long seconds;

	export("FORWARD", suffix, row_text(row, "forward"));
	export("PROTOCOL", suffix, row_text(row, "protocol"));
	export("FAMILY", suffix, row_text(row, "family"));
	export("INTERNAL_ADDRESS", suffix, row_text(row, "internal_address"));
	unit_ports(mappings, row, "internal_port", ports, sizeof(ports));
	export("INTERNAL_PORT", suffix, ports);
	export("EXTERNAL_ADDRESS", suffix, external);
	unit_ports(mappings, row, "external_port", ports, sizeof(ports));
	export("EXTERNAL_PORT", suffix, ports);
	export("GATEWAY", suffix, row_text(row, "gateway"));
	export("GATEWAY_ADDRESS", suffix, row_text(gateway, "address"));
	export("INTERFACE", suffix, row_text(gateway, "interface"));
	export("MAPPER", suffix, row_text(row, "mapper"));
	if (row_number(row, "lifetime", &seconds))
		snprintf(lifetime, sizeof(lifetime), "%ld", seconds);
	export("LIFETIME", suffix, lifetime);
	export("EXTERNAL_CLASS", suffix,
	    external != NULL && netaddr_parse(external, &a)
		? netaddr_class_name(netaddr_classify(&a))
		: NULL);
}

/* The first unit without suffix, then every one with its own: as in the env file. */
void
unit_export(const json_t *mappings, const json_t *gateways)
{
	const json_t *row;
	size_t i;

	export("EVENT", "", "mapped");
	json_array_foreach(mappings, i, row)
	{
		const char *protocol = row_text(row, "protocol"), *family = row_text(row, "family");
		bool udp = protocol != NULL && strcmp(protocol, "udp") == 0;
		bool v6 = family != NULL && strcmp(family, "ipv6") == 0;

		if (!unit_begins(mappings, i))
			continue;
		if (i == 0)
			export_unit(mappings, row, gateways, "");
		export_unit(mappings, row, gateways,
		    udp ? (v6 ? "_UDP6" : "_UDP") : (v6 ? "_TCP6" : "_TCP"));
	}
}
