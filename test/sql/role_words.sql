-- Several words for a role, and accounts that are no one's: what a map of roles may hold, and what a run makes of it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set refusal :abs_srcdir '/fixtures/refusal.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :refusal
\set ECHO all

-- A text or a list of texts; the map is kept as lists.
SELECT roster_attach_people('people',
    roles => '{"student": ["STUDENT", "STUDENT_LEADER", "ALUMNUS"], "teacher": "TEACHER",
        "manager": ["MANAGER", "HEAD"],
        "other": ["PARENT", "READ_ONLY"]}');
SELECT e.key, e.value FROM people_relations, jsonb_each(roles) e WHERE relation = 'people'::regclass ORDER BY 1;
SELECT roster_attach_people('people', roles => '{"other": "PARENT"}');
SELECT roles FROM people_relations WHERE relation = 'people'::regclass;

CREATE FUNCTION unfit(roles jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(format('SELECT roster_attach_people(''school.people'', roles => %L)', roles))
$$;
-- One word for two roles, for one role twice, and for a role that keeps its own.
SELECT unfit('{"student": ["STUDENT", "KID"], "teacher": ["TEACHER", "KID"], "other": ["PARENT", "TEACHER"]}');
SELECT unfit('{"student": ["STUDENT", "STUDENT"]}');
SELECT unfit('{"other": ["teacher", "PARENT"]}');
SELECT unfit('{"teacher": ["TEACHER", "staff"]}');
-- Nothing, no texts, blanks, unknown roles.
SELECT unfit('{"student": []}');
SELECT unfit('{"other": []}');
SELECT unfit('{"student": ["STUDENT", 7, null, ["X"], {"a": "b"}, true], "teacher": {"TEACHER": true}, "staff": null}');
SELECT unfit('{"student": ["STUDENT", ""], "teacher": " ", "other": ["\t\n"]}');
SELECT unfit('{"parent": ["PARENT"], "Student": "STUDENT", "": "X"}');
-- Owners and managers are protected in any spelling, so their words are theirs alone.
SELECT unfit(
    '{"staff": ["STAFF", "Owner"], "other": ["MANAGER", "PARENT"], "owner": ["BOSS", "manager"], "manager": "HEAD"}');
SELECT unfit('{"other": ["owner"]}');
-- Each word has to be one of the column's.
CREATE TYPE kind AS ENUM ('STUDENT', 'STUDENT_LEADER', 'TEACHER', 'STAFF', 'OWNER', 'PARENT');
CREATE TABLE typed (LIKE people INCLUDING ALL);
ALTER TABLE typed ALTER role TYPE kind USING role::kind, OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('school.typed',
    roles => '{"student": ["STUDENT", "STUDENT_LEAD"], "teacher": "TEACHER", "staff": "STAFF",
        "other": ["PARENTS"]}')$$);
SELECT roster_attach_people('typed',
    roles => '{"student": ["STUDENT", "STUDENT_LEADER"], "teacher": "TEACHER", "staff": "STAFF", "other": ["PARENT"]}');
-- A refused map leaves the one that was there.
SELECT roles FROM people_relations WHERE relation = 'people'::regclass;

-- How a run reads them: the contract's word for any of a role's words, owners and managers in any spelling, all else as
-- it is.
SELECT roster_attach_people('people',
    roles => '{"student": ["STUDENT", "STUDENT_LEADER"], "teacher": ["TEACHER", "COACH"], "staff": ["STAFF", "CLERK"],
        "owner": ["OWNER", "PRINCIPAL"], "other": ["PARENT", "READ_ONLY"]}');
INSERT INTO people (site, role, given_name, family_name)
SELECT 'north', w.word, 'Reads', lpad(w.nth::text, 2, '0')
FROM unnest(ARRAY['STUDENT', 'STUDENT_LEADER', 'TEACHER', 'COACH', 'STAFF', 'OWNER', 'PRINCIPAL', 'Manager', 'PARENT',
    'READ_ONLY', 'student', 'Student', 'GUEST', 'other', '']) WITH ORDINALITY w (word, nth);
BEGIN;
SELECT read_people(known_connection('north'));
SELECT role_word, role, role_first, protection FROM plan_people ORDER BY family_name;
-- The join of a night takes rows of people and links as they are: the scans give each column, in order.
SELECT read_rules(known_connection('north'), 0);
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (VERBOSE, FORMAT JSON) ' || query INTO plan;
    RETURN plan;
END
$$;
SELECT n.node ->> 'Relation Name' AS relation, n.node -> 'Output' = (
    SELECT jsonb_agg((n.node ->> 'Alias') || '.' || a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = (n.node ->> 'Relation Name')::regclass AND a.attnum > 0) AS has_all_in_order
FROM jsonb_path_query(pg_temp.plan_of(replace(open_rows_query(known_connection('north'), '{not_plain}'), '$1',
    $$'{}'::text[]$$)), 'strict $.**.Plans[*] ? (@."Relation Name" == "plan_people" || @."Relation Name" == "links")')
    n (node)
ORDER BY 1;
ROLLBACK;
DELETE FROM people;

-- A word that the school gave is kept: a role is written only while it is the word that was written.
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s0', 'student', 'Sam', 'Day'), stage('t0', 'teacher', 'Tim', 'Day'), stage('a0', 'aide', 'Al', 'Day'),
    stage('s1', 'student', 'Ann', 'Roe', '100'), stage('s2', 'student', 'Ben', 'Roe', '101'),
    stage('a1', 'aide', 'Cy', 'Roe', '200', username => 'croe'),
    stage('a2', 'aide', 'Di', 'Roe', '201', username => 'droe');
INSERT INTO people (site, role, given_name, family_name, identifier)
    VALUES ('north', 'STUDENT_LEADER', 'Ben', 'Roe', '101');
SELECT FROM run_merge();
SELECT role, given_name FROM people ORDER BY given_name;
UPDATE people SET role = 'STUDENT_LEADER' WHERE given_name = 'Ann';
UPDATE people SET role = 'COACH' WHERE given_name = 'Tim';
SELECT again();
-- Other columns follow the roster, the word stays.
SELECT stage('s1', 'student', 'Anna', 'Roe', '100'), stage('t0', 'teacher', 'Timothy', 'Day');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT role, given_name FROM people WHERE role NOT IN ('STUDENT', 'TEACHER', 'STAFF') ORDER BY given_name;
SELECT FROM run_merge('undo', last_run());
SELECT role, given_name FROM people WHERE role NOT IN ('STUDENT', 'TEACHER', 'STAFF') ORDER BY given_name;
SELECT FROM run_merge();
-- Archived and back.
SELECT unstage('s1', 's2');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT stage('s1', 'student', 'Anna', 'Roe', '100'), stage('s2', 'student', 'Ben', 'Roe', '101');
SELECT FROM run_merge();
SELECT role, given_name, archived_at IS NULL FROM people WHERE family_name = 'Roe' AND role LIKE 'STUDENT%'
    ORDER BY given_name;
-- Cy and Di become teachers; the school has made a clerk of Di, whose role is its own now, although a clerk is staff.
UPDATE people SET role = 'CLERK' WHERE given_name = 'Di';
SELECT stage('x1', 'teacher', 'Cy', 'Roe', '200', username => 'croe'),
    stage('x2', 'teacher', 'Di', 'Roe', '201', username => 'droe');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT * FROM shown();
-- Between preview and apply Cy is made a coach too: the apply refuses the role.
UPDATE people SET role = 'COACH' WHERE given_name = 'Cy';
SELECT FROM run_merge('apply', :preview);
SELECT action, before, after, state, state_reason FROM changes WHERE run = :preview AND action = 'update';
SELECT role, given_name FROM people WHERE given_name IN ('Cy', 'Di') ORDER BY given_name;
UPDATE people SET role = 'STAFF' WHERE given_name = 'Cy';
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT * FROM shown();
SELECT role, given_name FROM people WHERE given_name IN ('Cy', 'Di') ORDER BY given_name;
-- The undo of the role leaves a word that the school gave since.
UPDATE people SET role = 'COACH' WHERE given_name = 'Cy';
SELECT FROM run_merge('undo', :night);
SELECT action, before, after, state, state_reason FROM changes WHERE run = :night AND action = 'update';
SELECT role, given_name FROM people WHERE given_name IN ('Cy', 'Di') ORDER BY given_name;
-- Nor is another word between preview and apply overlooked where the role itself is not written.
SELECT clear();
SELECT stage('s1', 'student', 'Ann', 'Roe', '100');
SELECT FROM run_merge();
SELECT toggle(auto_update => true), stage('s1', 'student', 'Anna', 'Roe', '100');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
UPDATE people SET role = 'STUDENT_LEADER';
SELECT FROM run_merge('apply', :preview);
SELECT action, state, state_reason FROM changes WHERE run = :preview;

\i :fixture_end
