-- Runs: the functions that people call, and how the row of a run begins and ends. The functions that wait are in C
-- (launch.c). worker.c calls what changes the row.

CREATE FUNCTION roster_test_connection(connection text, OUT step text, OUT ok boolean, OUT detail text, OUT hint text,
    OUT elapsed interval)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_test_connection';
COMMENT ON FUNCTION roster_test_connection(text) IS
'Tests a connection step by step: url, dns, tls, token, school, each collection that a sync would read, with its '
'count, and people. ok is NULL for steps that were not reached. A fault of the SIS is a row, not an error. Waits for a '
'background worker; 53000 if none is free, 55006 while the connection is busy, 25001 in a transaction block.';

CREATE FUNCTION roster_diagnose(connection text, OUT finding text, OUT value text, OUT ok boolean, OUT detail text,
    OUT hint text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_diagnose';
COMMENT ON FUNCTION roster_diagnose(text) IS
'Examines the SIS of a connection: token, paging, totals, sort, filters, times. Then reads the roster into the stage '
'as roster_fetch does and describes its rows. ok is false for a problem, NULL for information. A fault of the SIS is a '
'row, not an error. No row holds personal data. Waits as roster_fetch does. roster_diagnosis(run) returns the same as '
'text for the vendor.';

CREATE FUNCTION roster_fetch(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_fetch';
COMMENT ON FUNCTION roster_fetch(text) IS
'Fetches the roster into staged_users and staged_orgs and returns the finished run. Waits for it. A failed run raises '
'its error; 25001 in a transaction block (use roster_start).';

CREATE FUNCTION roster_preview(connection text) RETURNS SETOF changes
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_preview';
COMMENT ON FUNCTION roster_preview(text) IS
'Fetches and plans, and returns the changes that a sync would make, those that the guard would hold, and what would '
'not be done. Changes no accounts. Waits as roster_fetch does.';

CREATE FUNCTION roster_sync(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_sync';
COMMENT ON FUNCTION roster_sync(text) IS
'Fetches, plans and applies, and returns the finished run with its counts. Either all changes are made or none. Waits '
'as roster_fetch does.';

CREATE FUNCTION roster_approve(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_approve';
COMMENT ON FUNCTION roster_approve(bigint) IS
'Applies the held archives, updates and creates of a sync or an applied preview, checking each again (those that no '
'longer fit become refused), and returns the approving run. 42704 for an unknown run, 55000 if nothing is left to '
'approve. Waits as roster_fetch does.';

CREATE FUNCTION roster_apply(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_apply';
COMMENT ON FUNCTION roster_apply(bigint) IS
'Applies exactly the planned changes of a preview, without fetching again, and returns the applying run. Each change '
'is checked again; if the person was changed after the preview, it is refused with the reason. The changes stay with '
'the preview and show their result. What the preview held stays held until roster_approve. 42704 for an unknown run, '
'55000 for a run that is not a preview, has not succeeded, was already applied, or is out of date. Waits as '
'roster_fetch does.';

CREATE FUNCTION roster_undo(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_undo';
COMMENT ON FUNCTION roster_undo(bigint) IS
'Undoes what a sync, an apply or an approval changed, in one transaction, and returns the undoing run: new people are '
'archived; archives, restores, updates and links are reverted (state undone). People who were changed since are kept '
'(state kept, with the reason). Pauses Automatic Rostering of the connection until roster_enable. 42704 for an unknown '
'run; 55000 for an undo, and for a run that changed no one, has not succeeded or was already undone. Waits as '
'roster_fetch does.';

CREATE FUNCTION roster_start(connection text, kind text DEFAULT 'sync') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_start';
COMMENT ON FUNCTION roster_start(text, text) IS
'Starts a diagnosis, fetch, preview or sync without waiting and returns the run number. Follow it in runs and '
'roster_status. If no worker can be registered, the run stays queued, with a WARNING.';

CREATE FUNCTION roster_run_due() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_run_due';
COMMENT ON FUNCTION roster_run_due() IS
'Starts the worker that queues due runs, works through the queue, sends mail, closes dead runs and applies retention, '
'and returns at once. pg_cron calls it every minute.';

CREATE FUNCTION minga_roster_internal.try_run_lock(kind text, number bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_try_run_lock';
COMMENT ON FUNCTION minga_roster_internal.try_run_lock(text, bigint) IS
'Takes the lock of a run ("run" and its number), of a connection ("connection" and connections.number) or of the '
'evenings ("evenings" and 1) until the end of the transaction; returns false if another session has it. No other SQL '
'function can take these locks. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.wait_for_run_lock(kind text, number bigint) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_wait_for_run_lock';
COMMENT ON FUNCTION minga_roster_internal.wait_for_run_lock(text, bigint) IS
'Takes such a lock until the end of the transaction, waiting for it if needed. Only for the role that the extension '
'acts with.';

CREATE FUNCTION minga_roster_internal.cancel_worker(run bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_cancel_worker';
COMMENT ON FUNCTION minga_roster_internal.cancel_worker(bigint) IS
'Cancels what the process that holds the lock of this run is doing; false if there is none. pg_cancel_backend would '
'need a superuser''s rights, because a worker connects as a superuser. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.known_run(run bigint) RETURNS runs
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_run minga_roster.runs;
BEGIN
    IF known_run.run IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no run was given',
            HINT = 'List the runs: SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC.';
    END IF;
    SELECT * INTO found_run FROM minga_roster.runs r WHERE r.run = known_run.run;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('run %s does not exist', known_run.run),
            DETAIL = 'No row of minga_roster.runs has this number.',
            HINT = 'List the runs: SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC. Runs '
                'are removed after minga_roster.keep_runs days.';
    END IF;
    RETURN found_run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_run(bigint) IS
'The row of a run; 42704 for an unknown number, 22004 for NULL.';

CREATE FUNCTION minga_roster_internal.state_words(state text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE state WHEN 'failed' THEN 'It failed' WHEN 'canceled' THEN 'It was canceled' ELSE 'It is ' || state END;
COMMENT ON FUNCTION minga_roster_internal.state_words(text) IS 'The state of a run, as used in errors.';

CREATE FUNCTION minga_roster_internal.why_foreign(run runs, connection connections) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN (run).connection <> (connection).connection OR (run).site <> (connection).site
            THEN 'It belongs to another connection or site.'
        WHEN (run).queued_at < (connection).created_at
            THEN 'It belongs to an earlier connection of this name, which was retired.'
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.why_foreign(runs, connections) IS
'Why a run does not belong to the connection as it is now; NULL if it does.';

CREATE FUNCTION minga_roster_internal.carried_out_by(run runs) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE (run).kind
        WHEN 'sync' THEN CASE (run).state WHEN 'succeeded' THEN (run).run END
        WHEN 'preview' THEN (
            SELECT min(r.run) FROM minga_roster.runs r
            WHERE r.connection = (carried_out_by.run).connection AND r.kind = 'apply'
                AND r.of_run = (carried_out_by.run).run AND r.state = 'succeeded')
    END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.carried_out_by(runs) IS
'The run that carried out the plan of this one: a sync itself, the apply of a preview; NULL if no run did.';

CREATE FUNCTION minga_roster_internal.do_cancel(run bigint) RETURNS runs
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target minga_roster.runs := minga_roster_internal.known_run(do_cancel.run);
BEGIN
    IF target.state = 'queued' THEN
        -- While the row is locked, no worker can claim the run.
        SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run FOR UPDATE;
    END IF;
    IF target.state = 'queued' THEN
        PERFORM minga_roster_internal.close_run(target.run, 'canceled', '57014', 'canceled while queued', NULL, NULL);
    ELSIF target.state = 'running' THEN
        -- A merge locks the row until it commits. The run lock shows whether a worker is alive, and nothing waits for
        -- it.
        IF minga_roster_internal.try_run_lock('run', target.run) THEN
            PERFORM minga_roster_internal.close_dead_run(target.run);
        ELSE
            PERFORM minga_roster_internal.cancel_worker(target.run);
        END IF;
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be canceled', target.run),
            DETAIL = format('%s at %s.', minga_roster_internal.state_words(target.state), target.finished_at),
            HINT = 'Cancel only queued and running runs.';
    END IF;
    SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run;
    RETURN target;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_cancel(bigint) IS 'Implements roster_cancel.';

CREATE FUNCTION roster_cancel(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_cancel(bigint) IS
'Cancels a run: a queued one at once; for a running one the worker is interrupted, stops within moments and rolls back '
'what it had not committed. 42704 for an unknown run, 55000 for a finished one.';

CREATE FUNCTION minga_roster_internal.note_end(run bigint) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_note_end';
COMMENT ON FUNCTION minga_roster_internal.note_end(bigint) IS
'Notes in a worker that the current transaction closes a run, which is announced on channel minga_roster once that is '
'committed (minga_roster.notify). Does nothing in any other session.';

CREATE FUNCTION minga_roster_internal.end_of_run(run runs, names_connection boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT jsonb_strip_nulls(jsonb_build_object('run', (run).run, 'kind', (run).kind, 'trigger', (run).trigger,
        'state', (run).state, 'sqlstate', (run).sqlstate, 'incomplete', nullif((run).incomplete, false),
        'connection', CASE WHEN names_connection THEN (run).connection END,
        'site', CASE WHEN names_connection THEN (run).site END,
        'created', (run).created, 'linked', (run).linked, 'updated', (run).updated, 'restored', (run).restored,
        'archived', (run).archived, 'held', (run).held, 'unchanged', (run).unchanged, 'skipped', (run).skipped,
        'conflicts', (run).conflicts, 'rejects', (run).rejects,
        'objects', (SELECT jsonb_object_agg(o.object, jsonb_build_object('listed', o.listed, 'added', o.added,
            'changed', o.changed, 'returned', o.returned, 'ended', o.ended, 'held', o.held))
            FROM minga_roster.run_objects o WHERE o.run = (end_of_run.run).run))));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.end_of_run(runs, boolean) IS
'What is announced of a run that ended: numbers and codes; the connection and its site unless minga_roster.notify '
'leaves them out, since each role that can connect may listen.';

CREATE FUNCTION minga_roster_internal.queued_twin(connection text, kind text, of_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(r.run) FROM minga_roster.runs r
    WHERE r.connection = queued_twin.connection AND r.kind = queued_twin.kind
        AND coalesce(r.of_run, 0) = coalesce(queued_twin.of_run, 0)
        AND r.state = 'queued' AND r.trigger = 'manual'
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_twin(text, text, bigint) IS
'The queued manual run of that kind (and for that run) of the connection; NULL if there is none. Only one of a kind '
'can be queued at a time.';

CREATE FUNCTION minga_roster_internal.insert_run(run bigint, connection text, kind text, of_run bigint, state text,
    requested_by name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    is_running boolean := insert_run.state = 'running';
BEGIN
    INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, started_at, pid,
        district)
    SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, insert_run.state,
        insert_run.requested_by,
        CASE WHEN is_running THEN clock_timestamp() END, CASE WHEN is_running THEN pg_backend_pid() END,
        c.district
    FROM minga_roster_internal.known_connection(insert_run.connection) AS c
    ON CONFLICT (connection, kind, coalesce(of_run, 0)) WHERE state = 'queued' AND trigger = 'manual' DO NOTHING;
    IF NOT FOUND THEN
        INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, finished_at,
            reported, sqlstate, error, hint, district)
        SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, 'canceled',
            insert_run.requested_by,
            clock_timestamp(), true, '55006', format('connection "%s" already has a queued %s', c.connection,
                insert_run.kind),
            'Wait for it; see SELECT * FROM minga_roster.roster_status.', c.district
        FROM minga_roster_internal.known_connection(insert_run.connection) AS c;
        PERFORM minga_roster_internal.note_end(insert_run.run);
    END IF;
    -- What changes accounts outlasts the row of the run.
    IF insert_run.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        INSERT INTO minga_roster.audit (role, function, connection, run, given, site)
        SELECT insert_run.requested_by, 'roster_' || insert_run.kind, c.connection, insert_run.of_run, '{}', c.site
        FROM minga_roster_internal.known_connection(insert_run.connection) AS c;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.insert_run(bigint, text, text, bigint, text, name) IS
'Inserts the row of a manual run, queued or running in this process. If a run of the same kind is already queued, the '
'new one is recorded as canceled.';

CREATE FUNCTION minga_roster_internal.is_locked(relation regclass) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_is_locked';
COMMENT ON FUNCTION minga_roster_internal.is_locked(regclass) IS
'Whether a statement that writes to the relation would have to wait for a lock of another session now. Only for the '
'role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.people_state(connection text, OUT people regclass, OUT state text,
    OUT waiting_run bigint)
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    of_stage CONSTANT oid[] := ARRAY['minga_roster.staged_users'::regclass, 'minga_roster.staged_orgs'::regclass,
        'minga_roster.staged_academic_sessions'::regclass, 'minga_roster.staged_courses'::regclass,
        'minga_roster.staged_classes'::regclass, 'minga_roster.staged_enrollments'::regclass,
        'minga_roster.staged_demographics'::regclass]::oid[];
    working bigint[];
BEGIN
    state := 'free';
    SELECT c.people INTO people FROM minga_roster.connections c WHERE c.connection = people_state.connection;
    SELECT array_agg(r.run) INTO working
    FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
    WHERE r.state = 'running' AND c.people = people_state.people AND c.connection <> people_state.connection;
    IF working IS NOT NULL THEN
        SELECT min(r.run) INTO waiting_run
        FROM minga_roster.runs r JOIN pg_locks l USING (pid)
        WHERE r.run = ANY (working) AND NOT l.granted
            -- Not for the stage, or the end of a table, as two workers do that load first schools side by side.
            AND l.locktype <> 'extend' AND coalesce(l.relation <> ALL (of_stage), true);
    END IF;
    IF waiting_run IS NOT NULL THEN
        state := 'waited';
    ELSIF minga_roster_internal.is_locked(people) THEN
        state := CASE WHEN working IS NULL THEN 'locked' ELSE 'waited' END;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_state(text) IS
'Whether a run of the connection could write to its people now. free; locked: another session''s lock is in the way; '
'waited: so it is, and a run of another connection waits for it or is about to. One worker that waits is enough: the '
'others go on with schools of other relations.';

CREATE FUNCTION minga_roster_internal.claim_run(run bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM FROM minga_roster.runs r WHERE r.run = claim_run.run AND r.state = 'queued' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.runs r SET state = 'running', started_at = clock_timestamp(), pid = pg_backend_pid()
        WHERE r.run = claim_run.run;
    RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_run(bigint) IS
'Claims a queued run for this process; false if it is no longer queued or is being canceled.';

CREATE FUNCTION minga_roster_internal.queued_runs(OUT run bigint, OUT connection text, OUT kind text, OUT of_run bigint,
    OUT connection_number integer, OUT site text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.run, r.connection, r.kind, r.of_run, c.number, r.site
    FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
    WHERE r.state = 'queued' AND c.retired_at IS NULL
        AND (r.trigger = 'manual' OR c.enabled_origin = minga_roster_internal.server_origin())
    ORDER BY r.run
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_runs() IS
'The queue, first come, first served, without evening runs that came in a restored copy: those must not contact the '
'SIS.';

CREATE FUNCTION minga_roster_internal.close_run(run bigint, state text, failure_sqlstate text, error text, detail text,
    hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed minga_roster.runs;
BEGIN
    UPDATE minga_roster.runs r
    SET state = close_run.state, finished_at = clock_timestamp(), pid = NULL,
        sqlstate = close_run.failure_sqlstate, error = close_run.error, detail = close_run.detail, hint = close_run.hint
    WHERE r.run = close_run.run AND r.state IN ('queued', 'running')
    RETURNING * INTO closed;
    IF FOUND THEN
        PERFORM minga_roster_internal.note_end(close_run.run);
        IF close_run.state <> 'succeeded' AND closed.started_at IS NOT NULL THEN
            PERFORM minga_roster_internal.blank_unfinished_stage(closed);
        END IF;
        PERFORM minga_roster_internal.post_report(close_run.run);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.close_run(bigint, text, text, text, text, text) IS
'Finishes a run and writes its mail; does nothing for a finished run.';

CREATE FUNCTION minga_roster_internal.close_dead_run(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.close_run(close_dead_run.run, 'failed', '57P02', 'the worker of the run died',
        'No session holds the lock of the run: the server crashed or was restarted during the run, or code of the '
            'people relation did not stop when it was canceled.',
        'Uncommitted changes were rolled back. Start the run again.')
$$;
COMMENT ON FUNCTION minga_roster_internal.close_dead_run(bigint) IS
'Closes a run whose worker is gone; the caller has taken its lock.';

CREATE FUNCTION minga_roster_internal.close_dead_runs() RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH dead AS MATERIALIZED (
        SELECT r.run
        FROM minga_roster.runs r
        WHERE r.state = 'running' AND minga_roster_internal.try_run_lock('run', r.run)
    ), closed AS MATERIALIZED (
        SELECT minga_roster_internal.close_dead_run(run) FROM dead
    )
    SELECT count(*)::integer FROM closed
$$;
COMMENT ON FUNCTION minga_roster_internal.close_dead_runs() IS
'Closes each running run whose lock can be taken; returns their number.';
