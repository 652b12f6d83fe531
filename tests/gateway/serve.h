/* SPDX-License-Identifier: ISC */
#ifndef FGW_SERVE_H
#define FGW_SERVE_H

#include "gw.h"

/* A datagram from a client. */
struct request {
	const uint8_t *bytes; /* borrowed */
	size_t len;
	struct message m;
	struct addr peer, local;
	int64_t forced_result;   /* of a rule, or OFF */
	int64_t forced_lifetime; /* of a rule, or OFF */
};

/* The normal service: change the table, write the reply. False: no reply. */
bool natpmp_serve(struct gw *, const struct request *, struct packet *reply);
bool pcp_serve(struct gw *, const struct request *, struct packet *reply);

/* gateway.c: the way of a datagram through the gateway. */
void gateway_receive(
    struct gw *, size_t sock, const struct addr *peer, const uint8_t *bytes, size_t len);

#endif
