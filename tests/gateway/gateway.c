/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "command.h"
#include "faults.h"
#include "jobs.h"
#include "log.h"
#include "net.h"
#include "serve.h"
#include "template.h"

#include <string.h>
#include <time.h>

int64_t
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint32_t
epoch_now(const struct gw *gw)
{
	double run = (double)(gw->now - gw->epoch_since) / 1e6 * gw->set.epoch_rate;

	if (gw->set.epoch_freeze != OFF)
		return (uint32_t)gw->set.epoch_freeze;
	return (uint32_t)((int64_t)run + gw->set.epoch);
}

void
epoch_set(struct gw *gw, uint32_t value)
{
	gw->set.epoch = value;
	gw->epoch_since = gw->now;
}

/* xorshift64*: small, and the same sequence for the same seed on every machine. */
uint64_t
random_next(struct gw *gw)
{
	uint64_t x = gw->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	gw->random = x;
	return x * 0x2545f4914f6cdd1dULL >> 8;
}

uint64_t
random_below(struct gw *gw, uint64_t n)
{
	return n == 0 ? 0 : random_next(gw) % n;
}

/* Draws nothing when there is nothing to decide, so that a fault which is off does not change
 * the sequence of those which are on. */
bool
random_chance(struct gw *gw, double probability)
{
	if (probability <= 0)
		return false;
	if (probability >= 1)
		return true;
	return (double)random_below(gw, 1000000) < probability * 1e6;
}

/* What the actions of a rule mean for the way of the request. */
struct plan {
	bool lost;
	bool serve;
	bool replaced;
};

static void
make_plan(struct gw *gw, const struct action *actions, struct request *r, struct plan *plan)
{
	bool needs = false;

	for (const struct action *a = actions; a != NULL; a = a->next) {
		switch (a->kind) {
		case ACT_DROP:
			plan->lost = true;
			break;
		case ACT_ICMP:
			plan->lost = true;
			net_icmp(gw, &r->local, &r->peer, (enum icmp)a->a);
			break;
		case ACT_RESULT:
			r->forced_result = a->a;
			break;
		case ACT_LIFETIME:
			r->forced_lifetime = a->a;
			break;
		case ACT_REPLY:
			plan->replaced = true;
			needs = needs || template_needs_reply(a->text);
			break;
		case ACT_SERVE:
			needs = true;
			break;
		case ACT_SEND:
			needs = needs || template_needs_reply(a->text);
			break;
		case ACT_DO:
			command_run_unasked(gw, a->text);
			break;
		case ACT_THEN: /* the loop does it after this datagram */
			jobs_command(gw, gw->now, a->text);
			break;
		default:
			break;
		}
	}
	plan->serve = !plan->replaced || needs;
}

/* False: no reply. */
static bool
serve(struct gw *gw, const struct request *r, struct packet *reply)
{
	if (gw->set.mode == MODE_NONE) {
		log_drop(gw, "request", "mode none");
		return false;
	}
	return r->m.version == 0 ? natpmp_serve(gw, r, reply) : pcp_serve(gw, r, reply);
}

void
gateway_receive(
    struct gw *gw, size_t sock, const struct addr *peer, const uint8_t *bytes, size_t len)
{
	struct request r = { .bytes = bytes,
		.len = len,
		.peer = *peer,
		.local = gw->net.socks[sock].local,
		.forced_result = OFF,
		.forced_lifetime = OFF };
	struct packet reply = { .len = 0 };
	struct plan plan = { false, true, false };
	const struct action *actions;

	message_decode(bytes, len, &r.m);
	gw->stats.in++;
	log_datagram(gw, "in", &r.local, peer, bytes, len, NULL);
	if (!r.m.has_head || r.m.reply) {
		gw->stats.garbage++;
		log_drop(gw, "request", r.m.reply ? "is a reply" : "too short");
		return;
	}
	if (r.m.version == 0)
		gw->stats.natpmp++;
	else
		gw->stats.pcp++;
	if (faults_lose_request(gw, &r))
		return;
	gw->last_peer = *peer;
	gw->last_local = r.local;
	gw->last_request.len = len < PACKET_MAX ? len : PACKET_MAX;
	memcpy(gw->last_request.bytes, bytes, gw->last_request.len);
	gw->last_reply.len = 0;
	actions = rules_match(gw, &r);
	make_plan(gw, actions, &r, &plan);
	if (plan.lost) {
		gw->stats.dropped_requests++;
		log_drop(gw, "request", "rule");
		return;
	}
	if (plan.serve && !serve(gw, &r, &reply) && !plan.replaced)
		return;
	gw->last_reply = reply;
	faults_send(gw, &r, &reply, actions);
}
