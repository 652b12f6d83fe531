/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/wire.h"

#include "hex.h"

#include <check.h>
#include <stdlib.h>

START_TEST(reads_big_endian)
{
	const uint8_t bytes[] = { 0x01, 0x80, 0xff, 0x89, 0xab, 0xcd, 0xef, 0x55 };
	struct rbuf r = rbuf_over(bytes, sizeof(bytes));

	ck_assert_uint_eq(rbuf_u8(&r), 0x01);
	ck_assert_uint_eq(rbuf_u16(&r), 0x80ff);
	ck_assert_uint_eq(rbuf_left(&r), 5);
	ck_assert_uint_eq(rbuf_u32(&r), 0x89abcdefU);
	ck_assert_uint_eq(rbuf_left(&r), 1);
	ck_assert(!r.bad);
	ck_assert_uint_eq(rbuf_u8(&r), 0x55);
	ck_assert_uint_eq(rbuf_left(&r), 0);
	ck_assert(!r.bad);
}
END_TEST

START_TEST(copies_and_skips)
{
	const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6 };
	uint8_t to[4] = { 9, 9, 9, 9 };
	struct rbuf r = rbuf_over(bytes, sizeof(bytes));

	rbuf_skip(&r, 2);
	rbuf_copy(&r, to, 3);
	ck_assert(!r.bad);
	hex_assert(to, 4, "03040509");
	ck_assert_uint_eq(rbuf_left(&r), 1);
	rbuf_skip(&r, 0);
	rbuf_copy(&r, NULL, 0);
	ck_assert(!r.bad);
}
END_TEST

/* One octet short in each way: zeros from then on, though octets are left. */
START_TEST(reader_latches)
{
	const uint8_t bytes[] = { 0xaa, 0xbb, 0xcc };
	uint8_t to[4] = { 9, 9, 9, 9 };
	struct rbuf r;

	r = rbuf_over(bytes, 3);
	ck_assert_uint_eq(rbuf_u32(&r), 0);
	ck_assert(r.bad);
	ck_assert_uint_eq(rbuf_left(&r), 0);
	ck_assert_uint_eq(rbuf_u8(&r), 0);
	ck_assert_uint_eq(rbuf_u16(&r), 0);
	ck_assert(r.bad);

	r = rbuf_over(bytes, 1);
	ck_assert_uint_eq(rbuf_u16(&r), 0);
	ck_assert(r.bad);

	r = rbuf_over(bytes, 0);
	ck_assert_uint_eq(rbuf_u8(&r), 0);
	ck_assert(r.bad);

	r = rbuf_over(bytes, 3);
	rbuf_copy(&r, to, 4);
	ck_assert(r.bad);
	hex_assert(to, 4, "00000000");

	r = rbuf_over(bytes, 3);
	rbuf_skip(&r, 4);
	ck_assert(r.bad);
	memset(to, 9, sizeof(to));
	rbuf_copy(&r, to, 1);
	hex_assert(to, 4, "00090909");
}
END_TEST

/* A length near the top of size_t must not wrap around the end. */
START_TEST(reader_huge_lengths)
{
	const uint8_t bytes[] = { 1, 2, 3 };
	struct rbuf r = rbuf_over(bytes, 3);

	rbuf_skip(&r, SIZE_MAX);
	ck_assert(r.bad);
	r = rbuf_over(bytes, 3);
	rbuf_skip(&r, 1);
	rbuf_skip(&r, SIZE_MAX - 1);
	ck_assert(r.bad);
}
END_TEST

START_TEST(reader_over_nothing)
{
	struct rbuf r = rbuf_over(NULL, 0);

	ck_assert_uint_eq(rbuf_left(&r), 0);
	rbuf_skip(&r, 0);
	ck_assert(!r.bad);
	ck_assert_uint_eq(rbuf_u8(&r), 0);
	ck_assert(r.bad);
}
END_TEST

START_TEST(writes_big_endian)
{
	uint8_t bytes[16];
	struct wbuf w;

	memset(bytes, 0xee, sizeof(bytes));
	w = wbuf_over(bytes, sizeof(bytes));
	wbuf_u8(&w, 0x01);
	wbuf_u16(&w, 0x8034);
	wbuf_u32(&w, 0xf6789abcU);
	wbuf_copy(&w, "xyz", 3);
	wbuf_zero(&w, 2);
	wbuf_copy(&w, NULL, 0);
	ck_assert_uint_eq(wbuf_done(&w), 12);
	hex_assert(bytes, 16, "01 8034 f6789abc 78797a 0000 eeeeeeee");
}
END_TEST

START_TEST(writer_fills_to_the_brim)
{
	uint8_t bytes[5] = { 0 };
	struct wbuf w = wbuf_over(bytes, 4);

	bytes[4] = 0xee;
	wbuf_u32(&w, 0x01020304);
	ck_assert_uint_eq(wbuf_done(&w), 4);
	wbuf_u8(&w, 5);
	ck_assert_uint_eq(wbuf_done(&w), 0);
	hex_assert(bytes, 5, "01020304 ee");
}
END_TEST

/* Each verb one octet short: nothing of it is written, nor of what would fit after it. */
START_TEST(writer_latches)
{
	uint8_t bytes[4];

	for (int verb = 0; verb < 5; verb++) {
		struct wbuf w;

		memset(bytes, 0xee, sizeof(bytes));
		switch (verb) {
		case 0:
			w = wbuf_over(bytes, 3);
			wbuf_u32(&w, 0);
			break;
		case 1:
			w = wbuf_over(bytes, 1);
			wbuf_u16(&w, 0);
			break;
		case 2:
			w = wbuf_over(bytes, 0);
			wbuf_u8(&w, 0);
			break;
		case 3:
			w = wbuf_over(bytes, 3);
			wbuf_copy(&w, "\0\0\0", 4);
			break;
		default:
			w = wbuf_over(bytes, 3);
			wbuf_zero(&w, SIZE_MAX);
		}
		ck_assert_msg(w.bad, "verb %d", verb);
		wbuf_u8(&w, 0);
		ck_assert_uint_eq(wbuf_done(&w), 0);
		hex_assert(bytes, 4, "eeeeeeee");
	}
}
END_TEST

START_TEST(writer_over_nothing)
{
	struct wbuf w = wbuf_over(NULL, 0);

	wbuf_copy(&w, NULL, 0);
	wbuf_zero(&w, 0);
	ck_assert_uint_eq(wbuf_done(&w), 0);
	wbuf_u8(&w, 1);
	ck_assert_uint_eq(wbuf_done(&w), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wire");
	TCase *tc = tcase_create("cursors");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, reads_big_endian);
	tcase_add_test(tc, copies_and_skips);
	tcase_add_test(tc, reader_latches);
	tcase_add_test(tc, reader_huge_lengths);
	tcase_add_test(tc, reader_over_nothing);
	tcase_add_test(tc, writes_big_endian);
	tcase_add_test(tc, writer_fills_to_the_brim);
	tcase_add_test(tc, writer_latches);
	tcase_add_test(tc, writer_over_nothing);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
