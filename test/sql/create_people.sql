-- roster_create_people: a people table for those who have none.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
\set VERBOSITY terse
CREATE SCHEMA create_people;
GRANT USAGE ON SCHEMA create_people TO regress_people_owner;
SET search_path = create_people, public;

SELECT minga_roster.roster_create_people('people', owner => 'regress_people_owner');
SELECT minga_roster.roster_create_people('create_people."School People"', 'regress_people_owner');
SELECT relation, columns ->> 'given_name', roles FROM minga_roster.people_relations WHERE relation = 'people'::regclass;

-- Every column of the contract is there and mapped to itself.
SELECT count(*) FILTER (WHERE p.columns ->> c."column" = c."column"), count(*)
FROM minga_roster_internal.people_columns() c, minga_roster.people_relations p WHERE p.relation = 'people'::regclass;

SELECT attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END, pg_get_expr(adbin, adrelid)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'people'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'people'::regclass ORDER BY 1;
SELECT obj_description('people'::regclass, 'pg_class') IS NOT NULL;

-- Addresses may be shared, also within a site.
INSERT INTO people (site, role, given_name, family_name, email)
    VALUES ('mesa', 'student', 'A', 'B', 'family@b.example'), ('mesa', 'student', 'C', 'B', 'Family@b.example');
SELECT count(DISTINCT person_id), bool_and(roster_managed), bool_and(archived_at IS NULL) FROM people;

-- The table is the owner's or the caller's, and no part of the extension.
CREATE ROLE regress_roster_dba;
GRANT USAGE ON SCHEMA minga_roster TO regress_roster_dba;
GRANT EXECUTE ON FUNCTION minga_roster.roster_create_people(text, name),
    minga_roster.roster_attach_people(regclass, jsonb, jsonb, jsonb) TO regress_roster_dba;
GRANT USAGE, CREATE ON SCHEMA create_people TO regress_roster_dba;
SET ROLE regress_roster_dba;
SELECT minga_roster.roster_create_people('theirs');
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('pg_catalog.people')$$);
RESET ROLE;
SELECT oid::regclass, relowner::regrole FROM pg_class WHERE oid IN ('theirs'::regclass, 'people'::regclass) ORDER BY 1;
SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_class'::regclass
    AND objid IN ('theirs'::regclass, 'people'::regclass);

-- Refused, and nothing made or attached.
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('people')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('create_people.people')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('pupils', owner => 'no "role"')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people(NULL)$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('a.b.c')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('nowhere.people', 'regress_people_owner')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('people; DROP TABLE people')$$);
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('pg_temp.people', 'regress_people_owner')$$);
SET search_path = pg_catalog;
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('people_without_schema', 'regress_people_owner')$$);
SET search_path = '';
SELECT pg_temp.refusal($$SELECT minga_roster.roster_create_people('people_without_schema', 'regress_people_owner')$$);
SELECT relation FROM minga_roster.people_relations WHERE relation::text LIKE 'create_people.%' ORDER BY relation::text;
SELECT relation FROM minga_roster.people_relations WHERE relation::text LIKE 'pg_temp%';

-- A path that puts other operators first changes nothing.
CREATE FUNCTION create_people.never(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR create_people.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = create_people.never);
SET search_path = create_people, pg_catalog;
SELECT minga_roster.roster_create_people('behind', 'regress_people_owner');
RESET search_path;

DELETE FROM minga_roster.people_relations WHERE relation::text LIKE 'create_people.%';
SET client_min_messages = warning;
DROP SCHEMA create_people CASCADE;
DROP OWNED BY regress_roster_dba;
DROP ROLE regress_roster_dba;
