-- Whom a row of the roster is: link, identifier within a family, e-mail that is unique on both sides; names and
-- identifiers veto. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

INSERT INTO people (site, role, given_name, family_name, identifier, email, archived_at) VALUES
    ('north', 'student', 'Ana', 'Lee', 'A11', 'ana@x.example', NULL),
    ('north', 'teacher', 'Bo', 'Ray', '12', 'Bo@x.example', NULL),
    ('north', 'student', 'Cy', 'Dow', '13', NULL, '2026-01-01'),
    ('north', 'student leader', 'Di', 'Fox', '14', NULL, NULL),
    ('south', 'student', 'Ed', 'Gum', '15', NULL, NULL);
-- identifiers match without regard to case, students with students only
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => 'a11');
SELECT stage('t1', 'teacher', 'Ana', 'Lee', identifier => 'A11');
SELECT stage('s2', 'student', 'Bo', 'Ray', identifier => '12');
SELECT stage('a2', 'administrator', 'Bo', 'Ray', identifier => '12');
-- archived: where both names agree; where one does not, a person has to say
SELECT stage('s3', 'student', 'Cyril', 'DOW', identifier => '13');
-- a role of the school's own says nothing about the family
SELECT stage('s4', 'student', 'Di', 'Fox', identifier => '14');
-- another site's people are no one here
SELECT stage('s5', 'student', 'Ed', 'Gum', identifier => '15');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();

SELECT clear();
INSERT INTO people (site, role, given_name, family_name, identifier, email, archived_at) VALUES
    ('north', 'student', 'Ana', 'Lee', NULL, 'ANA@x.example', NULL),
    ('north', 'teacher', 'Bo', 'Ray', NULL, 'bo@x.example', NULL),
    ('north', 'student', 'Cy', 'Dow', NULL, 'home@x.example', NULL),
    ('north', 'student', 'Di', 'Dow', NULL, 'home@x.example', NULL),
    ('north', 'student', 'Ed', 'Gum', NULL, 'ed@x.example', '2026-01-01'),
    ('north', 'student', 'Flo', 'Hay', NULL, 'flo@x.example', '2026-01-01'),
    ('north', 'student', 'Guy', 'Ivy', NULL, 'guy@x.example', NULL);
-- e-mail, without regard to case, within a family
SELECT stage('s1', 'student', 'Ana', 'Lee', email => 'ana@X.example');
SELECT stage('s2', 'student', 'Bo', 'Ray', email => 'bo@x.example');
-- not unique among people: a conflict for the one who has both names
SELECT stage('s3', 'student', 'Cy', 'Dow', email => 'home@x.example');
-- archived: only with the same names
SELECT stage('s5', 'student', 'Ed', 'Gum', email => 'ed@x.example');
SELECT stage('s6', 'student', 'Flo', 'Other', email => 'flo@x.example');
-- not unique in the roster: the same
SELECT stage('s7', 'student', 'Guy', 'Ivy', email => 'guy@x.example');
SELECT stage('s8', 'student', 'Gia', 'Ivy', email => 'GUY@x.example');
SELECT FROM run_merge();
SELECT * FROM shown();
-- a row that is linked already and plain shares its e-mail with a new one
SELECT stage('s9', 'student', 'Twin', 'Lee', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT * FROM shown();

-- the first step with a candidate decides: link before identifier, identifier before e-mail
SELECT clear();
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ana', 'Lee', '11', 'one@x.example'),
    ('north', 'student', 'Ana', 'Lee', '12', 'two@x.example'), ('north', 'student', 'Bo', 'Ray', NULL, 'bo@x.example');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    VALUES ('north', 's1', 'north', 'P2', 'student', 'new', 1);
SELECT stage('s1', 'student', 'Zoe', 'Quite Other', identifier => '99', email => 'zoe@x.example');
SELECT stage('s2', 'student', 'Ana', 'Lee', identifier => '11', email => 'bo@x.example');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();

-- a link to someone who is gone from the people: matched again, else created
DELETE FROM people WHERE person_id = 'P2';
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();

-- a new sourcedId: the link moves once the old one is proved absent
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '11'), stage('s9', 'student', 'Stay', 'Here');
SELECT FROM run_merge();
SELECT unstage('s1'), stage('s1-new', 'student', 'Ana', 'Lee', identifier => '11');
INSERT INTO unread VALUES ('students');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
DELETE FROM unread;
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
-- an id in the state tobedeleted is absent
SELECT stage('s1-new', 'student', 'Ana', 'Lee', identifier => '11', status => 'tobedeleted'),
    stage('s1-third', 'student', 'Ana', 'Lee', identifier => '11');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
\set ECHO none
\i :fixture_end
