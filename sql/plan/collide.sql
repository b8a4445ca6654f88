-- Collisions: values of the plan that a unique index of the people relation would refuse. They become conflicts before anybody is written.
-- Must survive indexes that it does not understand: what it leaves out, apply finds.

CREATE FUNCTION minga_roster_internal.find_collisions(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    names jsonb := (SELECT jsonb_object_agg(m.value, m.key) FROM jsonb_each_text(map) m WHERE m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    index minga_roster_internal.unique_key;
BEGIN
    CREATE TEMP TABLE collisions (label text COLLATE "C", index_name text, other text) ON COMMIT DROP;
    FOR index IN
        -- Ids are drawn by the relation itself.
        SELECT * FROM minga_roster_internal.unique_keys(people) k
        WHERE NOT map ->> 'person_id' = ANY (k.attributes)
            AND (names ?| k.attributes OR map ->> 'archived_at' = ANY (k.attributes))
    LOOP
        BEGIN
            EXECUTE format('CREATE TEMP TABLE planned_keys (label text COLLATE "C", person_id text, %s) ON COMMIT DROP',
                (minga_roster_internal.key_terms(index)).types);
            CREATE TEMP TABLE planned_values ON COMMIT DROP AS
            SELECT d.label, CASE WHEN d.outcome <> 'create' THEN d.person_id END AS person_id, d.outcome,
                CASE d.outcome WHEN 'restore' THEN d.after || jsonb_build_object('archived_at', f.status) ELSE d.after END AS after
            FROM decisions d
            LEFT JOIN former_statuses f ON f.person_id = d.person_id AND d.outcome = 'restore'
            WHERE d.outcome = 'create' OR (d.outcome = 'restore' AND map ->> 'archived_at' = ANY (index.attributes))
                OR (d.outcome IN ('update', 'restore') AND d.after ?| ARRAY(SELECT names ->> a FROM unnest(index.attributes) a WHERE names ? a));
            PERFORM minga_roster_internal.grant_temp(people, 'planned_keys', 'SELECT, INSERT');
            PERFORM minga_roster_internal.grant_temp(people, 'planned_values', 'SELECT');
            PERFORM minga_roster_internal.as_owner(people,
                minga_roster_internal.planned_keys_statement(people, index), connection.site);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.holders_query(people, index), 'pg_temp.collisions',
                connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.repeated_keys_query(index), 'pg_temp.collisions', index.index_name);
            DROP TABLE planned_keys, planned_values;
        EXCEPTION
            -- A value that does not fit its column keeps the index from being checked, and nobody else from being written. So does a key or
            -- a predicate of the whole row.
            WHEN data_exception OR integrity_constraint_violation OR raise_exception OR undefined_function OR undefined_table THEN
                NULL;
        END;
    END LOOP;

    UPDATE decisions d
    SET outcome = 'conflict', links = false, told = true, before = '{}', after = '{}', rule = 'unique index',
        conflict = 'not_unique',
        reason = format(CASE WHEN c.other IS NULL THEN 'Another row of the roster would get a value that the unique index "%s" of people allows once.'
            WHEN c.is_gone THEN 'Somebody who is archived or gone has a value that the unique index "%s" of people '
                'allows once. '
                'Clear it there, or make the index cover active people alone; the next sync goes on.'
            ELSE 'Somebody has a value already that the unique index "%s" of people allows once.' END, c.index_name)
    FROM (
        SELECT DISTINCT ON (s.label) s.label, s.index_name, s.other,
            p.archived OR EXISTS (SELECT FROM open_rows o WHERE o.person_id = s.other
                AND o.standing = 'absent') AS is_gone
        FROM collisions s LEFT JOIN current_people p ON p.person_id = s.other
        ORDER BY s.label, s.other IS NULL, s.index_name
    ) c
    WHERE d.label = c.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_collisions(connections) IS
'Turns decisions into conflicts whose values a unique index of the people relation would refuse, for the sake of somebody there or of each other. Makes the temp table collisions.';

CREATE FUNCTION minga_roster_internal.name_collisions(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM collisions) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE named_collisions ON COMMIT DROP AS
    SELECT DISTINCT ON (c.change) c.change, s.other, p.person_id IS NOT NULL AS is_of_site
    FROM minga_roster.changes c
    JOIN decisions d ON d.sourced_ids = c.sourced_ids AND d.outcome = 'conflict'
    JOIN collisions s ON s.label = d.label
    LEFT JOIN current_people p ON p.person_id = s.other
    WHERE c.run = name_collisions.run AND c.rule = 'unique index' AND s.other IS NOT NULL
    ORDER BY c.change, s.index_name;
    UPDATE minga_roster.changes c SET state_reason = format('Person "%s" has the value.', n.other)
    FROM named_collisions n
    WHERE c.run = name_collisions.run AND c.change = n.change;
    INSERT INTO minga_roster.conflict_candidates (run, change, person_id, found_by)
    SELECT name_collisions.run, n.change, n.other, 'unique index' FROM named_collisions n WHERE n.is_of_site;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.name_collisions(bigint) IS
'Says in state_reason, which no report repeats, and in conflict_candidates who has the value that a planned change collides with.';
