-- What the other tests stand on: an owner of people, and a key file beside the data directory.
-- Tests that change a setting do it by ALTER SYSTEM and reload.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_setting :abs_srcdir '/fixtures/set_setting.sql'
\set VERBOSITY terse
SELECT current_setting('data_directory') || '.minga_roster_key' AS key_file \gset
\set ECHO none
-- The sessions of workers have it off, and the tests call what workers call.
SELECT format('ALTER DATABASE %I SET jit = off', current_database()) \gexec
-- Who owns the people tables of the tests: a plain role, as anywhere.
SELECT 'CREATE ROLE regress_people_owner' WHERE to_regrole('regress_people_owner') IS NULL \gexec
SELECT format('COPY (SELECT) TO PROGRAM %L', format('umask 077; openssl rand -hex 32 > "%s"', :'key_file')) \gexec
\set ECHO all
SELECT minga_roster_internal.setting('max_workers');
\set setting key_file
\set value :key_file
\i :set_setting
SELECT minga_roster_internal.setting('key_file') = :'key_file' AS key_file_is_set;
