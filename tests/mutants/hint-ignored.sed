# SPDX-License-Identifier: ISC
# file: src/core/engine.c
# what: announcements are not heard
s/^\t\t\tpath_hint(p, now);/\t\t\t;/
