/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "text.h"
#include "words.h"

#include <string.h>

bool
words_next(struct words *w)
{
	size_t n, keep;

	w->p += strspn(w->p, " \t");
	n = strcspn(w->p, " \t");
	keep = n < sizeof(w->word) ? n : sizeof(w->word) - 1;
	memcpy(w->word, w->p, keep);
	w->word[keep] = '\0';
	w->p += n;
	w->p += strspn(w->p, " \t");
	return n > 0;
}

bool
words_are(const struct words *w, const char *word)
{
	return strcmp(w->word, word) == 0;
}

bool
words_number(struct words *w, int64_t min, int64_t max, int64_t *out)
{
	return words_next(w) && number_read(w->word, min, max, out);
}
