/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "proto/pcp.h"

#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

static bool
all_zero(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

static void
check_no_map(const struct pcp_reply *r)
{
	FUZZ_CHECK(!r->has_map && !r->has_internal && !r->has_set && r->n_filters == 0);
	FUZZ_CHECK(all_zero(r->nonce, sizeof(r->nonce)) && r->protocol == 0);
	FUZZ_CHECK(r->internal_port == 0 && r->external_port == 0);
	FUZZ_CHECK(all_zero(&r->external, sizeof(r->external)));
	FUZZ_CHECK(all_zero(&r->internal, sizeof(r->internal)));
}

static void
check_reply(const struct pcp_reply *r, const uint8_t *bytes, size_t n)
{
	FUZZ_CHECK(n >= 24 && n <= PCP_MAX_PACKET && n % 4 == 0);
	FUZZ_CHECK(r->version == PCP_VERSION && bytes[0] == PCP_VERSION);
	FUZZ_CHECK(bytes[1] == (0x80 | (unsigned)r->opcode));
	FUZZ_CHECK(r->result == bytes[3] && r->result != PCP_UNSUPP_VERSION);
	FUZZ_CHECK(r->opcode == PCP_MAP || r->opcode == PCP_ANNOUNCE);
	if (!r->has_map) {
		FUZZ_CHECK(r->opcode == PCP_ANNOUNCE || (r->result != PCP_SUCCESS && n < 60));
		check_no_map(r);
		return;
	}
	FUZZ_CHECK(r->opcode == PCP_MAP && n >= 60);
	FUZZ_CHECK(memcmp(r->nonce, bytes + 24, sizeof(r->nonce)) == 0);
	FUZZ_CHECK(r->protocol == bytes[36]);
	FUZZ_CHECK(r->internal_port == (bytes[40] << 8 | bytes[41]));
	FUZZ_CHECK(r->external_port == (bytes[42] << 8 | bytes[43]));
	FUZZ_CHECK(memcmp(r->external.b, bytes + 44, 16) == 0);
	FUZZ_CHECK(!r->has_internal || n >= 80);
	FUZZ_CHECK(r->has_internal || all_zero(&r->internal, sizeof(r->internal)));
}

static void
check_decoder(const uint8_t *bytes, size_t n)
{
	struct pcp_reply r, before;

	memset(&r, 0xee, sizeof(r));
	before = r;
	switch (pcp_decode(bytes, n, &r)) {
	case PCP_DROP:
		FUZZ_CHECK(memcmp(&r, &before, sizeof(r)) == 0);
		break;
	case PCP_FRAGMENT:
		FUZZ_CHECK(memcmp(&r, &before, sizeof(r)) == 0);
		FUZZ_CHECK(n >= 2 && n < 24 && bytes[0] == PCP_VERSION && bytes[1] >= 0x80);
		break;
	case PCP_OTHER_VERSION:
		FUZZ_CHECK(n >= 4 && bytes[0] != 0 && bytes[1] >= 0x80);
		FUZZ_CHECK(r.version == bytes[0] && r.result == bytes[3]);
		FUZZ_CHECK(r.version != PCP_VERSION || r.result == PCP_UNSUPP_VERSION);
		check_no_map(&r);
		break;
	case PCP_REPLY:
		check_reply(&r, bytes, n);
		break;
	default:
		FUZZ_CHECK(false);
	}
}

/* The option list of a request of ours is well-formed and in order. */
static void
check_options(const uint8_t *bytes, size_t n)
{
	size_t at = 60;
	int last = 0;

	while (at < n) {
		size_t length;

		FUZZ_CHECK(n - at >= 4);
		length = (size_t)(bytes[at + 2] << 8 | bytes[at + 3]);
		FUZZ_CHECK(bytes[at] >= last && bytes[at + 1] == 0);
		FUZZ_CHECK(bytes[at] == 130 ? length == 5 : length % 4 == 0);
		length = (length + 3) & ~(size_t)3;
		FUZZ_CHECK(length <= n - at - 4);
		last = bytes[at];
		at += 4 + length;
	}
}

/* Builds a request from the input, the tail of which is the description. */
static void
check_encoder(const uint8_t *data, size_t size)
{
	struct netaddr third;
	struct pcp_filter filter;
	struct pcp_request q = { .opcode = PCP_MAP };
	struct pcp_reply r;
	uint8_t bytes[PCP_MAX_PACKET];
	char *text;
	size_t room, n;

	if (size < 44)
		return;
	text = malloc(size - 44 + 1);
	if (text == NULL)
		return;
	memcpy(text, data + 44, size - 44);
	text[size - 44] = '\0';
	q.lifetime = data[0] & 1 ? 7200 : 0;
	q.prefer_failure = data[0] & 2;
	q.description = text;
	q.protocol = data[1];
	q.internal_port = data[2];
	q.external_port = data[3];
	memcpy(q.external.b, data + 4, 16);
	memcpy(third.b, data + 20, 16);
	filter.prefix.addr = third;
	filter.prefix.bits = data[36] % 129;
	filter.port = data[37];
	q.internal = data[0] & 4 ? &third : NULL;
	q.filters = &filter;
	q.n_filters = data[0] & 8 ? 1 : 0;
	q.set_size = (uint16_t)(data[40] << 8 | data[41]);
	room = data[0] & 16 ? sizeof(bytes) : (size_t)(data[38] << 8 | data[39]) % sizeof(bytes);
	n = pcp_encode(&q, bytes, room);
	free(text);
	if (q.protocol == 0 || q.internal_port == 0)
		FUZZ_CHECK(n == 0);
	if (n == 0)
		return;
	FUZZ_CHECK(n >= 60 && n <= room && n <= 1024 && n % 4 == 0);
	FUZZ_CHECK(pcp_decode(bytes, n, &r) == PCP_DROP);
	check_options(bytes, n);
	/* As a server would answer: the same with the reply bit. */
	bytes[1] |= 0x80;
	memset(bytes + 8, 0, 16);
	FUZZ_CHECK(pcp_decode(bytes, n, &r) == PCP_REPLY && r.has_map);
	FUZZ_CHECK(r.has_set == (q.set_size > 1));
	FUZZ_CHECK(r.set_size == (r.has_set ? q.set_size : 0));
	FUZZ_CHECK(r.internal_port == q.internal_port && r.protocol == q.protocol);
	FUZZ_CHECK(r.external_port == (q.lifetime == 0 ? 0 : q.external_port));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as long as the packet: ASan sees the first octet read past it. */
	uint8_t *bytes = calloc(1, size > 0 ? size : 1);

	if (bytes == NULL)
		return 0;
	if (size > 0)
		memcpy(bytes, data, size);
	check_decoder(bytes, size);
	check_encoder(bytes, size);
	free(bytes);
	return 0;
}
