# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a smaller set than was asked for is kept beside the single ports
/^other_set(/,/^}/s/give_back(m, now, a);//
