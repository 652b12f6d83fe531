# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: leases of a protocol that the gateway refuses to speak since its update are believed on
s/\tpath_unlearn(p, now, mapper, false);/\t;/
