-- Roles: what is written at create, when it follows the roster later, and what a school made of someone.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s0', 'student', 'Sam', 'Day'), stage('t0', 'teacher', 'Kim', 'Day'),
    stage('a0', 'administrator', 'Lou', 'Day');
SELECT stage('a1', 'administrator', 'Ana', 'Lee', username => 'alee'), stage('i2', 'aide', 'Bo', 'Ray'),
    stage('p3', 'proctor', 'Cy', 'Dow'),
    stage('x4', 'sysadmin', 'Di', 'Fox'), stage('n5', NULL, 'Ed', 'Gum');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
-- rises with a row of a higher rank, with auto update of the person's category
SELECT toggle(auto_update => false);
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
SELECT outcomes();
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
-- sinks only when the row that gave it is proved absent, not while it is inactive, unreadable or not rostered
SELECT unstage('t1');
INSERT INTO unread VALUES ('teachers');
SELECT again();
SELECT outcomes();
DELETE FROM unread;
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee', status => 'inactive');
SELECT again();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee', damaged => true);
SELECT again();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee');
SELECT toggle(roster => false, category => 'teacher');
SELECT again();
SELECT toggle(roster => true);
SELECT unstage('t1');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
-- what the school made of someone stays
UPDATE people SET role = 'student leader' WHERE given_name = 'Ana';
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee');
SELECT again();
UPDATE people SET role = 'staff' WHERE given_name = 'Ana';
SELECT FROM run_merge();
SELECT * FROM shown();
-- a row that changes its role changes the link's category, and the role
SELECT stage('i2', 'administrator', 'Bo', 'Ray'), stage('p3', 'teacher', 'Cy', 'Dow');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
-- linked and not created: never gets a role
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'teacher', 'Flo', 'Hay', '7'),
    ('north', 'coach', 'Guy', 'Ivy', '8');
SELECT stage('a7', 'administrator', 'Flo', 'Hay', identifier => '7'),
    stage('t8', 'teacher', 'Guy', 'Ivy', identifier => '8');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
SELECT role FROM people WHERE identifier IS NOT NULL ORDER BY identifier;
-- an id of a role without a rule keeps its person present
SELECT stage('t8', 'sysadmin', 'Guy', 'Ivy', identifier => '8');
SELECT again();
SELECT linked();
-- a link that moves keeps the role it wrote
SELECT unstage('i2'), stage('t2', 'teacher', 'Bo', 'Ray', email => 'bo@x.example');
UPDATE people SET email = 'bo@x.example' WHERE given_name = 'Bo';
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
-- the name of a role is never taken for a part of a statement
INSERT INTO role_rules (sis, roster_role, category, role, rank)
SELECT sis, '{plain}', 'staff', '{plain}', 99 FROM connections WHERE connection = 'north';
SELECT again();
DELETE FROM role_rules WHERE roster_role = '{plain}';
\set ECHO none
\i :fixture_end
