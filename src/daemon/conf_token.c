/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_token.h"

#include <string.h>

/* Characters that end a bare word; "+" and "*" are dealt with by bare_word(). */
#define ENDS_WORD " #\"'\t\n\r={}(),"

struct token_reader
token_reader_over(char *text, size_t size)
{
	return (struct token_reader){ .text = text, .size = size, .line = 1, .last_line = 1 };
}

void
token_unread(struct token_reader *in, const struct token *t)
{
	in->pos = t->start;
	in->line = t->line;
}

void
token_blank(struct token_reader *in, size_t start, size_t end)
{
	for (; start < end; start++)
		if (in->text[start] != '\n')
			in->text[start] = ' ';
}

int
token_length(const struct token *t, int at_most)
{
	size_t n = t->end - t->start;

	return n > (size_t)at_most ? at_most : (int)n;
}

void
token_copy(const struct token_reader *in, const struct token *t, char *out, size_t n)
{
	const char *from = in->text + t->start;
	size_t length = t->end - t->start;

	if (length >= 2 && (*from == '"' || *from == '\'')) {
		from++;
		length -= 2;
	}
	if (length >= n)
		length = n - 1;
	memcpy(out, from, length);
	out[length] = '\0';
}

const char *
token_print(const struct token_reader *in, const struct token *t, char out[TOKEN_PRINT_MAX])
{
	char text[TOKEN_PRINT_MAX - 2];

	if (t->kind == TOKEN_END)
		(void)snprintf(out, TOKEN_PRINT_MAX, "the end of the file");
	else {
		token_copy(in, t, text, sizeof(text));
		(void)snprintf(out, TOKEN_PRINT_MAX, "\"%s\"", text);
	}
	return out;
}

static struct token
broken(struct token_reader *in, struct token t, const char *trouble)
{
	t.kind = TOKEN_BROKEN;
	t.trouble = trouble;
	t.end = in->pos = in->size;
	return t;
}

/* Spaces, line ends and comments. False, at the comment, when that never ends. */
static bool
skip_blanks(struct token_reader *in)
{
	for (; in->pos < in->size; in->pos++) {
		char *p = in->text + in->pos;

		if (*p == '\n')
			in->line++;
		else if (*p == '#' || (p[0] == '/' && p[1] == '/')) {
			size_t n = strcspn(p, "\n");

			token_blank(in, in->pos, in->pos + n);
			in->pos += n - 1;
		} else if (p[0] == '/' && p[1] == '*') {
			const char *end = strstr(p + 2, "*/");
			size_t n;

			if (end == NULL)
				return false;
			n = (size_t)(end - p) + 2;
			token_blank(in, in->pos, in->pos + n);
			in->pos--; /* once more over the blanks, for the lines */
		} else if (*p != ' ' && *p != '\t' && *p != '\r')
			return true;
	}
	return true;
}

static bool
is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* How long the escape sequence at the backslash `p` is; 0: there is no such. What it stands for
 * must be 1 … 255. */
static size_t
escape_length(const char *p)
{
	size_t n;

	if (p[1] == '\0')
		return 0;
	if (p[1] >= '0' && p[1] <= '9') {
		unsigned value = 0;

		n = strspn(p + 1, "0123456789");
		for (size_t i = 1; i <= n; i++) {
			if (n > 3 || !is_octal(p[i]))
				return 0;
			value = value * 8 + (unsigned)(p[i] - '0');
		}
		return value >= 1 && value <= 255 ? n + 1 : 0;
	}
	if (p[1] == 'x' && is_hex(p[2])) {
		n = is_hex(p[3]) ? 4 : 3;
		return p[2] == '0' && (n == 3 || p[3] == '0') ? 0 : n;
	}
	return 2;
}

static struct token
double_quoted(struct token_reader *in, struct token t)
{
	size_t n;

	for (in->pos++; in->pos < in->size; in->pos += n) {
		const char *p = in->text + in->pos;

		n = 1;
		if (*p == '\n')
			break;
		if (*p == '"') {
			t.end = ++in->pos;
			return t;
		}
		if (*p == '\\') {
			n = escape_length(p);
			if (n == 0)
				return broken(in, t,
				    "a string has a bad escape sequence behind \"\\\": allowed are "
				    "\\\\, \\\", \\n and the like, \\001 to \\377 and \\x01 to "
				    "\\xff");
			if (p[1] == '\n')
				in->line++;
		} else if (p[0] == '$' && p[1] == '{') {
			n = strcspn(p, "}\"\n");
			if (p[n] != '}')
				return broken(in, t,
				    "\"${\" without \"}\" in a string: in single quotes "
				    "nothing is expanded");
			n++;
		}
	}
	return broken(in, t, "the string that begins here is not closed in its line");
}

static struct token
single_quoted(struct token_reader *in, struct token t)
{
	for (in->pos++; in->pos < in->size; in->pos++) {
		const char *p = in->text + in->pos;

		if (*p == '\n')
			break;
		if (*p == '\'') {
			t.end = ++in->pos;
			return t;
		}
		if (*p == '\\') {
			if (p[1] == '\n')
				in->line++;
			in->pos++;
		}
	}
	return broken(in, t, "the string that begins here is not closed in its line");
}

static struct token
bare_word(struct token_reader *in, struct token t)
{
	const char *p = in->text + in->pos;
	size_t n;

	if (p[0] == '$' && p[1] == '{') {
		n = strcspn(p, "}\n");
		if (p[n] != '}')
			return broken(in, t, "\"${\" without \"}\"");
		in->pos += n + 1;
		t.end = in->pos;
		return t;
	}
	for (n = 0; p[n] != '\0' && strchr(ENDS_WORD, p[n]) == NULL; n++) {
		if (p[n] == '+' && p[n + 1] == '=')
			break;
		if (p[n] == '+' || p[n] == '*')
			t.stray = true;
	}
	in->pos += n;
	t.end = in->pos;
	if (p[n] == '{' && p[n - 1] == '$')
		return broken(in, t, "\"${…}\" within a word needs double quotes around the word");
	return t;
}

struct token
token_next(struct token_reader *in)
{
	static const char signs[] = "{}()=,";
	static const enum token_kind kinds[] = { TOKEN_OPEN, TOKEN_CLOSE, TOKEN_PAREN_OPEN,
		TOKEN_PAREN_CLOSE, TOKEN_EQUALS, TOKEN_COMMA };
	bool good = skip_blanks(in);
	struct token t = { .kind = TOKEN_WORD, .start = in->pos, .end = in->pos, .line = in->line };
	const char *p = in->text + in->pos;
	const char *sign;

	if (!good)
		return broken(in, t, "the comment that begins here is never closed");
	if (in->pos >= in->size) {
		t.kind = TOKEN_END;
		t.line = in->last_line;
		return t;
	}
	in->last_line = in->line;
	if (*p == '"')
		return double_quoted(in, t);
	if (*p == '\'')
		return single_quoted(in, t);
	sign = strchr(signs, *p);
	if (sign != NULL) {
		t.kind = kinds[sign - signs];
		t.end = ++in->pos;
		return t;
	}
	if (p[0] == '+' && p[1] == '=') {
		t.kind = TOKEN_APPEND;
		in->pos += 2;
		t.end = in->pos;
		return t;
	}
	return bare_word(in, t);
}
