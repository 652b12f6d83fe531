# SPDX-License-Identifier: ISC
"""The ready-made hooks where they are meant to run: in the unit's sandbox, by the real systemd."""

import contextlib
import http.server
import json
import signal
import threading

from case import test
from daemon import config, forward
from lab import expect
from test_systemd import FILE, stage

HOOKS = "/usr/share/portleased/hooks/"
CAPABLE = """[Service]
AmbientCapabilities=%s
CapabilityBoundingSet=%s
"""
TSIG_KEY = """key "home" {
    algorithm hmac-sha256;
    secret "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ==";
};
"""
TRANSMISSION = {"rpc-port": 9091, "rpc-bind-address": "127.0.0.1", "rpc-whitelist-enabled": False,
                "port-forwarding-enabled": False, "dht-enabled": False, "lpd-enabled": False,
                "utp-enabled": False, "pex-enabled": False, "bind-address-ipv4": "127.0.0.1",
                "peer-port": 40100, "download-dir": "/tmp"}


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what is posted, as a web hook's other end and as qBittorrent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiver(home):
    """(server, URL) in lan."""
    with home.lan.inside():
        server = http.server.HTTPServer((home.lan_address, 0), Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server, "http://%s:%d" % server.server_address
    finally:
        server.shutdown()
        server.server_close()


def hook(*words):
    return "{%s}" % ", ".join('"%s"' % word for word in (HOOKS + words[0],) + words[1:])


def complaints(machine):
    """What systemd's sandbox or a hook has to say against it."""
    return machine.journal("--unit=portleased", "--priority=warning")


@test(seconds=30, slow=True, limit=500, plain=True)
def with_curl(t):
    """A web hook, and qBittorrent's with its cookies in a file of its own."""
    home, _, machine = stage(t, start=False, grant=600)
    machine.bring("curl")
    with receiver(home) as (server, url):
        machine.write("/etc/portleased/webhook.curl", 'url = "%s/hook"\n' % url)
        machine.write(FILE, config(
            forward(8000, 18000, name="web", on_change=hook(
                "webhook", "/etc/portleased/webhook.curl")),
            forward(8001, name="torrent", on_change=hook("qbittorrent", url)), mappers="{pcp}"))
        machine.systemctl("start", "portleased.service")
        t.until(lambda: len(server.got) >= 2, 20, "both to be posted")
        t.elapse(0.5)
        expect(sorted(path for path, _ in server.got) == ["/api/v2/app/setPreferences", "/hook"],
               "posted: %s" % server.got)
        told = {path: body for path, body in server.got}
        event = json.loads(told["/hook"])
        expect((event["event"], event["forward"], event["external_port"]) ==
               ("mapped", "web", "18000"), "the event: %s" % event)
        expect("8001" in told["/api/v2/app/setPreferences"], "the port: %s" % told)
        expect(not complaints(machine), "warnings: " + complaints(machine))
        machine.systemctl("stop", "portleased.service")
        t.until(lambda: len(server.got) >= 3, 5, "the release to be posted")
        expect(json.loads(server.got[-1][1])["event"] == "released", "the last: %s" % server.got[-1:])


@test(seconds=40, slow=True, limit=500, plain=True)
def with_transmission(t):
    """Started after the daemon: it is told the port as soon as it is there."""
    _, gateway, machine = stage(t, start=False, grant=600)
    machine.bring("curl", "transmission-daemon", "transmission-remote")
    machine.write(FILE, config(forward(40001, name="torrent", on_change=hook("transmission")),
                               mappers="{pcp}"))
    machine.systemctl("start", "portleased.service")
    t.until(lambda: "trying again" in complaints(machine), 10, "a hook that finds nobody")
    machine.write("/etc/transmission-lab/settings.json", json.dumps(TRANSMISSION))
    machine.run("systemd-run", "--unit=transmission-lab", "transmission-daemon", "--foreground",
                "--config-dir", "/etc/transmission-lab")

    def port():
        text = machine.run("transmission-remote", "-si", check=False)
        found = [line for line in text.splitlines() if "Listenport" in line]
        return found and found[0].split(":")[1].strip()

    t.until(lambda: port() == "40001", 60, "Transmission to listen on its port", step=0.3)
    expect([one["external"] for one in gateway.table()] == [40001], "mapped: %s" % gateway.table())
    expect("Transmission listens on port 40001" in machine.journal("--unit=portleased"),
           "nothing in the journal")
    machine.systemctl("stop", "transmission-lab.service", "portleased.service")


@test(seconds=30, slow=True, limit=500, plain=True)
def with_capabilities(t):
    """Those that need one, with the drop-ins that stand in their heads; and nsupdate without."""
    home, _, machine = stage(t, start=False, grant=600,
                             drop_in=CAPABLE % (("CAP_NET_ADMIN CAP_KILL",) * 2))
    machine.bring("nft", "nsupdate")
    home.lan.nft("table inet filter {\nset web_tcp { type inet_service; flags interval; }\n}\n")
    server = home.lan.socket(2, 2)
    server.bind((home.lan_address, 5399))
    server.setblocking(False)
    updates = []

    def updated():
        with contextlib.suppress(BlockingIOError):
            updates.append(server.recv(4096))
        return updates

    machine.write("/etc/portleased/home.key", TSIG_KEY, 0o644)
    machine.write("/usr/local/bin/as-inadyn", "#!/bin/sh\ntrap 'echo nudged' USR2\n"
                  "echo $$ >/run/inadyn.pid\nwhile :; do sleep 0.1; done\n", 0o755)
    machine.run("systemd-run", "--unit=as-inadyn", "/usr/local/bin/as-inadyn")
    t.until(lambda: (machine.read("/run/inadyn.pid") or "").endswith("\n"), 10, "inadyn")
    machine.write(FILE, config(
        forward(8000, name="web", on_change=hook("nftables-set", "inet", "filter", "web")),
        forward(8001, name="nudge", on_change=hook("inadyn-nudge")),
        forward(8002, name="dns", on_change=hook("ddns-nsupdate", home.lan_address + ":5399",
                                                 "example.net", "home.example.net",
                                                 "/etc/portleased/home.key")), mappers="{pcp}"))
    machine.systemctl("start", "portleased.service")
    t.until(lambda: "8000" in home.lan.run("nft", "list", "set", "inet", "filter", "web_tcp"), 20,
            "the port in the set")
    t.until(lambda: "nudged" in machine.journal("--unit=as-inadyn"), 20, "the nudge")
    t.until(updated, 20, "an update of the name")
    expect(updates[0][2] >> 3 & 15 == 5 and b"\x04home" in updates[0]
           and bytes([203, 0, 113, 7]) in updates[0], "the update: %r" % updates[0])
    server.close()
    wrong = [line for line in complaints(machine).splitlines() if line.startswith(("web:", "nudge:"))]
    expect(not wrong, "warnings: %s" % wrong)
    machine.kill(int(machine.read("/run/inadyn.pid")), signal.SIGKILL)
    machine.systemctl("reset-failed")
    machine.systemctl("stop", "portleased.service")
    expect("8000" not in home.lan.run("nft", "list", "set", "inet", "filter", "web_tcp"),
           "the port is still in the set")
