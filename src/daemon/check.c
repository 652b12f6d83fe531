/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf.h"
#include "daemon/daemon.h"

#include <stdio.h>

/* `portleased -n`: the configuration, looked at from the command line. */

static void
print_problems(const struct conf_problems *problems)
{
	for (size_t i = 0; i < problems->n; i++) {
		const struct conf_problem *p = &problems->list[i];
		const char *word = p->warning ? "warning: " : "";

		if (p->line > 0)
			fprintf(stderr, "%s:%d: %s%s\n", p->file, p->line, word, p->text);
		else
			fprintf(stderr, "%s: %s%s\n", p->file, word, p->text);
	}
}

static const char *
plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

static void
print_totals(const char *config, const struct conf *conf)
{
	struct conf_totals t;
	char disabled[48] = "";

	conf_totals(conf, &t);
	if (t.forwards == 0)
		fprintf(stderr,
		    "%s: warning: no forward%s: nothing will be mapped; write one, such as: "
		    "forward web { internal-port = 8080 }\n",
		    config, t.disabled > 0 ? " is enabled" : "");
	if (t.disabled > 0)
		snprintf(disabled, sizeof(disabled), " (%u more not enabled)", t.disabled);
	printf("%s: %u forward%s%s, %u mapping%s, %u gateway%s: ok\n", config, t.forwards,
	    plural(t.forwards), disabled, t.mappings, plural(t.mappings), t.gateways,
	    plural(t.gateways));
}

int
daemon_check_config(const char *config)
{
	struct conf_problems problems;
	struct conf *conf = conf_read(config, &problems);
	bool good = conf != NULL;

	print_problems(&problems);
	if (good)
		print_totals(config, conf);
	conf_problems_clear(&problems);
	conf_free(conf);
	return good ? DAEMON_EXIT_OK : DAEMON_EXIT_CONFIG;
}
