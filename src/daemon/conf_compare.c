/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_compare.h"

#include <stdlib.h>
#include <string.h>

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_list(char *const *a, char *const *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	for (; *a != NULL && *b != NULL; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return *a == *b;
}

static bool
same_address(const struct netaddr *a, const struct netaddr *b)
{
	return a == b || (a != NULL && b != NULL && netaddr_equal(a, b));
}

static bool
same_ports(const struct conf_forward *a, const struct conf_forward *b)
{
	return a->internal_port == b->internal_port && a->count == b->count &&
	    a->external == b->external && a->external_port == b->external_port &&
	    a->assigned == b->assigned && a->require == b->require &&
	    a->independent == b->independent && a->tcp == b->tcp && a->udp == b->udp &&
	    a->ipv4 == b->ipv4 && a->ipv6 == b->ipv6;
}

static bool
same_remotes(const struct conf_forward *a, const struct conf_forward *b)
{
	for (size_t i = 0; i < a->n_remotes && a->n_remotes == b->n_remotes; i++)
		if (a->remotes[i].bits != b->remotes[i].bits ||
		    !netaddr_equal(&a->remotes[i].addr, &b->remotes[i].addr))
			return false;
	return a->n_remotes == b->n_remotes;
}

static bool
same_forward(const struct conf_forward *a, const struct conf_forward *b)
{
	return same_ports(a, b) && same_text(a->gateway->name, b->gateway->name) &&
	    same_text(a->description, b->description) && same_list(a->on_change, b->on_change) &&
	    same_address(a->internal, b->internal) && same_remotes(a, b) &&
	    a->release_on_exit == b->release_on_exit && a->on_demand == b->on_demand &&
	    a->lifetime == b->lifetime;
}

static int
by_name(const void *left, const void *right)
{
	const struct conf_forward *const *a = left, *const *b = right;

	return strcmp((*a)->name, (*b)->name);
}

/* The enabled ones in order of their names, owned by the caller. */
static const struct conf_forward **
sorted(const struct conf *conf, size_t *n)
{
	const struct conf_forward **list = calloc(conf->n_forwards + 1, sizeof(*list));

	*n = 0;
	for (size_t i = 0; list != NULL && i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled)
			list[(*n)++] = &conf->forwards[i];
	if (list != NULL)
		qsort(list, *n, sizeof(*list), by_name);
	return list;
}

bool
conf_compare(const struct conf *before, const struct conf *after, struct conf_changes *out)
{
	size_t n, m, i = 0, k = 0;
	const struct conf_forward **old = sorted(before, &n), **new = sorted(after, &m);
	struct conf_changes c = { .added = 0 };
	bool good = old != NULL && new != NULL;

	while (good && (i < n || k < m)) {
		int order = i == n ? 1 : k == m ? -1 : by_name(&old[i], &new[k]);

		if (order < 0)
			c.removed++;
		else if (order > 0)
			c.added++;
		else if (same_forward(old[i], new[k]))
			c.unchanged++;
		else
			c.changed++;
		i += order <= 0;
		k += order >= 0;
	}
	free(old);
	free(new);
	if (good)
		*out = c;
	return good;
}

static bool
overlap(unsigned a, unsigned b, unsigned a_count, unsigned b_count)
{
	return a < b + b_count && b < a + a_count;
}

static unsigned
external_first(const struct conf_forward *f)
{
	return f->external == EXTERNAL_FIXED ? f->external_port : f->internal_port;
}

bool
conf_forwards_clash(const struct conf_forward *a, const struct conf_forward *b)
{
	if (!((a->tcp && b->tcp) || (a->udp && b->udp)) ||
	    !((a->ipv4 && b->ipv4) || (a->ipv6 && b->ipv6)) ||
	    !same_text(a->gateway->name, b->gateway->name))
		return false;
	if (same_address(a->internal, b->internal) &&
	    overlap(a->internal_port, b->internal_port, a->count, b->count))
		return true;
	return a->external != EXTERNAL_ANY && b->external != EXTERNAL_ANY && !a->assigned &&
	    !b->assigned && overlap(external_first(a), external_first(b), a->count, b->count);
}

const struct conf_forward *
conf_forward_find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled && strcmp(conf->forwards[i].name, name) == 0)
			return &conf->forwards[i];
	return NULL;
}
