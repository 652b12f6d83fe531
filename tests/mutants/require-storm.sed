# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a required port is tried for again at once
s/15 \* 60 \* MSTIME_SECOND, false/MSTIME_SECOND, false/
