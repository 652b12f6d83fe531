/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include "core/engine.h"

#include <jansson.h>
#include <time.h>

/*
 * The status document: what GetStatus, Monitor and Hold say, and what scripts rely on. Every
 * function returns a new reference, or NULL when out of memory.
 */
#define STATUS_TIME_LEN 32

/* What the engine does not know. */
struct status_head {
	const char *version;
	const char *started; /* as of status_time() */
	long pid;
	bool ready;
};

json_t *status_document(const struct engine *, mstime now, const struct status_head *);
/* The same for the forwards that are keys of `names`, and for the gateways that they use. Shares
 * the rows with `document`. */
json_t *status_pick(const json_t *document, const json_t *names);
/* Rows of one forward: runs of consecutive ports that share everything else. `active`: are all of
 * them, and is there one? */
json_t *status_forward(const struct engine *, mstime now, const char *name, bool *active);

/* One of each. */
json_t *status_gateway(const struct gateway_status *);
json_t *status_mapping(const struct mapping_status *, mstime now, unsigned ports);
/* Address and port, or null: what was before, in an event. */
json_t *status_address(bool known, const struct netaddr *);

/* RFC 3339 in UTC, with milliseconds when `fine`. Returns `out`. */
const char *status_time(const struct timespec *, bool fine, char out[STATUS_TIME_LEN]);

#endif
