-- Unique indexes that cover some of the people, or for which NULLs are equal: collisions are told in the plan, by how
-- people will be after the run.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION noted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', action, person_id, array_to_string(sourced_ids, ' '), rule, reason, state, state_reason)
        FROM changes WHERE run = last_run() AND state = 'noted' ORDER BY change
$$;
CREATE FUNCTION counts() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', 'created', created, 'updated', updated, 'restored', restored, 'archived', archived,
        'conflicts', conflicts, 'rejects', rejects) FROM runs WHERE run = last_run()
$$;
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 1000);

-- of those who are not archived: an archived twin is none, an active one is
CREATE UNIQUE INDEX people_active ON people (site, lower(email)) WHERE archived_at IS NULL;
SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, email, archived_at) VALUES
    ('north', 'staff', 'Old', 'Lee', 'left@x.example', '2026-01-01'),
    ('north', 'staff', 'Now', 'Lee', 'here@x.example', NULL), ('south', 'staff', 'Far', 'Lee', 'far@x.example', NULL);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', email => 'sam' || n || '@x.example') FROM generate_series(1, 9) n;
SELECT stage('n1', 'student', 'Nia', 'Fox', email => 'Left@x.example'),
    stage('n2', 'student', 'Noa', 'Fox', email => 'HERE@x.example'),
    stage('n3', 'student', 'Ned', 'Fox', email => 'far@x.example'),
    stage('n4', 'student', 'Nat', 'Fox', email => 'two@x.example'),
    stage('n5', 'student', 'Nic', 'Cole', email => 'TWO@x.example');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT given_name FROM people WHERE family_name IN ('Fox', 'Cole') ORDER BY 1;
SELECT person_id, found_by FROM roster_conflicts WHERE connection = 'north' AND person_id IS NOT NULL;
SELECT again();
-- an update to a value that an active person has, and one to that of an archived one
SELECT unstage('n2', 'n4', 'n5');
SELECT stage('s1', 'student', 'Sam1', 'Day', email => 'here@x.example', grade => '4'),
    stage('s2', 'student', 'Sam2', 'Day', email => 'Sam3@x.example');
UPDATE people SET archived_at = '2026-01-01' WHERE given_name = 'Sam3';
SELECT unstage('s3');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT given_name, email, grade FROM people WHERE given_name ~ '^Sam[123]$' ORDER BY 1;
-- a restore would bring the value back, which someone has got since; two restores of one value
SELECT stage('s1', 'student', 'Sam1', 'Day', email => 'sam1@x.example'), stage('s3', 'student', 'Sam3', 'Day'),
    stage('s4', 'student', 'Sam4', 'Day'), stage('s5', 'student', 'Sam5', 'Day'), stage('s6', 'student', 'Sam6', 'Day');
UPDATE people SET archived_at = '2026-01-01', email = CASE given_name WHEN 'Sam6' THEN 'six@x.example'
    ELSE 'both@x.example' END WHERE given_name ~ '^Sam[456]$';
SELECT toggle(auto_update => false);
SELECT FROM run_merge('preview');
SELECT action, person, ids, rule, state FROM shown();
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT given_name, archived_at IS NOT NULL FROM people WHERE given_name ~ '^Sam[3456]$' ORDER BY 1;
SELECT again();
-- with another value it is none
SELECT toggle(auto_update => true);
SELECT stage('s3', 'student', 'Sam3', 'Day', email => 'three@x.example'),
    stage('s4', 'student', 'Sam4', 'Day', email => 'four@x.example');
SELECT FROM run_merge();
SELECT noted();
SELECT given_name, archived_at IS NOT NULL, email FROM people WHERE given_name ~ '^Sam[345]$' ORDER BY 1;
-- what a leaver gives up is free from the next run on
CREATE UNIQUE INDEX people_username ON people (site, username) WHERE archived_at IS NULL;
UPDATE people SET username = 'desk' WHERE given_name = 'Sam9';
SELECT unstage('s9'), stage('n9', 'student', 'New', 'Ray', username => 'desk');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
DROP INDEX people_active, people_username;

-- the predicate is of a column that no roster writes: new people have its default
SELECT clear();
SELECT toggle(auto_update => true);
ALTER TABLE people ADD active boolean DEFAULT true, ADD campus text DEFAULT upper('x');
CREATE UNIQUE INDEX people_active ON people (username) WHERE active AND role = 'student';
CREATE UNIQUE INDEX people_campus ON people (phone) WHERE campus = 'X';
INSERT INTO people (site, role, given_name, family_name, username, active, phone) VALUES
    ('north', 'student', 'Off', 'Lee', 'off', false, '1'), ('south', 'student', 'On', 'Lee', 'on', true, '2'),
    ('south', 'staff', 'Staff', 'Lee', 'staff', true, '3');
SELECT stage('a1', 'student', 'Ana', 'Fox', username => 'off'), stage('a2', 'student', 'Bo', 'Fox', username => 'on'),
    stage('a3', 'student', 'Cy', 'Fox', username => 'staff'),
    stage('a4', 'teacher', 'Di', 'Fox', username => 'on'), stage('a5', 'student', 'Ed', 'Fox', phone => '2');
SELECT FROM run_merge();
-- a default that is no constant is not asked beforehand: the relation refuses
SELECT noted();
SELECT counts();
SELECT given_name FROM people WHERE family_name = 'Fox' ORDER BY 1;
SELECT again();
DROP INDEX people_active, people_campus;

-- NULLs that are equal, with and without a predicate
SELECT clear();
SELECT toggle(auto_update => true);
CREATE UNIQUE INDEX people_desk ON people (site, family_name, phone) NULLS NOT DISTINCT WHERE archived_at IS NULL;
INSERT INTO people (site, role, given_name, family_name, phone, archived_at)
    VALUES ('north', 'staff', 'Al', 'Fox', NULL, NULL), ('north', 'staff', 'Cat', 'Cole', '5', NULL),
    ('north', 'staff', 'Old', 'Ray', NULL, '2026-01-01');
SELECT stage('a1', 'student', 'Ana', 'Fox'), stage('a2', 'student', 'Bo', 'Fox', phone => '1'),
    stage('a3', 'student', 'Cy', 'Cole', phone => '5'), stage('a4', 'student', 'Di', 'Cole'),
    stage('a5', 'student', 'Ed', 'Ray'), stage('a6', 'student', 'Flo', 'Gum'), stage('a7', 'student', 'Gil', 'Gum'),
    stage('a8', 'student', 'Hal', 'Gum', phone => '1');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT given_name FROM people WHERE role = 'student' ORDER BY 1;
DROP INDEX people_desk;
CREATE UNIQUE INDEX people_desk ON people (site, family_name, phone) WHERE archived_at IS NULL;
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
DROP INDEX people_desk;

-- other collations than the column's, a key of type name, a generated column, the whole row: checked, or left to apply
SELECT clear();
SELECT toggle(auto_update => true);
CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
ALTER TABLE people ALTER email TYPE text COLLATE "C", ADD tenant name DEFAULT 'x', ADD mail text GENERATED ALWAYS
    AS (lower(phone)) STORED;
CREATE FUNCTION desk(people) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ($1).grade $$;
CREATE UNIQUE INDEX people_email ON people (email COLLATE same);
CREATE UNIQUE INDEX people_username ON people (tenant, username);
CREATE UNIQUE INDEX people_mail ON people (mail) WHERE middle_name IS NULL;
CREATE UNIQUE INDEX people_desk ON people (desk(people.*)) WHERE archived_at IS NULL;
INSERT INTO people (site, role, given_name, family_name, email, username, phone, grade)
    VALUES ('south', 'staff', 'Al', 'Fox', 'al@x.example', 'al', 'a', '1'),
    ('north', 'owner', 'Olga', 'Fox', NULL, NULL, NULL, NULL);
SELECT stage('a1', 'student', 'Ana', 'Fox', email => 'AL@x.example'),
    stage('a2', 'student', 'Bo', 'Fox', username => 'al'), stage('a3', 'student', 'Cy', 'Fox', phone => 'A'),
    stage('a4', 'student', 'Di', 'Fox', grade => '1'),
    stage('a5', 'student', 'Ed', 'Fox', email => 'ed@x.example', username => 'ed', phone => 'e', grade => '2');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
DROP INDEX people_email, people_username, people_mail, people_desk;

-- archive as a status
SELECT clear();
ALTER TABLE people ADD status text DEFAULT 'NEW';
SELECT roster_attach_people('people', '{"archived_at": "status"}',
    archive_words => '{"active": "ACTIVE", "archived": "ARCHIVED"}');
CREATE UNIQUE INDEX people_status ON people (site, phone) WHERE status <> 'ARCHIVED';
CREATE UNIQUE INDEX people_active ON people (site, grade) WHERE status = 'ACTIVE';
INSERT INTO people (site, role, given_name, family_name, identifier, phone, grade, status) VALUES
    ('north', 'student', 'Off', 'Lee', NULL, '1', 'a', 'ARCHIVED'),
    ('north', 'student', 'On', 'Lee', NULL, '2', 'b', 'SUSPENDED'),
    ('north', 'student', 'Back', 'Lee', 'i1', '3', 'c', 'ARCHIVED'),
    ('north', 'student', 'Third', 'Lee', NULL, '3', 'd', 'THIRD'),
    ('north', 'student', 'Again', 'Lee', 'i2', '4', 'e', 'ARCHIVED'), ('north', 'student', 'Ann', 'Lee', NULL, '5', 'e',
    'ACTIVE'), ('north', 'student', 'Bea', 'Lee', 'i3', '6', 'b', 'ARCHIVED');
SELECT toggle(auto_update => true);
SELECT stage('a1', 'student', 'Ana', 'Fox', phone => '1', grade => 'z'),
    stage('a2', 'student', 'Bo', 'Fox', phone => '2'), stage('a3', 'student', 'Cy', 'Fox', grade => 'b'),
    stage('a4', 'student', 'Di', 'Fox', grade => 'e'),
    stage('a5', 'student', 'Back', 'Lee', identifier => 'i1'),
    stage('a6', 'student', 'Again', 'Lee', identifier => 'i2'),
    stage('a7', 'student', 'Bea', 'Lee', identifier => 'i3', grade => 'f');
SELECT FROM run_merge();
SELECT noted();
SELECT counts();
SELECT given_name, status FROM people WHERE family_name = 'Fox' OR given_name IN ('Back', 'Again', 'Bea') ORDER BY 1;
SELECT again();
\set ECHO none
\i :fixture_end
