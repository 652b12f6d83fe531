# SPDX-License-Identifier: ISC
# file: src/core/timing.c
# what: a reset epoch is not noticed
s/bool reset = epoch_is_reset(e, mapper, value, now);/bool reset = false;/
