# SPDX-License-Identifier: ISC
# file: src/core/contact.c
# what: deletions gather at a silent gateway
s/ghost = blocker(m, mapper);/ghost = mapping_blocker(m); if (ghost != NULL \&\& ghost->maker != mapper) ghost = NULL;/
