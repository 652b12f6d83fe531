# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: what was refused before a restart is not asked for again
s/bool refused = m->state == MAPPING_FAILED .*/bool refused = false;/
