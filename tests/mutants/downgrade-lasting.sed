# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: a gateway that spoke PCP is never asked by it again
s/p->pcp_again = wanted ? .*;/p->pcp_again = MSTIME_NEVER;/
