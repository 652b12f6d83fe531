/* SPDX-License-Identifier: ISC */
#ifndef FGW_TEXT_H
#define FGW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing line of text: a log line, the answer to a command. Starts as { 0 }. */
struct text {
	char *p; /* owned; NUL-terminated once something was added, else NULL */
	size_t len;
	size_t cap;
};

void text_add(struct text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_hex(struct text *, const uint8_t *bytes, size_t n);
/* As a JSON string with its quotes; octets that are not printable ASCII become \u00XX. */
void text_add_json(struct text *, const char *s, size_t n);
void text_clear(struct text *);
void text_free(struct text *);

/* Number of octets read from hex digits, spaces between octets allowed; -1 for anything else or
 * more than `max` octets. */
int hex_read(const char *text, uint8_t *out, size_t max);

/* A whole decimal or 0x number; false for anything else. */
bool number_read(const char *text, int64_t min, int64_t max, int64_t *out)
    __attribute__((warn_unused_result));
bool decimal_read(const char *text, double min, double max, double *out)
    __attribute__((warn_unused_result));

#endif
