# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: leases of a protocol that the gateway refuses to speak since its update are believed on
s/++p->unlearned\[d\] >= UNLEARNED_ERRORS/false/
