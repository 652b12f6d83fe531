#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs the lab: portleased against real and scripted gateways in network namespaces.

Needs root, miniupnpd, nftables, util-linux and iproute2; see README.md.
"""

import argparse
import contextlib
import fnmatch
import glob
import importlib
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

import capture
import case
import lab
import machine

HERE = os.path.dirname(os.path.abspath(__file__))
OWN_THREAD = 20  # seconds: tests that take longer mostly wait, so they all run side by side
PAUSE = 0.4  # seconds between their starts


class Report:
    def __init__(self, total):
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.total = total

    def tell(self, verdict, name, reason="", evidence=""):
        with self.lock:
            if verdict == "ok":
                self.passed += 1
            elif verdict == "skip":
                self.skipped += 1
            else:
                self.failed += 1
            print("%s %s%s" % (verdict, name, ": " + reason if reason else ""), flush=True)
            if evidence:
                print(evidence, flush=True)


class Runner:
    def __init__(self, options, tests):
        self.options = options
        self.report = Report(len(tests))
        self.labs = set()
        self.lock = threading.Lock()
        self.threads = []
        short, plain = queue.SimpleQueue(), queue.SimpleQueue()
        for test in sorted(tests, key=lambda test: -test.seconds):
            if test.plain:
                plain.put(test)
            elif test.seconds >= OWN_THREAD:
                self.threads.append(threading.Thread(target=self.run, args=(test,), daemon=True))
            else:
                short.put(test)
        for waiting in [plain] + options.jobs * [short]:
            self.threads.append(threading.Thread(target=self.work, args=(waiting,), daemon=True))

    def work(self, tests):
        with contextlib.suppress(queue.Empty):
            while not lab.stopping.is_set():
                self.run(tests.get_nowait())

    def run(self, test):
        begin = lab.now()
        try:
            made = case.Case(self.options, test)
        except lab.Skipped as why:
            self.report.tell("skip", test.name, str(why))
            return
        with self.lock:
            self.labs.add(made.lab)
        try:
            test.function(made, *test.arguments)
            made.finish()
            self.report.tell("ok", test.name)
        except lab.Stopped:
            pass
        except lab.Skipped as why:
            self.report.tell("skip", test.name, str(why))
        except Exception as problem:
            if not lab.stopping.is_set():
                expected = isinstance(problem, lab.Failure)
                reason = str(problem) if expected else traceback.format_exc().strip()
                self.report.tell("FAIL", test.name, reason, made.evidence())
        finally:
            if self.options.capture:
                self.options.capture.add(test.name, made.sent())
            made.lab.close()
            with self.lock:
                self.labs.discard(made.lab)
        if self.options.times:
            print("   %5.1f s %s" % (lab.now() - begin, test.name), flush=True)

    def judge(self):
        """The capture of the whole run is one more test, unless there is nothing wrong with it."""
        told, wrong = self.options.capture.check()
        if not self.options.capture.count and self.report.total > 1:
            wrong.append("nothing was captured")
        if wrong:
            self.report.tell("FAIL", "capture", wrong[0], "\n".join("  " + line for line in wrong[1:20]))
        elif told:
            print("capture: well-formed, says tshark: " + told, flush=True)

    def start(self):
        """One after the other, the longest first: a home takes a second of computing to make, and
        fifty at once leave none for those that already measure."""
        for thread in self.threads:
            if not lab.stopping.is_set():
                thread.start()
                time.sleep(PAUSE if len(self.threads) > 10 else 0)

    def wait(self):
        for thread in self.threads:
            while thread.is_alive():
                thread.join(0.2)

    def close(self):
        """Whatever still runs is ended; on the normal way there is nothing."""
        lab.stopping.set()
        limit = lab.now() + 20
        for thread in self.threads:
            if thread.ident is not None:
                thread.join(max(0.0, limit - lab.now()))
        with self.lock:
            left = list(self.labs)
        for one in left:
            one.close()


class Build:
    """The programs of one build, of which `portleased` can be run by anyone."""

    def __init__(self, portleased, base):
        self.folder = os.path.dirname(os.path.abspath(portleased))
        os.mkdir(base, 0o755)
        self.portleased = usable_by_anyone(portleased, base)
        with open(self.portleased, "rb") as f:
            self.sanitized = b"__asan_" in f.read()


def usable_by_anyone(path, folder):
    """A copy that an unprivileged user can run, wherever the build folder is."""
    if not path:
        return None
    target = os.path.join(folder, os.path.basename(path))
    try:
        shutil.copy(path, target)
        os.chmod(target, 0o755)
    except OSError as problem:
        sys.exit("lab: cannot run %s: %s; build it first" % (path, problem.strerror))
    return target


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave the slow tests out")
    parser.add_argument("--only", metavar="PATTERN", help="tests whose name has this in it")
    parser.add_argument("--exactly", metavar="NAME", help="this test")
    parser.add_argument("--portleased", metavar="PATH", default="src/daemon/portleased")
    parser.add_argument("--plain", metavar="PATH", help="a portleased without sanitizers, for what "
                        "cannot be tested with them")
    parser.add_argument("--fakegw", metavar="PATH", default="tests/gateway/fakegw")
    parser.add_argument("--jobs", type=int, default=4, help="short tests at a time (4)")
    parser.add_argument("--list", action="store_true", help="print the names of the tests")
    parser.add_argument("--capture", metavar="FILE", help="keep all packets that were sent to gateways "
                        "in a pcap file, and have tshark look for malformed ones")
    parser.add_argument("--prepare", action="store_true", help="run nothing, but make the system that "
                        "machines need, if it is not there")
    parser.add_argument("--times", action="store_true", help="print how long each took")
    options = parser.parse_args()
    options.long = os.environ.get("LAB_LONG") == "1"
    return options


def chosen(options):
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        importlib.import_module(os.path.basename(path)[:-3])
    pattern = options.only
    return [test for test in case.TESTS
            if options.exactly in (None, test.name)
            and (not pattern or pattern in test.name or fnmatch.fnmatch(test.name, pattern))
            and not (options.fast and test.slow)]


def prepare(options):
    """Without any build: it may be done while that is made."""
    one = lab.Lab("prepare", options.base, 500)
    try:
        machine.system(one)
    except lab.Failure as problem:
        print("lab: %s" % problem, file=sys.stderr)
        return 1
    finally:
        one.close()
    return 0


def main():
    options = parse()
    tests = chosen(options)
    if options.list:
        print("\n".join(test.name for test in tests))
        return 0
    if os.geteuid() != 0:
        print("lab: needs root, to make network namespaces", file=sys.stderr)
        return 77
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    folders = os.path.join(tempfile.gettempdir(), "portleased-lab-")
    lab.sweep(folders)
    options.base = folders + str(os.getpid())
    os.mkdir(options.base, 0o755)
    runner = None
    try:
        if options.prepare:
            return prepare(options)
        options.tested = Build(options.portleased, os.path.join(options.base, "tested"))
        options.plain = options.plain and Build(options.plain, os.path.join(options.base, "plain"))
        options.fakegw = usable_by_anyone(options.fakegw, options.base)
        if options.capture:
            options.capture = capture.Capture(options.capture)
        runner = Runner(options, tests)
        runner.start()
        runner.wait()
        if options.capture and not lab.stopping.is_set():
            runner.judge()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if runner:
            runner.close()
        shutil.rmtree(options.base, ignore_errors=True)
    print("lab: %d passed, %d failed" % (runner.report.passed, runner.report.failed))
    return 1 if runner.report.failed or not runner.report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
