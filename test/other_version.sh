#!/bin/bash
# Runs the tests on another PostgreSQL than the machine's, in a root directory with the Debian that has it: 17 in
# Debian 13, 18 in Debian unstable.
#
#   test/other_version.sh 17 [what test/run.sh takes]
#   test/other_version.sh 17 make     makes the root directory, where there is none, and no more
#   test/other_version.sh 18 moves    moves a database from 15 over 17 to 18 (test/moves.sh)
#
# Root directories are made by debootstrap, once, and kept in MINGA_ROSTER_ROOTS (/var/cache/minga_roster); remove one
# to have it made again. Needs root, the right to mount, and the network when something has to be installed.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
version=$1
shift
case $version in
	15) exec "$top/test/run.sh" "$@" ;;
	16) echo "PostgreSQL 16 is in no release of Debian: install it, and name it with PG_CONFIG" >&2; exit 2 ;;
	17) suite=trixie ;;
	18) suite=sid ;;
	*) echo "usage: test/other_version.sh 15|17|18 [make|what test/run.sh takes]" >&2; exit 2 ;;
esac

if [ "$(id -u)" -ne 0 ]; then
	echo "test/other_version.sh needs root, to make a root directory and change to it" >&2
	exit 1
fi
if ! unshare --fork --pid --mount-proc --ipc true 2>/dev/null; then
	echo "test/other_version.sh needs the right to mount (CAP_SYS_ADMIN); a container has to be privileged" >&2
	exit 1
fi

. "$top/test/environment.sh"
roots=${MINGA_ROSTER_ROOTS:-/var/cache/minga_roster}
root=$roots/postgresql-$version
mkdir -p "$roots"

# One at a time: a run installs the library in the root directory's PostgreSQL.
exec 9>"$root.lock"
flock --nonblock 9 || { echo "Waiting for another run in $root"; flock 9; }

temporary=()
child=
cleanup() {
	status=$?
	# All that it started ends with it.
	[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
	[ ${#temporary[@]} -eq 0 ] || rm -rf --one-file-system "${temporary[@]}"
	exit $status
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

checkout=$(mktemp -d /tmp/minga_roster_checkout.XXXXXX)
temporary+=("$checkout")
copy_checkout "$checkout"
script=run.sh
run() {
	local directory=$1
	shift
	"$top/test/in_root.sh" "$directory" env PG_CONFIG="/usr/lib/postgresql/$version/bin/pg_config" \
		"$checkout/test/$script" "$@" &
	child=$!
	wait $child
	child=
}

if [ ! -d "$root" ]; then
	echo "Making $root: Debian $suite with PostgreSQL $version"
	require_packages debootstrap
	made=$(mktemp -d "$root.XXXXXX")
	temporary+=("$made")
	chmod 755 "$made"
	# Under unshare, so that what debootstrap mounts ends with it.
	unshare --fork --kill-child --pid --mount-proc \
		debootstrap --variant=minbase --include=ca-certificates "$suite" "$made" >"$root.log" 2>&1 &
	child=$!
	wait $child || { echo "debootstrap failed; its words are in $root.log" >&2; exit 1; }
	# Nothing is started by installing it, and nothing has to survive a crash of the machine.
	printf '#!/bin/sh\nexit 101\n' >"$made/usr/sbin/policy-rc.d"
	chmod 755 "$made/usr/sbin/policy-rc.d"
	echo force-unsafe-io >"$made/etc/dpkg/dpkg.cfg.d/unsafe-io"
	# A mirror of unstable may lag behind.
	[ "$suite" != sid ] || echo 'Acquire::Check-Valid-Until "false";' >"$made/etc/apt/apt.conf.d/90valid-until"
	run "$made" packages
	mv "$made" "$root"
fi
[ "${1:-}" != make ] || exit 0
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
if [ "${1:-}" = moves ]; then
	# The other versions come from their releases of Debian, into a layer that is thrown away.
	export ROOT_LAYER
	ROOT_LAYER=$(mktemp -d "$roots/layer.XXXXXX")
	temporary+=("$ROOT_LAYER")
	mkdir -p "$ROOT_LAYER/upper/etc/apt/sources.list.d"
	for older in bookworm trixie; do
		[ "$older" = "$suite" ] || sed -n "s/ $suite / $older /p" "$root/etc/apt/sources.list"
	done >"$ROOT_LAYER/upper/etc/apt/sources.list.d/older.list"
	script=moves.sh
	set -- 15 17
	[ "$version" = 17 ] || set -- "$@" "$version"
fi
run "$root" "$@"
