/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_NETWORK_INTERNAL_H
#define DAEMON_NETWORK_INTERNAL_H

#include "core/engine.h"
#include "daemon/network.h"
#include "os/route.h"

/*
 * What the two rooms of the network share.
 *
 *   network.c      routes to ways, ways to sockets and paths
 *   network_box.c  which box is at the end of a way
 */
struct conf_gateway;

/* One way to one gateway, with its socket. Lives until the engine is done with it. */
struct way {
	struct way *next;
	char *gateway; /* config name */
	enum family family;
	uint32_t number;
	struct route_way route;
	struct udp *udp;
	bool current, up;
	bool told; /* the engine knows it */
	bool has_link;
	uint8_t link[6]; /* of the gateway: which box it is */
	bool has_wish;
	uint8_t wish[6]; /* link-address of the config */
	unsigned looks;  /* in vain */
	mstime looked, replaced;
	bool complained;
	int send_error;  /* last one logged, to say it once */
	int64_t sent_us; /* CLOCK_MONOTONIC of the last packet */
};

struct network {
	struct loop *loop;
	struct engine *engine;
	struct metrics *metrics;
	const struct conf *conf;
	struct route_monitor *monitor;
	struct announce *announce;
	struct neighbours *neighbours; /* NULL: could not be opened yet */
	struct loop_timer *retry;
	mstime retry_at;
	struct way *ways;
	uint32_t last_number;
	int open_error;
};

/* ---- network.c ---- */
/* Looks at everything again, then or before. */
void network_again(struct network *, mstime at);
/* With a socket and a number of its own; the engine does not know it yet. NULL: tried again. */
struct way *way_new(struct network *, const char *gateway, enum family, const struct route_way *);
/* The new way is the one; others that the engine knows of drain. */
void way_make_current(struct network *, struct way *);
void way_tell(struct network *, struct way *);

/* ---- network_box.c ---- */
/* A packet may go to the box that the config wants, and to no other. */
bool box_is_wished(struct network *, const struct way *);
/* An answer came: is it from the box that the engine knows? */
bool box_is_same(struct network *, struct way *);
/* Tells the engine of the way once it is known which box is at its end, or that this cannot be
 * known. */
void box_look(struct network *, struct way *, const struct conf_gateway *);

#endif
