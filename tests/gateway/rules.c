/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "net.h"
#include "rules.h"
#include "template.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span {
	int64_t lo, hi;
};

enum what { WHAT_ANY, WHAT_ADDR, WHAT_MAP, WHAT_ANNOUNCE, WHAT_CREATE, WHAT_DELETE };

struct rule {
	struct rule *next;
	int64_t number;
	char name[32];
	char *text; /* owned */
	bool dead;
	/* match */
	struct span version, op, protocol, port, suggested, lifetime, len, nth;
	enum what what;
	bool has_nonce;
	uint8_t nonce[12];
	struct addr from, to; /* port 0: any port; all zero: any */
	bool has_from, has_to;
	int64_t every;
	double probability;
	/* state */
	int64_t seen, used;
	struct action *actions; /* owned */
};

static const char *const what_names[] = { "any", "addr", "map", "announce", "create", "delete" };

static bool
within(const struct span *s, int64_t v)
{
	return v >= s->lo && v <= s->hi;
}

static bool
read_span(const char *text, struct span *out)
{
	char copy[64];
	char *dash;
	struct span s = { 0, INT64_MAX };

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	dash = strchr(copy, '-');
	if (dash != NULL)
		*dash++ = '\0';
	if (!number_read(copy, 0, INT64_MAX, &s.lo))
		return false;
	if (dash == NULL)
		s.hi = s.lo;
	else if (*dash != '\0' && !number_read(dash, s.lo, INT64_MAX, &s.hi))
		return false;
	*out = s;
	return true;
}

static bool
read_protocol(const char *text, struct span *out)
{
	if (strcmp(text, "udp") == 0)
		out->lo = out->hi = PROTO_UDP;
	else if (strcmp(text, "tcp") == 0)
		out->lo = out->hi = PROTO_TCP;
	else
		return read_span(text, out);
	return true;
}

static bool
read_what(const char *text, enum what *out)
{
	for (size_t i = 0; i < sizeof(what_names) / sizeof(what_names[0]); i++) {
		if (strcmp(text, what_names[i]) == 0) {
			*out = (enum what)i;
			return true;
		}
	}
	return false;
}

static bool
read_match(struct rule *r, const char *key, const char *value)
{
	static const struct {
		const char *key;
		size_t offset;
	} spans[] = {
		{ "version", offsetof(struct rule, version) },
		{ "op", offsetof(struct rule, op) },
		{ "port", offsetof(struct rule, port) },
		{ "suggested", offsetof(struct rule, suggested) },
		{ "lifetime", offsetof(struct rule, lifetime) },
		{ "len", offsetof(struct rule, len) },
		{ "nth", offsetof(struct rule, nth) },
	};

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		if (strcmp(key, spans[i].key) == 0)
			return read_span(value, (void *)((char *)r + spans[i].offset));
	}
	if (strcmp(key, "protocol") == 0)
		return read_protocol(value, &r->protocol);
	if (strcmp(key, "what") == 0)
		return read_what(value, &r->what);
	if (strcmp(key, "first") == 0) {
		r->nth.lo = 1;
		return number_read(value, 1, INT64_MAX, &r->nth.hi);
	}
	if (strcmp(key, "every") == 0)
		return number_read(value, 1, INT64_MAX, &r->every);
	if (strcmp(key, "prob") == 0)
		return decimal_read(value, 0, 1, &r->probability);
	if (strcmp(key, "nonce") == 0)
		return r->has_nonce = hex_read(value, r->nonce, 12) == 12;
	if (strcmp(key, "from") == 0)
		return r->has_from = addr_parse(value, 0, &r->from);
	if (strcmp(key, "to") == 0)
		return r->has_to = addr_parse(value, 0, &r->to);
	if (strcmp(key, "name") == 0) {
		snprintf(r->name, sizeof(r->name), "%s", value);
		return strlen(value) < sizeof(r->name);
	}
	return false;
}

/* The next word of *p into `out`; false at the end or when it is too long. */
static bool
next_word(const char **p, char *out, size_t size)
{
	size_t n;

	*p += strspn(*p, " \t");
	n = strcspn(*p, " \t");
	if (n == 0 || n >= size)
		return false;
	memcpy(out, *p, n);
	out[n] = '\0';
	*p += n;
	*p += strspn(*p, " \t");
	return true;
}

static bool
read_icmp(const char *word, int64_t *out)
{
	static const char *const names[] = { "port", "host", "net", "admin" };

	for (int i = 0; i < 4; i++) {
		if (strcmp(word, names[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* send [from=ADDR[:PORT]] [delay=MS] TEMPLATE */
static bool
read_send(struct action *a, const char *p, struct text *error)
{
	char word[128];

	while (strncmp(p, "from=", 5) == 0 || strncmp(p, "delay=", 6) == 0) {
		if (!next_word(&p, word, sizeof(word)))
			return false;
		if (word[0] == 'f' ? !addr_parse(word + 5, SERVER_PORT, &a->address)
				   : !number_read(word + 6, 0, 3600000, &a->a))
			return false;
	}
	snprintf(a->text, sizeof(a->text), "%s", p);
	return template_check(p, error);
}

static bool
read_number(const char *p, struct action *a, int64_t max)
{
	char word[32];

	return next_word(&p, word, sizeof(word)) && *p == '\0' && number_read(word, 0, max, &a->a);
}

static struct action *
new_action(struct action ***tail, enum action_kind kind)
{
	struct action *a = calloc(1, sizeof(*a));

	if (a == NULL)
		abort();
	a->kind = kind;
	**tail = a;
	*tail = &a->next;
	return a;
}

static bool
read_result(const char *p, struct action *a, struct action ***tail)
{
	char word[32];

	if (!next_word(&p, word, sizeof(word)) || !number_read(word, 0, 65535, &a->a))
		return false;
	if (*p == '\0')
		return true;
	if (!next_word(&p, word, sizeof(word)) || strcmp(word, "lifetime") != 0)
		return false;
	return read_number(p, new_action(tail, ACT_LIFETIME), UINT32_MAX);
}

static bool
read_action(struct action ***tail, const char *p, struct text *error)
{
	static const char *const names[] = { "drop", "mute", "serve", "result", "lifetime",
		"reply-hex", "send", "patch", "from", "delay", "dup", "truncate", "icmp", "do",
		"then" };
	char word[128];
	struct action *a;
	size_t kind = 0;

	if (!next_word(&p, word, sizeof(word)))
		return false;
	while (kind < sizeof(names) / sizeof(names[0]) && strcmp(word, names[kind]) != 0)
		kind++;
	if (kind == sizeof(names) / sizeof(names[0]))
		return false;
	a = new_action(tail, (enum action_kind)kind);
	switch (a->kind) {
	case ACT_DROP:
	case ACT_MUTE:
	case ACT_SERVE:
		return *p == '\0';
	case ACT_RESULT:
		return read_result(p, a, tail);
	case ACT_LIFETIME:
		return read_number(p, a, UINT32_MAX);
	case ACT_DELAY:
		return read_number(p, a, 3600000);
	case ACT_DUP:
		return read_number(p, a, 1000);
	case ACT_TRUNCATE:
		return read_number(p, a, PACKET_MAX);
	case ACT_SEND:
		return read_send(a, p, error);
	case ACT_PATCH:
		if (!next_word(&p, word, sizeof(word)) || !number_read(word, 0, PACKET_MAX, &a->a))
			return false;
		/* FALLTHROUGH */
	case ACT_REPLY:
		snprintf(a->text, sizeof(a->text), "%s", p);
		return template_check(p, error);
	case ACT_FROM:
		return addr_parse(p, SERVER_PORT, &a->address) && a->address.port != 0;
	case ACT_ICMP:
		return *p == '\0' || read_icmp(p, &a->a);
	case ACT_DO:
	case ACT_THEN:
		snprintf(a->text, sizeof(a->text), "%s", p);
		return *p != '\0';
	}
	return false;
}

static bool
read_actions(struct rule *r, const char *p, struct text *error)
{
	struct action **tail = &r->actions;
	char part[1024];

	for (;;) {
		size_t n = strcspn(p, "|");

		if (n >= sizeof(part))
			return false;
		memcpy(part, p, n);
		while (n > 0 && (part[n - 1] == ' ' || part[n - 1] == '\t'))
			n--;
		part[n] = '\0';
		if (!read_action(&tail, part, error)) {
			if (error->len == 0)
				text_add(error, "rule: cannot read the action \"%s\"", part);
			return false;
		}
		p += strcspn(p, "|");
		if (*p == '\0')
			return true;
		p++;
	}
}

static void
free_rule(struct rule *r)
{
	while (r->actions != NULL) {
		struct action *a = r->actions;

		r->actions = a->next;
		free(a);
	}
	free(r->text);
	free(r);
}

static bool
read_rule(struct rule *r, const char *p, struct text *error)
{
	char word[256];
	char *equals;

	for (;;) {
		p += strspn(p, " \t");
		if (strncmp(p, "action=", 7) == 0)
			return read_actions(r, p + 7, error);
		if (!next_word(&p, word, sizeof(word))) {
			text_add(error, "rule: no action=… in it");
			return false;
		}
		equals = strchr(word, '=');
		if (equals != NULL)
			*equals++ = '\0';
		if (equals == NULL || !read_match(r, word, equals)) {
			text_add(error, "rule: cannot read \"%s%s%s\"", word,
			    equals != NULL ? "=" : "", equals != NULL ? equals : "");
			return false;
		}
	}
}

int64_t
rule_add(struct gw *gw, const char *text, struct text *error)
{
	static const struct span any = { -1, INT64_MAX };
	struct rule **p = &gw->rules;
	struct rule *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->version = r->op = r->protocol = r->port = r->suggested = any;
	r->lifetime = r->len = r->nth = any;
	r->every = 1;
	r->probability = 1;
	if (!read_rule(r, text, error)) {
		free_rule(r);
		return OFF;
	}
	r->text = strdup(text);
	if (r->text == NULL)
		abort();
	r->number = ++gw->next_rule;
	while (*p != NULL)
		p = &(*p)->next;
	*p = r;
	return r->number;
}

bool
rule_remove(struct gw *gw, const char *name)
{
	bool all = strcmp(name, "all") == 0, found = all;
	int64_t number = OFF;

	if (!number_read(name, 1, INT64_MAX, &number))
		number = OFF;
	for (struct rule *r = gw->rules; r != NULL; r = r->next) {
		if (!r->dead && (all || r->number == number || strcmp(r->name, name) == 0))
			r->dead = found = true;
	}
	return found;
}

static bool
is_what(enum what what, const struct message *m)
{
	switch (what) {
	case WHAT_ANY:
		return true;
	case WHAT_ADDR:
		return m->has_head && m->version == 0 && m->op == NATPMP_ADDRESS;
	case WHAT_ANNOUNCE:
		return m->has_head && m->version != 0 && m->op == PCP_ANNOUNCE;
	case WHAT_MAP:
		return message_is_map(m);
	case WHAT_CREATE:
		return message_is_map(m) && m->has_lifetime && m->lifetime > 0;
	case WHAT_DELETE:
		return message_is_map(m) && m->has_lifetime && m->lifetime == 0;
	}
	return false;
}

static bool
address_fits(const struct addr *want, const struct addr *have)
{
	return memcmp(want->ip, have->ip, 16) == 0 && (want->port == 0 || want->port == have->port);
}

static bool
fits(const struct rule *r, const struct request *q)
{
	const struct message *m = &q->m;

	return within(&r->version, m->has_head ? m->version : -1) &&
	    within(&r->op, m->has_head ? m->op : -1) &&
	    within(&r->protocol, m->has_map ? m->proto : -1) &&
	    within(&r->port, m->has_map ? m->internal : -1) &&
	    within(&r->suggested, m->has_map ? m->external : -1) &&
	    within(&r->lifetime, m->has_lifetime ? (int64_t)m->lifetime : -1) &&
	    within(&r->len, (int64_t)q->len) && is_what(r->what, m) &&
	    (!r->has_nonce || (m->has_nonce && memcmp(m->nonce, r->nonce, 12) == 0)) &&
	    (!r->has_from || address_fits(&r->from, &q->peer)) &&
	    (!r->has_to || address_fits(&r->to, &q->local));
}

const struct action *
rules_match(struct gw *gw, const struct request *q)
{
	const struct action *found = NULL;

	for (struct rule *r = gw->rules; r != NULL; r = r->next) {
		if (r->dead || !fits(r, q))
			continue;
		r->seen++;
		if (found != NULL || !within(&r->nth, r->seen) || r->seen % r->every != 0)
			continue;
		if (r->probability < 1 && !random_chance(gw, r->probability))
			continue;
		r->used++;
		found = r->actions;
	}
	return found;
}

void
rules_reap(struct gw *gw, bool all)
{
	struct rule **p = &gw->rules;

	while (*p != NULL) {
		struct rule *r = *p;

		if (all || r->dead) {
			*p = r->next;
			free_rule(r);
		} else
			p = &r->next;
	}
}

void
rules_print(const struct gw *gw, struct text *out)
{
	const char *comma = "";

	text_add(out, "[");
	for (const struct rule *r = gw->rules; r != NULL; r = r->next) {
		if (r->dead)
			continue;
		text_add(out, "%s{\"rule\":%lld,\"name\":", comma, (long long)r->number);
		text_add_json(out, r->name, strlen(r->name));
		text_add(out, ",\"seen\":%lld,\"used\":%lld,\"text\":", (long long)r->seen,
		    (long long)r->used);
		text_add_json(out, r->text, strlen(r->text));
		text_add(out, "}");
		comma = ",";
	}
	text_add(out, "]");
}
