/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/announce.h"

#include "os/loop.h"

#include "netns.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PATIENCE (10 * MSTIME_SECOND)
#define QUIET 60 /* ms: in this time a packet within one machine has come, or never does */

static struct loop *loop;
static struct loop_timer *guard;
static struct announce *announce;
static bool cable, timed_out, frees_itself;
static unsigned left, right, stop_at;
static mstime retry_at; /* what the timer was last set to */

static struct {
	unsigned n, ifindex;
	struct netaddr source;
	uint16_t port;
	size_t size;
	uint8_t bytes[2000];
	mstime at[20]; /* when the first ones came */
} heard;

#if __SIZEOF_LONG__ == 8
int
timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	retry_at = (mstime) new->it_value.tv_sec * 1000 + new->it_value.tv_nsec / 1000000;
	return (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
}
#endif

static void
got(void *ctx, unsigned ifindex, const struct netaddr *source, uint16_t port, const void *bytes,
    size_t n)
{
	ck_assert_ptr_eq(ctx, &heard);
	heard.ifindex = ifindex;
	heard.source = *source;
	heard.port = port;
	heard.size = n;
	ck_assert_uint_le(n, sizeof heard.bytes);
	memcpy(heard.bytes, bytes, n);
	if (frees_itself) {
		announce_free(announce);
		announce = NULL;
	}
	if (heard.n < 20)
		heard.at[heard.n] = loop_now(loop);
	if (++heard.n == stop_at)
		loop_stop(loop);
}

static void
give_up(void *ctx)
{
	(void)ctx;
	timed_out = true;
	loop_stop(loop);
}

/* Until `n` more packets are heard, or for that long. Returns how many. */
static unsigned
listen_for(unsigned n, mstime patience)
{
	unsigned before = heard.n;

	stop_at = before + n;
	timed_out = false;
	loop_timer_set(guard, loop_now(loop) + patience);
	ck_assert_int_eq(loop_run(loop), 0);
	return heard.n - before;
}

/* Sends out of an interface, from port 5351 of the gateway at its other end. */
static void
multicast(bool ipv6, const char *interface, const void *bytes, size_t n)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(5351) }, to = from;
	struct sockaddr_in6 from6 = { .sin6_family = AF_INET6, .sin6_port = htons(5351) },
			    to6 = from6;
	struct ip_mreqn out = { .imr_ifindex = (int)if_nametoindex(interface) };
	int on = 1, off = 0, fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* Heard at the other end, not at this one. */
	setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof off);
	setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof off);
	to.sin_port = to6.sin6_port = htons(5350);
	to.sin_addr.s_addr = htonl(0xe0000001);
	to6.sin6_addr.s6_addr[0] = 0xff;
	to6.sin6_addr.s6_addr[1] = 0x02;
	to6.sin6_addr.s6_addr[15] = 0x01;
	to6.sin6_scope_id = if_nametoindex(interface);
	if (ipv6) {
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&from6, sizeof from6), 0);
		ck_assert_int_eq(
		    sendto(fd, bytes, n, 0, (struct sockaddr *)&to6, sizeof to6), (ssize_t)n);
	} else {
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
		ck_assert_int_eq(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out), 0);
		ck_assert_int_eq(
		    sendto(fd, bytes, n, 0, (struct sockaddr *)&to, sizeof to), (ssize_t)n);
	}
	close(fd);
}

/* A cable whose right end is the gateway's: 10.53.0.2 and fe80::1. */
static bool
plug_in(void)
{
	return netns_enter() && netns_cable() &&
	    netns_run("ip addr add 10.53.0.2/24 dev right0 && "
		      "ip -6 addr add fe80::1/64 dev right0 nodad && "
		      "for i in all left0; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter && "
		      "echo 1 >/proc/sys/net/ipv4/conf/$i/accept_local || exit 1; done");
}

static void
setup(void)
{
	cable = plug_in();
	left = if_nametoindex("left0");
	right = if_nametoindex("right0");
	memset(&heard, 0, sizeof heard);
	frees_itself = false;
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	guard = loop_timer_new(loop, give_up, NULL);
	announce = announce_new(loop, got, &heard);
	ck_assert_ptr_nonnull(announce);
}

static void
teardown(void)
{
	announce_free(announce);
	loop_timer_free(guard);
	loop_free(loop);
}

/* All of these need a network of their own; without it there is little to see. */
#define NEEDS_CABLE()           \
	do {                    \
		if (!cable)     \
			return; \
	} while (0)

/* P-91 */
START_TEST(both_families)
{
	char text[NETADDR_STRLEN];

	NEEDS_CABLE();
	announce_set_interfaces(announce, &left, 1);
	multicast(false, "right0", "\0\x80 four", 7);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	ck_assert_uint_eq(heard.ifindex, left);
	ck_assert_str_eq(netaddr_print(&heard.source, text), "10.53.0.2");
	ck_assert_uint_eq(heard.port, 5351);
	ck_assert_uint_eq(heard.size, 7);
	ck_assert_mem_eq(heard.bytes, "\0\x80 four", 7);
	multicast(true, "right0", "\x02\x80 six", 6);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	ck_assert_uint_eq(heard.ifindex, left);
	ck_assert_str_eq(netaddr_print(&heard.source, text), "fe80::1");
	ck_assert_uint_eq(heard.port, 5351);
	ck_assert_mem_eq(heard.bytes, "\x02\x80 six", 6);
	ck_assert_uint_eq(listen_for(1, QUIET), 0); /* nothing twice */
}
END_TEST

/* only what comes by the interfaces of gateways. */
START_TEST(only_these_interfaces)
{
	NEEDS_CABLE();
	multicast(false, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
	announce_set_interfaces(announce, &right, 1);
	multicast(false, "right0", "x", 1); /* arrives at left0 */
	multicast(true, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
	announce_set_interfaces(announce, (unsigned[]){ right, left, left, 0 }, 4);
	multicast(false, "right0", "x", 1);
	multicast(true, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(2, PATIENCE), 2);
	announce_set_interfaces(announce, &left, 1);
	multicast(false, "right0", "x", 1);
	multicast(true, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(2, PATIENCE), 2);
	announce_set_interfaces(announce, NULL, 0);
	multicast(false, "right0", "x", 1);
	multicast(true, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
}
END_TEST

/* P-15: bound to the group. */
START_TEST(no_unicast)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(5350) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEEDS_CABLE();
	announce_set_interfaces(announce, (unsigned[]){ if_nametoindex("lo"), left }, 2);
	to.sin_addr.s_addr = htonl(0x0a350001);
	ck_assert_int_eq(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
	close(fd);
}
END_TEST

/* P-15: the port is shared. */
START_TEST(two_listeners)
{
	struct announce *second = announce_new(loop, got, &heard);

	ck_assert_ptr_nonnull(second);
	if (cable) {
		announce_set_interfaces(announce, &left, 1);
		announce_set_interfaces(second, &left, 1);
		multicast(false, "right0", "x", 1);
		ck_assert_uint_eq(listen_for(2, PATIENCE), 2);
		multicast(true, "right0", "x", 1);
		ck_assert_uint_eq(listen_for(2, PATIENCE), 2);
	}
	announce_free(second);
}
END_TEST

/* going on without, one line, and a new try in 5 minutes. */
START_TEST(port_taken)
{
	struct sockaddr_in wildcard = { .sin_family = AF_INET, .sin_port = htons(5350) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), lines = 0, ends[2], saved;
	char text[1000];
	mstime now;
	ssize_t n;

	NEEDS_CABLE();
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&wildcard, sizeof wildcard), 0);
	ck_assert_int_eq(pipe(ends), 0);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	announce_set_interfaces(announce, &left, 1);
	announce_set_interfaces(announce, (unsigned[]){ left, right }, 2);
	announce_set_interfaces(announce, &left, 1);
	dup2(saved, STDERR_FILENO);
	n = read(ends[0], text, sizeof text);
	for (ssize_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	ck_assert_int_eq(lines, 1);
	multicast(true, "right0", "x", 1); /* the other family works */
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	loop_timer_free(guard); /* so that the retry is the next deadline */
	guard = NULL;
	now = loop_now(loop);
	loop_stop(loop);
	ck_assert_int_eq(loop_run(loop), 0);
#if __SIZEOF_LONG__ == 8
	ck_assert_int_le(retry_at, now + 300000);
	ck_assert_int_ge(retry_at, now + 300000 - PATIENCE);
#endif
	guard = loop_timer_new(loop, give_up, NULL);
	close(fd);
	announce_set_interfaces(announce, &left, 1);
	multicast(false, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	/* Everything is there: nothing to wake up for any more. */
	loop_timer_free(guard);
	guard = NULL;
	retry_at = -1;
	loop_stop(loop);
	ck_assert_int_eq(loop_run(loop), 0);
#if __SIZEOF_LONG__ == 8
	ck_assert_int_eq(retry_at, 0); /* off */
#endif
}
END_TEST

/* 20 a second, and the rest is dropped, not kept for later. */
START_TEST(flood)
{
	unsigned n;

	NEEDS_CABLE();
	announce_set_interfaces(announce, &left, 1);
	for (int i = 0; i < 24; i++) /* as many as the two receive buffers hold */
		multicast(i % 2 != 0, "right0", "flood", 5);
	n = listen_for(100, MSTIME_SECOND + 4 * QUIET);
	ck_assert_uint_ge(n, 20);
	/* Only a machine that stalled for a second in the middle of the first 20 may hear more. */
	if (heard.at[19] - heard.at[0] < MSTIME_SECOND)
		ck_assert_uint_eq(n, 20);
	multicast(false, "right0", "later", 5);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	ck_assert_mem_eq(heard.bytes, "later", 5);
	multicast(true, "right0", "later", 5);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
}
END_TEST

START_TEST(lengths)
{
	static uint8_t big[1400];

	NEEDS_CABLE();
	announce_set_interfaces(announce, &left, 1);
	multicast(false, "right0", big, 1101);
	multicast(true, "right0", big, 1400);
	multicast(false, "right0", big, 1100);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	ck_assert_uint_eq(heard.size, 1100);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
}
END_TEST

START_TEST(a_handler_may_free_it)
{
	NEEDS_CABLE();
	announce_set_interfaces(announce, &left, 1);
	frees_itself = true;
	multicast(false, "right0", "x", 1);
	multicast(true, "right0", "x", 1);
	multicast(false, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
	ck_assert_ptr_null(announce);
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
}
END_TEST

/* An interface that goes, and one that never was: no announcements, no harm. */
START_TEST(interfaces_go)
{
	announce_set_interfaces(announce, (unsigned[]){ 4242 }, 1);
	NEEDS_CABLE();
	announce_set_interfaces(announce, &left, 1);
	ck_assert(netns_run("ip link del left0"));
	ck_assert_uint_eq(listen_for(1, QUIET), 0);
	announce_set_interfaces(announce, NULL, 0);
	ck_assert(netns_cable());
	left = if_nametoindex("left0");
	announce_set_interfaces(announce, &left, 1);
	multicast(true, "right0", "x", 1);
	ck_assert_uint_eq(listen_for(1, PATIENCE), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("announce");
	TCase *tc = tcase_create("announce");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, both_families);
	tcase_add_test(tc, only_these_interfaces);
	tcase_add_test(tc, no_unicast);
	tcase_add_test(tc, two_listeners);
	tcase_add_test(tc, port_taken);
	tcase_add_test(tc, flood);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, a_handler_may_free_it);
	tcase_add_test(tc, interfaces_go);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
