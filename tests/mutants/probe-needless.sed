# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: what a gateway cannot answer is the probe of an outage
s/\&\& is_stranger(m, now))/\&\& false)/
