# SPDX-License-Identifier: ISC
# file: src/core/version.c
# what: a gateway that spoke PCP is never asked by it again
s/p->pcp_again = wanted ? now + path_pcp_rest(p) : MSTIME_NEVER;/p->pcp_again = MSTIME_NEVER;/; s/p->pcp_again = now + .*;/p->pcp_again = MSTIME_NEVER;/
