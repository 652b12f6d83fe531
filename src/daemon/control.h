/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include "core/engine.h"
#include "daemon/conf_compare.h"

#include <stdbool.h>

/* The control socket: the methods of io.portleased (doc/io.portleased.varlink). */
struct control;
struct loop;

/* What it needs of the daemon; all are called from the loop only. */
struct control_host {
	const struct conf *(*conf)(void *ctx); /* in force */
	bool (*ready)(void *ctx);
	/* As SIGHUP does. `problems` is filled in either way, for the caller to clear. */
	bool (*reload)(void *ctx, struct conf_problems *problems, struct conf_changes *changes);
	/* The engine wants other gateways than before. */
	void (*follow)(void *ctx);
	/* OpenMetrics text, to be freed; NULL: out of memory. */
	char *(*metrics)(void *ctx);
};

/* The text of doc/io.portleased.varlink, made at build time. */
extern const char control_interface[];

/* Everything is borrowed for its life. 0 or -errno, as of varlink_new(). */
int control_new(struct loop *, struct engine *, const char *path, const struct control_host *,
    void *ctx, struct control **out) __attribute__((warn_unused_result));
/* Callers are sent what they can take at once; what they hold stays as it is. */
void control_free(struct control *);

/* May be called from within the engine's callback. */
void control_event(struct control *, const struct engine_event *);
/* Before a new config is put in force: ends what it forbids. */
void control_reloading(struct control *, const struct conf *);
/* After a reload, good or not. */
void control_reloaded(struct control *, bool good, const struct conf_problems *);
/* At the end of every dispatch. */
void control_after(struct control *);

#endif
