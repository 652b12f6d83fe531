/* SPDX-License-Identifier: ISC */
#ifndef OS_ANNOUNCE_H
#define OS_ANNOUNCE_H

#include "base/netaddr.h"

#include <stddef.h>
#include <stdint.h>

struct loop;
struct announce;

typedef void announce_handler(void *ctx, unsigned ifindex, const struct netaddr *source,
    uint16_t port, const void *bytes, size_t n);

/*
 * Listens for announcements: 224.0.0.1:5350 and [ff02::1]:5350, SO_REUSEADDR and SO_REUSEPORT,
 * IP_MULTICAST_ALL off, membership per interface (P-15, Q-157). A port already taken, or no IPv6,
 * is not fatal: one log line, and a new try every 5 minutes. More than 20 packets a second
 * are dropped unread. NULL only when out of memory.
 */
struct announce *announce_new(struct loop *, announce_handler *, void *ctx);
/* The interfaces that gateways are reached by; joins and leaves the difference. */
void announce_set_interfaces(struct announce *, const unsigned *ifindexes, size_t n);
void announce_free(struct announce *);

#endif
