# SPDX-License-Identifier: ISC
# file: src/core/timing.h
# what: renewals of one mapping may be a second apart
s/#define RENEW_GAP (4 \* MSTIME_SECOND)/#define RENEW_GAP (1 * MSTIME_SECOND)/
