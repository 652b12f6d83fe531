#!/bin/sh
# SPDX-License-Identifier: ISC
# The route monitor on a real kernel, in network namespaces of its own: moves, flaps, tunnels, 5,000
# other routes, a storm of events.
# usage: netns-route.sh ROUTE_WATCH       the built test program (route_watch.c)
# Needs root and iproute2; ends with "netns-route: N passed, N failed", or 77 where it cannot run.
set -u
export LC_ALL=C

watch=${1:-./route_watch}
DEADLINE=10 # tenths of a second in which a change must be noticed
PATIENCE=50 # the same for things that are only waited for

if [ "$(id -u)" -ne 0 ] || ! ip netns list >/dev/null 2>&1; then
	echo "netns-route: needs root and network namespaces"
	exit 77
fi
if [ ! -x "$watch" ]; then
	echo "netns-route: $watch: no such program"
	exit 1
fi

passed=0
failed=0
a=plroute-a-$$ # the host under test
b=plroute-b-$$ # its gateways
scratch=$(mktemp -d) || exit 1
log=$scratch/log
pid=
tun=

cleanup()
{
	[ -z "$tun" ] || kill "$tun" 2>/dev/null
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	ip netns del "$a" 2>/dev/null
	ip netns del "$b" 2>/dev/null
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

in_a() { ip -n "$a" "$@"; }

result() { # result WHAT STATUS
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: $1"
		tail -n 12 "$log" | sed 's/^/    /'
	fi
}

latest() { # latest WISH: the newest line about it
	grep -F -- "$1 " "$log" | tail -n 1
}

within() { # within TENTHS WISH EXPECTED: waits until the newest line is this one
	i=0
	while [ "$(latest "$2")" != "$2 $3" ]; do
		i=$((i + 1))
		[ $i -le "$1" ] || return 1
		sleep 0.1
	done
}

noticed() { # noticed WHAT WISH EXPECTED
	within "$DEADLINE" "$2" "$3"
	result "$1: wanted \"$2 $3\"" $?
}

snapshots() { grep -c '^snapshot' "$log"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }

ip netns add "$a" && ip netns add "$b" || exit 77
in_a link set lo up
for n in 0 1; do
	in_a link add "eth$n" type veth peer name "gw$n" netns "$b" || exit 77
	ip -n "$b" link set "gw$n" up
	in_a addr add "10.7$n.0.2/24" dev "eth$n"
	in_a addr add "2001:db8:$n::2/64" dev "eth$n" nodad
	in_a link set "eth$n" up
done

ip netns exec "$a" "$watch" default4 default6 auto4%tun0 auto4%eth1 10.71.0.1 \
	10.72.0.1 10.2.0.1%tun0 10.9.0.1 127.0.0.9 >"$log" 2>&1 &
pid=$!
within "$PATIENCE" 127.0.0.9 '127.0.0.9 dev lo src 127.0.0.1 onlink'
result 'a loopback gateway' $?
noticed 'no route yet' default4 none
noticed 'a gateway by its address' 10.71.0.1 '10.71.0.1 dev eth1 src 10.71.0.2 onlink'

in_a route add default via 10.70.0.1 dev eth0 metric 100
noticed 'a default route' default4 '10.70.0.1 dev eth0 src 10.70.0.2 onlink'
in_a route add default via 10.71.0.1 dev eth1 metric 50
noticed 'a better one' default4 '10.71.0.1 dev eth1 src 10.71.0.2 onlink'
noticed 'the next hop via an interface' auto4%eth1 '10.71.0.1 dev eth1 src 10.71.0.2 onlink'
in_a route del default dev eth1
noticed 'and back' default4 '10.70.0.1 dev eth0 src 10.70.0.2 onlink'
in_a -6 route add default via fe80::1 dev eth0
noticed 'an IPv6 router, a global source' default6 'fe80::1 dev eth0 src 2001:db8::2 onlink'

in_a route replace default metric 100 nexthop via 10.71.0.9 dev eth1 nexthop via 10.70.0.9 dev eth0
noticed 'two next hops' default4 '10.71.0.9 dev eth1 src 10.71.0.2 onlink'
in_a route replace default via 10.70.0.1 dev eth0 metric 100
noticed 'one again' default4 '10.70.0.1 dev eth0 src 10.70.0.2 onlink'
in_a route add default via 10.71.0.7 dev eth1 table 201
in_a addr add 10.70.0.3/24 dev eth0
in_a route replace default via 10.70.0.1 dev eth0 metric 100 src 10.70.0.3
noticed 'a preferred source; other tables are not "default"' default4 \
	'10.70.0.1 dev eth0 src 10.70.0.3 onlink'
in_a route replace default via 10.70.0.1 dev eth0 metric 100
noticed 'the first address' default4 '10.70.0.1 dev eth0 src 10.70.0.2 onlink'

# A link that is administratively down loses its routes; one without carrier keeps them.
ip -n "$b" link set gw0 down
noticed 'no carrier' default4 none
ip -n "$b" link set gw0 up
noticed 'carrier again' default4 '10.70.0.1 dev eth0 src 10.70.0.2 onlink'

# A renumbered host.
in_a addr add 10.70.0.77/24 dev eth0
in_a addr del 10.70.0.2/24 dev eth0
in_a addr add 10.70.0.77/24 dev eth0 2>/dev/null # a primary takes its secondaries along
in_a route replace default via 10.70.0.1 dev eth0 metric 100
noticed 'another own address' default4 '10.70.0.1 dev eth0 src 10.70.0.77 onlink'

# A VPN: its default route is never "default", its peer is found, and so is an address beyond it.
cat >"$scratch/tun.py" <<'END'
import fcntl, struct, time
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))
time.sleep(60)
END
ip netns exec "$a" python3 "$scratch/tun.py" 2>/dev/null &
tun=$!
i=0
while ! in_a link show tun0 >/dev/null 2>&1 && [ $i -lt "$PATIENCE" ]; do
	i=$((i + 1))
	sleep 0.1
done
if in_a addr add 10.8.0.2 peer 10.8.0.1 dev tun0 2>/dev/null; then
	in_a link set tun0 up
	noticed 'the other end' auto4%tun0 '10.8.0.1 dev tun0 src 10.8.0.2 onlink'
	noticed 'beyond the other end' 10.2.0.1%tun0 '10.2.0.1 dev tun0 src 10.8.0.2 onlink'
	# Without an interface the kernel is asked: a host route, and a rule as wg-quick makes them.
	noticed 'an address beyond the LAN' 10.9.0.1 '10.9.0.1 dev eth0 src 10.70.0.77'
	in_a route add 10.9.0.1 dev tun0
	noticed 'a host route' 10.9.0.1 '10.9.0.1 dev tun0 src 10.8.0.2 onlink'
	in_a route del 10.9.0.1 dev tun0
	noticed 'a host route that is gone' 10.9.0.1 '10.9.0.1 dev eth0 src 10.70.0.77'
	in_a route add default dev tun0 table 202
	in_a rule add not fwmark 202 table 202
	noticed 'a rule' 10.9.0.1 '10.9.0.1 dev tun0 src 10.8.0.2 onlink'
	in_a rule del not fwmark 202 table 202
	noticed 'a rule that is gone' 10.9.0.1 '10.9.0.1 dev eth0 src 10.70.0.77'
	in_a route add default dev tun0 metric 1
	in_a route add default via 10.8.0.1 dev tun0 metric 2
	noticed 'the next hop in the tunnel' auto4%tun0 '10.8.0.1 dev tun0 src 10.8.0.2 onlink'
	# The proof that those routes were seen: something that came after them is.
	in_a addr add 10.72.0.2/24 dev eth1
	noticed 'a later address' 10.72.0.1 '10.72.0.1 dev eth1 src 10.72.0.2 onlink'
	noticed 'tunnels are not "default"' default4 '10.70.0.1 dev eth0 src 10.70.0.77 onlink'
	kill "$tun"
	noticed 'the tunnel is gone' 10.2.0.1%tun0 none
else
	kill "$tun" 2>/dev/null
	echo "no tun device here: not tested"
fi
wait "$tun" 2>/dev/null
tun=

# 5,000 other routes: no snapshot for them, hardly any time, and changes are still noticed.
awk 'BEGIN { for (i = 0; i < 5000; i++)
	printf "route add 10.%d.%d.0/24 via 10.71.0.1 dev eth1\n", 100 + int(i / 250), i % 250 }' \
	>"$scratch/routes"
before=$(snapshots)
used=$(ticks)
in_a -batch "$scratch/routes"
in_a route add default via 10.71.0.1 dev eth1 metric 50
noticed 'a better route among 5,000' default4 '10.71.0.1 dev eth1 src 10.71.0.2 onlink'
[ "$(snapshots)" -le $((before + 2)) ]
result "5,000 other routes made $(($(snapshots) - before)) snapshots" $?
[ $(($(ticks) - used)) -le 50 ]
result "5,000 other routes took $(($(ticks) - used)) ticks" $?

# A storm that overflows the socket, at whose end the route has moved (Q-145).
i=0
while [ $i -lt 400 ]; do
	echo "route replace default via 10.71.0.$((i % 100 + 2)) dev eth1 metric 50"
	echo "route replace 172.16.$((i % 200)).0/24 via 10.71.0.1 dev eth1"
	i=$((i + 1))
done >"$scratch/storm"
echo "route replace default via 10.71.0.200 dev eth1 metric 50" >>"$scratch/storm"
in_a -batch "$scratch/storm"
noticed 'the end of a storm' default4 '10.71.0.200 dev eth1 src 10.71.0.2 onlink'
in_a route del default dev eth1
noticed 'back after the storm' default4 '10.70.0.1 dev eth0 src 10.70.0.77 onlink'

# An interface that goes and comes back has another index.
in_a link del eth0
noticed 'the interface is gone' default4 none
in_a link add eth0 type veth peer name gw0 netns "$b"
ip -n "$b" link set gw0 up
in_a addr add 10.70.0.5/24 dev eth0
in_a link set eth0 up
in_a route add default via 10.70.0.1 dev eth0
noticed 'the interface is back' default4 '10.70.0.1 dev eth0 src 10.70.0.5 onlink'

kill "$pid"
wait "$pid"
result 'a clean exit' $?
pid=

echo "netns-route: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
