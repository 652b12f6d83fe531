# SPDX-License-Identifier: ISC
"""IPv6: a pinhole in the firewall of a real gateway, asked for at its link-local address (P-33, P-44)."""

import re
import socket

from case import MARGIN, test
from daemon import config, forward
from lab import expect
from traffic import Web

LAN, INNER = "2a00:77::2", "2a00:77::1"
OUTER, WAN = "2a00:99::1", "2a00:99::2"
PORT = 8000


def lan_with_ipv6(home):
    """Addresses, a default route to the gateway's link-local address, and a firewall that lets nothing
    in. Returns that address."""
    with home.gw.space.inside():
        home.gw.space.sysctl("ipv6/conf/all/forwarding", 1)
    home.gw.space.ip("addr add %s/64 dev lan0 nodad" % INNER, "addr add %s/64 dev wan0 nodad" % OUTER)
    home.wan.ip("addr add %s/64 dev eth0 nodad" % WAN, "route add 2a00:77::/64 via %s" % OUTER)
    text = home.gw.space.run("ip", "-6", "-o", "addr", "show", "dev", "lan0", "scope", "link")
    router = re.search(r"inet6 (fe80::[0-9a-f:]+)", text)[1]
    home.lan.ip("addr add %s/64 dev eth0 nodad" % LAN,
                "route add default via %s dev eth0" % router)
    return router


def serve(web, namespace):
    listener = namespace.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", PORT))
    listener.listen(16)
    listener.setblocking(False)
    web.watch(listener, lambda: web.accept(listener, PORT))


def reaches(home, seconds=0.3):
    """Does a new connection from the Internet come through?"""
    with home.wan.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((LAN, PORT))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"port %d" % PORT in client.recv(4096)
        except OSError:
            return False


def opened(t):
    """A pinhole that lets connections in which the firewall would not: home, daemon, what is published."""
    home = t.home()
    router = lan_with_ipv6(home)
    gateway = t.miniupnpd(home)
    gateway.space.nft("add rule inet filter forward iifname wan0 meta nfproto ipv6 ct state new drop")
    web = Web(home.lan)
    serve(web, home.lan)
    expect(not reaches(home), "the firewall lets everybody in: nothing was tested")
    daemon = t.daemon(home, config(forward(PORT, name="web", family="ipv6")))
    t.until(lambda: reaches(home) or daemon.died(), 3 + MARGIN, "a connection through the pinhole")
    daemon.wait_ready()
    told = t.until(lambda: daemon.published("web"), 2 + MARGIN, "the env file")
    expect(told.get("EXTERNAL_ADDRESS") == LAN and told.get("EXTERNAL_PORT") == str(PORT),
           "published %r" % told)
    expect(told.get("FAMILY") == "ipv6" and told.get("GATEWAY_ADDRESS") == router, "published %r" % told)
    return home, daemon, told


@test()
def opens_and_closes_a_pinhole(t):
    home, daemon, _ = opened(t)
    status, _ = daemon.stop()
    expect(status == 0, "exit status %s after SIGTERM" % status)
    expect(not reaches(home), "the pinhole is still open after the stop")


@test()
def a_renewal_keeps_the_pinhole(t):
    """miniupnpd 2.3.1 does not delete a pinhole that was renewed (NOT_AUTHORIZED): it is shortened."""
    home, daemon, told = opened(t)
    daemon.renew()
    daemon.wait_event("renewed", 3 + MARGIN)
    expect(daemon.published("web") == told, "a renewal changed what is published")
    expect(reaches(home), "a renewal closed the pinhole")
    expect(not daemon.events("changed", "lost", "failed"), "more was told than the renewal")
    status, _ = daemon.stop()
    expect(status == 0, "exit status %s after SIGTERM" % status)
    lifetimes = [q.lifetime for q in home.wire.requests() if q.kind in ("map", "delete")]
    expect(lifetimes[-2:] == [0, 1], "lifetimes asked for: %s" % lifetimes)
