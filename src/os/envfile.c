/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/envfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "forwards"
#define SUFFIX ".env"

struct envfile {
	int folder;
};

/* Names of forwards do not begin with a dot: a file being written never has the name of another. */
static int
file_names(const char *forward, char name[NAME_MAX + 1], char temporary[NAME_MAX + 1])
{
	int n = snprintf(temporary, NAME_MAX + 1, ".%s" SUFFIX ".new", forward);

	if (n < 0 || n > NAME_MAX)
		return -ENAMETOOLONG;
	snprintf(name, NAME_MAX + 1, "%s" SUFFIX, forward);
	return 0;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* Returns 0 or -errno. */
static int
remove_stale(int folder)
{
	int fd = fcntl(folder, F_DUPFD_CLOEXEC, 0), error = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (dir == NULL) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while ((entry = readdir(dir)) != NULL)
		if (ends_with(entry->d_name, SUFFIX) || ends_with(entry->d_name, SUFFIX ".new"))
			if (unlinkat(folder, entry->d_name, 0) != 0 && errno != ENOENT)
				error = -errno;
	closedir(dir);
	return error;
}

static int
open_folder(int runtime)
{
	int folder;

	if (mkdirat(runtime, FOLDER, 0755) != 0 && errno != EEXIST)
		return -errno;
	folder = openat(runtime, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder < 0)
		return -errno;
	/* The umask of a service hides what others are to read. Not ours: then somebody else has
	 * decided about it. */
	if (fchmod(folder, 0755) != 0 && errno != EPERM) {
		int error = -errno;

		close(folder);
		return error;
	}
	return folder;
}

struct envfile *
envfile_open(const char *runtime)
{
	struct envfile *f = malloc(sizeof(*f));
	int fd = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;

	if (f == NULL || fd < 0) {
		error = f == NULL ? ENOMEM : errno;
		if (fd >= 0)
			close(fd);
		free(f);
		errno = error;
		return NULL;
	}
	f->folder = open_folder(fd);
	close(fd);
	error = f->folder < 0 ? f->folder : remove_stale(f->folder);
	if (error == 0)
		return f;
	envfile_close(f);
	errno = -error;
	return NULL;
}

void
envfile_close(struct envfile *f)
{
	if (f == NULL)
		return;
	if (f->folder >= 0)
		close(f->folder);
	free(f);
}

static int
write_all(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, text, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		n -= (size_t)written;
	}
	return 0;
}

int
envfile_write(struct envfile *f, const char *forward, const char *text, size_t n)
{
	char name[NAME_MAX + 1], temporary[NAME_MAX + 1];
	int fd, error = file_names(forward, name, temporary);

	if (error != 0)
		return error;
	(void)unlinkat(f->folder, temporary, 0); /* of a failed write */
	fd = openat(
	    f->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	error = fchmod(fd, 0644) == 0 ? write_all(fd, text, n) : -errno;
	if (close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0 && renameat(f->folder, temporary, f->folder, name) != 0)
		error = -errno;
	if (error != 0)
		(void)unlinkat(f->folder, temporary, 0);
	return error;
}

int
envfile_remove(struct envfile *f, const char *forward)
{
	char name[NAME_MAX + 1], temporary[NAME_MAX + 1];
	int error = file_names(forward, name, temporary);

	if (error != 0)
		return error;
	return unlinkat(f->folder, name, 0) != 0 && errno != ENOENT ? -errno : 0;
}

/* Inside double quotes a backslash takes the meaning from these four and is itself elsewhere; in
 * single quotes older versions of systemd differ from the shell. */
char *
envfile_line(const char *name, const char *value)
{
	size_t length = strlen(name);
	char *line = malloc(length + 2 * strlen(value) + sizeof("=\"\"\n")), *to = line;

	if (line == NULL)
		return NULL;
	memcpy(to, name, length);
	to += length;
	*to++ = '=';
	*to++ = '"';
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if (strchr("\"\\$`", c) != NULL)
			*to++ = '\\';
		*to++ = c < 0x20 || c == 0x7f ? '?' : *value;
	}
	memcpy(to, "\"\n", sizeof("\"\n"));
	return line;
}
