# SPDX-License-Identifier: ISC
# file: src/proto/pcp.c
# what: a set is deleted as if it were one port
/	if (delete) {/,/	}/s/		encode_port_set.*//
