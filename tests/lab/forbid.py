#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs a program on a kernel without IPv6 and inotify, as far as it can see: socket(AF_INET6) fails
with EAFNOSUPPORT, and inotify_init() ends it, for nothing here may need it.

usage: forbid.py COMMAND…"""

import ctypes
import os
import struct
import sys

NUMBERS = {"x86_64": (41, 253, 294), "aarch64": (198, 26, 26)}  # socket, inotify_init, inotify_init1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS and so on
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EAFNOSUPPORT, AF_INET6 = 97, 10
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2


def main():
    socket, inotify, inotify1 = NUMBERS[os.uname().machine]
    # (code, jump if true, jump if false, value); a call's number is at 0, its first argument at 16
    program = b"".join(struct.pack("=HBBI", *line) for line in (
        (LOAD, 0, 0, 0),
        (EQUAL, 5, 0, inotify),
        (EQUAL, 4, 0, inotify1),
        (EQUAL, 0, 2, socket),
        (LOAD, 0, 0, 16),
        (EQUAL, 2, 0, AF_INET6),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL),
        (RETURN, 0, 0, ERRNO | EAFNOSUPPORT)))
    kept = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) != 0:
        sys.exit("forbid.py: no seccomp: " + os.strerror(ctypes.get_errno()))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
