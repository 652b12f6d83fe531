# SPDX-License-Identifier: ISC
# file: src/core/leftover.c
# what: what an earlier run left and nobody wants is not deleted
s/make_ghost(p, s, now);/if (m != NULL)\n\t\t\t&/
