# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: a renewal suggests the wished port, not the granted one
s/m->external_port != 0/0/
