# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a forward that requires its port takes over a lease with another one
s/(!m->unit->forward->require || ghost->external_port == m->wish) &&//
