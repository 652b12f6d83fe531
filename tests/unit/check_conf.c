/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"
#include "os/log.h"

#include <check.h>
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path of the source tree. The test programs are run with srcdir set, or in the tree itself. */
static const char *
source_path(const char *name, char *out, size_t n)
{
	const char *top = getenv("srcdir");

	(void)snprintf(out, n, "%s/%s", top == NULL ? "." : top, name);
	return out;
}

static char *
read_text(const char *path, size_t *size)
{
	FILE *file = fopen(path, "r");
	char *text = malloc(1 << 20);

	ck_assert_msg(file != NULL, "%s cannot be opened", path);
	ck_assert_ptr_nonnull(text);
	*size = fread(text, 1, (1 << 20) - 1, file);
	text[*size] = '\0';
	(void)fclose(file);
	return text;
}

/* ---- a folder for files made here ---------------------------------------------------------- */

static char folder[64];
static char main_file[96];

static void
make_folder(void)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/check_conf.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(main_file, sizeof(main_file), "%s/main.conf", folder);
}

static void
remove_folder(void)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(folder);

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (unlink(path) != 0)
			(void)rmdir(path);
	}
	if (dir != NULL)
		(void)closedir(dir);
	(void)rmdir(folder);
}

static void
write_file(const char *name, const void *bytes, size_t n)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	ck_assert_int_eq(fclose(file), 0);
}

/* The problems as -n prints them, but without the folder of the file; the caller frees it. */
static char *
problems_text(const struct conf_problems *p, const char *dir)
{
	char *text = NULL;
	size_t size = 0;
	size_t i, n = strlen(dir);
	FILE *out = open_memstream(&text, &size);
	const char *from;

	ck_assert_ptr_nonnull(out);
	for (i = 0; i < p->n; i++) {
		char *line;

		ck_assert_int_ge(p->list[i].line, 0);
		if (p->list[i].line > 0)
			ck_assert_int_gt(
			    asprintf(&line, "%s:%d: %s%s\n", p->list[i].file, p->list[i].line,
				p->list[i].warning ? "warning: " : "", p->list[i].text),
			    0);
		else
			ck_assert_int_gt(
			    asprintf(&line, "%s: %s\n", p->list[i].file, p->list[i].text), 0);
		for (from = line; *from != '\0'; from++) {
			if (strncmp(from, dir, n) == 0 && from[n] == '/')
				from += n + 1;
			(void)fputc(*from, out);
		}
		free(line);
	}
	(void)fclose(out);
	return text;
}

static struct conf *
read_main(struct conf_problems *p, const char *text)
{
	write_file("main.conf", text, strlen(text));
	return conf_read(main_file, p);
}

/* The text is rejected, with just these lines. */
static void
expect(const char *text, const char *expected)
{
	struct conf_problems p;
	struct conf *conf = read_main(&p, text);
	char *found = problems_text(&p, folder);

	ck_assert_str_eq(found, expected);
	ck_assert_ptr_null(conf);
	free(found);
	conf_problems_clear(&p);
}

static struct conf *
expect_good(const char *text)
{
	struct conf_problems p;
	struct conf *conf = read_main(&p, text);

	ck_assert_msg(conf != NULL, "%s", p.n > 0 ? p.list[0].text : "no problem told");
	ck_assert_uint_eq(p.n, 0);
	conf_problems_clear(&p);
	return conf;
}

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
	ck_assert(conf->gateways[0].mappers[0] == MAPPER_UPNP);
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
			"hook-timeout = ${CHECK_CONF_NOTHING:-9}\n");
	ck_assert_uint_eq(conf->settle, 17);
	ck_assert_uint_eq(conf->hook_timeout, 9);
	ck_assert_str_eq(conf->forwards[0].description, "n 17");
	ck_assert_str_eq(conf->forwards[1].description, "${CHECK_CONF_SETTLE}");
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

/* ---- files
 * --------------------------------------------------------------------------------------- */

START_TEST(files_that_cannot_be_read)
{
	struct conf_problems p;
	char path[128];
	static char big[CONF_FILE_MAX + 1];

	(void)snprintf(path, sizeof(path), "%s/none.conf", folder);
	ck_assert_ptr_null(conf_read(path, &p));
	ck_assert_uint_eq(p.n, 1);
	ck_assert_int_eq(p.list[0].line, 0);
	ck_assert_str_eq(p.list[0].file, path);
	ck_assert_str_eq(p.list[0].text,
	    "cannot be read: No such file or directory; create it, or "
	    "name another one with -f");
	conf_problems_clear(&p);
	ck_assert_ptr_null(conf_read(folder, &p));
	ck_assert_uint_eq(p.n, 1);
	conf_problems_clear(&p);
	ck_assert_ptr_null(conf_read("/dev/zero", &p));
	ck_assert_uint_eq(p.n, 1);
	conf_problems_clear(&p);

	memset(big, ' ', sizeof(big));
	write_file("main.conf", big, sizeof(big) - 1);
	conf_free(conf_read(main_file, &p));
	ck_assert_uint_eq(p.n, 0);
	conf_problems_clear(&p);
	write_file("main.conf", big, sizeof(big));
	ck_assert_ptr_null(conf_read(main_file, &p));
	ck_assert_uint_eq(p.n, 1);
	ck_assert_int_eq(p.list[0].line, 0);
	conf_problems_clear(&p);

	write_file("main.conf", "\n\nsettle\0= 1", 12);
	ck_assert_ptr_null(conf_read(main_file, &p));
	ck_assert_uint_eq(p.n, 1);
	ck_assert_int_eq(p.list[0].line, 3);
	conf_problems_clear(&p);
}
END_TEST

START_TEST(included_files_that_cannot_be_read)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/fifo.inc", folder);
	ck_assert_int_eq(mkfifo(path, 0600), 0); /* must not be waited for */
	(void)snprintf(path, sizeof(path), "%s/sub.inc", folder);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/gone.inc", folder);
	ck_assert_int_eq(symlink("/nonexistent", path), 0);
	expect("include(\"*.inc\")\n",
	    "fifo.inc: cannot be read: Invalid argument; only regular files can be included\n"
	    "gone.inc: cannot be read: No such file or directory; it has just gone: try again\n"
	    "sub.inc: cannot be read: Is a directory; change the pattern of include()\n");
}
END_TEST

START_TEST(too_many_files)
{
	struct conf_problems p;
	struct conf *conf;
	char name[32];
	int i;

	for (i = 1; i < CONF_FILES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%04d.inc", i);
		write_file(name, "", 0);
	}
	conf = expect_good("include(\"*.inc\")");
	ck_assert_uint_eq(conf->n_files, CONF_FILES_MAX);
	conf_free(conf);
	write_file("one-more.inc", "", 0);
	ck_assert_ptr_null(read_main(&p, "\ninclude(\"*.inc\")"));
	ck_assert_uint_eq(p.n, 1);
	ck_assert_int_eq(p.list[0].line, 2);
	conf_problems_clear(&p);
}
END_TEST

START_TEST(an_error_does_not_spoil_the_next_file)
{
	static const char *const broken[] = { "settle = \"x", "settle = 'x", "/* x",
		"settle = \"\\", "settle = '\\", "settle = ${", "settle = \"${", "forward x {",
		"include(\"a\"", "include(\"a\" \"b\")", "settle = \"\\777\"" };
	struct conf_problems p;
	struct conf *conf;
	size_t i;

	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		ck_assert_ptr_null(read_main(&p, broken[i]));
		ck_assert_msg(p.n == 1 && p.list[0].line == 1, "%s", broken[i]);
		conf_problems_clear(&p);
		conf = expect_good("settle = 4");
		ck_assert_uint_eq(conf->settle, 4);
		conf_free(conf);
	}
}
END_TEST

/* ---- amounts
 * --------------------------------------------------------------------------------------- */

START_TEST(mappings_in_all)
{
	struct conf *conf = expect_good("forward a { internal-port = 1-32768 protocol = tcp\n"
					"family = both }\n");
	conf_free(conf);
	expect("forward a { internal-port = 1-32768 family = both }\n"
	       "forward b { internal-port = 40000 }\nforward c { internal-port = 40001 }\n",
	    "main.conf:2: forward \"b\" and those before it make 65537 mappings: all forwards "
	    "together "
	    "can have 65536\n");
}
END_TEST

/* Made into one text; every `clash`th wants a port that another one has. */
static char *
many_forwards(unsigned n, unsigned clash)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	unsigned i;

	ck_assert_ptr_nonnull(out);
	for (i = 0; i < n; i++)
		(void)fprintf(out, "forward f%u { protocol = udp internal-port = %u }\n", i,
		    clash != 0 && i % clash == clash - 1 ? 10000 : 10000 + i);
	(void)fclose(out);
	return text;
}

START_TEST(a_thousand_forwards_stay_small)
{
	char *text = many_forwards(1000, 0);
	size_t before, after;
	struct conf *conf;

	write_file("main.conf", text, strlen(text));
	before = mallinfo2().uordblks;
	conf = expect_good(text);
	after = mallinfo2().uordblks; /* the sanitizers' malloc() tells nothing */
	ck_assert_uint_eq(conf->n_forwards, 1000);
	ck_assert_uint_le(sizeof(struct conf_forward), 112);
	ck_assert_msg(after - before < 1000 * 160, "%zu bytes", after - before);
	conf_free(conf);
	free(text);
}
END_TEST

START_TEST(five_thousand_clashing_forwards)
{
	char *text = many_forwards(5000, 10);
	struct conf_problems p;

	ck_assert_ptr_null(read_main(&p, text));
	ck_assert_uint_eq(p.n, 500);
	ck_assert_int_eq(p.list[0].line, 10);
	ck_assert_int_eq(p.list[499].line, 5000);
	conf_problems_clear(&p);
	free(text);
}
END_TEST

START_TEST(more_problems_than_anybody_reads)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct conf_problems p;
	int i;

	for (i = 0; i < CONF_NOTES_MAX + 5; i++)
		(void)fputs("nonsense = 1\n", out);
	(void)fclose(out);
	ck_assert_ptr_null(read_main(&p, text));
	ck_assert_uint_eq(p.n, CONF_NOTES_MAX + 1);
	ck_assert_int_eq(p.list[CONF_NOTES_MAX - 1].line, CONF_NOTES_MAX);
	ck_assert_str_eq(p.list[CONF_NOTES_MAX].text, "5 more problems are not listed");
	conf_problems_clear(&p);
	free(text);
}
END_TEST

/* ---- what is shipped
 * ------------------------------------------------------------------------------- */

START_TEST(the_shipped_file_maps_nothing_and_names_every_option)
{
	char path[512];
	char *text, *to;
	const char *from;
	struct conf_problems p;
	struct conf *conf;
	size_t size;
	int o;

	source_path("etc/portleased.conf", path, sizeof(path));
	conf = conf_read(path, &p);
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(p.n, 0);
	ck_assert_uint_eq(conf->n_forwards, 0);
	conf_free(conf);
	text = read_text(path, &size);
	for (o = 0; o < OPTIONS; o++) {
		char wanted[64];

		(void)snprintf(wanted, sizeof(wanted), "%s = ", conf_options[o].name);
		ck_assert_msg(strstr(text, wanted) != NULL, "%s", wanted);
	}
	/* With every option uncommented it must still be good: "#name" and "#    name". */
	for (from = to = text; *from != '\0'; from++)
		if (*from != '#' || (from != text && from[-1] != '\n') || from[1] == '\n' ||
		    (from[1] == ' ' && strncmp(from + 1, "    ", 4) != 0))
			*to++ = *from;
	*to = '\0';
	conf = expect_good(text);
	ck_assert_uint_eq(conf->n_gateways, 2);
	ck_assert_uint_eq(conf->n_forwards, 1);
	ck_assert(conf->gateways[1].has_address);
	conf_free(conf);
	free(text);
}
END_TEST

START_TEST(the_shipped_examples_are_good)
{
	static const char *const names[] = { "home-server", "vpn-port-forwarding", "lan-and-vpn" };
	char name[64], path[512];
	struct conf_problems p;
	struct conf *conf;
	size_t i, k;

	for (i = 0; i < 3; i++) {
		(void)snprintf(name, sizeof(name), "etc/examples/%s.conf", names[i]);
		conf = conf_read(source_path(name, path, sizeof(path)), &p);
		/* The hooks are not installed here. */
		for (k = 0; k < p.n; k++)
			ck_assert_msg(p.list[k].warning, "%s:%d: %s", p.list[k].file,
			    p.list[k].line, p.list[k].text);
		ck_assert_ptr_nonnull(conf);
		ck_assert_uint_gt(conf->n_forwards, 0);
		conf_free(conf);
		conf_problems_clear(&p);
	}
}
END_TEST

/* ---- nonsense
 * ---------------------------------------------------------------------------------------- */

static uint32_t
next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void
read_any(const char *text, size_t n)
{
	struct conf_problems p;
	struct conf *conf;
	size_t i, errors = 0;

	write_file("main.conf", text, n);
	conf = conf_read(main_file, &p);
	for (i = 0; i < p.n; i++)
		errors += !p.list[i].warning;
	ck_assert((conf == NULL) == (errors > 0));
	conf_free(conf);
	conf_problems_clear(&p);
}

START_TEST(cut_anywhere)
{
	char path[512];
	char *text;
	size_t size, i;

	text = read_text(source_path("tests/conf/good.conf", path, sizeof(path)), &size);
	for (i = 0; i < size; i++)
		read_any(text, i);
	free(text);
}
END_TEST

START_TEST(changed_anywhere)
{
	static const char odd[] = "{}()\"'\\$#/*=+,| \n\t\r\x80\xff"
				  "a0";
	char path[512];
	char *text, *copy;
	uint32_t state = 0x9e3779b9;
	size_t size;
	int i, k;

	text = read_text(source_path("tests/conf/unknown.conf", path, sizeof(path)), &size);
	copy = malloc(size);
	ck_assert_ptr_nonnull(copy);
	for (i = 0; i < 2000; i++) {
		memcpy(copy, text, size);
		for (k = 0; k <= i % 4; k++)
			copy[next_random(&state) % size] =
			    odd[next_random(&state) % (sizeof(odd) - 1)];
		read_any(copy, size);
	}
	free(copy);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf");
	TCase *texts = tcase_create("texts");
	TCase *files = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_add_test(texts, fixtures);
	tcase_add_test(texts, twelve_mistakes_are_twelve_lines);
	tcase_add_test(texts, every_value_arrives);
	tcase_add_test(texts, the_shipped_examples_are_good);
	suite_add_tcase(suite, texts);
	tcase_add_checked_fixture(files, make_folder, remove_folder);
	tcase_add_test(files, an_empty_file_has_the_defaults_of_the_contract);
	tcase_add_test(files, a_bare_forward_has_the_defaults_of_the_contract);
	tcase_add_test(files, a_later_file_and_a_later_line_win);
	tcase_add_test(files, the_environment_is_expanded_outside_single_quotes);
	tcase_add_test(files, a_hook_that_cannot_run_is_a_warning);
	tcase_add_test(files, files_that_cannot_be_read);
	tcase_add_test(files, included_files_that_cannot_be_read);
	tcase_add_test(files, too_many_files);
	tcase_add_test(files, an_error_does_not_spoil_the_next_file);
	tcase_add_test(files, mappings_in_all);
	tcase_add_test(files, a_thousand_forwards_stay_small);
	tcase_add_test(files, five_thousand_clashing_forwards);
	tcase_add_test(files, more_problems_than_anybody_reads);
	tcase_add_test(files, the_shipped_file_maps_nothing_and_names_every_option);
	tcase_add_test(files, cut_anywhere);
	tcase_add_test(files, changed_anywhere);
	tcase_set_timeout(files, 120);
	suite_add_tcase(suite, files);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
