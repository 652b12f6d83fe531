/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "wire.h"

#include <string.h>

void
wire_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
wire_put32(uint8_t *p, uint32_t v)
{
	wire_put16(p, (uint16_t)(v >> 16));
	wire_put16(p + 2, (uint16_t)v);
}

uint16_t
wire_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
wire_get32(const uint8_t *p)
{
	return (uint32_t)wire_get16(p) << 16 | wire_get16(p + 2);
}

static void
decode_natpmp(const uint8_t *b, size_t len, struct message *m)
{
	bool map = m->op == NATPMP_MAP_UDP || m->op == NATPMP_MAP_TCP;

	if (map)
		m->proto = m->op == NATPMP_MAP_UDP ? PROTO_UDP : PROTO_TCP;
	if (!m->reply) {
		if (map && len >= NATPMP_MAP_SIZE) {
			m->has_map = m->has_lifetime = true;
			m->internal = wire_get16(b + 4);
			m->external = wire_get16(b + 6);
			m->lifetime = wire_get32(b + 8);
		}
		return;
	}
	if (len >= 4) {
		m->has_result = true;
		m->result = wire_get16(b + 2);
	}
	if (len >= 8) {
		m->has_epoch = true;
		m->epoch = wire_get32(b + 4);
	}
	if (m->op == NATPMP_ADDRESS && len >= 12) {
		m->has_ext = true;
		m->ext[10] = m->ext[11] = 0xff;
		memcpy(m->ext + 12, b + 8, 4);
	}
	if (map && len >= 16) {
		m->has_map = m->has_lifetime = true;
		m->internal = wire_get16(b + 8);
		m->external = wire_get16(b + 10);
		m->lifetime = wire_get32(b + 12);
	}
}

static void
decode_pcp(const uint8_t *b, size_t len, struct message *m)
{
	if (m->reply && len >= 4) {
		m->has_result = true;
		m->result = b[3];
	}
	if (len >= 8) {
		m->has_lifetime = true;
		m->lifetime = wire_get32(b + 4);
	}
	if (m->reply && len >= 12) {
		m->has_epoch = true;
		m->epoch = wire_get32(b + 8);
	}
	if (!m->reply && len >= PCP_HEADER) {
		m->has_client = true;
		memcpy(m->client, b + 8, 16);
	}
	/* Version 1 has another MAP layout, without a nonce. */
	if (m->version != 2 || (m->op != PCP_MAP && m->op != PCP_PEER) || len < PCP_MAP_SIZE)
		return;
	m->has_nonce = m->has_map = m->has_ext = true;
	memcpy(m->nonce, b + 24, 12);
	m->proto = b[36];
	m->internal = wire_get16(b + 40);
	m->external = wire_get16(b + 42);
	memcpy(m->ext, b + 44, 16);
}

void
message_decode(const uint8_t *bytes, size_t len, struct message *out)
{
	memset(out, 0, sizeof(*out));
	if (len < 2)
		return;
	out->has_head = true;
	out->version = bytes[0];
	out->op = bytes[1] & 0x7f;
	out->reply = (bytes[1] & 0x80) != 0;
	if (out->version == 0)
		decode_natpmp(bytes, len, out);
	else
		decode_pcp(bytes, len, out);
}

bool
message_is_map(const struct message *m)
{
	if (!m->has_head)
		return false;
	if (m->version == 0)
		return m->op == NATPMP_MAP_UDP || m->op == NATPMP_MAP_TCP;
	return m->op == PCP_MAP;
}

void
natpmp_put_address(struct packet *p, uint16_t result, uint32_t epoch, const uint8_t ext4[4])
{
	natpmp_put_short(p, 0x80 | NATPMP_ADDRESS, result, epoch);
	memcpy(p->bytes + 8, ext4, 4);
	p->len = 12;
}

void
natpmp_put_map(struct packet *p, uint8_t op, uint16_t result, uint32_t epoch, uint16_t internal,
    uint16_t external, uint32_t lifetime)
{
	natpmp_put_short(p, (uint8_t)(0x80 | op), result, epoch);
	wire_put16(p->bytes + 8, internal);
	wire_put16(p->bytes + 10, external);
	wire_put32(p->bytes + 12, lifetime);
	p->len = 16;
}

void
natpmp_put_short(struct packet *p, uint8_t op, uint16_t result, uint32_t epoch)
{
	p->bytes[0] = 0;
	p->bytes[1] = op;
	wire_put16(p->bytes + 2, result);
	wire_put32(p->bytes + 4, epoch);
	p->len = 8;
}

void
pcp_put_announce(struct packet *p, uint32_t epoch)
{
	static const uint8_t none[PCP_HEADER];

	pcp_put_copy(p, none, sizeof(none), PCP_SUCCESS, 0, epoch);
}

void
pcp_put_copy(struct packet *p, const uint8_t *request, size_t len, uint8_t result,
    uint32_t lifetime, uint32_t epoch)
{
	if (len > PCP_MAX)
		len = PCP_MAX;
	memcpy(p->bytes, request, len);
	while (len < PCP_HEADER || len % 4 != 0)
		p->bytes[len++] = 0;
	p->bytes[0] = 2;
	p->bytes[1] |= 0x80;
	p->bytes[2] = 0;
	p->bytes[3] = result;
	wire_put32(p->bytes + 4, lifetime);
	wire_put32(p->bytes + 8, epoch);
	memset(p->bytes + 12, 0, 12);
	p->len = len;
}

bool
option_read(const uint8_t *bytes, size_t len, size_t at, struct option *out)
{
	size_t whole;

	if (len < 4 || at > len - 4)
		return false;
	out->code = bytes[at];
	out->len = wire_get16(bytes + at + 2);
	out->data = bytes + at + 4;
	whole = 4 + ((size_t)out->len + 3) / 4 * 4;
	if (whole > len - at)
		return false;
	out->whole = whole;
	return true;
}
