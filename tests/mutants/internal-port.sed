# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: the internal port of a NAT-PMP answer is not compared
s/(r->internal_port == x->internal_port ||$/(1 ||/
