# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: nothing limits bursts
s/now < pace_at(p)/false/; s/^\t\*own_pace(p) = .*;$//
