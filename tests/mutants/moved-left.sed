# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a forward that moves to another gateway leaves its lease behind
s/detach_all(e, now, old, now);/detach_all(e, now, old, old->gateway == f->gateway ? now : MSTIME_NEVER);/
