/* SPDX-License-Identifier: ISC */
#include "feature.h"

#include "command.h"
#include "jobs.h"
#include "net.h"

#include <stdlib.h>
#include <string.h>

struct job {
	struct job *next;
	int64_t when;
	struct addr local, peer;
	uint8_t *bytes; /* owned */
	size_t len;
	size_t epoch_at;
	bool announcement;
	char *command; /* owned; NULL: a datagram */
};

static struct job *
add(struct gw *gw, int64_t when)
{
	struct job **p = &gw->jobs;
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		abort();
	/* Behind those of the same time: copies keep their order. */
	while (*p != NULL && (*p)->when <= when)
		p = &(*p)->next;
	job->when = when;
	job->next = *p;
	*p = job;
	return job;
}

static void
drop(struct job *job)
{
	free(job->bytes);
	free(job->command);
	free(job);
}

void
jobs_send(struct gw *gw, int64_t when, const struct addr *local, const struct addr *peer,
    const struct packet *packet, size_t epoch_at, bool announcement)
{
	struct job *job = add(gw, when);

	job->bytes = malloc(packet->len + 1);
	if (job->bytes == NULL)
		abort();
	memcpy(job->bytes, packet->bytes, packet->len);
	job->len = packet->len;
	job->local = *local;
	job->peer = *peer;
	job->epoch_at = epoch_at;
	job->announcement = announcement;
}

void
jobs_command(struct gw *gw, int64_t when, const char *command)
{
	struct job *job = add(gw, when);

	job->command = strdup(command);
	if (job->command == NULL)
		abort();
}

void
jobs_cancel_announcements(struct gw *gw)
{
	struct job **p = &gw->jobs;

	while (*p != NULL) {
		struct job *job = *p;

		if (job->announcement) {
			*p = job->next;
			drop(job);
		} else
			p = &job->next;
	}
}

void
jobs_run(struct gw *gw)
{
	while (gw->jobs != NULL && gw->jobs->when <= gw->now) {
		struct job *job = gw->jobs;

		gw->jobs = job->next;
		if (job->command != NULL)
			command_run_unasked(gw, job->command);
		else {
			if (job->epoch_at != 0 && job->epoch_at + 4 <= job->len)
				wire_put32(job->bytes + job->epoch_at, epoch_now(gw));
			net_send(gw, &job->local, &job->peer, job->bytes, job->len,
			    job->announcement ? "announcement" : NULL);
		}
		drop(job);
	}
}

int64_t
jobs_next(const struct gw *gw)
{
	return gw->jobs == NULL ? NEVER : gw->jobs->when;
}

void
jobs_free(struct gw *gw)
{
	while (gw->jobs != NULL) {
		struct job *job = gw->jobs;

		gw->jobs = job->next;
		drop(job);
	}
}
