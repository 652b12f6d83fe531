/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include "os/secret.h"

#include <stdint.h>

/*
 * The state directory: the installation's secret, and the engine's memory in state.json. A
 * directory that cannot be used costs one warning and no mapping.
 */
struct engine;
struct loop;
struct state;

/* All borrowed for its life. NULL when out of memory. */
struct state *state_new(struct loop *, struct engine *, const char *directory);
/* What an earlier run left, before the first path is up. Waits for the disk. The secret is
 * borrowed: one that could not be kept now is stored as soon as the disk is well again. */
void state_load(struct state *, uint8_t secret[SECRET_SIZE]);
/* What the engine remembers has changed: it is written a moment later. */
void state_changed(struct state *);
/* The last document of this run; waits for the disk, but not for long. */
void state_finish(struct state *);
void state_free(struct state *);

#endif
