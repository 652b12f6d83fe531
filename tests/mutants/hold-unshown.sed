# SPDX-License-Identifier: ISC
# file: src/core/hold.c
# what: what is not asked for because the router is full seems to be asked for
s/^\tif (m->unit == NULL || m->state != MAPPING_REQUESTING/\tif (true || m->unit == NULL || m->state != MAPPING_REQUESTING/
