# SPDX-License-Identifier: ISC
"""What the tests of hooks stand on: a daemon, a scripted gateway, and a hook that keeps a diary."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

GATEWAY = "127.0.0.2"
PATIENCE = 20.0  # for things that have to happen

# It writes down its environment when it begins and "end" when it ends; what else it does is up to
# what the test has put into its folder.
HOOK = r"""#!/bin/sh
set -eu
cd "$1"
n=$(date +%s%N).$$
env >".$n"
printf 'ARGUMENTS=%s\n' "$*" >>".$n"
mv ".$n" "run.$n"
echo "hook says $PORTLEASE_EVENT"
[ ! -e slow ] || sleep "$(cat slow)"
while [ -e wait ]; do sleep 0.05; done
: >"end.$n"
[ ! -e fail ] || exit "$(cat fail)"
"""


class Failure(Exception):
    pass


def until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure("waited %g s in vain for %s" % (seconds, what))
        time.sleep(0.02)


def check(good, what):
    if not good:
        raise Failure(what)


def same(what, got, wanted):
    check(got == wanted, "%s is %r, not %r" % (what, got, wanted))


def parse(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


class Diary:
    """The folder of one hook."""

    def __init__(self, stage, name="hook"):
        self.folder = stage.path(name + ".diary")
        os.mkdir(self.folder)
        self.program = stage.script(name, HOOK)
        self.seen = 0
        self.known = []  # names of runs; those that begin together may appear in any order

    def on_change(self, *more):
        words = [self.program, self.folder] + list(more)
        return "{" + ", ".join('"%s"' % word for word in words) + "}"

    def runs(self):
        self.known += sorted(n for n in os.listdir(self.folder)
                             if n.startswith("run.") and n not in self.known)
        found = []
        for name in self.known:
            with open(os.path.join(self.folder, name)) as f:
                found.append(parse(f.read()))
        return found

    def ends(self):
        return len([n for n in os.listdir(self.folder) if n.startswith("end.")])

    def next(self, event=None, seconds=PATIENCE):
        """The next run, which must be of this event."""
        run = until(lambda: (self.runs()[self.seen:] or [None])[0],
                    "a hook to be run for %s" % event, seconds)
        self.seen += 1
        if event is not None:
            same("the event of run %d" % self.seen, run["PORTLEASE_EVENT"], event)
        return run

    def none_more(self, seconds=0.0):
        time.sleep(seconds)
        more = [r["PORTLEASE_EVENT"] for r in self.runs()[self.seen:]]
        check(not more, "more hooks were run: %s" % more)

    def put(self, name, text=""):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write(str(text))

    def drop(self, name):
        os.unlink(os.path.join(self.folder, name))


class Process:
    def __init__(self, stage, name, argv, env=None):
        self.name, self.log = name, stage.path(name + ".log")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=env, cwd="/")

    def text(self):
        """What it has said, without the times of the daemon's log."""
        with open(self.log, errors="replace") as f:
            return re.sub(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", f.read())

    def find(self, pattern):
        return re.search(pattern, self.text(), re.MULTILINE)

    def wait_line(self, pattern, seconds=PATIENCE):
        return until(lambda: self.find(pattern), "%s to say /%s/" % (self.name, pattern), seconds)

    def running(self):
        return self.child.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Returns (exit status, seconds it took)."""
        begun = time.monotonic()
        if self.running():
            self.child.send_signal(number)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise Failure("%s does not stop" % self.name) from None
        return self.child.returncode, time.monotonic() - begun


class Stage:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="portleased-hooks.")
        os.chmod(self.folder, 0o755)
        self.processes = []
        self.daemon = None
        self.n = 0

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def script(self, name, text):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def process(self, name, argv, **more):
        self.n += 1
        made = Process(self, "%s.%d" % (name, self.n), argv, **more)
        self.processes.append(made)
        return made

    def gateway(self, **settings):
        control = self.path("fakegw.sock")
        argv = [self.options.fakegw, "--listen", GATEWAY, "--control", control]
        for name, value in settings.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        self.fakegw = self.process("fakegw", argv)
        self.fakegw.wait_line('"ready":true')
        self.control = control

    def tell(self, command):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(self.control)
            client.sendall(command.encode() + b"\n")
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        check(not answer.startswith("error:"), "fakegw: %s: %s" % (command, answer))
        return answer

    def table_changes(self, change):
        return len(re.findall('"event":"table"[^\n]*"change":"%s"' % change, self.fakegw.text())) \
            + len(re.findall('"change":"%s"[^\n]*"event":"table"' % change, self.fakegw.text()))

    def configure(self, text):
        with open(self.path("new.conf"), "w") as f:
            f.write('gateway g { address = "%s"\n interface = lo }\n' % GATEWAY + text)
        os.rename(self.path("new.conf"), self.path("portleased.conf"))

    def start(self, text, **more):
        self.configure(text)
        return self.restart(**more)

    def restart(self, name="portleased"):
        env = {"PATH": "/usr/bin:/bin", "NOT_FOR_HOOKS": "1", "LC_ALL": "C",
               "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
               "UBSAN_OPTIONS": "print_stacktrace=1"}
        self.daemon = self.process(name, [
            self.options.portleased, "-f", self.path("portleased.conf"), "-s", self.path("state"),
            "-r", self.path("run"), "-c", self.path("control.sock"), "-l", "debug"], env=env)
        return self.daemon

    def reload(self, text):
        self.configure(text)
        self.daemon.child.send_signal(signal.SIGHUP)

    def env_file(self, name="web"):
        path = self.path("run", "forwards", name + ".env")
        return path if os.path.exists(path) else None

    def source(self, name="web"):
        """The env file as a shell reads it."""
        text = subprocess.run(["env", "-i", "/bin/sh", "-c", 'set -a; . "$0"; /usr/bin/env',
                               self.env_file(name)], check=True, capture_output=True, text=True)
        return parse(text.stdout)

    def hook(self, name, *arguments, env=None, path=None, **variables):
        """Runs one of ../../etc/hooks by itself."""
        full = {"EVENT": "mapped", "FORWARD": "torrent", "PROTOCOL": "tcp", "FAMILY": "ipv4",
                "INTERNAL_ADDRESS": "127.0.0.1", "INTERNAL_PORT": "40001",
                "EXTERNAL_ADDRESS": "203.0.113.7", "EXTERNAL_PORT": "40001",
                "OLD_EXTERNAL_ADDRESS": "", "OLD_EXTERNAL_PORT": "", "GATEWAY": "g",
                "GATEWAY_ADDRESS": GATEWAY, "INTERFACE": "lo", "MAPPER": "nat-pmp",
                "LIFETIME": "60", "EXTERNAL_CLASS": "public"}
        full.update(variables)
        environment = {"PORTLEASE_" + key: value for key, value in full.items()}
        environment["PATH"] = (path + ":" if path else "") + "/usr/sbin:/usr/bin:/sbin:/bin"
        environment.update(env or {})
        return subprocess.run([os.path.join(self.options.hooks, name)] + list(arguments),
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, cwd="/")

    def finish(self):
        """After a test that went well: the daemon ends well, too."""
        if self.daemon is not None and self.daemon.running():
            status, _ = self.daemon.stop()
            same("the daemon's exit status", status, 0)
        for process in self.processes:
            found = process.find(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed")
            check(not found, "%s: %s" % (process.name, found and found.group()))

    def evidence(self):
        parts = []
        for process in self.processes:
            if "fakegw" not in process.name:
                lines = process.text().splitlines()[-30:]
                parts += ["  %s:" % process.name] + ["    " + line for line in lines]
        return "\n".join(parts)

    def close(self):
        for process in self.processes:
            if process.running():
                process.child.kill()
            process.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
