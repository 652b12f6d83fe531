# SPDX-License-Identifier: ISC
# file: src/core/rival.c
# what: a port is asked for while its lease on the twin path is still to be deleted
s/return leaving(m) != NULL;/return false;/
