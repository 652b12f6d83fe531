# SPDX-License-Identifier: ISC
"""The ready-made hooks of etc/hooks, with the programs they are for."""

import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import urllib.request

from stage import GATEWAY, Failure, check, same, until

PASSWORD = "s3cret&more"


def ran(result, status=0):
    check(result.returncode == status, "the hook ended with %d and said: %s%s"
          % (result.returncode, result.stdout, result.stderr))
    return result


def get(url, seconds=5, **more):
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=seconds) as answer:
        return answer.read().decode()


def answers(url):
    try:
        get(url)
        return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


# ---- Transmission ---------------------------------------------------------------------------

def transmission(stage, **settings):
    folder = stage.path("transmission")
    os.mkdir(folder)
    values = {"rpc-port": 19091, "rpc-bind-address": "127.0.0.1", "rpc-whitelist-enabled": False,
              "port-forwarding-enabled": False, "dht-enabled": False, "lpd-enabled": False,
              "utp-enabled": False, "pex-enabled": False, "bind-address-ipv4": "127.0.0.1",
              "peer-port": 40100, "download-dir": folder}
    values.update(settings)
    with open(os.path.join(folder, "settings.json"), "w") as f:
        json.dump(values, f)
    stage.process("transmission", ["transmission-daemon", "--foreground", "--config-dir", folder])
    until(lambda: answers("http://127.0.0.1:19091/transmission/rpc"), "Transmission", 60)


def transmission_port(*auth):
    told = subprocess.run(["transmission-remote", "127.0.0.1:19091", *auth, "-si"],
                          capture_output=True, text=True, check=True).stdout
    return [line.split(":")[1].strip() for line in told.splitlines() if "Listenport" in line][0]


def test_transmission(stage):
    url = "http://127.0.0.1:19091/transmission/rpc"
    transmission(stage)
    same("the port before", transmission_port(), "40100")
    ran(stage.hook("transmission", url))
    same("the port", transmission_port(), "40001")
    ran(stage.hook("transmission", url, EVENT="lost", EXTERNAL_PORT=""))
    ran(stage.hook("transmission", url, PROTOCOL="udp", INTERNAL_PORT="40003",
                   EXTERNAL_PORT="40003"))
    result = ran(stage.hook("transmission", url, EXTERNAL_PORT="40002"))
    check("the same port" in result.stderr, "no word about different ports: " + result.stderr)
    same("the port", transmission_port(), "40001")


def test_transmission_password(stage):
    url = "http://127.0.0.1:19091/transmission/rpc"
    salt = "abcdefgh"
    digest = hashlib.sha1((PASSWORD + salt).encode()).hexdigest()
    transmission(stage, **{"rpc-authentication-required": True, "rpc-username": "me",
                           "rpc-password": "{" + digest + salt})
    netrc = stage.path("netrc")
    with open(netrc, "w") as f:
        f.write("machine 127.0.0.1 login me password %s\n" % PASSWORD)
    check(stage.hook("transmission", url).returncode != 0, "no password, but no failure")
    ran(stage.hook("transmission", url, netrc))
    same("the port", transmission_port("--netrc", netrc), "40001")


def test_transmission_absent(stage):
    check(stage.hook("transmission", "http://127.0.0.1:19099/").returncode != 0, "no failure")


# ---- qBittorrent ----------------------------------------------------------------------------

def qbittorrent(stage, local_auth):
    home = stage.path("qbittorrent")
    folder = os.path.join(home, "qBittorrent", "config")
    os.makedirs(folder)
    with open(os.path.join(folder, "qBittorrent.conf"), "w") as f:
        f.write("[LegalNotice]\nAccepted=true\n[Preferences]\nWebUI\\Address=127.0.0.1\n"
                "WebUI\\Port=18080\nWebUI\\UseUPnP=false\nWebUI\\LocalHostAuth=%s\n"
                "[BitTorrent]\nSession\\Port=40100\nSession\\Interface=lo\n"
                "Session\\DHTEnabled=false\nSession\\LSDEnabled=false\n"
                "Session\\UseUPnP=false\n" % ("true" if local_auth else "false"))
    log = stage.process("qbittorrent", ["qbittorrent-nox", "--profile=" + home],
                        env={"PATH": "/usr/bin:/bin", "HOME": home, "QT_QPA_PLATFORM": "minimal"})
    until(lambda: answers("http://127.0.0.1:18080/") or (not log.running() and fail(log)),
          "qBittorrent", 60)


def fail(process):
    raise Failure("%s ended: %s" % (process.name, process.text()[-400:]))


def listen_port(cookie=None):
    told = get("http://127.0.0.1:18080/api/v2/app/preferences",
               headers={"Cookie": cookie} if cookie else {})
    return json.loads(told)["listen_port"]


def test_qbittorrent(stage):
    url = "http://127.0.0.1:18080"
    qbittorrent(stage, False)
    same("the port before", listen_port(), 40100)
    ran(stage.hook("qbittorrent", url))
    same("the port", listen_port(), 40001)
    ran(stage.hook("qbittorrent", url, EVENT="failed", EXTERNAL_PORT=""))
    ran(stage.hook("qbittorrent", url, EXTERNAL_PORT="40002"))
    same("the port", listen_port(), 40001)


def test_qbittorrent_password(stage):
    """4.5's first name and password are known."""
    url = "http://127.0.0.1:18080"
    qbittorrent(stage, True)
    good, bad = stage.path("good"), stage.path("bad")
    for path, text in ((good, "username=admin&password=adminadmin"), (bad, "username=a&password=b")):
        with open(path, "w") as f:
            f.write(text)
    check(stage.hook("qbittorrent", url).returncode != 0, "no password, but no failure")
    check(stage.hook("qbittorrent", url, bad).returncode != 0, "a wrong password, but no failure")
    ran(stage.hook("qbittorrent", url, good))
    with urllib.request.urlopen(url + "/api/v2/auth/login",
                                b"username=admin&password=adminadmin") as answer:
        cookie = answer.headers["Set-Cookie"].split(";")[0]
    same("the port", listen_port(cookie), 40001)


# ---- nftables -------------------------------------------------------------------------------

def elements(name):
    told = subprocess.run(["nft", "-j", "list", "set", "inet", "house", name], check=True,
                          capture_output=True, text=True).stdout
    sets = [item["set"] for item in json.loads(told)["nftables"] if "set" in item]
    return sets[0].get("elem", [])


def test_nftables_set(stage):
    rules = "table inet house {\n%s}\n" % "".join(
        "set web_%s { type inet_service; flags interval; }\n" % name
        for name in ("tcp", "udp", "tcp6"))
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    arguments = ("nftables-set", "inet", "house", "web")
    ran(stage.hook(*arguments, INTERNAL_PORT="8080"))
    same("the set", elements("web_tcp"), [8080])
    ran(stage.hook(*arguments, EVENT="changed", INTERNAL_PORT="5000-5009"))
    same("the set", elements("web_tcp"), [{"range": [5000, 5009]}])
    ran(stage.hook(*arguments, PROTOCOL="udp", INTERNAL_PORT="5000,5007"))
    same("udp's set", elements("web_udp"), [5000, 5007])
    ran(stage.hook(*arguments, FAMILY="ipv6", INTERNAL_PORT="8080"))
    for event in ("lost", "released", "failed"):
        ran(stage.hook(*arguments, INTERNAL_PORT="8080"))
        same("the set", elements("web_tcp"), [8080])
        ran(stage.hook(*arguments, EVENT=event))
        same("the set", elements("web_tcp"), [])
    same("tcp6's set", elements("web_tcp6"), [8080])
    same("the status", stage.hook("nftables-set").returncode, 2)
    subprocess.run(["nft", "delete", "table", "inet", "house"], check=True)
    check(stage.hook(*arguments).returncode != 0, "no table, but no failure")


# ---- names ----------------------------------------------------------------------------------

def test_ddns_nsupdate(stage):
    """What nsupdate is told, and that it would understand it."""
    stage.script("nsupdate", '#!/bin/sh\n{ echo "$*"; cat; } >"%s"\n' % stage.path("said"))

    def said(**more):
        if os.path.exists(stage.path("said")):
            os.unlink(stage.path("said"))
        ran(stage.hook("ddns-nsupdate", "127.0.0.1:5353", "example.net", "home.example.net",
                       "/key", path=stage.folder, **more))
        if not os.path.exists(stage.path("said")):
            return None
        with open(stage.path("said")) as f:
            return f.read()

    wanted = ("-k /key -t 20\nserver 127.0.0.1 5353\nzone example.net\n"
              "update delete home.example.net A\nupdate add home.example.net 60 A 203.0.113.7\n"
              "send\n")
    same("the update", said(), wanted)
    same("a changed port", said(EVENT="changed", OLD_EXTERNAL_ADDRESS="203.0.113.7"), None)
    same("a changed address", said(EVENT="changed", OLD_EXTERNAL_ADDRESS="203.0.113.9"), wanted)
    check("60 AAAA 2001:db8::1" in said(FAMILY="ipv6", EXTERNAL_ADDRESS="2001:db8::1"), "no AAAA")
    same("no address", said(EXTERNAL_ADDRESS="", EXTERNAL_CLASS="none"), None)
    same("a private address", said(EXTERNAL_ADDRESS="10.0.0.1", EXTERNAL_CLASS="private"), None)
    same("lost", said(EVENT="lost", EXTERNAL_ADDRESS=""), None)
    same("the status", stage.hook("ddns-nsupdate", "a").returncode, 2)
    if shutil.which("nsupdate"):
        text = wanted.split("\n", 1)[1].replace("send\n", "show\n")
        told = subprocess.run(["nsupdate"], input=text, capture_output=True, text=True, timeout=30)
        same("nsupdate's status", told.returncode, 0)
        check("203.0.113.7" in told.stdout, "nsupdate shows: " + told.stdout + told.stderr)


def test_inadyn_nudge(stage):
    process = stage.process("inadyn", ["/bin/sh", "-c",
                            "trap 'echo nudged' USR2; echo ready; while :; do sleep 0.1; done"])
    process.wait_line("^ready$")
    pidfile = stage.path("inadyn.pid")
    with open(pidfile, "w") as f:
        f.write("%d\n" % process.child.pid)
    ran(stage.hook("inadyn-nudge", pidfile, EVENT="lost", EXTERNAL_ADDRESS=""))
    ran(stage.hook("inadyn-nudge", pidfile, EVENT="changed", OLD_EXTERNAL_ADDRESS="203.0.113.7"))
    check(not process.find("nudged"), "nudged for nothing")
    ran(stage.hook("inadyn-nudge", pidfile))
    process.wait_line("^nudged$")
    process.stop(signal.SIGKILL)
    check(stage.hook("inadyn-nudge", stage.path("none")).returncode != 0, "no failure")


# ---- webhook --------------------------------------------------------------------------------

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body.decode()))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_webhook(stage):
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 204
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = stage.path("webhook.curl")
    with open(settings, "w") as f:
        f.write('url = "http://127.0.0.1:%d/x"\nheader = "Authorization: Bearer %s"\n'
                % (server.server_port, PASSWORD))
    try:
        ran(stage.hook("webhook", settings, INTERFACE='a"b\\c', EXTERNAL_PORT="5000-5009"))
        path, headers, body = server.got.pop()
        same("the path", path, "/x")
        same("the type", headers["Content-Type"], "application/json")
        same("the authorization", headers["Authorization"], "Bearer " + PASSWORD)
        told = json.loads(body)
        same("the event", told["event"], "mapped")
        same("the interface", told["interface"], 'a"b\\c')
        same("the ports", told["external_port"], "5000-5009")
        same("the lifetime", told["lifetime"], 60)
        same("members", len(told), 16)
        ran(stage.hook("webhook", settings, EVENT="lost", LIFETIME="", EXTERNAL_PORT=""))
        same("the lifetime", json.loads(server.got.pop()[2])["lifetime"], None)
        server.status = 500
        check(stage.hook("webhook", settings).returncode != 0, "refused, but no failure")
        same("the status", stage.hook("webhook").returncode, 2)
    finally:
        server.shutdown()
        server.server_close()


# ---- with the daemon --------------------------------------------------------------------------

ASSIGNED = """
lifetime = 60
forward torrent {
    internal-port = assigned
    gateway = vpn
    on-change = {"%s", "%s"}
}
"""


def follow(stage, name, url, start_client, port):
    """A port of the gateway's choice, before and after it has changed; the client comes late."""
    stage.gateway(mode="nat-pmp", proton="on", port_policy="list", port_list="40001,40002")
    stage.configure('gateway vpn { address = "%s"\n interface = lo\n mappers = {nat-pmp} }\n'
                    % GATEWAY + ASSIGNED % (os.path.join(stage.options.hooks, name), url))
    stage.restart()
    stage.daemon.wait_line("torrent: .*%s failed with exit status [0-9]+; trying again" % name)
    start_client()
    same("the port before", str(port()), "40100")
    until(lambda: str(port()) == "40001", "the port to be the gateway's", 60)
    stage.tell("set rotate 1")
    stage.daemon.child.send_signal(signal.SIGUSR1)
    until(lambda: str(port()) == "40002", "the port to be the gateway's new one", 60)


def test_transmission_started_later(stage):
    follow(stage, "transmission", "http://127.0.0.1:19091/transmission/rpc",
           lambda: transmission(stage), transmission_port)


def test_qbittorrent_started_later(stage):
    follow(stage, "qbittorrent", "http://127.0.0.1:18080", lambda: qbittorrent(stage, False),
           listen_port)
