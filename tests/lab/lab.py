# SPDX-License-Identifier: ISC
"""Networks on one machine: namespaces, processes, capture, waiting.

A Lab is one isolated network with everything that runs in it. Its namespaces have names nobody
else uses, its processes are stopped by pid, and close() takes all of it away again, whatever
happened before. Nothing here knows portleased; see daemon.py.
"""

import contextlib
import ctypes
import glob
import itertools
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time

NOBODY = 65534
PREFIX = "pl"
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
stopping = threading.Event()
serial = itertools.count(1)


class Failure(Exception):
    """What was expected did not happen."""


class Skipped(Exception):
    """The test cannot be run here; the text says why."""


class Stopped(Exception):
    """The run is being ended from outside."""


def now():
    return time.monotonic()


def expect(condition, text):
    if not condition:
        raise Failure(text)


def run(*argv, text=None, check=True, limit=30):
    """Runs a short command to its end and returns its standard output."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=limit)
    if check and done.returncode:
        raise Failure("%s: %s" % (" ".join(argv), (done.stderr or done.stdout).strip()[:300]))
    return done.stdout


# ---- processes -----------------------------------------------------------------------------

def process_start_time(pid):
    """In ticks; None when there is no such process or it is a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def end_foreign(pid, started, seconds=3.0, hard=False):
    """Ends a process that is not our child: only while it is still the one we knew."""
    for number in (signal.SIGKILL,) if hard else (signal.SIGTERM, signal.SIGKILL):
        limit = now() + seconds
        if process_start_time(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        while now() < limit:
            if process_start_time(pid) != started:
                return
            time.sleep(0.01)


class Process:
    """A child in a namespace. Its standard error is kept as lines with the time they came."""

    def __init__(self, lab, namespace, argv, user=None, env=None, input_pipe=False, wrapper=()):
        wrapped = ["nsenter", "--net=" + namespace.path, "--", *wrapper]
        if user is not None:
            wrapped += ["setpriv", "--reuid=%d" % user, "--regid=%d" % user, "--clear-groups",
                        "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
        self.lab = lab
        self.name = os.path.basename(argv[0])
        self.lines = []
        self.text = b""
        self.all_read = False
        self.started = now()
        self.child = subprocess.Popen(
            wrapped + argv, env=env, cwd="/", close_fds=True, start_new_session=True,
            stdin=subprocess.PIPE if input_pipe else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = self.child.pid
        lab.children.append(self)
        self.output = self.child.stdout
        os.set_blocking(self.output.fileno(), False)
        lab.pump.watch(self.output, self.read)

    def read(self):
        try:
            data = os.read(self.output.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self.lab.pump.forget(self.output)
            self.all_read = True
            return
        stamp = now()
        whole = (self.text + data).split(b"\n")
        self.text = whole.pop()
        for line in whole:
            self.lines.append((stamp, line.decode("utf-8", "replace")))

    def running(self):
        return self.child.poll() is None

    def find(self, pattern, since=0.0):
        """The first line that matches, as (time, text, match); None if there is none."""
        for stamp, line in list(self.lines):
            if stamp >= since:
                match = re.search(pattern, line)
                if match:
                    return stamp, line, match
        return None

    def count(self, pattern, since=0.0):
        return sum(1 for t, line in list(self.lines) if t >= since and re.search(pattern, line))

    def wait_line(self, pattern, seconds, since=0.0):
        return self.lab.until(lambda: self.find(pattern, since), seconds,
                              "%s to log /%s/" % (self.name, pattern))

    def signal(self, number):
        self.child.send_signal(number)

    def wait_exit(self, seconds):
        """Waits for the end; returns (exit status, how long it took)."""
        begin = now()
        self.lab.until(lambda: not self.running(), seconds, "%s to end" % self.name, step=0.005)
        took = now() - begin
        self.lab.until(lambda: self.all_read, 5, "the last output of " + self.name, step=0.005)
        return self.child.returncode, took

    def close(self):
        for number, seconds in ((signal.SIGTERM, 4.0), (signal.SIGKILL, 2.0)):
            if self.child.poll() is not None:
                break
            self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


# ---- one thread that reads whatever comes ---------------------------------------------------

class Pump:
    def __init__(self):
        self.selector = selectors.EpollSelector()
        self.lock = threading.RLock()
        self.closed = False
        self.error = None
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def watch(self, thing, ready):
        with self.lock:
            self.selector.register(thing, selectors.EVENT_READ, ready)

    def forget(self, thing):
        with self.lock, contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(thing)

    def work(self):
        while not self.closed:
            with contextlib.suppress(OSError):
                for key, _ in self.selector.select(0.2):
                    with self.lock:
                        if key.fileobj not in self.selector.get_map():
                            continue
                    try:
                        key.data()
                    except OSError:
                        self.forget(key.fileobj)
                    except Exception as problem:  # a defect of the lab: the test must not pass
                        self.error = self.error or problem
                        self.forget(key.fileobj)

    def close(self):
        self.closed = True
        self.thread.join(2.0)
        self.selector.close()


# ---- namespaces ------------------------------------------------------------------------------

class Namespace:
    def __init__(self, lab, role):
        self.lab = lab
        self.role = role
        self.name = lab.tag + role
        self.path = "/run/netns/" + self.name
        run("ip", "netns", "add", self.name)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        with self.inside():
            # No duplicate address detection: an address can be used as soon as it is there.
            for scope in ("all", "default"):
                self.sysctl("ipv6/conf/%s/accept_dad" % scope, 0)
        self.ip("link set lo up")

    @contextlib.contextmanager
    def inside(self):
        """This thread in the namespace: for sockets, which stay where they were made."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(self.fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns " + self.name)
            yield self
        finally:
            if libc.setns(home, CLONE_NEWNET):
                os._exit(70)  # a thread in the wrong network must not go on
            os.close(home)

    def sysctl(self, key, value):
        with contextlib.suppress(FileNotFoundError):
            with open("/proc/sys/net/" + key, "w") as f:
                f.write(str(value))

    def socket(self, *kind):
        with self.inside():
            return socket.socket(*kind)

    def ip(self, *commands):
        run("ip", "-n", self.name, "-batch", "-", text="\n".join(commands) + "\n")

    def run(self, *argv, **more):
        return run("nsenter", "--net=" + self.path, "--", *argv, **more)

    def nft(self, text):
        return self.run("nft", "-f", "-", text=text)

    def spawn(self, *argv, **more):
        return Process(self.lab, self, list(argv), **more)

    def close(self):
        os.close(self.fd)
        for pid in run("ip", "netns", "pids", self.name, check=False).split():
            started = process_start_time(int(pid))
            if started is not None:
                end_foreign(int(pid), started)
        run("ip", "netns", "del", self.name, check=False)


def sweep(folders):
    """Takes away what a run left behind that was killed before it could clean up: its namespaces, and
    its folder, whose name is that of `folders` and its pid."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line.split() else ""
        match = re.fullmatch(PREFIX + r"(\d+)n\d+[a-z0-9]+", name)
        if not match or os.path.exists("/proc/" + match[1]):
            continue
        for pid in run("ip", "netns", "pids", name, check=False).split():
            started = process_start_time(int(pid))
            if started is not None:
                end_foreign(int(pid), started)
        run("ip", "netns", "del", name, check=False)
    for path in glob.glob(folders + "*"):
        pid = path[len(folders):]
        if pid.isdecimal() and not os.path.exists("/proc/" + pid):
            shutil.rmtree(path, ignore_errors=True)


# ---- a lab -----------------------------------------------------------------------------------

class Lab:
    def __init__(self, name, base, limit):
        self.name = name
        self.tag = "%s%dn%d" % (PREFIX, os.getpid(), next(serial))
        self.deadline = now() + limit
        self.folder = os.path.join(base, self.tag)
        self.children = []
        self.namespaces = []
        self.others = []
        self.closed = False
        self.gone = threading.Event()
        self.lock = threading.Lock()
        os.mkdir(self.folder, 0o755)
        self.pump = Pump()

    def namespace(self, role):
        with self.lock:
            if self.closed or stopping.is_set():
                raise Stopped()
            made = Namespace(self, role)
            self.namespaces.append(made)
            return made

    def keep(self, thing):
        """Something with a close() that goes before the processes and the namespaces do."""
        self.others.append(thing)
        return thing

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def own_folder(self, name):
        """A folder that the unprivileged user owns."""
        path = self.path(name)
        os.makedirs(path, 0o755, exist_ok=True)
        os.chown(path, NOBODY, NOBODY)
        return path

    def check(self):
        if stopping.is_set():
            raise Stopped()
        if self.pump.error:
            raise Failure("the lab itself: %r" % self.pump.error)
        if now() > self.deadline:
            raise Failure("the test took too long")

    def until(self, condition, seconds, what, step=0.02):
        """Waits until condition() is true and returns its value."""
        begin = now()
        while True:
            value = condition()
            if value:
                return value
            self.check()
            if now() - begin > seconds:
                raise Failure("waited %.1f s for %s" % (seconds, what))
            time.sleep(step)

    def elapse(self, seconds, watch=None, step=0.1):
        """Lets time pass that is the subject of a test (a lease's life); watch() may raise."""
        end = now() + seconds
        while now() < end:
            self.check()
            if watch:
                watch()
            time.sleep(min(step, max(0.0, end - now())))

    def close(self):
        """By whoever comes first, the test's thread or the end of the run; the other waits."""
        with self.lock:
            first = not self.closed
            self.closed = True
        if not first:
            self.gone.wait(15)
            return
        for thing in reversed(self.others + self.children):
            with contextlib.suppress(Exception):
                thing.close()
        self.pump.close()
        for namespace in reversed(self.namespaces):
            with contextlib.suppress(Exception):
                namespace.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.gone.set()
