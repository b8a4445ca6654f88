-- What is kept for how long.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
-- No test before this one has set the clock.
DELETE FROM minga_roster_internal.clock_seen;
CREATE TABLE retention_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE retention_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('retention_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone, retired_at)
SELECT connection, connection, 'infinite_campus', 'https://sis.example', 'https://sis.example/token', 'oauth2', 'id',
    'school-1', 'retention_people', 'UTC', retired_at
FROM (VALUES ('t-high', NULL), ('t-held', NULL), ('t-applied', NULL), ('t-retired', timestamptz '2025-01-01')) v (
    connection, retired_at);
-- The present of this test is 2030; a run is named by how many days ago it was queued.
\set clock '2030-01-01 12:30:00+00'
\i :set_clock
CREATE FUNCTION pg_temp.run(name text, days integer, kind text DEFAULT 'sync', state text DEFAULT 'succeeded',
    change_state text DEFAULT 'applied') RETURNS void
LANGUAGE sql AS $$
    WITH made AS (
        INSERT INTO minga_roster.runs (connection, site, kind, trigger, state, requested_by, queued_at, finished_at)
        VALUES (name, name, kind, 'manual', state, 'postgres',
        timestamptz '2030-01-01 12:30+00' - make_interval(days => days, mins => 1),
            CASE WHEN state NOT IN ('queued', 'running')
            THEN timestamptz '2030-01-01 12:30+00' - make_interval(days => days) END)
        RETURNING run, queued_at, connection
    ), counted AS (
        INSERT INTO minga_roster.run_counts SELECT run, 'student', 'create', 1 FROM made
    ), collected AS (
        INSERT INTO minga_roster.collections (run, collection, family) SELECT run, 'students', 'student' FROM made
    ), posted AS (
        INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, state, next_attempt_at,
        created_at, origin)
        SELECT run, connection, s || '@mesa.example', '', '', '', s, queued_at, queued_at,
        minga_roster_internal.server_origin() FROM made, unnest(ARRAY['sent', 'failed', 'waiting']) s
    )
    INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at)
    SELECT run, n, name, 'student', 'p' || n, ARRAY['s' || n], 'archive', 'absent', 'gone', change_state, queued_at
    FROM made, generate_series(1, 2) n
$$;
CREATE FUNCTION pg_temp.kept() RETURNS TABLE (connection text, kind text, days integer, changes bigint, counts bigint,
    collections bigint, mail text)
LANGUAGE sql AS $$
    SELECT r.connection, r.kind, (date '2030-01-01' - (r.queued_at + interval '1 minute')::date),
        (SELECT count(*) FROM minga_roster.changes c WHERE c.run = r.run),
        (SELECT count(*) FROM minga_roster.run_counts c WHERE c.run = r.run),
        (SELECT count(*) FROM minga_roster.collections c WHERE c.run = r.run),
        (SELECT string_agg(o.state, ', ' ORDER BY o.state) FROM minga_roster.outbox o WHERE o.run = r.run)
    FROM minga_roster.runs r WHERE r.connection LIKE 't-%' ORDER BY 1, 3 DESC, 2
$$;
SELECT pg_temp.run('t-high', days) FROM unnest(ARRAY[500, 400, 399, 100, 90, 89, 9, 7, 0]) days;
SELECT pg_temp.run('t-high', 1000, 'sync', 'running');
-- Held archives of the newest sync that has any can still be approved; older ones, a preview's and a retired
-- connection's cannot.
SELECT pg_temp.run('t-held', 900, 'sync', 'succeeded', 'held');
SELECT pg_temp.run('t-held', 800, 'sync', 'succeeded', 'held');
SELECT pg_temp.run('t-held', 700, 'preview', 'succeeded', 'held');
SELECT pg_temp.run('t-held', 600, 'sync', 'failed', 'applied');
SELECT pg_temp.run('t-retired', 800, 'sync', 'succeeded', 'held');
-- Those of an applied preview can.
SELECT pg_temp.run('t-applied', 700, 'preview', 'succeeded', 'held');
INSERT INTO minga_roster.runs (connection, site, kind, trigger, of_run, state, requested_by, queued_at, finished_at)
SELECT 't-applied', 't-applied', 'apply', 'manual', r.run, 'succeeded', 'postgres', r.finished_at, r.finished_at
FROM minga_roster.runs r WHERE r.connection = 't-applied';
-- links name the run that archived, without a foreign key.
INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, rule, linked_run, archived_run)
SELECT 't-high', 's1', 't-high', 'p1', 'student', 'new', min(run), min(run) FROM minga_roster.runs
    WHERE connection = 't-high';
SELECT minga_roster_internal.setting('keep_runs') AS keep_runs, minga_roster_internal.setting('keep_changes')
    AS keep_changes, minga_roster_internal.setting('smtp_url') AS smtp_url;
BEGIN;
SELECT minga_roster_internal.apply_retention();
SELECT * FROM pg_temp.kept();
-- Mail of runs that are gone goes with the years; what waited five days while no mail server was set is given up.
SELECT state, last_error, count(*), max((timestamptz '2030-01-01 12:30+00' - created_at) - interval '1 minute')
    AS oldest
FROM minga_roster.outbox WHERE connection LIKE 't-%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS links FROM minga_roster.links WHERE connection = 't-high';
SELECT minga_roster_internal.apply_retention();
SELECT count(*) FROM pg_temp.kept();
ROLLBACK;

-- What the guard counts is kept however short the settings are.
ALTER SYSTEM SET minga_roster.keep_changes = 1;
ALTER SYSTEM SET minga_roster.keep_runs = 1;
\set clock '2030-01-01 12:31:00+00'
\i :set_clock
SELECT minga_roster_internal.setting('keep_runs') AS keep_runs, minga_roster_internal.setting('keep_changes')
    AS keep_changes;
BEGIN;
SELECT minga_roster_internal.apply_retention();
SELECT connection, days, changes FROM pg_temp.kept() WHERE connection = 't-high' ORDER BY days;
ROLLBACK;
ALTER SYSTEM RESET minga_roster.keep_changes;
ALTER SYSTEM RESET minga_roster.keep_runs;
-- Mail waits on where a mail server is set.
ALTER SYSTEM SET minga_roster.smtp_url = 'smtp://127.0.0.1:1';
\set clock '2030-01-01 12:32:00+00'
\i :set_clock
BEGIN;
SELECT minga_roster_internal.apply_retention();
SELECT count(*) AS waiting FROM minga_roster.outbox WHERE connection LIKE 't-%' AND state = 'waiting';
ROLLBACK;
ALTER SYSTEM RESET minga_roster.smtp_url;

-- A call takes a bounded number of rows, the oldest first, and the next call goes on.
BEGIN;
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at)
SELECT r.run, n, 't-high', 'student', 'p', '{}', 'create', 'new', 'new', 'applied', r.queued_at
FROM (SELECT run, queued_at FROM minga_roster.runs WHERE connection = 't-high' AND kind = 'sync' AND state = 'succeeded'
    ORDER BY queued_at LIMIT 2) r, generate_series(3, 7502) n;
SELECT minga_roster_internal.apply_retention();
SELECT days, changes FROM pg_temp.kept() WHERE connection = 't-high' AND days BETWEEN 101 AND 600;
SELECT minga_roster_internal.apply_retention();
SELECT days, changes FROM pg_temp.kept() WHERE connection = 't-high' AND days BETWEEN 101 AND 600;
ROLLBACK;

-- Details of the pg_cron job: a day of ours, trimmed on the hour; those of other jobs are not ours.
CREATE FUNCTION pg_temp.trimmed() RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    ours bigint := cron.schedule('minga_roster', '0 0 1 1 *', minga_roster_internal.cron_command());
    another bigint := cron.schedule('another', '0 0 1 1 *', 'SELECT 1');
BEGIN
    INSERT INTO cron.job_run_details (jobid, runid, status, start_time, end_time)
    VALUES (ours, -1, 'succeeded', now() - interval '25 hours', now() - interval '25 hours'),
    (ours, -2, 'failed', NULL, NULL),
        (ours, -3, 'succeeded', now() - interval '23 hours', now() - interval '23 hours'),
        (ours, -4, 'running', now() - interval '25 hours', NULL),
        (another, -5, 'succeeded', now() - interval '25 hours', now() - interval '25 hours');
    PERFORM minga_roster_internal.apply_retention();
    RETURN QUERY SELECT runid FROM cron.job_run_details WHERE runid < 0 ORDER BY runid DESC;
END
$$;
BEGIN;
SELECT pg_temp.trimmed();
ROLLBACK;
\set clock '2030-01-01 13:00:00+00'
\i :set_clock
BEGIN;
SELECT pg_temp.trimmed();
DROP EXTENSION pg_cron;
SELECT minga_roster_internal.apply_retention();
ROLLBACK;

\set clock ''
\i :set_clock
DELETE FROM minga_roster.outbox WHERE connection LIKE 't-%';
DELETE FROM minga_roster.runs WHERE connection LIKE 't-%';
DELETE FROM minga_roster.connections WHERE connection LIKE 't-%';
DELETE FROM minga_roster.people_relations WHERE relation = 'retention_people'::regclass;
DROP TABLE retention_people;
