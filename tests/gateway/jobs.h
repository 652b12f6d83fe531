/* SPDX-License-Identifier: ISC */
#ifndef FGW_JOBS_H
#define FGW_JOBS_H

#include "gw.h"

/* What has to be done later: sending a datagram, running a command. */

/* The epoch of that moment is written at offset `epoch_at` before sending, unless it is 0.
 * `announcement`: jobs_cancel_announcements takes it back. */
void jobs_send(struct gw *, int64_t when, const struct addr *local, const struct addr *peer,
    const struct packet *, size_t epoch_at, bool announcement);
void jobs_command(struct gw *, int64_t when, const char *command);
void jobs_cancel_announcements(struct gw *);
/* Does what is due. */
void jobs_run(struct gw *);
/* Time of the next one or NEVER. */
int64_t jobs_next(const struct gw *);
void jobs_free(struct gw *);

#endif
