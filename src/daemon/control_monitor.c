/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/control_internal.h"

#include "os/loop.h"

#include <stdint.h>
#include <string.h>

/* One reply: {"event": {…}}. Takes the members over; NULL ones are left out. */
static json_t *
event_reply(const char *event, const char *time, const char *key, json_t *value)
{
	json_t *o = json_pack("{s:s, s:s}", "event", event, "time", time);

	if (value != NULL)
		(void)json_object_set_new(o, key, value);
	return json_pack("{s:o}", "event", o);
}

static const char *
time_now(char room[STATUS_TIME_LEN])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return status_time(&now, true, room);
}

/* ---- the beginning ----------------------------------------------------------------------------
 */

static void
add_present(struct varlink_text *t, const json_t *document, const char *list, const char *key)
{
	json_t *row;
	size_t i;
	char room[STATUS_TIME_LEN];
	const char *time = time_now(room);

	json_array_foreach(json_object_get(document, list), i, row)
	    varlink_text_add(t, event_reply("present", time, key, json_incref(row)), true);
}

/* NULL: out of memory. */
static struct varlink_text *
print_present(const json_t *document)
{
	struct varlink_text *t = varlink_text_new();
	char room[STATUS_TIME_LEN];

	if (t == NULL || document == NULL)
		return t;
	add_present(t, document, "gateways", "gateway");
	add_present(t, document, "mappings", "mapping");
	varlink_text_add(t, event_reply("synchronised", time_now(room), NULL, NULL), true);
	return t;
}

void
control_monitor(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	json_t *names, *document, *picked;
	struct session *s;
	struct varlink_text *t;

	if (!control_read_names(c, call, parameters, &names))
		return;
	s = session_new(c, call);
	if (s == NULL) {
		json_decref(names);
		varlink_send(call, NULL, true);
		return;
	}
	s->names = names;
	varlink_keep(call, s);
	document = control_document(c);
	if (names == NULL) {
		if (c->present == NULL)
			c->present = print_present(document);
		varlink_send(call, c->present, false);
		return;
	}
	picked = document != NULL ? status_pick(document, names) : NULL;
	t = print_present(picked);
	varlink_send(call, t, false);
	varlink_text_free(t);
	json_decref(picked);
}

/* ---- news -------------------------------------------------------------------------------------
 */

/* Does one of the forwards use the gateway? */
static bool
uses_gateway(const struct control *c, const json_t *names, const char *gateway)
{
	const struct conf *conf = c->host->conf(c->ctx);

	for (size_t i = 0; i < conf->n_forwards; i++)
		if (strcmp(conf->forwards[i].gateway->name, gateway) == 0 &&
		    json_object_get(names, conf->forwards[i].name) != NULL)
			return true;
	for (const struct session *s = c->sessions; s != NULL; s = s->next)
		if (s->is_adhoc && strcmp(s->adhoc.gateway, gateway) == 0 &&
		    json_object_get(names, s->name) != NULL)
			return true;
	return false;
}

static bool
concerns(const struct control *c, const struct session *s, const struct engine_event *event)
{
	if (s->names == NULL)
		return true;
	if (event->mapping != NULL)
		return json_object_get(s->names, event->mapping->forward) != NULL;
	return uses_gateway(c, s->names, event->gateway->name);
}

static struct varlink_text *
print_event(const struct engine_event *event, mstime now)
{
	struct varlink_text *t = varlink_text_new();
	const char *name = engine_event_name(event->kind);
	char room[STATUS_TIME_LEN];
	json_t *o, *value;

	if (t == NULL)
		return NULL;
	value = event->mapping != NULL ? status_mapping(event->mapping, now, event->ports)
				       : status_gateway(event->gateway);
	o = event_reply(
	    name, time_now(room), event->mapping != NULL ? "mapping" : "gateway", value);
	if (event->has_old) {
		json_t *inner = json_object_get(o, "event");
		bool known = !netaddr_is_any(&event->old_external);

		(void)json_object_set_new(
		    inner, "old_external_address", status_address(known, &event->old_external));
		if (event->mapping != NULL && event->old_external_port != 0)
			(void)json_object_set_new(
			    inner, "old_external_port", json_integer(event->old_external_port));
	}
	varlink_text_add(t, o, true);
	return t;
}

void
control_event(struct control *c, const struct engine_event *event)
{
	struct varlink_text *t = NULL;

	for (struct session *s = c->sessions; s != NULL; s = s->next) {
		if (s->holds) {
			s->dirty |=
			    event->mapping != NULL && strcmp(event->mapping->forward, s->name) == 0;
			continue;
		}
		if (!concerns(c, s, event))
			continue;
		if (t == NULL)
			t = print_event(event, loop_now(c->loop));
		varlink_send(s->call, t, false);
	}
	varlink_text_free(t);
}

void
control_reloaded(struct control *c, bool good, const struct conf_problems *problems)
{
	struct varlink_text *t = varlink_text_new();
	char room[STATUS_TIME_LEN];

	if (t != NULL)
		varlink_text_add(t,
		    event_reply(good ? "config-reloaded" : "config-rejected", time_now(room),
			"problems", control_problems(problems)),
		    true);
	for (struct session *s = c->sessions; s != NULL; s = s->next)
		if (!s->holds)
			varlink_send(s->call, t, false);
	varlink_text_free(t);
}
