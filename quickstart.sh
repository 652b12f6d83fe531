#!/bin/bash
# SPDX-License-Identifier: ISC
# Builds portleased and shows it at work.
# usage: quickstart.sh                 about 40 s with a fake gateway on the loopback interface
#        quickstart.sh --real [FILE]   with the router of this network and your configuration
set -u
export LC_ALL=C
umask 022

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n==> %s\n' "$*"; }
die() { printf '\n%s\n' "$*" >&2; exit 1; }
usage() { sed -n '4,5s/^# //p' "$0"; }

real="" file=""
case ${1-} in
"") ;;
--real) real=yes file=${2-} ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
[ $# -le 2 ] || { usage >&2; exit 2; }
case $file in "" | /*) ;; *) file=$PWD/$file ;; esac

from=$PWD
top=$(cd "$(dirname "$0")" && pwd) || exit 1
cd "$top" || exit 1

# ---- whatever happens, nothing is left behind -------------------------------------------------
daemon="" gateway=""
scratch=()
stop() # stop PID: asks, waits, insists
{
	[ -n "$1" ] || return 0
	kill -TERM "$1" 2>/dev/null
	for _ in $(seq 100); do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}
cleanup()
{
	trap '' HUP INT TERM
	stop "$daemon"
	stop "$gateway"
	[ ${#scratch[@]} -eq 0 ] || rm -rf "${scratch[@]}"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

# ---- build ------------------------------------------------------------------------------------
say "Packages that the build needs (nothing is said when all are there)"
./packages.sh build || die "The packages cannot be installed; see above."

say "Building, at first for about a minute"
build=$top/build-quickstart
if ! mkdir -p "$build" 2>/dev/null; then # a read-only tree
	build=$(mktemp -d) || exit 1
	scratch+=("$build")
fi
log=$build/build.log
compile()
{
	[ -x configure ] || ./autogen.sh || return
	if [ -f config.status ]; then # configured in place: no other folder can be used
		make -j2
		return
	fi
	cd "$build" || return
	if [ ! -f Makefile ]; then
		"$top/configure" --prefix=/usr --sysconfdir=/etc --localstatedir=/var --runstatedir=/run ||
			return
	fi
	make -j2
}
(compile) >"$log" 2>&1 || { tail -n 30 "$log"; die "The build failed; the whole log: $log"; }
[ ! -f config.status ] || build=$top
portleased=$build/portleased
echo "Built: $portleased ($("$portleased" --version))"

# ---- with the real router ---------------------------------------------------------------------
if [ -n "$real" ]; then
	for candidate in "$file" "$from/portleased.conf" /etc/portleased.conf; do
		[ -n "$candidate" ] || continue
		[ -f "$candidate" ] || { [ "$candidate" != "$file" ] || die "There is no $file."; continue; }
		file=$candidate
		break
	done
	[ -n "$file" ] || die "There is no portleased.conf here nor in /etc. Write one, for example

    forward web {
        internal-port = 8080
        external-port = 80
    }

and start this again: $0 --real FILE. The manual: man $top/doc/portleased.conf.5"

	say "Checking $file"
	"$portleased" -n -f "$file" || die "Nothing was sent. Mend the lines above and start again."
	echo "No mistake found."
	say "Asking the router for the forwards of $file; Ctrl-C releases them and ends this"
	run=$(mktemp -d) || exit 1
	scratch+=("$run")
	mkdir -p "$build/state"
	"$portleased" -f "$file" -s "$build/state" -r "$run" -c "$run/control.sock" &
	daemon=$!
	wait "$daemon"
	status=$?
	daemon=""
	exit "$status"
fi

# ---- with the fake gateway --------------------------------------------------------------------
fakegw=$build/tests/gateway/fakegw
address=127.0.0.2
demo=$(mktemp -d) || exit 1
scratch+=("$demo")
mkdir "$demo/state" "$demo/run"

ask() { "$fakegw" --ctl "$demo/gateway.sock" "$@"; }
mappings() # one line per mapping in the gateway's table
{
	ask table | tr '{' '\n' | sed -nE \
		-e 's/"protocol":6,/"protocol":tcp,/; s/"protocol":17,/"protocol":udp,/' \
		-e 's/.*"client":"([^"]*)","protocol":([a-z]*),"internal":([0-9]*),"external":([0-9]*),.*"external_address":"([^"]*)".*"left":([0-9]*).*/    \2 \5:\4 -> \1:\3, \6 s left/p'
}
show_table()
{
	echo "    ---- the gateway's own table: ----"
	mappings
	[ "$(mappings | wc -l)" -gt 0 ] || echo "    (empty)"
	echo "    ----------------------------------"
}
expect_mappings() # expect_mappings N SECONDS: waits until the gateway has that many
{
	local deadline=$((SECONDS + $2))
	while [ "$(mappings | wc -l)" -ne "$1" ]; do
		[ "$SECONDS" -lt "$deadline" ] ||
			die "This should not be: $(mappings | wc -l) mappings at the gateway instead of $1."
		kill -0 "$daemon" 2>/dev/null || die "This should not be: portleased is gone."
		sleep 0.2
	done
}
watch_for() # watch_for SECONDS: lets the user watch, while both still run
{
	local deadline=$((SECONDS + $1))
	while [ "$SECONDS" -lt "$deadline" ]; do
		kill -0 "$daemon" 2>/dev/null || die "This should not be: portleased is gone."
		kill -0 "$gateway" 2>/dev/null || die "This should not be: the fake gateway is gone."
		sleep 0.5
	done
}

say "Starting a fake gateway on $address; it grants 10 seconds at a time, so that much happens"
"$fakegw" --listen "$address" --grant 10 --port-range 1:65535 --epoch 86400 \
	--control "$demo/gateway.sock" --log "$demo/gateway.log" >/dev/null &
gateway=$!
for _ in $(seq 50); do
	ask table >/dev/null 2>&1 && break
	kill -0 "$gateway" 2>/dev/null || die "The fake gateway cannot use $address port 5351; see above."
	sleep 0.1
done
ask table >/dev/null || die "The fake gateway does not answer."

cat >"$demo/portleased.conf" <<END
mappers        = {pcp, nat-pmp}
probe-interval = 2      # seconds; 60 is usual, but here you are waiting
recovery-delay = 1

gateway demo {
    address   = "$address"
    interface = lo
}
forward web {
    gateway       = demo
    internal-port = 8080
    external-port = 80
}
forward game {
    gateway       = demo
    protocol      = both
    internal-port = 27015
}
forward torrent {
    gateway       = demo
    protocol      = both
    internal-port = 6881-6882
}
END
say "The configuration: three forwards, seven mappings"
sed 's/^/    /' "$demo/portleased.conf"
"$portleased" -n -f "$demo/portleased.conf" || die "This should not be: the configuration is rejected."

say "Starting portleased: it asks the gateway, and what follows is its log"
# Renewals are told at level debug, together with every step of the engine ("path N: …"), which
# is left out here.
"$portleased" -f "$demo/portleased.conf" -s "$demo/state" -r "$demo/run" \
	-c "$demo/run/control.sock" -l debug 2> >(
	while read -r _ clock line; do
		case $line in
		"path "*) ;;
		*) printf '    %s %s\n' "$clock" "$line" ;;
		esac
	done
) &
daemon=$!
expect_mappings 7 10
show_table

say "Ten seconds were granted: at half of that, after about five, each mapping is renewed"
watch_for 12
expect_mappings 7 5
show_table

say "The gateway reboots now: it has forgotten everything"
ask reboot >/dev/null
show_table
echo "    Every answer of a gateway says how long it has kept its table (the \"epoch\"). portleased"
echo "    asks now and then, sees that the table is a new one, and puts everything back:"
expect_mappings 7 15
watch_for 1
show_table
echo "    From here on it goes on as before, with a renewal at each half of 10 seconds:"
watch_for 9

say "Stopping portleased (SIGTERM): it releases its mappings"
kill -TERM "$daemon"
wait "$daemon"
status=$?
daemon=""
show_table
[ "$status" -eq 0 ] || die "This should not be: exit status $status."
[ "$(mappings | wc -l)" -eq 0 ] || die "This should not be: mappings are left."

say "That was all. With your own router:"
cat <<END
    1. write portleased.conf (a commented example: etc/portleased.conf);
    2. $0 --real portleased.conf
       checks the file, asks the default gateway, and releases all of it on Ctrl-C;
    3. to have it for good, install it: see README.md.
END
