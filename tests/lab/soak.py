#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The soak: one home, two scripted gateways, and a fault every few seconds, for an hour or as told.

At the end every forward must be mapped, no daemon may have had more memory and descriptors at its end
than at its start, and nothing may be left at the gateways once it has stopped. For the first two thirds
of the time it is one and the same daemon; then it is killed and replaced, too. Faults are drawn by a
seed, which is printed.

    sudo tests/lab/soak.py --portleased BUILD/portleased --fakegw BUILD/fakegw [--seconds 3600] [--seed N]
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile

from daemon import SANITIZER, Daemon, config, forward
from fake import FakeGateway
from home import Home
from lab import Failure, Lab, Stopped, now, stopping, sweep
from run import usable_by_anyone

FORWARDS = 12
GRANT = 60  # seconds: a lease that cannot be released any more is gone by then
SETTLE = 100  # seconds for everything to be mapped after the last fault
GROWTH = 400 * 1024  # octets of private memory


def number(pid, file, pattern):
    with open("/proc/%d/%s" % (pid, file)) as f:
        return int(re.search(pattern, f.read(), re.M)[1])


class Soak:
    def __init__(self, lab, options):
        self.lab, self.seconds = lab, options.seconds
        self.chance = random.Random(options.seed)
        self.sanitized = b"__asan_" in open(options.portleased, "rb").read()
        self.home = Home(lab, gateways=2)
        self.gateways = [FakeGateway(self.home, box, options.fakegw,
                                     {"grant": GRANT, "epoch": 1000 * (i + 1)})
                         for i, box in enumerate((self.home.gw, self.home.gw2))]
        self.at = 0  # the gateway that is the default
        self.address = 2
        self.extra = False  # in the configuration
        self.home.wire.paused = True
        self.daemon = Daemon(lab, self.home.lan, options.portleased, self.text(), start=False)
        self.counts = {}
        self.first = None  # (memory, descriptors) of this daemon
        self.longest, self.sizes = 0, "nothing measured"  # of the daemon that lived longest
        self.problems = []

    # ---- the daemon -------------------------------------------------------------------------

    def text(self):
        sections = [forward(8000 + i, 18000 + i, "both" if i % 3 == 0 else "tcp", name="f%d" % i)
                    for i in range(FORWARDS)]
        if self.extra:
            sections.append(forward(8100, 18100, name="extra"))
        return config(*sections, probe_interval=5, recovery_delay=1, ready_timeout=5)

    def wanted(self):
        keys = {(6, 8000 + i) for i in range(FORWARDS)}
        keys |= {(17, 8000 + i) for i in range(0, FORWARDS, 3)}
        return keys | ({(6, 8100)} if self.extra else set())

    def start(self):
        self.daemon.start("-l", "info")
        self.first = None

    def measure(self):
        pid = self.daemon.process.pid
        return (number(pid, "smaps_rollup", r"^Private_Dirty:\s*(\d+) kB") * 1024,
                len(os.listdir("/proc/%d/fd" % pid)))

    def check_size(self):
        if self.first is None:
            return
        memory, files = self.measure()
        if self.longest < now() - self.daemon.started:
            self.longest = now() - self.daemon.started
            self.sizes = "in %d s from %d to %d kB of private memory, from %d to %d descriptors" % (
                self.longest, self.first[0] // 1024, memory // 1024, self.first[1], files)
        if not self.sanitized and memory > self.first[0] + GROWTH:
            self.problems.append("private memory grew from %d to %d kB" % (
                self.first[0] // 1024, memory // 1024))
        if files > self.first[1] + 3:  # a path that drains, a document being written
            self.problems.append("from %d to %d descriptors" % (self.first[1], files))

    # ---- faults -----------------------------------------------------------------------------

    def gateway(self):
        return self.gateways[self.at]

    def restart_gateway(self):
        self.gateway().tell(self.chance.choice(
            ("reboot silent epoch 0", "reboot announce copies 3", "reboot burst")))

    def forget(self):
        self.gateway().tell("forget")

    def silence(self):
        self.gateway().set(silence="on")
        self.lab.elapse(self.chance.uniform(1, 6))
        self.gateway().set(silence="off")

    def refuse(self):
        self.gateway().set(refuse="on")
        self.lab.elapse(self.chance.uniform(0.5, 3))
        self.gateway().set(refuse="off")

    def lose(self):
        self.gateway().set(**{"drop-replies": 0.4})
        self.lab.elapse(self.chance.uniform(1, 5))
        self.gateway().set(**{"drop-replies": 0})

    def move_route(self):
        self.at = 1 - self.at
        self.home.route((self.home.gw, self.home.gw2)[self.at])

    def change_address(self):
        old, self.address = self.address, 2 if self.address != 2 else self.chance.randint(50, 99)
        self.home.lan.ip("addr del 10.77.0.%d/24 dev eth0" % old,
                         "addr add 10.77.0.%d/24 dev eth0" % self.address)
        self.home.route((self.home.gw, self.home.gw2)[self.at])

    def flap(self):
        self.home.switch.ip("link set p1 down")
        self.lab.elapse(self.chance.uniform(0.05, 3))
        self.home.switch.ip("link set p1 up")

    def no_route(self):
        self.home.lan.ip("route del default")
        self.lab.elapse(self.chance.uniform(0.05, 3))
        self.home.route((self.home.gw, self.home.gw2)[self.at])

    def reload(self):
        self.extra = not self.extra
        self.daemon.reload(self.text())

    def reload_broken(self):
        self.daemon.reload("forward {\n")
        self.lab.elapse(0.3)
        self.daemon.write(self.text())

    def renew(self):
        self.daemon.renew()

    def kill(self):
        self.check_size()
        self.daemon.process.signal(signal.SIGKILL)
        self.daemon.process.wait_exit(5)
        self.start()

    def upgrade(self):
        self.check_size()
        self.daemon.stop(signal.SIGQUIT)
        self.start()

    FAULTS = ("restart_gateway", "restart_gateway", "forget", "silence", "refuse", "lose", "move_route",
              "move_route", "change_address", "flap", "no_route", "reload", "reload_broken", "renew")
    RESTARTS = ("kill", "upgrade")

    # ---- the whole --------------------------------------------------------------------------

    def is_mapped(self):
        """All that is wanted is at the gateway, for our address, and the daemon says so."""
        mine = "10.77.0.%d" % self.address
        held = {(m["protocol"], m["internal"]) for m in self.gateway().table()
                if m["client"] == mine}
        count = FORWARDS + self.extra
        return held == self.wanted() and self.daemon.status().startswith(
            "%d of %d " % (count, count))

    def trim(self):
        """An hour's log is not needed."""
        for process in [self.daemon.process] + [g.process for g in self.gateways]:
            found = process.find(SANITIZER)
            if found:
                raise Failure("the log says: " + found[1])
            del process.lines[:-200]

    def work(self):
        self.start()
        self.lab.until(self.is_mapped, 20, "everything to be mapped at the start", step=0.2)
        end = now() + self.seconds
        begun = now()
        while now() < end:
            if self.first is None and now() > begun + 10:
                self.first = self.measure()
            late = now() > end - self.seconds / 3
            fault = self.chance.choice(self.FAULTS + (self.RESTARTS if late else ()))
            self.counts[fault] = self.counts.get(fault, 0) + 1
            restarted = fault in self.RESTARTS
            getattr(self, fault)()
            begun = now() if restarted else begun
            self.lab.elapse(self.chance.uniform(0.2, 5))
            self.daemon.died()
            self.trim()
        self.lab.until(self.is_mapped, SETTLE, "everything to be mapped after the last fault", step=0.2)
        self.lab.elapse(8)  # what drains, drains; the document is written
        self.check_size()
        status, took = self.daemon.stop()
        if status:
            self.problems.append("exit status %s" % status)
        if took > 4:
            self.problems.append("it took %.1f s to stop" % took)
        mine = "10.77.0.%d" % self.address
        left = [m for m in self.gateway().table() if m["client"] == mine]
        if left:
            self.problems.append("%d mappings left at the gateway: %s" % (len(left), left[0]))
        # Of other addresses, and at the other gateway: the daemon may not have got there any more.
        self.lab.until(lambda: not any(g.table() for g in self.gateways), GRANT + 5,
                       "the last lease to end", step=0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--portleased", required=True)
    parser.add_argument("--fakegw", required=True)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("soak: needs root, to make network namespaces", file=sys.stderr)
        return 77
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, lambda *_: stopping.set())
    folders = os.path.join(tempfile.gettempdir(), "portleased-lab-")
    sweep(folders)
    base = folders + str(os.getpid())
    os.mkdir(base, 0o755)
    lab, soak, reasons = None, None, []
    try:
        options.portleased = usable_by_anyone(options.portleased, base)
        options.fakegw = usable_by_anyone(options.fakegw, base)
        print("soak: %d s, --seed %d" % (options.seconds, options.seed), flush=True)
        lab = Lab("soak", base, options.seconds + 600)
        soak = Soak(lab, options)
        soak.work()
    except Stopped:
        reasons.append("stopped from outside")
    except Failure as failure:
        reasons.append(str(failure))
    finally:
        if soak:
            reasons = soak.problems + reasons
            print("soak: the daemon that lived longest: " + soak.sizes)
            print("soak: faults: %s" % ", ".join("%s %d" % item for item in
                                                 sorted(soak.counts.items())))
            if reasons:
                print(soak.daemon.tail(60))
        if lab:
            lab.close()
        shutil.rmtree(base, ignore_errors=True)
    for reason in reasons:
        print("FAIL soak: " + reason)
    print("soak: %d passed, %d failed" % (not reasons, len(reasons)))
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
