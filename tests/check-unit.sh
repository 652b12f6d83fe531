#!/bin/sh
# SPDX-License-Identifier: ISC
# The systemd unit: it loads, it says what the contract says, and its exposure stays low.
# usage: check-unit.sh [BUILD]       where the unit and the program were built
set -u
export LC_ALL=C

LIMIT=13 # tenths: `systemd-analyze security` must say 1.3 or less

build=${1:-${top_builddir:-$PWD}}
unit=$build/systemd/portleased.service
program=$build/portleased
ctl=$build/portleasectl
passed=0
failed=0

result() { # result WHAT STATUS: counts one check
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: $1"
	fi
}

has() { # has LINE: the unit says exactly this
	grep -qxF -- "$1" "$unit"
	result "$unit: missing: $1" $?
}

has_not() { # has_not REGEX
	! grep -qE -- "$1" "$unit"
	result "$unit: must not be used: $1" $?
}

has Type=notify
has WatchdogSec=30
has Restart=always
has 'RestartPreventExitStatus=2 78'
has RuntimeDirectory=portleased
has StateDirectory=portleased
has DynamicUser=yes
has LimitCORE=0
has CapabilityBoundingSet=
has 'ExecReload='"$(sed -n 's/^ExecStart=\(.*\)sbin.*/\1/p' "$unit")"'bin/portleasectl -c %t/portleased/control.sock reload'
has 'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK'
has_not '^PrivateUsers='
has_not '^IPAddressDeny='
has_not '^RuntimeDirectoryPreserve='
has_not '^ProcSubset='
has_not '^(After|Wants|Requires)=.*network-online'
has_not '@[a-z]+dir@'

if ! command -v systemd-analyze >/dev/null 2>&1; then
	echo "systemd-analyze is not installed: only the text was checked"
	echo "check-unit: $passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
fi

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# An unknown or wrong setting is only a warning to systemd, so any output about us is a failure.
sed -e "s,^ExecStart=[^ ]*,ExecStart=$program," -e "s,^ExecReload=[^ ]*,ExecReload=$ctl," \
	"$unit" >"$scratch/portleased.service"
sed "s,^ExecStart=[^ ]*,ExecStart=$ctl," "$build/systemd/portlease@.service" \
	>"$scratch/portlease@.service"
systemd-analyze verify --man=no "$scratch/portleased.service" "$scratch/portlease@game.service" \
	>"$scratch/verify" 2>&1
! grep 'portlease' "$scratch/verify"
result 'systemd-analyze verify' $?

if systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
	systemd-analyze security --no-pager --offline=true --threshold="$LIMIT" \
		"$scratch/portleased.service" >"$scratch/security" 2>&1
	status=$?
	[ "$status" -eq 0 ] || grep -v '✓' "$scratch/security"
	result "systemd-analyze security: more than $LIMIT tenths" "$status"

	# The limit must bite: the same unit without its filter is too exposed.
	grep -v '^SystemCall' "$scratch/portleased.service" >"$scratch/portleased-open.service"
	! systemd-analyze security --no-pager --offline=true --threshold="$LIMIT" \
		"$scratch/portleased-open.service" >/dev/null 2>&1
	result 'systemd-analyze security notices a missing system-call filter' $?
else
	echo "systemd-analyze is older than 250: exposure not measured"
fi

echo "check-unit: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
