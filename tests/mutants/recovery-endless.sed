# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: a nonsense clock is followed every 10 s for ever
s/earlier(2 \* p->recovery_gap, GAP_MAX)/RECOVERY_GAP/
