# SPDX-License-Identifier: ISC
"""portleased as a program: where it looks for things, what it writes, which signals it minds."""

import os
import re
import signal
import subprocess
import time

from harness import ENVIRONMENT, PATIENCE, check, same, until

WEB = "web internal-port=8080 external-port=80"


def launch(home, *arguments, name="daemon.log", **environment):
    """As it is started by hand: with these arguments and this environment, and nothing else."""
    with open(home.path(name), "ab") as log:
        home.daemon = subprocess.Popen([home.options.portleased, "-f", home.file] + list(arguments),
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=dict(ENVIRONMENT, **environment))
    home.processes.append(home.daemon)


def test_folders_of_systemd(home):
    """The first entries of the lists that systemd hands over; and options come before them."""
    home.write(WEB)
    home.gateway()
    for name in ("s1", "s2", "r1", "r2"):
        os.mkdir(home.path(name))
    lists = {"STATE_DIRECTORY": home.path("s1") + ":" + home.path("s2"),
             "RUNTIME_DIRECTORY": home.path("r1") + ":" + home.path("r2")}
    home.socket = home.path("r1", "control.sock")
    launch(home, **lists)
    until(home.answers, "answer of the daemon")
    home.wait_state("web", "active")
    until(lambda: os.path.exists(home.path("s1", "state.json")), "the state")
    same(sorted(os.listdir(home.path("s1"))), ["secret", "state.json"], "the state folder")
    check(os.path.exists(home.path("r1", "forwards", "web.env")), "no env file")
    same((os.listdir(home.path("s2")), os.listdir(home.path("r2"))), ([], []), "the second ones")
    home.stop()
    home.socket = home.path("given.sock")
    launch(home, "--state-directory", home.path("s2"), "--runtime-directory", home.path("r2"),
           "--control", home.socket, **lists)
    until(home.answers, "answer of the daemon")
    until(lambda: os.path.exists(home.path("r2", "forwards", "web.env")), "the env file")
    check(os.path.exists(home.path("s2", "secret")), "no secret")
    check(not os.path.exists(home.path("r2", "control.sock")), "a socket of its own choice")


def test_log_levels(home):
    """The command line beats the file, also after a reload; and each level is less than the next."""
    home.gateway()
    home.tell("result", "create", "2")
    seen = {}
    for level in ("error", "warning", "info", "debug"):
        home.write(WEB, settings="log-level = %s" % ("debug" if level == "error" else "error"))
        launch(home, "-s", home.path("state"), "-r", home.path("run"), "--log-level", level,
               name=level)
        until(home.answers, "answer of the daemon")
        home.wait_state("web", "failed")
        same(home.ctl("reload")[0], 0, "reload")
        time.sleep(0.3)
        home.stop()
        seen[level] = home.log(level).splitlines()
    same(seen["error"], [], "errors")
    check(any("NOT_AUTHORIZED" in line for line in seen["warning"]), "%r" % seen["warning"])
    check(len(seen["warning"]) < len(seen["info"]) < len(seen["debug"]), "%r" % seen)
    # Without the option the file counts, and may be changed.
    home.write(WEB, settings="log-level = error")
    launch(home, "-s", home.path("state"), "-r", home.path("run"), name="file")
    until(home.answers, "answer of the daemon")
    home.wait_state("web", "failed")
    same(home.log("file"), "", "log")
    home.write(WEB, settings="log-level = info")
    same(home.ctl("reload")[0], 0, "reload")
    until(lambda: "reloaded" in home.log("file"), "a line about the reload")


def test_journal(home):
    """Priorities when standard error is the journal, and only then."""
    home.write(WEB)
    home.gateway()
    home.tell("result", "create", "2")
    for name, right in (("journal", True), ("other", False)):
        with open(home.path(name), "ab") as log:
            s = os.fstat(log.fileno())
        launch(home, "-s", home.path("state"), "-r", home.path("run"), name=name,
               JOURNAL_STREAM="%d:%d" % (s.st_dev, s.st_ino + (not right)))
        until(home.answers, "answer of the daemon")
        home.wait_state("web", "failed")
        home.stop()
        marks = {line[:3] for line in home.log(name).splitlines() if re.match("<[0-7]>", line)}
        same(marks, {"<4>", "<6>"} if right else set(), name)
        check(not right or all(line[0] == "<" for line in home.log(name).splitlines()), "a bare line")


def test_signals(home):
    """INT as TERM; PIPE is nothing, also when nobody reads the log any more."""
    home.write(WEB)
    home.gateway()
    ours, its = os.pipe()
    home.daemon = subprocess.Popen(
        [home.options.portleased, "-f", home.file, "-s", home.path("state"), "-r", home.path("run")],
        stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=ENVIRONMENT)
    home.processes.append(home.daemon)
    os.close(its)
    os.close(ours)
    until(home.answers, "answer of the daemon")
    home.wait_state("web", "active")
    home.daemon.send_signal(signal.SIGPIPE)
    home.daemon.send_signal(signal.SIGUSR1)
    until(lambda: home.rows("web")[0]["renewals"] == 1, "the renewal that SIGUSR1 asks for")
    home.daemon.send_signal(signal.SIGHUP)
    same(home.rows("web")[0]["state"], "active", "it goes on")
    same(len(home.table()), 1, "mapped")
    home.stop(signal.SIGINT)
    same(home.table(), [], "released")


def test_start_that_fails(home):
    """Status 1, and one line that says with what and why."""
    home.write(WEB)
    os.chmod(home.path("run"), 0o755)
    with open(home.path("file"), "w"):
        pass
    for n, (option, path) in enumerate((("-r", home.path("file")), ("-r", home.path("no", "such")),
                                        ("-c", home.path("no", "such.sock")),
                                        ("-c", home.path("x" * 120)))):
        name = "failed.%d" % n
        launch(home, "-s", home.path("state"), *(() if option == "-r" else ("-r", home.path("run"))),
               option, path, name=name)
        same(home.daemon.wait(PATIENCE), 1, "%s %s" % (option, path))
        lines = home.log(name).splitlines()
        same(len(lines), 1, "lines: %r" % lines)
        check(path in lines[0] or os.path.dirname(path) in lines[0], lines[0])
    # One that runs already is not disturbed.
    home.gateway()
    home.start()
    launch(home, "-s", home.path("state"), "-r", home.path("run"), name="second")
    second = home.daemon
    same(second.wait(PATIENCE), 1, "a second one")
    same(len(home.log("second").splitlines()), 1, home.log("second"))
    home.daemon = home.processes[-2]
    home.wait_state("web", "active")
    home.stop()


def test_no_file(home):
    """No configuration is a rejected one."""
    home.file = home.path("none.conf")
    for arguments in ((), ("-n",)):
        launch(home, "-s", home.path("state"), "-r", home.path("run"), *arguments, name="none")
        same(home.daemon.wait(PATIENCE), 78, "%r" % (arguments,))
        lines = home.log("none").splitlines()
        check(home.file in lines[-1] and "No such file" in lines[-1], "%r" % lines)


def test_escaped(home):
    """What comes from outside, here from a file, cannot write to a terminal."""
    home.write("web internal-port=8080")
    home.gateway()
    home.start()
    home.wait_state("web", "active")
    with open(home.file, "a") as f:
        f.write("bad\x1b[31m = 1\n")
    status, _, errors = home.ctl("reload")
    same(status, 1, "reload")
    check("\x1b" not in errors + home.log(), "escape: %r" % errors)
