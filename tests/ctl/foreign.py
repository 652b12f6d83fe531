# SPDX-License-Identifier: ISC
"""Programs of others that a test needs and that no package installs for it: the varlinkctl of a
newer Debian, and Prometheus without its service. They are unpacked once and kept outside of the
tree, in $LAB_CACHE or /var/tmp/portleased-lab, where CI may keep them, too. Nothing is configured
there, and nothing is started.

usage: foreign.py       makes all of them beforehand"""

import fcntl
import glob
import os
import re
import shutil
import subprocess

from harness import Skip, check

CACHE = os.environ.get("LAB_CACHE") or "/var/tmp/portleased-lab"


def mirror():
    """Where apt gets this machine's own release from."""
    with open("/etc/os-release") as f:
        name = re.search(r'^VERSION_CODENAME="?(\w+)', f.read(), re.M)[1]
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)",
                           "Created-By: Packages"], capture_output=True, text=True, timeout=60,
                          check=False)
    sites = [line.split()[2] for line in done.stdout.splitlines()
             if line.split()[:2] == [name, "main"]]
    if not sites:
        raise Skip("apt has no source for %s main" % name)
    return sites[0]


def tool(*argv, cwd):
    """A step that may fail for want of a network: then there is nothing to test with."""
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, check=False, env=dict(os.environ, LC_ALL="C"))
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise Skip("%s: %s" % (argv[0], " / ".join(said[-2:]) or done.returncode))


def kept(name, make):
    """The folder `name`, that make(folder) has filled at some time."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    path = os.path.join(CACHE, "%s-%s" % (name, os.uname().machine))
    os.makedirs(CACHE, 0o755, exist_ok=True)
    with open(os.path.join(CACHE, name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            half = path + ".half"
            shutil.rmtree(half, ignore_errors=True)
            os.mkdir(half)
            make(half)
            os.rename(half, path)
    return path


def unpack(pattern, root):
    found = glob.glob(pattern)
    check(found, "no package is " + pattern)
    for package in found:
        tool("dpkg-deb", "-x", package, root, cwd="/")


def trixie():
    """A root with systemd 257, enough for its programs that need no service."""
    def make(root):
        if shutil.which("debootstrap") is None:
            raise Skip("debootstrap is not installed")
        # It ends with all that it started, when it is ended.
        tool("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "debootstrap",
             "--foreign", "--variant=minbase", "--include=systemd", "trixie", root, mirror(),
             cwd="/")
        archives = os.path.join(root, "var/cache/apt/archives")
        unpack(os.path.join(archives, "*systemd*.deb"), root)
        shutil.rmtree(archives)
        os.makedirs(os.path.join(root, "mnt"), exist_ok=True)
        proc = os.path.join(root, "proc")
        if os.path.islink(proc):  # debootstrap's, where it has not finished
            os.unlink(proc)
        os.makedirs(proc, exist_ok=True)
    return kept("varlinkctl-trixie", make)


def prometheus():
    """The folder of prometheus and promtool. Installed as a package, it would run at once."""
    def make(root):
        tool("apt-get", "-q", "download", "prometheus", cwd=root)
        unpack(os.path.join(root, "*.deb"), root)
        for name in glob.glob(os.path.join(root, "*.deb")):
            os.unlink(name)
    return os.path.join(kept("prometheus", make), "usr/bin")


if __name__ == "__main__":
    for one in (prometheus, trixie):
        try:
            one()
        except Skip as reason:
            print("foreign: %s: %s" % (one.__name__, reason))
