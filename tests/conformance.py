#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Which test stands for which requirement: doc/conformance.txt and the tags P-nnn in the tests.

usage: conformance.py [--write] [TOP]     TOP: the source tree, default $top_srcdir or .

Fails when a requirement has neither a test nor a reason, and when a test names a number that does
not exist; says when doc/conformance.md is not what --write would make of it.
"""

import os
import re
import sys

TESTS = ("tests/unit", "tests/sim", "tests/lab", "tests/gateway/selftest.py")
# P-8 in text, p8_ in names
TAG = re.compile(r"\b[Pp]-(\d+)\b|\bp(\d+)_")
HEAD = """# Conformance

What RFC 6886 (NAT-PMP) and RFC 6887 (PCP) ask of a client, and where it is tested. Made by
`tests/conformance.py --write` from `doc/conformance.txt` and the tags `P-nnn` in the tests: do not edit.

Levels: M must, MN must not, S should, SN should not, R recommended, Y may, (t) text without keyword.

| # | level | RFC, section | requirement | tests |
|---|---|---|---|---|
"""


def requirements(top):
    found = {}
    with open(os.path.join(top, "doc/conformance.txt"), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#") or not line.strip():
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) not in (4, 5) or not re.fullmatch(r"P-\d+", fields[0]):
                raise SystemExit("doc/conformance.txt:%d: not four or five fields" % number)
            reason = fields[4] if len(fields) > 4 else ""
            if reason and not re.match(r"(not|departs): ", reason):
                raise SystemExit("doc/conformance.txt:%d: neither not nor departs" % number)
            found[int(fields[0][2:])] = (fields[1], fields[2], fields[3], reason)
    return found


def files(top):
    for test in TESTS:
        path = os.path.join(top, test)
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in names:
                if name.endswith((".c", ".py", ".sh")):
                    yield os.path.join(folder, name)


def tags(top):
    found = {}
    for path in sorted(files(top)):
        with open(path, encoding="utf-8") as f:
            for match in TAG.finditer(f.read()):
                number = int(match[1] or match[2])
                found.setdefault(number, set()).add(os.path.relpath(path, top))
    return found


def table(wanted, tested):
    lines = []
    for number, (level, section, text, reason) in sorted(wanted.items()):
        names = ", ".join(sorted(os.path.basename(path) for path in tested.get(number, ())))
        last = "; ".join(part for part in (names, reason) if part)
        lines.append("| P-%d | %s | %s | %s | %s |\n" % (
            number, level, section, text.replace("|", "\\|"), last.replace("|", "\\|")))
    return HEAD + "".join(lines)


def main(argv):
    write = "--write" in argv
    rest = [a for a in argv if a != "--write"]
    top = rest[0] if rest else os.environ.get("top_srcdir", ".")
    wanted, tested = requirements(top), tags(top)
    bad = ["P-%d has neither a test nor a reason: %s" % (n, wanted[n][2])
           for n in sorted(wanted) if not wanted[n][3] and n not in tested]
    bad += ["P-%d, in %s, is not in doc/conformance.txt" % (n, ", ".join(sorted(tested[n])))
            for n in sorted(set(tested) - set(wanted))]
    text = table(wanted, tested)
    made = os.path.join(top, "doc/conformance.md")
    if write:
        with open(made, "w", encoding="utf-8") as f:
            f.write(text)
    else:
        try:
            with open(made, encoding="utf-8") as f:
                same = f.read() == text
        except FileNotFoundError:
            same = False
        if not same:
            print("# doc/conformance.md is not up to date: run tests/conformance.py --write")
    for line in bad:
        print("not ok - " + line)
    print("conformance: %d passed, %d failed" % (len(wanted) - min(len(bad), len(wanted)), len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
