# SPDX-License-Identifier: ISC
# file: src/daemon/memory_json.c
# what: what is read from the state file has no own address
s/!get_address(o, "local_address", \&m->local) ||//
