/* SPDX-License-Identifier: ISC */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include "base/mstime.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The engine: everything that decides anything, in virtual time. It reads no
 * clock and touches no socket; time comes in with every call, packets leave by
 * callback. Each input does its work, compares what is with what was last told,
 * and returns; engine_next() then says when it wants to be called again.
 *
 * Times are ms of CLOCK_BOOTTIME, lifetimes s, ports host order. `now` must never
 * go backwards; being late, by hours after a suspend, is normal.
 */

struct engine;

enum mapper { MAPPER_NONE, MAPPER_PCP, MAPPER_NATPMP, MAPPER_UPNP };
#define MAPPERS_MAX 3

enum family { FAMILY_IPV4, FAMILY_IPV6 };
#define FAMILIES 2

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

/* ---- what is wanted ------------------------------------------------------------------- */

/* A config gateway: "default" or a named one. The strings are copied. */
struct gateway_spec {
	const char *name;
	enum mapper mappers[MAPPERS_MAX]; /* in order of preference */
	unsigned n_mappers;
	uint32_t probe_interval; /* s without a packet before the epoch is asked; 0 = never */
};

struct engine_settings {
	uint32_t max_renew_interval; /* s */
	uint32_t recovery_delay;     /* s: upper end of the random wait before a refill */
	uint32_t release_timeout;    /* s, all told, of engine_release_all() */
};

enum external_wish { EXTERNAL_SAME, EXTERNAL_ANY, EXTERNAL_FIXED };

/* One forward of the config. Strings and arrays are copied. */
struct forward_spec {
	const char *name;
	const char *gateway;
	bool tcp, udp;
	bool ipv4, ipv6;
	bool assigned;          /* internal-port = assigned; internal_port is 0 then */
	uint16_t internal_port; /* first */
	uint16_t count;         /* 1 unless a range */
	enum external_wish external;
	uint16_t external_port; /* first; EXTERNAL_FIXED only */
	bool require;           /* exactly that external port or nothing */
	bool independent;       /* pairing = independent */
	bool has_internal;      /* internal-address is another host */
	struct netaddr internal;
	const struct netprefix *remotes;
	size_t n_remotes;
	uint32_t lifetime;       /* s to ask for */
	const char *description; /* NULL = the name */
	bool release_on_exit;
	bool on_demand; /* mapped only while held */
};

/* ---- what is there --------------------------------------------------------------------- */

/*
 * A path: a gateway as reached now. The caller numbers paths, never reusing a
 * number, and has a socket ready before it tells the engine.
 */
struct path_info {
	const char *gateway; /* name of a gateway_spec */
	enum family family;
	unsigned ifindex;
	const char *interface;
	struct netaddr address; /* the gateway's */
	struct netaddr local;   /* ours: the source address of every packet on this path */
	bool on_link;           /* one hop away: short first waits are in order */
	bool has_link_address;
	uint8_t link_address[6];
};

enum path_loss {
	PATH_ABSENT, /* route or link is gone; the same path may come back with engine_path_up() */
	PATH_DEAD,   /* our address is gone: nothing can be sent from it any more */
};

/* What came back instead of an answer. */
enum unreachable {
	UNREACHABLE_REFUSED, /* ICMP port unreachable: the host is there, nothing listens */
	UNREACHABLE_HOST,    /* ICMP or ARP: host, net or administratively unreachable */
	UNREACHABLE_LOCAL,   /* EPERM, EACCES: this host's own firewall */
};

struct nonce_key {
	const char *gateway;
	const char *interface;
	struct netaddr local;
	struct netaddr third_party; /* any6 unless another LAN host is mapped */
	enum family family;
	uint8_t protocol;
	uint16_t internal_port;
};

/* ---- what is said ---------------------------------------------------------------------- */

enum gateway_state {
	GATEWAY_UNUSED,  /* no forward uses it, no packet is sent */
	GATEWAY_ABSENT,  /* no such route */
	GATEWAY_PROBING, /* asked, has not answered yet */
	GATEWAY_READY,
	GATEWAY_SILENT,      /* does not answer */
	GATEWAY_UNSUPPORTED, /* reachable, but no mapper works */
};

enum mapping_state {
	MAPPING_WAITING, /* no usable gateway */
	MAPPING_REQUESTING,
	MAPPING_ACTIVE,
	MAPPING_FAILED,
	MAPPING_RELEASING,
	MAPPING_IDLE, /* on demand, nobody holds it */
};

/* Why something is not well. `result` makes sense for REFUSED and IGNORED only. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_REFUSED,       /* the gateway said no: result is its code */
	TROUBLE_SILENT,        /* no answer; `mapper`: what it spoke before, or NONE */
	TROUBLE_UNREACHABLE,   /* ICMP: nothing listens on the gateway's port 5351 */
	TROUBLE_HOST,          /* ICMP or ARP: the gateway itself cannot be reached */
	TROUBLE_FIREWALL,      /* this host's firewall keeps our packets */
	TROUBLE_NO_ADDRESS,    /* the gateway has no external address */
	TROUBLE_ZERO_LIFETIME, /* success, but with a lifetime of 0 */
	TROUBLE_ZERO_PORT,     /* success, but with external port 0 */
	TROUBLE_GARBLED,       /* answers name other internal ports than were asked */
	TROUBLE_OTHER_PORT,    /* require: another external port was granted */
	TROUBLE_UNSUPPORTED,   /* speaks none of the mappers allowed */
	TROUBLE_NEEDS_PCP, /* the gateway does not speak it; NAT-PMP cannot say what is wanted */
	TROUBLE_IGNORED,   /* PCP: result is the option that the gateway grants without */
	TROUBLE_DUPLICATE, /* another forward has this port on the same path */
	TROUBLE_OTHER_BOX, /* link-address: another box has the gateway's address here */
	TROUBLE_NO_BOX,    /* link-address: it cannot be seen which box has it, if any */
};

struct problem {
	enum trouble trouble : 8;
	enum mapper mapper : 8;
	uint16_t result;
};

/* One sentence without a full stop for people: what, and what to do. Static text
 * or, for numbers without a name, text in `room`. NULL for TROUBLE_NONE. */
const char *problem_text(const struct problem *, char *room, size_t n);
#define PROBLEM_ROOM 320

struct gateway_status {
	const char *name; /* borrowed until the next engine input */
	enum family family;
	enum gateway_state state;
	bool has_path; /* the fields down to local are known */
	uint32_t path;
	struct netaddr address;
	const char *interface;
	struct netaddr local;
	enum mapper mapper; /* MAPPER_NONE: not known yet */
	bool has_external;
	struct netaddr external;
	bool has_epoch;
	uint32_t epoch;   /* s, extrapolated to now */
	int32_t rtt_us;   /* -1: unknown */
	uint32_t reboots; /* seen */
	uint64_t sent;    /* requests */
	struct problem problem;
};

/* The same for a gateway, which is of one family. */
const char *gateway_problem_text(const struct gateway_status *, char *room, size_t n);

struct mapping_status;
/* The same for a mapping: a forward that stands in its way is named; of IPv6 other things are to be
 * said than of IPv4. */
const char *mapping_problem_text(const struct mapping_status *, char *room, size_t n);

struct mapping_status {
	const char *forward; /* borrowed until the next engine input */
	const char *gateway;
	enum mapper mapper; /* MAPPER_NONE: no lease, none tried */
	enum family family;
	uint8_t protocol;
	bool has_internal;
	struct netaddr internal;
	uint16_t internal_port; /* 0: assigned, not granted yet */
	uint16_t wanted_port;   /* external; 0: any */
	enum mapping_state state;
	bool has_lease;
	bool has_external;
	struct netaddr external;
	uint16_t external_port;   /* with has_lease */
	bool has_gateway_address; /* the fields down to interface are known */
	struct netaddr gateway_address;
	const char *interface;
	uint32_t lifetime; /* s granted, with has_lease */
	mstime expires;    /* MSTIME_NEVER without lease */
	mstime renews;     /* MSTIME_NEVER: not planned */
	mstime retries;    /* MSTIME_NEVER: not planned */
	uint32_t renewals;
	uint32_t changes; /* of external address or port */
	struct problem problem;
	const char *rival, *rival_gateway; /* TROUBLE_DUPLICATE: who has the port; may be NULL */
};

enum engine_event_kind {
	EVENT_MAPPED, /* mapping set, from here on */
	EVENT_CHANGED,
	EVENT_LOST,
	EVENT_RELEASED,
	EVENT_FAILED,
	EVENT_RENEWED,
	EVENT_GATEWAY_READY, /* gateway set, from here on */
	EVENT_GATEWAY_SILENT,
	EVENT_GATEWAY_REBOOTED,
	EVENT_GATEWAY_CHANGED,
	EVENT_ADDRESS_CHANGED,
};

/* Valid during the callback only. A range is one event: `mapping` is its first port. */
struct engine_event {
	enum engine_event_kind kind;
	const struct gateway_status *gateway; /* NULL for mapping events */
	const struct mapping_status *mapping; /* NULL for gateway events */
	uint16_t ports;                       /* how many mappings the event is about */
	bool scattered;                       /* their external ports are not in a row */
	bool again; /* RENEWED: put back, as a gateway that has restarted had forgotten it */
	bool has_old;
	struct netaddr old_external; /* CHANGED, LOST, RELEASED, ADDRESS_CHANGED */
	uint16_t old_external_port;
};

/* Leaf operations: they must not call back into the engine. */
struct engine_io {
	/* 0 or -errno; the engine takes any error for a lost packet, EPERM and EACCES
	 * for this host's firewall. */
	int (*send)(void *ctx, uint32_t path, const void *bytes, size_t n);
	void (*random)(void *ctx, void *bytes, size_t n); /* jitter */
	/* Keyed hash: same key, same nonce, also after a restart. */
	void (*nonce)(void *ctx, const struct nonce_key *, uint8_t out[12]);
	/* Those from here on may be NULL: nobody wants to know. */
	void (*event)(void *ctx, const struct engine_event *);
	void (*save)(void *ctx);                     /* what engine_memory() tells has changed */
	void (*path_done)(void *ctx, uint32_t path); /* nothing will be sent on it any more */
	/* For the debug log. `what` is static text. */
	void (*trace)(void *ctx, const char *what, uint32_t path, uint32_t a, uint32_t b);
};

/* NULL when out of memory. `io` is borrowed for the engine's life. */
struct engine *engine_new(const struct engine_io *io, void *ctx, const struct engine_settings *);
void engine_free(struct engine *);
/* New settings from the next decision on. */
void engine_configure(struct engine *, const struct engine_settings *);

/* ---- inputs ---------------------------------------------------------------------------- */

/* Upserts by name. 0 or -ENOMEM. */
int engine_gateway(struct engine *, mstime now, const struct gateway_spec *);
/* Forgets a gateway that no forward names any more; its paths drain. */
void engine_gateway_remove(struct engine *, mstime now, const char *name);

/* Upserts by name: what did not change sends no packet. 0, -ENOMEM, or -ENOENT (gateway). */
int engine_want(struct engine *, mstime now, const struct forward_spec *);
/* The leases are released, a moment later: a forward wanted in the same breath that needs the
 * same mappings (a rename, a split range) takes them over and nothing is sent. */
void engine_unwant(struct engine *, mstime now, const char *name);
/* Renews now; NULL = everything. Each gateway at most once in 10 s. Returns mappings queued. */
unsigned engine_renew(struct engine *, mstime now, const char *name);
/* Holds an on-demand forward (count up or down). False: no such forward. */
bool engine_hold(struct engine *, mstime now, const char *name, bool hold);

/* This path is now the way to info->gateway in info->family; an earlier one drains. Called
 * again with the same number it revives an absent path. 0 or -ENOMEM, -ENOENT (gateway). */
int engine_path_up(struct engine *, mstime now, uint32_t path, const struct path_info *);
void engine_path_down(struct engine *, mstime now, uint32_t path, enum path_loss);
/* There is a route to this gateway, but no path: why, for its status and its forwards'.
 * TROUBLE_NONE: there is no route either. The next path ends it. */
void engine_gateway_absent(
    struct engine *, mstime now, const char *gateway, enum family, enum trouble why);

/* `bytes` came on the connected socket of `path`. */
void engine_datagram(struct engine *, mstime now, uint32_t path, const void *bytes, size_t n);
/* The datagram that comes next came `us` microseconds after the last packet on this path: measured
 * closer to the wire than a clock of ms can be. */
void engine_round_trip(struct engine *, uint32_t path, int32_t us);
void engine_unreachable(struct engine *, mstime now, uint32_t path, enum unreachable);
/* A multicast to port 5350 (a hint, never a fact). */
void engine_announcement(struct engine *, mstime now, unsigned ifindex,
    const struct netaddr *source, uint16_t port, const void *bytes, size_t n);
/* To be called when engine_next() has come, or later. */
void engine_tick(struct engine *, mstime now);
/* Starts the orderly end: releases what is to be released within release_timeout. */
void engine_release_all(struct engine *, mstime now);

/* ---- questions ------------------------------------------------------------------------- */

/* When to call engine_tick(); MSTIME_NEVER: not before the next input. */
mstime engine_next(const struct engine *);
/* After engine_release_all(): nothing more will be sent. */
bool engine_drained(const struct engine *);
/* When the release is over, drained or not; MSTIME_NEVER before engine_release_all(). */
mstime engine_stop_deadline(const struct engine *);
/* Every enabled mapping that is not on-demand was confirmed or refused in this run. */
bool engine_settled(const struct engine *);

/* Status by index, 0 … count-1; false past the end. */
bool engine_gateway_status(const struct engine *, mstime now, size_t i, struct gateway_status *);
bool engine_mapping_status(const struct engine *, mstime now, size_t i, struct mapping_status *);
/* All of them in the same order, without a search for each. */
void engine_mapping_each(const struct engine *, mstime now,
    void (*each)(void *ctx, const struct mapping_status *), void *ctx);
/* Another value after every input: what was asked before may no longer be so. */
uint64_t engine_stamp(const struct engine *);

/* One unit of a forward: the status of its first mapping, and of all of them, up to `n`, the
 * external ports (0: no lease). Returns how many it has; 0: no such unit. May be asked during an
 * event. */
size_t engine_unit(const struct engine *, mstime now, const char *forward, enum family,
    uint8_t protocol, struct mapping_status *first, uint16_t *ports, size_t n);

/* NULL: all invariants hold. Otherwise static text that names the broken one. */
const char *engine_check(const struct engine *, mstime now);

/* ---- memory: what the state file keeps ------------------------------------------------- */

/* How a gateway was last seen. */
struct memory_gateway {
	char gateway[64 + 1]; /* name */
	char interface[16];
	enum family family;
	struct netaddr address, local;
	bool has_link_address;
	uint8_t link_address[6];
	enum mapper mapper; /* the one that answered last */
	bool pcp_spoken;    /* it has answered PCP since its last restart */
	bool has_epoch[2];  /* [0] PCP, [1] NAT-PMP */
	uint32_t epoch[2];
	mstime epoch_at[2];
};

/* What was granted. */
struct memory_mapping {
	char gateway[64 + 1];
	char interface[16];
	char forward[64 + 1];
	enum family family;
	struct netaddr address, local; /* of the path */
	bool has_link_address;
	uint8_t link_address[6];
	enum mapper mapper;
	uint8_t protocol;
	bool has_internal;
	struct netaddr internal;
	uint16_t internal_port, external_port;
	uint16_t count; /* ports from these on: 1, unless they were granted as a set */
	bool has_wish;
	uint16_t wish; /* external port that was wanted; 0: any */
	struct netaddr external;
	mstime expires; /* lower bound */
};

/* Tells all that is worth remembering, each once; borrowed for the call. */
struct memory_listener {
	void (*gateway)(void *ctx, const struct memory_gateway *);
	void (*mapping)(void *ctx, const struct memory_mapping *);
};
void
engine_memory_each(const struct engine *, mstime now, const struct memory_listener *, void *ctx);
/* Hints from an earlier run, before the first engine_path_up(). Never believed, only used to
 * ask better. False: full or out of memory, ignored. */
bool engine_remember_gateway(struct engine *, mstime now, const struct memory_gateway *);
bool engine_remember_mapping(struct engine *, mstime now, const struct memory_mapping *);

/* ---- words ----------------------------------------------------------------------------- */

const char *mapper_name(enum mapper);        /* "pcp", "nat-pmp", "upnp"; NULL for NONE */
const char *family_name(enum family);        /* "ipv4", "ipv6" */
const char *protocol_name(uint8_t protocol); /* "tcp", "udp" */
const char *gateway_state_name(enum gateway_state);
const char *mapping_state_name(enum mapping_state);
const char *engine_event_name(enum engine_event_kind); /* "mapped", "gateway-ready" … */

#endif
