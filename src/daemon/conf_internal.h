/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_CONF_INTERNAL_H
#define DAEMON_CONF_INTERNAL_H

#include "daemon/conf.h"

#include <stdarg.h>

/*
 * How a config file becomes a struct conf. Nothing here is known outside conf*.c.
 *
 *   conf.c        files and includes, the result
 *   conf_note.c   the list of problems
 *   conf_option.c the table of options; the nearest word to a misspelt one
 *   conf_scan.c   statements: syntax, unknown and repeated names. It leaves libconfuse a text in
 *                 which it cannot stumble, as libconfuse stops at the first mistake
 *   conf_parse.c  libconfuse: calls conf_value.c for each value, with the right line
 *   conf_value.c  one value: its syntax and range
 *   conf_check.c  what options, forwards and gateways say together
 *   conf_clash.c  two forwards that want the same
 *   conf_build.c  sections with inherited values to struct conf
 */

#define CONF_FILE_MAX (1024 * 1024)
#define CONF_FILES_MAX 1000
#define CONF_INCLUDES_MAX 100
#define CONF_MAPPINGS_MAX 65536
#define CONF_NOTES_MAX 1000 /* more problems than that are only counted */
#define CONF_NAME_MAX 64
#define CONF_NAME_ALLOWED                                                                        \
	"names are 1 to 64 letters, digits, \"_\", \".\" and \"-\", and begin with a letter or " \
	"digit"
#define CONF_DESCRIPTION_MAX 255
#define CONF_ARGUMENTS_MAX 64
#define CONF_REMOTES_MAX 32 /* FILTER options: as many as fit into one PCP packet */
#define CONF_NUMBER_ALLOWED "a whole number of seconds from %u to %u, in decimal digits only"

enum option {
	OPTION_LIFETIME,
	OPTION_MAPPERS,
	OPTION_PROBE_INTERVAL,
	OPTION_MAX_RENEW_INTERVAL,
	OPTION_RECOVERY_DELAY,
	OPTION_RELEASE_ON_EXIT,
	OPTION_RELEASE_TIMEOUT,
	OPTION_READY_TIMEOUT,
	OPTION_ON_CHANGE,
	OPTION_HOOK_TIMEOUT,
	OPTION_SETTLE,
	OPTION_CONTROL_GROUP,
	OPTION_METRICS_LISTEN,
	OPTION_LOG_LEVEL,
	OPTION_ADDRESS,
	OPTION_INTERFACE,
	OPTION_SOURCE_ADDRESS,
	OPTION_LINK_ADDRESS,
	OPTION_PROTOCOL,
	OPTION_FAMILY,
	OPTION_INTERNAL_PORT,
	OPTION_EXTERNAL_PORT,
	OPTION_EXTERNAL_POLICY,
	OPTION_PAIRING,
	OPTION_GATEWAY,
	OPTION_INTERNAL_ADDRESS,
	OPTION_REMOTE,
	OPTION_DESCRIPTION,
	OPTION_ON_DEMAND,
	OPTION_ENABLED,
	OPTIONS /* at most 32: see the bit masks of struct section */
};

enum scope { SCOPE_GLOBAL = 1, SCOPE_GATEWAY = 2, SCOPE_FORWARD = 4 };

struct option_info {
	const char *name;
	unsigned scopes;
	bool list;
	uint32_t min, max;    /* of plain numbers; max 0: something else */
	uint32_t fallback;    /* what counts when nobody says anything */
	const char *allowed;  /* the end of an error message: "it must be …" */
	const char *words[5]; /* of choices, NULL-terminated; the index is the value */
};

extern const struct option_info conf_options[OPTIONS];

/* The index of a name, or -1. */
int conf_option_find(const char *name);
/* The entry of the NULL-terminated array that is a likely misspelling away, or NULL. */
const char *conf_nearest(const char *word, const char *const *words);

#define CONF_NO_GATEWAY SIZE_MAX

struct port_range {
	uint16_t first;
	uint16_t count;
};

/* A section, or the global part, as written. Strings and arrays are owned. */
struct section {
	enum scope scope;
	unsigned file;
	int line;
	char *name;                /* NULL: global part */
	uint32_t given;            /* options written and good, a bit for each */
	uint32_t bad;              /* written and wrong */
	int lines[OPTIONS];        /* of the value; 0 = not written */
	uint32_t numbers[OPTIONS]; /* numbers, choices, booleans */
	enum mapper mappers[MAPPERS_MAX];
	unsigned n_mappers;
	char *text; /* the one string of a scope: interface; gateway of a forward; control-group */
	char *more; /* description; metrics-listen */
	char **on_change; /* NULL-terminated */
	size_t n_on_change;
	struct netaddr address,
	    source; /* of a gateway; `address` is a forward's internal-address */
	uint8_t link_address[6];
	struct netprefix *remotes;
	size_t n_remotes;
	bool assigned; /* internal-port = assigned */
	struct port_range internal, external;
	enum external_wish wish;
	gid_t gid;
	/* of forwards, filled in by conf_check.c */
	size_t gateway;  /* index into reader->gateways, or CONF_NO_GATEWAY */
	size_t clash[2]; /* index + 1 of a forward that it was said to clash with, for each side */
};

static inline bool
section_has(const struct section *s, enum option o)
{
	return (s->given >> o & 1) != 0;
}

static inline bool
section_is_bad(const struct section *s, enum option o)
{
	return (s->bad >> o & 1) != 0;
}

struct note {
	unsigned file;
	int line;
	size_t order; /* in which they were found: keeps the sort stable */
	bool warning;
	char *text;
};

struct pattern {
	unsigned file; /* the one that says include */
	int line;
	char *glob;
};

struct scan_result;

/* Everything about one conf_read(). */
struct reader {
	void *slot; /* libconfuse stores a pointer here for every value, see conf_parse.c: first */
	char **files;
	size_t n_files;
	struct note *notes;
	size_t n_notes, notes_left_out, errors;
	struct pattern *patterns;
	size_t n_patterns;
	struct section global;
	struct section *gateways; /* [0] is "default", written or not */
	size_t n_gateways;
	struct section *forwards;
	size_t n_forwards;
	bool syntax_error; /* something may be missing: do not complain about unknown names */
	bool no_memory;
	/* the file being read */
	bool cut; /* conf_scan() has found a syntax error in it and blanked the rest */
	unsigned file;
	struct section current; /* the section being read */
	const struct scan_result *scanned;
	size_t next_section;
};

/* ---- conf_note.c ---- */
void note_error(struct reader *, unsigned file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void note_warning(struct reader *, unsigned file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void note_verror(struct reader *, unsigned file, int line, const char *format, va_list)
    __attribute__((format(printf, 4, 0)));
/* Sorts and hands the problems over; false: out of memory. */
bool note_export(struct reader *, struct conf_problems *out);
void note_free(struct reader *);

/* Grows `array` (of `n` entries, `size` octets each) so that entry n exists, in steps of powers of
 * two; NULL: out of memory, noted in the reader, the old array stays. */
void *reader_grow(struct reader *, void *array, size_t n, size_t size);
char *reader_strdup(struct reader *, const char *);
void section_clear(struct section *);

/* ---- conf_scan.c ---- */
struct scan_result {
	int *lines; /* where sections begin, in order; owned by the caller */
	size_t n_lines;
	bool last_open; /* the last one is never closed */
};
/* Looks through `text` (NUL-terminated, `size` octets before) and overwrites with spaces what
 * libconfuse is not to see: comments, unknown statements, and all from a syntax error on. */
void conf_scan(struct reader *, char *text, size_t size, struct scan_result *out);

/* ---- conf_parse.c ---- */
void conf_parse(struct reader *, const char *text);

/* ---- conf_value.c ---- */
/* One value of an option; with lists, `first` says that a new list begins. */
void conf_value_set(
    struct reader *, struct section *, enum option, const char *value, int line, bool first);
bool conf_name_valid(const char *);

/* ---- conf_check.c, conf_clash.c ---- */
struct mapper_list {
	enum mapper list[MAPPERS_MAX];
	unsigned n;
};
void conf_check(struct reader *);
/* After conf_check(): forwards know their gateways. */
void conf_check_clashes(struct reader *);
/* What counts for a section: its own, its gateway's, the global, or the default one. */
uint32_t conf_number(const struct reader *, const struct section *, enum option);
struct mapper_list conf_mappers(const struct reader *, const struct section *gateway);
bool conf_has_protocol(const struct section *forward, uint8_t protocol);
bool conf_has_family(const struct section *forward, enum family);

/* ---- conf_build.c ---- */
/* NULL: out of memory. Takes names and lists out of the reader. */
struct conf *conf_build(struct reader *);

#endif
