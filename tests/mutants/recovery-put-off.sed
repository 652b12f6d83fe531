# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: every restart puts off what waits for the refill before
s/earlier(later(m->due, soonest), refill)/refill/
s/if (!m->suspect || m->due > refill)/if (true)/
