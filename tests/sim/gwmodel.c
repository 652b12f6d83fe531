/* SPDX-License-Identifier: ISC */
#include "gwmodel.h"

#include <string.h>

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static bool
zeros(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

struct netaddr
gw_netaddr(uint32_t ipv4)
{
	struct netaddr a;

	memcpy(a.b, mapped, 12);
	put32(a.b + 12, ipv4);
	return a;
}

uint32_t
gw_ipv4(const struct netaddr *a)
{
	return get32(a->b + 12);
}

uint32_t
gw_epoch(const struct gw_box *b, mstime now)
{
	int64_t up = now - b->boot;

	if (b->frozen)
		return 0;
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

/* ---- requests --------------------------------------------------------------------------- */

static const char *
parse_pcp(const uint8_t *p, size_t n, bool ipv6, struct gw_request *out)
{
	if (n % 4)
		return "PCP request is not a multiple of 4";
	if (n > GW_PACKET_MAX)
		return "PCP request is longer than 1100";
	if (n < 24 || p[2] || p[3])
		return "PCP header is short or reserved octets are set";
	if (ipv6 == !memcmp(p + 8, mapped, 12))
		return "PCP client address is of the other family";
	out->lifetime = get32(p + 4);
	out->client = get32(p + 20);
	if (out->opcode == 0)
		return n != 24 || out->lifetime ? "ANNOUNCE request with lifetime or options"
						: NULL;
	if (out->opcode != 1)
		return "PCP opcode is neither ANNOUNCE nor MAP";
	if (n < 60 || !zeros(p + 37, 3))
		return "MAP is short or reserved octets are set";
	memcpy(out->nonce, p + 24, 12);
	out->protocol = p[36];
	out->internal = get16(p + 40);
	out->external = get16(p + 42);
	if (ipv6 == !memcmp(p + 44, mapped, 12))
		return "MAP suggests an address of the other family";
	out->external_address = get32(p + 56);
	if (out->protocol != 6 && out->protocol != 17)
		return "MAP for another protocol than TCP and UDP";
	if (!out->internal)
		return "MAP for all ports";
	if (!out->lifetime && (out->external || !zeros(p + (ipv6 ? 44 : 56), ipv6 ? 16 : 4)))
		return "PCP delete with a suggestion (erratum 3621)";
	for (size_t at = 60; at < n;) {
		size_t len = at + 4 <= n ? get16(p + at + 2) : 0xffff;
		if (at + 4 + len > n || p[at + 1])
			return "PCP option is cut or has its reserved octet set";
		out->options++;
		out->prefer_failure |= p[at] == 2;
		out->filters += p[at] == 3;
		out->described |= p[at] == 128;
		out->third_party |= p[at] == 1;
		if (p[at] == 1)
			out->third = get32(p + at + 16);
		at += 4 + (len + 3) / 4 * 4;
	}
	return NULL;
}

const char *
gw_parse(const uint8_t *p, size_t n, struct gw_request *out)
{
	memset(out, 0, sizeof *out);
	if (n < 2)
		return "request is shorter than 2 octets";
	out->version = p[0];
	out->opcode = p[1];
	if (p[0] == 2)
		return parse_pcp(p, n, false, out);
	if (p[0] != 0)
		return "neither NAT-PMP nor PCP version 2";
	if (out->opcode == 0)
		return n == 2 ? NULL : "address request is not 2 octets";
	if (out->opcode > 2)
		return "NAT-PMP opcode is unknown";
	if (n != 12 || p[2] || p[3])
		return "NAT-PMP map is not 12 octets or has reserved octets set";
	out->protocol = out->opcode == 1 ? 17 : 6;
	out->internal = get16(p + 4);
	out->external = get16(p + 6);
	out->lifetime = get32(p + 8);
	if (!out->lifetime && !out->internal)
		return "NAT-PMP delete-all (Q-063)";
	if (!out->lifetime && out->external)
		return "NAT-PMP delete with a suggestion (P-23)";
	return NULL;
}

const char *
gw_parse6(const uint8_t *p, size_t n, struct gw_request *out)
{
	memset(out, 0, sizeof *out);
	if (n < 2 || p[0] != 2)
		return "not PCP";
	out->version = p[0];
	out->opcode = p[1];
	return parse_pcp(p, n, true, out);
}

/* ---- replies ---------------------------------------------------------------------------- */

size_t
gw_put_address(uint8_t *o, uint16_t result, uint32_t epoch, uint32_t external)
{
	o[0] = 0;
	o[1] = 128;
	put16(o + 2, result);
	put32(o + 4, epoch);
	put32(o + 8, external);
	return 12;
}

size_t
gw_put_natpmp_map(uint8_t *o, uint8_t protocol, uint16_t result, uint32_t epoch, uint16_t internal,
    uint16_t external, uint32_t lifetime)
{
	o[0] = 0;
	o[1] = protocol == 17 ? 129 : 130;
	put16(o + 2, result);
	put32(o + 4, epoch);
	put16(o + 8, internal);
	put16(o + 10, external);
	put32(o + 12, lifetime);
	return 16;
}

size_t
gw_put_announce(uint8_t *o, uint32_t epoch)
{
	memset(o, 0, 24);
	o[0] = 2;
	o[1] = 128;
	put32(o + 8, epoch);
	return 24;
}

size_t
gw_put_pcp_map(uint8_t *o, const uint8_t *request, size_t n, uint8_t result, uint32_t lifetime,
    uint32_t epoch, uint16_t external, uint32_t address)
{
	memcpy(o, request, n);
	o[0] = 2;
	o[1] |= 128;
	o[2] = 0;
	o[3] = result;
	put32(o + 4, lifetime);
	put32(o + 8, epoch);
	memset(o + 12, 0, 12);
	if (result == 0 && n >= 60) {
		put16(o + 42, external);
		memcpy(o + 44, mapped, 12);
		put32(o + 56, address);
		return 60; /* options were not processed, so they are not echoed */
	}
	return n;
}

size_t
gw_put_stranger(uint8_t *o, enum gw_stranger how, const uint8_t *request, uint32_t epoch)
{
	memset(o, 0, 24);
	switch (how) {
	case STRANGER_MUTE:
		return 0;
	case STRANGER_V0_8:
	case STRANGER_V0_4:
	case STRANGER_V0_OP0:
		o[1] = how == STRANGER_V0_OP0 ? 0 : (uint8_t)(128 | request[1]);
		o[3] = 1;
		put32(o + 4, epoch);
		return how == STRANGER_V0_4 ? 4 : 8;
	case STRANGER_V2_24:
		o[0] = 2;
		o[1] = (uint8_t)(128 | request[1]);
		o[3] = 1;
		put32(o + 4, 1800);
		put32(o + 8, epoch);
		return 24;
	case STRANGER_FRAGMENT:
		o[0] = 2;
		o[1] = (uint8_t)(128 | request[1]);
		if (request[1] == 0)
			return 2;
		o[3] = 2;
		put32(o + 4, 0xa2a90000);
		put32(o + 8, epoch);
		return 12;
	}
	return 0;
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

enum verdict { DONE, FULL, NOT_YOURS };

static enum verdict
map(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q,
    struct gw_outcome *out)
{
	struct gw_entry *e = gw_find(b, now, client, q->protocol, q->internal);
	bool pcp = q->version == 2;

	if (e && pcp && b->strict && memcmp(e->nonce, q->nonce, 12)) {
		out->lifetime = (uint32_t)((e->until - now + 999) / 1000);
		out->nonce_refused = true;
		return NOT_YOURS;
	}
	if (q->lifetime == 0) {
		/* NAT-PMP says success and leaves what it did not make */
		if (e && (pcp || !e->pcp || !b->strict))
			e->used = false;
		out->deleted = e && !e->used;
		return DONE;
	}
	out->lifetime = clamp_life(b, q->lifetime);
	if (!e) {
		if (b->full || entries_used(b, now) >= b->table)
			return FULL;
		for (unsigned i = 0; i < GW_ENTRIES && !e; i++)
			if (!b->entries[i].used || b->entries[i].until <= now)
				e = &b->entries[i];
		if (!e)
			return FULL;
		e->used = false;
		e->external = choose_port(b, now, q->protocol, q->internal, q->external);
		e->client = client;
		e->protocol = q->protocol;
		e->internal = q->internal;
		memset(e->nonce, 0, 12);
	}
	e->used = true;
	e->pcp = pcp;
	if (pcp)
		memcpy(e->nonce, q->nonce, 12);
	e->until = now + (mstime)out->lifetime * 1000;
	out->granted = true;
	out->lease = *e;
	return DONE;
}

static size_t
answer_pcp(struct gw_box *b, mstime now, uint32_t client, const struct gw_request *q,
    const uint8_t *bytes, size_t n, uint8_t *o, struct gw_outcome *out)
{
	uint8_t result = 0;

	if (q->opcode == 0)
		return gw_put_announce(o, gw_epoch(b, now));
	if (q->client != client)
		result = 12;
	else if (q->options && b->options == OPTIONS_REFUSED)
		result = 5;
	else if (b->pcp_refusal && q->lifetime)
		result = b->pcp_refusal;
	else
		switch (map(b, now, client, q, out)) {
		case DONE:
			break;
		case FULL:
			result = 8;
			break;
		case NOT_YOURS:
			result = 2;
			break;
		}
	out->result = result;
	if (result) {
		out->refused = true;
		if (result == b->pcp_refusal)
			out->lifetime = b->refusal_life;
		else if (!out->nonce_refused)
			out->lifetime = result == 8 ? 30 : b->error_life_zero ? 0 : 1800;
	}
	return gw_put_pcp_map(o, bytes, n, result, out->lifetime, gw_epoch(b, now),
	    out->granted ? out->lease.external : 0, b->external);
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
		case FULL:
			out->result = 4;
			break;
		case NOT_YOURS:
			out->result = 2;
			break;
		}
	out->refused = out->result != 0;
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
	if (b->down || gw_parse(bytes, n, &q))
		return 0;
	if (q.version == 2 ? b->speaks == SPEAKS_NATPMP : b->speaks == SPEAKS_PCP)
		return gw_put_stranger(o, b->stranger, bytes, gw_epoch(b, now));
	if (q.version == 2)
		return answer_pcp(b, now, client, &q, bytes, n, o, out);
	return answer_natpmp(b, now, client, &q, o, out);
}
