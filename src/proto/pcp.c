/* SPDX-License-Identifier: ISC */
#include "proto/pcp.h"

#include "base/wire.h"

#include <string.h>

#define REPLY 0x80 /* the R bit, RFC 6887 section 7 */

#define HEADER_SIZE 24
#define MAP_SIZE 60      /* header and opcode data */
#define SHORTEST_ERROR 4 /* up to and with the result code */

/*
 * The longest request. A reply, which repeats our options and may have some of
 * the server's own, must not exceed 1100 octets (section 7.3).
 */
#define REQUEST_MAX 1024

#define OPTION_THIRD_PARTY 1
#define OPTION_PREFER_FAILURE 2
#define OPTION_FILTER 3
#define OPTION_DESCRIPTION 128
#define OPTION_PORT_SET 130
#define OPTION_HEADER 4
#define THIRD_PARTY_SIZE 16
#define FILTER_SIZE 20
#define PORT_SET_SIZE 5
#define PORT_SET_ROOM 12 /* with header and padding */

static void
encode_address(struct wbuf *w, const struct netaddr *a)
{
	wbuf_copy(w, a->b, sizeof(a->b));
}

/* RFC 6887 section 7.3. */
static void
encode_option(struct wbuf *w, uint8_t code, size_t length)
{
	wbuf_u8(w, code);
	wbuf_u8(w, 0);
	wbuf_u16(w, (uint16_t)length);
}

static void
encode_filter(struct wbuf *w, uint8_t bits, uint16_t port, const struct netaddr *a)
{
	encode_option(w, OPTION_FILTER, FILTER_SIZE);
	wbuf_u8(w, 0);
	wbuf_u8(w, bits);
	wbuf_u16(w, port);
	encode_address(w, a);
}

/* Everybody: erratum 3891 leaves no FILTER to say so, having none does. */
static bool
filters_nobody(const struct pcp_filter *f)
{
	return f->prefix.bits == 0 || (f->prefix.bits == 96 && netaddr_is4(&f->prefix.addr));
}

/*
 * RFC 6887 section 13.3: filters add to those that the server has. So that a
 * renewal replaces them, and a request can be sent any number of times, prefix
 * length 0 goes first, which removes all.
 */
static bool
encode_filters(struct wbuf *w, const struct pcp_filter *filters, size_t n)
{
	bool everybody = false;

	if (n == 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		if (!filters_nobody(&filters[i]))
			continue;
		if (filters[i].port != 0)
			return false; /* "from this port of anybody" cannot be said */
		everybody = true;
	}
	encode_filter(w, 0, 0, &netaddr_any6);
	for (size_t i = 0; i < n && !everybody; i++)
		encode_filter(w, filters[i].prefix.bits, filters[i].port, &filters[i].prefix.addr);
	return true;
}

/* The longest beginning of `text` with at most `max` octets that cuts no character. */
static size_t
utf8_cut(const char *text, size_t max)
{
	size_t n = strlen(text);

	if (n <= max)
		return n;
	for (n = max; n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80; n--)
		continue;
	return n;
}

/* RFC 7220: no NUL at the end. `max` is a multiple of 4. */
static void
encode_description(struct wbuf *w, const char *text, size_t max)
{
	size_t n, padding;

	if (text == NULL || max <= OPTION_HEADER)
		return;
	n = utf8_cut(text, max - OPTION_HEADER);
	if (n == 0)
		return; /* an empty one would erase what the server has */
	/* miniupnpd refuses requests with an option of odd length: the padding is part of
	 * the text. */
	padding = (4 - n % 4) % 4;
	encode_option(w, OPTION_DESCRIPTION, n + padding);
	wbuf_copy(w, text, n);
	wbuf_copy(w, "   ", padding);
}

/* RFC 7753 section 4.1. The parity of ports means nothing to us: bit P stays clear. */
static void
encode_port_set(struct wbuf *w, uint16_t size, uint16_t first)
{
	if (size < 2)
		return;
	encode_option(w, OPTION_PORT_SET, PORT_SET_SIZE);
	wbuf_u16(w, size);
	wbuf_u16(w, first);
	wbuf_zero(w, PORT_SET_ROOM - OPTION_HEADER - 4);
}

/* RFC 6887 section 11.1 and the options, in ascending order. */
static bool
encode_map(struct wbuf *w, const struct pcp_request *q)
{
	bool delete = q->lifetime == 0;
	size_t room, set = q->set_size > 1 ? PORT_SET_ROOM : 0;

	/* Wildcards would take in other programs' traffic. */
	if (q->protocol == 0 || q->internal_port == 0)
		return false;
	wbuf_copy(w, q->nonce, sizeof(q->nonce));
	wbuf_u8(w, q->protocol);
	wbuf_zero(w, 3);
	wbuf_u16(w, q->internal_port);
	/* Erratum 3621: a delete names the family by its zeros and suggests nothing. */
	wbuf_u16(w, delete ? 0 : q->external_port);
	if (delete)
		encode_address(w, netaddr_is4(&q->external) ? &netaddr_any4 : &netaddr_any6);
	else
		encode_address(w, &q->external);

	/* Our own address in there is MALFORMED_REQUEST (section 13.1). */
	if (q->internal != NULL && !netaddr_is_any(q->internal) &&
	    !netaddr_equal(q->internal, &q->client)) {
		encode_option(w, OPTION_THIRD_PARTY, THIRD_PARTY_SIZE);
		encode_address(w, q->internal);
	}
	if (delete) {
		encode_port_set(w, q->set_size, q->internal_port);
		return true;
	}
	/* Without a port to insist on it is MALFORMED_OPTION (section 13.2). */
	if (q->prefer_failure && set > 0)
		return false;
	if (q->prefer_failure && q->external_port != 0)
		encode_option(w, OPTION_PREFER_FAILURE, 0);
	if (!encode_filters(w, q->filters, q->n_filters))
		return false;
	room = w->bad ? 0 : (size_t)(w->end - w->p);
	encode_description(w, q->description, room > set ? room - set : 0);
	encode_port_set(w, q->set_size, q->internal_port);
	return true;
}

size_t
pcp_encode(const struct pcp_request *q, void *bytes, size_t room)
{
	/* A multiple of 4, so that what is left always is one, too. */
	struct wbuf w = wbuf_over(bytes, room < REQUEST_MAX ? room & ~(size_t)3 : REQUEST_MAX);

	wbuf_u8(&w, PCP_VERSION);
	wbuf_u8(&w, (uint8_t)q->opcode);
	wbuf_u16(&w, 0);
	/* ANNOUNCE asks for nothing that could live (section 14.1.2). */
	wbuf_u32(&w, q->opcode == PCP_MAP ? q->lifetime : 0);
	encode_address(&w, &q->client);
	if (q->opcode == PCP_MAP && !encode_map(&w, q))
		return 0;
	return wbuf_done(&w);
}

static void
decode_map(struct rbuf *r, struct pcp_reply *reply)
{
	rbuf_copy(r, reply->nonce, sizeof(reply->nonce));
	reply->protocol = rbuf_u8(r);
	rbuf_skip(r, 3);
	reply->internal_port = rbuf_u16(r);
	reply->external_port = rbuf_u16(r);
	rbuf_copy(r, reply->external.b, sizeof(reply->external.b));
	reply->has_map = !r->bad;
}

static bool
decode_third_party(struct rbuf *r, size_t length, struct pcp_reply *reply)
{
	if (length != THIRD_PARTY_SIZE || reply->has_internal)
		return false;
	rbuf_copy(r, reply->internal.b, sizeof(reply->internal.b));
	reply->has_internal = true;
	return true;
}

/* Prefix length 0 has removed the filters of before: it lets nobody in. */
static bool
decode_filter(struct rbuf *r, size_t length, struct pcp_reply *reply)
{
	struct pcp_filter f = { 0 };

	if (length != FILTER_SIZE)
		return false;
	rbuf_skip(r, 1);
	f.prefix.bits = rbuf_u8(r);
	f.port = rbuf_u16(r);
	rbuf_copy(r, f.prefix.addr.b, sizeof(f.prefix.addr.b));
	if (f.prefix.bits == 0 || r->bad)
		return true;
	if (reply->n_filters == PCP_FILTERS_MAX)
		return false;
	reply->filters[reply->n_filters++] = f;
	return true;
}

static bool
decode_port_set(struct rbuf *r, size_t length, struct pcp_reply *reply)
{
	if (length != PORT_SET_SIZE || reply->has_set)
		return false;
	reply->has_set = true;
	reply->set_size = rbuf_u16(r);
	reply->set_first = rbuf_u16(r);
	rbuf_skip(r, PORT_SET_ROOM - OPTION_HEADER - 4);
	return true;
}

/*
 * Section 7.3. A few options say what the reply is about: THIRD_PARTY, FILTER, PORT_SET; a
 * malformed one might turn another mapping into ours.
 */
static bool
decode_option(struct rbuf *r, struct pcp_reply *reply)
{
	uint8_t code = rbuf_u8(r);
	size_t length;

	rbuf_skip(r, 1);
	length = rbuf_u16(r);
	if (reply->opcode == PCP_MAP)
		switch (code) {
		case OPTION_THIRD_PARTY:
			return decode_third_party(r, length, reply);
		case OPTION_FILTER:
			return decode_filter(r, length, reply);
		case OPTION_PORT_SET:
			return decode_port_set(r, length, reply);
		default:
			reply->described |= code == OPTION_DESCRIPTION;
			break;
		}
	rbuf_skip(r, (length + 3) & ~(size_t)3);
	return true;
}

static bool
decode_options(struct rbuf *r, struct pcp_reply *reply)
{
	while (rbuf_left(r) > 0)
		if (!decode_option(r, reply))
			return false;
	return !r->bad;
}

/* What follows the header of a version 2 reply that has one. */
static bool
decode_body(struct rbuf *r, uint8_t opcode, struct pcp_reply *reply)
{
	if (opcode == PCP_ANNOUNCE) {
		reply->opcode = PCP_ANNOUNCE;
		return decode_options(r, reply);
	}
	if (opcode != PCP_MAP)
		return false;
	reply->opcode = PCP_MAP;
	if (rbuf_left(r) < MAP_SIZE - HEADER_SIZE)
		return reply->result != PCP_SUCCESS; /* F-18 */
	decode_map(r, reply);
	return decode_options(r, reply);
}

enum pcp_verdict
pcp_decode(const void *bytes, size_t n, struct pcp_reply *out)
{
	struct rbuf r = rbuf_over(bytes, n);
	struct pcp_reply reply = { 0 };
	uint8_t opcode;

	reply.version = rbuf_u8(&r);
	opcode = rbuf_u8(&r);
	if (r.bad || reply.version == 0 || (opcode & REPLY) == 0)
		return PCP_DROP;
	opcode &= (uint8_t)~REPLY;
	rbuf_skip(&r, 1);
	reply.result = rbuf_u8(&r);
	reply.lifetime = rbuf_u32(&r);
	reply.epoch = rbuf_u32(&r);
	if (n >= SHORTEST_ERROR &&
	    (reply.version != PCP_VERSION || reply.result == PCP_UNSUPP_VERSION)) {
		*out = reply;
		return PCP_OTHER_VERSION;
	}
	if (reply.version != PCP_VERSION)
		return PCP_DROP;
	if (n < HEADER_SIZE)
		return PCP_FRAGMENT;
	if (n > PCP_MAX_PACKET || n % 4 != 0)
		return PCP_DROP;
	rbuf_skip(&r, 12); /* reserved */
	if (!decode_body(&r, opcode, &reply))
		return PCP_DROP;
	*out = reply;
	return PCP_REPLY;
}

const char *
pcp_result_name(uint8_t result)
{
	/* Sections 7.4, RFC 7652 section 5.2 from 14 on. */
	static const char *const names[] = { "SUCCESS", "UNSUPP_VERSION", "NOT_AUTHORIZED",
		"MALFORMED_REQUEST", "UNSUPP_OPCODE", "UNSUPP_OPTION", "MALFORMED_OPTION",
		"NETWORK_FAILURE", "NO_RESOURCES", "UNSUPP_PROTOCOL", "USER_EX_QUOTA",
		"CANNOT_PROVIDE_EXTERNAL", "ADDRESS_MISMATCH", "EXCESSIVE_REMOTE_PEERS",
		"INITIATION", "AUTHENTICATION_REQUIRED", "AUTHENTICATION_FAILED",
		"AUTHENTICATION_SUCCEEDED", "AUTHORIZATION_FAILED", "SESSION_TERMINATED",
		"UNKNOWN_SESSION_ID", "DOWNGRADE_ATTACK_DETECTED", "AUTHENTICATION_REQUEST",
		"AUTHENTICATION_REPLY" };

	return result < sizeof(names) / sizeof(names[0]) ? names[result] : NULL;
}
