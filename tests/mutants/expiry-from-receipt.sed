# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a lease counts from the arrival of its answer
s/(solicited || late ? m->before : now)/now/
