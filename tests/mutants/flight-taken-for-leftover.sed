# SPDX-License-Identifier: ISC
# file: src/core/leftover.c
# what: a request on its way when its forward changes is forgotten instead of released
s/((const struct ghost \*)m)->leftover/m->lifetime == 0/
