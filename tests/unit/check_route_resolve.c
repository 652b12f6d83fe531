/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/route.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 16

/*
 * Networks as text, the way ip(8) would show them; ways as text, too. A network is a list of lines
 *
 *     link NAME [down|lo|p2p] [kind KIND]                 indexes count from 1
 *     addr ADDRESS/BITS dev N [peer ADDRESS] [deprecated] [temporary] [tentative]
 *     default4|default6 [via ADDRESS] dev N [table T] [metric M] [src ADDRESS]
 *     answer ADDRESS [via ADDRESS] dev N [src ADDRESS]    what the kernel says; dev 0: no way
 */
static struct route_link links[ROOM];
static struct route_address addresses[ROOM];
static struct route_default defaults[ROOM];
static struct route_answer answers[ROOM];
static struct route_snapshot snap;

static struct netaddr
addr(const char *text)
{
	struct netaddr a;

	ck_assert_msg(text != NULL && netaddr_parse(text, &a), "'%s' in the test itself", text);
	return a;
}

static void
read_link(char **word)
{
	struct route_link *l = &links[snap.n_links++];

	*l =
	    (struct route_link){ .ifindex = (unsigned)snap.n_links, .up = true, .broadcast = true };
	snprintf(l->name, sizeof l->name, "%s", *word++);
	for (; *word != NULL; word++) {
		if (strcmp(*word, "down") == 0)
			l->up = false;
		else if (strcmp(*word, "lo") == 0)
			l->loopback = true, l->broadcast = false;
		else if (strcmp(*word, "p2p") == 0)
			l->point_to_point = true, l->broadcast = false;
		else if (strcmp(*word, "kind") == 0)
			snprintf(l->kind, sizeof l->kind, "%s", *++word);
		else
			ck_abort_msg("'%s' in the test itself", *word);
	}
	l->bridge = strcmp(l->kind, "bridge") == 0;
}

static void
read_address(char **word)
{
	struct route_address *a = &addresses[snap.n_addresses++];
	char *slash = strchr(*word, '/');

	ck_assert_ptr_nonnull(slash);
	*slash = '\0';
	*a = (struct route_address){ .addr = addr(*word++), .bits = (uint8_t)atoi(slash + 1) };
	for (; *word != NULL; word++) {
		if (strcmp(*word, "dev") == 0)
			a->ifindex = (unsigned)atoi(*++word);
		else if (strcmp(*word, "peer") == 0)
			a->has_peer = true, a->peer = addr(*++word);
		else if (strcmp(*word, "deprecated") == 0)
			a->deprecated = true;
		else if (strcmp(*word, "temporary") == 0)
			a->temporary = true;
		else if (strcmp(*word, "tentative") == 0)
			a->tentative = true;
		else
			ck_abort_msg("'%s' in the test itself", *word);
	}
}

static void
read_default(char **word, bool ipv6)
{
	struct route_default *d = &defaults[snap.n_defaults++];

	*d = (struct route_default){ .ipv6 = ipv6, .table = 254 };
	for (; *word != NULL; word += 2) {
		if (strcmp(word[0], "via") == 0)
			d->has_gateway = true, d->gateway = addr(word[1]);
		else if (strcmp(word[0], "dev") == 0)
			d->ifindex = (unsigned)atoi(word[1]);
		else if (strcmp(word[0], "table") == 0)
			d->table = (uint32_t)atoi(word[1]);
		else if (strcmp(word[0], "metric") == 0)
			d->metric = (uint32_t)atoi(word[1]);
		else if (strcmp(word[0], "src") == 0)
			d->has_source = true, d->source = addr(word[1]);
		else
			ck_abort_msg("'%s' in the test itself", word[0]);
	}
}

/* answer ADDRESS, then as a default route. */
static void
read_answer(char **word)
{
	struct route_answer *a = &answers[snap.n_answers++];
	size_t n = snap.n_defaults;

	a->address = addr(word[0]);
	read_default(word + 1, !netaddr_is4(&a->address));
	a->route = defaults[n];
	snap.n_defaults = n;
}

static void
read_network(const char *text)
{
	char *copy = strdup(text), *rest, *line;

	snap = (struct route_snapshot){
		.links = links, .addresses = addresses, .defaults = defaults, .answers = answers
	};
	for (line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char *words[ROOM + 1] = { NULL }, *within, *w = strtok_r(line, " ", &within);

		for (int i = 0; w != NULL && i < ROOM; w = strtok_r(NULL, " ", &within))
			words[i++] = w;
		if (words[0] == NULL)
			continue;
		if (strcmp(words[0], "link") == 0)
			read_link(words + 1);
		else if (strcmp(words[0], "addr") == 0)
			read_address(words + 1);
		else if (strncmp(words[0], "default", 7) == 0)
			read_default(words + 1, words[0][7] == '6');
		else if (strcmp(words[0], "answer") == 0)
			read_answer(words + 1);
		else
			ck_abort_msg("'%s' in the test itself", words[0]);
	}
	free(copy);
	route_snapshot_sort(&snap);
}

/* WISH: default4, default6, auto4, auto6 or an address; then "dev NAME", "src ADDRESS". */
static const char *
resolve(const char *text)
{
	static char answer[200];
	char copy[200], a[NETADDR_STRLEN], l[NETADDR_STRLEN], *rest, *w;
	struct route_wish wish = { 0 };
	struct route_way way;

	snprintf(copy, sizeof copy, "%s", text);
	w = strtok_r(copy, " ", &rest);
	if (strncmp(w, "default", 7) == 0) {
		wish.is_default = true;
		wish.ipv6 = w[7] == '6';
	} else if (strncmp(w, "auto", 4) == 0) {
		wish.ipv6 = w[4] == '6';
	} else {
		wish.has_address = true;
		wish.address = addr(w);
		wish.ipv6 = !netaddr_is4(&wish.address);
	}
	while ((w = strtok_r(NULL, " ", &rest)) != NULL) {
		if (strcmp(w, "dev") == 0) {
			wish.interface = strtok_r(NULL, " ", &rest);
		} else {
			wish.has_source = true;
			wish.source = addr(strtok_r(NULL, " ", &rest));
		}
	}
	if (!route_resolve(&snap, &wish, &way))
		return "none";
	ck_assert_uint_eq(route_link_by_name(&snap, way.interface)->ifindex, way.ifindex);
	snprintf(answer, sizeof answer, "%s dev %s src %s%s", netaddr_print(&way.address, a),
	    way.interface, way.has_local ? netaddr_print(&way.local, l) : "any",
	    way.on_link ? " onlink" : "");
	return answer;
}

#define HOME                                                       \
	"link lo lo\naddr 127.0.0.1/8 dev 1\naddr ::1/128 dev 1\n" \
	"link eth0\naddr 192.168.1.20/24 dev 2\naddr fe80::2/64 dev 2\n"

static const struct {
	const char *network, *wish, *way;
} cases[] = {
	/* "default", IPv4 */
	{ HOME, "default4", "none" },
	{ HOME "default4 via 192.168.1.1 dev 2", "default4",
	    "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2", "default6", "none" },
	{ HOME "default4 via 192.168.1.1 dev 2 metric 100\n"
	       "link wlan0\naddr 10.0.0.9/24 dev 3\ndefault4 via 10.0.0.1 dev 3 metric 600",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2 metric 700\n"
	       "link wlan0\naddr 10.0.0.9/24 dev 3\ndefault4 via 10.0.0.1 dev 3 metric 600",
	    "default4", "10.0.0.1 dev wlan0 src 10.0.0.9 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2 metric 700\n"
	       "link wlan0 down\naddr 10.0.0.9/24 dev 3\ndefault4 via 10.0.0.1 dev 3 metric 600",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2", "default4 dev wlan0", "none" },
	{ HOME "default4 via 192.168.1.1 dev 2 table 201", "default4", "none" },
	{ HOME "default4 via 192.168.1.1 dev 9", "default4", "none" },
	{ HOME "addr 192.168.1.30/24 dev 2\ndefault4 via 192.168.1.1 dev 2 src 192.168.1.30",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.30 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2 src 192.168.1.99", /* not there (any more) */
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ "link eth0\naddr 10.9.0.4/24 dev 1\naddr 192.168.1.20/24 dev 1\n"
	  "default4 via 192.168.1.1 dev 1",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ "link eth0\naddr 192.168.1.19/24 dev 1 deprecated\naddr 192.168.1.20/24 dev 1\n"
	  "default4 via 192.168.1.1 dev 1",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ "link eth0\naddr 169.254.3.4/16 dev 1\naddr 10.0.0.4/32 dev 1\n" /* a hosted machine */
	  "default4 via 172.31.1.1 dev 1",
	    "default4", "172.31.1.1 dev eth0 src 10.0.0.4 onlink" },
	{ "link lo lo\naddr 10.0.0.4/32 dev 1\nlink eth0\n" /* unnumbered */
	  "default4 via 172.31.1.1 dev 2",
	    "default4", "172.31.1.1 dev eth0 src any onlink" },

	/* What is never "default" */
	{ HOME "link tun0 p2p kind tun\naddr 10.8.0.2/24 dev 3\ndefault4 via 10.8.0.1 dev 3\n"
	       "default4 via 192.168.1.1 dev 2 metric 9",
	    "default4", "192.168.1.1 dev eth0 src 192.168.1.20 onlink" },
	{ HOME "link tap0 kind tun\naddr 10.8.0.2/24 dev 3\ndefault4 via 10.8.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link wg0 kind wireguard\naddr 10.8.0.2/24 dev 3\ndefault4 via 10.8.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link ppp0 p2p\naddr 10.8.0.2/32 dev 3 peer 10.8.0.1\ndefault4 via 10.8.0.1 dev 3",
	    "default4", "none" },
	{ HOME "default4 dev 2", "default4", "none" },
	{ HOME "link docker0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME
	    "link br-0a1b2c kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link virbr0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link lxcbr0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link lxdbr0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link cni0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link podman1 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "none" },
	{ HOME "link br0 kind bridge\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "172.17.0.1 dev br0 src 172.17.0.2 onlink" },
	{ HOME "link docker0 kind veth\naddr 172.17.0.2/16 dev 3\ndefault4 via 172.17.0.1 dev 3",
	    "default4", "172.17.0.1 dev docker0 src 172.17.0.2 onlink" },
	{ HOME "link clat0\naddr 192.0.0.1/29 dev 3\ndefault4 via 192.0.0.7 dev 3", "default4",
	    "none" },
	{ HOME "link net0\naddr 192.0.0.9/24 dev 3\ndefault4 via 192.0.0.8 dev 3", "default4",
	    "192.0.0.8 dev net0 src 192.0.0.9 onlink" },
	{ HOME "default4 via fe80::1 dev 2", "default4", "none" }, /* */

	/* "default", IPv6: P-66, Q-096, Q-107 */
	{ HOME "addr 2001:db8::2/64 dev 2\ndefault6 via fe80::1 dev 2", "default6",
	    "fe80::1 dev eth0 src 2001:db8::2 onlink" },
	{ HOME "default6 via fe80::1 dev 2", "default6", "none" },
	{ HOME "addr fd00::2/64 dev 2\naddr 2001:db8::7/64 dev 2 temporary\n"
	       "addr 2001:db8::6/64 dev 2 deprecated\naddr 2001:db8::5/64 dev 2 tentative\n"
	       "addr 2001:db8::2/64 dev 2\naddr 2001:db8::3/64 dev 2\ndefault6 via fe80::1 dev 2",
	    "default6", "fe80::1 dev eth0 src 2001:db8::2 onlink" },
	{ HOME "addr 2001:db8::7/64 dev 2 temporary\naddr 2001:db8::6/64 dev 2 deprecated\n"
	       "addr 2001:db8::5/64 dev 2 tentative\ndefault6 via fe80::1 dev 2",
	    "default6", "none" },
	{ HOME "addr fd00::2/64 dev 2\ndefault6 via fe80::1 dev 2", "default6", /* NAT66 */
	    "fe80::1 dev eth0 src fd00::2 onlink" },
	{ HOME "addr fd00::2/64 dev 2\naddr 2001:db8::2/64 dev 2\ndefault6 via fd00::1 dev 2",
	    "default6", "fd00::1 dev eth0 src 2001:db8::2 onlink" },
	{ HOME "addr 2001:db8::2/64 dev 2\ndefault6 via fe80::1 dev 2 src 2001:db8::7\n"
	       "addr 2001:db8::7/64 dev 2 temporary",
	    "default6", "fe80::1 dev eth0 src 2001:db8::2 onlink" },
	{ "link wg0\naddr 2001:db8::2/128 dev 1\ndefault6 via fe80::1 dev 1", "default6", "none" },

	/* The next hop via an interface */
	{ HOME "link wlan0\naddr 10.0.0.9/24 dev 3\ndefault4 via 10.0.0.1 dev 3 table 100\n"
	       "default4 via 192.168.1.1 dev 2",
	    "auto4 dev wlan0", "10.0.0.1 dev wlan0 src 10.0.0.9 onlink" },
	{ HOME "link tun0 p2p kind tun\naddr 10.8.0.2/24 dev 3\ndefault4 via 10.8.0.1 dev 3",
	    "auto4 dev tun0", "10.8.0.1 dev tun0 src 10.8.0.2 onlink" },
	{ HOME "link ppp0 p2p\naddr 10.8.0.2/32 dev 3 peer 10.64.64.64\ndefault4 dev 3",
	    "auto4 dev ppp0", "10.64.64.64 dev ppp0 src 10.8.0.2 onlink" }, /* */
	{ HOME "link ppp0 p2p down\naddr 10.8.0.2/32 dev 3 peer 10.64.64.64\ndefault4 dev 3",
	    "auto4 dev ppp0", "none" },
	{ HOME "link wg0 p2p kind wireguard\naddr 10.2.0.2/32 dev 3\ndefault4 dev 3",
	    "auto4 dev wg0", "none" },
	{ HOME, "auto4 dev nosuch", "none" },
	{ HOME "link tun0 p2p kind tun\naddr 10.8.0.2/24 dev 3\ndefault4 via 10.8.0.1 dev 3",
	    "auto4", "10.8.0.1 dev tun0 src 10.8.0.2 onlink" },

	/* A gateway by its address, via an interface */
	{ HOME "link wg0 p2p kind wireguard\naddr 10.2.0.2/32 dev 3", "10.2.0.1 dev wg0",
	    "10.2.0.1 dev wg0 src 10.2.0.2 onlink" },
	{ HOME "link vpn0\naddr 10.2.0.2/32 dev 3", "10.2.0.1 dev vpn0",
	    "10.2.0.1 dev vpn0 src 10.2.0.2" },
	{ HOME "link wg0 p2p down\naddr 10.2.0.2/32 dev 3", "10.2.0.1 dev wg0", "none" },
	{ HOME "link wg0 p2p", "10.2.0.1 dev wg0", "none" }, /* no address yet */
	{ HOME, "10.2.0.1 dev nosuch", "none" },
	{ HOME "addr 2001:db8::2/64 dev 2", "fe80::1 dev eth0",
	    "fe80::1 dev eth0 src 2001:db8::2 onlink" }, /* */
	{ HOME "addr 10.5.0.2/24 dev 2", "10.5.0.1 dev eth0",
	    "10.5.0.1 dev eth0 src 10.5.0.2 onlink" },

	/* A gateway by its address alone */
	{ HOME "link eth1\naddr 192.168.1.77/28 dev 3", "192.168.1.65",
	    "192.168.1.65 dev eth1 src 192.168.1.77 onlink" },
	{ "link eth1\naddr 192.168.1.77/28 dev 1\nlink eth0\naddr 192.168.1.20/24 dev 2",
	    "192.168.1.65", "192.168.1.65 dev eth1 src 192.168.1.77 onlink" },
	{ HOME "link eth1 down\naddr 192.168.1.77/28 dev 3", "192.168.1.65",
	    "192.168.1.65 dev eth0 src 192.168.1.20 onlink" },
	{ HOME "link ppp0 p2p\naddr 192.168.1.30/32 dev 3 peer 192.168.1.31", "192.168.1.31",
	    "192.168.1.31 dev ppp0 src 192.168.1.30 onlink" },
	{ HOME, "127.0.0.1", "127.0.0.1 dev lo src 127.0.0.1 onlink" },
	{ HOME "addr 10.255.0.1/32 dev 1", "127.53.0.1", "127.53.0.1 dev lo src 127.0.0.1 onlink" },
	{ HOME "addr 10.99.0.1/24 dev 1", "10.99.0.1", "10.99.0.1 dev lo src 10.99.0.1 onlink" },
	{ HOME, "::1", "::1 dev lo src ::1 onlink" },
	{ HOME, "10.2.0.1", "none" },
	{ HOME "default4 via 192.168.1.1 dev 2", "10.2.0.1", "10.2.0.1 dev eth0 src 192.168.1.20" },
	{ HOME "link tun0 p2p kind tun\naddr 10.8.0.2/24 dev 3\ndefault4 dev 3\n"
	       "default4 via 192.168.1.1 dev 2 metric 9",
	    "10.2.0.1", "10.2.0.1 dev tun0 src 10.8.0.2 onlink" },
	{ HOME "addr 2001:db8::2/64 dev 2\ndefault6 via fe80::1 dev 2", "2001:db8:5::1",
	    "2001:db8:5::1 dev eth0 src 2001:db8::2" },

	/* The same, and the kernel was asked: a host route, a rule (wg-quick), no way at all */
	{ HOME "link wg0 p2p\naddr 10.2.0.2/32 dev 3\ndefault4 via 192.168.1.1 dev 2\n"
	       "answer 10.2.0.1 dev 3 src 10.2.0.2",
	    "10.2.0.1", "10.2.0.1 dev wg0 src 10.2.0.2 onlink" },
	{ HOME "link wg0 p2p\naddr 10.2.0.2/32 dev 3\ndefault4 via 192.168.1.1 dev 2\n"
	       "answer 10.2.0.1 dev 3 src 10.2.0.2",
	    "10.2.0.9", "10.2.0.9 dev eth0 src 192.168.1.20" },
	{ HOME "link wg0 p2p\naddr 10.2.0.2/32 dev 3\nanswer 10.2.0.1 dev 3 src 10.2.0.2",
	    "10.2.0.1 dev eth0", "10.2.0.1 dev eth0 src 192.168.1.20" },
	{ HOME "addr 192.168.1.30/24 dev 2\ndefault4 via 192.168.1.1 dev 2\n"
	       "answer 10.2.0.1 via 192.168.1.9 dev 2 src 192.168.1.30",
	    "10.2.0.1", "10.2.0.1 dev eth0 src 192.168.1.30" },
	{ HOME "answer 127.0.0.1 dev 0", "127.0.0.1", "127.0.0.1 dev lo src 127.0.0.1 onlink" },
	{ HOME "link wg0 p2p down\ndefault4 via 192.168.1.1 dev 2\nanswer 10.2.0.1 dev 3",
	    "10.2.0.1", "10.2.0.1 dev eth0 src 192.168.1.20" },
	{ HOME "addr 2001:db8::2/64 dev 2\naddr 2001:db8::7/64 dev 2 temporary\n"
	       "answer 2001:db8:5::1 via fe80::1 dev 2 src 2001:db8::7",
	    "2001:db8:5::1", "2001:db8:5::1 dev eth0 src 2001:db8::2" },

	/* A given source must be ours, and usable */
	{ HOME "addr 192.168.1.30/24 dev 2\ndefault4 via 192.168.1.1 dev 2",
	    "default4 src 192.168.1.30", "192.168.1.1 dev eth0 src 192.168.1.30 onlink" },
	{ HOME "default4 via 192.168.1.1 dev 2", "default4 src 192.168.1.30", "none" },
	{ HOME "addr 2001:db8::7/64 dev 2 temporary\ndefault6 via fe80::1 dev 2",
	    "default6 src 2001:db8::7", "fe80::1 dev eth0 src 2001:db8::7 onlink" },
	{ HOME "addr 2001:db8::7/64 dev 2 tentative\ndefault6 via fe80::1 dev 2",
	    "default6 src 2001:db8::7", "none" },
	{ HOME "addr 2001:db8::7/64 dev 2\ndefault4 via 192.168.1.1 dev 2",
	    "default4 src 2001:db8::7", "none" },
};

START_TEST(ways)
{
	read_network(cases[_i].network);
	ck_assert_msg(strcmp(resolve(cases[_i].wish), cases[_i].way) == 0,
	    "%s in\n%s\nis      %s\nwanted: %s", cases[_i].wish, cases[_i].network,
	    resolve(cases[_i].wish), cases[_i].way);
}
END_TEST

/* Nothing is written when there is no way. */
START_TEST(output_only_on_success)
{
	struct route_wish wish = { .is_default = true };
	struct route_way way, before;

	memset(&way, 0x5a, sizeof way);
	memset(&before, 0x5a, sizeof before);
	read_network(HOME);
	ck_assert(!route_resolve(&snap, &wish, &way));
	ck_assert_mem_eq(&way, &before, sizeof way);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("route_resolve");
	TCase *tc = tcase_create("route_resolve");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, ways, 0, (int)(sizeof cases / sizeof cases[0]));
	tcase_add_test(tc, output_only_on_success);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
