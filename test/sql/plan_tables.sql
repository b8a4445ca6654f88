-- The tables of a run's transaction: declared once, made once for each session, and safe in a session in which others
-- have made things of their names.
\set QUIET on
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET search_path = public, minga_roster, minga_roster_internal;
-- none is declared twice, or missing in docs/plan.md
SELECT count(*) = count(DISTINCT name), bool_and(name LIKE 'plan\_%'), bool_and(row_is LIKE '%.') FROM plan_tables();
\set page `cat $PG_ABS_SRCDIR/../docs/plan.md`
SELECT length(:'page') > 1000;
SELECT name FROM plan_tables() WHERE position('`' || name || '`' IN :'page') = 0;
-- no other function makes temporary tables by a command, but for event triggers
SELECT proname FROM pg_proc WHERE pronamespace = 'minga_roster_internal'::regnamespace AND prosrc LIKE '%CREATE TEMP%'
    ORDER BY 1;

-- made once
CREATE FUNCTION pg_temp.made() RETURNS TABLE (name name, oid oid) LANGUAGE sql AS $$
    SELECT c.relname, c.oid FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema() AND c.relname LIKE 'plan\_%'
        AND c.relkind = 'r'
$$;
SELECT FROM (SELECT DISTINCT made_for FROM plan_tables()) g CROSS JOIN LATERAL make_plan_tables(g.made_for);
SELECT count(*) = (SELECT count(*) FROM plan_tables()) FROM pg_temp.made();
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.made();
SELECT FROM (SELECT DISTINCT made_for FROM plan_tables()) g CROSS JOIN LATERAL make_plan_tables(g.made_for);
SELECT count(*) FROM (TABLE before EXCEPT SELECT * FROM pg_temp.made()) d;

-- emptied at commit; one run in a transaction
BEGIN;
INSERT INTO pg_temp.plan_people (person_id) VALUES ('P1');
SELECT make_plan_tables('plan');
ROLLBACK;
INSERT INTO pg_temp.plan_people (person_id) VALUES ('P1');
SELECT count(*) FROM pg_temp.plan_people;

-- made again where it has other columns
DROP TABLE pg_temp.plan_hits;
CREATE TEMP TABLE plan_hits (change integer, person_id integer);
SELECT make_plan_tables('write');
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'pg_temp.plan_hits'::regclass AND attnum > 0;

-- another role's table is refused, a type of another role makes room
CREATE ROLE regress_planted;
DROP TABLE pg_temp.plan_taken, pg_temp.plan_due_links, pg_temp.plan_undoing;
SET ROLE regress_planted;
CREATE TEMP TABLE plan_taken (change integer, reason text);
CREATE TYPE pg_temp.plan_due_links AS ENUM ();
CREATE TYPE pg_temp.planted AS RANGE (subtype = integer, multirange_type_name = pg_temp.plan_undoing);
RESET ROLE;
SELECT make_plan_tables('approve');
SELECT make_plan_tables('link');
SELECT make_plan_tables('undo');
SELECT to_regtype('pg_temp.planted') IS NULL AS gone;
SELECT relowner = current_user::regrole FROM pg_class WHERE oid = 'pg_temp.plan_due_links'::regclass;
DROP TABLE pg_temp.plan_taken;
DROP ROLE regress_planted;
