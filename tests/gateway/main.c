/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "command.h"
#include "control.h"
#include "jobs.h"
#include "log.h"
#include "net.h"
#include "rules.h"
#include "serve.h"
#include "settings.h"
#include "table.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { BATCH = 64 }; /* datagrams of one socket in one turn of the loop */

struct options {
	const char *log, *control, *script;
	const char *commands[64];
	size_t n_commands;
	int64_t ready_fd;
};

static void
print_usage(FILE *to)
{
	fputs("usage: fakegw --listen ADDR[:PORT] [--listen ...] [OPTION ...]\n"
	      "       fakegw --ctl PATH COMMAND ...\n"
	      "A gateway for tests: NAT-PMP and PCP with faults on demand; README.md says more.\n"
	      "  --listen ADDR[:PORT]  address served, port 5351; also fe80::1%IF, [::1]:5351\n"
	      "  --log FILE            JSON lines; - or none: standard output\n"
	      "  --control PATH        Unix socket for commands while it runs\n"
	      "  --script FILE         lines \"at SECONDS COMMAND\" or \"COMMAND\"\n"
	      "  --do COMMAND          run a command at the start\n"
	      "  --ready-fd N          the ready line goes there, too\n"
	      "  --ctl PATH COMMAND ...  ask a running gateway\n"
	      "  --help\n"
	      "Settings, also for the command `set`:\n",
	    to);
	settings_help(to);
}

static bool
take_option(
    struct gw *gw, struct options *o, const char *name, const char *value, struct text *error)
{
	struct addr a;

	if (strcmp(name, "listen") == 0) {
		if (addr_parse(value, SERVER_PORT, &a))
			return net_listen(gw, &a, error);
		text_add(error, "listen: \"%s\" is not an address of this host", value);
		return false;
	}
	if (strcmp(name, "log") == 0)
		o->log = value;
	else if (strcmp(name, "control") == 0)
		o->control = value;
	else if (strcmp(name, "script") == 0)
		o->script = value;
	else if (strcmp(name, "do") == 0) {
		if (o->n_commands == sizeof(o->commands) / sizeof(o->commands[0])) {
			text_add(error, "do: too many; use a script");
			return false;
		}
		o->commands[o->n_commands++] = value;
	} else if (strcmp(name, "ready-fd") == 0) {
		if (!number_read(value, 0, 65535, &o->ready_fd)) {
			text_add(error, "ready-fd: \"%s\" is not a descriptor", value);
			return false;
		}
	} else if (settings_known(name))
		return settings_set(gw, name, value, error);
	else {
		text_add(error, "no option --%s; --help lists all", name);
		return false;
	}
	return true;
}

/* --name value, --name=value, and for switches --name alone. */
static bool
take_options(struct gw *gw, struct options *o, int argc, char **argv, struct text *error)
{
	for (int i = 1; i < argc; i++) {
		char *equals;
		const char *value;

		if (strncmp(argv[i], "--", 2) != 0) {
			text_add(error, "\"%s\" is no option", argv[i]);
			return false;
		}
		equals = strchr(argv[i], '=');
		if (equals != NULL) {
			*equals = '\0';
			value = equals + 1;
		} else if (settings_is_switch(argv[i] + 2) &&
		    (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0))
			value = "on";
		else if (i + 1 < argc)
			value = argv[i + 1];
		else {
			text_add(error, "%s needs a value", argv[i]);
			return false;
		}
		if (!take_option(gw, o, argv[i] + 2, value, error))
			return false;
		if (equals == NULL && value == argv[i + 1])
			i++;
	}
	return true;
}

static int
ask_running(int argc, char **argv)
{
	struct text line = { 0 };
	int status;

	if (argc < 4) {
		print_usage(stderr);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		text_add(&line, "%s%s", i > 3 ? " " : "", argv[i]);
	status = control_ask(argv[2], line.p);
	text_free(&line);
	return status;
}

static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool
run_commands(struct gw *gw, const struct options *o, struct text *error)
{
	gw->now = gw->started = clock_now();
	for (size_t i = 0; i < o->n_commands; i++) {
		struct text out = { 0 };
		bool ok = command_run(gw, o->commands[i], &out);

		if (!ok)
			text_add(
			    error, "do \"%s\": %s", o->commands[i], out.len > 0 ? out.p : "failed");
		text_free(&out);
		if (!ok)
			return false;
	}
	return o->script == NULL || command_script(gw, o->script, error);
}

static bool
start(struct gw *gw, const struct options *o, struct text *error)
{
	FILE *ready;

	if (gw->net.n == 0) {
		text_add(error, "give an address with --listen");
		return false;
	}
	if (o->log != NULL && strcmp(o->log, "-") != 0) {
		gw->log = fopen(o->log, "ae");
		if (gw->log == NULL) {
			text_add(error, "log %s: %s", o->log, strerror(errno));
			return false;
		}
	} else
		gw->log = stdout;
	if (o->control != NULL && !control_open(gw, o->control, error))
		return false;
	if (!run_commands(gw, o, error))
		return false;
	log_ready(gw, stdout);
	if (gw->log != stdout)
		log_ready(gw, gw->log);
	if (o->ready_fd != OFF) {
		ready = fdopen((int)o->ready_fd, "w");
		if (ready == NULL) {
			text_add(error, "ready-fd: %s", strerror(errno));
			return false;
		}
		log_ready(gw, ready);
		fclose(ready);
	}
	return true;
}

static void
read_socket(struct gw *gw, size_t i)
{
	uint8_t bytes[PACKET_MAX];
	struct addr peer;
	int n;

	for (int k = 0; k < BATCH && gw->net.socks[i].fd >= 0; k++) {
		n = net_receive(gw, i, bytes, sizeof(bytes), &peer);
		if (n < 0)
			return;
		gw->now = clock_now();
		if (gw->net.socks[i].listener)
			gateway_receive(gw, i, &peer, bytes, (size_t)n);
		rules_reap(gw, false);
	}
}

static int
timeout_ms(const struct gw *gw)
{
	int64_t next = jobs_next(gw), expiry = table_next(gw);

	if (expiry < next)
		next = expiry;
	if (next == NEVER)
		return -1;
	next = (next - clock_now() + 999) / 1000;
	return next < 0 ? 0 : next > 60000 ? 60000 : (int)next;
}

static void
run(struct gw *gw, int signals)
{
	struct pollfd p[sizeof(gw->net.socks) / sizeof(gw->net.socks[0]) + CONTROL_CLIENTS + 2];
	size_t n_socks, n_control;

	while (!gw->quit) {
		n_socks = gw->net.n;
		/* A closed socket has -1, which poll leaves out. */
		for (size_t i = 0; i < n_socks; i++)
			p[i] = (struct pollfd){ .fd = gw->net.socks[i].fd, .events = POLLIN };
		n_control = control_poll(gw, p + n_socks);
		p[n_socks + n_control] = (struct pollfd){ .fd = signals, .events = POLLIN };
		if (poll(p, n_socks + n_control + 1, timeout_ms(gw)) < 0 && errno != EINTR)
			return;
		gw->now = clock_now();
		if ((p[n_socks + n_control].revents & POLLIN) != 0)
			return;
		table_expire(gw);
		control_serve(gw, p + n_socks, n_control);
		for (size_t i = 0; i < n_socks; i++) {
			if (p[i].revents != 0)
				read_socket(gw, i);
		}
		gw->now = clock_now();
		jobs_run(gw);
		rules_reap(gw, false);
	}
}

int
main(int argc, char **argv)
{
	struct gw *gw;
	struct options o = { .ready_fd = OFF };
	struct text error = { 0 };
	int signals, status = 0;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		print_usage(stdout);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--ctl") == 0)
		return ask_running(argc, argv);
	gw = calloc(1, sizeof(*gw));
	if (gw == NULL)
		abort();
	gw->control_fd = -1;
	gw->now = gw->started = clock_now();
	settings_default(gw);
	epoch_set(gw, 0);
	gw->random = 0x9e3779b97f4a7c16ULL;
	signals = open_signals();
	if (signals >= 0 && take_options(gw, &o, argc, argv, &error) && start(gw, &o, &error)) {
		run(gw, signals);
		log_event(gw, "exit", ",\"in\":%llu,\"out\":%llu", (unsigned long long)gw->stats.in,
		    (unsigned long long)gw->stats.out);
	} else {
		fprintf(stderr, "fakegw: %s\n", error.len > 0 ? error.p : strerror(errno));
		status = 2;
	}
	text_free(&error);
	control_close(gw);
	jobs_free(gw);
	rules_reap(gw, true);
	table_free(&gw->table);
	net_close(&gw->net);
	if (gw->log != NULL && gw->log != stdout)
		fclose(gw->log);
	if (signals >= 0)
		close(signals);
	free(gw);
	return status;
}
