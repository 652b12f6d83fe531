/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "proto/pcp.h"

#include "hex.h"
#include "pcp_packets.h"

#include <check.h>
#include <stdlib.h>

static enum pcp_verdict
decode(const char *hex, struct pcp_reply *out)
{
	size_t n;
	uint8_t *bytes = hex_bytes(hex, &n);
	enum pcp_verdict verdict = pcp_decode(bytes, n, out);

	free(bytes);
	return verdict;
}

static struct pcp_reply
reply(const char *hex)
{
	struct pcp_reply r;

	memset(&r, 0xee, sizeof(r));
	ck_assert_msg(decode(hex, &r) == PCP_REPLY, "%s is no reply", hex);
	return r;
}

static void
verdict_without_output(const char *hex, enum pcp_verdict verdict)
{
	struct pcp_reply r, before;

	memset(&r, 0xee, sizeof(r));
	before = r;
	ck_assert_msg(decode(hex, &r) == verdict, "%s has another verdict", hex);
	ck_assert_msg(memcmp(&r, &before, sizeof(r)) == 0, "%s: output written", hex);
}

static void
dropped(const char *hex)
{
	verdict_without_output(hex, PCP_DROP);
}

START_TEST(f12_map)
{
	struct pcp_reply r = reply(F12);

	ck_assert_uint_eq(r.version, 2);
	ck_assert_int_eq(r.opcode, PCP_MAP);
	ck_assert_uint_eq(r.result, PCP_SUCCESS);
	ck_assert_uint_eq(r.lifetime, 7200);
	ck_assert_uint_eq(r.epoch, 1670);
	ck_assert(r.has_map);
	hex_assert(r.nonce, 12, NONCE);
	ck_assert_uint_eq(r.protocol, UDP);
	ck_assert_uint_eq(r.internal_port, 7000);
	ck_assert_uint_eq(r.external_port, 7000);
	hex_assert(r.external.b, 16, MAPPED "08080404");
	ck_assert(!r.has_internal);
	hex_assert(r.internal.b, 16, ANY6);
}
END_TEST

START_TEST(f25_map)
{
	struct pcp_reply r = reply(F25);

	ck_assert_uint_eq(r.result, PCP_SUCCESS);
	ck_assert_uint_eq(r.lifetime, 2400);
	ck_assert_uint_eq(r.epoch, 0x44708);
	hex_assert(r.nonce, 12, NONCE);
	ck_assert_uint_eq(r.protocol, TCP);
	ck_assert_uint_eq(r.internal_port, 9654);
	ck_assert_uint_eq(r.external_port, 9654);
	hex_assert(r.external.b, 16, MAPPED "d99bba35");
}
END_TEST

START_TEST(f22_ipv6_map)
{
	struct pcp_reply r = reply(F22);

	ck_assert_uint_eq(r.internal_port, 6000);
	ck_assert_uint_eq(r.external_port, 0);
	hex_assert(r.external.b, 16, "20010db8000000000000000000000010");
}
END_TEST

static const struct {
	const char *hex;
	uint8_t result;
	uint32_t lifetime, epoch;
	uint16_t external_port;
} errors[] = {
	{ F13, PCP_NO_RESOURCES, 30, 3, 5001 },
	{ F14, PCP_NETWORK_FAILURE, 30, 3, 5001 },
	{ F15, PCP_NO_RESOURCES, 30, 0x687, 0 },
	{ F16, PCP_NOT_AUTHORIZED, 0, 0x688, 0 },
	{ F17, PCP_ADDRESS_MISMATCH, 0, 0x689, 7000 },
};

START_TEST(f13_f17_errors)
{
	struct pcp_reply r = reply(errors[_i].hex);

	ck_assert_int_eq(r.opcode, PCP_MAP);
	ck_assert_uint_eq(r.result, errors[_i].result);
	ck_assert_uint_eq(r.lifetime, errors[_i].lifetime);
	ck_assert_uint_eq(r.epoch, errors[_i].epoch);
	ck_assert(r.has_map);
	hex_assert(r.nonce, 12, NONCE);
	ck_assert_uint_eq(r.external_port, errors[_i].external_port);
}
END_TEST

START_TEST(f18_short_error)
{
	struct pcp_reply r = reply(F18);

	ck_assert_int_eq(r.opcode, PCP_MAP);
	ck_assert_uint_eq(r.result, PCP_MALFORMED_REQUEST);
	ck_assert_uint_eq(r.epoch, 0x68a);
	ck_assert(!r.has_map);
	hex_assert(r.nonce, 12, ZERO12);
	ck_assert_uint_eq(r.internal_port, 0);

	/* with a part of the opcode data only: as good as none */
	r = reply(F18 NONCE "11000000 1b58 1b58" ZERO12);
	ck_assert(!r.has_map);
	hex_assert(r.nonce, 12, ZERO12);
	/* a success must have it all */
	dropped("02810000 00001c20 0000068a" ZERO12);
	dropped("02810000 00001c20 0000068a" ZERO12 NONCE "11000000 1b58 1b58" ZERO12);
}
END_TEST

/* Version 0 is natpmp_decode()'s, in the longest form, too. */
START_TEST(f09_f19_version_0)
{
	dropped(F19);
	dropped("00810001 00000681");
	dropped("00000001 00000681");
}
END_TEST

/* P-57, Q-178: version before length. */
START_TEST(p57_version_before_length)
{
	static const char *const forms[] = { F20, F20 "00", "02810001", "02800001", "02810001 0000",
		"02810001 00000258 00000687", "02800001 00000258 00000687 00" };

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct pcp_reply r;

		ck_assert_msg(decode(forms[i], &r) == PCP_OTHER_VERSION, "%s", forms[i]);
		ck_assert_uint_eq(r.version, 2);
		ck_assert_uint_eq(r.result, PCP_UNSUPP_VERSION);
		ck_assert(!r.has_map);
		hex_assert(r.nonce, 12, ZERO12);
	}
}
END_TEST

/* P-70: the lifetime says when to try again; absent it is 0. */
START_TEST(p70_other_version_fields)
{
	struct pcp_reply r;

	ck_assert_int_eq(decode("05810001 00000258 00000687" ZERO12, &r), PCP_OTHER_VERSION);
	ck_assert_uint_eq(r.version, 5);
	ck_assert_uint_eq(r.lifetime, 600);
	ck_assert_uint_eq(r.epoch, 0x687);
	ck_assert_int_eq(decode("05810001 00000258", &r), PCP_OTHER_VERSION);
	ck_assert_uint_eq(r.lifetime, 600);
	ck_assert_uint_eq(r.epoch, 0);
	ck_assert_int_eq(decode("05810001 000002", &r), PCP_OTHER_VERSION);
	ck_assert_uint_eq(r.lifetime, 0);
}
END_TEST

/* whatever its result, a version 1 reply has another layout. */
START_TEST(f21_version_1)
{
	struct pcp_reply r;

	ck_assert_int_eq(decode(F21, &r), PCP_OTHER_VERSION);
	ck_assert_uint_eq(r.version, 1);
	ck_assert_uint_eq(r.result, 6);
	ck_assert(!r.has_map);
	ck_assert_int_eq(decode("01810000", &r), PCP_OTHER_VERSION);
	ck_assert_int_eq(decode("ff810000 00000000 00000000", &r), PCP_OTHER_VERSION);
	dropped("018100");
	dropped("01010006 00000000 00000681" ZERO12);
	dropped("03010001 00000000 00000681" ZERO12);
}
END_TEST

/* a PCP server's answer to NAT-PMP, cut to NAT-PMP's size. */
START_TEST(f10_f11_fragments)
{
	static const char *const fragments[] = { "0280", "0281", "0281 0002 a2a90000 004f8fd2",
		"028100", "02800000", "0281 0000 a2a90000 004f8fd2 00000000 00000000 000000" };

	for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++)
		verdict_without_output(fragments[i], PCP_FRAGMENT);
	dropped("02");
	dropped("0200");
	dropped("0201 0002 a2a90000 004f8fd2");
}
END_TEST

START_TEST(f23_f24_announce)
{
	struct pcp_reply r = reply(F24);

	ck_assert_int_eq(r.opcode, PCP_ANNOUNCE);
	ck_assert_uint_eq(r.result, PCP_SUCCESS);
	ck_assert_uint_eq(r.epoch, 1791);
	ck_assert(!r.has_map);
	r = reply(F23);
	ck_assert_uint_eq(r.epoch, 1773);
	/* */
	r = reply("0280 0002 00000708 000006ff" ZERO12);
	ck_assert_uint_eq(r.result, PCP_NOT_AUTHORIZED);
	ck_assert_uint_eq(r.lifetime, 1800);
}
END_TEST

/* P-93: options may follow; they are not the mapping's. */
START_TEST(p93_announce_with_options)
{
	struct pcp_reply r = reply(F24 "81000008 000c0000 00000000");

	ck_assert_uint_eq(r.epoch, 1791);
	r = reply(F24 THIRD_PARTY);
	ck_assert(!r.has_internal);
	dropped(F24 "8100000c 000c0000 00000000");
}
END_TEST

/* P-36, P-76, P-37: all reserved bits set. */
START_TEST(p36_reserved_bits_are_ignored)
{
	struct pcp_reply r = reply("0281ff00 00001c20 00000686 ffffffffffffffffffffffff" NONCE
				   "11ffffff 1b58 1b58" MAPPED "08080404"
				   "01ff0010" MAPPED "c0a84d21 80ff0004 61626364");

	ck_assert_uint_eq(r.result, 0);
	ck_assert_uint_eq(r.protocol, UDP);
	ck_assert_uint_eq(r.internal_port, 7000);
	hex_assert(r.external.b, 16, MAPPED "08080404");
	ck_assert(r.has_internal);
	hex_assert(r.internal.b, 16, MAPPED "c0a84d21");
}
END_TEST

/* P-39: before and after the one that is known; P-99: text without NUL at the very end. */
START_TEST(p39_unknown_options)
{
	static const char *const tails[] = { "63000000", "c8000004 01020304",
		"63000001 01000000 c8000005 0102030405 000000", "80000003 61626300",
		"80000004 61626364", "02000000", "00000000", "ff000000" };

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		char hex[512];
		struct pcp_reply r;

		strcpy(hex, F12);
		strcat(hex, tails[i]);
		r = reply(hex);
		ck_assert_uint_eq(r.external_port, 7000);
		ck_assert(!r.has_internal);
		strcat(hex, THIRD_PARTY);
		r = reply(hex);
		ck_assert(r.has_internal);
		hex_assert(r.internal.b, 16, MAPPED "c0a84d21");
		strcat(hex, tails[i]);
		r = reply(hex);
		ck_assert(r.has_internal);
	}
}
END_TEST

START_TEST(third_party_of_an_error)
{
	struct pcp_reply r = reply(F16 THIRD_PARTY);

	ck_assert_uint_eq(r.result, PCP_NOT_AUTHORIZED);
	ck_assert(r.has_internal);
	hex_assert(r.internal.b, 16, MAPPED "c0a84d21");
}
END_TEST

/* P-40: the echo says what was done. */
START_TEST(p40_filter)
{
	struct pcp_reply r =
	    reply(F12 NO_FILTER FILTER "03ff0014 ff30 1234 20010db8000100000000000000000000");

	ck_assert_uint_eq(r.n_filters, 2);
	ck_assert_uint_eq(r.filters[0].prefix.bits, 120);
	ck_assert_uint_eq(r.filters[0].port, 0);
	hex_assert(r.filters[0].prefix.addr.b, 16, MAPPED "c0000200");
	ck_assert_uint_eq(r.filters[1].prefix.bits, 48);
	ck_assert_uint_eq(r.filters[1].port, 0x1234);
	hex_assert(r.filters[1].prefix.addr.b, 16, "20010db8000100000000000000000000");
	/* prefix length 0 only: nobody is kept out */
	r = reply(F12 NO_FILTER);
	ck_assert_uint_eq(r.n_filters, 0);
	r = reply(F24 FILTER);
	ck_assert_uint_eq(r.n_filters, 0);
	dropped(F12 "03000010" MAPPED "c0000200");
	dropped(F12 "03000018 0078 0000" MAPPED "c0000200 00000000");
}
END_TEST

/* P-40, P-107: what was granted, whatever was asked. */
START_TEST(p40_port_set)
{
	struct pcp_reply r = reply(F12 PORT_SET);

	ck_assert(r.has_set);
	ck_assert_uint_eq(r.set_size, 10);
	ck_assert_uint_eq(r.set_first, 7000);
	r = reply(F16 "82ff0005 0004 1b5a ff ffffff" THIRD_PARTY);
	ck_assert(r.has_set && r.has_internal);
	ck_assert_uint_eq(r.set_size, 4);
	ck_assert_uint_eq(r.set_first, 7002);
	r = reply(F12);
	ck_assert(!r.has_set);
	r = reply(F24 PORT_SET);
	ck_assert(!r.has_set);
	dropped(F12 "82000004 000a 1b58");
	dropped(F12 "82000008 000a 1b58 00000000");
	dropped(F12 "82000005 000a 1b58");
	dropped(F12 PORT_SET PORT_SET);
}
END_TEST

START_TEST(broken_options)
{
	dropped(F12 "63000001");
	dropped(F12 "63000004");
	dropped(F12 "63000005 01020304");
	dropped(F12 "6300ffff 01020304");
	dropped(F12 "c800fffd 01020304");
	dropped(F12 "01000010 00000000 00000000 0000ffff");
	dropped(F16 "63000005 01020304");
	/* a THIRD_PARTY of another size, or two of them */
	dropped(F12 "01000004 c0a84d21");
	dropped(F12 "01000000");
	dropped(F12 "01000014" MAPPED "c0a84d21 00000000");
	dropped(F12 THIRD_PARTY THIRD_PARTY);
}
END_TEST

/* P-56: each way to be malformed. */
START_TEST(p56_malformed)
{
	size_t n;
	uint8_t *head = hex_bytes(F12, &n);
	uint8_t bytes[1108] = { 0 };

	dropped("02810000 00001c20 00000686" ZERO12 NONCE "11000000 1b58 1b58" MAPPED "080804");
	dropped(F12 "00");
	dropped(F12 "0000");
	dropped(F18 "0000");
	dropped(F24 "000000");
	/* R = 0 */
	dropped("02010000 00001c20 00000686" ZERO12 NONCE "11000000 1b58 1b58" MAPPED "08080404");
	dropped("02000000 00000000 000006ff" ZERO12);
	dropped("02010001 00001c20 00000686" ZERO12);
	/* opcodes that were never asked for */
	dropped("02820000 00001c20 00000686" ZERO12 NONCE "11000000 1b58 1b58" MAPPED "08080404");
	dropped("02ff0004 00001c20 00000686" ZERO12);

	/* the longest allowed, with one long option, and the next */
	memcpy(bytes, head, n);
	for (size_t length = 1100; length <= 1104; length += 4) {
		uint8_t *exact = malloc(length);
		struct pcp_reply r;

		ck_assert_ptr_nonnull(exact);
		bytes[60] = 200;
		bytes[62] = (uint8_t)((length - 64) >> 8);
		bytes[63] = (uint8_t)(length - 64);
		memcpy(exact, bytes, length);
		ck_assert_int_eq(
		    pcp_decode(exact, length, &r), length == 1100 ? PCP_REPLY : PCP_DROP);
		free(exact);
	}
	free(head);
}
END_TEST

/* Cut anywhere: nothing below 2 octets, a fragment below the header, else dropped for a
 * success and a short error for an error. ASan sees any read past the end. */
START_TEST(every_truncation)
{
	static const char *const whole[] = { F12, F12 THIRD_PARTY, F16 THIRD_PARTY, F25, F24 };
	size_t n;
	uint8_t *bytes = hex_bytes(whole[_i], &n);
	bool error = bytes[3] != 0;

	for (size_t cut = 0; cut < n; cut++) {
		struct pcp_reply r;
		uint8_t *copy = malloc(cut > 0 ? cut : 1);
		enum pcp_verdict want = PCP_DROP;

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, bytes, cut);
		if (cut >= 2 && cut < 24)
			want = PCP_FRAGMENT;
		if ((cut == 60 || (error && cut >= 24 && cut < 60)) && cut % 4 == 0)
			want = PCP_REPLY;
		ck_assert_msg(pcp_decode(copy, cut, &r) == want, "%s cut to %zu", whole[_i], cut);
		if (want == PCP_REPLY)
			ck_assert(r.has_map == (cut == 60) && !r.has_internal);
		free(copy);
	}
	free(bytes);
}
END_TEST

START_TEST(nothing_at_all)
{
	struct pcp_reply r;

	ck_assert_int_eq(pcp_decode(NULL, 0, &r), PCP_DROP);
}
END_TEST

/* RFC 6887 section 7.4; RFC 7652. */
START_TEST(result_names)
{
	ck_assert_str_eq(pcp_result_name(0), "SUCCESS");
	ck_assert_str_eq(pcp_result_name(1), "UNSUPP_VERSION");
	ck_assert_str_eq(pcp_result_name(2), "NOT_AUTHORIZED");
	ck_assert_str_eq(pcp_result_name(3), "MALFORMED_REQUEST");
	ck_assert_str_eq(pcp_result_name(4), "UNSUPP_OPCODE");
	ck_assert_str_eq(pcp_result_name(5), "UNSUPP_OPTION");
	ck_assert_str_eq(pcp_result_name(6), "MALFORMED_OPTION");
	ck_assert_str_eq(pcp_result_name(7), "NETWORK_FAILURE");
	ck_assert_str_eq(pcp_result_name(8), "NO_RESOURCES");
	ck_assert_str_eq(pcp_result_name(9), "UNSUPP_PROTOCOL");
	ck_assert_str_eq(pcp_result_name(10), "USER_EX_QUOTA");
	ck_assert_str_eq(pcp_result_name(11), "CANNOT_PROVIDE_EXTERNAL");
	ck_assert_str_eq(pcp_result_name(12), "ADDRESS_MISMATCH");
	ck_assert_str_eq(pcp_result_name(13), "EXCESSIVE_REMOTE_PEERS");
	ck_assert_str_eq(pcp_result_name(15), "AUTHENTICATION_REQUIRED");
	ck_assert_str_eq(pcp_result_name(18), "AUTHORIZATION_FAILED");
	ck_assert_str_eq(pcp_result_name(23), "AUTHENTICATION_REPLY");
	ck_assert_ptr_null(pcp_result_name(24));
	ck_assert_ptr_null(pcp_result_name(255));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pcp");
	TCase *tc = tcase_create("replies");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, f12_map);
	tcase_add_test(tc, f25_map);
	tcase_add_test(tc, f22_ipv6_map);
	tcase_add_loop_test(tc, f13_f17_errors, 0, 5);
	tcase_add_test(tc, f18_short_error);
	tcase_add_test(tc, f09_f19_version_0);
	tcase_add_test(tc, p57_version_before_length);
	tcase_add_test(tc, p70_other_version_fields);
	tcase_add_test(tc, f21_version_1);
	tcase_add_test(tc, f10_f11_fragments);
	tcase_add_test(tc, f23_f24_announce);
	tcase_add_test(tc, p93_announce_with_options);
	tcase_add_test(tc, p36_reserved_bits_are_ignored);
	tcase_add_test(tc, p39_unknown_options);
	tcase_add_test(tc, third_party_of_an_error);
	tcase_add_test(tc, p40_filter);
	tcase_add_test(tc, p40_port_set);
	tcase_add_test(tc, broken_options);
	tcase_add_test(tc, p56_malformed);
	tcase_add_loop_test(tc, every_truncation, 0, 5);
	tcase_add_test(tc, nothing_at_all);
	tcase_add_test(tc, result_names);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
