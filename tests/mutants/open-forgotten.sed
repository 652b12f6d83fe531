# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: what PCP may have made is not deleted when NAT-PMP is spoken
s/m->maker == MAPPER_NATPMP \&\& m->open_pcp/false/
