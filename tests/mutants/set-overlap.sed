# SPDX-License-Identifier: ISC
# file: src/core/portset.c
# what: a set is asked for over single mappings that are there
s/	    has_single(u, now))/	    (has_single(u, now) \&\& false))/
