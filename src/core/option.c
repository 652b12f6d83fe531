/* SPDX-License-Identifier: ISC */
#include "core/internal.h"

#include <string.h>

/* The PCP options of a mapping: what a request says, and whether the answer bears it out. */

/* A pinhole is asked for in one family: the prefixes of the other one are not for it. */
static size_t
filters_of(const struct mapping *m, struct pcp_filter out[PCP_FILTERS_MAX])
{
	const struct forward *f = m->unit->forward;
	size_t n = 0;

	for (size_t i = 0; i < f->n_remotes && n < PCP_FILTERS_MAX; i++)
		if (netaddr_is4(&f->remotes[i].addr) == (m->unit->family == FAMILY_IPV4))
			out[n++] = (struct pcp_filter){ .prefix = f->remotes[i] };
	return n;
}

void
option_fill(struct mapping *m, mstime now, struct pcp_request *r,
    struct pcp_filter filters[PCP_FILTERS_MAX])
{
	const struct forward *f = m->unit != NULL ? m->unit->forward : NULL;
	struct path *p = m->path;

	r->internal = mapping_internal(m);
	r->set_size = m->count;
	if (m->count > 1)
		portset_asked(m, now);
	if (f != NULL) {
		r->prefer_failure = f->require && r->external_port != 0 && !p->indulgent;
		/* Only one that was written: the forward's name, the default, is for mappers that
		 * must have one, and an option is one more thing to stumble over. */
		r->description = p->plain ? NULL : f->description;
		r->n_filters = filters_of(m, filters);
		r->filters = filters;
	}
	m->insisted = r->prefer_failure;
	m->described = r->description != NULL && r->description[0] != '\0';
}

static bool
same_filter(const struct pcp_filter *a, const struct pcp_filter *b)
{
	return a->port == b->port && a->prefix.bits == b->prefix.bits &&
	    netprefix_contains(&a->prefix, &b->prefix.addr);
}

static bool
has_filter(const struct pcp_filter *of, size_t n, const struct pcp_filter *f)
{
	for (size_t i = 0; i < n; i++)
		if (same_filter(&of[i], f))
			return true;
	return false;
}

static bool
keeps_filters(const struct mapping *m, const struct pcp_reply *r)
{
	struct pcp_filter asked[PCP_FILTERS_MAX];
	size_t n = filters_of(m, asked);

	for (size_t i = 0; i < n; i++)
		if (!has_filter(r->filters, r->n_filters, &asked[i]))
			return false;
	for (size_t i = 0; i < r->n_filters; i++)
		if (!has_filter(asked, n, &r->filters[i]))
			return false;
	return true;
}

uint16_t
option_ignored(const struct mapping *m, const struct pcp_reply *r)
{
	if (m->unit == NULL || r->result != PCP_SUCCESS)
		return 0;
	if (mapping_internal(m) != NULL && !r->has_internal)
		return PCP_THIRD_PARTY;
	return keeps_filters(m, r) ? 0 : PCP_FILTER;
}
