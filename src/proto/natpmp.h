/* SPDX-License-Identifier: ISC */
#ifndef PROTO_NATPMP_H
#define PROTO_NATPMP_H

#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 6886 section 3.5. */
enum natpmp_result {
	NATPMP_SUCCESS = 0,
	NATPMP_UNSUPPORTED_VERSION = 1,
	NATPMP_NOT_AUTHORIZED = 2,
	NATPMP_NETWORK_FAILURE = 3,
	NATPMP_OUT_OF_RESOURCES = 4,
	NATPMP_UNSUPPORTED_OPCODE = 5,
};

#define NATPMP_MAX_REQUEST 12

enum natpmp_kind {
	NATPMP_ADDRESS, /* op 128: answer to an address request, or an announcement */
	NATPMP_MAP,     /* op 129 or 130 */
	NATPMP_VERSION, /* "I do not speak your version": names no request (sections 1.10, 2.11) */
};

/* One reply, checked. Fields that the kind or the result does not define are zero. */
struct natpmp_reply {
	enum natpmp_kind kind;
	uint16_t result;
	bool has_epoch;          /* a 4-octet version error carries none */
	uint32_t epoch;          /* s since the gateway's table was empty */
	struct netaddr external; /* ADDRESS with result 0 */
	uint8_t protocol;        /* MAP: 6 or 17 */
	bool has_ports;          /* MAP: errors may carry none */
	uint16_t internal_port;  /* host order */
	uint16_t external_port;  /* MAP with result 0 */
	uint32_t lifetime;       /* s; MAP with result 0 */
};

/* RFC 6886 section 3.2: 2 octets. Returns the length, 0 if `room` is short. */
size_t natpmp_encode_address(void *bytes, size_t room);

/*
 * RFC 6886 sections 3.3, 3.4: 12 octets. `protocol` is 6 or 17, ports in host
 * order, lifetime in s; lifetime 0 deletes and forces suggested port 0 (P-23).
 * Returns 0 for a delete of internal port 0, which would delete every mapping
 * of this host, and when `room` is short.
 */
size_t natpmp_encode_map(uint8_t protocol, uint16_t internal_port, uint16_t external_port,
    uint32_t lifetime, void *bytes, size_t room);

/*
 * Decodes a version 0 reply. False: not a NAT-PMP reply, drop it; `out` is
 * written only on true. Accepts longer packets, op 0 and op 128 version errors
 * down to 4 octets, 8-octet and echoed errors (Q-038, F-08).
 */
bool natpmp_decode(const void *bytes, size_t n, struct natpmp_reply *out)
    __attribute__((warn_unused_result));

#endif
