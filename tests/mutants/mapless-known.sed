# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: leases that PCP renews no more are refused, though NAT-PMP is known to map
s/bool known = .*;/bool known = false;/
