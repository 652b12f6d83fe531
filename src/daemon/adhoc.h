/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_ADHOC_H
#define DAEMON_ADHOC_H

#include "daemon/conf.h"

#include <jansson.h>

/* A forward that a caller of Hold brings along, as a section of the config would have it. */
struct adhoc {
	struct conf_forward forward; /* owns name and description; gateway borrows from the conf */
	char *gateway;               /* its name, to be found again after a reload */
};

/*
 * Reads the parameter `ad_hoc`; what it leaves out is as in portleased.conf(5). Returns NULL on
 * success, else the name of the member that is wrong (of `value`'s or of static text). The name of
 * the forward is not set.
 */
const char *adhoc_parse(json_t *value, const struct conf *, struct adhoc *out)
    __attribute__((warn_unused_result));
/* Finds its gateway in a new conf. False: it has none that could do it. */
bool adhoc_rebase(struct adhoc *, const struct conf *);
void adhoc_clear(struct adhoc *);

#endif
