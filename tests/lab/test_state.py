# SPDX-License-Identifier: ISC
"""What is kept on disk: what a crash leaves, and what a disk in trouble costs."""

import contextlib
import json
import os
import random
import signal
import socket
import stat

from case import MARGIN, test
from daemon import config, forward
from lab import NOBODY, expect, now, run

DAMAGED = {
    "garbage": b"\x00\xff}{not json",
    "empty": b"",
    "cut": b'{"format": 1, "boot_id": "x", "gateways": [{"gateway"',
    "foreign": b'{"format": "something else", "mappings": []}',
    "array": b"[1, 2, 3]",
}


def about(daemon, text, since=0.0):
    """Log lines that name the text, from the start in question on."""
    return [line for stamp, line in list(daemon.process.lines) if stamp >= since and text in line]


def document(daemon):
    with open(os.path.join(daemon.state, "state.json")) as f:
        return json.load(f)


def mode(daemon, name):
    return stat.S_IMODE(os.stat(os.path.join(daemon.state, name)).st_mode)


@test()
def is_written_and_private(t):
    home = t.home()
    t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"))
    t.until(lambda: os.path.exists(os.path.join(daemon.state, "state.json")), 4, "state.json")
    expect(mode(daemon, "state.json") == 0o600, "state.json can be read by others")
    expect(mode(daemon, "secret") == 0o600, "the secret can be read by others")
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()
    kept = document(daemon)
    expect(kept["boot_id"] == boot, "boot_id is %r" % kept["boot_id"])
    ports = [m["external_port"] for m in kept["mappings"]]
    expect(ports == [18000], "ports kept: %s" % ports)
    link = kept["gateways"][0].get("link_address")
    text = run("ip", "-n", home.gw.space.name, "-o", "link", "show", "dev", "lan0")
    expect(link and link in text, "link_address %r is not the gateway's" % link)
    daemon.stop()
    expect(document(daemon)["mappings"] == [], "released, and still in the document")


@test(each=sorted(DAMAGED) + ["folder", "huge", "link"])
def damaged_is_set_aside(t, kind):
    """One warning, and the day goes on."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"), start=False)
    path = os.path.join(daemon.state, "state.json")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "link":
        os.symlink("/etc/passwd", path)
    elif kind == "huge":
        with open(path, "wb") as f:
            f.truncate(64 << 20)
        os.chown(path, NOBODY, NOBODY)
    else:
        with open(path, "wb") as f:
            f.write(DAMAGED[kind])
        os.chown(path, NOBODY, NOBODY)
    daemon.start()
    daemon.wait_ready()
    expect(len(gateway.table()) == 1, "nothing is mapped")
    lines = about(daemon, "state.json")
    expect(len(lines) == 1 and "set aside" in lines[0], "the log says: %s" % lines)
    expect(os.path.lexists(path + ".bad"), "there is no state.json.bad")
    t.until(lambda: os.path.isfile(path) and not os.path.islink(path), 4, "a new document")
    daemon.stop()
    lines = about(daemon, daemon.state)
    expect(len(lines) == 1, "%d lines about the disk: %s" % (len(lines), lines))


class Disk:
    """A file system of one page at a folder, until the test ends."""

    def __init__(self, lab, folder, options):
        self.folder = folder
        run("mount", "-t", "tmpfs", "-o", "size=4k,mode=755,uid=%d%s" % (NOBODY, options), "tmpfs",
            folder)
        lab.keep(self)

    def close(self):
        run("umount", "-l", self.folder, check=False)


def fill(folder, name):
    with open(os.path.join(folder, name), "wb") as f, contextlib.suppress(OSError):
        f.write(b"x" * 4096)


@test(each=["missing", "read-only", "unreadable", "a-file", "full", "full-later", "secret-folder"])
def disk_in_trouble(t, kind):
    """One warning, and no mapping less."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"), start=False)
    if kind == "missing":
        daemon.state = t.lab.path("no", "such", "folder")
    elif kind == "a-file":
        daemon.state = t.lab.path("a-file")
        open(daemon.state, "w").close()
    elif kind == "read-only":
        Disk(t.lab, daemon.state, ",ro")
    elif kind == "unreadable":
        os.chmod(daemon.state, 0)
    elif kind == "full":
        Disk(t.lab, daemon.state, "")
        fill(daemon.state, "filler")
    elif kind == "full-later":
        Disk(t.lab, daemon.state, "")  # the secret takes all of it
    elif kind == "secret-folder":
        os.mkdir(os.path.join(daemon.state, "secret"))
    daemon.start()
    daemon.wait_ready()
    expect(len(gateway.table()) == 1, "nothing is mapped")
    t.elapse(2)  # the document would be written by now
    lines = about(daemon, daemon.state)
    expect(len(lines) == 1, "%d lines about the disk: %s" % (len(lines), lines))
    if kind == "unreadable":
        os.chmod(daemon.state, 0o700)  # in time for the last document, which is news
    asked = now()
    daemon.stop()
    expect(not gateway.table(), "not released")
    more = about(daemon, daemon.state, asked)
    expect(not more, "said again at the end: %s" % more)


@test(each=["read-only", "missing"], seconds=15)
def disk_recovers(t, kind):
    """The secret that could not be kept is, as soon as the disk is well again, and the document."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600, nonce_strict="on")
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{pcp}"), start=False)
    if kind == "missing":
        daemon.state = t.lab.path("parent", "folder")
    else:
        Disk(t.lab, daemon.state, ",ro")
    daemon.start()
    daemon.wait_ready()
    t.until(lambda: about(daemon, daemon.state), 4, "the disk's trouble to be told")
    t.elapse(1.5)  # the document could not be written either
    if kind == "missing":
        os.mkdir(os.path.dirname(daemon.state))
        os.chown(os.path.dirname(daemon.state), NOBODY, NOBODY)
    else:
        run("mount", "-o", "remount,rw,size=64k", daemon.state)
    wanted = config(forward(8000, 18000), forward(8001, 18001), mappers="{pcp}")
    daemon.reload(wanted)
    t.until(lambda: about(daemon, "/secret is stored now"), 5, "the secret to be stored")
    t.until(lambda: about(daemon, "state.json"), 5, "the document to be written")
    expect(len(about(daemon, daemon.state)) == 3, "the log says: %s" % about(daemon, daemon.state))
    expect(mode(daemon, "secret") == 0o600, "the secret can be read by others")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait_exit(5)
    daemon.start()
    daemon.wait_ready()
    refused = [str(d) for d in home.wire.replies(kind="map") if d.result]
    expect(not refused, "refused: %s" % refused[:2])
    expect(len(gateway.table()) == 2, "%d mappings at the gateway" % len(gateway.table()))


def many():
    fixed = [forward(8000 + i, 18000 + i, "both", name="f%d" % i) for i in range(6)]
    free = [forward(9000 + i, "any", name="any%d" % i) for i in range(4)]
    return config(*(fixed + free), mappers="{pcp}")


@test(seconds=30)
def killed_at_random(t):
    """A strict gateway renews with the nonce of the first request only; and ports stay."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600, nonce_strict="on", delay=5)
    daemon = t.daemon(home, many(), start=False)
    chance = random.Random(5)
    for _ in range(14):
        daemon.start()
        t.elapse(chance.choice((0.05, 0.1, 0.2, 1.3)) + chance.random() * 0.3, step=0.02)
        daemon.process.signal(signal.SIGKILL)
        daemon.process.wait_exit(5)
    daemon.start()
    daemon.wait_ready()
    nonces = {}
    for d in home.wire.requests(kind="map"):
        nonces.setdefault(d.key, set()).add(d.nonce)
    expect(len(nonces) == 16, "%d mappings asked for, not 16" % len(nonces))
    several = {key for key, seen in nonces.items() if len(seen) > 1}
    expect(not several, "several nonces for %s" % several)
    refused = [str(d) for d in home.wire.replies(kind="map") if d.result]
    expect(not refused, "refused: %s" % refused[:2])
    expect(len(gateway.table()) == 16, "%d mappings at the gateway" % len(gateway.table()))
    moved = gateway.changes("move")
    expect(not moved, "ports moved: %s" % moved[:2])
    status, _ = daemon.stop()
    expect(status == 0 and not gateway.table(), "status %s, %d mappings left" % (
        status, len(gateway.table())))


@test(seconds=18, each=["pcp", "nat-pmp"])
def not_wanted_any_more_after_a_crash(t, mapper):
    """What the daemon that crashed had mapped, and its successor does not want, is given back."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    both = config(forward(8000, 18000), forward(8001, 18001), mappers="{%s}" % mapper)
    daemon = t.daemon(home, both)
    daemon.wait_ready()
    t.until(lambda: os.path.exists(os.path.join(daemon.state, "state.json")) and
            len(document(daemon)["mappings"]) == 2, 4, "both in the document")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait_exit(5)
    daemon.write(config(forward(8000, 18000), mappers="{%s}" % mapper))
    again = now()
    daemon.start()
    daemon.wait_ready()
    t.until(lambda: len(gateway.table()) == 1, 16 + MARGIN, "the one that is not wanted to be released")
    # The capture may come a moment after the gateway's table.
    t.until(lambda: {d.inside for d in home.wire.requests(again, "delete")}, 4, "the delete to be seen")
    deleted = {d.inside for d in home.wire.requests(again, "delete")}
    expect(deleted == {8001}, "deleted: %s" % deleted)
    t.until(lambda: len(document(daemon)["mappings"]) == 1, 4, "it to be forgotten")


@test(seconds=18)
def kept_at_sigquit_then_dropped(t):
    """The same after an orderly stop that kept the leases."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, config(forward(8000, 18000), forward(8001, 18001), mappers="{pcp}"))
    daemon.wait_ready()
    daemon.stop(signal.SIGQUIT)
    expect(len(gateway.table()) == 2, "SIGQUIT released something")
    daemon.write(config(forward(8001, 18001), mappers="{pcp}"))
    daemon.start()
    daemon.wait_ready()
    t.until(lambda: len(gateway.table()) == 1, 16 + MARGIN, "the one that is not wanted to be released")


@test(seconds=8)
def stale_files_after_a_crash(t):
    """A socket nobody answers at, the env file of a forward that is not wanted any more, a document
    half written: they are gone when the next one is ready, or replaced."""
    home = t.home()
    t.fakegw(home, grant=3600)
    both = config(forward(8000, 18000, name="web"), forward(8001, 18001, name="gone"), mappers="{pcp}")
    daemon = t.daemon(home, both)
    daemon.wait_ready()
    t.until(lambda: daemon.published("gone") and daemon.published("web"), 3, "both env files")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.wait_exit(5)
    expect(daemon.published("gone") and os.path.exists(daemon.control), "nothing is stale")
    forwards = os.path.join(daemon.runtime, "forwards")
    for name in os.path.join(daemon.state, ".state.json.new"), os.path.join(forwards, ".gone.env.new"):
        with open(name, "w") as f:
            f.write("half")
        os.chown(name, NOBODY, NOBODY)
    daemon.write(config(forward(8000, 18000, name="web"), mappers="{pcp}"))
    daemon.start()
    daemon.wait_ready()
    t.until(lambda: os.listdir(forwards) == ["web.env"], 3, "web.env only")
    t.until(lambda: sorted(os.listdir(daemon.state)) == ["secret", "state.json"], 4,
            "no half document")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.connect(daemon.control)
        client.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
        expect(b"portleased" in client.recv(4096), "nobody answers at the socket")
