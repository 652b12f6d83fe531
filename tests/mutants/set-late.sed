# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: a late refusal of a set is taken for one of the single port
s/ || (r->has_set \&\& m->count == 1)//
