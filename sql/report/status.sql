-- Status: for each connection what it is doing, what comes next and when, and why nothing happens. Names nobody and no secret.

CREATE FUNCTION minga_roster_internal.do_connection_status(OUT connection text, OUT site text, OUT automatic boolean, OUT state text,
    OUT run bigint, OUT phase text,
    OUT pages integer, OUT rows_staged bigint, OUT rows_expected bigint, OUT last_run bigint, OUT last_state text,
    OUT last_finished_at timestamptz, OUT last_error text, OUT next_evening timestamptz, OUT blocked_reason text, OUT held bigint,
    OUT waiting_mail bigint, OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.connection, c.site, c.automatic,
        CASE o.state WHEN 'running' THEN format('running %s since %s', o.kind, to_char(o.started_at AT TIME ZONE s.zone, 'YYYY-MM-DD HH24:MI'))
            WHEN 'queued' THEN format('%s queued since %s', o.kind, to_char(o.queued_at AT TIME ZONE s.zone, 'YYYY-MM-DD HH24:MI'))
            ELSE 'idle' END,
        o.run, o.phase, o.pages, o.rows_staged, o.rows_expected, l.run,
        l.state || CASE WHEN l.incomplete THEN ', incomplete' ELSE '' END, l.finished_at, l.error,
        CASE WHEN e.runs_here THEN coalesce(e.retry_at, CASE WHEN e.is_due THEN e.opens ELSE e.next_opens END) END,
        CASE
            WHEN o.state = 'running' THEN NULL
            WHEN o.state = 'queued' AND k.site_run IS NOT NULL THEN format('run %s of the site is running', k.site_run)
            WHEN o.state = 'queued' AND k.running = 0 THEN 'queued: no worker is at work'
            WHEN o.state = 'queued' THEN format('queued: %s, minga_roster.max_workers is %s',
                CASE k.running WHEN 1 THEN '1 run is running' ELSE format('%s runs are running', k.running) END, minga_roster_internal.setting('max_workers'))
            WHEN NOT c.automatic THEN 'automatic rostering is off'
            WHEN c.paused_cause IS NOT NULL OR c.enabled_origin IS DISTINCT FROM minga_roster_internal.server_origin()
                THEN 'paused: ' || coalesce(c.paused_reason, 'restored')
            WHEN NOT f.preloaded THEN 'pg_cron is not preloaded'
            WHEN f.database_name IS DISTINCT FROM current_database()
                THEN format('pg_cron works for database "%s" (cron.database_name)', f.database_name)
            WHEN NOT f.installed THEN 'pg_cron is not installed in this database'
            WHEN f.job IS NULL THEN 'pg_cron has no job'
            WHEN NOT f.job_active THEN format('the pg_cron job %s is not active', f.job)
            WHEN f.last_failure IS NOT NULL THEN 'the pg_cron job fails: ' || f.last_failure
            WHEN NOT EXISTS (SELECT FROM minga_roster.secrets t WHERE t.connection = c.connection) THEN 'no client secret'
            WHEN minga_roster_internal.setting('key_file') = '' THEN 'no key file'
            WHEN e.evening IS NULL THEN format('time zone "%s" is not known', c.time_zone)
            WHEN h.moves > 0 THEN format('changed ids of run %s wait for roster_relink', h.run)
            WHEN h.held > 0 THEN format('held %s of run %s wait for approval',
                concat_ws(' and ', CASE WHEN h.creates THEN 'new people' END, CASE WHEN h.archives THEN 'archives' END,
                    CASE WHEN h.updates THEN 'updates' END), h.run)
            WHEN m.waiting > 0 AND minga_roster_internal.setting('smtp_url') = ''
                THEN format('%s: minga_roster.smtp_url is not set', CASE m.waiting WHEN 1 THEN '1 mail waits' ELSE format('%s mails wait', m.waiting) END)
            WHEN m.waiting > 0 AND b.last_error IS NOT NULL
                THEN format('%s: %s', CASE m.waiting WHEN 1 THEN '1 mail waits'
                    ELSE format('%s mails wait', m.waiting) END, b.last_error)
            WHEN e.retry_at IS NOT NULL THEN format('run %s failed and is tried again', e.last_try)
            WHEN NOT e.is_due THEN 'waiting for the evening window'
        END,
        coalesce(h.held, 0), m.waiting, c.unproven, c.credentials_expire, b.last_error, n.findings
    FROM minga_roster.connections c
    CROSS JOIN minga_roster_internal.cron_facts() f
    JOIN minga_roster_internal.evenings() e USING (connection)
    CROSS JOIN LATERAL (SELECT CASE WHEN e.evening IS NULL THEN 'UTC' ELSE c.time_zone END AS zone) s
    LEFT JOIN LATERAL (SELECT * FROM minga_roster.runs r WHERE r.connection = c.connection AND r.state IN ('queued', 'running')
                       ORDER BY r.state = 'running' DESC, r.run LIMIT 1) o ON true
    LEFT JOIN LATERAL (SELECT * FROM minga_roster.runs r WHERE r.connection = c.connection AND r.kind = 'sync' AND r.finished_at IS NOT NULL
                       ORDER BY r.run DESC LIMIT 1) l ON true
    LEFT JOIN LATERAL (SELECT g.run, g.held, g.moves, g.creates, g.archives, g.updates
        FROM (SELECT g.run, count(*) FILTER (WHERE minga_roster_internal.awaits_approval(g.action, g.state_cause)) AS held,
                           bool_or(g.action = 'create' AND g.state_cause = 'new_site') AS creates,
                           bool_or(g.action = 'archive') AS archives, bool_or(g.action = 'update') AS updates,
                           count(*) FILTER (WHERE g.action = 'link') AS moves FROM minga_roster.changes g WHERE g.state = 'held' GROUP BY g.run) g
                       JOIN minga_roster.runs r ON r.run = g.run
                       WHERE r.connection = c.connection AND (r.kind = 'sync' OR EXISTS (SELECT FROM minga_roster.runs a WHERE a.connection = c.connection
                           AND a.kind = 'apply' AND a.of_run = r.run AND a.state = 'succeeded')) ORDER BY g.run DESC LIMIT 1) h ON true
    CROSS JOIN LATERAL (SELECT count(*) AS running, max(r.run) FILTER (WHERE r.site = c.site) AS site_run
                        FROM minga_roster.runs r WHERE r.state = 'running') k
    CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM minga_roster.outbox b WHERE b.connection = c.connection AND b.state = 'waiting'
                        AND b.origin = minga_roster_internal.server_origin()) m
    LEFT JOIN LATERAL (SELECT b.last_error FROM minga_roster.outbox b WHERE b.connection = c.connection
        AND b.attempts > 0
                        AND b.origin = minga_roster_internal.server_origin() ORDER BY b.mail DESC LIMIT 1) b ON true
    CROSS JOIN LATERAL (SELECT string_agg(minga_roster_internal.finding_words(f.finding, f.category, f.amount, f."of",
        f.detail), '; ' ORDER BY f.position) AS findings
                        FROM minga_roster.run_findings f WHERE f.run = l.run) n
    WHERE c.retired_at IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_connection_status() IS 'connection_status behind the door.';

CREATE FUNCTION minga_roster_internal.connection_status(OUT connection text, OUT site text, OUT automatic boolean, OUT state text,
    OUT run bigint, OUT phase text,
    OUT pages integer, OUT rows_staged bigint, OUT rows_expected bigint, OUT last_run bigint, OUT last_state text,
    OUT last_finished_at timestamptz, OUT last_error text, OUT next_evening timestamptz, OUT blocked_reason text,
    OUT held bigint,
    OUT waiting_mail bigint, OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION minga_roster_internal.connection_status() IS
'What the view roster_status shows, with the rights of the extension''s owner, so that whoever may read the view needs no right on runs or pg_cron.';

CREATE VIEW roster_status AS
    SELECT connection, site, automatic, state, run, phase, pages, rows_staged, rows_expected, last_run, last_state, last_finished_at, last_error,
        next_evening, blocked_reason, held, waiting_mail, unproven, credentials_expire, mail_error, findings
    FROM minga_roster_internal.connection_status();
COMMENT ON VIEW roster_status IS
'For each connection what it is doing, what comes next and when, and why nothing happens. Reading it takes SELECT on the view and EXECUTE on connection_status().';
COMMENT ON COLUMN roster_status.state IS '"idle", "sync queued since ..." or "running sync since ...", local to the connection''s time zone.';
COMMENT ON COLUMN roster_status.run IS 'The run in progress, else the one queued; phase, pages and rows are its.';
COMMENT ON COLUMN roster_status.last_run IS 'The last sync that ended, evening or manual; last_state, last_finished_at and last_error are its.';
COMMENT ON COLUMN roster_status.last_state IS 'Its state; "succeeded, incomplete" where a list was not proved to be '
    'read to its end.';
COMMENT ON COLUMN roster_status.findings IS 'What the last sync noticed of the roster, in short; '
    'roster_report(last_run) says more.';
COMMENT ON COLUMN roster_status.next_evening IS 'When the next evening run is due: the begin of the next window, or the next try of a failed run; NULL while none will be.';
COMMENT ON COLUMN roster_status.blocked_reason IS 'The first obstacle there is, in words; NULL while a run works or is about to be queued.';
COMMENT ON COLUMN roster_status.held IS 'Held archives, updates and creates of the newest sync or applied preview '
    'that has any.';
COMMENT ON COLUMN roster_status.waiting_mail IS 'Mail that has not been sent yet.';
COMMENT ON COLUMN roster_status.mail_error IS 'Why the newest mail of the connection that was tried could not be '
    'sent; NULL when it was sent.';
