/* SPDX-License-Identifier: ISC */
#ifndef CORE_NOTICE_H
#define CORE_NOTICE_H

#include "core/engine.h"

/*
 * What the world must still be told, per unit (forward, protocol, family): the engine's events go
 * in, runs of the forward's hook come out. Between the two lies what a queue of events would get
 * wrong: a slow hook is told the latest state only, a failed one is told again, and one that knows
 * already is not told at all. In virtual time, without clock, log or process.
 */

/* The values behind the PORTLEASE_* variables of a unit. */
struct unit_view {
	const char *forward;
	const char *gateway;
	enum family family;
	uint8_t protocol;
	bool up;
	enum mapper mapper; /* MAPPER_NONE: not known */
	bool has_gateway_address, has_internal, has_external;
	struct netaddr gateway_address, internal, external;
	char interface[16];       /* "": not known */
	uint16_t ports;           /* 1 unless a range */
	uint16_t internal_port;   /* first; 0: not known */
	uint16_t external_port;   /* first; 0: none */
	uint16_t *external_ports; /* all of them when they are not in step, else NULL */
	uint32_t lifetime;        /* s; 0: no lease */
};

/* What a hook was told of the outside. */
struct unit_outside {
	bool has_external;
	struct netaddr external;
	uint16_t ports, external_port; /* 0: none */
	uint16_t *external_ports;      /* as in the view */
};

/* One run of a hook. Everything is borrowed for the call. */
struct notice {
	enum engine_event_kind kind; /* MAPPED … FAILED */
	const struct unit_view *unit;
	const struct unit_outside *old; /* what the last hook was told */
	unsigned tries;                 /* runs of the very same that failed before */
};

struct notices;

/*
 * `run` starts the forward's program and returns true; its end is told by notices_done(), later,
 * not from within. False: it could not be started, which counts as a failed run. NULL: out of
 * memory.
 */
struct notices *notices_new(bool (*run)(void *ctx, const struct notice *), void *ctx);
void notices_free(struct notices *);

/* `settle`, in ms: how long a `changed` or `lost` must last. */
void notices_configure(struct notices *, mstime settle);
/* Whether the forward has a hook. Without one nothing is run, but views are kept; a hook that comes
 * later has been told nothing yet. False: out of memory. */
bool notices_listen(struct notices *, const char *forward, bool listening);
/* The forward is wanted no more: it is forgotten as soon as its hook knows. */
void notices_forget(struct notices *, const char *forward);
/* Whether anything is known of it. */
bool notices_known(const struct notices *, const char *forward);

/*
 * An event about a mapping. Of a range `internal_port` is the first and `external_ports` has all
 * (copied); 0 and NULL: as in the event, and in step. False: out of memory, the event is lost.
 */
bool notices_event(struct notices *, mstime now, const struct engine_event *,
    uint16_t internal_port, const uint16_t *external_ports);
/* The orderly end has begun: from now on only what was up and is not is told, and at once. */
void notices_stop(struct notices *);

/* Starts what is due; calls `run`. */
void notices_tick(struct notices *, mstime now);
/* When notices_tick() wants to be called; MSTIME_NEVER: not before the next input. */
mstime notices_next(struct notices *);
/* The forward's program has ended. */
void notices_done(struct notices *, mstime now, const char *forward, bool ok);
/* When the run that has just failed is repeated if nothing changes; MSTIME_NEVER: not at all. */
mstime notices_retry(const struct notices *, const char *forward);
/* Nothing runs and nothing waits to be run. */
bool notices_idle(struct notices *);

/* How the unit is now, whatever its hook knows; NULL: never heard of it. */
const struct unit_view *
notices_view(const struct notices *, const char *forward, enum family, uint8_t protocol);

#endif
