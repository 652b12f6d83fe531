/* SPDX-License-Identifier: ISC */
#ifndef FGW_COMMAND_H
#define FGW_COMMAND_H

#include "gw.h"

/* Runs one line. On success `out` holds JSON or nothing, on failure what was wrong. */
bool command_run(struct gw *, const char *line, struct text *out);
/* A line nobody waits for (script, rule, timer): a failure goes to the log and to standard
 * error. */
void command_run_unasked(struct gw *, const char *line);
/* Reads a script of lines "at SECONDS COMMAND" or "COMMAND". */
bool command_script(struct gw *, const char *path, struct text *error)
    __attribute__((warn_unused_result));

#endif
