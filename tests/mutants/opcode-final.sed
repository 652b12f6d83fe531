# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: where PCP makes no mappings, NAT-PMP is not tried
s/ || path_maps_otherwise(m, now, a)//
