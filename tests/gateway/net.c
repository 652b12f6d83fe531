/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "log.h"
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Negative errno, or the descriptor. No SO_REUSEADDR: two gateways on one address by mistake
 * would share the requests and each would look as if it lost some. */
static int
open_socket(const struct addr *local)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(local, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, error;

	if (fd < 0)
		return -errno;
	if (ss.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	/* An IPv6 address is not there for its first second or two (duplicate detection). */
	for (int tries = 0; bind(fd, (struct sockaddr *)&ss, len) < 0; tries++) {
		error = errno;
		if (error != EADDRNOTAVAIL || ss.ss_family != AF_INET6 || tries == 60) {
			close(fd);
			return -error;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	}
	return fd;
}

bool
net_listen(struct gw *gw, const struct addr *local, struct text *error)
{
	struct sock *s = &gw->net.socks[gw->net.n];
	char buf[ADDR_TEXT];
	int fd;

	addr_format(local, true, buf);
	if (addr_is_wildcard(local)) {
		text_add(error,
		    "listen %s: give each address by itself; replies have to come from the one "
		    "that was asked",
		    buf);
		return false;
	}
	if (gw->net.n == sizeof(gw->net.socks) / sizeof(gw->net.socks[0])) {
		text_add(error, "listen %s: too many addresses", buf);
		return false;
	}
	fd = open_socket(local);
	if (fd < 0) {
		text_add(error, "listen %s: %s", buf, strerror(-fd));
		return false;
	}
	s->fd = fd;
	s->local = *local;
	s->listener = true;
	gw->net.n++;
	return true;
}

bool
net_refuse(struct gw *gw, bool on, struct text *error)
{
	char buf[ADDR_TEXT];

	for (size_t i = 0; i < gw->net.n; i++) {
		struct sock *s = &gw->net.socks[i];

		if (!s->listener)
			continue;
		if (on && s->fd >= 0) {
			close(s->fd);
			s->fd = -1;
		} else if (!on && s->fd < 0) {
			int fd = open_socket(&s->local);

			if (fd < 0) {
				text_add(error, "listen %s: %s", addr_format(&s->local, true, buf),
				    strerror(-fd));
				return false;
			}
			s->fd = fd;
		}
	}
	log_event(gw, "refuse", ",\"on\":%s", on ? "true" : "false");
	return true;
}

static unsigned
interface_of(const struct gw *gw, const struct addr *a)
{
	struct ifaddrs *list, *i;
	unsigned index = 0;

	if (gw->set.announce_if[0] != '\0')
		return if_nametoindex(gw->set.announce_if);
	if (a->scope != 0)
		return a->scope;
	if (getifaddrs(&list) < 0)
		return 0;
	for (i = list; i != NULL && index == 0; i = i->ifa_next) {
		struct sockaddr_storage ss = { 0 };
		struct addr own;

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			memcpy(&ss, i->ifa_addr, sizeof(struct sockaddr_in));
		else if (i->ifa_addr->sa_family == AF_INET6)
			memcpy(&ss, i->ifa_addr, sizeof(struct sockaddr_in6));
		if (addr_from_sockaddr(&ss, &own) && memcmp(own.ip, a->ip, 16) == 0)
			index = if_nametoindex(i->ifa_name);
	}
	freeifaddrs(list);
	return index;
}

void
net_group(const struct gw *gw, const struct addr *local, struct addr *out)
{
	if (gw->set.announce_to.port != 0) {
		*out = gw->set.announce_to;
		return;
	}
	if (addr_is_v4(local)) {
		if (!addr_parse("224.0.0.1", CLIENT_PORT, out))
			out->port = 0;
	} else if (addr_parse("ff02::1", CLIENT_PORT, out))
		out->scope = interface_of(gw, local);
	else
		out->port = 0;
}

static bool
is_multicast(const struct addr *a)
{
	return addr_is_v4(a) ? (a->ip[12] & 0xf0) == 0xe0 : a->ip[0] == 0xff;
}

static void
choose_interface(const struct gw *gw, int fd, const struct addr *local)
{
	unsigned index = interface_of(gw, local);
	struct ip_mreqn mreq = { .imr_ifindex = (int)index };
	int hops = 255;

	if (addr_is_v4(local)) {
		memcpy(&mreq.imr_address, local->ip + 12, 4);
		(void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &mreq, sizeof(mreq));
	} else {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index));
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
	}
}

/* Negative errno, or a descriptor bound to `local`; -ENOTCONN while `refuse` is on. */
static int
socket_from(struct gw *gw, const struct addr *local)
{
	struct sock *s;
	int fd;

	for (size_t i = 0; i < gw->net.n; i++) {
		s = &gw->net.socks[i];
		if (addr_same(&s->local, local))
			return s->fd >= 0 ? s->fd : -ENOTCONN;
	}
	if (gw->net.n == sizeof(gw->net.socks) / sizeof(gw->net.socks[0]))
		return -EMFILE;
	fd = open_socket(local);
	if (fd < 0)
		return fd;
	s = &gw->net.socks[gw->net.n++];
	s->fd = fd;
	s->local = *local;
	s->listener = false;
	return fd;
}

void
net_send(struct gw *gw, const struct addr *local, const struct addr *peer, const uint8_t *bytes,
    size_t len, const char *note)
{
	struct sockaddr_storage ss;
	socklen_t sslen = addr_to_sockaddr(peer, &ss);
	int fd = socket_from(gw, local);
	char buf[ADDR_TEXT], buf2[ADDR_TEXT];

	if (fd >= 0 && is_multicast(peer))
		choose_interface(gw, fd, local);
	if (fd >= 0 && sendto(fd, bytes, len, 0, (struct sockaddr *)&ss, sslen) < 0)
		fd = -errno;
	if (fd < 0) {
		gw->stats.unsendable++;
		log_event(gw, "unsent", ",\"local\":\"%s\",\"peer\":\"%s\",\"why\":\"%s\"",
		    addr_format(local, true, buf), addr_format(peer, true, buf2), strerror(-fd));
		return;
	}
	gw->stats.out++;
	log_datagram(gw, "out", local, peer, bytes, len, note);
}

/* The start of the datagram peer → local, by which the client's kernel finds the socket. */
static size_t
quote_datagram(const struct addr *local, const struct addr *peer, uint8_t *p)
{
	size_t at;

	if (addr_is_v4(local)) {
		p[0] = 0x45;
		wire_put16(p + 2, 28);
		p[8] = 64;
		p[9] = IPPROTO_UDP;
		memcpy(p + 12, peer->ip + 12, 4);
		memcpy(p + 16, local->ip + 12, 4);
		at = 20;
	} else {
		p[0] = 0x60;
		wire_put16(p + 4, 8);
		p[6] = IPPROTO_UDP;
		p[7] = 64;
		memcpy(p + 8, peer->ip, 16);
		memcpy(p + 24, local->ip, 16);
		at = 40;
	}
	wire_put16(p + at, peer->port);
	wire_put16(p + at + 2, local->port);
	wire_put16(p + at + 4, 8);
	return at + 8;
}

static uint16_t
internet_sum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += wire_get16(p + i);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void
net_icmp(struct gw *gw, const struct addr *local, const struct addr *peer, enum icmp what)
{
	static const uint8_t code4[] = { 3, 1, 0, 13 }, code6[] = { 4, 3, 0, 1 };
	bool v4 = addr_is_v4(local);
	struct addr from = *local, to = *peer;
	struct sockaddr_storage src, dst;
	socklen_t srclen, dstlen;
	uint8_t p[64] = { 0 };
	size_t n = 8 + quote_datagram(local, peer, p + 8);
	bool ok;
	int fd;

	/* The port of a raw socket's address is the protocol number or nothing. */
	from.port = to.port = 0;
	srclen = addr_to_sockaddr(&from, &src);
	dstlen = addr_to_sockaddr(&to, &dst);
	p[0] = v4 ? 3 : 1;
	p[1] = v4 ? code4[what] : code6[what];
	if (v4) { /* for IPv6 the kernel does it */
		wire_put16(p + 8 + 10, internet_sum(p + 8, 20));
		wire_put16(p + 2, internet_sum(p, n));
	}
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC,
	    v4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
	ok = fd >= 0 && bind(fd, (struct sockaddr *)&src, srclen) == 0 &&
	    sendto(fd, p, n, 0, (struct sockaddr *)&dst, dstlen) >= 0;
	log_event(gw, "icmp", ",\"code\":%u,\"sent\":%s,\"error\":\"%s\"", p[1],
	    ok ? "true" : "false", ok ? "" : strerror(errno));
	if (fd >= 0)
		close(fd);
}

int
net_receive(struct gw *gw, size_t sock, uint8_t *bytes, size_t max, struct addr *peer)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	ssize_t n = recvfrom(gw->net.socks[sock].fd, bytes, max, 0, (struct sockaddr *)&ss, &len);

	if (n < 0 || !addr_from_sockaddr(&ss, peer))
		return -1;
	return (int)n;
}

void
net_close(struct net *net)
{
	for (size_t i = 0; i < net->n; i++) {
		if (net->socks[i].fd >= 0)
			close(net->socks[i].fd);
	}
	net->n = 0;
}
