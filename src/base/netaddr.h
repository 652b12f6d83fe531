/* SPDX-License-Identifier: ISC */
#ifndef BASE_NETADDR_H
#define BASE_NETADDR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One address type for both families, in the form PCP puts on the wire
 * (RFC 6887 section 5): 16 octets, IPv4 as ::ffff:a.b.c.d. Compare by
 * netaddr_equal(), never by family first.
 */
struct netaddr {
	uint8_t b[16];
};

struct netprefix {
	struct netaddr addr; /* host bits are zero */
	uint8_t bits;        /* of the 128: an IPv4 /24 is 120 */
};

enum netaddr_class {
	NETADDR_NONE, /* unspecified, multicast, loopback, link-local: nobody can reach it */
	NETADDR_PUBLIC,
	NETADDR_PRIVATE, /* RFC 1918, unique local */
	NETADDR_CGNAT,   /* 100.64.0.0/10 (RFC 6598) */
};

#define NETADDR_STRLEN 46

extern const struct netaddr netaddr_any4; /* ::ffff:0:0 */
extern const struct netaddr netaddr_any6; /* :: */

struct netaddr netaddr_from4(const uint8_t octets[4]);
struct netaddr netaddr_from6(const uint8_t octets[16]);
/* All 96 leading bits are looked at (P-34). */
bool netaddr_is4(const struct netaddr *);
/* Neither family's zero address names anybody. */
bool netaddr_is_any(const struct netaddr *);
bool netaddr_is_multicast(const struct netaddr *);
bool netaddr_is_loopback(const struct netaddr *);
bool netaddr_is_linklocal(const struct netaddr *);
bool netaddr_equal(const struct netaddr *, const struct netaddr *);
enum netaddr_class netaddr_classify(const struct netaddr *);
/* "public", "private", "cgnat", "none": the words of the status document. */
const char *netaddr_class_name(enum netaddr_class);
/* Dotted quad or RFC 4291 text, nothing else (no scope, no prefix). */
bool netaddr_parse(const char *text, struct netaddr *out) __attribute__((warn_unused_result));
/* RFC 5952 text into `out`; returns `out`. */
const char *netaddr_print(const struct netaddr *, char out[NETADDR_STRLEN]);
/* "ADDRESS" or "ADDRESS/BITS"; host bits must be zero. */
bool netprefix_parse(const char *text, struct netprefix *out) __attribute__((warn_unused_result));
bool netprefix_contains(const struct netprefix *, const struct netaddr *);

#endif
