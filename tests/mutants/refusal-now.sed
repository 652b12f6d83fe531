# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: an error with lifetime 0 is followed by the same request at once
s/return min(max(wait, 15 \* MINUTE), HOUR);/return min(wait, HOUR);/; s/lifetime == 0 ? 30 \* MINUTE : /lifetime == 0 ? 0 : /
