# SPDX-License-Identifier: ISC
"""miniupnpd as the gateway of a Home, with real nftables NAT."""

import contextlib
import os
import re

from lab import Failure, end_foreign, now, process_start_time
from traffic import fetch

TABLES = """
table inet filter {
    chain miniupnpd { }
    chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
}
table inet nat {
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd;
        oifname wan0 masquerade; }
}
table inet lab {
    chain input { type filter hook input priority 0; policy accept; }
}
"""

FLUSH = """
flush chain inet filter miniupnpd
flush chain inet nat prerouting_miniupnpd
flush chain inet nat postrouting_miniupnpd
"""

CONFIG = """
ext_ifname=wan0
listening_ip=lan0
enable_natpmp=yes
enable_upnp=yes
pcp_allow_thirdparty=yes
secure_mode=yes
system_uptime=no
upnp_table_name=filter
upnp_nat_table_name=nat
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
uuid=00000000-0000-4000-8000-00000000%04x
min_lifetime=%d
max_lifetime=%d
allow 1024-65535 10.77.0.0/24 1-65535
deny 0-65535 0.0.0.0/0 0-65535
"""

# nft prints the protocol as raw payload, since miniupnpd's rule is not made the way nft makes it.
RULE = re.compile(r"(?:(tcp|udp) |@nh,72,8 0x(6|11) th )dport (\d+).* dnat (?:ip )?to ([\d.]+):(\d+)")


class Miniupnpd:
    def __init__(self, home, gateway, min_lifetime=120, max_lifetime=86400):
        self.home, self.gateway, self.space = home, gateway, gateway.space
        self.lab = home.lab
        name = "miniupnpd-" + self.space.role
        self.config = self.lab.path(name + ".conf")
        self.pid_file = self.lab.path(name + ".pid")
        with open(self.config, "w") as f:
            f.write(CONFIG % (int(gateway.inner[-1]), min_lifetime, max_lifetime))
        self.space.nft(TABLES)
        self.process = None
        self.lab.keep(self)
        self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.pid_file)  # one that names a live process would keep it from starting
        self.space.run("miniupnpd", "-f", self.config, "-P", self.pid_file)

        def pid():
            try:
                with open(self.pid_file) as f:
                    number = int(f.read())
            except (OSError, ValueError):
                return None
            started = process_start_time(number)
            return (number, started) if started is not None else None

        self.process = self.lab.until(pid, 5, "miniupnpd's pid file")
        self.lab.until(lambda: ":14E7 " in self.space.run("cat", "/proc/net/udp"), 5,
                       "miniupnpd to listen on port 5351")

    def kill(self):
        """As a power cut: nothing is said, nothing is cleaned up."""
        if self.process:
            end_foreign(*self.process, hard=True)
            self.process = None

    def reboot(self):
        """Returns the moment it was there again."""
        self.kill()
        self.space.nft(FLUSH)
        self.start()
        return now()

    def rules(self):
        """{(protocol, external port): (address, internal port)} as the kernel has them."""
        text = self.space.run("nft", "list", "chain", "inet", "nat", "prerouting_miniupnpd")
        found = {}
        for line in text.splitlines():
            match = RULE.search(line)
            if match:
                protocol = match[1] or {"6": "tcp", "11": "udp"}[match[2]]
                found[protocol, int(match[3])] = (match[4], int(match[5]))
        return found

    def silence(self, on=True):
        self.space.nft("add rule inet lab input udp dport 5351 drop" if on
                       else "flush chain inet lab input")

    def fetch(self, port, seconds=1.0):
        """Through the gateway from the Internet."""
        return fetch(self.home.wan, self.gateway.outer, port, seconds)

    def wait_rules(self, wanted, seconds):
        """Waits until exactly `wanted` external (protocol, port) pairs are there."""
        try:
            return self.lab.until(lambda: set(self.rules()) == set(wanted), seconds, "", step=0.05)
        except Failure:
            have = set(self.rules())
            raise Failure("after %.1f s the gateway's rules lack %s and have %s too many" % (
                seconds, sorted(set(wanted) - have), sorted(have - set(wanted)))) from None

    def close(self):
        self.kill()
