-- Evenings: their windows, what is due, tries, missed evenings, restored copies, Automatic Rostering on and off.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

-- Windows. 2026-11-01 has 25 hours in America/Denver, 2026-03-08 has 23.
CREATE FUNCTION pg_temp.show_window(evening date, sync_at time, window_end time, zone text DEFAULT 'America/Denver')
RETURNS TABLE (opens timestamptz, closes timestamptz, lasts interval, local_opens timestamp, local_closes timestamp)
LANGUAGE sql AS $$
    SELECT w.opens, w.closes, w.closes - w.opens, w.opens AT TIME ZONE zone, w.closes AT TIME ZONE zone
    FROM minga_roster_internal.evening_window(evening, sync_at, window_end, zone) w
$$;
SELECT n.what, w.*
FROM (VALUES (1, 'over midnight', date '2026-09-01', time '19:00', time '06:00'),
    (2, 'within a day', '2026-09-01', '01:00', '05:00'),
    (3, 'into the long night', '2026-10-31', '19:00', '06:00'),
    (4, 'into the short night', '2026-03-07', '19:00', '06:00'),
    (5, 'begins at a time that is skipped', '2026-03-08', '02:30', '05:00'),
    (6, 'ends at a time that is skipped', '2026-03-07', '22:00', '02:30'),
    (7, 'skipped as a whole', '2026-03-08', '02:10', '02:50'),
    (8, 'begins at a time that comes twice', '2026-11-01', '01:30', '05:00'),
    (9, 'ends at a time that comes twice', '2026-10-31', '22:00', '01:30'),
    (10, 'nearly a day', '2026-09-01', '06:00', '05:59')) n (place, what, evening, sync_at, window_end)
CROSS JOIN LATERAL pg_temp.show_window(n.evening, n.sync_at, n.window_end) w
ORDER BY n.place;
SELECT w.* FROM pg_temp.show_window('2026-10-03', '23:45', '02:15', 'Australia/Lord_Howe') w;
SELECT * FROM minga_roster_internal.latest_evening('19:00', '06:00', 'America/Denver', '2026-09-02 00:59:59+00');
SELECT * FROM minga_roster_internal.latest_evening('19:00', '06:00', 'America/Denver', '2026-09-02 01:00:00+00');
SELECT * FROM minga_roster_internal.latest_evening('19:00', '06:00', 'Nowhere/Else', '2026-09-02 01:00:00+00');
-- Days that time zones skipped have no evening; the night before ends when the day would have begun, and the next
-- evening is that of the day after.
SELECT n.zone, n.evening, w.*
FROM (VALUES (1, 'Pacific/Apia', date '2011-12-29'), (2, 'Pacific/Apia', '2011-12-30'),
    (3, 'Pacific/Apia', '2011-12-31'), (4, 'Pacific/Fakaofo', '2011-12-30'), (5, 'Pacific/Kwajalein', '1993-08-20'),
    (6, 'Pacific/Kwajalein', '1993-08-21'), (7, 'America/Sao_Paulo', '2018-11-04')) n (place, zone, evening)
CROSS JOIN LATERAL pg_temp.show_window(n.evening, CASE n.place WHEN 7 THEN '00:00' ELSE '19:30' END::time, '05:00',
    n.zone) w
ORDER BY n.place;
SELECT * FROM minga_roster_internal.latest_evening('19:30', '05:00', 'Pacific/Apia', '2011-12-30 06:00:00+00');
SELECT * FROM minga_roster_internal.latest_evening('19:30', '05:00', 'Pacific/Apia', '2011-12-30 10:00:00+00');
SELECT * FROM minga_roster_internal.latest_evening('19:30', '05:00', 'Pacific/Apia', '2011-12-31 05:30:00+00');

-- Connections of several zones, one that is off, one that came here in a copy, one retired.
CREATE TABLE evening_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE evening_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('evening_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone,
    sync_at, window_end, automatic, enabled_at, enabled_origin, retired_at)
SELECT v.connection, v.connection, 'infinite_campus', 'https://sis.example/', 'https://sis.example/token', 'oauth2',
    'id', 'school', 'evening_people',
    v.zone, v.sync_at, v.window_end, v.automatic, '2026-08-31 00:00+00',
    coalesce(v.origin, minga_roster_internal.server_origin()), v.retired_at
FROM (VALUES ('e-denver', 'America/Denver', time '19:00', time '06:00', true, NULL, NULL::timestamptz),
    ('e-berlin', 'Europe/Berlin', '19:00', '06:00', true, NULL, NULL),
    ('e-early', 'America/Denver', '01:00', '05:00', true, NULL, NULL),
    ('e-off', 'America/Denver', '19:00', '06:00', false, NULL, NULL),
    ('e-copy', 'America/Denver', '19:00', '06:00', true, '1/1', NULL),
    ('e-odd', 'Nowhere/Else', '19:00', '06:00', true, NULL, NULL),
    ('e-retired', 'America/Denver', '19:00', '06:00', true, NULL, '2026-08-31 00:00+00')) v (connection, zone, sync_at,
    window_end, automatic, origin, retired_at);
INSERT INTO minga_roster.recipients (connection, email)
SELECT connection, 'owner@' || connection || '.example' FROM minga_roster.connections
    WHERE people = 'evening_people'::regclass;
CREATE VIEW evening_runs AS
    SELECT connection, evening, kind, state, state_cause, row_number() OVER (PARTITION BY connection ORDER BY run)
    AS nth, queued_at, finished_at, error, detail, hint, reported
    FROM minga_roster.runs WHERE connection LIKE 'e-%';
CREATE VIEW evening_mail AS
    SELECT o.connection, r.evening, o.subject FROM minga_roster.outbox o JOIN minga_roster.runs r USING (run)
    WHERE o.connection LIKE 'e-%';

INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at)
VALUES ('e-copy', 'e-copy', 'sync', 'evening', '2026-08-30', 'queued', 'postgres', '2026-08-31 01:00+00');

-- Before 19:00 in Denver; in Berlin the evening of September 1 goes on till 04:00 UTC.
\set clock '2026-09-02 00:59:59+00'
\i :set_clock
SELECT connection, evening, opens, closes, next_opens, runs_here, is_taken, tries, is_due
    FROM minga_roster_internal.evenings() WHERE connection LIKE 'e-%' ORDER BY 1;
SELECT minga_roster_internal.queue_due_runs();
-- Berlin is queued; the evenings that passed since Automatic Rostering was switched on were missed, and of them the
-- newest is told.
SELECT connection, evening, state, queued_at, error, detail, reported FROM evening_runs ORDER BY connection, nth;
SELECT hint FROM evening_runs WHERE state_cause = 'evening_missed' ORDER BY connection, nth LIMIT 1;
SELECT * FROM evening_mail ORDER BY connection, evening;
-- The copy is paused and quiet; what was queued in it is not run here.
SELECT connection, automatic, paused_cause FROM minga_roster.connections WHERE people = 'evening_people'::regclass
    ORDER BY 1;

\set clock '2026-09-02 01:00:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT minga_roster_internal.queue_due_runs();
SELECT connection, evening, kind, state, queued_at FROM evening_runs WHERE state <> 'failed' ORDER BY 1;
SELECT trigger, requested_by = current_user AS by_me FROM minga_roster.runs WHERE connection = 'e-denver'
    AND state = 'queued';

-- A failure of the SIS is tried again after 30 minutes, and tells no one yet.
CREATE FUNCTION pg_temp.fail(name text, code text, at timestamptz, what text DEFAULT 'connection refused') RETURNS void
LANGUAGE sql AS $$
    UPDATE minga_roster.runs SET state = 'failed', started_at = queued_at, finished_at = at, sqlstate = code,
        error = what
    WHERE connection = name AND state = 'queued';
    SELECT minga_roster_internal.post_report(max(run)) FROM minga_roster.runs WHERE connection = name;
$$;
SELECT pg_temp.fail('e-denver', '08001', '2026-09-02 01:05+00');
SELECT count(*) AS mails FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
SELECT tries, retry_at, is_due FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
\set clock '2026-09-02 01:34:59+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
\set clock '2026-09-02 01:35:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT pg_temp.fail('e-denver', '57P02', '2026-09-02 01:40+00', 'the worker of the run died');
\set clock '2026-09-02 02:10:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT count(*) AS mails FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
SELECT pg_temp.fail('e-denver', '08001', '2026-09-02 02:15+00');
-- The third was the last: the owners are told once.
SELECT tries, retry_at, is_due FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
SELECT subject FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
\set clock '2026-09-02 02:45:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT count(*) AS mails FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
SELECT nth, state, error, reported FROM evening_runs WHERE connection = 'e-denver' AND evening = '2026-09-01'
    ORDER BY nth;

-- What no other try can mend is not tried again: bad values, credentials, missing rights and objects.
BEGIN;
DELETE FROM minga_roster.runs WHERE connection = 'e-denver' AND evening = '2026-09-01';
INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, finished_at,
    error)
VALUES ('e-denver', 'e-denver', 'sync', 'evening', '2026-09-01', 'failed', 'postgres', '2026-09-02 01:00+00',
    '2026-09-02 02:00+00', 'some failure');
CREATE FUNCTION pg_temp.is_tried_again(code text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE minga_roster.runs SET sqlstate = code WHERE connection = 'e-denver' AND evening = '2026-09-01';
    RETURN (SELECT is_due FROM minga_roster_internal.evenings() WHERE connection = 'e-denver');
END
$$;
SELECT code, pg_temp.is_tried_again(code)
    FROM unnest(ARRAY['08006', '53000', '55000', '22023', '28000', '28P01', '42501', '42P01']) code;
-- Nor one that would come when the window has closed: that one was the last.
UPDATE minga_roster.runs SET sqlstate = '08006', finished_at = '2026-09-02 11:29+00' WHERE connection = 'e-denver'
    AND evening = '2026-09-01';
SELECT retry_at FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
UPDATE minga_roster.runs SET finished_at = '2026-09-02 11:30+00' WHERE connection = 'e-denver'
    AND evening = '2026-09-01';
SELECT retry_at FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
SELECT minga_roster_internal.post_report(max(run)) FROM minga_roster.runs WHERE connection = 'e-denver';
SELECT subject FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
ROLLBACK;

-- A canceled run is not begun again, and a manual sync is no evening's.
BEGIN;
DELETE FROM minga_roster.runs WHERE connection = 'e-denver' AND evening = '2026-09-01';
INSERT INTO minga_roster.runs (connection, site, kind, trigger, state, requested_by, queued_at, finished_at)
VALUES ('e-denver', 'e-denver', 'sync', 'manual', 'succeeded', 'postgres', '2026-09-02 01:00+00',
    '2026-09-02 01:10+00');
SELECT is_due FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
SELECT minga_roster_internal.queue_due_runs();
SELECT state FROM minga_roster.roster_cancel((SELECT max(run) FROM minga_roster.runs WHERE connection = 'e-denver'));
SELECT is_due FROM minga_roster_internal.evenings() WHERE connection = 'e-denver';
ROLLBACK;

-- A try that was due when the server was down is told of once the window has closed.
BEGIN;
DELETE FROM minga_roster.runs WHERE connection = 'e-denver' AND evening = '2026-09-01';
INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, finished_at,
    sqlstate, error)
VALUES ('e-denver', 'e-denver', 'sync', 'evening', '2026-09-01', 'failed', 'postgres', '2026-09-02 01:00+00',
    '2026-09-02 02:44+00', '08006', 'connection reset');
SELECT minga_roster_internal.post_report(max(run)) FROM minga_roster.runs WHERE connection = 'e-denver';
SELECT minga_roster_internal.queue_due_runs();
SELECT count(*) AS mails FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
SAVEPOINT open;
-- The same clock, and a window that has closed meanwhile.
UPDATE minga_roster.connections SET window_end = '20:30' WHERE connection = 'e-denver';
SELECT minga_roster_internal.queue_due_runs();
SELECT subject FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
SELECT minga_roster_internal.queue_due_runs();
SELECT count(*) AS mails FROM evening_mail WHERE connection = 'e-denver' AND evening = '2026-09-01';
ROLLBACK;

-- Berlin's run waited for a worker the whole night: it is not run by day.
\set clock '2026-09-02 04:00:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT evening, state, error, detail, hint, reported FROM evening_runs WHERE connection = 'e-berlin' ORDER BY nth DESC
    LIMIT 1;
SELECT subject FROM evening_mail WHERE connection = 'e-berlin' ORDER BY evening DESC LIMIT 1;

-- Three days without a server: each evening is on record, and one mail goes out. Switched on after an evening began, it
-- is not missed.
UPDATE minga_roster.connections SET enabled_at = '2026-09-04 17:00:01+00' WHERE connection = 'e-berlin';
\set clock '2026-09-05 16:00:00+00'
\i :set_clock
SELECT minga_roster_internal.queue_due_runs();
SELECT connection, evening, state, error, reported FROM evening_runs WHERE evening > '2026-09-01' ORDER BY connection,
    nth;
SELECT * FROM evening_mail WHERE evening > '2026-09-01' ORDER BY connection, evening;

-- A server that slept for months records the last fortnight.
BEGIN;
UPDATE minga_roster.runs SET evening = evening - 100 WHERE connection = 'e-early';
UPDATE minga_roster.connections SET enabled_at = '2026-01-01' WHERE connection = 'e-early';
SELECT minga_roster_internal.queue_due_runs();
SELECT min(evening), max(evening), count(*) FROM evening_runs WHERE connection = 'e-early' AND evening > '2026-07-01';
ROLLBACK;

-- New hours: an evening that had passed by them was none by the old ones.
BEGIN;
SELECT enabled_at FROM minga_roster.roster_configure('e-early', sync_at => '02:00');
SELECT enabled_at FROM minga_roster.roster_configure('e-denver', sync_at => '19:00', guard_floor => 7);
ROLLBACK;

-- Automatic Rostering on and off.
SELECT minga_roster.roster_enable('nobody');
SELECT minga_roster.roster_enable('e-off');
INSERT INTO minga_roster.secrets SELECT connection, gen_random_uuid(), '\x00' FROM minga_roster.connections
    WHERE connection LIKE 'e-%';
BEGIN;
UPDATE minga_roster.connections SET automatic = false WHERE people = 'evening_people'::regclass
    AND connection <> 'e-copy';
DELETE FROM minga_roster.recipients WHERE connection = 'e-copy';
SELECT automatic, enabled_at, enabled_origin = minga_roster_internal.server_origin() AS here, paused_cause
    FROM minga_roster.roster_enable('e-off');
SELECT automatic, enabled_at, enabled_origin = minga_roster_internal.server_origin() AS here, paused_cause
    FROM minga_roster.roster_enable('e-copy');
SELECT schedule, command, database, active FROM cron.job WHERE jobname = 'minga_roster';
UPDATE cron.job SET active = false;
UPDATE minga_roster.connections SET enabled_at = '2026-09-01' WHERE connection = 'e-copy';
UPDATE minga_roster.connections SET unproven = false;
SELECT enabled_at FROM minga_roster.roster_enable('e-off');
SELECT count(*) AS jobs, bool_and(active) AS active FROM cron.job WHERE jobname = 'minga_roster';
SELECT minga_roster_internal.queue_due_runs();
SELECT automatic FROM minga_roster.roster_disable('e-off');
SELECT count(*) AS jobs FROM cron.job WHERE jobname = 'minga_roster';
SELECT automatic FROM minga_roster.roster_disable('e-copy');
SELECT count(*) AS jobs FROM cron.job WHERE jobname = 'minga_roster';
-- Without pg_cron it is switched off as well, and cannot be switched on.
UPDATE minga_roster.connections SET automatic = true WHERE connection = 'e-off';
DROP EXTENSION pg_cron;
SELECT automatic FROM minga_roster.roster_disable('e-off');
SELECT minga_roster.roster_enable('e-off');
ROLLBACK;
-- What is queued for this evening is canceled.
BEGIN;
INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by)
VALUES ('e-denver', 'e-denver', 'sync', 'evening', '2026-09-05', 'queued', 'postgres'),
    ('e-denver', 'e-denver', 'sync', 'manual', NULL, 'queued', 'postgres');
SELECT automatic FROM minga_roster.roster_disable('e-denver');
SELECT trigger, state, error FROM minga_roster.runs WHERE connection = 'e-denver' ORDER BY run DESC LIMIT 2;
ROLLBACK;
BEGIN;
UPDATE minga_roster.connections SET automatic = true WHERE connection = 'e-off';
SELECT automatic FROM minga_roster.roster_disable('e-off');
COMMIT;

\set clock ''
\i :set_clock
DELETE FROM minga_roster.outbox WHERE connection LIKE 'e-%';
DELETE FROM minga_roster.runs WHERE connection LIKE 'e-%';
DELETE FROM minga_roster.secrets WHERE connection LIKE 'e-%';
DELETE FROM minga_roster.connections WHERE connection LIKE 'e-%';
DELETE FROM minga_roster.people_relations WHERE relation = 'evening_people'::regclass;
DO $$ BEGIN PERFORM minga_roster_internal.arrange_cron_job(); END $$;
DROP VIEW evening_mail, evening_runs;
DROP TABLE evening_people;
