/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "conf_tools.h"

#include <malloc.h>

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
	Suite *suite = suite_create("conf_files");
	TCase *made = tcase_create("made");
	TCase *shipped = tcase_create("shipped");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(made, make_folder, remove_folder);
	tcase_set_timeout(made, 120);
	tcase_set_timeout(shipped, 120);
	tcase_add_test(shipped, the_shipped_examples_are_good);
	tcase_add_test(made, the_shipped_file_maps_nothing_and_names_every_option);
	tcase_add_test(made, files_that_cannot_be_read);
	tcase_add_test(made, included_files_that_cannot_be_read);
	tcase_add_test(made, too_many_files);
	tcase_add_test(made, an_error_does_not_spoil_the_next_file);
	tcase_add_test(made, mappings_in_all);
	tcase_add_test(made, a_thousand_forwards_stay_small);
	tcase_add_test(made, five_thousand_clashing_forwards);
	tcase_add_test(made, more_problems_than_anybody_reads);
	tcase_add_test(made, cut_anywhere);
	tcase_add_test(made, changed_anywhere);
	suite_add_tcase(suite, made);
	suite_add_tcase(suite, shipped);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
