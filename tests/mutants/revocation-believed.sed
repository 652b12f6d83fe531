# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: an unasked error ends a lease without a question
s/	mapping_suspect(m, now, now);$/	m->expires = now;/
