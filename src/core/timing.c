/* SPDX-License-Identifier: ISC */
#include "core/timing.h"

#include "proto/natpmp.h"
#include "proto/pcp.h"

#define SECOND MSTIME_SECOND
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define NATPMP_SENDS 9u           /* RFC 6886 section 3.1 */
#define NATPMP_REST (15 * MINUTE) /* after "not supported", section 1.12 of our protocol notes */
#define PCP_IRT (3 * SECOND)
#define PCP_MRT (1024 * SECOND)
#define FIRST_WAIT ((mstime)250)

static mstime
min(mstime a, mstime b)
{
	return a < b ? a : b;
}

static mstime
max(mstime a, mstime b)
{
	return a > b ? a : b;
}

mstime
jitter_tenth(mstime base, uint32_t random)
{
	return base - base / 10 + (mstime)(random % (uint64_t)(base / 5 + 1));
}

/*
 * RFC 6887 section 8.5, in signed 64 bits (the RFC's unsigned arithmetic trips over its own
 * tolerance of one second back):
 *
 *	curr_server < prev_server by more than 1			INVALID
 *	client_delta + 2 < server_delta - server_delta/16		INVALID
 *	server_delta + 2 < client_delta - client_delta/16		INVALID
 *
 * RFC 6886 section 3.6: reset <=> new < prev + 7/8 * elapsed - 2. Its one-sided rule is
 * completed by PCP's second line: a clock that jumps ahead is a restart, too.
 */
bool
epoch_is_reset(const struct epoch *e, enum mapper mapper, uint32_t value, mstime now)
{
	int64_t elapsed = now - e->at;
	int64_t client = elapsed / 1000;
	int64_t server = (int64_t)value - (int64_t)e->value;

	if (!e->known || e->unusable)
		return false;
	/* Standing still at 0 is what a gateway without a clock says, not a reboot. */
	if (value == 0 && e->value == 0)
		return false;
	if (client + 2 < server - server / 16)
		return true;
	if (mapper == MAPPER_PCP)
		return server < -1 || server + 2 < client - client / 16;
	return (server + 2) * 8000 < elapsed * 7;
}

bool
epoch_observe(struct epoch *e, enum mapper mapper, uint32_t value, mstime now)
{
	bool reset = epoch_is_reset(e, mapper, value, now);

	if (!e->known || value != e->value) {
		e->repeats = 0;
		e->unusable = false;
		e->same_at = now;
	} else if (now - e->same_at >= 3 * SECOND) {
		e->same_at = now;
		if (e->repeats < 2)
			e->repeats++;
		/* 0 proves it at once; another number might be two quick reboots. */
		e->unusable = value == 0 || e->repeats >= 2;
	}
	e->at = now;
	e->known = true;
	e->value = value;
	return reset;
}

mstime
contact_wait(enum mapper mapper, bool on_link, unsigned n, mstime previous, uint32_t random)
{
	mstime wait;

	if (n == 0)
		n = 1;
	/* The ninth is waited for like the others; what follows is another attempt. */
	if (mapper != MAPPER_PCP)
		return (n <= NATPMP_SENDS ? FIRST_WAIT << (n - 1) : 0) +
		    (n >= NATPMP_SENDS ? NATPMP_REST : 0);
	if (n == 1)
		wait = on_link ? FIRST_WAIT : PCP_IRT;
	else if (previous < PCP_IRT / 2)
		wait = max(2 * previous, FIRST_WAIT);
	else if (previous < PCP_IRT * 8 / 10)
		wait = PCP_IRT; /* from here on the RFC's own series */
	else
		wait = min(2 * previous, PCP_MRT);
	return jitter_tenth(wait, random);
}

mstime
outage_wait(mstime silence, mstime previous, uint32_t random)
{
	if (silence < 10 * MINUTE)
		return RENEW_GAP;
	if (silence < 10 * MINUTE + HOUR)
		return 30 * SECOND;
	return jitter_tenth(min(2 * max(previous, 30 * SECOND), PCP_MRT), random);
}

/*
 * RFC 6887 section 11.2.1, one packet at random in each window k = 0, 1, 2 …:
 *
 *	start = L * (1 - 2^-(k+1))	width = L * 2^-(k+3)
 *
 * NAT-PMP (RFC 6886 section 3.3 knows only the half) has bursts at 1/2, 3/4 and 9/10.
 */
static bool
window(enum mapper mapper, mstime length, unsigned k, mstime *start, mstime *width)
{
	if (mapper == MAPPER_PCP) {
		if (k > 12)
			return false;
		*start = length - (length >> (k + 1));
		*width = length >> (k + 3);
		return true;
	}
	if (k > 2)
		return false;
	*start = k == 0 ? length / 2 : k == 1 ? length / 4 * 3 : length / 10 * 9;
	*width = k == 0 ? length / 16 : 0;
	return true;
}

/* NAT-PMP's last bursts begin on time, whatever probes there were. */
static bool
later_burst(enum mapper mapper, unsigned k)
{
	return mapper != MAPPER_PCP && k > 0;
}

static mstime
short_renewal(mstime granted, mstime length, mstime ceiling, mstime last, uint32_t random)
{
	mstime spread = length / 32;
	mstime first = length / 2 + (mstime)(random % (uint64_t)(spread + 1));
	mstime at = max(granted + min(first, max(ceiling, length / 2)), last + RENEW_GAP);

	return at < granted + length ? at : MSTIME_NEVER;
}

mstime
renewal_next(
    enum mapper mapper, mstime granted, mstime length, mstime ceiling, mstime last, uint32_t random)
{
	mstime earliest = last + RENEW_GAP;
	/* A long lease is renewed as if it were one whose half is the ceiling; should that fail,
	 * the windows of the real one follow. */
	mstime bases[2] = { min(length, 2 * ceiling), length };

	if (mapper == MAPPER_PCP && length < SHORT_LEASE)
		return short_renewal(granted, length, ceiling, last, random);
	for (unsigned b = 0; b < 2; b++) {
		mstime start, width;

		for (unsigned k = 0; window(mapper, bases[b], k, &start, &width); k++) {
			mstime at = start + (mstime)(random % (uint64_t)(width + 1));
			mstime soonest = later_burst(mapper, k) ? last + MSTIME_SECOND : earliest;

			if (b == 0 && k == 0)
				at = min(at, max(ceiling, start));
			/* A window that the last try was in, or that has passed, is done with. */
			if (last - granted >= start || granted + start + width < soonest)
				continue;
			at = max(granted + at, soonest);
			return at < granted + length ? at : MSTIME_NEVER;
		}
	}
	return MSTIME_NEVER;
}

/*
 * RFC 6887 section 7.4: short lifetime errors 30 s, long ones 30 minutes; the number in the reply
 * rules within 30 s … 1 h (short) and 15 min … 1 h (long). miniupnpd sends 0 with long errors.
 * 7, no address, is asked for again every 15 minutes at least.
 * RFC 6886 gives no times: what may pass by itself (3, 4) is short, the rest is long.
 */
mstime
refusal_wait(enum mapper mapper, uint16_t result, uint32_t lifetime, unsigned attempt)
{
	bool brief;
	mstime wait;

	if (mapper == MAPPER_PCP)
		brief = result == PCP_SUCCESS || result == PCP_NETWORK_FAILURE ||
		    result == PCP_NO_RESOURCES || result == PCP_USER_EX_QUOTA;
	else
		brief = result == NATPMP_SUCCESS || result == NATPMP_NETWORK_FAILURE ||
		    result == NATPMP_OUT_OF_RESOURCES;
	if (!brief) {
		wait = lifetime == 0 ? 30 * MINUTE : (mstime)lifetime * SECOND;
		return min(max(wait, 15 * MINUTE), HOUR);
	}
	wait = lifetime == 0 ? 30 * SECOND : (mstime)lifetime * SECOND;
	/* A gateway without an address is asked every 30 s; a full one is left more and more
	 * alone (P-62, RFC 6886: 30 s at least). */
	if ((mapper == MAPPER_PCP && result != PCP_NETWORK_FAILURE) ||
	    (mapper != MAPPER_PCP && result == NATPMP_OUT_OF_RESOURCES))
		wait = max(wait, (30 * SECOND) << (attempt < 5 ? attempt : 5));
	if (result == 0 || (mapper == MAPPER_PCP && result == PCP_NETWORK_FAILURE))
		wait = min(wait, 15 * MINUTE);
	return min(max(wait, 30 * SECOND), HOUR);
}
