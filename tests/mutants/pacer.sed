# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: nothing limits bursts
s/return e->stopping || now >= pace_at(e);/return true;/; s/e->pace = (e->pace > now ? e->pace : now) + PACE_GAP;/(void)e;/
