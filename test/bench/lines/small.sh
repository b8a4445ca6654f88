# Lines of many small schools: first loads and unchanged evenings of schools of 300 and 1,200 people by two workers, a
# minute in which nothing is due, what a DBA looks at. CPU time; the limits are absolute, so they need a machine that is
# quiet. SCHOOLS="10 100 500 2000" and NIGHTS=3 unless set.

schools=${SCHOOLS:-$([ -n "$small" ] && echo "2 4" || echo "10 100 500 2000")}
nights=${NIGHTS:-$([ -n "$small" ] && echo 2 || echo 3)}
most=${schools##* }
port_of_small=$((20000 + RANDOM % 10000))
export_users small_300 300
export_users small_1200 1200
{
	echo "worker_processes 1; pid $work/nginx_small.pid; error_log $work/nginx_small.log; events {}"
	echo "http { access_log off; sendfile on; keepalive_requests 100000;"
	for temporary in client_body proxy fastcgi uwsgi scgi; do
		echo "${temporary}_temp_path $work/nginx_small_$temporary;"
	done
	echo "server { listen 127.0.0.1:$port_of_small; include $work/pages_small_300/nginx.conf; }"
	echo "server { listen 127.0.0.1:$((port_of_small + 1)); include $work/pages_small_1200/nginx.conf; }"
	echo "}"
} > "$work/nginx_small.conf"
/usr/sbin/nginx -e "$work/nginx_small.log" -c "$work/nginx_small.conf" -p "$work"
as_postgres "$bindir/createdb" -h "$work" -U postgres small_schools
as_postgres "$bindir/psql" -X -q -h "$work" -U postgres -d small_schools -c "CREATE EXTENSION minga_roster" \
	-c "SELECT FROM minga_roster.roster_create_people('public.people', owner => 'people_owner')" >/dev/null
url_of_small() { echo "http://127.0.0.1:$1/campus/api/oneroster/v1p1/minga"; }
declare -A figure=()
while read -r name number; do figure[$name]=$number; done < <(/usr/bin/python3 \
	"$work/src/test/bench/small_schools.py" --database "host=$work user=postgres dbname=small_schools" \
	--url "$(url_of_small "$port_of_small")" "$(url_of_small $((port_of_small + 1)))" --school-id "$school_id" \
	--schools $schools --nights "$nights" --days "$([ -n "$small" ] && echo 3 || echo 400)")
[ -n "${figure[status_owner_ms]:-}" ] || { echo "The schools could not be measured." >&2; exit 1; }
limit_of() { # WHAT NAME LIMIT UNIT: the figure itself, with its limit
	check "$1" "${figure[$2]} $4" "${figure[$2]}" "$3"
}
for count in $schools; do
	limit_of "first load of a school, of $count: ms of CPU" "first_${count}_cpu_ms" 100 ms
	limit_of "unchanged evening of a school, of $count: ms of CPU" "unchanged_${count}_cpu_ms" 40 ms
	limit_of "... its commits" "unchanged_${count}_commits" 8 ""
	limit_of "... its WAL in KB" "unchanged_${count}_wal_kb" 40 KB
done
limit_of "roster_run_due with nothing due, $most connections: ms of CPU" due_cpu_ms 50 ms
limit_of "roster_status of $most connections: ms of CPU" status_all_ms 50 ms
limit_of "... of one of them" status_one_ms 10 ms
limit_of "... of the owner of one site" status_owner_ms 10 ms
limit_of "roster_health with $most connections: ms of CPU" health_ms 1000 ms
limit_of "roster_metrics with $most connections: ms of CPU" metrics_ms 1000 ms
check "catalog after $nights nights of $most schools, of that after the first" \
	"${figure[night_${nights}_catalog_kb]} KB" \
	"$(ratio "${figure[night_${nights}_catalog_kb]}" "${figure[night_1_catalog_kb]}")" 1.1
check "WAL of the last of these nights, of that of the first" "${figure[night_${nights}_wal_kb]} KB" \
	"$(ratio "${figure[night_${nights}_wal_kb]}" "${figure[night_1_wal_kb]}")" 1.1
