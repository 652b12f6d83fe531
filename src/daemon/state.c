/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/state.h"

#include "core/engine.h"
#include "daemon/memory_json.h"
#include "os/log.h"
#include "os/loop.h"
#include "os/statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_NAME "state.json"
/* As many mappings as a config can have, with the longest names. */
#define STATE_MAX (48u << 20)
/* What changes together is written together. */
#define SAVE_DELAY MSTIME_SECOND
#define SAVE_RETRY (60 * MSTIME_SECOND)
/* At the end the disk gets this long. */
#define SAVE_PATIENCE MSTIME_SECOND

struct state {
	struct loop *loop;
	struct engine *engine;
	const char *directory;
	struct statefile *file, *secret_file;
	struct loop_timer *timer, *secret_timer;
	const uint8_t *secret; /* not on disk, but wanted there; NULL: all is well */
	char boot[40];
	int said;    /* -errno of the trouble last complained about; 0: all is well */
	bool failed; /* the last write did */
};

/* The disk's trouble of one kind is said once, whatever it strikes. */
static bool
is_news(struct state *s, int error)
{
	bool news = error != s->said;

	s->said = error;
	return news;
}

static void
save_done(void *ctx, int error)
{
	struct state *s = ctx;

	/* What the document was made of is larger than all that it tells of. */
	malloc_trim(0);
	if (error == 0) {
		if (s->failed)
			log_info("%s/%s is written again", s->directory, STATE_NAME);
		s->failed = false;
		s->said = 0;
		return;
	}
	if (is_news(s, error))
		log_warning("%s/%s cannot be written: %s; mappings are kept, but a restart will "
			    "know less; trying again every minute",
		    s->directory, STATE_NAME, strerror(-error));
	s->failed = true;
	loop_timer_set(s->timer, loop_now(s->loop) + SAVE_RETRY);
}

/* ---- a secret that could not be kept at the start ------------------------------------------ */

/* In the child. The folder may have been missing, too. */
static int
write_document(const char *directory, const char *name, const void *bytes, size_t n)
{
	(void)mkdir(directory, 0755);
	return statefile_write(directory, name, bytes, n);
}

static int
write_secret(const char *directory, const char *name, const void *bytes, size_t n)
{
	(void)name;
	(void)n;
	(void)mkdir(directory, 0755);
	return secret_store(directory, bytes);
}

static void
secret_done(void *ctx, int error)
{
	struct state *s = ctx;

	if (error == 0)
		log_info("%s/secret is stored now: a restart will know its leases", s->directory);
	else if (error == -EEXIST)
		log_info("%s/secret is there now, but another one: it counts from the next start "
			 "on, and a strict gateway may refuse then until old leases end",
		    s->directory);
	/* EINVAL: something else is in its place, and has been complained about. */
	if (error == 0 || error == -EEXIST || error == -EINVAL)
		s->secret = NULL;
	else
		loop_timer_set(s->secret_timer, loop_now(s->loop) + SAVE_RETRY);
}

static void
put_secret(void *ctx)
{
	struct state *s = ctx;
	int error;

	if (s->secret == NULL || statefile_busy(s->secret_file))
		return;
	loop_timer_set(s->secret_timer, MSTIME_NEVER);
	error = statefile_put(s->secret_file, s->secret, SECRET_SIZE);
	if (error < 0)
		secret_done(s, error);
}

/* ---- the document --------------------------------------------------------------------------- */

static int
put(struct state *s)
{
	size_t n;
	char *text = memory_json_print(s->engine, loop_now(s->loop), s->boot, &n);
	int error = text != NULL ? statefile_put(s->file, text, n) : -ENOMEM;

	put_secret(s);
	loop_timer_set(s->timer, MSTIME_NEVER);
	free(text);
	malloc_trim(0);
	return error;
}

static void
save_due(void *ctx)
{
	struct state *s = ctx;
	int error = put(s);

	if (error < 0)
		save_done(s, error);
}

static void
read_boot_id(struct state *s)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, s->boot, sizeof(s->boot) - 1) : 0;

	s->boot[n > 0 ? n : 0] = '\0';
	s->boot[strcspn(s->boot, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

struct state *
state_new(struct loop *loop, struct engine *engine, const char *directory)
{
	struct state *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	*s = (struct state){ .loop = loop, .engine = engine, .directory = directory };
	s->timer = loop_timer_new(loop, save_due, s);
	s->file = statefile_new(loop, directory, STATE_NAME, save_done, s);
	s->secret_timer = loop_timer_new(loop, put_secret, s);
	s->secret_file = statefile_new(loop, directory, "secret", secret_done, s);
	read_boot_id(s);
	if (s->timer == NULL || s->file == NULL || s->secret_timer == NULL ||
	    s->secret_file == NULL) {
		state_free(s);
		return NULL;
	}
	statefile_set_write(s->file, write_document);
	statefile_set_write(s->secret_file, write_secret);
	return s;
}

/* The document is of no use, and in the way of the next one. */
static void
set_aside(struct state *s, const char *what)
{
	int error = statefile_set_aside(s->directory, STATE_NAME);

	if (error == 0)
		log_warning("%s/%s is %s: set aside as %s.bad, starting without it", s->directory,
		    STATE_NAME, what, STATE_NAME);
	else
		log_warning("%s/%s is %s, and cannot be set aside: %s; starting without it",
		    s->directory, STATE_NAME, what, strerror(-error));
	s->said = error;
}

static void
load_memory(struct state *s)
{
	char *text;
	size_t n;
	int error = statefile_read(s->directory, STATE_NAME, STATE_MAX, &text, &n);

	if (error == 0) {
		if (!memory_json_parse(s->engine, loop_now(s->loop), s->boot, text, n))
			set_aside(s, "damaged");
		free(text);
	} else if (error == -EINVAL) {
		set_aside(s, "no regular file");
	} else if (error == -EFBIG) {
		set_aside(s, "too large to be ours");
	} else if (error != -ENOENT && is_news(s, error)) {
		log_warning("%s/%s cannot be read: %s; starting without it", s->directory,
		    STATE_NAME, strerror(-error));
	}
	malloc_trim(0);
}

void
state_load(struct state *s, uint8_t secret[SECRET_SIZE])
{
	int error = 0, load;

	if (mkdir(s->directory, 0755) != 0 && errno != EEXIST)
		error = -errno;
	load = secret_load(s->directory, secret);
	if (error == 0)
		error = load;
	if (load < 0) {
		s->secret = secret;
		loop_timer_set(s->secret_timer, loop_now(s->loop) + SAVE_RETRY);
	}
	/* Only the secret is missed at once; what follows from the same cause goes without saying.
	 */
	if (error < 0 && is_news(s, error))
		log_warning("%s%s cannot be used: %s; going on without it, but after a restart a "
			    "strict gateway may refuse until old leases end",
		    s->directory, load < 0 ? "/secret" : "", strerror(-error));
	load_memory(s);
}

void
state_changed(struct state *s)
{
	loop_timer_set(s->timer, loop_now(s->loop) + SAVE_DELAY);
}

void
state_finish(struct state *s)
{
	int error = put(s);

	if (error == 0)
		error = statefile_flush(s->file, SAVE_PATIENCE);
	(void)statefile_flush(s->secret_file, SAVE_PATIENCE);
	if (error < 0 && is_news(s, error))
		log_warning("%s/%s cannot be written: %s; the next start will know less",
		    s->directory, STATE_NAME, strerror(-error));
}

void
state_free(struct state *s)
{
	if (s == NULL)
		return;
	statefile_free(s->file);
	statefile_free(s->secret_file);
	loop_timer_free(s->timer);
	loop_timer_free(s->secret_timer);
	free(s);
}
