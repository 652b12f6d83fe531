# SPDX-License-Identifier: ISC
# file: src/core/restart.c
# what: a rebooted gateway is refilled without the random wait
s/mstime soonest = now + (mstime)(engine_random(e) % (spread + 1));/mstime soonest = now;\n\n\t(void)spread;/
