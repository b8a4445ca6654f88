-- Settings and the clock, read through the library so that a session and a worker see the same values.

CREATE FUNCTION minga_roster_internal.setting(name text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_setting';
COMMENT ON FUNCTION minga_roster_internal.setting(text) IS
'The value of the setting minga_roster.<name> in postgresql.conf; 42704 for an unknown name.';

CREATE FUNCTION minga_roster_internal.clock() RETURNS timestamptz
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_clock';
COMMENT ON FUNCTION minga_roster_internal.clock() IS
'The time used for evenings, retries and retention: the start of the transaction, or minga_roster.test_clock if a test '
'has set it.';

CREATE TABLE minga_roster_internal.origin (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    token uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO minga_roster_internal.origin DEFAULT VALUES;
COMMENT ON TABLE minga_roster_internal.origin IS
'One row, drawn by CREATE EXTENSION: tells this database from its copies. Never dumped, so that a restored copy has '
'its own; pg_upgrade keeps it.';

CREATE FUNCTION minga_roster_internal.server_origin() RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_server_origin';
COMMENT ON FUNCTION minga_roster_internal.server_origin() IS
'The token of table origin and the OID of the database, "6f1c…/16384": tells a restored copy from the original '
'database.';

CREATE FUNCTION minga_roster_internal.readable(content text) RETURNS text
LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'roster_readable';
COMMENT ON FUNCTION minga_roster_internal.readable(text) IS
'The text without characters that control a terminal or text direction, annotations, tags and U+FEFF, as for text from '
'a SIS; line ends and tabs become spaces.';

-- URLs as people paste them.

CREATE FUNCTION minga_roster_internal.normalize_url(url text, base_paths text[], token_path text, INOUT app_name text,
    is_stored boolean DEFAULT false, OUT base_url text, OUT token_url text)
RETURNS record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_normalize_url';
COMMENT ON FUNCTION minga_roster_internal.normalize_url(text, text[], text, text, boolean) IS
'The normal form of a pasted URL, using the path templates of a preset (sis.base_paths, sis.token_path): the OneRoster '
'root without a trailing slash, the token URL (NULL if token_path is), and the App Name (the given one, otherwise that '
'of a pasted token URL, otherwise the path''s). 22023, with what was found and what is expected, for a URL that does '
'not fit, or whose host or port is not allowed, unless it is the stored URL.';

CREATE FUNCTION minga_roster_internal.is_public_address(address inet) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'roster_is_public_address';
COMMENT ON FUNCTION minga_roster_internal.is_public_address(inet) IS
'Whether a student information system may have that address without an entry in minga_roster.allowed_hosts: false for '
'addresses of this server, of private networks and of other special ranges.';
