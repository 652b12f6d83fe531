/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <confuse.h>
#include <stdlib.h>
#include <string.h>

/*
 * libconfuse has no place for a caller's pointer, but "simple" options carry one: here that of the
 * reader, for every option. Values then are not kept by libconfuse at all, only shown to
 * parse_value(), while cfg->line is right. (It stores the callback's result through the pointer:
 * that is reader->slot.)
 */
static struct reader *
reader_of(const cfg_opt_t *opt)
{
	return (struct reader *)(void *)opt->simple_value.ptr;
}

static int
parse_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct reader *r = reader_of(opt);
	struct section *s = cfg->title == NULL ? &r->global : &r->current;
	/* Set by "=", and by nobody reset in a simple option: so it tells where a list begins. */
	bool first = (opt->flags & CFGF_RESET) != 0;
	int o = conf_option_find(opt->name);

	opt->flags &= ~CFGF_RESET;
	*(void **)result = NULL;
	if (o >= 0)
		conf_value_set(r, s, (enum option)o, value, cfg->line, first);
	return 0;
}

/* `on-change = {}` shows no value: the flag that "=" has set is still there. */
static void
find_empty_lists(cfg_t *cfg, struct reader *r, struct section *s)
{
	cfg_opt_t *opt;

	for (opt = cfg->opts; opt->name != NULL; opt++) {
		int o = conf_option_find(opt->name);

		if (o >= 0 && (opt->flags & CFGF_RESET) != 0 && opt->type == CFGT_PTR)
			conf_value_set(r, s, (enum option)o, NULL, cfg->line, true);
	}
}

static int
parse_section_end(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	struct reader *r = reader_of(&cfg->opts[0]);
	bool is_forward = strcmp(opt->name, "forward") == 0;
	struct section *s = &r->current;
	struct section *list;
	size_t n = is_forward ? r->n_forwards : r->n_gateways;
	size_t index = r->next_section++;

	/* libconfuse takes the end of the file for a brace. */
	if (r->scanned->last_open && index + 1 == r->scanned->n_lines) {
		section_clear(s);
		cfg_free_value(opt);
		return 0;
	}
	find_empty_lists(sec, r, s);
	s->scope = is_forward ? SCOPE_FORWARD : SCOPE_GATEWAY;
	s->file = r->file;
	s->line = r->scanned->lines[index];
	s->name = reader_strdup(r, sec->title);
	if (!conf_name_valid(sec->title))
		note_error(r, s->file, s->line, "\"%.80s\" cannot be a name: " CONF_NAME_ALLOWED,
		    sec->title);
	list = reader_grow(r, is_forward ? r->forwards : r->gateways, n, sizeof(*list));
	if (list != NULL && s->name != NULL) {
		list[n] = *s;
		*s = (struct section){ 0 };
		if (is_forward)
			r->n_forwards++;
		else
			r->n_gateways++;
	}
	if (list != NULL && is_forward)
		r->forwards = list;
	else if (list != NULL)
		r->gateways = list;
	section_clear(s);
	/* Otherwise libconfuse would compare each title with all before. */
	cfg_free_value(opt);
	return 0;
}

static int
parse_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	struct reader *r = reader_of(opt);
	struct pattern *patterns;
	char *glob;

	if (argc != 1) /* conf_scan() lets only one pass */
		return 0;
	if (r->file != 0) {
		note_error(r, r->file, cfg->line,
		    "include(\"%.80s\") in an included file: only %s may include others", argv[0],
		    r->files[0]);
		return 0;
	}
	if (r->n_patterns >= CONF_INCLUDES_MAX) {
		note_error(r, r->file, cfg->line,
		    "include(\"%.80s\"): a config can have %d includes; use patterns", argv[0],
		    CONF_INCLUDES_MAX);
		return 0;
	}
	patterns = reader_grow(r, r->patterns, r->n_patterns, sizeof(*patterns));
	glob = reader_strdup(r, argv[0]);
	if (patterns == NULL || glob == NULL) {
		free(glob);
		return 0;
	}
	patterns[r->n_patterns++] =
	    (struct pattern){ .file = r->file, .line = cfg->line, .glob = glob };
	r->patterns = patterns;
	return 0;
}

/* After conf_scan() this is left: what it had no eye for, and the premature end that it made. */
__attribute__((format(printf, 2, 0))) static void
parse_error(cfg_t *cfg, const char *format, va_list ap)
{
	struct reader *r = reader_of(&cfg->opts[0]);

	if (!r->cut)
		note_verror(r, r->file, cfg->line, format, ap);
	r->syntax_error = true;
}

static unsigned
fill_options(struct reader *r, enum scope scope, cfg_opt_t *out)
{
	unsigned n = 0;
	int o;

	for (o = 0; o < OPTIONS; o++) {
		if ((conf_options[o].scopes & (unsigned)scope) == 0)
			continue;
		out[n++] = (cfg_opt_t){ .name = conf_options[o].name,
			.type = CFGT_PTR,
			.flags = conf_options[o].list ? CFGF_LIST : CFGF_NONE,
			.simple_value.ptr = (void **)(void *)r,
			.parsecb = parse_value };
	}
	return n;
}

void
conf_parse(struct reader *r, const char *text)
{
	cfg_opt_t gateway[OPTIONS + 1] = { 0 };
	cfg_opt_t forward[OPTIONS + 1] = { 0 };
	cfg_opt_t global[OPTIONS + 4] = { 0 };
	unsigned n;
	cfg_t *cfg;

	(void)fill_options(r, SCOPE_GATEWAY, gateway);
	(void)fill_options(r, SCOPE_FORWARD, forward);
	n = fill_options(r, SCOPE_GLOBAL, global);
	global[n++] = (cfg_opt_t){ .name = "gateway",
		.type = CFGT_SEC,
		.flags = CFGF_MULTI | CFGF_TITLE,
		.subopts = gateway,
		.validcb = parse_section_end };
	global[n++] = (cfg_opt_t){ .name = "forward",
		.type = CFGT_SEC,
		.flags = CFGF_MULTI | CFGF_TITLE,
		.subopts = forward,
		.validcb = parse_section_end };
	global[n++] = (cfg_opt_t){ .name = "include",
		.type = CFGT_FUNC,
		.func = parse_include,
		.simple_value.ptr = (void **)(void *)r };
	r->next_section = 0;
	/* A new one for each file: cfg_free() also resets the lexer, which a string without end
	 * leaves in the wrong mood. */
	cfg = cfg_init(global, CFGF_NONE);
	if (cfg == NULL) {
		r->no_memory = true;
		return;
	}
	(void)cfg_set_error_function(cfg, parse_error);
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS)
		r->syntax_error = true;
	find_empty_lists(cfg, r, &r->global);
	(void)cfg_free(cfg);
	section_clear(&r->current);
}
