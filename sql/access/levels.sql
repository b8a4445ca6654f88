-- Levels: who may do what at which site. One predicate decides, has_level(); the door asks it for a caller
-- (check_level), policies ask it for the current user (sites_of). Superusers and members of the role that owns these
-- tables have the DBA level, which is above all others.

CREATE FUNCTION minga_roster_internal.caller() RETURNS name
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_caller';
COMMENT ON FUNCTION minga_roster_internal.caller() IS
'The role that called the function of schema minga_roster that is running; outside of one, the current user.';

CREATE TABLE role_levels (
    role name NOT NULL,
    role_oid oid NOT NULL,
    origin text NOT NULL,
    level text NOT NULL CHECK (level IN ('reader', 'owner', 'district_manager')),
    site text CHECK (site <> ''),
    district text CHECK (district <> ''),
    opened boolean NOT NULL DEFAULT false,
    granted_by name NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (role_oid, origin, level, site, district),
    CHECK ((site IS NULL) <> (district IS NULL)),
    CHECK (CASE level WHEN 'owner' THEN site IS NOT NULL WHEN 'district_manager' THEN district IS NOT NULL ELSE true
        END)
);
CREATE INDEX role_levels_site ON role_levels (site);
CREATE INDEX role_levels_district ON role_levels (district);
-- Required by a publication of all tables.
ALTER TABLE role_levels REPLICA IDENTITY FULL;
COMMENT ON TABLE role_levels IS
'Who has which level: at a site, or at all sites of a district. Written through roster_grant and roster_revoke; '
'roster_access shows it.';
COMMENT ON COLUMN role_levels.role_oid IS
'The role on the server where the level was granted (origin), so that a new role of the same name does not inherit it.';
COMMENT ON COLUMN role_levels.origin IS
'server_origin() at the grant. In a restored copy OIDs mean nothing, and the level is that of the role of this name.';
COMMENT ON COLUMN role_levels.opened IS
'roster_grant gave the role USAGE on schema minga_roster, and the last roster_revoke takes it back.';

CREATE TABLE minga_roster_internal.function_levels (
    function name NOT NULL PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('reader', 'owner', 'district_manager', 'dba')),
    checks_itself boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE minga_roster_internal.function_levels IS
'The least level for each function that people call. reader, owner and district_manager: PUBLIC has EXECUTE, and the '
'door asks for the level at the site of the argument connection, run or site. dba: only the DBA grants EXECUTE.';
COMMENT ON COLUMN minga_roster_internal.function_levels.checks_itself IS
'The function asks for the level itself, because its arguments do not name one existing site, or shows only what the '
'caller may see.';

INSERT INTO minga_roster_internal.function_levels (function, level, checks_itself) VALUES
    ('connection_names', 'reader', true),
    ('connection_status', 'reader', true),
    ('metrics', 'reader', true),
    ('roster_apply', 'owner', false),
    ('roster_approve', 'owner', false),
    ('roster_attach_people', 'dba', true),
    ('roster_cancel', 'owner', false),
    ('roster_configure', 'owner', false),
    ('roster_connect', 'owner', true),
    ('roster_create_people', 'dba', true),
    ('roster_decide', 'owner', false),
    ('roster_diagnose', 'owner', false),
    ('roster_diagnosis', 'reader', false),
    ('roster_diff', 'owner', false),
    ('roster_disable', 'owner', false),
    ('roster_disconnect', 'owner', false),
    ('roster_enable', 'owner', false),
    ('roster_export_links', 'dba', false),
    ('roster_enrollments_as_of', 'owner', false),
    ('roster_fetch', 'owner', false),
    ('roster_forget', 'owner', false),
    ('roster_grant', 'district_manager', true),
    ('roster_health', 'dba', false),
    ('roster_import_links', 'dba', false),
    ('roster_lists', 'owner', false),
    ('roster_map_column', 'owner', false),
    ('roster_notify', 'owner', false),
    ('roster_notify_district', 'district_manager', true),
    ('roster_people_as_of', 'owner', false),
    ('roster_preview', 'owner', false),
    ('roster_public_key', 'owner', true),
    ('roster_relink', 'owner', false),
    ('roster_release_people', 'dba', true),
    ('roster_remember', 'owner', false),
    ('roster_remove_district_recipient', 'district_manager', true),
    ('roster_remove_recipient', 'owner', false),
    ('roster_report', 'reader', false),
    ('roster_report_html', 'reader', false),
    ('roster_revoke', 'district_manager', true),
    ('roster_rotate_key', 'dba', false),
    ('roster_run_due', 'dba', false),
    ('roster_send_test_mail', 'owner', false),
    ('roster_set_column_owner', 'owner', false),
    ('roster_set_sealed_secret', 'owner', false),
    ('roster_set_secret', 'owner', false),
    ('roster_set_secret_from_file', 'owner', false),
    ('roster_start', 'owner', false),
    ('roster_sync', 'owner', false),
    ('roster_test_connection', 'owner', false),
    ('roster_toggle', 'owner', false),
    ('roster_undo', 'owner', false),
    ('roster_withdraw_people', 'dba', true);

CREATE VIEW minga_roster_internal.site_districts AS
    SELECT DISTINCT ON (c.site) c.site, c.district
    FROM minga_roster.connections c
    ORDER BY c.site, c.retired_at DESC NULLS FIRST, c.number DESC;
COMMENT ON VIEW minga_roster_internal.site_districts IS
'The district of each site: that of its connections, or of the one that was retired last.';

CREATE FUNCTION minga_roster_internal.district_of(site text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.district FROM minga_roster_internal.site_districts d WHERE d.site = district_of.site;
END;
COMMENT ON FUNCTION minga_roster_internal.district_of(text) IS
'The district of a site; NULL if it has none or no connection.';

CREATE FUNCTION minga_roster_internal.level_rank(level text) RETURNS integer
LANGUAGE sql IMMUTABLE
RETURN CASE level WHEN 'reader' THEN 1 WHEN 'owner' THEN 2 WHEN 'district_manager' THEN 3 WHEN 'dba' THEN 4 END;
COMMENT ON FUNCTION minga_roster_internal.level_rank(text) IS 'A level with a higher rank includes those below.';

CREATE FUNCTION minga_roster_internal.holder(role name, role_oid oid, origin text) RETURNS oid
LANGUAGE sql STABLE
RETURN CASE WHEN origin = minga_roster_internal.server_origin() THEN role_oid ELSE to_regrole(quote_ident(role)) END;
COMMENT ON FUNCTION minga_roster_internal.holder(name, oid, text) IS
'The role that has a level of role_levels here; the role may be gone.';

CREATE FUNCTION minga_roster_internal.is_dba(role name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_has_role(is_dba.role, c.relowner, 'USAGE') FROM pg_class c
    WHERE c.oid = 'minga_roster.role_levels'::regclass
$$;
COMMENT ON FUNCTION minga_roster_internal.is_dba(name) IS
'Whether the role has the DBA level: superusers, and roles that have the rights of the role that owns the tables.';

CREATE FUNCTION minga_roster_internal.has_level(role name, level text, site text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.is_dba(has_level.role) OR EXISTS (
        SELECT FROM minga_roster.role_levels l
        WHERE (l.site = has_level.site OR l.district = minga_roster_internal.district_of(has_level.site))
            AND minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(has_level.level)
            AND pg_has_role(has_level.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE'))
$$;
COMMENT ON FUNCTION minga_roster_internal.has_level(name, text, text) IS
'The predicate of access: whether the role has the level, or a higher one, at the site. Memberships count as for '
'privileges: a role that does not inherit has to SET ROLE.';

CREATE FUNCTION minga_roster_internal.manages(role name, district text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.is_dba(manages.role) OR EXISTS (
        SELECT FROM minga_roster.role_levels l
        WHERE l.district = manages.district AND l.level = 'district_manager'
            AND pg_has_role(manages.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE'))
$$;
COMMENT ON FUNCTION minga_roster_internal.manages(name, text) IS
'Whether the role is district_manager of the district, or has the DBA level.';

CREATE FUNCTION minga_roster_internal.sites_of_role(role name, level text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH held AS MATERIALIZED (
        SELECT l.site, l.district FROM minga_roster.role_levels l
        WHERE minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(sites_of_role.level)
            AND pg_has_role(sites_of_role.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE')
    )
    SELECT h.site FROM held h WHERE h.site IS NOT NULL
    UNION
    SELECT d.site FROM minga_roster_internal.site_districts d
    WHERE d.district IN (SELECT h.district FROM held h WHERE h.district IS NOT NULL)
$$;
COMMENT ON FUNCTION minga_roster_internal.sites_of_role(name, text) IS
'The sites at which has_level() holds through role_levels.';

CREATE FUNCTION minga_roster_internal.districts_of_role(role name, level text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.district FROM minga_roster.role_levels l
    WHERE l.district IS NOT NULL
        AND minga_roster_internal.level_rank(l.level) >= minga_roster_internal.level_rank(districts_of_role.level)
        AND pg_has_role(districts_of_role.role, minga_roster_internal.holder(l.role, l.role_oid, l.origin), 'USAGE')
    UNION
    SELECT d.district FROM minga_roster_internal.site_districts d
    WHERE d.district IS NOT NULL
        AND d.site IN (SELECT minga_roster_internal.sites_of_role(districts_of_role.role, districts_of_role.level))
$$;
COMMENT ON FUNCTION minga_roster_internal.districts_of_role(name, text) IS
'The districts for which the role has the level, and those of the sites at which it has it.';

CREATE FUNCTION minga_roster_internal.caller_sees(site text, level text DEFAULT 'reader') RETURNS boolean
LANGUAGE sql STABLE
RETURN minga_roster_internal.has_level(minga_roster_internal.caller(), level, site);
COMMENT ON FUNCTION minga_roster_internal.caller_sees(text, text) IS
'Whether the caller has the level at the site. For one site; caller_sites() is for many.';

CREATE FUNCTION minga_roster_internal.caller_sites(level text DEFAULT 'reader') RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.site FROM minga_roster.connections c
    WHERE minga_roster_internal.is_dba(minga_roster_internal.caller())
    UNION
    SELECT minga_roster_internal.sites_of_role(minga_roster_internal.caller(), caller_sites.level)
    WHERE NOT minga_roster_internal.is_dba(minga_roster_internal.caller())
$$;
COMMENT ON FUNCTION minga_roster_internal.caller_sites(text) IS
'The sites at which the caller has the level; for the DBA level, the sites of all connections.';

CREATE FUNCTION minga_roster_internal.sites_of(level text) RETURNS SETOF text
LANGUAGE C STABLE STRICT ROWS 100 PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_sites_of';
COMMENT ON FUNCTION minga_roster_internal.sites_of(text) IS
'The sites at which the current user has the level, for policies and views. It answers for the current user alone, so '
'it may be called inside a security-restricted operation too.';

CREATE FUNCTION minga_roster_internal.districts_of(level text) RETURNS SETOF text
LANGUAGE C STABLE STRICT ROWS 10 PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_districts_of';
COMMENT ON FUNCTION minga_roster_internal.districts_of(text) IS
'districts_of_role() for the current user, as sites_of().';

CREATE FUNCTION minga_roster_internal.sees_all() RETURNS boolean
LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_sees_all';
COMMENT ON FUNCTION minga_roster_internal.sees_all() IS 'Whether the current user has the DBA level.';

CREATE FUNCTION minga_roster_internal.refuse_level(function name, level text, what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = format('permission denied for %s', what),
        DETAIL = format('Either it does not exist, or "%s" lacks the level "%s" there, which %s requires.',
            minga_roster_internal.caller(), level, function),
        HINT = format(
            'Ask the district manager or the DBA for the level: SELECT minga_roster.roster_grant(%L, %L, %s).',
            minga_roster_internal.caller(), level,
            CASE level WHEN 'district_manager' THEN 'district => ''...''' ELSE 'site => ''...''' END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.refuse_level(name, text, text) IS
'Raises 42501 for a caller without the level, in the same words whether "what" exists or not.';

CREATE FUNCTION minga_roster_internal.check_level(function name, argument text, connection text, run bigint, site text)
RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rule minga_roster_internal.function_levels;
    asked text := site;
    place text;
BEGIN
    SELECT * INTO rule FROM minga_roster_internal.function_levels f WHERE f.function = check_level.function;
    IF NOT FOUND THEN
        PERFORM minga_roster_internal.refuse_level(function, 'dba', format('function %s', function));
    END IF;
    IF rule.level = 'dba' OR rule.checks_itself OR argument IS NULL THEN
        RETURN;
    END IF;
    IF argument = 'connection' THEN
        IF connection IS NULL THEN
            PERFORM minga_roster_internal.known_connection(NULL);
        END IF;
        SELECT c.site INTO asked FROM minga_roster.connections c WHERE c.connection = check_level.connection;
    ELSIF argument = 'run' THEN
        IF run IS NULL THEN
            PERFORM minga_roster_internal.known_run(NULL);
        END IF;
        SELECT r.site, c.site INTO asked, place
        FROM minga_roster.runs r LEFT JOIN minga_roster.connections c ON c.connection = r.connection
        WHERE r.run = check_level.run;
        -- The connection that would act may be another site's by now.
        IF rule.level <> 'reader' AND place <> asked
            AND NOT minga_roster_internal.has_level(minga_roster_internal.caller(), rule.level, place) THEN
            asked := NULL;
        END IF;
    ELSIF site IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no site was given',
            HINT = 'List the sites: SELECT DISTINCT site FROM minga_roster.roster_status.';
    END IF;
    IF asked IS NULL OR NOT minga_roster_internal.has_level(minga_roster_internal.caller(), rule.level, asked) THEN
        PERFORM minga_roster_internal.refuse_level(function, rule.level, CASE argument WHEN 'run' THEN 'run ' || run
            ELSE format('%s "%s"', argument, CASE argument WHEN 'site' THEN site ELSE connection END) END);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_level(name, text, text, bigint, text) IS
'Called by the door for a caller without the DBA level, after EXECUTE: raises 42501 unless the caller has the level '
'that the function requires at the site of its argument connection, run or site. argument says which of them the '
'function has; NULL: none of them.';

SELECT pg_catalog.pg_extension_config_dump('minga_roster.role_levels'::regclass, '');
