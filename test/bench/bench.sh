#!/bin/bash
# Measures fetch, plan and apply with static pages by nginx on loopback, and prints a table with peers beside us.
# Ratios within one run count; absolute times hold for the machine alone. USERS=200000 and ROUNDS=5 unless set.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/test/environment.sh"
users=${USERS:-200000}
rounds=${ROUNDS:-5}
page_size=1000
require_packages "${postgresql_packages[@]}" libcurl4-openssl-dev libssl-dev python3-oauthlib openssl curl make gcc \
	nginx-light python3-psycopg2

work=$(mktemp -d /tmp/minga_roster_bench.XXXXXX)
cleanup() {
	status=$?
	[ ! -f "$work/nginx.pid" ] || kill "$(cat "$work/nginx.pid")" 2>/dev/null || true
	[ ! -f "$work/slow.pid" ] || kill "$(cat "$work/slow.pid")" 2>/dev/null || true
	[ ! -f "$work/data/postmaster.pid" ] || as_postgres "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop \
		>/dev/null || true
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "The bench's files are left in $work" >&2; fi
	exit $status
}
trap cleanup EXIT

# --- set up

echo "Preparing $users users (and a tenth and a half of them)"
copy_checkout "$work/src"
make -s -C "$work/src" PG_CONFIG="$pg_config" all install >/dev/null
chmod 755 "$work"
port=$((20000 + RANDOM % 10000))
{
	echo "worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.log; events {}"
	echo "http { access_log off; sendfile on; keepalive_requests 100000;"
	for size in full tenth half; do
		case $size in full) count=$users ;; tenth) count=$((users / 10)) ;; half) count=$((users / 2)) ;; esac
		/usr/bin/python3 "$work/src/test/oneroster_server.py" --people "$count" --seed 3 --schools 1 --export \
			"$work/pages_$size" --page-size $page_size >/dev/null
		echo "server { listen 127.0.0.1:$port; include $work/pages_$size/nginx.conf; }"
		eval "port_$size=$port"
		port=$((port + 1))
	done
	echo "}"
} > "$work/nginx.conf"
# Small pages that take 50 ms each
/usr/bin/python3 "$work/src/test/oneroster_server.py" --people 20000 --seed 3 --schools 1 --export "$work/pages_slow" \
	--page-size 50 >/dev/null
/usr/bin/python3 "$work/src/test/bench/slow_server.py" --dir "$work/pages_slow" --delay-ms 50 > "$work/slow.port" &
echo $! > "$work/slow.pid"
for _ in $(seq 50); do [ ! -s "$work/slow.port" ] || break; sleep 0.2; done
port_slow=$(cat "$work/slow.port")
give_to_postgres "$work"
chmod -R a+rX "$work/pages_full" "$work/pages_tenth" "$work/pages_half"
/usr/sbin/nginx -c "$work/nginx.conf" -p "$work"

make_cluster "$work/data" "$work"
as_postgres bash -c "umask 077; openssl rand -hex 32 > '$work/key'"
as_postgres tee -a "$work/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = ''
fsync = on
shared_buffers = 1GB
max_wal_size = 16GB
checkpoint_timeout = 1h
autovacuum = off
minga_roster.key_file = '$work/key'
minga_roster.insecure_loopback = on
CONF
start_cluster "$work/data"
as_postgres "$bindir/createdb" -h "$work" -U postgres bench
psql_bench() { as_postgres "$bindir/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U postgres -d bench "$@" \
	2>/dev/null; }
value() { psql_bench <<< "SET search_path = public, minga_roster, minga_roster_internal; SET jit = off; $1"; }

psql_bench -c "CREATE EXTENSION minga_roster" -c "CREATE ROLE people_owner NOLOGIN" -c \
	"CREATE UNLOGGED TABLE copied (a01 text, a02 text, a03 text, a04 text, a05 text, a06 text, a07 text, a08 text,
	a09 text, a10 text, a11 text, a12 text, a13 text, a14 text[], a15 text[], a16 text[])"
for size in full tenth half; do
	eval "server_port=\$port_$size"
	value "SELECT roster_create_people('public.people_$size', owner => 'people_owner'); SELECT roster_connect('$size',
		url => 'http://127.0.0.1:$server_port/campus/api/oneroster/v1p1/minga',
		client_id => 'i', client_secret => 's', school_id => 'CE8DF1FC-3242-4716-A5F5-5A957F86DC36',
		people => 'public.people_$size', time_zone => 'America/Denver');
		SELECT roster_configure('$size', page_size => $page_size)" >/dev/null
done

value "SELECT roster_create_people('public.people_slow', owner => 'people_owner'); SELECT roster_connect('slow',
	sis => 'oneroster_1.1', url => 'http://127.0.0.1:$port_slow', token_url => 'http://127.0.0.1:$port_slow/token',
	client_id => 'i', client_secret => 's', school_id => 'CE8DF1FC-3242-4716-A5F5-5A957F86DC36',
	people => 'public.people_slow', time_zone => 'America/Denver');
	SELECT roster_configure('slow', page_size => 50, sync_at => '00:00', window_end => '23:59');
	SELECT roster_toggle('slow', category, roster => category = 'student') FROM toggles WHERE connection = 'slow'" \
	>/dev/null

# --- measuring

milliseconds() { # COMMAND …: wall clock
	local start=$(date +%s%N)
	"$@" >/dev/null
	echo $((($(date +%s%N) - start) / 1000000))
}
median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }
repeat() { for _ in $(seq "$rounds"); do "$@"; done | median; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
run_time() { value "SELECT round(extract(epoch FROM finished_at - started_at) * 1000) FROM $1"; }

base="http://127.0.0.1:$port_full/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1"
school="$base/schools/CE8DF1FC-3242-4716-A5F5-5A957F86DC36"
for collection in students teachers administrators; do
	for file in "$work"/pages_full/${collection}_*.json; do
		offset=${file##*_}
		printf 'url = "%s/%s?limit=%s&offset=%s"\noutput = /dev/null\n' "$school" "$collection" $page_size \
			"${offset%.json}"
	done
done > "$work/curl.list"
page_bytes=$(stat -c %s "$work/pages_full/students_0.json")

fetch() { run_time "roster_fetch('full')"; }
curl_parallel() { milliseconds curl -sZ --parallel-max 4 -K "$work/curl.list" 2>/dev/null; }
copy_rows() {
	psql_bench -c "TRUNCATE copied"
	milliseconds psql_bench -c "COPY copied FROM '$work/pages_full/users.copy'"
}
python_copy() {
	psql_bench -c "TRUNCATE copied"
	milliseconds as_postgres /usr/bin/python3 "$work/src/test/bench/urllib_copy.py" "$school" \
		"host=$work user=postgres dbname=bench" copied students teachers administrators
}
recordset() {
	psql_bench -c "TRUNCATE copied"
	milliseconds psql_bench <<-SQL
		DO \$\$
		DECLARE page text;
		BEGIN
			FOR page IN SELECT f FROM pg_ls_dir('$work/pages_full') AS f
				WHERE f ~ '^(students|teachers|administrators)_' LOOP
				INSERT INTO copied SELECT u->>'sourcedId', u->>'status', u->>'dateLastModified', u->>'enabledUser',
					u->>'role', u->>'givenName', u->>'familyName', u->>'middleName',
					u->>'username', u->>'identifier', u->>'email', u->>'phone', u->>'sms',
					ARRAY(SELECT jsonb_array_elements_text(u->'grades')),
					ARRAY(SELECT o->>'sourcedId' FROM jsonb_array_elements(u->'orgs') AS o),
					ARRAY(SELECT a->>'sourcedId' FROM jsonb_array_elements(u->'agents') AS a)
				FROM jsonb_array_elements(pg_read_file('$work/pages_full/' || page)::jsonb->'users') AS u;
			END LOOP;
		END \$\$
	SQL
}
fetch_at_a_time() { # REQUESTS
	value "SELECT roster_configure('slow', max_requests => $1)" >/dev/null
	run_time "roster_fetch('slow')"
}
# Peak of the worker's private memory in KB, sampled while it fetches.
private_memory() {
	local run pid peak=0 now
	run=$(value "SELECT roster_start('$1', 'fetch')")
	pid=
	while [ -z "$pid" ]; do pid=$(value "SELECT pid FROM minga_roster.runs WHERE run = $run AND pid IS NOT NULL"); done
	while now=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -le "$peak" ] || peak=$now
	done
	echo "$peak"
}
first_sync() { # SIZE: into an empty table
	value "TRUNCATE people_$1; DELETE FROM links WHERE connection = '$1'" >/dev/null
	run_time "roster_sync('$1')"
}
# A run 0 of this kind on what is staged
run_zero() {
	echo "INSERT INTO runs (run, connection, site, kind, trigger, state, requested_by) VALUES (0, 'full', 'full',
		'$1', 'manual', 'running', current_user);
		INSERT INTO collections SELECT (jsonb_populate_record(c, '{\"run\": 0}')).* FROM collections c
		WHERE run = (SELECT max(run) FROM runs WHERE connection = 'full' AND state = 'succeeded' AND kind = 'sync');"
}
plan_unchanged() {
	value "CHECKPOINT;
		BEGIN;
		$(run_zero preview)
		CREATE TEMP TABLE t AS SELECT clock_timestamp() AS began;
		SET CONSTRAINTS ALL IMMEDIATE;
		DO 'BEGIN PERFORM minga_roster_internal.plan_run(0); END';
		SELECT round(extract(epoch FROM clock_timestamp() - began) * 1000) FROM t;
		ROLLBACK"
}
# merge STATEMENT [PREPARATION]: milliseconds, KB of WAL and rows of changes after the preparation; all of it is rolled
# back
merge() {
	value "CHECKPOINT;
		BEGIN;
		${2:-}
		$(run_zero sync)
		CREATE TEMP TABLE t AS SELECT clock_timestamp() AS began, pg_current_wal_insert_lsn() AS lsn;
		$1;
		SELECT round(extract(epoch FROM clock_timestamp() - began) * 1000) || ' ' ||
			round((pg_current_wal_insert_lsn() - lsn) / 1024) FROM t;
		ROLLBACK"
}
full_join() {
	value "CREATE TEMP TABLE t AS SELECT clock_timestamp() AS began;
		DO \$\$ BEGIN PERFORM count(*) FILTER (WHERE s.given_name IS DISTINCT FROM p.given_name
		OR s.family_name IS DISTINCT FROM p.family_name OR s.middle_name IS DISTINCT FROM p.middle_name
			OR s.email IS DISTINCT FROM p.email OR s.username IS DISTINCT FROM p.username OR
			s.identifier IS DISTINCT FROM p.identifier OR s.grade IS DISTINCT FROM p.grade OR s.phone IS DISTINCT
			FROM p.phone
			OR s.preferred_name IS DISTINCT FROM p.preferred_name)
		FROM (SELECT * FROM minga_roster.staged_users WHERE connection = 'full') AS s
		FULL JOIN (SELECT l.sourced_id, q.* FROM minga_roster.links l JOIN public.people_full q
		ON q.person_id::text = l.person_id WHERE l.connection = 'full' AND q.site = 'full')
		AS p USING (sourced_id); END \$\$;
		SELECT round(extract(epoch FROM clock_timestamp() - began) * 1000) FROM t"
}
wal_of_unchanged() {
	local before
	before=$(value "SELECT pg_current_wal_insert_lsn()")
	value "SELECT FROM roster_sync('full')" >/dev/null
	value "SELECT round((pg_current_wal_insert_lsn() - '$before'::pg_lsn) / 1024)"
}

# crowd COUNT: merge of as many rows, and as many people, of one name at one address
crowd() {
	merge "$ours" "TRUNCATE people_full; DELETE FROM links WHERE connection = 'full';
		DELETE FROM staged_users WHERE connection = 'full';
		INSERT INTO people_full (site, role, given_name, family_name, email)
		SELECT 'full', 'student', 'Sam', 'Day', 'one@mesa.example' FROM generate_series(1, $1);
		INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name,
		email)
		SELECT 'full', 's' || n, 'students', 'student', true, false, 'Sam', 'Day', 'one@mesa.example'
		FROM generate_series(1, $1) n;"
}

# The plain formulations: a table with one row for each of the roster, of the stage's columns
columns="status role given_name family_name middle_name preferred_name email username identifier grade phone"
listed() { local c out=; for c in $columns; do out+="${out:+, }${1:-}$c"; done; echo "$out"; }
assigned() { local c out=; for c in $columns; do out+="${out:+, }$c = $1$c"; done; echo "$out"; }
ours="DO 'BEGIN PERFORM minga_roster_internal.merge_run(0); END'"
merge_statement="MERGE INTO peer p USING (SELECT * FROM staged_users WHERE connection = 'full') s
	ON p.sourced_id = s.sourced_id
	WHEN MATCHED AND ($(listed p.)) IS DISTINCT FROM ($(listed s.)) THEN UPDATE SET $(assigned s.)
	WHEN NOT MATCHED THEN INSERT (sourced_id, $(listed)) VALUES (s.sourced_id, $(listed s.))"
upsert_statement="INSERT INTO peer AS p (sourced_id, $(listed)) SELECT sourced_id, $(listed) FROM staged_users
	WHERE connection = 'full'
	ON CONFLICT (sourced_id) DO UPDATE SET $(assigned excluded.) 
	WHERE ($(listed p.)) IS DISTINCT FROM ($(listed excluded.))"
changed_night="UPDATE toggles SET auto_update = true WHERE connection = 'full';
	UPDATE staged_users SET phone = '555-0100' WHERE connection = 'full' AND mod(hashtext(sourced_id), 50) = 0;"

echo "Measuring, medians of $rounds"
fetch >/dev/null
fetch_ms=$(repeat fetch)
curl_ms=$(repeat curl_parallel)
copy_ms=$(repeat copy_rows)
python_ms=$(repeat python_copy)
recordset_ms=$(repeat recordset)
one_ms=$(repeat fetch_at_a_time 1)
four_ms=$(repeat fetch_at_a_time 4)
eight_ms=$(repeat fetch_at_a_time 8)
memory_full=$(repeat private_memory full)
memory_tenth=$(repeat private_memory tenth)
first_half=$(repeat first_sync half)
first_full=$(repeat first_sync full)
# The first syncs were repeated: what they left behind is no part of a night.
value "VACUUM (FULL, ANALYZE) people_full" >/dev/null
value "VACUUM (FULL, ANALYZE) links" >/dev/null
value "SELECT FROM roster_sync('full')" >/dev/null
plan_ms=$(repeat plan_unchanged)
value "CREATE TABLE peer AS SELECT sourced_id, $(listed) FROM staged_users
	WHERE connection = 'full'; ALTER TABLE peer ADD PRIMARY KEY (sourced_id)" >/dev/null
value "VACUUM (FREEZE, ANALYZE) peer" >/dev/null
read -r ours_ms ours_kb <<< "$(repeat merge "$ours")"
read -r merge_ms merge_kb <<< "$(repeat merge "$merge_statement")"
read -r upsert_ms upsert_kb <<< "$(repeat merge "$upsert_statement")"
value "VACUUM peer" >/dev/null
read -r ours_changed_ms ours_changed_kb <<< "$(repeat merge "$ours" "$changed_night")"
read -r merge_changed_ms merge_changed_kb <<< "$(repeat merge "$merge_statement" "$changed_night")"
value "VACUUM peer" >/dev/null
read -r upsert_changed_ms upsert_changed_kb <<< "$(repeat merge "$upsert_statement" "$changed_night")"
value "VACUUM staged_users" >/dev/null
join_ms=$(repeat full_join)
read -r crowd_half_ms _ <<< "$(repeat crowd 4000)"
read -r crowd_ms _ <<< "$(repeat crowd 8000)"
value "VACUUM staged_users" >/dev/null
unchanged_ms=$(repeat run_time "roster_sync('full')")
value "CHECKPOINT" >/dev/null
wal_kb=$(repeat wal_of_unchanged)
rows=$(value "SELECT rows_staged FROM runs WHERE connection = 'full' ORDER BY run DESC LIMIT 1")

# --- the table

failed=0
line() { # WHAT MEASURED RATIO LIMIT OK
	printf '%-66s %12s %10s %12s  %s\n' "$1" "$2" "$3" "$4" "$5"
}
verdict() { if awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; then echo ok; else echo MISSED; fi; }
check() { # WHAT MEASURED RATIO LIMIT
	local ok
	ok=$(verdict "$3" "$4")
	[ $ok = ok ] || failed=1
	line "$1" "$2" "$3" "<= $4" "$ok"
}
floor_ms=$((curl_ms + copy_ms))
echo
line "$rows users in pages of $page_size" "measured" "ratio" "limit" ""
line "curl of the pages, 4 at a time, to nowhere" "$curl_ms ms" "" "" ""
line "server-side COPY of the same rows" "$copy_ms ms" "" "" ""
check "fetch into the stage, of curl + COPY" "$fetch_ms ms" "$(ratio "$fetch_ms" "$floor_ms")" 3
line "peer: python3 urllib + psycopg2 COPY" "$python_ms ms" "" "" ""
check "fetch into the stage, of that" "$fetch_ms ms" "$(ratio "$fetch_ms" "$python_ms")" 0.50
line "peer: INSERT ... SELECT from jsonb, pages already on disk" "$recordset_ms ms" \
	"$(ratio "$recordset_ms" "$fetch_ms")" "" "x of ours"
line "fetch of pages that take 50 ms each, one at a time" "$one_ms ms" "" "" ""
check "4 at a time, of that" "$four_ms ms" "$(ratio "$four_ms" "$one_ms")" 0.30
check "8 at a time, of that" "$eight_ms ms" "$(ratio "$eight_ms" "$one_ms")" 0.16
check "private memory of the worker, $users users, of 16 MB + 4 pages" "$memory_full KB" \
	"$(ratio "$memory_full" $((16384 + 4 * page_bytes / 1024)))" 1
check "private memory, $users users, of that with a tenth of them" "$memory_tenth KB" \
	"$(ratio "$memory_full" "$memory_tenth")" 1.10
line "bare FULL JOIN of stage, links and people on the same columns" "$join_ms ms" "" "" ""
check "plan of an unchanged night, of that" "$plan_ms ms" "$(ratio "$plan_ms" "$join_ms")" 2.5
check "WAL of an unchanged evening, of 2 MB" "$wal_kb KB" "$(ratio "$wal_kb" 2048)" 1
line "merge of an unchanged night: plan, guard, apply" "$ours_ms ms" "" "" "$ours_kb KB of WAL"
line "peer: MERGE, which looks for no one, holds nothing, keeps no record" "$merge_ms ms" \
	"$(ratio "$merge_ms" "$ours_ms")" "" "x of ours, $merge_kb KB of WAL"
line "peer: INSERT ... ON CONFLICT DO UPDATE ... WHERE, the same" "$upsert_ms ms" "$(ratio "$upsert_ms" "$ours_ms")" \
	"" "x of ours, $upsert_kb KB of WAL"
check "WAL of our merge of an unchanged night, of that of ON CONFLICT" "$ours_kb KB" \
	"$(ratio "$ours_kb" "$upsert_kb")" 1
line "merge of a night in which 2 % have another phone" "$ours_changed_ms ms" "" "" "$ours_changed_kb KB of WAL"
line "peer: MERGE" "$merge_changed_ms ms" "$(ratio "$merge_changed_ms" "$ours_changed_ms")" "" \
	"x of ours, $merge_changed_kb KB of WAL"
line "peer: INSERT ... ON CONFLICT" "$upsert_changed_ms ms" "$(ratio "$upsert_changed_ms" "$ours_changed_ms")" "" \
	"x of ours, $upsert_changed_kb KB of WAL"
line "merge of 4000 rows and people of one name at one address" "$crowd_half_ms ms" "" "" ""
check "of 8000, of that" "$crowd_ms ms" "$(ratio "$crowd_ms" "$crowd_half_ms")" 3
line "an unchanged evening in all" "$unchanged_ms ms" "" "" ""
line "first sync of half of the users" "$first_half ms" "" "" ""
check "first sync of all into an empty table, of that" "$first_full ms" "$(ratio "$first_full" "$first_half")" 2.5
exit $failed
