/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "conf_tools.h"

#include "os/log.h"

/* ---- fixtures ---------------------------------------------------------------------------------
 */

static void
compare_fixture(const char *dir, const char *name)
{
	char path[1024], expected_path[1024];
	struct conf_problems p;
	struct conf *conf;
	char *expected, *found;
	size_t size;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	(void)snprintf(expected_path, sizeof(expected_path), "%s/%.*s.expected", dir,
	    (int)strlen(name) - 5, name);
	conf = conf_read(path, &p);
	found = problems_text(&p, dir);
	expected = read_text(expected_path, &size);
	ck_assert_msg(
	    strcmp(found, expected) == 0, "%s:\n%s---- expected:\n%s", name, found, expected);
	/* No fixture has warnings only. */
	ck_assert_msg((conf == NULL) == (expected[0] != '\0'), "%s", name);
	conf_free(conf);
	conf_problems_clear(&p);
	free(found);
	free(expected);
}

START_TEST(fixtures)
{
	char dir_path[512];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir = opendir(source_path("tests/conf", dir_path, sizeof(dir_path)));

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');

		if (dot == NULL || strcmp(dot, ".conf") != 0)
			continue;
		compare_fixture(dir_path, entry->d_name);
		n++;
	}
	(void)closedir(dir);
	ck_assert_uint_ge(n, 20);
}
END_TEST

START_TEST(twelve_mistakes_are_twelve_lines)
{
	static const int lines[] = { 2, 3, 4, 15, 17, 18, 19, 20, 23, 25, 28, 32 };
	char path[512];
	struct conf_problems p;
	size_t i;

	ck_assert_ptr_null(
	    conf_read(source_path("tests/conf/twelve.conf", path, sizeof(path)), &p));
	ck_assert_uint_eq(p.n, 12);
	for (i = 0; i < 12; i++) {
		ck_assert_int_eq(p.list[i].line, lines[i]);
		ck_assert(!p.list[i].warning);
		ck_assert_str_eq(p.list[i].file, path);
	}
	conf_problems_clear(&p);
}
END_TEST

/* ---- values ------------------------------------------------------------------------------------
 */

static struct netaddr
address(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(text, &a));
	return a;
}

START_TEST(an_empty_file_has_the_defaults_of_the_contract)
{
	struct conf *conf = expect_good("");
	const struct conf_gateway *g;

	ck_assert_uint_eq(conf->n_gateways, 1);
	g = &conf->gateways[0];
	ck_assert_str_eq(g->name, "default");
	ck_assert(!g->has_address && !g->has_source && !g->has_link_address);
	ck_assert_ptr_null(g->interface);
	ck_assert_uint_eq(g->n_mappers, 3);
	ck_assert(g->mappers[0] == MAPPER_PCP);
	ck_assert(g->mappers[1] == MAPPER_NATPMP);
	ck_assert(g->mappers[2] == MAPPER_UPNP);
	ck_assert_uint_eq(g->lifetime, 3600);
	ck_assert_uint_eq(g->probe_interval, 60);
	ck_assert_uint_eq(conf->n_forwards, 0);
	ck_assert_uint_eq(conf->n_files, 1);
	ck_assert_str_eq(conf->files[0], main_file);
	ck_assert_uint_eq(conf->max_renew_interval, 1800);
	ck_assert_uint_eq(conf->recovery_delay, 5);
	ck_assert_uint_eq(conf->release_timeout, 3);
	ck_assert_uint_eq(conf->ready_timeout, 10);
	ck_assert_uint_eq(conf->hook_timeout, 30);
	ck_assert_uint_eq(conf->settle, 0);
	ck_assert(conf->release_on_exit);
	ck_assert_ptr_null(conf->on_change);
	ck_assert_ptr_null(conf->control_group);
	ck_assert(!conf->has_control_gid);
	ck_assert_ptr_null(conf->metrics_listen);
	ck_assert_int_eq(conf->log_level, LOG_LEVEL_INFO);
	ck_assert(!conf->has_log_level);
	conf_free(conf);
}
END_TEST

START_TEST(a_bare_forward_has_the_defaults_of_the_contract)
{
	struct conf *conf = expect_good("\nforward x { internal-port = 22 }");
	const struct conf_forward *f = &conf->forwards[0];
	struct forward_spec spec;

	ck_assert_uint_eq(conf->n_forwards, 1);
	ck_assert_str_eq(f->name, "x");
	ck_assert_ptr_eq(f->gateway, &conf->gateways[0]);
	ck_assert(f->tcp && !f->udp && f->ipv4 && !f->ipv6);
	ck_assert(!f->assigned && !f->require && !f->independent && !f->on_demand);
	ck_assert(f->release_on_exit && f->enabled);
	ck_assert(f->external == EXTERNAL_SAME);
	ck_assert_uint_eq(f->internal_port, 22);
	ck_assert_uint_eq(f->count, 1);
	ck_assert_uint_eq(f->lifetime, 3600);
	ck_assert_int_eq(f->line, 2);
	ck_assert_str_eq(f->file, main_file);
	ck_assert_ptr_null(f->description);
	ck_assert_ptr_null(f->on_change);
	ck_assert_ptr_null(f->internal);
	ck_assert_ptr_null(f->remotes);
	conf_forward_spec(f, &spec);
	ck_assert_str_eq(spec.name, "x");
	ck_assert_str_eq(spec.gateway, "default");
	ck_assert(spec.tcp && !spec.udp && spec.ipv4 && !spec.ipv6 && !spec.has_internal);
	ck_assert_uint_eq(spec.internal_port, 22);
	ck_assert_uint_eq(spec.count, 1);
	ck_assert(spec.release_on_exit && !spec.on_demand);
	conf_free(conf);
}
END_TEST

static void
check_good_globals(const struct conf *conf)
{
	const struct conf_gateway *g = conf_gateway_find(conf, "vpn");
	static const uint8_t link[] = { 0x02, 0xaa, 0xbb, 0x00, 0x01, 0xff };
	struct netaddr wanted = address("10.2.0.1");
	struct netaddr source = address("10.2.0.2");
	struct gateway_spec spec;

	ck_assert_uint_eq(conf->max_renew_interval, 600);
	ck_assert_uint_eq(conf->recovery_delay, 0);
	ck_assert_uint_eq(conf->release_timeout, 5);
	ck_assert_uint_eq(conf->ready_timeout, 0);
	ck_assert_uint_eq(conf->hook_timeout, 60);
	ck_assert_uint_eq(conf->settle, 20);
	ck_assert(!conf->release_on_exit);
	ck_assert_str_eq(conf->on_change[0], "/bin/sh");
	ck_assert_str_eq(conf->on_change[2], "exit 0");
	ck_assert_ptr_null(conf->on_change[3]);
	ck_assert_str_eq(conf->control_group, "root");
	ck_assert(conf->has_control_gid && conf->control_gid == 0);
	ck_assert_str_eq(conf->metrics_listen, "[::1]:9187");
	ck_assert(conf->has_log_level && conf->log_level == LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(conf->n_gateways, 3);
	ck_assert_str_eq(conf->gateways[0].name, "default");
	ck_assert_uint_eq(conf->gateways[0].lifetime, 100);
	ck_assert_uint_eq(conf->gateways[0].probe_interval, 0);
	ck_assert_uint_eq(conf->gateways[0].n_mappers, 2);
	ck_assert(conf->gateways[0].mappers[0] == MAPPER_NATPMP);
	ck_assert_ptr_nonnull(g);
	ck_assert(g->has_address && netaddr_equal(&g->address, &wanted));
	ck_assert(g->has_source && netaddr_equal(&g->source, &source));
	ck_assert(g->has_link_address);
	ck_assert_mem_eq(g->link_address, link, sizeof(link));
	ck_assert_str_eq(g->interface, "wg0");
	ck_assert_uint_eq(g->lifetime, 60);
	conf_gateway_spec(g, &spec);
	ck_assert_str_eq(spec.name, "vpn");
	ck_assert_uint_eq(spec.n_mappers, 1);
	ck_assert(spec.mappers[0] == MAPPER_NATPMP);
	ck_assert_uint_eq(spec.probe_interval, 7);
	ck_assert_ptr_null(conf_gateway_find(conf, "nobody"));
}

START_TEST(every_value_arrives)
{
	char path[512];
	struct conf_problems p;
	struct conf *conf = conf_read(source_path("tests/conf/good.conf", path, sizeof(path)), &p);
	struct netaddr other = address("2001:db8::5");
	const struct conf_forward *f;
	struct forward_spec spec;

	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(p.n, 0);
	check_good_globals(conf);
	ck_assert_uint_eq(conf->n_forwards, 4);
	f = &conf->forwards[0]; /* what it does not say: gateway, then global */
	ck_assert_uint_eq(f->lifetime, 100);
	ck_assert(!f->release_on_exit);
	f = &conf->forwards[1];
	ck_assert_str_eq(f->name, "full");
	ck_assert_str_eq(f->gateway->name, "six");
	ck_assert_uint_eq(f->gateway->lifetime, 7200);
	ck_assert(f->tcp && f->udp && !f->ipv4 && f->ipv6);
	ck_assert(f->require && f->independent && f->release_on_exit && f->on_demand);
	ck_assert(!f->enabled && !f->assigned);
	ck_assert_uint_eq(f->internal_port, 1000);
	ck_assert_uint_eq(f->count, 10);
	ck_assert(f->external == EXTERNAL_FIXED && f->external_port == 2000);
	ck_assert(f->internal != NULL && netaddr_equal(f->internal, &other));
	ck_assert_uint_eq(f->n_remotes, 2);
	ck_assert_uint_eq(f->remotes[0].bits, 48);
	ck_assert_uint_eq(f->remotes[1].bits, 128);
	ck_assert_uint_eq(f->lifetime, 86400);
	ck_assert_str_eq(f->description,
	    "Gr\xc3\xbc\xc3\x9f"
	    "e \"an\" alle");
	ck_assert(f->on_change != NULL && f->on_change[0] == NULL);
	conf_forward_spec(f, &spec);
	ck_assert(spec.has_internal && netaddr_equal(&spec.internal, &other));
	ck_assert_uint_eq(spec.n_remotes, 2);
	ck_assert(spec.require && spec.independent && spec.on_demand);
	ck_assert(spec.external == EXTERNAL_FIXED && spec.external_port == 2000);
	f = &conf->forwards[2];
	ck_assert(f->assigned && f->internal_port == 0 && f->count == 1);
	ck_assert_uint_eq(f->lifetime, 60);
	ck_assert_str_eq(f->on_change[0], "/bin/sh");
	ck_assert_ptr_null(f->on_change[1]);
	f = &conf->forwards[3];
	ck_assert(f->udp && !f->tcp && f->ipv4 && f->ipv6 && f->external == EXTERNAL_ANY);
	conf_free(conf);
}
END_TEST

START_TEST(a_later_file_and_a_later_line_win)
{
	struct conf_problems p;
	struct conf *conf;

	write_file("more.conf", "settle = 3\n", 11);
	conf = read_main(&p,
	    "include(\"more.conf\")\nsettle = 1\nsettle = 2\n"
	    "mappers = {pcp, upnp}\nmappers = {nat-pmp}\n");
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(conf->settle, 3);
	ck_assert_uint_eq(conf->gateways[0].n_mappers, 1);
	ck_assert(conf->gateways[0].mappers[0] == MAPPER_NATPMP);
	ck_assert_uint_eq(p.n, 2);
	ck_assert(p.list[0].warning && p.list[0].line == 3);
	ck_assert(p.list[1].warning && p.list[1].line == 5);
	conf_free(conf);
	conf_problems_clear(&p);
}
END_TEST

START_TEST(the_environment_is_expanded_outside_single_quotes)
{
	struct conf *conf;

	ck_assert_int_eq(setenv("CHECK_CONF_SETTLE", "17", 1), 0);
	conf =
	    expect_good("settle = ${CHECK_CONF_SETTLE}\n"
			"forward a { internal-port = 1 description = \"n ${CHECK_CONF_SETTLE}\" }\n"
			"forward b { internal-port = 2 description = '${CHECK_CONF_SETTLE}' }\n"
			"forward c { internal-port = 3 description = \"\" }\n"
			"hook-timeout = ${CHECK_CONF_NOTHING:-9}\n");
	ck_assert_uint_eq(conf->settle, 17);
	ck_assert_uint_eq(conf->hook_timeout, 9);
	ck_assert_str_eq(conf->forwards[0].description, "n 17");
	ck_assert_str_eq(conf->forwards[1].description, "${CHECK_CONF_SETTLE}");
	ck_assert_str_eq(conf->forwards[2].description, "");
	conf_free(conf);
	(void)unsetenv("CHECK_CONF_SETTLE");
}
END_TEST

START_TEST(a_hook_that_cannot_run_is_a_warning)
{
	struct conf_problems p;
	struct conf *conf;

	conf = read_main(&p,
	    "on-change = {\"/nonexistent/hook\"}\n"
	    "forward a { internal-port = 1\n on-change = {\"/etc/passwd\", \"x\"} }\n");
	ck_assert_ptr_nonnull(conf);
	ck_assert_str_eq(conf->forwards[0].on_change[1], "x");
	ck_assert_uint_eq(p.n, 2);
	ck_assert(p.list[0].warning && p.list[0].line == 1);
	ck_assert(p.list[1].warning && p.list[1].line == 3);
	conf_free(conf);
	conf_problems_clear(&p);
}
END_TEST

/* Said once, where it is written first; not for the default, which has it, too. */
START_TEST(upnp_is_not_there_yet)
{
	struct conf_problems p;
	struct conf *conf = read_main(&p,
	    "gateway a { mappers = {pcp, nat-pmp} }\n"
	    "gateway b { }\n"
	    "gateway c {\n mappers = {pcp, upnp} }\n"
	    "gateway d { mappers = {upnp, pcp} }\n");

	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(p.n, 1);
	ck_assert(p.list[0].warning && p.list[0].line == 4);
	conf_free(conf);
	conf_problems_clear(&p);
	/* Nothing else: the file is rejected, each place named. */
	ck_assert_ptr_null(read_main(&p, "mappers = {upnp}\ngateway a { mappers = {upnp} }\n"));
	ck_assert_uint_eq(p.n, 2);
	ck_assert(!p.list[0].warning && p.list[0].line == 1);
	ck_assert(!p.list[1].warning && p.list[1].line == 2);
	conf_problems_clear(&p);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf");
	TCase *made = tcase_create("made");
	TCase *shipped = tcase_create("shipped");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(made, make_folder, remove_folder);
	tcase_set_timeout(made, 120);
	tcase_set_timeout(shipped, 120);
	tcase_add_test(shipped, fixtures);
	tcase_add_test(shipped, twelve_mistakes_are_twelve_lines);
	tcase_add_test(shipped, every_value_arrives);
	tcase_add_test(made, an_empty_file_has_the_defaults_of_the_contract);
	tcase_add_test(made, a_bare_forward_has_the_defaults_of_the_contract);
	tcase_add_test(made, a_later_file_and_a_later_line_win);
	tcase_add_test(made, the_environment_is_expanded_outside_single_quotes);
	tcase_add_test(made, a_hook_that_cannot_run_is_a_warning);
	tcase_add_test(made, upnp_is_not_there_yet);
	suite_add_tcase(suite, made);
	suite_add_tcase(suite, shipped);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
