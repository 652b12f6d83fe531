/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* A router with another firmware has an empty table, and may speak another protocol. */

#define STRANGERS 5u

struct firmware {
	enum gw_speaks before, after;
	/* How long it may take until it has what was mapped, if it says nothing to what it speaks
	 * no more, and if it refuses that. */
	mstime silent, refusing;
};

static const struct firmware firmwares[] = {
	{ SPEAKS_BOTH, SPEAKS_NATPMP, 10 * MINUTE, 4 * MINUTE },
	{ SPEAKS_PCP, SPEAKS_NATPMP, 10 * MINUTE, 4 * MINUTE },
	{ SPEAKS_NATPMP, SPEAKS_PCP, 4 * MINUTE, 3 * MINUTE },
	{ SPEAKS_BOTH, SPEAKS_PCP, 70 * MSTIME_SECOND, 70 * MSTIME_SECOND },
};

#define FIRMWARES (sizeof(firmwares) / sizeof(firmwares[0]))

/* What is no version error counts as silence. */
static const struct stranger {
	enum gw_stranger pcp, natpmp; /* to the protocol named */
	bool refuses_pcp, refuses_natpmp;
} strangers[STRANGERS] = {
	{ STRANGER_MUTE, STRANGER_MUTE, false, false },
	{ STRANGER_V0_8, STRANGER_V2_24, true, true },
	{ STRANGER_V0_4, STRANGER_FRAGMENT, true, true },
	{ STRANGER_V0_OP0, STRANGER_V1, true, false },
	{ STRANGER_ODD, STRANGER_V2_24, false, true },
};

/* Nothing is announced, and the leases of two hours have more than half an hour to go to their
 * renewal: the questions of every minute find it. 20 … 39: after an outage of 90 s. */
static void
another_firmware(struct stage *st, int variant)
{
	const struct firmware *f = &firmwares[(unsigned)variant % FIRMWARES];
	const struct stranger *s = &strangers[(unsigned)variant / FIRMWARES % STRANGERS];
	bool to_pcp = f->after == SPEAKS_PCP;
	bool refuses = to_pcp ? s->refuses_natpmp : s->refuses_pcp;
	enum kind_of_request spoken = to_pcp ? PCP_REQUEST : NATPMP_REQUEST;
	unsigned packets;
	mstime at;

	st->box.speaks = f->before;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, 7200);
	EXPECT(st, stage_wait(st, 5 * MSTIME_SECOND, stage_both_mapped), "not mapped in 5 s");
	stage_run(st, 15 * MINUTE);
	st->mute = (unsigned)variant >= FIRMWARES * STRANGERS;
	stage_run(st, st->mute ? 90 * MSTIME_SECOND : 0);
	st->mute = false;
	st->box.speaks = f->after;
	st->box.stranger = to_pcp ? s->natpmp : s->pcp;
	gw_restart(&st->box, st->now, false);
	at = st->now;
	EXPECT(
	    st, stage_wait(st, refuses ? f->refusing : f->silent, stage_both_mapped), "not mapped");
	packets = stage_count(st, ANY_REQUEST, 0, at, st->now);
	EXPECT(st, packets <= (refuses ? 20 : 80), "%u packets", packets);
	/* What is refused is asked in the other protocol right after the first question. */
	EXPECT(st, !refuses || stage_count(st, spoken, 0, at, at + 65 * MSTIME_SECOND) > 0,
	    "nobody asks whether it is so");
	at = st->now;
	stage_run(st, 30 * MINUTE);
	packets = stage_count(st, ANY_REQUEST, 0, at, st->now);
	EXPECT(st, packets <= 70, "%u packets later", packets);
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "failed");
}

/* What one protocol has made is over together, though each lease has its own tries. NAT-PMP is
 * preferred, so nobody asks whether PCP is spoken but the renewals. */
static void
together(struct stage *st, int variant)
{
	mstime at;

	(void)variant;
	stage_prefer(st, MAPPER_NATPMP);
	st->box.speaks = SPEAKS_PCP;
	st->box.stranger = STRANGER_V2_24;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, 7200);
	EXPECT(st, stage_wait(st, 5 * MSTIME_SECOND, stage_both_mapped), "not mapped in 5 s");
	stage_run(st, 15 * MINUTE);
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = STRANGER_MUTE;
	gw_restart(&st->box, st->now, false);
	at = st->now;
	EXPECT(st, stage_wait(st, 17 * MINUTE, stage_both_mapped),
	    "not mapped when the renewals are in vain");
	EXPECT(st, stage_count(st, ANY_REQUEST, 0, at, st->now) <= 100, "%u packets",
	    stage_count(st, ANY_REQUEST, 0, at, st->now));
}

/* It makes no mappings by PCP since its update (UNSUPP_OPCODE), but by NAT-PMP, which the first
 * refusal finds out. The leases of before that are refused next go the same way. */
static void
gone_mapless(struct stage *st, int variant)
{
	(void)variant;
	st->box.speaks = SPEAKS_BOTH;
	stage_grant(st, 7200);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 5, 7200);
	EXPECT(st, stage_wait(st, 5 * MSTIME_SECOND, stage_both_mapped), "not mapped in 5 s");
	stage_run(st, 10 * MINUTE);
	st->box.pcp_refusal = 4;
	gw_restart(&st->box, st->now, false);
	EXPECT(st, stage_wait(st, 75 * MSTIME_SECOND, stage_both_mapped), "not mapped by NAT-PMP");
	EXPECT(st, stage_noted_count(st, EVENT_FAILED, 0) == 0, "failed");
}

/* ---- what is no proof ------------------------------------------------------------------- */

/* The script's numbers: PCP answers; NAT-PMP's question for the address is not answered. */
enum { PCP_ANSWERS, NO_ADDRESS };

static bool
pcp_late(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	if (q->version == 2)
		return st->number[PCP_ANSWERS] == 0;
	return st->number[NO_ADDRESS] != 0 && q->opcode == 0;
}

/* PCP was missed at first: what NAT-PMP has made goes on by it, though PCP is spoken now. */
static void
natpmp_made(struct stage *st, bool shorter)
{
	struct forward_spec f = stage_spec(5001, PROTOCOL_TCP, 240);
	const struct sent *s;

	f.name = "short";
	st->box.speaks = SPEAKS_BOTH;
	st->box.min_life = 60;
	st->box.max_life = 7200;
	st->script = pcp_late;
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 1, 7200);
	if (shorter)
		stage_want(st, &f);
	EXPECT(st, stage_wait(st, 15 * MSTIME_SECOND, stage_all_active), "not mapped");
	stage_run(st, MINUTE);
	st->number[PCP_ANSWERS] = 1;
	stage_run(st, 63 * MINUTE);
	EXPECT(st, stage_count(st, PCP_REQUEST, 0, st->now - 2 * MINUTE, st->now) > 0,
	    "PCP is not spoken");
	s = stage_nth(st, MAP_REQUEST, 5000, st->begin + MINUTE, 0);
	EXPECT(st, s != NULL && s->q.version == 0, "moved");
}

static void
check_lives_on(struct stage *st, mstime since)
{
	const struct noted *lost = stage_noted(st, EVENT_LOST, 5000, since);
	const struct sent *s = stage_nth(st, MAP_REQUEST, 5000, since, 0);

	EXPECT(st, lost == NULL, "a lease that lives was given up after %lld s",
	    (long long)(lost->at - since) / 1000);
	EXPECT(st, s == NULL || s->q.version == 0, "asked for by PCP while it lives");
}

/* In an outage a short lease is renewed in vain. That says nothing of the long one. */
static void
outage_proves_nothing(struct stage *st, int variant)
{
	mstime at;

	natpmp_made(st, true);
	at = st->now;
	st->mute = true;
	stage_run(st, (variant ? 120 : 230) * MSTIME_SECOND);
	st->mute = false;
	stage_run(st, 3 * MINUTE);
	check_lives_on(st, at);
}

/* It still maps by NAT-PMP, but does not answer the question for its address. */
static void
no_address_proves_nothing(struct stage *st, int variant)
{
	mstime at;

	(void)variant;
	natpmp_made(st, false);
	at = st->now;
	st->number[NO_ADDRESS] = 1;
	stage_run(st, 25 * MINUTE);
	check_lives_on(st, at);
}

/* It comes back with an empty table and NAT-PMP only, whose clock tells: that is remembered. */
static void
clock_outlives_outage(struct stage *st, int variant)
{
	natpmp_made(st, false);
	stage_run(st, 3 * MINUTE);
	st->mute = true;
	stage_run(st, (variant % 2 ? 2 : 5) * MINUTE);
	st->mute = false;
	st->box.speaks = SPEAKS_NATPMP;
	st->box.stranger = variant < 2 ? STRANGER_MUTE : STRANGER_V0_8;
	gw_restart(&st->box, st->now, false);
	stage_run(st, 4 * MINUTE);
	EXPECT(st, gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL,
	    "not mapped 4 minutes after a reboot");
}

/* A clock that stands still, heard in both protocols. 0: at a number, 1: at 0. */
static void
stuck_in_both(struct stage *st, int variant)
{
	mstime at;

	st->box.frozen = true;
	st->box.frozen_at = variant == 0 ? 4711 : 0;
	natpmp_made(st, false);
	at = st->now;
	stage_run(st, 10 * HOUR);
	EXPECT(st, stage_noted_count(st, EVENT_GATEWAY_REBOOTED, at) <= 4, "%u reboots in 10 h",
	    stage_noted_count(st, EVENT_GATEWAY_REBOOTED, at));
}

const struct directed directed_firmware[] = {
	{ "another firmware, another protocol", another_firmware, 40 },
	{ "another firmware: all leases together", together, 1 },
	{ "UNSUPP_OPCODE since an update", gone_mapless, 1 },
	{ "not unlearned: an outage", outage_proves_nothing, 2 },
	{ "not unlearned: no answer to the address question", no_address_proves_nothing, 1 },
	{ "a clock is remembered in an outage", clock_outlives_outage, 4 },
	{ "Q-007 a clock stands still in both protocols", stuck_in_both, 2 },
	{ NULL, NULL, 0 },
};
