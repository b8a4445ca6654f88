-- The rows that are only new: of a first load, which has no links yet, those with which no later step could do anything
-- but create a person. Of a school's first roster these are almost all, so they go straight from the stage to the
-- writes. Must survive anything: a row that is not certain goes through all steps.

CREATE FUNCTION minga_roster_internal.creates_at_once(run runs, connection connections) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
BEGIN
    RETURN run.kind = 'sync' AND run.is_full AND NOT EXISTS (SELECT FROM plan_linked_rows)
        AND minga_roster_internal.keeps_values(connection.people)
        AND NOT EXISTS (SELECT FROM minga_roster.column_owners o
            WHERE o.connection = creates_at_once.connection.connection AND o.owner = 'sis unless edited')
        AND NOT EXISTS (
            SELECT FROM minga_roster_internal.unique_keys(connection.people, map ->> 'person_id') k
            WHERE k.attributes && ARRAY(SELECT m.value FROM jsonb_each_text(map) m
                    WHERE m.key = ANY (minga_roster_internal.written_columns() || '{role,archived_at}'::text[])))
        -- The creates of a site without people beside others are held.
        AND (EXISTS (SELECT FROM plan_people)
            OR minga_roster_internal.as_owner(connection.people,
                minga_roster_internal.any_person_query(connection.people)) = 0);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.creates_at_once(runs, connections) IS
'Whether this run is a first load in which nothing but a row itself could keep a person from being created: no unique '
    'index of people, no veto of all creates, nothing that the relation makes of values.';

CREATE FUNCTION minga_roster_internal.find_disputed_rows(connection connections, shared_keys bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    most CONSTANT integer := 100000;
    people_keys bytea;
    people_names bytea;
BEGIN
    IF shared_keys IS NOT NULL THEN
        PERFORM minga_roster_internal.find_shared_rows(connection, shared_keys);
    END IF;
    INSERT INTO plan_disputed_rows (sourced_id)
    SELECT h.sourced_id FROM plan_shared_rows h
    UNION ALL
    SELECT d.sourced_id FROM minga_roster.match_decisions d
    WHERE d.connection = find_disputed_rows.connection.connection;
    -- Keys that lead to a person; and the names of people who have no keys, which are told with a new person.
    SELECT minga_roster_internal.key_set(p.identifier, p.email),
        minga_roster_internal.key_set(minga_roster_internal.clean_name(p.given_name)
            || ' ' || minga_roster_internal.clean_name(p.family_name), NULL)
            FILTER (WHERE NOT p.archived AND coalesce(p.identifier, '') = '' AND coalesce(p.email, '') = '')
    INTO people_keys, people_names
    FROM plan_people p;
    IF people_keys IS NOT NULL OR people_names IS NOT NULL THEN
        INSERT INTO plan_disputed_rows (sourced_id)
        SELECT s.sourced_id
        FROM minga_roster.staged_users s
        WHERE s.connection = find_disputed_rows.connection.connection
            AND (minga_roster_internal.in_key_set(people_keys, s.identifier, s.email)
                OR (people_names IS NOT NULL AND minga_roster_internal.in_key_set(people_names,
                    minga_roster_internal.clean_name(s.given_name)
                        || ' ' || minga_roster_internal.clean_name(s.family_name), NULL)));
    END IF;
    PERFORM minga_roster_internal.analyze_if_large('plan_disputed_rows');
    -- So many would not fit into memory.
    RETURN (SELECT count(*) FROM plan_disputed_rows) < most;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_disputed_rows(connections, bytea) IS
'Fills plan_disputed_rows and plan_shared_rows: rows that share a key with another row, are decided about, or have a '
    'key of a person or the names of a person without keys. False if these are so many that all rows go through all '
    'steps.';

CREATE FUNCTION minga_roster_internal.new_row_terms() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.fill_template($template$(
        s.role IN ({roles}) AND NOT s.damaged AND coalesce(s.status, 'active') = 'active' AND s.enabled
        AND s.given_name IS NOT NULL AND s.family_name IS NOT NULL AND s.outcome IS DISTINCT FROM 'forgotten'
        AND s.sourced_id NOT IN (SELECT d.sourced_id FROM plan_disputed_rows d)
    )$template$,
        'roles', coalesce(string_agg(quote_literal(r.roster_role), ', '), 'NULL'))
    FROM plan_rules r
    WHERE r.rostered AND r.family IN ('student', 'staff'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.new_row_terms() IS
'An SQL expression: whether a staged row s of a first load is only new.';

CREATE FUNCTION minga_roster_internal.open_new_writes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '40MB' AS $$
DECLARE
    -- Of the creates.
    first_number bigint := 1 + (SELECT count(*) FROM plan_changes c WHERE c.action IN ('archive', 'conflict'));
    created bigint := (SELECT count(*) FROM plan_changes c WHERE c.action = 'create');
    written bigint;
BEGIN
    EXECUTE minga_roster_internal.fill_template($template$
        INSERT INTO plan_writes (change, action, category, sourced_id, place, is_noted, planned_as, role, given_name,
            family_name, middle_name, preferred_name, email, username, identifier, grade, phone, parent_name,
            parent_email, parent_phone, parent_rule, birth_date)
        SELECT {first_number} - 1 + row_number() OVER (ORDER BY
            minga_roster_internal.change_place('create', n.category, n.sourced_id) COLLATE "C"), 'new', n.*
        FROM (
            SELECT r.category, s.sourced_id, s.ctid AS place, s.outcome IS NOT DISTINCT FROM 'create', NULL::integer,
                r.role, s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username,
                s.identifier, s.grade, s.phone, {parent_values}, s.birth_date
            FROM minga_roster.staged_users s
            JOIN plan_rules r ON r.roster_role = s.role
            {join_parents}
            WHERE s.connection = {connection:L} AND {new_row}
            UNION ALL
            SELECT c.category, c.sourced_ids[1], NULL, NULL, c.change, {planned_values}
            FROM plan_changes c
            WHERE c.action = 'create'
        ) n
        $template$,
        'first_number', first_number::text,
        'connection', connection.connection,
        'parent_values', CASE WHEN connection.parent_contact
            THEN 't.parent_name, t.parent_email, t.parent_phone, t.parent_rule'
            ELSE 'NULL::text, NULL::text, NULL::text, NULL::text' END,
        'join_parents', CASE WHEN connection.parent_contact
            THEN 'LEFT JOIN plan_parents t ON t.sourced_id = s.sourced_id' ELSE '' END,
        'new_row', minga_roster_internal.new_row_terms(),
        'planned_values', (SELECT string_agg(format('c.after ->> %L', v.name), ', ' ORDER BY v.nth)
            FROM unnest(ARRAY['role', 'given_name', 'family_name', 'middle_name', 'preferred_name', 'email', 'username',
                'identifier', 'grade', 'phone', 'parent_name', 'parent_email', 'parent_phone', 'parent_rule',
                'birth_date']) WITH ORDINALITY v (name, nth)));
    GET DIAGNOSTICS written = ROW_COUNT;
    -- All creates are numbered together, and the changes after them.
    UPDATE plan_changes c SET change = c.change + written - created
    WHERE c.action NOT IN ('archive', 'conflict', 'create');
    UPDATE plan_changes c SET change = w.change
    FROM plan_writes w
    WHERE c.action = 'create' AND w.planned_as = c.change;
    DELETE FROM plan_writes w
    WHERE w.change IN (SELECT c.change FROM plan_changes c WHERE c.action = 'create' AND c.state <> 'planned');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_new_writes(connections) IS
'Fills plan_writes with all creates of a first load: rows that are only new, and creates of plan_changes; and numbers '
    'the changes together.';

CREATE FUNCTION minga_roster_internal.created_people() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $query$
    SELECT $template$(
        SELECT n.change, n.person_id, n.seen FROM plan_new_people n
        UNION ALL
        SELECT d.change, d.person_id, d.seen FROM plan_written d WHERE d.action = 'new' AND d.done
    )$template$
$query$;
COMMENT ON FUNCTION minga_roster_internal.created_people() IS
'A query for the people created for rows that are only new: of writes that were not divided plan_new_people, else '
    'plan_written.';

CREATE FUNCTION minga_roster_internal.write_new_links(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    EXECUTE minga_roster_internal.fill_template($template$
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule,
            linked_run)
        SELECT ($1).connection, w.sourced_id, ($1).site, n.person_id, w.category, w.role, 'new', ($1).run
        FROM plan_writes w JOIN {created} n ON n.change = w.change
        WHERE w.action = 'new' AND w.planned_as IS NULL
        $template$, 'created', minga_roster_internal.created_people())
    USING run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_new_links(runs) IS
'Writes the links of the rows that are only new.';

CREATE FUNCTION minga_roster_internal.new_changes(people regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $query$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.fill_template($template$plan_writes o
        LEFT JOIN {created} n ON n.change = o.change
        CROSS JOIN LATERAL (
            SELECT o.change, o.category, NULL::text AS person_id, ARRAY[o.sourced_id]::text[] AS sourced_ids,
                'create' AS action, 'new' AS rule, {reason:L} AS reason, '{}'::jsonb AS before,
                minga_roster_internal.new_values(o.role, {values}) AS after, 'planned' AS state,
                NULL::text AS state_reason, NULL::text AS state_cause, NULL::text AS conflict,
                NULL::text[] AS same_name, NULL::bigint AS seen
        ) c
        CROSS JOIN LATERAL (
            SELECT n.person_id, n.change IS NOT NULL AS done, o.code, o.failure, n.seen, NULL::jsonb AS stored,
                false AS links
        ) w
        WHERE o.action = 'new' AND o.planned_as IS NULL
        $template$,
        'created', minga_roster_internal.created_people(),
        'reason', minga_roster_internal.change_reason('create', 'new', NULL, NULL),
        'values', string_agg(format('%L::text, o.%I', c, c), ', '))
    FROM minga_roster.people_relations r
    CROSS JOIN unnest(minga_roster_internal.written_columns()) c
    WHERE r.relation = new_changes.people AND r.columns ? c);
END
$query$;
COMMENT ON FUNCTION minga_roster_internal.new_changes(regclass) IS
'What settled_changes_query reads of the rows that are only new.';
