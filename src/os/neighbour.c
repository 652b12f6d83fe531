/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/neighbour.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DISCARD_PORT 9
#define ANSWER_MAX 1024
/* States in which the kernel sends to the address it has; NOARP is a link that needs none. */
#define USABLE (NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

struct neighbours {
	struct mnl_socket *socket;
	unsigned seq;
};

int
neighbours_open(struct neighbours **out)
{
	struct timeval patience = { .tv_sec = 1 }; /* the kernel answers at once */
	struct neighbours *n = calloc(1, sizeof *n);
	int error = 0;

	if (n == NULL)
		return -ENOMEM;
	n->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (n->socket == NULL || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience) != 0)
		error = -errno;
	if (error != 0) {
		neighbours_close(n);
		return error;
	}
	*out = n;
	return 0;
}

static int
ask(struct neighbours *n, unsigned ifindex, const struct netaddr *address)
{
	uint8_t bytes[128];
	struct nlmsghdr *head = mnl_nlmsg_put_header(bytes);
	struct ndmsg *question = mnl_nlmsg_put_extra_header(head, sizeof *question);

	head->nlmsg_type = RTM_GETNEIGH;
	head->nlmsg_flags = NLM_F_REQUEST;
	head->nlmsg_seq = ++n->seq;
	question->ndm_ifindex = (int)ifindex;
	if (netaddr_is4(address)) {
		question->ndm_family = AF_INET;
		mnl_attr_put(head, NDA_DST, 4, address->b + 12);
	} else {
		question->ndm_family = AF_INET6;
		mnl_attr_put(head, NDA_DST, 16, address->b);
	}
	return mnl_socket_sendto(n->socket, head, head->nlmsg_len) < 0 ? -errno : 0;
}

/* An answer to our question: 0, or -errno. */
static int
read_answer(const struct nlmsghdr *head, uint8_t out[6])
{
	const struct ndmsg *entry = mnl_nlmsg_get_payload(head);
	const struct nlattr *a;

	if (head->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(head);

		if (mnl_nlmsg_get_payload_len(head) < sizeof *e)
			return -EBADMSG;
		/* EINVAL, EOPNOTSUPP: this kernel only knows how to list all of them. */
		return e->error == -EINVAL || e->error == -EOPNOTSUPP ? -ENOTSUP
		    : e->error == 0                                   ? -EBADMSG
								      : e->error;
	}
	if (head->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(head) < sizeof *entry)
		return -EBADMSG;
	if ((entry->ndm_state & NUD_NOARP) != 0)
		return -ENOTSUP;
	if ((entry->ndm_state & USABLE) == 0)
		return -ENOENT;
	for (a = mnl_nlmsg_get_payload_offset(head, sizeof *entry); mnl_attr_ok(
		 a, (int)((const uint8_t *)mnl_nlmsg_get_payload_tail(head) - (const uint8_t *)a));
	     a = mnl_attr_next(a)) {
		if (mnl_attr_get_type(a) != NDA_LLADDR)
			continue;
		if (mnl_attr_get_payload_len(a) != 6)
			return -ENOTSUP;
		memcpy(out, mnl_attr_get_payload(a), 6);
		return 0;
	}
	return -ENOTSUP;
}

int
neighbours_find(
    struct neighbours *n, unsigned ifindex, const struct netaddr *address, uint8_t out[6])
{
	int error = ask(n, ifindex, address);

	while (error == 0) {
		_Alignas(struct nlmsghdr) uint8_t bytes[ANSWER_MAX];
		const struct nlmsghdr *head = (const void *)bytes;
		ssize_t size = mnl_socket_recvfrom(n->socket, bytes, sizeof bytes);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!mnl_nlmsg_ok(head, (int)size))
			return -EBADMSG;
		if (head->nlmsg_seq == n->seq) /* not of a question given up */
			return read_answer(head, out);
	}
	return error;
}

void
neighbours_close(struct neighbours *n)
{
	if (n == NULL)
		return;
	if (n->socket != NULL)
		mnl_socket_close(n->socket);
	free(n);
}

/* ---- provoking ------------------------------------------------------------------------- */

static int
send_nothing(int fd, unsigned ifindex, const char *interface, const struct netaddr *address)
{
	struct sockaddr_in6 to6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(DISCARD_PORT), .sin6_scope_id = ifindex
	};
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(DISCARD_PORT) };
	bool is4 = netaddr_is4(address);
	int hops = 1;

	if (setsockopt(fd, is4 ? IPPROTO_IP : IPPROTO_IPV6, is4 ? IP_TTL : IPV6_UNICAST_HOPS, &hops,
		sizeof hops) != 0)
		return -errno;
	/* Kernels before 5.7 want CAP_NET_RAW: there the route decides. */
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface,
		(socklen_t)strlen(interface) + 1) != 0 &&
	    errno != EPERM)
		return -errno;
	memcpy(&to4.sin_addr, address->b + 12, 4);
	memcpy(&to6.sin6_addr, address->b, 16);
	if (sendto(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL,
		is4 ? (const struct sockaddr *)&to4 : (const struct sockaddr *)&to6,
		is4 ? sizeof to4 : sizeof to6) < 0)
		return -errno;
	return 0;
}

int
neighbour_provoke(unsigned ifindex, const char *interface, const struct netaddr *address)
{
	int fd, error;

	fd = socket(netaddr_is4(address) ? AF_INET : AF_INET6,
	    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = send_nothing(fd, ifindex, interface, address);
	close(fd);
	return error;
}
