/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_VARIABLES_H
#define DAEMON_VARIABLES_H

#include "core/notice.h"

#include <stddef.h>

/*
 * The PORTLEASE_* variables of a unit, "NAME=VALUE" each, all of them always there: what is not
 * known is empty. With a notice the event and what was told before come with them. NULL-terminated,
 * owned by the caller; NULL: out of memory.
 */
char **variables_new(const struct unit_view *, const struct notice *);
void variables_free(char **);

/* The text of RUNTIME/forwards/NAME.env: the first unit's variables, and those of all again with
 * _TCP, _UDP, _TCP6 or _UDP6 at the end of their names. Owned by the caller; NULL: out of memory.
 */
char *variables_file(const struct unit_view *const units[], size_t n);

/* A view of a unit that no event has told of yet; borrows from the status. */
struct unit_view variables_view(const struct mapping_status *, uint16_t ports);

#endif
