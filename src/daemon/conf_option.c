/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/conf_internal.h"
#include "os/log.h"

#include <string.h>

#define EVERYWHERE (SCOPE_GLOBAL | SCOPE_GATEWAY | SCOPE_FORWARD)
#define A_BOOLEAN .words = { "no", "yes" }, .allowed = "yes or no (also true, false, on, off)"

/* The table of contract and man page. `allowed` completes "NAME is "VALUE": it must be …". */
const struct option_info conf_options[OPTIONS] = {
	[OPTION_LIFETIME] = { .name = "lifetime",
	    .scopes = EVERYWHERE,
	    .min = 2,
	    .max = 86400,
	    .fallback = 3600 },
	[OPTION_MAPPERS] = { .name = "mappers",
	    .scopes = SCOPE_GLOBAL | SCOPE_GATEWAY,
	    .list = true,
	    .allowed = "a list of pcp, nat-pmp and upnp, each at most once" },
	[OPTION_PROBE_INTERVAL] = { .name = "probe-interval",
	    .scopes = SCOPE_GLOBAL | SCOPE_GATEWAY,
	    .max = 86400,
	    .fallback = 60 },
	[OPTION_MAX_RENEW_INTERVAL] = { .name = "max-renew-interval",
	    .scopes = SCOPE_GLOBAL,
	    .min = 10,
	    .max = 86400,
	    .fallback = 1800 },
	[OPTION_RECOVERY_DELAY] = { .name = "recovery-delay",
	    .scopes = SCOPE_GLOBAL,
	    .max = 300,
	    .fallback = 5 },
	[OPTION_RELEASE_ON_EXIT] = { .name = "release-on-exit",
	    .scopes = SCOPE_GLOBAL | SCOPE_FORWARD,
	    .fallback = true,
	    A_BOOLEAN },
	[OPTION_RELEASE_TIMEOUT] = { .name = "release-timeout",
	    .scopes = SCOPE_GLOBAL,
	    .min = 1,
	    .max = 60,
	    .fallback = 3 },
	[OPTION_READY_TIMEOUT] = { .name = "ready-timeout",
	    .scopes = SCOPE_GLOBAL,
	    .max = 3600,
	    .fallback = 10 },
	[OPTION_ON_CHANGE] = { .name = "on-change",
	    .scopes = SCOPE_GLOBAL | SCOPE_FORWARD,
	    .list = true },
	[OPTION_HOOK_TIMEOUT] = { .name = "hook-timeout",
	    .scopes = SCOPE_GLOBAL,
	    .min = 1,
	    .max = 3600,
	    .fallback = 30 },
	[OPTION_SETTLE] = { .name = "settle", .scopes = SCOPE_GLOBAL, .max = 86400, .fallback = 0 },
	[OPTION_CONTROL_GROUP] = { .name = "control-group", .scopes = SCOPE_GLOBAL },
	[OPTION_METRICS_LISTEN] = { .name = "metrics-listen",
	    .scopes = SCOPE_GLOBAL,
	    .allowed = "ADDRESS:PORT, such as \"127.0.0.1:9187\" or \"[::1]:9187\", or \"\" for "
		       "none" },
	[OPTION_LOG_LEVEL] = { .name = "log-level",
	    .scopes = SCOPE_GLOBAL,
	    .fallback = LOG_LEVEL_INFO,
	    .words = { "error", "warning", "info", "debug" },
	    .allowed = "error, warning, info or debug" },
	[OPTION_ADDRESS] = { .name = "address",
	    .scopes = SCOPE_GATEWAY,
	    .allowed = "the IPv4 or IPv6 address of a gateway, or auto" },
	[OPTION_INTERFACE] = { .name = "interface",
	    .scopes = SCOPE_GATEWAY,
	    .allowed = "the name of a network interface, 1 to 15 characters without space or \"/\","
		       " or \"\" for any" },
	[OPTION_SOURCE_ADDRESS] = { .name = "source-address",
	    .scopes = SCOPE_GATEWAY,
	    .allowed = "an IPv4 or IPv6 address of this host, or auto" },
	[OPTION_LINK_ADDRESS] = { .name = "link-address",
	    .scopes = SCOPE_GATEWAY,
	    .allowed = "the hardware address of one device, \"aa:bb:cc:dd:ee:ff\", or \"\" for "
		       "any" },
	[OPTION_PROTOCOL] = { .name = "protocol",
	    .scopes = SCOPE_FORWARD,
	    .words = { "tcp", "udp", "both" },
	    .allowed = "tcp, udp or both" },
	[OPTION_FAMILY] = { .name = "family",
	    .scopes = SCOPE_FORWARD,
	    .words = { "ipv4", "ipv6", "both" },
	    .allowed = "ipv4, ipv6 or both" },
	[OPTION_INTERNAL_PORT] = { .name = "internal-port",
	    .scopes = SCOPE_FORWARD,
	    .words = { "assigned" },
	    .allowed = "a port from 1 to 65535, a range N-M, or assigned" },
	[OPTION_EXTERNAL_PORT] = { .name = "external-port",
	    .scopes = SCOPE_FORWARD,
	    .words = { "same", "any" },
	    .allowed = "same, any, a port from 1 to 65535, or a range N-M" },
	[OPTION_EXTERNAL_POLICY] = { .name = "external-policy",
	    .scopes = SCOPE_FORWARD,
	    .words = { "prefer", "require" },
	    .allowed = "prefer or require" },
	[OPTION_PAIRING] = { .name = "pairing",
	    .scopes = SCOPE_FORWARD,
	    .words = { "same", "independent" },
	    .allowed = "same or independent" },
	[OPTION_GATEWAY] = { .name = "gateway", .scopes = SCOPE_FORWARD },
	[OPTION_INTERNAL_ADDRESS] = { .name = "internal-address",
	    .scopes = SCOPE_FORWARD,
	    .allowed = "the IPv4 or IPv6 address of a host, or auto" },
	[OPTION_REMOTE] = { .name = "remote",
	    .scopes = SCOPE_FORWARD,
	    .list = true,
	    .allowed = "a list of addresses and prefixes, such as {\"192.0.2.7\", "
		       "\"2001:db8::/32\"}, with no bits set behind the prefix" },
	[OPTION_DESCRIPTION] = { .name = "description",
	    .scopes = SCOPE_FORWARD,
	    .allowed = "at most 255 bytes of UTF-8 text without control characters" },
	[OPTION_ON_DEMAND] = { .name = "on-demand", .scopes = SCOPE_FORWARD, A_BOOLEAN },
	[OPTION_ENABLED] = { .name = "enabled",
	    .scopes = SCOPE_FORWARD,
	    .fallback = true,
	    A_BOOLEAN },
};

_Static_assert(OPTIONS <= 32, "struct section has a bit for each");

int
conf_option_find(const char *name)
{
	int i;

	for (i = 0; i < OPTIONS; i++)
		if (strcmp(conf_options[i].name, name) == 0)
			return i;
	return -1;
}

#define WORD_MAX 32

/* How many letters must be inserted, deleted, replaced or swapped with their neighbour; WORD_MAX
 * for words too long to be one of ours. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t n_a = strlen(a);
	size_t n_b = strlen(b);
	size_t i, j;

	if (n_a > WORD_MAX || n_b > WORD_MAX)
		return WORD_MAX;
	for (j = 0; j <= n_b; j++)
		rows[0][j] = (unsigned)j;
	for (i = 1; i <= n_a; i++) {
		unsigned *now = rows[i % 3];
		const unsigned *above = rows[(i + 2) % 3];
		const unsigned *before = rows[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (j = 1; j <= n_b; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return rows[n_a % 3][n_b];
}

/* People write external_port, too: that is nearer than its one letter says. */
const char *
conf_nearest(const char *word, const char *const *words)
{
	const char *best = NULL;
	unsigned best_distance = WORD_MAX;
	char dashed[WORD_MAX + 1];
	size_t i, n = strlen(word);

	if (n == 0 || n > WORD_MAX)
		return NULL;
	for (i = 0; i <= n; i++)
		dashed[i] = word[i] == '_' ? '-' : word[i];
	for (; *words != NULL; words++) {
		unsigned d = distance(dashed, *words);

		if (d < best_distance) {
			best = *words;
			best_distance = d;
		}
	}
	return best_distance <= (n + 2) / 3 && best_distance < n ? best : NULL;
}
