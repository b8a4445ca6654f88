-- Runs: what people call, and how a run's row begins and ends. The functions that wait are C, in launch.c; what the worker
-- does with a row is here, called by worker.c.

CREATE FUNCTION roster_test_connection(connection text, OUT step text, OUT ok boolean, OUT detail text, OUT hint text, OUT elapsed interval)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_test_connection';
COMMENT ON FUNCTION roster_test_connection(text) IS
'Tries a connection step by step: url, dns, tls, token, school, then each collection that a sync would read, with its count. ok is NULL for steps that were not reached. A fault of the SIS is a row and no error. Waits for a background worker; 53000 when none is free, 55006 while a run of the connection works, 25001 in a transaction block.';

CREATE FUNCTION roster_diagnose(connection text, OUT finding text, OUT value text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_diagnose';
COMMENT ON FUNCTION roster_diagnose(text) IS
'Examines the SIS of a connection: token, paging, totals, sort, filters, times; then reads the roster into the stage as roster_fetch does and says what its rows are like. ok is false for what is not as it should be, NULL for what is only told. A fault of the SIS is a row and no error; no row holds a value of a person. Waits, as roster_fetch does; roster_diagnosis(run) gives the same as a text for the vendor.';

CREATE FUNCTION roster_fetch(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_fetch';
COMMENT ON FUNCTION roster_fetch(text) IS
'Fetches the roster into staged_users and staged_orgs and returns the finished run. Waits; a failed run raises its error; 25001 in a transaction block (use roster_start).';

CREATE FUNCTION roster_preview(connection text) RETURNS SETOF changes
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_preview';
COMMENT ON FUNCTION roster_preview(text) IS
'Fetches and plans, and returns the changes that a sync would make, those that the guard would hold and what would '
    'not be done; no account is changed. Waits, as roster_fetch does.';

CREATE FUNCTION roster_sync(connection text) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_sync';
COMMENT ON FUNCTION roster_sync(text) IS
'Fetches, plans and applies, and returns the finished run with its counts. People change wholly or not at all. Waits, as roster_fetch does.';

CREATE FUNCTION roster_approve(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_approve';
COMMENT ON FUNCTION roster_approve(bigint) IS
'Applies the held archives and updates of a sync or an applied preview, each checked again (those that no longer '
    'hold become refused), and returns the approving run. 42704 for an unknown run, 55000 where there is nothing '
    'left to approve. Waits, as roster_fetch does.';

CREATE FUNCTION roster_apply(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_apply';
COMMENT ON FUNCTION roster_apply(bigint) IS
'Applies exactly the planned changes of a preview, without fetching again, and returns the applying run. Each is checked again: who was changed after the preview is refused, with the reason. The changes stay with the preview, which has what became of them; what it held stays held for roster_approve. 42704 for an unknown run, 55000 for one that is no preview, has not succeeded, was applied already, or is out of date. Waits, as roster_fetch does.';

CREATE FUNCTION roster_undo(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_undo';
COMMENT ON FUNCTION roster_undo(bigint) IS
'Takes back what a sync, an apply or an approval changed, in one transaction, and returns the undoing run: new people are archived, archives, restores, updates and links reverted (state undone); whoever was changed since is kept (state kept, with the reason). Pauses Automatic Rostering of the connection until roster_enable. 42704 for an unknown run; 55000 for an undo, for one that changes nobody, has not succeeded or was undone already. Waits, as roster_fetch does.';

CREATE FUNCTION roster_start(connection text, kind text DEFAULT 'sync') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_start';
COMMENT ON FUNCTION roster_start(text, text) IS
'Starts a diagnosis, fetch, preview or sync without waiting and returns the run''s number; runs and roster_status show how it fares. Where no worker can be registered the run is queued, with a WARNING.';

CREATE FUNCTION roster_run_due() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_run_due';
COMMENT ON FUNCTION roster_run_due() IS
'Starts the worker that finds what is due, works the queue, sends mail, closes dead runs and applies retention, and returns at once. pg_cron calls it each minute.';

CREATE FUNCTION minga_roster_internal.try_run_lock(kind text, number bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_try_run_lock';
COMMENT ON FUNCTION minga_roster_internal.try_run_lock(text, bigint) IS
'Takes the lock of a run ("run", its number), of a connection ("connection", connections.number) or of the evenings '
    '("evenings", 1) until the end of the transaction; false where another session has it. No other function of SQL '
    'can take these locks. Superusers only.';

CREATE FUNCTION minga_roster_internal.wait_for_run_lock(kind text, number bigint) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_wait_for_run_lock';
COMMENT ON FUNCTION minga_roster_internal.wait_for_run_lock(text, bigint) IS 'Takes such a lock until the end of the transaction, and '
    'waits for it. Superusers only.';

CREATE FUNCTION minga_roster_internal.run_lock_holder(kind text, number bigint) RETURNS integer
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_run_lock_holder';
COMMENT ON FUNCTION minga_roster_internal.run_lock_holder(text, bigint) IS 'The process that holds such a lock; NULL where none does. '
    'Superusers only.';

CREATE FUNCTION minga_roster_internal.known_run(run bigint) RETURNS runs
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_run minga_roster.runs;
BEGIN
    IF known_run.run IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no run is named',
            HINT = 'SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC lists them.';
    END IF;
    SELECT * INTO found_run FROM minga_roster.runs r WHERE r.run = known_run.run;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('run %s does not exist', known_run.run),
            DETAIL = 'No row of minga_roster.runs has this number.',
            HINT = 'List the runs with SELECT run, connection, kind, state FROM minga_roster.runs ORDER BY run DESC; old ones are removed after minga_roster.keep_runs days.';
    END IF;
    RETURN found_run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_run(bigint) IS 'The row of a run; 42704 for a number that is none, 22004 for NULL.';

CREATE FUNCTION minga_roster_internal.state_words(state text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE state WHEN 'failed' THEN 'It failed' WHEN 'canceled' THEN 'It was canceled' ELSE 'It is ' || state END;
COMMENT ON FUNCTION minga_roster_internal.state_words(text) IS 'The state of a run, as an error tells it.';

CREATE FUNCTION minga_roster_internal.why_foreign(run runs, connection connections) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN (run).connection <> (connection).connection OR (run).site <> (connection).site THEN 'It is of another connection or site.'
    WHEN (run).queued_at < (connection).created_at THEN 'It is of an earlier connection of this name, which was retired.'
END;
COMMENT ON FUNCTION minga_roster_internal.why_foreign(runs, connections) IS 'Why what a run planned or did is not of the connection as it is now; NULL where it is.';

CREATE FUNCTION minga_roster_internal.do_cancel(run bigint) RETURNS runs
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target minga_roster.runs := minga_roster_internal.known_run(do_cancel.run);
    worker integer;
BEGIN
    IF target.state = 'queued' THEN
        -- While the row is locked no worker can take the run up.
        SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run FOR UPDATE;
    END IF;
    IF target.state = 'queued' THEN
        PERFORM minga_roster_internal.close_run(target.run, 'canceled', '57014', 'canceled while queued', NULL, NULL);
    ELSIF target.state = 'running' THEN
        -- A merge holds the row until it commits. Who works on the run is told by its lock, which nobody waits for.
        IF minga_roster_internal.try_run_lock('run', target.run) THEN
            PERFORM minga_roster_internal.close_dead_run(target.run);
        ELSE
            worker := minga_roster_internal.run_lock_holder('run', target.run);
            IF worker IS NOT NULL THEN
                PERFORM pg_cancel_backend(worker);
            END IF;
        END IF;
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s cannot be canceled', target.run),
            DETAIL = format('It %s at %s.', CASE target.state WHEN 'canceled' THEN 'was canceled' ELSE target.state END, target.finished_at),
            HINT = 'Only a queued or running run can be canceled.';
    END IF;
    SELECT * INTO target FROM minga_roster.runs r WHERE r.run = do_cancel.run;
    RETURN target;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_cancel(bigint) IS 'roster_cancel behind the door.';

CREATE FUNCTION roster_cancel(run bigint) RETURNS runs
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_cancel(bigint) IS
'Cancels a run: a queued one at once, of a running one the worker is interrupted (it stops within moments and undoes what it had not committed; people are not touched). 42704 for an unknown run, 55000 for a finished one.';

CREATE FUNCTION minga_roster_internal.queued_twin(connection text, kind text, of_run bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(r.run) FROM minga_roster.runs r
    WHERE r.connection = queued_twin.connection AND r.kind = queued_twin.kind
        AND coalesce(r.of_run, 0) = coalesce(queued_twin.of_run, 0)
        AND r.state = 'queued' AND r.trigger = 'manual'
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_twin(text, text, bigint) IS
'The manual run of that kind (and of that run) which is queued for the connection already; NULL where there is none. '
    'One of a kind is queued at a time.';

CREATE FUNCTION minga_roster_internal.insert_run(run bigint, connection text, kind text, of_run bigint, state text, requested_by name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    is_running boolean := insert_run.state = 'running';
BEGIN
    INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, started_at, pid)
    SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, insert_run.state, insert_run.requested_by,
        CASE WHEN is_running THEN clock_timestamp() END, CASE WHEN is_running THEN pg_backend_pid() END
    FROM minga_roster_internal.known_connection(insert_run.connection) AS c
    ON CONFLICT (connection, kind, coalesce(of_run, 0)) WHERE state = 'queued' AND trigger = 'manual' DO NOTHING;
    IF NOT FOUND THEN
        INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, of_run, state, requested_by, finished_at,
            reported, sqlstate, error, hint)
        SELECT insert_run.run, c.connection, c.site, insert_run.kind, 'manual', insert_run.of_run, 'canceled',
            insert_run.requested_by,
            clock_timestamp(), true, '55006', format('a %s of connection "%s" is queued already', insert_run.kind,
                c.connection),
            'Wait for it: SELECT * FROM minga_roster.roster_status shows how it fares.'
        FROM minga_roster_internal.known_connection(insert_run.connection) AS c;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.insert_run(bigint, text, text, bigint, text, name) IS
'The row of a manual run, queued or running in this process; one that would be queued beside another of its kind is '
    'on record as canceled.';

CREATE FUNCTION minga_roster_internal.claim_run(run bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM minga_roster.runs r WHERE r.run = claim_run.run AND r.state = 'queued' FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.runs r SET state = 'running', started_at = clock_timestamp(), pid = pg_backend_pid() WHERE r.run = claim_run.run;
    RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_run(bigint) IS 'Makes a queued run this process'' own; false when it is queued no more or somebody is about to cancel it.';

CREATE FUNCTION minga_roster_internal.queued_runs(OUT run bigint, OUT connection text, OUT kind text, OUT of_run bigint, OUT connection_number integer, OUT site text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.run, r.connection, r.kind, r.of_run, c.number, r.site
    FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
    WHERE r.state = 'queued' AND c.retired_at IS NULL
        AND (r.trigger = 'manual' OR c.enabled_origin = minga_roster_internal.server_origin())
    ORDER BY r.run
$$;
COMMENT ON FUNCTION minga_roster_internal.queued_runs() IS
'The queue, first come first served; without evening runs that came in a restored copy, which must not ask the SIS.';

CREATE FUNCTION minga_roster_internal.close_run(run bigint, state text, failure_sqlstate text, error text, detail text, hint text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE minga_roster.runs r
    SET state = close_run.state, finished_at = clock_timestamp(), pid = NULL,
        sqlstate = close_run.failure_sqlstate, error = close_run.error, detail = close_run.detail, hint = close_run.hint
    WHERE r.run = close_run.run AND r.state IN ('queued', 'running');
    IF FOUND THEN
        PERFORM minga_roster_internal.post_report(close_run.run);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.close_run(bigint, text, text, text, text, text) IS 'Ends a run, and writes the mail that tells the owners; nothing for a run that has ended.';

CREATE FUNCTION minga_roster_internal.close_dead_run(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.close_run(close_dead_run.run, 'failed', '57P02', 'the worker of the run died',
        'Nobody holds the lock of the run any more: the server crashed or was restarted while it worked, or code of '
            'the people '
        'relation did not stop when it was told to.',
        'Nothing that was not committed has changed anybody. Start the run again.')
$$;
COMMENT ON FUNCTION minga_roster_internal.close_dead_run(bigint) IS 'Closes a run whose worker is gone; the caller has taken its lock.';

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
COMMENT ON FUNCTION minga_roster_internal.close_dead_runs() IS 'Closes each running run whose lock can be taken, and returns how many there were.';
