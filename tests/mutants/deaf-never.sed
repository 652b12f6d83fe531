# SPDX-License-Identifier: ISC
# file: src/core/contact.c
# what: a gateway that answers nothing but PCP requests is asked everything else
s/bool maps = first .*;/bool maps = first;/
