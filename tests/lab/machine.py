# SPDX-License-Identifier: ISC
"""A Debian with its own systemd in lan, and portleased installed there as `make install` does it.

The system is made once by debootstrap and kept outside of the tree, in $LAB_CACHE or
/var/tmp/portleased-lab; every machine changes a layer of its own above it, in memory. Mounts are
made in a namespace, and are gone with it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import threading
import time

from lab import PREFIX, Failure, expect, now, run

CACHE = os.environ.get("LAB_CACHE") or "/var/tmp/portleased-lab"
PACKAGES = "dbus,systemd,systemd-sysv"
INSTALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hooks", "run.py")
lock = threading.Lock()
prepared = {}  # by the folder of the run

BOOT = """
set -e
root=$1 lower=$2 stage=$3 name=$4 net=$5
shift 5
for cgroup; do
	mkdir "$cgroup"
	echo $$ >"$cgroup/cgroup.procs"
done
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay -o "lowerdir=$lower,upperdir=$root/upper,workdir=$root/work" overlay "$root/all"
tar -C "$stage" -c . | tar -C "$root/all" -x --keep-directory-symlink
exec systemd-nspawn --quiet --directory="$root/all" --machine="$name" --boot --register=no \
	--keep-unit --console=pipe --network-namespace-path="$net" --capability=CAP_NET_ADMIN
"""


# ---- the system that all share ------------------------------------------------------------------

def codename():
    with open("/etc/os-release") as f:
        found = re.search(r'^VERSION_CODENAME="?(\w+)', f.read(), re.M)
    expect(found, "/etc/os-release has no VERSION_CODENAME: which Debian is this?")
    return found[1]


def mirror(name):
    """Where apt gets this release from."""
    lines = run("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)",
                "Created-By: Packages").splitlines()
    sites = [line.split()[2] for line in lines if line.split()[:2] == [name, "main"]]
    expect(sites, "apt has no source for %s main: nothing to make a system from" % name)
    return sites[0]


def bootstrap(lab, name, target):
    """Two or three minutes. Ends with all that it started when it is killed."""
    expect(shutil.which("debootstrap"), "debootstrap is not installed: packages.sh test")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
               "debootstrap", "--variant=minbase", "--include=" + PACKAGES, name, target, mirror(name)]
    log = lab.path("debootstrap.log")
    with open(log, "w") as f:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    try:
        lab.until(lambda: child.poll() is not None, 360, "debootstrap to end", step=0.2)
    finally:
        child.kill()
        child.wait()
    if child.returncode:
        with open(log) as f:
            end = " / ".join(f.read().splitlines()[-3:])
        raise Failure("debootstrap %s: status %d: %s" % (name, child.returncode, end))


def system(lab):
    """The folder of a system, which knows nothing of us: it can be made before anything is built."""
    name = codename()
    path = os.path.join(CACHE, "-".join((name, os.uname().machine, PACKAGES.replace(",", "+"))))
    os.makedirs(CACHE, 0o755, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)  # another run may be at it
        if not os.path.isdir(path):
            half = path + ".half"
            shutil.rmtree(half, ignore_errors=True)
            bootstrap(lab, name, half)
            shutil.rmtree(os.path.join(half, "var/cache/apt/archives"), ignore_errors=True)
            os.rename(half, path)
    return path


def prepare(lab, build):
    """The folder of the system, and one with what `make install` puts into it: made once in a run,
    or failed once."""
    base = os.path.dirname(lab.folder)
    with lock:
        if base not in prepared:
            stage = os.path.join(base, "installed")
            try:
                prepared[base] = system(lab), stage
                run("make", "-C", build, "install", "DESTDIR=" + stage)
            except Failure as problem:
                prepared[base] = problem
        if isinstance(prepared[base], Failure):
            raise prepared[base]
        return prepared[base]


def cgroups(name):
    """New control groups, below our own, in each of the hierarchies that systemd uses."""
    with open("/proc/self/cgroup") as f:
        own = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    made = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            before, after = line.split(" - ")
            kind, _, options = after.split()
            if kind == "cgroup2":
                made.append(os.path.join(before.split()[4] + own[""], name))
            elif kind == "cgroup" and "name=systemd" in options.split(","):
                made.append(os.path.join(before.split()[4] + own["name=systemd"], name))
    expect(made, "no cgroup hierarchy for systemd is mounted")
    for path in made:
        for old in os.listdir(os.path.dirname(path)):  # of a run that was killed
            match = re.fullmatch(PREFIX + r"(\d+)n\d+m", old)
            if match and not os.path.exists("/proc/" + match[1]):
                remove_cgroup(os.path.join(os.path.dirname(path), old), 0)
    return made


def remove_cgroup(top, seconds):
    """With those below, as soon as nothing runs in them."""
    limit = now() + seconds
    while True:
        for path, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if not os.path.isdir(top) or now() >= limit:
            return
        time.sleep(0.02)


# ---- a machine ----------------------------------------------------------------------------------

class Machine:
    """Runs when made. What is asked for is asked inside, as root."""

    said = ()

    def __init__(self, lab, namespace, build):
        self.lab, self.file = lab, "portleased.service"
        self.name = lab.tag + "m"
        self.leader = None
        self.cgroups = []
        lower, stage = prepare(lab, build)
        os.mkdir(lab.path("root"), 0o755)
        self.cgroups = cgroups(self.name)
        lab.keep(self)
        self.process = namespace.spawn("unshare", "--mount", "sh", "-c", BOOT, "boot",
                                       lab.path("root"), lower, stage, self.name, namespace.path,
                                       *self.cgroups)
        self.leader = lab.until(self.first_process, 20, "the machine's systemd")
        lab.until(lambda: self.run("systemctl", "is-active", "multi-user.target", check=False) ==
                  "active\n", 30, "the machine to boot")
        for name in ("portleased", "portleasectl"):
            self.bring_libraries(os.path.join(build, name))

    def first_process(self):
        expect(self.process.running(), "the machine did not boot: " +
               " / ".join(line for _, line in self.process.lines[-5:]))
        with contextlib.suppress(OSError):
            with open("/proc/%d/task/%d/children" % ((self.process.pid,) * 2)) as f:
                for pid in f.read().split():
                    with open("/proc/%s/comm" % pid) as comm:
                        if comm.read() == "systemd\n":  # before: still nspawn, on its way in
                            return int(pid)
        return None

    # ---- what is there ----

    def path(self, inside):
        """The name, out here, of an absolute one in there."""
        return "/proc/%d/root%s" % (self.leader, inside)

    def exists(self, inside):
        return os.path.lexists(self.path(inside))

    def read(self, inside):
        """None when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            with open(self.path(inside)) as f:
                return f.read()
        return None

    def write(self, inside, text, mode=0o644):
        path = self.path(inside)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)

    def bring(self, *programs):
        """Programs of this host with their libraries."""
        with lock:
            if not all(map(shutil.which, programs)):
                subprocess.run(["python3", "-B", INSTALL, "--install"], check=True, timeout=300,
                               stdout=subprocess.DEVNULL)
        for program in map(shutil.which, programs):
            self.copy(program)
            self.bring_libraries(program)

    def bring_libraries(self, program):
        """Those that are not there yet; the system inside is of the same release."""
        for name in re.findall(r"=> (/\S+)", run("ldd", program)):
            self.copy(name)

    def copy(self, name):
        if not os.path.exists(self.path(name)):
            shutil.copy(name, self.path(name))

    # ---- what it does ----

    def call(self, *argv, user=None):
        """Returns (status, output with errors)."""
        if user is not None:
            argv = ("setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups") + argv
        done = subprocess.run(("nsenter", "-t", str(self.leader), "-a", "--") + argv, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout

    def run(self, *argv, check=True):
        status, output = self.call(*argv)
        if check and status:
            raise Failure("%s: status %d: %s" % (" ".join(argv), status, output.strip()[:300]))
        return output

    def systemctl(self, *argv):
        return self.run("systemctl", *argv)

    def show(self, name, unit="portleased.service"):
        return self.systemctl("show", "--value", "--property=" + name, unit).rstrip("\n")

    def main_pid(self, unit="portleased.service"):
        return int(self.show("MainPID", unit))

    def kill(self, pid, number):
        self.run("sh", "-c", "kill -%d %d" % (number, pid))

    def journal(self, *more):
        return self.run("journalctl", "--no-pager", "--quiet", "--output=cat", *more)

    # ---- as the other daemons of a case ----

    def tail(self, n=40):
        if self.leader is None:
            return "\n".join("    " + line for _, line in self.process.lines[-n:])
        text = self.run("journalctl", "--no-pager", "--quiet", "--output=short-monotonic",
                        "--lines=%d" % n, check=False)
        return "\n".join("    " + line for line in text.splitlines())

    def finish(self):
        """Nothing may have died that was not killed by the test."""
        failed = self.systemctl("list-units", "--failed", "--plain", "--no-legend").strip()
        expect(not failed, "at the end has failed: " + failed)

    def close(self):
        """After nspawn, and with it everything inside."""
        for path in self.cgroups:
            remove_cgroup(path, 5)
        shutil.rmtree("/run/systemd/nspawn/propagate/" + self.name, ignore_errors=True)
