/* SPDX-License-Identifier: ISC */
#ifndef CORE_TIMING_H
#define CORE_TIMING_H

#include "base/mstime.h"
#include "core/engine.h"

#include <stdbool.h>
#include <stdint.h>

/* All arithmetic of the RFCs and of our departures from them. Pure functions; ms unless stated. */

/* A lease is never believed for longer than a day, whatever the gateway says (P-54, Q-071). */
#define LIFETIME_CAP 86400u
/* Two tries of one mapping's renewal are never closer (P-51), however short the lease. */
#define RENEW_GAP (4 * MSTIME_SECOND)
/* Leases shorter than this are renewed every RENEW_GAP from half-life on. */
#define SHORT_LEASE (120 * MSTIME_SECOND)

/* The gateway's "seconds since my table was empty", as last heard. */
struct epoch {
	bool known;
	bool unusable; /* stands still: nothing can be learned from it */
	uint8_t repeats;
	uint32_t value;
	mstime at;
	mstime same_at; /* a repetition counts 3 s later, however many came */
};

/* Does `value` at `now` mean that the gateway lost its state? Changes nothing. */
bool epoch_is_reset(const struct epoch *, enum mapper, uint32_t value, mstime now);
/* The same, and remembers. */
bool epoch_observe(struct epoch *, enum mapper, uint32_t value, mstime now);

/* How long to wait after transmission `n` (1 …) to a gateway that has not answered yet; `previous`
 * is the wait before, jitter included. NAT-PMP: RFC 6886 section 3.1; PCP: RFC 6887 section 8.1.1
 * with a first wait of 250 ms on link (P-46). `random` is any 32 bits. */
mstime contact_wait(enum mapper, bool on_link, unsigned n, mstime previous, uint32_t random);

/* The pace of probes, `silence` after a gateway that had answered fell silent. */
mstime outage_wait(mstime silence, mstime previous, uint32_t random);

/*
 * When to try to renew next. `granted` and `length` give the lease, `ceiling` is
 * max-renew-interval, `last` the last try (or `granted`). MSTIME_NEVER: not before the lease ends.
 */
mstime renewal_next(
    enum mapper, mstime granted, mstime length, mstime ceiling, mstime last, uint32_t random);

/* How long a refused request rests. `lifetime` in s is PCP's, `attempt` counts refusals in a row
 * from 0. Between 30 s and one hour (P-60, Q-101, Q-102). */
mstime refusal_wait(enum mapper, uint16_t result, uint32_t lifetime, unsigned attempt);

/* `base` plus or minus a tenth. */
mstime jitter_tenth(mstime base, uint32_t random);

#endif
