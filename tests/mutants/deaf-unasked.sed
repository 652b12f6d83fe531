# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: whether it is only deaf to ANNOUNCE is found out at half of the lease
s/bool once = patient .*/bool once = false;/
