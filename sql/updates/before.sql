/* minga_roster: from @OLD@ to @NEW@. Made by tools/update_script.pl. */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION minga_roster UPDATE TO '@NEW@'" to load this file. \quit

-- The script runs with a superuser's rights, and the extension's tables and internal functions belong to a role whose
-- members are none. What they may have added would run here, or be called by the new version.
DO $$
DECLARE
    found pg_catalog.text;
BEGIN
    SELECT CASE
            WHEN NOT r.rolsuper THEN pg_catalog.format('Schema "%s" belongs to "%s".', n.nspname, r.rolname)
            WHEN EXISTS (
                SELECT FROM pg_catalog.aclexplode(n.nspacl) a
                WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
                    AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
                    AND NOT (n.nspname OPERATOR(pg_catalog.=) 'minga_roster_internal'
                        AND a.grantee OPERATOR(pg_catalog.=)
                            'minga_roster_dba'::pg_catalog.regrole::pg_catalog.oid)) THEN
                pg_catalog.format('Roles other than its owner can create objects in schema "%s".', n.nspname)
        END
    INTO found
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{minga_roster,minga_roster_internal}'::pg_catalog.name[])
    ORDER BY 1
    LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
            MESSAGE = 'the schemas of minga_roster are not a superuser''s alone',
            DETAIL = found,
            HINT = 'Find out who changed that and why, and put it right. Then update the extension again.';
    END IF;

    -- Of the extension's schemas: functions, operators and types that are not the extension's.
    SELECT pg_catalog.pg_describe_object(o.classid, o.objid, 0) INTO found
    FROM (
        SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid AS classid, p.oid AS objid, p.pronamespace AS
            namespace, p.proowner AS owner
        FROM pg_catalog.pg_proc p
        UNION ALL
        SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oid, o.oprnamespace, o.oprowner
        FROM pg_catalog.pg_operator o
        UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, t.oid, t.typnamespace, t.typowner
        FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.typrelid
        WHERE t.typelem OPERATOR(pg_catalog.=) 0::pg_catalog.oid
            AND (c.oid IS NULL OR c.relkind OPERATOR(pg_catalog.=) 'c'::pg_catalog."char")
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, c.relnamespace, c.relowner
        FROM pg_catalog.pg_class c
        WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
    ) o
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.namespace
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) o.owner
    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{minga_roster,minga_roster_internal}'::pg_catalog.name[])
        AND NOT r.rolsuper
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e
                ON e.oid OPERATOR(pg_catalog.=) d.refobjid
            WHERE d.classid OPERATOR(pg_catalog.=) o.classid AND d.objid OPERATOR(pg_catalog.=) o.objid
                AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'minga_roster')
    ORDER BY 1
    LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_definition',
            MESSAGE = 'a schema of minga_roster has an object that is not the extension''s',
            DETAIL = pg_catalog.format('It is %s, and no superuser owns it.', found),
            HINT = 'Find out who created it and why, and drop or move it. Then update the extension again.';
    END IF;
END
$$;

-- Triggers, rules, defaults, checks and indexes of the extension's tables that call a function, or use an operator or
-- type, of a role that is neither a superuser nor the extension's.
DO $$
DECLARE
    found text;
BEGIN
    WITH tables AS (
        SELECT c.oid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('minga_roster', 'minga_roster_internal') AND c.relkind IN ('r', 'p')
    ), parts AS (
        SELECT 'pg_class'::regclass AS classid, t.oid AS objid FROM tables t
        UNION ALL
        SELECT d.classid, d.objid
        FROM tables t JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
        WHERE d.classid IN ('pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_attrdef'::regclass,
                'pg_constraint'::regclass, 'pg_class'::regclass)
            AND NOT EXISTS (SELECT FROM pg_rewrite w JOIN pg_class v ON v.oid = w.ev_class
                WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND v.relkind IN ('v', 'm'))
    )
    SELECT pg_describe_object(x.classid, x.objid, 0) INTO found
    FROM parts x JOIN pg_depend d ON d.classid = x.classid AND d.objid = x.objid
        LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
        LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
        LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
        JOIN pg_roles r ON r.oid = coalesce(p.proowner, o.oprowner, t.typowner)
    WHERE NOT r.rolsuper
    ORDER BY 1
    LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
            MESSAGE = 'a table of minga_roster calls a function that is not a superuser''s',
            DETAIL = format('It is called by %s.', found),
            HINT = 'Find out who added that and why, and drop it. Then update the extension again.';
    END IF;
END
$$;

-- A run that works would find half of itself in another version.
LOCK TABLE minga_roster.runs IN ACCESS EXCLUSIVE MODE;
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity a
        WHERE a.backend_type = 'minga_roster' AND a.datname = pg_catalog.current_database()) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use',
            MESSAGE = 'minga_roster cannot be updated while a run works',
            DETAIL = pg_catalog.format('A worker of the extension is active in database "%s".',
                pg_catalog.current_database()),
            HINT = 'Wait for it, or cancel its run with minga_roster.roster_cancel. Then update the extension again.';
    END IF;
END
$$;

-- What the new version makes again is taken away: policies, triggers, internal functions, types, views and tables of
-- rights. Views of users depend on views of the extension, so these stay, for the moment with nothing behind their
-- columns. Nothing of the extension is called before it is new.
DO $$
DECLARE
    changed_functions CONSTANT name[] := ARRAY['@CHANGED@']::name[];
    command text;
    lost text;
BEGIN
    CREATE TEMPORARY TABLE minga_roster_members ON COMMIT DROP AS
        SELECT d.classid, d.objid
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster';

    FOR command IN
        SELECT format('CREATE OR REPLACE VIEW %I.%I AS SELECT %s', n.nspname, c.relname,
            string_agg(format('NULL::%s%s AS %I', format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation
                    THEN format(' COLLATE %s', a.attcollation::regcollation) END, a.attname), ', ' ORDER BY a.attnum))
        FROM pg_temp.minga_roster_members m JOIN pg_class c ON c.oid = m.objid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_type t ON t.oid = a.atttypid
        WHERE m.classid = 'pg_class'::regclass AND c.relkind = 'v'
        GROUP BY n.nspname, c.relname
        UNION ALL
        SELECT format('DROP POLICY %I ON %I.%I', p.polname, n.nspname, c.relname)
        FROM pg_temp.minga_roster_members m JOIN pg_class c ON c.oid = m.objid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_policy p ON p.polrelid = c.oid
        WHERE m.classid = 'pg_class'::regclass AND p.polname = 'levels'
        UNION ALL
        SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
        FROM pg_temp.minga_roster_members m JOIN pg_trigger t ON t.tgfoid = m.objid
        WHERE m.classid = 'pg_proc'::regclass AND NOT t.tgisinternal
    LOOP
        EXECUTE command;
    END LOOP;

    SELECT string_agg(format('GRANT EXECUTE ON FUNCTION %s TO %s%s;', p.oid::regprocedure, a.grantee::regrole,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), ' ' ORDER BY p.proname, a.grantee)
    INTO lost
    FROM pg_temp.minga_roster_members m JOIN pg_proc p ON p.oid = m.objid CROSS JOIN LATERAL aclexplode(p.proacl) a
    WHERE m.classid = 'pg_proc'::regclass AND p.pronamespace = 'minga_roster'::regnamespace
        AND p.proname = ANY (changed_functions)
        AND a.grantee NOT IN (0, p.proowner, 'minga_roster_dba'::regrole);
    IF lost IS NOT NULL THEN
        RAISE WARNING USING MESSAGE = 'functions whose arguments changed lose what was granted',
            HINT = format('Grant it again with the arguments of now: %s', lost);
    END IF;

    -- All at once, since they depend on each other.
    FOR command IN
        SELECT format('DROP ROUTINE %s', string_agg(p.oid::regprocedure::text, ', '))
        FROM pg_temp.minga_roster_members m JOIN pg_proc p ON p.oid = m.objid
        WHERE m.classid = 'pg_proc'::regclass AND (p.pronamespace = 'minga_roster_internal'::regnamespace
            OR (p.pronamespace = 'minga_roster'::regnamespace AND p.proname = ANY (changed_functions)))
        HAVING count(*) > 0
        UNION ALL
        SELECT format('DROP VIEW %s', string_agg(c.oid::regclass::text, ', '))
        FROM pg_temp.minga_roster_members m JOIN pg_class c ON c.oid = m.objid
        WHERE m.classid = 'pg_class'::regclass AND c.relnamespace = 'minga_roster_internal'::regnamespace
            AND c.relkind = 'v'
        HAVING count(*) > 0
        UNION ALL
        SELECT format('DROP TYPE %s', string_agg(t.oid::regtype::text, ', '))
        FROM pg_temp.minga_roster_members m JOIN pg_type t ON t.oid = m.objid
        WHERE m.classid = 'pg_type'::regclass AND t.typnamespace = 'minga_roster_internal'::regnamespace
            AND t.typtype = 'c' AND (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c'
        HAVING count(*) > 0
        UNION ALL
        SELECT 'DROP TABLE minga_roster_internal.function_levels, minga_roster_internal.table_levels'
    LOOP
        EXECUTE command;
    END LOOP;
    DROP TABLE pg_temp.minga_roster_members;
END
$$;
