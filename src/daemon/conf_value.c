/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"
#include "os/log.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One value on its way into its section. */
struct value {
	struct reader *r;
	struct section *s;
	const struct option_info *info;
	enum option option;
	const char *text; /* NULL: an empty list */
	int line;
	bool first; /* of a list */
};

__attribute__((format(printf, 2, 3))) static bool
bad(const struct value *v, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	note_verror(v->r, v->r->file, v->line, format, ap);
	va_end(ap);
	v->s->bad |= UINT32_C(1) << v->option;
	return false;
}

static bool
bad_as_usual(const struct value *v)
{
	return bad(v, "%s is \"%.80s\": it must be %s", v->info->name, v->text, v->info->allowed);
}

bool
conf_name_valid(const char *name)
{
	static const char inner[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t n = strlen(name);

	return n >= 1 && n <= CONF_NAME_MAX && strspn(name, inner) == n &&
	    strchr("_.-", name[0]) == NULL;
}

static bool
is_digits(const char *text)
{
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* Saturates: what is too large for any option stays too large. */
static uint32_t
to_number(const char *digits, size_t n)
{
	uint64_t number = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		number = number * 10 + (uint64_t)(digits[i] - '0');
		if (number > UINT32_MAX)
			return UINT32_MAX;
	}
	return (uint32_t)number;
}

static bool
set_number(const struct value *v)
{
	uint32_t number;

	if (!is_digits(v->text))
		return bad(v,
		    "%s is \"%.80s\": it must be a whole number of seconds from %u to %u, in "
		    "decimal "
		    "digits only",
		    v->info->name, v->text, v->info->min, v->info->max);
	number = to_number(v->text, strlen(v->text));
	if (number < v->info->min || number > v->info->max)
		return bad(v,
		    "%s is %.80s, which is out of range: it must be from %u to %u seconds",
		    v->info->name, v->text, v->info->min, v->info->max);
	v->s->numbers[v->option] = number;
	return true;
}

static bool
set_boolean(const struct value *v)
{
	int yes = cfg_parse_boolean(v->text);

	if (yes < 0)
		return bad_as_usual(v);
	v->s->numbers[v->option] = yes > 0;
	return true;
}

/* The index of the text in the option's words, or -1. */
static int
find_word(const struct value *v)
{
	int i;

	for (i = 0; v->info->words[i] != NULL; i++)
		if (strcmp(v->info->words[i], v->text) == 0)
			return i;
	return -1;
}

/* As bad_as_usual(), with the word that was probably meant. */
static bool
bad_word(const struct value *v, const char *const *words)
{
	const char *near = conf_nearest(v->text, words);

	if (near == NULL)
		return bad_as_usual(v);
	return bad(v, "%s is \"%.80s\": it must be %s; did you mean \"%s\"?", v->info->name,
	    v->text, v->info->allowed, near);
}

static bool
set_choice(const struct value *v)
{
	int i = find_word(v);

	if (i < 0)
		return bad_word(v, v->info->words);
	v->s->numbers[v->option] = (uint32_t)i;
	return true;
}

static bool
set_log_level(const struct value *v)
{
	static const enum log_level levels[] = { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
		LOG_LEVEL_DEBUG };
	int i = find_word(v);

	if (i < 0)
		return bad_word(v, v->info->words);
	v->s->numbers[v->option] = levels[i];
	return true;
}

/* A port or N-M; says what is wrong otherwise. */
static bool
parse_ports(const struct value *v, struct port_range *out)
{
	size_t n = strspn(v->text, "0123456789");
	const char *rest = v->text + n;
	uint32_t first, last;

	if (n == 0 || (*rest != '\0' && (*rest != '-' || !is_digits(rest + 1))))
		return bad_word(v, v->info->words);
	first = last = to_number(v->text, n);
	if (*rest != '\0')
		last = to_number(rest + 1, strlen(rest + 1));
	if (first < 1 || first > 65535 || last < 1 || last > 65535)
		return bad(v, "%s is %.80s, which is out of range: ports are 1 to 65535",
		    v->info->name, v->text);
	if (first > last)
		return bad(v, "%s is %.80s, a range that runs backwards: write it as %u-%u",
		    v->info->name, v->text, last, first);
	*out =
	    (struct port_range){ .first = (uint16_t)first, .count = (uint16_t)(last - first + 1) };
	return true;
}

static bool
set_internal_port(const struct value *v)
{
	v->s->assigned = find_word(v) == 0;
	if (v->s->assigned) {
		v->s->internal = (struct port_range){ .first = 0, .count = 1 };
		return true;
	}
	return parse_ports(v, &v->s->internal);
}

static bool
set_external_port(const struct value *v)
{
	static const enum external_wish wishes[] = { EXTERNAL_SAME, EXTERNAL_ANY };
	int i = find_word(v);

	v->s->wish = i < 0 ? EXTERNAL_FIXED : wishes[i];
	return i >= 0 || parse_ports(v, &v->s->external);
}

static bool
set_text(const struct value *v, char **where)
{
	char *copy = NULL;

	if (v->text[0] != '\0') {
		copy = reader_strdup(v->r, v->text);
		if (copy == NULL)
			return false;
	}
	free(*where);
	*where = copy;
	return true;
}

static bool
set_gateway_name(const struct value *v)
{
	if (!conf_name_valid(v->text))
		return bad(v,
		    "gateway is \"%.80s\", which cannot be the name of one: " CONF_NAME_ALLOWED,
		    v->text);
	return set_text(v, &v->s->text);
}

/* As the kernel's dev_valid_name(), but for control characters, which are refused, too. */
static bool
set_interface(const struct value *v)
{
	size_t i, n = strlen(v->text);

	if (n > 15 || strcmp(v->text, ".") == 0 || strcmp(v->text, "..") == 0)
		return bad_as_usual(v);
	for (i = 0; i < n; i++)
		if ((unsigned char)v->text[i] <= ' ' || v->text[i] == '/' || v->text[i] == ':' ||
		    v->text[i] == 0x7f)
			return bad_as_usual(v);
	return set_text(v, &v->s->text);
}

/* "auto" is the same as nothing written. */
static bool
set_address(const struct value *v, struct netaddr *out)
{
	struct netaddr a;

	if (strcmp(v->text, "auto") == 0) {
		*out = netaddr_any6;
		return true;
	}
	if (!netaddr_parse(v->text, &a))
		return bad_as_usual(v);
	if (netaddr_is_any(&a) || netaddr_is_multicast(&a))
		return bad(v, "%s is %s, which is not the address of one host: it must be %s",
		    v->info->name, v->text, v->info->allowed);
	if (v->option == OPTION_INTERNAL_ADDRESS && netaddr_classify(&a) == NETADDR_NONE)
		return bad(v,
		    "internal-address is %s, which a gateway cannot forward to: it must be the "
		    "address of a host in the gateway's network, or auto",
		    v->text);
	*out = a;
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
set_link_address(const struct value *v)
{
	static const uint8_t zero[6];
	uint8_t octets[6];
	unsigned i;

	if (v->text[0] == '\0') {
		memset(v->s->link_address, 0, sizeof(octets));
		return true;
	}
	if (strlen(v->text) != 17)
		return bad_as_usual(v);
	for (i = 0; i < 6; i++) {
		const char *p = v->text + 3 * i;
		int high = hex_digit(p[0]);
		int low = hex_digit(p[1]);

		if (high < 0 || low < 0 || (i < 5 && p[2] != ':'))
			return bad_as_usual(v);
		octets[i] = (uint8_t)(high << 4 | low);
	}
	/* The lowest bit of the first octet marks groups. */
	if ((octets[0] & 1) != 0 || memcmp(octets, zero, sizeof(zero)) == 0)
		return bad_as_usual(v);
	memcpy(v->s->link_address, octets, sizeof(octets));
	return true;
}

static bool
add_mapper(const struct value *v)
{
	static const char *const words[] = { "pcp", "nat-pmp", "upnp", NULL };
	static const enum mapper mappers[] = { MAPPER_PCP, MAPPER_NATPMP, MAPPER_UPNP };
	const char *near;
	unsigned i, k;

	if (v->first)
		v->s->n_mappers = 0;
	if (v->text == NULL) /* conf_scan() has complained */
		return false;
	for (i = 0; words[i] != NULL && strcmp(words[i], v->text) != 0; i++)
		;
	if (words[i] == NULL) {
		near = strcmp(v->text, "natpmp") == 0 ? "nat-pmp" : conf_nearest(v->text, words);
		return bad(v, "mappers has \"%.80s\": it must be %s%s%s%s", v->text,
		    v->info->allowed, near == NULL ? "" : "; did you mean \"",
		    near == NULL ? "" : near, near == NULL ? "" : "\"?");
	}
	for (k = 0; k < v->s->n_mappers; k++)
		if (v->s->mappers[k] == mappers[i])
			return bad(v, "mappers has \"%s\" twice: it must be %s", v->text,
			    v->info->allowed);
	v->s->mappers[v->s->n_mappers++] = mappers[i];
	return true;
}

static bool
add_remote(const struct value *v)
{
	struct netprefix p;
	struct netprefix *remotes;

	if (v->first)
		v->s->n_remotes = 0;
	if (v->text == NULL)
		return true;
	if (!netprefix_parse(v->text, &p))
		return bad(v, "remote has \"%.80s\": it must be %s", v->text, v->info->allowed);
	/* RFC 6887 section 13.3: a prefix length of 0 takes all filters away. */
	if (p.bits == 0 || (p.bits == 96 && netaddr_equal(&p.addr, &netaddr_any4)))
		return bad(
		    v, "remote has %s, which is everybody: leave remote out for that", v->text);
	if (v->s->n_remotes >= CONF_REMOTES_MAX)
		return !section_is_bad(v->s, OPTION_REMOTE) &&
		    bad(v, "remote has more than %d prefixes, which one request cannot carry",
			CONF_REMOTES_MAX);
	remotes = reader_grow(v->r, v->s->remotes, v->s->n_remotes, sizeof(*remotes));
	if (remotes == NULL)
		return false;
	v->s->remotes = remotes;
	remotes[v->s->n_remotes++] = p;
	return true;
}

/* The program of a hook. That it cannot be run now is only a warning: it may be installed later. */
static bool
check_program(const struct value *v)
{
	struct stat st;
	int error = 0;

	if (v->text[0] != '/')
		return bad(v,
		    "on-change is \"%.80s\": the program must be an absolute path, such as "
		    "\"/usr/local/bin/update-dns\"; it is not looked for in PATH, and its "
		    "arguments "
		    "are further values of the list",
		    v->text);
	if (stat(v->text, &st) != 0)
		error = errno;
	else if (!S_ISREG(st.st_mode))
		error = EACCES;
	else if (faccessat(AT_FDCWD, v->text, X_OK, AT_EACCESS) != 0)
		error = errno;
	if (error != 0)
		note_warning(v->r, v->r->file, v->line,
		    "on-change: \"%.80s\" cannot be executed now (%s): create it or make it "
		    "executable",
		    v->text, strerror(error));
	return true;
}

static bool
add_argument(const struct value *v)
{
	struct section *s = v->s;
	char **list;

	if (v->first) {
		while (s->n_on_change > 0)
			free(s->on_change[--s->n_on_change]);
		if (v->text != NULL && !check_program(v))
			return false;
	}
	if (s->n_on_change >= CONF_ARGUMENTS_MAX)
		return !section_is_bad(s, OPTION_ON_CHANGE) &&
		    bad(v, "on-change has more than %d arguments", CONF_ARGUMENTS_MAX - 1);
	/* One more and the NULL at the end: there are few, and they stay. */
	list = reallocarray(s->on_change, s->n_on_change + 2, sizeof(*list));
	if (list == NULL) {
		v->r->no_memory = true;
		return false;
	}
	s->on_change = list;
	list[s->n_on_change] = NULL;
	if (v->text == NULL)
		return true;
	list[s->n_on_change] = reader_strdup(v->r, v->text);
	if (list[s->n_on_change] == NULL)
		return false;
	list[++s->n_on_change] = NULL;
	return true;
}

static bool
set_control_group(const struct value *v)
{
	struct group entry;
	struct group *found = NULL;
	char *room = NULL;
	size_t size = 1024;
	int error = ERANGE;

	if (v->text[0] == '\0')
		return set_text(v, &v->s->text);
	while (error == ERANGE && size <= 1024 * 1024) {
		free(room);
		size *= 4;
		room = malloc(size);
		if (room == NULL) {
			v->r->no_memory = true;
			return false;
		}
		error = getgrnam_r(v->text, &entry, room, size, &found);
	}
	if (found != NULL)
		v->s->gid = entry.gr_gid;
	free(room);
	if (found != NULL)
		return set_text(v, &v->s->text);
	if (error != 0 && error != ENOENT && error != ESRCH)
		return bad(v, "control-group is \"%.80s\", which could not be looked up: %s",
		    v->text, strerror(error));
	return bad(v,
	    "control-group is \"%.80s\": there is no such group on this system; create it "
	    "(groupadd), or write \"\" for none",
	    v->text);
}

/* ADDRESS:PORT, [IPv6]:PORT or NAME:PORT. Something of digits and dots only is an address. */
static bool
set_metrics_listen(const struct value *v)
{
	static const char name[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
	const char *colon = strrchr(v->text, ':');
	const char *from = v->text;
	char host[256];
	struct netaddr a;
	size_t n;
	bool good;

	if (v->text[0] == '\0')
		return set_text(v, &v->s->more);
	n = colon == NULL ? 0 : (size_t)(colon - from);
	if (n == 0 || n >= sizeof(host) || !is_digits(colon + 1))
		return bad_as_usual(v);
	if (from[0] == '[' && from[n - 1] == ']' && n > 2) {
		(void)snprintf(host, sizeof(host), "%.*s", (int)n - 2, from + 1);
		good = netaddr_parse(host, &a) && strchr(host, ':') != NULL;
	} else {
		(void)snprintf(host, sizeof(host), "%.*s", (int)n, from);
		good = host[strspn(host, "0123456789.")] == '\0' ? netaddr_parse(host, &a)
								 : host[strspn(host, name)] == '\0';
	}
	if (!good)
		return bad_as_usual(v);
	if (to_number(colon + 1, strlen(colon + 1)) < 1 ||
	    to_number(colon + 1, strlen(colon + 1)) > 65535)
		return bad(v,
		    "metrics-listen is \"%.80s\": the port is out of range, ports are 1 to "
		    "65535",
		    v->text);
	return set_text(v, &v->s->more);
}

/* How many octets the UTF-8 character at `p` has; 0: it is none (RFC 3629). */
static size_t
utf8_length(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t i, n;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	c = p[0] & (0x7fU >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fU);
	}
	return c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? n : 0;
}

static bool
set_description(const struct value *v)
{
	const unsigned char *p = (const unsigned char *)v->text;
	size_t n;

	if (strlen(v->text) > CONF_DESCRIPTION_MAX)
		return bad_as_usual(v);
	for (; *p != '\0'; p += n) {
		n = utf8_length(p);
		if (n == 0 || *p < ' ' || *p == 0x7f)
			return bad_as_usual(v);
	}
	/* "" is a wish, too: no description at all. */
	if (v->text[0] == '\0') {
		free(v->s->more);
		v->s->more = reader_strdup(v->r, "");
		return v->s->more != NULL;
	}
	return set_text(v, &v->s->more);
}

static bool
set_any(const struct value *v)
{
	switch (v->option) {
	case OPTION_MAPPERS:
		return add_mapper(v);
	case OPTION_ON_CHANGE:
		return add_argument(v);
	case OPTION_REMOTE:
		return add_remote(v);
	case OPTION_CONTROL_GROUP:
		return set_control_group(v);
	case OPTION_METRICS_LISTEN:
		return set_metrics_listen(v);
	case OPTION_LOG_LEVEL:
		return set_log_level(v);
	case OPTION_ADDRESS:
	case OPTION_INTERNAL_ADDRESS:
		return set_address(v, &v->s->address);
	case OPTION_SOURCE_ADDRESS:
		return set_address(v, &v->s->source);
	case OPTION_INTERFACE:
		return set_interface(v);
	case OPTION_LINK_ADDRESS:
		return set_link_address(v);
	case OPTION_GATEWAY:
		return set_gateway_name(v);
	case OPTION_INTERNAL_PORT:
		return set_internal_port(v);
	case OPTION_EXTERNAL_PORT:
		return set_external_port(v);
	case OPTION_DESCRIPTION:
		return set_description(v);
	case OPTION_RELEASE_ON_EXIT:
	case OPTION_ON_DEMAND:
	case OPTION_ENABLED:
		return set_boolean(v);
	default:
		return v->info->words[0] != NULL ? set_choice(v) : set_number(v);
	}
}

void
conf_value_set(
    struct reader *r, struct section *s, enum option o, const char *text, int line, bool first)
{
	struct value v = { .r = r,
		.s = s,
		.info = &conf_options[o],
		.option = o,
		.text = text,
		.line = line,
		.first = first };

	if (first || s->lines[o] == 0)
		s->lines[o] = line;
	if (set_any(&v))
		s->given |= UINT32_C(1) << o;
}
