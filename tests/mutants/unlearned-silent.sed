# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: a gateway that has stopped to speak PCP without a word is asked by it each minute, for ever
s/if (++p->unlearned\[d\] >= enough)/if (false)/
