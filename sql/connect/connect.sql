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

CREATE FUNCTION minga_roster_internal.has_links(connection text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    -- Where there are links of many connections, a planner expects to come upon one of them soon, and would read all.
    RETURN EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = has_links.connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.has_links(text) IS
'Whether a connection has links; looked up by the index, however many links others have.';

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
    -- What these are is told by the system, and may be another tomorrow.
    IF NOT FOUND OR found_name IN ('localtime', 'posixrules', 'Factory') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = CASE WHEN found_name IS NULL THEN format('time zone "%s" does not exist', time_zone)
                ELSE format('time zone "%s" names no place', time_zone) END,
            DETAIL = 'It must be the name of a place, such as "America/Denver", so that evenings follow '
                'daylight-saving time.',
            HINT = 'List the names: SELECT name FROM pg_timezone_names ORDER BY name.';
    END IF;
    RETURN minga_roster_internal.lasting_zone(found_name);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_time_zone(text) IS
'A time zone by its name in pg_timezone_names, in any letter case, by its lasting name; 22023 for anything else, '
'including offsets.';

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
        E'^[\\s\\u00a0\\u200b\\ufeff{}()<>"''\\[\\]]+|[\\s\\u00a0\\u200b\\ufeff{}()<>"''\\[\\]]+$', '', 'g');
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
    IF settings.scope ~ E'[^\\x21\\x23-\\x5b\\x5d-\\x7e ]' THEN
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
    IF settings.class_terms = '{}' OR (cardinality(settings.class_terms) > 1
        AND settings.class_terms && ARRAY['current', 'all']) THEN
        PERFORM minga_roster_internal.refuse_parameter('class_terms', settings.class_terms::text,
            'It must be "current", "all", or sourcedIds or titles of academic sessions, with commas between.',
            'The default is "current". SELECT sourced_id, title FROM minga_roster.academic_sessions shows them.');
    END IF;
    IF 'all' = ANY (settings.class_grades) THEN
        PERFORM minga_roster_internal.refuse_parameter('class_grades', settings.class_grades::text,
            'It must be grades, with commas between, or empty for all grades.',
            'For all grades: SELECT minga_roster.roster_configure(''...'', class_grades => '''').');
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
    IF octet_length(made.connection) > 63 OR made.connection IN ('smtp', 'forgotten') OR made.connection ~ E'^\\s|\\s$'
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

CREATE FUNCTION minga_roster_internal.words_of_list(parameter text, list text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF list IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(SELECT DISTINCT btrim(w) FROM unnest(CASE WHEN list LIKE '{%' THEN list::text[]
        ELSE string_to_array(list, ',') END) w WHERE btrim(w) <> '' ORDER BY 1);
EXCEPTION WHEN invalid_text_representation THEN
    PERFORM minga_roster_internal.refuse_parameter(parameter, list, 'It is not a list.',
        'Separate the words with commas, or give an array such as {"Fall, first half",Spring}.');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.words_of_list(text, text) IS
'The words of a list with commas between, or of an array as text; NULL for NULL.';

CREATE FUNCTION minga_roster_internal.scope_of(connection connections, preset sis) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN coalesce(connection.scope, preset.scope || CASE
        WHEN connection.birth_dates AND preset.scope LIKE '%/scope/roster-core.readonly%'
            THEN ' ' || substring(preset.scope FROM '[^ ]*/scope/') || 'roster-demographics.readonly'
        ELSE '' END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.scope_of(connections, sis) IS
'The OAuth 2.0 scope that a connection requests: its own, or the preset''s, with demographics if birth dates are on.';

CREATE FUNCTION minga_roster_internal.tell_class_terms(connection connections) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := ARRAY(SELECT format('"%s" (%s)', s.title, s.sourced_id)
        FROM minga_roster.academic_sessions s WHERE s.connection = tell_class_terms.connection.connection
            AND s.ended_at IS NULL ORDER BY s.start_date, s.sourced_id);
    unknown CONSTANT text := (SELECT string_agg(format('"%s"', t.word), ', ' ORDER BY t.word)
        FROM unnest(connection.class_terms) t (word)
        WHERE lower(btrim(t.word)) NOT IN ('current', 'all')
            AND NOT EXISTS (SELECT FROM minga_roster.academic_sessions s
                WHERE s.connection = tell_class_terms.connection.connection
                AND lower(btrim(t.word)) IN (lower(s.sourced_id COLLATE "default"), lower(btrim(s.title)))));
BEGIN
    IF unknown IS NOT NULL AND known <> '{}' THEN
        RAISE WARNING USING
            MESSAGE = format('connection "%s" has no academic session %s', connection.connection, unknown),
            DETAIL = format('The SIS lists: %s.', array_to_string(known[:20], ', ')
                || CASE WHEN cardinality(known) > 20 THEN ', …' ELSE '' END),
            HINT = 'Correct class_terms: a sync ends the classes of academic sessions that are not chosen.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_class_terms(connections) IS
'A WARNING if class_terms names an academic session that the SIS has not listed; none before the first one is known.';

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
    changed := jsonb_populate_record(former, given - ARRAY['people', 'time_zone', 'app_name', 'token_url',
        'class_terms', 'class_grades']);
    changed.class_terms := coalesce(minga_roster_internal.words_of_list('class_terms', given ->> 'class_terms'),
        changed.class_terms);
    changed.class_grades := coalesce(minga_roster_internal.words_of_list('class_grades', given ->> 'class_grades'),
        changed.class_grades);
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
        OR (changed.delta, changed.parent_contact, changed.clear_parent_contact, changed.client_id, changed.classes,
            changed.contacts, changed.birth_dates, changed.class_terms, changed.class_grades)
            IS DISTINCT FROM (former.delta, former.parent_contact, former.clear_parent_contact, former.client_id,
                former.classes, former.contacts, former.birth_dates, former.class_terms, former.class_grades)
    THEN
        changed.newest_modified := NULL;
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id, changed.token_url, changed.client_id, changed.auth,
        minga_roster_internal.scope_of(changed, (SELECT s FROM minga_roster.sis s WHERE s.sis = changed.sis)))
        IS DISTINCT FROM (former.base_url, former.sis, former.school_id, former.token_url, former.client_id,
            former.auth,
            minga_roster_internal.scope_of(former, (SELECT s FROM minga_roster.sis s WHERE s.sis = former.sis)))
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
        classes = changed.classes, contacts = changed.contacts, birth_dates = changed.birth_dates,
        class_terms = changed.class_terms, class_grades = nullif(changed.class_grades, '{}'),
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
    IF changed.birth_dates AND (given ? 'birth_dates' OR changed.people <> former.people) THEN
        PERFORM minga_roster_internal.tell_birth_date_column(changed);
    END IF;
    IF given ? 'class_terms' THEN
        PERFORM minga_roster_internal.tell_class_terms(changed);
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
    clear_parent_contact boolean DEFAULT NULL, guard_update_percent integer DEFAULT NULL,
    classes boolean DEFAULT NULL, contacts boolean DEFAULT NULL, birth_dates boolean DEFAULT NULL,
    class_terms text DEFAULT NULL, class_grades text DEFAULT NULL)
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

CREATE FUNCTION minga_roster_internal.check_email(email text, function name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF email IS NULL
        OR email !~ E'^[^@\\s[:cntrl:]<>(),;:"\\[\\]\\\\]+@'
            '([^@\\s[:cntrl:]<>(),;:"\\[\\]\\\\.]+[.])+[^@\\s[:cntrl:]<>(),;:"\\[\\]\\\\.]+$'
        OR octet_length(email) > 254
        OR email <> minga_roster_internal.readable(email) THEN
        PERFORM minga_roster_internal.refuse_parameter('email', email,
            'It must be one address, such as "it@mesa.example": a name, one @ and a domain with a dot, without spaces.',
            format('Call %s once for each recipient.', function));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_email(text, name) IS 'Raises 22023 unless this is one mail address.';

CREATE FUNCTION minga_roster_internal.warn_of_mail_settings() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unset text := minga_roster_internal.mail_settings_missing();
BEGIN
    IF unset IS NOT NULL THEN
        RAISE WARNING USING
            MESSAGE = 'mail cannot be sent yet',
            DETAIL = format('Not set: %s.', unset),
            HINT = 'Run LOAD ''minga_roster''; ALTER SYSTEM SET minga_roster.smtp_url = '
                '''smtp://mail.mesa.example:587''; ALTER SYSTEM SET minga_roster.smtp_from = '
                '''roster@mesa.example''; SELECT pg_reload_conf().';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.warn_of_mail_settings() IS 'A WARNING if no mail server is set.';

CREATE FUNCTION minga_roster_internal.do_notify(connection text, email text, send text, manual boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    PERFORM minga_roster_internal.check_email(email, 'roster_notify');
    IF send IS NULL OR send NOT IN ('always', 'changes', 'problems', 'decisions', 'failures', 'never') THEN
        PERFORM minga_roster_internal.refuse_parameter('send', send,
            'Valid values are "always", "changes", "problems", "decisions", "failures" and "never".',
            'Use "problems" for all that needs someone, "decisions" or "failures" for a part of it, "changes" for mail '
                'about changes too, "never" to keep the address and send nothing.');
    END IF;
    -- Letter case is kept as given, but one mailbox is one recipient.
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND lower(r.email) = lower(do_notify.email);
    INSERT INTO minga_roster.recipients (connection, email, send, manual)
    VALUES (known.connection, do_notify.email, do_notify.send, coalesce(do_notify.manual, false));
    IF send <> 'never' THEN
        PERFORM minga_roster_internal.warn_of_mail_settings();
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_notify(text, text, text, boolean) IS 'Implements roster_notify.';

CREATE FUNCTION roster_notify(connection text, email text, send text DEFAULT 'always', manual boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_notify(text, text, text, boolean) IS
'Adds or changes a recipient of a connection''s reports. send: "always" after each evening run, "problems" if '
'something needs someone, "decisions" or "failures" for a part of that, "changes" also if people changed, "never". '
'manual: after manual runs too. A WARNING says '
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
