# SPDX-License-Identifier: ISC
"""The socket itself: introspection, rude clients, limits."""

import json
import os
import resource
import socket
import stat
import time

from harness import TOP, Failure, Varlink, check, same, until

WEB = "web internal-port=8080 external-port=80"
SERVICE = "org.varlink.service."


def test_introspection(home):
    home.up(WEB)
    with open(os.path.join(TOP, "doc", "io.portleased.varlink")) as f:
        wanted = f.read()
    with Varlink(home.socket) as v:
        info = v.call(SERVICE + "GetInfo")["parameters"]
        same(sorted(info), ["interfaces", "product", "url", "vendor", "version"], "GetInfo")
        same(info["interfaces"], ["org.varlink.service", "io.portleased"], "interfaces")
        got = v.call(SERVICE + "GetInterfaceDescription", {"interface": "io.portleased"})
        same(got["parameters"]["description"], wanted, "the text of the interface")
        got = v.call(SERVICE + "GetInterfaceDescription", {"interface": "org.varlink.service"})
        check("interface org.varlink.service" in got["parameters"]["description"], "its own text")
        same(v.error(SERVICE + "GetInterfaceDescription", {"interface": "x.y"}),
             (SERVICE + "InterfaceNotFound", {"interface": "x.y"}), "another interface")
        same(v.error("x.y.Z"), (SERVICE + "InterfaceNotFound", {"interface": "x.y"}), "x.y.Z")
        same(v.error("io.portleased.Nix"),
             (SERVICE + "MethodNotFound", {"method": "io.portleased.Nix"}), "unknown method")
        same(v.error(SERVICE + "Nix")[0], SERVICE + "MethodNotFound", "unknown method")
        same(v.error("io.portleased.GetStatus", {"x": 1}),
             (SERVICE + "InvalidParameter", {"parameter": "x"}), "unknown parameter")
        same(v.error("io.portleased.GetStatus", {"forwards": "web"}),
             (SERVICE + "InvalidParameter", {"parameter": "forwards"}), "wrong type")
        same(v.error("io.portleased.GetStatus", {"forwards": ["nix"]}),
             ("io.portleased.NoSuchForward", {"forward": "nix"}), "unknown forward")
        same(v.error("io.portleased.Monitor")[0], SERVICE + "ExpectedMore", "Monitor without more")


def test_rude_clients(home):
    home.up(WEB)
    invalid = (SERVICE + "InvalidParameter", {"parameter": "message"})
    with Varlink(home.socket) as v:
        for bad in (b"", b"{", b"[]", b"1", b'"x"', b"\xff\xfe", b"[" * 60000, b'{"a":' * 10000,
                    b'{"method":"x.Y","method":"x.Z"}', b'{"method":"x.\\u0000"}'):
            v.send(bad + b"\0")
            answer = v.next()
            check(answer is not None, "closed after %r" % bad[:20])
            same((answer["error"], answer["parameters"]), invalid, "answer to %r" % bad[:20])
        for bad, parameter in (({}, "method"), ({"method": 1}, "method"), ({"method": "x"}, "method"),
                               ({"method": SERVICE + "GetInfo", "parameters": []}, "parameters"),
                               ({"method": SERVICE + "GetInfo", "more": 1}, "more"),
                               ({"method": SERVICE + "GetInfo", "upgrade": True}, "upgrade")):
            v.send(json.dumps(bad).encode() + b"\0")
            same(v.next()["parameters"], {"parameter": parameter}, "answer to %r" % bad)
        # Brackets in a string are no nesting, and 64 KiB are allowed.
        name = "[" * 60000
        same(v.error("io.portleased.GetStatus", {"forwards": [name]}),
             ("io.portleased.NoSuchForward", {"forward": name}), "a long name")
        # One octet at a time, two requests in a packet, half a request and its end.
        for octet in b'{"method":"org.varlink.service.GetInfo"}\0':
            v.send(bytes([octet]))
        check("error" not in v.next(), "one octet at a time")
        v.send(b'{"method":"x.y.A"}\0{"method":"x.z.B"}\0{"method":"x.')
        same([v.next()["parameters"]["interface"] for _ in range(2)], ["x.y", "x.z"], "pipelined")
        v.send(b'w.C"}\0')
        same(v.next()["parameters"]["interface"], "x.w", "the rest")
        # "oneway" wants no answer, not even an error.
        v.ask("io.portleased.GetStatus", oneway=True)
        v.ask("x.y.Z", oneway=True)
        v.ask("io.portleased.Monitor", oneway=True, more=True)
        same(v.error("a.b.C")[1], {"interface": "a.b"}, "the next answer")
    with Varlink(home.socket) as v:
        v.send(b"x" * 70000)
        same((v.next() or {}).get("parameters"), {"parameter": "message"}, "more than 64 KiB")
        same(v.next(), None, "and the end")
    for half in (b"", b'{"method":'):
        with Varlink(home.socket) as v:
            v.send(half)
    # Half-closed: who asks and says no more still gets the answer.
    with Varlink(home.socket) as v:
        v.ask("io.portleased.GetStatus")
        v.socket.shutdown(socket.SHUT_WR)
        check("parameters" in v.next(), "half-closed")
        same(v.next(), None, "and the end")
    same(home.ctl("status")[0] in (0, 1), True, "the daemon lives")


def test_one_connection_many_calls(home):
    """A stream is followed by the calls that waited behind it."""
    home.up(WEB)
    home.wait_state("web", "active")
    with Varlink(home.socket) as v:
        v.send(b'{"method":"x.y.Z"}\0' * 3000)
        for _ in range(3000):
            same(v.next()["error"], SERVICE + "InterfaceNotFound", "an answer for each")
        v.ask("io.portleased.Monitor", more=True)
        v.ask("org.varlink.service.GetInfo")
        while v.next()["parameters"]["event"]["event"] != "synchronised":
            pass
        # More requests than a buffer holds, while a stream is open: that is too much.
        try:
            for _ in range(100):
                v.send(b'{"method":"x.y.Z"}\0' * 1000)
        except OSError:
            pass
        answer = v.next()
        while answer is not None:
            answer = v.next()


def test_slow_reader(home):
    """Who does not read is left behind, and others are not."""
    home.up(WEB)
    home.wait_state("web", "active")
    slow, quick = Varlink(home.socket), Varlink(home.socket)
    for v in (slow, quick):
        v.ask("io.portleased.Monitor", more=True)
    home.write(WEB + "\n}\n" + "\n".join("forward x%d { internal-port = 0 }" % i for i in range(900))
               .replace("\n", " \n") + "\nforward y { internal-port = 1")
    with Varlink(home.socket) as v:
        seen = 0
        for _ in range(12):
            same(v.error("io.portleased.Reload")[0], "io.portleased.ConfigRejected", "reload")
            while quick.next()["parameters"]["event"]["event"] != "config-rejected":
                pass
            seen += 1
    until(lambda: closed(slow), "end of the slow reader")
    same(home.rows("web")[0]["state"], "active", "the daemon goes on")
    for v in (slow, quick):
        v.close()


def closed(v):
    """Reads on; true at the end."""
    return v.next() is None


def enter(home):
    """A client with a place; the daemon may not yet know that the one before has gone."""
    def attempt():
        v = Varlink(home.socket)
        try:
            answer = v.call(SERVICE + "GetInfo")
        except OSError:
            answer = None
        if answer is not None and "error" not in answer:
            return v
        v.close()
        return None
    return until(attempt, "place")


def test_clients_of_one_user(home):
    home.up(WEB)
    clients = [enter(home) for _ in range(8)]
    with Varlink(home.socket) as v:
        same(v.next(), {"error": "io.portleased.TooManyClients", "parameters": {}}, "the ninth")
        same(v.next(), None, "and the end")
    status, _, err = home.ctl("status")
    same(status, 1, "portleasectl status")
    check("too many clients" in err, err)
    clients.pop().close()
    clients.append(enter(home))
    for v in clients:
        v.close()


def crowd(path, uid, n):
    """Another user with n connections, in a process of its own: (pid, how many have a place, its
    life line)."""
    told, tell = os.pipe()
    life, hold = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(hold)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            kept, good = [], 0
            for _ in range(n):
                v = Varlink(path)
                kept.append(v)
                try:
                    good += "error" not in (v.call(SERVICE + "GetInfo") or {"error": ""})
                except OSError:
                    pass
            os.write(tell, b"%d" % good)
            os.read(life, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(life)
    good = int(os.read(told, 10))
    os.close(told)
    return pid, good, hold


def test_places_kept_for_root(home):
    home.up(WEB)
    enter(home).close()
    others = [crowd(home.socket, uid, 8) for uid in range(2001, 2009)]
    try:
        same(sum(good for _, good, _ in others), 60, "places for all but root")
        mine = [enter(home) for _ in range(4)]
        with Varlink(home.socket) as v:
            same(v.next()["error"], "io.portleased.TooManyClients", "the 65th")
        for v in mine:
            v.close()
    finally:
        # The later ones have the lines of the earlier ones.
        for pid, _, hold in reversed(others):
            os.close(hold)
            os.waitpid(pid, 0)


test_places_kept_for_root.needs_root = True


def test_no_descriptors_left(home):
    """Accepting pauses, and goes on when a descriptor is free again."""
    home.up(WEB)
    home.wait_state("web", "active")
    first = Varlink(home.socket)
    first.call(SERVICE + "GetInfo")

    def used():
        """Which, for a while; None while that changes."""
        seen = {tuple(sorted(map(int, os.listdir("/proc/%d/fd" % home.daemon.pid))))
                for _ in range(30) if not time.sleep(0.01)}
        return seen.pop() if len(seen) == 1 else None

    # The writer of the state file and clients that have left give theirs back.
    until(lambda: os.path.exists(home.path("state/state.json")), "state file")
    descriptors = until(used, "daemon at rest")
    limit = descriptors[-1] + 1
    _, hard = resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE, (limit, hard))
    others = [Varlink(home.socket) for _ in range(limit - len(descriptors))]  # what was given back
    for other in others:
        other.call(SERVICE + "GetInfo")
    second = Varlink(home.socket)
    second.ask(SERVICE + "GetInfo")
    second.socket.settimeout(0.5)
    try:
        second.next()
        raise Failure("served without a descriptor")
    except socket.timeout:
        pass
    first.close()
    second.socket.settimeout(20)
    check("vendor" in second.next()["parameters"], "served later")
    for other in others + [second]:
        other.close()
    resource.prlimit(home.daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))


def test_socket_file(home):
    home.up(WEB)
    same(stat.S_IMODE(os.lstat(home.socket).st_mode), 0o666, "mode")
    home.daemon.kill()
    home.daemon.wait()
    check(os.path.exists(home.socket), "a crash leaves it behind")
    home.start()
    home.stop()
    check(not os.path.exists(home.socket), "still there after the end")
    # Somebody else's is left alone, and so is what is no socket.
    other = socket.socket(socket.AF_UNIX)
    other.bind(home.path("other.sock"))
    other.listen()
    with open(home.path("file"), "w") as f:
        f.write("x")
    for path, why in (("other.sock", "in use"), ("file", "exists")):
        home.daemon = home.spawn(
            [home.options.portleased, "-f", home.file, "-s", home.path("state"), "-r",
             home.path("run"), "-c", home.path(path)], "daemon.log")
        same(home.daemon.wait(20), 1, "exit status")
        check(why in home.log().splitlines()[-1] and path in home.log(), home.log())
    check(os.path.exists(home.path("other.sock")) and os.path.exists(home.path("file")), "removed")
    other.close()
    home.socket = home.path("mine.sock")
    home.start("-c", home.socket)
    same(home.ctl("renew")[0], 0, "another path")
