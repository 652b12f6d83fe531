#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""portleasectl and the control socket, from outside.
usage: run.py --portleased FILE --portleasectl FILE --fakegw FILE [--exactly NAME] [NAME…]
Ends with "ctl: N passed, N failed"."""

import argparse
import glob
import importlib
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Failure, Home, Skip  # noqa: E402

LIMIT = 120  # seconds for one test that has no limit of its own


def tests():
    folder = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(folder, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in vars(module).items():
            if name.startswith("test_") and function.__module__ == module.__name__:
                yield name[5:].replace("_", "-"), function


def too_long(*_):
    raise Failure("too long")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--portleased", required=True)
    parser.add_argument("--portleasectl", required=True)
    parser.add_argument("--fakegw", required=True)
    parser.add_argument("--exactly", action="append", default=[], dest="names")
    parser.add_argument("names", nargs="*", action="extend")
    options = parser.parse_args()
    for name in ("portleased", "portleasectl", "fakegw"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    passed = failed = 0
    signal.signal(signal.SIGALRM, too_long)
    for name, function in tests():
        if options.names and name not in options.names:
            continue
        if getattr(function, "needs_root", False) and os.geteuid() != 0:
            print("skip %s: needs root" % name)
            continue
        home, began = Home(options), time.monotonic()
        signal.alarm(getattr(function, "limit", LIMIT))
        try:
            function(home)
            home.close(True)
        except Skip as reason:
            print("skip %s: %s" % (name, reason))
            home.close(False)
        except Exception:  # noqa: B902 – whatever went wrong, the next test is to run
            failed += 1
            print("FAIL %s" % name)
            traceback.print_exc(limit=-4, file=sys.stdout)
            home.close(False)
        else:
            passed += 1
            print("ok   %s %.1f s" % (name, time.monotonic() - began))
        signal.alarm(0)
        sys.stdout.flush()
    if passed + failed == 0:
        failed = 1
    print("ctl: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
