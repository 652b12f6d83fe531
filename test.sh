#!/bin/bash
# SPDX-License-Identifier: ISC
# Everything that can be tested, from the packages it needs to one closing line "N passed, N failed".
# usage: test.sh [--fast] [--keep]
#   --fast   leaves out what is slow: the lab's long tests and `make distcheck`
#   --keep   leaves the scratch folder with builds and logs behind
set -u
export LC_ALL=C
umask 022

fast="" keep=""
for argument; do
	case $argument in
	--fast) fast=yes ;;
	--keep) keep=yes ;;
	*)
		sed -n '3,6s/^# //p' "$0" >&2
		exit 2
		;;
	esac
done

# Network namespaces need root, and so do packages.
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null 2>&1 || {
		echo "The tests need root or sudo: for packages and network namespaces." >&2
		exit 1
	}
	exec sudo "$0" "$@"
fi

top=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$top" || exit 1
priority=() # what is put before a command

scratch=$(mktemp -d "${TMPDIR:-/tmp}/portleased-test.XXXXXX") || exit 1
chmod 755 "$scratch" # some tests run the programs as another user
# Ends what this shell has in the background. timeout(1) hands the signal on to all that it started.
stop()
{
	local pid
	for pid in $(jobs -rp); do
		kill "$pid" 2>/dev/null && wait "$pid"
	done
}
cleanup()
{
	trap '' HUP INT TERM
	stop
	if [ -n "$keep" ]; then
		echo "Builds and logs: $scratch"
	else
		chmod -R u+w "$scratch" 2>/dev/null # distcheck makes its source read-only
		rm -rf "$scratch"
	fi
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# begin SECONDS LOG COMMAND…: in the background, with a time limit, output to LOG; $! is its pid
begin()
{
	local seconds=$1 log=$2
	shift 2
	"${priority[@]}" timeout -k 20 "$seconds" "$@" >"$log" 2>&1 </dev/null &
}

# run SECONDS LOG COMMAND…: waits for it; its status
run()
{
	begin "$@"
	wait $!
	local status=$?
	[ "$status" -ne 124 ] || echo "Stopped: more than $1 s" >>"$2"
	return "$status"
}

# lane FUNCTION: in the background. What it runs is stopped with it.
lane()
{
	(
		trap stop EXIT
		trap 'exit 130' HUP INT TERM
		began=$SECONDS
		"$1"
	) &
}

# show LINES: standard input's end, indented, so that no line of it looks like the closing one
show() { tail -n "$1" | sed 's/^/        /'; }

# count PART STATUS PASSED FAILED LOG [MORE]: adds up one part, and says how it went, with MORE. A
# part that failed without a failed test, or that ran no test at all, counts as one failed test. The
# end of LOG is shown when something failed. All at once, for other lanes speak, too.
count()
{
	local part=$1 status=$2 good=$3 bad=$4 log=$5 more=${6-} verdict=ok
	[ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ $((good + bad)) -gt 0 ] || bad=1
	echo "$good $bad" >>"$scratch/totals"
	[ "$bad" -eq 0 ] || verdict=FAIL
	printf '%s\n' "$(
		[ -z "$more" ] || echo "$more"
		printf '%-4s %-36s %5d tests, %d bad, %d s' "$verdict" "$part" $((good + bad)) "$bad" \
			$((SECONDS - began))
		[ "$bad" -eq 0 ] || { echo && show 40 <"$log"; }
	)"
	began=$SECONDS
}

# finish: the closing line, and the end
finish()
{
	awk '{ good += $1; bad += $2 } END { print good + 0 " passed, " bad + 0 " failed"; exit bad > 0 }' \
		"$scratch/totals"
	exit
}

# results LOG: "PASSED FAILED" as the test itself counted: libcheck's lines, or one closing line.
results()
{
	awk '
	/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
		gsub(/[%:,]/, "")
		bad += $5 + $7
		good += $3 - $5 - $7
		found = 1
	}
	/^([A-Za-z0-9_-]+: )?[0-9]+ passed, [0-9]+ failed/ {
		line = $0
		sub(/^[^ ]*: /, "", line)
		split(line, word, /[ ,]+/)
		last_good = word[1]
		last_bad = word[3]
		found = 1
	}
	END { if (found) print good + last_good, bad + last_bad }' "$1"
}

# sum_checks BUILD: adds up what `make check` left in BUILD, into $good and $bad; $more is about those
# that failed.
sum_checks()
{
	local trs name verdict g b
	good=0 bad=0 more=
	while IFS= read -r trs; do
		name=${trs%.trs}
		verdict=$(sed -n 's/^:test-result: \([A-Z]*\).*/\1/p' "$trs" | head -n 1)
		g='' b=''
		read -r g b < <(results "$name.log")
		if [ "$verdict" = PASS ]; then
			good=$((good + ${g:-1})) # a test without a count of its own is one
			bad=$((bad + ${b:-0}))
		else # failed, crashed, or was skipped, which nothing may be here
			more+="${more:+$'\n'}     ${verdict:-no result}: ${name#"$1"/}"
			[ ! -f "$name.log" ] || more+=$'\n'$(show 25 <"$name.log")
			good=$((good + ${g:-0}))
			[ "${b:-0}" -gt 0 ] || b=1
			bad=$((bad + b))
		fi
	done < <(find "$1" -name '*.trs' | sort)
}

# The tree is copied, so that it may be read-only, configured in place, or edited meanwhile.
copy_tree()
{
	mkdir "$scratch/src" || return
	if git rev-parse --show-toplevel 2>/dev/null | grep -qxF "$top"; then
		git ls-files -z --cached --others --exclude-standard |
			while IFS= read -r -d '' file; do
				[ ! -e "$file" ] || printf '%s\0' "$file"
			done | tar -c --null -T - | tar -x -C "$scratch/src"
	else # a release
		tar -c --exclude='./build*' --exclude=config.status --exclude='*.[oa]' . |
			tar -x -C "$scratch/src"
	fi
}

# build NAME CONFIGURE-ARGUMENTS…: in a folder of its own
build()
{
	local name=$1
	shift
	mkdir "$scratch/$name" && cd "$scratch/$name" || return
	"$scratch/src/configure" -q --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
		--runstatedir=/run "$@" || return
	make -j2
}
export -f build
export scratch

# The roots and packages that suites need beside those of packages.sh: mostly a wait for mirrors.
# What cannot be had is for the suite to say.
roots()
{
	begin 500 "$scratch/roots-hooks.log" python3 -B "$scratch/src/tests/hooks/run.py" --install
	begin 500 "$scratch/roots-ctl.log" python3 -B "$scratch/src/tests/ctl/foreign.py"
	[ -n "$fast" ] || run 500 "$scratch/roots-lab.log" \
		python3 -B "$scratch/src/tests/lab/run.py" --prepare
	wait
}

build_clang()
{
	run 600 "$scratch/clang.log" bash -c 'build clang CC=clang --enable-werror' ||
		count 'clang, no warning' 1 0 1 "$scratch/clang.log"
}

# What computes yields to what measures times: for the scheduler a session may be a group of its own,
# with its own priority.
computing()
{
	priority=(setsid nice -n 10 sh -c '{ echo 10 >/proc/self/autogroup; } 2>/dev/null; exec "$@"' sh)

	# All that is compiled, tests too, but without running them again.
	run 1200 "$scratch/clang.log" make -j2 -C "$scratch/clang" check TESTS=
	status=$?
	count 'clang, no warning' "$status" $((status == 0)) $((status != 0)) "$scratch/clang.log"

	if [ -z "$fast" ]; then
		run 1500 "$scratch/mutants.log" sh "$scratch/src/tests/mutants/run.sh" "$scratch/src"
		status=$?
		read -r good bad < <(results "$scratch/mutants.log")
		count 'mutants' "$status" "${good:-0}" "${bad:-0}" "$scratch/mutants.log"
	fi

	# The simulator takes ten times as long with sanitizers: all of its worlds are for `make distcheck`.
	run 1500 "$scratch/check.log" make -j2 -C "$scratch/gcc" check VERBOSE=yes \
		SIM_ARGUMENTS='--directed --crashes 2 --worlds 20'
	status=$?
	sum_checks "$scratch/gcc"
	count 'gcc, sanitizers, make check' "$status" "$good" "$bad" "$scratch/check.log" "$more"

	if [ -z "$fast" ]; then
		run 1500 "$scratch/distcheck.log" make -j2 -C "$scratch/clang" distcheck
		status=$?
		count 'make distcheck' "$status" $((status == 0)) $((status != 0)) \
			"$scratch/distcheck.log"
	fi
	: >"$CALM"
}

# totals LOG: what again.sh said last, into $good and $bad, and into $more which tests it repeated
totals()
{
	good='' bad=''
	read -r good bad < <(sed -n 's/^[a-z]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$1" |
		tail -n 1)
	good=${good:-0} bad=${bad:-0}
	more=$(sed -n 's/^again /     /p' "$1")
}

lab()
{
	local log="$scratch/lab.log"
	run 2700 "$log" "$scratch/src/tests/again.sh" 5 python3 -B "$scratch/src/tests/lab/run.py" \
		--portleased "$scratch/gcc/portleased" --plain "$scratch/clang/portleased" \
		--fakegw "$scratch/gcc/tests/gateway/fakegw" --capture "$scratch/lab.pcap" ${fast:+--fast}
	status=$?
	totals "$log"
	grep '^skip ' "$log" >"$log.bad"
	bad=$((bad + $(wc -l <"$log.bad"))) # nothing may be skipped here
	grep -q '^capture: well-formed' "$log" || {
		echo "FAIL capture: tshark did not judge the packets" >>"$log.bad"
		status=1
	}
	grep -E -A 12 '^(FAIL|again) ' "$log" >>"$log.bad"
	count 'lab, network namespaces' "$status" "$good" "$bad" "$log.bad" "$more"
}

soak()
{
	run 400 "$scratch/soak.log" python3 -B "$scratch/src/tests/lab/soak.py" --seconds 120 \
		--portleased "$scratch/clang/portleased" --fakegw "$scratch/gcc/tests/gateway/fakegw"
	status=$?
	count 'soak, 120 s' "$status" $((status == 0)) $((status != 0)) "$scratch/soak.log"
}

# suite NAME TITLE …: a Python suite that drives the real programs, and closes with
# "NAME: N passed, N failed"
suite()
{
	local name=$1 title=$2 log="$scratch/$1.log"
	shift 2
	run 2700 "$log" "$scratch/src/tests/again.sh" 3 python3 -B "$scratch/src/tests/$name/run.py" \
		--portleased "$scratch/gcc/portleased" "$@" \
		--fakegw "$scratch/gcc/tests/gateway/fakegw"
	status=$?
	totals "$log"
	grep -E -A 12 '^(FAIL|again|not ok)' "$log" >"$log.bad"
	[ -s "$log.bad" ] || tail -n 20 "$log" >"$log.bad"
	count "$title" "$status" "$good" "$bad" "$log.bad" "$more"
}
ctl() { suite ctl 'portleasectl, control socket' --portleasectl "$scratch/gcc/portleasectl"; }
hooks() { suite hooks 'hooks, env files, consumers'; }

began=$SECONDS
: >"$scratch/totals"
./packages.sh test >"$scratch/packages.log" 2>&1 || {
	tail -n 20 "$scratch/packages.log"
	echo "The packages for the tests cannot be installed."
	echo "0 passed, 1 failed"
	exit 1
}
packages=$((SECONDS - began))

prepare() { copy_tree && cd "$scratch/src" && ./autogen.sh; }
export -f prepare copy_tree
export top
if ! run 300 "$scratch/prepare.log" bash -c prepare; then
	count 'autogen.sh' 1 0 1 "$scratch/prepare.log"
	finish
fi

lane roots
lane build_clang
clang=$!
run 600 "$scratch/gcc.log" bash -c 'build gcc CC=gcc --enable-werror --enable-sanitizers' ||
	count 'gcc, sanitizers' 1 0 1 "$scratch/gcc.log"
wait "$clang"
[ ! -s "$scratch/totals" ] || finish
echo "     $packages s for packages, $((SECONDS - began - packages)) s to build the programs twice"

# Most suites wait most of the time, so all go on side by side. What failed in the crowd is repeated
# when nothing computes any more.
export CALM="$scratch/calm"
[ -n "$fast" ] || lane soak
lane lab
lane ctl
lane hooks
lane computing
wait
finish
