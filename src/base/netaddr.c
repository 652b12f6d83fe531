/* SPDX-License-Identifier: ISC */
#include "base/netaddr.h"

#include <stddef.h>
#include <string.h>

#define GROUPS 8
#define LONGEST_TEXT (NETADDR_STRLEN - 1)

const struct netaddr netaddr_any4 = { { [10] = 0xff, [11] = 0xff } };
const struct netaddr netaddr_any6;

struct netaddr
netaddr_from4(const uint8_t octets[4])
{
	struct netaddr a = netaddr_any4;

	memcpy(a.b + 12, octets, 4);
	return a;
}

struct netaddr
netaddr_from6(const uint8_t octets[16])
{
	struct netaddr a;

	memcpy(a.b, octets, 16);
	return a;
}

bool
netaddr_is4(const struct netaddr *a)
{
	return memcmp(a->b, netaddr_any4.b, 12) == 0;
}

bool
netaddr_is_any(const struct netaddr *a)
{
	return netaddr_equal(a, &netaddr_any4) || netaddr_equal(a, &netaddr_any6);
}

bool
netaddr_is_multicast(const struct netaddr *a)
{
	return netaddr_is4(a) ? a->b[12] >> 4 == 0xe : a->b[0] == 0xff;
}

bool
netaddr_is_loopback(const struct netaddr *a)
{
	static const struct netaddr loopback6 = { { [15] = 1 } };

	return netaddr_is4(a) ? a->b[12] == 127 : netaddr_equal(a, &loopback6);
}

bool
netaddr_is_linklocal(const struct netaddr *a)
{
	if (netaddr_is4(a))
		return a->b[12] == 169 && a->b[13] == 254;
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool
netaddr_equal(const struct netaddr *a, const struct netaddr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static enum netaddr_class
classify4(const uint8_t o[4])
{
	/* "This network", and the reserved class E with the broadcast address. */
	if (o[0] == 0 || o[0] >= 240)
		return NETADDR_NONE;
	if (o[0] == 10 || (o[0] == 172 && (o[1] & 0xf0) == 16) || (o[0] == 192 && o[1] == 168))
		return NETADDR_PRIVATE;
	/* RFC 6890 and DS-Lite's 192.0.0.0/29: another NAT follows. */
	if (o[0] == 192 && o[1] == 0 && o[2] == 0)
		return NETADDR_PRIVATE;
	if (o[0] == 100 && (o[1] & 0xc0) == 64)
		return NETADDR_CGNAT;
	return NETADDR_PUBLIC; /* documentation prefixes, too: labs use them */
}

enum netaddr_class
netaddr_classify(const struct netaddr *a)
{
	if (netaddr_is_any(a) || netaddr_is_multicast(a) || netaddr_is_loopback(a) ||
	    netaddr_is_linklocal(a))
		return NETADDR_NONE;
	if (netaddr_is4(a))
		return classify4(a->b + 12);
	return (a->b[0] & 0xfe) == 0xfc ? NETADDR_PRIVATE : NETADDR_PUBLIC;
}

const char *netaddr_class_name(enum netaddr_class class)
{
	switch (class) {
	case NETADDR_PUBLIC:
		return "public";
	case NETADDR_PRIVATE:
		return "private";
	case NETADDR_CGNAT:
		return "cgnat";
	case NETADDR_NONE:
		break;
	}
	return "none";
}

/* A decimal number of at most three digits; a leading 0 might mean octal, so there is none. */
static bool
parse_decimal(const char **text, unsigned max, uint8_t *out)
{
	const char *p = *text;
	unsigned v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (p - *text == 3 || (p > *text && v == 0))
			return false;
		v = v * 10 + (unsigned)(*p - '0');
	}
	if (p == *text || v > max)
		return false;
	*out = (uint8_t)v;
	*text = p;
	return true;
}

/* A whole dotted quad, up to the end of the text. */
static bool
parse4(const char *p, uint8_t out[4])
{
	uint8_t o[4];

	for (int i = 0; i < 4; i++) {
		if (i > 0 && *p++ != '.')
			return false;
		if (!parse_decimal(&p, 255, &o[i]))
			return false;
	}
	if (*p != '\0')
		return false;
	memcpy(out, o, 4);
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One to four hex digits. */
static bool
parse_group(const char **text, uint8_t out[2])
{
	const char *p = *text;
	unsigned v = 0;

	for (; hex_digit(*p) >= 0; p++) {
		if (p - *text == 4)
			return false;
		v = v << 4 | (unsigned)hex_digit(*p);
	}
	if (p == *text)
		return false;
	out[0] = (uint8_t)(v >> 8);
	out[1] = (uint8_t)v;
	*text = p;
	return true;
}

/* RFC 4291 section 2.2: groups, one "::", the last two groups perhaps as a dotted quad. */
static bool
parse6(const char *p, uint8_t out[16])
{
	uint8_t o[16] = { 0 };
	size_t n = 0;          /* octets so far */
	size_t gap = SIZE_MAX; /* where the "::" is */

	if (p[0] == ':' && p[1] == ':') {
		gap = 0;
		p += 2;
	}
	while (*p != '\0') {
		if (n <= 12 && parse4(p, o + n)) {
			n += 4;
			break;
		}
		if (n == 16 || !parse_group(&p, o + n))
			return false;
		n += 2;
		if (*p == '\0')
			break;
		if (*p++ != ':')
			return false;
		if (*p == ':' && gap == SIZE_MAX) {
			gap = n;
			p++;
		} else if (*p == '\0') {
			return false;
		}
	}
	if (gap == SIZE_MAX ? n != 16 : n >= 16)
		return false;
	if (gap != SIZE_MAX) {
		memmove(o + 16 - (n - gap), o + gap, n - gap);
		memset(o + gap, 0, 16 - n);
	}
	memcpy(out, o, 16);
	return true;
}

bool
netaddr_parse(const char *text, struct netaddr *out)
{
	uint8_t octets[4];

	if (strchr(text, ':') != NULL)
		return parse6(text, out->b);
	if (!parse4(text, octets))
		return false;
	*out = netaddr_from4(octets);
	return true;
}

static char *
print_decimal(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

static char *
print_hex(char *p, unsigned v)
{
	for (unsigned shift = 16; shift > 0;) {
		shift -= 4;
		if (shift == 0 || v >> shift != 0)
			*p++ = "0123456789abcdef"[v >> shift & 0xf];
	}
	return p;
}

/* The longest run of zero groups, the first of equals; runs of one do not count. */
static size_t
longest_gap(const unsigned group[GROUPS], size_t *length)
{
	size_t start = GROUPS, run = 0;

	*length = 1;
	for (size_t i = 0; i < GROUPS; i++) {
		run = group[i] == 0 ? run + 1 : 0;
		if (run > *length) {
			*length = run;
			start = i + 1 - run;
		}
	}
	return start;
}

static char *
print6(char *p, const uint8_t b[16])
{
	unsigned group[GROUPS];
	size_t gap, length;

	for (size_t i = 0; i < GROUPS; i++)
		group[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
	gap = longest_gap(group, &length);
	for (size_t i = 0; i < GROUPS; i++) {
		if (i == gap) {
			*p++ = ':';
			i += length - 1;
			if (i == GROUPS - 1)
				*p++ = ':';
			continue;
		}
		if (i > 0)
			*p++ = ':';
		p = print_hex(p, group[i]);
	}
	return p;
}

const char *
netaddr_print(const struct netaddr *a, char out[NETADDR_STRLEN])
{
	char *p = out;

	if (!netaddr_is4(a)) {
		p = print6(p, a->b);
	} else {
		for (int i = 12; i < 16; i++) {
			if (i > 12)
				*p++ = '.';
			p = print_decimal(p, a->b[i]);
		}
	}
	*p = '\0';
	return out;
}

/* Are all bits from number `bits` on zero? */
static bool
host_is_zero(const struct netaddr *a, unsigned bits)
{
	for (unsigned i = bits; i < 128; i++) {
		if (a->b[i / 8] & (0x80 >> (i % 8)))
			return false;
	}
	return true;
}

bool
netprefix_parse(const char *text, struct netprefix *out)
{
	char address[NETADDR_STRLEN];
	struct netprefix prefix = { .bits = 128 };
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);

	if (n > LONGEST_TEXT)
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	if (!netaddr_parse(address, &prefix.addr))
		return false;
	if (slash != NULL) {
		/* The notation, not the address, says what the number counts. */
		unsigned width = strchr(address, ':') != NULL ? 128 : 32;

		slash++;
		if (!parse_decimal(&slash, width, &prefix.bits) || *slash != '\0')
			return false;
		prefix.bits = (uint8_t)(prefix.bits + 128 - width);
	}
	if (!host_is_zero(&prefix.addr, prefix.bits))
		return false;
	*out = prefix;
	return true;
}

bool
netprefix_contains(const struct netprefix *prefix, const struct netaddr *a)
{
	size_t whole = prefix->bits / 8;
	unsigned rest = prefix->bits % 8;

	if (memcmp(prefix->addr.b, a->b, whole) != 0)
		return false;
	return rest == 0 || (prefix->addr.b[whole] ^ a->b[whole]) >> (8 - rest) == 0;
}
