/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "template.h"

#include <ctype.h>
#include <string.h>

enum name {
	EPOCH,
	NONCE,
	IPORT,
	SPORT,
	EPORT,
	EXT4,
	EXT,
	LIFE,
	GRANT,
	PROTO,
	OP,
	VER,
	CLIENT,
	REQUEST,
	REPLY,
	ZERO,
	FILL,
	RAND,
	NO_NAME
};

static const char *const names[] = { "EPOCH", "NONCE", "IPORT", "SPORT", "EPORT", "EXT4", "EXT",
	"LIFE", "GRANT", "PROTO", "OP", "VER", "CLIENT", "REQUEST", "REPLY", "ZERO", "FILL",
	"RAND" };

struct word {
	enum name name;
	int64_t offset;   /* NAME+n, NAME-n */
	int64_t from, to; /* NAME[from:to], or NAME[count] in `from` */
	bool has_range;
};

static bool
read_bracket(const char *p, struct word *w)
{
	char inner[32];
	size_t n = strlen(p);
	char *colon;

	if (n < 3 || n >= sizeof(inner) || p[n - 1] != ']')
		return false;
	memcpy(inner, p + 1, n - 2);
	inner[n - 2] = '\0';
	colon = strchr(inner, ':');
	if (colon != NULL)
		*colon++ = '\0';
	w->from = 0;
	w->to = PACKET_MAX;
	w->has_range = true;
	if (*inner != '\0' && !number_read(inner, 0, PACKET_MAX, &w->from))
		return false;
	return colon == NULL || *colon == '\0' || number_read(colon, w->from, PACKET_MAX, &w->to);
}

static bool
read_word(const char *p, struct word *w)
{
	size_t n = 0;

	memset(w, 0, sizeof(*w));
	w->to = PACKET_MAX;
	while (isupper((unsigned char)p[n]) || isdigit((unsigned char)p[n]))
		n++;
	for (w->name = EPOCH; w->name < NO_NAME; w->name++) {
		if (strlen(names[w->name]) == n && memcmp(p, names[w->name], n) == 0)
			break;
	}
	p += n;
	if (w->name == NO_NAME)
		return false;
	if (*p == '+')
		return number_read(p + 1, 0, UINT32_MAX, &w->offset);
	if (*p == '-') {
		bool ok = number_read(p + 1, 0, UINT32_MAX, &w->offset);

		w->offset = -w->offset;
		return ok;
	}
	if (*p == '[')
		return read_bracket(p, w);
	return *p == '\0' && w->name != ZERO && w->name != FILL && w->name != RAND;
}

static void
append(struct packet *out, const void *bytes, size_t n)
{
	if (n > PACKET_MAX - out->len)
		n = PACKET_MAX - out->len;
	memcpy(out->bytes + out->len, bytes, n);
	out->len += n;
}

static void
append_number(struct packet *out, int64_t v, size_t octets)
{
	uint8_t b[4];

	wire_put32(b, (uint32_t)v);
	append(out, b + 4 - octets, octets);
}

static void
append_part(struct packet *out, const struct word *w, const uint8_t *bytes, size_t len)
{
	size_t from = (size_t)w->from, to = (size_t)w->to;

	if (to > len)
		to = len;
	if (from < to)
		append(out, bytes + from, to - from);
}

static void
append_repeated(struct gw *gw, struct packet *out, const struct word *w)
{
	for (int64_t i = 0; i < w->from; i++) {
		uint8_t octet = w->name == ZERO ? 0
		    : w->name == FILL           ? 0xff
						: (uint8_t)random_next(gw);

		append(out, &octet, 1);
	}
}

static void
expand_word(struct gw *gw, const struct word *w, const struct request *r,
    const struct packet *reply, struct packet *out)
{
	const struct message *m = &r->m;
	struct message a = { 0 };

	if (reply != NULL)
		message_decode(reply->bytes, reply->len, &a);
	switch (w->name) {
	case EPOCH:
		append_number(out, epoch_now(gw) + w->offset, 4);
		break;
	case NONCE:
		append(out, m->nonce, 12);
		break;
	case IPORT:
		append_number(out, m->internal + w->offset, 2);
		break;
	case SPORT:
		append_number(out, m->external + w->offset, 2);
		break;
	case EPORT:
		append_number(out, (a.has_map ? a.external : m->external) + w->offset, 2);
		break;
	case EXT4:
		append(out, gw->set.external.ip + 12, 4);
		break;
	case EXT:
		append(out, gw->set.external.ip, 16);
		break;
	case LIFE:
		append_number(out, m->lifetime + w->offset, 4);
		break;
	case GRANT:
		append_number(out, (a.has_lifetime ? a.lifetime : m->lifetime) + w->offset, 4);
		break;
	case PROTO:
		append(out, &m->proto, 1);
		break;
	case OP:
		append_number(out, 0x80 | m->op, 1);
		break;
	case VER:
		append(out, &m->version, 1);
		break;
	case CLIENT:
		append(out, r->peer.ip, 16);
		break;
	case REQUEST:
		append_part(out, w, r->bytes, r->len);
		break;
	case REPLY:
		if (reply != NULL)
			append_part(out, w, reply->bytes, reply->len);
		break;
	case ZERO:
	case FILL:
	case RAND:
		append_repeated(gw, out, w);
		break;
	case NO_NAME:
		break;
	}
}

/* The next word of *p into `out`; false at the end. */
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
	return true;
}

bool
template_expand(struct gw *gw, const char *text, const struct request *r,
    const struct packet *reply, struct packet *out, struct text *error)
{
	uint8_t octets[512];
	char word[1024];
	struct word w;

	while (next_word(&text, word, sizeof(word))) {
		int n = hex_read(word, octets, sizeof(octets));

		if (n >= 0)
			append(out, octets, (size_t)n);
		else if (read_word(word, &w))
			expand_word(gw, &w, r, reply, out);
		else {
			text_add(
			    error, "template: \"%s\" is neither hex octets nor a known name", word);
			return false;
		}
	}
	return true;
}

bool
template_check(const char *text, struct text *error)
{
	uint8_t octets[512];
	char word[1024];
	struct word w;

	while (next_word(&text, word, sizeof(word))) {
		if (hex_read(word, octets, sizeof(octets)) < 0 && !read_word(word, &w)) {
			text_add(
			    error, "template: \"%s\" is neither hex octets nor a known name", word);
			return false;
		}
	}
	return true;
}

bool
template_needs_reply(const char *text)
{
	char word[1024];
	struct word w;

	while (next_word(&text, word, sizeof(word))) {
		if (read_word(word, &w) && (w.name == REPLY || w.name == EPORT || w.name == GRANT))
			return true;
	}
	return false;
}
