# SPDX-License-Identifier: ISC
"""The units, by the real systemd."""

import json
import os
import signal
import stat

from case import test
from daemon import config, forward
from lab import expect, now
from machine import Machine

FILE = "/etc/portleased.conf"
RUNTIME = "/run/portleased"
STATE = "/var/lib/portleased"
DROP_IN = "/etc/systemd/system/portleased.service.d/lab.conf"
STRANGER = 4711

# It cannot write where the system is, but to the daemon's own folders; and read a secret that only
# root can, if the unit hands it over (portleased.conf(5)).
CREDENTIAL = "[Service]\nLoadCredential=home.key:/etc/portleased/home.key\n"
HOOK = """#!/bin/sh
cat /run/credentials/portleased.service/home.key >/run/portleased/key
echo "$PORTLEASE_EVENT $PORTLEASE_FORWARD $PORTLEASE_EXTERNAL_ADDRESS:$PORTLEASE_EXTERNAL_PORT" \\
    >>/run/portleased/heard
"""


def sections(*ports, **options):
    return [forward(port, port + 10000, name="f%d" % port, **options) for port in ports]


def stage(t, *, start=True, text=None, drop_in="", **settings):
    """A home with a scripted gateway, and a machine whose portleased has started."""
    home = t.home()
    gateway = t.fakegw(home, **settings)
    machine = Machine(t.lab, home.lan, t.build.folder)
    t.daemons.append(machine)
    machine.write(FILE, text or config(*sections(8000, 8001), mappers="{pcp}"))
    if drop_in:
        machine.write(DROP_IN, drop_in)
        machine.systemctl("daemon-reload")
    machine.systemctl("enable", "portleased.service")
    if start:
        machine.systemctl("start", "portleased.service")
    return home, gateway, machine


def held(gateway):
    """What the gateway maps: internal to external port."""
    return {one["internal"]: one["external"] for one in gateway.table()}


def renewed(gateway):
    return {one["mapping"]["internal"] for one in gateway.changes("renew")}


def until_status(t, machine, wanted, seconds=5):
    t.until(lambda: machine.show("StatusText") == wanted, seconds, "StatusText=%s, not %s" % (
        wanted, machine.show("StatusText")))


def until_deleted(t, home, since, *ports, seconds=3):
    """These and no others; the capture is read by a thread that may be behind."""
    t.until(lambda: {d.inside for d in home.wire.requests(since, "delete")} == set(ports), seconds,
            "requests to delete %s and nothing else" % (ports,))


def until_new_daemon(t, machine, old, seconds):
    t.until(lambda: machine.main_pid() not in (0, old) and machine.show("ActiveState") == "active",
            seconds, "a new daemon", step=0.1)


def mode(machine, path):
    return stat.S_IMODE(os.stat(machine.path(path)).st_mode)


ALL = "2 of 2 forwards mapped via pcp, external 203.0.113.7"


# strict: a system call that the filter blocks is not answered by an error, which may go unnoticed.
@test(seconds=25, slow=True, limit=500, plain=True, each=["installed", "strict"])
def starts_confined(t, variant):
    drop_in = CREDENTIAL + ("SystemCallErrorNumber=kill\n" if variant == "strict" else "")
    text = config(*sections(8000, 8001), mappers="{pcp}", on_change='{"/usr/local/bin/told"}')
    home, gateway, machine = stage(t, start=False, text=text, drop_in=drop_in, grant=6)
    machine.write("/usr/local/bin/told", HOOK, 0o755)
    machine.write("/etc/portleased/home.key", "a secret\n", 0o600)
    machine.systemctl("start", "portleased.service")

    # Type=notify: the start is over when the ports are open.
    expect(held(gateway) == {8000: 18000, 8001: 18001}, "started with %s mapped" % held(gateway))
    expect(machine.show("ActiveState") == "active", "ActiveState=" + machine.show("ActiveState"))
    until_status(t, machine, ALL)

    pid = machine.main_pid()
    status = dict(line.split(":\t", 1) for line in
                  machine.read("/proc/%d/status" % pid).splitlines())
    uids = set(status["Uid"].split())
    expect(len(uids) == 1 and 61184 <= int(uids.pop()) <= 65519, "runs as uid " + status["Uid"])
    for name, wanted in (("CapInh", 0), ("CapPrm", 0), ("CapEff", 0), ("CapBnd", 0), ("CapAmb", 0),
                         ("NoNewPrivs", 1), ("Seccomp", 2)):
        expect(int(status[name], 16) == wanted, "%s is %s" % (name, status[name]))

    saved = t.until(lambda: machine.read(STATE + "/state.json"), 5, "state.json")
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip()  # the real one: in a machine only nspawn's disguise is another
    expect("18001" in saved and json.loads(saved)["boot_id"] == boot, "state.json: " + saved)
    for path, wanted in ((STATE + "/.", 0o700), (STATE + "/state.json", 0o600),
                         (STATE + "/secret", 0o600), (RUNTIME, 0o755),
                         (RUNTIME + "/forwards", 0o755), (RUNTIME + "/forwards/f8000.env", 0o644),
                         (RUNTIME + "/control.sock", 0o666)):
        expect(mode(machine, path) == wanted, "%s has mode %o" % (path, mode(machine, path)))

    t.until(lambda: machine.read(RUNTIME + "/heard") and
            sorted(machine.read(RUNTIME + "/heard").splitlines()) ==
            ["mapped f8000 203.0.113.7:18000", "mapped f8001 203.0.113.7:18001"], 5,
            "the hook to hear of both mappings")
    expect(machine.read(RUNTIME + "/key") == "a secret\n", "the hook cannot read its credential")
    # The env file is good for another unit.
    machine.run("systemd-run", "--wait",
                "--property=EnvironmentFile=%s/forwards/f8001.env" % RUNTIME, "sh", "-c",
                'test "$PORTLEASE_EXTERNAL_ADDRESS:$PORTLEASE_EXTERNAL_PORT" = 203.0.113.7:18001')

    t.until(lambda: renewed(gateway) == {8000, 8001}, 6,
            "renewals of six-second leases")
    gateway.set(grant=600)

    warnings = machine.journal("--unit=portleased", "--priority=warning")
    expect(not warnings, "warnings where all is well:\n" + warnings)

    # Everybody may look, few may do.
    asked = now()
    machine.run("portleasectl", "renew")
    t.until(lambda: {d.inside for d in home.wire.replies(asked, "map") if d.lifetime == 600} ==
            {8000, 8001}, 5, "renewals that root asked for")
    status, output = machine.call("portleasectl", "status", user=STRANGER)
    expect(status == 0 and "18001" in output, "a stranger's status: %d: %s" % (status, output))
    asked = now()
    status, output = machine.call("portleasectl", "renew", user=STRANGER)
    expect(status == 4, "a stranger's renew: status %d: %s" % (status, output))
    t.elapse(0.5)  # that nothing happens is the subject
    expect(not home.wire.requests(asked, "map"), "renewed for a stranger")
    machine.systemctl("stop", "portleased.service")


@test(seconds=25, slow=True, limit=500, plain=True)
def reloads(t):
    home, gateway, machine = stage(t, grant=600)
    gateway.tell("result map 2 port 8003")
    good = config(*sections(8000, 8002, 8003), mappers="{pcp}")
    machine.write(FILE, good)
    asked = now()
    machine.systemctl("reload", "portleased.service")
    t.until(lambda: held(gateway) == {8000: 18000, 8002: 18002}, 5, "the new set at the gateway")
    until_deleted(t, home, asked, 8001)
    expect(not any(d.inside == 8000 for d in home.wire.requests(asked)), "8000 was not left alone")
    part = "2 of 3 forwards mapped via pcp, external 203.0.113.7"
    until_status(t, machine, part)
    t.until(lambda: "f8003" in machine.journal("--unit=portleased", "--priority=warning"), 3,
            "a warning about the refused forward in the journal")
    warnings = machine.journal("--unit=portleased", "--priority=warning")
    expect("f8000" not in warnings, "a granted mapping is a warning: " + warnings)
    everything = machine.journal("--unit=portleased")
    expect("f8000: tcp" in everything, "nothing about f8000 in the journal:\n" + everything)
    expect("<6>" not in everything and "<4>" not in everything, "marks in the text:\n" + everything)

    machine.write(FILE, good + "forward bad {\n    internal-port = 70000\n}\n")
    pid, asked = machine.main_pid(), now()
    status, output = machine.call("systemctl", "reload", "portleased.service")
    expect(status != 0, "the reload of a bad file succeeded")
    expect("70000" in machine.journal("--unit=portleased"), "the journal does not name the problem")
    expect(machine.show("ActiveState") == "active" and machine.main_pid() == pid,
           "after a bad reload the daemon is not as it was")
    t.elapse(1)  # that nothing happens is the subject
    sent = [d for d in home.wire.requests(asked) if d.inside != 8003]
    expect(not sent, "packets after a bad reload: %s" % ", ".join(map(str, sent)))
    until_status(t, machine, part + "; the last reload was rejected, see the log")
    machine.write(FILE, good)
    machine.systemctl("reload", "portleased.service")
    until_status(t, machine, part)
    machine.systemctl("stop", "portleased.service")


def restarted(t, home, gateway, machine, how, seconds):
    """The daemon dies by `how`: another one has to take over what the gateway has."""
    before, pid, asked = gateway.table(), machine.main_pid(), now()
    restarts = int(machine.show("NRestarts"))
    how(pid)
    until_new_daemon(t, machine, pid, seconds)
    expect(int(machine.show("NRestarts")) == restarts + 1, "restarts: " + machine.show("NRestarts"))
    t.until(lambda: {d.inside for d in home.wire.requests(asked, "map")} >= {8000, 8001}, 5,
            "the new daemon to ask for its mappings")
    until_status(t, machine, ALL)
    expect(not home.wire.requests(asked, "delete"), "mappings were deleted")
    expect(not gateway.changes("add", asked), "mappings were made anew")
    after = gateway.table()
    same = [[(one["internal"], one["external"], one["nonce"]) for one in table]
            for table in (before, after)]
    expect(same[0] == same[1], "mappings changed: %s, %s" % tuple(same))


@test(seconds=40, slow=True, limit=500, plain=True)
def restarts_what_died(t):
    home, gateway, machine = stage(t, grant=600, drop_in="[Service]\nWatchdogSec=3\n")
    t.until(lambda: machine.exists(STATE + "/state.json"), 5, "state.json")
    restarted(t, home, gateway, machine, lambda pid: machine.kill(pid, signal.SIGKILL), 10)
    restarted(t, home, gateway, machine, lambda pid: machine.kill(pid, signal.SIGSTOP), 20)
    expect("atchdog timeout" in machine.journal("--unit=portleased"), "it was not the watchdog")

    # Nobody who comes in notices a restart; what is not wanted any more goes.
    asked = now()
    machine.systemctl("restart", "portleased.service")
    expect(held(gateway) == {8000: 18000, 8001: 18001}, "then mapped: %s" % held(gateway))
    expect(not home.wire.requests(asked, "delete"), "a restart has deleted mappings")
    machine.write(FILE, config(*sections(8000), mappers="{pcp}"))
    machine.systemctl("restart", "portleased.service")
    until_deleted(t, home, asked, 8001, seconds=15)  # it might have had a holder who comes back
    expect(held(gateway) == {8000: 18000}, "without 8001 mapped: %s" % held(gateway))

    asked = now()
    machine.systemctl("stop", "portleased.service")
    until_deleted(t, home, asked, 8000)
    expect(held(gateway) == {}, "left at the gateway: %s" % held(gateway))
    for name, wanted in (("ActiveState", "inactive"), ("Result", "success"),
                         ("ExecMainCode", "1"), ("ExecMainStatus", "0")):
        expect(machine.show(name) == wanted, "%s=%s" % (name, machine.show(name)))
    expect(not machine.exists(RUNTIME), RUNTIME + " is left behind")
    expect(machine.exists(STATE + "/secret"), "the secret did not survive")


@test(seconds=10, slow=True, limit=500, plain=True)
def does_not_retry_a_bad_file(t):
    _, _, machine = stage(t, start=False)
    machine.write(FILE, "no such = option\n")
    status, _ = machine.call("systemctl", "start", "portleased.service")
    expect(status != 0, "started with a bad file")
    expect(machine.show("ExecMainStatus") == "78", "exit status " + machine.show("ExecMainStatus"))
    t.elapse(2)  # longer than RestartSec
    expect(machine.show("NRestarts") == "0", "tried again %s times" % machine.show("NRestarts"))
    expect("portleased.conf:1" in machine.journal("--unit=portleased", "--priority=err"),
           "the journal has no error with file and line")
    machine.systemctl("reset-failed")


GAME = """
[Unit]
BindsTo=portlease@game.service
After=portlease@game.service
PropagatesStopTo=portlease@game.service

[Service]
ExecStart=/bin/sleep infinity
"""


@test(seconds=25, slow=True, limit=500, plain=True)
def holds_for_a_program(t):
    text = config(*sections(8000), forward(7000, 17000, name="game", on_demand="yes"),
                  mappers="{pcp}")
    home, gateway, machine = stage(t, text=text, grant=600)
    expect(held(gateway) == {8000: 18000}, "mapped without a holder: %s" % held(gateway))
    holder = "portlease@game.service"

    machine.systemctl("start", holder)
    expect(held(gateway) == {8000: 18000, 7000: 17000}, "held: %s" % held(gateway))
    asked = now()
    machine.systemctl("stop", holder)
    t.until(lambda: held(gateway) == {8000: 18000}, 5, "the release")
    until_deleted(t, home, asked, 7000)
    expect(machine.show("Result", holder) == "success", "Result=" + machine.show("Result", holder))

    machine.write("/etc/systemd/system/game.service", GAME)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "game.service")
    expect(7000 in held(gateway), "the program was started before its port was open")

    # The holder outlives a daemon that was killed, and so does the program.
    daemon, program, asked = machine.main_pid(), machine.main_pid("game.service"), now()
    machine.kill(daemon, signal.SIGKILL)
    until_new_daemon(t, machine, daemon, 15)
    t.until(lambda: 7000 in {d.inside for d in home.wire.requests(asked, "map")}, 10,
            "the game's mapping to be asked for again")
    t.until(lambda: machine.call("portleasectl", "status", "game")[0] == 0, 5, "an active mapping")
    expect(machine.main_pid("game.service") == program, "the program was ended")
    expect(machine.show("NRestarts", holder) == "0", "the holder was restarted")
    expect(not home.wire.requests(asked, "delete"), "a held mapping was deleted")

    machine.systemctl("stop", "game.service")
    t.until(lambda: held(gateway) == {8000: 18000}, 5, "the release with the program's end")
    machine.systemctl("stop", "portleased.service")
