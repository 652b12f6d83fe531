# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: the end of an outage makes a gateway deaf, and nobody asks whether it is
s/^\tp->hinted = true;/\t;/; s/^\tp->check_due = now;/\t;/
