/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/udp.h"

#include "os/loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/errqueue.h>
#include <unistd.h>

#define GATEWAY_PORT 5351
#define DATAGRAM_MAX 1100 /* RFC 6887 section 7; NAT-PMP is far below */
#define ERRORS_MAX 64     /* read at once from the error queue */

struct udp {
	int fd;
	uint32_t path;
	struct netaddr gateway, local;
	struct loop_fd *watch;
	struct udp_handler handler;
	void *ctx;
};

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t
sockaddr_from(union sockaddr_any *to, const struct netaddr *addr, uint16_t port, unsigned ifindex)
{
	memset(to, 0, sizeof *to);
	if (netaddr_is4(addr)) {
		to->in.sin_family = AF_INET;
		to->in.sin_port = htons(port);
		memcpy(&to->in.sin_addr, addr->b + 12, 4);
		return sizeof to->in;
	}
	to->in6.sin6_family = AF_INET6;
	to->in6.sin6_port = htons(port);
	memcpy(&to->in6.sin6_addr, addr->b, 16);
	/* Without a scope a link-local address is EINVAL. */
	if (netaddr_is_linklocal(addr))
		to->in6.sin6_scope_id = ifindex;
	return sizeof to->in6;
}

static bool
netaddr_of(const struct sockaddr *sa, struct netaddr *out)
{
	union sockaddr_any any;

	if (sa->sa_family == AF_INET) {
		memcpy(&any.in, sa, sizeof any.in);
		*out = netaddr_from4((const uint8_t *)&any.in.sin_addr);
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&any.in6, sa, sizeof any.in6);
		*out = netaddr_from6(any.in6.sin6_addr.s6_addr);
		return true;
	}
	return false;
}

static int
bind_to_device(int fd, bool is4, unsigned ifindex, const char *interface)
{
	uint32_t index = htonl(ifindex);

	if (ifindex == 0)
		return 0;
	if (setsockopt(
		fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) == 0)
		return 0;
	/* Kernels before 5.7 want CAP_NET_RAW: at least choose the way out. */
	if (errno != EPERM && errno != ENOPROTOOPT)
		return -errno;
	if (is4 && setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &index, sizeof index) != 0)
		return -errno;
	if (!is4 && setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, &index, sizeof index) != 0)
		return -errno;
	return 0;
}

static int
set_options(int fd, bool is4)
{
	int on = 1;

	/* ICMP host unreachable and a dead neighbour are told in the error queue only. */
	if (is4)
		return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on) != 0 ? -errno : 0;
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on) != 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
		return -errno;
	return 0;
}

/* Binds, connects, and finds out the source address. */
static int
join_ends(struct udp *u, unsigned ifindex, const struct netaddr *local)
{
	union sockaddr_any addr;
	socklen_t n;

	if (!netaddr_is_any(local)) {
		n = sockaddr_from(&addr, local, 0, ifindex);
		if (bind(u->fd, &addr.sa, n) != 0)
			return -errno;
	}
	n = sockaddr_from(&addr, &u->gateway, GATEWAY_PORT, ifindex);
	if (connect(u->fd, &addr.sa, n) != 0)
		return -errno;
	n = sizeof addr;
	if (getsockname(u->fd, &addr.sa, &n) != 0)
		return -errno;
	if (!netaddr_of(&addr.sa, &u->local))
		return -EAFNOSUPPORT;
	/* Between bind and connect anybody could put something into the queue. */
	for (int i = 0; i < ERRORS_MAX; i++) {
		if (recv(u->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) < 0)
			break;
	}
	return 0;
}

/*
 * What a message of the error queue says about the path. An error that this host made itself is
 * either the firewall's (EPERM, EACCES, or a REJECT in the output chain: a port unreachable from
 * our own address) or a neighbour that does not answer. False: nothing about reachability.
 */
static bool
classify(const struct udp *u, const struct sock_extended_err *e, enum udp_error *out)
{
	struct netaddr offender;
	bool own;

	if (e->ee_errno == EMSGSIZE || e->ee_errno == 0)
		return false;
	switch (e->ee_origin) {
	case SO_EE_ORIGIN_LOCAL:
		*out = e->ee_errno == EPERM || e->ee_errno == EACCES ? UDP_LOCAL : UDP_HOST;
		return true;
	case SO_EE_ORIGIN_ICMP:
	case SO_EE_ORIGIN_ICMP6:
		own = netaddr_of(SO_EE_OFFENDER(e), &offender) &&
		    netaddr_equal(&offender, &u->local) && !netaddr_equal(&u->gateway, &u->local);
		if (e->ee_errno == ECONNREFUSED)
			*out = own ? UDP_LOCAL : UDP_REFUSED;
		else
			*out = UDP_HOST; /* also a remote firewall's "prohibited" */
		return true;
	default:
		return false;
	}
}

static bool
is_error_message(const struct cmsghdr *c)
{
	if (c->cmsg_len < CMSG_LEN(sizeof(struct sock_extended_err) + sizeof(struct sockaddr)))
		return false;
	return (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
	    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
}

/* Empties the error queue. True if it told something about the path: the latest counts, several
 * are about as many packets that nobody waits for any more. */
static bool
read_errors(const struct udp *u, enum udp_error *out)
{
	bool found = false;

	for (int i = 0; i < ERRORS_MAX; i++) {
		union {
			struct cmsghdr align;
			char bytes[256];
		} control;
		struct msghdr m = { .msg_control = &control, .msg_controllen = sizeof control };

		if (recvmsg(u->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
			const struct sock_extended_err *e = (const void *)CMSG_DATA(c);

			if (is_error_message(c) && classify(u, e, out))
				found = true;
		}
	}
	return found;
}

/* An error without a message in the queue (the kernel was short of memory for it). */
static bool
classify_errno(int error, enum udp_error *out)
{
	switch (error) {
	case ECONNREFUSED:
		*out = UDP_REFUSED;
		return true;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EPROTO:
	case EACCES: /* ICMPv6: administratively prohibited, by somebody on the way */
		*out = UDP_HOST;
		return true;
	default:
		return false;
	}
}

/*
 * One datagram each time: the loop is level-triggered and comes again for the next, and the usual
 * single answer costs no second call that would only say EAGAIN. The handler may free `u`.
 */
static void
socket_ready(void *ctx)
{
	struct udp *u = ctx;
	uint8_t bytes[DATAGRAM_MAX];
	enum udp_error error;
	ssize_t n = recv(u->fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
	int why = errno;

	if (n >= 0) {
		if ((size_t)n <= sizeof bytes) /* a longer one can only be wrong */
			u->handler.datagram(u->ctx, u->path, bytes, (size_t)n);
		return;
	}
	/* Reading the queue also clears the socket's own error. */
	if (read_errors(u, &error) || classify_errno(why, &error))
		u->handler.error(u->ctx, u->path, error);
}

int
udp_open(struct loop *loop, uint32_t path, unsigned ifindex, const char *interface,
    const struct netaddr *gateway, const struct netaddr *local, const struct udp_handler *handler,
    void *ctx, struct udp **out)
{
	bool is4 = netaddr_is4(gateway);
	struct udp *u;
	int error;

	if (!netaddr_is_any(local) && netaddr_is4(local) != is4)
		return -EAFNOSUPPORT;
	u = calloc(1, sizeof *u);
	if (u == NULL)
		return -ENOMEM;
	*u = (struct udp){
		.path = path, .gateway = *gateway, .local = *local, .handler = *handler, .ctx = ctx
	};
	u->fd = socket(is4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0) {
		error = -errno;
		free(u);
		return error;
	}
	error = set_options(u->fd, is4);
	if (error == 0)
		error = bind_to_device(u->fd, is4, ifindex, interface);
	if (error == 0)
		error = join_ends(u, ifindex, local);
	if (error == 0) {
		u->watch = loop_fd_new(loop, u->fd, socket_ready, u);
		if (u->watch == NULL)
			error = -ENOMEM;
	}
	if (error != 0) {
		udp_free(u);
		return error;
	}
	*out = u;
	return 0;
}

struct netaddr
udp_local(const struct udp *u)
{
	return u->local;
}

int
udp_send(struct udp *u, const void *bytes, size_t n)
{
	if (send(u->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EPERM || errno == EAGAIN || errno == ENOBUFS)
		return -errno;
	/*
	 * Perhaps the error is an earlier packet's: the kernel hands it to the next call and
	 * forgets it, so a second try tells. Its message stays in the error queue and keeps the
	 * socket readable: the handler hears of it from the loop. Not from here, for the engine is
	 * in the middle of something.
	 */
	return send(u->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

void
udp_free(struct udp *u)
{
	if (u == NULL)
		return;
	loop_fd_free(u->watch);
	close(u->fd);
	free(u);
}
