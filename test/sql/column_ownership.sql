-- Whose a column is: the SIS's, the school's own, or the SIS's unless edited here.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
SELECT FROM roster_configure('north', parent_contact => true);
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
SELECT roster_set_column_owner('north', 'phone', 'local'), roster_set_column_owner('north', 'grade',
    'sis unless edited'), roster_set_column_owner('north', 'parent_contact', 'sis unless edited');
SELECT column_name, owner FROM column_owners ORDER BY 1;
SELECT stage('g1', 'guardian', 'Gil', 'One', email => 'gil@x.example'),
    stage('g2', 'guardian', 'Gia', 'Two', email => 'gia@x.example');
SELECT stage('s1', 'student', 'Ana', 'Day', identifier => '1', grade => '09', phone => '1', agents => '{g1}'),
    stage('s2', 'student', 'Bo', 'Day', identifier => '2', grade => '09', phone => '2', agents => '{g1}');
INSERT INTO people (site, role, given_name, family_name, identifier, grade)
    VALUES ('north', 'student', 'Bo', 'Day', '2', 'nine');
-- to a new person all is written; to one who is found, what is not the school's own
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
SELECT again();
-- the SIS goes on: the school's own stays, the rest follows
SELECT stage('s1', 'student', 'Ana', 'Day', identifier => '1', grade => '10', phone => '11', agents => '{g2}'),
    stage('s2', 'student', 'Bo', 'Day', identifier => '2', grade => '10', phone => '22', agents => '{g2}');
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
SELECT outcomes();
SELECT again();
-- edited here since: kept, until the value is what a sync wrote again
UPDATE people SET grade = 'ten', parent_phone = '555' WHERE identifier = '1';
SELECT stage('s1', 'student', 'Anna', 'Day', identifier => '1', grade => '11', agents => '{g1}'),
    stage('s2', 'student', 'Bo', 'Day', identifier => '2', grade => '11', agents => '{g2}');
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
SELECT again();
SELECT outcomes();
UPDATE people SET grade = '10' WHERE identifier = '1';
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
-- an archived person who comes back is restored, and keeps what was edited
UPDATE people SET archived_at = now(), grade = 'x' WHERE identifier = '1';
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
SELECT grade, archived_at FROM people WHERE identifier = '1';
-- said again it changes nothing; another owner forgets what was remembered
SELECT count(*) FROM written_values;
SELECT roster_set_column_owner('north', 'grade', 'sis unless edited');
SELECT count(*) FROM written_values;
SELECT roster_set_column_owner('north', 'grade', 'sis'), roster_set_column_owner('north', 'phone', 'sis');
SELECT column_name, owner FROM column_owners ORDER BY 1;
SELECT count(*) FROM written_values;
SELECT stage('s1', 'student', 'Anna', 'Day', identifier => '1', grade => '11', phone => '11', agents => '{g1}');
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
-- set when people are there already: edited since the next sync, not before
SELECT roster_set_column_owner('north', 'given_name', 'sis unless edited');
UPDATE people SET given_name = 'A.' WHERE identifier = '1';
SELECT FROM run_merge();
SELECT action, person, after FROM shown();
UPDATE people SET given_name = 'A.' WHERE identifier = '1';
SELECT again();
SELECT refused($$SELECT roster_set_column_owner('nobody', 'grade', 'sis')$$);
SELECT refused($$SELECT roster_set_column_owner('north', 'role', 'local')$$);
SELECT refused($$SELECT roster_set_column_owner('north', NULL, 'local')$$);
SELECT refused($$SELECT roster_set_column_owner('north', 'parent_name', 'local')$$);
SELECT refused($$SELECT roster_set_column_owner('north', 'grade', 'mine')$$);
\set ECHO none
\i :fixture_end
