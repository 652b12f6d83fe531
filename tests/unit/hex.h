/* SPDX-License-Identifier: ISC */
#ifndef UNIT_HEX_H
#define UNIT_HEX_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Wire bytes in tests are hex text, with spaces where they help. */

#define HEX_ROOM 4096

static inline int
hex_value(char c)
{
	const char *digits = "0123456789abcdef";
	const char *p = c != '\0' ? strchr(digits, c) : NULL;

	return p == NULL ? -1 : (int)(p - digits);
}

/* Into exactly as many octets as it takes, so that ASan sees a read past them. Free it. */
static inline uint8_t *
hex_bytes(const char *text, size_t *n)
{
	uint8_t *bytes = malloc(strlen(text) / 2 + 1), *exact;

	ck_assert_ptr_nonnull(bytes);
	*n = 0;
	while (*text != '\0') {
		if (*text == ' ') {
			text++;
			continue;
		}
		ck_assert_msg(hex_value(text[0]) >= 0 && hex_value(text[1]) >= 0,
		    "bad hex in the test itself: '%s'", text);
		bytes[(*n)++] = (uint8_t)(hex_value(text[0]) << 4 | hex_value(text[1]));
		text += 2;
	}
	exact = malloc(*n > 0 ? *n : 1);
	ck_assert_ptr_nonnull(exact);
	memcpy(exact, bytes, *n);
	free(bytes);
	return exact;
}

/* Fails with both hex texts when they differ. */
static inline void
hex_assert(const uint8_t *bytes, size_t n, const char *expected)
{
	static char got[2 * HEX_ROOM + 1], want[2 * HEX_ROOM + 1];
	size_t m = 0;

	ck_assert_uint_le(n, HEX_ROOM);
	for (size_t i = 0; i < n; i++) {
		got[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		got[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	got[2 * n] = '\0';
	for (; *expected != '\0' && m < sizeof(want) - 1; expected++) {
		if (*expected != ' ')
			want[m++] = *expected;
	}
	want[m] = '\0';
	ck_assert_str_eq(got, want);
}

#endif
