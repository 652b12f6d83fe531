# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: silence to NAT-PMP's question is an outage, which PCP's answer ends, and so on
s/if (x.mapper != p->mapper \&\& x.kind != EXCHANGE_MAP)/if (x.mapper != p->mapper \&\& x.kind == EXCHANGE_ANNOUNCE)/
