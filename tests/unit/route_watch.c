/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/loop.h"
#include "os/route.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * Prints where gateways are found now, and again after every change: one line for each wish, then
 * how many snapshots there were. For netns-route.sh.
 *
 *     route_watch WISH…      WISH: default4, default6, auto4, auto6 or ADDRESS; %NAME names the
 * interface
 */
struct watcher {
	struct loop *loop;
	struct route_monitor *monitor;
	char **wishes;
	unsigned snapshots;
};

static void
print_way(const struct route_snapshot *s, char *text)
{
	char copy[128], address[NETADDR_STRLEN], local[NETADDR_STRLEN];
	struct route_wish wish = { 0 };
	struct route_way way;
	char *at;

	snprintf(copy, sizeof copy, "%s", text);
	at = strchr(copy, '%');
	if (at != NULL) {
		*at = '\0';
		wish.interface = at + 1;
	}
	if (strcmp(copy, "default4") == 0 || strcmp(copy, "default6") == 0) {
		wish.is_default = true;
		wish.ipv6 = copy[7] == '6';
	} else if (strcmp(copy, "auto4") == 0 || strcmp(copy, "auto6") == 0) {
		wish.ipv6 = copy[4] == '6';
	} else if (netaddr_parse(copy, &wish.address)) {
		wish.has_address = true;
		wish.ipv6 = !netaddr_is4(&wish.address);
	} else {
		printf("%s bad\n", text);
		return;
	}
	if (!route_resolve(s, &wish, &way)) {
		printf("%s none\n", text);
		return;
	}
	printf("%s %s dev %s src %s%s\n", text, netaddr_print(&way.address, address), way.interface,
	    way.has_local ? netaddr_print(&way.local, local) : "any", way.on_link ? " onlink" : "");
}

static void
changed(void *ctx, const struct route_snapshot *s)
{
	struct watcher *w = ctx;

	w->snapshots++;
	for (char **wish = w->wishes; *wish != NULL; wish++)
		print_way(s, *wish);
	printf("snapshot %u\n", w->snapshots);
	fflush(stdout);
}

/* The kernel, for addresses without an interface. */
static int
ask(struct watcher *w)
{
	struct netaddr addresses[16];
	size_t n = 0;

	for (char **wish = w->wishes; *wish != NULL && n < 16; wish++)
		if (netaddr_parse(*wish, &addresses[n]))
			n++;
	return route_monitor_ask(w->monitor, addresses, n);
}

static void
stop(void *ctx, int number)
{
	(void)number;
	loop_stop(ctx);
}

int
main(int argc, char **argv)
{
	struct watcher w = { .wishes = argv + 1 };
	int error;

	(void)argc;
	w.loop = loop_new();
	if (w.loop == NULL || !loop_signal(w.loop, SIGTERM, stop, w.loop))
		return 1;
	error = route_monitor_new(w.loop, changed, &w, &w.monitor);
	if (error != 0) {
		fprintf(stderr, "route_monitor_new: %s\n", strerror(-error));
		return 1;
	}
	error = ask(&w);
	if (error != 0) {
		fprintf(stderr, "route_monitor_ask: %s\n", strerror(-error));
		return 1;
	}
	changed(&w, route_monitor_snapshot(w.monitor));
	error = loop_run(w.loop);
	route_monitor_free(w.monitor);
	loop_free(w.loop);
	return error != 0;
}
