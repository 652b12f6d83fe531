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
