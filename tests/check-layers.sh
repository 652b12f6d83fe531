#!/bin/sh
# SPDX-License-Identifier: ISC
# Keeps the one rule: includes point downwards only, and base, proto and core touch no clock, random
# source, file, socket or log.
# usage: check-layers.sh [TOP [BUILD]]       source tree, and where its libraries were built
# Ends with "check-layers: N passed, N failed". It also tests itself on planted violations.
set -u
export LC_ALL=C

src=${1:-${top_srcdir:-.}}/src
libdir=${2:-${top_builddir:-.}}
NM=${NM:-nm}
CC=${CC:-cc}

# Only these files may know the event library.
EVENT_FILES='os/loop.c os/httpd.c'

# Headers of the system that the pure layers may use. For <stdio.h> the symbols below decide:
# snprintf() is computation, printf() is not; so with <errno.h>, which is there for its numbers.
# <sys/queue.h> is nothing but macros.
PURE_HEADERS='assert.h errno.h inttypes.h limits.h stdbool.h stddef.h stdint.h stdarg.h stdio.h stdlib.h string.h sys/queue.h'

# Symbols that the pure layers may leave to libc (a leading __ and a trailing _chk are fortify's).
PURE_SYMBOLS='memcpy memmove memset memcmp memchr memrchr mempcpy memmem explicit_bzero bcmp
strlen strnlen strcmp strncmp strchr strchrnul strrchr strspn strcspn strpbrk strstr
strcpy strncpy stpcpy strcat strdup strndup strtol strtoul strtoll strtoull
malloc calloc realloc reallocarray free qsort bsearch abs labs
snprintf vsnprintf'

passed=0
failed=0

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# includes SRC: prints one line for each #include that the rule forbids.
includes()
{
	find "$1" -name '*.[ch]' | sort | while IFS= read -r path; do
		awk -v file="${path#"$1"/}" -v pure="$PURE_HEADERS" -v event="$EVENT_FILES" '
		function within(list, word) { return index(" " list " ", " " word " ") > 0 }
		function bad(why) { printf "%s:%d: %s: %s\n", file, FNR, name, why }
		BEGIN {
			folder = file; sub(/\/.*/, "", folder)
			stem = file; sub(/^.*\//, "", stem); sub(/\.[ch]$/, "", stem)
			room = stem; sub(/_.*/, "", room)
			may["base"] = "base"
			may["proto"] = "base proto"
			may["core"] = "base proto core"
			may["os"] = "base proto"
			may["igd"] = "base"
			may["daemon"] = "base proto core os daemon"
			may["ctl"] = "base proto core os daemon ctl"
			if (!(folder in may)) {
				printf "%s: no layer is called %s\n", file, folder
				exit
			}
		}
		/^[ \t]*#[ \t]*include/ {
			line = $0
			sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
			open = substr(line, 1, 1)
			name = substr(line, 2)
			sub(/[">].*/, "", name)
			if (open != "\"" && open != "<") {
				bad("not a plain include")
				next
			}
			if (name ~ /^event2?\// || name ~ /^(event|evhttp|evutil|evdns)\.h$/) {
				if (!within(event, file))
					bad("only " event " may know the event library")
				next
			}
			is_pure = folder ~ /^(base|proto|core)$/
			if (open == "<") {
				if (is_pure && !within(pure, name))
					bad(folder " uses nothing of the system but " pure)
				next
			}
			if (name == "config.h") {
				if (is_pure)
					bad(folder " depends on no configuration")
				next
			}
			target = name
			if (!sub(/\/.*/, "", target)) {
				bad("write it from src, as \"" folder "/" name "\"")
				next
			}
			if (within(may[folder], target))
				next
			if (folder == "os") {
				leaf = name; sub(/^.*\//, "", leaf); sub(/\.h$/, "", leaf)
				other = leaf; sub(/_.*/, "", other)
				if (name == "core/engine.h" || name == "os/log.h" || name == "os/loop.h")
					next
				if (target == "os" && other == room)
					next
				if (name == "os/loop_event.h" && within(event, file))
					next
				bad("a room of os may use base, proto, core/engine.h, os/log.h, " \
				    "os/loop.h and its own header")
				next
			}
			if (folder == "igd" && name == "os/worker.h") # the record format
				next
			bad(folder " may include " may[folder] " only")
		}' "$path"
	done
}

# symbols ARCHIVE [BELOW…]: prints the symbols that ARCHIVE needs and may not need.
symbols()
{
	for archive in "$@"; do
		"$NM" --defined-only "$archive" 2>/dev/null || return 1
	done | awk 'NF == 3 { print $3 }' | sort -u >"$scratch/defined"
	printf '%s\n' $PURE_SYMBOLS | sort -u >"$scratch/allowed"
	"$NM" -u "$1" 2>/dev/null | awk '$1 == "U" { print $2 }' |
		# assert, stack protector, sanitizers, coverage; and what the linker itself provides.
		grep -Ev -e '^__assert_fail$' -e '^__stack_chk_fail$' -e '^_GLOBAL_OFFSET_TABLE_$' \
			-e '^__(asan|ubsan|sanitizer|sancov)_' -e '^__(gcov|llvm_(profile|gcov|gcda))_' \
			-e '^__start___sancov_' -e '^__stop___sancov_' |
		sed -e 's/^__isoc[0-9]*_//' -e 's/^__\([a-z]*\)_chk$/\1/' |
		sort -u | comm -23 - "$scratch/allowed" | comm -23 - "$scratch/defined"
}

clean() { # clean WHAT FILE: one check, passed when FILE is empty
	if [ -s "$2" ]; then
		failed=$((failed + 1))
		echo "FAIL: $1"
		sed 's/^/    /' "$2"
	else
		passed=$((passed + 1))
	fi
}

caught() { # caught WHAT TEXT FILE: one self-test, passed when FILE has TEXT
	if grep -qF -- "$2" "$3"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: self-test: $1 was not caught"
	fi
}

# ---- the tree --------------------------------------------------------------------------------
if [ ! -f "$src/core/engine.h" ]; then
	echo "FAIL: $src is not portleased's src"
	failed=$((failed + 1))
fi
includes "$src" >"$scratch/includes"
for folder in base proto core os daemon; do
	grep "^$folder/" "$scratch/includes" >"$scratch/out"
	clean "includes of $folder" "$scratch/out"
done
grep -Ev '^(base|proto|core|os|daemon)/' "$scratch/includes" >"$scratch/out"
clean "includes elsewhere" "$scratch/out"

below=
for layer in base proto core; do
	archive=$libdir/lib$layer.a
	if [ "$("$NM" --defined-only "$archive" 2>/dev/null | grep -c ' T ')" -eq 0 ]; then
		echo "FAIL: $archive: no such library, or it is empty"
		failed=$((failed + 1))
		continue
	fi
	symbols "$archive" $below >"$scratch/out"
	clean "symbols that lib$layer.a may not use" "$scratch/out"
	below="$below $archive"
done

# ---- the check itself, on planted violations -------------------------------------------------
plant() { # plant FILE LINE
	mkdir -p "$scratch/src/${1%/*}"
	printf '%s\n' "$2" >"$scratch/src/$1"
	includes "$scratch/src" >"$scratch/out"
	rm -r "$scratch/src"
}

plant core/bad.c '#include <time.h>'
caught '<time.h> in core' 'core/bad.c:1: time.h' "$scratch/out"
plant base/bad.c '#include "proto/pcp.h"'
caught 'proto in base' 'base/bad.c:1: proto/pcp.h' "$scratch/out"
plant proto/bad.h '#include "core/engine.h"'
caught 'core in proto' 'proto/bad.h:1: core/engine.h' "$scratch/out"
plant core/bad.c '#  include "os/log.h"'
caught 'the log in core' 'core/bad.c:1: os/log.h' "$scratch/out"
plant core/bad.c '#include "config.h"'
caught 'config.h in core' 'core/bad.c:1: config.h' "$scratch/out"
plant os/udp.c '#include "os/route.h"'
caught 'a room that knows another' 'os/udp.c:1: os/route.h' "$scratch/out"
plant os/route_monitor.c '#include "core/internal.h"'
caught 'the inside of core in os' 'os/route_monitor.c:1: core/internal.h' "$scratch/out"
plant os/udp.c '#include "daemon/conf.h"'
caught 'the daemon in os' 'os/udp.c:1: daemon/conf.h' "$scratch/out"
plant daemon/bad.c '#include <event2/event.h>'
caught 'libevent in the daemon' 'daemon/bad.c:1: event2/event.h' "$scratch/out"
plant daemon/bad.c '#include "ctl/ctl.h"'
caught 'ctl in the daemon' 'daemon/bad.c:1: ctl/ctl.h' "$scratch/out"
plant daemon/bad.c '#include "conf.h"'
caught 'an include that is not from src' 'daemon/bad.c:1: conf.h' "$scratch/out"
plant lib/bad.c 'int x;'
caught 'an unknown layer' 'lib/bad.c: no layer' "$scratch/out"
plant os/route_monitor.c '#include "os/route.h"'
clean "self-test: a room may use its own header" "$scratch/out"
plant os/loop.c '#include <event2/event.h>'
clean "self-test: loop.c may know libevent" "$scratch/out"
plant os/httpd.c '#include "os/loop_event.h"'
clean "self-test: httpd.c may know what the loop is made of" "$scratch/out"
plant os/udp.c '#include "os/loop_event.h"'
caught 'what the loop is made of, in udp.c' 'os/udp.c:1: os/loop_event.h' "$scratch/out"

planted() { # planted BODY: builds libbad.a from it and looks at its symbols
	printf '#include <stddef.h>\n%s\n' "$1" >"$scratch/bad.c"
	rm -f "$scratch/libbad.a"
	# $CC and $AR may have arguments of their own.
	if ! $CC -c -o "$scratch/bad.o" "$scratch/bad.c" 2>"$scratch/cc" ||
		! ${AR:-ar} rc "$scratch/libbad.a" "$scratch/bad.o"; then
		cat "$scratch/cc"
		echo "cannot compile the self-test" >"$scratch/out"
		return
	fi
	symbols "$scratch/libbad.a" >"$scratch/out"
}

planted '#include <time.h>
time_t bad(void); time_t bad(void) { return time(NULL); }'
grep -x time "$scratch/out" >"$scratch/time"
caught 'time() in a pure library' time "$scratch/time"
planted 'int rand(void); int bad(void); int bad(void) { return rand(); }'
caught 'rand() in a pure library' rand "$scratch/out"
planted 'int bad(void); int bad(void) { extern int log_warning(const char *, ...); return log_warning("x"); }'
caught 'a log call in a pure library' log_warning "$scratch/out"
planted '#include <errno.h>
int bad(void); int bad(void) { return errno; }'
caught 'errno in a pure library' __errno_location "$scratch/out"
planted '#include <string.h>
size_t good(const char *); size_t good(const char *s) { return strlen(s); }'
clean "self-test: strlen() is allowed" "$scratch/out"

echo "check-layers: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
