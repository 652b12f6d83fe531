# SPDX-License-Identifier: ISC
"""external-address, map, unmap, probe: straight to the gateway, without the daemon."""

import json
import os
import socket
import stat
import subprocess
import time

from harness import PATIENCE, SANITIZER, check, same, until

TCP, UDP = 6, 17
WEB = "web internal-port=8080 external-port=80"


def run(home, *arguments, state="xdg", **more):
    """Towards the home's gateway, with a state folder of this test's own."""
    return home.ctl("--gateway", home.address, *arguments,
                    environment={"XDG_STATE_HOME": home.path(state)}, **more)


def good(home, *arguments, **more):
    status, out, err = run(home, *arguments, **more)
    same((status, err), (0, ""), " ".join(arguments))
    return out


def bad(home, wanted, words, *arguments, **more):
    """Ends with that status, and says why in one line with these words."""
    status, out, err = run(home, *arguments, **more)
    same((status, out), (wanted, ""), "%s (%s)" % (" ".join(arguments), err))
    one_line(err, words)


def one_line(err, words):
    check(len(err.splitlines()) == 1 and err.startswith("portleasectl: "), "one line: %r" % err)
    for word in words:
        check(word in err, "%r is not in %r" % (word, err))


def requests(home, **wanted):
    """What the gateway was asked."""
    found = []
    for line in home.log("gateway.log").splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "datagram" and entry["dir"] == "in" and all(
                entry.get(key) == value for key, value in wanted.items()):
            found.append(entry)
    return found


def versions(home):
    return [entry["version"] for entry in requests(home)]


def mapping(home):
    table = home.table()
    same(len(table), 1, "mappings at the gateway")
    return table[0]


# ---- external-address ----------------------------------------------------------------------------


def test_external_address(home):
    home.gateway()
    for mode, mapper in (("both", "pcp"), ("pcp", "pcp"), ("nat-pmp", "nat-pmp")):
        home.tell("set", "mode", mode)
        same(good(home, "external-address"), "203.0.113.7\n", mode)
        same(json.loads(good(home, "external-address", "--json")),
             {"gateway": home.address, "mapper": mapper, "external_address": "203.0.113.7",
              "external_class": "public"}, mode)
        same(home.table(), [], "a question leaves nothing behind")
    check(not os.path.exists(home.path("xdg")), "a question makes no secret")
    home.tell("set", "mode", "both")
    same(good(home, "external-address", "--mappers", "nat-pmp"), "203.0.113.7\n", "nat-pmp only")
    same(requests(home)[-1]["len"], 2, "octets of NAT-PMP's question")


def test_external_address_that_is_none(home):
    home.gateway(external="0.0.0.0")
    for mappers in ("pcp", "nat-pmp", "pcp,nat-pmp"):
        bad(home, 1, [home.address, "no external address"], "external-address", "--mappers", mappers)
    home.tell("set", "external", "192.168.5.5")
    same(good(home, "external-address"), "192.168.5.5\n", "a private one")
    home.tell("set", "wan", "down")
    bad(home, 1, ["no external address", "NETWORK_FAILURE"], "external-address", "--mappers", "pcp")
    bad(home, 1, ["network failure"], "external-address", "--mappers", "nat-pmp")


# ---- map -----------------------------------------------------------------------------------------


def test_map(home):
    home.gateway()
    same(good(home, "map", "8080"), "203.0.113.7:8080 3600\n", "map")
    row = mapping(home)
    same([row[key] for key in ("protocol", "internal", "external")], [TCP, 8080, 8080], "row")
    same(stat.S_IMODE(os.stat(home.path("xdg")).st_mode), 0o700, "the folder above")
    same(stat.S_IMODE(os.stat(home.path("xdg", "portleased")).st_mode), 0o700, "folder")
    same(stat.S_IMODE(os.stat(home.path("xdg", "portleased", "secret")).st_mode), 0o600, "secret")
    # The same again is a renewal: the gateway is strict about nonces.
    same(good(home, "map", "8080", "--lifetime", "120"), "203.0.113.7:8080 120\n", "again")
    mapping(home)
    home.tell("forget")
    same(good(home, "map", "53", "--protocol", "udp", "--external-port", "5300"),
         "203.0.113.7:5300 3600\n", "udp and another external port")
    row = mapping(home)
    same([row[key] for key in ("protocol", "internal", "external")], [UDP, 53, 5300], "row")
    home.tell("forget")
    good(home, "map", "8081", "--external-port", "any")
    same(requests(home)[-1]["suggested"], 0, "suggestion of any")
    good(home, "map", "8082", "--external-port", "same")
    same(requests(home)[-1]["suggested"], 8082, "suggestion of same")


def test_map_json(home):
    home.gateway()
    for mapper in ("pcp", "nat-pmp"):
        same(json.loads(good(home, "map", "8080", "--json", "--mappers", mapper)),
             {"gateway": home.address, "mapper": mapper, "protocol": "tcp",
              "internal_address": "127.0.0.1", "internal_port": 8080,
              "external_address": "203.0.113.7", "external_port": 8080,
              "lifetime": 3600}, mapper)
        home.tell("forget")


def test_map_takes_what_is_granted(home):
    home.gateway(port_policy="another", lifetime="1:77")
    for mapper in ("pcp", "nat-pmp"):
        out = good(home, "map", "8080", "--mappers", mapper)
        row = mapping(home)
        check(row["external"] != 8080, "the test itself: %r" % row)
        same(out, "203.0.113.7:%d 77\n" % row["external"], mapper)
        home.tell("forget")


def test_map_secret_in_home(home):
    home.gateway()
    os.mkdir(home.path("me"))
    status, _, err = home.ctl("map", "8080", "--gateway", home.address,
                              environment={"HOME": home.path("me"), "XDG_STATE_HOME": "relative"})
    same((status, err), (0, ""), "map")
    path = home.path("me", ".local", "state", "portleased", "secret")
    same(os.stat(path).st_size, 32, "size of the secret")


def test_map_without_secret(home):
    home.gateway()
    with open(home.path("xdg"), "w"):
        pass
    status, out, err = run(home, "map", "8080")
    same((status, out), (0, "203.0.113.7:8080 3600\n"), "it is mapped all the same")
    one_line(err, ["secret", home.path("xdg"), "cannot be deleted"])


def test_map_refused(home):
    home.gateway()
    for mode, code, words in (("pcp", "2", "NOT_AUTHORIZED"), ("pcp", "8", "NO_RESOURCES"),
                              ("pcp", "10", "USER_EX_QUOTA"), ("pcp", "77", "77"),
                              ("nat-pmp", "2", "not authorized"),
                              ("nat-pmp", "4", "out of resources"), ("nat-pmp", "99", "99")):
        home.tell("set", "mode", mode)
        home.tell("result", "clear")
        home.tell("result", "map", code)
        bad(home, 1, ["map tcp port 8080", home.address, words], "map", "8080")
        bad(home, 1, [home.address, words], "unmap", "8080") if code != "8" else None
    home.tell("result", "clear")
    home.tell("set", "mode", "both")
    home.tell("set", "grant", "0")
    bad(home, 1, ["lifetime of 0"], "map", "8080")


# ---- unmap ---------------------------------------------------------------------------------------


def test_unmap(home):
    home.gateway()
    for mode in ("both", "pcp", "nat-pmp"):
        home.tell("set", "mode", mode)
        for protocol in ("tcp", "udp"):
            good(home, "map", "8080", "--protocol", protocol)
            mapping(home)
            same(good(home, "unmap", "8080", "--protocol", protocol), "", "output of unmap")
            same(home.table(), [], "%s %s" % (mode, protocol))
    check(not [r for r in requests(home, lifetime=0) if r.get("internal") == 0],
          "never everything (Q-063)")


def test_unmap_leaves_others_alone(home):
    home.gateway()
    good(home, "map", "8080")
    good(home, "map", "8081")
    good(home, "map", "8080", "--protocol", "udp")
    good(home, "unmap", "8080")
    same(sorted((m["protocol"], m["internal"]) for m in home.table()),
         [(TCP, 8081), (UDP, 8080)], "what is left")


def test_unmap_of_nothing(home):
    home.gateway()
    for setting in ("on", "off"):
        home.tell("set", "delete-missing-ok", setting)
        good(home, "unmap", "8080")
    check(not os.path.exists(home.path("xdg")), "unmap makes no secret")
    same(json.loads(good(home, "unmap", "8080", "--json")),
         {"gateway": home.address, "mapper": "pcp", "protocol": "tcp", "internal_port": 8080}, "json")


def test_unmap_of_somebody_else(home):
    """Another secret, another nonce: neither to be deleted nor renewed."""
    home.gateway()
    good(home, "map", "8080")
    bad(home, 1, ["unmap tcp port 8080", home.address, "NOT_AUTHORIZED"], "unmap", "8080",
        state="other")
    bad(home, 1, ["NOT_AUTHORIZED"], "map", "8080", state="other")
    mapping(home)
    good(home, "unmap", "8080")
    same(home.table(), [], "by its maker")


# ---- protocols -----------------------------------------------------------------------------------


def test_version_fallback(home):
    home.gateway(mode="nat-pmp")
    for refusal in ("8", "op0", "erratum", "short", "v1", "v9"):
        home.tell("set", "pcp-refusal", refusal)
        before = len(requests(home, version=2))
        same(good(home, "external-address"), "203.0.113.7\n", refusal)
        same(good(home, "map", "8080"), "203.0.113.7:8080 3600\n", refusal)
        good(home, "unmap", "8080")
        same(home.table(), [], refusal)
        # One each, and perhaps one again on a busy machine; without the word, seven or more.
        check(len(requests(home, version=2)) - before <= 5, "%s: not at once" % refusal)


def test_version_fallback_to_pcp(home):
    home.gateway(mode="pcp")
    for refusal in ("pcp", "fritz"):
        home.tell("set", "nat-pmp-refusal", refusal)
        more = ("--mappers", "nat-pmp,pcp")
        same(good(home, "external-address", *more), "203.0.113.7\n", refusal)
        same(good(home, "map", "8080", *more), "203.0.113.7:8080 3600\n", refusal)
        good(home, "unmap", "8080", *more)
        same(home.table(), [], refusal)


def test_protocol_that_is_not_spoken(home):
    home.gateway(mode="pcp")
    for command in (("external-address",), ("map", "8080"), ("unmap", "8080")):
        home.tell("set", "mode", "pcp")
        bad(home, 1, [home.address, "nat-pmp", "--mappers"], *command, "--mappers", "nat-pmp")
        home.tell("set", "mode", "nat-pmp")
        bad(home, 1, [home.address, "pcp", "--mappers"], *command, "--mappers", "pcp")


def test_mute_about_pcp(home):
    """A gateway that drops what it does not know: three packets, then the other protocol."""
    home.gateway(mode="nat-pmp", pcp_refusal="mute")
    for command, wanted in ((["external-address"], "203.0.113.7\n"),
                            (["map", "8080"], "203.0.113.7:8080 3600\n"), (["unmap", "8080"], "")):
        same(good(home, *command), wanted, command[0])
    same(home.table(), [], "deleted")


# ---- no answer -----------------------------------------------------------------------------------

COMMANDS = (["external-address"], ["map", "8080"], ["unmap", "8080"])


def timed(function, low, high):
    began = time.monotonic()
    function()
    took = time.monotonic() - began
    check(low <= took <= high, "%.1f s" % took)


def test_silence(home):
    home.gateway(silence="on")
    for command in COMMANDS:
        timed(lambda: bad(home, 5, [home.address, "does not answer"], *command, "--timeout", "2"),
              1.9, 10)
    check(set(versions(home)) == {0, 2}, "both protocols are tried: %r" % versions(home))
    timed(lambda: bad(home, 5, ["does not answer"], "external-address", "--mappers", "nat-pmp",
                      "--timeout", "1"), 0.9, 10)
    # One at a time, 250 ms doubling: at 0, 0.25 and 0.75 s.
    before = len(requests(home, version=0, len=2))
    bad(home, 5, ["does not answer"], "external-address", "--mappers", "nat-pmp", "--timeout", "1")
    check(1 <= len(requests(home, version=0, len=2)) - before <= 3, "packets in a second")


def test_losses(home):
    home.gateway()
    for command in COMMANDS:
        home.tell("set", "drop-first", "2")
        good(home, *command)
    same(home.table(), [], "in the end")


def test_slow_gateway(home):
    """An answer that comes when already another protocol is asked."""
    home.gateway(mode="pcp", nat_pmp_refusal="mute", delay=2500)
    same(good(home, "external-address"), "203.0.113.7\n", "external-address")


def test_refused_by_icmp(home):
    for command in COMMANDS:
        bad(home, 5, [home.address, "ICMP port unreachable", "switch on"], *command)
    status, out, _ = run(home, "probe")
    same(status, 5, "probe")
    check(out.count("refused by ICMP") == 2, out)


def test_single_icmp(home):
    """Now and then a gateway refuses one datagram and means nothing by it (Q-021)."""
    home.gateway()
    for command in COMMANDS:
        home.tell("rule", "first=1", "name=once", "action=icmp")
        good(home, *command)
        home.tell("unrule", "once")


test_single_icmp.needs_root = True


def test_garbage(home):
    home.gateway(zoo="before", zoo_count=20)
    for mode in ("pcp", "nat-pmp"):
        home.tell("set", "mode", mode)
        for command, wanted in ((["external-address"], "203.0.113.7\n"),
                                (["map", "8080"], "203.0.113.7:8080 3600\n"), (["unmap", "8080"], "")):
            same(good(home, *command), wanted, "%s %s" % (mode, command[0]))
    home.tell("set", "zoo", "replace")
    for command in COMMANDS:
        status, out, _ = run(home, *command, "--timeout", "2")
        check(status in (1, 5) and out == "", "%s: %d %s" % (command[0], status, out))


def test_garbled_ports(home):
    home.gateway(mode="nat-pmp", garble_ports="on")
    for command in (["map", "8080"], ["unmap", "8080"]):
        bad(home, 1, ["other ports"], *command, "--timeout", "8", "--mappers", "nat-pmp")


def test_answer_from_elsewhere(home):
    home.gateway(reply_from=home.address + ":5352")
    for command in COMMANDS:
        bad(home, 5, ["does not answer"], *command, "--timeout", "1")


# ---- the daemon ----------------------------------------------------------------------------------


def held(home):
    return [[row[key] for key in ("protocol", "internal", "external", "nonce", "requests")]
            for row in home.table()]


def test_port_that_the_daemon_holds(home):
    home.up(WEB, "range protocol=udp internal-port=6000-6009",
            "idle internal-port=7000 on-demand=yes")
    home.wait_state("web", "active")
    home.wait_state("range", "active")
    before = held(home)
    for command in ("map", "unmap"):
        bad(home, 1, ["tcp port 8080", "\"web\""], command, "8080")
        bad(home, 1, ["udp port 6009", "\"range\""], command, "6009", "--protocol", "udp")
    same(held(home), before, "nothing was touched")
    good(home, "map", "8080", "--protocol", "udp")
    good(home, "map", "6009")
    good(home, "map", "6010", "--protocol", "udp")
    good(home, "map", "7000")
    for arguments in (["8080", "--protocol", "udp"], ["6009"], ["6010", "--protocol", "udp"],
                      ["7000"]):
        good(home, "unmap", *arguments)
    same(held(home), before, "in the end")


def test_another_gateway_than_the_daemons(home):
    home.up(WEB)
    home.wait_state("web", "active")
    home.tell("quit")
    home.address = home.address.rsplit(".", 1)[0] + ".254"
    home.spawn([home.options.fakegw, "--listen", home.address, "--port-range", "1:65535"],
               "second.log")
    until(lambda: '"ready":true' in home.log("second.log"), "gateway")
    same(good(home, "map", "8080"), "203.0.113.7:8080 3600\n", "map")


def test_stuck_daemon(home):
    home.gateway()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as full:
        listener.bind(home.socket)
        listener.listen(0)
        timed(lambda: good(home, "map", "8080"), 0.9, 10)
        full.setblocking(False)
        try:
            full.connect(home.socket)
        except BlockingIOError:
            pass
        timed(lambda: good(home, "unmap", "8080"), 0.9, 10)


# ---- probe ---------------------------------------------------------------------------------------


def probe(home, wanted, *arguments):
    status, out, err = run(home, "probe", "--json", *arguments)
    same((status, err), (wanted, ""), "probe")
    return json.loads(out)


def states(document):
    return [(m["mapper"], m["state"]) for m in document["mappers"]]


def test_probe(home):
    home.gateway(epoch=1000)
    status, out, err = run(home, "probe")
    same((status, err), (0, ""), "probe")
    lines = out.splitlines()
    same([line.split()[0] for line in lines], ["gateway", "pcp", "nat-pmp", "external", "advice"],
         "labels")
    same({line[9] for line in lines}, {" "}, "columns")
    check(not any(line[10] == " " or line != line.rstrip() for line in lines), out)
    check(home.address in lines[0] and "lo" in lines[0] and "127.0.0.1" in lines[0], lines[0])
    for line in lines[1:3]:
        check("udp 9 as 203.0.113.7:9 for 60 s, deleted again" in line and " ms" in line, line)
    check("public" in lines[3] and "All is well" in lines[4], out)
    same(home.table(), [], "all of it was deleted")
    document = probe(home, 0)
    same(list(document), ["gateway", "mappers", "external_address", "external_class", "daemon",
                          "advice"], "members")
    same(document["gateway"]["address"], home.address, "gateway")
    for mapper in document["mappers"]:
        same(list(mapper), ["mapper", "state", "text", "rtt_ms", "epoch", "external_port",
                            "lifetime", "deleted"], "members of a mapper")
        check(mapper["rtt_ms"] > 0 and 1000 <= mapper["epoch"] < 1100, repr(mapper))
        same((mapper["external_port"], mapper["lifetime"], mapper["deleted"]), (9, 60, True), "udp 9")
    same(states(document), [("pcp", "maps"), ("nat-pmp", "maps")], "states")
    created = [r for r in requests(home) if r.get("lifetime") == 60]
    same({(r["version"], r["internal"]) for r in created}, {(2, 9), (0, 9)}, "real mappings")


def test_probe_one_protocol(home):
    home.gateway(mode="nat-pmp")
    same(states(probe(home, 0)), [("pcp", "not-spoken"), ("nat-pmp", "maps")], "nat-pmp only")
    home.tell("set", "mode", "pcp")
    same(states(probe(home, 0)), [("pcp", "maps"), ("nat-pmp", "not-spoken")], "pcp only")
    home.tell("set", "nat-pmp-refusal", "mute")
    same(states(probe(home, 0, "--timeout", "3")), [("pcp", "maps"), ("nat-pmp", "silent")], "mute")
    same(states(probe(home, 0, "--mappers", "upnp,pcp")), [("pcp", "maps")], "asked for")
    check("upnp" in good(home, "probe", "--mappers", "upnp,pcp"), "upnp is told of")
    home.tell("set", "nat-pmp-refusal", "pcp")
    same(states(probe(home, 1, "--mappers", "nat-pmp")), [("nat-pmp", "not-spoken")], "none")


def test_probe_refused(home):
    home.gateway()
    home.tell("result", "map", "2")
    document = probe(home, 1)
    same(states(document), [("pcp", "refuses"), ("nat-pmp", "refuses")], "states")
    check("NOT_AUTHORIZED" in document["mappers"][0]["text"], repr(document))
    check("not authorized" in document["mappers"][1]["text"], repr(document))
    same(document["external_address"], "203.0.113.7", "told by NAT-PMP all the same")
    check("router's settings" in document["advice"], document["advice"])


def test_probe_silence(home):
    home.gateway(silence="on")
    documents = []
    timed(lambda: documents.append(probe(home, 5, "--timeout", "2")), 1.9, 10)
    same(states(documents[0]), [("pcp", "silent"), ("nat-pmp", "silent")], "states")
    same((documents[0]["external_address"], documents[0]["external_class"],
          documents[0]["mappers"][0]["rtt_ms"], documents[0]["mappers"][0]["epoch"],
          documents[0]["mappers"][0]["deleted"]), (None,) * 5, "what is not known")
    check("Switch on" in documents[0]["advice"], documents[0]["advice"])


def test_probe_external_classes(home):
    home.gateway()
    for address, kind, word in (("192.168.1.2", "private", "next NAT"),
                                ("100.64.3.4", "cgnat", "provider"),
                                ("203.0.113.9", "public", "All is well")):
        home.tell("set", "external", address)
        document = probe(home, 0)
        same((document["external_address"], document["external_class"]), (address, kind), "external")
        check(word in document["advice"], document["advice"])


def test_probe_that_cannot_clean_up(home):
    home.gateway()
    home.tell("rule", "what=delete", "action=drop")
    document = probe(home, 0, "--timeout", "2", "--mappers", "pcp")
    same((states(document), document["mappers"][0]["deleted"]), ([("pcp", "maps")], False), "probe")


def test_probe_looks_at_the_daemon(home):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        home.up("web internal-port=%d" % port)
        home.wait_state("web", "active")
        document = probe(home, 0)
        check(len(document["daemon"]) == 1 and "web" in document["daemon"][0], repr(document))
        check("programs" in document["advice"], document["advice"])
        s.listen()
        same(probe(home, 0)["daemon"], [], "now somebody listens")
    home.write("nine protocol=udp internal-port=9")
    same(home.ctl("reload")[0], 0, "reload")
    home.wait_state("nine", "active")
    bad(home, 1, ["udp port 9", "\"nine\""], "probe")
    until(lambda: len(home.table()) == 1, "the forward before it to be released")
    same(mapping(home)["internal"], 9, "the daemon's mapping")


# ---- usage ---------------------------------------------------------------------------------------


def test_direct_usage(home):
    for arguments in (["map"], ["map", "0"], ["map", "65536"], ["map", "80x"], ["map", "--", "-1"],
                      ["map", "80", "81"], ["unmap"], ["unmap", "x"], ["probe", "x"],
                      ["external-address", "x"], ["map", "80", "--lifetime", "1"],
                      ["map", "80", "--lifetime", "86401"], ["map", "80", "--lifetime", ""],
                      ["map", "80", "--external-port", "0"], ["map", "80", "--external-port", "x"],
                      ["map", "80", "--protocol", "both"], ["map", "80", "--mappers", ""],
                      ["map", "80", "--mappers", "pcp,"], ["map", "80", "--mappers", "pcp,pcp"],
                      ["map", "80", "--mappers", "natpmp"], ["map", "80", "--mappers", "upnp"],
                      ["map", "80", "--timeout", "0"], ["map", "80", "--timeout", "x"],
                      ["map", "80", "--gateway", "example.org"], ["unmap", "80", "--lifetime", "9"],
                      ["map", "5351", "--protocol", "udp"],
                      ["map", "80", "--protocol", "udp", "--external-port", "5350"],
                      ["probe", "--protocol", "udp"], ["status", "--interface", "lo"]):
        status, out, err = home.ctl(*arguments)
        same((status, out), (2, ""), " ".join(arguments))
        one_line(err, [])
    one_line(home.ctl("map", "80", "--mappers", "upnp")[2], ["upnp", "not built in"])


# ---- in a network of its own ---------------------------------------------------------------------


class Network:
    """A home and its gateway: two namespaces, eth0 10.7.0.2/24 and 10.7.0.1."""

    def __init__(self, home):
        self.home = home
        self.names = ["plctl-%s-%d" % (name, os.getpid()) for name in ("lan", "gw")]

    def __enter__(self):
        lan, gateway = self.names
        try:
            for name in self.names:
                self.ip("netns", "add", name)
                self.ip("-n", name, "link", "set", "lo", "up")
            self.ip("-n", gateway, "link", "add", "lan0", "type", "veth", "peer", "name", "eth0",
                    "netns", lan)
            for name, link, address in ((lan, "eth0", "10.7.0.2"), (gateway, "lan0", "10.7.0.1")):
                self.ip("-n", name, "address", "add", address + "/24", "dev", link)
                self.ip("-n", name, "link", "set", link, "up")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip"] + list(arguments), check=True, timeout=PATIENCE)

    def route(self):
        self.ip("-n", self.names[0], "route", "add", "default", "via", "10.7.0.1", "metric", "77")

    def gateway(self, address="10.7.0.1"):
        self.home.spawn(["ip", "netns", "exec", self.names[1], self.home.options.fakegw, "--listen",
                         address, "--port-range", "1:65535"], "gateway.log")
        until(lambda: '"ready":true' in self.home.log("gateway.log"), "gateway")

    def run(self, *command):
        done = subprocess.run(["ip", "netns", "exec", self.names[0]] + list(command), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
                              env=dict(os.environ, XDG_STATE_HOME=self.home.path("xdg")))
        check(not SANITIZER.search(done.stderr), done.stderr)
        return done.returncode, done.stdout, done.stderr

    def ctl(self, *arguments):
        return self.run(self.home.options.portleasectl, "-c", self.home.socket, *arguments)


def test_default_gateway(home):
    with Network(home) as network:
        for command in COMMANDS + (["probe"],):
            status, out, err = network.ctl(*command)
            same((status, out), (1, ""), "without a route")
            one_line(err, ["no default gateway", "--gateway"])
        network.route()
        network.gateway()
        same(network.ctl("external-address"), (0, "203.0.113.7\n", ""), "external-address")
        same(network.ctl("map", "80"), (0, "203.0.113.7:80 3600\n", ""), "map")
        # However the gateway was found, it is the same one, and so is the nonce.
        same(network.ctl("unmap", "80", "--gateway", "10.7.0.1"), (0, "", ""), "unmap")
        same(network.ctl("external-address", "--interface", "eth0"), (0, "203.0.113.7\n", ""),
             "by interface")
        status, out, err = network.ctl("probe")
        same((status, err), (0, ""), "probe")
        check("10.7.0.1 through eth0, own address 10.7.0.2 (default route, metric 77)" in out, out)
        status, out, err = network.ctl("map", "80", "--interface", "eth7")
        same((status, out), (1, ""), "no such interface")
        one_line(err, ["eth7"])
        network.ip("-n", network.names[0], "link", "set", "eth0", "down")
        status, out, err = network.ctl("map", "80", "--interface", "eth0")
        same((status, out), (1, ""), "an interface that is down")
        one_line(err, ["eth0", "down"])


test_default_gateway.needs_root = True


def test_ipv6_pinhole(home):
    with Network(home) as network:
        for name, link, address in zip(network.names, ("eth0", "lan0"), ("fd07::2", "fd07::1")):
            network.ip("-n", name, "address", "add", address + "/64", "dev", link, "nodad")
        network.gateway("fd07::1")
        same(network.ctl("map", "8080", "--gateway", "fd07::1"), (0, "[fd07::2]:8080 3600\n", ""),
             "map")
        same(network.ctl("unmap", "8080", "--gateway", "fd07::1"), (0, "", ""), "unmap")
        status, out, err = network.ctl("probe", "--gateway", "fd07::1")
        same((status, err), (0, ""), "probe")
        check("udp 9 as [fd07::2]:9 for 60 s, deleted again" in out and "nat-pmp" not in out, out)
        status, out, err = network.ctl("map", "80", "--gateway", "fd07::1", "--mappers", "nat-pmp")
        same((status, out), (2, ""), "nat-pmp for IPv6")
        one_line(err, ["fd07::1", "IPv4 only"])


test_ipv6_pinhole.needs_root = True


def test_nobody_at_that_address(home):
    with Network(home) as network:
        status, out, err = network.ctl("map", "80", "--gateway", "10.7.0.9", "--timeout", "2")
        same((status, out), (5, ""), "a neighbour that is not there")
        one_line(err, ["10.7.0.9"])


test_nobody_at_that_address.needs_root = True


def test_own_firewall(home):
    with Network(home) as network:
        network.route()
        network.gateway()
        for verdict in ("drop", "reject"):
            for line in ("flush ruleset", "add table inet t", "add chain inet t out "
                         "{ type filter hook output priority 0 ; }",
                         "add rule inet t out udp dport 5351 " + verdict):
                same(network.run("nft", *line.split())[0], 0, line)
            for command in COMMANDS:
                status, out, err = network.ctl(*command)
                same((status, out), (4, ""), "%s: %s" % (verdict, command[0]))
                one_line(err, ["10.7.0.1", "this host's own firewall", "5351"])
            status, out, err = network.ctl("probe")
            same((status, err), (4, ""), "probe")
            check(out.count("blocked by this host's own firewall") == 2, out)
            check("firewall" in out.splitlines()[-1], out)


test_own_firewall.needs_root = True
