/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <string.h>

/* Commands that are one call. */

static int
ask(const struct ctl *ctl, const char *method, json_t *parameters, const char *wish,
    struct client_reply *reply)
{
	int status = client_ask(ctl, method, parameters, wish, reply);

	if (status == CTL_DONE && ctl->json) {
		json_dumpf(reply->parameters, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	return status;
}

int
ctl_renew(const struct ctl *ctl)
{
	struct client_reply reply;
	int status = ask(ctl, "Renew", client_names(ctl), "renew", &reply);
	long n = 0;

	if (status != CTL_DONE)
		return status;
	(void)row_number(reply.parameters, "mappings", &n);
	if (!ctl->json && n == 0)
		puts("Nothing to renew: no mapping, or the last renewal was less than 10 s ago.");
	else if (!ctl->json)
		printf("Renewing %ld %s.\n", n, n == 1 ? "mapping" : "mappings");
	json_decref(reply.message);
	return CTL_DONE;
}

/* The next event of this name, as the whole message, owned; NULL: there is none. */
static json_t *
next_event(struct client *events, const char *name)
{
	struct client_reply reply;

	while (client_next(events, CLIENT_PATIENCE, &reply) == CLIENT_REPLY) {
		const char *is = row_text(json_object_get(reply.parameters, "event"), "event");

		if (is != NULL && strcmp(is, name) == 0)
			return reply.message;
		json_decref(reply.message);
		if (reply.error != NULL)
			break;
	}
	return NULL;
}

/* The reply to Reload has no room for the warnings of a good file, but the event that comes before
 * it has. NULL: then without them. */
static struct client *
watch_events(const struct ctl *ctl)
{
	struct client *events;
	json_t *message;

	if (client_open(ctl->socket, &events) != 0)
		return NULL;
	message =
	    client_call(events, "Monitor", NULL, true) ? next_event(events, "synchronised") : NULL;
	if (message == NULL) {
		client_close(events);
		return NULL;
	}
	json_decref(message);
	return events;
}

static void
print_warnings(struct client *events)
{
	json_t *message = next_event(events, "config-reloaded");
	const json_t *event = json_object_get(json_object_get(message, "parameters"), "event");

	client_print_problems(json_object_get(event, "problems"));
	json_decref(message);
}

int
ctl_reload(const struct ctl *ctl)
{
	struct client *events = watch_events(ctl);
	struct client_reply reply;
	int status = ask(ctl, "Reload", NULL, "reload the configuration", &reply);
	long added = 0, changed = 0, removed = 0, unchanged = 0;

	if (status == CTL_DONE && events != NULL)
		print_warnings(events);
	client_close(events);
	if (status != CTL_DONE)
		return status;
	(void)row_number(reply.parameters, "added", &added);
	(void)row_number(reply.parameters, "changed", &changed);
	(void)row_number(reply.parameters, "removed", &removed);
	(void)row_number(reply.parameters, "unchanged", &unchanged);
	if (!ctl->json)
		printf("Reloaded: %ld forward%s added, %ld changed, %ld removed, %ld unchanged.\n",
		    added, added == 1 ? "" : "s", changed, removed, unchanged);
	json_decref(reply.message);
	return CTL_DONE;
}

int
ctl_metrics(const struct ctl *ctl)
{
	struct client_reply reply;
	int status = ask(ctl, "GetMetrics", NULL, "print metrics", &reply);
	const char *text;

	if (status != CTL_DONE)
		return status;
	text = row_text(reply.parameters, "text");
	if (!ctl->json && text != NULL)
		fputs(text, stdout);
	json_decref(reply.message);
	return CTL_DONE;
}
