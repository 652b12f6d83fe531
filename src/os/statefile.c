/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
open_folder(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A rename is durable when its folder is. EINVAL: a file system without such a thing. */
static int
sync_folder(int folder)
{
	return fsync(folder) != 0 && errno != EINVAL ? -errno : 0;
}

/* "PREFIXnameSUFFIX" */
static int
derive(char to[NAME_MAX + 1], const char *prefix, const char *name, const char *suffix)
{
	int n = snprintf(to, NAME_MAX + 1, "%s%s%s", prefix, name, suffix);

	return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

static int
write_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, bytes, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		n -= (size_t)written;
	}
	return 0;
}

static int
write_in(int folder, const char *name, const void *bytes, size_t n)
{
	char temporary[NAME_MAX + 1];
	int fd, error = derive(temporary, ".", name, ".new");

	if (error != 0)
		return error;
	(void)unlinkat(folder, temporary, 0); /* of a crash */
	fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	error = write_all(fd, bytes, n);
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0 && renameat(folder, temporary, folder, name) != 0)
		error = -errno;
	if (error == 0)
		return sync_folder(folder);
	(void)unlinkat(folder, temporary, 0);
	return error;
}

int
statefile_write(const char *dir, const char *name, const void *bytes, size_t n)
{
	int error, folder = open_folder(dir);

	if (folder < 0)
		return folder;
	error = write_in(folder, name, bytes, n);
	close(folder);
	return error;
}

/* Reads an open file of at most `max` octets. */
static int
read_whole(int fd, size_t max, char **out, size_t *n)
{
	struct stat st;
	size_t size, have = 0;
	char *bytes;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uintmax_t)st.st_size > max)
		return -EFBIG;
	size = (size_t)st.st_size;
	bytes = malloc(size + 1);
	if (bytes == NULL)
		return -ENOMEM;
	while (have < size) {
		ssize_t got = read(fd, bytes + have, size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int error = -errno;

			free(bytes);
			return error;
		}
		if (got == 0) /* it became shorter: the document's parser will see */
			break;
		have += (size_t)got;
	}
	bytes[have] = '\0';
	*out = bytes;
	*n = have;
	return 0;
}

int
statefile_read(const char *dir, const char *name, size_t max, char **out, size_t *n)
{
	int fd, error, folder = open_folder(dir);

	if (folder < 0)
		return folder;
	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	error = fd < 0 ? -errno : 0;
	close(folder);
	if (error == -ELOOP) /* a symbolic link */
		return -EINVAL;
	if (error != 0)
		return error;
	error = read_whole(fd, max, out, n);
	close(fd);
	return error;
}

int
statefile_set_aside(const char *dir, const char *name)
{
	char bad[NAME_MAX + 1];
	int folder, error = derive(bad, "", name, ".bad");

	if (error != 0)
		return error;
	folder = open_folder(dir);
	if (folder < 0)
		return folder;
	if (renameat(folder, name, folder, bad) != 0)
		error = -errno;
	else
		error = sync_folder(folder);
	close(folder);
	return error;
}
