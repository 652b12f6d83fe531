/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

/* From one kind of gateway to any other, by an update: each must end well, and soon, and cost no
 * more than it would have from the beginning. */

#define LEASE 3600u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct kind {
	const char *name;
	enum gw_speaks speaks;
	enum gw_stranger stranger;
	uint8_t pcp_refusal;
	uint16_t natpmp_refusal;
	uint32_t lease;
	bool deaf, down, refused, full, no_address, frozen;
	bool maps; /* sooner or later: it must be found */
	unsigned hourly;
};

static const struct kind kinds[] = {
	{ "PCP", SPEAKS_PCP, STRANGER_V2_24, .maps = true, .hourly = 80 },
	{ "PCP, mute", SPEAKS_PCP, STRANGER_MUTE, .maps = true, .hourly = 80 },
	{ "PCP, MAP only", SPEAKS_PCP, .deaf = true, .maps = true, .hourly = 80 },
	{ "PCP, leases of a minute", SPEAKS_PCP, .lease = 60, .maps = true, .hourly = 330 },
	{ "PCP, no address", SPEAKS_PCP, .no_address = true, .hourly = 260 },
	{ "NAT-PMP, mute", SPEAKS_NATPMP, STRANGER_MUTE, .maps = true, .hourly = 150 },
	{ "NAT-PMP", SPEAKS_NATPMP, STRANGER_V0_8, .maps = true, .hourly = 80 },
	{ "NAT-PMP, odd", SPEAKS_NATPMP, STRANGER_ODD, .maps = true, .hourly = 150 },
	{ "NAT-PMP, leases of a minute", SPEAKS_NATPMP, .lease = 60, .maps = true, .hourly = 330 },
	{ "NAT-PMP, no address", SPEAKS_NATPMP, .no_address = true, .hourly = 260 },
	{ "both", SPEAKS_BOTH, .maps = true, .hourly = 80 },
	{ "both, no ANNOUNCE", SPEAKS_BOTH, .deaf = true, .maps = true, .hourly = 80 },
	{ "both, PCP makes none", SPEAKS_BOTH, .pcp_refusal = 4, .maps = true, .hourly = 80 },
	{ "both, PCP makes none, no ANNOUNCE", SPEAKS_BOTH, .pcp_refusal = 4, .deaf = true,
	    .maps = true, .hourly = 80 },
	{ "both, refused by PCP", SPEAKS_BOTH, .pcp_refusal = 2, .hourly = 80 },
	{ "both, refused by NAT-PMP", SPEAKS_BOTH, .natpmp_refusal = 2, .hourly = 80 },
	{ "both, refused", SPEAKS_BOTH, .pcp_refusal = 2, .natpmp_refusal = 2, .hourly = 80 },
	{ "both, unable", SPEAKS_BOTH, .pcp_refusal = 4, .natpmp_refusal = 5, .hourly = 80 },
	{ "both, full", SPEAKS_BOTH, .full = true, .hourly = 150 },
	{ "both, a clock that stands still", SPEAKS_BOTH, .frozen = true, .maps = true,
	    .hourly = 80 },
	{ "down", SPEAKS_BOTH, .down = true, .hourly = 350 },
	{ "closed", SPEAKS_BOTH, .refused = true, .hourly = 350 },
};

static bool
kind_script(struct stage *st, const uint8_t *bytes, size_t n, const struct gw_request *q)
{
	(void)bytes;
	(void)n;
	return kinds[st->number[0]].deaf && q->version == 2 && q->opcode == 0;
}

static void
become(struct stage *st, size_t i)
{
	const struct kind *k = &kinds[i];

	st->number[0] = (long)i;
	st->script = kind_script;
	st->box.speaks = k->speaks;
	st->box.stranger = k->stranger;
	st->box.pcp_refusal = k->pcp_refusal;
	st->box.natpmp_refusal = k->natpmp_refusal;
	st->box.down = k->down;
	st->box.refused = k->refused;
	st->box.full = k->full;
	st->box.frozen = k->frozen;
	st->box.external = k->no_address ? 0 : 0x08080404;
	st->box.min_life = st->box.max_life = k->lease != 0 ? k->lease : LEASE;
}

/* So many packets costs an outage of that length: one in 4 s, after ten minutes one in 30 s. The
 * other protocol, and the renewals of what lives on, are a quarter more. */
static unsigned
outage_pace(mstime length)
{
	mstime quick = length < 10 * MINUTE ? length : 10 * MINUTE;

	return (unsigned)(quick / (4 * MSTIME_SECOND) + (length - quick) / (30 * MSTIME_SECOND));
}

/* The second half of the variants prefers NAT-PMP. */
static void
from_any_to_any(struct stage *st, int variant)
{
	size_t n = COUNT(kinds), v = (size_t)variant;
	size_t from = v % n, to = v / n % n;
	unsigned packets;
	mstime at;

	if (v >= n * n) {
		stage_prefer(st, MAPPER_NATPMP);
	}
	become(st, from);
	stage_start(st);
	stage_path_up(st);
	stage_forwards(st, 2, LEASE);
	stage_wait(st, 75 * MSTIME_SECOND, stage_both_mapped);
	stage_run(st, 10 * MINUTE);
	gw_restart(&st->box, st->now, false);
	become(st, to);
	at = st->now;
	/* at the latest when the lease is over */
	EXPECT(st, stage_wait(st, 80 * MINUTE, stage_both_mapped) || !kinds[to].maps,
	    "not mapped: from %s to %s", kinds[from].name, kinds[to].name);
	packets = stage_count(st, ANY_REQUEST, 0, at, st->now);
	EXPECT(st, packets <= 50 + outage_pace(st->now - at) * 5 / 4, "%u packets: from %s to %s",
	    packets, kinds[from].name, kinds[to].name);
	at = st->now;
	stage_run(st, HOUR);
	packets = stage_count(st, ANY_REQUEST, 0, at, st->now);
	EXPECT(st, packets <= kinds[to].hourly, "%u packets in the next hour: from %s to %s",
	    packets, kinds[from].name, kinds[to].name);
	EXPECT(st, !kinds[to].maps || stage_both_mapped(st), "not for long: from %s to %s",
	    kinds[from].name, kinds[to].name);
}

const struct directed directed_kinds[] = {
	{ "from any gateway to any other", from_any_to_any, 2 * COUNT(kinds) * COUNT(kinds) },
	{ NULL, NULL, 0 },
};
