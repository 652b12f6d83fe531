# SPDX-License-Identifier: ISC
"""A real gateway: miniupnpd with real NAT. Its rules and a web client outside are the judges."""

import signal

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now
from traffic import Prober, Web, ask_udp

MAPPERS = ("nat-pmp", "pcp")
RECOVERY_DELAY = 5
# A restart can be seen when the epoch is behind by more than the RFCs allow for (2 s and an eighth). An
# epoch of 0 twice in a row says nothing, so the gateway is older than that at first.
FIRST_AGE, EPOCH_AGE = 2, 7


def ten_forwards():
    """Five ports by two protocols: ten mappings."""
    return [forward(8000 + i, 18000 + i, "both", name="f%d" % i) for i in range(5)]


def ten_rules():
    return [(protocol, 18000 + i) for i in range(5) for protocol in ("tcp", "udp")]


def served(t, mapper, age=0, **settings):
    """A home with miniupnpd `age` seconds old, a web server and the daemon holding ten mappings."""
    home = t.home()
    gateway = t.miniupnpd(home)
    Web(home.lan, range(8000, 8005), range(8000, 8005))
    t.elapse(age)
    text = config(*ten_forwards(), mappers="{%s}" % mapper, **settings)
    return home, gateway, t.daemon(home, text)


@test(each=MAPPERS)
def maps_at_once_and_releases(t, mapper):
    home, gateway, daemon = served(t, mapper)
    page = t.until(lambda: gateway.fetch(18000, 0.2), 5, "a page through the gateway", step=0.01)
    took = now() - daemon.started
    expect(page == "port 8000", "port 18000 leads to %r" % page)
    expect(took <= 1.0 + MARGIN, "the first page came %.2f s after the start" % took)
    gateway.wait_rules(ten_rules(), 2 + MARGIN)
    expect(gateway.rules()["udp", 18003] == (home.lan_address, 8003), "udp 18003 leads elsewhere")
    answer = ask_udp(home.wan, gateway.gateway.outer, 18003)
    expect(answer == "port 8003", "UDP port 18003 leads to %r" % answer)
    daemon.wait_ready()

    status, took = daemon.stop()
    expect(status == 0, "exit status %s after SIGTERM" % status)
    expect(took <= 3.0 + MARGIN, "took %.2f s to stop" % took)
    expect(not gateway.rules(), "rules left after the stop: %s" % sorted(gateway.rules()))
    deletes = home.wire.requests(kind="delete")
    expect(len({d.key for d in deletes}) == 10, "%d of 10 mappings deleted" % len(deletes))
    expect(all(d.inside for d in deletes), "a delete with internal port 0 takes everybody's ports")


@test(each=MAPPERS)
def stops_though_the_gateway_is_silent(t, mapper):
    home, gateway, daemon = served(t, mapper)
    gateway.wait_rules(ten_rules(), 5)
    daemon.wait_ready()
    gateway.silence()
    begin = now()
    status, took = daemon.stop()
    expect(status == 0, "exit status %s" % status)
    expect(took <= 3.0 + MARGIN, "took %.2f s to stop" % took)
    keys = {d.key for d in home.wire.requests(begin, "delete")}
    expect(len(keys) == 10, "of 10 mappings %d were tried to be deleted" % len(keys))


def stays_reachable(t, mapper, seconds):
    """Renewals of 20 s leases while somebody connects ten times a second. miniupnpd's NAT-PMP renewal is
    delete-then-add, a gap that a single connect can fall into (Q-098): two in a row are an outage."""
    home = t.home()
    gateway = t.miniupnpd(home, min_lifetime=20)
    Web(home.lan, [8000])
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{%s}" % mapper, lifetime=20))
    t.until(lambda: gateway.fetch(18000, 0.2), 5, "a page through the gateway")
    prober = Prober(home.wan, gateway.gateway.outer, 18000)
    prober.start()
    begin = now()
    t.elapse(seconds)
    prober.close()
    daemon.died()
    expect(prober.tries > seconds * 5, "only %d tries were made" % prober.tries)
    expect(not prober.outages, "%d outages (%d of %d connects failed), the first after %.1f s" % (
        len(prober.outages), prober.failures, prober.tries,
        prober.outages[0] - begin if prober.outages else 0))
    renewals = [d for d in home.wire.requests(begin, "map")]
    expect(len(renewals) >= seconds // 20, "only %d renewals: nothing was tested" % len(renewals))


@test(seconds=45)
def stays_reachable_for_40_seconds(t):
    stays_reachable(t, "nat-pmp", 40)


@test(seconds=125, slow=True, each=MAPPERS)
def stays_reachable_for_2_minutes(t, mapper):
    stays_reachable(t, mapper, 120)


@test(seconds=25, each=MAPPERS)
def refills_a_gateway_that_announces_its_restart(t, mapper):
    home, gateway, daemon = served(t, mapper, FIRST_AGE, recovery_delay=RECOVERY_DELAY)
    gateway.wait_rules(ten_rules(), 5)
    daemon.wait_ready()
    t.elapse(EPOCH_AGE)
    back = gateway.reboot()
    gateway.wait_rules(ten_rules(), RECOVERY_DELAY + 1 + 2)
    expect(gateway.fetch(18000) == "port 8000", "the refilled gateway does not forward")
    spread = [d.time - back for d in home.wire.requests(back, "map")]
    expect(len(spread) <= 20, "%d requests for ten mappings" % len(spread))


@test(seconds=30, each=MAPPERS)
def refills_a_gateway_that_restarts_in_silence(t, mapper):
    home, gateway, daemon = served(t, mapper, FIRST_AGE, recovery_delay=RECOVERY_DELAY, probe_interval=5)
    home.lan.nft("table inet lab { chain input { type filter hook input priority 0;"
                 " ip daddr 224.0.0.1 drop; }; }")
    gateway.wait_rules(ten_rules(), 5)
    daemon.wait_ready()
    t.elapse(EPOCH_AGE)
    gateway.reboot()
    gateway.wait_rules(ten_rules(), 5 + RECOVERY_DELAY + 1 + 2)


@test(each=MAPPERS)
def follows_the_default_route(t, mapper):
    home = t.home(gateways=2)
    first, second = t.miniupnpd(home), t.miniupnpd(home, home.gw2)
    Web(home.lan, range(8000, 8005))
    daemon = t.daemon(home, config(*ten_forwards(), mappers="{%s}" % mapper))
    first.wait_rules(ten_rules(), 5)
    daemon.wait_ready()
    expect(not second.rules(), "rules at the gateway that is not the default")
    home.route(home.gw2)
    moved = now()
    second.wait_rules(ten_rules(), 1 + MARGIN)
    first.wait_rules([], 3)
    expect(second.fetch(18000) == "port 8000", "the second gateway does not forward")
    old = home.wire.requests(moved, "map", to=home.gw.inner)
    expect(not old, "a mapping was requested at the old gateway after the move")


@test(each=MAPPERS)
def waits_for_a_route(t, mapper):
    home = t.home(route=False)
    gateway = t.miniupnpd(home)
    Web(home.lan, range(8000, 8005))
    daemon = t.daemon(home, config(*ten_forwards(), mappers="{%s}" % mapper, ready_timeout=1))
    daemon.wait_ready(4)  # by ready-timeout, with nothing mapped
    expect(not home.wire.requests(), "a packet was sent without a route")
    home.route(home.gw)
    gateway.wait_rules(ten_rules(), 1 + MARGIN)
    expect(gateway.fetch(18001) == "port 8001", "the gateway does not forward")


@test()
def keeps_the_leases_at_sigquit(t):
    """A package upgrade: the next daemon finds its mappings again and renews them in place."""
    home, gateway, daemon = served(t, "pcp")
    gateway.wait_rules(ten_rules(), 5)
    daemon.wait_ready()
    stopped = now()
    status, _ = daemon.stop(signal.SIGQUIT)
    expect(status == 0, "exit status %s after SIGQUIT" % status)
    expect(not home.wire.requests(stopped, "delete"), "SIGQUIT deleted a mapping")
    expect(len(gateway.rules()) == 10, "rules are gone after SIGQUIT")
    before = {d.key: d.nonce for d in home.wire.requests(kind="map")}
    daemon.start()
    daemon.wait_ready()
    after = {d.key: d.nonce for d in home.wire.requests(daemon.started, "map")}
    expect(after == before, "the nonces differ after the restart")
    expect(len(gateway.rules()) == 10, "%d rules after the restart" % len(gateway.rules()))
