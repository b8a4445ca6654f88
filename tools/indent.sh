#!/bin/bash
# Lays out the C files as PostgreSQL's pgindent does.
#
#   tools/indent.sh               rewrites the files of src/ and test/fuzz/ that are not laid out
#   tools/indent.sh --check       names them, shows what would change, and exits with 1 if there are any
#
# pgindent itself is part of no package for PostgreSQL 15, so this calls the same pg_bsd_indent (package pg-bsd-indent)
# with pgindent's options, except for lines of 120 columns. tools/typedefs.list has the types of PostgreSQL, libcurl and
# OpenSSL that the project uses: add the ones that a change brings in. The project's own types are read from its files.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
require_packages pg-bsd-indent

check=false
[ "${1:-}" != --check ] || check=true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$top"

# Generated tables are left as their generator writes them.
mapfile -t files < <(find src test/fuzz -name '*.[ch]' ! -name letters.h | LC_ALL=C sort)

{
	cat tools/typedefs.list
	sed -nE 's/^\} (\w+);$/\1/p; s/^typedef .*\(\*\s*(\w+)\) \(.*/\1/p; s/^typedef [^({]* \**(\w+);$/\1/p' "${files[@]}"
} | LC_ALL=C sort -u > "$work/typedefs"

# As pgindent: comments that begin with dashes are kept, and a type that a function returns has one space before its *.
status=0
for file in "${files[@]}"; do
	sed 's|/\* \+---|/*---X_X|' "$file" > "$work/in.c"
	pg_bsd_indent -bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l120 -lp -lpl -nip -npro -sac -tpg \
		-ts4 -U"$work/typedefs" "$work/in.c" "$work/out.c" || { echo "pg_bsd_indent failed on $file" >&2; exit 2; }
	sed -E 's|/\*---X_X|/* ---|; s|\*/(/\*.*\*/)$|*/\t\1|; s|^([A-Za-z_][^ \t]*)[ \t]+\*$|\1 *|' \
		"$work/out.c" > "$work/laid_out.c"
	if cmp -s "$file" "$work/laid_out.c"; then
		continue
	elif $check; then
		diff -u --label "$file" --label "$file, laid out" "$file" "$work/laid_out.c" || status=1
	else
		cat "$work/laid_out.c" > "$file"
		echo "$file"
	fi
done
exit $status
