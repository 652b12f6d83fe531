/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "announce.h"
#include "jobs.h"
#include "log.h"
#include "net.h"
#include "table.h"
#include "words.h"

#include <string.h>

enum shape { SHAPE_RFC, SHAPE_NATPMP, SHAPE_PCP, SHAPE_BURST };

struct announcement {
	enum shape shape;
	int64_t copies, gap; /* ms; doubles from copy to copy unless flat */
	bool flat;
	struct addr from, to; /* port 0: as usual */
	int64_t epoch;        /* or OFF: the one of the moment */
	int64_t result;
	struct addr external; /* port 1: given */
};

static const struct announcement usual = { .copies = 10, .gap = 250, .epoch = OFF };

/* The address announcements come from: the first of a family that is listened on, for IPv6 the
 * link-local one if there is any, as routers do. */
static const struct addr *
source(const struct gw *gw, bool v4)
{
	const struct addr *found = NULL;

	for (size_t i = 0; i < gw->net.n; i++) {
		const struct sock *s = &gw->net.socks[i];

		if (!s->listener || addr_is_v4(&s->local) != v4)
			continue;
		if (found == NULL ||
		    (!v4 && !addr_is_link_local6(found) && addr_is_link_local6(&s->local)))
			found = &s->local;
	}
	return found;
}

static bool
serves(const struct gw *gw, bool natpmp)
{
	return gw->set.mode == MODE_BOTH || gw->set.mode == (natpmp ? MODE_NATPMP : MODE_PCP);
}

static void
make(struct gw *gw, const struct announcement *a, bool natpmp, struct packet *p, size_t *epoch_at)
{
	static const uint8_t none[4];
	uint32_t epoch = a->epoch != OFF ? (uint32_t)a->epoch : epoch_now(gw);
	const uint8_t *ext = a->external.port != 0 ? a->external.ip : gw->set.external.ip;
	bool down = gw->set.wan != WAN_UP && a->external.port == 0;

	if (natpmp)
		natpmp_put_address(p, down ? NATPMP_NETWORK_FAILURE : (uint16_t)a->result, epoch,
		    down ? none : ext + 12);
	else {
		pcp_put_announce(p, epoch);
		p->bytes[3] = (uint8_t)a->result;
	}
	*epoch_at = a->epoch != OFF ? 0 : natpmp ? 4 : 8;
}

static void
send_one(
    struct gw *gw, const struct announcement *a, bool natpmp, bool v4, int64_t when, uint16_t port)
{
	const struct addr *from = a->from.port != 0 ? &a->from : source(gw, v4);
	struct packet p;
	struct addr to;
	size_t epoch_at;

	if (from == NULL || addr_is_v4(from) != v4)
		return;
	if (a->to.port != 0)
		to = a->to;
	else {
		net_group(gw, from, &to);
		if (port != 0 && gw->set.announce_to.port == 0)
			to.port = port;
	}
	if (to.port == 0 || addr_is_v4(&to) != v4)
		return;
	make(gw, a, natpmp, &p, &epoch_at);
	jobs_send(gw, when, from, &to, &p, epoch_at, true);
}

static void
start_series(struct gw *gw, const struct announcement *a)
{
	bool natpmp = a->shape == SHAPE_NATPMP || (a->shape == SHAPE_RFC && serves(gw, true));
	bool pcp = a->shape == SHAPE_PCP || (a->shape == SHAPE_RFC && serves(gw, false));
	int64_t when = gw->now, gap = a->gap;

	for (int64_t i = 0; i < a->copies; i++) {
		if (natpmp)
			send_one(gw, a, true, true, when, 0);
		if (pcp) {
			send_one(gw, a, false, true, when, 0);
			send_one(gw, a, false, false, when, 0);
		}
		when += gap * 1000;
		if (!a->flat)
			gap *= 2;
	}
}

/* What miniupnpd sends on a change of address: NAT-PMP, which still has the old epoch, to both
 * ports, then PCP (F-23, Q-004). `before`: the epoch of the first part. */
static void
start_burst(struct gw *gw, const struct announcement *a, uint32_t before)
{
	struct announcement old = *a;

	if (old.epoch == OFF)
		old.epoch = before;
	if (gw->set.wan == WAN_UP) { /* else there is no address to announce */
		send_one(gw, &old, true, true, gw->now, CLIENT_PORT);
		send_one(gw, &old, true, true, gw->now, SERVER_PORT);
	}
	send_one(gw, a, false, true, gw->now, 0);
	send_one(gw, a, false, false, gw->now, 0);
}

static bool
read_endpoint(struct words *w, uint16_t port, struct addr *out)
{
	return words_next(w) && addr_parse(w->word, port, out) && out->port != 0;
}

/* "last": the socket the last request came from (P-92). */
static bool
read_target(const struct gw *gw, struct words *w, struct addr *out)
{
	if (strncmp(w->p, "last", 4) != 0)
		return read_endpoint(w, CLIENT_PORT, out);
	*out = gw->last_peer;
	return words_next(w) && words_are(w, "last") && out->port != 0;
}

/* One word of an announcement and its value. False: not understood. */
static bool
read_announcement(const struct gw *gw, struct words *w, struct announcement *a)
{
	if (words_are(w, "rfc"))
		a->shape = SHAPE_RFC;
	else if (words_are(w, "nat-pmp"))
		a->shape = SHAPE_NATPMP;
	else if (words_are(w, "pcp"))
		a->shape = SHAPE_PCP;
	else if (words_are(w, "burst"))
		a->shape = SHAPE_BURST;
	else if (words_are(w, "flat"))
		a->flat = true;
	else if (words_are(w, "copies"))
		return words_number(w, 1, 10000, &a->copies);
	else if (words_are(w, "gap"))
		return words_number(w, 0, 600000, &a->gap);
	else if (words_are(w, "epoch"))
		return words_number(w, 0, UINT32_MAX, &a->epoch);
	else if (words_are(w, "result"))
		return words_number(w, 0, 255, &a->result);
	else if (words_are(w, "from"))
		return read_endpoint(w, SERVER_PORT, &a->from);
	else if (words_are(w, "to"))
		return read_target(gw, w, &a->to);
	else if (words_are(w, "external"))
		return words_next(w) && addr_parse(w->word, 1, &a->external) &&
		    addr_is_v4(&a->external);
	else
		return false;
	return true;
}

static bool
too_long(const struct announcement *a, struct text *error)
{
	/* 16 doublings of the shortest gap are longer than any test. */
	if (a->flat || a->copies <= 16)
		return false;
	text_add(error, "announce: more than 16 copies only with the word flat");
	return true;
}

bool
announce_command(struct gw *gw, const char *args, struct text *error)
{
	struct announcement a = usual;
	struct words w = { .p = args };

	while (words_next(&w)) {
		if (!read_announcement(gw, &w, &a)) {
			text_add(error, "announce: cannot read \"%s\"", w.word);
			return false;
		}
	}
	if (too_long(&a, error))
		return false;
	if (a.shape == SHAPE_BURST)
		start_burst(gw, &a, epoch_now(gw));
	else
		start_series(gw, &a);
	log_event(gw, "announce", ",\"copies\":%lld", (long long)a.copies);
	return true;
}

bool
reboot_command(struct gw *gw, const char *args, struct text *error)
{
	struct announcement a = usual;
	struct words w = { .p = args };
	bool tell = false, keep = false;
	int64_t value = 0;
	uint32_t before = epoch_now(gw);

	while (words_next(&w)) {
		bool ok = true;

		if (words_are(&w, "silent"))
			tell = false;
		else if (words_are(&w, "announce"))
			tell = true;
		else if (words_are(&w, "keep"))
			keep = true;
		else if (words_are(&w, "epoch"))
			ok = words_number(&w, 0, UINT32_MAX, &value);
		else {
			if (words_are(&w, "pcp-only")) { /* F-24 */
				a.shape = SHAPE_PCP;
				a.copies = 1;
			} else
				ok = read_announcement(gw, &w, &a);
			tell = true;
		}
		if (!ok) {
			text_add(error, "reboot: cannot read \"%s\"", w.word);
			return false;
		}
	}
	if (too_long(&a, error))
		return false;
	jobs_cancel_announcements(gw);
	log_event(gw, "reboot", ",\"before\":%u,\"epoch\":%lld,\"keep\":%s", before,
	    (long long)value, keep ? "true" : "false");
	if (!keep)
		table_clear(gw, "reboot");
	epoch_set(gw, (uint32_t)value);
	if (tell && a.shape == SHAPE_BURST)
		start_burst(gw, &a, before);
	else if (tell)
		start_series(gw, &a);
	return true;
}

struct update {
	int64_t protocol, port, external, lifetime, result, copies;
	struct addr address; /* port 1: given */
};

static bool
read_update(struct words *w, struct update *u)
{
	if (words_are(w, "protocol")) {
		if (!words_next(w))
			return false;
		if (words_are(w, "udp") || words_are(w, "tcp")) {
			u->protocol = words_are(w, "udp") ? PROTO_UDP : PROTO_TCP;
			return true;
		}
		return number_read(w->word, 0, 255, &u->protocol);
	}
	if (words_are(w, "port"))
		return words_number(w, 0, 65535, &u->port);
	if (words_are(w, "external"))
		return words_number(w, 0, 65535, &u->external);
	if (words_are(w, "lifetime"))
		return words_number(w, 0, UINT32_MAX, &u->lifetime);
	if (words_are(w, "result"))
		return words_number(w, 0, 65535, &u->result);
	if (words_are(w, "copies"))
		return words_number(w, 1, 16, &u->copies);
	if (words_are(w, "address"))
		return words_next(w) && addr_parse(w->word, 1, &u->address);
	return false;
}

static void
make_update(struct gw *gw, const struct mapping *m, const struct update *u, struct packet *p)
{
	uint32_t lifetime = u->lifetime != OFF ? (uint32_t)u->lifetime : mapping_left(gw, m);
	uint8_t request[PCP_MAP_SIZE] = { 2, PCP_MAP };

	if (m->origin == ORIGIN_NATPMP) {
		natpmp_put_map(p, m->proto == PROTO_UDP ? NATPMP_MAP_UDP : NATPMP_MAP_TCP,
		    (uint16_t)u->result, epoch_now(gw), m->internal, m->external, lifetime);
		return;
	}
	memcpy(request + 24, m->nonce, 12);
	request[36] = m->proto;
	wire_put16(request + 40, m->internal);
	wire_put16(request + 42, m->external);
	memcpy(request + 44, m->ext, 16);
	pcp_put_copy(p, request, sizeof(request), (uint8_t)u->result, lifetime, epoch_now(gw));
	if (memcmp(m->client, m->peer.ip, 16) != 0) { /* RFC 6887 section 14.2: as in the request */
		p->bytes[p->len] = OPTION_THIRD_PARTY;
		p->bytes[p->len + 1] = 0;
		wire_put16(p->bytes + p->len + 2, 16);
		memcpy(p->bytes + p->len + 4, m->client, 16);
		p->len += 20;
	}
}

/* An unsolicited reply to the last address and port a request for the mapping came from. */
bool
update_command(struct gw *gw, const char *args, struct text *error)
{
	struct update u = { OFF, OFF, OFF, OFF, 0, 3, { .port = 0 } };
	struct words w = { .p = args };
	int64_t when = gw->now, gap = 250000;
	bool found = false;

	while (words_next(&w)) {
		if (!read_update(&w, &u)) {
			text_add(error, "update: cannot read \"%s\"", w.word);
			return false;
		}
	}
	for (size_t i = gw->table.n; i-- > 0;) {
		struct mapping *m = &gw->table.rows[i];
		struct packet p;

		if ((u.protocol != OFF && m->proto != u.protocol) ||
		    (u.port != OFF && m->internal != u.port) || m->peer.port == 0)
			continue;
		found = true;
		if (u.external != OFF)
			m->external = (uint16_t)u.external;
		if (u.address.port != 0)
			memcpy(m->ext, u.address.ip, 16);
		if (u.lifetime > 0 && u.result == 0) {
			m->granted = (uint32_t)u.lifetime;
			m->expires = gw->now + u.lifetime * 1000000;
		}
		make_update(gw, m, &u, &p);
		for (int64_t n = 0; n < u.copies; n++, when += gap, gap *= 2)
			jobs_send(gw, when, &m->local, &m->peer, &p,
			    m->origin == ORIGIN_NATPMP ? 4 : 8, false);
		when = gw->now;
		gap = 250000;
		log_table(gw, "update", m, NULL);
		if (u.lifetime == 0)
			table_delete(gw, m, "update");
	}
	if (!found)
		text_add(error, "update: no such mapping");
	return found;
}
