# SPDX-License-Identifier: ISC
"""Clocks: a host that was asleep, while the daemon ran or while it did not; another boot; somebody
who sets the wall clock."""

import signal

from case import MARGIN, test
from clocks import Clocks
from daemon import config, forward
from lab import expect, now

HOUR = 3600
LEASE = config(forward(8000, 18000, name="web"), mappers="{pcp}")

# Also says that this is another boot.
ANOTHER_BOOT = """
mount --bind "$1" /proc/sys/kernel/random/boot_id
shift
exec "$@"
"""


def ports(gateway):
    return [m["external"] for m in gateway.table()]


# ---- while the daemon did not run: the kernel's own clock, moved by a time namespace ----------------

def uptime():
    with open("/proc/uptime") as f:
        return float(f.read().split()[0])


def stopped(t, home, gateway):
    """A daemon that is gone and whose lease is kept, for an hour."""
    daemon = t.daemon(home, LEASE)
    daemon.wait_ready()
    expect(ports(gateway) == [18000], "nothing is mapped")
    daemon.stop(signal.SIGQUIT)
    return daemon


def asleep_for(seconds):
    return ["unshare", "--time", "--boottime", "%d" % seconds, "--"]


def claims(daemon):
    return daemon.published("web").get("EXTERNAL_PORT")


@test(seconds=8)
def started_after_a_sleep(t):
    """The lease has ended meanwhile: it is not told as one, and its port is asked for at once."""
    home = t.home()
    gateway = t.fakegw(home, grant=HOUR)
    daemon = stopped(t, home, gateway)
    gateway.tell("forget")
    gateway.set(silence="on")
    daemon.wrapper = asleep_for(2 * HOUR)
    daemon.start()
    t.until(lambda: home.wire.requests(daemon.started, "map"), 3 + MARGIN, "the gateway to be asked")
    t.elapse(1)
    expect(not claims(daemon), "a lease that has ended is told: %s" % daemon.published("web"))
    expect(daemon.status().startswith("0 of 1 "), "status: " + daemon.status())
    asked = home.wire.requests(daemon.started, "map")[0]
    expect(asked.outside == 18000, "port %d is suggested" % asked.outside)
    gateway.set(silence="off")
    t.until(lambda: claims(daemon) == "18000", 12, "the mapping to be told")


@test(seconds=8)
def started_within_the_lease(t):
    """It is still what it was, for 59 minutes more."""
    home = t.home()
    gateway = t.fakegw(home, grant=HOUR, nonce_strict="on")
    daemon = stopped(t, home, gateway)
    daemon.wrapper = asleep_for(60)
    daemon.start()
    daemon.wait_ready()
    expect(ports(gateway) == [18000] and claims(daemon) == "18000", "ports: %s" % ports(gateway))
    expect(not gateway.changes("move"), "the port has moved")


@test(seconds=8)
def started_after_a_reboot(t):
    """Times of another boot mean nothing: the lease may be over, though by its stamp it is far from it.
    The port and the nonce are the same."""
    home = t.home()
    gateway = t.fakegw(home, grant=HOUR)
    daemon = stopped(t, home, gateway)
    nonces = {d.nonce for d in home.wire.requests(kind="map")}
    gateway.set(silence="on")
    boot = t.lab.path("boot_id")
    with open(boot, "w") as f:
        f.write("01234567-89ab-4cde-8f01-23456789abcd\n")
    daemon.wrapper = ["unshare", "--mount"] + asleep_for(5 - uptime()) + [
        "sh", "-ec", ANOTHER_BOOT, "boot", boot]
    daemon.start()
    t.until(lambda: home.wire.requests(daemon.started, "map"), 3 + MARGIN, "the gateway to be asked")
    t.elapse(1)
    expect(not claims(daemon), "a lease of another boot is told: %s" % daemon.published("web"))
    asked = home.wire.requests(daemon.started, "map")[0]
    expect(asked.outside == 18000, "port %d is suggested" % asked.outside)
    expect({asked.nonce} == nonces, "another nonce")
    gateway.set(silence="off")
    t.until(lambda: claims(daemon) == "18000", 12, "the mapping to be told")


# ---- while it runs ----------------------------------------------------------------------------------

def running(t, text=LEASE, **settings):
    home = t.home()
    gateway = t.fakegw(home, **settings)
    daemon = t.daemon(home, text, watchdog=2, start=False)
    clocks = Clocks(t, daemon)
    daemon.start()
    daemon.wait_ready()
    t.until(lambda: claims(daemon) == "18000", 3, "the mapping to be told")
    return home, gateway, daemon, clocks


def asleep(clocks, gateway, seconds):
    """The gateway was awake, and its epoch went on. Returns the moment of waking up."""
    gateway.set(epoch=gateway.epoch() + seconds)
    return clocks.move(boot=seconds)


@test(seconds=10)
def awake_before_the_lease_ends(t):
    """What is overdue is renewed at once; the world hears nothing."""
    home, gateway, daemon, clocks = running(t, grant=HOUR)
    t.elapse(1.5)
    expect(not gateway.changes("renew"), "renewed without a reason")
    woken = asleep(clocks, gateway, 45 * 60)
    t.until(lambda: gateway.changes("renew", woken), 3 + MARGIN, "the renewal")
    expect(not daemon.events("lost", "changed", since=woken), "the world was told")
    t.elapse(2)
    asked = len(home.wire.requests(woken, "map"))
    expect(asked <= 2, "%d requests after one suspend" % asked)


@test(seconds=10)
def awake_after_the_lease_ended(t):
    """It is reported as lost, though nobody answers yet; when the gateway does, it is mapped again."""
    home, gateway, daemon, clocks = running(t, grant=HOUR)
    gateway.tell("forget")
    gateway.set(silence="on")
    woken = asleep(clocks, gateway, 2 * HOUR)
    t.until(lambda: daemon.events("lost", since=woken), 3 + MARGIN, "the loss to be reported")
    t.until(lambda: not claims(daemon), 2, "nothing to be told any more")
    t.until(lambda: home.wire.requests(woken), 3 + MARGIN, "the gateway to be asked")
    gateway.set(silence="off")
    t.until(lambda: claims(daemon) == "18000", 12, "the mapping to be told again")
    expect(ports(gateway) == [18000], "ports: %s" % ports(gateway))


@test(seconds=22)
def stopped_and_continued(t):
    """SIGSTOP for longer than the lease: no clock moves, but all is as late as after a suspend."""
    home = t.home()
    gateway = t.fakegw(home, grant=10)
    daemon = t.daemon(home, LEASE)
    daemon.wait_ready()
    daemon.process.signal(signal.SIGSTOP)
    t.until(lambda: not gateway.table(), 12, "the lease to end at the gateway")
    t.elapse(0.5)
    daemon.process.signal(signal.SIGCONT)
    woken = now()
    t.until(lambda: ports(gateway) == [18000], 3 + MARGIN, "the mapping again")
    t.until(lambda: daemon.events("lost", since=woken) and daemon.events("mapped", since=woken), 2,
            "the loss and the return to be reported")


@test(seconds=20)
def the_wall_clock_is_set(t):
    """Days forwards, years back: leases are renewed when they would be, and nothing else happens."""
    home, gateway, daemon, clocks = running(t, grant=16)
    begin = now()
    for days in (1, -400, 20000, 0):
        moved = clocks.move(real=86400 * days)
        t.elapse(4)
        expect(daemon.told("WATCHDOG", since=moved), "it has not looked at the clock")
    expect(not daemon.events("lost", "changed", "failed", since=begin), "the world was told")
    renewals = len(gateway.changes("renew", begin))
    expect(1 <= renewals <= 3, "%d renewals in 16 s of a lease of 16 s" % renewals)
    asked = len(home.wire.requests(begin, "map"))
    expect(asked == renewals, "%d requests, %d renewals" % (asked, renewals))
