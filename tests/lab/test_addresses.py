# SPDX-License-Identifier: ISC
"""The host's own address and its link: changed, flapping, renewed. And what of it goes wrong."""

import os
import re
import socket

from case import MARGIN, test
from clocks import Clocks
from daemon import config, forward
from lab import NOBODY, expect, now, run

HERE = os.path.dirname(os.path.abspath(__file__))
OLD, NEW = "10.77.0.2", "10.77.0.50"


def held(gateway):
    """{external port: client} of a scripted gateway."""
    return {m["external"]: m["client"] for m in gateway.table()}


def home_with(t, mapper, **settings):
    home = t.home()
    gateway = t.fakegw(home, grant=3600, epoch=1000)
    daemon = t.daemon(home, config(forward(8000, 18000), forward(8001, 18001),
                                   mappers="{%s}" % mapper, **settings))
    daemon.wait_ready()
    t.until(lambda: len(held(gateway)) == 2, 3, "both mappings")
    return home, gateway, daemon


# ---- own address ----------------------------------------------------------------------------

@test(seconds=8, each=["pcp", "nat-pmp"])
def own_address_changed(t, mapper):
    """The old one is gone, so nothing can be released; the new one is mapped at once."""
    home, gateway, daemon = home_with(t, mapper)
    changed = now()
    home.lan.ip("addr del %s/24 dev eth0" % OLD, "addr add %s/24 dev eth0" % NEW,
                "route replace default via " + home.gw.inner)
    t.until(lambda: list(held(gateway).values()).count(NEW) == 2, 3 + MARGIN,
            "both mappings to the new address")
    asked = home.wire.requests(changed)
    expect(all(d.source == NEW for d in asked), "packets from an address that is not ours")
    t.until(lambda: daemon.status().startswith("2 of 2 "), 3, "2 of 2, not " + daemon.status())


@test(seconds=8, each=["pcp", "nat-pmp"])
def own_address_changed_and_the_old_one_kept(t, mapper):
    """P-67. The old address can still be used: what was mapped to it is released from it."""
    home, gateway, daemon = home_with(t, mapper)
    changed = now()
    home.lan.ip("addr add %s/24 dev eth0" % NEW,
                "route replace default via %s src %s" % (home.gw.inner, NEW))
    t.until(lambda: list(held(gateway).values()).count(NEW) == 2, 3 + MARGIN,
            "both mappings to the new address")
    t.until(lambda: OLD not in held(gateway).values(), 5, "the release of the old ones")
    deleted = {(d.source, d.inside) for d in home.wire.requests(changed, "delete")}
    expect({(OLD, 8000), (OLD, 8001)} <= deleted, "deleted: %s" % deleted)
    t.until(lambda: daemon.status().startswith("2 of 2 "), 3, "2 of 2, not " + daemon.status())


@test(seconds=150, slow=True)
def wished_ports_come_back(t):
    """The old address held the wished ports when the new one asked: later they are asked for again,
    once, when no gateway keeps them for their old owner any more (RFC 6887 section 15)."""
    home, gateway, _ = home_with(t, "pcp")
    home.lan.ip("addr add %s/24 dev eth0" % NEW,
                "route replace default via %s src %s" % (home.gw.inner, NEW))
    t.until(lambda: list(held(gateway).values()) == [NEW, NEW], 5, "both mappings to the new address")
    t.until(lambda: held(gateway) == {18000: NEW, 18001: NEW}, 145, "the wished ports", step=0.2)


@test(seconds=8, each=["replaced", "away-and-back"])
def address_renewed(t, kind):
    """What DHCP clients do with an address that stays the same: nothing is lost, nothing released."""
    home, gateway, daemon = home_with(t, "pcp")
    renewed = now()
    if kind == "replaced":
        home.lan.ip("addr replace %s/24 dev eth0 valid_lft 600 preferred_lft 600" % OLD)
    else:
        home.lan.ip("addr del %s/24 dev eth0" % OLD)
        t.elapse(0.4)
        home.lan.ip("addr add %s/24 dev eth0" % OLD, "route replace default via " + home.gw.inner)
        t.until(lambda: home.wire.requests(renewed), 3 + MARGIN, "the gateway to be asked again")
    t.elapse(2)
    expect(sorted(held(gateway)) == [18000, 18001], "ports: %s" % sorted(held(gateway)))
    expect(not home.wire.requests(renewed, "delete"), "something was deleted")
    expect(not daemon.events("changed", "released", "failed", since=renewed), "something was told")
    t.until(lambda: daemon.status().startswith("2 of 2 "), 3, "2 of 2, not " + daemon.status())


@test(seconds=12)
def link_flap(t):
    """The carrier goes and comes: the gateway, which may have restarted with it, is asked at once."""
    home, gateway, daemon = home_with(t, "pcp")
    nonces = {d.key: d.nonce for d in home.wire.requests(kind="map")}
    home.switch.ip("link set p1 down")
    t.elapse(0.6)
    gateway.restart()
    back = now()
    home.switch.ip("link set p1 up")
    t.until(lambda: home.wire.requests(back), 3 + MARGIN, "the gateway to be asked again")
    t.until(lambda: sorted(held(gateway)) == [18000, 18001], 12, "both mappings again")
    again = t.until(lambda: len({d.key for d in home.wire.requests(back, "map")}) == 2 and
                    {d.key: d.nonce for d in home.wire.requests(back, "map")}, 2, "both requests")
    expect(again == nonces, "other nonces after the flap")
    expect(not daemon.events("lost", "changed"), "a flap of a second was told to the world")


# ---- trouble --------------------------------------------------------------------------------

@test(seconds=6)
def no_ipv6(t):
    """Switched off in the kernel: IPv4 does not suffer."""
    home = t.home()
    for scope in ("all", "default", "eth0", "lo"):
        home.lan.sysctl("ipv6/conf/%s/disable_ipv6" % scope, 1)
    gateway = t.fakegw(home)
    daemon = t.daemon(home, config(forward(8000, 18000, family="both"), ready_timeout=2))
    t.until(lambda: held(gateway), 3, "the IPv4 mapping")
    daemon.wait_ready()
    expect(len(daemon.process.lines) < 40, "%d lines in the log" % len(daemon.process.lines))


@test(seconds=6)
def a_kernel_without_ipv6(t):
    """Not even a socket of it. And without inotify, of which nothing is wanted."""
    home = t.home()
    gateway = t.fakegw(home, epoch=1000)
    daemon = t.daemon(home, config(forward(8000, 18000, family="both"), recovery_delay=1,
                                   ready_timeout=2), start=False)
    daemon.wrapper = ["python3", "-B", os.path.join(HERE, "forbid.py")]
    daemon.start()
    t.until(lambda: held(gateway) or daemon.died(), 3, "the IPv4 mapping")
    daemon.wait_ready()
    gateway.tell("reboot announce copies 2")  # which are heard
    daemon.wait_line("has lost its mappings", 5)
    t.until(lambda: held(gateway), 12, "the mapping again")
    expect(not daemon.process.count("(?i)not supported"), "the log complains about IPv6")


def listens(daemon):
    """Does it listen for announcements over IPv4?"""
    return "010000E0:14E6" in daemon.namespace.run("cat", "/proc/net/udp")


@test(seconds=12, each=["event", "time"])
def announcement_port_taken(t, what):
    """One line; all is well without; and when it is free again the next event in the network, or five
    minutes, make it ours."""
    home = t.home()
    rude = home.lan.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rude.bind(("0.0.0.0", 5350))
    try:
        gateway = t.fakegw(home, grant=3600, epoch=1000)
        daemon = t.daemon(home, config(forward(8000, 18000), recovery_delay=1), watchdog=2, start=False)
        clocks = Clocks(t, daemon)
        daemon.start()
        daemon.wait_ready()
        expect(held(gateway), "nothing is mapped")
        lines = daemon.process.count("cannot listen for announcements")
        expect(lines == 1, "%d lines about the taken port" % lines)
    finally:
        rude.close()
    t.elapse(0.5)
    expect(not listens(daemon), "it did get the port: nothing is tested")
    if what == "event":
        home.lan.ip("addr add 192.0.2.9/32 dev lo")
    else:
        gateway.set(epoch=gateway.epoch() + 301)
        clocks.move(boot=301)
    t.until(lambda: listens(daemon), 3 + MARGIN, "the port to be listened to")
    gateway.tell("reboot announce copies 2")
    daemon.wait_line("has lost its mappings", 3 + MARGIN)
    lines = daemon.process.count("cannot listen for announcements")
    expect(lines == 1, "%d lines about the port that was taken" % lines)


def limit_descriptors(daemon, more):
    """So many more than it has now; None: as many as it likes."""
    used = len(os.listdir("/proc/%d/fd" % daemon.process.pid))
    run("setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups", "prlimit",
        "--pid", str(daemon.process.pid), "--nofile=%d:" % (256 if more is None else used + more))


@test(seconds=20)
def out_of_descriptors(t):
    """When a new path needs a socket, and there is none: said once, tried again; later it works."""
    home = t.home(gateways=2)
    first, second = t.fakegw(home), t.fakegw(home, home.gw2)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"))
    daemon.wait_ready()
    expect(held(first), "nothing is mapped")
    t.elapse(1.5)  # the document is written
    limit_descriptors(daemon, -1)
    home.route(home.gw2)
    daemon.wait_line("(?i)too many open files", 5)
    t.elapse(2)
    said = daemon.process.count("(?i)too many open files")
    expect(said <= 4, "%d lines about descriptors" % said)
    limit_descriptors(daemon, None)
    t.until(lambda: held(second), 12, "the mapping at the second gateway")
    t.until(lambda: not held(first), 5, "the release at the first one")


@test(seconds=10, each=[6, 8, 10, 14])
def too_few_descriptors_at_the_start(t, limit):
    """It ends with one line that says why, or it works; it neither hangs nor loops."""
    home = t.home()
    gateway = t.fakegw(home)
    daemon = t.daemon(home, config(forward(8000, 18000), ready_timeout=1), start=False)
    binary, script = daemon.binary, t.lab.path("limited.sh")
    with open(script, "w") as f:
        f.write('#!/bin/sh\nulimit -n %d\nexec %s "$@"\n' % (limit, binary))
    os.chmod(script, 0o755)
    daemon.binary = script
    daemon.start()
    t.until(lambda: held(gateway) or not daemon.process.running(), 8,
            "a mapping or an end with %d descriptors" % limit)
    if not daemon.process.running():
        expect(daemon.process.child.returncode == 1,
               "exit status %s" % daemon.process.child.returncode)
        lines = [line for _, line in daemon.process.lines]
        expect(1 <= len(lines) <= 4, "%d lines: %s" % (len(lines), lines))
