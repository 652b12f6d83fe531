# SPDX-License-Identifier: ISC
"""portleasectl without the daemon, towards a real gateway: external-address, map, unmap, probe."""

import json
import os
import subprocess

from case import test
from daemon import SANITIZER, config, forward
from lab import expect, now

MAPPERS = ("pcp", "nat-pmp")
OUTSIDE = "11.22.33.1"


class Tool:
    def __init__(self, t, home):
        self.t, self.home = t, home
        self.program = os.path.join(t.build.folder, "portleasectl")
        self.environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C",
                            "XDG_STATE_HOME": t.lab.path("xdg")}

    def run(self, *arguments, socket="/nonexistent/control.sock"):
        """(status, output, errors); it must end by itself."""
        argv = ["nsenter", "--net=" + self.home.lan.path, "--", self.program, "-c", socket]
        begin = now()
        done = subprocess.run(argv + list(arguments), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=40, env=self.environment)
        expect(not SANITIZER.search(done.stderr), done.stderr[-500:])
        expect(now() - begin < 25, "%s took %.1f s" % (arguments, now() - begin))
        return done.returncode, done.stdout, done.stderr

    def good(self, *arguments, wanted=None):
        status, out, err = self.run(*arguments)
        expect((status, err) == (0, ""), "%s: status %d: %s" % (arguments, status, out + err))
        expect(wanted is None or out == wanted, "%s prints %r, not %r" % (arguments, out, wanted))
        return out

    def bad(self, status, words, *arguments, **more):
        """One line on standard error, with these words in it."""
        got, out, err = self.run(*arguments, **more)
        expect((got, out) == (status, ""), "%s: status %d, not %d: %s" % (
            arguments, got, status, out + err))
        expect(len(err.splitlines()) == 1 and err.startswith("portleasectl: "), "lines: %r" % err)
        for word in words:
            expect(word in err, "%s: %r has no %r" % (arguments, err, word))

    def probe(self, status):
        """The document; what it says as text ends with one line of advice."""
        got, out, err = self.run("probe")
        expect((got, err) == (status, ""), "probe: status %d, not %d: %s" % (got, status, out + err))
        labels = [line.split()[0] for line in out.splitlines()]
        expect(labels.count("advice") == 1 and labels[-1] == "advice", "advice: %s" % out)
        got, out, err = self.run("probe", "--json")
        expect((got, err) == (status, ""), "probe --json: status %d: %s" % (got, out + err))
        return json.loads(out)


COMMANDS = (("external-address",), ("map", "8080"), ("unmap", "8080"))


def stage(t, **more):
    home = t.home()
    return home, t.miniupnpd(home, **more), Tool(t, home)


def states(document):
    return {one["mapper"]: one["state"] for one in document["mappers"]}


@test(seconds=8, each=MAPPERS)
def maps_and_unmaps(t, mapper):
    home, gateway, tool = stage(t)
    more = ("--mappers", mapper)
    tool.good("external-address", *more, wanted=OUTSIDE + "\n")
    expect(gateway.rules() == {}, "the question has left %s" % gateway.rules())
    for protocol in ("tcp", "udp"):
        with_protocol = ("--protocol", protocol) + more
        for arguments, inside, outside in ((("8080",), 8080, 8080),
                                           (("8081", "--external-port", "same"), 8081, 8081),
                                           (("80", "--external-port", "18080"), 80, 18080)):
            tool.good("map", *arguments, *with_protocol, wanted="%s:%d 3600\n" % (OUTSIDE, outside))
            expect(gateway.rules() == {(protocol, outside): (home.lan_address, inside)},
                   "%s: %s" % (arguments, gateway.rules()))
            tool.good("unmap", arguments[0], *with_protocol, wanted="")
            expect(gateway.rules() == {}, "unmap %s has left %s" % (arguments, gateway.rules()))
        out = tool.good("map", "8082", "--external-port", "any", "--lifetime", "600", *with_protocol)
        (_, outside), = gateway.rules()
        expect(out == "%s:%d 600\n" % (OUTSIDE, outside), "any: %s, %s" % (out, gateway.rules()))
        granted = 120 if mapper == "pcp" else 30  # min_lifetime is for PCP
        tool.good("map", "8082", "--external-port", str(outside), "--lifetime", "30", *with_protocol,
                  wanted="%s:%d %d\n" % (OUTSIDE, outside, granted))
        expect(len(gateway.rules()) == 1, "a renewal has made another: %s" % gateway.rules())
        tool.good("unmap", "8082", *with_protocol)
        tool.good("unmap", "8082", *with_protocol)  # what is not there counts as deleted
        expect(gateway.rules() == {}, "in the end: %s" % gateway.rules())


def permit(gateway, rule):
    """Starts it again with another rule in front of its last, which denies everything."""
    gateway.kill()
    with open(gateway.config) as f:
        lines = [line for line in f.read().splitlines() if not line.startswith("allow ")]
    with open(gateway.config, "w") as f:
        f.write("\n".join(lines[:-1] + [rule] * bool(rule) + lines[-1:]) + "\n")
    gateway.start()


@test(seconds=10)
def refused_by_a_rule(t):
    home, gateway, tool = stage(t)
    # Only ports from 1024 on are for its hosts: a success with another port than the wished one.
    for mapper in MAPPERS:
        more = ("--mappers", mapper)
        out = tool.good("map", "80", *more)
        (_, outside), = gateway.rules()
        expect(outside >= 1024 and out == "%s:%d 3600\n" % (OUTSIDE, outside), "map 80: " + out)
        tool.good("unmap", "80", *more)
    permit(gateway, "allow 1-65535 10.77.0.77/32 1-65535")  # somebody else
    for mapper in MAPPERS:
        for protocol in ("tcp", "udp"):
            tool.bad(1, ["map %s port 8080" % protocol, home.gw.inner], "map", "8080", "--protocol",
                     protocol, "--mappers", mapper)
    expect(gateway.rules() == {}, "mapped: %s" % gateway.rules())
    document = tool.probe(1)
    expect(states(document) == {"pcp": "refuses", "nat-pmp": "refuses"}, "probe: %s" % document)
    expect(document["external_address"] == OUTSIDE, "NAT-PMP tells it all the same: %s" % document)


@test(seconds=8, each=["192.168.5.1", "100.64.0.1"])
def without_a_public_address(t, outside):
    """The provider's own NAT: this gateway then refuses everything with NETWORK_FAILURE."""
    home = t.home()
    home.gw.space.ip("addr flush dev wan0", "addr add %s/24 dev wan0" % outside)
    gateway, tool = t.miniupnpd(home), Tool(t, home)
    for mapper in MAPPERS:
        more = ("--mappers", mapper)
        tool.bad(1, [home.gw.inner], "external-address", *more)
        tool.bad(1, ["map tcp port 8080", home.gw.inner], "map", "8080", *more)
    expect(gateway.rules() == {}, "mapped: %s" % gateway.rules())
    document = tool.probe(1)
    expect(set(states(document).values()) == {"refuses"}, "probe: %s" % document)
    expect("network" in document["advice"].lower() or "address" in document["advice"],
           "advice: " + document["advice"])


@test(seconds=15)
def silent(t):
    home, gateway, tool = stage(t)
    gateway.silence()
    for command in COMMANDS:
        tool.bad(5, [home.gw.inner, "does not answer"], *command, "--timeout", "2")
    document = tool.probe(5)
    expect(set(states(document).values()) == {"silent"}, "probe: %s" % document)
    gateway.silence(False)
    tool.good("map", "8080", wanted=OUTSIDE + ":8080 3600\n")
    gateway.kill()  # nobody at the port any more: ICMP
    for command in COMMANDS:
        tool.bad(5, [home.gw.inner, "ICMP"], *command)
    document = tool.probe(5)
    expect(set(states(document).values()) == {"icmp-refused"}, "probe: %s" % document)


@test(seconds=8)
def own_firewall(t):
    home, gateway, tool = stage(t)
    home.lan.nft("table inet t {\nchain out {\ntype filter hook output priority 0;\n"
                 "udp dport 5351 drop\n}\n}\n")
    for command in COMMANDS:
        tool.bad(4, [home.gw.inner, "this host's own firewall", "5351"], *command)
    document = tool.probe(4)
    expect(set(states(document).values()) == {"blocked"}, "probe: %s" % document)
    expect("firewall" in document["advice"], "advice: " + document["advice"])
    expect(gateway.rules() == {}, "mapped: %s" % gateway.rules())


@test(seconds=10)
def probes(t):
    """All is well, and udp 9 is not left behind."""
    home, gateway, tool = stage(t)
    permit(gateway, "allow 1-65535 10.77.0.0/24 1-65535")
    document = tool.probe(0)
    expect(states(document) == {"pcp": "maps", "nat-pmp": "maps"}, "probe: %s" % document)
    where = document["gateway"]
    expect((where["address"], where["interface"], where["local_address"]) ==
           (home.gw.inner, "eth0", home.lan_address), "gateway: %s" % where)
    expect((document["external_address"], document["external_class"]) == (OUTSIDE, "public"),
           "external: %s" % document)
    for one in document["mappers"]:
        expect((one["external_port"], one["deleted"]) == (9, True) and one["rtt_ms"] > 0
               and one["epoch"] is not None, "a mapper: %s" % one)
    expect(gateway.rules() == {}, "left behind: %s" % gateway.rules())
    expect("All is well" in document["advice"], "advice: " + document["advice"])


@test(seconds=10)
def leaves_the_daemons_ports_alone(t):
    home, gateway, tool = stage(t)
    daemon = t.daemon(home, config(forward(8000, 18000, name="web"), forward(8001, 18001, "udp", "game")))
    daemon.wait_ready()
    kept = gateway.rules()
    for command in ("map", "unmap"):
        tool.bad(1, ["tcp port 8000", '"web"'], command, "8000", socket=daemon.control)
        tool.bad(1, ["udp port 8001", '"game"'], command, "8001", "--protocol", "udp",
                 socket=daemon.control)
    expect(gateway.rules() == kept and len(kept) == 2, "rules: %s, %s" % (kept, gateway.rules()))
    asked = now()
    status, out, err = tool.run("map", "8002", socket=daemon.control)
    expect((status, out) == (0, OUTSIDE + ":8002 3600\n"), "another port: %s" % (out + err))
    status, _, err = tool.run("unmap", "8002", socket=daemon.control)
    expect(status == 0 and gateway.rules() == kept, "in the end: %s %s" % (err, gateway.rules()))
    expect({d.inside for d in home.wire.requests(asked, "delete")} == {8002}, "deletes")
