-- No one becomes superuser through people: a sync writes to no relation of a superuser, of an extension or of the
-- system, and a trigger finds no more rights than a plain owner has.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
\set merge :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :merge
\set ECHO all
CREATE ROLE regress_app;
CREATE ROLE regress_plain;
CREATE ROLE regress_second_dba IN ROLE :USER;
CREATE ROLE regress_programs IN ROLE pg_execute_server_program;
GRANT USAGE ON SCHEMA minga_roster, school TO regress_app, regress_plain;
GRANT CREATE ON SCHEMA school TO regress_app, regress_plain;
GRANT EXECUTE ON FUNCTION roster_create_people(text, name), roster_attach_people(regclass, jsonb, jsonb, jsonb)
    TO regress_app, regress_plain;

-- A table made for a superuser, for a role that can become one, for none, for one that may not see it: nothing is made.
SELECT pg_temp.refusal($$SELECT roster_create_people('school.made')$$);
SELECT pg_temp.refusal($$SELECT roster_create_people('school.made', owner => current_user)$$);
SELECT pg_temp.refusal($$SELECT roster_create_people('school.made', owner => 'regress_second_dba')$$);
SELECT pg_temp.refusal($$SELECT roster_create_people('school.made', owner => 'regress_programs')$$);
SELECT pg_temp.refusal($$SELECT roster_create_people('school.made', owner => 'regress_nobody')$$);
CREATE SCHEMA closed;
SELECT pg_temp.refusal($$SELECT roster_create_people('closed.made', owner => 'regress_plain')$$);
SET ROLE regress_app;
-- (The server's words for this are not the same in all versions.)
\set VERBOSITY sqlstate
SELECT roster_create_people('school.made', owner => 'regress_plain');
\set VERBOSITY default
SELECT pg_temp.refusal($$SELECT minga_roster_internal.make_people('school', 'made', 'regress_plain')$$);
RESET ROLE;
SELECT to_regclass('school.made'), to_regclass('closed.made');
-- What the hints say.
GRANT USAGE ON SCHEMA closed TO regress_plain;
SELECT roster_create_people('closed.made', owner => 'regress_plain');
SELECT relowner::regrole FROM pg_class WHERE oid = 'closed.made'::regclass;

-- A table and a view that are there and belong to one: refused, and taken once they do what the error says.
CREATE TABLE members (LIKE people INCLUDING ALL);
CREATE VIEW shown_members AS SELECT * FROM members;
ALTER VIEW shown_members ALTER person_id SET DEFAULT gen_random_uuid()::text;
SELECT pg_temp.refusal($$SELECT roster_attach_people('members')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('shown_members')$$);
ALTER TABLE members OWNER TO regress_second_dba;
SELECT pg_temp.refusal($$SELECT roster_attach_people('members')$$);
ALTER TABLE members OWNER TO regress_people_owner;
ALTER VIEW shown_members OWNER TO regress_people_owner;
SELECT roster_attach_people('members'), roster_attach_people('shown_members');
ALTER TABLE members SET SCHEMA closed;
SELECT pg_temp.refusal($$SELECT roster_attach_people('closed.members')$$);
GRANT USAGE ON SCHEMA closed TO regress_people_owner;
SELECT roster_attach_people('closed.members');
-- One that was given to a superuser afterwards is told of the same way.
ALTER TABLE closed.members OWNER TO CURRENT_USER;
SELECT pg_temp.refusal($$SELECT check_people_relation('closed.members')$$);
ALTER TABLE closed.members OWNER TO regress_people_owner;
SELECT check_people_relation('closed.members'), check_people_relation(4294967294::oid);

-- Relations of extensions and of the system, also with columns that would fit, whichever role asks.
CREATE FUNCTION try_all() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT pg_temp.refusal(format('SELECT minga_roster.roster_attach_people(%L, columns => %L)', r, c))
    FROM (VALUES
        ('cron.job',
        '{"site": "nodename", "person_id": "jobid", "role": "schedule", "given_name": "command",
        "family_name": "username"}'),
        ('pg_catalog.pg_authid', '{}'), ('pg_catalog.pg_proc', '{}'), ('information_schema.sql_features', '{}'),
        ('pg_catalog.pg_settings', '{}'),
        ('minga_roster.connections', '{}'), ('minga_roster.role_rules', '{}')) v (r, c)
$$;
SELECT try_all();
SELECT pg_temp.refusal(format('SELECT minga_roster.roster_attach_people(%L)', reltoastrelid::regclass))
FROM pg_class WHERE oid = 'pg_proc'::regclass;
GRANT SELECT, INSERT, UPDATE, TRIGGER ON cron.job TO regress_app;
GRANT USAGE ON SCHEMA cron TO regress_app;
SET ROLE regress_app;
SELECT split_part(t, E'\n', 1) FROM try_all() t;
-- Nor one of someone else's, with all rights on it.
RESET ROLE;
GRANT ALL ON closed.members, people TO regress_app;
GRANT USAGE ON SCHEMA closed TO regress_app;
SET ROLE regress_app;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_attach_people('closed.members')$$);
RESET ROLE;
REVOKE ALL ON cron.job FROM regress_app;
REVOKE ALL ON SCHEMA cron FROM regress_app;
SELECT relation FROM people_relations
WHERE relation::text ~ '^(cron|pg_|information_schema|minga_roster)' OR relation::text = 'connections';

-- A role with all rights on people makes triggers: they run as the plain owner, which may do nothing by any door.
SET ROLE regress_app;
SET search_path = school, public;
CREATE TABLE loot (nth serial, who text, tried text, got text);
GRANT ALL ON loot, loot_nth_seq TO PUBLIC;
CREATE FUNCTION grab() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    try text;
BEGIN
    FOREACH try IN ARRAY ARRAY['ALTER ROLE regress_app SUPERUSER', 'SET ROLE postgres', 'RESET ROLE',
        'SET SESSION AUTHORIZATION postgres',
        'RESET SESSION AUTHORIZATION', 'COPY school.loot TO PROGRAM ''cat''', 'CREATE ROLE regress_made SUPERUSER',
        'GRANT pg_execute_server_program TO regress_app', 'SELECT rolpassword FROM pg_authid',
        'TABLE minga_roster.secrets', 'SELECT minga_roster_internal.as_owner(''pg_authid'', ''SELECT'')',
        'ALTER FUNCTION school.grab() OWNER TO postgres',
        'ALTER FUNCTION minga_roster_internal.merge_run(bigint) OWNER TO regress_app',
        'SET session_replication_role = replica',
        'CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE c AS ''x'''] LOOP
        BEGIN
            EXECUTE try;
            INSERT INTO school.loot (who, tried, got) VALUES (current_user, try, 'done');
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO school.loot (who, tried, got) VALUES (current_user, try, SQLSTATE);
        END;
    END LOOP;
    RETURN NEW;
END
$$;
CREATE TRIGGER grab BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION grab();
RESET ROLE;
SET search_path = school, public, minga_roster, minga_roster_internal;
SELECT stage('s1', 'student', 'Ada', 'Day');
SELECT FROM run_merge();
SELECT action, state FROM shown();
SELECT who, tried, got, count(*) FROM loot GROUP BY 1, 2, 3 ORDER BY min(nth);
SELECT rolname FROM pg_roles WHERE rolsuper AND rolname ~ '^regress';

DROP TRIGGER grab ON people;

-- A view with security_invoker, for whose rights what is below it counts, whose function has it read a table of the run
-- from then on: the right to these is lent to what the statement names itself.
TRUNCATE loot;
GRANT CREATE ON SCHEMA school TO regress_people_owner;
SET ROLE regress_people_owner;
CREATE VIEW inside WITH (security_invoker) AS SELECT NULL::text AS got;
CREATE FUNCTION grab_table(got text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO school.loot (who, tried, got) VALUES (current_user, 'a table of the run', got);
    IF to_regclass('pg_temp.plan_rules') IS NOT NULL THEN
        CREATE OR REPLACE RULE "_RETURN" AS ON SELECT TO school.inside DO INSTEAD
            SELECT count(*)::text AS got FROM pg_temp.plan_rules;
    END IF;
    RETURN true;
END
$$;
CREATE VIEW shown_people WITH (security_invoker) AS
SELECT p.* FROM people p WHERE school.grab_table((SELECT i.got FROM inside i));
ALTER VIEW shown_people ALTER person_id SET DEFAULT gen_random_uuid()::text;
RESET ROLE;
SELECT roster_attach_people('shown_people');
CREATE FUNCTION look_as_worker(shown regclass) RETURNS bigint LANGUAGE sql SET role = minga_roster_dba AS $$
    SELECT minga_roster_internal.as_owner(shown, 'SELECT FROM school.shown_people')
$$;
SELECT pg_temp.refusal($$SELECT look_as_worker('shown_people')$$) FROM generate_series(1, 2);
SELECT who, got FROM loot;
DROP VIEW shown_people, inside;
DELETE FROM people_relations WHERE relation IN ('closed.made'::regclass, 'closed.members');
SET client_min_messages = warning;
DROP SCHEMA closed CASCADE;
DROP OWNED BY regress_app, regress_plain, regress_programs CASCADE;
DROP ROLE regress_app, regress_plain, regress_second_dba, regress_programs;
\set ECHO none
\i :fixture_end
