# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: with very many gateways the first ones always go first
s/e->passed_over = p->number;/return false;/
