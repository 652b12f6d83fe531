# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: the epoch is compared with the first one, at its time
s/^\te->at = now;$/\tif (!e->known)\n\t\te->at = now;/
