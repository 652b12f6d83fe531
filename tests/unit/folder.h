/* SPDX-License-Identifier: ISC */
#ifndef UNIT_FOLDER_H
#define UNIT_FOLDER_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder of the test's own; gone, with its files, after it. */
static char folder[64];

static inline const char *
in_folder(const char *name)
{
	static char path[4][160];
	static unsigned turn;
	char *to = path[turn++ % 4];

	snprintf(to, sizeof path[0], "%s/%s", folder, name);
	return to;
}

static inline void
folder_make(void)
{
	strcpy(folder, "/tmp/portleased-check.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

/* How many files there are, hidden ones, too. */
static inline int
folder_count(void)
{
	DIR *d = opendir(folder);
	int n = 0;

	ck_assert_ptr_nonnull(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			n++;
	}
	closedir(d);
	return n;
}

static inline void
folder_remove(void)
{
	DIR *d = opendir(folder);

	if (d == NULL)
		return;
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    unlinkat(dirfd(d), e->d_name, 0) != 0)
			unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	}
	closedir(d);
	rmdir(folder);
}

static inline void
file_make(const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(in_folder(name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
}

static inline void
file_equals(const char *name, const void *bytes, size_t n)
{
	static char got[1 << 20];
	FILE *f = fopen(in_folder(name), "r");

	ck_assert_msg(f != NULL, "there is no %s", name);
	ck_assert_uint_eq(fread(got, 1, sizeof got, f), n);
	ck_assert_mem_eq(got, bytes, n);
	fclose(f);
}

static inline unsigned
file_mode(const char *name)
{
	struct stat st;

	ck_assert_int_eq(lstat(in_folder(name), &st), 0);
	return st.st_mode & 07777;
}

#endif
