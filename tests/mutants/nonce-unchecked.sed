# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: the nonce of a reply is not compared
s/memcmp(m->nonce, r->nonce, sizeof(m->nonce)) == 0/1/
