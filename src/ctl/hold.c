/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

/*
 * A hold lives as long as its connection. When the daemon is restarted, it is asked again, every
 * second, until it is back: leases outlive a restart.
 */
#define AGAIN 1000            /* ms */
#define START_TIMEOUT 60000   /* until COMMAND must have been started */
#define ADDRESS_PATIENCE 5000 /* a lease without an external address is enough after that */

struct hold {
	const struct ctl *ctl;
	struct client *client; /* NULL: the daemon is away */
	int signals;
	sigset_t blocked, before;
	json_t *mappings; /* the latest; NULL: none yet */
	bool active, told;
	int64_t active_since, again, start_by;
	pid_t child; /* 0: not started */
	int status;  /* of the end */
	bool ended;
};

static int64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
end(struct hold *h, int status)
{
	if (h->ended)
		return;
	h->ended = true;
	h->status = status;
}

/* With a COMMAND, whatever goes wrong here must not look like its own status. */
static int
own_failure(const struct hold *h, int status)
{
	return h->ctl->command != NULL ? CTL_HOLD_FAILED : status;
}

/* ---- the call ------------------------------------------------------------------------------- */

static void
add_member(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		(void)json_object_set_new(o, key, json_string(value));
}

/* NULL: has complained. */
static json_t *
make_parameters(const struct ctl *ctl)
{
	json_t *o = json_object();
	long lifetime;

	if (ctl->n_names > 0) {
		add_member(o, "forward", ctl->names[0]);
		return o;
	}
	add_member(o, "protocol", ctl->protocol);
	add_member(o, "family", ctl->family);
	add_member(o, "internal_port", ctl->internal_port);
	add_member(o, "external_port", ctl->external_port);
	add_member(o, "external_policy", ctl->external_policy);
	add_member(o, "gateway", ctl->gateway);
	add_member(o, "description", ctl->description);
	if (ctl->lifetime != NULL) {
		if (!ctl_parse_number(ctl->lifetime, 2, 86400, &lifetime)) {
			ctl_complain(
			    "--lifetime is %s: it must be 2 to 86400 seconds", ctl->lifetime);
			json_decref(o);
			return NULL;
		}
		(void)json_object_set_new(o, "lifetime", json_integer(lifetime));
	}
	return json_pack("{s:o}", "ad_hoc", o);
}

/* 0 or -errno. */
static int
begin(struct hold *h)
{
	json_t *parameters = make_parameters(h->ctl);
	int error;

	if (parameters == NULL)
		return -EINVAL;
	error = client_open(h->ctl->socket, &h->client);
	if (error != 0) {
		json_decref(parameters);
		h->client = NULL;
		return error;
	}
	if (client_call(h->client, "Hold", parameters, true))
		return 0;
	client_close(h->client);
	h->client = NULL;
	return -EPIPE;
}

static void
lost(struct hold *h)
{
	client_close(h->client);
	h->client = NULL;
	h->active = false;
	h->again = clock_ms() + AGAIN;
	if (h->mappings == NULL && h->child == 0 && !h->told) {
		end(h, own_failure(h, client_complain_lost(h->ctl->socket, CLIENT_CLOSED)));
		return;
	}
	ctl_complain(
	    "portleased at %s has gone; holding again as soon as it is back", h->ctl->socket);
}

static void
take_reply(struct hold *h)
{
	struct client_reply reply;
	enum client_result result;
	json_t *mappings;

	while (h->client != NULL && !h->ended) {
		result = client_next(h->client, 0, &reply);
		if (result == CLIENT_TIMEOUT)
			return;
		if (result == CLIENT_CLOSED) {
			lost(h);
			return;
		}
		if (reply.error != NULL) {
			int status = client_complain_error(&reply, "hold a forward");

			/* The program that runs is not to blame. */
			if (h->child == 0)
				end(h, own_failure(h, status));
			json_decref(reply.message);
			client_close(h->client);
			h->client = NULL;
			h->again = INT64_MAX;
			return;
		}
		mappings = json_object_get(reply.parameters, "mappings");
		json_decref(h->mappings);
		h->mappings = json_incref(mappings);
		h->active = json_is_true(json_object_get(reply.parameters, "active"));
		if (!h->active)
			h->active_since = 0;
		else if (h->active_since == 0)
			h->active_since = clock_ms();
		json_decref(reply.message);
	}
}

/* ---- what is held for ----------------------------------------------------------------------- */

static bool
good_enough(const struct hold *h)
{
	return h->active &&
	    (unit_all_addressed(h->mappings) || clock_ms() - h->active_since >= ADDRESS_PATIENCE);
}

static void
run_child(const struct hold *h, const json_t *gateways)
{
	char **command = h->ctl->command;
	int error;

	unit_export(h->mappings, gateways);
	(void)sigprocmask(SIG_SETMASK, &h->before, NULL);
	execvp(command[0], command);
	error = errno;
	ctl_complain("cannot run %s: %s", command[0], strerror(error));
	_exit(error == ENOENT ? CTL_NOT_FOUND : CTL_CANNOT_RUN);
}

static void
start_child(struct hold *h)
{
	struct client_reply reply = { .message = NULL };
	struct ctl all = { .socket = h->ctl->socket };

	/* Only for what a mapping's row does not have; without it, the rest must do. */
	if (client_ask(&all, "GetStatus", NULL, "read the status", &reply) != CTL_DONE)
		reply.message = reply.parameters = NULL;
	fflush(stdout);
	h->child = fork();
	if (h->child == 0)
		run_child(h, json_object_get(reply.parameters, "gateways"));
	json_decref(reply.message);
	if (h->child > 0)
		return;
	ctl_complain("cannot start %s: %s", h->ctl->command[0], strerror(errno));
	h->child = 0;
	end(h, CTL_HOLD_FAILED);
}

static void
look(struct hold *h)
{
	if (h->ended || h->mappings == NULL)
		return;
	if (h->ctl->command != NULL) {
		if (h->child == 0 && good_enough(h))
			start_child(h);
		return;
	}
	if (!h->told && good_enough(h)) {
		h->told = true;
		unit_print(h->mappings);
		(void)sd_notify(0, "READY=1\nSTATUS=mapped");
	} else if (h->told) {
		(void)sd_notify(0, h->active ? "STATUS=mapped" : "STATUS=not mapped now");
	}
}

static void
too_late(struct hold *h)
{
	const char *why = row_text(json_array_get(h->mappings, 0), "last_error");

	if (why == NULL)
		why = row_text(json_array_get(h->mappings, 0), "state");
	if (h->ended || h->child != 0 || h->told || h->start_by > clock_ms())
		return;
	ctl_complain("not mapped after %d s%s%s%s; portleasectl status tells more",
	    (h->ctl->has_timeout ? h->ctl->timeout : START_TIMEOUT) / 1000,
	    h->ctl->command != NULL ? ", so the command was not started" : "",
	    why != NULL ? ": " : "", why != NULL ? why : "");
	end(h, own_failure(h, CTL_REFUSED));
}

/* ---- signals -------------------------------------------------------------------------------- */

static void
reap(struct hold *h)
{
	int status;

	if (h->child <= 0 || waitpid(h->child, &status, WNOHANG) != h->child)
		return;
	h->child = 0;
	if (WIFSIGNALED(status))
		end(h, CTL_BY_SIGNAL + WTERMSIG(status));
	else
		end(h, WEXITSTATUS(status));
}

static void
take_signal(struct hold *h)
{
	struct signalfd_siginfo info;

	while (read(h->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		int number = (int)info.ssi_signo;

		if (number == SIGCHLD) {
			reap(h);
			continue;
		}
		/* The terminal's own go to all of its foreground, to COMMAND as well. */
		if (h->child > 0 && info.ssi_code != SI_KERNEL)
			(void)kill(h->child, number);
		if (h->child > 0 || h->ended)
			continue;
		if (h->ctl->command != NULL)
			end(h, CTL_BY_SIGNAL + number);
		else
			end(h, CTL_DONE);
	}
}

static bool
watch_signals(struct hold *h)
{
	static const int numbers[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1,
		SIGUSR2 };

	sigemptyset(&h->blocked);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&h->blocked, numbers[i]);
	if (sigprocmask(SIG_BLOCK, &h->blocked, &h->before) != 0)
		return false;
	h->signals = signalfd(-1, &h->blocked, SFD_CLOEXEC | SFD_NONBLOCK);
	return h->signals >= 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int
next_wait(const struct hold *h)
{
	int64_t now = clock_ms(), at = INT64_MAX;

	if (h->client == NULL && h->again < at)
		at = h->again;
	if (h->child == 0 && !h->told && h->start_by < at)
		at = h->start_by;
	if (h->active && h->child == 0 && !h->told && h->active_since + ADDRESS_PATIENCE < at)
		at = h->active_since + ADDRESS_PATIENCE;
	if (at == INT64_MAX)
		return -1;
	return at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
}

static void
hold_on(struct hold *h)
{
	while (!h->ended) {
		struct pollfd fds[2] = { { .fd = h->signals, .events = POLLIN },
			{ .fd = h->client != NULL ? client_fd(h->client) : -1, .events = POLLIN } };

		(void)poll(fds, 2, next_wait(h));
		take_signal(h);
		if (fds[1].revents != 0)
			take_reply(h);
		if (h->client == NULL && !h->ended && clock_ms() >= h->again) {
			h->again = clock_ms() + AGAIN;
			if (begin(h) == 0)
				take_reply(h);
		}
		look(h);
		too_late(h);
	}
}

static bool
is_sensible(const struct ctl *ctl)
{
	bool ad_hoc = ctl->protocol != NULL || ctl->family != NULL || ctl->internal_port != NULL ||
	    ctl->external_port != NULL || ctl->external_policy != NULL || ctl->gateway != NULL ||
	    ctl->lifetime != NULL || ctl->description != NULL;

	if (ctl->n_names > 0 && ad_hoc)
		ctl_complain("hold takes a forward of the configuration, or options that describe "
			     "one, not both");
	else if (ctl->n_names == 0 && ctl->internal_port == NULL)
		ctl_complain("hold needs the name of a forward, or --internal-port");
	else
		return true;
	return false;
}

int
ctl_hold(const struct ctl *ctl)
{
	struct hold h = { .ctl = ctl, .signals = -1, .start_by = INT64_MAX };
	int error;

	if (!is_sensible(ctl))
		return own_failure(&h, CTL_USAGE);
	if (ctl->has_timeout)
		h.start_by = clock_ms() + ctl->timeout;
	else if (ctl->command != NULL)
		h.start_by = clock_ms() + START_TIMEOUT;
	if (!watch_signals(&h)) {
		ctl_complain("cannot watch for signals: %s", strerror(errno));
		return own_failure(&h, CTL_REFUSED);
	}
	error = begin(&h);
	if (error == -EINVAL)
		end(&h, own_failure(&h, CTL_USAGE));
	else if (error != 0)
		end(&h, own_failure(&h, client_complain_open(ctl->socket, error)));
	hold_on(&h);
	client_close(h.client);
	json_decref(h.mappings);
	close(h.signals);
	return h.status;
}
