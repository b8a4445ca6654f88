-- A clock that jumps: what is removed by age, which evenings were missed, and mail that waits.
-- Planted: a connection and a run of before, as an earlier night would have left them; what the system says of itself.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE TABLE clock_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE clock_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('clock_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone, sync_at, window_end, automatic, enabled_at, enabled_origin)
VALUES ('c-high', 'c-high', 'infinite_campus', 'https://sis.example/', 'https://sis.example/token', 'oauth2', 'id',
    'school', 'clock_people', 'UTC', '19:00', '05:00', true, '2026-08-01', minga_roster_internal.server_origin());
INSERT INTO minga_roster.recipients (connection, email) VALUES ('c-high', 'owner@c-high.example');
INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, finished_at)
VALUES ('c-high', 'c-high', 'sync', 'evening', '2026-08-31', 'succeeded', 'postgres', '2026-08-31 19:00+00',
    '2026-08-31 19:05+00');
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at)
SELECT run, 1, 'c-high', 'student', 'p1', ARRAY['s1'], 'archive', 'absent', 'gone', 'applied', finished_at
FROM minga_roster.runs WHERE connection = 'c-high';
INSERT INTO minga_roster.audit (role, function, connection, called_at, given, site)
VALUES ('postgres', 'roster_sync', 'c-high', '2026-08-31 19:00+00', '{}', 'c-high');
-- A minute of the worker of roster_run_due. The system tells which start of it this is, and how long it has been up.
CREATE FUNCTION pg_temp.minute(boot text, uptime interval) RETURNS TABLE (holds boolean, doubt text, changes bigint,
    audit bigint, missed bigint, queued bigint)
LANGUAGE sql AS $$
    SELECT minga_roster_internal.watch_clock(minga_roster_internal.clock(), boot, uptime);
    SELECT minga_roster_internal.queue_due_runs();
    SELECT minga_roster_internal.apply_retention();
    SELECT minga_roster_internal.clock_holds(), minga_roster_internal.clock_doubt(),
        (SELECT count(*) FROM minga_roster.changes WHERE site = 'c-high'),
        (SELECT count(*) FROM minga_roster.audit WHERE site = 'c-high'),
        (SELECT count(*) FROM minga_roster.runs WHERE connection = 'c-high' AND state_cause = 'evening_missed'),
        (SELECT count(*) FROM minga_roster.runs WHERE connection = 'c-high' AND state = 'queued')
$$;
DELETE FROM minga_roster_internal.clock_seen;
\set clock '2026-09-01 12:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days');
\set clock '2026-09-01 12:01+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 00:01');

-- For a minute it is an evening of 2036: nothing is removed, no evening was missed, none begins, no mail is written.
\set clock '2036-01-01 20:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 00:02');
INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at, created_at,
    origin, site)
SELECT run, connection, 'owner@c-high.example', 'waiting', '', '', '2036-01-01 21:00+00', '2026-09-01 12:00+00',
    minga_roster_internal.server_origin(), site
FROM minga_roster.runs WHERE connection = 'c-high';
-- A mail that waited for ten years by this clock is not given up.
SELECT minga_roster_internal.mark_mail(mail, 'unreachable', 'no answer') FROM minga_roster.outbox
WHERE connection = 'c-high';
SELECT state FROM minga_roster.outbox WHERE connection = 'c-high';
\set clock '2026-09-01 12:03+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 00:03');
SELECT state, next_attempt_at FROM minga_roster.outbox WHERE connection = 'c-high';
SELECT count(*) AS mails FROM minga_roster.outbox WHERE connection = 'c-high';
-- The evening comes as if nothing had been.
\set clock '2026-09-01 19:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 07:00');
UPDATE minga_roster.runs SET state = 'succeeded', finished_at = '2026-09-01 19:01+00'
WHERE connection = 'c-high' AND state = 'queued';
DELETE FROM minga_roster.outbox WHERE connection = 'c-high';

-- Where the clock is set for good, evenings begin after an hour; what was between was not missed. After a day the time
-- is believed, and what is old is removed.
\set clock '2036-01-01 20:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 08:00');
\set clock '2036-01-01 20:59+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 08:59');
\set clock '2036-01-01 21:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '10 days 09:00');
\set clock '2036-01-02 19:59+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '11 days 07:59');
\set clock '2036-01-02 20:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-1', '11 days 08:00');
SELECT evening, state, state_cause FROM minga_roster.runs WHERE connection = 'c-high' ORDER BY run;

-- A server that was off: the evenings were missed, and are told at once. Nothing is removed before another day is over.
DELETE FROM minga_roster.runs WHERE connection = 'c-high';
INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, finished_at)
VALUES ('c-high', 'c-high', 'sync', 'evening', '2036-01-02', 'succeeded', 'postgres', '2036-01-02 19:00+00',
    '2036-01-02 19:05+00');
\set clock '2036-01-06 12:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-2', '00:05');
-- The same system, and only PostgreSQL was off: no doubt.
\set clock '2036-01-10 12:00+00'
\i :set_clock
SELECT * FROM pg_temp.minute('boot-2', '4 days 00:05');
-- Another jump while one is in doubt starts the day again, also one back in time. A system that does not tell proves
-- nothing.
\set clock '2035-01-01 12:00+00'
\i :set_clock
SELECT holds, doubt FROM pg_temp.minute(NULL, NULL);
\set clock '2035-06-01 12:00+00'
\i :set_clock
SELECT holds, doubt FROM pg_temp.minute(NULL, NULL);
\set clock '2035-06-02 12:00+00'
\i :set_clock
SELECT holds, doubt FROM pg_temp.minute(NULL, NULL);
-- Where the minute's look at the clock failed, what it last saw is too old to go by.
\set clock '2035-06-04 12:00+00'
\i :set_clock
SELECT minga_roster_internal.clock_holds();

\set clock ''
\i :set_clock
-- What the system itself says.
SELECT boot <> '' AS tells, uptime > '0' AS is_up FROM minga_roster_internal.system_uptime();
SELECT minga_roster_internal.note_clock();
DELETE FROM minga_roster_internal.clock_seen;
SELECT minga_roster_internal.note_clock();
SELECT minga_roster_internal.clock_holds(), seen_at = believed_at AS believed, boot IS NOT NULL AS tells
FROM minga_roster_internal.clock_seen;
DELETE FROM minga_roster_internal.clock_seen;
DELETE FROM minga_roster.outbox WHERE connection = 'c-high';
DELETE FROM minga_roster.runs WHERE connection = 'c-high';
DELETE FROM minga_roster.audit WHERE site = 'c-high';
DELETE FROM minga_roster.connections WHERE connection = 'c-high';
DELETE FROM minga_roster.people_relations WHERE relation = 'clock_people'::regclass;
DROP TABLE clock_people;
