# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a lease is renewed and deleted by whichever protocol is spoken now
s/if (m->state == MAPPING_RELEASING || mapping_leased(m, now))/if (0)/
