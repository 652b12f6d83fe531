/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "faults.h"
#include "jobs.h"
#include "log.h"
#include "net.h"
#include "template.h"

#include <string.h>

bool
faults_lose_request(struct gw *gw, const struct request *r)
{
	const char *why = NULL;

	(void)r;
	if (gw->set.silence)
		why = "silence";
	else if (gw->set.drop_first > 0) {
		gw->set.drop_first--;
		why = "drop-first";
	} else if (random_chance(gw, gw->set.drop_requests))
		why = "drop-requests";
	if (why == NULL)
		return false;
	gw->stats.dropped_requests++;
	log_drop(gw, "request", why);
	return true;
}

static void
flip_bit(struct gw *gw, struct packet *p, size_t from, size_t to)
{
	size_t bit;

	if (to > p->len)
		to = p->len;
	if (from >= to)
		return;
	bit = (size_t)random_below(gw, (to - from) * 8);
	p->bytes[from + bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static void
fill_random(struct gw *gw, struct packet *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p->bytes[i] = (uint8_t)random_next(gw);
	p->len = len;
}

/* Random octets which are no message of a version in use, nor a version error. */
static void
zoo_noise(struct gw *gw, struct packet *p)
{
	fill_random(gw, p, (size_t)random_below(gw, (uint64_t)gw->set.zoo_max + 1));
	p->bytes[0] = (uint8_t)(3 + random_below(gw, 250));
	if (p->bytes[3] == 1)
		p->bytes[3] = 77;
}

/* Which opcode it never was. */
static void
zoo_other_opcode(struct gw *gw, struct packet *p)
{
	if (p->len < 4)
		zoo_noise(gw, p);
	else {
		p->bytes[1] = (uint8_t)(0x80 | (4 + random_below(gw, 120)));
		/* Version errors are recognised whatever the opcode. */
		if (p->bytes[3] == 1)
			p->bytes[3] = 0;
	}
}

static void
zoo_invalid_natpmp(struct gw *gw, const struct request *r, struct packet *p)
{
	bool error = p->len < 4 || wire_get16(p->bytes + 2) != 0;

	switch (random_below(gw, 5)) {
	case 0:
		zoo_noise(gw, p);
		return;
	case 1: /* cut; of an error the first 4 octets may be enough for a client */
		p->len = (size_t)random_below(gw, error ? 4 : p->len);
		return;
	case 2: /* the request itself */
		p->len = r->len < PACKET_MAX ? r->len : PACKET_MAX;
		memcpy(p->bytes, r->bytes, p->len);
		return;
	case 3: /* another internal port; errors are matched without it */
		if (!error && p->len >= 16) {
			flip_bit(gw, p, 8, 10);
			return;
		}
		break;
	default:
		break;
	}
	zoo_other_opcode(gw, p);
}

static void
zoo_invalid_pcp(struct gw *gw, const struct request *r, struct packet *p)
{
	static const uint8_t f19[] = { 0, 0x80, 0, 3 };
	bool map = p->len >= PCP_MAP_SIZE;

	switch (random_below(gw, 9)) {
	case 0:
		zoo_noise(gw, p);
		return;
	case 1: /* cut within the header */
		p->len = (size_t)random_below(gw, p->len < 24 ? p->len + 1 : 24);
		if (p->len >= 4 && p->bytes[3] == 1)
			p->bytes[3] = 0;
		return;
	case 2:
		p->len = r->len < PACKET_MAX ? r->len : PACKET_MAX;
		memcpy(p->bytes, r->bytes, p->len);
		return;
	case 3: /* F-19: a version error only when its result is 1 */
		memset(p->bytes, 0, 64);
		memcpy(p->bytes, f19, sizeof(f19));
		p->len = 64;
		return;
	case 4: /* size no multiple of 4 */
		if (p->len >= 24 && p->len + 3 < PACKET_MAX && p->bytes[3] != 1) {
			p->len += 1 + (size_t)random_below(gw, 3);
			return;
		}
		break;
	case 5: /* longer than 1100 */
		if (p->len >= 24 && p->bytes[3] != 1) {
			memset(p->bytes + p->len, 0, 1104 - p->len);
			p->len = 1104;
			return;
		}
		break;
	case 6: /* another nonce */
		if (map && p->bytes[3] != 1) {
			flip_bit(gw, p, 24, 36);
			return;
		}
		break;
	case 7: /* another protocol or internal port */
		if (map && p->bytes[3] != 1) {
			if (random_below(gw, 2) == 0)
				flip_bit(gw, p, 36, 37);
			else
				flip_bit(gw, p, 40, 42);
			return;
		}
		break;
	default:
		break;
	}
	zoo_other_opcode(gw, p);
}

static void
zoo_any(struct gw *gw, struct packet *p)
{
	switch (random_below(gw, 4)) {
	case 0:
		fill_random(gw, p, (size_t)random_below(gw, (uint64_t)gw->set.zoo_max + 1));
		return;
	case 1: /* random after a plausible head */
		fill_random(gw, p, (size_t)random_below(gw, (uint64_t)gw->set.zoo_max + 1));
		p->bytes[0] = random_below(gw, 2) == 0 ? 0 : 2;
		p->bytes[1] = (uint8_t)(0x80 | random_below(gw, 4));
		p->bytes[2] = 0;
		p->bytes[3] = (uint8_t)random_below(gw, 16);
		return;
	case 2:
		p->len = (size_t)random_below(gw, p->len + 1);
		return;
	default:
		for (uint64_t n = 1 + random_below(gw, 8); n > 0; n--)
			flip_bit(gw, p, 0, p->len);
		return;
	}
}

void
zoo_make(struct gw *gw, const struct request *r, const struct packet *reply, struct packet *out)
{
	*out = *reply;
	if (gw->set.zoo_kind == ZOO_ANY)
		zoo_any(gw, out);
	else if (r->m.version == 0)
		zoo_invalid_natpmp(gw, r, out);
	else
		zoo_invalid_pcp(gw, r, out);
}

/* The reply as it is to be sent, one datagram. */
struct sending {
	struct addr from;
	int64_t delay; /* ms */
	int64_t dup;
	struct packet packet;
};

static void
send_later(struct gw *gw, const struct request *r, const struct addr *from, int64_t delay,
    const struct packet *p)
{
	if (delay > 0)
		jobs_send(gw, gw->now + delay * 1000, from, &r->peer, p, 0, false);
	else
		net_send(gw, from, &r->peer, p->bytes, p->len, NULL);
}

static void
apply_actions(struct gw *gw, const struct request *r, const struct packet *reply,
    const struct action *actions, struct sending *s)
{
	struct text error = { 0 };

	for (const struct action *a = actions; a != NULL; a = a->next) {
		struct packet extra = { .len = 0 };

		switch (a->kind) {
		case ACT_FROM:
			s->from = a->address;
			break;
		case ACT_DELAY:
			s->delay += a->a;
			break;
		case ACT_DUP:
			s->dup += a->a;
			break;
		case ACT_TRUNCATE:
			if ((int64_t)s->packet.len > a->a)
				s->packet.len = (size_t)a->a;
			break;
		case ACT_REPLY:
			if (template_expand(gw, a->text, r, reply, &extra, &error))
				s->packet = extra;
			break;
		case ACT_PATCH:
			if (template_expand(gw, a->text, r, reply, &extra, &error) &&
			    (size_t)a->a + extra.len <= s->packet.len)
				memcpy(s->packet.bytes + a->a, extra.bytes, extra.len);
			break;
		case ACT_SEND:
			if (template_expand(gw, a->text, r, reply, &extra, &error))
				send_later(gw, r, a->address.port != 0 ? &a->address : &r->local,
				    a->a, &extra);
			break;
		default:
			break;
		}
	}
	text_free(&error);
}

static bool
is_muted(const struct action *actions)
{
	for (; actions != NULL; actions = actions->next) {
		if (actions->kind == ACT_MUTE)
			return true;
	}
	return false;
}

void
faults_send(struct gw *gw, const struct request *r, const struct packet *reply,
    const struct action *actions)
{
	struct sending s = { .from = r->local, .delay = gw->set.delay, .dup = gw->set.dup };
	bool zoo;

	if (gw->set.reply_from.port != 0)
		s.from = gw->set.reply_from;
	if (gw->set.jitter > 0)
		s.delay += (int64_t)random_below(gw, (uint64_t)gw->set.jitter + 1);
	s.packet = *reply;
	apply_actions(gw, r, reply, actions, &s);
	if (is_muted(actions)) {
		log_drop(gw, "reply", "rule");
		return;
	}
	zoo = gw->set.zoo != ZOO_OFF && random_chance(gw, gw->set.zoo_prob);
	for (int64_t i = 0; zoo && i < gw->set.zoo_count; i++) {
		struct packet animal;

		zoo_make(gw, r, &s.packet, &animal);
		send_later(gw, r, &s.from, s.delay, &animal);
	}
	if (zoo && gw->set.zoo == ZOO_REPLACE)
		return;
	if (random_chance(gw, gw->set.corrupt))
		flip_bit(gw, &s.packet, 0, s.packet.len);
	if (gw->set.truncate != OFF && (int64_t)s.packet.len > gw->set.truncate)
		s.packet.len = (size_t)gw->set.truncate;
	if (random_chance(gw, gw->set.drop_replies)) {
		gw->stats.dropped_replies++;
		log_drop(gw, "reply", "drop-replies");
		return;
	}
	for (int64_t i = 0; i <= s.dup; i++)
		send_later(gw, r, &s.from, s.delay, &s.packet);
}
