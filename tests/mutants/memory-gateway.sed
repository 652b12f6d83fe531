# SPDX-License-Identifier: ISC
# file: src/core/memory.c
# what: the leases of another gateway by the same address are remembered as this one's
/^memory_is_of(/,/^}/s/strcmp(s->gateway, p->gateway->name) == 0/true/
