/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONF_H
#define DAEMON_CONF_H

#include "core/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * portleased.conf(5) as an immutable value: everything checked, every default resolved (a forward's
 * missing option comes from its gateway, then from the global part, then from the table). A reload
 * parses a new one and swaps.
 */
struct conf_problem {
	char *file;
	int line; /* 0: the file as a whole */
	bool warning;
	char *text;
};

struct conf_gateway {
	char *name; /* "default" is always there, first */
	bool has_address;
	struct netaddr address; /* decides the family when has_address */
	char *interface;        /* NULL = any */
	bool has_source;
	struct netaddr source;
	bool has_link_address;
	uint8_t link_address[6];
	enum mapper mappers[MAPPERS_MAX];
	unsigned n_mappers;
	uint32_t lifetime; /* resolved; forwards have their own */
	uint32_t probe_interval;
};

/* One forward { }; small, as there may be a thousand. Optional parts are NULL. */
struct conf_forward {
	char *name;                         /* in conf.names */
	const struct conf_gateway *gateway; /* of the same conf */
	char *description;                  /* NULL = name */
	char **on_change;         /* NULL-terminated; NULL = the global one; own[0]==NULL: none */
	struct netaddr *internal; /* NULL = auto */
	struct netprefix *remotes;
	uint16_t n_remotes;
	bool tcp, udp, ipv4, ipv6;
	bool assigned, require, independent, release_on_exit, on_demand, enabled;
	enum external_wish external;
	uint16_t internal_port, count, external_port;
	uint32_t lifetime;
	int line;         /* for messages; with file */
	const char *file; /* owned by the conf */
};

struct conf {
	struct conf_gateway *gateways;
	size_t n_gateways;
	struct conf_forward *forwards; /* in file order, disabled ones included */
	size_t n_forwards;
	char *names;  /* of the forwards, one after the other: there may be a thousand */
	char **files; /* every file read, the main one first */
	size_t n_files;
	uint32_t max_renew_interval, recovery_delay, release_timeout, ready_timeout, hook_timeout,
	    settle;
	bool release_on_exit;
	char **on_change;    /* NULL = none */
	char *control_group; /* NULL = none */
	bool has_control_gid;
	gid_t control_gid;
	char *metrics_listen; /* NULL = off */
	int log_level;        /* enum log_level's numbers */
	bool has_log_level;   /* written in the file */
};

struct conf_problems {
	struct conf_problem *list; /* sorted by file order, then line */
	size_t n;
};

/*
 * Reads FILE and its includes. Returns the conf, owned by the caller, or NULL when there is any
 * error; problems (errors and warnings) are in `out` either way, to be cleared by the caller. All
 * problems of one run are listed, not only the first.
 */
struct conf *conf_read(const char *file, struct conf_problems *out);
void conf_free(struct conf *);
void conf_problems_clear(struct conf_problems *);
const struct conf_gateway *conf_gateway_find(const struct conf *, const char *name);
/* How much is asked for: enabled forwards, their mappings, and the gateways that these use. */
struct conf_totals {
	unsigned forwards, disabled, mappings, gateways;
};
void conf_totals(const struct conf *, struct conf_totals *out);
/* Fills in the engine's form; pointers borrow from the conf. */
void conf_forward_spec(const struct conf_forward *, struct forward_spec *out);
void conf_gateway_spec(const struct conf_gateway *, struct gateway_spec *out);

#endif
