/* SPDX-License-Identifier: ISC */
#ifndef OS_VARLINK_H
#define OS_VARLINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A Varlink server (varlink.org) on a Unix socket that every local user may connect to: JSON
 * messages that end with a NUL octet. Whatever a client does, it can neither block the program nor
 * make it grow: each has two bounded buffers and one call at a time. Single-threaded, on os/loop.h.
 */
#define VARLINK_REQUEST_MAX 65536
#define VARLINK_BEHIND_MAX (256u * 1024)
#define VARLINK_CLIENTS_MAX 64
#define VARLINK_CLIENTS_PER_UID 8
#define VARLINK_CLIENTS_KEPT 4 /* for root and the own uid */
#define VARLINK_NESTING_MAX 32

struct jsontext;
struct loop;
struct varlink;
struct varlink_call;

struct varlink_method {
	const char *name; /* without interface */
	/* Answers many times: without "more" the server says ExpectedMore. */
	bool more;
	/* NULL-terminated; others are refused as InvalidParameter. NULL: takes none. */
	const char *const *parameters;
	/*
	 * Ends in varlink_reply() or varlink_error(), or in varlink_keep(). `parameters` is an
	 * object and borrowed for the call; a member may be a JSON null.
	 */
	void (*call)(void *ctx, struct varlink_call *, json_t *parameters);
};

struct varlink_service {
	const char *vendor, *product, *version, *url;
	const char *interface;
	const char *description; /* of the interface, as GetInterfaceDescription gives it */
	const char *too_many;    /* name of the error for a client too many */
	const struct varlink_method *methods;
	size_t n_methods;
	/* The client of a kept call has gone; the call is invalid from now on. */
	void (*gone)(void *ctx, void *user);
};

/* The service is borrowed for the server's life. Removes a socket that nobody listens on;
 * -EADDRINUSE when somebody does, -EEXIST when the path is something else. 0 or -errno. */
int varlink_new(struct loop *, const char *path, const struct varlink_service *, void *ctx,
    struct varlink **out) __attribute__((warn_unused_result));
/* Sends what can be sent at once, calls gone() for each kept call, removes the socket. */
void varlink_free(struct varlink *);

/*
 * Replies may be sent from anywhere, also from within callbacks of the engine: nothing is called
 * back. They are dropped when the caller asked for none ("oneway"). `parameters` is always taken
 * over, and NULL means none. A final reply ends the life of the call.
 */
void varlink_reply(struct varlink_call *, json_t *parameters);
void varlink_error(struct varlink_call *, const char *name, json_t *parameters);
/* org.varlink.service's own errors. */
void varlink_error_parameter(struct varlink_call *, const char *parameter);
void varlink_error_permission(struct varlink_call *);
/* The call goes on after its method returned, until a final reply or gone(user). */
void varlink_keep(struct varlink_call *, void *user);
/* One of many replies. */
void varlink_reply_more(struct varlink_call *, json_t *parameters);

/* Replies printed once and sent to many, without a tree. Counted references: each owner frees its
 * own. Out of memory is remembered, and whoever is sent such a text is disconnected. */
struct varlink_text;
struct varlink_text *varlink_text_new(void); /* NULL: out of memory */
/* Begins one more reply, an error unless that is NULL: the caller writes the members of its
 * parameters, and ends it. */
struct jsontext *varlink_text_begin(struct varlink_text *, const char *error);
void varlink_text_end(struct varlink_text *, bool continues);
void varlink_text_free(struct varlink_text *);
/* `last` says that the final reply is the last one in it. NULL counts as one with an error. */
void varlink_send(struct varlink_call *, struct varlink_text *, bool last);

/* Who calls. */
uid_t varlink_peer_uid(const struct varlink_call *);
/* As primary or as supplementary group, at the time of connecting. */
bool varlink_peer_in_group(const struct varlink_call *, gid_t);

#endif
