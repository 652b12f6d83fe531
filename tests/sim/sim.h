/* SPDX-License-Identifier: ISC */
#ifndef SIM_H
#define SIM_H

#include "core/engine.h"
#include "gwmodel.h"
#include "rng.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One world: an engine, up to three config gateways, five boxes, a wire with faults and
 * oracles. Everything follows from one 64-bit seed. A narrow world is IPv4 with simple forwards;
 * a wide one is such a world to which widen.c has added from everything else there is; a full one
 * is a wide one with what was learned later. Each adds from a stream of its own, so that a seed
 * that is kept as narrow or wide stays the world that it was.
 */
enum breadth { NARROW, WIDE, FULL };

#define MINUTE (60 * MSTIME_SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

/* Ways to a gateway: a config gateway in one family. */
enum slot_index { SLOT_LAN, SLOT_VPN, SLOT_LAN6, SLOT_TWIN, SLOTS };

/* Two behind the default route, one behind the tunnel, the IPv6 router, and another network's with
 * the address of the first. */
enum box_index { BOX_HOME, BOX_OTHER, BOX_VPN, BOX_HOME6, BOX_CAFE, BOXES };

/* Config gateways. */
enum { GATEWAY_DEFAULT, GATEWAY_VPN, GATEWAY_TWIN, GATEWAYS };

#define FORWARDS 10
#define RANGE 3
#define FIRST_PORT 1000
#define PORTS_EACH 10 /* internal ports that a forward may have in its life */
#define PORTS (FORWARDS * PORTS_EACH)
#define TRACKS (SLOTS * PORTS * 2)
#define PATHS 4000
#define SIM_PACKET 200

enum fault {
	FAULT_LOSS,
	FAULT_DUPLICATES,
	FAULT_DELAY,
	FAULT_REBOOT,
	FAULT_AMNESIA,
	FAULT_REFUSED, /* ICMP */
	FAULT_DOWN,
	FAULT_FLAP,
	FAULT_RENUMBER,
	FAULT_MOVE,
	FAULT_SWAP, /* another box behind the same address */
	FAULT_RESTART,
	FAULT_RESTART_BLANK,
	FAULT_SUSPEND,
	FAULT_LATE,
	FAULT_FORGE,
	FAULT_EPERM,
	FAULT_RELOAD,
	FAULT_STOP,
	FAULT_RESULTS, /* refusals */
	FAULT_ADDRESS,
	FAULT_NO_ADDRESS,
	FAULT_FULL,
	FAULT_ANNOUNCE,
	NARROW_FAULTS,
	/* in wide worlds only */
	FAULT_PREFIX = NARROW_FAULTS, /* another IPv6 address of our own */
	FAULT_CAFE,                   /* another network with the same gateway address */
	FAULT_FIRMWARE,               /* another protocol after a reboot */
	FAULT_UPDATE,                 /* a MAP answer that nobody asked for */
	FAULT_HOLD,
	FAULT_EDIT, /* a reload that changes a forward */
	FAULT_FLOOD,
	WIDE_FAULTS,
	/* in full worlds only, as are FAULT_FIRMWARE and FAULT_UPDATE */
	FAULT_NEIGHBOUR = WIDE_FAULTS, /* another host takes a port that is wished for */
	FAULTS
};

#define BIT(fault) (1u << (fault))

/* In full worlds only. */
#define FULL_FAULTS (BIT(FAULT_FIRMWARE) | BIT(FAULT_UPDATE) | BIT(FAULT_NEIGHBOUR))

/* What a wide world may have. Each must have been seen to work in the whole run. */
enum feature {
	FEATURE_IPV6,
	FEATURE_BOTH,
	FEATURE_PAIR,
	FEATURE_RANGE,
	FEATURE_ANY,
	FEATURE_REQUIRE_HAD,
	FEATURE_REQUIRE_REFUSED,
	FEATURE_ASSIGNED,
	FEATURE_HELD,
	FEATURE_IDLE,
	FEATURE_VPN,
	FEATURE_SAME_ADDRESS, /* of two gateways on two interfaces */
	FEATURE_TWIN,         /* two config gateways that are one box */
	FEATURE_NEVER_RENEWS,
	FEATURE_ECHOES,
	FEATURE_TRANSLATES,
	FEATURE_FILTER,
	FEATURE_THIRD_PARTY,
	FEATURE_OPTION_REFUSED,
	WIDE_FEATURES,
	FEATURE_SET = WIDE_FEATURES,
	FEATURE_SET_CUT, /* a smaller one was granted */
	FEATURE_SET_REFUSED,
	FEATURE_PREFERS_FAILURE,
	FEATURE_DESCRIBED,
	FEATURE_DESCRIPTION_REFUSED,
	FEATURE_CGNAT,
	FEATURE_WON_BACK, /* the port wished for */
	FEATURES
};

enum happening {
	H_TO_BOX,
	H_TO_HOST,
	H_ICMP,
	H_ANNOUNCEMENT,
	H_LEASE_END,
	H_FAULT,
	H_PHASE,
	H_AUDIT,
	H_LINK_UP,
	H_MOOD_ENDS,
	H_DRILL,
	H_ODD,  /* a fault of wide worlds */
	H_MORE, /* one of full worlds */
	H_HOLD, /* what: forward; count: 1 is held again */
	H_SAVE,
	H_SAVED,
};

enum drill {
	DRILL_MAPPER,
	DRILL_QUIET_BEGIN,
	DRILL_QUIET_END,
	DRILL_REBOOT,
	DRILL_REBOOT_CHECK,
	DRILL_RESTART,
	DRILL_RESTART_CHECK,
	DRILL_STOP,
	DRILL_EDIT,
	DRILL_EDIT_CHECK,
	DRILL_HOLD,
	DRILL_HOLD_CHECK,
};

struct event {
	uint8_t kind;
	uint8_t what; /* box, fault bit, drill, slot */
	uint16_t len;
	uint16_t port;
	uint32_t path;         /* index */
	struct netaddr source; /* of an announcement */
	uint64_t count;        /* grant index, fault generation */
	uint8_t bytes[SIM_PACKET];
};

/* How many since then. */
struct window {
	mstime since;
	unsigned n;
};

struct path {
	uint32_t number;
	unsigned slot, box;
	uint32_t local;
	bool absent, dead, done, drains;
	mstime heard;  /* last reply handed to the engine; 0 = never */
	mstime silent; /* first packet that was not answered; 0 = none */
	mstime since;  /* last network event: the budgets of silence start anew */
	unsigned sent_first, sent_hour;
	mstime hour;
	struct window questions; /* of both protocols */
	/* NAT-PMP requests are serial */
	uint8_t last[12];
	size_t last_len;
	mstime last_at;
	bool last_answered;
};

/* What was granted for one (box, client, protocol, internal port, external port). */
struct grant {
	unsigned box;
	uint32_t client;
	uint8_t protocol;
	uint16_t internal, external;
	mstime until;
	bool timer, excused;
};

struct track {
	uint32_t local;
	mstime asked_at, first_at; /* the last try, and the first since an answer */
	mstime left_at;            /* the last delete */
	bool asked;                /* in this life */
	bool answered, nonce_known;
	uint8_t result;
	uint8_t nonce[12];
	mstime granted_at;
	uint32_t lifetime;
	bool pcp;
	struct window burst, tries;
	unsigned deletes;
	mstime deletes_since;
};

/* What the engine says of one mapping, as the oracles need it. */
struct view {
	enum mapping_state state;
	bool known, has_external;
	uint16_t external_port;
	struct netaddr external;
};

struct told {
	bool up, failed;
	bool has_external;
	struct netaddr external;
	uint16_t ports[RANGE];
	mstime differs_since;
};

struct want {
	struct forward_spec spec;
	char name[16];
	uint16_t base; /* first internal port, or what stands for it */
	bool wanted;
	bool held, holding; /* on demand: somebody wants to hold it, and the engine knows */
	unsigned gateway;
	unsigned was_on;               /* bit of each slot that it ever had mappings on */
	struct told told[FAMILIES][2]; /* [0] udp, [1] tcp */
};

struct slot {
	bool used;
	enum family family;
	unsigned gateway, ifindex;
	uint32_t path; /* index of the current one */
	unsigned box;
	uint32_t local;
	unsigned local_serial;
	bool flapped;
	mstime firmware; /* its box had an update */
	mstime excused;  /* by then everything must be back */
	bool unnoticed;  /* lost state in a way nobody can see */
};

/* Documents of the state file, to be freed. */
struct disk {
	char *saved;   /* the last one that was written whole; NULL: none */
	char *writing; /* NULL: nothing is */
	bool due;
	bool knew[BOXES], knew_then[BOXES]; /* what the documents say */
	uint64_t life; /* counts processes: what the last one planned is void */
};

struct node {
	mstime t;
	uint64_t seq;
	uint32_t event;
};

struct sim {
	uint64_t seed, hash, seq;
	mstime now, begin, end;
	struct rng net, faults, engine_rng, setup, odd, more; /* of wide worlds, of full ones */
	enum breadth breadth;
	bool cafe;

	struct node *heap;
	size_t n_heap, heap_room;
	struct event *events;
	uint32_t *free_events;
	size_t n_events, n_free, events_room;

	struct engine *engine;
	struct engine_settings settings;
	struct gateway_spec gateways[GATEWAYS];
	struct slot slots[SLOTS];
	struct gw_box boxes[BOXES];
	struct path paths[PATHS];
	uint32_t n_paths;
	struct want wants[FORWARDS];
	unsigned n_wants;
	struct disk disk;
	bool memory_changed;
	bool knew[BOXES]; /* the engine had an answer, in this life or by memory */

	unsigned mask, active;
	uint64_t generation; /* of chaos: old mood ends are stale */
	bool calm, drilling, releasing, healthy, pardoned;
	bool strays; /* before the drill */
	bool clean;  /* nothing of ours was at the gateways when it began */
	unsigned holder;
	mstime calm_since, drill_due, drilling_until;
	mstime release_at;
	unsigned rtt;

	mstime late_for, late_by;
	mstime same_at;
	unsigned same;

	/* oracles */
	struct track tracks[TRACKS];
	struct view views[TRACKS];
	mstime down_since[TRACKS];  /* to be made anew a moment is allowed */
	bool elsewhere[TRACKS];     /* not on the port that is wished for: it may move */
	mstime could_since[TRACKS]; /* the port required was to be had */
	struct grant *grants;
	size_t n_grants, grants_room;
	uint32_t addresses[BOXES][16]; /* ever told as external */
	unsigned n_addresses[BOXES];
	mstime sends[64], replies[64];
	unsigned n_sends, n_replies;
	uint64_t sent, delivered, events_total;
	uint64_t window_sent;
	mstime window_begin;
	bool in_quiet;
	bool differs;     /* from what was told, since a moment ago */
	mstime disturbed; /* last thing that makes an early renewal right */
	uint16_t drill_ports[TRACKS];

	uint64_t steps, kill_at; /* the process is killed at this one; 0: it is not */
	jmp_buf killed;

	uint64_t fired[FAULTS], seen[FEATURES];
	bool trace, failed;
	char why[240];
};

/* world.c */
struct sim *sim_new(uint64_t seed, mstime days, enum breadth, bool trace);
/* The same before anything has happened. */
struct sim *sim_make(uint64_t seed, mstime days, enum breadth, bool trace);
void sim_free(struct sim *);
void sim_run(struct sim *);
void sim_run_until(struct sim *, mstime at);
/* Something that a process can be killed after. */
void sim_step(struct sim *);
void sim_fail(struct sim *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_log(struct sim *, const char *what, uint32_t a, const void *bytes, size_t n);
struct event *sim_schedule(struct sim *, mstime at, enum happening, unsigned what);
bool sim_pop(struct sim *, mstime until, struct event *out);
void sim_after_input(struct sim *);
const char *sim_fault_name(enum fault);
const char *sim_feature_name(enum feature);

/* widen.c */
void widen(struct sim *);

/* full.c */
void full(struct sim *);
void full_strike(struct sim *);

/* host.c: the shell around the engine */
extern const struct engine_io host_io;
void host_start(struct sim *, bool with_memory);
void host_path_up(struct sim *, unsigned slot, bool fresh);
void host_path_down(struct sim *, unsigned slot, enum path_loss);
void host_want(struct sim *, struct want *);
void host_unwant(struct sim *, struct want *);
void host_release(struct sim *); /* orderly stop, to the end */
void host_hold(struct sim *, struct want *, bool hold);
struct netaddr host_address(const struct sim *, unsigned slot);
struct path *host_path(struct sim *, unsigned slot);
struct path *host_path_numbered(struct sim *, uint32_t number);

/* odd.c: faults of wide worlds */
enum edit {
	EDIT_NAME,
	EDIT_INTERNAL,
	EDIT_PROTOCOLS,
	EDIT_GATEWAY,
	EDIT_FAMILY,
	EDIT_REQUIRE,
	EDIT_DEMAND,
	EDIT_LIFETIME,
	EDITS
};
void odd_strike(struct sim *);
void odd_edit(struct sim *, struct want *, enum edit);

/* wire.c */
struct netaddr wire_box_address(const struct sim *, unsigned box);
void wire_to_box(struct sim *, struct path *, const void *bytes, size_t n);
void wire_to_host(struct sim *, struct path *, const void *bytes, size_t n);
void wire_at_box(struct sim *, const struct event *);
void wire_at_host(struct sim *, const struct event *);
void wire_icmp(struct sim *, const struct event *);
void wire_announce(struct sim *, unsigned box);
void wire_announcement(struct sim *, const struct event *);

/* disk.c */
void disk_changed(struct sim *);
void disk_event(struct sim *, const struct event *);
void disk_finish(struct sim *); /* an orderly end */
void disk_start(struct sim *, bool with_memory);
void disk_crash(struct sim *, unsigned outcome);
bool disk_has(const struct sim *, unsigned slot, uint8_t protocol, uint16_t internal);
void disk_free(struct sim *);

/* crashes.c: false or a count of `failed`, after a line that says how to repeat it */
bool crash_once(uint64_t seed, uint64_t kill, enum breadth, bool trace);
/* At most about `most` crashes; returns how many. */
unsigned crash_seed(uint64_t seed, unsigned most, enum breadth, unsigned *failed);

/* faults.c */
void fault_strike(struct sim *);
void fault_mood_ends(struct sim *, const struct event *);
void fault_link_up(struct sim *, unsigned slot);
void fault_calm(struct sim *);
void fault_reboot(struct sim *, unsigned box, bool keep_epoch);
void fault_unnoticed(struct sim *, unsigned box);
void fault_renumber(struct sim *, unsigned slot, bool kept);

/* drills.c */
void drill_phase(struct sim *);
void drill_run(struct sim *, enum drill);

/* oracles.c */
/* The track of an internal port as it is on the wire, or -1. */
int oracle_index(struct sim *, unsigned slot, uint8_t protocol, uint16_t internal);
void oracle_request(struct sim *, struct path *, const uint8_t *bytes, size_t n);
void oracle_answered(struct sim *, struct path *, const uint8_t *bytes, size_t n);
void oracle_granted(struct sim *, unsigned box, const struct gw_outcome *);
void oracle_address(struct sim *, unsigned box);
/* Somebody else tells this one in its name. */
void oracle_lie(struct sim *, unsigned box, uint32_t address);
void oracle_event(struct sim *, const struct engine_event *);
void oracle_lease_end(struct sim *, const struct event *);
void oracle_restart(struct sim *);
void oracle_network_event(struct sim *, struct path *);
struct want *oracle_want(struct sim *, const char *name);
/* Where what the engine says of a mapping is so. */
unsigned oracle_slot(const struct sim *, const struct mapping_status *);
/* What the world reaches our address by. */
struct netaddr oracle_external(const struct sim *, unsigned slot);
void oracle_honest(struct sim *, const struct want *, const struct mapping_status *);
bool oracle_same_external(const struct told *, const struct mapping_status *);

/* presence.c: is everything where it should be? */
/* Asks the engine for all statuses; oracle_is_up() looks at these. */
void oracle_look(struct sim *);
/* After each input while something differs from what was told: does it still? */
void oracle_recheck(struct sim *);
/* Looks again whether what was told of a unit is so. */
void oracle_told(struct sim *, struct want *, enum family, uint8_t protocol);
/* Everything wanted of this slot is at the gateway and active, rightly known. */
bool oracle_is_up(struct sim *, unsigned slot, char *why, size_t n);
/* Statuses are honest; told events agree. */
void oracle_audit(struct sim *);
void oracle_nothing_left(struct sim *);
bool oracle_short_leases(const struct sim *);
/* A lease of ours that nobody wants (any more), or NULL. */
const struct gw_entry *oracle_stray(struct sim *, unsigned slot);
/* Both protocols of a pair have one port wherever they could have. */
void oracle_pairs(struct sim *);
mstime oracle_old_renewal(const struct sim *, const struct want *, unsigned slot);
mstime oracle_renewal(const struct sim *, const struct want *, unsigned slot);

static inline unsigned
track_index(unsigned slot, uint8_t protocol, uint16_t internal)
{
	return (slot * PORTS + (unsigned)(internal - FIRST_PORT)) * 2 + (protocol == PROTOCOL_TCP);
}

static inline struct gateway_spec *
slot_gateway(struct sim *s, unsigned slot)
{
	return &s->gateways[s->slots[slot].gateway];
}

/* Does this forward have mappings there? */
static inline bool
want_is_on(const struct sim *s, const struct want *w, unsigned slot)
{
	const struct slot *g = &s->slots[slot];

	return g->used && g->gateway == w->gateway &&
	    (g->family == FAMILY_IPV4 ? w->spec.ipv4 : w->spec.ipv6);
}

/* Is it to be mapped now? */
static inline bool
want_is_live(const struct want *w)
{
	return w->wanted && (!w->spec.on_demand || w->holding);
}

/* The number by which the simulator knows an internal port: an assigned one is 0 on the wire. */
static inline uint16_t
want_port(const struct want *w, unsigned k)
{
	return (uint16_t)((w->spec.assigned ? w->base : w->spec.internal_port) + k);
}

/* Another host that mappings may be for: as address, and as the gateways' number of it. */
#define THIRD 0xc0a8014du

/* Can only PCP say what is wanted, with options that the gateway must have processed? */
static inline bool
want_has_options(const struct want *w)
{
	return w->spec.has_internal || w->spec.n_remotes;
}

/* One whose refusals and retries are its own matter. */
static inline bool
want_is_special(const struct want *w)
{
	return w->spec.require || want_has_options(w);
}

/* How many mappings it has in each family. */
static inline unsigned
want_mappings(const struct want *w)
{
	return w->spec.count * ((unsigned)w->spec.tcp + w->spec.udp);
}

#endif
