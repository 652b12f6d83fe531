/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"
#include "daemon/conf_token.h"

#include <stdlib.h>
#include <string.h>

/*
 * libconfuse 3.3 gives up at the first unknown option, takes a repeated option without a word,
 * leaks what it has read of a call with a syntax error, and miscounts lines in comments and strings
 * over several lines. So the statements are looked through here, and it gets a text without such
 * things: what is reported here is blanked.
 */
struct scan {
	struct token_reader in;
	struct reader *r;
	struct scan_result *out;
	enum scope scope;
	char title[CONF_NAME_MAX + 1]; /* of the section, for messages */
	int section_line;
	int seen[OPTIONS]; /* lines in this section */
};

static const char *
scope_word(enum scope scope)
{
	return scope == SCOPE_GATEWAY ? "gateway" : "forward";
}

/* "in forward "web"" */
static const char *
scope_print(const struct scan *s, char *out, size_t n)
{
	if (s->scope == SCOPE_GLOBAL)
		(void)snprintf(out, n, "in the global part");
	else
		(void)snprintf(out, n, "in %s \"%s\"", scope_word(s->scope), s->title);
	return out;
}

/* Ends the list for this file: what follows cannot be understood. False, for the caller to return.
 */
__attribute__((format(printf, 3, 4))) static bool
syntax_error(struct scan *s, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	note_verror(s->r, s->r->file, line, format, ap);
	va_end(ap);
	s->r->syntax_error = true;
	s->r->cut = true;
	return false;
}

static bool
unexpected(struct scan *s, const struct token *t, const char *wanted)
{
	char found[TOKEN_PRINT_MAX];

	if (t->kind == TOKEN_BROKEN)
		return syntax_error(s, t->line, "%s", t->trouble);
	return syntax_error(
	    s, t->line, "%s is missing here; found %s", wanted, token_print(&s->in, t, found));
}

/* Reads on to the brace or parenthesis that closes the one just read. */
static bool
skip_block(struct scan *s, const struct token *opening)
{
	unsigned depth = 1;
	struct token t;

	while (depth > 0) {
		t = token_next(&s->in);
		if (t.kind == TOKEN_BROKEN)
			return unexpected(s, &t, "");
		if (t.kind == TOKEN_END)
			return syntax_error(
			    s, opening->line, "\"%c\" is never closed", s->in.text[opening->start]);
		if (t.kind == TOKEN_OPEN || t.kind == TOKEN_PAREN_OPEN)
			depth++;
		if (t.kind == TOKEN_CLOSE || t.kind == TOKEN_PAREN_CLOSE)
			depth--;
	}
	return true;
}

/* Reads over the rest of a statement whose name nobody knows: NAME = VALUE, NAME = {…}, NAME(…),
 * NAME {…}, NAME TITLE {…}, or just words; for people who write "max renew-interval = 5", too. */
static bool
skip_statement(struct scan *s, const struct token *name)
{
	struct token t = token_next(&s->in);

	while (t.kind == TOKEN_WORD && t.line == name->line)
		t = token_next(&s->in);
	if (t.kind == TOKEN_EQUALS || t.kind == TOKEN_APPEND) {
		t = token_next(&s->in);
		if (t.kind == TOKEN_OPEN)
			return skip_block(s, &t);
		return t.kind == TOKEN_WORD || unexpected(s, &t, "a value");
	}
	if (t.kind == TOKEN_OPEN || t.kind == TOKEN_PAREN_OPEN)
		return skip_block(s, &t);
	if (t.kind == TOKEN_BROKEN)
		return unexpected(s, &t, "");
	token_unread(&s->in, &t);
	return true;
}

static const char *
scopes_print(unsigned scopes)
{
	switch (scopes) {
	case SCOPE_GLOBAL:
		return "the global part, outside of all sections";
	case SCOPE_GATEWAY:
		return "a gateway section";
	case SCOPE_FORWARD:
		return "a forward section";
	case SCOPE_GLOBAL | SCOPE_GATEWAY:
		return "the global part or a gateway section";
	default:
		return "the global part or a forward section";
	}
}

static void
report_unknown(struct scan *s, const struct token *name, const char *text)
{
	const char *known[OPTIONS + 4] = { 0 };
	char where[CONF_NAME_MAX + 32];
	const char *near;
	int o = conf_option_find(text);
	size_t n = 0;

	scope_print(s, where, sizeof(where));
	if (o >= 0) {
		note_error(s->r, s->r->file, name->line,
		    "option \"%s\" cannot stand %s: it belongs in %s", text, where,
		    scopes_print(conf_options[o].scopes));
		return;
	}
	for (o = 0; o < OPTIONS; o++)
		if ((conf_options[o].scopes & (unsigned)s->scope) != 0)
			known[n++] = conf_options[o].name;
	if (s->scope == SCOPE_GLOBAL) {
		known[n++] = "forward";
		known[n++] = "gateway";
		known[n++] = "include";
	}
	near = conf_nearest(text, known);
	if (near != NULL) {
		note_error(s->r, s->r->file, name->line,
		    "unknown option \"%.80s\" %s; did you mean \"%s\"?", text, where, near);
		return;
	}
	for (o = 0; o < OPTIONS; o++)
		known[o] = conf_options[o].name;
	known[OPTIONS] = NULL;
	near = conf_nearest(text, known);
	if (near != NULL)
		note_error(s->r, s->r->file, name->line,
		    "unknown option \"%.80s\" %s; did you mean \"%s\"? It belongs in %s", text,
		    where, near, scopes_print(conf_options[conf_option_find(near)].scopes));
	else
		note_error(s->r, s->r->file, name->line,
		    "unknown option \"%.80s\" %s; portleased.conf(5) lists those that exist", text,
		    where);
}

/* A bare word with a sign in it: +60 is a bad number, and a*b needs quotes. */
static void
report_stray(struct scan *s, const struct token *t, const struct option_info *info)
{
	int n = token_length(t, 80);
	const char *text = s->in.text + t->start;

	if (info->max > 0)
		note_error(s->r, s->r->file, t->line,
		    "%s is \"%.*s\": it must be " CONF_NUMBER_ALLOWED, info->name, n, text,
		    info->min, info->max);
	else if (info->allowed != NULL)
		note_error(s->r, s->r->file, t->line, "%s is \"%.*s\": it must be %s", info->name,
		    n, text, info->allowed);
	else
		note_error(s->r, s->r->file, t->line,
		    "%s is \"%.*s\": \"+\" and \"*\" can only stand in quotes", info->name, n,
		    text);
}

/* The value or list behind "="; `good` is false when it was reported and is to be blanked. */
static bool
scan_value(struct scan *s, enum option o, bool *good)
{
	const struct option_info *info = &conf_options[o];
	struct token t = token_next(&s->in);
	struct token opening = t;

	if (t.kind == TOKEN_WORD) {
		if (t.stray)
			report_stray(s, &t, info);
		*good = *good && !t.stray;
		return true;
	}
	if (t.kind != TOKEN_OPEN)
		return unexpected(s, &t, "a value");
	if (!info->list) {
		note_error(s->r, s->r->file, t.line, "%s takes one value, not a list in braces",
		    info->name);
		*good = false;
		return skip_block(s, &opening);
	}
	t = token_next(&s->in);
	if (t.kind == TOKEN_CLOSE && o == OPTION_MAPPERS) {
		note_error(s->r, s->r->file, opening.line, "mappers is empty: it must be %s",
		    info->allowed);
		*good = false;
	}
	while (t.kind != TOKEN_CLOSE) {
		if (t.kind != TOKEN_WORD)
			return unexpected(s, &t, "a value or \"}\"");
		if (t.stray) {
			report_stray(s, &t, info);
			*good = false;
		}
		t = token_next(&s->in);
		if (t.kind == TOKEN_COMMA)
			t = token_next(&s->in);
		else if (t.kind != TOKEN_CLOSE)
			return unexpected(s, &t, "\",\" or \"}\"");
	}
	return true;
}

static bool
scan_option(struct scan *s, const struct token *name, enum option o)
{
	const char *text = conf_options[o].name;
	struct token t = token_next(&s->in);
	bool good = true;

	if (t.kind == TOKEN_APPEND) {
		note_error(s->r, s->r->file, t.line,
		    "\"+=\" cannot be used with %s: write the whole value behind \"=\"", text);
		good = false;
	} else if (t.kind != TOKEN_EQUALS) {
		char wanted[64];

		(void)snprintf(wanted, sizeof(wanted), "\"=\" behind %s", text);
		return unexpected(s, &t, wanted);
	}
	if (s->seen[o] != 0)
		note_warning(s->r, s->r->file, name->line,
		    "%s is set a second time (first in line %d); the last one counts", text,
		    s->seen[o]);
	s->seen[o] = name->line;
	if (!scan_value(s, o, &good))
		return false;
	if (!good)
		token_blank(&s->in, name->start, s->in.pos);
	return true;
}

static bool
scan_include(struct scan *s, const struct token *name)
{
	struct token t = token_next(&s->in);
	unsigned arguments = 0;
	bool good = true;

	if (t.kind != TOKEN_PAREN_OPEN)
		return unexpected(s, &t, "\"(\" behind include");
	t = token_next(&s->in);
	while (t.kind != TOKEN_PAREN_CLOSE) {
		if (t.kind != TOKEN_WORD)
			return unexpected(s, &t, "a file name in quotes, or \")\",");
		good = good && !t.stray;
		arguments++;
		t = token_next(&s->in);
		if (t.kind == TOKEN_COMMA)
			t = token_next(&s->in);
		else if (t.kind != TOKEN_PAREN_CLOSE)
			return unexpected(s, &t, "\")\"");
	}
	if (!good)
		note_error(s->r, s->r->file, name->line,
		    "\"+\" and \"*\" can only stand in quotes: include(\"conf.d/*.conf\")");
	else if (arguments != 1) {
		note_error(s->r, s->r->file, name->line,
		    "include takes one file name or pattern, found %u: include(\"conf.d/*.conf\")",
		    arguments);
		good = false;
	}
	if (!good)
		token_blank(&s->in, name->start, s->in.pos);
	return true;
}

/* libconfuse would see two words and stop. */
static void
mend_title(struct scan *s, const struct token *title)
{
	size_t i;

	note_error(s->r, s->r->file, title->line, "\"%.*s\" cannot be a name: " CONF_NAME_ALLOWED,
	    token_length(title, 80), s->in.text + title->start);
	for (i = title->start; i < title->end; i++)
		if (s->in.text[i] == '+' || s->in.text[i] == '*')
			s->in.text[i] = '_';
}

static bool
scan_section(struct scan *s, const struct token *name, enum scope scope)
{
	struct token title = token_next(&s->in);
	struct token t;
	int *lines;

	if (title.kind != TOKEN_WORD)
		return unexpected(s, &title,
		    scope == SCOPE_FORWARD ? "the name of the forward" : "the name of the gateway");
	t = token_next(&s->in);
	if (t.kind != TOKEN_OPEN)
		return unexpected(s, &t, "\"{\" of the section");
	lines = reader_grow(s->r, s->out->lines, s->out->n_lines, sizeof(*lines));
	if (lines == NULL)
		return false;
	lines[s->out->n_lines++] = name->line;
	s->out->lines = lines;
	if (title.stray)
		mend_title(s, &title);
	s->scope = scope;
	s->section_line = name->line;
	token_copy(&s->in, &title, s->title, sizeof(s->title));
	memset(s->seen, 0, sizeof(s->seen));
	return true;
}

/* An opening section where the one before is still open: a brace was forgotten. */
static bool
scan_nested(struct scan *s, const struct token *name, bool *nested)
{
	struct token t = token_next(&s->in);

	*nested = t.kind == TOKEN_WORD || t.kind == TOKEN_OPEN;
	token_unread(&s->in, &t);
	if (!*nested)
		return true;
	return syntax_error(s, name->line,
	    "\"}\" is missing before this section: %s \"%s\" of line %d is still open",
	    scope_word(s->scope), s->title, s->section_line);
}

static bool
scan_statement(struct scan *s, const struct token *name, int global_seen[OPTIONS])
{
	char text[CONF_NAME_MAX + 1];
	bool is_gateway, is_forward, nested;
	int o;

	token_copy(&s->in, name, text, sizeof(text));
	is_gateway = strcmp(text, "gateway") == 0;
	is_forward = strcmp(text, "forward") == 0;
	if (s->scope == SCOPE_GLOBAL && (is_gateway || is_forward)) {
		memcpy(global_seen, s->seen, sizeof(s->seen));
		return scan_section(s, name, is_gateway ? SCOPE_GATEWAY : SCOPE_FORWARD);
	}
	if (s->scope == SCOPE_GLOBAL && strcmp(text, "include") == 0)
		return scan_include(s, name);
	if (is_gateway || is_forward) {
		if (!scan_nested(s, name, &nested) || nested)
			return false;
	}
	o = conf_option_find(text);
	if (o >= 0 && (conf_options[o].scopes & (unsigned)s->scope) != 0)
		return scan_option(s, name, (enum option)o);
	report_unknown(s, name, text);
	if (!skip_statement(s, name))
		return false;
	token_blank(&s->in, name->start, s->in.pos);
	return true;
}

void
conf_scan(struct reader *r, char *text, size_t size, struct scan_result *out)
{
	struct scan s = { .r = r, .out = out, .scope = SCOPE_GLOBAL };
	int global_seen[OPTIONS] = { 0 };
	struct token t;
	bool good = true;

	s.in = token_reader_over(text, size);
	r->cut = false;
	*out = (struct scan_result){ 0 };
	while (good) {
		t = token_next(&s.in);
		if (t.kind == TOKEN_WORD)
			good = scan_statement(&s, &t, global_seen);
		else if (t.kind == TOKEN_CLOSE && s.scope != SCOPE_GLOBAL) {
			s.scope = SCOPE_GLOBAL;
			memcpy(s.seen, global_seen, sizeof(s.seen));
		} else if (t.kind == TOKEN_CLOSE)
			good = syntax_error(&s, t.line, "\"}\" without a \"{\" before it");
		else if (t.kind == TOKEN_END)
			break;
		else
			good = unexpected(&s, &t, "the name of an option or section");
	}
	out->last_open = s.scope != SCOPE_GLOBAL;
	if (!good)
		token_blank(&s.in, t.start, size);
	else if (s.scope != SCOPE_GLOBAL)
		(void)syntax_error(&s, s.section_line,
		    "\"}\" is missing: %s \"%s\" is never closed", scope_word(s.scope), s.title);
}
