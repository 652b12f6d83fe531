/* SPDX-License-Identifier: ISC */
#ifndef FGW_NET_H
#define FGW_NET_H

#include "gw.h"

enum { SERVER_PORT = 5351, CLIENT_PORT = 5350 };
enum icmp { ICMP_PORT, ICMP_HOST, ICMP_NET, ICMP_ADMIN };

bool net_listen(struct gw *, const struct addr *, struct text *error)
    __attribute__((warn_unused_result));
/* Closes all listening sockets, so that the kernel answers ICMP port unreachable, or opens them
 * again. */
bool net_refuse(struct gw *, bool on, struct text *error) __attribute__((warn_unused_result));
/* Sends and logs. A source address which is not listened on gets a socket of its own, for good. */
void net_send(struct gw *, const struct addr *local, const struct addr *peer, const uint8_t *bytes,
    size_t len, const char *note);
/* An ICMP error as from a router, about a datagram peer → local. Needs CAP_NET_RAW. */
void net_icmp(struct gw *, const struct addr *local, const struct addr *peer, enum icmp);
/* The groups of announcements: 224.0.0.1 and ff02::1, port 5350. */
void net_group(const struct gw *, const struct addr *local, struct addr *out);
/* Reads one datagram; -1 when none is there. */
int net_receive(struct gw *, size_t sock, uint8_t *bytes, size_t max, struct addr *peer);
void net_close(struct net *);

#endif
