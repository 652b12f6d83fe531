# SPDX-License-Identifier: ISC
"""What others make of it: the varlinkctl of systemd 257, promtool and a Prometheus that scrapes."""

import json
import os
import signal
import subprocess
import urllib.parse
import urllib.request

import foreign
from harness import PATIENCE, check, same, until
from test_metrics import RANGE, WEB, free_port, get, listening, parse

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SOCKET = "/mnt/run/control.sock"
SHOW = ["--json=short", "call", SOCKET]
ENTER = 'mount -t proc proc "$2/proc"; mount --bind "$1" "$2/mnt"; root=$2; shift 2; ' \
    'exec chroot "$root" varlinkctl "$@"'


def varlinkctl_of(home):
    """varlinkctl in its own root, which has our folder at /mnt: how to start it."""
    root = foreign.trixie()
    return lambda *words: ["unshare", "--mount", "sh", "-ec", ENTER, "sh", home.folder, root, *words]


def test_varlinkctl(home):
    command = varlinkctl_of(home)
    home.up(WEB, RANGE, "later internal-port=9000 on-demand=yes")
    home.wait_state("web", "active")
    home.wait_state("range", "active")

    def run(*words, status=0):
        done = subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL, check=False)
        same(done.returncode, status, "varlinkctl %s: %s" % (" ".join(words), done.stderr))
        return done.stdout if status == 0 else done.stderr

    def call(method, parameters, **more):
        return json.loads(run(*SHOW, "io.portleased." + method, json.dumps(parameters), **more))

    info = run("info", SOCKET)
    for text in ("Vendor: portleased", "io.portleased\n", "org.varlink.service\n"):
        check(text in info, "info: %r" % info)
    same(run("list-interfaces", SOCKET).split(), ["io.portleased", "org.varlink.service"],
         "list-interfaces")
    methods = run("list-methods", SOCKET).split()
    # It takes our description apart, and prints what it has understood.
    shown = run("introspect", SOCKET, "io.portleased")
    for name in ("GetStatus", "Monitor", "Renew", "Reload", "Hold", "GetMetrics"):
        check("io.portleased." + name in methods, "list-methods: %r" % methods)
        check("method %s(" % name in shown, "introspect: %r" % shown)
    check("interface org.varlink.service" in run("introspect", SOCKET, "org.varlink.service"),
          "introspect org.varlink.service")
    with open(os.path.join(TOP, "doc", "io.portleased.varlink")) as f, \
            open(home.path("text"), "w") as copy:
        copy.write(f.read())
    run("validate-idl", "/mnt/text")
    # What it prints is what others get.
    document = call("GetStatus", {"forwards": ["web", "range"]})
    mine = home.status("web", "range")
    same(sorted(document), sorted(mine), "members of the status")
    same([sorted(row) for row in document["mappings"]], [sorted(row) for row in mine["mappings"]],
         "members of the rows")
    same([row["ports"] for row in document["mappings"]], [1, 5, 5], "rows")
    same(call("Renew", {"forwards": ["web"]}), {"mappings": 1}, "Renew")
    same(call("Reload", {})["unchanged"], 3, "Reload")
    parse(call("GetMetrics", {})["text"])
    same(run("call", "--oneway", SOCKET, "io.portleased.Renew", "{}"), "", "without an answer")
    for method, parameters, error in (
            ("GetStatus", {"forwards": ["nix"]}, "io.portleased.NoSuchForward"),
            ("GetStatus", {"nix": 1}, "org.varlink.service.InvalidParameter"),
            ("Monitor", {}, "org.varlink.service.ExpectedMore"),
            ("Hold", {"forward": "web"}, "org.varlink.service.ExpectedMore"),
            ("Nix", {}, "org.varlink.service.MethodNotFound")):
        said = run("call", SOCKET, "io.portleased." + method, json.dumps(parameters), status=1)
        check(error in said, "%s: %r" % (method, said))
    more(home, command)


def more(home, command):
    """A stream lasts until its client ends, and so does what it holds."""
    def follow(name, method, parameters):
        with open(home.path(name), "wb") as out:
            process = subprocess.Popen(
                command("--json=short", "call", "--more", SOCKET, "io.portleased." + method,
                        json.dumps(parameters)), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        home.processes.append(process)
        return process

    monitor = follow("monitor", "Monitor", {"forwards": ["later"]})
    until(lambda: '"synchronised"' in home.log("monitor"), "the present state")
    hold = follow("hold", "Hold", {"forward": "later"})
    until(lambda: '"active":true' in home.log("hold"), "the hold to be active")
    until(lambda: '"mapped"' in home.log("monitor"), "the event")
    same([row["state"] for row in home.rows("later")], ["active"], "the forward that is held")
    for process in (hold, monitor):
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    home.wait_state("later", "idle")


test_varlinkctl.limit = 400  # the first time, its root has to be made


def test_prometheus(home):
    programs = foreign.prometheus()
    port = listening(home)
    # What promtool checks is the text format of before OpenMetrics.
    status, headers, body = get(home, port, more="Accept: text/plain\r\n")
    same(status, "HTTP/1.1 200 OK", "GET")
    check("Content-Type: text/plain; version=0.0.4; charset=utf-8" in headers, repr(headers))
    done = subprocess.run([os.path.join(programs, "promtool"), "check", "metrics"], input=body,
                          capture_output=True, text=True, timeout=60, check=False)
    same((done.returncode, done.stdout + done.stderr), (0, ""), "promtool check metrics")
    # Both forms tell the same.
    samples = [line.split(" ")[0] for line in body.splitlines() if not line.startswith("#")]
    same(samples, [line.split(" ")[0] for line in get(home, port)[2].splitlines()
                   if not line.startswith("#")], "samples")
    own = free_port(home.address)
    with open(home.path("prometheus.yml"), "w") as f:
        json.dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                   "scrape_configs": [{"job_name": "p", "static_configs": [
                       {"targets": ["%s:%d" % (home.address, port)]}]}]}, f)
    prometheus = home.spawn(
        [os.path.join(programs, "prometheus"), "--config.file=" + home.path("prometheus.yml"),
         "--storage.tsdb.path=" + home.path("tsdb"),
         "--web.listen-address=%s:%d" % (home.address, own)], "prometheus.log")

    def query(text):
        url = "http://%s:%d/api/v1/query?%s" % (home.address, own,
                                                urllib.parse.urlencode({"query": text}))
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            check(prometheus.poll() is None, "Prometheus has ended: " + home.log("prometheus.log"))
            return None
        return [row["value"][1] for row in found]

    until(lambda: query("up") == ["1"], "scrape that worked", 60, 0.2)
    for text, wanted in (('portleased_mapping_ports{forward="web",state="active"}', "1"),
                         ('sum(portleased_mapping_ports{forward="range",state="active"})', "10"),
                         ('portleased_gateway_state{gateway="g",state="ready"}', "1"),
                         ('portleased_events_total{event="mapped"}', "3"),
                         ("portleased_ready", "1"),
                         ("count(portleased_build_info)", "1")):
        same(query(text), [wanted], text)
    same(query('portleased_round_trip_seconds_bucket{le="+Inf"} - portleased_round_trip_seconds_count'
               ' or portleased_round_trip_seconds_count - ignoring(le)'
               ' portleased_round_trip_seconds_bucket{le="+Inf"}'), ["0"], "the histogram")
    # Everything that was sent was stored.
    same(query("scrape_samples_scraped"), [str(len(samples))], "samples of a scrape")
    # The panels of the dashboard ask what Prometheus understands, and what is there.
    with open(os.path.join(TOP, "etc", "grafana-dashboard.json")) as f:
        panels = json.load(f)["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    check(len(asked) >= 5, "queries of the dashboard: %r" % asked)
    for text in asked:
        for name, value in (("$instance", "%s:%d" % (home.address, port)), ("$__range", "1h"),
                            ("$__rate_interval", "1m"), ("$__interval", "1m")):
            text = text.replace(name, value)
        check("$" not in text, "variables of the dashboard: " + text)
        # What counts changes may have nothing to show.
        check(query(text) or query(text) == [] and "increase(" in text, "answer to " + text)
    prometheus.send_signal(signal.SIGTERM)
    prometheus.wait(PATIENCE)


test_prometheus.limit = 300
