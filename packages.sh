#!/bin/sh
# SPDX-License-Identifier: ISC
# Installs the Debian packages that are missing, without asking; silent when none is.
# usage: packages.sh build|test        test: also what ./test.sh needs
set -eu

build='autoconf automake gcc libc6-dev make pkg-config
libconfuse-dev libevent-dev libjansson-dev libmnl-dev libsystemd-dev nettle-dev'
test='check clang clang-format debootstrap systemd systemd-container
curl iproute2 mandoc miniupnpd-nftables natpmpc nftables python3 socat tshark util-linux zsh'

case ${1-} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
	echo "usage: packages.sh build|test" >&2
	exit 2
	;;
esac

if ! command -v apt-get >/dev/null 2>&1; then
	echo "No apt-get here: please install what Debian calls" $wanted >&2
	exit 0 # configure says what is really missing
fi

missing=
for package in $wanted; do
	status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "Missing packages, and neither root nor sudo to install them:$missing" >&2
		exit 1
	fi
	as_root=sudo
fi
echo "Installing:$missing"
$as_root apt-get -q update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing
