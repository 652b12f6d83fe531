/* SPDX-License-Identifier: ISC */
#ifndef FGW_CONTROL_H
#define FGW_CONTROL_H

#include "gw.h"

#include <poll.h>

enum { CONTROL_CLIENTS = 16 };

/* A Unix stream socket: one command a line, one line of answer to each: "ok", JSON, or
 * "error: …". */
bool control_open(struct gw *, const char *path, struct text *error)
    __attribute__((warn_unused_result));
/* Adds what is to be polled; returns how many, at most CONTROL_CLIENTS + 1. */
size_t control_poll(const struct gw *, struct pollfd *);
void control_serve(struct gw *, const struct pollfd *, size_t n);
void control_close(struct gw *);
/* The other end: sends one command and prints the answer. Exit status. */
int control_ask(const char *path, const char *line);

#endif
