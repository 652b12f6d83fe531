# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: what a twin's lease was in the way of is not asked for again when that is gone
s/^\t\t\trival_gone(m, now);//
