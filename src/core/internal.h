/* SPDX-License-Identifier: ISC */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "core/engine.h"
#include "core/timing.h"
#include "proto/pcp.h"

#include <sys/queue.h>

/*
 * What the rooms of the core share. Ownership: the engine owns gateways, paths and forwards; a
 * forward owns its units, a unit its mappings; a path owns its ghosts (mappings without a unit,
 * which only wait to be released). Every mapping with a path hangs in that path's list.
 */

struct unit;
struct path;

/* An answer may be this late and still belong to an earlier transmission: neither protocol
 * numbers its requests. */
#define LATE_ANSWER (12 * MSTIME_SECOND)

enum move { MOVE_NOT, MOVE_WISH, MOVE_SAME };

/* One mapping as the protocols know it: (path, protocol, internal address, internal port). */
struct mapping {
	TAILQ_ENTRY(mapping) of_path;
	struct unit *unit; /* NULL: a ghost */
	struct path *path; /* NULL: no gateway now */
	enum mapping_state state : 8;
	enum mapper maker : 8; /* who made the lease; renews and deletes it */
	uint8_t protocol;
	uint8_t refusals;       /* in a row */
	uint16_t internal_port; /* 0: assigned */
	uint16_t wish;          /* external port wanted; 0: any */
	uint16_t
	    external_port;  /* granted, kept as the suggestion when the lease is over; 0: none */
	uint16_t told_port; /* what publish() last told */
	uint16_t any_port;  /* suggested when any will do; 0: let the gateway choose */
	uint16_t count;     /* internal ports from internal_port on: 1, or a whole range's */
	bool carried : 1;   /* the unit's first stands for it: it hangs in no list */
	bool suspect : 1;   /* the gateway has lost its state since the grant */
	bool decided : 1;   /* granted or refused in this run */
	bool renewed : 1;   /* since publish() looked last */
	bool forgotten : 1; /* by a gateway that has restarted, since publish() told it last */
	bool copies : 1;    /* the last answer may not be the only one on its way */
	bool contested : 1; /* a copy of the request was refused: another may have been granted */
	bool asked_pcp : 1; /* a PCP request was sent on this path */
	bool asked_natpmp : 1;
	bool open_pcp : 1;  /* since its last grant PCP was asked to make it */
	bool described : 1; /* the last PCP request had a DESCRIPTION … */
	bool insisted : 1;  /* … and a PREFER_FAILURE */
	bool moving : 1;    /* deleted to be made anew, which is not done yet */
	bool shortens : 1;  /* a ghost that cannot be deleted: the shortest lifetime is asked for */
	bool guessed : 1; /* since its last lease: what an earlier life may have left is deleted */
	uint8_t doubted : 2; /* revoked, unasked: how often it has been asked whether so */
	uint8_t move : 2;    /* what for: enum move */
	uint8_t moves : 2;   /* made to get one port for both protocols */
	uint8_t tries;       /* unanswered transmissions */
	uint8_t garbled;     /* answers with another internal port */
	struct problem problem;
	uint32_t lifetime; /* granted, s, capped */
	uint32_t renewals, changes;
	struct netaddr external; /* granted by PCP; netaddr_any4: not known */
	uint8_t nonce[PCP_NONCE_SIZE];
	mstime due;     /* when it wants something sent; MSTIME_NEVER: nothing */
	mstime asked;   /* the last transmission */
	mstime before;  /* the transmission that a late answer may still belong to */
	mstime expires; /* 0: no lease */
	mstime move_at; /* then it is deleted and made anew: MOVE_WISH, MOVE_SAME; 0: no */
};

TAILQ_HEAD(mapping_list, mapping);

static inline mstime
earlier(mstime a, mstime b)
{
	return a < b ? a : b;
}

static inline mstime
later(mstime a, mstime b)
{
	return a > b ? a : b;
}

/* A mapping without a unit: what it needs to be deleted, and no more. */
struct ghost {
	struct mapping mapping; /* first */
	bool has_internal;
	bool leftover; /* of an earlier run: nobody has asked for it in this one */
	bool guess;    /* after a refusal: there may be nothing to delete */
	struct netaddr internal;
	uint64_t remotes; /* digest of the source prefixes that it is open to */
	mstime renews;    /* when the lease was to be renewed */
};

/* (forward, protocol, family): what events are about. */
struct unit {
	struct forward *forward;
	struct path *path;        /* where its mappings are */
	struct mapping *mappings; /* forward->count of them */
	enum family family : 8;
	uint8_t protocol;
	bool told_up : 1, told_failed : 1;
	bool pairs : 1;   /* may still move to its partner's port */
	bool blocked : 1; /* another forward has its port on this box: nothing is asked for it */
	uint8_t told_trouble;
	uint16_t told_result;
	struct netaddr told_external;
	mstime held_until; /* the lease before this one is shown until then */
	mstime pair_until; /* it may wait for its partner until then; 0: no */
};

struct forward {
	TAILQ_ENTRY(forward) next;
	const char *name;  /* in the same block, behind the mappings */
	char *description; /* NULL = name */
	struct gateway *gateway;
	struct netaddr *internal; /* NULL: this host */
	struct netprefix *remotes;
	uint8_t n_units;
	uint16_t n_remotes;
	uint16_t internal_port, count, external_port;
	enum external_wish external : 8;
	bool tcp : 1, udp : 1, ipv4 : 1, ipv6 : 1;
	bool assigned : 1, require : 1, independent : 1, release_on_exit : 1, on_demand : 1;
	uint16_t holders;
	uint32_t lifetime;
	struct unit units[]; /* n_units */
};

struct gateway {
	TAILQ_ENTRY(gateway) next;
	char *name;
	enum mapper mappers[MAPPERS_MAX];
	unsigned n_mappers;
	uint32_t probe_interval; /* s */
	struct path *current[FAMILIES];
	enum trouble absence[FAMILIES]; /* why there is none, if it is not for want of a route */
	struct netaddr left[FAMILIES];  /* the address of the path before */
	mstime pace[FAMILIES];          /* generic cell rate: theoretical arrival time */
};

enum exchange_kind { EXCHANGE_NONE, EXCHANGE_MAP, EXCHANGE_ADDRESS, EXCHANGE_ANNOUNCE };

/* The one request that is outstanding on a path. */
struct exchange {
	enum exchange_kind kind;
	enum mapper mapper;
	struct mapping *mapping; /* EXCHANGE_MAP */
	bool probe;              /* one packet at the pace of an outage */
	unsigned sends;
	mstime wait, first, last, deadline;
};

/* Two series of questions to a gateway that has never answered: one for each protocol. */
struct contact {
	enum mapper first; /* whom a version error recommended; MAPPER_NONE: as configured */
	unsigned sends[2]; /* index: dialect() */
	mstime wait[2], next[2], last[2];
	bool refused;     /* by ICMP, the last question */
	uint8_t refusals; /* in a row */
};

struct path {
	TAILQ_ENTRY(path) next;
	struct engine *engine;
	struct gateway *gateway;
	uint32_t number;
	enum family family;
	unsigned ifindex;
	char interface[16];
	struct netaddr address, local;
	bool on_link, has_link_address;
	uint8_t link_address[6];

	bool present; /* packets can be sent */
	enum gateway_state state;
	struct problem problem;
	struct mapping_list mappings;

	enum mapper mapper; /* spoken; MAPPER_NONE: not known */
	bool answered;      /* ever, the state file counts */
	bool pcp_spoken;    /* PCP was, since the last reboot */
	mstime mapless;     /* until then PCP makes no mappings here (UNSUPP_OPCODE), NAT-PMP may */
	bool announce_works;     /* PCP ANNOUNCE was answered here */
	uint8_t announce_misses; /* bursts in vain, where it has not worked */
	uint8_t announce_lost;   /* in a row, of any kind */
	bool announce_deaf;      /* it never is, though MAP is */
	uint8_t address_misses;  /* bursts for the address in a row */
	bool plain;              /* descriptions are refused */
	bool indulgent;          /* PREFER_FAILURE is */
	bool singly;             /* PORT_SET is, or has no effect */
	mstime set_asked;        /* the last request with it; -1: never */
	uint64_t set_ports; /* a bit for each port that was asked for with it just before that */
	mstime pcp_again;   /* NAT-PMP is spoken, but PCP preferred: next try */
	mstime switched;    /* last change of mapper */
	uint8_t switches;   /* since `switched` began to be young */
	struct exchange exchange;
	struct contact contact;
	struct epoch epochs[2];
	bool asked[2]; /* something in that dialect was sent on this path */

	mstime last_sent;
	mstime last_delete;   /* -1: never */
	mstime heard;         /* last accepted answer; -1: never */
	mstime spoken[2];     /* the same in each dialect(), on this path */
	uint8_t unlearned[2]; /* questions since, each answered by a version error or not at all */
	uint8_t unheard[2];   /* polite ones in a row that were not */
	mstime unheard_at;    /* the last of them while something else was; -1: never */
	mstime silent_since;  /* first unanswered transmission after it */
	bool outage;          /* one probe at a time */
	unsigned misses;      /* exchanges in a row without an answer */
	unsigned probes;      /* of this outage */
	mstime probe_wait;
	mstime not_before; /* the next probe */

	mstime check_due;   /* ask for epoch (and address) */
	bool hinted;        /* an announcement is to be checked */
	mstime checked;     /* last check that a hint caused; -1: never */
	mstime address_due; /* NAT-PMP: ask for the address */
	mstime address_at;  /* last answer; -1: never */
	bool has_external, no_address;
	struct netaddr external;
	mstime recover_at;       /* a refill is pending until then; 0: none */
	mstime recovered;        /* begin of the last one; -1: never */
	mstime recovery_gap;     /* the next one is so much later at least, if it follows closely */
	mstime hold_until;       /* NO_RESOURCES: no new mappings before … */
	struct problem hold_why; /* … because of this */
	mstime renewed_all;      /* last engine_renew(); -1: never */
	mstime wished;           /* last network event that made wishes be tried again; -1: never */

	/* the end: flushing sends every delete once, 2 ms apart */
	bool flushing;
	mstime flush_at;

	int32_t rtt_us, measured_us; /* -1: not known */
	uint32_t reboots;
	uint64_t sent;
	bool told_ready, told_silent, told_address;
	struct netaddr told_external;
};

struct engine {
	const struct engine_io *io;
	void *ctx;
	struct engine_settings settings;
	TAILQ_HEAD(, gateway) gateways;
	TAILQ_HEAD(, path) paths;
	TAILQ_HEAD(, forward) forwards;
	struct memory_gateway *seen_gateways;
	size_t n_seen_gateways;
	struct memory_mapping *seen_mappings;
	size_t n_seen_mappings;
	mstime pace;          /* of all paths together */
	uint32_t passed_over; /* the first path that it kept from sending; 0: none */
	uint64_t stamp;       /* counts inputs */
	bool stopping;
	bool unsaved;
	mstime stop_at; /* release_timeout ends */
};

/* engine.c */
/* The end of every input: does what is due on every path, then compares and tells. */
void engine_settle(struct engine *, mstime now);
/* The same for an input that may send nothing. */
void engine_note(struct engine *, mstime now);
uint32_t engine_random(struct engine *);
void engine_trace(const struct engine *, const char *what, uint32_t path, uint32_t a, uint32_t b);

/* forward.c */
struct forward *forward_find(const struct engine *, const char *name);
bool forward_wanted(const struct forward *);
void forward_free(struct forward *);
/* Moves every unit of the gateway and family to its current path (or to none). */
void forward_follow(struct engine *, mstime now, struct gateway *, enum family);
void forward_release_all(struct engine *, mstime now);
/* Leases become ghosts to be released at `due`; the unit is left without path. */
void unit_detach(struct engine *, mstime now, struct unit *, mstime due);
void unit_attach(struct engine *, mstime now, struct unit *, struct path *);

/* mapping.c */
bool mapping_leased(const struct mapping *, mstime now);
/* The only writer of state and due. */
void mapping_enter(struct mapping *, mstime now, enum mapping_state, mstime due);
/* Another request goes out at once, instead of the one that was answered. */
void mapping_again(struct mapping *, mstime now, enum mapping_state);
const struct netaddr *mapping_internal(const struct mapping *); /* NULL: this host */
/* Is another port wanted for it than for a lease that was asked for with this wish, and got this
 * port? */
bool mapping_moves(const struct mapping *, uint16_t wish, uint16_t port);
uint64_t mapping_remotes(const struct mapping *);               /* digest; 0: everybody */
enum mapper mapping_mapper(const struct mapping *, mstime now); /* whom to ask next */
void mapping_sent(struct mapping *, mstime now, enum mapper);
/* Nothing spoken here can say what is wanted. */
void mapping_unsupported(struct mapping *, mstime now);
/* A whole try went unanswered: plans the next. */
void mapping_unanswered(struct mapping *, mstime now);
void mapping_hurry(struct mapping *, mstime now);
/* Lets time pass: the end of a lease, of a refusal. */
void mapping_age(struct mapping *, mstime now);
mstime mapping_next(const struct mapping *);
/* Its predecessor, which is still to be deleted, by that protocol or (MAPPER_NONE) by any; NULL:
 * none. */
struct mapping *mapping_blocker(const struct mapping *, enum mapper maker);
/* Is there one, here or with a rival? */
bool mapping_blocked(const struct mapping *);
void mapping_suspect(struct mapping *, mstime now, mstime due);
/* Refused, but may the answer to another copy of the request still say that it was granted? */
bool mapping_contested(const struct mapping *, mstime now);
/* An answer, normalised from both protocols. */
struct answer {
	enum mapper mapper;
	uint16_t result;
	uint32_t lifetime;
	uint16_t external_port;
	bool has_external;
	struct netaddr external;
	uint16_t set_size, set_first; /* PORT_SET; 0: none */
	uint16_t ignored;             /* an option that was asked for and not processed; 0: none */
};
/* False: a late answer to what was asked before. */
bool mapping_expects(const struct mapping *, const struct answer *);
void mapping_answer(struct mapping *, mstime now, const struct answer *);

/* ghost.c */
void ghost_free(struct mapping *);
/* A copy of a mapping's lease that waits on its path to be deleted. NULL: out of memory. */
struct mapping *ghost_new(const struct mapping *, mstime now, mstime due);
/* After this refusal: what may be there from an earlier life goes before it is asked for again. */
void ghost_guess(struct mapping *, mstime now, const struct problem *why);
/* This delete was answered: if it was for a guess, nobody need guess again. */
void ghost_guessed(const struct mapping *ghost);
/* Granted: the guess, if nothing was sent for it yet, was wrong. */
void ghost_drop_guess(struct mapping *, mstime now);

/* ask.c */
/* Can this protocol say what is wanted? */
bool ask_possible(const struct mapping *, enum mapper);
/* A refusal: true if a simpler request goes out instead. */
bool ask_simpler(struct mapping *, mstime now, const struct answer *);
/* A refusal that may be about the suggestion: true if another is sent at once. */
bool ask_another(struct mapping *, mstime now, const struct answer *);
/* Silence that may be. */
void ask_doubt(struct mapping *);
uint16_t ask_port(const struct mapping *, mstime now);
/* Before a lease is left, after a mapping has come to another path. */
void ask_leaves(struct mapping *, mstime now);
void ask_arrives(struct mapping *, mstime now);
void ask_granted(struct mapping *, mstime now);
void ask_unblocked(const struct mapping *ghost, mstime now);
void ask_event(struct path *, mstime now);
void ask_reborn(struct mapping *, mstime now);
void ask_stays(struct mapping *);
/* A ghost whose delete is refused: true if something else is sent that ends it. */
bool ask_shorter(struct mapping *ghost, mstime now, const struct answer *);
void ask_age(struct mapping *, mstime now);
mstime ask_next(const struct mapping *);
/* Is it not told yet because the other protocol may still change its port? */
bool ask_waits_for_partner(const struct unit *, mstime now);
void ask_publish(struct unit *, mstime now);

/* option.c */
/* The options of a request, into `filters` what they need room for; what was asked is noted. */
void option_fill(
    struct mapping *, mstime now, struct pcp_request *, struct pcp_filter filters[PCP_FILTERS_MAX]);
/* The option that this success does not echo though its meaning is needed: the gateway has not
 * processed it (RFC 6887 section 7.3). 0: none. */
uint16_t option_ignored(const struct mapping *, const struct pcp_reply *);

/* portset.c */
/* Have they an internal port in common? */
bool portset_overlap(const struct mapping *, const struct mapping *);
/* The unit, without a lease, comes to its path: it is asked for as a set if that has a chance. */
void portset_join(struct unit *, mstime now);
/* It leaves its path. */
void portset_part(struct unit *);
/* The unit's first, which stood for all, stands for itself only; the lease, if any, goes on. */
void portset_split(struct mapping *first, mstime now);
/* The gateway does not make sets, or not of this size. */
void portset_refused(struct mapping *, mstime now);
/* Was the set that was asked for granted? True for single ports. */
bool portset_granted(const struct mapping *, const struct answer *);
/* It is asked for with PORT_SET. */
void portset_asked(const struct mapping *, mstime now);
/* An answer to an earlier request, with PORT_SET, of what is asked for singly now. */
bool portset_stale(const struct mapping *, mstime now, const struct answer *);
/* What the first has, all of them show. */
void portset_show(struct unit *);

/* portcontrol.c */
/* Encodes and sends one request; counts it. Returns 0 or -errno of the send. */
int portcontrol_send_map(struct path *, mstime now, struct mapping *, enum mapper);
int portcontrol_send_address(struct path *, mstime now);
int portcontrol_send_announce(struct path *, mstime now);
void portcontrol_input(struct path *, mstime now, const void *bytes, size_t n);
/* Is this announcement a reason to ask? */
bool
portcontrol_is_hint(const struct path *, mstime now, uint16_t port, const void *bytes, size_t n);

/* gateway.c */
struct gateway *gateway_find(const struct engine *, const char *name);
struct path *path_find(const struct engine *, uint32_t number);
void path_free(struct path *);
/* Do two config gateways turn out to be one box here? */
bool path_is_twin(const struct path *, const struct path *);
/* The same, and tells that nothing will be sent on it any more. */
void path_done(struct path *);
bool path_allows(const struct path *, enum mapper);
enum mapper path_preferred(const struct path *);
unsigned dialect(enum mapper); /* 0 PCP, 1 NAT-PMP */
void path_enter(struct path *, mstime now, enum gateway_state);
bool path_wanted(const struct path *);
/* Is there a lease that NAT-PMP made, or will be: does its external address matter? */
bool path_needs_address(const struct path *, mstime now);
/* What is known of the external address, by either protocol. */
bool path_external(const struct path *, mstime now, struct netaddr *out);
/* Something acceptable came in, spoken by `mapper`. `epoch` is NULL when it carried none. */
void path_heard(struct path *, mstime now, enum mapper, const uint32_t *epoch);
void path_address(struct path *, mstime now, bool ok, const struct netaddr *);
/* NAT-PMP's question for it went unanswered. */
void path_address_later(struct path *, mstime now);
/* It is there, whatever it said. */
void path_alive(struct path *, mstime now);
void path_reset_contact(struct path *, mstime now);
/* Clears what the last contact taught, for a gateway that may be another one now. */
void path_forget(struct path *);
/* Why nothing is heard, in the form of a problem. */
struct problem path_silence(const struct path *);
/* States that pass with time, and when the next does. */
void path_age(struct path *, mstime now);
mstime path_age_next(const struct path *);

/* version.c */
/* From now on it is asked in this protocol. False: it changes its mind too often. */
bool path_speak(struct path *, mstime now, enum mapper);
/* Until it is asked again whether it speaks PCP, too. */
mstime path_pcp_rest(const struct path *);
/* A refusal because PCP makes no mappings here: true if NAT-PMP is tried first. */
bool path_maps_otherwise(struct mapping *, mstime now, const struct answer *);
/* It has restarted: perhaps PCP does now. */
void path_maps_again(struct path *, mstime now);
/* It speaks PCP: whoever needs that is asked for. */
void path_speaks_pcp(struct path *, mstime now);
void path_version_error(struct path *, mstime now, enum mapper spoken, uint32_t rest);
/* This protocol was spoken here, but now only the other is answered: another firmware. */
bool path_unlearned(const struct path *, mstime now, enum mapper);
/* So it is: the leases that it made in this protocol are over or, unless that is certain, suspect.
 */
void path_unlearn(struct path *, mstime now, enum mapper, bool certain);
/* A polite question in a protocol that is not spoken at present went unanswered. */
void path_unheard(struct path *, mstime now, enum mapper);

/* restart.c */
#define RECOVERY_GAP (10 * MSTIME_SECOND)
/* Its clock tells of a restart: everything is asked for again. */
void path_recover(struct path *, mstime now);
/* An announcement: perhaps it has restarted. */
void path_hint(struct path *, mstime now);
/* Refused by a gateway that has restarted: is the lease gone with what it had before? */
bool restart_took(const struct mapping *, const struct answer *);

/* hold.c */
/* Does what keeps this mapping from being made keep all new ones of the path? */
bool hold_concerns(enum mapper, uint16_t result);
/* A mapping that would be asked for while nothing new is made is as good as refused. */
void hold_age(struct mapping *, mstime now);

/* choice.c */
struct job {
	enum exchange_kind kind;
	enum mapper mapper;
	struct mapping *mapping;
	bool single; /* asked once, out of turn */
};
/* False: nothing is due. */
bool exchange_next_job(struct path *, mstime now, struct job *);
/* A renewal in its own time that goes before a question or a probe; NULL: none. */
struct mapping *exchange_urgent(const struct path *);
/* Is this probe of an outage in the other protocol? */
bool exchange_other_turn(const struct path *, unsigned probe);

/* exchange.c */
void path_work(struct path *, mstime now, bool answered);
mstime path_next(const struct path *);
void exchange_done(struct path *, mstime now);
/* PCP has answered MAP, before path_heard(). */
void exchange_mapped(struct path *, mstime now);
/* The outage is over: a probe that is on its way is an ordinary request. */
void exchange_calm(struct path *);
/* From now on every delete that is left goes out once, 2 ms apart. */
void exchange_flush(struct path *, mstime now);
void exchange_refused(struct path *, mstime now, enum unreachable);

/* Sends one request, outside of all bookkeeping of exchanges. 0 or -errno. */
int exchange_send(struct path *, mstime now, enum exchange_kind, enum mapper, struct mapping *);
/* May a packet that no answer released be sent now? */
bool exchange_paced(const struct path *, mstime now);

/* Nothing passes this host's firewall: no harm in trying. */
#define FIREWALL_GAP (15 * MSTIME_SECOND)

/* So long a packet is left alone, be it answered or not. */
#define HEELS ((mstime)250)

/* contact.c */
void contact_work(struct path *, mstime now);
mstime contact_next(const struct path *);
/* ICMP port unreachable came back. */
void contact_refused(struct path *, mstime now);

/* rival.c */
/* The mapping of another config gateway that has the same port on the same box; NULL: none. */
const struct mapping *rival_of(const struct mapping *, mstime now);
/* One that had it is still to be deleted there. */
bool rival_leaves(const struct mapping *);
/* May that be so for any mapping of this path? */
bool rival_is_leaving(const struct path *);
/* It is deleted: who was refused because of it asks again. */
void rival_gone(const struct mapping *, mstime now);
/* The unit, without a lease, has come to its path: is the port still to be had? */
void rival_meet(struct unit *, mstime now);
/* Who was blocked takes over when nobody has the port any more. */
void rival_age(struct engine *, mstime now);

/* publish.c */
void publish(struct engine *, mstime now);
bool unit_is_up(const struct unit *, mstime now);
bool mapping_external(const struct mapping *, struct netaddr *out);
enum mapping_state mapping_view(const struct mapping *, mstime now);
mstime publish_next(const struct engine *);
void tell_gateway(struct path *, mstime now, enum engine_event_kind, const struct netaddr *old);
void tell_mapping(struct engine *, mstime now, const struct mapping *, enum engine_event_kind,
    uint16_t ports, const struct netaddr *old, uint16_t old_port);
/* Fill in status values. */
void path_status(const struct path *, mstime now, struct gateway_status *);
void mapping_status(const struct mapping *, mstime now, struct mapping_status *);

/* leftover.c */
/* Leases of an earlier run that no forward on this path takes over become ghosts. */
void leftover_release(struct path *, mstime now);
/* The mapping asks for this one itself, or for another port instead of it. */
void leftover_forget(struct path *, mstime now, const struct mapping *);
/* Which box is there is known now: those of another one are none of its business. */
void leftover_recheck(struct path *);

/* memory.c */
void memory_apply(struct engine *, struct path *, mstime now);
uint16_t memory_port(const struct engine *, const struct mapping *);
/* Was one of `count` ports from the first's on last mapped singly here? It may live: its expiry is
 * a lower bound, renewals are not remembered. */
bool memory_single(const struct engine *, const struct mapping *first, unsigned count);
/* When a remembered lease of another address of ours ends that has the port wished for; 0: none. */
mstime memory_blocker(const struct engine *, const struct mapping *);
/* Was this lease made on this path, by the box that is there now? */
bool memory_is_of(const struct memory_mapping *, const struct path *);
/* Is another port wanted for it now? */
bool memory_moves(const struct memory_mapping *, const struct mapping *);
/* Before a path is forgotten. */
void memory_keep(struct path *);

#endif
