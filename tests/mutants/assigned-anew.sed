# SPDX-License-Identifier: ISC
# file: src/core/ask.c
# what: an assigned port is renewed as if it were asked for the first time
/^ask_port(/,/^}/s/if (m->external_port != 0)/if (m->external_port != 0 \&\& m->internal_port != 0)/
