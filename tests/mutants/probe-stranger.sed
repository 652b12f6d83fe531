# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: in an outage a lease is the probe though its protocol is refused
s/is_stranger(m, now) ||/false ||/
