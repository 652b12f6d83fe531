# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: the same after another protocol
s/^\tif (other == MAPPER_NATPMP || .*/\tif (true)/
