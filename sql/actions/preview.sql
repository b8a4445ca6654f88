-- A reviewed preview: what its plan stores so that it can be applied later, and the apply, which fetches and plans
-- nothing. Must survive anything that happens in between: a person who is no longer as the preview saw them is refused.

CREATE FUNCTION minga_roster_internal.hash_people() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('seen');
    EXECUTE 'INSERT INTO plan_seen_people ' || minga_roster_internal.seen_people_query();
    PERFORM minga_roster_internal.analyze_if_large('plan_seen_people', 'person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.hash_people() IS
'Fills plan_seen_people: the hash that people_terms has, for each row of plan_people.';

CREATE FUNCTION minga_roster_internal.mark_seen() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.hash_people();
    INSERT INTO plan_sights (change, seen)
    SELECT c.change, p.seen
    FROM plan_changes c JOIN plan_seen_people p ON p.person_id = c.person_id
    WHERE c.action IN ('link', 'update', 'restore', 'archive')
    UNION ALL
    SELECT a.change, hashtextextended(string_agg(a.person_id, ' ' ORDER BY a.person_id), 0)
    FROM (
        SELECT c.change, p.person_id
        FROM plan_changes c
        JOIN plan_people p ON lower(p.identifier COLLATE "C") = lower((c.after ->> 'identifier') COLLATE "C")
        WHERE c.action = 'create'
        UNION
        SELECT c.change, p.person_id
        FROM plan_changes c JOIN plan_people p ON lower(p.email COLLATE "C") = lower((c.after ->> 'email') COLLATE "C")
        WHERE c.action = 'create'
    ) a
    GROUP BY a.change;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_seen() IS
'Fills plan_sights: for each row of plan_changes a hash of the person as it is now; for a create, of the people with '
'the same identifier or email address.';

CREATE FUNCTION minga_roster_internal.link_hash(person_id text, category text, role_written text, linked_run bigint,
    missed_run bigint, archived_run bigint) RETURNS bigint
LANGUAGE sql STABLE
RETURN CASE WHEN person_id IS NOT NULL THEN
    hashtextextended(ROW(person_id, category, role_written, linked_run, missed_run, archived_run)::text, 0) END;
COMMENT ON FUNCTION minga_roster_internal.link_hash(text, text, text, bigint, bigint, bigint) IS
'A hash of what a plan uses of a link; NULL for none.';

CREATE FUNCTION minga_roster_internal.keep_preview(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.open_link_writes();
    INSERT INTO minga_roster.planned_links (run, sourced_id, deed, change, person_id, category, role_written, rule,
        linked_run, missing, returned, archived, seen)
    SELECT run.run, w.sourced_id, w.deed, w.change, w.person_id, w.category, w.role_written, w.rule, w.linked_run,
        w.missing, w.returned, w.archived,
        minga_roster_internal.link_hash(l.person_id, l.category, l.role_written, l.linked_run, l.missed_run,
            l.archived_run)
    FROM plan_link_writes w
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = keep_preview.run.connection) l
        ON l.sourced_id = w.sourced_id;
    PERFORM minga_roster_internal.mark_seen();
    PERFORM minga_roster_internal.keep_changes(run);
    PERFORM minga_roster_internal.find_outcomes();
    PERFORM minga_roster_internal.count_outcomes(run, minga_roster_internal.known_connection(run.connection));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_preview(runs) IS
'Keeps the changes of a preview, and what its apply needs: the links to write, and how the preview saw the people.';

CREATE FUNCTION minga_roster_internal.planned_in(run runs) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE (run).kind
        WHEN 'apply' THEN (run).of_run
        WHEN 'approve' THEN coalesce(
            (SELECT minga_roster_internal.planned_in(a) FROM minga_roster.runs a
            WHERE a.run = (planned_in.run).of_run AND a.kind IN ('sync', 'preview', 'apply')),
            (run).of_run)
        ELSE (run).run
    END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_in(runs) IS
'The run that has the changes which this run carried out: for an apply the preview, for an approval the run that held '
'them.';

CREATE FUNCTION minga_roster_internal.apply_preview(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(apply_preview.run);
    preview minga_roster.runs := minga_roster_internal.known_run(this.of_run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    local_columns text[] := minga_roster_internal.local_written_columns(this.connection);
    missing_columns text[] := minga_roster_internal.missing_columns(connection.people);
    today date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    why text;
BEGIN
    why := CASE
        WHEN preview.kind <> 'preview' THEN 
            format('It is %s.', minga_roster_internal.with_article(preview.kind))
        WHEN preview.state <> 'succeeded' THEN minga_roster_internal.state_words(preview.state) || '.'
        WHEN preview.queued_at < minga_roster_internal.changes_kept_since() THEN
            'Some of its changes may have been removed, because they are older than minga_roster.keep_changes.'
        ELSE coalesce(
            minga_roster_internal.why_foreign(preview, connection),
            'It was applied by run ' || minga_roster_internal.carried_out_by(preview) || '.',
            (SELECT format('Run %s, %s, has changed people since, so the preview is out of date.', r.run,
                    minga_roster_internal.with_article(r.kind))
                FROM minga_roster.runs r
                WHERE r.connection = this.connection AND r.kind IN ('sync', 'apply', 'undo') AND r.state = 'succeeded'
                    AND r.run <> preview.run AND (r.run > preview.run OR r.finished_at > preview.finished_at)
                ORDER BY r.run DESC LIMIT 1),
            CASE WHEN connection.unproven AND connection.unproven_since > preview.finished_at THEN
                'The address, SIS or school of the connection has changed since.' END)
    END;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be applied', preview.run),
            DETAIL = why,
            HINT = CASE WHEN preview.kind = 'preview' AND preview.state IN ('queued', 'running') THEN
                    'Try again when it has finished; see minga_roster.roster_status.'
                ELSE format('Run a new preview: SELECT * FROM minga_roster.roster_preview(%L).',
                    this.connection) END;
    END IF;

    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.make_plan_tables('rows');
    PERFORM minga_roster_internal.make_plan_tables('apply');
    PERFORM minga_roster_internal.load_changes(preview.run, 'planned');
    PERFORM minga_roster_internal.mark_seen();
    INSERT INTO plan_moved_links (sourced_id, change)
    SELECT w.sourced_id, w.change
    FROM minga_roster.planned_links w
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = this.connection) l ON l.sourced_id = w.sourced_id
    WHERE w.run = preview.run
        AND minga_roster_internal.link_hash(l.person_id, l.category, l.role_written, l.linked_run, l.missed_run,
            l.archived_run) IS DISTINCT FROM w.seen;
    -- The plan used every decision made before it. A link that roster_decide made later has the number of the preview
    -- or of a later run.
    INSERT INTO plan_decided_since (change, sourced_id)
    WITH planned AS MATERIALIZED (
        SELECT c.change, c.person_id, c.rule, i.sourced_id
        FROM minga_roster.changes c CROSS JOIN LATERAL unnest(c.sourced_ids) i (sourced_id)
        WHERE c.run = preview.run AND c.state = 'planned'
        UNION ALL
        SELECT NULL, w.person_id, w.rule, w.sourced_id
        FROM minga_roster.planned_links w
        WHERE w.run = preview.run AND w.change IS NULL AND w.deed IN ('insert', 'replace')
    ), decided AS MATERIALIZED (
        SELECT l.sourced_id, l.person_id
        FROM minga_roster.links l
        WHERE l.connection = this.connection AND l.rule = 'decided' AND l.linked_run >= preview.run
    )
    SELECT p.change, p.sourced_id FROM planned p JOIN decided d ON d.sourced_id = p.sourced_id
    UNION
    SELECT p.change, p.sourced_id FROM planned p JOIN decided d ON d.person_id = p.person_id
    UNION
    SELECT p.change, p.sourced_id
    FROM planned p JOIN minga_roster.match_decisions d ON d.connection = this.connection AND d.sourced_id = p.sourced_id
    WHERE d.decision = 'skip' OR (p.rule IN ('former id', 'identifier', 'e-mail', 'protected')
        AND coalesce(d.person_id, p.person_id) = p.person_id)
    UNION
    SELECT p.change, min(p.sourced_id)
    FROM planned p
    LEFT JOIN (SELECT k.sourced_id, k.person_id FROM minga_roster.links k WHERE k.connection = this.connection) l
        ON l.sourced_id = p.sourced_id AND l.person_id = p.person_id
    -- Further rows of a person whose linked row is not used, because its category is off or it is unreadable.
    LEFT JOIN (SELECT w.sourced_id FROM minga_roster.planned_links w
        WHERE w.run = preview.run AND w.deed IN ('insert', 'replace')) n
        ON n.sourced_id = p.sourced_id
    LEFT JOIN (SELECT DISTINCT k.person_id FROM minga_roster.links k WHERE k.connection = this.connection) known
        ON known.person_id = p.person_id
    WHERE p.rule IN ('linked', 'same person')
    GROUP BY p.change
    HAVING count(l.sourced_id) = 0 AND (count(n.sourced_id) < count(*) OR count(known.person_id) = 0);
    INSERT INTO plan_refusals (change, code, detail)
    SELECT c.change,
        coalesce(
            minga_roster_internal.setting_refusal(c.action, c.after, t.roster, t.archive, t.auto_update,
                local_columns, missing_columns),
            CASE
                WHEN c.action = 'archive' AND today <@ connection.freeze_dates THEN 'frozen'
                WHEN c.action = 'create' AND s.seen IS DISTINCT FROM c.seen THEN 'same_key_person'
                WHEN c.change IN (SELECT m.change FROM plan_moved_links m) THEN 'link_changed'
                WHEN c.change IN (SELECT d.change FROM plan_decided_since d WHERE d.change IS NOT NULL) THEN 'decided'
            END,
            minga_roster_internal.person_refusal(c.action, p.person_id, p.archived, p.protection),
            CASE
                WHEN c.action = 'create' THEN NULL
                WHEN s.seen IS DISTINCT FROM c.seen THEN 'changed_since'
                WHEN c.action = 'archive' AND elsewhere.person_id IS NOT NULL THEN 'listed_elsewhere'
                WHEN e.run IS NOT NULL THEN 'changed_by_run'
            END),
        CASE WHEN c.action = 'archive' AND today <@ connection.freeze_dates
            THEN (upper(connection.freeze_dates) - 1)::text ELSE e.run::text END
    FROM minga_roster.changes c
    LEFT JOIN minga_roster.toggles t ON t.connection = this.connection AND t.category = c.category
    LEFT JOIN plan_people p ON p.person_id = c.person_id
    LEFT JOIN plan_sights s ON s.change = c.change
    LEFT JOIN (
        SELECT d.person_id, max(d.done_by) AS run
        FROM minga_roster.changes d
        WHERE d.site = this.site AND d.done_by > preview.run
        GROUP BY d.person_id
    ) e ON e.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT k.person_id
        FROM minga_roster.links k JOIN minga_roster.connections o USING (connection)
        WHERE k.site = this.site AND k.connection <> this.connection AND k.missed_since IS NULL
            AND o.people = connection.people AND o.retired_at IS NULL
    ) elsewhere ON elsewhere.person_id = c.person_id
    WHERE c.run = preview.run AND c.state = 'planned';
    UPDATE minga_roster.changes c SET state = 'refused', state_at = minga_roster_internal.clock(),
        state_reason = minga_roster_internal.state_reason(f.code, f.detail)
    FROM plan_refusals f
    WHERE c.run = preview.run AND c.change = f.change AND f.code IS NOT NULL;

    PERFORM minga_roster_internal.open_writes(connection, 'planned');
    PERFORM minga_roster_internal.write_people(connection);
    -- Links of held creates wait for the approval.
    INSERT INTO plan_link_writes
    SELECT l.sourced_id, l.deed, l.change, l.person_id, l.category, l.role_written, l.rule, l.linked_run, l.missing,
        l.returned, l.archived
    FROM minga_roster.planned_links l
    WHERE l.run = preview.run AND l.sourced_id NOT IN (SELECT m.sourced_id FROM plan_moved_links m)
        AND (l.change NOT IN (SELECT h.change FROM minga_roster.changes h
            WHERE h.run = preview.run AND h.action = 'create' AND h.state = 'held')) IS NOT FALSE
        AND (l.change IS NOT NULL
            OR l.sourced_id NOT IN (SELECT d.sourced_id FROM plan_decided_since d WHERE d.change IS NULL))
        -- A link without a change, such as an owner's, is written only if the person still exists.
        AND (l.deed NOT IN ('insert', 'replace') OR l.change IS NOT NULL
            OR l.person_id IN (SELECT p.person_id FROM plan_people p));
    PERFORM minga_roster_internal.analyze_if_large('plan_link_writes');
    PERFORM minga_roster_internal.write_links(this);
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.settle_changes(this, preview.run);
    PERFORM minga_roster_internal.apply_objects(this, preview, connection);
    DELETE FROM minga_roster.planned_links l
    WHERE l.run = preview.run AND (l.change NOT IN (SELECT h.change FROM minga_roster.changes h
            WHERE h.run = preview.run AND h.action = 'create' AND h.state = 'held')) IS NOT FALSE;
    IF EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = preview.run AND c.state = 'held'
        AND (c.action = 'update' OR c.state_cause = 'new_site')) THEN
        PERFORM minga_roster_internal.require_full_read(this.connection);
    END IF;
    UPDATE minga_roster.changes c
    SET state = 'expired', state_at = minga_roster_internal.clock(), state_cause = 'superseded'
    FROM minga_roster.runs r
    WHERE r.run = c.run AND r.connection = this.connection AND c.state = 'held' AND c.run <> preview.run
        AND preview.is_full IS NOT FALSE;
    IF FOUND THEN
        PERFORM minga_roster_internal.drop_held_links(this.connection);
    END IF;

    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, coalesce(c.category, 'none'), CASE c.state WHEN 'held' THEN 'held' ELSE c.action END, count(*)
    FROM minga_roster.changes c
    WHERE c.run = preview.run AND (c.state IN ('applied', 'noted')
        OR (c.state = 'held' AND minga_roster_internal.awaits_approval(c.action, c.state_cause)))
    GROUP BY 2, 3;
    UPDATE minga_roster.runs r
    SET is_full = preview.is_full, created = n.created, linked = n.linked, updated = n.updated,
        restored = n.restored, archived = n.archived, held = n.held,
        unchanged = preview.unchanged + n.kept, skipped = preview.skipped, conflicts = n.conflicts, rejects = n.rejects
    FROM (
        SELECT count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'create') AS created,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'link') AS linked,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'update') AS updated,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'restore') AS restored,
            count(*) FILTER (WHERE c.state = 'applied' AND c.action = 'archive') AS archived,
            count(*) FILTER (WHERE c.state = 'held'
                AND minga_roster_internal.awaits_approval(c.action, c.state_cause)) AS held,
            (SELECT count(*) FROM plan_written w WHERE w.code = 'kept' AND NOT w.links) AS kept,
            count(*) FILTER (WHERE c.action = 'conflict') AS conflicts,
            count(*) FILTER (WHERE c.action = 'reject') AS rejects
        FROM minga_roster.changes c WHERE c.run = preview.run
    ) n
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_preview(bigint) IS
'Carries out the planned changes of the run''s preview, checking each again; people who are no longer as the preview '
'saw them are refused. What the guard held stays held until roster_approve of the preview. Proves no connection. 55000 '
'if the run is not a preview, has not succeeded, was applied, or is out of date because of a later run or a changed '
'connection.';
