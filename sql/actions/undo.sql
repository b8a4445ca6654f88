-- Undo: reverts what a sync, an apply or an approval did to people and links, in one transaction, and pauses Automatic
-- Rostering, which would do it again. Must survive everything that happened since: a person who was changed since is
-- kept.

CREATE FUNCTION minga_roster_internal.check_undo(connection connections, target runs) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    why text;
    next_step text;
BEGIN
    SELECT CASE
            WHEN target.kind = 'undo' THEN 'It is an undo, which cannot be undone.'
            WHEN target.kind NOT IN ('sync', 'apply', 'approve') THEN
                format('It is %s, which changes no one.', minga_roster_internal.with_article(target.kind))
            WHEN target.state <> 'succeeded' THEN
                minga_roster_internal.state_words(target.state) || ', and changed no one.'
            WHEN u.run IS NOT NULL THEN format('It was undone by run %s.', u.run)
            WHEN EXISTS (SELECT FROM minga_roster.runs r
                WHERE r.run IN (target.run, minga_roster_internal.planned_in(target))
                    AND r.queued_at < minga_roster_internal.changes_kept_since()) THEN
                'Some of its changes may have been removed, because they are older than minga_roster.keep_changes.'
            WHEN f.why IS NOT NULL THEN f.why
            WHEN NOT EXISTS (SELECT FROM minga_roster.changes c
                    WHERE c.run = minga_roster_internal.planned_in(target) AND c.done_by = target.run)
                AND NOT EXISTS (SELECT FROM minga_roster.link_changes l WHERE l.run = target.run)
                AND NOT EXISTS (SELECT FROM minga_roster.run_objects o
                    WHERE o.run = target.run AND o.added + o.changed + o.returned + o.ended > 0) THEN
                CASE WHEN coalesce(target.created, 0) + coalesce(target.linked, 0) + coalesce(target.updated, 0)
                        + coalesce(target.restored, 0) + coalesce(target.archived, 0) > 0
                    THEN 'Its changes have been removed, because they are older than minga_roster.keep_changes.'
                    ELSE 'It changed no one.' END
        END,
        CASE
            WHEN target.kind IN ('sync', 'apply', 'approve') AND target.state IN ('queued', 'running') THEN
                'Try again when it has finished; see minga_roster.roster_status.'
            WHEN target.kind = 'undo' THEN format('Preview what a sync would do now, then apply it: SELECT * FROM '
                'minga_roster.roster_preview(%L).', target.connection)
            WHEN target.kind = 'preview' AND a.run IS NOT NULL THEN
                format('Undo run %s, which applied it: SELECT minga_roster.roster_undo(%s).', a.run, a.run)
            ELSE format('Find the runs that changed people: SELECT run, kind, finished_at FROM minga_roster.runs WHERE '
                'connection = %L AND kind IN (''sync'', ''apply'', ''approve'') AND state = ''succeeded'' ORDER BY run '
                'DESC.',
                target.connection)
        END
    INTO why, next_step
    FROM minga_roster_internal.why_foreign(target, connection) f (why)
    LEFT JOIN LATERAL (SELECT r.run FROM minga_roster.runs r
        WHERE r.connection = target.connection AND r.kind = 'undo' AND r.of_run = target.run AND r.state = 'succeeded'
        ORDER BY r.run LIMIT 1) u ON true
    CROSS JOIN LATERAL minga_roster_internal.carried_out_by(target) a (run);
    IF why IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be undone', target.run), DETAIL = why, HINT = next_step;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_undo(connections, runs) IS
'55000 if the target cannot be undone, with the reason and the next step.';

CREATE FUNCTION minga_roster_internal.find_undo(target runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('undo');
    INSERT INTO plan_undo_links (sourced_id, before, person_now, person_before, later_run)
    SELECT t.sourced_id, t.before, l.person_id, t.before ->> 'person_id', later.run
    FROM (
        SELECT c.sourced_id, c.before FROM minga_roster.link_changes c WHERE c.run = target.run
        UNION ALL
        SELECT l.sourced_id, NULL FROM minga_roster.links l
        WHERE l.connection = target.connection AND l.linked_run = target.run AND l.rule <> 'decided'
            AND l.sourced_id NOT IN (SELECT c.sourced_id FROM minga_roster.link_changes c WHERE c.run = target.run)
    ) t
    LEFT JOIN (SELECT * FROM minga_roster.links k WHERE k.connection = target.connection) l
        ON l.sourced_id = t.sourced_id
    LEFT JOIN (
        SELECT c.sourced_id, max(c.run) AS run
        FROM minga_roster.link_changes c JOIN minga_roster.runs r ON r.run = c.run AND r.connection = target.connection
        WHERE c.run > target.run
        GROUP BY c.sourced_id
    ) later ON later.sourced_id = t.sourced_id
    -- What roster_decide made of a row since then stays.
    WHERE (l.rule = 'decided' AND l.linked_run >= target.run) IS NOT TRUE;

    PERFORM minga_roster_internal.hash_people();
    INSERT INTO plan_undoing (run, change, person_id, category, did, nth, action, before, after, code, detail)
    SELECT c.run, c.change, c.person_id, c.category, c.action, row_number() OVER (ORDER BY c.run, c.change),
        CASE c.action WHEN 'create' THEN 'archive' WHEN 'archive' THEN 'restore' WHEN 'restore' THEN 'archive'
            ELSE c.action END,
        CASE c.action WHEN 'archive' THEN jsonb_build_object('archived_at',
            coalesce(to_jsonb(p.status), to_jsonb(p.archived_at)))
            ELSE c.after || coalesce(c.stored, '{}') END,
        CASE c.action WHEN 'create' THEN '{}' ELSE c.before END,
        coalesce(
            CASE WHEN c.sourced_ids = '{}' THEN 'erased' END,
            minga_roster_internal.person_refusal(NULL, p.person_id, p.archived, p.protection),
            CASE
                WHEN later.run IS NOT NULL THEN 'changed_by_run'
                WHEN k.later_run IS NOT NULL THEN 'link_changed_by_run'
                WHEN c.action <> 'link' AND s.seen IS DISTINCT FROM c.seen THEN 'changed_since'
                WHEN c.action = 'create' AND e.person_id IS NOT NULL THEN 'linked_elsewhere'
                WHEN c.action = 'create' AND h.person_id IS NOT NULL THEN 'decided_person'
            END),
        coalesce(later.run, k.later_run)::text
    FROM minga_roster.changes c
    LEFT JOIN plan_people p ON p.person_id = c.person_id
    LEFT JOIN plan_seen_people s ON s.person_id = c.person_id
    LEFT JOIN (
        SELECT d.person_id, max(d.done_by) AS run
        FROM minga_roster.changes d
        WHERE d.site = target.site AND d.state = 'applied' AND d.done_by > target.run
        GROUP BY d.person_id
    ) later ON later.person_id = c.person_id
    LEFT JOIN (
        SELECT t.person_now AS person_id, max(t.later_run) AS later_run
        FROM plan_undo_links t
        WHERE t.later_run IS NOT NULL
        GROUP BY t.person_now
    ) k ON k.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT l.person_id FROM minga_roster.links l
        WHERE l.site = target.site AND l.connection <> target.connection
    ) e ON e.person_id = c.person_id
    LEFT JOIN (
        SELECT DISTINCT l.person_id FROM minga_roster.links l
        WHERE l.connection = target.connection AND l.rule = 'decided' AND l.linked_run >= target.run
    ) h ON h.person_id = c.person_id
    WHERE c.run = minga_roster_internal.planned_in(target) AND c.done_by = target.run AND c.state = 'applied';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_undo(runs) IS
'Fills plan_undoing (each change that the run carried out, what reverts it, and the reason if it is kept) '
'and plan_undo_links (the links that it wrote, as they were before).';

CREATE FUNCTION minga_roster_internal.undo_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(undo_run.run);
    target minga_roster.runs := minga_roster_internal.known_run(this.of_run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    PERFORM minga_roster_internal.check_undo(connection, target);
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.make_plan_tables('rows');
    PERFORM minga_roster_internal.find_undo(target);

    INSERT INTO plan_writes (change, action, category, person_id, before, after)
    SELECT u.nth, u.action, u.category, u.person_id, u.before, u.after
    FROM plan_undoing u
    WHERE u.code IS NULL AND u.action <> 'link';
    PERFORM minga_roster_internal.analyze_if_large('plan_writes');
    PERFORM minga_roster_internal.write_people(connection);
    UPDATE plan_undoing u SET code = coalesce(w.code, 'changed_since'), failure = w.failure
    FROM plan_written w
    WHERE w.change = u.nth AND NOT w.done;

    -- Links of kept people stay, and so do links that a later run wrote.
    DELETE FROM plan_undo_links t
    WHERE t.later_run IS NOT NULL
        OR t.person_now IN (SELECT u.person_id FROM plan_undoing u WHERE u.code IS NOT NULL)
        OR t.person_before IN (SELECT u.person_id FROM plan_undoing u WHERE u.code IS NOT NULL);
    DELETE FROM minga_roster.links l USING plan_undo_links t
    WHERE l.connection = this.connection AND l.sourced_id = t.sourced_id;
    INSERT INTO minga_roster.links
    SELECT l.*
    FROM plan_undo_links t CROSS JOIN LATERAL jsonb_populate_record(NULL::minga_roster.links, t.before) l
    WHERE t.before IS NOT NULL;
    PERFORM minga_roster_internal.remember_written(this.connection);
    DELETE FROM minga_roster.link_changes c USING plan_undo_links t
    WHERE c.run = target.run AND c.sourced_id = t.sourced_id;

    UPDATE minga_roster.changes c
    SET state = CASE WHEN u.code IS NULL THEN 'undone' ELSE 'kept' END, state_at = minga_roster_internal.clock(),
        state_reason = CASE WHEN u.code IS NULL THEN minga_roster_internal.state_reason('undone', this.run::text)
            ELSE coalesce(u.failure, minga_roster_internal.state_reason(u.code, u.detail)) END, state_cause = CASE
            WHEN u.code IS NULL THEN 'undone' END
    FROM plan_undoing u
    WHERE c.run = u.run AND c.change = u.change;
    -- What the run held depended on what is being undone.
    UPDATE minga_roster.changes c SET state = 'expired', state_at = minga_roster_internal.clock(),
        state_reason = minga_roster_internal.state_reason('run_undone', target.run::text),
        state_cause = 'run_undone'
    WHERE target.kind <> 'approve' AND c.run = minga_roster_internal.planned_in(target) AND c.state = 'held';

    PERFORM minga_roster_internal.undo_objects(this, target, connection);
    PERFORM minga_roster_internal.require_full_read(this.connection);
    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c SET paused_cause = 'run_undone',
        paused_reason = format('run %s was undone', target.run)
    WHERE c.connection = this.connection AND c.automatic;
    PERFORM minga_roster_internal.cancel_queued_evening(this.connection, 'Automatic Rostering is off or paused');

    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, coalesce(u.category, 'none'), CASE WHEN u.code IS NULL THEN u.action ELSE 'kept' END, count(*)
    FROM plan_undoing u
    GROUP BY 2, 3;
    UPDATE minga_roster.runs r
    SET created = 0, linked = n.linked, updated = n.updated, restored = n.restored, archived = n.archived, held = 0,
        unchanged = n.kept,
        skipped = 0, conflicts = 0, rejects = 0
    FROM (
        SELECT count(*) FILTER (WHERE u.code IS NULL AND u.action = 'link') AS linked,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'update') AS updated,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'restore') AS restored,
            count(*) FILTER (WHERE u.code IS NULL AND u.action = 'archive') AS archived,
            count(*) FILTER (WHERE u.code IS NOT NULL) AS kept
        FROM plan_undoing u
    ) n
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.undo_run(bigint) IS
'Undoes the changes that the target run carried out: new people are archived, archived people restored, restored '
'people archived again, values and links reverted. People who were changed since are kept, with the reason in '
'state_reason. Pauses Automatic Rostering. 55000 for a run that cannot be undone.';
