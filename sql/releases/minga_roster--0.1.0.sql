/* minga_roster: keeps the people of a site in step with its student information system over OneRoster */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION minga_roster" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('minga_roster cannot be used in a database with encoding "%s"',
                pg_catalog.getdatabaseencoding()),
            DETAIL = 'Names of people come from the student information system in UTF-8.',
            HINT = 'Create the extension in a database created with ENCODING ''UTF8''.';
    END IF;
END
$$;

-- The schema's owner, or a role that can create objects in it, could add functions that are called with a superuser's
-- rights.
DO $$
DECLARE
    found pg_catalog.text;
BEGIN
    SELECT CASE
            WHEN NOT r.rolsuper THEN pg_catalog.format('It belongs to "%s".', r.rolname)
            WHEN EXISTS (
                SELECT FROM pg_catalog.aclexplode(n.nspacl) a
                WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
                    AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner) THEN
                'Roles other than its owner can create objects in it.'
            WHEN EXISTS (
                SELECT FROM pg_catalog.pg_depend d
                WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) n.oid
                    AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass) THEN
                'It contains objects already.'
        END
    INTO found
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    WHERE n.nspname OPERATOR(pg_catalog.=) 'minga_roster';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
            MESSAGE = 'schema "minga_roster" is not an empty schema of a superuser',
            DETAIL = found,
            HINT = 'Check what is in it and who created it. Drop or rename it, then create the extension again.';
    END IF;
END
$$;

-- The functions behind those of schema minga_roster. CREATE SCHEMA raises 42P06 if the schema exists already.
CREATE SCHEMA minga_roster_internal;
COMMENT ON SCHEMA minga_roster_internal IS
'Functions that the extension calls itself; not for others to call, and changed without notice.';
-- The role that the extension's objects belong to, and with whose rights it acts. Roles are those of the whole cluster:
-- another database that has the extension, or had it, made it. It must be no more than what is made here, because
-- everything of the extension runs with its rights.

DO $$
DECLARE
    found pg_catalog.text;
    members pg_catalog.text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'minga_roster_dba') THEN
        CREATE ROLE minga_roster_dba NOLOGIN;
        COMMENT ON ROLE minga_roster_dba IS
            'Owns the objects of extension minga_roster, which acts with its rights. Its members have the DBA level.';
    END IF;
    SELECT CASE
            WHEN r.rolsuper THEN 'It is a superuser.'
            WHEN r.rolcanlogin THEN 'It can log in.'
            WHEN r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls THEN
                'It has CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS.'
            WHEN m.others IS NOT NULL THEN format('It is a member of %s.', m.others)
            WHEN EXISTS (SELECT FROM pg_catalog.pg_default_acl d WHERE d.defaclrole = r.oid) THEN
                'It has default privileges in this database, which would be granted on what it makes.'
        END
    INTO found
    FROM pg_catalog.pg_roles r
    CROSS JOIN LATERAL (SELECT string_agg(format('"%s"', pg_get_userbyid(a.roleid)), ', ' ORDER BY a.roleid) AS others
        FROM pg_catalog.pg_auth_members a WHERE a.member = r.oid) m
    WHERE r.rolname = 'minga_roster_dba';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_role_specification',
            MESSAGE = 'role "minga_roster_dba" cannot own the extension',
            DETAIL = found,
            HINT = 'Find out who made it and why. Then drop or rename it, so that CREATE EXTENSION makes it, or take '
                'away what it has too much: ALTER ROLE minga_roster_dba NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB '
                'NOREPLICATION NOBYPASSRLS, REVOKE, ALTER DEFAULT PRIVILEGES.';
    END IF;
    SELECT string_agg(DISTINCT format('"%s"', pg_get_userbyid(a.member)), ', ') INTO members
    FROM pg_catalog.pg_auth_members a
    WHERE a.roleid = 'minga_roster_dba'::pg_catalog.regrole;
    IF members IS NOT NULL THEN
        RAISE WARNING USING MESSAGE = 'role "minga_roster_dba" has members already',
            DETAIL = format('%s will have the DBA level in this database.', members),
            HINT = 'Revoke the role from those whom you would not trust as superusers.';
    END IF;
    -- Runs make temporary tables.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO minga_roster_dba', pg_catalog.current_database());
END
$$;
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

CREATE FUNCTION minga_roster_internal.server_origin() RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_server_origin';
COMMENT ON FUNCTION minga_roster_internal.server_origin() IS
'The system identifier of the cluster and the OID of the database, "7301…/16384": tells a restored copy from the '
'original database.';

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
-- Small tools for sentences: numbers with their nouns, lists, and templates with named holes.

CREATE FUNCTION minga_roster_internal.figure(number bigint) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(number, 'FM999,999,999,999,999,990');
COMMENT ON FUNCTION minga_roster_internal.figure(bigint) IS '"812", "5,000".';

CREATE FUNCTION minga_roster_internal.figures(number bigint, one text, several text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
RETURN minga_roster_internal.figure(number) || ' '
    || CASE WHEN number = 1 THEN one ELSE coalesce(several, one || 's') END;
COMMENT ON FUNCTION minga_roster_internal.figures(bigint, text, text) IS '"1 person", "5,000 people".';

CREATE FUNCTION minga_roster_internal.counted(number bigint, noun text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s %s%s', number, noun, CASE WHEN number <> 1 THEN 's' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.counted(bigint, text) IS '"1 archive", "1204 archives".';

CREATE FUNCTION minga_roster_internal.people_of(category text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE category WHEN 'staff' THEN 'staff member' ELSE category END || CASE number WHEN 1 THEN '' ELSE 's' END;
COMMENT ON FUNCTION minga_roster_internal.people_of(text, bigint) IS
'The noun for this many people of a category: "student", "staff members".';

CREATE FUNCTION minga_roster_internal.with_article(noun text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN noun ~ '^[aeiou]' THEN 'an ' ELSE 'a ' END || noun;
COMMENT ON FUNCTION minga_roster_internal.with_article(text) IS '"a sync", "an undo".';

CREATE FUNCTION minga_roster_internal.capitalized(words text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN upper(left(words, 1)) || substr(words, 2);
COMMENT ON FUNCTION minga_roster_internal.capitalized(text) IS
'The words with a capital letter at the beginning, for a sentence or title.';

CREATE FUNCTION minga_roster_internal.local_minute(moment timestamptz, zone text) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(moment AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI');
COMMENT ON FUNCTION minga_roster_internal.local_minute(timestamptz, text) IS '"2026-09-01 19:00" in that time zone.';

CREATE FUNCTION minga_roster_internal.in_list(words text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE cardinality(words) WHEN 0 THEN NULL WHEN 1 THEN words[1]
        ELSE array_to_string(words[:cardinality(words) - 1], ', ') || ' and ' || words[cardinality(words)] END
$$;
COMMENT ON FUNCTION minga_roster_internal.in_list(text[]) IS '"a", "a and b", "a, b and c".';

CREATE FUNCTION minga_roster_internal.filled(template text, holes jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN p.place % 2 = 1 THEN p.piece ELSE coalesce(holes ->> p.piece, '') END, ''
        ORDER BY p.place)
    FROM regexp_split_to_table(template, '[{}]') WITH ORDINALITY p (piece, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.filled(text, jsonb) IS
'The template with each {name} replaced by the value of that name. Braces in a value are left alone. fill_template() '
'does the same for SQL.';
-- The tables of the extension. Tables that a dump must carry are marked with pg_extension_config_dump; the stage and
-- the tokens are not.

CREATE TABLE sis (
    sis text NOT NULL PRIMARY KEY,
    title text NOT NULL,
    api_version text NOT NULL DEFAULT '1.1' CHECK (api_version IN ('1.1', '1.2')),
    auth text NOT NULL DEFAULT 'oauth2' CHECK (auth IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer')),
    base_paths text[] NOT NULL CHECK (cardinality(base_paths) > 0),
    token_path text,
    scope text,
    collections jsonb NOT NULL CHECK (jsonb_typeof(collections) = 'array'),
    page_size integer NOT NULL DEFAULT 1000 CHECK (page_size BETWEEN 1 AND 50000),
    max_requests integer NOT NULL DEFAULT 1 CHECK (max_requests BETWEEN 1 AND 16),
    source text,
    builtin boolean NOT NULL DEFAULT false,
    page_size_limit integer NOT NULL DEFAULT 50000 CHECK (page_size_limit BETWEEN 1 AND 50000),
    max_requests_limit integer NOT NULL DEFAULT 16 CHECK (max_requests_limit BETWEEN 1 AND 16),
    campus_metadata boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE sis IS
'Presets: what is known about a student information system. To add a product, add a row here and rows in role_rules.';
COMMENT ON COLUMN sis.api_version IS
'The OneRoster version of the paths. The format of the objects is detected from the objects themselves.';
COMMENT ON COLUMN sis.auth IS
'How requests are authorized where the connection does not say: oauth2 (client credentials, for a token that expires), '
'oauth1_sha256 and oauth1_sha1 (each request signed with HMAC), bearer (the client secret is the token).';
COMMENT ON COLUMN sis.base_paths IS
'Path templates of the OneRoster root, the current one first. {app} stands for one segment (the App Name), {prefix} '
'for any number of leading segments.';
COMMENT ON COLUMN sis.token_path IS
'Path template of the token endpoint on the same host, including the query; {prefix} is that of the base path. NULL if '
'there is none or token_url must be given.';
COMMENT ON COLUMN sis.scope IS 'OAuth 2.0 scope to request if the connection names none; NULL sends none.';
COMMENT ON COLUMN sis.source IS 'Where this information was found, and which of it could not be confirmed.';
COMMENT ON COLUMN sis.collections IS
'What is read, in this order: an array of {"collection": name, "family": "student"|"staff"|"contact", "categories": '
'[category, …], "path": path below the root with {school} for the School ID, "fallback": a path or an array of paths, '
'each used if the one before it does not exist or is denied (401 does not count), "roles": roles kept from a path '
'without {school}}. A row without a role from a path with {school} of one category gets that category''s first role.';
COMMENT ON COLUMN sis.page_size_limit IS
'The largest page that the product serves; the upper limit for a connection''s page_size.';
COMMENT ON COLUMN sis.campus_metadata IS
'Whether users are requested with metadata. Only the legacy ID and the relationships of Infinite Campus are used.';
COMMENT ON COLUMN sis.max_requests_limit IS 'The largest number of concurrent requests that the vendor allows.';

CREATE TABLE role_rules (
    sis text NOT NULL REFERENCES sis ON DELETE CASCADE,
    roster_role text NOT NULL CHECK (roster_role = lower(roster_role)),
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin', 'contact')),
    role text CHECK ((role IS NULL) = (category = 'contact')) CHECK (role <> 'other'),
    rank integer NOT NULL,
    builtin boolean NOT NULL DEFAULT false,
    PRIMARY KEY (sis, roster_role)
);
COMMENT ON TABLE role_rules IS
'What a OneRoster role means here: its category, the role written to the people relation, and its rank within its '
'family (1 is the highest). Category contact: guardians, who are columns of a student and have no accounts. A role '
'without a row is ignored; its people count as present.';

CREATE TABLE people_relations (
    relation regclass NOT NULL PRIMARY KEY,
    columns jsonb NOT NULL CHECK (jsonb_typeof(columns) = 'object'),
    roles jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(roles) = 'object'),
    archive_words jsonb NOT NULL DEFAULT '{}' CHECK (archive_words = '{}'
        OR archive_words ?& ARRAY['active', 'archived'])
);
COMMENT ON TABLE people_relations IS 'Attached people relations with their column maps.';
COMMENT ON COLUMN people_relations.columns IS
'The resolved map: for each contract column that the relation has, its name there.';
COMMENT ON COLUMN people_relations.roles IS
'The deployment''s words for roles, {"student": ["STUDENT", "STUDENT_LEADER"], "other": ["PARENT"]}: the first word of '
'a list is written, words of other never. A role that is not named here is its own word.';
COMMENT ON COLUMN people_relations.archive_words IS
'The status of active and of archived people, {"active": "ACTIVE", "archived": "ARCHIVED"}, if archived_at is mapped '
'to a status column; {} if it is a timestamp.';

CREATE TABLE connections (
    connection text NOT NULL PRIMARY KEY CHECK (octet_length(connection) BETWEEN 1 AND 63 AND connection NOT IN ('smtp',
        'forgotten')),
    site text NOT NULL CHECK (site <> ''),
    district text,
    sis text NOT NULL REFERENCES sis,
    base_url text NOT NULL,
    token_url text,
    auth text NOT NULL CHECK (auth IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer')),
    client_id text,
    app_name text,
    school_id text NOT NULL,
    people regclass NOT NULL REFERENCES people_relations,
    time_zone text NOT NULL,
    sync_at time NOT NULL DEFAULT '19:00',
    window_end time NOT NULL DEFAULT '06:00' CHECK (window_end <> sync_at),
    automatic boolean NOT NULL DEFAULT false,
    paused_cause text CHECK (paused_cause IN ('restored', 'run_undone')),
    paused_reason text,
    parent_contact boolean NOT NULL DEFAULT false,
    guard_percent integer NOT NULL DEFAULT 10 CHECK (guard_percent BETWEEN 0 AND 100),
    guard_floor integer NOT NULL DEFAULT 5 CHECK (guard_floor >= 0),
    page_size integer CHECK (page_size BETWEEN 1 AND 50000),
    max_requests integer CHECK (max_requests BETWEEN 1 AND 16),
    credentials_expire date,
    unproven boolean NOT NULL DEFAULT true,
    unproven_since timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    enabled_at timestamptz,
    enabled_origin text,
    number integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    guard_grace integer NOT NULL DEFAULT 1 CHECK (guard_grace BETWEEN 1 AND 30),
    season_dates daterange CHECK (NOT (isempty(season_dates) OR lower_inf(season_dates) OR upper_inf(season_dates))),
    season_percent integer NOT NULL DEFAULT 60 CHECK (season_percent BETWEEN 0 AND 99),
    freeze_dates daterange CHECK (NOT (isempty(freeze_dates) OR lower_inf(freeze_dates) OR upper_inf(freeze_dates))),
    delta boolean NOT NULL DEFAULT false,
    full_every integer NOT NULL DEFAULT 7 CHECK (full_every BETWEEN 1 AND 30),
    newest_modified timestamptz,
    full_read_on date,
    filter_unusable boolean NOT NULL DEFAULT false,
    scope text,
    clear_parent_contact boolean NOT NULL DEFAULT false,
    guard_update_percent integer NOT NULL DEFAULT 75 CHECK (guard_update_percent BETWEEN 0 AND 100),
    school_name text,
    CHECK (parent_contact OR NOT clear_parent_contact),
    CHECK ((token_url IS NOT NULL) = (auth = 'oauth2')),
    CHECK (client_id IS NOT NULL OR auth = 'bearer')
);
CREATE INDEX connections_site ON connections (site, retired_at DESC NULLS FIRST, number DESC);
COMMENT ON TABLE connections IS 'How one site reaches one SIS. Written through roster_connect and roster_configure.';
COMMENT ON COLUMN connections.token_url IS 'Where tokens come from, on any host; NULL if auth needs none.';
COMMENT ON COLUMN connections.client_id IS 'NULL only if the client secret is the token (auth bearer).';
COMMENT ON COLUMN connections.scope IS 'OAuth 2.0 scope to request: NULL uses the preset''s, empty sends none.';
COMMENT ON COLUMN connections.clear_parent_contact IS
'Clears a contact that a roster wrote when the SIS no longer names one for the student. Requires parent_contact.';
COMMENT ON COLUMN connections.school_name IS
'The name of the school in the SIS, as of the latest fetch; NULL if unknown.';
COMMENT ON COLUMN connections.paused_cause IS 'Why Automatic Rostering is paused, as a code; NULL where it is not.';
COMMENT ON COLUMN connections.paused_reason IS 'The same in words.';
COMMENT ON COLUMN connections.page_size IS 'Rows requested per page; NULL uses the preset''s number.';
COMMENT ON COLUMN connections.max_requests IS 'Concurrent requests; NULL uses the preset''s number.';
COMMENT ON COLUMN connections.unproven IS
'No full sync has shown yet that address, SIS and school are right, so archives are held.';
COMMENT ON COLUMN connections.retired_at IS
'When roster_disconnect retired it. Functions no longer know a retired connection, and its links are dead.';
COMMENT ON COLUMN connections.enabled_origin IS
'server_origin() at roster_enable; any other value here means a restored copy, which is paused.';
COMMENT ON COLUMN connections.guard_grace IS
'How many complete full reads must miss a person before the person is archived.';
COMMENT ON COLUMN connections.guard_update_percent IS
'Updates are held if they would change one column for more than this percentage of a category of 20 or more; 100 holds '
'none.';
COMMENT ON COLUMN connections.season_dates IS
'Dates, local to time_zone, on which season_percent replaces guard_percent and the rule of half: the rollover of a '
'school year. NULL for none.';
COMMENT ON COLUMN connections.freeze_dates IS
'Dates, local to time_zone, on which all archives are held: the summer. NULL for none.';
COMMENT ON COLUMN connections.number IS
'Used in the names of the stage partitions and in the advisory lock of the connection.';
COMMENT ON COLUMN connections.delta IS 'Evenings between full reads request only changed students and contacts.';
COMMENT ON COLUMN connections.full_every IS 'With delta: the roster is read in full every this many evenings.';
COMMENT ON COLUMN connections.newest_modified IS
'With delta: the newest dateLastModified from the SIS; NULL or -infinity if the next evening reads in full, after '
'changed settings or a sync that did not end well.';
COMMENT ON COLUMN connections.full_read_on IS 'With delta: the evening, or local date, of the last full sync.';
COMMENT ON COLUMN connections.filter_unusable IS
'With delta: the SIS ignored or rejected the filter on dateLastModified, so every evening reads in full; '
'roster_configure(delta => true) tries it again.';

CREATE TABLE toggles (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin')),
    roster boolean NOT NULL DEFAULT true,
    auto_update boolean NOT NULL DEFAULT false,
    archive boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection, category)
);
COMMENT ON TABLE toggles IS
'For each category: whether it is rostered, whether existing people are updated, and whether absent people are '
'archived.';

CREATE TABLE secrets (
    connection text NOT NULL PRIMARY KEY,
    binding uuid NOT NULL,
    sealed bytea NOT NULL
);
COMMENT ON TABLE secrets IS
'Client secrets, the SMTP password under the name "smtp", and under "forgotten" the key by which forgotten people are '
'known again: AES-256-GCM, sealed with the key of minga_roster.key_file and bound to "binding".';

CREATE TABLE tokens (
    connection text NOT NULL PRIMARY KEY REFERENCES connections ON DELETE CASCADE,
    binding uuid NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    sent_as text NOT NULL DEFAULT 'basic' CHECK (sent_as IN ('basic', 'body', 'encoded basic'))
);
COMMENT ON TABLE tokens IS 'OAuth tokens until they expire, sealed like secrets. Never dumped.';
COMMENT ON COLUMN tokens.sent_as IS
'How the credentials were sent for it, which is tried first the next time: with HTTP Basic as they are, in the form '
'body, or with HTTP Basic form-encoded.';

CREATE TABLE key_pairs (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    binding uuid NOT NULL,
    public_key text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE key_pairs IS
'The key pair with which clients seal secrets for this server: one row, made by the first roster_public_key(). The '
'private key is sealed like secrets, for this row and this public key.';

CREATE TABLE server_facts (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    fact text NOT NULL CHECK (fact IN ('fields', 'limit', 'order', 'overlap', 'paging', 'sort')),
    value text NOT NULL,
    learned_run bigint NOT NULL,
    learned_at timestamptz NOT NULL,
    PRIMARY KEY (connection, fact)
);
COMMENT ON TABLE server_facts IS
'How the SIS of a connection deviates from OneRoster where that changes the requests. Each fact is tried again '
'after a week, and forgotten with another url, token_url or sis.';
COMMENT ON COLUMN server_facts.fact IS
'fields, sort: rejected, so requests omit them. limit: the largest page served, if a larger one is rejected instead of '
'truncated. overlap: a page from an offset inside the list is rejected or empty. order: orderBy=desc is rejected or '
'ignored. paging: all at once, limit as end, or offset as page.';

CREATE TABLE runs (
    run bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    connection text NOT NULL,
    site text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('test', 'diagnose', 'fetch', 'preview', 'sync', 'approve', 'apply', 'undo',
        'mail')),
    trigger text NOT NULL CHECK (trigger IN ('manual', 'evening')),
    evening date CHECK ((evening IS NOT NULL) = (trigger = 'evening')),
    of_run bigint,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    state_cause text CHECK (state_cause IN ('evening_missed')),
    phase text CHECK (phase IN ('fetch', 'plan', 'apply', 'report')),
    requested_by name NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    pages integer NOT NULL DEFAULT 0,
    rows_staged bigint NOT NULL DEFAULT 0,
    rows_expected bigint,
    requests integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    is_full boolean,
    created integer,
    linked integer,
    updated integer,
    restored integer,
    archived integer,
    held integer,
    unchanged integer,
    skipped integer,
    conflicts integer,
    rejects integer,
    sqlstate text,
    error text,
    detail text,
    hint text,
    pid integer,
    reported boolean NOT NULL DEFAULT false,
    modified_since timestamptz,
    incomplete boolean NOT NULL DEFAULT false,
    reduced_roles text[],
    district text,
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'canceled')))
);
CREATE UNIQUE INDEX runs_evening ON runs (connection, evening, site) WHERE state <> 'failed';
CREATE UNIQUE INDEX runs_queued ON runs (connection, kind, (coalesce(of_run, 0))) WHERE state = 'queued'
    AND trigger = 'manual';
CREATE INDEX runs_evening_failed ON runs (connection, evening) WHERE state = 'failed' AND evening IS NOT NULL;
CREATE INDEX runs_connection ON runs (connection, run);
CREATE INDEX runs_open ON runs (run) WHERE state IN ('queued', 'running');
CREATE INDEX runs_queued_at ON runs (queued_at);
COMMENT ON TABLE runs IS
'One row for each run, written by the worker in its own transactions, so that a failed run is recorded.';
COMMENT ON COLUMN runs.of_run IS
'The run that an approve, apply or undo is about. Not a foreign key, because retention may delete that run.';
COMMENT ON COLUMN runs.state_cause IS
'evening_missed: the evening ended before a sync of it began. NULL: sqlstate tells why the run ended as it did.';
COMMENT ON COLUMN runs.pid IS 'Process of the worker while the run is running.';
COMMENT ON COLUMN runs.reported IS 'Whether the mail was written, or was not needed.';
COMMENT ON COLUMN runs.is_full IS
'The full roster was read: true once it is fetched. false: a delta, which lists only changed students and contacts, '
'and archives no one.';
COMMENT ON COLUMN runs.incomplete IS
'A list was not proved complete: rows may be missing, so no one of its family is archived. collections says which list '
'and why.';
COMMENT ON COLUMN runs.reduced_roles IS
'Roles of which the fetch staged keys alone, because their category was not rostered when it began. The plan takes '
'that category as not rostered, even if it is by then. NULL: there are none.';
COMMENT ON COLUMN runs.modified_since IS
'What a delta requested: rows with a later dateLastModified. If is_full is true as well, the SIS ignored that, and '
'everything was read.';
COMMENT ON COLUMN runs.district IS 'The district of the site when the run was requested.';
COMMENT ON COLUMN runs.skipped IS 'Staged users with the outcome skip.';

CREATE TABLE run_counts (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    category text NOT NULL,
    action text NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (run, category, action)
);
COMMENT ON TABLE run_counts IS
'For each run and category: the outcomes of its staged users (create, link, update, restore, unchanged, skip, '
'conflict, reject, protect, merged, contact, ignore, forgotten); a conflict counts once, its further rows as merged. '
'Also archive, held (archives, updates and creates), and refused archive (by the people relation); for an undo what '
'was done to people, and kept. Rows whose role has no rule are in category "none", guardians in "contact".';

CREATE TABLE run_steps (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    position integer NOT NULL,
    step text NOT NULL,
    ok boolean,
    detail text,
    hint text,
    elapsed interval,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE run_steps IS
'The results of a connection test, step by step; ok is NULL for steps that were not reached.';

CREATE TABLE findings (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    position integer NOT NULL,
    finding text NOT NULL,
    value text NOT NULL,
    ok boolean,
    detail text,
    hint text,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE findings IS
'What a diagnosis found out about a SIS and its rows. Holds numbers and names of schools, and no personal data.';
COMMENT ON COLUMN findings.ok IS 'Whether this is as OneRoster specifies; NULL for information.';

CREATE TABLE collections (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    collection text NOT NULL,
    family text NOT NULL CHECK (family IN ('student', 'staff', 'contact')),
    complete boolean NOT NULL DEFAULT false,
    proof text CHECK (proof IN ('total', 'empty page', 'weak')),
    pages integer NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    distinct_ids bigint NOT NULL DEFAULT 0,
    claimed_total bigint,
    without_id bigint NOT NULL DEFAULT 0,
    elsewhere bigint NOT NULL DEFAULT 0,
    roles_ended bigint NOT NULL DEFAULT 0,
    without_role bigint NOT NULL DEFAULT 0,
    fallback boolean NOT NULL DEFAULT false,
    detail text,
    weak_cause text CHECK (weak_cause IN ('denied', 'row_missing', 'total_larger', 'total_unfiltered',
        'total_smaller', 'moved', 'unchecked', 'limit_as_end',
        'offset_as_page', 'not_paged', 'end_refused', 'end_object', 'end_repeated', 'end_unproved', 'without_id',
        'nowhere')),
    PRIMARY KEY (run, collection)
);
COMMENT ON TABLE collections IS
'For each collection of a run, the evidence that it was read completely. Archives of a family depend on it.';
COMMENT ON COLUMN collections.complete IS
'Read to a proved end; false if the end was weak, the endpoint answered 403 or 404, or a row had no sourcedId.';
COMMENT ON COLUMN collections.weak_cause IS
'Why the collection is not complete; NULL if it is. Rows are known to be missing: row_missing (the end of the list has '
'a row that the pages did not have), total_larger (more rows are claimed than listed). Rows may be missing: denied, '
'total_unfiltered (the claimed total is that of the unfiltered list), total_smaller, moved (the list moved during the '
'read), unchecked (whether it moved could not be checked), limit_as_end (limit is used as the end offset), '
'offset_as_page (offset is used as a page number), not_paged (all rows came for every request), end_refused, '
'end_object ({} or null) and end_repeated (rows came again) instead of an empty page, end_unproved (an empty page that '
'proves nothing), without_id (rows without a sourcedId), nowhere (rows without a school in a list that is not the '
'school''s own).';
COMMENT ON COLUMN collections.without_id IS 'Rows without a sourcedId: rejected, not staged.';
COMMENT ON COLUMN collections.elsewhere IS
'Rows of another school or, from a fallback, of other roles, and rows whose roles have all ended: not staged.';
COMMENT ON COLUMN collections.roles_ended IS 'Of these, rows whose roles have all ended.';
COMMENT ON COLUMN collections.without_role IS
'Rows without a role that got the role of their list: the school''s own, of one category.';

CREATE TABLE run_figures (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    category text NOT NULL,
    people bigint NOT NULL,
    inactive bigint NOT NULL,
    filled jsonb NOT NULL,
    PRIMARY KEY (run, category)
);
COMMENT ON TABLE run_figures IS
'For each full sync and preview, by rostered category, how many rows were listed, for the next one to compare with.';
COMMENT ON COLUMN run_figures.inactive IS 'Rows with status inactive or enabledUser false.';
COMMENT ON COLUMN run_figures.filled IS 'For each field, how many rows have a value.';

CREATE TABLE run_findings (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    position integer NOT NULL,
    finding text NOT NULL CHECK (finding IN ('inactive_some', 'inactive_all', 'category_empty', 'field_vanished',
        'roles_ended', 'no_role',
        'unknown_role', 'without_id', 'incomplete', 'mass_update_held')),
    category text,
    amount bigint NOT NULL,
    "of" bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    needs_look boolean NOT NULL,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE run_findings IS
'What a sync or preview noticed in the roster, as codes and numbers; finding_text makes the sentences. Holds no '
'personal data.';
COMMENT ON COLUMN run_findings.amount IS 'How many out of "of".';
COMMENT ON COLUMN run_findings.detail IS
'subject: the list, field, column or role concerned; for an incomplete list also its weak_cause, as cause.';
COMMENT ON COLUMN run_findings.needs_look IS
'Needs a look. A lasting finding needs one only in the run that found it first.';

CREATE TABLE changes (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    change integer NOT NULL,
    site text NOT NULL,
    category text,
    person_id text,
    sourced_ids text[] NOT NULL,
    action text NOT NULL CHECK (action IN ('create', 'link', 'update', 'restore', 'archive', 'conflict', 'reject',
        'protect')),
    rule text NOT NULL,
    reason text NOT NULL,
    before jsonb NOT NULL DEFAULT '{}',
    after jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN ('planned', 'applied', 'refused', 'held', 'expired', 'undone', 'kept',
        'noted')),
    state_at timestamptz NOT NULL,
    state_reason text,
    state_cause text,
    seen bigint,
    done_by bigint,
    conflict text CHECK (conflict IS NULL OR action = 'conflict'),
    same_name text[],
    stored jsonb,
    PRIMARY KEY (run, change)
);
CREATE INDEX changes_person ON changes (site, person_id);
CREATE INDEX changes_held ON changes (run) WHERE state = 'held';
COMMENT ON TABLE changes IS 'The plan: each intended change of a run, and what was not done and why.';
COMMENT ON COLUMN changes.sourced_ids IS
'The roster rows of the person. Empty once the person''s data was erased, by roster_forget or after '
'minga_roster.keep_archived; then before and after are empty too, and the change cannot be undone.';
COMMENT ON COLUMN changes.before IS 'Old values of the written columns.';
COMMENT ON COLUMN changes.after IS 'New values of the written columns.';
COMMENT ON COLUMN changes.state_reason IS
'Why a change is refused, held, expired or kept, or how it was carried out later, as a sentence.';
COMMENT ON COLUMN changes.state_cause IS
'The same as a code, which logic goes by. Held: unproven, frozen, season_percent, half, percent (archives), '
    'mass_update (updates), ids_changed (links and creates), new_site (creates). Carried out later: approved, '
    'relinked. Expired: superseded (a later run judged), run_undone. Undone: undone. Not taken by the people '
    'relation: refused_by_people, not_stored, kept_by_people. Refused: erased (by roster_forget). NULL where nothing '
    'goes by it.';
COMMENT ON COLUMN changes.seen IS
'A hash of the person as the run that carried out the change left them; its undo must find them so. Until then, in a '
'preview, a hash of the person as the plan saw them, or for a create of the people with the same identifier or email '
'address; its apply must find them so.';
COMMENT ON COLUMN changes.conflict IS
'Why a conflict is one: other_family, row_joins_two, same_role_twice, keys_contradict, rows_differ, '
    'several_candidates, two_people_by_keys, names_differ, identifiers_differ, address_of_two, address_shared, '
    'family_unknown, candidate_linked, several_rows, identifier_withheld or not_unique; NULL for any other action.';
COMMENT ON COLUMN changes.same_name IS
'For a create: active people with the same name and family of roles who have neither an identifier nor an email '
'address.';
COMMENT ON COLUMN changes.stored IS
'Written values that the people relation stores in another form, as it stores them; NULL if there are none.';
COMMENT ON COLUMN changes.done_by IS
'The run that carried out the change: the sync itself, the apply of a preview, or the approval of a held change.';

CREATE TABLE links (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    person_id text NOT NULL,
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin')),
    role_written text,
    rule text NOT NULL,
    linked_run bigint NOT NULL,
    missed_since timestamptz,
    archived_run bigint,
    missed_run bigint,
    PRIMARY KEY (connection, sourced_id)
);
CREATE INDEX links_person ON links (site, person_id);
CREATE INDEX links_archived ON links (archived_run) WHERE archived_run IS NOT NULL;
COMMENT ON TABLE links IS 'Which person each SIS row is. Presence is not recorded; absence is recorded once.';
COMMENT ON COLUMN links.category IS
'Category of the row with this sourcedId; a person''s category is the best rank among the rows seen last.';
COMMENT ON COLUMN links.role_written IS
'The role that this connection wrote to the person; NULL if it linked the person and never wrote a role.';
COMMENT ON COLUMN links.missed_since IS 'When a full read first did not list the ID; NULL while it is listed.';
COMMENT ON COLUMN links.missed_run IS 'The run in which the ID was first absent; NULL while it is listed.';
COMMENT ON COLUMN links.archived_run IS 'The run that archived the person, while the person is archived by it.';

CREATE TABLE conflict_candidates (
    run bigint NOT NULL,
    change integer NOT NULL,
    person_id text NOT NULL,
    found_by text NOT NULL CHECK (found_by IN ('link', 'row', 'former id', 'identifier', 'e-mail', 'unique index')),
    PRIMARY KEY (run, change, person_id, found_by),
    FOREIGN KEY (run, change) REFERENCES changes ON DELETE CASCADE
);
COMMENT ON TABLE conflict_candidates IS 'For each conflict of a plan, who could be meant and what points to them.';

CREATE TABLE conflict_pairs (
    run bigint NOT NULL,
    change integer NOT NULL,
    pair integer NOT NULL,
    sourced_id text NOT NULL,
    given_name text,
    family_name text,
    identifier text,
    email text,
    username text,
    role text,
    person_id text,
    found_by text,
    person_given_name text,
    person_family_name text,
    person_identifier text,
    person_email text,
    person_username text,
    person_role text,
    person_archived boolean,
    agrees text[],
    differs text[],
    PRIMARY KEY (run, change, pair),
    FOREIGN KEY (run, change) REFERENCES changes ON DELETE CASCADE
);
COMMENT ON TABLE conflict_pairs IS
'The conflicts of a connection''s latest plan as roster_conflicts shows them: each roster row with each person it '
'could be, as the plan saw them. The connection''s next plan removes them.';
COMMENT ON COLUMN conflict_pairs.agrees IS
'Fields in which the row and the person agree, out of given_name, family_name, identifier, email and username. A field '
'that is empty on either side is neither here nor in differs.';

CREATE TABLE match_decisions (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    sourced_id text COLLATE "C" NOT NULL,
    person_id text,
    decision text NOT NULL CHECK (CASE decision WHEN 'never the same' THEN person_id IS NOT NULL
        WHEN 'new person' THEN person_id IS NULL
        WHEN 'skip' THEN person_id IS NULL ELSE false END),
    decided_by name NOT NULL,
    decided_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX match_decisions_row ON match_decisions (connection, sourced_id, (coalesce(person_id, '')));
-- Required by a publication of all tables.
ALTER TABLE match_decisions REPLICA IDENTITY FULL;
COMMENT ON TABLE match_decisions IS
'What roster_decide remembers about a roster row: who it is not, or that it is skipped. That a row is a person is '
'stored in links.';
COMMENT ON COLUMN match_decisions.person_id IS
'The person that the row is not; NULL: the decision is about the row alone.';
COMMENT ON COLUMN match_decisions.decision IS
'never the same: the row is not this person; new person: it is no one at the site; skip: it is ignored.';

CREATE TABLE column_owners (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    column_name text NOT NULL,
    owner text NOT NULL CHECK (owner IN ('local', 'sis unless edited')),
    PRIMARY KEY (connection, column_name)
);
COMMENT ON TABLE column_owners IS
'Columns of people that Auto update does not, or not always, take from the SIS; those without a row are the SIS''s. '
'Written through roster_set_column_owner.';

CREATE TABLE written_values (
    connection text NOT NULL,
    column_name text NOT NULL,
    person_id text NOT NULL,
    hash bigint,
    PRIMARY KEY (connection, column_name, person_id),
    FOREIGN KEY (connection, column_name) REFERENCES column_owners ON DELETE CASCADE
);
COMMENT ON TABLE written_values IS
'For columns owned by the SIS unless edited: a hash of the value that a sync wrote last, or found at first. If the '
'value differs now, it was edited here.';

CREATE TABLE stored_values (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    person_id text NOT NULL,
    column_name text NOT NULL,
    sent bigint NOT NULL,
    stored bigint NOT NULL,
    PRIMARY KEY (connection, person_id, column_name)
);
COMMENT ON TABLE stored_values IS
'Values that the people relation stores in another form than they were sent, or did not store: a hash of each. While '
'the person has the stored value, the sent value counts as equal. Emptied by roster_attach_people.';

CREATE TABLE planned_links (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    sourced_id text COLLATE "C" NOT NULL,
    deed text NOT NULL CHECK (deed IN ('insert', 'replace', 'update', 'delete')),
    change integer,
    person_id text,
    category text,
    role_written text,
    rule text,
    linked_run bigint,
    missing boolean NOT NULL,
    returned boolean NOT NULL,
    archived boolean,
    seen bigint,
    PRIMARY KEY (run, sourced_id)
);
COMMENT ON TABLE planned_links IS
'For each preview, what its apply writes to the links; for held creates, what their approval writes. They delete it.';
COMMENT ON COLUMN planned_links.change IS
'The change that must be carried out first; NULL for none. A link inserted for a create has no person before that.';
COMMENT ON COLUMN planned_links.linked_run IS
'For a link that replaces older ones, the run that linked the person first.';
COMMENT ON COLUMN planned_links.archived IS 'Whether archived_run is set or cleared; NULL for neither.';
COMMENT ON COLUMN planned_links.seen IS 'A hash of the link as the plan saw it; NULL if there was none.';

CREATE TABLE link_changes (
    run bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    sourced_id text COLLATE "C" NOT NULL,
    before jsonb,
    PRIMARY KEY (run, sourced_id)
);
CREATE INDEX link_changes_sourced_id ON link_changes (sourced_id);
COMMENT ON TABLE link_changes IS
'The links that a sync, apply or approval wrote, as they were before, for its undo. A new link has a row only if its '
'linked_run is another run.';
COMMENT ON COLUMN link_changes.before IS 'The row of links; NULL if there was none.';

CREATE TABLE recipients (
    connection text NOT NULL REFERENCES connections ON DELETE CASCADE,
    email text NOT NULL,
    send text NOT NULL DEFAULT 'always' CHECK (send IN ('always', 'problems', 'changes', 'never')),
    manual boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection, email)
);
COMMENT ON TABLE recipients IS 'Who gets mail about runs, and about which.';

CREATE TABLE outbox (
    mail bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint NOT NULL,
    connection text NOT NULL,
    email text NOT NULL,
    subject text NOT NULL,
    body_text text NOT NULL,
    body_html text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    origin text NOT NULL,
    site text,
    UNIQUE (run, email)
);
CREATE INDEX outbox_connection ON outbox (connection, mail);
CREATE INDEX outbox_waiting ON outbox (next_attempt_at) WHERE state = 'waiting';
COMMENT ON TABLE outbox IS 'Mail to recipients. If the mail server is down, mail is delayed and not lost.';
COMMENT ON COLUMN outbox.site IS 'The site of the run.';
COMMENT ON COLUMN outbox.origin IS 'server_origin() where the mail was written; a restored copy sends none of it.';

CREATE TABLE audit (
    entry bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    called_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    role name NOT NULL,
    function name NOT NULL,
    connection text,
    run bigint,
    given text[] NOT NULL,
    site text
);
CREATE INDEX audit_called_at ON audit (called_at);
COMMENT ON TABLE audit IS
'Who called a function that changes settings, decides, cancels or forgets, or requested a sync, apply, approval or '
'undo; when, and for which connection or run. runs.requested_by says who requested any other run. Kept for '
'minga_roster.keep_audit days.';
COMMENT ON COLUMN audit.role IS 'The role with whose rights the function was called.';
COMMENT ON COLUMN audit.site IS 'The site that the call was about; NULL for none.';
COMMENT ON COLUMN audit.given IS
'The names of the arguments that were not NULL, including defaults, without their values.';

CREATE TABLE forgotten_people (
    site text NOT NULL,
    erasure uuid NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (site, hash, erasure)
);
COMMENT ON TABLE forgotten_people IS
'Who was erased by roster_forget: keyed hashes (HMAC-SHA-256) of what a roster row of the person may have, so that no '
'sync creates the person again. Without the sealed key, which secrets has, they tell nothing.';
COMMENT ON COLUMN forgotten_people.erasure IS 'The same for the hashes of one person.';

CREATE TABLE staged_users (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    role text,
    enabled boolean NOT NULL,
    damaged boolean NOT NULL,
    given_name text,
    family_name text,
    middle_name text,
    preferred_name text,
    username text,
    identifier text,
    email text,
    phone text,
    grade text,
    date_last_modified text,
    org_ids text[],
    agent_ids text[],
    outcome text,
    roles text[],
    damaged_field text,
    legacy_id text COLLATE "C",
    relationships jsonb,
    id_sent bigint
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_users IS
'The stage: users as received in the latest fetch of each connection, typed, names in NFC and trimmed, absent and '
'empty values as NULL. After a delta (runs.is_full false): all staff, and the changed students and contacts.';
COMMENT ON COLUMN staged_users.status IS 'As sent, in lower case; NULL if it was missing, which means active.';
COMMENT ON COLUMN staged_users.enabled IS 'enabledUser; true if it was missing.';
COMMENT ON COLUMN staged_users.damaged IS
'The row had invalid UTF-8, \u0000, a lone surrogate or a bare control character, each now U+FFFD; or a field that '
'identifies a person had the wrong JSON type or more than 1024 bytes, and is now NULL. In email, username, phones, '
'middle and preferred name and grade such a value counts as absent, and the row is not damaged.';
COMMENT ON COLUMN staged_users.damaged_field IS
'For a damaged row, the OneRoster name of the first field that could not be read; NULL if only characters could not be '
'read.';
COMMENT ON COLUMN staged_users.legacy_id IS
'The sourcedId of the user in OneRoster 1.1, as sent by Infinite Campus 1.2, without the letter of its role. '
'roster_relink uses it.';
COMMENT ON COLUMN staged_users.relationships IS
'What Infinite Campus 1.2 sends about how users are related, [{"id": sourcedId, "guardian": boolean or null, "type": '
'text or null}]. The choice of the primary contact uses it. No other metadata is kept.';
COMMENT ON COLUMN staged_users.role IS
'In lower case. For a OneRoster 1.2 row, the role at the school: the primary one; of several roles there in one '
'family, the one with the best rank in role_rules.';
COMMENT ON COLUMN staged_users.roles IS
'The roles of a OneRoster 1.2 row at the school, primary ones first; NULL unless there are several.';
COMMENT ON COLUMN staged_users.date_last_modified IS
'In UTC and in one format, 2026-01-31T23:59:59.999Z, so that comparing text compares times; NULL if it was missing or '
'unreadable.';
COMMENT ON COLUMN staged_users.agent_ids IS
'The agents that the row names, in order; an empty string for each one named without an ID.';
COMMENT ON COLUMN staged_users.id_sent IS
'If characters were removed from the sourcedId, a hash of it with them: two IDs that differ only in these are not one.';
COMMENT ON COLUMN staged_users.org_ids IS 'The schools of the user, after a diagnosis; NULL after any other run.';
COMMENT ON COLUMN staged_users.given_name IS
'Of a user whose category is not rostered (runs.reduced_roles), as family_name and preferred_name: in a form that only '
'the run itself could compare. The columns that are no keys are NULL.';
COMMENT ON COLUMN staged_users.outcome IS
'What the latest plan made of the user: create, link, update, restore, unchanged, skip, conflict, reject, protect, '
'merged, contact, ignore or forgotten. Rows of a run that plans start as unchanged, so that an unchanged night writes '
'none of them; after a plain fetch it stays NULL.';

CREATE UNLOGGED TABLE stages (
    connection text NOT NULL PRIMARY KEY,
    run bigint NOT NULL,
    is_full boolean NOT NULL,
    has_contacts boolean NOT NULL
);
COMMENT ON TABLE stages IS
'Which run''s rows the stage of a connection holds. A connection has no row while a run fills the stage, after a fetch '
'that did not end well, after a crash, and with minga_roster.keep_stage off.';
COMMENT ON COLUMN stages.is_full IS 'False after a delta: of students and contacts only those who changed are staged.';
COMMENT ON COLUMN stages.has_contacts IS 'Whether contacts were read.';

CREATE TABLE staged_orgs (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    name text,
    type text,
    identifier text,
    parent_id text COLLATE "C",
    status text
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_orgs IS 'The stage: the schools visible to the connection''s key.';

DO $$
DECLARE
    config text;
BEGIN
    FOREACH config IN ARRAY ARRAY['people_relations', 'connections', 'connections_number_seq', 'toggles', 'secrets',
        'key_pairs', 'runs', 'runs_run_seq',
        'run_counts', 'run_steps', 'findings', 'run_figures', 'run_findings', 'collections', 'changes',
        'conflict_candidates', 'conflict_pairs', 'match_decisions',
        'column_owners', 'written_values', 'server_facts', 'stored_values', 'links', 'planned_links', 'link_changes',
        'recipients', 'outbox', 'outbox_mail_seq', 'audit', 'audit_entry_seq', 'forgotten_people']
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(('minga_roster.' || config)::regclass, '');
    END LOOP;
    PERFORM pg_catalog.pg_extension_config_dump('minga_roster.sis'::regclass, 'WHERE NOT builtin');
    PERFORM pg_catalog.pg_extension_config_dump('minga_roster.role_rules'::regclass, 'WHERE NOT builtin');
END
$$;
-- Levels: who may do what at which site. One predicate decides, has_level(); the door asks it for a caller
-- (check_level), policies ask it for the current user (sites_of). Superusers and members of the role that owns these
-- tables have the DBA level, which is above all others.

CREATE FUNCTION minga_roster_internal.caller() RETURNS name
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_caller';
COMMENT ON FUNCTION minga_roster_internal.caller() IS
'The role that called the function of schema minga_roster that is running; outside of one, the current user.';

CREATE TABLE role_levels (
    role name NOT NULL,
    role_oid oid NOT NULL,
    origin text NOT NULL,
    level text NOT NULL CHECK (level IN ('reader', 'owner', 'district_manager')),
    site text CHECK (site <> ''),
    district text CHECK (district <> ''),
    opened boolean NOT NULL DEFAULT false,
    granted_by name NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (role_oid, origin, level, site, district),
    CHECK ((site IS NULL) <> (district IS NULL)),
    CHECK (CASE level WHEN 'owner' THEN site IS NOT NULL WHEN 'district_manager' THEN district IS NOT NULL ELSE true
        END)
);
CREATE INDEX role_levels_site ON role_levels (site);
CREATE INDEX role_levels_district ON role_levels (district);
-- Required by a publication of all tables.
ALTER TABLE role_levels REPLICA IDENTITY FULL;
COMMENT ON TABLE role_levels IS
'Who has which level: at a site, or at all sites of a district. Written through roster_grant and roster_revoke; '
'roster_access shows it.';
COMMENT ON COLUMN role_levels.role_oid IS
'The role on the server where the level was granted (origin), so that a new role of the same name does not inherit it.';
COMMENT ON COLUMN role_levels.origin IS
'server_origin() at the grant. In a restored copy OIDs mean nothing, and the level is that of the role of this name.';
COMMENT ON COLUMN role_levels.opened IS
'roster_grant gave the role USAGE on schema minga_roster, and the last roster_revoke takes it back.';

CREATE TABLE minga_roster_internal.function_levels (
    function name NOT NULL PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('reader', 'owner', 'district_manager', 'dba')),
    checks_itself boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE minga_roster_internal.function_levels IS
'The least level for each function that people call. reader, owner and district_manager: PUBLIC has EXECUTE, and the '
'door asks for the level at the site of the argument connection, run or site. dba: only the DBA grants EXECUTE.';
COMMENT ON COLUMN minga_roster_internal.function_levels.checks_itself IS
'The function asks for the level itself, because its arguments do not name one existing site, or shows only what the '
'caller may see.';

INSERT INTO minga_roster_internal.function_levels (function, level, checks_itself) VALUES
    ('connection_status', 'reader', true),
    ('roster_apply', 'owner', false),
    ('roster_approve', 'owner', false),
    ('roster_attach_people', 'dba', true),
    ('roster_cancel', 'owner', false),
    ('roster_configure', 'owner', false),
    ('roster_connect', 'owner', true),
    ('roster_create_people', 'dba', true),
    ('roster_decide', 'owner', false),
    ('roster_diagnose', 'owner', false),
    ('roster_diagnosis', 'reader', false),
    ('roster_disable', 'owner', false),
    ('roster_disconnect', 'owner', false),
    ('roster_enable', 'owner', false),
    ('roster_fetch', 'owner', false),
    ('roster_forget', 'owner', false),
    ('roster_grant', 'district_manager', true),
    ('roster_notify', 'owner', false),
    ('roster_preview', 'owner', false),
    ('roster_public_key', 'owner', true),
    ('roster_relink', 'owner', false),
    ('roster_release_people', 'dba', true),
    ('roster_remember', 'owner', false),
    ('roster_remove_recipient', 'owner', false),
    ('roster_report', 'reader', false),
    ('roster_report_html', 'reader', false),
    ('roster_revoke', 'district_manager', true),
    ('roster_rotate_key', 'dba', false),
    ('roster_run_due', 'dba', false),
    ('roster_send_test_mail', 'owner', false),
    ('roster_set_column_owner', 'owner', false),
    ('roster_set_sealed_secret', 'owner', false),
    ('roster_set_secret', 'owner', false),
    ('roster_set_secret_from_file', 'owner', false),
    ('roster_start', 'owner', false),
    ('roster_sync', 'owner', false),
    ('roster_test_connection', 'owner', false),
    ('roster_toggle', 'owner', false),
    ('roster_undo', 'owner', false),
    ('roster_withdraw_people', 'dba', true);

CREATE VIEW minga_roster_internal.site_districts AS
    SELECT DISTINCT ON (c.site) c.site, c.district
    FROM minga_roster.connections c
    ORDER BY c.site, c.retired_at DESC NULLS FIRST, c.number DESC;
COMMENT ON VIEW minga_roster_internal.site_districts IS
'The district of each site: that of its connections, or of the one that was retired last.';

CREATE FUNCTION minga_roster_internal.district_of(site text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.district FROM minga_roster_internal.site_districts d WHERE d.site = district_of.site;
END;
COMMENT ON FUNCTION minga_roster_internal.district_of(text) IS
'The district of a site; NULL if it has none or no connection.';

CREATE FUNCTION minga_roster_internal.level_rank(level text) RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN CASE level WHEN 'reader' THEN 1 WHEN 'owner' THEN 2 WHEN 'district_manager' THEN 3 WHEN 'dba' THEN 4 END;
COMMENT ON FUNCTION minga_roster_internal.level_rank(text) IS 'A level with a higher rank includes those below.';

CREATE FUNCTION minga_roster_internal.holder(role name, role_oid oid, origin text) RETURNS oid
LANGUAGE sql STABLE
RETURN CASE WHEN origin = minga_roster_internal.server_origin() THEN role_oid ELSE to_regrole(quote_ident(role)) END;
COMMENT ON FUNCTION minga_roster_internal.holder(name, oid, text) IS
'The role that has a level of role_levels here; the role may be gone.';

CREATE FUNCTION minga_roster_internal.is_dba(role name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_has_role(is_dba.role, c.relowner, 'USAGE') FROM pg_class c
    WHERE c.oid = 'minga_roster.role_levels'::regclass
$$;
COMMENT ON FUNCTION minga_roster_internal.is_dba(name) IS
'Whether the role has the DBA level: superusers, and roles that have the rights of the role that owns the tables.';

CREATE FUNCTION minga_roster_internal.has_level(role name, level text, site text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.is_dba(has_level.role) OR EXISTS (
        SELECT FROM minga_roster.role_levels l
        WHERE (l.site = has_level.site OR l.district = minga_roster_internal.district_of(has_level.site))
            AND minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(has_level.level)
            AND pg_has_role(has_level.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE'))
$$;
COMMENT ON FUNCTION minga_roster_internal.has_level(name, text, text) IS
'The predicate of access: whether the role has the level, or a higher one, at the site. Memberships count as for '
'privileges: a role that does not inherit has to SET ROLE.';

CREATE FUNCTION minga_roster_internal.manages(role name, district text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.is_dba(manages.role) OR EXISTS (
        SELECT FROM minga_roster.role_levels l
        WHERE l.district = manages.district AND l.level = 'district_manager'
            AND pg_has_role(manages.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE'))
$$;
COMMENT ON FUNCTION minga_roster_internal.manages(name, text) IS
'Whether the role is district_manager of the district, or has the DBA level.';

CREATE FUNCTION minga_roster_internal.sites_of_role(role name, level text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH held AS MATERIALIZED (
        SELECT l.site, l.district FROM minga_roster.role_levels l
        WHERE minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(sites_of_role.level)
            AND pg_has_role(sites_of_role.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE')
    )
    SELECT h.site FROM held h WHERE h.site IS NOT NULL
    UNION
    SELECT d.site FROM minga_roster_internal.site_districts d
    WHERE d.district IN (SELECT h.district FROM held h WHERE h.district IS NOT NULL)
$$;
COMMENT ON FUNCTION minga_roster_internal.sites_of_role(name, text) IS
'The sites at which has_level() holds through role_levels.';

CREATE FUNCTION minga_roster_internal.districts_of_role(role name, level text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.district FROM minga_roster.role_levels l
    WHERE l.district IS NOT NULL
        AND minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(districts_of_role.level)
        AND pg_has_role(districts_of_role.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE')
    UNION
    SELECT d.district FROM minga_roster_internal.site_districts d
    WHERE d.district IS NOT NULL
        AND d.site IN (SELECT minga_roster_internal.sites_of_role(districts_of_role.role, districts_of_role.level))
$$;
COMMENT ON FUNCTION minga_roster_internal.districts_of_role(name, text) IS
'The districts for which the role has the level, and those of the sites at which it has it.';

CREATE FUNCTION minga_roster_internal.caller_sees(site text, level text DEFAULT 'reader') RETURNS boolean
LANGUAGE sql STABLE
RETURN minga_roster_internal.has_level(minga_roster_internal.caller(), level, site);
COMMENT ON FUNCTION minga_roster_internal.caller_sees(text, text) IS
'Whether the caller has the level at the site. For one site; caller_sites() is for many.';

CREATE FUNCTION minga_roster_internal.caller_sites(level text DEFAULT 'reader') RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.site FROM minga_roster.connections c
    WHERE minga_roster_internal.is_dba(minga_roster_internal.caller())
    UNION
    SELECT minga_roster_internal.sites_of_role(minga_roster_internal.caller(), caller_sites.level)
    WHERE NOT minga_roster_internal.is_dba(minga_roster_internal.caller())
$$;
COMMENT ON FUNCTION minga_roster_internal.caller_sites(text) IS
'The sites at which the caller has the level; for the DBA level, the sites of all connections.';

CREATE FUNCTION minga_roster_internal.sites_of(level text) RETURNS SETOF text
LANGUAGE C STABLE STRICT ROWS 100 PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_sites_of';
COMMENT ON FUNCTION minga_roster_internal.sites_of(text) IS
'The sites at which the current user has the level, for policies and views. It answers for the current user alone, so '
'it may be called inside a security-restricted operation too.';

CREATE FUNCTION minga_roster_internal.districts_of(level text) RETURNS SETOF text
LANGUAGE C STABLE STRICT ROWS 10 PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_districts_of';
COMMENT ON FUNCTION minga_roster_internal.districts_of(text) IS
'districts_of_role() for the current user, as sites_of().';

CREATE FUNCTION minga_roster_internal.sees_all() RETURNS boolean
LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_sees_all';
COMMENT ON FUNCTION minga_roster_internal.sees_all() IS 'Whether the current user has the DBA level.';

CREATE FUNCTION minga_roster_internal.refuse_level(function name, level text, what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied for %s', what),
        DETAIL = format('Either it does not exist, or "%s" lacks the level "%s" there, which %s requires.',
            minga_roster_internal.caller(), level, function),
        HINT = format(
            'Ask the district manager or the DBA for the level: SELECT minga_roster.roster_grant(%L, %L, %s).',
            minga_roster_internal.caller(), level,
            CASE level WHEN 'district_manager' THEN 'district => ''...''' ELSE 'site => ''...''' END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.refuse_level(name, text, text) IS
'Raises 42501 for a caller without the level, in the same words whether "what" exists or not.';

CREATE FUNCTION minga_roster_internal.check_level(function name, argument text, connection text, run bigint, site text)
RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rule minga_roster_internal.function_levels;
    asked text := site;
    place text;
BEGIN
    SELECT * INTO rule FROM minga_roster_internal.function_levels f WHERE f.function = check_level.function;
    IF NOT FOUND THEN
        PERFORM minga_roster_internal.refuse_level(function, 'dba', format('function %s', function));
    END IF;
    IF rule.level = 'dba' OR rule.checks_itself OR argument IS NULL THEN
        RETURN;
    END IF;
    IF argument = 'connection' THEN
        IF connection IS NULL THEN
            PERFORM minga_roster_internal.known_connection(NULL);
        END IF;
        SELECT c.site INTO asked FROM minga_roster.connections c WHERE c.connection = check_level.connection;
    ELSIF argument = 'run' THEN
        IF run IS NULL THEN
            PERFORM minga_roster_internal.known_run(NULL);
        END IF;
        SELECT r.site, c.site INTO asked, place
        FROM minga_roster.runs r LEFT JOIN minga_roster.connections c ON c.connection = r.connection
        WHERE r.run = check_level.run;
        -- The connection that would act may be another site's by now.
        IF rule.level <> 'reader' AND place <> asked
            AND NOT minga_roster_internal.has_level(minga_roster_internal.caller(), rule.level, place) THEN
            asked := NULL;
        END IF;
    ELSIF site IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no site was given',
            HINT = 'List the sites: SELECT DISTINCT site FROM minga_roster.roster_status.';
    END IF;
    IF asked IS NULL OR NOT minga_roster_internal.has_level(minga_roster_internal.caller(), rule.level, asked) THEN
        PERFORM minga_roster_internal.refuse_level(function, rule.level, CASE argument WHEN 'run' THEN 'run ' || run
            ELSE format('%s "%s"', argument, CASE argument WHEN 'site' THEN site ELSE connection END) END);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_level(name, text, text, bigint, text) IS
'Called by the door for a caller without the DBA level, after EXECUTE: raises 42501 unless the caller has the level '
'that the function requires at the site of its argument connection, run or site. argument says which of them the '
'function has; NULL: none of them.';

SELECT pg_catalog.pg_extension_config_dump('minga_roster.role_levels'::regclass, '');
-- The SIS list. Each row says where it was read and what of it could not be confirmed.

-- What a standard server offers. 1.1 has no endpoint for the staff of one school, so that they are asked for by role.
-- In 1.2 a user has several roles, for which there is no filter that servers agree on: users are read whole, and those
-- of the school and of these roles are kept. Some servers lack the lists of one school: those of the district take
-- their place, of which the same is kept.
WITH standard (api_version, collections, scope) AS (VALUES
('1.1',
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students",
    "fallback": ["/students", "/users?filter=role=''student''"], "roles": ["student"]},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers",
    "fallback": ["/teachers", "/users?filter=role=''teacher''"], "roles": ["teacher"]},
   {"collection": "administrators", "family": "staff", "categories": ["staff", "admin"],
       "path": "/users?filter=role=''administrator''",
    "roles": ["administrator"]},
   {"collection": "aides", "family": "staff", "categories": ["staff"], "path": "/users?filter=role=''aide''",
       "roles": ["aide"]},
   {"collection": "proctors", "family": "staff", "categories": ["staff"], "path": "/users?filter=role=''proctor''",
       "roles": ["proctor"]},
   {"collection": "guardians", "family": "contact", "categories": ["student"],
       "path": "/users?filter=role=''guardian''", "roles": ["guardian"]},
   {"collection": "parents", "family": "contact", "categories": ["student"], "path": "/users?filter=role=''parent''",
       "roles": ["parent"]},
   {"collection": "relatives", "family": "contact", "categories": ["student"],
       "path": "/users?filter=role=''relative''", "roles": ["relative"]}]'::jsonb,
 'https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly '
     'https://purl.imsglobal.org/spec/or/v1p1/scope/roster.readonly'),
('1.2',
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students",
    "fallback": ["/students", "/users"], "roles": ["student"]},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers",
    "fallback": ["/teachers", "/users"], "roles": ["teacher"]},
   {"collection": "staff", "family": "staff", "categories": ["staff", "admin"], "path": "/users",
    "roles": ["aide", "counselor", "proctor", "principal", "siteAdministrator", "districtAdministrator",
        "systemAdministrator", "administrator"]},
   {"collection": "contacts", "family": "contact", "categories": ["student"], "path": "/users",
       "roles": ["guardian", "parent", "relative"]}]',
 'https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly '
     'https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly'))
INSERT INTO sis (sis, title, api_version, auth, base_paths, token_path, scope, collections, page_size, max_requests,
    page_size_limit, max_requests_limit,
    source, builtin, campus_metadata)
SELECT p.sis, p.title, p.api_version, p.auth, p.base_paths, p.token_path, CASE WHEN p.asks_scope THEN s.scope END,
    coalesce(p.collections, s.collections),
    p.page_size, 1, p.page_size_limit, p.max_requests_limit, p.source, true,
    p.sis = 'infinite_campus_1.2'
FROM (VALUES
('infinite_campus', 'Infinite Campus, OneRoster 1.1 with OAuth 2.0', '1.1', 'oauth2',
 ARRAY['/campus/api/oneroster/v1p1/{app}/ims/oneroster/v1p1', '/campus/oneroster/{app}/ims/oneroster/v1p1'],
 '/campus/oauth2/token?appName={app}', false,
 '[{"collection": "students", "family": "student", "categories": ["student"], "path": "/schools/{school}/students"},
   {"collection": "teachers", "family": "staff", "categories": ["teacher"], "path": "/schools/{school}/teachers"},
   {"collection": "administrators", "family": "staff", "categories": ["staff", "admin"],
       "path": "/schools/{school}/administrators",
    "fallback": "/users?filter=role=''administrator''", "roles": ["administrator"]},
   {"collection": "guardians", "family": "contact", "categories": ["student"], "path": "/guardians",
    "fallback": "/users?filter=role=''guardian''", "roles": ["guardian"]},
   {"collection": "relatives", "family": "contact", "categories": ["student"], "path": "/relatives",
    "fallback": "/users?filter=role=''relative''", "roles": ["relative"]}]'::jsonb,
 5000, 50000, 5,
 'support.minga.io "Setting up OneRoster with Infinite Campus" (URL, App Name, School ID); kb.infinitecampus.com '
     '"Guidelines for OneRoster API Consumers" (page size up to 50,000; one request at a time in peak hours, five at '
     'the most), "OneRoster 1.1 Data Models" (roles), "Troubleshooting OneRoster Connections" (credentials of 1.1 '
     'expire after a year); base URLs changed with Campus.2235. Not confirmed: whether totals are sent, which filters '
     'are honored.'),
('infinite_campus_1.2', 'Infinite Campus, OneRoster 1.2', '1.2', 'oauth2',
 ARRAY['/campus/api/oneroster/v1p2/{app}/ims/oneroster/rostering/v1p2', '/campus/api/ims/oneroster/rostering/v1p2'],
 '/campus/oauth2/token?appName={app}', false, NULL,
 5000, 50000, 5,
 'kb.infinitecampus.com "OneRoster - What''s New in 1.2" (one record for each person, ids other than in 1.1, roles), '
     '"Guidelines for OneRoster API Consumers", "Troubleshooting OneRoster Connections" (connections of 1.2 do not '
     'expire); public clients of it (both base URLs). Not confirmed: endpoints of its own beyond the standard, whether '
     'a scope is needed (none is sent).'),
('classlink', 'ClassLink Roster Server, directly, with OAuth 1', '1.1', 'oauth1_sha256',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, false, NULL,
 10000, 10000, 16,
 'developer.classlink.com "Accessing Data" (direct access signed with OAuth 1; client id, secret and server URL from '
     'the developer console); public clients (HMAC-SHA256 and HMAC-SHA1 are both taken; pages of 10,000). Its "1.2 '
     'format" is served under the path of 1.1. Not confirmed: how many requests at a time it bears.'),
('classlink_proxy', 'ClassLink OneRoster proxy, with a token that does not expire', '1.1', 'bearer',
 ARRAY['/{app}/ims/oneroster/v1p1', '/proxy/v1p0/{app}/ims/oneroster/v1p1'], NULL, false, NULL,
 10000, 10000, 16,
 'developer.classlink.com "Accessing Data" (https://oneroster-proxy.classlink.io/{application id}/ims/oneroster/v1p1, '
     'the access token of the developer console as Bearer); public clients (the newer host '
     'oneroster-proxy.apis.classlink.com/proxy/v1p0, x-perm-rev, 429 and 502 under load). Not confirmed: how many '
     'requests at a time it bears.'),
('powerschool', 'PowerSchool SIS, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], '/oauth/access_token', false, NULL,
 1000, 50000, 16,
 'support.classlink.com "PowerSchool API Activation" (credentials from the plugin''s Data Provider Configuration, '
     'whose Maximum Page Size caps pages in silence); public clients (/oauth/access_token with HTTP Basic). Not '
     'confirmed: the path of OneRoster below the host, so compare it with what the school shows; whether a scope is '
     'needed (none is sent). PowerSchool Unified Classroom takes token_url '
     'https://accounts.powerschool.com/as/token.oauth2.'),
('aeries', 'Aeries, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], '{prefix}/token', true, NULL,
 1000, 50000, 16,
 'support.aeries.com "OneRoster API Authentication Process" (base URL such as https://district.aeries.net/aeries, '
     'token at /token below it, formerly /v2/oauth/token; a scope must be sent; HTTP Basic preferred; cookies of the '
     'token''s answer must be kept; 6 hours). Not confirmed: page cap, requests at a time.'),
('skyward', 'Skyward SMS 2.0 and Qmlativ, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, false, NULL,
 1000, 50000, 16,
 'help.otus.com "Skyward OneRoster API Configuration" (key and secret of a Secured User; OneRoster API URL under API '
     'Configuration), support.classlink.com "Skyward API Activation" (often https://skyward.district.org/api); public '
     'clients (HTTP Basic; the token URL does not follow from the base URL). Not confirmed: token URL, scope (none is '
     'sent), which filters are honored. Teachers without identifier and users without names have been seen.'),
('synergy', 'Edupoint Synergy, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'ed.link/docs/providers/synergy (server URL and token URL as Synergy shows them; OAuth 2.0, OAuth 1 deprecated; '
     'scopes); public clients (credentials in the form body). Not confirmed: paths, page cap, requests at a time.'),
('blackbaud', 'Blackbaud Education Management, OneRoster 1.1', '1.1', 'oauth2',
 ARRAY['/afe-rostr/ims/oneroster/v1p1', '/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'developer.blackbaud.com "Integrate with third-party web apps" and "Generate OneRoster OAuth 2.0 Bearer token" '
     '(https://api.sky.blackbaud.com/afe-rostr/ims/oneroster/v1p1, token_url https://oauth2.sky.blackbaud.com/token, '
     'HTTP Basic, scope in the body; 1.1 alone); help.formative.com (older: '
     'https://school.myschoolapp.com/ims/oneroster/v1p1 with consumer key and secret). Not confirmed: whether the '
     'older address takes OAuth 1 or 2, page cap, requests at a time.'),
('oneroster_1.1', 'OneRoster 1.1 with OAuth 2.0', '1.1', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/v1p1'], NULL, true, NULL,
 1000, 50000, 16,
 'IMS OneRoster 1.1: root /ims/oneroster/v1p1, scopes roster-core and roster, roles, no endpoint for the staff of one '
     'school.'),
('oneroster_1.2', 'OneRoster 1.2 with OAuth 2.0', '1.2', 'oauth2',
 ARRAY['{prefix}/ims/oneroster/rostering/v1p2'], NULL, true, NULL,
 1000, 50000, 16,
 '1EdTech OneRoster 1.2 Rostering Service: root /ims/oneroster/rostering/v1p2, OAuth 2.0 alone, scopes roster-core and '
     'roster, roles. Not confirmed: that a server filters users by roles.role, so users are read whole.')
) AS p (sis, title, api_version, auth, base_paths, token_path, asks_scope, collections, page_size, page_size_limit,
    max_requests_limit, source)
JOIN standard s USING (api_version);

-- The roles of both versions for each SIS: a server has been seen to send the one's objects under the other's path.
-- None makes an owner or manager.
INSERT INTO role_rules (sis, roster_role, category, role, rank, builtin)
SELECT s.sis, r.roster_role, r.category, r.role, r.rank, true
FROM sis s
CROSS JOIN (VALUES
    ('student', 'student', 'student', 1),
    ('teacher', 'teacher', 'teacher', 1),
    ('administrator', 'admin', 'staff', 2),
    ('principal', 'admin', 'staff', 2),
    ('siteadministrator', 'admin', 'staff', 2),
    ('districtadministrator', 'admin', 'staff', 2),
    ('systemadministrator', 'admin', 'staff', 2),
    ('counselor', 'staff', 'staff', 3),
    ('aide', 'staff', 'staff', 3),
    ('proctor', 'staff', 'staff', 3),
    ('guardian', 'contact', NULL, 1),
    ('parent', 'contact', NULL, 1),
    ('relative', 'contact', NULL, 2)) AS r (roster_role, category, role, rank);
-- Templates: SQL that is built of parts has named holes, and each part stands where it is read.

CREATE FUNCTION minga_roster_internal.fill_template(template text, VARIADIC holes text[]) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_fill_template';
COMMENT ON FUNCTION minga_roster_internal.fill_template(text, text[]) IS
'Fills a template of SQL. The holes are pairs of a name and a value: {name} takes SQL as it is, {name:I} is quoted as '
    'an identifier and {name:L} as a literal. A value is not searched for holes. Every hole needs a value and every '
    'value a hole (22004, 22023); only {name:L} takes NULL.';
-- The people relation: created for deployments without one, checked and attached for the others. Only its shape is
-- checked here; obstacles.sql finds what else would stop a sync.

CREATE FUNCTION minga_roster_internal.people_columns(OUT "position" integer, OUT "column" text, OUT type text,
    OUT required boolean, OUT may_be_empty boolean, OUT written text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c."position", c."column", c.type, c.required, c.may_be_empty, c.written
    FROM (VALUES
        (1, 'site', 'text', true, false, 'create'),
        (2, 'person_id', 'any', true, false, 'create'),
        (3, 'role', 'text or enum', true, false, 'rule'),
        (4, 'given_name', 'text', true, false, 'value'),
        (5, 'family_name', 'text', true, false, 'value'),
        (6, 'archived_at', 'timestamp with time zone', true, true, 'rule'),
        (7, 'middle_name', 'text', false, true, 'value'),
        (8, 'preferred_name', 'text', false, true, 'value'),
        (9, 'email', 'text', false, true, 'value'),
        (10, 'username', 'text', false, true, 'value'),
        (11, 'identifier', 'text', false, true, 'value'),
        (12, 'grade', 'text', false, true, 'value'),
        (13, 'phone', 'text', false, true, 'value'),
        (14, 'parent_name', 'text', false, true, 'value'),
        (15, 'parent_email', 'text', false, true, 'value'),
        (16, 'parent_phone', 'text', false, true, 'value'),
        (17, 'parent_rule', 'text', false, true, 'value'),
        (18, 'updated_at', 'timestamp with time zone', false, false, 'rule'),
        (19, 'roster_managed', 'boolean', false, false, NULL)
    ) AS c ("position", "column", type, required, may_be_empty, written)
    ORDER BY c."position";
END;
COMMENT ON FUNCTION minga_roster_internal.people_columns() IS
'The columns of the people relation''s contract. may_be_empty: NULL is written to it, so it cannot be NOT NULL. '
'written: "create" for new people only, "value" takes values of the roster, "rule" has a rule of its own, NULL is only '
'read.';

CREATE FUNCTION minga_roster_internal.written_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT array_agg(c."column" ORDER BY c."position") FROM minga_roster_internal.people_columns() c
    WHERE c.written = 'value');
COMMENT ON FUNCTION minga_roster_internal.written_columns() IS
'The columns that take values of the roster. What is read, compared, hashed and written of a person follows from them.';

CREATE FUNCTION minga_roster_internal.fits_type(column_type oid, wanted text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base oid := minga_roster_internal.base_type(column_type);
BEGIN
    RETURN CASE wanted
        WHEN 'any' THEN true
        WHEN 'text' THEN base IN ('text'::regtype, 'varchar'::regtype)
            -- citext and similar types: text under another name, which read and write like text.
            OR (EXISTS (SELECT FROM pg_cast c WHERE c.castsource = base AND c.casttarget = 'text'::regtype
                            AND c.castmethod = 'b' AND c.castcontext = 'i')
                AND EXISTS (SELECT FROM pg_cast c WHERE c.castsource = 'text'::regtype AND c.casttarget = base
                    AND c.castcontext IN ('a', 'i')))
        WHEN 'text or enum' THEN EXISTS (SELECT FROM pg_type t WHERE t.oid = base AND t.typtype = 'e')
            OR minga_roster_internal.fits_type(base, 'text')
        WHEN 'text, boolean or enum' THEN base = 'boolean'::regtype
            OR minga_roster_internal.fits_type(base, 'text or enum')
        ELSE base = to_regtype(wanted)
    END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fits_type(oid, text) IS
'Whether a column of this type (for a domain, its base type) can hold what people_columns() says.';

-- The checks of a domain are written by its owner, so they run with the rights of the relation's owner.
CREATE FUNCTION minga_roster_internal.takes_word(relation regclass, type text, word text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN minga_roster_internal.as_owner(relation, minga_roster_internal.word_query(type), word) = 1;
EXCEPTION
    WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
        RETURN false;
    WHEN insufficient_privilege THEN
        -- people_obstacles reports missing rights.
        RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.takes_word(regclass, text, text) IS
'Whether a column of this type would hold the word unchanged.';

CREATE FUNCTION minga_roster_internal.words_of_type(type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '; it has ' || CASE WHEN base = 'boolean'::regtype THEN 'true, false'
        ELSE (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = base) END
    FROM minga_roster_internal.base_type(words_of_type.type) AS base
$$;
COMMENT ON FUNCTION minga_roster_internal.words_of_type(oid) IS
'The words of an enumerated type, as the end of a sentence; NULL for other types.';

CREATE FUNCTION minga_roster_internal.require_people_owner(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
BEGIN
    SELECT n.nspname || '.' || c.relname AS title, c.relowner INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF NOT pg_has_role(minga_roster_internal.caller(), class.relowner, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('must be owner of relation "%s"', class.title),
            DETAIL = format('It belongs to "%s", and a sync writes with that role''s rights; you are "%s".',
                pg_get_userbyid(class.relowner), minga_roster_internal.caller()),
            HINT = format('Ask a superuser or a member of "%s" to do it.', pg_get_userbyid(class.relowner));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_people_owner(regclass) IS
'42501 unless the caller owns the relation, is a member of its owner, or is a superuser: who attaches people or '
'connects a SIS to them decides what is written to them.';

CREATE FUNCTION minga_roster_internal.more_than_plain(role oid) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_more_than_plain';
COMMENT ON FUNCTION minga_roster_internal.more_than_plain(oid) IS
'Why a role is or can become more than a plain role, in words: it is a superuser or the role that the extension acts '
'with, is a member of one or of a predefined role that allows it, or can grant itself such a membership (CREATEROLE '
'before PostgreSQL 16); NULL for a plain role.';

CREATE FUNCTION minga_roster_internal.require_temporary() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT has_database_privilege(current_database(), 'TEMPORARY') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('role "%s" cannot create temporary tables in database "%s"',
                current_user, current_database()),
            DETAIL = 'A run reads people into temporary tables, with the rights of the role that owns the extension''s '
                'objects.',
            HINT = format('GRANT TEMPORARY ON DATABASE %I TO %I.', current_database(), current_user);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_temporary() IS
'42501 unless the extension''s role may create temporary tables. CREATE EXTENSION grants that, and the owner of the '
'database can revoke it.';

CREATE FUNCTION minga_roster_internal.check_people_relation(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
BEGIN
    SELECT n.nspname || '.' || c.relname AS title, n.nspname AS schema_name, pg_get_userbyid(c.relowner) AS owner,
        c.relkind, minga_roster_internal.more_than_plain(c.relowner) AS more_than_plain,
        has_schema_privilege(c.relowner, n.oid, 'USAGE') AS reaches_schema,
        (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS extension
    INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = check_people_relation.relation;
    IF class.extension IS NOT NULL OR class.schema_name LIKE 'pg\_%'
        OR class.schema_name IN ('information_schema', 'minga_roster', 'minga_roster_internal') THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('relation "%s" cannot hold people', class.title),
            DETAIL = CASE WHEN class.extension IS NOT NULL THEN format('It belongs to extension "%s".', class.extension)
                ELSE format('It is in schema "%s", which is not for other tables.', class.schema_name)
            END,
            HINT = 'Name your own table or updatable view, or create a table: SELECT '
                'minga_roster.roster_create_people(''public.people'', owner => ''people_owner'').';
    END IF;
    IF class.more_than_plain IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('relation "%s" belongs to %s', class.title, class.more_than_plain),
            DETAIL = 'A sync runs the triggers, defaults and policies of the relation with its owner''s rights, so '
                'every role that can create one gets these rights.',
            HINT = format('Give it a plain owner (if there is none, CREATE ROLE people_owner NOLOGIN): ALTER %s %s '
                'OWNER TO people_owner.',
                CASE class.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relation);
    END IF;
    IF NOT class.reaches_schema THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('owner "%s" of relation "%s" cannot use schema "%s"',
                class.owner, class.title, class.schema_name),
            DETAIL = 'A sync reads and writes the relation with its owner''s rights.',
            HINT = format('GRANT USAGE ON SCHEMA %I TO %I.', class.schema_name, class.owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_people_relation(regclass) IS
'Raises an error unless the relation may hold people: not a member of an extension and not in a system schema (42809), '
'and owned by a plain role that can use its schema (42501). Does nothing for a relation that does not exist.';

CREATE FUNCTION minga_roster_internal.given_words(roles jsonb, OUT role text, OUT word jsonb, OUT "position" bigint)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.key, w.value, w."position"
    FROM jsonb_each(given_words.roles) e
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.value) WHEN 'array' THEN e.value
        ELSE jsonb_build_array(e.value) END)
        WITH ORDINALITY w (value, "position");
END;
COMMENT ON FUNCTION minga_roster_internal.given_words(jsonb) IS
'The words of a role map as given, one per row: {"student": "STUDENT"} as {"student": ["STUDENT"]}.';

CREATE FUNCTION minga_roster_internal.known_words(roles jsonb, OUT role text, OUT word text, OUT is_first boolean)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.role, g.word #>> '{}', g."position" = 1
    FROM minga_roster_internal.given_words(known_words.roles) g
    UNION ALL
    SELECT k.role, k.role, true
    FROM minga_roster_internal.known_roles() k (role)
    WHERE NOT known_words.roles ? k.role
$$;
COMMENT ON FUNCTION minga_roster_internal.known_words(jsonb) IS
'The words for each role: those of the map, and for a role that the map does not name, the role itself. A sync writes '
'the first.';

CREATE FUNCTION minga_roster_internal.do_attach_people(relation regclass, columns jsonb, roles jsonb,
    archive_words jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
    map jsonb := coalesce(columns, '{}');
    words jsonb := coalesce(roles, '{}');
    archive jsonb := coalesce(archive_words, '{}');
    misshapen text;
    resolved jsonb;
    problems text;
    only_roles boolean;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no people relation was given',
            HINT = 'Name a table or an updatable view: SELECT minga_roster.roster_attach_people(''public.people'').';
    END IF;
    misshapen := CASE WHEN jsonb_typeof(map) <> 'object' THEN 'columns' WHEN jsonb_typeof(words) <> 'object'
        THEN 'roles'
        WHEN jsonb_typeof(archive) <> 'object' THEN 'archive_words' END;
    IF misshapen IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s must be a JSON object', misshapen),
            DETAIL = format('Found: %s.', CASE misshapen WHEN 'columns' THEN map WHEN 'roles' THEN words
                ELSE archive END),
            HINT = 'Examples: columns => ''{"given_name": "first_name"}'', roles => ''{"student": "STUDENT"}'', '
                'archive_words => ''{"active": "ACTIVE", "archived": "ARCHIVED"}''.';
    END IF;
    SELECT c.relkind, c.relpersistence, c.relowner, CASE c.relpersistence WHEN 't' THEN 'pg_temp' ELSE n.nspname END
        || '.' || c.relname AS title,
        c.relkind = 'v' AND pg_relation_is_updatable(c.oid, true) & 12 <> 12 AS read_only,
        -- If triggers of the view do the writing, they decide which columns can be written.
        c.relkind = 'v' AND pg_relation_is_updatable(c.oid, false) & 12 = 12
            AND (SELECT count(DISTINCT e.event) FROM pg_trigger t
                JOIN (VALUES (4), (16)) e (event) ON t.tgtype & 64 <> 0 AND t.tgtype & e.event <> 0
                WHERE t.tgrelid = c.oid) < 2 AS auto_updatable
    INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = format('relation "%s" does not exist', relation),
            HINT = 'Name a table or an updatable view, or create one with roster_create_people.';
    END IF;
    PERFORM minga_roster_internal.require_people_owner(relation);
    IF class.relkind NOT IN ('r', 'p', 'v') OR class.relpersistence = 't' OR class.read_only THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('relation "%s" cannot be attached', class.title),
            DETAIL = CASE
                WHEN class.relpersistence = 't' THEN 'It is temporary, so the worker that writes to it cannot see it.'
                WHEN class.relkind = 'v' THEN 'It is a view that cannot be inserted into and updated.'
                WHEN class.relkind = 'm' THEN 'It is a materialized view.'
                WHEN class.relkind = 'f' THEN 'It is a foreign table.'
                ELSE 'It is neither a table nor a view.'
            END,
            HINT = 'Name a table or an updatable view, or create a table with roster_create_people.';
    END IF;
    PERFORM minga_roster_internal.check_people_relation(relation);

    WITH named AS (
        SELECT e.key AS "column", e.value #>> '{}' AS attribute FROM jsonb_each(map) e
            WHERE jsonb_typeof(e.value) = 'string'
    ), meant AS (
        -- A column that is mapped to something else does not stand for the contract column of the same name.
        SELECT c."position", c."column", c.required, c.written,
            CASE WHEN c."column" = 'archived_at' AND archive <> '{}' THEN 'text, boolean or enum'
                ELSE c.type END AS type,
            -- People who are not archived have a status too.
            c.may_be_empty AND NOT (c."column" = 'archived_at' AND archive <> '{}') AS may_be_empty,
            coalesce(n.attribute, c."column") AS attribute, n.attribute IS NOT NULL AS is_named
        FROM minga_roster_internal.people_columns() c LEFT JOIN named n USING ("column")
        WHERE n.attribute IS NOT NULL
            OR (c."column" NOT IN (SELECT attribute FROM named)
                AND jsonb_typeof(map -> c."column") IS DISTINCT FROM 'null')
    ), present AS (
        SELECT m.*, a.attnum, a.atttypid, a.atttypmod, a.attgenerated, a.attnotnull OR t.typnotnull AS is_not_null,
            a.atthasdef OR a.attidentity <> '' AS has_default,
            CASE WHEN m.is_named THEN format('"%s" (%s)', m.attribute, m."column")
                ELSE format('"%s"', m.attribute) END AS title
        FROM meant m
        JOIN pg_attribute a ON a.attrelid = relation AND a.attname = m.attribute AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
    ), problem (section, position, problem) AS (
        SELECT 1, 0, format('Column "%s" is not part of the contract, which has %s.', e.key,
            (SELECT string_agg(c."column", ', ') FROM minga_roster_internal.people_columns() c))
        FROM jsonb_each(map) e WHERE e.key NOT IN (SELECT c."column" FROM minga_roster_internal.people_columns() c)
        UNION ALL
        SELECT 2, 0, format('The name given for column "%s" is not a string: %s.', e.key, e.value)
        FROM jsonb_each(map) e WHERE jsonb_typeof(e.value) NOT IN ('string', 'null')
        UNION ALL
        SELECT 3, 0, format('Column "%s" is mapped more than once: %s.', n.attribute,
            string_agg(n."column", ', ' ORDER BY n."column"))
        FROM named n GROUP BY n.attribute HAVING count(*) > 1
        UNION ALL
        SELECT 4, c.position, CASE WHEN map ? c."column"
            AND n.attribute IS NULL THEN format('Column "%s" is required and cannot be left out.', c."column")
            WHEN n.attribute IS NULL THEN format('Column "%s" is missing.', c."column")
            ELSE format('Column "%s" (%s) does not exist.', n.attribute, c."column") END
        FROM minga_roster_internal.people_columns() c LEFT JOIN named n USING ("column")
        WHERE (c.required OR n.attribute IS NOT NULL) AND c."column" NOT IN (SELECT p."column" FROM present p)
        UNION ALL
        SELECT 5, p.position, format('Column %s has type %s; %s is required%s.', p.title,
            format_type(p.atttypid, p.atttypmod), p.type,
            CASE WHEN p."column" <> 'archived_at' THEN ''
                WHEN archive <> '{}' THEN ' with archive_words'
                WHEN minga_roster_internal.fits_type(p.atttypid, 'text, boolean or enum') THEN
                    ', or set archive_words for its statuses: {"active": ..., "archived": ...}' ELSE '' END)
        FROM present p WHERE NOT minga_roster_internal.fits_type(p.atttypid, p.type)
        UNION ALL
        SELECT 5, p.position, format('Column %s has type %s, which has no equality operator, so people could not be '
            'found by it.',
            p.title, format_type(p.atttypid, p.atttypmod))
        FROM present p
        WHERE p."column" IN ('site', 'person_id') AND minga_roster_internal.fits_type(p.atttypid, p.type)
            AND (minga_roster_internal.equality(p.atttypid)).operator IS NULL
        UNION ALL
        SELECT 6, p.position, format('Column %s is generated and cannot be written.', p.title)
        FROM present p WHERE p.attgenerated <> '' AND p.written IS NOT NULL
        UNION ALL
        SELECT 7, p.position, format('Column %s cannot be written through the view.', p.title)
        FROM present p
        WHERE class.auto_updatable AND p.written IS NOT NULL AND NOT pg_column_is_updatable(relation, p.attnum, false)
        UNION ALL
        SELECT 8, p.position, format('Column %s has no default and is not an identity column, so new people would get '
            'no ID%s.', p.title,
            CASE class.relkind WHEN 'v'
                THEN ' (a view needs its own default: ALTER VIEW ... ALTER COLUMN ... SET DEFAULT ...)' ELSE '' END)
        FROM present p WHERE p."column" = 'person_id' AND NOT p.has_default
        UNION ALL
        SELECT 9, p.position, format('Column %s is NOT NULL, but %s.', p.title,
            CASE p."column" WHEN 'archived_at' THEN 'it must be NULL for people who are not archived'
                ELSE 'not every person has a value in the roster' END)
        FROM present p WHERE p.may_be_empty AND p.is_not_null
        UNION ALL
        SELECT 10, a.attnum, format('Column "%s" is NOT NULL without a default, and a roster does not write it.',
            a.attname)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR t.typnotnull)
            AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL
            AND a.attname NOT IN (SELECT p.attribute FROM present p WHERE p.written IS NOT NULL)
        UNION ALL
        SELECT 11, 0, format('The word given for role "%s" is not a nonempty string: %s.', g.role, g.word)
        FROM minga_roster_internal.given_words(words) g WHERE jsonb_typeof(g.word) <> 'string'
            OR g.word #>> '{}' !~ '[^[:space:]]'
        UNION ALL
        SELECT 11, 0, format('The list of words for role "%s" is empty.', e.key) FROM jsonb_each(words) e
        WHERE e.value = '[]'
        UNION ALL
        SELECT 12, 0, format('Role "%s" is unknown; the known roles are %s, and other.', e.key,
            (SELECT string_agg(k.role, ', ' ORDER BY k.role) FROM minga_roster_internal.known_roles() AS k (role)))
        FROM jsonb_each(words) e WHERE e.key <> 'other' AND e.key NOT IN (SELECT minga_roster_internal.known_roles())
        UNION ALL
        SELECT 13, 0, CASE WHEN min(w.role) = max(w.role)
            THEN format('The word "%s" is given twice for role "%s".', w.word, min(w.role))
            ELSE format('The word "%s" stands for more than one role: %s.', w.word,
                string_agg(DISTINCT w.role, ', ')) END
        FROM minga_roster_internal.known_words(words) w
        WHERE w.word ~ '[^[:space:]]'
        GROUP BY w.word HAVING count(*) > 1
        UNION ALL
        SELECT 13, 1, format('The word "%s" is given for role "%s", but accounts with this word count as %s in any '
            'letter case.',
            w.word, w.role, lower(w.word COLLATE "C"))
        FROM minga_roster_internal.known_words(words) w
        WHERE lower(w.word COLLATE "C") IN ('owner', 'manager') AND w.role <> lower(w.word COLLATE "C")
        UNION ALL
        SELECT 14, 0, CASE WHEN k.is_written THEN
                format('Role %s would be written as "%s", which column %s of type %s does not accept%s.', k.role,
                    k.word, p.title,
                    format_type(p.atttypid, p.atttypmod), minga_roster_internal.words_of_type(p.atttypid))
            ELSE format('The word "%s" is given for role %s, but column %s of type %s does not accept it%s.', k.word,
                k.role, p.title,
                format_type(p.atttypid, p.atttypmod), minga_roster_internal.words_of_type(p.atttypid)) END
        FROM present p
        CROSS JOIN (
            SELECT w.role, w.word, w.is_first AND w.role IN (SELECT r.role FROM minga_roster.role_rules r) AS is_written
            FROM minga_roster_internal.known_words(words) w
        ) k
        WHERE p."column" = 'role' AND minga_roster_internal.fits_type(p.atttypid, p.type) AND k.word ~ '[^[:space:]]'
            AND (k.is_written OR words ? k.role)
            AND NOT minga_roster_internal.takes_word(relation, format_type(p.atttypid, p.atttypmod), k.word)
        UNION ALL
        SELECT 15, 0, format('archive_words does not accept "%s"; it has the words for active and archived.', e.key)
        FROM jsonb_object_keys(archive) e (key) WHERE e.key NOT IN ('active', 'archived')
        UNION ALL
        SELECT 16, 0, format('archive_words has no word for %s.', k.state)
        FROM (VALUES ('active'), ('archived')) k (state) WHERE archive <> '{}' AND NOT archive ? k.state
        UNION ALL
        SELECT 17, 0, format('The word given for %s is not a nonempty string: %s.', e.key, e.value)
        FROM jsonb_each(archive) e
        WHERE e.key IN ('active', 'archived') AND (jsonb_typeof(e.value) NOT IN ('string', 'boolean')
            OR btrim(e.value #>> '{}') = '')
        UNION ALL
        SELECT 18, 0, format('The words given for active and archived are both "%s".', archive ->> 'active')
        WHERE archive ->> 'active' = archive ->> 'archived'
        UNION ALL
        SELECT 19, 0, format('Column %s has type %s and does not accept "%s" for %s%s.', p.title,
            format_type(p.atttypid, p.atttypmod),
            e.value, e.key, minga_roster_internal.words_of_type(p.atttypid))
        FROM present p CROSS JOIN jsonb_each_text(archive) e
        WHERE p."column" = 'archived_at' AND minga_roster_internal.fits_type(p.atttypid, p.type)
            AND e.key IN ('active', 'archived') AND btrim(e.value) <> ''
            AND NOT minga_roster_internal.takes_word(relation, format_type(p.atttypid, p.atttypmod), e.value)
    )
    SELECT (SELECT jsonb_object_agg(p."column", p.attribute) FROM present p),
        (SELECT string_agg(p.problem, E'\n' ORDER BY p.section, p.position, p.problem) FROM problem p),
        (SELECT bool_and(p.section BETWEEN 11 AND 14) FROM problem p)
    INTO resolved, problems, only_roles;

    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
            MESSAGE = format('relation "%s" cannot be attached', class.title),
            DETAIL = problems,
            HINT = CASE WHEN only_roles
                THEN 'Give each role its own words, and list accounts that a roster never writes under "other": roles '
                    '=> ''{"student": ["STUDENT", "STUDENT_LEADER"], "teacher": "TEACHER", "other": ["PARENT"]}''.'
                ELSE format('Change the relation, map columns that have other names, as in roster_attach_people(%L, '
                    'columns => ''{"given_name": "first_name"}''), or attach an updatable view that has what is '
                    'required.',
                relation) END;
    END IF;

    INSERT INTO minga_roster.people_relations (relation, columns, roles, archive_words)
    VALUES (do_attach_people.relation, resolved, coalesce((SELECT jsonb_object_agg(r.role, r.words)
        FROM (SELECT g.role, jsonb_agg(g.word ORDER BY g."position") AS words
            FROM minga_roster_internal.given_words(words) g
            GROUP BY g.role) r), '{}'), archive)
    ON CONFLICT ON CONSTRAINT people_relations_pkey DO UPDATE
    SET columns = excluded.columns, roles = excluded.roles, archive_words = excluded.archive_words;
    DELETE FROM minga_roster.stored_values v USING minga_roster.connections c
    WHERE c.people = do_attach_people.relation AND v.connection = c.connection;
    PERFORM minga_roster_internal.require_full_read(c.connection) FROM minga_roster.connections c
        WHERE c.people = do_attach_people.relation;
    PERFORM minga_roster_internal.tell_obstacles(relation);
    PERFORM minga_roster_internal.tell_roles(relation);
    PERFORM minga_roster_internal.tell_contact_columns(c) FROM minga_roster.connections c
    WHERE c.people = do_attach_people.relation AND c.retired_at IS NULL AND c.parent_contact;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_attach_people(regclass, jsonb, jsonb, jsonb) IS
'Implements roster_attach_people.';

CREATE FUNCTION roster_attach_people(relation regclass, columns jsonb DEFAULT '{}', roles jsonb DEFAULT '{}',
    archive_words jsonb DEFAULT '{}')
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_attach_people(regclass, jsonb, jsonb, jsonb) IS
'Attaches a table or updatable view of people, or attaches it again. columns maps a column of the contract to its '
    'name in the relation, {"given_name": "first_name"}; what is not named goes by its own name. roles maps a role '
    'to the deployment''s word for it or to a list of words, of which the first is written, {"student": ["STUDENT", '
    '"STUDENT_LEADER"]}; "other" has the words of accounts that a roster never writes, {"other": ["PARENT"]}. '
    'archive_words are given where archived_at is mapped to a status column (text, boolean or enum): the status of '
    'those who are active and of those who are archived, {"active": "ACTIVE", "archived": "ARCHIVED"}; any other '
    'status is not archived. Required: site, person_id (with a default or identity), role, given_name, family_name, '
    'archived_at (timestamptz, or a status column); written where present: email, username, identifier, grade, '
    'phone, middle_name, preferred_name, parent_name, parent_email, parent_phone, parent_rule, '
    'updated_at (timestamptz); read where present: roster_managed (boolean). Checks the shape and what its owner may '
    'do, and reads which roles there are. A column that is mapped to null is left out. A WARNING lists roles that '
    'name no family, and says where a publication or missing partitions would stop a sync. 42P16 names everything '
    'that is missing or unfit; 42809 for what is no table or updatable view, or belongs to an extension or the '
    'system; 42501 unless the caller owns the relation or is superuser, and where its owner is a superuser, may not '
    'use its schema, or may not read and write the relation; 0A000 where a rule rewrites what a sync writes.';

CREATE FUNCTION minga_roster_internal.known_roles() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT r.role FROM role_rules r WHERE r.role IS NOT NULL UNION VALUES ('owner'), ('manager');
END;
COMMENT ON FUNCTION minga_roster_internal.known_roles() IS
'Roles that a roster writes, and those that it protects (owner, manager).';

CREATE FUNCTION minga_roster_internal.relation_named(schema_name name, relation_name name) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid FROM pg_class c
    WHERE c.relname = relation_named.relation_name
        AND c.relnamespace = CASE relation_named.schema_name WHEN 'pg_temp' THEN pg_my_temp_schema()
            ELSE to_regnamespace(quote_ident(relation_named.schema_name))::oid END
$$;
COMMENT ON FUNCTION minga_roster_internal.relation_named(name, name) IS
'The relation of that name, in a schema that the extension''s role may be unable to use; NULL if there is none.';

CREATE FUNCTION minga_roster_internal.check_new_people(schema_name name, relation_name name, owner name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := format('%I.%I', schema_name, relation_name);
    more_than_plain text;
BEGIN
    IF to_regnamespace(quote_ident(schema_name)) IS NULL AND schema_name <> 'pg_temp' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
            MESSAGE = format('schema "%s" does not exist', schema_name),
            HINT = format('Name an existing schema, or create it: CREATE SCHEMA %I.', schema_name);
    END IF;
    IF minga_roster_internal.relation_named(schema_name, relation_name) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
            MESSAGE = format('relation "%s.%s" already exists', schema_name, relation_name),
            HINT = format('Check and attach it: SELECT minga_roster.roster_attach_people(%L).',
                qualified);
    END IF;
    IF to_regrole(quote_ident(owner)) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not exist', owner),
            HINT = format('Create it first: CREATE ROLE %I NOLOGIN.', owner);
    END IF;
    more_than_plain := minga_roster_internal.more_than_plain(to_regrole(quote_ident(owner)));
    IF more_than_plain IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('people cannot belong to %s', more_than_plain),
            DETAIL = 'A sync runs the triggers, defaults and policies of the relation with its owner''s rights, so '
                'every role that can create one gets these rights.',
            HINT = format('Name a plain owner: CREATE ROLE people_owner NOLOGIN; '
                'SELECT minga_roster.roster_create_people(%L, owner => ''people_owner'');', qualified);
    END IF;
    IF NOT has_schema_privilege(minga_roster_internal.caller(), to_regnamespace(quote_ident(schema_name)),
        'CREATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for schema %s', schema_name),
            DETAIL = format('You are "%s", and the table is created with your rights.', minga_roster_internal.caller()),
            HINT = format('GRANT CREATE ON SCHEMA %I TO %I.', schema_name, minga_roster_internal.caller());
    END IF;
    IF NOT has_schema_privilege(owner, to_regnamespace(quote_ident(schema_name)), 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('owner "%s" cannot use schema "%s"', owner, schema_name),
            DETAIL = 'A sync reads and writes the relation with its owner''s rights.',
            HINT = format('GRANT USAGE ON SCHEMA %I TO %I.', schema_name, owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_new_people(name, name, name) IS
'What roster_create_people checks before it creates a table: that the name is free, and that the owner is a plain role '
'that can use the schema.';

-- Runs with the rights of roster_create_people's caller, so it uses nothing from the extension.
CREATE FUNCTION minga_roster_internal.make_people(schema_name name, relation_name name, owner name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := format('%I.%I', schema_name, relation_name);
BEGIN
    EXECUTE replace($ddl$
        CREATE TABLE {people} (
            site text NOT NULL,
            person_id uuid NOT NULL DEFAULT gen_random_uuid(),
            role text NOT NULL,
            given_name text NOT NULL,
            family_name text NOT NULL,
            middle_name text,
            preferred_name text,
            email text,
            username text,
            identifier text,
            grade text,
            phone text,
            parent_name text,
            parent_email text,
            parent_phone text,
            parent_rule text,
            roster_managed boolean NOT NULL DEFAULT true,
            archived_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (site, person_id)
        );
        CREATE INDEX ON {people} (site, identifier);
        CREATE INDEX ON {people} (site, lower(email));
        COMMENT ON TABLE {people} IS 'People of the sites, kept in step with their student information systems by '
            'minga_roster.';
        COMMENT ON COLUMN {people}.site IS 'The school; the first column of every key.';
        COMMENT ON COLUMN {people}.role IS 'student, teacher, staff, or another role set by the school; a roster never '
            'changes owner and manager.';
        COMMENT ON COLUMN {people}.identifier IS 'The number by which the school knows the person.';
        COMMENT ON COLUMN {people}.email IS 'Not unique: parents and siblings share addresses.';
        COMMENT ON COLUMN {people}.parent_rule IS 'The rule by which the roster chose the primary parent contact.';
        COMMENT ON COLUMN {people}.roster_managed IS 'false: never written, archived or restored by a roster.';
        COMMENT ON COLUMN {people}.archived_at IS 'When the person was archived; NULL for active.'
        $ddl$, '{people}', qualified);
    IF owner <> current_user THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', qualified, owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_people(name, name, name) IS
'Creates a people table with this name for the owner.';

CREATE FUNCTION minga_roster_internal.attach_new_people(schema_name name, relation_name name, owner name)
RETURNS regclass
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made regclass := minga_roster_internal.relation_named(schema_name, relation_name);
BEGIN
    PERFORM minga_roster_internal.do_attach_people(made, '{}', '{}', '{}');
    RETURN made;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.attach_new_people(name, name, name) IS
'Attaches the table that make_people created.';

CREATE FUNCTION roster_create_people(relation text, owner name DEFAULT NULL) RETURNS regclass
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_create_people';
COMMENT ON FUNCTION roster_create_people(text, name) IS
'Creates a people table with all contract columns, attaches it and returns it. It belongs to the owner, or to the '
'caller if none is given, and is not a member of the extension, so DROP EXTENSION keeps it. The owner is a plain role '
'that can use the schema, because syncs run with its rights (22023 for a superuser, 42704 if it does not exist, 42501 '
'without USAGE). IDs are random UUIDs: they stay unique when sites move between databases, cannot be guessed, and need '
'no sequence if the table is distributed by site. There is no unique index on email. 42P07 if the relation exists (use '
'roster_attach_people).';
-- All SQL that runs on a people relation is built here; the steps of a run only pass it to as_owner and read_as_owner.
-- In each statement p is the people relation and w a row of the run's temporary table; $1 is the site, $2 the time of
-- the run, $3 and $4 are the first and last change of plan_writes. A function named ..._terms returns expressions, any
-- other one a whole statement. Statements are built for each run, because ALTER TABLE may change the relation between
-- two runs. They name everything with its schema, because the owner, with whose rights they run, may be hostile.

-- Running a statement

CREATE FUNCTION minga_roster_internal.as_owner(relation regclass, statement text,
    VARIADIC arguments text[] DEFAULT '{}') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_as_owner';
COMMENT ON FUNCTION minga_roster_internal.as_owner(regclass, text, text[]) IS
'Runs a statement with the rights of the relation''s owner inside a security-restricted operation, with row_security '
'off and the search_path of a new session, and returns how many rows it processed. Superusers only. Its errors keep '
'their SQLSTATE, but not a text that may quote a row.';

CREATE FUNCTION minga_roster_internal.read_as_owner(relation regclass, query text, target regclass,
    VARIADIC arguments text[] DEFAULT '{}') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_read_as_owner';
COMMENT ON FUNCTION minga_roster_internal.read_as_owner(regclass, text, regclass, text[]) IS
'Runs a query as as_owner runs a statement, and puts its rows into a temp table with the same columns, on which the '
'owner needs no right. Superusers only.';

CREATE FUNCTION minga_roster_internal.grant_temp(relation regclass, temp_table text, rights text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('GRANT %s ON pg_temp.%I TO %s', rights, temp_table,
        (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = relation));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.grant_temp(regclass, text, text) IS
'Gives the owner of the people relation rights on a temporary table of the run. The table outlives the run: '
    'revoke_temp takes them back.';

CREATE FUNCTION minga_roster_internal.revoke_temp(relation regclass, temp_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON pg_temp.%I FROM %s', temp_table,
        (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = relation));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.revoke_temp(regclass, text) IS
'Takes the rights of grant_temp back, so that no role is named in a table that outlives the run.';

-- Expressions: columns

CREATE FUNCTION minga_roster_internal.base_type(type oid) RETURNS oid
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_base_type';
COMMENT ON FUNCTION minga_roster_internal.base_type(oid) IS
'The type that a domain is based on; any other type itself; NULL for an OID that is no type.';

CREATE FUNCTION minga_roster_internal.type_name(type oid) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_type_name';
COMMENT ON FUNCTION minga_roster_internal.type_name(oid) IS
'The name of a type, quoted and with its schema; NULL for an OID that is no type.';

CREATE FUNCTION minga_roster_internal.equality(type oid, OUT operand text, OUT operator text)
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_equality';
COMMENT ON FUNCTION minga_roster_internal.equality(oid) IS
'The equality of a type''s default btree operator class, with its schema, and the type that it compares: the type '
    'itself, the base of a domain, or the type that it is stored like (text for varchar). NULL for a type that has '
    'none, and for rows.';

CREATE FUNCTION minga_roster_internal.column_type(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid))
    FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.column_type(regclass, text) IS
'The type of a column, or the base type of its domain, without a length: an explicit cast to char(36), or to a domain '
    'over it, would cut a value short. The column itself applies length and checks when it is written.';

CREATE FUNCTION minga_roster_internal.stored_type(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN b.typcategory IN ('S', 'V') OR (b.oid = a.atttypid AND a.atttypmod = -1) THEN
            minga_roster_internal.type_name(b.oid)
        ELSE format_type(a.atttypid, a.atttypmod)
    END
    FROM pg_attribute a
    JOIN pg_type b ON b.oid = minga_roster_internal.base_type(a.atttypid)
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.stored_type(regclass, text) IS
'The type to which a value is cast to become what the column will hold: rounded as by numeric(6, 2) or timestamptz(0), '
    'but not cut to a length, because the column rejects a longer value.';

CREATE FUNCTION minga_roster_internal.column_default(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        pg_get_expr(d.adbin, d.adrelid),
        CASE WHEN a.attidentity <> '' THEN
            (SELECT format('nextval(%L::regclass)', d.objid::regclass) FROM pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                    AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i') END,
        pg_get_expr(t.typdefaultbin, 0))
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.column_default(regclass, text) IS
'The expression of a column''s default or, for an identity column, of its next value; NULL if there is none. A view '
    'has only its own defaults.';

CREATE FUNCTION minga_roster_internal.constant_default(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s)::%s', pg_get_expr(d.adbin, d.adrelid),
        minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid)))
    FROM pg_attribute a
    JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND d.adbin::text LIKE '{CONST %'
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.constant_default(regclass, text) IS
'The default of a column if it is a constant, so that evaluating it has no effect; otherwise NULL.';

CREATE FUNCTION minga_roster_internal.equal_terms(relation regclass, attribute text, other text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this record;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) AS title, e.operator, e.operand,
        minga_roster_internal.type_name(a.atttypid) AS type,
        minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid)) AS base_type
    INTO this
    FROM pg_attribute a
    CROSS JOIN LATERAL minga_roster_internal.equality(a.atttypid) e
    WHERE a.attrelid = equal_terms.relation AND a.attname = equal_terms.attribute AND NOT a.attisdropped;
    IF this.title IS NULL THEN
        -- The statement's own error names the missing column.
        RETURN format('p.%I OPERATOR(pg_catalog.=) (%s)', attribute, other);
    END IF;
    IF this.operator IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_function',
            MESSAGE = format('column "%s" of relation "%s" has type %s, which has no equality operator',
                attribute, relation, this.title),
            DETAIL = 'Its type was changed after the relation was attached.',
            HINT = format('Give the column a type that can be compared, then attach the relation again: '
                'SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
    RETURN minga_roster_internal.fill_template('{column} {operator} ({other})::{base_type}{operand}',
        'column', CASE this.operand WHEN this.type THEN format('p.%I', attribute)
            ELSE format('(p.%I)::%s', attribute, this.operand) END,
        'operator', this.operator,
        'other', other,
        'base_type', this.base_type,
        'operand', CASE this.operand WHEN this.base_type THEN '' ELSE '::' || this.operand END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.equal_terms(regclass, text, text) IS
'An expression that compares a column of p with another expression (a text, or of the column''s type) by the default '
    'equality of the column''s type. Indexes of the column serve it.';

CREATE FUNCTION minga_roster_internal.value_terms(map jsonb, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN map ? name THEN format('p.%I::pg_catalog.text', map ->> name) ELSE 'NULL::pg_catalog.text' END;
COMMENT ON FUNCTION minga_roster_internal.value_terms(jsonb, text) IS
'The value of p in a column of the contract, as text; NULL if the relation does not have the column.';

-- Expressions: roles

CREATE FUNCTION minga_roster_internal.role_terms(relation regclass, word text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Owners and managers are known in any case, so that none of them is taken for someone else. A word "other" that
    -- the map does not name says nothing about its people.
    SELECT minga_roster_internal.fill_template($template$
        CASE
            {words}
            WHEN {word} IN ('student', 'student_leader', 'teacher', 'staff', 'admin') THEN {word}
            WHEN pg_catalog.lower({word} COLLATE pg_catalog."C") IN ('owner', 'manager')
                THEN pg_catalog.lower({word} COLLATE pg_catalog."C")
            WHEN {word} = 'other' THEN '(other)'
            ELSE {word}
        END
        $template$,
        'word', role_terms.word,
        'words', coalesce(
            (SELECT string_agg(format('WHEN %s IN (%s) THEN %L', role_terms.word, g.words, g.role), ' ' ORDER BY g.role)
            FROM (
                SELECT w.role, string_agg(quote_literal(w.word), ', ' ORDER BY w.word) AS words
                FROM minga_roster_internal.known_words(r.roles) w
                WHERE r.roles ? w.role
                GROUP BY w.role
            ) g), ''))
    FROM minga_roster.people_relations r
    WHERE r.relation = role_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.role_terms(regclass, text) IS
'An expression that turns the relation''s word for a role into the contract''s: each of its words into the role, the '
    'words of other into other, owner and manager in any case. Any other word stays as it is.';

CREATE FUNCTION minga_roster_internal.role_word_terms(relation regclass, role text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template('CASE {words} WHEN false THEN NULL ELSE {role} END',
        'role', role_word_terms.role,
        'words', coalesce(
            (SELECT string_agg(format('WHEN %s = %L THEN %L', role_word_terms.role, w.role, w.word), ' '
                ORDER BY w.role)
            FROM minga_roster_internal.known_words(r.roles) w
            WHERE r.roles ? w.role AND w.is_first AND w.role <> 'other'), ''))
    FROM minga_roster.people_relations r
    WHERE r.relation = role_word_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.role_word_terms(regclass, text) IS
'An expression that turns a role of the contract into the word that a sync writes for it. A role without a word is its '
    'own word.';

CREATE FUNCTION minga_roster_internal.first_words(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(quote_literal(w.word), ', ' ORDER BY w.word)
    FROM minga_roster.people_relations r
    CROSS JOIN LATERAL minga_roster_internal.known_words(r.roles) w
    WHERE r.relation = first_words.relation AND w.is_first AND w.role <> 'other'
$$;
COMMENT ON FUNCTION minga_roster_internal.first_words(regclass) IS
'The words that a sync writes for roles, as a list of literals.';

CREATE FUNCTION minga_roster_internal.protection_terms(managed text, role text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.fill_template($template$
    CASE WHEN {managed} THEN
        CASE {role} WHEN 'owner' THEN 'owner_or_manager' WHEN 'manager' THEN 'owner_or_manager'
            WHEN 'other' THEN 'other_role' END
    ELSE 'unmanaged' END
    $template$,
    'managed', managed,
    'role', role);
COMMENT ON FUNCTION minga_roster_internal.protection_terms(text, text) IS
'The rule that says who is protected: an expression that is NULL for a person whom a sync may write, archive and '
    'restore, and otherwise the reason, a code of state_reason.';

-- Expressions: the archive

CREATE FUNCTION minga_roster_internal.archive_terms(relation regclass, OUT archived text, OUT archived_at text,
    OUT status text, OUT hashed text, OUT unchanged text, OUT as_archived text, OUT as_restored text,
    OUT as_created text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text;
    active_word text;
    archived_word text;
    type text;
BEGIN
    SELECT r.columns ->> 'archived_at', r.archive_words ->> 'active', r.archive_words ->> 'archived'
    INTO attribute, active_word, archived_word
    FROM minga_roster.people_relations r
    WHERE r.relation = archive_terms.relation;
    IF archived_word IS NULL THEN
        archived := format('p.%I IS NOT NULL', attribute);
        archived_at := format('p.%I', attribute);
        status := 'NULL::pg_catalog.text';
        hashed := format('pg_catalog.date_part(''epoch'', p.%I)', attribute);
        as_archived := 'coalesce((w.after ->> ''archived_at'')::pg_catalog.timestamptz, $2::pg_catalog.timestamptz)';
        as_restored := 'NULL';
    ELSE
        type := minga_roster_internal.column_type(relation, attribute);
        archived := format('(p.%I::pg_catalog.text = %L) IS TRUE', attribute, archived_word);
        archived_at := 'NULL::pg_catalog.timestamptz';
        status := format('p.%I::pg_catalog.text', attribute);
        hashed := status;
        as_archived := format('coalesce(w.after ->> ''archived_at'', %L)::%s', archived_word, type);
        as_restored := format('(w.after ->> ''archived_at'')::%s', type);
        as_created := format('%L::%s', active_word, type);
    END IF;
    unchanged := minga_roster_internal.fill_template($template$
        (NOT w.before ? 'archived_at'
            OR p.{attribute:I}::{type} IS NOT DISTINCT FROM (w.before ->> 'archived_at')::{type})
        $template$,
        'attribute', attribute,
        'type', CASE WHEN archived_word IS NULL THEN 'pg_catalog.timestamptz' ELSE 'pg_catalog.text' END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.archive_terms(regclass) IS
'Expressions for the archive of a relation, which has a time or a status column: whether p is archived; its time and '
    'its status, one of them NULL; what stands for it in a hash; whether it is as w has it in before; and what an '
    'archive, a restore and a create write. as_created is NULL for a time.';

CREATE FUNCTION minga_roster_internal.people_terms(relation regclass, OUT map jsonb, OUT people text, OUT of_site text,
    OUT person_id text, OUT role_word text, OUT role text, OUT managed text, OUT protection text, OUT "values" text[],
    OUT hash text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT r.columns INTO map FROM minga_roster.people_relations r WHERE r.relation = people_terms.relation;
    people := relation::text;
    of_site := minga_roster_internal.equal_terms(relation, map ->> 'site', '$1');
    person_id := minga_roster_internal.value_terms(map, 'person_id');
    role_word := minga_roster_internal.value_terms(map, 'role');
    role := minga_roster_internal.role_terms(relation, role_word);
    managed := CASE WHEN map ? 'roster_managed' THEN format('coalesce(p.%I, true)', map ->> 'roster_managed')
        ELSE 'true' END;
    protection := minga_roster_internal.protection_terms(managed, role);
    "values" := ARRAY(SELECT minga_roster_internal.value_terms(map, c.name)
        FROM unnest(minga_roster_internal.written_columns()) WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    hash := minga_roster_internal.hash_terms(
        ARRAY[role_word, managed, (minga_roster_internal.archive_terms(relation)).hashed] || "values");
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_terms(regclass) IS
'Expressions that most statements need: the map of columns, the relation, whether p is of the site $1, the id, the '
    'relation''s and the contract''s word for the role, whether p is managed, why p is protected, the columns that '
    'take values of the roster, and the hash of p.';

CREATE FUNCTION minga_roster_internal.hash_terms(parts text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('pg_catalog.hashtextextended(ROW(%s)::pg_catalog.text, 0)', array_to_string(parts, ', '));
COMMENT ON FUNCTION minga_roster_internal.hash_terms(text[]) IS
'The hash of all that a run sees of a person: the role''s word, whether the person is managed, the archive, and the '
    'columns that take values of the roster.';

-- Statements: reading people

CREATE FUNCTION minga_roster_internal.people_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {person_id},
            {role},
            {role_word},
            {role_word} IN ({first_words}),
            {archived},
            {archived_at},
            {status},
            {managed},
            {values},
            {protection}
        FROM {people} p
        WHERE {of_site}
        $template$,
        'person_id', terms.person_id,
        'role', terms.role,
        'role_word', terms.role_word,
        'first_words', minga_roster_internal.first_words(relation),
        'archived', archive.archived,
        'archived_at', archive.archived_at,
        'status', archive.status,
        'managed', terms.managed,
        'values', array_to_string(terms."values", ', '),
        'protection', terms.protection,
        'people', terms.people,
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_query(regclass) IS
'Reads the people of the site into plan_people.';

CREATE FUNCTION minga_roster_internal.seen_people_query() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.fill_template('SELECT p.person_id, {hash} FROM plan_people p',
    'hash', minga_roster_internal.hash_terms(
        ARRAY['p.role_word', 'p.managed', 'coalesce(p.status, pg_catalog.date_part(''epoch'', p.archived_at)::text)']
        || minga_roster_internal.written_columns()));
COMMENT ON FUNCTION minga_roster_internal.seen_people_query() IS
'The hash of each row of plan_people: the same as the hash of people_terms for the person in the relation.';

CREATE FUNCTION minga_roster_internal.newcomers_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {person_id},
            {given_name},
            {family_name},
            {identifier},
            {email},
            {username}
        FROM {people} p
        WHERE {of_site}
        $template$,
        'person_id', terms.person_id,
        'given_name', minga_roster_internal.value_terms(terms.map, 'given_name'),
        'family_name', minga_roster_internal.value_terms(terms.map, 'family_name'),
        'identifier', minga_roster_internal.value_terms(terms.map, 'identifier'),
        'email', minga_roster_internal.value_terms(terms.map, 'email'),
        'username', minga_roster_internal.value_terms(terms.map, 'username'),
        'people', terms.people,
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.newcomers_query(regclass) IS
'Reads the names and keys of the people of the site.';

CREATE FUNCTION minga_roster_internal.any_person_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT FROM %s p LIMIT 1', relation);
COMMENT ON FUNCTION minga_roster_internal.any_person_query(regclass) IS
'One row if the relation has people of any site.';

CREATE FUNCTION minga_roster_internal.any_person_of_site_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT FROM %s p WHERE %s LIMIT 1', relation,
    (minga_roster_internal.people_terms(relation)).of_site);
COMMENT ON FUNCTION minga_roster_internal.any_person_of_site_query(regclass) IS
'One row if the relation has people of the site.';

CREATE FUNCTION minga_roster_internal.person_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template('SELECT FROM {people} p WHERE {of_site} AND {person_id} = $2',
        'people', terms.people,
        'of_site', terms.of_site,
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.person_query(regclass) IS
'One row if the site has the person with the person_id $2.';

CREATE FUNCTION minga_roster_internal.person_keys_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {given_name},
            {family_name},
            {identifier},
            {email}
        FROM {people} p
        WHERE {of_site} AND {person_id} = $2
        $template$,
        'given_name', minga_roster_internal.value_terms(terms.map, 'given_name'),
        'family_name', minga_roster_internal.value_terms(terms.map, 'family_name'),
        'identifier', minga_roster_internal.value_terms(terms.map, 'identifier'),
        'email', minga_roster_internal.value_terms(terms.map, 'email'),
        'people', terms.people,
        'of_site', terms.of_site,
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.person_keys_query(regclass) IS
'Reads the names and keys of the person of the site who has the person_id $2.';

CREATE FUNCTION minga_roster_internal.words_query(relation regclass, "column" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT r.word, pg_catalog.count(*)
        FROM (SELECT {value} AS word FROM {people} p LIMIT 1000000) r
        GROUP BY r.word
        ORDER BY pg_catalog.count(*) DESC, r.word COLLATE pg_catalog."C"
        LIMIT 1000
        $template$,
        'value', minga_roster_internal.value_terms(r.columns, words_query."column"),
        'people', relation::text)
    FROM minga_roster.people_relations r
    WHERE r.relation = words_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.words_query(regclass, text) IS
'The 1,000 most frequent values of a column of the contract in the first million rows, and how many people have each.';

-- Statements: writing people. Rows of w without a code, from change $3 to $4, are written.

CREATE FUNCTION minga_roster_internal.write_terms(kind text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('w.action = %L AND w.code IS NULL AND w.change BETWEEN $3::pg_catalog.int4 AND $4::pg_catalog.int4',
    kind);
COMMENT ON FUNCTION minga_roster_internal.write_terms(text) IS
'Whether w is one of the writes of this kind to carry out.';

CREATE FUNCTION minga_roster_internal.now_terms(relation regclass, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE name WHEN 'role' THEN
            minga_roster_internal.role_terms(r.relation, minga_roster_internal.value_terms(r.columns, name))
        ELSE minga_roster_internal.value_terms(r.columns, name) END
    FROM minga_roster.people_relations r
    WHERE r.relation = now_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.now_terms(regclass, text) IS
'The value of p in a column of the contract, in the words of before and after.';

CREATE FUNCTION minga_roster_internal.sent_terms(relation regclass, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s)::%s',
        CASE name WHEN 'role' THEN minga_roster_internal.role_word_terms(r.relation, 'w.after ->> ''role''')
            ELSE format('w.after ->> %L', name) END,
        minga_roster_internal.column_type(r.relation, r.columns ->> name))
    FROM minga_roster.people_relations r
    WHERE r.relation = sent_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.sent_terms(regclass, text) IS
'The value in w.after for a column of the contract, of the column''s type.';

CREATE FUNCTION minga_roster_internal.fits_terms(relation regclass, kind text, compared text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template('({protection}) IS NULL AND {archived} AND {unchanged}{values}',
        'protection', (minga_roster_internal.people_terms(relation)).protection,
        'archived', CASE kind WHEN 'restore' THEN archive.archived ELSE format('NOT (%s)', archive.archived) END,
        'unchanged', archive.unchanged,
        'values', coalesce(
            (SELECT string_agg(
                minga_roster_internal.fill_template(
                    ' AND (NOT w.before ? {name:L} OR {now} IS NOT DISTINCT FROM w.before ->> {name:L})',
                    'name', c,
                    'now', minga_roster_internal.now_terms(relation, c)),
                '' ORDER BY c)
            FROM unnest(compared) c), ''));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fits_terms(regclass, text, text[]) IS
'Whether p is still as w expects: not protected, in or out of the archive, and with the values of before.';

CREATE FUNCTION minga_roster_internal.update_statement(relation regclass, kind text, written text[], fits text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        WITH hit AS (
            UPDATE {people} p
            SET {assignments}
            FROM pg_temp.plan_writes w
            WHERE {of_site}
                AND {of_person}
                AND {of_writes}
                AND {fits}
            RETURNING w.change
        )
        SELECT h.change, NULL::pg_catalog.text FROM hit h
        $template$,
        'people', terms.people,
        'assignments', concat_ws(', ',
            CASE kind
                WHEN 'archive' THEN format('%I = %s', terms.map ->> 'archived_at', archive.as_archived)
                WHEN 'restore' THEN format('%I = %s', terms.map ->> 'archived_at', archive.as_restored)
            END,
            (SELECT string_agg(
                minga_roster_internal.fill_template(
                    '{attribute:I} = CASE WHEN w.after ? {name:L} THEN {sent} ELSE p.{attribute:I} END',
                    'attribute', terms.map ->> c,
                    'name', c,
                    'sent', minga_roster_internal.sent_terms(relation, c)),
                ', ' ORDER BY c)
            FROM unnest(written) c),
            CASE WHEN terms.map ? 'updated_at' THEN
                format('%I = $2::pg_catalog.timestamptz', terms.map ->> 'updated_at') END),
        'of_site', terms.of_site,
        'of_person', minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id'),
        'of_writes', minga_roster_internal.write_terms(kind),
        'fits', fits);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.update_statement(regclass, text, text[], text) IS
'Archives, updates or restores the people who fit, and returns which writes reached a person.';

CREATE FUNCTION minga_roster_internal.insert_statement(relation regclass, written text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    attributes text;
    new_values text;
BEGIN
    SELECT string_agg(quote_ident(terms.map ->> v.name), ', ' ORDER BY v.nth, v.name),
        string_agg(v.value, E',\n' ORDER BY v.nth, v.name)
    INTO attributes, new_values
    FROM (
        -- RETURNING does not tell which row of w a new person is. Rows are written one by one, so a setting tells it.
        SELECT 1, 'site', 'CASE WHEN pg_catalog.set_config(''roster_write.change'', w.change::pg_catalog.text, true) '
            'IS NOT NULL THEN $1 END'
        UNION ALL
        SELECT 2, 'person_id',
            format('w.person_id::%s', minga_roster_internal.column_type(relation, terms.map ->> 'person_id'))
        UNION ALL
        SELECT 3, 'role', minga_roster_internal.sent_terms(relation, 'role')
        UNION ALL
        -- If only some of the new people have a value, the others get the column's default.
        SELECT 4, c, CASE WHEN d IS NULL THEN minga_roster_internal.sent_terms(relation, c)
            ELSE minga_roster_internal.fill_template(
                'CASE WHEN w.after ? {name:L} THEN {sent} ELSE ({default})::{type} END',
                'name', c,
                'sent', minga_roster_internal.sent_terms(relation, c),
                'default', d,
                'type', minga_roster_internal.column_type(relation, terms.map ->> c)) END
        FROM unnest(written) c
        CROSS JOIN LATERAL minga_roster_internal.column_default(relation, terms.map ->> c) d
        WHERE c <> 'role'
        UNION ALL
        SELECT 5, 'updated_at', '$2::pg_catalog.timestamptz' WHERE terms.map ? 'updated_at'
        UNION ALL
        SELECT 6, 'archived_at', a.as_created
        FROM minga_roster_internal.archive_terms(relation) a
        WHERE a.as_created IS NOT NULL
    ) v (nth, name, value);
    RETURN minga_roster_internal.fill_template($template$
        WITH hit AS (
            INSERT INTO {people} AS p ({attributes}) OVERRIDING SYSTEM VALUE
            SELECT {values}
            FROM pg_temp.plan_writes w
            WHERE {of_writes}
            RETURNING pg_catalog.current_setting('roster_write.change')::pg_catalog.int4 AS change,
                {person_id} AS person_id
        )
        SELECT h.change, h.person_id FROM hit h
        $template$,
        'people', terms.people,
        'attributes', attributes,
        'values', new_values,
        'of_writes', minga_roster_internal.write_terms('create'),
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.insert_statement(regclass, text[]) IS
'Creates people with these columns, and returns which person each write became.';

CREATE FUNCTION minga_roster_internal.written_query(relation regclass, kind text, written text[], fits text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    differs text;
    now text;
BEGIN
    SELECT string_agg(
            minga_roster_internal.fill_template('(w.after ? {name:L} AND {now} IS DISTINCT FROM w.after ->> {name:L})',
                'name', c,
                'now', n),
            ' OR '),
        string_agg(format('%L, %s', c, n), ', ')
    INTO differs, now
    FROM unnest(written) c
    CROSS JOIN LATERAL minga_roster_internal.now_terms(relation, c) n;
    RETURN minga_roster_internal.fill_template($template$
        SELECT w.change,
            {person_id},
            {hash},
            ({fits}) IS TRUE,
            {archived},
            CASE WHEN {differs} THEN pg_catalog.jsonb_build_object({now}) END
        FROM {people} p
        JOIN pg_temp.plan_writes w ON {of_person}
        WHERE {of_site}
            AND {of_writes}
        $template$,
        'person_id', terms.person_id,
        'hash', terms.hash,
        'fits', fits,
        'archived', (minga_roster_internal.archive_terms(relation)).archived,
        'differs', coalesce(differs, 'false'),
        'now', coalesce(now, ''),
        'people', terms.people,
        'of_person', minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id'),
        'of_site', terms.of_site,
        'of_writes', minga_roster_internal.write_terms(kind));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.written_query(regclass, text, text[], text) IS
'Reads back the people of the writes of this kind: their hash, whether they still fit, whether they are archived, and '
    'the written columns if one of them is not as it was sent.';

CREATE TYPE minga_roster_internal.write_statement AS (
    action text,
    writes text,
    reads text
);
COMMENT ON TYPE minga_roster_internal.write_statement IS
'How a range of writes of this action is carried out, and how its people are read back.';

CREATE FUNCTION minga_roster_internal.write_statements(relation regclass)
RETURNS SETOF minga_roster_internal.write_statement
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH named AS (
        SELECT DISTINCT w.action, n.is_new, k.name
        FROM plan_writes w
        CROSS JOIN LATERAL (VALUES (true, w.after), (false, w.before)) n (is_new, people)
        CROSS JOIN LATERAL jsonb_object_keys(n.people) k (name)
        WHERE k.name = ANY (minga_roster_internal.written_columns() || 'role'::text)
    ), actions AS (
        SELECT a.action, ARRAY(SELECT n.name FROM named n WHERE n.action = a.action AND n.is_new) AS written,
            ARRAY(SELECT n.name FROM named n WHERE n.action = a.action AND NOT n.is_new) AS compared
        FROM unnest(ARRAY['archive', 'update', 'restore', 'create']) a (action)
        WHERE EXISTS (SELECT FROM plan_writes w WHERE w.action = a.action)
    )
    SELECT a.action,
        CASE a.action WHEN 'create' THEN minga_roster_internal.insert_statement(relation, a.written)
            ELSE minga_roster_internal.update_statement(relation, a.action, a.written, f.fits) END,
        minga_roster_internal.written_query(relation, a.action, a.written, f.fits)
    FROM actions a
    CROSS JOIN LATERAL (SELECT CASE a.action WHEN 'create' THEN 'true'
        ELSE minga_roster_internal.fits_terms(relation, a.action, a.compared) END AS fits) f
$$;
COMMENT ON FUNCTION minga_roster_internal.write_statements(regclass) IS
'The statements for the actions of plan_writes, over the columns that these have.';

CREATE FUNCTION minga_roster_internal.new_ids_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT w.change, (({default})::{type})::pg_catalog.text
        FROM pg_catalog.unnest($1::pg_catalog.int4[]) w (change)
        $template$,
        'default', minga_roster_internal.column_default(r.relation, r.columns ->> 'person_id'),
        'type', minga_roster_internal.stored_type(r.relation, r.columns ->> 'person_id'))
    FROM minga_roster.people_relations r
    WHERE r.relation = new_ids_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.new_ids_query(regclass) IS
'Draws an id for each of the changes $1 from the default of the relation.';

CREATE FUNCTION minga_roster_internal.lock_statement(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template('EXPLAIN UPDATE {people} p SET {attribute:I} = DEFAULT WHERE {of_site}',
        'people', terms.people,
        'attribute', terms.map ->> 'given_name',
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_statement(regclass) IS
'Takes the locks of an update, also on the tables below a view and on partitions. EXPLAIN needs no further right and '
    'fires no trigger.';

-- Statements: unique indexes of the relation

CREATE TYPE minga_roster_internal.unique_key AS (
    index_name text,
    expressions text[],
    types oid[],
    modifiers integer[],
    collation_oids oid[],
    collations text[],
    operators text[],
    predicate text,
    nulls_equal boolean,
    key_columns text[],
    attributes text[]
);
COMMENT ON TYPE minga_roster_internal.unique_key IS
'A unique index: its keys, its predicate, the columns that are keys themselves, and all columns that keys and '
    'predicate depend on.';

CREATE FUNCTION minga_roster_internal.unique_keys(relation regclass) RETURNS SETOF minga_roster_internal.unique_key
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.relname::text, k.expressions, k.types, k.modifiers, k.collation_oids, k.collations, k.operators,
        coalesce('(' || pg_get_expr(i.indpred, i.indrelid) || ')', 'true'), i.indnullsnotdistinct,
        u.key_columns, u.attributes
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) AS expressions,
            -- An index stores a name as cstring, which a table cannot.
            array_agg(CASE WHEN a.atttypid = 'cstring'::regtype THEN 'name'::regtype ELSE a.atttypid END::oid
                ORDER BY n) AS types,
            array_agg(a.atttypmod ORDER BY n) AS modifiers,
            array_agg(i.indcollation[n - 1] ORDER BY n) AS collation_oids,
            array_agg(CASE WHEN l.oid IS NULL THEN ''
                ELSE format(' COLLATE %I.%I', ls.nspname, l.collname) END ORDER BY n) AS collations,
            array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY n) AS operators,
            bool_and(o.oid IS NOT NULL) AS known
        FROM generate_series(1, i.indnkeyatts) n
        JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = n
        JOIN pg_opclass oc ON oc.oid = i.indclass[n - 1]
        LEFT JOIN pg_collation l ON l.oid = i.indcollation[n - 1]
        LEFT JOIN pg_namespace ls ON ls.oid = l.collnamespace
        LEFT JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amoplefttype = oc.opcintype
            AND m.amoprighttype = oc.opcintype AND m.amopstrategy = 3
            AND m.amopmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
        LEFT JOIN pg_operator o ON o.oid = m.amopopr
        LEFT JOIN pg_namespace s ON s.oid = o.oprnamespace
    ) k
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname::text) AS attributes, coalesce(bool_or(a.attgenerated <> ''), false) AS generated,
            array_agg(a.attname::text) FILTER (
                WHERE a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS key_columns
        FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0
            AND (a.attnum = ANY (i.indkey)
                OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0))
    ) u
    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND k.known AND NOT u.generated
    ORDER BY c.relname
$$;
COMMENT ON FUNCTION minga_roster_internal.unique_keys(regclass) IS
'The unique indexes of a relation that can be checked before anything is written; none over generated columns.';

CREATE FUNCTION minga_roster_internal.key_terms(index minga_roster_internal.unique_key, OUT keys text,
    OUT names text, OUT equal text, OUT comparable text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s%s AS k%s', u.expression, u."collation", u.nth), ', ' ORDER BY u.nth),
        string_agg(format('k%s', u.nth), ', ' ORDER BY u.nth),
        CASE WHEN (index).nulls_equal
            -- Rows as a whole are equal if both have NULL.
            THEN 'q."minga_roster keys" OPERATOR(pg_catalog.=) k."minga_roster keys"'
            ELSE string_agg(format('q.k%s %s k.k%s', u.nth, u.operator, u.nth), ' AND ' ORDER BY u.nth) END,
        CASE WHEN (index).nulls_equal THEN 'true'
            ELSE string_agg(format('k%s IS NOT NULL', u.nth), ' AND ' ORDER BY u.nth) END
    FROM unnest((index).expressions, (index).collations, (index).operators)
        WITH ORDINALITY u (expression, "collation", operator, nth)
$$;
COMMENT ON FUNCTION minga_roster_internal.key_terms(minga_roster_internal.unique_key) IS
'The keys of an index as columns k1, k2 …: their expressions, their names, when those of q and k are equal, and when '
    'keys can be equal at all.';

CREATE FUNCTION minga_roster_internal.make_key_table(index minga_roster_internal.unique_key) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.make_temp_table('plan_index_keys',
        ARRAY['label', 'person_id'] || array_agg('k' || n.nth ORDER BY n.nth),
        ARRAY['text'::regtype, 'text'::regtype]::oid[] || (index).types, ARRAY[-1, -1] || (index).modifiers,
        ARRAY['"C"'::regcollation, 'default'::regcollation]::oid[] || (index).collation_oids)
    FROM generate_subscripts((index).types, 1) n (nth)
$$;
COMMENT ON FUNCTION minga_roster_internal.make_key_table(minga_roster_internal.unique_key) IS
'Makes plan_index_keys, with the keys of an index as columns k1, k2 …, for the rest of the transaction.';

CREATE FUNCTION minga_roster_internal.planned_terms(relation regclass, attribute text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = planned_terms.relation);
    name text := (SELECT min(m.key) FROM jsonb_each_text(map) m
        WHERE m.value = attribute AND m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    as_created text := coalesce(minga_roster_internal.constant_default(relation, attribute), 'NULL');
    archive record;
BEGIN
    IF attribute = map ->> 'site' THEN
        RETURN format('$1::%s', minga_roster_internal.column_type(relation, attribute));
    ELSIF attribute = map ->> 'archived_at' THEN
        archive := minga_roster_internal.archive_terms(relation);
        RETURN minga_roster_internal.fill_template($template$
            CASE w.outcome
                WHEN 'create' THEN {as_created}
                WHEN 'restore' THEN {as_restored}
                ELSE p.{attribute:I}
            END
            $template$,
            'as_created', coalesce(archive.as_created, as_created),
            'as_restored', archive.as_restored,
            'attribute', attribute);
    END IF;
    RETURN minga_roster_internal.fill_template($template$
        CASE
            {sent}
            WHEN w.outcome = 'create' THEN {as_created}
            ELSE p.{attribute:I}
        END
        $template$,
        'sent', CASE WHEN name IS NULL THEN 'WHEN false THEN NULL'
            ELSE format('WHEN w.after ? %L THEN %s', name, minga_roster_internal.sent_terms(relation, name)) END,
        'as_created', as_created,
        'attribute', attribute);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_terms(regclass, text) IS
'What a column will hold after w, a row of plan_values, is carried out on p. For a new person a default is known if '
    'it is a constant; otherwise the value is NULL.';

CREATE FUNCTION minga_roster_internal.planned_keys_statement(relation regclass, index minga_roster_internal.unique_key)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        INSERT INTO pg_temp.plan_index_keys
        SELECT "minga_roster label", "minga_roster person", {expressions}
        FROM (
            SELECT w.label AS "minga_roster label", w.person_id AS "minga_roster person", {planned}
            FROM pg_temp.plan_values w
            LEFT JOIN {people} p ON {of_site} AND {of_person}
            WHERE w.index_name = $2
        ) f
        WHERE {predicate}
        $template$,
        'expressions', array_to_string(index.expressions, ', '),
        'planned', (SELECT string_agg(format('%s AS %I', minga_roster_internal.planned_terms(relation, a), a), ', ')
            FROM unnest(index.attributes) a),
        'people', terms.people,
        'of_site', terms.of_site,
        'of_person', minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id'),
        'predicate', index.predicate);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_keys_statement(regclass, minga_roster_internal.unique_key) IS
'Computes the keys that plan_values will have in the index, and puts them into plan_index_keys.';

CREATE FUNCTION minga_roster_internal.holders_query(relation regclass, index minga_roster_internal.unique_key)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    keys record := minga_roster_internal.key_terms(index);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT k.label, $2, pg_catalog.min(q."minga_roster person")
        FROM (
            SELECT label, person_id, {names}, ROW({names}) AS "minga_roster keys"
            FROM pg_temp.plan_index_keys
        ) k
        JOIN (
            SELECT r.*, ROW({names}) AS "minga_roster keys"
            FROM (
                SELECT {person_id} AS "minga_roster person", {keys}
                FROM {people} p
                WHERE {predicate} AND {of_site}
            ) r
        ) q ON {equal}
        WHERE q."minga_roster person" IS DISTINCT FROM k.person_id
        GROUP BY k.label
        $template$,
        'names', keys.names,
        'person_id', terms.person_id,
        'keys', keys.keys,
        'people', terms.people,
        'predicate', index.predicate,
        -- An index without the site allows a value once in all sites.
        'of_site', CASE WHEN terms.map ->> 'site' = ANY (index.key_columns) THEN terms.of_site ELSE 'true' END,
        'equal', keys.equal);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.holders_query(regclass, minga_roster_internal.unique_key) IS
'The rows of plan_index_keys whose key someone else in the relation has, with the index ($2) and that person.';

CREATE FUNCTION minga_roster_internal.repeated_keys_query(index minga_roster_internal.unique_key) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys record := minga_roster_internal.key_terms(index);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT c.label, $1, NULL::pg_catalog.text
        FROM (
            SELECT k.label, pg_catalog.count(*) OVER (PARTITION BY {names}) AS alike
            FROM pg_temp.plan_index_keys k
            WHERE {comparable}
        ) c
        WHERE c.alike > 1
        $template$,
        'names', keys.names,
        'comparable', keys.comparable);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.repeated_keys_query(minga_roster_internal.unique_key) IS
'The rows of plan_index_keys whose key another row has too, with the index ($1).';

-- Statements: what would stop a sync. EXPLAIN resolves, rewrites and checks a statement, and carries nothing out.

CREATE FUNCTION minga_roster_internal.probe_statements(relation regclass, OUT "right" text, OUT statement text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH columns AS (
        SELECT string_agg(minga_roster_internal.value_terms(r.columns, c."column"), ', ' ORDER BY c."position") AS read,
            string_agg(quote_ident(a), ', ' ORDER BY c."position") FILTER (WHERE c.written IS NOT NULL) AS attributes,
            string_agg(format('NULL::%s', t), ', ' ORDER BY c."position")
                FILTER (WHERE c.written IS NOT NULL) AS created,
            string_agg(format('%I = NULL::%s', a, t), ', ' ORDER BY c."position")
                FILTER (WHERE c.written IN ('value', 'rule')) AS assignments,
            min(minga_roster_internal.value_terms(r.columns, 'person_id')) AS person_id
        FROM minga_roster.people_relations r
        JOIN minga_roster_internal.people_columns() c ON r.columns ? c."column"
        CROSS JOIN LATERAL (SELECT r.columns ->> c."column") n (a)
        CROSS JOIN LATERAL minga_roster_internal.column_type(r.relation, n.a) t
        WHERE r.relation = probe_statements.relation
    )
    SELECT 'SELECT', minga_roster_internal.fill_template('EXPLAIN SELECT {read} FROM {people} p',
        'read', c.read,
        'people', relation::text)
    FROM columns c
    UNION ALL
    SELECT 'INSERT', minga_roster_internal.fill_template($template$
        EXPLAIN WITH hit AS (
            INSERT INTO {people} AS p ({attributes}) OVERRIDING SYSTEM VALUE
            SELECT {created}
            WHERE false
            RETURNING {person_id}
        )
        SELECT FROM hit
        $template$,
        'people', relation::text,
        'attributes', c.attributes,
        'created', c.created,
        'person_id', c.person_id)
    FROM columns c
    UNION ALL
    SELECT 'UPDATE', minga_roster_internal.fill_template($template$
        EXPLAIN WITH hit AS (
            UPDATE {people} p
            SET {assignments}
            RETURNING {person_id}
        )
        SELECT FROM hit
        $template$,
        'people', relation::text,
        'assignments', c.assignments,
        'person_id', c.person_id)
    FROM columns c
$$;
COMMENT ON FUNCTION minga_roster_internal.probe_statements(regclass) IS
'An EXPLAIN for each right that a sync needs (SELECT, INSERT, UPDATE), over all columns that it reads or writes.';

CREATE FUNCTION minga_roster_internal.partition_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT FROM (SELECT ($1)::{type} AS {site:I} OFFSET 0) p
        WHERE {bounds}
        $template$,
        'type', minga_roster_internal.column_type(r.relation, r.columns ->> 'site'),
        'site', r.columns ->> 'site',
        'bounds', coalesce(
            (SELECT string_agg(format('(%s)', coalesce(pg_get_partition_constraintdef(t.relid), 'true')), ' OR ')
            FROM pg_partition_tree(r.relation) t
            WHERE t.isleaf AND t.relid <> r.relation), 'false'))
    FROM minga_roster.people_relations r
    WHERE r.relation = partition_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.partition_query(regclass) IS
'One row if a partition takes people of the site, in a relation that is partitioned by the site alone.';

CREATE FUNCTION minga_roster_internal.word_query(type text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT WHERE ($1::%s)::pg_catalog.text OPERATOR(pg_catalog.=) $1', type);
COMMENT ON FUNCTION minga_roster_internal.word_query(text) IS
'One row if a column of the type would hold the word $1 as it is.';
-- What would stop a sync at the people relation, found before the first one: rights, rules, partitions, sites, words
-- for roles. Writes nothing to people; reads roles and sites as the relation's owner. Must survive hostile relations
-- and owners.

CREATE FUNCTION minga_roster_internal.probe_people(relation regclass, OUT "right" text, OUT code text, OUT detail text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    FOR "right", statement IN SELECT p."right", p.statement FROM minga_roster_internal.probe_statements(relation) p LOOP
        BEGIN
            PERFORM minga_roster_internal.as_owner(relation, statement);
        EXCEPTION WHEN OTHERS THEN
            code := SQLSTATE;
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            RETURN NEXT;
            -- Writing requires reading.
            EXIT WHEN "right" = 'SELECT';
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.probe_people(regclass) IS
'Which statements of a sync (SELECT, INSERT, UPDATE) the owner of an attached relation could not run, with SQLSTATE '
'and what was found. None of them is executed.';

CREATE FUNCTION minga_roster_internal.lacking_rights(relation regclass, "right" text, OUT owner text, OUT lacking text,
    OUT on_object text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- What is below a view is accessed with its owner's rights, or with the caller's if the view says so.
    WITH RECURSIVE below (relation, role) AS (
        SELECT c.oid, c.relowner FROM pg_class c WHERE c.oid = lacking_rights.relation
        UNION
        SELECT d.refobjid, CASE WHEN v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on',
            'security_invoker=1'] THEN b.role ELSE v.relowner END
        FROM below b
        JOIN pg_class v ON v.oid = b.relation AND v.relkind = 'v'
        JOIN pg_rewrite w ON w.ev_class = v.oid AND w.ev_type = '1'
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
    )
    SELECT pg_get_userbyid(b.role)::text, lacking_rights."right", c.oid::regclass::text
    FROM below b JOIN pg_class c ON c.oid = b.relation AND c.relkind IN ('r', 'p', 'v', 'f', 'm')
    WHERE NOT has_table_privilege(b.role, c.oid, lacking_rights."right")
    UNION ALL
    -- New people get their IDs from the default's sequence.
    SELECT pg_get_userbyid(c.relowner)::text, 'USAGE', 'SEQUENCE ' || q.oid::regclass
    FROM pg_class c
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass
        AND ((d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT f.oid FROM pg_attrdef f
            WHERE f.adrelid = c.oid)))
    JOIN pg_class q ON q.oid = d.refobjid AND q.relkind = 'S'
    WHERE c.oid = lacking_rights.relation AND lacking_rights."right" = 'INSERT'
        AND NOT has_sequence_privilege(c.relowner, q.oid, 'USAGE, UPDATE')
$$;
COMMENT ON FUNCTION minga_roster_internal.lacking_rights(regclass, text) IS
'Which role lacks a right (SELECT, INSERT, UPDATE; for an INSERT also USAGE on sequences of defaults) on the relation '
'or on what is below a view.';

CREATE FUNCTION minga_roster_internal.people_obstacles(relation regclass, OUT code text, OUT message text,
    OUT detail text,
    OUT hint text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    title text := (SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = relation);
    owner name := (SELECT pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.oid = relation);
    probe record;
    lacking record;
BEGIN
    IF title IS NULL THEN
        code := '42P01';
        message := 'the people relation does not exist';
        detail := 'It was dropped after it was attached.';
        hint := 'Restore it, or attach another one with roster_attach_people and roster_configure.';
        RETURN NEXT;
        RETURN;
    END IF;
    FOR probe IN
        SELECT p."right", p.code, p.detail FROM minga_roster_internal.probe_people(relation) p
        UNION ALL
        SELECT 'INSERT', '42501', NULL
            WHERE EXISTS (SELECT FROM minga_roster_internal.lacking_rights(relation, 'INSERT') k
            WHERE k.lacking = 'USAGE')
    LOOP
        code := probe.code;
        detail := probe.detail;
        CASE probe.code
            WHEN '42501' THEN
                SELECT string_agg(format('"%s" lacks %s on %s.', k.owner, k.lacking, k.on_object), ' '
                    ORDER BY k.on_object, k.lacking) AS found,
                    string_agg(format('GRANT %s ON %s TO %I;', k.lacking, k.on_object, k.owner), ' '
                        ORDER BY k.on_object, k.lacking) AS grants
                INTO lacking
                FROM minga_roster_internal.lacking_rights(relation, probe."right") k;
                message := format('owner "%s" of relation "%s" cannot %s', owner, title,
                    CASE probe."right" WHEN 'SELECT' THEN 'read it' WHEN 'INSERT' THEN 'insert into it'
                        ELSE 'update it' END);
                detail := concat_ws(' ', coalesce(lacking.found, probe.detail),
                    'A sync reads and writes the relation with its owner''s rights.');
                hint := coalesce(lacking.grants,
                    format('Grant "%s" the right. If row-level security is forced on the owner, use NO FORCE ROW LEVEL '
                        'SECURITY or an owner with BYPASSRLS.', owner));
            WHEN '0A000' THEN
                message := format('a sync could not %s relation "%s"', CASE probe."right"
                    WHEN 'INSERT' THEN 'insert into' ELSE 'update' END, title);
                hint := 'A rule of the relation turns one statement into several, or into none. Replace it with a '
                    'trigger (for a view, INSTEAD OF triggers).';
            WHEN '55000' THEN
                message := format('a sync could not update relation "%s"', title);
                hint := format('Give the table a primary key, or another replica identity: ALTER TABLE %s REPLICA '
                    'IDENTITY FULL. For a view, change the table below it.', relation);
            ELSE
                message := format('a sync could not %s relation "%s"', CASE probe."right" WHEN 'SELECT' THEN 'read'
                    WHEN 'INSERT' THEN 'insert into' ELSE 'update' END, title);
                hint := 'Check the relation, what is below it, and the rights of its owner. After a change of its '
                    'columns, attach it again.';
        END CASE;
        RETURN NEXT;
    END LOOP;
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'p')
        AND NOT EXISTS (SELECT FROM pg_partition_tree(relation) t WHERE t.isleaf AND t.relid <> relation)
    THEN
        code := '23514';
        message := format('table "%s" has no partition', title);
        detail := 'No person can be stored in it.';
        hint := format('Create a partition for each site, or one for all: CREATE TABLE ... PARTITION OF %s DEFAULT.',
            relation);
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_obstacles(regclass) IS
'What would stop a sync at an attached relation, without writing to it: rights of the owner '
'(42501), rules (0A000), a missing replica identity in a publication of updates (55000), no partition (23514), and any '
'other error of its statements.';

CREATE FUNCTION minga_roster_internal.tell_obstacles(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obstacle record;
BEGIN
    FOR obstacle IN SELECT * FROM minga_roster_internal.people_obstacles(relation) LOOP
        -- What is not part of the relation itself can be fixed before the first sync.
        IF obstacle.code IN ('55000', '23514') THEN
            RAISE WARNING USING ERRCODE = obstacle.code, MESSAGE = obstacle.message, DETAIL = obstacle.detail,
                HINT = obstacle.hint;
        ELSE
            RAISE EXCEPTION USING ERRCODE = obstacle.code, MESSAGE = obstacle.message, DETAIL = obstacle.detail,
                HINT = obstacle.hint;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_obstacles(regclass) IS
'Raises what people_obstacles finds: a missing replica identity and missing partitions as a WARNING, everything else '
'as an error.';

CREATE FUNCTION minga_roster_internal.count_words(relation regclass, "column" text, OUT word text, OUT people bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_temporary();
    PERFORM minga_roster_internal.make_temp_table('minga_roster words', ARRAY['word', 'people'],
        ARRAY['text', 'bigint']::regtype[], ARRAY[-1, -1], ARRAY['default'::regcollation, 0]);
    PERFORM minga_roster_internal.read_as_owner(relation,
        minga_roster_internal.words_query(relation, "column"), 'pg_temp."minga_roster words"');
    RETURN QUERY SELECT w.word, w.people FROM pg_temp."minga_roster words" w;
    DROP TABLE pg_temp."minga_roster words";
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_words(regclass, text) IS
'The words in a contract column (role, site) of an attached relation, and how many people have each: the 1,000 most '
'frequent in the first million rows.';

CREATE FUNCTION minga_roster_internal.some_words(words text[], people bigint[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('"%s" (%s)', left(minga_roster_internal.readable(coalesce(w.word, '')), 60),
            CASE w.people WHEN 1 THEN '1 person' ELSE w.people || ' people' END), ', '
                ORDER BY w.nth) FILTER (WHERE w.nth <= 10)
        || CASE WHEN count(*) > 10 THEN format(' and %s more', count(*) - 10) ELSE '' END
    FROM unnest(words, people) WITH ORDINALITY w (word, people, nth)
$$;
COMMENT ON FUNCTION minga_roster_internal.some_words(text[], bigint[]) IS
'At most ten words with their number of people, and how many more there are; cleaned of control characters.';

CREATE FUNCTION minga_roster_internal.tell_roles(relation regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_words text[];
    found_people bigint[];
    attribute text := (SELECT r.columns ->> 'role' FROM minga_roster.people_relations r
        WHERE r.relation = tell_roles.relation);
BEGIN
    EXECUTE format('SELECT array_agg(w.word ORDER BY w.people DESC, w.word COLLATE "C"), array_agg(w.people ORDER BY '
        'w.people DESC, w.word COLLATE "C") '
        'FROM minga_roster_internal.count_words($1, ''role'') w WHERE minga_roster_internal.role_family(%s) IS NULL',
        minga_roster_internal.role_terms(relation, 'w.word'))
    INTO found_words, found_people USING relation;
    IF found_words IS NOT NULL THEN
        RAISE WARNING USING
            MESSAGE = format('relation "%s" has people in roles that are not mapped', relation),
            -- A column that does not hold roles is not quoted.
            DETAIL = CASE WHEN cardinality(found_words) > 100
                THEN format('Column "%s" has more than 100 different values.', attribute)
                ELSE format('Column "%s" has %s.', attribute,
                    minga_roster_internal.some_words(found_words, found_people)) END
                || ' A roster cannot tell whether these people are students or staff, and could take them for either.',
            HINT = format('Attach the relation again with each word under its role, or under "other" for accounts that '
                'a roster never writes: roles => ''{"student": ["student", "student_leader"], "other": ["parent"]}''.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_roles(regclass) IS
'A WARNING that lists the roles in an attached relation that name no family.';

CREATE FUNCTION minga_roster_internal.tell_contact_columns(connection connections) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT (SELECT r.columns ?| ARRAY['parent_name', 'parent_email', 'parent_phone']
        FROM minga_roster.people_relations r
        WHERE r.relation = connection.people)
    THEN
        RAISE WARNING USING
            MESSAGE = format('connection "%s" will not write parent contacts', connection.connection),
            DETAIL = format('parent_contact is on, but "%s" has none of the columns parent_name, parent_email and '
                'parent_phone.', connection.people),
            HINT = format('Add the columns, of type text, and attach the relation again, or turn it off: '
                'SELECT minga_roster.roster_configure(%L, parent_contact => false).', connection.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_contact_columns(connections) IS
'A WARNING if a connection reads parent contacts and its people have no column for them.';

CREATE FUNCTION minga_roster_internal.has_partition(relation regclass, site text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text := (SELECT r.columns ->> 'site' FROM minga_roster.people_relations r
        WHERE r.relation = has_partition.relation);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'p')
        -- If other columns matter too, it shows with each person.
        OR EXISTS (
            SELECT FROM pg_partition_tree(relation) t
            JOIN pg_partitioned_table k ON k.partrelid = t.relid
            WHERE (k.partattrs::int2[])[0:k.partnatts - 1] <> (SELECT array_agg(a.attnum) FROM pg_attribute a
                WHERE a.attrelid = t.relid AND a.attname = attribute))
    THEN
        RETURN true;
    END IF;
    RETURN minga_roster_internal.as_owner(relation, minga_roster_internal.partition_query(relation), site) = 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.has_partition(regclass, text) IS
'Whether a person of the site could be stored, by the partitions for sites alone; true for a relation that is '
'not partitioned.';

CREATE FUNCTION minga_roster_internal.site_obstacles(connection connections, OUT code text, OUT message text,
    OUT detail text,
    OUT hint text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text := (SELECT r.columns ->> 'site' FROM minga_roster.people_relations r
        WHERE r.relation = connection.people);
    sites text[];
    counts bigint[];
    alike text;
BEGIN
    IF NOT minga_roster_internal.has_partition(connection.people, connection.site) THEN
        code := 'no partition';
        message := format('table "%s" has no partition for site "%s"', connection.people, connection.site);
        detail := 'A sync could not store its people.';
        hint := format('Create the partition before the first sync: CREATE TABLE ... PARTITION OF %s FOR VALUES IN '
            '(%L).',
            connection.people, connection.site);
        RETURN NEXT;
    END IF;
    IF minga_roster_internal.has_people(connection) THEN
        RETURN;
    END IF;
    SELECT array_agg(w.word ORDER BY w.people DESC, w.word COLLATE "C"),
        array_agg(w.people ORDER BY w.people DESC, w.word COLLATE "C"),
        min(w.word) FILTER (WHERE lower(w.word) = lower(connection.site))
    INTO sites, counts, alike
    FROM minga_roster_internal.count_words(connection.people, 'site') w;
    IF sites IS NOT NULL THEN
        code := 'other sites';
        message := format('"%s" has people, but none at site "%s"', connection.people, connection.site);
        detail := format('Column "%s" has %s. The first sync would create everyone next to them, so it is held for '
            'review.', attribute,
            minga_roster_internal.some_words(sites, counts));
        hint := CASE WHEN alike IS NULL
            THEN format('If you mean one of these: SELECT minga_roster.roster_configure(%L, site => ''...''). If "%s" '
                'is a new site, approve the first sync with roster_approve.', connection.connection, connection.site)
            ELSE format('If you mean "%s": SELECT minga_roster.roster_configure(%L, site => %L).',
                minga_roster_internal.readable(alike), connection.connection, alike) END;
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.site_obstacles(connections) IS
'Problems with the site of a connection: no partition for it, or people only at other sites, with those sites.';

CREATE FUNCTION minga_roster_internal.has_people(connection connections) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.as_owner((connection).people,
    minga_roster_internal.any_person_of_site_query((connection).people), (connection).site) = 1;
COMMENT ON FUNCTION minga_roster_internal.has_people(connections) IS
'Whether the relation has any people at the connection''s site.';

CREATE FUNCTION minga_roster_internal.tell_site(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obstacle record;
BEGIN
    FOR obstacle IN SELECT * FROM minga_roster_internal.site_obstacles(connection) LOOP
        RAISE WARNING USING MESSAGE = obstacle.message, DETAIL = obstacle.detail, HINT = obstacle.hint;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_site(connections) IS 'Raises what site_obstacles finds as WARNINGs.';

CREATE FUNCTION minga_roster_internal.test_people(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    begun_at timestamptz := clock_timestamp();
    known minga_roster.connections := minga_roster_internal.known_connection(
        (minga_roster_internal.known_run(run)).connection);
    found_ok boolean := true;
    found_message text;
    found_detail text;
    found_hint text;
BEGIN
    BEGIN
        PERFORM minga_roster_internal.check_people_relation(known.people);
        SELECT o.ok, o.message, o.detail, o.hint INTO found_ok, found_message, found_detail, found_hint
        FROM (
            SELECT false AS ok, p.message, p.detail, p.hint FROM minga_roster_internal.people_obstacles(known.people) p
            UNION ALL
            SELECT s.code = 'other sites', s.message, s.detail, s.hint
                FROM minga_roster_internal.site_obstacles(known) s
        ) o
        LIMIT 1;
    EXCEPTION
        WHEN syntax_error_or_access_rule_violation OR feature_not_supported OR object_not_in_prerequisite_state
            OR data_exception
            OR raise_exception THEN
            GET STACKED DIAGNOSTICS found_message = MESSAGE_TEXT, found_detail = PG_EXCEPTION_DETAIL,
            found_hint = PG_EXCEPTION_HINT;
            found_ok := false;
    END;
    UPDATE minga_roster.run_steps s
    SET ok = coalesce(found_ok, true), hint = nullif(found_hint, ''), elapsed = clock_timestamp() - begun_at,
        detail = CASE WHEN found_message IS NULL THEN format('"%s" can be read and written by its owner.', known.people)
            ELSE concat_ws(' ', upper(left(found_message, 1)) || substr(found_message, 2) || '.',
                nullif(found_detail, '')) END
    WHERE s.run = test_people.run AND s.step = 'people';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.test_people(bigint) IS
'The step "people" of a connection test: whether a sync could read and write the relation, and if not, why.';
-- Who owns a column of people: the SIS, the school, or the SIS unless someone edited it here. Auto update uses this.

CREATE FUNCTION minga_roster_internal.ownership_unit(column_name text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN column_name LIKE 'parent\_%' THEN 'parent_contact' ELSE column_name END;
COMMENT ON FUNCTION minga_roster_internal.ownership_unit(text) IS
'The unit in which a written column is owned: the column itself; for contact columns, all of them together.';

CREATE FUNCTION minga_roster_internal.local_columns(connection text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(o.column_name), '{}') FROM minga_roster.column_owners o
        WHERE o.connection = local_columns.connection AND o.owner = 'local'
$$;
COMMENT ON FUNCTION minga_roster_internal.local_columns(text) IS
'The columns that a sync of the connection writes only to new people.';

CREATE FUNCTION minga_roster_internal.do_set_column_owner(connection text, column_name text, owner text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    there text[] := ARRAY(SELECT DISTINCT minga_roster_internal.ownership_unit(c)
        FROM unnest(minga_roster_internal.written_columns()) c
        JOIN minga_roster.people_relations r ON r.relation = known.people AND r.columns ? c ORDER BY 1);
BEGIN
    IF column_name IS NULL OR column_name <> ALL (there) THEN
        PERFORM minga_roster_internal.refuse_parameter('column_name', column_name,
            format('A sync writes %s.', array_to_string(there, ', ')),
            'Use the contract''s column names, whatever the relation calls them; parent_contact stands for all columns '
                'of the contact.');
    END IF;
    IF owner IS NULL OR owner NOT IN ('sis', 'local', 'sis unless edited') THEN
        PERFORM minga_roster_internal.refuse_parameter('owner', owner,
            'Valid owners are "sis", "local" and "sis unless edited".',
            '"sis" is the default: Auto update writes what the SIS has.');
    END IF;
    PERFORM minga_roster_internal.claim_connection(known);
    PERFORM minga_roster_internal.require_full_read(known.connection);
    DELETE FROM minga_roster.column_owners o
    WHERE o.connection = known.connection AND o.column_name = do_set_column_owner.column_name
        AND o.owner <> do_set_column_owner.owner;
    INSERT INTO minga_roster.column_owners (connection, column_name, owner)
    SELECT known.connection, do_set_column_owner.column_name, do_set_column_owner.owner
    WHERE do_set_column_owner.owner <> 'sis'
        AND NOT EXISTS (SELECT FROM minga_roster.column_owners o WHERE o.connection = known.connection
            AND o.column_name = do_set_column_owner.column_name);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_column_owner(text, text, text) IS
'Implements roster_set_column_owner.';

CREATE FUNCTION roster_set_column_owner(connection text, column_name text, owner text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_column_owner(text, text, text) IS
'Sets who owns a column of people for this connection: "sis" (the default: Auto update writes it), "local" (written '
'to new people only, then the school''s own) or "sis unless edited" (written until its value differs from what a sync '
'wrote last, or found at first). parent_contact stands for all columns of the contact. Errors: 42704 for an unknown '
'connection, 22023 for a column that a sync does not write or an unknown owner, 55006 while the connection is busy.';

CREATE FUNCTION minga_roster_internal.written_hash(column_name text, person jsonb) RETURNS bigint
LANGUAGE sql STABLE
RETURN hashtextextended(CASE column_name
    WHEN 'parent_contact' THEN jsonb_build_array(person -> 'parent_name', person -> 'parent_email',
        person -> 'parent_phone', person -> 'parent_rule')::text
    ELSE person ->> column_name END, 0);
COMMENT ON FUNCTION minga_roster_internal.written_hash(text, jsonb) IS
'The hash of a person''s column in written_values; NULL for NULL.';

CREATE FUNCTION minga_roster_internal.remember_written(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    defaulted text[] := ARRAY(SELECT minga_roster_internal.ownership_unit(m.key)
        FROM minga_roster.connections c JOIN minga_roster.people_relations r ON r.relation = c.people CROSS
            JOIN LATERAL jsonb_each_text(r.columns) m
        WHERE c.connection = remember_written.connection AND m.key = ANY (minga_roster_internal.written_columns())
            AND minga_roster_internal.column_default(c.people, m.value) IS NOT NULL);
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.column_owners o WHERE o.connection = remember_written.connection
        AND o.owner = 'sis unless edited') THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('values');
    INSERT INTO plan_seen_values (column_name, person_id, hash, wrote, is_new)
    SELECT o.column_name, s.person_id, minga_roster_internal.written_hash(o.column_name, s.person) AS hash,
        s.written IS NOT NULL AND EXISTS (SELECT FROM jsonb_object_keys(s.written) k
            WHERE minga_roster_internal.ownership_unit(k) = o.column_name) AS wrote,
        s.is_new
    FROM (
        SELECT p.person_id IS NULL AS is_new, coalesce(p.person_id, w.person_id) AS person_id,
            coalesce(to_jsonb(p), '{}') || coalesce(w.after, '{}') || coalesce(w.stored, '{}') AS person,
            w.after AS written
        FROM (SELECT p.* FROM plan_people p WHERE p.person_id IN (SELECT l.person_id FROM minga_roster.links l
            WHERE l.connection = remember_written.connection)) p
        FULL JOIN (SELECT d.person_id, w.after, d.stored
            FROM plan_written d JOIN plan_writes w ON w.change = d.change
            WHERE d.done AND w.after - 'archived_at' <> '{}') w ON w.person_id = p.person_id
    ) s
    CROSS JOIN minga_roster.column_owners o
    WHERE o.connection = remember_written.connection AND o.owner = 'sis unless edited';

    UPDATE minga_roster.written_values v SET hash = s.hash
    FROM plan_seen_values s
    WHERE s.wrote AND v.connection = remember_written.connection AND v.column_name = s.column_name
        AND v.person_id = s.person_id
        AND v.hash IS DISTINCT FROM s.hash;
    INSERT INTO minga_roster.written_values (connection, column_name, person_id, hash)
    SELECT remember_written.connection, s.column_name, s.person_id, s.hash
    FROM plan_seen_values s
    LEFT JOIN minga_roster.written_values v
        ON v.connection = remember_written.connection AND v.column_name = s.column_name AND v.person_id = s.person_id
    WHERE v.person_id IS NULL
        -- What a default wrote to a new person's column is seen by the next sync.
        AND (s.wrote OR NOT s.is_new OR s.column_name <> ALL (defaulted));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_written(text) IS
'After the apply: remembers what was written to columns owned by the SIS unless edited, and what they hold for newly '
'linked people. Rewrites no unchanged row.';
-- Whose people a connection may write: those of a relation that the caller owns, or that its owner has released to the
-- site's district. And at which site and in which district a connection may be.

CREATE TABLE people_releases (
    relation regclass NOT NULL REFERENCES people_relations ON DELETE CASCADE,
    district text NOT NULL CHECK (district <> ''),
    site text CHECK (site <> ''),
    released_by name NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (relation, district, site)
);
-- Required by a publication of all tables.
ALTER TABLE people_releases REPLICA IDENTITY FULL;
COMMENT ON TABLE people_releases IS
'Which districts may connect an SIS to a people relation that they do not own. Written through roster_release_people '
'and roster_withdraw_people.';
COMMENT ON COLUMN people_releases.site IS
'The site that is released; NULL: each site of the district that is not released to another district by name.';

CREATE FUNCTION minga_roster_internal.require_people(relation regclass, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM minga_roster.people_releases r
        WHERE r.relation = require_people.relation AND r.district = require_people.district
            AND (r.site = require_people.site
                OR (r.site IS NULL AND NOT EXISTS (SELECT FROM minga_roster.people_releases o
                    WHERE o.relation = r.relation AND o.site = require_people.site AND o.district <> r.district))))
    THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.require_people_owner(relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_people(regclass, text, text) IS
'Raises 42501 unless the caller is a member of the relation''s owner, or the relation is released to the district for '
'the site.';

CREATE FUNCTION minga_roster_internal.require_attaching(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attaching CONSTANT regprocedure := 'minga_roster.roster_attach_people(regclass, jsonb, jsonb, jsonb)'::regprocedure;
BEGIN
    IF NOT minga_roster_internal.is_dba(minga_roster_internal.caller())
        AND NOT has_function_privilege(minga_roster_internal.caller(), attaching, 'EXECUTE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for function %s', 'roster_attach_people'),
            DETAIL = format('Relation "%s" is not attached yet, and no level lets "%s" attach it.', relation,
                minga_roster_internal.caller()),
            HINT = format('Ask the DBA to attach it: SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_attaching(regclass) IS
'Raises 42501 unless the caller may attach relations: a connection to one that is not attached attaches it.';

CREATE FUNCTION minga_roster_internal.do_release_people(relation regclass, district text, sites text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_people_owner(relation);
    IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = do_release_people.relation) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('relation "%s" is not attached', relation),
            DETAIL = 'Only an attached relation can be released.',
            HINT = format('Attach it first: SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
    IF coalesce(btrim(district), '') = '' OR btrim(district) <> district THEN
        PERFORM minga_roster_internal.refuse_parameter('district', coalesce(district, 'NULL'),
            'It must be the name of a district, without whitespace around it.',
            'Use the name that roster_connect got as district.');
    END IF;
    IF cardinality(sites) = 0 OR array_position(sites, NULL) IS NOT NULL OR '' = ANY (sites) THEN
        PERFORM minga_roster_internal.refuse_parameter('sites', sites::text,
            'It must name one site or more, and none of them may be empty.',
            'Leave it out to release the relation for each site of the district.');
    END IF;
    INSERT INTO minga_roster.people_releases (relation, district, site, released_by)
    SELECT do_release_people.relation, do_release_people.district, s.site, minga_roster_internal.caller()
    FROM (SELECT DISTINCT n.site FROM unnest(coalesce(sites, ARRAY[NULL::text])) n (site)) s
    WHERE NOT EXISTS (SELECT FROM minga_roster.people_releases r
        WHERE (r.relation, r.district, r.site)
            IS NOT DISTINCT FROM (do_release_people.relation, do_release_people.district, s.site));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_release_people(regclass, text, text[]) IS
'Implements roster_release_people.';

CREATE FUNCTION roster_release_people(relation regclass, district text, sites text[] DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_release_people(regclass, text, text[]) IS
'Lets owners and managers of a district connect an SIS to a people relation that they do not own: for the sites named, '
'or by default for each site of the district that is not released to another district by name. Name the sites where a '
'relation has people of several districts. Requires a member of the relation''s owner, or a superuser (42501), and an '
'attached relation (55000).';

CREATE FUNCTION minga_roster_internal.do_withdraw_people(relation regclass, district text, sites text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    connected text;
BEGIN
    PERFORM minga_roster_internal.require_people_owner(relation);
    DELETE FROM minga_roster.people_releases r
    WHERE r.relation = do_withdraw_people.relation AND r.district = do_withdraw_people.district
        AND (sites IS NULL OR r.site = ANY (sites));
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('relation "%s" is not released to district "%s"%s', relation, district,
                CASE WHEN sites IS NULL THEN '' ELSE ' for these sites' END),
            HINT = 'List the releases: SELECT * FROM minga_roster.people_releases.';
    END IF;
    SELECT string_agg(format('"%s"', c.connection), ', ' ORDER BY c.connection) INTO connected
    FROM minga_roster.connections c
    WHERE c.people = do_withdraw_people.relation AND c.district = do_withdraw_people.district
        AND c.retired_at IS NULL AND (sites IS NULL OR c.site = ANY (sites));
    IF connected IS NOT NULL THEN
        RAISE NOTICE USING
            MESSAGE = format('connections of district "%s" still write to "%s"', district, relation),
            DETAIL = format('They are: %s.', connected),
            HINT = 'Retire those that must not go on: SELECT minga_roster.roster_disconnect(''...'').';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_withdraw_people(regclass, text, text[]) IS
'Implements roster_withdraw_people.';

CREATE FUNCTION roster_withdraw_people(relation regclass, district text, sites text[] DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_withdraw_people(regclass, text, text[]) IS
'Takes back what roster_release_people released to a district, for the sites named or all of it. Then no one of the '
'district can connect an SIS to the relation, or change the address, SIS, school or site of a connection. Existing '
'connections go on, and a NOTICE names them. Requires a member of the relation''s owner, or a superuser (42501); 42704 '
'if there is no such release.';

CREATE FUNCTION minga_roster_internal.is_new_site(site text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = is_new_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.role_levels l WHERE l.site = is_new_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.site = is_new_site.site)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_new_site(text) IS
'Whether nothing is known of the site yet: no connection, run or level.';

CREATE FUNCTION minga_roster_internal.check_place(function name, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT name := minga_roster_internal.caller();
    former text;
    barred text;
BEGIN
    -- Of two who connect a new site at once, the second finds the first one's.
    IF NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = check_place.site) THEN
        LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    former := minga_roster_internal.district_of(site);
    IF NOT minga_roster_internal.has_level(caller, 'owner', site)
        AND NOT (district IS NOT NULL AND minga_roster_internal.manages(caller, district)
            AND minga_roster_internal.is_new_site(site)) THEN
        PERFORM minga_roster_internal.refuse_level(function, 'owner', format('site "%s"', site));
    END IF;
    IF former IS NOT DISTINCT FROM district THEN
        RETURN;
    END IF;
    barred := CASE WHEN former IS NOT NULL AND NOT minga_roster_internal.manages(caller, former) THEN former
        WHEN district IS NOT NULL AND NOT minga_roster_internal.manages(caller, district) THEN district END;
    IF barred IS NOT NULL THEN
        PERFORM minga_roster_internal.refuse_level(function, 'district_manager', format('district "%s"', barred));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_place(name, text, text) IS
'Raises 42501 unless the caller may have a connection at the site, in the district: owner of the site, or, of a site '
'that is new, a manager of the district; who changes the district of a site manages the old one and the new one.';

CREATE FUNCTION minga_roster_internal.set_district(site text, district text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.connections c SET district = set_district.district
    WHERE c.site = set_district.site AND c.retired_at IS NULL AND c.district IS DISTINCT FROM set_district.district
$$;
COMMENT ON FUNCTION minga_roster_internal.set_district(text, text) IS
'Puts all connections of a site into the district: it is the site''s.';

SELECT pg_catalog.pg_extension_config_dump('minga_roster.people_releases'::regclass, '');
-- Connections and what belongs to them: toggles, secrets, recipients. Bad input is rejected before anything is stored.
-- Functions that receive a secret hide the statement first, so that neither pg_stat_activity nor an error's STATEMENT
-- line shows it.

CREATE FUNCTION minga_roster_internal.secret_origins(base_url text, token_url text) RETURNS text
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_secret_origins';
COMMENT ON FUNCTION minga_roster_internal.secret_origins(text, text) IS
'Where the secret of a connection may go: scheme, host and port of its url and of its token_url (by default its url); '
'empty for NULL, the mail password.';

CREATE FUNCTION minga_roster_internal.seal(row_id uuid, connection text, origins text, secret text) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_seal';
COMMENT ON FUNCTION minga_roster_internal.seal(uuid, text, text, text) IS
'Seals a secret with the key of minga_roster.key_file for a row of secrets: for the connection and for its origins. It '
'can be opened for no other row, and only in the library. F0000 without a good key file.';

CREATE FUNCTION minga_roster_internal.known_connection(connection text) RETURNS connections
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections;
BEGIN
    IF connection IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no connection was given',
            HINT = 'List the connections: SELECT connection FROM minga_roster.connections WHERE retired_at IS NULL.';
    END IF;
    SELECT * INTO known FROM minga_roster.connections c WHERE c.connection = known_connection.connection;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('connection "%s" does not exist', connection),
            HINT = 'List the connections: SELECT connection FROM minga_roster.connections WHERE retired_at IS NULL. '
                'Create one with roster_connect.';
    END IF;
    IF known.retired_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('connection "%s" no longer exists', connection),
            DETAIL = format('roster_disconnect retired it at %s.', known.retired_at),
            HINT = 'Create it again with roster_connect.';
    END IF;
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_connection(text) IS
'The row of a connection; 42704 for an unknown or retired one, 22004 for NULL.';

CREATE FUNCTION minga_roster_internal.categories() RETURNS text[]
LANGUAGE sql IMMUTABLE RETURN ARRAY['student', 'teacher', 'staff', 'admin'];
COMMENT ON FUNCTION minga_roster_internal.categories() IS 'The categories of the toggles.';

CREATE FUNCTION minga_roster_internal.known_sis(sis text) RETURNS sis
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    preset minga_roster.sis;
BEGIN
    SELECT * INTO preset FROM minga_roster.sis s WHERE s.sis = known_sis.sis;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('student information system "%s" does not exist', coalesce(sis, 'NULL')),
            DETAIL = format('Valid values are %s.',
                (SELECT string_agg(format('"%s" (%s)', s.sis, s.title), ', ' ORDER BY s.sis) FROM minga_roster.sis s)),
            HINT = 'Use one of these, or add the product as a row of minga_roster.sis with rows in '
                'minga_roster.role_rules.';
    END IF;
    RETURN preset;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_sis(text) IS
'The preset of a student information system; 42704 for an unknown one, with a list of the known ones.';

CREATE FUNCTION minga_roster_internal.known_time_zone(time_zone text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text := btrim(left(time_zone, 100));
    wanted_in_lower_case text := lower(wanted);
    found_name text;
BEGIN
    SELECT z.name INTO found_name FROM pg_timezone_names z WHERE lower(z.name) = wanted_in_lower_case
    ORDER BY z.name = wanted DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('time zone "%s" does not exist', time_zone),
            DETAIL = 'It must be the name of a place, such as "America/Denver", so that evenings follow '
                'daylight-saving time.',
            HINT = 'List the names: SELECT name FROM pg_timezone_names ORDER BY name.';
    END IF;
    RETURN found_name;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_time_zone(text) IS
'A time zone by its name in pg_timezone_names, in any letter case; 22023 for anything else, including offsets.';

CREATE FUNCTION minga_roster_internal.warn_of_time_zone(connection text, time_zone text, given boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF time_zone ~* '^(Etc/)?(UTC|UCT|GMT([-+]?0)?|Universal|Zulu|Greenwich)$' THEN
        IF NOT given THEN
            RAISE WARNING USING
                MESSAGE = format('time zone of connection "%s" is "%s"', connection, time_zone),
                DETAIL = 'None was given, so the server''s time zone is used. Evenings would not follow the school''s '
                    'clock.',
                HINT = format('Set the school''s time zone: SELECT minga_roster.roster_configure(%L, time_zone => '
                    '''America/Denver'').',
                    connection);
        END IF;
    ELSIF time_zone ~* '^(EST|MST|(Etc/)?GMT[-+][0-9]+)$' THEN
        RAISE WARNING USING
            MESSAGE = format('time zone "%s" of connection "%s" has no daylight-saving time', time_zone, connection),
            DETAIL = 'If the school''s clocks change, evenings begin and end an hour off all summer.',
            HINT = format('Name the place: SELECT minga_roster.roster_configure(%L, time_zone => %L).', connection,
                CASE upper(time_zone) WHEN 'EST' THEN 'America/New_York' ELSE 'America/Denver' END);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.warn_of_time_zone(text, text, boolean) IS
'Warns about a time zone that cannot be a school''s: UTC taken from the server, and fixed offsets.';

CREATE FUNCTION minga_roster_internal.refuse_parameter(parameter text, value text, expected text, advice text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
        MESSAGE = format('invalid value for %s: "%s"', parameter, value),
        DETAIL = expected,
        HINT = advice;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.refuse_parameter(text, text, text, text) IS
'Raises 22023 for the value of a parameter.';

CREATE FUNCTION minga_roster_internal.clean_school_id(school_id text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cleaned text := regexp_replace(school_id,
        '^[\s\u00a0\u200b\ufeff{}()<>"''\[\]]+|[\s\u00a0\u200b\ufeff{}()<>"''\[\]]+$', '', 'g');
BEGIN
    IF cleaned = '' OR cleaned ~ '[[:cntrl:]]' OR cleaned <> minga_roster_internal.readable(cleaned) THEN
        PERFORM minga_roster_internal.refuse_parameter('school_id', school_id, 'It must be the sourcedId of the '
            'school, such as "CE8DF1FC-3242-4716-A5F5-5A957F86DC36".',
            'Ask the school for its School ID; roster_test_connection lists the schools visible to the key.');
    END IF;
    RETURN cleaned;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.clean_school_id(text) IS
'A School ID without the whitespace, quotes and brackets that come with pasting; its letter case is kept. 22023 if '
'nothing is left.';

CREATE FUNCTION minga_roster_internal.clean_token_url(token_url text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_clean_token_url';
COMMENT ON FUNCTION minga_roster_internal.clean_token_url(text) IS
'The normal form of a token URL; 22023 if it is not a URL, or its host or port is not allowed. The error does not '
'repeat the value, because it may contain credentials.';

CREATE FUNCTION minga_roster_internal.clean_secret(secret text) RETURNS text
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_clean_secret';
COMMENT ON FUNCTION minga_roster_internal.clean_secret(text) IS
'The secret unchanged; 22023 for an empty one, and for one with whitespace around it, which is a pasting mistake.';

CREATE FUNCTION minga_roster_internal.check_settings(settings connections) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    preset minga_roster.sis := minga_roster_internal.known_sis(settings.sis);
BEGIN
    IF settings.auth NOT IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer') THEN
        PERFORM minga_roster_internal.refuse_parameter('auth', settings.auth,
            'Valid values are "oauth2" (client credentials), "oauth1_sha256" and "oauth1_sha1" (each request signed) '
                'and "bearer" (the client secret is the token).',
            format('The default for "%s" is "%s".', preset.sis, preset.auth));
    END IF;
    IF settings.scope ~ '[^\x21\x23-\x5b\x5d-\x7e ]' THEN
        PERFORM minga_roster_internal.refuse_parameter('scope', settings.scope, 'It must consist of ASCII words '
            'without quotes and backslashes, separated by spaces.',
            'Copy it as the student information system shows it; an empty scope sends none.');
    END IF;
    IF settings.site = '' OR minga_roster_internal.readable(settings.site) <> settings.site THEN
        PERFORM minga_roster_internal.refuse_parameter('site', settings.site,
            'It must not be empty or contain control characters.',
            'Use the value of column "site" of the school''s people.');
    END IF;
    IF settings.client_id = '' OR settings.client_id ~ '[[:cntrl:]]'
        OR (settings.client_id IS NULL AND settings.auth <> 'bearer') THEN
        PERFORM minga_roster_internal.refuse_parameter('client_id', settings.client_id,
            'It must not be empty or contain control characters.',
            'Copy the Client ID as the student information system shows it.');
    END IF;
    IF settings.guard_percent NOT BETWEEN 0 AND 100 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_percent', settings.guard_percent::text,
            'It must be a percentage from 0 to 100.',
            'The guard holds archives if more than this share of a category''s people would leave. The default is 10.');
    END IF;
    IF settings.guard_update_percent NOT BETWEEN 0 AND 100 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_update_percent', settings.guard_update_percent::text,
            'It must be a percentage from 0 to 100.',
            'The guard holds updates that would change one column for more than this share of a category. The default '
                'is 75; 100 holds none.');
    END IF;
    IF settings.guard_floor < 0 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_floor', settings.guard_floor::text,
            'It must be a number of people, 0 or more.',
            'The guard never holds archives of this many people of a category or fewer. The default is 5.');
    END IF;
    IF settings.guard_grace NOT BETWEEN 1 AND 30 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_grace', settings.guard_grace::text,
            'It must be a number of complete full reads from 1 to 30.',
            'People absent from this many of them are archived. The default is 1.');
    END IF;
    IF settings.season_percent NOT BETWEEN 0 AND 99 THEN
        PERFORM minga_roster_internal.refuse_parameter('season_percent', settings.season_percent::text,
            'It must be a percentage from 0 to 99.',
            'In the season it replaces guard_percent. The default is 60. A category that would leave as a whole is '
                'always held.');
    END IF;
    IF lower_inf(settings.season_dates) OR upper_inf(settings.season_dates) THEN
        PERFORM minga_roster_internal.refuse_parameter('season_dates', settings.season_dates::text,
            'It must be a range with a first and a last date.',
            'Use for example season_dates => ''[2026-08-01,2026-09-15]'', or ''empty'' to remove it.');
    END IF;
    IF lower_inf(settings.freeze_dates) OR upper_inf(settings.freeze_dates) THEN
        PERFORM minga_roster_internal.refuse_parameter('freeze_dates', settings.freeze_dates::text,
            'It must be a range with a first and a last date.',
            'Use for example freeze_dates => ''[2026-06-15,2026-08-10]'', or ''empty'' to remove it.');
    END IF;
    IF settings.page_size NOT BETWEEN 1 AND preset.page_size_limit THEN
        PERFORM minga_roster_internal.refuse_parameter('page_size', settings.page_size::text,
            format('It must be a number of rows from 1 to %s for "%s".', preset.page_size_limit, preset.sis),
            format('The default for this product is %s.', preset.page_size));
    END IF;
    IF settings.max_requests NOT BETWEEN 1 AND preset.max_requests_limit THEN
        PERFORM minga_roster_internal.refuse_parameter('max_requests', settings.max_requests::text,
            format('It must be a number of concurrent requests from 1 to %s for "%s".', preset.max_requests_limit,
                preset.sis),
            format('The default for this product is %s. Ask the school or its vendor how many are allowed.',
                preset.max_requests));
    END IF;
    IF settings.full_every NOT BETWEEN 1 AND 30 THEN
        PERFORM minga_roster_internal.refuse_parameter('full_every', settings.full_every::text,
            'It must be a number of evenings from 1 to 30.',
            'Absent people are found only by full reads. The default is 7.');
    END IF;
    IF settings.sync_at = settings.window_end THEN
        PERFORM minga_roster_internal.refuse_parameter('window_end', settings.window_end::text,
            format('An evening lasts from sync_at (%s) to window_end, so the two must differ.', settings.sync_at),
            'The defaults are 19:00 and 06:00.');
    END IF;
    IF settings.clear_parent_contact AND NOT settings.parent_contact THEN
        PERFORM minga_roster_internal.refuse_parameter('clear_parent_contact', 'true',
            'parent_contact is off, so contacts are not read.',
            'Turn on both, or turn off both.');
    END IF;
    IF settings.credentials_expire = '-infinity' THEN
        PERFORM minga_roster_internal.refuse_parameter('credentials_expire', settings.credentials_expire::text,
            'It must be a date, or "infinity" for never.',
            'Campus shows when the credentials of a connection expire.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_settings(connections) IS
'Raises 22023 (42704 for the SIS) if a setting of a connection is out of range, with the range in the detail.';

CREATE FUNCTION minga_roster_internal.origins_of(connection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT minga_roster_internal.secret_origins(c.base_url, c.token_url)
        FROM minga_roster.connections c WHERE c.connection = origins_of.connection), '');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.origins_of(text) IS
'Where the secret of a connection goes now, as secret_origins has it; empty for "smtp".';

CREATE FUNCTION minga_roster_internal.store_sealed(connection text, row_id uuid, sealed bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO minga_roster.secrets (connection, binding, sealed)
    VALUES (store_sealed.connection, row_id, store_sealed.sealed)
    ON CONFLICT ON CONSTRAINT secrets_pkey DO UPDATE SET binding = excluded.binding, sealed = excluded.sealed;
    DELETE FROM minga_roster.tokens t WHERE t.connection = store_sealed.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.store_sealed(text, uuid, bytea) IS
'Stores a sealed secret, and forgets the token obtained with the old one. Callers lock the table secrets before the '
'key is read: roster_rotate_key waits for them, so that nothing is sealed with the former key behind it.';

CREATE FUNCTION minga_roster_internal.store_secret(connection text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
BEGIN
    LOCK TABLE minga_roster.secrets IN ROW EXCLUSIVE MODE;
    PERFORM minga_roster_internal.store_sealed(connection, row_id, minga_roster_internal.seal(row_id, connection,
        minga_roster_internal.origins_of(connection), minga_roster_internal.clean_secret(secret)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.store_secret(text, text) IS
'Seals and stores the secret of a connection for the servers that it goes to now, or the mail password under "smtp".';

CREATE FUNCTION minga_roster_internal.forget_secret(former connections, changed connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given_for text := minga_roster_internal.secret_origins(former.base_url, former.token_url);
    goes_to text := minga_roster_internal.secret_origins(changed.base_url, changed.token_url);
BEGIN
    IF goes_to = given_for THEN
        RETURN;
    END IF;
    DELETE FROM minga_roster.secrets s WHERE s.connection = former.connection;
    IF FOUND THEN
        RAISE WARNING USING
            MESSAGE = format('the client secret of connection "%s" was forgotten', former.connection),
            DETAIL = format('It was given for %s, and would now go to %s.', given_for, goes_to),
            HINT = format('If the new address is right, set the secret again: SELECT '
                'minga_roster.roster_set_secret(%L, ''...'').', former.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.forget_secret(connections, connections) IS
'Forgets the secret of a connection whose url or token_url changes to another scheme, host or port, with a WARNING: a '
'secret goes only to the servers that it was given for.';

CREATE FUNCTION minga_roster_internal.claim_connection(known connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    open_run minga_roster.runs;
BEGIN
    -- A worker holds this lock while it works for the connection, and for a moment after its run is closed. A caller
    -- who waited for that run must not fail because of it.
    FOR attempt IN REVERSE 40..0 LOOP
        IF minga_roster_internal.try_run_lock('connection', known.number) THEN
            RETURN;
        END IF;
        SELECT * INTO open_run FROM minga_roster.runs r WHERE r.connection = known.connection AND r.state = 'running'
            ORDER BY r.run DESC LIMIT 1;
        EXIT WHEN FOUND OR attempt = 0;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = 'object_in_use',
        MESSAGE = format('connection "%s" is busy', known.connection),
        DETAIL = CASE WHEN open_run.run IS NULL THEN 'A worker holds its lock.'
            ELSE format('Run %s (%s) has been running since %s.', open_run.run, open_run.kind, open_run.started_at) END,
        HINT = CASE WHEN open_run.run IS NULL THEN 'Try again in a moment.'
            ELSE format('Wait until it has finished, or cancel it: SELECT minga_roster.roster_cancel(%s).',
                open_run.run) END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_connection(connections) IS
'Keeps workers away from a connection until the end of the transaction; 55006 while a run of it is running.';

CREATE FUNCTION minga_roster_internal.address_of(preset sis, url text, app_name text, is_stored boolean DEFAULT false,
    OUT base_url text,
    OUT token_url text, OUT app_name_used text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.base_url, n.token_url, n.app_name
    FROM minga_roster_internal.normalize_url(url, (preset).base_paths, (preset).token_path, app_name, is_stored) AS n
$$;
COMMENT ON FUNCTION minga_roster_internal.address_of(sis, text, text, boolean) IS
'The normal form of a pasted URL by the path templates of a preset, with the token URL and App Name that follow from '
'it.';

CREATE FUNCTION minga_roster_internal.settle_token_url(auth text, given text, derived text, preset sis) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token_url text := coalesce(minga_roster_internal.clean_token_url(nullif(btrim(given), '')), derived);
BEGIN
    IF auth <> 'oauth2' THEN
        IF btrim(given) <> '' THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('token_url is not used with auth "%s"', auth),
                DETAIL = 'There is no token request: the client secret signs each request, or is the token itself.',
                HINT = 'Leave token_url out, or use auth => ''oauth2''.';
        END IF;
        RETURN NULL;
    END IF;
    IF token_url IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'token_url is required',
            DETAIL = format('For "%s" it cannot be derived from the URL.', preset.sis),
            HINT = 'Set token_url => ''https://...'' as the student information system shows it.';
    END IF;
    RETURN token_url;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_token_url(text, text, text, sis) IS
'The token URL of a connection: the given one, otherwise the one that follows from preset and URL; none if auth needs '
'none. 22004 if one is needed and unknown, 22023 if one is given and not needed.';

CREATE FUNCTION minga_roster_internal.do_connect(given jsonb, relation regclass)
RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made minga_roster.connections := jsonb_populate_record(NULL::minga_roster.connections, given - 'people');
    preset minga_roster.sis;
    missing text;
BEGIN
    SELECT * INTO preset FROM minga_roster.sis s WHERE s.sis = coalesce(made.sis, 'infinite_campus');
    SELECT string_agg(p.parameter, ', ') INTO missing
    FROM unnest(ARRAY['connection', 'url', 'client_id', 'school_id', 'people']) AS p (parameter)
    WHERE coalesce(btrim(given ->> p.parameter), '') = ''
        AND NOT (p.parameter = 'client_id' AND coalesce(made.auth, preset.auth, '') = 'bearer');
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('roster_connect requires %s', missing),
            DETAIL = 'Required are connection, url, client_id (except with auth "bearer"), school_id and people.',
            HINT = 'Ask the school for the URL, Client ID and School ID; people is the name of the people relation.';
    END IF;
    IF octet_length(made.connection) > 63 OR made.connection IN ('smtp', 'forgotten') OR made.connection ~ '^\s|\s$'
        OR minga_roster_internal.readable(made.connection) <> made.connection THEN
        PERFORM minga_roster_internal.refuse_parameter('connection', made.connection,
            'It must be a name of 1 to 63 bytes, without whitespace around it or control characters, and not "smtp" or '
                '"forgotten", which are names of other secrets.',
            'Use a short name of the school, such as "mesa-high".');
    END IF;
    preset := minga_roster_internal.known_sis(coalesce(made.sis, 'infinite_campus'));
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = format('relation "%s" does not exist', given ->> 'people'),
            HINT = format('Create a people table with SELECT minga_roster.roster_create_people(%L, owner => '
                '''people_owner''), or name the existing table or view of people.', given ->> 'people');
    END IF;

    made.site := coalesce(btrim(made.site), made.connection);
    made.district := coalesce(nullif(btrim(made.district), ''), minga_roster_internal.district_of(made.site));
    PERFORM minga_roster_internal.check_place('roster_connect', made.site, made.district);
    made.sis := preset.sis;
    made.auth := coalesce(made.auth, preset.auth);
    made.client_id := nullif(btrim(made.client_id), '');
    made.scope := btrim(made.scope);
    made.school_id := minga_roster_internal.clean_school_id(made.school_id);
    made.people := relation;
    SELECT a.base_url, a.token_url, a.app_name_used INTO made.base_url, made.token_url, made.app_name
    FROM minga_roster_internal.address_of(preset, given ->> 'url', nullif(btrim(made.app_name), '')) AS a;
    -- The server's setting, if the session has set nothing.
    made.time_zone := minga_roster_internal.known_time_zone(coalesce(made.time_zone,
        (SELECT s.reset_val FROM pg_settings s WHERE s.name = 'TimeZone')));
    PERFORM minga_roster_internal.check_settings(made);
    made.token_url := minga_roster_internal.settle_token_url(made.auth, given ->> 'token_url', made.token_url, preset);

    PERFORM minga_roster_internal.require_people(made.people, made.site, made.district);
    IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = made.people) THEN
        PERFORM minga_roster_internal.require_attaching(made.people);
        PERFORM minga_roster_internal.do_attach_people(made.people, '{}', '{}', '{}');
    ELSE
        PERFORM minga_roster_internal.tell_obstacles(made.people);
    END IF;
    -- A retired connection of this name makes room, with its links.
    DELETE FROM minga_roster.connections c WHERE c.connection = made.connection AND c.retired_at IS NOT NULL;
    INSERT INTO minga_roster.connections (connection, site, district, sis, base_url, token_url, auth, client_id,
        app_name,
        school_id, people, time_zone, unproven_since, scope)
    VALUES (made.connection, made.site, made.district, made.sis, made.base_url, made.token_url, made.auth,
        made.client_id,
        made.app_name, made.school_id, made.people, made.time_zone, minga_roster_internal.clock(), made.scope)
    ON CONFLICT ON CONSTRAINT connections_pkey DO NOTHING
    RETURNING * INTO made;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = format('connection "%s" already exists', given ->> 'connection'),
            HINT = 'Change it with roster_configure and roster_set_secret, or use another name.';
    END IF;
    PERFORM minga_roster_internal.set_district(made.site, made.district);
    INSERT INTO minga_roster.toggles (connection, category)
    SELECT made.connection, c FROM unnest(minga_roster_internal.categories()) c;
    IF given ? 'client_secret' THEN
        PERFORM minga_roster_internal.store_secret(made.connection, given ->> 'client_secret');
    END IF;
    PERFORM minga_roster_internal.warn_of_time_zone(made.connection, made.time_zone, given ? 'time_zone');
    PERFORM minga_roster_internal.tell_site(made);
    RETURN made;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_connect(jsonb, regclass) IS
'Implements roster_connect. given has the arguments that are not NULL, by name; relation is people, resolved as for '
'the caller.';

CREATE FUNCTION roster_connect(connection text, url text DEFAULT NULL, client_id text DEFAULT NULL,
    client_secret text DEFAULT NULL,
    school_id text DEFAULT NULL, app_name text DEFAULT NULL, people text DEFAULT NULL, site text DEFAULT NULL,
        district text DEFAULT NULL,
    time_zone text DEFAULT NULL, sis text DEFAULT 'infinite_campus', auth text DEFAULT NULL,
        token_url text DEFAULT NULL, scope text DEFAULT NULL)
RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door_to_people';
COMMENT ON FUNCTION roster_connect IS
'Creates a connection from a site to its SIS and returns it. Required: connection (1 to 63 bytes), url (as pasted: too '
'long, too short, or the token URL), client_id (except with auth bearer), school_id and people (a table or view; '
'attached if needed). client_secret can follow with roster_set_secret. app_name can be left out if the URL has it. '
'site defaults to the connection''s name, time_zone to the server''s TimeZone, and auth (oauth2, oauth1_sha256, '
'oauth1_sha1, bearer), token_url and scope to the preset; an empty scope sends none. The connection is unproven: its '
'first sync holds archives. Errors: 22004 for missing parameters, 22023 for a bad value, 42704 for an unknown SIS, '
'42710 for an existing name, 42P01, 42P16 or 42501 for the people relation, F0000 for the key file. Nothing is stored '
'unless everything is. The statement is hidden from pg_stat_activity and errors, but log_statement, '
'log_min_duration_statement, and a misspelled function or parameter name would log it.';

CREATE FUNCTION minga_roster_internal.do_configure(given jsonb, relation regclass)
RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former minga_roster.connections := minga_roster_internal.known_connection(given ->> 'connection');
    changed minga_roster.connections;
    preset minga_roster.sis;
    former_token_url text;
BEGIN
    SELECT * INTO former FROM minga_roster.connections c WHERE c.connection = former.connection FOR UPDATE;
    -- Most settings are columns; NULL leaves one as it is. The others are told apart below.
    changed := jsonb_populate_record(former, given - ARRAY['people', 'time_zone', 'app_name', 'token_url']);
    changed.client_id := btrim(changed.client_id);
    changed.scope := btrim(changed.scope);
    changed.school_id := minga_roster_internal.clean_school_id(changed.school_id);
    changed.site := btrim(changed.site);
    changed.district := nullif(btrim(changed.district), '');
    IF changed.site <> former.site AND NOT given ? 'district' THEN
        -- The district is that of the new site; a new site stays in the district for those who manage it.
        changed.district := CASE WHEN NOT minga_roster_internal.is_new_site(changed.site)
            OR NOT minga_roster_internal.manages(minga_roster_internal.caller(), former.district)
            THEN minga_roster_internal.district_of(changed.site) ELSE former.district END;
    END IF;
    IF (changed.site, changed.district) IS DISTINCT FROM (former.site, former.district) THEN
        PERFORM minga_roster_internal.check_place('roster_configure', changed.site, changed.district);
    END IF;
    IF NOT given ? 'auth' AND changed.sis <> former.sis THEN
        changed.auth := (SELECT s.auth FROM minga_roster.sis s WHERE s.sis = changed.sis);
    END IF;
    changed.season_dates := nullif(changed.season_dates, 'empty');
    changed.freeze_dates := nullif(changed.freeze_dates, 'empty');
    changed.filter_unusable := former.filter_unusable AND NOT given ? 'delta';
    IF given ? 'time_zone' THEN
        changed.time_zone := minga_roster_internal.known_time_zone(given ->> 'time_zone');
        PERFORM minga_roster_internal.warn_of_time_zone(changed.connection, changed.time_zone, true);
    END IF;
    IF given ? 'people' THEN
        IF relation IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_table',
                MESSAGE = format('relation "%s" does not exist', given ->> 'people'),
                HINT = format('Create a people table with SELECT minga_roster.roster_create_people(%L, owner => '
                    '''people_owner''), or name the existing table or view of people.', given ->> 'people');
        END IF;
        changed.people := relation;
    END IF;
    PERFORM minga_roster_internal.check_settings(changed);

    preset := minga_roster_internal.known_sis(changed.sis);
    IF given ?| ARRAY['url', 'sis', 'app_name', 'token_url', 'auth'] THEN
        SELECT a.token_url INTO former_token_url
        FROM minga_roster_internal.address_of(minga_roster_internal.known_sis(former.sis), former.base_url,
            former.app_name, true) AS a;
        SELECT a.base_url, a.token_url, a.app_name_used INTO changed.base_url, changed.token_url, changed.app_name
        FROM minga_roster_internal.address_of(preset, coalesce(given ->> 'url', former.base_url),
            CASE WHEN given ? 'app_name' THEN nullif(btrim(given ->> 'app_name'), '')
                WHEN NOT given ? 'url' THEN former.app_name END) AS a;
        IF NOT given ? 'token_url' AND former.token_url IS DISTINCT FROM former_token_url THEN
            -- It was given explicitly.
            changed.token_url := coalesce(former.token_url, changed.token_url);
        END IF;
        changed.token_url := minga_roster_internal.settle_token_url(changed.auth, given ->> 'token_url',
            changed.token_url,
            preset);
    END IF;

    IF (changed.site, changed.people) <> (former.site, former.people)
        AND EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = former.connection)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" cannot move to another site or people relation', former.connection),
            DETAIL = format('People linked at site "%s" in "%s": %s.', former.site, former.people,
                (SELECT count(*) FROM minga_roster.links l WHERE l.connection = former.connection)),
            HINT = 'Retire it with roster_disconnect (people stay), and create a new connection with roster_connect.';
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id, changed.site, changed.people)
        <> (former.base_url, former.sis, former.school_id, former.site, former.people)
    THEN
        PERFORM minga_roster_internal.claim_connection(former);
    END IF;
    -- Deciding whose people are written, and from which SIS, takes rights on the people.
    IF (changed.people, changed.site, changed.base_url, changed.sis, changed.school_id)
        <> (former.people, former.site, former.base_url, former.sis, former.school_id)
    THEN
        PERFORM minga_roster_internal.require_people(changed.people, changed.site, changed.district);
    END IF;
    IF changed.people <> former.people THEN
        IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = changed.people) THEN
            PERFORM minga_roster_internal.require_attaching(changed.people);
            PERFORM minga_roster_internal.do_attach_people(changed.people, '{}', '{}', '{}');
        ELSE
            PERFORM minga_roster_internal.tell_obstacles(changed.people);
        END IF;
    END IF;
    IF given ? 'clear_parent_contact' AND changed.clear_parent_contact
        AND NOT (SELECT p.columns ? 'parent_rule' FROM minga_roster.people_relations p
            WHERE p.relation = changed.people) THEN
        PERFORM minga_roster_internal.refuse_parameter('clear_parent_contact', 'true',
            format('"%s" has no column parent_rule, which tells contacts written by a roster from the school''s own.',
                changed.people),
            'Add the column with type text, then attach the relation again with roster_attach_people.');
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id) <> (former.base_url, former.sis, former.school_id) THEN
        changed.unproven := true;
        changed.unproven_since := minga_roster_internal.clock();
        changed.filter_unusable := false;
        changed.school_name := NULL;
    END IF;
    -- Contacts that were not requested until now have not been read.
    IF changed.unproven
        OR (changed.delta, changed.parent_contact, changed.clear_parent_contact, changed.client_id)
            IS DISTINCT FROM (former.delta, former.parent_contact, former.clear_parent_contact, former.client_id)
    THEN
        changed.newest_modified := NULL;
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id, changed.token_url, changed.client_id, changed.auth,
        changed.scope)
        IS DISTINCT FROM (former.base_url, former.sis, former.school_id, former.token_url, former.client_id,
            former.auth, former.scope)
    THEN
        DELETE FROM minga_roster.tokens t WHERE t.connection = former.connection;
    END IF;
    IF (changed.base_url, changed.token_url, changed.sis)
        IS DISTINCT FROM (former.base_url, former.token_url, former.sis) THEN
        DELETE FROM minga_roster.server_facts f WHERE f.connection = former.connection;
    END IF;
    PERFORM minga_roster_internal.forget_secret(former, changed);
    UPDATE minga_roster.connections c
    SET site = changed.site, district = changed.district, sis = changed.sis, base_url = changed.base_url,
        token_url = changed.token_url,
        auth = changed.auth, scope = changed.scope, client_id = changed.client_id, app_name = changed.app_name,
        school_id = changed.school_id, people = changed.people, time_zone = changed.time_zone,
            sync_at = changed.sync_at,
        window_end = changed.window_end, parent_contact = changed.parent_contact,
        clear_parent_contact = changed.clear_parent_contact, guard_percent = changed.guard_percent,
        guard_floor = changed.guard_floor, guard_update_percent = changed.guard_update_percent,
        page_size = changed.page_size, max_requests = changed.max_requests,
        credentials_expire = changed.credentials_expire, guard_grace = changed.guard_grace,
            season_dates = changed.season_dates,
        season_percent = changed.season_percent, freeze_dates = changed.freeze_dates, unproven = changed.unproven,
            unproven_since = changed.unproven_since,
        delta = changed.delta, full_every = changed.full_every, newest_modified = changed.newest_modified,
        filter_unusable = changed.filter_unusable, school_name = changed.school_name,
        -- An evening that has passed by the new hours was not missed by the old ones.
        enabled_at = CASE WHEN c.automatic AND (changed.sync_at, changed.window_end, changed.time_zone)
                              <> (former.sync_at, former.window_end, former.time_zone)
                          THEN minga_roster_internal.clock() ELSE c.enabled_at END
    WHERE c.connection = former.connection
    RETURNING * INTO changed;
    PERFORM minga_roster_internal.set_district(changed.site, changed.district);
    IF (changed.people, changed.site) <> (former.people, former.site) THEN
        PERFORM minga_roster_internal.tell_site(changed);
    END IF;
    IF changed.parent_contact AND (given ? 'parent_contact' OR changed.people <> former.people) THEN
        PERFORM minga_roster_internal.tell_contact_columns(changed);
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_configure(jsonb, regclass) IS
'Implements roster_configure. given has the arguments that are not NULL, by name; relation is people, resolved as for '
'the caller.';

CREATE FUNCTION roster_configure(connection text, url text DEFAULT NULL, client_id text DEFAULT NULL,
    school_id text DEFAULT NULL,
    app_name text DEFAULT NULL, people text DEFAULT NULL, site text DEFAULT NULL, district text DEFAULT NULL,
        time_zone text DEFAULT NULL,
    sis text DEFAULT NULL, auth text DEFAULT NULL, token_url text DEFAULT NULL, sync_at time DEFAULT NULL,
        window_end time DEFAULT NULL,
    parent_contact boolean DEFAULT NULL, guard_percent integer DEFAULT NULL, guard_floor integer DEFAULT NULL,
        page_size integer DEFAULT NULL,
    max_requests integer DEFAULT NULL, credentials_expire date DEFAULT NULL, guard_grace integer DEFAULT NULL,
        season_dates daterange DEFAULT NULL,
    season_percent integer DEFAULT NULL, freeze_dates daterange DEFAULT NULL,
    delta boolean DEFAULT NULL, full_every integer DEFAULT NULL, scope text DEFAULT NULL,
    clear_parent_contact boolean DEFAULT NULL, guard_update_percent integer DEFAULT NULL)
RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door_to_people';
COMMENT ON FUNCTION roster_configure IS
'Changes settings of a connection and returns it; NULL leaves a setting unchanged. An empty district removes it from '
'its district, an empty token_url goes back to the preset, and an empty scope sends none. A changed sis brings its '
'auth, unless one is given. sync_at and window_end are local times in time_zone; guard_percent is 0 to 100, '
'guard_floor a number of people, guard_update_percent (75; 0 to 100) the share of a category for which updates of one '
'column are held; page_size is a number of rows and max_requests a number of concurrent requests, up to the preset''s '
'limits; credentials_expire is when the school''s credentials expire. guard_grace is the number of complete full '
'reads, 1 to 30, that must miss a person before the person is archived. season_dates is a range of local dates on '
'which season_percent (0 to 99) replaces guard_percent and the rule of half; freeze_dates is one on which all archives '
'are held; ''empty'' removes a range. delta (off) lets evenings request only changed students and contacts, with a '
'full read every full_every evenings (7; 1 to 30). clear_parent_contact (off; requires parent_contact) clears a '
'contact that a roster wrote when the SIS no longer names one for the student. A changed url, sis, school_id, '
'client_id, auth, token_url or scope forgets the token; a changed url, sis or school_id makes the connection unproven: '
'its next full sync holds archives. Errors: 42704 for an unknown connection or SIS, 22023 for a bad value, with the '
'range; 55000 for moving site or people once people are linked; 55006 for changing url, sis, school_id, site or people '
'while the connection is busy; 42P01, 42P16 or 42501 for the people relation.';

CREATE FUNCTION minga_roster_internal.do_toggle(connection text, category text, roster boolean, auto_update boolean,
    archive boolean)
RETURNS SETOF toggles
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    idle text[];
BEGIN
    IF category <> ALL (minga_roster_internal.categories()) THEN
        PERFORM minga_roster_internal.refuse_parameter('category', category,
            'Valid categories are "student", "teacher", "staff" and "admin".',
            'Leave it out to set all four.');
    END IF;
    RETURN QUERY
        WITH changed AS (
            UPDATE minga_roster.toggles t
            SET roster = coalesce(do_toggle.roster, t.roster),
                auto_update = coalesce(do_toggle.auto_update, t.auto_update),
                archive = coalesce(do_toggle.archive, t.archive)
            WHERE t.connection = known.connection AND (do_toggle.category IS NULL OR t.category = do_toggle.category)
            RETURNING t.*
        )
        SELECT * FROM changed c ORDER BY array_position(minga_roster_internal.categories(), c.category);
    IF num_nonnulls(roster, auto_update, archive) > 0 THEN
        PERFORM minga_roster_internal.require_full_read(known.connection);
    END IF;
    SELECT array_agg(t.category ORDER BY array_position(minga_roster_internal.categories(), t.category)) INTO idle
    FROM minga_roster.toggles t
    WHERE t.connection = known.connection AND t.archive AND NOT t.roster
        AND (do_toggle.category IS NULL OR t.category = do_toggle.category);
    IF idle IS NOT NULL AND (do_toggle.archive OR NOT do_toggle.roster) THEN
        RAISE WARNING USING
            MESSAGE = format('no people in category "%s" will be archived', array_to_string(idle, '", "')),
            DETAIL = 'While the roster toggle of a category is off, its people are not changed. The archive toggle '
                'takes effect when it is on again.',
            HINT = format('Turn it on: SELECT minga_roster.roster_toggle(%L, %L, roster => true).', known.connection,
                idle[1]);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_toggle(text, text, boolean, boolean, boolean) IS
'Implements roster_toggle.';

CREATE FUNCTION roster_toggle(connection text, category text DEFAULT NULL, roster boolean DEFAULT NULL,
    auto_update boolean DEFAULT NULL,
    archive boolean DEFAULT NULL)
RETURNS SETOF toggles
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_toggle(text, text, boolean, boolean, boolean) IS
'Sets the toggles of a category (student, teacher, staff, admin; NULL for all four) and returns them; NULL leaves a '
'toggle unchanged. roster (on by default): people are created and linked. auto_update (off): existing people get the '
'values of the SIS. archive (off): people who are absent from the SIS are archived. archive does nothing while roster '
'is off, which a WARNING says. 42704 for an unknown connection, 22023 for an unknown category.';

CREATE FUNCTION minga_roster_internal.do_set_secret(connection text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    PERFORM minga_roster_internal.store_secret(connection, secret);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_secret(text, text) IS 'Implements roster_set_secret.';

CREATE FUNCTION roster_set_secret(connection text, secret text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_secret(text, text) IS
'Seals and stores the client secret of a connection, or the password of the mail server under the name "smtp", '
'replacing the old one; the current token is forgotten. It opens only with the key of minga_roster.key_file and cannot '
'be read with SQL. 42704 for an unknown connection, 22023 for an empty secret or one with whitespace around it, F0000 '
'without a good key file. As for roster_connect, log_statement and log_min_duration_statement would log it: '
'roster_set_secret_from_file and roster_set_sealed_secret pass no SQL text.';

CREATE FUNCTION minga_roster_internal.do_notify(connection text, email text, send text, manual boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    unset text := minga_roster_internal.mail_settings_missing();
BEGIN
    IF email IS NULL
        OR email !~ '^[^@\s[:cntrl:]<>(),;:"\[\]\\]+@'
            '([^@\s[:cntrl:]<>(),;:"\[\]\\.]+[.])+[^@\s[:cntrl:]<>(),;:"\[\]\\.]+$'
        OR octet_length(email) > 254
        OR email <> minga_roster_internal.readable(email) THEN
        PERFORM minga_roster_internal.refuse_parameter('email', email,
            'It must be one address, such as "it@mesa.example": a name, one @ and a domain with a dot, without spaces.',
            'Call roster_notify once for each recipient.');
    END IF;
    IF send IS NULL OR send NOT IN ('always', 'problems', 'changes', 'never') THEN
        PERFORM minga_roster_internal.refuse_parameter('send', send,
            'Valid values are "always", "problems", "changes" and "never".',
            'Use "problems" for mail that needs a decision, "changes" for mail about changes too, "never" to keep the '
                'address and send nothing.');
    END IF;
    -- Letter case is kept as given, but one mailbox is one recipient.
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND lower(r.email) = lower(do_notify.email);
    INSERT INTO minga_roster.recipients (connection, email, send, manual)
    VALUES (known.connection, do_notify.email, do_notify.send, coalesce(do_notify.manual, false));
    IF unset IS NOT NULL AND send <> 'never' THEN
        RAISE WARNING USING
            MESSAGE = 'mail cannot be sent yet',
            DETAIL = format('Not set: %s.', unset),
            HINT = 'Run LOAD ''minga_roster''; ALTER SYSTEM SET minga_roster.smtp_url = '
                '''smtp://mail.mesa.example:587''; ALTER SYSTEM SET minga_roster.smtp_from = '
                '''roster@mesa.example''; SELECT pg_reload_conf().';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_notify(text, text, text, boolean) IS 'Implements roster_notify.';

CREATE FUNCTION roster_notify(connection text, email text, send text DEFAULT 'always', manual boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_notify(text, text, text, boolean) IS
'Adds or changes a recipient of a connection''s reports. send: "always" after each evening run, "problems" if '
'something needs a decision, "changes" also if people changed, "never". manual: after manual runs too. A WARNING says '
'if minga_roster.smtp_url or smtp_from is not set. 42704 for an unknown connection, 22023 for a bad address or an '
'unknown send.';

CREATE FUNCTION minga_roster_internal.do_remove_recipient(connection text, email text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND lower(r.email) = lower(do_remove_recipient.email);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is not a recipient of connection "%s"', left(email, 100), known.connection),
            HINT = format('List the recipients: SELECT email FROM minga_roster.recipients WHERE connection = %L.',
                known.connection);
    END IF;
    -- Waiting mail was meant for them too.
    DELETE FROM minga_roster.outbox o
    WHERE o.connection = known.connection AND o.site = known.site AND lower(o.email) = lower(do_remove_recipient.email)
        AND o.state = 'waiting';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_remove_recipient(text, text) IS 'Implements roster_remove_recipient.';

CREATE FUNCTION roster_remove_recipient(connection text, email text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_remove_recipient(text, text) IS
'Removes an address from the recipients of a connection, with its waiting mail. 42704 for an unknown connection, or an '
'address that is not a recipient.';

CREATE FUNCTION minga_roster_internal.do_disconnect(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    waiting bigint;
BEGIN
    PERFORM minga_roster_internal.claim_connection(known);
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection;
    PERFORM minga_roster_internal.do_disable(known.connection);
    FOR waiting IN SELECT r.run FROM minga_roster.runs r WHERE r.connection = known.connection AND r.state = 'queued'
        ORDER BY r.run FOR UPDATE LOOP
        PERFORM minga_roster_internal.close_run(waiting, 'canceled', '57014',
            format('connection "%s" was retired', known.connection),
            'roster_disconnect was called while the run was queued.',
                'Create the connection again with roster_connect.');
    END LOOP;
    DELETE FROM minga_roster.tokens t WHERE t.connection = known.connection;
    DELETE FROM minga_roster.secrets s WHERE s.connection = known.connection;
    PERFORM minga_roster_internal.drop_stage(known.connection);
    PERFORM minga_roster_internal.drop_conflict_pairs(known.connection);
    UPDATE minga_roster.connections c SET retired_at = now() WHERE c.connection = known.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_disconnect(text) IS 'Implements roster_disconnect.';

CREATE FUNCTION roster_disconnect(connection text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_disconnect(text) IS
'Retires a connection: it has no more evenings, its links are dead, its secret, token, recipients and stage are '
'removed, and its queued runs are canceled. People stay as they are, and its runs and changes stay on record. '
'roster_connect can use the name again. 42704 for an unknown connection, 55006 while the connection is busy.';
-- Secrets that no SQL text holds: from a file of the server, or sealed by the client. And new keys.

CREATE FUNCTION minga_roster_internal.seal_file(row_id uuid, connection text, origins text, name text) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_seal_file';
COMMENT ON FUNCTION minga_roster_internal.seal_file(uuid, text, text, text) IS
'As seal, of the secret in a file of minga_roster.secret_directory, which is removed when the transaction commits. '
'42501 for roles that may not write secrets.';

CREATE FUNCTION minga_roster_internal.seal_sent(row_id uuid, connection text, origins text, label text, sent text,
    pair_id uuid, public_key text, private_key bytea)
RETURNS bytea
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_seal_sent';
COMMENT ON FUNCTION minga_roster_internal.seal_sent(uuid, text, text, text, text, uuid, text, bytea) IS
'As seal, of a secret that a client sealed for the key pair behind the label of the connection; 22023, in the same '
'words for every reason, if it does not open.';

CREATE FUNCTION minga_roster_internal.reseal(row_id uuid, connection text, origins text, sealed bytea) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_reseal';
COMMENT ON FUNCTION minga_roster_internal.reseal(uuid, text, text, bytea) IS
'What seal made, sealed with the first key of the key file; unchanged if it is already, NULL if it does not open.';

CREATE FUNCTION minga_roster_internal.make_key_pair(pair_id uuid, OUT public_key text, OUT private_key bytea)
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_key_pair';
COMMENT ON FUNCTION minga_roster_internal.make_key_pair(uuid) IS
'A new RSA key pair: the public key in PEM, the private key sealed for the row and for that public key.';

CREATE FUNCTION minga_roster_internal.secret_label(connection text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    origins text := minga_roster_internal.origins_of(connection);
BEGIN
    IF origins = '' THEN
        RETURN connection;
    END IF;
    RETURN format('%s@%s', connection,
        regexp_replace(replace(origins, ' and ', '+'), '(^|\+)https://|:443(?=\+|$)', '\1', 'g'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.secret_label(text) IS
'What a secret from outside SQL says that it is for: "connection@host", with the port if it is not 443, and with '
'"+host" if tokens come from another host; "smtp" for the mail password.';

CREATE FUNCTION minga_roster_internal.do_set_secret_from_file(connection text, name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
    label text;
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no name of a secret file was given',
            HINT = 'Give the name of a file in the directory that minga_roster.secret_directory names.';
    END IF;
    label := minga_roster_internal.secret_label(connection);
    -- A file says by its name for whom it is. Else an owner could take the file of another school, or send the secret
    -- to another server.
    IF name <> label AND NOT minga_roster_internal.is_dba(minga_roster_internal.caller()) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('secret file "%s" is not for connection "%s"', name, connection),
            DETAIL = 'Only the DBA may name any file.',
            HINT = format('Name it "%s", so that it says for which connection and server the secret is.', label);
    END IF;
    LOCK TABLE minga_roster.secrets IN ROW EXCLUSIVE MODE;
    PERFORM minga_roster_internal.store_sealed(connection, row_id, minga_roster_internal.seal_file(row_id, connection,
        minga_roster_internal.origins_of(connection), name));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_secret_from_file(text, text) IS
'Implements roster_set_secret_from_file.';

CREATE FUNCTION roster_set_secret_from_file(connection text, name text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_secret_from_file(text, text) IS
'As roster_set_secret, with the secret in a file of minga_roster.secret_directory: a regular file of mode 0600 that '
'belongs to the operating system user of the server. No SQL text holds the secret. The file is removed when the '
'transaction commits, and stays if it does not. Callers other than the DBA may name only the file "connection@host". '
'F0000 or 22023 for a file that does not fit.';

CREATE FUNCTION minga_roster_internal.do_public_key() RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pair minga_roster.key_pairs;
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT * INTO pair FROM minga_roster.key_pairs;
        IF minga_roster_internal.reseal(pair.binding, '', pair.public_key, pair.sealed) IS NOT NULL THEN
            RETURN pair.public_key;
        END IF;
        LOCK TABLE minga_roster.key_pairs IN SHARE ROW EXCLUSIVE MODE;
    END LOOP;
    -- One that does not open here is of no use to anyone: it came from a server with another key, or was altered.
    DELETE FROM minga_roster.key_pairs;
    pair.binding := gen_random_uuid();
    INSERT INTO minga_roster.key_pairs (binding, public_key, sealed)
    SELECT pair.binding, made.public_key, made.private_key FROM minga_roster_internal.make_key_pair(pair.binding) made
    RETURNING public_key INTO pair.public_key;
    RETURN pair.public_key;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_public_key() IS 'Implements roster_public_key.';

CREATE FUNCTION roster_public_key() RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_public_key() IS
'The public key, in PEM, with which a client seals a secret for roster_set_sealed_secret. The key pair is made at the '
'first call, which takes about a second, and again if it does not open with the key file. F0000 without a good key '
'file.';

CREATE FUNCTION minga_roster_internal.do_set_sealed_secret(connection text, sealed text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
    pair minga_roster.key_pairs;
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    LOCK TABLE minga_roster.secrets IN ROW EXCLUSIVE MODE;
    SELECT * INTO pair FROM minga_roster.key_pairs;
    PERFORM minga_roster_internal.store_sealed(connection, row_id, minga_roster_internal.seal_sent(row_id, connection,
        minga_roster_internal.origins_of(connection), minga_roster_internal.secret_label(connection),
        coalesce(do_set_sealed_secret.sealed, ''), pair.binding, pair.public_key, pair.sealed));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_sealed_secret(text, text) IS 'Implements roster_set_sealed_secret.';

CREATE FUNCTION roster_set_sealed_secret(connection text, sealed text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_sealed_secret(text, text) IS
'As roster_set_secret, with the secret sealed by the client with roster_public_key(): RSA, OAEP with SHA-256, in '
'base64. What is sealed is "connection@host", the end of a line, and the secret, 446 bytes in all; it can be stored '
'for no other connection and no other server. 22023, in the same words for every reason, if it does not open.';

CREATE FUNCTION minga_roster_internal.do_rotate_key() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    resealed bigint;
    more bigint;
    closed text[];
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
            MESSAGE = 'roster_rotate_key cannot be called in a transaction that is repeatable read or serializable',
            DETAIL = 'It would not see what was sealed with the former key after the transaction began.',
            HINT = 'Call it in a statement of its own.';
    END IF;
    -- Waits for each transaction that has sealed with the former key, and holds up those that would.
    LOCK TABLE minga_roster.secrets, minga_roster.key_pairs IN SHARE ROW EXCLUSIVE MODE;
    WITH opened AS MATERIALIZED (
        SELECT s.connection, minga_roster_internal.reseal(s.binding, s.connection,
            minga_roster_internal.origins_of(s.connection), s.sealed) AS sealed
        FROM minga_roster.secrets s),
    changed AS (
        UPDATE minga_roster.secrets s SET sealed = o.sealed
        FROM opened o WHERE o.connection = s.connection AND o.sealed <> s.sealed
        RETURNING 1)
    SELECT (SELECT count(*) FROM changed),
        (SELECT array_agg(format('"%s"', o.connection) ORDER BY o.connection) FROM opened o WHERE o.sealed IS NULL)
    INTO resealed, closed;
    IF closed IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'config_file_error',
            MESSAGE = format('%s secrets cannot be opened with the keys of the key file', cardinality(closed)),
            DETAIL = format('They are those of %s%s. Nothing was changed.', array_to_string(closed[1:10], ', '),
                CASE WHEN cardinality(closed) > 10 THEN ' and others' ELSE '' END),
            HINT = 'Put the former key into the file, on a line below the new one. If it is lost, or a secret was '
                'altered, set those secrets again.';
    END IF;
    -- A token that does not open would be asked for again; a key pair that does not open is made again.
    WITH opened AS MATERIALIZED (
        SELECT t.connection, minga_roster_internal.reseal(t.binding, t.connection,
            minga_roster_internal.origins_of(t.connection), t.sealed) AS sealed
        FROM minga_roster.tokens t),
    gone AS (
        DELETE FROM minga_roster.tokens t USING opened o WHERE o.connection = t.connection AND o.sealed IS NULL),
    changed AS (
        UPDATE minga_roster.tokens t SET sealed = o.sealed
        FROM opened o WHERE o.connection = t.connection AND o.sealed <> t.sealed
        RETURNING 1)
    SELECT count(*) INTO more FROM changed;
    resealed := resealed + more;
    WITH opened AS MATERIALIZED (
        SELECT minga_roster_internal.reseal(p.binding, '', p.public_key, p.sealed) AS sealed
        FROM minga_roster.key_pairs p),
    gone AS (
        DELETE FROM minga_roster.key_pairs p USING opened o WHERE o.sealed IS NULL),
    changed AS (
        UPDATE minga_roster.key_pairs p SET sealed = o.sealed FROM opened o WHERE o.sealed <> p.sealed
        RETURNING 1)
    SELECT count(*) INTO more FROM changed;
    RETURN resealed + more;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_rotate_key() IS 'Implements roster_rotate_key.';

CREATE FUNCTION roster_rotate_key() RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_rotate_key() IS
'Seals each secret, access token and the private key again with the first key of the key file, and returns how many '
'were sealed with another one; 0 means that the other lines of the file can be removed. All or none: F0000 names the '
'connections whose secrets do not open with any key of the file.';
-- Levels are granted and revoked: by the DBA, and below district_manager by the managers of a district.

CREATE FUNCTION minga_roster_internal.known_role(role name) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_role oid;
BEGIN
    SELECT r.oid INTO found_role FROM pg_roles r WHERE r.rolname = known_role.role;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not exist', coalesce(role, 'NULL')),
            DETAIL = 'The name must be spelled as in pg_roles, in its letter case and without quotes.',
            HINT = format('Create it first: CREATE ROLE %I.', coalesce(role, 'mesa_office'));
    END IF;
    RETURN found_role;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_role(name) IS 'The OID of a role; 42704 for an unknown one.';

CREATE FUNCTION minga_roster_internal.check_scope(level text, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF level IS NULL OR level NOT IN ('reader', 'owner', 'district_manager') THEN
        PERFORM minga_roster_internal.refuse_parameter('level', coalesce(level, 'NULL'),
            'Valid levels are "reader" and "owner" of a site, and "reader" and "district_manager" of a district.',
            'For the DBA level: GRANT minga_roster_dba TO the role, as a superuser.');
    END IF;
    IF (site IS NULL) = (district IS NULL) OR (level = 'owner' AND site IS NULL)
        OR (level = 'district_manager' AND district IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('level "%s" is given for %s', level, CASE level WHEN 'owner' THEN 'one site'
                WHEN 'district_manager' THEN 'one district' ELSE 'one site or one district' END),
            DETAIL = format('Given: site %s, district %s.', coalesce('"' || site || '"', 'NULL'),
                coalesce('"' || district || '"', 'NULL')),
            HINT = CASE level WHEN 'district_manager' THEN 'Name the district: district => ''...''.'
                WHEN 'owner' THEN 'Name the site: site => ''...''.'
                ELSE 'Name one of them: site => ''...'' or district => ''...''.' END;
    END IF;
    IF coalesce(site, district) <> btrim(coalesce(site, district)) OR coalesce(site, district) = ''
        OR minga_roster_internal.readable(coalesce(site, district)) <> coalesce(site, district) THEN
        PERFORM minga_roster_internal.refuse_parameter(CASE WHEN site IS NULL THEN 'district' ELSE 'site' END,
            coalesce(site, district),
            'It must not be empty, have whitespace around it or contain control characters.',
            'Use the name as minga_roster.roster_district_status shows it.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_scope(text, text, text) IS
'Raises 22023 unless level, site and district fit together.';

CREATE FUNCTION minga_roster_internal.require_manager(function name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT name := minga_roster_internal.caller();
BEGIN
    IF minga_roster_internal.is_dba(caller) OR (level <> 'district_manager'
        AND minga_roster_internal.manages(caller, coalesce(district, minga_roster_internal.district_of(site)))) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = CASE WHEN site IS NULL THEN format('permission denied for district "%s"', district)
            ELSE format('permission denied for site "%s"', site) END,
        DETAIL = format('%s of the level "%s" there requires %s. You are "%s".', function, level,
            CASE level WHEN 'district_manager' THEN 'the DBA level'
                ELSE 'the level "district_manager" of its district' END, caller),
        HINT = CASE level WHEN 'district_manager' THEN 'Ask the DBA to call it.'
            ELSE 'Ask the district manager or the DBA to call it.' END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_manager(name, text, text, text) IS
'Raises 42501 unless the caller may grant and revoke this level: the DBA may all, a district_manager owner and reader '
'in the district.';

CREATE FUNCTION minga_roster_internal.do_grant(role name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder oid;
    opens boolean;
BEGIN
    PERFORM minga_roster_internal.check_scope(level, site, district);
    PERFORM minga_roster_internal.require_manager('roster_grant', level, site, district);
    holder := minga_roster_internal.known_role(role);
    LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM minga_roster.role_levels l
        WHERE l.role_oid = holder AND l.origin = minga_roster_internal.server_origin()
            AND (l.level, l.site, l.district) IS NOT DISTINCT FROM (do_grant.level, do_grant.site, do_grant.district))
    THEN
        RAISE NOTICE USING
            MESSAGE = format('role "%s" has the level "%s" there already', role, level);
        RETURN;
    END IF;
    opens := NOT EXISTS (
        SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname = 'minga_roster' AND a.grantee = holder AND a.privilege_type = 'USAGE');
    -- A row from before a restore that counts by name makes room.
    DELETE FROM minga_roster.role_levels l
    WHERE minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder
        AND (l.level, l.site, l.district) IS NOT DISTINCT FROM (do_grant.level, do_grant.site, do_grant.district);
    INSERT INTO minga_roster.role_levels (role, role_oid, origin, level, site, district, opened, granted_by)
    VALUES (do_grant.role, holder, minga_roster_internal.server_origin(), do_grant.level, do_grant.site,
        do_grant.district, opens, minga_roster_internal.caller());
    IF opens THEN
        EXECUTE format('GRANT USAGE ON SCHEMA minga_roster TO %I', role);
    END IF;
    IF site IS NOT NULL AND NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = do_grant.site) THEN
        RAISE NOTICE USING
            MESSAGE = format('site "%s" has no connection yet', site),
            HINT = 'Check the spelling. The level counts from the first connection on, and lets the owner connect it.';
    ELSIF district IS NOT NULL AND NOT EXISTS (SELECT FROM minga_roster.connections c
        WHERE c.district = do_grant.district) THEN
        RAISE NOTICE USING
            MESSAGE = format('no connection is in district "%s" yet', district),
            HINT = 'Check the spelling. The level counts from the first connection in the district on.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_grant(name, text, text, text) IS 'Implements roster_grant.';

CREATE FUNCTION roster_grant(role name, level text, site text DEFAULT NULL, district text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_grant(name, text, text, text) IS
'Gives a role a level: "owner" of a site (everything of its connections, but no secret''s value and no attaching of '
'relations), "reader" of a site or district (status, runs, reports and counts, no personal data), or '
'"district_manager" (owner of all sites of a district, who grants owner and reader there). Members of the role have '
'it as they have its privileges. The role gets USAGE on schema minga_roster. The DBA may grant each level, a '
'district_manager owner and reader in the district; others get 42501. 42704 for an unknown role, 22023 for a level, '
'site and district that do not fit together.';

CREATE FUNCTION minga_roster_internal.do_revoke(role name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = do_revoke.role);
    closes boolean;
BEGIN
    PERFORM minga_roster_internal.check_scope(level, site, district);
    PERFORM minga_roster_internal.require_manager('roster_revoke', level, site, district);
    LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    -- A role that is gone is found by the name that it had.
    WITH revoked AS (
        DELETE FROM minga_roster.role_levels l
        WHERE (l.level, l.site, l.district)
                IS NOT DISTINCT FROM (do_revoke.level, do_revoke.site, do_revoke.district)
            AND (minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder
                OR (l.role = do_revoke.role AND NOT EXISTS (SELECT FROM pg_roles r
                    WHERE r.oid = minga_roster_internal.holder(l.role, l.role_oid, l.origin))))
        RETURNING l.opened
    )
    SELECT bool_or(v.opened) INTO closes FROM revoked v;
    IF closes IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not have the level "%s" there', role, level),
            DETAIL = 'A level that a role has as a member of another role is revoked from that other role.',
            HINT = 'List what is granted: SELECT * FROM minga_roster.roster_access.';
    END IF;
    IF NOT closes OR holder IS NULL THEN
        RETURN;
    END IF;
    UPDATE minga_roster.role_levels l SET opened = true
    WHERE minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder;
    IF NOT FOUND THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA minga_roster FROM %I', role);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_revoke(name, text, text, text) IS 'Implements roster_revoke.';

CREATE FUNCTION roster_revoke(role name, level text, site text DEFAULT NULL, district text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_revoke(name, text, text, text) IS
'Takes a level back that roster_grant gave; the last one takes USAGE on schema minga_roster back, if roster_grant gave '
'it. Works for a role that was dropped, by the name that it had. The DBA may revoke each level, a district_manager '
'owner and reader in the district; others get 42501. 42704 if the role does not have the level there.';

CREATE VIEW roster_access WITH (security_invoker = true) AS
    SELECT coalesce(r.rolname, l.role) AS role, l.level, l.site, l.district, r.rolname IS NOT NULL AS role_exists,
        l.granted_at, l.granted_by
    FROM minga_roster.role_levels l
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = minga_roster_internal.holder(l.role, l.role_oid, l.origin);
COMMENT ON VIEW roster_access IS
'Who was given which level, where, when and by whom. Owners see the levels at their sites and in the districts of '
'these, managers those of their districts, everyone their own. Members of a role have its levels too, and members of '
'the role that owns the tables have the DBA level.';
COMMENT ON COLUMN roster_access.role IS 'The role by its name today; that at the grant if it was dropped.';
COMMENT ON COLUMN roster_access.site IS 'The site; NULL if the level is for each site of the district.';
COMMENT ON COLUMN roster_access.role_exists IS
'Whether the role still exists. If not, no one has the level: roster_revoke removes the row.';
-- Runs: the functions that people call, and how the row of a run begins and ends. The functions that wait are in C
-- (launch.c). worker.c calls what changes the row.

CREATE FUNCTION roster_test_connection(connection text, OUT step text, OUT ok boolean, OUT detail text, OUT hint text,
    OUT elapsed interval)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_test_connection';
COMMENT ON FUNCTION roster_test_connection(text) IS
'Tests a connection step by step: url, dns, tls, token, school, each collection that a sync would read, with its '
'count, and people. ok is NULL for steps that were not reached. A fault of the SIS is a row, not an error. Waits for a '
'background worker; 53000 if none is free, 55006 while the connection is busy, 25001 in a transaction block.';

CREATE FUNCTION roster_diagnose(connection text, OUT finding text, OUT value text, OUT ok boolean, OUT detail text,
    OUT hint text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_diagnose';
COMMENT ON FUNCTION roster_diagnose(text) IS
'Examines the SIS of a connection: token, paging, totals, sort, filters, times. Then reads the roster into the stage '
'as roster_fetch does and describes its rows. ok is false for a problem, NULL for information. A fault of the SIS is a '
'row, not an error. No row holds personal data. Waits as roster_fetch does. roster_diagnosis(run) returns the same as '
'text for the vendor.';

CREATE FUNCTION roster_fetch(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_fetch';
COMMENT ON FUNCTION roster_fetch(text) IS
'Fetches the roster into staged_users and staged_orgs and returns the finished run. Waits for it. A failed run raises '
'its error; 25001 in a transaction block (use roster_start).';

CREATE FUNCTION roster_preview(connection text) RETURNS SETOF changes
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_preview';
COMMENT ON FUNCTION roster_preview(text) IS
'Fetches and plans, and returns the changes that a sync would make, those that the guard would hold, and what would '
'not be done. Changes no accounts. Waits as roster_fetch does.';

CREATE FUNCTION roster_sync(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_sync';
COMMENT ON FUNCTION roster_sync(text) IS
'Fetches, plans and applies, and returns the finished run with its counts. Either all changes are made or none. Waits '
'as roster_fetch does.';

CREATE FUNCTION roster_approve(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_approve';
COMMENT ON FUNCTION roster_approve(bigint) IS
'Applies the held archives, updates and creates of a sync or an applied preview, checking each again (those that no '
'longer fit become refused), and returns the approving run. 42704 for an unknown run, 55000 if nothing is left to '
'approve. Waits as roster_fetch does.';

CREATE FUNCTION roster_apply(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_apply';
COMMENT ON FUNCTION roster_apply(bigint) IS
'Applies exactly the planned changes of a preview, without fetching again, and returns the applying run. Each change '
'is checked again; if the person was changed after the preview, it is refused with the reason. The changes stay with '
'the preview and show their result. What the preview held stays held until roster_approve. 42704 for an unknown run, '
'55000 for a run that is not a preview, has not succeeded, was already applied, or is out of date. Waits as '
'roster_fetch does.';

CREATE FUNCTION roster_undo(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_undo';
COMMENT ON FUNCTION roster_undo(bigint) IS
'Undoes what a sync, an apply or an approval changed, in one transaction, and returns the undoing run: new people are '
'archived; archives, restores, updates and links are reverted (state undone). People who were changed since are kept '
'(state kept, with the reason). Pauses Automatic Rostering of the connection until roster_enable. 42704 for an unknown '
'run; 55000 for an undo, and for a run that changed no one, has not succeeded or was already undone. Waits as '
'roster_fetch does.';

CREATE FUNCTION roster_start(connection text, kind text DEFAULT 'sync') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_start';
COMMENT ON FUNCTION roster_start(text, text) IS
'Starts a diagnosis, fetch, preview or sync without waiting and returns the run number. Follow it in runs and '
'roster_status. If no worker can be registered, the run stays queued, with a WARNING.';

CREATE FUNCTION roster_run_due() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_run_due';
COMMENT ON FUNCTION roster_run_due() IS
'Starts the worker that queues due runs, works through the queue, sends mail, closes dead runs and applies retention, '
'and returns at once. pg_cron calls it every minute.';

CREATE FUNCTION minga_roster_internal.try_run_lock(kind text, number bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_try_run_lock';
COMMENT ON FUNCTION minga_roster_internal.try_run_lock(text, bigint) IS
'Takes the lock of a run ("run" and its number), of a connection ("connection" and connections.number) or of the '
'evenings ("evenings" and 1) until the end of the transaction; returns false if another session has it. No other SQL '
'function can take these locks. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.wait_for_run_lock(kind text, number bigint) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_wait_for_run_lock';
COMMENT ON FUNCTION minga_roster_internal.wait_for_run_lock(text, bigint) IS
'Takes such a lock until the end of the transaction, waiting for it if needed. Only for the role that the extension '
'acts with.';

CREATE FUNCTION minga_roster_internal.cancel_worker(run bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_cancel_worker';
COMMENT ON FUNCTION minga_roster_internal.cancel_worker(bigint) IS
'Cancels what the process that holds the lock of this run is doing; false if there is none. pg_cancel_backend would '
'need a superuser''s rights, because a worker connects as a superuser. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.known_run(run bigint) RETURNS runs
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_run minga_roster.runs;
BEGIN
    IF known_run.run IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no run was given',
            HINT = 'List the runs: SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC.';
    END IF;
    SELECT * INTO found_run FROM minga_roster.runs r WHERE r.run = known_run.run;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('run %s does not exist', known_run.run),
            DETAIL = 'No row of minga_roster.runs has this number.',
            HINT = 'List the runs: SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC. Runs '
                'are removed after minga_roster.keep_runs days.';
    END IF;
    RETURN found_run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_run(bigint) IS
'The row of a run; 42704 for an unknown number, 22004 for NULL.';

CREATE FUNCTION minga_roster_internal.state_words(state text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE state WHEN 'failed' THEN 'It failed' WHEN 'canceled' THEN 'It was canceled' ELSE 'It is ' || state END;
COMMENT ON FUNCTION minga_roster_internal.state_words(text) IS 'The state of a run, as used in errors.';

CREATE FUNCTION minga_roster_internal.why_foreign(run runs, connection connections) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN (run).connection <> (connection).connection OR (run).site <> (connection).site
        THEN 'It belongs to another connection or site.'
    WHEN (run).queued_at < (connection).created_at
        THEN 'It belongs to an earlier connection of this name, which was retired.'
END;
COMMENT ON FUNCTION minga_roster_internal.why_foreign(runs, connections) IS
'Why a run does not belong to the connection as it is now; NULL if it does.';

CREATE FUNCTION minga_roster_internal.carried_out_by(run runs) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE (run).kind
    WHEN 'sync' THEN CASE (run).state WHEN 'succeeded' THEN (run).run END
    WHEN 'preview' THEN (
        SELECT min(r.run) FROM runs r
        WHERE r.connection = (carried_out_by.run).connection AND r.kind = 'apply'
            AND r.of_run = (carried_out_by.run).run AND r.state = 'succeeded')
END;
COMMENT ON FUNCTION minga_roster_internal.carried_out_by(runs) IS
'The run that carried out the plan of this one: a sync itself, the apply of a preview; NULL if no run did.';

CREATE FUNCTION minga_roster_internal.do_cancel(run bigint) RETURNS runs
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target minga_roster.runs := minga_roster_internal.known_run(do_cancel.run);
BEGIN
    IF target.state = 'queued' THEN
        -- While the row is locked, no worker can claim the run.
        SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run FOR UPDATE;
    END IF;
    IF target.state = 'queued' THEN
        PERFORM minga_roster_internal.close_run(target.run, 'canceled', '57014', 'canceled while queued', NULL, NULL);
    ELSIF target.state = 'running' THEN
        -- A merge locks the row until it commits. The run lock shows whether a worker is alive, and nothing waits for
        -- it.
        IF minga_roster_internal.try_run_lock('run', target.run) THEN
            PERFORM minga_roster_internal.close_dead_run(target.run);
        ELSE
            PERFORM minga_roster_internal.cancel_worker(target.run);
        END IF;
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be canceled', target.run),
            DETAIL = format('%s at %s.', minga_roster_internal.state_words(target.state), target.finished_at),
            HINT = 'Cancel only queued and running runs.';
    END IF;
    SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run;
    RETURN target;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_cancel(bigint) IS 'Implements roster_cancel.';

CREATE FUNCTION roster_cancel(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_cancel(bigint) IS
'Cancels a run: a queued one at once; for a running one the worker is interrupted, stops within moments and rolls back '
'what it had not committed. 42704 for an unknown run, 55000 for a finished one.';

CREATE FUNCTION minga_roster_internal.queued_twin(connection text, kind text, of_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(r.run) FROM minga_roster.runs r
    WHERE r.connection = queued_twin.connection AND r.kind = queued_twin.kind
        AND coalesce(r.of_run, 0) = coalesce(queued_twin.of_run, 0)
        AND r.state = 'queued' AND r.trigger = 'manual'
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_twin(text, text, bigint) IS
'The queued manual run of that kind (and for that run) of the connection; NULL if there is none. Only one of a kind '
'can be queued at a time.';

CREATE FUNCTION minga_roster_internal.insert_run(run bigint, connection text, kind text, of_run bigint, state text,
    requested_by name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    is_running boolean := insert_run.state = 'running';
BEGIN
    INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, started_at, pid,
        district)
    SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, insert_run.state,
        insert_run.requested_by,
        CASE WHEN is_running THEN clock_timestamp() END, CASE WHEN is_running THEN pg_backend_pid() END,
        c.district
    FROM minga_roster_internal.known_connection(insert_run.connection) AS c
    ON CONFLICT (connection, kind, coalesce(of_run, 0)) WHERE state = 'queued' AND trigger = 'manual' DO NOTHING;
    IF NOT FOUND THEN
        INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, finished_at,
            reported, sqlstate, error, hint, district)
        SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, 'canceled',
            insert_run.requested_by,
            clock_timestamp(), true, '55006', format('connection "%s" already has a queued %s', c.connection,
                insert_run.kind),
            'Wait for it; see SELECT * FROM minga_roster.roster_status.', c.district
        FROM minga_roster_internal.known_connection(insert_run.connection) AS c;
    END IF;
    -- What changes accounts outlasts the row of the run.
    IF insert_run.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        INSERT INTO minga_roster.audit (role, function, connection, run, given, site)
        SELECT insert_run.requested_by, 'roster_' || insert_run.kind, c.connection, insert_run.of_run, '{}', c.site
        FROM minga_roster_internal.known_connection(insert_run.connection) AS c;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.insert_run(bigint, text, text, bigint, text, name) IS
'Inserts the row of a manual run, queued or running in this process. If a run of the same kind is already queued, the '
'new one is recorded as canceled.';

CREATE FUNCTION minga_roster_internal.claim_run(run bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM minga_roster.runs r WHERE r.run = claim_run.run AND r.state = 'queued' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.runs r SET state = 'running', started_at = clock_timestamp(), pid = pg_backend_pid()
        WHERE r.run = claim_run.run;
    RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_run(bigint) IS
'Claims a queued run for this process; false if it is no longer queued or is being canceled.';

CREATE FUNCTION minga_roster_internal.queued_runs(OUT run bigint, OUT connection text, OUT kind text, OUT of_run bigint,
    OUT connection_number integer, OUT site text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.run, r.connection, r.kind, r.of_run, c.number, r.site
    FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
    WHERE r.state = 'queued' AND c.retired_at IS NULL
        AND (r.trigger = 'manual' OR c.enabled_origin = minga_roster_internal.server_origin())
    ORDER BY r.run
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_runs() IS
'The queue, first come, first served, without evening runs that came in a restored copy: those must not contact the '
'SIS.';

CREATE FUNCTION minga_roster_internal.close_run(run bigint, state text, failure_sqlstate text, error text, detail text,
    hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed minga_roster.runs;
BEGIN
    UPDATE minga_roster.runs r
    SET state = close_run.state, finished_at = clock_timestamp(), pid = NULL,
        sqlstate = close_run.failure_sqlstate, error = close_run.error, detail = close_run.detail, hint = close_run.hint
    WHERE r.run = close_run.run AND r.state IN ('queued', 'running')
    RETURNING * INTO closed;
    IF FOUND THEN
        IF close_run.state <> 'succeeded' AND closed.started_at IS NOT NULL THEN
            PERFORM minga_roster_internal.blank_unfinished_stage(closed);
        END IF;
        PERFORM minga_roster_internal.post_report(close_run.run);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.close_run(bigint, text, text, text, text, text) IS
'Finishes a run and writes its mail; does nothing for a finished run.';

CREATE FUNCTION minga_roster_internal.close_dead_run(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.close_run(close_dead_run.run, 'failed', '57P02', 'the worker of the run died',
        'No session holds the lock of the run: the server crashed or was restarted during the run, or code of the '
            'people relation did not stop when it was canceled.',
        'Uncommitted changes were rolled back. Start the run again.')
$$;
COMMENT ON FUNCTION minga_roster_internal.close_dead_run(bigint) IS
'Closes a run whose worker is gone; the caller has taken its lock.';

CREATE FUNCTION minga_roster_internal.close_dead_runs() RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH dead AS MATERIALIZED (
        SELECT r.run
        FROM minga_roster.runs r
        WHERE r.state = 'running' AND minga_roster_internal.try_run_lock('run', r.run)
    ), closed AS MATERIALIZED (
        SELECT minga_roster_internal.close_dead_run(run) FROM dead
    )
    SELECT count(*)::integer FROM closed
$$;
COMMENT ON FUNCTION minga_roster_internal.close_dead_runs() IS
'Closes each running run whose lock can be taken; returns their number.';
-- The stage: one partition of users and one of orgs for each connection, and what is corrected in them once they are
-- filled.

CREATE FUNCTION minga_roster_internal.fallbacks_of(entry jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(entry->'fallback')
        WHEN 'array' THEN entry->'fallback' WHEN 'string' THEN jsonb_build_array(entry->'fallback') ELSE '[]' END))
$$;
COMMENT ON FUNCTION minga_roster_internal.fallbacks_of(jsonb) IS
'The fallback paths of an entry of sis.collections, in order.';

CREATE FUNCTION minga_roster_internal.fields_to_read(connection connections, family text, is_rostered boolean)
RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT concat_ws(',', 'sourcedId,status,dateLastModified,enabledUser,givenName,familyName',
        CASE WHEN w.is_account AND w.columns ? 'middle_name' THEN 'middleName' END,
        CASE WHEN w.is_1_2 THEN 'preferredFirstName,roles' ELSE 'role' END,
        'username,identifier,email',
        CASE WHEN family = 'contact' OR (w.is_account AND w.columns ? 'phone') THEN 'sms,phone' END,
        CASE WHEN w.is_account AND w.columns ? 'grade' THEN 'grades' END,
        CASE WHEN NOT w.is_1_2 THEN 'orgs' END,
        CASE WHEN w.contacts AND family = 'student' THEN 'agents' END,
        CASE WHEN w.has_metadata AND ((w.contacts AND family <> 'staff') OR (w.is_account AND EXISTS (
            SELECT FROM minga_roster.links l WHERE l.connection = (fields_to_read.connection).connection)))
            THEN 'metadata' END)
    FROM (
        SELECT is_rostered AND family <> 'contact' AS is_account, (connection).base_url LIKE '%/v1p2%' AS is_1_2,
            is_rostered AND (connection).parent_contact AS contacts,
            (SELECT s.campus_metadata FROM minga_roster.sis s WHERE s.sis = (connection).sis) AS has_metadata,
            (SELECT p.columns FROM minga_roster.people_relations p
                WHERE p.relation = (connection).people) AS columns
    ) w
$$;
COMMENT ON FUNCTION minga_roster_internal.fields_to_read(connections, text, boolean) IS
'The fields requested of a list: what tells who a row is and what becomes of it; what a column of the people relation '
'takes, if the list has a rostered category; of contacts how to reach them. Agents are requested for parent contacts '
'alone, and metadata for these and, once the connection has links, for former IDs.';

CREATE FUNCTION minga_roster_internal.collections_to_read(connection text, since timestamptz DEFAULT NULL,
    OUT "position" integer, OUT collection text, OUT family text, OUT path text, OUT fallbacks text[],
    OUT roles text[], OUT filtered boolean, OUT is_rostered boolean, OUT fields text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH entry AS (
        SELECT c.connection, c.parent_contact, e.position, e.entry->>'collection' AS collection,
            e.entry->>'family' AS family, a.categories, e.entry->>'path' AS path,
            minga_roster_internal.fallbacks_of(e.entry) AS fallbacks,
            ARRAY(SELECT lower(r) FROM jsonb_array_elements_text(e.entry->'roles') AS r) AS roles,
            EXISTS (SELECT FROM minga_roster.toggles t
                WHERE t.connection = c.connection AND t.roster AND t.category = ANY (a.categories)) AS is_rostered,
            c AS row
        FROM minga_roster.connections c
        JOIN minga_roster.sis s USING (sis)
        CROSS JOIN LATERAL jsonb_array_elements(s.collections) WITH ORDINALITY AS e (entry, position)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(e.entry->'categories')) AS categories) AS a
        WHERE c.connection = collections_to_read.connection
    )
    SELECT e.position::integer, e.collection, e.family, p.path, p.fallbacks, e.roles, p.path <> e.path, e.is_rostered,
        minga_roster_internal.fields_to_read(e.row, e.family, e.is_rostered)
    FROM entry e
    -- Which staff rows are one person can be told only from the complete list.
    CROSS JOIN LATERAL (SELECT CASE WHEN e.family = 'staff' THEN NULL ELSE since END AS since) AS wanted
    CROSS JOIN LATERAL (SELECT minga_roster_internal.with_filter(e.path, wanted.since) AS path,
        ARRAY(SELECT minga_roster_internal.with_filter(f.path, wanted.since)
            FROM unnest(e.fallbacks) WITH ORDINALITY AS f (path, nth) ORDER BY f.nth) AS fallbacks) AS p
    WHERE (e.family <> 'contact' OR e.parent_contact)
        AND (e.is_rostered OR (e.family <> 'contact' AND EXISTS (
            SELECT FROM minga_roster.toggles t JOIN entry other ON other.family = e.family
                AND t.category = ANY (other.categories)
            WHERE t.connection = e.connection AND t.roster AND t.archive)))
    ORDER BY e.position
$$;
COMMENT ON FUNCTION minga_roster_internal.collections_to_read(text, timestamptz) IS
'What a fetch of the connection reads, in order: each collection with a rostered category; all collections of a family '
'in which a rostered category is archived, because absence is judged by family; contacts if parent contacts are on and '
'students are rostered. since: for students and contacts, only later changes, if the preset''s filter leaves room for '
'that; such a collection is filtered. roles: the roles kept from an endpoint that is not the school''s own; NULL for '
'all. is_rostered: whether one of its categories is. fields: what is requested of each row.';

CREATE FUNCTION minga_roster_internal.make_member(partition regclass, is_member boolean) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_member';
COMMENT ON FUNCTION minga_roster_internal.make_member(regclass, boolean) IS
'Makes a partition of the stage a member of the extension, so that it is not dumped, or no longer one. ALTER EXTENSION '
'would need the rights of the extension''s owner.';

CREATE FUNCTION minga_roster_internal.roles_to_stage(connection text, OUT whole text[], OUT keys text[],
    OUT contacts text[])
RETURNS record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(r.roster_role) FILTER (WHERE t.roster), '{}'),
        coalesce(array_agg(r.roster_role) FILTER (WHERE NOT t.roster), '{}'),
        coalesce(array_agg(r.roster_role) FILTER (WHERE r.category = 'contact' AND c.parent_contact
            AND (SELECT s.roster FROM minga_roster.toggles s
                WHERE s.connection = c.connection AND s.category = 'student')), '{}')
    FROM minga_roster.connections c
    JOIN minga_roster.role_rules r ON r.sis = c.sis
    LEFT JOIN minga_roster.toggles t ON t.connection = c.connection AND t.category = r.category
    WHERE c.connection = roles_to_stage.connection
$$;
COMMENT ON FUNCTION minga_roster_internal.roles_to_stage(text) IS
'Which roles are staged whole, because their category is rostered; with keys alone, because it is not; and as contacts '
'of students. Rows of other roles are staged by ID.';

CREATE FUNCTION minga_roster_internal.begin_staging(run bigint, OUT whole text[], OUT keys text[], OUT contacts text[])
RETURNS record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT k.whole, k.keys, k.contacts INTO whole, keys, contacts
    FROM minga_roster.runs r CROSS JOIN LATERAL minga_roster_internal.roles_to_stage(r.connection) k
    WHERE r.run = begin_staging.run;
    UPDATE minga_roster.runs r SET reduced_roles = nullif(keys, '{}')
    WHERE r.run = begin_staging.run AND r.reduced_roles IS DISTINCT FROM nullif(keys, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.begin_staging(bigint) IS
'roles_to_stage, and remembers those with keys alone in the run, since toggles may change before its plan.';

CREATE FUNCTION minga_roster_internal.stage_partitions(connection text, OUT parent text, OUT partition text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.parent, format('minga_roster_internal.%I', format('%s_%s', p.parent, c.number))
    FROM minga_roster.connections c
    CROSS JOIN (VALUES ('staged_users'), ('staged_orgs')) AS p (parent)
    WHERE c.connection = stage_partitions.connection
$$;
COMMENT ON FUNCTION minga_roster_internal.stage_partitions(text) IS
'The partitions that the stage of a connection has, or will have.';

CREATE FUNCTION minga_roster_internal.empty_stage(connection text, waits boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = 0 AS $$
DECLARE
    partition text;
BEGIN
    DELETE FROM minga_roster.stages g WHERE g.connection = empty_stage.connection;
    FOR partition IN
        SELECT p.partition FROM minga_roster_internal.stage_partitions(empty_stage.connection) p
        WHERE pg_relation_size(to_regclass(p.partition)) > 0
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '5s', true);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE %s', partition,
                CASE WHEN NOT waits THEN 'NOWAIT' END);
            EXECUTE format('TRUNCATE %s', partition);
        EXCEPTION WHEN lock_not_available THEN
            BEGIN
                EXECUTE format('LOCK TABLE %s IN ROW EXCLUSIVE MODE %s', partition,
                    CASE WHEN NOT waits THEN 'NOWAIT' END);
                EXECUTE format('DELETE FROM %s', partition);
            EXCEPTION WHEN lock_not_available THEN
                IF waits THEN
                    RAISE;
                END IF;
            END;
        END;
        PERFORM set_config('lock_timeout', '0', true);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.empty_stage(text, boolean) IS
'Empties the stage of a connection. While another session reads a partition, its rows are deleted instead of '
'truncated. waits: 5 seconds for that session to end; else not at all, and what someone has locked is left to '
'empty_idle_stages.';

CREATE FUNCTION minga_roster_internal.empty_idle_stages() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at_once CONSTANT integer := 100; -- since each takes some of the server's locks
    idle text;
BEGIN
    FOR idle IN
        SELECT c.connection FROM minga_roster.connections c
        WHERE EXISTS (SELECT FROM minga_roster_internal.stage_partitions(c.connection) p
                WHERE pg_relation_size(to_regclass(p.partition)) > 0)
            AND minga_roster_internal.try_run_lock('connection', c.number)
        LIMIT at_once
    LOOP
        PERFORM minga_roster_internal.empty_stage(idle, waits => false);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.empty_idle_stages() IS
'With minga_roster.keep_stage off: empties what was locked when a run ended, what a run that died left, and what runs '
'left while the setting was on.';

CREATE FUNCTION minga_roster_internal.prepare_stage(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET default_tablespace = '' AS $$
DECLARE
    part record;
BEGIN
    PERFORM minga_roster_internal.empty_stage(prepare_stage.connection, waits => true);
    FOR part IN
        SELECT p.* FROM minga_roster_internal.stage_partitions(prepare_stage.connection) p
        WHERE to_regclass(p.partition) IS NULL
    LOOP
        EXECUTE format('CREATE UNLOGGED TABLE %s (LIKE minga_roster.%I)', part.partition, part.parent);
        EXECUTE format('ALTER TABLE minga_roster.%I ATTACH PARTITION %s FOR VALUES IN (%L)',
            part.parent, part.partition, prepare_stage.connection);
        PERFORM minga_roster_internal.make_member(part.partition::regclass, true);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prepare_stage(text) IS
'Empties the stage of a connection, and creates its missing partitions, unlogged and members of the extension.';

CREATE FUNCTION minga_roster_internal.drop_stage(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition regclass;
BEGIN
    DELETE FROM minga_roster.stages g WHERE g.connection = drop_stage.connection;
    FOR partition IN
        SELECT to_regclass(p.partition) FROM minga_roster_internal.stage_partitions(drop_stage.connection) p
    LOOP
        CONTINUE WHEN partition IS NULL;
        PERFORM minga_roster_internal.make_member(partition, false);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_stage(text) IS
'Removes the partitions of a connection from the extension and drops them, if there are any.';

CREATE FUNCTION minga_roster_internal.distinct_staged(connection text, collection text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' AS $$
    SELECT count(DISTINCT s.sourced_id)
    FROM minga_roster.staged_users s
    WHERE s.connection = distinct_staged.connection AND s.collection = distinct_staged.collection
$$;
COMMENT ON FUNCTION minga_roster_internal.distinct_staged(text, text) IS
'How many different sourcedIds a collection listed, including those elsewhere. Its memory use does not grow with the '
'roster.';

CREATE FUNCTION minga_roster_internal.count_new(connection text, collection text, ids bigint[]) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' AS $$
    SELECT count(*)
    FROM (SELECT unnest(count_new.ids)
          EXCEPT
          SELECT hashtextextended(s.sourced_id, 0)
          FROM minga_roster.staged_users s
          WHERE s.connection = count_new.connection AND s.collection = count_new.collection) AS unknown
$$;
COMMENT ON FUNCTION minga_roster_internal.count_new(text, text, bigint[]) IS
'How many of these sourcedIds, given as hashes, the collection has not listed yet, including those elsewhere.';

CREATE FUNCTION minga_roster_internal.learn_fact(connection text, fact text, value text, run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO minga_roster.server_facts AS f (connection, fact, value, learned_run, learned_at)
    VALUES (learn_fact.connection, learn_fact.fact, learn_fact.value, learn_fact.run, minga_roster_internal.clock())
    ON CONFLICT ON CONSTRAINT server_facts_pkey DO UPDATE SET value = EXCLUDED.value,
    learned_run = EXCLUDED.learned_run, learned_at = EXCLUDED.learned_at
$$;
COMMENT ON FUNCTION minga_roster_internal.learn_fact(text, text, text, bigint) IS
'Stores what a run learned about how the SIS answers.';

CREATE FUNCTION minga_roster_internal.fresh_facts(connection text) RETURNS SETOF server_facts
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.* FROM minga_roster.server_facts f
    WHERE f.connection = fresh_facts.connection
        AND f.learned_at > minga_roster_internal.clock() - interval '7 days'
            AND f.learned_at <= minga_roster_internal.clock()
$$;
COMMENT ON FUNCTION minga_roster_internal.fresh_facts(text) IS
'What is known about how the SIS answers, except what is due to be tried again.';

CREATE FUNCTION minga_roster_internal.forget_stale_facts(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM minga_roster.server_facts f
    WHERE f.connection = forget_stale_facts.connection
        AND NOT EXISTS (SELECT FROM minga_roster_internal.fresh_facts(forget_stale_facts.connection) known
            WHERE known.fact = f.fact)
$$;
COMMENT ON FUNCTION minga_roster_internal.forget_stale_facts(text) IS
'After a read: drops what was tried again and not confirmed.';

CREATE FUNCTION minga_roster_internal.store_collection(run bigint, connection text, collection text, family text,
    complete boolean, proof text,
    pages integer, rows bigint, distinct_ids bigint, claimed_total bigint, without_id bigint, elsewhere bigint,
    fallback boolean, detail text, weak_cause text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO minga_roster.collections (run, collection, family, complete, proof, pages, rows, distinct_ids,
        claimed_total,
        without_id, elsewhere, fallback, detail, weak_cause)
    VALUES (store_collection.run, store_collection.collection, store_collection.family, store_collection.complete,
        store_collection.proof, store_collection.pages, store_collection.rows, store_collection.distinct_ids,
        store_collection.claimed_total, store_collection.without_id, store_collection.elsewhere,
        store_collection.fallback, store_collection.detail, store_collection.weak_cause);
    IF store_collection.elsewhere > 0 THEN
        UPDATE minga_roster.collections c SET roles_ended = ended.rows
        FROM (SELECT count(*) AS rows FROM minga_roster.staged_users s
            WHERE s.connection = store_collection.connection AND s.collection = store_collection.collection
                AND s.outcome = 'ended') ended
        WHERE c.run = store_collection.run AND c.collection = store_collection.collection AND ended.rows > 0;
        DELETE FROM minga_roster.staged_users s
        WHERE s.connection = store_collection.connection AND s.collection = store_collection.collection
            AND s.outcome IN ('elsewhere', 'ended');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.store_collection(bigint, text, text, text, boolean, text, integer, bigint,
    bigint, bigint, bigint,
    bigint, boolean, text, text) IS
'Records the result of reading a collection, and removes from the stage the rows of people elsewhere, which were '
'staged by ID to judge its end.';

CREATE FUNCTION minga_roster_internal.remember_school(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- A connection whose settings are being changed keeps its school name until the next fetch.
    UPDATE minga_roster.connections c SET school_name = n.name
    FROM (
        SELECT k.connection, o.name
        FROM minga_roster.connections k
        JOIN LATERAL (SELECT s.name FROM minga_roster.staged_orgs s
            WHERE s.connection = k.connection AND lower(s.sourced_id) = lower(k.school_id) AND s.name <> ''
            ORDER BY s.sourced_id = k.school_id DESC LIMIT 1) o ON true
        WHERE k.connection = remember_school.connection AND k.school_name IS DISTINCT FROM o.name
        FOR UPDATE OF k SKIP LOCKED
    ) n
    WHERE c.connection = n.connection
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_school(text) IS
'Stores the name of the school with its connection, because the stage is empty after a failed fetch and on a standby.';

CREATE FUNCTION minga_roster_internal.settle_stage(run bigint, connection text, staged bigint DEFAULT NULL,
    repeats boolean DEFAULT true, without_role boolean DEFAULT true, several_roles boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' SET enable_hashagg = off AS $$
DECLARE
    partition text := format('minga_roster_internal.%I', format('staged_users_%s',
        (SELECT c.number FROM minga_roster.connections c WHERE c.connection = settle_stage.connection)));
    contacts text[] := ARRAY(SELECT c.collection FROM minga_roster.collections c
        WHERE c.run = settle_stage.run AND c.family = 'contact');
    own text[] := ARRAY(SELECT c.collection FROM minga_roster_internal.collections_to_read(settle_stage.connection) c
        WHERE c.path LIKE '%{school}%');
    reduced text[] := ARRAY(
        SELECT c.collection FROM minga_roster_internal.collections_to_read(settle_stage.connection) c
        WHERE NOT c.is_rostered);
BEGIN
    IF to_regclass(partition) IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM minga_roster_internal.remember_school(settle_stage.connection);
    -- One row for each ID: prefer rows that are not only a contact's, then those of which everything was requested,
    -- then the latest, then the one from the school's own endpoint. IDs that differed before characters were removed
    -- are not one: who the row is cannot be told, so it is damaged, and the others count as without an ID.
    IF repeats THEN
        EXECUTE minga_roster_internal.fill_template($statement$
            WITH duplicate AS MATERIALIZED (
                SELECT d.ctid AS place, d.collection, row_number() OVER (PARTITION BY d.sourced_id
                    ORDER BY d.collection = ANY ($2), d.collection = ANY ($4),
                        d.date_last_modified COLLATE "C" DESC NULLS LAST, d.collection = ANY ($1) DESC, d.collection,
                        d.ctid) AS nth,
                    min(coalesce(d.id_sent, 0)) OVER same_id <> max(coalesce(d.id_sent, 0)) OVER same_id AS differ
                FROM {stage} d
                WHERE d.sourced_id IN (SELECT t.sourced_id FROM {stage} t GROUP BY t.sourced_id HAVING count(*) > 1)
                WINDOW same_id AS (PARTITION BY d.sourced_id)
            ), gone AS (
                DELETE FROM {stage} s USING duplicate d WHERE s.ctid = d.place AND d.nth > 1
            ), unclear AS (
                UPDATE {stage} s SET damaged = true, damaged_field = NULL FROM duplicate d
                WHERE s.ctid = d.place AND d.nth = 1 AND d.differ
            )
            UPDATE minga_roster.collections c SET without_id = c.without_id + n.rows
            FROM (SELECT d.collection, count(*) AS rows FROM duplicate d WHERE d.nth > 1 AND d.differ GROUP BY 1) n
            WHERE c.run = $3 AND c.collection = n.collection
        $statement$, 'stage', partition) USING own, contacts, settle_stage.run, reduced;
    END IF;
    PERFORM minga_roster_internal.blank_forgotten(settle_stage.connection);
    -- A row without a role gets the role of the school's own list of one category.
    IF without_role THEN
        EXECUTE minga_roster_internal.fill_template($statement$
            WITH told AS (
                UPDATE {stage} s SET role = t.role
                FROM (
                    SELECT c.collection, (SELECT r.roster_role FROM minga_roster.role_rules r
                        WHERE r.sis = n.sis AND r.category = e.entry -> 'categories' ->> 0
                        ORDER BY r.rank, r.roster_role LIMIT 1) AS role
                    FROM minga_roster.connections n
                    JOIN minga_roster.sis k ON k.sis = n.sis
                    CROSS JOIN LATERAL jsonb_array_elements(k.collections) AS e (entry)
                    JOIN minga_roster.collections c ON c.run = $2 AND c.collection = e.entry ->> 'collection'
                        AND NOT c.fallback
                    WHERE n.connection = $1 AND e.entry ->> 'path' LIKE {school_path:L}
                        AND jsonb_array_length(e.entry -> 'categories') = 1
                        AND e.entry ->> 'family' = minga_roster_internal.family_of(e.entry -> 'categories' ->> 0)
                ) t
                WHERE s.role IS NULL AND NOT s.damaged AND s.collection = t.collection AND t.role IS NOT NULL
                RETURNING s.collection
            ), counted AS (
                SELECT told.collection, count(*) AS rows FROM told GROUP BY told.collection
            )
            UPDATE minga_roster.collections c SET without_role = counted.rows
            FROM counted
            WHERE c.run = $2 AND c.collection = counted.collection
        $statement$, 'stage', partition, 'school_path', '%{school}%') USING settle_stage.connection, settle_stage.run;
    END IF;
    -- Of several roles at the school: accounts before contacts, then the family of the first role, then the best rank.
    IF several_roles THEN
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {stage} s SET role = best.role
            FROM (
                SELECT DISTINCT ON (h.sourced_id) h.sourced_id, h.role
                FROM (
                    SELECT t.sourced_id, held.role, held.nth, r.rank, f.family,
                        first_value(f.family) OVER (PARTITION BY t.sourced_id ORDER BY f.family = 'contact',
                            held.nth) AS chosen
                    FROM {stage} t
                    CROSS JOIN LATERAL unnest(t.roles) WITH ORDINALITY AS held (role, nth)
                    JOIN minga_roster.role_rules r ON r.roster_role = held.role
                        AND r.sis = (SELECT c.sis FROM minga_roster.connections c WHERE c.connection = $1)
                    CROSS JOIN LATERAL (SELECT minga_roster_internal.family_of(r.category) AS family) f
                    WHERE t.roles IS NOT NULL
                ) h
                WHERE h.family = h.chosen
                ORDER BY h.sourced_id, h.rank, h.nth
            ) best
            WHERE s.sourced_id = best.sourced_id AND s.role IS DISTINCT FROM best.role
        $statement$, 'stage', partition) USING settle_stage.connection;
        -- ... which may be of a category that is off, while another of the roles had everything staged.
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {stage} s SET given_name = minga_roster_internal.clean_name(s.given_name),
                family_name = minga_roster_internal.clean_name(s.family_name),
                preferred_name = minga_roster_internal.clean_name(s.preferred_name),
                middle_name = NULL, phone = NULL, grade = NULL, agent_ids = NULL, legacy_id = NULL, relationships = NULL
            FROM minga_roster.runs r
            WHERE r.run = $1 AND s.roles IS NOT NULL AND s.role = ANY (r.reduced_roles)
                AND NOT s.roles <@ r.reduced_roles
        $statement$, 'stage', partition) USING settle_stage.run;
    END IF;
    IF contacts <> '{}' THEN
        EXECUTE minga_roster_internal.fill_template($statement$
            WITH gone AS (
                DELETE FROM {stage} s
                WHERE s.collection = ANY ($2)
                    AND NOT EXISTS (
                        SELECT FROM (SELECT DISTINCT unnest(t.agent_ids) COLLATE "C" AS id FROM {stage} t
                            WHERE t.collection <> ALL ($2)) AS agent
                        WHERE agent.id = s.sourced_id)
                RETURNING s.collection
            ), counted AS (
                SELECT gone.collection, count(*) AS elsewhere FROM gone GROUP BY gone.collection
            )
            UPDATE minga_roster.collections c SET elsewhere = c.elsewhere + counted.elsewhere
            FROM counted
            WHERE c.run = $1 AND c.collection = counted.collection
        $statement$, 'stage', partition) USING settle_stage.run, contacts;
    END IF;
    IF repeats OR contacts <> '{}' OR staged IS NULL THEN
        EXECUTE format('SELECT count(*) FROM %s', partition) INTO staged;
    END IF;
    DELETE FROM minga_roster.stages g WHERE g.connection = settle_stage.connection;
    INSERT INTO minga_roster.stages (connection, run, is_full, has_contacts)
    SELECT settle_stage.connection, r.run, r.is_full IS NOT FALSE, contacts <> '{}'
    FROM minga_roster.runs r WHERE r.run = settle_stage.run;
    RETURN staged;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_stage(bigint, text, bigint, boolean, boolean, boolean) IS
'After all collections are read: keeps one row for each sourcedId, gives a row without a role the role of the '
'school''s own list of one category, gives a row with several roles at the school the one that counts, and keeps only '
'contacts that a staged student names as agent (the others are counted as elsewhere). Notes in stages that the stage '
'is whole, and returns the number of staged users.';
-- Delta: evenings between full reads request only changes. Must survive a SIS that ignores or rejects the filter, dates
-- in the future, clocks that differ, and a sync that stops halfway: anything uncertain is read in full the next time.

CREATE FUNCTION minga_roster_internal.with_filter(path text, since timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN since IS NULL THEN path
        WHEN path !~ '\?' THEN format('%s?filter=%s', path, f.filter)
        WHEN path !~ '[?&]filter=' THEN format('%s&filter=%s', path, f.filter)
        -- OneRoster combines at most two comparisons.
        WHEN path ~* '[?&]filter=[^&]*''\s+(AND|OR)\s' THEN path
        ELSE regexp_replace(path, '([?&]filter=[^&]*)', format('\1 AND %s', f.filter))
    END
    FROM (SELECT format('dateLastModified>''%s''', to_char(since AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) AS filter) f
$$;
COMMENT ON FUNCTION minga_roster_internal.with_filter(text, timestamptz) IS
'A path of a preset that also filters by a later dateLastModified; the unchanged path if its own filter leaves no room '
'for that.';

CREATE FUNCTION minga_roster_internal.require_full_read(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.connections c SET newest_modified = NULL
    WHERE c.connection = require_full_read.connection AND c.newest_modified IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.require_full_read(text) IS
'Makes the next evening of a connection with delta read in full, even while a run is running. Called after anything '
'that needs more than the changed rows.';

CREATE FUNCTION minga_roster_internal.begin_read(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(begin_read.run);
    connection minga_roster.connections;
    is_delta boolean;
BEGIN
    SELECT * INTO connection FROM minga_roster.connections c WHERE c.connection = this.connection FOR UPDATE;
    IF NOT connection.delta OR this.kind <> 'sync' THEN
        RETURN;
    END IF;
    -- The filter was rejected (and the SIS not just down) if a delta got an answer that a full read does not get.
    IF (SELECT r.is_full IS FALSE AND r.state = 'failed' AND r.sqlstate = '08P01' FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.kind = 'sync' AND r.run < this.run ORDER BY r.run DESC LIMIT 1)
    THEN
        connection.filter_unusable := true;
    END IF;
    is_delta := this.trigger = 'evening' AND NOT connection.unproven AND NOT connection.filter_unusable
        AND coalesce(isfinite(connection.newest_modified)
            AND this.evening - connection.full_read_on < connection.full_every, false);
    IF is_delta THEN
        UPDATE minga_roster.runs r SET is_full = false,
            modified_since = connection.newest_modified - minga_roster_internal.delta_overlap()
        WHERE r.run = this.run;
    END IF;
    -- end_read restores it: after a run that did not end well, everything is read.
    UPDATE minga_roster.connections c SET newest_modified = '-infinity', filter_unusable = connection.filter_unusable
    WHERE c.connection = this.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.begin_read(bigint) IS
'Decides whether the run is a delta, and stores that in its row. Evening syncs of a connection with delta are, except '
'the first of full_every evenings, those of an unproven connection, the evening after changed settings or a sync that '
'did not end well, and those of a SIS that cannot filter.';

CREATE FUNCTION minga_roster_internal.delta_overlap() RETURNS interval
LANGUAGE sql IMMUTABLE RETURN interval '1 day';
COMMENT ON FUNCTION minga_roster_internal.delta_overlap() IS
'How far before the newest known dateLastModified a delta asks: for rows that were saved late, and for servers that '
'treat the time as local.';

CREATE FUNCTION minga_roster_internal.filter_is_ignored(run bigint, collection text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(filter_is_ignored.run);
    -- A server may truncate the requested time to the day, or shift it by its time zone.
    too_old text := to_char((this.modified_since - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS');
BEGIN
    IF NOT EXISTS (
        SELECT FROM minga_roster.staged_users s
        WHERE s.connection = this.connection AND s.collection = filter_is_ignored.collection
            AND s.date_last_modified COLLATE "C" < too_old COLLATE "C")
    THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.connections c SET filter_unusable = true WHERE c.connection = this.connection;
    DELETE FROM minga_roster.staged_users s WHERE s.connection = this.connection;
    DELETE FROM minga_roster.collections c WHERE c.run = this.run;
    UPDATE minga_roster.runs r SET is_full = NULL, rows_staged = 0, rows_expected = NULL WHERE r.run = this.run;
    RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.filter_is_ignored(bigint, text) IS
'Whether a delta received rows of the collection that are older than requested. If so, this run becomes a full read, '
'and so do later ones.';

CREATE FUNCTION minga_roster_internal.settle_read(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(settle_read.run);
BEGIN
    PERFORM minga_roster_internal.mark_incomplete(run);
    IF this.is_full IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE minga_roster.runs r SET is_full = true WHERE r.run = this.run;
    IF this.modified_since IS NOT NULL THEN
        UPDATE minga_roster.collections c SET detail = concat_ws(' ', c.detail,
            'The SIS ignored the filter on dateLastModified: asked again without it.')
        FROM minga_roster_internal.collections_to_read(this.connection, this.modified_since) f
        WHERE c.run = this.run AND f.collection = c.collection AND f.filtered;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_read(bigint) IS
'Marks a run as full if it is not a delta, and as incomplete if a collection was not proved complete.';

CREATE FUNCTION minga_roster_internal.end_read(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    connection minga_roster.connections := minga_roster_internal.known_connection(run.connection);
    newest timestamptz := run.modified_since + minga_roster_internal.delta_overlap();
    read_whole boolean;
    links_wait boolean;
    updates_wait boolean;
BEGIN
    -- Settings that changed during the run (NULL) still apply to the next run.
    IF NOT connection.delta OR connection.newest_modified IS NULL THEN
        RETURN;
    END IF;
    SELECT bool_and(c.complete) INTO read_whole FROM minga_roster.collections c WHERE c.run = end_read.run.run;
    SELECT coalesce(bool_or(h.action = 'link'), false),
        coalesce(bool_or(h.action = 'update' OR h.state_cause = 'new_site'), false)
    INTO links_wait, updates_wait
    FROM minga_roster.changes h WHERE h.run = end_read.run.run AND h.state = 'held';
    read_whole := read_whole AND NOT links_wait AND NOT updates_wait;
    IF read_whole THEN
        -- Dates in the future are mistakes, and would hide changes until then.
        SELECT greatest(newest, max(s.date_last_modified COLLATE "C")::timestamptz) INTO newest
        FROM minga_roster.staged_users s
        WHERE s.connection = run.connection
            AND s.date_last_modified COLLATE "C" < to_char(minga_roster_internal.clock() AT TIME ZONE 'UTC',
                'YYYY-MM-DD"T"HH24:MI:SS') COLLATE "C";
    -- A delta would see only some of the people whose updates are held, and take a change of everyone for a change of
    -- few.
    ELSIF run.is_full OR updates_wait THEN
        newest := '-infinity';
    END IF;
    UPDATE minga_roster.connections c
    SET newest_modified = newest,
        full_read_on = CASE WHEN run.is_full THEN coalesce(run.evening,
            (minga_roster_internal.clock() AT TIME ZONE c.time_zone)::date) ELSE c.full_read_on END
    WHERE c.connection = run.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.end_read(runs) IS
'At the end of a sync of a connection with delta: stores the newest dateLastModified, from which the next delta asks. '
'If a collection was not read completely, a delta leaves it unchanged, and a full read makes the next evening read in '
'full; so do links held for roster_relink, and held updates in any case.';
-- The tables of a run's transaction: what a row is, and its columns. The steps of the plan read tables that earlier
-- steps have filled, and insert into their own; docs/plan.md tells who makes and who reads each. They are temporary,
-- made once for each session and emptied at commit, so that a night of 2,000 schools does not grow the catalog. Must
-- survive sessions in which others have made temporary relations of these names.

CREATE FUNCTION minga_roster_internal.plan_tables(OUT made_for text, OUT name text, OUT columns text, OUT row_is text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.made_for, t.name, regexp_replace(t.columns, '\s+', ' ', 'g'), t.row_is
    FROM (VALUES
    -- What is read
    ('plan', 'plan_people', 'person_id text, role text, role_word text, role_first boolean, archived boolean,
        archived_at timestamp with time zone, status text, managed boolean, given_name text, family_name text,
        middle_name text, preferred_name text, email text, username text, identifier text, grade text, phone text,
        parent_name text, parent_email text, parent_phone text, parent_rule text, protection text',
        'A person of the site.'),
    ('plan', 'plan_rules', 'roster_role text, category text, family text, role text, rank integer, rostered boolean,
        auto_update boolean, archive boolean',
        'A role of the roster: the preset''s rule with the connection''s toggles.'),
    ('plan', 'plan_categories', 'category text, family text, role text, rank integer, rostered boolean,
        auto_update boolean, archive boolean',
        'A category with the rule of its best rank, for links whose row says no more.'),
    ('plan', 'plan_proved_families', 'family text',
        'A family whose absent people are absent: each of its collections was read to a proved end.'),
    ('plan', 'plan_as_sent', 'person_id text, sent jsonb',
        'A person who still has what the people relation made of values: a hash of each value as it was sent.'),
    ('plan', 'plan_parents', 'sourced_id text COLLATE "C", parent_name text, parent_email text, parent_phone text,
        parent_rule text',
        'A student''s primary parent contact; all NULL if the contact that a roster wrote is to be cleared.'),
    -- Rows
    ('plan', 'plan_open_rows', 'sourced_id text COLLATE "C", staged boolean, place tid, standing text, usable boolean,
        roster_role text, category text, family text, role text, rank integer, rostered boolean, linked boolean,
        person_id text, link_category text, role_written text, linked_run bigint, missed boolean, archived_run bigint,
        given_name text, family_name text, middle_name text, preferred_name text, email text, username text,
        identifier text, grade text, phone text, parent_name text, parent_email text, parent_phone text,
        parent_rule text, plain boolean, damaged_field text',
        'A row of the roster or a link, with the person linked, that is not plainly as it should be.'),
    ('plan', 'plan_shared_rows', 'sourced_id text COLLATE "C"',
        'A listed row that shares a username or an identifier with another of its family, one of them without a link.'),
    ('plan', 'plan_special_people', 'person_id text, own_links bigint, first_own bigint, first_elsewhere bigint,
        only_own boolean, best_role text',
        'A person with several links, or with a live link of another connection.'),
    ('plan', 'plan_settled_rows', 'sourced_id text COLLATE "C", place tid, category text, is_main boolean',
        'An open row of a person of several rows, all of which are plain.'),
    ('plan', 'plan_skipped_rows', 'sourced_id text COLLATE "C", place tid, category text, outcome text',
        'An open row for which someone decided "skip", or of a person whom someone decided to forget.'),
    ('plan', 'plan_rows', 'label text COLLATE "C", sourced_id text COLLATE "C", staged boolean, place tid,
        standing text, usable boolean, roster_role text, category text, family text, role text, rank integer,
        rostered boolean, linked boolean, person_id text, link_category text, role_written text, linked_run bigint,
        missed boolean, archived_run bigint, given_name text, family_name text, middle_name text, preferred_name text,
        email text, username text, identifier text, grade text, phone text, parent_name text, parent_email text,
        parent_phone text, parent_rule text, plain boolean, damaged_field text',
        'An open row that is neither settled nor skipped, with the label of its group: the least sourcedId in it.'),
    -- Groups
    ('plan', 'plan_decided_rows', 'sourced_id text COLLATE "C", person_id text',
        'A person whom an open row is not, by roster_decide; NULL: it is a new person.'),
    ('plan', 'plan_nodes', 'sourced_id text COLLATE "C", person_id text, role text, family text,
        person text COLLATE "C", decided boolean, moved_family boolean, username text COLLATE "C",
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text,
        shares boolean, class bigint',
        'A row that others may be one person with, its keys and names as they are compared.'),
    ('group', 'plan_known_rows', 'person text COLLATE "C", sourced_id text COLLATE "C"',
        'A known person among the nodes, and the first row that is this person.'),
    ('group', 'plan_members', 'kind text, key text COLLATE "C", sourced_id text COLLATE "C", role text,
        person text COLLATE "C", username text COLLATE "C", identifier text COLLATE "C", email text COLLATE "C",
        given_name text, family_name text, preferred_name text',
        'A node with one of its two keys.'),
    ('group', 'plan_equals', 'kind text, role text, key text COLLATE "C", sourced_id text COLLATE "C", agree boolean',
        'A key that several rows of one role have, and whether these rows are one person.'),
    ('group', 'plan_edges', 'a text COLLATE "C", b text COLLATE "C"',
        'Two rows that are one person, or share a key in one role.'),
    ('group', 'plan_label_rounds', 'round integer, sourced_id text COLLATE "C", label text COLLATE "C"',
        'A node''s label after a round of spreading labels along the edges.'),
    ('group', 'plan_components', 'sourced_id text COLLATE "C", component text COLLATE "C"',
        'A node with its last label: connected nodes have the same.'),
    ('plan', 'plan_contradictions', 'component text COLLATE "C", label text COLLATE "C", conflict text',
        'Connected rows that contradict each other, the label of those without a link, and why.'),
    ('plan', 'plan_named_people', 'label text COLLATE "C", person_id text',
        'A person with whose rows contradicting rows are connected.'),
    ('plan', 'plan_labels', 'sourced_id text COLLATE "C", label text COLLATE "C"',
        'A node with the label of its group.'),
    ('plan', 'plan_groups', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], usable boolean,
        active boolean, family text, category text, rank integer, role text, linked_person text, role_written text,
        joins boolean, contradiction text, match_given_name text, match_family_name text, match_preferred_name text,
        match_identifier text, match_email text, given_name text, family_name text, middle_name text,
        preferred_name text, email text, username text, identifier text, grade text, phone text, parent_name text,
        parent_email text, parent_phone text, parent_rule text',
        'Present rows that are one person.'),
    -- Match
    ('plan', 'plan_candidates', 'label text COLLATE "C", person_id text, step text',
        'A person whom a group could be, and what says so.'),
    ('plan', 'plan_found_conflicts', 'label text COLLATE "C", conflict text, priority integer',
        'A reason why nothing is done for a group.'),
    ('plan', 'plan_conflicts', 'label text COLLATE "C", conflict text',
        'A group for which nothing is done, and the first reason.'),
    ('plan', 'plan_keys', 'entry bigint, label text COLLATE "C", sourced_id text COLLATE "C", family text,
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text',
        'The identifier and an email address of a group without a link; of one that contradicts itself, of each row.'),
    ('plan', 'plan_candidate_people', 'person_id text, role text, role_word text, role_first boolean, archived boolean,
        archived_at timestamp with time zone, status text, managed boolean, given_name text, family_name text,
        middle_name text, preferred_name text, email text, username text, identifier text, grade text, phone text,
        parent_name text, parent_email text, parent_phone text, parent_rule text, protection text,
        identifier_key text COLLATE "C", email_key text COLLATE "C"',
        'A person to whom a key or a link leads.'),
    ('match', 'plan_found_people', 'person_id text, archived boolean, identifier_key text COLLATE "C",
        email_key text COLLATE "C", given_name text, family_name text, preferred_name text, families text[],
        absent boolean',
        'A person to whom a key leads, names as they are compared; absent: proved absent tonight.'),
    ('former', 'plan_told_ids', 'label text COLLATE "C", sourced_id text COLLATE "C", family text,
        legacy_id text COLLATE "C"',
        'A row without a link, with the ID that the SIS says it had before.'),
    ('match', 'plan_found_keys', 'entry bigint, label text COLLATE "C", sourced_id text COLLATE "C", family text,
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text,
        shared boolean',
        'An entry of plan_keys that leads to someone, names as they are compared; shared: others have its address.'),
    ('match', 'plan_exclusions', 'entry bigint, person_id text',
        'A person whom an entry is not, by roster_decide; NULL: it is no one of the site.'),
    ('match', 'plan_crowded', 'identifier text COLLATE "C", family text, crowded boolean, first_person text,
        last_person text, first_entry bigint',
        'An identifier of entries and people of a family, and whether there are too many to pair each with each.'),
    ('match', 'plan_crowds', 'entry bigint, label text COLLATE "C", person_id text',
        'A person for an entry with a crowded identifier.'),
    ('match', 'plan_pairs', 'entry bigint, label text COLLATE "C", person_id text, step text, archived boolean,
        known boolean, given_agrees boolean, family_agrees boolean, identifiers_differ boolean, absent boolean,
        excluded boolean',
        'An entry with a person who has its identifier or address, and what of the names agrees.'),
    ('address', 'plan_held_addresses', 'family text, email text COLLATE "C", family_name text, given_name text,
        preferred_name text, archived boolean, person_id text, identifier text COLLATE "C", holder bigint',
        'A person who has an address that several rows have, by family.'),
    ('address', 'plan_holders', 'holder bigint, family text, email text COLLATE "C", family_name text,
        given_name text, preferred_name text, archived boolean, people bigint, person_id text,
        identifier text COLLATE "C"',
        'The people of one name at such an address.'),
    ('address', 'plan_addresses', 'family text, email text COLLATE "C", people bigint, person_id text',
        'Such an address, and how many active people have it.'),
    ('address', 'plan_namesakes', 'entry bigint, label text COLLATE "C", family text, email text COLLATE "C",
        person_id text, archived boolean, people bigint, identifiers_differ boolean',
        'An entry with holders of its address whose names agree with its own.'),
    ('address', 'plan_listed_holders', 'family text, email text COLLATE "C", person_id text',
        'The only holder of an address, whose own row has it too, or is of a role without one in the stage.'),
    ('match', 'plan_shared_verdicts', 'entry bigint, label text COLLATE "C", person_id text, verdict text',
        'What an address that several rows have tells of an entry.'),
    ('match', 'plan_by_identifier', 'round integer, entry bigint, label text COLLATE "C", person_id text,
        counts boolean, differ boolean',
        'A person whom the identifier of an entry tells, or who is in the way.'),
    ('match', 'plan_by_email', 'round integer, entry bigint, label text COLLATE "C", person_id text,
        archived boolean, given_agrees boolean, family_agrees boolean, identifiers_differ boolean, excluded boolean,
        holders bigint',
        'A person of the family who has the address of an entry.'),
    ('match', 'plan_told', 'round integer, entry bigint, person_id text, sure boolean',
        'An entry whose identifier has told.'),
    ('match', 'plan_told_twice', 'round integer, label text COLLATE "C", person_id text',
        'Another person whom the address of such an entry tells.'),
    ('match', 'plan_key_verdicts', 'round integer, entry bigint, label text COLLATE "C", person_id text, verdict text',
        'What the address of an entry tells, whose identifier has told nothing.'),
    ('match', 'plan_returned_people', 'person_id text',
        'A person proved absent whom a row could be tonight.'),
    -- Verdicts
    ('plan', 'plan_verdicts', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], person_id text,
        step text, category text, role text, last_role text, first_run bigint, outcome text, links boolean,
        before jsonb, after jsonb, rule text, detail text, told boolean, conflict text',
        'What is to be done for a group, as if nothing spoke against it.'),
    ('plan', 'plan_vetoes', 'label text COLLATE "C", outcome text, cause text, figures jsonb',
        'What overrules the verdict of a group or the archive of a leaver: "conflict" or "held", and why.'),
    ('unique', 'plan_values', 'index_name text, label text COLLATE "C", person_id text, outcome text, after jsonb',
        'A person to be written, whose values a unique index could refuse.'),
    ('unique', 'plan_collisions', 'label text COLLATE "C", index_name text, other text',
        'A group whose values a unique index would refuse, for the sake of another person or (NULL) another group.'),
    ('plan', 'plan_changed_ids', 'category text, figures jsonb',
        'A category of which many people have a new sourcedId tonight.'),
    ('plan', 'plan_links', 'sourced_id text COLLATE "C", deed text, label text COLLATE "C", person_id text,
        category text, rule text, linked_run bigint, missing boolean, returned boolean',
        'A link that would change: insert, replace, update or delete.'),
    ('guard', 'plan_linked_people', 'person_id text, category text, archived boolean, listed boolean,
        writable boolean',
        'A person linked once the run is done, the base of the guard.'),
    ('plan', 'plan_mass_updates', 'category text, column_name text, changed bigint, people bigint',
        'A column that updates would change for most people of a category.'),
    ('plan', 'plan_decisions', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], person_id text,
        step text, category text, last_role text, first_run bigint, verdict text, outcome text, links boolean,
        before jsonb, after jsonb, rule text, detail text, told boolean, conflict text, held_as text, held_cause text,
        figures jsonb',
        'A verdict as its veto leaves it.'),
    ('plan', 'plan_leavers', 'label text COLLATE "C", person_id text, sourced_ids text[], category text, status text,
        protection text',
        'An active person who is absent with every link.'),
    -- Changes
    ('plan', 'plan_changes', 'change integer, label text COLLATE "C", category text, person_id text,
        sourced_ids text[], action text, rule text, reason text, before jsonb, after jsonb, state text,
        state_reason text, state_cause text, conflict text, same_name text[], seen bigint',
        'A change of the run, as planned; of an apply or an approval, a change of the earlier run.'),
    ('plan', 'plan_outcomes', 'place tid, category text, outcome text, is_further boolean',
        'A staged user that was looked at, and what became of it.'),
    ('plan', 'plan_plain_rows', 'category text, rows bigint',
        'A category: how many of its rows were not looked at.'),
    ('plan', 'plan_listed_roles', 'role text, people bigint, inactive bigint, given_name bigint, family_name bigint,
        middle_name bigint, preferred_name bigint, email bigint, username bigint, identifier bigint, grade bigint,
        phone bigint, agents bigint',
        'A role of listed rows: how many there are, and how many have a value in each field.'),
    -- Apply
    ('plan', 'plan_refusals', 'change integer, code text, detail text',
        'A change of an earlier run, and why it is not carried out (NULL: it is).'),
    ('plan', 'plan_writes', 'change integer, action text, category text, person_id text, sourced_id text COLLATE "C",
        before jsonb, after jsonb, code text, failure text',
        'A change to be written to a person; code and failure: why the relation does not take it.'),
    ('plan', 'plan_written', 'change integer, action text, category text, person_id text, done boolean, code text,
        failure text, seen bigint, stored jsonb, links boolean',
        'What became of a write: stored has values that are not as they were sent.'),
    ('plan', 'plan_drawn_ids', 'change integer, person_id text',
        'An ID that the relation''s default drew for a new person.'),
    ('write', 'plan_hits', 'change integer, person_id text',
        'A person whom the statement of a range wrote, by its RETURNING.'),
    ('write', 'plan_found', 'change integer, person_id text, seen bigint, fits boolean, archived boolean, now jsonb',
        'A person as the relation shows it after the statement.'),
    ('newcomers', 'plan_newcomers', 'person_id text, given_name text, family_name text, identifier text, email text,
        username text',
        'A person of the site who was not there before the run.'),
    ('plan', 'plan_link_writes', 'sourced_id text COLLATE "C", deed text, change integer, person_id text,
        category text, role_written text, rule text, linked_run bigint, missing boolean, returned boolean,
        archived boolean',
        'A link to be written, one row for each.'),
    ('link', 'plan_due_links', 'sourced_id text COLLATE "C", deed text, change integer, person_id text, category text,
        role_written text, rule text, linked_run bigint, missing boolean, returned boolean, archived boolean',
        'A link write whose change was carried out.'),
    ('values', 'plan_seen_values', 'column_name text, person_id text, hash bigint, wrote boolean, is_new boolean',
        'A person''s value of a column that is the SIS''s unless edited, after the writes.'),
    -- Actions
    ('seen', 'plan_seen_people', 'person_id text, seen bigint',
        'A person with the hash of all that a roster reads.'),
    ('seen', 'plan_sights', 'change integer, seen bigint',
        'A change with the hash of its person, or of the people who have a key of a new person.'),
    ('apply', 'plan_moved_links', 'sourced_id text COLLATE "C", change integer',
        'A link that was changed after the preview.'),
    ('apply', 'plan_decided_since', 'change integer, sourced_id text COLLATE "C"',
        'A row or person of the preview about whom roster_decide was called later.'),
    ('approve', 'plan_taken', 'change integer, code text',
        'A held create that is out of date, and why.'),
    ('undo', 'plan_undo_links', 'sourced_id text COLLATE "C", before jsonb, person_now text, person_before text,
        later_run bigint',
        'A link that the run wrote, as it was before.'),
    ('undo', 'plan_undoing', 'run bigint, change integer, person_id text, category text, did text, nth integer,
        action text, before jsonb, after jsonb, code text, detail text, failure text',
        'A change that the run carried out, with what undoes it, or why it is kept.')
    ) AS t (made_for, name, columns, row_is)
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_tables() IS
'The temporary tables of a run''s transaction: what they are made for, name, columns and what a row is.';

CREATE FUNCTION minga_roster_internal.free_temp_name(name text) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_free_temp_name';
COMMENT ON FUNCTION minga_roster_internal.free_temp_name(text) IS
'Drops a type that code of a deployment left in the temporary schema of a worker under the name of a table to be made.';

CREATE FUNCTION minga_roster_internal.make_temp_table(name text, columns text[], types oid[], modifiers integer[],
    collations oid[]) RETURNS regclass
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_temp_table';
COMMENT ON FUNCTION minga_roster_internal.make_temp_table(text, text[], oid[], integer[], oid[]) IS
'Creates a temporary table that is dropped at the end of the transaction, also behind the door and with types that the '
'extension''s role may not use. Drops a type of that name first.';

CREATE FUNCTION minga_roster_internal.make_plan_tables(wanted text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    declared record;
BEGIN
    FOR declared IN
        SELECT t.name, t.columns, c.oid IS NOT NULL AS is_there,
            c.relkind = 'r' AND c.relowner = current_user::regrole AS is_ours, pg_get_userbyid(c.relowner) AS owner,
            EXISTS (SELECT FROM pg_type y
                WHERE y.typnamespace = pg_my_temp_schema() AND y.typname = t.name) AS is_type
        FROM minga_roster_internal.plan_tables() t
        LEFT JOIN pg_class c ON c.relnamespace = pg_my_temp_schema() AND c.relname = t.name AND c.relkind <> 'c'
        WHERE t.made_for = wanted
            AND (c.relkind = 'r' AND c.relowner = current_user::regrole AND t.columns = (
                SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attcollation = '"C"'::regcollation THEN ' COLLATE "C"' END), ', ' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)) IS NOT TRUE
    LOOP
        IF declared.is_there AND NOT declared.is_ours THEN
            RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
                MESSAGE = format('temporary relation "%s" is not a table of minga_roster', declared.name),
                DETAIL = format('It was made in this session and belongs to role "%s".', declared.owner),
                HINT = 'Start the run in a new session.';
        ELSIF declared.is_there THEN
            EXECUTE format('DROP TABLE pg_temp.%I', declared.name);
        ELSIF declared.is_type THEN
            -- Code of a deployment may leave a type in the temporary schema of a worker, but no table.
            PERFORM minga_roster_internal.free_temp_name(declared.name);
        END IF;
        EXECUTE format('CREATE TEMP TABLE %I (%s) ON COMMIT DELETE ROWS', declared.name, declared.columns);
    END LOOP;
    IF wanted = 'plan' THEN
        IF EXISTS (SELECT FROM plan_people) OR EXISTS (SELECT FROM plan_rules) THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'a run has been merged in this transaction already',
                DETAIL = 'Its temporary tables are emptied when the transaction ends.',
                HINT = 'Merge each run in a transaction of its own.';
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_plan_tables(text) IS
'Makes the temporary tables of plan_tables() that are wanted, unless this session has them, and makes those again that '
    'have other columns. 42809 for a relation of such a name that belongs to another role, 55000 if the transaction '
    'has merged a run already.';
-- The words of the plan. Steps hand over codes and numbers; every sentence in changes.reason and changes.state_reason
-- is made here. No sentence holds a name, an email address or another value of a person.

CREATE FUNCTION minga_roster_internal.conflict_text(conflict text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE conflict
    WHEN 'other_family' THEN 'A person known as a student is listed as staff, or the other way around.'
    WHEN 'row_joins_two' THEN 'Roster rows that belong together are linked to different people.'
    WHEN 'same_role_twice' THEN
        'Roster rows with the same role share an identifier or username, but may not be the same person.'
    WHEN 'keys_contradict' THEN 'Roster rows that belong together have different usernames or identifiers.'
    WHEN 'rows_differ' THEN 'Roster rows that belong together have different names.'
    WHEN 'several_candidates' THEN 'Several people have the identifier of the roster row.'
    WHEN 'two_people_by_keys' THEN
        'The identifier and the email addresses of the roster row belong to different people.'
    WHEN 'names_differ' THEN 'The person with the same identifier, email address or former ID has another name.'
    WHEN 'identifiers_differ' THEN 'The person with the same email address has another identifier.'
    WHEN 'address_of_two' THEN 'Several people have the email address of the roster row, and one of them has its name.'
    WHEN 'address_shared' THEN
        'Several roster rows have this email address, and a person with this address has the name of the row.'
    WHEN 'family_unknown' THEN
        'The person with the same email address and name has a role that may be a student''s or a staff member''s.'
    WHEN 'candidate_linked' THEN
        'The matching person is linked to another roster row, which is still listed or not proved absent.'
    WHEN 'several_rows' THEN 'Several roster rows could be the same person.'
    WHEN 'identifier_withheld' THEN
        'Another roster row with the same identifier could be a different person by email address.'
END;
COMMENT ON FUNCTION minga_roster_internal.conflict_text(text) IS
'The sentence for a code in changes.conflict; NULL for not_unique, which has unique_index_reason().';

CREATE FUNCTION minga_roster_internal.unique_index_reason(index_name text, has_holder boolean, holder_is_absent boolean)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format(CASE
    WHEN NOT has_holder THEN
        'Another roster row would get the same value, which the unique index "%s" of the people relation allows once.'
    WHEN holder_is_absent THEN
        'An archived or absent person has a value that the unique index "%s" of the people relation allows once. '
        'Clear it there, or limit the index to active people; the next sync then writes this person.'
    ELSE 'Another person has a value that the unique index "%s" of the people relation allows once.'
END, index_name);
COMMENT ON FUNCTION minga_roster_internal.unique_index_reason(text, boolean, boolean) IS
'Why a change collides with a unique index: with a person who has the value, or with another row of the plan.';

CREATE FUNCTION minga_roster_internal.change_reason(action text, rule text, conflict text, detail text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE action
    WHEN 'conflict' THEN minga_roster_internal.conflict_text(conflict)
    WHEN 'create' THEN CASE detail
        WHEN 'same_name' THEN
            'No person at the site has this identifier or email address, but someone without either has the same name.'
        ELSE 'No person at the site matches the roster row.' END
    WHEN 'link' THEN CASE rule
        WHEN 'former id' THEN 'The SIS says that this row had the ID of this person before.'
        WHEN 'identifier' THEN 'A person at the site has the same identifier.'
        WHEN 'e-mail' THEN 'A person at the site has the same email address.'
        ELSE 'This is another roster row for the same person.' END
    WHEN 'update' THEN CASE detail
        WHEN 'parent_gone' THEN 'The roster no longer names a parent contact for the student.'
        WHEN 'parent_gone_and_more' THEN
            'The roster has other values, and no longer names a parent contact for the student.'
        ELSE 'The roster has other values.' END
    WHEN 'restore' THEN 'The roster lists the archived person as active again.'
    WHEN 'archive' THEN 'The roster was read completely and no longer lists the person.'
    WHEN 'protect' THEN CASE detail
        WHEN 'other_role' THEN 'The role map calls this account "other", and rosters never write to such accounts.'
        WHEN 'absent' THEN
            'The roster no longer lists the person, but owners, managers and unmanaged people are never archived.'
        ELSE 'Rosters never write to owners, managers and unmanaged people.' END
    WHEN 'reject' THEN CASE
        WHEN rule = 'incomplete' THEN 'The roster row has no given name or no family name.'
        WHEN detail LIKE 'field:%' THEN
            'Field "' || substr(detail, 7) || '" has a type that OneRoster does not allow, or is too long.'
        WHEN detail = 'characters' THEN 'The roster row has characters that cannot be read.'
        WHEN detail = 'status' THEN 'The roster row has a status that OneRoster does not define.' END
END;
COMMENT ON FUNCTION minga_roster_internal.change_reason(text, text, text, text) IS
'The sentence of changes.reason for an action and its rule. Immutable throughout, so that a plan of many changes '
    'inlines it. detail is a code: same_name (create); parent_gone, parent_gone_and_more (update); other_role, absent '
    '(protect); characters, status, field:NAME (reject).';

CREATE FUNCTION minga_roster_internal.held_reason(cause text, figures jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE cause
        WHEN 'unproven' THEN 'No sync has shown yet that the connection reaches the right school.'
        WHEN 'frozen' THEN 'Archives are frozen through {until}.'
        WHEN 'season_percent' THEN
            '{leavers} of {people} would leave within a week: more than {floor}, and more than {percent} percent, the '
            'limit of the season through {until}.'
        WHEN 'half' THEN '{leavers} of {people} would leave within a week: half or more.'
        WHEN 'percent' THEN
            '{leavers} of {people} would leave within a week: more than {floor}, and more than {percent} percent.'
        WHEN 'mass_update' THEN 'One run would change {changes} {category}: more than {percent} percent.'
        WHEN 'ids_changed' THEN CASE WHEN (figures ->> 'exact')::bigint > 0
            THEN 'Many IDs changed in the SIS: {moved} of {people} people have a new one, and the SIS sends the former '
                'ID of {exact}.'
            ELSE 'Many IDs changed in the SIS: {moved} of {people} people have a new one.' END
        WHEN 'new_site' THEN 'Site "{site}" has no people yet, while the people relation has people at other sites.'
    END, coalesce(figures, '{}') || jsonb_build_object(
        'category', minga_roster_internal.people_of(figures ->> 'category', 2),
        'changes', (
            SELECT string_agg(format('%s for %s of %s', c ->> 'name', c ->> 'changed', c ->> 'people'), ', '
                ORDER BY c ->> 'name')
            FROM jsonb_array_elements(figures -> 'columns') c)))
$$;
COMMENT ON FUNCTION minga_roster_internal.held_reason(text, jsonb) IS
'The sentence of changes.state_reason for a held change. cause: as changes.state_cause. figures: leavers, people, '
'floor, percent, until (guard); columns [{name, changed, people}], category, percent (mass_update); moved, people, '
'exact (ids_changed); site (new_site).';

CREATE FUNCTION minga_roster_internal.state_reason(code text, detail text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sentence text := CASE code
        -- Refused when the change is checked again.
        WHEN 'not_rostered' THEN 'The category is no longer rostered.'
        WHEN 'archive_off' THEN 'Archiving is off for this category.'
        WHEN 'frozen' THEN format('Archives are frozen through %s.', detail)
        WHEN 'auto_update_off' THEN 'Auto update is off for this category.'
        WHEN 'column_local' THEN 'A changed column no longer belongs to the SIS.'
        WHEN 'column_gone' THEN 'The people relation no longer has all of the changed columns.'
        WHEN 'same_key_person' THEN 'A person with the same identifier or email address came or left in the meantime.'
        WHEN 'link_changed' THEN 'A link of the roster row was changed in the meantime.'
        WHEN 'decided' THEN 'roster_decide settled in the meantime who the roster row is or is not.'
        WHEN 'decided_skip' THEN 'roster_decide said in the meantime to skip the roster row.'
        WHEN 'decided_person' THEN 'roster_decide said in the meantime that a roster row is the person.'
        WHEN 'decided_not' THEN 'roster_decide said that the roster row is not this person.'
        WHEN 'gone' THEN 'The person no longer exists.'
        WHEN 'erased' THEN 'The data of the person was erased.'
        WHEN 'archived_already' THEN 'The person is already archived.'
        WHEN 'archived_since' THEN 'The person was archived in the meantime.'
        WHEN 'not_archived' THEN 'The person is no longer archived.'
        WHEN 'unmanaged' THEN 'The person is unmanaged.'
        WHEN 'owner_or_manager' THEN 'The person is an owner or manager.'
        WHEN 'other_role' THEN 'The role map calls this account "other", and rosters never write to such accounts.'
        WHEN 'changed_since' THEN 'The person was changed in the meantime.'
        WHEN 'listed_again' THEN 'The roster lists the person again.'
        WHEN 'listed_elsewhere' THEN 'Another connection lists the person.'
        WHEN 'listed_by_former_id' THEN 'The roster still lists the person under a former ID.'
        WHEN 'linked_elsewhere' THEN 'Another connection linked the person in the meantime.'
        WHEN 'changed_by_run' THEN format('Run %s changed the person in the meantime.', detail)
        WHEN 'link_changed_by_run' THEN format('Run %s changed a link of the person in the meantime.', detail)
        WHEN 'not_linked' THEN 'The person is no longer linked.'
        WHEN 'id_linked' THEN 'The new ID is already linked.'
        -- What the people relation did.
        WHEN 'rejected' THEN format('The people relation rejected the change with %s.', detail)
        WHEN 'not_stored' THEN CASE detail
            WHEN 'create' THEN
                'The new person did not appear among the people of the site, so the insert was rolled back.'
            ELSE format('The people relation ignored the %s, so the person is unchanged.', detail) END
        WHEN 'kept' THEN 'The people relation turned the new values into the ones that it had.'
        WHEN 'holder' THEN format('Person "%s" has the value.', detail)
        -- What became of a change later.
        WHEN 'approved' THEN format('Approved by run %s.', detail)
        WHEN 'relinked' THEN 'Moved by roster_relink.'
        WHEN 'undone' THEN format('Undone by run %s.', detail)
        WHEN 'run_undone' THEN format('Run %s was undone.', detail)
        WHEN 'superseded' THEN 'A later sync decided again.'
    END;
BEGIN
    IF sentence IS NULL AND code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('no sentence for reason "%s"', code);
    END IF;
    RETURN sentence;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.state_reason(text, text) IS
'The sentence of changes.state_reason for a change that was refused, kept, or settled later: a code, and what it is '
'about (a date, a run, an action, a person_id, an SQLSTATE with names); NULL for NULL.';
-- What the plan compares by: families, names without their spelling, values byte for byte.

CREATE FUNCTION minga_roster_internal.repeated_add(internal, text) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_add';
COMMENT ON FUNCTION minga_roster_internal.repeated_add(internal, text) IS
'Transition function of the aggregate repeated.';

CREATE FUNCTION minga_roster_internal.repeated_values(internal) RETURNS text[]
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_values';
COMMENT ON FUNCTION minga_roster_internal.repeated_values(internal) IS 'Final function of the aggregate repeated.';

CREATE AGGREGATE minga_roster_internal.repeated(text) (SFUNC = minga_roster_internal.repeated_add, STYPE = internal,
    SSPACE = 16777216, FINALFUNC = minga_roster_internal.repeated_values);
COMMENT ON AGGREGATE minga_roster_internal.repeated(text) IS
'The values that come more than once, each at least once, byte for byte; an empty array where there are none. Two '
    'values of one 64-bit hash count as one that came twice.';

CREATE FUNCTION minga_roster_internal.agrees(VARIADIC pairs "any") RETURNS boolean
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_agrees';
COMMENT ON FUNCTION minga_roster_internal.agrees("any") IS
'Whether of each pair of texts the first is NULL or, byte for byte, the second.';

CREATE FUNCTION minga_roster_internal.changed_values(columns text[], cleared text[], VARIADIC pairs "any",
    OUT before jsonb, OUT after jsonb)
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_changed_values';
COMMENT ON FUNCTION minga_roster_internal.changed_values(text[], text[], "any") IS
'Of pairs of texts, what is there now and what is due, those that differ byte for byte. columns has a name for each '
    'pair, NULL for one that is left out; a NULL that is due counts only in cleared columns.';

CREATE FUNCTION minga_roster_internal.family_of(category text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE category WHEN 'student' THEN 'student' WHEN 'contact' THEN 'contact' WHEN NULL THEN NULL ELSE 'staff' END;
COMMENT ON FUNCTION minga_roster_internal.family_of(text) IS
'What absence and matching are judged in: students, and teacher, staff and admin together.';

CREATE FUNCTION minga_roster_internal.role_family(role text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN role IN ('student', 'student_leader') THEN 'student'
    WHEN role IN ('teacher', 'staff', 'admin', 'owner', 'manager') THEN 'staff'
    WHEN role = 'other' THEN 'other'
END;
COMMENT ON FUNCTION minga_roster_internal.role_family(text) IS
'The family that a person''s role names, in the contract''s words: student, staff, other for accounts that a roster '
    'never writes; NULL where it names none.';

CREATE FUNCTION minga_roster_internal.clean_name(name text) RETURNS text
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_clean_name';
COMMENT ON FUNCTION minga_roster_internal.clean_name(text) IS
'What of a name is compared: its letters and digits, in lower case after NFKD; NULL where none is left. The same in '
    'every locale. Between hide_names(true) and hide_names(false), in a form that can only be compared; a name in that '
    'form stays as it is.';

CREATE FUNCTION minga_roster_internal.plain_name(name text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_plain_name';
COMMENT ON FUNCTION minga_roster_internal.plain_name(text) IS
'As clean_name, but never hidden, for what is compared with other sessions; NULL for a hidden name.';

CREATE FUNCTION minga_roster_internal.hide_names(are_hidden boolean) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_hide_names';
COMMENT ON FUNCTION minga_roster_internal.hide_names(boolean) IS
'Whether clean_name hides names, in this process, from now on: under a key that is new with each call, and stored '
    'nowhere.';

CREATE FUNCTION minga_roster_internal.shown_name(name text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_shown_name';
COMMENT ON FUNCTION minga_roster_internal.shown_name(text) IS 'The name; NULL if it is hidden (hide_names).';

CREATE FUNCTION minga_roster_internal.given_names_agree(one text, one_preferred text, other text,
    other_preferred text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN one IS NOT NULL AND other IS NOT NULL THEN
    one = other OR (length(one) >= 3 AND starts_with(other, one)) OR (length(other) >= 3 AND starts_with(one, other))
        OR coalesce(one = other_preferred, false) OR coalesce(other = one_preferred, false) END;
COMMENT ON FUNCTION minga_roster_internal.given_names_agree(text, text, text, text) IS
'Whether two cleaned given names agree: they are equal, one of three letters or more begins the other, or one is the '
    'preferred name beside the other; NULL where one is empty.';

CREATE FUNCTION minga_roster_internal.names_suffice(archived boolean, known boolean, given_agrees boolean,
    family_agrees boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN archived THEN coalesce(given_agrees AND family_agrees, false)
    WHEN NOT known THEN coalesce(given_agrees, false)
    ELSE coalesce(given_agrees OR family_agrees, given_agrees IS NULL AND family_agrees IS NULL)
END;
COMMENT ON FUNCTION minga_roster_internal.names_suffice(boolean, boolean, boolean, boolean) IS
'Whether names let a person be whom an identifier tells. Of active people one of them agrees, unless there is none to '
    'compare; of those whose family is not known, the given name (a parent may have the number of a child); of '
    'archived ones both.';
-- What a plan goes by: the people, the rules, and what a former run has learned of the people relation. Must survive a
-- relation whose owner is hostile: it is read in one statement, with the owner's rights.

CREATE FUNCTION minga_roster_internal.read_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('plan');
    -- A deferred trigger could not fire inside the restricted operation; from here to the end of the transaction none
    -- is.
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM minga_roster_internal.read_as_owner(connection.people,
        minga_roster_internal.people_query(connection.people), 'pg_temp.plan_people', connection.site);
    ANALYZE plan_people (person_id, identifier, email);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_people(connections) IS
'Copies the people of the connection''s site into plan_people, in the contract''s names and the '
    'roster''s words for roles; role_word is the relation''s own, and role_first whether a sync writes that one.';

CREATE FUNCTION minga_roster_internal.read_rules(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- A toggle may have been turned on since the rows were read.
    INSERT INTO plan_rules
    SELECT r.roster_role, r.category, minga_roster_internal.family_of(r.category) AS family, r.role, r.rank,
        coalesce(t.roster, r.category <> 'contact')
            AND r.roster_role <> ALL (coalesce(this.reduced_roles, '{}')) AS rostered,
        coalesce(t.auto_update, false) AS auto_update,
        coalesce(t.archive, false) AS archive
    FROM minga_roster.role_rules r
    LEFT JOIN minga_roster.toggles t ON t.connection = connection.connection AND t.category = r.category
    LEFT JOIN minga_roster.runs this ON this.run = read_rules.run
    WHERE r.sis = connection.sis;
    -- What a category stands for if no row of tonight says more.
    INSERT INTO plan_categories
    SELECT DISTINCT ON (r.category) r.category, r.family, r.role, r.rank, r.rostered, r.auto_update, r.archive
    FROM plan_rules r ORDER BY r.category, r.rank, r.roster_role;

    INSERT INTO plan_proved_families
    SELECT e.entry ->> 'family' AS family
    FROM minga_roster.runs this
    CROSS JOIN minga_roster.sis s
    CROSS JOIN LATERAL jsonb_array_elements(s.collections) AS e (entry)
    LEFT JOIN minga_roster.collections c ON c.run = read_rules.run AND c.collection = e.entry ->> 'collection'
    WHERE this.run = read_rules.run AND this.is_full AND s.sis = connection.sis
    GROUP BY e.entry ->> 'family'
    HAVING bool_and(c.run IS NOT NULL AND c.complete AND c.without_id = 0
        AND (c.rows > c.elsewhere
            OR NOT EXISTS (
                SELECT FROM minga_roster.links l
                WHERE l.connection = read_rules.connection.connection AND e.entry -> 'categories' ? l.category)
            -- Several collections may hold one category: one in which no sync or preview on record found anyone has
            -- linked no one.
            OR (SELECT bool_and(b.rows <= b.elsewhere)
                FROM minga_roster.collections b
                JOIN minga_roster.runs r ON r.run = b.run
                WHERE r.connection = read_rules.connection.connection AND r.kind IN ('sync', 'preview')
                    AND r.state = 'succeeded'
                    AND b.collection = c.collection)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_rules(connections, bigint) IS
'Fills plan_rules and plan_categories (the preset''s rules with the connection''s toggles) and plan_proved_families: '
    'the families of which every collection was read to a proved end in this run and is not empty, unless it never '
    'had a linked person (of contacts: a row). A delta proves none.';

CREATE FUNCTION minga_roster_internal.find_stored(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.stored_values v WHERE v.connection = find_stored.connection.connection) THEN
        RETURN;
    END IF;
    EXECUTE minga_roster_internal.fill_template($template$
        INSERT INTO plan_as_sent
        SELECT v.person_id, jsonb_object_agg(v.column_name, v.sent)
        FROM minga_roster.stored_values v
        JOIN plan_people p ON p.person_id = v.person_id
        WHERE v.connection = $1
            AND v.stored = minga_roster_internal.value_hash(CASE v.column_name {values} END)
        GROUP BY v.person_id
        $template$,
        'values', (SELECT string_agg(format('WHEN %L THEN p.%I', c, c), ' ')
            FROM unnest(minga_roster_internal.written_columns() || 'role'::text) c))
    USING find_stored.connection.connection;
    ANALYZE plan_as_sent (person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_stored(connections) IS
'Fills plan_as_sent: for each person who still has what the relation made of a value, a hash of that value '
    'by column. A value of that hash is what the person has.';

CREATE FUNCTION minga_roster_internal.agreement(connection connections, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN agreement.columns = '{}' THEN 'true' ELSE (
        SELECT minga_roster_internal.fill_template($template$
            minga_roster_internal.agrees({sent})
                OR ({has_stored} AND z.person_id IS NOT NULL AND minga_roster_internal.agrees({stored}))
            $template$,
            'sent', string_agg(format('s.%I, p.%I', n.c, n.c), ', ' ORDER BY n.nth),
            'has_stored', bool_or(n.is_stored)::text,
            'stored', string_agg(CASE WHEN n.is_stored THEN minga_roster_internal.fill_template(
                's.{name:I}, CASE WHEN z.sent ->> {name:L} = minga_roster_internal.value_hash(s.{name:I})::text '
                    'THEN s.{name:I} ELSE p.{name:I} END', 'name', n.c)
                ELSE format('s.%I, p.%I', n.c, n.c) END, ', ' ORDER BY n.nth))
        FROM (
            SELECT u.c, u.nth, u.c IN (SELECT v.column_name FROM minga_roster.stored_values v
                WHERE v.connection = (agreement.connection).connection) AS is_stored
            FROM unnest(agreement.columns) WITH ORDINALITY u (c, nth)
        ) n) END
$$;
COMMENT ON FUNCTION minga_roster_internal.agreement(connections, text[]) IS
'An SQL expression: whether of a staged row s and a person p these columns agree, byte for byte or, by plan_as_sent '
    'z, in the form that the relation gave them.';
-- The primary parent contact of each student. Must survive contacts that cannot be read: the next one is not the right
-- one.

CREATE FUNCTION minga_roster_internal.choose_parents(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    is_partial boolean := EXISTS (SELECT FROM minga_roster.runs r
            WHERE r.run = choose_parents.run AND r.is_full IS FALSE)
        OR EXISTS (SELECT FROM minga_roster.collections c
            WHERE c.run = choose_parents.run AND c.family = 'contact' AND (NOT c.complete OR c.without_id > 0));
BEGIN
    IF NOT connection.parent_contact THEN
        RETURN;
    END IF;
    -- If the first contact cannot be read, the next one is not the right one either; nor if a row might be a contact's.
    INSERT INTO plan_parents
    WITH unread AS MATERIALIZED (
        -- An agent who could not be read, or was not asked for, might come first.
        SELECT s.sourced_id
        FROM minga_roster.staged_users s
        CROSS JOIN LATERAL unnest(s.agent_ids) AS a (id)
        LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection
            AND g.sourced_id = a.id COLLATE "C"
        WHERE is_partial AND s.connection = connection.connection AND g.sourced_id IS NULL
    ), steps AS MATERIALIZED (
        SELECT r.rank, r.roles, string_agg('no ' || r.roles || '; ', '')
            OVER (ORDER BY r.rank ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS passed
        FROM (SELECT c.rank, string_agg(c.roster_role, ' or ' ORDER BY c.roster_role) AS roles
            FROM plan_rules c WHERE c.family = 'contact' GROUP BY c.rank) r
    ), said AS MATERIALIZED (
        -- A relationship may stand with either of the two; what is said both ways is not said.
        SELECT n.one, n.other, CASE WHEN bool_or(n.guardian) = bool_and(n.guardian)
            THEN bool_or(n.guardian) END AS guardian,
            CASE WHEN min(n.type) = max(n.type) THEN lower(min(n.type)) END AS type
        FROM (
            SELECT unnest(ARRAY[u.sourced_id, e.entry ->> 'id']) COLLATE "C" AS one,
                unnest(ARRAY[e.entry ->> 'id', u.sourced_id]) COLLATE "C" AS other,
                (e.entry ->> 'guardian')::boolean AS guardian, e.entry ->> 'type' AS type
            FROM minga_roster.staged_users u CROSS JOIN LATERAL jsonb_array_elements(u.relationships) AS e (entry)
            WHERE u.connection = choose_parents.connection.connection
                AND (SELECT p.campus_metadata FROM minga_roster.sis p WHERE p.sis = choose_parents.connection.sis)
        ) n
        GROUP BY n.one, n.other
    )
    SELECT c.sourced_id, c.name, c.email, c.phone,
        CASE WHEN c.guardian THEN concat('guardian by the SIS', ': ' || c.type, CASE
            WHEN c.several THEN '; first of several in the order of agents' END)
            ELSE concat(c.role, ': ', w.passed, CASE WHEN c.others_ruled_out
                THEN 'by the SIS others are no guardian; ' END,
                CASE WHEN c.several THEN format('first %s in the order of agents', w.roles)
                    ELSE format('only %s', w.roles) END) END
    FROM (
        SELECT DISTINCT ON (s.sourced_id) s.sourced_id, g.damaged,
            concat_ws(' ', g.given_name, g.family_name) AS name, g.email, g.phone, g.role, gr.rank,
            n.guardian, n.type, n.guardian IS NULL AND bool_or(NOT n.guardian) OVER (PARTITION BY s.sourced_id,
                gr.rank) IS TRUE AS others_ruled_out,
            min(g.sourced_id) OVER equals <> max(g.sourced_id) OVER equals AS several
        FROM minga_roster.staged_users s
        JOIN plan_rules sr ON sr.roster_role = s.role AND sr.family = 'student'
        CROSS JOIN LATERAL unnest(s.agent_ids) WITH ORDINALITY AS a (id, position)
        JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = a.id COLLATE "C"
        LEFT JOIN plan_rules gr ON gr.roster_role = g.role
        LEFT JOIN said n ON n.one = s.sourced_id AND n.other = g.sourced_id
        WHERE s.connection = connection.connection AND g.status IS DISTINCT FROM 'tobedeleted'
            AND (gr.family = 'contact' OR (g.damaged AND gr.roster_role IS NULL))
            AND (g.damaged OR g.given_name IS NOT NULL OR g.family_name IS NOT NULL)
        WINDOW equals AS (PARTITION BY s.sourced_id, n.guardian, gr.rank)
        ORDER BY s.sourced_id, n.guardian IS NOT TRUE, gr.rank NULLS FIRST, n.guardian IS FALSE, a.position
    ) c
    JOIN steps w ON w.rank = c.rank
    WHERE NOT c.damaged AND c.sourced_id NOT IN (SELECT u.sourced_id FROM unread u);
    IF connection.clear_parent_contact
        AND (SELECT count(*) FROM plan_proved_families f WHERE f.family IN ('student', 'contact')) = 2
    THEN
        -- A contact is gone if the SIS no longer names it, or calls it deleted; one that is named and not listed may be
        -- anyone.
        INSERT INTO plan_parents (sourced_id)
        SELECT s.sourced_id
        FROM minga_roster.staged_users s
        JOIN plan_rules sr ON sr.roster_role = s.role AND sr.family = 'student'
        LEFT JOIN LATERAL unnest(s.agent_ids) AS a (id) ON true
        LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection
            AND g.sourced_id = a.id COLLATE "C"
        WHERE s.connection = connection.connection
        GROUP BY s.sourced_id
        HAVING bool_and(a.id IS NULL OR coalesce(g.status = 'tobedeleted' AND NOT g.damaged, false));
    END IF;
    ANALYZE plan_parents (sourced_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.choose_parents(connections, bigint) IS
'Fills plan_parents: for each staged student the primary contact: the guardian by what Infinite Campus 1.2 '
    'says of the relationship, then guardian or parent before relative, then the order of agents, with the rule that '
    'chose in words. OneRoster marks no contact as primary. With clear_parent_contact also, all but the sourcedId '
    'NULL, each student of whose contacts a proved read has none left.';
-- The rows that need a look: the full join of stage, links and people, less the rows that are as they should be. On an
-- unchanged night that is almost none. Must survive a roster as large as a district's: no step here is more than
-- linear.

CREATE FUNCTION minga_roster_internal.find_repeated(connection connections, others text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
    SELECT minga_roster_internal.repeated(l.person_id)
    FROM minga_roster.links l
    WHERE l.site = (find_repeated.connection).site
        AND (l.connection = (find_repeated.connection).connection
            OR (l.connection = ANY (others) AND l.missed_since IS NULL))
$$;
COMMENT ON FUNCTION minga_roster_internal.find_repeated(connections, text[]) IS
'The people with more than one link, counting the links of this connection and the live links of the others.';

CREATE FUNCTION minga_roster_internal.find_shared_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_shared_rows (sourced_id)
    WITH new_key AS MATERIALIZED (
        SELECT lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier
        FROM plan_open_rows o
        WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND (o.username IS NOT NULL OR o.identifier IS NOT NULL)
    ), keyed AS MATERIALIZED (
        SELECT s.sourced_id, r.family, lower(s.username COLLATE "C") AS username,
            lower(s.identifier COLLATE "C") AS identifier
        FROM minga_roster.staged_users s JOIN plan_rules r ON r.roster_role = s.role
            AND r.family IN ('student', 'staff')
        WHERE s.connection = find_shared_rows.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND EXISTS (SELECT FROM new_key)
            AND (lower(s.username COLLATE "C") IN (SELECT k.username FROM new_key k WHERE k.username IS NOT NULL)
                OR lower(s.identifier COLLATE "C") IN (SELECT k.identifier FROM new_key k
                    WHERE k.identifier IS NOT NULL))
    )
    SELECT k.sourced_id FROM keyed k
    WHERE (k.family, k.username) IN (
            SELECT t.family, t.username FROM keyed t WHERE t.username IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1)
        OR (k.family, k.identifier) IN (
            SELECT t.family, t.identifier FROM keyed t WHERE t.identifier IS NOT NULL
            GROUP BY 1, 2 HAVING count(*) > 1);
    ANALYZE plan_shared_rows;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_shared_rows(connections) IS
'Fills plan_shared_rows.';

CREATE FUNCTION minga_roster_internal.find_special_people(run runs, connection connections, others text[],
    repeated text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_special_people (person_id, own_links, first_own, first_elsewhere, only_own, best_role)
    SELECT l.person_id, count(*) FILTER (WHERE l.own), min(l.linked_run) FILTER (WHERE l.own),
        min(l.linked_run) FILTER (WHERE NOT l.own), bool_and(l.own), (array_agg(r.role ORDER BY r.rank))[1]
    FROM (
        SELECT o.person_id, true AS own, o.linked_run, o.link_category AS category
        FROM plan_open_rows o WHERE o.person_id IS NOT NULL AND run.is_full IS NOT FALSE
        UNION ALL
        -- In a delta the links of people who are not listed are not among the open rows.
        SELECT k.person_id, true, k.linked_run, k.category
        FROM minga_roster.links k
        WHERE k.connection = find_special_people.connection.connection AND run.is_full IS FALSE
            AND k.person_id IN (SELECT unnest(repeated))
        UNION ALL
        SELECT k.person_id, false, k.linked_run, k.category
        FROM minga_roster.links k
        WHERE k.connection = ANY (others) AND k.site = connection.site AND k.missed_since IS NULL
    ) l
    LEFT JOIN plan_categories r ON r.category = l.category
    GROUP BY l.person_id
    HAVING count(*) > 1 OR NOT bool_and(l.own);
    ANALYZE plan_special_people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_special_people(runs, connections, text[], text[]) IS
'Fills plan_special_people.';

CREATE FUNCTION minga_roster_internal.plain_terms(connection connections) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$(
        l.missed_since IS NULL AND l.archived_run IS NULL AND NOT p.archived AND p.protection IS NULL
        AND coalesce(s.status, 'active') = 'active' AND s.enabled AND NOT s.damaged
        AND l.category = {category_of_row}
        AND ({values_agree})
        AND {parent_agrees}
    )$template$,
        'category_of_row', coalesce((
            SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.category), ' '
                ORDER BY r.rank, r.roster_role) || ' END'
            FROM plan_rules r WHERE r.rostered), 'NULL'),
        'values_agree', minga_roster_internal.agreement(connection, ARRAY(
            SELECT c FROM unnest(minga_roster_internal.written_columns()) c
            WHERE people.columns ? c AND c NOT LIKE 'parent\_%' AND c <> ALL (people.local_columns))),
        'parent_agrees', CASE
            WHEN (connection).parent_contact AND 'parent_contact' <> ALL (people.local_columns) THEN coalesce((
                SELECT '((t.parent_name IS NULL AND (t.sourced_id IS NULL OR p.parent_rule IS NULL)) OR ('
                    || string_agg(minga_roster_internal.fill_template(
                        '(t.{name:I} IS NOT DISTINCT FROM p.{name:I}'
                        ' OR z.sent ->> {name:L} = minga_roster_internal.value_hash(t.{name:I})::text)',
                        'name', c), ' AND ')
                    || '))'
                FROM unnest(minga_roster_internal.written_columns()) c
                WHERE people.columns ? c AND c LIKE 'parent\_%'), 'true')
            ELSE 'true' END)
    FROM (
        SELECT r.columns, minga_roster_internal.local_columns((plain_terms.connection).connection) AS local_columns
        FROM minga_roster.people_relations r WHERE r.relation = (plain_terms.connection).people
    ) people
$$;
COMMENT ON FUNCTION minga_roster_internal.plain_terms(connections) IS
'An SQL expression over the staged row s, its link l, the person p, the parent contact t and plan_as_sent z: whether '
    'the row is readable and active, of a rostered category, linked to an active person whom a roster may write, and '
    'every value is as it should be.';

CREATE FUNCTION minga_roster_internal.open_rows_query(connection connections, condition text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT j.sourced_id, j.staged, j.place,
            CASE WHEN NOT j.staged OR j.status = 'tobedeleted' THEN 'absent'
                WHEN j.damaged THEN 'damaged'
                WHEN j.status NOT IN ('active', 'inactive') THEN 'unknown'
                WHEN j.status = 'inactive' OR NOT j.enabled THEN 'inactive'
                ELSE 'active' END,
            coalesce(r.rostered AND r.family IN ('student', 'staff') AND NOT j.damaged
                AND coalesce(j.status, 'active') IN ('active', 'inactive'), false),
            j.roster_role, r.category, r.family, r.role, r.rank, r.rostered,
            j.linked, j.person_id, j.link_category, j.role_written, j.linked_run, j.missed_since IS NOT NULL,
            j.archived_run, j.given_name, j.family_name, j.middle_name, j.preferred_name, j.email, j.username,
            j.identifier, j.grade, j.phone, j.parent_name, j.parent_email, j.parent_phone, j.parent_rule,
            j.plain, j.damaged_field
        FROM (
            SELECT coalesce(s.sourced_id, l.sourced_id) AS sourced_id, s.sourced_id IS NOT NULL AS staged, s.place,
                s.status, s.damaged, s.enabled, s.role AS roster_role, l.sourced_id IS NOT NULL AS linked, p.person_id,
                l.category AS link_category, l.role_written, l.linked_run, l.missed_since, l.archived_run,
                s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username, s.identifier,
                s.grade, s.phone, {parent_columns}, {plain} AS plain, s.damaged_field
            FROM (SELECT *, ctid AS place FROM minga_roster.staged_users WHERE connection = {connection:L}) s
            FULL JOIN (SELECT * FROM minga_roster.links WHERE connection = {connection:L}) l
                ON l.sourced_id = s.sourced_id
            LEFT JOIN plan_people p ON p.person_id = l.person_id
            LEFT JOIN plan_as_sent z ON z.person_id = p.person_id
            {join_parents}
            WHERE {condition}
            OFFSET 0
        ) j
        LEFT JOIN plan_rules r ON r.roster_role = j.roster_role
        WHERE {contacts_too} OR j.linked OR r.category IS DISTINCT FROM 'contact'
    $template$,
        'connection', (connection).connection,
        'parent_columns', (
            SELECT string_agg(format(CASE WHEN (connection).parent_contact THEN 't.%I' ELSE 'NULL::text AS %I' END,
                c), ', ' ORDER BY c)
            FROM unnest(minga_roster_internal.written_columns()) c WHERE c LIKE 'parent\_%'),
        'join_parents', CASE WHEN (connection).parent_contact
            THEN 'LEFT JOIN plan_parents t ON t.sourced_id = s.sourced_id' ELSE '' END,
        'plain', minga_roster_internal.plain_terms(connection),
        'condition', condition,
        'contacts_too', (NOT (connection).parent_contact)::text)
$$;
COMMENT ON FUNCTION minga_roster_internal.open_rows_query(connections, text) IS
'The query that reads plan_open_rows: the full join of stage, links and people, of the rows for which the condition '
    'holds. Contacts whose values are columns of a student are left out.';

CREATE FUNCTION minga_roster_internal.find_open_rows(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    others text[] := ARRAY(
        SELECT c.connection FROM minga_roster.connections c
        WHERE c.site = connection.site AND c.people = connection.people AND c.retired_at IS NULL
            AND c.connection <> find_open_rows.connection.connection);
    repeated text[] := minga_roster_internal.find_repeated(connection, others);
    due_role text := (SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.role), ' '
        ORDER BY r.rank, r.roster_role) || ' END'
        FROM plan_rules r);
    unopened text[];
    twice bigint;
BEGIN
    -- The join tells plain rows of single links by what it has at hand; only the others are looked at closely.
    EXECUTE 'INSERT INTO plan_open_rows ' || minga_roster_internal.open_rows_query(connection,
        minga_roster_internal.fill_template(
            '({plain} AND (l.role_written IS NULL OR l.role_written = {due_role}) AND l.person_id <> ALL ($1)) '
            'IS NOT TRUE',
            'plain', minga_roster_internal.plain_terms(connection),
            'due_role', coalesce(due_role, 'NULL'))
        -- Students whom a delta does not list have not changed.
        || CASE WHEN run.is_full IS FALSE THEN ' AND (s.sourced_id IS NOT NULL OR l.category <> ''student'')'
            ELSE '' END)
    USING repeated;

    SELECT count(*) - count(DISTINCT o.sourced_id) INTO twice FROM plan_open_rows o;
    IF twice > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the stage lists users twice',
            DETAIL = format('Users listed twice: %s.', twice),
            HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                'minga_roster.';
    END IF;

    -- A row that shares a key with a new row is looked at together with it.
    PERFORM minga_roster_internal.find_shared_rows(connection);
    unopened := ARRAY(SELECT h.sourced_id FROM plan_shared_rows h
        LEFT JOIN plan_open_rows o ON o.sourced_id = h.sourced_id WHERE o.sourced_id IS NULL);
    IF unopened <> '{}' THEN
        EXECUTE 'INSERT INTO plan_open_rows ' || minga_roster_internal.open_rows_query(connection,
            's.sourced_id = ANY ($1)') USING unopened;
    END IF;

    -- A person of several rows is plain if all of them are; the first in rank is the main one.
    PERFORM minga_roster_internal.find_special_people(run, connection, others, repeated);
    INSERT INTO plan_settled_rows (sourced_id, place, category, is_main)
    SELECT j.sourced_id, j.place, j.category, j.nth = 1
    FROM (
        SELECT o.sourced_id, o.place, o.category,
            row_number() OVER (PARTITION BY o.person_id ORDER BY o.rank, o.sourced_id) AS nth,
            every(o.plain IS TRUE AND (o.role_written IS NULL OR o.role_written = x.best_role)
                AND o.sourced_id NOT IN (SELECT h.sourced_id FROM plan_shared_rows h))
                OVER (PARTITION BY o.person_id) AS settled
        FROM plan_open_rows o JOIN plan_special_people x ON x.person_id = o.person_id AND x.only_own
    ) j
    WHERE j.settled;

    -- Rows for which someone decided "skip" are matched and grouped with no one, nor are those of forgotten people.
    IF EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = connection.site) THEN
        INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
        SELECT o.sourced_id, o.place, o.category, 'forgotten'
        FROM plan_open_rows o
        JOIN minga_roster.staged_users s ON s.connection = find_open_rows.connection.connection
            AND s.outcome = 'forgotten' AND s.sourced_id = o.sourced_id;
    END IF;
    INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
    SELECT o.sourced_id, o.place, o.category, 'skip'
    FROM plan_open_rows o
    JOIN minga_roster.match_decisions d ON d.connection = find_open_rows.connection.connection
        AND d.decision = 'skip' AND d.sourced_id = o.sourced_id
    WHERE o.staged AND o.standing <> 'absent' AND NOT o.linked AND o.family IS DISTINCT FROM 'contact';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_open_rows(runs, connections) IS
'Fills plan_open_rows and plan_shared_rows, plan_special_people, and plan_settled_rows and plan_skipped_rows, the open '
    'rows that later steps leave out. XX000 if the stage lists a user twice.';
-- Which rows are one person: rows of different staff roles that share a username or identifier, rows of one role with
-- one identifier and agreeing names, rows linked to one person. Must survive rows that contradict each other (they
-- become one conflict) and thousands of rows with one address or number: no step compares each with each.

CREATE FUNCTION minga_roster_internal.find_nodes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_decided_rows (sourced_id, person_id)
    SELECT d.sourced_id, d.person_id
    FROM minga_roster.match_decisions d JOIN plan_open_rows o ON o.sourced_id = d.sourced_id
    WHERE d.connection = find_nodes.connection.connection
        AND o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
        AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k);
    -- A row that was decided to be a new person is known, as a linked one is.
    INSERT INTO plan_nodes
    SELECT n.*, dense_rank() OVER (ORDER BY n.role, n.username, n.identifier, n.person IS NOT NULL,
        CASE WHEN n.decided THEN n.sourced_id END)
    FROM (
        SELECT o.sourced_id, o.person_id, o.roster_role AS role, o.family,
            (CASE WHEN o.person_id IS NOT NULL THEN 'P' || o.person_id
                WHEN d.is_new THEN 'R' || o.sourced_id END) COLLATE "C" AS person,
            d.sourced_id IS NOT NULL AND o.person_id IS NULL AND NOT d.is_new AS decided,
            o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family AS moved_family,
            lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier,
            lower(o.email COLLATE "C") AS email,
            minga_roster_internal.clean_name(o.given_name) AS given_name,
            minga_roster_internal.clean_name(o.family_name) AS family_name,
            minga_roster_internal.clean_name(o.preferred_name) AS preferred_name,
            h.sourced_id IS NOT NULL AS shares
        FROM plan_open_rows o
        LEFT JOIN plan_shared_rows h ON h.sourced_id = o.sourced_id
        LEFT JOIN plan_special_people x ON x.person_id = o.person_id
        LEFT JOIN (SELECT r.sourced_id, bool_or(r.person_id IS NULL) AS is_new FROM plan_decided_rows r
            GROUP BY r.sourced_id) d ON d.sourced_id = o.sourced_id
        WHERE o.standing <> 'absent' AND (h.sourced_id IS NOT NULL OR x.own_links > 1)
            AND o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
            AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k)
    ) n;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_nodes(connections) IS 'Fills plan_decided_rows and plan_nodes.';

CREATE FUNCTION minga_roster_internal.find_edges() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_known_rows (person, sourced_id)
    SELECT n.person, min(n.sourced_id) FROM plan_nodes n WHERE n.person IS NOT NULL GROUP BY n.person;
    INSERT INTO plan_edges (a, b)
    SELECT n.sourced_id, k.sourced_id FROM plan_nodes n JOIN plan_known_rows k ON k.person = n.person
    WHERE n.sourced_id <> k.sourced_id;
    IF NOT EXISTS (SELECT FROM plan_nodes n WHERE n.person IS NULL) THEN
        RETURN;
    END IF;

    -- Different roles of staff. Rows of a class, of one role with the same keys, have the same neighbors: one row of
    -- the class has them, and leads to the others.
    INSERT INTO plan_edges (a, b)
    WITH classes AS MATERIALIZED (
        SELECT n.class, n.role, n.username, n.identifier, bool_or(n.person IS NOT NULL) AS known,
            bool_or(n.decided) AS decided, min(n.sourced_id) AS sourced_id, min(n.person) AS first_person
        FROM plan_nodes n WHERE n.shares AND n.family = 'staff'
        GROUP BY n.class, n.role, n.username, n.identifier
    ), alike AS MATERIALIZED (
        SELECT a.class AS a, b.class AS b
        FROM classes a JOIN classes b ON b.username = a.username AND b.identifier = a.identifier
        WHERE a.role <> b.role AND NOT (a.known AND b.known)
        UNION
        SELECT a.class, b.class
        FROM classes a JOIN classes b ON b.username = a.username WHERE a.identifier IS NULL AND a.role <> b.role
            AND NOT (a.known AND b.known)
        UNION
        SELECT a.class, b.class
        FROM classes a JOIN classes b ON b.identifier = a.identifier WHERE a.username IS NULL AND a.role <> b.role
            AND NOT (a.known AND b.known)
    ), pairs AS MATERIALIZED (
        SELECT n.class AS new_class, n.sourced_id, n.decided, o.class AS other_class, o.known,
            o.sourced_id AS other_id, o.first_person
        FROM (SELECT a, b FROM alike UNION SELECT b, a FROM alike) p
        JOIN classes n ON n.class = p.a AND NOT n.known
        JOIN classes o ON o.class = p.b
    )
    SELECT p.sourced_id, p.other_id FROM pairs p WHERE NOT p.known
    UNION
    SELECT p.sourced_id, k.sourced_id FROM pairs p JOIN plan_known_rows k ON k.person = p.first_person
    WHERE p.known AND NOT p.decided
    UNION
    SELECT f.sourced_id, k.sourced_id
    FROM (SELECT DISTINCT other_class, first_person FROM pairs WHERE known AND NOT decided) p
    JOIN plan_nodes n ON n.class = p.other_class AND n.person <> p.first_person
    JOIN plan_known_rows f ON f.person = p.first_person
    JOIN plan_known_rows k ON k.person = n.person
    UNION
    SELECT p.sourced_id, k.sourced_id
    FROM pairs p
    JOIN plan_nodes n ON n.class = p.other_class
    JOIN plan_known_rows k ON k.person = n.person
    LEFT JOIN plan_decided_rows d ON d.sourced_id = p.sourced_id AND d.person_id = n.person_id
    WHERE p.known AND p.decided AND d.sourced_id IS NULL
    UNION
    SELECT n.sourced_id, p.sourced_id
    FROM (SELECT DISTINCT new_class, sourced_id FROM pairs) p JOIN plan_nodes n ON n.class = p.new_class
    WHERE n.sourced_id <> p.sourced_id;

    -- One role. Rows that all were decided not to be a person are not judged beside the rows of that person.
    INSERT INTO plan_members
    WITH member AS MATERIALIZED (
        SELECT 'identifier' AS kind, n.identifier AS key, n.* FROM plan_nodes n
        WHERE n.shares AND n.identifier IS NOT NULL
        UNION ALL
        SELECT 'username', n.username, n.* FROM plan_nodes n WHERE n.shares AND n.username IS NOT NULL
    ), unlinked AS (
        SELECT n.role, n.kind, n.key, count(*) AS rows FROM member n WHERE n.person IS NULL
        GROUP BY n.role, n.kind, n.key
    ), parted AS (
        SELECT n.role, n.kind, n.key, d.person_id
        FROM member n
        JOIN plan_decided_rows d ON d.sourced_id = n.sourced_id
        JOIN unlinked u ON u.role = n.role AND u.kind = n.kind AND u.key = n.key
        WHERE n.person IS NULL
        GROUP BY n.role, n.kind, n.key, d.person_id
        HAVING count(*) = min(u.rows)
    )
    SELECT m.kind, m.key, m.sourced_id, m.role, m.person, m.username, m.identifier, m.email, m.given_name,
        m.family_name, m.preferred_name
    FROM member m
    LEFT JOIN parted x ON x.role = m.role AND x.kind = m.kind AND x.key = m.key AND x.person_id = m.person_id
    WHERE x.person_id IS NULL;

    INSERT INTO plan_equals (kind, role, key, sourced_id, agree)
    WITH shared AS MATERIALIZED (
        SELECT m.kind, m.role, m.key, min(m.sourced_id) FILTER (WHERE m.person IS NULL) AS sourced_id,
            CASE m.kind
                -- All of them share the identifier too, which tells whether they are one.
                WHEN 'username' THEN CASE WHEN count(m.identifier) < count(*)
                    OR count(DISTINCT m.identifier) > 1 THEN false END
                ELSE count(DISTINCT m.person) <= 1 AND count(m.given_name) = count(*)
                    AND count(m.family_name) = count(*) AND count(DISTINCT m.family_name) = 1
                    AND (count(m.username) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.username) = 1)
                    AND (count(m.email) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.email) = 1)
            END AS agree,
            count(DISTINCT m.given_name) > 1 AS given_names_vary
        FROM plan_members m
        GROUP BY m.kind, m.role, m.key
        HAVING count(*) > 1 AND count(*) FILTER (WHERE m.person IS NULL) > 0
    ), names AS MATERIALIZED (
        SELECT DISTINCT m.role, m.key, m.given_name, m.preferred_name, m.person IS NOT NULL AS known
        FROM plan_members m JOIN shared e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
        WHERE e.kind = 'identifier' AND e.agree AND e.given_names_vary
    ), many AS MATERIALIZED (
        -- Of more than 50 names two are different.
        SELECT n.role, n.key FROM names n GROUP BY n.role, n.key HAVING count(*) > 50
    ), few AS MATERIALIZED (
        SELECT n.* FROM names n WHERE (n.role, n.key) NOT IN (SELECT m.role, m.key FROM many m)
    ), differing AS (
        SELECT m.role, m.key FROM many m
        UNION
        SELECT a.role, a.key
        FROM few a JOIN few b ON b.role = a.role AND b.key = a.key
        WHERE NOT (a.known AND b.known)
            AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name,
                b.preferred_name)
    )
    SELECT e.kind, e.role, e.key, e.sourced_id, e.agree AND d.key IS NULL
    FROM shared e LEFT JOIN differing d ON e.kind = 'identifier' AND d.role = e.role AND d.key = e.key;
    INSERT INTO plan_edges (a, b)
    SELECT m.sourced_id, e.sourced_id
    FROM plan_members m JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    WHERE m.person IS NULL AND m.sourced_id <> e.sourced_id AND e.agree IS NOT NULL
    UNION
    SELECT e.sourced_id, k.sourced_id
    FROM plan_members m
    JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    JOIN plan_known_rows k ON k.person = m.person
    WHERE e.agree IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_edges() IS
'Fills plan_known_rows, plan_members, plan_equals and plan_edges: rows that are one person, or share a key in one '
    'role, are connected, directly or by way of others.';

CREATE FUNCTION minga_roster_internal.find_components() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this integer := 0;
BEGIN
    -- In each round each row takes the least label of itself and its neighbors, then the label of the row that the
    -- label names, until a round changes nothing.
    INSERT INTO plan_label_rounds (round, sourced_id, label)
    SELECT 0, n.sourced_id, n.sourced_id FROM plan_nodes n;
    LOOP
        INSERT INTO plan_label_rounds (round, sourced_id, label)
        WITH nearest AS MATERIALIZED (
            SELECT n.sourced_id, least(n.label, e.label) AS label
            FROM plan_label_rounds n
            LEFT JOIN (
                SELECT e.a, min(m.label) AS label
                FROM (SELECT a, b FROM plan_edges UNION ALL SELECT b, a FROM plan_edges) e
                JOIN plan_label_rounds m ON m.round = this AND m.sourced_id = e.b
                GROUP BY e.a
            ) e ON e.a = n.sourced_id
            WHERE n.round = this
        )
        SELECT this + 1, n.sourced_id, m.label FROM nearest n JOIN nearest m ON m.sourced_id = n.label;
        this := this + 1;
        EXIT WHEN NOT EXISTS (
            SELECT FROM plan_label_rounds n
            JOIN plan_label_rounds f ON f.round = this - 1 AND f.sourced_id = n.sourced_id
            WHERE n.round = this AND n.label <> f.label);
    END LOOP;
    INSERT INTO plan_components (sourced_id, component)
    SELECT n.sourced_id, n.label FROM plan_label_rounds n WHERE n.round = this;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_components() IS
'Fills plan_components: connected rows get one label, the least sourcedId.';

CREATE FUNCTION minga_roster_internal.find_contradictions() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- Rows that are linked contradict no one: a link is identity.
    INSERT INTO plan_contradictions (component, label, conflict)
    WITH node AS MATERIALIZED (
        SELECT c.component, n.* FROM plan_nodes n JOIN plan_components c ON c.sourced_id = n.sourced_id
    ), member AS MATERIALIZED (
        SELECT n.* FROM node n WHERE n.component IN (SELECT o.component FROM node o WHERE o.person IS NULL)
    ), excluded AS MATERIALIZED (
        SELECT DISTINCT x.sourced_id
        FROM member m
        JOIN plan_decided_rows x ON x.sourced_id = m.sourced_id
        JOIN member p ON p.component = m.component AND p.person_id = x.person_id
    ), mismatched AS MATERIALIZED (
        -- Rows that share a key with one of their own role without being the same person for certain.
        SELECT DISTINCT m.sourced_id
        FROM plan_members m JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
        WHERE NOT e.agree AND m.person IS NULL
    ), of_role AS MATERIALIZED (
        SELECT m.component, m.role
        FROM member m
        GROUP BY m.component, m.role
        HAVING count(*) > 1 AND bool_or(m.person IS NULL)
            AND (count(m.identifier) < count(*) OR count(DISTINCT m.identifier) > 1)
    ), named AS MATERIALIZED (
        SELECT DISTINCT m.component, m.given_name, m.family_name, m.preferred_name, m.person IS NOT NULL AS known
        FROM member m
        WHERE m.component IN (SELECT v.component FROM member v GROUP BY v.component
            HAVING count(DISTINCT v.given_name) > 1 AND count(DISTINCT v.family_name) > 1)
    ), many AS MATERIALIZED (
        SELECT n.component FROM named n GROUP BY n.component HAVING count(*) > 50
    ), few AS MATERIALIZED (
        SELECT n.* FROM named n WHERE n.component NOT IN (SELECT m.component FROM many m)
    ), differing AS MATERIALIZED (
        SELECT m.component FROM many m
        UNION
        SELECT a.component
        FROM few a JOIN few b ON b.component = a.component AND b.family_name <> a.family_name
        WHERE NOT (a.known AND b.known)
            AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name,
                b.preferred_name)
    ), verdicts AS (
        SELECT m.component, min(m.sourced_id) FILTER (WHERE m.person IS NULL) AS label,
            CASE
                WHEN bool_or(m.moved_family) OR count(DISTINCT m.family) > 1 THEN 'other_family'
                WHEN count(DISTINCT m.person) > 1 THEN 'row_joins_two'
                WHEN bool_or(w.sourced_id IS NOT NULL) OR bool_or(r.component IS NOT NULL) THEN 'same_role_twice'
                WHEN (count(DISTINCT m.username) > 1 AND count(m.username) FILTER (WHERE m.person IS NULL) > 0)
                    OR (count(DISTINCT m.identifier) > 1 AND count(m.identifier) FILTER (WHERE m.person IS NULL) > 0)
                    OR bool_or(d.sourced_id IS NOT NULL) THEN 'keys_contradict'
                WHEN bool_or(f.component IS NOT NULL) THEN 'rows_differ'
            END AS conflict
        FROM member m
        LEFT JOIN mismatched w ON w.sourced_id = m.sourced_id
        LEFT JOIN of_role r ON r.component = m.component AND r.role = m.role
        LEFT JOIN differing f ON f.component = m.component
        LEFT JOIN excluded d ON d.sourced_id = m.sourced_id
        GROUP BY m.component
    )
    SELECT v.component, v.label, v.conflict FROM verdicts v WHERE v.conflict IS NOT NULL;

    -- The people with whom such rows would have been joined are named; their linked rows are a group of their own.
    INSERT INTO plan_named_people (label, person_id)
    SELECT DISTINCT x.label, n.person_id
    FROM plan_contradictions x
    JOIN plan_components c ON c.component = x.component
    JOIN plan_nodes n ON n.sourced_id = c.sourced_id AND n.person_id IS NOT NULL;
    INSERT INTO plan_labels (sourced_id, label)
    SELECT c.sourced_id, CASE WHEN x.component IS NULL THEN c.component
        ELSE min(c.sourced_id) OVER (PARTITION BY c.component, n.person) END
    FROM plan_components c
    JOIN plan_nodes n ON n.sourced_id = c.sourced_id
    LEFT JOIN plan_contradictions x ON x.component = c.component;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_contradictions() IS
'Fills plan_contradictions, the components of which a row without a link contradicts another row, and why; '
    'plan_named_people; and plan_labels, in which the linked rows of such a component have labels of their own.';

CREATE FUNCTION minga_roster_internal.group_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.find_nodes(connection);
    IF EXISTS (SELECT FROM plan_nodes) THEN
        PERFORM minga_roster_internal.make_plan_tables('group');
        PERFORM minga_roster_internal.find_edges();
        PERFORM minga_roster_internal.find_components();
        PERFORM minga_roster_internal.find_contradictions();
    END IF;
    INSERT INTO plan_rows
    SELECT coalesce(n.label, o.sourced_id), o.*
    FROM plan_open_rows o LEFT JOIN plan_labels n ON n.sourced_id = o.sourced_id
    WHERE o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
        AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k);
    ANALYZE plan_rows (sourced_id, label, person_id, standing);
    -- A group has in each column the value of its first row that has one.
    INSERT INTO plan_groups
    WITH several AS MATERIALIZED (
        SELECT n.label FROM plan_labels n GROUP BY n.label HAVING count(*) > 1
    ), member AS MATERIALIZED (
        SELECT o.*, row_number() OVER (PARTITION BY o.label
            ORDER BY NOT o.usable, o.standing <> 'active', o.rank, o.sourced_id) AS nth
        FROM plan_rows o WHERE o.standing <> 'absent' AND o.label IN (SELECT s.label FROM several s)
    ), grouped AS (
        SELECT o.label, o.sourced_id AS main_row,
            CASE WHEN o.usable THEN ARRAY[o.sourced_id] ELSE '{}' END::text[] AS sourced_ids,
            o.usable, o.usable AND o.standing = 'active' AS active, o.family, o.category, o.rank, o.role,
            o.person_id AS linked_person, CASE WHEN o.person_id IS NOT NULL THEN o.role_written END AS role_written,
            o.usable AND o.person_id IS NULL AS joins,
            CASE WHEN o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family
                THEN 'other_family' END AS contradiction,
            o.given_name AS match_given_name, o.family_name AS match_family_name,
            o.preferred_name AS match_preferred_name, o.identifier AS match_identifier, o.email AS match_email,
            o.given_name, o.family_name, o.middle_name, o.preferred_name, o.email, o.username, o.identifier, o.grade,
            o.phone, o.parent_name, o.parent_email, o.parent_phone, o.parent_rule
        FROM plan_rows o
        WHERE o.standing <> 'absent'
            AND (o.family IN ('student', 'staff') OR o.person_id IS NOT NULL OR o.standing = 'damaged')
            AND o.label NOT IN (SELECT s.label FROM several s)
        UNION ALL
        SELECT m.label, min(m.sourced_id) FILTER (WHERE m.nth = 1),
            coalesce(array_agg(m.sourced_id ORDER BY m.sourced_id) FILTER (WHERE m.usable), '{}')::text[],
            bool_or(m.usable), bool_or(m.usable AND m.standing = 'active'), min(m.family) FILTER (WHERE m.nth = 1),
            min(m.category) FILTER (WHERE m.nth = 1), min(m.rank) FILTER (WHERE m.nth = 1),
            min(m.role) FILTER (WHERE m.nth = 1), min(m.person_id),
            min(m.role_written) FILTER (WHERE m.person_id IS NOT NULL), bool_or(m.usable AND m.person_id IS NULL),
            CASE WHEN count(DISTINCT m.family) > 1 OR bool_or(m.person_id IS NOT NULL
                AND minga_roster_internal.family_of(m.link_category) <> m.family) THEN 'other_family' END,
            (array_agg(m.given_name ORDER BY m.nth) FILTER (WHERE m.given_name IS NOT NULL))[1],
            (array_agg(m.family_name ORDER BY m.nth) FILTER (WHERE m.family_name IS NOT NULL))[1],
            (array_agg(m.preferred_name ORDER BY m.nth) FILTER (WHERE m.preferred_name IS NOT NULL))[1],
            (array_agg(m.identifier ORDER BY m.nth) FILTER (WHERE m.identifier IS NOT NULL))[1],
            (array_agg(m.email ORDER BY m.nth) FILTER (WHERE m.email IS NOT NULL))[1],
            (array_agg(m.given_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.given_name IS NOT NULL))[1],
            (array_agg(m.family_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.family_name IS NOT NULL))[1],
            (array_agg(m.middle_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.middle_name IS NOT NULL))[1],
            (array_agg(m.preferred_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.preferred_name IS NOT NULL))[1],
            (array_agg(m.email ORDER BY m.nth) FILTER (WHERE m.usable AND m.email IS NOT NULL))[1],
            (array_agg(m.username ORDER BY m.nth) FILTER (WHERE m.usable AND m.username IS NOT NULL))[1],
            (array_agg(m.identifier ORDER BY m.nth) FILTER (WHERE m.usable AND m.identifier IS NOT NULL))[1],
            (array_agg(m.grade ORDER BY m.nth) FILTER (WHERE m.usable AND m.grade IS NOT NULL))[1],
            (array_agg(m.phone ORDER BY m.nth) FILTER (WHERE m.usable AND m.phone IS NOT NULL))[1],
            min(m.parent_name) FILTER (WHERE m.nth = 1), min(m.parent_email) FILTER (WHERE m.nth = 1),
            min(m.parent_phone) FILTER (WHERE m.nth = 1), min(m.parent_rule) FILTER (WHERE m.nth = 1)
        FROM member m
        GROUP BY m.label
    )
    SELECT g.label, g.main_row, g.sourced_ids, g.usable, g.active, g.family, g.category, g.rank, g.role,
        g.linked_person, g.role_written, g.joins, coalesce(x.conflict, g.contradiction),
        g.match_given_name, g.match_family_name, g.match_preferred_name, g.match_identifier, g.match_email,
        g.given_name, g.family_name, g.middle_name, g.preferred_name, g.email, g.username, g.identifier, g.grade,
        g.phone, g.parent_name, g.parent_email, g.parent_phone, g.parent_rule
    FROM grouped g LEFT JOIN plan_contradictions x ON x.label = g.label;
    ANALYZE plan_groups (label, linked_person, match_identifier, match_email);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.group_rows(connections) IS
'Fills plan_rows and plan_groups: rows of different staff roles that share a username or identifier without a '
    'contradiction in the other are one person, and so are rows of one role with one identifier that agree in names, '
    'username and email, and rows linked to one person, transitively. A group takes its values from its active rows, '
    'the highest rank first.';
-- Who is who: the people whom each group could be, by link, former ID, identifier or email. Must survive people who
-- contradict a row (it becomes a conflict, and no one in it is changed) and thousands of people with one address or
-- number: no step compares each with each.

CREATE FUNCTION minga_roster_internal.find_former_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT (SELECT s.campus_metadata FROM minga_roster.sis s WHERE s.sis = connection.sis) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('former');
    INSERT INTO plan_told_ids (label, sourced_id, family, legacy_id)
    SELECT o.label, o.sourced_id, o.family, s.legacy_id
    FROM plan_rows o
    JOIN minga_roster.staged_users s ON s.connection = find_former_ids.connection.connection
        AND s.sourced_id = o.sourced_id
    WHERE o.staged AND o.usable AND NOT o.linked AND s.legacy_id IS NOT NULL
        AND o.label NOT IN (SELECT c.label FROM plan_candidates c);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- In OneRoster 1.1 a letter for the role stands before it. Two people of one family behind it tell nothing.
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT t.label, min(p.person_id), 'former id'
    FROM plan_told_ids t
    JOIN (
        SELECT l.person_id, minga_roster_internal.family_of(l.category) AS family,
            unnest(ARRAY[l.sourced_id, substring(l.sourced_id FROM '^[A-Za-z][+]?(.+)$')]) COLLATE "C" AS id
        FROM minga_roster.links l
        WHERE l.connection = find_former_ids.connection.connection
    ) f ON f.id = t.legacy_id AND f.family = t.family
    JOIN plan_people p ON p.person_id = f.person_id
    LEFT JOIN minga_roster.match_decisions d ON d.connection = find_former_ids.connection.connection
        AND d.sourced_id = t.sourced_id AND coalesce(d.person_id, p.person_id) = p.person_id
    GROUP BY t.label
    HAVING count(DISTINCT p.person_id) = 1 AND count(d.sourced_id) = 0;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_former_ids(connections) IS
'Adds to plan_candidates the person whom an unlinked row is by the ID that the row had in OneRoster 1.1, if Infinite '
    'Campus 1.2 tells it: that is exact, no other key of the row is looked at, and the former ID needs no proof of '
    'absence as long as it is not listed.';

CREATE FUNCTION minga_roster_internal.find_keys() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_keys (entry, label, sourced_id, family, identifier, email, given_name, family_name,
        preferred_name)
    SELECT row_number() OVER (), k.*
    FROM (
        SELECT g.label, NULL::text COLLATE "C" AS sourced_id, g.family,
            lower(g.match_identifier COLLATE "C") AS identifier, lower(g.match_email COLLATE "C") AS email,
            g.match_given_name AS given_name, g.match_family_name AS family_name,
            g.match_preferred_name AS preferred_name
        FROM plan_groups g
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff')
            AND (g.match_identifier IS NOT NULL OR g.match_email IS NOT NULL)
            AND g.label NOT IN (SELECT c.label FROM plan_contradictions c)
            AND g.label NOT IN (SELECT f.label FROM plan_candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT DISTINCT g.label, NULL::text COLLATE "C", g.family, lower(g.match_identifier COLLATE "C"),
            lower(o.email COLLATE "C"), g.match_given_name, g.match_family_name, g.match_preferred_name
        FROM plan_groups g
        JOIN plan_rows o ON o.label = g.label AND lower(o.email COLLATE "C") <> lower(g.match_email COLLATE "C")
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff') AND o.standing <> 'absent'
            AND g.label NOT IN (SELECT c.label FROM plan_contradictions c)
            AND g.label NOT IN (SELECT f.label FROM plan_candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT o.label, o.sourced_id, o.family, lower(o.identifier COLLATE "C"), lower(o.email COLLATE "C"),
            o.given_name, o.family_name, o.preferred_name
        FROM plan_contradictions c JOIN plan_rows o ON o.label = c.label
        WHERE o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND (o.identifier IS NOT NULL OR o.email IS NOT NULL)
    ) k;
    ANALYZE plan_keys;
    INSERT INTO plan_candidate_people
    SELECT p.*, lower(p.identifier COLLATE "C"), lower(p.email COLLATE "C")
    FROM plan_people p
    WHERE (EXISTS (SELECT FROM plan_keys) OR EXISTS (SELECT FROM plan_candidates))
        AND (lower(p.identifier COLLATE "C") IN (SELECT k.identifier FROM plan_keys k WHERE k.identifier IS NOT NULL)
            OR lower(p.email COLLATE "C") IN (SELECT k.email FROM plan_keys k WHERE k.email IS NOT NULL)
            OR p.person_id IN (SELECT c.person_id FROM plan_candidates c));
    ANALYZE plan_candidate_people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_keys() IS 'Fills plan_keys and plan_candidate_people.';

CREATE FUNCTION minga_roster_internal.find_found_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_found_people (person_id, archived, identifier_key, email_key, given_name, family_name,
        preferred_name, families, absent)
    SELECT f.*
    FROM (
        SELECT p.person_id, p.archived, p.identifier_key, p.email_key,
            minga_roster_internal.clean_name(p.given_name), minga_roster_internal.clean_name(p.family_name),
            minga_roster_internal.clean_name(p.preferred_name),
            coalesce(l.families, ARRAY[coalesce(minga_roster_internal.role_family(p.role), w.family)]) AS families,
            coalesce(l.absent, false) AS absent
        FROM plan_candidate_people p
        LEFT JOIN (
            -- Proved absent tonight, and not listed by another connection.
            SELECT k.person_id, array_agg(DISTINCT minga_roster_internal.family_of(k.category)) AS families,
                bool_or(k.connection = find_found_people.connection.connection)
                    AND bool_and(CASE WHEN k.connection = find_found_people.connection.connection
                        THEN coalesce(o.standing = 'absent' AND minga_roster_internal.family_of(k.category)
                            IN (SELECT f.family FROM plan_proved_families f), false)
                        ELSE n.retired_at IS NOT NULL OR k.missed_since IS NOT NULL END) AS absent
            FROM minga_roster.links k
            JOIN minga_roster.connections n ON n.connection = k.connection
                AND n.people = find_found_people.connection.people
            LEFT JOIN plan_rows o ON o.sourced_id = k.sourced_id
                AND k.connection = find_found_people.connection.connection
            WHERE k.site = find_found_people.connection.site
                AND k.person_id IN (SELECT c.person_id FROM plan_candidate_people c)
            GROUP BY k.person_id
        ) l ON l.person_id = p.person_id
        LEFT JOIN (SELECT r.role, min(r.family) AS family FROM plan_rules r WHERE r.role IS NOT NULL GROUP BY r.role
            HAVING count(DISTINCT r.family) = 1) w ON w.role = p.role
    ) f
    -- An account that rosters never write is no candidate, unless a roster has linked it.
    WHERE (f.families = ARRAY['other']) IS NOT TRUE;
    ANALYZE plan_found_people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_found_people(connections) IS 'Fills plan_found_people.';

CREATE FUNCTION minga_roster_internal.clean_keys(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_found_keys (entry, label, sourced_id, family, identifier, email, given_name, family_name,
        preferred_name, shared)
    WITH cleaned AS MATERIALIZED (
        SELECT k.entry, k.label, k.sourced_id, k.family, k.identifier, k.email,
            minga_roster_internal.clean_name(k.given_name) AS given_name,
            minga_roster_internal.clean_name(k.family_name) AS family_name,
            minga_roster_internal.clean_name(k.preferred_name) AS preferred_name
        FROM plan_keys k
        WHERE k.identifier IN (SELECT p.identifier_key FROM plan_found_people p WHERE p.identifier_key IS NOT NULL)
            OR k.email IN (SELECT p.email_key FROM plan_found_people p WHERE p.email_key IS NOT NULL)
    ), listed AS MATERIALIZED (
        -- Readable rows, those of one group once.
        SELECT r.family, w.email, min(coalesce(o.label, s.sourced_id)) AS first_label,
            max(coalesce(o.label, s.sourced_id)) AS last_label
        FROM minga_roster.staged_users s
        JOIN plan_rules r ON r.roster_role = s.role
        JOIN (SELECT DISTINCT c.family, c.email FROM cleaned c
            WHERE c.email IN (SELECT p.email_key FROM plan_found_people p WHERE p.email_key IS NOT NULL)) w
            ON w.email = lower(s.email COLLATE "C") AND w.family = r.family
        LEFT JOIN plan_rows o ON o.sourced_id = s.sourced_id
        WHERE s.connection = clean_keys.connection.connection AND NOT s.damaged
            AND coalesce(s.status, 'active') IN ('active', 'inactive')
            AND s.ctid NOT IN (SELECT k.place FROM plan_skipped_rows k)
        GROUP BY r.family, w.email
    ), contradicting AS MATERIALIZED (
        -- Rows that contradict each other could be several people, of whom a readable one has its address.
        SELECT t.family, t.email, min(t.sourced_id) AS first_row, max(t.sourced_id) AS last_row
        FROM cleaned t JOIN plan_rows o ON o.sourced_id = t.sourced_id
        WHERE o.standing NOT IN ('damaged', 'unknown')
        GROUP BY t.family, t.email
    )
    SELECT k.entry, k.label, k.sourced_id, k.family, k.identifier, k.email, k.given_name, k.family_name,
        k.preferred_name,
        coalesce(l.first_label <> k.label OR l.last_label <> k.label, false)
            OR coalesce(c.first_row <> k.sourced_id OR c.last_row <> k.sourced_id, false)
    FROM cleaned k
    LEFT JOIN listed l ON l.family = k.family AND l.email = k.email
    LEFT JOIN contradicting c ON c.family = k.family AND c.email = k.email;
    ANALYZE plan_found_keys;
    INSERT INTO plan_exclusions (entry, person_id)
    SELECT DISTINCT k.entry, d.person_id
    FROM plan_found_keys k
    JOIN plan_rows o ON o.label = k.label AND (k.sourced_id IS NULL OR k.sourced_id = o.sourced_id)
    JOIN plan_decided_rows d ON d.sourced_id = o.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.clean_keys(connections) IS 'Fills plan_found_keys and plan_exclusions.';

CREATE FUNCTION minga_roster_internal.find_pairs() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- If many rows of a family have an identifier of many people, two of these are enough, but the first row names all.
    INSERT INTO plan_crowded (identifier, family, crowded, first_person, last_person, first_entry)
    SELECT k.identifier, k.family, k.entries * p.people > 10000, p.first_person, p.last_person, k.first_entry
    FROM (SELECT identifier, family, count(*) AS entries, min(entry) AS first_entry FROM plan_found_keys
        WHERE identifier IS NOT NULL GROUP BY identifier, family) k
    JOIN (SELECT f.identifier_key, r.family, count(*) AS people,
            min(f.person_id) FILTER (WHERE NOT f.archived) AS first_person,
            max(f.person_id) FILTER (WHERE NOT f.archived) AS last_person
        FROM plan_found_people f CROSS JOIN unnest(ARRAY['student', 'staff']) r (family)
        WHERE f.identifier_key IS NOT NULL AND (r.family = ANY (f.families) OR f.families[1] IS NULL)
        GROUP BY f.identifier_key, r.family) p
        ON p.identifier_key = k.identifier AND p.family = k.family;
    INSERT INTO plan_crowds (entry, label, person_id)
    SELECT k.entry, k.label, p.person_id
    FROM plan_found_keys k
    JOIN plan_crowded c ON c.identifier = k.identifier AND c.family = k.family AND c.crowded
    JOIN plan_found_people p ON p.identifier_key = k.identifier AND NOT p.archived
        AND (k.entry = c.first_entry OR p.person_id IN (c.first_person, c.last_person))
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
    WHERE (k.family = ANY (p.families) OR p.families[1] IS NULL) AND x.entry IS NULL;

    -- A person whom a decision excludes is no candidate, but has the address all the same.
    INSERT INTO plan_pairs (entry, label, person_id, step, archived, known, given_agrees, family_agrees,
        identifiers_differ, absent, excluded)
    SELECT k.entry, k.label, p.person_id, 'identifier', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name, false, p.absent, false
    FROM plan_found_keys k
    JOIN plan_crowded c ON c.identifier = k.identifier AND c.family = k.family AND NOT c.crowded
    JOIN plan_found_people p ON p.identifier_key = k.identifier
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
    WHERE (k.family = ANY (p.families) OR p.families[1] IS NULL) AND x.entry IS NULL
    UNION ALL
    -- An address of one row alone; judge_shared looks at the others.
    SELECT k.entry, k.label, p.person_id, 'e-mail', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name, coalesce(k.identifier <> p.identifier_key, false), p.absent,
        x.entry IS NOT NULL
    FROM plan_found_keys k
    JOIN plan_found_people p ON p.email_key = k.email AND (NOT p.archived OR p.family_name = k.family_name)
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND x.person_id = p.person_id
    WHERE NOT k.shared AND (k.family = ANY (p.families) OR p.families[1] IS NULL)
        AND k.entry NOT IN (SELECT n.entry FROM plan_exclusions n WHERE n.person_id IS NULL);
    ANALYZE plan_pairs;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_pairs() IS 'Fills plan_crowded, plan_crowds and plan_pairs.';

CREATE FUNCTION minga_roster_internal.judge_shared(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM plan_found_keys k WHERE k.shared) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('address');
    -- People of one name at one address are as one.
    INSERT INTO plan_held_addresses (family, email, family_name, given_name, preferred_name, archived, person_id,
        identifier, holder)
    SELECT f.family, p.email_key, p.family_name, p.given_name, p.preferred_name, p.archived, p.person_id,
        p.identifier_key, dense_rank() OVER (ORDER BY f.family, p.email_key, p.family_name, p.given_name,
            p.preferred_name, p.archived)
    FROM plan_found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT k.email FROM plan_found_keys k WHERE k.shared);
    ANALYZE plan_held_addresses (holder);
    INSERT INTO plan_holders (holder, family, email, family_name, given_name, preferred_name, archived, people,
        person_id, identifier)
    SELECT a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived,
        count(*), min(a.person_id), min(a.identifier)
    FROM plan_held_addresses a
    GROUP BY a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived;
    ANALYZE plan_holders;
    INSERT INTO plan_addresses (family, email, people, person_id)
    SELECT f.family, p.email_key, count(*) FILTER (WHERE NOT p.archived AND NOT p.absent),
        min(p.person_id) FILTER (WHERE NOT p.archived AND NOT p.absent)
    FROM plan_found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT h.email FROM plan_holders h)
    GROUP BY f.family, p.email_key;

    INSERT INTO plan_namesakes (entry, label, family, email, person_id, archived, people, identifiers_differ)
    WITH asked AS MATERIALIZED (
        SELECT k.* FROM plan_found_keys k
        WHERE k.shared AND k.given_name IS NOT NULL AND k.family_name IS NOT NULL
    ), begun AS MATERIALIZED (
        SELECT k.entry, k.family, k.email, k.family_name, left(k.given_name, n) AS given_name
        FROM asked k CROSS JOIN LATERAL generate_series(3, length(k.given_name) - 1) n
    ), begun_holders AS MATERIALIZED (
        SELECT h.person_id, h.family, h.email, h.family_name, left(h.given_name, n) AS given_name
        FROM plan_holders h CROSS JOIN LATERAL generate_series(3, length(h.given_name) - 1) n
    ), found AS (
        SELECT k.entry, h.person_id FROM asked k JOIN plan_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM begun k JOIN plan_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM asked k JOIN begun_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN plan_holders h ON h.family = k.family AND h.email = k.email
            AND h.family_name = k.family_name AND h.preferred_name = k.given_name
        WHERE h.given_name IS NOT NULL
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN plan_holders h ON h.family = k.family AND h.email = k.email
            AND h.family_name = k.family_name AND h.given_name = k.preferred_name
    )
    SELECT k.entry, k.label, k.family, k.email, f.person_id, h.archived, h.people,
        coalesce(k.identifier <> h.identifier, false)
    FROM found f
    JOIN plan_found_keys k ON k.entry = f.entry
    JOIN plan_holders h ON h.person_id = f.person_id AND h.family = k.family AND h.email = k.email
    LEFT JOIN plan_exclusions x ON x.entry = k.entry
        AND (x.person_id IS NULL OR (x.person_id = f.person_id AND h.people = 1))
    WHERE x.entry IS NULL;

    -- The person who alone has the address, and whose own row of the roster has it too, or is of a role whose
    -- addresses are not staged.
    INSERT INTO plan_listed_holders (family, email, person_id)
    SELECT DISTINCT a.family, a.email, a.person_id
    FROM plan_addresses a
    JOIN minga_roster.links l ON l.connection = judge_shared.connection.connection AND l.person_id = a.person_id
    JOIN minga_roster.staged_users s ON s.connection = l.connection AND s.sourced_id = l.sourced_id
    LEFT JOIN plan_rules r ON r.roster_role = s.role
    WHERE a.people = 1 AND NOT s.damaged AND coalesce(s.status, 'active') IN ('active', 'inactive')
        AND (lower(s.email COLLATE "C") = a.email OR (r.family IN ('student', 'staff')) IS NOT TRUE);

    INSERT INTO plan_shared_verdicts (entry, label, person_id, verdict)
    WITH verdict AS MATERIALIZED (
        SELECT n.entry, n.label, n.person_id,
            CASE WHEN coalesce(a.people, 0) + n.archived_people > 1 THEN 'address_of_two'
                WHEN n.identifiers_differ THEN 'identifiers_differ'
                WHEN h.person_id IS NOT NULL THEN 'candidate_linked'
                ELSE 'address_shared' END AS verdict
        FROM (
            SELECT s.*, coalesce(sum(s.people) FILTER (WHERE s.archived) OVER (PARTITION BY s.entry), 0)
                AS archived_people
            FROM plan_namesakes s
        ) n
        JOIN plan_addresses a ON a.family = n.family AND a.email = n.email
        LEFT JOIN plan_listed_holders h ON h.family = n.family AND h.email = n.email AND h.person_id = n.person_id
        UNION ALL
        -- The row of a person who may have got another name since.
        SELECT k.entry, k.label, p.person_id, CASE WHEN k.identifier <> p.identifier_key THEN 'identifiers_differ'
            ELSE 'candidate_linked' END
        FROM plan_found_keys k
        JOIN plan_listed_holders h ON h.family = k.family AND h.email = k.email
        JOIN plan_found_people p ON p.person_id = h.person_id
        LEFT JOIN plan_namesakes s ON s.entry = k.entry
        LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
        WHERE k.shared AND s.entry IS NULL AND x.entry IS NULL
            AND minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name,
                p.preferred_name)
    ), named AS (
        SELECT v.entry, v.label, v.person_id, v.verdict FROM verdict v
        UNION ALL
        -- A row that has both names of one of them could be another of the same names; very many are named by the
        -- first row alone.
        SELECT v.entry, v.label, p.person_id, v.verdict
        FROM (
            SELECT t.*, min(t.entry) OVER (PARTITION BY t.person_id) AS first_entry
            FROM verdict t WHERE t.entry IN (SELECT s.entry FROM plan_namesakes s)
        ) v
        JOIN plan_found_keys k ON k.entry = v.entry
        JOIN plan_holders h ON h.person_id = v.person_id AND h.family = k.family AND h.email = k.email
            AND h.people > 1
        JOIN plan_held_addresses p ON p.holder = h.holder AND p.person_id <> v.person_id
        WHERE h.people <= 100 OR v.entry = v.first_entry
    )
    SELECT n.entry, n.label, n.person_id, n.verdict
    FROM named n LEFT JOIN plan_exclusions x ON x.entry = n.entry AND x.person_id = n.person_id
    WHERE x.entry IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_shared(connections) IS
'Fills plan_shared_verdicts: rows whose email address other rows have too, so that it is no key, but that could be a '
    'person of the family who has it: by both names, or by the given name if a row of that one person alone has it.';

CREATE FUNCTION minga_roster_internal.judge_keys(this_round integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- By identifier: active people but for leavers with another name, archived ones with the same; a person who has a
    -- part of it is in the way.
    INSERT INTO plan_by_identifier (round, entry, label, person_id, counts, differ)
    SELECT this_round, c.entry, c.label, c.person_id, c.counts, NOT c.suffices
    FROM (
        SELECT s.*, s.suffices OR NOT s.archived AS counts,
            bool_or(s.suffices OR NOT s.archived) OVER (PARTITION BY s.entry) AS any_counts
        FROM (
            SELECT p.*, minga_roster_internal.names_suffice(p.archived, p.known, p.given_agrees, p.family_agrees)
                    AS suffices,
                p.absent AND (p.family_agrees IS DISTINCT FROM false
                    OR p.person_id NOT IN (SELECT r.person_id FROM plan_returned_people r)) AS is_absent
            FROM plan_pairs p WHERE p.step = 'identifier'
        ) s
        WHERE (NOT s.given_agrees AND NOT s.family_agrees AND (s.archived OR s.is_absent)) IS NOT TRUE
    ) c
    WHERE c.counts OR NOT c.any_counts;

    -- By email: the only person of the family who has the address, of archived people those of the same name.
    INSERT INTO plan_by_email (round, entry, label, person_id, archived, given_agrees, family_agrees,
        identifiers_differ, excluded, holders)
    SELECT this_round, p.entry, p.label, p.person_id, p.archived, p.given_agrees, p.family_agrees,
        p.identifiers_differ, p.excluded, count(*) OVER (PARTITION BY p.entry)
    FROM plan_pairs p
    WHERE p.step = 'e-mail' AND p.known
        AND CASE WHEN p.archived THEN coalesce(p.given_agrees AND p.family_agrees, false)
            ELSE (p.absent AND p.person_id NOT IN (SELECT r.person_id FROM plan_returned_people r)
                AND NOT p.family_agrees AND (NOT p.given_agrees OR p.identifiers_differ)) IS NOT TRUE END;

    -- If the identifier has told, the address has a say only if it is one row's and one person's, and tells another.
    INSERT INTO plan_told (round, entry, person_id, sure)
    SELECT this_round, b.entry, min(b.person_id), count(*) = 1 AND bool_and(NOT b.differ)
    FROM plan_by_identifier b WHERE b.round = this_round GROUP BY b.entry
    UNION ALL
    SELECT DISTINCT this_round, c.entry, NULL::text, false FROM plan_crowds c;
    INSERT INTO plan_told_twice (round, label, person_id)
    SELECT DISTINCT this_round, b.label, b.person_id
    FROM plan_by_email b JOIN plan_told t ON t.entry = b.entry AND t.round = this_round AND t.sure
    WHERE b.round = this_round AND b.holders = 1 AND NOT b.archived AND NOT b.excluded AND b.given_agrees
        AND b.person_id <> t.person_id;
    INSERT INTO plan_key_verdicts (round, entry, label, person_id, verdict)
    SELECT this_round, v.*
    FROM (
        SELECT b.entry, b.label, b.person_id,
            CASE
                WHEN b.holders > 1 THEN 'address_of_two'
                WHEN b.identifiers_differ THEN 'identifiers_differ'
                WHEN coalesce(b.given_agrees, false) THEN 'found'
                ELSE 'names_differ'
            END
        FROM plan_by_email b
        WHERE b.round = this_round AND NOT b.excluded
            AND CASE WHEN b.holders > 1 THEN coalesce(b.given_agrees AND b.family_agrees, false)
                -- With another name and another number it is another person at the same address.
                ELSE (b.identifiers_differ AND NOT b.given_agrees) IS NOT TRUE END
        UNION ALL
        SELECT p.entry, p.label, p.person_id, 'family_unknown'
        FROM plan_pairs p
        WHERE p.step = 'e-mail' AND NOT p.known AND NOT p.excluded AND p.given_agrees AND p.family_agrees
            AND p.entry NOT IN (SELECT b.entry FROM plan_by_email b WHERE b.round = this_round)
        UNION ALL
        SELECT s.entry, s.label, s.person_id, s.verdict FROM plan_shared_verdicts s
    ) v
    WHERE v.entry NOT IN (SELECT t.entry FROM plan_told t WHERE t.round = this_round);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_keys(integer) IS
'Fills plan_by_identifier, plan_by_email, plan_told, plan_told_twice and plan_key_verdicts for a round.';

CREATE FUNCTION minga_roster_internal.match_by_keys(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    last_round integer := 1;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('match');
    PERFORM minga_roster_internal.find_found_people(connection);
    PERFORM minga_roster_internal.clean_keys(connection);
    PERFORM minga_roster_internal.find_pairs();
    PERFORM minga_roster_internal.judge_shared(connection);
    PERFORM minga_roster_internal.judge_keys(1);
    -- A person whom a row could be tonight is not absent. Only keys of people of another family name ask for that, and
    -- people who return bring no one else back.
    IF EXISTS (SELECT FROM plan_pairs p WHERE p.absent AND NOT p.family_agrees) THEN
        INSERT INTO plan_returned_people (person_id)
        SELECT DISTINCT p.person_id
        FROM plan_pairs p
        WHERE p.absent AND NOT p.family_agrees AND p.person_id IN (
            SELECT c.person_id FROM plan_candidates c
            UNION ALL
            SELECT b.person_id FROM plan_by_identifier b
            UNION ALL
            SELECT c.person_id FROM plan_crowds c
            UNION ALL
            SELECT t.person_id FROM plan_told_twice t
            UNION ALL
            SELECT v.person_id FROM plan_key_verdicts v);
        IF FOUND THEN
            PERFORM minga_roster_internal.judge_keys(2);
            last_round := 2;
        END IF;
    END IF;
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT DISTINCT b.label, b.person_id, 'identifier' FROM plan_by_identifier b WHERE b.round = last_round
    UNION ALL
    SELECT DISTINCT c.label, c.person_id, 'identifier' FROM plan_crowds c
    UNION ALL
    SELECT t.label, t.person_id, 'e-mail' FROM plan_told_twice t WHERE t.round = last_round
    UNION ALL
    SELECT DISTINCT v.label, v.person_id, 'e-mail' FROM plan_key_verdicts v WHERE v.round = last_round;
    INSERT INTO plan_found_conflicts (label, conflict, priority)
    SELECT DISTINCT c.label, 'several_candidates', 2 FROM plan_crowds c
    UNION ALL
    SELECT b.label, CASE WHEN count(*) > 1 AND bool_and(b.counts) THEN 'several_candidates' ELSE 'names_differ' END, 2
    FROM plan_by_identifier b
    WHERE b.round = last_round
    GROUP BY b.entry, b.label
    HAVING count(*) > 1 OR bool_or(b.differ) OR NOT bool_and(b.counts)
    UNION ALL
    SELECT DISTINCT t.label, 'two_people_by_keys', 3 FROM plan_told_twice t WHERE t.round = last_round
    UNION ALL
    SELECT DISTINCT v.label, v.verdict, 4 FROM plan_key_verdicts v WHERE v.round = last_round AND v.verdict <> 'found'
    UNION ALL
    SELECT v.label, 'two_people_by_keys', 3
    FROM plan_key_verdicts v
    WHERE v.round = last_round AND v.verdict = 'found'
    GROUP BY v.label HAVING count(DISTINCT v.person_id) > 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_by_keys(connections) IS
'Adds to plan_candidates and plan_found_conflicts what identifiers and email addresses tell of the groups in '
    'plan_keys.';

CREATE FUNCTION minga_roster_internal.match_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT g.label, g.linked_person, 'link' FROM plan_groups g WHERE g.linked_person IS NOT NULL
    UNION
    SELECT p.label, p.person_id, 'row' FROM plan_named_people p;
    PERFORM minga_roster_internal.find_former_ids(connection);
    PERFORM minga_roster_internal.find_keys();
    INSERT INTO plan_found_conflicts (label, conflict, priority)
    SELECT g.label, g.contradiction, 1 FROM plan_groups g WHERE g.contradiction IS NOT NULL;
    IF EXISTS (SELECT FROM plan_keys) THEN
        PERFORM minga_roster_internal.match_by_keys(connection);
    END IF;
    ANALYZE plan_candidates;

    IF EXISTS (SELECT FROM plan_candidates c WHERE c.step <> 'link') THEN
        INSERT INTO plan_found_conflicts (label, conflict, priority)
        SELECT c.label, 'candidate_linked', 5
        FROM plan_candidates c
        JOIN minga_roster.links l ON l.person_id = c.person_id AND l.connection = connection.connection
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id
        WHERE c.step IN ('former id', 'identifier', 'e-mail') AND NOT coalesce(o.standing = 'absent'
            AND (c.step = 'former id' OR minga_roster_internal.family_of(l.category)
                IN (SELECT f.family FROM plan_proved_families f)), false)
        UNION ALL
        SELECT c.label, 'names_differ', 5
        FROM plan_candidates c JOIN plan_groups g USING (label) JOIN plan_candidate_people p USING (person_id)
        WHERE c.step = 'former id'
            AND minga_roster_internal.clean_name(p.family_name)
                <> minga_roster_internal.clean_name(g.match_family_name)
            AND NOT minga_roster_internal.given_names_agree(minga_roster_internal.clean_name(p.given_name),
                minga_roster_internal.clean_name(p.preferred_name),
                minga_roster_internal.clean_name(g.match_given_name),
                minga_roster_internal.clean_name(g.match_preferred_name))
        UNION ALL
        -- Rows that are linked go on.
        SELECT c.label, 'several_rows', 6
        FROM plan_candidates c
        WHERE c.step <> 'link' AND c.person_id IN (SELECT t.person_id FROM plan_candidates t WHERE t.step <> 'link'
            GROUP BY t.person_id HAVING count(DISTINCT t.label) > 1);
    END IF;
    INSERT INTO plan_conflicts (label, conflict)
    SELECT DISTINCT ON (f.label) f.label, f.conflict FROM plan_found_conflicts f
    ORDER BY f.label, f.priority, f.conflict;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_groups(connections) IS
'Fills plan_candidates (the people whom each group could be: by link, else by identifier within a family, else by an '
    'e-mail address that is unique on both sides; never a person whom roster_decide excluded) and plan_conflicts '
    '(groups for which nothing is done, and the code of why).';
-- The verdicts: what is to be done for each group of rows, as if nothing spoke against it. Written once; what overrules
-- a verdict is a row of plan_vetoes. Must survive anything that the steps before have left open: what is not certain
-- changes no one.

CREATE FUNCTION minga_roster_internal.judge_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    words jsonb := (SELECT r.archive_words FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    local_columns text[] := minga_roster_internal.local_columns(connection.connection);
    -- The columns of the values below, in their order; NULL: one that is not written.
    columns_of_new text[] := ARRAY(SELECT CASE WHEN map ? c.name THEN c.name END
        FROM unnest(ARRAY['given_name', 'family_name', 'middle_name', 'preferred_name', 'email', 'username',
            'identifier', 'grade', 'phone', 'parent_name', 'parent_email', 'parent_phone', 'parent_rule'])
            WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    columns_of_known text[] := ARRAY(
        SELECT CASE WHEN minga_roster_internal.ownership_unit(c.name) <> ALL (local_columns) THEN c.name END
        FROM unnest(columns_of_new) WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    columns_of_parent text[] := ARRAY(SELECT c FROM unnest(columns_of_new) c WHERE c LIKE 'parent\_%');
    none text[] := array_fill(NULL::text, ARRAY[cardinality(columns_of_new)]);
BEGIN
    INSERT INTO plan_verdicts
    WITH kept_rank AS MATERIALIZED (
        -- The ranks of rows that are not active: a person keeps such a rank, but never rises to it, with the role that
        -- was written (a new person: with the role of the new account); one who never got a role, marked by an empty
        -- text, has the best.
        SELECT DISTINCT ON (r.label, r.role_written) r.*
        FROM (
            SELECT o.label, unnest(ARRAY[c.role, CASE WHEN c.rostered THEN '' END]) AS role_written, c.category,
                c.role, c.rank, c.rostered
            FROM (
                SELECT n.label, CASE WHEN n.standing = 'inactive' OR (n.standing = 'active' AND n.family <> 'contact')
                    THEN n.category ELSE n.link_category END AS category
                FROM plan_rows n
                WHERE n.standing <> 'absent' AND NOT (n.usable AND n.standing = 'active')
                    AND (n.usable OR n.person_id IS NOT NULL)
                UNION ALL
                SELECT k.label, n.link_category
                FROM plan_rows n JOIN plan_candidates k ON k.person_id = n.person_id
                WHERE n.standing = 'absent' AND minga_roster_internal.family_of(n.link_category)
                    NOT IN (SELECT f.family FROM plan_proved_families f)
            ) o JOIN plan_categories c ON c.category = o.category
        ) r
        WHERE r.role_written IS NOT NULL
        ORDER BY r.label, r.role_written, r.rank
    ), moved AS MATERIALIZED (
        SELECT o.person_id, min(o.role_written) AS role_written, min(o.linked_run) AS linked_run
        FROM plan_rows o WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id
    ), edited AS MATERIALIZED (
        -- Columns that are the SIS's unless edited, and were edited.
        SELECT p.person_id, array_agg(w.column_name) AS columns
        FROM minga_roster.written_values w
        JOIN plan_candidate_people p ON p.person_id = w.person_id
        WHERE w.connection = judge_groups.connection.connection
            AND w.hash IS DISTINCT FROM minga_roster_internal.written_hash(w.column_name, to_jsonb(p))
        GROUP BY p.person_id
    ), matched AS (
        SELECT g.*, c.person_id, c.step, k.conflict, n.person_id AS named_person,
            coalesce(g.role_written, v.role_written) AS last_role, v.linked_run AS first_run,
            CASE WHEN h.rank < g.rank AND h.rostered THEN h.category ELSE g.category END AS due_category,
            CASE WHEN h.rank < g.rank AND h.role = coalesce(g.role_written, v.role_written) THEN h.role
                ELSE g.role END AS due_role,
            coalesce(x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1), false) AS owned_elsewhere
        FROM plan_groups g
        LEFT JOIN plan_conflicts k ON k.label = g.label
        LEFT JOIN plan_candidates c ON c.label = g.label AND k.label IS NULL
        LEFT JOIN (SELECT label, min(person_id) AS person_id FROM plan_candidates
            GROUP BY label HAVING count(DISTINCT person_id) = 1) n ON n.label = k.label
        LEFT JOIN plan_special_people x ON x.person_id = c.person_id
        LEFT JOIN moved v ON v.person_id = c.person_id
        LEFT JOIN kept_rank h ON h.label = g.label AND k.label IS NULL
            AND minga_roster_internal.family_of(h.category) = g.family
            AND h.role_written = coalesce(g.role_written, v.role_written,
                CASE WHEN c.person_id IS NULL THEN g.role ELSE '' END)
        WHERE g.usable
        -- As it is, no part of it is computed twice, and none of it is kept.
        OFFSET 0
    ), faced AS (
        SELECT m.*, r.auto_update AND NOT m.owned_elsewhere AS auto_update,
            p.archived, p.protection, p.status AS status_now, p.archived_at AS archived_at_now,
            CASE WHEN writes_role THEN (v.before - k.names) || jsonb_build_object('role', p.role)
                ELSE v.before - k.names END AS before,
            CASE WHEN writes_role THEN (v.after - k.names) || jsonb_build_object('role', m.due_role)
                ELSE v.after - k.names END AS after
        FROM matched m
        JOIN plan_categories r ON r.category = m.due_category
        LEFT JOIN plan_candidate_people p ON p.person_id = m.person_id
        LEFT JOIN edited e ON e.person_id = m.person_id
        LEFT JOIN plan_as_sent z ON z.person_id = m.person_id
        -- A contact with a rule beside it was written by a roster; any other is the school's own.
        LEFT JOIN plan_parents gone ON gone.sourced_id = m.main_row AND gone.parent_name IS NULL
            AND p.parent_rule IS NOT NULL
        CROSS JOIN LATERAL (SELECT p.person_id IS NULL
            OR (m.last_role IS NOT NULL AND m.due_role <> m.last_role
                AND ((p.role = m.last_role AND p.role_first)
                    OR z.sent ->> 'role' = minga_roster_internal.value_hash(m.last_role)::text)
                AND (z.sent ->> 'role') IS DISTINCT FROM minga_roster_internal.value_hash(m.due_role)::text)
        ) w (writes_role)
        CROSS JOIN LATERAL minga_roster_internal.changed_values(
            CASE
                WHEN p.person_id IS NULL AND NOT m.active THEN none
                WHEN p.person_id IS NULL THEN columns_of_new
                WHEN e.columns IS NULL THEN columns_of_known
                ELSE ARRAY(
                    SELECT CASE WHEN minga_roster_internal.ownership_unit(c.name) <> ALL (e.columns) THEN c.name END
                    FROM unnest(columns_of_known) WITH ORDINALITY c (name, nth) ORDER BY c.nth)
            END,
            CASE WHEN m.parent_name IS NOT NULL OR gone.sourced_id IS NOT NULL THEN columns_of_parent END,
            p.given_name, m.given_name, p.family_name, m.family_name, p.middle_name, m.middle_name,
            p.preferred_name, m.preferred_name, p.email, m.email, p.username, m.username, p.identifier, m.identifier,
            p.grade, m.grade, p.phone, m.phone, p.parent_name, m.parent_name, p.parent_email, m.parent_email,
            p.parent_phone, m.parent_phone, p.parent_rule, m.parent_rule) v
        -- What the relation made of a value that it was sent is as it should be.
        CROSS JOIN LATERAL (SELECT CASE WHEN z.sent IS NULL OR v.after = '{}' THEN '{}'
            ELSE ARRAY(SELECT k.key FROM jsonb_each_text(v.after) k
                WHERE z.sent ->> k.key = minga_roster_internal.value_hash(k.value)::text) END::text[]) k (names)
        OFFSET 0
    ), judged AS MATERIALIZED (
        SELECT f.*,
            CASE
                WHEN f.conflict IS NOT NULL THEN 'conflict'
                WHEN f.person_id IS NULL AND NOT f.active THEN 'skip'
                WHEN f.person_id IS NULL AND (f.given_name IS NULL OR f.family_name IS NULL) THEN 'reject'
                WHEN f.person_id IS NULL THEN 'create'
                WHEN f.protection IS NOT NULL THEN 'protect'
                WHEN f.archived AND NOT f.active THEN 'skip'
                WHEN f.archived THEN 'restore'
                WHEN f.auto_update AND f.after <> '{}' THEN 'update'
                WHEN f.joins THEN 'link'
                WHEN f.after <> '{}' THEN 'skip'
                ELSE 'unchanged'
            END AS outcome
        FROM faced f
    ), restored AS MATERIALIZED (
        -- The status before a run archived the person, else the word for active. An archive by a time says nothing of a
        -- status.
        SELECT DISTINCT ON (d.person_id) d.person_id,
            CASE WHEN c.run IS NULL THEN words ->> 'active' ELSE c.before ->> 'archived_at' END AS status
        FROM judged d
        LEFT JOIN minga_roster.links l ON l.site = connection.site AND l.person_id = d.person_id
            AND l.archived_run IS NOT NULL
        LEFT JOIN minga_roster.changes c ON c.site = connection.site AND c.person_id = d.person_id
            AND c.action = 'archive' AND c.state = 'applied' AND l.archived_run IN (c.run, c.done_by)
            AND c.after ->> 'archived_at' = words ->> 'archived'
        WHERE d.outcome = 'restore' AND words <> '{}'
        ORDER BY d.person_id, c.run DESC NULLS LAST
    )
    SELECT d.label, d.main_row, d.sourced_ids, coalesce(d.person_id, d.named_person), d.step, d.due_category,
        d.due_role, d.last_role, d.first_run, d.outcome,
        d.joins AND d.outcome IN ('create', 'protect', 'restore', 'update', 'link'),
        CASE WHEN d.outcome IN ('update', 'restore') AND d.auto_update THEN d.before ELSE '{}' END
            || CASE WHEN d.outcome = 'restore' THEN jsonb_build_object('archived_at',
                coalesce(to_jsonb(d.status_now), to_jsonb(d.archived_at_now))) ELSE '{}' END,
        CASE WHEN d.outcome = 'create' OR (d.outcome IN ('update', 'restore') AND d.auto_update) THEN d.after
            ELSE '{}' END
            || CASE WHEN d.outcome = 'restore' THEN jsonb_build_object('archived_at', r.status) ELSE '{}' END,
        CASE
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN d.outcome = 'reject' THEN 'incomplete'
            WHEN d.outcome = 'create' THEN 'new'
            WHEN d.outcome = 'protect' THEN 'protected'
            WHEN d.step = 'link' AND d.joins THEN 'same person'
            WHEN d.step = 'link' THEN 'linked'
            ELSE d.step
        END,
        CASE WHEN d.outcome = 'protect' AND d.protection = 'other_role' THEN 'other_role'
            WHEN d.outcome = 'update' AND d.after -> 'parent_rule' = 'null' THEN
                CASE WHEN EXISTS (SELECT FROM jsonb_each(d.after) a WHERE a.value <> 'null')
                    THEN 'parent_gone_and_more' ELSE 'parent_gone' END
        END,
        -- A protection is told if something would have been done.
        d.outcome IN ('conflict', 'reject', 'create', 'restore', 'update', 'link')
            OR (d.outcome = 'protect' AND (d.joins OR (d.archived AND d.active)
                OR (NOT d.archived AND d.auto_update AND d.after <> '{}'))),
        d.conflict
    FROM judged d
    LEFT JOIN restored r ON r.person_id = d.person_id AND d.outcome = 'restore';
    ANALYZE plan_verdicts (label, person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_groups(connections) IS
'Fills plan_verdicts: for each group with a usable row the outcome of its main row, and the change.';
-- What overrules a verdict: each is a row of plan_vetoes, one for a verdict at most; the first one counts. A veto makes
-- a conflict of it, or a held change that waits for a person. Must survive that a SIS gives its people new IDs, that a
-- roster is connected to the wrong site, and unique indexes that no one mentioned.

CREATE FUNCTION minga_roster_internal.veto_collisions(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    names jsonb := (SELECT jsonb_object_agg(m.value, m.key) FROM jsonb_each_text(map) m
        WHERE m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    index minga_roster_internal.unique_key;
BEGIN
    IF NOT EXISTS (SELECT FROM plan_verdicts d WHERE d.outcome IN ('create', 'update', 'restore')) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('unique');
    FOR index IN
        -- IDs are drawn by the relation itself.
        SELECT * FROM minga_roster_internal.unique_keys(people) k
        WHERE NOT map ->> 'person_id' = ANY (k.attributes)
            AND (names ?| k.attributes OR map ->> 'archived_at' = ANY (k.attributes))
    LOOP
        INSERT INTO plan_values (index_name, label, person_id, outcome, after)
        SELECT index.index_name, d.label, CASE WHEN d.outcome <> 'create' THEN d.person_id END, d.outcome, d.after
        FROM plan_verdicts d
        WHERE d.outcome = 'create' OR (d.outcome = 'restore' AND map ->> 'archived_at' = ANY (index.attributes))
            OR (d.outcome IN ('update', 'restore')
                AND d.after ?| ARRAY(SELECT names ->> a FROM unnest(index.attributes) a WHERE names ? a));
        CONTINUE WHEN NOT FOUND;
        BEGIN
            -- The only table that is made for a run: its columns are the index's.
            PERFORM minga_roster_internal.make_key_table(index);
            PERFORM minga_roster_internal.grant_temp(people, 'plan_index_keys', 'SELECT, INSERT');
            PERFORM minga_roster_internal.grant_temp(people, 'plan_values', 'SELECT');
            PERFORM minga_roster_internal.as_owner(people,
                minga_roster_internal.planned_keys_statement(people, index), connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.holders_query(people, index), 'pg_temp.plan_collisions',
                connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.repeated_keys_query(index), 'pg_temp.plan_collisions', index.index_name);
            PERFORM minga_roster_internal.revoke_temp(people, 'plan_values');
            DROP TABLE plan_index_keys;
        EXCEPTION
            -- A value that does not fit its column keeps the index from being checked, and no one else from being
            -- written. So does a key or a predicate of the whole row.
            WHEN data_exception OR integrity_constraint_violation OR raise_exception OR undefined_function
                OR undefined_table THEN
                NULL;
        END;
    END LOOP;
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT DISTINCT ON (s.label) s.label, 'conflict', 'not_unique',
        jsonb_strip_nulls(jsonb_build_object('index', s.index_name, 'person', s.other,
            'absent', p.archived OR EXISTS (SELECT FROM plan_rows o WHERE o.person_id = s.other
                AND o.standing = 'absent')))
    FROM plan_collisions s LEFT JOIN plan_people p ON p.person_id = s.other
    ORDER BY s.label, s.other IS NULL, s.index_name;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_collisions(connections) IS
'Makes a conflict of each verdict whose values a unique index of the people relation would refuse, because of a person '
    'there or of another verdict.';

CREATE FUNCTION minga_roster_internal.veto_changed_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF (SELECT count(*) FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE v.label IS NULL AND d.links AND d.step IN ('former id', 'identifier', 'e-mail')
            AND d.first_run IS NOT NULL) < 5
    THEN
        RETURN;
    END IF;
    WITH move AS MATERIALIZED (
        SELECT d.label, d.person_id, d.step = 'former id' AS exact
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE v.label IS NULL AND d.links AND d.step IN ('former id', 'identifier', 'e-mail')
            AND d.first_run IS NOT NULL
    ), linked AS MATERIALIZED (
        SELECT DISTINCT ON (l.person_id) l.person_id, l.category, p.archived
        FROM minga_roster.links l
        JOIN plan_categories c ON c.category = l.category
        JOIN plan_people p ON p.person_id = l.person_id
        WHERE l.connection = veto_changed_ids.connection.connection
        ORDER BY l.person_id, l.missed_since DESC NULLS FIRST, c.rank
    ), figures AS (
        SELECT l.category, count(*) AS people, count(m.person_id) AS moved, count(*) FILTER (WHERE m.exact) AS exact
        FROM linked l LEFT JOIN move m ON m.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY l.category
    ), many AS (
        SELECT f.*, sum(f.moved) OVER () AS moved_in_all FROM figures f WHERE f.moved > 0 AND f.moved * 3 >= f.people
    ), changed AS (
        INSERT INTO plan_changed_ids (category, figures)
        SELECT m.category, jsonb_build_object('moved', m.moved, 'people', m.people, 'exact', m.exact)
        FROM many m WHERE m.moved_in_all >= 5
        RETURNING category, figures
    )
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT m.label, 'held', 'ids_changed', i.figures
    FROM move m JOIN linked l ON l.person_id = m.person_id JOIN changed i ON i.category = l.category
    UNION ALL
    -- A person whom no key tells may be a known person with a new ID too.
    SELECT d.label, 'held', 'ids_changed', i.figures
    FROM plan_verdicts d
    JOIN changed i ON i.category = d.category
    LEFT JOIN plan_vetoes v ON v.label = d.label
    WHERE d.outcome = 'create' AND v.label IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_changed_ids(connections) IS
'Fills plan_changed_ids: the categories of which at least a third of the people, and at least five people in all, are '
    'found under another sourcedId while their own is absent. Holds their links and the creates of these categories; '
    'the guard holds the archives.';

CREATE FUNCTION minga_roster_internal.veto_withheld_identifiers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    WITH standing AS MATERIALIZED (
        SELECT d.* FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label WHERE v.label IS NULL
    ), unsettled AS (
        SELECT g.family, lower(g.match_identifier COLLATE "C") AS identifier
        FROM plan_groups g
        JOIN plan_candidates c ON c.label = g.label AND c.step = 'e-mail'
        LEFT JOIN standing o ON o.label = g.label AND o.links
        WHERE g.match_identifier IS NOT NULL AND o.label IS NULL
        GROUP BY 1, 2
    )
    SELECT d.label, 'conflict', 'identifier_withheld', NULL
    FROM standing d
    JOIN unsettled u ON u.identifier = lower((d.after ->> 'identifier') COLLATE "C")
        AND u.family = minga_roster_internal.family_of(d.category)
    WHERE d.outcome IN ('create', 'update', 'restore');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_withheld_identifiers() IS
'Makes a conflict of each verdict that would give a person the identifier of a row that could be another person by '
    'e-mail, but is linked to no one tonight: the identifier comes first, so the next sync would take that row for the '
    'person who got it.';

CREATE FUNCTION minga_roster_internal.veto_new_site(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- A mistyped site has no people, so everyone of the right site would be created a second time.
    IF EXISTS (SELECT FROM plan_people) OR NOT EXISTS (SELECT FROM plan_verdicts d WHERE d.outcome = 'create')
        OR EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = veto_new_site.connection.connection)
        OR minga_roster_internal.as_owner(connection.people,
            minga_roster_internal.any_person_query(connection.people)) = 0
    THEN
        RETURN;
    END IF;
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT d.label, 'held', 'new_site', jsonb_build_object('site', connection.site)
    FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
    WHERE d.outcome = 'create' AND v.label IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_new_site(connections) IS
'Holds all creates for a site without people, if the people relation has people of other sites and the connection has '
    'linked no one yet: the site may be mistyped.';

CREATE FUNCTION minga_roster_internal.settle_verdicts() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_decisions
    SELECT d.label, d.main_row, d.sourced_ids, d.person_id, d.step, d.category, d.last_role, d.first_run,
        d.outcome,
        CASE WHEN v.outcome = 'conflict' THEN 'conflict'
            WHEN v.cause = 'mass_update' AND d.links THEN 'link'
            WHEN v.outcome = 'held' THEN 'skip'
            ELSE d.outcome END,
        d.links AND (v.label IS NULL OR v.cause = 'mass_update'),
        CASE WHEN v.outcome = 'conflict' OR (v.cause = 'ids_changed' AND d.outcome <> 'create') THEN '{}'
            ELSE d.before END,
        CASE WHEN v.outcome = 'conflict' OR (v.cause = 'ids_changed' AND d.outcome <> 'create') THEN '{}'
            ELSE d.after END,
        CASE v.cause WHEN 'not_unique' THEN 'unique index' WHEN 'identifier_withheld' THEN 'conflict' ELSE d.rule END,
        d.detail, d.told OR v.label IS NOT NULL,
        CASE WHEN v.outcome = 'conflict' THEN v.cause ELSE d.conflict END,
        CASE WHEN v.outcome = 'held' THEN CASE v.cause WHEN 'mass_update' THEN 'update' WHEN 'new_site' THEN 'create'
            WHEN 'ids_changed' THEN CASE WHEN d.outcome = 'create' THEN 'create' ELSE 'link' END END END,
        CASE WHEN v.outcome = 'held' THEN v.cause END,
        v.figures
    FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label;
    ANALYZE plan_decisions (label, person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_verdicts() IS
'Fills plan_decisions: each verdict as its veto, if there is one, leaves it.';
-- The links as the run would leave them: which are new, which move from an absent sourcedId to the one that took its
-- place, which go missing or return. Planned before the guard, whose base they are.

CREATE FUNCTION minga_roster_internal.plan_links() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_links (sourced_id, deed, label, person_id, category, rule, linked_run, missing, returned)
    WITH settled AS MATERIALIZED (
        SELECT d.label, d.person_id, d.links AND v.label IS NULL AS links, d.step, d.rule, d.first_run
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE d.outcome NOT IN ('conflict', 'reject') AND v.outcome IS DISTINCT FROM 'conflict'
    ), come AS MATERIALIZED (
        SELECT o.sourced_id, CASE WHEN o.linked THEN 'replace' ELSE 'insert' END AS deed, s.label, s.person_id,
            o.category, s.rule, s.first_run
        FROM settled s JOIN plan_rows o ON o.label = s.label
        WHERE s.links AND o.usable AND o.person_id IS NULL
    ), gone AS MATERIALIZED (
        -- A link moves from an absent sourcedId to the one that took its place.
        SELECT o.sourced_id, min(s.label) AS label
        FROM settled s JOIN plan_rows o ON o.person_id = s.person_id
        WHERE s.links AND s.step IN ('former id', 'identifier', 'e-mail') AND o.standing = 'absent' AND o.linked
        GROUP BY o.sourced_id
    ), kept AS (
        SELECT o.sourced_id,
            CASE WHEN s.label IS NOT NULL AND o.usable AND o.person_id IS NOT NULL AND o.link_category <> o.category
                THEN o.category END AS category,
            -- Absence is recorded once, when it is proved, and ends with the row's return.
            o.standing = 'absent' AND NOT o.missed AND minga_roster_internal.family_of(o.link_category)
                IN (SELECT f.family FROM plan_proved_families f) AS missing,
            o.standing <> 'absent' AND o.missed AS returned
        FROM plan_rows o LEFT JOIN settled s ON s.label = o.label
        WHERE o.linked
            AND o.sourced_id NOT IN (SELECT g.sourced_id FROM gone g)
            AND o.sourced_id NOT IN (SELECT c.sourced_id FROM come c)
    )
    SELECT c.sourced_id, c.deed, c.label, c.person_id, c.category, c.rule, c.first_run, false, false FROM come c
    UNION ALL
    SELECT g.sourced_id, 'delete', g.label, NULL, NULL, NULL, NULL, false, false FROM gone g
    UNION ALL
    SELECT k.sourced_id, 'update', NULL, NULL, k.category, NULL, NULL, k.missing, k.returned FROM kept k
    WHERE k.category IS NOT NULL OR k.missing OR k.returned;
    ANALYZE plan_links (sourced_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_links() IS
'Fills plan_links: what becomes of the links, one row for each. Insert, replace and delete wait for the change of the '
    'verdict that they are of.';
-- The guard: holds archives if too many people would be archived at once, and all of them while a connection is
-- unproven; and updates that would change one column of most people at once. A wrong school, a shortened answer, a new
-- school year or a column that went wrong in the SIS must not empty or overwrite a school overnight.

CREATE FUNCTION minga_roster_internal.find_linked_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('guard');
    IF EXISTS (SELECT FROM plan_linked_people) THEN
        RETURN;
    END IF;
    -- The links as tonight's run leaves them: tomorrow's base, and so tonight's. Most people have one.
    INSERT INTO plan_linked_people (person_id, category, archived, listed, writable)
    WITH several AS MATERIALIZED (
        SELECT x.person_id FROM plan_special_people x
        UNION
        SELECT w.person_id FROM plan_links w WHERE w.deed IN ('insert', 'replace') AND w.person_id IS NOT NULL
    ), link AS MATERIALIZED (
        SELECT l.person_id, coalesce(w.category, l.category) AS category,
            (l.missed_since IS NOT NULL OR coalesce(w.missing, false)) AND NOT coalesce(w.returned, false) AS missed,
            l.missed_since,
            -- A link that is not among the rows is plain, or of a student whom a delta does not list.
            coalesce(o.standing <> 'absent', l.missed_since IS NULL) AS listed
        FROM minga_roster.links l
        LEFT JOIN plan_links w ON w.sourced_id = l.sourced_id
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id
        WHERE l.connection = find_linked_people.connection.connection
            AND (w.deed IN ('delete', 'replace')) IS NOT TRUE
        UNION ALL
        SELECT w.person_id, w.category, false, NULL, true
        FROM plan_links w WHERE w.deed IN ('insert', 'replace') AND w.person_id IS NOT NULL
    ), linked AS (
        SELECT l.person_id, l.category, l.listed
        FROM link l
        JOIN plan_categories c ON c.category = l.category
        WHERE l.person_id NOT IN (SELECT s.person_id FROM several s)
        UNION ALL
        (SELECT DISTINCT ON (l.person_id) l.person_id, l.category, bool_or(l.listed) OVER (PARTITION BY l.person_id)
        FROM link l
        JOIN plan_categories c ON c.category = l.category
        WHERE l.person_id IN (SELECT s.person_id FROM several s)
        ORDER BY l.person_id, l.missed, l.missed_since DESC NULLS FIRST, c.rank)
    )
    SELECT l.person_id, l.category, p.archived, l.listed, p.protection IS NULL
    FROM linked l JOIN plan_people p ON p.person_id = l.person_id;
    ANALYZE plan_linked_people (person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_linked_people(connections) IS
'Fills plan_linked_people, unless the run has done so already.';

CREATE FUNCTION minga_roster_internal.kept_among(connection connections, most integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changes integer[];
    kept text[];
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('write');
    BEGIN
        INSERT INTO plan_writes (change, action, person_id, sourced_id, before, after)
        SELECT row_number() OVER (ORDER BY u.label), u.outcome, u.person_id, u.label, u.before, u.after
        FROM (
            SELECT d.*, row_number() OVER (PARTITION BY d.category ORDER BY d.label) AS place
            FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
            WHERE d.outcome = 'update' AND v.label IS NULL
        ) u
        WHERE u.place <= coalesce(most, u.place);
        ANALYZE plan_writes;
        PERFORM minga_roster_internal.grant_temp(connection.people, 'plan_writes', 'SELECT');
        SELECT r.kept INTO changes
        FROM minga_roster_internal.write_range(connection,
            ARRAY(SELECT s FROM minga_roster_internal.write_statements(connection.people) s),
            1, (SELECT max(w.change) FROM plan_writes w)) r;
        kept := ARRAY(SELECT w.sourced_id FROM plan_writes w WHERE w.change = ANY (changes));
        RAISE EXCEPTION 'the relation was only asked';
    EXCEPTION
        WHEN OTHERS OR assert_failure THEN
            IF kept IS NULL AND NOT (minga_roster_internal.owner_error()).of_a_row THEN
                RAISE;
            END IF;
    END;
    RETURN coalesce(kept, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.kept_among(connections, integer) IS
'Carries out updates of the plan (of each category so many, or all) and rolls them back; returns the labels of those '
    'after which the person was as before.';

CREATE FUNCTION minga_roster_internal.kept_updates(run runs, connection connections) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run.kind <> 'sync' OR minga_roster_internal.kept_among(connection, 10) = '{}' THEN
        RETURN '{}';
    END IF;
    RETURN minga_roster_internal.kept_among(connection, NULL);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.kept_updates(runs, connections) IS
'The labels of updates after which people would be as before, because the relation stores what it has for the values '
    'of the roster. A few updates are tried first; a preview writes to no one and has none.';

CREATE FUNCTION minga_roster_internal.veto_mass_updates(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    -- In fewer people a share says nothing.
    smallest CONSTANT integer := 20;
    percent CONSTANT integer := connection.guard_update_percent;
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
    kept text[];
BEGIN
    -- People whose rows are plain are in the base, so that few updates beside them need no look at all links.
    IF NOT EXISTS (
        SELECT FROM plan_verdicts d
        LEFT JOIN plan_vetoes v ON v.label = d.label
        LEFT JOIN plan_plain_rows n ON n.category = d.category
        WHERE d.outcome = 'update' AND v.label IS NULL
        GROUP BY d.category, n.rows
        HAVING count(*) * 100 > percent * greatest(smallest, n.rows))
    THEN
        RETURN;
    END IF;
    kept := minga_roster_internal.kept_updates(run, connection);
    PERFORM minga_roster_internal.find_linked_people(connection);
    INSERT INTO plan_mass_updates (category, column_name, changed, people)
    WITH changing AS MATERIALIZED (
        SELECT d.label, d.person_id, d.category, d.before, d.after
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE d.outcome = 'update' AND v.label IS NULL
    ), changed AS MATERIALIZED (
        -- To fill an empty column overwrites nothing.
        SELECT d.category, k.name, count(*) AS people
        FROM changing d CROSS JOIN LATERAL jsonb_object_keys(d.after) k (name)
        WHERE d.label NOT IN (SELECT unnest(kept))
            AND btrim(coalesce(d.before ->> k.name, '')) <> '' AND NOT (in_season AND k.name = 'grade')
        GROUP BY d.category, k.name
        HAVING count(*) * 100 > percent * smallest
    ), figures AS MATERIALIZED (
        -- People who are not listed or not written to cannot change, and would make a change of everyone else look
        -- small.
        SELECT coalesce(u.category, l.category) AS category, count(*) AS linked,
            count(*) FILTER (WHERE l.listed AND l.writable
                AND (x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1)) IS NOT TRUE) AS people
        FROM plan_linked_people l
        LEFT JOIN changing u ON u.person_id = l.person_id
        LEFT JOIN plan_special_people x ON x.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY coalesce(u.category, l.category)
    )
    SELECT c.category, c.name, c.people, f.people
    FROM changed c JOIN figures f USING (category)
    WHERE f.linked >= smallest AND c.people * 100 > percent * greatest(f.people, smallest);

    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT d.label, 'held', 'mass_update', m.figures
    FROM plan_verdicts d
    LEFT JOIN plan_vetoes v ON v.label = d.label
    JOIN (
        SELECT u.category, array_agg(u.column_name) AS columns,
            jsonb_build_object('category', u.category, 'percent', percent, 'columns',
                jsonb_agg(jsonb_build_object('name', u.column_name, 'changed', u.changed, 'people', u.people)
                    ORDER BY u.column_name)) AS figures
        FROM plan_mass_updates u GROUP BY u.category
    ) m ON m.category = d.category AND d.after ?| m.columns
    WHERE d.outcome = 'update' AND v.label IS NULL AND d.label NOT IN (SELECT unnest(kept));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_mass_updates(runs, connections) IS
'Fills plan_mass_updates: the columns that updates would change for more than guard_update_percent of a category''s '
    'people who are active, linked, listed and may be written to, in categories of 20 or more active linked people; '
    'filling an empty column does not count, nor does grade in a season. Holds each update of such a column as a '
    'whole; the links are written.';

CREATE FUNCTION minga_roster_internal.find_leavers(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_leavers (label, person_id, sourced_ids, category, status, protection)
    WITH gone AS MATERIALIZED (
        SELECT o.person_id, array_agg(o.sourced_id ORDER BY o.sourced_id)::text[] AS sourced_ids, count(*) AS links,
            c.family, max(coalesce(l.missed_run, run.run)) AS missed_run,
            -- The best rank among the rows seen last.
            (array_agg(o.link_category ORDER BY l.missed_since DESC NULLS FIRST, c.rank))[1] AS category
        FROM plan_rows o
        JOIN minga_roster.links l ON l.connection = find_leavers.connection.connection AND l.sourced_id = o.sourced_id
        JOIN plan_categories c ON c.category = o.link_category
        JOIN plan_proved_families f ON f.family = c.family
        WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id, c.family
    ), whole_reads AS MATERIALIZED (
        SELECT r.run, c.family
        FROM minga_roster.runs r
        -- An apply goes by what its preview read.
        JOIN minga_roster.collections c ON c.run = CASE r.kind WHEN 'apply' THEN r.of_run ELSE r.run END
        LEFT JOIN minga_roster.collections tonight ON tonight.run = find_leavers.run.run
            AND tonight.collection = c.collection
        WHERE connection.guard_grace > 1 AND r.connection = find_leavers.connection.connection
            AND r.kind IN ('sync', 'apply') AND r.state = 'succeeded' AND r.is_full
        GROUP BY r.run, c.family
        -- Of a collection that is empty tonight too nothing else is known.
        HAVING bool_and(c.complete
            AND (c.rows > c.elsewhere OR coalesce(tonight.rows <= tonight.elsewhere, false)))
    )
    SELECT g.sourced_ids[1], g.person_id, g.sourced_ids, g.category, p.status, p.protection
    FROM gone g
    JOIN plan_categories c ON c.category = g.category AND c.rostered AND c.archive
    JOIN plan_people p ON p.person_id = g.person_id AND NOT p.archived
    LEFT JOIN plan_special_people x ON x.person_id = g.person_id
    WHERE g.links = coalesce(x.own_links, 1) AND x.first_elsewhere IS NULL
        AND g.person_id NOT IN (SELECT k.person_id FROM plan_candidates k)
        -- Tonight's read counts with those before it.
        AND (connection.guard_grace = 1
            OR 1 + (SELECT count(*) FROM whole_reads w WHERE w.family = g.family AND w.run >= g.missed_run)
                >= connection.guard_grace);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_leavers(runs, connections) IS
'Fills plan_leavers: active people who are absent with every link, in families whose read was proved, and whom no '
    'listed row could be.';

CREATE FUNCTION minga_roster_internal.veto_archives(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
BEGIN
    IF NOT EXISTS (SELECT FROM plan_leavers l WHERE l.protection IS NULL) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.find_linked_people(connection);
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    WITH back AS MATERIALIZED (
        SELECT d.person_id FROM plan_decisions d WHERE d.outcome = 'restore'
    ), recent AS MATERIALIZED (
        -- Archived in the last week without an approval, and still archived when tonight's run is done.
        SELECT DISTINCT ON (c.person_id) c.person_id, c.category
        FROM minga_roster.changes c
        JOIN minga_roster.runs r ON r.run = c.run AND r.connection = veto_archives.run.connection
        JOIN plan_people p ON p.person_id = c.person_id AND p.archived
        WHERE c.action = 'archive' AND c.state = 'applied' AND c.state_cause IS NULL
            AND c.state_at > minga_roster_internal.clock() - interval '7 days'
            AND c.site = veto_archives.run.site AND c.person_id NOT IN (SELECT b.person_id FROM back b)
        ORDER BY c.person_id, c.run DESC
    ), leaver AS (
        SELECT l.category FROM plan_leavers l WHERE l.protection IS NULL
        UNION ALL
        SELECT r.category FROM recent r
    ), base AS (
        SELECT l.category
        FROM plan_linked_people l LEFT JOIN back b ON b.person_id = l.person_id
        WHERE NOT l.archived OR b.person_id IS NOT NULL
        UNION ALL
        SELECT r.category FROM recent r
        UNION ALL
        SELECT d.category FROM plan_decisions d WHERE d.outcome = 'create'
    ), figures AS (
        SELECT l.category, l.leavers, b.people
        FROM (SELECT category, count(*) AS leavers FROM leaver GROUP BY category) l
        JOIN (SELECT category, count(*) AS people FROM base GROUP BY category) b USING (category)
    ), judged AS (
        SELECT f.*, i.figures AS ids_changed,
            CASE
                WHEN i.category IS NOT NULL THEN 'ids_changed'
                WHEN connection.unproven THEN 'unproven'
                WHEN today <@ connection.freeze_dates THEN 'frozen'
                WHEN in_season AND f.leavers > connection.guard_floor
                    AND f.leavers * 100 > connection.season_percent * f.people THEN 'season_percent'
                WHEN in_season THEN NULL
                WHEN f.people >= 4 AND f.leavers * 2 >= f.people THEN 'half'
                WHEN f.leavers > connection.guard_floor AND f.leavers * 100 > connection.guard_percent * f.people
                    THEN 'percent'
            END AS cause
        FROM figures f LEFT JOIN plan_changed_ids i ON i.category = f.category
    )
    SELECT l.label, 'held', j.cause,
        CASE j.cause
            WHEN 'ids_changed' THEN j.ids_changed
            WHEN 'frozen' THEN jsonb_build_object('until', upper(connection.freeze_dates) - 1)
            WHEN 'season_percent' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people,
                'floor', connection.guard_floor, 'percent', connection.season_percent,
                'until', upper(connection.season_dates) - 1)
            WHEN 'half' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people)
            WHEN 'percent' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people,
                'floor', connection.guard_floor, 'percent', connection.guard_percent)
        END
    FROM plan_leavers l JOIN judged j ON j.category = l.category
    WHERE l.protection IS NULL AND j.cause IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_archives(runs, connections) IS
'Holds archives, by category: if the leavers, with those of the last seven days, are more than guard_percent and more '
    'than guard_floor of its people, or at least half of four or more; or the connection is unproven, its archives '
    'are frozen, or many sourcedIds of the category changed. In a season, season_percent takes the place of '
    'guard_percent and of the half.';

CREATE FUNCTION minga_roster_internal.awaits_approval(action text, cause text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN action IN ('update', 'archive') OR (action = 'create' AND coalesce(cause = 'new_site', false));
COMMENT ON FUNCTION minga_roster_internal.awaits_approval(text, text) IS
'Whether a held change of this action and state_cause is for roster_approve; the others are for roster_relink.';

CREATE FUNCTION minga_roster_internal.drop_held_links(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM minga_roster.planned_links l
    USING minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE r.connection = drop_held_links.connection AND c.state = 'expired' AND c.action = 'create' AND l.run = c.run
        AND l.change = c.change
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_held_links(text) IS
'Removes the links of held creates that have expired.';
-- The plan's rows: numbered and in words, with the outcome of each staged user. They reach `changes` once, in their
-- final state, when the run has written people or, of a preview, when it has noted how it saw them. Must survive
-- anything: each staged user has one outcome, and the sum is checked.

CREATE FUNCTION minga_roster_internal.same_names(connection connections, OUT label text, OUT people text[])
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
    WITH created AS MATERIALIZED (
        SELECT d.label FROM plan_decisions d WHERE 'create' IN (d.outcome, d.held_as)
    ), keyless AS MATERIALIZED (
        SELECT p.person_id, p.role, minga_roster_internal.clean_name(p.given_name) AS given_name,
            minga_roster_internal.clean_name(p.family_name) AS family_name
        FROM plan_people p
        WHERE NOT p.archived AND coalesce(p.identifier, '') = '' AND coalesce(p.email, '') = '' AND p.role <> 'other'
            AND EXISTS (SELECT FROM created)
    ), named AS MATERIALIZED (
        SELECT g.label, g.family, k.person_id, k.role
        FROM plan_groups g
        JOIN created d ON d.label = g.label
        JOIN keyless k ON k.given_name = minga_roster_internal.clean_name(g.given_name)
            AND k.family_name = minga_roster_internal.clean_name(g.family_name)
        WHERE EXISTS (SELECT FROM keyless)
    )
    SELECT n.label, (array_agg(n.person_id ORDER BY n.person_id))[1:100]
    FROM named n
    LEFT JOIN (
        -- Someone who is a listed row is not this one.
        SELECT l.person_id, array_agg(DISTINCT minga_roster_internal.family_of(l.category)) AS families,
            bool_or(CASE WHEN l.connection = (same_names.connection).connection
                THEN coalesce(o.standing, '') <> 'absent'
                ELSE c.retired_at IS NULL AND l.missed_since IS NULL END) AS listed
        FROM minga_roster.links l
        JOIN minga_roster.connections c ON c.connection = l.connection AND c.people = (same_names.connection).people
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id AND l.connection = (same_names.connection).connection
        WHERE l.site = (same_names.connection).site AND l.person_id IN (SELECT person_id FROM named)
        GROUP BY l.person_id
    ) l ON l.person_id = n.person_id
    WHERE l.listed IS NOT TRUE AND CASE WHEN l.families IS NOT NULL THEN n.family = ANY (l.families)
        ELSE coalesce(minga_roster_internal.role_family(n.role), n.family) = n.family END
    GROUP BY n.label
$$;
COMMENT ON FUNCTION minga_roster_internal.same_names(connections) IS
'For each person to be created the active people of that name and family who have neither an identifier nor an email '
    'address, and whom no listed row is; a hundred at most.';

CREATE FUNCTION minga_roster_internal.plan_changes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    word text := (SELECT r.archive_words ->> 'archived' FROM minga_roster.people_relations r
        WHERE r.relation = connection.people);
BEGIN
    INSERT INTO plan_changes (change, label, category, person_id, sourced_ids, action, rule, reason, before, after,
        state, state_reason, state_cause, conflict, same_name)
    WITH sentences AS MATERIALIZED (
        -- Many changes are held for one reason: its sentence is made once.
        SELECT h.cause, h.figures, minga_roster_internal.held_reason(h.cause, h.figures) AS sentence
        FROM (SELECT DISTINCT v.cause, coalesce(v.figures, '{}') AS figures FROM plan_vetoes v
            WHERE v.outcome = 'held') h
    )
    SELECT row_number() OVER (ORDER BY n.action, n.category, n.sourced_ids), n.label, n.category, n.person_id,
        n.sourced_ids, n.action, n.rule, n.reason, n.before, n.after,
        CASE WHEN n.cause IS NOT NULL THEN 'held' WHEN n.action IN ('conflict', 'reject', 'protect') THEN 'noted'
            ELSE 'planned' END,
        CASE WHEN n.cause IS NOT NULL THEN h.sentence
            WHEN n.figures ? 'person' THEN minga_roster_internal.state_reason('holder', n.figures ->> 'person') END,
        n.cause, n.conflict, n.same_name
    FROM (
        SELECT d.label, d.category, d.person_id, d.sourced_ids, coalesce(d.held_as, d.outcome) AS action, d.rule,
            CASE WHEN d.conflict = 'not_unique' THEN minga_roster_internal.unique_index_reason(d.figures ->> 'index',
                    d.figures ? 'person', coalesce((d.figures -> 'absent')::boolean, false))
                ELSE minga_roster_internal.change_reason(CASE WHEN d.outcome = 'conflict' THEN 'conflict'
                    ELSE d.verdict END, d.rule, d.conflict,
                    CASE WHEN s.people IS NOT NULL THEN 'same_name' ELSE d.detail END) END AS reason,
            d.before, d.after, d.held_cause AS cause, d.figures, d.conflict, s.people AS same_name
        FROM plan_decisions d
        LEFT JOIN minga_roster_internal.same_names(connection) s ON s.label = d.label
        WHERE d.told
        UNION ALL
        -- A first match is linked, although its update is held.
        SELECT d.label, d.category, d.person_id, d.sourced_ids, 'link', d.rule,
            minga_roster_internal.change_reason('link', d.rule, NULL, NULL), '{}', '{}', NULL, NULL, NULL, NULL
        FROM plan_decisions d
        WHERE d.held_as = 'update' AND d.links
        UNION ALL
        SELECT o.sourced_id, o.category, o.person_id, ARRAY[o.sourced_id::text], 'reject', 'unreadable',
            minga_roster_internal.change_reason('reject', 'unreadable', NULL,
                CASE WHEN o.damaged_field IS NOT NULL THEN 'field:' || o.damaged_field
                    WHEN o.standing = 'damaged' THEN 'characters' ELSE 'status' END),
            '{}', '{}', NULL, NULL, NULL, NULL
        FROM plan_rows o
        LEFT JOIN plan_decisions d ON d.label = o.label AND d.outcome = 'conflict'
        WHERE o.standing IN ('damaged', 'unknown') AND coalesce(o.rostered, true)
            AND o.family IS DISTINCT FROM 'contact' AND d.label IS NULL
        UNION ALL
        SELECT l.label, l.category, l.person_id, l.sourced_ids, a.action,
            CASE a.action WHEN 'archive' THEN 'absent' ELSE 'protected' END,
            minga_roster_internal.change_reason(a.action, 'absent', NULL,
                CASE a.action WHEN 'protect' THEN 'absent' END),
            CASE a.action WHEN 'archive' THEN jsonb_build_object('archived_at', l.status) ELSE '{}' END,
            CASE WHEN a.action = 'archive' AND word IS NOT NULL THEN jsonb_build_object('archived_at', word)
                ELSE '{}' END,
            v.cause, v.figures, NULL, NULL
        FROM plan_leavers l
        LEFT JOIN plan_vetoes v ON v.label = l.label
        CROSS JOIN LATERAL (SELECT CASE WHEN l.protection IS NULL THEN 'archive' ELSE 'protect' END) a (action)
    ) n
    LEFT JOIN sentences h ON h.cause = n.cause AND h.figures = coalesce(n.figures, '{}');
    ANALYZE plan_changes (change, label, person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_changes(connections) IS
'Fills plan_changes with the decisions, the unreadable rows and the leavers.';

CREATE FUNCTION minga_roster_internal.settled_changes(planned_in bigint, done_by runs) RETURNS SETOF changes
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
    SELECT settled_changes.planned_in, c.change, (settled_changes.done_by).site, c.category,
        CASE WHEN c.state <> 'planned' OR c.action <> 'create' THEN c.person_id WHEN w.done THEN w.person_id END,
        c.sourced_ids,
        CASE WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE c.action END
            WHEN w.code = 'not stored' AND c.action = 'create' THEN 'conflict'
            WHEN w.code IS NOT NULL THEN 'reject'
            ELSE c.action END,
        CASE w.code WHEN 'refused' THEN 'refused by people' WHEN 'not stored' THEN 'not stored' ELSE c.rule END,
        CASE WHEN w.code IN ('refused', 'not stored') THEN w.failure ELSE c.reason END,
        CASE WHEN w.links THEN '{}' ELSE c.before END,
        CASE WHEN c.action = 'archive' AND w.done
                THEN jsonb_build_object('archived_at', minga_roster_internal.clock()) || c.after
            WHEN w.links THEN '{}'
            ELSE c.after END,
        CASE WHEN c.state <> 'planned' THEN c.state
            WHEN w.code IN ('refused', 'not stored') THEN 'noted'
            WHEN coalesce(w.done, true) OR w.links THEN 'applied'
            ELSE 'refused' END,
        minga_roster_internal.clock(),
        CASE WHEN c.state <> 'planned' THEN c.state_reason
            WHEN w.code = 'kept' THEN w.failure
            WHEN w.code IS NULL AND NOT coalesce(w.done, true)
                THEN minga_roster_internal.state_reason('changed_since', NULL) END,
        CASE WHEN c.state <> 'planned' THEN c.state_cause
            ELSE CASE w.code WHEN 'refused' THEN 'refused_by_people' WHEN 'not stored' THEN 'not_stored'
                WHEN 'kept' THEN 'kept_by_people' END END,
        coalesce(w.seen, c.seen),
        CASE WHEN c.state = 'planned' AND (coalesce(w.done, true) OR w.links) THEN (settled_changes.done_by).run END,
        CASE WHEN w.code = 'not stored' AND c.action = 'create' THEN 'not_stored' ELSE c.conflict END,
        c.same_name, w.stored
    FROM plan_changes c LEFT JOIN plan_written w ON w.change = c.change
$$;
COMMENT ON FUNCTION minga_roster_internal.settled_changes(bigint, runs) IS
'The changes at hand as the run done_by, which has carried out the planned ones, leaves them.';

CREATE FUNCTION minga_roster_internal.keep_changes(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF run.kind = 'preview' THEN
        INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason,
            before, after, state, state_at, state_reason, state_cause, seen, conflict, same_name)
        SELECT run.run, c.change, run.site, c.category, c.person_id, c.sourced_ids, c.action, c.rule, c.reason,
            c.before, c.after, c.state, minga_roster_internal.clock(), c.state_reason, c.state_cause, s.seen,
            c.conflict, c.same_name
        FROM plan_changes c LEFT JOIN plan_sights s ON s.change = c.change;
    ELSE
        INSERT INTO minga_roster.changes SELECT * FROM minga_roster_internal.settled_changes(run.run, run);
    END IF;
    INSERT INTO minga_roster.conflict_candidates (run, change, person_id, found_by)
    SELECT DISTINCT run.run, c.change, k.person_id, k.step
    FROM plan_changes c
    JOIN plan_candidates k ON k.label = c.label
    WHERE c.action = 'conflict'
    UNION ALL
    SELECT run.run, c.change, v.figures ->> 'person', 'unique index'
    FROM plan_changes c
    JOIN plan_vetoes v ON v.label = c.label AND v.cause = 'not_unique'
    JOIN plan_people p ON p.person_id = v.figures ->> 'person'
    WHERE c.action = 'conflict';
    INSERT INTO minga_roster.planned_links (run, sourced_id, deed, change, category, role_written, rule, missing,
        returned)
    SELECT run.run, o.sourced_id, 'insert', c.change, o.category, d.after ->> 'role', d.rule, false, false
    FROM plan_decisions d
    JOIN plan_changes c ON c.label = d.label AND c.action = 'create' AND c.state = 'held'
    JOIN plan_rows o ON o.label = d.label AND o.usable
    WHERE d.held_cause = 'new_site';
    PERFORM minga_roster_internal.keep_conflict_pairs(run);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_changes(runs) IS
'Writes the plan''s rows to changes, in their final state; with them the people whom a conflict names, both sides of '
    'each conflict for roster_conflicts, and the links of creates held for a new site, which an approval writes.';
-- What became of each staged user, and how many there are of each outcome. Must survive anything: each staged user has
-- one outcome, and the sum is checked.

CREATE FUNCTION minga_roster_internal.count_plain_rows(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_plain_rows (category, rows)
    SELECT n.category, sum(n.rows)
    FROM (
        SELECT l.category, count(*) AS rows
        FROM minga_roster.links l
        WHERE l.connection = count_plain_rows.run.connection
            AND (count_plain_rows.run.is_full IS NOT FALSE
                OR l.sourced_id IN (SELECT u.sourced_id FROM minga_roster.staged_users u
                    WHERE u.connection = count_plain_rows.run.connection))
        GROUP BY l.category
        UNION ALL
        SELECT o.link_category, -count(*) FROM plan_rows o
        WHERE o.linked AND (o.staged OR run.is_full IS NOT FALSE) GROUP BY o.link_category
        UNION ALL
        SELECT t.category, -count(*) FROM plan_settled_rows t GROUP BY t.category
    ) n
    GROUP BY n.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_plain_rows(runs) IS
'Fills plan_plain_rows, by the links: a row that was not looked at has one.';

CREATE FUNCTION minga_roster_internal.find_outcomes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_outcomes (place, category, outcome, is_further)
    SELECT o.place, o.category,
        CASE
            WHEN o.family = 'contact' THEN 'contact'
            WHEN o.standing = 'absent' THEN 'ignore'
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN NOT o.rostered THEN 'ignore'
            WHEN o.standing IN ('damaged', 'unknown') THEN 'reject'
            WHEN o.category IS NULL THEN 'ignore'
            WHEN d.label IS NULL OR o.sourced_id <> d.main_row THEN 'merged'
            -- What the people relation made of it.
            WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE 'unchanged' END
            WHEN w.code = 'not stored' AND w.action = 'create' THEN 'conflict'
            WHEN w.code IS NOT NULL THEN 'reject'
            ELSE d.outcome
        END,
        d.outcome = 'conflict' AND o.sourced_id <> d.main_row
    FROM plan_rows o
    LEFT JOIN plan_decisions d ON d.label = o.label
    LEFT JOIN plan_changes c ON c.label = d.label AND c.state = 'planned' AND c.action = d.outcome
    LEFT JOIN plan_written w ON w.change = c.change
    WHERE o.staged
    UNION ALL
    SELECT t.place, t.category, CASE WHEN t.is_main THEN 'unchanged' ELSE 'merged' END, false
    FROM plan_settled_rows t
    UNION ALL
    SELECT k.place, k.category, k.outcome, false FROM plan_skipped_rows k;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_outcomes() IS
'Fills plan_outcomes; of what a sync has written, by what the people relation made of it.';

CREATE FUNCTION minga_roster_internal.count_outcomes(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    contact_roles text[] := ARRAY(SELECT r.roster_role FROM plan_rules r
        WHERE r.family = 'contact' AND connection.parent_contact);
    listed bigint;
    contacts bigint;
    counted bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE s.role = ANY (contact_roles)) INTO listed, contacts
    FROM minga_roster.staged_users s
    WHERE s.connection = count_outcomes.run.connection;
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT run.run, n.category, n.outcome, sum(n.rows)
    FROM (
        -- A conflict counts once, however many rows are in it.
        SELECT coalesce(o.category, 'none') AS category, w.outcome, count(*) AS rows
        FROM plan_outcomes o CROSS JOIN LATERAL (
            SELECT CASE WHEN o.outcome = 'conflict' AND o.is_further THEN 'merged' ELSE o.outcome END) w (outcome)
        GROUP BY o.category, w.outcome
        UNION ALL
        SELECT p.category, 'unchanged', p.rows FROM plan_plain_rows p
        UNION ALL
        SELECT 'contact', 'contact', contacts - (SELECT count(*) FROM plan_outcomes o WHERE o.category = 'contact')
        WHERE connection.parent_contact
    ) n
    GROUP BY n.category, n.outcome
    HAVING sum(n.rows) <> 0;

    SELECT coalesce(sum(c.count), 0) INTO counted FROM minga_roster.run_counts c WHERE c.run = count_outcomes.run.run;
    IF counted <> listed THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the outcomes of the staged users do not add up',
            DETAIL = format('Users listed: %s; outcomes: %s.', listed, counted),
            HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                'minga_roster.';
    END IF;
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT run.run, coalesce(w.category, 'none'), 'refused archive', count(*)
    FROM plan_written w
    WHERE w.action = 'archive' AND w.code IS NOT NULL
    GROUP BY 2;

    UPDATE minga_roster.staged_users s SET outcome = o.outcome
    FROM plan_outcomes o
    WHERE s.connection = run.connection AND s.ctid = ANY (ARRAY(SELECT place FROM plan_outcomes))
        AND s.ctid = o.place AND s.outcome IS DISTINCT FROM o.outcome;
    IF connection.parent_contact THEN
        UPDATE minga_roster.staged_users s SET outcome = 'contact'
        FROM plan_rules r
        WHERE s.connection = count_outcomes.run.connection AND r.roster_role = s.role AND r.category = 'contact'
            AND s.outcome IS DISTINCT FROM 'contact';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_outcomes(runs, connections) IS
'Counts the outcomes of the staged users into run_counts and notes them in the stage; XX000 if the sum is not the '
    'number of users staged.';
-- Findings: what a run noticed in the roster besides what it changed. They are codes with numbers; report.sql turns
-- them into sentences. Must survive a SIS that sends anything: names of roles come from the SIS, and are kept short and
-- few.

CREATE FUNCTION minga_roster_internal.former_read(run runs, connection connections) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.run
    FROM minga_roster.runs r
    WHERE r.connection = (former_read.run).connection AND r.run <> (former_read.run).run
        AND r.state = 'succeeded' AND r.is_full AND r.finished_at >= (former_read.connection).unproven_since
        AND minga_roster_internal.carried_out_by(r) IS NOT NULL
    ORDER BY r.run DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION minga_roster_internal.former_read(runs, connections) IS
'The last full sync or applied preview that succeeded before the run, of the same address, SIS and school; NULL if '
'there is none.';

CREATE FUNCTION minga_roster_internal.count_listed(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT p.columns FROM minga_roster.people_relations p WHERE p.relation = connection.people);
BEGIN
    INSERT INTO plan_listed_roles
    SELECT s.role, count(*) AS people, count(*) FILTER (WHERE s.status = 'inactive' OR NOT s.enabled) AS inactive,
        count(s.given_name) AS given_name, count(s.family_name) AS family_name, count(s.middle_name) AS middle_name,
        count(s.preferred_name) AS preferred_name, count(s.email) AS email, count(s.username) AS username,
        count(s.identifier) AS identifier, count(s.grade) AS grade, count(s.phone) AS phone,
        count(s.agent_ids) AS agents
    FROM minga_roster.staged_users s
    WHERE s.connection = run.connection AND s.status IS DISTINCT FROM 'tobedeleted'
        AND NOT (s.damaged AND s.role IS NULL) AND s.outcome IS DISTINCT FROM 'forgotten'
    GROUP BY s.role;
    IF run.is_full IS FALSE THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.run_figures (run, category, people, inactive, filled)
    SELECT run.run, r.category, sum(l.people), sum(l.inactive),
        -- What is not requested has not vanished.
        jsonb_strip_nulls(jsonb_build_object('given_name', sum(l.given_name), 'family_name', sum(l.family_name),
            'middle_name', CASE WHEN map ? 'middle_name' THEN sum(l.middle_name) END,
            'preferred_name', sum(l.preferred_name), 'email', sum(l.email), 'username', sum(l.username),
            'identifier', sum(l.identifier), 'grade', CASE WHEN map ? 'grade' THEN sum(l.grade) END,
            'phone', CASE WHEN map ? 'phone' THEN sum(l.phone) END,
            'agents', CASE WHEN connection.parent_contact THEN sum(l.agents) END))
    FROM plan_listed_roles l JOIN plan_rules r ON r.roster_role = l.role
    WHERE r.rostered
    GROUP BY r.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_listed(runs, connections) IS
'Fills plan_listed_roles: how many rows of each role are listed, are inactive, and have a value in each '
'field. A full run also keeps these numbers by category for the next run to compare with.';

CREATE FUNCTION minga_roster_internal.note_findings(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    roles_named CONSTANT integer := 5;
    before bigint := minga_roster_internal.former_read(run, connection);
BEGIN
    PERFORM minga_roster_internal.count_listed(run, connection);
    INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
    WITH read_collections AS MATERIALIZED (
        SELECT c.*, e.entry -> 'categories' AS categories
        FROM minga_roster.collections c
        JOIN minga_roster.sis s ON s.sis = connection.sis
        CROSS JOIN LATERAL jsonb_array_elements(s.collections) AS e (entry)
        WHERE c.run = note_findings.run.run AND e.entry ->> 'collection' = c.collection
    ), staying AS MATERIALIZED (
        SELECT o.category, count(DISTINCT p.person_id) AS people
        FROM plan_rows o
        LEFT JOIN plan_decisions d ON d.label = o.label
        JOIN plan_people p ON p.person_id = coalesce(o.person_id, d.person_id) AND NOT p.archived
        WHERE o.standing = 'inactive'
        GROUP BY o.category
    ), unknown AS MATERIALIZED (
        SELECT left(l.role, 40) AS role, sum(l.people) AS people,
            row_number() OVER (ORDER BY sum(l.people) DESC, left(l.role, 40)) AS nth
        FROM plan_listed_roles l LEFT JOIN plan_rules r ON r.roster_role = l.role
        WHERE l.role IS NOT NULL AND r.roster_role IS NULL
        GROUP BY left(l.role, 40)
    ), found AS (
        SELECT 1 AS place, CASE WHEN f.inactive = f.people THEN 'inactive_all' ELSE 'inactive_some' END AS finding,
            f.category, f.inactive AS amount, f.people AS "of",
            jsonb_build_object('accounts', coalesce(g.people, 0))
                || CASE WHEN f.inactive < f.people AND f.people >= 4 AND f.inactive * 2 >= f.people
                    THEN '{"subject": "most"}'::jsonb ELSE '{}' END AS detail,
            f.inactive = f.people OR (f.people >= 4 AND f.inactive * 2 >= f.people) AS looks
        FROM minga_roster.run_figures f LEFT JOIN staying g ON g.category = f.category
        WHERE f.run = note_findings.run.run AND f.inactive > 0
        UNION ALL
        SELECT 2, 'category_empty', b.category, 0, b.people, '{}'::jsonb, true
        FROM minga_roster.run_figures b
        JOIN plan_categories c ON c.category = b.category AND c.rostered
        LEFT JOIN minga_roster.run_figures f ON f.run = note_findings.run.run AND f.category = b.category
        WHERE b.run = before AND note_findings.run.is_full AND f.category IS NULL
            AND EXISTS (SELECT FROM read_collections r WHERE r.categories ? b.category AND r.proof IS NOT NULL)
        UNION ALL
        -- Gone from everyone, or from nine of ten people where most had a value.
        SELECT 3, 'field_vanished', f.category, n.number, f.people,
            jsonb_build_object('subject', n.field, 'before', b.number, 'before_of', p.people), true
        FROM minga_roster.run_figures f
        JOIN minga_roster.run_figures p ON p.run = before AND p.category = f.category
        CROSS JOIN LATERAL (SELECT a.key AS field, a.value::bigint AS number FROM jsonb_each_text(f.filled) a) n
        CROSS JOIN LATERAL (SELECT (p.filled ->> n.field)::bigint AS number) b
        WHERE f.run = note_findings.run.run AND b.number >= 2 AND b.number * 20 >= p.people
            AND (n.number = 0 OR (b.number * 2 >= p.people AND n.number * 10 * p.people <= b.number * f.people))
        UNION ALL
        SELECT 4, 'roles_ended', NULL, r.roles_ended, r.rows,
            jsonb_build_object('subject', r.collection, 'left', r.rows - r.elsewhere), true
        FROM read_collections r
        WHERE r.roles_ended > 0 AND (r.rows - r.elsewhere) * 10 <= r.roles_ended
        UNION ALL
        SELECT 5, 'no_role', NULL, r.without_role, r.rows - r.elsewhere,
            jsonb_build_object('subject', r.collection, 'told', true), false
        FROM read_collections r
        WHERE r.without_role > 0
        UNION ALL
        SELECT 6, 'no_role', NULL, l.people, NULL,
            jsonb_build_object('collections', (SELECT jsonb_agg(DISTINCT s.collection) FROM minga_roster.staged_users s
                WHERE s.connection = note_findings.run.connection AND s.role IS NULL AND NOT s.damaged
                    AND s.status IS DISTINCT FROM 'tobedeleted')), true
        FROM plan_listed_roles l
        WHERE l.role IS NULL
        UNION ALL
        SELECT 7, 'unknown_role', NULL, sum(u.people), NULL,
            CASE WHEN u.nth <= roles_named THEN jsonb_build_object('subject', min(u.role))
                ELSE jsonb_build_object('others', count(*)) END, true
        FROM unknown u
        GROUP BY CASE WHEN u.nth <= roles_named THEN u.nth END, u.nth <= roles_named
        UNION ALL
        SELECT 8, 'without_id', NULL, r.without_id, r.rows, jsonb_build_object('subject', r.collection), true
        FROM read_collections r
        WHERE r.without_id > 0
        UNION ALL
        SELECT 9, 'incomplete', NULL, r.distinct_ids, r.claimed_total,
            jsonb_strip_nulls(jsonb_build_object('subject', r.collection, 'family', r.family, 'cause', r.weak_cause)),
            true
        FROM read_collections r
        WHERE (NOT r.complete OR r.proof = 'weak') AND (note_findings.run.is_full IS NOT FALSE OR r.proof IS NULL)
        UNION ALL
        SELECT 10, 'mass_update_held', m.category, m.changed, m.people,
            jsonb_build_object('subject', m.column_name, 'percent', connection.guard_update_percent), true
        FROM plan_mass_updates m
    )
    SELECT note_findings.run.run,
        row_number() OVER (ORDER BY f.place, array_position(minga_roster_internal.categories(), f.category),
            f.amount DESC,
            f.detail),
        f.finding, f.category, f.amount, f."of", f.detail,
        -- Reported once. What waits for a decision is reported as long as it waits.
        f.looks AND (f.finding = 'mass_update_held' OR NOT EXISTS (
            SELECT FROM minga_roster.run_findings k
            WHERE k.run = before AND k.finding = f.finding AND k.category IS NOT DISTINCT FROM f.category
                AND k.detail ->> 'subject' IS NOT DISTINCT FROM f.detail ->> 'subject'
                AND k.detail ->> 'cause' IS NOT DISTINCT FROM f.detail ->> 'cause'))
    FROM found f;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_findings(runs, connections) IS
'Notes in run_findings what the run noticed in the roster.';

CREATE FUNCTION minga_roster_internal.mark_incomplete(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.runs r SET incomplete = true
    WHERE r.run = mark_incomplete.run AND NOT r.incomplete AND EXISTS (
        SELECT FROM minga_roster.collections c
        WHERE c.run = r.run AND (NOT c.complete OR c.proof = 'weak') AND (r.is_full IS NOT FALSE OR c.proof IS NULL))
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_incomplete(bigint) IS
'Marks the run as incomplete if a list was not proved complete. A delta needs no proof; it is incomplete if a list '
'could not be read at all.';
-- The plan: from the stage to the rows of `changes`. Each step reads what earlier steps have written and inserts into
-- tables of its own; docs/plan.md shows them in this order. Reads people once and writes to none. Must survive rosters
-- that contradict themselves: what is not certain changes no one.

CREATE FUNCTION minga_roster_internal.plan_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(plan_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    -- What is read
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.read_rules(connection, run);
    PERFORM minga_roster_internal.find_stored(connection);
    PERFORM minga_roster_internal.choose_parents(connection, run);
    -- Who is who
    PERFORM minga_roster_internal.find_open_rows(this, connection);
    PERFORM minga_roster_internal.group_rows(connection);
    PERFORM minga_roster_internal.count_plain_rows(this);
    PERFORM minga_roster_internal.match_groups(connection);
    -- What is to be done, and what overrules it
    PERFORM minga_roster_internal.judge_groups(connection);
    PERFORM minga_roster_internal.veto_collisions(connection);
    PERFORM minga_roster_internal.veto_changed_ids(connection);
    PERFORM minga_roster_internal.veto_withheld_identifiers();
    PERFORM minga_roster_internal.veto_new_site(connection);
    PERFORM minga_roster_internal.plan_links();
    PERFORM minga_roster_internal.veto_mass_updates(this, connection);
    PERFORM minga_roster_internal.settle_verdicts();
    PERFORM minga_roster_internal.find_leavers(this, connection);
    PERFORM minga_roster_internal.veto_archives(this, connection);
    -- What is told
    PERFORM minga_roster_internal.plan_changes(connection);
    PERFORM minga_roster_internal.note_findings(this, connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_run(bigint) IS
'Plans the run from the stage of its connection: fills the tables of plan_tables() up to plan_changes, and notes '
    'findings. Changes no one. merge_run goes on from these tables in the same transaction.';
-- What the people relation does with written values. Triggers, types and views may store another form of a value, give
-- a new person another ID, or store nothing: a run reads back what is there, continues with that, and rolls back what
-- it cannot see. Must survive relations that hide, move or renumber people: anyone who appears is a new person of this
-- site, or no one.

CREATE FUNCTION minga_roster_internal.owner_error(OUT of_a_row boolean, OUT told text, OUT at_change integer)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_owner_error';
COMMENT ON FUNCTION minga_roster_internal.owner_error() IS
'About the last error of as_owner or read_as_owner: whether a single row may have caused it, so that the other rows '
'can be written without it; its message, NULL if the message may quote a person; and the change of the new person who '
'was written last, which a trigger may have set as well. Superusers only.';

CREATE FUNCTION minga_roster_internal.told_name(kind text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN CASE kind
            WHEN 'constraint' THEN EXISTS (SELECT FROM pg_constraint c WHERE c.conname = told_name.name)
                OR EXISTS (SELECT FROM pg_class c WHERE c.relname = told_name.name AND c.relkind IN ('i', 'I'))
            ELSE EXISTS (SELECT FROM pg_attribute a WHERE a.attname = told_name.name AND a.attnum > 0) END
        THEN format(', %s "%s"', kind, name) ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.told_name(text, text) IS
'The constraint or column that an error names, for a sentence; empty if the database has no such name, because then a '
'trigger may have made it from personal data.';

CREATE FUNCTION minga_roster_internal.value_hash(value text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(hashtextextended(value, 0), 0);
COMMENT ON FUNCTION minga_roster_internal.value_hash(text) IS 'The hash of a value in stored_values; 0 for NULL.';

CREATE FUNCTION minga_roster_internal.missing_people(connection connections, low integer, high integer)
RETURNS integer[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT w.change
        FROM plan_writes w
        LEFT JOIN (SELECT f.person_id, min(f.change) AS change FROM plan_found f GROUP BY f.person_id
            HAVING count(*) = 1) f ON f.change = w.change
        WHERE w.action = 'create' AND w.code IS NULL AND w.change BETWEEN low AND high
            AND (f.change IS NULL
                OR EXISTS (SELECT FROM plan_people p WHERE p.person_id = f.person_id)
                OR EXISTS (SELECT FROM plan_written d WHERE d.done AND d.person_id = f.person_id)
                OR EXISTS (SELECT FROM minga_roster.links l
                    WHERE l.site = connection.site AND l.person_id = f.person_id)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.missing_people(connections, integer, integer) IS
'The new people in a range of writes who cannot be identified at the site: not found, found twice, there before the '
'run, or linked.';

CREATE FUNCTION minga_roster_internal.find_newcomers(connection connections, missing integer[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('newcomers');
    PERFORM minga_roster_internal.read_as_owner(connection.people,
        minga_roster_internal.newcomers_query(connection.people), 'pg_temp.plan_newcomers', connection.site);
    DELETE FROM plan_newcomers n
    WHERE n.person_id IN (SELECT p.person_id FROM plan_people p)
        OR n.person_id IN (SELECT d.person_id FROM plan_written d WHERE d.done)
        OR n.person_id IN (SELECT f.person_id FROM plan_found f WHERE f.change <> ALL (missing));
    UPDATE plan_writes w SET person_id = m.person_id
    FROM (
        SELECT t.change, t.person_id, count(*) OVER (PARTITION BY t.change) AS newcomers,
            count(*) OVER (PARTITION BY t.person_id) AS rows
        FROM (
            SELECT w.change, n.person_id
            FROM plan_writes w
            JOIN plan_newcomers n ON lower(n.given_name) = lower(w.after ->> 'given_name')
                AND lower(n.family_name) = lower(w.after ->> 'family_name')
            WHERE w.change = ANY (missing)
                AND (lower(n.identifier) <> lower(w.after ->> 'identifier')
                    OR lower(n.email) <> lower(w.after ->> 'email')
                    OR lower(n.username) <> lower(w.after ->> 'username')) IS NOT TRUE
        ) t
    ) m
    WHERE m.change = w.change AND m.newcomers = 1 AND m.rows = 1;
    DELETE FROM plan_newcomers;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_newcomers(connections, integer[]) IS
'Looks for new people to whom the relation gave another ID than it reported: people who appeared at the site in this '
'run with the same names and no other identifier, email address or username, if only one could be meant.';

CREATE FUNCTION minga_roster_internal.remember_stored(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF EXISTS (SELECT FROM minga_roster.stored_values v WHERE v.connection = remember_stored.connection.connection) THEN
        DELETE FROM minga_roster.stored_values v
        USING (
            SELECT d.person_id, k.name, d.stored, w.after
            FROM plan_written d JOIN plan_writes w ON w.change = d.change
            CROSS JOIN LATERAL jsonb_object_keys(w.after) k (name)
            WHERE d.done OR d.code = 'kept'
        ) n
        WHERE v.connection = remember_stored.connection.connection AND v.person_id = n.person_id
            AND v.column_name = n.name
            AND ((n.stored ? n.name) IS NOT TRUE OR v.stored <> minga_roster_internal.value_hash(n.stored ->> n.name)
                OR v.sent <> minga_roster_internal.value_hash(n.after ->> n.name));
    END IF;
    INSERT INTO minga_roster.stored_values (connection, person_id, column_name, sent, stored)
    SELECT remember_stored.connection.connection, d.person_id, k.key,
        minga_roster_internal.value_hash(w.after ->> k.key), minga_roster_internal.value_hash(k.value)
    FROM plan_written d JOIN plan_writes w ON w.change = d.change
    CROSS JOIN LATERAL jsonb_each_text(d.stored) k
    WHERE (d.done OR d.code = 'kept') AND d.stored IS NOT NULL
    ON CONFLICT ON CONSTRAINT stored_values_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_stored(connections) IS
'After the writes: remembers which values the relation stored in another form or did not store, so that the next sync '
'recognizes them.';

CREATE FUNCTION minga_roster_internal.check_event_triggers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context text;
    names text[];
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtenabled IN ('O', 'A')) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE probe (nth integer) ON COMMIT DROP;
    CREATE TEMP TABLE probe_of_query ON COMMIT DROP AS SELECT p.nth FROM probe p;
    CREATE INDEX ON probe (nth);
    GRANT SELECT ON probe TO CURRENT_USER;
    DROP TABLE probe, probe_of_query;
EXCEPTION
    WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        SELECT array_agg(e.evtname ORDER BY e.evtname) INTO names
        FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid
        WHERE e.evtenabled IN ('O', 'A') AND position(format('%s(', f.proname) IN context) > 0;
        IF names IS NULL THEN
            RAISE;
        END IF;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE,
            MESSAGE = format('event trigger "%s" rejects the temporary tables of a run',
                array_to_string(names, '", "')),
            DETAIL = format('Its message: %s', SQLERRM),
            HINT = format('Make its function skip temporary tables (schema_name "pg_temp" in '
                'pg_event_trigger_ddl_commands()), or disable it: ALTER EVENT TRIGGER %I DISABLE.%s', names[1],
                CASE WHEN SQLSTATE = '42501' THEN
                    format(' The function runs with the rights of "%s"; if it needs more, make it SECURITY DEFINER.',
                        current_user) END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_event_triggers() IS
'Raises an error that names the event trigger if one keeps a run from creating temporary tables, before the run '
'creates any.';
-- The second check: before a planned or held change is carried out, settings and person are looked at again. Approve,
-- the apply of a preview and undo share these rules; each answers with a code of state_reason, or NULL.

CREATE FUNCTION minga_roster_internal.setting_refusal(action text, after jsonb, toggle toggles, local_columns text[],
    missing_columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN NOT (toggle).roster THEN 'not_rostered'
    WHEN action = 'archive' AND NOT (toggle).archive THEN 'archive_off'
    WHEN action IN ('update', 'restore') AND after - 'archived_at' <> '{}' AND NOT (toggle).auto_update
        THEN 'auto_update_off'
    WHEN action IN ('update', 'restore') AND after ?| local_columns THEN 'column_local'
    WHEN action <> 'archive' AND after ?| missing_columns THEN 'column_gone'
END;
COMMENT ON FUNCTION minga_roster_internal.setting_refusal(text, jsonb, toggles, text[], text[]) IS
'Why the settings no longer allow a change: the toggles of its category, columns that belong to the school '
    '(local_columns), or columns that the people relation lacks (missing_columns).';

CREATE FUNCTION minga_roster_internal.person_refusal(action text, person_id text, archived boolean, protection text)
RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN action = 'create' THEN NULL
    WHEN person_id IS NULL THEN 'gone'
    WHEN action = 'archive' AND archived THEN 'archived_already'
    WHEN action IN ('link', 'update') AND archived THEN 'archived_since'
    WHEN action = 'restore' AND NOT archived THEN 'not_archived'
    ELSE protection
END;
COMMENT ON FUNCTION minga_roster_internal.person_refusal(text, text, boolean, text) IS
'Why a change no longer fits its person, whose person_id is NULL if there is no such person now: gone, in or out of '
    'the archive, or protected. Without an action the archive does not matter.';

CREATE FUNCTION minga_roster_internal.local_written_columns(connection text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT c FROM unnest(minga_roster_internal.written_columns()) c
        WHERE minga_roster_internal.ownership_unit(c)
            = ANY (minga_roster_internal.local_columns(local_written_columns.connection)))
$$;
COMMENT ON FUNCTION minga_roster_internal.local_written_columns(text) IS
'The columns that a sync of the connection writes only to new people.';

CREATE FUNCTION minga_roster_internal.missing_columns(people regclass) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT c."column" FROM minga_roster_internal.people_columns() c WHERE NOT r.columns ? c."column")
    FROM minga_roster.people_relations r
    WHERE r.relation = missing_columns.people
$$;
COMMENT ON FUNCTION minga_roster_internal.missing_columns(regclass) IS
'The columns of the contract that a people relation does not have.';
-- Apply: the only writer of people. Each person is checked again when written; one who was changed since the plan is
-- left alone. Then the links, which say who is who, and whether the connection is proven.

CREATE FUNCTION minga_roster_internal.write_range(connection connections,
    statements minga_roster_internal.write_statement[], low integer, high integer,
    OUT hidden integer[], OUT kept integer[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    people regclass := connection.people;
    arguments text[] := ARRAY[connection.site, minga_roster_internal.clock()::text, low::text, high::text];
    actions text[] := ARRAY(SELECT DISTINCT w.action FROM plan_writes w
        WHERE w.change BETWEEN low AND high AND w.code IS NULL);
    this minga_roster_internal.write_statement;
BEGIN
    IF EXISTS (SELECT FROM plan_found) OR EXISTS (SELECT FROM plan_hits) THEN
        TRUNCATE plan_found, plan_hits;
    END IF;
    FOREACH this IN ARRAY statements LOOP
        CONTINUE WHEN this.action <> ALL (actions);
        PERFORM minga_roster_internal.read_as_owner(people, this.writes, 'pg_temp.plan_hits', VARIADIC arguments);
        IF this.action = 'create' AND EXISTS (SELECT FROM plan_hits h JOIN plan_writes w USING (change)
            WHERE w.action = 'create' AND w.change BETWEEN low AND high AND w.person_id <> h.person_id) THEN
            -- A trigger gave people other ids.
            UPDATE plan_writes w SET person_id = h.person_id
            FROM (SELECT t.change, min(t.person_id) AS person_id FROM plan_hits t
                GROUP BY t.change HAVING count(*) = 1) h
            WHERE w.action = 'create' AND w.change BETWEEN low AND high AND w.change = h.change
                AND w.person_id <> h.person_id;
        END IF;
        PERFORM minga_roster_internal.read_as_owner(people, this.reads, 'pg_temp.plan_found', VARIADIC arguments);
        IF this.action = 'create' THEN
            hidden := minga_roster_internal.missing_people(connection, low, high);
            IF hidden <> '{}' THEN
                PERFORM minga_roster_internal.find_newcomers(connection, hidden);
                DELETE FROM plan_found f USING plan_writes w WHERE w.change = f.change AND w.action = 'create';
                PERFORM minga_roster_internal.read_as_owner(people, this.reads, 'pg_temp.plan_found',
                    VARIADIC arguments);
                hidden := minga_roster_internal.missing_people(connection, low, high);
            END IF;
        END IF;
    END LOOP;
    IF actions && ARRAY['archive', 'update', 'restore'] THEN
        SELECT coalesce(hidden, '{}') || coalesce(array_agg(j.change) FILTER (WHERE NOT j.is_kept), '{}'),
            array_agg(j.change) FILTER (WHERE j.is_kept)
        INTO hidden, kept
        FROM (
            SELECT w.change, w.action = 'update' AND h.change IS NOT NULL AND f.change IS NOT NULL AS is_kept
            FROM plan_writes w
            LEFT JOIN (SELECT DISTINCT t.change FROM plan_hits t) h ON h.change = w.change
            LEFT JOIN plan_found f ON f.change = w.change
            WHERE w.action <> 'create' AND w.code IS NULL AND w.change BETWEEN low AND high
                AND (f.fits OR (h.change IS NOT NULL
                    AND (f.change IS NULL OR (w.action <> 'update' AND f.archived <> (w.action = 'archive')))))
        ) j;
    END IF;
    hidden := coalesce(hidden, '{}');
    kept := coalesce(kept, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_range(connections, minga_roster_internal.write_statement[], integer,
    integer) IS
'Carries out the rows of plan_writes from change low to high on the people relation, as its owner, and reads back what '
    'is there: plan_hits has what was done, plan_found who is there. A person who is not as before says is not hit. '
    'hidden are the rows of which nothing is to be seen, kept the updates after which the person is as before.';

CREATE FUNCTION minga_roster_internal.note_written(low integer, high integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO plan_written (change, action, category, person_id, done, code, failure, seen, stored, links)
    SELECT w.change, w.action, w.category, w.person_id,
        w.code IS NULL AND f.change IS NOT NULL
            AND (w.action = 'create' OR w.change IN (SELECT h.change FROM plan_hits h)
                OR (w.action = 'update' AND f.now IS NULL AND NOT f.fits)),
        w.code, w.failure, CASE WHEN w.code IS NULL THEN f.seen END,
        CASE
            WHEN w.code = 'kept' THEN w.before - 'archived_at'
            WHEN w.code IS NULL AND f.now IS NOT NULL THEN (SELECT jsonb_object_agg(k, f.now -> k)
                FROM jsonb_object_keys(w.after) k
                WHERE f.now ? k AND f.now ->> k IS DISTINCT FROM w.after ->> k)
        END,
        false
    FROM plan_writes w
    LEFT JOIN (SELECT DISTINCT ON (t.change) t.* FROM plan_found t ORDER BY t.change) f ON f.change = w.change
    WHERE w.change BETWEEN low AND high
$$;
COMMENT ON FUNCTION minga_roster_internal.note_written(integer, integer) IS
'Fills plan_written with what became of a range of writes, by plan_hits and plan_found.';

CREATE FUNCTION minga_roster_internal.split_range(range int4range, failed_at integer) RETURNS int4range[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch CONSTANT integer := 2000;
    low CONSTANT integer := lower(range);
    high CONSTANT integer := upper(range);
    middle CONSTANT integer := (low + high) / 2;
BEGIN
    IF high - low > batch THEN
        RETURN ARRAY(SELECT int4range(n, least(n + batch, high))
            FROM generate_series(low, high - 1, batch) n ORDER BY n);
    ELSIF failed_at <@ range THEN
        RETURN ARRAY[int4range(low, failed_at), int4range(failed_at, failed_at + 1), int4range(failed_at + 1, high)];
    END IF;
    RETURN ARRAY[int4range(low, middle), int4range(middle, high)];
END
$$;
COMMENT ON FUNCTION minga_roster_internal.split_range(int4range, integer) IS
'The ranges in which a range is written again, in order, after an error of one row took it back: batches, so that no '
    'more than one is written again for each such row; and of a batch that row (failed_at) and what is beside it, or '
    'two halves if it is not known.';

CREATE FUNCTION minga_roster_internal.index_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_temp.plan_writes_change') IS NULL THEN
        CREATE INDEX plan_writes_change ON plan_writes (change);
        CREATE INDEX plan_written_person ON plan_written (person_id) WHERE done;
        CREATE INDEX plan_people_person ON plan_people (person_id);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.index_writes() IS
'Makes the indexes that keep the costs of a range in proportion to it. write_people drops them.';

CREATE FUNCTION minga_roster_internal.write_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_offenders CONSTANT integer := 100;
    most_rounds CONSTANT integer := 20;
    statements minga_roster_internal.write_statement[];
    ranges int4range[] := ARRAY(SELECT int4range(min(w.change), max(w.change), '[]') FROM plan_writes w);
    this int4range;
    low integer;
    high integer;
    failures integer := 0;
    offenders integer := 0;
    rounds integer := 0;
    again int4range;
    unseen record;
    constraint_hit text;
    column_hit text;
    blame record;
BEGIN
    IF NOT EXISTS (SELECT FROM plan_writes) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.grant_temp(connection.people, 'plan_writes', 'SELECT');
    PERFORM minga_roster_internal.make_plan_tables('write');
    statements := ARRAY(SELECT s FROM minga_roster_internal.write_statements(connection.people) s);
    WHILE ranges <> '{}' LOOP
        this := ranges[1];
        ranges := ranges[2:];
        CONTINUE WHEN isempty(this);
        low := lower(this);
        high := upper(this) - 1;
        unseen := NULL;
        BEGIN
            unseen := minga_roster_internal.write_range(connection, statements, low, high);
            IF unseen.hidden <> '{}' OR unseen.kept <> '{}' THEN
                RAISE EXCEPTION 'the people relation does not show what was written';
            END IF;
            unseen := NULL;
            PERFORM minga_roster_internal.note_written(low, high);
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                GET STACKED DIAGNOSTICS constraint_hit = CONSTRAINT_NAME, column_hit = COLUMN_NAME;
                SELECT e.of_a_row, e.told, e.at_change INTO blame FROM minga_roster_internal.owner_error() e;
                PERFORM minga_roster_internal.index_writes();
                IF unseen IS NOT NULL THEN
                    -- All of it was taken back, and is done again without those.
                    rounds := CASE WHEN again = this THEN rounds ELSE 0 END + 1;
                    again := this;
                    UPDATE plan_writes w
                    SET code = CASE WHEN w.change = ANY (unseen.kept) THEN 'kept' ELSE 'not stored' END,
                        failure = minga_roster_internal.state_reason(
                            CASE WHEN w.change = ANY (unseen.kept) THEN 'kept' ELSE 'not_stored' END, w.action)
                    WHERE w.change = ANY (unseen.hidden || unseen.kept)
                        -- A relation that hides other people each time comes to no end.
                        OR (rounds > most_rounds AND w.change BETWEEN low AND high AND w.code IS NULL);
                    ranges := this || ranges;
                ELSIF NOT blame.of_a_row THEN
                    RAISE;
                ELSIF low < high THEN
                    failures := failures + 1;
                    -- A trigger may name any row: one that is often wrong is not asked again.
                    ranges := minga_roster_internal.split_range(this,
                        CASE WHEN failures <= 3 * offenders + 10 THEN blame.at_change END) || ranges;
                ELSE
                    offenders := offenders + 1;
                    IF offenders > most_offenders THEN
                        RAISE;
                    END IF;
                    UPDATE plan_writes w
                    SET code = 'refused', failure = minga_roster_internal.state_reason('rejected',
                        concat('SQLSTATE ', SQLSTATE, minga_roster_internal.told_name('constraint', constraint_hit),
                            minga_roster_internal.told_name('column', column_hit), ': ' || blame.told))
                    WHERE w.change = low;
                    ranges := this || ranges;
                END IF;
                -- For few rows indexes are better than scans.
                PERFORM set_config('enable_nestloop',
                    CASE WHEN upper(ranges[1]) - lower(ranges[1]) > 2000 THEN 'off' ELSE 'on' END, true);
        END;
    END LOOP;
    IF to_regclass('pg_temp.plan_writes_change') IS NOT NULL THEN
        DROP INDEX pg_temp.plan_writes_change, pg_temp.plan_written_person, pg_temp.plan_people_person;
    END IF;
    PERFORM minga_roster_internal.revoke_temp(connection.people, 'plan_writes');
    PERFORM minga_roster_internal.remember_stored(connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_people(connections) IS
'Carries out plan_writes, and fills plan_written with what was done and what the relation made of it (stored). Of what '
    'is not done code says why, where the relation is the cause: "refused", an error that one person may have caused '
    '(all others are written again in ranges, each in a subtransaction, until the offenders stand alone; with more '
    'than 100 of them the error is raised); "not stored", nothing of it was to be seen; "kept", an update after which '
    'the person is as before. failure has it in words. All others are written.';

CREATE FUNCTION minga_roster_internal.load_changes(of_run bigint, of_state text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO plan_changes (change, category, person_id, sourced_ids, action, rule, reason, before, after, state,
        state_reason, state_cause, conflict, same_name, seen)
    SELECT c.change, c.category, c.person_id, c.sourced_ids, c.action, c.rule, c.reason, c.before, c.after, c.state,
        c.state_reason, c.state_cause, c.conflict, c.same_name, c.seen
    FROM minga_roster.changes c
    WHERE c.run = of_run AND c.state = of_state
        -- What else is held is for roster_relink and the next sync.
        AND (of_state <> 'held' OR minga_roster_internal.awaits_approval(c.action, c.state_cause))
$$;
COMMENT ON FUNCTION minga_roster_internal.load_changes(bigint, text) IS
'Fills plan_changes with the changes of an earlier run in this state; of held ones, those that wait for an approval.';

CREATE FUNCTION minga_roster_internal.draw_ids(connection connections, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    creates integer[] := ARRAY(SELECT c.change FROM plan_changes c WHERE c.state = of_state AND c.action = 'create'
        AND c.change NOT IN (SELECT f.change FROM plan_refusals f WHERE f.code IS NOT NULL) ORDER BY c.change);
BEGIN
    IF creates <> '{}' THEN
        PERFORM minga_roster_internal.read_as_owner(connection.people,
            minga_roster_internal.new_ids_query(connection.people), 'pg_temp.plan_drawn_ids', creates::text);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.draw_ids(connections, text) IS
'Fills plan_drawn_ids: draws the ids of new people by the relation''s own default.';

CREATE FUNCTION minga_roster_internal.open_writes(connection connections, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
BEGIN
    PERFORM minga_roster_internal.draw_ids(connection, of_state);
    INSERT INTO plan_writes (change, action, category, person_id, sourced_id, before, after)
    SELECT c.change, c.action, c.category, coalesce(d.person_id, c.person_id), c.sourced_ids[1], c.before, c.after
    FROM plan_changes c LEFT JOIN plan_drawn_ids d ON d.change = c.change
    WHERE c.state = of_state AND c.action IN ('create', 'update', 'restore', 'archive')
        AND c.change NOT IN (SELECT f.change FROM plan_refusals f WHERE f.code IS NOT NULL);
    ANALYZE plan_writes;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_writes(connections, text) IS
'Fills plan_writes with the changes to people of plan_changes in this state, less those in plan_refusals.';

CREATE FUNCTION minga_roster_internal.open_link_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_link_writes (sourced_id, deed, change, person_id, category, role_written, rule, linked_run,
        missing, returned, archived)
    WITH settled AS MATERIALIZED (
        SELECT d.label, d.person_id, d.outcome, c.change,
            CASE WHEN d.after ? 'role' AND d.held_as IS NULL THEN d.after ->> 'role' ELSE d.last_role END
                AS role_written,
            d.after ? 'role' AND d.held_as IS NULL AND d.outcome <> 'create' AS writes_role
        FROM plan_decisions d
        LEFT JOIN plan_changes c ON c.label = d.label AND c.state = 'planned'
        WHERE d.outcome NOT IN ('conflict', 'reject')
    )
    SELECT k.sourced_id, k.deed, s.change, k.person_id, k.category,
        CASE WHEN k.deed <> 'delete' THEN s.role_written END, k.rule, k.linked_run, false, false, NULL::boolean
    FROM plan_links k LEFT JOIN settled s ON s.label = k.label
    WHERE k.deed <> 'update'
    UNION ALL
    SELECT u.*
    FROM (
        SELECT o.sourced_id, 'update', coalesce(w.change, a.change), NULL::text, k.category AS category,
            CASE WHEN o.role_written IS DISTINCT FROM w.role_written THEN w.role_written END AS role_written,
            NULL::text, NULL::bigint, coalesce(k.missing, false) AS missing,
            coalesce(k.returned, false) AS returned,
            CASE WHEN a.change IS NOT NULL THEN true
                WHEN o.archived_run IS NOT NULL AND (r.change IS NOT NULL OR NOT p.archived) THEN false
            END AS archived
        FROM plan_rows o
        LEFT JOIN plan_links k ON k.sourced_id = o.sourced_id
        LEFT JOIN settled w ON w.person_id = o.person_id AND w.writes_role
        LEFT JOIN settled r ON r.person_id = o.person_id AND r.outcome = 'restore'
        LEFT JOIN plan_changes a ON a.action = 'archive' AND a.state = 'planned' AND a.person_id = o.person_id
        LEFT JOIN plan_people p ON p.person_id = o.person_id
        WHERE o.linked AND (k.deed IS NULL OR k.deed = 'update')
    ) u
    WHERE u.category IS NOT NULL OR u.role_written IS NOT NULL OR u.missing OR u.returned OR u.archived IS NOT NULL;
    ANALYZE plan_link_writes (sourced_id, change);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_link_writes() IS
'Fills plan_link_writes: plan_links with the change that each waits for, the role written and the archive; of an '
    'update only the last two wait for its change.';

CREATE FUNCTION minga_roster_internal.write_links(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    moment timestamptz := minga_roster_internal.clock();
BEGIN
    IF NOT EXISTS (SELECT FROM plan_link_writes) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('link');
    -- A person whom the relation keeps as before is linked all the same.
    UPDATE plan_written w SET links = true
    FROM plan_link_writes l
    WHERE w.code = 'kept' AND l.change = w.change AND l.deed IN ('insert', 'replace');
    -- What waits for a change that was not carried out is not written.
    INSERT INTO plan_due_links
    SELECT d.*
    FROM (
        SELECT l.sourced_id, l.deed, l.change, l.person_id, l.category,
            CASE WHEN u.change IS NULL THEN l.role_written END AS role_written, l.rule, l.linked_run, l.missing,
            l.returned, CASE WHEN u.change IS NULL THEN l.archived END AS archived
        FROM plan_link_writes l
        LEFT JOIN (
            SELECT w.change, coalesce(w.code = 'kept', false) AS kept FROM plan_written w WHERE NOT w.done
            UNION
            SELECT f.change, false FROM plan_refusals f WHERE f.code IS NOT NULL
        ) u ON u.change = l.change
        WHERE u.change IS NULL OR u.kept OR l.deed = 'update'
    ) d
    WHERE d.deed <> 'update' OR d.category IS NOT NULL OR d.role_written IS NOT NULL OR d.missing OR d.returned
        OR d.archived IS NOT NULL;
    ANALYZE plan_due_links (sourced_id);

    INSERT INTO minga_roster.link_changes (run, sourced_id, before)
    SELECT run.run, w.sourced_id, to_jsonb(l)
    FROM plan_due_links w
    JOIN minga_roster.links l ON l.connection = write_links.run.connection AND l.sourced_id = w.sourced_id
    WHERE w.deed <> 'insert'
    UNION ALL
    SELECT run.run, w.sourced_id, NULL FROM plan_due_links w WHERE w.deed = 'insert' AND w.linked_run IS NOT NULL;

    DELETE FROM minga_roster.links l USING plan_due_links w
    WHERE w.deed IN ('delete', 'replace') AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT run.connection, w.sourced_id, run.site, coalesce(w.person_id, p.person_id), w.category, w.role_written,
        w.rule, coalesce(w.linked_run, run.run)
    FROM plan_due_links w LEFT JOIN plan_written p ON p.change = w.change AND p.action = 'create'
    WHERE w.deed IN ('insert', 'replace');
    UPDATE minga_roster.links l
    SET category = coalesce(w.category, l.category), role_written = coalesce(w.role_written, l.role_written),
        missed_since = CASE WHEN w.missing THEN moment WHEN NOT w.returned THEN l.missed_since END,
        missed_run = CASE WHEN w.missing THEN run.run WHEN NOT w.returned THEN l.missed_run END,
        archived_run = CASE WHEN w.archived THEN run.run WHEN w.archived IS NULL THEN l.archived_run END
    FROM plan_due_links w
    WHERE w.deed = 'update' AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_links(runs) IS
'Carries out plan_link_writes, so that the links are in step with what was written to people. Rewrites no row that '
    'stays as it is, and keeps in link_changes what was there before.';

CREATE FUNCTION minga_roster_internal.settle_changes(run runs, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    UPDATE minga_roster.changes c
    SET person_id = s.person_id, action = s.action, rule = s.rule, reason = s.reason, before = s.before,
        after = s.after, state = s.state, state_at = s.state_at, state_reason = s.state_reason,
        state_cause = s.state_cause, seen = s.seen, done_by = s.done_by, conflict = s.conflict, stored = s.stored
    FROM minga_roster_internal.settled_changes(planned_in, settle_changes.run) s
    WHERE c.run = planned_in AND c.change = s.change AND c.state = 'planned';
    IF EXISTS (SELECT FROM plan_written w WHERE w.code = 'not stored' AND w.action = 'create') THEN
        PERFORM minga_roster_internal.keep_conflict_pairs(minga_roster_internal.known_run(planned_in));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_changes(runs, bigint) IS
'Notes what became of the planned changes of the run planned_in, which this run has carried out.';

CREATE FUNCTION minga_roster_internal.prove_connection(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE minga_roster.connections c SET unproven = false
    WHERE c.connection = run.connection AND c.unproven AND run.is_full
        AND EXISTS (SELECT FROM plan_proved_families f WHERE f.family <> 'contact')
        AND NOT EXISTS (SELECT FROM minga_roster.links l
            WHERE l.connection = c.connection AND l.missed_since >= c.unproven_since)
        -- Nor not listed in a family that was not read whole, where that is no proof of absence.
        AND NOT EXISTS (
            SELECT FROM plan_rows o JOIN plan_categories r ON r.category = o.link_category
            WHERE o.standing = 'absent' AND o.linked AND NOT o.missed AND r.rostered);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prove_connection(runs) IS
'A connection is proven by a full sync in which no one is newly missing since it became unproven.';

CREATE FUNCTION minga_roster_internal.apply_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(apply_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    UPDATE minga_roster.runs r SET phase = 'apply' WHERE r.run = this.run;
    PERFORM minga_roster_internal.open_writes(connection, 'planned');
    PERFORM minga_roster_internal.write_people(connection);
    PERFORM minga_roster_internal.open_link_writes();
    PERFORM minga_roster_internal.write_links(this);
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.prove_connection(this);
    PERFORM minga_roster_internal.keep_changes(this);
    PERFORM minga_roster_internal.find_outcomes();
    PERFORM minga_roster_internal.count_outcomes(this, connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_run(bigint) IS
'Carries out the planned changes of the run on people and links, and keeps them. In the transaction of plan_run.';
-- A reviewed preview: what its plan stores so that it can be applied later, and the apply, which fetches and plans
-- nothing. Must survive anything that happens in between: a person who is no longer as the preview saw them is refused.

CREATE FUNCTION minga_roster_internal.hash_people() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('seen');
    EXECUTE 'INSERT INTO plan_seen_people ' || minga_roster_internal.seen_people_query();
    ANALYZE plan_seen_people (person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.hash_people() IS
'Fills plan_seen_people: the hash that people_terms has, for each row of plan_people.';

CREATE FUNCTION minga_roster_internal.mark_seen() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.hash_people();
    INSERT INTO plan_sights (change, seen)
    SELECT c.change, p.seen
    FROM plan_changes c JOIN plan_seen_people p ON p.person_id = c.person_id
    WHERE c.action IN ('link', 'update', 'restore', 'archive')
    UNION ALL
    SELECT a.change, hashtextextended(string_agg(a.person_id, ' ' ORDER BY a.person_id), 0)
    FROM (
        SELECT c.change, p.person_id
        FROM plan_changes c
        JOIN plan_people p ON lower(p.identifier COLLATE "C") = lower((c.after ->> 'identifier') COLLATE "C")
        WHERE c.action = 'create'
        UNION
        SELECT c.change, p.person_id
        FROM plan_changes c JOIN plan_people p ON lower(p.email COLLATE "C") = lower((c.after ->> 'email') COLLATE "C")
        WHERE c.action = 'create'
    ) a
    GROUP BY a.change;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_seen() IS
'Fills plan_sights: for each row of plan_changes a hash of the person as it is now; for a create, of the people with '
'the same identifier or email address.';

CREATE FUNCTION minga_roster_internal.link_hash(link links) RETURNS bigint
LANGUAGE sql STABLE
RETURN CASE WHEN (link).sourced_id IS NOT NULL THEN
    hashtextextended(ROW((link).person_id, (link).category, (link).role_written, (link).linked_run, (link).missed_run,
        (link).archived_run)::text, 0) END;
COMMENT ON FUNCTION minga_roster_internal.link_hash(links) IS 'A hash of what a plan uses of a link; NULL for none.';

CREATE FUNCTION minga_roster_internal.keep_preview(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.open_link_writes();
    INSERT INTO minga_roster.planned_links (run, sourced_id, deed, change, person_id, category, role_written, rule,
        linked_run, missing, returned, archived, seen)
    SELECT run.run, w.sourced_id, w.deed, w.change, w.person_id, w.category, w.role_written, w.rule, w.linked_run,
        w.missing, w.returned, w.archived,
        minga_roster_internal.link_hash(l)
    FROM plan_link_writes w
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = keep_preview.run.connection) l
        ON l.sourced_id = w.sourced_id;
    PERFORM minga_roster_internal.mark_seen();
    PERFORM minga_roster_internal.keep_changes(run);
    PERFORM minga_roster_internal.find_outcomes();
    PERFORM minga_roster_internal.count_outcomes(run, minga_roster_internal.known_connection(run.connection));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_preview(runs) IS
'Keeps the changes of a preview, and what its apply needs: the links to write, and how the preview saw the people.';

CREATE FUNCTION minga_roster_internal.planned_in(run runs) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE (run).kind
        WHEN 'apply' THEN (run).of_run
        WHEN 'approve' THEN coalesce(
            (SELECT minga_roster_internal.planned_in(a) FROM minga_roster.runs a
            WHERE a.run = (planned_in.run).of_run AND a.kind IN ('sync', 'preview', 'apply')),
            (run).of_run)
        ELSE (run).run
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_in(runs) IS
'The run that has the changes which this run carried out: for an apply the preview, for an approval the run that held '
'them.';

CREATE FUNCTION minga_roster_internal.apply_preview(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(apply_preview.run);
    preview minga_roster.runs := minga_roster_internal.known_run(this.of_run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    local_columns text[] := minga_roster_internal.local_written_columns(this.connection);
    missing_columns text[] := minga_roster_internal.missing_columns(connection.people);
    today date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    why text;
BEGIN
    why := CASE
        WHEN preview.kind <> 'preview' THEN 
            format('It is %s.', minga_roster_internal.with_article(preview.kind))
        WHEN preview.state <> 'succeeded' THEN minga_roster_internal.state_words(preview.state) || '.'
        WHEN preview.queued_at < minga_roster_internal.changes_kept_since() THEN
            'Some of its changes may have been removed, because they are older than minga_roster.keep_changes.'
        ELSE coalesce(
            minga_roster_internal.why_foreign(preview, connection),
            'It was applied by run ' || minga_roster_internal.carried_out_by(preview) || '.',
            (SELECT format('Run %s, %s, has changed people since, so the preview is out of date.', r.run,
                    minga_roster_internal.with_article(r.kind))
                FROM minga_roster.runs r
                WHERE r.connection = this.connection AND r.kind IN ('sync', 'apply', 'undo') AND r.state = 'succeeded'
                    AND r.run <> preview.run AND (r.run > preview.run OR r.finished_at > preview.finished_at)
                ORDER BY r.run DESC LIMIT 1),
            CASE WHEN connection.unproven AND connection.unproven_since > preview.finished_at THEN
                'The address, SIS or school of the connection has changed since.' END)
    END;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be applied', preview.run),
            DETAIL = why,
            HINT = CASE WHEN preview.kind = 'preview' AND preview.state IN ('queued', 'running') THEN
                    'Try again when it has finished; see minga_roster.roster_status.'
                ELSE format('Run a new preview: SELECT * FROM minga_roster.roster_preview(%L).',
                    this.connection) END;
    END IF;

    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.make_plan_tables('apply');
    PERFORM minga_roster_internal.load_changes(preview.run, 'planned');
    PERFORM minga_roster_internal.mark_seen();
    INSERT INTO plan_moved_links (sourced_id, change)
    SELECT w.sourced_id, w.change
    FROM minga_roster.planned_links w
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = this.connection) l ON l.sourced_id = w.sourced_id
    WHERE w.run = preview.run AND minga_roster_internal.link_hash(l) IS DISTINCT FROM w.seen;
    -- The plan used every decision made before it. A link that roster_decide made later has the number of the preview
    -- or of a later run.
    INSERT INTO plan_decided_since (change, sourced_id)
    WITH planned AS MATERIALIZED (
        SELECT c.change, c.person_id, c.rule, i.sourced_id
        FROM minga_roster.changes c CROSS JOIN LATERAL unnest(c.sourced_ids) i (sourced_id)
        WHERE c.run = preview.run AND c.state = 'planned'
        UNION ALL
        SELECT NULL, w.person_id, w.rule, w.sourced_id
        FROM minga_roster.planned_links w
        WHERE w.run = preview.run AND w.change IS NULL AND w.deed IN ('insert', 'replace')
    ), decided AS MATERIALIZED (
        SELECT l.sourced_id, l.person_id
        FROM minga_roster.links l
        WHERE l.connection = this.connection AND l.rule = 'decided' AND l.linked_run >= preview.run
    )
    SELECT p.change, p.sourced_id FROM planned p JOIN decided d ON d.sourced_id = p.sourced_id
    UNION
    SELECT p.change, p.sourced_id FROM planned p JOIN decided d ON d.person_id = p.person_id
    UNION
    SELECT p.change, p.sourced_id
    FROM planned p JOIN minga_roster.match_decisions d ON d.connection = this.connection AND d.sourced_id = p.sourced_id
    WHERE d.decision = 'skip' OR (p.rule IN ('former id', 'identifier', 'e-mail', 'protected')
        AND coalesce(d.person_id, p.person_id) = p.person_id)
    UNION
    SELECT p.change, min(p.sourced_id)
    FROM planned p
    LEFT JOIN (SELECT k.sourced_id, k.person_id FROM minga_roster.links k WHERE k.connection = this.connection) l
        ON l.sourced_id = p.sourced_id AND l.person_id = p.person_id
    -- Further rows of a person whose linked row is not used, because its category is off or it is unreadable.
    LEFT JOIN (SELECT w.sourced_id FROM minga_roster.planned_links w
        WHERE w.run = preview.run AND w.deed IN ('insert', 'replace')) n
        ON n.sourced_id = p.sourced_id
    LEFT JOIN (SELECT DISTINCT k.person_id FROM minga_roster.links k WHERE k.connection = this.connection) known
        ON known.person_id = p.person_id
    WHERE p.rule IN ('linked', 'same person')
    GROUP BY p.change
    HAVING count(l.sourced_id) = 0 AND (count(n.sourced_id) < count(*) OR count(known.person_id) = 0);
    INSERT INTO plan_refusals (change, code, detail)
    SELECT c.change,
        coalesce(
            minga_roster_internal.setting_refusal(c.action, c.after, t, local_columns, missing_columns),
            CASE
                WHEN c.action = 'archive' AND today <@ connection.freeze_dates THEN 'frozen'
                WHEN c.action = 'create' AND s.seen IS DISTINCT FROM c.seen THEN 'same_key_person'
                WHEN c.change IN (SELECT m.change FROM plan_moved_links m) THEN 'link_changed'
                WHEN c.change IN (SELECT d.change FROM plan_decided_since d WHERE d.change IS NOT NULL) THEN 'decided'
            END,
            minga_roster_internal.person_refusal(c.action, p.person_id, p.archived, p.protection),
            CASE
                WHEN c.action = 'create' THEN NULL
                WHEN s.seen IS DISTINCT FROM c.seen THEN 'changed_since'
                WHEN c.action = 'archive' AND elsewhere.person_id IS NOT NULL THEN 'listed_elsewhere'
                WHEN e.run IS NOT NULL THEN 'changed_by_run'
            END),
        CASE WHEN c.action = 'archive' AND today <@ connection.freeze_dates
            THEN (upper(connection.freeze_dates) - 1)::text ELSE e.run::text END
    FROM minga_roster.changes c
    LEFT JOIN minga_roster.toggles t ON t.connection = this.connection AND t.category = c.category
    LEFT JOIN plan_people p ON p.person_id = c.person_id
    LEFT JOIN plan_sights s ON s.change = c.change
    LEFT JOIN (
        SELECT d.person_id, max(d.done_by) AS run
        FROM minga_roster.changes d
        WHERE d.site = this.site AND d.done_by > preview.run
        GROUP BY d.person_id
    ) e ON e.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT k.person_id
        FROM minga_roster.links k JOIN minga_roster.connections o USING (connection)
        WHERE k.site = this.site AND k.connection <> this.connection AND k.missed_since IS NULL
            AND o.people = connection.people AND o.retired_at IS NULL
    ) elsewhere ON elsewhere.person_id = c.person_id
    WHERE c.run = preview.run AND c.state = 'planned';
    UPDATE minga_roster.changes c SET state = 'refused', state_at = minga_roster_internal.clock(),
        state_reason = minga_roster_internal.state_reason(f.code, f.detail)
    FROM plan_refusals f
    WHERE c.run = preview.run AND c.change = f.change AND f.code IS NOT NULL;

    PERFORM minga_roster_internal.open_writes(connection, 'planned');
    PERFORM minga_roster_internal.write_people(connection);
    -- Links of held creates wait for the approval.
    INSERT INTO plan_link_writes
    SELECT l.sourced_id, l.deed, l.change, l.person_id, l.category, l.role_written, l.rule, l.linked_run, l.missing,
        l.returned, l.archived
    FROM minga_roster.planned_links l
    WHERE l.run = preview.run AND l.sourced_id NOT IN (SELECT m.sourced_id FROM plan_moved_links m)
        AND (l.change NOT IN (SELECT h.change FROM minga_roster.changes h
            WHERE h.run = preview.run AND h.action = 'create' AND h.state = 'held')) IS NOT FALSE
        AND (l.change IS NOT NULL
            OR l.sourced_id NOT IN (SELECT d.sourced_id FROM plan_decided_since d WHERE d.change IS NULL))
        -- A link without a change, such as an owner's, is written only if the person still exists.
        AND (l.deed NOT IN ('insert', 'replace') OR l.change IS NOT NULL
            OR l.person_id IN (SELECT p.person_id FROM plan_people p));
    ANALYZE plan_link_writes;
    PERFORM minga_roster_internal.write_links(this);
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.settle_changes(this, preview.run);
    DELETE FROM minga_roster.planned_links l
    WHERE l.run = preview.run AND (l.change NOT IN (SELECT h.change FROM minga_roster.changes h
            WHERE h.run = preview.run AND h.action = 'create' AND h.state = 'held')) IS NOT FALSE;
    IF EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = preview.run AND c.state = 'held'
        AND (c.action = 'update' OR c.state_cause = 'new_site')) THEN
        PERFORM minga_roster_internal.require_full_read(this.connection);
    END IF;
    UPDATE minga_roster.changes c
    SET state = 'expired', state_at = minga_roster_internal.clock(), state_cause = 'superseded'
    FROM minga_roster.runs r
    WHERE r.run = c.run AND r.connection = this.connection AND c.state = 'held' AND c.run <> preview.run
        AND preview.is_full IS NOT FALSE;
    IF FOUND THEN
        PERFORM minga_roster_internal.drop_held_links(this.connection);
    END IF;

    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, coalesce(c.category, 'none'), CASE c.state WHEN 'held' THEN 'held' ELSE c.action END, count(*)
    FROM minga_roster.changes c
    WHERE c.run = preview.run AND (c.state IN ('applied', 'noted')
        OR (c.state = 'held' AND minga_roster_internal.awaits_approval(c.action, c.state_cause)))
    GROUP BY 2, 3;
    UPDATE minga_roster.runs r
    SET is_full = preview.is_full, created = n.created, linked = n.linked, updated = n.updated,
        restored = n.restored, archived = n.archived, held = n.held,
        unchanged = preview.unchanged + n.kept, skipped = preview.skipped, conflicts = n.conflicts, rejects = n.rejects
    FROM (
        SELECT count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'create') AS created,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'link') AS linked,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'update') AS updated,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'restore') AS restored,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'archive') AS archived,
            count(*) FILTER (WHERE c.state = 'held'
                AND minga_roster_internal.awaits_approval(c.action, c.state_cause)) AS held,
            (SELECT count(*) FROM plan_written w WHERE w.code = 'kept' AND NOT w.links) AS kept,
            count(*) FILTER (WHERE c.action = 'conflict') AS conflicts,
            count(*) FILTER (WHERE c.action = 'reject') AS rejects
        FROM minga_roster.changes c WHERE c.run = preview.run
    ) n
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_preview(bigint) IS
'Carries out the planned changes of the run''s preview, checking each again; people who are no longer as the preview '
'saw them are refused. What the guard held stays held until roster_approve of the preview. Proves no connection. 55000 '
'if the run is not a preview, has not succeeded, was applied, or is out of date because of a later run or a changed '
'connection.';
-- Undo: reverts what a sync, an apply or an approval did to people and links, in one transaction, and pauses Automatic
-- Rostering, which would do it again. Must survive everything that happened since: a person who was changed since is
-- kept.

CREATE FUNCTION minga_roster_internal.check_undo(connection connections, target runs) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    why text;
    next_step text;
BEGIN
    SELECT CASE
            WHEN target.kind = 'undo' THEN 'It is an undo, which cannot be undone.'
            WHEN target.kind NOT IN ('sync', 'apply', 'approve') THEN
                format('It is %s, which changes no one.', minga_roster_internal.with_article(target.kind))
            WHEN target.state <> 'succeeded' THEN
                minga_roster_internal.state_words(target.state) || ', and changed no one.'
            WHEN u.run IS NOT NULL THEN format('It was undone by run %s.', u.run)
            WHEN EXISTS (SELECT FROM minga_roster.runs r
                WHERE r.run IN (target.run, minga_roster_internal.planned_in(target))
                    AND r.queued_at < minga_roster_internal.changes_kept_since()) THEN
                'Some of its changes may have been removed, because they are older than minga_roster.keep_changes.'
            WHEN f.why IS NOT NULL THEN f.why
            WHEN NOT EXISTS (SELECT FROM minga_roster.changes c
                    WHERE c.run = minga_roster_internal.planned_in(target) AND c.done_by = target.run)
                AND NOT EXISTS (SELECT FROM minga_roster.link_changes l WHERE l.run = target.run) THEN
                CASE WHEN coalesce(target.created, 0) + coalesce(target.linked, 0) + coalesce(target.updated, 0)
                        + coalesce(target.restored, 0) + coalesce(target.archived, 0) > 0
                    THEN 'Its changes have been removed, because they are older than minga_roster.keep_changes.'
                    ELSE 'It changed no one.' END
        END,
        CASE
            WHEN target.kind IN ('sync', 'apply', 'approve') AND target.state IN ('queued', 'running') THEN
                'Try again when it has finished; see minga_roster.roster_status.'
            WHEN target.kind = 'undo' THEN format('Preview what a sync would do now, then apply it: SELECT * FROM '
                'minga_roster.roster_preview(%L).', target.connection)
            WHEN target.kind = 'preview' AND a.run IS NOT NULL THEN
                format('Undo run %s, which applied it: SELECT minga_roster.roster_undo(%s).', a.run, a.run)
            ELSE format('Find the runs that changed people: SELECT run, kind, finished_at FROM minga_roster.runs WHERE '
                'connection = %L AND kind IN (''sync'', ''apply'', ''approve'') AND state = ''succeeded'' ORDER BY run '
                'DESC.',
                target.connection)
        END
    INTO why, next_step
    FROM minga_roster_internal.why_foreign(target, connection) f (why)
    LEFT JOIN LATERAL (SELECT r.run FROM minga_roster.runs r
        WHERE r.connection = target.connection AND r.kind = 'undo' AND r.of_run = target.run AND r.state = 'succeeded'
        ORDER BY r.run LIMIT 1) u ON true
    CROSS JOIN LATERAL minga_roster_internal.carried_out_by(target) a (run);
    IF why IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be undone', target.run), DETAIL = why, HINT = next_step;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_undo(connections, runs) IS
'55000 if the target cannot be undone, with the reason and the next step.';

CREATE FUNCTION minga_roster_internal.find_undo(target runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('undo');
    INSERT INTO plan_undo_links (sourced_id, before, person_now, person_before, later_run)
    SELECT t.sourced_id, t.before, l.person_id, t.before ->> 'person_id', later.run
    FROM (
        SELECT c.sourced_id, c.before FROM minga_roster.link_changes c WHERE c.run = target.run
        UNION ALL
        SELECT l.sourced_id, NULL FROM minga_roster.links l
        WHERE l.connection = target.connection AND l.linked_run = target.run AND l.rule <> 'decided'
            AND l.sourced_id NOT IN (SELECT c.sourced_id FROM minga_roster.link_changes c WHERE c.run = target.run)
    ) t
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = target.connection) l
        ON l.sourced_id = t.sourced_id
    LEFT JOIN (
        SELECT c.sourced_id, max(c.run) AS run
        FROM minga_roster.link_changes c JOIN minga_roster.runs r ON r.run = c.run AND r.connection = target.connection
        WHERE c.run > target.run
        GROUP BY c.sourced_id
    ) later ON later.sourced_id = t.sourced_id
    -- What roster_decide made of a row since then stays.
    WHERE (l.rule = 'decided' AND l.linked_run >= target.run) IS NOT TRUE;

    PERFORM minga_roster_internal.hash_people();
    INSERT INTO plan_undoing (run, change, person_id, category, did, nth, action, before, after, code, detail)
    SELECT c.run, c.change, c.person_id, c.category, c.action, row_number() OVER (ORDER BY c.run, c.change),
        CASE c.action WHEN 'create' THEN 'archive' WHEN 'archive' THEN 'restore' WHEN 'restore' THEN 'archive'
            ELSE c.action END,
        CASE c.action WHEN 'archive' THEN jsonb_build_object('archived_at',
            coalesce(to_jsonb(p.status), to_jsonb(p.archived_at)))
            ELSE c.after || coalesce(c.stored, '{}') END,
        CASE c.action WHEN 'create' THEN '{}' ELSE c.before END,
        coalesce(
            CASE WHEN c.sourced_ids = '{}' THEN 'erased' END,
            minga_roster_internal.person_refusal(NULL, p.person_id, p.archived, p.protection),
            CASE
                WHEN later.run IS NOT NULL THEN 'changed_by_run'
                WHEN k.later_run IS NOT NULL THEN 'link_changed_by_run'
                WHEN c.action <> 'link' AND s.seen IS DISTINCT FROM c.seen THEN 'changed_since'
                WHEN c.action = 'create' AND e.person_id IS NOT NULL THEN 'linked_elsewhere'
                WHEN c.action = 'create' AND h.person_id IS NOT NULL THEN 'decided_person'
            END),
        coalesce(later.run, k.later_run)::text
    FROM minga_roster.changes c
    LEFT JOIN plan_people p ON p.person_id = c.person_id
    LEFT JOIN plan_seen_people s ON s.person_id = c.person_id
    LEFT JOIN (
        SELECT d.person_id, max(d.done_by) AS run
        FROM minga_roster.changes d
        WHERE d.site = target.site AND d.state = 'applied' AND d.done_by > target.run
        GROUP BY d.person_id
    ) later ON later.person_id = c.person_id
    LEFT JOIN (
        SELECT t.person_now AS person_id, max(t.later_run) AS later_run
        FROM plan_undo_links t
        WHERE t.later_run IS NOT NULL
        GROUP BY t.person_now
    ) k ON k.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT l.person_id FROM minga_roster.links l
        WHERE l.site = target.site AND l.connection <> target.connection
    ) e ON e.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT l.person_id FROM minga_roster.links l
        WHERE l.connection = target.connection AND l.rule = 'decided' AND l.linked_run >= target.run
    ) h ON h.person_id = c.person_id
    WHERE c.run = minga_roster_internal.planned_in(target) AND c.done_by = target.run AND c.state = 'applied';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_undo(runs) IS
'Fills plan_undoing (each change that the run carried out, what reverts it, and the reason if it is kept) '
'and plan_undo_links (the links that it wrote, as they were before).';

CREATE FUNCTION minga_roster_internal.undo_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(undo_run.run);
    target minga_roster.runs := minga_roster_internal.known_run(this.of_run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    PERFORM minga_roster_internal.check_undo(connection, target);
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.find_undo(target);

    INSERT INTO plan_writes (change, action, category, person_id, before, after)
    SELECT u.nth, u.action, u.category, u.person_id, u.before, u.after
    FROM plan_undoing u
    WHERE u.code IS NULL AND u.action <> 'link';
    ANALYZE plan_writes;
    PERFORM minga_roster_internal.write_people(connection);
    UPDATE plan_undoing u SET code = coalesce(w.code, 'changed_since'), failure = w.failure
    FROM plan_written w
    WHERE w.change = u.nth AND NOT w.done;

    -- Links of kept people stay, and so do links that a later run wrote.
    DELETE FROM plan_undo_links t
    WHERE t.later_run IS NOT NULL
        OR t.person_now IN (SELECT u.person_id FROM plan_undoing u WHERE u.code IS NOT NULL)
        OR t.person_before IN (SELECT u.person_id FROM plan_undoing u WHERE u.code IS NOT NULL);
    DELETE FROM minga_roster.links l USING plan_undo_links t
    WHERE l.connection = this.connection AND l.sourced_id = t.sourced_id;
    INSERT INTO minga_roster.links
    SELECT l.*
    FROM plan_undo_links t CROSS JOIN LATERAL jsonb_populate_record(NULL::minga_roster.links, t.before) l
    WHERE t.before IS NOT NULL;
    PERFORM minga_roster_internal.remember_written(this.connection);
    DELETE FROM minga_roster.link_changes c USING plan_undo_links t
    WHERE c.run = target.run AND c.sourced_id = t.sourced_id;

    UPDATE minga_roster.changes c
    SET state = CASE WHEN u.code IS NULL THEN 'undone' ELSE 'kept' END, state_at = minga_roster_internal.clock(),
        state_reason = CASE WHEN u.code IS NULL THEN minga_roster_internal.state_reason('undone', this.run::text)
            ELSE coalesce(u.failure, minga_roster_internal.state_reason(u.code, u.detail)) END, state_cause = CASE
            WHEN u.code IS NULL THEN 'undone' END
    FROM plan_undoing u
    WHERE c.run = u.run AND c.change = u.change;
    -- What the run held depended on what is being undone.
    UPDATE minga_roster.changes c SET state = 'expired', state_at = minga_roster_internal.clock(),
        state_reason = minga_roster_internal.state_reason('run_undone', target.run::text),
        state_cause = 'run_undone'
    WHERE target.kind <> 'approve' AND c.run = minga_roster_internal.planned_in(target) AND c.state = 'held';

    PERFORM minga_roster_internal.require_full_read(this.connection);
    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c SET paused_cause = 'run_undone',
        paused_reason = format('run %s was undone', target.run)
    WHERE c.connection = this.connection AND c.automatic;
    PERFORM minga_roster_internal.cancel_queued_evening(this.connection, 'Automatic Rostering is off or paused');

    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, coalesce(u.category, 'none'), CASE WHEN u.code IS NULL THEN u.action ELSE 'kept' END, count(*)
    FROM plan_undoing u
    GROUP BY 2, 3;
    UPDATE minga_roster.runs r
    SET created = 0, linked = n.linked, updated = n.updated, restored = n.restored, archived = n.archived, held = 0,
        unchanged = n.kept,
        skipped = 0, conflicts = 0, rejects = 0
    FROM (
        SELECT count(*) FILTER (WHERE u.code IS NULL AND u.action = 'link') AS linked,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'update') AS updated,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'restore') AS restored,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'archive') AS archived,
            count(*) FILTER (WHERE u.code IS NOT NULL) AS kept
        FROM plan_undoing u
    ) n
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.undo_run(bigint) IS
'Undoes the changes that the target run carried out: new people are archived, archived people restored, restored '
'people archived again, values and links reverted. People who were changed since are kept, with the reason in '
'state_reason. Pauses Automatic Rostering. 55000 for a run that cannot be undone.';
-- What a run does after its fetch, in one transaction: plan, guard and apply; or, for an earlier run, approve, apply or
-- undo.

CREATE FUNCTION minga_roster_internal.count_changes(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT c.run, coalesce(c.category, 'none'), CASE c.state WHEN 'held' THEN 'held' ELSE 'archive' END, count(*)
    FROM minga_roster.changes c
    WHERE c.run = count_changes.run AND ((c.action = 'archive' AND c.state IN ('planned', 'applied'))
        OR (minga_roster_internal.awaits_approval(c.action, c.state_cause) AND c.state = 'held'))
    GROUP BY c.run, coalesce(c.category, 'none'), CASE c.state WHEN 'held' THEN 'held' ELSE 'archive' END;
    UPDATE minga_roster.runs r
    SET created = n.created, linked = n.linked, updated = n.updated, restored = n.restored, archived = n.archived,
        held = n.held,
        conflicts = n.conflicts, rejects = n.rejects, unchanged = o.unchanged, skipped = o.skipped
    FROM (
        SELECT count(*) FILTER (WHERE c.action = 'create' AND c.state <> 'held') AS created,
            count(*) FILTER (WHERE c.action = 'link' AND c.state <> 'held') AS linked,
            count(*) FILTER (WHERE c.action = 'update' AND c.state <> 'held') AS updated,
            count(*) FILTER (WHERE c.action = 'restore') AS restored,
            count(*) FILTER (WHERE c.action = 'archive' AND c.state <> 'held') AS archived,
            count(*) FILTER (WHERE c.state = 'held'
                AND minga_roster_internal.awaits_approval(c.action, c.state_cause)) AS held,
            count(*) FILTER (WHERE c.action = 'conflict') AS conflicts,
            count(*) FILTER (WHERE c.action = 'reject') AS rejects
        FROM minga_roster.changes c WHERE c.run = count_changes.run
            AND c.state IN ('planned', 'applied', 'held', 'noted')
    ) n, (
        SELECT coalesce(sum(c.count) FILTER (WHERE c.action = 'unchanged'), 0) AS unchanged,
            coalesce(sum(c.count) FILTER (WHERE c.action = 'skip'), 0) AS skipped
        FROM minga_roster.run_counts c WHERE c.run = count_changes.run
    ) o
    WHERE r.run = count_changes.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_changes(bigint) IS
'Stores the counts of a run: changed people from its changes, unchanged people from the outcomes of their rows.';

CREATE FUNCTION minga_roster_internal.find_taken(approved runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('approve');
    IF NOT EXISTS (SELECT FROM plan_changes c WHERE c.action = 'create') THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.mark_seen();
    INSERT INTO plan_taken
    SELECT c.change, 'same_key_person'
    FROM plan_changes c JOIN plan_sights s ON s.change = c.change
    WHERE c.action = 'create'
    UNION ALL
    SELECT p.change, 'link_changed'
    FROM minga_roster.planned_links p
    JOIN minga_roster.links l ON l.connection = find_taken.approved.connection AND l.sourced_id = p.sourced_id
    WHERE p.run = find_taken.approved.run
    UNION ALL
    SELECT p.change, 'decided_skip'
    FROM minga_roster.planned_links p
    JOIN minga_roster.match_decisions d ON d.connection = find_taken.approved.connection
        AND d.sourced_id = p.sourced_id AND d.decision = 'skip'
    WHERE p.run = find_taken.approved.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_taken(runs) IS
'Fills plan_taken: held creates that an approval must no longer carry out, and why.';

CREATE FUNCTION minga_roster_internal.approve_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(approve_run.run);
    approved minga_roster.runs := minga_roster_internal.known_run((
        SELECT CASE r.kind WHEN 'apply' THEN r.of_run ELSE r.run END
        FROM minga_roster_internal.known_run(this.of_run) r));
    is_applied boolean := minga_roster_internal.carried_out_by(approved) IS NOT NULL;
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    foreign_why text := minga_roster_internal.why_foreign(approved, connection);
    local_columns text[] := minga_roster_internal.local_written_columns(this.connection);
    missing_columns text[] := minga_roster_internal.missing_columns(connection.people);
    is_held boolean;
    proves boolean;
    undone_by bigint;
BEGIN
    SELECT max(r.run) INTO undone_by
    FROM minga_roster.runs r JOIN minga_roster.runs u ON u.run = r.of_run
    WHERE r.connection = this.connection AND r.kind = 'undo' AND r.state = 'succeeded' AND u.kind IN ('sync', 'apply')
        AND minga_roster_internal.planned_in(u) = approved.run;
    PERFORM FROM minga_roster.changes c WHERE c.run = approved.run AND c.state = 'held'
        AND minga_roster_internal.awaits_approval(c.action, c.state_cause) FOR UPDATE;
    is_held := FOUND;
    -- People who would be archived show whether it is the right school, and so does a run without any; updates do not.
    SELECT connection.unproven AND undone_by IS NULL AND approved.run = max(r.run)
        AND (EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run AND c.action = 'archive'
            AND c.state = 'held')
            OR NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run AND c.action = 'update'
                AND (c.state = 'held' OR c.state_cause = 'approved')))
    INTO proves
    FROM minga_roster.runs r
    WHERE r.connection = this.connection AND r.kind = 'sync' AND r.state = 'succeeded' AND r.is_full;
    IF approved.kind NOT IN ('sync', 'preview') OR NOT is_applied OR foreign_why IS NOT NULL
        OR approved.state <> 'succeeded' OR NOT (is_held OR coalesce(proves, false)) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s has nothing to approve', approved.run),
            DETAIL = CASE
                WHEN approved.kind NOT IN ('sync', 'preview') THEN
                    format('It is %s, which holds nothing.', minga_roster_internal.with_article(approved.kind))
                WHEN foreign_why IS NOT NULL THEN foreign_why
                WHEN approved.kind = 'preview' AND approved.state = 'succeeded' AND NOT is_applied THEN
                    'It is a preview that has not been applied.'
                WHEN approved.state <> 'succeeded' THEN minga_roster_internal.state_words(approved.state) || '.'
                WHEN undone_by IS NOT NULL THEN format('It was undone by run %s, and what it held with it.', undone_by)
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run
                    AND c.action IN ('create', 'update', 'archive') AND c.state = 'expired') THEN
                    'What it held has expired: a later sync has decided again.'
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run
                    AND c.state_cause = 'approved') THEN
                    'What it held has been approved already.'
                WHEN approved.queued_at < minga_roster_internal.changes_kept_since() THEN
                    'Its changes have been removed, because they are older than minga_roster.keep_changes.'
                ELSE 'It holds nothing.'
            END,
            HINT = CASE WHEN approved.kind IN ('sync', 'preview') AND approved.state IN ('queued', 'running') THEN
                    'Call again when it has finished: minga_roster.roster_status shows its state.'
                ELSE format('SELECT run, held FROM minga_roster.runs WHERE connection = %L AND held > 0 ORDER BY run '
                    'DESC shows the syncs that held something.',
                    this.connection) END;
    END IF;

    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.load_changes(approved.run, 'held');
    PERFORM minga_roster_internal.find_taken(approved);
    INSERT INTO plan_refusals (change, code)
    SELECT w.change,
        coalesce(
            minga_roster_internal.setting_refusal(w.action, w.after, t, local_columns, missing_columns),
            n.code,
            minga_roster_internal.person_refusal(w.action, p.person_id, p.archived, p.protection),
            CASE
                WHEN w.action = 'update' AND k.change IS NULL THEN 'link_changed'
                WHEN w.action = 'archive' AND coalesce(l.listed, true) THEN 'listed_again'
                WHEN w.action = 'archive' AND l.listed_elsewhere THEN 'listed_elsewhere'
            END)
    FROM plan_changes w
    LEFT JOIN minga_roster.toggles t ON t.connection = this.connection AND t.category = w.category
    LEFT JOIN plan_people p ON p.person_id = w.person_id
    LEFT JOIN (SELECT n.change, min(n.code) AS code FROM plan_taken n GROUP BY n.change) n ON n.change = w.change
    LEFT JOIN (
        SELECT k.person_id, bool_or(k.missed_since IS NULL) FILTER (WHERE k.connection = this.connection) AS listed,
            coalesce(bool_or(k.missed_since IS NULL AND c.retired_at IS NULL)
                FILTER (WHERE k.connection <> this.connection), false) AS listed_elsewhere
        FROM minga_roster.links k JOIN minga_roster.connections c USING (connection)
        WHERE k.site = this.site AND c.people = connection.people
        GROUP BY k.person_id
    ) l ON l.person_id = w.person_id
    LEFT JOIN (
        -- Each row that lent its values is still this person's.
        SELECT c.change
        FROM minga_roster.changes c
        CROSS JOIN LATERAL unnest(c.sourced_ids) i (sourced_id)
        LEFT JOIN (SELECT * FROM minga_roster.links o WHERE o.connection = this.connection) o
            ON o.sourced_id = i.sourced_id COLLATE "C" AND o.person_id = c.person_id
        WHERE c.run = approved.run AND c.state = 'held' AND c.action = 'update'
        GROUP BY c.change
        HAVING count(*) = count(o.sourced_id)
    ) k ON k.change = w.change;
    PERFORM minga_roster_internal.open_writes(connection, 'held');
    PERFORM minga_roster_internal.write_people(connection);

    UPDATE minga_roster.changes c
    SET state = CASE WHEN w.done THEN 'applied' ELSE 'refused' END, state_at = minga_roster_internal.clock(),
        state_reason = CASE WHEN w.done THEN minga_roster_internal.state_reason('approved', this.run::text)
            ELSE coalesce(w.failure,
                minga_roster_internal.state_reason(coalesce(f.code, 'changed_since'), NULL)) END,
        state_cause = CASE WHEN w.done THEN 'approved' END,
        person_id = CASE WHEN w.done THEN w.person_id ELSE c.person_id END,
        after = CASE WHEN w.done AND c.action = 'archive' THEN
            jsonb_build_object('archived_at', minga_roster_internal.clock()) || c.after ELSE c.after END,
        seen = w.seen, done_by = CASE WHEN w.done THEN this.run END, stored = w.stored
    FROM plan_refusals f LEFT JOIN plan_written w ON w.change = f.change
    WHERE c.run = approved.run AND c.change = f.change;
    INSERT INTO minga_roster.link_changes (run, sourced_id, before)
    SELECT this.run, l.sourced_id, to_jsonb(l)
    FROM plan_written d
    JOIN plan_writes w ON w.change = d.change
    JOIN minga_roster.links l ON l.person_id = d.person_id
    WHERE d.done AND (w.action = 'archive' OR (w.action = 'update' AND w.after ? 'role'))
        AND l.connection = this.connection AND l.site = this.site;
    UPDATE minga_roster.links l
    SET archived_run = CASE w.action WHEN 'archive' THEN approved.run ELSE l.archived_run END,
        role_written = CASE w.action WHEN 'archive' THEN l.role_written ELSE w.after ->> 'role' END
    FROM plan_written d JOIN plan_writes w ON w.change = d.change
    WHERE d.done AND (w.action = 'archive' OR (w.action = 'update' AND w.after ? 'role'))
        AND l.connection = this.connection AND l.person_id = d.person_id;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT this.connection, l.sourced_id, this.site, w.person_id, l.category, l.role_written, l.rule, this.run
    FROM plan_written w JOIN minga_roster.planned_links l ON l.run = approved.run AND l.change = w.change
    WHERE w.done AND w.action = 'create';
    DELETE FROM minga_roster.planned_links l WHERE l.run = approved.run;
    PERFORM minga_roster_internal.remember_written(this.connection);
    IF proves THEN
        UPDATE minga_roster.connections c SET unproven = false WHERE c.connection = this.connection;
    END IF;
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, w.category, w.action, count(*) FROM plan_written w WHERE w.done GROUP BY w.category, w.action;
    UPDATE minga_roster.runs r
    SET archived = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'archive'),
        updated = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'update'),
        created = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'create'),
        linked = 0, restored = 0, held = 0, unchanged = 0, skipped = 0, conflicts = 0, rejects = 0
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.approve_run(bigint) IS
'Carries out the held archives, updates and creates of the approved run, each checked again; what fails the check '
    'becomes refused. For an applied preview, the number of the preview or of its apply works. Approving the newest '
    'full sync also proves the connection, unless it held only updates. 55000 if there is nothing to approve.';

CREATE FUNCTION minga_roster_internal.lock_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.as_owner(connection.people,
        minga_roster_internal.lock_statement(connection.people), connection.site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_people(connections) IS
'Takes the lock for writing to the people relation before anything is read from it. A run that took it later could '
    'deadlock with a session that can read the relation and waits for a stronger lock.';

-- The plan's tables are joined by hashes, without sorts; a few hundred rows tell how large these become.
CREATE FUNCTION minga_roster_internal.merge_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET default_statistics_target = 1
    SET enable_mergejoin = off AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(merge_run.run);
BEGIN
    PERFORM minga_roster_internal.check_people_relation(
        (minga_roster_internal.known_connection(this.connection)).people);
    PERFORM minga_roster_internal.require_temporary();
    PERFORM minga_roster_internal.check_event_triggers();
    IF this.kind <> 'preview' THEN
        PERFORM minga_roster_internal.lock_people(minga_roster_internal.known_connection(this.connection));
    END IF;
    CASE this.kind
        WHEN 'approve' THEN
            PERFORM minga_roster_internal.approve_run(run);
            RETURN;
        WHEN 'apply' THEN
            PERFORM minga_roster_internal.apply_preview(run);
            RETURN;
        WHEN 'undo' THEN
            PERFORM minga_roster_internal.undo_run(run);
            RETURN;
        ELSE
            NULL;
    END CASE;
    PERFORM minga_roster_internal.plan_run(run);
    IF this.kind = 'sync' THEN
        -- A delta does not decide who is absent.
        UPDATE minga_roster.changes c
        SET state = 'expired', state_at = minga_roster_internal.clock(), state_cause = 'superseded'
        FROM minga_roster.runs r
        WHERE r.run = c.run AND r.connection = this.connection AND c.state = 'held' AND c.run <> this.run
            AND this.is_full IS NOT FALSE;
        IF FOUND THEN
            PERFORM minga_roster_internal.drop_held_links(this.connection);
        END IF;
        PERFORM minga_roster_internal.apply_run(run);
        PERFORM minga_roster_internal.end_read(this);
    ELSE
        PERFORM minga_roster_internal.keep_preview(this);
    END IF;
    PERFORM minga_roster_internal.count_changes(run);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.merge_run(bigint) IS
'The one transaction of a preview, sync, approve, apply or undo, after the fetch: plan and guard, for a sync also '
    'apply; or what it does to an earlier run. Stores the counts of the run, not its state.';
-- Relink: a SIS that gives its people new IDs, as with another version of its API or in place of another SIS. The plan
-- holds what follows from the new IDs (veto_changed_ids); here a person lets the links move.

CREATE FUNCTION minga_roster_internal.do_relink(run bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(do_relink.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    carried_out_by bigint;
    moved bigint;
BEGIN
    PERFORM minga_roster_internal.claim_connection(connection);
    -- For an applied preview, the number of either run works.
    IF this.kind = 'apply' THEN
        this := minga_roster_internal.known_run(this.of_run);
    END IF;
    carried_out_by := minga_roster_internal.carried_out_by(this);
    PERFORM FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'link' AND c.state = 'held' FOR UPDATE;
    IF NOT FOUND OR carried_out_by IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s has no links to move', this.run),
            DETAIL = CASE
                WHEN this.kind = 'preview' AND carried_out_by IS NULL THEN 'It is a preview that has not been applied.'
                WHEN this.kind NOT IN ('sync', 'preview') THEN
                    format('It is %s.', minga_roster_internal.with_article(this.kind))
                WHEN this.state <> 'succeeded' THEN minga_roster_internal.state_words(this.state) || '.'
                WHEN EXISTS (
                    SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.state_cause = 'relinked') THEN
                    'They have already been moved.'
                WHEN EXISTS (
                    SELECT FROM minga_roster.changes c
                    WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired') THEN
                    coalesce((
                            SELECT min(c.state_reason) FROM minga_roster.changes c
                            WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired'
                                AND c.state_cause = 'run_undone'),
                        'They have expired: a later sync decided again.')
                ELSE 'It held none. Links move automatically unless many IDs change in one night.'
            END,
            HINT = format('Find the sync that holds some: SELECT DISTINCT c.run FROM minga_roster.changes c JOIN '
                'minga_roster.runs r USING (run) WHERE r.connection = %L AND c.action = ''link'' AND c.state = '
                '''held''.', this.connection);
    END IF;

    WITH held AS MATERIALIZED (
        SELECT c.change, c.person_id, c.category, c.sourced_ids, c.rule
        FROM minga_roster.changes c
        WHERE c.run = this.run AND c.action = 'link' AND c.state = 'held'
    ), ids AS MATERIALIZED (
        SELECT h.change, h.person_id, i.sourced_id
        FROM held h CROSS JOIN LATERAL unnest(h.sourced_ids) AS i (sourced_id)
    ), verdicts AS MATERIALIZED (
        SELECT h.change, h.person_id, h.category, h.sourced_ids, h.rule, o.role_written, o.linked_run, o.archived_run,
            CASE
                WHEN o.person_id IS NULL THEN 'not_linked'
                -- An exact move was judged by what was listed, not by what was proved absent.
                WHEN o.listed AND h.rule <> 'former id' THEN 'listed_by_former_id'
                WHEN taken.change IS NOT NULL THEN 'id_linked'
                WHEN decided.change IS NOT NULL THEN 'decided_not'
            END AS refusal
        FROM held h
        LEFT JOIN (
            SELECT l.person_id, min(l.role_written) AS role_written, min(l.linked_run) AS linked_run,
                max(l.archived_run) AS archived_run, bool_or(l.missed_since IS NULL) AS listed
            FROM minga_roster.links l
            WHERE l.connection = this.connection
            GROUP BY l.person_id
        ) o ON o.person_id = h.person_id
        LEFT JOIN (
            SELECT DISTINCT i.change
            FROM ids i JOIN minga_roster.links l
                ON l.connection = this.connection AND l.sourced_id = i.sourced_id
        ) taken ON taken.change = h.change
        LEFT JOIN (
            SELECT DISTINCT i.change
            FROM ids i JOIN minga_roster.match_decisions d
                ON d.connection = this.connection AND d.sourced_id = i.sourced_id
            WHERE coalesce(d.person_id, i.person_id) = i.person_id
        ) decided ON decided.change = h.change
    ), gone AS (
        DELETE FROM minga_roster.links l
        USING verdicts v
        WHERE v.refusal IS NULL AND l.connection = this.connection AND l.person_id = v.person_id
    ), come AS (
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule,
            linked_run, archived_run)
        SELECT this.connection, n.sourced_id, this.site, v.person_id, v.category, v.role_written, v.rule, v.linked_run,
            v.archived_run
        FROM verdicts v CROSS JOIN LATERAL unnest(v.sourced_ids) AS n (sourced_id)
        WHERE v.refusal IS NULL
    ), kept AS (
        INSERT INTO minga_roster.link_changes (run, sourced_id, before)
        SELECT carried_out_by, k.sourced_id, k.before
        FROM (
            SELECT l.sourced_id, to_jsonb(l) AS before
            FROM verdicts v JOIN minga_roster.links l ON l.connection = this.connection AND l.person_id = v.person_id
            WHERE v.refusal IS NULL
            UNION ALL
            SELECT n.sourced_id, NULL FROM verdicts v CROSS JOIN LATERAL unnest(v.sourced_ids) AS n (sourced_id)
                WHERE v.refusal IS NULL
        ) k
        -- A former link that the run marked as absent is kept as it was before that.
        WHERE NOT EXISTS (
            SELECT FROM minga_roster.link_changes c WHERE c.run = carried_out_by AND c.sourced_id = k.sourced_id)
    ), settled AS (
        UPDATE minga_roster.changes c
        SET state = CASE WHEN v.refusal IS NULL THEN 'applied' ELSE 'refused' END,
            state_at = minga_roster_internal.clock(),
            state_reason = minga_roster_internal.state_reason(coalesce(v.refusal, 'relinked'), NULL),
            state_cause = CASE WHEN v.refusal IS NULL THEN 'relinked' END,
            done_by = CASE WHEN v.refusal IS NULL THEN carried_out_by END
        FROM verdicts v
        WHERE c.run = this.run AND c.change = v.change
    )
    SELECT count(*) INTO moved FROM verdicts v WHERE v.refusal IS NULL;
    PERFORM minga_roster_internal.require_full_read(this.connection);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_relink(bigint) IS 'Implements roster_relink.';

CREATE FUNCTION roster_relink(run bigint) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_relink(bigint) IS
'Moves the links that a sync held because many IDs changed in the SIS in one night: each person keeps the account '
'under the new ID. If the SIS sends the former ID (Infinite Campus 1.2), the move is exact, and its change has the '
'rule "former id". Returns the number of people moved. People who are listed under a former ID again, whose new ID '
'is linked, or whom roster_decide excluded become refused. People are not changed: the next sync continues with '
'them, creates the people it held and decides again who is absent. roster_undo of the sync moves the links back. For '
'an applied preview, the number of either run works. 42704 for an unknown run, 55000 if there is nothing to move, '
'55006 while the connection is busy.';
-- Conflicts that a person has to settle: who could be meant, and what was decided, which is remembered and used by
-- every later plan.

CREATE FUNCTION minga_roster_internal.drop_conflict_pairs(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM minga_roster.conflict_pairs k
    WHERE k.run IN (SELECT r.run FROM minga_roster.runs r WHERE r.connection = drop_conflict_pairs.connection)
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_conflict_pairs(text) IS
'Removes what roster_conflicts shows for a connection.';

CREATE FUNCTION minga_roster_internal.keep_conflict_pairs(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.drop_conflict_pairs(run.connection);
    IF NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = keep_conflict_pairs.run.run
        AND c.action = 'conflict') THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.conflict_pairs
    SELECT p.run, p.change, row_number() OVER (PARTITION BY p.change ORDER BY p.sourced_id COLLATE "C",
        p.person_id COLLATE "C"), p.sourced_id,
        minga_roster_internal.shown_name(s.given_name), minga_roster_internal.shown_name(s.family_name), s.identifier,
        s.email, s.username, s.role, p.person_id, p.found_by,
        minga_roster_internal.readable(h.given_name), minga_roster_internal.readable(h.family_name),
        minga_roster_internal.readable(h.identifier), minga_roster_internal.readable(h.email),
        minga_roster_internal.readable(h.username), minga_roster_internal.readable(h.role_word), h.archived, a.agrees,
        a.differs
    FROM (
        WITH candidate AS MATERIALIZED (
            SELECT k.change, k.person_id, string_agg(k.found_by, ', ' ORDER BY k.found_by) AS found_by
            FROM minga_roster.conflict_candidates k WHERE k.run = keep_conflict_pairs.run.run
            GROUP BY k.change, k.person_id
        ), conflict AS MATERIALIZED (
            SELECT c.run, c.change, c.sourced_ids, n.first_person,
                coalesce(n.people * cardinality(c.sourced_ids) > 1000, false) AS is_large
            FROM minga_roster.changes c
            LEFT JOIN (SELECT d.change, count(*) AS people, min(d.person_id) AS first_person FROM candidate d
                GROUP BY d.change) n ON n.change = c.change
            WHERE c.run = keep_conflict_pairs.run.run AND c.action = 'conflict'
        ), pair AS (
            SELECT c.run, c.change, i.id AS sourced_id, k.person_id
            FROM conflict c CROSS JOIN LATERAL unnest(c.sourced_ids) i (id) LEFT JOIN candidate k ON k.change = c.change
            WHERE NOT c.is_large
            UNION ALL
            -- If there are too many pairs: each row with the first person, and each person with the first row.
            SELECT c.run, c.change, i.id, c.first_person FROM conflict c
            CROSS JOIN LATERAL unnest(c.sourced_ids) i (id) WHERE c.is_large
            UNION ALL
            SELECT c.run, c.change, c.sourced_ids[1], k.person_id FROM conflict c
            JOIN candidate k ON k.change = c.change AND k.person_id <> c.first_person
            WHERE c.is_large
        )
        SELECT p.run, p.change, p.sourced_id, p.person_id, k.found_by
        FROM pair p LEFT JOIN candidate k ON k.change = p.change AND k.person_id = p.person_id
    ) p
    LEFT JOIN (SELECT * FROM minga_roster.staged_users u WHERE u.connection = keep_conflict_pairs.run.connection) s
        ON s.sourced_id = p.sourced_id COLLATE "C"
    LEFT JOIN plan_people h ON h.person_id = p.person_id
    CROSS JOIN LATERAL (
        SELECT array_agg(v.name ORDER BY v.nth) FILTER (WHERE v.same) AS agrees,
            array_agg(v.name ORDER BY v.nth) FILTER (WHERE NOT v.same) AS differs
        FROM (VALUES
            (1, 'given_name', minga_roster_internal.given_names_agree(minga_roster_internal.clean_name(s.given_name),
                minga_roster_internal.clean_name(s.preferred_name),
                minga_roster_internal.clean_name(h.given_name), minga_roster_internal.clean_name(h.preferred_name))),
            (2, 'family_name',
                minga_roster_internal.clean_name(s.family_name) = minga_roster_internal.clean_name(h.family_name)),
            (3, 'identifier', lower(s.identifier COLLATE "C") = lower(h.identifier COLLATE "C")),
            (4, 'email', lower(s.email COLLATE "C") = lower(h.email COLLATE "C")),
            (5, 'username', lower(s.username COLLATE "C") = lower(h.username COLLATE "C"))) AS v (nth, name, same)
        WHERE h.person_id IS NOT NULL
    ) a;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_conflict_pairs(runs) IS
'Stores both sides of the plan''s conflicts for roster_conflicts, replacing those of the connection''s previous plan.';

CREATE VIEW minga_roster_internal.latest_plans WITH (security_invoker = true) AS
    SELECT DISTINCT ON (r.connection) r.connection, r.run
    FROM minga_roster.runs r
    JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = r.site AND n.retired_at IS NULL
    WHERE r.kind IN ('preview', 'sync') AND r.state = 'succeeded'
    ORDER BY r.connection, r.run DESC;
COMMENT ON VIEW minga_roster_internal.latest_plans IS 'The newest successful preview or sync of each connection.';

CREATE VIEW roster_conflicts WITH (security_invoker = true) AS
    SELECT l.connection, c.site, c.run, c.category, k.sourced_id, k.person_id, c.conflict, c.reason, k.found_by,
        k.given_name, k.family_name, k.identifier, k.email, k.username, k.role,
        k.person_given_name, k.person_family_name, k.person_identifier, k.person_email, k.person_username,
        k.person_role, k.person_archived,
        k.agrees, k.differs, c.sourced_ids
    FROM minga_roster_internal.latest_plans l
    JOIN minga_roster.changes c ON c.run = l.run AND c.action = 'conflict'
    JOIN minga_roster.conflict_pairs k ON k.run = c.run AND k.change = c.change;
COMMENT ON VIEW roster_conflicts IS
'The conflicts in each connection''s latest plan: one row for each roster row and each person it could be, side by '
'side, as the plan saw them. roster_decide settles them. Shows names and addresses.';
COMMENT ON COLUMN roster_conflicts.person_id IS
'A person whom the row could be; NULL if the rows contradict each other and no person of the site is involved.';
COMMENT ON COLUMN roster_conflicts.conflict IS
'The kind of conflict as a code (changes.conflict); reason is the sentence for it.';
COMMENT ON COLUMN roster_conflicts.found_by IS
'What points to the person: link, former id, identifier or e-mail; row: another row of the person would be joined with '
'this one; unique index: the person has a value of the row that a unique index of the people relation allows once.';
COMMENT ON COLUMN roster_conflicts.given_name IS
'This and the next five columns are the roster row; the columns that begin with person_ are the person.';
COMMENT ON COLUMN roster_conflicts.agrees IS
'Fields in which the row and the person agree, out of given_name, family_name, identifier, email and username. A field '
'that is empty on either side is neither here nor in differs.';
COMMENT ON COLUMN roster_conflicts.sourced_ids IS 'All roster rows that form this conflict.';

CREATE FUNCTION minga_roster_internal.do_decide(connection text, sourced_id text, decision text, person_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    staged record;
    is_staged boolean;
BEGIN
    IF decision IS NULL OR decision NOT IN ('same person', 'never the same', 'new person', 'skip', 'undecided') THEN
        PERFORM minga_roster_internal.refuse_parameter('decision', decision,
            'Valid decisions are "same person", "never the same", "new person", "skip" and "undecided".',
            'Use "undecided" to remove an earlier decision.');
    END IF;
    IF sourced_id IS NULL OR (decision IN ('same person', 'never the same')) <> (person_id IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('decision "%s" needs a sourcedId%s', decision,
                CASE WHEN decision IN ('same person', 'never the same') THEN ' and a person_id'
                    ELSE ' and no person_id' END),
            DETAIL = '"same person" and "never the same" are about a row and a person; "new person", "skip" and '
                '"undecided" are about a row.',
            HINT = 'Find both with SELECT sourced_id, person_id, reason FROM minga_roster.roster_conflicts.';
    END IF;
    PERFORM minga_roster_internal.check_people_relation(known.people);
    PERFORM minga_roster_internal.claim_connection(known);
    PERFORM minga_roster_internal.require_full_read(known.connection);

    is_staged := EXISTS (SELECT FROM minga_roster.stages g WHERE g.connection = known.connection);
    SELECT r.category, s.role INTO staged
    FROM (
        SELECT u.role FROM minga_roster.staged_users u
        WHERE u.connection = known.connection AND u.sourced_id = do_decide.sourced_id
            AND u.outcome IS DISTINCT FROM 'forgotten'
        UNION ALL
        -- Rows in conflict are kept with the plan.
        SELECT k.role
        FROM minga_roster_internal.latest_plans l JOIN minga_roster.conflict_pairs k ON k.run = l.run
        WHERE NOT is_staged AND l.connection = known.connection AND k.sourced_id = do_decide.sourced_id
    ) s
    LEFT JOIN minga_roster.role_rules r ON r.sis = known.sis AND r.roster_role = s.role AND r.category <> 'contact'
    LIMIT 1;
    IF decision <> 'undecided' AND NOT FOUND AND NOT is_staged THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no rows to decide about', known.connection),
            DETAIL = 'The rows of its latest fetch were not kept: minga_roster.keep_stage is off, or the fetch did not '
                'come to its end. Only rows in conflict can be decided.',
            HINT = format('Decide about a row of minga_roster.roster_conflicts; or set minga_roster.keep_stage to on '
                'and run SELECT * FROM minga_roster.roster_fetch(%L).', known.connection);
    END IF;
    IF decision <> 'undecided' AND NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('the latest fetch of connection "%s" has no user with this sourcedId', known.connection),
            DETAIL = 'A decision is about a row that the SIS lists. The ID is not shown here.',
            HINT = format('List the rows in conflict: SELECT sourced_id FROM minga_roster.roster_conflicts WHERE '
                'connection = %L. IDs are case-sensitive.', known.connection);
    END IF;
    IF decision IN ('same person', 'skip') AND staged.category IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('users with role "%s" are not matched with people', staged.role),
            DETAIL = format('They are contacts, or minga_roster.role_rules has no rule for the role and "%s".',
                known.sis),
            HINT = 'Decide about a student, a teacher or another staff member.';
    END IF;
    IF person_id IS NOT NULL AND minga_roster_internal.as_owner(known.people,
        minga_roster_internal.person_query(known.people), known.site, person_id) = 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('site "%s" has no person with this person_id', known.site),
            DETAIL = format('There is no such person in "%s". The ID is not shown here.', known.people),
            HINT = format('List the people who could be meant: SELECT person_id FROM minga_roster.roster_conflicts '
                'WHERE connection = %L.', known.connection);
    END IF;
    IF decision = 'same person' AND EXISTS (SELECT FROM minga_roster.links l
        WHERE l.connection = known.connection AND l.site = known.site AND l.person_id = do_decide.person_id
            AND l.sourced_id <> do_decide.sourced_id
            AND minga_roster_internal.family_of(l.category) <> minga_roster_internal.family_of(staged.category))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a person cannot be both a student and staff',
            DETAIL = format('The row has role %s, and the person is linked to a row of the other family of roles.',
                staged.role),
            HINT = 'Decide "new person": a student who joins the staff gets a new account.';
    END IF;

    -- That a row is a person is stored as a link. A link made by a decision is removed by the next decision.
    DELETE FROM minga_roster.links l
    WHERE l.connection = known.connection AND l.sourced_id = do_decide.sourced_id
        AND (decision = 'same person' OR l.rule = 'decided');
    DELETE FROM minga_roster.match_decisions d
    WHERE d.connection = known.connection AND d.sourced_id = do_decide.sourced_id
        AND (do_decide.decision IN ('same person', 'undecided')
            OR d.person_id IS NOT DISTINCT FROM do_decide.person_id);
    IF decision = 'same person' THEN
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, rule, linked_run)
        VALUES (known.connection, sourced_id, known.site, person_id, staged.category, 'decided',
            coalesce((SELECT max(r.run) FROM minga_roster.runs r WHERE r.connection = known.connection), 0));
    ELSIF decision <> 'undecided' THEN
        IF EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = known.connection
            AND l.sourced_id = do_decide.sourced_id
            AND (decision IN ('new person', 'skip') OR l.person_id = do_decide.person_id))
        THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'this roster row is already linked to a person',
                DETAIL = 'A link says who a row is. A decision against a match does not remove it.',
                HINT = 'Decide "same person" with the right person instead, or leave the link as it is.';
        END IF;
        INSERT INTO minga_roster.match_decisions (connection, sourced_id, person_id, decision, decided_by, decided_at)
        VALUES (known.connection, sourced_id, person_id, decision, minga_roster_internal.caller(),
            minga_roster_internal.clock());
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_decide(text, text, text, text) IS 'Implements roster_decide.';

CREATE FUNCTION roster_decide(connection text, sourced_id text, decision text, person_id text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_decide(text, text, text, text) IS
'Decides who a roster row is: "same person" as person_id (the row is linked to that person), "never the same" as '
'person_id, "new person" (no one at the site), "skip" (the row is ignored: it matches no one, creates no one and is '
'never a conflict), or "undecided" again. The decision is remembered and used by every later plan. Works in a query '
'over roster_conflicts. Errors: 22023 for an unknown decision, 22004 for a missing or unneeded sourcedId or person_id, '
'42704 for an unknown connection, row or person, 55000 if the row is already linked or the person is of the other '
'family of roles, 55006 while the connection is busy.';
-- Forgetting: a person is erased from all that the extension keeps, and known again by keyed hashes alone, so that no
-- later sync creates the person again. And what is erased of archived people once their time is over. Must survive a
-- person who is linked by several connections, listed under several IDs, or never was linked at all; and ids of others
-- that look alike.

CREATE FUNCTION minga_roster_internal.keyed_hash(VARIADIC parts text[]) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_keyed_hash';
COMMENT ON FUNCTION minga_roster_internal.keyed_hash(text[]) IS
'HMAC-SHA-256 of the parts, with the key of forgotten people; NULL if a part is NULL. F0000 if the key cannot be '
'opened. VOLATILE, since a plan is made with a snapshot that does not see a key that was made just now.';

CREATE FUNCTION minga_roster_internal.make_hash_key() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.secrets s WHERE s.connection = 'forgotten') THEN
        INSERT INTO minga_roster.secrets (connection, binding, sealed)
        VALUES ('forgotten', row_id, minga_roster_internal.seal(row_id, 'forgotten', '',
            replace(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), '-', '')))
        ON CONFLICT ON CONSTRAINT secrets_pkey DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_hash_key() IS
'Makes the key of forgotten people, unless there is one: random, and sealed like a secret under the name "forgotten".';

CREATE FUNCTION minga_roster_internal.blank_forgotten(connection text) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    here minga_roster.connections;
    forgotten text[];
BEGIN
    SELECT * INTO here FROM minga_roster.connections c WHERE c.connection = blank_forgotten.connection;
    IF NOT EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = here.site) THEN
        RETURN '{}';
    END IF;
    SELECT coalesce(array_agg(DISTINCT n.sourced_id), '{}') INTO forgotten
    FROM (
        SELECT s.sourced_id, h.hash
        FROM (SELECT u.*, lower(u.identifier COLLATE "C") AS number, lower(u.email COLLATE "C") AS address,
                nullif(minga_roster_internal.plain_name(u.given_name), '') AS given,
                nullif(minga_roster_internal.plain_name(u.family_name), '') AS family
            FROM minga_roster.staged_users u
            WHERE u.connection = here.connection AND u.outcome IS DISTINCT FROM 'forgotten'
            OFFSET 0) s
        LEFT JOIN (SELECT k.sourced_id FROM minga_roster.links k WHERE k.connection = here.connection) l
            ON l.sourced_id = s.sourced_id
        CROSS JOIN LATERAL (VALUES
            (minga_roster_internal.keyed_hash('row', here.site, here.connection, s.sourced_id)),
            (minga_roster_internal.keyed_hash('former', here.site, here.connection, s.legacy_id)),
            (minga_roster_internal.keyed_hash('id and given name', here.site, s.sourced_id, s.given)),
            (minga_roster_internal.keyed_hash('id and family name', here.site, s.sourced_id, s.family)),
            (minga_roster_internal.keyed_hash('number and given name', here.site, s.number, s.given)),
            (minga_roster_internal.keyed_hash('number and family name', here.site, s.number, s.family)),
            (minga_roster_internal.keyed_hash('address and names', here.site, s.address, s.given, s.family))
        ) h (hash)
        WHERE l.sourced_id IS NULL AND h.hash IS NOT NULL
    ) n
    JOIN (SELECT DISTINCT f.hash FROM minga_roster.forgotten_people f WHERE f.site = here.site) f ON f.hash = n.hash;
    IF forgotten = '{}' THEN
        RETURN forgotten;
    END IF;
    UPDATE minga_roster.staged_users s
    SET agent_ids = ARRAY(SELECT a.id FROM unnest(s.agent_ids) WITH ORDINALITY a (id, nth)
            WHERE a.id <> ALL (forgotten) ORDER BY a.nth),
        relationships = (SELECT jsonb_agg(r.entry ORDER BY r.nth)
            FROM jsonb_array_elements(s.relationships) WITH ORDINALITY r (entry, nth)
            WHERE (r.entry ->> 'id' = ANY (forgotten)) IS NOT TRUE)
    WHERE s.connection = here.connection AND (s.agent_ids && forgotten
        OR EXISTS (SELECT FROM jsonb_array_elements(s.relationships) e WHERE e ->> 'id' = ANY (forgotten)));
    UPDATE minga_roster.staged_users s
    SET sourced_id = 'forgotten ' || encode(minga_roster_internal.keyed_hash('stage', here.site, here.connection,
            s.sourced_id), 'hex'),
        status = NULL, enabled = false, damaged = false, given_name = NULL, family_name = NULL, middle_name = NULL,
        preferred_name = NULL, username = NULL, identifier = NULL, email = NULL, phone = NULL, grade = NULL,
        date_last_modified = NULL, org_ids = NULL, agent_ids = NULL, outcome = 'forgotten', roles = NULL,
        damaged_field = NULL, legacy_id = NULL, relationships = NULL, id_sent = NULL
    WHERE s.connection = here.connection AND s.sourced_id = ANY (forgotten);
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.blank_forgotten(text) IS
'Empties the staged rows of forgotten people, but for role and collection, and takes their IDs out of the rows of '
'others; returns the IDs. A row is such a person''s by its ID in this connection; by its ID in another connection of '
'the site, or its identifier, if not both names differ; or by its email address with both names. Rows with a link are '
'someone else''s.';

CREATE FUNCTION minga_roster_internal.blank_unfinished_stage(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run.kind IN ('diagnose', 'fetch', 'preview', 'sync')
        AND EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = run.site) THEN
        BEGIN
            PERFORM minga_roster_internal.blank_forgotten(run.connection);
        EXCEPTION
            -- Without the key of the hashes no row can be told from another.
            WHEN OTHERS THEN
                DELETE FROM minga_roster.staged_users s WHERE s.connection = run.connection;
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.blank_unfinished_stage(runs) IS
'blank_forgotten for what a fetch left that broke off; if the key of the hashes cannot be opened, removes all of it.';

CREATE FUNCTION minga_roster_internal.word_pattern(words text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT format('(?<![[:alnum:]])(?:%s)(?![[:alnum:]])',
        string_agg(regexp_replace(w.word, '[][(){}.*+?^$|\\-]', '\\\&', 'g'), '|' ORDER BY length(w.word) DESC))
    FROM unnest(words) w (word) WHERE w.word <> '' HAVING count(*) > 0);
COMMENT ON FUNCTION minga_roster_internal.word_pattern(text[]) IS
'A regular expression for any of the words, the longest first; NULL if there are none.';

CREATE FUNCTION minga_roster_internal.erase_words(relation text, columns text[], runs bigint[], pattern text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        UPDATE minga_roster.{relation:I} t SET {settings}
        WHERE t.run = ANY ($1) AND concat_ws(E'\n', {texts}) ~* $2
    $statement$,
        'relation', relation,
        'settings', (SELECT string_agg(minga_roster_internal.fill_template(
            '{name:I} = regexp_replace(t.{name:I}, $2, ''(erased)'', ''gi'')', 'name', c), ', ')
            FROM unnest(columns) c),
        'texts', (SELECT string_agg(format('t.%I', c), ', ') FROM unnest(columns) c))
    USING runs, pattern;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.erase_words(text, text[], bigint[], text) IS
'Puts "(erased)" for what the pattern matches, in these columns of the rows of these runs; returns the number of rows '
'that had it.';

CREATE FUNCTION minga_roster_internal.find_person(relation regclass, site text, person_id text,
    OUT given_name text, OUT family_name text, OUT identifier text, OUT email text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_temporary();
    PERFORM minga_roster_internal.make_temp_table('minga_roster person',
        ARRAY['given_name', 'family_name', 'identifier', 'email'], array_fill('text'::regtype::oid, ARRAY[4]),
        array_fill(-1, ARRAY[4]), array_fill('default'::regcollation::oid, ARRAY[4]));
    PERFORM minga_roster_internal.read_as_owner(relation, minga_roster_internal.person_keys_query(relation),
        'pg_temp."minga_roster person"', site, person_id);
    RETURN QUERY SELECT p.* FROM pg_temp."minga_roster person" p;
    DROP TABLE pg_temp."minga_roster person";
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_person(regclass, text, text) IS
'The names and keys of a person as the people relation has them; no row if the site has no such person.';

CREATE FUNCTION minga_roster_internal.do_forget(site text, person_id text, sourced_id text, OUT place text,
    OUT erased bigint, OUT remains text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted_site CONSTANT text := do_forget.site;
    wanted CONSTANT text := do_forget.sourced_id;
    person text := do_forget.person_id;
    linked_person text;
    known minga_roster.connections;
    own_connections text[];
    own_ids text[];
    own_runs bigint[];
    about_runs bigint[];
    about_changes integer[];
    given_names text[];
    family_names text[];
    identifiers text[];
    addresses text[];
    pattern text;
    guardians text[];
    blanked text[];
    hashes bytea[];
    one record;
    people_with text[] := '{}';
    unread_people text[] := '{}';
    this_erasure uuid := gen_random_uuid();
    number bigint;
    total bigint := 0;
BEGIN
    IF wanted_site IS NULL OR (person IS NULL AND wanted IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'roster_forget needs a site, and a person_id or a sourcedId',
            HINT = 'SELECT * FROM minga_roster.roster_forget(''mesa'', person_id => ''…''); or, for a row of the SIS '
                'without an account, sourced_id => ''…''.';
    END IF;
    PERFORM minga_roster_internal.known_site(wanted_site);
    FOR known IN SELECT * FROM minga_roster.connections c WHERE c.site = wanted_site AND c.retired_at IS NULL
        ORDER BY c.number LOOP
        PERFORM minga_roster_internal.claim_connection(known);
    END LOOP;
    own_runs := ARRAY(SELECT r.run FROM minga_roster.runs r WHERE r.site = wanted_site);

    -- A row of the SIS that is linked is a person.
    IF wanted IS NOT NULL THEN
        SELECT count(DISTINCT l.person_id), min(l.person_id) INTO number, linked_person
        FROM minga_roster.links l
        WHERE l.site = wanted_site AND l.sourced_id = wanted;
        IF number > 1 OR (number = 1 AND person <> linked_person) THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'this sourcedId is linked to another person',
                DETAIL = CASE WHEN number > 1 THEN 'Connections of the site link it to different people.'
                    ELSE 'It is not the person with the person_id that was given.' END,
                HINT = 'Give the person_id alone. All rows that are linked to that person are forgotten.';
        END IF;
        person := coalesce(person, linked_person);
    END IF;

    -- The IDs that the person has or had, by connection, unless they are linked to someone else.
    SELECT coalesce(array_agg(n.connection), '{}'), coalesce(array_agg(n.sourced_id), '{}')
    INTO own_connections, own_ids
    FROM (
        SELECT l.connection, l.sourced_id FROM minga_roster.links l
        WHERE l.site = wanted_site AND l.person_id = person
        UNION
        SELECT r.connection, c.sourced_id
        FROM minga_roster.link_changes c JOIN minga_roster.runs r ON r.run = c.run
        WHERE r.site = wanted_site AND c.before ->> 'person_id' = person
        UNION
        SELECT r.connection, p.sourced_id
        FROM minga_roster.planned_links p JOIN minga_roster.runs r ON r.run = p.run
        WHERE r.site = wanted_site AND p.person_id = person
        UNION
        SELECT r.connection, i.id COLLATE "C"
        FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
        CROSS JOIN LATERAL unnest(c.sourced_ids) i (id)
        WHERE c.site = wanted_site AND c.person_id = person AND c.action <> 'conflict'
        UNION
        SELECT n.connection, wanted COLLATE "C"
        FROM (SELECT c.connection FROM minga_roster.connections c WHERE c.site = wanted_site
            UNION SELECT r.connection FROM minga_roster.runs r WHERE r.site = wanted_site) n
        WHERE wanted IS NOT NULL
    ) n
    LEFT JOIN minga_roster.links other ON other.connection = n.connection AND other.site = wanted_site
        AND other.sourced_id = n.sourced_id AND other.person_id IS DISTINCT FROM person
    WHERE other.connection IS NULL;

    -- The changes that are about the person, and about no one else.
    SELECT coalesce(array_agg(c.run), '{}'), coalesce(array_agg(c.change), '{}') INTO about_runs, about_changes
    FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE c.site = wanted_site
        AND ((c.person_id = person AND c.action <> 'conflict')
            OR (c.sourced_ids <> '{}' AND c.sourced_ids <@ ARRAY(
                SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
                WHERE o.connection = r.connection)));

    -- Who the person is, by all that is known.
    FOR one IN SELECT DISTINCT c.people FROM minga_roster.connections c JOIN pg_class t ON t.oid = c.people
        WHERE c.site = wanted_site AND person IS NOT NULL ORDER BY c.people LOOP
        DECLARE
            relation regclass := one.people;
            found_person record;
        BEGIN
            PERFORM minga_roster_internal.check_people_relation(relation);
            SELECT * INTO found_person FROM minga_roster_internal.find_person(relation, wanted_site, person);
            IF FOUND THEN
                people_with := people_with || relation::text;
                given_names := given_names || found_person.given_name;
                family_names := family_names || found_person.family_name;
                identifiers := identifiers || found_person.identifier;
                addresses := addresses || found_person.email;
            END IF;
        EXCEPTION
            -- A relation that cannot be read must not keep a person from being erased here.
            WHEN OTHERS THEN
                unread_people := unread_people || relation::text;
        END;
    END LOOP;
    SELECT given_names || array_agg(t.given_name), family_names || array_agg(t.family_name),
        identifiers || array_agg(t.identifier), addresses || array_agg(t.email)
    INTO given_names, family_names, identifiers, addresses
    FROM (
        SELECT s.given_name, s.family_name, s.identifier, s.email
        FROM unnest(own_connections, own_ids) o (connection, id)
        JOIN minga_roster.staged_users s ON s.connection = o.connection AND s.sourced_id = o.id COLLATE "C"
        UNION ALL
        SELECT v.told ->> 'given_name', v.told ->> 'family_name', v.told ->> 'identifier', v.told ->> 'email'
        FROM unnest(about_runs, about_changes) a (run, change)
        JOIN minga_roster.changes c ON c.run = a.run AND c.change = a.change
        CROSS JOIN LATERAL (VALUES (c.before), (c.after), (c.stored)) v (told)
    ) t;
    given_names := ARRAY(SELECT DISTINCT n FROM unnest(given_names) n WHERE n <> '');
    family_names := ARRAY(SELECT DISTINCT n FROM unnest(family_names) n WHERE n <> '');
    identifiers := ARRAY(SELECT DISTINCT n FROM unnest(identifiers) n WHERE n <> '');
    addresses := ARRAY(SELECT DISTINCT n FROM unnest(addresses) n WHERE n <> '');

    -- Rows that no link tells of, such as those of a preview from before the account was there: by the values that
    -- blank_forgotten compares.
    SELECT own_connections || coalesce(array_agg(n.connection), '{}'),
        own_ids || coalesce(array_agg(n.sourced_id), '{}')
    INTO own_connections, own_ids
    FROM (
        SELECT DISTINCT v.connection, v.sourced_id
        FROM (
            SELECT s.connection, s.sourced_id, s.given_name, s.family_name, s.identifier, s.email
            FROM minga_roster.staged_users s
            WHERE s.connection IN (SELECT c.connection FROM minga_roster.connections c
                WHERE c.site = wanted_site AND c.retired_at IS NULL)
            UNION ALL
            SELECT r.connection, i.id COLLATE "C", c.after ->> 'given_name', c.after ->> 'family_name',
                c.after ->> 'identifier', c.after ->> 'email'
            FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
            CROSS JOIN LATERAL unnest(c.sourced_ids) i (id)
            WHERE c.site = wanted_site AND c.action = 'create' AND c.person_id IS NULL
        ) v
        CROSS JOIN LATERAL (SELECT
            nullif(minga_roster_internal.plain_name(v.given_name), '') = ANY (ARRAY(
                SELECT minga_roster_internal.plain_name(g) FROM unnest(given_names) g)) AS given,
            nullif(minga_roster_internal.plain_name(v.family_name), '') = ANY (ARRAY(
                SELECT minga_roster_internal.plain_name(f) FROM unnest(family_names) f)) AS family) same
        WHERE (lower(v.identifier COLLATE "C") = ANY (ARRAY(SELECT lower(i COLLATE "C") FROM unnest(identifiers) i))
                AND (same.given OR same.family))
            OR (lower(v.email COLLATE "C") = ANY (ARRAY(SELECT lower(a COLLATE "C") FROM unnest(addresses) a))
                AND same.given AND same.family)
    ) n
    LEFT JOIN minga_roster.links other ON other.connection = n.connection AND other.site = wanted_site
        AND other.sourced_id = n.sourced_id AND other.person_id IS DISTINCT FROM person
    WHERE other.connection IS NULL
        AND NOT EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = n.connection AND o.id = n.sourced_id);
    -- With these rows too.
    SELECT coalesce(array_agg(c.run), '{}'), coalesce(array_agg(c.change), '{}') INTO about_runs, about_changes
    FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE c.site = wanted_site
        AND ((c.person_id = person AND c.action <> 'conflict')
            OR (c.sourced_ids <> '{}' AND c.sourced_ids <@ ARRAY(
                SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
                WHERE o.connection = r.connection)));

    -- The hashes by which the person is known from now on.
    PERFORM minga_roster_internal.make_hash_key();
    INSERT INTO minga_roster.forgotten_people (site, erasure, hash)
    SELECT DISTINCT wanted_site, this_erasure, h.hash
    FROM (
        WITH id AS (
            SELECT DISTINCT i.id FROM unnest(own_ids) i (id)
        ), named AS (
            SELECT DISTINCT 'given name' AS kind, minga_roster_internal.plain_name(n) AS name FROM unnest(given_names) n
            UNION
            SELECT 'family name', minga_roster_internal.plain_name(n) FROM unnest(family_names) n
        ), number AS (
            SELECT DISTINCT lower(n COLLATE "C") AS number FROM unnest(identifiers) n
        )
        SELECT minga_roster_internal.keyed_hash('person', wanted_site, person) AS hash
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('id', wanted_site, id.id) FROM id
        UNION ALL
        SELECT minga_roster_internal.keyed_hash(k.kind, wanted_site, o.connection, k.id)
        FROM unnest(own_connections, own_ids) o (connection, id)
        CROSS JOIN LATERAL (VALUES ('row', o.id), ('former', o.id),
            ('former', substring(o.id FROM '^[A-Za-z][+]?(.+)$'))) k (kind, id)
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('id and ' || n.kind, wanted_site, id.id, n.name)
        FROM id CROSS JOIN named n WHERE n.name <> ''
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('number and ' || n.kind, wanted_site, m.number, n.name)
        FROM number m CROSS JOIN named n WHERE n.name <> ''
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('address and names', wanted_site, lower(a COLLATE "C"), g.name, f.name)
        FROM unnest(addresses) a
        JOIN named g ON g.kind = 'given name' AND g.name <> ''
        JOIN named f ON f.kind = 'family name' AND f.name <> ''
    ) h
    WHERE h.hash IS NOT NULL;

    place := 'links';
    DELETE FROM minga_roster.links l WHERE l.site = wanted_site AND l.person_id = person;
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    -- The stage, with the contacts that no one else names.
    erased := 0;
    FOR known IN SELECT * FROM minga_roster.connections c WHERE c.site = wanted_site AND c.retired_at IS NULL
        ORDER BY c.number LOOP
        guardians := ARRAY(SELECT DISTINCT a.id FROM minga_roster.staged_users s
            CROSS JOIN LATERAL unnest(s.agent_ids) a (id)
            WHERE s.connection = known.connection AND s.sourced_id = ANY (own_ids) AND a.id <> '');
        blanked := minga_roster_internal.blank_forgotten(known.connection);
        DELETE FROM minga_roster.staged_users s
        USING minga_roster.role_rules r
        WHERE s.connection = known.connection AND s.sourced_id = ANY (guardians) AND r.sis = known.sis
            AND r.roster_role = s.role AND r.category = 'contact'
            AND s.sourced_id NOT IN (SELECT a.id COLLATE "C" FROM minga_roster.staged_users o
                CROSS JOIN LATERAL unnest(o.agent_ids) a (id)
                WHERE o.connection = known.connection AND o.agent_ids && guardians);
        GET DIAGNOSTICS number = ROW_COUNT;
        erased := erased + cardinality(blanked) + number;
    END LOOP;
    place := 'staged_users';
    total := total + erased;
    RETURN NEXT;

    place := 'link_changes';
    DELETE FROM minga_roster.link_changes c USING minga_roster.runs r
    WHERE r.run = c.run AND r.site = wanted_site AND (c.before ->> 'person_id' = person
        OR EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = r.connection AND o.id COLLATE "C" = c.sourced_id));
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'planned_links';
    DELETE FROM minga_roster.planned_links p USING minga_roster.runs r
    WHERE r.run = p.run AND r.site = wanted_site AND (p.person_id = person
        OR EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = r.connection AND o.id COLLATE "C" = p.sourced_id));
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'match_decisions';
    DELETE FROM minga_roster.match_decisions d USING minga_roster.connections c
    WHERE c.connection = d.connection AND c.site = wanted_site AND (d.person_id = person
        OR EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = d.connection AND o.id COLLATE "C" = d.sourced_id));
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'written_values';
    DELETE FROM minga_roster.written_values w USING minga_roster.connections c
    WHERE c.connection = w.connection AND c.site = wanted_site AND w.person_id = person;
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'stored_values';
    DELETE FROM minga_roster.stored_values v USING minga_roster.connections c
    WHERE c.connection = v.connection AND c.site = wanted_site AND v.person_id = person;
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'conflict_pairs';
    DELETE FROM minga_roster.conflict_pairs k USING minga_roster.runs r
    WHERE r.run = k.run AND r.site = wanted_site AND (k.person_id = person
        OR EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = r.connection AND o.id = k.sourced_id));
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;
    place := 'conflict_candidates';
    DELETE FROM minga_roster.conflict_candidates k
    WHERE k.run = ANY (own_runs) AND (k.person_id = person
        OR EXISTS (SELECT FROM unnest(about_runs, about_changes) a (run, change)
            WHERE a.run = k.run AND a.change = k.change));
    GET DIAGNOSTICS erased = ROW_COUNT;
    total := total + erased;
    RETURN NEXT;

    -- Texts name no one but for a person_id here and there. What a text has all the same is taken out.
    pattern := minga_roster_internal.word_pattern(ARRAY(
        SELECT t.word
        FROM (
            SELECT a.word FROM unnest(addresses || own_ids || identifiers || ARRAY[person]) a (word)
            WHERE length(a.word) >= 8
            UNION
            SELECT f.form FROM unnest(given_names) g (name) CROSS JOIN unnest(family_names) n (name)
            CROSS JOIN LATERAL (VALUES (g.name || ' ' || n.name), (n.name || ', ' || g.name)) f (form)
            UNION
            SELECT minga_roster_internal.state_reason('holder', person) WHERE person IS NOT NULL
        ) s
        CROSS JOIN LATERAL (VALUES (s.word), (minga_roster_internal.html_escaped(s.word))) t (word)
    ));

    -- Changes stay, so that what a run counted stays true, and say no more of whom.
    place := 'changes';
    UPDATE minga_roster.changes c
    SET person_id = NULL, sourced_ids = '{}', before = '{}', after = '{}', same_name = NULL, stored = NULL, seen = NULL,
        state = CASE WHEN w.waits THEN 'refused' ELSE c.state END,
        state_cause = CASE WHEN w.waits THEN 'erased' ELSE c.state_cause END,
        state_reason = CASE WHEN w.waits THEN minga_roster_internal.state_reason('erased', NULL)
            ELSE c.state_reason END
    FROM unnest(about_runs, about_changes) a (run, change)
    JOIN minga_roster.changes k ON k.run = a.run AND k.change = a.change
    CROSS JOIN LATERAL (SELECT k.state IN ('planned', 'held')) w (waits)
    WHERE c.run = a.run AND c.change = a.change;
    UPDATE minga_roster.changes c
    SET person_id = nullif(c.person_id, person),
        sourced_ids = ARRAY(SELECT i.id FROM unnest(c.sourced_ids) WITH ORDINALITY i (id, nth)
            WHERE i.id <> ALL (n.ids) ORDER BY i.nth),
        same_name = nullif(array_remove(c.same_name, person), '{}')
    FROM (SELECT r.run, ARRAY(SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = r.connection) AS ids
        FROM minga_roster.runs r WHERE r.site = wanted_site) n
    WHERE c.site = wanted_site AND n.run = c.run AND (c.person_id = person OR c.same_name @> ARRAY[person]
        OR c.sourced_ids && n.ids);
    GET DIAGNOSTICS number = ROW_COUNT;
    erased := cardinality(about_runs) + number;
    total := total + erased;
    RETURN NEXT;

    FOR one IN
        SELECT t.relation, t.columns, t.title
        FROM (VALUES
            (0, 'changes', ARRAY['reason', 'state_reason'], 'changes (reasons)'),
            (1, 'runs', ARRAY['error', 'detail', 'hint'], 'runs'),
            (2, 'run_steps', ARRAY['detail', 'hint'], 'run_steps'),
            (3, 'findings', ARRAY['value', 'detail', 'hint'], 'findings'),
            (4, 'collections', ARRAY['detail'], 'collections'),
            (5, 'outbox', ARRAY['subject', 'body_text', 'body_html', 'last_error'], 'outbox')
        ) t (nth, relation, columns, title)
        ORDER BY t.nth
    LOOP
        place := one.title;
        erased := minga_roster_internal.erase_words(one.relation, one.columns, own_runs, pattern);
        total := total + erased;
        RETURN NEXT;
    END LOOP;

    hashes := ARRAY[minga_roster_internal.keyed_hash('person', wanted_site, person),
        minga_roster_internal.keyed_hash('id', wanted_site, wanted)];
    IF total = 0 AND people_with = '{}' AND unread_people = '{}' AND NOT EXISTS (
        SELECT FROM minga_roster.forgotten_people f
        WHERE f.site = wanted_site AND f.erasure <> this_erasure AND f.hash = ANY (hashes))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('nothing is known of this person at site "%s"', wanted_site),
            DETAIL = 'Neither the people relation nor a table of minga_roster has the ID. It is not shown here.',
            HINT = 'IDs are case-sensitive. For a row of the SIS without an account, give sourced_id after a fetch.';
    END IF;
    -- The planner's statistics hold samples of the values.
    FOR one IN
        SELECT DISTINCT p.schemaname, p.tablename
        FROM pg_stats p
        WHERE p.schemaname = 'minga_roster' AND (p.tablename IN ('staged_users', 'links', 'link_changes',
                'planned_links', 'match_decisions', 'written_values', 'stored_values', 'conflict_pairs',
                'conflict_candidates', 'changes', 'runs', 'run_steps', 'findings', 'collections', 'outbox')
            OR p.tablename IN (SELECT format('staged_users_%s', c.number) FROM minga_roster.connections c
                WHERE c.site = wanted_site))
        ORDER BY 1, 2
    LOOP
        EXECUTE format('ANALYZE %I.%I', one.schemaname, one.tablename);
    END LOOP;
    RETURN QUERY SELECT t.place, NULL::bigint, t.remains
        FROM minga_roster_internal.what_remains(wanted_site, people_with, unread_people, addresses) t;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_forget(text, text, text) IS 'Implements roster_forget.';

CREATE FUNCTION minga_roster_internal.what_remains(site text, people_with text[], unread_people text[],
    addresses text[], OUT place text, OUT remains text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, r.remains
    FROM (VALUES
        (1, 'people relation', CASE
            WHEN people_with <> '{}' THEN format('The account in %s belongs to the deployment, which deletes it '
                'there. Until then a sync leaves it alone.', minga_roster_internal.in_list(people_with))
            WHEN unread_people <> '{}' THEN format('%s could not be read. See whether the account is there, and '
                'whether each row of the person was forgotten.', minga_roster_internal.in_list(unread_people)) END),
        (2, 'recipients', CASE WHEN EXISTS (SELECT FROM minga_roster.recipients c
            JOIN minga_roster.connections n ON n.connection = c.connection AND n.site = what_remains.site
            WHERE lower(c.email) = ANY (ARRAY(SELECT lower(a) FROM unnest(addresses) a)))
            THEN 'The address gets mail about runs, which is on record in outbox. roster_remove_recipient ends it.'
            END),
        (3, 'SIS', 'The SIS lists the person until the school ends it there. Each fetch receives the row, and keeps '
            'its role alone.'),
        (4, 'mail', 'Mail that was sent is out of reach. Reports hold numbers, and no names.'),
        (5, 'backups', 'Dumps, base backups and archived WAL hold the data until they expire. After a restore, forget '
            'the person again.'),
        (6, 'standbys', 'Standbys and subscribers follow as soon as they receive the change; delayed ones later.'),
        (7, 'server log', 'Logged statements may hold the ID. Remove them as the retention of the log demands.'),
        (8, 'data files', 'Deleted rows stay in the files of the tables until VACUUM, and their bytes until the space '
            'is used again. VACUUM FULL of the tables above rewrites the files.')
    ) AS r (nth, place, remains)
    WHERE r.remains IS NOT NULL
    ORDER BY r.nth
$$;
COMMENT ON FUNCTION minga_roster_internal.what_remains(text, text[], text[], text[]) IS
'Where data of a forgotten person may still be, and what to do about it.';

CREATE FUNCTION minga_roster_internal.known_site(site text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = known_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.site = known_site.site) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('site "%s" does not exist', site),
            DETAIL = 'No connection and no run is of this site.',
            HINT = 'List the sites: SELECT DISTINCT site FROM minga_roster.connections.';
    END IF;
    RETURN site;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_site(text) IS 'The site; 42704 for one that no connection or run has.';

CREATE FUNCTION roster_forget(site text, person_id text DEFAULT NULL, sourced_id text DEFAULT NULL, OUT place text,
    OUT erased bigint, OUT remains text) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_forget(text, text, text) IS
'Erases a person of a site from all tables of the extension, in all connections of the site, and keeps keyed hashes by '
'which later syncs leave the rows of the person out (outcome forgotten). sourced_id is for a row of the SIS without an '
'account, or in place of the person_id. Returns for each table how many rows were erased, then what is out of reach '
'(remains): the account in the people relation, backups, logs. What runs counted stays. 22004 without a site and an '
'ID, 42704 for an unknown site or person, 55000 if the sourcedId is linked to someone else, 55006 while a connection '
'of the site is busy.';

CREATE FUNCTION minga_roster_internal.do_remember(site text, person_id text, sourced_id text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lifted bigint;
    wanted_hash bytea;
BEGIN
    IF site IS NULL OR (person_id IS NULL) = (sourced_id IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'roster_remember needs a site, and either a person_id or a sourcedId',
            HINT = 'The SIS shows the sourcedId: SELECT minga_roster.roster_remember(''mesa'', sourced_id => ''…'').';
    END IF;
    PERFORM minga_roster_internal.known_site(site);
    IF EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = do_remember.site) THEN
        wanted_hash := coalesce(minga_roster_internal.keyed_hash('person', site, person_id),
            minga_roster_internal.keyed_hash('id', site, sourced_id));
        WITH gone AS (
            DELETE FROM minga_roster.forgotten_people f
            WHERE f.site = do_remember.site AND f.erasure IN (
                SELECT k.erasure FROM minga_roster.forgotten_people k
                WHERE k.site = do_remember.site AND k.hash = wanted_hash)
            RETURNING f.erasure
        )
        SELECT count(DISTINCT g.erasure) INTO lifted FROM gone g;
    END IF;
    IF coalesce(lifted, 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('no one with this ID was forgotten at site "%s"', site),
            DETAIL = 'The ID is not shown here.',
            HINT = 'IDs are case-sensitive. Another ID that the person had works too.';
    END IF;
    -- A delta would not list a person whose row has not changed.
    PERFORM minga_roster_internal.require_full_read(c.connection) FROM minga_roster.connections c
    WHERE c.site = do_remember.site AND c.retired_at IS NULL;
    RETURN lifted;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_remember(text, text, text) IS 'Implements roster_remember.';

CREATE FUNCTION roster_remember(site text, person_id text DEFAULT NULL, sourced_id text DEFAULT NULL) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_remember(text, text, text) IS
'Takes roster_forget back for people who have this person_id or sourcedId, and returns how many they were: the next '
'sync treats their rows like any others. What was erased does not come back. 22004 without a site and one ID, 42704 if '
'no one with the ID was forgotten at the site.';

CREATE FUNCTION minga_roster_internal.erase_archived() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' AS $$
DECLARE
    batch CONSTANT integer := 10000;
    archived_before CONSTANT timestamptz := minga_roster_internal.clock()
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_archived')::integer));
BEGIN
    WITH due AS MATERIALIZED (
        SELECT l.site, l.person_id
        FROM minga_roster.links l
        LEFT JOIN minga_roster.runs r ON r.run = l.archived_run
        WHERE l.archived_run IS NOT NULL
        GROUP BY l.site, l.person_id
        -- A run that is no longer on record is older than keep_runs.
        HAVING max(coalesce(r.finished_at, l.missed_since, '-infinity')) < archived_before
    ), alive AS MATERIALIZED (
        SELECT d.site, d.person_id
        FROM due d JOIN minga_roster.links l ON l.site = d.site AND l.person_id = d.person_id
        JOIN minga_roster.connections c ON c.connection = l.connection AND c.retired_at IS NULL
        WHERE l.archived_run IS NULL
    ), gone AS MATERIALIZED (
        SELECT d.site, d.person_id FROM due d
        EXCEPT
        SELECT a.site, a.person_id FROM alive a
    ), written AS (
        DELETE FROM minga_roster.written_values w USING gone g, minga_roster.connections c
        WHERE c.connection = w.connection AND c.site = g.site AND w.person_id = g.person_id
    ), stored AS (
        DELETE FROM minga_roster.stored_values v USING gone g, minga_roster.connections c
        WHERE c.connection = v.connection AND c.site = g.site AND v.person_id = g.person_id
    ), paired AS (
        DELETE FROM minga_roster.conflict_pairs k USING gone g, minga_roster.runs r
        WHERE r.run = k.run AND r.site = g.site AND k.person_id = g.person_id AND r.finished_at < archived_before
    ), old AS MATERIALIZED (
        SELECT c.run, c.change, c.person_id
        FROM gone g JOIN minga_roster.changes c ON c.site = g.site AND c.person_id = g.person_id
        JOIN minga_roster.runs r ON r.run = c.run AND r.state NOT IN ('queued', 'running')
        WHERE c.sourced_ids <> '{}' AND c.state NOT IN ('planned', 'held') AND c.state_at < archived_before
            AND c.action <> 'conflict'
        LIMIT batch
    )
    UPDATE minga_roster.changes c
    SET sourced_ids = '{}', before = '{}', after = '{}', same_name = NULL, stored = NULL, seen = NULL
    FROM old o
    WHERE c.run = o.run AND c.change = o.change;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.erase_archived() IS
'Of people whom runs archived more than minga_roster.keep_archived days ago (at least 8), and whom no other connection '
'lists: empties their changes (at most 10,000 per call), and deletes the hashes of their values and their former '
'conflicts. Links stay, so that who returns gets the same account.';
-- Words that reports are made of. A report is for the owner of a school: what happened, what it means, and who does
-- what next and by when. Only its last section has SQL. It gives numbers, rules and reasons, and no name, email
-- address, sourcedId or other value of a person. report_facts.sql and report_parts.sql decide what it says,
-- report_text.sql and report_html.sql how it looks. Must survive odd data, because it is written while a run is being
-- closed.

CREATE FUNCTION minga_roster_internal.duration_in_words(elapsed interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN s.seconds < 1 THEN 'under 1 s'
                WHEN s.seconds < 60 THEN format('%s s', s.seconds)
                WHEN s.seconds < 3600 THEN format('%s min %s s', s.seconds / 60, s.seconds % 60)
                ELSE format('%s h %s min', s.seconds / 3600, s.seconds % 3600 / 60) END
    FROM (SELECT floor(extract(epoch FROM elapsed))::bigint AS seconds) s
$$;
COMMENT ON FUNCTION minga_roster_internal.duration_in_words(interval) IS '"45 s", "3 min 20 s", "1 h 5 min".';

CREATE FUNCTION minga_roster_internal.wrapped(content text, width integer) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines text[] := '{}';
    line text;
    word text;
BEGIN
    FOREACH word IN ARRAY regexp_split_to_array(btrim(content), '\s+') LOOP
        IF line IS NULL THEN
            line := word;
        ELSIF length(line) + 1 + length(word) <= width THEN
            line := line || ' ' || word;
        ELSE
            lines := lines || line;
            line := word;
        END IF;
    END LOOP;
    RETURN lines || coalesce(line, '');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.wrapped(text, integer) IS
'Lines of at most that many characters; a longer word gets its own line.';

CREATE FUNCTION minga_roster_internal.html_escaped(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(replace(replace(replace(content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'),
        '''', '&#39;')
$$;
COMMENT ON FUNCTION minga_roster_internal.html_escaped(text) IS
'Escapes text for use in HTML and in quoted HTML attributes.';

CREATE FUNCTION minga_roster_internal.readable_lines(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.readable(l.line), E'\n' ORDER BY l.place)
    FROM string_to_table(content, E'\n') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.readable_lines(text) IS 'readable() for text with several lines.';

CREATE FUNCTION minga_roster_internal.counted_people(category text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category IN ('student', 'teacher', 'staff', 'admin') THEN minga_roster_internal.figure(number)
        || ' '
        || minga_roster_internal.people_of(category, number)
        ELSE minga_roster_internal.figures(number, 'row') END
$$;
COMMENT ON FUNCTION minga_roster_internal.counted_people(text, bigint) IS
'"1 student", "12 staff members"; without a category "3 rows".';

CREATE FUNCTION minga_roster_internal.unread_means(family text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE family WHEN 'student' THEN 'No students are archived.' WHEN 'staff'
        THEN 'No teachers, staff members or administrators are archived.'
        ELSE 'Parent contacts may be missing.' END
$$;
COMMENT ON FUNCTION minga_roster_internal.unread_means(text) IS
'The consequence if a list of this family was not read completely.';

CREATE FUNCTION minga_roster_internal.finding_holes(category text, amount bigint, "of" bigint, detail jsonb)
    RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT detail || jsonb_build_object(
        'amount', amount,
        'of', "of",
        'is', CASE amount WHEN 1 THEN 'is' ELSE 'are' END,
        'gets', CASE amount WHEN 1 THEN 'gets' ELSE 'get' END,
        'people', minga_roster_internal.people_of(category, 2),
        'rows', minga_roster_internal.figures(amount, 'row'),
        'portion', CASE detail ->> 'left' WHEN '0' THEN 'all' ELSE 'nearly all' END,
        'other_roles', minga_roster_internal.figures((detail ->> 'others')::bigint, 'other unknown role'),
        'lists', (SELECT string_agg(c.name, ', ') FROM jsonb_array_elements_text(detail -> 'collections') c (name)))
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_holes(text, bigint, bigint, jsonb) IS
'The values for the holes in the sentences of finding_words() and finding_text().';

CREATE FUNCTION minga_roster_internal.finding_words(finding text, category text, amount bigint, "of" bigint,
    detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE finding
        WHEN 'inactive_all' THEN 'all {of} {people} are inactive in the SIS'
        WHEN 'inactive_some' THEN '{amount} of {of} {people} {is} inactive in the SIS'
        WHEN 'category_empty' THEN 'the SIS no longer lists any {people}'
        WHEN 'field_vanished' THEN '{subject}: {amount} of {of} {people}'
        WHEN 'roles_ended' THEN '{portion} roles in the {subject} list have ended'
        WHEN 'no_role' THEN '{rows} without a role'
        WHEN 'unknown_role' THEN CASE WHEN detail ? 'subject' THEN '{rows} with the unknown role "{subject}"'
            ELSE '{rows} with {other_roles}' END
        WHEN 'without_id' THEN '{rows} in the {subject} list without a sourcedId'
        WHEN 'incomplete' THEN 'the {subject} list was not read completely'
        WHEN 'mass_update_held' THEN '{subject} would change for {amount} of {of} {people}'
    END, minga_roster_internal.finding_holes(category, amount, "of", detail))
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_words(text, text, bigint, bigint, jsonb) IS
'A finding in a few words, without a capital letter or a period.';

CREATE FUNCTION minga_roster_internal.inactive_accounts(amount bigint, accounts bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN accounts >= amount THEN CASE amount WHEN 1 THEN 'The account is kept.' ELSE 'Their accounts are kept.' END
        WHEN accounts = 0 THEN CASE amount WHEN 1 THEN 'There is no account here, and none is created.'
            ELSE 'None of them has an account here, and none is created.' END
        WHEN accounts = 1 THEN '1 of them has an account here, which is kept.'
        ELSE format('%s of them have accounts here, which are kept.', accounts)
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.inactive_accounts(bigint, bigint) IS
'What happens to the accounts of people who are inactive in the SIS.';

CREATE FUNCTION minga_roster_internal.finding_text(finding text, category text, amount bigint, "of" bigint,
    detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE finding
        WHEN 'inactive_all' THEN '{Words}. {accounts_kept} Ask the school whether this is intended.'
        WHEN 'inactive_some' THEN '{Words}. {accounts_kept}'
        WHEN 'category_empty' THEN
            '{Words}; there were {of} before. Ask the school whether this is intended. If not, ask the SIS vendor.'
        WHEN 'field_vanished' THEN
            'Field "{subject}" has a value for {amount} of {of} {people}; before, it had one for {before} of '
            '{before_of}. Existing values are kept. Ask the SIS vendor whether the field is still shared.'
        WHEN 'roles_ended' THEN
            '{Words} ({amount} of {of} rows, {left} left), so these people count as absent. Ask the school whether '
            'this year''s roles are in the SIS yet.'
        WHEN 'no_role' THEN CASE WHEN detail ? 'told'
            THEN '{Words} in the {subject} list {gets} the role that the list is for.'
            ELSE '{Words} ({lists}) {is} ignored. Ask the SIS vendor to send the role.' END
        WHEN 'unknown_role' THEN
            '{Words} {is} ignored. If these people belong to the school, the database administrator adds the role to '
            'role_rules.'
        WHEN 'without_id' THEN
            '{Words} {is} ignored, and no one in the same family of roles is archived. Ask the SIS vendor to send '
            'the sourcedId.'
        WHEN 'incomplete' THEN CASE WHEN "of" > amount THEN '{Words} ({amount} of {of} rows). {consequence}'
            ELSE '{Words}. {consequence}' END
        WHEN 'mass_update_held' THEN
            'Column "{subject}" would change for {amount} of {of} {people} in one run, more than {percent} percent. '
            'These updates are on hold for approval.'
    END, minga_roster_internal.finding_holes(category, amount, "of", detail) || jsonb_build_object(
        'Words', upper(left(w.words, 1)) || substr(w.words, 2),
        'accounts_kept', minga_roster_internal.inactive_accounts(amount, coalesce((detail ->> 'accounts')::bigint, 0)),
        'consequence', minga_roster_internal.unread_means(detail ->> 'family')))
    FROM (SELECT minga_roster_internal.finding_words(finding, category, amount, "of", detail) AS words) w
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_text(text, text, bigint, bigint, jsonb) IS
'A row of run_findings in sentences: the fact, the consequence, and what to do.';

CREATE FUNCTION minga_roster_internal.cut(content text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN length(content) > width THEN rtrim(left(content, width - 1)) || U&'\2026' ELSE content END
$$;
COMMENT ON FUNCTION minga_roster_internal.cut(text, integer) IS
'The text in at most that many characters; an ellipsis marks the cut.';

CREATE FUNCTION minga_roster_internal.first_items(items text[], others bigint, places integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb((SELECT array_agg(minga_roster_internal.cut(i.item, 300) ORDER BY i.place)
                     FROM unnest(items) WITH ORDINALITY i (item, place) WHERE i.place <= places)
        || CASE WHEN others > 0 THEN ARRAY[format('and %s more', minga_roster_internal.figure(others))] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.first_items(text[], bigint,
    integer) IS 'The first items of a list, and how many more there are; NULL for no items.';

CREATE FUNCTION minga_roster_internal.day_in_words(day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_char(day, 'FMDay, FMMonth FMDD')
$$;
COMMENT ON FUNCTION minga_roster_internal.day_in_words(date) IS '"Tuesday, September 1".';

CREATE FUNCTION minga_roster_internal.time_in_words(moment timestamptz, zone text) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.day_in_words((moment AT TIME ZONE zone)::date)
        || to_char(moment AT TIME ZONE zone, '" at "FMHH12:MI AM')
$$;
COMMENT ON FUNCTION minga_roster_internal.time_in_words(timestamptz, text) IS
'"Tuesday, September 1 at 7:00 PM" in that time zone.';
-- The facts behind a report: the run, its connection, and what needs a decision. The subject and the first sentence are
-- made from them.

CREATE TYPE minga_roster_internal.report_facts AS (
    run runs,
    school connections,
    place text,
    zone text,
    planned_in bigint,
    is_missed boolean,
    is_first boolean,
    recovered boolean,
    done jsonb,
    held_archives bigint,
    held_updates bigint,
    held_creates bigint,
    moves bigint,
    conflicts bigint,
    rejects bigint,
    kept bigint,
    unread text[],
    still_unread text[],
    noticed text[],
    failed_step text,
    cause text,
    tries bigint,
    retry_at timestamptz,
    next_evening timestamptz
);
COMMENT ON TYPE minga_roster_internal.report_facts IS
'place: the name of the school in the SIS. planned_in: the run that has the changes. is_first: no sync succeeded '
'before. recovered: the evening before failed. done: what was done to people, as pairs of number and word. unread, '
'still_unread: lists not proved complete, newly or as before. noticed: findings that need a look. cause: of a failure. '
'retry_at: time of the next try.';

CREATE FUNCTION minga_roster_internal.failure_cause(sqlstate text, phase text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN sqlstate IN ('F0000', '58P01', 'XX001') THEN 'key'
        WHEN sqlstate = '55P03' THEN 'lock'
        WHEN sqlstate = '57P02' THEN 'crash'
        WHEN sqlstate = '57014' THEN 'slow'
        WHEN coalesce(phase, 'fetch') <> 'fetch' THEN CASE WHEN left(sqlstate, 2) IN ('22', '23', '42', 'P0')
            THEN 'people' ELSE 'database' END
        WHEN left(sqlstate, 2) = '28' THEN 'login'
        WHEN sqlstate = '08001' THEN 'name'
        WHEN sqlstate = '08004' THEN 'certificate'
        WHEN sqlstate = '08P01' OR sqlstate IN ('22021', '22032') THEN 'answer'
        WHEN left(sqlstate, 2) = '08' THEN 'network'
        WHEN sqlstate = '53400' THEN 'rate'
        WHEN sqlstate = '54000' THEN 'size'
        WHEN sqlstate = '42501' THEN 'access'
        WHEN sqlstate = '42704' THEN 'unknown'
        WHEN sqlstate = '22023' THEN 'settings'
        WHEN sqlstate = '55000' THEN 'time'
        ELSE 'database' END
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_cause(text, text) IS
'What an SQLSTATE means to the school: a row of failure_words().';

CREATE FUNCTION minga_roster_internal.failure_words(OUT cause text, OUT short text, OUT next_step text,
    OUT mends_itself boolean) RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES
    ('login', 'the SIS rejected the login',
        'The SIS administrator checks that the connection is still enabled, and gives the database administrator the '
            'current Client ID and Client Secret.',
        false),
    ('name', 'the address of the SIS was not found',
        'The SIS administrator confirms the address. The database administrator compares it with the stored one, and '
            'checks DNS on the server.',
        false),
    ('certificate', 'the SIS could not prove its identity',
        'The SIS administrator checks the certificate of the SIS. It has expired, or it is for another address.',
        false),
    ('network', 'the SIS could not be reached',
        'No action is needed yet. If it happens again on the next evening, ask the SIS administrator whether the SIS '
            'was down or a firewall blocks the connection.',
        true),
    ('rate', 'the SIS asked for fewer requests',
        'No action is needed yet. If it happens again on the next evening, ask the SIS administrator at which hours '
            'the SIS allows requests.',
        true),
    ('answer', 'the SIS did not send a complete roster',
        'The SIS administrator sends the details at the end of this report to the SIS vendor.',
        false),
    ('size', 'the roster was too large to be read completely',
        'The SIS administrator sends the details at the end of this report to the SIS vendor.',
        false),
    ('access', 'the SIS denied access to this connection',
        'The SIS administrator shares the school''s roster with the connection. If it is shared, the database '
            'administrator follows the details below.',
        false),
    ('unknown', 'the SIS does not know the school',
        'The SIS administrator confirms the address and the School ID, and the database administrator corrects them.',
        false),
    ('settings', 'the settings of the connection do not match the SIS',
        'The SIS administrator confirms the address, the School ID and the shared data. The database administrator '
            'corrects the settings.',
        false),
    ('time', 'it could not be done at this time',
        'The database administrator reads the details below.',
        false),
    ('key', 'the stored SIS login could not be decrypted',
        'The database administrator restores the server''s key file.',
        false),
    ('lock', 'another session kept the people table locked',
        'No action is needed yet. If it happens again on the next evening, the database administrator finds out what '
            'locks the people table at that time.',
        true),
    ('crash', 'the database server stopped during the run',
        'No action is needed yet. If it happens again on the next evening, the database administrator reads the server '
            'log.',
        true),
    ('slow', 'it took too long',
        'The database administrator finds out what slows down the people table.',
        false),
    ('people', 'the people table rejected the changes',
        'The database administrator checks the constraints and triggers of the people table.',
        false),
    ('database', 'an error in the database',
        'The database administrator reads the details below.',
        false)
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_words() IS
'For each cause of a failure: what happened, who does what next, and whether it may go away by itself.';

CREATE FUNCTION minga_roster_internal.done_to_people(run runs) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_array(d.number, d.word) ORDER BY d.place), '[]')
    FROM (VALUES (1, (run).created, 'added'),
            (2, (run).restored, 'restored'),
            (3, (run).updated, CASE (run).kind WHEN 'undo' THEN 'changed back' ELSE 'updated' END),
            (4, (run).linked, CASE (run).kind WHEN 'undo' THEN 'unmatched' ELSE 'matched' END),
            (5, (run).archived, 'archived')) AS d (place, number, word)
    WHERE d.number > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.done_to_people(runs) IS
'[[30, "added"], [9, "archived"]]: what the run did to people, or what a sync would do after a preview.';

CREATE FUNCTION minga_roster_internal.facts_of(run bigint) RETURNS minga_roster_internal.report_facts
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(run);
    here minga_roster.connections;
    facts minga_roster_internal.report_facts;
BEGIN
    -- The name may be another site's today.
    SELECT * INTO here FROM minga_roster.connections c WHERE c.connection = this.connection AND c.site = this.site;
    facts.run := this;
    facts.school := here;
    facts.place := minga_roster_internal.readable(minga_roster_internal.cut(coalesce(here.school_name, this.connection),
        80));
    facts.zone := coalesce(here.time_zone, 'UTC');
    facts.planned_in := minga_roster_internal.planned_in(this);
    facts.is_missed := coalesce(this.state_cause = 'evening_missed', false);
    facts.done := CASE WHEN this.state = 'succeeded' THEN minga_roster_internal.done_to_people(this) ELSE '[]' END;
    facts.conflicts := coalesce(this.conflicts, 0);
    facts.rejects := coalesce(this.rejects, 0);
    SELECT count(*) FILTER (WHERE c.action = 'archive'), count(*) FILTER (WHERE c.action = 'update'),
        count(*) FILTER (WHERE c.action = 'link'), count(*) FILTER (WHERE c.state_cause = 'new_site')
    INTO facts.held_archives, facts.held_updates, facts.moves, facts.held_creates
    FROM minga_roster.changes c
    WHERE c.run = facts.planned_in AND this.kind <> 'approve' AND c.state = 'held';
    -- A delta needs no proof. A list that it could not read at all is reported.
    SELECT coalesce(array_agg(c.name ORDER BY c.name) FILTER (WHERE c.is_new), '{}'),
        coalesce(array_agg(c.name ORDER BY c.name) FILTER (WHERE NOT c.is_new), '{}')
    INTO facts.unread, facts.still_unread
    FROM (SELECT minga_roster_internal.readable(c.collection) AS name, coalesce(f.needs_look, true) AS is_new
          FROM minga_roster.collections c
          LEFT JOIN minga_roster.run_findings f ON f.run = c.run AND f.finding = 'incomplete'
              AND f.detail ->> 'subject' = c.collection
          WHERE c.run = this.run AND (NOT c.complete OR c.proof = 'weak') AND this.kind <> 'test'
              AND this.state = 'succeeded'
              AND (this.is_full IS NOT FALSE OR c.proof IS NULL)) c;
    facts.noticed := ARRAY(SELECT minga_roster_internal.readable(CASE f.finding
            WHEN 'field_vanished' THEN format('the field "%s" of the %s disappeared', f.detail ->> 'subject',
                minga_roster_internal.people_of(f.category, 2))
            ELSE minga_roster_internal.finding_words(f.finding, f.category, f.amount, f."of", f.detail) END)
        FROM minga_roster.run_findings f
        WHERE f.run = facts.planned_in AND this.kind <> 'approve' AND f.needs_look
            AND f.finding NOT IN ('incomplete', 'mass_update_held')
        ORDER BY f.position);
    SELECT coalesce(sum(c.count), 0) INTO facts.kept FROM minga_roster.run_counts c WHERE c.run = this.run
        AND c.action = 'kept';
    SELECT s.step INTO facts.failed_step FROM minga_roster.run_steps s WHERE s.run = this.run AND NOT s.ok
        ORDER BY s.position LIMIT 1;
    facts.is_first := this.kind = 'sync' AND this.state = 'succeeded' AND NOT EXISTS (SELECT FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.kind IN ('sync', 'apply')
            AND r.state = 'succeeded'
            AND r.run < this.run);
    facts.recovered := this.evening IS NOT NULL AND this.state = 'succeeded'
        AND coalesce((SELECT r.state = 'failed' FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.kind = 'sync' AND r.run < this.run
            AND r.evening IS DISTINCT FROM this.evening
            AND r.state IN ('succeeded', 'failed', 'canceled')
        ORDER BY r.run DESC LIMIT 1), false);

    SELECT n.next_opens INTO facts.next_evening
    FROM minga_roster_internal.latest_evening(here.sync_at, here.window_end, here.time_zone,
        minga_roster_internal.clock()) n
    WHERE here.automatic AND here.paused_cause IS NULL AND here.retired_at IS NULL
        AND here.enabled_origin = minga_roster_internal.server_origin();
    IF this.state = 'failed' AND NOT facts.is_missed THEN
        -- A refused apply, approval or undo is not a fault of the database.
        facts.cause := CASE WHEN this.kind IN ('approve', 'apply', 'undo') AND this.sqlstate = '55000' THEN 'time'
            ELSE minga_roster_internal.failure_cause(this.sqlstate, this.phase) END;
        SELECT count(*) INTO facts.tries FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.evening = this.evening
            AND r.state = 'failed' AND r.run <= this.run;
        IF this.evening IS NOT NULL THEN
            SELECT e.retry_at INTO facts.retry_at FROM minga_roster_internal.evenings() e
            WHERE e.connection = this.connection AND e.evening = this.evening AND e.last_try = this.run;
        END IF;
    END IF;
    RETURN facts;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.facts_of(bigint) IS
'The facts for the report of a run; 42704 for an unknown run.';

CREATE FUNCTION minga_roster_internal.is_problem(facts minga_roster_internal.report_facts) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (facts.run).state = 'failed' OR facts.is_missed OR minga_roster_internal.needs_of(facts) <> '{}'
$$;
COMMENT ON FUNCTION minga_roster_internal.is_problem(minga_roster_internal.report_facts) IS
'Whether recipients who want mail only about problems get this report.';

CREATE FUNCTION minga_roster_internal.needs_of(facts minga_roster_internal.report_facts) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(n.words ORDER BY n.place), '{}')
    FROM (VALUES
        (0, facts.held_creates > 0, minga_roster_internal.figures(facts.held_creates, 'new account') || ' on hold'),
        (1, facts.moves > 0, minga_roster_internal.figures(facts.moves, 'ID') || ' changed in the SIS'),
        (2, facts.held_archives > 0, minga_roster_internal.figures(facts.held_archives, 'archive') || ' on hold'),
        (3, facts.held_updates > 0, minga_roster_internal.figures(facts.held_updates, 'update') || ' on hold'),
        (4, facts.conflicts > 0, minga_roster_internal.figures(facts.conflicts, 'conflict')),
        (5, facts.rejects > 0, minga_roster_internal.figures(facts.rejects, 'rejected row')),
        (6, facts.kept > 0, minga_roster_internal.figures(facts.kept, 'change') || ' could not be undone'),
        (7, facts.unread <> '{}', CASE cardinality(facts.unread) WHEN 1
            THEN minga_roster_internal.cut(facts.unread[1], 40)
            ELSE minga_roster_internal.figures(cardinality(facts.unread), 'list') END || ' not read completely'),
        (8, facts.noticed <> '{}', CASE cardinality(facts.noticed) WHEN 1
            THEN minga_roster_internal.cut(facts.noticed[1], 60)
            ELSE minga_roster_internal.figure(cardinality(facts.noticed)) || ' findings in the SIS' END),
        (9, facts.failed_step IS NOT NULL, format('the connection test failed at "%s"', facts.failed_step))
        ) AS n (place, is_so, words)
    WHERE n.is_so
$$;
COMMENT ON FUNCTION minga_roster_internal.needs_of(minga_roster_internal.report_facts) IS
'"204 archives on hold", "2 rejected rows": what needs a decision, for the subject and the first sentence.';

CREATE FUNCTION minga_roster_internal.done_in_words(done jsonb, were text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.in_list(array_agg(
        CASE WHEN d.place > 1 THEN minga_roster_internal.figure((d.pair ->> 0)::bigint)
            ELSE minga_roster_internal.figures((d.pair ->> 0)::bigint, 'person ' || CASE were WHEN 'were' THEN 'was'
                ELSE were END, 'people ' || were) END
        || ' ' || (d.pair ->> 1) ORDER BY d.place))
    FROM jsonb_array_elements(done) WITH ORDINALITY d (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.done_in_words(jsonb,
    text) IS '"30 people were added, 11 updated and 9 archived"; NULL if nothing was done.';

CREATE FUNCTION minga_roster_internal.report_lead(facts minga_roster_internal.report_facts, OUT tone text,
    OUT content text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := facts.run;
    what text := minga_roster_internal.run_in_words(this);
    needs text[] := minga_roster_internal.needs_of(facts);
    short text := (SELECT w.short FROM minga_roster_internal.failure_words() w WHERE w.cause = facts.cause);
BEGIN
    tone := CASE WHEN this.state = 'failed' OR facts.is_missed THEN 'bad' WHEN this.state <> 'succeeded' THEN 'plain'
        WHEN needs <> '{}' THEN 'action'
        WHEN facts.still_unread <> '{}' THEN 'plain' ELSE 'good' END;
    content := CASE
        WHEN facts.is_missed THEN format('No sync on %s: the evening was missed.',
            minga_roster_internal.day_in_words(this.evening))
        WHEN this.state = 'failed' AND this.evening IS NOT NULL
            THEN format('No sync on %s: %s.', minga_roster_internal.day_in_words(this.evening), short)
        WHEN this.state = 'failed' THEN format('The %s failed: %s.', what, short)
        WHEN this.state = 'canceled' THEN format('The %s was canceled.', what)
        WHEN this.state <> 'succeeded' THEN format('The %s is %s.', what, this.state)
        WHEN this.kind = 'test' AND facts.failed_step IS NULL THEN 'The connection test passed.'
        WHEN this.kind = 'mail' THEN 'The test mail was sent.'
        WHEN this.kind = 'fetch' AND needs = '{}' THEN 'The roster was fetched completely.'
        WHEN this.kind = 'diagnose' AND needs = '{}' THEN 'The diagnosis is complete.'
        WHEN this.kind = 'preview' THEN concat_ws(' ', 'Preview:',
            coalesce(minga_roster_internal.done_in_words(facts.done, 'would be'), 'no account would change') || '.',
            'It would leave ' || minga_roster_internal.in_list(needs) || '.')
        ELSE concat_ws(' ',
            CASE WHEN facts.recovered THEN 'The sync works again.' END,
            CASE WHEN needs <> '{}' THEN format('Action needed: %s.', minga_roster_internal.in_list(needs)) END,
            CASE WHEN facts.is_first THEN 'This was the first sync.' END,
            CASE this.kind
                WHEN 'approve' THEN coalesce('The approval was carried out: '
                    || minga_roster_internal.done_in_words(facts.done, 'were') || '.',
                    'The approval changed no accounts.')
                WHEN 'undo' THEN coalesce(format('The %s was undone: ',
                    coalesce((SELECT minga_roster_internal.run_in_words(r) FROM minga_roster.runs r
                        WHERE r.run = this.of_run),
                    'run'))
                        || minga_roster_internal.done_in_words(facts.done, 'were') || '.',
                    'There was nothing left to undo.')
                ELSE minga_roster_internal.done_in_words(facts.done, 'were') || '.' END,
            CASE WHEN facts.done = '[]' AND this.kind IN ('sync', 'apply') THEN
                CASE WHEN needs <> '{}' THEN 'No accounts were changed.' WHEN facts.still_unread <> '{}'
                    THEN 'Nothing changed.'
                    ELSE 'Nothing changed, and there is nothing to do.' END
                WHEN this.kind = 'undo' AND (facts.school).automatic AND (facts.school).paused_cause IS NOT NULL THEN
                    'Automatic Rostering is paused until someone turns it on again.'
                WHEN needs = '{}' AND facts.still_unread = '{}' AND this.kind IN ('sync', 'apply')
                    THEN 'There is nothing to do.' END,
            'As before, not all ' || minga_roster_internal.in_list(facts.still_unread) || ' were read.')
        END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_lead(minga_roster_internal.report_facts) IS
'The first sentence of a report, and its tone: good; action, if someone has to act; bad, if nothing was synced; plain.';

CREATE FUNCTION minga_roster_internal.run_in_words(run runs) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE (run).kind WHEN 'test' THEN 'connection test' WHEN 'approve' THEN 'approval' WHEN 'diagnose'
        THEN 'diagnosis'
        WHEN 'apply' THEN 'reviewed preview' WHEN 'mail' THEN 'test mail' ELSE (run).kind END
        || CASE WHEN (run).evening IS NOT NULL THEN ' of ' || minga_roster_internal.day_in_words((run).evening)
            ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.run_in_words(runs) IS '"sync of Tuesday, September 1", "approval".';

CREATE FUNCTION minga_roster_internal.report_subject(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    longest CONSTANT integer := 150;
    facts minga_roster_internal.report_facts := minga_roster_internal.facts_of(run);
    this minga_roster.runs := facts.run;
    needs text := array_to_string(minga_roster_internal.needs_of(facts), ', ');
    done text := (SELECT string_agg(format('%s %s', minga_roster_internal.figure((d.pair ->> 0)::bigint), d.pair ->> 1),
        ', '
        ORDER BY d.place)
        FROM jsonb_array_elements(facts.done) WITH ORDINALITY d (pair, place));
    day text := to_char(this.evening, 'FMMonth FMDD');
    failure record;
    what text;
BEGIN
    SELECT * INTO failure FROM minga_roster_internal.failure_words() w WHERE w.cause = facts.cause;
    what := CASE
        WHEN facts.is_missed THEN format('action needed: the evening of %s was missed', day)
        WHEN this.state = 'failed' THEN CASE WHEN failure.mends_itself THEN '' ELSE 'action needed: ' END
            || CASE WHEN day IS NULL THEN format('%s failed', minga_roster_internal.run_in_words(this))
                ELSE 'no sync on '
                || day END || ', ' || failure.short
        WHEN this.state = 'canceled' THEN minga_roster_internal.run_in_words(this) || ' canceled'
        WHEN this.state <> 'succeeded' THEN format('%s %s', minga_roster_internal.run_in_words(this), this.state)
        WHEN needs <> '' THEN CASE this.kind WHEN 'preview' THEN 'preview: ' ELSE 'action needed: ' END || needs
            -- All of what was done or, if that is too long, nothing.
            || CASE WHEN length(needs) + length(done) < 100 THEN '; ' || done ELSE '' END
        ELSE CASE WHEN facts.recovered THEN 'works again: ' WHEN facts.is_first THEN 'first sync: '
            WHEN this.kind = 'preview' THEN 'preview: '
                WHEN this.kind = 'undo' THEN 'undone: ' WHEN this.kind = 'approve' THEN 'approved: ' ELSE '' END
            || coalesce(done, CASE WHEN this.kind IN ('sync', 'preview', 'apply') THEN 'nothing changed'
                WHEN this.kind IN ('approve', 'undo') THEN 'no accounts changed'
                    ELSE minga_roster_internal.run_in_words(this)
                    || ' succeeded' END)
            || CASE WHEN this.kind = 'undo' AND (facts.school).automatic AND (facts.school).paused_cause IS NOT NULL
                THEN '; Automatic Rostering is paused' ELSE '' END
            || CASE WHEN facts.still_unread <> '{}' THEN '; not all '
                || minga_roster_internal.cut(minga_roster_internal.in_list(facts.still_unread), 60) || ' read'
                    ELSE '' END
        END;
    what := minga_roster_internal.cut(what, longest - 22);
    RETURN minga_roster_internal.readable(format('%s: %s', minga_roster_internal.cut(facts.place,
        longest - 2 - length(what)), what));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_subject(bigint) IS
'Subject of the mail: the school, then what needs a decision, then what was done; one line of at most 150 characters.';
-- The decisions that a report asks for: failures first, then what is on hold, conflicts, and what could not be read.
-- Each decision_on function makes one card: what happened, what it means for the school, and who does what next.

CREATE FUNCTION minga_roster_internal.decision(title text, happened text, items jsonb, means text, next_step text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('title', title, 'items', coalesce(items, '[]'), 'lines', jsonb_build_array(
        jsonb_build_array('What happened', happened),
        jsonb_build_array('What it means', means),
        jsonb_build_array('What to do', next_step)))
$$;
COMMENT ON FUNCTION minga_roster_internal.decision(text, text, jsonb, text, text) IS
'A part of a report that asks someone to act: what happened, with the reasons one by one, what it means for the '
'school, and who does what next and by when.';

CREATE FUNCTION minga_roster_internal.reason_items(categories text[], reasons text[], numbers bigint[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(
        array_agg(format('%s: %s', minga_roster_internal.counted_people(r.category, r.number), r.reason)
            ORDER BY r.place)
            FILTER (WHERE r.place <= 8),
        coalesce(sum(r.number) FILTER (WHERE r.place > 8), 0)::bigint, 8)
    FROM (
        SELECT u.*, row_number() OVER (ORDER BY u.number DESC, u.category, u.reason) AS place
        FROM unnest(categories, reasons, numbers) AS u (category, reason, number)
    ) r
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.reason_items(text[], text[], bigint[]) IS
'"12 students: reason", the most frequent first: eight items, and how many people the others are about.';

CREATE FUNCTION minga_roster_internal.held_reasons(run bigint, action text, OUT items jsonb, OUT who text)
RETURNS record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS (
        SELECT c.category, coalesce(c.state_reason, c.reason) AS why, count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = held_reasons.run AND c.action = held_reasons.action AND c.state = 'held'
        GROUP BY 1, 2
    )
    SELECT (SELECT minga_roster_internal.reason_items(array_agg(h.category), array_agg(h.why), array_agg(h.number))
        FROM held h),
        (SELECT minga_roster_internal.in_list(array_agg(minga_roster_internal.counted_people(k.category, k.number)
            ORDER BY k.number DESC, k.category))
         FROM (SELECT h.category, sum(h.number)::bigint AS number FROM held h GROUP BY h.category) k)
$$;
COMMENT ON FUNCTION minga_roster_internal.held_reasons(bigint, text) IS
'Why changes of a run are on hold, by category, and how many people are concerned: "200 students and 4 teachers".';

CREATE FUNCTION minga_roster_internal.is_of_table(conflict text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(conflict IN ('not_unique', 'not_stored'), false)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_of_table(text) IS
'Whether a conflict is about what the people table accepts instead of who a person is.';

CREATE FUNCTION minga_roster_internal.noted_reasons(run bigint, actions text[], states text[],
    since timestamptz DEFAULT '-infinity',
    of_table boolean DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.reason_items(array_agg(n.category), array_agg(n.why), array_agg(n.number))
    FROM (
        SELECT c.category,
            CASE WHEN c.rule = 'refused by people' THEN 'The people table rejected the new values.'
                WHEN c.state = 'noted' THEN c.reason
                ELSE coalesce(c.state_reason, minga_roster_internal.state_reason('superseded', NULL)) END AS why,
            count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = noted_reasons.run AND c.action = ANY (actions) AND c.state = ANY (states) AND c.state_at >= since
            AND (of_table IS NULL OR minga_roster_internal.is_of_table(c.conflict) = of_table)
        GROUP BY 1, 2
    ) n
$$;
COMMENT ON FUNCTION minga_roster_internal.noted_reasons(bigint, text[], text[], timestamptz, boolean) IS
'Why changes of a run were not carried out, by category and reason, the most frequent first; NULL for none. '
'of_table picks the conflicts for which is_of_table() is true or false.';

CREATE FUNCTION minga_roster_internal.until_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN (facts.school).delta AND NOT (facts.school).filter_unusable THEN 'the next sync that reads the full roster'
        WHEN facts.next_evening IS NULL THEN 'the next sync'
        ELSE 'the next sync, on ' || minga_roster_internal.time_in_words(facts.next_evening, facts.zone) END
$$;
COMMENT ON FUNCTION minga_roster_internal.until_in_words(minga_roster_internal.report_facts) IS
'The deadline for what is on hold.';

CREATE FUNCTION minga_roster_internal.next_try_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN facts.retry_at IS NOT NULL THEN
            format('The next try is at %s.', to_char(facts.retry_at AT TIME ZONE facts.zone, 'FMHH12:MI AM'))
        WHEN facts.next_evening IS NOT NULL THEN
            format('The next sync starts automatically on %s.',
                minga_roster_internal.time_in_words(facts.next_evening, facts.zone))
        ELSE 'No evening sync is scheduled.' END
$$;
COMMENT ON FUNCTION minga_roster_internal.next_try_in_words(minga_roster_internal.report_facts) IS
'When the connection syncs the next time, as a sentence.';

CREATE FUNCTION minga_roster_internal.nothing_changed() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'No accounts were added, changed or archived. All of them are as they were before.';
COMMENT ON FUNCTION minga_roster_internal.nothing_changed() IS 'What a failed run means for the school.';

CREATE FUNCTION minga_roster_internal.decision_on_missed_evening(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('The evening was missed',
        format('No sync began on %s: %s.', minga_roster_internal.day_in_words((facts.run).evening),
            CASE (facts.run).state
            WHEN 'canceled' THEN 'other syncs kept the server busy until the evening was over'
            ELSE 'the database server or its scheduler was not running' END),
        NULL, minga_roster_internal.nothing_changed(),
        'If the server was off on purpose, nothing. Otherwise the database administrator finds the cause before the '
        'next evening. ' || minga_roster_internal.next_try_in_words(facts))
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_missed_evening(minga_roster_internal.report_facts) IS
'An evening without a sync.';

CREATE FUNCTION minga_roster_internal.failure_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ',
        CASE
            WHEN facts.cause <> 'time' AND (facts.run).kind IN ('approve', 'apply', 'undo') THEN
                'The run stopped while people were compared or written.'
            WHEN facts.cause <> 'time' AND coalesce((facts.run).phase, 'fetch') <> 'fetch' THEN
                'The roster was read, but the sync stopped while people were compared or written.'
            WHEN facts.cause IN ('key', 'lock', 'crash', 'slow', 'database') OR (facts.run).error IS NULL THEN
                'The database server could not finish the run.'
            ELSE minga_roster_internal.cut(minga_roster_internal.capitalized(rtrim((facts.run).error, '.')), 400)
                || '.' END,
        CASE WHEN facts.tries > 1 THEN format('%s tries failed this evening.', facts.tries) END)
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_in_words(minga_roster_internal.report_facts) IS
'What happened to a failed run. The error is quoted only if it came before people were read.';

CREATE FUNCTION minga_roster_internal.decision_on_failure(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.capitalized(w.short),
        minga_roster_internal.failure_in_words(facts), NULL, minga_roster_internal.nothing_changed(),
        concat_ws(' ', w.next_step,
            CASE WHEN (facts.run).evening IS NOT NULL THEN minga_roster_internal.next_try_in_words(facts) END,
            CASE WHEN (facts.run).evening IS NOT NULL AND facts.next_evening IS NOT NULL AND facts.retry_at IS NULL
                AND NOT w.mends_itself THEN 'Every sync fails in the same way until this is done.' END))
    FROM minga_roster_internal.failure_words() w
    WHERE w.cause = facts.cause
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_failure(minga_roster_internal.report_facts) IS
'A failed run: its cause, and who can fix it.';

CREATE FUNCTION minga_roster_internal.decision_on_changed_ids(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.moves, 'ID') || ' changed in the SIS',
        format('The SIS lists %s under IDs that it never used before. That happens when a school moves to another '
            'SIS or to another version of its API. %s', h.who,
            CASE e.exact
                WHEN 0 THEN 'These people were found by identifier or email address.'
                WHEN facts.moves THEN 'These people were found by their former IDs, which the SIS sends. This is exact.'
                ELSE format('%s of these people were found by their former IDs, which the SIS sends, and the others '
                    'by identifier or email address.', minga_roster_internal.figure(e.exact)) END),
        h.items,
        'No one in these categories was added, changed or archived. Everyone else was synced as usual.',
        'Ask the SIS administrator whether the IDs were changed on purpose. If so, the database administrator moves '
        'all of these people to their new IDs. They keep their accounts, and the next sync continues. Until then each '
        'sync waits for this decision.')
    FROM minga_roster_internal.held_reasons((facts.run).run, 'link') h,
        (SELECT count(*) AS exact FROM minga_roster.changes c
         WHERE c.run = (facts.run).run AND c.state = 'held' AND c.action = 'link' AND c.rule = 'former id') e
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_changed_ids(minga_roster_internal.report_facts) IS
'Links that wait for roster_relink.';

CREATE FUNCTION minga_roster_internal.decision_on_hold(facts minga_roster_internal.report_facts, action text,
    number bigint, noun text, happened text,
    means text, in_preview text, in_sync text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, noun)
        || CASE WHEN p.is_preview THEN ' would be on hold' ELSE ' on hold' END,
        minga_roster_internal.filled(happened, p.holes || jsonb_build_object('who', h.who, 'site',
            minga_roster_internal.readable((facts.run).site))),
        h.items,
        minga_roster_internal.filled(means, p.holes),
        CASE WHEN p.is_preview THEN in_preview
            ELSE minga_roster_internal.filled(in_sync, jsonb_build_object('until',
                minga_roster_internal.until_in_words(facts))) END)
    FROM minga_roster_internal.held_reasons(facts.planned_in, action) h,
        (SELECT (facts.run).kind = 'preview' AS is_preview,
            CASE (facts.run).kind WHEN 'preview' THEN '{"was": "would be", "not": "would not be"}'
                ELSE '{"was": "was", "not": "were not"}' END::jsonb AS holes) p
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_hold(minga_roster_internal.report_facts, text, bigint, text, text,
    text, text, text) IS
'Held changes with this action. The texts have holes for who, site, was, not ("were not" or, in a preview, "would not '
'be") and until.';

CREATE FUNCTION minga_roster_internal.decision_on_archives(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'archive', facts.held_archives, 'archive',
        'The SIS no longer lists {who}. So many at once can be a mistake, so they {not} archived.',
        'They keep their accounts until someone decides. Everyone else {was} synced as usual.',
        'Find out whether these people have really left before you sync.',
        'Find out whether these people have really left. The database administrator can list them. If they have '
        'left, the database administrator archives them. You can decide until {until}. That sync decides again and '
        'holds those who are still missing.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_archives(minga_roster_internal.report_facts) IS
'Archives that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_updates(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'update', facts.held_updates, 'update',
        'The SIS has a new value for most people in a category at once: {who}. That can be a mistake, so they {not} '
        'updated.',
        'They stay as they are until someone decides. Everyone else {was} synced as usual.',
        'Ask the SIS administrator whether this was changed on purpose before you sync.',
        'Ask the SIS administrator whether this was changed on purpose. If so, the database administrator carries out '
        'the updates. You can decide until {until}. That sync decides again and holds what is still different.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_updates(minga_roster_internal.report_facts) IS
'Mass updates that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_new_site(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'create', facts.held_creates, 'new account',
        'This is the first sync of "{site}", which has no accounts yet, while other schools have some. If the site is '
        'misspelled, everyone would get a second account.',
        CASE (facts.run).kind WHEN 'preview' THEN 'No accounts would be added until someone decides.'
            ELSE 'No accounts were added. The people at the other schools are unchanged.' END,
        'Ask the database administrator whether the site is the right one before you sync.',
        'Ask the database administrator whether the site is the right one. If so, one approval adds all of them, and '
        'the question does not come up again. You can decide until {until}. That sync holds them again.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_new_site(minga_roster_internal.report_facts) IS
'Creates of a new site that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_conflicts(facts minga_roster_internal.report_facts, number bigint)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, 'conflict'),
        'The SIS lists people who cannot be told apart from others with certainty.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => false),
        'The people in a conflict were not changed or archived.',
        'Someone who knows the school decides who is who. The database administrator shows both sides and enters the '
        'decision, which is remembered. There is no deadline: a conflict comes back each evening until it is settled.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_conflicts(minga_roster_internal.report_facts, bigint) IS
'Conflicts about who a person is.';

CREATE FUNCTION minga_roster_internal.decision_on_table_conflicts(facts minga_roster_internal.report_facts,
    number bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, 'conflict') || ' with the people table',
        'The people table does not accept these people as the SIS has them.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => true),
        'These people were not added, changed or archived.',
        'The database administrator changes what blocks them: a value, an index or a trigger of the people table. If '
        'a row is not wanted, the database administrator can skip it, which is remembered. There is no deadline: a '
        'conflict comes back each evening until it is settled.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_table_conflicts(minga_roster_internal.report_facts, bigint) IS
'Conflicts about what the people table accepts.';

CREATE FUNCTION minga_roster_internal.decision_on_rejects(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.rejects, 'rejected row'),
        'The SIS sent rows that could not be used.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['reject'], ARRAY['noted']),
        'These rows changed no accounts. People who already have an account keep it.',
        'The school corrects the rows in the SIS, and the next sync uses them. If the people table rejected a row, '
        'the database administrator checks its constraints and triggers.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_rejects(minga_roster_internal.report_facts) IS
'Rows that could not be used.';

CREATE FUNCTION minga_roster_internal.list_names(names text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.in_list(names[:6] || CASE WHEN cardinality(names) > 6
        THEN ARRAY[format('%s more lists', cardinality(names) - 6)] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.list_names(text[]) IS
'Names of at most six lists, and how many more there are; NULL for none.';

CREATE FUNCTION minga_roster_internal.unread_consequences(run bigint, lists text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ')
    FROM minga_roster.collections c
    WHERE c.run = unread_consequences.run AND c.collection = ANY (lists)
$$;
COMMENT ON FUNCTION minga_roster_internal.unread_consequences(bigint, text[]) IS
'The consequences of lists that a run did not read completely.';

CREATE FUNCTION minga_roster_internal.decision_on_unread_lists(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(cardinality(facts.unread), 'list was',
        'lists were') || ' not read completely',
        concat_ws(' ',
            'The SIS does not share its list of ' || minga_roster_internal.list_names(u.denied)
                || ' with the connection.',
            'The SIS did not show that it sent all ' || minga_roster_internal.list_names(u.unproven) || '.'),
        NULL,
        minga_roster_internal.unread_consequences((facts.run).run, facts.unread)
            || ' Everything else was done as usual.',
        concat_ws(' ',
            CASE WHEN u.denied <> '{}' THEN
                'The SIS administrator shares the list with the connection (in Infinite Campus: Data to Share).' END,
            CASE WHEN u.unproven <> '{}' THEN
                'If it happens again on the next evening, the SIS administrator sends the details at the end of this '
                'report to the SIS vendor.' END))
    FROM (
        SELECT coalesce(array_agg(l.name ORDER BY l.place) FILTER (WHERE d.collection IS NOT NULL), '{}') AS denied,
            coalesce(array_agg(l.name ORDER BY l.place) FILTER (WHERE d.collection IS NULL), '{}') AS unproven
        FROM unnest(facts.unread) WITH ORDINALITY AS l (name, place)
        LEFT JOIN minga_roster.collections d
            ON d.run = (facts.run).run AND d.weak_cause = 'denied'
                AND minga_roster_internal.readable(d.collection) = l.name
    ) u
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_unread_lists(minga_roster_internal.report_facts) IS
'Lists that the SIS does not share, or that were not proved complete.';

CREATE FUNCTION minga_roster_internal.decision_on_kept_changes(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.kept, 'change') || ' could not be undone',
        'These people were changed again later.',
        minga_roster_internal.noted_reasons(minga_roster_internal.planned_in(r),
            ARRAY['create', 'link', 'update', 'restore', 'archive'], ARRAY['kept']),
        'They stay as they are now. Everyone else is as before the run.',
        'Someone who knows the school checks these people one by one. The database administrator can list them.')
    FROM (VALUES ((facts.run).of_run)) AS undone (run)
    LEFT JOIN minga_roster.runs r USING (run)
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_kept_changes(minga_roster_internal.report_facts) IS
'Changes that an undo could not undo.';

CREATE FUNCTION minga_roster_internal.decision_on_test(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('The connection test failed',
        format('The SIS could not be used at the step "%s".', facts.failed_step), NULL,
        'No sync would succeed now.',
        'The steps at the end of this report show who can fix it.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_test(minga_roster_internal.report_facts) IS
'A connection test that failed.';

CREATE FUNCTION minga_roster_internal.decision_on_pause(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('Automatic Rostering is paused',
        format('It was paused because %s.', (facts.school).paused_reason), NULL,
        'No sync runs in the evening until it is turned on again.',
        'When the cause is fixed, the database administrator turns it on.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_pause(minga_roster_internal.report_facts) IS
'Automatic Rostering that someone has to turn on again.';

CREATE FUNCTION minga_roster_internal.report_decisions(facts minga_roster_internal.report_facts) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := facts.run;
    here minga_roster.connections := facts.school;
    of_table bigint;
BEGIN
    IF facts.is_missed THEN
        RETURN NEXT minga_roster_internal.decision_on_missed_evening(facts);
    ELSIF this.state = 'failed' THEN
        RETURN NEXT minga_roster_internal.decision_on_failure(facts);
    END IF;
    IF this.state <> 'succeeded' THEN
        RETURN;
    END IF;
    IF facts.moves > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_changed_ids(facts);
    END IF;
    IF facts.held_archives > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_archives(facts);
    END IF;
    IF facts.held_updates > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_updates(facts);
    END IF;
    IF facts.held_creates > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_new_site(facts);
    END IF;
    IF facts.conflicts > 0 AND this.kind <> 'approve' THEN
        SELECT least(count(*), facts.conflicts) INTO of_table
        FROM minga_roster.changes c
        WHERE c.run = facts.planned_in AND c.action = 'conflict' AND c.state = 'noted'
            AND minga_roster_internal.is_of_table(c.conflict);
        IF facts.conflicts > of_table THEN
            RETURN NEXT minga_roster_internal.decision_on_conflicts(facts, facts.conflicts - of_table);
        END IF;
        IF of_table > 0 THEN
            RETURN NEXT minga_roster_internal.decision_on_table_conflicts(facts, of_table);
        END IF;
    END IF;
    IF facts.rejects > 0 AND this.kind <> 'approve' THEN
        RETURN NEXT minga_roster_internal.decision_on_rejects(facts);
    END IF;
    IF facts.unread <> '{}' THEN
        RETURN NEXT minga_roster_internal.decision_on_unread_lists(facts);
    END IF;
    IF facts.kept > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_kept_changes(facts);
    END IF;
    IF facts.failed_step IS NOT NULL THEN
        RETURN NEXT minga_roster_internal.decision_on_test(facts);
    END IF;
    IF here.automatic AND here.retired_at IS NULL AND here.paused_cause <> 'restored'
        AND this.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        RETURN NEXT minga_roster_internal.decision_on_pause(facts);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_decisions(minga_roster_internal.report_facts) IS
'What needs a decision, as decision() returns it.';
-- What a report says, in reading order: the first sentence, what needs a decision, what was done, the last evenings,
-- notes, and what the database administrator needs for all of this.

CREATE FUNCTION minga_roster_internal.report_findings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(
        array_agg(minga_roster_internal.readable(w.words) ORDER BY f.position), greatest(count(*) - 12, 0), 12)
    FROM minga_roster.run_findings f
    CROSS JOIN LATERAL minga_roster_internal.finding_text(f.finding, f.category, f.amount, f."of", f.detail) w (words)
    WHERE f.run = facts.planned_in AND (facts.run).kind <> 'approve'
        AND f.finding NOT IN ('incomplete', 'mass_update_held')
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_findings(minga_roster_internal.report_facts) IS
'What the run noticed in the SIS, except what other parts say; NULL for nothing.';

CREATE FUNCTION minga_roster_internal.report_counts(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH words (place, action, label, total) AS (
        VALUES (1, 'create', 'Added', (facts.run).created),
            (2, 'restore', 'Restored', (facts.run).restored),
            (3, 'update', CASE (facts.run).kind WHEN 'undo' THEN 'Changed back' ELSE 'Updated' END,
                (facts.run).updated),
            (4, 'link', CASE (facts.run).kind WHEN 'undo' THEN 'No longer matched' ELSE 'Matched with an account' END,
                (facts.run).linked),
            (5, 'archive', 'Archived', (facts.run).archived),
            (6, 'held', CASE WHEN facts.held_archives + facts.held_updates + facts.held_creates + facts.moves > 0
                THEN 'On hold' ELSE 'Was on hold' END, (facts.run).held),
            (7, 'unchanged', 'Unchanged', CASE WHEN (facts.run).kind NOT IN ('undo', 'apply')
                THEN (facts.run).unchanged END),
            (8, 'skip', 'Different in the SIS, not updated', NULL),
            (9, 'protect', 'Protected from the roster', NULL),
            (10, 'merged', 'Duplicate SIS records merged', NULL),
            (11, 'conflict', 'Conflicts', (facts.run).conflicts),
            (12, 'reject', 'Rejected rows', (facts.run).rejects),
            (13, 'contact', 'Parents and guardians', NULL),
            (14, 'ignore', 'Deleted or not rostered', NULL),
            (15, 'forgotten', 'Left out, erased on request', NULL),
            (16, 'kept', 'Not undone', NULL)
    ), waiting AS (
        -- People on hold whose row the run skipped count only as on hold.
        SELECT h.category, count(*) AS number
        FROM minga_roster.changes h
        WHERE h.run = (facts.run).run AND h.action IN ('create', 'update')
            AND (h.state = 'held' AND h.state_cause IN ('mass_update', 'new_site') OR h.done_by <> h.run)
            AND NOT EXISTS (SELECT FROM minga_roster.changes l
                WHERE l.run = h.run AND l.action = 'link' AND l.person_id = h.person_id)
        GROUP BY 1
    ), counted AS (
        SELECT c.action, c.category, sum(c.count)::bigint - CASE c.action WHEN 'skip'
            THEN coalesce((SELECT h.number FROM waiting h WHERE h.category = c.category), 0) ELSE 0 END AS number
        FROM minga_roster.run_counts c
        WHERE c.run = (facts.run).run AND c.count > 0 AND c.action NOT IN ('conflict', 'reject', 'refused archive')
        GROUP BY 1, 2
        UNION ALL
        -- People, as the run counts them: several rows may be one conflict.
        SELECT c.action, c.category, count(*)
        FROM minga_roster.changes c
        WHERE c.run = facts.planned_in AND (facts.run).kind <> 'approve' AND c.action IN ('conflict', 'reject')
            AND c.state = 'noted'
        GROUP BY 1, 2
    ), lines AS (
        SELECT w.place, w.label, coalesce(w.total, (SELECT sum(c.number) FROM counted c
            WHERE c.action = w.action))::bigint AS number,
            (SELECT string_agg(minga_roster_internal.counted_people(c.category, c.number), ', '
                ORDER BY array_position(ARRAY['student', 'teacher', 'staff', 'admin'], c.category), c.category)
             FROM counted c WHERE c.action = w.action AND c.number > 0
                AND c.category IN ('student', 'teacher', 'staff', 'admin')) AS who
        FROM words w
    )
    SELECT jsonb_agg(jsonb_build_array(l.label, minga_roster_internal.figure(l.number), coalesce(l.who, ''))
        ORDER BY l.place)
    FROM lines l WHERE l.number > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_counts(minga_roster_internal.report_facts) IS
'What was done, line by line: [label, number, who of them]; NULL if there is nothing to count.';

CREATE FUNCTION minga_roster_internal.report_evenings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT DISTINCT ON (r.evening) r.evening, r.state, r.state_cause = 'evening_missed' AS is_missed,
            coalesce(r.created, 0) + coalesce(r.linked, 0) + coalesce(r.updated, 0) + coalesce(r.restored,
                0) + coalesce(r.archived, 0) AS number,
            coalesce(r.held, 0) AS held
        FROM minga_roster.runs r
        WHERE r.connection = (facts.run).connection AND r.site = (facts.run).site AND r.evening IS NOT NULL
            AND r.run <= (facts.run).run
        ORDER BY r.evening, r.state = 'succeeded' DESC, r.run DESC
    ), last AS (
        SELECT coalesce((facts.run).evening, max(k.evening)) AS evening FROM known k
    )
    SELECT jsonb_agg(jsonb_build_object(
            'day', to_char(d.evening, 'FMDD'),
            'short', to_char(d.evening, 'FMMon FMDD'),
            'date', minga_roster_internal.day_in_words(d.evening::date),
            'number', CASE k.state WHEN 'succeeded' THEN k.number ELSE 0 END,
            'tone', CASE WHEN k.state = 'succeeded' AND k.held > 0 THEN 'held' WHEN k.state = 'succeeded' THEN 'good'
                WHEN k.is_missed OR k.state = 'failed' THEN 'bad' ELSE 'none' END,
            'words', CASE WHEN k.state = 'succeeded' THEN CASE WHEN k.number = 0 THEN 'nothing changed'
                ELSE minga_roster_internal.figures(k.number, 'change') END
                    || CASE WHEN k.held > 0 THEN format(', %s on hold', minga_roster_internal.figure(k.held))
                        ELSE '' END
                WHEN k.is_missed THEN 'missed'
                WHEN k.state = 'failed' THEN 'no sync: it failed'
                ELSE 'no sync' END) ORDER BY d.evening)
    FROM last l
    CROSS JOIN LATERAL generate_series(l.evening - 13, l.evening, interval '1 day') AS d (evening)
    LEFT JOIN known k ON k.evening = d.evening::date
    HAVING bool_or(k.state IN ('succeeded', 'failed') OR k.is_missed)
$$;
COMMENT ON FUNCTION minga_roster_internal.report_evenings(minga_roster_internal.report_facts) IS
'The last 14 evenings, oldest first: day, date, number of changes, tone (good, held, bad, none) and words; NULL before '
'the first evening.';

CREATE FUNCTION minga_roster_internal.report_notes(facts minga_roster_internal.report_facts) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(n.line ORDER BY n.place), '{}')
    FROM (SELECT facts.run AS run, facts.school AS school,
        (minga_roster_internal.clock() AT TIME ZONE facts.zone)::date AS today) f
    CROSS JOIN LATERAL (VALUES
        (1, CASE WHEN (f.school).enabled_origin IS NOT NULL
            AND (f.school).enabled_origin <> minga_roster_internal.server_origin() THEN
            'This database is a copy. Automatic Rostering was turned on in the original, so no evening sync runs here '
                'and no mail is sent.' END),
        (2, CASE WHEN (f.run).state = 'canceled' AND NOT facts.is_missed
            THEN concat_ws(' ', 'It changed no accounts.',
            'The next sync starts automatically on ' || minga_roster_internal.time_in_words(facts.next_evening,
                facts.zone)
                || '.') END),
        (3, CASE WHEN (f.school).unproven AND (f.school).retired_at IS NULL AND (f.run).state = 'succeeded' THEN
            'Archives are on hold until a full sync shows that the connection reaches the right school.' END),
        (4, CASE WHEN (f.school).credentials_expire < f.today THEN
                format('The SIS credentials expired on %s. Ask the SIS administrator for new ones.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY'))
            WHEN (f.school).credentials_expire <= f.today + 30 THEN
                format('The SIS credentials expire on %s. Ask the SIS administrator for new ones before that date.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY')) END),
        (5, 'As on earlier evenings, the SIS did not show that it sent all '
            || minga_roster_internal.in_list(facts.still_unread[:6]) || '. '
            || (SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ')
                FROM minga_roster.collections c
                WHERE c.run = (f.run).run AND c.collection = ANY (facts.still_unread))),
        (6, (SELECT CASE WHEN count(*) = 1 THEN 'A new person has'
                ELSE minga_roster_internal.figure(count(*)) || ' new people have' END
                || ' the same name as an active person without an identifier or email address. They may be the same '
                    'person. The '
                || 'database administrator can list them.'
            FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND (f.run).kind IN ('sync', 'preview') AND c.same_name IS NOT NULL
                AND c.state IN ('planned', 'applied')
            HAVING count(*) > 0)),
        (7, CASE WHEN (f.run).is_full IS FALSE THEN
            'Only changes since the last sync were read. The next full sync finds out who has left.' END),
        (8, CASE WHEN (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL THEN
            'The SIS ignores or rejects the filter on dateLastModified, so every evening sync reads the full roster.'
            END)
        ) AS n (place, line)
    WHERE n.line IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_notes(minga_roster_internal.report_facts) IS
'What is good to know and needs no decision.';

CREATE FUNCTION minga_roster_internal.report_details(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(d.label, minga_roster_internal.cut(minga_roster_internal.readable(d.value), 600))
        ORDER BY d.place, d.label)
    FROM (SELECT facts.run AS run, facts.zone AS zone, coalesce((facts.run).state IN ('failed', 'canceled'),
        false) AS ended_badly) f
    CROSS JOIN LATERAL (VALUES
        (1, 'Connection', (f.run).connection),
        (2, 'Site', minga_roster_internal.cut((f.run).site, 120)),
        (3, 'Run', format('%s (%s, %s)', (f.run).run, (f.run).kind, CASE WHEN (f.run).evening IS NOT NULL
            THEN format('evening of %s', (f.run).evening)
            ELSE format('requested by %s', (f.run).requested_by) END)),
        (4, CASE WHEN (f.run).started_at IS NOT NULL THEN 'Began' WHEN facts.is_missed THEN 'Recorded'
            ELSE 'Queued' END,
            minga_roster_internal.local_minute(coalesce((f.run).started_at, (f.run).queued_at), f.zone) || ' '
                || f.zone),
        (5, 'Took', minga_roster_internal.duration_in_words((f.run).finished_at - (f.run).started_at)),
        (6, 'Read', CASE WHEN (f.run).pages > 0 THEN format('%s in %s',
            minga_roster_internal.figures((f.run).rows_staged, 'row'),
                minga_roster_internal.figures((f.run).pages, 'page')) END),
        (7, 'Asked for', CASE WHEN (f.run).is_full IS FALSE
            THEN format('students and contacts changed since %s %s, and all staff',
            minga_roster_internal.local_minute((f.run).modified_since, f.zone), f.zone) END),
        (8, 'Approves', CASE (f.run).kind WHEN 'approve' THEN format('what run %s put on hold', (f.run).of_run) END),
        (9, 'Applies', CASE (f.run).kind WHEN 'apply' THEN format('the preview in run %s', (f.run).of_run) END),
        (10, 'Undoes', CASE (f.run).kind WHEN 'undo' THEN format('run %s', (f.run).of_run) END),
        (11, 'Error', CASE WHEN f.ended_badly THEN coalesce((f.run).error, 'none is recorded')
            || coalesce(' (SQLSTATE ' || (f.run).sqlstate || ')', '') END),
        (12, 'Detail', CASE WHEN f.ended_badly THEN nullif((f.run).detail, '') END),
        (13, 'Hint', CASE WHEN f.ended_badly THEN nullif((f.run).hint, '') END)
        ) AS d (place, label, value)
    WHERE d.value IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_details(minga_roster_internal.report_facts) IS
'What the database administrator needs to know about the run: pairs of label and value.';

CREATE FUNCTION minga_roster_internal.report_lists(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(array_agg(l.line ORDER BY l.place), greatest(count(*) - 12, 0), 12)
    FROM (
        SELECT row_number() OVER (ORDER BY c.collection) AS place,
            minga_roster_internal.readable(format('%s: %s', c.collection,
                coalesce(c.detail, 'its end was not proved'))) AS line
        FROM minga_roster.collections c
        WHERE facts.unread || facts.still_unread <> '{}' AND c.run = (facts.run).run
            AND (NOT c.complete OR c.proof = 'weak')
            AND ((facts.run).is_full IS NOT FALSE OR c.proof IS NULL)
        UNION ALL
        SELECT 1000 + s.position, minga_roster_internal.readable(format('%s: %s', s.step,
            concat_ws('. ', CASE WHEN s.ok THEN 'ok' WHEN NOT s.ok THEN 'failed' ELSE 'not reached' END,
            rtrim(s.detail, '.'), s.hint)))
        FROM minga_roster.run_steps s WHERE s.run = (facts.run).run
        UNION ALL
        SELECT 2000 + row_number() OVER (ORDER BY r.number DESC, r.reason),
            minga_roster_internal.readable(format('%s: %s', minga_roster_internal.figures(r.number, 'rejected row'),
                r.reason))
        FROM (SELECT c.reason, count(*) AS number FROM minga_roster.changes c
              WHERE c.run = facts.planned_in AND c.action = 'reject' AND c.rule = 'refused by people'
                  AND (facts.run).kind <> 'approve' GROUP BY c.reason) r
        ) l
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_lists(minga_roster_internal.report_facts) IS
'Which lists were not read completely and why, the steps of a connection test, and why the people table rejected '
'something; NULL for none.';

CREATE FUNCTION minga_roster_internal.report_statements(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(s.why, minga_roster_internal.readable(s.statement)) ORDER BY s.place)
    FROM (SELECT facts.run AS run, facts.school AS school, facts.planned_in AS planned_in,
        (facts.run).state = 'succeeded' AS succeeded,
            (facts.run).kind IN ('sync', 'apply') AS acts) f
    CROSS JOIN LATERAL (VALUES
        (0, f.acts AND facts.held_creates > 0, 'New accounts on hold',
            format('SELECT sourced_ids, category, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''create'' AND state = ''held'';', f.planned_in)),
        (1, f.acts AND facts.moves > 0, 'People found under new IDs',
            format('SELECT person_id, sourced_ids, rule FROM minga_roster.changes WHERE run = %s AND action = ''link'' '
            'AND state = ''held'';', (f.run).run)),
        (2, f.acts AND facts.moves > 0, 'Move them to their new IDs; they keep their accounts',
            format('SELECT minga_roster.roster_relink(%s);', (f.run).run)),
        (3, f.acts AND facts.held_archives > 0, 'Archives on hold',
            format('SELECT person_id, category, sourced_ids FROM minga_roster.changes WHERE run = %s AND action = '
            '''archive'' AND state = ''held'';', f.planned_in)),
        (4, f.acts AND facts.held_updates > 0, 'Updates on hold',
            format('SELECT person_id, category, before, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''update'' AND state = ''held'';', f.planned_in)),
        (5, f.acts AND facts.held_archives + facts.held_updates + facts.held_creates > 0, 'Carry out what is on hold',
            format('SELECT minga_roster.roster_approve(%s);', (f.run).run)),
        (6, f.succeeded AND facts.conflicts > 0, 'The conflicts with both sides; roster_decide settles them',
            format('SELECT * FROM minga_roster.roster_conflicts WHERE connection = %L;', (f.run).connection)),
        (7, f.succeeded AND facts.rejects > 0, 'The rejected rows',
            format('SELECT sourced_ids, reason FROM minga_roster.changes WHERE run = %s AND action = ''reject'';',
            f.planned_in)),
        (8, f.succeeded AND facts.noticed <> '{}', 'The findings',
            format('SELECT finding, category, amount, "of", detail FROM minga_roster.run_findings WHERE run = %s;',
            f.planned_in)),
        (17, f.succeeded AND (f.run).kind IN ('sync', 'preview') AND EXISTS (SELECT FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND c.same_name IS NOT NULL AND c.state IN ('planned', 'applied')),
            'New people with the same name as someone already here',
            format('SELECT * FROM minga_roster.roster_same_names WHERE connection = %L;', (f.run).connection)),
        (9, facts.kept > 0, 'Changes that could not be undone',
            format('SELECT person_id, action, state_reason FROM minga_roster.changes WHERE run = %s AND state = '
                '''kept'';',
                (SELECT minga_roster_internal.planned_in(r) FROM minga_roster.runs r WHERE r.run = (f.run).of_run))),
        (11, facts.cause = 'login', 'Store a new Client Secret',
            format('SELECT minga_roster.roster_set_secret(%L, ''...'');', (f.run).connection)),
        (12, (f.run).state = 'failed' AND NOT facts.is_missed AND coalesce((f.run).phase, 'fetch') = 'fetch'
            AND (f.run).kind IN ('sync', 'preview', 'fetch'), 'Test the connection',
            format('SELECT * FROM minga_roster.roster_test_connection(%L);', (f.run).connection)),
        (13, (f.run).kind = 'sync' AND ((f.run).state = 'failed' OR facts.is_missed), 'Sync now',
            format('SELECT run, state FROM minga_roster.roster_sync(%L);', (f.run).connection)),
        (14, (f.run).kind = 'diagnose' AND f.succeeded, 'The diagnosis as text for the SIS vendor',
            format('SELECT minga_roster.roster_diagnosis(%s);', (f.run).run)),
        (15, (f.school).automatic AND (f.school).retired_at IS NULL AND (f.school).paused_cause <> 'restored',
            'Turn Automatic Rostering on again', format('SELECT minga_roster.roster_enable(%L);',
            (f.run).connection)),
        (16, (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL,
            'Ask for changes only, once the vendor has fixed the filter',
            format('SELECT minga_roster.roster_configure(%L, delta => true);', (f.run).connection))
        ) AS s (place, is_due, why, statement)
    WHERE s.is_due
$$;
COMMENT ON FUNCTION minga_roster_internal.report_statements(minga_roster_internal.report_facts) IS
'The exact statements for what the report asks the database administrator to do: pairs of purpose and statement.';

CREATE FUNCTION minga_roster_internal.report_parts(run bigint, OUT nth integer, OUT part text, OUT content jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    facts minga_roster_internal.report_facts := minga_roster_internal.facts_of(run);
    this minga_roster.runs := facts.run;
    refused jsonb;
BEGIN
    IF this.state = 'succeeded' AND this.kind IN ('sync', 'apply', 'approve') THEN
        refused := CASE this.kind
            WHEN 'approve' THEN minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['archive', 'update'],
                ARRAY['refused'],
                (SELECT r.finished_at FROM minga_roster.runs r WHERE r.run = facts.planned_in))
            ELSE minga_roster_internal.noted_reasons(facts.planned_in,
                ARRAY['create', 'link', 'update', 'restore', 'archive'],
                ARRAY['refused', 'expired']) END;
    END IF;
    RETURN QUERY
    SELECT row_number() OVER (ORDER BY p.place, p.within)::integer, p.part, p.content
    FROM (
        SELECT 1, 0::bigint, 'lead', jsonb_build_object('tone', l.tone, 'words', l.content)
            FROM minga_roster_internal.report_lead(facts) l
        UNION ALL
        SELECT 2, 0, 'context', to_jsonb(format('%s: %s%s', facts.place, minga_roster_internal.run_in_words(this),
            CASE WHEN this.kind IN ('test', 'fetch', 'diagnose', 'preview') THEN '. No accounts were changed.'
                ELSE '' END))
        UNION ALL
        SELECT 3, d.place, 'decision', d.content
            FROM minga_roster_internal.report_decisions(facts) WITH ORDINALITY d (content,
            place)
        UNION ALL
        SELECT 3, 1000 + c.place, c.part, c.content
        FROM minga_roster_internal.report_findings(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('Findings in the SIS'::text)),
            (2, 'items', n.lines)) c (place, part, content)
        WHERE n.lines IS NOT NULL
        UNION ALL
        SELECT 4, c.place, c.part, c.content
        FROM minga_roster_internal.report_counts(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb(CASE this.kind WHEN 'preview' THEN 'What a sync would do'
            ELSE 'What was done' END)),
            (2, 'counts', n.lines)) c (place, part, content)
        WHERE n.lines IS NOT NULL
        UNION ALL
        SELECT 5, c.place, c.part, c.content
        FROM (VALUES (1, 'heading', to_jsonb('Not carried out'::text)), (2, 'items', refused)) c (place, part, content)
        WHERE refused IS NOT NULL
        UNION ALL
        SELECT 6, c.place, c.part, c.content
        FROM minga_roster_internal.report_evenings(facts) n (evenings)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('The last 14 evenings'::text)),
            (2, 'evenings', n.evenings)) c (place, part, content)
        WHERE n.evenings IS NOT NULL AND this.finished_at IS NOT NULL
            AND this.kind IN ('sync', 'approve', 'apply', 'undo')
        UNION ALL
        SELECT 7, c.place, c.part, c.content
        FROM minga_roster_internal.report_notes(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('Good to know'::text)),
            (2, 'items', to_jsonb(n.lines))) c (place, part, content)
        WHERE n.lines <> '{}'
        UNION ALL
        SELECT 8, 1, 'heading', to_jsonb('For the database administrator'::text)
        UNION ALL
        SELECT 8, 2, 'details', minga_roster_internal.report_details(facts)
        UNION ALL
        SELECT 8, 3, 'items', l.lines FROM minga_roster_internal.report_lists(facts) l (lines) WHERE l.lines IS NOT NULL
        UNION ALL
        SELECT 8, 4, 'statements', s.lines FROM minga_roster_internal.report_statements(facts) s (lines)
            WHERE s.lines IS NOT NULL
    ) AS p (place, within, part, content);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_parts(bigint) IS
'The report of a run in reading order. part and content: lead: tone and words; context, heading: a string; decision: '
'title, lines and items; counts: [label, number, who]; items: strings; evenings: as report_evenings() returns them; '
'details: pairs of label and value; statements: pairs of purpose and statement.';
-- A report as plain text, in lines of 78 characters.

CREATE FUNCTION minga_roster_internal.text_item(content text, mark text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT mark || array_to_string(minga_roster_internal.wrapped(content, width - length(mark)), E'\n'
        || repeat(' ', length(mark))) || E'\n'
$$;
COMMENT ON FUNCTION minga_roster_internal.text_item(text, text, integer) IS
'A wrapped paragraph with a mark before its first line.';

CREATE FUNCTION minga_roster_internal.text_items(items jsonb, mark text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(minga_roster_internal.text_item(i.item, mark, width), '' ORDER BY i.place), '')
    FROM jsonb_array_elements_text(items) WITH ORDINALITY i (item, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_items(jsonb, text, integer) IS
'The items of a list, one paragraph each.';

CREATE FUNCTION minga_roster_internal.text_heading(title text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT title || E'\n' || repeat('-', length(title)) || E'\n'
$$;
COMMENT ON FUNCTION minga_roster_internal.text_heading(text) IS 'An underlined title.';

CREATE FUNCTION minga_roster_internal.text_decision(content jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.text_heading(content ->> 'title')
        || string_agg(minga_roster_internal.text_item(format('%s: %s', l.line ->> 0, l.line ->> 1), '', width)
            -- The reasons follow what happened.
            || CASE l.place WHEN 1 THEN minga_roster_internal.text_items(content -> 'items', '  - ', width) ELSE '' END,
                ''
                ORDER BY l.place)
    FROM jsonb_array_elements(content -> 'lines') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_decision(jsonb, integer) IS 'The result of decision() as text.';

CREATE FUNCTION minga_roster_internal.text_pairs(pairs jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.text_item(p.pair ->> 1, rpad((p.pair ->> 0) || ':', w.label), width), ''
        ORDER BY p.place)
    FROM jsonb_array_elements(pairs) WITH ORDINALITY p (pair, place)
    CROSS JOIN (SELECT max(length(l ->> 0)) + 3 AS label FROM jsonb_array_elements(pairs) l) w
$$;
COMMENT ON FUNCTION minga_roster_internal.text_pairs(jsonb, integer) IS 'Labels and values, with the values aligned.';

CREATE FUNCTION minga_roster_internal.text_counts(counts jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(rtrim(minga_roster_internal.text_item(c.line ->> 2,
            rpad(c.line ->> 0, w.label) || lpad(c.line ->> 1, w.number) || '   ', width), E' \n') || E'\n', ''
                ORDER BY c.place)
    FROM jsonb_array_elements(counts) WITH ORDINALITY c (line, place)
    CROSS JOIN (SELECT max(length(l ->> 0)) + 3 AS label, max(length(l ->> 1)) AS number
        FROM jsonb_array_elements(counts) l) w
$$;
COMMENT ON FUNCTION minga_roster_internal.text_counts(jsonb, integer) IS
'What was done: label, right-aligned number, who of them.';

CREATE FUNCTION minga_roster_internal.text_evenings(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(E'%s  %s  %s\n', rpad(e.evening ->> 'short', 6),
            rpad(repeat('#', ceil((e.evening ->> 'number')::bigint * 20.0 / greatest(m.most, 1))::integer), 20),
                e.evening ->> 'words'), '' ORDER BY e.place)
    FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
    CROSS JOIN (SELECT max((l.evening ->> 'number')::bigint) AS most, min(l.place)
        FILTER (WHERE l.evening ->> 'tone' <> 'none') AS first
                FROM jsonb_array_elements(evenings) WITH ORDINALITY l (evening, place)) m
    WHERE e.place >= m.first
$$;
COMMENT ON FUNCTION minga_roster_internal.text_evenings(jsonb) IS
'The last evenings, one line each, starting with the first evening on record.';

CREATE FUNCTION minga_roster_internal.text_statements(statements jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.text_item((s.pair ->> 0) || ':', '', width) || '    ' || (s.pair ->> 1)
        || E'\n',
        E'\n' ORDER BY s.place)
    FROM jsonb_array_elements(statements) WITH ORDINALITY s (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_statements(jsonb, integer) IS
'Statements, each on one line below its purpose, ready to copy.';

CREATE FUNCTION minga_roster_internal.report_text(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT integer := 78;
    report text := '';
    piece record;
BEGIN
    FOR piece IN
        SELECT p.part, p.content, p.content #>> '{}' AS line, lag(p.part) OVER (ORDER BY p.nth) AS before
        FROM minga_roster_internal.report_parts(run) p ORDER BY p.nth
    LOOP
        -- A heading goes directly above its content.
        report := report || CASE WHEN piece.before <> 'heading' THEN E'\n' ELSE '' END || CASE piece.part
            WHEN 'lead' THEN minga_roster_internal.text_item(piece.content ->> 'words', '', width)
            -- A long name continues on the next line, but never at its beginning.
            WHEN 'context' THEN array_to_string(minga_roster_internal.wrapped(piece.line, width - 2), E'\n  ') || E'\n'
            WHEN 'heading' THEN minga_roster_internal.text_heading(piece.line)
            WHEN 'decision' THEN minga_roster_internal.text_decision(piece.content, width)
            WHEN 'counts' THEN minga_roster_internal.text_counts(piece.content, width)
            WHEN 'evenings' THEN minga_roster_internal.text_evenings(piece.content)
            WHEN 'items' THEN minga_roster_internal.text_items(piece.content, '- ', width)
            WHEN 'details' THEN minga_roster_internal.text_pairs(piece.content, width)
            WHEN 'statements' THEN minga_roster_internal.text_statements(piece.content, width) END;
    END LOOP;
    RETURN minga_roster_internal.readable_lines(report);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_text(bigint) IS
'The report of a run as text, without the mail footer.';

CREATE FUNCTION minga_roster_internal.do_report(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.report_text(run)
$$;
COMMENT ON FUNCTION minga_roster_internal.do_report(bigint) IS 'Implements roster_report.';

CREATE FUNCTION roster_report(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(bigint) IS
'The report of a run, as it is mailed, in lines of 78 characters (statements for the database administrator are not '
'wrapped). The first sentence says what was done and whether someone has to act. It names no one; minga_roster.changes '
'says who. 42704 for an unknown run.';

CREATE FUNCTION minga_roster_internal.latest_reported_run(connection text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    latest bigint;
BEGIN
    SELECT r.run INTO latest
    FROM minga_roster.runs r
    WHERE r.connection = known.connection AND r.site = known.site AND r.finished_at IS NOT NULL
        AND (r.trigger = 'evening' OR r.kind IN ('sync', 'approve', 'apply', 'undo'))
    ORDER BY r.run DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no report yet', known.connection),
            DETAIL = 'It has no finished sync.',
            HINT = format('Run a sync: SELECT * FROM minga_roster.roster_sync(%L).', known.connection);
    END IF;
    RETURN latest;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.latest_reported_run(text) IS
'The newest finished run of a connection that has a report; 55000 if there is none, 42704 for an unknown connection.';

CREATE FUNCTION minga_roster_internal.do_report(connection text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.do_report(minga_roster_internal.latest_reported_run(connection));
COMMENT ON FUNCTION minga_roster_internal.do_report(text) IS 'Implements roster_report.';

CREATE FUNCTION roster_report(connection text) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(text) IS
'The latest report of a connection: of its newest finished evening, sync, approval, apply or undo. 42704 for an '
'unknown connection, 55000 if there is no report yet.';
-- A report as an HTML page for mail programs: tables and inline styles, no images, no scripts. It is readable from 330
-- pixels, and has colors for dark mode. Every value is escaped before it goes into a template.

CREATE FUNCTION minga_roster_internal.page_style() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '
:root { color-scheme: light dark; supported-color-schemes: light dark; }
@media (prefers-color-scheme: dark) {
  .page { background-color: #14171a !important; }
  .sheet { background-color: #1e2327 !important; color: #e8eaed !important; border-color: #343b42 !important; }
  .quiet { color: #a9b3be !important; }
  .line { border-color: #343b42 !important; }
  .card { border-color: #343b42 !important; border-top-color: #f0a830 !important; }
  .code { background-color: #14171a !important; color: #e8eaed !important; }
  .good { background-color: #12301f !important; color: #d9f5e4 !important; border-color: #3fbf78 !important; }
  .action { background-color: #3a2a0c !important; color: #ffe9c4 !important; border-color: #f0a830 !important; }
  .bad { background-color: #3d1715 !important; color: #ffdcd8 !important; border-color: #ff7a6e !important; }
  .plain { background-color: #14273f !important; color: #dbe9fb !important; border-color: #6aa7ee !important; }
  .bar-good { background-color: #3fbf78 !important; }
  .bar-held { background-color: #f0a830 !important; }
  .bar-bad { background-color: #ff7a6e !important; }
  .bar-none { background-color: #343b42 !important; }
}
'
$$;
COMMENT ON FUNCTION minga_roster_internal.page_style() IS
'The style sheet of a report, with the colors for dark mode. The light colors are inline, because some mail programs '
'ignore style sheets.';

CREATE FUNCTION minga_roster_internal.html_page(title text, body text, footer text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled($template$<!DOCTYPE html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="page" style="margin:0;padding:0;background-color:#f2f4f6;-webkit-text-size-adjust:100%;">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" style="background-color:#f2f4f6;">
<tr><td align="center" style="padding:12px 8px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:640px;table-layout:fixed;">
<tr><td class="sheet" style="padding:20px 18px;background-color:#ffffff;color:#1c232b;border:1px solid #dfe3e7;
border-radius:8px;text-align:left;{font}">
{body}
</td></tr>
<tr><td class="quiet" style="padding:14px 18px 6px;color:#56606c;font-size:13px;line-height:1.45;
text-align:left;{family}">
{footer}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
$template$, jsonb_build_object(
        'title', minga_roster_internal.html_escaped(title),
        'style', minga_roster_internal.page_style(),
        'family', f.family,
        'font', 'font-size:15px;line-height:1.5;' || f.family,
        'body', body,
        'footer', footer))
    FROM (SELECT 'overflow-wrap:anywhere;word-break:break-word;'
        'font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;' AS family) f
$$;
COMMENT ON FUNCTION minga_roster_internal.html_page(text, text, text) IS 'The whole page. body and footer are HTML.';

CREATE FUNCTION minga_roster_internal.html_text(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<p style="margin:0 0 10px;" dir="auto">{text}</p>',
        jsonb_build_object('text', minga_roster_internal.html_escaped(content)))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_text(text) IS 'A paragraph.';

CREATE FUNCTION minga_roster_internal.html_heading(title text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<h2 style="margin:26px 0 8px;font-size:17px;line-height:1.3;">{title}</h2>',
        jsonb_build_object('title', minga_roster_internal.html_escaped(title)))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_heading(text) IS 'A heading.';

CREATE FUNCTION minga_roster_internal.html_lead(content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled('<h1 class="{tone}" style="margin:0 0 10px;padding:14px '
        '16px;font-size:{size}px;line-height:1.35;{colors}">{words}</h1>',
        jsonb_build_object(
            'tone', content ->> 'tone',
            'words', minga_roster_internal.html_escaped(content ->> 'words'),
            'size', CASE WHEN length(content ->> 'words') > 110 THEN 16 ELSE 19 END,
            'colors', CASE content ->> 'tone'
                WHEN 'good' THEN 'background-color:#e6f5ec;color:#103a22;border-left:6px solid #1f8a4c;'
                WHEN 'action' THEN 'background-color:#fff3dc;color:#4a2e00;border-left:6px solid #c77700;'
                WHEN 'bad' THEN 'background-color:#fdebe9;color:#5a1610;border-left:6px solid #c0362c;'
                ELSE 'background-color:#e9f1fb;color:#12304f;border-left:6px solid #2f6fbf;' END))
$$;
COMMENT ON FUNCTION minga_roster_internal.html_lead(jsonb) IS 'The first sentence, in a box colored by its tone.';

CREATE FUNCTION minga_roster_internal.html_items(items jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce('<ul style="margin:0 0 10px;padding:0 0 0 20px;">'
        || string_agg(minga_roster_internal.filled('<li style="margin:0 0 4px;" dir="auto">{item}</li>',
            jsonb_build_object('item', minga_roster_internal.html_escaped(i.item))), '' ORDER BY i.place)
        || '</ul>', '')
    FROM jsonb_array_elements_text(items) WITH ORDINALITY i (item, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_items(jsonb) IS 'A list.';

CREATE FUNCTION minga_roster_internal.html_decision(content jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(
$template$<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
style="margin:18px 0 0;table-layout:fixed;">
<tr><td class="card" style="padding:12px 14px 4px;border:1px solid #d5dae0;border-top:4px solid #c77700;
border-radius:6px;">
<h2 style="margin:0 0 8px;font-size:17px;line-height:1.3;">{title}</h2>
{lines}
</td></tr>
</table>$template$, jsonb_build_object(
        'title', minga_roster_internal.html_escaped(content ->> 'title'),
        'lines', string_agg(minga_roster_internal.filled(
            '<p style="margin:0 0 8px;"><strong>{label}</strong><br>{words}</p>',
            jsonb_build_object(
                'label', minga_roster_internal.html_escaped(l.line ->> 0), 'words',
                    minga_roster_internal.html_escaped(l.line ->> 1)))
            -- The reasons follow what happened.
            || CASE l.place WHEN 1 THEN minga_roster_internal.html_items(content -> 'items') ELSE '' END, E'\n'
                ORDER BY l.place)))
    FROM jsonb_array_elements(content -> 'lines') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_decision(jsonb) IS 'The result of decision() as a card.';

CREATE FUNCTION minga_roster_internal.html_counts(counts jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<table width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse;">'
        || string_agg(minga_roster_internal.filled($template$<tr>
<td class="line" style="padding:6px 10px 6px 0;border-bottom:1px solid #e3e6ea;vertical-align:top;">{label}{who}</td>
<td class="line" align="right" style="padding:6px 0;border-bottom:1px solid #e3e6ea;vertical-align:top;
white-space:nowrap;font-weight:bold;">{number}</td>
</tr>$template$, jsonb_build_object(
            'label', minga_roster_internal.html_escaped(c.line ->> 0),
            'number', minga_roster_internal.html_escaped(c.line ->> 1),
            'who', CASE WHEN c.line ->> 2 <> ''
                THEN minga_roster_internal.filled(
                '<br><span class="quiet" style="color:#56606c;font-size:13px;">{who}</span>',
                jsonb_build_object('who', minga_roster_internal.html_escaped(c.line ->> 2))) END)), '' ORDER BY c.place)
        || '</table>'
    FROM jsonb_array_elements(counts) WITH ORDINALITY c (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_counts(jsonb) IS
'What was done: label with who of them, and the number on the right.';

CREATE FUNCTION minga_roster_internal.html_evenings(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH bars AS (
        SELECT e.place, e.evening ->> 'date' AS date, e.evening ->> 'day' AS day, e.evening ->> 'words' AS words,
            e.evening ->> 'tone' AS tone,
            (e.evening ->> 'number')::bigint AS number,
            CASE WHEN (e.evening ->> 'number')::bigint > 0 THEN greatest(5,
                round((e.evening ->> 'number')::bigint * 56.0 / m.most)::integer)
                WHEN e.evening ->> 'tone' = 'none' THEN 2 ELSE 4 END AS height
        FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
        CROSS JOIN (SELECT max((l ->> 'number')::bigint) AS most FROM jsonb_array_elements(evenings) l) m
    )
    SELECT minga_roster_internal.filled($template$<table width="100%" cellpadding="0" cellspacing="0"
style="table-layout:fixed;border-collapse:collapse;">
<tr>
{bars}
</tr>
<tr>
{days}
</tr>
</table>
<p class="quiet" style="margin:8px 0 0;color:#56606c;font-size:13px;">{legend}</p>$template$, jsonb_build_object(
        'bars', string_agg(minga_roster_internal.filled($template$<td title="{alt}" aria-label="{alt}"
style="height:60px;padding:0 2px;vertical-align:bottom;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td class="bar-{tone}" height="{height}"
style="height:{height}px;font-size:0;line-height:0;background-color:{color};">&nbsp;</td></tr></table></td>$template$,
            jsonb_build_object('alt', minga_roster_internal.html_escaped(format('%s: %s', b.date, b.words)), 'tone',
                b.tone,
                'height', b.height,
                'color', CASE b.tone WHEN 'good' THEN '#1f8a4c' WHEN 'held' THEN '#c77700' WHEN 'bad' THEN '#c0362c'
                    ELSE '#cfd5db' END)), E'\n' ORDER BY b.place),
        'days', string_agg(minga_roster_internal.filled('<td class="quiet" align="center" style="padding:4px 0 '
            '0;color:#56606c;font-size:11px;line-height:1;">{day}</td>',
            jsonb_build_object('day', b.day)), '' ORDER BY b.place),
        'legend', minga_roster_internal.html_escaped(minga_roster_internal.evenings_in_words(evenings))))
    FROM bars b
$$;
COMMENT ON FUNCTION minga_roster_internal.html_evenings(jsonb) IS
'The last evenings as bars made of table cells, each with its text, followed by a sentence that says the same.';

CREATE FUNCTION minga_roster_internal.evenings_in_words(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT e.place, e.evening ->> 'short' AS date, e.evening ->> 'tone' AS tone, e.evening ->> 'words' AS words,
            (e.evening ->> 'number')::bigint AS number
        FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
    )
    SELECT concat_ws(' ',
        format('%s to %s.', (SELECT date FROM known ORDER BY place LIMIT 1),
            (SELECT date FROM known ORDER BY place DESC LIMIT 1)),
        (SELECT format('Most on %s: %s.', date, words) FROM known WHERE number > 0 ORDER BY number DESC,
            place DESC LIMIT 1),
        (SELECT format('On hold: %s.', minga_roster_internal.in_list(array_agg(date ORDER BY place))) FROM known
            WHERE tone = 'held' HAVING count(*) > 0),
        (SELECT format('No sync, or a failed one: %s.', minga_roster_internal.in_list(array_agg(date ORDER BY place)))
            FROM known
            WHERE tone = 'bad' HAVING count(*) > 0))
$$;
COMMENT ON FUNCTION minga_roster_internal.evenings_in_words(jsonb) IS
'The chart of evenings as a sentence, for screen readers.';

CREATE FUNCTION minga_roster_internal.html_details(details jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" '
        'style="table-layout:fixed;border-collapse:collapse;margin:0 0 10px;font-size:13px;">'
        || string_agg(minga_roster_internal.filled($template$<tr>
<td class="quiet" width="88" style="width:88px;padding:3px 8px 3px 0;color:#56606c;vertical-align:top;">{label}</td>
<td style="padding:3px 0;vertical-align:top;" dir="auto">{value}</td>
</tr>$template$, jsonb_build_object('label', minga_roster_internal.html_escaped(d.pair ->> 0),
            'value', minga_roster_internal.html_escaped(d.pair ->> 1))), '' ORDER BY d.place)
        || '</table>'
    FROM jsonb_array_elements(details) WITH ORDINALITY d (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_details(jsonb) IS 'Labels and values.';

CREATE FUNCTION minga_roster_internal.html_statements(statements jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.filled($template$<p style="margin:10px 0 4px;font-size:13px;">{why}:</p>
<p class="code" style="margin:0 0 8px;padding:8px 10px;background-color:#eef1f4;color:#1c232b;
font-family:Consolas,Menlo,monospace;font-size:12px;line-height:1.45;">{statement}</p>$template$,
        jsonb_build_object('why', minga_roster_internal.html_escaped(s.pair ->> 0), 'statement',
            minga_roster_internal.html_escaped(s.pair ->> 1))), E'\n' ORDER BY s.place)
    FROM jsonb_array_elements(statements) WITH ORDINALITY s (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.html_statements(jsonb) IS 'Statements, each below its purpose.';

CREATE FUNCTION minga_roster_internal.report_body(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE p.part
        WHEN 'lead' THEN minga_roster_internal.html_lead(p.content)
        WHEN 'context' THEN minga_roster_internal.filled('<p class="quiet" '
            'style="margin:0;color:#56606c;font-size:13px;" dir="auto">{text}</p>',
            jsonb_build_object('text', minga_roster_internal.html_escaped(p.content #>> '{}')))
        WHEN 'decision' THEN minga_roster_internal.html_decision(p.content)
        WHEN 'heading' THEN minga_roster_internal.html_heading(p.content #>> '{}')
        WHEN 'counts' THEN minga_roster_internal.html_counts(p.content)
        WHEN 'evenings' THEN minga_roster_internal.html_evenings(p.content)
        WHEN 'items' THEN minga_roster_internal.html_items(p.content)
        WHEN 'details' THEN minga_roster_internal.html_details(p.content)
        WHEN 'statements' THEN minga_roster_internal.html_statements(p.content) END, E'\n' ORDER BY p.nth)
    FROM minga_roster_internal.report_parts(run) p
$$;
COMMENT ON FUNCTION minga_roster_internal.report_body(bigint) IS
'The report of a run as HTML, without the surrounding page.';

CREATE FUNCTION minga_roster_internal.do_report_html(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.readable_lines(minga_roster_internal.html_page(
        minga_roster_internal.report_subject(run),
        minga_roster_internal.report_body(run),
        minga_roster_internal.html_escaped('The report of a run of minga_roster.')))
$$;
COMMENT ON FUNCTION minga_roster_internal.do_report_html(bigint) IS 'Implements roster_report_html.';

CREATE FUNCTION roster_report_html(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report_html(bigint) IS
'The same report as one HTML page with inline styles, without images or scripts; every value is escaped. 42704 for an '
'unknown run.';
-- The mail of a run, and the outbox as outbox.c works it.

CREATE FUNCTION minga_roster_internal.mail_footer(facts minga_roster_internal.report_facts, recipient recipients)
    RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('You get this mail because %s is a recipient for %s: %s%s. To change or stop this, ask the database '
        'administrator, who uses roster_notify. SIS means the school''s student information system.',
        (recipient).email,
        facts.place,
        CASE (recipient).send WHEN 'always' THEN 'every evening sync' WHEN 'changes'
            THEN 'evening syncs that change something or need a decision'
            ELSE 'evening syncs that need a decision' END,
        CASE WHEN (recipient).manual THEN ', and runs started by hand' ELSE '' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_footer(minga_roster_internal.report_facts, recipients) IS
'Why a recipient gets mail, and how to change that.';

CREATE FUNCTION minga_roster_internal.post_report(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs;
    facts minga_roster_internal.report_facts;
    wants text[];
BEGIN
    SELECT * INTO reported FROM minga_roster.runs r WHERE r.run = post_report.run;
    IF NOT FOUND OR reported.state IN ('queued', 'running') OR reported.reported THEN
        RETURN;
    END IF;
    facts := minga_roster_internal.facts_of(reported.run);
    IF facts.retry_at IS NOT NULL THEN
        RETURN;
    END IF;
    IF reported.trigger = 'evening' OR reported.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        wants := ARRAY['always'] || CASE
            WHEN minga_roster_internal.is_problem(facts) OR facts.recovered THEN ARRAY['problems', 'changes']
            WHEN facts.done <> '[]' THEN ARRAY['changes'] ELSE '{}' END;
        INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at,
            created_at, origin, site)
        SELECT reported.run, reported.connection, p.email, m.subject,
            minga_roster_internal.readable_lines(m.report || E'\n-- \n'
                || array_to_string(minga_roster_internal.wrapped(p.footer, 78), E'\n') || E'\n'),
            minga_roster_internal.readable_lines(minga_roster_internal.html_page(m.subject, m.body,
                minga_roster_internal.html_escaped(p.footer))),
            minga_roster_internal.clock(), minga_roster_internal.clock(), m.origin, reported.site
        FROM (SELECT r.email, minga_roster_internal.mail_footer(facts, r) AS footer
              FROM minga_roster.recipients r
              JOIN minga_roster.connections c USING (connection)
              WHERE r.connection = reported.connection AND c.site = reported.site AND r.send = ANY (wants)
                  AND (reported.trigger = 'evening' OR r.manual)
                  AND coalesce(c.enabled_origin,
                      minga_roster_internal.server_origin()) = minga_roster_internal.server_origin()) p
        CROSS JOIN (SELECT minga_roster_internal.report_subject(reported.run) AS subject,
                        minga_roster_internal.report_text(reported.run) AS report,
                        minga_roster_internal.report_body(reported.run) AS body,
                            minga_roster_internal.server_origin() AS origin
                    OFFSET 0) m
        ON CONFLICT ON CONSTRAINT outbox_run_email_key DO NOTHING;
    END IF;
    UPDATE minga_roster.runs r SET reported = true WHERE r.run = reported.run;
EXCEPTION
    WHEN OTHERS THEN
        -- A report that cannot be written must not keep a run from being closed. The message is not shown, because it
        -- could hold personal values.
        RAISE WARNING USING MESSAGE = format('could not write the report of run %s', run),
            DETAIL = format('SQLSTATE %s.', SQLSTATE);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.post_report(bigint) IS
'Writes the mail of a finished run for its recipients. After an evening run: always, on problems and on the first '
'success after a failure, or on changes. After a manual sync, approval, apply or undo: for recipients who asked for '
'that. No mail is written for a failure that will be tried again, nor on a restored copy. Never raises an error; a '
'second call does nothing.';

CREATE FUNCTION minga_roster_internal.claim_mail() RETURNS SETOF outbox
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET attempts = o.attempts + 1,
        next_attempt_at = minga_roster_internal.clock() + make_interval(mins => (ARRAY[1, 5, 15,
            60])[least(o.attempts + 1, 4)])
    WHERE o.mail = (SELECT w.mail FROM minga_roster.outbox w
                    WHERE w.state = 'waiting' AND w.next_attempt_at <= minga_roster_internal.clock()
                        AND w.origin = minga_roster_internal.server_origin()
                    ORDER BY w.next_attempt_at, w.mail LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_mail() IS
'Takes the mail that has been due longest and sets its next attempt in 1, 5, 15 and then 60 minutes, in case this one '
'does not finish. Mail written on another server is left alone.';

CREATE FUNCTION minga_roster_internal.mark_mail(mail bigint, is_sent boolean, is_refused boolean, error text)
    RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET state = CASE WHEN is_sent THEN 'sent'
                     WHEN is_refused OR o.created_at < minga_roster_internal.clock() - interval '5 days' THEN 'failed'
                     ELSE 'waiting' END,
        sent_at = CASE WHEN is_sent THEN minga_roster_internal.clock() END,
        last_error = mark_mail.error
    WHERE o.mail = mark_mail.mail
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_mail(bigint, boolean, boolean, text) IS
'Records the result of an attempt: sent; failed, if the mail server rejected the mail for good or it is five days old; '
'otherwise waiting for the next attempt.';

CREATE FUNCTION minga_roster_internal.mail_settings_missing() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg('minga_roster.' || s.name, ' and ')
    FROM (VALUES ('smtp_url'), ('smtp_from')) AS s (name) WHERE coalesce(minga_roster_internal.setting(s.name), '') = ''
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_settings_missing() IS
'The settings needed to send mail that are not set; NULL if all are set.';

CREATE FUNCTION minga_roster_internal.write_test_mail(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(write_test_mail.run);
    missing text := minga_roster_internal.mail_settings_missing();
    subject text := minga_roster_internal.readable(format('%s: test mail', this.connection));
    body text;
BEGIN
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'mail cannot be sent yet',
            DETAIL = format('Not set: %s.', missing),
            HINT = 'Set them with ALTER SYSTEM, then run SELECT pg_reload_conf(). docs/operations.md has an example.';
    END IF;
    body := format('This is a test mail. Roster reports for "%s" will reach this address.', this.connection);
    INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at,
        created_at, origin, site)
    SELECT this.run, this.connection, r.email, subject, body || E'\n',
        minga_roster_internal.readable_lines(minga_roster_internal.html_page(subject,
            minga_roster_internal.html_text(body), '')),
        -- Ahead of other mail: the caller waits for the result.
        '-infinity', minga_roster_internal.clock(), minga_roster_internal.server_origin(), this.site
    FROM minga_roster.recipients r
    WHERE r.connection = this.connection AND r.send <> 'never';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no recipient', this.connection),
            DETAIL = 'Its reports are not mailed to anyone.',
            HINT = format('Add one: SELECT minga_roster.roster_notify(%L, ''it@school.example'').', this.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_test_mail(bigint) IS
'Writes a test mail to each recipient of the run''s connection, except those with send "never". 55000 if no mail '
'server is set or there is no recipient.';

CREATE FUNCTION minga_roster_internal.end_test_mail(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- A test ends after one attempt. A fault of the mail server is the same for every recipient, so it is met only
    -- once.
    UPDATE minga_roster.outbox o
    SET state = 'failed', last_error = coalesce(o.last_error, t.last_error)
    FROM (SELECT max(w.last_error) AS last_error FROM minga_roster.outbox w WHERE w.run = end_test_mail.run) t
    WHERE o.run = end_test_mail.run AND o.state = 'waiting'
$$;
COMMENT ON FUNCTION minga_roster_internal.end_test_mail(bigint) IS
'Gives up the test mail of a run that was not sent, with the error.';

CREATE FUNCTION roster_send_test_mail(connection text, OUT email text, OUT ok boolean,
    OUT error text) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_send_test_mail';
COMMENT ON FUNCTION roster_send_test_mail(text) IS
'Sends a test mail to each recipient of the connection, except those with send "never", and returns the results; error '
'has the mail server''s own words. A background worker sends it. 42704 for an unknown connection, 55000 if '
'minga_roster.smtp_url or smtp_from is not set or there is no recipient, 25001 inside a transaction block.';
-- Evenings: when a connection is due, which evenings were missed, turning Automatic Rostering on and off, and
-- retention. Must survive nights of 23 and 25 hours, a server that slept, restored copies, and a missing pg_cron.

CREATE FUNCTION minga_roster_internal.first_instant(local_time timestamp, time_zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instant timestamptz := local_time AT TIME ZONE time_zone;
    lookback CONSTANT interval := '3 hours';
BEGIN
    IF instant AT TIME ZONE time_zone = local_time
        AND (instant - lookback) AT TIME ZONE time_zone = local_time - lookback THEN
        RETURN instant;
    END IF;
    -- The clocks change near this time: it does not exist, or it exists twice.
    RETURN (SELECT min(minute) FROM generate_series(instant - lookback, instant, '1 minute') AS minute
            WHERE minute AT TIME ZONE time_zone >= local_time);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.first_instant(timestamp, text) IS
'When clocks in the time zone first show this local time, or the next later one if they skip it.';

CREATE FUNCTION minga_roster_internal.evening_window(evening date, sync_at time, window_end time, time_zone text,
    OUT opens timestamptz, OUT closes timestamptz)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    local_opens timestamp := evening + sync_at;
    local_closes timestamp := evening + (window_end <= sync_at)::integer + window_end;
BEGIN
    opens := minga_roster_internal.first_instant(local_opens, time_zone);
    closes := minga_roster_internal.first_instant(local_closes, time_zone);
    IF closes <= opens THEN
        -- The clocks skipped the whole window: it keeps its length.
        closes := opens + (local_closes - local_opens);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.evening_window(date, time, time, text) IS
'An evening is named by the local date on which it begins. It lasts from sync_at to window_end, past midnight if '
'window_end is earlier.';

CREATE FUNCTION minga_roster_internal.latest_evening(sync_at time, window_end time, time_zone text, at timestamptz,
    OUT evening date, OUT opens timestamptz, OUT closes timestamptz, OUT next_opens timestamptz)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    evening := (at AT TIME ZONE time_zone)::date;
    SELECT w.opens, w.closes INTO opens, closes FROM minga_roster_internal.evening_window(evening, sync_at, window_end,
        time_zone) w;
    IF opens <= at THEN
        SELECT w.opens INTO next_opens FROM minga_roster_internal.evening_window(evening + 1, sync_at, window_end,
            time_zone) w;
    ELSE
        next_opens := opens;
        evening := evening - 1;
        SELECT w.opens, w.closes INTO opens, closes FROM minga_roster_internal.evening_window(evening, sync_at,
            window_end, time_zone) w;
    END IF;
EXCEPTION
    -- One connection with an unknown time zone must not stop the others.
    WHEN invalid_parameter_value THEN
        evening := NULL;
        opens := NULL;
        closes := NULL;
        next_opens := NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.latest_evening(time, time, text, timestamptz) IS
'The latest evening that had begun at that time, open or over, and when the next one begins; NULLs for a time zone '
'that the server does not know.';

CREATE FUNCTION minga_roster_internal.evenings(OUT connection text, OUT evening date, OUT opens timestamptz,
    OUT closes timestamptz, OUT next_opens timestamptz, OUT runs_here boolean, OUT is_taken boolean, OUT tries integer,
    OUT last_try bigint, OUT retry_at timestamptz, OUT is_due boolean)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.connection, e.evening, e.opens, e.closes, e.next_opens, a.runs_here, t.is_taken, f.tries, f.last_try,
        r.retry_at,
        coalesce(a.runs_here AND NOT t.is_taken AND n.now >= e.opens AND n.now < e.closes
            AND (f.tries = 0 OR r.retry_at <= n.now), false)
    FROM minga_roster.connections c
    CROSS JOIN (SELECT minga_roster_internal.clock() AS now, minga_roster_internal.server_origin() AS origin) n
    CROSS JOIN LATERAL minga_roster_internal.latest_evening(c.sync_at, c.window_end, c.time_zone, n.now) e
    CROSS JOIN LATERAL (
        SELECT c.automatic AND c.paused_cause IS NULL
            AND c.enabled_origin IS NOT DISTINCT FROM n.origin AS runs_here
    ) a
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM minga_roster.runs t
            WHERE t.connection = c.connection AND t.site = c.site AND t.evening = e.evening
                AND t.state <> 'failed') AS is_taken
    ) t
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS tries, max(t.run) AS last_try, max(t.finished_at) AS finished_at,
            coalesce(bool_or(t.state_cause = 'evening_missed' OR left(t.sqlstate, 2) IN ('22', '28', '42')), false)
                AS is_final
        FROM minga_roster.runs t
        WHERE t.connection = c.connection AND t.site = c.site AND t.evening = e.evening AND t.state = 'failed'
    ) f
    CROSS JOIN LATERAL (
        SELECT CASE WHEN a.runs_here AND NOT t.is_taken AND f.tries BETWEEN 1 AND 2 AND NOT f.is_final
                AND f.finished_at + interval '30 minutes' < e.closes AND n.now < e.closes
            THEN f.finished_at + interval '30 minutes' END AS retry_at
    ) r
    WHERE c.retired_at IS NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.evenings() IS
'The latest evening of each connection: its failed tries, when the next try is (30 minutes after a failure, at most '
'three tries, within the window, and not after SQLSTATE classes 22, 28 and 42), and whether a run is due now. '
'runs_here: Automatic Rostering is on, and was turned on in this database.';

CREATE FUNCTION minga_roster_internal.fetch_limits(run bigint, OUT requests integer, OUT seconds_left bigint,
    OUT evening text)
RETURNS record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN n.now >= e.opens AND n.now < e.closes THEN coalesce(c.max_requests, s.max_requests) ELSE 1 END,
        greatest(extract(epoch FROM w.closes - n.now), 0)::bigint,
        CASE WHEN w.opens IS NOT NULL THEN format('%s to %s (%s)',
            minga_roster_internal.local_minute(w.opens, c.time_zone),
            minga_roster_internal.local_minute(w.closes, c.time_zone), c.time_zone) END
    FROM minga_roster.runs r
    JOIN minga_roster.connections c USING (connection)
    JOIN minga_roster.sis s USING (sis)
    JOIN minga_roster_internal.evenings() e USING (connection)
    CROSS JOIN (SELECT minga_roster_internal.clock() AS now) n
    LEFT JOIN LATERAL minga_roster_internal.evening_window(r.evening, c.sync_at, c.window_end, c.time_zone) w
        ON r.evening IS NOT NULL
    WHERE r.run = fetch_limits.run
$$;
COMMENT ON FUNCTION minga_roster_internal.fetch_limits(bigint) IS
'The limits for the fetch of a run at this hour. requests: how many at a time (max_requests from sync_at to '
'window_end; otherwise one, because people work in the SIS). For an evening run also the seconds left and the evening.';

CREATE FUNCTION minga_roster_internal.pause_restored_connections() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE minga_roster.connections c SET paused_cause = 'restored', paused_reason = 'restored'
    WHERE c.connection IN (
        SELECT k.connection FROM minga_roster.connections k
        WHERE k.automatic AND k.retired_at IS NULL AND k.paused_cause IS NULL
            AND k.enabled_origin IS DISTINCT FROM minga_roster_internal.server_origin()
        FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION minga_roster_internal.pause_restored_connections() IS
'Pauses connections that were turned on in another database, of which this one is a restored copy.';

CREATE FUNCTION minga_roster_internal.cancel_stale_runs() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    WITH stale AS (
        SELECT r.run, w.opens, w.closes, c.time_zone, e.runs_here
        FROM minga_roster.runs r
        JOIN minga_roster.connections c USING (connection)
        JOIN minga_roster_internal.evenings() e USING (connection)
        CROSS JOIN LATERAL minga_roster_internal.evening_window(r.evening, c.sync_at, c.window_end, c.time_zone) w
        WHERE r.state = 'queued' AND r.trigger = 'evening' AND e.evening IS NOT NULL
            AND (w.closes <= minga_roster_internal.clock() OR NOT e.runs_here)
        FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE minga_roster.runs r
    SET state = 'canceled', finished_at = minga_roster_internal.clock(), sqlstate = '57014',
        state_cause = CASE WHEN s.runs_here THEN 'evening_missed' END,
        error = CASE WHEN s.runs_here THEN 'evening missed' ELSE 'Automatic Rostering is off or paused' END,
        detail = CASE WHEN s.runs_here THEN
            format('The run was queued until its evening ended (%s to %s, %s).',
                minga_roster_internal.local_minute(s.opens, s.time_zone),
                minga_roster_internal.local_minute(s.closes, s.time_zone), s.time_zone) END,
        hint = CASE WHEN s.runs_here THEN
            'If workers were busy, raise minga_roster.max_workers or spread sync_at over the connections.' END
    FROM stale s
    WHERE r.run = s.run
$$;
COMMENT ON FUNCTION minga_roster_internal.cancel_stale_runs() IS
'Cancels evening runs that must not run in the daytime: they waited for a worker until their window closed, or were '
'queued before their connection came here in a copy.';

CREATE FUNCTION minga_roster_internal.record_missed_evenings() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    lookback CONSTANT integer := 14;
BEGIN
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, state_cause, requested_by,
        queued_at, finished_at, sqlstate, error, detail, hint, district)
    SELECT c.connection, c.site, 'sync', 'evening', m.evening, 'failed', 'evening_missed', current_user,
        now, now, '55000', 'evening missed',
        format('No sync of "%s" began between %s and %s (%s).', c.connection,
            minga_roster_internal.local_minute(w.opens, c.time_zone),
            minga_roster_internal.local_minute(w.closes, c.time_zone), c.time_zone),
        format('PostgreSQL or pg_cron was not running; see its log. To sync now: SELECT minga_roster.roster_sync(%L).',
            c.connection), c.district
    FROM minga_roster_internal.evenings() e
    JOIN minga_roster.connections c USING (connection)
    CROSS JOIN LATERAL (SELECT e.evening - (now < e.closes)::integer AS evening) past
    LEFT JOIN LATERAL (
        SELECT r.evening, r.site FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.trigger = 'evening'
        ORDER BY r.run DESC LIMIT 1
    ) known ON known.site = c.site
    CROSS JOIN LATERAL generate_series(greatest(known.evening + 1, past.evening - lookback + 1)::timestamp,
        past.evening::timestamp, '1 day') AS day
    CROSS JOIN LATERAL (SELECT day::date AS evening) m
    CROSS JOIN LATERAL minga_roster_internal.evening_window(m.evening, c.sync_at, c.window_end, c.time_zone) w
    WHERE e.runs_here AND c.enabled_at <= w.opens AND w.closes <= now
    ORDER BY m.evening, c.number;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.record_missed_evenings() IS
'Records the evenings that passed since the last one on record, and since Automatic Rostering was turned on; at most '
'the last 14.';

CREATE FUNCTION minga_roster_internal.queue_open_evenings() RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued integer;
BEGIN
    -- A connection whose settings are being changed waits for the next minute.
    WITH due AS (
        SELECT c.connection, c.site, c.district, e.evening, e.opens, c.number
        FROM minga_roster_internal.evenings() e
        JOIN minga_roster.connections c USING (connection)
        WHERE e.is_due AND c.automatic AND c.retired_at IS NULL
        FOR UPDATE OF c SKIP LOCKED
    )
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at,
        district)
    SELECT d.connection, d.site, 'sync', 'evening', d.evening, 'queued', current_user, minga_roster_internal.clock(),
        d.district
    FROM due d
    ORDER BY d.opens, d.number
    ON CONFLICT (connection, evening, site) WHERE state <> 'failed' DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.queue_open_evenings() IS
'Queues a sync for each connection whose evening is open and has no run yet or is due for another try; returns the '
'number of queued runs.';

CREATE FUNCTION minga_roster_internal.post_evening_reports() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recent CONSTANT timestamptz := minga_roster_internal.clock() - interval '3 days';
    unreported bigint;
BEGIN
    UPDATE minga_roster.runs r SET reported = true
    WHERE r.trigger = 'evening' AND r.state IN ('failed', 'canceled') AND NOT r.reported AND r.queued_at > recent
        AND EXISTS (
            SELECT FROM minga_roster.runs later
            WHERE later.connection = r.connection AND later.trigger = 'evening' AND later.run > r.run
                AND (later.evening = r.evening
                    OR (r.state_cause = 'evening_missed' AND later.state_cause = 'evening_missed')));
    FOR unreported IN
        SELECT r.run FROM minga_roster.runs r
        WHERE r.trigger = 'evening' AND r.state IN ('failed', 'canceled') AND NOT r.reported AND r.queued_at > recent
        ORDER BY r.run
    LOOP
        PERFORM minga_roster_internal.post_report(unreported);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.post_evening_reports() IS
'Writes the mail about failed and canceled evenings. An evening is reported once, after its last try; of several '
'missed evenings, only the newest is reported.';

CREATE FUNCTION minga_roster_internal.queue_due_runs() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued integer;
BEGIN
    -- Nothing here waits for a caller's transaction: an open one would stop the evenings of all connections.
    IF minga_roster_internal.try_lock_evenings() THEN
        PERFORM minga_roster_internal.cron('renew');
    END IF;
    PERFORM minga_roster_internal.pause_restored_connections();
    PERFORM minga_roster_internal.cancel_stale_runs();
    PERFORM minga_roster_internal.record_missed_evenings();
    queued := minga_roster_internal.queue_open_evenings();
    PERFORM minga_roster_internal.post_evening_reports();
    RETURN queued;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.queue_due_runs() IS
'Queues the syncs that are due, and settles the evenings that were missed; returns the number of queued runs.';

CREATE FUNCTION minga_roster_internal.try_lock_evenings() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.try_run_lock('evenings', 1)
$$;
COMMENT ON FUNCTION minga_roster_internal.try_lock_evenings() IS
'Takes the lock of lock_evenings if it is free, and says whether it did.';

CREATE FUNCTION minga_roster_internal.lock_evenings() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.wait_for_run_lock('evenings', 1)
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_evenings() IS
'Taken until the end of the transaction by functions that turn evenings on or off or change the pg_cron job.';

CREATE FUNCTION minga_roster_internal.cron_command() RETURNS text
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_cron_command';
COMMENT ON FUNCTION minga_roster_internal.cron_command() IS
'The command of the pg_cron job. It is a single statement, because pg_cron''s background workers accept only one. It '
'qualifies every name, and removes the job when the extension is gone.';

CREATE FUNCTION minga_roster_internal.cron(deed text, OUT installed boolean, OUT job bigint, OUT active boolean,
    OUT command text, OUT other_job bigint, OUT last_failure text) RETURNS record
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_cron';
COMMENT ON FUNCTION minga_roster_internal.cron(text) IS
'Does one thing with the extension''s pg_cron job as the owner of the extension, and returns what there is then: '
'look, schedule, unschedule, activate, renew (its command, if an earlier version wrote it) and trim (the details of '
'its runs older than a day, 10,000 at most). The job is recognized by its owner (the extension''s owner) and its '
'command. Its name is not enough, because any role can create a job of that name: other_job is one of the owner''s. '
'All NULL without pg_cron, except installed. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.server_setting(name text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_server_setting';
COMMENT ON FUNCTION minga_roster_internal.server_setting(text) IS
'A setting that pg_cron needs, or that says where to set it, which only superusers see in pg_settings; NULL if the '
'server does not know it, 22023 for any other setting.';

CREATE FUNCTION minga_roster_internal.cron_facts(OUT preloaded boolean, OUT database_name text,
    OUT background_workers boolean, OUT installed boolean,
    OUT job bigint, OUT job_active boolean, OUT last_failure text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    database_name := minga_roster_internal.server_setting('cron.database_name');
    preloaded := database_name IS NOT NULL;
    background_workers := minga_roster_internal.server_setting('cron.use_background_workers') = 'on';
    SELECT c.installed, c.job, c.active, c.last_failure INTO installed, job, job_active, last_failure
    FROM minga_roster_internal.cron('look') c;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.cron_facts() IS
'The state of pg_cron as seen from this database: whether it is preloaded, for which database, with background '
'workers, and installed here; the extension''s job; and the message of its latest run if that failed.';

CREATE FUNCTION minga_roster_internal.arrange_cron_job() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    there record;
    owner name := (SELECT pg_get_userbyid(e.extowner) FROM pg_extension e WHERE e.extname = 'minga_roster');
BEGIN
    PERFORM minga_roster_internal.lock_evenings();
    there := minga_roster_internal.cron('renew');
    IF NOT EXISTS (SELECT FROM minga_roster.connections WHERE automatic AND retired_at IS NULL) THEN
        PERFORM minga_roster_internal.cron('unschedule') WHERE there.job IS NOT NULL;
    ELSIF NOT there.installed THEN
        RETURN;
    ELSIF there.job IS NOT NULL THEN
        PERFORM minga_roster_internal.cron('activate') WHERE NOT there.active;
    ELSIF there.other_job IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = 'there is another pg_cron job named "minga_roster"',
            DETAIL = format('Job %s of "%s" has another command or database, so it was not changed.',
                there.other_job, owner),
            HINT = format('Remove it with SELECT cron.unschedule(%s), and schedule it again under another name.',
                there.other_job);
    ELSE
        PERFORM minga_roster_internal.cron('schedule');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.arrange_cron_job() IS
'Creates the extension''s one pg_cron job, named minga_roster, while any connection has Automatic Rostering on, and '
'removes it when none has. 42710 if the extension''s owner has another job of that name.';

CREATE FUNCTION minga_roster_internal.require_cron(connection text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts record;
    problems text[] := '{}';
    settings text[] := '{}';
    steps text[] := '{}';
BEGIN
    SELECT * INTO facts FROM minga_roster_internal.cron_facts();
    IF NOT facts.preloaded THEN
        problems := problems || 'pg_cron is not preloaded.'::text;
        settings := settings || format('shared_preload_libraries = %L', (
            SELECT concat_ws(', ', nullif(minga_roster_internal.server_setting('shared_preload_libraries'), ''),
                'pg_cron')));
    END IF;
    IF facts.database_name IS DISTINCT FROM current_database() THEN
        IF facts.preloaded THEN
            problems := problems
                || format('pg_cron runs jobs in database "%s" (cron.database_name).', facts.database_name);
        END IF;
        settings := settings || format('cron.database_name = %L', current_database());
    END IF;
    IF facts.background_workers IS NOT TRUE THEN
        IF facts.preloaded THEN
            problems := problems || ('pg_cron connects through libpq (cron.use_background_workers is off), which a '
                'default pg_hba.conf rejects.')::text;
        END IF;
        settings := settings || 'cron.use_background_workers = on'::text;
    END IF;
    IF settings <> '{}' THEN
        steps := steps || format('set %s in postgresql.conf (%s) and restart PostgreSQL',
            array_to_string(settings, ' and '),
            coalesce(minga_roster_internal.server_setting('config_file'), 'SHOW config_file'));
    END IF;
    IF NOT facts.installed THEN
        problems := problems || format('The extension pg_cron is not installed in database "%s".', current_database());
        steps := steps || 'CREATE EXTENSION pg_cron'::text;
    END IF;
    IF problems <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": pg_cron is not ready', connection),
            DETAIL = array_to_string(problems, ' '),
            HINT = format('Ask the DBA to do this: %s.', array_to_string(steps, ', then '));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_cron(text) IS
'55000 unless pg_cron can run the job of the extension in this database, with everything that has to be set.';

CREATE FUNCTION minga_roster_internal.do_enable(connection text) RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    PERFORM minga_roster_internal.require_cron(known.connection);
    IF NOT EXISTS (SELECT FROM minga_roster.secrets s WHERE s.connection = known.connection) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": there is no client secret',
                known.connection),
            HINT = format('Store the secret that the SIS shows for the client ID: '
                'SELECT minga_roster.roster_set_secret(%L, ''…'').', known.connection);
    END IF;
    IF minga_roster_internal.setting('key_file') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": minga_roster.key_file is not set',
                known.connection),
            HINT = 'Ask the DBA to set minga_roster.key_file with ALTER SYSTEM to the file whose key sealed the client '
                'secret, then run SELECT pg_reload_conf().';
    END IF;
    IF known.unproven THEN
        RAISE NOTICE USING
            MESSAGE = format('connection "%s" is unproven: archives are held until a full sync shows that address and '
                'school are right', known.connection),
            HINT = format('Check SELECT * FROM minga_roster.roster_preview(%1$L), then run SELECT '
                'minga_roster.roster_sync(%1$L).', known.connection);
    END IF;
    IF NOT EXISTS (SELECT FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND r.send <> 'never') THEN
        RAISE NOTICE USING
            MESSAGE = format('connection "%s" has no recipient for its evening reports', known.connection),
            HINT = format('Add one: SELECT minga_roster.roster_notify(%L, ''it@school.example'').', known.connection);
    END IF;

    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c
    SET automatic = true, paused_cause = NULL, paused_reason = NULL,
        enabled_origin = minga_roster_internal.server_origin(),
        enabled_at = CASE
            WHEN c.automatic AND c.paused_cause IS NULL
                AND c.enabled_origin = minga_roster_internal.server_origin() THEN c.enabled_at
            ELSE minga_roster_internal.clock() END
    WHERE c.connection = known.connection
    RETURNING * INTO known;
    PERFORM minga_roster_internal.arrange_cron_job();
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_enable(text) IS 'Implements roster_enable.';

CREATE FUNCTION roster_enable(connection text) RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_enable(text) IS
'Turns on Automatic Rostering: a sync every evening, starting at sync_at. Checks what pg_cron needs (55000 with what '
'to set) and creates its job "minga_roster", one for all connections. On a restored copy of the database it makes the '
'connection run here.';

CREATE FUNCTION minga_roster_internal.cancel_queued_evening(connection text, reason text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.runs r
    SET state = 'canceled', finished_at = minga_roster_internal.clock(), reported = true, sqlstate = '57014',
        error = cancel_queued_evening.reason
    WHERE r.run IN (
        SELECT q.run FROM minga_roster.runs q
        WHERE q.connection = cancel_queued_evening.connection AND q.state = 'queued' AND q.trigger = 'evening'
        FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION minga_roster_internal.cancel_queued_evening(text, text) IS
'Cancels the evening run that is queued for a connection, without mail.';

CREATE FUNCTION minga_roster_internal.do_disable(connection text) RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c SET automatic = false, paused_cause = NULL, paused_reason = NULL
    WHERE c.connection = known.connection
    RETURNING * INTO known;
    PERFORM minga_roster_internal.cancel_queued_evening(known.connection, 'Automatic Rostering was turned off');
    PERFORM minga_roster_internal.arrange_cron_job();
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_disable(text) IS 'Implements roster_disable.';

CREATE FUNCTION roster_disable(connection text) RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_disable(text) IS
'Turns off Automatic Rostering. A run queued for this evening is canceled; a running one continues (see '
'roster_cancel). The pg_cron job is removed with the last connection.';

CREATE FUNCTION minga_roster_internal.changes_kept_since() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.clock() - make_interval(days => greatest(8, least(
        minga_roster_internal.setting('keep_runs')::integer, minga_roster_internal.setting('keep_changes')::integer)))
$$;
COMMENT ON FUNCTION minga_roster_internal.changes_kept_since() IS
'Runs queued before this time may have lost changes to apply_retention, and can no longer be applied or undone.';

CREATE FUNCTION minga_roster_internal.apply_retention() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 10000;
    now CONSTANT timestamptz := minga_roster_internal.clock();
    -- The guard counts the archives of the last seven days.
    runs_before CONSTANT timestamptz := now
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_runs')::integer));
    changes_before CONSTANT timestamptz := minga_roster_internal.changes_kept_since();
    needed bigint[];
BEGIN
    -- Held changes that can still be approved.
    SELECT coalesce(array_agg(newest.run), '{}') INTO needed
    FROM (SELECT max(r.run) AS run
          FROM minga_roster.runs r
          JOIN minga_roster.connections c USING (connection)
          WHERE c.retired_at IS NULL
              AND minga_roster_internal.carried_out_by(r) IS NOT NULL
              AND r.run IN (SELECT h.run FROM minga_roster.changes h WHERE h.state = 'held')
          GROUP BY r.connection) newest;

    DELETE FROM minga_roster.changes c
    WHERE (c.run, c.change) IN (
        SELECT o.run, o.change
        FROM minga_roster.changes o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= (SELECT max(l.run) FROM minga_roster.runs l WHERE l.queued_at < changes_before)
            AND r.queued_at < changes_before AND r.state NOT IN ('queued', 'running') AND r.run <> ALL (needed)
        ORDER BY o.run, o.change
        LIMIT batch);

    DELETE FROM minga_roster.planned_links p
    WHERE (p.run, p.sourced_id) IN (
        SELECT o.run, o.sourced_id
        FROM minga_roster.planned_links o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= (SELECT max(l.run) FROM minga_roster.runs l WHERE l.queued_at < changes_before)
            AND r.queued_at < changes_before
        ORDER BY o.run, o.sourced_id
        LIMIT batch);
    DELETE FROM minga_roster.link_changes p
    WHERE (p.run, p.sourced_id) IN (
        SELECT o.run, o.sourced_id
        FROM minga_roster.link_changes o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= (SELECT max(l.run) FROM minga_roster.runs l WHERE l.queued_at < changes_before)
            AND r.queued_at < changes_before
        ORDER BY o.run, o.sourced_id
        LIMIT batch);

    DELETE FROM minga_roster.runs r
    WHERE r.run IN (
        SELECT o.run
        FROM minga_roster.runs o
        WHERE o.queued_at < runs_before AND o.state NOT IN ('queued', 'running') AND o.run <> ALL (needed)
            AND coalesce(o.of_run, 0) <> ALL (needed)
            AND NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = o.run)
        ORDER BY o.queued_at
        LIMIT batch / 10);

    DELETE FROM minga_roster.audit a
    WHERE a.entry IN (SELECT o.entry FROM minga_roster.audit o
        WHERE o.called_at < now - make_interval(days => greatest(8,
            minga_roster_internal.setting('keep_audit')::integer))
        ORDER BY o.called_at LIMIT batch);

    -- A retired connection ends with the last of its runs: first its links, then what else hangs on it.
    DELETE FROM minga_roster.links l
    WHERE (l.connection, l.sourced_id) IN (
        SELECT o.connection, o.sourced_id
        FROM minga_roster.links o JOIN minga_roster.connections c ON c.connection = o.connection
        WHERE c.retired_at < runs_before
        LIMIT batch);
    DELETE FROM minga_roster.connections c
    WHERE c.retired_at < runs_before
        AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.connection = c.connection)
        AND NOT EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = c.connection);

    DELETE FROM minga_roster.outbox o
    WHERE o.mail IN (SELECT s.mail FROM minga_roster.outbox s
                     WHERE s.created_at < runs_before AND (s.state IN ('sent', 'failed')
                         OR s.origin <> minga_roster_internal.server_origin())
                     ORDER BY s.mail LIMIT batch);

    -- Otherwise a mail server that is set up later would get months of old mail.
    IF minga_roster_internal.setting('smtp_url') = '' THEN
        UPDATE minga_roster.outbox o SET state = 'failed',
            last_error = 'minga_roster.smtp_url was not set for five days'
        WHERE o.state = 'waiting' AND o.created_at < now - interval '5 days'
            AND o.origin = minga_roster_internal.server_origin();
    END IF;

    IF extract(minute FROM now) = 0 THEN
        PERFORM minga_roster_internal.erase_archived();
        -- Once an hour, because it reads all details that pg_cron keeps.
        PERFORM minga_roster_internal.cron('trim');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_retention() IS
'Deletes changes and stored link data older than minga_roster.keep_changes days (at least 8), runs, mail, and '
'connections that were retired with their links, older than keep_runs days (at least 8), audit older than keep_audit '
'days (at least 8), and pg_cron''s details of the extension''s job older than a day; at most 10,000 rows of each per '
'call. Once an hour erase_archived. Gives up mail that waited five days for minga_roster.smtp_url. Keeps held changes '
'that can still be approved.';
-- The diagnosis of a SIS: what its rows are like, counted from the stage, and the text that a school can send to its
-- vendor. Shows no personal data: only numbers, roles known to OneRoster, and schools.

CREATE FUNCTION minga_roster_internal.share_in_words(part bigint, whole bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s of %s', part, whole) || CASE WHEN part > 0 AND whole > 0
        THEN format(' (%s %%)', round(100.0 * part / whole, 1)) ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.share_in_words(bigint, bigint) IS '"12 of 1204 (1.0 %)".';

CREATE FUNCTION minga_roster_internal.statistics_of_stage(run bigint, OUT part integer, OUT nth bigint,
    OUT finding text, OUT value text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB'
AS $$
    WITH this AS (
        SELECT r.run, c.connection, c.sis, c.school_id, c.parent_contact,
            coalesce((SELECT p.columns ? 'grade' FROM minga_roster.people_relations p
                WHERE p.relation = c.people), false) AS has_grade
        FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
        WHERE r.run = statistics_of_stage.run
    ), read AS (
        SELECT c.* FROM minga_roster.collections c WHERE c.run = statistics_of_stage.run
    ), school AS (
        SELECT o.sourced_id, left(coalesce(o.name, o.sourced_id), 80) AS name
        FROM this JOIN minga_roster.staged_orgs o USING (connection)
        WHERE lower(o.type) = 'school' OR o.type IS NULL OR o.sourced_id = this.school_id
    ), person AS (
        SELECT s.role, l.role AS known_role, coalesce(l.role, 'other role') AS shown_role,
            CASE WHEN l.category = 'student' THEN 'students' WHEN l.category = 'contact' THEN 'guardians'
                WHEN l.category IS NOT NULL THEN 'staff' END AS family,
            s.status, s.enabled, s.damaged, s.given_name, s.family_name, s.username, s.identifier,
                lower(s.email) AS email, s.grade,
            s.date_last_modified, s.sourced_id, s.org_ids, s.agent_ids, cardinality(s.roles) > 1 AS holds_several,
            this.has_grade
        FROM this
        JOIN minga_roster.staged_users s USING (connection)
        LEFT JOIN LATERAL (SELECT r.roster_role AS role, r.category FROM minga_roster.role_rules r
                           WHERE r.sis = this.sis AND r.roster_role = s.role) l ON true
        -- Rows of forgotten people are not as the SIS sent them.
        WHERE s.outcome IS DISTINCT FROM 'forgotten'
    ), by_org AS MATERIALIZED (
        SELECT org.id, p.shown_role, count(*) AS people
        FROM person p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.org_ids) COLLATE "C" AS id) org
        WHERE p.family IN ('students', 'staff')
        GROUP BY org.id, p.shown_role
    ), measure AS (
        SELECT p.family, m.place, m.what, m.strict, m.hint, count(*) FILTER (WHERE m.lacks) AS part, count(*) AS whole
        FROM person p
        CROSS JOIN LATERAL (VALUES
            (1, 'without email', p.email IS NULL, false, 'If no one has an email address, the district''s SIS '
                'administrator may not share the field with this connection.'),
            (2, 'without identifier', p.identifier IS NULL, false, 'The identifier is the number by which the school '
                'knows a person. Existing people are found by it.'),
            (3, 'without email and identifier', p.email IS NULL AND p.identifier IS NULL, true,
                'Existing people cannot be recognized, and would be created a second time.'),
            (4, 'without a given or family name', p.given_name IS NULL OR p.family_name IS NULL, true,
                'OneRoster requires both. No one is created without a name.'),
            (5, 'without dateLastModified', p.date_last_modified IS NULL, true,
                'OneRoster requires it. Without it, changes cannot be requested by date.'),
            (6, 'without grade', CASE WHEN p.family = 'students' AND p.has_grade THEN p.grade IS NULL END, false, NULL),
            (7, 'that cannot be read cleanly', p.damaged, true, 'Rows with invalid UTF-8, control characters or fields '
                'of the wrong type are not used. Ask the SIS vendor.')
        ) AS m (place, what, lacks, strict, hint)
        WHERE p.family IN ('students', 'staff') AND m.lacks IS NOT NULL
        GROUP BY p.family, m.place, m.what, m.strict, m.hint
    ), by_role AS (
        SELECT p.family, k.kind, k.key COLLATE "C" AS key, p.role, count(*) AS people
        FROM person p
        CROSS JOIN LATERAL (VALUES ('identifier', p.identifier), ('username', p.username),
            ('e-mail', p.email)) AS k (kind, key)
        WHERE k.key IS NOT NULL AND p.family IN ('students', 'staff')
        GROUP BY p.family, k.kind, k.key COLLATE "C", p.role
    ), by_key AS (
        SELECT r.family, r.kind, count(*) > 1 AS several_roles, max(r.people) > 1 AS twice_in_a_role
        FROM by_role r
        GROUP BY r.family, r.kind, r.key HAVING sum(r.people) > 1
    ), shared AS (
        SELECT f.family, k.kind, k.place, count(*) FILTER (WHERE b.several_roles) AS several_roles, count(*)
            FILTER (WHERE b.twice_in_a_role) AS twice_in_a_role
        FROM (VALUES ('students'), ('staff')) f (family)
        CROSS JOIN (VALUES (1, 'identifier'), (2, 'username'), (3, 'e-mail')) k (place, kind)
        LEFT JOIN by_key b ON b.family = f.family AND b.kind = k.kind
        GROUP BY f.family, k.kind, k.place
    ), agent AS (
        SELECT DISTINCT a.id COLLATE "C" AS id
        FROM person p CROSS JOIN LATERAL unnest(p.agent_ids) AS a (id)
        WHERE p.family = 'students'
    ), student AS (
        SELECT count(*) AS whole, count(*) FILTER (WHERE cardinality(p.agent_ids) > 0) AS with_agents
        FROM person p WHERE p.family = 'students'
    )
    SELECT 1, row_number() OVER (ORDER BY c.family = 'contact', c.family = 'staff', c.collection),
        format('full list of %s', c.collection),
        CASE WHEN c.proof IS NULL THEN 'denied'
             WHEN c.claimed_total IS NULL THEN minga_roster_internal.counted(c.distinct_ids, 'row')
             ELSE format('%s rows, %s claimed', c.distinct_ids, c.claimed_total) END,
        CASE WHEN c.proof IS NULL AND c.family = 'contact' THEN NULL ELSE c.complete AND c.proof <> 'weak'
            AND c.proof IS NOT NULL END,
        concat_ws(' ', c.detail, CASE WHEN c.proof <> 'weak'
            THEN format('Read in %s; its end is proved by %s.', minga_roster_internal.counted(c.pages, 'page'),
                CASE c.proof WHEN 'total' THEN 'the claimed total' ELSE 'an empty page' END) END,
            CASE WHEN c.elsewhere > 0 AND c.family = 'contact'
                THEN format('%s belong to no student of this school.', c.elsewhere)
                 WHEN c.elsewhere > 0 THEN format('%s are of another school or role.', c.elsewhere) END),
        CASE WHEN c.proof IS NULL THEN 'Ask the school to share it (in Infinite Campus: Data to Share of the '
            'connection).'
             WHEN NOT c.complete OR c.proof = 'weak'
                 THEN 'No one is archived by a list whose end is not proved. Ask the SIS vendor.' END
    FROM read c
    UNION ALL
    SELECT 2, 1, 'rows listed twice', r.twice::text, r.twice = 0, NULL,
        CASE WHEN r.twice > 0 THEN 'Each ID must be listed once. Ask the SIS vendor whether the order is stable.' END
    FROM (SELECT coalesce(sum(c.rows - c.without_id - c.distinct_ids), 0) AS twice FROM read c) r
    UNION ALL
    SELECT 2, 2, 'rows without sourcedId', r.without_id::text, r.without_id = 0, NULL,
        CASE WHEN r.without_id > 0
            THEN 'OneRoster requires it. A row without one cannot be tracked. Ask the SIS vendor.' END
    FROM (SELECT coalesce(sum(c.without_id), 0) AS without_id FROM read c) r
    UNION ALL
    SELECT 3, 1, 'schools that the key can see', count(*)::text, NULL,
        CASE WHEN count(*) = 0 THEN 'The key cannot list schools.' END, NULL FROM school
    UNION ALL
    SELECT 4, row_number() OVER (ORDER BY count(*) DESC, p.shown_role), format('role %s', p.shown_role), count(*)::text,
        CASE WHEN p.known_role IS NULL THEN false END,
        CASE WHEN p.known_role IS NULL
            THEN 'The role is missing, or unknown to OneRoster and to this connection''s preset.' END,
        CASE WHEN p.known_role IS NULL THEN 'These people count as present and are otherwise ignored. The DBA '
            'can add a row to role_rules.' END
    FROM person p GROUP BY p.known_role, p.shown_role
    UNION ALL
    SELECT 5, row_number() OVER (ORDER BY o.own DESC, o.people DESC, o.name), format('people of %s', o.name), o.roles,
        NULL,
        CASE WHEN NOT o.own THEN 'People of this school who are also there.' END, NULL
    FROM (SELECT c.sourced_id, c.name, c.sourced_id = this.school_id AS own, sum(c.people) AS people,
              string_agg(format('%s %s', c.people, c.shown_role), ', ' ORDER BY c.people DESC, c.shown_role) AS roles
          FROM this CROSS JOIN (SELECT s.sourced_id, s.name, b.shown_role, b.people FROM by_org b JOIN school s
              ON s.sourced_id = b.id) c
          GROUP BY c.sourced_id, c.name, this.school_id
          ORDER BY own DESC, people DESC, c.name LIMIT 50) o
    UNION ALL
    SELECT CASE m.family WHEN 'students' THEN 6 ELSE 7 END, m.place, format('%s %s', m.family, m.what),
        minga_roster_internal.share_in_words(m.part, m.whole),
        CASE WHEN m.part = 0 THEN true WHEN m.strict OR m.part = m.whole THEN false END, NULL,
            CASE WHEN m.part > 0 THEN m.hint END
    FROM measure m
    UNION ALL
    SELECT 8, 1, 'people marked as gone or disabled', count(*)
        FILTER (WHERE p.status = 'tobedeleted' OR NOT p.enabled)::text, NULL,
        format('%s with status tobedeleted, %s with enabledUser false.', count(*)
            FILTER (WHERE p.status = 'tobedeleted'), count(*) FILTER (WHERE NOT p.enabled)), NULL
    FROM person p
    UNION ALL
    SELECT 8, 2, 'staff in several roles', coalesce(max(s.several_roles), 0)::text, NULL,
        'By a shared ' || string_agg(format('%s: %s', s.kind, s.several_roles), ', ' ORDER BY s.place) || '.',
        CASE WHEN max(s.several_roles) > 0 THEN 'Rows that share an identifier or username are one person; rows that '
            'share only an email address are not.' END
    FROM shared s WHERE s.family = 'staff'
    UNION ALL
    SELECT 8, 3, 'people with several roles in one row', count(*) FILTER (WHERE p.holds_several)::text, NULL, NULL, NULL
        FROM person p
    UNION ALL
    SELECT 8, CASE s.family WHEN 'students' THEN 4 ELSE 5 END, format('%s who share a key in one role', s.family),
        max(s.twice_in_a_role)::text, max(s.twice_in_a_role) = 0,
        'By ' || string_agg(format('%s: %s', s.kind, s.twice_in_a_role), ', ' ORDER BY s.place) || '.',
        CASE WHEN max(s.twice_in_a_role) > 0 THEN 'Rows of one role with the same identifier or username become '
            'conflicts and are not used; a shared email address identifies no one. The school corrects them in its SIS.'
            END
    FROM shared s GROUP BY s.family
    UNION ALL
    SELECT 9, 1, 'students with guardians', minga_roster_internal.share_in_words(s.with_agents, s.whole),
        CASE WHEN s.with_agents > 0 THEN true END, NULL,
        CASE WHEN s.with_agents = 0 THEN 'If primary parent contacts are wanted, the SIS must name guardians as agents '
            'of the students.' END
    FROM student s CROSS JOIN this WHERE s.whole > 0 AND this.parent_contact
    UNION ALL
    SELECT 9, 2, 'guardians reachable',
        CASE WHEN this.parent_contact THEN minga_roster_internal.share_in_words(a.found, a.named) ELSE 'not read' END,
        CASE WHEN this.parent_contact AND a.named > 0 THEN a.found = a.named END,
        CASE WHEN this.parent_contact THEN 'Of the guardians named by students, this many are listed.'
            ELSE 'Primary parent contacts are off for this connection.' END,
        CASE WHEN this.parent_contact AND a.found < a.named THEN 'The others are named by sourcedId but not listed. '
            'Ask the SIS vendor, or ask the district which contacts it shares.' END
    FROM this CROSS JOIN (
        SELECT (SELECT count(*) FROM agent) AS named,
            (SELECT count(*) FROM (SELECT agent.id FROM agent INTERSECT SELECT p.sourced_id
                FROM person p) listed) AS found) a
$$;
COMMENT ON FUNCTION minga_roster_internal.statistics_of_stage(bigint) IS
'What the staged rows of a diagnosis are like: lists, schools, roles, missing values, people with several roles or '
'shared keys, guardians. Numbers only.';

CREATE FUNCTION minga_roster_internal.store_facts(run bigint, last_position integer) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT row_number() OVER (ORDER BY f.fact) AS nth, w.finding, f.value, w.detail, w.hint
        FROM minga_roster.server_facts f
        JOIN (VALUES
            ('fields', 'known: fields', 'The SIS rejects requests that name fields, so full rows are requested.',
             'Other fields are not stored. Ask the SIS vendor to support the fields parameter of OneRoster.'),
            ('limit', 'known: largest page', 'The SIS rejects larger pages, so pages of this size are requested.',
             'Set roster_configure(page_size => ...) to it, or ask the SIS vendor for the largest page.'),
            ('order', 'known: descending order',
                'A list cannot be read from its end, where the last row would prove that it was read completely.',
             'Ask the SIS vendor to support sort with orderBy=desc, or X-Total-Count.'),
            ('overlap', 'known: offset inside a list',
                'The SIS serves only offsets at page boundaries, so a list that moves during the read cannot be '
                    'detected.',
             'Without X-Total-Count, a list of several pages is not proved complete. Ask the SIS vendor for it.'),
            ('paging', 'known: paging',
                'limit and offset do not work as OneRoster specifies. Lists are read anyway.',
             'Ask the SIS vendor to make offset and limit count rows.'),
            ('sort', 'known: sort', 'The SIS rejects requests that name an order, so lists come in the order of the '
                'SIS.',
             'Ask the SIS vendor to support the sort parameter of OneRoster.')) AS w (fact, finding, detail, hint)
                 USING (fact)
        WHERE f.connection = (SELECT r.connection FROM minga_roster.runs r WHERE r.run = store_facts.run)
    ), stored AS (
        INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint)
        SELECT store_facts.run, store_facts.last_position + k.nth, k.finding, k.value, false, k.detail, k.hint
        FROM known k
    )
    SELECT store_facts.last_position + count(*)::integer FROM known
$$;
COMMENT ON FUNCTION minga_roster_internal.store_facts(bigint, integer) IS
'Adds the known limits of the SIS to the findings of a diagnosis; returns the last position.';

CREATE FUNCTION minga_roster_internal.store_statistics(run bigint, last_position integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint)
    SELECT store_statistics.run, store_statistics.last_position + row_number() OVER (ORDER BY s.part, s.nth), s.finding,
        s.value, s.ok, nullif(s.detail, ''), s.hint
    FROM minga_roster_internal.statistics_of_stage(store_statistics.run) s
$$;
COMMENT ON FUNCTION minga_roster_internal.store_statistics(bigint, integer) IS
'Adds the statistics of the stage to the findings of a diagnosis, after last_position.';

CREATE FUNCTION minga_roster_internal.do_diagnosis(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT integer := 78;
    diagnosed minga_roster.runs := minga_roster_internal.known_run(run);
    facts text;
    wrong text;
    found text;
BEGIN
    IF diagnosed.kind <> 'diagnose' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s is not a diagnosis', diagnosed.run),
            DETAIL = format('Its kind is "%s".', diagnosed.kind),
            HINT = format('Run one with SELECT * FROM minga_roster.roster_diagnose(%L); see this run with '
                'roster_report(%s).', diagnosed.connection, diagnosed.run);
    END IF;
    SELECT string_agg(rpad(f.label || ':', 12) || array_to_string(minga_roster_internal.wrapped(f.value, width - 12),
        E'\n' || repeat(' ', 12)) || E'\n', '' ORDER BY f.place)
    INTO facts
    FROM (SELECT c.*, s.title, CASE WHEN t.name IS NULL THEN 'UTC' ELSE c.time_zone END AS zone,
              left(c.school_name, 80) AS listed_as
          FROM (VALUES (diagnosed.connection)) asked (connection)
          LEFT JOIN minga_roster.connections c ON c.connection = asked.connection AND c.site = diagnosed.site
          LEFT JOIN minga_roster.sis s USING (sis)
          LEFT JOIN pg_timezone_names t ON t.name = c.time_zone) c
    CROSS JOIN LATERAL (VALUES
        (1, 'Server', substring(c.base_url FROM '^[a-z]+://([^/?#@]+)(?:[/?#]|$)')),
        (2, 'Product', format('%s (preset "%s")', c.title, c.sis)),
        (3, 'School', CASE WHEN c.listed_as IS NULL THEN c.school_id
            ELSE format('%s (%s)', c.listed_as, c.school_id) END),
        (4, 'Examined', format('%s %s, %s; run %s',
            minga_roster_internal.local_minute(coalesce(diagnosed.started_at, diagnosed.queued_at), c.zone),
            c.zone,
            coalesce('took ' || minga_roster_internal.duration_in_words(diagnosed.finished_at - diagnosed.started_at),
                diagnosed.state), diagnosed.run)),
        (5, 'Asked', format('%s, %s of them again, %s KB read',
            minga_roster_internal.counted(diagnosed.requests, 'request'), diagnosed.retries,
            (diagnosed.bytes + 1023) / 1024)),
        (6, 'Client', format('minga_roster %s on PostgreSQL %s',
            (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'minga_roster'),
            split_part(current_setting('server_version'), ' ', 1)))
        ) AS f (place, label, value)
    WHERE c.connection IS NOT NULL AND f.value IS NOT NULL;

    SELECT string_agg(format(E'%s: %s\n', f.finding, f.value)
            || (SELECT coalesce(string_agg('    ' || array_to_string(minga_roster_internal.wrapped(t.line, width - 4),
                E'\n    ') || E'\n', '' ORDER BY t.place), '')
                FROM (VALUES (1, f.detail), (2, f.hint)) t (place, line) WHERE t.line <> ''), E'\n' ORDER BY f.position)
        INTO wrong
    FROM minga_roster.findings f WHERE f.run = diagnosed.run AND NOT f.ok;
    SELECT string_agg(format('%s %s', CASE WHEN f.ok THEN 'ok' WHEN NOT f.ok THEN ' !' ELSE '  ' END,
            array_to_string(minga_roster_internal.wrapped(format('%s: %s%s', f.finding, f.value,
                CASE WHEN f.ok IS NOT FALSE THEN '. ' || f.detail ELSE '' END), width - 3), E'\n   '))
            || E'\n', '' ORDER BY f.position)
        INTO found
    FROM minga_roster.findings f WHERE f.run = diagnosed.run;

    RETURN minga_roster_internal.readable_lines('Diagnosis of a OneRoster service' || E'\n\n'
        || coalesce(facts || E'\n', '')
        || CASE WHEN diagnosed.state = 'succeeded' THEN ''
            ELSE format(E'The diagnosis is %s. What it found so far:\n\n', diagnosed.state) END
        || E'Problems\n--------\n'
            || coalesce(wrong, CASE WHEN found IS NULL THEN E'The diagnosis found nothing.\n' ELSE E'Nothing.\n' END)
        || coalesce(E'\nAll findings (! marks the problems above)\n-----------------------------------------\n'
            || found, '')
        || E'\nThis text names no one. It holds only numbers and names of schools.\n');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_diagnosis(bigint) IS 'Implements roster_diagnosis.';

CREATE FUNCTION roster_diagnosis(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_diagnosis(bigint) IS
'The findings of a diagnosis as text that a school can send to its SIS vendor: server, product, dates, times and '
'findings, and no name, ID or address of a person. 42704 for an unknown run, 55000 for a run that is not a diagnosis.';
-- Status: what each connection is doing, what comes next and when, and what blocks it. Shows no personal data and no
-- secrets.

CREATE FUNCTION minga_roster_internal.newest_held(connection text, OUT run bigint, OUT held bigint, OUT moves bigint,
    OUT words text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.run, h.held, h.moves,
        concat_ws(' and ', CASE WHEN h.creates THEN 'new people' END, CASE WHEN h.archives THEN 'archives' END,
            CASE WHEN h.updates THEN 'updates' END)
    FROM (
        SELECT c.run, count(*) FILTER (WHERE c.action = 'link') AS moves,
            count(*) FILTER (WHERE minga_roster_internal.awaits_approval(c.action, c.state_cause)) AS held,
            bool_or(c.action = 'create' AND c.state_cause = 'new_site') AS creates,
            bool_or(c.action = 'archive') AS archives, bool_or(c.action = 'update') AS updates
        FROM minga_roster.changes c
        WHERE c.state = 'held'
        GROUP BY c.run
    ) h
    JOIN minga_roster.runs r ON r.run = h.run
    JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = r.site
    WHERE r.connection = newest_held.connection
        AND minga_roster_internal.carried_out_by(r) IS NOT NULL
    ORDER BY h.run DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION minga_roster_internal.newest_held(text) IS
'The newest sync or applied preview of a connection that holds changes: how many wait for roster_approve and what they '
'are, and how many links wait for roster_relink.';

CREATE FUNCTION minga_roster_internal.do_connection_status(OUT connection text, OUT site text, OUT district text,
    OUT automatic boolean, OUT state text, OUT run bigint, OUT phase text, OUT pages integer, OUT rows_staged bigint,
    OUT rows_expected bigint,
    OUT last_run bigint, OUT last_state text, OUT last_finished_at timestamptz, OUT last_error text,
    OUT next_evening timestamptz, OUT blocked_reason text, OUT held bigint, OUT waiting_mail bigint,
    OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    here CONSTANT text := minga_roster_internal.server_origin();
BEGIN
    RETURN QUERY
    SELECT c.connection, c.site, c.district, c.automatic,
        CASE o.state
            WHEN 'running' THEN
                format('running %s since %s', o.kind, minga_roster_internal.local_minute(o.started_at, s.zone))
            WHEN 'queued' THEN
                format('%s queued since %s', o.kind, minga_roster_internal.local_minute(o.queued_at, s.zone))
            ELSE 'idle' END,
        o.run, o.phase, o.pages, o.rows_staged, o.rows_expected,
        l.run, l.state || CASE WHEN l.incomplete THEN ', incomplete' ELSE '' END, l.finished_at, l.error,
        CASE WHEN e.runs_here THEN coalesce(e.retry_at, CASE WHEN e.is_due THEN e.opens ELSE e.next_opens END) END,
        CASE
            WHEN o.state = 'running' THEN NULL
            WHEN o.state = 'queued' AND k.site_run IS NOT NULL THEN
                format('run %s for the same site is running', k.site_run)
            WHEN o.state = 'queued' AND k.running = 0 THEN 'queued: no worker is running'
            WHEN o.state = 'queued' THEN
                format('queued: %s running, minga_roster.max_workers is %s',
                    minga_roster_internal.figures(k.running, 'run is', 'runs are'),
                    minga_roster_internal.setting('max_workers'))
            WHEN NOT c.automatic THEN 'Automatic Rostering is off'
            WHEN c.paused_cause IS NOT NULL OR c.enabled_origin IS DISTINCT FROM here THEN
                'paused: ' || coalesce(c.paused_reason, 'restored')
            WHEN NOT f.preloaded THEN 'pg_cron is not preloaded'
            WHEN f.database_name IS DISTINCT FROM current_database() THEN
                format('pg_cron runs jobs in database "%s" (cron.database_name)', f.database_name)
            WHEN NOT f.installed THEN 'pg_cron is not installed in this database'
            WHEN f.job IS NULL THEN 'pg_cron has no job'
            WHEN NOT f.job_active THEN format('pg_cron job %s is not active', f.job)
            WHEN f.last_failure IS NOT NULL THEN 'the pg_cron job fails: ' || f.last_failure
            WHEN NOT EXISTS (SELECT FROM minga_roster.secrets t WHERE t.connection = c.connection) THEN
                'no client secret'
            WHEN minga_roster_internal.setting('key_file') = '' THEN 'no key file'
            WHEN e.evening IS NULL THEN format('time zone "%s" does not exist', c.time_zone)
            WHEN h.moves > 0 THEN format('run %s found changed IDs, held until roster_relink', h.run)
            WHEN h.held > 0 THEN format('run %s holds %s until roster_approve', h.run, h.words)
            WHEN m.waiting > 0 AND minga_roster_internal.setting('smtp_url') = '' THEN
                minga_roster_internal.figures(m.waiting, 'mail is', 'mails are')
                    || ' waiting: minga_roster.smtp_url is not set'
            WHEN m.waiting > 0 AND b.last_error IS NOT NULL THEN
                format('%s waiting: %s', minga_roster_internal.figures(m.waiting, 'mail is', 'mails are'), b.last_error)
            WHEN e.retry_at IS NOT NULL THEN format('run %s failed and will be tried again', e.last_try)
            WHEN NOT e.is_due THEN 'waiting for the evening window'
        END,
        coalesce(h.held, 0), m.waiting, c.unproven, c.credentials_expire, b.last_error, n.findings
    FROM minga_roster.connections c
    CROSS JOIN minga_roster_internal.cron_facts() f
    JOIN minga_roster_internal.evenings() e USING (connection)
    CROSS JOIN LATERAL (SELECT CASE WHEN e.evening IS NULL THEN 'UTC' ELSE c.time_zone END AS zone) s
    LEFT JOIN LATERAL (
        SELECT * FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.state IN ('queued', 'running')
        ORDER BY r.state = 'running' DESC, r.run LIMIT 1
    ) o ON o.site = c.site
    LEFT JOIN LATERAL (
        SELECT * FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.kind = 'sync' AND r.finished_at IS NOT NULL
        ORDER BY r.run DESC LIMIT 1
    ) l ON l.site = c.site
    LEFT JOIN LATERAL minga_roster_internal.newest_held(c.connection) h ON true
    CROSS JOIN LATERAL (
        SELECT count(*) AS running, max(r.run) FILTER (WHERE r.site = c.site) AS site_run
        FROM minga_roster.runs r WHERE r.state = 'running'
    ) k
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting FROM minga_roster.outbox b
        WHERE b.connection = c.connection AND b.site = c.site AND b.state = 'waiting' AND b.origin = here
    ) m
    LEFT JOIN LATERAL (
        -- A mail server quotes the address.
        SELECT CASE WHEN b.last_error IS NULL OR c.site IN (SELECT minga_roster_internal.caller_sites('owner'))
            THEN b.last_error ELSE 'the mail server reported a fault, which owners of the site see' END AS last_error
        FROM minga_roster.outbox b
        WHERE b.connection = c.connection AND b.site = c.site AND b.attempts > 0 AND b.origin = here
        ORDER BY b.mail DESC LIMIT 1
    ) b ON true
    CROSS JOIN LATERAL (
        SELECT string_agg(
            minga_roster_internal.finding_words(f.finding, f.category, f.amount, f."of", f.detail), '; '
            ORDER BY f.position) AS findings
        FROM minga_roster.run_findings f WHERE f.run = l.run
    ) n
    WHERE c.retired_at IS NULL AND c.site IN (SELECT minga_roster_internal.caller_sites());
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_connection_status() IS 'Implements connection_status.';

CREATE FUNCTION minga_roster_internal.connection_status(OUT connection text, OUT site text, OUT district text,
    OUT automatic boolean, OUT state text, OUT run bigint, OUT phase text, OUT pages integer, OUT rows_staged bigint,
    OUT rows_expected bigint,
    OUT last_run bigint, OUT last_state text, OUT last_finished_at timestamptz, OUT last_error text,
    OUT next_evening timestamptz, OUT blocked_reason text, OUT held bigint, OUT waiting_mail bigint,
    OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION minga_roster_internal.connection_status() IS
'The rows of the view roster_status, read with the rights of the extension''s owner, so that readers of the view need '
'no rights on runs or pg_cron.';

CREATE VIEW roster_status WITH (security_invoker = true) AS
    SELECT connection, site, district, automatic, state, run, phase, pages, rows_staged, rows_expected,
        last_run, last_state, last_finished_at, last_error,
        next_evening, blocked_reason, held, waiting_mail, unproven, credentials_expire, mail_error, findings
    FROM minga_roster_internal.connection_status();
COMMENT ON VIEW roster_status IS
'For each connection at whose site the current user has a level: what it is doing, what comes next and when, and what '
'blocks it.';
COMMENT ON COLUMN roster_status.state IS
'"idle", "sync queued since ..." or "running sync since ...", local to the connection''s time zone.';
COMMENT ON COLUMN roster_status.run IS
'The running run, otherwise the queued one; phase, pages, rows_staged and rows_expected belong to it.';
COMMENT ON COLUMN roster_status.last_run IS
'The last finished sync, evening or manual; last_state, last_finished_at and last_error belong to it.';
COMMENT ON COLUMN roster_status.last_state IS
'The state of last_run; "succeeded, incomplete" if a list was not proved complete.';
COMMENT ON COLUMN roster_status.findings IS
'What the last sync noticed in the roster, in a few words; roster_report(last_run) has the sentences.';
COMMENT ON COLUMN roster_status.next_evening IS
'When the next evening run is due: the start of the next window, or the next try of a failed run; NULL if none will '
'run.';
COMMENT ON COLUMN roster_status.blocked_reason IS
'What blocks the connection: the first reason found; NULL while a run is running or about to be queued.';
COMMENT ON COLUMN roster_status.held IS
'Held archives, updates and creates of the newest sync or applied preview that has any.';
COMMENT ON COLUMN roster_status.waiting_mail IS 'Mail not yet sent.';
COMMENT ON COLUMN roster_status.mail_error IS
'Why the newest mail that was tried could not be sent; NULL if it was sent. Only owners see the words of the mail '
'server, which may quote an address.';

CREATE VIEW roster_district_status WITH (security_invoker = true) AS
    SELECT s.district, s.site, count(*) AS connections,
        CASE WHEN bool_or(o.state = 'running') THEN 'running' WHEN bool_or(o.state = 'queued') THEN 'queued'
            ELSE 'idle' END AS state,
        max(CASE l.state WHEN 'succeeded' THEN l.finished_at ELSE g.finished_at END) AS last_success,
        CASE WHEN bool_or(l.state = 'failed') THEN 'failed' WHEN bool_or(l.state = 'canceled') THEN 'canceled'
            WHEN bool_or(l.state = 'succeeded') THEN 'succeeded' END AS last_state,
        sum(s.held)::bigint AS held,
        coalesce(sum(CASE l.state WHEN 'succeeded' THEN l.conflicts ELSE g.conflicts END), 0)::bigint AS conflicts,
        min(s.next_evening) AS next_evening,
        CASE count(*) WHEN 1 THEN min(s.blocked_reason)
            ELSE string_agg(s.connection || ': ' || s.blocked_reason, '; ' ORDER BY s.connection) END AS blocked_reason
    FROM minga_roster.roster_status s
    LEFT JOIN minga_roster.runs o ON o.run = s.run
    LEFT JOIN minga_roster.runs l ON l.run = s.last_run
    LEFT JOIN LATERAL (
        SELECT r.site, r.finished_at, r.conflicts FROM minga_roster.runs r
        WHERE l.state <> 'succeeded' AND r.connection = s.connection AND r.kind = 'sync' AND r.state = 'succeeded'
        ORDER BY r.run DESC LIMIT 1
    ) g ON g.site = s.site
    GROUP BY s.district, s.site;
COMMENT ON VIEW roster_district_status IS
'roster_status with one line for each site, for those who look after a district: the sites at which the current user '
'has a level.';
COMMENT ON COLUMN roster_district_status.connections IS 'How many connections the site has that are not retired.';
COMMENT ON COLUMN roster_district_status.state IS
'running, queued or idle: what the site''s connections are doing.';
COMMENT ON COLUMN roster_district_status.last_success IS 'When the last successful sync of the site ended.';
COMMENT ON COLUMN roster_district_status.last_state IS
'How the last syncs ended: failed or canceled if that of any connection did, otherwise succeeded; NULL before the '
'first.';
COMMENT ON COLUMN roster_district_status.held IS 'Changes that wait for roster_approve.';
COMMENT ON COLUMN roster_district_status.conflicts IS
'Conflicts that the last successful syncs found; roster_conflicts shows them to owners.';
COMMENT ON COLUMN roster_district_status.next_evening IS 'When the next evening run of the site is due.';
COMMENT ON COLUMN roster_district_status.blocked_reason IS
'What blocks the site; with the name of each connection where there are several.';

-- Views for reports in SQL: who joined and left, and what is incomplete in the SIS. They show IDs and no names or
-- addresses, except roster_same_names. Join the people relation to see names. What they show of the SIS is the state at
-- the latest fetch, as long as the stage holds it (stages). They read tables with the rights of who reads them, so that
-- policies apply; roster_changes_by_day alone, which counts people for readers, does not.

CREATE VIEW roster_joiners WITH (security_invoker = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE coalesce(n.time_zone, 'UTC'))::date AS day, c.category,
        c.person_id, c.sourced_ids,
        c.action = 'restore' AS came_back, c.state_at AS joined_at, c.run
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.action IN ('create', 'restore') AND c.state = 'applied';
COMMENT ON VIEW roster_joiners IS
'People whom runs created or restored, as long as changes are kept. day is local to the connection''s time zone.';
COMMENT ON COLUMN roster_joiners.came_back IS 'The person was archived here before, and was restored.';

CREATE VIEW roster_leavers WITH (security_invoker = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE coalesce(n.time_zone, 'UTC'))::date AS day, c.category,
        c.person_id, c.sourced_ids,
        c.state AS state, c.reason, c.state_reason, CASE c.state WHEN 'applied' THEN c.state_at END AS left_at,
        c.state = 'applied' AND EXISTS (SELECT FROM minga_roster.links l
            WHERE l.connection = r.connection AND l.site = c.site AND l.person_id = c.person_id
                AND l.archived_run = c.run) AS still_archived,
        c.run
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.action = 'archive' AND c.state IN ('applied', 'held');
COMMENT ON VIEW roster_leavers IS
'People whom runs archived, or whose archive is held, as long as changes are kept. day is local to the connection''s '
'time zone.';
COMMENT ON COLUMN roster_leavers.state IS 'applied; or held, until roster_approve.';
COMMENT ON COLUMN roster_leavers.still_archived IS
'The person is still archived by this run; false once a run found the person restored, by a roster or by hand.';

CREATE VIEW roster_changes_by_day WITH (security_barrier = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE coalesce(n.time_zone, 'UTC'))::date AS day, c.category,
        c.action, count(*) AS people
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.state = 'applied' AND ((SELECT minga_roster_internal.sees_all())
        OR c.site IN (SELECT minga_roster_internal.sites_of('reader')))
    GROUP BY r.connection, c.site, (c.state_at AT TIME ZONE coalesce(n.time_zone, 'UTC'))::date, c.category, c.action;
COMMENT ON VIEW roster_changes_by_day IS
'How many people were created, linked, updated, restored and archived on each local day, by category, as long as '
'changes are kept.';

CREATE VIEW roster_listed_twice WITH (security_invoker = true) AS
    WITH listed AS (
        SELECT s.connection, n.site, CASE r.category WHEN 'student' THEN 'student' ELSE 'staff' END AS family,
            s.sourced_id, s.role,
            s.identifier, s.username, s.email, l.person_id
        FROM minga_roster.staged_users s
        JOIN minga_roster.stages g ON g.connection = s.connection
        JOIN minga_roster.connections n ON n.connection = s.connection
        JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category <> 'contact'
        LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
        WHERE n.retired_at IS NULL AND s.status IS DISTINCT FROM 'tobedeleted'
    ), keyed AS (
        SELECT d.connection, d.site, d.family, d.sourced_id, d.role, d.person_id, k.shared,
            lower(k.value COLLATE "C") AS value
        FROM listed d
        CROSS JOIN LATERAL (VALUES ('identifier', d.identifier), ('user name', d.username),
            ('e-mail', d.email)) AS k (shared, value)
        WHERE k.value IS NOT NULL
    )
    SELECT k.connection, k.site, k.family, k.shared, array_agg(k.sourced_id::text ORDER BY k.sourced_id) AS sourced_ids,
        array_agg(DISTINCT k.role) AS roles, array_agg(DISTINCT k.person_id)
            FILTER (WHERE k.person_id IS NOT NULL) AS person_ids,
        count(k.person_id) = count(*) AND count(DISTINCT k.person_id) = 1 AS known_as_one
    FROM keyed k
    GROUP BY k.connection, k.site, k.family, k.shared, k.value
    HAVING count(DISTINCT k.sourced_id) > 1;
COMMENT ON VIEW roster_listed_twice IS
'Rows of the latest fetch that share an identifier, username or email address within students or within staff: one '
'person with several rows, or a mistake in the SIS.';
COMMENT ON COLUMN roster_listed_twice.shared IS
'What they share: identifier, user name or e-mail. The value is in staged_users.';
COMMENT ON COLUMN roster_listed_twice.known_as_one IS
'All of the rows are linked to one person. Campus 1.1 lists a person once for each role.';

CREATE VIEW roster_without_email WITH (security_invoker = true) AS
    SELECT s.connection, n.site, r.category, s.role, s.sourced_id::text AS sourced_id, l.person_id
    FROM minga_roster.staged_users s
    JOIN minga_roster.stages g ON g.connection = s.connection
    JOIN minga_roster.connections n ON n.connection = s.connection
    JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category <> 'contact'
    LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
    WHERE n.retired_at IS NULL AND s.email IS NULL AND coalesce(s.status, 'active') = 'active' AND s.enabled;
COMMENT ON VIEW roster_without_email IS
'Active users of the latest fetch without an email address in the SIS; person_id if they are linked.';

CREATE VIEW roster_students_without_guardian WITH (security_invoker = true) AS
    WITH reachable AS (
        SELECT DISTINCT s.connection, s.sourced_id
        FROM minga_roster.staged_users s
        CROSS JOIN LATERAL unnest(s.agent_ids) AS a (id)
        JOIN minga_roster.staged_users g ON g.connection = s.connection AND g.sourced_id = a.id COLLATE "C"
        JOIN minga_roster.connections n ON n.connection = s.connection
        JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = g.role AND r.category = 'contact'
        WHERE g.status IS DISTINCT FROM 'tobedeleted' AND (g.email IS NOT NULL OR g.phone IS NOT NULL)
    )
    SELECT s.connection, n.site, s.sourced_id::text AS sourced_id, l.person_id,
        coalesce(cardinality(s.agent_ids), 0) AS agents
    FROM minga_roster.staged_users s
    JOIN minga_roster.stages g ON g.connection = s.connection AND g.is_full AND g.has_contacts
    JOIN minga_roster.connections n ON n.connection = s.connection AND n.parent_contact
    JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category = 'student'
    LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
    LEFT JOIN reachable h ON h.connection = s.connection AND h.sourced_id = s.sourced_id
    WHERE n.retired_at IS NULL AND coalesce(s.status, 'active') = 'active' AND s.enabled AND h.sourced_id IS NULL;
COMMENT ON VIEW roster_students_without_guardian IS
'Active students of the latest fetch without a guardian, parent or relative who has an email address or phone number. '
'Only for connections with parent_contact, because the others do not read contacts.';
COMMENT ON COLUMN roster_students_without_guardian.agents IS
'How many agents the SIS names for the student; 0 for none.';

CREATE VIEW roster_same_names WITH (security_invoker = true) AS
    SELECT l.connection, c.site, c.run, c.category, c.sourced_ids, c.after ->> 'given_name' AS given_name,
        c.after ->> 'family_name' AS family_name,
        c.after ->> 'identifier' AS identifier, c.after ->> 'email' AS email, c.person_id, n.id AS same_name, c.state
    FROM minga_roster_internal.latest_plans l
    JOIN minga_roster.changes c ON c.run = l.run AND c.action = 'create'
    CROSS JOIN LATERAL unnest(c.same_name) n (id);
COMMENT ON VIEW roster_same_names IS
'New people in each connection''s latest plan who have the same name and family of roles as an active person without '
'an identifier or email address. They may be one person listed twice, or two people with one name. Shows names and '
'addresses.';
COMMENT ON COLUMN roster_same_names.person_id IS 'The new person; NULL until the change is carried out.';
COMMENT ON COLUMN roster_same_names.same_name IS 'person_id of the existing person with that name.';
-- Who sees which rows. Each table is named once, with the least level that reads it and the column that says whose a
-- row is. PUBLIC may read the tables: without USAGE on the schema, which roster_grant gives, no role comes that far,
-- and row by row the policies ask for the level. No level writes to a table.

CREATE TABLE minga_roster_internal.table_levels (
    relation name NOT NULL PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('everyone', 'reader', 'owner', 'dba')),
    keyed_by name CHECK (keyed_by IN ('site', 'connection', 'run', 'relation', 'district')),
    CHECK ((keyed_by IS NULL) = (level IN ('everyone', 'dba')))
);
COMMENT ON TABLE minga_roster_internal.table_levels IS
'For each table of schema minga_roster the least level that may read its rows. everyone: rows of no site. dba: no one '
'else has SELECT.';
COMMENT ON COLUMN minga_roster_internal.table_levels.keyed_by IS
'The column that says whose the row is. Rows of a run are those of the run''s site, since the name of a connection may '
'be another site''s today.';

INSERT INTO minga_roster_internal.table_levels (relation, level, keyed_by) VALUES
    ('audit', 'owner', 'site'),
    ('changes', 'owner', 'site'),
    ('collections', 'reader', 'run'),
    ('column_owners', 'owner', 'connection'),
    ('conflict_candidates', 'owner', 'run'),
    ('conflict_pairs', 'owner', 'run'),
    ('connections', 'owner', 'site'),
    ('findings', 'reader', 'run'),
    ('link_changes', 'owner', 'run'),
    ('forgotten_people', 'dba', NULL),
    ('key_pairs', 'dba', NULL),
    ('links', 'owner', 'site'),
    ('match_decisions', 'owner', 'connection'),
    ('outbox', 'owner', 'site'),
    ('people_relations', 'owner', 'relation'),
    ('people_releases', 'owner', 'district'),
    ('planned_links', 'owner', 'run'),
    ('recipients', 'owner', 'connection'),
    ('role_levels', 'owner', 'district'),
    ('role_rules', 'everyone', NULL),
    ('run_counts', 'reader', 'run'),
    ('run_figures', 'reader', 'run'),
    ('run_findings', 'reader', 'run'),
    ('run_steps', 'reader', 'run'),
    ('runs', 'reader', 'site'),
    ('secrets', 'dba', NULL),
    ('server_facts', 'owner', 'connection'),
    ('sis', 'everyone', NULL),
    ('staged_orgs', 'owner', 'connection'),
    ('staged_users', 'owner', 'connection'),
    ('stages', 'owner', 'connection'),
    ('stored_values', 'owner', 'connection'),
    ('toggles', 'owner', 'connection'),
    ('tokens', 'dba', NULL),
    ('written_values', 'owner', 'connection');

-- Rows that are not a site's alone: a level is seen at its site, in its district, and by the role that has it; a people
-- relation and its releases by the relation's owner too.
CREATE POLICY levels ON role_levels FOR SELECT USING (
    site = ANY (ARRAY(SELECT minga_roster_internal.sites_of('owner')))
    OR district = ANY (ARRAY(SELECT minga_roster_internal.districts_of('owner')))
    OR pg_has_role(minga_roster_internal.holder(role, role_oid, origin), 'USAGE'));
CREATE POLICY levels ON people_releases FOR SELECT USING (
    district = ANY (ARRAY(SELECT minga_roster_internal.districts_of('owner')))
    OR pg_has_role((SELECT p.relowner FROM pg_class p WHERE p.oid = relation), 'USAGE'));
CREATE POLICY levels ON people_relations FOR SELECT USING (
    relation IN (SELECT c.people FROM minga_roster.connections c
        UNION SELECT r.relation FROM minga_roster.people_releases r)
    OR pg_has_role((SELECT p.relowner FROM pg_class p WHERE p.oid = relation), 'USAGE'));

-- The sites are found once for a query. Rows of a connection or run are found by what their own policies show.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT pg_catalog.format('CREATE POLICY levels ON minga_roster.%I FOR SELECT USING (%s)', t.relation,
            CASE t.keyed_by
                WHEN 'site' THEN sees_site
                WHEN 'connection' THEN
                    'connection = ANY (ARRAY(SELECT c.connection FROM minga_roster.connections c))'
                WHEN 'run' THEN pg_catalog.format('EXISTS (SELECT FROM minga_roster.runs r WHERE r.run = %I.run%s)',
                    t.relation, CASE t.level WHEN 'owner' THEN ' AND r.' || sees_site ELSE '' END)
            END)
        FROM minga_roster_internal.table_levels t
        -- An array finds rows by an index on the site, a hashed subquery is faster where there is none.
        CROSS JOIN LATERAL pg_catalog.format(CASE WHEN t.relation IN ('changes', 'links')
            THEN 'site = ANY (ARRAY(SELECT minga_roster_internal.sites_of(%L)))'
            ELSE 'site IN (SELECT minga_roster_internal.sites_of(%L))' END, t.level) AS sees_site
        WHERE t.keyed_by IN ('site', 'connection', 'run')
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE minga_roster.%I ENABLE ROW LEVEL SECURITY', t.relation)
        FROM minga_roster_internal.table_levels t
        WHERE t.level <> 'everyone'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
-- PUBLIC may call what asks for a level; docs/operations.md says how to give one. Without USAGE on the schema, which
-- roster_grant gives, no role comes that far. The rest is granted by the DBA.

REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster_internal FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster_internal FROM PUBLIC;

-- Tables, sequences, types and internal functions belong to minga_roster_dba. What may run with the rights of others,
-- or as machine code, stays with the superuser who creates the extension, so that no member of that role can replace
-- it: the schemas, functions in C (the door is one), views, what views and policies call, and make_people.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid
            FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster'
        )
        -- Sequences and row types go with their tables.
        SELECT format('ALTER TABLE %I.%I OWNER TO minga_roster_dba', n.nspname, c.relname)
        FROM members m JOIN pg_class c ON c.oid = m.objid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT format('ALTER TYPE %I.%I OWNER TO minga_roster_dba', n.nspname, t.typname)
        FROM members m JOIN pg_type t ON t.oid = m.objid JOIN pg_namespace n ON n.oid = t.typnamespace
            LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE m.classid = 'pg_type'::regclass AND t.typelem = 0 AND (c.oid IS NULL OR c.relkind = 'c')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO minga_roster_dba', p.oid::regprocedure)
        FROM members m JOIN pg_proc p ON p.oid = m.objid JOIN pg_namespace n ON n.oid = p.pronamespace
            JOIN pg_language l ON l.oid = p.prolang
        WHERE m.classid = 'pg_proc'::regclass AND n.nspname = 'minga_roster_internal' AND l.lanname <> 'c'
            AND p.proname <> 'make_people'
            AND NOT EXISTS (SELECT FROM pg_depend d
                WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                    AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass))
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        SELECT format('GRANT SELECT ON %I.%I TO minga_roster_dba WITH GRANT OPTION', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('minga_roster', 'minga_roster_internal') AND c.relkind = 'v'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
-- Members of the role grant others what these may call and read.
GRANT USAGE ON SCHEMA minga_roster TO minga_roster_dba WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster TO minga_roster_dba WITH GRANT OPTION;
-- Partitions of the stage are made there.
GRANT USAGE, CREATE ON SCHEMA minga_roster_internal TO minga_roster_dba;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster_internal TO minga_roster_dba;
GRANT EXECUTE ON FUNCTION minga_roster_internal.connection_status TO minga_roster_dba WITH GRANT OPTION;

-- What asks for a level, what policies let rows through of, and what views and policies call for anyone: the latter
-- tell no more than what the current user may know.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', p.oid::regprocedure)
        FROM pg_proc p JOIN minga_roster_internal.function_levels f ON f.function = p.proname
        WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
            AND f.level <> 'dba'
        UNION ALL
        SELECT format('GRANT SELECT ON minga_roster.%I TO PUBLIC', t.relation)
        FROM minga_roster_internal.table_levels t
        WHERE t.level <> 'dba'
        UNION ALL
        SELECT format('GRANT SELECT ON %s TO PUBLIC', c.oid::regclass)
        FROM pg_class c
        WHERE c.relkind = 'v' AND c.relnamespace = 'minga_roster'::regnamespace
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
GRANT SELECT ON minga_roster_internal.latest_plans TO PUBLIC;
GRANT EXECUTE ON FUNCTION minga_roster_internal.sites_of, minga_roster_internal.sees_all,
    minga_roster_internal.districts_of, minga_roster_internal.holder, minga_roster_internal.server_origin TO PUBLIC;
