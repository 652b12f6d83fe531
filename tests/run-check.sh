#!/bin/sh
# SPDX-License-Identifier: ISC
# How `make check` starts a test: those that want arguments get them here.
# usage: run-check.sh TEST       top_srcdir and top_builddir come from the Makefile
# Environment: SIM_ARGUMENTS for the simulator
set -eu

MUTATIONS=200 # of each file of a corpus

name=${1##*/}
case $name in
fuzz_*)
	exec "$1" "$top_srcdir/tests/fuzz/corpus/${name#fuzz_}" "$MUTATIONS"
	;;
sim) # shellcheck disable=SC2086
	exec "$1" ${SIM_ARGUMENTS-}
	;;
netns-route.sh)
	exec "$1" "$top_builddir/tests/unit/route_watch"
	;;
*.py)
	command -v python3 >/dev/null 2>&1 || exit 77
	exec python3 -B "$1"
	;;
*)
	exec "$1"
	;;
esac
