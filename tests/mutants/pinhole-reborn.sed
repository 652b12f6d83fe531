# SPDX-License-Identifier: ISC
# file: src/core/ghost.c
# what: a pinhole that an earlier life left behind is never deleted (Q-094)
s/	if (m->path->family == FAMILY_IPV6 && why->trouble == TROUBLE_REFUSED &&/	if (m->path->family == FAMILY_IPV4 \&\& why->trouble == TROUBLE_REFUSED \&\&/
