/* SPDX-License-Identifier: ISC */
#ifndef OS_ROUTE_H
#define OS_ROUTE_H

#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The machine's network as rtnetlink tells it (never /proc): a snapshot of links, own addresses
 * and default routes of every table. The kernel's events are a reason to look, not facts: after
 * one (debounced by 100 ms, 200 ms at most under a stream) everything is dumped again; ENOBUFS and
 * interrupted dumps are re-read. Only default routes are kept: 5,000 others cost nothing.
 */
struct loop;
struct route_monitor;

struct route_link {
	unsigned ifindex;
	char name[16];
	bool up; /* IFF_UP and IFF_LOWER_UP (carrier) */
	bool loopback;
	bool broadcast; /* not IFF_POINTOPOINT and IFF_BROADCAST */
	bool point_to_point;
	char
	    kind[16]; /* IFLA_INFO_KIND: "bridge", "wireguard", "tun", "veth" …; "" = real device */
	bool bridge; /* kind is "bridge" */
};

struct route_address {
	unsigned ifindex;
	struct netaddr addr;
	uint8_t bits; /* of the family: 24, 64 … */
	bool has_peer;
	struct netaddr peer;
	bool deprecated, temporary, tentative;
};

struct route_default {
	unsigned ifindex;
	bool ipv6;
	uint32_t table, metric;
	bool has_gateway;
	struct netaddr gateway; /* may be IPv6 for an IPv4 route (RTA_VIA, Q-148) */
	bool has_source;
	struct netaddr source; /* RTA_PREFSRC */
};

/* How the kernel sends packets to one address, by its rules, its host routes and all. */
struct route_answer {
	struct netaddr address;
	struct route_default route; /* ifindex 0: it does not, or to this machine itself */
};

/* Arrays are owned by the snapshot. Defaults are sorted: ipv4 first, then table main (254) first,
 * then metric, then as the kernel listed them. Multipath next hops are entries of their own. */
struct route_snapshot {
	struct route_link *links;
	size_t n_links;
	struct route_address *addresses;
	size_t n_addresses;
	struct route_default *defaults;
	size_t n_defaults;
	struct route_answer *answers;
	size_t n_answers;
};

/* Pure parser: feeds netlink messages (RTM_NEWLINK, NEWADDR, NEWROUTE; others are skipped) of one
 * buffer into the snapshot. False: out of memory or malformed. */
bool route_parse(struct route_snapshot *, const void *bytes, size_t n)
    __attribute__((warn_unused_result));
/* The kernel's answer to "how do packets for this address go?". False: out of memory or malformed.
 */
bool route_parse_answer(struct route_snapshot *, const struct netaddr *address, const void *bytes,
    size_t n) __attribute__((warn_unused_result));
void route_snapshot_sort(struct route_snapshot *);
void route_snapshot_clear(struct route_snapshot *);
const struct route_link *route_link_by_index(const struct route_snapshot *, unsigned ifindex);
const struct route_link *route_link_by_name(const struct route_snapshot *, const char *name);
/* Is `addr` one of this machine's own, on that interface (0 = any)? */
bool route_is_own(const struct route_snapshot *, unsigned ifindex, const struct netaddr *addr);

/* Where a gateway is to be found. */
struct route_wish {
	bool is_default; /* the contract's "default" */
	bool ipv6;
	const char *interface; /* NULL = any */
	bool has_address;      /* false: the default route's next hop (via `interface`, if any) */
	struct netaddr address;
	bool has_source;
	struct netaddr source;
};

struct route_way {
	unsigned ifindex;
	char interface[16];
	struct netaddr address; /* the gateway's */
	bool has_local;
	struct netaddr local; /* source address to use, as far as the snapshot can tell */
	bool on_link;         /* the gateway is inside one of the interface's own subnets, is
				 link-local, the other end of a point-to-point link, or a
				 route's next hop */
};

/*
 * Pure: picks the way for a wish. "default" is the lowest-metric default route of table main whose
 * next hop is on a broadcast link; tunnels, point-to-point links, container bridges (kind bridge
 * named docker*, br-*, virbr*, lxcbr*, lxdbr*, cni*, podman*) and next hops in 192.0.0.0/29 are
 * never "default". For IPv6 the local address is a stable global one: not temporary,
 * deprecated, tentative or link-local, and unique local only where there is nothing else (P-66,
 * Q-096; NAT66). A default route through a next hop of the other family is no way. False: none now.
 * A link that is down has no way. A gateway given by its address alone is where the snapshot's
 * answer says; without one, by the longest own subnet, or the default route.
 */
bool route_resolve(const struct route_snapshot *, const struct route_wish *, struct route_way *out)
    __attribute__((warn_unused_result));

/* Dumps at once, then calls `changed` with a snapshot after every change that altered it (the
 * pointer is valid during the call). 0 or -errno. */
int route_monitor_new(struct loop *, void (*changed)(void *ctx, const struct route_snapshot *),
    void *ctx, struct route_monitor **out);
/* The latest snapshot; owned by the monitor, valid until the next `changed`. */
const struct route_snapshot *route_monitor_snapshot(const struct route_monitor *);
/* The addresses whose way the snapshots tell from now on, at once in the latest one; `changed` is
 * not called. For gateways without an interface of their own. 0 or -errno: as before. */
int route_monitor_ask(struct route_monitor *, const struct netaddr *addresses, size_t n);
void route_monitor_free(struct route_monitor *);

#endif
