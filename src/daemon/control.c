/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/control_internal.h"

#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is ----------------------------------------------------------------------------------
 */

static void
forget_texts(struct control *c)
{
	varlink_text_free(c->status);
	varlink_text_free(c->present);
	c->status = c->present = NULL;
}

/* Nothing in it changes but with an input of the engine, or with the second. */
void
control_refresh(struct control *c)
{
	mstime second = loop_now(c->loop) / MSTIME_SECOND;
	bool ready = c->host->ready(c->ctx);

	if (c->stamp == engine_stamp(c->engine) && c->second == second && c->ready == ready)
		return;
	forget_texts(c);
	c->stamp = engine_stamp(c->engine);
	c->second = second;
	c->ready = ready;
}

/* NULL: out of memory. */
static struct varlink_text *
print_status(struct control *c, const json_t *names)
{
	struct status_head head = { .version = PACKAGE_VERSION,
		.started = c->started,
		.pid = (long)getpid(),
		.ready = c->host->ready(c->ctx) };
	struct varlink_text *t = varlink_text_new();

	if (t == NULL)
		return NULL;
	status_document(varlink_text_begin(t, NULL), c->engine, loop_now(c->loop), &head, names);
	varlink_text_end(t, false);
	return t;
}

static void
get_status(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	json_t *names;

	if (!control_read_names(c, call, parameters, &names))
		return;
	if (names != NULL) {
		struct varlink_text *t = print_status(c, names);

		varlink_send(call, t, true);
		varlink_text_free(t);
		json_decref(names);
		return;
	}
	control_refresh(c);
	if (c->status == NULL)
		c->status = print_status(c, NULL);
	varlink_send(call, c->status, true);
}

/* ---- parameters -------------------------------------------------------------------------------
 */

bool
control_may_change(struct control *c, struct varlink_call *call)
{
	const struct conf *conf = c->host->conf(c->ctx);
	uid_t uid = varlink_peer_uid(call);

	if (uid == 0 || uid == geteuid() ||
	    (conf->has_control_gid && varlink_peer_in_group(call, conf->control_gid)))
		return true;
	varlink_error_permission(call);
	return false;
}

/* Ad-hoc forwards have names, too. */
static void
mark_known(struct control *c, json_t *names)
{
	const struct conf *conf = c->host->conf(c->ctx);

	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled &&
		    json_object_get(names, conf->forwards[i].name) != NULL)
			(void)json_object_set_new(names, conf->forwards[i].name, json_true());
	for (const struct session *s = c->sessions; s != NULL; s = s->next)
		if (s->is_adhoc && json_object_get(names, s->name) != NULL)
			(void)json_object_set_new(names, s->name, json_true());
}

/* As an object, as there may be thousands: each is looked up once. */
bool
control_read_names(struct control *c, struct varlink_call *call, json_t *parameters, json_t **out)
{
	json_t *list = json_object_get(parameters, "forwards"), *names, *value;
	const char *name;
	size_t i;

	*out = NULL;
	if (list == NULL || json_is_null(list) ||
	    (json_is_array(list) && json_array_size(list) == 0))
		return true;
	names = json_object();
	json_array_foreach(list, i, value) if (!json_is_string(value) ||
	    json_object_set_new(names, json_string_value(value), json_false()) != 0) break;
	if (!json_is_array(list) || i < json_array_size(list)) {
		json_decref(names);
		varlink_error_parameter(call, "forwards");
		return false;
	}
	mark_known(c, names);
	json_object_foreach(names, name, value)
	{
		if (json_is_true(value))
			continue;
		varlink_error(
		    call, CONTROL_NAME ".NoSuchForward", json_pack("{s:s}", "forward", name));
		json_decref(names);
		return false;
	}
	*out = names;
	return true;
}

/* ---- orders -----------------------------------------------------------------------------------
 */

static void
renew(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	mstime now = loop_now(c->loop);
	unsigned n = 0;
	const char *name;
	json_t *names, *value;

	if (!control_may_change(c, call) || !control_read_names(c, call, parameters, &names))
		return;
	if (names == NULL)
		n = engine_renew(c->engine, now, NULL);
	json_object_foreach(names, name, value) n += engine_renew(c->engine, now, name);
	json_decref(names);
	log_info("renewing %u mapping%s, as uid %lu has asked for", n, n == 1 ? "" : "s",
	    (unsigned long)varlink_peer_uid(call));
	varlink_reply(call, json_pack("{s:I}", "mappings", (json_int_t)n));
}

void
control_problems(struct jsontext *j, const struct conf_problems *problems)
{
	jsontext_open(j, "problems", '[');
	for (size_t i = 0; i < problems->n; i++) {
		const struct conf_problem *p = &problems->list[i];
		char *warning = NULL;

		if (p->warning && asprintf(&warning, "warning: %s", p->text) < 0)
			warning = NULL;
		jsontext_open(j, NULL, '{');
		jsontext_string(j, "file", p->file);
		jsontext_integer(j, "line", p->line);
		jsontext_string(j, "text", warning != NULL ? warning : p->text);
		jsontext_close(j, '}');
		free(warning);
	}
	jsontext_close(j, ']');
}

static void
reload(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	struct conf_problems problems = { .list = NULL };
	struct conf_changes changes = { .added = 0 };

	(void)parameters;
	if (!control_may_change(c, call))
		return;
	if (c->host->reload(c->ctx, &problems, &changes))
		varlink_reply(call,
		    json_pack("{s:I, s:I, s:I, s:I}", "added", (json_int_t)changes.added, "changed",
			(json_int_t)changes.changed, "removed", (json_int_t)changes.removed,
			"unchanged", (json_int_t)changes.unchanged));
	else {
		struct varlink_text *t = varlink_text_new();

		if (t != NULL) {
			control_problems(
			    varlink_text_begin(t, CONTROL_NAME ".ConfigRejected"), &problems);
			varlink_text_end(t, false);
		}
		varlink_send(call, t, true);
		varlink_text_free(t);
	}
	conf_problems_clear(&problems);
}

static void
get_metrics(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	char *text = c->host->metrics(c->ctx);

	(void)parameters;
	varlink_reply(call, text != NULL ? json_pack("{s:s}", "text", text) : NULL);
	free(text);
}

/* ---- sessions ---------------------------------------------------------------------------------
 */

struct session *
session_new(struct control *c, struct varlink_call *call)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->call = call;
	s->uid = varlink_peer_uid(call);
	s->next = c->sessions;
	c->sessions = s;
	return s;
}

void
session_free(struct control *c, struct session *s)
{
	for (struct session **at = &c->sessions; *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	json_decref(s->names);
	free(s->name);
	adhoc_clear(&s->adhoc);
	free(s);
}

static void
gone(void *ctx, void *user)
{
	struct control *c = ctx;
	struct session *s = user;

	if (s->holds && !c->ending)
		hold_end(c, s);
	session_free(c, s);
}

void
control_after(struct control *c)
{
	struct session *next;

	for (struct session *s = c->sessions; s != NULL; s = next) {
		next = s->next;
		if (s->dirty)
			hold_tell(c, s);
	}
}

void
control_reloading(struct control *c, const struct conf *conf)
{
	struct session *next;

	for (struct session *s = c->sessions; s != NULL; s = next) {
		next = s->next;
		if (s->holds)
			hold_reloading(c, s, conf);
	}
}

/* ---- life -------------------------------------------------------------------------------------
 */

static const char *const forwards_parameter[] = { "forwards", NULL };
static const char *const hold_parameters[] = { "forward", "ad_hoc", NULL };

static const struct varlink_method methods[] = {
	{ .name = "GetStatus", .parameters = forwards_parameter, .call = get_status },
	{ .name = "Monitor",
	    .more = true,
	    .parameters = forwards_parameter,
	    .call = control_monitor },
	{ .name = "Renew", .parameters = forwards_parameter, .call = renew },
	{ .name = "Reload", .call = reload },
	{ .name = "Hold", .more = true, .parameters = hold_parameters, .call = control_hold },
	{ .name = "GetMetrics", .call = get_metrics },
};

static const struct varlink_service service = { .vendor = "portleased",
	.product = "portleased",
	.version = PACKAGE_VERSION,
	.url = "",
	.interface = CONTROL_NAME,
	.description = control_interface,
	.too_many = CONTROL_NAME ".TooManyClients",
	.methods = methods,
	.n_methods = sizeof(methods) / sizeof(methods[0]),
	.gone = gone };

int
control_new(struct loop *loop, struct engine *engine, const char *path,
    const struct control_host *host, void *ctx, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct timespec now;
	int error;

	if (c == NULL)
		return -ENOMEM;
	c->loop = loop;
	c->engine = engine;
	c->host = host;
	c->ctx = ctx;
	clock_gettime(CLOCK_REALTIME, &now);
	status_time(&now, false, c->started);
	error = varlink_new(loop, path, &service, c, &c->server);
	if (error != 0) {
		free(c);
		return error;
	}
	*out = c;
	return 0;
}

void
control_free(struct control *c)
{
	if (c == NULL)
		return;
	c->ending = true;
	varlink_free(c->server);
	forget_texts(c);
	free(c);
}
