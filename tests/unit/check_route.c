/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/route.h"

#include "nl.h"

#include <check.h>
#include <stdlib.h>

/* The ABI's numbers again. */
#define V4 2
#define V6 10
#define UNICAST 1
#define MAIN 254
#define UP 0x10043U        /* IFF_UP, BROADCAST, RUNNING, LOWER_UP */
#define NO_CARRIER 0x0003U /* IFF_UP, BROADCAST */
#define LOOPBACK 0x10049U  /* IFF_UP, LOOPBACK, RUNNING, LOWER_UP */
#define TUNNEL 0x100d1U    /* IFF_UP, POINTOPOINT, RUNNING, NOARP, LOWER_UP */

static struct nl m;
static struct route_snapshot snap;

static void
setup(void)
{
	memset(&m, 0, sizeof m);
	memset(&snap, 0, sizeof snap);
}

static void
teardown(void)
{
	route_snapshot_clear(&snap);
}

/* From a copy of exactly that size, at an odd address: ASan and UBSan see every slip. */
static bool
parse_octets(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n + 1);
	bool good;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy + 1, bytes, n);
	good = route_parse(&snap, copy + 1, n);
	free(copy);
	return good;
}

static void
parse(void)
{
	ck_assert(parse_octets(m.bytes, m.n));
	m.n = 0;
}

static struct netaddr
addr(const char *text)
{
	struct netaddr a;

	ck_assert_msg(netaddr_parse(text, &a), "'%s' in the test itself", text);
	return a;
}

static void
same_addr(const struct netaddr *a, const char *text)
{
	char got[NETADDR_STRLEN];

	ck_assert_str_eq(netaddr_print(a, got), text);
}

/* ---- the parser ------------------------------------------------------------------------ */

START_TEST(links)
{
	const struct route_link *l;

	nl_link(&m, 1, LOOPBACK, "lo", NULL);
	nl_link(&m, 2, UP, "eth0", NULL);
	nl_link(&m, 3, NO_CARRIER, "docker0", "bridge");
	nl_link(&m, 4, TUNNEL, "wg0", "wireguard");
	nl_link(&m, 5, UP & ~1U, "off0", "veth");
	nl_link(&m, 6, UP, "a-name-far-too-long", NULL);
	parse();
	ck_assert_uint_eq(snap.n_links, 6);
	l = route_link_by_index(&snap, 1);
	ck_assert(l->up && l->loopback && !l->broadcast && !l->point_to_point && !l->bridge);
	ck_assert_str_eq(l->name, "lo");
	l = route_link_by_name(&snap, "eth0");
	ck_assert_uint_eq(l->ifindex, 2);
	ck_assert(l->up && !l->loopback && l->broadcast && !l->point_to_point);
	ck_assert_str_eq(l->kind, "");
	l = route_link_by_index(&snap, 3);
	ck_assert(!l->up && l->bridge);
	ck_assert_str_eq(l->kind, "bridge");
	l = route_link_by_index(&snap, 4);
	ck_assert(l->up && l->point_to_point && !l->broadcast && !l->bridge);
	ck_assert_str_eq(l->kind, "wireguard");
	ck_assert(!route_link_by_index(&snap, 5)->up);
	ck_assert_str_eq(route_link_by_index(&snap, 6)->name, "a-name-far-too-");
	ck_assert_ptr_null(route_link_by_index(&snap, 7));
	ck_assert_ptr_null(route_link_by_name(&snap, "eth"));
}
END_TEST

START_TEST(addresses)
{
	nl_address(&m, V4, 24, 0x80, 2); /* IFA_F_PERMANENT */
	nl_attr(&m, 1, "\xc0\xa8\x01\x14", 4);
	nl_attr(&m, 2, "\xc0\xa8\x01\x14", 4);
	nl_attr(&m, 3, "eth0", 5);
	nl_end(&m);
	nl_address(&m, V4, 32, 0x01, 4);       /* SECONDARY is not "temporary" */
	nl_attr(&m, 1, "\x0a\x08\x00\x01", 4); /* IFA_ADDRESS: the peer */
	nl_attr(&m, 2, "\x0a\x08\x00\x02", 4); /* IFA_LOCAL */
	nl_end(&m);
	nl_address(&m, V6, 64, 0x01, 2);
	nl_attr(&m, 1, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
	nl_attr32(&m, 8, 0x61); /* IFA_FLAGS: TEMPORARY, DEPRECATED, TENTATIVE */
	nl_end(&m);
	nl_address(&m, V6, 64, 0, 2);
	nl_attr(&m, 1, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
	nl_attr32(&m, 8, 0x44); /* OPTIMISTIC, TENTATIVE: may be used */
	nl_end(&m);
	nl_address(&m, V6, 64, 0x08, 2); /* DADFAILED, in the header only */
	nl_attr(&m, 1, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x03", 16);
	nl_end(&m);
	nl_address(&m, 17, 0, 0, 2); /* AF_PACKET */
	nl_end(&m);
	parse();
	ck_assert_uint_eq(snap.n_addresses, 5);
	same_addr(&snap.addresses[0].addr, "192.168.1.20");
	ck_assert_uint_eq(snap.addresses[0].ifindex, 2);
	ck_assert_uint_eq(snap.addresses[0].bits, 24);
	ck_assert(!snap.addresses[0].has_peer && !snap.addresses[0].deprecated);
	same_addr(&snap.addresses[1].addr, "10.8.0.2");
	ck_assert(snap.addresses[1].has_peer && !snap.addresses[1].temporary);
	same_addr(&snap.addresses[1].peer, "10.8.0.1");
	same_addr(&snap.addresses[2].addr, "2001:db8::2");
	ck_assert(snap.addresses[2].temporary && snap.addresses[2].deprecated &&
	    snap.addresses[2].tentative);
	ck_assert(!snap.addresses[3].tentative && !snap.addresses[3].temporary);
	ck_assert(snap.addresses[4].tentative);
}
END_TEST

START_TEST(default_routes)
{
	uint8_t via[18] = { [2] = 0xfe, [3] = 0x80, [17] = 1 }; /* RTA_VIA: family, address */

	nl_route(&m, V4, 0, MAIN, UNICAST, 0);
	nl_attr32(&m, 15, MAIN); /* RTA_TABLE */
	nl_attr(&m, 5, "\xc0\xa8\x01\x01", 4);
	nl_attr32(&m, 6, 100); /* RTA_PRIORITY */
	nl_attr(&m, 7, "\xc0\xa8\x01\x14", 4);
	nl_attr32(&m, 4, 2);
	nl_end(&m);
	nl_route(&m, V6, 0, 252, UNICAST, 0); /* RT_TABLE_COMPAT: the number is in RTA_TABLE */
	nl_attr32(&m, 15, 51820);
	nl_attr(&m, 5, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	nl_attr32(&m, 4, 3);
	nl_attr32(&m, 6, 1024);
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, UNICAST, 0); /* "default dev ppp0" */
	nl_attr32(&m, 4, 4);
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, UNICAST, 0); /* "via inet6 fe80::1" */
	memcpy(via, &(uint16_t){ V6 }, 2);
	nl_attr(&m, 18, via, sizeof via);
	nl_attr32(&m, 4, 2);
	nl_end(&m);
	parse();
	ck_assert_uint_eq(snap.n_defaults, 4);
	ck_assert(!snap.defaults[0].ipv6 && snap.defaults[0].has_gateway);
	ck_assert_uint_eq(snap.defaults[0].ifindex, 2);
	ck_assert_uint_eq(snap.defaults[0].table, MAIN);
	ck_assert_uint_eq(snap.defaults[0].metric, 100);
	same_addr(&snap.defaults[0].gateway, "192.168.1.1");
	ck_assert(snap.defaults[0].has_source);
	same_addr(&snap.defaults[0].source, "192.168.1.20");
	ck_assert(snap.defaults[1].ipv6 && !snap.defaults[1].has_source);
	ck_assert_uint_eq(snap.defaults[1].table, 51820);
	ck_assert_uint_eq(snap.defaults[1].ifindex, 3);
	same_addr(&snap.defaults[1].gateway, "fe80::1");
	ck_assert(!snap.defaults[2].has_gateway);
	ck_assert_uint_eq(snap.defaults[2].ifindex, 4);
	ck_assert(!snap.defaults[3].ipv6 && snap.defaults[3].has_gateway);
	same_addr(&snap.defaults[3].gateway, "fe80::1");
}
END_TEST

START_TEST(multipath)
{
	nl_route(&m, V4, 0, MAIN, UNICAST, 0);
	nl_attr32(&m, 6, 7);
	nl_nest(&m, 9);
	for (unsigned i = 0; i < 3; i++) {
		nl_u16(&m, 16);            /* rtnh_len */
		nl_u8(&m, i == 1 ? 1 : 0); /* rtnh_flags: the second is RTNH_F_DEAD */
		nl_u8(&m, 0);
		nl_u32(&m, 10 + i);
		nl_u16(&m, 8);
		nl_u16(&m, 5);
		nl_raw(&m, "\x0a\x00\x00", 3);
		nl_u8(&m, i + 1);
	}
	nl_unnest(&m);
	nl_end(&m);
	parse();
	ck_assert_uint_eq(snap.n_defaults, 2);
	ck_assert_uint_eq(snap.defaults[0].ifindex, 10);
	ck_assert_uint_eq(snap.defaults[0].metric, 7);
	same_addr(&snap.defaults[0].gateway, "10.0.0.1");
	ck_assert_uint_eq(snap.defaults[1].ifindex, 12);
	same_addr(&snap.defaults[1].gateway, "10.0.0.3");
}
END_TEST

/* "How do packets for this address go?" */
START_TEST(answers)
{
	struct netaddr to = addr("10.2.0.1");

	nl_route(&m, V4, 32, MAIN, UNICAST, 0x200); /* RTM_F_CLONED, as every answer */
	nl_attr32(&m, 15, 51820);
	nl_attr(&m, 1, "\x0a\x02\0\x01", 4);
	nl_attr32(&m, 4, 3);
	nl_attr(&m, 7, "\x0a\x02\0\x02", 4);
	nl_end(&m);
	ck_assert(route_parse_answer(&snap, &to, m.bytes, m.n));
	for (size_t n = 0; n < m.n; n++)
		ck_assert(!route_parse_answer(&snap, &to, m.bytes, n));
	m.n = 0;
	nl_route(&m, V4, 32, 255, 2, 0x200); /* RTN_LOCAL */
	nl_attr32(&m, 4, 1);
	nl_end(&m);
	ck_assert(route_parse_answer(&snap, &to, m.bytes, m.n));
	m.n = 0;
	nl_begin(&m, 2); /* NLMSG_ERROR */
	nl_u32(&m, (uint32_t)-101);
	nl_end(&m);
	ck_assert(route_parse_answer(&snap, &to, m.bytes, m.n));
	ck_assert_uint_eq(snap.n_answers, 3);
	same_addr(&snap.answers[0].address, "10.2.0.1");
	ck_assert_uint_eq(snap.answers[0].route.ifindex, 3);
	ck_assert(snap.answers[0].route.has_source && !snap.answers[0].route.has_gateway);
	same_addr(&snap.answers[0].route.source, "10.2.0.2");
	ck_assert_uint_eq(snap.answers[1].route.ifindex, 0);
	ck_assert_uint_eq(snap.answers[2].route.ifindex, 0);
}
END_TEST

/* What is no way out of here. */
START_TEST(other_routes_are_skipped)
{
	nl_route(&m, V4, 24, MAIN, UNICAST, 0);
	nl_raw(&m, "\xff\xff\x01\x00", 4); /* attributes nobody should look at */
	nl_end(&m);
	nl_route(&m, V4, 1, MAIN, UNICAST, 0); /* OpenVPN's 0/1 */
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, 6, 0); /* RTN_BLACKHOLE */
	nl_end(&m);
	nl_route(&m, V6, 0, MAIN, 7, 0); /* RTN_UNREACHABLE: ::/0 on lo */
	nl_end(&m);
	nl_route(&m, V6, 0, MAIN, UNICAST, 0x200); /* RTM_F_CLONED */
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, UNICAST, 1); /* RTNH_F_DEAD */
	nl_attr32(&m, 4, 2);
	nl_end(&m);
	nl_route(&m, 28, 0, MAIN, UNICAST, 0); /* AF_MPLS */
	nl_end(&m);
	nl_begin(&m, 25); /* RTM_DELROUTE */
	nl_end(&m);
	nl_begin(&m, 3); /* NLMSG_DONE */
	nl_u32(&m, 0);
	nl_end(&m);
	parse();
	ck_assert_uint_eq(snap.n_defaults, 0);
}
END_TEST

START_TEST(order)
{
	static const struct {
		unsigned family, table;
		uint32_t metric, ifindex;
	} in[] = {
		{ V6, MAIN, 1, 1 },
		{ V4, 200, 0, 2 },
		{ V4, MAIN, 50, 3 },
		{ V4, MAIN, 10, 4 },
		{ V4, MAIN, 50, 5 },
		{ V6, MAIN, 0, 6 },
		{ V4, 100, 0, 7 },
		{ V4, MAIN, 50, 8 },
	};
	static const unsigned expected[] = { 4, 3, 5, 8, 2, 7, 6, 1 };

	for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
		nl_route(&m, in[i].family, 0, in[i].table, UNICAST, 0);
		nl_attr32(&m, 6, in[i].metric);
		nl_attr32(&m, 4, in[i].ifindex);
		nl_end(&m);
	}
	parse();
	route_snapshot_sort(&snap);
	ck_assert_uint_eq(snap.n_defaults, 8);
	for (size_t i = 0; i < 8; i++)
		ck_assert_uint_eq(snap.defaults[i].ifindex, expected[i]);
}
END_TEST

/* Cut anywhere inside a message it is malformed, and nothing beyond the end is read. */
START_TEST(cut_short)
{
	size_t good = 0;
	uint32_t length;

	nl_link(&m, 3, UP, "docker0", "bridge");
	nl_address(&m, V4, 24, 0, 2);
	nl_attr(&m, 2, "\xc0\xa8\x01\x14", 4);
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, UNICAST, 0);
	nl_attr(&m, 5, "\xc0\xa8\x01\x01", 4);
	nl_end(&m);
	for (size_t n = 0; n <= m.n; n++) {
		bool whole = parse_octets(m.bytes, n);

		good += whole;
		route_snapshot_clear(&snap);
	}
	ck_assert_uint_eq(good, 4);              /* before, between, between, after */
	for (size_t n = 0; n + 16 <= m.n; n++) { /* the same with a length that says so */
		struct nl cut = m;

		length = (uint32_t)(n + 16 - m.message);
		if (n + 16 < m.message + 16)
			continue;
		memcpy(cut.bytes + m.message, &length, 4);
		(void)parse_octets(cut.bytes, n + 16);
		route_snapshot_clear(&snap);
	}
}
END_TEST

/* Any octet may be anything: no crash, no overrun, and it ends. */
START_TEST(flipped)
{
	nl_link(&m, 3, UP, "docker0", "bridge");
	nl_address(&m, V6, 64, 0, 2);
	nl_attr(&m, 1, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
	nl_end(&m);
	nl_route(&m, V4, 0, MAIN, UNICAST, 0);
	nl_nest(&m, 9);
	nl_raw(&m, "\x10\0\0\0\x02\0\0\0\x08\0\x05\0\x0a\0\0\x01", 16);
	nl_unnest(&m);
	nl_end(&m);
	for (size_t i = 0; i < m.n; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct nl bad = m;

			bad.bytes[i] ^= (uint8_t)(1U << bit);
			(void)parse_octets(bad.bytes, bad.n);
			route_snapshot_clear(&snap);
		}
	}
}
END_TEST

static const struct {
	const char *what;
	unsigned type;
	size_t n;
} bad_values[] = {
	{ "RTA_OIF of 2", 4, 2 },
	{ "RTA_GATEWAY of 16 for IPv4", 5, 16 },
	{ "RTA_PRIORITY of 8", 6, 8 },
	{ "RTA_PREFSRC of 3", 7, 3 },
	{ "RTA_TABLE of 1", 15, 1 },
	{ "RTA_VIA of 1", 18, 1 },
};

START_TEST(values_of_a_wrong_size)
{
	static const uint8_t zeros[16];

	nl_route(&m, V4, 0, MAIN, UNICAST, 0);
	nl_attr(&m, bad_values[_i].type, zeros, bad_values[_i].n);
	nl_end(&m);
	ck_assert_msg(!parse_octets(m.bytes, m.n), "%s", bad_values[_i].what);
}
END_TEST

START_TEST(prefixes_of_a_wrong_size)
{
	nl_address(&m, V4, 33, 0, 2);
	nl_attr(&m, 2, "\xc0\xa8\x01\x14", 4);
	nl_end(&m);
	ck_assert(!parse_octets(m.bytes, m.n));
	m.n = 0;
	nl_address(&m, V6, 129, 0, 2);
	nl_attr(&m, 1, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
	nl_end(&m);
	ck_assert(!parse_octets(m.bytes, m.n));
}
END_TEST

START_TEST(own_addresses)
{
	struct netaddr mine = addr("192.168.1.20"), other = addr("192.168.1.21");

	nl_address(&m, V4, 24, 0, 2);
	nl_attr(&m, 2, "\xc0\xa8\x01\x14", 4);
	nl_end(&m);
	parse();
	ck_assert(route_is_own(&snap, 0, &mine));
	ck_assert(route_is_own(&snap, 2, &mine));
	ck_assert(!route_is_own(&snap, 3, &mine));
	ck_assert(!route_is_own(&snap, 0, &other));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("route");
	TCase *tc = tcase_create("route");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, links);
	tcase_add_test(tc, addresses);
	tcase_add_test(tc, default_routes);
	tcase_add_test(tc, multipath);
	tcase_add_test(tc, answers);
	tcase_add_test(tc, other_routes_are_skipped);
	tcase_add_test(tc, order);
	tcase_add_test(tc, cut_short);
	tcase_add_test(tc, flipped);
	tcase_add_loop_test(
	    tc, values_of_a_wrong_size, 0, (int)(sizeof bad_values / sizeof bad_values[0]));
	tcase_add_test(tc, prefixes_of_a_wrong_size);
	tcase_add_test(tc, own_addresses);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
