# SPDX-License-Identifier: ISC
"""A reload is a difference: what stays the same sees no packet. The capture is the judge."""

import os
import re
import signal

from case import test
from daemon import config, forward
from lab import expect, now


def count_fds(daemon):
    return len(os.listdir("/proc/%d/fd" % daemon.process.pid))


def running(t, text):
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    daemon = t.daemon(home, text)
    daemon.wait_ready()
    t.elapse(0.3)
    return home, gateway, daemon


def quiet_reload(t, home, daemon, text):
    """It is in force, and not a packet was sent for it."""
    asked = daemon.reload(text)
    daemon.wait_line("reloaded", since=asked)
    t.elapse(1)
    sent = [str(d) for d in home.wire.requests(asked)]
    expect(not sent, "packets after a reload that changes no mapping: %s" % sent[:2])
    told = daemon.events("changed", "lost", "released", "mapped", since=asked)
    expect(not told, "the world was told: %s" % told[:2])
    return asked


UNSEEN = {
    "hook": dict(on_change='{"/bin/true", "second"}'),
    "hook-removed": dict(on_change="{}"),
    "description": dict(description='"another text"'),
    "comment": {},
    "release-on-exit": dict(release_on_exit="no"),
}


@test(each=sorted(UNSEEN))
def no_packet(t, what):
    first = [forward(8000, 18000, "both", name="web", on_change='{"/bin/true"}'),
             forward("8100-8109", "18100-18109", name="range")]
    home, _, daemon = running(t, config(*first, mappers="{pcp}"))
    second = dict(on_change='{"/bin/true"}')
    second.update(UNSEEN[what])
    quiet_reload(t, home, daemon, "# a comment\n" + config(
        forward(8000, 18000, "both", name="web", **second), first[1], mappers="{pcp}"))


@test()
def renamed_split_and_joined(t):
    """Other names for the same mappings."""
    whole = config(forward("8100-8109", "18100-18109", name="range"), forward(8000, 18000, name="web"))
    parts = config(forward("8105-8109", "18105-18109", name="high"),
                   forward("8100-8104", "18100-18104", name="low"), forward(8000, 18000, name="site"))
    home, gateway, daemon = running(t, whole)
    asked = now()
    for text in (parts, whole):
        asked_now = daemon.reload(text)
        daemon.wait_line("reloaded", since=asked_now)
        t.elapse(0.5)
    sent = [str(d) for d in home.wire.requests(asked) if d.kind in ("map", "delete")]
    expect(not sent, "packets for other names: %s" % sent[:2])
    expect(len(gateway.table()) == 11, "%d mappings" % len(gateway.table()))


BROKEN = {
    "syntax": "forward web {\n",
    "value": config(forward(70000)),
    "clash": config(forward(8000, 18000, name="a"), forward(8001, 18000, name="b")),
    "empty-name": 'forward "" { internal-port = 1 }\n',
    "missing": None,
    "folder": None,
}


@test(each=sorted(BROKEN))
def broken_file(t, kind):
    """Nothing changes, systemd's STATUS= says so, and the next good file makes it well."""
    good = config(forward(8000, 18000, name="web"))
    home, gateway, daemon = running(t, good)
    text = BROKEN[kind]
    asked = now()
    if text is not None:
        daemon.reload(text)
    else:
        os.unlink(daemon.file)
        if kind == "folder":
            os.mkdir(daemon.file)
        daemon.process.signal(signal.SIGHUP)
    daemon.wait_line("rejected", since=asked)
    t.until(lambda: "rejected" in daemon.status(), 3, "STATUS= to say so: " + daemon.status())
    expect(daemon.status().startswith("1 of 1 "), "status: " + daemon.status())
    t.elapse(0.5)
    expect(not home.wire.requests(asked), "packets after a rejected file")
    if kind == "folder":
        os.rmdir(daemon.file)
    healed = daemon.reload(good)
    daemon.wait_line("reloaded", since=healed)
    t.until(lambda: "rejected" not in daemon.status(), 3, "STATUS= to be well: " + daemon.status())
    expect(len(gateway.table()) == 1, "%d mappings" % len(gateway.table()))


@test(seconds=10)
def thirty_at_once(t):
    """SIGHUP upon SIGHUP: no packet, no descriptor, and it ends in the last file's state."""
    text = config(forward(8000, 18000, name="web"))
    home, gateway, daemon = running(t, text)
    before = count_fds(daemon)
    asked = now()
    for _ in range(30):
        daemon.process.signal(signal.SIGHUP)
        t.elapse(0.01)
    t.elapse(0.5)
    expect(not home.wire.requests(asked), "packets for the same file")
    t.until(lambda: count_fds(daemon) <= before, 5, "as few descriptors as before")
    for i in range(10):
        daemon.reload(config(forward(8000, 18000 + i, name="web")))
        t.elapse(0.02)
    t.until(lambda: [m["external"] for m in gateway.table()] == [18009], 12,
            "the last file's port only, not %s" % gateway.table())


@test()
def included_files(t):
    """A file that comes into an included folder is a forward more, one that goes is one less."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    folder = t.lab.path("more.d")
    os.mkdir(folder)
    daemon = t.daemon(home, 'include("more.d/*.conf")\n' + config(forward(8000, 18000, name="web")))
    daemon.wait_ready()
    path = os.path.join(folder, "game.conf")
    with open(path, "w") as f:
        f.write(forward(9000, 19000, name="game"))
    daemon.process.signal(signal.SIGHUP)
    t.until(lambda: len(gateway.table()) == 2, 3, "the included forward")
    os.unlink(path)
    asked = now()
    daemon.process.signal(signal.SIGHUP)
    t.until(lambda: len(gateway.table()) == 1, 8, "its release")
    touched = {d.inside for d in home.wire.requests(asked) if d.kind in ("map", "delete")}
    expect(touched == {9000}, "packets for %s" % touched)
    line = daemon.process.find("reloaded:.*1 removed", asked)
    expect(line and re.search("1 unchanged", line[1]), "the log says: %s" % (line,))
