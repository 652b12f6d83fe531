/* SPDX-License-Identifier: ISC */
#ifndef PROTO_PCP_H
#define PROTO_PCP_H

#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCP_VERSION 2
#define PCP_MAX_PACKET 1100 /* RFC 6887 section 7 */
#define PCP_NONCE_SIZE 12
#define PCP_SERVER_PORT 5351 /* NAT-PMP's, too */
#define PCP_CLIENT_PORT 5350 /* announcements of both protocols */
#define PCP_FILTERS_MAX 43   /* as many as fit into a packet behind a MAP */

enum pcp_opcode { PCP_ANNOUNCE = 0, PCP_MAP = 1 };

/* RFC 6887 section 7.4. */
enum pcp_result {
	PCP_SUCCESS = 0,
	PCP_UNSUPP_VERSION = 1,
	PCP_NOT_AUTHORIZED = 2,
	PCP_MALFORMED_REQUEST = 3,
	PCP_UNSUPP_OPCODE = 4,
	PCP_UNSUPP_OPTION = 5,
	PCP_MALFORMED_OPTION = 6,
	PCP_NETWORK_FAILURE = 7,
	PCP_NO_RESOURCES = 8,
	PCP_UNSUPP_PROTOCOL = 9,
	PCP_USER_EX_QUOTA = 10,
	PCP_CANNOT_PROVIDE_EXTERNAL = 11,
	PCP_ADDRESS_MISMATCH = 12,
	PCP_EXCESSIVE_REMOTE_PEERS = 13,
	PCP_AUTH_FIRST = 14, /* those of RFC 7652, … */
	PCP_AUTH_LAST = 23,
};

/* The options whose processing must be seen in the answer. */
enum pcp_option { PCP_THIRD_PARTY = 1, PCP_FILTER = 3 };

/* FILTER option (RFC 6887 section 13.3); bits count the 128 of the address. */
struct pcp_filter {
	struct netprefix prefix;
	uint16_t port; /* host order, 0 = any */
};

/* A MAP (or ANNOUNCE: only `client`) request; borrowed pointers, host order. */
struct pcp_request {
	enum pcp_opcode opcode;
	uint32_t lifetime;     /* s; 0 deletes */
	struct netaddr client; /* must be the packet's source (P-44) */
	uint8_t nonce[PCP_NONCE_SIZE];
	uint8_t protocol; /* IANA: 6, 17 */
	uint16_t internal_port;
	uint16_t external_port;  /* suggestion, 0 = none */
	struct netaddr external; /* suggestion; any4 or any6 = none, and selects the family */
	bool prefer_failure;     /* option 2 */
	const struct netaddr *internal;   /* option 1, THIRD_PARTY; NULL = the client itself */
	const struct pcp_filter *filters; /* option 3; left out of deletes (P-87) */
	size_t n_filters;
	const char *description; /* option 128, UTF-8; NULL or "" = none */
	/* Option 130, PORT_SET (RFC 7753): so many internal ports from internal_port on, in
	 * deletes, too; 0, 1 = none. Not with prefer_failure (P-108). */
	uint16_t set_size;
};

/* One reply, checked. */
struct pcp_reply {
	uint8_t version; /* as received: with OTHER_VERSION what the server says it speaks */
	enum pcp_opcode opcode;
	uint8_t result;
	uint32_t lifetime; /* s: granted, or how long an error is expected to last */
	uint32_t epoch;    /* s */
	/* the rest: MAP only */
	bool has_map; /* false: a short error without opcode data (F-18) */
	uint8_t nonce[PCP_NONCE_SIZE];
	uint8_t protocol;
	uint16_t internal_port;
	uint16_t external_port;
	struct netaddr external;
	bool described;    /* DESCRIPTION echoed */
	bool has_internal; /* THIRD_PARTY echoed */
	struct netaddr internal;
	struct pcp_filter filters[PCP_FILTERS_MAX]; /* echoed, without those of prefix length 0 */
	size_t n_filters;
	bool has_set;                 /* PORT_SET echoed: what was granted, not what was asked */
	uint16_t set_size, set_first; /* internal ports */
};

enum pcp_verdict {
	PCP_DROP,          /* not for us */
	PCP_REPLY,         /* `out` is filled in */
	PCP_OTHER_VERSION, /* UNSUPP_VERSION, or a reply of another PCP version: only
			      `version`, `result`, `lifetime` and `epoch` are filled in, as far
			      as present */
	PCP_FRAGMENT       /* a version 2 reply cut below its header: as the answer to a NAT-PMP
			      request it means "speaks PCP", otherwise nothing. `out` is
			      not written */
};

/*
 * Encodes a request: a multiple of 4 octets, at most PCP_MAX_PACKET less the room
 * an error reply needs (P-38). Returns its length, or 0 when it does not fit.
 * The description is cut at a character boundary to fit and padded with spaces
 * to a multiple of 4.
 */
size_t pcp_encode(const struct pcp_request *, void *bytes, size_t room);

/*
 * Decodes a reply of any version but 0 (that is natpmp_decode()'s). Order of the
 * checks: RFC 6887 section 8.3 with the version before the length (P-57).
 * Unknown options are skipped, whatever their code (P-39); a truncated option
 * drops the packet.
 */
enum pcp_verdict pcp_decode(const void *bytes, size_t n, struct pcp_reply *out)
    __attribute__((warn_unused_result));

/* "NOT_AUTHORIZED" and so on; NULL for a number without a name. */
const char *pcp_result_name(uint8_t result);

#endif
