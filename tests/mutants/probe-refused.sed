# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: a refused renewal is the probe of an outage
s/m->refusals == 0 \&\&/true \&\&/
