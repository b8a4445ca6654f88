-- Settings and the clock, read through the library so that a session and a worker see the same values.

CREATE FUNCTION setting(name text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_setting';
COMMENT ON FUNCTION setting(text) IS
'Value of the setting minga_roster.<name> as postgresql.conf has it; an unknown name raises 42704.';

CREATE FUNCTION clock() RETURNS timestamptz
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_clock';
COMMENT ON FUNCTION clock() IS
'The time that evenings, retries and retention go by: the start of the transaction, or minga_roster.test_clock where a test has set it.';

CREATE FUNCTION server_origin() RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_server_origin';
COMMENT ON FUNCTION server_origin() IS
'System identifier of the cluster and oid of the database, "7301…/16384": tells a restored copy from the database it was dumped from.';

CREATE FUNCTION hide_statement(shown text) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_hide_statement';
COMMENT ON FUNCTION hide_statement(text) IS
'Replaces the text of the running statement in pg_stat_activity and in the STATEMENT line of later log messages; for functions that are handed a secret.';
