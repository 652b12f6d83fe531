# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a forward with another port after a reload is told as lost and mapped
s/u->held_until = was->told_up ? now + HAND_OVER : 0;/u->held_until = 0;/
