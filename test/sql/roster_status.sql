-- roster_status: what a connection is doing, what comes next, and why nothing happens.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE TABLE status_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE status_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('status_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone,
    automatic, enabled_at, enabled_origin, retired_at, credentials_expire)
SELECT v.connection, 's-site', 'infinite_campus', 'https://sis.example', 'https://sis.example/token', 'oauth2', 'id',
    'school-1', 'status_people', 'America/Denver',
    v.connection = 's-high', '2026-08-01', minga_roster_internal.server_origin(), v.retired_at, '2027-01-01'
FROM (VALUES ('s-high', NULL), ('s-off', NULL), ('s-retired', timestamptz '2026-08-01')) v (connection, retired_at);
\set clock '2026-09-02 00:30:00+00'
\i :set_clock
-- The job below is no longer the extension's to make.
SELECT minga_roster_internal.beat();
CREATE VIEW status AS SELECT state, run - (SELECT min(run) FROM minga_roster.runs WHERE connection LIKE 's-%') AS run,
    next_evening, blocked_reason, blocked_code AS code, held, waiting_mail
    FROM minga_roster.roster_status WHERE connection = 's-high';
SELECT * FROM minga_roster.roster_status WHERE connection LIKE 's-%' ORDER BY connection;
-- One obstacle after the other is removed.
BEGIN;
UPDATE minga_roster.connections SET enabled_origin = '1/1' WHERE connection = 's-high';
SELECT * FROM status;
UPDATE minga_roster.connections SET paused_cause = 'restored', paused_reason = 'restored' WHERE connection = 's-high';
SELECT * FROM status;
ROLLBACK;
SELECT * FROM status;
BEGIN;
DROP EXTENSION pg_cron;
SELECT * FROM status;
ROLLBACK;
BEGIN;
SELECT cron.schedule('minga_roster', '0 0 1 1 *', minga_roster_internal.cron_command()) AS job \gset
UPDATE cron.job SET active = false WHERE jobid = :job;
SELECT regexp_replace(blocked_reason, '\d+', 'N') FROM status;
UPDATE cron.job SET active = true WHERE jobid = :job;
INSERT INTO cron.job_run_details (jobid, runid, status, return_message) VALUES (:job, 1000001, 'succeeded', 'fine'),
    (:job, 1000002, 'failed', 'connection failed'), (:job, 1000003, 'starting', NULL);
SELECT * FROM status;
INSERT INTO cron.job_run_details (jobid, runid, status, return_message) VALUES (:job, 1000004, 'succeeded', 'fine');
SELECT * FROM status;
-- The server has just been started, so it is not known yet whether it is called; a time to come tells nothing.
UPDATE minga_roster_internal.heartbeat SET beat_at = '2026-09-01 20:00+00';
SELECT blocked_code IS DISTINCT FROM 'heartbeat'
    OR pg_postmaster_start_time() < now() - interval '5 minutes' AS ok FROM minga_roster.roster_status
    WHERE connection = 's-high';
UPDATE minga_roster_internal.heartbeat SET beat_at = now() + interval '1 year';
SELECT blocked_code, regexp_replace(blocked_reason, '\d{4}-.*', '(then)') FROM minga_roster.roster_status
    WHERE connection = 's-high';
SELECT minga_roster_internal.beat();
INSERT INTO minga_roster.secrets VALUES ('s-high', gen_random_uuid(), '\x00');
SELECT * FROM status;
-- Held archives, of the newest sync that has any.
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, evening, state, requested_by, queued_at,
    started_at, finished_at)
VALUES (910000001, 's-high', 's-site', 'sync', 'evening', '2026-08-30', 'succeeded', 'postgres', '2026-08-31 01:00+00',
    '2026-08-31 01:00+00', '2026-08-31 01:02+00'),
    (910000002, 's-high', 's-site', 'sync', 'evening', '2026-08-31', 'succeeded', 'postgres', '2026-09-01 01:00+00',
    '2026-09-01 01:00+00', '2026-09-01 01:02+00'),
    (910000003, 's-high', 's-site', 'preview', 'manual', NULL, 'succeeded', 'postgres', '2026-09-01 02:00+00',
    '2026-09-01 02:00+00', '2026-09-01 02:02+00');
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at)
SELECT run, n, 's-site', 'student', 'p' || n, '{}', 'archive', 'absent', 'gone', 'held', now()
    FROM generate_series(910000001, 910000003) run, generate_series(1, 7) n WHERE run <> 910000001 OR n < 3;
SELECT * FROM status;
UPDATE minga_roster.changes SET state = 'expired' WHERE run >= 910000001;
-- Mail, while no mail server is set; that of another server is not ours.
INSERT INTO minga_roster.outbox (run, connection, site, email, subject, body_text, body_html, state, next_attempt_at,
    created_at, origin)
SELECT 910000002, 's-high', 's-site', n || '@mesa.example', '', '', '', CASE n WHEN 4 THEN 'sent' ELSE 'waiting' END,
    now(), now(), CASE n WHEN 3 THEN '1/1' ELSE minga_roster_internal.server_origin() END
FROM generate_series(1, 4) n;
SELECT * FROM status;
UPDATE minga_roster.outbox SET state = 'sent' WHERE connection = 's-high';
SELECT * FROM status;
SELECT last_run, last_state, last_finished_at, last_error FROM minga_roster.roster_status WHERE connection = 's-high';
-- Queued behind another run of the site, behind other runs, and running.
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, state, requested_by, queued_at)
    VALUES (910000004, 's-high', 's-site', 'sync', 'manual', 'queued', 'postgres', '2026-09-02 00:20+00');
SELECT * FROM status;
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, state, requested_by, queued_at, started_at)
    VALUES (910000005, 's-off', 's-site', 'sync', 'manual', 'running', 'postgres', '2026-09-02 00:20+00',
    '2026-09-02 00:25+00');
SELECT * FROM status;
UPDATE minga_roster.runs SET site = 's-other' WHERE run = 910000005;
SELECT * FROM status;
UPDATE minga_roster.runs SET state = 'running', started_at = '2026-09-02 00:26+00', phase = 'fetch', pages = 2,
    rows_staged = 200, rows_expected = 1000 WHERE run = 910000004;
SELECT state, run, phase, pages, rows_staged, rows_expected, blocked_reason FROM minga_roster.roster_status
    WHERE connection = 's-high';
ROLLBACK;
-- In the window: due at once, and after a failure at the next try.
\set clock '2026-09-02 02:00:00+00'
\i :set_clock
BEGIN;
SELECT cron.schedule('minga_roster', '0 0 1 1 *', minga_roster_internal.cron_command()) AS job \gset
INSERT INTO minga_roster.secrets VALUES ('s-high', gen_random_uuid(), '\x00');
SELECT * FROM status;
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, evening, state, requested_by, queued_at,
    started_at, finished_at, sqlstate, error)
VALUES (910000006, 's-high', 's-site', 'sync', 'evening', '2026-09-01', 'failed', 'postgres', '2026-09-02 01:00+00',
    '2026-09-02 01:00+00', '2026-09-02 01:50+00', '08001', 'could not connect');
SELECT last_run, last_state, last_error, next_evening, blocked_reason FROM minga_roster.roster_status
    WHERE connection = 's-high';
UPDATE minga_roster.runs SET sqlstate = '28000' WHERE run = 910000006;
SELECT last_run, last_state, last_error, next_evening, blocked_reason FROM minga_roster.roster_status
    WHERE connection = 's-high';
UPDATE minga_roster.connections SET time_zone = 'Nowhere/Else' WHERE connection = 's-high';
SELECT next_evening, blocked_reason FROM minga_roster.roster_status WHERE connection = 's-high';
ROLLBACK;

-- The last sync is among the latest runs, or behind many of another kind.
BEGIN;
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, state, requested_by, finished_at) VALUES
    (910000008, 's-high', 's-site', 'sync', 'manual', 'succeeded', 'postgres', now()),
    (910000009, 's-high', 's-site', 'sync', 'manual', 'running', 'postgres', NULL),
    (910000010, 's-off', 's-site', 'sync', 'manual', 'failed', 'postgres', now());
SELECT connection, run, state FROM minga_roster_internal.last_syncs(NULL) WHERE connection LIKE 's-%' ORDER BY 1;
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, state, requested_by, finished_at)
SELECT 910000010 + n, 's-off', 's-site', 'fetch', 'manual', 'succeeded', 'postgres', now()
FROM generate_series(1, 200 + 4 * (SELECT count(*) FROM minga_roster.connections)) n;
SELECT connection, run, state FROM minga_roster_internal.last_syncs(NULL) WHERE connection LIKE 's-%' ORDER BY 1;
SELECT connection, run, state FROM minga_roster_internal.last_syncs('s-off');
ROLLBACK;

-- The level reader, and nothing else, lets a role read it.
CREATE ROLE regress_roster_watcher;
GRANT USAGE ON SCHEMA minga_roster TO regress_roster_watcher;
GRANT SELECT ON minga_roster.roster_status TO regress_roster_watcher;
SET ROLE regress_roster_watcher;
SELECT count(*) FROM minga_roster.roster_status WHERE connection LIKE 's-%';
RESET ROLE;
SELECT minga_roster.roster_grant('regress_roster_watcher', 'reader', site => 's-site');
INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, state, requested_by)
    VALUES (910000007, 's-high', 's-site', 'sync', 'manual', 'queued', 'postgres');
SET ROLE regress_roster_watcher;
SELECT count(*) FROM minga_roster.roster_status WHERE connection LIKE 's-%';
SELECT split_part(minga_roster.roster_report(910000007), E'\n', 1),
    left(minga_roster.roster_report_html(910000007), 15);
SELECT minga_roster_internal.post_report(910000007);
RESET ROLE;
SELECT minga_roster.roster_revoke('regress_roster_watcher', 'reader', site => 's-site');
DROP OWNED BY regress_roster_watcher;
DROP ROLE regress_roster_watcher;

\set clock ''
\i :set_clock
DROP VIEW status;
DELETE FROM minga_roster.runs WHERE connection LIKE 's-%';
DELETE FROM minga_roster.connections WHERE connection LIKE 's-%';
DELETE FROM minga_roster.people_relations WHERE relation = 'status_people'::regclass;
DROP TABLE status_people;
-- Without a connection there is no status.
SELECT minga_roster_internal.connection_status(NULL) IS NULL AS none;
