# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: a firewall's echo of the suggestion is published as the port of a pinhole (Q-054)
/	if (p->family == FAMILY_IPV6 && r->result == PCP_SUCCESS/,/a.external_port = m->internal_port/s/a.external_port = m->internal_port/a.external_port += 0/
