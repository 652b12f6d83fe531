# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a lease counts from the arrival of its answer
s/^\tm->granted = .*;$/\tm->granted = now;/
