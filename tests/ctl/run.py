#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""portleasectl and the control socket, from outside.
usage: run.py --portleased FILE --portleasectl FILE --fakegw FILE [--jobs N] [--exactly NAME] [NAME…]
Ends with "ctl: N passed, N failed"."""

import argparse
import glob
import importlib
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from abreast import abreast  # noqa: E402
from harness import Failure, Home, Skip  # noqa: E402

LIMIT = 120  # seconds for one test that has no limit of its own


def tests():
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in vars(module).items():
            if name.startswith("test_") and function.__module__ == module.__name__:
                yield name[5:].replace("_", "-"), function


def too_long(*_):
    raise Failure("too long")


def run_one(options, name, function):
    """True, False, or None when it was skipped."""
    if getattr(function, "needs_root", False) and os.geteuid() != 0:
        print("skip %s: needs root" % name)
        return None
    home, began = Home(options), time.monotonic()
    signal.alarm(getattr(function, "limit", LIMIT))
    try:
        function(home)
        home.close(True)
    except Skip as reason:
        print("skip %s: %s" % (name, reason))
        home.close(False)
        return None
    except Exception:  # noqa: B902 – whatever went wrong, the next test is to run
        print("FAIL %s" % name)
        traceback.print_exc(limit=-4, file=sys.stdout)
        home.close(False)
        return False
    else:
        print("ok   %s %.1f s" % (name, time.monotonic() - began))
        return True
    finally:
        signal.alarm(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--portleased", required=True)
    parser.add_argument("--portleasectl", required=True)
    parser.add_argument("--fakegw", required=True)
    parser.add_argument("--jobs", type=int, default=4, help="tests at a time (4)")
    parser.add_argument("--exactly", action="append", default=[], dest="names")
    parser.add_argument("names", nargs="*", action="extend")
    options = parser.parse_args()
    for name in ("portleased", "portleasectl", "fakegw"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    signal.signal(signal.SIGALRM, too_long)
    chosen = [(name, function) for name, function in tests()
              if not options.names or name in options.names]
    results = list(abreast(options.jobs, lambda test: run_one(options, *test), chosen))
    failed = results.count(False)
    if results.count(None) == len(results):
        failed = 1
    print("ctl: %d passed, %d failed" % (results.count(True), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
