/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_SERVICE_H
#define DAEMON_SERVICE_H

#include <stdbool.h>

/* What the service manager is told (sd_notify(3)); does nothing without one. */
struct loop;
struct service;

/* Starts the watchdog's heartbeat if one is asked for. NULL when out of memory. */
struct service *service_new(struct loop *);
/* READY=1 may take `seconds`: asks for that long where the unit allows less. */
void service_starting(struct service *, unsigned seconds);
/* READY=1, once; again after service_reloading(). */
void service_ready(struct service *);
void service_reloading(struct service *);
void service_stopping(struct service *);
/* STATUS=, when it differs from the last one. */
void service_status(struct service *, const char *text);
void service_free(struct service *);

#endif
