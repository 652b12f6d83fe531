/* SPDX-License-Identifier: ISC */
/*
 * Runs a fuzz target without a fuzzing engine: every file of a corpus and, to
 * see a little more on every machine, a number of mutations of each. The
 * mutations depend on nothing but the file and their number, so that what fails
 * once fails again.
 *
 *	replay CORPUS [MUTATIONS]
 *
 * CORPUS is a folder, or one file. Ends with 1 when something fails or there is
 * nothing to run.
 */
#include "config.h"

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX 65536
#define GROWTH_MAX 64 /* octets that one mutation may add */
#define STEPS_MAX 8   /* changes in one mutation */

/* For the handler of SIGABRT only. */
static char current[PATH_MAX + 64];

static void
say_what_failed(int number)
{
	ssize_t ignored;

	(void)number;
	ignored = write(STDERR_FILENO, current, strlen(current));
	(void)ignored;
	_exit(1);
}

/* xorshift64*: good enough to hit things, and the same everywhere. */
static uint32_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1dULL >> 32);
}

/* FNV-1a over the file: a renamed or new file does not change the others' mutations. */
static uint64_t
seed_of(const uint8_t *data, size_t n, unsigned long number)
{
	uint64_t hash = 0xcbf29ce484222325ULL ^ number * 0x9e3779b97f4a7c15ULL;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ data[i]) * 0x100000001b3ULL;
	return hash != 0 ? hash : 1;
}

static size_t
below(uint64_t *state, size_t limit)
{
	return limit == 0 ? 0 : next_random(state) % limit;
}

/* One change in place; `room` octets are there. Returns the new length. */
static size_t
mutate(uint8_t *data, size_t n, size_t room, uint64_t *state)
{
	static const uint8_t edges[] = { 0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0x81, 0x82, 0xff };
	size_t at = below(state, n), length, to;

	switch (next_random(state) % 8) {
	case 0: /* one bit */
		if (n > 0)
			data[at] ^= (uint8_t)(1 << below(state, 8));
		return n;
	case 1: /* one octet */
		if (n > 0)
			data[at] = (uint8_t)next_random(state);
		return n;
	case 2: /* one octet, of those that mean something */
		if (n > 0)
			data[at] = edges[below(state, sizeof(edges))];
		return n;
	case 3: /* a length: small numbers in two octets */
		if (n >= 2) {
			at = below(state, n - 1);
			data[at] = 0;
			data[at + 1] = (uint8_t)below(state, 40);
		}
		return n;
	case 4: /* cut */
		return below(state, n + 1);
	case 5: /* grow */
		length = below(state, GROWTH_MAX) + 1;
		for (; length > 0 && n < room; length--)
			data[n++] = (uint8_t)next_random(state);
		return n;
	case 6: /* take a piece out */
		length = below(state, n - at + 1);
		memmove(data + at, data + at + length, n - at - length);
		return n - length;
	default: /* one piece over another */
		to = below(state, n);
		length = below(state, n - (at > to ? at : to) + 1);
		memmove(data + to, data + at, length);
		return n;
	}
}

static bool
read_file(const char *path, uint8_t *data, size_t *n)
{
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return false;
	}
	*n = fread(data, 1, INPUT_MAX, f);
	if (ferror(f) || fgetc(f) != EOF) {
		fprintf(stderr, "replay: %s: cannot be read, or has more than %d octets\n", path,
		    INPUT_MAX);
		fclose(f);
		return false;
	}
	fclose(f);
	return true;
}

/* Counts the inputs run. */
static bool
replay_file(const char *path, unsigned long mutations, unsigned long *inputs)
{
	static uint8_t data[INPUT_MAX], mutant[INPUT_MAX + GROWTH_MAX];
	size_t n;

	if (!read_file(path, data, &n))
		return false;
	snprintf(current, sizeof(current), "replay: failed on %s\n", path);
	LLVMFuzzerTestOneInput(data, n);
	++*inputs;
	for (unsigned long i = 1; i <= mutations; i++) {
		uint64_t state = seed_of(data, n, i);
		size_t m = n;

		memcpy(mutant, data, n);
		for (size_t steps = below(&state, STEPS_MAX) + 1; steps > 0; steps--)
			m = mutate(mutant, m, sizeof(mutant), &state);
		snprintf(current, sizeof(current), "replay: failed on %s, mutation %lu\n", path, i);
		LLVMFuzzerTestOneInput(mutant, m);
		++*inputs;
	}
	return true;
}

static int
visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Sorted, so that two runs are the same run. */
static bool
replay_folder(const char *folder, unsigned long mutations, unsigned long *inputs)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, visible, alphasort);
	bool ok = n >= 0;

	if (n < 0)
		fprintf(stderr, "replay: %s: %s\n", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		ok = replay_file(path, mutations, inputs) && ok;
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return ok;
}

int
main(int argc, char **argv)
{
	unsigned long mutations = 0, inputs = 0;
	struct stat st;
	char *end;
	bool ok;

	if (argc == 3) {
		errno = 0;
		mutations = strtoul(argv[2], &end, 10);
		if (errno != 0 || end == argv[2] || *end != '\0')
			argc = 0;
	}
	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: replay CORPUS [MUTATIONS]\n");
		return 1;
	}
	signal(SIGABRT, say_what_failed);
	if (stat(argv[1], &st) != 0) {
		fprintf(stderr, "replay: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	ok = S_ISDIR(st.st_mode) ? replay_folder(argv[1], mutations, &inputs)
				 : replay_file(argv[1], mutations, &inputs);
	printf("replay: %lu inputs\n", inputs);
	return ok && inputs > 0 ? 0 : 1;
}
