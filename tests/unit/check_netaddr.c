/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/netaddr.h"

#include "hex.h"

#include <check.h>
#include <stdlib.h>

static struct netaddr
addr(const char *hex)
{
	struct netaddr a;
	size_t n;
	uint8_t *bytes = hex_bytes(hex, &n);

	ck_assert_uint_eq(n, 16);
	a = netaddr_from6(bytes);
	free(bytes);
	return a;
}

static struct netaddr
text(const char *s)
{
	struct netaddr a;

	ck_assert_msg(netaddr_parse(s, &a), "'%s' does not parse", s);
	return a;
}

/* RFC 6887 section 5 (P-35): the two zero addresses. */
START_TEST(p35_zero_addresses)
{
	hex_assert(netaddr_any4.b, 16, "00000000000000000000ffff00000000");
	hex_assert(netaddr_any6.b, 16, "00000000000000000000000000000000");
	ck_assert(netaddr_is_any(&netaddr_any4));
	ck_assert(netaddr_is_any(&netaddr_any6));
	ck_assert(!netaddr_equal(&netaddr_any4, &netaddr_any6));
	ck_assert(netaddr_is4(&netaddr_any4));
	ck_assert(!netaddr_is4(&netaddr_any6));
}
END_TEST

START_TEST(from4)
{
	const uint8_t octets[4] = { 192, 0, 2, 33 };
	struct netaddr a = netaddr_from4(octets);

	hex_assert(a.b, 16, "00000000000000000000ffffc0000221");
	ck_assert(netaddr_is4(&a));
}
END_TEST

/* All 96 bits: each one flipped makes it IPv6. */
START_TEST(p34_every_leading_bit_counts)
{
	const uint8_t octets[4] = { 192, 0, 2, 33 };
	struct netaddr a;

	for (unsigned bit = 0; bit < 96; bit++) {
		struct netaddr flipped = netaddr_from4(octets);

		flipped.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		ck_assert_msg(!netaddr_is4(&flipped), "bit %u is not looked at", bit);
	}
	a = text("2001:db8::ffff:1.2.3.4");
	ck_assert(!netaddr_is4(&a));
	ck_assert_int_eq(netaddr_classify(&a), NETADDR_PUBLIC);
}
END_TEST

START_TEST(equal_looks_at_every_octet)
{
	struct netaddr a = text("2001:db8::1");

	for (int i = 0; i < 16; i++) {
		struct netaddr b = a;

		ck_assert(netaddr_equal(&a, &b));
		b.b[i] ^= 1;
		ck_assert_msg(!netaddr_equal(&a, &b), "octet %d", i);
	}
}
END_TEST

/* First and last of each range, and the neighbours outside. */
static const struct {
	const char *text;
	enum netaddr_class class;
} classes[] = {
	{ "0.0.0.0", NETADDR_NONE },
	{ "0.255.255.255", NETADDR_NONE },
	{ "1.0.0.0", NETADDR_PUBLIC },
	{ "9.255.255.255", NETADDR_PUBLIC },
	{ "10.0.0.0", NETADDR_PRIVATE },
	{ "10.255.255.255", NETADDR_PRIVATE },
	{ "11.0.0.0", NETADDR_PUBLIC },
	{ "100.63.255.255", NETADDR_PUBLIC },
	{ "100.64.0.0", NETADDR_CGNAT },
	{ "100.127.255.255", NETADDR_CGNAT },
	{ "100.128.0.0", NETADDR_PUBLIC },
	{ "126.255.255.255", NETADDR_PUBLIC },
	{ "127.0.0.1", NETADDR_NONE },
	{ "127.255.255.255", NETADDR_NONE },
	{ "128.0.0.0", NETADDR_PUBLIC },
	{ "169.253.255.255", NETADDR_PUBLIC },
	{ "169.254.0.0", NETADDR_NONE },
	{ "169.254.255.255", NETADDR_NONE },
	{ "169.255.0.0", NETADDR_PUBLIC },
	{ "172.15.255.255", NETADDR_PUBLIC },
	{ "172.16.0.0", NETADDR_PRIVATE },
	{ "172.31.255.255", NETADDR_PRIVATE },
	{ "172.32.0.0", NETADDR_PUBLIC },
	{ "192.0.0.1", NETADDR_PRIVATE },
	{ "192.0.0.255", NETADDR_PRIVATE },
	{ "192.0.1.0", NETADDR_PUBLIC },
	{ "192.0.2.1", NETADDR_PUBLIC },
	{ "198.51.100.1", NETADDR_PUBLIC },
	{ "203.0.113.1", NETADDR_PUBLIC },
	{ "192.1.0.0", NETADDR_PUBLIC },
	{ "192.167.255.255", NETADDR_PUBLIC },
	{ "192.168.0.0", NETADDR_PRIVATE },
	{ "192.168.255.255", NETADDR_PRIVATE },
	{ "192.169.0.0", NETADDR_PUBLIC },
	{ "223.255.255.255", NETADDR_PUBLIC },
	{ "224.0.0.1", NETADDR_NONE },
	{ "239.255.255.255", NETADDR_NONE },
	{ "240.0.0.0", NETADDR_NONE },
	{ "255.255.255.255", NETADDR_NONE },
	{ "::", NETADDR_NONE },
	{ "::1", NETADDR_NONE },
	{ "::2", NETADDR_PUBLIC },
	{ "2001:db8::1", NETADDR_PUBLIC },
	{ "2003::1", NETADDR_PUBLIC },
	{ "fbff:ffff::1", NETADDR_PUBLIC },
	{ "fc00::1", NETADDR_PRIVATE },
	{ "fdff:ffff::1", NETADDR_PRIVATE },
	{ "fe00::1", NETADDR_PUBLIC },
	{ "fe7f:ffff::1", NETADDR_PUBLIC },
	{ "fe80::1", NETADDR_NONE },
	{ "febf:ffff::1", NETADDR_NONE },
	{ "fec0::1", NETADDR_PUBLIC },
	{ "ff02::1", NETADDR_NONE },
};

START_TEST(classify)
{
	struct netaddr a = text(classes[_i].text);

	ck_assert_msg(netaddr_classify(&a) == classes[_i].class, "%s is %s", classes[_i].text,
	    netaddr_class_name(netaddr_classify(&a)));
}
END_TEST

START_TEST(kinds)
{
	struct netaddr a;

	a = text("224.0.0.1");
	ck_assert(netaddr_is_multicast(&a));
	a = text("240.0.0.1");
	ck_assert(!netaddr_is_multicast(&a));
	a = text("ff02::1");
	ck_assert(netaddr_is_multicast(&a));
	a = text("fe80::ff02");
	ck_assert(!netaddr_is_multicast(&a));
	ck_assert(netaddr_is_linklocal(&a));
	a = text("169.254.1.1");
	ck_assert(netaddr_is_linklocal(&a));
	a = text("169.253.1.1");
	ck_assert(!netaddr_is_linklocal(&a));
	a = text("127.0.0.53");
	ck_assert(netaddr_is_loopback(&a));
	a = text("::1");
	ck_assert(netaddr_is_loopback(&a));
	ck_assert(!netaddr_is_any(&a));
	a = text("::7f00:1"); /* not IPv4 */
	ck_assert(!netaddr_is_loopback(&a));
}
END_TEST

START_TEST(class_names)
{
	ck_assert_str_eq(netaddr_class_name(NETADDR_PUBLIC), "public");
	ck_assert_str_eq(netaddr_class_name(NETADDR_PRIVATE), "private");
	ck_assert_str_eq(netaddr_class_name(NETADDR_CGNAT), "cgnat");
	ck_assert_str_eq(netaddr_class_name(NETADDR_NONE), "none");
}
END_TEST

static const struct {
	const char *text, *hex;
} good[] = {
	{ "0.0.0.0", "00000000000000000000ffff00000000" },
	{ "192.168.77.1", "00000000000000000000ffffc0a84d01" },
	{ "255.255.255.255", "00000000000000000000ffffffffffff" },
	{ "::", "00000000000000000000000000000000" },
	{ "::1", "00000000000000000000000000000001" },
	{ "1::", "00010000000000000000000000000000" },
	{ "2001:db8::1", "20010db8000000000000000000000001" },
	{ "2001:0DB8:0:00:000:0000:ABCD:eF01", "20010db80000000000000000abcdef01" },
	{ "1:2:3:4:5:6:7:8", "00010002000300040005000600070008" },
	{ "1:2:3:4:5:6:7::", "00010002000300040005000600070000" },
	{ "::2:3:4:5:6:7:8", "00000002000300040005000600070008" },
	{ "1:2::7:8", "00010002000000000000000000070008" },
	{ "::1.2.3.4", "00000000000000000000000001020304" },
	{ "::ffff:192.0.2.1", "00000000000000000000ffffc0000201" },
	{ "::ffff:c000:201", "00000000000000000000ffffc0000201" },
	{ "64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221" },
	{ "1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304" },
};

START_TEST(parses)
{
	struct netaddr a;

	memset(&a, 0xee, sizeof(a));
	ck_assert_msg(netaddr_parse(good[_i].text, &a), "'%s'", good[_i].text);
	hex_assert(a.b, 16, good[_i].hex);
}
END_TEST

static const char *const bad[] = { "", " ", "1", "1.2.3", "1.2.3.", "1.2.3.4.", "1.2.3.4.5",
	".1.2.3", "1..2.3", "256.1.1.1", "1.1.1.256", "1000.1.1.1", "01.2.3.4", "1.2.3.00",
	"1.2.3.4 ", " 1.2.3.4", "1.2.3.4x", "+1.2.3.4", "-1.2.3.4", "0x1.2.3.4", "1,2,3,4", ":",
	":::", ":1", "1:", "1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8:", "1:2:3:4:5:6:7:8:9", ":1:2:3:4:5:6:7:8",
	"1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2:3:4:5:6:7:8", "1::2::3", "1:::2",
	"12345::", "g::", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6::1.2.3.4",
	"::1.2.3.4:5", "1.2.3.4::", "::1.2.3", "::1.2.3.256", "fe80::1%eth0", "::1/128", "[::1]",
	"2001:db8::1 ", "::ffff:1.2.3.4.5", "localhost" };

START_TEST(parse_refuses)
{
	struct netaddr a;

	memset(&a, 0xee, sizeof(a));
	ck_assert_msg(!netaddr_parse(bad[_i], &a), "'%s' parses", bad[_i]);
	/* and leaves the output alone */
	hex_assert(a.b, 16, "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
}
END_TEST

/* RFC 5952 sections 4 and 5. */
static const struct {
	const char *hex, *text;
} printed[] = {
	{ "00000000000000000000ffffc0a84d01", "192.168.77.1" },
	{ "00000000000000000000ffff00000000", "0.0.0.0" },
	{ "00000000000000000000ffff64096e0a", "100.9.110.10" },
	{ "00000000000000000000ffffffffffff", "255.255.255.255" },
	{ "00000000000000000000000000000000", "::" },
	{ "00000000000000000000000000000001", "::1" },
	{ "00010000000000000000000000000000", "1::" },
	{ "20010db8000000000000000000000001", "2001:db8::1" },
	{ "20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1" }, /* one group: not */
	{ "20010db8000000000001000000000001", "2001:db8::1:0:0:1" },    /* the first of two */
	{ "20010db8000000010000000000000001", "2001:db8:0:1::1" },      /* the longer one */
	{ "20010000000000010000000000000001", "2001:0:0:1::1" },
	{ "00000000000100020003000400050006", "::1:2:3:4:5:6" },
	{ "00010002000300040005000600000000", "1:2:3:4:5:6::" },
	{ "00000001000200030004000500060007", "0:1:2:3:4:5:6:7" },
	{ "00010002000300040005000600070000", "1:2:3:4:5:6:7:0" },
	{ "0abc00a000ff00100001f00d0abcdef0", "abc:a0:ff:10:1:f00d:abc:def0" },
	{ "0001000000000002000000000000000f", "1:0:0:2::f" },
	{ "ffffffffffffffffffffffffffffffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
};

START_TEST(prints)
{
	char out[NETADDR_STRLEN];
	struct netaddr a = addr(printed[_i].hex);

	ck_assert_ptr_eq(netaddr_print(&a, out), out);
	ck_assert_str_eq(out, printed[_i].text);
}
END_TEST

/* Every zero pattern of the groups: what is printed parses back, and keeps the rules. */
START_TEST(prints_all_gap_patterns)
{
	for (unsigned pattern = 0; pattern < 256; pattern++) {
		char out[NETADDR_STRLEN];
		struct netaddr a = { { 0 } }, back;
		const char *gap;

		for (int i = 0; i < 8; i++)
			a.b[2 * i + 1] = (uint8_t)(pattern >> i & 1);
		netaddr_print(&a, out);
		ck_assert_msg(netaddr_parse(out, &back) && netaddr_equal(&a, &back),
		    "pattern %u prints as '%s'", pattern, out);
		gap = strstr(out, "::");
		if (gap == NULL)
			ck_assert_ptr_null(strstr(out, "0:0"));
		else
			ck_assert_ptr_null(strstr(gap + 1, "::"));
	}
}
END_TEST

static const struct {
	const char *text, *hex;
	unsigned bits;
} prefixes[] = {
	{ "192.0.2.0/24", "00000000000000000000ffffc0000200", 120 },
	{ "192.0.2.7", "00000000000000000000ffffc0000207", 128 },
	{ "192.0.2.7/32", "00000000000000000000ffffc0000207", 128 },
	{ "192.0.2.128/25", "00000000000000000000ffffc0000280", 121 },
	{ "0.0.0.0/0", "00000000000000000000ffff00000000", 96 },
	{ "128.0.0.0/1", "00000000000000000000ffff80000000", 97 },
	{ "::/0", "00000000000000000000000000000000", 0 },
	{ "2001:db8::/32", "20010db8000000000000000000000000", 32 },
	{ "2001:db8::1", "20010db8000000000000000000000001", 128 },
	{ "2001:db8::1/128", "20010db8000000000000000000000001", 128 },
	{ "::ffff:192.0.2.0/120", "00000000000000000000ffffc0000200", 120 },
};

START_TEST(prefix_parses)
{
	struct netprefix p;

	ck_assert_msg(netprefix_parse(prefixes[_i].text, &p), "'%s'", prefixes[_i].text);
	hex_assert(p.addr.b, 16, prefixes[_i].hex);
	ck_assert_uint_eq(p.bits, prefixes[_i].bits);
}
END_TEST

static const char *const bad_prefixes[] = { "", "/", "/24", "192.0.2.0/", "192.0.2.0/33",
	"192.0.2.0/24x", "192.0.2.0/ 24", "192.0.2.0/+24", "192.0.2.0/-1", "192.0.2.0/024",
	"192.0.2.0//24", "192.0.2.0/24/24", "192.0.2.1/24", "192.0.2.0/22", "128.0.0.0/0",
	"192.0.2.64/25", "2001:db8::/129", "2001:db8::/256", "2001:db8::/999", "2001:db8::/1000",
	"2001:db8::1/127", "2001:db8::/28", "::ffff:192.0.2.0/24", "::ffff:0.0.0.0/0", "any",
	"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/0" };

START_TEST(prefix_parse_refuses)
{
	struct netprefix p;

	memset(&p, 0xee, sizeof(p));
	ck_assert_msg(!netprefix_parse(bad_prefixes[_i], &p), "'%s' parses", bad_prefixes[_i]);
	ck_assert_uint_eq(p.bits, 0xee);
	hex_assert(p.addr.b, 16, "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
}
END_TEST

/* For every length: the last bit inside counts, the first outside does not. */
START_TEST(prefix_contains)
{
	for (unsigned bits = 0; bits <= 128; bits++) {
		struct netprefix p = { .bits = (uint8_t)bits };
		struct netaddr a;

		for (unsigned i = 0; i < bits; i++)
			p.addr.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
		a = p.addr;
		ck_assert_msg(netprefix_contains(&p, &a), "/%u", bits);
		if (bits > 0) {
			a.b[(bits - 1) / 8] ^= (uint8_t)(0x80 >> (bits - 1) % 8);
			ck_assert_msg(!netprefix_contains(&p, &a), "/%u, last bit", bits);
		}
		a = p.addr;
		if (bits < 128) {
			a.b[bits / 8] ^= (uint8_t)(0x80 >> bits % 8);
			ck_assert_msg(netprefix_contains(&p, &a), "/%u, next bit", bits);
		}
	}
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("netaddr");
	TCase *tc = tcase_create("netaddr");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, p35_zero_addresses);
	tcase_add_test(tc, from4);
	tcase_add_test(tc, p34_every_leading_bit_counts);
	tcase_add_test(tc, equal_looks_at_every_octet);
	tcase_add_loop_test(tc, classify, 0, COUNT(classes));
	tcase_add_test(tc, kinds);
	tcase_add_test(tc, class_names);
	tcase_add_loop_test(tc, parses, 0, COUNT(good));
	tcase_add_loop_test(tc, parse_refuses, 0, COUNT(bad));
	tcase_add_loop_test(tc, prints, 0, COUNT(printed));
	tcase_add_test(tc, prints_all_gap_patterns);
	tcase_add_loop_test(tc, prefix_parses, 0, COUNT(prefixes));
	tcase_add_loop_test(tc, prefix_parse_refuses, 0, COUNT(bad_prefixes));
	tcase_add_test(tc, prefix_contains);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
