/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "announce.h"
#include "command.h"
#include "faults.h"
#include "jobs.h"
#include "log.h"
#include "net.h"
#include "rules.h"
#include "settings.h"
#include "table.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLAST_CHUNK = 64 };

struct command {
	const char *name;
	bool (*run)(struct gw *, const char *args, struct text *out);
	const char *usage;
};

/* set result map|addr|announce|create|delete|any CODE [lifetime N] [nth K] [first K] [every K]
 * [version V] is a rule with the name "result". */
static bool
run_result(struct gw *gw, const char *args, struct text *out)
{
	struct words w = { .p = args };
	struct text rule = { 0 }, action = { 0 };
	int64_t code, number;
	bool ok;

	if (words_next(&w) && (words_are(&w, "clear") || words_are(&w, "off"))) {
		(void)rule_remove(gw, "result");
		return true;
	}
	text_add(&rule, "name=result what=%s", w.word);
	ok = words_number(&w, 0, 65535, &code);
	text_add(&action, " action=result %lld", ok ? (long long)code : 0);
	while (ok && words_next(&w)) {
		if (words_are(&w, "lifetime")) {
			ok = words_number(&w, 0, UINT32_MAX, &number);
			text_add(&action, " lifetime %lld", ok ? (long long)number : 0);
		} else if (words_are(&w, "nth") || words_are(&w, "first") ||
		    words_are(&w, "every") || words_are(&w, "version") || words_are(&w, "port") ||
		    words_are(&w, "protocol")) {
			text_add(&rule, " %s=", w.word);
			ok = words_next(&w);
			text_add(&rule, "%s", w.word);
		} else
			ok = false;
	}
	text_add(&rule, "%s", action.p);
	if (!ok)
		text_add(out,
		    "result: expected WHAT CODE [lifetime N] [nth K] [first K] [every K] "
		    "[version V] [port P] [protocol P]");
	else {
		number = rule_add(gw, rule.p, out);
		ok = number != OFF;
		if (ok)
			text_add(out, "{\"rule\":%lld}", (long long)number);
	}
	text_free(&rule);
	text_free(&action);
	return ok;
}

static bool
run_set(struct gw *gw, const char *args, struct text *out)
{
	struct words w = { .p = args };
	char name[sizeof(w.word)];

	if (!words_next(&w)) {
		text_add(out, "set: expected NAME VALUE ...");
		return false;
	}
	if (words_are(&w, "result"))
		return run_result(gw, w.p, out);
	do {
		strcpy(name, w.word);
		if (!words_next(&w)) {
			text_add(out, "set: %s needs a value", name);
			return false;
		}
		if (!settings_set(gw, name, w.word, out))
			return false;
	} while (words_next(&w));
	return true;
}

static bool
run_settings(struct gw *gw, const char *args, struct text *out)
{
	(void)args;
	settings_print(gw, out);
	return true;
}

static bool
run_rule(struct gw *gw, const char *args, struct text *out)
{
	int64_t number = rule_add(gw, args, out);

	if (number == OFF)
		return false;
	text_add(out, "{\"rule\":%lld}", (long long)number);
	return true;
}

static bool
run_rules(struct gw *gw, const char *args, struct text *out)
{
	(void)args;
	rules_print(gw, out);
	return true;
}

static bool
run_unrule(struct gw *gw, const char *args, struct text *out)
{
	if (rule_remove(gw, args))
		return true;
	text_add(out, "unrule: no rule \"%s\"; expected a number, a name or all", args);
	return false;
}

static bool
run_table(struct gw *gw, const char *args, struct text *out)
{
	(void)args;
	table_print(gw, out);
	return true;
}

static bool
run_stats(struct gw *gw, const char *args, struct text *out)
{
	const struct stats *s = &gw->stats;

	(void)args;
	text_add(out,
	    "{\"in\":%llu,\"out\":%llu,\"nat-pmp\":%llu,\"pcp\":%llu,\"garbage\":%llu,"
	    "\"dropped_requests\":%llu,\"dropped_replies\":%llu,\"unsendable\":%llu,"
	    "\"mappings\":%zu,\"epoch\":%u,\"up\":%.3f}",
	    (unsigned long long)s->in, (unsigned long long)s->out, (unsigned long long)s->natpmp,
	    (unsigned long long)s->pcp, (unsigned long long)s->garbage,
	    (unsigned long long)s->dropped_requests, (unsigned long long)s->dropped_replies,
	    (unsigned long long)s->unsendable, gw->table.n, epoch_now(gw),
	    (double)(gw->now - gw->started) / 1e6);
	return true;
}

static bool
run_forget(struct gw *gw, const char *args, struct text *out)
{
	(void)args;
	(void)out;
	table_clear(gw, "forget");
	return true;
}

static bool
run_jump(struct gw *gw, const char *args, struct text *out)
{
	int64_t by;

	if (!number_read(*args == '+' ? args + 1 : args, -(int64_t)UINT32_MAX, UINT32_MAX, &by)) {
		text_add(out, "jump: expected seconds, such as +1800 or -20");
		return false;
	}
	epoch_set(gw, (uint32_t)((int64_t)epoch_now(gw) + by));
	return true;
}

/* Whose turn: "at" since the start, "after" from now. */
static bool
run_later(struct gw *gw, int64_t from, const char *args, struct text *out)
{
	struct words w = { .p = args };
	double seconds;

	if (!words_next(&w) || !decimal_read(w.word, 0, 1e6, &seconds) || *w.p == '\0') {
		text_add(out, "expected SECONDS COMMAND");
		return false;
	}
	jobs_command(gw, from + (int64_t)(seconds * 1e6), w.p);
	return true;
}

static bool
run_at(struct gw *gw, const char *args, struct text *out)
{
	return run_later(gw, gw->started, args, out);
}

static bool
run_after(struct gw *gw, const char *args, struct text *out)
{
	return run_later(gw, gw->now, args, out);
}

/* A mapping nobody asked for over the wire: of another host, of a "UPnP client". */
static bool
run_occupy(struct gw *gw, const char *args, struct text *out)
{
	struct words w = { .p = args };
	struct ask ask = { .origin = ORIGIN_NATPMP, .lifetime = 3600 };
	struct addr client;
	struct mapping *row;
	int64_t port, internal, lifetime;
	uint16_t external;
	uint32_t granted;
	bool tcp;

	if (!words_next(&w) || !addr_parse(w.word, 0, &client) || !words_next(&w) ||
	    !((tcp = words_are(&w, "tcp")) || words_are(&w, "udp")) ||
	    !words_number(&w, 1, 65535, &port)) {
		text_add(out, "occupy: expected CLIENT udp|tcp EXTERNAL [INTERNAL [LIFETIME]]");
		return false;
	}
	internal = port;
	lifetime = 3600;
	if (*w.p != '\0' && !words_number(&w, 1, 65535, &internal)) {
		text_add(out, "occupy: \"%s\" is not a port", w.word);
		return false;
	}
	if (*w.p != '\0' && !words_number(&w, 1, UINT32_MAX, &lifetime)) {
		text_add(out, "occupy: \"%s\" is not a lifetime", w.word);
		return false;
	}
	memcpy(ask.client, client.ip, 16);
	ask.proto = tcp ? PROTO_TCP : PROTO_UDP;
	ask.internal = (uint16_t)internal;
	ask.suggested = (uint16_t)port;
	ask.lifetime = (uint32_t)lifetime;
	ask.ext6 = !addr_is_v4(&client);
	if (table_grant(gw, &ask, &row, &external, &granted) != GRANTED || row == NULL) {
		text_add(out, "occupy: no room");
		return false;
	}
	mapping_print(gw, row, out);
	return true;
}

/* blast COUNT [quiet]: unsolicited garbage to the last client, of the kind the zoo settings say. */
static bool
run_blast(struct gw *gw, const char *args, struct text *out)
{
	struct words w = { .p = args };
	struct request r = { .bytes = gw->last_request.bytes,
		.len = gw->last_request.len,
		.peer = gw->last_peer,
		.local = gw->last_local };
	int64_t count;
	bool quiet;
	FILE *log = gw->log;
	char rest[64];

	if (!words_number(&w, 1, 100000000, &count) ||
	    ((quiet = words_next(&w)) && !words_are(&w, "quiet"))) {
		text_add(out, "blast: expected COUNT [quiet]");
		return false;
	}
	if (gw->last_peer.port == 0) {
		text_add(out, "blast: nobody has asked anything yet");
		return false;
	}
	message_decode(r.bytes, r.len, &r.m);
	if (quiet)
		gw->log = NULL;
	for (int64_t i = 0; i < BLAST_CHUNK && count > 0; i++, count--) {
		struct packet animal;

		zoo_make(gw, &r, &gw->last_reply, &animal);
		net_send(gw, &r.local, &r.peer, animal.bytes, animal.len, "blast");
	}
	gw->log = log;
	if (count > 0) {
		snprintf(
		    rest, sizeof(rest), "blast %lld%s", (long long)count, quiet ? " quiet" : "");
		jobs_command(gw, gw->now + 1000, rest);
	} else
		log_event(gw, "blasted", ",\"sent\":%llu", (unsigned long long)gw->stats.out);
	return true;
}

/* send FROM TO HEX: any datagram from anywhere. */
static bool
run_send(struct gw *gw, const char *args, struct text *out)
{
	struct words w = { .p = args };
	struct addr from, to;
	uint8_t bytes[PACKET_MAX];
	int n = -1;

	if (words_next(&w) && addr_parse(w.word, SERVER_PORT, &from) && words_next(&w) &&
	    addr_parse(w.word, CLIENT_PORT, &to))
		n = hex_read(w.p, bytes, sizeof(bytes));
	if (n < 0) {
		text_add(out, "send: expected FROM[:PORT] TO[:PORT] HEX");
		return false;
	}
	net_send(gw, &from, &to, bytes, (size_t)n, "send");
	return true;
}

static bool
run_note(struct gw *gw, const char *args, struct text *out)
{
	struct text t = { 0 };

	(void)out;
	text_add_json(&t, args, strlen(args));
	log_event(gw, "note", ",\"text\":%s", t.p);
	text_free(&t);
	return true;
}

static bool
run_quit(struct gw *gw, const char *args, struct text *out)
{
	(void)args;
	(void)out;
	gw->quit = true;
	return true;
}

static bool run_help(struct gw *, const char *, struct text *);

static const struct command commands[] = {
	{ "set", run_set, "set NAME VALUE ...; set result WHAT CODE [lifetime N] [nth K]" },
	{ "settings", run_settings, "settings" },
	{ "result", run_result, "result WHAT CODE [lifetime N] [nth K] ...; result clear" },
	{ "rule", run_rule, "rule MATCH=VALUE ... action=ACTION [| ACTION ...]" },
	{ "rules", run_rules, "rules" },
	{ "unrule", run_unrule, "unrule NUMBER|NAME|all" },
	{ "table", run_table, "table" },
	{ "stats", run_stats, "stats" },
	{ "reboot", reboot_command,
	    "reboot [keep] [epoch N] [announce|burst|pcp-only|silent] ..." },
	{ "announce", announce_command,
	    "announce [rfc|nat-pmp|pcp|burst] [copies N] [gap MS] [flat] [epoch N] [result N] "
	    "[external ADDR] [from ADDR] [to ADDR|last]" },
	{ "update", update_command,
	    "update [protocol P] [port N] [external N] [address ADDR] [lifetime N] [result N] "
	    "[copies N]" },
	{ "forget", run_forget, "forget" },
	{ "jump", run_jump, "jump SECONDS" },
	{ "occupy", run_occupy, "occupy CLIENT udp|tcp EXTERNAL [INTERNAL [LIFETIME]]" },
	{ "blast", run_blast, "blast COUNT [quiet]" },
	{ "send", run_send, "send FROM TO HEX" },
	{ "at", run_at, "at SECONDS COMMAND" },
	{ "after", run_after, "after SECONDS COMMAND" },
	{ "note", run_note, "note TEXT" },
	{ "help", run_help, "help" },
	{ "quit", run_quit, "quit" },
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static bool
run_help(struct gw *gw, const char *args, struct text *out)
{
	(void)gw;
	(void)args;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		text_add(out, "%s", i == 0 ? "[" : ",");
		text_add_json(out, commands[i].usage, strlen(commands[i].usage));
	}
	text_add(out, ",\"SETTING VALUE\"]");
	return true;
}

bool
command_run(struct gw *gw, const char *line, struct text *out)
{
	struct words w = { .p = line };
	const struct command *c = NULL;
	struct text t = { 0 };
	bool ok;

	if (!words_next(&w) || w.word[0] == '#')
		return true;
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (words_are(&w, commands[i].name))
			c = &commands[i];
	}
	if (c == NULL && !settings_known(w.word)) {
		text_add(out, "no command \"%s\"; `help` lists all", w.word);
		return false;
	}
	text_add_json(&t, line, strlen(line));
	log_event(gw, "command", ",\"line\":%s", t.p);
	text_free(&t);
	ok = c != NULL ? c->run(gw, w.p, out) : run_set(gw, line, out);
	return ok;
}

void
command_run_unasked(struct gw *gw, const char *line)
{
	struct text out = { 0 }, quoted = { 0 };

	if (!command_run(gw, line, &out)) {
		text_add_json(&quoted, out.p != NULL ? out.p : "", out.len);
		log_event(gw, "error", ",\"text\":%s", quoted.p);
		fprintf(stderr, "fakegw: %s: %s\n", line, out.p != NULL ? out.p : "failed");
	}
	text_free(&out);
	text_free(&quoted);
}

bool
command_script(struct gw *gw, const char *path, struct text *error)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0, number = 0;
	ssize_t n;
	bool ok = true;

	if (f == NULL) {
		text_add(error, "%s: %s", path, strerror(errno));
		return false;
	}
	while (ok && (n = getline(&line, &cap, f)) >= 0) {
		struct text out = { 0 };

		number++;
		line[strcspn(line, "\r\n")] = '\0';
		ok = command_run(gw, line, &out);
		if (!ok)
			text_add(error, "%s:%zu: %s", path, number, out.p);
		text_free(&out);
	}
	free(line);
	fclose(f);
	return ok;
}
