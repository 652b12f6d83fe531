/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "command.h"
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
	struct client *next;
	int fd;
	char line[16384];
	size_t len;
	bool gone;
};

static bool
make_address(const char *path, struct sockaddr_un *out)
{
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(out->sun_path))
		return false;
	strcpy(out->sun_path, path);
	return true;
}

bool
control_open(struct gw *gw, const char *path, struct text *error)
{
	struct sockaddr_un sun;
	int fd;

	if (!make_address(path, &sun)) {
		text_add(error, "control %s: the path is too long", path);
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(path); /* of a gateway that was killed */
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 8) < 0) {
		text_add(error, "control %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	gw->control_fd = fd;
	gw->control_path = path;
	return true;
}

size_t
control_poll(const struct gw *gw, struct pollfd *p)
{
	size_t n = 0;

	if (gw->control_fd < 0)
		return 0;
	for (const struct client *c = gw->clients; c != NULL; c = c->next)
		p[n++] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
	/* With too many of them the next one waits in the backlog. */
	if (n < CONTROL_CLIENTS)
		p[n++] = (struct pollfd){ .fd = gw->control_fd, .events = POLLIN };
	return n;
}

/* The answers are short and the reader waits for them: a full buffer means he is gone. */
static void
answer(struct client *c, bool ok, const struct text *out)
{
	struct text line = { 0 };

	if (!ok)
		text_add(&line, "error: %s\n", out->len > 0 ? out->p : "failed");
	else
		text_add(&line, "%s\n", out->len > 0 ? out->p : "ok");
	for (size_t at = 0; at < line.len && !c->gone;) {
		ssize_t n = send(c->fd, line.p + at, line.len - at, MSG_NOSIGNAL);

		if (n < 0)
			c->gone = true;
		else
			at += (size_t)n;
	}
	text_free(&line);
}

static void
run_lines(struct gw *gw, struct client *c)
{
	char *start = c->line, *end;

	while ((end = memchr(start, '\n', c->len - (size_t)(start - c->line))) != NULL) {
		struct text out = { 0 };
		bool ok;

		*end = '\0';
		if (end > start && end[-1] == '\r')
			end[-1] = '\0';
		ok = command_run(gw, start, &out);
		answer(c, ok, &out);
		text_free(&out);
		start = end + 1;
	}
	c->len -= (size_t)(start - c->line);
	memmove(c->line, start, c->len);
}

static void
read_client(struct gw *gw, struct client *c)
{
	struct text out = { 0 };
	ssize_t n = recv(c->fd, c->line + c->len, sizeof(c->line) - 1 - c->len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* the last line may come without its end */
		if (n == 0 && c->len > 0) {
			c->line[c->len++] = '\n';
			run_lines(gw, c);
		}
		c->gone = true;
		return;
	}
	c->len += (size_t)n;
	run_lines(gw, c);
	if (c->len == sizeof(c->line) - 1) {
		text_add(&out, "the line is too long");
		answer(c, false, &out);
		text_free(&out);
		c->gone = true;
	}
}

static void
accept_client(struct gw *gw)
{
	int big = 1 << 20;
	struct client *c;
	int fd = accept4(gw->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big)); /* a table is long */
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		abort();
	c->fd = fd;
	c->next = gw->clients;
	gw->clients = c;
}

void
control_serve(struct gw *gw, const struct pollfd *p, size_t n)
{
	struct client **link = &gw->clients;

	for (size_t i = 0; i < n; i++) {
		if ((p[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0 || p[i].fd == gw->control_fd)
			continue;
		for (struct client *c = gw->clients; c != NULL; c = c->next) {
			if (c->fd == p[i].fd)
				read_client(gw, c);
		}
	}
	while (*link != NULL) {
		struct client *c = *link;

		if (c->gone) {
			*link = c->next;
			close(c->fd);
			free(c);
		} else
			link = &c->next;
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i].fd == gw->control_fd && (p[i].revents & POLLIN) != 0)
			accept_client(gw);
	}
}

void
control_close(struct gw *gw)
{
	while (gw->clients != NULL) {
		struct client *c = gw->clients;

		gw->clients = c->next;
		close(c->fd);
		free(c);
	}
	if (gw->control_fd >= 0) {
		close(gw->control_fd);
		(void)unlink(gw->control_path);
		gw->control_fd = -1;
	}
}

int
control_ask(const char *path, const char *line)
{
	struct sockaddr_un sun;
	struct text text = { 0 };
	char answer[4096], first = '\0';
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !make_address(path, &sun) ||
	    connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		fprintf(stderr, "fakegw: %s: %s\n", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return 2;
	}
	text_add(&text, "%s\n", line);
	(void)send(fd, text.p, text.len, MSG_NOSIGNAL);
	text_free(&text);
	(void)shutdown(fd, SHUT_WR);
	while ((n = recv(fd, answer, sizeof(answer), 0)) > 0) {
		if (first == '\0')
			first = answer[0];
		fwrite(answer, 1, (size_t)n, stdout);
	}
	close(fd);
	return first == '\0' ? 2 : first == 'e' ? 1 : 0;
}
