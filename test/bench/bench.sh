#!/bin/bash
# Measures, and prints a table with limits and with peers beside us. Fails when a limit is missed.
#
#   test/bench/bench.sh [group …]    all groups of lines, or these: fetch, merge, small
#
# Each group is a file of test/bench/lines, which prepares, measures and prints its lines by the functions below.
# Ratios within one run count; absolute times hold for the machine alone. USERS=200000 and ROUNDS=5 unless set.
# SMALL=1 is for the tests: few users, one round, the extension as it is installed, and limits that are not applied.
set -euo pipefail
# Of a test that has a server of its own.
unset PGHOST PGPORT PGUSER PGDATABASE

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/test/environment.sh"
small=${SMALL:-}
users=${USERS:-$([ -n "$small" ] && echo 2000 || echo 200000)}
rounds=${ROUNDS:-$([ -n "$small" ] && echo 1 || echo 5)}
groups=("$@")
[ $# -gt 0 ] || groups=(fetch merge small)
require_packages "${postgresql_packages[@]}" libcurl4-openssl-dev libssl-dev python3-oauthlib openssl curl make gcc \
	nginx-light python3-psycopg2

work=$(mktemp -d /tmp/minga_roster_bench.XXXXXX)
cleanup() {
	status=$?
	for pid in "$work"/*.pid; do [ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true; done
	[ ! -f "$work/data/postmaster.pid" ] || as_postgres "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop \
		>/dev/null || true
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "The bench's files are left in $work" >&2; fi
	exit $status
}
trap cleanup EXIT

# --- the cluster

copy_checkout "$work/src"
[ -n "$small" ] || make -s -C "$work/src" PG_CONFIG="$pg_config" all install >/dev/null
chmod 755 "$work"
give_to_postgres "$work"
make_cluster "$work/data" "$work"
as_postgres bash -c "umask 077; openssl rand -hex 32 > '$work/key'"
as_postgres tee -a "$work/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = ''
fsync = on
shared_buffers = $([ -n "$small" ] && echo 64MB || echo 1GB)
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
minga_roster.key_file = '$work/key'
minga_roster.insecure_loopback = on
CONF
start_cluster "$work/data"
as_postgres "$bindir/createdb" -h "$work" -U postgres bench
psql_bench() {
	as_postgres "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U postgres -d bench "$@" \
		2>>"$work/psql.log" || { tail -n 5 "$work/psql.log" >&2; return 1; }
}
value() { psql_bench <<< "SET search_path = public, minga_roster, minga_roster_internal; SET jit = off; $1"; }
psql_bench -c "CREATE EXTENSION minga_roster" -c "CREATE ROLE people_owner NOLOGIN"

# --- users

school_id=CE8DF1FC-3242-4716-A5F5-5A957F86DC36
# export_users NAME COUNT [PAGE_SIZE]: pages_NAME, with as many users as pages for a server and as rows for COPY.
export_users() {
	[ ! -d "$work/pages_$1" ] || return 0
	/usr/bin/python3 "$work/src/test/oneroster_server.py" --people "$2" --seed 3 --schools 1 --export "$work/pages_$1" \
		--page-size "${3:-1000}" >/dev/null
	chmod -R a+rX "$work/pages_$1"
}
# A table of the rows that an export has for COPY.
columns_of_copy="a01 text, a02 text, a03 text, a04 text, a05 text, a06 text, a07 text, a08 text, a09 text, a10 text,
	a11 text, a12 text, a13 text, a14 text[], a15 text[], a16 text[]"

# --- measuring

milliseconds() { # COMMAND …: wall clock
	local start=$(date +%s%N)
	"$@" >/dev/null
	echo $((($(date +%s%N) - start) / 1000000))
}
# The least of the rounds: what else the machine does only adds to it.
repeat() { for _ in $(seq "$rounds"); do "$@"; done | sort -n | head -n 1; }
# The most of the rounds, for memory: a sample can only miss the peak.
repeat_for_peak() { for _ in $(seq "$rounds"); do "$@"; done | sort -n | tail -n 1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / (b > 0 ? b : 1) }'; }

# --- the table

missed=0
line() { # WHAT MEASURED [RATIO LIMIT REMARK]
	printf '%-72s %12s %8s %9s  %s\n' "$1" "$2" "${3:-}" "${4:-}" "${5:-}"
}
check() { # WHAT MEASURED RATIO LIMIT
	local verdict=ok
	awk -v a="$3" -v b="$4" 'BEGIN { exit !(a <= b) }' || verdict=MISSED
	[ $verdict = ok ] || missed=$((missed + 1))
	line "$1" "$2" "$3" "<= $4" $verdict
}

line "" measured ratio limit
for group in "${groups[@]}"; do
	. "$work/src/test/bench/lines/$group.sh"
done
[ -n "$small" ] || [ $missed -eq 0 ]
