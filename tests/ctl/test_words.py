# SPDX-License-Identifier: ISC
"""What people read: the log, portleased -n, tables and lines."""

import glob
import os
import re
import subprocess

from harness import ENVIRONMENT, PATIENCE, check, same, until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


def check_config(home, text, name="check.conf"):
    """portleased -n: (status, output, errors), with FILE for the file's name."""
    file = home.path(name)
    with open(file, "w") as f:
        f.write(text)
    done = subprocess.run([home.options.portleased, "-n", "-f", file], capture_output=True,
                          text=True, timeout=PATIENCE, env=ENVIRONMENT, check=False)
    return (done.returncode, done.stdout.replace(file, "FILE"), done.stderr.replace(file, "FILE"))


def test_check_config_says_what_it_is(home):
    same(check_config(home, "forward web { internal-port = 80 }\n"),
         (0, "FILE: 1 forward, 1 mapping, 1 gateway: ok\n", ""), "one forward")
    same(check_config(home, "gateway g { address = \"192.0.2.1\" }\n"
                      "gateway unused { address = \"192.0.2.2\" }\n"
                      "forward a { internal-port = 80 protocol = both family = ipv4 }\n"
                      "forward b { internal-port = 5000-5009 gateway = g }\n"
                      "forward c { internal-port = 81 enabled = no }\n"),
         (0, "FILE: 2 forwards (1 more not enabled), 12 mappings, 2 gateways: ok\n", ""),
         "several")
    same(check_config(home, "forward web { internal-port = 0 }\n")[:2], (78, ""), "a bad one")


def test_check_config_without_forwards(home):
    status, out, err = check_config(home, "settle = 3\n")
    same((status, out), (0, "FILE: 0 forwards, 0 mappings, 0 gateways: ok\n"), "none")
    check(err.startswith("FILE: warning: no forward: ") and err.count("\n") == 1, err)
    status, out, err = check_config(home, "forward a { internal-port = 81 enabled = no }\n")
    same((status, out), (0, "FILE: 0 forwards (1 more not enabled), 0 mappings, 0 gateways: ok\n"),
         "none that is enabled")
    check(err.startswith("FILE: warning: no forward is enabled: "), err)


def test_what_is_shipped_is_accepted(home):
    """Examples, the installed file, and those of the README and the manual."""
    texts = {}
    for name in glob.glob(os.path.join(TOP, "etc", "examples", "*.conf")) \
            + [os.path.join(TOP, "etc", "portleased.conf")]:
        with open(name) as f:
            texts[name] = f.read()
    check(len(texts) >= 4, "files: %s" % list(texts))
    # Every option in the installed file stands there in a comment.
    shipped = texts[os.path.join(TOP, "etc", "portleased.conf")]
    texts["all options"] = re.sub(r"(?m)^#(?=    [a-z-]+ = |\}|[a-z-]+ = |(?:gateway|forward) )", "",
                                  shipped)
    same(len(re.findall(r"(?m)^ *[a-z-]+ = ", texts["all options"])), 36, "options in comments")
    with open(os.path.join(TOP, "README.md")) as f:
        texts["README"] = re.search(r"one section per forward:\n\n((?:    .*\n)+)", f.read())[1]
    with open(os.path.join(TOP, "doc", "portleased.conf.5")) as f:
        manual = f.read()
    examples = manual[manual.index(".Sh EXAMPLES"):]
    for i, block in enumerate(re.findall(r"(?s)\.Bd -literal[^\n]*\n(.*?)\.Ed", examples)):
        texts["example %d of the manual" % i] = block
    check(len(texts) >= 10, "texts: %s" % list(texts))
    for name, text in texts.items():
        status, out, err = check_config(home, text)
        same(status, 0, "%s: %s%s" % (name, out, err))
        odd = [line for line in err.splitlines() if "cannot be executed now" not in line
               and "no forward" not in line]
        same(odd, [], name)
        for hook in re.findall(r'"/usr/share/portleased/hooks/([^"]*)"', text):
            check(os.access(os.path.join(TOP, "etc", "hooks", hook), os.X_OK),
                  "%s: there is no hook %s" % (name, hook))


def test_log_lines_have_times(home):
    """Standard error is a file here, as it is in a log folder."""
    home.up("web internal-port=8080 on-change={\"/bin/echo\",\"out\"}")
    home.wait_state("web", "active")
    until(lambda: "out" in home.log(), "output of the hook")
    with open(home.file, "a") as f:
        f.write("nonsense = 1\n")
    home.ctl("reload")
    home.stop()
    lines = home.log().splitlines()
    without = [line for line in lines if not STAMP.match(line)]
    same(without, [], "lines without a time")
    check("portleased 0" in lines[0] and "started with 1 forward from " + home.file in lines[0],
          "the first line says who it is: " + lines[0])
    check(lines[-1].endswith(" stopped"), "the last line: " + lines[-1])


def test_log_of_a_healthy_day(home):
    home.up("web internal-port=8080", "range internal-port=5000-5009",
            gateway={"grant": 8})
    home.wait_state("range", "active")
    until(lambda: min(row["renewals"] for row in home.rows()) >= 1, "renewals", 30)
    home.stop()
    texts = [STAMP.sub("", line).split(":")[0] for line in home.log().splitlines()]
    same(sorted(texts), sorted(["portleased 0.1.0 started with 2 forwards from " + home.file,
                                "gateway g", "gateway g", "web", "range", "stopping; releasing "
                                "mappings", "web", "range", "stopped"]), "lines")


def test_log_of_a_reboot(home):
    """What was put back is told, and not as a renewal."""
    home.up("web internal-port=8080", "range internal-port=5000-5003",
            settings="probe-interval = 1\nrecovery-delay = 0", gateway={"epoch": 5000})
    home.wait_state("range", "active")
    home.tell("reboot", "silent", "epoch", "0")
    until(lambda: len(re.findall(r" is mapped to \S+ again\n", home.log())) == 2,
          "two forwards put back")
    until(lambda: len(home.table()) == 5, "five mappings")
    log = home.log()
    check(re.search(r"gateway g: \S+ has lost its mappings; asking for them again", log), log)
    check("web: tcp 127.0.0.1:8080 is mapped to 203.0.113.7:8080 again\n" in log, log)
    check("range: tcp 127.0.0.1:5000-5003 is mapped to 203.0.113.7:5000-5003 again\n" in log, log)


def test_start_without_forwards_is_said(home):
    home.write()
    home.start()
    check("has no forward: nothing is mapped until" in home.log(), home.log())


def test_status_leaves_out_what_nobody_uses(home):
    home.up("web internal-port=8080")
    home.wait_state("web", "active")
    out = home.ctl("status")[1]
    check(re.search(r"^g  ", out, re.M) and "default" not in out, "the row of default: " + out)
    same([g["name"] for g in home.status()["gateways"]], ["default", "g"], "the document has both")
    with open(home.file, "w") as f:
        f.write("settle = 0\n")
    same(home.ctl("reload")[0], 0, "reload")
    same(home.ctl("status")[:2], (0, "No forwards.\n"), "neither gateways nor forwards")


def test_status_when_the_gateway_falls_silent(home):
    """Its own row says so, and the mappings point there; what else is to be said of them stays."""
    home.up("web internal-port=8080 external-port=80",
            gateway={"grant": 20, "port_policy": "another"})
    home.wait_state("web", "active")
    home.tell("set", "silence", "on")
    home.ctl("renew")
    row = until(lambda: [g for g in home.status("web")["gateways"] if g["last_error"]],
                "last_error of the gateway")[0]
    same(row["state"], "ready", "state before it counts as silent")
    lines = home.ctl("status")[1].splitlines()
    gateway = next(line for line in lines if line.startswith("g "))
    web = next(line for line in lines if line.startswith("web "))
    check("does not answer any more" in gateway, gateway)
    check(web.endswith("port 80 was wanted; see gateway g"), web)


def test_monitor_says_why_a_file_was_rejected(home):
    home.up("web internal-port=8080")
    home.wait_state("web", "active")
    monitor = home.ctl_start("monitor")

    def line(word):
        for text in iter(monitor.stdout.readline, ""):
            if " %s" % word in text:
                return text.rstrip("\n").split(" ", 1)[1]
        return None

    check(line("synchronised"), "the beginning")
    home.write("web internal-port=0")
    home.ctl("reload")
    same(line("config-rejected"), "config-rejected %s:9: internal-port is 0, which is out of "
         "range: ports are 1 to 65535" % home.file, "one problem")
    home.write("web internal-port=0", "other internal-port=0")
    home.ctl("reload")
    check(line("config-rejected").endswith("; and 1 more problem"), "two problems")
    home.write("web internal-port=0", "other internal-port=0", "third internal-port=0")
    home.ctl("reload")
    check(line("config-rejected").endswith("; and 2 more problems"), "three problems")
    home.write("web internal-port=8080 on-change={\"/nonexistent\"}")
    home.ctl("reload")
    text = line("config-reloaded")
    check(text.startswith("config-reloaded %s:10: warning: " % home.file), text)
    monitor.terminate()


def test_wait_prints_tcp_before_udp(home):
    """One line for each protocol, in this order, whatever the gateway grants first."""
    home.up("both protocol=both pairing=independent internal-port=7000 external-port=any",
            gateway={"port_policy": "random"})
    status, out, err = home.ctl("wait", "both")
    same((status, err), (0, ""), "wait")
    rows = home.rows("both")
    same([row["protocol"] for row in rows], ["tcp", "udp"], "order of the rows")
    same(out, "".join("203.0.113.7:%d\n" % row["external_port"] for row in rows), "the lines")


def test_log_of_a_hook_that_goes_on_failing(home):
    """It is tried for ever, but its failures do not fill the log; that it works again is told."""
    script, runs = home.path("hook"), home.path("runs")
    with open(script, "w") as f:
        f.write("#!/bin/sh\necho run >>%s\n[ ! -e %s ] || { echo no server; exit 7; }\n"
                % (runs, home.path("bad")))
    os.chmod(script, 0o755)
    open(home.path("bad"), "w").close()
    home.up("web internal-port=8080 on-change={\"%s\"}" % script)

    def new_address(address, n):
        home.tell("set", "external", address)
        until(lambda: home.ctl("renew")[1].startswith("Renewing"), "leave to renew")
        until(lambda: home.log("runs").count("run") >= n, "run %d of the hook" % n)

    told = until(lambda: re.search(r"web: \S+ failed with exit status 7; trying on; .*debug.*\n",
                                   home.log()), "the last failure that is told", 40)
    same(home.log().count("no server"), 5, "output so far")
    new_address("198.51.100.9", 6)
    os.unlink(home.path("bad"))
    until(lambda: "web: %s works again" % script in home.log(), "word that it works", 40)
    rest = home.log()[told.end():]
    check("no server" not in rest and "failed" not in rest, "told on: " + rest)


def test_address_that_comes_later(home):
    """NAT-PMP tells it in another answer: until then the port is all that is known."""
    home.up("web internal-port=8080", settings="mappers = {nat-pmp}", gateway={"mode": "nat-pmp"})
    until(lambda: "203.0.113.7:8080" in home.log(), "the address")
    log = home.log()
    check("web: tcp 127.0.0.1:8080 is mapped to port 8080 by nat-pmp" in log, log)
    check("is now mapped to 203.0.113.7:8080 (was port 8080)" in log, log)


def test_probe_of_a_router_without_address(home):
    """Whatever its PCP says, NAT-PMP's network failure is the better hint (miniupnpd behind NAT)."""
    home.write("web internal-port=8080")
    home.gateway(wan="private")
    status, out, _ = home.ctl("probe", "--gateway", home.address, "--interface", "lo")
    same(status, 1, "exit status")
    advice = out.splitlines()[-1]
    check("no public address" in advice and "behind another router" in advice, out)


def test_one_shots_name_the_wrong_option(home):
    status, out, err = home.ctl("status", "--timeout", "3")
    same((status, out), (2, ""), "status")
    check("status has no option --timeout" in err, err)
    check("--lifetime" in home.ctl("probe", "--lifetime", "3")[2], "probe")


def test_one_shot_without_answer(home):
    """It has asked once: "not any more" would be a guess."""
    home.write("web internal-port=8080")
    home.gateway(silence="on")
    status, out, err = home.ctl("external-address", "--gateway", home.address, "--interface", "lo",
                                "--timeout", "1")
    same((status, out), (5, ""), "external-address")
    check("does not answer: " in err and "any more" not in err, err)
