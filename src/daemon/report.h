/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "core/engine.h"

#include <stddef.h>

/* Events of the engine in words. */

/* One log line, of the level that fits; a renewal is debug. */
void report_event(const struct engine_event *);

/* "3 of 3 forwards mapped via pcp, external 203.0.113.7" into `out`. */
void report_summary(const struct engine *, mstime now, char *out, size_t n);

#endif
