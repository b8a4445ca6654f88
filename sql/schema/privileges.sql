-- PUBLIC may call what asks for a level; docs/operations.md says how to give one. Without USAGE on the schema, which
-- roster_grant gives, no role comes that far. The rest is granted by the DBA.
-- An update runs this too: of what it finds, it changes only what is not right. For what a script grants is what an
-- installation brings, with all that others were granted on the same object, and dumps would leave that out.

-- Tables, sequences, types and internal functions belong to minga_roster_dba. What may run with the rights of others,
-- or as machine code, stays with the superuser who creates the extension, so that no member of that role can replace
-- it: the schemas, functions in C (the door is one), views, what views, policies and triggers call, and make_people.
DO $$
DECLARE
    classes oid[];
    objects oid[];
    command text;
BEGIN
    -- In no temporary table, with which Citus could not repeat the script on its nodes.
    SELECT array_agg(d.classid), array_agg(d.objid) INTO classes, objects
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster'
            AND d.xmin = pg_current_xact_id()::xid;
    FOR command IN
        SELECT format('REVOKE ALL ON %s %s FROM PUBLIC', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
            c.oid::regclass)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_class c ON c.oid = m.objid
        WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'S')
        UNION ALL
        SELECT format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', m.objid::regprocedure)
        FROM unnest(classes, objects) m (classid, objid)
        WHERE m.classid = 'pg_proc'::regclass
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        -- Sequences and row types go with their tables.
        SELECT format('ALTER TABLE %I.%I OWNER TO minga_roster_dba', n.nspname, c.relname)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_class c ON c.oid = m.objid
            JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT format('ALTER TYPE %I.%I OWNER TO minga_roster_dba', n.nspname, t.typname)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_type t ON t.oid = m.objid
            JOIN pg_namespace n ON n.oid = t.typnamespace
            LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE m.classid = 'pg_type'::regclass AND t.typelem = 0 AND (c.oid IS NULL OR c.relkind = 'c')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO minga_roster_dba', p.oid::regprocedure)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_proc p ON p.oid = m.objid
            JOIN pg_namespace n ON n.oid = p.pronamespace
            JOIN pg_language l ON l.oid = p.prolang
        WHERE m.classid = 'pg_proc'::regclass AND n.nspname = 'minga_roster_internal' AND l.lanname <> 'c'
            AND p.proname <> 'make_people'
            AND NOT EXISTS (SELECT FROM pg_depend d
                WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                    AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass))
    LOOP
        EXECUTE command;
    END LOOP;
    -- Members of the role grant others what these may call and read. Partitions of the stage are made in the internal
    -- schema.
    FOR command IN
        SELECT format('GRANT SELECT ON %s TO minga_roster_dba WITH GRANT OPTION', c.oid::regclass)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_class c ON c.oid = m.objid
        WHERE m.classid = 'pg_class'::regclass AND c.relkind = 'v'
        UNION ALL
        SELECT format('GRANT EXECUTE ON ROUTINE %s TO minga_roster_dba%s', p.oid::regprocedure,
            CASE WHEN p.pronamespace = 'minga_roster'::regnamespace
                OR p.proname IN ('connection_names', 'connection_status', 'metrics')
                THEN ' WITH GRANT OPTION' END)
        FROM unnest(classes, objects) m (classid, objid) JOIN pg_proc p ON p.oid = m.objid
        WHERE m.classid = 'pg_proc'::regclass
        UNION ALL
        SELECT 'GRANT USAGE ON SCHEMA minga_roster TO minga_roster_dba WITH GRANT OPTION'
        WHERE NOT has_schema_privilege('minga_roster_dba', 'minga_roster', 'USAGE WITH GRANT OPTION')
        UNION ALL
        SELECT 'GRANT USAGE, CREATE ON SCHEMA minga_roster_internal TO minga_roster_dba'
        WHERE NOT has_schema_privilege('minga_roster_dba', 'minga_roster_internal', 'CREATE')
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- What asks for a level, what policies let rows through of, and what views and policies call for anyone: the latter
-- tell no more than what the current user may know.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid
            FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster'
        ), objects (kind, name, privilege, acl, is_public) AS (
            SELECT 'ROUTINE', p.oid::regprocedure::text, 'EXECUTE', p.proacl,
                coalesce(f.level <> 'dba', false) OR (p.pronamespace = 'minga_roster_internal'::regnamespace
                    AND p.proname IN ('sites_of', 'sees_all', 'clock', 'districts_of', 'holder', 'server_origin',
                        'usable_zone'))
            FROM members m JOIN pg_proc p ON p.oid = m.objid
                LEFT JOIN minga_roster_internal.function_levels f ON f.function = p.proname
            WHERE m.classid = 'pg_proc'::regclass
            UNION ALL
            SELECT 'TABLE', c.oid::regclass::text, 'SELECT', c.relacl, CASE c.relkind
                WHEN 'v' THEN c.relnamespace = 'minga_roster'::regnamespace 
                    OR c.relname IN ('latest_plans', 'class_members', 'class_terms')
                ELSE coalesce(t.level <> 'dba', false) END
            FROM members m JOIN pg_class c ON c.oid = m.objid
                LEFT JOIN minga_roster_internal.table_levels t ON t.relation = c.relname
                    AND c.relnamespace = 'minga_roster'::regnamespace
            WHERE m.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        )
        SELECT format(CASE WHEN o.is_public THEN 'GRANT %s ON %s %s TO PUBLIC' ELSE 'REVOKE %s ON %s %s FROM PUBLIC'
            END, o.privilege, o.kind, o.name)
        FROM objects o
        WHERE o.is_public <> EXISTS (SELECT FROM aclexplode(o.acl) a
            WHERE a.grantee = 0 AND a.privilege_type = o.privilege)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
