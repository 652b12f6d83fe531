/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/log.h"
#include "os/loop.h"
#include "os/route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

#define DEBOUNCE (MSTIME_SECOND / 10)  /* after the first event */
#define DUMP_EVERY (MSTIME_SECOND / 5) /* at most */
#define DUMP_AGAIN MSTIME_SECOND       /* after one that failed */
#define DUMP_BUFFER 32768              /* the kernel never sends more at once */
#define DUMP_TRIES 5                   /* of interrupted dumps; then events will tell */
#define EVENTS_AT_ONCE 256

struct route_monitor {
	struct loop *loop;
	struct mnl_socket *events;
	struct loop_fd *watch;
	struct loop_timer *timer;
	bool pending;    /* the timer runs; events are not even read until it fires */
	mstime dumped;   /* when the latest dump was made */
	bool complained; /* about a dump that failed */
	struct route_snapshot snapshot;
	struct netaddr *questions; /* see route_monitor_ask() */
	size_t n_questions;
	void (*changed)(void *, const struct route_snapshot *);
	void *ctx;
};

/* ---- dumps ----------------------------------------------------------------------------- */

struct dump {
	const struct route_monitor *monitor;
	struct mnl_socket *socket;
	uint8_t *buffer;
	unsigned seq;
	bool interrupted;
};

static int
dump_request(struct dump *d, uint16_t type, uint8_t family)
{
	uint8_t bytes[128];
	struct nlmsghdr *head = mnl_nlmsg_put_header(bytes);

	head->nlmsg_type = type;
	head->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	head->nlmsg_seq = ++d->seq;
	if (type == RTM_GETLINK) {
		struct ifinfomsg *link = mnl_nlmsg_put_extra_header(head, sizeof *link);

		link->ifi_family = family;
		/* Half of a link's message is its statistics. */
		mnl_attr_put_u32(head, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	} else if (type == RTM_GETADDR) {
		struct ifaddrmsg *address = mnl_nlmsg_put_extra_header(head, sizeof *address);

		address->ifa_family = family;
	} else {
		struct rtmsg *route = mnl_nlmsg_put_extra_header(head, sizeof *route);

		route->rtm_family = family;
		route->rtm_type = RTN_UNICAST; /* a filter, to kernels with strict checking */
	}
	return mnl_socket_sendto(d->socket, head, head->nlmsg_len) < 0 ? -errno : 0;
}

/* One answer out of a buffer: 1 more to come, 0 the dump is complete, or -errno. */
static int
dump_message(struct dump *d, const struct nlmsghdr *head)
{
	int32_t error = 0;

	if (head->nlmsg_seq != d->seq)
		return 1;
	if ((head->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
		d->interrupted = true; /* the tables changed meanwhile */
	if (head->nlmsg_type != NLMSG_DONE && head->nlmsg_type != NLMSG_ERROR)
		return 1;
	if (mnl_nlmsg_get_payload_len(head) >= sizeof error)
		memcpy(&error, mnl_nlmsg_get_payload(head), sizeof error);
	return error < 0 ? error : 0;
}

/* Asks for one table and reads to the end of the answer. */
static int
dump_table(struct dump *d, struct route_snapshot *into, uint16_t type, uint8_t family)
{
	int status = dump_request(d, type, family);

	if (status != 0)
		return status;
	do {
		ssize_t n = mnl_socket_recvfrom(d->socket, d->buffer, DUMP_BUFFER);
		const struct nlmsghdr *head = (const void *)d->buffer;
		int left = (int)n;

		if (n < 0 && errno == EINTR) {
			status = 1;
			continue;
		}
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return -EPIPE;
		for (status = 1; status > 0 && mnl_nlmsg_ok(head, left);
		     head = mnl_nlmsg_next(head, &left))
			status = dump_message(d, head);
		if (status < 0)
			return status;
		if (!route_parse(into, d->buffer, (size_t)n))
			return -EBADMSG;
	} while (status > 0);
	return 0;
}

/* How do packets for this address go? */
static int
dump_answer(struct dump *d, struct route_snapshot *into, const struct netaddr *address)
{
	bool is4 = netaddr_is4(address);
	uint8_t bytes[128];
	struct nlmsghdr *head = mnl_nlmsg_put_header(bytes);
	struct rtmsg *route;
	ssize_t n;

	head->nlmsg_type = RTM_GETROUTE;
	head->nlmsg_flags = NLM_F_REQUEST;
	head->nlmsg_seq = ++d->seq;
	route = mnl_nlmsg_put_extra_header(head, sizeof *route);
	route->rtm_family = is4 ? AF_INET : AF_INET6;
	route->rtm_dst_len = is4 ? 32 : 128;
	mnl_attr_put(head, RTA_DST, is4 ? 4 : 16, address->b + (is4 ? 12 : 0));
	if (mnl_socket_sendto(d->socket, head, head->nlmsg_len) < 0)
		return -errno;
	do
		n = mnl_socket_recvfrom(d->socket, d->buffer, DUMP_BUFFER);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return route_parse_answer(into, address, d->buffer, (size_t)n) ? 0 : -EBADMSG;
}

static int
dump_answers(struct dump *d, struct route_snapshot *into)
{
	for (size_t i = 0; i < d->monitor->n_questions; i++) {
		int error = dump_answer(d, into, &d->monitor->questions[i]);

		if (error != 0)
			return error;
	}
	return 0;
}

static int
dump_all(struct dump *d, struct route_snapshot *into)
{
	static const struct {
		uint16_t type;
		uint8_t family;
		bool optional;
	} tables[] = {
		{ RTM_GETLINK, AF_UNSPEC, false },
		{ RTM_GETADDR, AF_INET, false },
		{ RTM_GETADDR, AF_INET6, true }, /* no IPv6 in this kernel is no error */
		{ RTM_GETROUTE, AF_INET, false },
		{ RTM_GETROUTE, AF_INET6, true },
	};

	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		int error = dump_table(d, into, tables[i].type, tables[i].family);

		/* Out of time, memory or sense is one, though. */
		if (tables[i].optional &&
		    (error == -EAFNOSUPPORT || error == -EOPNOTSUPP || error == -EINVAL))
			error = 0;
		if (error != 0)
			return error;
	}
	route_snapshot_sort(into);
	return dump_answers(d, into);
}

/* One try on a socket of its own, so that nothing is left over from the last. */
static int
dump_once(const struct route_monitor *m, int (*part)(struct dump *, struct route_snapshot *),
    struct route_snapshot *out, uint8_t *buffer, bool *interrupted)
{
	struct timeval patience = { .tv_sec = 1 }; /* the kernel answers at once */
	struct route_snapshot fresh = { 0 };
	struct dump d = { .monitor = m, .buffer = buffer };
	int error = 0, on = 1;

	d.socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (d.socket == NULL)
		return -errno;
	/* Since 4.20: filtered by the kernel. Without it everything comes, and is skipped. */
	(void)mnl_socket_setsockopt(d.socket, NETLINK_GET_STRICT_CHK, &on, sizeof on);
	if (mnl_socket_bind(d.socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(d.socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof patience) != 0)
		error = -errno;
	if (error == 0)
		error = part(&d, &fresh);
	mnl_socket_close(d.socket);
	if (error != 0) {
		route_snapshot_clear(&fresh);
		return error;
	}
	*interrupted = d.interrupted;
	*out = fresh;
	return 0;
}

/* A whole snapshot, or a part of one, 0 or -errno. The buffer comes from mmap: what malloc keeps of
 * a freed 32 kB would stay ours for good. */
static int
dump(const struct route_monitor *m, int (*part)(struct dump *, struct route_snapshot *),
    struct route_snapshot *out)
{
	bool interrupted = false;
	int error = 0;
	uint8_t *buffer =
	    mmap(NULL, DUMP_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (buffer == MAP_FAILED)
		return -errno;
	for (int i = 0; i < DUMP_TRIES; i++) {
		struct route_snapshot fresh;

		error = dump_once(m, part, &fresh, buffer, &interrupted);
		if (error != 0 && error != -ENOBUFS && error != -EINTR)
			break;
		if (error == 0 && (!interrupted || i == DUMP_TRIES - 1)) {
			*out = fresh;
			break;
		}
		if (error == 0)
			route_snapshot_clear(&fresh);
	}
	munmap(buffer, DUMP_BUFFER);
	return error;
}

/* ---- events ---------------------------------------------------------------------------- */

/* Entries have no pointers, and their padding is zero (route_parse sees to that). */
static bool
same(const struct route_snapshot *a, const struct route_snapshot *b)
{
	return a->n_links == b->n_links && a->n_addresses == b->n_addresses &&
	    a->n_defaults == b->n_defaults && a->n_answers == b->n_answers &&
	    (a->n_links == 0 || memcmp(a->links, b->links, a->n_links * sizeof *a->links) == 0) &&
	    (a->n_addresses == 0 ||
		memcmp(a->addresses, b->addresses, a->n_addresses * sizeof *a->addresses) == 0) &&
	    (a->n_defaults == 0 ||
		memcmp(a->defaults, b->defaults, a->n_defaults * sizeof *a->defaults) == 0) &&
	    (a->n_answers == 0 ||
		memcmp(a->answers, b->answers, a->n_answers * sizeof *a->answers) == 0);
}

static void
look_at(struct route_monitor *m, mstime at)
{
	mstime soonest = m->dumped + DUMP_EVERY;

	loop_timer_set(m->timer, at > soonest ? at : soonest);
	/* What comes now is covered by the dump; a storm may overflow the socket meanwhile. */
	loop_fd_want_read(m->watch, false);
}

/* Is one of the questions about this route? Where it leads stands among the first octets. */
static bool
leads_to_question(const struct route_monitor *m, const struct rtmsg *route, const uint8_t *list,
    const uint8_t *end)
{
	bool is4 = route->rtm_family == AF_INET;
	size_t length = is4 ? 4 : 16;
	struct netprefix to = { .bits = (uint8_t)(route->rtm_dst_len + (is4 ? 96 : 0)) };
	struct rtattr a;

	if (m->n_questions == 0 || (route->rtm_flags & RTM_F_CLONED) != 0)
		return false;
	for (;; list += RTA_ALIGN(a.rta_len)) {
		if ((size_t)(end - list) < sizeof a + length)
			return true;
		memcpy(&a, list, sizeof a);
		if (a.rta_type == RTA_DST || a.rta_len < sizeof a ||
		    RTA_ALIGN(a.rta_len) > (size_t)(end - list))
			break;
	}
	if (a.rta_len != sizeof a + length)
		return true;
	to.addr = is4 ? netaddr_from4(list + sizeof a) : netaddr_from6(list + sizeof a);
	for (size_t i = 0; i < m->n_questions; i++)
		if (netprefix_contains(&to, &m->questions[i]))
			return true;
	return false;
}

/* Is this event a reason to look? Other routes come and go by the thousand. */
static bool
matters(const struct route_monitor *m, const uint8_t *bytes, size_t have, size_t whole)
{
	struct nlmsghdr head;
	struct rtmsg route;

	if (have < sizeof head + sizeof route)
		return true;
	memcpy(&head, bytes, sizeof head);
	memcpy(&route, bytes + sizeof head, sizeof route);
	if (head.nlmsg_type != RTM_NEWROUTE && head.nlmsg_type != RTM_DELROUTE)
		return true;
	if (NLMSG_ALIGN(head.nlmsg_len) < whole) /* several in one: not worth a loop */
		return true;
	if (route.rtm_dst_len != 0)
		return leads_to_question(
		    m, &route, bytes + sizeof head + sizeof route, bytes + have);
	return (route.rtm_flags & RTM_F_CLONED) == 0 &&
	    (route.rtm_type == RTN_UNICAST || m->n_questions > 0);
}

/* Only the head of a message is read, for only that decides. True: there is a reason to look. */
static bool
read_events(struct route_monitor *m)
{
	int fd = mnl_socket_get_fd(m->events);
	bool look = false;

	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		uint8_t bytes[64];
		ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		/* ENOBUFS: some are lost, so it may have been anything. */
		if (n < 0 ||
		    matters(
			m, bytes, (size_t)n < sizeof bytes ? (size_t)n : sizeof bytes, (size_t)n))
			look = true;
	}
	return look;
}

static void
events_ready(void *ctx)
{
	struct route_monitor *m = ctx;

	if (read_events(m))
		look_at(m, loop_now(m->loop) + DEBOUNCE);
}

static void
timer_due(void *ctx)
{
	struct route_monitor *m = ctx;
	struct route_snapshot fresh;
	int error;

	m->dumped = loop_now(m->loop);
	(void)read_events(m); /* older than the dump */
	error = dump(m, dump_all, &fresh);
	if (error != 0) {
		if (!m->complained)
			log_warning("cannot read the routing tables from the kernel: %s; "
				    "trying again every second, with what was known before",
			    strerror(-error));
		m->complained = true;
		look_at(m, m->dumped + DUMP_AGAIN);
		return;
	}
	m->complained = false;
	loop_fd_want_read(m->watch, true);
	if (same(&fresh, &m->snapshot)) {
		route_snapshot_clear(&fresh);
		return;
	}
	route_snapshot_clear(&m->snapshot);
	m->snapshot = fresh;
	m->changed(m->ctx, &m->snapshot);
}

static int
subscribe(struct route_monitor *m)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE };

	m->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (m->events == NULL || mnl_socket_bind(m->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
		if (mnl_socket_setsockopt(m->events, NETLINK_ADD_MEMBERSHIP, (void *)&groups[i],
			sizeof groups[i]) < 0)
			return -errno;
	}
	return 0;
}

int
route_monitor_new(struct loop *loop, void (*changed)(void *ctx, const struct route_snapshot *),
    void *ctx, struct route_monitor **out)
{
	struct route_monitor *m = calloc(1, sizeof *m);
	int error;

	if (m == NULL)
		return -ENOMEM;
	*m = (struct route_monitor){ .loop = loop, .changed = changed, .ctx = ctx };
	/* First the ear, then the eye: nothing can happen in between unnoticed. */
	error = subscribe(m);
	if (error == 0) {
		m->timer = loop_timer_new(loop, timer_due, m);
		m->watch = loop_fd_new(loop, mnl_socket_get_fd(m->events), events_ready, m);
		if (m->timer == NULL || m->watch == NULL)
			error = -ENOMEM;
	}
	if (error == 0) {
		m->dumped = loop_now(loop);
		error = dump(m, dump_all, &m->snapshot);
	}
	if (error != 0) {
		route_monitor_free(m);
		return error;
	}
	*out = m;
	return 0;
}

int
route_monitor_ask(struct route_monitor *m, const struct netaddr *addresses, size_t n)
{
	struct netaddr *old = m->questions, *copy = NULL;
	size_t n_old = m->n_questions;
	struct route_snapshot fresh;
	int error;

	if (n == n_old && (n == 0 || memcmp(old, addresses, n * sizeof *old) == 0))
		return 0;
	if (n > 0) {
		copy = reallocarray(NULL, n, sizeof *copy);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, addresses, n * sizeof *copy);
	}
	m->questions = copy;
	m->n_questions = n;
	error = dump(m, dump_answers, &fresh);
	if (error != 0) {
		m->questions = old;
		m->n_questions = n_old;
		free(copy);
		return error;
	}
	free(old);
	free(m->snapshot.answers);
	m->snapshot.answers = fresh.answers;
	m->snapshot.n_answers = fresh.n_answers;
	return 0;
}

const struct route_snapshot *
route_monitor_snapshot(const struct route_monitor *m)
{
	return &m->snapshot;
}

void
route_monitor_free(struct route_monitor *m)
{
	if (m == NULL)
		return;
	loop_fd_free(m->watch);
	loop_timer_free(m->timer);
	if (m->events != NULL)
		mnl_socket_close(m->events);
	route_snapshot_clear(&m->snapshot);
	free(m->questions);
	free(m);
}
