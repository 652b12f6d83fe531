# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: of a set that is given back only the first port is deleted
s/ghost->count = a->set_size > 1 ? a->set_size : 1;/ghost->count = 1;/
