/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cell {
	char *text;
	enum table_colour colour;
};

struct table {
	unsigned columns;
	struct cell *cells;
	size_t n, size;
};

struct table *
table_new(unsigned columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (t != NULL)
		t->columns = columns;
	return t;
}

void
table_free(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void
table_cell(struct table *t, const char *text, enum table_colour colour)
{
	if (t->n == t->size) {
		size_t size = t->size == 0 ? 64 : 2 * t->size;
		struct cell *grown = realloc(t->cells, size * sizeof(*grown));

		if (grown == NULL)
			return;
		t->cells = grown;
		t->size = size;
	}
	t->cells[t->n++] =
	    (struct cell){ .text = strdup(text != NULL ? text : "-"), .colour = colour };
}

bool
table_on_terminal(void)
{
	const char *terminal = getenv("TERM");

	return isatty(STDOUT_FILENO) && (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

bool
table_wants_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return table_on_terminal() && (no == NULL || *no == '\0');
}

static const char *
begin_colour(enum table_colour colour)
{
	switch (colour) {
	case TABLE_GOOD:
		return "\033[32m";
	case TABLE_BUSY:
		return "\033[33m";
	case TABLE_BAD:
		return "\033[31m";
	case TABLE_DIM:
		return "\033[2m";
	case TABLE_PLAIN:
		break;
	}
	return NULL;
}

/* What is in a cell came through a gateway or a file: nothing in it may drive the terminal. */
static size_t
print_cell(const char *text, FILE *to)
{
	size_t n = 0;

	for (; *text != '\0'; text++, n++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, to);
	return n;
}

void
table_print(const struct table *t, bool colour, FILE *to)
{
	size_t widths[TABLE_COLUMNS] = { 0 }, gap = 0;

	for (size_t i = 0; i < t->n; i++) {
		size_t width = t->cells[i].text != NULL ? strlen(t->cells[i].text) : 0;

		if (width > widths[i % t->columns])
			widths[i % t->columns] = width;
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct cell *c = &t->cells[i];
		const char *text = c->text != NULL ? c->text : "";
		const char *begin = colour ? begin_colour(c->colour) : NULL;

		/* The gap belongs to what follows: no line ends in blanks. */
		if (*text != '\0' && i % t->columns != 0)
			fprintf(to, "%*s", (int)gap, "");
		if (begin != NULL)
			fputs(begin, to);
		gap = widths[i % t->columns] - print_cell(text, to) + 2;
		if (begin != NULL)
			fputs("\033[0m", to);
		if ((i + 1) % t->columns == 0)
			fputc('\n', to);
	}
}
