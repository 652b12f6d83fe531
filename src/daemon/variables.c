/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/variables.h"

#include "os/envfile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "PORTLEASE_"
/* More than there are; a constant saves the counting. */
#define VARIABLES_MAX 24

/* A list that is being made. */
struct list {
	char **items;
	size_t n;
	bool failed;
};

static void __attribute__((format(printf, 3, 4)))
put(struct list *l, const char *name, const char *format, ...)
{
	char *value = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&value, format, args);
	va_end(args);
	if (n >= 0 && l->n < VARIABLES_MAX &&
	    asprintf(&l->items[l->n], PREFIX "%s=%s", name, value) >= 0)
		l->n++;
	else
		l->failed = true;
	if (n >= 0)
		free(value);
}

static void
put_address(struct list *l, const char *name, bool known, const struct netaddr *a)
{
	char text[NETADDR_STRLEN];

	put(l, name, "%s", known ? netaddr_print(a, text) : "");
}

/* "8080", "5000-5009", "5000,5002,5001"; "" for none. */
static void
put_ports(struct list *l, const char *name, uint16_t first, uint16_t count, const uint16_t *all)
{
	char *text, *to;

	if (first == 0) {
		put(l, name, "%s", "");
	} else if (all == NULL && count > 1) {
		put(l, name, "%u-%u", (unsigned)first, (unsigned)first + count - 1);
	} else if (all == NULL) {
		put(l, name, "%u", (unsigned)first);
	} else {
		to = text = malloc(count * sizeof("65535,"));
		for (unsigned i = 0; text != NULL && i < count; i++)
			to += sprintf(to, "%s%u", i > 0 ? "," : "", (unsigned)all[i]);
		if (text == NULL)
			l->failed = true;
		else
			put(l, name, "%s", text);
		free(text);
	}
}

static void
put_unit(struct list *l, const struct unit_view *v, const struct notice *notice)
{
	const char *mapper = mapper_name(v->mapper);

	put(l, "FORWARD", "%s", v->forward);
	put(l, "PROTOCOL", "%s", protocol_name(v->protocol));
	put(l, "FAMILY", "%s", family_name(v->family));
	put_address(l, "INTERNAL_ADDRESS", v->has_internal, &v->internal);
	put_ports(l, "INTERNAL_PORT", v->internal_port, v->ports, NULL);
	put_address(l, "EXTERNAL_ADDRESS", v->has_external, &v->external);
	put_ports(l, "EXTERNAL_PORT", v->external_port, v->ports, v->external_ports);
	if (notice != NULL) {
		const struct unit_outside *old = notice->old;

		put_address(l, "OLD_EXTERNAL_ADDRESS", old->has_external, &old->external);
		put_ports(
		    l, "OLD_EXTERNAL_PORT", old->external_port, old->ports, old->external_ports);
	}
	put(l, "GATEWAY", "%s", v->gateway);
	put_address(l, "GATEWAY_ADDRESS", v->has_gateway_address, &v->gateway_address);
	put(l, "INTERFACE", "%s", v->interface);
	put(l, "MAPPER", "%s", mapper != NULL ? mapper : "");
	if (v->lifetime > 0)
		put(l, "LIFETIME", "%u", (unsigned)v->lifetime);
	else
		put(l, "LIFETIME", "%s", "");
	put(l, "EXTERNAL_CLASS", "%s",
	    netaddr_class_name(v->has_external ? netaddr_classify(&v->external) : NETADDR_NONE));
}

char **
variables_new(const struct unit_view *v, const struct notice *notice)
{
	struct list l = { .items = calloc(VARIABLES_MAX + 1, sizeof(*l.items)) };

	if (l.items == NULL)
		return NULL;
	if (notice != NULL)
		put(&l, "EVENT", "%s", engine_event_name(notice->kind));
	put_unit(&l, v, notice);
	l.items[l.n] = NULL;
	if (!l.failed)
		return l.items;
	variables_free(l.items);
	return NULL;
}

void
variables_free(char **list)
{
	for (char **item = list; list != NULL && *item != NULL; item++)
		free(*item);
	free(list);
}

/* ---- the file ------------------------------------------------------------------------------- */

static const char *
suffix_of(const struct unit_view *v)
{
	if (v->family == FAMILY_IPV6)
		return v->protocol == PROTOCOL_UDP ? "_UDP6" : "_TCP6";
	return v->protocol == PROTOCOL_UDP ? "_UDP" : "_TCP";
}

static bool
write_unit(FILE *file, const struct unit_view *v, const char *suffix)
{
	char **list = variables_new(v, NULL);
	bool ok = list != NULL;

	for (size_t i = 0; ok && list[i] != NULL; i++) {
		char *value = strchr(list[i], '='), name[64], *line;

		*value++ = '\0';
		snprintf(name, sizeof(name), "%s%s", list[i], suffix);
		line = envfile_line(name, value);
		ok = line != NULL && fputs(line, file) >= 0;
		free(line);
	}
	variables_free(list);
	return ok;
}

char *
variables_file(const struct unit_view *const units[], size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	bool ok = file != NULL;

	if (ok && n > 0)
		ok = write_unit(file, units[0], "");
	for (size_t i = 0; ok && i < n; i++)
		ok = write_unit(file, units[i], suffix_of(units[i]));
	if (file != NULL && fclose(file) != 0)
		ok = false;
	if (ok)
		return text;
	free(text);
	return NULL;
}

struct unit_view
variables_view(const struct mapping_status *m, uint16_t ports)
{
	struct unit_view v = { .forward = m->forward,
		.gateway = m->gateway,
		.family = m->family,
		.protocol = m->protocol,
		.mapper = m->mapper,
		.has_gateway_address = m->has_gateway_address,
		.gateway_address = m->gateway_address,
		.has_internal = m->has_internal,
		.internal = m->internal,
		.ports = ports,
		.internal_port = m->internal_port };

	if (m->has_gateway_address)
		snprintf(v.interface, sizeof(v.interface), "%s", m->interface);
	if (m->state == MAPPING_ACTIVE) {
		v.up = true;
		v.has_external = m->has_external;
		v.external = m->external;
		v.external_port = m->external_port;
		v.lifetime = m->lifetime;
	}
	return v;
}
