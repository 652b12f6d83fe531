# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: all gateways have one pace
s/return &p->gateway->pace\[p->family\];/return \&p->engine->gateways.tqh_first->pace[0];/
