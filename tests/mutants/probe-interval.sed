# SPDX-License-Identifier: ISC
# file: src/core/gateway.c
# what: a quiet gateway is not asked for its epoch
s/mstime interval = (mstime)p->gateway->probe_interval \* MSTIME_SECOND;/mstime interval = 0;/
