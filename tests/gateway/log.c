/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "log.h"
#include "table.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t
clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
start(struct text *t, const char *event)
{
	int64_t now = clock_now();
	int64_t wall = clock_ms(CLOCK_REALTIME);

	text_add(t, "{\"event\":\"%s\",\"t\":%lld.%06lld,\"boot_ms\":%lld,\"wall\":%lld.%03lld",
	    event, (long long)(now / 1000000), (long long)(now % 1000000),
	    (long long)clock_ms(CLOCK_BOOTTIME), (long long)(wall / 1000),
	    (long long)(wall % 1000));
}

static void
finish(struct gw *gw, struct text *t)
{
	text_add(t, "}\n");
	if (gw->log != NULL) {
		fwrite(t->p, 1, t->len, gw->log);
		fflush(gw->log);
	}
	text_free(t);
}

static void
add_addr(struct text *t, const char *key, const struct addr *a)
{
	char buf[ADDR_TEXT];

	text_add(t, ",\"%s\":\"%s\"", key, addr_format(a, true, buf));
}

static void
add_ip(struct text *t, const char *key, const uint8_t ip[16])
{
	struct addr a = { 0 };
	char buf[ADDR_TEXT];

	memcpy(a.ip, ip, 16);
	text_add(t, ",\"%s\":\"%s\"", key, addr_format(&a, false, buf));
}

static void
add_message(struct text *t, const struct message *m)
{
	if (!m->has_head)
		return;
	text_add(t, ",\"version\":%u,\"op\":%u,\"reply\":%s", m->version, m->op,
	    m->reply ? "true" : "false");
	if (m->has_result)
		text_add(t, ",\"result\":%u", m->result);
	if (m->has_epoch)
		text_add(t, ",\"epoch\":%u", m->epoch);
	if (m->has_map)
		text_add(t, ",\"protocol\":%u,\"internal\":%u,\"%s\":%u", m->proto, m->internal,
		    m->reply ? "external" : "suggested", m->external);
	if (m->has_lifetime)
		text_add(t, ",\"lifetime\":%u", m->lifetime);
	if (m->has_client)
		add_ip(t, "client", m->client);
	if (m->has_ext)
		add_ip(t, m->reply ? "external_address" : "suggested_address", m->ext);
	if (m->has_nonce) {
		text_add(t, ",\"nonce\":\"");
		text_add_hex(t, m->nonce, sizeof(m->nonce));
		text_add(t, "\"");
	}
}

void
log_datagram(struct gw *gw, const char *dir, const struct addr *local, const struct addr *peer,
    const uint8_t *bytes, size_t len, const char *note)
{
	struct text t = { 0 };
	struct message m;

	if (gw->log == NULL)
		return;
	start(&t, "datagram");
	text_add(&t, ",\"dir\":\"%s\"", dir);
	add_addr(&t, "local", local);
	add_addr(&t, "peer", peer);
	text_add(&t, ",\"len\":%zu,\"hex\":\"", len);
	text_add_hex(&t, bytes, len);
	text_add(&t, "\"");
	message_decode(bytes, len, &m);
	add_message(&t, &m);
	if (note != NULL)
		text_add(&t, ",\"note\":\"%s\"", note);
	finish(gw, &t);
}

void
log_drop(struct gw *gw, const char *what, const char *why)
{
	log_event(gw, "drop", ",\"what\":\"%s\",\"why\":\"%s\"", what, why);
}

void
log_table(struct gw *gw, const char *change, const struct mapping *m, const char *why)
{
	struct text t = { 0 };

	if (gw->log == NULL)
		return;
	start(&t, "table");
	text_add(&t, ",\"change\":\"%s\"", change);
	if (why != NULL)
		text_add(&t, ",\"why\":\"%s\"", why);
	text_add(&t, ",\"mapping\":");
	mapping_print(gw, m, &t);
	text_add(&t, ",\"live\":%zu", gw->table.n);
	finish(gw, &t);
}

void
log_event(struct gw *gw, const char *event, const char *format, ...)
{
	struct text t = { 0 };
	char *more = NULL;
	va_list ap;

	if (gw->log == NULL)
		return;
	va_start(ap, format);
	if (vasprintf(&more, format, ap) < 0)
		abort();
	va_end(ap);
	start(&t, event);
	text_add(&t, "%s", more);
	free(more);
	finish(gw, &t);
}

void
log_ready(struct gw *gw, FILE *to)
{
	struct text t = { 0 };
	const char *comma = "";

	text_add(&t, "{\"ready\":true,\"pid\":%ld,\"listen\":[", (long)getpid());
	for (size_t i = 0; i < gw->net.n; i++) {
		char buf[ADDR_TEXT];

		text_add(&t, "%s\"%s\"", comma, addr_format(&gw->net.socks[i].local, true, buf));
		comma = ",";
	}
	text_add(&t, "]}\n");
	fwrite(t.p, 1, t.len, to);
	fflush(to);
	text_free(&t);
}
