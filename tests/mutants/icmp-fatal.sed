# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: an ICMP error ends the lease
s/^\tgive_up(p, now);$/\tif (x->mapping != NULL)\n\t\tx->mapping->expires = 0;\n\tgive_up(p, now);/
