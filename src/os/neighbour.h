/* SPDX-License-Identifier: ISC */
#ifndef OS_NEIGHBOUR_H
#define OS_NEIGHBOUR_H

#include "base/netaddr.h"

#include <stdint.h>

/*
 * The kernel's neighbour table (ARP, neighbour discovery): which box is behind an address of our
 * own network. Reading needs no privilege.
 */
struct neighbours;

/* 0 or -errno. */
int neighbours_open(struct neighbours **out) __attribute__((warn_unused_result));
/*
 * The link-layer address of `address` on that interface. 0; -ENOENT: not known (yet); -ENOTSUP: a
 * link without such addresses of 6 octets, or a kernel that cannot say (before 5.0); or another
 * -errno.
 */
int neighbours_find(struct neighbours *, unsigned ifindex, const struct netaddr *address,
    uint8_t out[6]) __attribute__((warn_unused_result));
void neighbours_close(struct neighbours *);

/*
 * Makes the kernel ask for the address, if it does not know it. Only root may ask for that by
 * itself, so an empty datagram goes to the discard port, no further than one hop: where nobody
 * answers the kernel, it is never sent. 0 or -errno.
 */
int neighbour_provoke(unsigned ifindex, const char *interface, const struct netaddr *address);

#endif
