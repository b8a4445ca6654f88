-- What happens to someone listed in a rostered category: each cell of the matrix, with auto update off and on.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- unknown: created, with the values that there are
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '11', email => 'ana@x.example', grade => '09');
SELECT stage('t1', 'teacher', 'Bo', 'Ray', username => 'bray', phone => '555');
SELECT stage('a1', 'administrator', 'Cy', 'Dow', middle_name => 'M');
SELECT FROM run_merge('preview');
SELECT * FROM shown();
SELECT count(*) FROM people;
SELECT linked();
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
SELECT person_id, site, role, given_name, family_name, middle_name, identifier, username, email, grade, phone,
    archived_at, updated_at IS NOT NULL FROM people ORDER BY 1;
SELECT again();
SELECT outcomes();

-- active, linked, differs: skipped, then updated with auto update; an absent value clears nothing; the person's column
-- now counts
SELECT stage('s1', 'student', 'Anna', 'Lee', identifier => '11', grade => '10');
SELECT again();
SELECT outcomes();
SELECT toggle(auto_update => true);
SELECT FROM run_merge('preview');
SELECT * FROM shown();
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT given_name, email, grade FROM people WHERE person_id = 'P2';
SELECT again();
UPDATE people SET grade = '12', phone = '1' WHERE person_id = 'P2';
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT given_name, email, grade, phone FROM people WHERE person_id = 'P2';
-- byte for byte: case counts, and an empty text is no value
UPDATE people SET grade = '', given_name = 'ANNA' WHERE person_id = 'P2';
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();

-- active, first match: linked and nothing written; linked and updated
SELECT clear();
INSERT INTO people (site, role, given_name, family_name, identifier, grade)
    VALUES ('north', 'student', 'Ana', 'Lee', '11', '08');
SELECT stage('s1', 'student', 'Anna', 'Lee', identifier => '11');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes(), linked();
SELECT given_name, updated_at FROM people;
SELECT again();
DELETE FROM links WHERE connection = 'north';
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes(), linked();
SELECT given_name, grade, role FROM people;
SELECT again();
-- first match with nothing to write is a link
DELETE FROM links WHERE connection = 'north';
SELECT FROM run_merge();
SELECT * FROM shown();

-- archived, by a run or by hand: restored as it was before; restored and updated
UPDATE people SET archived_at = '2026-01-01';
SELECT stage('s1', 'student', 'Ann', 'Lee', identifier => '11');
SELECT toggle(auto_update => false);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT given_name, archived_at FROM people;
UPDATE people SET archived_at = '2026-01-01';
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT given_name, archived_at FROM people;
-- archived and not linked
UPDATE people SET archived_at = '2026-01-01';
DELETE FROM links WHERE connection = 'north';
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes(), linked();
SELECT again();

-- protected: linked, never written, archived or restored
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, identifier, roster_managed, archived_at) VALUES
    ('north', 'student', 'Ana', 'Lee', '11', false, NULL), ('north', 'owner', 'Bo', 'Ray', '12', true, NULL),
    ('north', 'manager', 'Cy', 'Dow', '13', true, '2026-01-01'),
    ('north', 'teacher', 'Di', 'Fox', '14', true, NULL), ('north', 'teacher', 'Ed', 'Gum', '15', true, NULL);
SELECT stage('s1', 'student', 'Anna', 'Lee', identifier => '11'),
    stage('t2', 'teacher', 'Bob', 'Ray', identifier => '12'),
    stage('a3', 'administrator', 'Cy', 'Dow', identifier => '13'),
    stage('t4', 'teacher', 'Di', 'Fox', identifier => '14'),
    stage('t5', 'teacher', 'Ed', 'Gum', identifier => '15');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
SELECT given_name, archived_at FROM people ORDER BY person_id;
SELECT again();
SELECT unstage('s1', 't2');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT given_name, archived_at FROM people ORDER BY person_id;

-- archived when absent; taken out by hand, archived again; listed again, restored; unmanaged, left alone
SELECT unstage('t4');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT archived_at IS NOT NULL FROM people WHERE person_id = 'P4';
SELECT again();
UPDATE people SET archived_at = NULL WHERE person_id = 'P4';
SELECT FROM run_merge();
SELECT * FROM shown() WHERE person = 'P4';
UPDATE people SET archived_at = NULL, roster_managed = false WHERE person_id = 'P4';
SELECT FROM run_merge();
SELECT * FROM shown() WHERE person = 'P4';
UPDATE people SET archived_at = '2026-01-01', roster_managed = true WHERE person_id = 'P4';
SELECT stage('t4', 'teacher', 'Di', 'Fox', identifier => '14');
SELECT FROM run_merge();
SELECT * FROM shown() WHERE person = 'P4';
SELECT linked();

-- a category that is not rostered: no one of it is created, linked, updated, restored or archived, and people whom its
-- rows could be are unchanged
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT toggle(roster => false, category => 'student');
INSERT INTO people (site, role, given_name, family_name, identifier, archived_at) VALUES
    ('north', 'student', 'Ana', 'Lee', '11', NULL), ('north', 'student', 'Bo', 'Ray', '12', '2026-01-01'),
    ('north', 'student', 'Cy', 'Dow', '13', NULL);
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    VALUES ('north', 's3', 'north', 'P3', 'student', 'new', 1), ('north', 's4', 'north', 'P1', 'student', 'new', 1);
SELECT stage('s1', 'student', 'Anna', 'Lee', identifier => '11'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '12'), stage('s5', 'student', 'New', 'One');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
SELECT given_name, archived_at FROM people ORDER BY person_id;
\set ECHO none
\i :fixture_end
