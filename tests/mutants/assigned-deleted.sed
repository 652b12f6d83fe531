# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: an assigned lease is deleted, and with it every mapping of the host
s/if (held && p->state != GATEWAY_ABSENT && m->internal_port != 0)/if (held \&\& p->state != GATEWAY_ABSENT)/
