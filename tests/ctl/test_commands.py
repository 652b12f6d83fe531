# SPDX-License-Identifier: ISC
"""status, monitor, wait, renew, reload: what they print and how they end."""

import json
import os
import re
import signal
import socket

from harness import Varlink, check, same, until

GATEWAY = {"name": str, "family": str, "address": str, "interface": str, "local_address": str,
           "state": str, "mapper": str, "external_address": str, "external_class": str,
           "epoch": int, "rtt_ms": float, "reboots_seen": int, "requests_sent": int,
           "last_error": str}
MAPPING = {"forward": str, "gateway": str, "mapper": str, "family": str, "protocol": str,
           "internal_address": str, "internal_port": int, "wanted_external_port": int,
           "ports": int, "state": str, "external_address": str, "external_port": int,
           "lifetime": int, "expires_in": int, "renews_in": int, "retries_in": int,
           "renewals": int, "changes": int, "last_error": str}
WEB = "web internal-port=8080 external-port=80"


def check_types(row, types, unknown):
    same(list(row), list(types), "members")
    for key, kind in types.items():
        if key in unknown:
            same(row[key], None, key)
        else:
            check(isinstance(row[key], kind), "%s is %r" % (key, row[key]))


def test_status_document(home):
    home.up(WEB, "range protocol=both internal-port=6000-6009", "idle internal-port=1 on-demand=yes")
    home.wait_state("web", "active")
    home.wait_state("range", "active")
    status, out, _ = home.ctl("status", "--json")
    same(status, 0, "exit status")
    document = json.loads(out)
    same(list(document), ["version", "pid", "started", "ready", "gateways", "mappings"], "members")
    same(document["pid"], home.daemon.pid, "pid")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["started"]), "started")
    until(lambda: home.status()["ready"], "ready")
    unused, gateway = document["gateways"]
    check_types(gateway, GATEWAY, ["last_error"])
    check_types(unused, GATEWAY, ["address", "interface", "local_address", "mapper",
                                  "external_address", "external_class", "epoch", "rtt_ms",
                                  "last_error"])
    same((unused["name"], unused["state"]), ("default", "unused"), "the default gateway")
    same((gateway["name"], gateway["state"], gateway["mapper"]), ("g", "ready", "pcp"), "gateway")
    same((gateway["address"], gateway["interface"]), (home.address, "lo"), "gateway")
    same((gateway["external_address"], gateway["external_class"]), ("203.0.113.7", "public"),
         "external")
    web, tcp, udp, idle = document["mappings"]
    check_types(web, MAPPING, ["retries_in", "last_error"])
    for row, protocol in ((tcp, "tcp"), (udp, "udp")):
        same([row[key] for key in ("forward", "protocol", "internal_port", "external_port",
                                   "wanted_external_port", "ports", "state")],
             ["range", protocol, 6000, 6000, 6000, 10, "active"], "a range is one row")
    same([web[key] for key in ("external_port", "wanted_external_port", "lifetime", "renewals",
                               "changes", "ports")], [80, 80, 3600, 0, 0, 1], "web")
    check(3500 <= web["expires_in"] <= 3600, "expires_in %d" % web["expires_in"])
    check(1700 <= web["renews_in"] <= 1800, "renews_in %d" % web["renews_in"])
    check_types(idle, MAPPING, ["mapper", "internal_address", "external_address", "external_port",
                                "lifetime", "expires_in", "renews_in", "retries_in", "last_error"])
    same(idle["state"], "idle", "state of an on-demand forward")


def test_status_table(home):
    home.up(WEB, "range internal-port=6000-6009")
    home.wait_state("web", "active")
    home.wait_state("range", "active")
    status, out, err = home.ctl("status")
    same((status, err), (0, ""), "status")
    check("\033" not in out, "colour in a pipe")
    lines = out.splitlines()
    header = next(line for line in lines if line.startswith("FORWARD"))
    web = next(line for line in lines if line.startswith("web "))
    same(web.index("active"), header.index("STATE"), "column of the state")
    check("203.0.113.7:80 " in web and "127.0.0.1:8080" in web, web)
    ranges = [line for line in lines if line.startswith("range ")]
    same(len(ranges), 1, "rows of a range")
    check("203.0.113.7:6000-6009" in ranges[0], ranges[0])
    check(not any(line != line.rstrip() for line in lines), "blanks at the end of a line")
    status, out, _ = home.ctl("status", "range")
    check("range" in out and "web" not in out, "only what was asked for: " + out)
    # Options may stand before or after the command.
    same(json.loads(home.ctl("--json", "status", "web")[1])["mappings"][0]["forward"], "web", "json")


def test_status_says_what_is_wrong(home):
    home.write(WEB)
    home.gateway()
    home.tell("result", "create", "2")
    home.start()
    row = home.wait_state("web", "failed")[0]
    check(row["last_error"] and "NOT_AUTHORIZED" in row["last_error"], "last_error: %r" % row)
    check(row["retries_in"] > 0, "retries_in %r" % row["retries_in"])
    same((row["external_port"], row["expires_in"]), (None, None), "no lease")
    status, out, _ = home.ctl("status")
    same(status, 1, "exit status when something is not mapped")
    check("NOT_AUTHORIZED" in out, out)
    status, out, err = home.ctl("wait", "web", "--timeout", "1")
    same((status, out), (1, ""), "wait")
    check(len(err.splitlines()) == 1 and "NOT_AUTHORIZED" in err, "one line that says why: " + err)


def test_status_of_another_box(home):
    """An interface without link addresses has no box of that address, whoever answers there."""
    home.write(WEB)
    home.rewrite("interface = lo", 'interface = lo\n    link-address = "02:77:00:00:00:99"')
    home.gateway()
    home.start()
    gateway = until(lambda: [g for g in home.status()["gateways"] if g["last_error"]],
                    "the reason")[0]
    same(gateway["state"], "absent", "state")
    check("link-address" in gateway["last_error"], "last_error: %r" % gateway)
    row = home.rows("web")[0]
    same((row["state"], row["last_error"]), ("waiting", gateway["last_error"]), "the forward")
    status, out, _ = home.ctl("status")
    check(status == 1 and "link-address" in out and "see gateway g" in out, out)
    home.rewrite("02:77:00:00:00:99", "")
    same(home.ctl("reload")[0], 0, "reload")
    same([row["last_error"] for row in home.wait_state("web", "active")], [None], "the forward")
    same([g["last_error"] for g in home.status()["gateways"] if g["name"] == "g"], [None],
         "the gateway")


def test_status_of_an_idle_forward(home):
    home.up("game internal-port=7777 on-demand=yes")
    same(home.ctl("status")[0], 0, "nobody wants it")
    same(home.ctl("status", "game")[0], 1, "it was asked for")


def test_nobody_listens(home):
    with socket.socket() as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        u.bind(("0.0.0.0", 0))
        uport = u.getsockname()[1]
        home.up("web internal-port=%d" % port, "game protocol=udp internal-port=%d" % uport)
        home.wait_state("web", "active")
        home.wait_state("game", "active")
        out = home.ctl("status")[1]
        check("web: nothing on this host listens on tcp port %d" % port in out, out)
        check("game: nothing" not in out, out)
        s.listen()
        check("nothing on this host" not in home.ctl("status")[1], "a listener was not seen")
        u.close()
        check("game: nothing on this host listens on udp port" in home.ctl("status")[1], "udp")


def test_status_watch(home):
    home.up(WEB)
    home.wait_state("web", "active")
    process = home.ctl_start("status", "--watch", "--json")
    for _ in range(2):
        same(json.loads(process.stdout.readline())["mappings"][0]["state"], "active", "a redraw")
    process.terminate()


def test_no_daemon(home):
    for command in (["status"], ["monitor"], ["wait", "web"], ["renew"], ["reload"],
                    ["hold", "web"]):
        status, out, err = home.ctl(*command)
        same((status, out), (3, ""), command[0])
        check(len(err.splitlines()) == 1 and home.socket in err, err)
    same(home.ctl("hold", "web", "--", "true")[0], 125, "hold with a command")


def test_usage(home):
    for wrong in ([], ["nix"], ["wait"], ["wait", "a", "b"], ["status", "--timeout", "3"],
                  ["reload", "x"], ["--nix", "status"], ["status", "--", "true"], ["hold"],
                  ["wait", "a", "--timeout", "x"], ["hold", "a", "b"],
                  ["hold", "a", "--protocol", "tcp"]):
        status, out, err = home.ctl(*wrong)
        same((status, out), (2, ""), " ".join(wrong))
        check(err, "nothing was said about " + " ".join(wrong))
    same(home.ctl("--help")[0], 0, "--help")
    check(home.ctl("--version")[1].startswith("portleasectl "), "--version")


def test_unknown_forward(home):
    home.up(WEB)
    for command in (["status"], ["monitor"], ["wait"], ["renew"], ["hold"]):
        status, out, err = home.ctl(*command, "nix")
        same((status, out), (1, ""), command[0])
        check('"nix"' in err and len(err.splitlines()) == 1, err)


def test_wait(home):
    home.write(WEB, "pair protocol=both internal-port=5000-5001")
    home.gateway(silence="on")
    home.start()
    late = home.ctl_start("wait", "pair")
    same(home.ctl("wait", "web", "--timeout", "0")[0], 1, "no time at all")
    home.tell("set", "silence", "off")
    out, _ = late.communicate(timeout=60)
    same((late.returncode, out), (0, "203.0.113.7:5000-5001\n" * 2), "a line per unit")
    same(home.ctl("wait", "web"), (0, "203.0.113.7:80\n", ""), "wait")


def test_wait_with_natpmp(home):
    """The external address comes in an answer of its own."""
    home.up(WEB, gateway={"mode": "nat-pmp"})
    same(home.ctl("wait", "web"), (0, "203.0.113.7:80\n", ""), "wait")
    same(home.rows("web")[0]["mapper"], "nat-pmp", "mapper")


def events(process, wanted):
    """Reads events up to one of that name."""
    seen = []
    while not seen or seen[-1]["event"] != wanted:
        line = process.stdout.readline()
        check(line, "monitor ended; seen: %r" % seen)
        seen.append(json.loads(line))
    return seen


# A restart of the gateway is noticed, and made good, at once.
ALERT = {"settings": "probe-interval = 1\nrecovery-delay = 0", "gateway": {"epoch": 5000}}


def test_monitor(home):
    home.up(WEB, "game protocol=udp internal-port=7777 on-demand=yes", **ALERT)
    home.wait_state("web", "active")
    process = home.ctl_start("monitor", "--json")
    first = events(process, "synchronised")
    same([(e["event"], "gateway" in e, "mapping" in e) for e in first],
         [("present", True, False)] * 2 + [("present", False, True)] * 2
         + [("synchronised", False, False)], "the beginning")
    same(first[2]["mapping"]["forward"], "web", "the first mapping")
    check_types(first[2]["mapping"], MAPPING, ["retries_in", "last_error"])
    for event in first:
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]), event["time"])
    home.ctl("renew")
    events(process, "renewed")
    home.tell("set", "external", "198.51.100.9")
    home.tell("reboot", "silent", "epoch", "0")
    # Whatever else is told, in between, these come.
    changed = events(process, "changed")[-1]
    same((changed["old_external_address"], changed["old_external_port"]), ("203.0.113.7", 80),
         "what was")
    same(changed["mapping"]["external_address"], "198.51.100.9", "what is")
    home.write("web internal-port=0")
    same(home.ctl("reload")[0], 1, "a bad file")
    rejected = events(process, "config-rejected")[-1]
    same(sorted(rejected["problems"][0]), ["file", "line", "text"], "a problem")
    home.write("other internal-port=9000")
    same(home.ctl("reload")[0], 0, "reload")
    names = [(e["event"], e.get("mapping", {}).get("forward")) for e in events(process, "mapped")]
    check(("released", "web") in names and names[-1] == ("mapped", "other"), "%r" % names)
    check(("config-reloaded", None) in names, "%r" % names)
    home.stop()
    _, err = process.communicate(timeout=20)
    same(process.returncode, 3, "exit status when the daemon goes")


def test_monitor_filter_and_text(home):
    home.up(WEB, "other internal-port=9000")
    home.wait_state("web", "active")
    home.wait_state("other", "active")
    process = home.ctl_start("monitor", "other", "--json")
    first = events(process, "synchronised")
    same([e.get("mapping", e.get("gateway", {})).get("forward") for e in first],
         [None, "other", None], "only what was asked for")
    same(first[0]["gateway"]["name"], "g", "and its gateway")
    home.ctl("renew")
    same(events(process, "renewed")[-1]["mapping"]["forward"], "other", "renewed")
    text = home.ctl_start("monitor")
    lines = [text.stdout.readline() for _ in range(5)]
    check(re.match(r"\d\d:\d\d:\d\d present web tcp 127.0.0.1:8080 -> 203.0.113.7:80 active by pcp",
                   lines[2]), "%r" % lines)
    check(lines[4].endswith(" synchronised\n"), "%r" % lines)
    text.terminate()


def test_renew(home):
    home.up(WEB, "a internal-port=1000-1003", "b internal-port=2000")
    for name in ("web", "a", "b"):
        home.wait_state(name, "active")
    same(home.ctl("renew", "a", "b"), (0, "Renewing 5 mappings.\n", ""), "two of three forwards")
    until(lambda: home.rows("a")[0]["renewals"] == 1 and home.rows("b")[0]["renewals"] == 1,
          "renewal")
    same(home.rows("web")[0]["renewals"], 0, "the third")
    status, out, _ = home.ctl("renew")
    check(status == 0 and "Nothing to renew" in out, "again at once: " + out)


def test_reload(home):
    home.up(WEB, "gone internal-port=2000", "same internal-port=3000")
    home.wait_state("web", "active")
    home.write("web internal-port=8080 external-port=8080", "same internal-port=3000",
               "new internal-port=4000", "new2 internal-port=4001")
    same(home.ctl("reload"),
         (0, "Reloaded: 2 forwards added, 1 changed, 1 removed, 1 unchanged.\n", ""), "reload")
    until(lambda: {m["external_port"] for m in home.rows()} == {8080, 3000, 4000, 4001},
          "new mappings")
    with open(home.file, "a") as f:
        f.write("forward bad { internal-port = 70000 }\nnonsense = 1\n")
    status, out, err = home.ctl("reload")
    same((status, out), (1, ""), "a bad file")
    same([line.split(": ")[0] for line in err.splitlines()],
         ["%s:%d" % (home.file, n) for n in (24, 25)], "every problem with file and line")
    same(len(home.rows()), 4, "what runs stays")
    # A warning is told, and keeps nothing from being in force.
    home.write(WEB, 'other internal-port=5000 on-change={"/nonexistent/hook"}')
    status, out, err = home.ctl("reload")
    same((status, out), (0, "Reloaded: 1 forward added, 1 changed, 3 removed, 0 unchanged.\n"),
         "a file with a warning")
    check(len(err.splitlines()) == 1 and err.startswith(home.file + ":")
          and ": warning: " in err and "/nonexistent/hook" in err, "the warning: %r" % err)
    status, out, err = home.ctl("reload", "--json")
    same((status, sorted(json.loads(out))), (0, ["added", "changed", "removed", "unchanged"]), out)
    check("/nonexistent/hook" in err, "the warning beside JSON: %r" % err)
    # The daemon's own signal does the same.
    home.write(WEB)
    home.daemon.send_signal(signal.SIGHUP)
    until(lambda: [m["forward"] for m in home.rows()] == ["web"], "reload by signal")


def test_permissions(home):
    home.up(WEB, "game internal-port=7777 on-demand=yes", settings="control-group = daemon")
    home.wait_state("web", "active")
    nobody, member, primary = (65534, 65534, []), (65534, 65534, [1]), (65533, 1, [])
    same(home.ctl("status", user=nobody)[0], 0, "reading is open to all")
    same(home.ctl("wait", "web", user=nobody)[1], "203.0.113.7:80\n", "reading is open to all")
    for command in (["renew"], ["reload"], ["hold", "game"], ["hold", "--internal-port", "1"]):
        status, out, err = home.ctl(*command, user=nobody)
        same((status, out), (4, ""), " ".join(command))
        check("not permitted" in err and len(err.splitlines()) == 1, err)
    same(home.ctl("hold", "game", "--", "true", user=nobody)[0], 125, "hold with a command")
    same(home.ctl("renew", user=member)[0], 0, "a member of control-group")
    same(home.ctl("reload", user=primary)[0], 0, "control-group as primary group")
    home.write(WEB)
    same(home.ctl("reload", user=member)[0], 0, "the last time")
    same(home.ctl("reload", user=member)[0], 4, "no control-group any more")


test_permissions.needs_root = True


def test_own_uid(home):
    """The daemon as another user: that user, and root, may change things."""
    home.write(WEB)
    home.gateway()
    for name in ("run", "state"):
        os.chown(home.path(name), 65534, 65534)
    home.start(user=65534, group=65534, extra_groups=[])
    home.wait_state("web", "active")
    same(home.ctl("renew", user=(65534, 65534, []))[0], 0, "the daemon's own user")
    same(home.ctl("reload", user=(65533, 65533, []))[0], 4, "another one")
    same(home.ctl("reload")[0], 0, "root")


test_own_uid.needs_root = True


def test_many_forwards(home):
    """A thousand, each on its own: one answer, and readers share it."""
    home.up(*["f%d internal-port=%d" % (i, 10000 + 2 * i) for i in range(1000)],
            gateway={"table_max": 5000})
    until(lambda: all(m["state"] == "active" for m in home.rows()), "a thousand mappings", 90,
          pause=1.0)
    same(len(home.rows()), 1000, "rows")
    same(len(home.rows("f7", "f999")), 2, "rows of two")
    process = home.ctl_start("monitor", "--json", name=home.path("events"))
    until(lambda: "synchronised" in home.log("events"), "the present state, whole")
    same(len(home.log("events").splitlines()), 2 + 1000 + 1, "events")
    process.terminate()
    with Varlink(home.socket) as v:
        # The second waits until the first, larger than any buffer, has been taken.
        v.ask("io.portleased.GetStatus")
        v.ask("io.portleased.GetStatus")
        check(len(v.next()["parameters"]["mappings"]) == 1000, "the first of two answers")
        check(len(v.next()["parameters"]["mappings"]) == 1000, "the second")
