/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"
#include "os/loop.h"
#include "os/udp.h"

#include <errno.h>
#include <string.h>

/* One forward, one gateway, one path: the daemon's engine until the first grant. */

#define PATH 1
#define NAME "portleasectl"
#define LIFETIME 3600
/* A gateway refuses single datagrams and means nothing by it. */
#define REFUSALS_MAX 2u
/* Contract: the address may come so much later than the port. */
#define ADDRESS_PATIENCE (5 * MSTIME_SECOND)

struct map {
	struct direct *direct;
	struct udp *udp;
	struct engine *engine;
	struct loop_timer *timer;
	struct forward_spec forward;
	mstime granted_at; /* MSTIME_NEVER: not yet */
	bool blocked, done;
	unsigned refusals, unreachables;
	struct mapping_status mapping;
	struct problem problem;
};

/* ---- what the engine needs --------------------------------------------------------------------
 */

static int
io_send(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct map *m = ctx;
	int error = udp_send(m->udp, bytes, n);

	(void)path;
	m->blocked |= error == -EPERM || error == -EACCES;
	return error;
}

static void
io_nonce(void *ctx, const struct nonce_key *key, uint8_t out[12])
{
	const struct map *m = ctx;

	secret_nonce(m->direct->secret, key, out);
}

static const struct engine_io engine_io = {
	.send = io_send, .random = secret_io_random, .nonce = io_nonce
};

static void
got_datagram(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct map *m = ctx;

	m->refusals = m->unreachables = 0;
	engine_datagram(m->engine, loop_now(m->direct->loop), path, bytes, n);
}

static void
got_error(void *ctx, uint32_t path, enum udp_error error)
{
	struct map *m = ctx;
	enum unreachable what = error == UDP_REFUSED ? UNREACHABLE_REFUSED
	    : error == UDP_LOCAL                     ? UNREACHABLE_LOCAL
						     : UNREACHABLE_HOST;

	m->blocked |= error == UDP_LOCAL;
	m->refusals += error == UDP_REFUSED;
	m->unreachables += error == UDP_HOST;
	engine_unreachable(m->engine, loop_now(m->direct->loop), path, what);
}

static void
timer_due(void *ctx)
{
	struct map *m = ctx;

	engine_tick(m->engine, loop_now(m->direct->loop));
}

/* ---- until it is decided ----------------------------------------------------------------------
 */

static void
end(struct map *m, struct problem problem)
{
	m->done = true;
	m->problem = problem;
	loop_stop(m->direct->loop);
}

static void
end_trouble(struct map *m, enum trouble trouble)
{
	end(m, (struct problem){ .trouble = trouble });
}

/* No grant, and no word about it either. */
static void
look_at_gateway(struct map *m, mstime now)
{
	struct gateway_status g = { .family = FAMILY_IPV4 };
	size_t i = 0;

	while (engine_gateway_status(m->engine, now, i++, &g) && g.family != m->direct->family)
		continue;
	if (g.problem.trouble == TROUBLE_UNSUPPORTED) {
		g.problem.mapper = MAPPER_NONE;
		if (m->direct->n_mappers == 1)
			g.problem.mapper = m->direct->mappers[0];
		end(m, g.problem);
	} else if (m->refusals >= REFUSALS_MAX) {
		end_trouble(m, TROUBLE_UNREACHABLE);
	} else if (m->unreachables >= REFUSALS_MAX) {
		end_trouble(m, TROUBLE_HOST);
	} else if (now >= m->direct->deadline) {
		end_trouble(m,
		    m->refusals > 0           ? TROUBLE_UNREACHABLE
			: m->unreachables > 0 ? TROUBLE_HOST
					      : TROUBLE_SILENT);
	}
}

/* At the end of every round of the loop. */
static void
after_round(void *ctx)
{
	struct map *m = ctx;
	mstime now = loop_now(m->direct->loop), next = m->direct->deadline;

	if (m->done || !engine_mapping_status(m->engine, now, 0, &m->mapping))
		return;
	if (m->blocked) {
		end_trouble(m, TROUBLE_FIREWALL);
	} else if (m->mapping.state == MAPPING_FAILED) {
		end(m, m->mapping.problem);
	} else if (m->mapping.has_lease) {
		if (m->granted_at == MSTIME_NEVER)
			m->granted_at = now;
		if (m->granted_at + ADDRESS_PATIENCE < next)
			next = m->granted_at + ADDRESS_PATIENCE;
		if (m->mapping.has_external || now >= next)
			end_trouble(m, TROUBLE_NONE);
	} else {
		look_at_gateway(m, now);
	}
	if (engine_next(m->engine) < next)
		next = engine_next(m->engine);
	loop_timer_set(m->timer, next);
}

static int
prepare(struct map *m)
{
	static const struct udp_handler handler = { .datagram = got_datagram, .error = got_error };
	static const struct engine_settings settings = {
		.max_renew_interval = 1800, .recovery_delay = 5, .release_timeout = 1
	};
	struct direct *d = m->direct;
	const struct route_way *way = &d->way;
	struct netaddr any = d->family == FAMILY_IPV4 ? netaddr_any4 : netaddr_any6;
	struct gateway_spec gateway = { .name = d->gateway, .n_mappers = d->n_mappers };
	struct path_info path = { .gateway = d->gateway,
		.family = d->family,
		.ifindex = way->ifindex,
		.interface = way->interface,
		.address = way->address,
		.on_link = way->on_link };
	mstime now = loop_now(d->loop);
	int error;

	memcpy(gateway.mappers, d->mappers, sizeof(gateway.mappers));
	error = udp_open(d->loop, PATH, way->ifindex, way->interface, &way->address,
	    way->has_local ? &way->local : &any, &handler, m, &m->udp);
	if (error != 0)
		return error;
	path.local = udp_local(m->udp);
	m->engine = engine_new(&engine_io, m, &settings);
	m->timer = loop_timer_new(d->loop, timer_due, m);
	if (m->engine == NULL || m->timer == NULL)
		return -ENOMEM;
	error = engine_gateway(m->engine, now, &gateway);
	if (error == 0)
		error = engine_want(m->engine, now, &m->forward);
	if (error == 0)
		error = engine_path_up(m->engine, now, PATH, &path);
	loop_set_after(d->loop, after_round, m);
	return error;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static bool
read_external(const struct ctl *ctl, struct forward_spec *f)
{
	const char *text = ctl->external_port;
	uint16_t wished = f->internal_port;
	long port;

	f->external = EXTERNAL_SAME;
	if (text != NULL && strcmp(text, "any") == 0) {
		f->external = EXTERNAL_ANY;
		return true;
	}
	if (text != NULL && strcmp(text, "same") != 0) {
		if (!ctl_parse_number(text, 1, 65535, &port)) {
			ctl_complain("--external-port is %s: it must be a number from 1 to 65535, "
				     "any, or same",
			    text);
			return false;
		}
		f->external = EXTERNAL_FIXED;
		wished = f->external_port = (uint16_t)port;
	}
	/* RFC 6887 section 11.3: no gateway grants its own ports. */
	if (!f->udp || (wished != 5350 && wished != 5351))
		return true;
	ctl_complain("udp %u cannot be an external port, the protocols themselves need it: choose "
		     "another with --external-port",
	    wished);
	return false;
}

static bool
read_lifetime(const struct ctl *ctl, struct forward_spec *f)
{
	long lifetime = LIFETIME;

	if (ctl->lifetime != NULL && !ctl_parse_number(ctl->lifetime, 2, 86400, &lifetime)) {
		ctl_complain("--lifetime is %s: it must be a number of seconds from 2 to 86400",
		    ctl->lifetime);
		return false;
	}
	f->lifetime = (uint32_t)lifetime;
	return true;
}

static void
print(const struct map *m)
{
	const struct mapping_status *s = &m->mapping;
	char address[NETADDR_STRLEN], port[8], room[80];

	if (m->direct->ctl->json) {
		json_t *object = json_pack("{s:s, s:s, s:s, s:o, s:i, s:o, s:i, s:I}", "gateway",
		    m->direct->gateway, "mapper", mapper_name(s->mapper), "protocol",
		    protocol_name(s->protocol), "internal_address",
		    direct_address(s->has_internal, &s->internal), "internal_port",
		    s->internal_port, "external_address",
		    direct_address(s->has_external, &s->external), "external_port",
		    s->external_port, "lifetime", (json_int_t)s->lifetime);

		json_dumpf(object, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(object);
		return;
	}
	snprintf(port, sizeof(port), "%u", s->external_port);
	if (s->has_external)
		netaddr_print(&s->external, address);
	printf("%s %u\n", unit_endpoint(s->has_external ? address : NULL, port, room, sizeof(room)),
	    s->lifetime);
}

static int
run(struct map *m)
{
	struct direct *d = m->direct;
	char wish[40];
	int error = prepare(m);

	if (error == 0)
		error = loop_run(d->loop);
	loop_set_after(d->loop, NULL, NULL);
	if (error != 0) {
		ctl_complain("cannot ask gateway %s: %s", d->gateway, strerror(-error));
		return CTL_NO_ANSWER;
	}
	if (m->problem.trouble != TROUBLE_NONE) {
		snprintf(wish, sizeof(wish), "map %s port %u", protocol_name(d->protocol), d->port);
		return direct_complain(d, wish, &m->problem);
	}
	print(m);
	return CTL_DONE;
}

int
ctl_map(const struct ctl *ctl)
{
	struct direct d;
	struct map m = { .direct = &d, .granted_at = MSTIME_NEVER };
	int status;

	if (!direct_options(&d, ctl))
		return CTL_USAGE;
	m.forward = (struct forward_spec){ .name = NAME,
		.gateway = d.gateway,
		.tcp = d.protocol == PROTOCOL_TCP,
		.udp = d.protocol == PROTOCOL_UDP,
		.internal_port = d.port,
		.count = 1 };
	if (!read_external(ctl, &m.forward) || !read_lifetime(ctl, &m.forward))
		return CTL_USAGE;
	status = direct_open(&d);
	m.forward.ipv4 = d.family == FAMILY_IPV4;
	m.forward.ipv6 = d.family == FAMILY_IPV6;
	if (status == CTL_DONE && direct_held(&d, d.protocol, d.port))
		status = CTL_REFUSED;
	if (status == CTL_DONE) {
		(void)direct_secret(true, d.secret);
		status = run(&m);
	}
	engine_free(m.engine);
	udp_free(m.udp);
	loop_timer_free(m.timer);
	direct_close(&d);
	return status;
}
