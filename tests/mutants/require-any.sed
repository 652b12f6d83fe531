# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: another port than the one required is good enough
s/	return m->unit->forward->require && m->wish != 0 && a->external_port != m->wish;/	return false \&\& m->wish + a->external_port;/
