/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "proto/natpmp.h"

#include "fuzz.h"

#include <string.h>

static void
check_address(const struct natpmp_reply *r, size_t n)
{
	FUZZ_CHECK(r->protocol == 0 && !r->has_ports && r->internal_port == 0);
	FUZZ_CHECK(r->external_port == 0 && r->lifetime == 0);
	if (r->result == NATPMP_SUCCESS)
		FUZZ_CHECK(n >= 12 && r->has_epoch && netaddr_is4(&r->external));
	else
		FUZZ_CHECK(netaddr_equal(&r->external, &netaddr_any6));
}

static void
check_map(const struct natpmp_reply *r, size_t n)
{
	FUZZ_CHECK(r->protocol == 6 || r->protocol == 17);
	FUZZ_CHECK(r->has_ports || r->internal_port == 0);
	FUZZ_CHECK(netaddr_equal(&r->external, &netaddr_any6));
	if (r->result == NATPMP_SUCCESS)
		FUZZ_CHECK(n >= 16 && r->has_epoch && r->has_ports);
	else
		FUZZ_CHECK(r->external_port == 0 && r->lifetime == 0);
	/* What the decoder made of it has to be what stands there. */
	if (r->has_ports && r->has_epoch)
		FUZZ_CHECK(n >= 16);
}

static void
check_version(const struct natpmp_reply *r)
{
	FUZZ_CHECK(r->result == NATPMP_UNSUPPORTED_VERSION);
	FUZZ_CHECK(r->protocol == 0 && !r->has_ports && r->internal_port == 0);
	FUZZ_CHECK(r->external_port == 0 && r->lifetime == 0);
	FUZZ_CHECK(netaddr_equal(&r->external, &netaddr_any6));
}

/* A packet of ours, reflected, must never be taken for a reply. */
static void
check_encoder(const uint8_t *data, size_t size)
{
	uint8_t bytes[NATPMP_MAX_REQUEST];
	struct natpmp_reply r;
	uint16_t internal, external;
	uint32_t lifetime;
	size_t n;

	if (size < 9)
		return;
	internal = (uint16_t)(data[1] << 8 | data[2]);
	external = (uint16_t)(data[3] << 8 | data[4]);
	memcpy(&lifetime, data + 5, sizeof(lifetime));
	n = natpmp_encode_map(
	    data[0] & 1 ? 6 : 17, internal, external, lifetime, bytes, sizeof(bytes));
	if (internal == 0 && lifetime == 0) {
		FUZZ_CHECK(n == 0);
		return;
	}
	FUZZ_CHECK(n == 12);
	FUZZ_CHECK(lifetime != 0 || (bytes[6] == 0 && bytes[7] == 0));
	FUZZ_CHECK(!natpmp_decode(bytes, n, &r));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as long as the packet: ASan sees the first octet read past it. */
	uint8_t *bytes = calloc(1, size > 0 ? size : 1);
	struct natpmp_reply r, before;

	if (bytes == NULL)
		return 0;
	if (size > 0)
		memcpy(bytes, data, size);
	memset(&r, 0xee, sizeof(r));
	before = r;
	if (!natpmp_decode(bytes, size, &r)) {
		FUZZ_CHECK(memcmp(&r, &before, sizeof(r)) == 0);
	} else {
		FUZZ_CHECK(size >= 4 && bytes[0] == 0);
		FUZZ_CHECK(bytes[1] >= 128 || (bytes[1] == 0 && r.kind == NATPMP_VERSION));
		FUZZ_CHECK(r.result == (bytes[2] << 8 | bytes[3]));
		FUZZ_CHECK(r.has_epoch ? size >= 8 : r.epoch == 0);
		if (r.kind == NATPMP_ADDRESS)
			check_address(&r, size);
		else if (r.kind == NATPMP_MAP)
			check_map(&r, size);
		else
			check_version(&r);
	}
	free(bytes);
	check_encoder(data, size);
	return 0;
}
