# SPDX-License-Identifier: ISC
"""portleased as a program: options, configuration errors, signals, systemd, cost."""

import os
import re
import signal
import time

from case import MARGIN, test
from daemon import SANITIZER, config, forward
from lab import NOBODY, Process, expect, now

# (lines on which the problem may be reported, line of text); a problem of two options may be
# reported at either of them or at the head of the section.
MISTAKES = [
    (1, "lifetime = 1"),
    (2, "probe-interval = often"),
    (3, "colour = red"),
    (4, "mappers = {pcp, ftp}"),
    (None, "gateway vpn {"),
    (6, "    address = \"10.2.0.256\""),
    (None, "}"),
    (None, "forward web {"),
    (9, "    internal-port = 70000"),
    (10, "    protocol = sctp"),
    (None, "}"),
    (range(12, 16), "forward range {"),
    (None, "    internal-port = 5000-5009"),
    (None, "    external-port = 6000-6004"),
    (None, "}"),
    (range(16, 20), "forward lost {"),
    (None, "    internal-port = 81"),
    (None, "    gateway = nowhere"),
    (None, "}"),
    (range(20, 25), "forward dns {"),
    (None, "    internal-port = 53"),
    (None, "    protocol = udp"),
    (None, "    external-port = 5351"),
    (None, "}"),
    (None, "forward hooked {"),
    (None, "    internal-port = 82"),
    (27, "    on-change = {\"bin/hook\"}"),
    (None, "}"),
    (None, "forward twice {"),
    (None, "    internal-port = 83"),
    (None, "}"),
    (range(32, 35), "forward twice {"),
    (None, "    internal-port = 84"),
    (None, "}"),
]


def bad_config():
    """Twelve mistakes."""
    return "\n".join(text for _, text in MISTAKES) + "\n"


def check_problems(lines, file):
    found = [re.match(re.escape(file) + r":(\d+): \S.*", line) for line in lines]
    numbers = [int(match[1]) for match in found if match]
    wanted = [where for where, _ in MISTAKES if where is not None]
    for where in wanted:
        allowed = [where] if isinstance(where, int) else list(where)
        expect(any(number in allowed for number in numbers),
               "no problem named in line %s: %s" % (where, lines))
    expect(len(numbers) == len(wanted),
           "%d problems named, not %d: %s" % (len(numbers), len(wanted), lines))


def once(t, space, *arguments):
    """Runs the program to its end as an unprivileged user: (exit status, lines)."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    process = Process(t.lab, space, [t.build.portleased] + list(arguments), user=NOBODY,
                      env=environment)
    status, _ = process.wait_exit(5)
    lines = [line for _, line in process.lines]
    expect(not any(SANITIZER.search(line) for line in lines), "sanitizer: %s" % lines)
    return status, lines


@test()
def twelve_mistakes_are_named(t):
    home = t.home()
    daemon = t.daemon(home, bad_config(), start=False)
    status, lines = once(t, home.lan, "-n", "-f", daemon.file)
    expect(status == 78, "exit status %s of -n" % status)
    check_problems(lines, daemon.file)

    daemon.start()
    status, _ = daemon.process.wait_exit(5)
    expect(status == 78, "exit status %s at the start" % status)
    check_problems([re.sub(r"^[-0-9]{10} [:0-9]{8} ", "", line) for _, line in daemon.process.lines if
                    daemon.file + ":" in line], daemon.file)
    expect(not home.wire.requests(), "packets were sent")

    daemon.write(config(forward(8000)))
    status, lines = once(t, home.lan, "--check-config", "--config", daemon.file)
    expect(status == 0, "exit status %s for a good file: %s" % (status, lines))
    expect(not home.wire.requests(), "--check-config sent packets")


@test()
def options(t):
    space = t.home().lan
    for arguments in (["--nonsense"], ["-l", "loud"], ["stray"], ["-f"]):
        status, lines = once(t, space, *arguments)
        expect(status == 2, "exit status %s of %s: %s" % (status, arguments, lines))
        expect(lines, "nothing is said about %s" % arguments)
    for argument in ("--version", "--help"):
        status, lines = once(t, space, argument)
        expect(status == 0 and lines, "%s: status %s, %s" % (argument, status, lines))


@test()
def one_instance_per_runtime_folder(t):
    home = t.home()
    t.miniupnpd(home)
    first = t.daemon(home, config(forward(8000)))
    first.wait_ready()
    second = t.daemon(home, config(forward(8001)), name="second", runtime=first.runtime)
    status, _ = second.process.wait_exit(3)
    lines = [line for _, line in second.process.lines]
    expect(status == 1, "the second ended with status %s" % status)
    expect(len(lines) == 1, "%d lines, not one: %s" % (len(lines), lines))
    sent = {d.inside for d in home.wire.requests(kind="map")}
    expect(sent == {8000}, "the second sent something: %s" % sent)
    first.died()


def four(mapper="pcp"):
    return [forward(8000 + i, 18000 + i, name="f%d" % i) for i in range(4)], "{%s}" % mapper


@test(each=["pcp", "nat-pmp"])
def reload_is_a_difference(t, mapper):
    home = t.home()
    gateway = t.miniupnpd(home)
    sections, mappers = four(mapper)
    daemon = t.daemon(home, config(*sections, mappers=mappers))
    daemon.wait_ready()
    asked = daemon.reload(config(
        sections[0],
        forward(8001, 18001, name="renamed"),
        forward(8002, 18002, name="f2", description='"another text"'),
        forward(8009, 18009, name="new"), mappers=mappers))
    gateway.wait_rules([("tcp", port) for port in (18000, 18001, 18002, 18009)], 3)
    daemon.wait_line("reloaded", since=asked)
    t.elapse(1)
    kept = [str(d) for d in home.wire.requests(asked) if d.inside in (8000, 8001, 8002)
            and d.kind in ("map", "delete")]
    expect(not kept, "packets for mappings that did not change: %s" % kept)
    removed = home.wire.requests(asked, "delete")
    expect({d.inside for d in removed} == {8003}, "deleted: %s" % {d.inside for d in removed})

    later = now()
    daemon.reload(config(forward(8000, 18100, name="f0"), *sections[1:3],
                         forward(8009, 18009, name="new"), mappers=mappers))
    gateway.wait_rules([("tcp", port) for port in (18100, 18001, 18002, 18009)], 5)
    touched = {d.inside for d in home.wire.requests(later) if d.kind in ("map", "delete")}
    expect(touched == {8000}, "packets for %s, not for the changed one only" % touched)


@test()
def a_bad_file_changes_nothing(t):
    home = t.home()
    gateway = t.miniupnpd(home)
    sections, mappers = four()
    daemon = t.daemon(home, config(*sections, mappers=mappers))
    daemon.wait_ready()
    t.elapse(0.5)
    asked = daemon.reload(config(forward(8009, 18009), mappers=mappers) + bad_config())
    daemon.wait_line("(?i)reject", since=asked)
    daemon.wait_told("READY", "1", since=asked)
    t.elapse(1)
    expect(not home.wire.requests(asked), "a rejected file made the daemon send packets")
    expect(len(gateway.rules()) == 4, "rules: %s" % sorted(gateway.rules()))
    daemon.died()


@test(each=["pcp", "nat-pmp"])
def sigusr1_renews_everything(t, mapper):
    home = t.home()
    t.miniupnpd(home)
    sections, mappers = four(mapper)
    daemon = t.daemon(home, config(*sections, mappers=mappers))
    daemon.wait_ready()
    t.elapse(0.5)
    asked = now()
    daemon.process.signal(signal.SIGUSR1)
    t.until(lambda: {d.inside for d in home.wire.requests(asked, "map")} == {8000, 8001, 8002, 8003},
            2 + MARGIN, "a renewal of all four mappings")
    requests = home.wire.requests(asked, "map")
    expect(len(requests) == 4, "%d requests for four mappings" % len(requests))
    expect(all(d.outside == d.inside + 10000 for d in requests),
           "a renewal suggests another port than the granted one")


@test()
def talks_to_systemd(t):
    home = t.home()
    t.miniupnpd(home)
    sections, mappers = four()
    daemon = t.daemon(home, config(*sections, mappers=mappers), watchdog=2)
    ready = daemon.wait_ready()
    granted = {d.inside for d in home.wire.replies(kind="map") if d.time <= ready + 0.05}
    expect(granted == {8000, 8001, 8002, 8003}, "ready with %s granted only" % sorted(granted))
    wanted = "4 of 4 forwards mapped via pcp, external 11.22.33.1"
    t.until(lambda: daemon.status() == wanted, 3, "STATUS=%s, not %r" % (wanted, daemon.status()))

    begin = now()
    t.elapse(7)
    beats = [stamp for stamp, message in daemon.said if message.get("WATCHDOG") == "1"]
    gaps = [b - a for a, b in zip([begin] + beats, beats + [now()]) if b > begin]
    expect(max(gaps) < 2, "%.1f s between two watchdog pings" % max(gaps))

    asked = daemon.reload(config(*sections[:3], mappers=mappers))
    stamp, message = daemon.wait_told("RELOADING", "1", since=asked)
    moment = int(message.get("MONOTONIC_USEC", 0)) / 1e6
    expect(abs(moment - time.clock_gettime(time.CLOCK_MONOTONIC)) < 5,
           "MONOTONIC_USEC=%s" % message.get("MONOTONIC_USEC"))
    daemon.wait_told("READY", "1", since=stamp)
    wanted = "3 of 3 forwards mapped via pcp, external 11.22.33.1"
    t.until(lambda: daemon.status() == wanted, 3, "STATUS=" + wanted)

    asked = now()
    status, _ = daemon.stop()
    expect(status == 0, "exit status %s" % status)
    t.until(lambda: daemon.told("STOPPING", "1", asked), 1, "STOPPING=1")


@test()
def no_watchdog_pings_unasked(t):
    home = t.home()
    t.miniupnpd(home)
    daemon = t.daemon(home, config(forward(8000)))
    daemon.wait_ready()
    t.elapse(3)
    expect(not daemon.told("WATCHDOG"), "WATCHDOG=1 without WATCHDOG_USEC")


@test()
def nothing_to_do_is_ready_at_once(t):
    home = t.home()
    t.miniupnpd(home)
    daemon = t.daemon(home, config())
    took = daemon.wait_ready() - daemon.started
    expect(took < 1 + MARGIN, "READY=1 after %.1f s" % took)
    t.elapse(1)
    expect(not home.wire.requests(), "packets to a gateway that no forward uses")


HOOK = """#!/bin/sh
echo "$PORTLEASE_EVENT $PORTLEASE_FORWARD $PORTLEASE_EXTERNAL_ADDRESS:$PORTLEASE_EXTERNAL_PORT" >>%s
"""


@test(seconds=8)
def hooks_are_told(t):
    home = t.home()
    gateway = t.fakegw(home, grant=3600)
    told, program = os.path.join(t.lab.own_folder("hook"), "told"), t.lab.path("hook.sh")
    with open(program, "w") as f:
        f.write(HOOK % told)
    os.chmod(program, 0o755)
    daemon = t.daemon(home, config(forward(8000, 18000, name="web"), mappers="{pcp}",
                                   on_change='{"%s"}' % program))

    def heard():
        return open(told).read().splitlines() if os.path.exists(told) else []

    wanted = ["mapped web 203.0.113.7:18000"]
    t.until(lambda: heard() == wanted, 3, "the hook to hear of the mapping")
    gateway.set(external="203.0.113.8")
    daemon.renew()
    wanted.append("changed web 203.0.113.8:18000")
    t.until(lambda: heard() == wanted, 3, "the hook to hear of the new address")
    daemon.stop()
    expect([line.split()[0] for line in heard()] == ["mapped", "changed", "released"],
           "the hook heard %s" % heard())


# ---- what it costs ------------------------------------------------------------------------------

def switches(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M)[1])


@test(seconds=130, slow=True, limit=900)
def idles(t):
    """At most 3 wake-ups a minute: the probe, its answer, and one to spare."""
    minutes = 10 if t.long else 2
    home = t.home()
    t.miniupnpd(home)
    sections = [forward(8000 + i, 18000 + i) for i in range(10)]
    daemon = t.daemon(home, config(*sections, mappers="{pcp}", lifetime=3600, probe_interval=60),
                      watchdog=30)
    daemon.wait_ready()
    t.elapse(8)  # the start and what follows it
    begin, before = now(), switches(daemon.process.pid)
    t.elapse(60 * minutes, step=1)
    made = switches(daemon.process.pid) - before
    beats = sum(1 for stamp, message in daemon.said if stamp > begin and "WATCHDOG" in message)
    renewals = len(home.wire.requests(begin, "map"))
    idle = made - beats - 2 * renewals
    expect(beats <= 4 * minutes + 1, "%d watchdog pings in %d minutes" % (beats, minutes))
    expect(home.wire.requests(begin), "not even the epoch was asked")
    expect(idle <= 3 * minutes, "%d wake-ups in %d minutes (and %d for watchdog and renewals)" % (
        idle, minutes, made - idle))


def private_dirty(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Private_Dirty:\s*(\d+) kB", f.read(), re.M)[1]) * 1024


@test(seconds=15, limit=120, plain=True)
def memory(t):
    home = t.home()
    t.fakegw(home)
    used = {}
    for count in (10, 1010):
        sections = [forward(10000 + i, name="f%d" % i) for i in range(count)]
        daemon = t.daemon(home, config(*sections, mappers="{pcp}"), name="with-%d" % count)
        t.until(lambda: len({d.inside for d in home.wire.replies(daemon.started, "map")}) == count,
                60, "%d mappings" % count, step=0.2)
        daemon.wait_ready()
        t.elapse(2)
        used[count] = private_dirty(daemon.process.pid)
        daemon.stop()
    each = (used[1010] - used[10]) / 1000
    expect(used[10] <= 700 * 1024, "%d kB private memory with 10 mappings" % (used[10] // 1024))
    expect(each <= 512, "%d bytes for each of 1,000 further mappings" % each)
