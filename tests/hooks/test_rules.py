# SPDX-License-Identifier: ISC
"""What a hook is and is not given, and what becomes of one that does not behave."""

import os
import time

from stage import PATIENCE, Diary, check, parse, same, until

FORWARD = "forward %s { internal-port = %d\n gateway = g\n on-change = {%s} }\n"

# What a program can find out about how it was started. The shell adds to the environment, the kernel
# does not; and opens descriptors of its own, 10 and more.
LOOK = r"""#!/bin/sh
set -eu
descriptors=
for fd in 0 1 2 3 4 5 6 7 8 9; do # now: whatever is in $() has a pipe
	[ ! -e "/proc/$$/fd/$fd" ] || descriptors="$descriptors$fd"
done
cwd=$(readlink /proc/$$/cwd)
out=$(readlink /proc/$$/fd/1 | sed 's/[0-9]//g')
cd "$1"
{
	printf 'cwd=%s\n' "$cwd"
	printf 'umask=%s\n' "$(umask)"
	printf 'stdin=%s\n' "$(readlink /proc/$$/fd/0)"
	printf 'read=%s\n' "$(cat | wc -c)"
	printf 'out=%s\n' "$out"
	printf 'group=%s\n' "$(($(cut -d' ' -f5 /proc/$$/stat) - $$))"
	printf 'arguments=%s\n' "$3"
	sed -n 's/^\(Sig[A-Z][a-z]*\):\t/\1=/p' /proc/$$/status
	printf 'descriptors=%s\n' "$descriptors"
	printf 'environment=%s\n' "$(tr '\000' '\n' </proc/$$/environ | sed 's/=.*//' | sort | tr '\n' ' ')"
} >"$2.new"
mv "$2.new" "$2"
"""


def hooked(stage, name, text, *arguments, port=8080):
    """A forward with a script of its own, which is told a folder and these arguments."""
    program = stage.script(name + ".sh", text)
    words = [program, stage.folder] + list(arguments)
    return FORWARD % (name, port, ", ".join('"%s"' % word for word in words))


def there(stage, name):
    return os.path.exists(stage.path(name))


def text_of(stage, name):
    with open(stage.path(name)) as f:
        return f.read()


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_surroundings(stage):
    stage.gateway()
    stage.start(hooked(stage, "look", LOOK, "seen", "a b; touch $1/shell *"))
    until(lambda: there(stage, "seen"), "the hook")
    seen = parse(text_of(stage, "seen"))
    same("the folder", seen["cwd"], "/")
    same("the umask", seen["umask"], "0022")
    same("standard input", (seen["stdin"], seen["read"]), ("/dev/null", "0"))
    same("standard output", seen["out"], "pipe:[]")
    same("group number less its own", seen["group"], "0")
    for name in ("SigBlk", "SigIgn"):
        same(name, int(seen[name], 16), 0)
    same("descriptors", seen["descriptors"], "012")
    names = [name for name in seen["environment"].split() if not name.startswith("PORTLEASE_")]
    same("the environment besides ours", names, ["PATH"])
    same("an argument", seen["arguments"], "a b; touch $1/shell *")
    check(not there(stage, "shell"), "a shell has seen the arguments")


# It hears SIGTERM and stays; so does what it has started.
DEAF = r"""#!/bin/sh
cd "$1"
trap 'date +%s.%N >>term' TERM
(trap 'true' TERM; while :; do sleep 0.05; done) &
echo $$ $! >pids.new
mv pids.new pids
while :; do sleep 0.05; done
"""


def test_deaf(stage):
    """SIGTERM after hook-timeout, SIGKILL 2 s later, both to the whole group."""
    stage.gateway()
    stage.start("hook-timeout = 1\n" + hooked(stage, "deaf", DEAF))
    until(lambda: there(stage, "pids"), "the hook")
    pids = [int(pid) for pid in text_of(stage, "pids").split()]
    until(lambda: there(stage, "term") and text_of(stage, "term"), "SIGTERM")
    until(lambda: not any(alive(pid) for pid in pids), "the end of %s" % pids)
    lived = time.time() - float(text_of(stage, "term").split()[0])
    check(lived > 1.5, "killed %.1f s after SIGTERM" % lived)
    stage.daemon.wait_line("^deaf: .*deaf.sh took longer than 1 s and was ended; trying again in 1 s")


# SIGTERM suffices for the program; one that it has started hears nothing.
HEIR = r"""#!/bin/sh
cd "$1"
(trap '' TERM; while :; do sleep 0.05; done) &
echo $! >heir.new
mv heir.new heir
while :; do sleep 0.05; done
"""


def test_deaf_offspring(stage):
    """The program's end does not save the rest of its group."""
    stage.gateway()
    stage.start("hook-timeout = 1\n" + hooked(stage, "heir", HEIR))
    until(lambda: there(stage, "heir"), "the hook")
    pid = int(text_of(stage, "heir"))
    until(lambda: not alive(pid), "the end of %d" % pid)
    stage.daemon.wait_line("took longer than 1 s and was ended")


def test_talkative(stage):
    """64 lines, and a word about the rest; what has no line end, or controls, is text all the same."""
    stage.gateway()
    stage.start(hooked(stage, "talk", "#!/bin/sh\nprintf 'a\\033[31mb\\n'\nseq -f 'line %g' 500\n"
                       "printf 'errors, too' >&2\n: >\"$1/done\"\n"))
    until(lambda: there(stage, "done"), "the hook's end")
    stage.daemon.wait_line("^talk: hook: says more than 64 lines; the rest is not logged$")
    lines = [line for line in stage.daemon.text().splitlines() if line.startswith("talk: hook: ")]
    same("lines", len(lines), 65)
    same("the last", lines[63], "talk: hook: line 63")
    check("\033" not in stage.daemon.text(), "control characters in the log: %r" % lines[0])


LEAVER = r"""#!/bin/sh
cd "$1"
echo "$PORTLEASE_EXTERNAL_ADDRESS" >>told
[ ! -e sleeper ] || exit 0
sleep 1000 &
echo $! >sleeper.new
mv sleeper.new sleeper
"""


def test_left_in_the_background(stage):
    """A hook that starts a daemon, which keeps its output open, has ended all the same."""
    stage.gateway(grant=10)
    stage.start("hook-timeout = 2\n" + hooked(stage, "leaver", LEAVER))
    until(lambda: there(stage, "sleeper"), "the hook")
    pid = int(text_of(stage, "sleeper"))
    try:
        stage.tell("set external 203.0.113.9")
        until(lambda: text_of(stage, "told").split() == ["203.0.113.7", "203.0.113.9"],
              "the hook to be run again")
        time.sleep(2.5)  # that nothing happens at hook-timeout is the subject
        check(alive(pid), "what the hook has left was ended")
        check(not stage.daemon.find("took longer"), "counted as hanging")
    finally:
        os.kill(pid, 9)
    same("the exit status", stage.daemon.stop()[0], 0)


def test_not_executable(stage):
    """A warning at the start and with -n, no error; and it is tried until it is."""
    diary = Diary(stage)
    os.chmod(diary.program, 0o644)
    stage.gateway()
    text = "on-change = %s\nforward web { internal-port = 8080\n gateway = g }\n" % diary.on_change()
    stage.configure(text)
    checked = stage.process("check", [stage.options.portleased, "-n", "-f",
                                      stage.path("portleased.conf")])
    checked.child.wait(PATIENCE)
    same("the status of -n", checked.child.returncode, 0)
    checked.wait_line(r"portleased.conf:3: warning: on-change: .* cannot be executed now")
    stage.restart()
    stage.daemon.wait_line(r"portleased.conf:3: warning: on-change: .* cannot be executed now")
    stage.daemon.wait_line("cannot be run: Permission denied")
    check(not diary.runs(), "it was run")
    os.chmod(diary.program, 0o755)
    diary.next("mapped")
    until(lambda: diary.ends() == 1, "the hook's end")
    diary.none_more(1)


def test_backing_off(stage):
    """1, 2, 4 s, until it works; a change starts anew at once."""
    diary = Diary(stage)
    diary.put("fail", 3)
    stage.gateway(grant=10)
    stage.start("on-change = %s\nforward web { internal-port = 8080\n gateway = g }\n"
                % diary.on_change())
    for wait in (1, 2, 4, 8):
        stage.daemon.wait_line("failed with exit status 3; trying again in %d s$" % wait)
    same("runs", len(diary.runs()), 4)
    diary.seen = 4
    diary.drop("fail")
    stage.tell("set external 203.0.113.9")
    run = diary.next()
    same("the address", run["PORTLEASE_EXTERNAL_ADDRESS"], "203.0.113.9")
    same("the event", run["PORTLEASE_EVENT"], "mapped")  # of `mapped` it has not yet heard well
    until(lambda: diary.ends() == 5, "the hook's end")
    diary.none_more(1)


def test_ended_by_a_signal(stage):
    stage.gateway()
    stage.start(hooked(stage, "dies", '#!/bin/sh\n[ -e "$1/again" ] || { : >"$1/again"; kill -9 $$; }\n'
                       ': >"$1/done"\n'))
    stage.daemon.wait_line("^dies: .*dies.sh was ended by signal 9; trying again in 1 s$")
    until(lambda: there(stage, "done"), "the second run")


def test_forwards_do_not_wait_for_each_other(stage):
    slow, quick = Diary(stage, "slow"), Diary(stage, "quick")
    slow.put("wait")
    stage.gateway()
    stage.start("".join("forward %s { internal-port = %d\n gateway = g\n on-change = %s }\n"
                        % (name, port, diary.on_change())
                        for name, port, diary in (("one", 8080, slow), ("two", 8081, quick))))
    slow.next("mapped")
    quick.next("mapped")
    until(lambda: quick.ends() == 1, "the quick hook's end")
    same("ends of the slow one", slow.ends(), 0)
    slow.drop("wait")
    until(lambda: slow.ends() == 1, "the slow hook's end")


def test_settle_of_what_is_lost(stage):
    """Back before it has lasted: hooks hear nothing of it, everybody else at once."""
    diary = Diary(stage)
    stage.gateway(grant=6)
    stage.start("settle = 30\non-change = %s\nforward web { internal-port = 8080\n gateway = g }\n"
                % diary.on_change())
    diary.next("mapped")
    stage.tell("set silence on")
    until(lambda: not stage.env_file(), "the env file to go")
    stage.tell("set silence off")
    until(lambda: stage.env_file(), "the env file to come back", 60)
    diary.none_more(1)
    same("the exit status", stage.daemon.stop()[0], 0)
    diary.next("released")
    diary.none_more()
