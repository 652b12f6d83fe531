# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: an on-demand forward is mapped though nobody holds it
s/	return !f->on_demand || f->holders > 0;/	return true;/
