-- Statements on people run as the relation's owner, with a session's search_path, and let nothing of a person out in an
-- error.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE ROLE school_keeper;
CREATE ROLE school_other;
GRANT USAGE, CREATE ON SCHEMA school TO school_keeper;
GRANT USAGE ON SEQUENCE person TO school_keeper;
ALTER TABLE people OWNER TO school_keeper;
-- triggers and defaults run with the owner's rights, and see the search_path of a new session
CREATE TABLE seen (operation text, who text, given_name text, path text);
GRANT INSERT ON seen TO school_keeper;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO school.seen VALUES (TG_OP, current_user, NEW.given_name, current_setting('search_path') || ' '
        || current_setting('row_security'));
    RETURN NEW;
END
$$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note();
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 6) n;
SELECT FROM run_merge();
SELECT stage('s2', 'student', 'Samuel', 'Day'), unstage('s1');
SELECT FROM run_merge();
SELECT * FROM seen ORDER BY operation, given_name;
SELECT current_user = session_user, current_setting('search_path'), current_setting('row_security');
TRUNCATE seen;
-- it cannot do what its owner cannot
CREATE TABLE secret (name text);
INSERT INTO secret VALUES ('x');
CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM school.secret; RETURN NEW; END $$;
CREATE TRIGGER peek BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION peek();
SELECT stage('s7', 'student', 'Sam7', 'Day');
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
-- nor become someone else
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    SET LOCAL ROLE NONE; RESET SESSION AUTHORIZATION; RETURN NEW; END $$;
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
-- what its errors say about people stays inside; the transaction goes on as who it was
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % here',
    NEW.given_name USING DETAIL = NEW.family_name, HINT = NEW.given_name; END $$;
SELECT FROM run_merge();
SELECT action, state, reason, before, after FROM changes WHERE run = last_run() AND rule = 'refused by people';
-- whatever the SQLSTATE
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('SELECT %I', NEW.given_name); RETURN NEW; END $$;
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM NEW.given_name::regclass; RETURN NEW; END $$;
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
CREATE OR REPLACE FUNCTION peek() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege USING MESSAGE = NEW.given_name; END $$;
SELECT FROM run_merge();
SELECT action, state, reason FROM changes WHERE run = last_run() AND rule = 'refused by people';
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT FROM run_merge();
SELECT action, state, rule, reason, person_id FROM changes WHERE run = last_run();
SELECT linked();
DROP TRIGGER peek ON people;
ALTER TABLE people ADD CONSTRAINT no_seven CHECK (given_name <> 'Sam7');
SELECT FROM run_merge();
SELECT action, state, reason, before, after FROM changes WHERE run = last_run() AND rule = 'refused by people';
ALTER TABLE people DROP CONSTRAINT no_seven;
ALTER TABLE people ALTER grade TYPE varchar(2);
SELECT stage('s7', 'student', 'Sam7', 'Day', grade => 'Kindergarten');
SELECT FROM run_merge();
SELECT action, state, reason, before, after FROM changes WHERE run = last_run() AND rule = 'refused by people';
SELECT stage('s7', 'student', 'Sam7', 'Day');
ALTER TABLE people RENAME phone TO telephone;
SELECT refused('SELECT run_merge()');
ALTER TABLE people RENAME telephone TO phone;
-- a person whom a trigger keeps from being written is a reject; links that need no writing are kept
CREATE OR REPLACE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.identifier = '3'
    THEN NULL ELSE NEW END; END $$;
CREATE TRIGGER peek BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION peek();
SELECT stage('s3', 'student', 'Sammy', 'Day'), stage('s4', 'student', 'Sammy', 'Day');
SELECT FROM run_merge();
SELECT action, sourced_ids, state, rule, reason FROM changes WHERE run = last_run() ORDER BY change;
SELECT created, updated FROM runs WHERE run = last_run();
DROP TRIGGER peek ON people;
-- arguments, also none and NULL; the rows processed
SELECT as_owner('people', 'UPDATE school.people SET phone = $2 WHERE identifier = $1', '4', NULL);
SELECT as_owner('people', 'DELETE FROM school.people WHERE false');
-- deferred foreign keys and constraint triggers, also ones that wait already
CREATE TABLE houses (house text PRIMARY KEY);
CREATE TABLE residents (site text, person_id text,
    FOREIGN KEY (site, person_id) REFERENCES people DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE people ADD house text REFERENCES houses DEFERRABLE INITIALLY DEFERRED;
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION note();
GRANT SELECT, REFERENCES ON houses, residents TO school_keeper;
GRANT USAGE ON SCHEMA school TO minga_roster_dba;
GRANT INSERT ON seen TO minga_roster_dba;
TRUNCATE seen;
SELECT stage('s8', 'student', 'Sam8', 'Day');
BEGIN;
UPDATE people SET phone = '1' WHERE identifier = '4';
SELECT FROM run_merge();
COMMIT;
SELECT operation, who, given_name FROM seen WHERE who = 'school_keeper' ORDER BY 1, 3;
-- a trigger that waited before the merge runs as who ends the wait; since PostgreSQL 18, as who queued it
SELECT array_agg(who ORDER BY who) = ARRAY[CASE WHEN current_setting('server_version_num')::integer < 180000
    THEN 'minga_roster_dba' ELSE 'postgres' END, 'postgres'] FROM seen WHERE who <> 'school_keeper';
-- a policy that would filter is an error, never an omission
ALTER TABLE people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON people USING (identifier <> '5');
SELECT refused('SELECT run_merge()');
ALTER TABLE people NO FORCE ROW LEVEL SECURITY;
SELECT again();
ALTER TABLE people DISABLE ROW LEVEL SECURITY;
-- only for the role that the extension acts with
GRANT USAGE ON SCHEMA minga_roster_internal TO school_other;
GRANT EXECUTE ON FUNCTION minga_roster_internal.as_owner(regclass, text, text[]) TO school_other;
SET ROLE school_other;
SELECT minga_roster_internal.as_owner('pg_catalog.pg_class', 'SELECT');
RESET ROLE;
REVOKE ALL ON SCHEMA minga_roster_internal FROM school_other;
REVOKE ALL ON FUNCTION minga_roster_internal.as_owner(regclass, text, text[]) FROM school_other;
DROP TABLE houses, residents CASCADE;
ALTER TABLE people OWNER TO regress_people_owner;
REVOKE ALL ON SCHEMA school FROM school_keeper;
REVOKE ALL ON SEQUENCE person FROM school_keeper;
REVOKE ALL ON seen FROM school_keeper;
DROP ROLE school_keeper, school_other;
\set ECHO none
\i :fixture_end
