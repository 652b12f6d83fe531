# SPDX-License-Identifier: ISC
"""The daemon's own part: when which hook is run with what, and the env files."""

import os
import signal
import subprocess
import time

from stage import Diary, GATEWAY, check, same, until

FORWARD = "forward web { internal-port = 8080\n external-port = 4000\n gateway = g\n%s }\n"


def config(diary, forward="", **settings):
    lines = ["%s = %s" % (key.replace("_", "-"), value) for key, value in settings.items()]
    return "\n".join(["on-change = " + diary.on_change()] + lines + [FORWARD % forward])


def test_life(stage):
    """mapped, changed, lost, mapped, released: with everything that a hook is told."""
    diary = Diary(stage)
    stage.gateway(grant=10)
    stage.start(config(diary))
    run = diary.next("mapped")
    told = {key: value for key, value in run.items() if key.startswith("PORTLEASE_")}
    same("the environment", told, {
        "PORTLEASE_EVENT": "mapped", "PORTLEASE_FORWARD": "web", "PORTLEASE_PROTOCOL": "tcp",
        "PORTLEASE_FAMILY": "ipv4", "PORTLEASE_INTERNAL_ADDRESS": "127.0.0.1",
        "PORTLEASE_INTERNAL_PORT": "8080", "PORTLEASE_EXTERNAL_ADDRESS": "203.0.113.7",
        "PORTLEASE_EXTERNAL_PORT": "4000", "PORTLEASE_OLD_EXTERNAL_ADDRESS": "",
        "PORTLEASE_OLD_EXTERNAL_PORT": "", "PORTLEASE_GATEWAY": "g",
        "PORTLEASE_GATEWAY_ADDRESS": GATEWAY, "PORTLEASE_INTERFACE": "lo",
        "PORTLEASE_MAPPER": "pcp", "PORTLEASE_LIFETIME": "10", "PORTLEASE_EXTERNAL_CLASS": "public"})
    same("PATH", run["PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    check("NOT_FOR_HOOKS" not in run, "the daemon's environment reaches the hook")
    stage.daemon.wait_line("^web: hook: hook says mapped$")
    stage.tell("set external 10.9.8.7")
    run = diary.next("changed")
    same("the new address", run["PORTLEASE_EXTERNAL_ADDRESS"], "10.9.8.7")
    same("the new class", run["PORTLEASE_EXTERNAL_CLASS"], "private")
    same("the old address", run["PORTLEASE_OLD_EXTERNAL_ADDRESS"], "203.0.113.7")
    same("the old port", run["PORTLEASE_OLD_EXTERNAL_PORT"], "4000")
    stage.tell("set silence on")
    run = diary.next("lost")
    same("the address", run["PORTLEASE_EXTERNAL_ADDRESS"], "")
    same("the port", run["PORTLEASE_EXTERNAL_PORT"], "")
    same("the old address", run["PORTLEASE_OLD_EXTERNAL_ADDRESS"], "10.9.8.7")
    same("the inside", run["PORTLEASE_INTERNAL_PORT"], "8080")
    check(not stage.env_file(), "the env file is there, though nothing is mapped")
    stage.tell("set silence off")
    run = diary.next("mapped", 60)
    same("the old port", run["PORTLEASE_OLD_EXTERNAL_PORT"], "")
    same("the exit status", stage.daemon.stop()[0], 0)
    run = diary.next("released")
    same("the old port", run["PORTLEASE_OLD_EXTERNAL_PORT"], "4000")
    same("hooks that came to their end", diary.ends(), 5)
    diary.none_more()


def test_failed(stage):
    diary = Diary(stage)
    stage.gateway()
    stage.tell("result create 2")
    stage.start(config(diary))
    run = diary.next("failed")
    same("the port", run["PORTLEASE_EXTERNAL_PORT"], "")
    same("the inside", run["PORTLEASE_INTERNAL_PORT"], "8080")
    same("the class", run["PORTLEASE_EXTERNAL_CLASS"], "none")
    stage.daemon.stop()
    diary.none_more()


def test_slow(stage):
    """While a hook runs the world turns several times: it is told where it stopped."""
    diary = Diary(stage)
    diary.put("wait")
    stage.gateway(grant=10)
    stage.start(config(diary))
    diary.next("mapped")
    for last in (8, 9, 10):
        stage.tell("set external 203.0.113.%d" % last)
        stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.%d:" % last)
    diary.none_more()
    diary.drop("wait")
    run = diary.next("changed")
    same("the new address", run["PORTLEASE_EXTERNAL_ADDRESS"], "203.0.113.10")
    same("the old address", run["PORTLEASE_OLD_EXTERNAL_ADDRESS"], "203.0.113.7")
    until(lambda: diary.ends() == 2, "the hook's end")
    diary.none_more(0.3)


def test_back_again(stage):
    diary = Diary(stage)
    diary.put("wait")
    stage.gateway(grant=10)
    stage.start(config(diary))
    diary.next("mapped")
    stage.tell("set external 203.0.113.8")
    stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.8:")
    stage.tell("set external 203.0.113.7")
    stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.7:")
    diary.drop("wait")
    until(lambda: diary.ends() == 1, "the hook's end")
    diary.none_more(1)


def test_failing(stage):
    """A hook that fails is run again with the same, a second later, then two."""
    diary = Diary(stage)
    diary.put("fail", 3)
    stage.gateway()
    stage.start(config(diary))
    begun = time.monotonic()
    first = diary.next("mapped")
    for _ in range(2):
        again = diary.next("mapped")
        for key in ("OLD_EXTERNAL_PORT", "EXTERNAL_PORT", "PROTOCOL"):
            same(key, again["PORTLEASE_" + key], first["PORTLEASE_" + key])
    check(time.monotonic() - begun > 2.5, "repeated without back-off")
    for pause in (1, 2, 4):
        stage.daemon.wait_line("failed with exit status 3; trying again in %d s" % pause)
    diary.drop("fail")  # not before: the third run would have been well
    diary.next("mapped")
    until(lambda: diary.ends() == 4, "the hook's end")
    diary.none_more(1)


def test_hanging(stage):
    """It is ended after hook-timeout, all its processes, and counts as failed."""
    diary = Diary(stage)
    diary.put("slow", 1000)
    stage.gateway()
    stage.start(config(diary, hook_timeout=1))
    diary.next("mapped")
    stage.daemon.wait_line("took longer than 1 s and was ended; trying again")
    os.unlink(os.path.join(diary.folder, "slow"))
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")


def test_missing_program(stage):
    stage.gateway()
    stage.start('on-change = {"/nonexistent/hook"}\n' + FORWARD % "")
    stage.daemon.wait_line("/nonexistent/hook cannot be run: No such file")
    stage.daemon.wait_line("/nonexistent/hook failed with exit status 127; trying again")


def test_renewals(stage):
    diary = Diary(stage)
    stage.gateway(grant=10)
    stage.start(config(diary))
    diary.next("mapped")
    before = os.stat(stage.env_file()).st_ino
    until(lambda: stage.table_changes("renew") >= 3, "renewals")
    diary.none_more()
    same("the env file's number", os.stat(stage.env_file()).st_ino, before)


def test_every_start(stage):
    """`mapped` is run in every run of the daemon, though the lease goes on."""
    diary = Diary(stage)
    stage.gateway()
    stage.start(config(diary))
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")
    same("the exit status", stage.daemon.stop(signal.SIGQUIT)[0], 0)
    diary.none_more()
    stage.restart()
    diary.next("mapped")


def test_units(stage):
    """tcp and udp are told each for itself, one after the other."""
    diary = Diary(stage)
    diary.put("slow", 0.3)
    stage.gateway()
    stage.start(config(diary, "protocol = both"))
    first = diary.next("mapped")
    same("hooks at the same time", diary.ends(), 0)
    second = diary.next("mapped")
    same("ends before the second began", diary.ends(), 1)
    same("protocols", sorted([first["PORTLEASE_PROTOCOL"], second["PORTLEASE_PROTOCOL"]]),
         ["tcp", "udp"])
    shell = stage.source()
    same("the first unit", shell["PORTLEASE_PROTOCOL"], "tcp")
    same("udp's protocol", shell["PORTLEASE_PROTOCOL_UDP"], "udp")
    same("udp's port", shell["PORTLEASE_EXTERNAL_PORT_UDP"], second["PORTLEASE_EXTERNAL_PORT"])
    check("PORTLEASE_EXTERNAL_PORT_TCP6" not in shell, "variables of a unit that is not wanted")


def test_settle(stage):
    diary = Diary(stage)
    stage.gateway(grant=10)
    stage.start(config(diary, settle=8))
    diary.next("mapped")
    stage.tell("set external 203.0.113.8")
    stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.8:")
    until(lambda: stage.source()["PORTLEASE_EXTERNAL_ADDRESS"] == "203.0.113.8",
          "the env file to tell it at once")
    diary.none_more()
    stage.tell("set external 203.0.113.7")
    stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.7:")
    stage.tell("set external 203.0.113.9")
    stage.daemon.wait_line(r"is now mapped to 203\.0\.113\.9:")
    diary.none_more()
    run = diary.next("changed")
    same("the new address", run["PORTLEASE_EXTERNAL_ADDRESS"], "203.0.113.9")
    same("the old address", run["PORTLEASE_OLD_EXTERNAL_ADDRESS"], "203.0.113.7")


def test_ranges(stage):
    diary = Diary(stage)
    stage.gateway()
    stage.start("on-change = %s\nforward web { internal-port = 5000-5002\n gateway = g }\n"
                % diary.on_change())
    run = diary.next("mapped")
    same("the inside", run["PORTLEASE_INTERNAL_PORT"], "5000-5002")
    same("the outside", run["PORTLEASE_EXTERNAL_PORT"], "5000-5002")


def test_ranges_out_of_step(stage):
    diary = Diary(stage)
    stage.gateway(port_policy="list", port_list="6000,6007,6003")
    stage.start("on-change = %s\nforward web { internal-port = 5000-5002\n gateway = g }\n"
                % diary.on_change())
    run = diary.next("mapped")
    same("the inside", run["PORTLEASE_INTERNAL_PORT"], "5000-5002")
    same("the outside", sorted(run["PORTLEASE_EXTERNAL_PORT"].split(",")), ["6000", "6003", "6007"])
    same("the env file", stage.source()["PORTLEASE_EXTERNAL_PORT"], run["PORTLEASE_EXTERNAL_PORT"])


def test_reload(stage):
    """Own hook instead of the global one; a forward that goes tells its old hook."""
    common, own = Diary(stage, "common"), Diary(stage, "own")
    text = "on-change = %s\n" % common.on_change()
    other = "forward other { internal-port = 8081\n gateway = g\n%s }\n"
    stage.gateway()
    stage.start(text + FORWARD % "" + other % ("on-change = " + own.on_change("two words")))
    common.next("mapped")
    run = own.next("mapped")
    same("the arguments", run["ARGUMENTS"], own.folder + " two words")
    until(lambda: common.ends() == 1 and own.ends() == 1, "the hooks' ends")
    stage.reload("on-change = %s\n" % common.on_change("new") + FORWARD % "")
    run = own.next("released")
    same("the forward", run["PORTLEASE_FORWARD"], "other")
    check(stage.env_file(), "the other forward's env file is gone")
    until(lambda: not stage.env_file("other"), "the env file to go")
    stage.reload(FORWARD % "")
    stage.daemon.wait_line(r"reloaded: 0 .* 0 removed")
    stage.reload("on-change = %s\n" % common.on_change("newer") + FORWARD % "")
    run = common.next("mapped")
    same("the arguments", run["ARGUMENTS"], common.folder + " newer")
    common.none_more()


def test_reload_moves(stage):
    """Another external port, another internal one, another gateway: one change each."""
    diary = Diary(stage)
    stage.gateway()
    text = config(diary)
    stage.start(text)
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")
    text = text.replace("external-port = 4000", "external-port = 4001")
    stage.reload(text)
    run = diary.next("changed")
    same("the old port", run["PORTLEASE_OLD_EXTERNAL_PORT"], "4000")
    same("the new port", run["PORTLEASE_EXTERNAL_PORT"], "4001")
    until(lambda: diary.ends() == 2, "the hook's end")
    stage.reload(text.replace("8080", "8090"))
    run = diary.next("changed")
    same("the new inside", run["PORTLEASE_INTERNAL_PORT"], "8090")
    same("the port", run["PORTLEASE_EXTERNAL_PORT"], "4001")
    until(lambda: diary.ends() == 3, "the hook's end")
    stage.reload(TWIN + text.replace("8080", "8091").replace("= g\n", "= twin\n"))
    run = diary.next("changed")
    same("the gateway", run["PORTLEASE_GATEWAY"], "twin")
    same("the port", run["PORTLEASE_EXTERNAL_PORT"], "4001")
    until(lambda: diary.ends() == 4, "the hook's end")
    diary.none_more()


TWIN = 'gateway twin { address = "%s"\n interface = lo }\n' % GATEWAY
SECOND = "forward second { internal-port = 8081\n external-port = 4000\n gateway = twin }\n"


def test_one_box_by_two_names(stage):
    """The second forward is told whose the port is, and takes it over."""
    diary = Diary(stage)
    stage.gateway()
    stage.start(TWIN + config(diary) + SECOND)
    runs = {run["PORTLEASE_FORWARD"]: run for run in (diary.next(), diary.next())}
    same("web", runs["web"]["PORTLEASE_EVENT"], "mapped")
    same("the second", runs["second"]["PORTLEASE_EVENT"], "failed")
    stage.daemon.wait_line("^second: .* is not mapped: forward web of gateway g, which is the same "
                           "box as gateway twin, has this port already: ")
    same("the gateway's table", stage.table_changes("add"), 1)
    until(lambda: diary.ends() == 2, "the hooks' ends")
    stage.reload(TWIN + "on-change = %s\n" % diary.on_change() + SECOND)
    runs = {run["PORTLEASE_FORWARD"]: run for run in (diary.next(), diary.next())}
    same("web", runs["web"]["PORTLEASE_EVENT"], "released")
    same("the second", runs["second"]["PORTLEASE_EVENT"], "mapped")
    same("its port", runs["second"]["PORTLEASE_EXTERNAL_PORT"], "4000")
    diary.none_more()


def test_env_file(stage):
    diary = Diary(stage)
    os.makedirs(stage.path("run", "forwards"))
    for name in ("web.env", "gone.env"):
        with open(stage.path("run", "forwards", name), "w") as f:
            f.write("PORTLEASE_EXTERNAL_PORT=1\n")
    stage.gateway()
    stage.tell("set silence on")
    stage.start(config(diary))
    until(lambda: not stage.env_file() and not stage.env_file("gone"), "stale files to go")
    stage.tell("set silence off")
    diary.next("mapped")
    same("the mode", os.stat(stage.env_file()).st_mode & 0o777, 0o644)
    shell = stage.source()
    same("the port", shell["PORTLEASE_EXTERNAL_PORT"], "4000")
    same("tcp's address", shell["PORTLEASE_EXTERNAL_ADDRESS_TCP"], "203.0.113.7")
    check("PORTLEASE_EVENT" not in shell, "an event in the env file")
    check(not [key for key in shell if "OLD_" in key], "old values in the env file")
    with open(stage.env_file()) as f:
        for line in f:
            check(line.startswith("PORTLEASE_") and line.endswith('"\n'), "a line is " + line)
    stage.daemon.stop()
    check(not stage.env_file(), "the env file is there after the end")


def test_late_address(stage):
    """With NAT-PMP the address comes by itself, or never: `mapped` waits 5 s for it."""
    diary = Diary(stage)
    stage.gateway(mode="nat-pmp")
    stage.tell("rule what=addr action=drop")
    begun = time.monotonic()
    stage.start(config(diary))
    run = diary.next("mapped")
    check(time.monotonic() - begun > 4.5, "it has not waited for the address")
    same("the address", run["PORTLEASE_EXTERNAL_ADDRESS"], "")
    same("the class", run["PORTLEASE_EXTERNAL_CLASS"], "none")
    same("the port", run["PORTLEASE_EXTERNAL_PORT"], "4000")


def test_stop_with_a_slow_hook(stage):
    """At the stop hooks get what is left of release-timeout, and no more."""
    diary = Diary(stage)
    stage.gateway()
    stage.start(config(diary, release_timeout=2))
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")
    diary.put("slow", 1000)
    status, seconds = stage.daemon.stop()
    same("the exit status", status, 0)
    check(1.5 < seconds < 6, "it took %.1f s" % seconds)
    diary.next("released")
    same("ends", diary.ends(), 1)


def test_stop_waits_for_the_hook(stage):
    diary = Diary(stage)
    stage.gateway()
    stage.start(config(diary, release_timeout=10))
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")
    diary.put("slow", 1)
    status, seconds = stage.daemon.stop()
    same("the exit status", status, 0)
    diary.next("released")
    same("ends", diary.ends(), 2)
    check(seconds < 8, "it took %.1f s" % seconds)


def test_families(stage):
    """A pinhole for IPv6: the variables of its units have suffixes of their own."""
    for command in ("addr add fd07::1/64 dev lo nodad", "addr add fd07::2/64 dev lo nodad"):
        subprocess.run(["ip", "-6"] + command.split(), check=False)  # there after the first time
    fakegw = stage.process("fakegw6", [stage.options.fakegw, "--listen", "fd07::1"])
    fakegw.wait_line('"ready":true')
    diary = Diary(stage)
    stage.start("on-change = %s\ngateway six { address = \"fd07::1\"\n interface = lo }\n"
                "forward web { internal-port = 8080\n protocol = both\n family = ipv6\n"
                " gateway = six }\n" % diary.on_change())
    runs = {run["PORTLEASE_PROTOCOL"]: run for run in (diary.next("mapped"), diary.next("mapped"))}
    for run in runs.values():
        same("the family", run["PORTLEASE_FAMILY"], "ipv6")
        same("the address", run["PORTLEASE_EXTERNAL_ADDRESS"], run["PORTLEASE_INTERNAL_ADDRESS"])
    shell = stage.source()
    same("the first unit", (shell["PORTLEASE_PROTOCOL"], shell["PORTLEASE_FAMILY"]), ("tcp", "ipv6"))
    for suffix, protocol in (("_TCP6", "tcp"), ("_UDP6", "udp")):
        same(suffix, shell["PORTLEASE_PROTOCOL" + suffix], protocol)
        same(suffix, shell["PORTLEASE_EXTERNAL_ADDRESS" + suffix],
             runs[protocol]["PORTLEASE_EXTERNAL_ADDRESS"])
    check(not [name for name in shell if name.endswith(("_TCP", "_UDP"))], "variables of IPv4")
