# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: what a gateway that ignores THIRD_PARTY has opened on this host is not the one deleted
s/		here->has_internal = false;/		here->has_internal = true;/
