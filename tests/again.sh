#!/bin/bash
# SPDX-License-Identifier: ISC
# Runs a suite, and once more, alone, each test that failed in it: what depends on times may fail on a
# busy machine, and is well on a calm one. It is said, so that it does not stay unknown.
# usage: again.sh MOST COMMAND…      MOST: with more failures than that, all of them are believed
# COMMAND says "FAIL NAME" or "FAIL NAME: WHY" of a test that failed and ends with "SUITE: N passed,
# N failed"; with "--exactly NAME" it runs that test only. So does this program, with the same status.
# Environment: CALM, a file that is there as soon as the machine is calm enough for repetitions
set -u
export LC_ALL=C

most=$1
shift
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# totals LOG: "SUITE PASSED FAILED"
totals() { sed -n 's/^\([a-z]*\): \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2 \3/p' "$1" | tail -n 1; }

"$@" 2>&1 | (trap '' HUP INT TERM && exec tee "$scratch/all") # it ends with what it reads
status=${PIPESTATUS[0]}
read -r suite passed failed < <(totals "$scratch/all")
mapfile -t names < <(sed -n 's/^FAIL \([^ :]*\).*/\1/p' "$scratch/all" | sort -u)
# Each failure must have a name: what else went wrong is not made good by a repetition.
if [ "$status" -eq 0 ] || [ -z "${failed:-}" ] || [ "${#names[@]}" -eq 0 ] ||
	[ "${#names[@]}" -ne "$failed" ] || [ "$failed" -gt "$most" ]; then
	exit "$status"
fi
until [ -z "${CALM-}" ] || [ -e "$CALM" ]; do
	sleep 0.2
done
for name in "${names[@]}"; do
	if "$@" --exactly "$name" >"$scratch/one" 2>&1 &&
		[ "$(totals "$scratch/one")" = "$suite 1 0" ]; then
		echo "again $name: failed in the crowd, passed alone"
		passed=$((passed + 1))
		failed=$((failed - 1))
	else
		echo "again $name: failed alone, too"
		sed 's/^/    /' "$scratch/one"
	fi
done
echo "$suite: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
