# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a pinhole that the gateway does not delete is left open for as long as it was granted
s/		if (!mapping_expects(m, a) || ask_shorter(m, now, a))/		if (!mapping_expects(m, a))/
