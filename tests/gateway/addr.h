/* SPDX-License-Identifier: ISC */
#ifndef FGW_ADDR_H
#define FGW_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Address and port. IPv4 is kept in its v4-mapped form, as PCP writes it. */
struct addr {
	uint8_t ip[16];
	uint16_t port;
	uint32_t scope; /* interface of an IPv6 link-local address, else 0 */
};

enum { ADDR_TEXT = 96 };

/* "192.0.2.1", "192.0.2.1:5351", "fe80::1%eth0", "[fe80::1%eth0]:5351". */
bool addr_parse(const char *text, uint16_t default_port, struct addr *out)
    __attribute__((warn_unused_result));
/* Writes at most ADDR_TEXT octets; returns `out`. */
char *addr_format(const struct addr *, bool with_port, char *out);
bool addr_is_v4(const struct addr *);
bool ip_is_v4(const uint8_t ip[16]);
bool addr_is_wildcard(const struct addr *);
bool addr_is_link_local6(const struct addr *);
bool addr_same_ip(const struct addr *, const struct addr *);
bool addr_same(const struct addr *, const struct addr *);
socklen_t addr_to_sockaddr(const struct addr *, struct sockaddr_storage *out);
bool addr_from_sockaddr(const struct sockaddr_storage *, struct addr *out)
    __attribute__((warn_unused_result));

#endif
