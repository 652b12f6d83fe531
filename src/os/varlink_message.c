/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/jsontext.h"
#include "os/varlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SERVICE "org.varlink.service"

static const char service_description[] =
    "# What every Varlink service can say about itself\n"
    "interface org.varlink.service\n"
    "method GetInfo() -> (vendor: string, product: string, version: string, url: string,\n"
    "  interfaces: []string)\n"
    "method GetInterfaceDescription(interface: string) -> (description: string)\n"
    "error InterfaceNotFound (interface: string)\n"
    "error MethodNotFound (method: string)\n"
    "error MethodNotImplemented (method: string)\n"
    "error InvalidParameter (parameter: string)\n"
    "error PermissionDenied ()\n"
    "error ExpectedMore ()\n";

/* ---- texts ---------------------------------------------------------------------------------- */

struct varlink_text {
	unsigned owners;
	struct jsontext json;
};

struct varlink_text *
varlink_text_new(void)
{
	struct varlink_text *t = calloc(1, sizeof(*t));

	if (t != NULL)
		t->owners = 1;
	return t;
}

void
varlink_text_free(struct varlink_text *t)
{
	if (t == NULL || --t->owners > 0)
		return;
	jsontext_clear(&t->json);
	free(t);
}

struct jsontext *
varlink_text_begin(struct varlink_text *t, const char *error)
{
	struct jsontext *j = &t->json;

	jsontext_open(j, NULL, '{');
	if (error != NULL)
		jsontext_string(j, "error", error);
	jsontext_open(j, "parameters", '{');
	return j;
}

void
varlink_text_end(struct varlink_text *t, bool continues)
{
	struct jsontext *j = &t->json;

	jsontext_close(j, '}');
	if (continues)
		jsontext_boolean(j, "continues", true);
	jsontext_close(j, '}');
	jsontext_raw(j, "", 1);
	j->comma = false;
}

/* ---- trees ---------------------------------------------------------------------------------- */

/* Seven digits are enough for a round-trip time, and 0.8 stays 0.8. */
#define PRINT_FLAGS (JSON_COMPACT | JSON_EMBED | JSON_REAL_PRECISION(7))

static int
append(const char *bytes, size_t n, void *ctx)
{
	struct jsontext *j = ctx;

	jsontext_raw(j, bytes, n);
	return j->broken ? -1 : 0;
}

/* A small answer, for which a tree is simplest. Takes `parameters` over; NULL: none. */
static struct varlink_text *
print_tree(const char *error, json_t *parameters, bool continues)
{
	struct varlink_text *t = varlink_text_new();

	if (t != NULL) {
		struct jsontext *j = varlink_text_begin(t, error);

		if (parameters != NULL &&
		    json_dump_callback(parameters, append, j, PRINT_FLAGS) != 0)
			j->broken = true;
		varlink_text_end(t, continues);
	}
	json_decref(parameters);
	return t;
}

/* ---- output --------------------------------------------------------------------------------- */

static void
drop_first(struct varlink_call *c)
{
	struct chunk *first = c->out;

	c->out = first->next;
	c->out_sent = 0;
	if (c->out != NULL)
		c->behind -= c->out->text->json.used;
	varlink_text_free(first->text);
	free(first);
}

void
varlink_output_clear(struct varlink_call *c)
{
	while (c->out != NULL)
		drop_first(c);
}

void
varlink_output_flush(struct varlink_call *c)
{
	while (c->out != NULL && !c->doomed) {
		const struct jsontext *j = &c->out->text->json;
		ssize_t n = send(c->fd, j->bytes + c->out_sent, j->used - c->out_sent,
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				c->doomed = true;
			return;
		}
		c->out_sent += (size_t)n;
		if (c->out_sent == j->used)
			drop_first(c);
	}
}

/* However large a single answer is, it is kept: what grows is what comes after it. */
static void
output_add(struct varlink_call *c, struct varlink_text *t)
{
	struct chunk *chunk;

	if (c->doomed)
		return;
	if (t == NULL || t->json.broken || t->json.used == 0 ||
	    (c->out != NULL && c->behind + t->json.used > VARLINK_BEHIND_MAX) ||
	    (chunk = calloc(1, sizeof(*chunk))) == NULL) {
		c->doomed = true;
		varlink_wake(c);
		return;
	}
	t->owners++;
	chunk->text = t;
	if (c->out == NULL)
		c->out = chunk;
	else {
		c->behind += t->json.used;
		*c->out_end = chunk;
	}
	c->out_end = &chunk->next;
	varlink_wake(c);
}

void
varlink_send(struct varlink_call *c, struct varlink_text *t, bool last)
{
	if (!c->oneway)
		output_add(c, t);
	if (last)
		c->open = c->kept = false;
}

static void
say(struct varlink_call *c, const char *error, json_t *parameters, bool continues)
{
	struct varlink_text *t = print_tree(error, parameters, continues);

	varlink_send(c, t, !continues);
	varlink_text_free(t);
}

void
varlink_reply(struct varlink_call *c, json_t *parameters)
{
	say(c, NULL, parameters, false);
}

void
varlink_reply_more(struct varlink_call *c, json_t *parameters)
{
	say(c, NULL, parameters, true);
}

void
varlink_error(struct varlink_call *c, const char *name, json_t *parameters)
{
	say(c, name, parameters, false);
}

void
varlink_error_parameter(struct varlink_call *c, const char *parameter)
{
	say(c, SERVICE ".InvalidParameter", json_pack("{s:s}", "parameter", parameter), false);
}

void
varlink_error_permission(struct varlink_call *c)
{
	say(c, SERVICE ".PermissionDenied", NULL, false);
}

void
varlink_keep(struct varlink_call *c, void *user)
{
	c->kept = true;
	c->user = user;
}

void
varlink_refuse_message(struct varlink_call *c)
{
	c->oneway = false;
	varlink_error_parameter(c, "message");
}

void
varlink_turn_away(const struct varlink *v, int fd)
{
	struct varlink_text *t = print_tree(v->service->too_many, NULL, false);

	/* If it has gone already, so much the better. */
	if (t != NULL && !t->json.broken)
		(void)send(fd, t->json.bytes, t->json.used, MSG_DONTWAIT | MSG_NOSIGNAL);
	varlink_text_free(t);
}

/* ---- requests ------------------------------------------------------------------------------- */

bool
varlink_is_shallow(const char *text, size_t n)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			if (++depth > VARLINK_NESTING_MAX)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

static void
get_info(struct varlink_call *c, json_t *parameters)
{
	const struct varlink_service *s = c->server->service;

	if (json_object_size(parameters) != 0) {
		varlink_error_parameter(c, json_object_iter_key(json_object_iter(parameters)));
		return;
	}
	varlink_reply(c,
	    json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", s->vendor, "product", s->product,
		"version", s->version, "url", s->url, "interfaces", SERVICE, s->interface));
}

static void
get_description(struct varlink_call *c, json_t *parameters)
{
	const struct varlink_service *s = c->server->service;
	const char *name = json_string_value(json_object_get(parameters, "interface"));
	const char *text = NULL;

	if (name == NULL) {
		varlink_error_parameter(c, "interface");
		return;
	}
	if (strcmp(name, s->interface) == 0)
		text = s->description;
	else if (strcmp(name, SERVICE) == 0)
		text = service_description;
	if (text != NULL)
		varlink_reply(c, json_pack("{s:s}", "description", text));
	else
		varlink_error(
		    c, SERVICE ".InterfaceNotFound", json_pack("{s:s}", "interface", name));
}

/* The first parameter that the method does not have, or NULL. */
static const char *
unknown_parameter(const struct varlink_method *m, json_t *parameters)
{

	for (void *i = json_object_iter(parameters); i != NULL;
	     i = json_object_iter_next(parameters, i)) {
		const char *key = json_object_iter_key(i);
		const char *const *known = m->parameters;

		while (known != NULL && *known != NULL && strcmp(*known, key) != 0)
			known++;
		if (known == NULL || *known == NULL)
			return key;
	}
	return NULL;
}

static void
call_method(struct varlink_call *c, const char *full, const char *name, json_t *parameters)
{
	const struct varlink_service *s = c->server->service;
	const struct varlink_method *m = NULL;
	const char *unknown;

	for (size_t i = 0; i < s->n_methods && m == NULL; i++)
		if (strcmp(s->methods[i].name, name) == 0)
			m = &s->methods[i];
	if (m == NULL) {
		varlink_error(c, SERVICE ".MethodNotFound", json_pack("{s:s}", "method", full));
		return;
	}
	/* A stream that nobody wants to hear is not begun. */
	if (m->more && (!c->more || c->oneway)) {
		varlink_error(c, SERVICE ".ExpectedMore", NULL);
		return;
	}
	unknown = unknown_parameter(m, parameters);
	if (unknown != NULL)
		varlink_error_parameter(c, unknown);
	else
		m->call(c->server->ctx, c, parameters);
}

static void
dispatch(struct varlink_call *c, const char *method, json_t *parameters)
{
	const char *dot = strrchr(method, '.');
	const char *interface = c->server->service->interface;
	size_t n;

	if (dot == NULL) {
		varlink_error_parameter(c, "method");
		return;
	}
	n = (size_t)(dot - method);
	if (strcmp(method, SERVICE ".GetInfo") == 0)
		get_info(c, parameters);
	else if (strcmp(method, SERVICE ".GetInterfaceDescription") == 0)
		get_description(c, parameters);
	else if (n == strlen(interface) && strncmp(method, interface, n) == 0)
		call_method(c, method, dot + 1, parameters);
	else if (n == strlen(SERVICE) && strncmp(method, SERVICE, n) == 0)
		varlink_error(c, SERVICE ".MethodNotFound", json_pack("{s:s}", "method", method));
	else
		varlink_error(
		    c, SERVICE ".InterfaceNotFound", json_pack("{s:s%}", "interface", method, n));
}

/* A member that may be left out, or null. False: of another type. */
static bool
read_flag(const json_t *request, const char *key, bool *out)
{
	const json_t *value = json_object_get(request, key);

	*out = json_is_true(value);
	return value == NULL || json_is_null(value) || json_is_boolean(value);
}

static void
handle_request(struct varlink_call *c, const json_t *request)
{
	const char *method = json_string_value(json_object_get(request, "method"));
	json_t *parameters = json_object_get(request, "parameters");
	json_t *none = NULL;
	bool upgrade, oneway;

	/* Before the first error: who wants no answer gets none. */
	if (!read_flag(request, "oneway", &oneway)) {
		varlink_error_parameter(c, "oneway");
		return;
	}
	c->oneway = oneway;
	if (!read_flag(request, "more", &c->more))
		varlink_error_parameter(c, "more");
	else if (!read_flag(request, "upgrade", &upgrade) || upgrade)
		varlink_error_parameter(c, "upgrade");
	else if (method == NULL)
		varlink_error_parameter(c, "method");
	else if (parameters != NULL && !json_is_object(parameters) && !json_is_null(parameters))
		varlink_error_parameter(c, "parameters");
	else {
		if (!json_is_object(parameters))
			parameters = none = json_object();
		if (parameters != NULL)
			dispatch(c, method, parameters);
		json_decref(none);
	}
}

void
varlink_handle(struct varlink_call *c, const char *text, size_t n)
{
	json_t *request = NULL;

	c->open = true;
	c->kept = c->more = c->oneway = false;
	if (varlink_is_shallow(text, n))
		request = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(request))
		handle_request(c, request);
	else
		varlink_refuse_message(c);
	json_decref(request);
	if (!c->kept)
		c->open = false;
}
