# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: success with a lifetime of 0 is a lease
s/else if (a->lifetime == 0)/else if (0)/
