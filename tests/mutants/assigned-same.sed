# SPDX-License-Identifier: ISC
# file: src/core/ask.c
# what: an assigned port is asked for with suggestion 0
/VPN gateways that choose/,/return 1;/s/return 1;/return 0;/
