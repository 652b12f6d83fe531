/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/control_internal.h"

#include "os/loop.h"

#include <stdint.h>
#include <string.h>

/* One reply, {"event": {…}}, up to where the members of the event end. */
static struct jsontext *
event_begin(struct varlink_text *t, const char *event, const char *time)
{
	struct jsontext *j = varlink_text_begin(t, NULL);

	jsontext_open(j, "event", '{');
	jsontext_string(j, "event", event);
	jsontext_string(j, "time", time);
	return j;
}

static void
event_end(struct varlink_text *t, struct jsontext *j)
{
	jsontext_close(j, '}');
	varlink_text_end(t, true);
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

struct present {
	struct varlink_text *text;
	mstime now;
	char time[STATUS_TIME_LEN];
};

static void
present_gateway(void *ctx, const struct gateway_status *g)
{
	struct present *p = ctx;
	struct jsontext *j = event_begin(p->text, "present", p->time);

	status_gateway(j, "gateway", g);
	event_end(p->text, j);
}

static void
present_mapping(void *ctx, const struct mapping_status *m, unsigned ports)
{
	struct present *p = ctx;
	struct jsontext *j = event_begin(p->text, "present", p->time);

	status_mapping(j, "mapping", m, p->now, ports);
	event_end(p->text, j);
}

/* NULL: out of memory. */
static struct varlink_text *
print_present(struct control *c, const json_t *names)
{
	static const struct status_listener listener = { present_gateway, present_mapping };
	struct present p = { .text = varlink_text_new(), .now = loop_now(c->loop) };

	if (p.text == NULL)
		return NULL;
	time_now(p.time);
	status_each(c->engine, p.now, names, &listener, &p);
	event_end(p.text, event_begin(p.text, "synchronised", p.time));
	return p.text;
}

void
control_monitor(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	json_t *names;
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
	if (names == NULL) {
		control_refresh(c);
		if (c->present == NULL)
			c->present = print_present(c, NULL);
		varlink_send(call, c->present, false);
		return;
	}
	t = print_present(c, names);
	varlink_send(call, t, false);
	varlink_text_free(t);
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
	char room[STATUS_TIME_LEN];
	struct jsontext *j;

	if (t == NULL)
		return NULL;
	j = event_begin(t, engine_event_name(event->kind), time_now(room));
	if (event->mapping != NULL)
		status_mapping(j, "mapping", event->mapping, now, event->ports);
	else
		status_gateway(j, "gateway", event->gateway);
	if (event->has_old) {
		status_address(j, "old_external_address", !netaddr_is_any(&event->old_external),
		    &event->old_external);
		if (event->mapping != NULL && event->old_external_port != 0)
			jsontext_integer(j, "old_external_port", event->old_external_port);
	}
	event_end(t, j);
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

	if (t != NULL) {
		struct jsontext *j =
		    event_begin(t, good ? "config-reloaded" : "config-rejected", time_now(room));

		control_problems(j, problems);
		event_end(t, j);
	}
	for (struct session *s = c->sessions; s != NULL; s = s->next)
		if (!s->holds)
			varlink_send(s->call, t, false);
	varlink_text_free(t);
}
