/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/varlink.h"

#include "os/log.h"
#include "os/loop.h"
#include "os/varlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The socket, who may connect, and for how long. What is said is in varlink_message.c. */

/* What the kernel keeps for a client: the status of a thousand forwards goes out at once, instead
 * of in turns with its reader. The kernel grants less if it likes. */
#define SEND_BUFFER (512 * 1024)
#define ACCEPTS_PER_ROUND 16
#define REQUESTS_PER_ROUND 16
#define INPUT_FIRST 4096
/* Without a descriptor to spare: until the next client goes, or this. */
#define ACCEPT_PAUSE MSTIME_SECOND

/* ---- clients -------------------------------------------------------------------------------- */

static void
client_free(struct varlink_call *c)
{
	struct varlink *v = c->server;
	void *user = c->user;
	bool kept = c->open && c->kept;

	for (struct varlink_call **at = &v->clients; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	v->n_clients--;
	loop_fd_free(c->watch);
	close(c->fd);
	varlink_output_clear(c);
	free(c->in);
	free(c);
	if (v->paused) {
		v->paused = false;
		loop_fd_want_read(v->watch, true);
	}
	if (kept)
		v->service->gone(v->ctx, user);
}

/* Reads what fits. False: the connection is dead. */
static bool
client_read(struct varlink_call *c)
{
	ssize_t n;

	if (c->in_used == c->in_size) {
		size_t size = c->in_size == 0 ? INPUT_FIRST : 2 * c->in_size;
		char *grown;

		if (size > VARLINK_REQUEST_MAX + 1)
			size = VARLINK_REQUEST_MAX + 1;
		if (size == c->in_size)
			return true;
		grown = realloc(c->in, size);
		if (grown == NULL)
			return false;
		c->in = grown;
		c->in_size = size;
	}
	n = recv(c->fd, c->in + c->in_used, c->in_size - c->in_used, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->eof = n == 0;
	c->in_used += (size_t)n;
	return true;
}

/* The length of the first request without its NUL, or -1. Each octet is looked at once. */
static ssize_t
next_request(struct varlink_call *c)
{
	const char *end = NULL;

	if (c->in_used > c->in_seen)
		end = memchr(c->in + c->in_seen, '\0', c->in_used - c->in_seen);
	if (end == NULL) {
		c->in_seen = c->in_used;
		return -1;
	}
	c->in_seen = (size_t)(end - c->in);
	return end - c->in;
}

/* One call at a time, and none before the client has taken the last answer. */
static bool
may_work(const struct varlink_call *c)
{
	return !c->doomed && !c->closing && !c->open && c->out == NULL;
}

static void
client_work(struct varlink_call *c)
{
	for (unsigned i = 0; i < REQUESTS_PER_ROUND && may_work(c); i++) {
		ssize_t n = next_request(c);
		size_t taken;

		if (n < 0)
			break;
		taken = (size_t)n + 1;
		varlink_handle(c, c->in, (size_t)n);
		memmove(c->in, c->in + taken, c->in_used - taken);
		c->in_used -= taken;
		c->in_seen = 0;
		varlink_output_flush(c);
	}
	if (may_work(c) && c->in_used > VARLINK_REQUEST_MAX && next_request(c) < 0) {
		varlink_refuse_message(c);
		c->closing = true;
		varlink_output_flush(c);
	}
	if (c->in_used == 0) {
		free(c->in);
		c->in = NULL;
		c->in_size = c->in_seen = 0;
	}
}

/* Decides what to wait for; frees a client that is done. */
static void
client_settle(struct varlink_call *c)
{
	bool full = c->in_used > VARLINK_REQUEST_MAX, waiting = false;

	/* A caller that goes on asking while it is being answered has had its room. */
	if (c->open && full)
		c->doomed = true;
	if (!c->open && !c->closing)
		waiting = next_request(c) >= 0;
	/* Who says no more is not waiting for news either: a hold ends here. */
	if (c->eof && (c->open || (c->out == NULL && !waiting)))
		c->doomed = true;
	if (c->closing && c->out == NULL)
		c->doomed = true;
	if (c->doomed) {
		client_free(c);
		return;
	}
	loop_fd_want_read(c->watch, !c->eof && !c->closing && !full);
	loop_fd_want_write(c->watch, c->out != NULL || waiting);
}

static void
client_ready(void *ctx)
{
	struct varlink_call *c = ctx;

	varlink_output_flush(c);
	if (!c->doomed && !c->eof && !c->closing && !client_read(c))
		c->doomed = true;
	client_work(c);
	client_settle(c);
}

void
varlink_wake(struct varlink_call *c)
{
	if (c->doomed)
		loop_timer_set(c->server->sweep, loop_now(c->server->loop));
	else
		loop_fd_want_write(c->watch, true);
}

/* Clients that fell behind while somebody else had the word. */
static void
sweep_due(void *ctx)
{
	struct varlink *v = ctx;
	struct varlink_call *c = v->clients;

	if (v->paused) {
		v->paused = false;
		loop_fd_want_read(v->watch, true);
	}
	while (c != NULL) {
		if (!c->doomed) {
			c = c->next;
			continue;
		}
		/* gone() may doom others: begin anew. */
		client_free(c);
		c = v->clients;
	}
}

/* ---- accepting ------------------------------------------------------------------------------ */

static bool
has_room(const struct varlink *v, uid_t uid)
{
	unsigned of_uid = 0;

	for (const struct varlink_call *c = v->clients; c != NULL; c = c->next)
		of_uid += c->uid == uid;
	if (v->n_clients >= VARLINK_CLIENTS_MAX || of_uid >= VARLINK_CLIENTS_PER_UID)
		return false;
	return uid == 0 || uid == geteuid() ||
	    v->n_clients < VARLINK_CLIENTS_MAX - VARLINK_CLIENTS_KEPT;
}

static void
client_new(struct varlink *v, int fd)
{
	struct ucred who;
	socklen_t n = sizeof(who);
	int buffer = SEND_BUFFER;
	struct varlink_call *c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0) {
		close(fd);
		return;
	}
	if (!has_room(v, who.uid)) {
		varlink_turn_away(v, fd);
		close(fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		close(fd);
		return;
	}
	c->server = v;
	c->fd = fd;
	c->uid = who.uid;
	c->gid = who.gid;
	c->watch = loop_fd_new(v->loop, fd, client_ready, c);
	if (c->watch == NULL) {
		close(fd);
		free(c);
		return;
	}
	c->next = v->clients;
	v->clients = c;
	v->n_clients++;
}

static void
listener_ready(void *ctx)
{
	struct varlink *v = ctx;

	for (unsigned i = 0; i < ACCEPTS_PER_ROUND; i++) {
		int fd = accept4(v->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			client_new(v, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			return;
		/* EMFILE and its kin stay true for a while: asking again at once would spin. */
		log_debug(
		    "control socket: cannot accept: %s; trying again in 1 s", strerror(errno));
		v->paused = true;
		loop_fd_want_read(v->watch, false);
		loop_timer_set(v->sweep, loop_now(v->loop) + ACCEPT_PAUSE);
		return;
	}
}

/* ---- the socket ----------------------------------------------------------------------------- */

/* A socket that nobody listens on is what a crash leaves behind. */
static int
remove_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, error = 0;

	if (lstat(address->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		error = -EADDRINUSE;
	else if (errno != ECONNREFUSED && errno != ENOENT)
		error = -errno;
	close(fd);
	if (error == 0 && unlink(address->sun_path) != 0 && errno != ENOENT)
		error = -errno;
	return error;
}

static int
open_socket(struct varlink *v, const struct sockaddr_un *address)
{
	struct stat st;
	int error = remove_stale(address);

	if (error != 0)
		return error;
	v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->fd < 0)
		return -errno;
	if (bind(v->fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		return -errno;
	if (lstat(address->sun_path, &st) != 0)
		return -errno;
	v->device = st.st_dev;
	v->inode = st.st_ino;
	/* Everybody may read. Between bind and here it was narrower, and nobody listened. */
	if (chmod(address->sun_path, 0666) != 0 || listen(v->fd, VARLINK_CLIENTS_MAX) != 0)
		return -errno;
	return 0;
}

int
varlink_new(struct loop *loop, const char *path, const struct varlink_service *service, void *ctx,
    struct varlink **out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct varlink *v;
	int error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	*v = (struct varlink){ .loop = loop, .service = service, .ctx = ctx, .fd = -1 };
	v->path = strdup(path);
	v->sweep = loop_timer_new(loop, sweep_due, v);
	error = v->path != NULL && v->sweep != NULL ? open_socket(v, &address) : -ENOMEM;
	if (error == 0) {
		v->watch = loop_fd_new(loop, v->fd, listener_ready, v);
		error = v->watch != NULL ? 0 : -ENOMEM;
	}
	if (error != 0) {
		varlink_free(v);
		return error;
	}
	*out = v;
	return 0;
}

void
varlink_free(struct varlink *v)
{
	struct stat st;

	if (v == NULL)
		return;
	while (v->clients != NULL) {
		varlink_output_flush(v->clients);
		client_free(v->clients);
	}
	loop_fd_free(v->watch);
	loop_timer_free(v->sweep);
	if (v->fd >= 0)
		close(v->fd);
	/* Only our own: somebody may have put another one there. */
	if (v->inode != 0 && lstat(v->path, &st) == 0 && st.st_dev == v->device &&
	    st.st_ino == v->inode)
		unlink(v->path);
	free(v->path);
	free(v);
}

/* ---- who ------------------------------------------------------------------------------------ */

uid_t
varlink_peer_uid(const struct varlink_call *c)
{
	return c->uid;
}

bool
varlink_peer_in_group(const struct varlink_call *c, gid_t gid)
{
	socklen_t size = 0;
	gid_t *groups;
	bool found = false;

	if (c->gid == gid)
		return true;
	/* Asked for with no room, the kernel says how much it needs. */
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return false;
	groups = malloc(size);
	if (groups == NULL || getsockopt(c->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) {
		free(groups);
		return false;
	}
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		found |= groups[i] == gid;
	free(groups);
	return found;
}
