/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <string.h>

/* What is asked for and how: protocols, assigned ports, options. */

/* S-07, Q-033: NAT-PMP is preferred, the gateway speaks PCP. 0: F-10 and F-11, 1: 24 octets. */
static void
upgrade(struct stage *st, int variant)
{
	stage_prefer(st, MAPPER_NATPMP);
	st->box.speaks = SPEAKS_PCP;
	st->box.stranger = variant ? STRANGER_V2_24 : STRANGER_FRAGMENT;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, stage_count(st, NATPMP_REQUEST, 0, 0, st->now) <= 2, "%u NAT-PMP packets",
	    stage_count(st, NATPMP_REQUEST, 0, 0, st->now));
	stage_run(st, 24 * HOUR);
	EXPECT(st, stage_count(st, NATPMP_REQUEST, 0, 0, st->now) <= 2,
	    "%u NAT-PMP packets in a day", stage_count(st, NATPMP_REQUEST, 0, 0, st->now));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost a mapping");
}

/* Nothing of the core speaks UPnP. */
static void
upnp_only(struct stage *st, int variant)
{
	struct gateway_status g;
	struct mapping_status m;

	(void)variant;
	st->gateway.mappers[0] = MAPPER_UPNP;
	st->gateway.n_mappers = 1;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 3600);
	stage_run(st, 24 * HOUR);
	EXPECT(st, st->n_sent == 0, "%zu packets", st->n_sent);
	EXPECT(
	    st, stage_gateway(st, &g) && g.state == GATEWAY_UNSUPPORTED, "not called unsupported");
	EXPECT(st,
	    stage_mapping(st, 5000, &m) && m.state == MAPPING_WAITING &&
		m.problem.trouble == TROUBLE_UNSUPPORTED,
	    "the forward does not say why");
}

/* ---- S-18: ports that the gateway assigns (Q-110, Q-112, Q-050) ---------------------------- */

#define PROTON_LIFE 60u

enum { TCP_RENEWALS, UDP_RENEWALS, PROTON_ECHO, PROTON_ICMP };

static uint16_t
proton_port(const struct stage *st, uint8_t protocol)
{
	long n = st->number[protocol == PROTOCOL_TCP ? TCP_RENEWALS : UDP_RENEWALS];

	/* asked for the first time, and renewed: the 5th renewal is the 6th answer */
	return (uint16_t)((protocol == PROTOCOL_TCP ? 40000 : 50000) + (n > 5 ? 7 : 0));
}

static bool
proton(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[16];
	uint16_t port;

	(void)bytes;
	if (q->version != 0 || q->opcode == 0)
		return false;
	if (q->internal != 0)
		stage_fail(st, "asks for internal port %u", q->internal);
	if (st->now - st->begin > 2 * MINUTE && st->number[PROTON_ICMP] > 0 &&
	    (st->now - st->begin) / (5 * MINUTE) != st->number[PROTON_ICMP] - 1) {
		st->number[PROTON_ICMP] = (st->now - st->begin) / (5 * MINUTE) + 1;
		stage_icmp(st, 1);
		return true;
	}
	st->number[q->protocol == PROTOCOL_TCP ? TCP_RENEWALS : UDP_RENEWALS]++;
	port = proton_port(st, q->protocol);
	n = gw_put_natpmp_map(o, q->protocol, 0, gw_epoch(&st->box, st->now),
	    st->number[PROTON_ECHO] ? port : 0, port, PROTON_LIFE);
	stage_reply(st, 1, o, n);
	return true;
}

static uint16_t
active_at(struct stage *st, uint8_t protocol)
{
	struct mapping_status m;

	for (size_t i = 0; engine_mapping_status(st->engine, st->now, i, &m); i++)
		if (m.protocol == protocol && m.state == MAPPING_ACTIVE &&
		    m.internal_port == m.external_port)
			return m.external_port;
	return 0;
}

static void
check_proton_requests(struct stage *st, uint8_t protocol)
{
	uint16_t granted = 1; /* the question is 0 -> 1 */
	mstime last = 0;

	for (size_t i = 0; i < st->n_sent; i++) {
		const struct sent *s = &st->sent[i];
		if (!stage_is(s, MAP_REQUEST, 0) || s->q.protocol != protocol)
			continue;
		EXPECT(st, last || s->q.external == 1, "first suggestion is %u", s->q.external);
		EXPECT(st, !last || s->q.external >= granted, "renewal suggests %u", s->q.external);
		EXPECT(st, !last || s->at - last <= 45 * MSTIME_SECOND, "renewed after %lld ms",
		    (long long)(s->at - last));
		EXPECT(st, st->number[PROTON_ICMP] || !last || s->at - last >= 29 * MSTIME_SECOND,
		    "renewed after %lld ms already", (long long)(s->at - last));
		granted = s->q.external;
		last = s->at;
	}
}

/* 0: internal port 0 in the answers, 1: echoed as assigned, 2, 3: with an ICMP refusal now and
 * then */
static void
assigned(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(0, PROTOCOL_TCP, 7200);
	mstime at;

	stage_only(st, MAPPER_NATPMP);
	st->gateway.probe_interval = 0;
	st->script = proton;
	st->number[PROTON_ECHO] = variant % 2;
	st->number[PROTON_ICMP] = variant / 2;
	stage_start(st);
	stage_path_up(st);
	f.udp = f.assigned = true;
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 2000, stage_all_active), "not mapped in 2 s");
	EXPECT(st, active_at(st, PROTOCOL_TCP) == 40000 && active_at(st, PROTOCOL_UDP) == 50000,
	    "published tcp %u, udp %u", active_at(st, PROTOCOL_TCP), active_at(st, PROTOCOL_UDP));
	stage_run(st, HOUR);
	EXPECT(st, active_at(st, PROTOCOL_TCP) == 40007 && active_at(st, PROTOCOL_UDP) == 50007,
	    "after the change tcp %u, udp %u", active_at(st, PROTOCOL_TCP),
	    active_at(st, PROTOCOL_UDP));
	EXPECT(st, stage_noted_count(st, EVENT_MAPPED, 0) == 2, "mapped %u times",
	    stage_noted_count(st, EVENT_MAPPED, 0));
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, st->begin + MINUTE) == 2,
	    "changed %u times", stage_noted_count(st, EVENT_CHANGED, st->begin + MINUTE));
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	check_proton_requests(st, PROTOCOL_TCP);
	check_proton_requests(st, PROTOCOL_UDP);
	at = st->now;
	engine_unwant(st->engine, st->now, "web");
	stage_run(st, 10 * MINUTE);
	EXPECT(st, stage_noted_count(st, EVENT_RELEASED, at) == 2, "released %u times",
	    stage_noted_count(st, EVENT_RELEASED, at));
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, at, st->now) == 0, "%u packets after release",
	    stage_count(st, ANY_REQUEST, 0, at, st->now));
}

/* NAT-PMP without assigned ports; a copy of the refusal comes when another mapping is asked for. */
static bool
copied(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint32_t epoch = (uint32_t)((st->now - st->begin) / 1000);
	uint16_t result = q->internal ? 0 : 5;
	uint8_t o[STAGE_PACKET];

	(void)bytes;
	(void)n;
	if (q->opcode == 0)
		return false;
	n = gw_put_natpmp_map(o, q->protocol, result, epoch, q->internal, q->external, q->lifetime);
	stage_reply(st, q->internal ? 30 : 1, o, n);
	if (result)
		stage_reply(st, 10, o, n);
	return true;
}

static void
copy_of_refusal(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(0, PROTOCOL_TCP, 7200);

	(void)variant;
	stage_only(st, MAPPER_NATPMP);
	st->script = copied;
	stage_start(st);
	stage_path_up(st);
	f.assigned = true;
	stage_want(st, &f);
	f = stage_spec(5000, PROTOCOL_TCP, 7200);
	f.name = "site";
	stage_want(st, &f);
	stage_run(st, MSTIME_SECOND);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 1, "failed %u times",
	    stage_noted_count(st, EVENT_FAILED, 0));
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) == 5000, "not mapped");
	EXPECT(st, stage_count(st, MAP_REQUEST, 5000, 0, st->now) == 1, "asked for again");
}

const struct directed directed_mapping[] = {
	{ "S-07 NAT-PMP to PCP", upgrade, 2 },
	{ "UPnP only", upnp_only, 1 },
	{ "S-18 assigned ports", assigned, 4 },
	{ "an assigned port's refusal, twice", copy_of_refusal, 1 },
	{ NULL, NULL, 0 },
};
