# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: the wait between probes grows without end
s/return jitter_tenth(min(2 \* max(previous, 30 \* SECOND), PCP_MRT), random);/return jitter_tenth(2 * max(previous, 30 * SECOND), random);/
