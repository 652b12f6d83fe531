# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: an answer is taken for the last transmission's
s/m->before = open ? .*;/m->before = now;/
