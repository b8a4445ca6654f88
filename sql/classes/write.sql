-- The plan of objects carried out, in the transaction of the run: what a row was goes to the versions of its table.

CREATE FUNCTION minga_roster_internal.release_held(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM minga_roster.held_objects h JOIN minga_roster.runs r ON r.run = h.run
            WHERE r.connection = release_held.run.connection AND h.object = o.object)
    LOOP
        EXECUTE format('DELETE FROM minga_roster.held_objects h USING minga_roster.runs r, (%s) s '
            'WHERE r.run = h.run AND r.connection = $1 AND h.object = $2 AND h.sourced_id = s.sourced_id '
            'AND h.student_id = s.student_id', minga_roster_internal.object_source(kind.object))
        USING connection.connection, kind.object;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.release_held(runs, connections) IS
'Forgets held rows that the stage lists, so that an approval does not end them.';

CREATE FUNCTION minga_roster_internal.write_objects(run runs, read_by runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
    columns text;
BEGIN
    -- A delta does not decide who is absent; but what it lists is not.
    IF read_by.is_full IS NOT FALSE THEN
        DELETE FROM minga_roster.held_objects h USING minga_roster.runs r
        WHERE r.run = h.run AND r.connection = write_objects.run.connection;
    ELSE
        PERFORM minga_roster_internal.release_held(run, connection);
    END IF;
    IF NOT EXISTS (SELECT FROM plan_objects) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.unmark_objects(ARRAY[connection.connection]);
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM plan_objects p WHERE p.object = o.object) ORDER BY o.nth
    LOOP
        PERFORM minga_roster_internal.keep_versions(run, connection, kind.object, kind.relation,
            kind.keys || kind.columns, at);
        columns := (SELECT string_agg(format('%I', k), ', ') FROM unnest(kind.keys || kind.columns) k);
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {relation} c
            SET {assignments}, valid = tstzrange(greatest($3, lower(c.valid) + '1 microsecond'::interval,
                    c.ended_at), NULL), written_run = $2, ended_cause = NULL
            FROM plan_objects p JOIN ({source}) s ON s.sourced_id = p.sourced_id {same_source}
            WHERE p.object = {object:L} AND p.action IN ('change', 'return')
                AND c.connection = $1 AND c.sourced_id = p.sourced_id {same_student}
        $statement$,
            'relation', format('minga_roster.%I', kind.relation), 'object', kind.object,
            'source', minga_roster_internal.object_source(kind.object),
            'same_source', CASE kind.object WHEN 'contact' THEN 'AND s.student_id = p.student_id' ELSE '' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END,
            'assignments', (SELECT string_agg(format(CASE WHEN k = ANY (kind.lasting)
                THEN '%1$I = coalesce(s.%1$I, c.%1$I)' ELSE '%1$I = s.%1$I' END, k), ', ')
                FROM unnest(kind.columns) k))
        USING connection.connection, run.run, at;
        PERFORM minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        EXECUTE minga_roster_internal.fill_template($statement$
            INSERT INTO {relation} (connection, site, {columns}, valid, written_run)
            SELECT $1, $2, {values}, tstzrange($4, NULL), $3
            FROM plan_objects p JOIN ({source}) s ON s.sourced_id = p.sourced_id {same_source}
            WHERE p.object = {object:L} AND p.action = 'add'
        $statement$,
            'relation', format('minga_roster.%I', kind.relation), 'object', kind.object, 'columns', columns,
            'values', (SELECT string_agg(format(CASE k WHEN 'is_chosen' THEN 'coalesce(s.%I, false)' ELSE 's.%I' END,
                k), ', ') FROM unnest(kind.keys || kind.columns) k),
            'source', minga_roster_internal.object_source(kind.object),
            'same_source', CASE kind.object WHEN 'contact' THEN 'AND s.student_id = p.student_id' ELSE '' END)
        USING connection.connection, run.site, run.run, at;
    END LOOP;
    INSERT INTO minga_roster.held_objects (run, object, sourced_id, student_id)
    SELECT read_by.run, p.object, p.sourced_id, p.student_id FROM plan_objects p WHERE p.action = 'hold';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_objects(runs, runs, connections) IS
'Carries out plan_objects: what a row was goes to the versions of its table, and what it is now begins with this run. '
'read_by: the run that filled the stage, which is asked to approve what is held.';

CREATE FUNCTION minga_roster_internal.keep_versions(run runs, connection connections, object text, relation text,
    columns text[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        INSERT INTO {versions} (connection, site, {columns}, valid, written_run, ended_cause, replaced_run)
        SELECT c.connection, c.site, {values},
            CASE WHEN c.ended_at IS NULL THEN tstzrange(lower(c.valid),
                greatest($3, lower(c.valid) + '1 microsecond'::interval)) ELSE c.valid END,
            c.written_run, c.ended_cause, $2
        FROM plan_objects p JOIN {relation} c ON c.connection = $1 AND c.sourced_id = p.sourced_id {same_student}
        WHERE p.object = {object:L} AND p.action IN ('change', 'return')
    $statement$,
        'versions', format('minga_roster.%I', relation || '_versions'), 'relation', format('minga_roster.%I', relation),
        'object', object,
        'columns', (SELECT string_agg(format('%I', k), ', ') FROM unnest(columns) k),
        'values', (SELECT string_agg(format('c.%I', k), ', ') FROM unnest(columns) k),
        'same_student', CASE object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END)
    USING connection.connection, run.run, at;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_versions(runs, connections, text, text, text[], timestamptz) IS
'Copies the rows of plan_objects that change or return to the versions of their table, until now.';

CREATE FUNCTION minga_roster_internal.end_objects(run runs, connection connections, object text, relation text,
    at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    amount bigint;
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        UPDATE {relation} c
        SET valid = tstzrange(lower(c.valid), greatest($3, lower(c.valid) + '1 microsecond'::interval)),
            written_run = $2, ended_cause = p.cause
        FROM plan_objects p
        WHERE p.object = {object:L} AND p.action = 'end' AND c.connection = $1 AND c.sourced_id = p.sourced_id
            AND c.ended_at IS NULL {same_student}
    $statement$,
        'relation', format('minga_roster.%I', relation), 'object', object,
        'same_student', CASE object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END)
    USING connection.connection, run.run, at;
    GET DIAGNOSTICS amount = ROW_COUNT;
    RETURN amount;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.end_objects(runs, connections, text, text, timestamptz) IS
'Ends the rows of plan_objects that end, and returns how many.';

CREATE FUNCTION minga_roster_internal.prune_history() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch CONSTANT integer := 10000;
    ended_before CONSTANT timestamptz := minga_roster_internal.clock()
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_history')::integer));
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['academic_sessions', 'courses', 'classes', 'enrollment_rows', 'user_rows',
        'contact_rows']
    LOOP
        EXECUTE format('DELETE FROM minga_roster.%1$I WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM minga_roster.%1$I o '
            'WHERE o.ended_at < $1 ORDER BY o.ended_at LIMIT $2))', relation || '_versions') USING ended_before, batch;
        EXECUTE format('DELETE FROM minga_roster.%1$I WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM minga_roster.%1$I o '
            'WHERE o.ended_at < $1 ORDER BY o.ended_at LIMIT $2))', relation) USING ended_before, batch;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prune_history() IS
'Deletes versions and rows that ended more than minga_roster.keep_history days ago (at least 8), at most 10,000 of '
'each table per call.';
