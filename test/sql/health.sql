-- What stops rostering, told: the checks of roster_health, each by its fault; a time zone that is lost; a connection
-- whose evenings fail. Faults of pg_cron, of files and of the server are in 069_health.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set set_setting :abs_srcdir '/fixtures/set_setting.sql'
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET search_path = public, minga_roster;
\set clock '2026-09-02 02:00:00+00'
\i :set_clock
SELECT string_agg("check", ' ' ORDER BY ordinality) FROM roster_health() WITH ORDINALITY;
-- The last call may be of a test some time ago.
UPDATE minga_roster_internal.heartbeat SET beat_at = now();
CREATE TABLE health_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE health_people OWNER TO regress_people_owner;
INSERT INTO people_relations (relation, columns) VALUES ('health_people', '{}');
INSERT INTO connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people, time_zone,
    automatic, enabled_at, enabled_origin)
SELECT 'h-' || n, 'h-' || n, 'infinite_campus', 'https://sis.example', 'https://sis.example/token', 'oauth2', 'id',
    'school-1', 'health_people', 'America/Denver', true, '2026-08-20', minga_roster_internal.server_origin()
FROM unnest(ARRAY['high', 'low']) n;
SELECT roster_set_secret(connection, 'something') FROM connections WHERE connection LIKE 'h-%';
INSERT INTO recipients (connection, email, send)
SELECT connection, 'owner@' || connection || '.example', 'problems' FROM connections WHERE connection LIKE 'h-%';
INSERT INTO runs (connection, site, kind, trigger, evening, state, requested_by, queued_at, started_at, finished_at,
    reported)
SELECT connection, site, 'sync', 'evening', '2026-08-31', 'succeeded', 'postgres', '2026-09-01 01:00+00',
    '2026-09-01 01:00+00', '2026-09-01 01:02+00', true FROM connections WHERE connection LIKE 'h-%';
-- What is not as it should be, but for pg_cron and the mail server, which this server has no need of.
CREATE FUNCTION faults() RETURNS TABLE ("check" text, detail text, hint text) LANGUAGE sql AS $$
    SELECT h."check", h.detail, h.hint FROM minga_roster.roster_health() h
    WHERE NOT h.ok AND h."check" NOT LIKE 'cron%' AND h.detail NOT LIKE 'no mail can be sent%'
$$;
SELECT * FROM faults();
SELECT "check", detail, hint FROM roster_health() WHERE "check" IN ('cron_job', 'mail');

BEGIN;
UPDATE minga_roster_internal.heartbeat SET beat_at = now() + interval '1 day';
SELECT "check", regexp_replace(detail, '\d{4}-.*', '(then)') AS detail, hint FROM faults();
-- Nothing else blocks, so that is what the connections are told.
SELECT cron.schedule('minga_roster', '0 0 1 1 *', minga_roster_internal.cron_command()) > 0 AS scheduled;
SELECT connection, blocked_code, regexp_replace(blocked_reason, '\d{4}-.*', '(then)') FROM roster_status
    WHERE connection LIKE 'h-%';
ROLLBACK;
BEGIN;
UPDATE minga_roster_internal.heartbeat SET failed_part = 'SELECT something()', failed_sqlstate = '53100',
    failed_at = beat_at;
SELECT * FROM faults();
UPDATE minga_roster_internal.heartbeat SET failed_at = beat_at - interval '6 minutes';
SELECT * FROM faults();
ROLLBACK;
BEGIN;
DELETE FROM secrets WHERE connection = 'h-low';
UPDATE secrets SET sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1)
    WHERE connection = 'h-high';
SELECT * FROM faults();
ROLLBACK;
BEGIN;
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, queued_at)
    VALUES ('h-low', 'h-low', 'sync', 'manual', 'queued', 'postgres', '2026-09-02 01:54+00');
SELECT * FROM faults();
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, queued_at, started_at, pid)
    VALUES ('h-high', 'h-high', 'sync', 'manual', 'running', 'postgres', '2026-09-02 01:54+00', '2026-09-02 01:54+00',
    pg_backend_pid());
SELECT * FROM faults();
UPDATE runs SET pid = 0 WHERE state = 'running' AND connection = 'h-high';
SELECT * FROM faults();
ROLLBACK;
BEGIN;
INSERT INTO outbox (run, connection, site, email, subject, body_text, body_html, state, next_attempt_at, created_at,
    origin)
SELECT 910000100 + n, 'h-low', 'h-low', 'x@h.example', '', '', '', state, '2026-09-02', created_at,
    minga_roster_internal.server_origin()
FROM (VALUES (1, 'waiting', timestamptz '2026-09-02 00:30+00'), (2, 'failed', '2026-09-01 22:00+00')) v (n, state,
    created_at);
DELETE FROM recipients WHERE connection LIKE 'h-%';
SELECT * FROM faults();
DELETE FROM outbox WHERE run = 910000101;
SELECT * FROM faults();
-- Who sent a test mail, has been told.
INSERT INTO runs (run, connection, site, kind, trigger, state, requested_by, queued_at, started_at, finished_at)
SELECT 910000102, 'h-low', 'h-low', 'mail', 'manual', 'succeeded', 'postgres', at, at, at
FROM (VALUES (timestamptz '2026-09-01 22:00+00')) t (at);
SELECT * FROM faults();
DELETE FROM runs WHERE run = 910000102;
INSERT INTO minga_roster_internal.mail_server
VALUES (true, '', 'login', '535 no such user x@h.example', '2026-09-02 01:00+00', 3, '2026-09-02 03:00+00');
SELECT * FROM faults();
SELECT value FROM roster_metrics WHERE figure = 'mail_server_failing';
ROLLBACK;
BEGIN;
UPDATE connections SET paused_cause = 'run_undone', paused_reason = 'run 1 was undone' WHERE connection = 'h-low';
UPDATE connections SET enabled_origin = '1/1' WHERE connection = 'h-high';
SELECT * FROM faults();
ROLLBACK;
BEGIN;
UPDATE connections SET credentials_expire = '2026-10-01' WHERE connection = 'h-low';
UPDATE runs SET finished_at = '2026-08-31 13:59+00' WHERE connection = 'h-low';
DELETE FROM runs WHERE connection = 'h-high';
SELECT * FROM faults();
ROLLBACK;
-- Names are counted from the sixth on.
SELECT minga_roster_internal.some_names(ARRAY['a', 'b', 'c', 'd', 'e']),
    minga_roster_internal.some_names(ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g']),
    minga_roster_internal.some_names(ARRAY['a']), minga_roster_internal.some_names('{}'),
    minga_roster_internal.some_names(NULL);

-- People: gone, of a superuser, without a key under a publication: of all tables, of a schema, of updates alone; below
-- a view, and in a partition.
SET client_min_messages = error;
BEGIN;
ALTER TABLE health_people OWNER TO CURRENT_USER;
SELECT * FROM faults();
DROP TABLE health_people;
SELECT * FROM faults();
ROLLBACK;
BEGIN;
CREATE PUBLICATION health_all FOR ALL TABLES;
SELECT * FROM faults();
ALTER TABLE health_people REPLICA IDENTITY FULL;
SELECT * FROM faults();
ALTER TABLE health_people REPLICA IDENTITY NOTHING;
SELECT "check" FROM faults();
ALTER PUBLICATION health_all SET (publish = 'insert, truncate');
SELECT * FROM faults();
ROLLBACK;
BEGIN;
CREATE PUBLICATION health_schema FOR TABLES IN SCHEMA public;
SELECT "check" FROM faults();
ALTER TABLE health_people ADD PRIMARY KEY (site, person_id);
SELECT * FROM faults();
ROLLBACK;
BEGIN;
CREATE TABLE health_parts (LIKE health_people) PARTITION BY LIST (site);
CREATE TABLE health_part PARTITION OF health_parts DEFAULT;
CREATE VIEW health_view AS SELECT * FROM health_parts;
ALTER VIEW health_view OWNER TO regress_people_owner;
INSERT INTO people_relations (relation, columns) VALUES ('health_view', '{}');
CREATE PUBLICATION health_parts FOR TABLE health_parts;
SELECT * FROM faults();
ROLLBACK;
RESET client_min_messages;

-- A time zone is stored by the name that systems keep.
SELECT n, minga_roster_internal.known_time_zone(n)
FROM unnest(ARRAY['US/Mountain', 'us/eastern', 'EST5EDT', 'America/Indianapolis', 'Navajo', 'America/Phoenix']) n;
SELECT n, minga_roster_internal.lasting_zone(n)
FROM unnest(ARRAY['posix/America/Denver', 'posix/US/Mountain', 'posix/US/Gone']) n;
-- Names that stand for whatever the system says are no place.
\set VERBOSITY sqlstate
SELECT minga_roster_internal.known_time_zone('localtime');
SELECT minga_roster_internal.known_time_zone('posixrules');
SELECT minga_roster_internal.known_time_zone('Factory');
\set VERBOSITY default
-- One that is lost: told once, with what to install; what was recorded is still readable.
BEGIN;
SELECT cron.schedule('minga_roster', '0 0 1 1 *', minga_roster_internal.cron_command()) > 0 AS scheduled;
UPDATE connections SET time_zone = 'US/Gone' WHERE connection = 'h-low';
SELECT * FROM faults();
SELECT minga_roster_internal.record_lost_zones();
SELECT minga_roster_internal.record_lost_zones();
SELECT minga_roster_internal.post_evening_reports();
SELECT connection, evening, state, state_cause, sqlstate, error, detail, hint, reported FROM runs
    WHERE state_cause = 'time_zone_lost';
SELECT email, subject, regexp_replace(body_text, 'Run:( +)\d+', 'Run:\1N') AS body FROM outbox
    WHERE connection = 'h-low';
SELECT blocked_code, blocked_reason FROM roster_status WHERE connection = 'h-low';
SELECT split_part(roster_report(min(run)), E'\n', 1) FROM runs WHERE connection = 'h-low';
SELECT day, people FROM roster_changes_by_day WHERE connection = 'h-low';
-- Once it is there again, its loss may be told again.
UPDATE connections SET time_zone = 'America/Denver' WHERE connection = 'h-low';
SELECT minga_roster_internal.record_lost_zones();
SELECT evening, is_due FROM minga_roster_internal.evenings() WHERE connection = 'h-low';
SELECT count(*) FROM runs WHERE state_cause = 'time_zone_lost';
ROLLBACK;

-- Evenings that fail pause a connection: as many as minga_roster.pause_after says, one after the other.
CREATE FUNCTION public.fail(name text, evening date, sqlstate text DEFAULT '28P01', cause text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    failed bigint;
BEGIN
    INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, state_cause, requested_by,
        queued_at, started_at, finished_at, sqlstate, error)
    VALUES (name, name, 'sync', 'evening', evening, 'failed', cause, 'postgres', evening + time '02:00',
        evening + time '02:00', evening + time '02:01', sqlstate, 'the SIS rejected the login')
    RETURNING run INTO failed;
    PERFORM minga_roster_internal.post_report(failed);
    RETURN (SELECT coalesce(c.paused_reason, 'goes on') FROM minga_roster.connections c WHERE c.connection = name);
END
$$;
BEGIN;
SELECT fail('h-low', '2026-09-01');
SELECT fail('h-low', '2026-09-02');
SELECT fail('h-low', '2026-09-02') AS "another try of that evening";
SELECT fail('h-low', '2026-09-03', '55000', 'evening_missed') AS missed;
SELECT fail('h-low', '2026-09-03', '53100') AS "disk full";
SELECT fail('h-low', '2026-09-03', '08006') AS third;
SELECT automatic, paused_cause, paused_reason FROM connections WHERE connection = 'h-low';
SELECT subject FROM outbox WHERE connection = 'h-low' ORDER BY mail;
SELECT regexp_replace(body_text, 'Run:( +)\d+', 'Run:\1N') AS body FROM outbox WHERE connection = 'h-low'
    ORDER BY mail DESC LIMIT 1;
SELECT blocked_code, blocked_reason, next_evening FROM roster_status WHERE connection = 'h-low';
SELECT "check", detail, hint FROM faults() WHERE "check" = 'paused';
SELECT runs_here, is_due FROM minga_roster_internal.evenings() WHERE connection = 'h-low';
-- The report of an earlier evening does not say so.
SELECT r.evening, minga_roster_internal.report_subject(r.run) FROM runs r
    WHERE connection = 'h-low' AND state = 'failed' ORDER BY run LIMIT 1;
-- As it is turned on again, counting starts again.
UPDATE connections SET paused_cause = NULL, paused_reason = NULL, enabled_at = '2026-09-04'
    WHERE connection = 'h-low';
SELECT fail('h-low', '2026-09-04'), fail('h-low', '2026-09-05');
-- So it does after a sync that succeeds.
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, queued_at, started_at, finished_at)
VALUES ('h-low', 'h-low', 'sync', 'manual', 'succeeded', 'postgres', '2026-09-05 20:00+00', '2026-09-05 20:00+00',
    '2026-09-05 20:02+00');
SELECT fail('h-low', '2026-09-06'), fail('h-low', '2026-09-07');
SELECT fail('h-low', '2026-09-08');
ROLLBACK;
\set setting pause_after
\set value 0
\i :set_setting
BEGIN;
SELECT max(fail('h-low', day::date)) FROM generate_series(timestamp '2026-09-01', '2026-09-09', '1 day') day;
ROLLBACK;
\set value 1
\i :set_setting
BEGIN;
SELECT fail('h-low', '2026-09-01');
ROLLBACK;
\set value 3
\i :set_setting
ALTER SYSTEM RESET minga_roster.pause_after;

-- What is announced of a run's end.
SELECT minga_roster_internal.end_of_run(r, false), minga_roster_internal.end_of_run(r, true)
FROM (SELECT (jsonb_populate_record(x, '{"run": 7, "created": 3, "archived": 0}')).* FROM runs x
    WHERE connection = 'h-low') r;

\set clock ''
\i :set_clock
DROP FUNCTION fail, faults;
DELETE FROM runs WHERE connection LIKE 'h-%';
DELETE FROM outbox WHERE connection LIKE 'h-%';
DELETE FROM secrets WHERE connection LIKE 'h-%';
DELETE FROM connections WHERE connection LIKE 'h-%';
DELETE FROM people_relations WHERE relation = 'health_people'::regclass;
DROP TABLE health_people;
