/* SPDX-License-Identifier: ISC */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* splitmix64: one stream per concern, so that one more draw in one place does not shift
 * every other decision of the same seed. */
struct rng {
	uint64_t s;
};

static inline uint64_t
rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15ULL);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* 0 … n-1; 0 for n = 0 */
static inline uint64_t
rng_below(struct rng *r, uint64_t n)
{
	uint64_t v = rng_next(r);
	return n ? v % n : 0;
}

static inline uint32_t
rng_of(struct rng *r, const uint32_t *of, size_t n)
{
	return of[rng_below(r, n)];
}

#define PICK(r, ...)                                 \
	rng_of(r, (const uint32_t[]){ __VA_ARGS__ }, \
	    sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static inline bool
rng_chance(struct rng *r, unsigned permille)
{
	return rng_below(r, 1000) < permille;
}

#endif
