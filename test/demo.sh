#!/bin/bash
# Walks through Minga's set-up guide with real SQL on a throw-away cluster, against the test servers.
#
#   test/demo.sh            leaves cluster and servers running, says how to look around, exits non-zero if anything is
#                           not as expected
#   test/demo.sh installed  the same with the minga_roster that a package installed, without a build
#   test/demo.sh stop       stops them and removes what the demo made; installed packages stay
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
demo=/tmp/minga_roster_demo

stop_demo() {
	local pid_file pid
	[ ! -f "$demo/data/postmaster.pid" ] || as_postgres "$bindir/pg_ctl" -D "$demo/data" -m fast -w stop >/dev/null ||
		true
	for pid_file in "$demo"/*.pid; do
		[ -f "$pid_file" ] || continue
		pid=$(cat "$pid_file")
		# Only a process that is still the one that was started.
		if tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q "$demo/src/test/"; then kill "$pid"; fi
	done
	rm -rf "$demo"
}

if [ "${1:-}" = stop ]; then
	if [ -d "$demo" ]; then
		stop_demo
		echo "The demo is stopped and $demo removed. Installed packages stay."
	else
		echo "No demo is running."
	fi
	exit 0
fi

packages=(python3-aiosmtpd python3-oauthlib openssl curl)
if [ "${1:-}" = installed ]; then
	packages+=("postgresql-$major" "postgresql-$major-cron")
else
	packages+=("${postgresql_packages[@]}" libcurl4-openssl-dev libssl-dev make gcc)
fi
require_packages "${packages[@]}"
if [ -d "$demo" ]; then
	echo "Stopping the former demo in $demo"
	stop_demo
fi
mkdir -p "$demo"
trap 'echo; echo "The demo failed. Its files are in $demo (make stop-demo removes them)." >&2' ERR

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# start_server NAME LINE COMMAND …: in the background, until it has printed a line that begins with LINE to
# $demo/NAME.out
start_server() {
	local name=$1 line=$2
	shift 2
	as_postgres setsid bash -c \
		'echo $$ > "$1/$2.pid"; files=$1/$2; shift 2
		exec "$@" --no-stdin > "$files.out" 2> "$files.err" < /dev/null' \
		- "$demo" "$name" "$@" &
	for _ in $(seq 100); do
		! grep -q "^$line" "$demo/$name.out" 2>/dev/null || return 0
		sleep 0.1
	done
	cat "$demo/$name.err" >&2
	return 1
}

psql_demo() { as_postgres "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -h "$demo" -U postgres -d minga "$@"; }

# show STATEMENT: prints the statement with its answer.
show() {
	printf '\n%s\n' "$1"
	psql_demo -P pager=off <<< "SET search_path = public, minga_roster, minga_roster_internal; $1" 2>&1 |
		sed 's/^psql:<stdin>:[0-9]*: //'
}

value() { psql_demo -A -t <<< "SET search_path = public, minga_roster, minga_roster_internal; $1"; }

# expect WHAT QUERY VALUE
expect() {
	local got
	got=$(value "$2")
	if [ "$got" = "$3" ]; then
		echo "as expected: $1"
	else
		echo "NOT as expected: $1: $got instead of $3" >&2
		return 1
	fi
}

control() { curl -sS --fail "http://127.0.0.1:$control_port$1" "${@:2}"; }

# expect_plan WHAT RUN PARAMETERS: the run's changes are the plan that the test server worked out from its own data.
expect_plan() {
	local plan
	plan=$(control "/expected?$3")
	printf '%s' "$plan" > "$demo/expected.json"
	# When someone was archived is no part of the SIS's data.
	expect "$1, $(grep -o '"action"' "$demo/expected.json" | wc -l) changes as the SIS's own data have it" "
		WITH expected AS (
			SELECT action, category, array(SELECT x COLLATE \"C\" FROM unnest(sourced_ids) AS x ORDER BY 1)
			AS sourced_ids, before, after
			FROM jsonb_to_recordset(pg_read_file('$demo/expected.json')::jsonb) AS e (action text, category text,
			sourced_ids text[], before jsonb, after jsonb)
		), planned AS (
			SELECT action, category, array(SELECT x COLLATE \"C\" FROM unnest(sourced_ids) AS x ORDER BY 1)
			AS sourced_ids, before - 'archived_at', after - 'archived_at'
			FROM changes WHERE run = $2 AND state IN ('planned', 'applied')
		)
		SELECT count(*) FROM ((TABLE expected EXCEPT ALL TABLE planned)
		UNION ALL (TABLE planned EXCEPT ALL TABLE expected)) AS difference" 0
}

step "Starting a cluster, a OneRoster server and a mail server"
copy_checkout "$demo/src"
[ "${1:-}" = installed ] || make -s -C "$demo/src" PG_CONFIG="$pg_config" all install >/dev/null
give_to_postgres "$demo"
as_postgres "$demo/src/test/make_certs.sh" "$demo/certs" >/dev/null 2>&1
start_server oneroster control /usr/bin/python3 "$demo/src/test/oneroster_server.py" --people 400 --seed 11 \
	--schools 3 --certs "$demo/certs"
start_server smtp port /usr/bin/python3 "$demo/src/test/smtp_server.py" --certs "$demo/certs" --dir "$demo/mail" \
	--user minga --password 'mail password'
port=$(sed -n 's/^port //p' "$demo/oneroster.out")
control_port=$(sed -n 's/^control //p' "$demo/oneroster.out")
smtp_port=$(sed -n 's/^port //p' "$demo/smtp.out")

make_cluster "$demo/data" "$demo"
as_postgres bash -c "umask 077; openssl rand -hex 32 > '$demo/key'"
as_postgres tee -a "$demo/data/postgresql.conf" >/dev/null <<CONF
cron.database_name = 'minga'
minga_roster.key_file = '$demo/key'
minga_roster.ca_file = '$demo/certs/ca.crt'
minga_roster.smtp_url = 'smtp://localhost:$smtp_port'
minga_roster.smtp_user = 'minga'
minga_roster.smtp_from = 'roster@minga.example'
minga_roster.smtp_ca_file = '$demo/certs/ca.crt'
CONF
start_cluster "$demo/data"
as_postgres "$bindir/createdb" -h "$demo" -U postgres minga

step "Install"
show "CREATE EXTENSION pg_cron;"
show "CREATE EXTENSION minga_roster;"
show "CREATE ROLE people_owner NOLOGIN;"
show "SELECT roster_create_people('public.people', owner => 'people_owner');"

step "Connect: the URL pasted too long, with a capital letter and a space"
show "SELECT connection, base_url, token_url, app_name, unproven
FROM roster_connect('mesa-high',
    url => ' https://LocalHost:$port/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1/users?limit=100',
    client_id => 'minga-client', client_secret => 'S3cret!^*~)+&%',
    school_id => 'CE8DF1FC-3242-4716-A5F5-5A957F86DC36',
    people => 'public.people', site => 'mesa-high', district => 'mesa', time_zone => 'America/Denver');"
expect "the URL in its normal form" "SELECT base_url FROM connections" \
	"https://localhost:$port/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1"

step "Test Connection"
show "SELECT step, ok, detail FROM roster_test_connection('mesa-high');"
expect "every step ok" "SELECT bool_and(ok) FROM run_steps" t

step "Preview: what a sync would do; no one is changed"
show "SELECT action, category, count(*) FROM roster_preview('mesa-high') GROUP BY 1, 2 ORDER BY 1, 2;"
expect "no one changed" "SELECT count(*) FROM people" 0
expect_plan "the preview" "(SELECT max(run) FROM runs)" "from=none&to=0&auto_update=0&archive=0"

step "First sync: everyone is new"
show "SELECT run, state, created, updated, archived, skipped, conflicts, rejects FROM roster_sync('mesa-high');"
expect_plan "the first sync" "(SELECT max(run) FROM runs)" "from=none&to=0&auto_update=0&archive=0"
show "SELECT role, count(*), count(email) AS with_email, min(grade) AS from_grade, max(grade) AS to_grade FROM people
	GROUP BY role ORDER BY role;"
show "SELECT run, state, created, unchanged FROM roster_sync('mesa-high');"
expect "a second sync changes nothing" "SELECT count(*) FROM changes WHERE run = (SELECT max(run) FROM runs)
	AND state = 'applied'" 0

step "The first sync was checked: Auto update and Archive on"
show "SELECT * FROM roster_toggle('mesa-high', auto_update => true, archive => true);"
show "SELECT connection, sync_at, parent_contact FROM roster_configure('mesa-high', sync_at => '19:30');"

step "The SIS moves on one day"
control /day -d '{"day": 1}' >/dev/null
show "SELECT run, state, created, updated, restored, archived, held, unchanged FROM roster_sync('mesa-high');"
expect_plan "the sync of day 1" "(SELECT max(run) FROM runs)" "from=0&to=1&auto_update=1&archive=1"
show "SELECT action, category, before, after FROM changes WHERE run = (SELECT max(run) FROM runs)
	AND action = 'update' ORDER BY change LIMIT 3;"

step "Classes and contacts: on, looked at in a preview, read"
show "SELECT connection, classes, contacts, class_terms FROM roster_configure('mesa-high', classes => true,
    contacts => true);"
show "SELECT action, category, count(*) FROM roster_preview('mesa-high') GROUP BY 1, 2 ORDER BY 1, 2;"
show "SELECT object, complete, listed, added, unknown_user, not_chosen FROM run_objects
	WHERE run = (SELECT max(run) FROM runs) ORDER BY object;"
show "SELECT run, state, created, updated, unchanged FROM roster_sync('mesa-high');"
expect "each class that was announced is there" "SELECT count(*) = (SELECT listed FROM run_objects
	WHERE run = (SELECT max(run) FROM runs) AND object = 'class') FROM classes WHERE ended_at IS NULL" t
expect "nearly all enrollments resolve to people" "SELECT count(person_id) * 100 / count(*) >= 95 FROM enrollments
	WHERE ended_at IS NULL" t

step "Who is told, and Automatic Rostering on (the evening is made to begin now)"
show "SELECT roster_set_secret('smtp', 'mail password');"
show "SELECT roster_notify('mesa-high', 'it@mesa.example');"
show "SELECT connection, sync_at, window_end FROM roster_configure('mesa-high',
    sync_at => (now() AT TIME ZONE 'America/Denver' - interval '2 minutes')::time(0),
    window_end => (now() AT TIME ZONE 'America/Denver' + interval '3 hours')::time(0));"
control /day -d '{"day": 3}' >/dev/null
show "SELECT connection, automatic FROM roster_enable('mesa-high');"
show "SELECT jobname, schedule, active FROM cron.job;"

step "The SIS has moved on to day 3 (joiners, leavers, renames, new grades, leavers back)
== pg_cron starts the evening within a minute"
for _ in $(seq 90); do
	[ "$(value "SELECT count(*) FROM runs WHERE trigger = 'evening' AND state NOT IN ('queued', 'running')")" = 0 ] ||
		break
	sleep 1
done
show "SELECT run, trigger, evening, state, created, updated, restored, archived, held, unchanged FROM runs
	WHERE trigger = 'evening';"
expect "the evening succeeded, started by pg_cron" "SELECT string_agg(state, ',') FROM runs WHERE trigger = 'evening'" \
	succeeded
expect_plan "the evening" "(SELECT max(run) FROM runs)" "from=1&to=3&auto_update=1&archive=1"
expect "leavers have come back" "SELECT restored > 0 FROM runs WHERE trigger = 'evening'" t

step "The mail"
for _ in $(seq 20); do
	[ -z "$(ls "$demo"/mail/*.json 2>/dev/null)" ] || break
	sleep 0.5
done
mail=$(ls "$demo"/mail/*.eml | head -1)
/usr/bin/python3 - "$mail" <<'PYTHON'
import email, email.policy, sys
mail = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
for header in ("From", "To", "Subject"):
    print(f"{header}: {mail[header]}")
print()
print(mail.get_body(("plain",)).get_content())
PYTHON
expect "the mail is out of the outbox" "SELECT string_agg(state, ',') FROM outbox" sent
psql_demo -A -t -o "$demo/report.html" -c "SELECT minga_roster.roster_report_html(run) FROM minga_roster.runs
	WHERE trigger = 'evening'"
show "SELECT connection, state, last_state, next_evening, blocked_reason FROM roster_status;"

step "A day in the school: the class lists"
show "SELECT class, array_to_string(periods, ', ') AS period, room, array_to_string(teachers, ', ') AS teachers,
	cardinality(students) AS students, array_to_string(terms, ', ') AS terms
FROM roster_class_lists WHERE connection = 'mesa-high' ORDER BY class LIMIT 8;"
expect "each student has a homeroom and six classes" "SELECT count(*) FROM (SELECT user_id FROM roster_schedules
	WHERE role = 'student' GROUP BY user_id HAVING count(*) <> 7) AS others" 0

step "A student's day, period by period"
student=$(value "SELECT user_id FROM roster_schedules WHERE role = 'student' ORDER BY name, user_id LIMIT 1")
show "SELECT s.name, s.period, s.class, s.room, array_to_string(k.teachers, ', ') AS teachers
FROM roster_schedules s JOIN roster_class_lists k USING (connection, class_id)
WHERE s.connection = 'mesa-high' AND s.user_id = '$student' ORDER BY s.period;"
show "SELECT student, grade, homeroom, room, array_to_string(teachers, ', ') AS teachers FROM roster_homerooms
WHERE connection = 'mesa-high' AND user_id = '$student';"
show "SELECT contact, role, email, phone, is_chosen FROM roster_contacts
WHERE connection = 'mesa-high' AND student_id = '$student' ORDER BY position;"

step "Whom a teacher teaches today"
teacher=$(value "SELECT min(teacher_person_id) FROM roster_teacher_students")
show "SELECT teacher, class, count(*) AS students, min(student) AS first, max(student) AS last
FROM roster_teacher_students WHERE connection = 'mesa-high' AND teacher_person_id = '$teacher'
GROUP BY teacher, class ORDER BY class;"

step "What needs a look: students without classes, classes without a teacher"
control /faults -d "{\"objects\": {\"enrollments\": {\"remove\": $(value "SELECT jsonb_agg(sourced_id)
	FROM enrollments WHERE ended_at IS NULL AND (user_id = '$student'
	OR class_id = (SELECT min(class_id) FROM roster_teacher_students) AND role = 'teacher')")}}}" >/dev/null
show "SELECT run, state FROM roster_sync('mesa-high');"
show "SELECT object, changed, ended, held FROM run_objects WHERE run = (SELECT max(run) FROM runs)
	AND added + changed + ended + held > 0;"
show "SELECT student, grade FROM roster_students_without_classes WHERE connection = 'mesa-high';"
show "SELECT class, array_to_string(periods, ', ') AS period, room, students FROM roster_classes_without_teacher
WHERE connection = 'mesa-high';"
expect "one student and one class" "SELECT (SELECT count(*) FROM roster_students_without_classes),
	(SELECT count(*) FROM roster_classes_without_teacher)" "1|1"
show "SELECT object, change, count(*) FROM roster_diff('mesa-high', (SELECT started_at FROM runs
	WHERE run = (SELECT max(run) FROM runs)), now()) GROUP BY 1, 2;"
control /faults -d '{"reset": true}' >/dev/null

step "User lists for Minga, and birth dates"
show "SELECT run, state FROM roster_sync('mesa-high');"
show "SELECT name, cardinality(managers) AS managers, cardinality(members) AS members, terms
FROM roster_lists('mesa-high') ORDER BY name LIMIT 5;"
show "SELECT connection, birth_dates FROM roster_configure('mesa-high', birth_dates => true);"
show "SELECT run, state, updated FROM roster_sync('mesa-high');"
show "SELECT role, count(*), count(birth_date) AS with_birth_date FROM people GROUP BY role ORDER BY role;"
show "SELECT finding, value, ok FROM roster_diagnose('mesa-high')
WHERE finding ~ 'class|terms|enrollment|homeroom|birth';"

step "Everything was as expected"
cat <<END
The HTML report:  $demo/report.html
Look around:      runuser -u postgres -- $bindir/psql -h $demo -U postgres -d minga
                  (SET search_path = public, minga_roster, minga_roster_internal;)
Stop it:          make stop-demo
END
