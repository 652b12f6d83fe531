# SPDX-License-Identifier: ISC
"""The states of gateways and mappings, and the events about them, as a script sees them."""

import json
import os
import pty
import subprocess
import time

from harness import ENVIRONMENT, PATIENCE, check, same, until
from test_commands import ALERT, events
from test_direct import Network

WEB = "web internal-port=8080 external-port=80"


def gateway(home, name="g"):
    return [row for row in home.status()["gateways"] if row["name"] == name][0]


def wait_gateway(home, state, name="g", seconds=PATIENCE):
    return until(lambda: gateway(home, name)["state"] == state and gateway(home, name),
                 "gateway %s to be %s" % (name, state), seconds)


def test_states_without_an_answer(home):
    """absent and waiting; probing, then silent, and requesting; and the way back."""
    home.write(WEB)
    with open(home.file, "a") as f:
        f.write('gateway nowhere {\n    address = "%s"\n    interface = plnone0\n}\n'
                "forward far {\n    internal-port = 9000\n    gateway = nowhere\n}\n" % home.address)
    home.gateway(silence="on")
    home.start()
    row = wait_gateway(home, "absent", "nowhere")
    for key in ("local_address", "mapper", "external_address", "external_class", "epoch", "rtt_ms"):
        same(row[key], None, "%s of an absent gateway" % key)
    same(row["requests_sent"], 0, "requests to an absent gateway")
    far = home.rows("far")[0]
    same((far["state"], far["external_port"], far["lifetime"], far["expires_in"]),
         ("waiting", None, None, None), "a mapping without a gateway")
    check(gateway(home)["state"] in ("probing", "silent"), "before an answer: %r" % gateway(home))
    same(home.rows("web")[0]["state"] in ("requesting", "waiting"), True, "its mapping")
    row = wait_gateway(home, "silent")
    check(row["requests_sent"] >= 1, "no request was sent")
    check("not answer" in row["last_error"], "last_error: %r" % row["last_error"])
    same(home.ctl("status")[0], 1, "status of what is not mapped")
    home.tell("set", "silence", "off")
    wait_gateway(home, "ready", seconds=60)
    same(home.wait_state("web", "active")[0]["external_port"], 80, "mapped in the end")


def test_state_unsupported(home):
    """It is there, and says that it speaks nothing that is allowed."""
    home.write(WEB)
    home.rewrite("interface = lo", "interface = lo\n    mappers = {nat-pmp}")
    home.gateway(mode="pcp")
    home.start()
    row = wait_gateway(home, "unsupported")
    same((row["mapper"], row["external_address"]), (None, None), "what it offers")
    check(row["last_error"], "no last_error")
    check(home.rows("web")[0]["state"] in ("waiting", "failed"), "its mapping")


def test_state_releasing(home):
    """In the event that says so: afterwards a forward is idle, or gone."""
    home.up(WEB, "game protocol=udp internal-port=7777 on-demand=yes")
    home.wait_state("web", "active")
    monitor = home.ctl_start("monitor", "--json")
    events(monitor, "synchronised")
    same(home.ctl("hold", "game", "--", "true")[0], 0, "hold")
    row = events(monitor, "released")[-1]
    same((row["mapping"]["state"], row["mapping"]["forward"], row["old_external_port"]),
         ("releasing", "game", 7777), "the event")
    same(home.wait_state("game", "idle")[0]["external_port"], None, "afterwards")
    home.stop()
    row = events(monitor, "released")[-1]
    same((row["mapping"]["state"], row["mapping"]["forward"]), ("releasing", "web"), "at the stop")


def test_ready(home):
    """Confirmed or refused is ready; silence is after ready-timeout; nothing to do is at once."""
    home.write(WEB, "game internal-port=7777 on-demand=yes", settings="ready-timeout = 3")
    home.rewrite("ready-timeout = 2\n", "")
    home.gateway(silence="on")
    home.start()
    same(home.status()["ready"], False, "before an answer")
    began = time.monotonic()
    until(lambda: home.status()["ready"], "ready-timeout to pass")
    check(time.monotonic() - began > 1.5, "ready at once though nobody answers")
    home.stop()
    home.rewrite("ready-timeout = 3", "ready-timeout = 300")
    home.tell("set", "silence", "off")
    home.tell("result", "create", "2")
    home.start()
    until(lambda: home.status()["ready"], "refusals to be good for ready")
    same(home.rows("web")[0]["state"], "failed", "web")
    home.stop()
    home.write("game internal-port=7777 on-demand=yes", settings="ready-timeout = 300")
    home.rewrite("ready-timeout = 2\n", "")
    home.tell("set", "silence", "on")
    home.start()
    until(lambda: home.status()["ready"], "ready with nothing to do")


def test_assigned(home):
    """A port of the gateway's choice: not known until granted, then the same inside and outside."""
    home.write("vpn internal-port=assigned protocol=udp")
    home.rewrite("interface = lo", "interface = lo\n    mappers = {nat-pmp}")
    home.gateway(mode="nat-pmp", proton="on", silence="on")
    home.start()
    row = home.rows("vpn")[0]
    same([row[key] for key in ("internal_port", "external_port", "wanted_external_port")], [None] * 3,
         "ports before the grant")
    monitor = home.ctl_start("monitor", "vpn", "--json")
    events(monitor, "synchronised")
    home.tell("set", "silence", "off")
    row = home.wait_state("vpn", "active")[0]
    check(row["internal_port"] == row["external_port"] and row["external_port"] > 1, "%r" % row)
    same(events(monitor, "mapped")[-1]["mapping"]["external_port"], row["external_port"], "mapped")
    same(home.ctl("wait", "vpn")[1], "203.0.113.7:%d\n" % row["external_port"], "wait")
    home.write()
    home.rewrite("interface = lo", "interface = lo\n    mappers = {nat-pmp}")
    same(home.ctl("reload")[0], 0, "reload")
    same(events(monitor, "released")[-1]["mapping"]["forward"], "vpn", "left to lapse")
    time.sleep(0.5)
    same([m for m in home.table() if m["external"] == row["external_port"]] != [], True,
         "it was deleted at the gateway, and with it perhaps everything")


def test_monitor_gateway_events(home):
    """gateway-silent, gateway-ready, gateway-rebooted and address-changed, with the gateway's row."""
    home.up(WEB, settings=ALERT["settings"], gateway={"epoch": 5000, "mode": "nat-pmp"})
    home.wait_state("web", "active")
    monitor = home.ctl_start("monitor", "--json")
    events(monitor, "synchronised")
    home.tell("reboot", "silent", "epoch", "0")
    row = events(monitor, "gateway-rebooted")[-1]
    same((row["gateway"]["name"], "mapping" in row), ("g", False), "the gateway's event")
    check(row["gateway"]["reboots_seen"] >= 1, "reboots_seen: %r" % row)
    home.tell("set", "external", "198.51.100.9")
    row = events(monitor, "address-changed")[-1]
    same((row["gateway"]["external_address"], row.get("old_external_address")),
         ("198.51.100.9", "203.0.113.7"), "the address")
    home.tell("set", "silence", "on")
    same(events(monitor, "gateway-silent")[-1]["gateway"]["state"], "silent", "state")
    home.tell("set", "silence", "off")
    same(events(monitor, "gateway-ready")[-1]["gateway"]["state"], "ready", "state")
    text = home.ctl_start("monitor")
    until(lambda: text.stdout.readline().endswith("synchronised\n"), "the beginning")
    home.tell("set", "external", "198.51.100.10")
    line = until(lambda: (lambda l: "address-changed" in l and l)(text.stdout.readline()), "a line")
    check(" g " in line and "198.51.100.10" in line, line)
    text.terminate()


def test_monitor_gateway_changed(home):
    """Another default route is another gateway of the same name."""
    with Network(home) as network:
        network.ip("-n", network.names[1], "address", "add", "10.7.0.3/24", "dev", "lan0")
        network.route()
        home.spawn(["ip", "netns", "exec", network.names[1], home.options.fakegw, "--listen",
                    "10.7.0.1", "--listen", "10.7.0.3", "--port-range", "1:65535"], "gateway.log")
        until(lambda: '"ready":true' in home.log("gateway.log"), "gateway")
        with open(home.file, "w") as f:
            f.write("forward web {\n    internal-port = 8080\n}\n")
        home.daemon = home.spawn(
            ["ip", "netns", "exec", network.names[0], home.options.portleased, "-f", home.file, "-s",
             home.path("state"), "-r", home.path("run")], "daemon.log")
        until(home.answers, "answer of the daemon")
        home.wait_state("web", "active")
        monitor = home.ctl_start("monitor", "--json")
        events(monitor, "synchronised")
        network.ip("-n", network.names[0], "route", "replace", "default", "via", "10.7.0.3", "metric",
                   "77")
        row = events(monitor, "gateway-changed")[-1]["gateway"]
        same((row["name"], row["address"]), ("default", "10.7.0.3"), "the gateway")
        until(lambda: gateway(home, "default")["address"] == "10.7.0.3"
              and gateway(home, "default")["state"] == "ready", "the new gateway to be ready")
        home.wait_state("web", "active")
        home.stop()


test_monitor_gateway_changed.needs_root = True


def on_a_terminal(home, *arguments, lines=1, **environment):
    """What it prints there until so many lines, or its end, have come."""
    ours, its = pty.openpty()
    child = subprocess.Popen([home.options.portleasectl, "-c", home.socket] + list(arguments),
                             stdin=its, stdout=its, stderr=its, cwd="/",
                             env={**ENVIRONMENT, "TERM": "xterm", **environment})
    home.processes.append(child)
    os.close(its)
    text, end = b"", time.monotonic() + PATIENCE
    try:
        while text.count(b"\n") < lines and time.monotonic() < end:
            text += os.read(ours, 65536)
    except OSError:
        pass  # it has ended
    finally:
        os.close(ours)
        child.kill()
        child.wait()
    return text.decode()


def test_colour(home):
    home.up(WEB)
    home.wait_state("web", "active")
    check("\033[32m" in on_a_terminal(home, "status", lines=99), "no green on a terminal")
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        text = on_a_terminal(home, "status", lines=99, **more)
        check("\033" not in text and "web" in text, "%r: %r" % (more, text))
    check("\033" not in home.ctl("status")[1], "colour in a pipe")
    text = on_a_terminal(home, "status", "--watch", lines=14)
    check(text.count("\033[H\033[2J") >= 2, "drawn anew: %r" % text)
    text = on_a_terminal(home, "status", "--watch", lines=14, NO_COLOR="1")
    check(text.count("\033[H\033[2J") >= 2, "without colour it is drawn anew all the same: %r" % text)
    check("\033[32m" not in text, "colour in spite of NO_COLOR")
