# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: gateways that are one box have a pace each
s/pace = later(pace, \*own_pace(q));/(void)pace;/
