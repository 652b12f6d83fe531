# SPDX-License-Identifier: ISC
# file: src/core/engine.c
# what: announcements are not heard
s/^\t*path_hint(p, now);/\t;/
