-- Apply: the only writer of people. Each person is checked again when written; one who was changed since the plan is
-- left alone. Then the links, which say who is who, and whether the connection is proven.

CREATE FUNCTION minga_roster_internal.write_range(connection connections,
    statements minga_roster_internal.write_statement[], low integer, high integer,
    OUT hidden integer[], OUT kept integer[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    people regclass := connection.people;
    arguments text[] := ARRAY[connection.site, minga_roster_internal.clock()::text, low::text, high::text];
    -- The indexes are there once a range was divided or is written again.
    is_whole boolean := to_regclass('pg_temp.plan_writes_change') IS NULL;
    actions text[];
    missing integer[];
    this minga_roster_internal.write_statement;
BEGIN
    hidden := '{}';
    IF is_whole THEN
        actions := ARRAY(SELECT s.action FROM unnest(statements) s);
    ELSE
        actions := ARRAY(SELECT DISTINCT w.action FROM plan_writes w
            WHERE w.change BETWEEN low AND high AND w.code IS NULL);
    END IF;
    IF EXISTS (SELECT FROM plan_found) THEN
        TRUNCATE plan_found;
    END IF;
    IF EXISTS (SELECT FROM plan_hits) THEN
        TRUNCATE plan_hits;
    END IF;
    IF EXISTS (SELECT FROM plan_new_people) THEN
        TRUNCATE plan_new_people;
    END IF;
    FOREACH this IN ARRAY statements LOOP
        CONTINUE WHEN this.action <> ALL (actions);
        -- The planner does not know how many people there are by now.
        IF NOT is_whole AND high - low < 2000 THEN
            this.reads := coalesce(this.reads_few, this.reads);
        END IF;
        IF this.action = 'new' THEN
            PERFORM minga_roster_internal.read_as_owner(people, this.writes, 'pg_temp.plan_new_people',
                VARIADIC arguments);
            hidden := hidden || minga_roster_internal.missing_people(connection, 'new', low, high);
            CONTINUE;
        ELSIF this.keeps_ids THEN
            PERFORM minga_roster_internal.as_owner(people, this.writes, VARIADIC arguments);
        ELSE
            PERFORM minga_roster_internal.read_as_owner(people, this.writes, 'pg_temp.plan_hits', VARIADIC arguments);
        END IF;
        IF this.action = 'create' AND NOT this.keeps_ids AND EXISTS (
            SELECT FROM plan_hits h JOIN plan_writes w USING (change)
            WHERE w.action = 'create' AND w.change BETWEEN low AND high AND w.person_id <> h.person_id) THEN
            -- A trigger gave people other ids.
            UPDATE plan_writes w SET person_id = h.person_id
            FROM (SELECT t.change, min(t.person_id) AS person_id FROM plan_hits t
                GROUP BY t.change HAVING count(*) = 1) h
            WHERE w.action = 'create' AND w.change BETWEEN low AND high AND w.change = h.change
                AND w.person_id <> h.person_id;
        END IF;
        PERFORM minga_roster_internal.read_as_owner(people, this.reads, 'pg_temp.plan_found', VARIADIC arguments);
        IF this.action = 'create' THEN
            missing := minga_roster_internal.missing_people(connection, 'create', low, high);
            IF missing <> '{}' THEN
                PERFORM minga_roster_internal.find_newcomers(connection, missing);
                DELETE FROM plan_found f USING plan_writes w WHERE w.change = f.change AND w.action = 'create';
                PERFORM minga_roster_internal.read_as_owner(people, this.reads, 'pg_temp.plan_found',
                    VARIADIC arguments);
                missing := minga_roster_internal.missing_people(connection, 'create', low, high);
            END IF;
            hidden := hidden || missing;
        END IF;
    END LOOP;
    IF actions && ARRAY['archive', 'update', 'restore'] THEN
        SELECT hidden || coalesce(array_agg(j.change) FILTER (WHERE NOT j.is_kept), '{}'),
            array_agg(j.change) FILTER (WHERE j.is_kept)
        INTO hidden, kept
        FROM (
            SELECT w.change, w.action = 'update' AND h.change IS NOT NULL AND f.change IS NOT NULL AS is_kept
            FROM plan_writes w
            LEFT JOIN (SELECT DISTINCT t.change FROM plan_hits t) h ON h.change = w.change
            LEFT JOIN plan_found f ON f.change = w.change
            WHERE w.action NOT IN ('create', 'new') AND w.code IS NULL AND w.change BETWEEN low AND high
                AND (f.fits OR (h.change IS NOT NULL
                    AND (f.change IS NULL OR (w.action <> 'update' AND f.archived <> (w.action = 'archive')))))
        ) j;
    END IF;
    kept := coalesce(kept, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_range(connections, minga_roster_internal.write_statement[], integer,
    integer) IS
'Carries out the rows of plan_writes from change low to high on the people relation, as its owner, and reads back what '
    'is there: plan_hits has what was done, but for creates that keep their ids; plan_found who is there. A person who '
    'is not as before says is not hit. hidden are the rows of which nothing is to be seen, kept the updates after '
    'which the person is as before.';

CREATE FUNCTION minga_roster_internal.note_written(low integer, high integer, creates_at_once boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO plan_written (change, action, category, person_id, done, code, failure, seen, stored, links)
    SELECT w.change, w.action, w.category, w.person_id,
        w.code IS NULL AND f.change IS NOT NULL
            AND (w.action = 'create' OR w.change IN (SELECT h.change FROM plan_hits h)
                OR (w.action = 'update' AND f.now IS NULL AND NOT f.fits)),
        w.code, w.failure, CASE WHEN w.code IS NULL THEN f.seen END,
        CASE
            WHEN w.code = 'kept' THEN w.before - 'archived_at'
            WHEN w.code IS NULL AND f.now IS NOT NULL THEN (SELECT jsonb_object_agg(k, f.now -> k)
                FROM jsonb_object_keys(w.after) k
                WHERE f.now ? k AND f.now ->> k IS DISTINCT FROM w.after ->> k)
        END,
        false
    FROM plan_writes w
    LEFT JOIN (SELECT DISTINCT ON (t.change) t.* FROM plan_found t ORDER BY t.change) f ON f.change = w.change
    WHERE w.change BETWEEN low AND high AND w.action <> 'new';
    IF creates_at_once THEN
        INSERT INTO plan_written (change, action, category, person_id, done, code, failure, seen, links)
        SELECT w.change, 'create', w.category, n.person_id, w.code IS NULL AND n.change IS NOT NULL, w.code, w.failure,
            n.seen, false
        FROM plan_writes w LEFT JOIN plan_new_people n ON n.change = w.change
        WHERE w.change BETWEEN low AND high AND w.action = 'new' AND w.planned_as IS NOT NULL;
        -- Of one range that is all writes, plan_new_people stays as it is.
        IF to_regclass('pg_temp.plan_writes_change') IS NOT NULL THEN
            INSERT INTO plan_written (change, action, person_id, done, seen)
            SELECT n.change, 'new', n.person_id, true, n.seen
            FROM plan_new_people n JOIN plan_writes w ON w.change = n.change
            WHERE w.change BETWEEN low AND high AND w.planned_as IS NULL;
            TRUNCATE plan_new_people;
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_written(integer, integer, boolean) IS
'Fills plan_written with what became of a range of writes, by plan_hits, plan_found and plan_new_people. Of rows that '
    'are only new it has the people created, in many ranges; why another is not created, their code tells.';

CREATE FUNCTION minga_roster_internal.split_range(range int4range, failed_at integer) RETURNS int4range[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch CONSTANT integer := 2000;
    low CONSTANT integer := lower(range);
    high CONSTANT integer := upper(range);
    middle CONSTANT integer := (low + high) / 2;
BEGIN
    IF high - low > batch THEN
        RETURN ARRAY(SELECT int4range(n, least(n + batch, high))
            FROM generate_series(low, high - 1, batch) n ORDER BY n);
    ELSIF failed_at <@ range THEN
        RETURN ARRAY[int4range(low, failed_at), int4range(failed_at, failed_at + 1), int4range(failed_at + 1, high)];
    END IF;
    RETURN ARRAY[int4range(low, middle), int4range(middle, high)];
END
$$;
COMMENT ON FUNCTION minga_roster_internal.split_range(int4range, integer) IS
'The ranges in which a range is written again, in order, after an error of one row took it back: batches, so that no '
    'more than one is written again for each such row; and of a batch that row (failed_at) and what is beside it, or '
    'two halves if it is not known.';

CREATE FUNCTION minga_roster_internal.index_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_temp.plan_writes_change') IS NULL THEN
        CREATE INDEX plan_writes_change ON plan_writes (change);
        CREATE INDEX plan_written_person ON plan_written (person_id) WHERE done;
        CREATE INDEX plan_people_person ON plan_people (person_id);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.index_writes() IS
'Makes the indexes that keep the costs of a range in proportion to it. write_people drops them.';

CREATE FUNCTION minga_roster_internal.write_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most_offenders CONSTANT integer := 100;
    most_rounds CONSTANT integer := 20;
    statements minga_roster_internal.write_statement[];
    creates_at_once boolean;
    ranges int4range[] := ARRAY(SELECT int4range(min(w.change), max(w.change), '[]') FROM plan_writes w);
    this int4range;
    low integer;
    high integer;
    failures integer := 0;
    offenders integer := 0;
    rounds integer := 0;
    again int4range;
    unseen record;
    constraint_hit text;
    column_hit text;
    blame record;
BEGIN
    IF NOT EXISTS (SELECT FROM plan_writes) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.grant_temp(connection.people, 'plan_writes', 'SELECT');
    PERFORM minga_roster_internal.make_plan_tables('write');
    statements := ARRAY(SELECT s FROM minga_roster_internal.write_statements(connection.people) s);
    creates_at_once := EXISTS (SELECT FROM unnest(statements) s WHERE s.action = 'new');
    IF minga_roster_internal.is_distributed(connection.people) THEN
        PERFORM minga_roster_internal.as_owner(connection.people,
            minga_roster_internal.two_phase_statement(connection.people), connection.site);
    END IF;
    WHILE ranges <> '{}' LOOP
        this := ranges[1];
        ranges := ranges[2:];
        CONTINUE WHEN isempty(this);
        low := lower(this);
        high := upper(this) - 1;
        unseen := NULL;
        BEGIN
            unseen := minga_roster_internal.write_range(connection, statements, low, high);
            IF unseen.hidden <> '{}' OR unseen.kept <> '{}' THEN
                RAISE EXCEPTION 'the people relation does not show what was written';
            END IF;
            unseen := NULL;
            PERFORM minga_roster_internal.note_written(low, high, creates_at_once);
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                GET STACKED DIAGNOSTICS constraint_hit = CONSTRAINT_NAME, column_hit = COLUMN_NAME;
                SELECT e.of_a_row, e.told, e.at_change INTO blame FROM minga_roster_internal.owner_error() e;
                PERFORM minga_roster_internal.index_writes();
                IF unseen IS NOT NULL THEN
                    -- All of it was taken back, and is done again without those.
                    rounds := CASE WHEN again = this THEN rounds ELSE 0 END + 1;
                    again := this;
                    UPDATE plan_writes w
                    SET code = CASE WHEN w.change = ANY (unseen.kept) THEN 'kept' ELSE 'not stored' END,
                        failure = minga_roster_internal.state_reason(
                            CASE WHEN w.change = ANY (unseen.kept) THEN 'kept' ELSE 'not_stored' END,
                            CASE w.action WHEN 'new' THEN 'create' ELSE w.action END)
                    WHERE w.change = ANY (unseen.hidden || unseen.kept)
                        -- A relation that hides other people each time comes to no end.
                        OR (rounds > most_rounds AND w.change BETWEEN low AND high AND w.code IS NULL);
                    ranges := this || ranges;
                ELSIF NOT blame.of_a_row THEN
                    RAISE;
                ELSIF low < high THEN
                    failures := failures + 1;
                    -- A trigger may name any row: one that is often wrong is not asked again.
                    ranges := minga_roster_internal.split_range(this,
                        CASE WHEN failures <= 3 * offenders + 10 THEN blame.at_change END) || ranges;
                ELSE
                    offenders := offenders + 1;
                    IF offenders > most_offenders THEN
                        RAISE;
                    END IF;
                    UPDATE plan_writes w
                    SET code = 'refused', failure = minga_roster_internal.state_reason('rejected',
                        concat('SQLSTATE ', SQLSTATE, minga_roster_internal.told_name('constraint', constraint_hit),
                            minga_roster_internal.told_name('column', column_hit), ': ' || blame.told))
                    WHERE w.change = low;
                    ranges := this || ranges;
                END IF;
                -- For few rows indexes are better than scans.
                PERFORM set_config('enable_nestloop',
                    CASE WHEN upper(ranges[1]) - lower(ranges[1]) > 2000 THEN 'off' ELSE 'on' END, true);
        END;
    END LOOP;
    IF to_regclass('pg_temp.plan_writes_change') IS NOT NULL THEN
        DROP INDEX pg_temp.plan_writes_change, pg_temp.plan_written_person, pg_temp.plan_people_person;
    END IF;
    PERFORM minga_roster_internal.revoke_temp(connection.people, 'plan_writes');
    PERFORM minga_roster_internal.analyze_if_large('plan_written', 'change, person_id');
    PERFORM minga_roster_internal.remember_stored(connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_people(connections) IS
'Carries out plan_writes, and fills plan_written with what was done and what the relation made of it (stored). Of what '
    'is not done code says why, where the relation is the cause: "refused", an error that one person may have caused '
    '(all others are written again in ranges, each in a subtransaction, until the offenders stand alone; with more '
    'than 100 of them the error is raised); "not stored", nothing of it was to be seen; "kept", an update after which '
    'the person is as before. failure has it in words. All others are written.';

CREATE FUNCTION minga_roster_internal.load_changes(of_run bigint, of_state text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO plan_changes (change, category, person_id, sourced_ids, action, rule, reason, before, after, state,
        state_reason, state_cause, conflict, same_name, seen)
    SELECT c.change, c.category, c.person_id, c.sourced_ids, c.action, c.rule, c.reason, c.before, c.after, c.state,
        c.state_reason, c.state_cause, c.conflict, c.same_name, c.seen
    FROM minga_roster.changes c
    WHERE c.run = of_run AND c.state = of_state
        -- What else is held is for roster_relink and the next sync.
        AND (of_state <> 'held' OR minga_roster_internal.awaits_approval(c.action, c.state_cause))
$$;
COMMENT ON FUNCTION minga_roster_internal.load_changes(bigint, text) IS
'Fills plan_changes with the changes of an earlier run in this state; of held ones, those that wait for an approval.';

CREATE FUNCTION minga_roster_internal.draw_ids(connection connections, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    creates integer[] := ARRAY(SELECT c.change FROM plan_changes c WHERE c.state = of_state AND c.action = 'create'
        AND c.change NOT IN (SELECT f.change FROM plan_refusals f WHERE f.code IS NOT NULL) ORDER BY c.change);
BEGIN
    IF creates <> '{}' THEN
        PERFORM minga_roster_internal.read_as_owner(connection.people,
            minga_roster_internal.new_ids_query(connection.people), 'pg_temp.plan_drawn_ids', creates::text);
        PERFORM minga_roster_internal.analyze_if_large('plan_drawn_ids', 'change');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.draw_ids(connections, text) IS
'Fills plan_drawn_ids: draws the ids of new people by the relation''s own default.';

CREATE FUNCTION minga_roster_internal.open_writes(connection connections, of_state text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '24MB' AS $$
DECLARE
    actions text[] := '{create,update,restore,archive}';
BEGIN
    -- Unless creates are there already, and draw their IDs themselves.
    IF EXISTS (SELECT FROM plan_writes) THEN
        actions := '{update,restore,archive}';
    ELSE
        PERFORM minga_roster_internal.draw_ids(connection, of_state);
    END IF;
    INSERT INTO plan_writes (change, action, category, person_id, sourced_id, before, after)
    SELECT c.change, c.action, c.category, coalesce(d.person_id, c.person_id), c.sourced_ids[1], c.before, c.after
    FROM plan_changes c LEFT JOIN plan_drawn_ids d ON d.change = c.change
    WHERE c.state = of_state AND c.action = ANY (actions)
        AND c.change NOT IN (SELECT f.change FROM plan_refusals f WHERE f.code IS NOT NULL);
    PERFORM minga_roster_internal.analyze_if_large('plan_writes', 'change, action, person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_writes(connections, text) IS
'Fills plan_writes with the changes to people of plan_changes in this state, less those in plan_refusals.';

CREATE FUNCTION minga_roster_internal.open_link_writes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '24MB' AS $$
BEGIN
    INSERT INTO plan_link_writes (sourced_id, deed, change, person_id, category, role_written, rule, linked_run,
        missing, returned, archived)
    WITH settled AS MATERIALIZED (
        SELECT d.label, d.person_id, d.outcome, c.change,
            CASE WHEN d.after ? 'role' AND d.held_as IS NULL THEN d.after ->> 'role' ELSE d.last_role END
                AS role_written,
            d.after ? 'role' AND d.held_as IS NULL AND d.outcome <> 'create' AS writes_role
        FROM plan_decisions d
        LEFT JOIN plan_changes c ON c.label = d.label AND c.state = 'planned'
        WHERE d.outcome NOT IN ('conflict', 'reject')
    )
    SELECT k.sourced_id, k.deed, s.change, k.person_id, k.category,
        CASE WHEN k.deed <> 'delete' THEN s.role_written END, k.rule, k.linked_run, false, false, NULL::boolean
    FROM plan_links k LEFT JOIN settled s ON s.label = k.label
    WHERE k.deed <> 'update'
    UNION ALL
    SELECT u.*
    FROM (
        SELECT o.sourced_id, 'update', coalesce(w.change, a.change), NULL::text, k.category AS category,
            CASE WHEN o.role_written IS DISTINCT FROM w.role_written THEN w.role_written END AS role_written,
            NULL::text, NULL::bigint, coalesce(k.missing, false) AS missing,
            coalesce(k.returned, false) AS returned,
            CASE WHEN a.change IS NOT NULL THEN true
                WHEN o.archived_run IS NOT NULL AND (r.change IS NOT NULL OR NOT p.archived) THEN false
            END AS archived
        FROM plan_rows o
        LEFT JOIN plan_links k ON k.sourced_id = o.sourced_id
        LEFT JOIN settled w ON w.person_id = o.person_id AND w.writes_role
        LEFT JOIN settled r ON r.person_id = o.person_id AND r.outcome = 'restore'
        LEFT JOIN plan_changes a ON a.action = 'archive' AND a.state = 'planned' AND a.person_id = o.person_id
        LEFT JOIN plan_people p ON p.person_id = o.person_id
        WHERE o.linked AND (k.deed IS NULL OR k.deed = 'update')
    ) u
    WHERE u.category IS NOT NULL OR u.role_written IS NOT NULL OR u.missing OR u.returned OR u.archived IS NOT NULL;
    PERFORM minga_roster_internal.analyze_if_large('plan_link_writes', 'sourced_id, change');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_link_writes() IS
'Fills plan_link_writes: plan_links with the change that each waits for, the role written and the archive; of an '
    'update only the last two wait for its change.';

CREATE FUNCTION minga_roster_internal.write_links(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    moment timestamptz := minga_roster_internal.clock();
    rewrites boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM plan_link_writes) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('link');
    -- A person whom the relation keeps as before is linked all the same.
    UPDATE plan_written w SET links = true
    FROM plan_link_writes l
    WHERE w.code = 'kept' AND l.change = w.change AND l.deed IN ('insert', 'replace');
    -- What waits for a change that was not carried out is not written. Plain new links need no copy.
    INSERT INTO plan_due_links
    SELECT d.*
    FROM (
        SELECT l.sourced_id, l.deed, l.change, l.person_id, l.category,
            CASE WHEN u.change IS NULL THEN l.role_written END AS role_written, l.rule, l.linked_run, l.missing,
            l.returned, CASE WHEN u.change IS NULL THEN l.archived END AS archived
        FROM plan_link_writes l
        LEFT JOIN (
            SELECT w.change, coalesce(w.code = 'kept', false) AS kept FROM plan_written w WHERE NOT w.done
            UNION
            SELECT f.change, false FROM plan_refusals f WHERE f.code IS NOT NULL
        ) u ON u.change = l.change
        WHERE (u.change IS NULL OR u.kept OR l.deed = 'update')
            AND (l.deed <> 'insert' OR l.linked_run IS NOT NULL)
    ) d
    WHERE d.deed <> 'update' OR d.category IS NOT NULL OR d.role_written IS NOT NULL OR d.missing OR d.returned
        OR d.archived IS NOT NULL;
    PERFORM minga_roster_internal.analyze_if_large('plan_due_links', 'sourced_id');

    rewrites := EXISTS (SELECT FROM plan_due_links);
    IF rewrites THEN
        INSERT INTO minga_roster.link_changes (run, sourced_id, before)
        SELECT run.run, w.sourced_id, to_jsonb(l)
        FROM plan_due_links w
        JOIN minga_roster.links l ON l.connection = write_links.run.connection AND l.sourced_id = w.sourced_id
        WHERE w.deed <> 'insert'
        UNION ALL
        SELECT run.run, w.sourced_id, NULL FROM plan_due_links w WHERE w.deed = 'insert' AND w.linked_run IS NOT NULL;

        DELETE FROM minga_roster.links l USING plan_due_links w
        WHERE w.deed IN ('delete', 'replace') AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
    END IF;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT run.connection, w.sourced_id, run.site, coalesce(w.person_id, p.person_id), w.category, w.role_written,
        w.rule, coalesce(w.linked_run, run.run)
    FROM (
        SELECT d.sourced_id, d.change, d.person_id, d.category, d.role_written, d.rule, d.linked_run
        FROM plan_due_links d WHERE d.deed IN ('insert', 'replace')
        UNION ALL
        SELECT l.sourced_id, l.change, l.person_id, l.category, l.role_written, l.rule, NULL::bigint
        FROM plan_link_writes l
        WHERE l.deed = 'insert' AND l.linked_run IS NULL
            AND (l.change IS NULL OR l.change NOT IN (
                SELECT t.change FROM plan_written t WHERE NOT t.done AND t.code IS DISTINCT FROM 'kept'
                UNION ALL
                SELECT f.change FROM plan_refusals f WHERE f.code IS NOT NULL))
    ) w
    LEFT JOIN plan_written p ON p.change = w.change AND p.action = 'create';
    IF NOT rewrites THEN
        RETURN;
    END IF;
    UPDATE minga_roster.links l
    SET category = coalesce(w.category, l.category), role_written = coalesce(w.role_written, l.role_written),
        missed_since = CASE WHEN w.missing THEN moment WHEN NOT w.returned THEN l.missed_since END,
        missed_run = CASE WHEN w.missing THEN run.run WHEN NOT w.returned THEN l.missed_run END,
        archived_run = CASE WHEN w.archived THEN run.run WHEN w.archived IS NULL THEN l.archived_run END
    FROM plan_due_links w
    WHERE w.deed = 'update' AND l.connection = run.connection AND l.sourced_id = w.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_links(runs) IS
'Carries out plan_link_writes, so that the links are in step with what was written to people. Rewrites no row that '
    'stays as it is, and keeps in link_changes what was there before.';

CREATE FUNCTION minga_roster_internal.settle_changes(run runs, planned_in bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    EXECUTE minga_roster_internal.fill_template($template$
        UPDATE minga_roster.changes c
        SET person_id = s.person_id, action = s.action, rule = s.rule, reason = s.reason, before = s.before,
            after = s.after, state = s.state, state_at = s.state_at, state_reason = s.state_reason,
            state_cause = s.state_cause, seen = s.seen, done_by = s.done_by, conflict = s.conflict,
            stored = s.stored
        FROM ({settled}) s (run, change, site, category, person_id, sourced_ids, action, rule, reason, before, after,
            state, state_at, state_reason, state_cause, seen, done_by, conflict, same_name, stored)
        WHERE c.run = $1 AND c.change = s.change AND c.state = 'planned'
        $template$, 'settled', minga_roster_internal.settled_changes_query(
            'plan_changes c LEFT JOIN plan_written w ON w.change = c.change'))
    USING planned_in, settle_changes.run, minga_roster_internal.clock();
    IF EXISTS (SELECT FROM plan_written w WHERE w.code = 'not stored' AND w.action = 'create') THEN
        PERFORM minga_roster_internal.keep_conflict_pairs(minga_roster_internal.known_run(planned_in));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_changes(runs, bigint) IS
'Notes what became of the planned changes of the run planned_in, which this run has carried out.';

CREATE FUNCTION minga_roster_internal.prove_connection(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE minga_roster.connections c SET unproven = false
    WHERE c.connection = run.connection AND c.unproven AND run.is_full
        AND EXISTS (SELECT FROM plan_proved_families f WHERE f.family <> 'contact')
        AND NOT EXISTS (SELECT FROM minga_roster.links l
            WHERE l.connection = c.connection AND l.missed_since >= c.unproven_since)
        -- Nor not listed in a family that was not read whole, where that is no proof of absence.
        AND NOT EXISTS (
            SELECT FROM plan_rows o JOIN plan_categories r ON r.category = o.link_category
            WHERE o.standing = 'absent' AND o.linked AND NOT o.missed AND r.rostered);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prove_connection(runs) IS
'A connection is proven by a full sync in which no one is newly missing since it became unproven.';

CREATE FUNCTION minga_roster_internal.apply_run(run bigint, looks boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(apply_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    UPDATE minga_roster.runs r SET phase = 'apply' WHERE r.run = this.run;
    IF NOT looks THEN
        PERFORM minga_roster_internal.drop_conflict_pairs(this.connection);
        PERFORM minga_roster_internal.count_settled(this, connection);
        RETURN;
    END IF;
    PERFORM minga_roster_internal.open_writes(connection, 'planned');
    PERFORM minga_roster_internal.write_people(connection);
    PERFORM minga_roster_internal.open_link_writes();
    PERFORM minga_roster_internal.write_links(this);
    IF EXISTS (SELECT FROM plan_writes w WHERE w.action = 'new') THEN
        PERFORM minga_roster_internal.write_new_links(this);
    END IF;
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.prove_connection(this);
    PERFORM minga_roster_internal.keep_changes(this);
    PERFORM minga_roster_internal.find_outcomes();
    PERFORM minga_roster_internal.count_outcomes(this, connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_run(bigint, boolean) IS
'Carries out the planned changes of the run on people and links, and keeps them. In the transaction of plan_run, whose '
    'result looks is.';
