# SPDX-License-Identifier: ISC
# file: src/os/statefile.c
# what: the half document of a crash is in the way of every later one
s/(void)unlinkat(folder, temporary, 0); \/\* of a crash \*\///
