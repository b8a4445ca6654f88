-- PUBLIC may call what asks for a level; docs/operations.md says how to give one. Without USAGE on the schema, which
-- roster_grant gives, no role comes that far. The rest is granted by the DBA.

REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA minga_roster_internal FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minga_roster_internal FROM PUBLIC;

-- Tables, sequences, types and internal functions belong to minga_roster_dba. What may run with the rights of others,
-- or as machine code, stays with the superuser who creates the extension, so that no member of that role can replace
-- it: the schemas, functions in C (the door is one), views, what views and policies call, and make_people.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid
            FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster'
        )
        -- Sequences and row types go with their tables.
        SELECT format('ALTER TABLE %I.%I OWNER TO minga_roster_dba', n.nspname, c.relname)
        FROM members m JOIN pg_class c ON c.oid = m.objid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT format('ALTER TYPE %I.%I OWNER TO minga_roster_dba', n.nspname, t.typname)
        FROM members m JOIN pg_type t ON t.oid = m.objid JOIN pg_namespace n ON n.oid = t.typnamespace
            LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE m.classid = 'pg_type'::regclass AND t.typelem = 0 AND (c.oid IS NULL OR c.relkind = 'c')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO minga_roster_dba', p.oid::regprocedure)
        FROM members m JOIN pg_proc p ON p.oid = m.objid JOIN pg_namespace n ON n.oid = p.pronamespace
            JOIN pg_language l ON l.oid = p.prolang
        WHERE m.classid = 'pg_proc'::regclass AND n.nspname = 'minga_roster_internal' AND l.lanname <> 'c'
            AND p.proname <> 'make_people'
            AND NOT EXISTS (SELECT FROM pg_depend d
                WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                    AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass))
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        SELECT format('GRANT SELECT ON %I.%I TO minga_roster_dba WITH GRANT OPTION', n.nspname, c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('minga_roster', 'minga_roster_internal') AND c.relkind = 'v'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
-- Members of the role grant others what these may call and read.
GRANT USAGE ON SCHEMA minga_roster TO minga_roster_dba WITH GRANT OPTION;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster TO minga_roster_dba WITH GRANT OPTION;
-- Partitions of the stage are made there.
GRANT USAGE, CREATE ON SCHEMA minga_roster_internal TO minga_roster_dba;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster_internal TO minga_roster_dba;
GRANT EXECUTE ON FUNCTION minga_roster_internal.connection_status TO minga_roster_dba WITH GRANT OPTION;

-- What asks for a level, what policies let rows through of, and what views and policies call for anyone: the latter
-- tell no more than what the current user may know.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', p.oid::regprocedure)
        FROM pg_proc p JOIN minga_roster_internal.function_levels f ON f.function = p.proname
        WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
            AND f.level <> 'dba'
        UNION ALL
        SELECT format('GRANT SELECT ON minga_roster.%I TO PUBLIC', t.relation)
        FROM minga_roster_internal.table_levels t
        WHERE t.level <> 'dba'
        UNION ALL
        SELECT format('GRANT SELECT ON %s TO PUBLIC', c.oid::regclass)
        FROM pg_class c
        WHERE c.relkind = 'v' AND c.relnamespace = 'minga_roster'::regnamespace
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
GRANT SELECT ON minga_roster_internal.latest_plans TO PUBLIC;
GRANT EXECUTE ON FUNCTION minga_roster_internal.sites_of, minga_roster_internal.sees_all,
    minga_roster_internal.districts_of, minga_roster_internal.holder, minga_roster_internal.server_origin,
    minga_roster_internal.usable_zone TO PUBLIC;
