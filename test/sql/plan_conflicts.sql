-- Conflicts: a person who is not certain is present and unchanged, and so is everyone named beside that person.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ana', 'Lee', '1', 'ana@x.example'), ('north', 'student', 'Bo', 'Ray', '2', NULL),
    ('north', 'student', 'Bo', 'Ray', '2', NULL),
    ('north', 'student', 'Cy', 'Dow', '3', NULL), ('north', 'student', 'Di', 'Fox', NULL, 'di@x.example'),
    ('north', 'student', 'Ed', 'Gum', '55', 'ed@x.example');
-- a name vetoes only when both differ
SELECT stage('s1', 'student', 'Zoe', 'Other', identifier => '1');
-- several candidates
SELECT stage('s2', 'student', 'Bo', 'Ray', identifier => '2');
-- several rows for one person
SELECT stage('s3', 'student', 'Cy', 'Dow', identifier => '3'), stage('s4', 'student', 'Cyd', 'Dow', identifier => '3');
-- by e-mail: both names differ; another identifier
SELECT stage('s5', 'student', 'Xi', 'Yu', email => 'di@x.example');
SELECT stage('s6', 'student', 'Ed', 'Gum', identifier => '6', email => 'ed@x.example');
SELECT FROM run_merge();
SELECT sourced_ids, person_id, rule, reason, state FROM changes WHERE run = last_run() ORDER BY change;
SELECT outcomes();
SELECT linked();
SELECT again();
SELECT stage('s1', 'student', 'Zoe', 'Lee', identifier => '1'), unstage('s4'),
    stage('s5', 'student', 'Di', 'Yu', email => 'di@x.example');
SELECT FROM run_merge();
SELECT * FROM shown() WHERE action <> 'conflict';

-- a candidate linked to another row: the new row is in conflict, and the linked one goes on
SELECT clear();
SELECT toggle(auto_update => true);
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', email => 'ana@x.example'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '2');
SELECT FROM run_merge();
SELECT stage('s1b', 'student', 'Ana', 'Other', identifier => '1'),
    stage('s2', 'student', 'Bob', 'Ray', identifier => '2'), stage('s2b', 'student', 'Rob', 'Roy', identifier => '2');
SELECT FROM run_merge();
SELECT sourced_ids, person_id, rule, reason, state FROM changes WHERE run = last_run() ORDER BY change;
SELECT outcomes();
SELECT given_name FROM people ORDER BY person_id;
-- named in a conflict: never archived
SELECT toggle(archive => true);
SELECT FROM roster_configure('north', guard_percent => 100);
SELECT stage('s9', 'student', 'Cy', 'Dow', identifier => '9'), stage('s8', 'student', 'Di', 'Fox', identifier => '8'),
    stage('s7', 'student', 'Ed', 'Gum', identifier => '7');
SELECT unstage('s1b', 's2b');
SELECT FROM run_merge();
SELECT unstage('s1'), stage('s1b', 'student', 'Ana', 'Lee', identifier => '11', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT archived_at FROM people WHERE identifier = '1';
SELECT stage('s1b', 'student', 'Ana', 'Lee', identifier => '11', email => 'ana@x.example', status => 'tobedeleted');
SELECT FROM run_merge();
SELECT * FROM shown();
-- student and staff by one link
SELECT clear();
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'student', 'Ana', 'Lee');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    VALUES ('north', 'x1', 'north', 'P1', 'student', 'new', 1);
SELECT stage('x1', 'teacher', 'Ana', 'Lee');
SELECT FROM run_merge();
SELECT sourced_ids, person_id, rule, reason, state FROM changes WHERE run = last_run() ORDER BY change;
-- a new row in the other family is a new person
SELECT clear();
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', identifier => '1', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT * FROM shown();
\set ECHO none
\i :fixture_end
