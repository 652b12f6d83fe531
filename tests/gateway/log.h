/* SPDX-License-Identifier: ISC */
#ifndef FGW_LOG_H
#define FGW_LOG_H

#include "gw.h"

/* Each writes one line of JSON and flushes it. */
void log_datagram(struct gw *, const char *dir, const struct addr *local, const struct addr *peer,
    const uint8_t *bytes, size_t len, const char *note);
void log_drop(struct gw *, const char *what, const char *why);
void log_table(struct gw *, const char *change, const struct mapping *, const char *why);
void log_event(struct gw *, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_ready(struct gw *, FILE *);

#endif
