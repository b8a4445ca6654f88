#!/bin/sh
# Refuses a server that someone uses, before make installcheck changes its settings: where minga_roster is set up or
# installed, or where pg_cron works for another database than that of the tests.
# Usage: check_server.sh PSQL
set -eu
psql=${1:?usage: check_server.sh PSQL}

query() { "$psql" -XAt -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }

refuse() {
	printf '%s\n' "make installcheck: $1" "$2" \
		"Nothing was changed. make test runs the tests on a server of their own." >&2
	exit 1
}

set_already=$(query postgres "SELECT string_agg(DISTINCT name, ', ' ORDER BY name) FROM pg_file_settings
	WHERE name = 'minga_roster.key_file' OR (name LIKE 'minga\_roster.%' AND sourcefile LIKE '%/postgresql.auto.conf')")
[ -z "$set_already" ] || refuse "this server is set up for minga_roster: $set_already" \
	"The tests would overwrite these settings."

cron_database=$(query postgres "SELECT current_setting('cron.database_name', true)")
[ "$cron_database" = contrib_regression ] || refuse "pg_cron works for database \"$cron_database\"" \
	"The tests need a server with shared_preload_libraries = 'pg_cron' and cron.database_name = 'contrib_regression'."

query postgres "SELECT datname FROM pg_database
	WHERE datallowconn AND datname NOT IN ('contrib_regression', 'isolation_regression')" |
while IFS= read -r database; do
	# A connection string, since a database's name may look like one.
	name=$(printf '%s' "$database" | sed "s/[\\\\']/\\\\&/g")
	installed=$(query "dbname='$name'" "SELECT count(*) FROM pg_extension WHERE extname = 'minga_roster'")
	[ "$installed" = 0 ] || refuse "database \"$database\" uses minga_roster" \
		"The tests would change settings that it needs."
done
