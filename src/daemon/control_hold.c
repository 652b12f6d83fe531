/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/control_internal.h"

#include "os/log.h"
#include "os/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No forward of a config begins like this, now or after a reload. */
#define ADHOC_PREFIX "_adhoc-"

static void
fail_forward(struct varlink_call *call, const char *error, const char *name)
{
	varlink_error(call, error, json_pack("{s:s}", "forward", name));
}

/* A final error without the caller's doing. The session ends with it. */
static void
refuse_session(struct control *c, struct session *s, const char *error, const char *name)
{
	fail_forward(s->call, error, name);
	session_free(c, s);
}

void
hold_tell(struct control *c, struct session *s)
{
	struct varlink_text *t = varlink_text_new();

	s->dirty = false;
	if (t != NULL) {
		struct jsontext *j = varlink_text_begin(t, NULL);

		jsontext_boolean(j, "active",
		    status_forward(j, "mappings", c->engine, loop_now(c->loop), s->name));
		varlink_text_end(t, true);
	}
	varlink_send(s->call, t, false);
	varlink_text_free(t);
}

void
hold_end(struct control *c, struct session *s)
{
	mstime now = loop_now(c->loop);

	log_info("%s: no longer held by uid %lu", s->name, (unsigned long)s->uid);
	if (s->is_adhoc)
		engine_unwant(c->engine, now, s->name);
	else
		(void)engine_hold(c->engine, now, s->name, false);
}

/* ---- ad-hoc forwards --------------------------------------------------------------------------
 */

/* The forward of the config, or the ad-hoc one, that wants a port of `a`; NULL: none. */
static const char *
find_clash(const struct control *c, const struct conf *conf, const struct adhoc *a,
    const struct session *own)
{
	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled &&
		    conf_forwards_clash(&conf->forwards[i], &a->forward))
			return conf->forwards[i].name;
	for (const struct session *s = c->sessions; s != NULL; s = s->next)
		if (s != own && s->is_adhoc && conf_forwards_clash(&s->adhoc.forward, &a->forward))
			return s->name;
	return NULL;
}

/* Takes `a` over. */
static void
hold_adhoc(struct control *c, struct varlink_call *call, struct adhoc *a)
{
	struct session *s = session_new(c, call);
	char name[sizeof(ADHOC_PREFIX) + 20];
	struct forward_spec spec;

	snprintf(name, sizeof(name), ADHOC_PREFIX "%" PRIu64, ++c->n_adhoc);
	if (s == NULL) {
		adhoc_clear(a);
		varlink_send(call, NULL, true);
		return;
	}
	s->holds = s->is_adhoc = true;
	s->adhoc = *a;
	s->name = strdup(name);
	s->adhoc.forward.name = strdup(name);
	if (s->name != NULL && s->adhoc.forward.name != NULL) {
		conf_forward_spec(&s->adhoc.forward, &spec);
		if (engine_want(c->engine, loop_now(c->loop), &spec) == 0 &&
		    engine_hold(c->engine, loop_now(c->loop), s->name, true)) {
			log_info("%s: %s %u, held by uid %lu", s->name, spec.udp ? "udp" : "tcp",
			    spec.internal_port, (unsigned long)varlink_peer_uid(call));
			c->host->follow(c->ctx);
			varlink_keep(call, s);
			hold_tell(c, s);
			return;
		}
		engine_unwant(c->engine, loop_now(c->loop), s->name);
	}
	session_free(c, s);
	varlink_send(call, NULL, true);
}

/* ---- forwards of the config -------------------------------------------------------------------
 */

static void
hold_forward(struct control *c, struct varlink_call *call, const char *name)
{
	const struct conf_forward *f = conf_forward_find(c->host->conf(c->ctx), name);
	struct session *s;

	if (f == NULL) {
		fail_forward(call, CONTROL_NAME ".NoSuchForward", name);
		return;
	}
	if (!f->on_demand) {
		fail_forward(call, CONTROL_NAME ".NotOnDemand", name);
		return;
	}
	s = session_new(c, call);
	if (s == NULL || (s->name = strdup(name)) == NULL) {
		if (s != NULL)
			session_free(c, s);
		varlink_send(call, NULL, true);
		return;
	}
	s->holds = true;
	log_info("%s: held by uid %lu", name, (unsigned long)varlink_peer_uid(call));
	(void)engine_hold(c->engine, loop_now(c->loop), name, true);
	c->host->follow(c->ctx);
	varlink_keep(call, s);
	hold_tell(c, s);
}

void
control_hold(void *ctx, struct varlink_call *call, json_t *parameters)
{
	struct control *c = ctx;
	json_t *forward = json_object_get(parameters, "forward");
	json_t *ad_hoc = json_object_get(parameters, "ad_hoc");
	bool by_name = forward != NULL && !json_is_null(forward);
	bool by_value = ad_hoc != NULL && !json_is_null(ad_hoc);
	const char *wrong = NULL, *clash;
	struct adhoc a;

	if (!control_may_change(c, call))
		return;
	if (by_name == by_value || (by_name && !json_is_string(forward))) {
		varlink_error_parameter(call, "forward");
		return;
	}
	if (by_name) {
		hold_forward(c, call, json_string_value(forward));
		return;
	}
	wrong = adhoc_parse(ad_hoc, c->host->conf(c->ctx), &a);
	if (wrong != NULL) {
		varlink_error_parameter(call, wrong);
		return;
	}
	clash = find_clash(c, c->host->conf(c->ctx), &a, NULL);
	if (clash != NULL) {
		fail_forward(call, CONTROL_NAME ".Conflict", clash);
		adhoc_clear(&a);
		return;
	}
	hold_adhoc(c, call, &a);
}

/* ---- reload -----------------------------------------------------------------------------------
 */

/* The config goes first: whoever holds what it has no place for any more is told. */
void
hold_reloading(struct control *c, struct session *s, const struct conf *conf)
{
	const char *clash;

	s->dirty = true;
	/* One that is mapped always from now on may go on being held. */
	if (!s->is_adhoc) {
		if (conf_forward_find(conf, s->name) == NULL)
			refuse_session(c, s, CONTROL_NAME ".NoSuchForward", s->name);
		return;
	}
	clash = adhoc_rebase(&s->adhoc, conf) ? find_clash(c, conf, &s->adhoc, s) : s->name;
	if (clash == NULL)
		return;
	engine_unwant(c->engine, loop_now(c->loop), s->name);
	refuse_session(c, s, CONTROL_NAME ".Conflict", clash);
}
