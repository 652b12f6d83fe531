/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_NETWORK_H
#define DAEMON_NETWORK_H

#include "base/mstime.h"

#include <stddef.h>
#include <stdint.h>

/*
 * From routes to paths: follows the way to every config gateway in use, gives each way a number and
 * a socket, and tells the engine.
 */
struct conf;
struct engine;
struct loop;
struct metrics;
struct network;
struct route_snapshot;

/* All borrowed for the network's life. NULL with errno. */
struct network *network_new(struct loop *, struct engine *, struct metrics *);
/* The config in force has changed; borrowed until the next call. */
void network_configure(struct network *, const struct conf *);
/* Starts to follow the routes. 0 or -errno. */
int network_start(struct network *);
/* For engine_io: 0 or -errno. */
int network_send(struct network *, uint32_t path, const void *bytes, size_t n);
void network_path_done(struct network *, uint32_t path);
void network_free(struct network *);

#endif
