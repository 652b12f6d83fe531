/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_MEMORY_JSON_H
#define DAEMON_MEMORY_JSON_H

#include "core/engine.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * STATE/state.json: the engine's memory as a document. `boot` is the kernel's boot id: times
 * are CLOCK_BOOTTIME and mean nothing after another boot.
 */

/* The document, to be freed by the caller; NULL when out of memory. */
char *memory_json_print(const struct engine *, mstime now, const char *boot, size_t *n);

/* Every field is checked and clamped; a doubtful entry is left out. False: not our document. */
bool memory_json_parse(struct engine *, mstime now, const char *boot, const char *text, size_t n)
    __attribute__((warn_unused_result));

#endif
