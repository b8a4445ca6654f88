-- Status: what each connection is doing, what comes next and when, and what blocks it. Shows no personal data and no
-- secrets.

CREATE FUNCTION minga_roster_internal.newest_held(OUT connection text, OUT run bigint, OUT held bigint,
    OUT moves bigint, OUT words text) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (r.connection) r.connection, h.run, h.held, h.moves,
        minga_roster_internal.in_list(array_remove(ARRAY[CASE WHEN h.creates THEN 'new people' END,
            CASE WHEN h.archives THEN 'archives' END, CASE WHEN h.updates THEN 'updates' END,
            CASE WHEN h.objects THEN minga_roster_internal.held_in_words(h.run) END], NULL))
    FROM (
        SELECT c.run, sum(c.moves)::bigint AS moves, sum(c.held)::bigint AS held, bool_or(c.creates) AS creates,
            bool_or(c.archives) AS archives, bool_or(c.updates) AS updates, bool_or(c.objects) AS objects
        FROM (
            SELECT c.run, count(*) FILTER (WHERE c.action = 'link') AS moves,
                count(*) FILTER (WHERE minga_roster_internal.awaits_approval(c.action, c.state_cause)) AS held,
                bool_or(c.action = 'create' AND c.state_cause = 'new_site') AS creates,
                bool_or(c.action = 'archive') AS archives, bool_or(c.action = 'update') AS updates, false AS objects
            FROM minga_roster.changes c
            WHERE c.state = 'held'
            GROUP BY c.run
            UNION ALL
            SELECT o.run, 0, count(*), false, false, false, true FROM minga_roster.held_objects o GROUP BY o.run
        ) c
        GROUP BY c.run
    ) h
    JOIN minga_roster.runs r ON r.run = h.run
    JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = r.site
    WHERE minga_roster_internal.carried_out_by(r) IS NOT NULL
    ORDER BY r.connection, h.run DESC;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.newest_held() IS
'The newest sync or applied preview that holds changes, of each connection that has one: how many wait for '
'roster_approve, with rows of classes and the like, what they are, and how many links wait for roster_relink.';

CREATE FUNCTION minga_roster_internal.last_syncs(named text, OUT connection text, OUT site text, OUT run bigint,
    OUT state text, OUT incomplete boolean, OUT finished_at timestamptz, OUT error text) RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    -- Most are among the latest runs. The index of a connection's runs would read a page of them for each.
    latest_after CONSTANT bigint := CASE WHEN named IS NULL THEN (SELECT max(r.run) FROM minga_roster.runs r)
        - 4 * (SELECT count(*) FROM minga_roster.connections) END;
BEGIN
    RETURN QUERY
    WITH latest AS MATERIALIZED (
        SELECT r.connection, max(r.run) AS run FROM minga_roster.runs r
        WHERE r.run > latest_after AND r.kind = 'sync' AND r.finished_at IS NOT NULL
        GROUP BY r.connection
    )
    SELECT r.connection, r.site, r.run, r.state, r.incomplete, r.finished_at, r.error
    FROM minga_roster.connections c
    LEFT JOIN latest n ON n.connection = c.connection
    JOIN minga_roster.runs r ON r.run = CASE WHEN n.run IS NOT NULL THEN n.run ELSE (
        SELECT o.run FROM minga_roster.runs o
        WHERE o.connection = c.connection AND o.kind = 'sync' AND o.finished_at IS NOT NULL
        ORDER BY o.run DESC LIMIT 1) END
    WHERE c.retired_at IS NULL AND (named IS NULL OR c.connection = named);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.last_syncs(text) IS
'The last finished sync of a connection; NULL: of each.';

CREATE FUNCTION minga_roster_internal.do_connection_status(named text, OUT connection text, OUT site text,
    OUT district text, OUT automatic boolean, OUT state text, OUT run bigint, OUT phase text,
    OUT pages integer, OUT rows_staged bigint, OUT rows_expected bigint,
    OUT last_run bigint, OUT last_state text, OUT last_finished_at timestamptz, OUT last_error text,
    OUT next_evening timestamptz, OUT blocked_reason text, OUT held bigint, OUT waiting_mail bigint,
    OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text, OUT blocked_code text,
    OUT mail_cause text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    here CONSTANT text := minga_roster_internal.server_origin();
    -- Once, instead of for each connection
    sees_all CONSTANT boolean := minga_roster_internal.is_dba(minga_roster_internal.caller());
    running CONSTANT bigint := (SELECT count(*) FROM minga_roster.runs r WHERE r.state = 'running');
    max_workers CONSTANT text := minga_roster_internal.setting('max_workers');
    key_file CONSTANT text := minga_roster_internal.setting('key_file');
    smtp_url CONSTANT text := minga_roster_internal.setting('smtp_url');
BEGIN
    RETURN QUERY
    SELECT c.connection, c.site, c.district, c.automatic,
        CASE o.state
            WHEN 'running' THEN
                format('running %s since %s', o.kind, minga_roster_internal.local_minute(o.started_at, s.zone))
            WHEN 'queued' THEN
                format('%s queued since %s', o.kind, minga_roster_internal.local_minute(o.queued_at, s.zone))
            ELSE 'idle' END,
        o.run, o.phase, o.pages, o.rows_staged, o.rows_expected,
        l.run, l.state || CASE WHEN l.incomplete THEN ', incomplete' ELSE '' END, l.finished_at, l.error,
        CASE WHEN e.runs_here THEN coalesce(e.retry_at, CASE WHEN e.is_due THEN e.opens ELSE e.next_opens END) END,
        w.why[2],
        coalesce(h.held, 0), coalesce(m.waiting, 0), c.unproven, c.credentials_expire, b.last_error,
        (SELECT string_agg(
            minga_roster_internal.finding_words(f.finding, f.category, f.amount, f."of", f.detail), '; '
            ORDER BY f.position)
        FROM minga_roster.run_findings f WHERE f.run = l.run),
        w.why[1], b.cause
    FROM minga_roster.connections c
    LEFT JOIN (
        SELECT k."check" AS code, k.detail AS reason FROM minga_roster_internal.cron_checks() WITH ORDINALITY k
        WHERE NOT k.ok ORDER BY k.ordinality LIMIT 1
    ) f ON true
    CROSS JOIN minga_roster_internal.key_file_fault() y
    JOIN minga_roster_internal.evenings(named) e USING (connection)
    CROSS JOIN LATERAL (SELECT CASE WHEN e.evening IS NULL THEN 'UTC' ELSE c.time_zone END AS zone) s
    LEFT JOIN (
        SELECT DISTINCT ON (r.connection) r.connection, r.site, r.run, r.kind, r.state, r.started_at, r.queued_at,
            r.phase, r.pages, r.rows_staged, r.rows_expected
        FROM minga_roster.runs r
        WHERE r.state IN ('queued', 'running')
        ORDER BY r.connection, r.state = 'running' DESC, r.run
    ) o ON o.connection = c.connection AND o.site = c.site
    LEFT JOIN minga_roster_internal.last_syncs(named) l ON l.connection = c.connection AND l.site = c.site
    LEFT JOIN minga_roster_internal.newest_held() h ON h.connection = c.connection
    LEFT JOIN (
        SELECT r.site, max(r.run) AS site_run FROM minga_roster.runs r WHERE r.state = 'running' GROUP BY r.site
    ) k ON k.site = c.site
    LEFT JOIN (
        SELECT b.connection, b.site, count(*) AS waiting FROM minga_roster.outbox b
        WHERE b.state = 'waiting' AND b.origin = here
        GROUP BY b.connection, b.site
    ) m ON m.connection = c.connection AND m.site = c.site
    CROSS JOIN LATERAL (
        SELECT CASE WHEN o.state = 'queued'
            THEN (SELECT p.waiting_run FROM minga_roster_internal.people_state(c.connection) p) END AS people_run
        OFFSET 0
    ) q
    LEFT JOIN LATERAL (
        -- A mail server quotes the address.
        SELECT CASE WHEN b.last_error IS NULL OR c.site IN (SELECT minga_roster_internal.caller_sites('owner'))
            THEN b.last_error ELSE 'the mail server reported a fault, which owners of the site see' END AS last_error,
            b.cause
        FROM minga_roster.outbox b
        WHERE b.connection = c.connection AND b.site = c.site AND (b.attempts > 0 OR b.cause IS NOT NULL)
            AND b.origin = here
        ORDER BY b.mail DESC LIMIT 1
    ) b ON true
    CROSS JOIN LATERAL (
        -- OFFSET: found once for the code and the words.
        SELECT CASE
            WHEN o.state = 'running' THEN NULL
            WHEN o.state = 'queued' AND k.site_run IS NOT NULL THEN
                ARRAY['site_busy', format('run %s for the same site is running', k.site_run)]
            WHEN o.state = 'queued' AND q.people_run IS NOT NULL THEN
                ARRAY['people_locked', format('run %s waits for a lock on %s', q.people_run, c.people)]
            WHEN o.state = 'queued' AND running = 0 THEN ARRAY['no_worker', 'queued: no worker is running']
            WHEN o.state = 'queued' THEN
                ARRAY['workers_busy', format('queued: %s running, minga_roster.max_workers is %s',
                    minga_roster_internal.figures(running, 'run is', 'runs are'), max_workers)]
            WHEN NOT c.automatic THEN ARRAY['off', 'Automatic Rostering is off']
            WHEN c.paused_cause IS NOT NULL OR c.enabled_origin IS DISTINCT FROM here THEN
                ARRAY['paused', 'paused: ' || coalesce(c.paused_reason, 'restored')]
            WHEN f.code IS NOT NULL THEN ARRAY[f.code, f.reason]
            WHEN c.connection NOT IN (SELECT t.connection FROM minga_roster.secrets t
                WHERE t.connection IS NOT NULL) THEN ARRAY['secret', 'no client secret']
            WHEN key_file = '' THEN ARRAY['key_file', 'no key file']
            WHEN y.fault IS NOT NULL THEN ARRAY['key_file', y.fault]
            WHEN e.evening IS NULL THEN ARRAY['time_zone', format('time zone "%s" does not exist', c.time_zone)]
            WHEN h.moves > 0 THEN
                ARRAY['ids_changed', format('run %s found changed IDs, held until roster_relink', h.run)]
            WHEN h.held > 0 THEN ARRAY['held', format('run %s holds %s until roster_approve', h.run, h.words)]
            WHEN m.waiting > 0 AND smtp_url = '' THEN
                ARRAY['mail', minga_roster_internal.figures(m.waiting, 'mail is', 'mails are')
                    || ' waiting: minga_roster.smtp_url is not set']
            WHEN m.waiting > 0 AND b.last_error IS NOT NULL THEN
                ARRAY['mail', format('%s waiting: %s', minga_roster_internal.figures(m.waiting, 'mail is', 'mails are'),
                    b.last_error)]
            WHEN e.retry_at IS NOT NULL THEN
                ARRAY['retry', format('run %s failed and will be tried again', e.last_try)]
            WHEN NOT e.is_due THEN ARRAY['window', 'waiting for the evening window']
        END AS why
        OFFSET 0
    ) w
    WHERE c.retired_at IS NULL AND (named IS NULL OR c.connection = named)
        AND (sees_all OR c.site IN (SELECT minga_roster_internal.caller_sites()));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_connection_status(text) IS
'Implements connection_status; NULL: of all connections at whose site the caller has a level.';

CREATE FUNCTION minga_roster_internal.do_connection_names() RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sees_all CONSTANT boolean := minga_roster_internal.is_dba(minga_roster_internal.caller());
BEGIN
    RETURN QUERY
    SELECT c.connection FROM minga_roster.connections c
    WHERE c.retired_at IS NULL AND (sees_all OR c.site IN (SELECT minga_roster_internal.caller_sites()));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_connection_names() IS 'Implements connection_names.';

CREATE FUNCTION minga_roster_internal.connection_names() RETURNS SETOF text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION minga_roster_internal.connection_names() IS
'The connections that the view roster_status shows to the caller.';

CREATE FUNCTION minga_roster_internal.connection_status(named text, OUT connection text, OUT site text,
    OUT district text, OUT automatic boolean, OUT state text, OUT run bigint, OUT phase text,
    OUT pages integer, OUT rows_staged bigint, OUT rows_expected bigint,
    OUT last_run bigint, OUT last_state text, OUT last_finished_at timestamptz, OUT last_error text,
    OUT next_evening timestamptz, OUT blocked_reason text, OUT held bigint, OUT waiting_mail bigint,
    OUT unproven boolean, OUT credentials_expire date, OUT mail_error text, OUT findings text, OUT blocked_code text,
    OUT mail_cause text)
RETURNS record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_connection_status';
COMMENT ON FUNCTION minga_roster_internal.connection_status(text) IS
'A row of the view roster_status, read with the rights of the extension''s owner, so that readers of the view need no '
'rights on runs or pg_cron. The second call in a query looks all connections up.';

CREATE VIEW roster_status WITH (security_invoker = true) AS
    SELECT n.connection, s.site, s.district, s.automatic, s.state, s.run, s.phase, s.pages, s.rows_staged,
        s.rows_expected, s.last_run, s.last_state, s.last_finished_at, s.last_error, s.next_evening, s.blocked_reason,
        s.held, s.waiting_mail, s.unproven, s.credentials_expire, s.mail_error, s.findings, s.blocked_code,
        s.mail_cause
    FROM minga_roster_internal.connection_names() n (connection)
    CROSS JOIN LATERAL minga_roster_internal.connection_status(n.connection) s;
COMMENT ON VIEW roster_status IS
'For each connection at whose site the current user has a level: what it is doing, what comes next and when, and what '
'blocks it.';
COMMENT ON COLUMN roster_status.state IS
'"idle", "sync queued since ..." or "running sync since ...", local to the connection''s time zone.';
COMMENT ON COLUMN roster_status.run IS
'The running run, otherwise the queued one; phase, pages, rows_staged and rows_expected belong to it.';
COMMENT ON COLUMN roster_status.last_run IS
'The last finished sync, evening or manual; last_state, last_finished_at and last_error belong to it.';
COMMENT ON COLUMN roster_status.last_state IS
'The state of last_run; "succeeded, incomplete" if a list was not proved complete.';
COMMENT ON COLUMN roster_status.findings IS
'What the last sync noticed in the roster, in a few words; roster_report(last_run) has the sentences.';
COMMENT ON COLUMN roster_status.next_evening IS
'When the next evening run is due: the start of the next window, or the next try of a failed run; NULL if none will '
'run.';
COMMENT ON COLUMN roster_status.blocked_reason IS
'What blocks the connection: the first reason found; NULL while a run is running or about to be queued.';
COMMENT ON COLUMN roster_status.blocked_code IS
'blocked_reason as a code. off, paused, window and retry are no fault; site_busy, no_worker and workers_busy are why a '
'run is queued; held and ids_changed need a decision; cron_... and heartbeat are the check of that name of '
'roster_health; secret, key_file, time_zone and mail say what is missing.';
COMMENT ON COLUMN roster_status.held IS
'Held archives, updates and creates, and rows of classes and the like, of the newest sync or applied preview that has '
'any.';
COMMENT ON COLUMN roster_status.waiting_mail IS 'Mail not yet sent.';
COMMENT ON COLUMN roster_status.mail_error IS
'Why the newest mail that was tried could not be sent; NULL if it was sent. Only owners see the words of the mail '
'server, which may quote an address.';
COMMENT ON COLUMN roster_status.mail_cause IS
'What kind of fault mail_error is, as outbox.cause has it: login, token, unreachable, ...';

CREATE VIEW roster_district_status WITH (security_invoker = true) AS
    SELECT s.district, s.site, count(*) AS connections,
        CASE WHEN bool_or(o.state = 'running') THEN 'running' WHEN bool_or(o.state = 'queued') THEN 'queued'
            ELSE 'idle' END AS state,
        max(CASE l.state WHEN 'succeeded' THEN l.finished_at ELSE g.finished_at END) AS last_success,
        CASE WHEN bool_or(l.state = 'failed') THEN 'failed' WHEN bool_or(l.state = 'canceled') THEN 'canceled'
            WHEN bool_or(l.state = 'succeeded') THEN 'succeeded' END AS last_state,
        sum(s.held)::bigint AS held,
        coalesce(sum(CASE l.state WHEN 'succeeded' THEN l.conflicts ELSE g.conflicts END), 0)::bigint AS conflicts,
        min(s.next_evening) AS next_evening,
        CASE count(*) WHEN 1 THEN min(s.blocked_reason)
            ELSE string_agg(s.connection || ': ' || s.blocked_reason, '; ' ORDER BY s.connection) END AS blocked_reason
    FROM minga_roster.roster_status s
    LEFT JOIN minga_roster.runs o ON o.run = s.run
    LEFT JOIN minga_roster.runs l ON l.run = s.last_run
    LEFT JOIN LATERAL (
        SELECT r.site, r.finished_at, r.conflicts FROM minga_roster.runs r
        WHERE l.state <> 'succeeded' AND r.connection = s.connection AND r.kind = 'sync' AND r.state = 'succeeded'
        ORDER BY r.run DESC LIMIT 1
    ) g ON g.site = s.site
    GROUP BY s.district, s.site;
COMMENT ON VIEW roster_district_status IS
'roster_status with one line for each site, for those who look after a district: the sites at which the current user '
'has a level.';
COMMENT ON COLUMN roster_district_status.connections IS 'How many connections the site has that are not retired.';
COMMENT ON COLUMN roster_district_status.state IS
'running, queued or idle: what the site''s connections are doing.';
COMMENT ON COLUMN roster_district_status.last_success IS 'When the last successful sync of the site ended.';
COMMENT ON COLUMN roster_district_status.last_state IS
'How the last syncs ended: failed or canceled if that of any connection did, otherwise succeeded; NULL before the '
'first.';
COMMENT ON COLUMN roster_district_status.held IS
'Changes that wait for roster_approve, and rows of classes and the like.';
COMMENT ON COLUMN roster_district_status.conflicts IS
'Conflicts that the last successful syncs found; roster_conflicts shows them to owners.';
COMMENT ON COLUMN roster_district_status.next_evening IS 'When the next evening run of the site is due.';
COMMENT ON COLUMN roster_district_status.blocked_reason IS
'What blocks the site; with the name of each connection where there are several.';

