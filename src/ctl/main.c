/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_JSON = 256,
	OPT_WATCH,
	OPT_TIMEOUT,
	OPT_PROTOCOL,
	OPT_FAMILY,
	OPT_INTERNAL_PORT,
	OPT_EXTERNAL_PORT,
	OPT_EXTERNAL_POLICY,
	OPT_GATEWAY,
	OPT_LIFETIME,
	OPT_DESCRIPTION,
	OPT_INTERFACE,
	OPT_MAPPERS,
	OPT_VERSION
};

#define BIT(option) (1u << ((option)-OPT_JSON))
#define AD_HOC                                                                                   \
	(BIT(OPT_PROTOCOL) | BIT(OPT_FAMILY) | BIT(OPT_INTERNAL_PORT) | BIT(OPT_EXTERNAL_PORT) | \
	    BIT(OPT_EXTERNAL_POLICY) | BIT(OPT_GATEWAY) | BIT(OPT_LIFETIME) |                    \
	    BIT(OPT_DESCRIPTION))
#define DIRECT                                                                      \
	(BIT(OPT_JSON) | BIT(OPT_GATEWAY) | BIT(OPT_INTERFACE) | BIT(OPT_MAPPERS) | \
	    BIT(OPT_TIMEOUT))

static const struct command {
	const char *name;
	int (*run)(const struct ctl *);
	int min, max;     /* of names; max -1: any number */
	unsigned options; /* besides -c */
	bool runs;        /* takes a COMMAND after "--" */
	const char *synopsis;
} commands[] = {
	{ "status", ctl_status, 0, -1, BIT(OPT_JSON) | BIT(OPT_WATCH), false,
	    "status [--watch] [FORWARD...]   what is mapped; exit 0: all of it" },
	{ "monitor", ctl_monitor, 0, -1, BIT(OPT_JSON), false,
	    "monitor [FORWARD...]            what happens, as it happens" },
	{ "wait", ctl_wait, 1, 1, BIT(OPT_TIMEOUT), false,
	    "wait FORWARD [--timeout S]      until it is mapped; prints ADDRESS:PORT" },
	{ "renew", ctl_renew, 0, -1, BIT(OPT_JSON), false,
	    "renew [FORWARD...]              renew now" },
	{ "reload", ctl_reload, 0, 0, BIT(OPT_JSON), false,
	    "reload                          read the configuration again" },
	{ "hold", ctl_hold, 0, 1, BIT(OPT_TIMEOUT) | AD_HOC, true,
	    "hold FORWARD [-- COMMAND...]    keep it mapped while COMMAND runs, or until a\n"
	    "                                  signal; without FORWARD: --internal-port PORT\n"
	    "                                  [--protocol P] [--external-port PORT|any|same] "
	    "..." },
	{ "metrics", ctl_metrics, 0, 0, BIT(OPT_JSON), false,
	    "metrics                         numbers for a monitoring system (OpenMetrics)" },
	{ "external-address", ctl_external_address, 0, 0, DIRECT, false,
	    "external-address                the gateway's; this and what follows need no daemon\n"
	    "                                  [--gateway ADDR] [--interface IF] [--timeout S]\n"
	    "                                  [--mappers pcp,nat-pmp,upnp]" },
	{ "map", ctl_map, 1, 1,
	    DIRECT | BIT(OPT_EXTERNAL_PORT) | BIT(OPT_LIFETIME) | BIT(OPT_PROTOCOL), false,
	    "map PORT [--protocol P]         map a port once; prints ADDRESS:PORT LIFETIME\n"
	    "                                  [--external-port PORT|any|same] [--lifetime S]" },
	{ "unmap", ctl_unmap, 1, 1, DIRECT | BIT(OPT_PROTOCOL), false,
	    "unmap PORT [--protocol P]       delete what map has made" },
	{ "probe", ctl_probe, 0, 0, DIRECT, false,
	    "probe                           what the gateway can do, and what to do about it" },
};

void
ctl_complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("portleasectl: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

bool
ctl_parse_number(const char *text, long min, long max, long *out)
{
	char *end;
	long value;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || value < min || value > max)
		return false;
	*out = value;
	return true;
}

static void
usage(FILE *to)
{
	fputs("usage: portleasectl [-c SOCKET] [--json] COMMAND\n"
	      "  -c, --control SOCKET  the daemon's (" RUNSTATEDIR "/portleased/control.sock)\n"
	      "      --json            print JSON\n"
	      "      --version, --help\n"
	      "commands:\n",
	    to);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %s\n", commands[i].synopsis);
	fputs("portleasectl(1) says more.\n", to);
}

static bool
take_timeout(struct ctl *ctl, const char *text)
{
	long seconds;

	if (!ctl_parse_number(text, 0, 86400, &seconds)) {
		ctl_complain(
		    "--timeout is %s: it must be a whole number of seconds, up to 86400", text);
		return false;
	}
	ctl->has_timeout = true;
	ctl->timeout = (int)seconds * 1000;
	return true;
}

/* Options that are only kept. */
static const char **
text_option(struct ctl *ctl, int option)
{
	switch (option) {
	case 'c':
		return &ctl->socket;
	case OPT_PROTOCOL:
		return &ctl->protocol;
	case OPT_FAMILY:
		return &ctl->family;
	case OPT_INTERNAL_PORT:
		return &ctl->internal_port;
	case OPT_EXTERNAL_PORT:
		return &ctl->external_port;
	case OPT_EXTERNAL_POLICY:
		return &ctl->external_policy;
	case OPT_GATEWAY:
		return &ctl->gateway;
	case OPT_LIFETIME:
		return &ctl->lifetime;
	case OPT_DESCRIPTION:
		return &ctl->description;
	case OPT_INTERFACE:
		return &ctl->interface;
	case OPT_MAPPERS:
		return &ctl->mappers;
	default:
		return NULL;
	}
}

static const struct option longs[] = { { "control", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, OPT_JSON }, { "watch", no_argument, NULL, OPT_WATCH },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "protocol", required_argument, NULL, OPT_PROTOCOL },
	{ "family", required_argument, NULL, OPT_FAMILY },
	{ "internal-port", required_argument, NULL, OPT_INTERNAL_PORT },
	{ "external-port", required_argument, NULL, OPT_EXTERNAL_PORT },
	{ "external-policy", required_argument, NULL, OPT_EXTERNAL_POLICY },
	{ "gateway", required_argument, NULL, OPT_GATEWAY },
	{ "lifetime", required_argument, NULL, OPT_LIFETIME },
	{ "description", required_argument, NULL, OPT_DESCRIPTION },
	{ "interface", required_argument, NULL, OPT_INTERFACE },
	{ "mappers", required_argument, NULL, OPT_MAPPERS },
	{ "version", no_argument, NULL, OPT_VERSION }, { "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 } };

/* Returns -1 to go on, or the exit status. */
static int
take_options(struct ctl *ctl, int argc, char **argv, unsigned *given)
{
	int option;

	while ((option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		const char **text = text_option(ctl, option);

		if (option == '?') {
			usage(stderr);
			return CTL_USAGE;
		}
		if (option == 'h') {
			usage(stdout);
			return CTL_DONE;
		}
		if (option == OPT_VERSION) {
			puts("portleasectl " PACKAGE_VERSION);
			return CTL_DONE;
		}
		if (option >= OPT_JSON)
			*given |= BIT(option);
		if (text != NULL)
			*text = optarg;
		else if (option == OPT_TIMEOUT && !take_timeout(ctl, optarg))
			return CTL_USAGE;
		ctl->json |= option == OPT_JSON;
		ctl->watch |= option == OPT_WATCH;
	}
	return -1;
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* The first of these options, by name. */
static const char *
name_of_option(unsigned options)
{
	for (const struct option *o = longs; o->name != NULL; o++)
		if (o->val >= OPT_JSON && (options & BIT(o->val)) != 0)
			return o->name;
	return "?";
}

/* Does what was given make sense for it? */
static bool
fits(const struct command *c, const struct ctl *ctl, unsigned given)
{
	if ((given & ~c->options) != 0)
		ctl_complain("%s has no option --%s; portleasectl --help lists what it has",
		    c->name, name_of_option(given & ~c->options));
	else if (ctl->n_names < c->min)
		ctl_complain("%s needs %s", c->name,
		    (c->options & BIT(OPT_MAPPERS)) != 0 ? "a port" : "the name of a forward");
	else if (c->max >= 0 && ctl->n_names > c->max)
		ctl_complain("%s: unexpected argument \"%s\"%s", c->name, ctl->names[c->max],
		    c->runs ? "; write -- before the command to run" : "");
	else if (ctl->command != NULL && !c->runs)
		ctl_complain("%s runs no command", c->name);
	else
		return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .socket = RUNSTATEDIR "/portleased/control.sock" };
	const struct command *c;
	unsigned given = 0;
	int n = argc, status;

	setlocale(LC_CTYPE, "");
	/* What stands behind "--" is somebody else's command line. */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			n = i;
			ctl.command = &argv[i + 1];
			argv[i] = NULL;
			break;
		}
	}
	status = take_options(&ctl, n, argv, &given);
	if (status >= 0)
		return status;
	if (optind == n) {
		usage(stderr);
		return CTL_USAGE;
	}
	c = find_command(argv[optind]);
	if (c == NULL) {
		ctl_complain(
		    "there is no command \"%s\"; portleasectl --help lists them", argv[optind]);
		return CTL_USAGE;
	}
	ctl.names = &argv[optind + 1];
	ctl.n_names = n - optind - 1;
	if (!fits(c, &ctl, given))
		return CTL_USAGE;
	if (ctl.command != NULL && *ctl.command == NULL) {
		ctl_complain("there is no command after --");
		return CTL_USAGE;
	}
	return c->run(&ctl);
}
