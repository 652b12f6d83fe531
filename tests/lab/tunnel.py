# SPDX-License-Identifier: ISC
"""A point-to-point link like a VPN's: a tun device at either end, and this process in between."""

import fcntl
import os
import struct

from lab import now

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
IPPROTO_UDP = 17
PCP_PORT = struct.pack("!H", 5351)


class Tunnel:
    """Without addresses or routes. It is down, for both, once it is closed."""

    def __init__(self, lab, ends, heard):
        """`ends`: two pairs of a namespace and the device's name in it. heard(packet) is called with
        what the first one sends."""
        self.lab = lab
        self.fds = [self.device(space, name) for space, name in ends]
        one, other = self.fds
        lab.pump.watch(one, lambda: self.carry(one, other, heard))
        lab.pump.watch(other, lambda: self.carry(other, one))
        lab.keep(self)

    @staticmethod
    def device(space, name):
        with space.inside():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
        return fd

    @staticmethod
    def carry(here, there, heard=None):
        try:
            packet = os.read(here, 65536)
            if heard:
                heard(packet)
            os.write(there, packet)
        except (BlockingIOError, OSError):
            pass  # as on any link, it is lost

    def close(self):
        for fd in self.fds:
            self.lab.pump.forget(fd)
            os.close(fd)
        self.fds = []


class Vpn:
    """A VPN's server in a namespace of its own, with the scripted gateway to be put at 10.2.0.1; the
    client's end in lan is `interface`."""

    def __init__(self, home, interface="wg0", server="10.2.0.1", client="10.2.0.2"):
        self.space = home.lab.namespace("vpn")
        self.lan, self.interface, self.inner, self.client = home.lan, interface, server, client
        self.lab = home.lab
        self.tunnel = None
        self.packets = []
        home.wires.append(self)

    def sent(self):
        """For a Capture: what the client has sent to port 5351, as Ethernet frames."""
        return [(stamp, bytes(12) + b"\x08\x00" + packet) for stamp, packet in list(self.packets)
                if packet[0] >> 4 == 4 and packet[9] == IPPROTO_UDP and packet[22:24] == PCP_PORT]

    def up(self, peer=False):
        """The client's own address, /32 as WireGuard has it, or with the server as its peer."""
        self.tunnel = Tunnel(self.lab, ((self.lan, self.interface), (self.space, "lan0")),
                             lambda packet: self.packets.append((now(), packet)))
        self.space.ip("addr add %s peer %s dev lan0" % (self.inner, self.client), "link set lan0 up")
        self.lan.ip("addr add %s%s dev %s" % (self.client, " peer " + self.inner if peer else "/32",
                                              self.interface),
                    "link set %s up" % self.interface)

    def down(self):
        self.tunnel.close()
