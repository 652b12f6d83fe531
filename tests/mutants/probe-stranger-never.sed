# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: a suspect lease of another protocol is never asked for in an outage
s/p->probes % 8 != STRANGER_PROBE \&\& //
