# SPDX-License-Identifier: ISC
# file: src/core/leftover.c
# what: a lease of this run, or a request on its way, is taken for one that an earlier run left
s/((const struct ghost \*)m)->leftover && //
