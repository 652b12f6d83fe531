# SPDX-License-Identifier: ISC
"""Another implementation's reading of every packet: Wireshark's dissectors."""

import shutil
import signal

from case import test
from daemon import config, forward
from lab import Skipped, expect, run

BAD = "_ws.malformed || _ws.expert.severity >= 6291456"  # warnings and errors


@test(seconds=15, each=["nat-pmp", "pcp"])
def no_packet_is_malformed(t, mapper):
    if not shutil.which("tshark"):
        raise Skipped("tshark is not installed")
    home = t.home()
    gateway = t.miniupnpd(home)
    sections = [forward(8000, 18000, "both"), forward("8100-8109", "18100-18109", name="range")]
    text = config(*sections, mappers="{%s}" % mapper, probe_interval=1)
    daemon = t.daemon(home, text)
    daemon.wait_ready()
    t.elapse(2.5)
    daemon.process.signal(signal.SIGUSR1)
    t.elapse(1)
    daemon.reload(config(forward(8000, 18055, "both"), mappers="{%s}" % mapper))
    gateway.wait_rules([("tcp", 18055), ("udp", 18055)], 5)
    daemon.stop()

    path = t.lab.path("capture.pcap")
    home.wire.write_pcap(path)
    home.wire.paused = True
    protocol = {"nat-pmp": "nat-pmp", "pcp": "portcontrol"}[mapper]
    kinds = {d.kind for d in home.wire.requests()}
    query = {"nat-pmp": "address", "pcp": "announce"}[mapper]
    expect(kinds == {"map", "delete", query}, "the capture has only %s" % sorted(kinds))
    seen = run("tshark", "-n", "-r", path, "-Y", protocol + " && udp.dstport == 5351", "-T",
               "fields", "-e", "frame.number").split()
    sent = home.wire.requests()
    expect(len(seen) == len(sent), "tshark knows %d of %d packets" % (len(seen), len(sent)))
    bad = run("tshark", "-n", "-r", path, "-Y", BAD)
    expect(not bad, "tshark finds fault with: " + bad)
