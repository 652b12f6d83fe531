# SPDX-License-Identifier: ISC
"""Metrics, by the control socket and by HTTP; what is installed along with them."""

import json
import os
import re
import resource
import shutil
import socket
import time
import subprocess

from harness import PATIENCE, TOP, Varlink, check, same, until

WEB = "web internal-port=8080 external-port=80"
RANGE = 'range internal-port="6000-6004" protocol=both'
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",),
            "histogram": ("_bucket", "_sum", "_count")}
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=[a-z])|$)')


def parse(text):
    """OpenMetrics, strictly. Returns {name: {labels: value}}."""
    check(text.endswith("\n# EOF\n"), "no # EOF at the end")
    families, samples, current, kind = {}, {}, None, None
    for line in text[:-len("# EOF\n")].splitlines():
        if line.startswith("# "):
            word, name, rest = re.fullmatch(r"# (TYPE|UNIT|HELP) (portleased_[a-z_]+) (.+)",
                                            line).groups()
            if word == "TYPE":
                check(name not in families, "%s is there twice" % name)
                check(rest in SUFFIXES, "%s: type %s" % (name, rest))
                current, kind = name, rest
                families[name] = {"TYPE"}
            else:
                same(name, current, "family of " + line)
                check(word not in families[name], "twice: " + line)
                families[name].add(word)
            if word == "UNIT":
                check(name.endswith("_" + rest), "%s has not its unit %s" % (name, rest))
            continue
        match = re.fullmatch(r"(portleased_[a-z_]+)(?:\{(.*)\})? ([0-9]+(?:\.[0-9]+)?)", line)
        check(match, "no sample: " + line)
        name, labels, value = match.groups()
        check(name in [current + suffix for suffix in SUFFIXES[kind]],
              "%s stands below the %s %s" % (name, kind, current))
        found = LABEL.findall(labels or "")
        same(",".join('%s="%s"' % pair for pair in found), labels or "", "labels of " + line)
        check(len({pair[0] for pair in found}) == len(found), "a label twice: " + line)
        rows = samples.setdefault(name, {})
        check(tuple(found) not in rows, "twice: " + line)
        rows[tuple(found)] = float(value)
    for name, words in families.items():
        check("HELP" in words, name + " has no HELP")
        check(not re.search("_(seconds|bytes)$", name) or "UNIT" in words, name + " has no UNIT")
    return samples


def pick(samples, name, **labels):
    rows = [value for row, value in samples["portleased_" + name].items()
            if labels.items() <= dict(row).items()]
    same(len(rows), 1, "samples of %s %r" % (name, labels))
    return rows[0]


def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def http(home, port, request, half=False):
    """(status line, header lines, body) for what is sent as it is."""
    with socket.create_connection((home.address, port), PATIENCE) as s:
        s.settimeout(PATIENCE)
        try:
            s.sendall(request)
            if half:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has said no before it had read all
        answer = b""
        while True:
            try:
                more = s.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                break
            answer += more
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *headers = head.split("\r\n")
    return status, headers, body


def get(home, port, method="GET", path="/metrics", more="", body=""):
    return http(home, port, ("%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s"
                             % (method, path, more, body)).encode())


def listening(home, **more):
    port = free_port(home.address)
    home.up(WEB, RANGE, settings='metrics-listen = "%s:%d"' % (home.address, port), **more)
    home.wait_state("web", "active")
    home.wait_state("range", "active")
    return port


def test_metrics_command(home):
    home.up(WEB, RANGE)
    home.wait_state("web", "active")
    home.wait_state("range", "active")
    status, text, errors = home.ctl("metrics")
    same((status, errors), (0, ""), "portleasectl metrics")
    m = parse(text)
    same(pick(m, "mapping_ports", forward="web", state="active"), 1, "web")
    same(pick(m, "mapping_ports", forward="range", protocol="udp", state="active"), 5, "the range")
    same(pick(m, "mapping_ports", forward="range", protocol="tcp", state="failed"), 0, "the range")
    same(pick(m, "mapping_external_port", forward="web"), 80, "port of web")
    check(3000 < pick(m, "mapping_expires_seconds", forward="web") <= 3600, "lease of web")
    same(pick(m, "gateway_state", gateway="g", state="ready"), 1, "state of the gateway")
    same(pick(m, "gateway_state", gateway="g", state="silent"), 0, "state of the gateway")
    row = [g for g in home.status()["gateways"] if g["name"] == "g"][0]
    same(pick(m, "gateway_info", gateway="g", address=home.address, interface="lo", mapper="pcp",
              external_address=row["external_address"]), 1, "the gateway")
    check(pick(m, "gateway_requests_total", gateway="g") >= 11, "requests")
    check(pick(m, "round_trip_seconds_count") >= 11, "round trips")
    buckets = list(m["portleased_round_trip_seconds_bucket"].values())
    same(buckets, sorted(buckets), "the buckets")
    same(buckets[-1], pick(m, "round_trip_seconds_count"), "the last bucket")
    same(pick(m, "events_total", event="mapped"), 3, "events")
    # The same for JSON, and for a member of nothing: reading is for everybody.
    same(parse(json.loads(home.ctl("metrics", "--json")[1])["text"]).keys(), m.keys(), "JSON")
    # What happens is counted.
    same(home.ctl("renew")[0], 0, "renew")
    until(lambda: pick(parse(home.ctl("metrics")[1]), "mapping_renewals_total", forward="web") == 1,
          "renewal of web")
    with open(home.file, "a") as f:
        f.write("nonsense = 1\n")
    same(home.ctl("reload")[0], 1, "a reload that fails")
    m = parse(home.ctl("metrics")[1])
    same(pick(m, "reloads_total", result="failed"), 1, "reloads that failed")
    same(pick(m, "reloads_total", result="ok"), 0, "reloads")


def test_metrics_hooks_and_failures(home):
    for name, status in (("good", 0), ("bad", 3)):
        with open(home.path(name), "w") as f:
            f.write("#!/bin/sh\nexit %d\n" % status)
        os.chmod(home.path(name), 0o755)
    home.up(WEB + " on-change=" + json.dumps(home.path("good")),
            "other internal-port=9000 on-change=" + json.dumps(home.path("bad")))
    until(lambda: pick(parse(home.ctl("metrics")[1]), "hook_runs_total", result="failed") >= 1,
          "hook that fails")
    until(lambda: pick(parse(home.ctl("metrics")[1]), "hook_runs_total", result="ok") == 1,
          "hook that ends well")


def test_metrics_http(home):
    port = listening(home)
    status, headers, body = get(home, port)
    same(status, "HTTP/1.1 200 OK", "GET")
    check("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in headers,
          "content type: %r" % headers)
    check("Content-Length: %d" % len(body) in headers, "length: %r" % headers)
    same(parse(body).keys(), parse(home.ctl("metrics")[1]).keys(), "names")
    status, headers, rest = get(home, port, "HEAD")
    same((status, rest), ("HTTP/1.1 200 OK", ""), "HEAD")
    check("Content-Length: %d" % len(body) in headers, "length for HEAD: %r" % headers)
    same(get(home, port, path="/metrics?x=y")[0], "HTTP/1.1 200 OK", "with a query")
    for path in ("/", "/metrics/", "/metricsx", "/x", "/%6detrics/.."):
        same(get(home, port, path=path)[0], "HTTP/1.1 404 Not Found", path)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = get(home, port, method, more="Content-Length: 3\r\n", body="x=y")
        same(status, "HTTP/1.1 405 Method Not Allowed", method)
        check("Allow: GET, HEAD" in headers, "%s: %r" % (method, headers))
    same(get(home, port, "BREW")[0].split()[1], "501", "an unknown method")
    if shutil.which("curl"):
        done = subprocess.run(["curl", "-sf", "http://%s:%d/metrics" % (home.address, port)],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        same(done.returncode, 0, "curl")
        parse(done.stdout)


def test_metrics_http_limits(home):
    port = listening(home)
    descriptors = "/proc/%d/fd" % home.daemon.pid
    # The writer of the state file has a descriptor for a moment.
    until(lambda: os.path.exists(home.path("state/state.json")), "the state file")
    before = min(len(os.listdir(descriptors)) for _ in range(200) if not time.sleep(0.01))
    check(get(home, port, more="X: %s\r\n" % ("a" * 9000))[0].startswith("HTTP/1.1 4"),
          "a header that is too large")
    same(get(home, port, more="X: %s\r\n" % ("a" * 4000))[0], "HTTP/1.1 200 OK", "a large header")
    check(get(home, port, "POST", more="Content-Length: 9999999\r\n")[0].startswith("HTTP/1.1 4"),
          "a body that is too large")
    for rude in (b"\r\n\r\n", b"GET\r\n\r\n", b"\0" * 100, b"GET /metrics HTTP/9.9\r\n\r\n",
                 b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", b"GET /metr"):
        check(" 200 " not in http(home, port, rude, half=True)[0], "answer to %r" % rude)
    # More clients than there is room for wait, and do not take what the daemon needs.
    clients = []
    for _ in range(40):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((home.address, port))
        clients.append(s)
    until(lambda: len(os.listdir(descriptors)) >= before + 16, "16 clients")
    with Varlink(home.socket) as v:
        check("parameters" in v.call("io.portleased.GetStatus"), "the daemon answers")
    check(len(os.listdir(descriptors)) <= before + 17, "clients that wait outside")
    for s in clients:
        s.close()
    same(get(home, port)[0], "HTTP/1.1 200 OK", "afterwards")
    until(lambda: len(os.listdir(descriptors)) <= before, "end of all clients")


def test_metrics_http_drip(home):
    """Whoever says an octet now and then is never silent: all places are taken by such, who lose
    them after 10 s, and so does one that does not read its answer."""
    port = listening(home)
    clients = [socket.create_connection((home.address, port), PATIENCE) for _ in range(16)]
    for s in clients:
        s.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
    gone = set()

    def drip():
        for s in clients:
            try:
                s.sendall(b"x")
            except OSError:
                gone.add(s)
        return len(gone) == len(clients)

    same(drip(), False, "everybody is turned away at once")
    until(drip, "end of those who drip", 3 * PATIENCE, 0.2)
    for s in clients:
        s.close()
    same(get(home, port)[0], "HTTP/1.1 200 OK", "afterwards")


def processor_time(process):
    """Seconds it has worked so far."""
    with open("/proc/%d/stat" % process.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_metrics_http_no_descriptor(home):
    """Without a descriptor for one more client it waits, and does not spin; then it goes on."""
    port = listening(home)
    # The writer of the state file has a descriptor for a moment.
    until(lambda: os.path.exists(home.path("state/state.json")), "the state file")
    get(home, port)
    time.sleep(1)
    used = [int(name) for name in os.listdir("/proc/%d/fd" % home.daemon.pid)]
    limit = next(n for n in range(1024) if n not in used)
    _, hard = resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE, (limit, hard))
    before, lines = processor_time(home.daemon), len(home.log())
    with socket.create_connection((home.address, port), PATIENCE) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        s.settimeout(3)
        try:
            check(not s.recv(1), "served without a descriptor")
        except socket.timeout:
            pass
        took = processor_time(home.daemon) - before
        check(took < 1, "%.2f s of work in 3 s of waiting" % took)
        check(len(home.log()) - lines < 500, "it says too much: " + home.log()[lines:lines + 2000])
        resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
        s.settimeout(PATIENCE)
        same(s.recv(15), b"HTTP/1.1 200 OK", "later")


def test_metrics_reload(home):
    first = listening(home)
    second = free_port(home.address)
    # It moves, and who is connected does not keep the old place open.
    with socket.create_connection((home.address, first), PATIENCE):
        home.write(WEB, settings='metrics-listen = "%s:%d"' % (home.address, second))
        same(home.ctl("reload")[0], 0, "reload")
    same(get(home, second)[0], "HTTP/1.1 200 OK", "at the new place")
    try:
        socket.create_connection((home.address, first), PATIENCE).close()
        check(False, "somebody still listens at the old place")
    except ConnectionRefusedError:
        pass
    # A place that is taken: one warning, no harm, and the next reload tries again.
    with socket.socket() as taken:
        taken.bind((home.address, 0))
        taken.listen(1)
        third = taken.getsockname()[1]
        home.write(WEB, settings='metrics-listen = "%s:%d"' % (home.address, third))
        same(home.ctl("reload")[0], 0, "reload")
        same(home.log().count("cannot listen at %s:%d" % (home.address, third)), 1, "warnings")
    same(home.ctl("reload")[0], 0, "reload")
    same(get(home, third)[0], "HTTP/1.1 200 OK", "at the third place")
    same(home.ctl("reload")[0], 0, "a reload without a change")
    same(get(home, third)[0], "HTTP/1.1 200 OK", "still there")
    home.write(WEB)
    same(home.ctl("reload")[0], 0, "reload")
    try:
        socket.create_connection((home.address, third), PATIENCE).close()
        check(False, "somebody listens that should not")
    except ConnectionRefusedError:
        pass
    same(home.ctl("metrics")[0], 0, "the control socket does not mind")


def test_metrics_dashboard(home):
    home.up(WEB)
    home.wait_state("web", "active")
    known = parse(home.ctl("metrics")[1])
    with open(os.path.join(TOP, "etc", "grafana-dashboard.json")) as f:
        dashboard = json.load(f)
    used = set(re.findall(r"\bportleased_[a-z_]+", json.dumps(dashboard["panels"])
                          + json.dumps(dashboard["templating"])))
    check(len(used) >= 8, "metrics on the dashboard: %r" % used)
    same(sorted(used - known.keys()), [], "metrics on the dashboard that do not exist")
    panels = [panel["id"] for panel in dashboard["panels"]]
    same(len(set(panels)), len(panels), "numbers of panels")
