# SPDX-License-Identifier: ISC
"""Multicasts to port 5350, heard by an unprivileged process: hints that have to be checked."""

import struct

from case import test
from daemon import config, forward
from lab import expect
from traffic import inject

GROUP = ("224.0.0.1", 5350)
EPOCH = 100000


def nat_pmp(epoch):
    return struct.pack("!BBHI4s", 0, 128, 0, epoch, bytes([203, 0, 113, 7]))


def pcp(epoch):
    return struct.pack("!BBBBII12x", 2, 128, 0, 0, 0, epoch)


FORMATS = {"nat-pmp": nat_pmp, "pcp": pcp}


def listening(t, mapper):
    home = t.home(gateways=2)
    gateway = t.fakegw(home, epoch=EPOCH, external="203.0.113.7")
    sections = [forward(8000 + i, 18000 + i) for i in range(3)]
    daemon = t.daemon(home, config(*sections, mappers="{%s}" % mapper, recovery_delay=5))
    daemon.wait_ready()
    t.elapse(0.5)
    return home, gateway, daemon


def quiet(t, home, begin, what):
    t.elapse(2)
    sent = home.wire.requests(begin)
    expect(not sent, "%s made the daemon send %s" % (what, sent[0] if sent else ""))


@test(seconds=15, each=["nat-pmp", "pcp"])
def only_the_gateway_is_believed(t, mapper):
    home, gateway, _ = listening(t, mapper)
    begin = home.wire.all[-1].time + 0.001
    for make in FORMATS.values():
        inject(home.gw2.space, "lan0", (home.gw2.inner, 5351), GROUP, make(0))
        inject(home.gw2.space, "lan0", ("198.51.100.1", 5351), GROUP, make(0))
    quiet(t, home, begin, "an announcement from elsewhere (P-14, P-94)")
    inject(home.gw.space, "lan0", (home.gw.inner, 4000), GROUP, pcp(0))
    quiet(t, home, begin, "an announcement from another port than 5351")
    for junk in (b"", b"\0", b"\2", nat_pmp(0)[:8], pcp(0)[:20], pcp(0) + b"xyz", b"\1" * 24):
        inject(home.gw.space, "lan0", (home.gw.inner, 5351), GROUP, junk)
    quiet(t, home, begin, "a malformed announcement")
    # What the gateway itself would say now: nothing has happened (P-16, P-96).
    inject(home.gw.space, "lan0", (home.gw.inner, 5351), GROUP,
           FORMATS[mapper](gateway.epoch()))
    quiet(t, home, begin, "an announcement with the expected epoch")


@test(seconds=15, each=["nat-pmp", "pcp"])
def a_restart_is_heard(t, mapper):
    home, gateway, daemon = listening(t, mapper)
    ports = {d.key: d.outside for d in home.wire.replies(kind="map")}
    nonces = {d.key: d.nonce for d in home.wire.requests(kind="map")}
    gateway.restart()
    begin = home.wire.all[-1].time + 0.001
    inject(home.gw.space, "lan0", (home.gw.inner, 5351), GROUP, FORMATS[mapper](0))
    t.until(lambda: {d.key for d in home.wire.requests(begin, "map")} == set(ports), 5 + 2,
            "requests for all mappings")
    t.elapse(1)
    requests = home.wire.requests(begin, "map")
    expect(len(requests) == len(ports), "%d requests for %d mappings" % (len(requests), len(ports)))
    expect({d.key: d.outside for d in requests} == ports, "other ports than before are suggested")
    expect({d.key: d.nonce for d in requests} == nonces, "the nonces changed")
    daemon.wait_line("lost its mappings", since=begin)


@test()
def listens_on_the_group_only(t):
    """224.0.0.1:5350, not 0.0.0.0:5350, which would hear the whole world (P-15, Q-157)."""
    home, _, _ = listening(t, "pcp")
    text = home.lan.run("cat", "/proc/net/udp")
    places = [line.split()[1] for line in text.splitlines() if ":14E6" in line]
    expect(places == ["010000E0:14E6"], "sockets of port 5350: %s" % places)
