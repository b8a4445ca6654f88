-- What a sync would run into is said when a relation is attached, a connection made or tested: rights, rules,
-- partitions, publications, sites, words for roles. Planted: states that only a SIS, an earlier night or time would
-- make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set refusal :abs_srcdir '/fixtures/refusal.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :refusal
ALTER DEFAULT PRIVILEGES IN SCHEMA school REVOKE ALL ON TABLES FROM regress_people_owner;
ALTER DEFAULT PRIVILEGES IN SCHEMA school REVOKE ALL ON SEQUENCES FROM regress_people_owner;
CREATE FUNCTION make(name text) RETURNS SETOF void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TABLE %I (site text, person_id bigint DEFAULT 1, role text, given_name text, family_name text, '
        ''
        'email text, grade text, archived_at timestamptz); '
        'ALTER TABLE %1$I OWNER TO regress_people_owner', name);
END
$$;
CREATE FUNCTION attach(relation text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(format('SELECT roster_attach_people(%L)', relation)) $$;
-- The step of a connection test, as its worker takes it.
CREATE FUNCTION tested(relation regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    this bigint;
    answer text;
BEGIN
    PERFORM use_people(relation);
    INSERT INTO runs (connection, site, kind, trigger, state, requested_by)
        VALUES ('north', 'north', 'test', 'manual', 'running', 'test') RETURNING run INTO this;
    INSERT INTO run_steps (run, position, step) VALUES (this, 1, 'people');
    PERFORM test_people(this);
    SELECT concat_ws(E'\n  ', s.ok, s.detail, s.hint) INTO answer FROM run_steps s WHERE s.run = this;
    DELETE FROM runs WHERE run = this;
    RETURN answer;
END
$$;
\set ECHO all

-- A view whose triggers do the writing says itself what can be written.
SELECT make('base');
CREATE VIEW shown_people AS SELECT site, person_id, role, given_name, family_name, email, grade::varchar::text AS grade,
    archived_at FROM base;
ALTER VIEW shown_people ALTER person_id SET DEFAULT 1;
ALTER VIEW shown_people OWNER TO regress_people_owner;
SELECT attach('shown_people');
CREATE FUNCTION write_shown() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER insert_shown INSTEAD OF INSERT ON shown_people FOR EACH ROW EXECUTE FUNCTION write_shown();
SELECT attach('shown_people');
CREATE TRIGGER update_shown INSTEAD OF UPDATE ON shown_people FOR EACH ROW EXECUTE FUNCTION write_shown();
SELECT attach('shown_people');

-- null leaves a column out, but for those that are needed.
SELECT make('partly');
ALTER TABLE partly ALTER grade TYPE integer USING 1, ADD note text, ADD phone text NOT NULL DEFAULT '';
SELECT attach('partly');
SELECT roster_attach_people('partly', '{"grade": null, "phone": null, "middle_name": null}');
SELECT columns FROM people_relations WHERE relation = 'partly'::regclass;
SELECT pg_temp.refusal($$SELECT roster_attach_people('partly',
    '{"grade": null, "phone": null, "site": null, "role": null, "nickname": null, "email": 7}')$$);
ALTER TABLE partly ALTER phone DROP DEFAULT;
SELECT pg_temp.refusal($$SELECT roster_attach_people('partly', '{"grade": null, "phone": null}')$$);

-- The owner's own rights on a table.
SELECT make('own');
REVOKE INSERT ON own FROM regress_people_owner;
SELECT attach('own');
REVOKE UPDATE ON own FROM regress_people_owner;
SELECT attach('own');
REVOKE SELECT ON own FROM regress_people_owner;
SELECT attach('own');
SELECT count(*) FROM people_relations WHERE relation = 'own'::regclass;
-- Of the columns that are written is enough.
GRANT SELECT, INSERT ON own TO regress_people_owner;
GRANT UPDATE (role, given_name, family_name, email, grade) ON own TO regress_people_owner;
SELECT attach('own');
GRANT UPDATE (archived_at) ON own TO regress_people_owner;
SELECT attach('own');
-- Taken away later: the connection test says it, and roster_connect.
REVOKE INSERT ON own FROM regress_people_owner;
SELECT tested('own');
SELECT pg_temp.refusal($$SELECT roster_connect('late', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'own', time_zone => 'Europe/Vienna')$$);
GRANT INSERT ON own TO regress_people_owner;
SELECT tested('own');

-- What is below a view, with the rights of the view's owner.
SELECT make('below');
ALTER TABLE below OWNER TO CURRENT_USER;
CREATE VIEW above AS SELECT site, person_id, role, given_name, family_name, email, grade, archived_at FROM below;
ALTER VIEW above ALTER person_id SET DEFAULT 1;
ALTER VIEW above OWNER TO regress_people_owner;
SELECT attach('above');
GRANT SELECT ON below TO regress_people_owner;
SELECT attach('above');
GRANT INSERT ON below TO regress_people_owner;
SELECT attach('above');
SELECT tested('people');
GRANT UPDATE ON below TO regress_people_owner;
SELECT attach('above');
REVOKE SELECT ON below FROM regress_people_owner;
SELECT tested('above');
GRANT SELECT ON below TO regress_people_owner;

-- The sequence that new ids come from.
CREATE SEQUENCE ids;
SELECT make('numbered');
ALTER TABLE numbered ALTER person_id SET DEFAULT nextval('school.ids');
SELECT attach('numbered');
GRANT USAGE ON SEQUENCE ids TO regress_people_owner;
SELECT attach('numbered');
-- The schema of a type, and row-level security that is forced upon the owner.
CREATE SCHEMA far;
CREATE DOMAIN far.word AS text;
CREATE TYPE far.kind AS ENUM ('student', 'teacher', 'staff');
SELECT make('farther');
ALTER TABLE farther ALTER role TYPE far.kind USING NULL;
SELECT attach('farther');
GRANT USAGE ON SCHEMA far TO regress_people_owner;
SELECT attach('farther');
ALTER TABLE farther ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT attach('farther');
SELECT tested('farther');
ALTER TABLE farther NO FORCE ROW LEVEL SECURITY;
-- The schema of the relation.
REVOKE USAGE ON SCHEMA school FROM regress_people_owner;
SELECT attach('own');
SELECT tested('own');
GRANT USAGE ON SCHEMA school TO regress_people_owner;

-- Changed or dropped since it was attached.
ALTER TABLE own RENAME grade TO class;
SELECT tested('own');
ALTER TABLE own RENAME class TO grade;
SELECT make('gone');
SELECT roster_attach_people('gone');
BEGIN;
SELECT use_people('gone');
DROP TABLE gone;
INSERT INTO runs (connection, site, kind, trigger, state, requested_by)
    VALUES ('north', 'north', 'test', 'manual', 'running', 'test') RETURNING run AS test_run \gset
INSERT INTO run_steps (run, position, step) VALUES (:test_run, 1, 'people');
SELECT test_people(:test_run);
SELECT ok, detail, hint FROM run_steps WHERE run = :test_run;
ROLLBACK;

-- Rules turn one statement into several, or into none.
SELECT make('ruled');
CREATE TABLE heard (given_name text);
CREATE RULE hear AS ON UPDATE TO ruled DO ALSO INSERT INTO heard VALUES (new.given_name);
SELECT attach('ruled');
DROP RULE hear ON ruled;
CREATE RULE hear AS ON INSERT TO ruled DO ALSO INSERT INTO heard VALUES (new.given_name);
SELECT attach('ruled');
DROP RULE hear ON ruled;
CREATE RULE hear AS ON INSERT TO ruled DO INSTEAD NOTHING;
SELECT attach('ruled');
DROP RULE hear ON ruled;
CREATE RULE hear AS ON DELETE TO ruled DO ALSO INSERT INTO heard VALUES (old.given_name);
SELECT attach('ruled');
CREATE RULE hear_too AS ON UPDATE TO ruled DO ALSO INSERT INTO heard VALUES (new.given_name);
SELECT tested('ruled');

-- Partitions: none at all, and none for the site.
CREATE TABLE parted (LIKE base INCLUDING DEFAULTS) PARTITION BY LIST (site);
ALTER TABLE parted OWNER TO regress_people_owner;
SELECT roster_attach_people('parted');
SELECT tested('parted');
CREATE TABLE parted_south PARTITION OF parted FOR VALUES IN ('south');
SELECT roster_attach_people('parted');
SELECT tested('parted');
SELECT site FROM roster_connect('parted', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1',
    people => 'parted', site => 'north', time_zone => 'Europe/Vienna');
SELECT site FROM roster_configure('parted', site => 'south');
SELECT site FROM roster_configure('parted', site => 'west');
SELECT roster_disconnect('parted');
CREATE TABLE parted_north PARTITION OF parted FOR VALUES IN ('north') PARTITION BY RANGE (site);
SELECT tested('parted');
CREATE TABLE parted_north_a PARTITION OF parted_north FOR VALUES FROM ('a') TO ('z');
SELECT tested('parted');
-- By another column it shows with each person alone; a default partition takes all.
DROP TABLE parted_north;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 2) n;
SELECT FROM run_merge();
SELECT action, person, ids, rule FROM shown();
SELECT DISTINCT reason FROM changes WHERE run = last_run();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(3, 101) n;
SELECT refused('SELECT run_merge()');
SELECT clear();
CREATE TABLE parted_north PARTITION OF parted FOR VALUES IN ('north') PARTITION BY LIST (role);
SELECT tested('parted');
DROP TABLE parted_north;
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
SELECT tested('parted');

-- People without a replica identity, under a publication of updates.
SELECT make('published');
-- (The server's warning about wal_level is not the same in all versions.)
SET client_min_messages = error;
CREATE PUBLICATION regress_all FOR TABLE published WITH (publish = 'insert');
SET client_min_messages = warning;
SELECT roster_attach_people('published');
ALTER PUBLICATION regress_all SET (publish = 'insert, update');
SELECT roster_attach_people('published');
SELECT tested('published');
ALTER TABLE published REPLICA IDENTITY FULL;
SELECT roster_attach_people('published');
DROP PUBLICATION regress_all;
SELECT use_people('people');
-- Of all tables: everything of the extension's own goes on.
SET client_min_messages = error;
CREATE PUBLICATION regress_all FOR ALL TABLES;
SET client_min_messages = warning;
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'p'
    AND c.relreplident = 'd'
    AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
ORDER BY 1;
SELECT stage('s1', 'student', 'Ann', 'Roe', '100'), stage('s2', 'student', 'Ben', 'Roe', '101');
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'student', 'Cy', 'Dow', '100');
SELECT FROM run_merge();
SELECT roster_decide('north', 's1', 'new person');
SELECT roster_decide('north', 's1', 'undecided');
SELECT FROM run_merge();
SELECT outcomes();
DROP PUBLICATION regress_all;

-- Words for roles that name no family.
INSERT INTO people (site, role, given_name, family_name)
SELECT 'north', w, 'Role', 'Word'
    FROM unnest(ARRAY['parent', 'parent', 'Student', 'student', 'teacher', 'admin', 'student_leader', 'OWNER',
    'manager', 'other', '']) w;
SELECT roster_attach_people('people');
SELECT roster_attach_people('people',
    roles => '{"student": ["student", "Student"], "other": ["parent", "other", "unknown"]}');
UPDATE people SET role = 'guest' WHERE role = '';
SELECT roster_attach_people('people', roles => '{"student": ["student", "Student"], "other": ["parent", "other"]}');
INSERT INTO people (site, role, given_name, family_name)
SELECT 'north', E'w\u202e\x1b[2J' || repeat('x', 100) || n, 'Role', 'Word' FROM generate_series(10, 25) n;
SELECT roster_attach_people('people', roles => '{"student": ["student", "Student"], "other": ["parent", "other"]}');
INSERT INTO people (site, role, given_name, family_name) SELECT 'north', 'r' || n, 'Role', 'Word'
    FROM generate_series(1, 100) n;
SELECT roster_attach_people('people', roles => '{"student": ["student", "Student"], "other": ["parent", "other"]}');
DELETE FROM people;
SELECT roster_attach_people('people');

-- A view with code of its own reads as its owner, whose rights are no more than that.
CREATE FUNCTION peek() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN current_user || ' '
    || (SELECT count(*) FROM minga_roster.secrets); END $$;
CREATE VIEW nosy AS SELECT site, person_id, peek() AS role, given_name, family_name, email, grade, archived_at
    FROM below;
ALTER VIEW nosy ALTER person_id SET DEFAULT 1;
ALTER VIEW nosy OWNER TO regress_people_owner;
CREATE TRIGGER write_nosy INSTEAD OF INSERT OR UPDATE ON nosy FOR EACH ROW EXECUTE FUNCTION write_shown();
INSERT INTO below VALUES ('north', 1, 'student', 'Ann', 'Roe');
SELECT attach('nosy');
CREATE OR REPLACE FUNCTION peek() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN current_user; END $$;
SELECT attach('nosy');

-- Parent contacts without a column for them.
SELECT parent_contact FROM roster_configure('north', parent_contact => true);
SELECT roster_attach_people('base');
SELECT use_people('base');
SELECT FROM roster_configure('north', parent_contact => false);
SELECT parent_contact FROM roster_configure('north', parent_contact => true);
SELECT parent_contact FROM roster_configure('north', guard_floor => 4);
ALTER TABLE base ADD parent_phone text;
SELECT roster_attach_people('base');
SELECT roster_attach_people('base', '{"parent_phone": null}');

-- A relation with people, but none of the site.
SELECT site FROM roster_connect('nobody', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1',
    people => 'people', site => 'mhs', time_zone => 'Europe/Vienna');
SELECT roster_disconnect('nobody');
INSERT INTO people (site, role, given_name, family_name) SELECT s, 'student', 'Sam', 'Day'
    FROM unnest(ARRAY['MHS', 'MHS', 'MHS', 'central', E'we\x1b[2Jst']) s;
SELECT site FROM roster_connect('nobody', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1',
    people => 'people', site => 'mhs', time_zone => 'Europe/Vienna');
SELECT site FROM roster_configure('nobody', site => 'MHS');
SELECT site FROM roster_configure('nobody', site => 'new');
INSERT INTO people (site, role, given_name, family_name) SELECT 'school ' || n, 'student', 'Sam', 'Day'
    FROM generate_series(10, 30) n;
SELECT site FROM roster_configure('nobody', site => 'newer');
SELECT use_people('people');
SELECT tested('people');
SELECT roster_disconnect('nobody');

DELETE FROM connections WHERE connection IN ('parted', 'nobody');
DROP SCHEMA far CASCADE;
\i :fixture_end
