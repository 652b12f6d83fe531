/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"
#include "os/log.h"
#include "os/loop.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT 10000 /* ms */
/* So long may the daemon take to say what it holds; and no longer than half of what is left. */
#define DAEMON_PATIENCE 1000 /* ms */

/* ---- what is wrong ----------------------------------------------------------------------------
 */

int
direct_status(const struct problem *p)
{
	switch (p->trouble) {
	case TROUBLE_NONE:
		return CTL_DONE;
	case TROUBLE_FIREWALL:
		return CTL_NOT_PERMITTED;
	case TROUBLE_SILENT:
	case TROUBLE_UNREACHABLE:
	case TROUBLE_HOST:
		return CTL_NO_ANSWER;
	default:
		return CTL_REFUSED;
	}
}

const char *
direct_text(const struct problem *p, char *room, size_t n)
{
	switch (p->trouble) {
	case TROUBLE_SILENT: /* it was asked once: whether it ever answered is not known */
		return "the gateway does not answer: look whether the address is right, and switch "
		       "on PCP or NAT-PMP in the router";
	case TROUBLE_HOST:
		return "the gateway cannot be reached: look whether it is on, and whether the "
		       "address is right";
	case TROUBLE_UNSUPPORTED:
		if (p->mapper == MAPPER_NONE)
			return "the gateway speaks none of the protocols allowed: switch on PCP or "
			       "NAT-PMP in the router";
		snprintf(room, n,
		    "the gateway does not map ports by %s: allow another protocol with --mappers, "
		    "or switch it on in the router",
		    mapper_name(p->mapper));
		return room;
	default:
		break;
	}
	return problem_text(p, room, n);
}

int
direct_complain(const struct direct *d, const char *wish, const struct problem *p)
{
	char room[200];

	ctl_complain(
	    "cannot %s at gateway %s: %s", wish, d->gateway, direct_text(p, room, sizeof(room)));
	return direct_status(p);
}

json_t *
direct_address(bool known, const struct netaddr *a)
{
	char text[NETADDR_STRLEN];

	return known ? json_string(netaddr_print(a, text)) : json_null();
}

/* ---- options ----------------------------------------------------------------------------------
 */

static bool
read_protocol(struct direct *d)
{
	const char *text = d->ctl->protocol;

	d->protocol = text != NULL && strcmp(text, "udp") == 0 ? PROTOCOL_UDP : PROTOCOL_TCP;
	if (text == NULL || strcmp(text, protocol_name(d->protocol)) == 0)
		return true;
	ctl_complain("--protocol is %s: it must be tcp or udp", text);
	return false;
}

static bool
read_port(struct direct *d)
{
	long port;

	if (d->ctl->n_names == 0)
		return true;
	if (!ctl_parse_number(d->ctl->names[0], 1, 65535, &port)) {
		ctl_complain(
		    "the port is %s: it must be a number from 1 to 65535", d->ctl->names[0]);
		return false;
	}
	d->port = (uint16_t)port;
	return true;
}

static enum mapper
mapper_of(const char *name, size_t n)
{
	for (unsigned m = MAPPER_PCP; m <= MAPPER_UPNP; m++) {
		const char *known = mapper_name((enum mapper)m);

		if (strlen(known) == n && memcmp(known, name, n) == 0)
			return (enum mapper)m;
	}
	return MAPPER_NONE;
}

/* In the order given, each once. */
static bool
read_mappers(struct direct *d)
{
	const char *p = d->ctl->mappers != NULL ? d->ctl->mappers : "pcp,nat-pmp";

	for (;; p++) {
		size_t n = strcspn(p, ",");
		enum mapper mapper = mapper_of(p, n);
		bool twice = mapper == MAPPER_UPNP && d->upnp;

		for (unsigned i = 0; i < d->n_mappers; i++)
			twice |= d->mappers[i] == mapper;
		if (mapper == MAPPER_NONE || twice) {
			ctl_complain("--mappers is %s: it must be a list of pcp, nat-pmp and upnp, "
				     "with commas and each once",
			    d->ctl->mappers);
			return false;
		}
		d->upnp |= mapper == MAPPER_UPNP;
		if (mapper != MAPPER_UPNP)
			d->mappers[d->n_mappers++] = mapper;
		p += n;
		if (*p == '\0')
			break;
	}
	if (d->n_mappers > 0)
		return true;
	ctl_complain("upnp is not built in yet: allow pcp or nat-pmp with --mappers, too");
	return false;
}

/* What speaks IPv4 only is of no use for IPv6. */
static bool
drop_mappers(struct direct *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_mappers; i++)
		if (d->family == FAMILY_IPV4 || d->mappers[i] != MAPPER_NATPMP)
			d->mappers[n++] = d->mappers[i];
	d->n_mappers = n;
	if (n > 0)
		return true;
	ctl_complain(
	    "nat-pmp cannot map at %s, it is for IPv4 only: allow pcp with --mappers", d->gateway);
	return false;
}

/* ---- the gateway ------------------------------------------------------------------------------
 */

static int
complain_no_way(
    const struct direct *d, const struct route_snapshot *s, const struct route_wish *wish)
{
	const struct route_link *link =
	    wish->interface != NULL ? route_link_by_name(s, wish->interface) : NULL;

	if (wish->interface != NULL && link == NULL)
		ctl_complain("there is no interface %s: ip link lists them", wish->interface);
	else if (link != NULL && !link->up)
		ctl_complain("interface %s is down: connect it, or choose another with --interface",
		    wish->interface);
	else if (wish->has_address)
		ctl_complain("no way to gateway %s%s%s: name an interface that leads there with "
			     "--interface",
		    d->ctl->gateway, link != NULL ? " through interface " : "",
		    link != NULL ? link->name : "");
	else if (link != NULL)
		ctl_complain("no gateway behind interface %s: it has no default route and no other "
			     "end; name one with --gateway",
		    link->name);
	else
		ctl_complain("no default gateway: this host has no default route through a LAN; "
			     "name a gateway with --gateway, or --interface");
	return CTL_REFUSED;
}

/* Why this gateway and no other. */
static void
explain(struct direct *d, const struct route_snapshot *s)
{
	if (d->ctl->gateway != NULL) {
		snprintf(d->why, sizeof(d->why), "named with --gateway");
		return;
	}
	snprintf(d->why, sizeof(d->why), "the other end of %s", d->way.interface);
	for (size_t i = 0; i < s->n_defaults; i++) {
		const struct route_default *r = &s->defaults[i];

		if (r->ifindex != d->way.ifindex || !r->has_gateway ||
		    !netaddr_equal(&r->gateway, &d->way.address))
			continue;
		snprintf(d->why, sizeof(d->why), "default route, metric %u", r->metric);
		return;
	}
}

/* The snapshot of the moment is enough. */
static void
ignore_change(void *ctx, const struct route_snapshot *s)
{
	(void)ctx;
	(void)s;
}

static int
resolve(struct direct *d, const struct route_snapshot *s, struct route_wish *wish)
{
	if (!route_resolve(s, wish, &d->way)) {
		wish->ipv6 = true;
		if (wish->has_address || !route_resolve(s, wish, &d->way))
			return complain_no_way(d, s, wish);
	}
	explain(d, s);
	d->family = netaddr_is4(&d->way.address) ? FAMILY_IPV4 : FAMILY_IPV6;
	netaddr_print(&d->way.address, d->gateway);
	return drop_mappers(d) ? CTL_DONE : CTL_USAGE;
}

static int
find_gateway(struct direct *d)
{
	const struct ctl *ctl = d->ctl;
	struct route_wish wish = { .interface = ctl->interface,
		.has_address = ctl->gateway != NULL,
		.is_default = ctl->gateway == NULL && ctl->interface == NULL };
	struct route_monitor *routes;
	int error, status;

	if (wish.has_address && !netaddr_parse(ctl->gateway, &wish.address)) {
		ctl_complain("--gateway is %s: it must be an address", ctl->gateway);
		return CTL_USAGE;
	}
	error = route_monitor_new(d->loop, ignore_change, NULL, &routes);
	if (error < 0) {
		ctl_complain("no route information from the kernel: %s", strerror(-error));
		return CTL_REFUSED;
	}
	wish.ipv6 = wish.has_address && !netaddr_is4(&wish.address);
	/* Without an answer it goes by subnets and default routes. */
	if (wish.has_address && wish.interface == NULL)
		(void)route_monitor_ask(routes, &wish.address, 1);
	status = resolve(d, route_monitor_snapshot(routes), &wish);
	route_monitor_free(routes);
	return status;
}

bool
direct_options(struct direct *d, const struct ctl *ctl)
{
	*d = (struct direct){ .ctl = ctl };
	if (!read_protocol(d) || !read_port(d) || !read_mappers(d))
		return false;
	if (!ctl->has_timeout || ctl->timeout > 0)
		return true;
	ctl_complain("--timeout is 0: a gateway needs a moment");
	return false;
}

int
direct_open(struct direct *d)
{
	/* The rooms of the system log as for a daemon. */
	log_set_level(LOG_LEVEL_ERROR);
	d->loop = loop_new();
	if (d->loop == NULL) {
		ctl_complain("cannot wait for answers: %s", strerror(errno));
		return CTL_REFUSED;
	}
	d->deadline = loop_now(d->loop) + (d->ctl->has_timeout ? d->ctl->timeout : TIMEOUT);
	return find_gateway(d);
}

void
direct_close(struct direct *d)
{
	loop_free(d->loop);
	explicit_bzero(d->secret, sizeof(d->secret));
}

/* ---- the daemon -------------------------------------------------------------------------------
 */

/* Is this the gateway that the row is about? The daemon may not have found its gateway yet. */
static bool
is_here(const struct direct *d, const json_t *gateways, const json_t *row)
{
	const char *name = row_text(row, "gateway"), *family = row_text(row, "family");
	const char *internal = row_text(row, "internal_address");
	char local[NETADDR_STRLEN];
	const json_t *g;
	size_t i;

	if (name == NULL || family == NULL || strcmp(family, family_name(d->family)) != 0)
		return false;
	if (internal != NULL && d->way.has_local &&
	    strcmp(internal, netaddr_print(&d->way.local, local)) != 0)
		return false;
	json_array_foreach(gateways, i, g)
	{
		const char *its = row_text(g, "name"), *address = row_text(g, "address");
		const char *its_family = row_text(g, "family");

		if (its != NULL && its_family != NULL && strcmp(its, name) == 0 &&
		    strcmp(its_family, family) == 0)
			return address == NULL || strcmp(address, d->gateway) == 0;
	}
	return false;
}

static const char *
find_holder(const struct direct *d, const json_t *status, uint8_t protocol, uint16_t port)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "mappings"), i, row)
	{
		const char *its = row_text(row, "protocol"), *state = row_text(row, "state");
		long first, ports = 1;

		if (its == NULL || state == NULL || strcmp(state, "idle") == 0 ||
		    strcmp(its, protocol_name(protocol)) != 0 ||
		    !row_number(row, "internal_port", &first))
			continue;
		(void)row_number(row, "ports", &ports);
		if (port >= first && port < first + ports &&
		    is_here(d, json_object_get(status, "gateways"), row))
			return row_text(row, "forward");
	}
	return NULL;
}

json_t *
direct_daemon(const struct direct *d)
{
	struct client_reply reply = { .message = NULL };
	struct client *c;
	json_t *status = NULL;
	mstime half = (d->deadline - loop_now(d->loop)) / 2;
	int patience = half < DAEMON_PATIENCE ? (int)half : DAEMON_PATIENCE;

	if (patience <= 0 || client_open_within(d->ctl->socket, patience, &c) != 0)
		return NULL;
	if (client_call(c, "GetStatus", NULL, false) &&
	    client_next(c, patience, &reply) == CLIENT_REPLY && reply.error == NULL)
		status = json_incref(reply.parameters);
	json_decref(reply.message);
	client_close(c);
	return status;
}

bool
direct_held(const struct direct *d, uint8_t protocol, uint16_t port)
{
	json_t *status = direct_daemon(d);
	const char *holder = find_holder(d, status, protocol, port);

	if (holder != NULL)
		ctl_complain("%s port %u is in the hands of portleased, forward \"%s\": change it "
			     "in the configuration, or stop the daemon",
		    protocol_name(protocol), port, holder);
	json_decref(status);
	return holder != NULL;
}
