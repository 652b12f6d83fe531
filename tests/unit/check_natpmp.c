/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "proto/natpmp.h"

#include "hex.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define TCP 6
#define UDP 17

/* What a real gateway sent is named F-nn. */
#define F01 "0080 0000 00000681 08080404"
#define F02 "0080 0003 00000003 00000000"
#define F03 "0081 0000 00000681 1388 1388 00000e10"
#define F04 "0081 0000 000006bf 14b4 14b5 00000e10"
#define F05 "0081 0000 000006b9 13ec 13ec ffffffff"
#define F06 "0081 0002 00000682 0000 0001 0000003c"
#define F07 "0081 0000 00000685 176f 0000 00000000"
#define F08 "0085 0005 00000684"
#define F09 "0081 0001 00000681"
#define F23 "0080 0000 000006ed 08080404"

static bool
decode(const char *hex, struct natpmp_reply *out)
{
	size_t n;
	uint8_t *bytes = hex_bytes(hex, &n);
	bool ok = natpmp_decode(bytes, n, out);

	free(bytes);
	return ok;
}

static struct natpmp_reply
reply(const char *hex)
{
	struct natpmp_reply r;

	memset(&r, 0xee, sizeof(r));
	ck_assert_msg(decode(hex, &r), "%s is dropped", hex);
	return r;
}

static void
dropped(const char *hex)
{
	struct natpmp_reply r, before;

	memset(&r, 0xee, sizeof(r));
	before = r;
	ck_assert_msg(!decode(hex, &r), "%s is accepted", hex);
	ck_assert_msg(memcmp(&r, &before, sizeof(r)) == 0, "%s: output written", hex);
}

/* What neither an error nor another kind may leave behind. */
static void
assert_no_mapping(const struct natpmp_reply *r)
{
	ck_assert_uint_eq(r->external_port, 0);
	ck_assert_uint_eq(r->lifetime, 0);
	hex_assert(r->external.b, 16, "00000000000000000000000000000000");
}

START_TEST(encodes_address_request)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n = natpmp_encode_address(bytes, sizeof(bytes));

	hex_assert(bytes, n, "0000");
	ck_assert_uint_eq(natpmp_encode_address(bytes, 1), 0);
	ck_assert_uint_eq(natpmp_encode_address(NULL, 0), 0);
}
END_TEST

/* The requests of F-03 and F-05; P-4: reserved octets are zero. */
START_TEST(p4_encodes_map_request)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n;

	memset(bytes, 0xee, sizeof(bytes));
	n = natpmp_encode_map(UDP, 5000, 5000, 3600, bytes, sizeof(bytes));
	hex_assert(bytes, n, "0001 0000 1388 1388 00000e10");
	n = natpmp_encode_map(TCP, 0x1234, 0xfedc, 0xffffffffU, bytes, sizeof(bytes));
	hex_assert(bytes, n, "0002 0000 1234 fedc ffffffff");
	n = natpmp_encode_map(UDP, 5000, 0, 7200, bytes, sizeof(bytes));
	hex_assert(bytes, n, "0001 0000 1388 0000 00001c20");
}
END_TEST

/* The request of F-07: whatever is suggested. */
START_TEST(p23_delete_suggests_nothing)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n = natpmp_encode_map(UDP, 0x176f, 0x176f, 0, bytes, sizeof(bytes));

	hex_assert(bytes, n, "0001 0000 176f 0000 00000000");
	n = natpmp_encode_map(TCP, 0x176f, 0x1770, 0, bytes, sizeof(bytes));
	hex_assert(bytes, n, "0002 0000 176f 0000 00000000");
}
END_TEST

/* other programs on this host would lose their ports. */
START_TEST(q063_never_deletes_all)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];

	ck_assert_uint_eq(natpmp_encode_map(UDP, 0, 0, 0, bytes, sizeof(bytes)), 0);
	ck_assert_uint_eq(natpmp_encode_map(TCP, 0, 1, 0, bytes, sizeof(bytes)), 0);
}
END_TEST

/* The request of F-06: VPN gateways assign the internal port. */
START_TEST(encodes_assigned_port_request)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	size_t n = natpmp_encode_map(UDP, 0, 1, 60, bytes, sizeof(bytes));

	hex_assert(bytes, n, "0001 0000 0000 0001 0000003c");
}
END_TEST

START_TEST(encodes_only_tcp_and_udp)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];

	for (unsigned protocol = 0; protocol < 256; protocol++) {
		size_t n = natpmp_encode_map((uint8_t)protocol, 80, 80, 60, bytes, sizeof(bytes));

		ck_assert_uint_eq(n, protocol == TCP || protocol == UDP ? 12 : 0);
	}
}
END_TEST

START_TEST(encoder_respects_room)
{
	uint8_t bytes[13];

	for (size_t room = 0; room <= 13; room++) {
		size_t n;

		memset(bytes, 0xee, sizeof(bytes));
		n = natpmp_encode_map(TCP, 80, 80, 60, bytes, room);
		ck_assert_uint_eq(n, room < 12 ? 0 : 12);
		for (size_t i = room; i < sizeof(bytes); i++)
			ck_assert_uint_eq(bytes[i], 0xee);
	}
}
END_TEST

START_TEST(f01_address)
{
	struct natpmp_reply r = reply(F01);

	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.result, 0);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1665);
	hex_assert(r.external.b, 16, "00000000000000000000ffff08080404");
	ck_assert(!r.has_ports);
	ck_assert_uint_eq(r.protocol, 0);
	ck_assert_uint_eq(r.internal_port, 0);
	ck_assert_uint_eq(r.external_port, 0);
	ck_assert_uint_eq(r.lifetime, 0);

	r = reply(F23);
	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.epoch, 1773);
}
END_TEST

START_TEST(f02_no_wan_address)
{
	struct natpmp_reply r = reply(F02);

	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.result, NATPMP_NETWORK_FAILURE);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 3);
	assert_no_mapping(&r);
}
END_TEST

/* 1.2.3.4 must appear nowhere. */
START_TEST(p13_address_of_an_error_is_ignored)
{
	struct natpmp_reply r = reply("0080 0003 00000003 01020304");

	ck_assert_uint_eq(r.result, NATPMP_NETWORK_FAILURE);
	assert_no_mapping(&r);
}
END_TEST

START_TEST(f03_map)
{
	struct natpmp_reply r = reply(F03);

	ck_assert_int_eq(r.kind, NATPMP_MAP);
	ck_assert_uint_eq(r.result, 0);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1665);
	ck_assert_uint_eq(r.protocol, UDP);
	ck_assert(r.has_ports);
	ck_assert_uint_eq(r.internal_port, 5000);
	ck_assert_uint_eq(r.external_port, 5000);
	ck_assert_uint_eq(r.lifetime, 3600);

	r = reply("0082 0000 00000681 1388 1389 00000e10");
	ck_assert_uint_eq(r.protocol, TCP);
	ck_assert_uint_eq(r.internal_port, 5000);
	ck_assert_uint_eq(r.external_port, 5001);
}
END_TEST

START_TEST(f04_f05_f07_map)
{
	struct natpmp_reply r = reply(F04);

	ck_assert_uint_eq(r.internal_port, 5300);
	ck_assert_uint_eq(r.external_port, 5301);
	r = reply(F05);
	ck_assert_uint_eq(r.lifetime, 0xffffffffU);
	r = reply(F07);
	ck_assert_uint_eq(r.result, 0);
	ck_assert(r.has_ports);
	ck_assert_uint_eq(r.internal_port, 0x176f);
	ck_assert_uint_eq(r.external_port, 0);
	ck_assert_uint_eq(r.lifetime, 0);
}
END_TEST

/* P-24: neither the port nor the lifetime of an error is anybody's. */
START_TEST(f06_p24_refused)
{
	struct natpmp_reply r = reply(F06);

	ck_assert_int_eq(r.kind, NATPMP_MAP);
	ck_assert_uint_eq(r.result, NATPMP_NOT_AUTHORIZED);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1666);
	ck_assert(!r.has_ports);
	assert_no_mapping(&r);

	r = reply("0082 0002 00000682 1388 1389 0000270f");
	ck_assert(r.has_ports);
	ck_assert_uint_eq(r.internal_port, 5000);
	assert_no_mapping(&r);
}
END_TEST

START_TEST(p26_undefined_result)
{
	struct natpmp_reply r = reply("0081 1092 00000682 1388 1389 0000270f");

	ck_assert_int_eq(r.kind, NATPMP_MAP);
	ck_assert_uint_eq(r.result, 4242);
	assert_no_mapping(&r);
	r = reply("0080 1092 00000682 01020304");
	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.result, 4242);
	assert_no_mapping(&r);
}
END_TEST

/* F-08 itself answers an opcode that we never send; the form is known for maps, too. */
START_TEST(f08_q038_short_errors)
{
	struct natpmp_reply r;

	dropped(F08);
	for (unsigned result = 2; result < 7; result++) {
		char hex[32];

		snprintf(hex, sizeof(hex), "0082 %04x 00000684", result);
		r = reply(hex);
		ck_assert_int_eq(r.kind, NATPMP_MAP);
		ck_assert_uint_eq(r.protocol, TCP);
		ck_assert_uint_eq(r.result, result);
		ck_assert(r.has_epoch);
		ck_assert_uint_eq(r.epoch, 1668);
		ck_assert(!r.has_ports);
		assert_no_mapping(&r);
	}
	r = reply("0080 0003 00000684");
	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1668);
	/* of the request's size: whose ports, and in which layout, nobody knows */
	r = reply("0082 0002 00000684 1388 1389");
	ck_assert(r.has_epoch);
	ck_assert(!r.has_ports);
	ck_assert_uint_eq(r.internal_port, 0);
	/* too short for the epoch, and not result 1 or 5 */
	dropped("0082 0002 000006");
	dropped("0080 0003 000006");
	dropped("0080 0003");
}
END_TEST

/* RFC 6886 section 3.5: result 5 is the request with two fields overwritten. */
START_TEST(echoed_unsupported_opcode)
{
	struct natpmp_reply r = reply("0082 0005 1388 1389 00000e10");

	ck_assert_int_eq(r.kind, NATPMP_MAP);
	ck_assert_uint_eq(r.protocol, TCP);
	ck_assert_uint_eq(r.result, NATPMP_UNSUPPORTED_OPCODE);
	ck_assert_msg(!r.has_epoch, "ports were taken for the epoch");
	ck_assert_uint_eq(r.epoch, 0);
	ck_assert(r.has_ports);
	ck_assert_uint_eq(r.internal_port, 5000);
	assert_no_mapping(&r);

	/* the layout of a reply */
	r = reply("0082 0005 00000684 1388 1389 00000e10");
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1668);
	ck_assert(r.has_ports);
	ck_assert_uint_eq(r.internal_port, 5000);
	assert_no_mapping(&r);

	/* an address request's echo has no room for the result; some make room */
	r = reply("0080 0005");
	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.result, NATPMP_UNSUPPORTED_OPCODE);
	ck_assert(!r.has_epoch);
	dropped("0080");
}
END_TEST

static const char *const version_errors[] = {
	"0080 0001 00000681", /* erratum 3618 */
	"0000 0001 00000681", /* as RFC 6886 prints it */
	F09,                  /* 128 + PCP's MAP */
	"0082 0001 00000681",
	"00ff 0001 00000681",
	"0080 0001 00000681 00000000",
	"0081 0001 00000681 1388 1389 00000e10",
};

START_TEST(f09_p57_version_error)
{
	struct natpmp_reply r = reply(version_errors[_i]);

	ck_assert_int_eq(r.kind, NATPMP_VERSION);
	ck_assert_uint_eq(r.result, NATPMP_UNSUPPORTED_VERSION);
	ck_assert(r.has_epoch);
	ck_assert_uint_eq(r.epoch, 1665);
	ck_assert_uint_eq(r.protocol, 0);
	ck_assert(!r.has_ports);
	assert_no_mapping(&r);
}
END_TEST

/* the first 4 octets say it all. */
START_TEST(q032_four_octet_version_error)
{
	static const char *const forms[] = { "0080 0001", "0000 0001", "0081 0001", "0081 0001 00",
		"0081 0001 000006" };

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct natpmp_reply r = reply(forms[i]);

		ck_assert_int_eq(r.kind, NATPMP_VERSION);
		ck_assert(!r.has_epoch);
		ck_assert_uint_eq(r.epoch, 0);
	}
	dropped("0080 00");
}
END_TEST

/* Only the version error may come with the reply bit clear. */
START_TEST(requests_are_no_replies)
{
	dropped("0000");
	dropped("0000 0000 00000681 08080404");
	dropped("0000 0003 00000681 08080404");
	dropped("0000 0005 00000681");
	dropped("0001 0000 00000681 1388 1388 00000e10");
	dropped("0001 0001 00000681 1388 1388 00000e10");
	dropped("0002 0001");
	dropped("007f 0001 00000681");
}
END_TEST

START_TEST(other_versions_and_opcodes)
{
	dropped("0180 0000 00000681 08080404");
	dropped("0280 0001 00000681 08080404");
	dropped("0281 0000 00000681 1388 1388 00000e10");
	dropped("0083 0000 00000681 1388 1388 00000e10");
	dropped("00ff 0000 00000681 1388 1388 00000e10");
	/* F-10, F-11: PCP's, of NAT-PMP's size */
	dropped("0280");
	dropped("0281 0002 a2a90000 004f8fd2");
}
END_TEST

/* Q-037, F-19: miniupnpd's answer to a PCP request of odd length. The caller, who has sent
 * PCP, sees an ADDRESS it did not ask for: neither version error nor mapping. */
START_TEST(f19_version_0_answer_to_pcp)
{
	char hex[2 * 64 + 1] = "0080000300000681";
	struct natpmp_reply r;

	memset(hex + 16, '0', sizeof(hex) - 17);
	hex[128] = '\0';
	r = reply(hex);
	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	ck_assert_uint_eq(r.result, NATPMP_NETWORK_FAILURE);
	assert_no_mapping(&r);
}
END_TEST

/* Section 1.5: longer is accepted, the tail is nobody's business. */
START_TEST(longer_packets)
{
	struct natpmp_reply r = reply(F01 "ffffffffffffffff");

	ck_assert_int_eq(r.kind, NATPMP_ADDRESS);
	hex_assert(r.external.b, 16, "00000000000000000000ffff08080404");
	r = reply(F03 "ff");
	ck_assert_uint_eq(r.lifetime, 3600);
}
END_TEST

/* Each success, cut anywhere, is nothing (and is not read past its end: ASan). */
START_TEST(every_truncation)
{
	static const char *const whole[] = { F01, F03, F04, F05, F07, F23 };
	size_t n;
	uint8_t *bytes = hex_bytes(whole[_i], &n);

	for (size_t cut = 0; cut < n; cut++) {
		struct natpmp_reply r;
		uint8_t *copy = malloc(cut > 0 ? cut : 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, bytes, cut);
		ck_assert_msg(!natpmp_decode(copy, cut, &r), "%s cut to %zu", whole[_i], cut);
		free(copy);
	}
	free(bytes);
}
END_TEST

START_TEST(nothing_at_all)
{
	struct natpmp_reply r;

	ck_assert(!natpmp_decode(NULL, 0, &r));
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("natpmp");
	TCase *tc = tcase_create("requests");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, encodes_address_request);
	tcase_add_test(tc, p4_encodes_map_request);
	tcase_add_test(tc, p23_delete_suggests_nothing);
	tcase_add_test(tc, q063_never_deletes_all);
	tcase_add_test(tc, encodes_assigned_port_request);
	tcase_add_test(tc, encodes_only_tcp_and_udp);
	tcase_add_test(tc, encoder_respects_room);
	suite_add_tcase(suite, tc);

	tc = tcase_create("replies");
	tcase_add_test(tc, f01_address);
	tcase_add_test(tc, f02_no_wan_address);
	tcase_add_test(tc, p13_address_of_an_error_is_ignored);
	tcase_add_test(tc, f03_map);
	tcase_add_test(tc, f04_f05_f07_map);
	tcase_add_test(tc, f06_p24_refused);
	tcase_add_test(tc, p26_undefined_result);
	tcase_add_test(tc, f08_q038_short_errors);
	tcase_add_test(tc, echoed_unsupported_opcode);
	tcase_add_loop_test(tc, f09_p57_version_error, 0, COUNT(version_errors));
	tcase_add_test(tc, q032_four_octet_version_error);
	tcase_add_test(tc, requests_are_no_replies);
	tcase_add_test(tc, other_versions_and_opcodes);
	tcase_add_test(tc, f19_version_0_answer_to_pcp);
	tcase_add_test(tc, longer_packets);
	tcase_add_loop_test(tc, every_truncation, 0, 6);
	tcase_add_test(tc, nothing_at_all);
	suite_add_tcase(suite, tc);

	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
