/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define INTERFACE "io.portleased"
/* A thousand forwards are half a MiB; whatever is larger is not our daemon. */
#define REPLY_MAX (64u << 20)

struct client {
	int fd;
	char *in;
	size_t size, used, seen;
};

static int64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until `deadline`; -1: for ever. False: it is over. */
static bool
wait_for(int fd, short what, int64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = what };
		int64_t left = deadline < 0 ? -1 : deadline - clock_ms();
		int n = poll(&p, 1, deadline < 0 ? -1 : left > 0 ? (int)left : 0);

		if (n > 0)
			return true;
		if (n == 0 || errno != EINTR)
			return false;
	}
}

int
client_open_within(const char *path, int timeout, struct client **out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int64_t deadline = clock_ms() + timeout;
	struct client *c;
	int error = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		free(c);
		return -errno;
	}
	/* EAGAIN: its queue is full. Nothing can be waited for there but time. */
	while (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		error = errno;
		if ((error != EAGAIN && error != EINTR) || clock_ms() >= deadline)
			break;
		(void)poll(NULL, 0, 50);
		error = 0;
	}
	if (error != 0) {
		client_close(c);
		return -error;
	}
	*out = c;
	return 0;
}

int
client_open(const char *path, struct client **out)
{
	return client_open_within(path, CLIENT_PATIENCE, out);
}

void
client_close(struct client *c)
{
	if (c == NULL)
		return;
	close(c->fd);
	free(c->in);
	free(c);
}

int
client_fd(const struct client *c)
{
	return c->fd;
}

bool
client_call(struct client *c, const char *method, json_t *parameters, bool more)
{
	json_t *request =
	    json_pack("{s:s+, s:o*}", "method", INTERFACE ".", method, "parameters", parameters);
	char *text;
	size_t n, sent = 0;
	int64_t deadline = clock_ms() + CLIENT_PATIENCE;

	if (request != NULL && more)
		(void)json_object_set_new(request, "more", json_true());
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (text == NULL)
		return false;
	n = strlen(text) + 1;
	while (sent < n) {
		ssize_t done = send(c->fd, text + sent, n - sent, MSG_NOSIGNAL);

		if (done >= 0)
			sent += (size_t)done;
		else if (errno != EINTR && (errno != EAGAIN || !wait_for(c->fd, POLLOUT, deadline)))
			break;
	}
	free(text);
	/* A daemon that has closed the connection may have said why: that is read next. */
	return sent == n || errno == EPIPE || errno == ECONNRESET;
}

/* The next message in the buffer, or NULL. */
static json_t *
take_message(struct client *c, bool *nonsense)
{
	char *end = c->used > c->seen ? memchr(c->in + c->seen, '\0', c->used - c->seen) : NULL;
	json_t *message;
	size_t n;

	c->seen = c->used;
	if (end == NULL)
		return NULL;
	n = (size_t)(end - c->in) + 1;
	message = json_loadb(c->in, n - 1, JSON_REJECT_DUPLICATES, NULL);
	memmove(c->in, c->in + n, c->used - n);
	c->used -= n;
	c->seen = 0;
	if (json_is_object(message))
		return message;
	*nonsense = true;
	json_decref(message);
	return NULL;
}

/* Reads what is there. False: the connection is over. */
static bool
read_more(struct client *c)
{
	ssize_t n;

	if (c->used == c->size) {
		size_t size = c->size == 0 ? 65536 : 2 * c->size;
		char *grown = size <= REPLY_MAX ? realloc(c->in, size) : NULL;

		if (grown == NULL)
			return false;
		c->in = grown;
		c->size = size;
	}
	n = recv(c->fd, c->in + c->used, c->size - c->used, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->used += (size_t)n;
	return n > 0;
}

enum client_result
client_next(struct client *c, int timeout, struct client_reply *out)
{
	int64_t deadline = timeout < 0 ? -1 : clock_ms() + timeout;
	bool nonsense = false;
	json_t *message;

	while ((message = take_message(c, &nonsense)) == NULL) {
		if (nonsense)
			return CLIENT_CLOSED;
		if (!wait_for(c->fd, POLLIN, deadline))
			return CLIENT_TIMEOUT;
		if (!read_more(c))
			return CLIENT_CLOSED;
	}
	out->message = message;
	out->error = json_string_value(json_object_get(message, "error"));
	out->parameters = json_object_get(message, "parameters");
	return CLIENT_REPLY;
}

/* ---- what is wrong -------------------------------------------------------------------------- */

int
client_complain_open(const char *path, int error)
{
	if (error == -EACCES || error == -EPERM) {
		ctl_complain("not allowed to connect to %s: %s; ask as another user", path,
		    strerror(-error));
		return CTL_NOT_PERMITTED;
	}
	ctl_complain("no portleased at %s: %s; start it, or name its socket with -c", path,
	    error == -EAGAIN ? "it does not answer" : strerror(-error));
	return CTL_NO_DAEMON;
}

int
client_complain_lost(const char *path, enum client_result result)
{
	if (result == CLIENT_TIMEOUT)
		ctl_complain("portleased at %s does not answer within %d s; see its log", path,
		    CLIENT_PATIENCE / 1000);
	else
		ctl_complain(
		    "portleased at %s has closed the connection; is it still running?", path);
	return CTL_NO_DAEMON;
}

void
client_print_problems(const json_t *problems)
{
	const json_t *p;
	size_t i;

	json_array_foreach(problems, i, p)
	{
		const char *file = row_text(p, "file"), *text = row_text(p, "text");
		long line;

		if (row_number(p, "line", &line) && line > 0)
			fprintf(stderr, "%s:%ld: %s\n", file != NULL ? file : "?", line,
			    text != NULL ? text : "?");
		else
			fprintf(stderr, "%s: %s\n", file != NULL ? file : "?",
			    text != NULL ? text : "?");
	}
}

int
client_complain_error(const struct client_reply *r, const char *wish)
{
	const char *dot = strrchr(r->error, '.');
	const char *name = dot != NULL ? dot + 1 : r->error;
	const char *forward = row_text(r->parameters, "forward");
	const char *parameter = row_text(r->parameters, "parameter");

	if (strcmp(name, "PermissionDenied") == 0) {
		ctl_complain("not permitted to %s: be root, the daemon's user, or a member of its "
			     "control-group",
		    wish);
		return CTL_NOT_PERMITTED;
	}
	if (strcmp(name, "ConfigRejected") == 0) {
		const json_t *problems = json_object_get(r->parameters, "problems");

		if (json_array_size(problems) == 0)
			ctl_complain("the configuration was not read: portleased is stopping");
		client_print_problems(problems);
		return CTL_REFUSED;
	}
	if (strcmp(name, "NoSuchForward") == 0)
		ctl_complain("there is no forward \"%s\"; portleasectl status lists them", forward);
	else if (strcmp(name, "NotOnDemand") == 0)
		ctl_complain("forward \"%s\" is mapped always: to hold it, give it on-demand = yes",
		    forward);
	else if (strcmp(name, "Conflict") == 0)
		ctl_complain("forward \"%s\" has that port already: choose another", forward);
	else if (strcmp(name, "TooManyClients") == 0)
		ctl_complain("portleased serves too many clients already; try again later");
	else if (strcmp(name, "MethodNotImplemented") == 0 || strcmp(name, "MethodNotFound") == 0)
		ctl_complain(
		    "the portleased that runs cannot %s; restart it after an update", wish);
	else if (strcmp(name, "InvalidParameter") == 0)
		ctl_complain("cannot %s: portleased does not accept \"%s\"; see portleasectl(1)",
		    wish, parameter != NULL ? parameter : "?");
	else
		ctl_complain("cannot %s: portleased says %s", wish, r->error);
	return strcmp(name, "InvalidParameter") == 0 ? CTL_USAGE : CTL_REFUSED;
}

int
client_ask(const struct ctl *ctl, const char *method, json_t *parameters, const char *wish,
    struct client_reply *out)
{
	struct client *c;
	enum client_result result = CLIENT_CLOSED;
	int error = client_open(ctl->socket, &c), status;

	if (error != 0) {
		json_decref(parameters);
		return client_complain_open(ctl->socket, error);
	}
	if (client_call(c, method, parameters, false))
		result = client_next(c, CLIENT_PATIENCE, out);
	client_close(c);
	if (result != CLIENT_REPLY)
		return client_complain_lost(ctl->socket, result);
	if (out->error == NULL)
		return CTL_DONE;
	status = client_complain_error(out, wish);
	json_decref(out->message);
	return status;
}

json_t *
client_names(const struct ctl *ctl)
{
	json_t *list;

	if (ctl->n_names == 0)
		return NULL;
	list = json_array();
	for (int i = 0; i < ctl->n_names; i++) {
		json_t *name = json_string(ctl->names[i]);

		/* What is not UTF-8 is no forward's name either. */
		(void)json_array_append_new(list, name != NULL ? name : json_string("?"));
	}
	return json_pack("{s:o}", "forwards", list);
}
