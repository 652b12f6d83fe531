/* SPDX-License-Identifier: ISC */
#ifndef BASE_MSTIME_H
#define BASE_MSTIME_H

#include <stdint.h>

/*
 * Milliseconds of CLOCK_BOOTTIME, read once per event by the caller. Gateways
 * keep counting while this machine sleeps, so leases must, too.
 */
typedef int64_t mstime;

#define MSTIME_NEVER INT64_MAX
#define MSTIME_SECOND ((mstime)1000)

#endif
