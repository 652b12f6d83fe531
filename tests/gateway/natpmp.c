/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "log.h"
#include "serve.h"
#include "table.h"

#include <string.h>

/* A server without NAT-PMP. */
static bool
refuse(struct gw *gw, const struct request *r, struct packet *reply)
{
	/* F-10 and F-11: PCP's format cut to the size of a NAT-PMP message. The octets are those
	 * that were seen, but for the epoch at 8. */
	static const uint8_t fritz[12] = { 2, 0x81, 0, 2, 0xa2, 0xa9, 0, 0, 0, 0x4f, 0x8f, 0xd2 };

	switch (gw->set.natpmp_refusal) {
	case NREFUSE_PCP: /* RFC 6887 section 9 */
		pcp_put_copy(reply, r->bytes, r->len, PCP_UNSUPP_VERSION,
		    gw->set.error_lifetime == OFF ? 1800 : (uint32_t)gw->set.error_lifetime,
		    epoch_now(gw));
		return true;
	case NREFUSE_FRITZ:
		memcpy(reply->bytes, fritz, sizeof(fritz));
		reply->bytes[1] = 0x80 | r->m.op;
		wire_put32(reply->bytes + 8, epoch_now(gw));
		reply->len = r->m.op == NATPMP_ADDRESS ? 2 : sizeof(fritz);
		return true;
	default:
		log_drop(gw, "request", "no NAT-PMP here");
		return false;
	}
}

static void
put_error(struct gw *gw, const struct request *r, uint16_t result, struct packet *reply)
{
	static const uint8_t none[4];
	const struct message *m = &r->m;
	uint32_t lifetime = r->forced_lifetime != OFF ? (uint32_t)r->forced_lifetime : m->lifetime;

	if (gw->set.natpmp_error == NERROR_ECHO && r->len >= 4) {
		/* RFC 6886 section 3.5 for unsupported opcodes: the request with two changes. */
		reply->len = r->len > PACKET_MAX ? PACKET_MAX : r->len;
		memcpy(reply->bytes, r->bytes, reply->len);
		reply->bytes[1] |= 0x80;
		wire_put16(reply->bytes + 2, result);
	} else if (m->op == NATPMP_ADDRESS && gw->set.natpmp_error != NERROR_SHORT)
		natpmp_put_address(reply, result, epoch_now(gw), none);
	else if (message_is_map(m) && gw->set.natpmp_error == NERROR_FULL)
		natpmp_put_map(
		    reply, m->op, result, epoch_now(gw), m->internal, m->external, lifetime);
	else if (message_is_map(m) && gw->set.natpmp_error == NERROR_PORT0)
		natpmp_put_map(reply, m->op, result, epoch_now(gw), 0, 0, 0);
	else
		natpmp_put_short(reply, 0x80 | m->op, result, epoch_now(gw));
}

static uint16_t
remove_mapping(struct gw *gw, const struct request *r, struct ask *ask)
{
	struct mapping *row;

	if (ask->internal == 0 && !gw->set.proton)
		return table_delete_client(gw, ask->client, ask->proto, ORIGIN_NATPMP)
		    ? NATPMP_SUCCESS
		    : NATPMP_NOT_AUTHORIZED;
	(void)r;
	ask->suggested = 0;
	while ((row = table_find(gw, ask)) != NULL) {
		/* miniupnpd says success and leaves it. */
		if (gw->set.origin_check && row->origin != ORIGIN_NATPMP)
			break;
		table_delete(gw, row, "asked");
	}
	return NATPMP_SUCCESS;
}

static bool
serve_map(struct gw *gw, const struct request *r, struct packet *reply)
{
	const struct message *m = &r->m;
	struct ask ask = { .origin = ORIGIN_NATPMP,
		.proto = m->proto,
		.internal = m->internal,
		.suggested = m->external,
		.lifetime = m->lifetime,
		.peer = r->peer,
		.local = r->local };
	struct mapping *row;
	uint16_t port = 0, mask = gw->set.garble_ports ? 0xff : 0xffff;
	uint32_t lifetime = 0;
	uint16_t result;

	memcpy(ask.client, r->peer.ip, 16);
	if (m->lifetime == 0) {
		result = remove_mapping(gw, r, &ask);
		if (result != NATPMP_SUCCESS)
			put_error(gw, r, result, reply);
		else
			natpmp_put_map(
			    reply, m->op, result, epoch_now(gw), m->internal & mask, 0, 0);
		return true;
	}
	if (m->internal == 0) {
		if (gw->set.proton && m->external == 0) {
			log_drop(gw, "request", "proton: neither internal nor external port");
			return false; /* */
		}
		ask.assigned = gw->set.proton != 0;
		ask.suggested = 0;
		if (!ask.assigned) { /* F-06 */
			put_error(gw, r, NATPMP_NOT_AUTHORIZED, reply);
			return true;
		}
	}
	if (gw->set.wan != WAN_UP)
		put_error(gw, r, NATPMP_NETWORK_FAILURE, reply);
	else if (table_grant(gw, &ask, &row, &port, &lifetime) != GRANTED)
		put_error(gw, r, NATPMP_OUT_OF_RESOURCES, reply);
	else
		natpmp_put_map(reply, m->op, NATPMP_SUCCESS, epoch_now(gw), m->internal & mask,
		    port & mask,
		    r->forced_lifetime != OFF ? (uint32_t)r->forced_lifetime : lifetime);
	return true;
}

bool
natpmp_serve(struct gw *gw, const struct request *r, struct packet *reply)
{
	if (gw->set.mode == MODE_PCP)
		return refuse(gw, r, reply);
	if (message_is_map(&r->m) && r->len < NATPMP_MAP_SIZE) {
		log_drop(gw, "request", "too short for its opcode");
		return false;
	}
	if (r->forced_result > 0) {
		put_error(gw, r, (uint16_t)r->forced_result, reply);
		return true;
	}
	if (message_is_map(&r->m))
		return serve_map(gw, r, reply);
	if (r->m.op != NATPMP_ADDRESS)
		put_error(gw, r, NATPMP_UNSUPP_OPCODE, reply); /* F-08 */
	else if (gw->set.wan != WAN_UP)
		put_error(gw, r, NATPMP_NETWORK_FAILURE, reply); /* F-02 */
	else
		natpmp_put_address(reply, NATPMP_SUCCESS, epoch_now(gw), gw->set.external.ip + 12);
	return true;
}
