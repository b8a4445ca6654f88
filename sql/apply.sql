-- Apply: the only writer of people. Each person is checked again as he is written; who was changed since the plan is left alone.
-- Then the links, which say who is who, and whether the connection is proven.

CREATE FUNCTION default_id(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        pg_get_expr(d.adbin, d.adrelid),
        format('nextval(%L::regclass)', pg_get_serial_sequence(relation::text, a.attname)))
    FROM minga_roster.people_relations r
    JOIN pg_attribute a ON a.attrelid = r.relation AND a.attname = r.columns ->> 'person_id'
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE r.relation = default_id.relation
$$;
COMMENT ON FUNCTION default_id(regclass) IS 'The expression by which the people relation draws an id.';

CREATE FUNCTION column_type(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format_type(a.atttypid, NULL) FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION column_type(regclass, text) IS 'Type of a column, without its length: a cast must not cut a value short in silence.';

CREATE FUNCTION write_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    actions text[] := ARRAY(SELECT DISTINCT w.action FROM writes w);
    kind text;
    written text[];
    moment text := minga_roster.clock()::text;
    -- Who may be written: managed, and neither owner nor manager.
    free text := format('%s NOT IN (''owner'', ''manager'')%s',
        minga_roster.role_words(people, format('p.%I::pg_catalog.text', map ->> 'role'), true),
        CASE WHEN map ? 'roster_managed' THEN format(' AND p.%I IS NOT FALSE', map ->> 'roster_managed') ELSE '' END);
    same_person text := format('p.%I = $1 AND p.%I = w.person_id::%s', map ->> 'site', map ->> 'person_id',
        minga_roster.column_type(people, map ->> 'person_id'));
    stamp text := CASE WHEN map ? 'updated_at' THEN format('%I = $2::pg_catalog.timestamptz', map ->> 'updated_at') END;
BEGIN
    IF actions = '{}' THEN
        RETURN;
    END IF;
    PERFORM minga_roster.grant_temp(people, 'writes');
    PERFORM minga_roster.grant_temp(people, 'hits');

    IF 'create' = ANY (actions) THEN
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k WHERE w.action = 'create' AND k <> 'role');
        PERFORM minga_roster.as_owner(people,
            format('UPDATE pg_temp.writes SET person_id = (%s)::pg_catalog.text WHERE action = ''create''', minga_roster.default_id(people)));
        PERFORM minga_roster.as_owner(people, format(
            'WITH hit AS (INSERT INTO %1$s AS p (%2$I, %3$I, %4$I%5$s%6$s) OVERRIDING SYSTEM VALUE '
            'SELECT $1, w.person_id::%7$s, (%8$s)::%9$s%10$s%11$s FROM pg_temp.writes w WHERE w.action = ''create'' ORDER BY w.change '
            'RETURNING p.%3$I::pg_catalog.text AS person_id) '
            'INSERT INTO pg_temp.hits (person_id) SELECT person_id FROM hit',
            people, map ->> 'site', map ->> 'person_id', map ->> 'role',
            (SELECT string_agg(format(', %I', map ->> c), '' ORDER BY c) FROM unnest(written) c),
            CASE WHEN map ? 'updated_at' THEN format(', %I', map ->> 'updated_at') ELSE '' END,
            minga_roster.column_type(people, map ->> 'person_id'),
            minga_roster.role_words(people, 'w.after ->> ''role''', false), minga_roster.column_type(people, map ->> 'role'),
            (SELECT string_agg(format(', (w.after ->> %L)::%s', c, minga_roster.column_type(people, map ->> c)), '' ORDER BY c) FROM unnest(written) c),
            CASE WHEN map ? 'updated_at' THEN ', $2::pg_catalog.timestamptz' ELSE '' END),
            VARIADIC ARRAY[connection.site] || CASE WHEN map ? 'updated_at' THEN ARRAY[moment] ELSE '{}' END);
        UPDATE writes w SET done = true FROM hits h WHERE w.action = 'create' AND h.person_id = w.person_id;
        TRUNCATE hits;
    END IF;
    FOREACH kind IN ARRAY ARRAY['update', 'restore'] LOOP
        CONTINUE WHEN kind <> ALL (actions);
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k WHERE w.action = kind);
        PERFORM minga_roster.as_owner(people, format(
            'WITH hit AS (UPDATE %1$s p SET %2$s FROM pg_temp.writes w WHERE %3$s AND w.action = %4$L AND p.%5$I IS %6$s AND %7$s%8$s '
            'RETURNING w.change) INSERT INTO pg_temp.hits (change) SELECT change FROM hit',
            people,
            concat_ws(', ', CASE kind WHEN 'restore' THEN format('%I = NULL', map ->> 'archived_at') END,
                (SELECT string_agg(format('%1$I = CASE WHEN w.after ? %2$L THEN (%3$s)::%4$s ELSE p.%1$I END', map ->> c, c,
                    CASE c WHEN 'role' THEN minga_roster.role_words(people, 'w.after ->> ''role''', false) ELSE format('w.after ->> %L', c) END,
                    minga_roster.column_type(people, map ->> c)), ', ' ORDER BY c) FROM unnest(written) c),
                stamp),
            same_person, kind, map ->> 'archived_at', CASE kind WHEN 'restore' THEN 'NOT NULL' ELSE 'NULL' END, free,
            (SELECT string_agg(format(' AND (NOT w.after ? %2$L OR %1$s IS NOT DISTINCT FROM w.before ->> %2$L)',
                CASE c WHEN 'role' THEN minga_roster.role_words(people, format('p.%I::pg_catalog.text', map ->> c), true)
                    ELSE format('p.%I::pg_catalog.text', map ->> c) END, c), '' ORDER BY c) FROM unnest(written) c)),
            VARIADIC ARRAY[connection.site] || CASE WHEN map ? 'updated_at' THEN ARRAY[moment] ELSE '{}' END);
    END LOOP;
    IF 'archive' = ANY (actions) THEN
        PERFORM minga_roster.as_owner(people, format(
            'WITH hit AS (UPDATE %1$s p SET %2$I = $2::pg_catalog.timestamptz%3$s FROM pg_temp.writes w '
            'WHERE %4$s AND w.action = ''archive'' AND p.%2$I IS NULL AND %5$s '
            'RETURNING w.change) INSERT INTO pg_temp.hits (change) SELECT change FROM hit',
            people, map ->> 'archived_at', coalesce(', ' || stamp, ''), same_person, free), connection.site, moment);
    END IF;
    UPDATE writes w SET done = true FROM hits h WHERE h.change = w.change;
END
$$;
COMMENT ON FUNCTION write_people(connections) IS
'Carries out the temp table writes on the people relation, as its owner, and marks what was done. A person who is not as the plan saw him is not hit. Ids of new people are drawn by the relation''s own default.';

CREATE FUNCTION open_writes(of_run bigint, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE TEMP TABLE writes ON COMMIT DROP AS
    SELECT c.change, c.action, c.category, c.person_id, c.sourced_ids[1] COLLATE "C" AS sourced_id, c.before, c.after, false AS done
    FROM minga_roster.changes c
    WHERE c.run = of_run AND c.state = of_state AND c.action IN ('create', 'update', 'restore', 'archive')
        -- What else is held is for roster_relink and the next sync.
        AND (of_state <> 'held' OR c.action = 'archive');
    ANALYZE writes;
    CREATE TEMP TABLE hits (change integer, person_id text) ON COMMIT DROP;
END
$$;
COMMENT ON FUNCTION open_writes(bigint, text) IS 'Makes the temp tables writes (the changes to people in this state) and hits.';

CREATE FUNCTION write_links(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    moment timestamptz := minga_roster.clock();
BEGIN
    CREATE TEMP TABLE settled ON COMMIT DROP AS
    SELECT d.label, coalesce(d.person_id, w.person_id) AS person_id, d.links, d.step, d.rule, d.first_run, d.outcome,
        CASE WHEN w.done AND w.after ? 'role' THEN w.after ->> 'role' ELSE d.last_role END AS role_written,
        coalesce(w.done, false) AND w.after ? 'role' AND d.outcome <> 'create' AS writes_role
    FROM decisions d
    LEFT JOIN writes w ON w.sourced_id = d.sourced_ids[1] AND w.action = d.outcome AND w.action <> 'archive'
    WHERE d.outcome NOT IN ('conflict', 'reject') AND (d.outcome <> 'create' OR w.done);

    -- A link moves from an id that is gone to the one that took its place.
    DELETE FROM minga_roster.links l
    USING settled s, open_rows o
    WHERE s.links AND s.step IN ('identifier', 'e-mail') AND o.person_id = s.person_id AND o.standing = 'absent'
        AND l.connection = run.connection AND l.sourced_id = o.sourced_id;
    DELETE FROM minga_roster.links l
    USING settled s, open_rows o
    WHERE s.links AND o.label = s.label AND o.usable AND o.linked AND o.person_id IS NULL
        AND l.connection = run.connection AND l.sourced_id = o.sourced_id;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT run.connection, o.sourced_id, run.site, s.person_id, o.category, s.role_written, s.rule, coalesce(s.first_run, run.run)
    FROM settled s JOIN open_rows o ON o.label = s.label
    WHERE s.links AND o.usable AND o.person_id IS NULL;

    UPDATE minga_roster.links l SET category = o.category
    FROM settled s JOIN open_rows o ON o.label = s.label
    WHERE o.usable AND o.person_id IS NOT NULL AND l.connection = run.connection AND l.sourced_id = o.sourced_id AND l.category <> o.category;
    UPDATE minga_roster.links l SET role_written = s.role_written
    FROM settled s
    WHERE s.writes_role AND l.connection = run.connection AND l.person_id = s.person_id AND l.role_written IS DISTINCT FROM s.role_written;

    -- Absence is recorded once, where it is proved, and ends with the row's return.
    UPDATE minga_roster.links l SET missed = l.missed + 1, missed_since = moment, missed_run = run.run
    FROM open_rows o
    WHERE o.standing = 'absent' AND o.linked AND NOT o.missed AND l.connection = run.connection AND l.sourced_id = o.sourced_id
        AND minga_roster.family_of(o.link_category) IN (SELECT f.family FROM proved_families f);
    UPDATE minga_roster.links l SET missed_since = NULL, missed_run = NULL
    FROM open_rows o
    WHERE o.standing <> 'absent' AND o.missed AND l.connection = run.connection AND l.sourced_id = o.sourced_id;

    UPDATE minga_roster.links l SET archived_run = run.run
    FROM writes w
    WHERE w.done AND w.action = 'archive' AND l.connection = run.connection AND l.person_id = w.person_id;
    UPDATE minga_roster.links l SET archived_run = NULL
    FROM open_rows o
    JOIN current_people p ON p.person_id = o.person_id
    LEFT JOIN writes w ON w.person_id = o.person_id AND w.done AND w.action IN ('restore', 'archive')
    WHERE o.archived_run IS NOT NULL AND l.connection = run.connection AND l.sourced_id = o.sourced_id
        AND (w.action = 'restore' OR (NOT p.archived AND w.action IS NULL));
END
$$;
COMMENT ON FUNCTION write_links(runs) IS 'Brings the links in step with what apply did; rewrites no row that stays as it is.';

CREATE FUNCTION prove_connection(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE minga_roster.connections c SET unproven = false
    WHERE c.connection = run.connection AND c.unproven AND run.is_full
        AND EXISTS (SELECT FROM proved_families)
        AND NOT EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = c.connection AND l.missed_since >= c.unproven_since)
        -- Nor not listed in a family that was not read whole, where that is no proof of absence.
        AND NOT EXISTS (
            SELECT FROM open_rows o JOIN category_rules r ON r.category = o.link_category
            WHERE o.standing = 'absent' AND o.linked AND NOT o.missed AND r.rostered);
END
$$;
COMMENT ON FUNCTION prove_connection(runs) IS 'A connection is proven by a full sync in which nobody is newly missing since it became unproven.';

CREATE FUNCTION apply_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster.known_run(apply_run.run);
BEGIN
    UPDATE minga_roster.runs r SET phase = 'apply' WHERE r.run = this.run;
    PERFORM minga_roster.open_writes(this.run, 'planned');
    PERFORM minga_roster.write_people(minga_roster.known_connection(this.connection));
    PERFORM minga_roster.write_links(this);
    PERFORM minga_roster.remember_written(this.connection);
    UPDATE minga_roster.changes c
    SET state = CASE WHEN coalesce(w.done, true) THEN 'applied' ELSE 'refused' END,
        person_id = CASE WHEN c.action <> 'create' THEN c.person_id WHEN w.done THEN w.person_id END,
        state_at = minga_roster.clock(),
        state_reason = CASE
            WHEN coalesce(w.done, true) THEN NULL
            WHEN c.action = 'create' THEN 'The people relation did not take the new person.'
            ELSE 'The person was changed after the plan was made.'
        END
    FROM (SELECT p.change, w.done, w.person_id FROM minga_roster.changes p LEFT JOIN writes w ON w.change = p.change
            WHERE p.run = this.run AND p.state = 'planned') w
    WHERE c.run = this.run AND c.change = w.change;
    PERFORM minga_roster.prove_connection(this);
END
$$;
COMMENT ON FUNCTION apply_run(bigint) IS 'Carries out the planned changes of the run on people and links. In the transaction of plan_run and guard_run.';
