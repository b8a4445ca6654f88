-- The guard: holds archives back when too many would go at once, and all of them while a connection is unproven; and
-- updates that would change one column of most people at once. A wrong school, a shortened answer, a new year or a
-- column that went wrong in the SIS must not empty or overwrite a school over night.

CREATE FUNCTION minga_roster_internal.find_linked_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    IF to_regclass('pg_temp.linked_then') IS NOT NULL THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE linked_then ON COMMIT DROP AS
    WITH links_then AS (
        -- The links as tonight's run leaves them: tomorrow's base, and so tonight's.
        SELECT l.person_id,
            CASE WHEN o.usable AND d.outcome NOT IN ('conflict', 'reject') THEN o.category
                ELSE l.category END AS category,
            CASE WHEN o.standing <> 'absent' THEN false
                ELSE l.missed_since IS NOT NULL OR coalesce(o.standing = 'absent'
                    AND minga_roster_internal.family_of(l.category) IN (SELECT f.family FROM proved_families f), false)
            END AS missed, l.missed_since,
            -- What is not among the open rows is plain, or a student whom a delta does not list.
            coalesce(o.standing <> 'absent', l.missed_since IS NULL) AS listed
        FROM minga_roster.links l
        LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id
        LEFT JOIN decisions d ON d.label = o.label
        LEFT JOIN (SELECT DISTINCT m.person_id FROM decisions m WHERE m.links
            AND m.step IN ('former id', 'identifier', 'e-mail')) moved
            ON moved.person_id = l.person_id AND o.standing = 'absent'
        WHERE l.connection = find_linked_people.connection.connection AND moved.person_id IS NULL
        UNION ALL
        SELECT d.person_id, o.category, false, NULL, true
        FROM decisions d JOIN open_rows o ON o.label = d.label
        WHERE d.links AND d.outcome <> 'create' AND o.usable AND o.person_id IS NULL
    )
    SELECT DISTINCT ON (l.person_id) l.person_id, l.category, p.archived,
        bool_or(l.listed) OVER (PARTITION BY l.person_id) AS listed,
        p.managed AND (p.role IN ('owner', 'manager', 'other')) IS NOT TRUE AS writable
    FROM links_then l
    JOIN category_rules c ON c.category = l.category
    JOIN current_people p ON p.person_id = l.person_id
    ORDER BY l.person_id, l.missed, l.missed_since DESC NULLS FIRST, c.rank;
    ANALYZE linked_then (person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_linked_people(connections) IS
'Makes the temp table linked_then where it is not there yet: whom the connection''s links lead to once tonight''s '
    'run is '
'done, with the category of the best row seen last, whether any row of theirs is listed, and whether a roster may '
    'write to '
'them. Works on the temp tables of plan_run.';

CREATE FUNCTION minga_roster_internal.hold_updates(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    -- In fewer people a share says nothing.
    smallest CONSTANT integer := 20;
    percent CONSTANT integer := connection.guard_update_percent;
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
BEGIN
    CREATE TEMP TABLE mass_updates (category text, column_name text, changed bigint, people bigint) ON COMMIT DROP;
    IF NOT EXISTS (
        SELECT FROM decisions d WHERE d.outcome = 'update' GROUP BY d.category
        HAVING count(*) * 100 > percent * smallest)
    THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.find_linked_people(connection);
    INSERT INTO mass_updates
    WITH changed AS MATERIALIZED (
        -- To fill what was empty overwrites nothing.
        SELECT d.category, k.name, count(*) AS people
        FROM decisions d CROSS JOIN LATERAL jsonb_object_keys(d.after) k (name)
        WHERE d.outcome = 'update' AND d.label NOT IN (SELECT t.label FROM kept_updates t)
            AND btrim(coalesce(d.before ->> k.name, '')) <> '' AND NOT (in_season AND k.name = 'grade')
        GROUP BY d.category, k.name
        HAVING count(*) * 100 > percent * smallest
    ), figures AS MATERIALIZED (
        -- Who is not listed, or is not written to, cannot change, and would make a change of everybody else look small.
        SELECT coalesce(u.category, l.category) AS category, count(*) AS linked,
            count(*) FILTER (WHERE l.listed AND l.writable
                AND (x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1)) IS NOT TRUE) AS people
        FROM linked_then l
        LEFT JOIN (SELECT d.person_id, d.category FROM decisions d WHERE d.outcome = 'update') u
            ON u.person_id = l.person_id
        LEFT JOIN special_people x ON x.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY coalesce(u.category, l.category)
    )
    SELECT c.category, c.name, c.people, f.people
    FROM changed c JOIN figures f USING (category)
    WHERE f.linked >= smallest AND c.people * 100 > percent * greatest(f.people, smallest);

    UPDATE decisions d
    SET outcome = CASE WHEN d.links THEN 'link' ELSE 'skip' END, held_as = 'update', held_cause = 'mass_update',
        held_reason = m.reason
    FROM (
        SELECT u.category, array_agg(u.column_name) AS columns,
            format('%s %s would change in one run: more than %s percent.',
                string_agg(format('%s of %s of %s', u.column_name, u.changed, u.people), ', ' ORDER BY u.column_name),
                minga_roster_internal.people_of(u.category, 2), percent) AS reason
        FROM mass_updates u GROUP BY u.category
    ) m
    WHERE d.outcome = 'update' AND d.category = m.category AND d.after ?| m.columns
        AND d.label NOT IN (SELECT t.label FROM kept_updates t);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.hold_updates(runs, connections) IS
'Makes the temp table mass_updates: columns that updates would change for more than guard_update_percent of a '
    'category''s '
'people, of those who are active, linked, listed and may be written to, in categories of 20 or more active linked '
    'people; '
'filling an empty column is not counted, nor is grade in a season. Each update of such a column becomes a held '
    'change as a '
'whole; the links are written. Works on the temp tables of plan_run.';

CREATE FUNCTION minga_roster_internal.hold_new_site(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    -- A site that is mistyped has nobody, and all people of the right one would be made a second time.
    IF EXISTS (SELECT FROM current_people) OR NOT EXISTS (SELECT FROM decisions d WHERE d.outcome = 'create')
        OR EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = hold_new_site.connection.connection)
        OR minga_roster_internal.as_owner(connection.people,
            minga_roster_internal.any_person_query(connection.people)) = 0
    THEN
        RETURN;
    END IF;
    UPDATE decisions d SET outcome = 'skip', links = false, held_as = 'create', held_cause = 'new_site',
        held_reason = format('Nobody is of site "%s" yet, and the people relation has people of other sites.',
            connection.site)
    WHERE d.outcome = 'create';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.hold_new_site(connections) IS
'Holds all creates of a plan for a site that has nobody beside sites that have people, of a connection that has '
    'linked nobody yet: the site may be mistyped. Works on the temp tables of plan_run.';

CREATE FUNCTION minga_roster_internal.awaits_approval(action text, cause text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN action IN ('update', 'archive') OR (action = 'create' AND coalesce(cause = 'new_site', false));
COMMENT ON FUNCTION minga_roster_internal.awaits_approval(text, text) IS 'Whether a held change of this action and state_cause is for '
    'roster_approve; the others are for roster_relink.';

CREATE FUNCTION minga_roster_internal.keep_held_links(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM decisions d WHERE d.held_cause = 'new_site') THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.planned_links (run, sourced_id, deed, change, category, role_written, rule, missing,
        returned)
    SELECT run.run, o.sourced_id, 'insert', c.change, o.category, d.after ->> 'role', d.rule, false, false
    FROM decisions d
    JOIN minga_roster.changes c ON c.run = keep_held_links.run.run AND c.state = 'held' AND c.action = 'create'
        AND c.sourced_ids[1] COLLATE "C" = d.sourced_ids[1] COLLATE "C"
    JOIN open_rows o ON o.label = d.label AND o.usable
    WHERE d.held_cause = 'new_site';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_held_links(runs, connections) IS 'Stores with a plan the links of its held creates, which '
    'its approval writes.';

CREATE FUNCTION minga_roster_internal.drop_held_links(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM minga_roster.planned_links l
    USING minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE r.connection = drop_held_links.connection AND c.state = 'expired' AND c.action = 'create' AND l.run = c.run
        AND l.change = c.change
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_held_links(text) IS 'Removes the links of held creates that have expired.';

CREATE FUNCTION minga_roster_internal.guard_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(guard_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    today date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season boolean := coalesce(today <@ connection.season_dates, false);
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'archive') THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.find_linked_people(connection);
    WITH tonight AS MATERIALIZED (
        SELECT c.person_id, c.category FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'archive'
    ), recent AS MATERIALIZED (
        -- Archived in the last week without anybody's approval, and still archived when tonight's run is done.
        SELECT DISTINCT ON (c.person_id) c.person_id, c.category
        FROM minga_roster.changes c
        JOIN minga_roster.runs r ON r.run = c.run AND r.connection = this.connection
        JOIN current_people p ON p.person_id = c.person_id AND p.archived
        WHERE c.action = 'archive' AND c.state = 'applied' AND c.state_cause IS NULL
            AND c.state_at > minga_roster_internal.clock() - interval '7 days'
            AND c.site = this.site AND c.person_id NOT IN (SELECT d.person_id FROM decisions d WHERE d.outcome = 'restore')
        ORDER BY c.person_id, c.run DESC
    ), leaver AS (
        SELECT person_id, category FROM tonight UNION ALL SELECT person_id, category FROM recent
    ), base AS (
        SELECT l.category
        FROM linked_then l
        LEFT JOIN (SELECT d.person_id FROM decisions d WHERE d.outcome = 'restore') back ON back.person_id = l.person_id
        WHERE NOT l.archived OR back.person_id IS NOT NULL
        UNION ALL
        SELECT category FROM recent
        UNION ALL
        SELECT d.category FROM decisions d WHERE d.outcome = 'create'
    ), figures AS (
        SELECT l.category, l.leavers, b.people
        FROM (SELECT category, count(*) AS leavers FROM leaver GROUP BY category) l
        JOIN (SELECT category, count(*) AS people FROM base GROUP BY category) b USING (category)
    ), verdicts AS (
        SELECT f.*, i.reason AS ids_changed,
            CASE
                WHEN i.reason IS NOT NULL THEN 'ids_changed'
                WHEN connection.unproven THEN 'unproven'
                WHEN today <@ connection.freeze_dates THEN 'frozen'
                WHEN in_season AND f.leavers > connection.guard_floor
                    AND f.leavers * 100 > connection.season_percent * f.people THEN 'season_percent'
                WHEN in_season THEN NULL
                WHEN f.people >= 4 AND f.leavers * 2 >= f.people THEN 'half'
                WHEN f.leavers > connection.guard_floor AND f.leavers * 100 > connection.guard_percent * f.people
                    THEN 'percent'
            END AS cause
        FROM figures f LEFT JOIN changed_ids i ON i.category = f.category
    )
    UPDATE minga_roster.changes c SET state = 'held', state_cause = v.cause,
        state_reason = CASE v.cause
            WHEN 'ids_changed' THEN v.ids_changed
            WHEN 'unproven' THEN 'No sync has shown yet that the connection reaches the right school.'
            WHEN 'frozen' THEN format('Archives are frozen until %s.', upper(connection.freeze_dates) - 1)
            WHEN 'season_percent' THEN
                format('%s of %s would be gone within a week: more than %s and, in the season until %s, more than %s '
                    'percent.', v.leavers, v.people,
                    connection.guard_floor, upper(connection.season_dates) - 1, connection.season_percent)
            WHEN 'half' THEN format('%s of %s would be gone within a week: half or more.', v.leavers, v.people)
            WHEN 'percent' THEN format('%s of %s would be gone within a week: more than %s and more than %s percent.',
                v.leavers, v.people,
                connection.guard_floor, connection.guard_percent)
        END
    FROM verdicts v
    WHERE c.run = this.run AND c.action = 'archive' AND v.category = c.category AND v.cause IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.guard_run(bigint) IS
'Marks planned archives of the run as held, by category: when leavers, those of the last seven days counted in, are more than guard_percent and more than guard_floor of its people, or half or more of four or more, or the connection is unproven or its archives are frozen, or many ids of the category changed. In a season season_percent takes the place of guard_percent and of the half. Works on the temp tables of plan_run.';
