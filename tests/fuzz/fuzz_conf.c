/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf.h"

#include "fuzz.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Any file must end in a conf or in problems. The files live in a folder of their own; what could
 * lead include() out of it is not tried.
 */
static char folder[] = "/tmp/fuzz_conf.XXXXXX";
static char path[sizeof(folder) + sizeof("/main.conf")];

static void
remove_folder(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

static bool
has(const uint8_t *bytes, size_t n, const char *word)
{
	return memmem(bytes, n, word, strlen(word)) != NULL;
}

/* libconfuse never has to complain: conf_scan() has seen everything before it. */
static bool
is_from_libconfuse(const char *text)
{
	static const char *const beginnings[] = { "no such", "no sub", "unexpected token",
		"unexpected closing", "premature end", "missing ", "attempt to append",
		"syntax error", "invalid octal", "bad escape", "unterminated", "found duplicate" };
	size_t i;

	for (i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncmp(text, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return false;
}

static void
check_conf(const struct conf *conf)
{
	size_t i;

	FUZZ_CHECK(conf->n_gateways >= 1);
	FUZZ_CHECK(strcmp(conf->gateways[0].name, "default") == 0);
	for (i = 0; i < conf->n_gateways; i++)
		FUZZ_CHECK(
		    conf->gateways[i].n_mappers >= 1 && conf->gateways[i].n_mappers <= MAPPERS_MAX);
	for (i = 0; i < conf->n_forwards; i++) {
		const struct conf_forward *f = &conf->forwards[i];
		struct forward_spec spec;

		conf_forward_spec(f, &spec);
		FUZZ_CHECK(conf_gateway_find(conf, spec.gateway) == f->gateway);
		FUZZ_CHECK(f->count >= 1 && f->internal_port + f->count <= 65536);
		FUZZ_CHECK(f->assigned == (f->internal_port == 0));
		FUZZ_CHECK(f->lifetime >= 2 && f->lifetime <= 86400);
		FUZZ_CHECK((f->tcp || f->udp) && (f->ipv4 || f->ipv6));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static bool ready;
	struct conf_problems problems;
	struct conf *conf;
	size_t i, errors = 0;
	FILE *file;

	if (has(bytes, n, "include") && (has(bytes, n, "/") || has(bytes, n, "\\")))
		return 0;
	if (!ready) {
		FUZZ_CHECK(mkdtemp(folder) != NULL);
		(void)snprintf(path, sizeof(path), "%s/main.conf", folder);
		(void)atexit(remove_folder);
		ready = true;
	}
	file = fopen(path, "w");
	FUZZ_CHECK(file != NULL);
	FUZZ_CHECK(fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
	conf = conf_read(path, &problems);
	for (i = 0; i < problems.n; i++) {
		FUZZ_CHECK(problems.list[i].text[0] != '\0');
		FUZZ_CHECK(strpbrk(problems.list[i].text, "\n\033") == NULL);
		FUZZ_CHECK(!is_from_libconfuse(problems.list[i].text));
		FUZZ_CHECK(problems.list[i].line >= 0);
		errors += !problems.list[i].warning;
	}
	FUZZ_CHECK((conf == NULL) == (errors > 0));
	if (conf != NULL)
		check_conf(conf);
	conf_free(conf);
	conf_problems_clear(&problems);
	return 0;
}
