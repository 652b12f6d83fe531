# SPDX-License-Identifier: ISC
# file: src/core/leftover.c
# what: what an earlier run left and nobody wants is not deleted
s/if (!is_wanted(p, s)) {/if (0) {/
