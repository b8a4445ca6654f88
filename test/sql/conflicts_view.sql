-- A conflict as its operator sees it: both sides beside each other, what agrees and what does not, and why it is one.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
CREATE FUNCTION seen() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(E'\n    ', concat_ws(' ', k.conflict, k.category, array_to_string(k.sourced_ids, '+')),
        array_to_string(ARRAY[k.sourced_id, k.given_name, k.family_name, k.identifier, k.email, k.username, k.role],
        '|', '-'),
        array_to_string(ARRAY[k.person_id, k.person_given_name, k.person_family_name, k.person_identifier,
        k.person_email, k.person_username, k.person_role]
            || CASE WHEN k.person_archived THEN ARRAY['archived'] END, '|', '-'),
        'by ' || k.found_by || '; agrees ' || coalesce(k.agrees::text, '-') || ', differs '
        || coalesce(k.differs::text, '-'))
    FROM roster_conflicts k WHERE k.connection = 'north' ORDER BY k.sourced_ids, k.sourced_id, k.person_id COLLATE "C"
$$;
\set ECHO all

SELECT roster_attach_people('people', roles => '{"student": ["student", "LEADER"], "other": ["parent"]}');
INSERT INTO people (site, person_id, role, given_name, preferred_name, family_name, identifier, email, username,
    archived_at) VALUES
    ('north', 'A1', 'LEADER', 'Ana', NULL, 'Lee', '100', 'ana@x.example', 'ana.lee', NULL),
    ('north', 'A2', 'student', 'Bo', NULL, 'Ray', '200', NULL, NULL, NULL),
    ('north', 'A3', 'student', 'Bob', 'Bobby', 'Ray', '200', 'BOB@x.example', NULL, NULL),
    ('north', 'A4', 'student', 'Cy', NULL, 'Dow', '300', NULL, NULL, '2026-01-01'),
    ('north', 'A5', 'parent', 'Zoe', NULL, 'Other', '100', NULL, NULL, NULL),
    ('south', 'A6', 'student', 'Zoe', NULL, 'Other', '100', NULL, NULL, NULL);
-- names that differ; several people; an archived person of one name alone; rows that contradict each other
SELECT stage('s1', 'student', 'Zoë', 'Other', '100', email => 'ANA@x.example', username => 'zoe'),
    stage('s2', 'student', 'BOB', 'Ráy', '200', email => 'bob@x.example'),
    stage('s3', 'student', 'Cy', 'Dowd', '300'), stage('t1', 'teacher', 'Tea', 'Poe', '7', username => 'tea'),
    stage('t2', 'teacher', 'Kim', 'Roe', '7', username => 'tea'),
    stage('s9', 'student', 'New', 'Comer');
SELECT FROM run_merge('preview');
SELECT * FROM seen();
SELECT DISTINCT conflict, reason FROM roster_conflicts ORDER BY 1, 2;
-- It shows what the plan saw, whatever becomes of the stage and of people since.
DELETE FROM people WHERE person_id = 'A2';
UPDATE people SET family_name = 'Changed' WHERE person_id = 'A1';
SELECT unstage('s3');
SELECT count(*), count(*) FILTER (WHERE person_id = 'A2' AND person_given_name = 'Bo') AS gone,
    min(person_family_name) FILTER (WHERE person_id = 'A1') FROM roster_conflicts;
SELECT FROM run_merge('preview');
SELECT * FROM seen();
-- Kept for the latest plan alone, and removed with its changes and with the connection.
SELECT count(DISTINCT run) FROM conflict_pairs;
SELECT unstage('s1', 't1', 't2');
SELECT FROM run_merge();
SELECT count(*) FROM conflict_pairs;
SELECT stage('s1', 'student', 'Zoë', 'Other', '100', email => 'ANA@x.example');
SELECT FROM run_merge();
SELECT count(*) > 0 FROM conflict_pairs;
BEGIN;
DELETE FROM changes WHERE run = last_run();
SELECT count(*) FROM conflict_pairs;
ROLLBACK;
BEGIN;
SELECT roster_disconnect('north');
SELECT count(*) FROM conflict_pairs;
SELECT count(*) FROM roster_conflicts;
ROLLBACK;
-- A unique index: the person who has the value is shown; one of another site is not.
SELECT clear();
CREATE UNIQUE INDEX people_email ON people (lower(email));
INSERT INTO people (site, person_id, role, given_name, family_name, email) VALUES
    ('north', 'B1', 'parent', 'Pat', 'Fox', 'fox@x.example'), ('south', 'B2', 'teacher', 'Tea', 'Poe', 'tea@x.example');
SELECT stage('s1', 'student', 'Di', 'Fox', email => 'FOX@x.example'),
    stage('t1', 'teacher', 'Tea', 'Poe', email => 'tea@x.example');
SELECT FROM run_merge('preview');
SELECT * FROM seen();

-- For those who may see people's data, and no one else.
CREATE ROLE regress_conflict_reader;
GRANT USAGE ON SCHEMA minga_roster TO regress_conflict_reader;
SET ROLE regress_conflict_reader;
SELECT count(*) FROM minga_roster.roster_conflicts;
RESET ROLE;
SELECT roster_grant('regress_conflict_reader', 'reader', site => 'north');
SET ROLE regress_conflict_reader;
SELECT count(*) FROM minga_roster.roster_conflicts;
RESET ROLE;
SELECT roster_grant('regress_conflict_reader', 'owner', site => 'north');
SET ROLE regress_conflict_reader;
SELECT sourced_id, person_id, person_family_name FROM minga_roster.roster_conflicts ORDER BY 1;
RESET ROLE;
SELECT roster_revoke('regress_conflict_reader', l, site => 'north') FROM unnest(ARRAY['reader', 'owner']) l;
DROP OWNED BY regress_conflict_reader;
DROP ROLE regress_conflict_reader;
-- Someone of the same name without keys beside a new person: shown with the plan that makes the new one.
DROP INDEX people_email;
INSERT INTO people (site, person_id, role, given_name, family_name, email) VALUES
    ('north', 'C1', 'student', 'Sofía', 'Smith Lopez', NULL), ('north', 'C2', 'student', 'Sofia', 'Smith-Lopez',
    'other@x.example'), ('north', 'C3', 'teacher', 'Sofia', 'Smith-Lopez', NULL);
SELECT stage('s5', 'student', 'Sofia', 'Smith-Lopez', '900', email => 'sofia@x.example');
SELECT FROM run_merge('preview');
SELECT sourced_ids, given_name, family_name, identifier, email, person_id, same_name, state FROM roster_same_names
    WHERE connection = 'north';
\i :fixture_end
