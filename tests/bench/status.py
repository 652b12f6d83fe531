#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""How long GetStatus takes with 1,000 separate forwards, from the request to the last octet of the
reply, as a client of the real socket sees it: fresh (the state has changed since the last one, so
that it is printed anew) and cached (it has not). Beside it stands a fixed piece of work, done in
turns with the requests: on a busy machine the ratio tells more than the milliseconds.
usage: status.py --portleased FILE --fakegw FILE [--forwards N] [--rounds N]
No test: the figures depend on the machine."""

import argparse
import os
import statistics
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ctl"))

from harness import Home, Varlink, check, until  # noqa: E402

REQUEST = b'{"method":"io.portleased.GetStatus"}\0'
ROOM = memoryview(bytearray(4 << 20))
REFERENCE = bytes(i * i % 251 for i in range(400000))


def ask(client):
    """The reply as it came, and how many ms it took."""
    used, began = 0, time.perf_counter()
    client.send(REQUEST)
    while used == 0 or ROOM[used - 1] != 0:
        got = client.socket.recv_into(ROOM[used:])
        check(got > 0, "the daemon has closed the connection")
        used += got
    took = (time.perf_counter() - began) * 1000
    return bytes(ROOM[:used]), took


def reference():
    began = time.perf_counter()
    zlib.compress(REFERENCE, 6)
    return (time.perf_counter() - began) * 1000


def change(home):
    """Something that is seen in the status, and is over when it returns: a forward is held."""
    with Varlink(home.socket) as v:
        v.ask("io.portleased.Hold", {"forward": "held"}, more=True)
        while not v.next()["parameters"]["active"]:
            pass
    until(lambda: home.rows("held")[0]["state"] == "idle", "end of the hold", pause=0.002)


def measure(home, forwards, rounds):
    fresh, cached, work, size = [], [], [], 0
    with Varlink(home.socket) as client:
        last, _ = ask(client)
        for _ in range(rounds):
            change(home)
            reply, took = ask(client)
            check(reply != last, "the state has not changed")
            check(reply.count(b'"state":"active"') == forwards, "not all are mapped")
            fresh.append(took)
            cached.append(ask(client)[1])
            work.append(reference())
            last, size = reply, len(reply)
    unit = statistics.median(work)
    print("GetStatus, %d forwards, %d octets, median of %d:" % (forwards, size, rounds))
    for name, times in (("fresh", fresh), ("cached", cached), ("reference", work)):
        times.sort()
        print("  %-9s %6.2f ms  (%.2f to %.2f)  %.2f of the reference"
              % (name, statistics.median(times), times[0], times[-1],
                 statistics.median(times) / unit))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--portleased", required=True)
    parser.add_argument("--fakegw", required=True)
    parser.add_argument("--forwards", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    home, good = Home(options), False
    try:
        home.up("held internal-port=9999 on-demand=yes",
                *("f%d internal-port=%d" % (i, 10000 + i) for i in range(options.forwards)))
        until(lambda: sum(row["state"] == "active" for row in home.rows()) == options.forwards,
              "mapping of all forwards", 120, 0.2)
        measure(home, options.forwards, options.rounds)
        good = True
    finally:
        home.close(good)


if __name__ == "__main__":
    main()
