# SPDX-License-Identifier: ISC
# file: src/core/portset.c
# what: that a gateway makes no sets is forgotten at once
s/	p->singly = true;/	p->singly = false;/
