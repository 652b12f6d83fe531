# SPDX-License-Identifier: ISC
# file: src/core/publish.c
# what: a refusal is not told while the mapping before is still shown
s/if (now < u->held_until \&\& failed == NULL)/if (now < u->held_until)/
