/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum side { INTERNAL, EXTERNAL };

/* One forward wants these ports on one side of one gateway. */
struct claim {
	size_t gateway;
	enum side side;
	enum family family;
	uint8_t protocol;
	struct netaddr address; /* internal; any6: this host, and on the external side always */
	unsigned first, last;
	size_t forward;
};

static int
compare_numbers(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

/* All but the ports: claims on different things do not meet. */
static int
compare_places(const struct claim *a, const struct claim *b)
{
	if (a->gateway != b->gateway)
		return compare_numbers(a->gateway, b->gateway);
	if (a->side != b->side)
		return compare_numbers(a->side, b->side);
	if (a->family != b->family)
		return compare_numbers(a->family, b->family);
	if (a->protocol != b->protocol)
		return compare_numbers(a->protocol, b->protocol);
	return memcmp(a->address.b, b->address.b, sizeof(a->address.b));
}

static int
compare_claims(const void *left, const void *right)
{
	const struct claim *a = left;
	const struct claim *b = right;
	int order = compare_places(a, b);

	if (order == 0)
		order = compare_numbers(a->first, b->first);
	return order != 0 ? order : compare_numbers(a->forward, b->forward);
}

/* Fills in up to 8 claims of a forward; returns how many. */
static size_t
claims_of(const struct section *f, size_t index, struct claim *out)
{
	static const uint8_t protocols[] = { PROTOCOL_TCP, PROTOCOL_UDP };
	unsigned span = f->internal.count - 1U;
	unsigned external = f->wish == EXTERNAL_FIXED ? f->external.first : f->internal.first;
	bool wants_external = f->wish != EXTERNAL_ANY && !f->assigned &&
	    !section_is_bad(f, OPTION_EXTERNAL_PORT) &&
	    (f->wish == EXTERNAL_SAME || f->external.count == f->internal.count);
	size_t n = 0;
	unsigned p, family;

	if (f->gateway == CONF_NO_GATEWAY || !section_has(f, OPTION_INTERNAL_PORT) ||
	    section_is_bad(f, OPTION_PROTOCOL) || section_is_bad(f, OPTION_FAMILY) ||
	    (section_has(f, OPTION_ENABLED) && f->numbers[OPTION_ENABLED] == 0))
		return 0;
	for (p = 0; p < 2; p++)
		for (family = FAMILY_IPV4; family <= FAMILY_IPV6; family++) {
			struct claim c = { .gateway = f->gateway,
				.side = INTERNAL,
				.family = (enum family)family,
				.protocol = protocols[p],
				.address = f->address,
				.first = f->internal.first,
				.last = f->internal.first + span,
				.forward = index };

			if (!conf_has_protocol(f, protocols[p]) ||
			    !conf_has_family(f, (enum family)family))
				continue;
			out[n++] = c;
			if (!wants_external)
				continue;
			c.side = EXTERNAL;
			c.address = netaddr_any6;
			c.first = external;
			c.last = external + span;
			out[n++] = c;
		}
	return n;
}

static void
report_clash(struct reader *r, const struct claim *a, const struct claim *b)
{
	const struct claim *later = a->forward > b->forward ? a : b;
	const struct claim *earlier = later == a ? b : a;
	struct section *f = &r->forwards[later->forward];
	const struct section *other = &r->forwards[earlier->forward];
	const char *protocol = a->protocol == PROTOCOL_TCP ? "tcp" : "udp";
	unsigned first = a->first > b->first ? a->first : b->first;
	unsigned last = a->last < b->last ? a->last : b->last;
	int line = f->lines[OPTION_INTERNAL_PORT];
	char ports[32];

	if (later->forward == earlier->forward || f->clash[a->side] != 0 ||
	    strcmp(f->name, other->name) == 0)
		return;
	f->clash[a->side] = earlier->forward + 1;
	/* external-port = same follows from internal-port: one mistake, one line. */
	if (a->side == EXTERNAL && f->clash[INTERNAL] == earlier->forward + 1 &&
	    f->lines[OPTION_EXTERNAL_PORT] == 0)
		return;
	if (f->assigned) {
		note_error(r, f->file, line,
		    "gateway \"%.80s\" assigns one %s port only, and forward \"%.80s\" (%s:%d) has "
		    "it: remove one of the two",
		    r->gateways[f->gateway].name, protocol, other->name, r->files[other->file],
		    other->line);
		return;
	}
	if (a->side == EXTERNAL && f->lines[OPTION_EXTERNAL_PORT] != 0)
		line = f->lines[OPTION_EXTERNAL_PORT];
	if (first == last)
		(void)snprintf(ports, sizeof(ports), "port %u", first);
	else
		(void)snprintf(ports, sizeof(ports), "ports %u-%u", first, last);
	note_error(r, f->file, line,
	    "forward \"%.80s\" wants %s %s %s (%s, gateway \"%.80s\"), which forward \"%.80s\" "
	    "(%s:%d) has already: %s",
	    f->name, a->side == INTERNAL ? "internal" : "external", protocol, ports,
	    a->family == FAMILY_IPV4 ? "ipv4" : "ipv6", r->gateways[f->gateway].name, other->name,
	    r->files[other->file], other->line,
	    a->side == INTERNAL ? "a port can be forwarded once only"
				: "choose another external-port, or any");
}

void
conf_check_clashes(struct reader *r)
{
	struct claim *claims = calloc(8 * r->n_forwards + 1, sizeof(*claims));
	size_t i, holder = 0, n = 0;

	if (claims == NULL) {
		r->no_memory = true;
		return;
	}
	for (i = 0; i < r->n_forwards; i++)
		n += claims_of(&r->forwards[i], i, claims + n);
	qsort(claims, n, sizeof(*claims), compare_claims);
	/* Sorted by their first port, a claim meets one before it when it meets the one that
	 * reaches furthest. The one just before is looked at, too, so that of three all are named.
	 */
	for (i = 1; i < n; i++) {
		const struct claim *c = &claims[i];

		if (compare_places(c, &claims[holder]) != 0) {
			holder = i;
			continue;
		}
		if (c->first <= claims[holder].last)
			report_clash(r, c, &claims[holder]);
		if (c->first <= claims[i - 1].last)
			report_clash(r, c, &claims[i - 1]);
		if (c->last > claims[holder].last)
			holder = i;
	}
	free(claims);
}
