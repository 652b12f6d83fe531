/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/status.h"

#include "engine_io.h"

#include "proto/pcp.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The status document, octet by octet: from values, and from an engine whose gateway is a few lines
 * of PCP here.
 */

#define NOW ((mstime)1000000)

static struct netaddr
address(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(text, &a));
	return a;
}

/* What has been written, as text; ends the writing. */
static const char *
text_of(struct jsontext *j)
{
	static char text[4096];

	ck_assert(!j->broken);
	ck_assert_uint_lt(j->used, sizeof(text));
	memcpy(text, j->bytes, j->used);
	text[j->used] = '\0';
	jsontext_clear(j);
	return text;
}

static json_t *
tree_of(struct jsontext *j)
{
	json_t *tree = json_loads(text_of(j), JSON_REJECT_DUPLICATES, NULL);

	ck_assert_ptr_nonnull(tree);
	return tree;
}

static void
gateway_prints(const struct gateway_status *g, const char *wanted)
{
	struct jsontext j = { .bytes = NULL };

	status_gateway(&j, NULL, g);
	ck_assert_str_eq(text_of(&j), wanted);
}

static void
mapping_prints(const struct mapping_status *m, unsigned ports, const char *wanted)
{
	struct jsontext j = { .bytes = NULL };

	status_mapping(&j, NULL, m, NOW, ports);
	ck_assert_str_eq(text_of(&j), wanted);
}

/* ---- one row -------------------------------------------------------------------------------- */

START_TEST(gateway_known)
{
	struct gateway_status g = { .name = "default",
		.family = FAMILY_IPV4,
		.state = GATEWAY_READY,
		.has_path = true,
		.address = address("192.168.1.1"),
		.interface = "eth0",
		.local = address("192.168.1.20"),
		.mapper = MAPPER_PCP,
		.has_external = true,
		.external = address("203.0.113.7"),
		.has_epoch = true,
		.epoch = 86012,
		.rtt_us = 800,
		.reboots = 2,
		.sent = 5000000000 };

	gateway_prints(&g,
	    "{\"name\":\"default\",\"family\":\"ipv4\",\"address\":\"192.168.1.1\",\"interface\":"
	    "\"eth0\",\"local_address\":\"192.168.1.20\",\"state\":\"ready\",\"mapper\":\"pcp\","
	    "\"external_address\":\"203.0.113.7\",\"external_class\":\"public\",\"epoch\":86012,"
	    "\"rtt_ms\":0.8,\"reboots_seen\":2,\"requests_sent\":5000000000,\"last_error\":null}");
}
END_TEST

START_TEST(gateway_unknown)
{
	struct gateway_status g = { .name = "vpn",
		.family = FAMILY_IPV6,
		.state = GATEWAY_ABSENT,
		.interface = "left over",
		.rtt_us = -1 };

	gateway_prints(&g,
	    "{\"name\":\"vpn\",\"family\":\"ipv6\",\"address\":null,\"interface\":null,"
	    "\"local_address\":null,\"state\":\"absent\",\"mapper\":null,"
	    "\"external_address\":null,\"external_class\":null,\"epoch\":null,\"rtt_ms\":null,"
	    "\"reboots_seen\":0,\"requests_sent\":0,\"last_error\":null}");
}
END_TEST

START_TEST(gateway_classes)
{
	static const char *const classes[][2] = { { "10.0.0.1", "private" },
		{ "100.64.0.1", "cgnat" }, { "198.51.100.1", "public" }, { "0.0.0.0", "none" } };
	struct gateway_status g = { .name = "g", .has_external = true, .rtt_us = -1 };

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		struct jsontext j = { .bytes = NULL };
		json_t *o;

		g.external = address(classes[i][0]);
		status_gateway(&j, NULL, &g);
		o = tree_of(&j);
		ck_assert_str_eq(
		    json_string_value(json_object_get(o, "external_class")), classes[i][1]);
		json_decref(o);
	}
}
END_TEST

START_TEST(interface_that_is_not_text)
{
	struct gateway_status g = { .name = "g", .has_path = true, .interface = "\xff\xfe" };
	struct jsontext j = { .bytes = NULL };
	json_t *o;

	status_gateway(&j, NULL, &g);
	o = tree_of(&j);
	ck_assert_str_eq(
	    json_string_value(json_object_get(o, "interface")), "\xef\xbf\xbd\xef\xbf\xbd");
	json_decref(o);
}
END_TEST

static struct mapping_status
active(void)
{
	return (struct mapping_status){ .forward = "web",
		.gateway = "default",
		.mapper = MAPPER_NATPMP,
		.family = FAMILY_IPV4,
		.protocol = PROTOCOL_TCP,
		.has_internal = true,
		.internal = address("192.168.1.20"),
		.internal_port = 8080,
		.wanted_port = 80,
		.state = MAPPING_ACTIVE,
		.has_lease = true,
		.has_external = true,
		.external = address("203.0.113.7"),
		.external_port = 80,
		.lifetime = 3600,
		.expires = NOW + 3311999,
		.renews = NOW + 1510001,
		.retries = MSTIME_NEVER,
		.renewals = 3,
		.changes = 1 };
}

START_TEST(mapping_active)
{
	struct mapping_status m = active();

	mapping_prints(&m, 10,
	    "{\"forward\":\"web\",\"gateway\":\"default\",\"mapper\":\"nat-pmp\",\"family\":"
	    "\"ipv4\",\"protocol\":\"tcp\",\"internal_address\":\"192.168.1.20\","
	    "\"internal_port\":8080,\"wanted_external_port\":80,\"ports\":10,\"state\":\"active\","
	    "\"external_address\":\"203.0.113.7\",\"external_port\":80,\"lifetime\":3600,"
	    "\"expires_in\":3311,\"renews_in\":1511,\"retries_in\":null,\"renewals\":3,"
	    "\"changes\":1,\"last_error\":null}");
}
END_TEST

START_TEST(mapping_failed)
{
	struct mapping_status m = { .forward = "f",
		.gateway = "g",
		.mapper = MAPPER_PCP,
		.family = FAMILY_IPV6,
		.protocol = PROTOCOL_UDP,
		.state = MAPPING_FAILED,
		.expires = MSTIME_NEVER,
		.renews = NOW + 5000,
		.retries = NOW + 1,
		.external_port = 99,
		.lifetime = 99,
		.problem = { TROUBLE_NO_ADDRESS, MAPPER_PCP, 0 } };
	char room[128], wanted[1024];

	snprintf(wanted, sizeof(wanted),
	    "{\"forward\":\"f\",\"gateway\":\"g\",\"mapper\":\"pcp\",\"family\":\"ipv6\","
	    "\"protocol\":\"udp\",\"internal_address\":null,\"internal_port\":null,"
	    "\"wanted_external_port\":null,\"ports\":1,\"state\":\"failed\","
	    "\"external_address\":null,\"external_port\":null,\"lifetime\":null,"
	    "\"expires_in\":null,\"renews_in\":null,\"retries_in\":1,\"renewals\":0,"
	    "\"changes\":0,\"last_error\":\"%s\"}",
	    problem_text(&m.problem, room, sizeof(room)));
	mapping_prints(&m, 1, wanted);
}
END_TEST

/* What can be done about it depends on the family; a number without a name says something, too. */
START_TEST(words)
{
	struct mapping_status m = { .family = FAMILY_IPV4,
		.problem = { TROUBLE_REFUSED, MAPPER_PCP, PCP_NO_RESOURCES } };
	struct gateway_status g = { .family = FAMILY_IPV6,
		.problem = { TROUBLE_UNSUPPORTED, MAPPER_PCP, 0 } };
	char room[PROBLEM_ROOM];

	ck_assert_ptr_nonnull(strstr(mapping_problem_text(&m, room, sizeof(room)), "another NAT"));
	m.family = FAMILY_IPV6;
	ck_assert_ptr_null(strstr(mapping_problem_text(&m, room, sizeof(room)), "NAT"));
	ck_assert_ptr_nonnull(strstr(mapping_problem_text(&m, room, sizeof(room)), "firewall"));
	ck_assert_ptr_nonnull(strstr(gateway_problem_text(&g, room, sizeof(room)), "by hand"));
	g.problem = (struct problem){ TROUBLE_SILENT, MAPPER_NONE, 0 };
	ck_assert_ptr_null(strstr(gateway_problem_text(&g, room, sizeof(room)), "NAT-PMP"));
	g.family = FAMILY_IPV4;
	ck_assert_ptr_nonnull(strstr(gateway_problem_text(&g, room, sizeof(room)), "NAT-PMP"));
	m.problem.result = 15;
	ck_assert_ptr_nonnull(
	    strstr(mapping_problem_text(&m, room, sizeof(room)), "login for PCP (result 15)"));
	m.problem.result = 200;
	ck_assert_ptr_nonnull(
	    strstr(mapping_problem_text(&m, room, sizeof(room)), "(PCP result 200)"));
	m.problem.mapper = MAPPER_NATPMP;
	m.problem.result = 4242;
	ck_assert_ptr_nonnull(
	    strstr(mapping_problem_text(&m, room, sizeof(room)), "(NAT-PMP result 4242)"));
}
END_TEST

START_TEST(times)
{
	static const struct {
		mstime expires, renews;
		json_int_t expires_in, renews_in; /* -1: null */
	} cases[] = {
		{ NOW, NOW, 0, 0 },
		{ NOW - 5000, NOW - 1, 0, 0 },
		{ NOW + 999, NOW + 999, 0, 1 },
		{ NOW + 1000, NOW + 1000, 1, 1 },
		{ MSTIME_NEVER, MSTIME_NEVER, -1, -1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mapping_status m = active();
		struct jsontext j = { .bytes = NULL };
		json_t *o, *expires, *renews;

		m.expires = cases[i].expires;
		m.renews = cases[i].renews;
		status_mapping(&j, NULL, &m, NOW, 1);
		o = tree_of(&j);
		expires = json_object_get(o, "expires_in");
		renews = json_object_get(o, "renews_in");
		ck_assert_int_eq(
		    json_is_null(expires) ? -1 : json_integer_value(expires), cases[i].expires_in);
		ck_assert_int_eq(
		    json_is_null(renews) ? -1 : json_integer_value(renews), cases[i].renews_in);
		json_decref(o);
	}
}
END_TEST

START_TEST(clock_text)
{
	struct timespec t = { .tv_sec = 1795327200, .tv_nsec = 7999999 };
	char room[STATUS_TIME_LEN];

	ck_assert_str_eq(status_time(&t, false, room), "2026-11-22T06:00:00Z");
	ck_assert_str_eq(status_time(&t, true, room), "2026-11-22T06:00:00.007Z");
}
END_TEST

/* ---- from an engine ------------------------------------------------------------------------- */

struct stage {
	struct engine *engine;
	uint8_t packet[128];
	size_t n;     /* 0: nothing was sent */
	uint16_t odd; /* this internal port gets another external one */
	uint16_t refused;
};

static int
io_send(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct stage *s = ctx;

	(void)path;
	ck_assert_uint_le(n, sizeof(s->packet));
	memcpy(s->packet, bytes, n);
	s->n = n;
	return 0;
}

static const struct engine_io io = {
	.send = io_send, .random = fixed_random, .nonce = fixed_nonce
};

/* RFC 6887 section 11.1: the request, turned round, with what the gateway adds. */
static void
answer(struct stage *s, mstime now)
{
	static const uint8_t external[4] = { 203, 0, 113, 7 };
	uint8_t reply[60] = { 0 };
	uint16_t internal = (uint16_t)(s->packet[40] << 8 | s->packet[41]);

	ck_assert_uint_ge(s->n, 60);
	ck_assert_uint_eq(s->packet[0], 2);
	ck_assert_uint_eq(s->packet[1], 1);
	memcpy(reply, s->packet, 60);
	s->n = 0;
	reply[1] = 0x81;
	reply[2] = 0;
	reply[3] = internal == s->refused ? 2 : 0;
	memset(reply + 8, 0, 16);
	reply[10] = 0x03; /* epoch 1000 */
	reply[11] = 0xe8;
	memset(reply + 44, 0, 10);
	reply[54] = reply[55] = 0xff;
	memcpy(reply + 56, external, 4);
	if (internal == s->odd) {
		reply[42] = 0x10;
		reply[43] = 0;
	}
	engine_datagram(s->engine, now, 1, reply, sizeof(reply));
}

static struct engine *
engine_with(struct stage *s, const struct forward_spec *forwards, size_t n)
{
	static const struct engine_settings settings = { 1800, 5, 3 };
	static const struct gateway_spec gateway = {
		.name = "g", .mappers = { MAPPER_PCP }, .n_mappers = 1, .probe_interval = 60
	};

	s->engine = engine_new(&io, s, &settings);
	ck_assert_ptr_nonnull(s->engine);
	ck_assert_int_eq(engine_gateway(s->engine, NOW, &gateway), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(engine_want(s->engine, NOW, &forwards[i]), 0);
	return s->engine;
}

static void
path_up(struct stage *s)
{
	struct path_info info = { .gateway = "g",
		.family = FAMILY_IPV4,
		.ifindex = 2,
		.interface = "eth0",
		.address = address("192.168.1.1"),
		.local = address("192.168.1.20"),
		.on_link = true };

	ck_assert_int_eq(engine_path_up(s->engine, NOW, 1, &info), 0);
	for (int i = 0; i < 100 && s->n > 0; i++)
		answer(s, NOW + i);
}

static const struct forward_spec range = { .name = "range",
	.gateway = "g",
	.tcp = true,
	.udp = true,
	.ipv4 = true,
	.internal_port = 6000,
	.count = 5,
	.external = EXTERNAL_SAME,
	.lifetime = 3600 };

/* "protocol first-internal first-external ports state", a line for each row. */
static void
rows_are(struct stage *s, const char *wanted)
{
	struct jsontext j = { .bytes = NULL };
	bool all = status_forward(&j, NULL, s->engine, NOW + 200, "range");
	json_t *rows = tree_of(&j), *row;
	char got[1024] = "";
	size_t i, n = 0;

	json_array_foreach(rows, i, row) n += (size_t)snprintf(got + n, sizeof(got) - n,
	    "%s %d %d %d %s\n", json_string_value(json_object_get(row, "protocol")),
	    (int)json_integer_value(json_object_get(row, "internal_port")),
	    (int)json_integer_value(json_object_get(row, "external_port")),
	    (int)json_integer_value(json_object_get(row, "ports")),
	    json_string_value(json_object_get(row, "state")));
	ck_assert_str_eq(got, wanted);
	ck_assert(all == (strstr(wanted, "active") != NULL && strstr(wanted, "failed") == NULL));
	json_decref(rows);
	engine_free(s->engine);
}

START_TEST(range_that_waits)
{
	struct stage s = { .n = 0 };

	engine_with(&s, &range, 1);
	rows_are(&s, "tcp 6000 0 5 waiting\nudp 6000 0 5 waiting\n");
}
END_TEST

START_TEST(range_in_step)
{
	struct stage s = { .n = 0 };

	engine_with(&s, &range, 1);
	path_up(&s);
	rows_are(&s, "tcp 6000 6000 5 active\nudp 6000 6000 5 active\n");
}
END_TEST

START_TEST(range_out_of_step)
{
	struct stage s = { .odd = 6002, .refused = 6004 };
	struct forward_spec tcp = range;

	tcp.udp = false;
	engine_with(&s, &tcp, 1);
	path_up(&s);
	rows_are(&s,
	    "tcp 6000 6000 2 active\ntcp 6002 4096 1 active\ntcp 6003 6003 1 active\n"
	    "tcp 6004 0 1 failed\n");
}
END_TEST

static json_t *
document_of(struct stage *s, const struct status_head *head, const json_t *names)
{
	struct jsontext j = { .bytes = NULL };

	jsontext_open(&j, NULL, '{');
	status_document(&j, s->engine, NOW + 1000, head, names);
	jsontext_close(&j, '}');
	return tree_of(&j);
}

START_TEST(document)
{
	static const struct status_head head = {
		.version = "0.1.0", .started = "2026-11-22T06:00:00Z", .pid = 4711, .ready = true
	};
	struct stage s = { .n = 0 };
	struct forward_spec forwards[2] = { range, range };
	json_t *whole, *names;
	char *text;
	uint64_t stamp;

	forwards[0].udp = false;
	forwards[1].name = "other";
	forwards[1].udp = false;
	forwards[1].internal_port = 7000;
	engine_with(&s, forwards, 2);
	stamp = engine_stamp(s.engine);
	path_up(&s);
	ck_assert(engine_stamp(s.engine) != stamp);
	whole = document_of(&s, &head, NULL);
	names = json_pack("{s:b}", "other", 1);
	ck_assert_uint_eq(json_array_size(json_object_get(whole, "mappings")), 2);
	json_decref(whole);
	whole = document_of(&s, &head, names);
	json_decref(names);
	json_object_del(json_array_get(json_object_get(whole, "gateways"), 0), "rtt_ms");
	json_object_del(json_array_get(json_object_get(whole, "gateways"), 0), "epoch");
	text = json_dumps(whole, JSON_COMPACT);
	ck_assert_str_eq(text,
	    "{\"version\":\"0.1.0\",\"pid\":4711,\"started\":\"2026-11-22T06:00:00Z\",\"ready\":"
	    "true,\"gateways\":[{\"name\":\"g\",\"family\":\"ipv4\",\"address\":\"192.168.1.1\","
	    "\"interface\":\"eth0\",\"local_address\":\"192.168.1.20\",\"state\":\"ready\","
	    "\"mapper\":\"pcp\",\"external_address\":\"203.0.113.7\",\"external_class\":\"public\","
	    "\"reboots_seen\":0,\"requests_sent\":10,\"last_error\":null}],\"mappings\":[{"
	    "\"forward\":\"other\",\"gateway\":\"g\",\"mapper\":\"pcp\",\"family\":\"ipv4\","
	    "\"protocol\":\"tcp\",\"internal_address\":\"192.168.1.20\",\"internal_port\":7000,"
	    "\"wanted_external_port\":7000,\"ports\":5,\"state\":\"active\",\"external_address\":"
	    "\"203.0.113.7\",\"external_port\":7000,\"lifetime\":3600,\"expires_in\":3599,"
	    "\"renews_in\":1800,\"retries_in\":null,\"renewals\":0,\"changes\":0,\"last_error\":"
	    "null}]}");
	free(text);
	json_decref(whole);
	engine_free(s.engine);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("status");
	TCase *tc = tcase_create("status");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, gateway_known);
	tcase_add_test(tc, gateway_unknown);
	tcase_add_test(tc, gateway_classes);
	tcase_add_test(tc, interface_that_is_not_text);
	tcase_add_test(tc, mapping_active);
	tcase_add_test(tc, mapping_failed);
	tcase_add_test(tc, times);
	tcase_add_test(tc, clock_text);
	tcase_add_test(tc, range_that_waits);
	tcase_add_test(tc, words);
	tcase_add_test(tc, range_in_step);
	tcase_add_test(tc, range_out_of_step);
	tcase_add_test(tc, document);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
