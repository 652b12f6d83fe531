# SPDX-License-Identifier: ISC
"""Completion for bash and zsh: the commands, options and words that the program takes, no others."""

import os
import re
import subprocess
import sys

from harness import ENVIRONMENT, PATIENCE, TOP, check, same

sys.path.insert(0, os.path.join(TOP, "tests"))

import contract  # noqa: E402

FOLDER = os.path.join(TOP, "etc", "completion")
# Offered before the command only; --json as well after those that have it.
GLOBAL = ["--control", "--help", "--json", "--version"]
NOBODY_THERE = "/nonexistent/control.sock"
# Whatever the command, this is too much, or there is no daemon: it never comes to act.
TOO_MUCH = ["1"] * 6
WEB = "web internal-port=8080 external-port=80"
RANGE = 'range internal-port="6000-6004" protocol=both'

# What _arguments is told stands for what it would do.
ZSH = """
_arguments() {
    print -r -- "call"
    print -rl -- "$@"
    [[ $1 = -C ]] && state=$want line=($command)
    return 0
}
_describe() { print -r -- "describe"; print -rl -- "${(@P)2}" }
_net_interfaces() { : }
want=$1 command=$2
set --
. $file
"""


def commands_of_help(home):
    text = home.ctl("--help")[1]
    commands = re.findall(r"^  ([a-z-]+) ", text[text.index("commands:"):], re.MULTILINE)
    check(len(commands) >= 7, "commands of --help: %r" % commands)
    return commands


def options_of_program():
    """All long options, and whether they take a value, as the program's source has them."""
    with open(os.path.join(TOP, "src", "ctl", "main.c")) as f:
        found = re.findall(r'\{ "([a-z-]+)", (required|no)_argument,', f.read())
    check(len(found) > 10, "the options in src/ctl/main.c: %r" % found)
    return {"--" + name: kind == "required" for name, kind in found}


def taken(home, commands):
    """{command: options it takes}, as its table has them; the program is asked whether that is so."""
    known, result = contract.options_of_ctl(contract.Tree(TOP)), {}
    for command in commands:
        result[command] = {"--" + thing.split(" --")[1] for thing in known
                           if thing.startswith("portleasectl %s --" % command)}
        words = [command]
        for option in sorted(result[command]):
            words += [option] + ["1"] * options_of_program()[option]
        status, _, errors = home.ctl("-c", NOBODY_THERE, *words, *TOO_MUCH)
        check(status in (2, 3) and "has no option" not in errors, "%r: %d: %s" % (
            words, status, errors))
        # And of one that it does not have, it says so.
        other = min(set(options_of_program()) - result[command] - set(GLOBAL))
        errors = home.ctl("-c", NOBODY_THERE, command, other, "1", *TOO_MUCH)[2]
        check("has no option" in errors, "%s %s: %s" % (command, other, errors))
    return result


def options_in(words):
    return {word for word in words if word.startswith("--") and word != "--"}


class Bash:
    def __init__(self, home):
        self.home = home
        os.symlink(home.options.portleasectl, home.path("portleasectl"))

    def complete(self, *line):
        script = 'PATH=%s:$PATH; . %s; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
            '_portleasectl; printf "%%s\\n" "${COMPREPLY[@]}"' \
            % (self.home.folder, os.path.join(FOLDER, "portleasectl.bash"))
        done = subprocess.run(["bash", "-c", script, "bash", "portleasectl"] + list(line),
                              capture_output=True, text=True, timeout=PATIENCE, env=ENVIRONMENT,
                              check=False)
        same(done.stderr, "", "errors of bash")
        return done.stdout.split()


def zsh(want, command=""):
    """What is handed to _arguments, a list a call; what is described comes last."""
    done = subprocess.run(["zsh", "-f", "-c", ZSH, "zsh", want, command], capture_output=True,
                          text=True, timeout=PATIENCE, check=False,
                          env=dict(ENVIRONMENT, file=os.path.join(FOLDER, "_portleasectl")))
    same((done.stderr, done.returncode), ("", 0), "zsh")
    calls = []
    for line in done.stdout.splitlines():
        if line in ("call", "describe"):
            calls.append([])
        else:
            calls[-1].append(line)
    return calls


def zsh_options(specs):
    """{option: words for its value}"""
    found = {}
    for spec in specs:
        match = re.match(r"(--[a-z-]+)(?:\[[^]]*\])?(?:$|:[^:]*:(?:\((.*)\))?)", spec)
        if match:
            found[match[1]] = (match[2] or "").split()
    return found


def test_completion_of_commands(home):
    commands = commands_of_help(home)
    bash = Bash(home)
    offered = bash.complete("")
    same([word for word in offered if not word.startswith("-")], commands, "bash's commands")
    same(sorted(options_in(offered)), GLOBAL, "bash's options before the command")
    same(bash.complete("st"), ["status"], "st")
    general, described = zsh("command")
    same([line.split(":")[0] for line in described], commands, "zsh's commands")
    same(sorted(set(re.findall(r"--[a-z]+", " ".join(spec.split("[")[0] for spec in general)))),
         GLOBAL, "zsh's options before the command")


def test_completion_of_options(home):
    """Of each command all that it takes, and nothing else."""
    commands = commands_of_help(home)
    wanted = taken(home, commands)
    same(wanted["map"], {"--json", "--gateway", "--interface", "--mappers", "--timeout",
                         "--external-port", "--lifetime", "--protocol"}, "the test itself: map")
    bash = Bash(home)
    for command in commands:
        same(options_in(bash.complete("-c", NOBODY_THERE, command, "--")), wanted[command],
             "bash's options of " + command)
        same(set(zsh_options(zsh("argument", command)[1])), wanted[command],
             "zsh's options of " + command)
    check("--" in bash.complete("-c", NOBODY_THERE, "hold", "--"), "-- of hold")


def test_completion_of_words(home):
    """Words that are offered as a value are taken, in both shells the same."""
    home.up(WEB, RANGE)
    home.wait_state("web", "active")
    bash = Bash(home)
    rest = {"map": ["7000", "--gateway", home.address], "unmap": ["7000", "--gateway", home.address],
            "hold": ["--internal-port", "7000", "--gateway", "g", "--", "true"]}
    for command, arguments in rest.items():
        options = zsh_options(zsh("argument", command)[1])
        check(options["--protocol"], "no words for --protocol of " + command)
        for option, words in options.items():
            if option == "--interface" or not options_of_program()[option]:
                continue
            same(bash.complete(command, option, ""), words, "%s %s" % (command, option))
            if option == "--family":  # the gateway here speaks but one
                same(words, ["ipv4", "ipv6", "both"], "families")
                continue
            for word in words:
                if word == "upnp":
                    word = "pcp,upnp"  # not yet by itself
                status, _, errors = home.ctl(command, option, word, *arguments)
                same((status, errors), (0, ""), "%s %s %s" % (command, option, word))
    same(bash.complete("probe", "--interface", "l"), ["lo"], "an interface")


def test_completion_of_forwards(home):
    home.up(WEB, RANGE)
    home.wait_state("web", "active")
    bash = Bash(home)
    at = ("-c", home.socket)
    same(bash.complete(*at, "wait", "w"), ["web"], "wait w")
    for command in ("status", "monitor", "wait", "renew", "hold"):
        words = [word for word in bash.complete(*at, command, "") if not word.startswith("-")]
        same(words, ["range", "web"], command)
        check(any(spec.endswith(":forward:_portleasectl_forwards")
                  for spec in zsh("argument", command)[1]), "zsh's forwards of " + command)
    # The same words, by the same table, in zsh.
    done = subprocess.run(
        ["zsh", "-f", "-c", 'PATH=%s:$PATH; portleasectl() { command portleasectl -c "$socket" "$@"; }\n'
         '_arguments() { : }; . $file; _describe() { print -rl -- "${(@P)2}" }; _portleasectl_forwards'
         % home.folder], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=dict(ENVIRONMENT, file=os.path.join(FOLDER, "_portleasectl"), socket=home.socket))
    same((done.stdout.split(), done.stderr), (["range", "web"], ""), "zsh's forwards")
    # A command of the caller's own.
    check("true" in bash.complete(*at, "hold", "web", "--", "tru"), "a program")
    same(bash.complete("-c", NOBODY_THERE, "wait", ""), ["--timeout"], "without a daemon")
