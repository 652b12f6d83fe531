/* SPDX-License-Identifier: ISC */
#include "proto/natpmp.h"

#include "base/wire.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

/*
 * RFC 6886 sections 3.2, 3.3; the answer has REPLY added.
 *
 *            request                         reply
 *  octets 0  version 0                       version 0
 *         1  opcode                          128 + opcode
 *       2-3  reserved (not with ADDRESS)     result
 *       4-5  MAP: internal port              s since start of epoch (4-7)
 *       6-7  MAP: suggested external port
 *      8-11  MAP: lifetime                   ADDRESS: external address
 *                                            MAP: internal (8-9), external port (10-11)
 *     12-15                                  MAP: lifetime
 */
#define OP_ADDRESS 0
#define OP_MAP_UDP 1
#define OP_MAP_TCP 2
#define REPLY 128

#define SHORT_ERROR 8 /* up to and with the epoch */
#define MAP_REPLY 16

size_t
natpmp_encode_address(void *bytes, size_t room)
{
	struct wbuf w = wbuf_over(bytes, room);

	wbuf_u8(&w, 0);
	wbuf_u8(&w, OP_ADDRESS);
	return wbuf_done(&w);
}

size_t
natpmp_encode_map(uint8_t protocol, uint16_t internal_port, uint16_t external_port,
    uint32_t lifetime, void *bytes, size_t room)
{
	struct wbuf w = wbuf_over(bytes, room);

	if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP)
		return 0;
	/* Internal port 0 with a lifetime asks some VPN gateways for any port they have. To
	 * delete it means: delete all that this host has, other programs' mappings as well. */
	if (lifetime == 0 && internal_port == 0)
		return 0;
	wbuf_u8(&w, 0);
	wbuf_u8(&w, protocol == PROTOCOL_UDP ? OP_MAP_UDP : OP_MAP_TCP);
	wbuf_u16(&w, 0);
	wbuf_u16(&w, internal_port);
	wbuf_u16(&w, lifetime == 0 ? 0 : external_port);
	wbuf_u32(&w, lifetime);
	return wbuf_done(&w);
}

/* From octet 4 on. */
static bool
decode_address(struct rbuf *r, struct natpmp_reply *reply)
{
	uint8_t octets[4];

	reply->kind = NATPMP_ADDRESS;
	reply->has_epoch = rbuf_left(r) >= 4;
	reply->epoch = rbuf_u32(r);
	if (reply->result != NATPMP_SUCCESS)
		return true; /* what looks like an address is none (section 3.2) */
	rbuf_copy(r, octets, sizeof(octets));
	reply->external = netaddr_from4(octets);
	return !r->bad;
}

/* From octet 4 on; `n` is the length of the packet. */
static bool
decode_map(struct rbuf *r, size_t n, struct natpmp_reply *reply)
{
	reply->kind = NATPMP_MAP;
	if (reply->result == NATPMP_UNSUPPORTED_OPCODE && n > SHORT_ERROR && n < MAP_REPLY) {
		/* The request comes back, result written over its reserved octets: no epoch. */
		reply->internal_port = rbuf_u16(r);
		reply->has_ports = reply->internal_port != 0;
		return !r->bad;
	}
	reply->has_epoch = rbuf_left(r) >= 4;
	reply->epoch = rbuf_u32(r);
	if (reply->result != NATPMP_SUCCESS) {
		/* Gateways leave the port out or zero, the rest means nothing. */
		reply->internal_port = n >= MAP_REPLY ? rbuf_u16(r) : 0;
		reply->has_ports = reply->internal_port != 0;
		return true;
	}
	reply->has_ports = true;
	reply->internal_port = rbuf_u16(r);
	reply->external_port = rbuf_u16(r);
	reply->lifetime = rbuf_u32(r);
	return !r->bad;
}

bool
natpmp_decode(const void *bytes, size_t n, struct natpmp_reply *out)
{
	struct rbuf r = rbuf_over(bytes, n);
	struct natpmp_reply reply = { .kind = NATPMP_VERSION };
	uint8_t version = rbuf_u8(&r);
	uint8_t op = rbuf_u8(&r);

	reply.result = rbuf_u16(&r);
	if (r.bad || version != 0)
		return false;
	/* RFC 6886 prints op 0 in this one message, erratum 3618 corrects it to 128, and
	 * gateways fill in whatever opcode of PCP they were asked: all of them mean it. */
	if (reply.result == NATPMP_UNSUPPORTED_VERSION && (op == OP_ADDRESS || op >= REPLY)) {
		reply.has_epoch = rbuf_left(&r) >= 4;
		reply.epoch = reply.has_epoch ? rbuf_u32(&r) : 0;
		*out = reply;
		return true;
	}
	/* An error without epoch can only be the echo of a request too short to hold one. */
	if (n < SHORT_ERROR && reply.result != NATPMP_UNSUPPORTED_OPCODE)
		return false;
	switch (op) {
	case REPLY + OP_ADDRESS:
		if (!decode_address(&r, &reply))
			return false;
		break;
	case REPLY + OP_MAP_UDP:
	case REPLY + OP_MAP_TCP:
		reply.protocol = op == REPLY + OP_MAP_UDP ? PROTOCOL_UDP : PROTOCOL_TCP;
		if (!decode_map(&r, n, &reply))
			return false;
		break;
	default:
		return false;
	}
	*out = reply;
	return true;
}
