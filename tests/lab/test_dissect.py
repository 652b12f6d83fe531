# SPDX-License-Identifier: ISC
"""Another implementation's reading of every packet: Wireshark's dissectors."""

import signal

from capture import Capture
from case import test
from daemon import config, forward
from lab import expect


@test(seconds=15, each=["nat-pmp", "pcp"])
def no_packet_is_malformed(t, mapper):
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

    sent = home.wire.requests()
    kinds = {d.kind for d in sent}
    query = {"nat-pmp": "address", "pcp": "announce"}[mapper]
    expect(kinds == {"map", "delete", query}, "the capture has only %s" % sorted(kinds))
    capture = Capture(t.lab.path("capture.pcap"))
    capture.add("all", [(d.time, d.frame) for d in sent])
    # A packet of which an octet is missing: what finds no fault with it would find none at all.
    if mapper == "pcp":
        capture.add("planted", [(d.time, d.frame[:-8]) for d in sent[-1:]])
        _, wrong = capture.check()
        expect(len(wrong) == 1 and "planted" in wrong[0], "found wrong: %s" % wrong)
    else:
        told, wrong = capture.check()
        expect(told == "%d nat-pmp, 0 portcontrol" % len(sent), told)
        expect(not wrong, "found wrong: %s" % wrong)
