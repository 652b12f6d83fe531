/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/route.h"

#include <string.h>

#define TABLE_MAIN 254

/* Links of these kinds lead to one other end or to somebody else's network: never "default". */
static const char *const tunnels[] = { "tun", "wireguard", "ppp", "ipip", "sit", "gre", "gretap",
	"erspan", "ip6tnl", "ip6gre", "ip6gretap", "ip6erspan", "vti", "vti6", "xfrm", "vxlan",
	"geneve", "amt", "gtp", "bareudp" };

/* Bridges of these names were made by a container or virtual machine manager. */
static const char *const container_bridges[] = { "docker", "br-", "virbr", "lxcbr", "lxdbr", "cni",
	"podman" };

static bool
is_tunnel(const struct route_link *link)
{
	for (size_t i = 0; i < sizeof tunnels / sizeof tunnels[0]; i++) {
		if (strcmp(link->kind, tunnels[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_container_bridge(const struct route_link *link)
{
	if (!link->bridge)
		return false;
	for (size_t i = 0; i < sizeof container_bridges / sizeof container_bridges[0]; i++) {
		if (strncmp(link->name, container_bridges[i], strlen(container_bridges[i])) == 0)
			return true;
	}
	return false;
}

/* 192.0.0.0/29: the local CLAT or a DS-Lite softwire, not a gateway. */
static bool
is_softwire(const struct netaddr *a)
{
	return netaddr_is4(a) && a->b[12] == 192 && a->b[13] == 0 && a->b[14] == 0 && a->b[15] < 8;
}

static bool
is_unique_local(const struct netaddr *a)
{
	return (a->b[0] & 0xfe) == 0xfc;
}

/* Length of the interface's subnet that `addr` is in, -1: it is in none. A peer's prefix is
 * around the peer. */
static int
subnet_bits(const struct route_address *own, const struct netaddr *addr)
{
	struct netprefix prefix;
	bool is4 = netaddr_is4(&own->addr);
	unsigned bits = own->bits + (is4 ? 96U : 0U);

	if (is4 != netaddr_is4(addr))
		return -1;
	prefix.addr = own->has_peer ? own->peer : own->addr;
	prefix.bits = (uint8_t)bits;
	for (unsigned i = 0; i < 128; i++) {
		if (i >= bits)
			prefix.addr.b[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
	}
	return netprefix_contains(&prefix, addr) ? own->bits : -1;
}

static bool
in_own_subnet(const struct route_snapshot *s, unsigned ifindex, const struct netaddr *addr)
{
	for (size_t i = 0; i < s->n_addresses; i++) {
		if (s->addresses[i].ifindex == ifindex && subnet_bits(&s->addresses[i], addr) >= 0)
			return true;
	}
	return false;
}

/*
 * How good an own address is as the source of packets to `gateway`; 0: never. An IPv6 mapping is
 * for the source address itself, so it must be one that lasts and that the Internet can reach
 * (P-66, Q-096). A unique local one is for networks that have nothing else (NAT66).
 */
static int
source_rank(const struct route_address *own, const struct netaddr *gateway, bool loopback)
{
	int near = subnet_bits(own, gateway) >= 0 ? 1 : 0;

	if (netaddr_is4(&own->addr) != netaddr_is4(gateway) || own->tentative)
		return 0;
	if (netaddr_is_loopback(&own->addr)) {
		if (!loopback)
			return 0;
		return (netaddr_is_loopback(gateway) ? 7 : 1) + near;
	}
	if (netaddr_is4(gateway)) {
		if (own->deprecated)
			return 1 + near;
		return (netaddr_is_linklocal(&own->addr) ? 3 : 5) + near;
	}
	if (own->temporary || own->deprecated || netaddr_is_linklocal(&own->addr))
		return 0;
	return (is_unique_local(&own->addr) ? 3 : 5) + near;
}

/* The address within the gateway's subnet before others, a lasting one before anything. */
static const struct route_address *
best_source(
    const struct route_snapshot *s, const struct route_link *link, const struct netaddr *gateway)
{
	const struct route_address *best = NULL;
	int best_rank = 0;

	for (size_t i = 0; i < s->n_addresses; i++) {
		const struct route_address *own = &s->addresses[i];
		int rank;

		if (own->ifindex != link->ifindex)
			continue;
		rank = source_rank(own, gateway, link->loopback);
		if (rank > best_rank) {
			best_rank = rank;
			best = own;
		}
	}
	return best;
}

static const struct route_link *
usable_link(const struct route_snapshot *s, unsigned ifindex)
{
	const struct route_link *link = route_link_by_index(s, ifindex);

	return link != NULL && link->up ? link : NULL;
}

static bool
fits_default(const struct route_default *route, const struct route_link *link)
{
	return route->table == TABLE_MAIN && route->has_gateway && link->broadcast &&
	    !link->loopback && !is_tunnel(link) && !is_container_bridge(link) &&
	    !is_softwire(&route->gateway);
}

/* A link-local router needs a link-local neighbour: WireGuard links have none, whatever the route
 * says. */
static bool
can_talk(const struct route_snapshot *s, const struct route_default *route)
{
	if (netaddr_is4(&route->gateway) || !netaddr_is_linklocal(&route->gateway))
		return true;
	for (size_t i = 0; i < s->n_addresses; i++) {
		const struct route_address *own = &s->addresses[i];

		if (own->ifindex == route->ifindex && !netaddr_is4(&own->addr) &&
		    netaddr_is_linklocal(&own->addr))
			return true;
	}
	return false;
}

/*
 * The first default route that fits the wish. An IPv4 route through an IPv6 next hop is no
 * way: a request to it would carry an IPv6 source, and map that.
 */
static const struct route_default *
find_default(const struct route_snapshot *s, const struct route_wish *wish, bool need_gateway)
{
	for (size_t i = 0; i < s->n_defaults; i++) {
		const struct route_default *route = &s->defaults[i];
		const struct route_link *link = usable_link(s, route->ifindex);

		if (link == NULL || route->ipv6 != wish->ipv6)
			continue;
		if (wish->interface != NULL && strcmp(wish->interface, link->name) != 0)
			continue;
		if (wish->is_default && !fits_default(route, link))
			continue;
		if (need_gateway &&
		    (!route->has_gateway || netaddr_is4(&route->gateway) == wish->ipv6 ||
			!can_talk(s, route)))
			continue;
		return route;
	}
	return NULL;
}

/* The other end of a point-to-point link. */
static const struct netaddr *
find_peer(const struct route_snapshot *s, const struct route_link *link, bool ipv6)
{
	for (size_t i = 0; i < s->n_addresses; i++) {
		const struct route_address *own = &s->addresses[i];

		if (own->ifindex == link->ifindex && own->has_peer && !own->tentative &&
		    netaddr_is4(&own->peer) == !ipv6)
			return &own->peer;
	}
	return NULL;
}

/* The link whose own subnet has `addr`, the longest prefix first. */
static const struct route_link *
link_towards(const struct route_snapshot *s, const struct netaddr *addr)
{
	const struct route_link *best = NULL;
	int best_bits = -1;

	for (size_t i = 0; i < s->n_addresses; i++) {
		const struct route_link *link = usable_link(s, s->addresses[i].ifindex);
		int bits = subnet_bits(&s->addresses[i], addr);

		if (link != NULL && bits > best_bits) {
			best_bits = bits;
			best = link;
		}
	}
	return best;
}

static const struct route_link *
loopback_link(const struct route_snapshot *s)
{
	for (size_t i = 0; i < s->n_links; i++) {
		if (s->links[i].loopback && s->links[i].up)
			return &s->links[i];
	}
	return NULL;
}

/* Ours, and not only on trial (duplicate address detection). */
static bool
is_bindable(const struct route_snapshot *s, const struct netaddr *addr)
{
	for (size_t i = 0; i < s->n_addresses; i++) {
		if (netaddr_equal(&s->addresses[i].addr, addr) && !s->addresses[i].tentative)
			return true;
	}
	return false;
}

/*
 * The source address: the wished one, which must be ours; or the route's own; or the best of the
 * link. Without any, the kernel may choose for IPv4 where a route leads out of an interface
 * without addresses.
 */
static bool
choose_local(const struct route_snapshot *s, const struct route_wish *wish,
    const struct route_link *link, const struct route_default *route, struct route_way *way)
{
	const struct route_address *own;

	if (wish->has_source) {
		if (netaddr_is4(&wish->source) != netaddr_is4(&way->address) ||
		    !is_bindable(s, &wish->source))
			return false;
		way->has_local = true;
		way->local = wish->source;
		return true;
	}
	/* For IPv6 the route's source is a preference for ordinary traffic, perhaps temporary. */
	if (route != NULL && route->has_source && netaddr_is4(&way->address) &&
	    netaddr_is4(&route->source) && is_bindable(s, &route->source)) {
		way->has_local = true;
		way->local = route->source;
		return true;
	}
	own = best_source(s, link, &way->address);
	if (own != NULL) {
		way->has_local = true;
		way->local = own->addr;
		return true;
	}
	return route != NULL && netaddr_is4(&way->address);
}

/* How the kernel goes there, if it was asked and knows. */
static const struct route_default *
find_answer(const struct route_snapshot *s, const struct netaddr *address)
{
	for (size_t i = 0; i < s->n_answers; i++)
		if (netaddr_equal(&s->answers[i].address, address))
			return usable_link(s, s->answers[i].route.ifindex) != NULL
			    ? &s->answers[i].route
			    : NULL;
	return NULL;
}

/* A gateway given by its address. */
static const struct route_link *
find_link(const struct route_snapshot *s, const struct route_wish *wish,
    const struct route_default **route)
{
	const struct route_link *link;

	*route = NULL;
	if (wish->interface != NULL) {
		link = route_link_by_name(s, wish->interface);
		if (link == NULL || !link->up)
			return NULL;
		*route = find_default(s, wish, false);
		return link;
	}
	*route = find_answer(s, &wish->address);
	if (*route != NULL)
		return usable_link(s, (*route)->ifindex);
	link = link_towards(s, &wish->address);
	if (link == NULL && netaddr_is_loopback(&wish->address))
		link = loopback_link(s);
	if (link != NULL)
		return link;
	if (netaddr_is_linklocal(&wish->address)) /* says nothing without an interface */
		return NULL;
	*route = find_default(s, wish, false);
	return *route != NULL ? usable_link(s, (*route)->ifindex) : NULL;
}

bool
route_resolve(const struct route_snapshot *s, const struct route_wish *wish, struct route_way *out)
{
	const struct route_default *route;
	const struct route_link *link = NULL;
	struct route_way way = { 0 };

	if (wish->has_address) {
		if (netaddr_is4(&wish->address) == wish->ipv6)
			return false;
		link = find_link(s, wish, &route);
		if (link == NULL)
			return false;
		way.address = wish->address;
		way.on_link = netaddr_is_linklocal(&way.address) ||
		    in_own_subnet(s, link->ifindex, &way.address) ||
		    (wish->interface != NULL && link->point_to_point) ||
		    (wish->interface == NULL && link->point_to_point && route != NULL &&
			!route->has_gateway);
	} else {
		const struct netaddr *peer = NULL;

		route = find_default(s, wish, true);
		if (route != NULL) {
			link = usable_link(s, route->ifindex);
			way.address = route->gateway;
		} else if (!wish->is_default && wish->interface != NULL) {
			link = route_link_by_name(s, wish->interface);
			if (link != NULL && link->up)
				peer = find_peer(s, link, wish->ipv6);
			if (peer == NULL)
				return false;
			way.address = *peer;
		} else {
			return false;
		}
		way.on_link = true; /* a next hop always is */
	}
	way.ifindex = link->ifindex;
	memcpy(way.interface, link->name, sizeof way.interface);
	if (!choose_local(s, wish, link, route, &way))
		return false;
	*out = way;
	return true;
}
