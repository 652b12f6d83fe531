/* SPDX-License-Identifier: ISC */
#ifndef SIM_STAGE_H
#define SIM_STAGE_H

#include "core/engine.h"
#include "gwmodel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One engine, one gateway on a perfect wire (1 ms each way), and a script. */

#define STAGE_PACKET 200
#define MINUTE (60 * MSTIME_SECOND)
#define HOUR (60 * MINUTE)
#define LOCAL 0xc0a8010au
#define GATEWAY 0xc0a80101u
#define LOCAL6 "2a00:1450::10"
#define GATEWAY6 "fe80::1"

struct sent {
	mstime at;
	uint32_t path;
	struct gw_request q;
	uint8_t bytes[STAGE_PACKET];
	size_t n;
};

struct noted {
	mstime at;
	enum engine_event_kind kind;
	uint16_t internal, external, old; /* ports, of mapping events */
	bool has_external, again;
	uint32_t address;
	struct problem problem;
};

struct parcel {
	mstime at;
	uint64_t seq;
	enum { PARCEL_REQUEST, PARCEL_REPLY, PARCEL_ICMP, PARCEL_ANNOUNCEMENT } kind;
	uint32_t source;
	uint32_t path;
	uint16_t port;
	size_t n;
	uint8_t bytes[STAGE_PACKET];
};

struct stage {
	struct engine *engine;
	struct engine_settings settings;
	struct gateway_spec gateway;
	struct gw_box box;
	uint32_t path, local; /* the current one; LOCAL */
	uint32_t answering;   /* the path of the request that is being answered; 0: none */
	bool ipv6;            /* the script has to answer */
	struct rng rng;
	mstime now, begin;
	bool trace, failed;
	char why[200];
	const char *play;

	/* The script: true if it has dealt with the request, false: the box answers. */
	bool (*script)(struct stage *, const uint8_t *bytes, size_t n, const struct gw_request *);
	int variant;    /* for the script's own use … */
	long number[8]; /* … as are these */
	bool mute;      /* the gateway hears nothing */
	int send_error; /* what send() returns */

	struct parcel *parcels;
	size_t n_parcels, parcels_room;
	uint64_t seq;
	struct sent *sent;
	size_t n_sent, sent_room;
	struct noted *noted;
	size_t n_noted, noted_room;
	bool path_done;
	mstime heard; /* arrival of the last reply */
	mstime same_at;
	unsigned same;
};

/* Before stage_start() the settings, the gateway and the box may be changed. */
void stage_start(struct stage *);
void stage_path_up(struct stage *);
struct forward_spec stage_spec(uint16_t port, uint8_t protocol, uint32_t lifetime);
void stage_want(struct stage *, const struct forward_spec *);
/* `n` TCP forwards f0 … with ports 5000 … */
void stage_forwards(struct stage *, unsigned n, uint32_t lifetime);
void stage_prefer(struct stage *, enum mapper);      /* the other comes second */
void stage_only(struct stage *, enum mapper);        /* a gateway and a config of one protocol */
void stage_grant(struct stage *, uint32_t lifetime); /* whatever is asked */

void stage_run(struct stage *, mstime duration);
void stage_run_until(struct stage *, mstime at);
/* Runs until it holds; false after `limit`. */
bool stage_wait(struct stage *, mstime limit, bool (*holds)(struct stage *));
bool stage_all_active(struct stage *);
/* The same, and the gateway has f0 and f1. */
bool stage_both_mapped(struct stage *);
bool stage_drained(struct stage *);

void stage_reply(struct stage *, mstime after, const uint8_t *bytes, size_t n);
void stage_icmp(struct stage *, mstime after);
void stage_announce(struct stage *, mstime after, uint32_t source, const uint8_t *bytes, size_t n);
struct netaddr stage_address(const char *text);

void stage_fail(struct stage *, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define EXPECT(st, condition, ...)                     \
	do {                                           \
		if (!(condition)) {                    \
			stage_fail((st), __VA_ARGS__); \
			return;                        \
		}                                      \
	} while (0)

enum kind_of_request { ANY_REQUEST, MAP_REQUEST, DELETE_REQUEST, PCP_REQUEST, NATPMP_REQUEST };
bool stage_is(const struct sent *, enum kind_of_request, uint16_t internal); /* 0 = any port */
unsigned
stage_count(const struct stage *, enum kind_of_request, uint16_t internal, mstime from, mstime to);
/* The n-th (0 …) of its kind since `from`, or NULL. */
const struct sent *
stage_nth(const struct stage *, enum kind_of_request, uint16_t internal, mstime from, unsigned n);
const struct noted *
stage_noted(const struct stage *, enum engine_event_kind, uint16_t internal, mstime from);
unsigned stage_noted_count(const struct stage *, enum engine_event_kind, mstime from);
/* External port if the mapping is active, else 0. */
uint16_t stage_active(struct stage *, uint16_t internal, uint8_t protocol);
bool stage_mapping(struct stage *, uint16_t internal, struct mapping_status *);
bool stage_gateway(struct stage *, struct gateway_status *);

#endif
