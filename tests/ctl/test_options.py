# SPDX-License-Identifier: ISC
"""Options and settings, one by one, as far as other tests do not need them anyway."""

import json

from harness import check, same, until
from test_direct import Network
from test_hold import GAME

WEB = "web internal-port=8080 external-port=80"


# ---- portleasectl --------------------------------------------------------------------------------


def test_json_of_orders(home):
    home.up(WEB)
    home.wait_state("web", "active")
    same(json.loads(home.ctl("renew", "--json")[1]), {"mappings": 1}, "renew")
    same(json.loads(home.ctl("reload", "--json")[1]),
         {"added": 0, "changed": 0, "removed": 0, "unchanged": 1}, "reload")
    with open(home.file, "a") as f:
        f.write("nonsense = 1\n")
    status, out, err = home.ctl("reload", "--json")
    same(status, 1, "a bad file")
    check("nonsense" in out + err and home.file in out + err, "what is wrong: %r" % (out + err))


def test_options_of_one_shots(home):
    """By interface, with a time limit, as JSON: each command takes all of them."""
    home.gateway()
    general = ["--gateway", home.address, "--interface", "lo", "--timeout", "9", "--mappers",
               "pcp,nat-pmp", "--json"]
    more = {"environment": {"XDG_STATE_HOME": home.path("xdg")}}
    for command, key, wanted in ((["external-address"], "external_address", "203.0.113.7"),
                                 (["map", "7000", "--protocol", "udp"], "external_port", 7000),
                                 (["unmap", "7000", "--protocol", "udp"], "internal_port", 7000),
                                 (["probe"], "external_class", "public")):
        status, out, err = home.ctl(*command, *general, **more)
        same((status, err), (0, ""), command[0])
        same(json.loads(out)[key], wanted, command[0])
    home.tell("set", "silence", "on")
    for command in (["external-address"], ["map", "7000"], ["unmap", "7000"], ["probe"]):
        same(home.ctl(*command, "--gateway", home.address, "--timeout", "1", **more)[0], 5, command[0])


def test_options_of_ad_hoc_forwards(home):
    """What is said of them is what the gateway is asked."""
    home.up(GAME, gateway={"description": "on"})
    words = ["hold", "--gateway", "g", "--internal-port", "9000"]
    with_all = ["--protocol", "udp", "--family", "ipv4", "--external-port", "9100",
                "--external-policy", "require", "--lifetime", "600", "--description", "a game"]
    script = ["--", home.options.fakegw, "--ctl", home.path("gw.sock"), "table"]
    status, out, err = home.ctl(*words, *with_all, *script)
    same((status, err), (0, ""), "hold")
    row = json.loads(out)["mappings"][0]
    same([row[key] for key in ("protocol", "internal", "external", "granted")], [17, 9000, 9100, 600],
         "what the gateway has")
    same(row["description"].rstrip(), "a game", "description")
    # Exactly that port, or nothing.
    home.tell("set", "port-policy", "another")
    status, out, err = home.ctl(*words, *with_all, "--timeout", "3", *script)
    same((status, out), (125, ""), "another port than the required one")
    check(len(err.splitlines()) == 1, err)
    same(home.table(), [], "given back")
    status, out, err = home.ctl(*words, "--external-port", "9100", "--external-policy", "prefer",
                                "--", "sh", "-c", "echo $PORTLEASE_EXTERNAL_PORT")
    check(status == 0 and out != "9100\n", "what is granted: %r" % (out + err))


# ---- portleased.conf -----------------------------------------------------------------------------


def test_setting_pairing(home):
    """The same port for tcp and udp; or each what it gets."""
    home.write("pair protocol=both internal-port=5000")
    home.gateway()
    home.tell("occupy", "127.0.0.77", "udp", "5000")
    home.start()
    home.wait_state("pair", "active")
    ports = {row["external_port"] for row in home.rows("pair")}
    check(len(ports) == 1 and ports != {5000}, "ports of a pair: %r" % ports)
    home.stop()
    home.write("pair protocol=both internal-port=5000 pairing=independent")
    home.tell("set", "port-policy", "list", "port-list", "6001,6002")
    home.start()
    home.wait_state("pair", "active")
    ports = {row["protocol"]: row["external_port"] for row in home.rows("pair")}
    same(ports, {"tcp": 6001, "udp": 6002}, "ports of their own")


def test_setting_external_policy(home):
    home.write("web internal-port=8080 external-policy=require")
    home.gateway(port_policy="another")
    home.start()
    row = home.wait_state("web", "failed")[0]
    check(row["last_error"] and row["retries_in"] is not None, "%r" % row)
    same((row["external_port"], home.table()), (None, []), "what it has")
    home.write("web internal-port=8080 external-policy=prefer")
    same(home.ctl("reload")[0], 0, "reload")
    row = home.wait_state("web", "active")[0]
    check(row["external_port"] not in (None, 8080) and row["wanted_external_port"] == 8080, "%r" % row)


def test_setting_internal_address_and_remote(home):
    """PCP's options THIRD_PARTY and FILTER."""
    home.up("nas internal-port=8080 internal-address=\"192.0.2.9\"",
            "few internal-port=8081 remote={\"198.51.100.0/24\",\"192.0.2.1\"}",
            gateway={"third_party": "on"})
    home.wait_state("nas", "active")
    home.wait_state("few", "active")
    same(home.rows("nas")[0]["internal_address"], "192.0.2.9", "the other host")
    table = {row["internal"]: row for row in home.table()}
    same(table[8080]["client"], "192.0.2.9", "at the gateway")
    same((table[8081]["filters"], "filters" in table[8080]), (2, False), "filters")


def test_setting_description(home):
    home.up("web internal-port=8080 description=\"my_web\"", "other internal-port=8081",
            gateway={"description": "on"})
    home.wait_state("web", "active")
    home.wait_state("other", "active")
    same({row["internal"]: row.get("description", "").rstrip() for row in home.table()},
         {8080: "my_web", 8081: ""}, "descriptions")


def test_setting_lifetime_and_renewal(home):
    """The forward's own, its gateway's, the global one; and renewal no later than told."""
    home.write("own internal-port=1001 lifetime=500", "gateways internal-port=1002",
               settings="lifetime = 700\nmax-renew-interval = 100")
    home.rewrite("interface = lo", "interface = lo\n    lifetime = 600")
    home.gateway()
    home.start()
    for name, lifetime in (("own", 500), ("gateways", 600)):
        row = home.wait_state(name, "active")[0]
        same(row["lifetime"], lifetime, name)
        check(80 < row["renews_in"] <= 100, "renews_in of %s: %d" % (name, row["renews_in"]))
    home.write("global internal-port=1003", settings="lifetime = 700")
    same(home.ctl("reload")[0], 0, "reload")
    row = home.wait_state("global", "active")[0]
    same(row["lifetime"], 700, "global")
    # At a random moment from 1/2 to 5/8 of the lifetime, not after 100 s any more.
    check(100 < row["renews_in"] <= 438, "renews_in: %d" % row["renews_in"])


def test_setting_enabled_and_release_on_exit(home):
    home.up(WEB, "off internal-port=1 enabled=no", "kept internal-port=2000 release-on-exit=no")
    home.wait_state("web", "active")
    home.wait_state("kept", "active")
    same([row["forward"] for row in home.rows() if row["state"] != "idle"], ["web", "kept"], "rows")
    home.stop()
    same([row["internal"] for row in home.table()], [2000], "left at the gateway")


def test_setting_source_address(home):
    """One of two own addresses: what is mapped, and whom the gateway hears."""
    with Network(home) as network:
        network.ip("-n", network.names[0], "address", "add", "10.7.0.22/24", "dev", "eth0")
        network.route()
        network.gateway()
        with open(home.file, "w") as f:
            f.write('gateway g {\n    address = "10.7.0.1"\n    interface = eth0\n'
                    '    source-address = "10.7.0.22"\n}\n'
                    "forward web {\n    internal-port = 8080\n    gateway = g\n}\n")
        home.daemon = home.spawn(
            ["ip", "netns", "exec", network.names[0], home.options.portleased, "-f", home.file, "-s",
             home.path("state"), "-r", home.path("run")], "daemon.log")
        until(home.answers, "answer of the daemon")
        row = home.wait_state("web", "active")[0]
        same(row["internal_address"], "10.7.0.22", "mapped")
        same([g["local_address"] for g in home.status()["gateways"] if g["name"] == "g"],
             ["10.7.0.22"], "own address")
        check('"client":"10.7.0.22"' in home.log("gateway.log"), "the gateway has heard another")
        home.stop()


test_setting_source_address.needs_root = True
