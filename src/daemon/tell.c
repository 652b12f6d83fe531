/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/tell.h"

#include "core/notice.h"
#include "daemon/conf.h"
#include "daemon/metrics.h"
#include "daemon/variables.h"
#include "os/envfile.h"
#include "os/hook.h"
#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HOOK_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define UNITS_MAX (2 * FAMILIES)
/* A program that goes on failing is tried for ever, but not told of for ever. */
#define FAILURES_TOLD 5

/* A program and its arguments; forwards share the global one. */
struct program {
	unsigned users;
	char **argv; /* NULL-terminated */
};

struct teller {
	TAILQ_ENTRY(teller) next;
	struct tell *tell;
	struct program *program; /* NULL: none */
	struct hook *hook;       /* NULL: none runs */
	bool configured;
	bool gone;        /* to be forgotten as soon as its hook knows */
	bool file_due;    /* the env file may be wrong */
	uint8_t failures; /* of the hook, in a row */
	bool has_file;    /* with the text of this hash: */
	uint32_t file_hash;
	char name[];
};

struct tell {
	struct loop *loop;
	const struct engine *engine;
	struct metrics *metrics;
	struct notices *notices;
	struct envfile *files;
	struct loop_timer *timer;
	TAILQ_HEAD(, teller) tellers;
	struct program *global; /* NULL: none */
	mstime timeout;         /* of a hook */
	bool files_due, file_failed, sweep_due;
};

/* ---- programs ------------------------------------------------------------------------------- */

static bool
same_argv(const struct program *p, char *const *argv)
{
	size_t i = 0;

	if (p == NULL || argv == NULL)
		return p == NULL && argv == NULL;
	while (p->argv[i] != NULL && argv[i] != NULL && strcmp(p->argv[i], argv[i]) == 0)
		i++;
	return p->argv[i] == NULL && argv[i] == NULL;
}

static void
program_drop(struct program *p)
{
	if (p == NULL || --p->users > 0)
		return;
	for (size_t i = 0; p->argv != NULL && p->argv[i] != NULL; i++)
		free(p->argv[i]);
	free(p->argv);
	free(p);
}

static struct program *
program_new(char *const *argv)
{
	struct program *p = calloc(1, sizeof(*p));
	size_t n = 0;

	while (argv[n] != NULL)
		n++;
	if (p == NULL)
		return NULL;
	p->users = 1;
	p->argv = calloc(n + 1, sizeof(*p->argv));
	for (size_t i = 0; p->argv != NULL && i < n; i++) {
		p->argv[i] = strdup(argv[i]);
		if (p->argv[i] == NULL)
			break;
	}
	if (p->argv != NULL && (n == 0 || p->argv[n - 1] != NULL))
		return p;
	program_drop(p);
	return NULL;
}

/* Makes *slot run `argv` (NULL: nothing). What is the same stays. False: out of memory. */
static bool
program_set(struct program **slot, struct program *shared, char *const *argv)
{
	struct program *p = NULL;

	if (argv != NULL && argv[0] == NULL)
		argv = NULL;
	if (same_argv(*slot, argv))
		return true;
	if (argv != NULL && same_argv(shared, argv)) {
		p = shared;
		p->users++;
	} else if (argv != NULL) {
		p = program_new(argv);
		if (p == NULL)
			return false;
	}
	program_drop(*slot);
	*slot = p;
	return true;
}

/* ---- tellers -------------------------------------------------------------------------------- */

static struct teller *
teller_find(const struct tell *t, const char *name)
{
	struct teller *f;

	TAILQ_FOREACH(f, &t->tellers, next)
	if (strcmp(f->name, name) == 0)
		return f;
	return NULL;
}

/* A new one has the global program. NULL: out of memory. */
static struct teller *
teller_get(struct tell *t, const char *name)
{
	struct teller *f = teller_find(t, name);

	if (f != NULL)
		return f;
	f = calloc(1, sizeof(*f) + strlen(name) + 1);
	if (f == NULL)
		return NULL;
	f->tell = t;
	memcpy(f->name, name, strlen(name) + 1);
	if (t->global != NULL && !notices_listen(t->notices, name, true)) {
		free(f);
		return NULL;
	}
	f->program = t->global;
	if (f->program != NULL)
		f->program->users++;
	TAILQ_INSERT_TAIL(&t->tellers, f, next);
	return f;
}

static void
teller_free(struct tell *t, struct teller *f)
{
	TAILQ_REMOVE(&t->tellers, f, next);
	hook_free(f->hook);
	program_drop(f->program);
	free(f);
}

static void
teller_forget(struct tell *t, struct teller *f)
{
	f->gone = true;
	f->configured = false;
	f->file_due = t->files_due = t->sweep_due = true;
	notices_forget(t->notices, f->name);
}

/* ---- hooks ---------------------------------------------------------------------------------- */

static void
report_end(const struct tell *t, const struct teller *f, const struct hook_end *end)
{
	mstime now = loop_now(t->loop), retry = notices_retry(t->notices, f->name);
	const char *program = f->program != NULL ? f->program->argv[0] : "hook";
	char what[64], when[80];
	void (*log)(const char *, ...) = f->failures > FAILURES_TOLD ? log_debug : log_warning;

	if (end->timed_out)
		snprintf(what, sizeof(what), "took longer than %" PRId64 " s and was ended",
		    t->timeout / MSTIME_SECOND);
	else if (end->signal != 0)
		snprintf(what, sizeof(what), "was ended by signal %d", end->signal);
	else
		snprintf(what, sizeof(what), "failed with exit status %d", end->status);
	if (f->failures == FAILURES_TOLD)
		snprintf(when, sizeof(when), "trying on; until it works, only level debug tells");
	else if (retry == MSTIME_NEVER)
		snprintf(when, sizeof(when), "it is told the next change");
	else
		snprintf(when, sizeof(when), "trying again in %" PRId64 " s",
		    (retry - now + MSTIME_SECOND - 1) / MSTIME_SECOND);
	log("%s: %s %s; %s", f->name, program, what, when);
}

static void
hook_done(void *ctx, const struct hook_end *end)
{
	struct teller *f = ctx;
	struct tell *t = f->tell;

	hook_free(f->hook);
	f->hook = NULL;
	metrics_hook(t->metrics, end->ok);
	notices_done(t->notices, loop_now(t->loop), f->name, end->ok);
	if (end->ok) {
		if (f->failures > 0 && f->program != NULL)
			log_info("%s: %s works again", f->name, f->program->argv[0]);
		f->failures = 0;
		return;
	}
	if (f->failures <= FAILURES_TOLD)
		f->failures++;
	report_end(t, f, end);
}

static bool
start_hook(const struct tell *t, struct teller *f, char **variables)
{
	char path[] = HOOK_PATH, **env;
	size_t n = 0;

	while (variables[n] != NULL)
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (env == NULL)
		return false;
	env[0] = path;
	memcpy(env + 1, variables, n * sizeof(*env));
	f->hook = hook_start(t->loop, f->name, f->program->argv, env, t->timeout, hook_done, f);
	free(env);
	if (f->hook != NULL && f->failures >= FAILURES_TOLD)
		hook_quiet(f->hook);
	return f->hook != NULL;
}

static bool
run(void *ctx, const struct notice *notice)
{
	struct tell *t = ctx;
	struct teller *f = teller_find(t, notice->unit->forward);
	char **variables;

	if (f == NULL || f->program == NULL)
		return false;
	log_debug("%s: %s %s: running %s (%s)", f->name, protocol_name(notice->unit->protocol),
	    family_name(notice->unit->family), f->program->argv[0],
	    engine_event_name(notice->kind));
	errno = ENOMEM;
	variables = variables_new(notice->unit, notice);
	if (variables == NULL || !start_hook(t, f, variables))
		log_warning("%s: %s cannot be started: %s; trying again later", f->name,
		    f->program->argv[0], strerror(errno));
	variables_free(variables);
	return f->hook != NULL;
}

/* ---- env files ------------------------------------------------------------------------------ */

/* FNV-1a: is it the text that is in the file already? */
static uint32_t
hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

/* The units of the forward, tcp and ipv4 first, and whether one of them is up. */
static size_t
collect_units(const struct tell *t, const char *name, const struct unit_view *units[UNITS_MAX],
    struct unit_view room[UNITS_MAX], bool *up)
{
	static const uint8_t protocols[] = { PROTOCOL_TCP, PROTOCOL_UDP };
	size_t n = 0;

	*up = false;
	for (unsigned i = 0; i < UNITS_MAX; i++) {
		enum family family = i < 2 ? FAMILY_IPV4 : FAMILY_IPV6;
		struct mapping_status m;
		size_t ports = engine_unit(
		    t->engine, loop_now(t->loop), name, family, protocols[i % 2], &m, NULL, 0);

		if (ports == 0)
			continue;
		units[n] = notices_view(t->notices, name, family, protocols[i % 2]);
		if (units[n] == NULL) {
			room[n] = variables_view(&m, (uint16_t)ports);
			units[n] = &room[n];
		}
		*up |= units[n++]->up;
	}
	return n;
}

/* 0 or -errno. */
static int
write_file(const struct tell *t, struct teller *f)
{
	const struct unit_view *units[UNITS_MAX];
	struct unit_view room[UNITS_MAX];
	bool up;
	size_t n = collect_units(t, f->name, units, room, &up);
	uint32_t h;
	char *text;
	int error;

	if (!up) {
		error = f->has_file ? envfile_remove(t->files, f->name) : 0;
		f->has_file = false;
		return error;
	}
	text = variables_file(units, n);
	if (text == NULL)
		return -ENOMEM;
	h = hash(text);
	error = f->has_file && h == f->file_hash
	    ? 0
	    : envfile_write(t->files, f->name, text, strlen(text));
	free(text);
	if (error == 0) {
		f->has_file = true;
		f->file_hash = h;
	}
	return error;
}

static void
write_files(struct tell *t)
{
	struct teller *f;
	int error;

	if (!t->files_due)
		return;
	t->files_due = false;
	TAILQ_FOREACH(f, &t->tellers, next)
	{
		if (!f->file_due)
			continue;
		f->file_due = false;
		error = write_file(t, f);
		if (error < 0)
			f->file_due = t->files_due = true; /* in the next round */
		if (error < 0 && !t->file_failed)
			log_warning(
			    "forwards/%s.env cannot be written in the runtime directory: %s; "
			    "programs that read it know nothing new",
			    f->name, strerror(-error));
		t->file_failed = error < 0;
	}
}

/* ---- inputs --------------------------------------------------------------------------------- */

static bool
note(struct tell *t, const struct teller *f, const struct engine_event *event)
{
	const struct mapping_status *m = event->mapping;
	struct mapping_status first;
	mstime now = loop_now(t->loop);
	uint16_t *ports;
	bool ok;

	/* What the notices would keep for a forward without a program is more than all the rest of
	 * it; the engine knows its state just as well. A range's list of ports is the exception. */
	if (event->ports <= 1 && f->program == NULL && !notices_known(t->notices, f->name))
		return true;
	if (event->ports <= 1)
		return notices_event(t->notices, now, event, 0, NULL);
	ports = calloc(event->ports, sizeof(*ports));
	if (ports == NULL)
		return false;
	if (engine_unit(t->engine, now, m->forward, m->family, m->protocol, &first, ports,
		event->ports) == event->ports)
		ok = notices_event(t->notices, now, event, first.internal_port, ports);
	else
		ok = notices_event(t->notices, now, event, 0, NULL);
	free(ports);
	return ok;
}

/* A program that comes late is told what is, like one that was there from the start. */
static bool
tell_present(struct tell *t, const struct teller *f)
{
	static const uint8_t protocols[] = { PROTOCOL_TCP, PROTOCOL_UDP };
	bool ok = true;

	for (unsigned i = 0; i < UNITS_MAX; i++) {
		struct mapping_status m;
		size_t ports = engine_unit(t->engine, loop_now(t->loop), f->name,
		    i < 2 ? FAMILY_IPV4 : FAMILY_IPV6, protocols[i % 2], &m, NULL, 0);
		struct engine_event event = {
			.kind = EVENT_MAPPED, .mapping = &m, .ports = (uint16_t)ports
		};

		if (ports > 0 && m.state == MAPPING_ACTIVE)
			ok &= note(t, f, &event);
	}
	return ok;
}

static bool
listen(struct tell *t, const struct teller *f)
{
	bool known = notices_known(t->notices, f->name);

	if (f->program == NULL)
		return !known || notices_listen(t->notices, f->name, false);
	if (!notices_listen(t->notices, f->name, true))
		return false;
	return known || tell_present(t, f);
}

void
tell_event(struct tell *t, const struct engine_event *event)
{
	struct teller *f;

	if (event->mapping == NULL)
		return;
	f = teller_get(t, event->mapping->forward);
	if (f == NULL || !note(t, f, event)) {
		log_error("%s: out of memory: an event reaches neither hook nor env file",
		    event->mapping->forward);
		return;
	}
	f->file_due = t->files_due = true;
	if (f->gone && event->kind == EVENT_MAPPED) {
		f->gone = false;
		(void)listen(t, f);
	}
	/* Asked for by a client, not by the config: with this it is over. */
	if (!f->configured && event->kind == EVENT_RELEASED)
		teller_forget(t, f);
}

static bool
adopt(struct tell *t, const struct conf *conf, const struct conf_forward *c)
{
	struct teller *f = teller_get(t, c->name);

	if (f == NULL)
		return false;
	f->configured = true;
	f->gone = false;
	f->failures = 0;
	f->file_due = t->files_due = true;
	return program_set(
		   &f->program, t->global, c->on_change != NULL ? c->on_change : conf->on_change) &&
	    listen(t, f);
}

void
tell_reload(struct tell *t, const struct conf *conf)
{
	struct teller *f;
	bool ok = program_set(&t->global, NULL, conf->on_change);

	t->timeout = (mstime)conf->hook_timeout * MSTIME_SECOND;
	notices_configure(t->notices, (mstime)conf->settle * MSTIME_SECOND);
	TAILQ_FOREACH(f, &t->tellers, next)
	f->gone |= f->configured; /* unless it is found below */
	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled)
			ok &= adopt(t, conf, &conf->forwards[i]);
	TAILQ_FOREACH(f, &t->tellers, next)
	if (f->gone)
		teller_forget(t, f);
	if (!ok)
		log_error("out of memory: not every hook is in force; reload to try again");
}

static void
sweep(struct tell *t)
{
	struct teller *f, *after;

	if (!t->sweep_due)
		return;
	t->sweep_due = false;
	for (f = TAILQ_FIRST(&t->tellers); f != NULL; f = after) {
		after = TAILQ_NEXT(f, next);
		if (!f->gone)
			continue;
		if (f->hook == NULL && !f->file_due && !notices_known(t->notices, f->name))
			teller_free(t, f);
		else
			t->sweep_due = true;
	}
}

void
tell_tick(struct tell *t)
{
	write_files(t); /* before the hooks, which may read them */
	notices_tick(t->notices, loop_now(t->loop));
	sweep(t);
	loop_timer_set(t->timer, notices_next(t->notices));
}

void
tell_stop(struct tell *t)
{
	notices_stop(t->notices);
}

bool
tell_idle(struct tell *t)
{
	return notices_idle(t->notices);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
time_for_a_round(void *ctx)
{
	(void)ctx;
}

struct tell *
tell_new(
    struct loop *loop, const struct engine *engine, struct metrics *metrics, const char *runtime)
{
	struct tell *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	TAILQ_INIT(&t->tellers);
	t->loop = loop;
	t->engine = engine;
	t->metrics = metrics;
	t->timeout = 30 * MSTIME_SECOND;
	t->notices = notices_new(run, t);
	t->timer = loop_timer_new(loop, time_for_a_round, t);
	t->files = envfile_open(runtime);
	if (t->notices != NULL && t->timer != NULL && t->files != NULL)
		return t;
	tell_free(t);
	return NULL;
}

void
tell_free(struct tell *t)
{
	struct teller *f;
	int saved = errno;

	if (t == NULL)
		return;
	while ((f = TAILQ_FIRST(&t->tellers)) != NULL) {
		if (f->hook != NULL)
			log_warning("%s: %s still runs at the end, and is killed", f->name,
			    f->program != NULL ? f->program->argv[0] : "a hook");
		teller_free(t, f);
	}
	program_drop(t->global);
	notices_free(t->notices);
	loop_timer_free(t->timer);
	envfile_close(t->files);
	free(t);
	errno = saved;
}
