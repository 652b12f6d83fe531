# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: what was asked for by PCP alone is deleted by NAT-PMP, and so is what this host has there
s/if (!ask_possible(m, m->maker))/if (false)/
