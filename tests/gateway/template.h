/* SPDX-License-Identifier: ISC */
#ifndef FGW_TEMPLATE_H
#define FGW_TEMPLATE_H

#include "serve.h"

/* Datagrams written by a test: hex octets and names, with spaces between ("00 81 0001 EPOCH"). */

/* Appends to `out`. `reply` is what the normal service answered, or NULL. */
bool template_expand(struct gw *, const char *text, const struct request *,
    const struct packet *reply, struct packet *out, struct text *error);
bool template_check(const char *text, struct text *error) __attribute__((warn_unused_result));
/* It names something that only the normal service knows. */
bool template_needs_reply(const char *text);

#endif
