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

CREATE FUNCTION minga_roster_internal.tell_birth_date_column(connection connections) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT (SELECT r.columns ? 'birth_date' FROM minga_roster.people_relations r
        WHERE r.relation = connection.people)
    THEN
        RAISE WARNING USING
            MESSAGE = format('connection "%s" will not read birth dates', connection.connection),
            DETAIL = format('birth_dates is on, but "%s" has no column birth_date.', connection.people),
            HINT = format('Add the column, of type date, and attach the relation again, or turn it off: '
                'SELECT minga_roster.roster_configure(%L, birth_dates => false).', connection.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.tell_birth_date_column(connections) IS
'A WARNING if a connection has birth_dates on and its people have no column for them.';

CREATE FUNCTION minga_roster_internal.has_partition(relation regclass, site text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Where other columns decide it too, it shows with each person.
    RETURN NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'p')
        OR minga_roster_internal.as_owner(relation, minga_roster_internal.partition_query(relation), site) = 1;
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
AS $$
    SELECT minga_roster_internal.as_owner((connection).people,
        minga_roster_internal.any_person_of_site_query((connection).people), (connection).site) = 1
$$;
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
