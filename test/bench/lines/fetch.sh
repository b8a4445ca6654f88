# Lines of the fetch: static pages by nginx on loopback into the stage, and an evening as a whole.

page_size=1000
port=$((20000 + RANDOM % 10000))
export_users full "$users" $page_size
export_users tenth $((users / 10)) $page_size
export_users fivefold $((users * 5)) $page_size
find "$work/pages_full" -name '*.json' -exec gzip -6 -k {} +
chmod -R a+rX "$work/pages_full"
# Small pages that take 50 ms each
export_users slow $((users / 10)) 50
# server PORT NAME [FILTER]: the pages of an export, by its locations as the filter leaves them
server() {
	echo "server { listen 127.0.0.1:$1;"
	"${@:3}" "$work/pages_$2/nginx.conf"
	echo "}"
}
{
	echo "worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.log; events {}"
	echo "http { access_log off; sendfile on; keepalive_requests 100000;"
	for temporary in client_body proxy fastcgi uwsgi scgi; do
		echo "${temporary}_temp_path $work/nginx_$temporary;"
	done
	server "$port" full cat
	server $((port + 1)) tenth cat
	server $((port + 2)) full sed '/X-Total-Count/d'
	server $((port + 3)) full sed '/X-Total-Count/d; 1i gzip_static on;'
	server $((port + 4)) fivefold sed '/X-Total-Count/d'
	echo "}"
} > "$work/nginx.conf"
/usr/sbin/nginx -e "$work/nginx.log" -c "$work/nginx.conf" -p "$work"
/usr/bin/python3 "$work/src/test/bench/slow_server.py" --dir "$work/pages_slow" --delay-ms 50 > "$work/slow.port" &
echo $! > "$work/slow.pid"
for _ in $(seq 50); do [ ! -s "$work/slow.port" ] || break; sleep 0.2; done
slow="http://127.0.0.1:$(cat "$work/slow.port")"

connect() { # NAME URL [ARGUMENTS OF roster_connect]
	value "SELECT roster_create_people('public.people_$1', owner => 'people_owner');
		SELECT roster_connect('$1', url => '$2', client_id => 'i', client_secret => 's', school_id => '$school_id',
			people => 'public.people_$1', time_zone => 'America/Denver'${3:-})" >/dev/null
}
number=0
for name in with_total tenth without_total gzip fivefold; do
	connect $name "http://127.0.0.1:$((port + number))/campus/api/oneroster/v1p1/minga"
	value "SELECT roster_configure('$name', page_size => $page_size)" >/dev/null
	number=$((number + 1))
done
connect slow "$slow" ", sis => 'oneroster_1.1', token_url => '$slow/token'"
value "SELECT roster_configure('slow', page_size => 50, sync_at => '00:00', window_end => '23:59');
	SELECT roster_toggle('slow', category, roster => category = 'student') FROM toggles WHERE connection = 'slow';
	CREATE UNLOGGED TABLE copied ($columns_of_copy)" >/dev/null

# The address of the school's lists at a port
school_at() { echo "http://127.0.0.1:$1/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1/schools/$school_id"; }
for number in 2 3; do
	for collection in students teachers administrators; do
		for file in "$work"/pages_full/${collection}_*.json; do
			offset=${file##*_}
			printf 'url = "%s/%s?limit=%s&offset=%s"\noutput = /dev/null\n' "$(school_at $((port + number)))" \
				"$collection" $page_size "${offset%.json}"
		done
	done > "$work/curl_$number.list"
done
page_bytes=$(stat -c %s "$work/pages_full/students_0.json")

fetch() { run_time "roster_fetch('$1')"; }
curl_parallel() { milliseconds curl -sZ --compressed --parallel-max 4 -K "$work/curl_$1.list" 2>/dev/null; }
copy_rows() {
	psql_bench -c "TRUNCATE copied"
	milliseconds psql_bench -c "COPY copied FROM '$work/pages_full/users.copy'"
}
python_copy() {
	psql_bench -c "TRUNCATE copied"
	milliseconds as_postgres /usr/bin/python3 "$work/src/test/bench/urllib_copy.py" "$(school_at "$port")" \
		"host=$work user=postgres dbname=bench" copied students teachers administrators
}
recordset() {
	psql_bench -c "TRUNCATE copied"
	milliseconds psql_bench <<-SQL
		DO \$\$
		DECLARE page text;
		BEGIN
			FOR page IN SELECT f FROM pg_ls_dir('$work/pages_full') AS f
				WHERE f ~ '^(students|teachers|administrators)_.*json$' LOOP
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
wal_of_unchanged() {
	local before
	before=$(value "SELECT pg_current_wal_insert_lsn()")
	value "SELECT FROM roster_sync('with_total')" >/dev/null
	value "SELECT round((pg_current_wal_insert_lsn() - '$before'::pg_lsn) / 1024)"
}

for name in with_total without_total gzip; do fetch $name >/dev/null; done
curl_ms=$(repeat curl_parallel 2)
inflated_ms=$(repeat curl_parallel 3)
copy_ms=$(repeat copy_rows)
fetch_ms=$(repeat fetch without_total)
total_ms=$(repeat fetch with_total)
gzip_ms=$(repeat fetch gzip)
line "$users users in pages of $page_size: curl, 4 at a time, to nowhere" "$curl_ms ms"
line "the same, compressed with gzip" "$inflated_ms ms"
line "server-side COPY of the same rows" "$copy_ms ms"
check "fetch into the stage, of curl + COPY" "$fetch_ms ms" "$(ratio "$fetch_ms" $((curl_ms + copy_ms)))" 1.3
check "fetch with X-Total-Count, of curl + COPY" "$total_ms ms" "$(ratio "$total_ms" $((curl_ms + copy_ms)))" 1.3
check "fetch with gzip, of curl with gzip + COPY" "$gzip_ms ms" "$(ratio "$gzip_ms" $((inflated_ms + copy_ms)))" 1.3
python_ms=$(repeat python_copy)
line "peer: python3 urllib + psycopg2 COPY" "$python_ms ms"
check "fetch into the stage, of that" "$fetch_ms ms" "$(ratio "$fetch_ms" "$python_ms")" 0.50
recordset_ms=$(repeat recordset)
line "peer: INSERT ... SELECT from jsonb, pages already on disk" "$recordset_ms ms" \
	"$(ratio "$recordset_ms" "$fetch_ms")" "" "x of ours"
one_ms=$(repeat fetch_at_a_time 1)
line "fetch of pages that take 50 ms each, one at a time" "$one_ms ms"
four_ms=$(repeat fetch_at_a_time 4)
check "4 at a time, of that" "$four_ms ms" "$(ratio "$four_ms" "$one_ms")" 0.30
eight_ms=$(repeat fetch_at_a_time 8)
check "8 at a time, of that" "$eight_ms ms" "$(ratio "$eight_ms" "$one_ms")" 0.16
memory_full=$(repeat_for_peak private_memory with_total)
check "private memory of the worker, $users users, of 16 MB + 4 pages" "$memory_full KB" \
	"$(ratio "$memory_full" $((16384 + 4 * page_bytes / 1024)))" 1
memory_tenth=$(repeat_for_peak private_memory tenth)
check "private memory, $users users, of that with a tenth of them" "$memory_tenth KB" \
	"$(ratio "$memory_full" "$memory_tenth")" 1.30
fivefold_ms=$(fetch fivefold)
check "fetch of $((users * 5)) users, of 5 times that of $users" "$fivefold_ms ms" \
	"$(ratio "$fivefold_ms" $((5 * fetch_ms)))" 1.5
memory_fivefold=$(private_memory fivefold)
check "its private memory, of that with $users users" "$memory_fivefold KB" \
	"$(ratio "$memory_fivefold" "$memory_full")" 1.20
check "its private memory, of 16 MB + 4 pages" "$memory_fivefold KB" \
	"$(ratio "$memory_fivefold" $((16384 + 4 * page_bytes / 1024)))" 1
value "SELECT FROM roster_sync('with_total')" >/dev/null
unchanged_ms=$(repeat run_time "roster_sync('with_total')")
line "an unchanged evening in all" "$unchanged_ms ms"
value "CHECKPOINT" >/dev/null
wal_kb=$(repeat wal_of_unchanged)
check "its WAL, of 2 MB" "$wal_kb KB" "$(ratio "$wal_kb" 2048)" 1
