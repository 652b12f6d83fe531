/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/ctl.h"

#include <poll.h>
#include <string.h>

#define WATCH_EVERY 1000 /* ms */

static enum table_colour
colour_of(const char *state)
{
	static const struct {
		const char *state;
		enum table_colour colour;
	} known[] = { { "active", TABLE_GOOD }, { "ready", TABLE_GOOD },
		{ "requesting", TABLE_BUSY }, { "probing", TABLE_BUSY }, { "waiting", TABLE_BUSY },
		{ "releasing", TABLE_BUSY }, { "failed", TABLE_BAD }, { "silent", TABLE_BAD },
		{ "unsupported", TABLE_BAD }, { "absent", TABLE_BAD }, { "idle", TABLE_DIM },
		{ "unused", TABLE_DIM } };

	for (size_t i = 0; state != NULL && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(state, known[i].state) == 0)
			return known[i].colour;
	return TABLE_PLAIN;
}

static void
state_cell(struct table *t, const json_t *row)
{
	const char *state = row_text(row, "state");

	table_cell(t, state, colour_of(state));
}

/* What is wrong, or nothing at all. */
static void
last_cell(struct table *t, const char *text)
{
	table_cell(t, text != NULL ? text : "", TABLE_PLAIN);
}

static void
titles(struct table *t, const char *const *names)
{
	for (; *names != NULL; names++)
		table_cell(t, *names, TABLE_DIM);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* What is odd about an external address is worth a word. */
static const char *
external_of(const json_t *g, char *room, size_t n)
{
	const char *address = row_text(g, "external_address");
	const char *class = row_text(g, "external_class");

	if (address == NULL || class == NULL || strcmp(class, "public") == 0)
		return address;
	snprintf(room, n, "%s (%s)", address, class);
	return room;
}

/* "default" is there without being written: as long as nobody uses it, it is no news. */
static bool
is_worth_a_row(const json_t *g)
{
	const char *name = row_text(g, "name"), *state = row_text(g, "state");

	return name == NULL || state == NULL || strcmp(name, "default") != 0 ||
	    strcmp(state, "unused") != 0;
}

static void
print_gateways(const json_t *gateways, bool colour)
{
	static const char *const names[] = { "GATEWAY", "FAMILY", "ADDRESS", "INTERFACE", "STATE",
		"MAPPER", "EXTERNAL", "", NULL };
	struct table *t = table_new(8);
	const json_t *g;
	size_t i, rows = 0;
	char room[96];

	if (t == NULL)
		return;
	titles(t, names);
	json_array_foreach(gateways, i, g)
	{
		if (!is_worth_a_row(g))
			continue;
		rows++;
		table_cell(t, row_text(g, "name"), TABLE_PLAIN);
		table_cell(t, row_text(g, "family"), TABLE_PLAIN);
		table_cell(t, row_text(g, "address"), TABLE_PLAIN);
		table_cell(t, row_text(g, "interface"), TABLE_PLAIN);
		state_cell(t, g);
		table_cell(t, row_text(g, "mapper"), TABLE_PLAIN);
		table_cell(t, external_of(g, room, sizeof(room)), TABLE_PLAIN);
		last_cell(t, row_text(g, "last_error"));
	}
	if (rows > 0) {
		table_print(t, colour, stdout);
		putchar('\n');
	}
	table_free(t);
}

static void
endpoint_cell(struct table *t, const json_t *row, const char *address, const char *port)
{
	char ports[32] = "", room[96];
	long first, n = 1;

	if (!row_number(row, port, &first)) {
		table_cell(t, NULL, TABLE_PLAIN);
		return;
	}
	(void)row_number(row, "ports", &n);
	snprintf(ports, sizeof(ports), n > 1 ? "%ld-%ld" : "%ld", first, first + n - 1);
	table_cell(
	    t, unit_endpoint(row_text(row, address), ports, room, sizeof(room)), TABLE_PLAIN);
}

static void
seconds_cell(struct table *t, const json_t *row, const char *key)
{
	char room[32];
	long seconds;

	if (row_number(row, key, &seconds))
		snprintf(room, sizeof(room), "%ld s", seconds);
	table_cell(t, row_number(row, key, &seconds) ? room : NULL, TABLE_PLAIN);
}

/* What is wrong with the gateway of a mapping, or NULL. */
static const char *
gateway_error(const json_t *gateways, const json_t *row)
{
	const char *name = row_text(row, "gateway"), *family = row_text(row, "family");
	const json_t *g;
	size_t i;

	json_array_foreach(gateways, i, g)
	{
		const char *its = row_text(g, "name"), *is = row_text(g, "family");

		if (name != NULL && its != NULL && strcmp(name, its) == 0 && family != NULL &&
		    is != NULL && strcmp(family, is) == 0)
			return row_text(g, "last_error");
	}
	return NULL;
}

/* Why it is not mapped, or not as wished. What stands in the gateway's row is not said again. */
static void
note_cell(struct table *t, const json_t *gateways, const json_t *row)
{
	const char *error = row_text(row, "last_error"), *theirs = gateway_error(gateways, row);
	char wish[40] = "", why[240] = "", room[320], again[40] = "";
	long wanted, got, seconds;

	if (row_number(row, "wanted_external_port", &wanted) &&
	    row_number(row, "external_port", &got) && wanted != got)
		snprintf(wish, sizeof(wish), "port %ld was wanted", wanted);
	if (error != NULL && row_number(row, "retries_in", &seconds))
		snprintf(again, sizeof(again), "; again in %ld s", seconds);
	if (error != NULL && theirs != NULL && strcmp(error, theirs) == 0)
		snprintf(why, sizeof(why), "see gateway %s%s", row_text(row, "gateway"), again);
	else if (error != NULL)
		snprintf(why, sizeof(why), "%s%s", error, again);
	snprintf(
	    room, sizeof(room), "%s%s%s", wish, *wish != '\0' && *why != '\0' ? "; " : "", why);
	last_cell(t, room);
}

static void
print_mappings(const json_t *gateways, const json_t *mappings, bool colour)
{
	static const char *const names[] = { "FORWARD", "PROTOCOL", "INTERNAL", "EXTERNAL", "STATE",
		"MAPPER", "EXPIRES", "RENEWS", "", NULL };
	struct table *t = table_new(9);
	const json_t *m;
	size_t i;

	if (t == NULL)
		return;
	titles(t, names);
	json_array_foreach(mappings, i, m)
	{
		table_cell(t, row_text(m, "forward"), TABLE_PLAIN);
		table_cell(t, row_text(m, "protocol"), TABLE_PLAIN);
		endpoint_cell(t, m, "internal_address", "internal_port");
		endpoint_cell(t, m, "external_address", "external_port");
		state_cell(t, m);
		table_cell(t, row_text(m, "mapper"), TABLE_PLAIN);
		seconds_cell(t, m, "expires_in");
		seconds_cell(t, m, "renews_in");
		note_cell(t, gateways, m);
	}
	table_print(t, colour, stdout);
	table_free(t);
}

static void
print_document(const struct ctl *ctl, const json_t *document)
{
	const json_t *gateways = json_object_get(document, "gateways");
	const json_t *mappings = json_object_get(document, "mappings");
	bool colour = table_wants_colour();

	if (ctl->json) {
		json_dumpf(document, stdout,
		    (ctl->watch ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(7));
		putchar('\n');
		return;
	}
	print_gateways(gateways, colour);
	if (json_array_size(mappings) == 0) {
		puts("No forwards.");
		return;
	}
	print_mappings(gateways, mappings, colour);
	listen_warn(mappings, stdout);
}

/* ---- the command ---------------------------------------------------------------------------- */

/* A forward that nobody holds is not missing, unless it was asked for by name. */
static bool
all_active(const struct ctl *ctl, const json_t *mappings)
{
	const json_t *m;
	size_t i;

	json_array_foreach(mappings, i, m)
	{
		const char *state = row_text(m, "state");

		if (state == NULL ||
		    (strcmp(state, "active") != 0 &&
			(ctl->n_names > 0 || strcmp(state, "idle") != 0)))
			return false;
	}
	return true;
}

static int
watch(const struct ctl *ctl)
{
	bool terminal = table_on_terminal();
	struct client_reply reply;

	for (;;) {
		int status =
		    client_ask(ctl, "GetStatus", client_names(ctl), "read the status", &reply);

		if (status != CTL_DONE)
			return status;
		if (terminal && !ctl->json)
			fputs("\033[H\033[2J", stdout);
		print_document(ctl, reply.parameters);
		if (!terminal && !ctl->json)
			putchar('\n');
		json_decref(reply.message);
		if (fflush(stdout) != 0)
			return CTL_REFUSED;
		(void)poll(NULL, 0, WATCH_EVERY);
	}
}

int
ctl_status(const struct ctl *ctl)
{
	struct client_reply reply;
	int status;

	if (ctl->watch)
		return watch(ctl);
	status = client_ask(ctl, "GetStatus", client_names(ctl), "read the status", &reply);
	if (status != CTL_DONE)
		return status;
	print_document(ctl, reply.parameters);
	if (!all_active(ctl, json_object_get(reply.parameters, "mappings")))
		status = CTL_REFUSED;
	json_decref(reply.message);
	return status;
}
