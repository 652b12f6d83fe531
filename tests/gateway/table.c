/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "log.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

static bool
is_own(const struct mapping *m, const struct ask *ask)
{
	return memcmp(m->client, ask->client, 16) == 0 && m->proto == ask->proto &&
	    m->internal == ask->internal && m->ext6 == ask->ext6;
}

/* A pure IPv6 firewall: nothing is translated. */
static bool
is_pinhole(const struct gw *gw, const struct ask *ask)
{
	return ask->ext6 && addr_is_wildcard(&gw->set.external6);
}

void
external_address(const struct gw *gw, const struct ask *ask, uint8_t out[16])
{
	if (is_pinhole(gw, ask))
		memcpy(out, ask->client, 16);
	else
		memcpy(out, ask->ext6 ? gw->set.external6.ip : gw->set.external.ip, 16);
}

/* A port is kept for one client in both protocols (RFC 6886 section 3.3). */
static bool
is_taken(const struct gw *gw, const struct ask *ask, int64_t port, const struct mapping *except)
{
	int64_t end = port + (ask->count > 1 ? ask->count : 1);

	if (port < gw->set.port_lo || end - 1 > gw->set.port_hi || port == 0)
		return true;
	if (port <= 5351 && end > 5350) /* RFC 6887 section 11.3 */
		return true;
	for (size_t i = 0; i < gw->table.n; i++) {
		const struct mapping *m = &gw->table.rows[i];

		if (m == except || m->ext6 != ask->ext6 || m->external >= end ||
		    m->external + m->count <= port)
			continue;
		if (m->proto == ask->proto || memcmp(m->client, ask->client, 16) != 0)
			return true;
	}
	return false;
}

/* 0: none left. */
static uint16_t
first_free(const struct gw *gw, const struct ask *ask, int64_t from, const struct mapping *except)
{
	int64_t span = gw->set.port_hi - gw->set.port_lo + 1;

	if (from < gw->set.port_lo || from > gw->set.port_hi)
		from = gw->set.port_lo;
	for (int64_t i = 0; i < span; i++) {
		int64_t port = gw->set.port_lo + (from - gw->set.port_lo + i) % span;

		if (!is_taken(gw, ask, port, except))
			return (uint16_t)port;
	}
	return 0;
}

static uint16_t
next_of_list(struct gw *gw, const struct ask *ask)
{
	for (size_t i = 0; i < gw->set.n_ports; i++) {
		uint16_t port = gw->set.ports[gw->table.next_port++ % gw->set.n_ports];

		if (!is_taken(gw, ask, port, NULL))
			return port;
	}
	return 0;
}

static uint16_t
random_port(struct gw *gw, const struct ask *ask)
{
	int64_t lo = gw->set.port_lo > 49152 || gw->set.port_hi <= 49152 ? gw->set.port_lo : 49152;
	int64_t port = lo + (int64_t)random_below(gw, (uint64_t)(gw->set.port_hi - lo + 1));

	return first_free(gw, ask, port, NULL);
}

static uint16_t
fresh_port(struct gw *gw, const struct ask *ask, enum policy policy, const struct mapping *row)
{
	uint16_t wish = ask->suggested != 0 ? ask->suggested : ask->internal;

	if (ask->assigned || gw->set.proton)
		policy = gw->set.n_ports > 0 ? POLICY_LIST : POLICY_RANDOM;
	switch (policy) {
	case POLICY_LIST:
		return next_of_list(gw, ask);
	case POLICY_RANDOM:
		return random_port(gw, ask);
	case POLICY_ANOTHER:
	case POLICY_NEVER:
		return first_free(gw, ask, wish + 1, NULL);
	case POLICY_STICKY:
	case POLICY_ECHO:
	case POLICY_PLUS1:
		break;
	}
	return first_free(gw, ask, wish, row);
}

/* The port of the reply; 0: none can be had. */
static uint16_t
choose_port(struct gw *gw, const struct ask *ask, const struct mapping *row)
{
	enum policy policy = (enum policy)gw->set.policy;
	int64_t rotate = gw->set.rotate;

	if (is_pinhole(gw, ask))
		return ask->internal;
	if (row == NULL)
		return fresh_port(gw, ask, policy, NULL);
	if (rotate > 0 && (row->requests + 1) % rotate == 0)
		return policy == POLICY_LIST || policy == POLICY_RANDOM || ask->assigned
		    ? fresh_port(gw, ask, policy, row)
		    : first_free(gw, ask, row->external + 1, NULL);
	if (policy == POLICY_NEVER || (policy == POLICY_ECHO && ask->suggested != 0))
		return fresh_port(gw, ask, policy, row);
	return row->external;
}

/* miniupnpd looks a rule up by its external port, beginning at the suggested one. */
static struct mapping *
find_plus1(struct gw *gw, const struct ask *ask)
{
	struct mapping *own = NULL;

	for (uint32_t port = ask->suggested; port <= 65535; port++) {
		bool taken = false;

		for (size_t i = 0; i < gw->table.n; i++) {
			struct mapping *m = &gw->table.rows[i];

			if (is_own(m, ask) && (ask->suggested == 0 || m->external == port)) {
				own = m;
				break;
			}
			taken = taken || m->external == port;
		}
		if (own != NULL || !taken)
			break;
	}
	return own;
}

struct mapping *
table_find(struct gw *gw, const struct ask *ask)
{
	if (gw->set.policy == POLICY_PLUS1)
		return find_plus1(gw, ask);
	for (size_t i = 0; i < gw->table.n; i++) {
		if (is_own(&gw->table.rows[i], ask))
			return &gw->table.rows[i];
	}
	return NULL;
}

static uint32_t
grant_lifetime(const struct gw *gw, const struct ask *ask)
{
	int64_t life = ask->lifetime;

	if (gw->set.grant != OFF)
		return (uint32_t)gw->set.grant;
	if (gw->set.proton)
		return 60; /* whatever was asked */
	if (life < gw->set.life_min)
		life = gw->set.life_min;
	if (life > gw->set.life_max)
		life = gw->set.life_max;
	return (uint32_t)life;
}

static struct mapping *
add_row(struct gw *gw, const struct ask *ask)
{
	struct table *t = &gw->table;
	struct mapping *m;

	if (t->n == t->cap) {
		t->cap = t->cap == 0 ? 64 : t->cap * 2;
		t->rows = realloc(t->rows, t->cap * sizeof(*t->rows));
		if (t->rows == NULL)
			abort();
	}
	m = &t->rows[t->n++];
	memset(m, 0, sizeof(*m));
	memcpy(m->client, ask->client, 16);
	m->proto = ask->proto;
	m->internal = ask->internal;
	m->count = ask->count > 1 ? ask->count : 1;
	m->ext6 = ask->ext6;
	m->expires = NEVER;
	return m;
}

static bool
as_said(const struct gw *gw, const struct ask *ask, uint16_t port)
{
	static const uint8_t zero[16];
	uint8_t ext[16];

	external_address(gw, ask, ext);
	if (memcmp(ask->ext + (ip_is_v4(ask->ext) ? 12 : 0), zero, ip_is_v4(ask->ext) ? 4 : 16) !=
		0 &&
	    memcmp(ask->ext, ext, 16) != 0)
		return false;
	return port == ask->suggested;
}

enum verdict
table_grant(
    struct gw *gw, const struct ask *ask, struct mapping **out, uint16_t *port, uint32_t *lifetime)
{
	struct mapping *row = table_find(gw, ask);
	uint16_t external = choose_port(gw, ask, row);
	uint32_t life = grant_lifetime(gw, ask);
	const char *change = "renew";

	if (external == 0)
		return NO_ROOM;
	if (row == NULL && gw->set.table_max != OFF && (int64_t)gw->table.n >= gw->set.table_max)
		return NO_ROOM;
	if (ask->prefer_failure && !as_said(gw, ask, external))
		return NOT_AS_SAID;
	*port = external;
	*lifetime = life;
	*out = NULL;
	if (life == 0)
		return GRANTED;
	if (row == NULL) {
		row = add_row(gw, ask);
		change = "add";
	} else {
		row->requests++;
		if (row->external != external)
			change = "move";
	}
	row->origin = ask->origin;
	row->external = external;
	external_address(gw, ask, row->ext);
	row->peer = ask->peer;
	row->local = ask->local;
	row->has_nonce = ask->nonce != NULL;
	if (ask->nonce != NULL)
		memcpy(row->nonce, ask->nonce, 12);
	if (gw->set.refresh || row->expires == NEVER) {
		row->granted = life;
		row->expires = gw->now +
		    (gw->set.entry_life != OFF ? gw->set.entry_life * 1000
					       : (int64_t)life * 1000000);
	}
	log_table(gw, change, row, NULL);
	*out = row;
	return GRANTED;
}

void
table_delete(struct gw *gw, struct mapping *row, const char *why)
{
	struct mapping gone = *row;

	*row = gw->table.rows[--gw->table.n];
	log_table(gw, "delete", &gone, why);
}

bool
table_delete_client(struct gw *gw, const uint8_t client[16], uint8_t proto, enum origin origin)
{
	bool all = true;

	for (size_t i = gw->table.n; i-- > 0;) {
		struct mapping *m = &gw->table.rows[i];

		if (memcmp(m->client, client, 16) != 0 || (proto != 0 && m->proto != proto))
			continue;
		if (gw->set.origin_check && m->origin != origin)
			all = false;
		else
			table_delete(gw, m, "all of the client");
	}
	return all;
}

void
table_clear(struct gw *gw, const char *why)
{
	while (gw->table.n > 0)
		table_delete(gw, &gw->table.rows[gw->table.n - 1], why);
}

void
table_expire(struct gw *gw)
{
	for (size_t i = gw->table.n; i-- > 0;) {
		struct mapping gone = gw->table.rows[i];

		if (gone.expires > gw->now)
			continue;
		gw->table.rows[i] = gw->table.rows[--gw->table.n];
		log_table(gw, "expire", &gone, NULL);
	}
}

int64_t
table_next(const struct gw *gw)
{
	int64_t next = NEVER;

	for (size_t i = 0; i < gw->table.n; i++) {
		if (gw->table.rows[i].expires < next)
			next = gw->table.rows[i].expires;
	}
	return next;
}

uint32_t
mapping_left(const struct gw *gw, const struct mapping *m)
{
	int64_t left = (m->expires - gw->now + 999999) / 1000000;

	return left < 0 ? 0 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

void
mapping_print(const struct gw *gw, const struct mapping *m, struct text *t)
{
	struct addr client = { 0 }, ext = { 0 };
	char buf[ADDR_TEXT], buf2[ADDR_TEXT], buf3[ADDR_TEXT];

	memcpy(client.ip, m->client, 16);
	memcpy(ext.ip, m->ext, 16);
	text_add(t,
	    "{\"origin\":\"%s\",\"client\":\"%s\",\"protocol\":%u,\"internal\":%u,\"external\":%u,"
	    "\"external_address\":\"%s\",\"granted\":%u,\"left\":%u,\"requests\":%lld,"
	    "\"peer\":\"%s\"",
	    m->origin == ORIGIN_PCP ? "pcp" : "nat-pmp", addr_format(&client, false, buf), m->proto,
	    m->internal, m->external, addr_format(&ext, false, buf2), m->granted,
	    mapping_left(gw, m), (long long)m->requests + 1, addr_format(&m->peer, true, buf3));
	if (m->has_nonce) {
		text_add(t, ",\"nonce\":\"");
		text_add_hex(t, m->nonce, sizeof(m->nonce));
		text_add(t, "\"");
	}
	if (m->count > 1)
		text_add(t, ",\"ports\":%u", m->count);
	if (m->filters > 0)
		text_add(t, ",\"filters\":%lld", (long long)m->filters);
	if (m->description_len > 0) {
		text_add(t, ",\"description\":");
		text_add_json(t, m->description, m->description_len);
	}
	text_add(t, "}");
}

void
table_print(const struct gw *gw, struct text *t)
{
	text_add(t, "{\"epoch\":%u,\"mappings\":[", epoch_now(gw));
	for (size_t i = 0; i < gw->table.n; i++) {
		text_add(t, "%s", i > 0 ? "," : "");
		mapping_print(gw, &gw->table.rows[i], t);
	}
	text_add(t, "]}");
}

void
table_free(struct table *t)
{
	free(t->rows);
	memset(t, 0, sizeof(*t));
}
