/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "log.h"
#include "serve.h"
#include "table.h"

#include <string.h>

/* The options of one MAP request. */
struct options {
	bool third_party, prefer_failure;
	const uint8_t *internal; /* of THIRD_PARTY: 16 octets of the request */
	int64_t filters;         /* that are to be added */
	bool remove_filters;
	bool has_description;
	const uint8_t *description;
	size_t description_len;
	uint16_t set_size; /* of PORT_SET; 0: none, or none that counts */
};

/* RFC 6887 section 7.4: short lifetime errors 30 s, long ones 30 minutes. */
static uint32_t
error_lifetime(const struct gw *gw, uint8_t result)
{
	if (gw->set.error_lifetime != OFF)
		return (uint32_t)gw->set.error_lifetime;
	return result == PCP_NETWORK_FAILURE || result == PCP_NO_RESOURCES ||
		result == PCP_USER_EX_QUOTA || result == PCP_CANNOT_PROVIDE_EXTERNAL
	    ? 30
	    : 1800;
}

static void
put_error_for(
    struct gw *gw, const struct request *r, uint8_t result, uint32_t lifetime, struct packet *reply)
{
	if (r->forced_lifetime != OFF)
		lifetime = (uint32_t)r->forced_lifetime;
	pcp_put_copy(reply, r->bytes, r->len, result, lifetime, epoch_now(gw));
}

static void
put_error(struct gw *gw, const struct request *r, uint8_t result, struct packet *reply)
{
	put_error_for(gw, r, result, error_lifetime(gw, result), reply);
}

/* A server of NAT-PMP alone. */
static bool
refuse(struct gw *gw, const struct request *r, struct packet *reply)
{
	uint8_t op = (uint8_t)(0x80 | r->m.op);

	switch (gw->set.pcp_refusal) {
	case REFUSE_OP0:
		natpmp_put_short(reply, 0, NATPMP_UNSUPP_VERSION, epoch_now(gw));
		return true;
	case REFUSE_ERRATUM:
		natpmp_put_short(reply, 0x80, NATPMP_UNSUPP_VERSION, epoch_now(gw));
		return true;
	case REFUSE_8:
	case REFUSE_SHORT:
		natpmp_put_short(reply, op, NATPMP_UNSUPP_VERSION, epoch_now(gw));
		if (gw->set.pcp_refusal == REFUSE_SHORT)
			reply->len = 4;
		return true;
	case REFUSE_PCP:
	case REFUSE_V1:
	case REFUSE_V9:
		put_error(gw, r, PCP_UNSUPP_VERSION, reply);
		reply->bytes[0] = gw->set.pcp_refusal == REFUSE_PCP ? 2
		    : gw->set.pcp_refusal == REFUSE_V1              ? 1
								    : 9;
		return true;
	case REFUSE_F19:
		put_error(gw, r, PCP_MALFORMED_REQUEST, reply);
		reply->bytes[0] = 0;
		reply->bytes[1] = 0x80;
		return true;
	default:
		log_drop(gw, "request", "no PCP here");
		return false;
	}
}

static uint8_t
read_filter(const struct option *o, struct options *out)
{
	if (o->len != 20)
		return PCP_MALFORMED_OPTION;
	if (o->data[1] == 0) {
		out->remove_filters = true;
		out->filters = 0;
	} else
		out->filters++;
	return PCP_SUCCESS;
}

/* RFC 7753 section 4.1: size, first internal port, parity. */
static uint8_t
read_port_set(
    const struct gw *gw, const struct request *r, const struct option *o, struct options *out)
{
	switch (gw->set.port_set) {
	case SET_IGNORE:
		return PCP_SUCCESS;
	case SET_REFUSE:
		return PCP_UNSUPP_OPTION;
	case SET_MALFORMED:
		return PCP_MALFORMED_OPTION;
	default:
		break;
	}
	if (o->len != 5 || out->set_size != 0 || out->prefer_failure || (o->data[4] & 0xfe) != 0)
		return PCP_MALFORMED_OPTION;
	out->set_size = wire_get16(o->data);
	if (out->set_size == 0 || wire_get16(o->data + 2) != r->m.internal ||
	    r->m.internal + out->set_size > 65536)
		return PCP_MALFORMED_OPTION;
	if (gw->set.port_set == SET_FEWER && r->m.lifetime > 0 && out->set_size > 1)
		out->set_size--;
	return PCP_SUCCESS;
}

static uint8_t
read_option(
    const struct gw *gw, const struct request *r, const struct option *o, struct options *out)
{
	if (!gw->set.any_options)
		return PCP_UNSUPP_OPTION;
	if (gw->set.strict_options && o->len % 4 != 0)
		return PCP_MALFORMED_OPTION;
	if (gw->set.ignore_options && (o->code == OPTION_THIRD_PARTY || o->code == OPTION_FILTER))
		return PCP_SUCCESS;
	switch (o->code) {
	case OPTION_PORT_SET:
		return read_port_set(gw, r, o, out);
	case OPTION_THIRD_PARTY:
		if (!gw->set.third_party)
			return PCP_UNSUPP_OPTION;
		if (o->len != 16 || out->third_party)
			return PCP_MALFORMED_OPTION;
		out->third_party = true;
		out->internal = o->data;
		/* RFC 6887 section 13.1 */
		return memcmp(o->data, r->peer.ip, 16) == 0 ? PCP_MALFORMED_REQUEST : PCP_SUCCESS;
	case OPTION_PREFER_FAILURE:
		if (!gw->set.prefer_failure)
			return PCP_UNSUPP_OPTION;
		if (o->len != 0 || r->m.external == 0)
			return PCP_MALFORMED_OPTION;
		out->prefer_failure = true;
		return PCP_SUCCESS;
	case OPTION_FILTER:
		if (!gw->set.filter)
			return PCP_UNSUPP_OPTION;
		return r->m.lifetime == 0 ? PCP_MALFORMED_OPTION : read_filter(o, out);
	case OPTION_DESCRIPTION:
		if (!gw->set.description)
			return PCP_SUCCESS;
		if (out->has_description)
			return PCP_MALFORMED_OPTION;
		out->has_description = true;
		out->description = o->data;
		out->description_len = o->len;
		return PCP_SUCCESS;
	default:
		return o->code < 128 ? PCP_UNSUPP_OPTION : PCP_SUCCESS;
	}
}

static uint8_t
read_options(const struct gw *gw, const struct request *r, size_t at, struct options *out)
{
	while (at < r->len) {
		struct option o;
		uint8_t result;

		if (!option_read(r->bytes, r->len, at, &o))
			return PCP_MALFORMED_OPTION;
		result = read_option(gw, r, &o, out);
		if (result != PCP_SUCCESS)
			return result;
		at += o.whole;
	}
	return PCP_SUCCESS;
}

static bool
is_processed(const struct gw *gw, uint8_t code)
{
	switch (code) {
	case OPTION_THIRD_PARTY:
	case OPTION_FILTER:
		return !gw->set.ignore_options;
	case OPTION_PREFER_FAILURE:
		return true; /* else there was an error */
	case OPTION_DESCRIPTION:
		return gw->set.description != 0;
	default:
		return false;
	}
}

/* Success: the fixed part and of the options those that were processed. */
static void
put_success(struct gw *gw, const struct request *r, uint32_t lifetime, uint16_t port,
    const uint8_t ext[16], struct packet *reply)
{
	struct option o;

	if (r->forced_lifetime != OFF)
		lifetime = (uint32_t)r->forced_lifetime;
	pcp_put_copy(reply, r->bytes, PCP_MAP_SIZE, PCP_SUCCESS, lifetime, epoch_now(gw));
	memset(reply->bytes + 37, 0, 3);
	wire_put16(reply->bytes + 42, port);
	memcpy(reply->bytes + 44, ext, 16);
	for (size_t at = PCP_MAP_SIZE; at < r->len; at += o.whole) {
		if (!option_read(r->bytes, r->len, at, &o))
			return;
		if (!is_processed(gw, o.code))
			continue;
		memcpy(reply->bytes + reply->len, r->bytes + at, o.whole);
		reply->len += o.whole;
	}
}

/* What was granted, which need not be what was asked for. */
static void
put_port_set(const struct mapping *row, struct packet *reply)
{
	uint8_t *o = reply->bytes + reply->len;

	memset(o, 0, 12);
	o[0] = OPTION_PORT_SET;
	wire_put16(o + 2, 5);
	wire_put16(o + 4, row->count);
	wire_put16(o + 6, row->internal);
	reply->len += 12;
}

/* Of a mapping that is there: another nonce, and for how long it will keep the client out. */
static bool
is_foreign(const struct gw *gw, const struct mapping *row, const struct ask *ask)
{
	return gw->set.nonce_strict && row->has_nonce && memcmp(row->nonce, ask->nonce, 12) != 0;
}

static void
serve_delete(struct gw *gw, const struct request *r, struct ask *ask, struct packet *reply)
{
	struct mapping *row;

	ask->suggested = 0;
	row = table_find(gw, ask);
	if (row == NULL) {
		if (gw->set.delete_missing_ok || ask->ext6)
			put_success(gw, r, 0, r->m.external, r->m.ext, reply);
		else
			put_error(gw, r, PCP_NO_RESOURCES, reply);
		return;
	}
	if (is_foreign(gw, row, ask)) {
		put_error_for(gw, r, PCP_NOT_AUTHORIZED, mapping_left(gw, row), reply);
		return;
	}
	if (gw->set.origin_check && row->origin != ORIGIN_PCP) {
		put_error(gw, r, PCP_NOT_AUTHORIZED, reply);
		return;
	}
	while (row != NULL) {
		/* P-108: a delete without PORT_SET is one of the first port */
		if (row->count > 1 && ask->count == 0) {
			row->internal++;
			row->external++;
			row->count--;
			log_table(gw, "update", row, "first port deleted");
		} else {
			table_delete(gw, row, "asked");
		}
		row = table_find(gw, ask);
	}
	put_success(gw, r, 0, r->m.external, r->m.ext, reply);
}

static void
keep_options(const struct options *o, struct mapping *row)
{
	row->filters = o->remove_filters ? o->filters : row->filters + o->filters;
	if (o->has_description) {
		row->description_len = o->description_len < sizeof(row->description)
		    ? o->description_len
		    : sizeof(row->description);
		memcpy(row->description, o->description, row->description_len);
	}
}

/* F-13 and F-14. */
static void
put_wan_error(struct gw *gw, const struct request *r, const struct ask *ask, struct packet *reply)
{
	if (gw->set.wan == WAN_DOWN) {
		put_error(gw, r, PCP_NETWORK_FAILURE, reply);
		return;
	}
	put_error(gw, r, PCP_NO_RESOURCES, reply);
	external_address(gw, ask, reply->bytes + 44);
}

static void
serve_create(struct gw *gw, const struct request *r, const struct ask *ask,
    const struct options *options, struct packet *reply)
{
	struct mapping *row = table_find(gw, ask);
	bool renewal = row != NULL;
	uint16_t port;
	uint32_t lifetime;
	uint8_t ext[16];

	if (row != NULL && is_foreign(gw, row, ask)) {
		put_error_for(gw, r, PCP_NOT_AUTHORIZED, mapping_left(gw, row), reply);
		return;
	}
	if (options->filters + (row != NULL && !options->remove_filters ? row->filters : 0) >
	    gw->set.max_filters) {
		put_error(gw, r, PCP_EXCESSIVE_REMOTE_PEERS, reply);
		return;
	}
	if (gw->set.wan != WAN_UP && !ask->ext6) {
		put_wan_error(gw, r, ask, reply);
		return;
	}
	if (ask->ext6 && renewal && gw->set.renew6_fails) {
		put_error(gw, r, PCP_NO_RESOURCES, reply);
		return;
	}
	switch (table_grant(gw, ask, &row, &port, &lifetime)) {
	case NO_ROOM:
		put_error(gw, r, PCP_NO_RESOURCES, reply);
		return;
	case NOT_AS_SAID:
		put_error(gw, r, PCP_CANNOT_PROVIDE_EXTERNAL, reply);
		return;
	case GRANTED:
		break;
	}
	if (row != NULL)
		keep_options(options, row);
	external_address(gw, ask, ext);
	if (ask->ext6 && renewal && gw->set.v6_echo)
		port = ask->suggested; /* */
	put_success(gw, r, lifetime, port, ext, reply);
	if (row != NULL && row->count > 1)
		put_port_set(row, reply);
}

static void
serve_map(struct gw *gw, const struct request *r, struct packet *reply)
{
	const struct message *m = &r->m;
	struct options options = { 0 };
	struct ask ask = { .origin = ORIGIN_PCP,
		.proto = m->proto,
		.internal = m->internal,
		.suggested = m->external,
		.lifetime = m->lifetime,
		.nonce = m->nonce,
		.peer = r->peer,
		.local = r->local };
	uint8_t result;

	if (!m->has_map) { /* F-18 */
		put_error(gw, r, PCP_MALFORMED_REQUEST, reply);
		return;
	}
	result = read_options(gw, r, PCP_MAP_SIZE, &options);
	if (result == PCP_SUCCESS && m->proto == 0 && m->internal != 0)
		result = PCP_MALFORMED_REQUEST;
	if (result == PCP_SUCCESS && m->internal == 0 && m->lifetime != 0)
		result = PCP_UNSUPP_PROTOCOL; /* wildcards are not for us */
	if (result == PCP_SUCCESS && m->proto != PROTO_TCP && m->proto != PROTO_UDP &&
	    m->proto != 0)
		result = PCP_UNSUPP_PROTOCOL;
	if (result != PCP_SUCCESS) {
		put_error(gw, r, result, reply);
		return;
	}
	ask.count = options.set_size;
	memcpy(ask.client, options.third_party ? options.internal : r->peer.ip, 16);
	memcpy(ask.ext, m->ext, 16);
	/* An IPv4 host has an IPv4 outside; for an IPv6 one the kind of zero says it. */
	ask.ext6 = !ip_is_v4(ask.client) && !ip_is_v4(m->ext);
	ask.prefer_failure = options.prefer_failure;
	if (m->lifetime == 0)
		serve_delete(gw, r, &ask, reply);
	else
		serve_create(gw, r, &ask, &options, reply);
}

/* What is wrong with the header, whatever the opcode. */
static bool
is_bad_head(struct gw *gw, const struct request *r, struct packet *reply)
{
	if (r->len > PCP_MAX || r->len % 4 != 0) {
		put_error(gw, r, PCP_MALFORMED_REQUEST, reply);
		if (gw->set.odd_size == ODD_F19) {
			reply->bytes[0] = 0;
			reply->bytes[1] = 0x80;
		}
		return true;
	}
	if (gw->set.address_check && (r->m.op != PCP_ANNOUNCE || gw->set.announce_check) &&
	    memcmp(r->m.client, r->peer.ip, 16) != 0) {
		put_error(gw, r, PCP_ADDRESS_MISMATCH, reply);
		return true;
	}
	return false;
}

bool
pcp_serve(struct gw *gw, const struct request *r, struct packet *reply)
{
	if (gw->set.mode == MODE_NATPMP)
		return refuse(gw, r, reply);
	if (r->m.version != 2) { /* F-20; before any look at sizes, RFC 6887 section 8.2 */
		put_error(gw, r, PCP_UNSUPP_VERSION, reply);
		return true;
	}
	if (r->len < PCP_HEADER || (gw->set.odd_size == ODD_MUTE && r->len % 4 != 0)) {
		log_drop(gw, "request", r->len < PCP_HEADER ? "no whole header" : "odd size");
		return false;
	}
	if (is_bad_head(gw, r, reply))
		;
	else if (r->forced_result > 0)
		put_error(gw, r, (uint8_t)r->forced_result, reply);
	else if (r->m.op == PCP_MAP)
		serve_map(gw, r, reply);
	else if (r->m.op == PCP_ANNOUNCE)
		pcp_put_announce(reply, epoch_now(gw));
	else
		put_error(gw, r, PCP_UNSUPP_OPCODE, reply);
	if (gw->set.reserved_fill) { /* P-36, P-76: nobody may look at these */
		reply->bytes[2] = 0xff;
		memset(reply->bytes + 12, 0xff, 12);
		if (r->m.op == PCP_MAP && reply->len >= PCP_MAP_SIZE)
			memset(reply->bytes + 37, 0xff, 3);
	}
	return true;
}
