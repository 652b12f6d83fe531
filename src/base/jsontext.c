/* SPDX-License-Identifier: ISC */
#include "base/jsontext.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 512u

void
jsontext_clear(struct jsontext *j)
{
	free(j->bytes);
	*j = (struct jsontext){ .bytes = NULL };
}

/* Room for `n` octets more, or NULL. */
static char *
reserve(struct jsontext *j, size_t n)
{
	size_t size = j->size == 0 ? FIRST_SIZE : j->size;
	char *grown;

	if (j->broken)
		return NULL;
	if (n <= j->size - j->used)
		return j->bytes + j->used;
	while (size - j->used < n && size <= SIZE_MAX / 2)
		size *= 2;
	grown = size - j->used < n ? NULL : realloc(j->bytes, size);
	if (grown == NULL) {
		j->broken = true;
		return NULL;
	}
	j->bytes = grown;
	j->size = size;
	return j->bytes + j->used;
}

void
jsontext_raw(struct jsontext *j, const char *bytes, size_t n)
{
	char *to = reserve(j, n);

	if (to == NULL)
		return;
	memcpy(to, bytes, n);
	j->used += n;
}

/* A value of `n` octets, after what has to stand before it. */
static void
put(struct jsontext *j, const char *key, const char *value, size_t n)
{
	size_t length = key != NULL ? strlen(key) : 0;
	char *to = reserve(j, length + n + 4);

	if (to == NULL)
		return;
	if (j->comma)
		*to++ = ',';
	if (key != NULL) {
		*to++ = '"';
		memcpy(to, key, length);
		to += length;
		*to++ = '"';
		*to++ = ':';
	}
	if (n > 0)
		memcpy(to, value, n);
	j->used = (size_t)(to - j->bytes) + n;
	j->comma = true;
}

void
jsontext_open(struct jsontext *j, const char *key, char bracket)
{
	put(j, key, &bracket, 1);
	j->comma = false;
}

void
jsontext_close(struct jsontext *j, char bracket)
{
	jsontext_raw(j, &bracket, 1);
	j->comma = true;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* How many octets the character at `p` has (RFC 3629 section 4); 0: it is none. */
static unsigned
character(const unsigned char *p)
{
	unsigned char low = 0x80, high = 0xbf;
	unsigned n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	/* Neither longer than need be, nor a surrogate, nor beyond U+10FFFF. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	/* A NUL that ends the string is no such octet. */
	for (unsigned i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return n;
}

#define ESCAPED_MAX 6 /* octets that one octet may become */

static char *
escape(char *to, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	*to++ = '\\';
	if (c == '"' || c == '\\') {
		*to++ = (char)c;
		return to;
	}
	memcpy(to, "u00", 3);
	to[3] = digits[c >> 4];
	to[4] = digits[c & 15];
	return to + 5;
}

void
jsontext_string(struct jsontext *j, const char *key, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;
	char *to;

	if (value == NULL) {
		jsontext_null(j, key);
		return;
	}
	put(j, key, "\"", 1);
	to = reserve(j, strlen(value) * ESCAPED_MAX + 1);
	if (to == NULL)
		return;
	while (*p != '\0') {
		unsigned n = character(p);

		if (n == 0) {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			p++;
		} else if (*p < 0x20 || *p == '"' || *p == '\\') {
			to = escape(to, *p++);
		} else {
			while (n-- > 0)
				*to++ = (char)*p++;
		}
	}
	*to++ = '"';
	j->used = (size_t)(to - j->bytes);
}

/* ---- numbers -------------------------------------------------------------------------------- */

#define DIGITS_MAX 24

/* Writes `value` so that it ends before `end`; returns where it begins. */
static char *
digits_before(char *end, uint64_t value)
{
	do
		*--end = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	return end;
}

void
jsontext_integer(struct jsontext *j, const char *key, int64_t value)
{
	char room[DIGITS_MAX], *end = room + sizeof(room);
	char *begin = digits_before(end, value < 0 ? -(uint64_t)value : (uint64_t)value);

	if (value < 0)
		*--begin = '-';
	put(j, key, begin, (size_t)(end - begin));
}

void
jsontext_thousandths(struct jsontext *j, const char *key, uint32_t value)
{
	char room[DIGITS_MAX], *end = room + sizeof(room), *point = end - 4, *begin;

	*point = '.';
	for (char *digit = end; digit > point + 1; value /= 10)
		*--digit = (char)('0' + value % 10);
	begin = digits_before(point, value);
	while (end[-1] == '0' && end - 2 > point)
		end--;
	put(j, key, begin, (size_t)(end - begin));
}

void
jsontext_boolean(struct jsontext *j, const char *key, bool value)
{
	put(j, key, value ? "true" : "false", value ? 4 : 5);
}

void
jsontext_null(struct jsontext *j, const char *key)
{
	put(j, key, "null", 4);
}
