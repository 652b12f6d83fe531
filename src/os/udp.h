/* SPDX-License-Identifier: ISC */
#ifndef OS_UDP_H
#define OS_UDP_H

#include "base/netaddr.h"

#include <stddef.h>
#include <stdint.h>

struct loop;
struct udp;

/* What the kernel says about a packet of ours (quirks appendix 2). */
enum udp_error {
	UDP_REFUSED, /* ECONNREFUSED */
	UDP_HOST,    /* EHOSTUNREACH, ENETUNREACH … */
	UDP_LOCAL,   /* EPERM, EACCES from the error queue */
};

struct udp_handler {
	void (*datagram)(void *ctx, uint32_t path, const void *bytes, size_t n);
	void (*error)(void *ctx, uint32_t path, enum udp_error);
};

/*
 * A connected UDP socket to gateway:5351, one per path: bound to the device (SO_BINDTODEVICE, or
 * IP_UNICAST_IF / IPV6_UNICAST_IF where that is refused, Q-162) and to `local` with a random port
 * (P-43); IP_RECVERR, O_CLOEXEC, non-blocking. `local` may be any4/any6: the kernel chooses.
 * A socket bound to its device hears no ICMP that this machine sends to itself (a neighbour that
 * does not answer): that is silence. Without a device (`ifindex` 0) it does. The handler is copied,
 * its ctx borrowed. 0 with *out owned by the caller, or -errno.
 */
int udp_open(struct loop *, uint32_t path, unsigned ifindex, const char *interface,
    const struct netaddr *gateway, const struct netaddr *local, const struct udp_handler *,
    void *ctx, struct udp **out);
/* The source address the kernel uses: what a PCP header must name (P-44). */
struct netaddr udp_local(const struct udp *);
/* 0 or -errno. A pending error of an earlier packet is reported to the handler, later from the
 * loop, and the packet is sent all the same. The handler is never called from here. */
int udp_send(struct udp *, const void *bytes, size_t n);
void udp_free(struct udp *);

#endif
