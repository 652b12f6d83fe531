# SPDX-License-Identifier: ISC
# file: src/core/publish.c
# what: a router without address is told of for every mapping that it refuses
s/^\treturn s.problem;/\treturn m->problem;/
