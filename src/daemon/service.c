/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "daemon/service.h"

#include "os/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

struct service {
	struct loop *loop;
	struct loop_timer *heart;
	mstime beat; /* ms between heartbeats; 0: no watchdog */
	bool ready;
	char status[256];
};

static void
heartbeat(void *ctx)
{
	struct service *s = ctx;

	(void)sd_notify(0, "WATCHDOG=1");
	loop_timer_set(s->heart, loop_now(s->loop) + s->beat);
}

struct service *
service_new(struct loop *loop)
{
	struct service *s = calloc(1, sizeof(*s));
	uint64_t usec = 0;

	if (s == NULL)
		return NULL;
	s->loop = loop;
	if (sd_watchdog_enabled(0, &usec) <= 0 || usec < 2000)
		return s;
	s->heart = loop_timer_new(loop, heartbeat, s);
	if (s->heart == NULL) {
		free(s);
		return NULL;
	}
	s->beat = (mstime)(usec / 2000);
	heartbeat(s);
	return s;
}

void
service_starting(struct service *s, unsigned seconds)
{
	(void)s;
	(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, ((uint64_t)seconds + 30) * 1000000);
}

void
service_ready(struct service *s)
{
	if (s->ready)
		return;
	s->ready = true;
	(void)sd_notify(0, "READY=1");
}

void
service_reloading(struct service *s)
{
	struct timespec now;

	/* systemd wants CLOCK_MONOTONIC here, to tell this reload from an earlier one. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIi64,
	    (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	s->ready = false;
}

void
service_stopping(struct service *s)
{
	(void)s;
	(void)sd_notify(0, "STOPPING=1");
}

void
service_status(struct service *s, const char *text)
{
	if (strncmp(s->status, text, sizeof(s->status) - 1) == 0)
		return;
	snprintf(s->status, sizeof(s->status), "%s", text);
	(void)sd_notifyf(0, "STATUS=%s", s->status);
}

void
service_free(struct service *s)
{
	if (s == NULL)
		return;
	loop_timer_free(s->heart);
	free(s);
}
