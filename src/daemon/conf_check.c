/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t
conf_number(const struct reader *r, const struct section *s, enum option o)
{
	unsigned scopes = conf_options[o].scopes;

	if (section_has(s, o))
		return s->numbers[o];
	if (s->scope == SCOPE_FORWARD && (scopes & SCOPE_GATEWAY) != 0 &&
	    s->gateway != CONF_NO_GATEWAY)
		return conf_number(r, &r->gateways[s->gateway], o);
	if ((scopes & SCOPE_GLOBAL) != 0 && section_has(&r->global, o))
		return r->global.numbers[o];
	return conf_options[o].fallback;
}

struct mapper_list
conf_mappers(const struct reader *r, const struct section *gateway)
{
	struct mapper_list out = { { MAPPER_PCP, MAPPER_NATPMP, MAPPER_UPNP }, 3 };
	const struct section *s = gateway->n_mappers > 0 ? gateway : &r->global;

	if (s->n_mappers > 0) {
		memcpy(out.list, s->mappers, sizeof(out.list));
		out.n = s->n_mappers;
	}
	return out;
}

bool
conf_has_protocol(const struct section *forward, uint8_t protocol)
{
	uint32_t choice = forward->numbers[OPTION_PROTOCOL]; /* tcp udp both */

	return choice == 2 || choice == (protocol == PROTOCOL_UDP);
}

bool
conf_has_family(const struct section *forward, enum family family)
{
	uint32_t choice = forward->numbers[OPTION_FAMILY]; /* ipv4 ipv6 both */

	return choice == 2 || choice == (family == FAMILY_IPV6);
}

/* The line of an option, or of the section when it is not written. */
static int
line_of(const struct section *s, enum option o)
{
	return s->lines[o] != 0 ? s->lines[o] : s->line;
}

__attribute__((format(printf, 4, 5))) static void
complain(struct reader *r, const struct section *s, enum option o, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	note_verror(r, s->file, line_of(s, o), format, ap);
	va_end(ap);
}

/* ---- names ------------------------------------------------------------------------------ */

/* By name; of equal ones the first in the files comes first. */
static int
compare_names(const void *left, const void *right)
{
	const struct section *a = *(const struct section *const *)left;
	const struct section *b = *(const struct section *const *)right;
	int order = strcmp(a->name, b->name);

	return order != 0 ? order : (a > b) - (a < b);
}

static int
compare_name_key(const void *key, const void *entry)
{
	const char *name = key;
	const struct section *s = *(const struct section *const *)entry;

	return strcmp(name, s->name);
}

/* Pointers to the sections, sorted; NULL: out of memory. */
static const struct section **
sort_names(struct reader *r, const struct section *list, size_t n)
{
	const struct section **sorted = calloc(n + 1, sizeof(*sorted));
	size_t i;

	if (sorted == NULL) {
		r->no_memory = true;
		return NULL;
	}
	for (i = 0; i < n; i++)
		sorted[i] = &list[i];
	qsort(sorted, n, sizeof(*sorted), compare_names);
	return sorted;
}

static void
check_duplicates(struct reader *r, const struct section *const *sorted, size_t n, const char *what)
{
	const struct section *first;
	size_t i;

	if (n == 0)
		return;
	first = sorted[0];
	for (i = 1; i < n; i++) {
		const struct section *s = sorted[i];

		if (strcmp(first->name, s->name) != 0) {
			first = s;
			continue;
		}
		note_error(r, s->file, s->line,
		    "%s \"%.80s\" is there already, at %s:%d: give one of them another name", what,
		    s->name, r->files[first->file], first->line);
	}
}

/* "default" exists without being written, and is the first. */
static bool
place_default_gateway(struct reader *r)
{
	struct section made = { .scope = SCOPE_GATEWAY };
	struct section *list;
	size_t i;

	for (i = 0; i < r->n_gateways && strcmp(r->gateways[i].name, "default") != 0; i++)
		;
	if (i == r->n_gateways) {
		made.name = reader_strdup(r, "default");
		list = reader_grow(r, r->gateways, r->n_gateways, sizeof(*list));
		if (list != NULL)
			r->gateways = list;
		if (made.name == NULL || list == NULL) {
			free(made.name);
			return false;
		}
		r->n_gateways++;
	} else
		made = r->gateways[i];
	memmove(r->gateways + 1, r->gateways, i * sizeof(*r->gateways));
	r->gateways[0] = made;
	return true;
}

/* Which section a forward's gateway is. */
static void
find_gateway(struct reader *r, struct section *f, const struct section *const *sorted)
{
	const struct section *const *found;
	const char *name = f->text;
	const char **words;
	const char *near;
	size_t i;

	f->gateway = CONF_NO_GATEWAY;
	if (section_is_bad(f, OPTION_GATEWAY))
		return;
	if (name == NULL)
		name = "default";
	found = bsearch(name, sorted, r->n_gateways, sizeof(struct section *), compare_name_key);
	if (found != NULL) {
		/* Of several with this name the first, for what else there is to say. */
		while (found > sorted && strcmp(found[-1]->name, name) == 0)
			found--;
		f->gateway = (size_t)(*found - r->gateways);
		return;
	}
	if (r->syntax_error) /* it may stand where nobody could read it */
		return;
	words = calloc(r->n_gateways + 1, sizeof(*words));
	if (words == NULL) {
		r->no_memory = true;
		return;
	}
	/* A hundred are enough to look through for every mistake. */
	for (i = 0; i < r->n_gateways && i < 100; i++)
		words[i] = r->gateways[i].name;
	near = conf_nearest(name, words);
	complain(r, f, OPTION_GATEWAY,
	    "gateway is \"%.80s\", but there is no section gateway %.80s { … }%s%s%s", name, name,
	    near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
	    near == NULL ? "" : "\"?");
	free(words);
}

/* ---- one gateway ------------------------------------------------------------------------- */

static bool
has_address(const struct section *s, enum option o, const struct netaddr *a)
{
	return section_has(s, o) && !netaddr_is_any(a);
}

static void
check_gateway(struct reader *r, const struct section *g)
{
	bool address = has_address(g, OPTION_ADDRESS, &g->address);
	char text[NETADDR_STRLEN];

	if (address && has_address(g, OPTION_SOURCE_ADDRESS, &g->source) &&
	    netaddr_is4(&g->address) != netaddr_is4(&g->source))
		complain(r, g, OPTION_SOURCE_ADDRESS,
		    "source-address is %s, but address is of the other family: both must be IPv4 "
		    "or "
		    "both IPv6",
		    netaddr_print(&g->source, text));
	if (address && !netaddr_is4(&g->address) && netaddr_is_linklocal(&g->address) &&
	    g->text == NULL && !section_is_bad(g, OPTION_INTERFACE))
		complain(r, g, OPTION_ADDRESS,
		    "address is %s, a link-local one, which says nothing without an interface: add "
		    "interface = …",
		    netaddr_print(&g->address, text));
}

/* ---- one forward ------------------------------------------------------------------------- */

static const char *
mappers_print(const struct mapper_list *m, char *out, size_t n)
{
	static const char *const words[] = { "", "pcp", "nat-pmp", "upnp" };
	size_t used = 0;
	unsigned i;

	out[0] = '\0';
	for (i = 0; i < m->n && used < n; i++)
		used += (size_t)snprintf(
		    out + used, n - used, "%s%s", i == 0 ? "" : ", ", words[m->list[i]]);
	return out;
}

static bool
mappers_have(const struct mapper_list *m, enum mapper wanted)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->list[i] == wanted)
			return true;
	return false;
}

/* internal-port = assigned is a convention on top of NAT-PMP, and the most that it can say is the
 * protocol. */
static void
check_assigned(struct reader *r, const struct section *f, const struct mapper_list *m)
{
	char words[64];

	if (m->n > 1 || (m->n == 1 && m->list[0] != MAPPER_NATPMP))
		complain(r, f, OPTION_INTERNAL_PORT,
		    "internal-port = assigned needs a gateway with mappers = {nat-pmp} and no "
		    "other; "
		    "gateway \"%.80s\" has {%s}",
		    r->gateways[f->gateway].name, mappers_print(m, words, sizeof(words)));
	if (f->lines[OPTION_EXTERNAL_PORT] != 0)
		complain(r, f, OPTION_EXTERNAL_PORT,
		    "external-port cannot be chosen with internal-port = assigned: the gateway "
		    "chooses; leave it out");
	if (section_has(f, OPTION_EXTERNAL_POLICY) && f->numbers[OPTION_EXTERNAL_POLICY] == 1)
		complain(r, f, OPTION_EXTERNAL_POLICY,
		    "external-policy = require has no port to require with internal-port = "
		    "assigned; "
		    "leave it out");
	if (conf_has_family(f, FAMILY_IPV6))
		complain(r, f, OPTION_FAMILY, "family must be ipv4 with internal-port = assigned");
	if (has_address(f, OPTION_INTERNAL_ADDRESS, &f->address))
		complain(r, f, OPTION_INTERNAL_ADDRESS,
		    "internal-address cannot be another host with internal-port = assigned; leave "
		    "it "
		    "out");
	if (f->n_remotes > 0)
		complain(r, f, OPTION_REMOTE,
		    "remote is not possible with internal-port = assigned: NAT-PMP has no such "
		    "filter; leave it out");
}

static void
check_ports(struct reader *r, const struct section *f)
{
	unsigned first = f->internal.first;
	unsigned last;

	if (section_is_bad(f, OPTION_EXTERNAL_PORT))
		return;
	if (f->wish == EXTERNAL_ANY) {
		if (f->internal.count > 1)
			complain(r, f, OPTION_EXTERNAL_PORT,
			    "external-port = any is not possible with a range of internal ports: "
			    "write same, or a range of %u ports",
			    f->internal.count);
		return;
	}
	if (f->wish == EXTERNAL_FIXED) {
		if (f->external.count != f->internal.count) {
			complain(r, f, OPTION_EXTERNAL_PORT,
			    "external-port has %u port%s and internal-port %u: both must be of the "
			    "same size",
			    f->external.count, f->external.count == 1 ? "" : "s",
			    f->internal.count);
			return;
		}
		first = f->external.first;
	}
	last = first + f->internal.count - 1;
	/* RFC 6887 section 11.3: servers never grant them. */
	if (conf_has_protocol(f, PROTOCOL_UDP) && first <= 5351 && last >= 5350)
		complain(r, f,
		    f->lines[OPTION_EXTERNAL_PORT] != 0 ? OPTION_EXTERNAL_PORT
							: OPTION_INTERNAL_PORT,
		    "the external port would be udp %u: 5350 and 5351 belong to the port mapping "
		    "protocols, no gateway gives them away",
		    first > 5350      ? first
			: last < 5351 ? last
				      : 5350);
}

/* Filters hold for one family: the other would be open for everybody. */
static void
check_remote_families(struct reader *r, const struct section *f)
{
	bool seen[FAMILIES] = { false };
	int family;
	size_t i;

	if (f->n_remotes == 0 || section_is_bad(f, OPTION_REMOTE))
		return;
	for (i = 0; i < f->n_remotes; i++)
		seen[netaddr_is4(&f->remotes[i].addr) ? FAMILY_IPV4 : FAMILY_IPV6] = true;
	for (family = FAMILY_IPV4; family <= FAMILY_IPV6; family++) {
		bool wanted = conf_has_family(f, (enum family)family);
		const char *word = family == FAMILY_IPV4 ? "ipv4" : "ipv6";

		if (wanted && !seen[family])
			complain(r, f, OPTION_REMOTE,
			    "remote has no %s prefix, but family includes %s, which would be open "
			    "for "
			    "everybody: add a prefix, or change family",
			    word, word);
		if (!wanted && seen[family])
			complain(r, f, OPTION_REMOTE,
			    "remote has an %s prefix, but family does not include %s: take it out, "
			    "or "
			    "change family",
			    word, word);
	}
}

static void
complain_mappers(struct reader *r, const struct section *f, enum option o,
    const struct mapper_list *m, const char *what, const char *who_can)
{
	char words[64];

	complain(r, f, o, "the mappers of gateway \"%.80s\" (%s) cannot express %s%s: %s",
	    r->gateways[f->gateway].name, mappers_print(m, words, sizeof(words)),
	    o == OPTION_FAMILY ? "family " : "", what, who_can);
}

/* NAT-PMP knows ports only. UPnP knows another host and one remote address, for IPv4. */
static void
check_mappers(struct reader *r, const struct section *f, const struct mapper_list *m)
{
	bool pcp = mappers_have(m, MAPPER_PCP);
	bool upnp = mappers_have(m, MAPPER_UPNP);
	bool single = f->n_remotes == 1 && f->remotes[0].bits == 128;

	if (f->n_remotes > 0 && !pcp && !(upnp && single))
		complain_mappers(r, f, OPTION_REMOTE, m, upnp ? "this remote" : "remote",
		    "pcp can, and upnp if it is a single address");
	if (has_address(f, OPTION_INTERNAL_ADDRESS, &f->address) && !pcp && !upnp)
		complain_mappers(
		    r, f, OPTION_INTERNAL_ADDRESS, m, "internal-address", "pcp and upnp can");
}

/* False: the family was complained about. */
static bool
check_family(struct reader *r, const struct section *f)
{
	const struct section *g = f->gateway == CONF_NO_GATEWAY ? NULL : &r->gateways[f->gateway];
	char text[NETADDR_STRLEN];
	bool good = true;

	if (g != NULL && has_address(g, OPTION_ADDRESS, &g->address)) {
		enum family other = netaddr_is4(&g->address) ? FAMILY_IPV6 : FAMILY_IPV4;

		good = !conf_has_family(f, other);
		if (!good)
			complain(r, f, OPTION_FAMILY,
			    "family includes %s, but the address of gateway \"%.80s\" is %s: "
			    "family "
			    "must be %s",
			    other == FAMILY_IPV4 ? "ipv4" : "ipv6", g->name,
			    netaddr_print(&g->address, text),
			    other == FAMILY_IPV4 ? "ipv6" : "ipv4");
	}
	if (has_address(f, OPTION_INTERNAL_ADDRESS, &f->address)) {
		enum family other = netaddr_is4(&f->address) ? FAMILY_IPV6 : FAMILY_IPV4;

		if (conf_has_family(f, other))
			complain(r, f, OPTION_INTERNAL_ADDRESS,
			    "internal-address is %s, but family includes %s: family must be %s",
			    netaddr_print(&f->address, text),
			    other == FAMILY_IPV4 ? "ipv4" : "ipv6",
			    other == FAMILY_IPV4 ? "ipv6" : "ipv4");
	}
	return good;
}

static void
check_forward(struct reader *r, const struct section *f)
{
	struct mapper_list m = { .n = 0 }; /* not known: nothing is said about them */

	if (f->gateway != CONF_NO_GATEWAY) {
		const struct section *g = &r->gateways[f->gateway];
		const struct section *from = g->n_mappers > 0 ? g : &r->global;

		if (!section_is_bad(g, OPTION_MAPPERS) && !section_is_bad(from, OPTION_MAPPERS))
			m = conf_mappers(r, g);
	}
	if (f->lines[OPTION_INTERNAL_PORT] == 0)
		note_error(r, f->file, f->line,
		    "forward \"%.80s\" has no internal-port: it must be %s", f->name,
		    conf_options[OPTION_INTERNAL_PORT].allowed);
	if (f->assigned) {
		check_assigned(r, f, &m);
		return;
	}
	if (section_has(f, OPTION_INTERNAL_PORT))
		check_ports(r, f);
	if (!section_is_bad(f, OPTION_FAMILY)) {
		check_remote_families(r, f);
		if (check_family(r, f) && m.n > 0 && conf_has_family(f, FAMILY_IPV6) &&
		    !mappers_have(&m, MAPPER_PCP))
			complain_mappers(r, f, OPTION_FAMILY, &m, "ipv6", "only pcp can");
	}
	if (m.n > 0)
		check_mappers(r, f, &m);
}

/* A port takes a mapping for each protocol and family. */
static void
check_total(struct reader *r)
{
	uint64_t total = 0;
	size_t i;

	for (i = 0; i < r->n_forwards; i++) {
		const struct section *f = &r->forwards[i];
		unsigned n = f->internal.count;

		n *= conf_has_protocol(f, PROTOCOL_TCP) && conf_has_protocol(f, PROTOCOL_UDP) ? 2
											      : 1;
		n *= conf_has_family(f, FAMILY_IPV4) && conf_has_family(f, FAMILY_IPV6) ? 2 : 1;
		total += n;
		if (total > CONF_MAPPINGS_MAX) {
			complain(r, f, OPTION_INTERNAL_PORT,
			    "forward \"%.80s\" and those before it make %llu mappings: all "
			    "forwards "
			    "together can have %d",
			    f->name, (unsigned long long)total, CONF_MAPPINGS_MAX);
			return;
		}
	}
}

/* UPnP can be written, but is not there yet. Alone it leaves nothing to ask a gateway by; beside
 * others it is left out, which is said once. True: `said`, now or before. */
static bool
check_upnp(struct reader *r, const struct section *s, bool said)
{
	bool has = false;

	for (unsigned i = 0; i < s->n_mappers; i++)
		has |= s->mappers[i] == MAPPER_UPNP;
	if (!has)
		return said;
	if (s->n_mappers == 1)
		complain(r, s, OPTION_MAPPERS,
		    "mappers is {upnp}, which this version does not speak yet: add pcp or nat-pmp");
	else if (!said)
		note_warning(r, s->file, line_of(s, OPTION_MAPPERS),
		    "mappers has upnp, which this version does not speak yet: it is left out");
	return said || s->n_mappers > 1;
}

void
conf_check(struct reader *r)
{
	const struct section **gateways, **forwards;
	bool said;
	size_t i;

	if (!place_default_gateway(r))
		return;
	gateways = sort_names(r, r->gateways, r->n_gateways);
	forwards = sort_names(r, r->forwards, r->n_forwards);
	if (gateways != NULL && forwards != NULL) {
		check_duplicates(r, gateways, r->n_gateways, "gateway");
		check_duplicates(r, forwards, r->n_forwards, "forward");
		said = check_upnp(r, &r->global, false);
		for (i = 0; i < r->n_gateways; i++) {
			check_gateway(r, &r->gateways[i]);
			said = check_upnp(r, &r->gateways[i], said);
		}
		for (i = 0; i < r->n_forwards; i++) {
			find_gateway(r, &r->forwards[i], gateways);
			check_forward(r, &r->forwards[i]);
		}
		check_total(r);
		conf_check_clashes(r);
	}
	free(gateways);
	free(forwards);
}
