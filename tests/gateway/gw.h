/* SPDX-License-Identifier: ISC */
#ifndef FGW_GW_H
#define FGW_GW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "addr.h"
#include "text.h"
#include "wire.h"

/*
 * The fake gateway as a whole. main.c owns one struct gw and hands it to
 * everybody; there are no threads and no other state. Times are CLOCK_MONOTONIC
 * in microseconds.
 */

enum { OFF = -1 }; /* of a setting that takes a number or "off" */
#define NEVER INT64_MAX

enum mode { MODE_BOTH, MODE_PCP, MODE_NATPMP, MODE_NONE };
enum wan { WAN_UP, WAN_DOWN, WAN_PRIVATE };
enum policy {
	POLICY_STICKY,  /* RFC 6887: what exists stays; else the suggestion, else the next free */
	POLICY_ECHO,    /* always the suggestion: an existing mapping moves */
	POLICY_PLUS1,   /* miniupnpd: another suggestion makes a second mapping */
	POLICY_ANOTHER, /* a new mapping never gets the port it asked for; then sticky */
	POLICY_NEVER,   /* not even a renewal gets the port it asked for (P-78) */
	POLICY_LIST,    /* a new mapping gets the next port of port-list; then sticky */
	POLICY_RANDOM,  /* a new mapping gets a random port; then sticky */
};
/* What a server without PCP answers to a PCP request. */
enum pcp_refusal {
	REFUSE_8,       /* F-09: 8 octets, opcode 128 + asked */
	REFUSE_OP0,     /* RFC 6886 as printed: opcode 0, reply bit clear */
	REFUSE_ERRATUM, /* erratum 3618: opcode 128 */
	REFUSE_SHORT,   /* the first 4 octets of REFUSE_8 */
	REFUSE_PCP,     /* in PCP's own format, version 2, result 1 */
	REFUSE_V1,      /* the same from a server of draft version 1 (F-21) */
	REFUSE_V9,      /* the same, offering version 9 */
	REFUSE_F19,     /* version 0, opcode 128, result 3, size of the request (F-19) */
	REFUSE_MUTE,
};
/* What a server without NAT-PMP answers to a NAT-PMP request. */
enum natpmp_refusal { NREFUSE_PCP, NREFUSE_FRITZ, NREFUSE_MUTE };
enum natpmp_error { NERROR_FULL, NERROR_SHORT, NERROR_PORT0, NERROR_ECHO };
/* What is made of PORT_SET (RFC 7753). */
enum port_set { SET_IGNORE, SET_GRANT, SET_FEWER, SET_REFUSE, SET_MALFORMED };
enum odd_size { ODD_RFC, ODD_F19, ODD_MUTE };
enum zoo { ZOO_OFF, ZOO_REPLACE, ZOO_BEFORE };
enum zoo_kind { ZOO_INVALID, ZOO_ANY };

/* Everything `set` reaches; settings.c holds names, ranges and defaults. */
struct settings {
	/* service */
	int64_t mode;
	int64_t proton;
	int64_t wan;
	struct addr external;
	struct addr external6; /* wildcard: the internal address itself, as on a pure firewall */
	int64_t life_min, life_max;
	int64_t grant;      /* fixed lifetime or OFF */
	int64_t entry_life; /* ms an entry really lives, or OFF */
	int64_t policy;
	int64_t port_lo, port_hi;
	uint16_t ports[64];
	size_t n_ports;
	int64_t rotate;
	int64_t table_max;
	int64_t nonce_strict, address_check, third_party, prefer_failure;
	int64_t filter, max_filters, description, strict_options, any_options;
	int64_t ignore_options, port_set;
	int64_t delete_missing_ok, origin_check, refresh;
	int64_t v6_echo, renew6_fails;
	int64_t announce_check;
	/* epoch */
	int64_t epoch;
	int64_t epoch_freeze;
	double epoch_rate;
	/* shapes of replies */
	int64_t pcp_refusal, natpmp_refusal, natpmp_error, odd_size;
	int64_t error_lifetime;
	int64_t reserved_fill;
	int64_t garble_ports;
	/* faults */
	int64_t seed;
	double drop_requests, drop_replies;
	int64_t drop_first;
	int64_t delay, jitter;
	int64_t dup;
	struct addr reply_from; /* port 0: off */
	int64_t silence, refuse;
	int64_t truncate;
	double corrupt;
	int64_t zoo, zoo_kind, zoo_count, zoo_max;
	double zoo_prob;
	/* announcements */
	char announce_if[32];
	struct addr announce_to; /* port 0: the multicast groups */
};

enum origin { ORIGIN_NATPMP, ORIGIN_PCP };

/* One mapping. Key: client, proto, internal and the family of the external side. */
struct mapping {
	enum origin origin;
	uint8_t client[16];
	uint8_t proto;
	uint16_t internal;
	uint16_t external;
	uint16_t count; /* of ports from these on: 1 unless a PORT_SET was granted */
	uint8_t ext[16];
	bool ext6; /* the external side is IPv6 */
	bool has_nonce;
	uint8_t nonce[12];
	uint32_t granted; /* seconds */
	int64_t expires;  /* NEVER: does not */
	int64_t requests; /* successful ones since it was made */
	int64_t filters;
	struct addr peer, local; /* of the last request: mapping updates go there */
	char description[132];
	size_t description_len;
};

struct table {
	struct mapping *rows; /* owned */
	size_t n, cap;
	size_t next_port; /* of port-list */
};

struct sock {
	int fd; /* -1: closed by `refuse` */
	struct addr local;
	bool listener; /* else only opened to send from */
};

struct net {
	struct sock socks[32];
	size_t n;
};

struct job;    /* jobs.c */
struct rule;   /* rules.c */
struct client; /* control.c */

struct stats {
	uint64_t in, out, dropped_requests, dropped_replies, natpmp, pcp, garbage, unsendable;
};

struct gw {
	struct settings set;
	struct table table;
	struct net net;
	struct job *jobs;   /* owned, by time */
	struct rule *rules; /* owned, in order */
	int64_t next_rule;
	struct client *clients; /* owned */
	int control_fd;
	const char *control_path; /* borrowed from argv */
	FILE *log;
	struct stats stats;
	uint64_t random; /* state of the generator */
	int64_t now;     /* of this turn of the loop */
	int64_t started;
	int64_t epoch_since; /* time at which the epoch had the value set.epoch */
	/* The last request and its reply, for `blast`; port 0: none yet. */
	struct addr last_peer, last_local;
	struct packet last_request, last_reply;
	bool quit;
};

int64_t clock_now(void);
uint32_t epoch_now(const struct gw *);
/* The epoch has this value from now on. */
void epoch_set(struct gw *, uint32_t value);

uint64_t random_next(struct gw *);
/* 0 … n-1; n > 0. */
uint64_t random_below(struct gw *, uint64_t n);
bool random_chance(struct gw *, double probability);

#endif
