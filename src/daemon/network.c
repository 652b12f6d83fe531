/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/network_internal.h"

#include "daemon/conf.h"
#include "daemon/metrics.h"
#include "os/announce.h"
#include "os/log.h"
#include "os/loop.h"
#include "os/neighbour.h"
#include "os/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A socket that could not be opened is tried again; the next network event does so, too. */
#define RETRY (5 * MSTIME_SECOND)

static struct way *
find_way(struct network *net, uint32_t number)
{
	for (struct way *w = net->ways; w != NULL; w = w->next)
		if (w->number == number)
			return w;
	return NULL;
}

static struct way *
current_way(struct network *net, const char *gateway, enum family family)
{
	for (struct way *w = net->ways; w != NULL; w = w->next)
		if (w->current && w->family == family && strcmp(w->gateway, gateway) == 0)
			return w;
	return NULL;
}

static void
way_free(struct way *w)
{
	udp_free(w->udp);
	free(w->gateway);
	free(w);
}

void
network_again(struct network *net, mstime at)
{
	if (at >= net->retry_at)
		return;
	net->retry_at = at;
	loop_timer_set(net->retry, at);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int64_t
microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
got_datagram(void *ctx, uint32_t path, const void *bytes, size_t n)
{
	struct network *net = ctx;
	struct way *w = find_way(net, path);
	int64_t us;

	if (w == NULL || !box_is_same(net, w))
		return;
	us = microseconds() - w->sent_us;
	if (us >= 0 && us < INT32_MAX) {
		engine_round_trip(net->engine, path, (int32_t)us);
		metrics_round_trip(net->metrics, (int32_t)us);
	}
	engine_datagram(net->engine, loop_now(net->loop), path, bytes, n);
}

static void
got_error(void *ctx, uint32_t path, enum udp_error error)
{
	struct network *net = ctx;
	enum unreachable what = error == UDP_REFUSED ? UNREACHABLE_REFUSED
	    : error == UDP_LOCAL                     ? UNREACHABLE_LOCAL
						     : UNREACHABLE_HOST;

	engine_unreachable(net->engine, loop_now(net->loop), path, what);
}

static void
got_announcement(void *ctx, unsigned ifindex, const struct netaddr *source, uint16_t port,
    const void *bytes, size_t n)
{
	struct network *net = ctx;

	engine_announcement(net->engine, loop_now(net->loop), ifindex, source, port, bytes, n);
}

int
network_send(struct network *net, uint32_t path, const void *bytes, size_t n)
{
	struct way *w = find_way(net, path);
	int error;

	if (w == NULL || w->udp == NULL)
		return -ENETUNREACH;
	if (w->has_wish && !box_is_wished(net, w))
		return -EHOSTUNREACH;
	w->sent_us = microseconds();
	error = udp_send(w->udp, bytes, n);
	if (error != w->send_error && error != 0 && error != -ECONNREFUSED) {
		char text[NETADDR_STRLEN];

		if (error == -EPERM || error == -EACCES)
			log_warning(
			    "%s: this host's firewall blocks packets to gateway %s UDP port "
			    "5351: allow them; trying again until then",
			    w->route.interface, netaddr_print(&w->route.address, text));
		else
			log_info("%s: cannot send to gateway %s: %s; trying again",
			    w->route.interface, netaddr_print(&w->route.address, text),
			    strerror(-error));
	}
	w->send_error = error;
	return error;
}

void
network_path_done(struct network *net, uint32_t path)
{
	for (struct way **at = &net->ways; *at != NULL; at = &(*at)->next) {
		struct way *w = *at;

		if (w->number != path)
			continue;
		*at = w->next;
		way_free(w);
		return;
	}
}

/* ---- following the routes -----------------------------------------------------------------------
 */

/* By the config, or by what the engine wants besides. */
static bool
gateway_used(const struct network *net, const struct conf_gateway *g, enum family family)
{
	const struct conf *conf = net->conf;
	struct gateway_status status;

	for (size_t i = 0; engine_gateway_status(net->engine, loop_now(net->loop), i, &status); i++)
		if (status.family == family && status.state != GATEWAY_UNUSED &&
		    strcmp(status.name, g->name) == 0)
			return true;
	for (size_t i = 0; i < conf->n_forwards; i++) {
		const struct conf_forward *f = &conf->forwards[i];

		if (f->enabled && f->gateway == g && (family == FAMILY_IPV4 ? f->ipv4 : f->ipv6))
			return true;
	}
	return false;
}

static bool
resolve(
    struct network *net, const struct conf_gateway *g, enum family family, struct route_way *out)
{
	struct route_wish wish = { .is_default = strcmp(g->name, "default") == 0 &&
		    !g->has_address && g->interface == NULL,
		.ipv6 = family == FAMILY_IPV6,
		.interface = g->interface,
		.has_address = g->has_address,
		.address = g->address,
		.has_source = g->has_source,
		.source = g->source };

	if (g->has_address && netaddr_is4(&g->address) != (family == FAMILY_IPV4))
		return false;
	return route_resolve(route_monitor_snapshot(net->monitor), &wish, out);
}

static bool
same_route(const struct route_way *a, const struct route_way *b)
{
	return a->ifindex == b->ifindex && netaddr_equal(&a->address, &b->address) &&
	    a->has_local == b->has_local && (!a->has_local || netaddr_equal(&a->local, &b->local));
}

static void
way_down(struct network *net, struct way *w)
{
	bool ours = w->udp != NULL;
	struct netaddr local;

	if (!w->told) {
		network_path_done(net, w->number);
		return;
	}
	if (!w->up)
		return;
	w->up = false;
	if (ours) {
		local = udp_local(w->udp);
		ours = route_is_own(route_monitor_snapshot(net->monitor), w->route.ifindex, &local);
	}
	/* The engine may be done with it at once, and `w` gone. */
	w->current = ours;
	engine_path_down(
	    net->engine, loop_now(net->loop), w->number, ours ? PATH_ABSENT : PATH_DEAD);
}

/* The engine's view of a way, whose strings must outlive the call. */
void
way_tell(struct network *net, struct way *w)
{
	struct path_info info = { .gateway = w->gateway,
		.family = w->family,
		.ifindex = w->route.ifindex,
		.interface = w->route.interface,
		.address = w->route.address,
		.local = udp_local(w->udp),
		.on_link = w->route.on_link,
		.has_link_address = w->has_link };

	memcpy(info.link_address, w->link, sizeof(info.link_address));
	w->up = w->told = true;
	if (engine_path_up(net->engine, loop_now(net->loop), w->number, &info) < 0)
		log_error("out of memory for the gateway of %s; trying again", w->route.interface);
}

struct way *
way_new(struct network *net, const char *gateway, enum family family, const struct route_way *route)
{
	static const struct udp_handler handler = { .datagram = got_datagram, .error = got_error };
	struct netaddr any = family == FAMILY_IPV4 ? netaddr_any4 : netaddr_any6;
	struct way *w = calloc(1, sizeof(*w));
	char text[NETADDR_STRLEN];
	int error;

	if (w == NULL || (w->gateway = strdup(gateway)) == NULL) {
		free(w);
		return NULL;
	}
	w->family = family;
	w->route = *route;
	w->number = net->last_number + 1;
	w->looked = w->replaced = -RETRY * 12; /* long ago */
	error = udp_open(net->loop, w->number, route->ifindex, route->interface, &route->address,
	    route->has_local ? &route->local : &any, &handler, net, &w->udp);
	if (error < 0) {
		if (error != net->open_error)
			log_warning("%s: no socket to gateway %s: %s; trying again every 5 s",
			    route->interface, netaddr_print(&route->address, text),
			    strerror(-error));
		net->open_error = error;
		way_free(w);
		network_again(net, loop_now(net->loop) + RETRY);
		return NULL;
	}
	net->open_error = 0;
	net->last_number++;
	w->current = true;
	w->next = net->ways;
	net->ways = w;
	return w;
}

void
way_make_current(struct network *net, struct way *w)
{
	struct way *each, *next;

	for (each = net->ways; each != NULL; each = next) {
		next = each->next;
		if (each == w || each->family != w->family ||
		    strcmp(each->gateway, w->gateway) != 0)
			continue;
		each->current = false;
		if (!each->told)
			network_path_done(net, each->number);
	}
}

static void
follow_gateway(struct network *net, const struct conf_gateway *g, enum family family)
{
	struct way *old = current_way(net, g->name, family), *w;
	struct route_way route = { .ifindex = 0 };
	bool wanted = gateway_used(net, g, family) || old != NULL;

	if (!wanted)
		return;
	if (!resolve(net, g, family, &route)) {
		if (old != NULL)
			way_down(net, old);
		engine_gateway_absent(
		    net->engine, loop_now(net->loop), g->name, family, TROUBLE_NONE);
		return;
	}
	if (old != NULL && same_route(&old->route, &route)) {
		box_look(net, old, g);
		return;
	}
	/* Its own address may have gone with the route: then there is nothing to release from. */
	if (old != NULL) {
		struct netaddr local = udp_local(old->udp);

		if (!route_is_own(route_monitor_snapshot(net->monitor), old->route.ifindex, &local))
			way_down(net, old);
	}
	w = way_new(net, g->name, family, &route);
	if (w == NULL)
		return;
	way_make_current(net, w);
	box_look(net, w, g);
}

static void
listen_to_announcements(struct network *net)
{
	unsigned interfaces[32];
	size_t n = 0;

	for (struct way *w = net->ways; w != NULL && n < 32; w = w->next) {
		bool known = !w->up;

		for (size_t i = 0; i < n; i++)
			known |= interfaces[i] == w->route.ifindex;
		if (!known)
			interfaces[n++] = w->route.ifindex;
	}
	announce_set_interfaces(net->announce, interfaces, n);
}

static void
follow(struct network *net)
{
	for (size_t i = 0; i < net->conf->n_gateways; i++)
		for (unsigned family = 0; family < FAMILIES; family++)
			follow_gateway(net, &net->conf->gateways[i], (enum family)family);
	listen_to_announcements(net);
}

/* Where no interface is named, the kernel knows the way to an address: a host route, a rule. */
static void
ask_ways(struct network *net)
{
	const struct conf *conf = net->conf;
	struct netaddr *addresses = reallocarray(NULL, conf->n_gateways + 1, sizeof(*addresses));
	size_t n = 0;
	int error = -ENOMEM;

	for (size_t i = 0; addresses != NULL && i < conf->n_gateways; i++)
		if (conf->gateways[i].has_address && conf->gateways[i].interface == NULL)
			addresses[n++] = conf->gateways[i].address;
	if (addresses != NULL)
		error = route_monitor_ask(net->monitor, addresses, n);
	if (error != 0)
		log_warning("cannot ask the kernel for the ways to named gateways: %s; going by "
			    "subnets and default routes",
		    strerror(-error));
	free(addresses);
}

static void
routes_changed(void *ctx, const struct route_snapshot *snapshot)
{
	struct network *net = ctx;

	(void)snapshot;
	if (net->monitor == NULL)
		return;
	for (struct way *w = net->ways; w != NULL; w = w->next)
		w->looks = 0;
	follow(net);
}

static void
retry_due(void *ctx)
{
	struct network *net = ctx;

	net->retry_at = MSTIME_NEVER;
	follow(net);
}

/* ---- life ---------------------------------------------------------------------------------------
 */

struct network *
network_new(struct loop *loop, struct engine *engine, struct metrics *metrics)
{
	struct network *net = calloc(1, sizeof(*net));

	if (net == NULL)
		return NULL;
	net->loop = loop;
	net->engine = engine;
	net->metrics = metrics;
	net->retry_at = MSTIME_NEVER;
	net->retry = loop_timer_new(loop, retry_due, net);
	net->announce = announce_new(loop, got_announcement, net);
	if (net->retry == NULL || net->announce == NULL) {
		network_free(net);
		errno = ENOMEM;
		return NULL;
	}
	return net;
}

void
network_configure(struct network *net, const struct conf *conf)
{
	struct way *next;

	net->conf = conf;
	/* Some may be for gateways that are gone; the others are made anew. */
	for (struct way *w = net->ways; w != NULL; w = next) {
		next = w->next;
		if (!w->told)
			network_path_done(net, w->number);
	}
	if (net->monitor == NULL)
		return;
	ask_ways(net);
	follow(net);
}

int
network_start(struct network *net)
{
	int error = route_monitor_new(net->loop, routes_changed, net, &net->monitor);

	if (error != 0)
		return error;
	ask_ways(net);
	follow(net);
	return 0;
}

void
network_free(struct network *net)
{
	if (net == NULL)
		return;
	route_monitor_free(net->monitor);
	announce_free(net->announce);
	neighbours_close(net->neighbours);
	loop_timer_free(net->retry);
	while (net->ways != NULL) {
		struct way *w = net->ways;

		net->ways = w->next;
		way_free(w);
	}
	free(net);
}
