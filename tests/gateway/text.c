/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
reserve(struct text *t, size_t more)
{
	size_t cap = t->cap == 0 ? 256 : t->cap;

	while (cap < t->len + more + 1)
		cap *= 2;
	if (cap == t->cap)
		return;
	t->p = realloc(t->p, cap);
	if (t->p == NULL)
		abort();
	t->cap = cap;
}

void
text_add(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (n < 0)
		abort();
	reserve(t, (size_t)n);
	va_start(ap, format);
	vsnprintf(t->p + t->len, (size_t)n + 1, format, ap);
	va_end(ap);
	t->len += (size_t)n;
}

void
text_add_hex(struct text *t, const uint8_t *bytes, size_t n)
{
	static const char digit[] = "0123456789abcdef";

	reserve(t, 2 * n);
	for (size_t i = 0; i < n; i++) {
		t->p[t->len++] = digit[bytes[i] >> 4];
		t->p[t->len++] = digit[bytes[i] & 15];
	}
	t->p[t->len] = '\0';
}

void
text_add_json(struct text *t, const char *s, size_t n)
{
	text_add(t, "\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			text_add(t, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			text_add(t, "\\u%04x", c);
		else
			text_add(t, "%c", c);
	}
	text_add(t, "\"");
}

void
text_clear(struct text *t)
{
	t->len = 0;
	if (t->p != NULL)
		t->p[0] = '\0';
}

void
text_free(struct text *t)
{
	free(t->p);
	memset(t, 0, sizeof(*t));
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
hex_read(const char *text, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (;;) {
		int high, low;

		while (*text == ' ')
			text++;
		if (*text == '\0')
			return (int)n;
		high = digit_value(text[0]);
		low = high < 0 ? -1 : digit_value(text[1]);
		if (low < 0 || n == max)
			return -1;
		out[n++] = (uint8_t)(high << 4 | low);
		text += 2;
	}
}

bool
number_read(const char *text, int64_t min, int64_t max, int64_t *out)
{
	char *end;
	long long v;

	if (*text == '\0' || isspace((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoll(text, &end, text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10);
	if (errno != 0 || *end != '\0' || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool
decimal_read(const char *text, double min, double max, double *out)
{
	char *end;
	double v;

	if (!isdigit((unsigned char)*text) && *text != '.' && *text != '-')
		return false;
	errno = 0;
	v = strtod(text, &end);
	if (errno != 0 || *end != '\0' || !(v >= min && v <= max))
		return false;
	*out = v;
	return true;
}
