/* SPDX-License-Identifier: ISC */
#ifndef UNIT_NL_H
#define UNIT_NL_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * rtnetlink messages, octet by octet. Every number is written out as the kernel's ABI has it
 * (rtnetlink(7)), not taken from the headers that route.c uses. Numbers are in host order.
 */
struct nl {
	uint8_t bytes[8192];
	size_t n;
	size_t message;   /* where the latest one begins */
	size_t attribute; /* the same of an attribute that nests */
};

static inline void
nl_raw(struct nl *m, const void *bytes, size_t n)
{
	ck_assert_uint_le(m->n + n, sizeof m->bytes);
	memcpy(m->bytes + m->n, bytes, n);
	m->n += n;
}

static inline void
nl_u8(struct nl *m, unsigned v)
{
	uint8_t b = (uint8_t)v;

	nl_raw(m, &b, 1);
}

static inline void
nl_u16(struct nl *m, unsigned v)
{
	uint16_t b = (uint16_t)v;

	nl_raw(m, &b, 2);
}

static inline void
nl_u32(struct nl *m, uint32_t v)
{
	nl_raw(m, &v, 4);
}

/* nlmsg_len is set by nl_end(). */
static inline void
nl_begin(struct nl *m, unsigned type)
{
	m->message = m->n;
	nl_u32(m, 0);
	nl_u16(m, type);
	nl_u16(m, 2); /* NLM_F_MULTI */
	nl_u32(m, 7);
	nl_u32(m, 4711);
}

static inline void
nl_pad(struct nl *m)
{
	while (m->n % 4 != 0)
		nl_u8(m, 0);
}

static inline void
nl_end(struct nl *m)
{
	uint32_t length = (uint32_t)(m->n - m->message);

	memcpy(m->bytes + m->message, &length, 4);
	nl_pad(m);
}

static inline void
nl_attr(struct nl *m, unsigned type, const void *value, size_t n)
{
	nl_pad(m);
	nl_u16(m, (unsigned)n + 4);
	nl_u16(m, type);
	nl_raw(m, value, n);
}

static inline void
nl_attr32(struct nl *m, unsigned type, uint32_t value)
{
	nl_attr(m, type, &value, 4);
}

static inline void
nl_nest(struct nl *m, unsigned type)
{
	nl_pad(m);
	m->attribute = m->n;
	nl_u16(m, 0);
	nl_u16(m, type);
}

static inline void
nl_unnest(struct nl *m)
{
	uint16_t length = (uint16_t)(m->n - m->attribute);

	memcpy(m->bytes + m->attribute, &length, 2);
}

/* struct ifinfomsg after RTM_NEWLINK (16). */
static inline void
nl_link(struct nl *m, uint32_t ifindex, uint32_t flags, const char *name, const char *kind)
{
	nl_begin(m, 16);
	nl_u8(m, 0);  /* AF_UNSPEC */
	nl_u8(m, 0);  /* padding */
	nl_u16(m, 1); /* ARPHRD_ETHER */
	nl_u32(m, ifindex);
	nl_u32(m, flags);
	nl_u32(m, 0);
	nl_attr(m, 3, name, strlen(name) + 1); /* IFLA_IFNAME */
	nl_attr32(m, 4, 1500);                 /* IFLA_MTU: of no interest */
	if (kind != NULL) {
		nl_nest(m, 18);                        /* IFLA_LINKINFO */
		nl_attr(m, 1, kind, strlen(kind) + 1); /* IFLA_INFO_KIND */
		nl_attr(m, 2, "data", 4);              /* IFLA_INFO_DATA */
		nl_unnest(m);
	}
	nl_end(m);
}

/* struct ifaddrmsg after RTM_NEWADDR (20); finish with nl_end(). */
static inline void
nl_address(struct nl *m, unsigned family, unsigned bits, unsigned flags, uint32_t ifindex)
{
	nl_begin(m, 20);
	nl_u8(m, family);
	nl_u8(m, bits);
	nl_u8(m, flags);
	nl_u8(m, 0); /* RT_SCOPE_UNIVERSE */
	nl_u32(m, ifindex);
}

/* struct rtmsg after RTM_NEWROUTE (24); finish with nl_end(). */
static inline void
nl_route(
    struct nl *m, unsigned family, unsigned dst_len, unsigned table, unsigned type, uint32_t flags)
{
	nl_begin(m, 24);
	nl_u8(m, family);
	nl_u8(m, dst_len);
	nl_u8(m, 0); /* rtm_src_len */
	nl_u8(m, 0); /* rtm_tos */
	nl_u8(m, table);
	nl_u8(m, 3); /* RTPROT_BOOT */
	nl_u8(m, 0); /* RT_SCOPE_UNIVERSE */
	nl_u8(m, type);
	nl_u32(m, flags);
}

#endif
