/* SPDX-License-Identifier: ISC */
#ifndef OS_VARLINK_INTERNAL_H
#define OS_VARLINK_INTERNAL_H

#include "os/varlink.h"

/* What varlink.c (the socket) and varlink_message.c (what is said) share. */

struct loop_fd;
struct loop_timer;

struct chunk {
	struct chunk *next;
	struct varlink_text *text; /* a reference */
};

/* A client and the call that it is in: it has one at a time. */
struct varlink_call {
	struct varlink_call *next;
	struct varlink *server;
	struct loop_fd *watch;
	int fd;
	uid_t uid;
	gid_t gid;
	char *in; /* NULL while empty */
	size_t in_size, in_used, in_seen;
	struct chunk *out, **out_end; /* to be sent; out_end is valid while there is one */
	size_t out_sent;              /* of the first */
	size_t behind;                /* octets in all but the first */
	bool eof;                     /* nothing more will come in */
	bool doomed;                  /* to be freed from the loop */
	bool closing;                 /* to be freed when all is sent */
	bool open;                    /* a call is being answered */
	bool more, oneway;            /* as the caller asked */
	bool kept;
	void *user;
};

struct varlink {
	struct loop *loop;
	const struct varlink_service *service;
	void *ctx;
	char *path;
	dev_t device;
	ino_t inode; /* 0: there is no socket of ours */
	int fd;
	struct loop_fd *watch;
	struct loop_timer *sweep;
	struct varlink_call *clients;
	unsigned n_clients;
	bool paused; /* does not accept */
};

/* ---- varlink.c ---- */
/* Something is to be sent, or the client has been doomed. */
void varlink_wake(struct varlink_call *);

/* ---- varlink_message.c ---- */
/* Answers one request of `n` octets. */
void varlink_handle(struct varlink_call *, const char *text, size_t n);
/* The answer to what is no request. */
void varlink_refuse_message(struct varlink_call *);
/* Tells a client too many, as far as that goes at once. */
void varlink_turn_away(const struct varlink *, int fd);
/* Sends what the socket takes. */
void varlink_output_flush(struct varlink_call *);
void varlink_output_clear(struct varlink_call *);
/* Is it nested no deeper than VARLINK_NESTING_MAX? Brackets in strings do not count. */
bool varlink_is_shallow(const char *text, size_t n);

#endif
