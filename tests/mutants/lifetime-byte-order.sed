# SPDX-License-Identifier: ISC
# file: src/proto/pcp.c
# what: the lifetime of a PCP request is in host order
s/? q->lifetime : 0);/? __builtin_bswap32(q->lifetime) : 0);/
