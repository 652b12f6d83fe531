#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Hooks and env files, end to end: the real daemon and the scripted gateway on 127.0.0.x, and the
ready-made hooks with the programs they are for. Needs root: packages that are missing are installed,
and everything runs in network namespaces of its own.

usage: run.py [--portleased FILE] [--fakegw FILE] [--jobs N] [--exactly NAME] [NAME…]
NAME: only tests with that in their names.
Ends with "hooks: N passed, N failed".
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import traceback

sys.dont_write_bytecode = True

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("top_builddir", TOP)
PACKAGES = {"transmission-daemon": "transmission-daemon", "transmission-remote": "transmission-cli",
            "qbittorrent-nox": "qbittorrent-nox", "curl": "curl", "nft": "nftables",
            "ip": "iproute2", "nsupdate": "bind9-dnsutils"}
CLONE_NEWNET = 0x40000000

sys.path.append(os.path.dirname(HERE))
from abreast import abreast  # noqa: E402


def install():
    with open("/run/portleased-hooks.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another suite may be at it
        missing = sorted({package for program, package in PACKAGES.items()
                          if not shutil.which(program)})
        if missing:
            install_packages(missing)


def install_packages(missing):
    # Their services must not start here; the test starts its own.
    policy = "/usr/sbin/policy-rc.d"
    ours = not os.path.exists(policy)
    if ours:
        with open(policy, "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install_them = ["apt-get", "install", "-y", "-q", "--no-install-recommends"] + missing
    try:
        if subprocess.run(install_them, env=environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            subprocess.run(["apt-get", "update", "-q"], env=environment, stdout=subprocess.DEVNULL,
                           check=False)
            subprocess.run(install_them, env=environment, stdout=subprocess.DEVNULL, check=True)
    finally:
        if ours:
            os.unlink(policy)


def enter_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def collect(names, exactly):
    import test_consumers
    import test_daemon
    import test_rules
    tests = []
    for module in (test_daemon, test_rules, test_consumers):
        for name, function in vars(module).items():
            label = module.__name__[5:] + "." + name[5:].replace("_", "-")
            if name.startswith("test_") and callable(function) and \
                    (not names or any(part in label for part in names)) and \
                    exactly in (None, label):
                tests.append((label, function))
    return tests


def run_one(options, label, function):
    from stage import Stage
    enter_namespace()  # none of the addresses that another test has made are there
    stage = Stage(options)
    try:
        function(stage)
        stage.finish()
        print("ok   %s" % label, flush=True)
        return True
    except Exception as error:
        print("FAIL %s: %s" % (label, error))
        if type(error).__name__ != "Failure":
            traceback.print_exc(file=sys.stdout)
        print(stage.evidence(), flush=True)
        return False
    finally:
        stage.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--portleased", default=os.path.join(BUILD, "portleased"))
    parser.add_argument("--fakegw", default=os.path.join(BUILD, "tests/gateway/fakegw"))
    parser.add_argument("--hooks", default=os.path.join(TOP, "etc/hooks"))
    parser.add_argument("--jobs", type=int, default=3, help="tests at a time (3)")
    parser.add_argument("--exactly", metavar="NAME")
    parser.add_argument("--install", action="store_true", help="only what is missing of packages")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in ("portleased", "fakegw", "hooks"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    if os.geteuid() != 0:
        sys.exit("the tests of hooks need root, for a network namespace and for packages")
    install()
    if options.install:
        return 0
    results = list(abreast(options.jobs, lambda test: run_one(options, *test),
                           collect(options.names, options.exactly)))
    print("hooks: %d passed, %d failed" % (results.count(True), results.count(False)))
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
