/* SPDX-License-Identifier: ISC */
#include "core/notice.h"

#include "core/notice_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* How long a `mapped` waits for the external address. */
#define ADDRESS_PATIENCE (5 * MSTIME_SECOND)
#define BACKOFF_MIN MSTIME_SECOND
#define BACKOFF_MAX (60 * MSTIME_SECOND)
/* Programs at the same time, of all forwards: a start with a thousand of them is no fork bomb. */
#define RUNNING_MAX 32
/* A forward that is gone, with a hook that does not want to know, is forgotten some day. */
#define TRIES_GONE 10
#define UNITS_MAX (2 * FAMILIES)

struct member {
	bool used;
	struct unit_view view; /* the truth */
	bool released;         /* down because nobody wants it */
	bool failed;           /* down because of */
	struct problem problem;
	mstime since;    /* the truth is as it is */
	mstime up_since; /* up or down */

	struct state told;  /* by the last run that went well */
	struct state tried; /* by the run that is under way, or the last one if that failed */
	enum engine_event_kind tried_kind;
	struct unit_outside old; /* with `tried` */
	bool running;
	bool dirty;     /* the last run failed: what its program did nobody knows */
	bool may_be_up; /* a hook may believe so */
	unsigned failures;
	mstime retry;
};

struct group {
	TAILQ_ENTRY(group) next;
	char *name, *gateway;
	bool listening, gone, running;
	struct member members[UNITS_MAX];
};

struct notices {
	bool (*run)(void *, const struct notice *);
	void *ctx;
	TAILQ_HEAD(, group) groups;
	mstime settle;
	unsigned running;
	bool stopping;
	bool stale;  /* `next` must be found anew */
	mstime next; /* something becomes due */
};

/* ---- states --------------------------------------------------------------------------------- */

/* The truth; borrows the view's list of ports. */
static struct state
state_of(const struct member *u)
{
	const struct unit_view *v = &u->view;
	struct state s = { .up = v->up,
		.failed = u->failed,
		.problem = u->problem,
		.has_internal = v->has_internal,
		.internal = v->internal,
		.internal_port = v->internal_port };

	if (v->up)
		s.out = (struct unit_outside){ .has_external = v->has_external,
			.external = v->external,
			.ports = v->ports,
			.external_port = v->external_port,
			.external_ports = v->external_ports };
	return s;
}

static void
member_unlearn(struct member *u)
{
	state_clear(&u->told);
	state_clear(&u->tried);
	free(u->old.external_ports);
	u->old = (struct unit_outside){ .ports = 0 };
	u->running = u->dirty = u->may_be_up = false;
	u->failures = 0;
}

/* ---- groups --------------------------------------------------------------------------------- */

static struct group *
group_find(const struct notices *n, const char *name)
{
	struct group *g;

	TAILQ_FOREACH(g, &n->groups, next)
	if (strcmp(g->name, name) == 0)
		return g;
	return NULL;
}

static struct group *
group_get(struct notices *n, const char *name)
{
	struct group *g = group_find(n, name);

	if (g != NULL)
		return g;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	g->name = strdup(name);
	if (g->name == NULL) {
		free(g);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&n->groups, g, next);
	return g;
}

static void
group_free(struct notices *n, struct group *g)
{
	TAILQ_REMOVE(&n->groups, g, next);
	n->running -= g->running;
	for (unsigned i = 0; i < UNITS_MAX; i++) {
		member_unlearn(&g->members[i]);
		free(g->members[i].view.external_ports);
	}
	free(g->gateway);
	free(g->name);
	free(g);
}

/* tcp, ipv4 first. */
static unsigned
member_index(enum family family, uint8_t protocol)
{
	return (family == FAMILY_IPV6 ? 2u : 0u) + (protocol == PROTOCOL_UDP ? 1u : 0u);
}

/* ---- what to tell --------------------------------------------------------------------------- */

static bool
choose_up(const struct member *u, const struct state *is, enum engine_event_kind *kind, bool *again)
{
	if (!u->dirty) {
		*kind = u->told.up ? EVENT_CHANGED : EVENT_MAPPED;
		return !u->told.up || !state_right(&u->told, is);
	}
	*again = u->tried.up && state_right(&u->tried, is);
	*kind = u->tried.up ? u->tried_kind : EVENT_MAPPED;
	return true;
}

/* A hook that may believe in a mapping hears of its end before it hears of the reason. */
static bool
choose_down(const struct notices *n, const struct member *u, const struct state *is,
    enum engine_event_kind *kind, bool *again)
{
	if (u->may_be_up) {
		*kind = u->released ? EVENT_RELEASED : EVENT_LOST;
		*again = u->dirty && u->tried_kind == *kind;
		return true;
	}
	if (n->stopping || !is->failed)
		return false;
	*kind = EVENT_FAILED;
	*again =
	    u->dirty && u->tried_kind == *kind && problem_same(&u->tried.problem, &is->problem);
	return u->dirty || !u->told.failed || !problem_same(&u->told.problem, &is->problem);
}

/* Is there something to tell? What, from when on, and did the very same fail before? */
static bool
choose(const struct notices *n, const struct member *u, enum engine_event_kind *kind, mstime *at,
    bool *again)
{
	struct state is = state_of(u);

	*again = false;
	if (!u->used)
		return false;
	if (is.up ? n->stopping || !choose_up(u, &is, kind, again)
		  : !choose_down(n, u, &is, kind, again))
		return false;
	if (*again)
		*at = u->retry;
	else if (*kind == EVENT_MAPPED && !is.out.has_external)
		*at = u->up_since + ADDRESS_PATIENCE;
	else if ((*kind == EVENT_CHANGED || *kind == EVENT_LOST) && !n->stopping)
		*at = u->since + n->settle;
	else
		*at = u->since;
	return true;
}

/* The member that has waited longest, or NULL. */
static struct member *
group_first(const struct notices *n, struct group *g, mstime *when)
{
	struct member *first = NULL;
	enum engine_event_kind kind;
	bool again;
	mstime at;

	*when = MSTIME_NEVER;
	if (g->running || !g->listening)
		return NULL;
	for (unsigned i = 0; i < UNITS_MAX; i++) {
		struct member *u = &g->members[i];

		if (!choose(n, u, &kind, &at, &again) || at >= *when)
			continue;
		if (g->gone && again && u->failures >= TRIES_GONE)
			continue;
		first = u;
		*when = at;
	}
	return first;
}

/* ---- running -------------------------------------------------------------------------------- */

static void
run_failed(struct member *u, mstime now)
{
	mstime wait = BACKOFF_MIN;

	for (unsigned i = 0; i < u->failures && wait < BACKOFF_MAX; i++)
		wait *= 2;
	u->retry = now + (wait < BACKOFF_MAX ? wait : BACKOFF_MAX);
	u->failures++;
	u->dirty = true;
}

/* What the last hook was told; a failed run counts where it is all there is. */
static const struct unit_outside *
choose_old(const struct member *u, const struct state *is)
{
	bool from_tried =
	    u->dirty && u->tried.up && (!u->told.up || (is->up && state_right(&u->told, is)));

	return from_tried ? &u->tried.out : &u->told.out;
}

/* False: out of memory, nothing has changed. */
static bool
note_try(struct member *u, enum engine_event_kind kind, bool again)
{
	struct state is = state_of(u);
	struct unit_outside old = { .ports = 0 };
	uint16_t *list;

	if (kind != EVENT_FAILED)
		is.failed = false; /* of that it is told next */
	if (!again && !outside_copy(&old, choose_old(u, &is)))
		return false;
	if (!outside_copy(&u->tried.out, &is.out)) {
		free(old.external_ports);
		return false;
	}
	list = u->tried.out.external_ports;
	u->tried = is;
	u->tried.out.external_ports = list;
	u->tried_kind = kind;
	if (!again) {
		free(u->old.external_ports);
		u->old = old;
		u->failures = 0;
	}
	u->may_be_up |= is.up;
	return true;
}

static void
group_run(struct notices *n, mstime now, struct group *g, struct member *u)
{
	enum engine_event_kind kind;
	struct notice notice;
	bool again;
	mstime at;

	if (!choose(n, u, &kind, &at, &again))
		return;
	if (!note_try(u, kind, again)) {
		u->since = u->retry = now + MSTIME_SECOND; /* memory may come back */
		return;
	}
	notice =
	    (struct notice){ .kind = kind, .unit = &u->view, .old = &u->old, .tries = u->failures };
	/* To the end, so that none of many waits for ever. */
	TAILQ_REMOVE(&n->groups, g, next);
	TAILQ_INSERT_TAIL(&n->groups, g, next);
	if (!n->run(n->ctx, &notice)) {
		run_failed(u, now);
		return;
	}
	u->running = true;
	g->running = true;
	n->running++;
}

/* Nobody wants it, and its hook knows. */
static bool
group_over(const struct notices *n, struct group *g)
{
	mstime at;

	return g->gone && !g->running && group_first(n, g, &at) == NULL;
}

void
notices_tick(struct notices *n, mstime now)
{
	struct group *g, *after;

	if (notices_next(n) > now)
		return;
	n->stale = true;
	for (g = TAILQ_FIRST(&n->groups); g != NULL; g = after) {
		struct member *u;
		mstime at;

		after = TAILQ_NEXT(g, next);
		if (n->running < RUNNING_MAX && (u = group_first(n, g, &at)) != NULL && at <= now)
			group_run(n, now, g, u);
		if (group_over(n, g))
			group_free(n, g);
	}
}

mstime
notices_next(struct notices *n)
{
	struct group *g;

	if (!n->stale)
		return n->next;
	n->stale = false;
	n->next = MSTIME_NEVER;
	if (n->running >= RUNNING_MAX)
		return n->next; /* until one of them is done */
	TAILQ_FOREACH(g, &n->groups, next)
	{
		mstime at;

		if (group_first(n, g, &at) != NULL && at < n->next)
			n->next = at;
	}
	return n->next;
}

void
notices_done(struct notices *n, mstime now, const char *forward, bool ok)
{
	struct group *g = group_find(n, forward);

	if (g == NULL || !g->running)
		return;
	g->running = false;
	n->running--;
	n->stale = true;
	for (unsigned i = 0; i < UNITS_MAX; i++) {
		struct member *u = &g->members[i];

		if (!u->running)
			continue;
		u->running = false;
		if (!ok) {
			run_failed(u, now);
			continue;
		}
		state_clear(&u->told);
		u->told = u->tried;
		u->tried = (struct state){ .up = false };
		u->dirty = false;
		u->failures = 0;
		u->may_be_up = u->told.up;
	}
	if (group_over(n, g))
		group_free(n, g);
}

mstime
notices_retry(const struct notices *n, const char *forward)
{
	struct group *g = group_find(n, forward);
	enum engine_event_kind kind;
	mstime at, next = MSTIME_NEVER;
	bool again;

	for (unsigned i = 0; g != NULL && !g->running && g->listening && i < UNITS_MAX; i++)
		if (choose(n, &g->members[i], &kind, &at, &again) && again && at < next &&
		    !(g->gone && g->members[i].failures >= TRIES_GONE))
			next = at;
	return next;
}

bool
notices_idle(struct notices *n)
{
	return n->running == 0 && notices_next(n) == MSTIME_NEVER;
}

/* ---- what is ------------------------------------------------------------------------------- */

static bool
note_gateway(struct group *g, const char *name)
{
	char *copy;

	if (g->gateway != NULL && strcmp(g->gateway, name) == 0)
		return true;
	copy = strdup(name);
	if (copy == NULL)
		return false;
	free(g->gateway);
	g->gateway = copy;
	for (unsigned i = 0; i < UNITS_MAX; i++)
		g->members[i].view.gateway = copy;
	return true;
}

bool
notices_event(struct notices *n, mstime now, const struct engine_event *e, uint16_t internal_port,
    const uint16_t *external_ports)
{
	const struct mapping_status *m = e->mapping;
	struct group *g = group_get(n, m->forward);
	struct member *u;
	struct state was, is;
	bool up = e->kind == EVENT_MAPPED || e->kind == EVENT_CHANGED || e->kind == EVENT_RENEWED;
	uint16_t *ports;
	bool other;

	if (g == NULL || !note_gateway(g, m->gateway))
		return false;
	u = &g->members[member_index(m->family, m->protocol)];
	was = state_of(u);
	/* The update frees the list that `was` borrows: hold it until they are compared. */
	ports = u->view.external_ports;
	u->view.external_ports = NULL;
	if (!view_update(&u->view, e, internal_port, external_ports, up)) {
		u->view.external_ports = ports;
		return false;
	}
	is = state_of(u);
	other = !u->used || state_moved(&was, &is);
	free(ports);
	if (!u->used || was.up != up)
		u->up_since = now;
	if (other)
		u->since = now;
	u->used = true;
	u->view.forward = g->name;
	u->view.family = m->family;
	u->view.protocol = m->protocol;
	u->failed = e->kind == EVENT_FAILED;
	if (u->failed)
		u->problem = m->problem;
	if (up || e->kind == EVENT_RELEASED)
		u->released = !up;
	n->stale = true;
	return true;
}

const struct unit_view *
notices_view(const struct notices *n, const char *forward, enum family family, uint8_t protocol)
{
	const struct group *g = group_find(n, forward);
	const struct member *u;

	if (g == NULL)
		return NULL;
	u = &g->members[member_index(family, protocol)];
	return u->used ? &u->view : NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct notices *
notices_new(bool (*run)(void *ctx, const struct notice *), void *ctx)
{
	struct notices *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	*n = (struct notices){ .run = run, .ctx = ctx, .next = MSTIME_NEVER };
	TAILQ_INIT(&n->groups);
	return n;
}

void
notices_free(struct notices *n)
{
	struct group *g;

	if (n == NULL)
		return;
	while ((g = TAILQ_FIRST(&n->groups)) != NULL)
		group_free(n, g);
	free(n);
}

void
notices_configure(struct notices *n, mstime settle)
{
	n->settle = settle;
	n->stale = true;
}

bool
notices_listen(struct notices *n, const char *forward, bool listening)
{
	struct group *g = group_get(n, forward);

	if (g == NULL)
		return false;
	g->gone = false;
	n->stale = true;
	if (g->listening == listening)
		return true;
	/* Of a run that is still under way only the end matters now. */
	for (unsigned i = 0; i < UNITS_MAX; i++)
		member_unlearn(&g->members[i]);
	g->listening = listening;
	return true;
}

void
notices_forget(struct notices *n, const char *forward)
{
	struct group *g = group_find(n, forward);

	if (g == NULL)
		return;
	g->gone = true;
	n->stale = true;
	if (group_over(n, g))
		group_free(n, g);
}

bool
notices_known(const struct notices *n, const char *forward)
{
	return group_find(n, forward) != NULL;
}

void
notices_stop(struct notices *n)
{
	n->stopping = true;
	n->stale = true;
}
