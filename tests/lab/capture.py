# SPDX-License-Identifier: ISC
"""All that the hosts under test have sent in a whole run, in one file, and Wireshark's opinion of it.

What the gateways send is left out: the scripted one sends what is malformed on purpose."""

import bisect
import shutil
import struct
import threading

from lab import run

VERSIONS = {"nat-pmp.version": "0", "portcontrol.version": "2"}  # what each dissector has read
WARNING = 0x600000  # PI_WARN, of its expert's severities
FIELDS = ("frame.number", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message",
          *VERSIONS)


class Capture:
    """A pcap file of Ethernet frames."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.count = 0
        self.begins, self.names = [], []  # the first frame of each test
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))

    def add(self, name, frames):
        """`frames`: pairs of a time and a frame, of one test."""
        with self.lock:
            self.begins.append(self.count + 1)
            self.names.append(name)
            for stamp, frame in frames:
                self.file.write(struct.pack("<IIII", int(stamp), int(stamp % 1 * 1e6), len(frame),
                                            len(frame)) + frame)
                self.count += 1

    def test_of(self, number):
        return self.names[bisect.bisect_right(self.begins, number) - 1]

    def check(self):
        """Closes the file. Returns a summary and what is wrong, a line each."""
        self.file.close()
        if not shutil.which("tshark"):
            return "", ["tshark is not installed: packages.sh test"]
        asked = [word for field in FIELDS for word in ("-e", field)]
        lines = run("tshark", "-n", "-r", self.path, "-T", "fields", *asked, limit=120).split("\n")[:-1]
        seen, wrong = dict.fromkeys(VERSIONS, 0), []
        for line in lines:
            number, malformed, severities, messages, *versions = line.split("\t")
            known = [name for name, found in zip(VERSIONS, versions) if found == VERSIONS[name]]
            worst = max([int(s, 0) for s in severities.split(",") if s] or [0])
            if len(known) == 1 and not malformed and worst < WARNING:
                seen[known[0]] += 1
            else:
                wrong.append("frame %s of %s, sent in %s: %s" % (
                    number, self.path, self.test_of(int(number)), messages or "not decoded"))
        if len(lines) != self.count:
            wrong.append("tshark read %d of %d packets" % (len(lines), self.count))
        return ", ".join("%d %s" % (n, name.split(".")[0]) for name, n in seen.items()), wrong
