# SPDX-License-Identifier: ISC
# file: src/core/memory.c
# what: what another box behind the same address has granted is taken for this one's
s/return known \&\& p->has_link_address \&\&/return 0 \&\& known \&\& p->has_link_address \&\&/
