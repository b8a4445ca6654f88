-- The primary parent contact: guardian or parent before relative, then the order of agents; written as one unit.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT stage('g1', 'guardian', 'Gil', 'One', email => 'gil@x.example', phone => '1'),
    stage('g2', 'parent', 'Pat', 'Two'), stage('r3', 'relative', 'Rio', 'Three'),
    stage('g4', 'guardian', 'Bad', 'Row', damaged => true),
    stage('g5', 'guardian', 'Del', 'Eted', status => 'tobedeleted'),
    stage('g6', 'guardian', NULL, NULL, email => 'x@x.example'),
    stage('g7', 'guardian', NULL, 'Only', email => 'only@x.example');
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{r3,g2,g1}'),
    stage('s2', 'student', 'Bo', 'Day', agents => '{r3}'), stage('s3', 'student', 'Cy', 'Day', agents => '{g5,g6,g1}'),
    stage('s4', 'student', 'Di', 'Day', agents => '{g4,g1}'), stage('s5', 'student', 'Ed', 'Day'),
    stage('s6', 'student', 'Flo', 'Day', agents => '{g7,nobody}'),
    stage('t1', 'teacher', 'Tea', 'Day', agents => '{g1}');
-- off by default
SELECT FROM run_merge('preview');
SELECT ids, after FROM shown() WHERE ids = 's1';
SELECT FROM roster_configure('north', parent_contact => true);
SELECT FROM run_merge();
SELECT ids, after FROM shown();
SELECT outcomes();
SELECT again();
-- as the other columns: skipped without auto update; the unit is replaced, and what the new contact lacks is cleared
SELECT stage('s1', 'student', 'Ana', 'Day', agents => '{g1}'), stage('s3', 'student', 'Cy', 'Day', agents => '{g2}');
SELECT again();
SELECT outcomes();
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
-- a contact that is no longer named clears nothing
SELECT stage('s3', 'student', 'Cy', 'Day');
SELECT again();
SELECT parent_name, parent_email, parent_phone, parent_rule FROM people ORDER BY person_id;
-- an agent who could not be read might come first
INSERT INTO unread VALUES ('guardians');
SELECT stage('s2', 'student', 'Bo', 'Day', agents => '{r3,gone}'), stage('r3', 'relative', 'Rhea', 'Three');
SELECT again();
SELECT stage('s2', 'student', 'Bo', 'Day', agents => '{r3}');
SELECT FROM run_merge();
SELECT * FROM shown();
\set ECHO none
\i :fixture_end
