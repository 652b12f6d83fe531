# SPDX-License-Identifier: ISC
# file: src/core/contact.c
# what: a packet that never left this host makes the gateway change its protocol
s/c->sends\[d\]--;//
