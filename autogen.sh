#!/bin/sh
# SPDX-License-Identifier: ISC
# Makes configure and Makefile.in from a git checkout. A release tarball has them already.
set -eu
cd "$(dirname "$0")"
autoreconf --force --install
echo "Now run ./configure && make (or from another folder: $PWD/configure)."
