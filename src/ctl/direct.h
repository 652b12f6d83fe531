/* SPDX-License-Identifier: ISC */
#ifndef CTL_DIRECT_H
#define CTL_DIRECT_H

#include "core/engine.h"
#include "ctl/ctl.h"
#include "os/route.h"
#include "os/secret.h"

/*
 * What the commands have in common that go straight to a gateway. `map` runs the engine
 * (direct_map.c); the others ask a question or two (direct_ask.c): what they delete, or only want
 * to know, is no lease that an engine could have.
 */
struct direct {
	const struct ctl *ctl;
	struct loop *loop;
	struct route_way way;
	enum family family;
	char why[64];                 /* this gateway */
	char gateway[NETADDR_STRLEN]; /* its address: what it is called */
	enum mapper mappers[MAPPERS_MAX];
	unsigned n_mappers;
	bool upnp; /* allowed, too, but not built in yet */
	uint8_t protocol;
	uint16_t port;
	uint8_t secret[SECRET_SIZE];
	mstime deadline;
};

/* Reads the options and the port, or complains: wrong usage. */
bool direct_options(struct direct *, const struct ctl *);
/* Finds the gateway; the time begins to run. CTL_DONE, or it has complained and says with which
 * status to end. To be closed in either case, and without. */
int direct_open(struct direct *);
void direct_close(struct direct *);
/* Does the running daemon have this port? It complains, then, and names the forward. */
bool direct_held(const struct direct *, uint8_t protocol, uint16_t port);
/* The daemon's status document, or NULL: there is none that answers quickly. */
json_t *direct_daemon(const struct direct *);
/* The exit status that a problem stands for, and what is said about it. */
int direct_status(const struct problem *);
const char *direct_text(const struct problem *, char *room, size_t n);
/* Complains: `wish` could not be done; and returns the exit status. */
int direct_complain(const struct direct *, const char *wish, const struct problem *);
json_t *direct_address(bool known, const struct netaddr *); /* or null */

/* ---- direct_state.c: the secret of this user --------------------------------------------------
 */

/* Reads it; makes it if `make`. Without one it is random, and false. */
bool direct_secret(bool make, uint8_t out[SECRET_SIZE]);

/* ---- direct_ask.c -----------------------------------------------------------------------------
 */

enum ask_kind {
	ASK_ADDRESS, /* the external one; PCP tells it only with a mapping: one of udp 9 for 60 s */
	ASK_CREATE,
	ASK_DELETE,
};

/* The discard port: nobody listens there, and nobody maps it. */
#define ASK_TRIAL_PORT 9
#define ASK_TRIAL_LIFETIME 60

struct ask {
	enum ask_kind kind;
	uint8_t protocol; /* CREATE, DELETE, and so on */
	uint16_t port;    /* external the same */
	uint32_t lifetime;
};

struct answer {
	struct problem problem; /* TROUBLE_NONE: it was done */
	enum mapper mapper;     /* who answered, or was asked last */
	bool has_epoch;
	uint32_t epoch;
	int64_t rtt_us; /* -1: unknown, for it was asked more than once */
	bool has_external;
	struct netaddr external;
	uint16_t external_port;
	uint32_t lifetime;
	struct netaddr local; /* own address towards the gateway */
};

/* Asks by one mapper until `until`. */
void
direct_ask_one(struct direct *, const struct ask *, enum mapper, mstime until, struct answer *);
/* Asks by one mapper after the other until the deadline: the next one when this one is silent, or
 * says that it is not spoken. */
void direct_ask(struct direct *, const struct ask *, struct answer *);

#endif
