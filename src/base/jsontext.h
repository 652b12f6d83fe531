/* SPDX-License-Identifier: ISC */
#ifndef BASE_JSONTEXT_H
#define BASE_JSONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON (RFC 8259) written straight into a buffer that grows, without a tree of values: a status of
 * a thousand rows is asked for often. Who calls writes in order and closes what it opens; commas
 * are put here. All zero is an empty one.
 */
struct jsontext {
	char *bytes; /* owned, without a NUL at its end; see jsontext_clear() */
	size_t used, size;
	bool broken; /* out of memory: what is there is of no use */
	bool comma;  /* something stands before */
};

void jsontext_clear(struct jsontext *);

/* Every `key` is plain ASCII, or NULL for the element of a list and for the whole. */

/* '{' or '[', then '}' or ']'. */
void jsontext_open(struct jsontext *, const char *key, char bracket);
void jsontext_close(struct jsontext *, char bracket);
/* NULL becomes null. Octets that are not UTF-8 (RFC 3629) become U+FFFD, one each. */
void jsontext_string(struct jsontext *, const char *key, const char *value);
void jsontext_integer(struct jsontext *, const char *key, int64_t value);
/* value / 1000: 800 becomes 0.8, 2000 becomes 2.0. */
void jsontext_thousandths(struct jsontext *, const char *key, uint32_t value);
void jsontext_boolean(struct jsontext *, const char *key, bool value);
void jsontext_null(struct jsontext *, const char *key);
/* As it is. */
void jsontext_raw(struct jsontext *, const char *bytes, size_t n);

#endif
