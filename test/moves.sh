#!/bin/bash
# Moves a database with rows in each table through versions of PostgreSQL, by pg_upgrade and by dumps
# (test/t/067_moves.pl). Installs the extension, and as root the packages, of each of them.
#
#   test/moves.sh 15 17 18
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 2 ] || { echo "usage: test/moves.sh VERSION VERSION …" >&2; exit 2; }
from=$1
shift

build=$(mktemp -d /tmp/minga_roster_moves.XXXXXX)
trap 'rm -rf "$build"' EXIT
bindirs=
for version in "$@"; do
	PG_CONFIG=/usr/lib/postgresql/$version/bin/pg_config
	. "$top/test/environment.sh"
	"$top/test/run.sh" packages
	copy_checkout "$build/$version"
	make -s -C "$build/$version" PG_CONFIG="$PG_CONFIG" WERROR=1 with_llvm=no all
	make -s -C "$build/$version" PG_CONFIG="$PG_CONFIG" with_llvm=no install
	bindirs=${bindirs:+$bindirs:}/usr/lib/postgresql/$version/bin
done
export UPGRADE_BINDIR=$bindirs
PG_CONFIG=/usr/lib/postgresql/$from/bin/pg_config "$top/test/run.sh" tap test/t/067_moves.pl
