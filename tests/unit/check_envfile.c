/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/envfile.h"

#include "daemon/variables.h"
#include "folder.h"

#include <check.h>
#include <errno.h>
#include <sys/wait.h>

static char forwards[160];

static const char *
in_forwards(const char *name)
{
	static char path[2][240];
	static unsigned turn;
	char *to = path[turn++ % 2];

	snprintf(to, sizeof path[0], "%s/%s", forwards, name);
	return to;
}

static unsigned
mode_of(const char *path)
{
	struct stat st;

	ck_assert_int_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void
expect_text(const char *name, const char *wanted)
{
	char got[8192];
	FILE *f = fopen(in_forwards(name), "r");
	size_t n;

	ck_assert_msg(f != NULL, "there is no %s", name);
	n = fread(got, 1, sizeof got - 1, f);
	fclose(f);
	got[n] = '\0';
	ck_assert_str_eq(got, wanted);
}

static void
setup(void)
{
	folder_make();
	snprintf(forwards, sizeof forwards, "%s/forwards", folder);
}

static void
teardown(void)
{
	char command[200];

	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(written_replaced_removed)
{
	struct envfile *f;
	struct stat before, after;

	umask(077); /* as in a service */
	f = envfile_open(folder);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(mode_of(forwards), 0755);
	ck_assert_int_eq(envfile_write(f, "web", "A=1\n", 4), 0);
	expect_text("web.env", "A=1\n");
	ck_assert_uint_eq(mode_of(in_forwards("web.env")), 0644);
	ck_assert_int_eq(lstat(in_forwards("web.env"), &before), 0);
	ck_assert_int_eq(envfile_write(f, "web", "B=22\n", 5), 0);
	expect_text("web.env", "B=22\n");
	ck_assert_int_eq(lstat(in_forwards("web.env"), &after), 0);
	/* Another file, not the old one overwritten: who has it open reads on in peace. */
	ck_assert_uint_ne(before.st_ino, after.st_ino);
	ck_assert_int_eq(envfile_remove(f, "web"), 0);
	ck_assert_int_ne(access(in_forwards("web.env"), F_OK), 0);
	ck_assert_int_eq(envfile_remove(f, "web"), 0);
	envfile_close(f);
	envfile_close(NULL);
}
END_TEST

START_TEST(stale_ones_go)
{
	struct envfile *f;
	FILE *out;

	ck_assert_int_eq(mkdir(forwards, 0700), 0);
	file_make("keep.env", "", 0);
	ck_assert_int_eq(symlink(in_folder("keep.env"), in_forwards("link.env")), 0);
	out = fopen(in_forwards("old.env"), "w");
	ck_assert_ptr_nonnull(out);
	fclose(out);
	out = fopen(in_forwards(".web.env.new"), "w");
	ck_assert_ptr_nonnull(out);
	fclose(out);
	out = fopen(in_forwards("note"), "w");
	ck_assert_ptr_nonnull(out);
	fclose(out);
	f = envfile_open(folder);
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(mode_of(forwards), 0755);
	ck_assert_int_ne(access(in_forwards("old.env"), F_OK), 0);
	ck_assert_int_ne(access(in_forwards("link.env"), F_OK), 0);
	ck_assert_int_ne(access(in_forwards(".web.env.new"), F_OK), 0);
	ck_assert_int_eq(access(in_forwards("note"), F_OK), 0);
	ck_assert_int_eq(access(in_folder("keep.env"), F_OK), 0);
	envfile_close(f);
}
END_TEST

START_TEST(troubles)
{
	struct envfile *f;
	char name[300];

	ck_assert_ptr_null(envfile_open("/nonexistent"));
	ck_assert_int_eq(errno, ENOENT);
	f = envfile_open(folder);
	ck_assert_ptr_nonnull(f);
	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	ck_assert_int_eq(envfile_write(f, name, "", 0), -ENAMETOOLONG);
	/* The folder is gone: said, not survived by luck. */
	ck_assert_int_eq(rmdir(forwards), 0);
	ck_assert_int_eq(envfile_write(f, "web", "A=1\n", 4), -ENOENT);
	envfile_close(f);
	/* A link in its place is not followed. */
	ck_assert_int_eq(symlink("/tmp", forwards), 0);
	ck_assert_ptr_null(envfile_open(folder));
	ck_assert_int_ne(errno, 0);
}
END_TEST

START_TEST(quoting)
{
	static const char *const lines[][2] = {
		{ "", "X=\"\"\n" },
		{ "203.0.113.7", "X=\"203.0.113.7\"\n" },
		{ "a b", "X=\"a b\"\n" },
		{ "a\"b$c`d\\e'f", "X=\"a\\\"b\\$c\\`d\\\\e'f\"\n" },
		{ "a\nb\tc\x7f", "X=\"a?b?c?\"\n" },
		{ "#;\xc3\xa4", "X=\"#;\xc3\xa4\"\n" },
	};

	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		char *line = envfile_line("X", lines[i][0]);

		ck_assert_str_eq(line, lines[i][1]);
		free(line);
	}
}
END_TEST

/* Every octet there is, read by a real shell. */
START_TEST(a_shell_reads_it)
{
	char value[256], command[300], got[1000], *line;
	size_t n = 0, length;
	FILE *pipe;

	for (unsigned c = 0x20; c < 0x7f; c++)
		value[n++] = (char)c;
	value[n] = '\0';
	line = envfile_line("X", value);
	file_make("all.env", line, strlen(line));
	free(line);
	snprintf(command, sizeof command, "env -i /bin/sh -c '. %s; printf %%s \"$X\"'",
	    in_folder("all.env"));
	pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	length = fread(got, 1, sizeof got - 1, pipe);
	got[length] = '\0';
	ck_assert_int_eq(pclose(pipe), 0);
	ck_assert_str_eq(got, value);
}
END_TEST

/* ---- the variables ---------------------------------------------------------------------- */

static struct unit_view
web(uint8_t protocol)
{
	return (struct unit_view){ .forward = "web",
		.gateway = "default",
		.family = FAMILY_IPV4,
		.protocol = protocol,
		.up = true,
		.mapper = MAPPER_PCP,
		.has_gateway_address = true,
		.gateway_address = netaddr_from4((const uint8_t[4]){ 192, 168, 1, 1 }),
		.has_internal = true,
		.internal = netaddr_from4((const uint8_t[4]){ 192, 168, 1, 20 }),
		.has_external = true,
		.external = netaddr_from4((const uint8_t[4]){ 8, 8, 4, 4 }),
		.interface = "eth0",
		.ports = 1,
		.internal_port = 8080,
		.external_port = 80,
		.lifetime = 3600 };
}

static void
expect_list(char **list, const char *const wanted[])
{
	size_t n = 0;

	ck_assert_ptr_nonnull(list);
	for (; list[n] != NULL && wanted[n] != NULL; n++)
		ck_assert_str_eq(list[n], wanted[n]);
	ck_assert_ptr_null(list[n]);
	ck_assert_ptr_null(wanted[n]);
	variables_free(list);
}

START_TEST(all_variables)
{
	struct unit_view v = web(PROTOCOL_TCP);
	struct unit_outside old = { .has_external = true,
		.external = netaddr_from4((const uint8_t[4]){ 8, 8, 8, 8 }),
		.ports = 1,
		.external_port = 81 };
	struct notice notice = { .kind = EVENT_CHANGED, .unit = &v, .old = &old };

	expect_list(variables_new(&v, &notice),
	    (const char *const[]){ "PORTLEASE_EVENT=changed", "PORTLEASE_FORWARD=web",
		"PORTLEASE_PROTOCOL=tcp", "PORTLEASE_FAMILY=ipv4",
		"PORTLEASE_INTERNAL_ADDRESS=192.168.1.20", "PORTLEASE_INTERNAL_PORT=8080",
		"PORTLEASE_EXTERNAL_ADDRESS=8.8.4.4", "PORTLEASE_EXTERNAL_PORT=80",
		"PORTLEASE_OLD_EXTERNAL_ADDRESS=8.8.8.8", "PORTLEASE_OLD_EXTERNAL_PORT=81",
		"PORTLEASE_GATEWAY=default", "PORTLEASE_GATEWAY_ADDRESS=192.168.1.1",
		"PORTLEASE_INTERFACE=eth0", "PORTLEASE_MAPPER=pcp", "PORTLEASE_LIFETIME=3600",
		"PORTLEASE_EXTERNAL_CLASS=public", NULL });
}
END_TEST

/* What is not known is empty, never 0 or a lie. */
START_TEST(unknown_variables)
{
	struct unit_view v = { .forward = "web",
		.gateway = "default",
		.family = FAMILY_IPV6,
		.protocol = PROTOCOL_UDP,
		.ports = 1 };

	expect_list(variables_new(&v, NULL),
	    (const char *const[]){ "PORTLEASE_FORWARD=web", "PORTLEASE_PROTOCOL=udp",
		"PORTLEASE_FAMILY=ipv6", "PORTLEASE_INTERNAL_ADDRESS=", "PORTLEASE_INTERNAL_PORT=",
		"PORTLEASE_EXTERNAL_ADDRESS=", "PORTLEASE_EXTERNAL_PORT=",
		"PORTLEASE_GATEWAY=default", "PORTLEASE_GATEWAY_ADDRESS=", "PORTLEASE_INTERFACE=",
		"PORTLEASE_MAPPER=", "PORTLEASE_LIFETIME=", "PORTLEASE_EXTERNAL_CLASS=none",
		NULL });
}
END_TEST

START_TEST(ports_of_ranges)
{
	struct unit_view v = web(PROTOCOL_TCP);
	uint16_t ports[3] = { 5000, 65535, 5002 };
	char **list;

	v.ports = 3;
	v.internal_port = v.external_port = 5000;
	list = variables_new(&v, NULL);
	ck_assert_str_eq(list[4], "PORTLEASE_INTERNAL_PORT=5000-5002");
	ck_assert_str_eq(list[6], "PORTLEASE_EXTERNAL_PORT=5000-5002");
	variables_free(list);
	v.external_ports = ports;
	list = variables_new(&v, NULL);
	ck_assert_str_eq(list[4], "PORTLEASE_INTERNAL_PORT=5000-5002");
	ck_assert_str_eq(list[6], "PORTLEASE_EXTERNAL_PORT=5000,65535,5002");
	variables_free(list);
}
END_TEST

START_TEST(the_whole_file)
{
	struct unit_view tcp = web(PROTOCOL_TCP), udp6 = web(PROTOCOL_UDP);
	const struct unit_view *units[] = { &tcp, &udp6 };
	char *text;

	udp6.family = FAMILY_IPV6;
	udp6.external_port = 81;
	text = variables_file(units, 2);
	ck_assert_ptr_nonnull(text);
	ck_assert_ptr_eq(
	    strstr(text, "PORTLEASE_FORWARD=\"web\"\nPORTLEASE_PROTOCOL=\"tcp\"\n"), text);
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_EXTERNAL_PORT=\"80\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_EXTERNAL_PORT_TCP=\"80\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_EXTERNAL_PORT_UDP6=\"81\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_FAMILY_UDP6=\"ipv6\"\n"));
	ck_assert_ptr_null(strstr(text, "EVENT"));
	ck_assert_ptr_null(strstr(text, "OLD_"));
	free(text);
	tcp.family = FAMILY_IPV6;
	udp6.family = FAMILY_IPV4;
	text = variables_file(units, 2);
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_EXTERNAL_PORT_TCP6=\"80\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "\nPORTLEASE_EXTERNAL_PORT_UDP=\"81\"\n"));
	free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("envfile");
	TCase *tc = tcase_create("envfile");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, written_replaced_removed);
	tcase_add_test(tc, stale_ones_go);
	tcase_add_test(tc, troubles);
	tcase_add_test(tc, quoting);
	tcase_add_test(tc, a_shell_reads_it);
	tcase_add_test(tc, all_variables);
	tcase_add_test(tc, unknown_variables);
	tcase_add_test(tc, ports_of_ranges);
	tcase_add_test(tc, the_whole_file);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
