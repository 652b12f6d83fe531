/* SPDX-License-Identifier: ISC */
#include "gwmodel.h"

#include <string.h>

/* The bytes of both protocols, as a gateway reads and writes them. */

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

/* ---- requests --------------------------------------------------------------------------- */

/* RFC 7753 section 4.1 */
static const char *
parse_set(const uint8_t *option, size_t len, struct gw_request *out)
{
	if (len != 5 || !zeros(option + 8, 4))
		return "PORT_SET is not 5 octets, or parity is asked for";
	if (out->set)
		return "two PORT_SETs";
	out->set = get16(option + 4);
	if (out->set < 2 || out->internal + out->set > 65536)
		return "PORT_SET of less than two ports, or past the last";
	if (get16(option + 6) != out->internal)
		return "PORT_SET begins at another internal port";
	return out->prefer_failure ? "PORT_SET with PREFER_FAILURE" : NULL;
}

static const char *
parse_option(const uint8_t *option, size_t len, struct gw_request *out)
{
	out->options++;
	out->prefer_failure |= option[0] == 2;
	out->filters += option[0] == 3;
	out->described |= option[0] == 128;
	out->third_party |= option[0] == 1;
	if (option[0] == 1)
		out->third = get32(option + 16);
	return option[0] == 130 ? parse_set(option, len, out) : NULL;
}

static const char *
parse_options(const uint8_t *p, size_t n, struct gw_request *out)
{
	const char *bad = NULL;
	size_t len;

	for (size_t at = 60; at < n && !bad; at += 4 + (len + 3) / 4 * 4) {
		len = at + 4 <= n ? get16(p + at + 2) : 0xffff;
		if (at + 4 + (len + 3) / 4 * 4 > n || p[at + 1])
			return "PCP option is cut or has its reserved octet set";
		bad = parse_option(p + at, len, out);
	}
	return bad;
}

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
	return parse_options(p, n, out);
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
gw_put_set(uint8_t *o, uint16_t size, uint16_t first)
{
	memset(o, 0, 12);
	o[0] = 130;
	put16(o + 2, 5);
	put16(o + 4, size);
	put16(o + 6, first);
	return 12;
}

size_t
gw_echo_options(uint8_t *o, const uint8_t *request, size_t n)
{
	size_t at = 60, out = 60, len;

	for (; at < n; at += len) {
		len = 4 + (get16(request + at + 2) + 3u) / 4 * 4;
		if (request[at] == 130)
			continue;
		memcpy(o + out, request + at, len);
		out += len;
	}
	return out;
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
	case STRANGER_ODD:
		o[1] = 128;
		o[3] = 3;
		put32(o + 4, epoch);
		return 24;
	case STRANGER_V1:
		if (request[0] != 2)
			return 0;
		o[0] = 1;
		o[1] = (uint8_t)(128 | request[1]);
		o[3] = 1;
		put32(o + 8, epoch);
		return 24;
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

size_t
gw_put_update(uint8_t *o, const struct gw_entry *e, uint8_t result, uint32_t lifetime,
    uint32_t epoch, uint32_t external)
{
	uint8_t request[60] = { 2, 1 };

	memcpy(request + 24, e->nonce, 12);
	request[36] = e->protocol;
	put16(request + 40, e->internal);
	put16(request + 42, e->external);
	memcpy(request + 44, mapped, 12);
	return gw_put_pcp_map(
	    o, request, sizeof request, result, lifetime, epoch, e->external, external);
}
