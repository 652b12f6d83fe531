# SPDX-License-Identifier: ISC
# file: src/core/rival.c
# what: the second forward does not take over when the first goes away
s/if (f->units\[i\].blocked \&\& !e->stopping \&\& !has_rival/if (0 \&\& !has_rival/
