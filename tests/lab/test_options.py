# SPDX-License-Identifier: ISC
"""PCP options on the wire: ranges as one mapping (P-107, P-108), and what a gateway does not echo (P-40)."""

from case import MARGIN, test
from daemon import config, forward
from lab import expect

PCP_ONLY = "gateway default {\n    mappers = {pcp}\n}\n"
PORT_SET = 130


def options(datagram):
    """The codes of the options of a PCP MAP."""
    found, at = [], 60
    while at < len(datagram.data):
        found.append(datagram.data[at])
        at += 4 + (datagram.number(at + 2, 2) + 3) // 4 * 4
    return found


def asked(home, kind="map"):
    return [options(d) for d in home.wire.asked(kind)]


@test()
def a_range_is_one_mapping(t):
    home = t.home()
    gateway = t.fakegw(home, port_set="grant", epoch=5000)
    daemon = t.daemon(home, config(PCP_ONLY, forward("8000-8009", name="range")))
    daemon.wait_ready()
    expect([m["ports"] for m in gateway.table()] == [10], "the gateway has %s" % gateway.table())
    expect(asked(home) == [[PORT_SET]], "asked for with options %s" % asked(home))
    told = t.until(lambda: daemon.published("range"), 2 + MARGIN, "the env file")
    expect(told.get("EXTERNAL_PORT") == "8000-8009", "published %r" % told)
    gateway.tell("reboot announce")
    t.until(lambda: gateway.table(), 8 + MARGIN, "the range after a reboot")
    expect(gateway.table()[0]["ports"] == 10, "the gateway has %s" % gateway.table())
    daemon.stop()
    expect(asked(home, "delete") == [[PORT_SET]], "deleted with options %s" % asked(home, "delete"))
    expect(not gateway.table(), "left behind: %s" % gateway.table())


@test(each=["ignore", "fewer", "refuse", "malformed"])
def a_range_without_sets(t, how):
    home = t.home()
    gateway = t.fakegw(home, port_set=how)
    daemon = t.daemon(home, config(PCP_ONLY, forward("8000-8004", name="range")))
    daemon.wait_ready()
    t.until(lambda: {m["internal"] for m in gateway.table()} == set(range(8000, 8005)), 2 + MARGIN,
            "single mappings")
    expect(sum(PORT_SET in each for each in asked(home)) == 1, "asked with %s" % asked(home))
    expect(not daemon.events("failed", "changed", "lost"), "more was told than that it is mapped")
    daemon.stop()
    expect(not gateway.table(), "left behind: %s" % gateway.table())


@test()
def miniupnpd_makes_single_mappings_of_a_range(t):
    home = t.home()
    gateway = t.miniupnpd(home)
    daemon = t.daemon(home, config(forward("8000-8004", name="range")))
    daemon.wait_ready()
    gateway.wait_rules({("tcp", port) for port in range(8000, 8005)}, 2 + MARGIN)
    expect(asked(home) == [[PORT_SET]] + 5 * [[]], "asked with options %s" % asked(home))
    daemon.stop()
    gateway.wait_rules(set(), 2 + MARGIN)


@test(each=["remote", "internal_address"])
def what_is_ignored_is_not_published(t, which):
    home = t.home()
    gateway = t.fakegw(home, ignore_options="on")
    value = {"remote": "{198.51.100.0/24}", "internal_address": '"10.77.0.77"'}[which]
    daemon = t.daemon(home, config(PCP_ONLY, forward(8000, name="web", **{which: value})))
    daemon.wait_line("the gateway ignores", 3 + MARGIN)
    t.until(lambda: not gateway.table(), 2 + MARGIN, "an empty table")
    expect(not daemon.events("mapped"), "it was told as mapped")
    expect(len(gateway.changes("add")) == 1, "it was opened again")
    daemon.stop()
