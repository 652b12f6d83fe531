# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a lease of another address of ours is shown for the new one
/^unit_detach(/,/^}/s/m->expires = 0;//
