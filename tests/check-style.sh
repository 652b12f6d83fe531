#!/bin/sh
# SPDX-License-Identifier: ISC
# House style that a machine can see: sizes, licence lines, format, manual pages, nothing left for
# later, nothing unknown to make.
# usage: check-style.sh [TOP]       the source tree
# Ends with "check-style: N passed, N failed". It also tests itself on planted violations.
set -u
export LC_ALL=C

top=${1:-${top_srcdir:-.}}
FILE_LINES=600
FUNCTION_LINES=80
FORMATTER_VERSION=14 # every version formats a little differently: only this one is asked
CLANG_FORMAT=${CLANG_FORMAT:-clang-format}

passed=0
failed=0

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

c_files() { find "$1/src" "$1/tests" -name '*.[ch]' 2>/dev/null | sort; }
scripts()
{
	find "$1/tests" "$1/systemd" \( -name '*.sh' -o -name '*.py' -o -name '*.in' \) 2>/dev/null | sort
	for file in autogen.sh test.sh quickstart.sh configure.ac Makefile.am; do
		[ ! -f "$1/$file" ] || echo "$1/$file"
	done
}

# Each tool is started once for all files, not for every one: they are hundreds.
each() { tr '\n' '\0' | xargs -0 -r "$@"; }

too_long() # C files of more lines than a reader bears
{
	c_files "$1" | each awk -v limit="$FILE_LINES" '
		FNR == limit + 1 { printf "%s: more than %d lines\n", FILENAME, limit }'
}

# Functions in our style open with a line that is just "{" and close with one that is just "}".
# Structs, enums and tables open at the end of a line and do not count.
long_functions()
{
	find "$1/src" -name '*.[ch]' 2>/dev/null | sort | each awk -v limit="$FUNCTION_LINES" '
		FNR == 1 { start = 0 }
		/^[{]$/ { start = FNR; next }
		/^[}]$/ && start {
			n = FNR - start + 1
			if (n > limit)
				printf "%s:%d: a function of %d lines, %d at most\n", FILENAME, start, n, limit
			start = 0
		}'
}

# without LINE LAST: those of the files on standard input that lack it among their first LAST lines
without()
{
	each awk -v line="$1" -v last="$2" '
		FNR <= last && $0 == line { has[FILENAME] = 1 }
		END {
			for (i = 1; i < ARGC; i++)
				if (!(ARGV[i] in has))
					printf "%s: no line %s\n", ARGV[i], line
		}'
}

unlicensed() # C files say it in line 1, scripts after #!
{
	c_files "$1" | without '/* SPDX-License-Identifier: ISC */' 1
	scripts "$1" | without '# SPDX-License-Identifier: ISC' 2
}

# Split, so that this very line is not found.
LATER='TO''DO|FIX''ME|XX''X'
unfinished()
{
	{ c_files "$1"; scripts "$1"; } | each grep -nHwE -e "$LATER"
}

unlisted() # C files that nothing builds, or that a release would lack
{
	# As a word of Makefile.am, a program's only source without its .c.
	c_files "$1" | awk -v top="$1" '
		NR == FNR {
			n = split($0, words, /[[:space:]=]+/)
			for (i = 1; i <= n; i++)
				known[words[i]] = 1
			next
		}
		{
			name = stem = substr($0, length(top) + 2)
			sub(/\.c$/, "", stem)
			if (!(name in known) && !(stem in known))
				print name " is not in Makefile.am"
		}' "$1/Makefile.am" -
}

format_is_ours()
{
	"$CLANG_FORMAT" --version 2>/dev/null |
		grep -qE "version $FORMATTER_VERSION(\.|\$)"
}

unformatted()
{
	c_files "$1" | each "$CLANG_FORMAT" --style=file --dry-run -Werror 2>&1 | awk -F: '
		/error:|warning:/ && !seen[$1]++' # one line for each file
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

caught() { # caught WHAT FILE: one self-test, passed when FILE is not empty
	if [ -s "$2" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: self-test: $1 was not caught"
	fi
}

# ---- the tree --------------------------------------------------------------------------------
if [ "$(c_files "$top" | wc -l)" -eq 0 ]; then
	echo "FAIL: no C files in $top"
	failed=$((failed + 1))
fi
too_long "$top" >"$scratch/out"
clean "files of more than $FILE_LINES lines" "$scratch/out"
long_functions "$top" >"$scratch/out"
clean "functions of more than $FUNCTION_LINES lines" "$scratch/out"
unlicensed "$top" >"$scratch/out"
clean "licence lines" "$scratch/out"
unfinished "$top" >"$scratch/out"
clean "left for later" "$scratch/out"
unlisted "$top" >"$scratch/out"
clean "files unknown to make" "$scratch/out"
if command -v mandoc >/dev/null 2>&1; then
	mandoc -T lint -W warning "$top"/doc/*.[158] >"$scratch/out" 2>&1
	clean "manual pages" "$scratch/out"
else
	echo "mandoc is not installed: manual pages not checked"
fi
if format_is_ours; then
	unformatted "$top" >"$scratch/out"
	clean "format: run clang-format -i on" "$scratch/out"
else
	echo "clang-format $FORMATTER_VERSION is not installed: format not checked"
fi

# ---- the check itself, on planted violations -------------------------------------------------
bad=$scratch/bad
mkdir -p "$bad/src" "$bad/tests"
cp "$top/.clang-format" "$bad/"
lines() { awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) print "\tx();" }'; }

{ echo 'void f(void)'; echo '{'; lines "$FUNCTION_LINES"; echo '}'; } >"$bad/src/long.c"
long_functions "$bad" >"$scratch/out"
caught 'a long function' "$scratch/out"
unlicensed "$bad" >"$scratch/out"
caught 'a missing licence line' "$scratch/out"
printf '/* SPDX-License-Identifier: ISC */\n' >"$bad/src/good.h"
printf '#!/bin/sh\n' >"$bad/tests/bad.sh"
unlicensed "$bad" | grep -v 'long\.c' >"$scratch/out"
caught 'a script without its licence line' "$scratch/out"
printf '#!/bin/sh\n# SPDX-License-Identifier: ISC\n' >"$bad/tests/bad.sh"
unlicensed "$bad" | grep -v 'long\.c' >"$scratch/out"
clean 'self-test: licence lines where they belong' "$scratch/out"
rm "$bad/src/good.h" "$bad/tests/bad.sh"
{ echo 'void f(void)'; echo '{'; lines $((FUNCTION_LINES - 2)); echo '}'; } >"$bad/src/long.c"
long_functions "$bad" >"$scratch/out"
clean "self-test: a function of just $FUNCTION_LINES lines" "$scratch/out"
echo 'libbase_a_SOURCES = src/longer.c src/long.h' >"$bad/Makefile.am"
unlisted "$bad" >"$scratch/out"
caught 'a file that is not in Makefile.am' "$scratch/out"
echo '	src/long.c src/long.h \' >"$bad/Makefile.am"
unlisted "$bad" >"$scratch/out"
clean "self-test: a file that is in Makefile.am" "$scratch/out"
lines $((FILE_LINES + 1)) >"$bad/src/long.c"
too_long "$bad" >"$scratch/out"
caught 'a long file' "$scratch/out"
echo "/* FIX""ME: later */" >"$bad/src/long.c"
unfinished "$bad" >"$scratch/out"
caught 'a note for later' "$scratch/out"
if format_is_ours; then
	echo 'int f( int x ) {return x;}' >"$bad/src/long.c"
	unformatted "$bad" >"$scratch/out"
	caught 'a badly formatted file' "$scratch/out"
fi

echo "check-style: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
