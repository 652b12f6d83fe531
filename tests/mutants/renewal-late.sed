# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: the first renewal comes at 15\/16 of a PCP lease
s/\*start = length - (length >> (k + 1));/*start = length - (length >> (k + 4));/
