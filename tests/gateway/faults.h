/* SPDX-License-Identifier: ISC */
#ifndef FGW_FAULTS_H
#define FGW_FAULTS_H

#include "rules.h"

/* The request is to be treated as lost on the way; logs why. */
bool faults_lose_request(struct gw *, const struct request *);
/* Sends a reply through all the faults that are set. `actions` of the rule that fits, or NULL. */
void faults_send(
    struct gw *, const struct request *, const struct packet *reply, const struct action *actions);
/* A datagram a client has to live with. `reply` may be empty. */
void zoo_make(struct gw *, const struct request *, const struct packet *reply, struct packet *out);

#endif
