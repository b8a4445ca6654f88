-- The role that the extension's objects belong to, and with whose rights it acts. Roles are those of the whole cluster:
-- another database that has the extension, or had it, made it. It must be no more than what is made here, because
-- everything of the extension runs with its rights.

DO $$
DECLARE
    found pg_catalog.text;
    members pg_catalog.text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'minga_roster_dba') THEN
        CREATE ROLE minga_roster_dba NOLOGIN;
        COMMENT ON ROLE minga_roster_dba IS
            'Owns the objects of extension minga_roster, which acts with its rights. Its members have the DBA level.';
    END IF;
    SELECT CASE
            WHEN r.rolsuper THEN 'It is a superuser.'
            WHEN r.rolcanlogin THEN 'It can log in.'
            WHEN r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls THEN
                'It has CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS.'
            WHEN m.others IS NOT NULL THEN format('It is a member of %s.', m.others)
            WHEN EXISTS (SELECT FROM pg_catalog.pg_default_acl d WHERE d.defaclrole = r.oid) THEN
                'It has default privileges in this database, which would be granted on what it makes.'
        END
    INTO found
    FROM pg_catalog.pg_roles r
    CROSS JOIN LATERAL (SELECT string_agg(format('"%s"', pg_get_userbyid(a.roleid)), ', ' ORDER BY a.roleid) AS others
        FROM pg_catalog.pg_auth_members a WHERE a.member = r.oid) m
    WHERE r.rolname = 'minga_roster_dba';
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_role_specification',
            MESSAGE = 'role "minga_roster_dba" cannot own the extension',
            DETAIL = found,
            HINT = 'Find out who made it and why. Then drop or rename it, so that CREATE EXTENSION makes it, or take '
                'away what it has too much: ALTER ROLE minga_roster_dba NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB '
                'NOREPLICATION NOBYPASSRLS, REVOKE, ALTER DEFAULT PRIVILEGES.';
    END IF;
    SELECT string_agg(DISTINCT format('"%s"', pg_get_userbyid(a.member)), ', ') INTO members
    FROM pg_catalog.pg_auth_members a
    WHERE a.roleid = 'minga_roster_dba'::pg_catalog.regrole;
    IF members IS NOT NULL THEN
        RAISE WARNING USING MESSAGE = 'role "minga_roster_dba" has members already',
            DETAIL = format('%s will have the DBA level in this database.', members),
            HINT = 'Revoke the role from those whom you would not trust as superusers.';
    END IF;
    -- Runs make temporary tables.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO minga_roster_dba', pg_catalog.current_database());
END
$$;
