# SPDX-License-Identifier: ISC
"""A daemon whose clocks can be moved while it runs."""

import mmap
import os
import shutil
import struct

from lab import now, run

HERE = os.path.dirname(os.path.abspath(__file__))


class Clocks:
    """The daemon's own, by a library that is preloaded into it (clock.c). They move when move() is
    called; a timer notices it within a second, as the watchdog's does."""

    def __init__(self, t, daemon):
        library, path = t.lab.path("clock.so"), t.lab.path("clock")
        compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
        run(compiler, "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "clock.c"))
        with open(path, "wb") as f:
            f.write(bytes(16))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 16)
        daemon.environment = {
            "LD_PRELOAD": library, "LAB_CLOCK": path,
            "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:verify_asan_link_order=0"}

    def move(self, boot=0, real=0):
        """By so many seconds against the true ones."""
        self.memory[:] = struct.pack("=qq", int(boot * 1000), int(real * 1000))
        return now()
