# SPDX-License-Identifier: ISC
# file: src/core/exchange.c
# what: a renewal by PCP that its lease does not outlive is taken for a question whether PCP is spoken
s/ \&\& !ask_possible(x->mapping, p->mapper)//
