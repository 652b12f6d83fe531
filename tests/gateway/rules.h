/* SPDX-License-Identifier: ISC */
#ifndef FGW_RULES_H
#define FGW_RULES_H

#include "serve.h"

enum action_kind {
	ACT_DROP,     /* as if the request had been lost */
	ACT_MUTE,     /* serve it, but no reply */
	ACT_SERVE,    /* serve it in spite of a reply-hex */
	ACT_RESULT,   /* a: result code */
	ACT_LIFETIME, /* a: lifetime */
	ACT_REPLY,    /* text: template instead of the reply */
	ACT_SEND,     /* text: template of a further datagram; a: delay in ms; address: source */
	ACT_PATCH,    /* a: offset; text: template */
	ACT_FROM,     /* address: source of the reply */
	ACT_DELAY,    /* a: ms */
	ACT_DUP,      /* a: further copies */
	ACT_TRUNCATE, /* a: octets */
	ACT_ICMP,     /* a: enum icmp; the request is as lost */
	ACT_DO,       /* text: command that is run before the request is served */
	ACT_THEN,     /* text: command that is run after the reply was sent */
};

struct action {
	enum action_kind kind;
	int64_t a;
	struct addr address; /* port 0: none */
	char text[1024];
	struct action *next;
};

/* Adds the rule of `text` ("version=2 op=1 nth=2 action=drop"); its number or OFF. */
int64_t rule_add(struct gw *, const char *text, struct text *error);
/* By number, by name or "all". False: none of that name. */
bool rule_remove(struct gw *, const char *name);
/* Counts the request in every rule that fits and returns the actions of the first whose turn it
 * is, or NULL. They stay valid until rules_reap. */
const struct action *rules_match(struct gw *, const struct request *);
void rules_reap(struct gw *, bool all);
void rules_print(const struct gw *, struct text *);

#endif
