# SPDX-License-Identifier: ISC
"""Leases kept alive, over time and through loss. The gateway's table is the judge."""

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now

MAPPERS = ("nat-pmp", "pcp")


def first_of(requests):
    """{key: its requests} in order."""
    by = {}
    for d in requests:
        by.setdefault(d.key, []).append(d)
    return by


def holding(t, mapper, sections, lifetime, settings=None, **more):
    home = t.home()
    gateway = t.fakegw(home, grant=lifetime, epoch=1000, **(settings or {}))
    daemon = t.daemon(home, config(*sections, mappers="{%s}" % mapper, **more))
    daemon.wait_ready()
    return home, gateway, daemon


@test(seconds=62, slow=True, each=MAPPERS)
def basic_renewal(t, mapper):
    """S-01, S-02: first renewal in [T/2, 5T/8], then on and on, with the same nonce and the port granted."""
    sections = [forward(8000, 18000, "tcp"), forward(8001, 18001, "udp")]
    home, gateway, _ = holding(t, mapper, sections, 20)
    t.elapse(60)
    gone = gateway.changes("expire")
    expect(not gone, "%d leases ran out" % len(gone))
    for key, requests in first_of(home.wire.requests(kind="map")).items():
        expect(5 <= len(requests) <= 7, "%d requests for %s in 60 s" % (len(requests), key))
        first = requests[1].time - requests[0].time
        expect(10 - 0.1 <= first <= 12.5 + MARGIN, "first renewal of %s after %.2f s" % (key, first))
        expect(all(d.outside == key[1] + 10000 for d in requests), "another port is suggested")
        expect(len({d.nonce for d in requests}) == 1, "the nonce of %s changed" % (key,))
        if mapper == "pcp":
            expect(all(len(d.data) == 60 for d in requests), "a request is not of 60 octets")


@test(seconds=237, slow=True, each=MAPPERS)
def packet_budget(t, mapper):
    """Two mappings, leases of 60 s, nothing lost."""
    limit = {"pcp": 18, "nat-pmp": 22}[mapper]
    sections = [forward(8000, 18000), forward(8001, 18001)]
    home, gateway, daemon = holding(t, mapper, sections, 60)
    t.elapse(235 - (now() - daemon.started), step=0.5)
    sent = home.wire.requests()
    expect(len(sent) <= limit, "%d datagrams, not %d at most" % (len(sent), limit))
    expect(not gateway.changes("expire"), "a lease ran out")
    for key, requests in first_of(home.wire.asked()).items():
        expect(len(requests) >= 5, "only %d requests for %s" % (len(requests), key))
        gaps = [b.time - a.time for a, b in zip(requests, requests[1:])]
        gaps = [gap for gap in gaps if gap > 4]  # a busy host repeats what is answered; see the limit
        expect(min(gaps) >= 30 - 0.1, "%s was renewed after %.2f of 60 s" % (key, min(gaps)))


@test(seconds=237, slow=True, each=MAPPERS, limit=900)
def a_third_of_the_replies_lost(t, mapper):
    """No lease of 60 s is lost. (Of 20 s ones, with PCP's 4 s between two tries, some must be.)"""
    seconds = 600 if t.long else 235
    sections = [forward(8000, 18000), forward(8001, 18001, "udp")]
    settings = {"drop_replies": 0.3, "seed": 7}
    home, gateway, daemon = holding(t, mapper, sections, 60, settings)
    begin = now()
    t.elapse(seconds, step=0.5)
    dropped = gateway.count(begin, event="drop")
    expect(dropped >= 3, "only %d replies were dropped: nothing was tested" % dropped)
    expect(len(home.wire.requests(begin, "map")) >= 12, "hardly a renewal: nothing was tested")
    gone = gateway.changes("expire", begin)
    expect(not gone, "%d leases ran out at the gateway" % len(gone))
    expect(not daemon.events("lost", since=begin), "the daemon gave a lease up")


def back_again(t, mapper, fault, seconds, lifetime):
    """The gateway answers nothing (silence) or refuses (ICMP) for a while: within 5 s of its return every
    mapping is there."""
    sections = [forward(8000 + i, 18000 + i) for i in range(4)]
    home, gateway, daemon = holding(t, mapper, sections, lifetime, probe_interval=5)
    gateway.set(**{fault: "on"})
    begin = now()
    t.elapse(seconds, step=0.5)
    sent = len(home.wire.requests(begin))
    expect(sent <= 2 * seconds, "%d packets in %d s to a gateway that does not answer" % (
        sent, seconds))
    gateway.set(**{fault: "off"})
    back = now()
    t.until(lambda: len({d.key for d in home.wire.replies(back, "map") if d.result == 0}) == 4,
            5 + MARGIN, "all mappings after the return")
    t.until(lambda: daemon.status().startswith("4 of 4 "), 2, "status 4 of 4")


@test(seconds=100, slow=True, each=MAPPERS)
def silence_of_90_seconds(t, mapper):
    back_again(t, mapper, "silence", 90, 60)


@test(seconds=50, slow=True, each=MAPPERS)
def refusals_for_40_seconds(t, mapper):
    back_again(t, mapper, "refuse", 40, 30)


@test(seconds=30, each=MAPPERS)
def refusals_are_lost_packets(t, mapper):
    """S-11: ICMP on the first tries of a renewal, then an answer; the mapping stays published."""
    home, gateway, daemon = holding(t, mapper, [forward(8000, 18000)], 20)
    start = home.wire.replies(kind="map")[-1].time
    gateway.set(refuse="on")
    tried = t.until(lambda: home.wire.requests(start, "map"), 15, "the first renewal")[0].time
    t.elapse(max(0.0, tried + 0.5 - now()))
    expect(not daemon.events("lost"), "lost because of one ICMP message")
    gateway.set(refuse="off")
    t.until(lambda: home.wire.replies(tried, "map"), start + 20 - now(),
            "a renewal before the lease ends")
    expect(not daemon.events("lost", since=start), "lost though the lease lived")
    expect(not gateway.changes("expire"), "the lease ran out")


@test(seconds=20, each=MAPPERS)
def lost_when_the_lease_ends(t, mapper):
    """S-12: not before, and not much later."""
    home, gateway, daemon = holding(t, mapper, [forward(8000, 18000)], 10)
    t.until(lambda: daemon.published("tcp-8000"), 2, "the env file")
    gateway.set(silence="on")
    granted = max(d.time for d in home.wire.replies(kind="map"))
    stamp = daemon.wait_event("lost", 15)
    age = stamp - granted
    expect(9.0 <= age <= 11.0 + MARGIN, "lost %.2f s after a grant of 10 s" % age)
    t.until(lambda: daemon.status().startswith("0 of 1 "), 2, "status 0 of 1")
    t.until(lambda: not daemon.published("tcp-8000"), 2, "the env file to go")


@test(seconds=15, each=MAPPERS)
def epoch_back_in_a_reply(t, mapper):
    """S-13: the table is gone and a reply's epoch says so."""
    home = t.home()
    gateway = t.fakegw(home, grant=3600, epoch=1000)
    sections = [forward(8000 + i, 18000 + i) for i in range(5)]
    daemon = t.daemon(home, config(*sections, mappers="{%s}" % mapper, probe_interval=2,
                                   recovery_delay=5))
    daemon.wait_ready()
    nonces = {d.key: d.nonce for d in home.wire.requests(kind="map")}
    gateway.restart()
    begin = now()
    seen = t.until(lambda: [d for d in home.wire.replies(begin)], 4, "an answer with the new epoch")
    told = seen[0].time
    t.until(lambda: len({d.key for d in home.wire.requests(told, "map")}) == 5, 6 + MARGIN,
            "five requests")
    t.elapse(1)
    requests = home.wire.requests(told, "map")
    expect(len(requests) == 5, "%d requests for five mappings" % len(requests))
    expect(all(d.outside == d.inside + 10000 for d in requests), "other ports are suggested")
    expect({d.key: d.nonce for d in requests} == nonces, "the nonces changed")
    expect(len(gateway.table()) == 5, "the gateway has %d mappings" % len(gateway.table()))


@test(seconds=105, slow=True, each=MAPPERS)
def epoch_stuck_at_zero(t, mapper):
    """S-15: a gateway that always says 0 costs one more round at most."""
    home = t.home()
    t.fakegw(home, grant=20, epoch_freeze=0)
    sections = [forward(8000 + i, 18000 + i) for i in range(3)]
    daemon = t.daemon(home, config(*sections, mappers="{%s}" % mapper))
    daemon.wait_ready()
    t.elapse(100)
    requests = home.wire.requests(kind="map")
    expect(3 * 8 <= len(requests) <= 3 * (1 + 10 + 1),
           "%d requests for three mappings in 100 s of 20 s leases" % len(requests))


@test(seconds=15, each=["%s-%d" % (m, g) for m in MAPPERS for g in (0, 1, 2, 13, 2**31, 2**32 - 1)])
def lifetime_extremes(t, case):
    """S-17: what is granted must not make the daemon run wild, nor lose what can be kept."""
    mapper, _, text = case.rpartition("-")
    grant = int(text)
    home = t.home()
    gateway = t.fakegw(home, grant=grant, lifetime="0:4294967295")
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{%s}" % mapper, ready_timeout=1))
    daemon.wait_ready()
    t.elapse(14 if grant == 13 else 10)
    requests = home.wire.requests(kind="map")
    span = requests[-1].time - requests[0].time
    step = {"pcp": 4.0, "nat-pmp": 1.0}[mapper]
    expect(len(requests) <= 1 + (span + 0.2) / step, "%d requests in %.1f s" % (len(requests), span))
    expect(all(d.lifetime < 2**31 for d in requests), "a lifetime of 2^31 or more was asked")
    if grant in (0, 2**31, 2**32 - 1):
        expect(len(requests) == 1, "%d requests in 10 s" % len(requests))
    if grant == 0:
        expect(daemon.status().startswith("0 of 1 "), "a lifetime of 0 is no success")
    if grant == 13:
        expect(len(requests) >= 2, "no renewal")
        expect(not gateway.changes("expire"), "the lease ran out")
        expect(not daemon.events("lost"), "given up though the lease lived")
