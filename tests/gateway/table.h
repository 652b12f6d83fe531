/* SPDX-License-Identifier: ISC */
#ifndef FGW_TABLE_H
#define FGW_TABLE_H

#include "gw.h"

struct ask {
	enum origin origin;
	uint8_t client[16]; /* internal address */
	uint8_t proto;
	uint16_t internal;
	uint16_t suggested;
	uint16_t count;  /* of ports from these on; 0 is 1 */
	uint8_t ext[16]; /* suggested external address */
	bool ext6;
	uint32_t lifetime;
	const uint8_t *nonce; /* 12 octets or NULL */
	bool prefer_failure;
	bool assigned; /* the VPN providers' "give me any port" */
	struct addr peer, local;
};

enum verdict {
	GRANTED,
	NO_ROOM,     /* table or ports used up */
	NOT_AS_SAID, /* PREFER_FAILURE and the suggestion cannot be had */
};

/* The mapping the ask is about; the row is valid until the table changes. */
struct mapping *table_find(struct gw *, const struct ask *);
/* Makes or renews a mapping. `*row` stays valid until the table changes; NULL when the lifetime
 * granted is 0, then *port holds what the reply says. */
enum verdict table_grant(
    struct gw *, const struct ask *, struct mapping **row, uint16_t *port, uint32_t *lifetime);
void table_delete(struct gw *, struct mapping *, const char *why);
/* All of one client; proto 0: of both. Returns false when one was left because of its origin. */
bool table_delete_client(struct gw *, const uint8_t client[16], uint8_t proto, enum origin);
void table_clear(struct gw *, const char *why);
void table_expire(struct gw *);
/* Time of the next expiry or NEVER. */
int64_t table_next(const struct gw *);
uint32_t mapping_left(const struct gw *, const struct mapping *);
void mapping_print(const struct gw *, const struct mapping *, struct text *);
void table_print(const struct gw *, struct text *);
void table_free(struct table *);
/* The external address of a mapping of this ask. */
void external_address(const struct gw *, const struct ask *, uint8_t out[16]);

#endif
