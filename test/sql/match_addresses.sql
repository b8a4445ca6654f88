-- Addresses that several people have, or had one after the other: none of them tells who someone is.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set matching :abs_srcdir '/fixtures/matching.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :matching
\set ECHO all
SELECT fresh();

-- an address of two: twins, staff at one desk, a placeholder. Who is there with both names is a conflict, others are
-- new
INSERT INTO people (site, role, given_name, family_name, email) VALUES
    ('north', 'student', 'Ana', 'Lee', 'lee@x.example'), ('north', 'student', 'Bo', 'Lee', 'lee@x.example'),
    ('north', 'staff', 'Cy', 'Dow', 'office@x.example'), ('north', 'teacher', 'Di', 'Fox', 'office@x.example');
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', email => 'lee@x.example'),
    stage('s2', 'student', 'Bo', 'Lee', identifier => '2', email => 'lee@x.example'),
    stage('s3', 'student', 'Cleo', 'Lee', identifier => '3', email => 'lee@x.example');
SELECT stage('t1', 'teacher', 'Dinah', 'Fox', email => 'office@x.example'),
    stage('t2', 'teacher', 'Di', 'Ray', email => 'office@x.example');
SELECT FROM run_merge();
SELECT told();
-- a row of its own at an address of two people
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email) VALUES
    ('north', 'student', 'Ana', 'Lee', 'lee@x.example'), ('north', 'student', 'Bo', 'Lee', 'lee@x.example'),
    ('north', 'student', 'Cy', 'Dow', 'dow@x.example'), ('north', 'student', 'Di', 'Dow', 'dow@x.example');
SELECT stage('s1', 'student', 'Ana', 'Lee', email => 'lee@x.example'),
    stage('s2', 'student', 'Ed', 'Dow', email => 'dow@x.example');
SELECT FROM run_merge();
SELECT told();

-- typed twice: both are named
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email)
    VALUES ('north', 'student', 'Cy', 'Day', 'day@x.example'), ('north', 'student', 'Cy', 'Day', 'day@x.example');
SELECT stage('s1', 'student', 'Cy', 'Day', email => 'day@x.example'),
    stage('s2', 'student', 'Bo', 'Day', email => 'day@x.example');
SELECT FROM run_merge();
SELECT told();
-- twins whom the roster has, and one is there: by number; and of a listed one
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'student', 'Ana', 'Lee', '1', 'lee@x.example');
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', email => 'lee@x.example'),
    stage('s2', 'student', 'Bo', 'Lee', identifier => '2', email => 'lee@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT stage('s3', 'student', 'Cleo', 'Lee', identifier => '3', email => 'lee@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT again();

-- father and son of one name at one address: both new, the son later, and the father there by number
SELECT fresh();
SELECT stage('s1', 'teacher', 'Ed', 'Poe Sr.', identifier => '1', email => 'poe@x.example'),
    stage('s2', 'teacher', 'Ed', 'Poe Jr.', identifier => '2', email => 'poe@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'teacher', 'Ed', 'Poe Sr', '1', 'poe@x.example');
SELECT stage('s1', 'teacher', 'Ed', 'Poe Sr.', identifier => '1', email => 'poe@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT stage('s2', 'teacher', 'Ed', 'Poe Jr.', identifier => '2', email => 'poe@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT everybody();
-- of one who is not listed the address is a key, and numbers tell
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email)
    VALUES ('north', 'teacher', 'Ed', 'Poe Sr', '1', 'poe@x.example'),
    ('north', 'teacher', 'Flo', 'Hay', NULL, 'hay@x.example');
SELECT stage('s2', 'teacher', 'Ed', 'Poe Jr.', identifier => '2', email => 'poe@x.example'),
    stage('s3', 'teacher', 'Flo', 'Married', identifier => '3', email => 'hay@x.example');
SELECT FROM run_merge();
SELECT told();

-- parent and child in the two families never count for each other
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email)
    VALUES ('north', 'teacher', 'Mia', 'Lee', 'lee@x.example'), ('north', 'student', 'Max', 'Lee', 'lee@x.example');
SELECT stage('s1', 'student', 'Max', 'Lee', email => 'lee@x.example'),
    stage('t1', 'teacher', 'Mia', 'Lee', email => 'lee@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT again();

-- a leaver's address, and number, passed on in the same night
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example'),
    stage('s2', 'student', 'Ann', 'Roe', identifier => '111', email => 'roe@x.example'),
    stage('s3', 'student', 'Al', 'Fox', email => 'al@x.example'),
    stage('s4', 'student', 'Cy', 'Dow', identifier => '14', email => 'cy@x.example');
SELECT FROM run_merge();
SELECT unstage('s1', 's2', 's3', 's4');
SELECT stage('n1', 'student', 'Kim', 'Park', identifier => '13274', email => 'kim@x.example'),
    stage('n2', 'student', 'Ben', 'Roe', identifier => '112', email => 'roe@x.example'),
    stage('n3', 'student', 'Bo', 'Ray', email => 'al@x.example'),
    stage('n4', 'student', 'Ed', 'Gum', identifier => '14');
SELECT FROM run_merge();
SELECT told();
SELECT person FROM everybody() WHERE person !~ 'Stay';
SELECT again();
-- of the same name, or with the same family name and no numbers, it could be the person: no one leaves
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example'),
    stage('s2', 'student', 'Ann', 'Roe', email => 'roe@x.example'),
    stage('s3', 'student', 'Al', 'Fox', email => 'al@x.example');
SELECT FROM run_merge();
SELECT unstage('s1', 's2', 's3');
SELECT stage('n1', 'student', 'Kim', 'Lee', identifier => '13274', email => 'kim@x.example'),
    stage('n2', 'student', 'Ben', 'Roe', email => 'roe@x.example'),
    stage('n3', 'student', 'Al', 'Ray', email => 'al@x.example');
SELECT FROM run_merge();
SELECT told();
-- not proved absent: the list was not read whole
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example'),
    stage('s4', 'student', 'Cy', 'Dow', identifier => '14');
SELECT FROM run_merge();
SELECT unstage('s1', 's4');
SELECT stage('n1', 'student', 'Kim', 'Park', identifier => '13274', email => 'kim@x.example'),
    stage('n4', 'student', 'Ed', 'Gum', identifier => '14');
INSERT INTO unread VALUES ('students');
SELECT FROM run_merge();
SELECT told();
DELETE FROM unread;
SELECT FROM run_merge();
SELECT told();
-- whom another row is tonight is not gone
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example');
SELECT FROM run_merge();
SELECT unstage('s1');
SELECT stage('n1', 'student', 'Kim', 'Park', identifier => '13274', email => 'kim@x.example'),
    stage('n2', 'student', 'Kim', 'Lee', identifier => '12000');
SELECT FROM run_merge();
SELECT told();
-- nor is whom a row only could be, by an address and names beside another number
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example');
SELECT FROM run_merge();
SELECT unstage('s1');
SELECT stage('n1', 'student', 'Kim', 'Lee', identifier => '13274', email => 'kim@x.example'),
    stage('n2', 'student', 'Ed', 'Gum', identifier => '12000');
SELECT FROM run_merge();
SELECT told();
SELECT again();
-- a unique index over all people: the newcomer waits, once, and the way out is told; over active people the night after
SELECT fresh();
SELECT stay();
CREATE UNIQUE INDEX people_email ON people (site, email);
SELECT stage('s1', 'student', 'Kim', 'Lee', identifier => '12000', email => 'kim@x.example');
SELECT FROM run_merge();
SELECT unstage('s1'), stage('n1', 'student', 'Kim', 'Park', identifier => '13274', email => 'kim@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT reason FROM changes WHERE run = last_run() AND action = 'conflict';
SELECT FROM run_merge();
SELECT told();
SELECT reason FROM changes WHERE run = last_run() AND action = 'conflict';
DROP INDEX people_email;
SELECT FROM run_merge();
SELECT told();

-- the old row is inactive and renamed, a new one has the person's name
SELECT fresh();
SELECT stay();
SELECT stage('s1', 'student', 'Ann', 'Roe', identifier => '100', email => 'ann@x.example'),
    stage('s3', 'student', 'Bo', 'Ray', email => 'bo@x.example');
SELECT FROM run_merge();
SELECT stage('s1', 'student', 'Ann', 'Roe_dupe', identifier => '100', email => 'ann@x.example', status => 'inactive'),
    stage('s2', 'student', 'Ann', 'Roe', identifier => '200', email => 'ann@x.example'),
    stage('s3', 'student', 'Bo', 'Ray', email => 'bo@x.example', status => 'inactive'),
    stage('s4', 'student', 'Bo', 'Ray', email => 'bo@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT FROM run_merge();
SELECT told();
SELECT count(*) FROM people WHERE family_name ~ 'Roe|Ray';

-- a row that could be a listed person with another family name is not taken for a leaver of that person's names
SELECT fresh();
SELECT stage('s1', 'student', 'Ana', 'Lee', email => 'ana@x.example'),
    stage('s2', 'student', 'Ana', 'Lee', email => 'ana@x.example'),
    stage('s3', 'student', 'Bo', 'Ray'), stage('s4', 'student', 'Cy', 'Dow');
SELECT FROM run_merge();
SELECT unstage('s2');
SELECT stage('s5', 'student', 'Ana', 'Fox', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT told();
-- a person whose own row became a guardian's, of whom no address is staged, still has the address
SELECT fresh();
SELECT stage('s1', 'aide', 'Ana', 'Lee', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT stage('s1', 'guardian', NULL, NULL),
    stage('s2', 'aide', 'Ana', 'Fox', email => 'ana@x.example'),
    stage('s3', 'proctor', 'Ana', 'Fox', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT told();
-- archived people: by the address with both names, unless numbers differ
SELECT fresh();
SELECT stay();
INSERT INTO people (site, role, given_name, family_name, identifier, email, archived_at) VALUES
    ('north', 'student', 'Ann', 'Roe', '1', 'ann@x.example', '2026-01-01'),
    ('north', 'student', 'Bo', 'Ray', '2', 'bo@x.example', '2026-01-01'),
    ('north', 'student', 'Cy', 'Dow', NULL, 'cy@x.example', '2026-01-01'),
    ('north', 'student', 'Cy', 'Fox', NULL, 'cy@x.example', NULL),
    ('north', 'student', 'Di', 'Gum', NULL, 'di@x.example', '2026-01-01'),
    ('north', 'student', 'Di', 'Gum', NULL, 'di@x.example', '2026-01-01'),
    ('north', 'student', 'Ed', 'Hay', NULL, 'ed@x.example', '2026-01-01'),
    ('north', 'student', 'Ed', 'Ivy', NULL, 'ed@x.example', NULL);
SELECT stage('s1', 'student', 'Ann', 'Roe', email => 'ann@x.example'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '22', email => 'bo@x.example'),
    stage('s3', 'student', 'Cy', 'Dow', email => 'cy@x.example'),
    stage('s4', 'student', 'Di', 'Gum', email => 'di@x.example'),
    stage('s5', 'student', 'Ed', 'Jay', email => 'ed@x.example');
SELECT FROM run_merge();
SELECT told();
-- nothing but punctuation for a name tells nothing: a person has to say
SELECT fresh();
SELECT stay();
INSERT INTO people (site, role, given_name, family_name, email)
    VALUES ('north', 'student', '-', 'Roe', 'ann@x.example');
SELECT stage('s1', 'student', 'Ann', 'Roe', email => 'ann@x.example');
SELECT FROM run_merge();
SELECT told();

-- many of everything: rows with one address, one number, one name, and as many people
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier, email)
SELECT 'north', 'student', 'Sam' || n, 'Day', CASE WHEN n % 2 = 0 THEN 'none' END, 'none@x.example'
    FROM generate_series(1, 4000) n;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => CASE WHEN n % 2 = 0 THEN 'NONE' END,
    email => 'none@x.example') FROM generate_series(1, 4000) n;
SELECT FROM run_merge();
SELECT action, conflict, count(*), sum(cardinality(sourced_ids)) FROM changes WHERE run = last_run() GROUP BY 1, 2
    ORDER BY 1, 2;
SELECT count(DISTINCT person_id) FROM conflict_candidates WHERE run = last_run();
SELECT outcome, count(*) FROM staged_users WHERE connection = 'north' GROUP BY 1 ORDER BY 1;
-- as many, of whom always some have one name
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email) SELECT 'north', 'staff', 'Sam' || n % 40,
    'Day' || n % 50, 'office@x.example' FROM generate_series(1, 1500) n;
SELECT stage('t' || n, 'teacher', 'Sam' || n % 40, 'Day' || n % 50, email => 'office@x.example')
    FROM generate_series(1, 1500) n;
SELECT FROM run_merge();
SELECT action, conflict, count(*), sum(cardinality(sourced_ids)) FROM changes WHERE run = last_run() GROUP BY 1, 2
    ORDER BY 1, 2;
SELECT count(DISTINCT person_id) FROM conflict_candidates WHERE run = last_run();
-- one number of thousands of students, and of the first and the last account, which are of staff
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, identifier)
SELECT 'north', CASE WHEN n IN (1, 10010) THEN 'teacher' ELSE 'student' END, 'Sam' || n, 'Day', 'none'
    FROM generate_series(1, 10010) n;
UPDATE people SET person_id = 'Z' WHERE given_name = 'Sam10010';
SELECT stage('a1', 'teacher', 'Cy', 'Dow', identifier => 'none'),
    stage('s1', 'student', 'Bo', 'Ray', identifier => 'none');
SELECT FROM run_merge();
SELECT c.sourced_ids, c.action, c.conflict, count(*) FROM changes c JOIN conflict_candidates k USING (run, change)
    WHERE run = last_run() GROUP BY 1, 2, 3 ORDER BY 1;
\set ECHO none
\i :fixture_end
