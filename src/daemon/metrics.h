/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "core/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Numbers for a monitoring system. What the engine can be asked is asked when the text is made; the
 * rest is counted here. How many lines there are depends on the configuration only, never on what
 * gateways or callers say.
 */

/* The same in two forms: OpenMetrics 1.0, and what Prometheus read before (text format 0.0.4),
 * which its tools still check. */
enum metrics_format { METRICS_OPEN, METRICS_CLASSIC };

#define METRICS_EVENTS (EVENT_ADDRESS_CHANGED + 1)
#define METRICS_REASONS 20
#define METRICS_BUCKETS 9 /* the last has no upper end */

/* All zero: nothing has happened yet. */
struct metrics {
	uint64_t events[METRICS_EVENTS];
	uint64_t failures[METRICS_REASONS];
	uint64_t port_changes, address_changes;
	uint64_t hooks[2], reloads[2]; /* [1]: those that went well */
	uint64_t round_trips[METRICS_BUCKETS];
	uint64_t round_trip_us;
};

/* What the engine does not know. */
struct metrics_head {
	const char *version;
	double started; /* s since 1970 */
	bool ready;
};

void metrics_event(struct metrics *, const struct engine_event *);
void metrics_round_trip(struct metrics *, int32_t us);
void metrics_hook(struct metrics *, bool good);
void metrics_reload(struct metrics *, bool good);

/* To be freed; NULL: out of memory. */
char *metrics_text(const struct metrics *, const struct engine *, mstime now,
    const struct metrics_head *, enum metrics_format);
/* What suits a client that accepts such content (NULL: did not say), and its content type. */
enum metrics_format metrics_accepted(const char *accept);
const char *metrics_content_type(enum metrics_format);

#endif
