#!/bin/sh
# SPDX-License-Identifier: ISC
# Planted defects that the simulator must catch: each *.sed is applied to a copy of the engine and
# the codecs, which are then put through the directed scenarios, a thousand crashes and 200 worlds.
# usage: run.sh [TOP] [NAME…]       source tree; mutants without .sed, default: all
# Environment: CC, JOBS (default: processors), WORLDS (200)
# Ends with "mutants: N passed, N failed". A mutant whose pattern does not apply is a failure: the
# code has moved on, the mutant must follow.
set -u
export LC_ALL=C

top=${1:-${top_srcdir:-.}}
[ $# -eq 0 ] || shift
CC=${CC:-cc}
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
WORLDS=${WORLDS:-200}
FLAGS='-std=gnu11 -O1 -w'
here=$top/tests/mutants

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

mkdir -p "$scratch/src/daemon" "$scratch/src/os" "$scratch/tests" "$scratch/objects" || exit 1
cp -r "$top/src/base" "$top/src/proto" "$top/src/core" "$scratch/src/" || exit 1
# Of the rest only the state file is simulated.
cp "$top"/src/daemon/memory_json.[ch] "$scratch/src/daemon/" || exit 1
cp "$top"/src/os/statefile.[ch] "$scratch/src/os/" || exit 1
: >"$scratch/src/config.h"
cp -r "$top/tests/sim" "$scratch/tests/" || exit 1

object() # PATH of a source file: its object's name
{
	echo "$1" | sed 's|/|-|g; s|\.c$|.o|'
}

# Everything is compiled once; a mutant replaces one object.
(cd "$scratch" && ls src/*/*.c tests/sim/*.c) >"$scratch/files"
while IFS= read -r file; do
	echo "$file $(object "$file")"
done <"$scratch/files" >"$scratch/work"
# shellcheck disable=SC2086
(cd "$scratch" && xargs -P "$JOBS" -L 1 sh -c \
	'"$0" '"$FLAGS"' -Isrc -Itests/sim -c "$1" -o "objects/$2"' "$CC" <work) || {
	echo "not ok - the simulator does not compile"
	echo "mutants: 0 passed, 1 failed"
	exit 1
}

simulate() # PROGRAM OUTPUT
{
	"$1" --directed --crashes 15 --worlds "$WORLDS" --stop >"$2" 2>&1
}

# One mutant, in a folder of its own. Prints its verdict.
try()
{
	name=$1
	mutant=$here/$name.sed
	room=$scratch/$name
	file=$(sed -n 's/^# file: //p' "$mutant")
	what=$(sed -n 's/^# what: //p' "$mutant")
	mkdir -p "$room"
	cp -r "$scratch/src" "$room/" && cp "$scratch"/objects/*.o "$room/" || return
	if [ ! -f "$scratch/$file" ] || ! sed -f "$mutant" "$scratch/$file" >"$room/$file" ||
		cmp -s "$scratch/$file" "$room/$file"; then
		echo "not ok - $name: its pattern does not apply to $file"
		return
	fi
	case $file in
	*.h) changed=$(cd "$room" && ls src/core/*.c) ;; # whoever may include it
	*) changed=$file ;;
	esac
	for each in $changed; do
		# shellcheck disable=SC2086
		(cd "$room" && $CC $FLAGS -Isrc -c "$each" -o "$(object "$each")") 2>>"$room/log" || {
			echo "not ok - $name: does not compile: $(head -n 1 "$room/log")"
			return
		}
	done
	if ! $CC "$room"/*.o -ljansson -o "$room/sim" 2>>"$room/log"; then
		echo "not ok - $name: does not link: $(head -n 1 "$room/log")"
		return
	fi
	if simulate "$room/sim" "$room/log"; then
		echo "not ok - $name: $what, and nothing notices"
	else
		echo "ok - $name: $(grep -c '^not ok' "$room/log") caught it, first: $(
			sed -n 's/^not ok - //p' "$room/log" | cut -c1-100 | head -n 1)"
	fi
	rm -rf "$room"
}

# What several of these do at once: each takes what no other one has taken.
work()
{
	for name in without-defect "$@"; do
		mkdir "$scratch/taken-$name" 2>/dev/null || continue
		if [ "$name" = without-defect ]; then
			simulate "$scratch/sim" "$scratch/log" || mkdir "$scratch/useless"
		else
			try "$name" >"$scratch/verdict-$name"
		fi
	done
}

$CC "$scratch"/objects/*.o -ljansson -o "$scratch/sim" || exit 1
if [ $# -eq 0 ]; then
	set -- $(cd "$here" && ls ./*.sed | sed 's|^\./||; s|\.sed$||')
fi
running=0
while [ "$running" -lt "$JOBS" ]; do
	work "$@" &
	running=$((running + 1))
done
wait
# Without a defect everything passes, or the rest means nothing.
if [ -d "$scratch/useless" ]; then
	sed -n '/^not ok/p' "$scratch/log" | head -n 5
	echo "not ok - the simulator fails without any defect"
	echo "mutants: 0 passed, 1 failed"
	exit 1
fi
cat "$scratch"/verdict-*
passed=$(cat "$scratch"/verdict-* | grep -c '^ok')
failed=$(cat "$scratch"/verdict-* | grep -c '^not ok')
echo "mutants: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
