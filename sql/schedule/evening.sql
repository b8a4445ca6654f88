-- Evenings: when a connection is due, which evenings were missed, turning Automatic Rostering on and off, and
-- retention. Must survive nights of 23 and 25 hours, a server that slept, restored copies, and a missing pg_cron.

CREATE FUNCTION minga_roster_internal.first_instant(local_time timestamp, time_zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instant timestamptz := local_time AT TIME ZONE time_zone;
    lookback CONSTANT interval := '3 hours';
    -- A zone that changes its side of the date line skips a day.
    longest_skip CONSTANT interval := '25 hours';
BEGIN
    IF instant AT TIME ZONE time_zone = local_time
        AND (instant - lookback) AT TIME ZONE time_zone = local_time - lookback THEN
        RETURN instant;
    END IF;
    -- The clocks change near this time: it does not exist, or it exists twice.
    RETURN (SELECT min(minute)
            FROM generate_series(instant - CASE WHEN (instant - lookback) AT TIME ZONE time_zone < local_time
                THEN lookback ELSE longest_skip END, instant, '1 minute') AS minute
            WHERE minute AT TIME ZONE time_zone >= local_time);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.first_instant(timestamp, text) IS
'When clocks in the time zone first show this local time, or the next later one if they skip it.';

CREATE FUNCTION minga_roster_internal.evening_window(evening date, sync_at time, window_end time, time_zone text,
    OUT opens timestamptz, OUT closes timestamptz)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    local_opens timestamp := evening + sync_at;
    local_closes timestamp := evening + (window_end <= sync_at)::integer + window_end;
BEGIN
    opens := minga_roster_internal.first_instant(local_opens, time_zone);
    -- The evening of a day that the zone skips would be another day's.
    IF opens AT TIME ZONE time_zone >= evening + 1
        AND minga_roster_internal.first_instant(evening, time_zone) AT TIME ZONE time_zone >= evening + 1 THEN
        opens := NULL;
        RETURN;
    END IF;
    closes := minga_roster_internal.first_instant(local_closes, time_zone);
    IF closes <= opens THEN
        -- The clocks skipped the whole window: it keeps its length.
        closes := opens + (local_closes - local_opens);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.evening_window(date, time, time, text) IS
'An evening is named by the local date on which it begins. It lasts from sync_at to window_end, past midnight if '
'window_end is earlier. NULLs for a date that the time zone skips (Pacific/Apia had no 2011-12-30).';

CREATE FUNCTION minga_roster_internal.latest_evening(sync_at time, window_end time, time_zone text, at timestamptz,
    OUT evening date, OUT opens timestamptz, OUT closes timestamptz, OUT next_opens timestamptz)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    evening := (at AT TIME ZONE time_zone)::date;
    SELECT w.opens, w.closes INTO opens, closes FROM minga_roster_internal.evening_window(evening, sync_at, window_end,
        time_zone) w;
    -- The day before or after may be one that the time zone skips.
    IF opens <= at THEN
        SELECT w.opens INTO next_opens
        FROM generate_series(1, 2) AS days
        CROSS JOIN LATERAL minga_roster_internal.evening_window(evening + days, sync_at, window_end, time_zone) w
        WHERE w.opens IS NOT NULL ORDER BY days LIMIT 1;
    ELSE
        next_opens := opens;
        SELECT evening - days, w.opens, w.closes INTO evening, opens, closes
        FROM generate_series(1, 2) AS days
        CROSS JOIN LATERAL minga_roster_internal.evening_window(evening - days, sync_at, window_end, time_zone) w
        WHERE w.opens IS NOT NULL ORDER BY days LIMIT 1;
    END IF;
EXCEPTION
    -- One connection with an unknown time zone must not stop the others.
    WHEN invalid_parameter_value THEN
        evening := NULL;
        opens := NULL;
        closes := NULL;
        next_opens := NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.latest_evening(time, time, text, timestamptz) IS
'The latest evening that had begun at that time, open or over, and when the next one begins; NULLs for a time zone '
'that the server does not know.';

CREATE FUNCTION minga_roster_internal.recent_evenings(since timestamptz, OUT connection text, OUT site text,
    OUT evening date)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.connection, r.site, r.evening FROM minga_roster.runs r
    WHERE r.queued_at > since AND r.evening IS NOT NULL AND r.state <> 'failed';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.recent_evenings(timestamptz) IS
'The evenings that have had their runs, by runs queued since then; none for NULL. One for each connection and site.';

CREATE FUNCTION minga_roster_internal.evenings(named text DEFAULT NULL, OUT connection text, OUT evening date,
    OUT opens timestamptz, OUT closes timestamptz, OUT next_opens timestamptz, OUT runs_here boolean,
    OUT is_taken boolean, OUT tries integer, OUT last_try bigint, OUT retry_at timestamptz, OUT is_due boolean,
    OUT past date, OUT past_known boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    here CONSTANT text := minga_roster_internal.server_origin();
BEGIN
    -- Most of all connections have had the latest evening, in one of the latest runs. Other runs are looked up by the
    -- index for each connection, whatever is known of the table.
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT c.connection, c.site, c.sync_at, c.window_end, c.time_zone,
            c.automatic AND c.paused_cause IS NULL AND c.enabled_origin IS NOT DISTINCT FROM here AS runs_here
        FROM minga_roster.connections c
        WHERE (named IS NULL OR c.connection = named) AND c.retired_at IS NULL
    ), latest AS MATERIALIZED (
        -- Many connections have the same evening.
        SELECT k.sync_at, k.window_end, k.time_zone, l.*, l.evening - (now < l.closes)::integer AS past
        FROM (SELECT DISTINCT sync_at, window_end, time_zone FROM known) k
        CROSS JOIN LATERAL minga_roster_internal.latest_evening(k.sync_at, k.window_end, k.time_zone, now) l
    )
    SELECT k.connection, e.evening, e.opens, e.closes, e.next_opens, k.runs_here, t.is_taken, f.tries, f.last_try,
        r.retry_at,
        coalesce(k.runs_here AND NOT t.is_taken AND now >= e.opens AND now < e.closes
            AND (f.tries = 0 OR r.retry_at <= now), false),
        e.past,
        -- One whose evening has had its run missed none before: those were on record by then.
        e.past IS NULL OR t.is_taken OR CASE WHEN e.past = e.evening THEN f.tries > 0
            ELSE (SELECT true FROM minga_roster.runs t
                    WHERE t.connection = k.connection AND t.site = k.site AND t.evening = e.past
                        AND t.state <> 'failed' LIMIT 1) IS NOT NULL
                OR (SELECT true FROM minga_roster.runs t
                    WHERE t.connection = k.connection AND t.site = k.site AND t.evening = e.past
                        AND t.state = 'failed' LIMIT 1) IS NOT NULL END
    FROM known k
    JOIN latest e ON e.sync_at = k.sync_at AND e.window_end = k.window_end AND e.time_zone = k.time_zone
    LEFT JOIN minga_roster_internal.recent_evenings(CASE WHEN named IS NULL THEN now - interval '2 days' END) d
        ON d.connection = k.connection AND d.site = k.site AND d.evening = e.evening
    CROSS JOIN LATERAL (
        SELECT d.evening IS NOT NULL OR (SELECT true FROM minga_roster.runs t
            WHERE t.connection = k.connection AND t.site = k.site AND t.evening = e.evening
                AND t.state <> 'failed' LIMIT 1) IS NOT NULL AS is_taken
        -- As it is, it is found once.
        OFFSET 0
    ) t
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS tries, max(f.run) AS last_try, max(f.finished_at) AS finished_at,
            coalesce(bool_or(f.state_cause = 'evening_missed' OR left(f.sqlstate, 2) IN ('22', '28', '42')), false)
                AS is_final
        FROM minga_roster.runs f
        WHERE f.connection = k.connection AND f.site = k.site AND f.evening = e.evening AND f.state = 'failed'
            AND NOT t.is_taken
    ) f
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.runs_here AND NOT t.is_taken AND f.tries BETWEEN 1 AND 2 AND NOT f.is_final
                AND f.finished_at + interval '30 minutes' < e.closes AND now < e.closes
            THEN f.finished_at + interval '30 minutes' END AS retry_at
    ) r;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.evenings(text) IS
'The latest evening of one connection, or of each: its failed tries, unless it has had its run, when the next try is '
'(30 minutes after a failure, at most three tries, within the window, and not after SQLSTATE classes 22, 28 and 42), '
'and whether a run is due now. '
'runs_here: Automatic Rostering is on, and was turned on in this database. past: the latest evening that is over; '
'past_known: a run of it, or of the evening after it, is on record.';

CREATE FUNCTION minga_roster_internal.fetch_limits(run bigint, OUT requests integer, OUT seconds_left bigint,
    OUT evening text, OUT likely_outcome text)
RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    this CONSTANT minga_roster.runs := minga_roster_internal.known_run(fetch_limits.run);
    known CONSTANT minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    zone CONSTANT text := minga_roster_internal.require_zone(known.connection, known.time_zone);
    latest record;
    of_run record;
BEGIN
    latest := minga_roster_internal.latest_evening(known.sync_at, known.window_end, zone, now);
    requests := CASE WHEN now >= latest.opens AND now < latest.closes THEN coalesce(known.max_requests,
        (SELECT s.max_requests FROM minga_roster.sis s WHERE s.sis = known.sis)) ELSE 1 END;
    IF this.evening IS NOT NULL THEN
        of_run := minga_roster_internal.evening_window(this.evening, known.sync_at, known.window_end, zone);
        seconds_left := greatest(extract(epoch FROM of_run.closes - now), 0);
        evening := format('%s to %s (%s)', minga_roster_internal.local_minute(of_run.opens, zone),
            minga_roster_internal.local_minute(of_run.closes, zone), zone);
    END IF;
    IF this.kind IN ('preview', 'sync') THEN
        likely_outcome := CASE WHEN minga_roster_internal.has_links(known.connection) THEN 'unchanged'
            ELSE 'create' END;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fetch_limits(bigint) IS
'The limits for the fetch of a run at this hour. requests: how many at a time (max_requests from sync_at to '
'window_end; otherwise one, because people work in the SIS). For an evening run also the seconds left and the evening. '
'If a plan follows, likely_outcome is what it will make of most users, with which they are staged.';

CREATE FUNCTION minga_roster_internal.pause_restored_connections() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here CONSTANT text := minga_roster_internal.server_origin();
BEGIN
    UPDATE minga_roster.connections c SET paused_cause = 'restored', paused_reason = 'restored'
    WHERE c.connection IN (
        SELECT k.connection FROM minga_roster.connections k
        WHERE k.automatic AND k.retired_at IS NULL AND k.paused_cause IS NULL AND k.enabled_origin IS DISTINCT FROM here
        FOR UPDATE SKIP LOCKED);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.pause_restored_connections() IS
'Pauses connections that were turned on in another database, of which this one is a restored copy.';

CREATE FUNCTION minga_roster_internal.cancel_stale_runs() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.state = 'queued' AND r.trigger = 'evening') THEN
        RETURN;
    END IF;
    WITH stale AS (
        SELECT r.run, w.opens, w.closes, c.time_zone, e.runs_here
        FROM minga_roster.runs r
        JOIN minga_roster.connections c USING (connection)
        JOIN minga_roster_internal.evenings() e USING (connection)
        CROSS JOIN LATERAL minga_roster_internal.evening_window(r.evening, c.sync_at, c.window_end, c.time_zone) w
        WHERE r.state = 'queued' AND r.trigger = 'evening' AND e.evening IS NOT NULL
            AND (w.closes <= minga_roster_internal.clock() OR NOT e.runs_here)
        FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE minga_roster.runs r
    SET state = 'canceled', finished_at = minga_roster_internal.clock(), sqlstate = '57014',
        state_cause = CASE WHEN s.runs_here THEN 'evening_missed' END,
        error = CASE WHEN s.runs_here THEN 'evening missed' ELSE 'Automatic Rostering is off or paused' END,
        detail = CASE WHEN s.runs_here THEN
            format('The run was queued until its evening ended (%s to %s, %s).',
                minga_roster_internal.local_minute(s.opens, s.time_zone),
                minga_roster_internal.local_minute(s.closes, s.time_zone), s.time_zone) END,
        hint = CASE WHEN s.runs_here THEN
            'If workers were busy, raise minga_roster.max_workers or spread sync_at over the connections.' END
    FROM stale s
    WHERE r.run = s.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.cancel_stale_runs() IS
'Cancels evening runs that must not run in the daytime: they waited for a worker until their window closed, or were '
'queued before their connection came here in a copy.';

CREATE FUNCTION minga_roster_internal.record_missed_evenings() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    lookback CONSTANT integer := 14;
BEGIN
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, state_cause, requested_by,
        queued_at, finished_at, sqlstate, error, detail, hint, district)
    SELECT c.connection, c.site, 'sync', 'evening', m.evening, 'failed', 'evening_missed', current_user,
        now, now, '55000', 'evening missed',
        format('No sync of "%s" began between %s and %s (%s).', c.connection,
            minga_roster_internal.local_minute(w.opens, c.time_zone),
            minga_roster_internal.local_minute(w.closes, c.time_zone), c.time_zone),
        format('PostgreSQL or pg_cron was not running; see its log. To sync now: SELECT minga_roster.roster_sync(%L).',
            c.connection), c.district
    FROM minga_roster_internal.evenings() e
    JOIN minga_roster.connections c USING (connection)
    LEFT JOIN LATERAL (
        SELECT r.evening, r.site FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.trigger = 'evening'
        ORDER BY r.run DESC LIMIT 1
    ) known ON known.site = c.site
    CROSS JOIN LATERAL generate_series(greatest(known.evening + 1, e.past - lookback + 1)::timestamp,
        e.past::timestamp, '1 day') AS day
    CROSS JOIN LATERAL (SELECT day::date AS evening) m
    CROSS JOIN LATERAL minga_roster_internal.evening_window(m.evening, c.sync_at, c.window_end, c.time_zone) w
    WHERE e.runs_here AND NOT e.past_known AND c.enabled_at <= w.opens AND w.closes <= now
    ORDER BY m.evening, c.number;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.record_missed_evenings() IS
'Records the evenings that passed since the last one on record, and since Automatic Rostering was turned on; at most '
'the last 14.';

CREATE FUNCTION minga_roster_internal.record_lost_zones() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    lost CONSTANT text[] := ARRAY(
        SELECT z.time_zone FROM (SELECT DISTINCT c.time_zone FROM minga_roster.connections c
            WHERE c.automatic AND c.retired_at IS NULL AND c.paused_cause IS NULL) z
        WHERE NOT minga_roster_internal.zone_exists(z.time_zone));
BEGIN
    IF lost = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, state_cause, requested_by,
        queued_at, finished_at, sqlstate, error, detail, hint, district)
    SELECT c.connection, c.site, 'sync', 'evening', (now AT TIME ZONE 'UTC')::date, 'failed', 'time_zone_lost',
        current_user, now, now, '22023', format('time zone "%s" does not exist', c.time_zone),
        format('The server knew it when it was set for "%s". An update of the operating system may have removed its '
            'name. Until it is back, no evening can begin.', c.connection),
        minga_roster_internal.lost_zone_hint(c.time_zone, c.connection), c.district
    FROM minga_roster.connections c
    LEFT JOIN LATERAL (
        SELECT r.state_cause, r.site FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.trigger = 'evening'
        ORDER BY r.run DESC LIMIT 1
    ) known ON known.site = c.site
    WHERE c.time_zone = ANY (lost) AND c.automatic AND c.retired_at IS NULL AND c.paused_cause IS NULL
        AND c.enabled_origin = minga_roster_internal.server_origin()
        AND known.state_cause IS DISTINCT FROM 'time_zone_lost'
    ORDER BY c.number;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.record_lost_zones() IS
'Records, once, that the server no longer knows the time zone of a connection, so that its recipients are told.';

CREATE FUNCTION minga_roster_internal.pause_after_failures(run runs) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted CONSTANT integer := minga_roster_internal.setting('pause_after')::integer;
    failed integer;
BEGIN
    IF wanted = 0 OR run.trigger <> 'evening' OR run.state <> 'failed' OR run.state_cause IS NOT NULL THEN
        RETURN false;
    END IF;
    -- What is wrong with this server (locks, resources, the key file) is no reason to stop asking the SIS.
    SELECT count(DISTINCT r.evening) INTO failed
    FROM minga_roster.runs r
    JOIN minga_roster.connections c ON c.connection = r.connection AND c.site = r.site
    WHERE r.connection = run.connection AND r.site = run.site AND r.state = 'failed' AND r.evening IS NOT NULL
        AND r.state_cause IS NULL AND left(r.sqlstate, 2) NOT IN ('40', '53', '55', '57', '58', 'F0', 'XX')
        AND r.queued_at >= c.enabled_at
        AND r.run > coalesce((SELECT max(s.run) FROM minga_roster.runs s
            WHERE s.connection = c.connection AND s.site = c.site AND s.kind = 'sync' AND s.state = 'succeeded'), 0);
    IF failed < wanted THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.connections c SET paused_cause = 'evenings_failed',
        paused_reason = CASE failed WHEN 1 THEN 'the evening failed'
            ELSE format('%s evenings in a row failed', failed) END
    WHERE c.connection IN (SELECT k.connection FROM minga_roster.connections k
        WHERE k.connection = run.connection AND k.site = run.site AND k.automatic AND k.retired_at IS NULL
            AND k.paused_cause IS NULL AND k.enabled_origin = minga_roster_internal.server_origin()
        FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.pause_after_failures(runs) IS
'Pauses Automatic Rostering of a connection whose last minga_roster.pause_after evenings failed, the run being the '
'last try of the newest, and says whether it did. Missed evenings and failures of this server count neither way. A '
'sync that succeeds, of an evening or by hand, starts the count again.';

CREATE FUNCTION minga_roster_internal.queue_open_evenings() RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued integer;
BEGIN
    -- A connection whose settings are being changed waits for the next minute.
    WITH due AS (
        SELECT c.connection, c.site, c.district, e.evening, e.opens, c.number
        FROM minga_roster_internal.evenings() e
        JOIN minga_roster.connections c USING (connection)
        WHERE e.is_due AND c.automatic AND c.retired_at IS NULL
        FOR UPDATE OF c SKIP LOCKED
    )
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at,
        district)
    SELECT d.connection, d.site, 'sync', 'evening', d.evening, 'queued', current_user, minga_roster_internal.clock(),
        d.district
    FROM due d
    ORDER BY d.opens, d.number
    ON CONFLICT (connection, evening, site) WHERE state <> 'failed' DO NOTHING;
    GET DIAGNOSTICS queued = ROW_COUNT;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.queue_open_evenings() IS
'Queues a sync for each connection whose evening is open and has no run yet or is due for another try; returns the '
'number of queued runs.';

CREATE FUNCTION minga_roster_internal.post_evening_reports() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recent CONSTANT timestamptz := minga_roster_internal.clock() - interval '3 days';
    unreported bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.runs r
        WHERE r.trigger = 'evening' AND r.state IN ('failed', 'canceled') AND NOT r.reported AND r.queued_at > recent)
    THEN
        RETURN;
    END IF;
    UPDATE minga_roster.runs r SET reported = true
    WHERE r.trigger = 'evening' AND r.state IN ('failed', 'canceled') AND NOT r.reported AND r.queued_at > recent
        AND EXISTS (
            SELECT FROM minga_roster.runs later
            WHERE later.connection = r.connection AND later.trigger = 'evening' AND later.run > r.run
                AND (later.evening = r.evening
                    OR (r.state_cause = 'evening_missed' AND later.state_cause = 'evening_missed')));
    FOR unreported IN
        SELECT r.run FROM minga_roster.runs r
        WHERE r.trigger = 'evening' AND r.state IN ('failed', 'canceled') AND NOT r.reported AND r.queued_at > recent
        ORDER BY r.run
    LOOP
        -- One that never began: no worker has announced its end.
        PERFORM minga_roster_internal.note_end(r.run) FROM minga_roster.runs r
            WHERE r.run = unreported AND r.started_at IS NULL;
        PERFORM minga_roster_internal.post_report(unreported);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.post_evening_reports() IS
'Writes the mail about failed and canceled evenings. An evening is reported once, after its last try; of several '
'missed evenings, only the newest is reported.';

CREATE FUNCTION minga_roster_internal.queue_due_runs() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued integer := 0;
BEGIN
    -- Nothing here waits for a caller's transaction: an open one would stop the evenings of all connections.
    IF minga_roster_internal.try_lock_evenings() THEN
        PERFORM minga_roster_internal.cron('renew');
    END IF;
    -- A clock that was set wrong is often put right within the hour: until then no evening begins or was missed.
    IF minga_roster_internal.clock_was_set('1 hour') THEN
        RETURN 0;
    END IF;
    PERFORM minga_roster_internal.pause_restored_connections();
    PERFORM minga_roster_internal.cancel_stale_runs();
    -- In most minutes there is nothing to do for anyone.
    IF EXISTS (SELECT FROM minga_roster_internal.evenings() e WHERE e.is_due OR (e.runs_here AND NOT e.past_known)) THEN
        IF NOT minga_roster_internal.clock_was_set('1 day') THEN
            PERFORM minga_roster_internal.record_missed_evenings();
        END IF;
        queued := minga_roster_internal.queue_open_evenings();
    END IF;
    PERFORM minga_roster_internal.record_lost_zones();
    PERFORM minga_roster_internal.post_evening_reports();
    RETURN queued;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.queue_due_runs() IS
'Queues the syncs that are due, and settles the evenings that were missed; returns the number of queued runs.';

CREATE FUNCTION minga_roster_internal.try_lock_evenings() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.try_run_lock('evenings', 1)
$$;
COMMENT ON FUNCTION minga_roster_internal.try_lock_evenings() IS
'Takes the lock of lock_evenings if it is free, and says whether it did.';

CREATE FUNCTION minga_roster_internal.lock_evenings() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.wait_for_run_lock('evenings', 1)
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_evenings() IS
'Taken until the end of the transaction by functions that turn evenings on or off or change the pg_cron job.';

CREATE FUNCTION minga_roster_internal.cron_command() RETURNS text
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_cron_command';
COMMENT ON FUNCTION minga_roster_internal.cron_command() IS
'The command of the pg_cron job. It is a single statement, because pg_cron''s background workers accept only one. It '
'qualifies every name, and removes the job when the extension is gone.';

CREATE FUNCTION minga_roster_internal.cron(deed text, OUT installed boolean, OUT job bigint, OUT active boolean,
    OUT command text, OUT other_job bigint, OUT last_failure text) RETURNS record
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_cron';
COMMENT ON FUNCTION minga_roster_internal.cron(text) IS
'Does one thing with the extension''s pg_cron job as the owner of the extension, and returns what there is then: '
'look, schedule, unschedule, activate, renew (its command, if an earlier version wrote it) and trim (the details of '
'its runs older than a day, 10,000 at most). The job is recognized by its owner (the extension''s owner) and its '
'command. Its name is not enough, because any role can create a job of that name: other_job is one of the owner''s. '
'All NULL without pg_cron, except installed. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.server_setting(name text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_server_setting';
COMMENT ON FUNCTION minga_roster_internal.server_setting(text) IS
'A setting that pg_cron needs, or that says where to set it, which only superusers see in pg_settings; NULL if the '
'server does not know it, 22023 for any other setting.';

CREATE FUNCTION minga_roster_internal.cron_facts(OUT preloaded boolean, OUT database_name text,
    OUT background_workers boolean, OUT installed boolean,
    OUT job bigint, OUT job_active boolean, OUT last_failure text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    database_name := minga_roster_internal.server_setting('cron.database_name');
    preloaded := database_name IS NOT NULL;
    background_workers := minga_roster_internal.server_setting('cron.use_background_workers') = 'on';
    SELECT c.installed, c.job, c.active, c.last_failure INTO installed, job, job_active, last_failure
    FROM minga_roster_internal.cron('look') c;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.cron_facts() IS
'The state of pg_cron as seen from this database: whether it is preloaded, for which database, with background '
'workers, and installed here; the extension''s job; and the message of its latest run if that failed.';

CREATE FUNCTION minga_roster_internal.beat() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster_internal.heartbeat h SET beat_at = now()
    WHERE h.only_one IN (SELECT b.only_one FROM minga_roster_internal.heartbeat b FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION minga_roster_internal.beat() IS
'Notes that roster_run_due was called, and that its worker began. Never waits.';

CREATE FUNCTION minga_roster_internal.arrange_cron_job() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    there record;
    owner name := (SELECT pg_get_userbyid(e.extowner) FROM pg_extension e WHERE e.extname = 'minga_roster');
BEGIN
    PERFORM minga_roster_internal.lock_evenings();
    there := minga_roster_internal.cron('renew');
    IF NOT EXISTS (SELECT FROM minga_roster.connections WHERE automatic AND retired_at IS NULL) THEN
        PERFORM minga_roster_internal.cron('unschedule') WHERE there.job IS NOT NULL;
    ELSIF NOT there.installed THEN
        RETURN;
    ELSIF there.job IS NOT NULL THEN
        IF NOT there.active THEN
            PERFORM minga_roster_internal.cron('activate'), minga_roster_internal.beat();
        END IF;
    ELSIF there.other_job IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object',
            MESSAGE = 'there is another pg_cron job named "minga_roster"',
            DETAIL = format('Job %s of "%s" has another command or database, so it was not changed.',
                there.other_job, owner),
            HINT = format('Remove it with SELECT cron.unschedule(%s), and schedule it again under another name.',
                there.other_job);
    ELSE
        PERFORM minga_roster_internal.cron('schedule'), minga_roster_internal.beat();
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.arrange_cron_job() IS
'Creates the extension''s one pg_cron job, named minga_roster, while any connection has Automatic Rostering on, and '
'removes it when none has. 42710 if the extension''s owner has another job of that name.';

CREATE FUNCTION minga_roster_internal.require_cron(connection text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts record;
    problems text[] := '{}';
    settings text[] := '{}';
    steps text[] := '{}';
BEGIN
    SELECT * INTO facts FROM minga_roster_internal.cron_facts();
    IF NOT facts.preloaded THEN
        problems := problems || 'pg_cron is not preloaded.'::text;
        settings := settings || format('shared_preload_libraries = %L', (
            SELECT concat_ws(', ', nullif(minga_roster_internal.server_setting('shared_preload_libraries'), ''),
                'pg_cron')));
    END IF;
    IF facts.database_name IS DISTINCT FROM current_database() THEN
        IF facts.preloaded THEN
            problems := problems
                || format('pg_cron runs jobs in database "%s" (cron.database_name).', facts.database_name);
        END IF;
        settings := settings || format('cron.database_name = %L', current_database());
    END IF;
    IF facts.background_workers IS NOT TRUE THEN
        IF facts.preloaded THEN
            problems := problems || ('pg_cron connects through libpq (cron.use_background_workers is off), which a '
                'default pg_hba.conf rejects.')::text;
        END IF;
        settings := settings || 'cron.use_background_workers = on'::text;
    END IF;
    IF settings <> '{}' THEN
        steps := steps || format('set %s in postgresql.conf (%s) and restart PostgreSQL',
            array_to_string(settings, ' and '),
            coalesce(minga_roster_internal.server_setting('config_file'), 'SHOW config_file'));
    END IF;
    IF NOT facts.installed THEN
        problems := problems || format('The extension pg_cron is not installed in database "%s".', current_database());
        steps := steps || 'CREATE EXTENSION pg_cron'::text;
    END IF;
    IF problems <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": pg_cron is not ready', connection),
            DETAIL = array_to_string(problems, ' '),
            HINT = format('Ask the DBA to do this: %s.', array_to_string(steps, ', then '));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_cron(text) IS
'55000 unless pg_cron can run the job of the extension in this database, with everything that has to be set.';

CREATE FUNCTION minga_roster_internal.do_enable(connection text) RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    PERFORM minga_roster_internal.require_cron(known.connection);
    IF NOT EXISTS (SELECT FROM minga_roster.secrets s WHERE s.connection = known.connection) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": there is no client secret',
                known.connection),
            HINT = format('Store the secret that the SIS shows for the client ID: '
                'SELECT minga_roster.roster_set_secret(%L, ''…'').', known.connection);
    END IF;
    IF minga_roster_internal.setting('key_file') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('cannot turn on Automatic Rostering for "%s": minga_roster.key_file is not set',
                known.connection),
            HINT = 'Ask the DBA to set minga_roster.key_file with ALTER SYSTEM to the file whose key sealed the client '
                'secret, then run SELECT pg_reload_conf().';
    END IF;
    IF known.unproven THEN
        RAISE NOTICE USING
            MESSAGE = format('connection "%s" is unproven: archives are held until a full sync shows that address and '
                'school are right', known.connection),
            HINT = format('Check SELECT * FROM minga_roster.roster_preview(%1$L), then run SELECT '
                'minga_roster.roster_sync(%1$L).', known.connection);
    END IF;
    IF NOT EXISTS (SELECT FROM minga_roster.recipients r WHERE r.connection = known.connection
        AND r.send <> 'never') THEN
        RAISE NOTICE USING
            MESSAGE = format('connection "%s" has no recipient for its evening reports', known.connection),
            HINT = format('Add one: SELECT minga_roster.roster_notify(%L, ''it@school.example'').', known.connection);
    END IF;

    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c
    SET automatic = true, paused_cause = NULL, paused_reason = NULL,
        enabled_origin = minga_roster_internal.server_origin(),
        enabled_at = CASE
            WHEN c.automatic AND c.paused_cause IS NULL
                AND c.enabled_origin = minga_roster_internal.server_origin() THEN c.enabled_at
            ELSE minga_roster_internal.clock() END
    WHERE c.connection = known.connection
    RETURNING * INTO known;
    PERFORM minga_roster_internal.arrange_cron_job();
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_enable(text) IS 'Implements roster_enable.';

CREATE FUNCTION roster_enable(connection text) RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_enable(text) IS
'Turns on Automatic Rostering: a sync every evening, starting at sync_at. Checks what pg_cron needs (55000 with what '
'to set) and creates its job "minga_roster", one for all connections. On a restored copy of the database it makes the '
'connection run here.';

CREATE FUNCTION minga_roster_internal.cancel_queued_evening(connection text, reason text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.runs r
    SET state = 'canceled', finished_at = minga_roster_internal.clock(), reported = true, sqlstate = '57014',
        error = cancel_queued_evening.reason
    WHERE r.run IN (
        SELECT q.run FROM minga_roster.runs q
        WHERE q.connection = cancel_queued_evening.connection AND q.state = 'queued' AND q.trigger = 'evening'
        FOR UPDATE SKIP LOCKED)
$$;
COMMENT ON FUNCTION minga_roster_internal.cancel_queued_evening(text, text) IS
'Cancels the evening run that is queued for a connection, without mail.';

CREATE FUNCTION minga_roster_internal.do_disable(connection text) RETURNS connections
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    PERFORM minga_roster_internal.lock_evenings();
    UPDATE minga_roster.connections c SET automatic = false, paused_cause = NULL, paused_reason = NULL
    WHERE c.connection = known.connection
    RETURNING * INTO known;
    PERFORM minga_roster_internal.cancel_queued_evening(known.connection, 'Automatic Rostering was turned off');
    PERFORM minga_roster_internal.arrange_cron_job();
    RETURN known;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_disable(text) IS 'Implements roster_disable.';

CREATE FUNCTION roster_disable(connection text) RETURNS connections
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_disable(text) IS
'Turns off Automatic Rostering. A run queued for this evening is canceled; a running one continues (see '
'roster_cancel). The pg_cron job is removed with the last connection.';

CREATE FUNCTION minga_roster_internal.changes_kept_since() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.clock() - make_interval(days => greatest(8, least(
        minga_roster_internal.setting('keep_runs')::integer, minga_roster_internal.setting('keep_changes')::integer)))
$$;
COMMENT ON FUNCTION minga_roster_internal.changes_kept_since() IS
'Runs queued before this time may have lost changes to apply_retention, and can no longer be applied or undone.';

CREATE FUNCTION minga_roster_internal.remove_old_runs(runs_before timestamptz, changes_before timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 10000;
    last_before CONSTANT bigint := (SELECT max(r.run) FROM minga_roster.runs r WHERE r.queued_at < changes_before);
    needed bigint[];
BEGIN
    -- Held changes that can still be approved.
    SELECT coalesce(array_agg(newest.run), '{}') INTO needed
    FROM (SELECT max(r.run) AS run
          FROM minga_roster.runs r
          JOIN minga_roster.connections c USING (connection)
          WHERE c.retired_at IS NULL
              AND minga_roster_internal.carried_out_by(r) IS NOT NULL
              AND r.run IN (SELECT h.run FROM minga_roster.changes h WHERE h.state = 'held')
          GROUP BY r.connection) newest;

    DELETE FROM minga_roster.changes c
    WHERE (c.run, c.change) IN (
        SELECT o.run, o.change
        FROM minga_roster.changes o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= last_before
            AND r.queued_at < changes_before AND r.state NOT IN ('queued', 'running') AND r.run <> ALL (needed)
        ORDER BY o.run, o.change
        LIMIT batch);

    DELETE FROM minga_roster.planned_links p
    WHERE (p.run, p.sourced_id) IN (
        SELECT o.run, o.sourced_id
        FROM minga_roster.planned_links o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= last_before
            AND r.queued_at < changes_before
        ORDER BY o.run, o.sourced_id
        LIMIT batch);
    DELETE FROM minga_roster.link_changes p
    WHERE (p.run, p.sourced_id) IN (
        SELECT o.run, o.sourced_id
        FROM minga_roster.link_changes o
        JOIN minga_roster.runs r ON r.run = o.run
        WHERE o.run <= last_before
            AND r.queued_at < changes_before
        ORDER BY o.run, o.sourced_id
        LIMIT batch);

    DELETE FROM minga_roster.runs r
    WHERE r.run IN (
        SELECT o.run
        FROM minga_roster.runs o
        WHERE o.queued_at < runs_before AND o.state NOT IN ('queued', 'running') AND o.run <> ALL (needed)
            AND coalesce(o.of_run, 0) <> ALL (needed)
            AND NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = o.run)
        ORDER BY o.queued_at
        LIMIT batch / 10);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remove_old_runs(timestamptz, timestamptz) IS
'Deletes changes and data of links of runs that were queued before changes_before, and runs without changes queued '
'before runs_before; at most 10,000 rows of each. Keeps held changes that can still be approved, with their runs.';

CREATE FUNCTION minga_roster_internal.apply_retention() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 10000;
    now CONSTANT timestamptz := minga_roster_internal.clock();
    -- The guard counts the archives of the last seven days.
    runs_before CONSTANT timestamptz := now
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_runs')::integer));
    changes_before CONSTANT timestamptz := minga_roster_internal.changes_kept_since();
    audit_before CONSTANT timestamptz := now
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_audit')::integer));
    oldest timestamptz;
BEGIN
    IF NOT minga_roster_internal.clock_holds() THEN
        RETURN;
    END IF;
    -- In most minutes there is nothing to delete, which the indexes tell.
    oldest := (SELECT min(r.queued_at) FROM minga_roster.runs r);
    IF oldest < runs_before OR (oldest < changes_before AND coalesce((SELECT min(c.run) FROM minga_roster.changes c),
        (SELECT min(p.run) FROM minga_roster.planned_links p),
        (SELECT min(p.run) FROM minga_roster.link_changes p)) IS NOT NULL)
    THEN
        PERFORM minga_roster_internal.remove_old_runs(runs_before, changes_before);
    END IF;

    IF (SELECT min(a.called_at) FROM minga_roster.audit a) < audit_before THEN
        DELETE FROM minga_roster.audit a
        WHERE a.entry IN (SELECT o.entry FROM minga_roster.audit o WHERE o.called_at < audit_before
            ORDER BY o.called_at LIMIT batch);
    END IF;

    -- A retired connection ends with the last of its runs: first its links, then what else hangs on it.
    IF EXISTS (SELECT FROM minga_roster.connections c WHERE c.retired_at < runs_before) THEN
        DELETE FROM minga_roster.links l
        WHERE (l.connection, l.sourced_id) IN (
            SELECT o.connection, o.sourced_id
            FROM minga_roster.links o JOIN minga_roster.connections c ON c.connection = o.connection
            WHERE c.retired_at < runs_before
            LIMIT batch);
        DELETE FROM minga_roster.connections c
        WHERE c.retired_at < runs_before
            AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.connection = c.connection)
            AND NOT EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = c.connection);
    END IF;

    -- Mails have numbers in the order in which they came.
    IF (SELECT o.created_at FROM minga_roster.outbox o ORDER BY o.mail LIMIT 1) < runs_before THEN
        DELETE FROM minga_roster.outbox o
        WHERE o.mail IN (SELECT s.mail FROM minga_roster.outbox s
                         WHERE s.created_at < runs_before AND (s.state IN ('sent', 'failed')
                             OR s.origin <> minga_roster_internal.server_origin())
                         ORDER BY s.mail LIMIT batch);
    END IF;

    -- Otherwise a mail server that is set up, or works again, later would get months of old mail.
    IF EXISTS (SELECT FROM minga_roster.outbox o WHERE o.state = 'waiting' AND o.created_at < now - interval '5 days')
    THEN
        UPDATE minga_roster.outbox o SET state = 'failed',
            last_error = coalesce(o.last_error, 'minga_roster.smtp_url was not set for five days'),
            cause = coalesce(o.cause, 'settings')
        WHERE o.state = 'waiting' AND o.created_at < now - interval '5 days'
            AND o.origin = minga_roster_internal.server_origin()
            AND (minga_roster_internal.setting('smtp_url') = '' OR o.cause IS NOT NULL);
    END IF;

    IF extract(minute FROM now) = 0 THEN
        PERFORM minga_roster_internal.prune_history();
        PERFORM minga_roster_internal.erase_archived();
        -- Once an hour, because it reads all details that pg_cron keeps.
        PERFORM minga_roster_internal.cron('trim');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_retention() IS
'Deletes changes and stored link data older than minga_roster.keep_changes days (at least 8), runs, mail, and '
'connections that were retired with their links, older than keep_runs days (at least 8), audit older than keep_audit '
'days (at least 8), and pg_cron''s details of the extension''s job older than a day; at most 10,000 rows of each per '
'call. Once an hour prune_history and erase_archived. Gives up mail that waited five days for the mail server. Keeps '
'held changes that can still be approved. Removes nothing while the clock is in doubt (clock_holds).';
