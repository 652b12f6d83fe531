# SPDX-License-Identifier: ISC
# file: src/core/ask.c
# what: a pair is moved about as long as its ports differ
s/m->moves + n->moves >= PAIR_MOVES/m->moves + n->moves >= 1000/
