-- Levels: who may give them, whom they reach, and what they open at which site and people relation.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA levels;
SET search_path = minga_roster, levels, public;
GRANT USAGE ON SCHEMA levels TO PUBLIC;
GRANT USAGE ON SCHEMA levels TO regress_people_owner;
SELECT roster_create_people('levels.people', owner => 'regress_people_owner');
-- Connects a site that has people.
CREATE FUNCTION levels.connect(connection text, site text, district text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT c.connection FROM minga_roster.roster_connect(connect.connection,
        'https://sis.example/campus/api/oneroster/v1p1/app', 'client', school_id => 'school',
        people => 'levels.people', site => connect.site, district => connect.district, time_zone => 'UTC') c
$$;
INSERT INTO levels.people (site, role, given_name, family_name)
    SELECT s, 'other', 'A', 'B' FROM unnest(ARRAY['l-north', 'l-south', 'l-west', 'l-new', 'l-far']) s;
SELECT levels.connect('l-n', 'l-north', 'mesa'), levels.connect('l-s', 'l-south', 'mesa'),
    levels.connect('l-w', 'l-west', 'far');
CREATE ROLE regress_levels_manager;
CREATE ROLE regress_levels_owner;
CREATE ROLE regress_levels_reader;
CREATE ROLE regress_levels_other;

-- Level, site and district have to fit, and the role has to exist.
SELECT pg_temp.refusal(format('SELECT minga_roster.roster_grant(%L, %L, site => %L, district => %L)', r, l, s, d))
FROM (VALUES ('regress_levels_owner', 'boss', 'l-north', NULL), ('regress_levels_owner', NULL, 'l-north', NULL),
    ('regress_levels_owner', 'owner', NULL, 'mesa'), ('regress_levels_owner', 'owner', 'l-north', 'mesa'),
    ('regress_levels_owner', 'district_manager', 'l-north', NULL), ('regress_levels_owner', 'reader', NULL, NULL),
    ('regress_levels_owner', 'owner', ' l-north', NULL), ('regress_levels_owner', 'reader', '', NULL),
    ('regress_levels_owner', 'owner', E'l\u202e', NULL),
    ('regress_levels_none', 'owner', 'l-north', NULL), (NULL, 'owner', 'l-north', NULL)) v (r, l, s, d);
SELECT roster_grant('regress_levels_manager', 'district_manager', district => 'mesa');
SELECT roster_grant('regress_levels_manager', 'district_manager', district => 'mesa');
SELECT roster_grant('regress_levels_other', 'reader', district => 'nowhere');
SELECT roster_revoke('regress_levels_other', 'reader', district => 'nowhere');
SELECT pg_temp.refusal($$SELECT minga_roster.roster_revoke('regress_levels_other', 'reader', district => 'nowhere')$$);

-- A district manager grants owner and reader in the district, and no more; an owner grants nothing.
SET ROLE regress_levels_manager;
SELECT minga_roster.roster_grant('regress_levels_owner', 'owner', site => 'l-north');
SELECT minga_roster.roster_grant('regress_levels_reader', 'reader', district => 'mesa');
SELECT pg_temp.refusal(c) FROM unnest(ARRAY[
    $$SELECT minga_roster.roster_grant('regress_levels_other', 'district_manager', district => 'mesa')$$,
    $$SELECT minga_roster.roster_grant('regress_levels_other', 'owner', site => 'l-west')$$,
    $$SELECT minga_roster.roster_grant('regress_levels_other', 'reader', district => 'far')$$,
    $$SELECT minga_roster.roster_grant('regress_levels_other', 'owner', site => 'l-new')$$,
    $$SELECT minga_roster.roster_revoke('regress_levels_manager', 'district_manager', district => 'mesa')$$]) c;
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_grant('regress_levels_other', 'reader', site => 'l-north')$$);
-- What is someone else's is refused in the words of what does not exist.
SELECT pg_temp.refusal(c) FROM unnest(ARRAY[$$SELECT minga_roster.roster_toggle('l-w')$$,
    $$SELECT minga_roster.roster_toggle('l-none')$$, $$SELECT minga_roster.roster_toggle(NULL)$$,
    $$SELECT minga_roster.roster_cancel(-1)$$, $$SELECT minga_roster.roster_report('l-w')$$]) c;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
RESET ROLE;

-- Members have a level as they have privileges: also of a member, not without inheritance, and after SET ROLE.
CREATE ROLE regress_levels_member IN ROLE regress_levels_owner;
CREATE ROLE regress_levels_nested IN ROLE regress_levels_member;
CREATE ROLE regress_levels_switcher NOINHERIT IN ROLE regress_levels_owner;
GRANT USAGE ON SCHEMA minga_roster TO regress_levels_switcher, regress_levels_other;
SET ROLE regress_levels_member;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
SET ROLE regress_levels_nested;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
SET SESSION AUTHORIZATION regress_levels_switcher;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-n')$$);
SET ROLE regress_levels_owner;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
RESET SESSION AUTHORIZATION;
-- A SECURITY DEFINER function has its owner's levels, one without it its caller's.
SET ROLE regress_levels_other;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-n')$$);
RESET ROLE;
CREATE FUNCTION levels.count_toggles() RETURNS bigint LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT count(*) FROM minga_roster.roster_toggle('l-n') $$;
ALTER FUNCTION levels.count_toggles() OWNER TO regress_levels_owner;
SET ROLE regress_levels_other;
SELECT levels.count_toggles();
RESET ROLE;
ALTER FUNCTION levels.count_toggles() SECURITY INVOKER;
SET ROLE regress_levels_other;
SELECT pg_temp.refusal('SELECT levels.count_toggles()');
RESET ROLE;
-- The rights of the role that owns the tables are the DBA level, and EXECUTE alone is no level.
SELECT format('GRANT %I TO regress_levels_other', pg_get_userbyid(relowner)) FROM pg_class
    WHERE oid = 'role_levels'::regclass \gexec
SET ROLE regress_levels_other;
SELECT count(*) FROM minga_roster.roster_toggle('l-w');
RESET ROLE;
SELECT format('REVOKE %I FROM regress_levels_other', pg_get_userbyid(relowner)) FROM pg_class
    WHERE oid = 'role_levels'::regclass \gexec
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster TO regress_levels_other;
SET ROLE regress_levels_other;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-w')$$);
RESET ROLE;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster FROM regress_levels_other;

-- A level is the role's: it goes along with a new name, and not to another role of the old name.
ALTER ROLE regress_levels_owner RENAME TO regress_levels_renamed;
CREATE ROLE regress_levels_owner;
GRANT USAGE ON SCHEMA minga_roster TO regress_levels_owner;
SET ROLE regress_levels_renamed;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-n')$$);
RESET ROLE;
-- In a copy of the database on another server it is the role's of that name.
BEGIN;
UPDATE role_levels SET origin = 'elsewhere' WHERE role = 'regress_levels_owner';
SET ROLE regress_levels_owner;
SELECT count(*) FROM minga_roster.roster_toggle('l-n');
SET ROLE regress_levels_renamed;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-n')$$);
RESET ROLE;
-- It is granted again there.
SELECT roster_grant('regress_levels_owner', 'owner', site => 'l-north');
SELECT role, origin = minga_roster_internal.server_origin() AS here FROM role_levels WHERE level = 'owner'
    AND site = 'l-north';
ROLLBACK;
DROP OWNED BY regress_levels_owner;
DROP ROLE regress_levels_owner;
ALTER ROLE regress_levels_renamed RENAME TO regress_levels_owner;

-- USAGE on the schema comes with the first level and goes with the last one, unless it was there before.
CREATE FUNCTION levels.may_use(role name) RETURNS boolean LANGUAGE sql
    RETURN has_schema_privilege(role, 'minga_roster', 'USAGE');
SELECT levels.may_use('regress_levels_reader');
SELECT roster_grant('regress_levels_reader', 'reader', site => 'l-west');
SELECT roster_revoke('regress_levels_reader', 'reader', district => 'mesa');
SELECT levels.may_use('regress_levels_reader');
SELECT roster_revoke('regress_levels_reader', 'reader', site => 'l-west');
SELECT levels.may_use('regress_levels_reader');
SELECT roster_grant('regress_levels_other', 'reader', site => 'l-west');
SELECT roster_revoke('regress_levels_other', 'reader', site => 'l-west');
SELECT levels.may_use('regress_levels_other');
-- A role that is gone is found by its name.
SELECT roster_grant('regress_levels_reader', 'reader', site => 'l-west');
SET ROLE minga_roster_dba;
REVOKE USAGE ON SCHEMA minga_roster FROM regress_levels_reader;
RESET ROLE;
DROP ROLE regress_levels_reader;
SELECT roster_revoke('regress_levels_reader', 'reader', site => 'l-west');

-- An owner attaches no relation, not even an own one, unless the DBA lets the role.
GRANT CREATE ON SCHEMA levels TO regress_levels_owner;
SET ROLE regress_levels_owner;
CREATE TABLE levels.own (site text, person_id text DEFAULT gen_random_uuid(), role text, given_name text,
    family_name text, archived_at timestamptz);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n', people => 'levels.own')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION roster_attach_people TO regress_levels_owner;
BEGIN;
SET ROLE regress_levels_owner;
SELECT people FROM minga_roster.roster_configure('l-n', people => 'levels.own');
ROLLBACK;
REVOKE EXECUTE ON FUNCTION roster_attach_people FROM regress_levels_owner;
-- A SIS writes to a relation that the caller owns, or that was released to the district of the site.
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT levels.connect('l-n2', 'l-north')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n',
    url => 'https://own.example/campus/api/oneroster/v1p1/app')$$);
RESET ROLE;
SELECT pg_temp.refusal(c) FROM unnest(ARRAY[$$SELECT minga_roster.roster_release_people('levels.people', ' ')$$,
    $$SELECT minga_roster.roster_release_people('levels.people', 'mesa', '{}')$$,
    $$SELECT minga_roster.roster_release_people('levels.people', 'mesa', '{l-north,NULL}')$$,
    $$SELECT minga_roster.roster_release_people('pg_class', 'mesa')$$,
    $$SELECT minga_roster.roster_withdraw_people('levels.people', 'mesa')$$]) c;
GRANT EXECUTE ON FUNCTION roster_release_people, roster_withdraw_people TO regress_people_owner, regress_levels_manager;
GRANT USAGE ON SCHEMA minga_roster TO regress_people_owner;
SET ROLE regress_levels_manager;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_release_people('levels.people', 'mesa')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_withdraw_people('levels.people', 'mesa')$$);
SET ROLE regress_people_owner;
SELECT minga_roster.roster_release_people('levels.people', 'mesa', '{l-south}');
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT levels.connect('l-n2', 'l-north')$$);
SET ROLE regress_levels_manager;
SELECT levels.connect('l-s2', 'l-south');
-- Of another district's site no one else may write people.
SELECT pg_temp.refusal($$SELECT levels.connect('l-w2', 'l-west', 'mesa')$$);
SET ROLE regress_people_owner;
SELECT minga_roster.roster_release_people('levels.people', 'mesa');
SELECT minga_roster.roster_release_people('levels.people', 'far', '{l-far}');
SET ROLE regress_levels_owner;
SELECT levels.connect('l-n2', 'l-north');
SELECT connection, district FROM minga_roster.roster_configure('l-n2',
    url => 'https://sis.example/campus/api/oneroster/v1p1/other');
-- A new site: for a manager of its district alone, unless it is released to another one by name.
SELECT pg_temp.refusal($$SELECT levels.connect('l-x', 'l-new')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n2', site => 'l-new')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n2', site => 'l-west')$$);
SET ROLE regress_levels_manager;
SELECT levels.connect('l-x', 'l-new', 'mesa');
SELECT pg_temp.refusal($$SELECT levels.connect('l-f', 'l-far', 'mesa')$$);
SELECT pg_temp.refusal($$SELECT levels.connect('l-y', 'l-nowhere')$$);
SET ROLE regress_people_owner;
SELECT minga_roster.roster_withdraw_people('levels.people', 'mesa', '{l-south}');
SELECT minga_roster.roster_withdraw_people('levels.people', 'mesa');
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n',
    url => 'https://own.example/campus/api/oneroster/v1p1/app')$$);
RESET ROLE;

-- The district is the site's: only a manager of both changes it, and for all of its connections.
SET ROLE regress_levels_owner;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n', district => 'far')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n', district => '')$$);
SET ROLE regress_levels_manager;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_configure('l-n', district => 'far')$$);
RESET ROLE;
SELECT roster_grant('regress_levels_manager', 'district_manager', district => 'far');
SET ROLE regress_levels_manager;
SELECT connection, district FROM minga_roster.roster_configure('l-n', district => 'far');
RESET ROLE;
SELECT connection, district FROM connections WHERE site = 'l-north' ORDER BY 1;
SELECT roster_revoke('regress_levels_manager', 'district_manager', district => 'mesa');
SET ROLE regress_levels_manager;
SELECT string_agg(DISTINCT site, ' ' ORDER BY site) FROM minga_roster.roster_status;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_toggle('l-s')$$);
RESET ROLE;

-- A name that another site has taken: the former owner reads the former run, and does nothing with the connection.
SELECT roster_disconnect('l-n2');
SELECT levels.connect('l-n2', 'l-west');
INSERT INTO runs (run, connection, site, kind, trigger, state, requested_by, queued_at, started_at, finished_at)
    VALUES (930000001, 'l-n2', 'l-north', 'sync', 'manual', 'succeeded', 'test', now() - interval '1 day', now(),
        now());
SET ROLE regress_levels_owner;
SELECT split_part(minga_roster.roster_report(930000001), E'\n', 1);
SELECT pg_temp.refusal('SELECT minga_roster.roster_relink(930000001)');
SELECT pg_temp.refusal('SELECT minga_roster.roster_cancel(930000001)');
SELECT pg_temp.refusal($$SELECT minga_roster.roster_report('l-n2')$$);
SELECT connection, site FROM minga_roster.roster_status ORDER BY 1;
RESET ROLE;
SELECT roster_grant('regress_levels_other', 'owner', site => 'l-west');
SET ROLE regress_levels_other;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_report('l-n2')$$);
SELECT last_run FROM minga_roster.roster_status WHERE connection = 'l-n2';
RESET ROLE;

SELECT DISTINCT site FROM audit WHERE function IN ('roster_configure', 'roster_disconnect') AND site LIKE 'l-%'
    ORDER BY 1;
SET client_min_messages = warning;
SELECT roster_disconnect(connection) FROM connections WHERE connection LIKE 'l-%';
DELETE FROM connections WHERE connection LIKE 'l-%';
DELETE FROM runs WHERE run = 930000001;
SELECT count(roster_revoke(role, level, site, district)::text) FROM role_levels WHERE role LIKE 'regress_levels_%';
DELETE FROM people_relations WHERE relation = 'levels.people'::regclass;
DROP SCHEMA levels CASCADE;
REVOKE ALL ON FUNCTION roster_release_people, roster_withdraw_people FROM regress_people_owner;
REVOKE USAGE ON SCHEMA minga_roster FROM regress_people_owner;
DROP OWNED BY regress_levels_manager, regress_levels_owner, regress_levels_other, regress_levels_member,
    regress_levels_nested, regress_levels_switcher;
DROP ROLE regress_levels_manager, regress_levels_owner, regress_levels_other, regress_levels_member,
    regress_levels_nested, regress_levels_switcher;
