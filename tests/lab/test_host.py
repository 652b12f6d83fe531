# SPDX-License-Identifier: ISC
"""What this host's kernel says instead of an answer."""

from case import test
from daemon import config, forward
from lab import expect, now

REASONS = {
    "port-unreachable": "(?i)port unreachable|nothing on port 5351",
    "admin-prohibited": "(?i)cannot be reached|unreachable",
    "host-unreachable": "(?i)cannot be reached|unreachable",
}
BLOCK = """
table inet block {
    chain output { type filter hook output priority 0; udp dport 5351 drop; }
}
"""


@test(seconds=15)
def own_firewall(t):
    """EPERM at sendto() is not a lost packet (Q-023): it is named, and no mapper is given up."""
    home = t.home()
    gateway = t.miniupnpd(home)
    home.lan.nft(BLOCK)
    daemon = t.daemon(home, config(forward(8000, 18000)))
    daemon.wait_line("(?i)this host.*firewall|firewall.*this host", 5)
    t.elapse(3)
    expect(daemon.process.count("(?i)firewall") <= 4, "the log repeats itself about the firewall")
    expect("pcp" not in daemon.status(), "status: " + daemon.status())
    home.lan.nft("delete table inet block")
    gateway.wait_rules([("tcp", 18000)], 35)
    expect(not home.wire.requests(kind="map", mapper="nat-pmp"),
           "the firewall made the daemon fall back to NAT-PMP")


@test(seconds=15)
def own_firewall_while_mapped(t):
    """A lease that lives stays published."""
    home = t.home()
    t.miniupnpd(home)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}", probe_interval=2))
    daemon.wait_ready()
    home.lan.nft(BLOCK)
    begin = now()
    daemon.wait_line("(?i)firewall", 10, since=begin)
    expect(daemon.status().startswith("1 of 1 "), "status: " + daemon.status())


# What keeps this host from sending, how it is taken away, and what send() says meanwhile.
HINDRANCES = {
    "ENETUNREACH": ("ip link set eth0 down", "ip link set eth0 up", "Network is unreachable"),
    "ENOBUFS": ("tc qdisc replace dev eth0 root bfifo limit 1", "tc qdisc del dev eth0 root",
                "No buffer space available"),
}


@test(seconds=10, each=sorted(HINDRANCES))
def cannot_send_while_mapped(t, name):
    """Said once, with the reason, and it heals by itself: the lease is renewed in place. That the link
    is down is known a tenth of a second later."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"))
    daemon.wait_ready()
    hinder, relieve, words = HINDRANCES[name]
    begin = now()
    home.lan.run(*hinder.split())
    daemon.renew()
    daemon.wait_line("cannot send to gateway 10.77.0.1: " + words, 5, since=begin)
    t.elapse(1)
    said = daemon.process.count(words, begin)
    expect(said == 1, "%d lines about it" % said)
    expect(not daemon.events("lost", "changed", "failed"), "the world was told")
    home.lan.run(*relieve.split())
    home.route(home.gw)
    t.until(lambda: gateway.changes("renew", begin), 8, "the renewal")
    expect(not gateway.changes("move") and not gateway.changes("delete"), "it was not in place")
    t.until(lambda: daemon.status().startswith("1 of 1 "), 3, "status: " + daemon.status())


@test(seconds=10)
def cannot_send_at_the_start(t):
    """As soon as packets go out all is well, and PCP has not been given up."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    hinder, relieve, words = HINDRANCES["ENOBUFS"]
    home.lan.ip("neigh replace %s lladdr %s dev eth0" % (home.gw.inner, home.gw.link_address()))
    home.lan.run(*hinder.split())
    daemon = t.daemon(home, config(forward(8000, 18000), ready_timeout=1))
    daemon.wait_line(words, 5)
    daemon.wait_ready()
    t.elapse(3)
    said = daemon.process.count(words)
    expect(said == 1, "%d lines about it" % said)
    home.lan.run(*relieve.split())
    t.until(gateway.table, 12, "the mapping")
    # The capture is read by a thread that may be behind.
    asked = t.until(lambda: home.wire.requests(kind="map"), 5, "the request on the wire")
    expect({d.mapper for d in asked} == {"pcp"}, "PCP was given up for what this host did")


@test(each=["blackhole", "prohibit", "unreachable"])
def routes_that_reject(t, kind):
    """EINVAL, EACCES, EHOSTUNREACH? As a VPN's kill switch leaves them; but to a socket that is bound to
    the device the gateway is a neighbour all the same."""
    home = t.home()
    home.lan.ip("route add %s %s/32" % (kind, home.gw.inner), "rule add %s priority 9" % kind)
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000)))
    daemon.wait_ready()
    expect(gateway.table(), "nothing is mapped")


@test(seconds=30, each=["port-unreachable", "admin-prohibited", "host-unreachable"])
def icmp_from_the_gateway(t, kind):
    """Named in the log, no reason for haste, and not for ever."""
    home = t.home()
    gateway = t.miniupnpd(home)
    gateway.space.nft("add rule inet lab input udp dport 5351 reject with icmp type " + kind)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp, nat-pmp}"))
    daemon.wait_line(REASONS[kind], 12)
    t.elapse(max(0.0, daemon.started + 6 - now()))
    sent = len(home.wire.requests())
    limit = 4 if kind == "port-unreachable" else 16
    expect(sent <= limit, "%d packets so soon to a gateway that refuses them" % sent)
    gateway.silence(False)
    gateway.wait_rules([("tcp", 18000)], 32)
    daemon.wait_ready()
