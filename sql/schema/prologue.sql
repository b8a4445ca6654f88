/* minga_roster: keeps the people of a site in step with its student information system over OneRoster */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION minga_roster" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = pg_catalog.format('minga_roster cannot be used in a database with encoding "%s"',
                pg_catalog.getdatabaseencoding()),
            DETAIL = 'Names of people come from the student information system in UTF-8.',
            HINT = 'Create the extension in a database created with ENCODING ''UTF8''.';
    END IF;
END
$$;

-- The schema's owner, or a role that can create objects in it, could add functions that are called with a superuser's
-- rights.
DO $$
DECLARE
    found pg_catalog.text;
BEGIN
    SELECT CASE
            WHEN NOT r.rolsuper THEN pg_catalog.format('It belongs to "%s".', r.rolname)
            WHEN EXISTS (
                SELECT FROM pg_catalog.aclexplode(n.nspacl) a
                WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
                    AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner) THEN
                'Roles other than its owner can create objects in it.'
            WHEN EXISTS (
                SELECT FROM pg_catalog.pg_depend d
                WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) n.oid
                    AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass) THEN
                'It contains objects already.'
        END
    INTO found
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    WHERE n.nspname OPERATOR(pg_catalog.=) 'minga_roster';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
            MESSAGE = 'schema "minga_roster" is not an empty schema of a superuser',
            DETAIL = found,
            HINT = 'Check what is in it and who created it. Drop or rename it, then create the extension again.';
    END IF;
END
$$;

-- The functions behind those of schema minga_roster. CREATE SCHEMA raises 42P06 if the schema exists already.
CREATE SCHEMA minga_roster_internal;
COMMENT ON SCHEMA minga_roster_internal IS
'Functions that the extension calls itself; not for others to call, and changed without notice.';
