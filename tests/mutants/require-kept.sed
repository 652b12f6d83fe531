# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: another port than the one required is not given back
/other_port(m, a)/,/^}/s/give_back(m, now, a);//
