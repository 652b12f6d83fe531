#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Which test stands for which promise to users: doc/contract-tests.md.

usage: contract.py [TOP]     TOP: the source tree, default $top_srcdir or .

Each row of the tables there has a thing, what is promised about it and the tests that show it. What
the sources know by name (options, commands, signals, fields, states, methods, errors, variables,
events) must have a row, and a row of that kind must be known to the sources. Every test must exist;
where a section says so, one of them must run the real programs.
"""

import ast
import glob
import os
import re
import sys

REAL = ("ctl/", "hooks/", "lab/")  # suites that run the real programs
PAGE = "doc/contract-tests.md"


class Tree:
    def __init__(self, top):
        self.top = top

    def read(self, name):
        with open(os.path.join(self.top, name), encoding="utf-8") as f:
            return f.read()

    def files(self, pattern):
        return sorted(glob.glob(os.path.join(self.top, pattern)))


# ---- tests ----------------------------------------------------------------------------------------

def is_test(suite, function):
    if suite != "lab":
        return function.name.startswith("test_")
    return any(isinstance(d, ast.Call) and getattr(d.func, "id", "") == "test"
               for d in function.decorator_list)


def tests(tree):
    """Names as in the page: ctl/NAME, hooks/FILE.NAME, lab/FILE.NAME, unit/FILE.NAME."""
    found = set()
    for suite in ("ctl", "hooks", "lab"):
        for path in tree.files("tests/%s/test_*.py" % suite):
            with open(path, encoding="utf-8") as f:
                body = ast.parse(f.read()).body
            module = "" if suite == "ctl" else os.path.basename(path)[5:-3] + "."
            found |= {"%s/%s%s" % (suite, module, re.sub("^test_", "", function.name).replace("_", "-"))
                      for function in body
                      if isinstance(function, ast.FunctionDef) and is_test(suite, function)}
    for path in tree.files("tests/unit/check_*.c"):
        with open(path, encoding="utf-8") as f:
            for name in re.findall(r"^START_TEST\((\w+)\)", f.read(), re.M):
                found.add("unit/%s.%s" % (os.path.basename(path)[6:-2], name.replace("_", "-")))
    return found


# ---- what the sources know ------------------------------------------------------------------------

def long_options(text):
    return re.findall(r'\{ "([a-z-]+)", (?:required|no)_argument', text)


def options_of_daemon(tree):
    return {"portleased --" + name for name in long_options(tree.read("src/daemon/main.c"))}


def options_of_ctl(tree):
    """Of the program, and of each command, by the bits in the table of commands."""
    text = tree.read("src/ctl/main.c")
    bits = dict(re.findall(r"^#define (\w+) +((?:\\\n|\(|[^\n\\]|\\\n)+)", text, re.M))
    bits.pop("BIT", None)
    found = {"portleasectl --" + name for name in ("control", "json", "version", "help")
             if name in long_options(text)}
    table = text[text.index("} commands[] = {"):text.index("\n};", text.index("} commands[] = {"))]
    for name, given in re.findall(r'\{ "([a-z-]+)",\s+ctl_\w+,\s+\d+,\s+-?\d+,\s+(.*?),\s+(?:true|false),',
                                  table, re.S):
        for word, meaning in bits.items():
            given = re.sub(r"\b%s\b" % word, lambda _, m=meaning: m, given)
        found.add("portleasectl " + name)
        given = [option.lower().replace("_", "-") for option in re.findall(r"BIT\(OPT_(\w+)\)", given)]
        found |= {"portleasectl %s --%s" % (name, option)
                  for option in given if option in long_options(text)}
    return found


def exits(tree):
    daemon = re.findall(r"^#define DAEMON_EXIT_\w+ (\d+)", tree.read("src/daemon/daemon.h"), re.M)
    ctl = re.findall(r"^\tCTL_\w+ = (\d+)", tree.read("src/ctl/ctl.h"), re.M)
    return {"portleased exit " + n for n in daemon} | {"portleasectl exit " + n for n in ctl}


def signals(tree):
    text = tree.read("src/daemon/daemon.c")
    listed = re.search(r"signals\[\] = \{ (.*?) \}", text, re.S)[1]
    return {"signal " + name for name in
            re.findall(r"SIG[A-Z0-9]+", listed) + re.findall(r"signal\((SIG\w+), SIG_IGN\)", text)}


def settings(tree):
    names = re.findall(r'\.name = "([a-z-]+)"', tree.read("src/daemon/conf_option.c"))
    return {"setting " + name for name in names + ["include"]}


def interface(tree):
    text = re.sub(r"^#.*\n", "", tree.read("doc/io.portleased.varlink"), flags=re.M)
    found = set()
    for kind, name, members in re.findall(r"^(type|method|error) (\w+) ?\((.*?)\)", text, re.M | re.S):
        if kind != "type":
            found.add("%s %s" % (kind, name))
        found |= {"%s.%s" % (name, member) for member in re.findall(r"(\w+): ", members)}
    for name, members in re.findall(r"^method (\w+)\(.*?\) -> \((.*?)\)", text, re.M | re.S):
        found |= {"%s.%s" % (name, member) for member in re.findall(r"(\w+): ", members)}
    return found


def words(tree):
    """States and events, by the names that are told."""
    text = tree.read("src/core/words.c")
    found = {"%s %s" % (kind, name)
             for kind, prefix in (("gateway state", "GATEWAY"), ("mapping state", "MAPPING"),
                                  ("event", "EVENT"))
             for name in re.findall(r'\[%s_\w+\] = "([a-z-]+)"' % prefix, text)}
    made = tree.read("src/daemon/control_monitor.c") + tree.read("src/daemon/control.c")
    return found | {"event " + name for name in ("present", "synchronised", "config-reloaded",
                                                 "config-rejected") if '"%s"' % name in made}


def variables(tree):
    names = re.findall(r'put(?:_address|_ports)?\(\s*&?l, "([A-Z_]+)"', tree.read("src/daemon/variables.c"))
    return {"variable PORTLEASE_" + name for name in names}


KNOWN = (options_of_daemon, options_of_ctl, exits, signals, settings, interface, words, variables)
KINDS = re.compile(r"(portleased --|portleased exit |portleasectl (--|exit |[a-z]|$)|signal |setting |"
                   r"method |error |gateway state |mapping state |event |variable |[A-Z]\w+\.\w)")


# ---- the page -------------------------------------------------------------------------------------

def rows(tree):
    """(number of the line, real programs wanted, things, tests)"""
    real = False
    for number, line in enumerate(tree.read(PAGE).splitlines(), 1):
        if line.startswith("## "):
            real = "real programs" in line
        match = re.fullmatch(r"\| (.+?) \| (.+?) \| (.*?) ?\|", line)
        if match and not line.startswith(("| thing ", "|---")):
            yield number, real, re.findall("`([^`]+)`", match[1]) or [match[1]], match[3]


def check(tree):
    have = tests(tree)
    known = set().union(*(kind(tree) for kind in KNOWN))
    bad, seen = [], {}
    for number, real, things, named in rows(tree):
        where = "%s:%d: " % (PAGE, number)
        for thing in things:
            if thing in seen:
                bad.append("%s%s stands in line %d, too" % (where, thing, seen[thing]))
            if KINDS.match(thing) and thing not in known:
                bad.append("%s%s is not known to the sources" % (where, thing))
            seen[thing] = number
        if named.startswith("not: "):
            continue
        names = named.split(", ") if named else []
        bad += ["%sthere is no test %s" % (where, name) for name in names if name not in have]
        if not names:
            bad.append("%s%s has no test" % (where, things[0]))
        elif real and not any(name.startswith(REAL) for name in names):
            bad.append("%s%s has no test that runs the real programs" % (where, things[0]))
    bad += ["%s: no row for %s" % (PAGE, thing) for thing in sorted(known - set(seen))]
    return bad, len(seen), len(known)


def main(argv):
    bad, n, known = check(Tree(argv[0] if argv else os.environ.get("top_srcdir", ".")))
    for line in bad:
        print("not ok - " + line)
    if n < 100 or known < 100:
        print("not ok - only %d rows, %d things in the sources: has their form changed?" % (n, known))
        bad.append("")
    print("contract: %d passed, %d failed" % (n, len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
