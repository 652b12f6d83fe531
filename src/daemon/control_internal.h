/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONTROL_INTERNAL_H
#define DAEMON_CONTROL_INTERNAL_H

#include "daemon/adhoc.h"
#include "daemon/control.h"
#include "daemon/status.h"
#include "os/varlink.h"

/*
 * What the rooms of the control socket share.
 *
 *   control.c         the server, questions and orders that are answered at once
 *   control_hold.c    Hold: forwards that live as long as a connection
 *   control_monitor.c Monitor: events
 */

#define CONTROL_NAME "io.portleased"

/* A call that goes on: of Monitor or Hold. */
struct session {
	struct session *next;
	struct varlink_call *call; /* invalid when its caller has gone */
	uid_t uid;
	bool holds;
	json_t *names; /* Monitor: keys are the forwards of interest; NULL: all */
	char *name;    /* Hold: the forward */
	bool is_adhoc; /* and `adhoc` describes it */
	struct adhoc adhoc;
	bool dirty; /* has news */
};

struct control {
	struct loop *loop;
	struct engine *engine;
	const struct control_host *host;
	void *ctx;
	struct varlink *server;
	struct session *sessions;
	uint64_t n_adhoc;
	bool ending;
	char started[STATUS_TIME_LEN];
	/* The status of this moment, as GetStatus and Monitor tell it: printed once for all that
	 * ask. NULL: not yet; see control_refresh(). */
	struct varlink_text *status, *present;
	uint64_t stamp;
	mstime second;
	bool ready;
};

/* ---- control.c ---- */
/* Forgets what was printed before something changed. */
void control_refresh(struct control *);
/* Answers PermissionDenied itself. */
bool control_may_change(struct control *, struct varlink_call *);
/* The parameter `forwards`: a new object with the names as keys, or NULL for all. False: has been
 * answered with an error. */
bool control_read_names(struct control *, struct varlink_call *, json_t *parameters, json_t **out);
/* The member "problems". */
void control_problems(struct jsontext *, const struct conf_problems *);
/* A session for a call that is kept; NULL: out of memory. */
struct session *session_new(struct control *, struct varlink_call *);
void session_free(struct control *, struct session *);

/* ---- control_hold.c ---- */
void control_hold(void *ctx, struct varlink_call *, json_t *parameters);
/* Its caller has gone. */
void hold_end(struct control *, struct session *);
void hold_tell(struct control *, struct session *);
/* Ends a hold that a new config leaves no room for. */
void hold_reloading(struct control *, struct session *, const struct conf *);

/* ---- control_monitor.c ---- */
void control_monitor(void *ctx, struct varlink_call *, json_t *parameters);

#endif
