# Lines of classes and enrollments: what they add to the fetch and to the merge of one large school, and to the
# evening of a small one, and what a former roster costs. Six enrollments for each student, and a class for each five
# students. CPU times of the one worker or backend that works.

class_pages_of() { # EXPORT: adds these lists to the pages of an export; prints the number of their rows
	[ -f "$work/pages_$1/class_rows" ] || /usr/bin/python3 "$work/src/test/bench/class_pages.py" \
		--dir "$work/pages_$1" --school-id $school_id > "$work/pages_$1/class_rows"
	chmod -R a+rX "$work/pages_$1"
	cat "$work/pages_$1/class_rows"
}
# Of 20 users of an export 17 are students: as many students as USERS says.
users_of_classes=$((users * 20 / 17))
export_users of_classes $users_of_classes
export_users of_fewer_classes $((users_of_classes / 5))
export_users of_school_1200 1200
export_users of_no_classes 200
class_rows=$(class_pages_of of_classes)
fewer_class_rows=$(class_pages_of of_fewer_classes)
class_pages_of of_school_1200 >/dev/null
port_of_classes=$((20000 + RANDOM % 10000))
{
	echo "worker_processes 1; pid $work/nginx_classes.pid; error_log $work/nginx_classes.log; events {}"
	echo "http { access_log off; sendfile on; keepalive_requests 100000;"
	for temporary in client_body proxy fastcgi uwsgi scgi; do
		echo "${temporary}_temp_path $work/nginx_classes_$temporary;"
	done
	echo "server { listen 127.0.0.1:$port_of_classes; include $work/pages_of_classes/nginx.conf; }"
	echo "server { listen 127.0.0.1:$((port_of_classes + 1)); include $work/pages_of_fewer_classes/nginx.conf; }"
	echo "server { listen 127.0.0.1:$((port_of_classes + 2)); include $work/pages_of_school_1200/nginx.conf; }"
	echo "}"
} > "$work/nginx_classes.conf"
/usr/sbin/nginx -e "$work/nginx_classes.log" -c "$work/nginx_classes.conf" -p "$work"
url_of_classes() { echo "http://127.0.0.1:$((port_of_classes + $1))/campus/api/oneroster/v1p1/minga"; }

# --- the fetch

for name in plain lists fewer_lists; do
	server=0
	[ $name != fewer_lists ] || server=1
	value "SELECT roster_create_people('public.people_$name', owner => 'people_owner');
		SELECT roster_connect('$name', url => '$(url_of_classes $server)', client_id => 'i', client_secret => 's',
			school_id => '$school_id', people => 'public.people_$name', time_zone => 'America/Denver');
		SELECT roster_configure('$name', page_size => 1000)" >/dev/null
done
value "SELECT roster_configure(c, classes => true) FROM unnest('{lists,fewer_lists}'::text[]) c" >/dev/null
# CPU time of the worker that fetches, in milliseconds: what is read of it last before it ends.
fetch_of() { # NAME
	local pid now last=0
	pid=$(worker_of_fetch "$1")
	while { read -r now _ < "/proc/$pid/schedstat"; } 2>/dev/null; do
		last=$now
		sleep 0.005
	done
	echo $((last / 1000000))
}
fetch_of plain >/dev/null
fetch_of lists >/dev/null
plain_fetch_ms=$(repeat fetch_of plain)
class_fetch_ms=$(repeat fetch_of lists)
page_of_classes=$(stat -c %s "$work/pages_of_classes/classes_0.json")
line "fetch of $users_of_classes users, $users of them students" "$plain_fetch_ms ms"
line "... with terms, courses, classes and enrollments: $class_rows rows" "$class_fetch_ms ms"
check "what these rows add, for each row, of a user's" "" \
	"$(awk -v a="$((class_fetch_ms - plain_fetch_ms))" -v rows="$class_rows" -v b="$plain_fetch_ms" \
		-v users="$users_of_classes" 'BEGIN { printf "%.2f", (a / rows) / ((b > 0 ? b : 1) / users) }')" 1.5
memory_of_lists=$(repeat_for_peak private_memory lists)
memory_of_fewer=$(repeat_for_peak private_memory fewer_lists)
check "private memory of the worker, of 24 MB + 4 pages" "$memory_of_lists KB" \
	"$(ratio "$memory_of_lists" $((24576 + 4 * page_of_classes / 1024)))" 1
check "... of that with a fifth of the school" "$memory_of_fewer KB" \
	"$(ratio "$memory_of_lists" "$memory_of_fewer")" 1.3

# --- the merge

vacuumed="minga_roster.links, minga_roster.changes, minga_roster.enrollment_rows, minga_roster.classes,
	minga_roster.user_rows, minga_roster.courses, minga_roster.academic_sessions, minga_roster.staged_enrollments"
stage_school() { # NAME EXPORT: a connection with these people in their table, and all lists in its stage
	stage_users "$1" "$2"
	first_sync "$1"
	value "SELECT roster_configure('$1', classes => true);
		SELECT minga_roster_internal.make_partitions('$1');
		CREATE TEMP TABLE t (LIKE staged_academic_sessions);
		CREATE TEMP TABLE c (LIKE staged_courses);
		CREATE TEMP TABLE k (LIKE staged_classes);
		CREATE TEMP TABLE e (LIKE staged_enrollments);
		ALTER TABLE t ALTER connection SET DEFAULT '$1', ALTER collection SET DEFAULT 'terms',
			ALTER elsewhere SET DEFAULT false, ALTER damaged SET DEFAULT false;
		ALTER TABLE c ALTER connection SET DEFAULT '$1', ALTER collection SET DEFAULT 'courses',
			ALTER elsewhere SET DEFAULT false, ALTER damaged SET DEFAULT false;
		ALTER TABLE k ALTER connection SET DEFAULT '$1', ALTER collection SET DEFAULT 'classes',
			ALTER elsewhere SET DEFAULT false, ALTER damaged SET DEFAULT false;
		ALTER TABLE e ALTER connection SET DEFAULT '$1', ALTER collection SET DEFAULT 'enrollments',
			ALTER elsewhere SET DEFAULT false, ALTER damaged SET DEFAULT false;
		COPY t (sourced_id, title, type, start_date, end_date, school_year) FROM '$work/pages_$2/terms.copy';
		COPY c (sourced_id, title, course_code, grades, subjects) FROM '$work/pages_$2/courses.copy';
		COPY k (sourced_id, title, class_code, class_type, location, grades, subjects, periods, course_id, school_id,
			term_ids) FROM '$work/pages_$2/classes.copy';
		COPY e (sourced_id, user_id, class_id, school_id, role, is_primary) FROM '$work/pages_$2/enrollments.copy';
		INSERT INTO staged_academic_sessions SELECT * FROM t;
		INSERT INTO staged_courses SELECT * FROM c;
		INSERT INTO staged_classes SELECT * FROM k;
		INSERT INTO staged_enrollments SELECT * FROM e" >/dev/null
}
stage_users of_no_classes
stage_school many_classes of_classes
stage_school fewer_classes of_fewer_classes
stage_school skewed of_fewer_classes
merge_classes() { # NAME [PREPARATION]
	measure "$merge_run" "${2:-} $(run_of "$1" sync)" "$(sync_of of_no_classes)"
}
without="UPDATE connections SET classes = false;"
# The statement that compares the same columns of the same rows, and does nothing about it.
differ_in() { local c out=; for c in "$@"; do out+="${out:+ OR }s.$c IS DISTINCT FROM p.$c"; done; echo "$out"; }
join_of() { # STAGE TABLE COLUMN …
	echo "SELECT count(*) FILTER (WHERE $(differ_in "${@:3}")) FROM
		(SELECT * FROM $1 WHERE connection = 'many_classes') s
		FULL JOIN (SELECT * FROM $2 WHERE connection = 'many_classes') p USING (sourced_id);"
}
joins="SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL work_mem = '64MB';
	$(join_of staged_academic_sessions academic_sessions title type start_date end_date school_year parent_id)
	$(join_of staged_courses courses title course_code grades subjects)
	$(join_of staged_classes classes title class_code class_type location grades subjects periods course_id term_ids)
	$(join_of staged_enrollments enrollment_rows user_id class_id role is_primary begin_date end_date)
	$(join_of staged_users user_rows role status enabled given_name family_name middle_name preferred_name username \
		identifier email phone grade)
	SELECT 1"
read -r people_ms _ <<< "$(repeat merge_classes many_classes "$without")"
read -r fewer_people_ms _ <<< "$(repeat merge_classes fewer_classes "$without")"
read -r with_first_ms first_classes_kb <<< "$(repeat merge_classes many_classes)"
read -r fewer_first_ms _ <<< "$(repeat merge_classes fewer_classes)"
first_sync many_classes
first_sync fewer_classes
value "ANALYZE enrollment_rows; ANALYZE classes; ANALYZE user_rows" >/dev/null
read -r with_ms classes_kb <<< "$(repeat merge_classes many_classes)"
read -r joins_ms _ <<< "$(repeat measure "$joins")"
first_added=$((with_first_ms - people_ms))
line "first load of $class_rows rows of classes, fetch and people taken off" "$first_added ms" "" "" \
	"$first_classes_kb KB of WAL"
check "... of that of a fifth ($((fewer_first_ms - fewer_people_ms)) ms)" "" \
	"$(ratio "$first_added" $((fewer_first_ms - fewer_people_ms)))" 6
line "what they add to the merge of an unchanged night ($people_ms ms)" "$((with_ms - people_ms)) ms" "" "" \
	"$classes_kb KB of WAL in all"
check "... of bare FULL JOINs that compare the same columns ($joins_ms ms)" "" \
	"$(ratio $((with_ms - people_ms)) "$joins_ms")" 2

# --- lists that are not as usual

# What they cost is measured of the whole first load, with people; the same rows as usual are beside.
skewed_by() { # WHAT CHANGE: the change to the stage, for a first load, and what earlier calls changed
	value "UPDATE staged_enrollments SET $2 WHERE connection = 'skewed'" >/dev/null
	read -r skewed_ms _ <<< "$(repeat merge_classes skewed)"
	check "first load of a fifth, $1" "$skewed_ms ms" "$(ratio "$skewed_ms" "$fewer_first_ms")" 1.3
}
some_user="(SELECT min(sourced_id) FROM staged_users WHERE connection = 'skewed' AND role = 'student')"
skewed_by "2,000 enrollments of one user" \
	"user_id = CASE WHEN sourced_id <= '10002000' THEN $some_user ELSE user_id END"
skewed_by "all enrollments in one class" "class_id = 'K000000'"
skewed_by "all enrollments without a class" "class_id = NULL"

# --- former rosters

# A night on which each hundredth enrollment moves to another class, and then the roster before it.
as_copy() { # STATEMENT: milliseconds for its rows in a table of their own
	measure "CREATE TEMP TABLE copied AS $1"
}
before=$(value "SELECT clock_timestamp()")
value "UPDATE staged_enrollments SET class_id = 'K000000' WHERE connection = 'many_classes' AND sourced_id LIKE '%07'" \
	>/dev/null
first_sync many_classes
read -r enrollments_ms _ <<< "$(repeat as_copy "SELECT e.*, k.title, l.person_id FROM enrollment_rows e
	LEFT JOIN classes k ON k.connection = e.connection AND k.sourced_id = e.class_id
	LEFT JOIN links l ON l.connection = e.connection AND l.sourced_id = e.user_id
	WHERE e.connection = 'many_classes'")"
read -r then_ms _ <<< "$(repeat as_copy "SELECT * FROM roster_enrollments_as_of('many_classes', '$before')")"
read -r difference_ms _ <<< "$(repeat as_copy "SELECT * FROM roster_diff('many_classes', '$before', now())")"
line "enrollments of now, with class and person, into a table" "$enrollments_ms ms"
check "roster_enrollments_as_of, of that" "$then_ms ms" "$(ratio "$then_ms" "$enrollments_ms")" 2
check "roster_diff after a hundredth moved, of the bare FULL JOINs" "$difference_ms ms" \
	"$(ratio "$difference_ms" "$joins_ms")" 1.5

# --- a school of 1,200

evening_of_1200() { # DATABASE [ARGUMENT …]: ms of CPU of an unchanged evening of a school
	as_postgres "$bindir/createdb" -h "$work" -U postgres "$1"
	as_postgres "$bindir/psql" -X -q -h "$work" -U postgres -d "$1" -c "CREATE EXTENSION minga_roster" \
		-c "SELECT FROM minga_roster.roster_create_people('public.people', owner => 'people_owner')" >/dev/null
	/usr/bin/python3 "$work/src/test/bench/small_schools.py" --database "host=$work user=postgres dbname=$1" \
		--url "$(url_of_classes 2)" --school-id "$school_id" --schools "$([ -n "$small" ] && echo 2 || echo 20)" \
		--nights 3 --evenings-only "${@:2}" | sed -n 's/^night_3_cpu_ms //p'
}
evening_ms=$(evening_of_1200 evenings_without)
evening_with_ms=$(evening_of_1200 evenings_with --classes)
line "unchanged evening of a school of 1,200: ms of CPU" "$evening_ms ms"
check "with classes, of that without" "$evening_with_ms ms" "$(ratio "$evening_with_ms" "$evening_ms")" 1.5
