/* SPDX-License-Identifier: ISC */
#include "base/jsontext.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Texts octet by octet; and what any octets become is what another reader of JSON takes. */

static void
is(struct jsontext *j, const char *wanted)
{
	ck_assert(!j->broken);
	ck_assert_uint_eq(j->used, strlen(wanted));
	ck_assert(memcmp(j->bytes, wanted, j->used) == 0);
	jsontext_clear(j);
}

START_TEST(commas)
{
	struct jsontext j = { .bytes = NULL };

	jsontext_open(&j, NULL, '{');
	jsontext_open(&j, "a", '[');
	jsontext_close(&j, ']');
	jsontext_open(&j, "b", '[');
	jsontext_integer(&j, NULL, 1);
	jsontext_open(&j, NULL, '{');
	jsontext_close(&j, '}');
	jsontext_open(&j, NULL, '{');
	jsontext_boolean(&j, "c", true);
	jsontext_boolean(&j, "d", false);
	jsontext_close(&j, '}');
	jsontext_close(&j, ']');
	jsontext_null(&j, "e");
	jsontext_string(&j, "f", "g");
	jsontext_close(&j, '}');
	is(&j, "{\"a\":[],\"b\":[1,{},{\"c\":true,\"d\":false}],\"e\":null,\"f\":\"g\"}");
}
END_TEST

START_TEST(numbers)
{
	struct jsontext j = { .bytes = NULL };

	jsontext_open(&j, NULL, '[');
	jsontext_integer(&j, NULL, 0);
	jsontext_integer(&j, NULL, -10);
	jsontext_integer(&j, NULL, INT64_MAX);
	jsontext_integer(&j, NULL, INT64_MIN);
	jsontext_thousandths(&j, NULL, 0);
	jsontext_thousandths(&j, NULL, 1);
	jsontext_thousandths(&j, NULL, 800);
	jsontext_thousandths(&j, NULL, 1020);
	jsontext_thousandths(&j, NULL, 2000);
	jsontext_thousandths(&j, NULL, UINT32_MAX);
	jsontext_close(&j, ']');
	is(&j,
	    "[0,-10,9223372036854775807,-9223372036854775808,0.0,0.001,0.8,1.02,2.0,4294967.295]");
}
END_TEST

static const struct {
	const char *octets, *text;
} strings[] = {
	{ "", "\"\"" },
	{ NULL, "null" },
	{ "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
	{ "\x01\x1f\n\x7f", "\"\\u0001\\u001f\\u000a\x7f\"" },
	{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\x80\"" },
	{ "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
	    "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"" },
	/* Alone, cut short, too long, a surrogate, too large. */
	{ "\x80", "\"\xef\xbf\xbd\"" },
	{ "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xe2\x82x", "\"\xef\xbf\xbd\xef\xbf\xbdx\"" },
	{ "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xe0\x9f\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf0\x8f\xbf\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf5\xff", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
};

START_TEST(escapes)
{
	struct jsontext j = { .bytes = NULL };

	jsontext_string(&j, NULL, strings[_i].octets);
	is(&j, strings[_i].text);
}
END_TEST

/* Every sequence of three octets, as text that grows: jansson reads it all, and nothing is lost of
 * what was well. */
START_TEST(any_octets)
{
	struct jsontext j = { .bytes = NULL };
	json_t *list;

	jsontext_open(&j, NULL, '[');
	for (int k = 1; k < 256; k++) {
		char octets[4] = { (char)_i, (char)k, (char)(k * 7 % 255 + 1), '\0' };

		jsontext_string(&j, NULL, octets);
	}
	jsontext_close(&j, ']');
	ck_assert(!j.broken);
	list = json_loadb(j.bytes, j.used, 0, NULL);
	ck_assert_uint_eq(json_array_size(list), 255);
	for (int k = 1; k < 256 && _i < 0x80; k++) {
		const char *s = json_string_value(json_array_get(list, (size_t)k - 1));

		ck_assert_int_eq(s[0], _i);
		ck_assert(k >= 0x80 || s[1] == k);
	}
	json_decref(list);
	jsontext_clear(&j);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("jsontext");
	TCase *tc = tcase_create("jsontext");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, commas);
	tcase_add_test(tc, numbers);
	tcase_add_loop_test(tc, escapes, 0, (int)(sizeof(strings) / sizeof(strings[0])));
	tcase_add_loop_test(tc, any_octets, 1, 256);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
