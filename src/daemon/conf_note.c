/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_TEXT_MAX 1024

void *
reader_grow(struct reader *r, void *array, size_t n, size_t size)
{
	void *grown;

	if (n != 0 && (n & (n - 1)) != 0)
		return array;
	grown = reallocarray(array, n == 0 ? 1 : 2 * n, size);
	if (grown == NULL)
		r->no_memory = true;
	return grown;
}

char *
reader_strdup(struct reader *r, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		r->no_memory = true;
	return copy;
}

void
section_clear(struct section *s)
{
	size_t i;

	free(s->name);
	free(s->text);
	free(s->more);
	for (i = 0; i < s->n_on_change; i++)
		free(s->on_change[i]);
	free(s->on_change);
	free(s->remotes);
	*s = (struct section){ 0 };
}

/* What a file says goes into messages as it is, but for characters that would act on a terminal. */
static char *
escaped(const char *text)
{
	size_t size = 4 * strlen(text) + 1;
	char *out = malloc(size);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned)*text);
		else
			out[n++] = *text;
	}
	out[n] = '\0';
	return out;
}

__attribute__((format(printf, 5, 0))) static void
note_add(struct reader *r, unsigned file, int line, bool warning, const char *format, va_list ap)
{
	char text[NOTE_TEXT_MAX];
	struct note *notes;
	char *copy;

	if (!warning)
		r->errors++;
	if (r->n_notes >= CONF_NOTES_MAX) {
		r->notes_left_out++;
		return;
	}
	(void)vsnprintf(text, sizeof(text), format, ap);
	copy = escaped(text);
	notes = reader_grow(r, r->notes, r->n_notes, sizeof(*notes));
	if (notes != NULL)
		r->notes = notes;
	if (notes == NULL || copy == NULL) {
		r->no_memory = true;
		free(copy);
		return;
	}
	notes[r->n_notes] = (struct note){
		.file = file, .line = line, .order = r->n_notes, .warning = warning, .text = copy
	};
	r->n_notes++;
}

void
note_error(struct reader *r, unsigned file, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	note_add(r, file, line, false, format, ap);
	va_end(ap);
}

void
note_verror(struct reader *r, unsigned file, int line, const char *format, va_list ap)
{
	note_add(r, file, line, false, format, ap);
}

void
note_warning(struct reader *r, unsigned file, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	note_add(r, file, line, true, format, ap);
	va_end(ap);
}

static int
compare_notes(const void *left, const void *right)
{
	const struct note *a = left;
	const struct note *b = right;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

bool
note_export(struct reader *r, struct conf_problems *out)
{
	struct conf_problem *list;
	size_t i;

	if (r->n_notes == 0)
		return true;
	qsort(r->notes, r->n_notes, sizeof(*r->notes), compare_notes);
	list = calloc(r->n_notes + 1, sizeof(*list));
	if (list == NULL)
		return false;
	for (i = 0; i < r->n_notes; i++) {
		struct note *note = &r->notes[i];

		list[i] = (struct conf_problem){ .file = strdup(r->files[note->file]),
			.line = note->line,
			.warning = note->warning,
			.text = note->text };
		note->text = NULL;
		if (list[i].file == NULL)
			r->no_memory = true;
	}
	out->list = list;
	out->n = r->n_notes;
	if (r->notes_left_out > 0) {
		struct conf_problem *last = &list[out->n++];

		*last = (struct conf_problem){ .file = strdup(r->files[0]), .text = NULL };
		if (last->file == NULL ||
		    asprintf(&last->text, "%zu more problem%s not listed", r->notes_left_out,
			r->notes_left_out == 1 ? " is" : "s are") < 0) {
			last->text = NULL;
			r->no_memory = true;
		}
	}
	if (r->no_memory) {
		conf_problems_clear(out);
		return false;
	}
	return true;
}

void
note_free(struct reader *r)
{
	size_t i;

	for (i = 0; i < r->n_notes; i++)
		free(r->notes[i].text);
	free(r->notes);
	r->notes = NULL;
	r->n_notes = 0;
}
