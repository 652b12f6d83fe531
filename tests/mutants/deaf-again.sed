# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: that a gateway is deaf is found out anew after each outage
s/!p->outage || p->announce_deaf || /!p->outage || /
