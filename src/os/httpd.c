/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/httpd.h"

#include "os/log.h"
#include "os/loop.h"
#include "os/loop_event.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define SWEEP (MSTIME_SECOND / 4)     /* how long the socket of one who has gone may stay */
#define SILENCE_MAX 10                /* s that a client may say or read nothing */
#define PATIENCE (10 * MSTIME_SECOND) /* from its connection to the end of its answer */
#define PAUSE MSTIME_SECOND           /* without a descriptor for one more */
#define HEADERS_MAX 8192
#define BODY_MAX 1024 /* is read and thrown away */

/* A listening socket and its clients. */
struct door {
	struct evhttp *http;
	struct evconnlistener *listener;
	struct loop_fd *watch;    /* of the same socket; see somebody_comes() */
	struct loop_timer *timer; /* on while there are clients, or none can be taken */
	struct loop *loop;
	struct client {
		/* One reference is ours; evhttp has the other until the client has gone. */
		struct bufferevent *buffers; /* NULL: a free place */
		mstime until;
	} clients[CLIENTS_MAX];
};

struct httpd {
	struct loop *loop;
	const struct httpd_page *page;
	void *ctx;
	char *where; /* NULL: nowhere */
	struct door *door;
};

/* ---- clients -------------------------------------------------------------------------------- */

/* bufferevent_free() takes the callbacks away, so evhttp has freed one without. */
static bool
has_gone(struct bufferevent *client)
{
	bufferevent_data_cb read, write;
	bufferevent_event_cb event;
	void *ctx;

	bufferevent_getcb(client, &read, &write, &event, &ctx);
	return read == NULL && write == NULL && event == NULL;
}

/* Forgets those who have gone. How many places are free, and where one is. */
static unsigned
free_places(struct door *door, struct client **place)
{
	unsigned n = 0;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = &door->clients[i];

		if (c->buffers != NULL && has_gone(c->buffers)) {
			bufferevent_decref(c->buffers);
			c->buffers = NULL;
		}
		if (c->buffers == NULL) {
			*place = c;
			n++;
		}
	}
	return n;
}

/* Who says or takes an octet now and then is never silent, and would have its place for ever.
 * evhttp finds the connection closed, and lets it go. */
static void
hurry(struct door *door, mstime now)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (door->clients[i].buffers != NULL && now >= door->clients[i].until)
			(void)shutdown(bufferevent_getfd(door->clients[i].buffers), SHUT_RDWR);
}

static void
accept_clients(struct door *door, bool on)
{
	if (on)
		(void)evconnlistener_enable(door->listener);
	else
		(void)evconnlistener_disable(door->listener);
	loop_fd_want_read(door->watch, on);
}

static void
look_again(void *ctx)
{
	struct door *door = ctx;
	struct client *place;
	mstime now = loop_now(door->loop);
	unsigned n = free_places(door, &place);

	if (n > 0)
		accept_clients(door, true);
	hurry(door, now);
	if (n < CLIENTS_MAX)
		loop_timer_set(door->timer, now + SWEEP);
}

/*
 * evhttp neither limits connections nor tells when one has gone, but it lets us make what it reads
 * and writes with. When the last place is taken, those who come next wait in the kernel. The socket
 * is closed with our reference, not before: libevent still knows it by its number.
 */
static struct bufferevent *
client_new(struct event_base *base, void *arg)
{
	struct door *door = arg;
	struct bufferevent *buffers = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	mstime now = loop_now(door->loop);
	struct client *place;
	unsigned n = free_places(door, &place);

	if (buffers != NULL && n > 0) {
		bufferevent_incref(buffers);
		*place = (struct client){ buffers, now + PATIENCE };
		n--;
	}
	if (n == 0)
		accept_clients(door, false);
	loop_timer_set(door->timer, now + SWEEP);
	return buffers; /* NULL: then evhttp tries by itself, or gives up */
}

/* evhttp would try to accept again and again, at once, as long as there is no descriptor to spare.
 */
static void
somebody_comes(void *ctx)
{
	struct door *door = ctx;
	int spare = fcntl(evconnlistener_get_fd(door->listener), F_DUPFD_CLOEXEC, 0);

	if (spare >= 0) {
		close(spare);
		return;
	}
	log_debug("metrics: cannot accept: %s; trying again in 1 s", strerror(errno));
	accept_clients(door, false);
	loop_timer_set(door->timer, loop_now(door->loop) + PAUSE);
}

/* The next round looks whether there is a descriptor, and says so. */
static void
cannot_accept(struct evconnlistener *listener, void *arg)
{
	(void)listener;
	(void)arg;
}

static void
reply(struct evhttp_request *request, int code, const char *reason, const char *type,
    const char *text)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body = evbuffer_new();
	char length[24];

	snprintf(length, sizeof(length), "%zu", strlen(text));
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Content-Length", length);
	/* Who keeps connections open keeps others out. */
	evhttp_add_header(headers, "Connection", "close");
	if (body != NULL && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
		evbuffer_add(body, text, strlen(text));
	evhttp_send_reply(request, code, reason, body);
	if (body != NULL)
		evbuffer_free(body);
}

static void
got_request(struct evhttp_request *request, void *arg)
{
	static const char plain[] = "text/plain; charset=utf-8";
	const struct httpd *h = arg;
	enum evhttp_cmd_type command = evhttp_request_get_command(request);
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	const char *type;
	char *text;

	if (path == NULL || strcmp(path, h->page->path) != 0) {
		reply(request, HTTP_NOTFOUND, "Not Found", plain, "There is nothing here.\n");
		return;
	}
	if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "GET, HEAD");
		reply(request, HTTP_BADMETHOD, "Method Not Allowed", plain,
		    "This can only be read: GET or HEAD.\n");
		return;
	}
	text = h->page->text(
	    h->ctx, evhttp_find_header(evhttp_request_get_input_headers(request), "Accept"), &type);
	if (text != NULL)
		reply(request, HTTP_OK, "OK", type, text);
	else
		reply(request, HTTP_SERVUNAVAIL, "Service Unavailable", plain, "Out of memory.\n");
	free(text);
}

/* ---- listening ------------------------------------------------------------------------------ */

static int
listen_at(const struct addrinfo *a)
{
	int on = 1, error;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, CLIENTS_MAX) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* Takes HOST:PORT apart. */
static bool
split(const char *where, char *host, size_t n, const char **port)
{
	const char *colon = strrchr(where, ':');
	size_t length;

	if (colon == NULL)
		return false;
	*port = colon + 1;
	length = (size_t)(colon - where);
	if (length >= 2 && where[0] == '[' && where[length - 1] == ']') {
		where++;
		length -= 2;
	}
	if (length == 0 || length >= n)
		return false;
	memcpy(host, where, length);
	host[length] = '\0';
	return true;
}

/* A descriptor, or -errno with `why` said. */
static int
open_socket(const char *where, const char **why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	char host[256];
	const char *port;
	int error, fd;

	*why = "no such address";
	if (!split(where, host, sizeof(host), &port))
		return -EINVAL;
	error = getaddrinfo(host, port, &hints, &found);
	if (error != 0) {
		*why = gai_strerror(error);
		return -EINVAL;
	}
	fd = listen_at(found);
	freeaddrinfo(found);
	if (fd < 0)
		*why = strerror(-fd);
	return fd;
}

static void
door_close(struct door *door)
{
	if (door == NULL)
		return;
	loop_fd_free(door->watch);
	if (door->http != NULL)
		evhttp_free(door->http);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (door->clients[i].buffers != NULL)
			bufferevent_decref(door->clients[i].buffers);
	loop_timer_free(door->timer);
	free(door);
}

/* Takes `fd` over; NULL: out of memory, and it is still the caller's. */
static struct door *
door_open(struct httpd *h, int fd)
{
	struct door *door = calloc(1, sizeof(*door));
	struct evhttp_bound_socket *bound = NULL;

	if (door == NULL)
		return NULL;
	door->loop = h->loop;
	door->timer = loop_timer_new(h->loop, look_again, door);
	door->http = evhttp_new(loop_base(h->loop));
	door->watch = loop_fd_new(h->loop, fd, somebody_comes, door);
	if (door->timer != NULL && door->http != NULL && door->watch != NULL)
		bound = evhttp_accept_socket_with_handle(door->http, fd);
	if (bound == NULL) {
		door_close(door);
		return NULL;
	}
	door->listener = evhttp_bound_socket_get_listener(bound);
	evconnlistener_set_error_cb(door->listener, cannot_accept);
	evhttp_set_bevcb(door->http, client_new, door);
	evhttp_set_gencb(door->http, got_request, h);
	evhttp_set_timeout(door->http, SILENCE_MAX);
	evhttp_set_max_headers_size(door->http, HEADERS_MAX);
	evhttp_set_max_body_size(door->http, BODY_MAX);
	/* All that have a name, so that got_request() can say which are allowed. */
	evhttp_set_allowed_methods(door->http,
	    EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
		EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	return door;
}

void
httpd_listen(struct httpd *h, const char *where)
{
	const char *why;
	char *copy;
	int fd;

	if (h->where != NULL && (where == NULL || strcmp(where, h->where) != 0)) {
		log_info("metrics are no longer served at http://%s%s", h->where, h->page->path);
		door_close(h->door);
		free(h->where);
		h->door = NULL;
		h->where = NULL;
	}
	if (where == NULL || h->where != NULL)
		return;
	fd = open_socket(where, &why);
	if (fd < 0) {
		log_warning("metrics-listen: cannot listen at %s: %s; choose another address or "
			    "port of this host, and reload to try again",
		    where, why);
		return;
	}
	copy = strdup(where);
	h->door = copy != NULL ? door_open(h, fd) : NULL;
	if (h->door == NULL) {
		log_warning("metrics-listen: out of memory for %s; reload to try again", where);
		close(fd);
		free(copy);
		return;
	}
	h->where = copy;
	log_info("metrics are served at http://%s%s", where, h->page->path);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct httpd *
httpd_new(struct loop *loop, const struct httpd_page *page, void *ctx)
{
	struct httpd *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->loop = loop;
	h->page = page;
	h->ctx = ctx;
	return h;
}

void
httpd_free(struct httpd *h)
{
	if (h == NULL)
		return;
	door_close(h->door);
	free(h->where);
	free(h);
}
