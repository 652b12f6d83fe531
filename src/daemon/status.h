/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include "base/jsontext.h"
#include "core/engine.h"

#include <jansson.h>
#include <time.h>

/*
 * The status document: what GetStatus, Monitor and Hold say, and what scripts rely on. Everything
 * is written into a text; nothing here fails but by running out of memory, which the text
 * remembers.
 */
#define STATUS_TIME_LEN 32

/* What the engine does not know. */
struct status_head {
	const char *version;
	const char *started; /* as of status_time() */
	long pid;
	bool ready;
};

/* Its members: of all forwards, or of those that are keys of `names` and the gateways they use. */
void status_document(struct jsontext *, const struct engine *, mstime now,
    const struct status_head *, const json_t *names);
/* The same, row by row: gateways, then mappings. A row of mappings is a run of consecutive ports
 * that share everything else. */
struct status_listener {
	void (*gateway)(void *ctx, const struct gateway_status *);
	void (*mapping)(void *ctx, const struct mapping_status *, unsigned ports);
};
void status_each(const struct engine *, mstime now, const json_t *names,
    const struct status_listener *, void *ctx);
/* A list of the rows of one forward. Are all of them active, and is there one? */
bool status_forward(
    struct jsontext *, const char *key, const struct engine *, mstime now, const char *name);

/* One of each. */
void status_gateway(struct jsontext *, const char *key, const struct gateway_status *);
void status_mapping(
    struct jsontext *, const char *key, const struct mapping_status *, mstime now, unsigned ports);
/* The address as text, or null. */
void status_address(struct jsontext *, const char *key, bool known, const struct netaddr *);

/* RFC 3339 in UTC, with milliseconds when `fine`. Returns `out`. */
const char *status_time(const struct timespec *, bool fine, char out[STATUS_TIME_LEN]);

#endif
