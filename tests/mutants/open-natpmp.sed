# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: what NAT-PMP may have made after a version error is left behind
s/p->contact.first != MAPPER_NONE  *? p->contact.first/false ? p->contact.first/
