/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/control_internal.h"

#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is ----------------------------------------------------------------------------------
 */

static void
forget_document(struct control *c)
{
	json_decref(c->document);
	varlink_text_free(c->text);
	varlink_text_free(c->present);
	c->document = NULL;
	c->text = c->present = NULL;
}

/* Nothing in it changes but with an input of the engine, or with the second. */
json_t *
control_document(struct control *c)
{
	mstime now = loop_now(c->loop);
	struct status_head head = { .version = PACKAGE_VERSION,
		.started = c->started,
		.pid = (long)getpid(),
		.ready = c->host->ready(c->ctx) };

	if (c->document != NULL && c->stamp == engine_stamp(c->engine) &&
	    c->second == now / MSTIME_SECOND && c->ready == head.ready)
		return c->document;
	forget_document(c);
	c->stamp = engine_stamp(c->engine);
	c->second = now / MSTIME_SECOND;
	c->ready = head.ready;
	c->document = status_document(c->engine, now, &head);
	return c->document;
}

static void
get_status(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	json_t *names, *document;

	if (!control_read_names(c, call, parameters, &names))
		return;
	document = control_document(c);
	if (names != NULL && document != NULL) {
		varlink_reply(call, status_pick(document, names));
		json_decref(names);
		return;
	}
	json_decref(names);
	if (c->text == NULL && document != NULL) {
		c->text = varlink_text_new();
		if (c->text != NULL)
			varlink_text_add(c->text, json_incref(document), false);
	}
	varlink_send(call, c->text, true);
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

json_t *
control_problems(const struct conf_problems *problems)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < problems->n; i++) {
		const struct conf_problem *p = &problems->list[i];
		json_t *text = json_sprintf("%s%s", p->warning ? "warning: " : "", p->text);

		/* What stands in a file need not be UTF-8. */
		if (text == NULL)
			text = json_string("something that is not UTF-8 text");
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:i, s:o}", "file", p->file, "line", p->line, "text", text));
	}
	return list;
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
	else
		varlink_error(call, CONTROL_NAME ".ConfigRejected",
		    json_pack("{s:o}", "problems", control_problems(&problems)));
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
	forget_document(c);
	free(c);
}
