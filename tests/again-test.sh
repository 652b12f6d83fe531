#!/bin/bash
# SPDX-License-Identifier: ISC
# again.sh on a suite with planted failures.
# usage: again-test.sh      ends with "again-test: N passed, N failed"
set -u
export LC_ALL=C

again=$(cd "$(dirname "$0")" && pwd)/again.sh
passed=0
failed=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch" || exit 1

# suite TEST…: each is NAME=VERDICT, one of good, bad, flaky (bad for the first time only), crash (the
# suite ends at once), bad-status (all is well, but the status is 4).
cat >suite <<'END'
#!/bin/bash
exactly="" good=0 bad=0 status=0
tests=()
while [ $# -gt 0 ]; do
	case $1 in
	--exactly) exactly=$2; shift ;;
	*) tests+=("$1") ;;
	esac
	shift
done
for test in "${tests[@]}"; do
	name=${test%%=*} verdict=${test#*=}
	[ -z "$exactly" ] || [ "$name" = "$exactly" ] || continue
	echo "$name" >>calls
	case $verdict in
	flaky) [ "$(grep -cx "$name" calls)" -gt 1 ] && verdict=good || verdict=bad ;;
	bad-then-crash) [ "$(grep -cx "$name" calls)" -gt 1 ] && exit 3 ;;
	crash) exit 3 ;;
	bad-status) verdict=good status=4 ;;
	esac
	if [ "$verdict" = good ]; then
		echo "ok $name"
		good=$((good + 1))
	else
		echo "FAIL $name: waited 3.0 s for: something"
		bad=$((bad + 1))
	fi
done
echo "plant: $good passed, $bad failed"
[ "$bad" -eq 0 ] || status=1
exit "$status"
END
chmod +x suite

# check WHAT STATUS LAST-LINE CALLS TEST…: CALLS are the tests in the order in which they ran.
check()
{
	local what=$1 status=$2 last=$3 calls=$4 got
	shift 4
	rm -f calls calm
	if [ "${*: -1}" = calm ]; then
		set -- "${@:1:$#-1}"
		(sleep 0.5 && echo calm >>calls && : >calm) &
		export CALM=$PWD/calm
	else
		unset CALM
	fi
	"$again" 2 ./suite "$@" >out 2>&1
	got=$?
	if [ "$got" -eq "$status" ] && [ "$(tail -n 1 out)" = "$last" ] &&
		[ "$(tr '\n' ' ' <calls)" = "$calls " ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL $what: status $got, ran $(tr '\n' ' ' <calls)"
		sed 's/^/    /' out
	fi
}

check "all good" 0 "plant: 2 passed, 0 failed" "a b" a=good b=good
check "one bad" 1 "plant: 1 passed, 1 failed" "a b b" a=good b=bad
check "one flaky" 0 "plant: 2 passed, 0 failed" "a b b" a=good b=flaky
check "bad and flaky" 1 "plant: 2 passed, 1 failed" "a b c a c" a=flaky b=good c=bad
check "a name within another" 0 "plant: 2 passed, 0 failed" "x.a/1 x.a/13 x.a/1" x.a/1=flaky x.a/13=good
check "too many" 1 "plant: 0 passed, 3 failed" "a b c" a=flaky b=flaky c=flaky
check "no closing line" 3 "FAIL a: waited 3.0 s for: something" "a b" a=flaky b=crash
check "nothing to repeat" 4 "plant: 1 passed, 0 failed" "a" a=bad-status
check "after what computes" 0 "plant: 2 passed, 0 failed" "a b calm b" a=good b=flaky calm
check "crashes alone" 1 "plant: 1 passed, 1 failed" "a b b" a=good b=bad-then-crash
echo "again-test: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
