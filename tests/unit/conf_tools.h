/* SPDX-License-Identifier: ISC */
#ifndef UNIT_CONF_TOOLS_H
#define UNIT_CONF_TOOLS_H

/* What the tests of src/daemon/conf*.c share: files made for a test, and what conf_read() says. */

#include "daemon/conf_internal.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path of the source tree. The test programs are run with top_srcdir set, or in the tree itself.
 */
static inline const char *
source_path(const char *name, char *out, size_t n)
{
	const char *top = getenv("top_srcdir");

	(void)snprintf(out, n, "%s/%s", top == NULL ? "." : top, name);
	return out;
}

static char *
read_text(const char *path, size_t *size)
{
	FILE *file = fopen(path, "r");
	char *text = malloc(1 << 20);

	ck_assert_msg(file != NULL, "%s cannot be opened", path);
	ck_assert_ptr_nonnull(text);
	*size = fread(text, 1, (1 << 20) - 1, file);
	text[*size] = '\0';
	(void)fclose(file);
	return text;
}

/* ---- a folder for files made here ---------------------------------------------------------- */

static char folder[64];
static char main_file[96];

static inline void
make_folder(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/check_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(main_file, sizeof(main_file), "%s/main.conf", folder);
}

static inline void
remove_folder(void)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(folder);

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (unlink(path) != 0)
			(void)rmdir(path);
	}
	if (dir != NULL)
		(void)closedir(dir);
	(void)rmdir(folder);
}

static inline void
write_file(const char *name, const void *bytes, size_t n)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	ck_assert_int_eq(fclose(file), 0);
}

/* The problems as -n prints them, but without the folder of the file; the caller frees it. */
static char *
problems_text(const struct conf_problems *p, const char *dir)
{
	char *text = NULL;
	size_t size = 0;
	size_t i, n = strlen(dir);
	FILE *out = open_memstream(&text, &size);
	const char *from;

	ck_assert_ptr_nonnull(out);
	for (i = 0; i < p->n; i++) {
		char *line;

		ck_assert_int_ge(p->list[i].line, 0);
		if (p->list[i].line > 0)
			ck_assert_int_gt(
			    asprintf(&line, "%s:%d: %s%s\n", p->list[i].file, p->list[i].line,
				p->list[i].warning ? "warning: " : "", p->list[i].text),
			    0);
		else
			ck_assert_int_gt(
			    asprintf(&line, "%s: %s\n", p->list[i].file, p->list[i].text), 0);
		for (from = line; *from != '\0'; from++) {
			if (strncmp(from, dir, n) == 0 && from[n] == '/')
				from += n + 1;
			(void)fputc(*from, out);
		}
		free(line);
	}
	(void)fclose(out);
	return text;
}

static inline struct conf *
read_main(struct conf_problems *p, const char *text)
{
	write_file("main.conf", text, strlen(text));
	return conf_read(main_file, p);
}

/* The text is rejected, with just these lines. */
static inline void
expect(const char *text, const char *expected)
{
	struct conf_problems p;
	struct conf *conf = read_main(&p, text);
	char *found = problems_text(&p, folder);

	ck_assert_str_eq(found, expected);
	ck_assert_ptr_null(conf);
	free(found);
	conf_problems_clear(&p);
}

static inline struct conf *
expect_good(const char *text)
{
	struct conf_problems p;
	struct conf *conf = read_main(&p, text);

	ck_assert_msg(conf != NULL, "%s", p.n > 0 ? p.list[0].text : "no problem told");
	ck_assert_uint_eq(p.n, 0);
	conf_problems_clear(&p);
	return conf;
}

#endif
