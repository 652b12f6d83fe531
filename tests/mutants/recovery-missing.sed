# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: a reset epoch leads to nothing
s/^\t*forgotten(m, now, soonest, p->recover_at);/(void)soonest;/
