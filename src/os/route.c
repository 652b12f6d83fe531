/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/route.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000 /* <linux/if.h> has it, but quarrels with <net/if.h> */
#endif
#ifndef IFLA_INFO_KIND
#define IFLA_INFO_KIND 1
#endif

/* ---- netlink messages ------------------------------------------------------------------ */

/* What is left to read of a list of messages or attributes. Nothing in it need be aligned. */
struct span {
	const uint8_t *p;
	size_t n;
};

static size_t
align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static struct span
skip(struct span s, size_t n)
{
	return n < s.n ? (struct span){ s.p + n, s.n - n } : (struct span){ s.p, 0 };
}

/* The next attribute of a list: 1, 0 at the end, -1 if malformed. */
static int
next_attribute(struct span *list, uint16_t *type, struct span *value)
{
	struct rtattr a;

	if (list->n < sizeof a) /* fewer octets than a header: padding */
		return 0;
	memcpy(&a, list->p, sizeof a);
	if (a.rta_len < sizeof a || a.rta_len > list->n)
		return -1;
	*type = (uint16_t)(a.rta_type & (unsigned)NLA_TYPE_MASK);
	*value = (struct span){ list->p + sizeof a, a.rta_len - sizeof a };
	*list = skip(*list, align4(a.rta_len));
	return 1;
}

static bool
value_u32(struct span value, uint32_t *out)
{
	if (value.n != sizeof *out)
		return false;
	memcpy(out, value.p, sizeof *out);
	return true;
}

static bool
value_address(struct span value, int family, struct netaddr *out)
{
	if (family == AF_INET && value.n == 4)
		*out = netaddr_from4(value.p);
	else if (family == AF_INET6 && value.n == 16)
		*out = netaddr_from6(value.p);
	else
		return false;
	return true;
}

/* A name of at most 15 characters; longer ones are cut. `to` is zeroed. */
static void
value_name(struct span value, char to[16])
{
	for (size_t i = 0; i < 15 && i < value.n && value.p[i] != 0; i++)
		to[i] = (char)value.p[i];
}

/* The array with room for one more than `n` entries, that one zeroed: entries are compared octet by
 * octet. The capacity is the next power of two, so it needs no field. NULL: no memory. */
static void *
grow(void *array, size_t n, size_t size)
{
	if ((n & (n - 1)) == 0)
		array = reallocarray(array, n == 0 ? 1 : 2 * n, size);
	if (array != NULL)
		memset((uint8_t *)array + n * size, 0, size);
	return array;
}

static bool
parse_link(struct route_snapshot *s, struct span body)
{
	struct ifinfomsg head;
	struct route_link *link;
	struct span value;
	uint16_t type;
	int more;

	if (body.n < sizeof head)
		return false;
	memcpy(&head, body.p, sizeof head);
	if (head.ifi_family != AF_UNSPEC) /* a bridge telling about its ports */
		return true;
	link = grow(s->links, s->n_links, sizeof *link);
	if (link == NULL)
		return false;
	s->links = link;
	link += s->n_links++;
	link->ifindex = (unsigned)head.ifi_index;
	link->up = (head.ifi_flags & IFF_UP) != 0 && (head.ifi_flags & IFF_LOWER_UP) != 0;
	link->loopback = (head.ifi_flags & IFF_LOOPBACK) != 0;
	link->point_to_point = (head.ifi_flags & IFF_POINTOPOINT) != 0;
	link->broadcast = !link->point_to_point && (head.ifi_flags & IFF_BROADCAST) != 0;
	body = skip(body, align4(sizeof head));
	while ((more = next_attribute(&body, &type, &value)) > 0) {
		struct span nested = value;

		if (type == IFLA_IFNAME)
			value_name(value, link->name);
		if (type != IFLA_LINKINFO)
			continue;
		while ((more = next_attribute(&nested, &type, &value)) > 0) {
			if (type == IFLA_INFO_KIND)
				value_name(value, link->kind);
		}
		if (more < 0)
			return false;
	}
	link->bridge = strcmp(link->kind, "bridge") == 0;
	return more == 0;
}

static bool
parse_address(struct route_snapshot *s, struct span body)
{
	struct ifaddrmsg head;
	struct route_address *entry;
	struct netaddr address = netaddr_any6, local = netaddr_any6;
	bool has_address = false, has_local = false;
	struct span value;
	uint32_t flags;
	uint16_t type;
	int more;

	if (body.n < sizeof head)
		return false;
	memcpy(&head, body.p, sizeof head);
	if (head.ifa_family != AF_INET && head.ifa_family != AF_INET6)
		return true;
	flags = head.ifa_flags;
	body = skip(body, align4(sizeof head));
	while ((more = next_attribute(&body, &type, &value)) > 0) {
		bool good = true;

		if (type == IFA_ADDRESS)
			good = has_address = value_address(value, head.ifa_family, &address);
		else if (type == IFA_LOCAL)
			good = has_local = value_address(value, head.ifa_family, &local);
		else if (type == IFA_FLAGS) /* 32 bits, where the header has 8 */
			good = value_u32(value, &flags);
		if (!good)
			return false;
	}
	if (more < 0 || head.ifa_prefixlen > (head.ifa_family == AF_INET ? 32 : 128))
		return false;
	if (!has_address && !has_local)
		return true;
	entry = grow(s->addresses, s->n_addresses, sizeof *entry);
	if (entry == NULL)
		return false;
	s->addresses = entry;
	entry += s->n_addresses++;
	entry->ifindex = head.ifa_index;
	entry->bits = head.ifa_prefixlen;
	/* IFA_LOCAL is ours; without it (IPv6 without a peer) IFA_ADDRESS is. */
	entry->addr = has_local ? local : address;
	entry->has_peer = has_local && has_address && !netaddr_equal(&local, &address);
	if (entry->has_peer)
		entry->peer = address;
	entry->deprecated = (flags & IFA_F_DEPRECATED) != 0;
	/* For IPv4 the same bit means "secondary". */
	entry->temporary = head.ifa_family == AF_INET6 && (flags & IFA_F_TEMPORARY) != 0;
	/* An optimistic address may be used while it is still being looked at (RFC 4429). */
	entry->tentative = (flags & IFA_F_DADFAILED) != 0 ||
	    ((flags & IFA_F_TENTATIVE) != 0 && (flags & IFA_F_OPTIMISTIC) == 0);
	return true;
}

static bool
add_default(struct route_snapshot *s, const struct route_default *route)
{
	struct route_default *entry = grow(s->defaults, s->n_defaults, sizeof *entry);

	if (entry == NULL)
		return false;
	s->defaults = entry;
	entry += s->n_defaults++;
	memcpy(entry, route, sizeof *entry); /* with its padding, which is zero */
	return true;
}

/* RTA_GATEWAY or RTA_VIA, the next hop of another family. */
static bool
parse_gateway(uint16_t type, struct span value, int family, struct route_default *route)
{
	if (type == RTA_VIA) {
		uint16_t via;

		if (value.n < sizeof via)
			return false;
		memcpy(&via, value.p, sizeof via);
		if (via != AF_INET && via != AF_INET6)
			return true;
		family = via;
		value = skip(value, sizeof via);
	}
	route->has_gateway = value_address(value, family, &route->gateway);
	return route->has_gateway;
}

/* Each next hop is an entry of its own. */
static bool
parse_hops(struct route_snapshot *s, struct span hops, int family, const struct route_default *all)
{
	while (hops.n >= sizeof(struct rtnexthop)) {
		struct route_default route;
		struct rtnexthop hop;
		struct span attributes, value;
		uint16_t type;
		int more;

		memcpy(&route, all, sizeof route);
		memcpy(&hop, hops.p, sizeof hop);
		if (hop.rtnh_len < sizeof hop || hop.rtnh_len > hops.n)
			return false;
		attributes = (struct span){ hops.p + sizeof hop, hop.rtnh_len - sizeof hop };
		route.ifindex = (unsigned)hop.rtnh_ifindex;
		while ((more = next_attribute(&attributes, &type, &value)) > 0) {
			if ((type == RTA_GATEWAY || type == RTA_VIA) &&
			    !parse_gateway(type, value, family, &route))
				return false;
		}
		if (more < 0)
			return false;
		if ((hop.rtnh_flags & RTNH_F_DEAD) == 0 && !add_default(s, &route))
			return false;
		hops = skip(hops, align4(hop.rtnh_len));
	}
	return true;
}

/* `route` is zeroed; `hops` are its next hops, if it has several. */
static bool
parse_route_attributes(
    const struct rtmsg *head, struct span list, struct route_default *route, struct span *hops)
{
	struct span value;
	uint16_t type;
	uint32_t ifindex = 0;
	bool good = true;
	int more;

	route->ipv6 = head->rtm_family == AF_INET6;
	route->table = head->rtm_table;
	while (good && (more = next_attribute(&list, &type, &value)) != 0) {
		if (more < 0)
			return false;
		switch (type) {
		case RTA_OIF:
			good = value_u32(value, &ifindex);
			break;
		case RTA_TABLE: /* 32 bits, where the header has 8 */
			good = value_u32(value, &route->table);
			break;
		case RTA_PRIORITY:
			good = value_u32(value, &route->metric);
			break;
		case RTA_PREFSRC:
			good = value_address(value, head->rtm_family, &route->source);
			route->has_source = good;
			break;
		case RTA_GATEWAY:
		case RTA_VIA:
			good = parse_gateway(type, value, head->rtm_family, route);
			break;
		case RTA_MULTIPATH:
			*hops = value;
			break;
		default:
			break;
		}
	}
	route->ifindex = ifindex;
	return good;
}

static bool
parse_route(struct route_snapshot *s, struct span body)
{
	struct rtmsg head;
	struct route_default route;
	struct span hops = { NULL, 0 };

	if (body.n < sizeof head)
		return false;
	memcpy(&head, body.p, sizeof head);
	/* First of all: of the other 5,000 not one attribute is looked at. */
	if (head.rtm_dst_len != 0 || head.rtm_src_len != 0 || head.rtm_type != RTN_UNICAST ||
	    (head.rtm_flags & RTM_F_CLONED) != 0 ||
	    (head.rtm_family != AF_INET && head.rtm_family != AF_INET6))
		return true;
	memset(&route, 0, sizeof route);
	if (!parse_route_attributes(&head, skip(body, align4(sizeof head)), &route, &hops))
		return false;
	if (hops.n > 0)
		return parse_hops(s, hops, head.rtm_family, &route);
	return (head.rtm_flags & RTNH_F_DEAD) != 0 || add_default(s, &route);
}

bool
route_parse(struct route_snapshot *s, const void *bytes, size_t n)
{
	struct span left = { bytes, n };

	while (left.n > 0) {
		struct nlmsghdr head;
		struct span body;
		bool good = true;

		if (left.n < sizeof head)
			return false;
		memcpy(&head, left.p, sizeof head);
		if (head.nlmsg_len < sizeof head || head.nlmsg_len > left.n)
			return false;
		body = (struct span){ left.p + sizeof head, head.nlmsg_len - sizeof head };
		if (head.nlmsg_type == RTM_NEWLINK)
			good = parse_link(s, body);
		else if (head.nlmsg_type == RTM_NEWADDR)
			good = parse_address(s, body);
		else if (head.nlmsg_type == RTM_NEWROUTE)
			good = parse_route(s, body);
		if (!good)
			return false;
		left = skip(left, align4(head.nlmsg_len));
	}
	return true;
}

bool
route_parse_answer(
    struct route_snapshot *s, const struct netaddr *address, const void *bytes, size_t n)
{
	struct nlmsghdr message;
	struct rtmsg head;
	struct route_answer *answer;
	struct span left = { bytes, n }, hops = { NULL, 0 };
	int family = netaddr_is4(address) ? AF_INET : AF_INET6;

	if (n < sizeof message)
		return false;
	memcpy(&message, bytes, sizeof message);
	if (message.nlmsg_len < sizeof message || message.nlmsg_len > n)
		return false;
	answer = grow(s->answers, s->n_answers, sizeof *answer);
	if (answer == NULL)
		return false;
	s->answers = answer;
	answer += s->n_answers++;
	answer->address = *address;
	if (message.nlmsg_type != RTM_NEWROUTE) /* an error: there is no way */
		return true;
	left = skip((struct span){ left.p, message.nlmsg_len }, sizeof message);
	if (left.n < sizeof head)
		return false;
	memcpy(&head, left.p, sizeof head);
	if (head.rtm_family != family || head.rtm_type != RTN_UNICAST)
		return true;
	return parse_route_attributes(
	    &head, skip(left, align4(sizeof head)), &answer->route, &hops);
}

/* ---- the snapshot ---------------------------------------------------------------------- */

#define TABLE_MAIN 254

static bool
before(const struct route_default *a, const struct route_default *b)
{
	if (a->ipv6 != b->ipv6)
		return b->ipv6;
	if ((a->table == TABLE_MAIN) != (b->table == TABLE_MAIN))
		return a->table == TABLE_MAIN;
	return a->metric < b->metric;
}

/* By insertion: there are few, and among equals the kernel's order is the order of use. */
void
route_snapshot_sort(struct route_snapshot *s)
{
	for (size_t i = 1; i < s->n_defaults; i++) {
		struct route_default moved;
		size_t to = i;

		memcpy(&moved, &s->defaults[i], sizeof moved);
		while (to > 0 && before(&moved, &s->defaults[to - 1]))
			to--;
		memmove(&s->defaults[to + 1], &s->defaults[to], (i - to) * sizeof moved);
		memcpy(&s->defaults[to], &moved, sizeof moved);
	}
}

void
route_snapshot_clear(struct route_snapshot *s)
{
	free(s->links);
	free(s->addresses);
	free(s->defaults);
	free(s->answers);
	*s = (struct route_snapshot){ 0 };
}

const struct route_link *
route_link_by_index(const struct route_snapshot *s, unsigned ifindex)
{
	for (size_t i = 0; i < s->n_links; i++) {
		if (s->links[i].ifindex == ifindex)
			return &s->links[i];
	}
	return NULL;
}

const struct route_link *
route_link_by_name(const struct route_snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->n_links; i++) {
		if (strcmp(s->links[i].name, name) == 0)
			return &s->links[i];
	}
	return NULL;
}

bool
route_is_own(const struct route_snapshot *s, unsigned ifindex, const struct netaddr *addr)
{
	for (size_t i = 0; i < s->n_addresses; i++) {
		if ((ifindex == 0 || s->addresses[i].ifindex == ifindex) &&
		    netaddr_equal(&s->addresses[i].addr, addr))
			return true;
	}
	return false;
}
