/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Outages and the end. Even variants PCP, odd NAT-PMP. */

static void
simple(struct stage *st, int variant, unsigned forwards, uint32_t grant)
{
	stage_only(st, variant % 2 ? MAPPER_NATPMP : MAPPER_PCP);
	if (grant)
		stage_grant(st, grant);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, forwards, 3600);
	if (!stage_wait(st, 5000, stage_all_active))
		stage_fail(st, "not mapped in 5 s");
}

static bool
refused(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	(void)q;
	stage_icmp(st, 1);
	return true;
}

static bool
well(struct stage *st)
{
	struct gateway_status g;

	for (uint16_t p = 5000; p < 5003; p++)
		if (!gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, p))
			return false;
	return stage_gateway(st, &g) && g.state == GATEWAY_READY && stage_all_active(st);
}

/* 0, 1: silence of 90 s; 2, 3: ICMP for 40 s; 4 … 7: the same and a reboot; leases of 60 s and,
 * from 8 on, of an hour */
static void
outage(struct stage *st, int variant)
{
	bool icmp = variant / 2 % 2, reboot = variant / 4 % 2;
	mstime limit = 5000 + (reboot ? 5000 : 0);

	simple(st, variant, 3, variant < 8 ? 60 : 3600);
	stage_run(st, 10 * MINUTE);
	st->mute = !icmp;
	st->script = icmp ? refused : NULL;
	stage_run(st, (icmp ? 40 : 90) * MSTIME_SECOND);
	if (reboot)
		gw_restart(&st->box, st->now - 20 * MSTIME_SECOND, false);
	st->mute = false;
	st->script = NULL;
	/* an hour's lease: no need to ask, unless the probe interval has begun to */
	if (variant >= 8)
		limit += icmp ? 60000 : 0;
	EXPECT(st, stage_wait(st, limit, well), "not back in %lld ms", (long long)limit);
}

/* The documented pace, one packet a step. */
static void
pace(struct stage *st, int variant)
{
	mstime from;
	unsigned n;

	simple(st, variant, 3, 60);
	stage_run(st, 10 * MINUTE);
	st->mute = true;
	from = st->now + 90 * MSTIME_SECOND; /* the leases have ended, bursts are over */
	stage_run(st, 20 * HOUR);
	n = stage_count(st, ANY_REQUEST, 0, from, from + 6 * MINUTE);
	EXPECT(st, n >= 80 && n <= 95, "%u packets in 6 minutes of 4 s each", n);
	n = stage_count(st, ANY_REQUEST, 0, from + 12 * MINUTE, from + 62 * MINUTE);
	EXPECT(st, n >= 90 && n <= 110, "%u packets in 50 minutes of 30 s each", n);
	n = stage_count(st, ANY_REQUEST, 0, from + 3 * HOUR, from + 19 * HOUR);
	EXPECT(st, n >= 16 * 3 && n <= 16 * 5, "%u packets in 16 later hours", n);
	st->mute = false;
	EXPECT(
	    st, stage_wait(st, 1130 * MSTIME_SECOND, well), "not back within the RFC's back-off");
}

/* This host's firewall */
static void
firewall(struct stage *st, int variant)
{
	struct mapping_status m;

	simple(st, variant, 3, 60);
	stage_run(st, 10 * MINUTE);
	st->send_error = -EPERM;
	stage_run(st, 40 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 5000, PROTOCOL_TCP) || stage_noted_count(st, EVENT_LOST, 0),
	    "neither active nor lost");
	stage_run(st, 60 * MSTIME_SECOND);
	EXPECT(st, stage_mapping(st, 5000, &m) && m.state != MAPPING_ACTIVE,
	    "active though nothing was sent for 100 s");
	st->send_error = 0;
	EXPECT(st, stage_wait(st, 5000, well), "not back in 5 s");
	EXPECT(st, stage_count(st, variant % 2 ? PCP_REQUEST : NATPMP_REQUEST, 0, 0, st->now) == 0,
	    "the protocol was changed for a firewall");
}

/* What this host cannot send, whyever, says nothing about what the gateway speaks. */
static void
nothing_leaves(struct stage *st, int variant)
{
	static const int errors[] = { -ENOBUFS, -ENETUNREACH, -EINVAL, -EPERM };

	st->send_error = errors[variant];
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 3600);
	stage_run(st, 60 * MSTIME_SECOND);
	st->send_error = 0;
	EXPECT(st, stage_wait(st, 16 * MSTIME_SECOND, well), "not back in 16 s");
	EXPECT(st, stage_count(st, NATPMP_REQUEST, 0, 0, st->now) == 0, "PCP was given up");
}

#define MANY 100

/* None of them answers: 40 packets at once, then 20 a second, and each has its turn. */
static void
many_gateways(struct stage *st, int variant)
{
	bool asked[MANY + 1] = { false };

	(void)variant;
	st->mute = true;
	stage_start(st);
	for (uint32_t i = 0; i < MANY; i++) {
		char name[16];
		struct gateway_spec g = st->gateway;
		struct forward_spec f = stage_spec((uint16_t)(5000 + i), PROTOCOL_TCP, 3600);
		struct path_info p = { .gateway = name,
			.family = FAMILY_IPV4,
			.ifindex = 10 + i,
			.interface = "wg",
			.address = gw_netaddr(0x0a020001 + i * 256),
			.local = gw_netaddr(0x0a020002 + i * 256),
			.on_link = true };

		snprintf(name, sizeof name, "g%u", (unsigned)i);
		g.name = f.name = f.gateway = name;
		EXPECT(st, !engine_gateway(st->engine, st->now, &g), "out of memory");
		stage_want(st, &f);
		EXPECT(st, !engine_path_up(st->engine, st->now, i + 1, &p), "no path");
	}
	stage_run(st, 30 * MSTIME_SECOND);
	EXPECT(st, st->n_sent >= 500, "only %zu packets in 30 s", st->n_sent);
	for (size_t i = 0; i < st->n_sent && st->sent[i].at - st->begin < 10000; i++)
		asked[st->sent[i].path] = true;
	for (unsigned i = 1; i <= MANY; i++)
		EXPECT(st, asked[i], "gateway %u is not asked in 10 s", i);
	for (size_t i = 141; i < st->n_sent; i++)
		EXPECT(st, st->sent[i].at - st->sent[i - 141].at >= 5000,
		    "142 packets in %lld ms, at second %lld",
		    (long long)(st->sent[i].at - st->sent[i - 141].at),
		    (long long)(st->sent[i].at - st->begin) / 1000);
}

/* ---- S-20: the end ---------------------------------------------------------------------- */

static void
check_deletes(struct stage *st, mstime at, unsigned forwards, bool once)
{
	for (unsigned i = 0; i < forwards; i++) {
		unsigned n = stage_count(st, DELETE_REQUEST, (uint16_t)(5000 + i), at, st->now + 1);
		EXPECT(st, n >= 1 && (!once || n == 1), "port %u deleted %u times", 5000 + i, n);
	}
}

/* P-11 */
static void
stop(struct stage *st, int variant)
{
	mstime at;

	simple(st, variant, 5, 3600);
	stage_run(st, MINUTE + 30 * MSTIME_SECOND);
	at = st->now;
	engine_release_all(st->engine, st->now);
	EXPECT(st, stage_wait(st, 3000, stage_drained), "not drained in 3 s");
	check_deletes(st, at, 5, true);
	for (uint16_t p = 5000; p < 5005; p++)
		EXPECT(st, !gw_find(&st->box, st->now + 1, LOCAL, PROTOCOL_TCP, p),
		    "port %u left behind", p);
	/* serial: never two within a round trip */
	for (size_t i = 1; i < st->n_sent; i++)
		EXPECT(st,
		    st->sent[i].at < at || st->sent[i - 1].at < at ||
			st->sent[i].at - st->sent[i - 1].at >= 2,
		    "deletes are not serial");
	EXPECT(st, stage_noted_count(st, EVENT_RELEASED, at) == 5, "%u released events",
	    stage_noted_count(st, EVENT_RELEASED, at));
}

static void
stop_silent(struct stage *st, int variant)
{
	mstime at;

	simple(st, variant, 2, 3600);
	stage_run(st, MINUTE);
	st->mute = true;
	at = st->now;
	engine_release_all(st->engine, st->now);
	EXPECT(st, stage_wait(st, 3000, stage_drained), "not drained in 3 s");
	check_deletes(st, at, 2, false);
	stage_run(st, HOUR);
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, at + 3001, st->now) == 0, "sent after the end");
}

static bool
two_answers(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	return !q->lifetime && ++st->number[0] > 2;
}

/* Two deletes are answered, then nothing: 500 ms later the rest goes out, 2 ms apart. */
static void
stop_flush(struct stage *st, int variant)
{
	const struct sent *third, *fourth, *s;
	mstime at;

	simple(st, variant, 6, 3600);
	stage_run(st, MINUTE + 30 * MSTIME_SECOND);
	st->script = two_answers;
	at = st->now;
	engine_release_all(st->engine, st->now);
	EXPECT(st, stage_wait(st, 3000, stage_drained), "not drained in 3 s");
	check_deletes(st, at, 6, false);
	third = stage_nth(st, DELETE_REQUEST, 0, at, 2);
	EXPECT(st, third, "no third delete");
	fourth = stage_nth(st, DELETE_REQUEST, 0, third->at + 400, 0);
	EXPECT(st, fourth && fourth->at - third->at >= 490 && fourth->at - third->at <= 520,
	    "the rest follows after %lld ms", fourth ? (long long)(fourth->at - third->at) : -1);
	for (unsigned i = 1; (s = stage_nth(st, DELETE_REQUEST, 0, fourth->at, i)); i++) {
		const struct sent *before = stage_nth(st, DELETE_REQUEST, 0, fourth->at, i - 1);
		EXPECT(st, s->at - before->at >= 2 && s->at - before->at <= 3,
		    "deletes %lld ms apart", (long long)(s->at - before->at));
	}
}

/* ---- a lease is not the next one's ------------------------------------------------------- */

/* A forward that is taken away is deleted; one that comes back at once is made anew. */
static void
unwanted(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(5000, PROTOCOL_TCP, 3600);

	simple(st, variant, 3, 3600);
	engine_unwant(st->engine, st->now, "f0");
	stage_run(st, 10 * MSTIME_SECOND);
	EXPECT(st, !gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000), "not deleted");
	f.name = "f0";
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 3000, stage_all_active), "not made again in 3 s");
	engine_unwant(st->engine, st->now, "f0");
	stage_want(st, &f);
	EXPECT(st, stage_wait(st, 10 * MSTIME_SECOND, well), "not made again in 10 s");
	stage_run(st, 30 * MSTIME_SECOND);
	EXPECT(st, well(st), "a late delete took it away");
}

static bool
says_so(struct stage *st)
{
	struct gateway_status g;

	return stage_gateway(st, &g) && g.state == GATEWAY_READY &&
	    g.problem.trouble == TROUBLE_SILENT;
}

static bool
says_nothing(struct stage *st)
{
	struct gateway_status g;

	return stage_gateway(st, &g) && g.state == GATEWAY_READY &&
	    g.problem.trouble == TROUBLE_NONE;
}

/* Before it is called silent, the gateway's row tells what those of its mappings tell. */
static void
unanswered(struct stage *st, int variant)
{
	struct mapping_status m;

	simple(st, variant, 3, 60);
	EXPECT(st, says_nothing(st), "a problem without one");
	st->mute = true;
	EXPECT(st, stage_wait(st, 90 * MSTIME_SECOND, says_so), "the gateway's row is silent");
	EXPECT(st,
	    (stage_mapping(st, 5000, &m) && m.problem.trouble == TROUBLE_SILENT) ||
		(stage_mapping(st, 5001, &m) && m.problem.trouble == TROUBLE_SILENT) ||
		(stage_mapping(st, 5002, &m) && m.problem.trouble == TROUBLE_SILENT),
	    "no mapping says so");
	st->mute = false;
	EXPECT(st, stage_wait(st, 20 * MSTIME_SECOND, says_nothing), "and goes on saying so");
}

/* It comes back with another firmware, which says so: that is asked next, not the old lease. */
static void
back_with_pcp(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_V0_8;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 120);
	if (!stage_wait(st, 5 * MSTIME_SECOND, stage_all_active))
		stage_fail(st, "not mapped");
	stage_run(st, 50 * MSTIME_SECOND);
	st->box.down = true;
	stage_run(st, 30 * MSTIME_SECOND);
	st->box.down = false;
	st->box.speaks = SPEAKS_PCP;
	st->box.stranger = STRANGER_V2_24;
	gw_restart(&st->box, st->now, false);
	stage_run(st, 15 * MSTIME_SECOND);
	EXPECT(st,
	    gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) &&
		stage_active(st, 5000, PROTOCOL_TCP),
	    "not mapped by PCP");
}

static bool
closed_to_pcp(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	if (q->version == 2 && q->opcode != 0) {
		st->mute = true;
		stage_icmp(st, 1);
	}
	return q->version == 2;
}

/* What needs PCP is no probe for a gateway of NAT-PMP alone, which falls silent at its question. */
static void
needless_probe(struct stage *st, int variant)
{
	struct forward_spec f = stage_spec(6000, PROTOCOL_TCP, 3600);
	struct forward_spec late = stage_spec(7000, PROTOCOL_TCP, 3600);

	(void)variant;
	f.udp = f.has_internal = true;
	f.internal = stage_address("192.168.1.77");
	late.name = "late";
	st->box.speaks = SPEAKS_NATPMP;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 7200);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_all_active), "not mapped");
	st->script = closed_to_pcp;
	stage_want(st, &f);
	stage_run(st, MINUTE);
	stage_want(st, &late);
	EXPECT(st, st->mute, "not asked by PCP");
	st->mute = false;
	st->script = NULL;
	stage_run(st, 15 * MSTIME_SECOND);
	EXPECT(st, stage_active(st, 7000, PROTOCOL_TCP), "not mapped 15 s after its return");
}

/* A box that maps by PCP, but does not answer ANNOUNCE. The script's numbers: */
enum { FORGED, OUT_UNTIL, LOST_PACKETS, NATPMP_HEARD };

static bool
deaf_to_announce(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	uint8_t o[24];

	(void)n;
	if (st->number[OUT_UNTIL] > st->now)
		return true;
	st->number[NATPMP_HEARD] += q->version == 0;
	if (q->version != 2)
		return false;
	if (q->opcode != 0)
		return st->number[OUT_UNTIL] != 0 &&
		    (!st->number[NATPMP_HEARD] || st->number[LOST_PACKETS]-- > 0);
	if (st->number[FORGED] > 0) {
		st->number[FORGED]--;
		stage_reply(st, 1, o,
		    gw_put_stranger(o, STRANGER_V0_8, bytes, gw_epoch(&st->box, st->now)));
	}
	return true;
}

static void
begin_deaf(struct stage *st)
{
	st->script = deaf_to_announce;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 3, 7200);
	if (!stage_wait(st, 5000, stage_all_active))
		stage_fail(st, "not mapped in 5 s");
}

static void
check_kept(struct stage *st)
{
	stage_run(st, 2 * HOUR);
	EXPECT(st, stage_all_active(st), "not active");
	EXPECT(st, stage_noted_count(st, EVENT_LOST, 0) == 0, "lost");
	EXPECT(st, stage_noted_count(st, EVENT_CHANGED, 0) == 0, "changed");
}

/* One forged version error to what is never answered; it is not asked in vain until the leases are
 * given up. 1: it is known by then that nothing answers. */
static void
forged_to_deaf(struct stage *st, int variant)
{
	begin_deaf(st);
	stage_run(st, variant * 31 * MINUTE);
	st->number[FORGED] = 1;
	stage_run(st, 15 * MINUTE);
	EXPECT(st, st->number[FORGED] == 0, "not asked");
	check_kept(st);
}

/* An outage of an hour, in which the leases are asked for again and again. NAT-PMP is heard first,
 * and the next packet is lost. */
static void
one_lost(struct stage *st, int variant)
{
	(void)variant;
	begin_deaf(st);
	stage_run(st, 29 * MINUTE);
	st->number[OUT_UNTIL] = st->now + HOUR;
	st->number[NATPMP_HEARD] = 0;
	st->number[LOST_PACKETS] = 1;
	check_kept(st);
	EXPECT(st, st->number[LOST_PACKETS] <= 0, "no packet lost");
}

const struct directed directed_silence[] = {
	{ "an outage", outage, 16 },
	{ "ready, but unanswered", unanswered, 20 },
	{ "the pace of an outage", pace, 2 },
	{ "this host's firewall", firewall, 2 },
	{ "nothing leaves this host", nothing_leaves, 4 },
	{ "many silent gateways", many_gateways, 1 },
	{ "back with PCP after silence", back_with_pcp, 1 },
	{ "an outage, and what needs PCP", needless_probe, 1 },
	{ "no answer to ANNOUNCE, and a forged one", forged_to_deaf, 2 },
	{ "no answer to ANNOUNCE, and one packet lost", one_lost, 1 },
	{ NULL, NULL, 0 },
};

const struct directed directed_stop[] = {
	{ "S-20 stop", stop, 2 },
	{ "S-20 stop, silent gateway", stop_silent, 2 },
	{ "stop, gateway falls silent", stop_flush, 2 },
	{ "taken away and wanted again", unwanted, 2 },
	{ NULL, NULL, 0 },
};
