# SPDX-License-Identifier: ISC
# file: src/core/ask.c
# what: tcp and udp of a pair are asked for without regard to each other
s/	if (n != NULL && mapping_leased(n, now))$/	if (n != NULL \&\& mapping_leased(n, now) \&\& now < 0)/
