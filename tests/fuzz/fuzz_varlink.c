/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/loop.h"
#include "os/varlink.h"

#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Everything that a client may say, through a real socket, but with a loop that runs on demand: the
 * first octet says in which pieces the rest is sent, and whether the other side reads in between.
 */

struct loop_fd {
	struct loop_fd *next;
	int fd;
	bool read, write;
	void (*ready)(void *);
	void *ctx;
};

struct loop_timer {
	bool set;
	void (*due)(void *);
	void *ctx;
};

/* Takes the place of os/loop.c. */
static struct loop_fd *watched;
static struct loop_timer timer;

struct loop_fd *
loop_fd_new(struct loop *loop, int fd, void (*ready)(void *), void *ctx)
{
	struct loop_fd *f = calloc(1, sizeof(*f));

	(void)loop;
	FUZZ_CHECK(f != NULL);
	*f =
	    (struct loop_fd){ .next = watched, .fd = fd, .read = true, .ready = ready, .ctx = ctx };
	watched = f;
	return f;
}

void
loop_fd_want_read(struct loop_fd *f, bool want)
{
	f->read = want;
}

void
loop_fd_want_write(struct loop_fd *f, bool want)
{
	f->write = want;
}

void
loop_fd_free(struct loop_fd *f)
{
	struct loop_fd **at = &watched;

	if (f == NULL)
		return;
	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	free(f);
}

struct loop_timer *
loop_timer_new(struct loop *loop, void (*due)(void *), void *ctx)
{
	(void)loop;
	timer = (struct loop_timer){ .due = due, .ctx = ctx };
	return &timer;
}

void
loop_timer_set(struct loop_timer *t, mstime at)
{
	t->set = at != MSTIME_NEVER;
}

void
loop_timer_free(struct loop_timer *t)
{
	t->set = false;
}

mstime
loop_now(const struct loop *loop)
{
	(void)loop;
	return 0;
}

/* ---- a service ------------------------------------------------------------------------------ */

static void
on_echo(void *ctx, struct varlink_call *call, json_t *parameters)
{
	(void)ctx;
	varlink_reply(call, json_incref(parameters));
}

static void
on_stream(void *ctx, struct varlink_call *call, json_t *parameters)
{
	(void)parameters;
	for (int i = 0; i < 3; i++)
		varlink_reply_more(call, NULL);
	varlink_keep(call, ctx);
}

static void
on_gone(void *ctx, void *user)
{
	FUZZ_CHECK(ctx == user);
}

static const char *const parameters[] = { "a", "forwards", NULL };
static const struct varlink_method methods[] = {
	{ .name = "Echo", .parameters = parameters, .call = on_echo },
	{ .name = "Stream", .more = true, .parameters = parameters, .call = on_stream },
};
static const struct varlink_service service = { .vendor = "v",
	.product = "p",
	.version = "1",
	.url = "u",
	.interface = "a.b",
	.description = "interface a.b\n",
	.too_many = "a.b.TooMany",
	.methods = methods,
	.n_methods = 2,
	.gone = on_gone };

/* ---- the other side ------------------------------------------------------------------------- */

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static struct varlink *server;
static struct loop_fd *listener;
static int context;

static void
finish(void)
{
	varlink_free(server);
}

static void
begin(void)
{
	snprintf(
	    address.sun_path, sizeof(address.sun_path), "/tmp/portleased-fuzz.%ld", (long)getpid());
	FUZZ_CHECK(varlink_new(NULL, address.sun_path, &service, &context, &server) == 0);
	listener = watched;
	atexit(finish);
}

struct ear {
	char text[1 << 17];
	size_t n, messages;
};

/* Every message is an object that ends with a NUL, with "parameters" in it. */
static void
hear(int fd, struct ear *e)
{
	ssize_t got;
	char *end;

	while ((got = recv(fd, e->text + e->n, sizeof(e->text) - e->n, MSG_DONTWAIT)) > 0) {
		e->n += (size_t)got;
		while ((end = memchr(e->text, '\0', e->n)) != NULL) {
			size_t n = (size_t)(end - e->text);
			json_t *message = json_loadb(e->text, n, JSON_REJECT_DUPLICATES, NULL);

			FUZZ_CHECK(json_is_object(json_object_get(message, "parameters")));
			json_decref(message);
			e->messages++;
			memmove(e->text, end + 1, e->n - n - 1);
			e->n -= n + 1;
		}
		FUZZ_CHECK(e->n < sizeof(e->text));
	}
}

/* The server works until it wants nothing but what is not there. */
static void
work(void)
{
	for (unsigned round = 0; round < 100000; round++) {
		struct loop_fd *f = watched;
		char octet;

		if (timer.set) {
			timer.set = false;
			timer.due(timer.ctx);
			continue;
		}
		/* One client: it is the newest. */
		if (f == listener)
			return;
		if (!f->write && !(f->read && recv(f->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0))
			return;
		f->ready(f->ctx);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ear ear;
	size_t piece, ends = 0;
	int fd;

	if (server == NULL)
		begin();
	if (size == 0)
		return 0;
	piece = data[0] < 128 ? (size_t)data[0] + 1 : size;
	data++;
	size--;
	ear.n = ear.messages = 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	listener->ready(listener->ctx);
	for (size_t i = 0; i < size; i++)
		ends += data[i] == 0;
	while (size > 0) {
		ssize_t sent =
		    send(fd, data, piece < size ? piece : size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN)
			break;
		if (sent > 0) {
			data += sent;
			size -= (size_t)sent;
		}
		work();
		hear(fd, &ear);
	}
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 8 && watched != listener; i++) {
		work();
		hear(fd, &ear);
	}
	hear(fd, &ear);
	/* Who has said all is let go, and was told in whole messages, no more than it asked for. */
	FUZZ_CHECK(watched == listener);
	FUZZ_CHECK(ear.n == 0 && ear.messages <= 3 * ends + 1);
	close(fd);
	return 0;
}
