/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "base/netaddr.h"
#include "ctl/ctl.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Who listens on this host: /proc/net, as far as it can be read. */

#define TCP_LISTEN 0x0a

/* Bound sockets of one protocol: address and port. */
struct listeners {
	struct {
		struct netaddr address;
		uint16_t port;
	} * list;
	size_t n, size;
	bool known; /* the table could be read */
};

static void
add_listener(struct listeners *l, const struct netaddr *address, uint16_t port)
{
	if (l->n == l->size) {
		size_t size = l->size == 0 ? 64 : 2 * l->size;
		void *grown = realloc(l->list, size * sizeof(*l->list));

		if (grown == NULL)
			return;
		l->list = grown;
		l->size = size;
	}
	l->list[l->n].address = *address;
	l->list[l->n++].port = port;
}

/* "0100007F" or four such words: octets of memory, in words of this machine's order. */
static bool
parse_address(const char *hex, size_t digits, struct netaddr *out)
{
	uint32_t words[4];
	size_t n = digits / 8;

	if (digits != 8 && digits != 32)
		return false;
	for (size_t i = 0; i < n; i++) {
		char word[9] = "";

		memcpy(word, hex + 8 * i, 8);
		words[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	*out =
	    n == 1 ? netaddr_from4((const uint8_t *)words) : netaddr_from6((const uint8_t *)words);
	return true;
}

static void
parse_line(const char *line, bool tcp, struct listeners *l)
{
	char hex[33];
	unsigned port, remote, state;
	struct netaddr address;

	if (sscanf(line, "%*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%x %x", hex, &port, &remote,
		&state) != 4)
		return;
	/* A UDP socket that is connected to somebody listens to nobody else. */
	if ((tcp ? state != TCP_LISTEN : remote != 0) || port > UINT16_MAX)
		return;
	if (parse_address(hex, strlen(hex), &address))
		add_listener(l, &address, (uint16_t)port);
}

static void
read_table(const char *path, bool tcp, struct listeners *l)
{
	FILE *f = fopen(path, "re");
	char line[512];

	if (f == NULL)
		return;
	l->known = true;
	while (fgets(line, sizeof(line), f) != NULL)
		parse_line(line, tcp, l);
	fclose(f);
}

static bool
listens(const struct listeners *l, const struct netaddr *address, unsigned port)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct netaddr *a = &l->list[i].address;

		/* :: takes IPv4 as well, unless it is told not to, which cannot be seen here. */
		if (l->list[i].port == port &&
		    (netaddr_equal(a, address) ||
			(netaddr_is_any(a) && (!netaddr_is4(a) || netaddr_is4(address)))))
			return true;
	}
	return false;
}

static bool
is_own(const struct ifaddrs *all, const struct netaddr *address)
{
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct netaddr a;

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET) {
			const struct sockaddr_in *in = (const void *)i->ifa_addr;

			a = netaddr_from4((const uint8_t *)&in->sin_addr);
		} else if (i->ifa_addr->sa_family == AF_INET6) {
			const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

			a = netaddr_from6(in6->sin6_addr.s6_addr);
		} else {
			continue;
		}
		if (netaddr_equal(&a, address))
			return true;
	}
	return false;
}

static void
warn_row(const json_t *row, const struct listeners *l, const struct ifaddrs *all, FILE *to)
{
	const char *text = row_text(row, "internal_address"), *state = row_text(row, "state");
	const char *forward = row_text(row, "forward"), *protocol = row_text(row, "protocol");
	struct netaddr address;
	long first, ports = 1, missing = 0, from = 0;

	if (text == NULL || state == NULL || strcmp(state, "active") != 0 ||
	    !row_number(row, "internal_port", &first) || !netaddr_parse(text, &address) ||
	    !is_own(all, &address) || !l->known)
		return;
	(void)row_number(row, "ports", &ports);
	for (long port = first; port <= first + ports; port++) {
		if (port < first + ports && !listens(l, &address, (unsigned)port)) {
			if (missing++ == 0)
				from = port;
			continue;
		}
		if (missing > 1)
			fprintf(to,
			    "%s: nothing on this host listens on %s ports %ld-%ld: start the "
			    "program that shall be reached\n",
			    forward, protocol, from, from + missing - 1);
		else if (missing == 1)
			fprintf(to,
			    "%s: nothing on this host listens on %s port %ld: start the program "
			    "that shall be reached\n",
			    forward, protocol, from);
		missing = 0;
	}
}

void
listen_warn(const json_t *mappings, FILE *to)
{
	struct listeners tcp = { .n = 0 }, udp = { .n = 0 };
	struct ifaddrs *all = NULL;
	const json_t *row;
	size_t i;

	if (getifaddrs(&all) != 0)
		return;
	read_table("/proc/net/tcp", true, &tcp);
	read_table("/proc/net/tcp6", true, &tcp);
	read_table("/proc/net/udp", false, &udp);
	read_table("/proc/net/udp6", false, &udp);
	json_array_foreach(mappings, i, row)
	{
		const char *protocol = row_text(row, "protocol");

		warn_row(
		    row, protocol != NULL && strcmp(protocol, "udp") == 0 ? &udp : &tcp, all, to);
	}
	freeifaddrs(all);
	free(tcp.list);
	free(udp.list);
}
