/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <stdlib.h>
#include <string.h>

/* Hands over what a pointer owns. */
#define TAKE(pointer) take((void **)(void *)&(pointer))

static void *
take(void **pointer)
{
	void *taken = *pointer;

	*pointer = NULL;
	return taken;
}

static bool
is_address(const struct section *s, enum option o, const struct netaddr *a)
{
	return section_has(s, o) && !netaddr_is_any(a);
}

static void
build_gateway(struct reader *r, struct section *s, struct conf_gateway *out)
{
	static const uint8_t zero[6];
	struct mapper_list m = conf_mappers(r, s);

	*out = (struct conf_gateway){ .name = TAKE(s->name),
		.has_address = is_address(s, OPTION_ADDRESS, &s->address),
		.address = s->address,
		.interface = TAKE(s->text),
		.has_source = is_address(s, OPTION_SOURCE_ADDRESS, &s->source),
		.source = s->source,
		.has_link_address = memcmp(s->link_address, zero, sizeof(zero)) != 0,
		.n_mappers = m.n,
		.lifetime = conf_number(r, s, OPTION_LIFETIME),
		.probe_interval = conf_number(r, s, OPTION_PROBE_INTERVAL) };
	memcpy(out->link_address, s->link_address, sizeof(out->link_address));
	memcpy(out->mappers, m.list, sizeof(out->mappers));
}

/* Only what was written costs memory. */
static bool
build_forward(struct reader *r, struct section *s, struct conf *conf, struct conf_forward *out)
{
	*out = (struct conf_forward){ .gateway = &conf->gateways[s->gateway],
		.tcp = conf_has_protocol(s, PROTOCOL_TCP),
		.udp = conf_has_protocol(s, PROTOCOL_UDP),
		.ipv4 = conf_has_family(s, FAMILY_IPV4),
		.ipv6 = conf_has_family(s, FAMILY_IPV6),
		.assigned = s->assigned,
		.require = s->numbers[OPTION_EXTERNAL_POLICY] != 0,
		.independent = s->numbers[OPTION_PAIRING] != 0,
		.release_on_exit = conf_number(r, s, OPTION_RELEASE_ON_EXIT) != 0,
		.on_demand = conf_number(r, s, OPTION_ON_DEMAND) != 0,
		.enabled = conf_number(r, s, OPTION_ENABLED) != 0,
		.external = s->wish,
		.internal_port = s->internal.first,
		.count = s->internal.count,
		.external_port = s->wish == EXTERNAL_FIXED ? s->external.first : 0,
		.lifetime = conf_number(r, s, OPTION_LIFETIME),
		.line = s->line,
		.file = conf->files[s->file],
		.description = TAKE(s->more) };
	if (section_has(s, OPTION_ON_CHANGE)) {
		out->on_change = TAKE(s->on_change);
		s->n_on_change = 0;
	}
	if (s->n_remotes > 0) {
		size_t size = s->n_remotes * sizeof(*out->remotes);
		struct netprefix *exact = malloc(size);

		if (exact == NULL)
			return false;
		memcpy(exact, s->remotes, size);
		out->remotes = exact;
		out->n_remotes = (uint16_t)s->n_remotes;
	}
	if (is_address(s, OPTION_INTERNAL_ADDRESS, &s->address)) {
		out->internal = malloc(sizeof(*out->internal));
		if (out->internal == NULL)
			return false;
		*out->internal = s->address;
	}
	return true;
}

static void
build_global(struct reader *r, struct conf *conf)
{
	struct section *g = &r->global;

	conf->max_renew_interval = conf_number(r, g, OPTION_MAX_RENEW_INTERVAL);
	conf->recovery_delay = conf_number(r, g, OPTION_RECOVERY_DELAY);
	conf->release_timeout = conf_number(r, g, OPTION_RELEASE_TIMEOUT);
	conf->ready_timeout = conf_number(r, g, OPTION_READY_TIMEOUT);
	conf->hook_timeout = conf_number(r, g, OPTION_HOOK_TIMEOUT);
	conf->settle = conf_number(r, g, OPTION_SETTLE);
	conf->release_on_exit = conf_number(r, g, OPTION_RELEASE_ON_EXIT) != 0;
	conf->log_level = (int)conf_number(r, g, OPTION_LOG_LEVEL);
	conf->has_log_level = section_has(g, OPTION_LOG_LEVEL);
	if (g->n_on_change > 0) {
		conf->on_change = TAKE(g->on_change);
		g->n_on_change = 0;
	}
	conf->control_group = TAKE(g->text);
	conf->has_control_gid = conf->control_group != NULL;
	conf->control_gid = conf->has_control_gid ? g->gid : 0;
	conf->metrics_listen = TAKE(g->more);
}

struct conf *
conf_build(struct reader *r)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	size_t i, names = 0;
	char *at;

	if (conf == NULL)
		return NULL;
	conf->files = r->files;
	conf->n_files = r->n_files;
	r->files = NULL;
	r->n_files = 0;
	conf->gateways = calloc(r->n_gateways, sizeof(*conf->gateways));
	conf->forwards = calloc(r->n_forwards + 1, sizeof(*conf->forwards));
	if (conf->gateways == NULL || conf->forwards == NULL) {
		conf_free(conf);
		return NULL;
	}
	for (; conf->n_gateways < r->n_gateways; conf->n_gateways++)
		build_gateway(r, &r->gateways[conf->n_gateways], &conf->gateways[conf->n_gateways]);
	for (i = 0; i < r->n_forwards; i++)
		names += strlen(r->forwards[i].name) + 1;
	conf->names = at = malloc(names + 1);
	for (i = 0; i < r->n_forwards; i++) {
		struct conf_forward *f = &conf->forwards[i];
		bool built = at != NULL && build_forward(r, &r->forwards[i], conf, f);

		if (at != NULL) {
			at = stpcpy(f->name = at, r->forwards[i].name) + 1;
			conf->n_forwards++;
		}
		if (!built) {
			conf_free(conf);
			return NULL;
		}
	}
	build_global(r, conf);
	return conf;
}
