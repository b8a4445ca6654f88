-- Apply: the only writer of people. Each person is checked again as he is written; who was changed since the plan is left alone.
-- Then the links, which say who is who, and whether the connection is proven.

CREATE FUNCTION column_default(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        pg_get_expr(d.adbin, d.adrelid),
        CASE WHEN a.attidentity <> '' THEN format('nextval(%L::regclass)', pg_get_serial_sequence(relation::text, a.attname)) END,
        pg_get_expr(t.typdefaultbin, 0))
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION column_default(regclass, text) IS
'The expression of a column''s default or, of an identity column, of its next value; NULL where there is none. Of a view its own defaults only.';

CREATE FUNCTION person_hash(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('pg_catalog.hashtextextended(ROW(%s, %s, %s%s)::pg_catalog.text, 0)',
        format('p.%I::pg_catalog.text', r.columns ->> 'role'),
        CASE WHEN r.columns ? 'roster_managed' THEN format('coalesce(p.%I, true)', r.columns ->> 'roster_managed') ELSE 'true' END,
        (minga_roster.archive_terms(relation)).hashed,
        (SELECT string_agg(CASE WHEN r.columns ? c.name THEN format(', p.%I::pg_catalog.text', r.columns ->> c.name) ELSE ', NULL' END, '' ORDER BY c.place)
            FROM unnest(minga_roster.written_columns()) WITH ORDINALITY c (name, place)))
    FROM minga_roster.people_relations r
    WHERE r.relation = person_hash.relation
$$;
COMMENT ON FUNCTION person_hash(regclass) IS
'The SQL expression of a hash of all that a roster sees of a person p of the people relation; hash_people makes the same of current_people.';

CREATE FUNCTION write_range(connection connections, low integer, high integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    arguments text[] := ARRAY[connection.site, minga_roster.clock()::text, low::text, high::text];
    actions text[] := ARRAY(SELECT DISTINCT w.action FROM writes w WHERE w.nth BETWEEN low AND high);
    in_range text := 'w.nth BETWEEN $3::pg_catalog.int4 AND $4::pg_catalog.int4';
    kind text;
    written text[];
    compared text[];
    hash text := minga_roster.person_hash(people);
    archive record := minga_roster.archive_terms(people);
BEGIN
    FOREACH kind IN ARRAY ARRAY['archive', 'update', 'restore'] LOOP
        CONTINUE WHEN kind <> ALL (actions);
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k
            WHERE w.action = kind AND w.nth BETWEEN low AND high AND k <> 'archived_at');
        compared := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.before) k
            WHERE w.action = kind AND w.nth BETWEEN low AND high AND k <> 'archived_at');
        -- Only people who are as they were seen: managed, neither owner nor manager, in or out of the archive, with the values of before.
        PERFORM minga_roster.read_as_owner(people, format(
            'WITH hit AS (UPDATE %1$s p SET %2$s FROM pg_temp.writes w WHERE %3$s AND %4$s AND %5$s AND w.action = %6$L '
            'AND %7$s NOT IN (''owner'', ''manager'')%8$s AND %9$s%10$s '
            'RETURNING w.change, %11$s AS seen) SELECT h.change, NULL::pg_catalog.text, h.seen FROM hit h',
            people,
            concat_ws(', ',
                CASE WHEN kind <> 'update' THEN
                    format('%I = %s', map ->> 'archived_at', CASE kind WHEN 'archive' THEN archive.as_archived ELSE archive.as_restored END) END,
                (SELECT string_agg(format('%1$I = CASE WHEN w.after ? %2$L THEN (%3$s)::%4$s ELSE p.%1$I END', map ->> c, c,
                    CASE c WHEN 'role' THEN minga_roster.role_words(people, 'w.after ->> ''role''', false) ELSE format('w.after ->> %L', c) END,
                    minga_roster.column_type(people, map ->> c)), ', ' ORDER BY c) FROM unnest(written) c),
                CASE WHEN map ? 'updated_at' THEN format('%I = $2::pg_catalog.timestamptz', map ->> 'updated_at') END),
            minga_roster.equal_terms(people, map ->> 'site', '$1'), minga_roster.equal_terms(people, map ->> 'person_id', 'w.person_id'), in_range, kind,
            minga_roster.role_words(people, format('p.%I::pg_catalog.text', map ->> 'role'), true),
            CASE WHEN map ? 'roster_managed' THEN format(' AND p.%I IS NOT FALSE', map ->> 'roster_managed') END,
            format(CASE kind WHEN 'restore' THEN '%s AND %s' ELSE 'NOT (%s) AND %s' END, archive.archived, archive.unchanged),
            -- Of several words for a role only the one that is written is the roster's to change.
            (SELECT string_agg(format(' AND (NOT w.before ? %2$L OR p.%1$I::pg_catalog.text IS NOT DISTINCT FROM %3$s)', map ->> c, c,
                CASE c WHEN 'role' THEN minga_roster.role_words(people, 'w.before ->> ''role''', false) ELSE format('w.before ->> %L', c) END),
                '' ORDER BY c) FROM unnest(compared) c),
            hash),
            'pg_temp.hits', VARIADIC arguments);
    END LOOP;
    IF 'create' = ANY (actions) THEN
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k
            WHERE w.action = 'create' AND w.nth BETWEEN low AND high AND k <> 'role');
        PERFORM minga_roster.read_as_owner(people, format(
            'WITH hit AS (INSERT INTO %1$s AS p (%2$I, %3$I, %4$I%5$s%6$s%14$s) OVERRIDING SYSTEM VALUE '
            'SELECT $1, w.person_id::%7$s, (%8$s)::%9$s%10$s%11$s%15$s FROM pg_temp.writes w WHERE w.action = ''create'' AND %12$s ORDER BY w.change '
            'RETURNING p.%3$I::pg_catalog.text AS person_id, %13$s AS seen) '
            'SELECT NULL::pg_catalog.int4, h.person_id, h.seen FROM hit h',
            people, map ->> 'site', map ->> 'person_id', map ->> 'role',
            (SELECT string_agg(format(', %I', map ->> c), '' ORDER BY c) FROM unnest(written) c),
            CASE WHEN map ? 'updated_at' THEN format(', %I', map ->> 'updated_at') END,
            minga_roster.column_type(people, map ->> 'person_id'),
            minga_roster.role_words(people, 'w.after ->> ''role''', false), minga_roster.column_type(people, map ->> 'role'),
            -- Where others have a value and the roster none, the column's default stays in its place.
            (SELECT string_agg(', ' || CASE WHEN d IS NULL THEN format('(w.after ->> %L)::%s', c, t)
                ELSE format('CASE WHEN w.after ? %1$L THEN (w.after ->> %1$L)::%2$s ELSE (%3$s)::%2$s END', c, t, d) END, '' ORDER BY c)
                FROM unnest(written) c, minga_roster.column_type(people, map ->> c) t, minga_roster.column_default(people, map ->> c) d),
            CASE WHEN map ? 'updated_at' THEN ', $2::pg_catalog.timestamptz' END,
            in_range, hash,
            CASE WHEN archive.as_created IS NOT NULL THEN format(', %I', map ->> 'archived_at') END, ', ' || archive.as_created),
            'pg_temp.hits', VARIADIC arguments);
    END IF;
END
$$;
COMMENT ON FUNCTION write_range(connections, integer, integer) IS
'Carries out the rows of the temp table writes from nth low to high on the people relation, as its owner, and notes in hits what was done. A person who is not as before says is not hit.';

CREATE FUNCTION write_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_offenders CONSTANT integer := 100;
    lows integer[] := ARRAY[1];
    highs integer[] := ARRAY[(SELECT max(w.nth) FROM writes w)];
    low integer;
    high integer;
    offenders integer := 0;
    constraint_hit text;
    id_column text := (SELECT r.columns ->> 'person_id' FROM minga_roster.people_relations r WHERE r.relation = connection.people);
BEGIN
    IF highs[1] IS NULL THEN
        RETURN;
    END IF;
    PERFORM minga_roster.grant_temp(connection.people, 'writes', 'SELECT');
    IF EXISTS (SELECT FROM writes w WHERE w.action = 'create') THEN
        CREATE TEMP TABLE drawn_ids (change integer, person_id text) ON COMMIT DROP;
        PERFORM minga_roster.read_as_owner(connection.people, format(
            'SELECT w.change, ((%s)::%s)::pg_catalog.text FROM pg_temp.writes w WHERE w.action = ''create''',
            minga_roster.column_default(connection.people, id_column), minga_roster.stored_type(connection.people, id_column)),
            'pg_temp.drawn_ids');
        UPDATE writes w SET person_id = d.person_id FROM drawn_ids d WHERE d.change = w.change;
    END IF;
    WHILE lows <> '{}' LOOP
        low := lows[cardinality(lows)];
        high := highs[cardinality(highs)];
        lows := trim_array(lows, 1);
        highs := trim_array(highs, 1);
        BEGIN
            PERFORM minga_roster.write_range(connection, low, high);
        EXCEPTION
            WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
                GET STACKED DIAGNOSTICS constraint_hit = CONSTRAINT_NAME;
                IF low < high THEN
                    lows := lows || ARRAY[(low + high) / 2 + 1, low];
                    highs := highs || ARRAY[high, (low + high) / 2];
                ELSE
                    offenders := offenders + 1;
                    IF offenders > most_offenders THEN
                        RAISE;
                    END IF;
                    UPDATE writes w
                    SET failure = format('The people relation refuses it with SQLSTATE %s%s.', SQLSTATE,
                        CASE WHEN constraint_hit <> '' THEN format(', constraint "%s"', constraint_hit) ELSE '' END)
                    WHERE w.nth = low;
                END IF;
                -- For few rows indexes are better than scans.
                IF to_regclass('pg_temp.writes_nth') IS NULL THEN
                    CREATE INDEX writes_nth ON writes (nth);
                END IF;
                PERFORM set_config('enable_nestloop', CASE WHEN high - low > 2000 THEN 'off' ELSE 'on' END, true);
        END;
    END LOOP;
    UPDATE writes w SET done = true, seen = h.seen FROM hits h WHERE h.change = w.change;
    UPDATE writes w SET done = true, seen = h.seen FROM hits h WHERE w.action = 'create' AND h.person_id = w.person_id;
END
$$;
COMMENT ON FUNCTION write_people(connections) IS
'Carries out the temp table writes, and marks what was done. What the relation refuses with SQLSTATE class 22, 23 or P0001 is narrowed down by halves, each in a subtransaction, until the offenders stand alone (failure says why) and everybody else is written; with more than 100 of them the error is raised. Ids of new people are drawn by the relation''s own default.';

CREATE FUNCTION open_writes(of_run bigint, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE TEMP TABLE writes ON COMMIT DROP AS
    SELECT row_number() OVER (ORDER BY c.change)::integer AS nth, c.change, c.action, c.category, c.person_id,
        c.sourced_ids[1] COLLATE "C" AS sourced_id, c.before, c.after, false AS done, NULL::text AS failure, NULL::bigint AS seen
    FROM minga_roster.changes c
    WHERE c.run = of_run AND c.state = of_state AND c.action IN ('create', 'update', 'restore', 'archive')
        -- What else is held is for roster_relink and the next sync.
        AND (of_state <> 'held' OR minga_roster.awaits_approval(c.action, c.state_cause));
    ANALYZE writes;
    CREATE TEMP TABLE hits (change integer, person_id text, seen bigint) ON COMMIT DROP;
END
$$;
COMMENT ON FUNCTION open_writes(bigint, text) IS 'Makes the temp tables writes (the changes to people in this state) and hits.';

CREATE FUNCTION plan_links(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE settled ON COMMIT DROP AS
    SELECT d.label, c.change, d.person_id, d.links, d.step, d.rule, d.first_run, d.outcome,
        CASE WHEN d.after ? 'role' AND d.held_as IS NULL THEN d.after ->> 'role' ELSE d.last_role END AS role_written,
        d.after ? 'role' AND d.held_as IS NULL AND d.outcome <> 'create' AS writes_role
    FROM decisions d
    LEFT JOIN minga_roster.changes c ON c.run = plan_links.run.run AND c.state = 'planned' AND c.action <> 'archive'
        AND c.sourced_ids[1] COLLATE "C" = d.sourced_ids[1] COLLATE "C"
    WHERE d.outcome NOT IN ('conflict', 'reject');

    CREATE TEMP TABLE link_writes (sourced_id text COLLATE "C", deed text, change integer, person_id text, category text, role_written text,
        rule text, linked_run bigint, missing boolean, returned boolean, archived boolean) ON COMMIT DROP;
    INSERT INTO link_writes
    SELECT o.sourced_id, CASE WHEN o.linked THEN 'replace' ELSE 'insert' END, s.change, s.person_id, o.category, s.role_written, s.rule, s.first_run,
        false, false
    FROM settled s JOIN open_rows o ON o.label = s.label
    WHERE s.links AND o.usable AND o.person_id IS NULL;
    -- A link moves from an id that is gone to the one that took its place.
    INSERT INTO link_writes (sourced_id, deed, change, missing, returned)
    SELECT o.sourced_id, 'delete', min(s.change), false, false
    FROM settled s JOIN open_rows o ON o.person_id = s.person_id
    WHERE s.links AND s.step IN ('former id', 'identifier', 'e-mail') AND o.standing = 'absent' AND o.linked
    GROUP BY o.sourced_id;
    INSERT INTO link_writes (sourced_id, deed, change, category, role_written, missing, returned, archived)
    SELECT u.*
    FROM (
        SELECT o.sourced_id, 'update', coalesce(w.change, a.change),
            CASE WHEN s.label IS NOT NULL AND o.usable AND o.person_id IS NOT NULL AND o.link_category <> o.category THEN o.category END AS category,
            CASE WHEN o.role_written IS DISTINCT FROM w.role_written THEN w.role_written END AS role_written,
            -- Absence is recorded once, where it is proved, and ends with the row's return.
            o.standing = 'absent' AND NOT o.missed AND minga_roster.family_of(o.link_category) IN (SELECT f.family FROM proved_families f) AS missing,
            o.standing <> 'absent' AND o.missed AS returned,
            CASE WHEN a.change IS NOT NULL THEN true
                WHEN o.archived_run IS NOT NULL AND (r.change IS NOT NULL OR NOT p.archived) THEN false END AS archived
        FROM open_rows o
        LEFT JOIN settled s ON s.label = o.label
        LEFT JOIN settled w ON w.person_id = o.person_id AND w.writes_role
        LEFT JOIN settled r ON r.person_id = o.person_id AND r.outcome = 'restore'
        LEFT JOIN minga_roster.changes a ON a.run = plan_links.run.run AND a.action = 'archive' AND a.state = 'planned' AND a.person_id = o.person_id
        LEFT JOIN current_people p ON p.person_id = o.person_id
        WHERE o.linked
    ) u
    WHERE (u.category IS NOT NULL OR u.role_written IS NOT NULL OR u.missing OR u.returned OR u.archived IS NOT NULL)
        AND u.sourced_id NOT IN (SELECT g.sourced_id FROM link_writes g WHERE g.deed IN ('replace', 'delete'));
    ANALYZE link_writes (sourced_id, change);
END
$$;
COMMENT ON FUNCTION plan_links(runs) IS
'Makes the temp table link_writes: what is to be written to the links, one row for each. change is the change to people that it waits for; of an update only role_written and archived do.';

CREATE FUNCTION write_links(run runs, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    moment timestamptz := minga_roster.clock();
BEGIN
    -- What waits for a change that was not carried out is not written.
    CREATE TEMP TABLE undone_changes ON COMMIT DROP AS
    SELECT w.change FROM writes w WHERE NOT w.done
    UNION
    SELECT c.change FROM minga_roster.changes c WHERE c.run = planned_in AND c.state = 'refused';
    DELETE FROM link_writes l USING undone_changes u WHERE l.change = u.change AND l.deed <> 'update';
    UPDATE link_writes l SET role_written = NULL, archived = NULL FROM undone_changes u WHERE l.change = u.change;
    DELETE FROM link_writes l
    WHERE l.deed = 'update' AND l.category IS NULL AND l.role_written IS NULL AND NOT l.missing AND NOT l.returned AND l.archived IS NULL;

    INSERT INTO minga_roster.link_changes (run, sourced_id, before)
    SELECT run.run, w.sourced_id, to_jsonb(l)
    FROM link_writes w JOIN minga_roster.links l ON l.connection = write_links.run.connection AND l.sourced_id = w.sourced_id
    WHERE w.deed <> 'insert'
    UNION ALL
    SELECT run.run, w.sourced_id, NULL FROM link_writes w WHERE w.deed = 'insert' AND w.linked_run IS NOT NULL;

    DELETE FROM minga_roster.links l USING link_writes w
    WHERE w.deed IN ('delete', 'replace') AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT run.connection, w.sourced_id, run.site, coalesce(w.person_id, p.person_id), w.category, w.role_written, w.rule, coalesce(w.linked_run, run.run)
    FROM link_writes w LEFT JOIN writes p ON p.change = w.change AND p.action = 'create'
    WHERE w.deed IN ('insert', 'replace');
    UPDATE minga_roster.links l
    SET category = coalesce(w.category, l.category), role_written = coalesce(w.role_written, l.role_written), missed = l.missed + w.missing::integer,
        missed_since = CASE WHEN w.missing THEN moment WHEN NOT w.returned THEN l.missed_since END,
        missed_run = CASE WHEN w.missing THEN run.run WHEN NOT w.returned THEN l.missed_run END,
        archived_run = CASE WHEN w.archived THEN run.run WHEN w.archived IS NULL THEN l.archived_run END
    FROM link_writes w
    WHERE w.deed = 'update' AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
END
$$;
COMMENT ON FUNCTION write_links(runs, bigint) IS
'Carries out the temp table link_writes, so that the links are in step with what was written to people; planned_in is the run that has the changes. Rewrites no row that stays as it is, and keeps in link_changes what was there before.';

CREATE FUNCTION settle_changes(run bigint, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    UPDATE minga_roster.changes c
    SET action = CASE WHEN w.failure IS NULL THEN c.action ELSE 'reject' END,
        rule = CASE WHEN w.failure IS NULL THEN c.rule ELSE 'refused by people' END,
        reason = coalesce(w.failure, c.reason),
        state = CASE WHEN w.failure IS NOT NULL THEN 'noted' WHEN coalesce(w.done, true) THEN 'applied' ELSE 'refused' END,
        person_id = CASE WHEN c.action <> 'create' THEN c.person_id WHEN w.done THEN w.person_id END,
        after = CASE WHEN c.action = 'archive' AND w.done THEN jsonb_build_object('archived_at', minga_roster.clock()) || c.after ELSE c.after END,
        state_at = minga_roster.clock(),
        state_reason = CASE
            WHEN w.failure IS NOT NULL OR coalesce(w.done, true) THEN NULL
            WHEN c.action = 'create' THEN 'The people relation did not take the new person.'
            ELSE 'The person was changed after the plan was made.'
        END,
        seen = coalesce(w.seen, c.seen),
        done_by = CASE WHEN coalesce(w.done, true) THEN settle_changes.run END
    FROM (SELECT p.change, w.done, w.person_id, w.failure, w.seen FROM minga_roster.changes p LEFT JOIN writes w ON w.change = p.change
            WHERE p.run = planned_in AND p.state = 'planned') w
    WHERE c.run = planned_in AND c.change = w.change;
END
$$;
COMMENT ON FUNCTION settle_changes(bigint, bigint) IS 'Notes what became of the planned changes of planned_in, which run carried out.';

CREATE FUNCTION count_offenders(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM writes w WHERE w.failure IS NOT NULL) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE offender_counts ON COMMIT DROP AS
    SELECT coalesce(r.category, w.category, 'none') AS category, d.outcome, count(*) AS count
    FROM writes w
    LEFT JOIN decisions d ON d.sourced_ids[1] = w.sourced_id AND d.outcome = w.action
    LEFT JOIN minga_roster.staged_users s ON s.connection = count_offenders.run.connection AND s.sourced_id = d.main_row
    LEFT JOIN roster_rules r ON r.roster_role = s.role
    WHERE w.failure IS NOT NULL
    GROUP BY 1, 2;
    UPDATE minga_roster.staged_users s SET outcome = 'reject'
    FROM writes w JOIN decisions d ON d.sourced_ids[1] = w.sourced_id AND d.outcome = w.action
    WHERE w.failure IS NOT NULL AND s.connection = run.connection AND s.sourced_id = d.main_row;
    UPDATE minga_roster.run_counts c SET count = c.count - o.count
    FROM offender_counts o
    WHERE c.run = count_offenders.run.run AND c.category = o.category AND c.action = o.outcome;
    INSERT INTO minga_roster.run_counts AS c (run, category, action, count)
    SELECT count_offenders.run.run, o.category, CASE WHEN o.outcome IS NULL THEN 'refused archive' ELSE 'reject' END, sum(o.count)
    FROM offender_counts o
    GROUP BY 2, 3
    ON CONFLICT ON CONSTRAINT run_counts_pkey DO UPDATE SET count = c.count + excluded.count;
END
$$;
COMMENT ON FUNCTION count_offenders(runs) IS 'Moves those whom the people relation refused from the outcome that was planned to reject, in the stage and in run_counts; those who are gone and could not be archived stand apart, as refused archive.';

CREATE FUNCTION prove_connection(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE minga_roster.connections c SET unproven = false
    WHERE c.connection = run.connection AND c.unproven AND run.is_full
        AND EXISTS (SELECT FROM proved_families f WHERE f.family <> 'contact')
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
    PERFORM minga_roster.plan_links(this);
    PERFORM minga_roster.open_writes(this.run, 'planned');
    PERFORM minga_roster.write_people(minga_roster.known_connection(this.connection));
    PERFORM minga_roster.write_links(this, this.run);
    PERFORM minga_roster.remember_written(this.connection);
    PERFORM minga_roster.settle_changes(this.run, this.run);
    PERFORM minga_roster.count_offenders(this);
    PERFORM minga_roster.prove_connection(this);
END
$$;
COMMENT ON FUNCTION apply_run(bigint) IS 'Carries out the planned changes of the run on people and links. In the transaction of plan_run and guard_run.';
