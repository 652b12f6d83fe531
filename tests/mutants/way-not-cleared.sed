# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a port is asked for while a lease given up a moment ago has it
s/m->wish != 0 \&\& ghost->external_port == m->wish)/m->wish != 0 \&\& ghost->external_port == m->wish \&\& 0)/
