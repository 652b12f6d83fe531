/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/jsontext.h"
#include "os/loop.h"
#include "os/varlink.h"
#include "os/varlink_internal.h"

#include "folder.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

/*
 * A server and its clients in one process: the loop is run until nothing happens any more. Replies
 * are compared octet by octet.
 */

struct stand {
	struct loop *loop;
	struct loop_timer *timer;
	struct varlink *server;
	struct varlink_call *kept; /* of Stream */
	unsigned calls, gone;
};

static struct stand *stand;

static void
on_echo(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct stand *s = ctx;
	json_t *text = json_object_get(parameters, "text");

	s->calls++;
	if (json_is_string(text))
		varlink_reply(call, json_pack("{s:O}", "text", text));
	else
		varlink_error_parameter(call, "text");
}

static void
on_stream(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct stand *s = ctx;

	(void)parameters;
	s->calls++;
	s->kept = call;
	varlink_keep(call, s);
}

static void
on_large(void *ctx, struct varlink_call *call, json_t *parameters)
{
	static char text[1000001];

	(void)ctx;
	(void)parameters;
	memset(text, 'x', sizeof(text) - 1);
	varlink_reply(call, json_pack("{s:s}", "text", text));
}

static void
on_gone(void *ctx, void *user)
{
	struct stand *s = ctx;

	ck_assert_ptr_eq(user, s);
	s->gone++;
	s->kept = NULL;
}

static const char *const text_parameter[] = { "text", NULL };
static const struct varlink_method methods[] = {
	{ .name = "Echo", .parameters = text_parameter, .call = on_echo },
	{ .name = "Stream", .more = true, .call = on_stream },
	{ .name = "Large", .call = on_large },
};
static const struct varlink_service service = { .vendor = "v",
	.product = "p",
	.version = "1",
	.url = "u",
	.interface = "a.b",
	.description = "interface a.b\n",
	.too_many = "a.b.TooMany",
	.methods = methods,
	.n_methods = 3,
	.gone = on_gone };

static void
stop(void *ctx)
{
	loop_stop(ctx);
}

/* Lets the server work for a moment of its own time. */
static void
run(void)
{
	loop_timer_set(stand->timer, loop_now(stand->loop) + 20);
	ck_assert_int_eq(loop_run(stand->loop), 0);
}

static void
set_up(void)
{
	folder_make();
	stand = calloc(1, sizeof(*stand));
	stand->loop = loop_new();
	ck_assert_ptr_nonnull(stand->loop);
	stand->timer = loop_timer_new(stand->loop, stop, stand->loop);
	ck_assert_int_eq(
	    varlink_new(stand->loop, in_folder("s"), &service, stand, &stand->server), 0);
}

static void
tear_down(void)
{
	varlink_free(stand->server);
	loop_timer_free(stand->timer);
	loop_free(stand->loop);
	free(stand);
	folder_remove();
}

static int
enter(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	strcpy(address.sun_path, in_folder("s"));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
say(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			run();
			continue;
		}
		bytes += sent;
		n -= (size_t)sent;
	}
}

/* A request with its NUL. */
static void
ask(int fd, const char *text)
{
	say(fd, text, strlen(text) + 1);
}

/* All that has come, with a visible end for each message: "!" for the end of the connection. */
static const char *
heard(int fd)
{
	static char room[1 << 16];
	size_t n = 0;

	run();
	for (;;) {
		ssize_t got = recv(fd, room + n, sizeof(room) - 2 - n, MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			break;
		if (got <= 0) {
			room[n++] = '!';
			break;
		}
		n += (size_t)got;
	}
	for (size_t i = 0; i < n; i++)
		if (room[i] == '\0')
			room[i] = '|';
	room[n] = '\0';
	return room;
}

#define INVALID(name)                                                                        \
	"{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":" \
	"\"" name "\"}}|"
#define ECHO(text) "{\"method\":\"a.b.Echo\",\"parameters\":{\"text\":\"" text "\"}}"
#define ECHOED(text) "{\"parameters\":{\"text\":\"" text "\"}}|"

/* ---- requests ------------------------------------------------------------------------------- */

static const struct {
	const char *request, *answer;
} exchanges[] = {
	{ ECHO("hello"), ECHOED("hello") },
	{ "{\"method\":\"org.varlink.service.GetInfo\"}",
	    "{\"parameters\":{\"vendor\":\"v\",\"product\":\"p\",\"version\":\"1\",\"url\":\"u\","
	    "\"interfaces\":[\"org.varlink.service\",\"a.b\"]}}|" },
	{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
	  "{\"interface\":\"a.b\"}}",
	    "{\"parameters\":{\"description\":\"interface a.b\\n\"}}|" },
	{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
	  "{\"interface\":\"c\"}}",
	    "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
	    "\"c\"}}|" },
	{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\"}", INVALID("interface") },
	{ "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{\"x\":1}}", INVALID("x") },
	{ "{\"method\":\"a.b.Nix\"}",
	    "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":"
	    "\"a.b.Nix\"}}|" },
	{ "{\"method\":\"a.bc.Echo\"}",
	    "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":"
	    "\"a.bc\"}}|" },
	{ "{\"method\":\"a.b.Stream\"}",
	    "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}|" },
	{ "{\"method\":\"a.b.Echo\"}", INVALID("text") },
	{ "{\"method\":\"a.b.Echo\",\"parameters\":null}", INVALID("text") },
	{ "{\"method\":\"a.b.Echo\",\"parameters\":{\"text\":\"x\",\"y\":1}}", INVALID("y") },
	{ "{\"method\":\"a.b.Echo\",\"parameters\":[]}", INVALID("parameters") },
	{ "{\"method\":\"a.b.Echo\",\"upgrade\":true}", INVALID("upgrade") },
	{ "{\"method\":\"a.b.Echo\",\"more\":1}", INVALID("more") },
	{ "{\"method\":\"a.b.Echo\",\"oneway\":\"yes\"}", INVALID("oneway") },
	{ "{\"method\":\"Echo\"}", INVALID("method") },
	{ "{\"method\":7}", INVALID("method") },
	{ "{}", INVALID("method") },
	{ "", INVALID("message") },
	{ "[]", INVALID("message") },
	{ "nonsense", INVALID("message") },
	{ "{\"method\":", INVALID("message") },
	{ "{\"method\":\"a.b.Echo\"}{}", INVALID("message") },
	{ "{\"method\":\"a.b.Echo\",\"method\":\"a.b.Echo\"}", INVALID("message") },
	{ "{\"method\":\"\xff\"}", INVALID("message") },
	{ "{\"method\":\"a.b.Echo\",\"parameters\":{\"text\":\"x\"},\"oneway\":true}", "" },
	{ "{\"method\":\"a.b.Nix\",\"oneway\":true}", "" },
	{ "{\"method\":\"a.b.Stream\",\"oneway\":true,\"more\":true}", "" },
};

START_TEST(requests)
{
	int fd = enter();

	ask(fd, exchanges[_i].request);
	ck_assert_str_eq(heard(fd), exchanges[_i].answer);
	/* Whatever it was, the connection is as good as before. */
	ask(fd, ECHO("next"));
	ck_assert_str_eq(heard(fd), ECHOED("next"));
	close(fd);
}
END_TEST

START_TEST(framing)
{
	static const char request[] = ECHO("x");
	int fd = enter();

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		say(fd, request + i, 1);
		ck_assert_str_eq(heard(fd), "");
	}
	say(fd, "", 1);
	ck_assert_str_eq(heard(fd), ECHOED("x"));
	say(fd, ECHO("1") "\0" ECHO("2") "\0" ECHO("3"), 3 * strlen(ECHO("1")) + 2);
	ck_assert_str_eq(heard(fd), ECHOED("1") ECHOED("2"));
	say(fd, "", 1);
	ck_assert_str_eq(heard(fd), ECHOED("3"));
	close(fd);
}
END_TEST

/* 65536 octets are a request, 65537 are none. */
START_TEST(sizes)
{
	static char text[VARLINK_REQUEST_MAX + 2];
	int fd = enter();
	size_t n = (size_t)snprintf(text, sizeof(text), "{\"method\":\"a.b.Echo\"}");

	memset(text + n, ' ', sizeof(text) - n);
	say(fd, text, VARLINK_REQUEST_MAX);
	say(fd, "", 1);
	ck_assert_str_eq(heard(fd), INVALID("text"));
	say(fd, text, VARLINK_REQUEST_MAX + 1);
	ck_assert_str_eq(heard(fd), INVALID("message") "!");
	close(fd);
}
END_TEST

START_TEST(nesting)
{
	static const struct {
		const char *text;
		bool shallow;
	} cases[] = {
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", true },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", false },
		{ "{{{{{{{{{{{{{{{{[[[[[[[[[[[[[[[[]", true },
		{ "{{{{{{{{{{{{{{{{[[[[[[[[[[[[[[[[{", false },
		{ "]]]]]]]]][[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", true },
		{ "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", true },
		{ "\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", true },
		{ "\"\\\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", false },
		{ "\"\\", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(
		    varlink_is_shallow(cases[i].text, strlen(cases[i].text)) == cases[i].shallow,
		    "%s", cases[i].text);
}
END_TEST

/* ---- calls that go on ----------------------------------------------------------------------- */

#define STREAM "{\"method\":\"a.b.Stream\",\"more\":true}"

START_TEST(stream)
{
	int fd = enter();

	ask(fd, STREAM);
	ask(fd, ECHO("later"));
	ck_assert_str_eq(heard(fd), "");
	ck_assert_uint_eq(stand->calls, 1);
	varlink_reply_more(stand->kept, json_pack("{s:i}", "n", 1));
	varlink_reply_more(stand->kept, NULL);
	ck_assert_str_eq(heard(fd),
	    "{\"parameters\":{\"n\":1},\"continues\":true}|"
	    "{\"parameters\":{},\"continues\":true}|");
	varlink_error(stand->kept, "a.b.Over", json_pack("{s:s}", "why", "x"));
	ck_assert_str_eq(
	    heard(fd), "{\"error\":\"a.b.Over\",\"parameters\":{\"why\":\"x\"}}|" ECHOED("later"));
	close(fd);
	run();
	ck_assert_uint_eq(stand->gone, 0); /* it had ended before */
}
END_TEST

START_TEST(stream_ends_with_its_client)
{
	int fd = enter();

	ask(fd, STREAM);
	run();
	ck_assert_ptr_nonnull(stand->kept);
	shutdown(fd, _i == 0 ? SHUT_RDWR : SHUT_WR);
	run();
	ck_assert_uint_eq(stand->gone, 1);
	close(fd);
}
END_TEST

START_TEST(one_text_for_many)
{
	struct varlink_text *t = varlink_text_new();
	int a = enter(), b = enter();
	struct varlink_call *first;

	ask(a, STREAM);
	run();
	first = stand->kept;
	ask(b, STREAM);
	run();
	jsontext_thousandths(varlink_text_begin(t, NULL), "x", 800);
	varlink_text_end(t, true);
	jsontext_null(varlink_text_begin(t, "a.b.E"), "y");
	varlink_text_end(t, true);
	varlink_send(first, t, false);
	varlink_send(stand->kept, t, false);
	varlink_text_free(t);
	for (int i = 0; i < 2; i++) {
		ck_assert_str_eq(heard(i == 0 ? a : b),
		    "{\"parameters\":{\"x\":0.8},\"continues\":true}|"
		    "{\"error\":\"a.b.E\",\"parameters\":{\"y\":null},\"continues\":true}|");
		close(i == 0 ? a : b);
	}
	run();
}
END_TEST

/* Each is told 1 KiB at a time, and does not read. */
START_TEST(reader_that_is_behind)
{
	static char text[1025];
	int fd = enter();
	unsigned sent = 0;

	memset(text, 'x', sizeof(text) - 1);
	ask(fd, STREAM);
	run();
	while (stand->kept != NULL && sent < 4096) {
		varlink_reply_more(stand->kept, json_pack("{s:s}", "text", text));
		sent++;
		if (sent % 64 == 0)
			run();
	}
	ck_assert_uint_eq(stand->gone, 1);
	/* What the kernel holds, and 256 KiB. */
	ck_assert_uint_gt(sent, VARLINK_BEHIND_MAX / 1100);
	ck_assert_uint_lt(sent, 2048);
	close(fd);
}
END_TEST

/* One answer may be of any size; the next request waits until it has been taken. */
START_TEST(large_answers)
{
	static char room[1 << 20];
	int fd = enter();
	size_t total = 0, ends = 0;

	for (int i = 0; i < 3; i++)
		ask(fd, "{\"method\":\"a.b.Large\"}");
	for (int round = 0; round < 10000 && ends < 3; round++) {
		ssize_t n = recv(fd, room, sizeof(room), MSG_DONTWAIT);

		if (n < 0) {
			run();
			continue;
		}
		ck_assert_int_gt(n, 0);
		total += (size_t)n;
		for (ssize_t i = 0; i < n; i++)
			ends += room[i] == '\0';
	}
	ck_assert_uint_eq(ends, 3);
	ck_assert_uint_eq(total, 3 * (1000000 + strlen("{\"parameters\":{\"text\":\"\"}}") + 1));
	close(fd);
}
END_TEST

/* ---- clients -------------------------------------------------------------------------------- */

START_TEST(half_closed)
{
	int fd = enter();

	say(fd,
	    ECHO("1") "\0" ECHO("2") "\0"
				     "{\"meth",
	    2 * strlen(ECHO("1")) + 2 + 6);
	shutdown(fd, SHUT_WR);
	ck_assert_str_eq(heard(fd), ECHOED("1") ECHOED("2") "!");
	close(fd);
}
END_TEST

START_TEST(gone_before_the_answer)
{
	int fd;

	for (int i = 0; i < 20; i++) {
		fd = enter();
		for (int k = 0; k < 50; k++)
			ask(fd, ECHO("x"));
		close(fd);
	}
	run();
	fd = enter();
	ask(fd, ECHO("y"));
	ck_assert_str_eq(heard(fd), ECHOED("y"));
	close(fd);
}
END_TEST

START_TEST(clients_of_one_user)
{
	int fds[VARLINK_CLIENTS_PER_UID], extra;

	for (unsigned i = 0; i < VARLINK_CLIENTS_PER_UID; i++) {
		fds[i] = enter();
		ask(fds[i], ECHO("x"));
		ck_assert_str_eq(heard(fds[i]), ECHOED("x"));
	}
	extra = enter();
	ck_assert_str_eq(heard(extra), "{\"error\":\"a.b.TooMany\",\"parameters\":{}}|!");
	close(extra);
	close(fds[3]);
	run();
	fds[3] = enter();
	ask(fds[3], ECHO("y"));
	ck_assert_str_eq(heard(fds[3]), ECHOED("y"));
	for (unsigned i = 0; i < VARLINK_CLIENTS_PER_UID; i++)
		close(fds[i]);
}
END_TEST

START_TEST(groups)
{
	gid_t mine[64];
	int n = getgroups(64, mine), fd = enter();

	ask(fd, STREAM);
	run();
	ck_assert_uint_eq(varlink_peer_uid(stand->kept), getuid());
	ck_assert(varlink_peer_in_group(stand->kept, getgid()));
	for (int i = 0; i < n; i++)
		ck_assert(varlink_peer_in_group(stand->kept, mine[i]));
	ck_assert(!varlink_peer_in_group(stand->kept, 54321));
	close(fd);
	run();
}
END_TEST

/* ---- the file ------------------------------------------------------------------------------- */

START_TEST(socket_file)
{
	struct varlink *other;
	char path[200] = "";

	ck_assert_uint_eq(file_mode("s"), 0666);
	ck_assert_int_eq(
	    varlink_new(stand->loop, in_folder("s"), &service, stand, &other), -EADDRINUSE);
	file_make("f", "x", 1);
	ck_assert_int_eq(
	    varlink_new(stand->loop, in_folder("f"), &service, stand, &other), -EEXIST);
	file_equals("f", "x", 1);
	memset(path, 'x', sizeof(path) - 1);
	ck_assert_int_eq(varlink_new(stand->loop, path, &service, stand, &other), -ENAMETOOLONG);
	ck_assert_int_eq(
	    varlink_new(stand->loop, in_folder("no/s"), &service, stand, &other), -ENOENT);
}
END_TEST

START_TEST(stale_socket)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct varlink *other;

	strcpy(address.sun_path, in_folder("t"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	ck_assert_int_eq(varlink_new(stand->loop, in_folder("t"), &service, stand, &other), 0);
	ck_assert_uint_eq(file_mode("t"), 0666);
	varlink_free(other);
	ck_assert_int_eq(access(in_folder("t"), F_OK), -1);
	/* Not ours any more: it stays. */
	ck_assert_int_eq(varlink_new(stand->loop, in_folder("t"), &service, stand, &other), 0);
	ck_assert_int_eq(unlink(in_folder("t")), 0);
	file_make("t", "x", 1);
	varlink_free(other);
	file_equals("t", "x", 1);
}
END_TEST

START_TEST(end_with_clients)
{
	int fd = enter();

	ask(fd, STREAM);
	run();
	varlink_reply_more(stand->kept, NULL);
	varlink_free(stand->server);
	stand->server = NULL;
	ck_assert_uint_eq(stand->gone, 1);
	ck_assert_str_eq(heard(fd), "{\"parameters\":{},\"continues\":true}|!");
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("varlink");
	TCase *tc = tcase_create("varlink");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, requests, 0, (int)(sizeof(exchanges) / sizeof(exchanges[0])));
	tcase_add_test(tc, framing);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, nesting);
	tcase_add_test(tc, stream);
	tcase_add_loop_test(tc, stream_ends_with_its_client, 0, 2);
	tcase_add_test(tc, one_text_for_many);
	tcase_add_test(tc, reader_that_is_behind);
	tcase_add_test(tc, large_answers);
	tcase_add_test(tc, half_closed);
	tcase_add_test(tc, gone_before_the_answer);
	tcase_add_test(tc, clients_of_one_user);
	tcase_add_test(tc, groups);
	tcase_add_test(tc, socket_file);
	tcase_add_test(tc, stale_socket);
	tcase_add_test(tc, end_with_clients);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
