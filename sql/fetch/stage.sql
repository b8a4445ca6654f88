-- The stage: one partition of users and one of orgs for each connection, more for those that roster classes or birth
-- dates, and what is corrected in them once they are filled.

CREATE FUNCTION minga_roster_internal.fallbacks_of(entry jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
        SELECT ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(entry->'fallback')
            WHEN 'array' THEN entry->'fallback' WHEN 'string' THEN jsonb_build_array(entry->'fallback')
            ELSE '[]' END)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fallbacks_of(jsonb) IS
'The fallback paths of an entry of sis.collections, in order.';

CREATE FUNCTION minga_roster_internal.stage_of(family text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE family WHEN 'session' THEN 'staged_academic_sessions' WHEN 'course' THEN 'staged_courses'
        WHEN 'class' THEN 'staged_classes' WHEN 'enrollment' THEN 'staged_enrollments'
        WHEN 'demographics' THEN 'staged_demographics' ELSE 'staged_users' END
$$;
COMMENT ON FUNCTION minga_roster_internal.stage_of(text) IS
'The table of the stage that takes the rows of a collection of the family.';

CREATE FUNCTION minga_roster_internal.fields_to_read(connection connections, family text, is_rostered boolean)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
        SELECT concat_ws(',', 'sourcedId,status,dateLastModified,enabledUser,givenName,familyName',
            CASE WHEN w.is_account AND w.columns ? 'middle_name' THEN 'middleName' END,
            CASE WHEN w.is_1_2 THEN 'preferredFirstName,roles' ELSE 'role' END,
            'username,identifier,email',
            CASE WHEN family = 'contact' OR (w.is_account AND w.columns ? 'phone') THEN 'sms,phone' END,
            CASE WHEN w.is_account AND w.columns ? 'grade' THEN 'grades' END,
            CASE WHEN NOT w.is_1_2 THEN 'orgs' END,
            CASE WHEN w.contacts AND family = 'student' THEN 'agents' END,
            CASE WHEN w.has_metadata AND ((w.contacts AND family <> 'staff') OR (w.is_account
                AND minga_roster_internal.has_links((fields_to_read.connection).connection)))
                THEN 'metadata' END)
        FROM (
            SELECT is_rostered AND family <> 'contact' AS is_account, (connection).base_url LIKE '%/v1p2%' AS is_1_2,
                is_rostered AND ((connection).parent_contact OR (connection).contacts) AS contacts,
                (SELECT s.campus_metadata FROM minga_roster.sis s WHERE s.sis = (connection).sis) AS has_metadata,
                (SELECT p.columns FROM minga_roster.people_relations p
                    WHERE p.relation = (connection).people) AS columns
        ) w);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fields_to_read(connections, text, boolean) IS
'The fields requested of a list: what tells who a row is and what becomes of it; what a column of the people relation '
'takes, if the list has a rostered category; of contacts how to reach them. Agents are requested for parent contacts '
'alone, and metadata for these and, once the connection has links, for former IDs.';

CREATE FUNCTION minga_roster_internal.path_parts(path text, OUT field text, OUT key text, OUT value text,
    OUT member text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.part[1], coalesce(m.part[2], ''), coalesce(m.part[3], ''), coalesce(m.part[4], '')
    FROM regexp_match(path COLLATE "C", '^([A-Za-z][A-Za-z0-9_-]{0,62})'
        '(?:(?:\[([A-Za-z][A-Za-z0-9_-]{0,62})=([A-Za-z0-9 _.:/-]{1,64})\])?'
        '\.([A-Za-z][A-Za-z0-9_.-]{0,62}))?$') m (part)
    WHERE m.part IS NOT NULL AND lower(path) NOT LIKE '%password%'
$$;
COMMENT ON FUNCTION minga_roster_internal.path_parts(text) IS
'The parts of a path in a row: field, field.member, or list[key=value].member; an empty text for what it does not '
'have, and NULLs for a text that is no path, and for one to a password.';

CREATE FUNCTION minga_roster_internal.paths_to_read(connection connections, family text, is_rostered boolean)
RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(array_agg(p.part ORDER BY p.path_nth, p.part_nth), '{}')
    FROM (
        SELECT 0 AS path_nth, u.nth AS part_nth, u.part
        FROM unnest(ARRAY['', 'list', 'userIds', '', '', 'identifier']) WITH ORDINALITY u (part, nth)
        WHERE paths_to_read.is_rostered AND (paths_to_read.connection).birth_dates
            AND EXISTS (SELECT FROM minga_roster.people_relations r
                WHERE r.relation = (paths_to_read.connection).people AND r.columns ? 'birth_date')
        UNION ALL
        SELECT m.path_nth, u.nth, u.part
        FROM (
            SELECT c.*, row_number() OVER (ORDER BY c.column_name) AS path_nth
            FROM minga_roster.column_paths c
            JOIN minga_roster.people_relations r ON r.relation = (paths_to_read.connection).people
                AND r.columns ? c.column_name
            WHERE c.connection = (paths_to_read.connection).connection
                -- Of a category that is off only what tells who a row is.
                AND (paths_to_read.is_rostered OR c.column_name IN ('given_name', 'family_name', 'preferred_name',
                    'email', 'username', 'identifier'))
        ) m
        CROSS JOIN LATERAL minga_roster_internal.path_parts(m.path) x
        CROSS JOIN LATERAL unnest(ARRAY[m.column_name, CASE WHEN x.key <> '' THEN 'list' ELSE '' END, x.field, x.key,
            x.value, x.member]) WITH ORDINALITY u (part, nth)
        WHERE x.field IS NOT NULL
    ) p
    WHERE paths_to_read.family IN ('student', 'staff'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.paths_to_read(connections, text, boolean) IS
'Values within the rows of a list of users that are read beside its fields, six texts for each: the column of people '
'(empty: the identifiers of userIds, which birth dates are joined by), "list" or empty, field, key, value, member.';

CREATE FUNCTION minga_roster_internal.collections_to_read(connection text, since timestamptz DEFAULT NULL,
    OUT "position" integer, OUT collection text, OUT family text, OUT path text, OUT fallbacks text[],
    OUT roles text[], OUT filtered boolean, OUT is_rostered boolean, OUT fields text, OUT round integer,
    OUT instead_of text, OUT paths text[], OUT or_beside boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH entry AS (
        SELECT c.connection, c.parent_contact OR c.contacts AS with_contacts, e.position,
            e.entry->>'collection' AS collection, e.entry->>'family' AS family, a.categories, e.entry->>'path' AS path,
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
        minga_roster_internal.fields_to_read(e.row, e.family, e.is_rostered), 0, NULL::text,
        minga_roster_internal.paths_to_read(e.row, e.family, e.is_rostered), false
    FROM entry e
    -- Which staff rows are one person can be told only from the complete list.
    CROSS JOIN LATERAL (SELECT CASE WHEN e.family = 'staff' THEN NULL ELSE since END AS since) AS wanted
    CROSS JOIN LATERAL (SELECT minga_roster_internal.with_filter(e.path, wanted.since) AS path,
        ARRAY(SELECT minga_roster_internal.with_filter(f.path, wanted.since)
            FROM unnest(e.fallbacks) WITH ORDINALITY AS f (path, nth) ORDER BY f.nth) AS fallbacks) AS p
    WHERE (e.family <> 'contact' OR e.with_contacts)
        AND (e.is_rostered OR (e.family <> 'contact' AND EXISTS (
            SELECT FROM minga_roster.toggles t JOIN entry other ON other.family = e.family
                AND t.category = ANY (other.categories)
            WHERE t.connection = e.connection AND t.roster AND t.archive)))
    ORDER BY 1;
    IF NOT EXISTS (SELECT FROM minga_roster.connections c
        WHERE c.connection = collections_to_read.connection AND (c.classes OR c.birth_dates)) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 1000 + e.position::integer, e.entry ->> 'collection', e.entry ->> 'family', p.path, p.fallbacks,
        '{}'::text[], p.path <> e.entry ->> 'path', true, NULL,
        CASE WHEN e.entry ->> 'family' = 'demographics' OR e.entry ? 'instead_of' THEN 2 ELSE 1 END,
        e.entry ->> 'instead_of', '{}'::text[], coalesce((e.entry ->> 'or_beside')::boolean, false)
    FROM minga_roster.connections c
    JOIN minga_roster.sis s USING (sis)
    CROSS JOIN LATERAL jsonb_array_elements(s.object_collections) WITH ORDINALITY AS e (entry, position)
    -- What is named by a new row may be old itself.
    CROSS JOIN LATERAL (SELECT CASE WHEN NOT e.entry ? 'or_beside' THEN since END AS since) AS wanted
    -- Where the filter is refused, the whole list is read: more rows than were requested do no harm.
    CROSS JOIN LATERAL (SELECT minga_roster_internal.with_filter(e.entry ->> 'path', wanted.since) AS path,
        ARRAY(SELECT minga_roster_internal.with_filter(f.path, wanted.since)
            FROM unnest(minga_roster_internal.fallbacks_of(e.entry)) WITH ORDINALITY AS f (path, nth)
            ORDER BY f.nth) || CASE WHEN wanted.since IS NOT NULL
            THEN (e.entry ->> 'path') || minga_roster_internal.fallbacks_of(e.entry) ELSE '{}' END AS fallbacks) AS p
    WHERE c.connection = collections_to_read.connection
        AND CASE WHEN e.entry ->> 'family' = 'demographics' THEN c.birth_dates AND EXISTS (
                SELECT FROM minga_roster.people_relations p WHERE p.relation = c.people AND p.columns ? 'birth_date')
            ELSE c.classes END
    ORDER BY 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.collections_to_read(text, timestamptz) IS
'What a fetch of the connection reads, in order: each collection with a rostered category; all collections of a family '
'in which a rostered category is archived, because absence is judged by family; contacts if parent contacts are on and '
'students are rostered. since: for students and contacts, only later changes, if the preset''s filter leaves room for '
'that; such a collection is filtered. roles: the roles kept from an endpoint that is not the school''s own; NULL for '
'all. is_rostered: whether one of its categories is. fields: what is requested of each row; NULL for objects, which '
'the library knows. Behind these, with classes or birth_dates on, the preset''s lists of objects. round: lists of one '
'round are read side by side. instead_of: read only if that list of an earlier round was denied; or_beside: '
'or, for academic sessions, if sessions_are_missing. paths: as paths_to_read.';

CREATE FUNCTION minga_roster_internal.make_member(partition regclass, is_member boolean) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_member';
COMMENT ON FUNCTION minga_roster_internal.make_member(regclass, boolean) IS
'Makes a partition of the stage a member of the extension, so that it is not dumped, or no longer one. ALTER EXTENSION '
'would need the rights of the extension''s owner.';

CREATE FUNCTION minga_roster_internal.roles_to_stage(connection text, OUT whole text[], OUT keys text[],
    OUT contacts text[])
RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    SELECT coalesce(array_agg(r.roster_role) FILTER (WHERE t.roster), '{}'),
        coalesce(array_agg(r.roster_role) FILTER (WHERE NOT t.roster), '{}'),
        coalesce(array_agg(r.roster_role) FILTER (WHERE r.category = 'contact' AND (c.parent_contact OR c.contacts)
            AND (SELECT s.roster FROM minga_roster.toggles s
                WHERE s.connection = c.connection AND s.category = 'student')), '{}')
    INTO whole, keys, contacts
    FROM minga_roster.connections c
    JOIN minga_roster.role_rules r ON r.sis = c.sis
    LEFT JOIN minga_roster.toggles t ON t.connection = c.connection AND t.category = r.category
    WHERE c.connection = roles_to_stage.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.roles_to_stage(text) IS
'Which roles are staged whole, because their category is rostered; with keys alone, because it is not; and as contacts '
'of students. Rows of other roles are staged by ID.';

CREATE FUNCTION minga_roster_internal.begin_staging(run bigint, OUT whole text[], OUT keys text[], OUT contacts text[],
    OUT with_sms boolean)
RETURNS record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    SELECT k.whole, k.keys, k.contacts, c.contacts INTO whole, keys, contacts, with_sms
    FROM minga_roster.runs r JOIN minga_roster.connections c ON c.connection = r.connection
    CROSS JOIN LATERAL minga_roster_internal.roles_to_stage(r.connection) k
    WHERE r.run = begin_staging.run;
    UPDATE minga_roster.runs r SET reduced_roles = nullif(keys, '{}')
    WHERE r.run = begin_staging.run AND r.reduced_roles IS DISTINCT FROM nullif(keys, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.begin_staging(bigint) IS
'roles_to_stage, and remembers those with keys alone in the run, since toggles may change before its plan; and whether '
'SMS numbers of contacts are staged.';

CREATE FUNCTION minga_roster_internal.stage_partitions(connection text, is_all boolean, OUT parent text,
    OUT partition text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT p.parent, format('minga_roster_internal.%I', format('%s_%s', p.parent, c.number))
    FROM minga_roster.connections c
    CROSS JOIN (VALUES ('staged_users', false, false), ('staged_orgs', false, false),
        ('staged_academic_sessions', true, false), ('staged_courses', true, false), ('staged_classes', true, false),
        ('staged_enrollments', true, false), ('staged_demographics', false, true)) AS p (parent, of_classes, of_births)
    WHERE c.connection = stage_partitions.connection AND (NOT p.of_classes OR c.classes OR is_all)
        AND (NOT p.of_births OR c.birth_dates OR is_all);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.stage_partitions(text, boolean) IS
'The partitions that the stage of a connection needs; is_all: that it may have.';

CREATE FUNCTION minga_roster_internal.empty_member(partition regclass) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_empty_member';
COMMENT ON FUNCTION minga_roster_internal.empty_member(regclass) IS
'Empties a partition of the stage at once, which a rollback does not undo, or returns false: another session has it '
'locked, or a value of its rows is stored apart.';

CREATE FUNCTION minga_roster_internal.empty_stage(connection text, waits boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = 0 AS $$
DECLARE
    partition text;
BEGIN
    DELETE FROM minga_roster.stages g WHERE g.connection = empty_stage.connection;
    FOR partition IN
        SELECT p.partition FROM minga_roster_internal.stage_partitions(empty_stage.connection, true) p
        WHERE pg_relation_size(to_regclass(p.partition)) > 0
    LOOP
        CONTINUE WHEN NOT waits AND minga_roster_internal.empty_member(partition::regclass);
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
        WHERE EXISTS (SELECT FROM minga_roster_internal.stage_partitions(c.connection, true) p
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

CREATE FUNCTION minga_roster_internal.make_partitions(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET default_tablespace = '' AS $$
DECLARE
    part record;
    context text;
    names text[];
BEGIN
    -- Each fetch empties the stage, so there is nothing to vacuum, and statistics would be those of another evening.
    FOR part IN
        SELECT p.* FROM minga_roster_internal.stage_partitions(make_partitions.connection, false) p
        WHERE to_regclass(p.partition) IS NULL
    LOOP
        EXECUTE format('CREATE UNLOGGED TABLE %s (LIKE minga_roster.%I) WITH (autovacuum_enabled = off, '
            'toast.autovacuum_enabled = off)', part.partition, part.parent);
        EXECUTE format('ALTER TABLE minga_roster.%I ATTACH PARTITION %s FOR VALUES IN (%L)',
            part.parent, part.partition, make_partitions.connection);
        PERFORM minga_roster_internal.make_member(part.partition::regclass, true);
    END LOOP;
EXCEPTION
    WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        names := minga_roster_internal.event_triggers_of(context);
        IF names IS NULL THEN
            RAISE;
        END IF;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE,
            MESSAGE = format('event trigger "%s" rejects the tables of the stage', array_to_string(names, '", "')),
            DETAIL = format('Its message: %s', SQLERRM),
            HINT = format('Make its function skip the schema "minga_roster_internal", or disable it: ALTER EVENT '
                'TRIGGER %I DISABLE.', names[1]);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_partitions(text) IS
'Creates the missing partitions of the stage of a connection, unlogged and members of the extension. If an event '
'trigger does not let it, the error names the trigger.';

CREATE FUNCTION minga_roster_internal.prepare_stage(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.empty_stage(prepare_stage.connection, waits => true);
    PERFORM minga_roster_internal.make_partitions(prepare_stage.connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prepare_stage(text) IS
'Empties the stage of a connection, and creates its missing partitions.';

CREATE FUNCTION minga_roster_internal.drop_stage(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition regclass;
BEGIN
    DELETE FROM minga_roster.stages g WHERE g.connection = drop_stage.connection;
    FOR partition IN
        SELECT to_regclass(p.partition) FROM minga_roster_internal.stage_partitions(drop_stage.connection, true) p
    LOOP
        CONTINUE WHEN partition IS NULL;
        PERFORM minga_roster_internal.make_member(partition, false);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_stage(text) IS
'Removes the partitions of a connection from the extension and drops them, if there are any.';

CREATE FUNCTION minga_roster_internal.distinct_staged(connection text, collection text, family text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' AS $$
DECLARE
    amount bigint;
BEGIN
    EXECUTE format('SELECT count(DISTINCT s.sourced_id) FROM minga_roster.%I s WHERE s.connection = $1 '
        'AND s.collection = $2', minga_roster_internal.stage_of(family)) INTO amount USING connection, collection;
    RETURN amount;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.distinct_staged(text, text, text) IS
'How many different sourcedIds a collection listed, including those elsewhere. Its memory use does not grow with the '
'roster.';

CREATE FUNCTION minga_roster_internal.count_new(connection text, collection text, family text, ids bigint[])
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' AS $$
DECLARE
    amount bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT unnest($3) EXCEPT SELECT hashtextextended(s.sourced_id, 0) '
        'FROM minga_roster.%I s WHERE s.connection = $1 AND s.collection = $2) AS unknown',
        minga_roster_internal.stage_of(family)) INTO amount USING connection, collection, ids;
    RETURN amount;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_new(text, text, text, bigint[]) IS
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
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.* FROM minga_roster.server_facts f
    WHERE f.connection = fresh_facts.connection
        AND f.learned_at > minga_roster_internal.clock() - interval '7 days'
            AND f.learned_at <= minga_roster_internal.clock();
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fresh_facts(text) IS
'What is known about how the SIS answers, except what is due to be tried again.';

CREATE FUNCTION minga_roster_internal.forget_stale_facts(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM minga_roster.server_facts f
    WHERE f.connection = forget_stale_facts.connection
        AND NOT EXISTS (SELECT FROM minga_roster_internal.fresh_facts(forget_stale_facts.connection) known
            WHERE known.fact = f.fact);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.forget_stale_facts(text) IS
'After a read: drops what was tried again and not confirmed.';

CREATE FUNCTION minga_roster_internal.remove_elsewhere(run bigint, connection text, collection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE minga_roster.collections c SET roles_ended = ended.rows
    FROM (SELECT count(*) AS rows FROM minga_roster.staged_users s
        WHERE s.connection = remove_elsewhere.connection AND s.collection = remove_elsewhere.collection
            AND s.outcome = 'ended') ended
    WHERE c.run = remove_elsewhere.run AND c.collection = remove_elsewhere.collection AND ended.rows > 0;
    DELETE FROM minga_roster.staged_users s
    WHERE s.connection = remove_elsewhere.connection AND s.collection = remove_elsewhere.collection
        AND s.outcome IN ('elsewhere', 'ended');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remove_elsewhere(bigint, text, text) IS
'Removes from the stage the rows of people elsewhere, and notes how many of them had roles that ended.';

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
    IF store_collection.elsewhere > 0 AND minga_roster_internal.stage_of(family) <> 'staged_users' THEN
        EXECUTE format('DELETE FROM minga_roster.%I s WHERE s.connection = $1 AND s.collection = $2 AND s.elsewhere',
            minga_roster_internal.stage_of(family)) USING store_collection.connection, store_collection.collection;
    ELSIF store_collection.elsewhere > 0 THEN
        PERFORM minga_roster_internal.remove_elsewhere(run, connection, collection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.store_collection(bigint, text, text, text, boolean, text, integer, bigint,
    bigint, bigint, bigint,
    bigint, boolean, text, text) IS
'Records the result of reading a collection, and removes from the stage the rows of people elsewhere, which were '
'staged by ID to judge its end.';

CREATE FUNCTION minga_roster_internal.remember_school(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(remember_school.connection);
    partition text := format('minga_roster_internal.%I', 'staged_orgs_' || known.number);
    staged_name text;
BEGIN
    IF to_regclass(partition) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT s.name FROM %s s WHERE lower(s.sourced_id) = lower($1) AND s.name <> '''' '
        'ORDER BY s.sourced_id = $1 DESC LIMIT 1', partition) INTO staged_name USING known.school_id;
    IF staged_name IS NULL OR staged_name IS NOT DISTINCT FROM known.school_name THEN
        RETURN;
    END IF;
    -- A connection whose settings are being changed keeps its school name until the next fetch.
    PERFORM FROM minga_roster.connections c WHERE c.connection = known.connection FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE minga_roster.connections c SET school_name = staged_name WHERE c.connection = known.connection;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_school(text) IS
'Stores the name of the school with its connection, because the stage is empty after a failed fetch and on a standby.';

CREATE FUNCTION minga_roster_internal.sessions_are_missing(run bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(sessions_are_missing.run);
BEGIN
    RETURN EXISTS (
        SELECT FROM (
            SELECT unnest(k.term_ids) COLLATE "C" FROM minga_roster.staged_classes k
            WHERE k.connection = this.connection AND k.status IS DISTINCT FROM 'tobedeleted'
            UNION ALL
            SELECT s.sourced_id FROM minga_roster.academic_sessions s
            WHERE this.is_full AND s.connection = this.connection AND s.ended_at IS NULL
        ) n (id)
        WHERE n.id NOT IN (
            SELECT s.sourced_id FROM minga_roster.staged_academic_sessions s WHERE s.connection = this.connection
            UNION ALL
            SELECT s.sourced_id FROM minga_roster.academic_sessions s
            WHERE NOT this.is_full AND s.connection = this.connection AND s.ended_at IS NULL));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.sessions_are_missing(bigint) IS
'Whether staged classes name academic sessions that are not staged, or sessions that were there are not: the list of '
'terms may not be that of all sessions. Of a delta: sessions that were not there either.';

CREATE FUNCTION minga_roster_internal.settle_sessions(run bigint, connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    beside text;
    is_denied boolean;
BEGIN
    SELECT c.collection, c.weak_cause = 'denied' INTO beside, is_denied
    FROM minga_roster.connections n
    JOIN minga_roster.sis s ON s.sis = n.sis
    CROSS JOIN LATERAL jsonb_array_elements(s.object_collections) e (entry)
    JOIN minga_roster.collections c ON c.run = settle_sessions.run AND c.collection = e.entry ->> 'collection'
    JOIN minga_roster.collections o ON o.run = settle_sessions.run AND o.collection = e.entry ->> 'instead_of'
        AND o.weak_cause IS DISTINCT FROM 'denied'
    WHERE n.connection = settle_sessions.connection AND e.entry ? 'or_beside';
    IF beside IS NULL THEN
        RETURN;
    END IF;
    -- It may be the whole district's. What is there stays, since a list of classes may be broken off.
    DELETE FROM minga_roster.staged_academic_sessions s
    WHERE s.connection = settle_sessions.connection AND s.collection = beside AND (
        s.sourced_id IN (SELECT o.sourced_id FROM minga_roster.staged_academic_sessions o
            WHERE o.connection = settle_sessions.connection AND o.collection <> beside)
        OR s.sourced_id NOT IN (
            SELECT i.id FROM (SELECT unnest(k.term_ids) COLLATE "C" FROM minga_roster.staged_classes k
                WHERE k.connection = settle_sessions.connection) i (id) WHERE i.id IS NOT NULL
            UNION ALL
            SELECT c.sourced_id FROM minga_roster.academic_sessions c
            WHERE c.connection = settle_sessions.connection AND c.ended_at IS NULL));
    -- If it is denied, and has never been read, the other list is all that there is.
    IF is_denied AND NOT EXISTS (
        SELECT FROM minga_roster.academic_sessions c
        WHERE c.connection = settle_sessions.connection AND c.ended_at IS NULL AND c.sourced_id NOT IN (
            SELECT s.sourced_id FROM minga_roster.staged_academic_sessions s
            WHERE s.connection = settle_sessions.connection))
    THEN
        DELETE FROM minga_roster.collections c WHERE c.run = settle_sessions.run AND c.collection = beside;
        UPDATE minga_roster.collections c
        SET detail = concat_ws(' ', c.detail, format('Classes name sessions that it does not have, and the list of %s '
            'is denied.', beside))
        WHERE c.run = settle_sessions.run AND c.family = 'session';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_sessions(bigint, text) IS
'Of a list of sessions that was read beside the list of terms, keeps those that this one does not have and that '
'classes name or that were there.';

CREATE FUNCTION minga_roster_internal.settle_objects(run bigint, connection text, repeats boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB' SET enable_hashagg = off AS $$
DECLARE
    part record;
BEGIN
    IF repeats THEN
        FOR part IN SELECT p.* FROM minga_roster_internal.stage_partitions(settle_objects.connection, false) p
            WHERE p.parent NOT IN ('staged_users', 'staged_orgs') LOOP
            -- One row for each ID: the latest.
            EXECUTE minga_roster_internal.fill_template($statement$
                DELETE FROM {stage} s
                USING (
                    SELECT d.ctid AS place, row_number() OVER (PARTITION BY d.sourced_id
                        ORDER BY d.date_last_modified COLLATE "C" DESC NULLS LAST, d.collection, d.ctid) AS nth
                    FROM {stage} d
                    WHERE d.sourced_id IN (SELECT t.sourced_id FROM {stage} t GROUP BY t.sourced_id
                        HAVING count(*) > 1)
                ) d
                WHERE s.ctid = d.place AND d.nth > 1
            $statement$, 'stage', part.partition);
        END LOOP;
    END IF;
    -- A list of one role tells the role of rows that name none.
    UPDATE minga_roster.staged_enrollments s
    SET role = CASE s.collection WHEN 'studentEnrollments' THEN 'student' ELSE 'teacher' END
    FROM minga_roster.collections c
    WHERE c.run = settle_objects.run AND c.collection IN ('studentEnrollments', 'teacherEnrollments')
        AND NOT c.fallback AND s.connection = settle_objects.connection AND s.collection = c.collection
        AND s.role IS NULL AND NOT s.damaged;
    -- A list that is denied is not missed if others took its place.
    WITH replaced AS (
        DELETE FROM minga_roster.collections c
        USING minga_roster.connections n
        JOIN minga_roster.sis s ON s.sis = n.sis
        WHERE n.connection = settle_objects.connection AND c.run = settle_objects.run AND c.weak_cause = 'denied'
            AND EXISTS (SELECT FROM jsonb_array_elements(s.object_collections) e (entry)
                JOIN minga_roster.collections o ON o.run = c.run AND o.collection = e.entry ->> 'collection'
                WHERE e.entry ->> 'instead_of' = c.collection AND o.weak_cause IS DISTINCT FROM 'denied')
        RETURNING c.collection, s.object_collections
    )
    UPDATE minga_roster.collections c
    SET detail = concat_ws(' ', c.detail, format('Read in place of the list of %s, which is denied.', r.collection))
    FROM replaced r CROSS JOIN LATERAL jsonb_array_elements(r.object_collections) e (entry)
    WHERE c.run = settle_objects.run AND c.collection = e.entry ->> 'collection'
        AND e.entry ->> 'instead_of' = r.collection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_objects(bigint, text, boolean) IS
'Of objects keeps one row for each sourcedId, and forgets a denied list in whose place others were read.';

CREATE FUNCTION minga_roster_internal.settle_birth_dates(run bigint, connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(settle_birth_dates.connection);
    users text := format('minga_roster_internal.%I', 'staged_users_' || known.number);
    demographics text := format('minga_roster_internal.%I', 'staged_demographics_' || known.number);
BEGIN
    IF to_regclass(demographics) IS NULL OR NOT EXISTS (SELECT FROM minga_roster.collections c
        WHERE c.run = settle_birth_dates.run AND c.family = 'demographics') THEN
        RETURN;
    END IF;
    -- By the ID of the user, as OneRoster has it; else by an identifier of userIds that one user has and that tells one
    -- row, which only a full list can show. A date before 1900 or in the future is none.
    EXECUTE minga_roster_internal.fill_template($statement$
        WITH listed AS MATERIALIZED (
            SELECT d.sourced_id, d.damaged OR d.damaged_field IS NOT NULL
                    OR (d.birth_date >= '1900-01-02' AND d.birth_date <= $3) IS FALSE AS is_damaged,
                CASE WHEN d.birth_date >= '1900-01-02' AND d.birth_date <= $3
                    THEN to_char(d.birth_date, 'YYYY-MM-DD') END AS birth_date
            FROM {demographics} d
            WHERE d.status IS DISTINCT FROM 'tobedeleted'
        ), person AS MATERIALIZED (
            SELECT s.sourced_id, s.user_ids,
                coalesce(r.category <> 'contact' AND s.role <> ALL (coalesce(this.reduced_roles, '{}')), false)
                    AND s.outcome IS DISTINCT FROM 'forgotten' AS takes
            FROM {users} s
            CROSS JOIN (SELECT t.reduced_roles FROM minga_roster.runs t WHERE t.run = $1) this
            LEFT JOIN minga_roster.role_rules r ON r.sis = $2 AND r.roster_role = s.role
        ), own AS MATERIALIZED (
            SELECT l.sourced_id, p.sourced_id AS user_id FROM listed l JOIN person p ON p.sourced_id = l.sourced_id
        ), named AS (
            SELECT DISTINCT p.sourced_id AS user_id, u.id COLLATE "C" AS id
            FROM person p CROSS JOIN LATERAL unnest(p.user_ids) u (id)
            WHERE $4
        ), other AS (
            SELECT l.sourced_id, n.user_id, count(*) OVER (PARTITION BY l.sourced_id) AS users,
                count(*) OVER (PARTITION BY n.user_id) AS rows
            FROM listed l JOIN named n ON n.id = l.sourced_id
        ), joined AS MATERIALIZED (
            SELECT o.sourced_id, o.user_id FROM own o
            UNION ALL
            SELECT o.sourced_id, o.user_id
            FROM other o
            LEFT JOIN own d ON d.sourced_id = o.sourced_id
            LEFT JOIN own u ON u.user_id = o.user_id
            WHERE o.users = 1 AND o.rows = 1 AND d.sourced_id IS NULL AND u.user_id IS NULL
        ), result AS MATERIALIZED (
            SELECT l.sourced_id, l.is_damaged, l.birth_date, j.user_id, p.takes
            FROM listed l
            LEFT JOIN joined j ON j.sourced_id = l.sourced_id
            LEFT JOIN person p ON p.sourced_id = j.user_id
        ), written AS (
            UPDATE {users} s SET birth_date = b.birth_date, user_ids = NULL
            FROM (
                SELECT p.sourced_id, r.birth_date
                FROM person p LEFT JOIN result r ON r.user_id = p.sourced_id AND r.takes
                WHERE r.birth_date IS NOT NULL OR p.user_ids IS NOT NULL
            ) b
            WHERE s.sourced_id = b.sourced_id
        ), gone AS (
            DELETE FROM {demographics} d
            USING (
                SELECT x.ctid AS place FROM {demographics} x
                LEFT JOIN result r ON r.sourced_id = x.sourced_id AND r.takes
                WHERE r.sourced_id IS NULL
            ) n
            WHERE d.ctid = n.place
        )
        INSERT INTO minga_roster.run_objects (run, object, complete, listed, unknown_user, not_chosen, damaged)
        SELECT $1, 'demographics', (SELECT bool_and(c.complete) FROM minga_roster.collections c
                WHERE c.run = $1 AND c.family = 'demographics'),
            -- Whom a delta does not list is not unknown.
            count(*), count(*) FILTER (WHERE r.user_id IS NULL AND $4), count(*) FILTER (WHERE NOT r.takes),
            count(*) FILTER (WHERE r.takes AND r.is_damaged)
        FROM result r
    $statement$, 'users', users, 'demographics', demographics)
    USING settle_birth_dates.run, known.sis, (minga_roster_internal.clock() AT TIME ZONE known.time_zone)::date,
        (SELECT t.is_full IS NOT FALSE FROM minga_roster.runs t WHERE t.run = settle_birth_dates.run);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_birth_dates(bigint, text) IS
'Gives staged users of rostered categories their birth dates, deletes the rows of demographics that are no such '
'user''s, since the list may be the whole district''s, and counts both in run_objects.';

CREATE FUNCTION minga_roster_internal.settle_stage(run bigint, connection text, staged bigint DEFAULT NULL,
    repeats boolean DEFAULT true, without_role boolean DEFAULT true, several_roles boolean DEFAULT true,
    digest text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET work_mem = '1MB' SET enable_hashagg = off AS $$
DECLARE
    partition text := format('minga_roster_internal.%I', format('staged_users_%s',
        (SELECT c.number FROM minga_roster.connections c WHERE c.connection = settle_stage.connection)));
    contacts text[] := ARRAY(SELECT c.collection FROM minga_roster.collections c
        WHERE c.run = settle_stage.run AND c.family = 'contact');
    own text[];
    reduced text[];
BEGIN
    IF to_regclass(partition) IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM minga_roster_internal.remember_school(settle_stage.connection);
    -- One row for each ID: prefer rows that are not only a contact's, then those of which everything was requested,
    -- then the latest, then the one from the school's own endpoint. IDs that differed before characters were removed
    -- are not one: who the row is cannot be told, so it is damaged, and the others count as without an ID.
    IF repeats THEN
        SELECT coalesce(array_agg(c.collection) FILTER (WHERE c.path LIKE '%{school}%'), '{}'),
            coalesce(array_agg(c.collection) FILTER (WHERE NOT c.is_rostered), '{}')
        INTO own, reduced
        FROM minga_roster_internal.collections_to_read(settle_stage.connection) c;
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
                middle_name = NULL, phone = NULL, grade = NULL, agent_ids = NULL, legacy_id = NULL,
                relationships = NULL, user_ids = NULL
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
    PERFORM minga_roster_internal.settle_objects(settle_stage.run, settle_stage.connection, repeats);
    PERFORM minga_roster_internal.settle_sessions(settle_stage.run, settle_stage.connection);
    PERFORM minga_roster_internal.settle_birth_dates(settle_stage.run, settle_stage.connection);
    DELETE FROM minga_roster.stages g WHERE g.connection = settle_stage.connection;
    INSERT INTO minga_roster.stages (connection, run, is_full, has_contacts, digest)
    SELECT settle_stage.connection, r.run, r.is_full IS NOT FALSE, contacts <> '{}', settle_stage.digest
    FROM minga_roster.runs r WHERE r.run = settle_stage.run;
    RETURN staged;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_stage(bigint, text, bigint, boolean, boolean, boolean, text) IS
'After all collections are read: keeps one row for each sourcedId, gives a row without a role the role of the '
'school''s own list of one category, gives a row with several roles at the school the one that counts, and keeps only '
'contacts that a staged student names as agent (the others are counted as elsewhere). Notes in stages that the stage '
'is whole, and returns the number of staged users.';
