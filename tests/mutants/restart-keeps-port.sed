# SPDX-License-Identifier: ISC
# file: src/core/memory.c
# what: another external-port in the config is ignored by a restart that finds the old lease
s/return s->has_wish && mapping_moves/return 0 \&\& s->has_wish \&\& mapping_moves/
