# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: a gateway that answered ANNOUNCE once is asked by nothing else after its next update
s/p->announce_works \&\& p->probes < DEAF_PROBES/p->announce_works/
