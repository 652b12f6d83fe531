# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: the present epoch is compared with itself
s/(int64_t)value - (int64_t)e->value;/(int64_t)value - (int64_t)value;/
