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
    PERFORM minga_roster_internal.analyze_if_large('plan_people');
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
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_rules(connections, bigint) IS
'Fills plan_rules: the preset''s rules with the connection''s toggles.';

CREATE FUNCTION minga_roster_internal.read_proof(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('rows');
    -- What a category stands for if no row of tonight says more.
    INSERT INTO plan_categories
    SELECT DISTINCT ON (r.category) r.category, r.family, r.role, r.rank, r.rostered, r.auto_update, r.archive
    FROM plan_rules r ORDER BY r.category, r.rank, r.roster_role;

    INSERT INTO plan_proved_families
    SELECT e.entry ->> 'family' AS family
    FROM minga_roster.runs this
    CROSS JOIN minga_roster.sis s
    CROSS JOIN LATERAL jsonb_array_elements(s.collections) AS e (entry)
    LEFT JOIN minga_roster.collections c ON c.run = read_proof.run AND c.collection = e.entry ->> 'collection'
    WHERE this.run = read_proof.run AND this.is_full AND s.sis = connection.sis
    GROUP BY e.entry ->> 'family'
    HAVING bool_and(c.run IS NOT NULL AND c.complete AND c.without_id = 0
        AND (c.rows > c.elsewhere
            OR NOT EXISTS (
                SELECT FROM minga_roster.links l
                WHERE l.connection = read_proof.connection.connection AND e.entry -> 'categories' ? l.category)
            -- Several collections may hold one category: one in which no sync or preview on record found anyone has
            -- linked no one.
            OR (SELECT bool_and(b.rows <= b.elsewhere)
                FROM minga_roster.collections b
                JOIN minga_roster.runs r ON r.run = b.run
                WHERE r.connection = read_proof.connection.connection AND r.kind IN ('sync', 'preview')
                    AND r.state = 'succeeded'
                    AND b.collection = c.collection)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_proof(connections, bigint) IS
'Fills plan_categories, by plan_rules, and plan_proved_families: the families of which every collection was read to a '
    'proved end in this run and is not empty, unless it never had a linked person (of contacts: a row). A delta proves '
    'none.';

CREATE FUNCTION minga_roster_internal.has_stored(connection text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN EXISTS (SELECT FROM minga_roster.stored_values v WHERE v.connection = has_stored.connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.has_stored(text) IS
'Whether the people relation has made something else of a value that the connection sent.';

CREATE FUNCTION minga_roster_internal.find_stored(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT minga_roster_internal.has_stored(connection.connection) THEN
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
    PERFORM minga_roster_internal.analyze_if_large('plan_as_sent', 'person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_stored(connections) IS
'Fills plan_as_sent: for each person who still has what the relation made of a value, a hash of that value '
    'by column. A value of that hash is what the person has.';

CREATE FUNCTION minga_roster_internal.agreement(connection connections, columns text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
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
            ) n) END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.agreement(connections, text[]) IS
'An SQL expression: whether of a staged row s and a person p these columns agree, byte for byte or, by plan_as_sent '
    'z, in the form that the relation gave them.';
