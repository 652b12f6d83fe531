# SPDX-License-Identifier: ISC
"""Which gateway, and which box it is: several of them, links of every kind, the café."""

import contextlib
import os
import re
import signal
import socket
import struct
import threading

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now
from tunnel import Vpn

OTHER_BOX = "02:77:00:00:00:99"


def section(name, **options):
    lines = ["gateway %s {" % name]
    lines += ["    %s = %s" % (key.replace("_", "-"), value) for key, value in options.items()]
    return "\n".join(lines + ["}", ""])


def mapped(gateway, ports):
    """Does this scripted gateway hold just these internal ports?"""
    return {m["internal"] for m in gateway.table()} == set(ports)


# ---- which box ------------------------------------------------------------------------------

@test(seconds=8)
def nothing_is_opened_in_a_cafe(t):
    """Another box has the address of the one at home: not one packet. At home, at once."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    inside = config(section("default", link_address='"%s"' % OTHER_BOX, mappers="{pcp}"),
                    forward(8000, 18000), ready_timeout=1)
    daemon = t.daemon(home, inside)
    daemon.wait_line("link-address wants " + OTHER_BOX, 5)
    daemon.wait_ready(5)
    status = daemon.document()
    expect([(g["state"], "link-address" in (g["last_error"] or "")) for g in status["gateways"]]
           == [("absent", True)], "why the gateway is absent: %s" % status["gateways"])
    expect([(m["state"], "link-address" in (m["last_error"] or "")) for m in status["mappings"]]
           == [("waiting", True)], "why the mapping waits: %s" % status["mappings"])
    t.elapse(2)
    expect(not home.wire.requests(), "a box that is not ours was asked: %s" % home.wire.tail(3))
    expect(daemon.process.count("link-address wants") == 1, "the log repeats itself")

    gateway.space.ip("link set lan0 address " + OTHER_BOX)
    home.lan.ip("link set eth0 down")
    t.elapse(0.5)
    home.lan.ip("link set eth0 up", "route replace default via " + home.gw.inner)
    t.until(lambda: mapped(gateway, [8000]), 5, "the mapping at home")
    status = daemon.document()
    expect(not any(row["last_error"] for row in status["gateways"] + status["mappings"]),
           "something is wrong at home: %s" % status)


@test(seconds=8)
def at_home_with_link_address(t):
    """With the neighbour not known at first: the kernel is made to ask for it."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    text = config(section("default", link_address='"%s"' % home.gw.link_address()),
                  forward(8000, 18000))
    home.lan.ip("neigh flush dev eth0")
    daemon = t.daemon(home, text)
    took = daemon.wait_ready() - daemon.started
    expect(mapped(gateway, [8000]), "nothing is mapped")
    expect(took < 2 + MARGIN, "it took %.1f s" % took)

    # The box is swapped while packets go to and fro: not one reaches the stranger.
    stranger = now()
    home.lan.ip("neigh replace %s lladdr %s dev eth0 nud permanent" % (home.gw.inner, OTHER_BOX))
    daemon.renew()
    t.elapse(2)
    sent = home.wire.requests(stranger)
    expect(not sent, "a packet went to a box that is not ours: %s" % sent[:2])


@test(seconds=14)
def at_home_before_the_gateway(t):
    """It is switched on later than the host."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    gateway.space.ip("link set lan0 down")
    daemon = t.daemon(home, config(section("default", link_address='"%s"' % home.gw.link_address()),
                                   forward(8000, 18000), ready_timeout=1))
    daemon.wait_line("does not answer, and link-address wants", 5)
    daemon.wait_ready(5)
    why = daemon.document()["gateways"][0]["last_error"]
    expect(why and "cannot be seen" in why, "why the gateway is absent: %s" % why)
    gateway.space.ip("link set lan0 up")
    t.until(lambda: mapped(gateway, [8000]), 15, "the mapping")


@test(seconds=8)
def link_address_wanted_at_a_reload(t):
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000)))
    daemon.wait_ready()
    daemon.reload(config(section("default", link_address='"%s"' % OTHER_BOX), forward(8000, 18000)))
    daemon.wait_line("link-address wants", 5)
    quiet = now()
    daemon.renew()
    t.elapse(1)
    expect(not home.wire.requests(quiet), "a box that is not wanted any more is asked")
    daemon.reload(config(forward(8000, 18000)))
    t.until(lambda: any(d.inside == 8000 for d in home.wire.requests(quiet, "map")), 3,
            "the mapping to be asked for again")
    expect(mapped(gateway, [8000]), "nothing is mapped")


@test(seconds=10)
def another_box_at_the_same_address(t):
    """What the first one granted means nothing to the second one: nothing is deleted there, its epoch
    is not compared, and it is asked at once."""
    home = t.home(gateways=2)
    home.gw2.space.ip("addr del 10.77.0.3/24 dev lan0")
    home.gw2.inner = home.gw.inner
    first = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), forward(8001, 18001), probe_interval=2,
                                   mappers="{pcp}"))
    daemon.wait_ready()
    t.until(lambda: mapped(first, [8000, 8001]), 3, "both mappings at the first box")
    home.gw.space.ip("link set lan0 down")
    home.gw2.space.ip("addr add 10.77.0.1/24 dev lan0")
    second = t.fakegw(home, home.gw2, grant=3600, epoch=500000)
    swapped = now()
    home.lan.ip("neigh replace 10.77.0.1 lladdr %s dev eth0 nud reachable" %
                home.gw2.link_address())
    t.until(lambda: mapped(second, [8000, 8001]), 12, "both mappings at the second box")
    daemon.wait_line("another box has the address", 1, since=swapped)
    expect(not home.wire.requests(swapped, "delete"), "something is deleted at the wrong box")
    expect(not daemon.process.count("has lost its mappings", swapped),
           "the second box is taken for the first one, restarted")
    t.elapse(0.5)
    status = daemon.status()
    expect(status.startswith("2 of 2 "), "status: " + status)


# ---- several at once --------------------------------------------------------------------------

LAN, VPN = forward(8000, 18000, name="web"), forward(9000, name="torrent", gateway="vpn")


def lan_and_vpn(t, text, peer=False, **more):
    """Both, with a forward each. Returns home, the VPN, both gateways and the daemon."""
    home, vpn = t.home(), None
    vpn = Vpn(home, **more)
    vpn.up(peer)
    lan_gateway = t.fakegw(home, grant=3600)
    vpn_gateway = t.fakegw(home, vpn, grant=3600, mode="nat-pmp")
    daemon = t.daemon(home, text)
    t.until(lambda: mapped(lan_gateway, [8000]), 5, "the forward at the home's gateway")
    t.until(lambda: mapped(vpn_gateway, [9000]), 5, "the forward at the VPN's gateway")
    return home, vpn, lan_gateway, vpn_gateway, daemon


@test(seconds=10)
def lan_and_vpn_at_once(t):
    """The VPN takes over the default route, as they do; it goes and comes; the LAN's forward stays."""
    text = config(section("vpn", address='"10.2.0.1"', interface="wg0", mappers="{nat-pmp}"),
                  LAN, VPN)
    home, vpn, lan_gateway, vpn_gateway, daemon = lan_and_vpn(t, text)
    client = vpn_gateway.table()[0]["client"]
    expect(client == vpn.client, "the VPN's gateway knows us as " + client)
    daemon.wait_ready()
    moved = now()
    home.lan.ip("route add 0.0.0.0/1 dev wg0", "route add 128.0.0.0/1 dev wg0",
                "route add default dev wg0 metric 1")
    t.elapse(1)
    touched = home.wire.requests(moved)
    expect(not touched, "the VPN's default route makes packets: %s" % touched[:2])
    expect(mapped(lan_gateway, [8000]) and mapped(vpn_gateway, [9000]), "forwards have moved")

    vpn.down()
    t.until(lambda: daemon.status().startswith("1 of 2 "), 12, "status without the VPN")
    expect(not home.wire.requests(moved), "the VPN's end makes packets in the LAN")
    vpn_gateway.tell("forget")
    vpn.up()
    t.until(lambda: mapped(vpn_gateway, [9000]), 5, "the forward at the VPN that is back")
    expect(not home.wire.requests(moved), "the VPN's return makes packets in the LAN")


@test(seconds=8)
def point_to_point_without_next_hop(t):
    """address = auto: the other end of the link."""
    lan_and_vpn(t, config(section("vpn", interface="wg0", mappers="{nat-pmp}"), LAN, VPN), peer=True)


@test(seconds=8)
def one_address_on_two_interfaces(t):
    """Each is asked through its own interface and from the address there."""
    text = config(section("vpn", address='"10.77.0.1"', interface="wg0", mappers="{nat-pmp}"),
                  section("lan", address='"10.77.0.1"', interface="eth0"),
                  forward(8000, name="web", gateway="lan"), VPN)
    _, vpn, lan_gateway, vpn_gateway, _ = lan_and_vpn(t, text, server="10.77.0.1")
    clients = [g.table()[0]["client"] for g in (lan_gateway, vpn_gateway)]
    expect(clients == ["10.77.0.2", vpn.client], "they know us as %s" % clients)


@test(seconds=8)
def policy_routing(t):
    """As wg-quick does it: everything else by a table of its own, in which the VPN is the default."""
    text = config(section("vpn", address='"10.2.0.1"', interface="wg0", mappers="{nat-pmp}"),
                  LAN, VPN)
    home = t.home()
    vpn = Vpn(home)
    vpn.up()
    home.lan.ip("route add default dev wg0 table 51820",
                "rule add not fwmark 51820 table 51820 priority 100",
                "rule add table main suppress_prefixlength 0 priority 99")
    lan_gateway, vpn_gateway = t.fakegw(home), t.fakegw(home, vpn, mode="nat-pmp")
    t.daemon(home, text)
    t.until(lambda: mapped(lan_gateway, [8000]), 5, "the forward at the home's gateway")
    t.until(lambda: mapped(vpn_gateway, [9000]), 5, "the forward at the VPN's gateway")


@test(seconds=10)
def a_gateway_without_an_interface(t):
    """An address and nothing else: the kernel knows the way, by a rule or by a host route."""
    home = t.home()
    vpn = Vpn(home)
    vpn.up()
    rule = "rule add not fwmark 51820 table 51820 priority 100"
    home.lan.ip("route add default dev wg0 table 51820", rule,
                "rule add table main suppress_prefixlength 0 priority 99")
    lan_gateway, vpn_gateway = t.fakegw(home), t.fakegw(home, vpn, mode="nat-pmp")
    begin = now()
    daemon = t.daemon(home, config(section("vpn", address='"10.2.0.1"', mappers="{nat-pmp}"),
                                   LAN, VPN))
    t.until(lambda: mapped(lan_gateway, [8000]), 5, "the forward at the home's gateway")
    t.until(lambda: mapped(vpn_gateway, [9000]), 5, "the forward at the VPN's gateway")
    client = vpn_gateway.table()[0]["client"]
    expect(client == vpn.client, "the VPN's gateway knows us as " + client)
    home.lan.ip("route add 10.2.0.1 dev wg0", rule.replace("add", "del"))
    t.elapse(1)
    expect(daemon.status().startswith("2 of 2 "), "status: " + daemon.status())
    beyond = [r for r in home.wire.requests(begin) if r.target == "10.2.0.1"]
    expect(not beyond, "the VPN's gateway is asked for in the LAN: %s" % beyond[:2])


@test(seconds=8)
def two_uplinks(t):
    """Each with a default route in a table of its own, for what has its address: `ip rule from`. The
    main table has none at all."""
    home = t.home(gateways=2, route=False)
    home.gw2.space.ip("addr del 10.77.0.3/24 dev lan0", "addr add 10.78.0.1/24 dev lan0")
    home.gw2.inner = "10.78.0.1"
    home.plug(home.lan, "eth1", "10.78.0.2")
    for table, interface, own, gateway in ((100, "eth0", "10.77.0.2", home.gw),
                                           (200, "eth1", "10.78.0.2", home.gw2)):
        home.lan.ip("route add default via %s dev %s table %d" % (gateway.inner, interface, table),
                    "rule add from %s table %d" % (own, table))
    first, second = t.fakegw(home), t.fakegw(home, home.gw2)
    t.daemon(home, config(section("fibre", interface="eth0"), section("cable", interface="eth1"),
                          forward(8000, name="web", gateway="fibre"),
                          forward(9000, name="mail", gateway="cable")))
    t.until(lambda: mapped(first, [8000]) and mapped(second, [9000]), 5, "each at its own gateway")
    clients = [g.table()[0]["client"] for g in (first, second)]
    expect(clients == ["10.77.0.2", "10.78.0.2"], "they know us as %s" % clients)


@test(seconds=6)
def two_gateways_one_box(t):
    """Two names for it: what the second one wants in vain is said, and whose it is, whichever is first."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(section("other", address='"%s"' % home.gw.inner),
                                   forward(8000, 18000, name="web"),
                                   forward(8000, 18001, name="again", gateway="other"),
                                   forward(9000, 19000, name="game", gateway="other")))
    daemon.wait_line("web: .*is not mapped: forward again |again: .*is not mapped: forward web ", 5)
    t.until(lambda: mapped(gateway, [8000, 9000]), 5, "the forwards that do not clash")
    t.until(lambda: daemon.status().startswith("2 of 3 "), 3, "status: " + daemon.status())
    refused = [str(d) for d in home.wire.replies(kind="map") if d.result]
    expect(not refused, "the gateway had to refuse: %s" % refused[:1])


@test(seconds=8)
def container_bridges_are_nobodys_gateway(t):
    home = t.home(route=False)
    names = ("docker0", "br-0123456789ab", "virbr0", "lxdbr0", "cni0", "podman1")
    for i, name in enumerate(names):
        net = "172.%d.0" % (17 + i)
        home.lan.ip("link add %s type bridge" % name, "link set %s up" % name,
                    "addr add %s.1/16 dev %s" % (net, name),
                    "link add v%d type veth peer name w%d" % (i, i),
                    "link set v%d master %s" % (i, name), "link set v%d up" % i, "link set w%d up" % i,
                    "route add default via %s.9 metric %d" % (net, i + 1))
    gateway = t.fakegw(home)
    daemon = t.daemon(home, config(LAN, ready_timeout=1))
    daemon.wait_ready(4)
    expect("absent" in daemon.status() or daemon.status().startswith("0 of 1 "),
           "status: " + daemon.status())
    home.lan.ip("route add default via %s metric 600" % home.gw.inner)
    t.until(lambda: mapped(gateway, [8000]), 3, "the forward at the real gateway")


def ticks(daemon):
    with open("/proc/%d/stat" % daemon.process.pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@test(seconds=10)
def five_thousand_routes(t):
    """A router's table comes and goes; a move of the default route is noticed all the same."""
    home = t.home(gateways=2)
    first, second = t.fakegw(home), t.fakegw(home, home.gw2)
    daemon = t.daemon(home, config(LAN, mappers="{pcp}"))
    daemon.wait_ready()
    before = ticks(daemon)
    routes = ["%d.%d.%d.0/24 via %s" % (20 + i // 65536, i // 256 % 256, i % 256, home.gw.inner)
              for i in range(5000)]
    home.lan.ip(*["route add " + route for route in routes])
    t.elapse(0.5)
    used = ticks(daemon) - before
    expect(used <= 100, "%d ms of CPU for 5,000 routes" % (used * 10))
    moved = now()
    home.route(home.gw2)
    t.until(lambda: mapped(second, [8000]), 1 + MARGIN, "the forward at the second gateway")
    t.until(lambda: mapped(first, []), 3, "the release at the first one")
    home.lan.ip(*["route del " + route for route in routes])
    t.elapse(0.5)
    asked = [d for d in home.wire.requests(moved) if d.target == home.gw2.inner]
    expect(len(asked) <= 3, "%d packets to the second gateway" % len(asked))


def lost_events(daemon):
    """How many the kernel could not deliver to the daemon's netlink sockets."""
    text = daemon.namespace.run("cat", "/proc/net/netlink")
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % daemon.process.pid):
        with contextlib.suppress(FileNotFoundError):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink("/proc/%d/fd/%s" % (
                daemon.process.pid, fd)))
            inodes |= {match[1]} if match else set()
    return sum(int(line.split()[8]) for line in text.splitlines()[1:] if line.split()[9] in inodes)


@test(seconds=12)
def more_events_than_the_kernel_keeps(t):
    """ENOBUFS: the one that matters is among those that are lost, so everything is read anew."""
    home = t.home(gateways=2)
    first, second = t.fakegw(home), t.fakegw(home, home.gw2)
    daemon = t.daemon(home, config(LAN, mappers="{pcp}"))
    daemon.wait_ready()
    daemon.process.signal(signal.SIGSTOP)
    home.lan.ip(*["route add 20.0.%d.%d/32 via %s" % (i // 256, i % 256, home.gw.inner)
                  for i in range(3000)])
    expect(lost_events(daemon), "no event was lost: nothing is tested")
    home.route(home.gw2)
    daemon.process.signal(signal.SIGCONT)
    t.until(lambda: mapped(second, [8000]), 1 + MARGIN, "the forward at the second gateway")
    t.until(lambda: mapped(first, []), 3, "the release at the first one")


def read_addresses(space):
    """Dumps the addresses as the daemon does. Were they changed while they were read?"""
    with space.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as asking:
        asking.settimeout(2)
        # RTM_GETADDR with NLM_F_REQUEST | NLM_F_DUMP
        asking.send(struct.pack("=IHHII8s", 24, 22, 0x301, 1, 0, bytes([socket.AF_INET])))
        interrupted = False
        while True:
            data = asking.recv(32768)
            while len(data) >= 16:
                size, kind, flags = struct.unpack_from("=IHH", data)
                interrupted |= bool(flags & 0x10)  # NLM_F_DUMP_INTR
                if kind in (2, 3):  # NLMSG_ERROR, NLMSG_DONE
                    return interrupted
                data = data[(size + 3) & ~3:]


class Churn(threading.Thread):
    """Addresses that come and go all the time."""

    def __init__(self, space):
        super().__init__(daemon=True)
        self.space, self.end = space, threading.Event()
        self.batch = ["addr %s 30.0.0.%d/32 dev lo" % (verb, i) for i in range(100)
                      for verb in ("add", "del")]
        space.lab.keep(self)
        self.start()

    def run(self):
        while not self.end.is_set():
            self.space.ip(*self.batch)

    def close(self):
        self.end.set()
        self.join(10)


@test(seconds=15)
def tables_that_change_while_they_are_read(t):
    """Interrupted dumps: what was read half is read again, and each move is followed."""
    home = t.home(gateways=2)
    boxes = (t.fakegw(home), t.fakegw(home, home.gw2))
    daemon = t.daemon(home, config(LAN, mappers="{pcp}"))
    daemon.wait_ready()
    home.lan.ip(*["addr add 20.0.%d.%d/32 dev lo" % (i // 256, i % 256) for i in range(1500)])
    churn = Churn(home.lan)
    t.until(lambda: read_addresses(home.lan), 8, "a dump that is interrupted", step=0)
    for move in range(6):
        there = (move + 1) % 2
        home.route((home.gw, home.gw2)[there])
        t.until(lambda there=there: mapped(boxes[there], [8000]), 3 + MARGIN, "move %d" % move)
    churn.close()
    t.until(lambda: mapped(boxes[0], [8000]) and mapped(boxes[1], []), 5, "the last gateway only")
    expect(not daemon.process.count("routing tables"), "the log complains about the tables")


@test(seconds=8)
def another_box_after_a_restart(t):
    """What is remembered of the box that had the address is not told to the next one."""
    home = t.home(gateways=2)
    home.gw2.space.ip("addr del 10.77.0.3/24 dev lan0")
    home.gw2.inner = home.gw.inner
    first = t.fakegw(home, grant=3600, epoch=500000)
    text = config(forward(8000, 18000), mappers="{pcp, nat-pmp}")
    daemon = t.daemon(home, text)
    daemon.wait_ready()
    daemon.stop(signal.SIGQUIT)
    expect(mapped(first, [8000]), "SIGQUIT released the mapping")
    home.gw.space.ip("link set lan0 down")
    home.gw2.space.ip("addr add 10.77.0.1/24 dev lan0")
    second = t.fakegw(home, home.gw2, grant=3600)
    home.lan.ip("neigh flush dev eth0")
    daemon.start()
    daemon.wait_ready()
    expect(mapped(second, [8000]), "nothing is mapped at the second box")
    t.elapse(1)
    expect(not daemon.process.count("has lost its mappings"),
           "the second box is taken for the first one, restarted")
