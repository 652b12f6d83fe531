/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/announce.h"

#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_PORT 5350    /* RFC 6886 section 3.2.1, RFC 6887 section 14.1.1 */
#define DATAGRAM_MAX 1100   /* RFC 6887 section 7 */
#define PER_SECOND 20       /* packets read; the rest is dropped */
#define DISCARD_MAX 256     /* packets thrown away at once after a flood */
#define RECEIVE_BUFFER 8192 /* what a flood may pile up in the kernel */
#define RETRY (5 * 60 * MSTIME_SECOND)
#define INTERFACES_MAX 20 /* memberships a socket may have (igmp_max_memberships) */

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

/* A socket; 224.0.0.1 has one for all interfaces, [ff02::1] one for each: its scope is part of
 * the address. */
struct ear {
	struct announce *announce;
	bool ipv6;
	int fd; /* -1: not open */
	struct loop_fd *watch;
	bool complained;
};

struct interface {
	unsigned ifindex;
	bool joined4;
	struct ear ear6;
};

struct announce {
	struct loop *loop;
	announce_handler *handler;
	void *ctx;
	struct ear ear4;
	/* Pointers: the ears are known to the loop by address. */
	struct interface *interfaces[INTERFACES_MAX];
	size_t n_interfaces;
	struct loop_timer *retry;
	struct loop_timer *quiet; /* runs while nothing is read because of a flood */
	mstime second;            /* when the present second began */
	unsigned heard;           /* packets in it */
};

static void ear_ready(void *ctx);

static void
ear_close(struct ear *e)
{
	loop_fd_free(e->watch);
	e->watch = NULL;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

static int
set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value) != 0 ? -errno : 0;
}

/* Bound to the group, not to the wildcard: unicast and other groups never come in (P-15). */
static int
bind_group(int fd, unsigned ifindex)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(CLIENT_PORT) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(CLIENT_PORT) };
	int error;

	if (ifindex == 0) {
		in.sin_addr.s_addr = htonl(INADDR_ALLHOSTS_GROUP);
		error = bind(fd, (const struct sockaddr *)&in, sizeof in);
	} else {
		in6.sin6_addr.s6_addr[0] = 0xff;
		in6.sin6_addr.s6_addr[1] = 0x02;
		in6.sin6_addr.s6_addr[15] = 0x01;
		in6.sin6_scope_id = ifindex;
		error = bind(fd, (const struct sockaddr *)&in6, sizeof in6);
	}
	return error != 0 ? -errno : 0;
}

static int
join6(int fd, unsigned ifindex)
{
	struct ipv6_mreq group = { .ipv6mr_interface = ifindex };

	group.ipv6mr_multiaddr.s6_addr[0] = 0xff;
	group.ipv6mr_multiaddr.s6_addr[1] = 0x02;
	group.ipv6mr_multiaddr.s6_addr[15] = 0x01;
	return setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group) != 0 ? -errno
											: 0;
}

/* All options before bind(): nothing may come in that they would have kept out. */
static int
configure(int fd, unsigned ifindex)
{
	bool is6 = ifindex != 0;
	int error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (error == 0)
		error = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (error == 0)
		error = set_option(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
	if (error == 0 && is6)
		error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (error == 0 && is6) /* not before Linux 4.20, and the scope does nearly the same */
		(void)set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	if (error == 0 && !is6)
		error = set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
	if (error == 0)
		error = is6 ? set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
			    : set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (error == 0 && is6)
		error = join6(fd, ifindex);
	return error != 0 ? error : bind_group(fd, ifindex);
}

/* `ifindex` is 0 for IPv4. */
static int
ear_open(struct ear *e, unsigned ifindex)
{
	int error;

	e->fd =
	    socket(ifindex != 0 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (e->fd < 0)
		return -errno;
	error = configure(e->fd, ifindex);
	if (error == 0) {
		e->watch = loop_fd_new(e->announce->loop, e->fd, ear_ready, e);
		if (e->watch == NULL)
			error = -ENOMEM;
	}
	if (error != 0)
		ear_close(e);
	return error;
}

static int
join4(int fd, unsigned ifindex)
{
	struct ip_mreqn group = { .imr_ifindex = (int)ifindex };

	group.imr_multiaddr.s_addr = htonl(INADDR_ALLHOSTS_GROUP);
	if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0 &&
	    errno != EADDRINUSE) /* a member already */
		return -errno;
	return 0;
}

static void
leave4(int fd, unsigned ifindex)
{
	struct ip_mreqn group = { .imr_ifindex = (int)ifindex };

	group.imr_multiaddr.s_addr = htonl(INADDR_ALLHOSTS_GROUP);
	/* Fails when the interface is gone: then so is the membership. */
	(void)setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group);
}

/* One line for each socket, until it was well in between. */
static void
complain(struct ear *e, unsigned ifindex, int error)
{
	char name[IF_NAMESIZE];

	if (e->complained || error == -EAFNOSUPPORT) /* a kernel without IPv6 is nothing to fix */
		return;
	e->complained = true;
	if (if_indextoname(ifindex, name) == NULL)
		snprintf(name, sizeof name, "#%u", ifindex);
	log_info(
	    "cannot listen for announcements of gateways on %s, %s port %d: %s; going on without, "
	    "trying again every 5 minutes",
	    name, e->ipv6 ? "ff02::1" : "224.0.0.1", CLIENT_PORT, strerror(-error));
}

/* Opens and joins what is missing. True: everything is there. */
static bool
open_missing(struct announce *a)
{
	bool whole = true, whole4 = true;

	for (size_t i = 0; i < a->n_interfaces; i++) {
		struct interface *f = a->interfaces[i];
		int error = 0;

		if (a->ear4.fd < 0)
			error = ear_open(&a->ear4, 0);
		if (error == 0 && !f->joined4) {
			error = join4(a->ear4.fd, f->ifindex);
			f->joined4 = error == 0;
		}
		if (error != 0) {
			complain(&a->ear4, f->ifindex, error);
			whole4 = false;
		}
		if (f->ear6.fd >= 0)
			continue;
		error = ear_open(&f->ear6, f->ifindex);
		if (error != 0) {
			complain(&f->ear6, f->ifindex, error);
			whole = false;
		} else {
			f->ear6.complained = false;
		}
	}
	if (whole4)
		a->ear4.complained = false;
	return whole && whole4;
}

static void
try_again(void *ctx)
{
	struct announce *a = ctx;

	loop_timer_set(a->retry, open_missing(a) ? MSTIME_NEVER : loop_now(a->loop) + RETRY);
}

static void
listen_to(const struct announce *a, bool on)
{
	if (a->ear4.watch != NULL)
		loop_fd_want_read(a->ear4.watch, on);
	for (size_t i = 0; i < a->n_interfaces; i++) {
		if (a->interfaces[i]->ear6.watch != NULL)
			loop_fd_want_read(a->interfaces[i]->ear6.watch, on);
	}
}

static void
discard(const struct ear *e)
{
	for (int i = 0; e->fd >= 0 && i < DISCARD_MAX; i++) {
		if (recv(e->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) < 0)
			break;
	}
}

/* The second is over: forget unread what came meanwhile, and listen again. */
static void
second_over(void *ctx)
{
	struct announce *a = ctx;

	discard(&a->ear4);
	for (size_t i = 0; i < a->n_interfaces; i++)
		discard(&a->interfaces[i]->ear6);
	listen_to(a, true);
}

/* Counts a packet. At the twentieth of a second the ears are closed until it ends. */
static void
count(struct announce *a)
{
	mstime now = loop_now(a->loop);

	if (now - a->second >= MSTIME_SECOND) {
		a->second = now;
		a->heard = 0;
	}
	if (++a->heard < PER_SECOND)
		return;
	listen_to(a, false);
	loop_timer_set(a->quiet, a->second + MSTIME_SECOND);
}

static unsigned
arrival_index(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof info);
			return (unsigned)info.ipi_ifindex;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof info);
			return info.ipi6_ifindex;
		}
	}
	return 0;
}

static bool
is_wanted(const struct announce *a, unsigned ifindex)
{
	for (size_t i = 0; i < a->n_interfaces; i++) {
		if (a->interfaces[i]->ifindex == ifindex)
			return true;
	}
	return false;
}

/* One packet each time, as in udp.c. The handler comes last: it may free everything. */
static void
ear_ready(void *ctx)
{
	const struct ear *e = ctx;
	struct announce *a = e->announce;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} from;
	union {
		struct cmsghdr align;
		char bytes[128];
	} control;
	uint8_t bytes[DATAGRAM_MAX];
	struct iovec io = { .iov_base = bytes, .iov_len = sizeof bytes };
	struct msghdr m = { .msg_name = &from,
		.msg_namelen = sizeof from,
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	struct netaddr source;
	unsigned ifindex;
	ssize_t n = recvmsg(e->fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return;
	count(a);
	ifindex = arrival_index(&m);
	if ((m.msg_flags & MSG_TRUNC) != 0 || !is_wanted(a, ifindex))
		return;
	if (from.sa.sa_family == AF_INET)
		source = netaddr_from4((const uint8_t *)&from.in.sin_addr);
	else
		source = netaddr_from6(from.in6.sin6_addr.s6_addr);
	a->handler(a->ctx, ifindex, &source,
	    ntohs(from.sa.sa_family == AF_INET ? from.in.sin_port : from.in6.sin6_port), bytes,
	    (size_t)n);
}

struct announce *
announce_new(struct loop *loop, announce_handler *handler, void *ctx)
{
	struct announce *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->loop = loop;
	a->handler = handler;
	a->ctx = ctx;
	a->ear4 = (struct ear){ .announce = a, .fd = -1 };
	a->second = loop_now(loop) - MSTIME_SECOND;
	a->retry = loop_timer_new(loop, try_again, a);
	a->quiet = loop_timer_new(loop, second_over, a);
	if (a->retry == NULL || a->quiet == NULL) {
		announce_free(a);
		return NULL;
	}
	return a;
}

static bool
listed(const unsigned *ifindexes, size_t n, unsigned ifindex)
{
	for (size_t i = 0; i < n; i++) {
		if (ifindexes[i] == ifindex)
			return true;
	}
	return false;
}

static void
interface_free(struct announce *a, struct interface *f)
{
	if (f->joined4 && a->ear4.fd >= 0)
		leave4(a->ear4.fd, f->ifindex);
	ear_close(&f->ear6);
	free(f);
}

void
announce_set_interfaces(struct announce *a, const unsigned *ifindexes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->n_interfaces; i++) {
		if (listed(ifindexes, n, a->interfaces[i]->ifindex))
			a->interfaces[kept++] = a->interfaces[i];
		else
			interface_free(a, a->interfaces[i]);
	}
	a->n_interfaces = kept;
	/* Without memory, or beyond the kernel's limit, there are no announcements from it: they
	 * are a help, never needed. */
	for (size_t i = 0; i < n && a->n_interfaces < INTERFACES_MAX; i++) {
		struct interface *f;

		if (ifindexes[i] == 0 || is_wanted(a, ifindexes[i]))
			continue;
		f = calloc(1, sizeof *f);
		if (f == NULL)
			break;
		f->ifindex = ifindexes[i];
		f->ear6 = (struct ear){ .announce = a, .ipv6 = true, .fd = -1 };
		a->interfaces[a->n_interfaces++] = f;
	}
	try_again(a);
}

void
announce_free(struct announce *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n_interfaces; i++)
		interface_free(a, a->interfaces[i]);
	ear_close(&a->ear4);
	loop_timer_free(a->retry);
	loop_timer_free(a->quiet);
	free(a);
}
