# Lines of the merge: plan, guard and apply of one large school whose stage is filled without a network, beside the
# plain statements that do no more than they must. CPU times of the one backend that works; each measured statement is
# rolled back. A worker makes its temporary tables and plans once for all the runs that it merges; so each session here
# merges a first load of a small school and a night with changes before, and what that saves has a line of its own.

export_users full "$users"
export_users fifth $((users / 5))
export_users small 200
vacuumed="people_full, people_fifth, minga_roster.links, minga_roster.changes, minga_roster.staged_users"
stage_users full
stage_users fifth
stage_users small

runs_before="TRUNCATE people_small; DELETE FROM links WHERE connection = 'small'; $(sync_of small)
	UPDATE toggles SET auto_update = true WHERE connection = 'small';
	UPDATE staged_users SET phone = to_char(clock_timestamp(), 'US') WHERE connection = 'small'
		AND mod(hashtext(sourced_id), 10) = 0; $(sync_of small)"
merge() { # NAME KIND [PREPARATION]
	measure "$merge_run" "${3:-} $(run_of "$1" "$2")" "$runs_before"
}
merge_in_new_session() { # NAME KIND
	measure "$merge_run" "$(run_of "$1" "$2")"
}
# Peak of the private memory of the backend in KB, sampled while it merges a first sync.
memory_of_first() {
	local pid= peak=0 now
	value "SET application_name = 'bench merge'; $runs_before BEGIN; $(run_of full sync) $merge_run; ROLLBACK" \
		>/dev/null &
	while [ -z "$pid" ]; do pid=$(value "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench merge'"); done
	while now=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -le "$peak" ] || peak=$now
		sleep 0.02
	done
	wait $!
	echo "$peak"
}
values="given_name family_name middle_name preferred_name email username identifier grade phone"
listed() { local c out=; for c in $values; do out+="${out:+, }${1:-}$c"; done; echo "$out"; }
assigned() { local c out=; for c in $values; do out+="${out:+, }$c = $1$c"; done; echo "$out"; }
differ() { local c out=; for c in $values; do out+="${out:+ OR }s.$c IS DISTINCT FROM p.$c"; done; echo "$out"; }
stage="(SELECT * FROM staged_users WHERE connection = 'full') s"
linked="(SELECT l.sourced_id, q.* FROM links l JOIN people_full q ON q.person_id::text = l.person_id
	WHERE l.connection = 'full' AND q.site = 'full') p"

# --- the first sync

first_sync small
read -r first_ms first_kb <<< "$(repeat merge full sync)"
read -r first_fifth_ms _ <<< "$(repeat merge fifth sync)"
memory_kb=$(repeat_for_peak memory_of_first)
# A hundred rows whose phone the relation refuses
read -r offenders_ms _ <<< "$(repeat merge full sync "ALTER TABLE people_full ADD CHECK (phone <> 'refused');
	UPDATE staged_users s SET phone = 'refused' WHERE connection = 'full' AND sourced_id IN (
		SELECT sourced_id FROM staged_users WHERE connection = 'full' ORDER BY hashtext(sourced_id) LIMIT 100);")"
first_sync full
# The same people, links and changes by plain INSERTs; then they are there as if they had come by them.
value "CREATE TABLE first_people AS SELECT * FROM people_full;
	CREATE TABLE first_links AS SELECT * FROM links WHERE site = 'full';
	CREATE TABLE first_changes AS SELECT * FROM changes WHERE site = 'full';
	TRUNCATE people_full; DELETE FROM links WHERE site = 'full'; DELETE FROM changes WHERE site = 'full'" >/dev/null
plain_inserts="INSERT INTO people_full SELECT * FROM first_people; INSERT INTO links SELECT * FROM first_links;
	INSERT INTO changes SELECT * FROM first_changes"
read -r plain_ms plain_kb <<< "$(repeat measure "$plain_inserts")"
value "$plain_inserts" >/dev/null
first_sync fifth
# As a fetch stages the users of a school that has links.
value "UPDATE staged_users SET outcome = 'unchanged'" >/dev/null
value "VACUUM ANALYZE staged_users; ANALYZE people_full; ANALYZE people_fifth; ANALYZE links" >/dev/null

line "first sync of $users users, fetch taken off" "$first_ms ms" "" "" "$first_kb KB of WAL"
check "... of plain INSERTs of the people, links and changes ($plain_ms ms)" "" "$(ratio "$first_ms" "$plain_ms")" 2
check "... its WAL, of that of these INSERTs ($plain_kb KB)" "" "$(ratio "$first_kb" "$plain_kb")" 2
check "... its private memory, of 96 MB" "$memory_kb KB" "$(ratio "$memory_kb" 98304)" 1
check "... of a fifth of the users ($first_fifth_ms ms)" "" "$(ratio "$first_ms" "$first_fifth_ms")" 6
check "... with 100 rows that the relation refuses, of that without" "$offenders_ms ms" \
	"$(ratio "$offenders_ms" "$first_ms")" 2

# --- the nights after it

full_join="SELECT count(*) FILTER (WHERE $(differ)) FROM $stage FULL JOIN $linked USING (sourced_id)"
update="UPDATE people_full q SET $(assigned d.) FROM (
	SELECT p.person_id, $(listed s.) FROM $stage FULL JOIN $linked USING (sourced_id) WHERE $(differ)) d
	WHERE q.site = 'full' AND q.person_id = d.person_id"
changed="UPDATE toggles SET auto_update = true WHERE connection = 'full';
	UPDATE staged_users SET phone = '555-0100' WHERE connection = 'full' AND mod(hashtext(sourced_id), 50) = 0;"
read -r join_ms _ <<< "$(repeat measure "$full_join")"
read -r unchanged_ms unchanged_kb <<< "$(repeat merge full sync)"
read -r unchanged_fifth_ms _ <<< "$(repeat merge fifth sync)"
read -r new_session_ms _ <<< "$(repeat merge_in_new_session fifth sync)"
read -r update_ms _ <<< "$(repeat measure "$update" "$changed")"
read -r changed_ms changed_kb <<< "$(repeat merge full sync "$changed")"
line "merge of an unchanged night" "$unchanged_ms ms" "" "" "$unchanged_kb KB of WAL"
check "... of a bare FULL JOIN that compares the same columns ($join_ms ms)" "" \
	"$(ratio "$unchanged_ms" "$join_ms")" 1.6
check "... of that of a fifth of the users ($unchanged_fifth_ms ms)" "" \
	"$(ratio "$unchanged_ms" "$unchanged_fifth_ms")" 6
line "... of a fifth of the users, as the first of its session" "$new_session_ms ms" "" "" \
	"$((new_session_ms - unchanged_fifth_ms)) ms for temporary tables and plans"
line "merge of a night in which 2 % have another phone" "$changed_ms ms" "" "" "$changed_kb KB of WAL"
check "... of that join and an UPDATE of these people ($update_ms ms)" "" "$(ratio "$changed_ms" "$update_ms")" 2

# --- peers: a table with one row for each of the roster, which look for no one, hold nothing and keep no record

value "CREATE TABLE peer AS SELECT sourced_id, $(listed) FROM staged_users WHERE connection = 'full';
	ALTER TABLE peer ADD PRIMARY KEY (sourced_id)" >/dev/null
value "VACUUM (FREEZE, ANALYZE) peer" >/dev/null
merge_statement="MERGE INTO peer p USING $stage ON p.sourced_id = s.sourced_id
	WHEN MATCHED AND ($(listed p.)) IS DISTINCT FROM ($(listed s.)) THEN UPDATE SET $(assigned s.)
	WHEN NOT MATCHED THEN INSERT (sourced_id, $(listed)) VALUES (s.sourced_id, $(listed s.))"
upsert_statement="INSERT INTO peer AS p (sourced_id, $(listed)) SELECT sourced_id, $(listed) FROM $stage
	ON CONFLICT (sourced_id) DO UPDATE SET $(assigned excluded.)
	WHERE ($(listed p.)) IS DISTINCT FROM ($(listed excluded.))"
peer() { # NAME STATEMENT
	local ms kb
	read -r ms kb <<< "$(repeat measure "$2")"
	line "peer: $1, an unchanged night" "$ms ms" "$(ratio "$ms" "$unchanged_ms")" "" "x of ours, $kb KB of WAL"
	peer_kb=$kb
	read -r ms kb <<< "$(repeat measure "$2" "$changed")"
	line "peer: $1, the 2 %" "$ms ms" "$(ratio "$ms" "$changed_ms")" "" "x of ours, $kb KB of WAL"
}
peer "MERGE" "$merge_statement"
peer "INSERT ... ON CONFLICT DO UPDATE ... WHERE" "$upsert_statement"
check "WAL of our merge of an unchanged night, of that of ON CONFLICT" "$unchanged_kb KB" \
	"$(ratio "$unchanged_kb" "$peer_kb")" 1

# --- many of one name at one address

crowd() { # COUNT
	merge fifth sync "TRUNCATE people_fifth; DELETE FROM links WHERE connection = 'fifth';
		DELETE FROM staged_users WHERE connection = 'fifth';
		INSERT INTO people_fifth (site, role, given_name, family_name, email)
		SELECT 'fifth', 'student', 'Sam', 'Day', 'one@mesa.example' FROM generate_series(1, $1);
		INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name,
			email, outcome)
		SELECT 'fifth', 's' || n, 'students', 'student', true, false, 'Sam', 'Day', 'one@mesa.example', 'unchanged'
		FROM generate_series(1, $1) n;"
}
crowd_size=$((users / 25))
read -r crowd_half_ms _ <<< "$(repeat crowd $((crowd_size / 2)))"
read -r crowd_ms _ <<< "$(repeat crowd $crowd_size)"
check "merge of $crowd_size rows and people of one name, of half of them ($crowd_half_ms ms)" "$crowd_ms ms" \
	"$(ratio "$crowd_ms" "$crowd_half_ms")" 3
