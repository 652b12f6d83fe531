/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/secret.h"

#include "core/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/hmac.h>
#include <nettle/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "secret"

static int
read_secret(int folder, uint8_t out[SECRET_SIZE])
{
	uint8_t bytes[SECRET_SIZE];
	struct stat st;
	int error = 0;
	/* Not waiting for whoever made a FIFO of it. */
	int fd = openat(folder, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0)
		error = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size != SECRET_SIZE)
		error = -EINVAL;
	else if (read(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes)
		error = -EIO;
	close(fd);
	if (error == 0)
		memcpy(out, bytes, sizeof bytes);
	explicit_bzero(bytes, sizeof bytes);
	return error;
}

/* Makes `from` the secret, but never instead of one that somebody made at the same moment and
 * has already used: -EEXIST then. */
static int
publish(int folder, const char *from)
{
	if (renameat2(folder, from, folder, NAME, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system that cannot do that. */
	return renameat(folder, from, folder, NAME) != 0 ? -errno : 0;
}

static int
make_secret(int folder, const uint8_t secret[SECRET_SIZE])
{
	char temporary[32];
	int fd, error = 0;

	snprintf(temporary, sizeof temporary, ".%s.%ld", NAME, (long)getpid());
	(void)unlinkat(folder, temporary, 0); /* of a crash */
	fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	errno = EIO; /* for a short write */
	if (write(fd, secret, SECRET_SIZE) != SECRET_SIZE || fsync(fd) != 0)
		error = -errno;
	if (close(fd) != 0 && error == 0)
		error = -errno;
	if (error == 0)
		error = publish(folder, temporary);
	/* EINVAL: a file system whose folders need no fsync. */
	if (error == 0 && fsync(folder) != 0 && errno != EINVAL)
		return -errno;
	if (error != 0)
		(void)unlinkat(folder, temporary, 0);
	return error;
}

int
secret_load(const char *dir, uint8_t out[SECRET_SIZE])
{
	int folder, error;

	secret_random(out, SECRET_SIZE);
	folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -errno;
	error = read_secret(folder, out);
	if (error == -ENOENT) {
		error = make_secret(folder, out);
		if (error == -EEXIST)
			error = read_secret(folder, out);
	}
	close(folder);
	return error;
}

int
secret_store(const char *dir, const uint8_t secret[SECRET_SIZE])
{
	uint8_t there[SECRET_SIZE];
	int error, folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0)
		return -errno;
	error = read_secret(folder, there);
	if (error == -ENOENT)
		error = make_secret(folder, secret);
	else if (error == 0 && memcmp(there, secret, SECRET_SIZE) != 0)
		error = -EEXIST;
	close(folder);
	explicit_bzero(there, sizeof there);
	return error;
}

void
secret_hash(const uint8_t secret[SECRET_SIZE], const struct secret_part *parts, size_t n_parts,
    uint8_t *out, size_t n)
{
	struct hmac_sha256_ctx hmac;
	uint8_t digest[SHA256_DIGEST_SIZE];

	assert(n <= sizeof digest);
	hmac_sha256_set_key(&hmac, SECRET_SIZE, secret);
	for (size_t i = 0; i < n_parts; i++) {
		size_t length = parts[i].n;
		uint8_t prefix[4] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16),
			(uint8_t)(length >> 8), (uint8_t)length };

		hmac_sha256_update(&hmac, sizeof prefix, prefix);
		if (length > 0)
			hmac_sha256_update(&hmac, length, parts[i].bytes);
	}
#if NETTLE_VERSION_MAJOR >= 4
	hmac_sha256_digest(&hmac, digest);
#else
	hmac_sha256_digest(&hmac, sizeof digest, digest);
#endif
	memcpy(out, digest, n);
	explicit_bzero(&hmac, sizeof hmac);
	explicit_bzero(digest, sizeof digest);
}

void
secret_nonce(const uint8_t secret[SECRET_SIZE], const struct nonce_key *key, uint8_t nonce[12])
{
	uint8_t numbers[4] = { (uint8_t)key->family, key->protocol,
		(uint8_t)(key->internal_port >> 8), (uint8_t)key->internal_port };
	const struct secret_part parts[] = {
		{ key->gateway, strlen(key->gateway) },
		{ key->interface, strlen(key->interface) },
		{ key->local.b, sizeof(key->local.b) },
		{ key->third_party.b, sizeof(key->third_party.b) },
		{ numbers, sizeof(numbers) },
	};

	secret_hash(secret, parts, sizeof(parts) / sizeof(parts[0]), nonce, 12);
}

void
secret_random(void *out, size_t n)
{
	uint8_t *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) /* no such call: nothing that could be kept secret */
			abort();
		p += got;
		n -= (size_t)got;
	}
}

void
secret_io_random(void *ctx, void *out, size_t n)
{
	(void)ctx;
	secret_random(out, n);
}
