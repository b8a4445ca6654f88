-- Settings and the clock, read through the library so that a session and a worker see the same values.

CREATE FUNCTION minga_roster_internal.setting(name text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_setting';
COMMENT ON FUNCTION minga_roster_internal.setting(text) IS
'Value of the setting minga_roster.<name> as postgresql.conf has it; an unknown name raises 42704.';

CREATE FUNCTION minga_roster_internal.clock() RETURNS timestamptz
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_clock';
COMMENT ON FUNCTION minga_roster_internal.clock() IS
'The time that evenings, retries and retention go by: the start of the transaction, or minga_roster.test_clock where a test has set it.';

CREATE FUNCTION minga_roster_internal.server_origin() RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_server_origin';
COMMENT ON FUNCTION minga_roster_internal.server_origin() IS
'System identifier of the cluster and oid of the database, "7301…/16384": tells a restored copy from the database it was dumped from.';

CREATE FUNCTION minga_roster_internal.readable(content text) RETURNS text
LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'roster_readable';
COMMENT ON FUNCTION minga_roster_internal.readable(text) IS
'The text, cleaned like what a SIS sends: without characters that control a terminal or the direction of writing, '
'annotations, tags and U+FEFF; the end of a line, or a tab, becomes a space.';

-- URLs as people paste them.

CREATE FUNCTION minga_roster_internal.normalize_url(url text, base_paths text[], token_path text, INOUT app_name text,
    is_stored boolean DEFAULT false, OUT base_url text, OUT token_url text)
RETURNS record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_normalize_url';
COMMENT ON FUNCTION minga_roster_internal.normalize_url(text, text[], text, text, boolean) IS
'Normal form of a pasted URL by the path templates of a preset (sis.base_paths, sis.token_path): the OneRoster root '
    'without a trailing slash, the token URL (NULL where token_path is), and the App Name (the one given, else that '
    'of a pasted token URL, else the path''s). 22023, with what was found and what is expected, for a URL that does '
    'not fit, or leads to a host or port that is not allowed, unless it is one that is stored already.';

CREATE FUNCTION minga_roster_internal.is_public_address(address inet) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'roster_is_public_address';
COMMENT ON FUNCTION minga_roster_internal.is_public_address(inet) IS
'Whether a student information system may have that address without being named in minga_roster.allowed_hosts: false '
    'for addresses of this server, of private networks and of other special ranges.';
