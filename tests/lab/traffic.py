# SPDX-License-Identifier: ISC
"""What goes through a forward, and datagrams from anywhere."""

import contextlib
import socket
import struct
import threading

from lab import now


class Web:
    """A small HTTP server and UDP echo on some ports of a namespace: what a forward leads to."""

    def __init__(self, namespace, tcp=(), udp=()):
        self.lab = namespace.lab
        self.sockets = []
        for port in tcp:
            listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
            listener.listen(64)
            listener.setblocking(False)
            self.watch(listener, lambda s=listener, p=port: self.accept(s, p))
        for port in udp:
            echo = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
            echo.bind(("", port))
            echo.setblocking(False)
            self.watch(echo, lambda s=echo, p=port: self.echo(s, p))
        self.lab.keep(self)

    def watch(self, made, ready):
        self.sockets.append(made)
        self.lab.pump.watch(made, ready)

    def accept(self, listener, port):
        with contextlib.suppress(BlockingIOError):
            made, _ = listener.accept()
            made.setblocking(False)
            self.lab.pump.watch(made, lambda: self.answer(made, port))

    def answer(self, made, port):
        self.lab.pump.forget(made)
        with contextlib.suppress(OSError), made:
            if made.recv(4096):
                made.sendall(b"HTTP/1.0 200 OK\r\n\r\nport %d\n" % port)

    @staticmethod
    def echo(made, port):
        with contextlib.suppress(OSError):
            data, source = made.recvfrom(2048)
            made.sendto(b"port %d\n" % port + data, source)

    def close(self):
        for made in self.sockets:
            self.lab.pump.forget(made)
            made.close()


def fetch(namespace, address, port, seconds=1.0):
    """What a web client in the namespace gets, or None."""
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((address, port))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b""
            while True:
                more = client.recv(4096)
                if not more:
                    return text.partition(b"\r\n\r\n")[2].decode().strip() or None
                text += more
        except OSError:
            return None


def ask_udp(namespace, address, port, seconds=1.0):
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((address, port))
            client.send(b"?")
            return client.recv(2048).partition(b"\n")[0].decode()
        except OSError:
            return None


def inject(namespace, interface, source, target, data):
    """Sends a UDP datagram with any source; source and target are (address, port)."""
    with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        udp = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 1, socket.IPPROTO_UDP, 0,
                           socket.inet_aton(source[0]), socket.inet_aton(target[0]))
        raw.sendto(head + udp, (target[0], 0))


class Prober(threading.Thread):
    """Connects ten times a second; an outage is two connects in a row that failed."""

    def __init__(self, namespace, address, port):
        super().__init__(daemon=True)
        self.namespace, self.address, self.port = namespace, address, port
        self.tries = self.failures = 0
        self.outages = []
        self.end = threading.Event()
        namespace.lab.keep(self)

    def run(self):
        failed = False
        while not self.end.is_set():
            begin = now()
            good = False
            with contextlib.suppress(OSError):
                with self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                    client.settimeout(0.5)
                    client.connect((self.address, self.port))
                    good = True
            self.tries += 1
            if not good:
                self.failures += 1
                if failed:
                    self.outages.append(begin)
            failed = not good
            self.end.wait(max(0.0, begin + 0.1 - now()))

    def close(self):
        self.end.set()
        if self.is_alive():
            self.join(2.0)
