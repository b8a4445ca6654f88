-- The guard: holds archives if too many people would be archived at once, and all of them while a connection is
-- unproven; and updates that would change one column of most people at once. A wrong school, a shortened answer, a new
-- school year or a column that went wrong in the SIS must not empty or overwrite a school overnight.

CREATE FUNCTION minga_roster_internal.find_linked_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('guard');
    IF EXISTS (SELECT FROM plan_linked_people) THEN
        RETURN;
    END IF;
    -- The links as tonight's run leaves them: tomorrow's base, and so tonight's. Most people have one.
    INSERT INTO plan_linked_people (person_id, category, archived, listed, writable)
    WITH several AS MATERIALIZED (
        SELECT x.person_id FROM plan_special_people x
        UNION
        SELECT w.person_id FROM plan_links w WHERE w.deed IN ('insert', 'replace') AND w.person_id IS NOT NULL
    ), link AS MATERIALIZED (
        SELECT l.person_id, coalesce(w.category, l.category) AS category,
            (l.missed_since IS NOT NULL OR coalesce(w.missing, false)) AND NOT coalesce(w.returned, false) AS missed,
            l.missed_since,
            -- A link that is not among the rows is plain, or of a student whom a delta does not list.
            coalesce(o.standing <> 'absent', l.missed_since IS NULL) AS listed
        FROM minga_roster.links l
        LEFT JOIN plan_links w ON w.sourced_id = l.sourced_id
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id
        WHERE l.connection = find_linked_people.connection.connection
            AND (w.deed IN ('delete', 'replace')) IS NOT TRUE
        UNION ALL
        SELECT w.person_id, w.category, false, NULL, true
        FROM plan_links w WHERE w.deed IN ('insert', 'replace') AND w.person_id IS NOT NULL
    ), linked AS (
        SELECT l.person_id, l.category, l.listed
        FROM link l
        JOIN plan_categories c ON c.category = l.category
        WHERE l.person_id NOT IN (SELECT s.person_id FROM several s)
        UNION ALL
        (SELECT DISTINCT ON (l.person_id) l.person_id, l.category, bool_or(l.listed) OVER (PARTITION BY l.person_id)
        FROM link l
        JOIN plan_categories c ON c.category = l.category
        WHERE l.person_id IN (SELECT s.person_id FROM several s)
        ORDER BY l.person_id, l.missed, l.missed_since DESC NULLS FIRST, c.rank)
    )
    SELECT l.person_id, l.category, p.archived, l.listed, p.protection IS NULL
    FROM linked l JOIN plan_people p ON p.person_id = l.person_id;
    PERFORM minga_roster_internal.analyze_if_large('plan_linked_people', 'person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_linked_people(connections) IS
'Fills plan_linked_people, unless the run has done so already.';

CREATE FUNCTION minga_roster_internal.kept_among(connection connections, most integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changes integer[];
    kept text[];
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('write');
    BEGIN
        INSERT INTO plan_writes (change, action, person_id, sourced_id, before, after)
        SELECT row_number() OVER (ORDER BY u.label), u.outcome, u.person_id, u.label, u.before, u.after
        FROM (
            SELECT d.*, row_number() OVER (PARTITION BY d.category ORDER BY d.label) AS place
            FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
            WHERE d.outcome = 'update' AND v.label IS NULL
        ) u
        WHERE u.place <= coalesce(most, u.place);
        PERFORM minga_roster_internal.analyze_if_large('plan_writes');
        PERFORM minga_roster_internal.grant_temp(connection.people, 'plan_writes', 'SELECT');
        SELECT r.kept INTO changes
        FROM minga_roster_internal.write_range(connection,
            ARRAY(SELECT s FROM minga_roster_internal.write_statements(connection.people) s),
            1, (SELECT max(w.change) FROM plan_writes w)) r;
        kept := ARRAY(SELECT w.sourced_id FROM plan_writes w WHERE w.change = ANY (changes));
        RAISE EXCEPTION 'the relation was only asked';
    EXCEPTION
        WHEN OTHERS OR assert_failure THEN
            IF kept IS NULL AND NOT (minga_roster_internal.owner_error()).of_a_row THEN
                RAISE;
            END IF;
    END;
    RETURN coalesce(kept, '{}');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.kept_among(connections, integer) IS
'Carries out updates of the plan (of each category so many, or all) and rolls them back; returns the labels of those '
    'after which the person was as before.';

CREATE FUNCTION minga_roster_internal.kept_updates(run runs, connection connections) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run.kind <> 'sync' OR minga_roster_internal.kept_among(connection, 10) = '{}' THEN
        RETURN '{}';
    END IF;
    RETURN minga_roster_internal.kept_among(connection, NULL);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.kept_updates(runs, connections) IS
'The labels of updates after which people would be as before, because the relation stores what it has for the values '
    'of the roster. A few updates are tried first; a preview writes to no one and has none.';

CREATE FUNCTION minga_roster_internal.veto_mass_updates(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    -- In fewer people a share says nothing.
    smallest CONSTANT integer := 20;
    percent CONSTANT integer := connection.guard_update_percent;
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
    kept text[];
BEGIN
    -- People whose rows are plain are in the base, so that few updates beside them need no look at all links.
    IF NOT EXISTS (
        SELECT FROM plan_verdicts d
        LEFT JOIN plan_vetoes v ON v.label = d.label
        LEFT JOIN plan_plain_rows n ON n.category = d.category
        WHERE d.outcome = 'update' AND v.label IS NULL
        GROUP BY d.category, n.rows
        HAVING count(*) * 100 > percent * greatest(smallest, n.rows))
    THEN
        RETURN;
    END IF;
    kept := minga_roster_internal.kept_updates(run, connection);
    PERFORM minga_roster_internal.find_linked_people(connection);
    INSERT INTO plan_mass_updates (category, column_name, changed, people)
    WITH changing AS MATERIALIZED (
        SELECT d.label, d.person_id, d.category, d.before, d.after
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE d.outcome = 'update' AND v.label IS NULL
    ), changed AS MATERIALIZED (
        -- To fill an empty column overwrites nothing.
        SELECT d.category, k.name, count(*) AS people
        FROM changing d CROSS JOIN LATERAL jsonb_object_keys(d.after) k (name)
        WHERE d.label NOT IN (SELECT unnest(kept))
            AND btrim(coalesce(d.before ->> k.name, '')) <> '' AND NOT (in_season AND k.name = 'grade')
        GROUP BY d.category, k.name
        HAVING count(*) * 100 > percent * smallest
    ), figures AS MATERIALIZED (
        -- People who are not listed or not written to cannot change, and would make a change of everyone else look
        -- small.
        SELECT coalesce(u.category, l.category) AS category, count(*) AS linked,
            count(*) FILTER (WHERE l.listed AND l.writable
                AND (x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1)) IS NOT TRUE) AS people
        FROM plan_linked_people l
        LEFT JOIN changing u ON u.person_id = l.person_id
        LEFT JOIN plan_special_people x ON x.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY coalesce(u.category, l.category)
    )
    SELECT c.category, c.name, c.people, f.people
    FROM changed c JOIN figures f USING (category)
    WHERE f.linked >= smallest AND c.people * 100 > percent * greatest(f.people, smallest);

    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT d.label, 'held', 'mass_update', m.figures
    FROM plan_verdicts d
    LEFT JOIN plan_vetoes v ON v.label = d.label
    JOIN (
        SELECT u.category, array_agg(u.column_name) AS columns,
            jsonb_build_object('category', u.category, 'percent', percent, 'columns',
                jsonb_agg(jsonb_build_object('name', u.column_name, 'changed', u.changed, 'people', u.people)
                    ORDER BY u.column_name)) AS figures
        FROM plan_mass_updates u GROUP BY u.category
    ) m ON m.category = d.category AND d.after ?| m.columns
    WHERE d.outcome = 'update' AND v.label IS NULL AND d.label NOT IN (SELECT unnest(kept));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_mass_updates(runs, connections) IS
'Fills plan_mass_updates: the columns that updates would change for more than guard_update_percent of a category''s '
    'people who are active, linked, listed and may be written to, in categories of 20 or more active linked people; '
    'filling an empty column does not count, nor does grade in a season. Holds each update of such a column as a '
    'whole; the links are written.';

CREATE FUNCTION minga_roster_internal.find_leavers(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM plan_rows o WHERE o.standing = 'absent' AND o.person_id IS NOT NULL) THEN
        RETURN;
    END IF;
    INSERT INTO plan_leavers (label, person_id, sourced_ids, category, status, protection)
    WITH gone AS MATERIALIZED (
        SELECT o.person_id, array_agg(o.sourced_id ORDER BY o.sourced_id)::text[] AS sourced_ids, count(*) AS links,
            c.family, max(coalesce(l.missed_run, run.run)) AS missed_run,
            -- The best rank among the rows seen last.
            (array_agg(o.link_category ORDER BY l.missed_since DESC NULLS FIRST, c.rank))[1] AS category
        FROM plan_rows o
        JOIN minga_roster.links l ON l.connection = find_leavers.connection.connection AND l.sourced_id = o.sourced_id
        JOIN plan_categories c ON c.category = o.link_category
        JOIN plan_proved_families f ON f.family = c.family
        WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id, c.family
    ), whole_reads AS MATERIALIZED (
        SELECT r.run, c.family
        FROM minga_roster.runs r
        -- An apply goes by what its preview read.
        JOIN minga_roster.collections c ON c.run = CASE r.kind WHEN 'apply' THEN r.of_run ELSE r.run END
        LEFT JOIN minga_roster.collections tonight ON tonight.run = find_leavers.run.run
            AND tonight.collection = c.collection
        WHERE connection.guard_grace > 1 AND r.connection = find_leavers.connection.connection
            AND r.kind IN ('sync', 'apply') AND r.state = 'succeeded' AND r.is_full
        GROUP BY r.run, c.family
        -- Of a collection that is empty tonight too nothing else is known.
        HAVING bool_and(c.complete
            AND (c.rows > c.elsewhere OR coalesce(tonight.rows <= tonight.elsewhere, false)))
    )
    SELECT g.sourced_ids[1], g.person_id, g.sourced_ids, g.category, p.status, p.protection
    FROM gone g
    JOIN plan_categories c ON c.category = g.category AND c.rostered AND c.archive
    JOIN plan_people p ON p.person_id = g.person_id AND NOT p.archived
    LEFT JOIN plan_special_people x ON x.person_id = g.person_id
    WHERE g.links = coalesce(x.own_links, 1) AND x.first_elsewhere IS NULL
        AND g.person_id NOT IN (SELECT k.person_id FROM plan_candidates k)
        -- Tonight's read counts with those before it.
        AND (connection.guard_grace = 1
            OR 1 + (SELECT count(*) FROM whole_reads w WHERE w.family = g.family AND w.run >= g.missed_run)
                >= connection.guard_grace);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_leavers(runs, connections) IS
'Fills plan_leavers: active people who are absent with every link, in families whose read was proved, and whom no '
    'listed row could be.';

CREATE FUNCTION minga_roster_internal.veto_archives(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
BEGIN
    IF NOT EXISTS (SELECT FROM plan_leavers l WHERE l.protection IS NULL) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.find_linked_people(connection);
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    WITH back AS MATERIALIZED (
        SELECT d.person_id FROM plan_decisions d WHERE d.outcome = 'restore'
    ), recent AS MATERIALIZED (
        -- Archived in the last week without an approval, and still archived when tonight's run is done.
        SELECT DISTINCT ON (c.person_id) c.person_id, c.category
        FROM minga_roster.changes c
        JOIN minga_roster.runs r ON r.run = c.run AND r.connection = veto_archives.run.connection
        JOIN plan_people p ON p.person_id = c.person_id AND p.archived
        WHERE c.action = 'archive' AND c.state = 'applied' AND c.state_cause IS NULL
            AND c.state_at > minga_roster_internal.clock() - interval '7 days'
            AND c.site = veto_archives.run.site AND c.person_id NOT IN (SELECT b.person_id FROM back b)
        ORDER BY c.person_id, c.run DESC
    ), leaver AS (
        SELECT l.category FROM plan_leavers l WHERE l.protection IS NULL
        UNION ALL
        SELECT r.category FROM recent r
    ), base AS (
        SELECT l.category
        FROM plan_linked_people l LEFT JOIN back b ON b.person_id = l.person_id
        WHERE NOT l.archived OR b.person_id IS NOT NULL
        UNION ALL
        SELECT r.category FROM recent r
        UNION ALL
        SELECT d.category FROM plan_decisions d WHERE d.outcome = 'create'
    ), figures AS (
        SELECT l.category, l.leavers, b.people
        FROM (SELECT category, count(*) AS leavers FROM leaver GROUP BY category) l
        JOIN (SELECT category, count(*) AS people FROM base GROUP BY category) b USING (category)
    ), judged AS (
        SELECT f.*, i.figures AS ids_changed,
            CASE
                WHEN i.category IS NOT NULL THEN 'ids_changed'
                WHEN connection.unproven THEN 'unproven'
                WHEN today <@ connection.freeze_dates THEN 'frozen'
                WHEN in_season AND f.leavers > connection.guard_floor
                    AND f.leavers * 100 > connection.season_percent * f.people THEN 'season_percent'
                WHEN in_season THEN NULL
                WHEN f.people >= 4 AND f.leavers * 2 >= f.people THEN 'half'
                WHEN f.leavers > connection.guard_floor AND f.leavers * 100 > connection.guard_percent * f.people
                    THEN 'percent'
            END AS cause
        FROM figures f LEFT JOIN plan_changed_ids i ON i.category = f.category
    )
    SELECT l.label, 'held', j.cause,
        CASE j.cause
            WHEN 'ids_changed' THEN j.ids_changed
            WHEN 'frozen' THEN jsonb_build_object('until', upper(connection.freeze_dates) - 1)
            WHEN 'season_percent' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people,
                'floor', connection.guard_floor, 'percent', connection.season_percent,
                'until', upper(connection.season_dates) - 1)
            WHEN 'half' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people)
            WHEN 'percent' THEN jsonb_build_object('leavers', j.leavers, 'people', j.people,
                'floor', connection.guard_floor, 'percent', connection.guard_percent)
        END
    FROM plan_leavers l JOIN judged j ON j.category = l.category
    WHERE l.protection IS NULL AND j.cause IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_archives(runs, connections) IS
'Holds archives, by category: if the leavers, with those of the last seven days, are more than guard_percent and more '
    'than guard_floor of its people, or at least half of four or more; or the connection is unproven, its archives '
    'are frozen, or many sourcedIds of the category changed. In a season, season_percent takes the place of '
    'guard_percent and of the half.';

CREATE FUNCTION minga_roster_internal.awaits_approval(action text, cause text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN action IN ('update', 'archive') OR (action = 'create' AND coalesce(cause = 'new_site', false));
COMMENT ON FUNCTION minga_roster_internal.awaits_approval(text, text) IS
'Whether a held change of this action and state_cause is for roster_approve; the others are for roster_relink.';

CREATE FUNCTION minga_roster_internal.drop_held_links(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM minga_roster.planned_links l
    USING minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE r.connection = drop_held_links.connection AND c.state = 'expired' AND c.action = 'create' AND l.run = c.run
        AND l.change = c.change
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_held_links(text) IS
'Removes the links of held creates that have expired.';
