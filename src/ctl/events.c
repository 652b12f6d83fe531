/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#define WAIT_DEFAULT 60000 /* ms */
/* The state may change without an event, too. */
#define LOOK_AGAIN 1000
/* For how long a mapping without external address is worth waiting for. */
#define ADDRESS_PATIENCE 5000

/* ---- monitor -------------------------------------------------------------------------------- */

static void
print_mapping(const json_t *event, const json_t *m)
{
	const char *name = row_text(event, "event"), *mapper = row_text(m, "mapper");
	const char *error = row_text(m, "last_error"),
		   *old = row_text(event, "old_external_address");
	char inside[32] = "?", outside[32] = "", room[96], target[96];
	long first, ports = 1, lifetime, before;

	(void)row_number(m, "ports", &ports);
	if (row_number(m, "internal_port", &first))
		snprintf(inside, sizeof(inside), ports > 1 ? "%ld-%ld" : "%ld", first,
		    first + ports - 1);
	if (row_number(m, "external_port", &first))
		snprintf(outside, sizeof(outside), ports > 1 ? "%ld-%ld" : "%ld", first,
		    first + ports - 1);
	printf(" %s %s %s", row_text(m, "forward"), row_text(m, "protocol"),
	    unit_endpoint(row_text(m, "internal_address"), inside, room, sizeof(room)));
	if (*outside != '\0')
		printf(" -> %s",
		    unit_endpoint(
			row_text(m, "external_address"), outside, target, sizeof(target)));
	if (name != NULL && strcmp(name, "present") == 0)
		printf(" %s", row_text(m, "state"));
	if (mapper != NULL && *outside != '\0')
		printf(" by %s", mapper);
	if (row_number(m, "lifetime", &lifetime))
		printf(" for %ld s", lifetime);
	if (row_number(event, "old_external_port", &before)) {
		snprintf(outside, sizeof(outside), "%ld", before);
		printf(", was %s", unit_endpoint(old, outside, target, sizeof(target)));
	}
	if (error != NULL)
		printf(": %s", error);
}

static void
print_gateway(const json_t *event, const json_t *g)
{
	const char *address = row_text(g, "address"), *interface = row_text(g, "interface");
	const char *mapper = row_text(g, "mapper"), *external = row_text(g, "external_address");
	const char *old = row_text(event, "old_external_address");
	const char *error = row_text(g, "last_error");

	printf(" gateway %s %s", row_text(g, "name"), row_text(g, "family"));
	if (address != NULL)
		printf(" %s on %s", address, interface != NULL ? interface : "?");
	printf(" %s", row_text(g, "state"));
	if (mapper != NULL)
		printf(" by %s", mapper);
	if (external != NULL)
		printf(", external %s", external);
	if (old != NULL)
		printf(", was %s", old);
	if (error != NULL)
		printf(": %s", error);
}

/* Why a file was rejected, or what is odd about one that was not: the first place, and how many
 * more there are. */
static void
print_problems(const json_t *problems)
{
	const json_t *first = json_array_get(problems, 0);
	const char *file = row_text(first, "file"), *text = row_text(first, "text");
	size_t more = json_array_size(problems) - 1;
	long line;

	printf(" %s", file != NULL ? file : "?");
	if (row_number(first, "line", &line) && line > 0)
		printf(":%ld", line);
	printf(": %s", text != NULL ? text : "?");
	if (more > 0)
		printf("; and %zu more problem%s", more, more == 1 ? "" : "s");
}

/* The event's own time is UTC; people look at their own clock. */
static void
print_time(const char *text)
{
	struct tm utc = { .tm_isdst = 0 }, local;
	time_t t;

	if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) == NULL)
		return;
	t = timegm(&utc);
	if (localtime_r(&t, &local) != NULL)
		printf("%02d:%02d:%02d ", local.tm_hour, local.tm_min, local.tm_sec);
}

static void
print_event(const json_t *event)
{
	const char *name = row_text(event, "event");
	const json_t *m = json_object_get(event, "mapping"), *g = json_object_get(event, "gateway");
	const json_t *problems = json_object_get(event, "problems");

	print_time(row_text(event, "time"));
	fputs(name != NULL ? name : "?", stdout);
	if (json_is_object(m))
		print_mapping(event, m);
	else if (json_is_object(g))
		print_gateway(event, g);
	else if (json_array_size(problems) > 0)
		print_problems(problems);
	putchar('\n');
}

/* Opens and calls Monitor. CTL_DONE, or has complained. */
static int
begin(const struct ctl *ctl, struct client **out)
{
	int error = client_open(ctl->socket, out);

	if (error != 0)
		return client_complain_open(ctl->socket, error);
	if (client_call(*out, "Monitor", client_names(ctl), true))
		return CTL_DONE;
	client_close(*out);
	return client_complain_lost(ctl->socket, CLIENT_CLOSED);
}

int
ctl_monitor(const struct ctl *ctl)
{
	struct client_reply reply;
	struct client *c;
	enum client_result result;
	int status = begin(ctl, &c);

	if (status != CTL_DONE)
		return status;
	/* The first reply comes at once; news may take for ever. */
	for (int patience = CLIENT_PATIENCE;; patience = -1) {
		result = client_next(c, patience, &reply);
		if (result != CLIENT_REPLY) {
			status = client_complain_lost(ctl->socket, result);
			break;
		}
		if (reply.error != NULL) {
			status = client_complain_error(&reply, "watch");
			json_decref(reply.message);
			break;
		}
		if (ctl->json) {
			json_dumpf(json_object_get(reply.parameters, "event"), stdout,
			    JSON_COMPACT | JSON_REAL_PRECISION(7));
			putchar('\n');
		} else {
			print_event(json_object_get(reply.parameters, "event"));
		}
		json_decref(reply.message);
		/* Nobody reads any more. */
		if (fflush(stdout) != 0)
			break;
	}
	client_close(c);
	return status;
}

/* ---- wait ----------------------------------------------------------------------------------- */

static int64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
complain_late(const struct ctl *ctl, const json_t *mappings, int timeout)
{
	const json_t *m;
	size_t i;

	json_array_foreach(mappings, i, m)
	{
		const char *state = row_text(m, "state"), *error = row_text(m, "last_error");

		if (state == NULL || strcmp(state, "active") == 0)
			continue;
		ctl_complain("%s is not mapped after %d s: %s %s%s%s", ctl->names[0],
		    timeout / 1000, row_text(m, "protocol"), state, error != NULL ? ": " : "",
		    error != NULL ? error
			: strcmp(state, "idle") == 0
			? "; it is on demand, and nobody holds it: portleasectl hold"
			: "; portleasectl status tells more");
		return;
	}
}

/* Is it done? `since` is when it was active first, 0: not yet. */
static bool
is_mapped(const json_t *mappings, int64_t *since)
{
	if (!unit_all_active(mappings)) {
		*since = 0;
		return false;
	}
	if (*since == 0)
		*since = clock_ms();
	return unit_all_addressed(mappings) || clock_ms() - *since >= ADDRESS_PATIENCE;
}

/* Until the next event, or a look for its own sake. */
static int
pause_for_event(const struct ctl *ctl, struct client *events, int64_t deadline)
{
	int64_t left = deadline - clock_ms();
	struct client_reply reply;
	enum client_result result = client_next(
	    events, left < LOOK_AGAIN ? (int)(left > 0 ? left : 0) : LOOK_AGAIN, &reply);
	int status = CTL_DONE;

	if (result == CLIENT_TIMEOUT)
		return CTL_DONE;
	if (result == CLIENT_CLOSED)
		return client_complain_lost(ctl->socket, result);
	if (reply.error != NULL)
		status = client_complain_error(&reply, "wait");
	json_decref(reply.message);
	return status;
}

/* Looks once. True: that was it, with the exit status in `status`. */
static bool
wait_is_over(const struct ctl *ctl, int timeout, int64_t deadline, int64_t *since, int *status)
{
	struct client_reply reply;
	const json_t *mappings;
	bool late = clock_ms() >= deadline, mapped;

	*status = client_ask(ctl, "GetStatus", client_names(ctl), "wait", &reply);
	if (*status != CTL_DONE)
		return true;
	mappings = json_object_get(reply.parameters, "mappings");
	/* At the end, a mapping whose address is not known is better than nothing. */
	mapped = is_mapped(mappings, since) || (late && *since != 0);
	if (mapped)
		unit_print(mappings);
	else if (late)
		complain_late(ctl, mappings, timeout);
	json_decref(reply.message);
	*status = mapped ? CTL_DONE : CTL_REFUSED;
	return mapped || late;
}

int
ctl_wait(const struct ctl *ctl)
{
	int timeout = ctl->has_timeout ? ctl->timeout : WAIT_DEFAULT;
	int64_t deadline = clock_ms() + timeout, since = 0;
	struct client *events;
	int status = begin(ctl, &events);

	if (status != CTL_DONE)
		return status;
	while (!wait_is_over(ctl, timeout, deadline, &since, &status)) {
		status = pause_for_event(ctl, events, deadline);
		if (status != CTL_DONE)
			break;
	}
	client_close(events);
	return status;
}
