/* SPDX-License-Identifier: ISC */
#ifndef TESTS_ENGINE_IO_H
#define TESTS_ENGINE_IO_H

#include "core/engine.h"

#include <string.h>

/* What an engine needs besides a wire, always the same; and a wire that leads nowhere. */

static void
fixed_random(void *ctx, void *bytes, size_t n)
{
	(void)ctx;
	memset(bytes, 0x11, n);
}

static void
fixed_nonce(void *ctx, const struct nonce_key *key, uint8_t out[12])
{
	(void)ctx;
	memset(out, key->internal_port & 0xff, 12);
}

static inline int
lost_send(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	(void)ctx;
	(void)path;
	(void)bytes;
	(void)n;
	return 0;
}

#endif
