# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: the same after another protocol
s/if (other == MAPPER_NATPMP || p->announce_works)/if (true)/
