# SPDX-License-Identifier: ISC
# file: src/core/forward.c
# what: a lease that a reload takes over is renewed at once
s/	    earlier(((struct ghost \*)ghost)->renews,/	    earlier(now,/
