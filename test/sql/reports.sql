-- What a report says of each kind of run and outcome, and whom it never names.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\pset format unaligned
\pset tuples_only on
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE TABLE report_people (site text, person_id text, role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE report_people OWNER TO regress_people_owner;
INSERT INTO minga_roster.people_relations (relation, columns) VALUES ('report_people', '{}');
INSERT INTO minga_roster.connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
    time_zone,
    automatic, enabled_at, enabled_origin, unproven)
VALUES ('r-high', '<r & "site">', 'infinite_campus', 'https://sis.example', 'https://sis.example/token', 'oauth2', 'id',
    'school-1', 'report_people',
    'America/Denver', true, '2026-08-01', minga_roster_internal.server_origin(), false);
\set clock '2026-09-02 01:10:00+00'
\i :set_clock
-- Numbers far from those of other tests.
CREATE FUNCTION pg_temp.run(number bigint, kind text, state text, evening date DEFAULT NULL, phase text DEFAULT NULL,
    of_run bigint DEFAULT NULL,
    code text DEFAULT NULL, error text DEFAULT NULL, detail text DEFAULT NULL, hint text DEFAULT NULL,
    cause text DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO minga_roster.runs (run, connection, site, kind, trigger, evening, state, phase, of_run, requested_by,
        queued_at, started_at, finished_at, sqlstate, state_cause,
        error, detail, hint)
    VALUES (number, 'r-high', '<r & "site">', kind, CASE WHEN evening IS NULL THEN 'manual' ELSE 'evening' END, evening,
    state, phase, of_run, 'dba',
        '2026-09-02 01:00+00', CASE WHEN state <> 'queued' THEN timestamptz '2026-09-02 01:00+00' END,
        CASE WHEN state NOT IN ('queued', 'running') THEN timestamptz '2026-09-02 01:01:40+00' END, code, cause,
        error, detail, hint)
$$;

-- A quiet evening.
SELECT pg_temp.run(900000001, 'sync', 'succeeded', '2026-09-01');
UPDATE minga_roster.runs SET pages = 3, rows_staged = 1520 WHERE run = 900000001;
INSERT INTO minga_roster.run_counts VALUES (900000001, 'student', 'unchanged', 1400),
    (900000001, 'teacher', 'unchanged', 99), (900000001, 'none', 'ignore', 21), (900000001, 'admin', 'create', 0);
INSERT INTO minga_roster.collections (run, collection, family, complete, proof)
    VALUES (900000001, 'students', 'student', true, 'total');
SELECT minga_roster.roster_report(900000001);

-- An evening with everything: archives that are held, conflicts, rejects, a collection that was not read whole,
-- credentials that end soon.
SELECT pg_temp.run(900000002, 'sync', 'succeeded', '2026-09-02');
UPDATE minga_roster.runs SET created = 4, updated = 2, held = 12, conflicts = 3, rejects = 1, pages = 1, rows_staged = 1
    WHERE run = 900000002;
INSERT INTO minga_roster.run_counts
SELECT 900000002, category, action, count
    FROM (VALUES ('student', 'create', 4), ('student', 'held', 11), ('teacher', 'held', 1), ('student', 'conflict', 2),
    ('teacher', 'conflict', 1), ('student', 'reject', 1), ('teacher', 'update', 2),
    ('contact', 'contact', 12345)) v (category, action, count);
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at, state_reason, before, after)
SELECT 900000002, n, 'r-site', CASE WHEN n > 11 THEN 'teacher' ELSE 'student' END, 'p' || n, ARRAY['secret-' || n],
    'archive', 'absent', 'gone from the roster', 'held', now(),
    CASE WHEN n > 11 THEN '1 of 2 active linked teachers would go; half of a category of four or more is held'
    ELSE '11 of 40 active linked students would go, 10% and 5 is the limit of this connection' END,
    '{"given_name": "Secretia"}', '{"archived_at": "now"}' FROM generate_series(1, 12) n;
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at, before, after)
VALUES (900000002, 21, 'r-site', 'student', 'p21', '{secret-21}', 'conflict', 'identifier',
    'several people have the identifier', 'noted', now(), '{"email": "secret@mesa.example"}', '{}'),
    (900000002, 22, 'r-site', 'student', 'p22', '{secret-22}', 'conflict', 'identifier',
    'several people have the identifier', 'noted', now(), '{}', '{}'),
    (900000002, 23, 'r-site', 'teacher', NULL, '{secret-23}', 'conflict', 'group',
    'two rows of one role share a username or an identifier, and nothing tells them apart', 'noted', now(), '{}', '{}'),
    (900000002, 24, 'r-site', NULL, NULL, '{secret-24}', 'reject', 'name', 'a <name> is missing & "nobody" is made',
    'noted', now(), '{}', '{}');
INSERT INTO minga_roster.collections (run, collection, family, complete, proof, detail)
VALUES (900000002, 'students', 'student', true, 'total', NULL),
    (900000002, 'administrators', 'staff', false, NULL, 'The server answered 403 Forbidden, and so did the fallback'),
    (900000002, 'guardians', 'contact', true, 'weak', NULL);
UPDATE minga_roster.connections SET credentials_expire = '2026-10-01', unproven = true WHERE connection = 'r-high';
UPDATE minga_roster.connections SET school_name = 'Mesa <High>' WHERE connection = 'r-high';
SELECT minga_roster.roster_report(900000002);
SELECT part FROM minga_roster_internal.report_parts(900000002);
SELECT m[1] AS title FROM regexp_matches(minga_roster.roster_report_html(900000002), '<title>(.*)</title>') m;
SELECT minga_roster_internal.report_subject(900000002);

-- Credentials that have ended, a copy of the database, and held archives that were decided since.
UPDATE minga_roster.connections SET credentials_expire = '2026-08-31', unproven = false, enabled_origin = '1/1'
    WHERE connection = 'r-high';
UPDATE minga_roster.changes SET state = 'applied', state_reason = 'Approved by run 900000003.',
    state_cause = 'approved', done_by = 900000003 WHERE run = 900000002 AND change <= 8;
UPDATE minga_roster.changes SET state = 'refused', state_reason = 'The roster lists the person again.'
    WHERE run = 900000002 AND change BETWEEN 9 AND 10;
UPDATE minga_roster.changes SET state = 'expired', state_reason = NULL WHERE run = 900000002 AND change = 11;
-- Archived, and refused, by the sync itself.
UPDATE minga_roster.changes SET state = 'applied', state_reason = NULL WHERE run = 900000002 AND change = 12;
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at, state_reason)
VALUES (900000002, 13, 'r-site', 'student', 'p13', '{secret-13}', 'update', 'linked', 'The roster has other values.',
    'refused', '2026-09-02 01:01+00', 'The person was changed in the meantime.');
DELETE FROM minga_roster.changes WHERE run = 900000002 AND change > 20;
UPDATE minga_roster.runs SET conflicts = 0, rejects = 0 WHERE run = 900000002;
DELETE FROM minga_roster.run_counts WHERE run = 900000002;
DELETE FROM minga_roster.collections WHERE run = 900000002;
SELECT minga_roster.roster_report(900000002);
UPDATE minga_roster.connections SET credentials_expire = '2026-10-02',
    enabled_origin = minga_roster_internal.server_origin() WHERE connection = 'r-high';

-- The approval of them.
SELECT pg_temp.run(900000003, 'approve', 'succeeded', of_run => 900000002);
SELECT minga_roster.roster_report(900000003);

-- Failures: ours as they are; of the database, while people are written, without what could be a person's values.
SELECT pg_temp.run(900000004, 'sync', 'failed', phase => 'fetch', code => '28000',
    error => 'the SIS does not accept the client secret',
    detail => 'The token endpoint answered 401 with "invalid_client".', hint => 'The school: make a new secret.');
SELECT minga_roster.roster_report(900000004);
SELECT pg_temp.run(900000005, 'sync', 'failed', phase => 'apply', code => '23505',
    error => 'could not write to the people relation "report_people"',
    detail => 'The statement failed with SQLSTATE 23505; its text may hold data of people and is '
        'left out. Constraint "people_email".');
SELECT minga_roster.roster_report(900000005);
SELECT pg_temp.run(900000006, 'sync', 'failed', phase => 'apply', code => 'P0001',
    error => 'could not write to the people relation "report_people"',
    detail => 'The statement failed with SQLSTATE P0001; its text may hold data of people and is left out.');
SELECT minga_roster.roster_report(900000006);
SELECT pg_temp.run(900000007, 'sync', 'failed', phase => 'plan', code => '22P02',
    error => 'a statement of the run failed',
    detail => 'Its text may hold data of people and is left out.');
SELECT minga_roster.roster_report(900000007);
SELECT count(*) AS leaks FROM generate_series(900000001, 900000007) n
CROSS JOIN LATERAL (VALUES (minga_roster.roster_report(n)), (minga_roster.roster_report_html(n)),
    (minga_roster_internal.report_subject(n))) r (report)
WHERE report ~* 'secret(ia|@|-)|"secret"';
SELECT pg_temp.run(900000008, 'sync', 'failed', '2026-09-01', 'fetch', code => '08001',
    error => 'could not connect to the SIS');
DELETE FROM minga_roster.runs WHERE run = 900000001;
SELECT minga_roster.roster_report(900000008);
SELECT pg_temp.run(900000009, 'sync', 'failed', '2026-08-30', code => '55000', cause => 'evening_missed',
    error => 'evening missed', detail => 'No sync of "r-high" began between then and then.', hint => 'See the log.');
SELECT minga_roster.roster_report(900000009);

-- Other kinds and states.
SELECT pg_temp.run(900000010, 'preview', 'succeeded');
INSERT INTO minga_roster.run_counts VALUES (900000010, 'student', 'create', 3), (900000010, 'student', 'held', 1);
INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state,
    state_at)
VALUES (900000010, 1, 'r-site', 'student', 'p1', '{s1}', 'archive', 'absent', 'gone from the roster', 'held', now());
SELECT minga_roster.roster_report(900000010);
SELECT pg_temp.run(900000011, 'fetch', 'succeeded');
SELECT minga_roster.roster_report(900000011);
SELECT pg_temp.run(900000012, 'test', 'succeeded');
INSERT INTO minga_roster.run_steps VALUES (900000012, 1, 'url', true, 'https://sis.example', NULL, '1 ms'),
    (900000012, 2, 'dns', true, NULL, NULL, '1 ms');
SELECT minga_roster.roster_report(900000012);
UPDATE minga_roster.run_steps SET ok = false, detail = 'The name "sis.example" is not known.',
    hint = 'The school: check the URL, or ask the SIS vendor whether the name is the right one.' WHERE run = 900000012
    AND step = 'dns';
INSERT INTO minga_roster.run_steps VALUES (900000012, 3, 'tls', NULL, NULL, NULL, NULL);
SELECT minga_roster.roster_report(900000012);
SELECT pg_temp.run(900000013, 'sync', 'canceled', error => 'canceled while running', code => '57014');
SELECT minga_roster.roster_report(900000013);
SELECT pg_temp.run(900000014, 'sync', 'running');
SELECT minga_roster.roster_report(900000014);
SELECT pg_temp.run(900000015, 'sync', 'queued');
SELECT minga_roster.roster_report(900000015);
-- One without an error text, and of a connection that is no longer known.
SELECT pg_temp.run(900000016, 'sync', 'failed');
UPDATE minga_roster.runs SET connection = 'r-gone' WHERE run = 900000016;
SELECT minga_roster.roster_report(900000016);
SELECT minga_roster_internal.report_subject(n) FROM generate_series(900000008, 900000016) n;

SELECT count(*) AS too_long FROM generate_series(900000002, 900000016) n,
    unnest(string_to_array(minga_roster.roster_report(n), E'\n')) line WHERE length(line) > 78;
SELECT minga_roster_internal.wrapped('', 10), minga_roster_internal.wrapped('one two three fourfivesixseven eight', 10);
SELECT minga_roster_internal.duration_in_words(d)
    FROM unnest(ARRAY['0.2 s', '59.9 s', '1 min', '61 min', '26 h']::interval[]) d;
SELECT minga_roster.roster_report(900000017);
SELECT minga_roster.roster_report_html(NULL);

\set clock ''
\i :set_clock
DELETE FROM minga_roster.runs WHERE run > 900000000;
DELETE FROM minga_roster.connections WHERE connection = 'r-high';
DELETE FROM minga_roster.people_relations WHERE relation = 'report_people'::regclass;
DROP TABLE report_people;
