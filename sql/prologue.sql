/* minga_roster: keeps the people of a site in step with its student information system over OneRoster */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION minga_roster" to load this file. \quit

DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('minga_roster cannot be used in a database with encoding "%s"', pg_catalog.getdatabaseencoding()),
            DETAIL = 'Names of people come from the student information system in UTF-8.',
            HINT = 'Create the extension in a database made with ENCODING ''UTF8''.';
    END IF;
END
$$;
