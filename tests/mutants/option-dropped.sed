# SPDX-License-Identifier: ISC
# file: src/core/ask.c
# what: NAT-PMP is asked for what it cannot say: another host, or some remote hosts only
s/	return m->unit->forward->internal == NULL && m->unit->forward->n_remotes == 0;/	return true;/
