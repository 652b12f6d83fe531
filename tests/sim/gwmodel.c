/* SPDX-License-Identifier: ISC */
#include "gwmodel.h"

#include <string.h>

uint32_t
gw_epoch(const struct gw_box *b, mstime now)
{
	int64_t up = now - b->boot;

	if (b->frozen)
		return b->frozen_at;
	up += up / 1000 * b->drift_ppm / 1000;
	return b->epoch_base + (uint32_t)(up / 1000);
}

void
gw_restart(struct gw_box *b, mstime now, bool keep_epoch)
{
	memset(b->entries, 0, sizeof b->entries);
	if (keep_epoch)
		return;
	b->before = gw_epoch(b, now);
	b->epoch_base = b->restart_step ? gw_epoch(b, now) + b->restart_step : 0;
	b->boot = now;
}

struct gw_entry *
gw_find(struct gw_box *b, mstime now, uint32_t client, uint8_t protocol, uint16_t internal)
{
	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		struct gw_entry *e = &b->entries[i];
		if (e->used && e->until <= now)
			e->used = false;
		if (e->used && e->client == client && e->protocol == protocol &&
		    e->internal == internal)
			return e;
	}
	return NULL;
}

/* ---- the table -------------------------------------------------------------------------- */

static bool
taken(const struct gw_box *b, mstime now, uint8_t protocol, uint16_t external)
{
	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		const struct gw_entry *e = &b->entries[i];
		if (e->used && e->until > now && e->protocol == protocol && e->external == external)
			return true;
	}
	return false;
}

static uint16_t
choose_port(struct gw_box *b, mstime now, uint8_t protocol, uint16_t internal, uint16_t asked)
{
	uint16_t p = asked ? asked : internal;

	if (b->ipv6 && !b->translates)
		return internal;
	if (internal == 0) { /* 1 is the way to say that any will do */
		p = asked > 1 ? asked : (uint16_t)(30000 + rng_below(&b->rng, 30000));
		while (taken(b, now, protocol, p))
			p++;
		return p;
	}
	switch (b->ports) {
	case PORTS_AS_ASKED:
	case PORTS_LIST:
		if (b->ports == PORTS_LIST && (p >> 4) % 4 != 1)
			p = (uint16_t)((p & ~0x30u) | 0x10); /* */
		break;
	case PORTS_PLUS_ONE:
		if (!asked || p == internal)
			p = (uint16_t)(p + 1); /* somebody else has it (F-04) */
		break;
	case PORTS_RANDOM:
		if (!asked || p < 20000) /* a port it gave itself is given again */
			p = (uint16_t)(20000 + rng_below(&b->rng, 40000));
		break;
	}
	while (taken(b, now, protocol, p))
		p = p >= 65000 ? 1024 : (uint16_t)(p + 1);
	return p;
}

static uint32_t
clamp_life(const struct gw_box *b, uint32_t asked)
{
	if (asked < b->min_life)
		return b->min_life;
	return asked > b->max_life ? b->max_life : asked;
}

static unsigned
entries_used(const struct gw_box *b, mstime now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GW_ENTRIES; i++)
		n += b->entries[i].used && b->entries[i].until > now;
	return n;
}

enum verdict { DONE, NO_ROOM, NOT_YOURS, OTHER_PORT };

/* So many ports in a row from `base` on that nobody has. */
static bool
row_is_free(const struct gw_box *b, mstime now, uint8_t protocol, uint16_t base, uint16_t n)
{
	/* behind a firewall each address has ports of its own */
	for (uint16_t i = 0; i < n && (!b->ipv6 || b->translates); i++)
		if (base + n > 65536 || taken(b, now, protocol, (uint16_t)(base + i)))
			return false;
	return true;
}

static struct gw_entry *
free_entry(struct gw_box *b, mstime now)
{
	for (unsigned i = 0; i < GW_ENTRIES; i++)
		if (!b->entries[i].used || b->entries[i].until <= now) {
			b->entries[i].used = false;
			return &b->entries[i];
		}
	return NULL;
}

/* How many of the ports asked for can be had: as the box likes, and none that is mapped. */
static uint16_t
set_size(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q)
{
	uint16_t n = q->set && b->sets == SETS_FEWER ? (uint16_t)(q->set - 1) : q->set;

	if (q->set == 0 || b->sets == SETS_IGNORED)
		return 1;
	for (uint16_t i = 1; i < n; i++)
		if (gw_find(b, now, client, q->protocol, (uint16_t)(q->internal + i))) {
			b->overlaps++;
			return i;
		}
	return n;
}

static enum verdict
create(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q)
{
	uint16_t n = set_size(b, now, client, q);
	uint16_t external;

	if (b->full || entries_used(b, now) + n > b->table)
		return NO_ROOM;
	external = choose_port(b, now, q->protocol, q->internal, q->external);
	for (int tries = 0; !row_is_free(b, now, q->protocol, external, n); tries++) {
		if (tries > 1000)
			return NO_ROOM;
		external = external >= 65000 ? 1024 : (uint16_t)(external + 1);
	}
	if (q->prefer_failure && b->prefers_failure && external != q->external) {
		b->failures_preferred++;
		return OTHER_PORT;
	}
	b->sets_made += n > 1;
	b->sets_cut += n > 1 && n < q->set;
	for (uint16_t i = 0; i < n; i++) {
		struct gw_entry *e = free_entry(b, now);
		if (!e)
			return NO_ROOM;
		*e = (struct gw_entry){ .used = true,
			.client = client,
			.protocol = q->protocol,
			.internal = (uint16_t)(q->internal + i),
			.external = (uint16_t)(external + i),
			.set = n > 1 ? n : 0,
			.first = q->internal,
			.until = now + 1 };
	}
	return DONE;
}

static bool
belongs(const struct gw_entry *e, const struct gw_entry *to)
{
	return e->client == to->client && e->protocol == to->protocol &&
	    (e == to || (to->set && e->set == to->set && e->first == to->first));
}

/* P-108: without PORT_SET one port of a set goes, and the others stay. */
static void
take_out(struct gw_box *b, const struct gw_request *q, struct gw_entry *e, struct gw_outcome *out)
{
	const struct gw_entry gone = *e;

	e->used = false;
	for (unsigned i = 0; i < GW_ENTRIES && q->set; i++)
		if (b->entries[i].used && belongs(&b->entries[i], &gone))
			b->entries[i].used = false;
	out->deleted = true;
}

static void
prolong(struct gw_box *b, mstime now, const struct gw_request *q, struct gw_entry *e,
    struct gw_outcome *out)
{
	bool pcp = q->version == 2;

	/* by another protocol, or another nonce: the set is one no more */
	if (!pcp || (e->pcp && memcmp(e->nonce, q->nonce, 12)))
		e->set = 0;
	for (unsigned i = 0; i < GW_ENTRIES; i++) {
		struct gw_entry *each = &b->entries[i];
		if (!each->used || !belongs(each, e))
			continue;
		each->pcp = pcp;
		if (pcp)
			memcpy(each->nonce, q->nonce, 12);
		each->until = now + (mstime)out->lifetime * 1000;
	}
	out->granted = true;
	out->lease = *e;
}

static enum verdict
map(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q,
    struct gw_outcome *out)
{
	struct gw_entry *e = gw_find(b, now, client, q->protocol, q->internal);
	bool pcp = q->version == 2;

	if (!q->internal && !b->assigns)
		return NOT_YOURS; /* F-06 */
	if (e && b->never_renews && q->lifetime) {
		out->renewal_refused = true;
		return NO_ROOM;
	}
	if (e && pcp && b->strict && memcmp(e->nonce, q->nonce, 12)) {
		out->lifetime = (uint32_t)((e->until - now + 999) / 1000);
		out->nonce_refused = true;
		return NOT_YOURS;
	}
	if (q->lifetime == 0) {
		/* NAT-PMP says success and leaves what it did not make */
		if (e && (pcp || !e->pcp || !b->strict))
			take_out(b, q, e, out);
		return DONE;
	}
	out->lifetime = clamp_life(b, q->lifetime);
	if (!e) {
		enum verdict v = create(b, now, client, q);
		if (v != DONE)
			return v;
		e = gw_find(b, now, client, q->protocol, q->internal);
	}
	prolong(b, now, q, e, out);
	return DONE;
}

static uint8_t
option_result(struct gw_box *b, const struct gw_request *q)
{
	bool none = b->options == OPTIONS_REFUSED;

	b->described += q->described && !none;
	b->descriptions_refused += q->described && none;
	b->sets_refused += q->set && (none || b->sets == SETS_REFUSED || b->sets == SETS_MALFORMED);
	if (q->options && none)
		return 5;
	if (q->set && b->sets == SETS_REFUSED)
		return 5;
	return q->set && b->sets == SETS_MALFORMED ? 6 : 0;
}

static uint8_t
map_result(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q,
    struct gw_outcome *out)
{
	if (q->third_party && b->options == OPTIONS_PROCESSED)
		client = q->third;
	switch (map(b, now, client, q, out)) {
	case DONE:
		break;
	case NO_ROOM:
		return 8;
	case NOT_YOURS:
		return 2;
	case OTHER_PORT:
		return 11; /* CANNOT_PROVIDE_EXTERNAL */
	}
	return 0;
}

struct netaddr
gw_external6(const struct gw_box *b, const struct netaddr *client)
{
	struct netaddr a = *client;

	if (b->translates)
		a.b[6] ^= 0xff;
	return a;
}

static size_t
answer_pcp(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q,
    const uint8_t *bytes, size_t n, uint8_t *o, struct gw_outcome *out)
{
	bool renews = b->echoes && gw_find(b, now, client, q->protocol, q->internal) != NULL;
	struct netaddr external;
	uint8_t result;
	size_t size;

	if (q->opcode == 0)
		return gw_put_announce(o, gw_epoch(b, now));
	result = q->client != client ? 12 : option_result(b, q);
	if (!result && b->pcp_refusal && q->lifetime)
		result = b->pcp_refusal;
	if (result == 4)
		b->mapless = now;
	if (!result)
		result = map_result(b, now, client, q, out);
	out->result = result;
	if (result) {
		out->refused = true;
		if (result == b->pcp_refusal)
			out->lifetime = b->refusal_life;
		else if (!out->nonce_refused)
			out->lifetime = result == 8 ? 30 : b->error_life_zero ? 0 : 1800;
	}
	size = gw_put_pcp_map(o, bytes, n, result, out->lifetime, gw_epoch(b, now),
	    !out->granted ? 0
		: renews  ? q->external
			  : out->lease.external,
	    b->external);
	if (b->ipv6 && out->granted) {
		memcpy(external.b, bytes + 8, 16);
		external = gw_external6(b, &external);
		memcpy(o + 44, external.b, 16);
	}
	if (!result && b->options == OPTIONS_PROCESSED)
		size = gw_echo_options(o, bytes, n);
	if (!result && out->granted && out->lease.set)
		size += gw_put_set(o + size, out->lease.set, out->lease.first);
	return size;
}

static size_t
answer_natpmp(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q, uint8_t *o,
    struct gw_outcome *out)
{
	if (q->opcode == 0) {
		out->address_told = true;
		return gw_put_address(o, 0, gw_epoch(b, now), b->external);
	}
	if (b->natpmp_refusal && q->lifetime)
		out->result = b->natpmp_refusal;
	else
		switch (map(b, now, client, q, out)) {
		case DONE:
			break;
		case NO_ROOM:
			out->result = 4;
			break;
		case NOT_YOURS:
		case OTHER_PORT: /* that is PCP's */
			out->result = 2;
			break;
		}
	out->refused = out->result != 0;
	if (out->granted && !q->internal && b->assigned_both)
		return gw_put_natpmp_map(o, q->protocol, 0, gw_epoch(b, now), out->lease.external,
		    out->lease.external, out->lifetime);
	/* servers leave port and lifetime of the request in their errors: they mean nothing */
	return gw_put_natpmp_map(o, q->protocol, out->result, gw_epoch(b, now), q->internal,
	    out->granted ? out->lease.external : q->external,
	    out->granted ? out->lifetime : q->lifetime);
}

size_t
gw_answer(struct gw_box *b, mstime now, uint32_t client, const uint8_t *bytes, size_t n, uint8_t *o,
    struct gw_outcome *out)
{
	struct gw_request q;

	memset(out, 0, sizeof *out);
	if (b->down || (b->ipv6 ? gw_parse6(bytes, n, &q) : gw_parse(bytes, n, &q)))
		return 0;
	if (q.version == 2 ? b->speaks == SPEAKS_NATPMP : b->speaks == SPEAKS_PCP)
		return gw_put_stranger(o, b->stranger, bytes, gw_epoch(b, now));
	if (q.version == 2)
		return answer_pcp(b, now, client, &q, bytes, n, o, out);
	return answer_natpmp(b, now, client, &q, o, out);
}
