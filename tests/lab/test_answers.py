# SPDX-License-Identifier: ISC
"""What a gateway may answer: other ports, other versions, errors, garbage, from elsewhere."""

from case import MARGIN, test
from daemon import config, forward
from lab import expect, now

MAPPERS = ("nat-pmp", "pcp")


def asking(t, mappers, settings, *sections, **more):
    home = t.home()
    gateway = t.fakegw(home, **settings)
    daemon = t.daemon(home, config(*(sections or [forward(8000, 18000)]),
                                   mappers="{%s}" % mappers, **more))
    return home, gateway, daemon


@test(each=MAPPERS)
def another_port_is_a_success(t, mapper):
    """S-03: what is granted is published, kept and suggested from then on."""
    home, gateway, daemon = asking(t, mapper, {"port_policy": "another"}, forward(5300, 5300))
    daemon.wait_ready()
    granted = gateway.table()[0]["external"]
    expect(granted != 5300, "the gateway gave what was asked: nothing is tested")
    reply = home.wire.replies(kind="map")[0]
    mapped = daemon.wait_event("mapped", 2)
    expect(mapped - reply.time < 0.2 + MARGIN, "published %.2f s after the reply" % (
        mapped - reply.time))
    expect(daemon.process.find(r"\b%d\b" % granted), "the log does not name port %d" % granted)
    t.until(lambda: daemon.published("tcp-5300").get("EXTERNAL_PORT"), 3, "the env file")
    published = daemon.published("tcp-5300")["EXTERNAL_PORT"]
    expect(published == str(granted), "published: %s, granted: %d" % (published, granted))
    asked = now()
    daemon.renew()
    t.until(lambda: home.wire.requests(asked, "map"), 3, "a renewal")
    t.elapse(1)
    requests = home.wire.requests(asked, "map")
    expect([d.outside for d in requests] == [granted], "suggested: %s, granted was %d" % (
        [d.outside for d in requests], granted))
    expect(len(gateway.table()) == 1, "the gateway has two mappings")


@test(seconds=12, each=["pcp", "nat-pmp"])
def retransmission(t, mapper):
    """S-04, P-7: 250 ms, doubled each time; one request at a time."""
    sections = [forward(8000, 18000), forward(8001, 18001)]
    home, gateway, daemon = asking(t, mapper, {"drop_first": 5}, *sections, ready_timeout=30)
    t.until(lambda: len(gateway.table()) == 2, 15, "both mappings")
    first = home.wire.requests()[:6]
    expect(len({d.data for d in first}) == 1, "two different requests before an answer")
    gaps = [b.time - a.time for a, b in zip(first, first[1:])]
    if mapper == "nat-pmp":
        for gap, wanted in zip(gaps, (0.25, 0.5, 1, 2, 4)):
            expect(abs(gap - wanted) <= 0.1 * wanted + 0.1, "gaps %s" % [round(g, 2) for g in gaps])
    else:
        expect(all(a < b + 0.5 for a, b in zip(gaps, gaps[1:])) and min(gaps) > 0.2,
               "gaps %s" % [round(g, 2) for g in gaps])
    daemon.wait_ready()


@test(each=["8", "op0", "erratum", "short"])
def pcp_refused_nat_pmp_at_once(t, shape):
    """S-06, P-2: version errors of every shape; NAT-PMP follows at once, PCP is left alone."""
    settings = {"mode": "nat-pmp", "pcp_refusal": shape}
    sections = [forward(8000 + i, 18000 + i) for i in range(3)]
    home, gateway, daemon = asking(t, "pcp, nat-pmp", settings, *sections)
    took = daemon.wait_ready() - daemon.started
    expect(took < 2 + MARGIN, "ready after %.2f s" % took)
    expect(len(gateway.table()) == 3, "%d mappings" % len(gateway.table()))
    wire = home.wire.all
    refusal = next(i for i, d in enumerate(wire) if not d.out and d.sport == 5351)
    follow = next(d for d in wire[refusal:] if d.out and d.mapper == "nat-pmp")
    delay = follow.time - wire[refusal].time
    expect(delay < 0.05 + 0.2, "NAT-PMP followed %.3f s after the version error" % delay)
    daemon.renew()
    t.until(lambda: len(home.wire.requests(kind="map", mapper="nat-pmp")) == 6, 3, "renewals")
    pcp = len(home.wire.requests(mapper="pcp"))
    expect(pcp == 1, "%d PCP requests to a gateway without PCP" % pcp)


@test(each=["pcp", "fritz"])
def nat_pmp_refused_pcp_at_once(t, shape):
    """S-07, Q-033: a PCP-only server's answer to NAT-PMP, full and cut short."""
    settings = {"mode": "pcp", "nat_pmp_refusal": shape}
    home, gateway, daemon = asking(t, "nat-pmp, pcp", settings)
    took = daemon.wait_ready() - daemon.started
    expect(took < 2 + MARGIN, "ready after %.2f s" % took)
    expect(len(gateway.table()) == 1, "no mapping")
    asked = len(home.wire.requests(mapper="nat-pmp"))
    expect(1 <= asked <= 2, "%d NAT-PMP packets" % asked)


@test(seconds=20, each=MAPPERS)
def garbage_changes_nothing(t, mapper):
    """S-08: a hundred thousand datagrams from the right address and port to the right one."""
    home, gateway, daemon = asking(t, mapper, {"grant": 3600, "epoch": 1000},
                                   forward(8000, 18000), forward(8001, 18001, "udp"))
    daemon.wait_ready()
    t.elapse(1)
    status, begin = daemon.status(), now()
    home.wire.paused = True
    gateway.tell("blast 100000 quiet")
    t.until(lambda: gateway.count(begin, event="blasted"), 15, "the end of the garbage")
    t.elapse(1)
    daemon.died()
    expect(daemon.status() == status, "the status became %r" % daemon.status())
    events = daemon.events("lost", "changed", "failed", since=begin)
    expect(not events, "garbage made an event: %s" % (events[:1],))
    extra = gateway.count(begin, event="datagram", dir="in")
    expect(not extra, "garbage made the daemon send %d datagrams" % extra)


@test(seconds=20, each=MAPPERS)
def answers_among_garbage(t, mapper):
    """S-08: the right answer behind wrong ones is found."""
    settings = {"zoo": "before", "zoo_kind": "invalid", "zoo_count": 40, "grant": 3600}
    home, gateway, daemon = asking(t, mapper, settings, *[forward(8000 + i) for i in range(3)],
                                   probe_interval=1)
    daemon.wait_ready()
    t.until(lambda: len(gateway.table()) == 3, 5, "three mappings")
    begin = now()
    t.elapse(8)
    expect(len(home.wire.requests(begin)) >= 3, "no probes: nothing was tested")
    expect(not home.wire.requests(begin, "map"), "garbage led to requests")
    events = daemon.events("lost", "failed") + daemon.events("changed", since=begin)
    expect(not events, "garbage made an event: %s" % events)


@test(seconds=8, each=["%s-%s" % (m, s) for m in MAPPERS for s in ("address", "port")])
def wrong_source(t, case):
    """S-09: a right answer from the wrong place is none."""
    mapper, _, what = case.rpartition("-")
    home = t.home()
    home.gw.space.ip("addr add 10.77.0.254/24 dev lan0")
    source = {"address": "10.77.0.254:5351", "port": "10.77.0.1:5352"}[what]
    gateway = t.fakegw(home, reply_from=source)
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{%s}" % mapper,
                                   ready_timeout=30))
    t.elapse(2)
    expect(gateway.count(event="datagram", dir="out"), "the gateway sent nothing")
    expect(not daemon.events("mapped"), "an answer from %s was believed" % source)
    gateway.set(reply_from="off")
    daemon.wait_event("mapped", 5)


@test(seconds=62, slow=True)
def garbled_ports(t):
    """S-10, Q-039: NAT-PMP answers whose ports are cut to 8 bits."""
    home, _, daemon = asking(t, "nat-pmp", {"garble_ports": "on"}, forward(22002, 28174),
                             ready_timeout=5)
    t.elapse(60)
    asked = len(home.wire.requests())
    expect(asked <= 10, "%d requests in 60 s" % asked)
    expect(not daemon.events("mapped"), "a garbled answer was believed")
    expect(daemon.status().startswith("0 of 1 "), "status: " + daemon.status())


@test(seconds=48, slow=True, each=["pcp-2-0", "pcp-2-4294967295", "pcp-8-0", "pcp-7-30",
                                   "nat-pmp-2-0", "nat-pmp-3-0", "nat-pmp-4-0"])
def errors_are_not_hammered(t, case):
    """S-16: soft errors are retried after 30 s, hard ones not for 15 minutes, whatever lifetime they carry."""
    mapper, code, lifetime = case.rsplit("-", 2)
    home = t.home()
    gateway = t.fakegw(home, error_lifetime=lifetime)
    gateway.refuse_maps(int(code))
    daemon = t.daemon(home, config(forward(8000, 18000), mappers="{%s}" % mapper))
    daemon.wait_event("failed", 3)
    t.elapse(45)
    times = [d.time for d in home.wire.asked()]
    hard = code == "2"
    if hard:
        expect(len(times) == 1, "%d requests in 45 s after result %s" % (len(times), code))
    else:
        expect(len(times) == 2, "%d requests in 45 s after result %s" % (len(times), code))
        expect(times[1] - times[0] >= 30 * 0.9, "asked again after %.1f s" % (times[1] - times[0]))


@test(seconds=45, slow=True, each=MAPPERS)
def no_external_address_yet(t, mapper):
    """S-19: 0.0.0.0 is never published; the real address is, within 35 s."""
    home, gateway, daemon = asking(t, mapper, {"external": "0.0.0.0"}, ready_timeout=2)
    t.elapse(5)
    expect(not daemon.published("tcp-8000").get("EXTERNAL_ADDRESS"), "an address is published")
    gateway.set(external="8.8.4.4")
    t.until(lambda: daemon.status().endswith("external 8.8.4.4"), 35 + MARGIN,
            "the real address in the status")
    t.until(lambda: daemon.published("tcp-8000").get("EXTERNAL_ADDRESS") == "8.8.4.4", 2,
            "the real address in the env file")
    expect(not daemon.process.find(r"mapped.*0\.0\.0\.0:"), "0.0.0.0 was published")


@test(each=["%s-%s" % (m, a) for m in MAPPERS for a in ("192.168.1.50", "100.64.0.9")])
def second_nat(t, case):
    """S-19: a private external address is mapped all the same, and named for what it is."""
    mapper, _, address = case.rpartition("-")
    _, _, daemon = asking(t, mapper, {"external": address})
    daemon.wait_ready()
    t.until(lambda: daemon.status().startswith("1 of 1 "), 3, "the mapping")
    daemon.wait_line("another NAT", 6)


@test(each=["%s-%s" % (m, s) for m in MAPPERS for s in ("answering", "silent")])
def safe_delete(t, case):
    """S-20: each mapping by its own port and the protocol that made it; never internal port 0."""
    mapper, _, how = case.rpartition("-")
    home, gateway, daemon = asking(t, mapper, {"origin_check": "on"}, forward(8000, 18000),
                                   forward(8001, 18001, "udp"))
    daemon.wait_ready()
    if how == "silent":
        gateway.set(silence="on")
    begin = now()
    status, took = daemon.stop()
    expect(status == 0 and took <= 3 + MARGIN, "exit status %s after %.1f s" % (status, took))
    deletes = home.wire.requests(begin)
    expect({d.key for d in deletes} == {("tcp", 8000), ("udp", 8001)}, "deleted: %s" % [
        str(d) for d in deletes])
    for d in deletes:
        expect(d.kind == "delete" and d.outside == 0 and d.mapper == mapper, "not a delete: %s" % d)
    if how == "answering":
        expect(len(deletes) == 2, "%d deletes for two mappings" % len(deletes))
        expect(not gateway.table(), "left: %s" % gateway.table())
