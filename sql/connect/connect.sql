-- Connections and what belongs to them: toggles, secrets, recipients. Bad input is refused before anything is stored. Functions
-- that are handed a secret hide the statement first, so that neither pg_stat_activity nor an error's STATEMENT line shows it.

CREATE FUNCTION minga_roster_internal.secret_origins(base_url text, token_url text) RETURNS text
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_secret_origins';
COMMENT ON FUNCTION minga_roster_internal.secret_origins(text, text) IS
'Where the secret of a connection may go: scheme, host and port of its url and of its token_url, which is the url''s '
    'where there is none; empty for NULL, the mail password.';

CREATE FUNCTION minga_roster_internal.seal(row_id uuid, connection text, origins text, secret text) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_seal';
COMMENT ON FUNCTION minga_roster_internal.seal(uuid, text, text, text) IS
'Seals a secret with the key of minga_roster.key_file for a row of secrets, for the connection and for its origins; '
    'it opens for no other, and in the library only. F0000 where there is no good key file.';

CREATE FUNCTION minga_roster_internal.known_connection(connection text) RETURNS connections
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections;
BEGIN
    IF connection IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no connection is named',
            HINT = 'SELECT connection FROM minga_roster.connections WHERE retired_at IS NULL lists those there are.';
    END IF;
    SELECT * INTO known FROM minga_roster.connections c WHERE c.connection = known_connection.connection;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('connection "%s" does not exist', connection),
            HINT = 'SELECT connection FROM minga_roster.connections WHERE retired_at IS NULL lists those there are; roster_connect makes one.';
    END IF;
    IF known.retired_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('connection "%s" does not exist any more', connection),
            DETAIL = format('roster_disconnect retired it at %s.', known.retired_at),
            HINT = 'roster_connect makes it again.';
    END IF;
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_connection(text) IS 'The row of a connection; 42704 for an unknown or retired one, 22004 for NULL.';

CREATE FUNCTION minga_roster_internal.categories() RETURNS text[]
LANGUAGE sql IMMUTABLE RETURN ARRAY['student', 'teacher', 'staff', 'admin'];
COMMENT ON FUNCTION minga_roster_internal.categories() IS 'What the toggles speak of.';

CREATE FUNCTION minga_roster_internal.known_sis(sis text) RETURNS sis
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    preset minga_roster.sis;
BEGIN
    SELECT * INTO preset FROM minga_roster.sis s WHERE s.sis = known_sis.sis;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('student information system "%s" is not known', coalesce(sis, 'NULL')),
            DETAIL = format('Known are %s.', (SELECT string_agg(format('"%s" (%s)', s.sis, s.title), ', ' ORDER BY s.sis) FROM minga_roster.sis s)),
            HINT = 'Take one of these, or add the product as a row of minga_roster.sis with rows in minga_roster.role_rules.';
    END IF;
    RETURN preset;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_sis(text) IS 'The preset of a student information system; 42704 for one that is not known, with those that are.';

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
            MESSAGE = format('time zone "%s" is not known', time_zone),
            DETAIL = 'The name of a place is needed, as in "America/Denver", so that evenings follow daylight-saving time.',
            HINT = 'SELECT name FROM pg_timezone_names ORDER BY name lists them.';
    END IF;
    RETURN found_name;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_time_zone(text) IS 'A time zone by its name in pg_timezone_names, whatever the case; 22023 for anything else, offsets too.';

CREATE FUNCTION minga_roster_internal.warn_of_time_zone(connection text, time_zone text, given boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF time_zone ~* '^(Etc/)?(UTC|UCT|GMT([-+]?0)?|Universal|Zulu|Greenwich)$' THEN
        IF NOT given THEN
            RAISE WARNING USING
                MESSAGE = format('time zone of connection "%s" is "%s"', connection, time_zone),
                DETAIL = 'None was given, so that the server''s is taken: evenings would begin and end by it and not '
                    'by the school''s clock.',
                HINT = format('SELECT minga_roster.roster_configure(%L, time_zone => ''America/Denver'') sets another.',
                    connection);
        END IF;
    ELSIF time_zone ~* '^(EST|MST|(Etc/)?GMT[-+][0-9]+)$' THEN
        RAISE WARNING USING
            MESSAGE = format('time zone "%s" of connection "%s" has no daylight-saving time', time_zone, connection),
            DETAIL = 'Where the school''s clocks change, evenings begin and end an hour off all summer.',
            HINT = format('Name the place: SELECT minga_roster.roster_configure(%L, time_zone => %L).', connection,
                CASE upper(time_zone) WHEN 'EST' THEN 'America/New_York' ELSE 'America/Denver' END);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.warn_of_time_zone(text, text, boolean) IS
'Warns of a time zone that is no school''s: UTC where the server''s was taken, and fixed offsets.';

CREATE FUNCTION minga_roster_internal.refuse_parameter(parameter text, value text, expected text, advice text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
        MESSAGE = format('invalid value for %s: "%s"', parameter, value),
        DETAIL = expected,
        HINT = advice;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.refuse_parameter(text, text, text, text) IS 'Raises 22023 for the value of a parameter.';

CREATE FUNCTION minga_roster_internal.clean_school_id(school_id text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cleaned text := regexp_replace(school_id, '^[\s\u00a0\u200b\ufeff{}()<>"''\[\]]+|[\s\u00a0\u200b\ufeff{}()<>"''\[\]]+$', '', 'g');
BEGIN
    IF cleaned = '' OR cleaned ~ '[[:cntrl:]]' OR cleaned <> minga_roster_internal.readable(cleaned) THEN
        PERFORM minga_roster_internal.refuse_parameter('school_id', school_id, 'The sourcedId of the school is needed, as in "CE8DF1FC-3242-4716-A5F5-5A957F86DC36".',
            'Ask the school for its School ID; roster_test_connection lists the schools that the key can see.');
    END IF;
    RETURN cleaned;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.clean_school_id(text) IS 'A School ID without the white space, quotes and brackets around it that come with pasting; its case is kept. 22023 where nothing is left.';

CREATE FUNCTION minga_roster_internal.clean_token_url(token_url text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_clean_token_url';
COMMENT ON FUNCTION minga_roster_internal.clean_token_url(text) IS
'Normal form of a token URL; 22023 for what is none, or leads to a host or port that is not allowed. The value is '
    'not repeated in the error, since credentials may be in it.';

CREATE FUNCTION minga_roster_internal.clean_secret(secret text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF secret IS NULL OR secret = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret is empty',
            HINT = 'Copy the client secret as the student information system shows it (the password, for the mail server).';
    END IF;
    IF secret ~ '^\s|\s$|[[:cntrl:]]' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the secret has white space around it or control characters in it',
            DETAIL = format('It has %s characters.', length(secret)),
            HINT = 'Copy it again, without a blank or the end of a line.';
    END IF;
    RETURN secret;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.clean_secret(text) IS 'The secret as it is; 22023 for an empty one and for one with white space around it, which is a slip of pasting.';

CREATE FUNCTION minga_roster_internal.check_settings(settings connections) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    preset minga_roster.sis := minga_roster_internal.known_sis(settings.sis);
BEGIN
    IF settings.auth NOT IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer') THEN
        PERFORM minga_roster_internal.refuse_parameter('auth', settings.auth,
            'Known are "oauth2" (client credentials), "oauth1_sha256" and "oauth1_sha1" (each request signed) and "bearer" (the client secret is the token).',
            format('The default for "%s" is "%s".', preset.sis, preset.auth));
    END IF;
    IF settings.scope ~ '[^\x21\x23-\x5b\x5d-\x7e ]' THEN
        PERFORM minga_roster_internal.refuse_parameter('scope', settings.scope, 'Words of ASCII without quotes and backslashes are needed, separated by blanks.',
            'Copy it as the student information system shows it; an empty scope sends none.');
    END IF;
    IF settings.site = '' OR minga_roster_internal.readable(settings.site) <> settings.site THEN
        PERFORM minga_roster_internal.refuse_parameter('site', settings.site, 'A name that is not empty and holds no control characters is needed.',
            'It is the value of the column "site" of the school''s people.');
    END IF;
    IF settings.client_id = '' OR settings.client_id ~ '[[:cntrl:]]' OR (settings.client_id IS NULL AND settings.auth <> 'bearer') THEN
        PERFORM minga_roster_internal.refuse_parameter('client_id', settings.client_id, 'A client id that is not empty and holds no control characters is needed.',
            'Copy the Client ID as the student information system shows it.');
    END IF;
    IF settings.guard_percent NOT BETWEEN 0 AND 100 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_percent', settings.guard_percent::text, 'A percentage from 0 to 100 is needed.',
            'The guard holds archives back when more than this share of a category''s people would go; 10 is the default.');
    END IF;
    IF settings.guard_update_percent NOT BETWEEN 0 AND 100 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_update_percent', settings.guard_update_percent::text,
            'A percentage from 0 to 100 is needed.',
            'The guard holds updates that would change one column for more than this share of a category; 75 is the '
                'default, 100 holds none.');
    END IF;
    IF settings.guard_floor < 0 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_floor', settings.guard_floor::text, 'A number of people, 0 or more, is needed.',
            'The guard lets archives of up to this many people of a category pass; 5 is the default.');
    END IF;
    IF settings.guard_grace NOT BETWEEN 1 AND 30 THEN
        PERFORM minga_roster_internal.refuse_parameter('guard_grace', settings.guard_grace::text, 'A number of complete full reads from 1 to 30 is needed.',
            'Whoever is absent from so many of them is archived; 1 is the default.');
    END IF;
    IF settings.season_percent NOT BETWEEN 0 AND 99 THEN
        PERFORM minga_roster_internal.refuse_parameter('season_percent', settings.season_percent::text, 'A percentage from 0 to 99 is needed.',
            'In the season it takes the place of guard_percent; 60 is the default. A category that goes as a whole is always held.');
    END IF;
    IF lower_inf(settings.season_dates) OR upper_inf(settings.season_dates) THEN
        PERFORM minga_roster_internal.refuse_parameter('season_dates', settings.season_dates::text, 'A range with a first and a last date is needed.',
            'For example season_dates => ''[2026-08-01,2026-09-15]''; ''empty'' takes it away.');
    END IF;
    IF lower_inf(settings.freeze_dates) OR upper_inf(settings.freeze_dates) THEN
        PERFORM minga_roster_internal.refuse_parameter('freeze_dates', settings.freeze_dates::text, 'A range with a first and a last date is needed.',
            'For example freeze_dates => ''[2026-06-15,2026-08-10]''; ''empty'' takes it away.');
    END IF;
    IF settings.page_size NOT BETWEEN 1 AND preset.page_size_limit THEN
        PERFORM minga_roster_internal.refuse_parameter('page_size', settings.page_size::text,
            format('A number of rows from 1 to %s is needed for "%s".', preset.page_size_limit, preset.sis),
            format('The default for this product is %s.', preset.page_size));
    END IF;
    IF settings.max_requests NOT BETWEEN 1 AND preset.max_requests_limit THEN
        PERFORM minga_roster_internal.refuse_parameter('max_requests', settings.max_requests::text,
            format('A number of requests at a time from 1 to %s is needed for "%s".', preset.max_requests_limit, preset.sis),
            format('The default for this product is %s; the school or its vendor says what it bears.', preset.max_requests));
    END IF;
    IF settings.full_every NOT BETWEEN 1 AND 30 THEN
        PERFORM minga_roster_internal.refuse_parameter('full_every', settings.full_every::text, 'A number of evenings from 1 to 30 is needed.',
            'Who is gone is seen in full reads only; 7 is the default.');
    END IF;
    IF settings.sync_at = settings.window_end THEN
        PERFORM minga_roster_internal.refuse_parameter('window_end', settings.window_end::text,
            format('An evening lasts from sync_at (%s) to window_end; the two must differ.', settings.sync_at),
            'The defaults are 19:00 and 06:00.');
    END IF;
    IF settings.clear_parent_contact AND NOT settings.parent_contact THEN
        PERFORM minga_roster_internal.refuse_parameter('clear_parent_contact', 'true', 'parent_contact is off, so that no contacts are read.',
            'Turn on both, or turn off both.');
    END IF;
    IF settings.credentials_expire = '-infinity' THEN
        PERFORM minga_roster_internal.refuse_parameter('credentials_expire', settings.credentials_expire::text, 'A date is needed, or "infinity" for never.',
            'Campus shows when the credentials of a connection expire.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_settings(connections) IS 'Raises 22023 (42704 for the SIS) where a setting of a connection is out of range, with the range in the detail.';

CREATE FUNCTION minga_roster_internal.store_secret(connection text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
    origins text := coalesce((SELECT minga_roster_internal.secret_origins(c.base_url, c.token_url)
        FROM minga_roster.connections c WHERE c.connection = store_secret.connection), '');
BEGIN
    INSERT INTO minga_roster.secrets (connection, binding, sealed)
    VALUES (store_secret.connection, row_id, minga_roster_internal.seal(row_id, store_secret.connection, origins,
        minga_roster_internal.clean_secret(secret)))
    ON CONFLICT ON CONSTRAINT secrets_pkey DO UPDATE SET binding = excluded.binding, sealed = excluded.sealed;
    DELETE FROM minga_roster.tokens t WHERE t.connection = store_secret.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.store_secret(text, text) IS
'Seals and stores the secret of a connection for the servers that it goes to now, or the mail password under "smtp", '
    'and forgets the token that the former one got.';

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
            HINT = format('If the new address is right, set it again: SELECT minga_roster.roster_set_secret(%L, '
                '''...'').', former.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.forget_secret(connections, connections) IS
'Forgets the secret of a connection whose url or token_url changes to another scheme, host or port, with a WARNING: '
    'a secret goes to the servers that it was given for.';

CREATE FUNCTION minga_roster_internal.claim_connection(known connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    open_run minga_roster.runs;
BEGIN
    -- A worker holds this lock while it works for the connection, and for a moment longer than its run is open, which
    -- nobody who waited for that run should stumble over.
    FOR attempt IN REVERSE 40..0 LOOP
        IF minga_roster_internal.try_run_lock('connection', known.number) THEN
            RETURN;
        END IF;
        SELECT * INTO open_run FROM minga_roster.runs r WHERE r.connection = known.connection AND r.state = 'running' ORDER BY r.run DESC LIMIT 1;
        EXIT WHEN FOUND OR attempt = 0;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = 'object_in_use',
        MESSAGE = format('connection "%s" is at work', known.connection),
        DETAIL = CASE WHEN open_run.run IS NULL THEN 'A worker holds its lock.'
            ELSE format('Run %s (%s) is running since %s.', open_run.run, open_run.kind, open_run.started_at) END,
        HINT = CASE WHEN open_run.run IS NULL THEN 'Try again in a moment.'
            ELSE format('Wait for its end, or stop it: SELECT minga_roster.roster_cancel(%s).', open_run.run) END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_connection(connections) IS 'Keeps workers away from a connection until the end of the transaction; 55006 while a run of it is running.';

CREATE FUNCTION minga_roster_internal.address_of(preset sis, url text, app_name text, is_stored boolean DEFAULT false, OUT base_url text,
    OUT token_url text, OUT app_name_used text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.base_url, n.token_url, n.app_name
    FROM minga_roster_internal.normalize_url(url, (preset).base_paths, (preset).token_path, app_name, is_stored) AS n
$$;
COMMENT ON FUNCTION minga_roster_internal.address_of(sis, text, text, boolean) IS 'Normal form of a pasted URL by the path templates of a '
    'preset, with the token URL and App Name that follow from it.';

CREATE FUNCTION minga_roster_internal.settle_token_url(auth text, given text, derived text, preset sis) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token_url text := coalesce(minga_roster_internal.clean_token_url(nullif(btrim(given), '')), derived);
BEGIN
    IF auth <> 'oauth2' THEN
        IF btrim(given) <> '' THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('token_url is not used with auth "%s"', auth),
                DETAIL = 'No token is asked for: the client secret signs each request, or is the token itself.',
                HINT = 'Leave token_url out, or take auth => ''oauth2''.';
        END IF;
        RETURN NULL;
    END IF;
    IF token_url IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'token_url is needed',
            DETAIL = format('For "%s" it does not follow from the URL.', preset.sis),
            HINT = 'Give token_url => ''https://...'' as the student information system shows it.';
    END IF;
    RETURN token_url;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_token_url(text, text, text, sis) IS
'The token URL of a connection: the one given, else the one that follows from preset and URL, and none where auth needs none. 22004 where one is needed and neither is there, 22023 where one is given and none is needed.';

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
            MESSAGE = format('roster_connect needs %s', missing),
            DETAIL = 'Required are connection, url, client_id (but for auth "bearer"), school_id and people.',
            HINT = 'Address, Client ID and School ID come from the school; people names the relation with its people.';
    END IF;
    IF octet_length(made.connection) > 63 OR made.connection = 'smtp' OR made.connection ~ '^\s|\s$'
        OR minga_roster_internal.readable(made.connection) <> made.connection THEN
        PERFORM minga_roster_internal.refuse_parameter('connection', made.connection,
            'A name of 1 to 63 bytes is needed, without white space around it or control characters; "smtp" is the name of the mail password.',
            'Take the name of the school, as in "mesa-high".');
    END IF;
    preset := minga_roster_internal.known_sis(coalesce(made.sis, 'infinite_campus'));
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = format('relation "%s" does not exist', given ->> 'people'),
            HINT = format('SELECT minga_roster.roster_create_people(%L, owner => ''people_owner'') makes a people '
                'table; or name the table or '
                'view that holds the people.', given ->> 'people');
    END IF;

    made.site := coalesce(btrim(made.site), made.connection);
    made.district := nullif(btrim(made.district), '');
    made.sis := preset.sis;
    made.auth := coalesce(made.auth, preset.auth);
    made.client_id := nullif(btrim(made.client_id), '');
    made.scope := btrim(made.scope);
    made.school_id := minga_roster_internal.clean_school_id(made.school_id);
    made.people := relation;
    SELECT a.base_url, a.token_url, a.app_name_used INTO made.base_url, made.token_url, made.app_name
    FROM minga_roster_internal.address_of(preset, given ->> 'url', nullif(btrim(made.app_name), '')) AS a;
    -- What the server goes by when a session has set nothing.
    made.time_zone := minga_roster_internal.known_time_zone(coalesce(made.time_zone,
        (SELECT s.reset_val FROM pg_settings s WHERE s.name = 'TimeZone')));
    PERFORM minga_roster_internal.check_settings(made);
    made.token_url := minga_roster_internal.settle_token_url(made.auth, given ->> 'token_url', made.token_url, preset);

    PERFORM minga_roster_internal.require_people_owner(made.people);
    IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = made.people) THEN
        PERFORM minga_roster_internal.do_attach_people(made.people, '{}', '{}', '{}');
    ELSE
        PERFORM minga_roster_internal.tell_obstacles(made.people);
    END IF;
    -- A retired connection of the name makes room, with its links.
    DELETE FROM minga_roster.connections c WHERE c.connection = made.connection AND c.retired_at IS NOT NULL;
    INSERT INTO minga_roster.connections (connection, site, district, sis, base_url, token_url, auth, client_id, app_name,
        school_id, people, time_zone, unproven_since, scope)
    VALUES (made.connection, made.site, made.district, made.sis, made.base_url, made.token_url, made.auth, made.client_id,
        made.app_name, made.school_id, made.people, made.time_zone, minga_roster_internal.clock(), made.scope)
    ON CONFLICT ON CONSTRAINT connections_pkey DO NOTHING
    RETURNING * INTO made;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = format('connection "%s" already exists', given ->> 'connection'),
            HINT = 'Change it with roster_configure and roster_set_secret, or take another name.';
    END IF;
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
'roster_connect behind the door: given has the arguments that are not NULL, by name; relation is people as the caller '
    'would resolve it.';

CREATE FUNCTION roster_connect(connection text, url text DEFAULT NULL, client_id text DEFAULT NULL, client_secret text DEFAULT NULL,
    school_id text DEFAULT NULL, app_name text DEFAULT NULL, people text DEFAULT NULL, site text DEFAULT NULL, district text DEFAULT NULL,
    time_zone text DEFAULT NULL, sis text DEFAULT 'infinite_campus', auth text DEFAULT NULL, token_url text DEFAULT NULL, scope text DEFAULT NULL)
RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door_to_people';
COMMENT ON FUNCTION roster_connect IS
'Makes a connection of a site to its SIS and returns it. Required: connection (1 to 63 bytes), url (as pasted: too long, too short, the token URL), client_id (but for auth bearer), school_id and people (a table or view; attached when it is not yet). client_secret may follow by roster_set_secret; app_name is left out where the URL tells it; site defaults to the connection''s name, time_zone to the server''s TimeZone, auth (oauth2, oauth1_sha256, oauth1_sha1, bearer), token_url and scope to what the preset says; an empty scope sends none. The connection is unproven: its first sync holds archives. Errors: 22004 what is missing, 22023 a bad value, 42704 an unknown SIS, 42710 an existing name, 42P01, 42P16, 42501 the people relation, F0000 the key file. Nothing is stored unless all is. The statement is hidden from pg_stat_activity and errors, yet log_statement, log_min_duration_statement and a mistyped function or parameter name would log it.';

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
                HINT = format('SELECT minga_roster.roster_create_people(%L, owner => ''people_owner'') makes a '
                    'people table; or name the table or '
                'view that holds the people.', given ->> 'people');
        END IF;
        changed.people := relation;
    END IF;
    PERFORM minga_roster_internal.check_settings(changed);

    preset := minga_roster_internal.known_sis(changed.sis);
    IF given ?| ARRAY['url', 'sis', 'app_name', 'token_url', 'auth'] THEN
        SELECT a.token_url INTO former_token_url
        FROM minga_roster_internal.address_of(minga_roster_internal.known_sis(former.sis), former.base_url, former.app_name, true) AS a;
        SELECT a.base_url, a.token_url, a.app_name_used INTO changed.base_url, changed.token_url, changed.app_name
        FROM minga_roster_internal.address_of(preset, coalesce(given ->> 'url', former.base_url),
            CASE WHEN given ? 'app_name' THEN nullif(btrim(given ->> 'app_name'), '')
                WHEN NOT given ? 'url' THEN former.app_name END) AS a;
        IF NOT given ? 'token_url' AND former.token_url IS DISTINCT FROM former_token_url THEN
            -- Somebody gave it.
            changed.token_url := coalesce(former.token_url, changed.token_url);
        END IF;
        changed.token_url := minga_roster_internal.settle_token_url(changed.auth, given ->> 'token_url', changed.token_url,
            preset);
    END IF;

    IF (changed.site, changed.people) <> (former.site, former.people)
        AND EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = former.connection)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" cannot move to another site or people relation', former.connection),
            DETAIL = format('Links to people of site "%s" in "%s": %s.', former.site, former.people,
                (SELECT count(*) FROM minga_roster.links l WHERE l.connection = former.connection)),
            HINT = 'Retire it with roster_disconnect (people stay) and make another with roster_connect.';
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id, changed.site, changed.people)
        <> (former.base_url, former.sis, former.school_id, former.site, former.people)
    THEN
        PERFORM minga_roster_internal.claim_connection(former);
    END IF;
    -- Who decides whose people are written, and from which SIS, has a say over them.
    IF (changed.people, changed.site, changed.base_url, changed.sis, changed.school_id)
        <> (former.people, former.site, former.base_url, former.sis, former.school_id)
    THEN
        PERFORM minga_roster_internal.require_people_owner(changed.people);
    END IF;
    IF changed.people <> former.people THEN
        IF NOT EXISTS (SELECT FROM minga_roster.people_relations p WHERE p.relation = changed.people) THEN
            PERFORM minga_roster_internal.do_attach_people(changed.people, '{}', '{}', '{}');
        ELSE
            PERFORM minga_roster_internal.tell_obstacles(changed.people);
        END IF;
    END IF;
    IF given ? 'clear_parent_contact' AND changed.clear_parent_contact
        AND NOT (SELECT p.columns ? 'parent_rule' FROM minga_roster.people_relations p
            WHERE p.relation = changed.people) THEN
        PERFORM minga_roster_internal.refuse_parameter('clear_parent_contact', 'true',
            format('"%s" has no column parent_rule, which tells the contacts that a roster wrote from the school''s own.', changed.people),
            'Add the column, of type text, and attach the relation again with roster_attach_people.');
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id) <> (former.base_url, former.sis, former.school_id) THEN
        changed.unproven := true;
        changed.unproven_since := minga_roster_internal.clock();
        changed.filter_unusable := false;
        changed.school_name := NULL;
    END IF;
    -- What was not asked for until now was not read.
    IF changed.unproven
        OR (changed.delta, changed.parent_contact, changed.clear_parent_contact, changed.client_id)
            IS DISTINCT FROM (former.delta, former.parent_contact, former.clear_parent_contact, former.client_id)
    THEN
        changed.newest_modified := NULL;
    END IF;
    IF (changed.base_url, changed.sis, changed.school_id, changed.token_url, changed.client_id, changed.auth, changed.scope)
        IS DISTINCT FROM (former.base_url, former.sis, former.school_id, former.token_url, former.client_id, former.auth, former.scope)
    THEN
        DELETE FROM minga_roster.tokens t WHERE t.connection = former.connection;
    END IF;
    IF (changed.base_url, changed.token_url, changed.sis)
        IS DISTINCT FROM (former.base_url, former.token_url, former.sis) THEN
        DELETE FROM minga_roster.server_facts f WHERE f.connection = former.connection;
    END IF;
    PERFORM minga_roster_internal.forget_secret(former, changed);
    UPDATE minga_roster.connections c
    SET site = changed.site, district = changed.district, sis = changed.sis, base_url = changed.base_url, token_url = changed.token_url,
        auth = changed.auth, scope = changed.scope, client_id = changed.client_id, app_name = changed.app_name,
        school_id = changed.school_id, people = changed.people, time_zone = changed.time_zone, sync_at = changed.sync_at,
        window_end = changed.window_end, parent_contact = changed.parent_contact,
        clear_parent_contact = changed.clear_parent_contact, guard_percent = changed.guard_percent,
        guard_floor = changed.guard_floor, guard_update_percent = changed.guard_update_percent,
        page_size = changed.page_size, max_requests = changed.max_requests,
        credentials_expire = changed.credentials_expire, guard_grace = changed.guard_grace, season_dates = changed.season_dates,
        season_percent = changed.season_percent, freeze_dates = changed.freeze_dates, unproven = changed.unproven, unproven_since = changed.unproven_since,
        delta = changed.delta, full_every = changed.full_every, newest_modified = changed.newest_modified,
        filter_unusable = changed.filter_unusable, school_name = changed.school_name,
        -- An evening that had passed by the new hours was none by the old ones, so it was not missed.
        enabled_at = CASE WHEN c.automatic AND (changed.sync_at, changed.window_end, changed.time_zone)
                              <> (former.sync_at, former.window_end, former.time_zone)
                          THEN minga_roster_internal.clock() ELSE c.enabled_at END
    WHERE c.connection = former.connection
    RETURNING * INTO changed;
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
'roster_configure behind the door: given has the arguments that are not NULL, by name; relation is people as the caller '
    'would resolve it.';

CREATE FUNCTION roster_configure(connection text, url text DEFAULT NULL, client_id text DEFAULT NULL, school_id text DEFAULT NULL,
    app_name text DEFAULT NULL, people text DEFAULT NULL, site text DEFAULT NULL, district text DEFAULT NULL, time_zone text DEFAULT NULL,
    sis text DEFAULT NULL, auth text DEFAULT NULL, token_url text DEFAULT NULL, sync_at time DEFAULT NULL, window_end time DEFAULT NULL,
    parent_contact boolean DEFAULT NULL, guard_percent integer DEFAULT NULL, guard_floor integer DEFAULT NULL, page_size integer DEFAULT NULL,
    max_requests integer DEFAULT NULL, credentials_expire date DEFAULT NULL, guard_grace integer DEFAULT NULL, season_dates daterange DEFAULT NULL,
    season_percent integer DEFAULT NULL, freeze_dates daterange DEFAULT NULL,
    delta boolean DEFAULT NULL, full_every integer DEFAULT NULL, scope text DEFAULT NULL,
    clear_parent_contact boolean DEFAULT NULL, guard_update_percent integer DEFAULT NULL)
RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door_to_people';
COMMENT ON FUNCTION roster_configure IS
'Changes settings of a connection and returns it; NULL leaves a setting as it is. An empty district takes it out of '
    'its district; an empty token_url goes back to what the preset says, and an empty scope sends none. A changed '
    'sis brings its auth, unless one is given. sync_at and window_end are local times of time_zone; guard_percent is '
    '0 to 100, guard_floor a number of people, guard_update_percent (75; 0 to 100) the share of a category for which '
    'updates of one column are held, page_size a number of rows and max_requests one of requests, up to what the SIS '
    'bears; credentials_expire is when the school''s credentials end. guard_grace is the number of complete full '
    'reads, 1 to 30, that have to miss somebody before he is archived; season_dates is a range of local dates on '
    'which season_percent (0 to 99) takes the place of guard_percent and of the half; freeze_dates one on which all '
    'archives are held; ''empty'' takes a range away. delta (off) lets evenings ask only for students and contacts '
    'that changed, with a full read every full_every evenings (7; 1 to 30). clear_parent_contact (off; needs '
    'parent_contact) takes a contact that a roster wrote away once the SIS names none for the student. A changed '
    'url, sis, school_id, client_id, auth, token_url or scope forgets the token; a changed url, sis or school_id '
    'makes the connection unproven: its next full sync holds archives. Errors: 42704 an unknown connection or SIS, '
    '22023 a bad value, with the range; 55000 moving site or people once people are linked; 55006 changing url, sis, '
    'school_id, site or people while a run is running; 42P01, 42P16, 42501 the people relation.';

CREATE FUNCTION minga_roster_internal.do_toggle(connection text, category text, roster boolean, auto_update boolean, archive boolean)
RETURNS SETOF toggles
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    idle text[];
BEGIN
    IF category <> ALL (minga_roster_internal.categories()) THEN
        PERFORM minga_roster_internal.refuse_parameter('category', category, 'There are "student", "teacher", "staff" and "admin".',
            'Leave it out to mean all four.');
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
            MESSAGE = format('nobody of "%s" will be archived', array_to_string(idle, '", "')),
            DETAIL = 'While the roster toggle of a category is off, its people are not changed; the archive toggle '
                'is kept for when it is on again.',
            HINT = format('SELECT minga_roster.roster_toggle(%L, %L, roster => true) turns it on.', known.connection, idle[1]);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_toggle(text, text, boolean, boolean, boolean) IS 'roster_toggle behind the door.';

CREATE FUNCTION roster_toggle(connection text, category text DEFAULT NULL, roster boolean DEFAULT NULL,
    auto_update boolean DEFAULT NULL,
    archive boolean DEFAULT NULL)
RETURNS SETOF toggles
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_toggle(text, text, boolean, boolean, boolean) IS
'Sets the toggles of a category (student, teacher, staff, admin; NULL: all four) and returns them; NULL leaves a toggle as it is. roster (on at first): its people are created and linked; auto_update (off): people already set up get the values of the SIS; archive (off): people who are gone from the SIS are archived. archive does nothing while roster is off, which a WARNING says. 42704 an unknown connection, 22023 an unknown category.';

CREATE FUNCTION minga_roster_internal.do_set_secret(connection text, secret text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF connection IS DISTINCT FROM 'smtp' THEN
        PERFORM minga_roster_internal.known_connection(connection);
    END IF;
    PERFORM minga_roster_internal.store_secret(connection, secret);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_secret(text, text) IS 'roster_set_secret behind the door.';

CREATE FUNCTION roster_set_secret(connection text, secret text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_secret(text, text) IS
'Seals and stores the client secret of a connection, or the password of the mail server under the name "smtp", in place of the former one; the token in use is forgotten. It opens only with the key of minga_roster.key_file and cannot be read by SQL. 42704 an unknown connection, 22023 an empty secret or one with white space around it, F0000 where there is no good key file. As for roster_connect, log_statement and log_min_duration_statement would log it.';

CREATE FUNCTION minga_roster_internal.do_notify(connection text, email text, send text, manual boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    unset text := minga_roster_internal.mail_settings_missing();
BEGIN
    IF email IS NULL
        OR email !~ '^[^@\s[:cntrl:]<>(),;:"\[\]\\]+@([^@\s[:cntrl:]<>(),;:"\[\]\\.]+[.])+[^@\s[:cntrl:]<>(),;:"\[\]\\.]+$'
        OR octet_length(email) > 254
        OR email <> minga_roster_internal.readable(email) THEN
        PERFORM minga_roster_internal.refuse_parameter('email', email,
            'One address is needed, as in "it@mesa.example": a name, one @ and a domain with a dot, without blanks.',
            'Call roster_notify once for each recipient.');
    END IF;
    IF send IS NULL OR send NOT IN ('always', 'problems', 'changes', 'never') THEN
        PERFORM minga_roster_internal.refuse_parameter('send', send, 'There are "always", "problems", "changes" and "never".',
            '"problems" sends when a person is needed, "changes" when somebody changed too; "never" keeps the address and sends nothing.');
    END IF;
    -- Case is kept as given, and one mailbox is one recipient.
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND lower(r.email) = lower(do_notify.email);
    INSERT INTO minga_roster.recipients (connection, email, send, manual)
    VALUES (known.connection, do_notify.email, do_notify.send, coalesce(do_notify.manual, false));
    IF unset IS NOT NULL AND send <> 'never' THEN
        RAISE WARNING USING
            MESSAGE = 'no mail can be sent yet',
            DETAIL = format('Not set: %s.', unset),
            HINT = 'ALTER SYSTEM SET minga_roster.smtp_url = ''smtp://mail.mesa.example:587''; ALTER SYSTEM SET minga_roster.smtp_from = ''roster@mesa.example''; SELECT pg_reload_conf().';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_notify(text, text, text, boolean) IS 'roster_notify behind the door.';

CREATE FUNCTION roster_notify(connection text, email text, send text DEFAULT 'always', manual boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_notify(text, text, text, boolean) IS
'Adds or changes a recipient of the reports of a connection. send: "always" after each evening run, "problems" when a person is needed, "changes" when somebody changed or a person is needed, "never". manual: after manual runs too. A WARNING tells that minga_roster.smtp_url or smtp_from is not set. 42704 an unknown connection, 22023 what is no mail address, an unknown send.';

CREATE FUNCTION minga_roster_internal.do_remove_recipient(connection text, email text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND lower(r.email) = lower(do_remove_recipient.email);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is no recipient of connection "%s"', left(email, 100), known.connection),
            HINT = format('SELECT email FROM minga_roster.recipients WHERE connection = %L lists them.',
                known.connection);
    END IF;
    -- What waits was meant for them too.
    DELETE FROM minga_roster.outbox o
    WHERE o.connection = known.connection AND lower(o.email) = lower(do_remove_recipient.email) AND o.state = 'waiting';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_remove_recipient(text, text) IS 'roster_remove_recipient behind the door.';

CREATE FUNCTION roster_remove_recipient(connection text, email text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_remove_recipient(text, text) IS
'Takes an address off the recipients of a connection, with the mail that waits for it. 42704 an unknown connection, '
    'or an address that is no recipient.';

CREATE FUNCTION minga_roster_internal.do_disconnect(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    waiting bigint;
BEGIN
    PERFORM minga_roster_internal.claim_connection(known);
    DELETE FROM minga_roster.recipients r WHERE r.connection = known.connection;
    PERFORM minga_roster_internal.do_disable(known.connection);
    FOR waiting IN SELECT r.run FROM minga_roster.runs r WHERE r.connection = known.connection AND r.state = 'queued' ORDER BY r.run FOR UPDATE LOOP
        PERFORM minga_roster_internal.close_run(waiting, 'canceled', '57014', format('connection "%s" was retired', known.connection),
            'roster_disconnect was called while the run was queued.', 'roster_connect makes the connection again.');
    END LOOP;
    DELETE FROM minga_roster.tokens t WHERE t.connection = known.connection;
    DELETE FROM minga_roster.secrets s WHERE s.connection = known.connection;
    PERFORM minga_roster_internal.drop_stage(known.connection);
    PERFORM minga_roster_internal.drop_conflict_pairs(known.connection);
    UPDATE minga_roster.connections c SET retired_at = now() WHERE c.connection = known.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_disconnect(text) IS 'roster_disconnect behind the door.';

CREATE FUNCTION roster_disconnect(connection text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_disconnect(text) IS
'Retires a connection: no evening any more, its links are dead, its secret, token, recipients and stage are removed, its queued runs canceled. People stay as they are, and its runs and changes stay on record; roster_connect may take the name again. 42704 an unknown connection, 55006 while a run of it is running.';
