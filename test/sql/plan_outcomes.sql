-- Nothing is dropped in silence: each staged user has one outcome, and their sum is the number of users staged.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true);
SELECT toggle(roster => false, category => 'admin');
INSERT INTO people (site, role, given_name, family_name, identifier, archived_at) VALUES
    ('north', 'student', 'Ana', 'Lee', '1', NULL), ('north', 'student', 'Bo', 'Ray', '2', '2026-01-01'),
    ('north', 'student', 'Cy', 'Dow', '3', '2026-01-01'), ('north', 'owner', 'Di', 'Fox', '4', NULL);
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1'), stage('s2', 'student', 'Bo', 'Ray', identifier => '2'),
    stage('s3', 'student', 'Cy', 'Dow', identifier => '3', enabled => false),
    stage('s4', 'student', 'New', 'Inactive', status => 'inactive'), stage('s5', 'student', 'Only', NULL),
    stage('s6', 'student', 'Bad', 'Row', damaged => true), stage('s7', 'student', 'Odd', 'Status', status => 'pending'),
    stage('s8', 'student', 'Gone', 'Away', status => 'tobedeleted'),
    stage('t4', 'teacher', 'Di', 'Fox', identifier => '4'), stage('a1', 'administrator', 'Off', 'Off'),
    stage('g1', 'guardian', 'Gil', 'One'), stage('x1', 'sysadmin', 'Sys', 'Admin'), stage('n1', NULL, 'No', 'Role'),
    stage('i1', 'aide', 'Ed', 'Gum', username => 'ed'), stage('t1', 'teacher', 'Ed', 'Gum', username => 'ed'),
    stage('a2', 'administrator', 'Off', 'Damaged', damaged => true),
    stage('g2', 'guardian', 'Bad', 'Guardian', damaged => true), stage('n2', NULL, 'Bad', 'Role', damaged => true),
    stage('s9', 'student', 'Act', 'Ive', status => 'active');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT (SELECT sum(count) FROM run_counts WHERE run = last_run()) = (SELECT count(*) FROM staged_users
    WHERE connection = 'north');
SELECT created, linked, updated, restored, archived, held, unchanged, skipped, conflicts, rejects FROM runs
    WHERE run = last_run();
SELECT again();
SELECT outcomes();
SELECT created, linked, updated, restored, archived, held, unchanged, skipped, conflicts, rejects FROM runs
    WHERE run = last_run();
-- a row that lacks a name updates whom it is linked to
SELECT stage('s1', 'student', NULL, 'Leeds', identifier => '1'), stage('s2', 'student', NULL, NULL, grade => '9');
SELECT FROM run_merge();
SELECT * FROM shown() WHERE action = 'update';
-- an inactive row is updated, and matched
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'student', 'Hal', 'Ivy', '9');
SELECT stage('s2', 'student', 'Bo', 'Ray', grade => '10', enabled => false),
    stage('s10', 'student', 'Hal', 'Ivy', identifier => '9', status => 'inactive');
SELECT FROM run_merge();
SELECT * FROM shown() WHERE action IN ('update', 'link');
-- without a sourcedId: a reject outside the sum, and absence is not proved
SELECT toggle(roster => true, archive => true);
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, is_full)
    VALUES ('north', 'north', 'preview', 'manual', 'running', 'test', true);
INSERT INTO collections (run, collection, family, complete, proof, rows, distinct_ids, without_id)
SELECT last_run(), c, f, true, 'total', 20, 19, w
    FROM (VALUES ('students', 'student', 1), ('teachers', 'staff', 0), ('administrators', 'staff', 0)) v (c, f, w);
SELECT unstage('s1', 't1', 'i1');
SELECT FROM merge_as_worker(last_run());
SELECT ids, action FROM shown() WHERE action = 'archive';
SELECT rejects, (SELECT sum(count) FROM run_counts c WHERE c.run = r.run AND c.action = 'reject') FROM runs r
    WHERE run = last_run();
-- outcomes that do not add up are an error, and no one is changed: a linked id listed twice, a new one listed twice
SELECT clear();
SELECT stage('s1', 'student', 'Ann', 'Lee', identifier => '1');
SELECT FROM run_merge();
INSERT INTO staged_users SELECT * FROM staged_users WHERE sourced_id = 's1';
SELECT FROM run_merge();
DELETE FROM staged_users WHERE connection = 'north';
SELECT stage('s1', 'student', 'Ann', 'Lee', identifier => '1'), stage('s2', 'student', 'Bo', 'Ray', identifier => '2');
INSERT INTO staged_users SELECT * FROM staged_users WHERE sourced_id = 's2';
SELECT FROM run_merge();
SELECT given_name FROM people;
\set ECHO none
\i :fixture_end
