/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"
#include "os/loop.h"
#include "os/udp.h"
#include "proto/natpmp.h"
#include "proto/pcp.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* RFC 6886 section 3.1; for somebody who waits at a terminal, for PCP as well. */
#define FIRST_WAIT ((mstime)250)
/* So long is a mapper asked that is not the last: three packets. */
#define PATIENCE (7 * FIRST_WAIT)
/* A gateway refuses single datagrams and means nothing by it. */
#define REFUSALS_MAX 3u
#define UNREACHABLE_MAX 2u
/* It says yes, but to other ports than were asked for. */
#define GARBLED_MAX 3u

struct question {
	struct direct *direct;
	const struct ask *ask;
	struct answer *answer;
	struct udp *udp;
	struct loop_timer *timer;
	uint8_t nonce[PCP_NONCE_SIZE];
	enum mapper current;
	bool asked_pcp, asked_natpmp; /* a late answer is an answer */
	bool done;
	mstime until, next, wait;
	int64_t sent_at; /* us */
	unsigned sends, refusals, unreachables, garbled;
};

static int64_t
clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool
is_create(const struct question *q)
{
	return q->ask->kind != ASK_DELETE;
}

static uint32_t
lifetime_of(const struct question *q)
{
	return q->ask->kind == ASK_DELETE ? 0 : q->ask->lifetime;
}

static void
finish(struct question *q, enum trouble trouble, uint16_t result)
{
	if (q->done)
		return;
	q->done = true;
	q->answer->mapper = q->current;
	q->answer->problem =
	    (struct problem){ .trouble = trouble, .mapper = q->current, .result = result };
	loop_stop(q->direct->loop);
}

/* What silence means depends on what was heard instead. */
static void
finish_silent(struct question *q)
{
	finish(q,
	    q->garbled > 0            ? TROUBLE_GARBLED
		: q->unreachables > 0 ? TROUBLE_HOST
		: q->refusals > 0     ? TROUBLE_UNREACHABLE
				      : TROUBLE_SILENT,
	    0);
}

/* ---- sending ----------------------------------------------------------------------------------
 */

static size_t
encode(const struct question *q, uint8_t *bytes, size_t room)
{
	const struct ask *ask = q->ask;
	struct pcp_request request = { .opcode = PCP_MAP,
		.lifetime = lifetime_of(q),
		.client = udp_local(q->udp),
		.protocol = ask->protocol,
		.internal_port = ask->port,
		.external_port = is_create(q) ? ask->port : 0,
		.external = q->direct->family == FAMILY_IPV4 ? netaddr_any4 : netaddr_any6 };

	if (q->current == MAPPER_PCP) {
		memcpy(request.nonce, q->nonce, sizeof(request.nonce));
		return pcp_encode(&request, bytes, room);
	}
	if (ask->kind == ASK_ADDRESS)
		return natpmp_encode_address(bytes, room);
	return natpmp_encode_map(
	    ask->protocol, ask->port, is_create(q) ? ask->port : 0, lifetime_of(q), bytes, room);
}

static void
transmit(struct question *q)
{
	uint8_t bytes[PCP_MAX_PACKET];
	size_t n = encode(q, bytes, sizeof(bytes));
	mstime now = loop_now(q->direct->loop);
	int error;

	q->sends++;
	q->sent_at = clock_us();
	error = udp_send(q->udp, bytes, n);
	if (error == -EPERM || error == -EACCES) {
		finish(q, TROUBLE_FIREWALL, 0);
		return;
	}
	if (error != 0 && error != -ECONNREFUSED && error != -EAGAIN && error != -ENOBUFS &&
	    ++q->unreachables >= UNREACHABLE_MAX) {
		finish(q, TROUBLE_HOST, 0);
		return;
	}
	q->next = now + q->wait;
	q->wait *= 2;
	loop_timer_set(q->timer, q->next < q->until ? q->next : q->until);
}

static void
timer_due(void *ctx)
{
	struct question *q = ctx;

	if (q->done)
		return;
	if (loop_now(q->direct->loop) >= q->until)
		finish_silent(q);
	else
		transmit(q);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static void
answered(struct question *q, enum mapper mapper, bool has_epoch, uint32_t epoch)
{
	struct answer *a = q->answer;

	/* To which packet it is the answer, nobody knows when there were two. */
	a->rtt_us = q->sends == 1 && mapper == q->current ? clock_us() - q->sent_at : -1;
	a->has_epoch = has_epoch;
	a->epoch = epoch;
	q->current = mapper;
}

/* A mapping was granted, or deleted. */
static void
granted(struct question *q, uint16_t port, uint32_t lifetime)
{
	struct answer *a = q->answer;

	a->external_port = port;
	a->lifetime = lifetime;
	if (!is_create(q))
		finish(q, TROUBLE_NONE, 0);
	else if (lifetime == 0)
		finish(q, TROUBLE_ZERO_LIFETIME, 0);
	else if (port == 0)
		finish(q, TROUBLE_ZERO_PORT, 0);
	else
		finish(q, TROUBLE_NONE, 0);
}

static void
got_pcp(struct question *q, const struct pcp_reply *r)
{
	bool ours = r->has_map && memcmp(r->nonce, q->nonce, sizeof(q->nonce)) == 0 &&
	    r->protocol == q->ask->protocol && r->internal_port == q->ask->port;

	if (!q->asked_pcp || r->opcode != PCP_MAP)
		return;
	/* Errors may come without the mapping they are about (F-18). A delete is not answered by
	 * a lifetime: that is the late answer to an earlier question. */
	if (r->result == PCP_SUCCESS ? !ours || (!is_create(q) && r->lifetime > 0)
				     : r->has_map && !ours)
		return;
	answered(q, MAPPER_PCP, true, r->epoch);
	if (r->result == PCP_UNSUPP_OPCODE) {
		finish(q, TROUBLE_UNSUPPORTED, r->result);
	} else if (r->result == PCP_NO_RESOURCES && !is_create(q)) {
		finish(q, TROUBLE_NONE, 0); /* there is nothing to delete */
	} else if (r->result != PCP_SUCCESS) {
		finish(q, TROUBLE_REFUSED, r->result);
	} else {
		q->answer->has_external = is_create(q) && !netaddr_is_any(&r->external);
		q->answer->external = r->external;
		granted(q, r->external_port, r->lifetime);
	}
}

static void
got_natpmp_map(struct question *q, const struct natpmp_reply *r)
{
	if (q->ask->kind == ASK_ADDRESS || r->protocol != q->ask->protocol)
		return;
	if (r->result == NATPMP_SUCCESS && r->internal_port != q->ask->port) {
		/* One to each packet: it is no accident then. */
		if (q->garbled < q->sends && ++q->garbled >= GARBLED_MAX)
			finish(q, TROUBLE_GARBLED, 0);
		return;
	}
	if (r->result == NATPMP_SUCCESS && !is_create(q) && r->lifetime > 0)
		return;
	answered(q, MAPPER_NATPMP, r->has_epoch, r->epoch);
	if (r->result == NATPMP_SUCCESS)
		granted(q, r->external_port, r->lifetime);
	else
		finish(q, TROUBLE_REFUSED, r->result); /* errors name no port */
}

static void
got_natpmp(struct question *q, const struct natpmp_reply *r)
{
	/* "Speaks no PCP": to a NAT-PMP request it is a late copy. */
	if (r->kind == NATPMP_VERSION && q->current == MAPPER_PCP) {
		answered(q, MAPPER_PCP, false, 0);
		finish(q, TROUBLE_UNSUPPORTED, PCP_UNSUPP_VERSION);
	}
	if (r->kind == NATPMP_VERSION || !q->asked_natpmp)
		return;
	if (r->kind == NATPMP_MAP) {
		got_natpmp_map(q, r);
		return;
	}
	if (q->ask->kind != ASK_ADDRESS)
		return;
	answered(q, MAPPER_NATPMP, r->has_epoch, r->epoch);
	q->answer->has_external = r->result == NATPMP_SUCCESS && !netaddr_is_any(&r->external);
	q->answer->external = r->external;
	if (r->result == NATPMP_SUCCESS)
		finish(q, TROUBLE_NONE, 0);
	else
		finish(q, TROUBLE_REFUSED, r->result);
}

/* "I speak PCP", to a NAT-PMP request; or "no version of it that you do", which
 * like every error repeats the request. */
static void
got_version(struct question *q, enum pcp_verdict verdict, const struct pcp_reply *r, uint8_t opcode)
{
	bool plausible = verdict == PCP_OTHER_VERSION && opcode == (0x80 | PCP_MAP) &&
	    (r->result == PCP_UNSUPP_VERSION || r->version == 1);

	if (q->current == MAPPER_NATPMP)
		plausible = !q->asked_pcp; /* otherwise it is a late copy */
	if (!plausible)
		return;
	answered(q, q->current, false, 0);
	finish(q, TROUBLE_UNSUPPORTED, 0);
}

static void
got_datagram(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct question *q = ctx;
	struct natpmp_reply natpmp;
	struct pcp_reply pcp = { .version = 0 };
	enum pcp_verdict verdict;

	(void)path;
	if (q->done)
		return;
	if (natpmp_decode(bytes, n, &natpmp)) {
		got_natpmp(q, &natpmp);
		return;
	}
	verdict = pcp_decode(bytes, n, &pcp);
	switch (verdict) {
	case PCP_REPLY:
		got_pcp(q, &pcp);
		break;
	case PCP_OTHER_VERSION:
	case PCP_FRAGMENT: /* both have an opcode at least */
		got_version(q, verdict, &pcp, ((const uint8_t *)bytes)[1]);
		break;
	case PCP_DROP:
		break;
	}
}

static void
got_error(void *ctx, uint32_t path, enum udp_error error)
{
	struct question *q = ctx;

	(void)path;
	if (error == UDP_LOCAL)
		finish(q, TROUBLE_FIREWALL, 0);
	else if (error == UDP_REFUSED && ++q->refusals >= REFUSALS_MAX)
		finish(q, TROUBLE_UNREACHABLE, 0);
	else if (error == UDP_HOST && ++q->unreachables >= UNREACHABLE_MAX)
		finish(q, TROUBLE_HOST, 0);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static bool
question_open(struct question *q, struct direct *d, const struct ask *ask, struct answer *answer)
{
	static const struct udp_handler handler = { .datagram = got_datagram, .error = got_error };
	struct netaddr any = d->family == FAMILY_IPV4 ? netaddr_any4 : netaddr_any6;
	const struct route_way *way = &d->way;
	struct nonce_key key = { .gateway = d->gateway,
		.interface = way->interface,
		.third_party = netaddr_any6,
		.family = d->family,
		.protocol = ask->protocol,
		.internal_port = ask->port };
	int error;

	*answer = (struct answer){ .rtt_us = -1 };
	*q = (struct question){ .direct = d, .ask = ask, .answer = answer };
	error = udp_open(d->loop, 1, way->ifindex, way->interface, &way->address,
	    way->has_local ? &way->local : &any, &handler, q, &q->udp);
	q->timer = loop_timer_new(d->loop, timer_due, q);
	if (error != 0 || q->timer == NULL) {
		q->answer->problem.trouble =
		    error == -EACCES || error == -EPERM ? TROUBLE_FIREWALL : TROUBLE_HOST;
		return false;
	}
	key.local = udp_local(q->udp);
	answer->local = key.local;
	secret_nonce(d->secret, &key, q->nonce);
	return true;
}

static void
question_close(struct question *q)
{
	udp_free(q->udp);
	loop_timer_free(q->timer);
}

static void
question_put(struct question *q, enum mapper mapper, mstime until)
{
	q->current = mapper;
	q->asked_pcp |= mapper == MAPPER_PCP;
	q->asked_natpmp |= mapper == MAPPER_NATPMP;
	q->until = until;
	q->wait = FIRST_WAIT;
	q->done = false;
	q->sends = q->refusals = q->unreachables = q->garbled = 0;
	transmit(q);
	if (loop_run(q->direct->loop) != 0)
		finish_silent(q);
	loop_timer_set(q->timer, MSTIME_NEVER);
}

void
direct_ask_one(struct direct *d, const struct ask *ask, enum mapper mapper, mstime until,
    struct answer *answer)
{
	struct question q;

	if (question_open(&q, d, ask, answer))
		question_put(&q, mapper, until);
	question_close(&q);
}

/* Would another protocol say anything else? */
static bool
is_final(const struct ask *ask, enum trouble trouble)
{
	switch (trouble) {
	case TROUBLE_SILENT:
	case TROUBLE_UNSUPPORTED:
	case TROUBLE_GARBLED:
		return false;
	case TROUBLE_REFUSED: /* a question may be put in another way, a mapping is refused */
		return ask->kind != ASK_ADDRESS;
	default:
		return true;
	}
}

/* What is said in the end: a word of the gateway before its silence, which may be a loss, before
 * "not this protocol". */
static unsigned
weight(enum trouble trouble)
{
	return trouble == TROUBLE_UNSUPPORTED ? 0 : trouble == TROUBLE_SILENT ? 1 : 2;
}

void
direct_ask(struct direct *d, const struct ask *ask, struct answer *answer)
{
	struct question q;
	struct answer best = { .rtt_us = -1 };

	if (!question_open(&q, d, ask, answer)) {
		question_close(&q);
		return;
	}
	for (unsigned i = 0; i < d->n_mappers; i++) {
		mstime now = loop_now(d->loop), until = d->deadline;
		mstime share = (d->deadline - now) / (d->n_mappers - i);

		if (i + 1 < d->n_mappers)
			until = now + (share < PATIENCE ? share : PATIENCE);
		question_put(&q, d->mappers[i], until);
		if (i == 0 || weight(answer->problem.trouble) > weight(best.problem.trouble) ||
		    answer->problem.trouble == TROUBLE_NONE)
			best = *answer;
		if (is_final(ask, answer->problem.trouble))
			break;
	}
	*answer = best;
	if (answer->problem.trouble == TROUBLE_UNSUPPORTED && d->n_mappers > 1)
		answer->problem.mapper = MAPPER_NONE;
	question_close(&q);
}
