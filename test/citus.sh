#!/bin/bash
# Evenings on people that Citus distributes, beside the same evenings on a plain table: both end with the same people.
#
#   PG_CONFIG=/opt/postgresql/bin/pg_config test/citus.sh
#
# Needs a PostgreSQL in which Citus is installed (13.2 on PostgreSQL 15), and builds and installs minga_roster there.
# Makes a coordinator and two nodes that listen on the loopback address alone. As root it runs them as user postgres.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
if [ ! -e "$("$pg_config" --sharedir)/extension/citus.control" ]; then
	echo "Citus is not installed in the PostgreSQL of $pg_config: name another one with PG_CONFIG" >&2
	exit 2
fi

work=$(mktemp -d /tmp/minga_roster_citus.XXXXXX)
nodes=()
cleanup() {
	status=$?
	for node in "${nodes[@]}"; do
		as_postgres "$bindir/pg_ctl" -D "$work/$node" -m immediate -w stop >/dev/null || true
	done
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "The test's files are left in $work"; fi
	exit $status
}
trap cleanup EXIT

copy_checkout "$work/src"
make -s -C "$work/src" PG_CONFIG="$pg_config" WERROR=1 all
make -s -C "$work/src" PG_CONFIG="$pg_config" install
give_to_postgres "$work"

free_port() {
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start NODE: a cluster with Citus, that listens on the loopback address, and its database.
start() {
	local port
	port=$(free_port)
	make_cluster "$work/$1" "$work" "$port"
	cat >> "$work/$1/postgresql.conf" <<-CONF
		listen_addresses = '127.0.0.1'
		shared_preload_libraries = 'citus'
		max_prepared_transactions = 100
		citus.recover_2pc_interval = -1
		minga_roster.key_file = '$work/key'
	CONF
	nodes+=("$1")
	start_cluster "$work/$1"
	sql "$port" -d postgres -c 'CREATE DATABASE contrib_regression'
	sql "$port" -c 'CREATE EXTENSION citus'
	port_of_last=$port
}

sql() {
	local port=$1
	shift
	as_postgres env PGOPTIONS='-c client_min_messages=warning' "$bindir/psql" -X -q -v ON_ERROR_STOP=1 \
		-h 127.0.0.1 -p "$port" -U postgres -d contrib_regression "$@"
}

(umask 077; openssl rand -hex 32 > "$work/key")
[ "$(id -u)" -ne 0 ] || chown postgres: "$work/key"
workers=()
for node in one two; do
	start $node
	workers+=("$port_of_last")
done
start coordinator
coordinator=$port_of_last
sql "$coordinator" -c "SELECT citus_set_coordinator_host('127.0.0.1', $coordinator)" >/dev/null
for port in "${workers[@]}"; do
	sql "$coordinator" -c "SELECT citus_add_node('127.0.0.1', $port)" >/dev/null
done
sql "$coordinator" -c 'CREATE EXTENSION minga_roster'
as_postgres env PG_ABS_SRCDIR="$work/src/test" "$bindir/psql" -X -q -v ON_ERROR_STOP=1 \
	-h 127.0.0.1 -p "$coordinator" -U postgres -d contrib_regression -f "$work/src/test/citus/evenings.sql"
