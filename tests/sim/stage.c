/* SPDX-License-Identifier: ISC */
#include "stage.h"

#include "directed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *
room_for(void *p, size_t n, size_t *room, size_t size)
{
	if (n < *room)
		return p;
	*room = *room ? *room * 2 : 64;
	p = realloc(p, *room * size);
	if (!p)
		abort();
	return p;
}

void
stage_fail(struct stage *st, const char *format, ...)
{
	va_list ap;

	if (st->failed)
		return;
	st->failed = true;
	va_start(ap, format);
	vsnprintf(st->why, sizeof st->why, format, ap);
	va_end(ap);
}

static void
tell(const struct stage *st, const char *what, const void *bytes, size_t n)
{
	if (!st->trace)
		return;
	printf("%9lld.%03lld %-16s ", (long long)((st->now - st->begin) / 1000),
	    (long long)((st->now - st->begin) % 1000), what);
	for (size_t i = 0; i < n; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	putchar('\n');
}

/* ---- io --------------------------------------------------------------------------------- */

static struct parcel *
post(struct stage *st, mstime at, const void *bytes, size_t n)
{
	struct parcel *p;

	st->parcels = room_for(st->parcels, st->n_parcels, &st->parcels_room, sizeof *p);
	p = &st->parcels[st->n_parcels++];
	memset(p, 0, offsetof(struct parcel, bytes));
	p->at = at;
	p->seq = st->seq++;
	p->path = st->answering ? st->answering : st->path;
	p->n = n < STAGE_PACKET ? n : STAGE_PACKET;
	memcpy(p->bytes, bytes, p->n);
	return p;
}

static int
io_send(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct stage *st = ctx;
	struct parcel *p;
	struct sent *s;
	const char *bad;

	st->sent = room_for(st->sent, st->n_sent, &st->sent_room, sizeof *s);
	s = &st->sent[st->n_sent++];
	s->at = st->now;
	s->path = path;
	s->n = n < STAGE_PACKET ? n : STAGE_PACKET;
	memcpy(s->bytes, bytes, s->n);
	bad = st->ipv6 ? gw_parse6(bytes, n, &s->q) : gw_parse(bytes, n, &s->q);
	/* delete-all is what this gateway model must never see; 0/1 is "assigned" */
	if (bad)
		stage_fail(st, "bad request: %s", bad);
	tell(st, st->send_error ? "send fails" : "send", bytes, n);
	if (st->send_error)
		return st->send_error;
	p = post(st, st->now + 1, bytes, n);
	p->kind = PARCEL_REQUEST;
	p->path = path;
	return 0;
}

static void
io_random(void *ctx, void *bytes, size_t n)
{
	struct stage *st = ctx;
	uint8_t *p = bytes;

	while (n--)
		*p++ = (uint8_t)(rng_next(&st->rng) >> 24);
}

static void
io_nonce(void *ctx, const struct nonce_key *k, uint8_t out[12])
{
	struct rng r = { (uint64_t)k->internal_port << 8 | k->protocol };

	(void)ctx;
	for (int i = 0; i < 12; i++)
		out[i] = (uint8_t)rng_next(&r);
}

static void
io_event(void *ctx, const struct engine_event *e)
{
	struct stage *st = ctx;
	struct noted *x;

	st->noted = room_for(st->noted, st->n_noted, &st->noted_room, sizeof *x);
	x = &st->noted[st->n_noted++];
	memset(x, 0, sizeof *x);
	x->at = st->now;
	x->kind = e->kind;
	x->again = e->again;
	if (e->mapping) {
		x->internal = e->mapping->internal_port;
		x->external = e->mapping->external_port;
		x->old = e->old_external_port;
		x->has_external = e->mapping->has_external;
		x->address = gw_ipv4(&e->mapping->external);
		x->problem = e->mapping->problem;
	}
	tell(st, engine_event_name(e->kind), &x->internal, e->mapping ? 2 : 0);
}

static void
io_save(void *ctx)
{
	(void)ctx;
}

static void
io_path_done(void *ctx, uint32_t path)
{
	struct stage *st = ctx;

	(void)path;
	st->path_done = true;
}

static void
io_trace(void *ctx, const char *what, uint32_t path, uint32_t a, uint32_t b)
{
	struct stage *st = ctx;

	if (st->trace)
		printf("%9lld.%03lld   engine: %s path=%u %u %u\n",
		    (long long)((st->now - st->begin) / 1000),
		    (long long)((st->now - st->begin) % 1000), what, path, a, b);
}

static const struct engine_io stage_io = { io_send, io_random, io_nonce, io_event, io_save,
	io_path_done, io_trace };

/* ---- setting up ------------------------------------------------------------------------- */

static void
prepare(struct stage *st, int variant, bool trace)
{
	memset(st, 0, sizeof *st);
	st->variant = variant;
	st->trace = trace;
	st->path = 1;
	st->local = LOCAL;
	st->rng.s = 4711 + (uint64_t)variant;
	st->now = st->begin = 1000000 * MSTIME_SECOND;
	st->settings = (struct engine_settings){
		.max_renew_interval = 1800, .recovery_delay = 5, .release_timeout = 3
	};
	st->gateway = (struct gateway_spec){ .name = "default",
		.mappers = { MAPPER_PCP, MAPPER_NATPMP },
		.n_mappers = 2,
		.probe_interval = 60 };
	st->box = (struct gw_box){ .address = GATEWAY,
		.external = 0x08080404,
		.speaks = SPEAKS_BOTH,
		.strict = true,
		.max_life = 86400,
		.table = GW_ENTRIES,
		.epoch_base = 500000,
		.boot = st->now };
}

static void
cleanup(struct stage *st)
{
	engine_free(st->engine);
	free(st->parcels);
	free(st->sent);
	free(st->noted);
}

static void
after_input(struct stage *st)
{
	const char *broken = engine_check(st->engine, st->now);

	if (broken)
		stage_fail(st, "engine_check: %s", broken);
	st->same = st->now == st->same_at ? st->same + 1 : 0;
	st->same_at = st->now;
	if (st->same > 5000)
		stage_fail(st, "time stands still");
}

void
stage_start(struct stage *st)
{
	st->engine = engine_new(&stage_io, st, &st->settings);
	if (!st->engine || engine_gateway(st->engine, st->now, &st->gateway))
		abort();
}

struct netaddr
stage_address(const char *text)
{
	struct netaddr a;

	if (!netaddr_parse(text, &a))
		abort();
	return a;
}

void
stage_path_up(struct stage *st)
{
	struct path_info info = { .gateway = "default",
		.family = st->ipv6 ? FAMILY_IPV6 : FAMILY_IPV4,
		.ifindex = 2,
		.interface = "eth0",
		.address = gw_netaddr(GATEWAY),
		.local = gw_netaddr(st->local),
		.on_link = true };

	if (st->ipv6) {
		info.address = stage_address(GATEWAY6);
		info.local = stage_address(LOCAL6);
	}
	if (engine_path_up(st->engine, st->now, st->path, &info))
		abort();
	after_input(st);
}

struct forward_spec
stage_spec(uint16_t port, uint8_t protocol, uint32_t lifetime)
{
	return (struct forward_spec){ .name = "web",
		.gateway = "default",
		.tcp = protocol == PROTOCOL_TCP,
		.udp = protocol == PROTOCOL_UDP,
		.ipv4 = true,
		.internal_port = port,
		.count = 1,
		.lifetime = lifetime,
		.release_on_exit = true };
}

void
stage_want(struct stage *st, const struct forward_spec *f)
{
	if (engine_want(st->engine, st->now, f))
		abort();
	after_input(st);
}

void
stage_forwards(struct stage *st, unsigned n, uint32_t lifetime)
{
	for (unsigned i = 0; i < n; i++) {
		struct forward_spec f = stage_spec((uint16_t)(5000 + i), PROTOCOL_TCP, lifetime);
		char name[16];
		snprintf(name, sizeof name, "f%u", i);
		f.name = name;
		stage_want(st, &f);
	}
}

void
stage_prefer(struct stage *st, enum mapper m)
{
	st->gateway.mappers[0] = m;
	st->gateway.mappers[1] = m == MAPPER_PCP ? MAPPER_NATPMP : MAPPER_PCP;
}

void
stage_only(struct stage *st, enum mapper m)
{
	st->gateway.mappers[0] = m;
	st->gateway.n_mappers = 1;
	st->box.speaks = m == MAPPER_PCP ? SPEAKS_PCP : SPEAKS_NATPMP;
}

void
stage_grant(struct stage *st, uint32_t lifetime)
{
	st->box.min_life = st->box.max_life = lifetime;
}

/* ---- running ---------------------------------------------------------------------------- */

void
stage_reply(struct stage *st, mstime after, const uint8_t *bytes, size_t n)
{
	post(st, st->now + after, bytes, n)->kind = PARCEL_REPLY;
}

void
stage_icmp(struct stage *st, mstime after)
{
	post(st, st->now + after, "", 0)->kind = PARCEL_ICMP;
}

void
stage_announce(struct stage *st, mstime after, uint32_t source, const uint8_t *bytes, size_t n)
{
	struct parcel *p = post(st, st->now + after, bytes, n);

	p->kind = PARCEL_ANNOUNCEMENT;
	p->source = source;
	p->port = 5351;
}

static void
answer(struct stage *st, const struct parcel *p)
{
	uint8_t out[GW_PACKET_MAX];
	struct gw_outcome o;
	struct gw_request q;
	size_t n;

	if (st->mute || (st->ipv6 ? gw_parse6(p->bytes, p->n, &q) : gw_parse(p->bytes, p->n, &q)))
		return;
	if ((st->script && st->script(st, p->bytes, p->n, &q)) || st->ipv6)
		return;
	n = gw_answer(&st->box, st->now, st->local, p->bytes, p->n, out, &o);
	if (n)
		stage_reply(st, 1, out, n);
}

static void
arrive(struct stage *st, const struct parcel *p)
{
	struct netaddr source = gw_netaddr(p->source);

	switch (p->kind) {
	case PARCEL_REQUEST:
		st->answering = p->path;
		answer(st, p);
		st->answering = 0;
		return;
	case PARCEL_REPLY:
		tell(st, "receive", p->bytes, p->n);
		st->heard = st->now;
		engine_datagram(st->engine, st->now, p->path, p->bytes, p->n);
		break;
	case PARCEL_ICMP:
		tell(st, "icmp", "", 0);
		engine_unreachable(st->engine, st->now, p->path, UNREACHABLE_REFUSED);
		break;
	case PARCEL_ANNOUNCEMENT:
		tell(st, "announcement", p->bytes, p->n);
		engine_announcement(st->engine, st->now, 2, &source, p->port, p->bytes, p->n);
		break;
	}
	after_input(st);
}

static bool
step(struct stage *st, mstime until)
{
	mstime next = engine_next(st->engine);
	size_t first = 0;

	for (size_t i = 1; i < st->n_parcels; i++)
		if (st->parcels[i].at < st->parcels[first].at ||
		    (st->parcels[i].at == st->parcels[first].at &&
			st->parcels[i].seq < st->parcels[first].seq))
			first = i;
	if (st->n_parcels && st->parcels[first].at <= next) {
		struct parcel p = st->parcels[first];
		if (p.at > until)
			return false;
		st->parcels[first] = st->parcels[--st->n_parcels];
		st->now = p.at > st->now ? p.at : st->now;
		arrive(st, &p);
		return true;
	}
	if (next > until)
		return false;
	st->now = next > st->now ? next : st->now;
	engine_tick(st->engine, st->now);
	after_input(st);
	return true;
}

void
stage_run_until(struct stage *st, mstime at)
{
	while (!st->failed && step(st, at))
		;
	if (st->now < at)
		st->now = at;
}

void
stage_run(struct stage *st, mstime duration)
{
	stage_run_until(st, st->now + duration);
}

bool
stage_wait(struct stage *st, mstime limit, bool (*holds)(struct stage *))
{
	mstime end = st->now + limit;

	while (!st->failed && !holds(st))
		if (!step(st, end))
			return false;
	return !st->failed;
}

bool
stage_all_active(struct stage *st)
{
	struct mapping_status m;
	size_t i;

	for (i = 0; engine_mapping_status(st->engine, st->now, i, &m); i++)
		if (m.state != MAPPING_ACTIVE)
			return false;
	return i > 0;
}

bool
stage_both_mapped(struct stage *st)
{
	return gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5000) != NULL &&
	    gw_find(&st->box, st->now, LOCAL, PROTOCOL_TCP, 5001) != NULL && stage_all_active(st);
}

bool
stage_drained(struct stage *st)
{
	return engine_drained(st->engine);
}

/* ---- looking ---------------------------------------------------------------------------- */

bool
stage_is(const struct sent *s, enum kind_of_request kind, uint16_t internal)
{
	bool map = s->q.version == 2 ? s->q.opcode == 1 : s->q.opcode != 0;

	if (internal && (!map || s->q.internal != internal))
		return false;
	switch (kind) {
	case MAP_REQUEST:
		return map && s->q.lifetime;
	case DELETE_REQUEST:
		return map && !s->q.lifetime;
	case PCP_REQUEST:
		return s->q.version == 2;
	case NATPMP_REQUEST:
		return s->q.version == 0;
	case ANY_REQUEST:
		break;
	}
	return true;
}

unsigned
stage_count(
    const struct stage *st, enum kind_of_request kind, uint16_t internal, mstime from, mstime to)
{
	unsigned c = 0;

	for (size_t i = 0; i < st->n_sent; i++)
		c += st->sent[i].at >= from && st->sent[i].at < to &&
		    stage_is(&st->sent[i], kind, internal);
	return c;
}

const struct sent *
stage_nth(
    const struct stage *st, enum kind_of_request kind, uint16_t internal, mstime from, unsigned n)
{
	for (size_t i = 0; i < st->n_sent; i++)
		if (st->sent[i].at >= from && stage_is(&st->sent[i], kind, internal) && n-- == 0)
			return &st->sent[i];
	return NULL;
}

const struct noted *
stage_noted(const struct stage *st, enum engine_event_kind kind, uint16_t internal, mstime from)
{
	for (size_t i = 0; i < st->n_noted; i++)
		if (st->noted[i].kind == kind && st->noted[i].at >= from &&
		    (!internal || st->noted[i].internal == internal))
			return &st->noted[i];
	return NULL;
}

unsigned
stage_noted_count(const struct stage *st, enum engine_event_kind kind, mstime from)
{
	unsigned c = 0;

	for (size_t i = 0; i < st->n_noted; i++)
		c += st->noted[i].kind == kind && st->noted[i].at >= from;
	return c;
}

bool
stage_mapping(struct stage *st, uint16_t internal, struct mapping_status *out)
{
	for (size_t i = 0; engine_mapping_status(st->engine, st->now, i, out); i++)
		if (out->internal_port == internal)
			return true;
	return false;
}

uint16_t
stage_active(struct stage *st, uint16_t internal, uint8_t protocol)
{
	struct mapping_status m;

	for (size_t i = 0; engine_mapping_status(st->engine, st->now, i, &m); i++)
		if (m.internal_port == internal && m.protocol == protocol &&
		    m.state == MAPPING_ACTIVE)
			return m.external_port;
	return 0;
}

bool
stage_gateway(struct stage *st, struct gateway_status *out)
{
	return engine_gateway_status(st->engine, st->now, 0, out);
}

/* ---- all of them ------------------------------------------------------------------------ */

bool
directed_run(const struct directed *d, bool trace, char why[DIRECTED_WHY])
{
	struct stage st;
	bool ok = true;

	for (int i = 0; i < d->variants && ok; i++) {
		prepare(&st, i, trace);
		if (trace)
			printf("---- %s, variant %d\n", d->name, i);
		d->play(&st, i);
		ok = !st.failed;
		if (!ok)
			snprintf(why, DIRECTED_WHY, "variant %d at %lld.%03lld s: %s", i,
			    (long long)((st.now - st.begin) / 1000),
			    (long long)((st.now - st.begin) % 1000), st.why);
		cleanup(&st);
	}
	return ok;
}

int
directed_forwards(unsigned n)
{
	struct stage st;
	clock_t c;

	prepare(&st, 0, false);
	st.box.table = 0xffffffff;
	c = clock();
	stage_start(&st);
	stage_path_up(&st);
	stage_forwards(&st, n, 3600);
	stage_run(&st, 24 * HOUR);
	printf("%u forwards, one day: %zu packets, %zu events, %.3f s of CPU%s%s\n", n, st.n_sent,
	    st.n_noted, (double)(clock() - c) / CLOCKS_PER_SEC, st.failed ? ", " : "",
	    st.failed ? st.why : "");
	return st.failed;
}
