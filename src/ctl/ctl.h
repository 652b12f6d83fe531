/* SPDX-License-Identifier: ISC */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* portleasectl(1): one small program, a file per family of commands. */

enum ctl_exit {
	CTL_DONE = 0,
	CTL_REFUSED = 1, /* the gateway refused, or the thing is not so */
	CTL_USAGE = 2,
	CTL_NO_DAEMON = 3,
	CTL_NOT_PERMITTED = 4,
	CTL_NO_ANSWER = 5, /* from the gateway */
	CTL_HOLD_FAILED = 125,
	CTL_CANNOT_RUN = 126,
	CTL_NOT_FOUND = 127,
	CTL_BY_SIGNAL = 128
};

/* The command line. All strings are borrowed from argv; NULL: not given. */
struct ctl {
	const char *socket;
	bool json, watch;
	bool has_timeout;
	int timeout; /* ms */
	const char *protocol, *family, *internal_port, *external_port, *external_policy, *gateway,
	    *lifetime, *description, *interface, *mappers;
	char **names; /* NULL-terminated */
	int n_names;
	char **command; /* what stands after "--"; NULL: nothing */
};

/* One line to standard error, "portleasectl: " before it. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole number without anything around it. */
bool ctl_parse_number(const char *text, long min, long max, long *out)
    __attribute__((warn_unused_result));

/* Each returns the exit status. */
int ctl_status(const struct ctl *);
int ctl_monitor(const struct ctl *);
int ctl_wait(const struct ctl *);
int ctl_renew(const struct ctl *);
int ctl_reload(const struct ctl *);
int ctl_metrics(const struct ctl *);
int ctl_hold(const struct ctl *);
/* These need no daemon. */
int ctl_external_address(const struct ctl *);
int ctl_map(const struct ctl *);
int ctl_unmap(const struct ctl *);
int ctl_probe(const struct ctl *);

/* ---- client.c: the daemon's control socket -------------------------------------------------- */

struct client;

enum client_result {
	CLIENT_REPLY,
	CLIENT_TIMEOUT,
	CLIENT_CLOSED /* the daemon has gone, or says nonsense */
};

struct client_reply {
	json_t *message;   /* owned: json_decref() */
	const char *error; /* NULL: none; borrowed from message, like parameters */
	json_t *parameters;
};

/* Both are waits on this machine: a daemon that takes longer is stuck. */
#define CLIENT_PATIENCE 10000

/* 0 or -errno. */
int client_open(const char *path, struct client **out) __attribute__((warn_unused_result));
/* For `timeout` ms. */
int client_open_within(const char *path, int timeout, struct client **out)
    __attribute__((warn_unused_result));
void client_close(struct client *);
int client_fd(const struct client *); /* for poll() */
/* Sends a call of io.portleased; `parameters` is taken over, NULL is none. */
bool client_call(struct client *, const char *method, json_t *parameters, bool more);
/* The next reply, within `timeout` ms; -1: however long it takes. */
enum client_result client_next(struct client *, int timeout, struct client_reply *out);

/* Says what is wrong, and returns the exit status. */
int client_complain_open(const char *path, int error);
int client_complain_lost(const char *path, enum client_result);
int client_complain_error(const struct client_reply *, const char *wish);
/* Problems of a configuration, to standard error. */
void client_print_problems(const json_t *problems);

/* One call, one reply: opens, asks, closes. CTL_DONE, or it has complained and says with which
 * status to end. `wish` says what was wanted: "reload the configuration". */
int client_ask(const struct ctl *, const char *method, json_t *parameters, const char *wish,
    struct client_reply *out);
/* {"forwards": [names…]}, or NULL without names. */
json_t *client_names(const struct ctl *);

/* ---- unit.c: rows of the status document, put together by protocol and family ---------------- */

/* "ADDRESS:PORT", "[v6]:PORT", "ADDRESS:FIRST-LAST", "?" for what is unknown. */
const char *unit_endpoint(const char *address, const char *ports, char *room, size_t n);
/* "N", "N-M" or "N,M": external (or internal) ports of all rows of the unit; "" if unknown. */
void unit_ports(const json_t *mappings, const json_t *row, const char *key, char *room, size_t n);
/* Is this row the first of its unit? */
bool unit_begins(const json_t *mappings, size_t i);
bool unit_all_active(const json_t *mappings);
bool unit_all_addressed(const json_t *mappings);
/* A line for each unit: where it is reached. */
void unit_print(const json_t *mappings);
const char *row_text(const json_t *row, const char *key); /* NULL: null or absent */
/* False: null or absent. */
bool row_number(const json_t *row, const char *key, long *out);
/* The hook variables, for COMMAND. */
void unit_export(const json_t *mappings, const json_t *gateways);

/* ---- table.c -------------------------------------------------------------------------------- */

#define TABLE_COLUMNS 10
struct table;
enum table_colour { TABLE_PLAIN, TABLE_GOOD, TABLE_BUSY, TABLE_BAD, TABLE_DIM };

struct table *table_new(unsigned columns);
void table_free(struct table *);
/* Copies the text of the next cell; rows follow each other without end. NULL is "-". */
void table_cell(struct table *, const char *text, enum table_colour);
/* Whether standard output is a terminal that can be drawn on; and whether it may be in colour. */
bool table_on_terminal(void);
bool table_wants_colour(void);
void table_print(const struct table *, bool colour, FILE *to);

/* ---- listen.c ------------------------------------------------------------------------------- */

/* For each mapping to this host that nobody listens for: one line. */
void listen_warn(const json_t *mappings, FILE *to);

#endif
