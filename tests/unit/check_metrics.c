/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/metrics.h"

#include "engine_io.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The text of the metrics, octet by octet, from an engine without a network; each counter by what
 * counts it.
 */

#define NOW ((mstime)1000000)

static const struct engine_io io = {
	.send = lost_send, .random = fixed_random, .nonce = fixed_nonce
};

static const struct metrics_head head = {
	.version = "0.1.0", .started = 1795327200.25, .ready = true
};

static struct engine *
engine_with(const struct forward_spec *forward)
{
	static const struct engine_settings settings = { 1800, 5, 3 };
	static const struct gateway_spec gateway = {
		.name = "g", .mappers = { MAPPER_PCP }, .n_mappers = 1, .probe_interval = 60
	};
	struct engine *e = engine_new(&io, NULL, &settings);

	ck_assert_ptr_nonnull(e);
	if (forward != NULL) {
		ck_assert_int_eq(engine_gateway(e, NOW, &gateway), 0);
		ck_assert_int_eq(engine_want(e, NOW, forward), 0);
	}
	return e;
}

static const char head_text[] =
    "# TYPE portleased_build info\n"
    "# HELP portleased_build The version of portleased that runs.\n"
    "portleased_build_info{version=\"0.1.0\"} 1\n"
    "# TYPE portleased_start_time_seconds gauge\n"
    "# UNIT portleased_start_time_seconds seconds\n"
    "# HELP portleased_start_time_seconds When it was started, since 1970.\n"
    "portleased_start_time_seconds 1795327200.250\n"
    "# TYPE portleased_ready gauge\n"
    "# HELP portleased_ready Whether it has finished its start.\n"
    "portleased_ready 1\n";

static const char range_text[] =
    "# TYPE portleased_gateway info\n"
    "# HELP portleased_gateway How a gateway is reached, and what it says.\n"
    "portleased_gateway_info{gateway=\"g\",family=\"ipv4\",address=\"\",interface=\"\",mapper=\"\","
    "external_address=\"\",external_class=\"\"} 1\n"
    "# TYPE portleased_gateway_state gauge\n"
    "# HELP portleased_gateway_state 1 for the state that a gateway is in.\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"unused\"} 0\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"absent\"} 1\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"probing\"} 0\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"ready\"} 0\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"silent\"} 0\n"
    "portleased_gateway_state{gateway=\"g\",family=\"ipv4\",state=\"unsupported\"} 0\n"
    "# TYPE portleased_gateway_requests counter\n"
    "# HELP portleased_gateway_requests Packets sent to a gateway as it is now.\n"
    "portleased_gateway_requests_total{gateway=\"g\",family=\"ipv4\"} 0\n"
    "# TYPE portleased_gateway_reboots counter\n"
    "# HELP portleased_gateway_reboots Times that its epoch told of a restart, with which it lost "
    "its mappings.\n"
    "portleased_gateway_reboots_total{gateway=\"g\",family=\"ipv4\"} 0\n"
    "# TYPE portleased_mapping_ports gauge\n"
    "# HELP portleased_mapping_ports How many ports of a forward are in each state; all are in "
    "one.\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"waiting\"} 500\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"requesting\"} 0\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"active\"} 0\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"failed\"} 0\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"releasing\"} 0\n"
    "portleased_mapping_ports{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol=\"tcp\",state="
    "\"idle\"} 0\n"
    "# TYPE portleased_mapping_external_port gauge\n"
    "# HELP portleased_mapping_external_port The first external port, while there is one.\n"
    "# TYPE portleased_mapping_expires_seconds gauge\n"
    "# UNIT portleased_mapping_expires_seconds seconds\n"
    "# HELP portleased_mapping_expires_seconds What is left of the lease that ends first, while "
    "there is one.\n"
    "# TYPE portleased_mapping_renewals counter\n"
    "# HELP portleased_mapping_renewals Renewals; of a range, those of the port that has fewest.\n"
    "portleased_mapping_renewals_total{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol="
    "\"tcp\"} 0\n"
    "# TYPE portleased_mapping_changes counter\n"
    "# HELP portleased_mapping_changes Changes of external address or port; of a range, those of "
    "the port that has most.\n"
    "portleased_mapping_changes_total{forward=\"r\",gateway=\"g\",family=\"ipv4\",protocol="
    "\"tcp\"} 0\n"
    "# EOF\n";

START_TEST(golden)
{
	static const struct forward_spec range = { .name = "r",
		.gateway = "g",
		.tcp = true,
		.ipv4 = true,
		.internal_port = 6000,
		.count = 500,
		.lifetime = 3600 };
	struct metrics m = { .port_changes = 0 };
	struct engine *e = engine_with(&range);
	char *text = metrics_text(&m, e, NOW, &head, METRICS_OPEN);
	size_t n = strlen(head_text), length;

	ck_assert_ptr_nonnull(text);
	length = strlen(text);
	ck_assert_uint_gt(length, n + strlen(range_text));
	ck_assert_str_eq(text + length - strlen(range_text), range_text);
	text[n] = '\0';
	ck_assert_str_eq(text, head_text);
	free(text);
	engine_free(e);
}
END_TEST

/* The text of `m` has `line`, once. */
static void
says(const struct metrics *m, const char *line)
{
	struct engine *e = engine_with(NULL);
	char *text = metrics_text(m, e, NOW, &head, METRICS_OPEN), whole[160], *at;

	ck_assert_ptr_nonnull(text);
	snprintf(whole, sizeof(whole), "\n%s\n", line);
	at = strstr(text, whole);
	ck_assert_msg(at != NULL, "no line %s in:\n%s", line, text);
	ck_assert_ptr_null(strstr(at + 1, whole));
	free(text);
	engine_free(e);
}

START_TEST(failures)
{
	static const struct {
		struct problem problem;
		const char *reason;
	} cases[] = {
		{ { TROUBLE_REFUSED, MAPPER_PCP, 2 }, "not-authorized" },
		{ { TROUBLE_REFUSED, MAPPER_NATPMP, 2 }, "not-authorized" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 3 }, "refused" },
		{ { TROUBLE_REFUSED, MAPPER_NATPMP, 3 }, "network-failure" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 7 }, "network-failure" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 8 }, "no-resources" },
		{ { TROUBLE_REFUSED, MAPPER_NATPMP, 4 }, "no-resources" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 4 }, "not-supported" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 10 }, "quota" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 11 }, "external-port" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 12 }, "address-mismatch" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 13 }, "refused" },
		{ { TROUBLE_REFUSED, MAPPER_PCP, 255 }, "refused" },
		{ { TROUBLE_REFUSED, MAPPER_NATPMP, 65535 }, "refused" },
		{ { TROUBLE_REFUSED, MAPPER_UPNP, 718 }, "refused" },
		{ { TROUBLE_SILENT, MAPPER_NONE, 0 }, "silent" },
		{ { TROUBLE_UNREACHABLE, MAPPER_NONE, 0 }, "port-unreachable" },
		{ { TROUBLE_HOST, MAPPER_NONE, 0 }, "host-unreachable" },
		{ { TROUBLE_FIREWALL, MAPPER_NONE, 0 }, "firewall" },
		{ { TROUBLE_NO_ADDRESS, MAPPER_NONE, 0 }, "no-address" },
		{ { TROUBLE_ZERO_PORT, MAPPER_NONE, 0 }, "bad-answer" },
		{ { TROUBLE_OTHER_PORT, MAPPER_NONE, 0 }, "external-port" },
		{ { TROUBLE_UNSUPPORTED, MAPPER_NONE, 0 }, "no-mapper" },
		{ { TROUBLE_NEEDS_PCP, MAPPER_PCP, 0 }, "not-supported" },
		{ { TROUBLE_IGNORED, MAPPER_PCP, 3 }, "not-supported" },
		{ { TROUBLE_DUPLICATE, MAPPER_NONE, 0 }, "duplicate" },
		{ { TROUBLE_NONE, MAPPER_NONE, 0 }, "unknown" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct metrics m = { .port_changes = 0 };
		struct mapping_status mapping = { .problem = cases[i].problem };
		struct gateway_status gateway = { .problem = cases[i].problem };
		struct engine_event event = { .kind = EVENT_FAILED, .mapping = &mapping };
		char line[160];

		metrics_event(&m, &event);
		event = (struct engine_event){ .kind = EVENT_GATEWAY_SILENT, .gateway = &gateway };
		metrics_event(&m, &event);
		snprintf(line, sizeof(line), "portleased_failures_total{reason=\"%s\"} 2",
		    cases[i].reason);
		says(&m, line);
		says(&m, "portleased_events_total{event=\"failed\"} 1");
		says(&m, "portleased_events_total{event=\"gateway-silent\"} 1");
	}
}
END_TEST

START_TEST(changes)
{
	struct metrics m = { .port_changes = 0 };
	struct mapping_status mapping = { .external_port = 80 };
	struct gateway_status gateway = { .name = "g" };
	struct engine_event event = {
		.kind = EVENT_CHANGED, .mapping = &mapping, .has_old = true, .old_external_port = 80
	};

	metrics_event(&m, &event); /* the address only: the gateway tells it once for all */
	says(&m, "portleased_external_changes_total{of=\"port\"} 0");
	event.old_external_port = 81;
	metrics_event(&m, &event);
	event = (struct engine_event){ .kind = EVENT_ADDRESS_CHANGED, .gateway = &gateway };
	metrics_event(&m, &event); /* the first one */
	says(&m, "portleased_external_changes_total{of=\"address\"} 0");
	event.has_old = true;
	metrics_event(&m, &event);
	says(&m, "portleased_external_changes_total{of=\"address\"} 1");
	says(&m, "portleased_external_changes_total{of=\"port\"} 1");
	says(&m, "portleased_events_total{event=\"changed\"} 2");
	says(&m, "portleased_events_total{event=\"address-changed\"} 2");
}
END_TEST

START_TEST(runs)
{
	struct metrics m = { .port_changes = 0 };

	metrics_hook(&m, true);
	metrics_hook(&m, true);
	metrics_hook(&m, false);
	metrics_reload(&m, false);
	says(&m, "portleased_hook_runs_total{result=\"ok\"} 2");
	says(&m, "portleased_hook_runs_total{result=\"failed\"} 1");
	says(&m, "portleased_reloads_total{result=\"ok\"} 0");
	says(&m, "portleased_reloads_total{result=\"failed\"} 1");
}
END_TEST

START_TEST(round_trips)
{
	static const int32_t samples[] = { -1, 0, 500, 501, 4000000, 4000001, INT32_MAX };
	struct metrics m = { .port_changes = 0 };

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		metrics_round_trip(&m, samples[i]);
	says(&m, "portleased_round_trip_seconds_bucket{le=\"0.0005\"} 2");
	says(&m, "portleased_round_trip_seconds_bucket{le=\"0.001\"} 3");
	says(&m, "portleased_round_trip_seconds_bucket{le=\"1.0\"} 3");
	says(&m, "portleased_round_trip_seconds_bucket{le=\"4.0\"} 4");
	says(&m, "portleased_round_trip_seconds_bucket{le=\"+Inf\"} 6");
	says(&m, "portleased_round_trip_seconds_count 6");
	says(&m, "portleased_round_trip_seconds_sum 2155.484649");
}
END_TEST

/* The engine checks nothing: what stands in a label must not end it. */
START_TEST(escaping)
{
	static const struct forward_spec forward = { .name = "a\"b\\c\nd\xff",
		.gateway = "g",
		.udp = true,
		.ipv6 = true,
		.internal_port = 1,
		.count = 1,
		.lifetime = 3600 };
	struct metrics m = { .port_changes = 0 };
	struct engine *e = engine_with(&forward);
	char *text = metrics_text(&m, e, NOW, &head, METRICS_OPEN);

	ck_assert_ptr_nonnull(text);
	ck_assert_ptr_nonnull(strstr(text,
	    "\nportleased_mapping_renewals_total{forward=\"a\\\"b\\\\c\\nd?\","
	    "gateway=\"g\",family=\"ipv6\",protocol=\"udp\"} 0\n"));
	free(text);
	engine_free(e);
}
END_TEST

/* Prometheus' format of before: families have the names of their samples. */
START_TEST(classic)
{
	static const char begin[] =
	    "# TYPE portleased_build_info gauge\n"
	    "# HELP portleased_build_info The version of portleased that runs.\n"
	    "portleased_build_info{version=\"";
	static const char counter[] =
	    "\n# TYPE portleased_events_total counter\n"
	    "# HELP portleased_events_total What happened, as `portleasectl monitor` shows it.\n"
	    "portleased_events_total{event=\"mapped\"} 0\n";
	struct metrics m = { .port_changes = 0 };
	struct engine *e = engine_with(NULL);
	char *text = metrics_text(&m, e, NOW, &head, METRICS_CLASSIC);

	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(strncmp(text, begin, strlen(begin)), 0);
	ck_assert_ptr_nonnull(strstr(text, counter));
	ck_assert_ptr_nonnull(strstr(text, "\n# TYPE portleased_ready gauge\n"));
	ck_assert_ptr_null(strstr(text, "# UNIT"));
	ck_assert_ptr_null(strstr(text, "# EOF"));
	ck_assert_ptr_null(strstr(text, "\n\n"));
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	free(text);
	engine_free(e);
}
END_TEST

START_TEST(accepted)
{
	static const struct {
		const char *accept;
		enum metrics_format format;
	} cases[] = { { NULL, METRICS_OPEN }, { "", METRICS_OPEN }, { "*/*", METRICS_OPEN },
		{ "text/plain", METRICS_CLASSIC }, { "text/plain;version=0.0.4", METRICS_CLASSIC },
		{ "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", METRICS_OPEN } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(metrics_accepted(cases[i].accept), cases[i].format);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tc = tcase_create("metrics");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, golden);
	tcase_add_test(tc, failures);
	tcase_add_test(tc, changes);
	tcase_add_test(tc, runs);
	tcase_add_test(tc, round_trips);
	tcase_add_test(tc, escaping);
	tcase_add_test(tc, classic);
	tcase_add_test(tc, accepted);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
