# SPDX-License-Identifier: ISC
"""The real daemon, the real portleasectl and the scripted gateway, all on loopback addresses."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PATIENCE = 20.0  # seconds for what takes a moment, on a busy machine
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC",
               "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1"}


class Failure(Exception):
    pass


class Skip(Exception):
    """There is nothing to test with: says why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def same(got, wanted, what):
    check(got == wanted, "%s: %r, not %r" % (what, got, wanted))


def until(condition, what, seconds=PATIENCE, pause=0.02):
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure("no %s within %.0f s" % (what, seconds))
        time.sleep(pause)


class Varlink:
    """A client that can also be rude."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, method, parameters=None, **flags):
        request = dict(method=method, **flags)
        if parameters is not None:
            request["parameters"] = parameters
        self.send(json.dumps(request).encode() + b"\0")

    def next(self):
        """The next message; None when the other side has closed."""
        while b"\0" not in self.buffer:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, parameters=None, **flags):
        self.ask(method, parameters, **flags)
        return self.next()

    def error(self, method, parameters=None, **flags):
        answer = self.call(method, parameters, **flags)
        check(answer is not None, "%s: the connection was closed" % method)
        return answer.get("error", "none"), answer.get("parameters")

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Home:
    """A gateway, a daemon and a folder. Leaves nothing behind."""

    counter = 0

    def __init__(self, options):
        Home.counter += 1
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="portleased-ctl.")
        os.chmod(self.folder, 0o755)
        self.address = "127.%d.%d.%d" % (64 + os.getpid() % 64, Home.counter % 250 + 1,
                                         os.getpid() // 64 % 250 + 1)
        self.file = self.path("portleased.conf")
        self.socket = self.path("run", "control.sock")
        self.processes = []
        self.daemon = None
        for name in ("run", "state"):
            os.mkdir(self.path(name))

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def spawn(self, argv, name, **more):
        with open(self.path(name), "ab") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=ENVIRONMENT, **more)
        self.processes.append(process)
        return process

    def log(self, name="daemon.log"):
        try:
            with open(self.path(name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # ---- the gateway

    def gateway(self, **settings):
        argv = [self.options.fakegw, "--listen", self.address, "--control", self.path("gw.sock"),
                "--port-range", "1:65535"]
        for name, value in settings.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        self.spawn(argv, "gateway.log")
        until(lambda: '"ready":true' in self.log("gateway.log"), "gateway")

    def tell(self, *command):
        done = subprocess.run([self.options.fakegw, "--ctl", self.path("gw.sock")] + list(command),
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        check(done.returncode == 0, "fakegw %s: %s" % (command, done.stderr))
        return done.stdout

    def table(self):
        return json.loads(self.tell("table"))["mappings"]

    # ---- the daemon

    def write(self, *forwards, settings=""):
        """Forwards as "name key=value …"; all use the gateway."""
        lines = ["ready-timeout = 2", settings, "gateway g {", '    address = "%s"' % self.address,
                 "    interface = lo", "}"]
        for text in forwards:
            name, *values = text.split()
            lines += ["forward %s {" % name, "    gateway = g"]
            lines += ["    " + value.replace("=", " = ", 1) for value in values] + ["}"]
        with open(self.file, "w") as f:
            f.write("\n".join(lines) + "\n")

    def rewrite(self, old, new):
        """Another text in the configuration for one that is there."""
        with open(self.file) as f:
            text = f.read()
        check(old in text, "no %r in %s" % (old, text))
        with open(self.file, "w") as f:
            f.write(text.replace(old, new))

    def start(self, *arguments, **more):
        self.daemon = self.spawn(
            [self.options.portleased, "-f", self.file, "-s", self.path("state"), "-r",
             self.path("run")] + list(arguments), "daemon.log", **more)
        until(self.answers, "answer of the daemon")
        return self

    def answers(self):
        if self.daemon.poll() is not None:
            raise Failure("the daemon ended with %s: %s" % (self.daemon.returncode, self.log()))
        try:
            with Varlink(self.socket) as v:
                return v.call("org.varlink.service.GetInfo") is not None
        except OSError:
            return False

    def stop(self, number=signal.SIGTERM):
        self.daemon.send_signal(number)
        same(self.daemon.wait(PATIENCE), 0, "exit status of the daemon")

    def up(self, *forwards, settings="", gateway=None):
        self.write(*forwards, settings=settings)
        self.gateway(**(gateway or {}))
        return self.start()

    # ---- portleasectl

    def ctl(self, *arguments, user=None, timeout=60, environment=None):
        """Returns (status, output, errors)."""
        more = {}
        if user is not None:
            more = {"user": user[0], "group": user[1], "extra_groups": user[2]}
        done = subprocess.run([self.options.portleasectl, "-c", self.socket] + list(arguments),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, env=dict(ENVIRONMENT, **(environment or {})),
                              cwd="/", check=False, **more)
        check(not SANITIZER.search(done.stderr), "portleasectl: " + done.stderr)
        return done.returncode, done.stdout, done.stderr

    def ctl_start(self, *arguments, environment=None, name=None):
        out = open(name, "wb") if name else subprocess.PIPE
        process = subprocess.Popen([self.options.portleasectl, "-c", self.socket] + list(arguments),
                                   stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.PIPE, text=True,
                                   env=dict(ENVIRONMENT, **(environment or {})), cwd="/")
        if name:
            out.close()
        self.processes.append(process)
        return process

    def status(self, *names):
        with Varlink(self.socket) as v:
            answer = v.call("io.portleased.GetStatus", {"forwards": list(names)})
        check("error" not in answer, "GetStatus: %r" % answer)
        return answer["parameters"]

    def rows(self, *names):
        return self.status(*names)["mappings"]

    def wait_state(self, name, state):
        return until(lambda: all(row["state"] == state for row in self.rows(name))
                     and self.rows(name), "forward %s to be %s" % (name, state))

    # ---- the end

    def close(self, good):
        """Everything must have ended well."""
        try:
            if good and self.daemon is not None and self.daemon.poll() is None:
                self.stop()
            if good and self.daemon is not None:
                found = SANITIZER.search(self.log())
                check(not found, "the daemon's log: " + self.log()[-3000:])
        finally:
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
                for stream in (process.stdout, process.stderr):
                    if stream is not None:
                        stream.close()
            if not good:
                sys.stdout.write(self.log()[-2500:] if self.daemon is not None else "")
            shutil.rmtree(self.folder, ignore_errors=True)
