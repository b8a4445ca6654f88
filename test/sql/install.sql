-- What an installation has, that it says what it is, and that people outlive it.
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
SET search_path = minga_roster, minga_roster_internal, public;

-- Public functions, with their signatures.
SELECT format('%s(%s) %s%s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
    CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END)
FROM pg_proc p WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
    AND p.proname LIKE 'roster\_%' ORDER BY 1;
-- Tables and views, with their columns.
SELECT format('%s %s: %s', CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, c.relname,
    string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
GROUP BY c.oid ORDER BY c.relname;
-- The SIS list.
SELECT sis, page_size, page_size_limit, max_requests, max_requests_limit FROM sis WHERE builtin ORDER BY sis;

-- Each function, table and view has a comment; each function that is not for its caller to resolve names in has a
-- search_path of its own.
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace IN ('minga_roster'::regnamespace,
    'minga_roster_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'minga_roster'::regnamespace
    AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1;
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) AND l.lanname = 'plpgsql'
    AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) ORDER BY p.proname;
-- Everything in the schema belongs to the extension.
SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    AND d.deptype = 'e');
SELECT relocatable, superuser, trusted, schema FROM pg_available_extension_versions WHERE name = 'minga_roster'
    AND installed;

-- Another database: made, used, dropped; its people stay. Again: made again beside them.
SELECT current_database() AS regression_database \gset
CREATE DATABASE regress_minga_roster ENCODING 'UTF8' TEMPLATE template0;
\c regress_minga_roster
CREATE EXTENSION minga_roster;
SELECT minga_roster.roster_create_people('public.people', owner => 'regress_people_owner');
INSERT INTO people (site, role, given_name, family_name) VALUES ('mesa', 'student', 'Ada', 'L');
SELECT connection FROM minga_roster.roster_connect('mesa', 'https://sis.example/campus/api/oneroster/v1p1/minga', 'c',
    school_id => '1', people => 'public.people', time_zone => 'America/Denver');
DROP EXTENSION minga_roster;
SELECT site, given_name, family_name FROM public.people;
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'minga_roster%';
CREATE EXTENSION minga_roster;
SELECT minga_roster.roster_attach_people('public.people');
SELECT count(*) FROM minga_roster.connections;
\c :regression_database
DROP DATABASE regress_minga_roster;

-- A database that cannot hold all names.
CREATE DATABASE regress_minga_roster ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C';
\c regress_minga_roster
CREATE EXTENSION minga_roster;
\c :regression_database
DROP DATABASE regress_minga_roster;
