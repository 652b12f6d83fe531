# SPDX-License-Identifier: ISC
"""hold: forwards that live as long as somebody wants them."""

import json
import os
import re
import signal
import socket
import time

from harness import PATIENCE, Failure, Varlink, check, same, until

WEB = "web internal-port=8080 external-port=80"
GAME = "game protocol=udp internal-port=7777 on-demand=yes"


def ports(home):
    return sorted(m["external"] for m in home.table())


def test_hold_command(home):
    home.up(WEB, GAME)
    home.wait_state("web", "active")
    status, out, err = home.ctl("hold", "game", "--", "sh", "-c", "env | sort; exit 7")
    same((status, err), (7, ""), "the command's own status")
    wanted = {"EVENT": "mapped", "FORWARD": "game", "PROTOCOL": "udp", "FAMILY": "ipv4",
              "INTERNAL_ADDRESS": "127.0.0.1", "INTERNAL_PORT": "7777",
              "EXTERNAL_ADDRESS": "203.0.113.7", "EXTERNAL_PORT": "7777", "GATEWAY": "g",
              "GATEWAY_ADDRESS": home.address, "INTERFACE": "lo", "MAPPER": "pcp",
              "LIFETIME": "3600", "EXTERNAL_CLASS": "public"}
    got = dict(line.split("=", 1) for line in out.splitlines() if line.startswith("PORTLEASE_"))
    for key, value in wanted.items():
        same(got.get("PORTLEASE_" + key), value, key)
        if key != "EVENT":
            same(got.get("PORTLEASE_%s_UDP" % key), value, key + "_UDP")
    check("PATH" in out and "LC_ALL" in out, "the rest of the environment stays")
    home.wait_state("game", "idle")
    until(lambda: ports(home) == [80], "release at the gateway")


def test_hold_exit_statuses(home):
    home.up(WEB, GAME)
    for command, wanted in ((["true"], 0), (["sh", "-c", "kill -9 $$"], 137),
                            (["/nonexistent/program"], 127), (["/etc/passwd"], 126)):
        same(home.ctl("hold", "game", "--", *command)[0], wanted, " ".join(command))
    status, _, err = home.ctl("hold", "web", "--", "true")
    same(status, 125, "a forward that is not on demand")
    check("on-demand" in err and len(err.splitlines()) == 1, err)
    same(home.ctl("hold", "web")[0], 1, "the same without a command")


def test_hold_without_gateway(home):
    home.write(GAME)
    home.start()
    status, _, err = home.ctl("hold", "game", "--timeout", "1", "--", "true")
    same(status, 125, "no lease in time")
    check(len(err.splitlines()) == 1, err)


def test_hold_forwards_signals(home):
    home.up(GAME)
    script = "trap 'echo got usr1' USR1; trap 'echo got term; exit 3' TERM; echo ready; " \
             "while :; do sleep 0.05; done"
    process = home.ctl_start("hold", "game", "--", "sh", "-c", script)
    same(process.stdout.readline(), "ready\n", "start")
    process.send_signal(signal.SIGUSR1)
    same(process.stdout.readline(), "got usr1\n", "USR1")
    process.send_signal(signal.SIGTERM)
    same(process.stdout.readline(), "got term\n", "TERM")
    same(process.wait(PATIENCE), 3, "exit status")


def test_hold_until_a_signal(home):
    home.up(GAME)
    path = home.path("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(PATIENCE)
        process = home.ctl_start("hold", "game", environment={"NOTIFY_SOCKET": path})
        check("READY=1" in notify.recv(4096).decode(), "no READY=1")
    same(process.stdout.readline(), "203.0.113.7:7777\n", "where it is reached")
    same(home.rows("game")[0]["state"], "active", "while it is held")
    process.terminate()
    same(process.wait(PATIENCE), 0, "exit status")
    home.wait_state("game", "idle")


def test_hold_not_ready_before_it_is_mapped(home):
    home.write(GAME)
    home.gateway(silence="on")
    home.start()
    process = home.ctl_start("hold", "game", "--", "sh", "-c", "echo $PORTLEASE_EXTERNAL_PORT")
    until(lambda: home.rows("game")[0]["state"] != "idle", "hold")
    same(process.poll(), None, "started without a mapping")
    home.tell("set", "silence", "off")
    out, _ = process.communicate(timeout=60)
    same((process.returncode, out), (0, "7777\n"), "the command")


def test_hold_natpmp_waits_for_the_address(home):
    home.up(GAME, gateway={"mode": "nat-pmp"})
    out = home.ctl("hold", "game", "--", "sh", "-c", "echo $PORTLEASE_EXTERNAL_ADDRESS")[1]
    same(out, "203.0.113.7\n", "external address")


def test_two_holders(home):
    home.up(GAME)
    with Varlink(home.socket) as first:
        first.ask("io.portleased.Hold", {"forward": "game"}, more=True)
        check(first.next()["continues"], "the first reply comes at once")
        second = Varlink(home.socket)
        second.ask("io.portleased.Hold", {"forward": "game"}, more=True)
        while not second.next()["parameters"]["active"]:
            pass
        second.close()
        until(lambda: home.log().count("no longer held") == 1, "end of the second")
        same(home.rows("game")[0]["state"], "active", "the first still holds")
    home.wait_state("game", "idle")


def test_hold_hears_of_changes(home):
    home.up(GAME, settings="probe-interval = 1\nrecovery-delay = 0", gateway={"epoch": 5000})
    with Varlink(home.socket) as v:
        v.ask("io.portleased.Hold", {"forward": "game"}, more=True)
        while not v.next()["parameters"]["active"]:
            pass
        home.tell("set", "external", "198.51.100.9")
        home.tell("reboot", "silent", "epoch", "0")
        while v.next()["parameters"]["mappings"][0]["external_address"] != "198.51.100.9":
            pass
        home.write(WEB)
        same(home.ctl("reload")[0], 0, "reload")
        answer = v.next()
        while "error" not in answer:
            answer = v.next()
        same(answer["error"], "io.portleased.NoSuchForward", "the forward has gone")
        same(v.call("io.portleased.Renew")["parameters"]["mappings"] >= 0, True,
             "the connection is as good as before")


def test_ad_hoc(home):
    home.up(WEB, GAME)
    home.wait_state("web", "active")
    script = "echo $PORTLEASE_FORWARD $PORTLEASE_EXTERNAL_PORT_TCP $PORTLEASE_EXTERNAL_PORT_UDP"
    status, out, err = home.ctl(
        "hold", "--protocol", "both", "--internal-port", "9000-9001", "--external-port",
        "9100-9101", "--gateway", "g", "--lifetime", "600", "--", "sh", "-c", script)
    same((status, err), (0, ""), "hold")
    name, tcp, udp = out.split()
    same((tcp, udp), ("9100-9101", "9100-9101"), "ports")
    check(name.startswith("_"), "a config could have called a forward %s" % name)
    until(lambda: [m["forward"] for m in home.rows()] == ["web", "game"], "its end")
    until(lambda: ports(home) == [80], "release at the gateway")


def test_ad_hoc_on_a_gateway_that_no_forward_uses(home):
    home.up()
    status, out, err = home.ctl("hold", "--internal-port", "9000", "--gateway", "g", "--timeout",
                                "20", "--", "sh", "-c", "echo $PORTLEASE_EXTERNAL_PORT")
    same((status, out), (0, "9000\n"), "hold: " + err)


def test_ad_hoc_conflicts(home):
    home.up(WEB, GAME)
    with Varlink(home.socket) as v, Varlink(home.socket) as other:
        def conflict(**values):
            return v.error("io.portleased.Hold", {"ad_hoc": dict(values, gateway="g")}, more=True)

        same(conflict(internal_port="8080", external_port="any"),
             ("io.portleased.Conflict", {"forward": "web"}), "internal port")
        same(conflict(internal_port="70-90"), ("io.portleased.Conflict", {"forward": "web"}),
             "external port, in a range")
        same(conflict(internal_port="7777", protocol="both"),
             ("io.portleased.Conflict", {"forward": "game"}), "an idle forward")
        other.ask("io.portleased.Hold",
                  {"ad_hoc": {"internal_port": "7777", "gateway": "g"}}, more=True)
        check("error" not in other.next(), "tcp 7777 is free")
        error, parameters = conflict(internal_port="7777")
        same(error, "io.portleased.Conflict", "another ad-hoc forward")
        check(parameters["forward"].startswith("_"), "%r" % parameters)
        # A config that wants the port wins.
        home.write("new internal-port=7777")
        same(home.ctl("reload")[0], 0, "reload")
        answer = other.next()
        while "error" not in answer:
            answer = other.next()
        same((answer["error"], answer["parameters"]),
             ("io.portleased.Conflict", {"forward": "new"}), "the config's forward comes first")
        home.wait_state("new", "active")


def test_ad_hoc_parameters(home):
    home.up(WEB)
    good = {"internal_port": "9000", "gateway": "g"}
    wrong = [("internal_port", "0"), ("internal_port", "65536"), ("internal_port", "9-8"),
             ("internal_port", " 9"), ("internal_port", "1-"), ("internal_port", 9000),
             ("internal_port", "assigned"), ("external_port", "1-2"), ("external_port", "x"),
             ("external_port", 5), ("protocol", "sctp"), ("family", "ipx"), ("lifetime", 1),
             ("lifetime", "60"), ("lifetime", 86401), ("gateway", "nix"), ("gateway", 1),
             ("external_policy", "x"), ("description", 7), ("description", "a\nb"),
             ("description", "x" * 256), ("family", "ipv6"), ("remote", ["::/0"])]
    with Varlink(home.socket) as v:
        for key, value in wrong:
            error, parameters = v.error("io.portleased.Hold",
                                        {"ad_hoc": dict(good, **{key: value})}, more=True)
            same(error, "org.varlink.service.InvalidParameter", "%s = %r" % (key, value))
            check(parameters["parameter"] in (key, "gateway"), "%r" % parameters)
        for parameters in ({}, {"forward": "web", "ad_hoc": good}, {"forward": 1},
                           {"ad_hoc": 1}, {"ad_hoc": {}}):
            same(v.error("io.portleased.Hold", parameters, more=True)[0],
                 "org.varlink.service.InvalidParameter", "%r" % parameters)
        same(v.error("io.portleased.Hold", {"forward": "web"})[0],
             "org.varlink.service.ExpectedMore", "without more")
        same([m["forward"] for m in home.rows()], ["web"], "nothing was made")
    same(home.ctl("hold", "--internal-port", "99999", "--gateway", "g")[0], 2, "usage")


def test_hold_outlives_a_restart(home):
    home.up(GAME)
    process = home.ctl_start("hold", "game", "--", "sh", "-c",
                             "echo up; while [ ! -e '%s' ]; do sleep 0.05; done"
                             % home.path("end"))
    same(process.stdout.readline(), "up\n", "start")
    home.stop(signal.SIGQUIT)
    same(ports(home), [7777], "SIGQUIT keeps the lease, held or not")
    home.start()
    home.wait_state("game", "active")
    open(home.path("end"), "w").close()
    same(process.wait(PATIENCE), 0, "exit status")
    home.wait_state("game", "idle")


def made(home, internal):
    """How often the gateway has made a mapping of that port, and deleted one."""
    changes = [json.loads(line) for line in home.log("gateway.log").splitlines()
               if '"event":"table"' in line]
    return [sum(1 for c in changes if c["change"] == change and c["mapping"]["internal"] == internal)
            for change in ("add", "delete")]


def crash(home, *ports_known):
    def saved():
        try:
            with open(home.path("state", "state.json")) as f:
                return {str(port) for port in ports_known} <= set(re.findall(r"\d+", f.read()))
        except FileNotFoundError:
            return False

    until(saved, "these ports in the state file")
    home.daemon.kill()
    home.daemon.wait()


LOOP = "echo up; while [ ! -e '%s' ]; do sleep 0.05; done; exit 9"


def test_hold_is_taken_up_after_a_crash(home):
    """A forward of the config, and an ad-hoc one: the gateway sees nothing but renewals."""
    home.up(GAME)
    loop = ["--", "sh", "-c", LOOP % home.path("end")]
    holders = [home.ctl_start("hold", "game", *loop),
               home.ctl_start("hold", "--internal-port", "9000", "--gateway", "g", *loop)]
    for holder in holders:
        same(holder.stdout.readline(), "up\n", "start")
    crash(home, 7777, 9000)
    home.start()
    until(lambda: [m["state"] for m in home.rows()] == ["active"] * 2, "both to be held again")
    same(ports(home), [7777, 9000], "at the gateway")
    time.sleep(0.5)
    for port in (7777, 9000):
        same(made(home, port), [1, 0], "mappings of %d made and deleted" % port)
    open(home.path("end"), "w").close()
    for holder in holders:
        _, err = holder.communicate(timeout=PATIENCE)
        same(holder.returncode, 9, "exit status")
        check(len(err.splitlines()) == 1 and "holding again" in err, err)
    until(lambda: ports(home) == [], "release")


def test_hold_is_kept_for_ten_seconds(home):
    """A holder that does not come back after a restart of the daemon loses its mapping then."""
    home.up(GAME)
    holder = home.ctl_start("hold", "game")
    same(holder.stdout.readline(), "203.0.113.7:7777\n", "held")
    holder.send_signal(signal.SIGSTOP)
    home.stop(signal.SIGQUIT)
    begun = time.monotonic()
    home.start()
    time.sleep(5)
    same(ports(home), [7777], "kept")
    same(home.rows("game")[0]["state"], "idle", "held by nobody")
    until(lambda: ports(home) == [], "release", 30)
    check(time.monotonic() - begun > 9, "released after %.1f s" % (time.monotonic() - begun))
    # It comes late, and is mapped again all the same.
    holder.send_signal(signal.SIGCONT)
    home.wait_state("game", "active")
    same(ports(home), [7777], "held again")
    holder.terminate()
    same(holder.wait(PATIENCE), 0, "exit status")


def test_hold_outlives_a_stop(home):
    """What the daemon releases at its end is mapped anew when it is back; the program goes on."""
    home.up(GAME)
    holder = home.ctl_start("hold", "game", "--", "sh", "-c", LOOP % home.path("end"))
    same(holder.stdout.readline(), "up\n", "start")
    home.stop()
    same(ports(home), [], "released")
    time.sleep(1.5)  # it asks every second
    same(holder.poll(), None, "the holder ended")
    home.start()
    home.wait_state("game", "active")
    open(home.path("end"), "w").close()
    same(holder.wait(PATIENCE), 9, "exit status")


def test_hold_is_ended_before_its_time(home):
    """By a signal while nothing is mapped yet: 128+n, and no program was started."""
    home.write(GAME)
    home.gateway(silence="on")
    home.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process = home.ctl_start("hold", "game", "--", "touch", home.path("started"))
        until(lambda: home.rows("game")[0]["state"] != "idle", "hold")
        process.send_signal(number)
        same(process.wait(PATIENCE), 128 + number, "exit status")
        home.wait_state("game", "idle")
    check(not os.path.exists(home.path("started")), "the program was started")


def test_hold_is_not_ready_before_it_is_mapped(home):
    home.write(GAME)
    home.gateway(silence="on")
    home.start()
    path = home.path("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(1)
        process = home.ctl_start("hold", "game", environment={"NOTIFY_SOCKET": path})
        until(lambda: home.rows("game")[0]["state"] != "idle", "hold")
        try:
            raise Failure("systemd was told %r" % notify.recv(4096))
        except socket.timeout:
            pass
        home.tell("set", "silence", "off")
        notify.settimeout(PATIENCE)
        check("READY=1" in notify.recv(4096).decode(), "READY=1")
        home.wait_state("game", "active")
    process.terminate()
    same(process.wait(PATIENCE), 0, "exit status")


def test_hold_by_members_of_the_control_group(home):
    """By a supplementary group, which only SO_PEERGROUPS tells."""
    home.up(GAME, settings="control-group = daemon")
    same(home.ctl("hold", "game", "--", "sh", "-c", "id -u; exit 3", user=(65534, 65534, [1])),
         (3, "65534\n", ""), "a member")
    same(home.ctl("hold", "--internal-port", "9000", "--gateway", "g", "--", "true",
                  user=(65534, 65534, [2, 1])), (0, "", ""), "a member, ad hoc")
    status, _, err = home.ctl("hold", "game", "--", "true", user=(65534, 65534, [2]))
    same(status, 125, "a member of another group")
    check("not permitted" in err and len(err.splitlines()) == 1, err)


test_hold_by_members_of_the_control_group.needs_root = True


def entered(home):
    """A client that is in; None while one that has just left is still counted."""
    v = Varlink(home.socket)
    try:
        if v.error("org.varlink.service.GetInfo")[0] == "none":
            return v
    except (BrokenPipeError, Failure):
        pass
    v.close()
    return None


def test_hold_among_too_many_clients(home):
    home.up(GAME)
    clients = [until(lambda: entered(home), "client %d" % i) for i in range(1, 9)]
    status, out, err = home.ctl("hold", "game", "--", "true")
    same((status, out), (125, ""), "the ninth")
    check("too many clients" in err and len(err.splitlines()) == 1, err)
    for v in clients:
        v.close()
