# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: a NAT-PMP gateway that is silent to PCP is taken for dead
s/	if (question) {/	if (false) {/
