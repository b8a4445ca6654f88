-- Levels are granted and revoked: by the DBA, and below district_manager by the managers of a district.

CREATE FUNCTION minga_roster_internal.known_role(role name) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_role oid;
BEGIN
    SELECT r.oid INTO found_role FROM pg_roles r WHERE r.rolname = known_role.role;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not exist', coalesce(role, 'NULL')),
            DETAIL = 'The name must be spelled as in pg_roles, in its letter case and without quotes.',
            HINT = format('Create it first: CREATE ROLE %I.', coalesce(role, 'mesa_office'));
    END IF;
    RETURN found_role;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_role(name) IS 'The OID of a role; 42704 for an unknown one.';

CREATE FUNCTION minga_roster_internal.check_scope(level text, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF level IS NULL OR level NOT IN ('reader', 'owner', 'district_manager') THEN
        PERFORM minga_roster_internal.refuse_parameter('level', coalesce(level, 'NULL'),
            'Valid levels are "reader" and "owner" of a site, and "reader" and "district_manager" of a district.',
            'For the DBA level: GRANT minga_roster_dba TO the role, as a superuser.');
    END IF;
    IF (site IS NULL) = (district IS NULL) OR (level = 'owner' AND site IS NULL)
        OR (level = 'district_manager' AND district IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('level "%s" is given for %s', level, CASE level WHEN 'owner' THEN 'one site'
                WHEN 'district_manager' THEN 'one district' ELSE 'one site or one district' END),
            DETAIL = format('Given: site %s, district %s.', coalesce('"' || site || '"', 'NULL'),
                coalesce('"' || district || '"', 'NULL')),
            HINT = CASE level WHEN 'district_manager' THEN 'Name the district: district => ''...''.'
                WHEN 'owner' THEN 'Name the site: site => ''...''.'
                ELSE 'Name one of them: site => ''...'' or district => ''...''.' END;
    END IF;
    IF coalesce(site, district) <> btrim(coalesce(site, district)) OR coalesce(site, district) = ''
        OR minga_roster_internal.readable(coalesce(site, district)) <> coalesce(site, district) THEN
        PERFORM minga_roster_internal.refuse_parameter(CASE WHEN site IS NULL THEN 'district' ELSE 'site' END,
            coalesce(site, district),
            'It must not be empty, have whitespace around it or contain control characters.',
            'Use the name as minga_roster.roster_district_status shows it.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_scope(text, text, text) IS
'Raises 22023 unless level, site and district fit together.';

CREATE FUNCTION minga_roster_internal.require_manager(function name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller CONSTANT name := minga_roster_internal.caller();
BEGIN
    IF minga_roster_internal.is_dba(caller) OR (level <> 'district_manager'
        AND minga_roster_internal.manages(caller, coalesce(district, minga_roster_internal.district_of(site)))) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = CASE WHEN site IS NULL THEN format('permission denied for district "%s"', district)
            ELSE format('permission denied for site "%s"', site) END,
        DETAIL = format('%s of the level "%s" there requires %s. You are "%s".', function, level,
            CASE level WHEN 'district_manager' THEN 'the DBA level'
                ELSE 'the level "district_manager" of its district' END, caller),
        HINT = CASE level WHEN 'district_manager' THEN 'Ask the DBA to call it.'
            ELSE 'Ask the district manager or the DBA to call it.' END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_manager(name, text, text, text) IS
'Raises 42501 unless the caller may grant and revoke this level: the DBA may all, a district_manager owner and reader '
'in the district.';

CREATE FUNCTION minga_roster_internal.do_grant(role name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder oid;
    opens boolean;
BEGIN
    PERFORM minga_roster_internal.check_scope(level, site, district);
    PERFORM minga_roster_internal.require_manager('roster_grant', level, site, district);
    holder := minga_roster_internal.known_role(role);
    LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM minga_roster.role_levels l
        WHERE l.role_oid = holder AND l.origin = minga_roster_internal.server_origin()
            AND (l.level, l.site, l.district) IS NOT DISTINCT FROM (do_grant.level, do_grant.site, do_grant.district))
    THEN
        RAISE NOTICE USING
            MESSAGE = format('role "%s" has the level "%s" there already', role, level);
        RETURN;
    END IF;
    opens := NOT EXISTS (
        SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname = 'minga_roster' AND a.grantee = holder AND a.privilege_type = 'USAGE');
    -- A row from before a restore that counts by name makes room.
    DELETE FROM minga_roster.role_levels l
    WHERE minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder
        AND (l.level, l.site, l.district) IS NOT DISTINCT FROM (do_grant.level, do_grant.site, do_grant.district);
    INSERT INTO minga_roster.role_levels (role, role_oid, origin, level, site, district, opened, granted_by)
    VALUES (do_grant.role, holder, minga_roster_internal.server_origin(), do_grant.level, do_grant.site,
        do_grant.district, opens, minga_roster_internal.caller());
    IF opens THEN
        EXECUTE format('GRANT USAGE ON SCHEMA minga_roster TO %I', role);
    END IF;
    IF site IS NOT NULL AND NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = do_grant.site) THEN
        RAISE NOTICE USING
            MESSAGE = format('site "%s" has no connection yet', site),
            HINT = 'Check the spelling. The level counts from the first connection on, and lets the owner connect it.';
    ELSIF district IS NOT NULL AND NOT EXISTS (SELECT FROM minga_roster.connections c
        WHERE c.district = do_grant.district) THEN
        RAISE NOTICE USING
            MESSAGE = format('no connection is in district "%s" yet', district),
            HINT = 'Check the spelling. The level counts from the first connection in the district on.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_grant(name, text, text, text) IS 'Implements roster_grant.';

CREATE FUNCTION roster_grant(role name, level text, site text DEFAULT NULL, district text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_grant(name, text, text, text) IS
'Gives a role a level: "owner" of a site (everything of its connections, but no secret''s value and no attaching of '
'relations), "reader" of a site or district (status, runs, reports and counts, no personal data), or '
'"district_manager" (owner of all sites of a district, who grants owner and reader there). Members of the role have '
'it as they have its privileges. The role gets USAGE on schema minga_roster. The DBA may grant each level, a '
'district_manager owner and reader in the district; others get 42501. 42704 for an unknown role, 22023 for a level, '
'site and district that do not fit together.';

CREATE FUNCTION minga_roster_internal.do_revoke(role name, level text, site text, district text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = do_revoke.role);
    closes boolean;
BEGIN
    PERFORM minga_roster_internal.check_scope(level, site, district);
    PERFORM minga_roster_internal.require_manager('roster_revoke', level, site, district);
    LOCK TABLE minga_roster.role_levels IN SHARE ROW EXCLUSIVE MODE;
    -- A role that is gone is found by the name that it had.
    WITH revoked AS (
        DELETE FROM minga_roster.role_levels l
        WHERE (l.level, l.site, l.district)
                IS NOT DISTINCT FROM (do_revoke.level, do_revoke.site, do_revoke.district)
            AND (minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder
                OR (l.role = do_revoke.role AND NOT EXISTS (SELECT FROM pg_roles r
                    WHERE r.oid = minga_roster_internal.holder(l.role, l.role_oid, l.origin))))
        RETURNING l.opened
    )
    SELECT bool_or(v.opened) INTO closes FROM revoked v;
    IF closes IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not have the level "%s" there', role, level),
            DETAIL = 'A level that a role has as a member of another role is revoked from that other role.',
            HINT = 'List what is granted: SELECT * FROM minga_roster.roster_access.';
    END IF;
    IF NOT closes OR holder IS NULL THEN
        RETURN;
    END IF;
    UPDATE minga_roster.role_levels l SET opened = true
    WHERE minga_roster_internal.holder(l.role, l.role_oid, l.origin) = holder;
    IF NOT FOUND THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA minga_roster FROM %I', role);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_revoke(name, text, text, text) IS 'Implements roster_revoke.';

CREATE FUNCTION roster_revoke(role name, level text, site text DEFAULT NULL, district text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_revoke(name, text, text, text) IS
'Takes a level back that roster_grant gave; the last one takes USAGE on schema minga_roster back, if roster_grant gave '
'it. Works for a role that was dropped, by the name that it had. The DBA may revoke each level, a district_manager '
'owner and reader in the district; others get 42501. 42704 if the role does not have the level there.';

CREATE VIEW roster_access WITH (security_invoker = true) AS
    SELECT coalesce(r.rolname, l.role) AS role, l.level, l.site, l.district, r.rolname IS NOT NULL AS role_exists,
        l.granted_at, l.granted_by
    FROM minga_roster.role_levels l
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = minga_roster_internal.holder(l.role, l.role_oid, l.origin);
COMMENT ON VIEW roster_access IS
'Who was given which level, where, when and by whom. Owners see the levels at their sites and in the districts of '
'these, managers those of their districts, everyone their own. Members of a role have its levels too, and members of '
'the role that owns the tables have the DBA level.';
COMMENT ON COLUMN roster_access.role IS 'The role by its name today; that at the grant if it was dropped.';
COMMENT ON COLUMN roster_access.site IS 'The site; NULL if the level is for each site of the district.';
COMMENT ON COLUMN roster_access.role_exists IS
'Whether the role still exists. If not, no one has the level: roster_revoke removes the row.';
