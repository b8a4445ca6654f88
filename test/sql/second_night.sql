-- Twice is once: what one night leaves behind must not let the next one know better, and a preview's apply does as much
-- as a sync.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all
-- A teacher could be someone by e-mail who has another number, and another one of the staff has the teacher's number:
-- with it the other one would be taken for the teacher tomorrow.
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'teacher', 'Ed', 'Ray', 'N7', 'm3@x.example');
SELECT stage('t1', 'teacher', 'Ed', 'Ray', identifier => 'N8', email => 'm3@x.example', username => 'one'),
    stage('a2', 'administrator', 'Ana', 'Fox', identifier => 'n8', username => 'two'),
    stage('s2', 'student', 'Bo', 'Lee', identifier => 'N8');
SELECT FROM run_merge();
SELECT action, ids, person, rule, state FROM shown();
SELECT conflict, reason FROM changes WHERE run = last_run() AND sourced_ids = '{a2}';
SELECT outcomes();
SELECT again();
-- once it is settled who the teacher is, the new one is new
SELECT roster_decide('north', 't1', 'new person');
SELECT FROM run_merge();
SELECT action, ids, person, state FROM shown();
SELECT again();
-- the same with someone known who would get the identifier
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT stage('a2', 'administrator', 'Ana', 'Fox', username => 'two');
SELECT FROM run_merge();
INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'teacher', 'Ed', 'Ray', 'N7', 'm3@x.example');
SELECT stage('t3', 'teacher', 'Ed', 'Ray', identifier => 'N8', email => 'm3@x.example', username => 'one'),
    stage('a2', 'administrator', 'Ana', 'Fox', identifier => 'N8', username => 'two');
SELECT FROM run_merge();
SELECT action, ids, person, rule, state FROM shown();
SELECT again();

-- A list that an applied preview found someone in, and that is empty since, proves no one's absence, however often it
-- is.
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s1', 'student', 'Sam', 'Day'), stage('s2', 'student', 'Sue', 'Day'),
    stage('t1', 'teacher', 'Tess', 'Lee');
SELECT FROM run_merge('preview');
SELECT FROM run_merge('apply', last_run());
SELECT unstage('s1', 's2');
SELECT FROM run_merge();
SELECT linked();
SELECT again();
SELECT linked();

-- Undo of a restore puts values back that are the SIS's unless edited: no one has edited them.
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT roster_set_column_owner('north', 'grade', 'sis unless edited');
SELECT stage('s1', 'student', 'Sam', 'Day', grade => '4');
SELECT FROM run_merge();
UPDATE people SET archived_at = '2026-01-01';
SELECT stage('s1', 'student', 'Sam', 'Day', grade => '5');
SELECT FROM run_merge();
SELECT FROM run_merge('undo', last_run());
SELECT grade, archived_at FROM people;
SELECT FROM run_merge();
SELECT action, ids, before, after FROM shown();

-- A further row of someone whose linked row is of a category that is off: the apply of a preview links it as a sync
-- would.
SELECT clear();
SELECT stage('a1', 'aide', 'Tess', 'Lee', username => 'tess');
SELECT FROM run_merge();
SELECT toggle(roster => false, category => 'staff');
SELECT stage('t9', 'teacher', 'Tess', 'Lee', username => 'tess');
SELECT FROM run_merge('preview');
SELECT action, ids, person, rule, state FROM shown();
SELECT FROM run_merge('apply', last_run());
SELECT linked();
SELECT again();
\set ECHO none
\i :fixture_end
