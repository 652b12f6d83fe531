/* SPDX-License-Identifier: ISC */
#ifndef FGW_ANNOUNCE_H
#define FGW_ANNOUNCE_H

#include "gw.h"

/* Each takes the rest of its command line; says in `error` what it does not understand. */
bool announce_command(struct gw *, const char *args, struct text *error);
bool reboot_command(struct gw *, const char *args, struct text *error);
bool update_command(struct gw *, const char *args, struct text *error);

#endif
