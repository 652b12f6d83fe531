/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_TELL_H
#define DAEMON_TELL_H

#include "core/engine.h"

/* Tells the world of the machine: runs hooks and keeps the env files. */
struct conf;
struct loop;
struct metrics;
struct tell;

/* All are borrowed for its life; `metrics` counts the runs. Stale env files are removed. NULL with
 * errno. */
struct tell *tell_new(struct loop *, const struct engine *, struct metrics *, const char *runtime);
/* Hooks that still run are killed; env files stay. */
void tell_free(struct tell *);

/* Every event of the engine; those of gateways mean nothing here. */
void tell_event(struct tell *, const struct engine_event *);
/* A config is in force, the engine knows it already. Nothing is borrowed. */
void tell_reload(struct tell *, const struct conf *);
/* At the end of every round: writes files, starts hooks, and sees to it that there is a next round
 * in time. */
void tell_tick(struct tell *);
/* The orderly end: from now on only what is no longer mapped is told. */
void tell_stop(struct tell *);
/* Nothing is left to be told. */
bool tell_idle(struct tell *);

#endif
