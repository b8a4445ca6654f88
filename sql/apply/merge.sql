-- What a run does after its fetch, in one transaction: plan, guard and apply; or, for an earlier run, approve, apply or
-- undo.

CREATE FUNCTION minga_roster_internal.count_changes(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WITH counted AS MATERIALIZED (
        SELECT c.category, c.action, c.state,
            minga_roster_internal.awaits_approval(c.action, c.state_cause) AND c.state = 'held' AS held,
            count(*) AS changes
        FROM minga_roster.changes c
        WHERE c.run = count_changes.run
        GROUP BY 1, 2, 3, 4
    ), by_category AS (
        INSERT INTO minga_roster.run_counts (run, category, action, count)
        SELECT count_changes.run, coalesce(c.category, 'none'), CASE c.state WHEN 'held' THEN 'held' ELSE 'archive' END,
            sum(c.changes)
        FROM counted c
        WHERE c.held OR (c.action = 'archive' AND c.state IN ('planned', 'applied'))
        GROUP BY 2, 3
    )
    UPDATE minga_roster.runs r
    SET created = n.created, linked = n.linked, updated = n.updated, restored = n.restored, archived = n.archived,
        held = n.held,
        conflicts = n.conflicts, rejects = n.rejects, unchanged = o.unchanged, skipped = o.skipped
    FROM (
        SELECT coalesce(sum(c.changes) FILTER (WHERE c.action = 'create' AND c.state <> 'held'), 0) AS created,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'link' AND c.state <> 'held'), 0) AS linked,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'update' AND c.state <> 'held'), 0) AS updated,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'restore'), 0) AS restored,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'archive' AND c.state <> 'held'), 0) AS archived,
            coalesce(sum(c.changes) FILTER (WHERE c.held), 0) AS held,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'conflict'), 0) AS conflicts,
            coalesce(sum(c.changes) FILTER (WHERE c.action = 'reject'), 0) AS rejects
        FROM counted c
        WHERE c.state IN ('planned', 'applied', 'held', 'noted')
    ) n, (
        SELECT coalesce(sum(c.count) FILTER (WHERE c.action = 'unchanged'), 0) AS unchanged,
            coalesce(sum(c.count) FILTER (WHERE c.action = 'skip'), 0) AS skipped
        FROM minga_roster.run_counts c WHERE c.run = count_changes.run
    ) o
    WHERE r.run = count_changes.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_changes(bigint) IS
'Stores the counts of a run: changed people from its changes, unchanged people from the outcomes of their rows.';

CREATE FUNCTION minga_roster_internal.find_taken(approved runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('approve');
    IF NOT EXISTS (SELECT FROM plan_changes c WHERE c.action = 'create') THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.mark_seen();
    INSERT INTO plan_taken
    SELECT c.change, 'same_key_person'
    FROM plan_changes c JOIN plan_sights s ON s.change = c.change
    WHERE c.action = 'create'
    UNION ALL
    SELECT p.change, 'link_changed'
    FROM minga_roster.planned_links p
    JOIN minga_roster.links l ON l.connection = find_taken.approved.connection AND l.sourced_id = p.sourced_id
    WHERE p.run = find_taken.approved.run
    UNION ALL
    SELECT p.change, 'decided_skip'
    FROM minga_roster.planned_links p
    JOIN minga_roster.match_decisions d ON d.connection = find_taken.approved.connection
        AND d.sourced_id = p.sourced_id AND d.decision = 'skip'
    WHERE p.run = find_taken.approved.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_taken(runs) IS
'Fills plan_taken: held creates that an approval must no longer carry out, and why.';

CREATE FUNCTION minga_roster_internal.approve_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(approve_run.run);
    approved minga_roster.runs := minga_roster_internal.known_run((
        SELECT CASE r.kind WHEN 'apply' THEN r.of_run ELSE r.run END
        FROM minga_roster_internal.known_run(this.of_run) r));
    is_applied boolean := minga_roster_internal.carried_out_by(approved) IS NOT NULL;
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    foreign_why text := minga_roster_internal.why_foreign(approved, connection);
    local_columns text[] := minga_roster_internal.local_written_columns(this.connection);
    missing_columns text[] := minga_roster_internal.missing_columns(connection.people);
    is_held boolean;
    proves boolean;
    undone_by bigint;
BEGIN
    SELECT max(r.run) INTO undone_by
    FROM minga_roster.runs r JOIN minga_roster.runs u ON u.run = r.of_run
    WHERE r.connection = this.connection AND r.kind = 'undo' AND r.state = 'succeeded' AND u.kind IN ('sync', 'apply')
        AND minga_roster_internal.planned_in(u) = approved.run;
    PERFORM FROM minga_roster.changes c WHERE c.run = approved.run AND c.state = 'held'
        AND minga_roster_internal.awaits_approval(c.action, c.state_cause) FOR UPDATE;
    is_held := FOUND OR EXISTS (SELECT FROM minga_roster.held_objects h WHERE h.run = approved.run);
    -- People who would be archived show whether it is the right school, and so does a run without any; updates do not.
    SELECT connection.unproven AND undone_by IS NULL AND approved.run = max(r.run)
        AND (EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run AND c.action = 'archive'
            AND c.state = 'held')
            OR NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run AND c.action = 'update'
                AND (c.state = 'held' OR c.state_cause = 'approved')))
    INTO proves
    FROM minga_roster.runs r
    WHERE r.connection = this.connection AND r.kind = 'sync' AND r.state = 'succeeded' AND r.is_full;
    IF approved.kind NOT IN ('sync', 'preview') OR NOT is_applied OR foreign_why IS NOT NULL
        OR approved.state <> 'succeeded' OR NOT (is_held OR coalesce(proves, false)) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s has nothing to approve', approved.run),
            DETAIL = CASE
                WHEN approved.kind NOT IN ('sync', 'preview') THEN
                    format('It is %s, which holds nothing.', minga_roster_internal.with_article(approved.kind))
                WHEN foreign_why IS NOT NULL THEN foreign_why
                WHEN approved.kind = 'preview' AND approved.state = 'succeeded' AND NOT is_applied THEN
                    'It is a preview that has not been applied.'
                WHEN approved.state <> 'succeeded' THEN minga_roster_internal.state_words(approved.state) || '.'
                WHEN undone_by IS NOT NULL THEN format('It was undone by run %s, and what it held with it.', undone_by)
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run
                    AND c.action IN ('create', 'update', 'archive') AND c.state = 'expired') THEN
                    'What it held has expired: a later sync has decided again.'
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = approved.run
                    AND c.state_cause = 'approved') THEN
                    'What it held has been approved already.'
                WHEN approved.queued_at < minga_roster_internal.changes_kept_since() THEN
                    'Its changes have been removed, because they are older than minga_roster.keep_changes.'
                ELSE 'It holds nothing.'
            END,
            HINT = CASE WHEN approved.kind IN ('sync', 'preview') AND approved.state IN ('queued', 'running') THEN
                    'Call again when it has finished: minga_roster.roster_status shows its state.'
                ELSE format('SELECT run, held FROM minga_roster.runs WHERE connection = %L AND held > 0 ORDER BY run '
                    'DESC shows the syncs that held something.',
                    this.connection) END;
    END IF;

    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.make_plan_tables('rows');
    PERFORM minga_roster_internal.load_changes(approved.run, 'held');
    PERFORM minga_roster_internal.find_taken(approved);
    INSERT INTO plan_refusals (change, code)
    SELECT w.change,
        coalesce(
            minga_roster_internal.setting_refusal(w.action, w.after, t.roster, t.archive, t.auto_update,
                local_columns, missing_columns),
            n.code,
            minga_roster_internal.person_refusal(w.action, p.person_id, p.archived, p.protection),
            CASE
                WHEN w.action = 'update' AND k.change IS NULL THEN 'link_changed'
                WHEN w.action = 'archive' AND coalesce(l.listed, true) THEN 'listed_again'
                WHEN w.action = 'archive' AND l.listed_elsewhere THEN 'listed_elsewhere'
            END)
    FROM plan_changes w
    LEFT JOIN minga_roster.toggles t ON t.connection = this.connection AND t.category = w.category
    LEFT JOIN plan_people p ON p.person_id = w.person_id
    LEFT JOIN (SELECT n.change, min(n.code) AS code FROM plan_taken n GROUP BY n.change) n ON n.change = w.change
    LEFT JOIN (
        SELECT k.person_id, bool_or(k.missed_since IS NULL) FILTER (WHERE k.connection = this.connection) AS listed,
            coalesce(bool_or(k.missed_since IS NULL AND c.retired_at IS NULL)
                FILTER (WHERE k.connection <> this.connection), false) AS listed_elsewhere
        FROM minga_roster.links k JOIN minga_roster.connections c USING (connection)
        WHERE k.site = this.site AND c.people = connection.people
        GROUP BY k.person_id
    ) l ON l.person_id = w.person_id
    LEFT JOIN (
        -- Each row that lent its values is still this person's.
        SELECT c.change
        FROM minga_roster.changes c
        CROSS JOIN LATERAL unnest(c.sourced_ids) i (sourced_id)
        LEFT JOIN (SELECT * FROM minga_roster.links o WHERE o.connection = this.connection) o
            ON o.sourced_id = i.sourced_id COLLATE "C" AND o.person_id = c.person_id
        WHERE c.run = approved.run AND c.state = 'held' AND c.action = 'update'
        GROUP BY c.change
        HAVING count(*) = count(o.sourced_id)
    ) k ON k.change = w.change;
    PERFORM minga_roster_internal.open_writes(connection, 'held');
    PERFORM minga_roster_internal.write_people(connection);

    UPDATE minga_roster.changes c
    SET state = CASE WHEN w.done THEN 'applied' ELSE 'refused' END, state_at = minga_roster_internal.clock(),
        state_reason = CASE WHEN w.done THEN minga_roster_internal.state_reason('approved', this.run::text)
            ELSE coalesce(w.failure,
                minga_roster_internal.state_reason(coalesce(f.code, 'changed_since'), NULL)) END,
        state_cause = CASE WHEN w.done THEN 'approved' END,
        person_id = CASE WHEN w.done THEN w.person_id ELSE c.person_id END,
        after = CASE WHEN w.done AND c.action = 'archive' THEN
            jsonb_build_object('archived_at', minga_roster_internal.clock()) || c.after ELSE c.after END,
        seen = w.seen, done_by = CASE WHEN w.done THEN this.run END, stored = w.stored
    FROM plan_refusals f LEFT JOIN plan_written w ON w.change = f.change
    WHERE c.run = approved.run AND c.change = f.change;
    INSERT INTO minga_roster.link_changes (run, sourced_id, before)
    SELECT this.run, l.sourced_id, to_jsonb(l)
    FROM plan_written d
    JOIN plan_writes w ON w.change = d.change
    JOIN minga_roster.links l ON l.person_id = d.person_id
    WHERE d.done AND (w.action = 'archive' OR (w.action = 'update' AND w.after ? 'role'))
        AND l.connection = this.connection AND l.site = this.site;
    UPDATE minga_roster.links l
    SET archived_run = CASE w.action WHEN 'archive' THEN approved.run ELSE l.archived_run END,
        role_written = CASE w.action WHEN 'archive' THEN l.role_written ELSE w.after ->> 'role' END
    FROM plan_written d JOIN plan_writes w ON w.change = d.change
    WHERE d.done AND (w.action = 'archive' OR (w.action = 'update' AND w.after ? 'role'))
        AND l.connection = this.connection AND l.person_id = d.person_id;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run)
    SELECT this.connection, l.sourced_id, this.site, w.person_id, l.category, l.role_written, l.rule, this.run
    FROM plan_written w JOIN minga_roster.planned_links l ON l.run = approved.run AND l.change = w.change
    WHERE w.done AND w.action = 'create';
    DELETE FROM minga_roster.planned_links l WHERE l.run = approved.run;
    PERFORM minga_roster_internal.remember_written(this.connection);
    PERFORM minga_roster_internal.approve_objects(this, approved, connection);
    IF proves THEN
        UPDATE minga_roster.connections c SET unproven = false WHERE c.connection = this.connection;
    END IF;
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    SELECT this.run, w.category, w.action, count(*) FROM plan_written w WHERE w.done GROUP BY w.category, w.action;
    UPDATE minga_roster.runs r
    SET archived = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'archive'),
        updated = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'update'),
        created = (SELECT count(*) FROM plan_written w WHERE w.done AND w.action = 'create'),
        linked = 0, restored = 0, held = 0, unchanged = 0, skipped = 0, conflicts = 0, rejects = 0
    WHERE r.run = this.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.approve_run(bigint) IS
'Carries out the held archives, updates and creates of the approved run, each checked again; what fails the check '
    'becomes refused. For an applied preview, the number of the preview or of its apply works. Approving the newest '
    'full sync also proves the connection, unless it held only updates. 55000 if there is nothing to approve.';

CREATE FUNCTION minga_roster_internal.lock_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.as_owner(connection.people,
        minga_roster_internal.lock_statement(connection.people), connection.site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_people(connections) IS
'Takes the lock for writing to the people relation before anything is read from it. A run that took it later could '
    'deadlock with a session that can read the relation and waits for a stronger lock.';

-- The plan's tables are joined by hashes, without sorts; a few hundred rows tell how large these become. The hash table
-- of a very large school goes to files rather than to twice the memory of a sort.
-- Plans are kept for all schools that a session merges; but functions that read the stage set plan_cache_mode to
-- force_custom_plan, since a plan for any connection would lock the stage of each.
CREATE FUNCTION minga_roster_internal.merge_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET default_statistics_target = 1
    SET enable_mergejoin = off SET hash_mem_multiplier = 1 SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(merge_run.run);
    looks boolean;
BEGIN
    PERFORM minga_roster_internal.check_people_relation(
        (minga_roster_internal.known_connection(this.connection)).people);
    PERFORM minga_roster_internal.require_temporary();
    PERFORM minga_roster_internal.check_event_triggers();
    IF this.kind <> 'preview' THEN
        PERFORM minga_roster_internal.lock_people(minga_roster_internal.known_connection(this.connection));
    END IF;
    CASE this.kind
        WHEN 'approve' THEN
            PERFORM minga_roster_internal.approve_run(run);
            RETURN;
        WHEN 'apply' THEN
            PERFORM minga_roster_internal.apply_preview(run);
            RETURN;
        WHEN 'undo' THEN
            PERFORM minga_roster_internal.undo_run(run);
            RETURN;
        ELSE
            NULL;
    END CASE;
    looks := minga_roster_internal.plan_run(run);
    IF this.kind = 'sync' THEN
        -- A delta does not decide who is absent.
        UPDATE minga_roster.changes c
        SET state = 'expired', state_at = minga_roster_internal.clock(), state_cause = 'superseded'
        FROM minga_roster.runs r
        WHERE r.run = c.run AND r.connection = this.connection AND c.state = 'held' AND c.run <> this.run
            AND this.is_full IS NOT FALSE;
        IF FOUND THEN
            PERFORM minga_roster_internal.drop_held_links(this.connection);
        END IF;
        PERFORM minga_roster_internal.apply_run(run, looks);
        PERFORM minga_roster_internal.merge_objects(this, true);
        PERFORM minga_roster_internal.end_read(this);
    ELSE
        PERFORM minga_roster_internal.merge_objects(this, false);
        PERFORM minga_roster_internal.keep_preview(this);
    END IF;
    PERFORM minga_roster_internal.note_object_findings(this,
        minga_roster_internal.known_connection(this.connection));
    PERFORM minga_roster_internal.count_changes(run);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.merge_run(bigint) IS
'The one transaction of a preview, sync, approve, apply or undo, after the fetch: plan and guard, for a sync also '
    'apply; or what it does to an earlier run. Stores the counts of the run, not its state.';
