# SPDX-License-Identifier: ISC
"""What a test function gets, and how tests are registered."""

import os

from daemon import Daemon
from fake import FakeGateway
from home import Home
from lab import Lab, Skipped
from upnpd import Miniupnpd

TESTS = []
MARGIN = float(os.environ.get("LAB_MARGIN", "0.5"))  # seconds a busy machine may add to a limit


class Test:
    def __init__(self, function, name, arguments, seconds, slow, limit, plain):
        self.function, self.name, self.arguments = function, name, arguments
        self.seconds, self.slow, self.plain = seconds, slow, plain
        self.limit = limit or max(60.0, 2 * seconds)


def test(seconds=5, slow=False, each=None, limit=None, plain=False):
    """Registers a test that takes about `seconds`; slow ones are left out by --fast. With `each`, it
    is run once for every item, which it gets as an argument. A plain one needs a build without
    sanitizers (run.py --plain), and much of the machine: there is one of them at a time."""
    def register(function):
        module = function.__module__.replace("test_", "")
        name = module + "." + function.__name__.replace("_", "-")
        for item in [None] if each is None else each:
            label = name if item is None else "%s/%s" % (name, item)
            arguments = () if item is None else (item,)
            TESTS.append(Test(function, label, arguments, seconds, slow, limit, plain))
        return function
    return register


class Case:
    def __init__(self, options, test):
        self.options = options
        self.fast, self.long = options.fast, options.long
        self.build = options.plain if test.plain and options.plain else options.tested
        if test.plain and self.build.sanitized:
            raise Skipped("a sanitizer build")
        self.lab = Lab(test.name, options.base, test.limit)
        self.until, self.elapse = self.lab.until, self.lab.elapse
        self.daemons = []
        self.homes = []

    def home(self, **more):
        made = Home(self.lab, **more)
        self.homes.append(made)
        return made

    def miniupnpd(self, home, gateway=None, **more):
        return Miniupnpd(home, gateway or home.gw, **more)

    def fakegw(self, home, gateway=None, listen=None, **settings):
        return FakeGateway(home, gateway or home.gw, self.options.fakegw, settings, listen)

    def daemon(self, home, text, **more):
        made = Daemon(self.lab, home.lan, self.build.portleased, text, **more)
        self.daemons.append(made)
        return made

    def finish(self):
        for daemon in self.daemons:
            daemon.finish()

    def sent(self):
        """For a Capture: all that the hosts under test have sent."""
        return [pair for home in self.homes for wire in home.wires for pair in wire.sent()]

    def evidence(self):
        """For a failure: the ends of the logs and the last datagrams."""
        parts = []
        for daemon in self.daemons:
            parts += ["  %s:" % os.path.basename(daemon.file), daemon.tail()]
            parts += ["    told systemd %.3f %s" % said for said in daemon.said[-3:]]
        for home in self.homes:
            parts += ["  datagrams:", home.wire.tail(16)]
        return "\n".join(part for part in parts if part)
