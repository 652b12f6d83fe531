# SPDX-License-Identifier: ISC
"""Which gateway, and which box it is: several of them, links of every kind, the café."""

import re

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now, run

OTHER_BOX = "02:77:00:00:00:99"


def link_address(space, interface="lan0"):
    text = run("ip", "-n", space.name, "-o", "link", "show", "dev", interface)
    return re.search(r"link/ether (\S+)", text)[1]


def section(name, **options):
    lines = ["gateway %s {" % name]
    lines += ["    %s = %s" % (key.replace("_", "-"), value) for key, value in options.items()]
    return "\n".join(lines + ["}", ""])


def mapped(gateway, ports):
    """Does this scripted gateway hold just these internal ports?"""
    return {m["internal_port"] if "internal_port" in m else m["internal"]
            for m in gateway.table()} == set(ports)


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
    t.elapse(2)
    expect(not home.wire.requests(), "a box that is not ours was asked: %s" % home.wire.tail(3))
    expect(daemon.process.count("link-address wants") == 1, "the log repeats itself")

    gateway.space.ip("link set lan0 address " + OTHER_BOX)
    home.lan.ip("link set eth0 down")
    t.elapse(0.5)
    home.lan.ip("link set eth0 up", "route replace default via " + home.gw.inner)
    t.until(lambda: mapped(gateway, [8000]), 5, "the mapping at home")


@test(seconds=8)
def at_home_with_link_address(t):
    """With the neighbour not known at first: the kernel is made to ask for it."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    text = config(section("default", link_address='"%s"' % link_address(gateway.space)),
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
                link_address(home.gw2.space))
    t.until(lambda: mapped(second, [8000, 8001]), 12, "both mappings at the second box")
    daemon.wait_line("another box has the address", 1, since=swapped)
    expect(not home.wire.requests(swapped, "delete"), "something is deleted at the wrong box")
    expect(not daemon.process.count("(?i)restarted|rebooted", swapped),
           "the second box is taken for the first one, restarted")
    t.elapse(0.5)
    status = daemon.status()
    expect(status.startswith("2 of 2 "), "status: " + status)
