# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a lease that a reload takes over is renewed at once
s/MAPPING_ACTIVE, ((struct ghost \*)ghost)->renews);/MAPPING_ACTIVE, now);/
