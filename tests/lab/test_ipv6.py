# SPDX-License-Identifier: ISC
"""IPv6: a pinhole in the firewall of a real gateway, asked for at its link-local address (P-33, P-44)."""

import re
import socket

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now
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


def reaches(home, seconds=0.3, address=LAN):
    """Does a new connection from the Internet come through?"""
    with home.wan.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((address, PORT))
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


# ---- another prefix ---------------------------------------------------------------------------------

NEW_LAN, NEW_INNER = "2a00:78::2", "2a00:78::1"


DEPRECATE = "addr change %s/64 dev eth0 preferred_lft 0 valid_lft 600"
DELETE = "addr del %s/64 dev eth0"


def renumber(home, old=DEPRECATE):
    """The provider has a new prefix for the home: it is announced, and the old one is deprecated, or
    deleted: in the same moment, for the daemon is quick."""
    home.gw.space.ip("addr add %s/64 dev lan0 nodad" % NEW_INNER)
    home.wan.ip("route add 2a00:78::/64 via %s" % OUTER)
    home.lan.ip("addr add %s/64 dev eth0 nodad" % NEW_LAN, old % LAN)
    return now()


def sources(home, since, kind):
    return {d.source for d in home.wire.requests(since, kind)}


@test(seconds=12)
def a_pinhole_follows_the_prefix(t):
    """Asked from the new address at once, closed at the old one while that can still be used; that it
    goes at last is no news."""
    home, daemon, _ = opened(t)
    changed = renumber(home)
    t.until(lambda: reaches(home, address=NEW_LAN), 3 + MARGIN, "a connection to the new address")
    t.until(lambda: daemon.published("web").get("EXTERNAL_ADDRESS") == NEW_LAN, 2, "it to be told")
    t.until(lambda: not reaches(home), 5, "the old pinhole to be closed")
    expect(sources(home, changed, "map") == {NEW_LAN} and sources(home, changed, "delete") == {LAN},
           "asked from %s, deleted from %s" % (sources(home, changed, "map"),
                                               sources(home, changed, "delete")))
    gone = now()
    home.lan.ip("addr del %s/64 dev eth0" % LAN)
    t.elapse(1.5)
    expect(not daemon.events("changed", "lost", "failed", "released", since=gone), "the world was told")
    expect(reaches(home, address=NEW_LAN), "the new pinhole is closed")
    daemon.stop()
    expect(not reaches(home, address=NEW_LAN), "the new pinhole is still open after the stop")


def scripted(t, text, **settings):
    home = t.home()
    router = lan_with_ipv6(home)
    gateway = t.fakegw(home, listen=router + "%lan0", mode="pcp", grant=3600, **settings)
    return home, router, gateway, t.daemon(home, text)


def clients(gateway):
    return [m["client"] for m in gateway.table()]


@test(seconds=8, each=["deprecated", "gone"])
def the_prefix_changes(t, kind):
    """The same, and back again; or with the old address away from one moment to the next: nothing is
    sent from it."""
    home, _, gateway, daemon = scripted(t, config(forward(PORT, name="web", family="ipv6")))
    t.until(lambda: clients(gateway) == [LAN], 5, "the pinhole")
    changed = renumber(home, DELETE if kind == "gone" else DEPRECATE)
    t.until(lambda: NEW_LAN in clients(gateway), 3 + MARGIN, "the new pinhole")
    t.until(lambda: daemon.published("web").get("EXTERNAL_ADDRESS") == NEW_LAN, 2, "it to be told")
    if kind == "deprecated":
        t.until(lambda: clients(gateway) == [NEW_LAN], 5, "the release of the old one")
    else:
        t.elapse(1)
        expect(not sources(home, changed, "delete"), "deleted from %s" % sources(home, changed, "delete"))
    told = lambda: daemon.events("mapped", "changed", since=changed)
    t.until(told, 3, "the event")
    expect(len(told()) == 1, "told: %s" % told())
    if kind == "deprecated":
        home.lan.ip("addr change %s/64 dev eth0 preferred_lft 600 valid_lft 600" % LAN,
                    "addr change %s/64 dev eth0 preferred_lft 0 valid_lft 600" % NEW_LAN)
        t.until(lambda: clients(gateway) == [LAN], 8, "all to be as it was")


@test(seconds=8)
def a_cafe_with_ipv6(t):
    """A link-local address says even less than 192.168.1.1; the link-layer address tells."""
    home = t.home()
    router = lan_with_ipv6(home)
    gateway = t.fakegw(home, listen=router + "%lan0", mode="pcp", grant=3600)
    web = forward(PORT, name="web", family="ipv6")
    text = "gateway default { link-address = \"%s\" }\n" + config(web, ready_timeout=1)
    daemon = t.daemon(home, text % "02:77:00:00:00:99")
    daemon.wait_line("link-address wants 02:77:00:00:00:99", 5)
    daemon.renew()
    t.elapse(1.5)
    expect(not home.wire.requests(), "a box that is not ours was asked: %s" % home.wire.tail(3))
    home.lan.ip("neigh flush dev eth0")
    daemon.reload(text % home.gw.link_address())
    t.until(lambda: clients(gateway) == [LAN], 5, "the pinhole at home")
