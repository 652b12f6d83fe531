# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: a gateway that answers no questions has no leases
s/path_unlearn(p, now, mapper, false);/path_unlearn(p, now, mapper, true);/
