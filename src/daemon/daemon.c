/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/daemon.h"

#include "core/engine.h"
#include "daemon/conf.h"
#include "daemon/control.h"
#include "daemon/metrics.h"
#include "daemon/network.h"
#include "daemon/report.h"
#include "daemon/service.h"
#include "daemon/state.h"
#include "daemon/tell.h"
#include "os/httpd.h"
#include "os/log.h"
#include "os/loop.h"
#include "os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct daemon {
	const char *config, *state_directory, *runtime, *socket;
	struct conf *conf;
	struct loop *loop;
	struct engine *engine;
	struct network *network;
	struct service *service;
	struct control *control; /* NULL until there is somebody to tell */
	struct tell *tell;
	struct state *state;
	struct httpd *httpd;
	struct metrics metrics;
	double started; /* s since 1970 */
	struct loop_timer *engine_timer, *ready_timer;
	uint8_t secret[SECRET_SIZE];
	int lock;
	bool log_level_given;
	bool ready, stopping, summary_due, rejected;
};

/* ---- what the engine needs ----------------------------------------------------------------------
 */

static int
io_send(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct daemon *d = ctx;

	return network_send(d->network, path, bytes, n);
}

static void
io_nonce(void *ctx, const struct nonce_key *key, uint8_t out[12])
{
	const struct daemon *d = ctx;

	secret_nonce(d->secret, key, out);
}

static void
io_event(void *ctx, const struct engine_event *event)
{
	struct daemon *d = ctx;

	report_event(event);
	metrics_event(&d->metrics, event);
	if (d->control != NULL)
		control_event(d->control, event);
	tell_event(d->tell, event);
	d->summary_due = true;
}

static void
io_save(void *ctx)
{
	struct daemon *d = ctx;

	state_changed(d->state);
}

static void
io_path_done(void *ctx, uint32_t path)
{
	struct daemon *d = ctx;

	network_path_done(d->network, path);
}

static void
io_trace(void *ctx, const char *what, uint32_t path, uint32_t a, uint32_t b)
{
	(void)ctx;
	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug("path %u: %s (%u, %u)", path, what, a, b);
}

static const struct engine_io engine_io = { .send = io_send,
	.random = secret_io_random,
	.nonce = io_nonce,
	.event = io_event,
	.save = io_save,
	.path_done = io_path_done,
	.trace = io_trace };

/* ---- config -------------------------------------------------------------------------------------
 */

static void
log_problems(const struct conf_problems *problems)
{
	for (size_t i = 0; i < problems->n; i++) {
		const struct conf_problem *p = &problems->list[i];
		void (*log)(const char *, ...) = p->warning ? log_warning : log_error;
		const char *word = p->warning ? "warning: " : "";

		if (p->line > 0)
			log("%s:%d: %s%s", p->file, p->line, word, p->text);
		else
			log("%s: %s%s", p->file, word, p->text);
	}
}

/* The problems are the caller's to clear. */
static struct conf *
read_config(struct daemon *d, struct conf_problems *problems)
{
	struct conf *conf = conf_read(d->config, problems);

	log_problems(problems);
	/* The parser's leavings are larger than all that is kept. */
	malloc_trim(0);
	return conf;
}

static struct engine_settings
settings_of(const struct conf *conf)
{
	return (struct engine_settings){ .max_renew_interval = conf->max_renew_interval,
		.recovery_delay = conf->recovery_delay,
		.release_timeout = conf->release_timeout };
}

static bool
still_wanted(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled && strcmp(conf->forwards[i].name, name) == 0)
			return true;
	return false;
}

/* Makes the engine want what `conf` says and no more: what stays the same sends nothing. What is
 * dropped goes first, so that what replaces it can take its leases over. */
static void
apply_config(struct daemon *d, struct conf *conf)
{
	struct conf *old = d->conf;
	struct engine_settings settings = settings_of(conf);
	mstime now = loop_now(d->loop);
	int error = 0;

	engine_configure(d->engine, &settings);
	if (!d->log_level_given)
		log_set_level((enum log_level)conf->log_level);
	for (size_t i = 0; i < conf->n_gateways; i++) {
		struct gateway_spec spec;

		conf_gateway_spec(&conf->gateways[i], &spec);
		error |= engine_gateway(d->engine, now, &spec);
	}
	for (size_t i = 0; old != NULL && i < old->n_forwards; i++)
		if (old->forwards[i].enabled && !still_wanted(conf, old->forwards[i].name))
			engine_unwant(d->engine, now, old->forwards[i].name);
	for (size_t i = 0; i < conf->n_forwards; i++) {
		struct forward_spec spec;

		conf_forward_spec(&conf->forwards[i], &spec);
		if (conf->forwards[i].enabled)
			error |= engine_want(d->engine, now, &spec);
	}
	for (size_t i = 0; old != NULL && i < old->n_gateways; i++)
		if (conf_gateway_find(conf, old->gateways[i].name) == NULL)
			engine_gateway_remove(d->engine, now, old->gateways[i].name);
	if (error != 0)
		log_error("out of memory: not every forward is in force; reload to try again");
	d->conf = conf;
	network_configure(d->network, conf);
	tell_reload(d->tell, conf);
	httpd_listen(d->httpd, conf->metrics_listen);
	conf_free(old);
	d->summary_due = true;
}

/* For SIGHUP and for the control socket. */
static bool
reload(void *ctx, struct conf_problems *problems, struct conf_changes *changes)
{
	struct daemon *d = ctx;
	struct conf *conf;

	*problems = (struct conf_problems){ .list = NULL };
	if (d->stopping)
		return false;
	service_reloading(d->service);
	conf = read_config(d, problems);
	d->rejected = conf == NULL;
	d->summary_due = true;
	if (conf != NULL) {
		if (!conf_compare(d->conf, conf, changes))
			*changes = (struct conf_changes){ .added = 0 };
		control_reloading(d->control, conf);
		apply_config(d, conf);
		log_info("%s reloaded: %u forward%s added, %u changed, %u removed, %u unchanged",
		    d->config, changes->added, changes->added == 1 ? "" : "s", changes->changed,
		    changes->removed, changes->unchanged);
	} else {
		log_warning("%s rejected: going on with the configuration in force", d->config);
	}
	metrics_reload(&d->metrics, conf != NULL);
	control_reloaded(d->control, conf != NULL, problems);
	if (d->ready)
		service_ready(d->service);
	return conf != NULL;
}

static const struct conf *
host_conf(void *ctx)
{
	const struct daemon *d = ctx;

	return d->conf;
}

static bool
host_ready(void *ctx)
{
	const struct daemon *d = ctx;

	return d->ready;
}

static void
host_follow(void *ctx)
{
	struct daemon *d = ctx;

	network_configure(d->network, d->conf);
}

static char *
metrics(const struct daemon *d, enum metrics_format format)
{
	const struct metrics_head head = {
		.version = PACKAGE_VERSION, .started = d->started, .ready = d->ready
	};

	return metrics_text(&d->metrics, d->engine, loop_now(d->loop), &head, format);
}

static char *
host_metrics(void *ctx)
{
	return metrics(ctx, METRICS_OPEN);
}

static char *
web_metrics(void *ctx, const char *accept, const char **type)
{
	enum metrics_format format = metrics_accepted(accept);

	*type = metrics_content_type(format);
	return metrics(ctx, format);
}

static const struct httpd_page metrics_page = { .path = "/metrics", .text = web_metrics };

static const struct control_host control_host = { .conf = host_conf,
	.ready = host_ready,
	.reload = reload,
	.follow = host_follow,
	.metrics = host_metrics };

static bool
open_control(struct daemon *d)
{
	const char *socket = d->socket;
	char path[4096];
	int error;

	snprintf(path, sizeof(path), "%s/control.sock", d->runtime);
	if (socket == NULL)
		socket = path;
	error = control_new(d->loop, d->engine, socket, &control_host, d, &d->control);
	if (error < 0)
		log_error("control socket %s cannot be made: %s; remove what is there, or choose "
			  "another path with -c",
		    socket, strerror(-error));
	return error == 0;
}

/* ---- running ------------------------------------------------------------------------------------
 */

static void
stop(struct daemon *d, bool release)
{
	if (d->stopping)
		return;
	d->stopping = true;
	service_stopping(d->service);
	if (!release) {
		log_info("stopping; every lease is kept for the next start");
		loop_stop(d->loop);
		return;
	}
	log_info("stopping; releasing mappings");
	engine_release_all(d->engine, loop_now(d->loop));
	tell_stop(d->tell);
}

static void
got_signal(void *ctx, int number)
{
	struct daemon *d = ctx;

	struct conf_problems problems;
	struct conf_changes changes;
	unsigned n;

	switch (number) {
	case SIGHUP:
		(void)reload(d, &problems, &changes);
		conf_problems_clear(&problems);
		break;
	case SIGUSR1:
		n = engine_renew(d->engine, loop_now(d->loop), NULL);
		log_info("renewing %u mapping%s", n, n == 1 ? "" : "s");
		break;
	case SIGQUIT:
		stop(d, false);
		break;
	default:
		stop(d, true);
		break;
	}
}

static void
engine_due(void *ctx)
{
	struct daemon *d = ctx;

	engine_tick(d->engine, loop_now(d->loop));
}

static void
become_ready(void *ctx)
{
	struct daemon *d = ctx;

	if (d->ready)
		return;
	d->ready = true;
	loop_timer_set(d->ready_timer, MSTIME_NEVER);
	service_ready(d->service);
}

static void
tell_summary(struct daemon *d)
{
	char summary[200], text[256];

	d->summary_due = false;
	report_summary(d->engine, loop_now(d->loop), summary, sizeof(summary));
	snprintf(text, sizeof(text), "%s%s", summary,
	    d->rejected ? "; the last reload was rejected, see the log" : "");
	service_status(d->service, text);
}

/* At the end of every dispatch. */
static void
after_round(void *ctx)
{
	struct daemon *d = ctx;
	mstime next = engine_next(d->engine);

	if (!d->ready && engine_settled(d->engine))
		become_ready(d);
	if (d->summary_due && !d->stopping)
		tell_summary(d);
	tell_tick(d->tell);
	control_after(d->control);
	if (d->stopping &&
	    ((engine_drained(d->engine) && tell_idle(d->tell)) ||
		loop_now(d->loop) >= engine_stop_deadline(d->engine))) {
		loop_stop(d->loop);
		return;
	}
	if (d->stopping && engine_stop_deadline(d->engine) < next)
		next = engine_stop_deadline(d->engine);
	loop_timer_set(d->engine_timer, next);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static int
make_directory(const char *path)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static bool
take_lock(struct daemon *d)
{
	char path[4096];
	int error = make_directory(d->runtime);

	snprintf(path, sizeof(path), "%s/lock", d->runtime);
	d->lock = error == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	if (d->lock < 0) {
		log_error("runtime directory %s cannot be used: %s; create it for this user, or "
			  "choose another with -r",
		    d->runtime, strerror(error != 0 ? -error : errno));
		return false;
	}
	if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
		return true;
	log_error("another portleased is running in %s: stop it, or choose another runtime "
		  "directory with -r",
	    d->runtime);
	return false;
}

static bool
build(struct daemon *d, struct conf *conf)
{
	static const int signals[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1 };
	struct engine_settings settings = settings_of(conf);

	d->loop = loop_new();
	if (d->loop == NULL)
		return false;
	d->service = service_new(d->loop);
	d->engine_timer = loop_timer_new(d->loop, engine_due, d);
	d->ready_timer = loop_timer_new(d->loop, become_ready, d);
	d->engine = engine_new(&engine_io, d, &settings);
	if (d->service == NULL || d->engine_timer == NULL || d->ready_timer == NULL ||
	    d->engine == NULL)
		return false;
	d->state = state_new(d->loop, d->engine, d->state_directory);
	if (d->state == NULL)
		return false;
	d->network = network_new(d->loop, d->engine, &d->metrics);
	if (d->network == NULL)
		return false;
	d->tell = tell_new(d->loop, d->engine, &d->metrics, d->runtime);
	d->httpd = httpd_new(d->loop, &metrics_page, d);
	if (d->tell == NULL || d->httpd == NULL)
		return false;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!loop_signal(d->loop, signals[i], got_signal, d))
			return false;
	return true;
}

static void
say_hello(const struct daemon *d)
{
	struct conf_totals totals;

	conf_totals(d->conf, &totals);
	if (totals.forwards == 0)
		log_warning("portleased " PACKAGE_VERSION " started; %s has no forward: nothing is "
			    "mapped until you write one and reload, see portleased.conf(5)",
		    d->config);
	else
		log_info("portleased " PACKAGE_VERSION " started with %u forward%s from %s",
		    totals.forwards, totals.forwards == 1 ? "" : "s", d->config);
}

static int
serve(struct daemon *d, struct conf *conf)
{
	struct timespec now;
	int error;

	clock_gettime(CLOCK_REALTIME, &now);
	d->started = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	state_load(d->state, d->secret);
	apply_config(d, conf);
	if (!open_control(d))
		return DAEMON_EXIT_FAILED;
	say_hello(d);
	error = network_start(d->network);
	if (error < 0) {
		log_error("no route information from the kernel: %s", strerror(-error));
		return DAEMON_EXIT_FAILED;
	}
	service_starting(d->service, conf->ready_timeout);
	loop_timer_set(
	    d->ready_timer, loop_now(d->loop) + (mstime)conf->ready_timeout * MSTIME_SECOND);
	loop_set_after(d->loop, after_round, d);
	after_round(d);
	error = loop_run(d->loop);
	if (error < 0) {
		log_error("the event loop failed: %s", strerror(-error));
		return DAEMON_EXIT_FAILED;
	}
	state_finish(d->state);
	log_info("stopped");
	return DAEMON_EXIT_OK;
}

static void
demolish(struct daemon *d)
{
	control_free(d->control);
	d->control = NULL;
	network_free(d->network);
	d->network = NULL;
	httpd_free(d->httpd);
	engine_free(d->engine);
	state_free(d->state);
	service_free(d->service);
	tell_free(d->tell);
	loop_timer_free(d->engine_timer);
	loop_timer_free(d->ready_timer);
	loop_free(d->loop);
	conf_free(d->conf);
	if (d->lock >= 0)
		close(d->lock);
}

int
daemon_run(const struct daemon_options *options)
{
	struct daemon d = { .config = options->config,
		.state_directory = options->state_directory,
		.runtime = options->runtime_directory,
		.socket = options->control,
		.lock = -1,
		.log_level_given = options->has_log_level };
	struct conf_problems problems;
	struct conf *conf;
	int status = DAEMON_EXIT_FAILED;

	log_init();
	if (options->has_log_level)
		log_set_level((enum log_level)options->log_level);
	conf = read_config(&d, &problems);
	conf_problems_clear(&problems);
	if (conf == NULL)
		return DAEMON_EXIT_CONFIG;
	if (!take_lock(&d)) {
		conf_free(conf);
	} else if (!build(&d, conf)) {
		log_error("cannot start: %s", strerror(errno));
		conf_free(conf);
	} else {
		status = serve(&d, conf);
	}
	demolish(&d);
	return status;
}
