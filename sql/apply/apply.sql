-- Apply: the only writer of people. Each person is checked again as he is written; who was changed since the plan is left alone.
-- Then the links, which say who is who, and whether the connection is proven.

CREATE FUNCTION minga_roster_internal.write_range(connection connections, low integer, high integer,
    OUT hidden integer[], OUT kept integer[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    people regclass := connection.people;
    arguments text[] := ARRAY[connection.site, minga_roster_internal.clock()::text, low::text, high::text];
    actions text[] := ARRAY(SELECT DISTINCT w.action FROM writes w WHERE w.nth BETWEEN low AND high AND w.code IS NULL);
    kind text;
    written text[];
    fits text;
    read_back text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['archive', 'update', 'restore'] LOOP
        CONTINUE WHEN kind <> ALL (actions);
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k
            WHERE w.action = kind AND w.code IS NULL AND w.nth BETWEEN low AND high AND k <> 'archived_at');
        fits := minga_roster_internal.fits_terms(people, kind,
            ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.before) k
            WHERE w.action = kind AND w.code IS NULL AND w.nth BETWEEN low AND high AND k <> 'archived_at'));
        PERFORM minga_roster_internal.read_as_owner(people,
            minga_roster_internal.update_statement(people, kind, written, fits), 'pg_temp.hits', VARIADIC arguments);
        PERFORM minga_roster_internal.read_as_owner(people,
            minga_roster_internal.written_query(people, kind, written, fits), 'pg_temp.found', VARIADIC arguments);
    END LOOP;
    IF 'create' = ANY (actions) THEN
        written := ARRAY(SELECT DISTINCT k FROM writes w CROSS JOIN LATERAL jsonb_object_keys(w.after) k
            WHERE w.action = 'create' AND w.code IS NULL AND w.nth BETWEEN low AND high);
        read_back := minga_roster_internal.written_query(people, 'create', written, 'true');
        PERFORM minga_roster_internal.read_as_owner(people,
            minga_roster_internal.insert_statement(people, written), 'pg_temp.hits', VARIADIC arguments);
        -- A trigger may have given the person another id.
        UPDATE writes w SET person_id = h.person_id
        FROM (SELECT t.change, min(t.person_id) AS person_id FROM hits t GROUP BY t.change HAVING count(*) = 1) h
        WHERE w.action = 'create' AND w.change = h.change AND w.person_id <> h.person_id;
        PERFORM minga_roster_internal.read_as_owner(people, read_back, 'pg_temp.found', VARIADIC arguments);
        hidden := minga_roster_internal.missing_people(connection, low, high);
        IF hidden <> '{}' THEN
            PERFORM minga_roster_internal.find_newcomers(connection, hidden);
            DELETE FROM found f USING writes w WHERE w.change = f.change AND w.action = 'create'
                AND w.nth BETWEEN low AND high;
            PERFORM minga_roster_internal.read_as_owner(people, read_back, 'pg_temp.found', VARIADIC arguments);
            hidden := minga_roster_internal.missing_people(connection, low, high);
        END IF;
    END IF;
    IF actions && ARRAY['archive', 'update', 'restore'] THEN
        SELECT coalesce(hidden, '{}') || coalesce(array_agg(j.nth) FILTER (WHERE NOT j.is_kept), '{}'),
            array_agg(j.nth) FILTER (WHERE j.is_kept)
        INTO hidden, kept
        FROM (
            SELECT w.nth, w.action = 'update' AND h.change IS NOT NULL AND f.change IS NOT NULL AS is_kept
            FROM writes w
            LEFT JOIN (SELECT DISTINCT t.change FROM hits t) h ON h.change = w.change
            LEFT JOIN found f ON f.change = w.change
            WHERE w.action <> 'create' AND w.code IS NULL AND w.nth BETWEEN low AND high
                AND (f.fits OR (h.change IS NOT NULL
                    AND (f.change IS NULL OR (w.action <> 'update' AND f.archived <> (w.action = 'archive')))))
        ) j;
    END IF;
    hidden := coalesce(hidden, '{}');
    kept := coalesce(kept, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_range(connections, integer, integer) IS
'Carries out the rows of the temp table writes from nth low to high on the people relation, as its owner, and reads '
    'back what is there: hits has what was done, found who is there. A person who is not as before says is not hit. '
    'hidden are the rows of which nothing is to be seen, kept the updates after which the person is as before.';

CREATE FUNCTION minga_roster_internal.draw_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE TEMP TABLE drawn_ids (change integer, person_id text) ON COMMIT DROP;
    PERFORM minga_roster_internal.read_as_owner(connection.people,
        minga_roster_internal.new_ids_query(connection.people), 'pg_temp.drawn_ids');
    UPDATE writes w SET person_id = d.person_id FROM drawn_ids d WHERE d.change = w.change;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.draw_ids(connections) IS 'Draws the ids of new people by the relation''s own default.';

CREATE FUNCTION minga_roster_internal.write_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_offenders CONSTANT integer := 100;
    most_rounds CONSTANT integer := 20;
    lows integer[] := ARRAY[1];
    highs integer[] := ARRAY[(SELECT max(w.nth) FROM writes w)];
    low integer;
    high integer;
    offenders integer := 0;
    rounds integer := 0;
    again integer[];
    unseen record;
    constraint_hit text;
    column_hit text;
    blame record;
BEGIN
    IF highs[1] IS NULL THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.grant_temp(connection.people, 'writes', 'SELECT');
    CREATE TEMP TABLE hits (change integer, person_id text) ON COMMIT DROP;
    CREATE TEMP TABLE found (change integer, person_id text, seen bigint, fits boolean, archived boolean, now jsonb)
        ON COMMIT DROP;
    IF EXISTS (SELECT FROM writes w WHERE w.action = 'create') THEN
        PERFORM minga_roster_internal.draw_ids(connection);
    END IF;
    WHILE lows <> '{}' LOOP
        low := lows[cardinality(lows)];
        high := highs[cardinality(highs)];
        lows := trim_array(lows, 1);
        highs := trim_array(highs, 1);
        unseen := NULL;
        BEGIN
            unseen := minga_roster_internal.write_range(connection, low, high);
            IF unseen.hidden <> '{}' OR unseen.kept <> '{}' THEN
                RAISE EXCEPTION 'the people relation does not show what was written';
            END IF;
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                GET STACKED DIAGNOSTICS constraint_hit = CONSTRAINT_NAME, column_hit = COLUMN_NAME;
                SELECT e.of_a_row, e.told INTO blame FROM minga_roster_internal.owner_error() e;
                IF unseen IS NOT NULL THEN
                    -- All of it was taken back, and is done again without those.
                    rounds := CASE WHEN again = ARRAY[low, high] THEN rounds ELSE 0 END + 1;
                    again := ARRAY[low, high];
                    UPDATE writes w
                    SET code = CASE WHEN w.nth = ANY (unseen.kept) THEN 'kept' ELSE 'not stored' END,
                        failure = CASE
                            WHEN w.nth = ANY (unseen.kept)
                                THEN 'The people relation stores for these values what it has.'
                            WHEN w.action = 'create' THEN
                                'The people relation does not show the new person among the people of the site, so '
                                    'the insert was taken back.'
                            ELSE format('The people relation does not take the %s: the person stays as before.',
                                w.action)
                        END,
                        stored = CASE WHEN w.nth = ANY (unseen.kept) THEN w.before - 'archived_at' END
                    WHERE w.nth = ANY (unseen.hidden || unseen.kept)
                        -- A relation that hides other people each time comes to no end.
                        OR (rounds > most_rounds AND w.nth BETWEEN low AND high AND w.code IS NULL);
                    lows := lows || low;
                    highs := highs || high;
                ELSIF NOT blame.of_a_row THEN
                    RAISE;
                ELSIF low < high THEN
                    lows := lows || ARRAY[(low + high) / 2 + 1, low];
                    highs := highs || ARRAY[high, (low + high) / 2];
                ELSE
                    offenders := offenders + 1;
                    IF offenders > most_offenders THEN
                        RAISE;
                    END IF;
                    UPDATE writes w
                    SET code = 'refused', failure = format('The people relation refuses it with SQLSTATE %s%s%s%s.',
                        SQLSTATE,
                        minga_roster_internal.told_name('constraint', constraint_hit),
                        minga_roster_internal.told_name('column', column_hit), ': ' || blame.told)
                    WHERE w.nth = low;
                END IF;
                -- For few rows indexes are better than scans.
                IF to_regclass('pg_temp.writes_nth') IS NULL THEN
                    CREATE INDEX writes_nth ON writes (nth);
                END IF;
                PERFORM set_config('enable_nestloop', CASE WHEN high - low > 2000 THEN 'off' ELSE 'on' END, true);
        END;
    END LOOP;
    UPDATE writes w
    SET done = w.action = 'create' OR h.change IS NOT NULL OR (w.action = 'update' AND f.now IS NULL AND NOT f.fits),
        seen = f.seen,
        stored = CASE WHEN f.now IS NOT NULL THEN (SELECT jsonb_object_agg(k, f.now -> k)
            FROM jsonb_object_keys(w.after) k
            WHERE f.now ? k AND f.now ->> k IS DISTINCT FROM w.after ->> k) END
    FROM found f LEFT JOIN (SELECT DISTINCT t.change FROM hits t) h ON h.change = f.change
    WHERE w.change = f.change AND w.code IS NULL;
    PERFORM minga_roster_internal.remember_stored(connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_people(connections) IS
'Carries out the temp table writes, and marks what was done, and what the relation made of it (stored). Of what is '
    'not done code says why, where the relation is the cause: "refused", an error that one person may have caused, '
    'narrowed down by halves, each in a subtransaction, until the offenders stand alone (with more than 100 of them '
    'the error is raised); "not stored", nothing of it was to be seen; "kept", an update after which the person is '
    'as before. failure has it in words. All others are written.';

CREATE FUNCTION minga_roster_internal.open_writes(of_run bigint, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CREATE TEMP TABLE writes ON COMMIT DROP AS
    SELECT row_number() OVER (ORDER BY c.change)::integer AS nth, c.change, c.action, c.category, c.person_id,
        c.sourced_ids[1] COLLATE "C" AS sourced_id, c.before, c.after, false AS done, NULL::text AS code,
        NULL::text AS failure, NULL::bigint AS seen,
        NULL::jsonb AS stored, false AS links
    FROM minga_roster.changes c
    WHERE c.run = of_run AND c.state = of_state AND c.action IN ('create', 'update', 'restore', 'archive')
        -- What else is held is for roster_relink and the next sync.
        AND (of_state <> 'held' OR minga_roster_internal.awaits_approval(c.action, c.state_cause));
    ANALYZE writes;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_writes(bigint, text) IS 'Makes the temp table writes: the changes to people in this state.';

CREATE FUNCTION minga_roster_internal.plan_links(run runs) RETURNS void
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
            o.standing = 'absent' AND NOT o.missed AND minga_roster_internal.family_of(o.link_category) IN (SELECT f.family FROM proved_families f) AS missing,
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
COMMENT ON FUNCTION minga_roster_internal.plan_links(runs) IS
'Makes the temp table link_writes: what is to be written to the links, one row for each. change is the change to people that it waits for; of an update only role_written and archived do.';

CREATE FUNCTION minga_roster_internal.write_links(run runs, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    moment timestamptz := minga_roster_internal.clock();
BEGIN
    -- What waits for a change that was not carried out is not written.
    CREATE TEMP TABLE undone_changes ON COMMIT DROP AS
    SELECT w.change, coalesce(w.code = 'kept', false) AS kept FROM writes w WHERE NOT w.done
    UNION
    SELECT c.change, false FROM minga_roster.changes c WHERE c.run = planned_in AND c.state = 'refused';
    -- Whom the relation keeps as before is the person all the same.
    UPDATE writes w SET links = true FROM link_writes l WHERE w.code = 'kept' AND l.change = w.change
        AND l.deed IN ('insert', 'replace');
    DELETE FROM link_writes l USING undone_changes u WHERE l.change = u.change AND l.deed <> 'update' AND NOT u.kept;
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
    SET category = coalesce(w.category, l.category), role_written = coalesce(w.role_written, l.role_written),
        missed_since = CASE WHEN w.missing THEN moment WHEN NOT w.returned THEN l.missed_since END,
        missed_run = CASE WHEN w.missing THEN run.run WHEN NOT w.returned THEN l.missed_run END,
        archived_run = CASE WHEN w.archived THEN run.run WHEN w.archived IS NULL THEN l.archived_run END
    FROM link_writes w
    WHERE w.deed = 'update' AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_links(runs, bigint) IS
'Carries out the temp table link_writes, so that the links are in step with what was written to people; planned_in is the run that has the changes. Rewrites no row that stays as it is, and keeps in link_changes what was there before.';

CREATE FUNCTION minga_roster_internal.settle_changes(run bigint, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    UPDATE minga_roster.changes c
    SET action = CASE WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE c.action END
            WHEN w.code = 'not stored' AND c.action = 'create' THEN 'conflict' WHEN w.code IS NOT NULL THEN 'reject'
                ELSE c.action END,
        conflict = CASE WHEN w.code = 'not stored' AND c.action = 'create' THEN 'not_stored' ELSE c.conflict END,
        rule = CASE w.code WHEN 'refused' THEN 'refused by people' WHEN 'not stored' THEN 'not stored' ELSE c.rule END,
        reason = CASE WHEN w.code IN ('refused', 'not stored') THEN w.failure ELSE c.reason END,
        state = CASE WHEN w.code IN ('refused', 'not stored') THEN 'noted' WHEN coalesce(w.done, true)
            OR w.links THEN 'applied' ELSE 'refused' END,
        person_id = CASE WHEN c.action <> 'create' THEN c.person_id WHEN w.done THEN w.person_id END,
        before = CASE WHEN w.links THEN '{}' ELSE c.before END,
        after = CASE WHEN c.action = 'archive' AND w.done THEN jsonb_build_object('archived_at', minga_roster_internal.clock())
            || c.after
            WHEN w.links THEN '{}' ELSE c.after END,
        state_at = minga_roster_internal.clock(),
        state_reason = CASE
            WHEN w.code = 'kept' THEN w.failure
            WHEN w.code IS NULL AND NOT coalesce(w.done, true) THEN 'The person was changed after the plan was made.'
        END,
        state_cause = CASE w.code WHEN 'refused' THEN 'refused_by_people' WHEN 'not stored' THEN 'not_stored'
            WHEN 'kept' THEN 'kept_by_people' END,
        seen = coalesce(w.seen, c.seen),
        done_by = CASE WHEN coalesce(w.done, true) OR w.links THEN settle_changes.run END,
        stored = w.stored
    FROM (SELECT p.change, w.done, w.person_id, w.code, w.failure, w.seen, w.stored, w.links
            FROM minga_roster.changes p LEFT JOIN writes w ON w.change = p.change
            WHERE p.run = planned_in AND p.state = 'planned') w
    WHERE c.run = planned_in AND c.change = w.change;
    IF EXISTS (SELECT FROM writes w WHERE w.code = 'not stored' AND w.action = 'create') THEN
        PERFORM minga_roster_internal.keep_conflict_pairs(minga_roster_internal.known_run(planned_in));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_changes(bigint, bigint) IS 'Notes what became of the planned changes of planned_in, which run carried out.';

CREATE FUNCTION minga_roster_internal.count_offenders(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM writes w WHERE w.code IS NOT NULL) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE unwritten ON COMMIT DROP AS
    SELECT coalesce(r.category, w.category, 'none') AS category, d.outcome, d.main_row,
        CASE WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE 'unchanged' END
            WHEN d.outcome IS NULL THEN 'refused archive'
            WHEN w.code = 'not stored' AND w.action = 'create' THEN 'conflict'
            ELSE 'reject' END AS became
    FROM writes w
    LEFT JOIN decisions d ON d.sourced_ids[1] = w.sourced_id AND d.outcome = w.action
    LEFT JOIN minga_roster.staged_users s ON s.connection = count_offenders.run.connection AND s.sourced_id = d.main_row
    LEFT JOIN roster_rules r ON r.roster_role = s.role
    WHERE w.code IS NOT NULL;
    UPDATE minga_roster.staged_users s SET outcome = u.became
    FROM unwritten u
    WHERE s.connection = run.connection AND s.sourced_id = u.main_row;
    UPDATE minga_roster.run_counts c SET count = c.count - o.count
    FROM (SELECT u.category, u.outcome, count(*) AS count FROM unwritten u GROUP BY 1, 2) o
    WHERE c.run = count_offenders.run.run AND c.category = o.category AND c.action = o.outcome;
    INSERT INTO minga_roster.run_counts AS c (run, category, action, count)
    SELECT count_offenders.run.run, u.category, u.became, count(*)
    FROM unwritten u
    GROUP BY 2, 3
    ON CONFLICT ON CONSTRAINT run_counts_pkey DO UPDATE SET count = c.count + excluded.count;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_offenders(runs) IS
'Moves those whom the people relation did not take from the outcome that was planned to what became of it (reject, '
    'conflict, link, unchanged), in the stage and in run_counts; those who are gone and could not be archived stand '
    'apart, as refused archive.';

CREATE FUNCTION minga_roster_internal.prove_connection(run runs) RETURNS void
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
COMMENT ON FUNCTION minga_roster_internal.prove_connection(runs) IS 'A connection is proven by a full sync in which nobody is newly missing since it became unproven.';

CREATE FUNCTION minga_roster_internal.apply_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(apply_run.run);
BEGIN
    UPDATE minga_roster.runs r SET phase = 'apply' WHERE r.run = this.run;
    PERFORM minga_roster_internal.plan_links(this);
    PERFORM minga_roster_internal.open_writes(this.run, 'planned');
    PERFORM minga_roster_internal.write_people(minga_roster_internal.known_connection(this.connection));
    PERFORM minga_roster_internal.write_links(this, this.run);
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.settle_changes(this.run, this.run);
    PERFORM minga_roster_internal.count_offenders(this);
    PERFORM minga_roster_internal.prove_connection(this);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_run(bigint) IS 'Carries out the planned changes of the run on people and links. In the transaction of plan_run and guard_run.';
