# SPDX-License-Identifier: ISC
# file: src/core/gateway.c
# what: the external address is asked for once
s/(p->address_at < 0 || now - p->address_at >= .*))/p->address_at < 0)/
