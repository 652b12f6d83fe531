# SPDX-License-Identifier: ISC
# file: src/core/contact.c
# what: deletions gather at a silent gateway
s/ghost = mapping_blocker(m, mapper);/ghost = mapping_blocker(m, MAPPER_NONE); if (ghost != NULL \&\& ghost->maker != mapper) ghost = NULL;/
