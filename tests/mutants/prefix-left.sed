# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: what was opened for an address of before is not closed
/^forward_follow(/,/^}/s/unit_detach(e, now, u, now + HAND_OVER);/unit_detach(e, now, u, MSTIME_NEVER);/
