#!/bin/bash
# The image's entrypoint calls this once, when it has made the cluster: pg_cron and minga_roster for the database
# POSTGRES_DB, and the key file, which is a secret of the container (MINGA_ROSTER_KEY_FILE).
set -e

cat >> "$PGDATA/postgresql.conf" <<CONF

# minga_roster
shared_preload_libraries = 'pg_cron'
cron.database_name = '${POSTGRES_DB//\'/\'\'}'
cron.use_background_workers = on
minga_roster.key_file = '${MINGA_ROSTER_KEY_FILE:-/run/secrets/minga_roster.key}'
CONF
pg_ctl -D "$PGDATA" -m fast -w restart
PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
	-c 'CREATE EXTENSION pg_cron' -c 'CREATE EXTENSION minga_roster'
