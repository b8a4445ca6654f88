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

-- URLs as people paste them.

CREATE FUNCTION normalize_url(url text, base_paths text[], token_path text, INOUT app_name text, OUT base_url text, OUT token_url text)
RETURNS record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_normalize_url';
COMMENT ON FUNCTION normalize_url(text, text[], text, text) IS
'Normal form of a pasted URL by the path templates of a preset (sis.base_paths, sis.token_path): the OneRoster root without a trailing slash, the token URL (NULL where token_path is), and the App Name (the one given, else that of a pasted token URL, else the path''s). 22023, with what was found and what is expected, for a URL that does not fit.';
