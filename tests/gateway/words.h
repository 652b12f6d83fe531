/* SPDX-License-Identifier: ISC */
#ifndef FGW_WORDS_H
#define FGW_WORDS_H

#include <stdbool.h>
#include <stdint.h>

/* The words of a command, one after the other. */
struct words {
	const char *p; /* borrowed: what is not read yet, after words_next without leading spaces */
	char word[512];
};

/* False at the end; a longer word than fits is cut and so will not be understood. */
bool words_next(struct words *);
bool words_are(const struct words *, const char *word);
/* Reads the next word as a number. */
bool words_number(struct words *, int64_t min, int64_t max, int64_t *out);

#endif
