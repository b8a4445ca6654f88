-- What became of each staged user, and how many there are of each outcome. Must survive anything: each staged user has
-- one outcome, and the sum is checked.

CREATE FUNCTION minga_roster_internal.count_plain_rows(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_plain_rows (category, rows)
    SELECT n.category, sum(n.rows)
    FROM (
        SELECT l.category, l.rows FROM plan_linked_rows l
        UNION ALL
        SELECT o.link_category, -count(*) FROM plan_rows o
        WHERE o.linked AND (o.staged OR run.is_full IS NOT FALSE) GROUP BY o.link_category
        UNION ALL
        SELECT t.category, -count(*) FROM plan_settled_rows t GROUP BY t.category
    ) n
    GROUP BY n.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_plain_rows(runs) IS
'Fills plan_plain_rows, by the links: a row that was not looked at has one.';

CREATE FUNCTION minga_roster_internal.find_outcomes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_outcomes (place, category, outcome, is_further)
    SELECT o.place, o.category,
        CASE
            WHEN o.family = 'contact' THEN 'contact'
            WHEN o.standing = 'absent' THEN 'ignore'
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN NOT o.rostered THEN 'ignore'
            WHEN o.standing IN ('damaged', 'unknown') THEN 'reject'
            WHEN o.category IS NULL THEN 'ignore'
            WHEN d.label IS NULL OR o.sourced_id <> d.main_row THEN 'merged'
            -- What the people relation made of it.
            WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE 'unchanged' END
            WHEN w.code = 'not stored' AND w.action = 'create' THEN 'conflict'
            WHEN w.code IS NOT NULL THEN 'reject'
            ELSE d.outcome
        END,
        d.outcome = 'conflict' AND o.sourced_id <> d.main_row
    FROM plan_rows o
    LEFT JOIN plan_decisions d ON d.label = o.label
    LEFT JOIN (
        SELECT c.label, c.action, t.code, t.links
        FROM plan_written t JOIN plan_changes c ON c.change = t.change AND c.state = 'planned'
        WHERE t.code IS NOT NULL
    ) w ON w.label = d.label AND w.action = d.outcome
    WHERE o.staged
    UNION ALL
    SELECT t.place, t.category, CASE WHEN t.is_main THEN 'unchanged' ELSE 'merged' END, false
    FROM plan_settled_rows t
    UNION ALL
    SELECT k.place, k.category, k.outcome, false FROM plan_skipped_rows k
    UNION ALL
    SELECT w.place, w.category,
        CASE w.code WHEN 'not stored' THEN 'conflict' WHEN 'refused' THEN 'reject' ELSE 'create' END, false
    FROM plan_writes w
    WHERE w.action = 'new' AND w.place IS NOT NULL AND (w.code IS NOT NULL OR NOT w.is_noted);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_outcomes() IS
'Fills plan_outcomes; of what a sync has written, by what the people relation made of it.';

CREATE FUNCTION minga_roster_internal.note_outcomes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE minga_roster.staged_users s SET outcome = o.outcome
    FROM plan_outcomes o
    WHERE s.connection = note_outcomes.connection.connection AND s.ctid = ANY (ARRAY(SELECT place FROM plan_outcomes))
        AND s.ctid = o.place AND s.outcome IS DISTINCT FROM o.outcome;
    IF connection.parent_contact OR connection.contacts THEN
        UPDATE minga_roster.staged_users s SET outcome = 'contact'
        FROM plan_rules r
        WHERE s.connection = note_outcomes.connection.connection AND r.roster_role = s.role AND r.category = 'contact'
            AND s.outcome IS DISTINCT FROM 'contact';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_outcomes(connections) IS 'Notes the outcomes in the stage.';

CREATE FUNCTION minga_roster_internal.check_outcomes(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    listed bigint := (SELECT coalesce(sum(l.rows), 0) FROM plan_listed_roles l);
    counted bigint := (SELECT coalesce(sum(c.count), 0) FROM minga_roster.run_counts c
        WHERE c.run = check_outcomes.run);
BEGIN
    IF counted <> listed THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the outcomes of the staged users do not add up',
            DETAIL = format('Users listed: %s; outcomes: %s.', listed, counted),
            HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                'minga_roster.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_outcomes(bigint) IS
'XX000 if the outcomes in run_counts are not as many as the users staged.';

CREATE FUNCTION minga_roster_internal.count_settled(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_outcomes (place, category, outcome, is_further)
    SELECT r.place, r.category, r.settled_as, false
    FROM plan_open_rows r
    WHERE r.staged AND r.person_id IS NULL
    UNION ALL
    SELECT o.place, o.category,
        CASE WHEN o.rows = 1 THEN o.settled_as WHEN o.nth = 1 THEN 'unchanged' ELSE 'merged' END, false
    FROM (
        SELECT r.staged, r.place, r.category, r.settled_as, count(*) OVER (PARTITION BY r.person_id) AS rows,
            row_number() OVER (PARTITION BY r.person_id ORDER BY r.rank, r.sourced_id) AS nth
        FROM plan_open_rows r
        WHERE r.person_id IS NOT NULL
    ) o
    WHERE o.staged;
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT run.run, n.category, n.outcome, sum(n.rows)
    FROM (
        SELECT l.category, 'unchanged' AS outcome, l.rows FROM plan_linked_rows l
        UNION ALL
        SELECT o.link_category, 'unchanged', -count(*) FROM plan_open_rows o
        WHERE o.linked AND (o.staged OR run.is_full IS NOT FALSE) GROUP BY o.link_category
        UNION ALL
        SELECT coalesce(t.category, 'none'), t.outcome, count(*) FROM plan_outcomes t GROUP BY t.category, t.outcome
    ) n
    GROUP BY n.category, n.outcome
    HAVING sum(n.rows) <> 0;
    PERFORM minga_roster_internal.check_outcomes(run.run);
    IF EXISTS (SELECT FROM plan_outcomes) THEN
        PERFORM minga_roster_internal.note_outcomes(connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_settled(runs, connections) IS
'Fills plan_outcomes in a run in which there was nothing to look at, counts these outcomes and notes them, as '
    'count_outcomes does of others.';

CREATE FUNCTION minga_roster_internal.count_outcomes(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    contact_roles text[] := ARRAY(SELECT r.roster_role FROM plan_rules r
        WHERE r.family = 'contact' AND (connection.parent_contact OR connection.contacts));
    contacts bigint := (SELECT coalesce(sum(l.rows), 0) FROM plan_listed_roles l WHERE l.role = ANY (contact_roles));
BEGIN
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT run.run, n.category, n.outcome, sum(n.rows)
    FROM (
        -- A conflict counts once, however many rows are in it.
        SELECT coalesce(o.category, 'none') AS category, w.outcome, count(*) AS rows
        FROM plan_outcomes o CROSS JOIN LATERAL (
            SELECT CASE WHEN o.outcome = 'conflict' AND o.is_further THEN 'merged' ELSE o.outcome END) w (outcome)
        GROUP BY o.category, w.outcome
        UNION ALL
        SELECT p.category, 'unchanged', p.rows FROM plan_plain_rows p
        UNION ALL
        SELECT w.category, 'create', count(*) FROM plan_writes w
        WHERE w.action = 'new' AND w.code IS NULL AND w.is_noted
        GROUP BY w.category
        UNION ALL
        SELECT 'contact', 'contact', contacts - (SELECT count(*) FROM plan_outcomes o WHERE o.category = 'contact')
        WHERE (connection.parent_contact OR connection.contacts)
    ) n
    GROUP BY n.category, n.outcome
    HAVING sum(n.rows) <> 0;

    PERFORM minga_roster_internal.check_outcomes(run.run);
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT run.run, coalesce(w.category, 'none'), 'refused archive', count(*)
    FROM plan_written w
    WHERE w.action = 'archive' AND w.code IS NOT NULL
    GROUP BY 2;

    PERFORM minga_roster_internal.note_outcomes(connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_outcomes(runs, connections) IS
'Counts the outcomes of the staged users into run_counts and notes them in the stage; XX000 if the sum is not the '
    'number of users staged.';
