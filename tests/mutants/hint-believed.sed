# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: every announcement is followed by a question
s/^#define HINT_GAP .*/#define HINT_GAP ((mstime)0)/
