/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "proto/pcp.h"

#include "hex.h"
#include "pcp_packets.h"

#include <check.h>
#include <stdlib.h>

static struct pcp_request
request(void)
{
	return (struct pcp_request){
		.opcode = PCP_MAP,
		.lifetime = 7200,
		.client = netaddr_from4((const uint8_t[4]){ 192, 168, 77, 10 }),
		.nonce = { 0x6c, 0xa2, 0x94, 0x91, 0x24, 0x69, 0x3c, 0x96, 0xaf, 0xc2, 0xdf, 0xd7 },
		.protocol = UDP,
		.internal_port = 7000,
		.external = netaddr_any4,
	};
}

static void
encodes(const struct pcp_request *q, const char *hex)
{
	uint8_t bytes[PCP_MAX_PACKET];
	size_t n;

	memset(bytes, 0xee, sizeof(bytes));
	n = pcp_encode(q, bytes, sizeof(bytes));
	ck_assert_uint_eq(n % 4, 0);
	hex_assert(bytes, n, hex);
}

static void
refuses(const struct pcp_request *q)
{
	uint8_t bytes[PCP_MAX_PACKET];

	ck_assert_uint_eq(pcp_encode(q, bytes, sizeof(bytes)), 0);
}

/* P-35, P-36, P-75, P-76: the first request, without a wish. */
START_TEST(p75_first_request)
{
	struct pcp_request q = request();

	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4);

	/* IPv6: external zeros of the other kind */
	ck_assert(netaddr_parse("2001:db8::10", &q.client));
	q.external = netaddr_any6;
	q.protocol = TCP;
	encodes(&q,
	    "02010000 00001c20 20010db8000000000000000000000010" NONCE "06000000 1b58 0000" ANY6);
}
END_TEST

/* P-49, P-81: what was assigned is suggested. */
START_TEST(p49_renewal)
{
	struct pcp_request q = request();

	q.lifetime = 0x89abcdefU;
	q.external_port = 40001;
	q.external = netaddr_from4((const uint8_t[4]){ 198, 51, 100, 7 });
	encodes(&q, "02010000 89abcdef" CLIENT NONCE "11000000 1b58 9c41" MAPPED "c6336407");
}
END_TEST

/* P-88, P-87: the delete names a family, and carries THIRD_PARTY of all options. */
START_TEST(p88_delete)
{
	struct netaddr other = netaddr_from4((const uint8_t[4]){ 192, 168, 77, 33 });
	struct pcp_filter filter = { .port = 0 };
	struct pcp_request q = request();

	ck_assert(netprefix_parse("192.0.2.0/24", &filter.prefix));
	q.lifetime = 0;
	q.external_port = 40001;
	q.external = netaddr_from4((const uint8_t[4]){ 198, 51, 100, 7 });
	q.prefer_failure = true;
	q.filters = &filter;
	q.n_filters = 1;
	q.description = "web";
	encodes(&q, "02010000 00000000" CLIENT NONCE "11000000 1b58 0000" ANY4);
	q.internal = &other;
	encodes(&q, "02010000 00000000" CLIENT NONCE "11000000 1b58 0000" ANY4 THIRD_PARTY);

	q.internal = NULL;
	ck_assert(netaddr_parse("2001:db8::10", &q.external));
	encodes(&q, "02010000 00000000" CLIENT NONCE "11000000 1b58 0000" ANY6);
}
END_TEST

/* P-77, P-82: no wildcards, neither made nor deleted. */
START_TEST(p77_no_wildcards)
{
	struct pcp_request q = request();

	q.internal_port = 0;
	refuses(&q);
	q.lifetime = 0;
	refuses(&q);
	q = request();
	q.protocol = 0;
	refuses(&q);
	q.lifetime = 0;
	refuses(&q);
	q.internal_port = 0;
	refuses(&q);
}
END_TEST

/* P-83, P-90: nothing but the header, whatever else is filled in. */
START_TEST(p90_announce)
{
	struct netaddr other = netaddr_from4((const uint8_t[4]){ 192, 168, 77, 33 });
	struct pcp_request q = request();

	q.opcode = PCP_ANNOUNCE;
	q.internal = &other;
	q.prefer_failure = true;
	q.external_port = 80;
	q.description = "web";
	encodes(&q, "02000000 00000000" CLIENT);
	q = (struct pcp_request){ .opcode = PCP_ANNOUNCE, .client = q.client };
	encodes(&q, "02000000 00000000" CLIENT);
}
END_TEST

/* P-84: never the client itself. */
START_TEST(p84_third_party)
{
	struct netaddr other = netaddr_from4((const uint8_t[4]){ 192, 168, 77, 33 });
	struct pcp_request q = request();

	q.internal = &other;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4 THIRD_PARTY);
	q.internal = &q.client;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4);
	other = netaddr_any6;
	q.internal = &other;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4);
}
END_TEST

START_TEST(prefer_failure)
{
	struct pcp_request q = request();

	q.prefer_failure = true;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4);
	q.external_port = 443;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 01bb" ANY4 "02000000");
}
END_TEST

/* P-87, P-37: prefix 0 with zero port and address first, then the list. */
START_TEST(p87_filters)
{
	struct pcp_filter filters[2] = { { .port = 0 }, { .port = 0x1234 } };
	struct pcp_request q = request();

	ck_assert(netprefix_parse("192.0.2.0/24", &filters[0].prefix));
	ck_assert(netprefix_parse("2001:db8:1::/48", &filters[1].prefix));
	q.filters = filters;
	q.n_filters = 2;
	encodes(&q,
	    "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4 NO_FILTER
	    "03000014 0078 0000" MAPPED "c0000200"
	    "03000014 0030 1234 20010db8000100000000000000000000");
}
END_TEST

/* Erratum 3891: there is no filter for everybody; having none is one. */
START_TEST(p87_filter_for_everybody)
{
	struct pcp_filter filters[2] = { { .port = 0 }, { .port = 0 } };
	struct pcp_request q = request();

	q.filters = filters;
	q.n_filters = 2;
	ck_assert(netprefix_parse("192.0.2.0/24", &filters[0].prefix));
	ck_assert(netprefix_parse("0.0.0.0/0", &filters[1].prefix));
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4 NO_FILTER);
	ck_assert(netprefix_parse("::/0", &filters[1].prefix));
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4 NO_FILTER);
	filters[1].port = 80;
	refuses(&q);
}
END_TEST

/* P-98: no NUL; Q-179: spaces up to a multiple of 4, counted in the length. */
START_TEST(p98_description)
{
	static const struct {
		const char *text, *option;
	} cases[] = {
		{ NULL, "" },
		{ "", "" },
		{ "a", "80000004 61202020" },
		{ "ab", "80000004 61622020" },
		{ "abc", "80000004 61626320" },
		{ "abcd", "80000004 61626364" },
		{ "abcde", "80000008 6162636465202020" },
		{ "\xc3\xbc", "80000004 c3bc2020" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pcp_request q = request();
		char hex[256] = "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4;

		q.description = cases[i].text;
		strcat(hex, cases[i].option);
		encodes(&q, hex);
	}
}
END_TEST

/* P-107, P-108: first internal port as in the MAP, parity clear, in renewals and deletes as well;
 * none for a single port, and none with PREFER_FAILURE. */
START_TEST(p107_port_set)
{
	struct pcp_request q = request();

	q.set_size = 10;
	encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4 PORT_SET);
	q.external_port = 40001;
	q.external = netaddr_from4((const uint8_t[4]){ 198, 51, 100, 7 });
	q.description = "web";
	encodes(&q,
	    "02010000 00001c20" CLIENT NONCE "11000000 1b58 9c41" MAPPED
	    "c6336407 80000004 77656220" PORT_SET);
	q.lifetime = 0;
	encodes(&q, "02010000 00000000" CLIENT NONCE "11000000 1b58 0000" ANY4 PORT_SET);
	q = request();
	for (q.set_size = 0; q.set_size < 2; q.set_size++)
		encodes(&q, "02010000 00001c20" CLIENT NONCE "11000000 1b58 0000" ANY4);
	q.prefer_failure = true;
	q.external_port = 443;
	refuses(&q);
}
END_TEST

/* A long description leaves the set its room. */
START_TEST(p107_port_set_is_not_cut)
{
	uint8_t bytes[PCP_MAX_PACKET];
	struct pcp_request q = request();
	char text[2001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	q.description = text;
	q.set_size = 0x1234;
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 1024);
	hex_assert(bytes + 60, 4, "800003b4");
	hex_assert(bytes + 1012, 12, "82000005 1234 1b58 00 000000");
	ck_assert_uint_eq(pcp_encode(&q, bytes, 68), 0);
}
END_TEST

START_TEST(options_in_ascending_order)
{
	struct netaddr other = netaddr_from4((const uint8_t[4]){ 192, 168, 77, 33 });
	struct pcp_filter filter = { .port = 0 };
	struct pcp_request q = request();

	ck_assert(netprefix_parse("192.0.2.7", &filter.prefix));
	q.internal = &other;
	q.external_port = 443;
	q.prefer_failure = true;
	q.filters = &filter;
	q.n_filters = 1;
	q.description = "web";
	encodes(&q,
	    "02010000 00001c20" CLIENT NONCE "11000000 1b58 01bb" ANY4 THIRD_PARTY
	    "02000000" NO_FILTER "03000014 0080 0000" MAPPED "c0000207"
	    "80000004 77656220");
}
END_TEST

/* Cut to fit 1024 octets, of which 60 and 4 are taken. */
START_TEST(p38_long_description)
{
	uint8_t bytes[PCP_MAX_PACKET];
	struct pcp_request q = request();
	char text[2001];
	size_t n;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	q.description = text;
	n = pcp_encode(&q, bytes, sizeof(bytes));
	ck_assert_uint_eq(n, 1024);
	hex_assert(bytes + 60, 8, "800003c0 78787878");
	ck_assert_uint_eq(bytes[1023], 'x');

	/* exactly as long as there is room */
	text[960] = '\0';
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 1024);
	text[959] = '\0';
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 1024);
	ck_assert_uint_eq(bytes[1023], ' ');
	text[956] = '\0';
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 1020);
}
END_TEST

/* A character of 2, 3 or 4 octets that would be cut in two is left out. */
START_TEST(description_cut_between_characters)
{
	static const char *const characters[] = { "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x8c\x8d" };
	const char *c = characters[_i];
	size_t width = strlen(c);
	uint8_t bytes[100];

	for (size_t before = 0; before < 12; before++) {
		struct pcp_request q = request();
		char text[32] = "";
		size_t n, fits;

		memset(text, 'x', before);
		strcpy(text + before, c);
		strcat(text, "yyyyyyyyyyyy");
		q.description = text;
		/* room for 8 octets of text */
		n = pcp_encode(&q, bytes, 60 + 4 + 8);
		fits = before + width <= 8 ? 8 : before > 8 ? 8 : before;
		ck_assert_uint_eq(n, 64 + (fits + 3) / 4 * 4);
		ck_assert_uint_eq(bytes[63], n - 64);
		ck_assert_int_eq(memcmp(bytes + 64, text, fits), 0);
		for (size_t i = 64 + fits; i < n; i++)
			ck_assert_uint_eq(bytes[i], ' ');
	}
}
END_TEST

/* Text of continuation octets only has no beginning to cut to: no option, no crash. */
START_TEST(description_of_no_characters)
{
	struct pcp_request q = request();
	uint8_t bytes[80];
	char text[64];

	memset(text, 0x80, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	q.description = text;
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 60);
}
END_TEST

START_TEST(encoder_respects_room)
{
	uint8_t bytes[80];
	struct pcp_request q = request();

	q.description = "abcdefgh";
	for (size_t room = 0; room <= sizeof(bytes); room++) {
		size_t n;

		memset(bytes, 0xee, sizeof(bytes));
		n = pcp_encode(&q, bytes, room);
		ck_assert_uint_eq(n, room < 60 ? 0 : room < 68 ? 60 : room < 72 ? 68 : 72);
		for (size_t i = room; i < sizeof(bytes); i++)
			ck_assert_uint_eq(bytes[i], 0xee);
	}
	ck_assert_uint_eq(pcp_encode(&q, NULL, 0), 0);
}
END_TEST

/* P-38: 39 filters after the first one fit into 1024 octets, a 40th does not. */
START_TEST(p38_too_many_filters)
{
	struct pcp_filter filters[40];
	uint8_t bytes[PCP_MAX_PACKET];
	struct pcp_request q = request();

	memset(filters, 0, sizeof(filters));
	for (size_t i = 0; i < 40; i++)
		ck_assert(netprefix_parse("192.0.2.7", &filters[i].prefix));
	q.filters = filters;
	q.n_filters = 39;
	ck_assert_uint_eq(pcp_encode(&q, bytes, sizeof(bytes)), 60 + 40 * 24);
	q.n_filters = 40;
	refuses(&q);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pcp_encode");
	TCase *tc = tcase_create("requests");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, p75_first_request);
	tcase_add_test(tc, p49_renewal);
	tcase_add_test(tc, p88_delete);
	tcase_add_test(tc, p77_no_wildcards);
	tcase_add_test(tc, p90_announce);
	tcase_add_test(tc, p84_third_party);
	tcase_add_test(tc, prefer_failure);
	tcase_add_test(tc, p87_filters);
	tcase_add_test(tc, p87_filter_for_everybody);
	tcase_add_test(tc, p98_description);
	tcase_add_test(tc, p107_port_set);
	tcase_add_test(tc, p107_port_set_is_not_cut);
	tcase_add_test(tc, options_in_ascending_order);
	tcase_add_test(tc, p38_long_description);
	tcase_add_loop_test(tc, description_cut_between_characters, 0, 3);
	tcase_add_test(tc, description_of_no_characters);
	tcase_add_test(tc, encoder_respects_room);
	tcase_add_test(tc, p38_too_many_filters);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
