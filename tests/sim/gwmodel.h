/* SPDX-License-Identifier: ISC */
#ifndef SIM_GWMODEL_H
#define SIM_GWMODEL_H

#include "base/mstime.h"
#include "base/netaddr.h"
#include "rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A gateway as the RFCs and the field describe it, with a codec of its own: a mistake in
 * src/proto must not be mirrored here. Addresses of clients are plain IPv4 numbers; of IPv6 ones
 * the last 32 bits, which are different for all that occur.
 */

#define GW_ENTRIES 160
#define GW_PACKET_MAX 1100
#define CGNAT 0x64400001u /* 100.64.0.1 */

enum gw_speaks { SPEAKS_PCP, SPEAKS_NATPMP, SPEAKS_BOTH };

/* What a box says to the version it does not speak. */
enum gw_stranger {
	STRANGER_MUTE,
	STRANGER_V0_8,     /* F-09: 8 octets */
	STRANGER_V0_4,     /* Apple's short form */
	STRANGER_V0_OP0,   /* R bit clear, as printed in RFC 6886 */
	STRANGER_V2_24,    /* PCP UNSUPP_VERSION to a NAT-PMP request */
	STRANGER_FRAGMENT, /* F-10, F-11: PCP cut to NAT-PMP's size */
	STRANGER_V1,       /* a draft's server: version 1 */
	STRANGER_ODD,      /* version 0, result 3, for what it takes for garbage */
};

enum gw_ports { PORTS_AS_ASKED, PORTS_PLUS_ONE, PORTS_RANDOM, PORTS_LIST };
enum gw_options { OPTIONS_IGNORED, OPTIONS_REFUSED, OPTIONS_PROCESSED };
/* What a box makes of PORT_SET (RFC 7753). */
enum gw_sets { SETS_IGNORED, SETS_GRANTED, SETS_FEWER, SETS_REFUSED, SETS_MALFORMED };
enum gw_announce {
	ANNOUNCE_NOT,
	ANNOUNCE_TEN,
	ANNOUNCE_PCP_ONCE,
	ANNOUNCE_MINIUPNPD,
	ANNOUNCE_TWICE /* the same, in two rounds */
};

struct gw_request {
	uint8_t version; /* 2 or 0 */
	uint8_t opcode;
	uint32_t lifetime;
	uint32_t client; /* PCP header */
	uint8_t nonce[12];
	uint8_t protocol;
	uint16_t internal, external;
	uint32_t external_address;
	unsigned options; /* how many */
	bool prefer_failure, described, third_party;
	unsigned filters;
	uint32_t third; /* THIRD_PARTY's address */
	uint16_t set;   /* PORT_SET's size; 0: none */
};

struct gw_entry {
	bool used, pcp;
	uint8_t nonce[12];
	uint32_t client;
	uint8_t protocol;
	uint16_t internal, external;
	uint16_t set, first; /* of a set: how many, from which internal port on; 0: of none */
	mstime until;
};

/* What an answer did. */
struct gw_outcome {
	bool granted, deleted, refused, address_told;
	bool nonce_refused;
	bool renewal_refused;  /* as always */
	struct gw_entry lease; /* granted; of a set the first */
	uint32_t lifetime;
	uint16_t result;
};

struct gw_box {
	uint32_t address, external;
	enum gw_speaks speaks;
	enum gw_stranger stranger;
	enum gw_ports ports;
	enum gw_options options;
	enum gw_sets sets;
	unsigned overlaps; /* sets asked for over other mappings of the same client (P-108) */
	enum gw_announce announces;
	bool ipv6;            /* a firewall that speaks PCP; no addresses are translated … */
	bool translates;      /* … unless it does NAT66 */
	bool echoes;          /* renewals repeat the port suggested */
	bool never_renews;    /* it has no resources for that */
	bool assigns;         /* internal port 0: it chooses the port … */
	bool assigned_both;   /* … and names it as the internal one, too */
	bool prefers_failure; /* to another port, if asked (PREFER_FAILURE) */
	bool cgnat;           /* its external address is CGNAT's */
	bool strict;          /* checks nonces */
	bool error_life_zero; /* */
	uint32_t min_life, max_life; /* equal: always this */
	unsigned table;              /* so many entries, then full */

	bool frozen;           /* epoch always the same … */
	uint32_t frozen_at;    /* … mostly 0 */
	uint32_t epoch_base;   /* added to the uptime */
	uint32_t restart_step; /* epoch at a restart: 0 = starts anew, else jumps ahead */
	int drift_ppm;
	mstime boot;
	uint32_t before; /* epoch at the last restart, as it would have gone on */

	/* moods */
	bool down;           /* no answer at all */
	bool refused;        /* ICMP port unreachable */
	uint8_t pcp_refusal; /* 0 or result code for creates and renewals */
	mstime mapless;      /* last UNSUPP_OPCODE of PCP */
	uint16_t natpmp_refusal;
	uint32_t refusal_life;
	bool full;

	/* what it has met */
	unsigned sets_made, sets_cut, sets_refused;
	unsigned failures_preferred, described, descriptions_refused;

	struct gw_entry entries[GW_ENTRIES];
	struct rng rng;
};

uint32_t gw_epoch(const struct gw_box *, mstime now);
void gw_restart(struct gw_box *, mstime now, bool keep_epoch);
struct gw_entry *
gw_find(struct gw_box *, mstime now, uint32_t client, uint8_t protocol, uint16_t internal);
/* NULL: fine. Otherwise what is wrong with the request (RFC 6886, 6887). */
const char *gw_parse(const uint8_t *bytes, size_t n, struct gw_request *out);
/* The same from an IPv6 host, whose addresses are not filled in: PCP only. */
const char *gw_parse6(const uint8_t *bytes, size_t n, struct gw_request *out);
/* Length of the answer in `out` (GW_PACKET_MAX), 0 = silence. */
size_t gw_answer(struct gw_box *, mstime now, uint32_t client, const uint8_t *bytes, size_t n,
    uint8_t *out, struct gw_outcome *);

/* Bytes, for the scripted scenarios. Each returns the length. */
size_t gw_put_address(uint8_t *out, uint16_t result, uint32_t epoch, uint32_t external);
size_t gw_put_natpmp_map(uint8_t *out, uint8_t protocol, uint16_t result, uint32_t epoch,
    uint16_t internal, uint16_t external, uint32_t lifetime);
size_t gw_put_announce(uint8_t *out, uint32_t epoch);
size_t gw_put_stranger(uint8_t *out, enum gw_stranger, const uint8_t *request, uint32_t epoch);
/* The request copied and overwritten, as RFC 6887 section 8.2 wants it. */
size_t gw_put_pcp_map(uint8_t *out, const uint8_t *request, size_t n, uint8_t result,
    uint32_t lifetime, uint32_t epoch, uint16_t external, uint32_t address);
/* A PORT_SET. */
size_t gw_put_set(uint8_t *out, uint16_t size, uint16_t first);
/* Appends the request's options, but for PORT_SET, to a MAP answer; its length then. */
size_t gw_echo_options(uint8_t *out, const uint8_t *request, size_t n);

/* A MAP answer that nobody has asked for (RFC 6887 section 14.2), to an IPv4 client. */
size_t gw_put_update(uint8_t *out, const struct gw_entry *, uint8_t result, uint32_t lifetime,
    uint32_t epoch, uint32_t external);
/* What an IPv6 router lets out as the external address of this client. */
struct netaddr gw_external6(const struct gw_box *, const struct netaddr *client);

struct netaddr gw_netaddr(uint32_t ipv4);
uint32_t gw_ipv4(const struct netaddr *);

#endif
