# SPDX-License-Identifier: ISC
# file: src/core/publish.c
# what: of a range only the first port counts
/^unit_is_up/,/^}/s/i < u->forward->count/i < 1/
