/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/network_internal.h"

#include "daemon/conf.h"
#include "os/log.h"
#include "os/loop.h"
#include "os/neighbour.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * An address of a home network says little: 192.168.1.1 is another box in the next café. Ways to
 * neighbours are told apart by the box's link-layer address, too.
 */

/* The box behind an address is looked for after 5, 10, 20 … ms, at last every 30 s. */
#define LOOK_FIRST 5
#define LOOK_LAST (30 * MSTIME_SECOND)
/* In vain so often, 155 ms, it is asked all the same, unless it must be a certain one. */
#define LOOKS_ENOUGH 5
/* After an answer it is looked whether the box is still the same one, but not more often. */
#define LOOK_EVERY MSTIME_SECOND
/* Two boxes that quarrel about one address: each is believed for so long. */
#define BOX_STAYS (30 * MSTIME_SECOND)

/* As neighbours_find(): -ENOENT is worth another try. */
static int
look(struct network *net, const struct way *w, uint8_t link[6])
{
	const struct route_link *l =
	    route_link_by_index(route_monitor_snapshot(net->monitor), w->route.ifindex);
	int error;

	if (!w->route.on_link || l == NULL || !l->broadcast)
		return -ENOTSUP;
	if (net->neighbours == NULL) {
		error = neighbours_open(&net->neighbours);
		if (error < 0)
			return error;
	}
	return neighbours_find(net->neighbours, w->route.ifindex, &w->route.address, link);
}

bool
box_is_wished(struct network *net, const struct way *w)
{
	uint8_t link[6];
	int error = look(net, w, link);

	if (error == 0 && memcmp(link, w->wish, sizeof(link)) == 0)
		return true;
	if (error == -ENOENT)
		(void)neighbour_provoke(w->route.ifindex, w->route.interface, &w->route.address);
	network_again(net, loop_now(net->loop));
	return false;
}

bool
box_is_same(struct network *net, struct way *w)
{
	mstime now = loop_now(net->loop);
	uint8_t link[6];

	if (now - w->looked < LOOK_EVERY)
		return true;
	w->looked = now;
	if (look(net, w, link) != 0 || (w->has_link && memcmp(link, w->link, sizeof(link)) == 0))
		return true;
	network_again(net, now);
	return !w->has_link || now - w->replaced < BOX_STAYS;
}

/* Another box has taken the place of the one that the engine knows: what was granted there is out
 * of reach, and must not be asked for, or deleted, here. NULL: not now. */
static struct way *
way_replace(struct network *net, struct way *w)
{
	mstime now = loop_now(net->loop);
	char text[NETADDR_STRLEN];
	struct way *made;

	if (now - w->replaced < BOX_STAYS) {
		network_again(net, w->replaced + BOX_STAYS);
		return NULL;
	}
	made = way_new(net, w->gateway, w->family, &w->route);
	if (made == NULL)
		return NULL;
	log_info("%s: another box has the address of gateway %s now: starting anew with it",
	    w->route.interface, netaddr_print(&w->route.address, text));
	made->replaced = now;
	w->current = w->up = false;
	engine_path_down(net->engine, now, w->number, PATH_DEAD);
	way_make_current(net, made);
	return made;
}

static void
complain(struct way *w, int error, const uint8_t link[6])
{
	const uint8_t *a = w->wish;
	char address[NETADDR_STRLEN], who[64];

	if (w->complained)
		return;
	w->complained = true;
	if (error == 0)
		snprintf(who, sizeof(who), "is %02x:%02x:%02x:%02x:%02x:%02x", link[0], link[1],
		    link[2], link[3], link[4], link[5]);
	else
		snprintf(who, sizeof(who), "%s",
		    error == -ENOENT ? "does not answer"
				     : "has no link address that this host can see");
	log_info("gateway %s: %s on %s %s, and link-address wants "
		 "%02x:%02x:%02x:%02x:%02x:%02x: nothing is asked of it",
	    w->gateway, netaddr_print(&w->route.address, address), w->route.interface, who, a[0],
	    a[1], a[2], a[3], a[4], a[5]);
}

/* Not to be told to the engine, now or ever: looks again later. */
static void
look_later(struct network *net, struct way *w)
{
	mstime wait = w->looks < 14 ? (mstime)LOOK_FIRST << w->looks : LOOK_LAST;

	w->looks++;
	network_again(net, loop_now(net->loop) + (wait < LOOK_LAST ? wait : LOOK_LAST));
}

void
box_look(struct network *net, struct way *w, const struct conf_gateway *g)
{
	uint8_t link[6] = { 0 };
	int error = look(net, w, link);
	bool news = error == 0 && (!w->has_link || memcmp(link, w->link, sizeof(link)) != 0);

	if (news && w->told && w->has_link) {
		w = way_replace(net, w);
		if (w == NULL)
			return;
	}
	if (news) {
		w->has_link = true;
		memcpy(w->link, link, sizeof(link));
		w->complained = false;
	}
	w->has_wish = g->has_link_address;
	memcpy(w->wish, g->link_address, sizeof(w->wish));
	/* One that must be a certain box may be switched on at any time. */
	if (error == -ENOENT && (w->has_wish || (!w->up && w->looks < LOOKS_ENOUGH)) &&
	    neighbour_provoke(w->route.ifindex, w->route.interface, &w->route.address) < 0 &&
	    w->looks < LOOKS_ENOUGH)
		w->looks = LOOKS_ENOUGH;
	if (w->has_wish && (error != 0 || memcmp(link, w->wish, sizeof(link)) != 0)) {
		if (error == 0 && w->up) {
			w->current = w->up = false;
			network_again(net, loop_now(net->loop));
			engine_path_down(net->engine, loop_now(net->loop), w->number, PATH_DEAD);
			return;
		}
		if (!w->up && (error != -ENOENT || w->looks >= LOOKS_ENOUGH)) {
			engine_gateway_absent(net->engine, loop_now(net->loop), w->gateway,
			    w->family, error == 0 ? TROUBLE_OTHER_BOX : TROUBLE_NO_BOX);
			complain(w, error, link);
		}
		look_later(net, w);
	} else if (!w->has_wish && error == -ENOENT && !w->up && w->looks < LOOKS_ENOUGH) {
		look_later(net, w);
	} else if (!w->up || news) {
		w->looks = 0;
		way_tell(net, w);
	}
}
