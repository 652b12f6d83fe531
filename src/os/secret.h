/* SPDX-License-Identifier: ISC */
#ifndef OS_SECRET_H
#define OS_SECRET_H

#include <stddef.h>
#include <stdint.h>

#define SECRET_SIZE 32

/*
 * Reads DIR/secret, or makes it once: 32 random bytes, 0600, written to a temporary file, fsynced,
 * renamed, folder fsynced. Anything but a regular file of exactly 32 bytes is an error. Returns 0;
 * or -errno with `out` filled from the system's random source: a volatile secret, so the daemon
 * works, but a restart cannot renew its PCP mappings in place.
 */
int secret_load(const char *dir, uint8_t out[SECRET_SIZE]);

/* Makes DIR/secret of these bytes, in the same way. 0, also when it is these already; -EEXIST: it
 * is another one, which is left alone; or another -errno. Waits for the disk. */
int secret_store(const char *dir, const uint8_t secret[SECRET_SIZE]);

/* First `n` (at most 32) octets of HMAC-SHA256(secret, parts); each part is prefixed by its length
 * (32 bit, big endian), so that no two lists of parts collide. */
struct secret_part {
	const void *bytes;
	size_t n;
};
void secret_hash(const uint8_t secret[SECRET_SIZE], const struct secret_part *parts, size_t n_parts,
    uint8_t *out, size_t n);

/* The PCP nonce of a mapping: the same key, the same nonce. */
struct nonce_key;
void secret_nonce(const uint8_t secret[SECRET_SIZE], const struct nonce_key *, uint8_t nonce[12]);

/* Random bytes of the kernel; never fails, never blocks after boot. */
void secret_random(void *out, size_t n);
/* The same as a callback of struct engine_io; `ctx` is not used. */
void secret_io_random(void *ctx, void *out, size_t n);

#endif
