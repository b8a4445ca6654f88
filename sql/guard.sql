-- The guard: holds archives back when too many would go at once, and all of them while a connection is unproven.
-- A wrong school, a shortened answer or a new year must not empty a school over night.

CREATE FUNCTION guard_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster.known_run(guard_run.run);
    connection minga_roster.connections := minga_roster.known_connection(this.connection);
    today date := (minga_roster.clock() AT TIME ZONE connection.time_zone)::date;
    in_season boolean := coalesce(today <@ connection.season_dates, false);
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'archive') THEN
        RETURN;
    END IF;
    WITH tonight AS MATERIALIZED (
        SELECT c.person_id, c.category FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'archive'
    ), recent AS MATERIALIZED (
        -- Archived in the last week without anybody's approval, and still archived when tonight's run is done.
        SELECT DISTINCT ON (c.person_id) c.person_id, c.category
        FROM minga_roster.changes c
        JOIN minga_roster.runs r ON r.run = c.run AND r.connection = this.connection
        JOIN current_people p ON p.person_id = c.person_id AND p.archived
        WHERE c.action = 'archive' AND c.state = 'applied' AND c.state_reason IS NULL AND c.state_at > minga_roster.clock() - interval '7 days'
            AND c.site = this.site AND c.person_id NOT IN (SELECT d.person_id FROM decisions d WHERE d.outcome = 'restore')
        ORDER BY c.person_id, c.run DESC
    ), leaver AS (
        SELECT person_id, category FROM tonight UNION ALL SELECT person_id, category FROM recent
    ), links_then AS (
        -- The links as tonight's run leaves them: tomorrow's base, and so tonight's.
        SELECT l.person_id, CASE WHEN o.usable AND d.outcome NOT IN ('conflict', 'reject') THEN o.category ELSE l.category END AS category,
            CASE WHEN o.standing <> 'absent' THEN false
                ELSE l.missed_since IS NOT NULL OR coalesce(o.standing = 'absent' AND minga_roster.family_of(l.category) IN (SELECT f.family FROM proved_families f), false)
            END AS missed, l.missed_since
        FROM minga_roster.links l
        LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id
        LEFT JOIN decisions d ON d.label = o.label
        LEFT JOIN (SELECT DISTINCT m.person_id FROM decisions m WHERE m.links AND m.step IN ('identifier', 'e-mail')) moved
            ON moved.person_id = l.person_id AND o.standing = 'absent'
        WHERE l.connection = this.connection AND moved.person_id IS NULL
        UNION ALL
        SELECT d.person_id, o.category, false, NULL
        FROM decisions d JOIN open_rows o ON o.label = d.label
        WHERE d.links AND d.outcome <> 'create' AND o.usable AND o.person_id IS NULL
    ), linked AS (
        SELECT DISTINCT ON (l.person_id) l.person_id, l.category
        FROM links_then l
        JOIN category_rules c ON c.category = l.category
        JOIN current_people p ON p.person_id = l.person_id
        LEFT JOIN (SELECT d.person_id FROM decisions d WHERE d.outcome = 'restore') back ON back.person_id = l.person_id
        WHERE NOT p.archived OR back.person_id IS NOT NULL
        ORDER BY l.person_id, l.missed, l.missed_since DESC NULLS FIRST, c.rank
    ), base AS (
        SELECT category FROM linked
        UNION ALL
        SELECT category FROM recent
        UNION ALL
        SELECT d.category FROM decisions d WHERE d.outcome = 'create'
    ), figures AS (
        SELECT l.category, l.leavers, b.people
        FROM (SELECT category, count(*) AS leavers FROM leaver GROUP BY category) l
        JOIN (SELECT category, count(*) AS people FROM base GROUP BY category) b USING (category)
    ), verdicts AS (
        SELECT f.category,
            CASE
                WHEN i.reason IS NOT NULL THEN i.reason
                WHEN connection.unproven THEN
                    'No sync has shown yet that the connection reaches the right school.'
                WHEN today <@ connection.freeze_dates THEN
                    format('Archives are frozen until %s.', upper(connection.freeze_dates) - 1)
                WHEN in_season AND f.leavers > connection.guard_floor AND f.leavers * 100 > connection.season_percent * f.people THEN
                    format('%s of %s would be gone within a week: more than %s and, in the season until %s, more than %s percent.', f.leavers, f.people,
                        connection.guard_floor, upper(connection.season_dates) - 1, connection.season_percent)
                WHEN in_season THEN NULL
                WHEN f.people >= 4 AND f.leavers * 2 >= f.people THEN
                    format('%s of %s would be gone within a week: half or more.', f.leavers, f.people)
                WHEN f.leavers > connection.guard_floor AND f.leavers * 100 > connection.guard_percent * f.people THEN
                    format('%s of %s would be gone within a week: more than %s and more than %s percent.', f.leavers, f.people,
                        connection.guard_floor, connection.guard_percent)
            END AS reason
        FROM figures f LEFT JOIN changed_ids i ON i.category = f.category
    )
    UPDATE minga_roster.changes c SET state = 'held', state_reason = v.reason
    FROM verdicts v
    WHERE c.run = this.run AND c.action = 'archive' AND v.category = c.category AND v.reason IS NOT NULL;
END
$$;
COMMENT ON FUNCTION guard_run(bigint) IS
'Marks planned archives of the run as held, by category: when leavers, those of the last seven days counted in, are more than guard_percent and more than guard_floor of its people, or half or more of four or more, or the connection is unproven or its archives are frozen, or many ids of the category changed. In a season season_percent takes the place of guard_percent and of the half. Works on the temp tables of plan_run.';
