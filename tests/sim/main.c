/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Without arguments: the directed scenarios, the seeds that once failed, kill -9 at every step of
 * a few lives, and 200 worlds of 7 days. A fault that never fired in 100 worlds or more is a
 * failure, too. Beside the core it has the real state file (src/daemon/memory_json.c,
 * src/os/statefile.c and Jansson).
 */

struct run {
	uint64_t worlds, first;
	long days;
	unsigned passed, failed;
	bool stop; /* at the first failure */
	enum breadth breadth;
	uint64_t fired[FAULTS], seen[FEATURES];
};

static void
tell_failure(const struct sim *s)
{
	printf("not ok - seed %llu at %lld.%03lld s: %s; faults", (unsigned long long)s->seed,
	    (long long)(s->now / 1000), (long long)(s->now % 1000), s->why);
	for (unsigned f = 0; f < FAULTS; f++)
		if (s->mask & BIT(f))
			printf(" %s", sim_fault_name((enum fault)f));
	printf("; sim --seed %llu --trace%s\n", (unsigned long long)s->seed,
	    s->breadth == NARROW     ? " --narrow"
		: s->breadth == WIDE ? " --wide"
				     : "");
}

static bool
world(struct run *r, uint64_t seed, bool trace, uint64_t *hash)
{
	struct sim *s = sim_new(seed, r->days, r->breadth, trace);
	bool ok;

	sim_run(s);
	ok = !s->failed;
	if (!ok)
		tell_failure(s);
	else if (trace)
		printf("ok - seed %llu, %llu packets\n", (unsigned long long)seed,
		    (unsigned long long)s->sent);
	for (unsigned f = 0; f < FAULTS; f++)
		r->fired[f] += s->fired[f];
	for (unsigned f = 0; f < FEATURES; f++)
		r->seen[f] += s->seen[f];
	*hash = s->hash;
	sim_free(s);
	return ok;
}

static void
count(struct run *r, bool ok)
{
	if (ok)
		r->passed++;
	else
		r->failed++;
}

static void
worlds(struct run *r)
{
	for (uint64_t i = 0; i < r->worlds && !(r->stop && r->failed); i++) {
		uint64_t hash, again;
		bool ok = world(r, r->first + i, false, &hash);
		if (ok && i % 50 == 0) {
			ok = world(r, r->first + i, false, &again) && hash == again;
			if (!ok)
				printf("not ok - seed %llu twice: two different worlds\n",
				    (unsigned long long)(r->first + i));
		}
		count(r, ok);
	}
	if (r->worlds < 100 || r->stop)
		return;
	for (unsigned f = 0; f < (r->breadth == NARROW ? NARROW_FAULTS : FAULTS); f++)
		if (!r->fired[f] && !(r->breadth < FULL && BIT(f) & FULL_FAULTS)) {
			printf("not ok - fault %s never fired\n", sim_fault_name((enum fault)f));
			r->failed++;
		}
	for (unsigned f = 0;
	     f < (r->breadth == FULL ? FEATURES : WIDE_FEATURES) && r->breadth >= WIDE; f++)
		if (!r->seen[f]) {
			printf("not ok - no world had: %s\n", sim_feature_name((enum feature)f));
			r->failed++;
		}
}

/* Kills at so many steps of each seed, and how many seeds by default. */
#define CRASHES_A_SEED 120u
#define CRASH_SEEDS 20

static void
kept_seeds(struct run *r, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[200];
	uint64_t hash;

	if (!f) {
		printf("not ok - %s cannot be read\n", path);
		r->failed++;
		return;
	}
	while (fgets(line, sizeof line, f)) {
		bool named = strchr("wfc", line[0]) != NULL;
		unsigned failed = 0;

		r->breadth = line[0] == 'w' ? WIDE : named ? FULL : NARROW;
		if (line[0] == 'c') {
			(void)crash_seed(
			    strtoull(line + 1, NULL, 10), CRASHES_A_SEED, FULL, &failed);
			count(r, failed == 0);
			continue;
		}
		if (named || (line[0] >= '0' && line[0] <= '9'))
			count(r, world(r, strtoull(line + named, NULL, 10), false, &hash));
	}
	fclose(f);
}

static void
scenarios(struct run *r, const char *only, bool trace)
{
	static const struct directed *const lists[] = { directed_start, directed_renewal,
		directed_epoch, directed_silence, directed_stop, directed_mapping, directed_option,
		directed_port, directed_rules, directed_update, directed_ipv6, directed_set,
		directed_gateways, directed_reload, directed_refusal, directed_firmware,
		directed_deaf, directed_kinds };

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		for (const struct directed *d = lists[i]; d->name; d++) {
			char why[DIRECTED_WHY];
			bool ok;
			if (only && !strstr(d->name, only))
				continue;
			ok = directed_run(d, trace, why);
			if (ok)
				printf("ok - %s\n", d->name);
			else
				printf("not ok - %s: %s\n", d->name, why);
			count(r, ok);
		}
}

static void
crashes(struct run *r, uint64_t seeds)
{
	unsigned total = 0;

	for (uint64_t i = 0; i < seeds && !(r->stop && r->failed); i++) {
		unsigned failed = 0;

		total += crash_seed(r->first + i, CRASHES_A_SEED, r->breadth, &failed);
		count(r, failed == 0);
	}
	printf("%s - killed at %u steps in %llu lives\n", r->failed ? "not ok" : "ok", total,
	    (unsigned long long)seeds);
}

/* SEED:STEP */
static bool
crash(const char *text, enum breadth breadth, bool trace)
{
	char *end;
	uint64_t seed = strtoull(text, &end, 10);

	return crash_once(seed, *end == ':' ? strtoull(end + 1, NULL, 10) : 0, breadth, trace);
}

static int
usage(void)
{
	fputs("usage: sim [--worlds N] [--first SEED] [--days D] [--seed N] [--trace] [--stop]\n"
	      "           [--directed] [--only NAME] [--seeds FILE] [--forwards N]\n"
	      "           [--crashes SEEDS] [--crash SEED:STEP] [--narrow] [--wide]\n",
	    stderr);
	return 2;
}

int
main(int argc, char **argv)
{
	struct run r = { .worlds = 200, .first = 1, .days = 7 };
	enum breadth breadth = FULL;
	bool one = false, trace = false, directed = argc == 1, random = argc == 1;
	const char *top = getenv("srcdir"), *seeds = NULL, *only = NULL;
	char kept[4096];
	uint64_t hash, lives = argc == 1 ? CRASH_SEEDS : 0;

	snprintf(kept, sizeof kept, "%s/tests/sim/seeds.txt", top ? top : ".");
	if (argc == 1)
		seeds = kept;

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(a, "--trace") == 0) {
			trace = true;
			continue;
		}
		if (strcmp(a, "--stop") == 0) {
			r.stop = true;
			continue;
		}
		if (strcmp(a, "--wide") == 0) {
			breadth = WIDE;
			continue;
		}
		if (strcmp(a, "--narrow") == 0) {
			breadth = NARROW;
			continue;
		}
		if (strcmp(a, "--directed") == 0) {
			directed = true;
			continue;
		}
		if (!value)
			return usage();
		i++;
		if (strcmp(a, "--worlds") == 0) {
			r.worlds = strtoull(value, NULL, 10);
			random = true;
		} else if (strcmp(a, "--first") == 0)
			r.first = strtoull(value, NULL, 10);
		else if (strcmp(a, "--days") == 0)
			r.days = strtol(value, NULL, 10);
		else if (strcmp(a, "--seed") == 0) {
			one = true;
			r.first = strtoull(value, NULL, 10);
		} else if (strcmp(a, "--seeds") == 0)
			seeds = value;
		else if (strcmp(a, "--only") == 0) {
			directed = true;
			only = value;
		} else if (strcmp(a, "--crashes") == 0)
			lives = strtoull(value, NULL, 10);
		else if (strcmp(a, "--crash") == 0)
			return !crash(value, breadth, trace);
		else if (strcmp(a, "--forwards") == 0)
			return directed_forwards((unsigned)strtoul(value, NULL, 10));
		else
			return usage();
	}
	r.breadth = breadth;
	if (one)
		count(&r, world(&r, r.first, trace, &hash));
	else {
		if (directed)
			scenarios(&r, only, trace);
		if (seeds)
			kept_seeds(&r, seeds);
		r.breadth = breadth;
		if (lives)
			crashes(&r, lives);
		if (random)
			worlds(&r);
	}
	printf("sim: %u passed, %u failed\n", r.passed, r.failed);
	return r.failed != 0;
}
