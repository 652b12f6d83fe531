# SPDX-License-Identifier: ISC
"""The home network: lan and one or two gateways on a switch, and the wan behind them."""

import re

from lab import run
from wire import Wire


class Gateway:
    """A router's namespace: lan0 on the home's switch, wan0 to the Internet."""

    def __init__(self, home, role, inner, outer, link):
        self.space = home.lab.namespace(role)
        self.inner, self.outer = inner, outer
        home.plug(self.space, "lan0", inner)
        run("ip", "link", "add", "wan0", "netns", self.space.name, "type", "veth", "peer", "name",
            link, "netns", home.wan.name)
        with self.space.inside():
            self.space.sysctl("ipv4/ip_forward", 1)
        self.space.ip("addr add %s/24 dev wan0" % outer, "link set wan0 up")
        home.wan.ip("addr add %s2/24 dev %s" % (outer[:-1], link), "link set %s up" % link)

    def link_address(self):
        text = run("ip", "-n", self.space.name, "-o", "link", "show", "dev", "lan0")
        return re.search(r"link/ether (\S+)", text)[1]


class Home:
    """lan and one or two gateways on a switch, and the wan behind them."""

    lan_address = "10.77.0.2"

    def __init__(self, lab, gateways=1, route=True):
        self.lab = lab
        self.ports = 0
        self.switch = lab.namespace("sw")
        self.switch.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up")
        self.lan = lab.namespace("lan")
        self.wan = lab.namespace("wan")
        self.plug(self.lan, "eth0", self.lan_address)
        self.gw = Gateway(self, "gw", "10.77.0.1", "11.22.33.1", "eth0")
        self.gw2 = None
        if gateways > 1:
            self.gw2 = Gateway(self, "gw2", "10.77.0.3", "11.22.44.1", "eth1")
        if route:
            self.route(self.gw)
        self.wire = Wire(self.lan, "eth0")
        self.wires = [self.wire]  # all that lan sends on

    def plug(self, space, name, address):
        self.ports += 1
        port = "p%d" % self.ports
        run("ip", "link", "add", name, "netns", space.name, "type", "veth", "peer", "name", port,
            "netns", self.switch.name)
        self.switch.ip("link set %s master br0" % port, "link set %s up" % port)
        space.ip("addr add %s/24 dev %s" % (address, name), "link set %s up" % name)

    def route(self, gateway):
        self.lan.ip("route replace default via %s" % gateway.inner)
