/* SPDX-License-Identifier: ISC */
#ifndef FGW_WIRE_H
#define FGW_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The gateway's own codec of both protocols, written from RFC 6886 and
 * RFC 6887 and from nothing of src/: one mistake made on both sides of one
 * codec would cancel itself out and no test would see it.
 */

enum { NATPMP_ADDRESS = 0, NATPMP_MAP_UDP = 1, NATPMP_MAP_TCP = 2 };
enum { PCP_ANNOUNCE = 0, PCP_MAP = 1, PCP_PEER = 2 };
enum { PROTO_TCP = 6, PROTO_UDP = 17 };
enum { PCP_HEADER = 24, PCP_MAP_SIZE = 60, PCP_MAX = 1100, NATPMP_MAP_SIZE = 12 };
enum { PACKET_MAX = 1500 };

enum natpmp_result {
	NATPMP_SUCCESS,
	NATPMP_UNSUPP_VERSION,
	NATPMP_NOT_AUTHORIZED,
	NATPMP_NETWORK_FAILURE,
	NATPMP_OUT_OF_RESOURCES,
	NATPMP_UNSUPP_OPCODE,
};

enum pcp_result {
	PCP_SUCCESS,
	PCP_UNSUPP_VERSION,
	PCP_NOT_AUTHORIZED,
	PCP_MALFORMED_REQUEST,
	PCP_UNSUPP_OPCODE,
	PCP_UNSUPP_OPTION,
	PCP_MALFORMED_OPTION,
	PCP_NETWORK_FAILURE,
	PCP_NO_RESOURCES,
	PCP_UNSUPP_PROTOCOL,
	PCP_USER_EX_QUOTA,
	PCP_CANNOT_PROVIDE_EXTERNAL,
	PCP_ADDRESS_MISMATCH,
	PCP_EXCESSIVE_REMOTE_PEERS,
};

enum {
	OPTION_THIRD_PARTY = 1,
	OPTION_PREFER_FAILURE = 2,
	OPTION_FILTER = 3,
	OPTION_DESCRIPTION = 128,
	OPTION_PORT_SET = 130,
};

struct packet {
	uint8_t bytes[PACKET_MAX];
	size_t len;
};

/* What can be read from a datagram, request or reply, for the log and for matching. A field the
 * datagram is too short for has its `has_` flag clear and is zero. */
struct message {
	bool has_head; /* version and opcode */
	uint8_t version;
	uint8_t op; /* without the reply bit */
	bool reply;
	bool has_result;
	uint16_t result;
	bool has_epoch;
	uint32_t epoch;
	bool has_lifetime;
	uint32_t lifetime;
	bool has_client; /* PCP request: the address field */
	uint8_t client[16];
	bool has_map; /* protocol and the two ports */
	uint8_t proto;
	uint16_t internal;
	uint16_t external; /* suggested or assigned */
	bool has_nonce;
	uint8_t nonce[12];
	bool has_ext; /* external address, v4-mapped for IPv4 */
	uint8_t ext[16];
};

void wire_put16(uint8_t *, uint16_t);
void wire_put32(uint8_t *, uint32_t);
uint16_t wire_get16(const uint8_t *);
uint32_t wire_get32(const uint8_t *);

void message_decode(const uint8_t *bytes, size_t len, struct message *out);
bool message_is_map(const struct message *);

void natpmp_put_address(struct packet *, uint16_t result, uint32_t epoch, const uint8_t ext4[4]);
void natpmp_put_map(struct packet *, uint8_t op, uint16_t result, uint32_t epoch, uint16_t internal,
    uint16_t external, uint32_t lifetime);
/* The 8 octets of an error without a body. `op` is written as it is. */
void natpmp_put_short(struct packet *, uint8_t op, uint16_t result, uint32_t epoch);

void pcp_put_announce(struct packet *, uint32_t epoch);
/* A reply in the layout of the request: copies it, pads with zeros to a multiple of 4, cuts at
 * 1100 octets and at least completes the header (RFC 6887 section 8.2). */
void pcp_put_copy(struct packet *, const uint8_t *request, size_t len, uint8_t result,
    uint32_t lifetime, uint32_t epoch);

/* One option of a PCP message. */
struct option {
	uint8_t code;
	uint16_t len;
	const uint8_t *data; /* borrowed from the message */
	size_t whole;        /* octets with header and padding */
};

/* Reads the option at `at`; false when it does not fit into the message. */
bool option_read(const uint8_t *bytes, size_t len, size_t at, struct option *out)
    __attribute__((warn_unused_result));

#endif
