-- Who is told of which run: by recipient, kind of run and outcome; never twice, never from a copy.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE TABLE outbox_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE outbox_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('outbox_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone,
    automatic, enabled_at, enabled_origin)
VALUES ('o-high', 'o-site', 'infinite_campus', 'https://sis.example', 'https://sis.example/token', 'oauth2', 'id',
    'school-1', 'outbox_people',
    'America/Denver', true, '2026-08-01', minga_roster_internal.server_origin());
INSERT INTO minga_roster.recipients (connection, email, send, manual)
SELECT 'o-high', send || CASE WHEN manual THEN '+manual' ELSE '' END || '@mesa.example', send, manual
FROM unnest(ARRAY['always', 'problems', 'changes', 'never']) send, unnest(ARRAY[false, true]) manual;
\set clock '2026-09-02 01:10:00+00'
\i :set_clock

-- A finished run, and who is told of it.
CREATE FUNCTION pg_temp.told(kind text, evening date, state text, created integer DEFAULT 0,
    conflicts integer DEFAULT 0, rejects integer DEFAULT 0,
    held integer DEFAULT 0, unread boolean DEFAULT false, error text DEFAULT NULL, code text DEFAULT NULL,
    cause text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    new_run bigint;
BEGIN
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, started_at,
        finished_at,
        created, linked, updated, restored, archived, conflicts, rejects, error, sqlstate, state_cause)
    VALUES ('o-high', 'o-site', told.kind, CASE WHEN told.evening IS NULL THEN 'manual' ELSE 'evening' END,
    told.evening, told.state, 'postgres',
        '2026-09-02 01:00+00', '2026-09-02 01:00+00', '2026-09-02 01:01:40+00', told.created, 0, 0, 0, 0,
        told.conflicts, told.rejects, told.error, told.code,
        told.cause)
    RETURNING run INTO new_run;
    INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
        state_at)
    SELECT new_run, n, 'o-site', 'student', 'p' || n, ARRAY['s' || n], 'archive', 'absent', 'gone from the roster',
    'held', now() FROM generate_series(1, told.held) n;
    INSERT INTO minga_roster.collections (run, collection, family, complete, proof)
    SELECT new_run, 'teachers', 'staff', false, 'weak' WHERE told.unread;
    PERFORM minga_roster_internal.post_report(new_run);
    PERFORM minga_roster_internal.post_report(new_run);
    RETURN (SELECT format('%s: %s', coalesce(string_agg(split_part(o.email, '@', 1), ', ' ORDER BY o.email), 'nobody'),
        min(o.subject))
            FROM minga_roster.outbox o WHERE o.run = new_run);
END
$$;
SELECT pg_temp.told('sync', '2026-08-01', 'succeeded') AS nothing;
SELECT pg_temp.told('sync', '2026-08-02', 'succeeded', created => 3) AS changes;
SELECT pg_temp.told('sync', '2026-08-03', 'succeeded', created => 3, held => 12) AS held;
SELECT pg_temp.told('sync', '2026-08-04', 'succeeded', conflicts => 1) AS conflict;
SELECT pg_temp.told('sync', '2026-08-05', 'succeeded', rejects => 2, created => 1) AS rejects;
SELECT pg_temp.told('sync', '2026-08-06', 'succeeded', unread => true) AS unread;
SELECT pg_temp.told('sync', '2026-08-07', 'failed', error => 'connection refused', code => '08001') AS failed;
SELECT pg_temp.told('sync', '2026-08-08', 'failed', error => 'evening missed', code => '55000',
    cause => 'evening_missed') AS missed;
SELECT pg_temp.told('sync', '2026-08-09', 'canceled', error => 'canceled while running') AS canceled;
-- What will be tried again tells no one; the last one does.
SELECT pg_temp.told('sync', '2026-09-01', 'failed', error => 'connection refused', code => '08001') AS first;
SELECT pg_temp.told('sync', '2026-09-01', 'failed', error => 'connection refused', code => '08001') AS second;
SELECT pg_temp.told('sync', '2026-09-01', 'failed', error => 'connection refused', code => '08001') AS third;
SELECT reported, count(*) FROM minga_roster.runs WHERE connection = 'o-high' AND evening = '2026-09-01' GROUP BY 1
    ORDER BY 1;
-- Manual runs, for who asked for them.
SELECT pg_temp.told('sync', NULL, 'succeeded') AS nothing;
SELECT pg_temp.told('sync', NULL, 'succeeded', created => 1) AS changes;
SELECT pg_temp.told('sync', NULL, 'failed', error => 'connection refused', code => '08001') AS failed;
SELECT pg_temp.told('approve', NULL, 'succeeded') AS approve;
SELECT kind, pg_temp.told(kind, NULL, 'failed', error => 'connection refused', code => '08001')
    FROM unnest(ARRAY['test', 'fetch', 'preview']) kind;
SELECT count(*) AS unreported FROM minga_roster.runs WHERE connection = 'o-high' AND NOT reported
    AND evening IS DISTINCT FROM '2026-09-01';
-- A run that goes on is told of later.
INSERT INTO minga_roster.runs (connection, site, kind, trigger, state, requested_by)
    VALUES ('o-high', 'o-site', 'sync', 'manual', 'running', 'postgres')
RETURNING run AS running \gset
SELECT minga_roster_internal.post_report(:running);
SELECT reported FROM minga_roster.runs WHERE run = :running;
SELECT minga_roster_internal.post_report(0);

-- The school's own name where the stage knows it, on one line.
SELECT 'minga_roster_internal.staged_orgs_' || number AS orgs FROM minga_roster.connections WHERE connection = 'o-high'
\gset
CREATE TABLE :orgs PARTITION OF minga_roster.staged_orgs FOR VALUES IN ('o-high');
INSERT INTO :orgs (connection, sourced_id, name) VALUES ('o-high', 'SCHOOL-1', E'Mesa\r\nBcc: High'),
    ('o-high', 'school-2', 'Another');
SELECT minga_roster_internal.remember_school('o-high');
TRUNCATE :orgs;
SELECT minga_roster_internal.remember_school('o-high');
SELECT pg_temp.told('sync', '2026-08-10', 'succeeded', created => 3) AS named;
SELECT mail > 0 AS numbered, run = (SELECT max(run) FROM minga_roster.runs) AS of_the_run, connection, state, attempts,
    next_attempt_at, created_at, sent_at,
    origin = minga_roster_internal.server_origin() AS here, split_part(body_text, E'\n', 1) AS first_line,
    left(body_html, 15) AS html
FROM minga_roster.outbox WHERE connection = 'o-high' ORDER BY mail DESC LIMIT 1;

-- Through the closing of a run.
UPDATE minga_roster.runs SET conflicts = 4 WHERE run = :running;
SELECT minga_roster_internal.close_run(:running, 'succeeded', NULL, NULL, NULL, NULL);
SELECT email, subject FROM minga_roster.outbox WHERE run = :running ORDER BY email;

-- A report that cannot be written keeps no run open; a WARNING in the server's log says so.
SET client_min_messages = error;
ALTER TABLE minga_roster.outbox ADD CONSTRAINT regress_none CHECK (false) NOT VALID;
SELECT pg_temp.told('sync', '2026-08-11', 'succeeded', created => 3) AS odd;
SELECT state, reported FROM minga_roster.runs WHERE evening = '2026-08-11' AND connection = 'o-high';
RESET client_min_messages;
ALTER TABLE minga_roster.outbox DROP CONSTRAINT regress_none;

-- A copy tells no one, and a connection never enabled does, of manual runs.
UPDATE minga_roster.connections SET enabled_origin = '1/1' WHERE connection = 'o-high';
SELECT pg_temp.told('sync', '2026-08-12', 'failed', error => 'evening missed', code => '55000',
    cause => 'evening_missed') AS copy;
SELECT pg_temp.told('sync', NULL, 'succeeded', created => 1) AS manual_in_a_copy;
UPDATE minga_roster.connections SET enabled_origin = NULL, enabled_at = NULL, automatic = false
    WHERE connection = 'o-high';
SELECT pg_temp.told('sync', NULL, 'succeeded', created => 1) AS never_enabled;

\set clock ''
\i :set_clock
DROP TABLE :orgs;
DELETE FROM minga_roster.outbox WHERE connection = 'o-high';
DELETE FROM minga_roster.runs WHERE connection = 'o-high';
DELETE FROM minga_roster.connections WHERE connection = 'o-high';
DELETE FROM minga_roster.people_relations WHERE relation = 'outbox_people'::regclass;
DROP TABLE outbox_people;
