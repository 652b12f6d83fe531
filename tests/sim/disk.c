/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include "daemon/memory_json.h"
#include "os/statefile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The state file, as the daemon keeps it: what changes is written a second later, in a while, by
 * the real serialiser. Who starts reads the last document that was written whole. In the crash runs
 * it goes through a real folder.
 */

#define BOOT "5f0c8f6e-5b7e-4d55-9a53-2f1a7c1f0b57"
#define NAME "state.json"
#define SAVE_DELAY MSTIME_SECOND
#define WRITING 5

static char *
print(struct sim *s)
{
	size_t n;
	char *text = memory_json_print(s->engine, s->now, BOOT, &n);

	if (!text)
		sim_fail(s, "memory_json_print failed");
	return text;
}

void
disk_changed(struct sim *s)
{
	if (s->disk.due)
		return;
	s->disk.due = true;
	sim_schedule(s, s->now + SAVE_DELAY, H_SAVE, 0)->count = s->disk.life;
}

static void
done(struct disk *d, char *text, const bool knew[BOXES])
{
	free(d->saved);
	d->saved = text;
	memcpy(d->knew, knew, sizeof d->knew);
}

void
disk_event(struct sim *s, const struct event *e)
{
	struct disk *d = &s->disk;

	if (e->count != d->life)
		return; /* of a process that is no more */
	if (e->kind == H_SAVED) {
		done(d, d->writing, d->knew_then);
		d->writing = NULL;
		sim_step(s);
		return;
	}
	d->due = false;
	free(d->writing);
	d->writing = print(s);
	memcpy(d->knew_then, s->knew, sizeof d->knew_then);
	sim_log(s, "save", 0, "", 0);
	sim_schedule(s, s->now + WRITING, H_SAVED, 0)->count = d->life;
	sim_step(s);
}

void
disk_finish(struct sim *s)
{
	done(&s->disk, print(s), s->knew);
}

/* Does the document have a lease with this inside? */
bool
disk_has(const struct sim *s, unsigned slot, uint8_t protocol, uint16_t internal)
{
	char port[40], address[60], word[30], ip[NETADDR_STRLEN];
	const char *at = s->disk.saved, *from;
	struct netaddr a = host_address(s, slot);

	snprintf(port, sizeof port, "\"internal_port\": %u,", internal);
	snprintf(address, sizeof address, "\"local_address\": \"%s\"", netaddr_print(&a, ip));
	snprintf(word, sizeof word, "\"protocol\": \"%s\"", protocol_name(protocol));
	while (at && (at = strstr(at, port))) {
		/* of the same entry: these stand before the port */
		for (from = at; from > s->disk.saved && *from != '{'; from--)
			;
		from = strstr(from, address);
		if (from && from < at && (from = strstr(from, word)) && from < at)
			return true;
		at++;
	}
	return false;
}

void
disk_start(struct sim *s, bool with_memory)
{
	struct disk *d = &s->disk;

	d->life++;
	d->due = false;
	free(d->writing);
	d->writing = NULL;
	if (!with_memory) {
		free(d->saved);
		d->saved = NULL;
		memset(d->knew, 0, sizeof d->knew);
	}
	memcpy(s->knew, d->knew, sizeof s->knew);
	if (d->saved && !memory_json_parse(s->engine, s->now, BOOT, d->saved, strlen(d->saved)))
		sim_fail(s, "the state file is damaged");
}

void
disk_free(struct sim *s)
{
	free(s->disk.saved);
	free(s->disk.writing);
}

/* ---- a crash, in a real folder -------------------------------------------------------------- */

static void
put(struct sim *s, const char *folder, const char *text)
{
	int error = statefile_write(folder, NAME, text, strlen(text));

	if (error)
		sim_fail(s, "statefile_write: %s", strerror(-error));
}

/* Half of the next document, as a writer leaves it that dies before the rename. */
static void
leave_half(struct sim *s, const char *folder, const char *text)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof path, "%s/.%s.new", folder, NAME);
	f = fopen(path, "w");
	if (!f || fwrite(text, 1, strlen(text) / 2, f) != strlen(text) / 2)
		sim_fail(s, "%s cannot be written", path);
	if (f)
		fclose(f);
}

/* What is found after a crash while a document was being written: by `outcome` the old one, the old
 * one and half of the new one, or the new one. */
void
disk_crash(struct sim *s, unsigned outcome)
{
	/* Where an fsync costs nothing, if there is such a place. */
	char memory[] = "/dev/shm/portleased-sim.XXXXXX", tmp[] = "/tmp/portleased-sim.XXXXXX";
	const char *folder = mkdtemp(memory);
	struct disk *d = &s->disk;
	char *text = NULL, path[100];
	size_t n = 0;

	if (!folder)
		folder = mkdtemp(tmp);
	if (!folder) {
		sim_fail(s, "no folder in /tmp");
		return;
	}
	if (d->saved)
		put(s, folder, d->saved);
	if (d->writing && outcome == 1)
		leave_half(s, folder, d->writing);
	if (d->writing && outcome == 2) {
		put(s, folder, d->writing);
		memcpy(d->knew, d->knew_then, sizeof d->knew);
	}
	if (statefile_read(folder, NAME, 1 << 20, &text, &n) == 0) {
		free(d->saved);
		d->saved = text;
		if (strlen(text) != n)
			sim_fail(s, "the state file has octets of 0");
		put(s, folder, text); /* the next writer gets on with what is left */
	} else if (d->saved) {
		sim_fail(s, "the state file is gone");
	}
	snprintf(path, sizeof path, "%s/.%s.new", folder, NAME);
	if (text && access(path, F_OK) == 0)
		sim_fail(s, "half of a document stays for ever");
	(void)unlink(path);
	snprintf(path, sizeof path, "%s/%s", folder, NAME);
	(void)unlink(path);
	if (rmdir(folder) != 0)
		sim_fail(s, "%s is not empty", folder);
}
