-- Without a level no one calls or reads anything; with one a role needs no right on the tables.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA grants;
GRANT USAGE ON SCHEMA grants TO regress_people_owner;
CREATE ROLE regress_roster_nobody;
CREATE ROLE regress_roster_visitor;
CREATE ROLE regress_roster_manager;
GRANT CREATE, USAGE ON SCHEMA grants TO regress_roster_manager;

SET ROLE regress_roster_nobody;
SELECT pg_temp.refusal('SELECT minga_roster.roster_run_due()');
SELECT pg_temp.refusal('TABLE minga_roster.connections');
RESET ROLE;

-- Also where someone was let into the schema: no function but those that ask for a level, and no sequence.
GRANT USAGE ON SCHEMA minga_roster TO regress_roster_visitor;
SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
    AND has_function_privilege('regress_roster_visitor', p.oid, 'EXECUTE') ORDER BY 1;
-- Tables and views can be read, row by row as policies allow, and not written.
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
    AND c.relkind IN ('r', 'v', 'p', 'm')
    AND (has_table_privilege('regress_roster_visitor', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege('regress_roster_visitor', c.oid, 'INSERT, UPDATE, REFERENCES')) ORDER BY 1;
\echo without policies:
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
    AND c.relkind IN ('r', 'v', 'p', 'm') AND has_any_column_privilege('regress_roster_visitor', c.oid, 'SELECT')
    AND NOT (c.relrowsecurity OR coalesce('security_invoker=true' = ANY (c.reloptions), false)) ORDER BY 1;
\echo not to be read:
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind IN ('r', 'v', 'p', 'm')
    AND NOT c.relispartition AND NOT has_any_column_privilege('regress_roster_visitor', c.oid, 'SELECT') ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'minga_roster'::regnamespace AND CASE c.relkind WHEN 'S'
    THEN has_sequence_privilege('regress_roster_visitor', c.oid, 'USAGE, SELECT, UPDATE') END ORDER BY 1;
SELECT nspname FROM pg_namespace WHERE nspname IN ('minga_roster', 'minga_roster_internal')
    AND has_schema_privilege('regress_roster_nobody', oid, 'USAGE, CREATE');
SET ROLE regress_roster_visitor;
SELECT pg_temp.refusal('TABLE minga_roster.secrets');
SELECT pg_temp.refusal($$SELECT minga_roster_internal.seal(gen_random_uuid(), 'x', '', 'x')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('x')$$);
RESET ROLE;

-- The owner of a site, who may create and attach relations as well.
SELECT minga_roster.roster_grant('regress_roster_manager', 'owner', site => 'granted');
GRANT EXECUTE ON FUNCTION minga_roster.roster_create_people, minga_roster.roster_attach_people
    TO regress_roster_manager;
SELECT minga_roster.roster_create_people('grants.others', owner => 'regress_people_owner');
DELETE FROM minga_roster.people_relations WHERE relation = 'grants.others'::regclass;
SET ROLE regress_roster_manager;
SET search_path = grants;
SELECT minga_roster.roster_create_people('people');
SELECT connection FROM minga_roster.roster_connect('granted', 'https://sis.example/campus/api/oneroster/v1p1/minga',
    'c', 'secret', school_id => '1', people => 'people', time_zone => 'America/Denver');
SELECT guard_floor FROM minga_roster.roster_configure('granted', guard_floor => 7);
SELECT category, archive FROM minga_roster.roster_toggle('granted', 'student', archive => true);
SELECT minga_roster.roster_set_secret('granted', 'another');
SELECT minga_roster.roster_notify('granted', 'it@mesa.example', 'never');
SELECT connection FROM minga_roster.connections;
-- Someone else's relation that is not attached is none that they may attach, this way or that.
SELECT pg_temp.refusal($$SELECT minga_roster.roster_attach_people('others')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('granted', people => 'others')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_connect('granted2',
    'https://sis.example/campus/api/oneroster/v1p1/minga', 'c', school_id => '1', people => 'others',
    site => 'granted', time_zone => 'America/Denver')$$);
SELECT minga_roster.roster_disconnect('granted');
RESET ROLE;
RESET search_path;

SELECT minga_roster.roster_revoke('regress_roster_manager', 'owner', site => 'granted');
DELETE FROM minga_roster.connections WHERE connection = 'granted';
DELETE FROM minga_roster.people_relations WHERE relation = 'grants.people'::regclass;
SET client_min_messages = warning;
DROP SCHEMA grants CASCADE;
DROP OWNED BY regress_roster_manager, regress_roster_visitor;
DROP ROLE regress_roster_manager, regress_roster_visitor, regress_roster_nobody;
