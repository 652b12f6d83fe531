# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: each lease of a protocol that is spoken no more has to find that out for itself
s/path_unlearn(m->path, now, m->maker, true);/m->expires = now, mapping_age(m, now);/
