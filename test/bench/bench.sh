#!/bin/bash
# Measures, and prints a table with limits and with peers beside us. Fails when a limit is missed.
#
#   test/bench/bench.sh [group …]    all groups of lines, or these: fetch, merge, small, classes, history
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
[ $# -gt 0 ] || groups=(fetch merge small classes history)
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
# No parallel workers, whose CPU time the backend's own would not show.
value() {
	psql_bench <<< "SET search_path = public, minga_roster, minga_roster_internal; SET jit = off;
		SET max_parallel_workers_per_gather = 0; $1"
}
psql_bench -c "CREATE EXTENSION minga_roster" -c "CREATE ROLE people_owner NOLOGIN"
psql_bench <<'SQL'
-- The process of a run's worker, once it works; NULL if the run was over by then.
CREATE FUNCTION public.worker_of(run bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    seen record;
BEGIN
    LOOP
        SELECT r.pid, r.state INTO seen FROM minga_roster.runs r WHERE r.run = worker_of.run;
        EXIT WHEN seen.pid IS NOT NULL OR seen.state NOT IN ('queued', 'running');
    END LOOP;
    RETURN seen.pid;
END
$$;
SQL

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

# --- runs

run_time() { value "SELECT round(extract(epoch FROM finished_at - started_at) * 1000) FROM $1"; }
# Starts a fetch and prints its worker's process ID. One that is over before it was seen is made again.
worker_of_fetch() { # NAME
	local pid=
	while [ -z "$pid" ]; do
		pid=$(value "SELECT roster_start('$1', 'fetch') AS run \gset
			SELECT public.worker_of(:run)")
	done
	echo "$pid"
}
# Peak of the worker's private memory in KB, sampled while it fetches.
private_memory() {
	local pid peak=0 now
	pid=$(worker_of_fetch "$1")
	while now=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -le "$peak" ] || peak=$now
	done
	echo "$peak"
}

# --- merges without a network, and what a statement costs

# stage_users NAME [EXPORT]: a connection of this name with the users of the export in its stage
stage_users() {
	local export=${2:-$1}
	value "SELECT roster_create_people('public.people_$1', owner => 'people_owner');
		SELECT roster_connect('$1', 'https://sis.example/campus/api/oneroster/v1p1/app', 'i', 's',
			school_id => '$school_id', people => 'public.people_$1', site => '$1', time_zone => 'America/Denver');
		SELECT minga_roster_internal.prepare_stage('$1');
		UPDATE connections SET unproven = false WHERE connection = '$1';
		CREATE TEMP TABLE copied ($columns_of_copy);
		COPY copied FROM '$work/pages_$export/users.copy';
		INSERT INTO staged_users (connection, sourced_id, collection, status, role, enabled, damaged, given_name,
			family_name, middle_name, username, identifier, email, phone, grade, agent_ids, outcome)
		SELECT '$1', a01, CASE a05 WHEN 'student' THEN 'students' WHEN 'teacher' THEN 'teachers'
				ELSE 'administrators' END,
			a02, a05, a04 = 'true', false, a06, a07, a08, a09, a10, a11, coalesce(a12, a13), a14[1], a16, 'create'
		FROM copied" >/dev/null
}
# A run of the connection, :run to psql, which has read all collections.
run_of() { # NAME KIND
	cat <<-SQL
		SELECT nextval(pg_get_serial_sequence('minga_roster.runs', 'run')) AS run \gset
		SELECT minga_roster_internal.insert_run(:run, '$1', '$2', NULL, 'running', 'bench');
		UPDATE runs SET is_full = true WHERE run = :run;
		SELECT minga_roster_internal.store_collection(:run, '$1', e->>'collection', e->>'family', true, 'total', 1, n,
			n, NULL, 0, 0, false, NULL, NULL)
		FROM sis CROSS JOIN jsonb_array_elements(sis.collections) e CROSS JOIN LATERAL (
			SELECT count(*) FROM staged_users s WHERE s.connection = '$1' AND s.collection = e->>'collection') c (n)
		WHERE sis = 'infinite_campus';
		SELECT minga_roster_internal.store_collection(:run, '$1', o.collection, o.family, true, 'total', 1, o.n, o.n,
			NULL, 0, 0, false, NULL, NULL)
		FROM (SELECT 'terms', 'session', count(*) FROM staged_academic_sessions WHERE connection = '$1'
			UNION ALL SELECT 'courses', 'course', count(*) FROM staged_courses WHERE connection = '$1'
			UNION ALL SELECT 'classes', 'class', count(*) FROM staged_classes WHERE connection = '$1'
			UNION ALL SELECT 'enrollments', 'enrollment', count(*) FROM staged_enrollments WHERE connection = '$1')
			o (collection, family, n)
		WHERE (SELECT c.classes FROM connections c WHERE c.connection = '$1');
	SQL
}
merge_run="SELECT FROM minga_roster_internal.merge_run(:run)"
# A sync of the connection that stays.
sync_of() { # NAME
	cat <<-SQL
		BEGIN;
		$(run_of "$1" sync)
		$merge_run;
		SELECT FROM minga_roster_internal.close_run(:run, 'succeeded', NULL, NULL, NULL, NULL);
		COMMIT;
	SQL
}
first_sync() { value "$(sync_of "$1")" >/dev/null; }
cpu="(split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::numeric / 1000000)"
# measure STATEMENT [PREPARATION [SESSION]]: milliseconds of CPU, and KB of WAL, after the preparation; SESSION is what
# the session did before, in transactions of its own. The tables in $vacuumed are vacuumed before.
measure() {
	value "VACUUM $vacuumed;
		CHECKPOINT" >/dev/null
	value "${3:-}
		BEGIN;
		${2:-}
		CREATE TEMP TABLE t AS SELECT $cpu AS cpu, pg_current_wal_insert_lsn() AS lsn;
		$1;
		SELECT 'measured ' || round($cpu - cpu) || ' ' || round((pg_current_wal_insert_lsn() - lsn) / 1024) FROM t;
		ROLLBACK" | sed -n 's/^measured //p'
}

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
