#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Checks the fake gateway over its sockets, by octets. usage: selftest.py [FAKEGW]

Without an argument: tests/gateway/fakegw of $top_builddir; if there is none, the sources are
compiled with $CC into a temporary directory. As root it works in a network namespace of its own.
"""

import ctypes
import glob
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 10.0     # for things that have to happen
QUIET = 0.25        # for things that must not
GW, GW2, ME = "127.0.0.2", "127.0.0.3", "127.0.0.1"
NONCE = bytes(range(1, 13))
OTHER = bytes(range(101, 113))
EPOCH = "00000681"  # of the fixtures in the catalogue of quirks
EXT = "00000000000000000000ffff08080404"
NO4 = "00000000000000000000ffff00000000"
UDP, TCP = 17, 6

passed = failed = 0
binary = None
scratch = None
private = False


def hexed(data):
    return None if data is None else data.hex()


def mapped(ip):
    if ":" in ip:
        return socket.inet_pton(socket.AF_INET6, ip)
    return b"\0" * 10 + b"\xff\xff" + socket.inet_pton(socket.AF_INET, ip)


def check(what, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("FAIL: %s: %s %s" % (sys._getframe(1).f_code.co_name, what, detail))


def same(what, got, wanted):
    got, wanted = hexed(got), wanted.replace(" ", "") if wanted is not None else None
    check(what, got == wanted, "\n  got    %s\n  wanted %s" % (got, wanted))


def pmap(op, internal, suggested, lifetime):
    return struct.pack("!BBHHHI", 0, op, 0, internal, suggested, lifetime)


def pcp(op, lifetime, client=ME, body=b"", version=2):
    return struct.pack("!BBHI", version, op, 0, lifetime) + mapped(client) + body


def pcpmap(internal, suggested=0, lifetime=7200, proto=UDP, nonce=NONCE, ext="0.0.0.0", client=ME,
           options=b"", version=2):
    body = nonce + struct.pack("!B3xHH", proto, internal, suggested) + mapped(ext) + options
    return pcp(1, lifetime, client, body, version)


def option(code, data):
    return struct.pack("!BBH", code, 0, len(data)) + data + b"\0" * (-len(data) % 4)


class Client:
    """A socket with its own port, connected to the gateway or not."""

    def __init__(self, gateway, connected=False, address=ME):
        self.s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                               socket.SOCK_DGRAM)
        self.s.bind((address, 0))
        self.to = gateway.address
        self.port = self.s.getsockname()[1]
        if connected:
            self.s.connect(self.to)

    def put(self, data):
        self.s.sendto(data, self.to)

    def get(self, timeout=PATIENCE):
        """The next datagram, or None."""
        if not select.select([self.s], [], [], timeout)[0]:
            return None
        data, self.source = self.s.recvfrom(4096)
        return data

    def ask(self, data, timeout=PATIENCE):
        self.put(data)
        return self.get(timeout)

    def silent(self, data):
        return self.ask(data, QUIET) is None

    def close(self):
        self.s.close()


class Gateway:
    def __init__(self, *options, address=GW, log=None):
        free = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                             socket.SOCK_DGRAM)
        free.bind((address, 0))
        self.address = (address, free.getsockname()[1])
        free.close()
        self.control = os.path.join(scratch, "control")
        self.log = log or os.path.join(scratch, "log")
        if os.path.exists(self.log):
            os.unlink(self.log)
        listen = ("[%s]:%d" if ":" in address else "%s:%d") % self.address
        self.p = subprocess.Popen([binary, "--listen", listen, "--control", self.control, "--log",
                                   self.log] + [str(o) for o in options],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.ready = self.p.stdout.readline()
        if not self.ready.startswith(b'{"ready":true'):
            raise RuntimeError("no ready line: %r %r" % (self.ready, self.p.stderr.read()))
        self.c = Client(self, address=ME if ":" not in address else address)

    def tell(self, command):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(self.control)
            s.sendall(command.encode() + b"\n")
            s.shutdown(socket.SHUT_WR)
            data = b""
            while True:
                more = s.recv(65536)
                if not more:
                    return data.decode().rstrip("\n")
                data += more

    def do(self, command):
        answer = self.tell(command)
        if answer.startswith("error:"):
            raise RuntimeError("%s: %s" % (command, answer))
        return answer

    def table(self):
        return json.loads(self.do("table"))["mappings"]

    def ports(self):
        return sorted((m["internal"], m["external"]) for m in self.table())

    def records(self, **wanted):
        with open(self.log) as f:
            found = [json.loads(line) for line in f]
        return [r for r in found if all(r.get(k) == v for k, v in wanted.items())]

    def until(self, test):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if test():
                return True
            time.sleep(0.02)
        return False

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.c.close()
        self.p.send_signal(signal.SIGTERM)
        try:
            status = self.p.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.p.kill()
            status = "none"
        errors = self.p.stderr.read().decode()
        self.p.stdout.close()
        self.p.stderr.close()
        if kind is None:
            check("clean end", status == 0 and "Sanitizer" not in errors, "%s %s" % (status, errors))
            check("control socket removed", not os.path.exists(self.control))


FIXED = ("--epoch-freeze", 0x681, "--external", "8.8.4.4")


# ---- NAT-PMP ------------------------------------------------------------------------------------

def natpmp_service():
    with Gateway(*FIXED) as g:
        same("F-01", g.c.ask(bytes(2)), "0080 0000 00000681 08080404")
        check("asked address answers", g.c.source == g.address)
        same("F-03", g.c.ask(bytes.fromhex("00010000 1388 1388 00000e10")),
             "0081 0000 00000681 1388 1388 00000e10")
        same("tcp", g.c.ask(pmap(2, 5000, 0, 60)), "0082 0000 00000681 1388 1388 0000003c")
        check("two mappings", [(m["protocol"], m["granted"]) for m in g.table()] ==
              [(UDP, 3600), (TCP, 60)], g.table())
        same("F-06", g.c.ask(bytes.fromhex("00010000 0000 0001 0000003c")),
             "0081 0002 00000681 0000 0001 0000003c")
        same("F-07", g.c.ask(bytes.fromhex("00010000 176f 0000 00000000")),
             "0081 0000 00000681 176f 0000 00000000")
        same("F-08", g.c.ask(bytes.fromhex("00050000 00000000")), "0085 0005 00000681")
        same("delete", g.c.ask(pmap(1, 5000, 0, 0)), "0081 0000 00000681 1388 0000 00000000")
        check("only tcp left", [m["protocol"] for m in g.table()] == [TCP])
        g.c.ask(pmap(1, 5001, 0, 60))
        same("delete all tcp", g.c.ask(pmap(2, 0, 0, 0)), "0082 0000 00000681 0000 0000 00000000")
        check("udp left", [m["protocol"] for m in g.table()] == [UDP])
        for bad in (b"\0", bytes.fromhex("0001 0000 1388"), bytes.fromhex("0081 0000 00000000")):
            check("no answer to %s" % bad.hex(), g.c.silent(bad))
        g.do("wan down")
        same("F-02", g.c.ask(bytes(2)), "0080 0003 00000681 00000000")
        same("map, wan down", g.c.ask(pmap(1, 9, 9, 9)), "0081 0003 00000681 0009 0009 00000009")


def natpmp_errors():
    with Gateway(*FIXED) as g:
        shapes = {"full": "0081 0004 00000681 1388 1389 0000003c", "short": "0081 0004 00000681",
                  "port0": "0081 0004 00000681 0000 0000 00000000",
                  "echo": "0081 0004 1388 1389 0000003c"}
        g.do("result map 4")
        for shape, wanted in shapes.items():
            g.do("set nat-pmp-error " + shape)
            same(shape, g.c.ask(pmap(1, 5000, 5001, 60)), wanted)
        check("nothing mapped", g.table() == [])
        g.do("result clear")
        g.do("set nat-pmp-error full table-max 1 garble-ports on")
        same("garbled", g.c.ask(pmap(1, 22002, 28174, 60)), "0081 0000 00000681 00f2 000e 0000003c")
        same("full table", g.c.ask(pmap(1, 1, 1, 60)), "0081 0004 00000681 0001 0001 0000003c")


def lifetimes():
    with Gateway(*FIXED, "--lifetime", "120:86400") as g:
        same("lengthened", g.c.ask(pmap(1, 5000, 5000, 10)), "0081 0000 00000681 1388 1388 00000078")
        same("shortened", g.c.ask(pmap(1, 5000, 5000, 0xffffffff)),
             "0081 0000 00000681 1388 1388 00015180")
        for life in (1, 2, 13, 60, 0x80000000, 0xffffffff):
            g.do("set grant %d" % life)
            same("grant %d" % life, g.c.ask(pmap(1, 5000, 5000, 7200)),
                 "0081 0000 00000681 1388 1388 %08x" % life)
        g.do("forget")
        g.do("grant 0")
        same("grant 0", g.c.ask(pmap(1, 5000, 5000, 7200)), "0081 0000 00000681 1388 1388 00000000")
        check("grant 0 maps nothing", g.table() == [])
        g.do("set grant 4294967295 entry-life 200")
        same("F-05", g.c.ask(bytes.fromhex("00010000 13ec 13ec ffffffff")),
             "0081 0000 00000681 13ec 13ec ffffffff")
        check("dead early", g.until(lambda: g.table() == []))
        check("expiry logged", len(g.records(event="table", change="expire")) == 1)
        g.do("set grant off entry-life 60000 refresh off")
        g.c.ask(pmap(1, 6000, 0, 120))
        g.do("entry-life off")
        g.c.ask(pmap(1, 6000, 0, 7200))
        check("not refreshed", g.table()[0]["left"] <= 60, g.table())


# ---- ports --------------------------------------------------------------------------------------

def port_of(reply):
    return struct.unpack("!H", reply[10:12])[0] if reply[0] == 0 else \
        struct.unpack("!H", reply[42:44])[0]


def policies():
    with Gateway(*FIXED) as g:
        def ask(internal, suggested, op=1):
            return port_of(g.c.ask(pmap(op, internal, suggested, 600)))

        g.do("occupy 127.0.0.9 udp 5300")
        check("in use: next", ask(5300, 5300) == 5301)
        check("companion of another host", ask(5300, 5300, 2) == 5301)
        check("sticky", ask(5300, 5555) == 5301)
        check("below the range", ask(80, 80) == 1024)
        check("5351 never", ask(5351, 5351) == 5352)
        g.do("forget")
        g.do("port-policy echo")
        check("echo", [ask(7000, 7000), ask(7000, 7500), ask(7000, 0)] == [7000, 7500, 7500])
        check("echo: one mapping", g.ports() == [(7000, 7500)], g.ports())
        g.do("forget")
        g.do("port-policy plus1")
        check("plus1", [ask(7000, 7000), ask(7000, 7500), ask(7000, 0)] == [7000, 7500, 7000])
        check("plus1: second mapping", g.ports() == [(7000, 7000), (7000, 7500)], g.ports())
        g.c.ask(pmap(1, 7000, 0, 0))
        check("plus1: delete takes both", g.ports() == [], g.ports())
        g.do("occupy 127.0.0.9 udp 5300")
        check("plus1: same again", [ask(5300, 5300), ask(5300, 5300)] == [5301, 5301])
        g.do("forget")
        g.do("port-policy another")
        check("another", [ask(5300, 5300), ask(5300, 5301), ask(5300, 5300)] == [5301] * 3)
        g.do("forget")
        g.do("port-policy never")
        check("never", [ask(5300, 5300), ask(5300, 5301), ask(5300, 5302)] == [5301, 5302, 5303])
        check("never: one mapping", len(g.table()) == 1)
        g.do("forget")
        g.do("set port-policy list port-list 40001,40002")
        check("list", [ask(1, 1), ask(2, 2), ask(1, 1)] == [40001, 40002, 40001])
        same("list used up", g.c.ask(pmap(1, 3, 3, 600)), "0081 0004 00000681 0003 0003 00000258")
        g.do("forget")
        g.do("set port-policy random seed 7")
        first = [ask(1, 1), ask(2, 2)]
        g.do("forget")
        g.do("seed 7")
        check("random by seed", [ask(1, 1), ask(2, 2)] == first and min(first) >= 49152, first)
        g.do("forget")
        g.do("set port-policy sticky rotate 3")
        check("rotate", [ask(9, 9000) for _ in range(8)] ==
              [9000, 9000, 9000, 9001, 9001, 9001, 9002, 9002])
        g.do("set port-range 2000:2001 rotate off")
        g.do("forget")
        check("range", [ask(1, 1), ask(2, 65535)] == [2000, 2001])
        same("range used up", g.c.ask(pmap(1, 3, 3, 600)), "0081 0004 00000681 0003 0003 00000258")


def proton():
    with Gateway(*FIXED, "--proton", "--port-list", "40001,40002,40003", "--rotate", 5) as g:
        ask = bytes.fromhex("00010000 0000 0001 00001c20")
        same("assigned", g.c.ask(ask), "0081 0000 00000681 0000 9c41 0000003c")
        same("tcp differs", g.c.ask(pmap(2, 0, 1, 60)), "0082 0000 00000681 0000 9c42 0000003c")
        got = [port_of(g.c.ask(ask)) for _ in range(6)]
        check("moves at the 5th renewal", got == [40001] * 4 + [40003] * 2, got)
        check("0/0: silence (Q-111)", g.c.silent(pmap(1, 0, 0, 60)))
        check("delete", g.c.ask(pmap(1, 0, 0, 0)) is not None and len(g.table()) == 1)


# ---- PCP ----------------------------------------------------------------------------------------

def head(op, result, lifetime):
    return "02%02x00%02x%08x%s%s" % (0x80 | op, result, lifetime, EPOCH, "00" * 12)


def body(internal, external, ext=EXT, proto=UDP, nonce=NONCE):
    return "%s%02x000000%04x%04x%s" % (nonce.hex(), proto, internal, external, ext)


def pcp_service():
    with Gateway(*FIXED) as g:
        same("ANNOUNCE", g.c.ask(pcp(0, 0)), head(0, 0, 0))
        same("F-12", g.c.ask(pcpmap(7000)), head(1, 0, 7200) + body(7000, 7000))
        same("existing stays", g.c.ask(pcpmap(7000, 7500)), head(1, 0, 7200) + body(7000, 7000))
        left = g.table()[0]["left"]
        got = g.c.ask(pcpmap(7000, nonce=OTHER, lifetime=60))
        check("nonce", got[3] == 2 and left - 5 <= struct.unpack("!I", got[4:8])[0] <= left,
              hexed(got))
        got = g.c.ask(pcpmap(7000, nonce=OTHER, lifetime=0))
        check("delete, wrong nonce", got[3] == 2 and len(g.table()) == 1, hexed(got))
        g.do("nonce-strict off")
        same("other nonce", g.c.ask(pcpmap(7000, nonce=OTHER, lifetime=60)),
             head(1, 0, 60) + body(7000, 7000, nonce=OTHER))
        same("delete", g.c.ask(pcpmap(7000, lifetime=0)), head(1, 0, 0) + body(7000, 0, NO4))
        same("delete of nothing", g.c.ask(pcpmap(7000, lifetime=0)),
             head(1, 0, 0) + body(7000, 0, NO4))
        g.do("delete-missing-ok off")
        same("F-15", g.c.ask(pcpmap(7000, lifetime=0)), head(1, 8, 30) + body(7000, 0, NO4))
        same("F-17", g.c.ask(pcpmap(7000, client="127.0.0.77")),
             head(1, 12, 1800) + body(7000, 0, NO4))
        g.do("address-check off")
        check("not checked", g.c.ask(pcpmap(7000, client="127.0.0.77"))[3] == 0)
        same("F-18", g.c.ask(pcp(1, 7200)), head(1, 3, 1800))
        same("PEER", g.c.ask(pcp(2, 7200, body=bytes(56))), head(2, 4, 1800) + "00" * 56)
        same("F-20", g.c.ask(pcpmap(7000, version=3)), head(1, 1, 1800) + body(7000, 0, NO4))
        same("61 octets", g.c.ask(pcpmap(7000) + b"\x55"),
             head(1, 3, 1800) + body(7000, 0, NO4) + "55000000")
        g.do("odd-size f19")
        got = g.c.ask(pcpmap(7000) + b"\x55")
        check("F-19", got[:4] == bytes.fromhex("00800003") and len(got) == 64, hexed(got))
        check("no header", g.c.silent(bytes.fromhex("0201 0000 00000000")))
        check("1104 octets", len(g.c.ask(pcpmap(7000) + bytes(1044))) == 1100)
        for proto, port, result in ((0, 0, 9), (0, 80, 3), (UDP, 0, 9), (132, 80, 9)):
            check("protocol %d port %d" % (proto, port),
                  g.c.ask(pcpmap(port, proto=proto))[3] == result)
        g.do("reserved-fill on")
        got = g.c.ask(pcpmap(7000))
        check("reserved", (got[2], got[12:24], got[37:40]) == (255, b"\xff" * 12, b"\xff" * 3))


def pcp_wan():
    with Gateway(*FIXED, "--wan", "down") as g:
        same("F-14", g.c.ask(pcpmap(5001, 5001)), head(1, 7, 30) + body(5001, 5001, NO4))
        g.do("set wan private external 10.9.8.7")
        same("F-13", g.c.ask(pcpmap(5001, 5001)),
             head(1, 8, 30) + body(5001, 5001, "00000000000000000000ffff0a090807"))
        g.do("wan up")
        same("double NAT", g.c.ask(pcpmap(5001, 5001)),
             head(1, 0, 7200) + body(5001, 5001, "00000000000000000000ffff0a090807"))
        g.do("set external 0.0.0.0")
        same("0.0.0.0", g.c.ask(pcpmap(5001, 5001)), head(1, 0, 7200) + body(5001, 5001, NO4))
        g.do("error-lifetime 0")
        check("miniupnpd's 0", g.c.ask(pcpmap(0))[3:8] == bytes.fromhex("0900000000"))


def pcp_options():
    third = option(1, mapped("127.0.0.50"))
    prefer, comment = option(2, b""), option(128, b"web")
    filters = [option(3, struct.pack("!BBH", 0, 128, 80) + mapped("192.0.2.%d" % i))
               for i in range(1, 4)]
    with Gateway(*FIXED) as g:
        def result(options, **more):
            return g.c.ask(pcpmap(7000, options=options, **more))[3]

        check("THIRD_PARTY off", result(third) == 5)
        g.do("third-party on")
        same("THIRD_PARTY", g.c.ask(pcpmap(7000, options=third)),
             head(1, 0, 7200) + body(7000, 7000) + third.hex())
        check("for the other host", g.table()[0]["client"] == "127.0.0.50")
        check("for oneself", result(option(1, mapped(ME))) == 3)
        check("in use", port_of(g.c.ask(pcpmap(7000, 7000))) == 7001)
        check("PREFER_FAILURE", result(prefer, suggested=7005) == 11)
        check("PREFER_FAILURE fits", result(prefer, suggested=7001) == 0)
        check("other address", result(prefer, suggested=7001, ext="9.9.9.9") == 11)
        check("without a port", result(prefer) == 6)
        same("unknown, optional", g.c.ask(pcpmap(7000, options=option(200, b"abc"))),
             head(1, 0, 7200) + body(7000, 7001))
        check("unknown, mandatory", result(option(99, b"")) == 5)
        check("overrun", result(b"\x80\x00\x00\x09abcd") == 6)
        check("DESCRIPTION ignored", len(g.c.ask(pcpmap(7000, options=comment))) == 60)
        g.do("description on")
        same("DESCRIPTION", g.c.ask(pcpmap(7000, options=comment)),
             head(1, 0, 7200) + body(7000, 7001) + comment.hex())
        check("stored", g.table()[1]["description"] == "web", g.table())
        g.do("strict-options on")
        check("Q-179", result(comment) == 6 and result(option(128, b"webs")) == 0)
        g.do("max-filters 2")
        check("FILTER", result(filters[0]) == 0 and result(filters[1]) == 0)
        check("too many", result(filters[2]) == 13 and g.table()[1]["filters"] == 2, g.table())
        check("in a delete", result(filters[0], lifetime=0) == 6)
        g.do("options off")
        check("any option", result(comment) == 5 and result(b"") == 0)


def port_set(size, first, length=5, last=0):
    return option(130, struct.pack("!HHB", size, first, last)[:length])


def pcp_sets():
    ten = port_set(10, 7000)
    with Gateway(*FIXED) as g:
        def result(options, internal=7000, **more):
            return g.c.ask(pcpmap(internal, options=options, **more))[3]

        check("PORT_SET ignored", len(g.c.ask(pcpmap(7000, options=ten))) == 60)
        g.do("forget")
        g.do("port-set refuse")
        check("PORT_SET refused", result(ten) == 5)
        g.do("port-set malformed")
        check("PORT_SET malformed", result(ten) == 6)
        g.do("port-set grant")
        for name, bad in (("size 0", port_set(0, 7000)), ("other port", port_set(10, 7001)),
                          ("short", port_set(10, 7000, 4)), ("reserved bits", port_set(10, 7000, last=2)),
                          ("two", ten + ten), ("with PREFER_FAILURE", option(2, b"") + ten)):
            check("PORT_SET " + name, result(bad, suggested=7000) == 6)
        same("PORT_SET", g.c.ask(pcpmap(7000, 6000, options=ten)),
             head(1, 0, 7200) + body(7000, 6000) + ten.hex())
        check("one row", [m["ports"] for m in g.table()] == [10], g.table())
        check("in use", port_of(g.c.ask(pcpmap(9000, 6009))) == 6010)
        check("not over another", port_of(g.c.ask(pcpmap(8000, 5995, options=port_set(10, 8000)))) == 6011)
        same("PORT_SET renewed", g.c.ask(pcpmap(7000, 6000, options=port_set(4, 7000))),
             head(1, 0, 7200) + body(7000, 6000) + ten.hex())
        check("delete without it", result(b"", lifetime=0) == 0)
        check("leaves the rest", g.table()[0]["internal"] == 7001 and g.table()[0]["ports"] == 9, g.table())
        check("delete", result(port_set(9, 7001), 7001, lifetime=0) == 0 and len(g.table()) == 2)
        g.do("port-set fewer")
        same("fewer", g.c.ask(pcpmap(7100, 7100, options=port_set(10, 7100))),
             head(1, 0, 7200) + body(7100, 7100) + port_set(9, 7100).hex())
        g.do("ignore-options on")
        address = mapped("127.0.0.50")
        reply = g.c.ask(pcpmap(7200, options=option(1, address) + option(3, bytes(4) + address)))
        check("options ignored", reply[3] == 0 and len(reply) == 60)
        check("for oneself", g.table()[-1]["client"] == ME, g.table())


def pcp6():
    own = mapped("::1").hex()
    with Gateway(*FIXED, address="::1") as g:
        def ask(**more):
            return g.c.ask(pcpmap(6000, client="::1", ext="::", **more))

        same("pinhole", ask(), head(1, 0, 7200) + body(6000, 6000, own))
        g.do("v6-echo on")
        same("F-22", ask(), head(1, 0, 7200) + body(6000, 0, own))
        same("Q-054", ask(suggested=1234), head(1, 0, 7200) + body(6000, 1234, own))
        g.do("renew6-fails on")
        check("Q-094", ask()[3] == 8)
        check("delete and create", ask(lifetime=0)[3] == 0 and ask()[3] == 0)
        same("NAT64", g.c.ask(pcpmap(6000, client="::1")),
             head(1, 0, 7200) + body(6000, 6000, EXT))
        g.do("external6 2001:db8::7")
        g.do("forget")
        same("NPTv6", ask(suggested=7000),
             head(1, 0, 7200) + body(6000, 7000, mapped("2001:db8::7").hex()))
        check("NAT-PMP is for IPv4, yet answered as asked", g.c.ask(bytes(2)) is not None)


def origins():
    with Gateway(*FIXED, "--origin-check") as g:
        g.c.ask(pcpmap(5400))
        same("Q-061", g.c.ask(pmap(1, 5400, 0, 0)), "0081 0000 00000681 1518 0000 00000000")
        check("still there", len(g.table()) == 1)
        g.c.ask(pmap(1, 5500, 0, 600))
        check("Q-062", g.c.ask(pcpmap(5500, lifetime=0))[3] == 2 and len(g.table()) == 2)


# ---- versions -----------------------------------------------------------------------------------

def refusals():
    with Gateway(*FIXED, "--mode", "nat-pmp") as g:
        shapes = {"8": "0081 0001" + EPOCH, "op0": "0000 0001" + EPOCH,
                  "erratum": "0080 0001" + EPOCH, "short": "0081 0001",
                  "pcp": head(1, 1, 1800) + body(7, 0, NO4),
                  "v1": "01" + (head(1, 1, 1800) + body(7, 0, NO4))[2:],
                  "v9": "09" + (head(1, 1, 1800) + body(7, 0, NO4))[2:],
                  "f19": "0080" + (head(1, 3, 1800) + body(7, 0, NO4))[4:]}
        for shape, wanted in shapes.items():
            g.do("pcp-refusal " + shape)
            same(shape, g.c.ask(pcpmap(7)), wanted)
        g.do("pcp-refusal mute")
        check("mute", g.c.silent(pcpmap(7)))
        same("NAT-PMP is there", g.c.ask(bytes(2)), "0080 0000 00000681 08080404")
        g.do("mode pcp")
        same("PCP's version error", g.c.ask(bytes(2)), head(0, 1, 1800))
        g.do("nat-pmp-refusal fritz")
        same("F-10", g.c.ask(bytes(2)), "0280")
        same("F-11", g.c.ask(pmap(1, 7, 7, 60)), "0281 0002 a2a90000" + EPOCH)
        g.do("nat-pmp-refusal mute")
        check("mute", g.c.silent(bytes(2)))
        check("PCP is there", g.c.ask(pcpmap(7))[3] == 0)
        g.do("mode none")
        check("none", g.c.silent(pcpmap(7)) and g.c.silent(bytes(2)))


# ---- epoch --------------------------------------------------------------------------------------

def epoch_of(g):
    return struct.unpack("!I", g.c.ask(bytes(2))[4:8])[0]


def epochs():
    with Gateway("--epoch", 1000) as g:
        check("start", 1000 <= epoch_of(g) < 1060)
        check("runs", g.until(lambda: epoch_of(g) >= 1002))
        g.do("epoch-rate 1000")
        check("fast", g.until(lambda: epoch_of(g) > 1500))
        g.do("epoch-freeze 0")
        check("frozen", epoch_of(g) == 0)
        g.do("set epoch-rate 0 epoch-freeze off epoch 77")
        check("set", epoch_of(g) == 77)
        g.do("jump +1800")
        check("forward", epoch_of(g) == 1877)
        g.do("jump -1878")
        check("wraps", epoch_of(g) == 0xffffffff)
        g.c.ask(pmap(1, 7, 7, 600))
        g.do("forget")
        check("amnesia", g.table() == [] and epoch_of(g) == 0xffffffff)
        g.c.ask(pmap(1, 7, 7, 600))
        g.do("reboot keep epoch 5")
        check("kept", len(g.table()) == 1 and epoch_of(g) == 5)
        g.do("reboot")
        check("reboot", g.table() == [] and epoch_of(g) == 0)
        check("one clock", g.c.ask(pcp(0, 0))[8:12] == bytes(4))


# ---- announcements ------------------------------------------------------------------------------

def announcements():
    with Gateway("--external", "8.8.4.4", "--epoch", 0x6ed, "--epoch-rate", 0) as g:
        ear = Client(g)
        g.do("announce-to %s:%d" % (ME, ear.port))
        g.c.ask(pmap(1, 5, 5, 600))
        g.do("reboot burst")
        same("F-23, old epoch", ear.get(), "0080 0000 000006ed 08080404")
        same("F-23, port 5351", ear.get(), "0080 0000 000006ed 08080404")
        same("F-23, PCP", ear.get(), "0280" + "00" * 22)
        check("from the server's port", ear.source == g.address)
        check("table gone", g.table() == [])
        g.do("reboot pcp-only epoch 1791")
        same("F-24", ear.get(), "0280 0000 00000000 000006ff" + "00" * 12)
        check("once", ear.get(QUIET) is None)
        start = time.monotonic()
        g.do("reboot announce copies 3 gap 300 epoch 9")
        g.do("epoch 10")
        pairs = [hexed(ear.get()) for _ in range(2)]
        took = time.monotonic() - start
        check("both protocols", sorted(p[:4] for p in pairs) == ["0080", "0280"], pairs)
        pairs += [hexed(ear.get()) for _ in range(4)]
        check("doubling", time.monotonic() - start >= 0.85 and took < 5)
        check("epoch of the moment", pairs[4][8:16] == "0000000a" or pairs[5][16:24] == "0000000a",
              pairs)
        check("three copies", ear.get(QUIET) is None)
        g.do("announce nat-pmp copies 100 gap 1 flat epoch 7 external 9.9.9.9")
        got = [hexed(ear.get()) for _ in range(100)]
        check("flood", set(got) == {"008000000000000709090909"}, set(got))
        g.do("announce pcp copies 1 epoch 3 result 2 to last")
        same("to the last client", g.c.get(), "02800002 00000000 00000003" + "00" * 12)
        g.do("set wan down")
        g.do("announce burst")
        check("Q-005", hexed(ear.get())[:4] == "0280" and ear.get(QUIET) is None)
        check("17 copies", g.tell("announce copies 17").startswith("error: "))
        ear.close()


def multicast():
    if not private:
        print("skip: multicast: needs root")
        return
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("224.0.0.1", 5350))
    lo = socket.if_nametoindex("lo")
    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                   socket.inet_aton("224.0.0.1") + socket.inet_aton("0.0.0.0") +
                   struct.pack("@i", lo))
    with Gateway(*FIXED, "--announce-if", "lo") as g:
        g.do("announce nat-pmp copies 1")
        got = select.select([ear], [], [], PATIENCE)[0] and ear.recvfrom(100)
        check("224.0.0.1:5350", got and got == (bytes.fromhex("008000000000068108080404"), g.address),
              got)
    ear.close()
    # The loopback has no IPv6 multicast route; a cable from this host to itself has.
    for line in ("link add fgw0 type veth peer name fgw1", "link set fgw0 up", "link set fgw1 up",
                 "addr add fe80::1/64 dev fgw0 nodad"):
        subprocess.run(["ip"] + line.split(), check=True)
    far = socket.if_nametoindex("fgw1")
    ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    ear.bind(("ff02::1", 5350, 0, far))
    with Gateway(*FIXED, "--listen", "fe80::1%fgw0", address="::1") as g:
        g.do("announce pcp copies 1")
        got = select.select([ear], [], [], PATIENCE)[0] and ear.recvfrom(100)
        check("[ff02::1]:5350", got and got[0].hex() == head(0, 0, 0) and
              (got[1][0].partition("%")[0], got[1][1]) == ("fe80::1", 5351), (got, g.records(event="unsent")))
    ear.close()


def updates():
    with Gateway(*FIXED) as g:
        g.c.ask(pcpmap(7000))
        g.do("update port 7000 external 7777 address 9.9.9.9 lifetime 60")
        wanted = head(1, 0, 60) + body(7000, 7777, "00000000000000000000ffff09090909")
        for i in range(3):
            same("copy %d" % i, g.c.get(), wanted)
        check("three", g.c.get(QUIET) is None)
        check("table", g.table()[0]["external"] == 7777 and g.table()[0]["left"] <= 60, g.table())
        g.do("update protocol udp port 7000 result 2 lifetime 1800 copies 1")
        check("error", g.c.get()[3:8] == bytes.fromhex("0200000708"))
        check("none such", g.tell("update port 1").startswith("error: "))
        g.do("update port 7000 lifetime 0 copies 1")
        check("withdrawn", g.c.get()[4:8] == bytes(4) and g.table() == [])
        g.c.ask(pmap(1, 8000, 8000, 600))
        g.do("update external 8001 lifetime 30 copies 1")
        same("NAT-PMP", g.c.get(), "0081 0000 00000681 1f40 1f41 0000001e")


# ---- faults -------------------------------------------------------------------------------------

def losses():
    with Gateway(*FIXED) as g:
        g.do("drop-first 2")
        check("drop-first", g.c.silent(bytes(2)) and g.c.silent(bytes(2)) and
              g.c.ask(bytes(2)) is not None)
        check("reasons", len(g.records(event="drop", why="drop-first")) == 2)

        def pattern(kind):
            g.do("set %s 0.5 seed 7" % kind)
            before = json.loads(g.do("stats"))["in"]
            for i in range(200):
                g.c.put(pmap(1, 1000 + i, 0, 600))
            check("all arrived", g.until(
                lambda: json.loads(g.do("stats"))["in"] == before + 200))
            g.do("set %s 0" % kind)
            g.c.put(pmap(1, 999, 0, 600))
            got = []
            while not got or got[-1] != 999:
                data = g.c.get()
                if data is None:
                    break
                got.append(struct.unpack("!H", data[8:10])[0])
            return got

        first = pattern("drop-requests")
        maps = len(g.table())
        check("share", 60 < len(first) < 140 and maps == len(first), (len(first), maps))
        g.do("forget")
        check("by seed", pattern("drop-requests") == first)
        g.do("forget")
        replies = pattern("drop-replies")
        check("replies lost, requests served", 60 < len(replies) < 140 and len(g.table()) == 201,
              (len(replies), len(g.table())))
        g.do("silence on")
        check("silence", g.c.silent(bytes(2)))
        g.do("silence off")
        check("and back", g.c.ask(bytes(2)) is not None)
        stats = json.loads(g.do("stats"))
        check("stats", stats["dropped_requests"] == 2 + 2 * (201 - len(first)) + 1 and
              stats["dropped_replies"] == 201 - len(replies), stats)


def refuse():
    with Gateway(*FIXED) as g:
        c = Client(g, connected=True)
        g.do("refuse on")
        c.s.send(bytes(2))
        try:
            got = c.get()
            check("refused", False, got)
        except ConnectionRefusedError:
            check("refused", True)
        g.do("refuse off")
        c.s.send(bytes(2))
        check("open again", c.get() is not None)
        c.close()


def icmp():
    if not private:
        print("skip: icmp: needs root")
        return
    for address, me in ((GW, ME), ("::1", "::1")):
        with Gateway(*FIXED, address=address) as g:
            c = Client(g, connected=True, address=me)
            g.do("rule what=create nth=1-2 action=icmp port")
            for _ in range(2):
                c.s.send(pmap(1, 5, 5, 60))
                try:
                    check("refused", False, c.get())
                except ConnectionRefusedError:
                    check("refused", True)
            c.s.send(pmap(1, 5, 5, 60))
            check("then served", c.get() is not None and len(g.table()) == 1)
            c.close()


def shapes_of_replies():
    with Gateway(*FIXED, "--listen", GW2) as g:
        start = time.monotonic()
        g.do("set delay 300 jitter 50")
        check("delay", g.c.ask(bytes(2)) is not None and time.monotonic() - start >= 0.29)
        g.do("set delay 0 jitter 0 dup 2")
        g.c.put(bytes(2))
        check("dup", len({g.c.get() for _ in range(3)}) == 1 and g.c.get(QUIET) is None)
        g.do("set dup 0 reply-from %s:%d" % (GW, g.address[1] ^ 1))
        g.c.ask(bytes(2))
        check("other port", g.c.source == (GW, g.address[1] ^ 1), g.c.source)
        g.do("reply-from " + GW2)
        g.c.ask(bytes(2))
        check("other address", g.c.source == (GW2, 5351), g.c.source)
        g.do("set reply-from off truncate 5")
        same("cut", g.c.ask(bytes(2)), "0080 0000 00")
        g.do("set truncate off corrupt 1")
        got = int.from_bytes(g.c.ask(bytes(2)), "big") ^ 0x008000000000068108080404
        check("one bit", bin(got).count("1") == 1, hex(got))


# ---- rules --------------------------------------------------------------------------------------

def rules():
    with Gateway(*FIXED) as g:
        g.do("rule version=2 op=1 port=5000 nth=2 action=drop")
        check("nth", [g.c.ask(pcpmap(5000), QUIET) is not None for _ in range(3)] ==
              [True, False, True])
        g.do("rule what=create version=0 port=5000-5010 action=reply-hex 00 OP 0000 EPOCH+2 IPORT "
             "SPORT+1 LIFE")
        same("reply-hex", g.c.ask(pmap(1, 5005, 5005, 60)), "0081 0000 00000683 138d 138e 0000003c")
        check("table untouched", len(g.table()) == 1)
        g.do("unrule all")
        g.do("rule action=reply-hex 0281 0000 GRANT EPOCH ZERO[12] NONCE PROTO FILL[3] IPORT EPORT EXT")
        same("with service", g.c.ask(pcpmap(5001)),
             "02810000 00001c20" + EPOCH + "00" * 12 + NONCE.hex() + "11ffffff 1389 1389" + EXT)
        g.do("unrule all")
        g.do("rule action=reply-hex REPLY 63000000 | dup 1")
        same("unknown option", g.c.ask(pcp(0, 0)), head(0, 0, 0) + "63000000")
        same("twice", g.c.get(), head(0, 0, 0) + "63000000")
        g.do("unrule all")
        port = g.address[1] ^ 1
        g.do("rule version=0 action=send from=%s:%d REPLY | delay 300" % (GW, port))
        g.c.ask(bytes(2))
        check("first from elsewhere", g.c.source == (GW, port), g.c.source)
        g.c.get()
        check("then the right one", g.c.source == g.address, g.c.source)
        g.do("unrule all")
        g.do("rule action=patch 2 ff | patch 12 FILL[12] | from %s:%d" % (GW, port))
        same("patch", g.c.ask(pcp(0, 0)), "0280ff00 00000000" + EPOCH + "ff" * 12)
        check("from", g.c.source == (GW, port))
        g.do("unrule all")
        g.do("rule name=x action=truncate 3 | reply-hex REQUEST[1:9]")
        same("order of actions", g.c.ask(pcpmap(5)), "010000 00001c20 00")
        g.do("unrule x")
        check("unknown name", g.tell("unrule x").startswith("error: "))
        g.do("set epoch-freeze off epoch-rate 0 epoch 500")
        g.do("rule what=create nth=2 action=do reboot epoch 3 | then note over")
        g.c.ask(pmap(1, 1, 0, 60))
        same("rebooted before", g.c.ask(pmap(1, 2, 0, 60)), "0081 0000 00000003 0002 0400 0000003c")
        check("then", g.until(lambda: g.records(event="note", text="over")))
        g.do("rule from=127.0.0.99 action=drop")
        g.do("rule prob=0 action=drop")
        g.do("rule to=127.0.0.99 action=drop")
        g.do("rule len=3- action=drop")
        check("not these", g.c.ask(bytes(2)) is not None)
        g.do("unrule all")
        for match in ("every=2", "first=2 nth=2", "nth=2-", "nth=2"):
            g.do("rule protocol=udp nonce=%s from=%s to=%s %s action=drop" % (
                NONCE.hex(), ME, GW, match))
            got = [g.c.ask(pcpmap(5000), QUIET) is None for _ in range(4)]
            wanted = {"every=2": [0, 1, 0, 1], "nth=2-": [0, 1, 1, 1]}.get(match, [0, 1, 0, 0])
            check(match, got == [bool(w) for w in wanted], got)
            check("other nonce, protocol", g.c.ask(pcpmap(5000, nonce=OTHER)) is not None and
                  g.c.ask(pcpmap(5000, proto=TCP)) is not None)
            g.do("unrule all")
        g.do("rule from=127.0.0.99 action=drop")
        g.do("rule version=0 op=0 action=serve")
        g.c.ask(bytes(2))
        listed = json.loads(g.do("rules"))
        check("rules", [(r["seen"], r["used"]) for r in listed] == [(0, 0), (1, 1)], listed)


def results():
    with Gateway(*FIXED) as g:
        check("brief's words", "rule" in json.loads(g.do("set result map 2 lifetime 0 nth 3")))
        got = [g.c.ask(pcpmap(5000))[3:8].hex() for _ in range(4)]
        check("third only", got == ["0000001c20"] * 2 + ["0200000000", "0000001c20"], got)
        g.do("result clear")
        g.do("result delete 8 lifetime 4294967295")
        check("delete", g.c.ask(pcpmap(5000, lifetime=0))[3:8].hex() == "08ffffffff")
        check("others not", g.c.ask(pcpmap(5000))[3] == 0)
        g.do("result clear")
        g.do("result announce 2")
        check("Q-043", g.c.ask(pcp(0, 0))[3] == 2 and g.c.ask(pcpmap(5000))[3] == 0)
        g.do("result addr 4242")
        same("address", g.c.ask(bytes(2)), "0080 1092 00000681 00000000")
        g.do("result clear")
        g.do("result create 0 lifetime 7")
        same("success with a lifetime", g.c.ask(pmap(1, 9, 9, 60)),
             "0081 0000 00000681 0009 0400 00000007")
        check("nonsense", g.tell("result map").startswith("error: "))


# ---- zoo ----------------------------------------------------------------------------------------

def acceptable(request, data):
    """What no client may take for an answer, by RFC 6887 section 8.3 and RFC 6886."""
    if len(data) < 4 and request[0] == 2:
        return False
    if len(data) < 2:
        return False
    if data[0] == 0 and len(data) >= 4 and data[2:4] == b"\0\1" and data[1] in (0, 128):
        return True
    if not data[1] & 0x80:
        return False
    if data[0] == 0 and request[0] == 0:
        error = len(data) >= 4 and data[2:4] != b"\0\0"
        need = 4 if error else 12 if request[1] == 0 else 16
        return data[1] & 127 == request[1] and len(data) >= need and \
            (error or request[1] == 0 or data[8:10] == request[4:6])
    if data[0] == 2 and request[0] == 0:
        return True
    if len(data) >= 4 and data[3] == 1:
        return True
    return data[0] == 2 and 24 <= len(data) <= 1100 and len(data) % 4 == 0 and \
        data[1] & 127 == request[1] and (request[1] == 0 or (
            len(data) >= 60 and data[24:37] == request[24:37] and data[40:42] == request[40:42]))


def zoo():
    with Gateway(*FIXED, "--third-party") as g:
        for request in (bytes(2), pmap(1, 5000, 5000, 60), pcp(0, 0), pcpmap(5000),
                        pcpmap(0), pmap(1, 0, 0, 60)):
            right = g.c.ask(request)
            check("the judge", acceptable(request, right), hexed(right))
            g.do("set zoo before zoo-count 50 seed 3")
            animals, wrong = set(), []
            for _ in range(20):
                g.c.put(request)
                for _ in range(50):
                    data = g.c.get()
                    animals.add(data)
                    if data is None or acceptable(request, data):
                        wrong.append(hexed(data))
                same("the right one last", g.c.get(), right.hex())
            check("invalid", not wrong, wrong[:3])
            check("diversity", len(animals) > 200, len(animals))
            g.do("zoo off")
        g.do("set zoo replace zoo-count 1 zoo-kind any")
        got = [g.c.ask(pcpmap(5000)) for _ in range(300)]
        check("any", None not in got and max(len(d) for d in got) > 600)
        check("of all kinds", {d[0] for d in got if d} >= {0, 2})
        g.do("set zoo off zoo-kind invalid")
        g.c.ask(pcpmap(5000))
        before = json.loads(g.do("stats"))["out"]
        lines = len(g.records(event="datagram"))
        g.do("blast 1000 quiet")
        seen = 0
        while g.c.get(QUIET) is not None:
            seen += 1
        check("its end is logged", g.until(lambda: g.records(event="blasted")))
        check("blast", json.loads(g.do("stats"))["out"] == before + 1000 and seen > 0, seen)
        check("quiet", len(g.records(event="datagram")) == lines)


# ---- running it ---------------------------------------------------------------------------------

def control():
    with Gateway(*FIXED) as g:
        for line in ("dance", "set", "set delay", "set delay x", "set delay -1", "set drop-replies 2",
                     "set mode upnp", "set external ::1", "set external6 1.2.3.4", "lifetime 5",
                     "lifetime 9:5", "rule", "rule op=1", "rule hop=1 action=drop",
                     "rule action=jump", "rule action=delay", "rule action=reply-hex 0g",
                     "rule action=patch x 00", "rule action=result 1 lifetime", "reboot now",
                     "announce loudly", "at", "at 5", "at x note y", "jump", "occupy 1", "blast",
                     "blast 5", "send 1", "port-list 1,x", "epoch off", "update sideways",
                     "reply-from nowhere", "set port-range 0:5", "unrule"):
            answer = g.tell(line)
            check("refused: " + line, answer.startswith("error: ") and len(answer) > 15, answer)
        check("state unchanged", json.loads(g.do("settings"))["delay"] == 0)
        check("comment and nothing", g.do("# hello") == "ok" and g.do("") == "ok")
        g.do("set delay 5 jitter 6")
        s = json.loads(g.do("settings"))
        check("settings", (s["delay"], s["jitter"], s["mode"], s["external"]) ==
              (5, 6, "both", "8.8.4.4"), s)
        check("help", "stats" in json.loads(g.do("help")))
        g.do("send %s:%d %s:%d 0102 03" % (GW, g.address[1], ME, g.c.port))
        same("send", g.c.get(), "010203")
        run = subprocess.run([binary, "--ctl", g.control, "set", "delay", "0"], capture_output=True)
        check("--ctl", (run.returncode, run.stdout) == (0, b"ok\n"), run)
        run = subprocess.run([binary, "--ctl", g.control, "dance"], capture_output=True)
        check("--ctl, error", run.returncode == 1 and run.stdout.startswith(b"error: "), run)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect(g.control)
        s.sendall(b"note a\nno")
        s.sendall(b"te b\r\nnote c\n")
        f = s.makefile()
        check("lines in pieces", [f.readline() for _ in range(3)] == ["ok\n"] * 3)
        f.close()
        s.sendall(b"x" * 20000)
        check("long line", b"too long" in s.recv(100))
        s.close()
        check("notes", [r["text"] for r in g.records(event="note")] == ["a", "b", "c"])
        g.do("after 0.05 note later")
        check("after", g.until(lambda: g.records(event="note", text="later")))
        check("quit", g.do("quit") == "ok" and g.p.wait(PATIENCE) == 0)


def script():
    path = os.path.join(scratch, "script")
    with open(path, "w") as f:
        f.write("# a comment\n\nset epoch-rate 0 epoch 50\nat 0.2 note one\nat 0.1 note two\n"
                "at 0.3 reboot epoch 4\n")
    with Gateway("--script", path, "--do", "occupy 127.0.0.9 tcp 80 80 60", "--port-range=1:65535") \
            as g:
        check("occupied", g.ports() == [(80, 80)], g.ports())
        check("in time", g.until(lambda: epoch_of(g) == 4) and
              [r["text"] for r in g.records(event="note")] == ["two", "one"])
        times = [r["t"] for r in g.records(event="note")]
        check("not early", times[1] > times[0])


def command_line():
    bad = ([], ["--listen"], ["--listen", "nowhere"], ["--listen", "0.0.0.0"], ["x"],
           ["--listen", "192.0.2.77"], ["--delay", "x", "--listen", GW], ["--dance", "1"],
           ["--listen", GW, "--script", "/nonexistent"], ["--listen", GW, "--log", "/nonexistent/x"],
           ["--listen", GW, "--do", "dance"], ["--ready-fd", "x"])
    for argv in bad:
        run = subprocess.run([binary] + argv, capture_output=True, timeout=PATIENCE)
        check("refused: %s" % argv, run.returncode == 2 and run.stderr.startswith(b"fakegw: "), run)
    run = subprocess.run([binary, "--help"], capture_output=True)
    check("help", run.returncode == 0 and b"--drop-replies" in run.stdout)
    r, w = os.pipe()
    os.set_inheritable(w, True)
    p = subprocess.Popen([binary, "--listen", GW + ":0", "--ready-fd", str(w)], pass_fds=[w],
                         stdout=subprocess.PIPE)
    os.close(w)
    with os.fdopen(r) as f:
        ready = json.loads(f.readline())
    check("ready-fd", ready["ready"] is True and ready["pid"] == p.pid, ready)
    check("log on stdout", json.loads(p.stdout.readline()) == ready)
    p.terminate()
    check("SIGTERM", p.wait(PATIENCE) == 0)
    check("exit logged", json.loads(p.stdout.readline())["event"] == "exit")
    p.stdout.close()


def log():
    with Gateway(*FIXED) as g:
        g.c.ask(pcpmap(7000, 7001))
        check("two lines", g.until(lambda: len(g.records(event="datagram")) == 2))
        got, sent = g.records(event="datagram")
        wanted = {"dir": "in", "local": "%s:%d" % g.address, "peer": "%s:%d" % (ME, g.c.port),
                  "len": 60, "hex": pcpmap(7000, 7001).hex(), "version": 2, "op": 1, "reply": False,
                  "protocol": 17, "internal": 7000, "suggested": 7001, "lifetime": 7200,
                  "client": ME, "suggested_address": "0.0.0.0", "nonce": NONCE.hex()}
        check("in", {k: got.get(k) for k in wanted} == wanted, got)
        wanted = {"dir": "out", "result": 0, "epoch": 0x681, "external": 7001, "reply": True,
                  "external_address": "8.8.4.4"}
        check("out", {k: sent.get(k) for k in wanted} == wanted, sent)
        check("order of times", got["t"] <= sent["t"] <= time.monotonic() and
              abs(got["wall"] - time.time()) < 60 and got["boot_ms"] > 0)
        change = g.records(event="table")[0]
        check("table", (change["change"], change["mapping"]["external"], change["live"]) ==
              ("add", 7001, 1), change)


TESTS = (natpmp_service, natpmp_errors, lifetimes, policies, proton, pcp_service, pcp_wan,
         pcp_options, pcp_sets, pcp6, origins, refusals, epochs, announcements, multicast, updates, losses,
         refuse, icmp, shapes_of_replies, rules, results, zoo, control, script, command_line, log)


def own_network():
    """A network namespace of our own with a loopback, so that nobody hears our announcements."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(0x40000000) != 0:
        return False
    return subprocess.run(["ip", "link", "set", "lo", "up"], check=False).returncode == 0


def find_binary():
    if len(sys.argv) > 1:
        return os.path.abspath(sys.argv[1])
    built = os.path.join(os.environ.get("top_builddir", "."), "tests/gateway/fakegw")
    if os.access(built, os.X_OK):
        return os.path.abspath(built)
    path = os.path.join(scratch, "fakegw")
    subprocess.run(os.environ.get("CC", "cc").split() + ["-std=c11", "-O1", "-o", path] +
                   sorted(glob.glob(os.path.join(HERE, "*.c"))), check=True)
    return path


def main():
    global binary, scratch, private
    with tempfile.TemporaryDirectory(prefix="fakegw") as scratch:
        binary = find_binary()
        private = own_network()
        for test in TESTS:
            try:
                test()
            except Exception as error:  # one broken test must not hide the others
                check(test.__name__, False, "%s: %s" % (type(error).__name__, error))
    print("gateway: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
