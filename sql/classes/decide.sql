-- What people decide about objects: held rows approved, a run undone, a preview applied.

CREATE FUNCTION minga_roster_internal.approve_objects(run runs, approved runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
    amount bigint;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    PERFORM minga_roster_internal.unmark_objects(ARRAY[connection.connection]);
    INSERT INTO plan_objects (object, sourced_id, student_id, action, cause)
    SELECT h.object, h.sourced_id, h.student_id, 'end', 'absent'
    FROM minga_roster.held_objects h WHERE h.run = approved.run;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM plan_objects p WHERE p.object = o.object) ORDER BY o.nth
    LOOP
        amount := minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        INSERT INTO minga_roster.run_objects (run, object, complete, listed, ended)
        VALUES (approve_objects.run.run, kind.object, true, 0, amount);
    END LOOP;
    DELETE FROM minga_roster.held_objects h WHERE h.run = approved.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.approve_objects(runs, runs, connections) IS
'Ends the rows that the approved run held back.';

CREATE FUNCTION minga_roster_internal.undo_objects(run runs, target runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    PERFORM minga_roster_internal.unmark_objects(ARRAY[connection.connection]);
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o ORDER BY o.nth LOOP
        -- What a later run has written is left as it is. A row that was added ends, and one that came again ends as it
        -- had; one that changed or ended is as it was before, from now on.
        EXECUTE minga_roster_internal.fill_template($statement$
            INSERT INTO plan_objects (object, sourced_id, student_id, action, cause)
            SELECT {object:L}, c.sourced_id, {student},
                CASE WHEN c.ended_at IS NOT NULL OR (v.sourced_id IS NOT NULL AND v.ended_cause IS NULL) THEN 'change'
                    ELSE 'end' END, coalesce(v.ended_cause, 'undone')
            FROM {relation} c
            LEFT JOIN {versions} v ON v.connection = c.connection AND v.replaced_run = $2
                AND v.sourced_id = c.sourced_id {same_version}
            WHERE c.connection = $1 AND c.written_run = $2
        $statement$,
            'object', kind.object, 'relation', format('minga_roster.%I', kind.relation),
            'versions', format('minga_roster.%I', kind.relation || '_versions'),
            'student', CASE kind.object WHEN 'contact' THEN 'c.student_id' ELSE '''''' END,
            'same_version', CASE kind.object WHEN 'contact' THEN 'AND v.student_id = c.student_id' ELSE '' END)
        USING connection.connection, target.run;
        PERFORM minga_roster_internal.keep_versions(run, connection, kind.object, kind.relation,
            kind.keys || kind.columns, at);
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {relation} c
            SET {assignments}, written_run = $3, ended_cause = NULL,
                valid = tstzrange(greatest($4, lower(c.valid) + '1 microsecond'::interval, c.ended_at), NULL)
            FROM (
                SELECT o.sourced_id, {own_student} AS student_id, {former}
                FROM plan_objects p
                JOIN {relation} o ON o.connection = $1 AND o.sourced_id = p.sourced_id {same_planned}
                LEFT JOIN {versions} f ON f.connection = $1 AND f.replaced_run = $2
                    AND f.sourced_id = o.sourced_id {same_former}
                WHERE p.object = {object:L} AND p.action = 'change'
            ) v
            WHERE c.connection = $1 AND c.sourced_id = v.sourced_id {same_student}
        $statement$,
            'object', kind.object, 'relation', format('minga_roster.%I', kind.relation),
            'versions', format('minga_roster.%I', kind.relation || '_versions'),
            'assignments', (SELECT string_agg(format('%1$I = v.%1$I', k), ', ') FROM unnest(kind.columns) k),
            'former', (SELECT string_agg(format('CASE WHEN f.sourced_id IS NULL THEN o.%1$I ELSE f.%1$I END AS %1$I',
                k), ', ') FROM unnest(kind.columns) k),
            'own_student', CASE kind.object WHEN 'contact' THEN 'o.student_id' ELSE '''''' END,
            'same_planned', CASE kind.object WHEN 'contact' THEN 'AND o.student_id = p.student_id' ELSE '' END,
            'same_former', CASE kind.object WHEN 'contact' THEN 'AND f.student_id = o.student_id' ELSE '' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND c.student_id = v.student_id' ELSE '' END)
        USING connection.connection, target.run, run.run, at;
        PERFORM minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        INSERT INTO minga_roster.run_objects (run, object, complete, listed, changed, ended)
        SELECT undo_objects.run.run, kind.object, true, 0, count(*) FILTER (WHERE p.action = 'change'),
            count(*) FILTER (WHERE p.action = 'end')
        FROM plan_objects p WHERE p.object = kind.object
        HAVING count(*) > 0;
    END LOOP;
    DELETE FROM minga_roster.held_objects h
    WHERE target.kind <> 'approve' AND h.run = minga_roster_internal.planned_in(target);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.undo_objects(runs, runs, connections) IS
'Makes the rows that the target run wrote as they were, with a new version each, unless a later run has written them.';

CREATE FUNCTION minga_roster_internal.apply_objects(run runs, preview runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cause text;
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.run_objects o WHERE o.run = preview.run) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM minga_roster.stages g WHERE g.connection = connection.connection
        AND g.run = preview.run)
    THEN
        cause := 'stage_gone';
    ELSE
        IF NOT EXISTS (SELECT FROM plan_rules) THEN
            PERFORM minga_roster_internal.read_rules(connection, preview.run);
            PERFORM minga_roster_internal.read_proof(connection, preview.run);
        END IF;
        IF NOT EXISTS (SELECT FROM plan_parents) THEN
            PERFORM minga_roster_internal.choose_parents(connection, preview.run);
        END IF;
        PERFORM minga_roster_internal.plan_objects(run, preview, connection);
        -- Settings of today may plan what no one has seen in the preview.
        SELECT 'changed' INTO cause
        FROM (
            SELECT o.object, o.added, o.changed, o.returned, o.ended, o.held FROM minga_roster.run_objects o
            WHERE o.run IN (apply_objects.run.run, preview.run)
            GROUP BY o.object, o.added, o.changed, o.returned, o.ended, o.held
            HAVING count(*) <> 2
        ) d
        LIMIT 1;
    END IF;
    IF cause IS NULL THEN
        PERFORM minga_roster_internal.write_objects(run, preview, connection);
    ELSE
        DELETE FROM minga_roster.run_objects o WHERE o.run = apply_objects.run.run;
        INSERT INTO minga_roster.run_findings (run, position, finding, amount, detail, needs_look)
        VALUES (apply_objects.run.run, 1, 'classes_not_applied', 0, jsonb_build_object('cause', cause), true);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_objects(runs, runs, connections) IS
'Does to objects what a preview has counted, from its stage, in the run that applies it. If the stage is gone, or '
'would now give other counts, nothing is done, and the run notes classes_not_applied.';
