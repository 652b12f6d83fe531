/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool
parse_port(const char *text, uint16_t *out)
{
	char *end;
	long v;

	if (*text < '0' || *text > '9')
		return false;
	v = strtol(text, &end, 10);
	if (*end != '\0' || v > 65535)
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool
parse_v6(char *text, struct addr *out)
{
	char *percent = strchr(text, '%');
	struct in6_addr in6;

	if (percent != NULL) {
		*percent++ = '\0';
		out->scope = if_nametoindex(percent);
		if (out->scope == 0)
			return false;
	}
	if (inet_pton(AF_INET6, text, &in6) != 1)
		return false;
	memcpy(out->ip, &in6, 16);
	return true;
}

static bool
parse_v4(const char *text, struct addr *out)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	memcpy(out->ip, mapped_prefix, 12);
	memcpy(out->ip + 12, &in, 4);
	return true;
}

bool
addr_parse(const char *text, uint16_t default_port, struct addr *out)
{
	struct addr a = { .port = default_port };
	char copy[ADDR_TEXT];
	char *colon, *close;
	bool ok;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	if (copy[0] == '[') {
		close = strchr(copy, ']');
		if (close == NULL)
			return false;
		*close++ = '\0';
		if (*close == ':') {
			if (!parse_port(close + 1, &a.port))
				return false;
		} else if (*close != '\0')
			return false;
		ok = parse_v6(copy + 1, &a);
	} else {
		colon = strchr(copy, ':');
		if (colon != NULL && strchr(colon + 1, ':') != NULL)
			ok = parse_v6(copy, &a);
		else {
			if (colon != NULL) {
				*colon = '\0';
				if (!parse_port(colon + 1, &a.port))
					return false;
			}
			ok = parse_v4(copy, &a);
		}
	}
	if (ok)
		*out = a;
	return ok;
}

char *
addr_format(const struct addr *a, bool with_port, char *out)
{
	char ip[INET6_ADDRSTRLEN], name[IF_NAMESIZE], scope[IF_NAMESIZE + 2] = "";

	if (addr_is_v4(a)) {
		inet_ntop(AF_INET, a->ip + 12, ip, sizeof(ip));
		if (with_port)
			snprintf(out, ADDR_TEXT, "%s:%u", ip, a->port);
		else
			snprintf(out, ADDR_TEXT, "%s", ip);
		return out;
	}
	inet_ntop(AF_INET6, a->ip, ip, sizeof(ip));
	if (a->scope != 0 && if_indextoname(a->scope, name) != NULL)
		snprintf(scope, sizeof(scope), "%%%s", name);
	if (with_port)
		snprintf(out, ADDR_TEXT, "[%s%s]:%u", ip, scope, a->port);
	else
		snprintf(out, ADDR_TEXT, "%s%s", ip, scope);
	return out;
}

bool
ip_is_v4(const uint8_t ip[16])
{
	return memcmp(ip, mapped_prefix, 12) == 0;
}

bool
addr_is_v4(const struct addr *a)
{
	return ip_is_v4(a->ip);
}

bool
addr_is_wildcard(const struct addr *a)
{
	static const uint8_t zero[16];

	return addr_is_v4(a) ? memcmp(a->ip + 12, zero, 4) == 0 : memcmp(a->ip, zero, 16) == 0;
}

bool
addr_is_link_local6(const struct addr *a)
{
	return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

bool
addr_same_ip(const struct addr *a, const struct addr *b)
{
	return memcmp(a->ip, b->ip, 16) == 0 && a->scope == b->scope;
}

bool
addr_same(const struct addr *a, const struct addr *b)
{
	return addr_same_ip(a, b) && a->port == b->port;
}

socklen_t
addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope
	};

	memset(out, 0, sizeof(*out));
	if (addr_is_v4(a)) {
		memcpy(&in.sin_addr, a->ip + 12, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(out, &in6, sizeof(in6));
	return sizeof(in6);
}

bool
addr_from_sockaddr(const struct sockaddr_storage *ss, struct addr *out)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(out, 0, sizeof(*out));
	if (ss->ss_family == AF_INET) {
		memcpy(&in, ss, sizeof(in));
		memcpy(out->ip, mapped_prefix, 12);
		memcpy(out->ip + 12, &in.sin_addr, 4);
		out->port = ntohs(in.sin_port);
		return true;
	}
	if (ss->ss_family == AF_INET6) {
		memcpy(&in6, ss, sizeof(in6));
		memcpy(out->ip, &in6.sin6_addr, 16);
		out->port = ntohs(in6.sin6_port);
		out->scope = in6.sin6_scope_id;
		return true;
	}
	return false;
}
