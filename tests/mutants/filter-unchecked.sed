# SPDX-License-Identifier: ISC
# file: src/core/option.c
# what: nobody looks whether the gateway has processed FILTER
s/	return keeps_filters(m, r) ? 0 : PCP_FILTER;/	return 0;/
