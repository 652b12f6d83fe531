# SPDX-License-Identifier: ISC
"""Capture: every datagram of the two protocols on an interface, with the kernel's time stamp."""

import socket
import struct
import time

from lab import now

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33


class Datagram:
    """A UDP datagram of port 5350 or 5351 as it passed the interface, and what it says."""

    __slots__ = ("time", "out", "source", "sport", "target", "port", "data", "frame")

    def __init__(self, stamp, out, source, sport, target, port, data, frame):
        self.time, self.out, self.data, self.frame = stamp, out, data, frame
        self.source, self.sport, self.target, self.port = source, sport, target, port

    @property
    def mapper(self):
        return {0: "nat-pmp", 2: "pcp"}.get(self.data[0] if self.data else None)

    @property
    def response(self):
        return len(self.data) > 1 and self.data[1] >= 128

    @property
    def op(self):
        return self.data[1] & 127 if len(self.data) > 1 else None

    @property
    def kind(self):
        """address, announce, map, delete or other."""
        if self.mapper == "nat-pmp":
            if self.op == 0:
                return "address"
            if self.op in (1, 2) and len(self.data) >= 12:
                return "delete" if not self.response and self.lifetime == 0 else "map"
        if self.mapper == "pcp":
            if self.op == 0:
                return "announce"
            if self.op == 1 and len(self.data) >= 60:
                return "delete" if not self.response and self.lifetime == 0 else "map"
        return "other"

    def number(self, offset, size):
        return int.from_bytes(self.data[offset:offset + size], "big")

    @property
    def result(self):
        return self.number(2, 2) if self.mapper == "nat-pmp" else self.data[3]

    @property
    def lifetime(self):
        if self.mapper == "pcp":
            return self.number(4, 4)
        return self.number(12, 4) if self.response else self.number(8, 4)

    @property
    def protocol(self):
        if self.mapper == "pcp":
            return {6: "tcp", 17: "udp"}.get(self.data[36])
        return {1: "udp", 2: "tcp"}.get(self.op)

    @property
    def inside(self):
        if self.mapper == "pcp":
            return self.number(40, 2)
        return self.number(8, 2) if self.response else self.number(4, 2)

    @property
    def outside(self):
        if self.mapper == "pcp":
            return self.number(42, 2)
        return self.number(10, 2) if self.response else self.number(6, 2)

    @property
    def nonce(self):
        return self.data[24:36] if self.mapper == "pcp" else b""

    @property
    def key(self):
        return self.protocol, self.inside

    def __str__(self):
        text = "%.3f %s %s:%d>%s:%d %s" % (self.time, "out" if self.out else "in ", self.source,
                                         self.sport, self.target, self.port, self.data[:64].hex())
        return text


class Wire:
    """Everything on one interface that is UDP from or to the ports of the two protocols."""

    def __init__(self, namespace, interface):
        self.namespace = namespace
        self.all = []
        self.paused = False
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        namespace.lab.pump.watch(self.socket, self.read)
        namespace.lab.keep(self)

    def read(self):
        for _ in range(256):
            try:
                frame, ancillary, _, address = self.socket.recvmsg(4096, 64)
            except BlockingIOError:
                return
            offset = time.time() - now()
            stamp = now()
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data[:16])
                    stamp = seconds + nanoseconds / 1e9 - offset
            made = None if self.paused else self.decode(stamp, address[2] == 4, frame)
            if made:
                self.all.append(made)

    @staticmethod
    def decode(stamp, out, frame):
        if len(frame) < 42:
            return None
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            at = 14 + 4 * (frame[14] & 15)
            source, target = (socket.inet_ntoa(frame[i:i + 4]) for i in (26, 30))
        elif frame[12:14] == b"\x86\xdd" and frame[20] == 17:
            at = 54
            source, target = (socket.inet_ntop(socket.AF_INET6, frame[i:i + 16]) for i in (22, 38))
        else:
            return None
        sport, port, size = struct.unpack_from("!HHH", frame, at)
        if not {sport, port} & {5350, 5351}:
            return None
        return Datagram(stamp, out, source, sport, target, port, frame[at + 8:at + size], frame)

    def requests(self, since=0.0, kind=None, to=None, mapper=None):
        """What the daemon sent to a gateway's port 5351."""
        return [d for d in list(self.all) if d.out and d.port == 5351 and d.time >= since
                and (kind is None or d.kind == kind) and (to is None or d.target == to)
                and (mapper is None or d.mapper == mapper)]

    def asked(self, kind="map"):
        """The requests without repetitions: those sent while the one before was unanswered."""
        waiting, made = set(), []
        for d in sorted(list(self.all), key=lambda d: d.time):
            if d.kind != kind or 5351 not in (d.port, d.sport):
                continue
            if not d.out:
                waiting.discard(d.key)
            elif d.key not in waiting:
                waiting.add(d.key)
                made.append(d)
        return made

    def replies(self, since=0.0, kind=None):
        return [d for d in list(self.all) if not d.out and d.sport == 5351 and d.time >= since
                and (kind is None or d.kind == kind)]

    def tail(self, n=12):
        return "\n".join("    " + str(d) for d in list(self.all)[-n:])

    def sent(self):
        """For a Capture: what this host has sent."""
        return [(d.time, d.frame) for d in list(self.all) if d.out]

    def close(self):
        self.namespace.lab.pump.forget(self.socket)
        self.socket.close()
