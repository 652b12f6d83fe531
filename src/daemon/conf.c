/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files --------------------------------------------------------------------------------- */

/* The whole file with a NUL behind it, or NULL and errno; EFBIG, ENOMEM and EISDIR among others. */
static char *
read_all(int fd, size_t *size)
{
	size_t room = 8192;
	size_t n = 0;
	char *text = malloc(room);
	ssize_t got;

	while (text != NULL) {
		got = read(fd, text + n, room - n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			free(text);
			return NULL;
		}
		n += (size_t)got;
		if (n > CONF_FILE_MAX) {
			free(text);
			errno = EFBIG;
			return NULL;
		}
		if (got == 0) {
			text[n] = '\0';
			*size = n;
			return text;
		}
		if (n + 1 == room) {
			char *grown = realloc(text, 2 * room);

			if (grown == NULL) {
				free(text);
				return NULL;
			}
			text = grown;
			room *= 2;
		}
	}
	return NULL;
}

/* Opening must not wait: somebody might name a FIFO. The main file may be one, or standard input.
 */
static char *
read_file(const char *name, bool main_file, size_t *size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *text = NULL;
	int error;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0)
		error = errno;
	else if (S_ISDIR(st.st_mode))
		error = EISDIR;
	else if (!S_ISREG(st.st_mode) && !main_file)
		error = EINVAL;
	else {
		int flags = fcntl(fd, F_GETFL);

		if (!S_ISREG(st.st_mode) && flags >= 0)
			(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
		text = read_all(fd, size);
		error = errno;
	}
	(void)close(fd);
	errno = error;
	return text;
}

static const char *
advice(int error, bool main_file)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return main_file ? "create it, or name another one with -f"
				 : "it has just gone: try again";
	case EACCES:
	case EPERM:
		return "make it readable for the user that portleased runs as";
	case EFBIG:
		return "a config file can have 1 MiB: spread it over several with include()";
	case EISDIR:
		return main_file ? "name a file" : "change the pattern of include()";
	case EINVAL:
		return "only regular files can be included";
	default:
		return "check the file system";
	}
}

/* Adds a file to the list and reads it, up to all that can be said without the others. */
static void
read_one(struct reader *r, const char *name)
{
	char **files = reader_grow(r, r->files, r->n_files, sizeof(*files));
	char *copy = reader_strdup(r, name);
	struct scan_result scanned;
	size_t length, size = 0;
	char *text;

	if (files != NULL)
		r->files = files;
	if (files == NULL || copy == NULL) {
		free(copy);
		return;
	}
	r->file = (unsigned)r->n_files;
	files[r->n_files++] = copy;
	text = read_file(name, r->file == 0, &size);
	if (text == NULL && errno == ENOMEM) {
		r->no_memory = true;
		return;
	}
	if (text == NULL) {
		int error = errno;

		note_error(r, r->file, 0, "cannot be read: %s; %s", strerror(error),
		    advice(error, r->file == 0));
		r->syntax_error = true;
		return;
	}
	length = strlen(text);
	if (length < size) {
		int line = 1;
		size_t i;

		for (i = 0; i < length; i++)
			line += text[i] == '\n';
		note_error(r, r->file, line, "a NUL byte: this is not a text file");
		r->syntax_error = true;
		free(text);
		return;
	}
	conf_scan(r, text, size, &scanned);
	r->scanned = &scanned;
	if (!r->no_memory)
		conf_parse(r, text);
	r->scanned = NULL;
	free(scanned.lines);
	free(text);
}

/* ---- includes -------------------------------------------------------------------------------- */

/* The pattern, relative to the folder of the including file; that folder's name is no pattern. */
static char *
full_pattern(struct reader *r, const struct pattern *p)
{
	const char *file = r->files[p->file];
	const char *slash = strrchr(file, '/');
	size_t n = slash == NULL || p->glob[0] == '/' ? 0 : (size_t)(slash - file) + 1;
	char *out = malloc(2 * n + strlen(p->glob) + 1);
	char *to = out;
	size_t i;

	if (out == NULL) {
		r->no_memory = true;
		return NULL;
	}
	for (i = 0; i < n; i++) {
		if (strchr("*?[\\", file[i]) != NULL)
			*to++ = '\\';
		*to++ = file[i];
	}
	memcpy(to, p->glob, strlen(p->glob) + 1);
	return out;
}

/* A folder that is not there matches nothing; one that cannot be read is worth a line. */
static int
glob_error(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

static int
compare_strings(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static bool
is_read_already(const struct reader *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->n_files; i++)
		if (strcmp(r->files[i], name) == 0)
			return true;
	return false;
}

static void
read_matches(struct reader *r, const struct pattern *p, const glob_t *found)
{
	size_t i;

	for (i = 0; i < found->gl_pathc && !r->no_memory; i++) {
		if (is_read_already(r, found->gl_pathv[i])) {
			note_warning(r, p->file, p->line,
			    "include(\"%.80s\"): %.200s has been read already and is skipped",
			    p->glob, found->gl_pathv[i]);
			continue;
		}
		if (r->n_files >= CONF_FILES_MAX) {
			note_error(r, p->file, p->line,
			    "include(\"%.80s\"): a config can have %d files; join some of them",
			    p->glob, CONF_FILES_MAX);
			return;
		}
		read_one(r, found->gl_pathv[i]);
	}
}

static void
read_pattern(struct reader *r, const struct pattern *p)
{
	char *pattern = full_pattern(r, p);
	glob_t found = { 0 };
	int result;

	if (pattern == NULL)
		return;
	errno = 0;
	result = glob(pattern, GLOB_NOSORT, glob_error, &found);
	if (result == 0) {
		/* glob() would sort as the locale wants. */
		qsort(found.gl_pathv, found.gl_pathc, sizeof(*found.gl_pathv), compare_strings);
		read_matches(r, p, &found);
	} else if (result == GLOB_NOSPACE)
		r->no_memory = true;
	else if (result == GLOB_ABORTED)
		note_error(r, p->file, p->line,
		    "include(\"%.80s\"): a folder cannot be read: %s; make it readable for the "
		    "user "
		    "that portleased runs as",
		    p->glob, strerror(errno != 0 ? errno : EACCES));
	globfree(&found);
	free(pattern);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void
reader_clear(struct reader *r)
{
	size_t i;

	note_free(r);
	for (i = 0; i < r->n_files; i++)
		free(r->files[i]);
	free(r->files);
	for (i = 0; i < r->n_patterns; i++)
		free(r->patterns[i].glob);
	free(r->patterns);
	for (i = 0; i < r->n_gateways; i++)
		section_clear(&r->gateways[i]);
	free(r->gateways);
	for (i = 0; i < r->n_forwards; i++)
		section_clear(&r->forwards[i]);
	free(r->forwards);
	section_clear(&r->global);
}

/* There must be room for this one sentence, or all hope is lost. */
static void
out_of_memory(const char *file, struct conf_problems *out)
{
	conf_problems_clear(out);
	out->list = calloc(1, sizeof(*out->list));
	if (out->list == NULL)
		return;
	out->n = 1;
	out->list[0].file = strdup(file);
	out->list[0].text = strdup("cannot be read: not enough memory");
	if (out->list[0].file == NULL || out->list[0].text == NULL)
		conf_problems_clear(out);
}

struct conf *
conf_read(const char *file, struct conf_problems *out)
{
	struct reader r = { .global.scope = SCOPE_GLOBAL };
	struct conf *conf = NULL;
	bool exported = false;
	size_t i;

	*out = (struct conf_problems){ 0 };
	read_one(&r, file);
	for (i = 0; i < r.n_patterns && !r.no_memory; i++)
		read_pattern(&r, &r.patterns[i]);
	if (!r.no_memory)
		conf_check(&r);
	if (!r.no_memory)
		exported = note_export(&r, out);
	if (exported && r.errors == 0)
		conf = conf_build(&r);
	if (r.no_memory || !exported || (r.errors == 0 && conf == NULL)) {
		conf_free(conf);
		conf = NULL;
		out_of_memory(file, out);
	}
	reader_clear(&r);
	return conf;
}

void
conf_problems_clear(struct conf_problems *problems)
{
	size_t i;

	for (i = 0; i < problems->n; i++) {
		free(problems->list[i].file);
		free(problems->list[i].text);
	}
	free(problems->list);
	*problems = (struct conf_problems){ 0 };
}

static void
free_strings(char **list)
{
	size_t i;

	if (list == NULL)
		return;
	for (i = 0; list[i] != NULL; i++)
		free(list[i]);
	free(list);
}

void
conf_free(struct conf *conf)
{
	size_t i;

	if (conf == NULL)
		return;
	for (i = 0; i < conf->n_gateways; i++) {
		free(conf->gateways[i].name);
		free(conf->gateways[i].interface);
	}
	free(conf->gateways);
	for (i = 0; i < conf->n_forwards; i++) {
		struct conf_forward *f = &conf->forwards[i];

		free(f->description);
		free_strings(f->on_change);
		free(f->internal);
		free(f->remotes);
	}
	free(conf->forwards);
	free(conf->names);
	for (i = 0; i < conf->n_files; i++)
		free(conf->files[i]);
	free(conf->files);
	free_strings(conf->on_change);
	free(conf->control_group);
	free(conf->metrics_listen);
	free(conf);
}

/* ---- what others want to know ---------------------------------------------------------------- */

const struct conf_gateway *
conf_gateway_find(const struct conf *conf, const char *name)
{
	size_t i;

	for (i = 0; i < conf->n_gateways; i++)
		if (strcmp(conf->gateways[i].name, name) == 0)
			return &conf->gateways[i];
	return NULL;
}

static bool
is_used(const struct conf *conf, const struct conf_gateway *g)
{
	for (size_t i = 0; i < conf->n_forwards; i++)
		if (conf->forwards[i].enabled && conf->forwards[i].gateway == g)
			return true;
	return false;
}

void
conf_totals(const struct conf *conf, struct conf_totals *out)
{
	*out = (struct conf_totals){ .forwards = 0 };
	for (size_t i = 0; i < conf->n_forwards; i++) {
		const struct conf_forward *f = &conf->forwards[i];
		unsigned units = ((unsigned)f->tcp + f->udp) * ((unsigned)f->ipv4 + f->ipv6);

		out->forwards += f->enabled;
		out->disabled += !f->enabled;
		out->mappings += f->enabled ? units * f->count : 0;
	}
	for (size_t i = 0; i < conf->n_gateways; i++)
		out->gateways += is_used(conf, &conf->gateways[i]);
}

void
conf_forward_spec(const struct conf_forward *f, struct forward_spec *out)
{
	*out = (struct forward_spec){ .name = f->name,
		.gateway = f->gateway->name,
		.tcp = f->tcp,
		.udp = f->udp,
		.ipv4 = f->ipv4,
		.ipv6 = f->ipv6,
		.assigned = f->assigned,
		.internal_port = f->internal_port,
		.count = f->count,
		.external = f->external,
		.external_port = f->external_port,
		.require = f->require,
		.independent = f->independent,
		.has_internal = f->internal != NULL,
		.internal = f->internal != NULL ? *f->internal : netaddr_any6,
		.remotes = f->remotes,
		.n_remotes = f->n_remotes,
		.lifetime = f->lifetime,
		.description = f->description,
		.release_on_exit = f->release_on_exit,
		.on_demand = f->on_demand };
}

void
conf_gateway_spec(const struct conf_gateway *g, struct gateway_spec *out)
{
	*out = (struct gateway_spec){
		.name = g->name, .n_mappers = g->n_mappers, .probe_interval = g->probe_interval
	};
	memcpy(out->mappers, g->mappers, sizeof(out->mappers));
}
