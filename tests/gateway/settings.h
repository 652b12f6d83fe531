/* SPDX-License-Identifier: ISC */
#ifndef FGW_SETTINGS_H
#define FGW_SETTINGS_H

#include "gw.h"

void settings_default(struct gw *);
/* A setting of this name takes "on" or "off". False for an unknown name, too. */
bool settings_is_switch(const char *name);
bool settings_known(const char *name);
/* Changes one setting and lets it take effect. On failure says why in `error`. */
bool settings_set(struct gw *, const char *name, const char *value, struct text *error)
    __attribute__((warn_unused_result));
/* All settings as one JSON object. */
void settings_print(const struct gw *, struct text *);
void settings_help(FILE *);

#endif
