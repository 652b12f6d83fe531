# SPDX-License-Identifier: ISC
"""The scripted gateway of ../gateway in a gateway's namespace."""

import json
import socket

from lab import Failure, Process


class FakeGateway:
    """Settings as of `fakegw --help`, with _ for -. It logs JSON lines with CLOCK_MONOTONIC times."""

    def __init__(self, home, gateway, binary, settings, listen=None):
        self.lab, self.gateway, self.space = home.lab, gateway, gateway.space
        self.control = self.lab.path("fakegw-%s.sock" % self.space.role)
        argv = [binary, "--listen", listen or gateway.inner, "--control", self.control, "--announce-if",
                "lan0"]
        for name, value in settings.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        self.process = Process(self.lab, self.space, argv)
        self.records = []
        self.read = 0
        self.process.wait_line('"ready":true', 5)

    def tell(self, command):
        """Runs a command and returns the answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(self.control)
            client.sendall(command.encode() + b"\n")
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                more = client.recv(65536)
                if not more:
                    break
                answer += more
        text = answer.decode().strip()
        if text.startswith("error:"):
            raise Failure("the lab itself: %s: %s" % (command, text))
        return text

    def set(self, **settings):
        for name, value in settings.items():
            self.tell("set %s %s" % (name.replace("_", "-"), value))

    def table(self):
        """The mappings it holds now."""
        return json.loads(self.tell("table"))["mappings"]

    def epoch(self):
        return json.loads(self.tell("table"))["epoch"]

    def restart(self):
        """The table is gone and the epoch starts at 0; nothing is said."""
        self.tell("reboot silent epoch 0")

    def refuse_maps(self, code):
        """Every request for a mapping gets this result from now on."""
        self.tell("result create %d" % code)

    def log(self, since=0.0):
        while self.read < len(self.process.lines):
            _, line = self.process.lines[self.read]
            self.read += 1
            if line.startswith("{"):
                self.records.append(json.loads(line))
        return [r for r in self.records if r.get("t", 0.0) >= since]

    def changes(self, change, since=0.0):
        """What happened to mappings: add, move, renew, expire, delete."""
        return [r for r in self.log(since) if r.get("event") == "table" and r["change"] == change]

    def count(self, since=0.0, **wanted):
        """Records with all of these values."""
        return sum(1 for r in self.log(since)
                   if all(r.get(key) == value for key, value in wanted.items()))
