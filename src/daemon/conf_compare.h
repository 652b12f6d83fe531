/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONF_COMPARE_H
#define DAEMON_CONF_COMPARE_H

#include "daemon/conf.h"

/* What a reload did, in enabled forwards; they are told apart by name. */
struct conf_changes {
	unsigned added, changed, removed, unchanged;
};

/* False: out of memory. */
bool conf_compare(const struct conf *before, const struct conf *after, struct conf_changes *out)
    __attribute__((warn_unused_result));

/* Do both want the same port, inside or outside, of the same gateway? */
bool conf_forwards_clash(const struct conf_forward *, const struct conf_forward *);

/* An enabled forward, or NULL. */
const struct conf_forward *conf_forward_find(const struct conf *, const char *name);

#endif
