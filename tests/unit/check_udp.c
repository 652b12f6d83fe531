/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/udp.h"

#include "os/loop.h"

#include "netns.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE (10 * MSTIME_SECOND)
#define PATH 77

/* Addresses of this test alone, should it run on the host's loopback. */
#define GATEWAY "127.53.51.1"
#define OTHER "127.53.51.2"
#define ME "127.53.51.3"

static struct loop *loop;
static struct loop_timer *guard;
static struct udp *udp;
static bool own_network, timed_out, frees_itself;
static int gateway = -1; /* the gateway's socket */

static struct {
	unsigned datagrams, errors;
	size_t n; /* of the latest datagram */
	uint8_t bytes[2000];
	enum udp_error error;
} seen;

static void
stop(void)
{
	if (frees_itself) {
		udp_free(udp);
		udp = NULL;
	}
	loop_stop(loop);
}

static void
got_datagram(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	ck_assert_ptr_eq(ctx, &seen);
	ck_assert_uint_eq(path, PATH);
	ck_assert_uint_le(n, sizeof seen.bytes);
	memcpy(seen.bytes, bytes, n);
	seen.n = n;
	seen.datagrams++;
	stop();
}

static void
got_error(void *ctx, uint32_t path, enum udp_error error)
{
	ck_assert_ptr_eq(ctx, &seen);
	ck_assert_uint_eq(path, PATH);
	seen.error = error;
	seen.errors++;
	stop();
}

static const struct udp_handler handler = { got_datagram, got_error };

static void
give_up(void *ctx)
{
	(void)ctx;
	timed_out = true;
	loop_stop(loop);
}

/* Until the handler hears of something; false: it does not. */
static bool
hears(mstime patience)
{
	timed_out = false;
	loop_timer_set(guard, loop_now(loop) + patience);
	ck_assert_int_eq(loop_run(loop), 0);
	return !timed_out;
}

static struct netaddr
addr(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(text, &a));
	return a;
}

static int
open_udp(const char *to, const char *from, const char *interface)
{
	struct netaddr gw = addr(to), local = addr(from);

	return udp_open(
	    loop, PATH, if_nametoindex(interface), interface, &gw, &local, &handler, &seen, &udp);
}

static socklen_t
sockaddr_of(struct sockaddr_storage *to, const char *address, uint16_t port, const char *scope)
{
	struct netaddr a = addr(address);
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof *to);
	if (netaddr_is4(&a)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a.b + 12, 4);
		return sizeof *in;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a.b, 16);
	in6->sin6_scope_id = scope != NULL ? if_nametoindex(scope) : 0;
	return sizeof *in6;
}

/* A socket of somebody else's; -1: cannot be bound. */
static int
somebody(const char *address, uint16_t port, const char *scope)
{
	struct timeval patience = { .tv_sec = PATIENCE / MSTIME_SECOND };
	struct sockaddr_storage sa;
	socklen_t n = sockaddr_of(&sa, address, port, scope);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&sa, n) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return fd;
}

static void
open_gateway(void)
{
	gateway = somebody(GATEWAY, 5351, NULL);
	ck_assert_int_ge(gateway, 0);
}

/* What the gateway receives, and from whom. */
static size_t
gateway_hears(uint8_t *bytes, size_t n, struct sockaddr_storage *from)
{
	socklen_t size = sizeof *from;
	ssize_t got = recvfrom(gateway, bytes, n, 0, (struct sockaddr *)from, &size);

	ck_assert_int_ge(got, 0);
	return (size_t)got;
}

static void
say(int fd, const struct sockaddr_storage *to, const void *bytes, size_t n)
{
	ck_assert_int_eq(
	    sendto(fd, bytes, n, 0, (const struct sockaddr *)to, sizeof *to), (ssize_t)n);
}

static void
setup(void)
{
	own_network = netns_enter();
	memset(&seen, 0, sizeof seen);
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	guard = loop_timer_new(loop, give_up, NULL);
	udp = NULL;
	frees_itself = false;
}

static void
teardown(void)
{
	udp_free(udp);
	if (gateway >= 0)
		close(gateway);
	loop_timer_free(guard);
	loop_free(loop);
}

/* P-41 */
START_TEST(there_and_back)
{
	struct netaddr me = addr("127.0.0.1"), local;
	struct sockaddr_storage from;
	uint8_t bytes[100];

	open_gateway();
	ck_assert_int_eq(open_udp(GATEWAY, "0.0.0.0", "lo"), 0);
	local = udp_local(udp);
	ck_assert(netaddr_equal(&local, &me));
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert_uint_eq(gateway_hears(bytes, sizeof bytes, &from), 7);
	ck_assert_mem_eq(bytes, "request", 7);
	say(gateway, &from, "one", 3);
	say(gateway, &from, "two", 3);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.n, 3);
	ck_assert_mem_eq(seen.bytes, "one", 3);
	ck_assert(hears(PATIENCE));
	ck_assert_mem_eq(seen.bytes, "two", 3);
	ck_assert_uint_eq(seen.datagrams, 2);
	ck_assert_uint_eq(seen.errors, 0);
}
END_TEST

START_TEST(a_given_source)
{
	struct netaddr me = addr(ME), local;
	struct sockaddr_storage from, expected;
	uint8_t bytes[100];

	open_gateway();
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	local = udp_local(udp);
	ck_assert(netaddr_equal(&local, &me));
	ck_assert_int_eq(udp_send(udp, "x", 1), 0);
	(void)gateway_hears(bytes, sizeof bytes, &from);
	sockaddr_of(&expected, ME, ntohs(((struct sockaddr_in *)&from)->sin_port), NULL);
	ck_assert_mem_eq(&from, &expected, sizeof(struct sockaddr_in));
}
END_TEST

/* P-43: random source ports. */
START_TEST(ports_differ)
{
	struct sockaddr_storage from;
	uint8_t bytes[100];
	uint16_t ports[8];
	unsigned steps = 0;

	open_gateway();
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(open_udp(GATEWAY, "0.0.0.0", "lo"), 0);
		ck_assert_int_eq(udp_send(udp, "x", 1), 0);
		(void)gateway_hears(bytes, sizeof bytes, &from);
		ports[i] = ntohs(((struct sockaddr_in *)&from)->sin_port);
		udp_free(udp);
		udp = NULL;
		ck_assert_uint_ne(ports[i], 5351);
		if (i > 0 && abs(ports[i] - ports[i - 1]) > 2)
			steps++;
	}
	ck_assert_uint_ge(steps, 4); /* not sequential */
}
END_TEST

/* Q-015, P-12, P-19, P-55: only the gateway's address and port are listened to. */
START_TEST(others_are_not_heard)
{
	struct sockaddr_storage from;
	uint8_t bytes[100];
	int other_address = somebody(OTHER, 5351, NULL), other_port = somebody(GATEWAY, 5352, NULL);

	ck_assert(other_address >= 0 && other_port >= 0);
	open_gateway();
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	(void)gateway_hears(bytes, sizeof bytes, &from);
	say(other_address, &from, "forged", 6);
	say(other_port, &from, "forged", 6);
	say(gateway, &from, "right", 5);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.n, 5);
	ck_assert_mem_eq(seen.bytes, "right", 5);
	close(other_address);
	close(other_port);
}
END_TEST

/* RFC 6887 section 7: 1100 octets; a longer datagram must not look like a shorter one. */
START_TEST(lengths)
{
	static uint8_t big[60000];
	struct sockaddr_storage from;
	uint8_t bytes[100];

	memset(big, 'b', sizeof big);
	open_gateway();
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	(void)gateway_hears(bytes, sizeof bytes, &from);
	say(gateway, &from, big, 1101);
	say(gateway, &from, big, sizeof big);
	say(gateway, &from, big, 1100);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.datagrams, 1);
	ck_assert_uint_eq(seen.n, 1100);
	ck_assert_mem_eq(seen.bytes, big, 1100);
	say(gateway, &from, big, 0);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.datagrams, 2);
	ck_assert_uint_eq(seen.n, 0);
}
END_TEST

START_TEST(refused)
{
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.errors, 1);
	ck_assert_int_eq(seen.error, UDP_REFUSED);
	/* Told once; the socket is not "ready" for ever after. */
	ck_assert(!hears(50));
	ck_assert_uint_eq(seen.errors, 1);
	ck_assert_uint_eq(seen.datagrams, 0);
}
END_TEST

/* the refusal of an earlier packet must not cost the next one. */
START_TEST(a_pending_refusal_costs_nothing)
{
	struct sockaddr_storage from;
	uint8_t bytes[100];

	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "first", 5), 0); /* refused before it returns, on loopback */
	open_gateway();
	ck_assert_int_eq(udp_send(udp, "second", 6), 0);
	ck_assert_uint_eq(gateway_hears(bytes, sizeof bytes, &from), 6);
	ck_assert_mem_eq(bytes, "second", 6);
	ck_assert_uint_eq(seen.errors, 0); /* not from within udp_send() */
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.errors, 1);
	ck_assert_int_eq(seen.error, UDP_REFUSED);
	say(gateway, &from, "answer", 6);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.datagrams, 1);
	ck_assert(!hears(50));
	ck_assert_uint_eq(seen.errors, 1);
}
END_TEST

/* Several refusals at once are one event. */
START_TEST(refusals_are_gathered)
{
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert(hears(PATIENCE));
	ck_assert(!hears(50));
	ck_assert_uint_eq(seen.errors, 1);
}
END_TEST

START_TEST(a_handler_may_free_its_socket)
{
	struct sockaddr_storage from;
	uint8_t bytes[100];

	frees_itself = true;
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.errors, 1);
	ck_assert_ptr_null(udp);
	open_gateway();
	ck_assert_int_eq(open_udp(GATEWAY, ME, "lo"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	(void)gateway_hears(bytes, sizeof bytes, &from);
	say(gateway, &from, "one", 3);
	say(gateway, &from, "two", 3);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.datagrams, 1);
	ck_assert_ptr_null(udp);
	ck_assert(!hears(50));
	udp_free(NULL);
}
END_TEST

START_TEST(cannot_open)
{
	struct netaddr gw = addr(GATEWAY), local = addr("192.0.2.200");

	ck_assert_int_eq(open_udp(GATEWAY, "192.0.2.200", "lo"), -EADDRNOTAVAIL);
	ck_assert_int_eq(open_udp(GATEWAY, "::1", "lo"), -EAFNOSUPPORT);
	ck_assert_int_eq(open_udp("::1", GATEWAY, "lo"), -EAFNOSUPPORT);
	local = addr(ME);
	ck_assert_int_eq(
	    udp_open(loop, PATH, 4242, "nosuch0", &gw, &local, &handler, &seen, &udp), -ENODEV);
	ck_assert_ptr_null(udp);
}
END_TEST

START_TEST(ipv6)
{
	struct netaddr me = addr("::1"), local;
	struct sockaddr_storage from;
	uint8_t bytes[100];

	gateway = somebody("::1", 5351, NULL);
	if (gateway < 0) /* no IPv6 here, or somebody has the port */
		return;
	ck_assert_int_eq(open_udp("::1", "::", "lo"), 0);
	local = udp_local(udp);
	ck_assert(netaddr_equal(&local, &me));
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert_uint_eq(gateway_hears(bytes, sizeof bytes, &from), 7);
	say(gateway, &from, "answer", 6);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.datagrams, 1);
	close(gateway);
	gateway = -1;
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert(hears(PATIENCE));
	ck_assert_int_eq(seen.error, UDP_REFUSED);
}
END_TEST

/* a link-local router, asked from a global address. */
START_TEST(link_local_gateway)
{
	struct netaddr me = addr("2001:db8::2"), local;
	struct sockaddr_storage from;
	uint8_t bytes[100];

	if (!own_network || !netns_cable() ||
	    !netns_run("ip -6 addr add fe80::1/64 dev right0 nodad && "
		       "ip -6 addr add 2001:db8::2/64 dev left0 nodad && "
		       "ip -6 route add 2001:db8::2 dev right0 table 99 && "
		       "ip -6 rule add iif right0 table 99 pref 1"))
		return;
	gateway = somebody("fe80::1", 5351, "right0");
	ck_assert_int_ge(gateway, 0);
	ck_assert_int_eq(open_udp("fe80::1", "2001:db8::2", "left0"), 0);
	local = udp_local(udp);
	ck_assert(netaddr_equal(&local, &me));
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert_uint_eq(gateway_hears(bytes, sizeof bytes, &from), 7);
	ck_assert_mem_eq(((struct sockaddr_in6 *)&from)->sin6_addr.s6_addr, me.b, 16);
}
END_TEST

/* this host's firewall. */
START_TEST(firewall)
{
	if (!own_network || !netns_cable() || !netns_run("nft add table inet t") ||
	    !netns_run("nft add chain inet t o '{ type filter hook output priority 0; }'"))
		return;
	ck_assert_int_eq(open_udp("10.53.0.9", "0.0.0.0", "left0"), 0);
	ck_assert(netns_run("nft add rule inet t o udp dport 5351 drop"));
	ck_assert_int_eq(udp_send(udp, "request", 7), -EPERM);
	ck_assert(!hears(50));
	/* REJECT also sends a port unreachable, to ourselves: that is not the gateway speaking. */
	ck_assert(netns_run("nft flush chain inet t o"));
	ck_assert(netns_run("nft add rule inet t o udp dport 5351 reject"));
	ck_assert_int_eq(udp_send(udp, "request", 7), -EPERM);
	(void)hears(50);
	ck_assert(seen.errors == 0 || seen.error == UDP_LOCAL);
	ck_assert_uint_eq(seen.datagrams, 0);
}
END_TEST

/*
 * a neighbour that does not answer is told in the error queue only. (The kernel sends that
 * ICMP to itself by way of lo: a socket bound to another device does not hear it, only silence.)
 */
START_TEST(dead_neighbour)
{
	if (!own_network || !netns_cable())
		return;
	(void)netns_run("echo 100 >/proc/sys/net/ipv4/neigh/left0/retrans_time_ms");
	ck_assert_int_eq(open_udp("10.53.0.9", "10.53.0.1", ""), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
	ck_assert(hears(PATIENCE));
	ck_assert_uint_eq(seen.errors, 1);
	ck_assert_int_eq(seen.error, UDP_HOST);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
}
END_TEST

static void
drop_privileges(void)
{
	ck_assert_int_eq(setgid(65534), 0);
	ck_assert_int_eq(setuid(65534), 0);
}

/* No route, forbidden routes: an error, never an assertion (appendix 2 of the quirks). And all of
 * it without privileges. */
START_TEST(no_way)
{
	if (!own_network || !netns_cable())
		return;
	ck_assert(netns_run("ip route add unreachable 10.1.0.1"));
	ck_assert(netns_run("ip route add prohibit 10.1.0.2"));
	ck_assert(netns_run("ip route add blackhole 10.1.0.3"));
	if (getuid() == 0 && access("/proc/self/uid_map", R_OK) == 0 &&
	    !netns_run("grep -q '0 *0 *1$' /proc/self/uid_map"))
		drop_privileges();
	ck_assert_int_eq(open_udp("10.1.0.1", "0.0.0.0", ""), -EHOSTUNREACH);
	ck_assert_int_eq(open_udp("10.1.0.2", "0.0.0.0", ""), -EACCES);
	ck_assert_int_eq(open_udp("10.1.0.3", "0.0.0.0", ""), -EINVAL);
	ck_assert_int_eq(open_udp("10.9.0.3", "0.0.0.0", ""), -ENETUNREACH);
	ck_assert_ptr_null(udp);
	ck_assert_int_eq(open_udp("10.53.0.9", "10.53.0.1", "left0"), 0);
	udp_free(udp);
	/* Nothing leads there, but out of the device it goes. */
	ck_assert_int_eq(open_udp("10.2.0.1", "10.53.0.1", "left0"), 0);
	ck_assert_int_eq(udp_send(udp, "request", 7), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("udp");
	TCase *tc = tcase_create("udp");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, a_given_source);
	tcase_add_test(tc, ports_differ);
	tcase_add_test(tc, others_are_not_heard);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, a_pending_refusal_costs_nothing);
	tcase_add_test(tc, refusals_are_gathered);
	tcase_add_test(tc, a_handler_may_free_its_socket);
	tcase_add_test(tc, cannot_open);
	tcase_add_test(tc, ipv6);
	tcase_add_test(tc, link_local_gateway);
	tcase_add_test(tc, firewall);
	tcase_add_test(tc, dead_neighbour);
	tcase_add_test(tc, no_way);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
