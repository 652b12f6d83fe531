# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: what an outage leaves unanswered is unlearned
s/if (!m->path->outage \&\& m->expires/if (m->expires/
