-- What setup and the fixtures set is taken back; no setting of the server is left changed.
\set VERBOSITY terse
SELECT current_setting('data_directory') || '.minga_roster_key' AS key_file \gset
LOAD 'minga_roster';
ALTER SYSTEM RESET minga_roster.key_file;
ALTER SYSTEM RESET minga_roster.test_clock;
SELECT pg_reload_conf();
SELECT name FROM pg_file_settings WHERE name LIKE 'minga\_roster.%' AND sourcefile LIKE '%/postgresql.auto.conf';
\set ECHO none
SELECT format('COPY (SELECT) TO PROGRAM %L', format('cat > /dev/null; rm "%s"', :'key_file')) \gexec
