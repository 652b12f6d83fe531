/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/daemon.h"
#include "os/log.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
usage(FILE *to)
{
	fprintf(to,
	    "usage: portleased [-f FILE] [-n] [-l LEVEL] [-c SOCKET] [-s DIR] [-r DIR]\n"
	    "                  [--version] [--help]\n"
	    "  -f, --config FILE            configuration (" SYSCONFDIR "/portleased.conf)\n"
	    "  -n, --check-config           check it, print every problem, send nothing\n"
	    "  -l, --log-level LEVEL        error, warning, info or debug\n"
	    "  -c, --control SOCKET         control socket (RUNTIME/control.sock)\n"
	    "  -s, --state-directory DIR    (" LOCALSTATEDIR "/lib/portleased)\n"
	    "  -r, --runtime-directory DIR  RUNTIME (" RUNSTATEDIR "/portleased)\n");
}

/* systemd hands over a list of folders; the first is ours. */
static const char *
first_entry(const char *variable, const char *otherwise, char room[PATH_MAX])
{
	const char *list = getenv(variable);

	if (list == NULL || *list == '\0')
		return otherwise;
	snprintf(room, PATH_MAX, "%.*s", (int)strcspn(list, ":"), list);
	return room;
}

static bool
parse_level(struct daemon_options *options, const char *text)
{
	enum log_level level;

	if (!log_parse_level(text, &level)) {
		fprintf(stderr,
		    "portleased: unknown log level \"%s\": use error, warning, info or debug\n",
		    text);
		return false;
	}
	options->log_level = (int)level;
	options->has_log_level = true;
	return true;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'f' },
		{ "check-config", no_argument, NULL, 'n' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "control", required_argument, NULL, 'c' },
		{ "state-directory", required_argument, NULL, 's' },
		{ "runtime-directory", required_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 } };
	char state[PATH_MAX], runtime[PATH_MAX];
	struct daemon_options options = { .config = SYSCONFDIR "/portleased.conf",
		.state_directory =
		    first_entry("STATE_DIRECTORY", LOCALSTATEDIR "/lib/portleased", state),
		.runtime_directory =
		    first_entry("RUNTIME_DIRECTORY", RUNSTATEDIR "/portleased", runtime) };
	bool check = false;
	int option;

	while ((option = getopt_long(argc, argv, "f:nl:c:s:r:h", longs, NULL)) != -1)
		switch (option) {
		case 'f':
			options.config = optarg;
			break;
		case 'n':
			check = true;
			break;
		case 'l':
			if (!parse_level(&options, optarg))
				return DAEMON_EXIT_USAGE;
			break;
		case 'c':
			options.control = optarg;
			break;
		case 's':
			options.state_directory = optarg;
			break;
		case 'r':
			options.runtime_directory = optarg;
			break;
		case 'V':
			puts("portleased " PACKAGE_VERSION);
			return DAEMON_EXIT_OK;
		case 'h':
			usage(stdout);
			return DAEMON_EXIT_OK;
		default:
			usage(stderr);
			return DAEMON_EXIT_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "portleased: unexpected argument \"%s\"\n", argv[optind]);
		usage(stderr);
		return DAEMON_EXIT_USAGE;
	}
	return check ? daemon_check_config(options.config) : daemon_run(&options);
}
