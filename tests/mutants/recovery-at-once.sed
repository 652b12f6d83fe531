# SPDX-License-Identifier: ISC
# file: src/core/gateway.c
# what: a rebooted gateway is refilled without the random wait
s/mstime at = now + (mstime)(engine_random(e) % (spread + 1));/mstime at = now;\n\n\t(void)spread;/
