# SPDX-License-Identifier: ISC
# file: src/core/gateway.c
# what: a clock that stands still is forgotten at each reboot that the other one tells of
s/if (!p->epochs\[1 - dialect(mapper)\].unusable)/if (true)/
