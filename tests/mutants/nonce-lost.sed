# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a restart makes new nonces
s/e->io->nonce(e->ctx, &key, m->nonce);/e->io->nonce(e->ctx, \&key, m->nonce);\n\t\te->io->random(e->ctx, m->nonce, 12);/
