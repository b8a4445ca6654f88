# Lines of history: the space of a school year's former versions, of that of a copy of the roster for each day. STUDENTS
# and DAYS choose another school and time.

as_postgres "$bindir/createdb" -h "$work" -U postgres history
as_postgres "$bindir/psql" -X -q -h "$work" -U postgres -d history -c "CREATE EXTENSION minga_roster" >/dev/null
declare -A history=()
while read -r name number; do history[$name]=$number; done < <(/usr/bin/python3 \
	"$work/src/test/bench/history_size.py" --database "host=$work user=postgres dbname=history" \
	--students "${STUDENTS:-$([ -n "$small" ] && echo 60 || echo 1200)}" \
	--days "${DAYS:-$([ -n "$small" ] && echo 9 || echo 180)}")
[ -n "${history[history_of_copies]:-}" ] || { echo "The history could not be measured." >&2; exit 1; }
line "a copy of the roster of a day, with an index" "${history[copy_kb]} KB"
line "former versions after ${history[days]} school days, 1 % changed on each" "${history[versions_kb]} KB"
check "... of a copy for each day" "" "${history[versions_of_copies]}" 0.05
check "... with the rows that ended, of two terms" "${history[ended_kb]} KB" "${history[history_of_copies]}" 0.05
