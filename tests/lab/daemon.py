# SPDX-License-Identifier: ISC
"""portleased as a process: its configuration, its log, what it tells systemd."""

import json
import os
import re
import signal
import socket

from lab import NOBODY, Failure, Process, now

# How the log words the events.
EVENTS = {
    "mapped": "is mapped to", "changed": "is now mapped to", "lost": "is no longer mapped to",
    "released": "released, was", "failed": "is not mapped:", "renewed": "renewed for",
}
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed")


def forward(inside, outside=None, protocol="tcp", name=None, **options):
    """One section; `internal_port` and so on may be given as options."""
    lines = ["forward %s {" % (name or "%s-%s" % (protocol, inside)),
             "    protocol = %s" % protocol, "    internal-port = %s" % inside]
    if outside is not None:
        lines.append("    external-port = %s" % outside)
    lines += ["    %s = %s" % (key.replace("_", "-"), value) for key, value in options.items()]
    return "\n".join(lines + ["}", ""])


def config(*sections, **settings):
    lines = ["%s = %s" % (key.replace("_", "-"), value) for key, value in settings.items()]
    return "\n".join(lines + [""] + list(sections))


class Daemon:
    """`binary` in a namespace as an unprivileged user. Starts at once unless told not to."""

    def __init__(self, lab, namespace, binary, text, name="portleased", watchdog=None, start=True,
                 runtime=None):
        self.lab, self.namespace, self.binary, self.watchdog = lab, namespace, binary, watchdog
        self.file = lab.path(name + ".conf")
        self.state = lab.own_folder(name + ".state")
        self.runtime = runtime or lab.own_folder(name + ".run")
        self.control = lab.path(self.runtime, name + ".sock")
        self.notify_path = lab.path(name + ".notify")
        self.said = []
        self.process = None
        self.wrapper = ()  # a command that runs another one, as root
        self.environment = {}
        self.write(text)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.notify_path)
        os.chmod(self.notify_path, 0o777)
        self.notify.setblocking(False)
        lab.pump.watch(self.notify, self.read_notify)
        lab.keep(self)
        if start:
            self.start()

    def write(self, text):
        with open(self.file + ".new", "w") as f:
            f.write(text)
        os.rename(self.file + ".new", self.file)

    def start(self, *more):
        environment = {"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": self.notify_path, "LC_ALL": "C",
                       "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1",
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        if self.watchdog:
            environment["WATCHDOG_USEC"] = str(self.watchdog * 1000000)
        environment.update(self.environment)
        self.started = now()
        self.process = Process(
            self.lab, self.namespace,
            [self.binary, "-f", self.file, "-l", "debug", "-c", self.control, "-s", self.state,
             "-r", self.runtime] + list(more), user=NOBODY, env=environment,
            wrapper=self.wrapper)
        return self

    def read_notify(self):
        try:
            text = self.notify.recv(8192).decode()
        except BlockingIOError:
            return
        self.said.append((now(), dict(line.split("=", 1) for line in text.splitlines() if line)))

    def told(self, key, value=None, since=0.0):
        """The first message to systemd with this key (and value), as (time, all of it)."""
        for stamp, message in list(self.said):
            if stamp >= since and key in message and value in (None, message[key]):
                return stamp, message
        return None

    def status(self):
        """The latest STATUS= text."""
        texts = [m["STATUS"] for _, m in list(self.said) if "STATUS" in m]
        return texts[-1] if texts else ""

    def document(self):
        """The status document, from the control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(3)
            client.connect(self.control)
            client.sendall(b'{"method":"io.portleased.GetStatus","parameters":{}}\0')
            said = b""
            while not said.endswith(b"\0"):
                more = client.recv(65536)
                if not more:
                    raise Failure("the control socket ends after %r" % said)
                said += more
        return json.loads(said[:-1])["parameters"]

    def wait_told(self, key, value=None, seconds=5.0, since=0.0):
        return self.lab.until(lambda: self.told(key, value, since) or self.died(), seconds,
                              "%s=%s to be told to systemd" % (key, value or "…"))

    def wait_ready(self, seconds=12.0):
        stamp, _ = self.wait_told("READY", "1", seconds, self.started)
        return stamp

    def wait_line(self, pattern, seconds=5.0, since=0.0):
        return self.lab.until(lambda: self.process.find(pattern, since) or self.died(), seconds,
                              "the log to say /%s/" % pattern)

    def renew(self):
        self.process.signal(signal.SIGUSR1)

    def events(self, *names, since=0.0):
        """Log lines about these events of mappings, as (time, text)."""
        words = [": (tcp|udp) .*" + EVENTS[name] for name in names]
        return [(stamp, line) for stamp, line in list(self.process.lines)
                if stamp >= since and any(re.search(word, line) for word in words)]

    def wait_event(self, name, seconds, since=0.0):
        """Returns the moment."""
        return self.lab.until(lambda: self.events(name, since=since) or self.died(), seconds,
                              "event " + name)[0][0]

    def published(self, name):
        """What the env file of a forward says, without PORTLEASE_; {} when there is none."""
        try:
            with open(os.path.join(self.runtime, "forwards", name + ".env")) as f:
                return dict(re.findall(r'^PORTLEASE_(\w+)="?(.*?)"?$', f.read(), re.M))
        except FileNotFoundError:
            return {}

    def died(self):
        if not self.process.running():
            raise Failure("the daemon ended with status %s" % self.process.child.returncode)
        return None

    def reload(self, text):
        """Returns the moment of the signal."""
        self.write(text)
        stamp = now()
        self.process.signal(signal.SIGHUP)
        return stamp

    def stop(self, number=signal.SIGTERM, seconds=8.0):
        """Returns (exit status, seconds it took)."""
        self.process.signal(number)
        return self.process.wait_exit(seconds)

    def finish(self):
        """At the end of a test that went well: it must still be well, and end well."""
        if self.process is None:
            return
        if self.process.running():
            status, _ = self.stop()
            if status:
                raise Failure("at the end the daemon ended with status %s" % status)
        found = self.process.find(SANITIZER)
        if found:
            raise Failure("the daemon's log says: " + found[1])

    def tail(self, n=25):
        if self.process is None:
            return ""
        return "\n".join("    %.3f %s" % line for line in list(self.process.lines)[-n:])

    def close(self):
        self.lab.pump.forget(self.notify)
        self.notify.close()
