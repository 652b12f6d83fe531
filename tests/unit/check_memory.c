/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/memory_json.h"

#include "engine_io.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * The document that a restart begins with: golden text in, and what the engine made of it out. An
 * engine without a path tells what it remembers as it is.
 */

#define NOW ((mstime)5000000)
#define BOOT "4c5c0e4e-7b1f-4d2e-9f58-0a4e1f2f9d11"

static const struct engine_io io = {
	.send = lost_send, .random = fixed_random, .nonce = fixed_nonce
};

static struct engine *
engine_make(void)
{
	static const struct engine_settings settings = { 1800, 5, 3 };
	struct engine *e = engine_new(&io, NULL, &settings);

	ck_assert_ptr_nonnull(e);
	return e;
}

/* The document with one gateway and one mapping, of which `mapping` are the last members. */
static const char *
document(const char *mapping)
{
	static char text[4000];

	snprintf(text, sizeof(text),
	    "{\n \"format\": \"portleased-state-1\",\n \"boot_id\": \"" BOOT "\",\n"
	    " \"gateways\": [\n  {\n"
	    "   \"gateway\": \"default\",\n   \"interface\": \"eth0\",\n"
	    "   \"family\": \"ipv4\",\n   \"address\": \"192.168.1.1\",\n"
	    "   \"local_address\": \"192.168.1.20\",\n"
	    "   \"link_address\": \"02:00:5e:10:00:0a\",\n   \"mapper\": \"pcp\",\n"
	    "   \"pcp_spoken\": true,\n"
	    "   \"pcp_epoch\": {\n    \"value\": 4711,\n    \"at\": 4999000\n   },\n"
	    "   \"nat_pmp_epoch\": null\n  }\n ],\n"
	    " \"mappings\": [\n  {\n"
	    "   \"forward\": \"web\",\n   \"gateway\": \"default\",\n"
	    "   \"interface\": \"eth0\",\n   \"family\": \"ipv4\",\n"
	    "   \"address\": \"192.168.1.1\",\n   \"local_address\": \"192.168.1.20\",\n"
	    "   \"link_address\": \"02:00:5e:10:00:0a\",\n   \"mapper\": \"pcp\",\n%s\n  }\n ]\n}",
	    mapping);
	return text;
}

#define MAPPED(ports, expires)                                                                     \
	"   \"protocol\": \"tcp\",\n   \"internal_address\": null,\n"                              \
	"   \"internal_port\": 8080,\n   \"external_port\": 80,\n   \"wanted_port\": 443,\n" ports \
	"   \"external_address\": \"203.0.113.7\",\n   \"expires\": " expires
#define PORTS(expires) MAPPED("   \"ports\": 1,\n", expires)

/* What an engine remembers of `text`, to be freed. */
static char *
remembered(struct engine *e, const char *boot, const char *text, bool good)
{
	size_t n;
	char *out;

	ck_assert_int_eq(memory_json_parse(e, NOW, boot, text, strlen(text)), good);
	out = memory_json_print(e, NOW, boot, &n);
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(n, strlen(out));
	engine_free(e);
	return out;
}

static void
is_kept(const char *mapping, const char *wanted)
{
	char *out = remembered(engine_make(), BOOT, document(mapping), true);

	ck_assert_str_eq(out, document(wanted));
	free(out);
}

START_TEST(as_it_is)
{
	is_kept(PORTS("6000000"), PORTS("6000000"));
}
END_TEST

/* A set is one; what says nothing of its size, or nonsense, was a single port. */
START_TEST(number_of_ports)
{
	is_kept(MAPPED("   \"ports\": 10,\n", "6000000"), MAPPED("   \"ports\": 10,\n", "6000000"));
	is_kept(MAPPED("", "6000000"), PORTS("6000000"));
	is_kept(MAPPED("   \"ports\": 0,\n", "6000000"), PORTS("6000000"));
	is_kept(MAPPED("   \"ports\": 65536,\n", "6000000"), PORTS("6000000"));
}
END_TEST

/* No lease is believed for longer than a day from now. */
START_TEST(expiry_is_clamped)
{
	is_kept(PORTS("9223372036854775807"), PORTS("91400000"));
	is_kept(PORTS("91400001"), PORTS("91400000"));
	is_kept(PORTS("91399999"), PORTS("91399999"));
}
END_TEST

static bool
has_mapping(struct engine *e, const char *boot, const char *mapping)
{
	char *out = remembered(e, boot, document(mapping), true);
	bool found = strstr(out, "\"external_port\": 80,") != NULL;

	free(out);
	return found;
}

static struct engine *
engine_wanting(uint16_t port)
{
	static const struct gateway_spec gateway = {
		.name = "default", .mappers = { MAPPER_PCP }, .n_mappers = 1
	};
	const struct forward_spec forward = { .name = "web",
		.gateway = "default",
		.tcp = true,
		.ipv4 = true,
		.internal_port = port,
		.count = 1,
		.external = EXTERNAL_ANY,
		.lifetime = 3600 };
	struct engine *e = engine_make();

	ck_assert_int_eq(engine_gateway(e, NOW, &gateway), 0);
	ck_assert_int_eq(engine_want(e, NOW, &forward), 0);
	return e;
}

/* A lease that is over is a suggestion for who had it, and else forgotten. */
START_TEST(what_is_over)
{
	ck_assert(has_mapping(engine_make(), BOOT, PORTS("5000001")));
	ck_assert(!has_mapping(engine_make(), BOOT, PORTS("5000000")));
	ck_assert(has_mapping(engine_wanting(8080), BOOT, PORTS("5000000")));
	ck_assert(!has_mapping(engine_wanting(8081), BOOT, PORTS("5000000")));
}
END_TEST

/* Times mean nothing after another boot. */
START_TEST(another_boot)
{
	char *out = remembered(engine_wanting(8080), "other", document(PORTS("6000000")), true);

	ck_assert_ptr_nonnull(strstr(out, "\"expires\": 0"));
	ck_assert_ptr_nonnull(strstr(out, "\"pcp_epoch\": null"));
	ck_assert_ptr_null(strstr(out, BOOT));
	free(out);
	ck_assert(!has_mapping(engine_make(), "other", PORTS("6000000")));
	ck_assert(!has_mapping(engine_make(), "", PORTS("6000000")));
}
END_TEST

/* One doubtful member, and the whole entry is left out. */
START_TEST(doubtful)
{
	static const char *const bad[][2] = { { "\"tcp\"", "\"sctp\"" }, { "8080", "65536" },
		{ "8080", "-1" }, { "8080", "\"8080\"" }, { "80,", "0," }, { "80,", "80.5," },
		{ "6000000", "-1" }, { "6000000", "null" }, { "8080", "true" } };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[1000] = PORTS("6000000"), rest[1000];
		char *at = strstr(text, bad[i][0]);

		/* "80," is in "8080," as well: the second one is meant. */
		if (strcmp(bad[i][0], "80,") == 0)
			at = strstr(text, " 80,") + 1;
		snprintf(rest, sizeof(rest), "%s", at + strlen(bad[i][0]));
		snprintf(at, sizeof(text) - (size_t)(at - text), "%s%s", bad[i][1], rest);
		ck_assert_msg(!has_mapping(engine_make(), BOOT, text), "%s is believed", bad[i][1]);
	}
}
END_TEST

START_TEST(not_ours)
{
	static const char *const texts[] = { "", "{", "[]", "{\"format\": 1}",
		"{\"format\": \"portleased-state-2\"}",
		"{\"format\": \"portleased-state-1\", \"format\": \"portleased-state-1\"}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(remembered(engine_make(), BOOT, texts[i], false));
	/* Ours, but with nothing that could be used. */
	free(remembered(engine_make(), BOOT,
	    "{\"format\": \"portleased-state-1\", \"gateways\": 7, \"mappings\": {\"a\": []}}",
	    true));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, as_it_is);
	tcase_add_test(tc, number_of_ports);
	tcase_add_test(tc, expiry_is_clamped);
	tcase_add_test(tc, what_is_over);
	tcase_add_test(tc, another_boot);
	tcase_add_test(tc, doubtful);
	tcase_add_test(tc, not_ours);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
