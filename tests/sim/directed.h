/* SPDX-License-Identifier: ISC */
#ifndef SIM_DIRECTED_H
#define SIM_DIRECTED_H

#include <stdbool.h>
#include <stddef.h>

/* Scripted scenarios in virtual time: what the random worlds meet too seldom. */

#define DIRECTED_WHY 300

struct stage;

struct directed {
	const char *name;
	void (*play)(struct stage *, int variant); /* one fresh stage per variant */
	int variants;
};

/* The scenarios, file by file; each list ends with a NULL name. */
extern const struct directed directed_start[], directed_renewal[], directed_epoch[],
    directed_silence[], directed_stop[], directed_mapping[], directed_option[], directed_port[],
    directed_rules[], directed_update[], directed_ipv6[], directed_set[], directed_gateways[],
    directed_reload[], directed_refusal[], directed_firmware[], directed_deaf[], directed_kinds[];

/* False: `why` says which variant failed and how. */
bool directed_run(const struct directed *, bool trace, char why[DIRECTED_WHY]);
/* One day with that many forwards; prints what it cost. Exit status. */
int directed_forwards(unsigned n);

#endif
