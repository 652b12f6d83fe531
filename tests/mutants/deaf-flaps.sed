# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: a gateway that has ceased to answer ANNOUNCE is dead for half of each lease
s/^\tp->announce_works = false;/\t;/
