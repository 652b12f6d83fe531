# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: packets that were answered count as a burst
s/p->engine->pace = pace;/(void)pace;/
