/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONF_TOKEN_H
#define DAEMON_CONF_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * The words of libconfuse 3.3, for conf_scan.c: what it takes for one word is one word here.
 * Stricter in what only leads astray: a string ends in its line, and NUL cannot be written.
 */
enum token_kind {
	TOKEN_END,
	TOKEN_WORD, /* quoted or not */
	TOKEN_OPEN, /* { */
	TOKEN_CLOSE,
	TOKEN_PAREN_OPEN,
	TOKEN_PAREN_CLOSE,
	TOKEN_EQUALS,
	TOKEN_APPEND, /* += */
	TOKEN_COMMA,
	TOKEN_BROKEN /* `trouble` says why; nothing behind it can be understood */
};

struct token {
	enum token_kind kind;
	size_t start, end; /* in the text */
	int line;
	bool stray; /* a bare word with + or *, which libconfuse would skip without a word */
	const char *trouble;
};

struct token_reader {
	char *text; /* borrowed; comments are overwritten with spaces in passing */
	size_t size, pos;
	int line;
	int last_line; /* of the last token: what the end of the file is reported at */
};

#define TOKEN_PRINT_MAX 64

struct token_reader token_reader_over(char *text, size_t size);
struct token token_next(struct token_reader *);
/* The next token_next() gives this one again. */
void token_unread(struct token_reader *, const struct token *);
/* For messages: "end of file", or what stands there, in quotes. Returns `out`. */
const char *
token_print(const struct token_reader *, const struct token *, char out[TOKEN_PRINT_MAX]);
/* The word without its quotes, cut to fit. Escapes are left as they are: no name needs any. */
void token_copy(const struct token_reader *, const struct token *, char *out, size_t n);
/* For "%.*s". */
int token_length(const struct token *, int at_most);
/* Overwrites all but line ends with spaces. */
void token_blank(struct token_reader *, size_t start, size_t end);

#endif
