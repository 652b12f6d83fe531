# SPDX-License-Identifier: ISC
# file: src/core/choice.c
# what: the same after another protocol
s/other == MAPPER_PCP \&\& !p->announce_works \&\& m != NULL \&\&/m != NULL \&\& false \&\&/
